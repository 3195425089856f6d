"""Find a cell far from all others in a spreadsheet before it is read: calamine stores all cells up to it."""

import re
import struct
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

from gpubp.errors import DataError

MAX_CELLS = 1 << 25
"""Cells of a sheet, empty ones counted, with which calamine takes about a gigabyte."""

_MOST_EMPTY = 8  # cells of a larger sheet for each one that holds a value
_BLOCK_BYTES = 1 << 20
_CELL_STARTS = tuple(start + end for start in (b"<c", b":c") for end in (b" ", b">", b"/", b"\n", b"\r", b"\t"))
_NAMED = re.compile(rb"""\sr\s*=\s*["']\s*([A-Za-z]{1,3})(\d{1,7})""")
_REST = rb"""((?:[^<>"']++|"[^<"]{0,999}"|'[^<']{0,999}')*+)>"""  # no <, so that no text is read once for each tag
_NO_TAGS = (  # comments, sections of text, and tags that may quote the marks of such
    rb"|<!--(?:[^-]++|-(?!-))*+-->|<!\[CDATA\[(?:[^\]<]++|\](?!\]>)|<(?!!))*+\]\]>"
    rb"""|<[^\s!/<>"'](?:[^<>"']++|"[^"]{0,999}"|'[^']{0,999}'){2,200}+>"""
)
_TAG = re.compile(rb"<(?:\w+:)?(row|c)(?=[\s/>])" + _REST + _NO_TAGS)
_ROW_OR_CELL = re.compile(rb"""\sr\s*=\s*["']\s*([A-Za-z]{0,3})(\d{1,7})""")
_TABLE_TAG = re.compile(rb"<(?:[\w-]+:)?(table|table-row|table-cell|covered-table-cell)(?=[\s/>])" + _REST + _NO_TAGS)
_VALUE = re.compile(rb"""\s(?:(?:office|calcext):(?:[a-z]+-)?value(?:-type)?|table:formula)\s*=""")
_REPEATED = re.compile(rb"""\bnumber-(?:rows|columns)-repeated\s*=\s*["']\s*(\d{1,9})""")
_ROW_RECORD, _CELL_RECORDS = 0, range(2, 12)  # of cells that are not blank


def refuse_far_cells(archive: zipfile.ZipFile, source: str, part: str | None = None) -> None:
    """Raise a DataError if a sheet (.xlsx, .xlsb or .ods) has a cell so far that memory might not suffice.

    Of .xlsx and .xlsb, only the sheet in the file `part` of the archive is looked at, or all sheets if it is None. Of
    .ods, calamine reads all sheets.
    """
    for info in archive.infolist():
        name = info.filename.lower()
        is_open_document = name == "content.xml"
        if part is not None and info.filename != part:
            continue
        if part is None and not is_open_document and ("sheet" not in name or not name.endswith((".xml", ".bin"))):
            continue
        extents = [_Extent()]
        with archive.open(info) as file:
            if is_open_document:
                extents = list(_extents_of_tables(_blocks(file)))
            elif name.endswith(".bin"):
                _add_records(extents[0], file.read())
            elif _may_be_far(file):
                file.seek(0)
                _add_tags(extents[0], _blocks(file))
        for extent in extents:
            extent.check(source, info.filename)


class _Extent:
    """The number of cells that hold something, and the last row and column of them, from 0."""

    def __init__(self) -> None:
        self.n, self.last_row, self.last_column = 0, -1, -1

    def add(self, row: int, column: int, n: int = 1) -> None:
        self.n += n
        self.last_row, self.last_column = max(self.last_row, row), max(self.last_column, column)

    def check(self, source: str, part: str) -> None:
        n_cells = (self.last_row + 1) * (self.last_column + 1)
        if n_cells > MAX_CELLS and (n_cells > _MOST_EMPTY * self.n or n_cells > _MOST_EMPTY * MAX_CELLS):
            raise DataError(
                f"{source}: {self.n:,} cells of {part} hold something, spread over {n_cells:,} cells up to "
                f"{_letters(self.last_column)}{self.last_row + 1}; delete those far from the table, or save the sheet "
                "as CSV"
            )


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Read XML in blocks that end before a tag."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        text = rest + block
        end = text.rfind(b"<")
        if end > 0 and len(text) - end < _BLOCK_BYTES:
            text, rest = text[:end], text[end:]
        else:
            rest = b""
        yield text
    yield rest


