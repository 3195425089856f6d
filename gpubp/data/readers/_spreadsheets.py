"""Spreadsheets of Excel and OpenDocument, read by calamine; formulas are never computed."""

import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, time, timedelta
from typing import Any

from gpubp._core.names import near_miss
from gpubp._core.optional_imports import import_optional
from gpubp._core.text import excerpt, shortened
from gpubp.data.readers._header import choose_names, count_titles, has_header, note_titles
from gpubp.data.readers._input_file import InputFile
from gpubp.data.readers._sheet_extent import refuse_far_cells
from gpubp.data.readers._sheet_parts import parts_of_sheets
from gpubp.data.table import RawTable
from gpubp.errors import DataError


def read_spreadsheet(source: InputFile, *, header: bool | None = None, skip_rows: int | None = None) -> RawTable:
    """Read a sheet: the one that is named, else the first one that is not empty."""
    source = source.unpacked()
    calamine = import_optional("python_calamine", f"reading {source.name}", "python-calamine", error=DataError)
    with source.open() as file, ExitStack() as stack:
        archive, parts = None, dict[str, str]()
        if file.read(2) == b"PK":
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(source.open())))
            source.check_size(sum(info.file_size for info in archive.infolist()), "write it again as CSV")
            parts = parts_of_sheets(archive)
            if not parts:
                refuse_far_cells(archive, source.name)
        file.seek(0)
        workbook = calamine.CalamineWorkbook.from_filelike(file)
        names = workbook.sheet_names
        if source.part is not None and source.part not in names:
            raise DataError(
                f"{source.path} has no sheet {source.part!r}{near_miss(source.part, names)}; it has "
                f"{excerpt(shortened(names), 300)}"
            )
        notes: list[str] = []
        for name in names if source.part is None else [source.part]:
            if archive is not None and parts:
                refuse_far_cells(archive, source.name, parts.get(name))
            rows = _without_empty(workbook.get_sheet_by_name(name).to_python())
            if rows:
                break
        else:
            raise DataError(f"{source.name} holds no table: its sheets are empty")
    if source.part is None and len(names) > 1:
        others = excerpt(shortened([other for other in names if other != name], 6), 200)
        notes.append(f"the table is that of sheet {name!r}; others are read as {source.path.name}::SHEET: {others}")
    return _raw_table(rows, source.name, notes, header=header, skip_rows=skip_rows)


def _raw_table(
    rows: list[list[Any]], source: str, notes: list[str], *, header: bool | None, skip_rows: int | None
) -> RawTable:
    rows = rows[skip_rows or 0 :]
    n_columns = max(map(len, rows), default=0)
    texts = [[_text(cell) for cell in row] for row in rows[:1000]]
    n_titles = count_titles(texts, n_columns) if skip_rows is None else 0
    notes += note_titles(texts, n_titles, "row")
    rows, texts = rows[n_titles:], texts[n_titles:]
    with_header = header if header is not None else not texts or has_header(texts[0], texts[1:])
    names = choose_names(texts[0] if with_header and texts else None, texts[1:], n_columns)
    notes += names.notes
    if not with_header and header is None:
        notes.append(f"there is no header, so the columns are named {names.names[0]}, ... (option header)")
    columns = [
        (name, [_value(row[place]) if place < len(row) else None for row in rows[bool(with_header) :]])
        for place, name in enumerate(names.names)
        if name
    ]
    return RawTable(columns, source, has_header=bool(with_header), notes=tuple(notes))


def _without_empty(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the rows and columns in which there is a value."""
    kept = [list(row) for row in rows if any(_text(cell) for cell in row)]
    width = max(map(len, kept), default=0)
    used = [place for place in range(width) if any(place < len(row) and _text(row[place]) for row in kept)]
    return [[row[place] if place < len(row) else "" for place in used] for row in kept]


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _value(cell: Any) -> Any:
    """Return a cell as a number, a bool, a date or text; None if it is empty."""
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if isinstance(cell, time):
        return cell.isoformat()
    if isinstance(cell, datetime) or not isinstance(cell, str):
        return cell
    return cell or None
