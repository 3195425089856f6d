"""Find the files of the sheets in a spreadsheet's archive, as calamine does."""

import posixpath
import struct
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from gpubp.data.readers._sheet_extent import varint

_SHEET_RECORD = 156


def parts_of_sheets(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the file in an archive (.xlsx or .xlsb) that holds each sheet, by its name; {} if that is not certain."""
    kept = {name.lower(): name for name in archive.namelist()}
    books = [name for name in ("xl/workbook.xml", "xl/workbook.bin", "content.xml") if name in kept]
    if len(kept) < len(archive.namelist()) or len(books) != 1:
        return {}
    try:
        for start in _tags(archive.read(kept["_rels/.rels"]), "Relationship") if "_rels/.rels" in kept else []:
            if start["Type"].endswith("/officeDocument") and start["Target"].lstrip("/") != books[0]:
                return {}
        book = archive.read(kept[books[0]])
        sheets = list(_sheets_of_records(book) if books[0].endswith(".bin") else _sheets_of_tags(book))
        relations = _tags(archive.read(kept[f"xl/_rels/{books[0][3:]}.rels"]), "Relationship")
        targets = {relation["Id"]: posixpath.join("/xl", relation["Target"])[1:].lower() for relation in relations}
        parts = {name: kept[targets[identifier]] for name, identifier in sheets}
    except (KeyError, ValueError, IndexError, struct.error, ElementTree.ParseError):
        return {}
    is_certain = len(parts) == len(sheets) and all(part.lower().endswith(books[0][-4:]) for part in parts.values())
    return parts if is_certain else {}


def _tags(text: bytes, kind: str) -> list[dict[str, str]]:
    """Return the attributes of all tags of a kind."""
    if b"<!DOCTYPE" in text:
        raise ValueError("entities are not resolved")
    return [tag.attrib for tag in ElementTree.fromstring(text).iter() if tag.tag.endswith(f"}}{kind}")]


def _sheets_of_tags(book: bytes) -> Iterator[tuple[str, str]]:
    """Return the name and the identifier of each sheet of a workbook in XML."""
    for sheet in _tags(book, "sheet"):
        (identifier,) = (text for name, text in sheet.items() if name.endswith("}id"))
        yield sheet["name"], identifier


def _sheets_of_records(records: bytes) -> Iterator[tuple[str, str]]:
    """Return the name and the identifier of each sheet of a binary workbook."""
    place = 0
    while place < len(records):
        kind, place = varint(records, place, 2)
        size, place = varint(records, place, 4)
        if kind == _SHEET_RECORD:
            identifier, after = _wide_text(records, place + 8)
            yield _wide_text(records, after)[0], identifier
        place += size


def _wide_text(records: bytes, place: int) -> tuple[str, int]:
    """Return a text that follows the number of its characters, and the place after it."""
    end = place + 4 + 2 * struct.unpack_from("<I", records, place)[0]
    return records[place + 4 : end].decode("utf-16-le"), end