def _may_be_far(file: IO[bytes]) -> bool:
    """Return whether the places in a sheet's XML span too many cells, or a cell names no place; a fast check."""
    last_row = last_column = 0
    for text in _blocks(file):
        places = _NAMED.findall(text)
        if len(places) < sum(map(text.count, _CELL_STARTS)):
            return True
        last_column = max([last_column, *map(_place, {letters for letters, _ in places})])
        last_row = max([last_row, *map(int, {digits for _, digits in places})])
    return last_row * (last_column + 1) > MAX_CELLS


def _add_tags(extent: _Extent, blocks: Iterable[bytes]) -> None:
    """Add the cells of a sheet's XML; one that names no place follows the one before."""
    row, column = -1, 0
    columns: dict[bytes, int] = {}
    for text in blocks:
        for tag in _TAG.finditer(text):
            kind, attributes = tag.groups()
            if kind is None:
                continue
            place = _ROW_OR_CELL.search(attributes)
            if kind == b"row":
                row, column = row + 1 if place is None else int(place[2]) - 1, 0
                continue
            if place is not None:
                letters = place[1]
                if letters not in columns:
                    columns[letters] = _place(letters)
                row, column = int(place[2]) - 1, columns[letters]
            if not attributes.endswith(b"/"):
                extent.add(row, column)
            column += 1


def _extents_of_tables(blocks: Iterable[bytes]) -> Iterator[_Extent]:
    """Return the extent of each sheet of a file of OpenDocument, whose rows and cells may be repeated."""
    extent, row, n_rows, column = _Extent(), 0, 0, 0
    for text in blocks:
        for tag in _TABLE_TAG.finditer(text):
            kind, attributes = tag.groups()
            if kind is None:
                continue
            found = _REPEATED.search(attributes)
            n = 1 if found is None else int(found[1])
            if kind == b"table":
                yield extent
                extent, row, n_rows = _Extent(), 0, 0
            elif kind == b"table-row":
                row, n_rows, column = row + n_rows, n, 0
            else:
                if _VALUE.search(attributes):
                    extent.add(row + n_rows - 1, column + n - 1, n * n_rows)
                column += n
    yield extent


def _add_records(extent: _Extent, records: bytes) -> None:
    """Add the cells of a binary sheet: records of a type, a size and a content."""
    place = row = 0
    try:
        while place < len(records):
            kind, place = varint(records, place, 2)
            size, place = varint(records, place, 4)
            if kind == _ROW_RECORD and size >= 4:
                (row,) = struct.unpack_from("<I", records, place)
            elif kind in _CELL_RECORDS and size >= 4:
                extent.add(row, struct.unpack_from("<I", records, place)[0])
            place += size
    except (IndexError, struct.error):  # cut short, which calamine reports
        return


def varint(records: bytes, place: int, most: int) -> tuple[int, int]:
    """Return a number of seven bits in each byte, and the place after it."""
    number = 0
    for index in range(most):
        byte = records[place]
        number |= (byte & 0x7F) << (7 * index)
        place += 1
        if byte < 0x80:
            break
    return number, place


def _place(letters: bytes) -> int:
    """Return the index of a column: 0 for A, 26 for AA."""
    place = 0
    for letter in letters.upper():
        place = 26 * place + letter - 64
    return place - 1


def _letters(place: int) -> str:
    """Return the name of a column."""
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = chr(65 + letter) + letters
    return letters
