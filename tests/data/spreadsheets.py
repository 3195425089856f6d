"""Write the least of a spreadsheet in formats that no common library writes: .xls, .xlsb and .ods."""

import struct
import zipfile
from xml.sax.saxutils import escape

END, FREE = 0xFFFFFFFE, 0xFFFFFFFF
SECTOR = 512
SHORTEST_STREAM = 4096  # a shorter one would be in a stream of streams
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "urn:oasis:names:tc:opendocument:xmlns"


def write_xls(path, rows):
    """Write a workbook of Excel 97: its records (BIFF8) are the only stream of a compound file."""
    cells = b"".join(
        _biff(0x203, struct.pack("<HHHd", row, column, 0, value))
        if isinstance(value, float)
        else _biff(0x204, struct.pack("<HHHHB", row, column, 0, len(value), 1) + value.encode("utf-16-le"))
        for row, column, value in _cells(rows)
    )
    dimensions = _biff(0x200, struct.pack("<IIHHH", 0, len(rows), 0, len(rows[0]), 0))
    sheet = _biff(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 6)) + dimensions + cells + _biff(0x0A)
    start = _biff(0x809, struct.pack("<HHHHII", 0x600, 0x05, 0, 0, 0, 6))
    name = struct.pack("<BB", 5, 0) + b"sheet"
    n_before = len(start) + 4 + 6 + len(name) + 4
    stream = start + _biff(0x85, struct.pack("<IBB", n_before, 0, 0) + name) + _biff(0x0A) + sheet
    path.write_bytes(_compound_file("Workbook", stream))


def write_xlsx(path, **sheets):
    """Write a workbook of Excel 2007, of sheets in XML."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    names = [f'<sheet name="{escape(name)}" sheetId="{k}" r:id="r{k}"/>' for k, name in enumerate(sheets, 1)]
    start = f'<Relationship Id="r1" Target="xl/workbook.xml" Type="{office}/officeDocument"/>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{RELATIONS}">{start}</Relationships>')
        archive.writestr("xl/_rels/workbook.xml.rels", _relations(len(sheets), "xml"))
        archive.writestr(
            "xl/workbook.xml",
            '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
            f'xmlns:r="{office}"><sheets>{"".join(names)}</sheets></workbook>',
        )
        for k, sheet in enumerate(sheets.values(), 1):
            archive.writestr(f"xl/worksheets/sheet{k}.xml", sheet)


def write_xlsb(path, rows, **others):
    """Write a binary workbook of Excel 2007: records (BIFF12) in a zip archive."""
    sheets = {"sheet": rows, **others}
    names = b"".join(
        _biff12(156, struct.pack("<II", 0, k) + _wide(f"r{k}") + _wide(name)) for k, name in enumerate(sheets, 1)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/_rels/workbook.bin.rels", _relations(len(sheets), "bin"))
        archive.writestr("xl/workbook.bin", _biff12(131) + _biff12(143) + names + _biff12(144) + _biff12(132))
        for k, rows_of_sheet in enumerate(sheets.values(), 1):
            archive.writestr(f"xl/worksheets/sheet{k}.bin", _binary_sheet(rows_of_sheet))


def _relations(n_sheets, suffix):
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    each = (
        f'<Relationship Id="r{k}" Target="worksheets/sheet{k}.{suffix}" Type="{kind}"/>' for k in range(1, n_sheets + 1)
    )
    return f'<Relationships xmlns="{RELATIONS}">{"".join(each)}</Relationships>'


def _binary_sheet(rows):
    cells, last = b"", None
    for row, column, value in _cells(rows):
        cells += _biff12(0, struct.pack("<IIHHBI", row, 0, 300, 0, 0, 0)) if row != last else b""
        last, place = row, struct.pack("<II", column, 0)
        is_number = isinstance(value, float)
        cells += _biff12(5, place + struct.pack("<d", value)) if is_number else _biff12(6, place + _wide(value))
    dimensions = _biff12(148, struct.pack("<IIII", 0, len(rows) - 1, 0, len(rows[0]) - 1))
    return _biff12(129) + dimensions + _biff12(145) + cells + _biff12(146) + _biff12(130)


def write_ods(path, rows):
    """Write a spreadsheet of OpenDocument."""
    lines = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{OFFICE}:manifest:1.0"/>')
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="{OFFICE}:office:1.0" '
            f'xmlns:table="{OFFICE}:table:1.0" xmlns:text="{OFFICE}:text:1.0"><office:body><office:spreadsheet>'
            f'<table:table table:name="sheet">{lines}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )


def _cells(rows):
    return [
        (row, column, float(value) if isinstance(value, int) else value)
        for row, cells in enumerate(rows)
        for column, value in enumerate(cells)
        if value is not None
    ]


def _ods_cell(value):
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string"><text:p>{escape(value)}</text:p></table:table-cell>'
    return f'<table:table-cell office:value-type="float" office:value="{value}"/>'


def _biff(kind, content=b""):
    return struct.pack("<HH", kind, len(content)) + content


def _biff12(kind, content=b""):
    return _varint(kind) + _varint(len(content)) + content


def _varint(number):
    return bytes([number]) if number < 128 else bytes([number & 0x7F | 0x80, number >> 7])


def _wide(text):
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _compound_file(name, stream):
    """Return a compound file (CFB 3) with one stream: sector 0 is the allocation table, 1 the directory."""
    stream = stream.ljust(SHORTEST_STREAM, b"\0")
    n_sectors = -(-len(stream) // SECTOR)
    header = struct.pack("<8s16xHHHHH6xIII4xIIIII", bytes.fromhex("D0CF11E0A1B11AE1"), 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1,
                         SHORTEST_STREAM, END, 0, END, 0)  # fmt: skip
    header += struct.pack("<109I", 0, *[FREE] * 108)
    table = [0xFFFFFFFD, END, *range(3, n_sectors + 2), END]
    directory = _entry("Root Entry", 5, 1, END, 0) + _entry(name, 2, FREE, 2, len(stream)) + bytes(256)
    return (
        header
        + struct.pack("<128I", *table, *[FREE] * (128 - len(table)))
        + directory
        + stream.ljust(n_sectors * SECTOR, b"\0")
    )


def _entry(name, kind, child, start, size):
    written = (name + "\0").encode("utf-16-le")
    return struct.pack("<64sHBBIII16x4x16xIQ", written, len(written), kind, 1, FREE, FREE, child, start, size)
