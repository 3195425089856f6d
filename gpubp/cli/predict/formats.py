"""The file formats of predictions; to add one, write its function and list it in :data:`FORMATS`."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gpubp._core.text import escaped
from gpubp.cli.output import console
from gpubp.data.preprocessing import write_number
from gpubp.data.table import Column
from gpubp.errors import DataError
from gpubp.io.atomic_files import open_atomically

Columns = dict[str, Column]
Write = Callable[[Columns], None]
"""Appends rows to a file. It is called once for each part of the table, always with the same columns."""


@contextmanager
def csv_format(file: Any, escape: Callable[[str], str] = str) -> Iterator[Write]:
    """Write CSV in UTF-8: predicted numbers with nine digits, enough for float32, and text converted by ``escape``.

    Numbers of kept columns, which are objects, have all their digits; a missing value is an empty field.

    Parameters
    ----------
    file : binary file
    escape : callable
        Converts the text of a cell.
    """
    is_first = True

    def write(columns: Columns) -> None:
        nonlocal is_first
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if is_first:
            writer.writerow(map(escape, columns))
        writer.writerows(zip(*(map(escape, _cells(values)) for values in columns.values()), strict=True))
        file.write(text.getvalue().encode())
        is_first = False

    yield write


@contextmanager
def parquet_format(file: BinaryIO) -> Iterator[Write]:
    """Write Parquet."""
    import pyarrow
    from pyarrow import parquet

    writer: Any = None

    def write(columns: Columns) -> None:
        nonlocal writer
        table = pyarrow.table({name: values.tolist() for name, values in columns.items()})
        if writer is None:
            types = [
                (one.name, pyarrow.string() if pyarrow.types.is_null(one.type) else one.type) for one in table.schema
            ]
            writer = parquet.ParquetWriter(file, pyarrow.schema(types))
        try:
            writer.write_table(table.cast(writer.schema))
        except pyarrow.ArrowInvalid as error:  # a kept column has another type in a later part of the table
            raise DataError(f"a column cannot be written as Parquet: {error}; write .csv or .jsonl") from error

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def jsonl_format(file: BinaryIO) -> Iterator[Write]:
    """Write JSON lines: an object for each row, in UTF-8."""

    def write(columns: Columns) -> None:
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            file.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False).encode() + b"\n")

    yield write


@contextmanager
def excel_format(file: BinaryIO) -> Iterator[Write]:
    """Write a sheet of Excel; text that begins with ``=`` stays text and is not a formula."""
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    except ImportError as error:
        raise DataError("writing .xlsx needs openpyxl: pip install openpyxl") from error
    book = Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    is_first = True

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub(lambda match: ascii(match[0])[1:-1], value))
        text.data_type = "s"
        return text

    def write(columns: Columns) -> None:
        nonlocal is_first
        if is_first:
            sheet.append(list(map(cell, columns)))
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            sheet.append(list(map(cell, row)))
        is_first = False

    yield write
    book.save(file)


FORMATS: dict[str, Callable[[BinaryIO], AbstractContextManager[Write]]] = {
    ".csv": csv_format,
    ".jsonl": jsonl_format,
    ".parquet": parquet_format,
    ".xlsx": excel_format,
}
"""Functions that open a writer on a file, by the suffix of the file."""


@contextmanager
def open_writer(path: Path | None) -> Iterator[Write]:
    """Open a writer to a file, in the format of its suffix, or to stdout as CSV; the file appears when complete."""
    if path is None:
        # a terminal must not receive control characters from the data; a file or a program gets the labels unchanged
        with csv_format(_Stdout(), escaped if console.is_terminal else str) as write:
            yield write
    else:
        with open_atomically(path) as file, FORMATS[path.suffix.lower()](file) as write:
            yield write


class _Stdout:
    """Stdout as a binary file, in UTF-8 for any encoding of the terminal."""

    def write(self, content: bytes) -> None:
        console.file.flush()
        buffer = getattr(console.file, "buffer", None)
        if buffer is None:
            console.file.write(content.decode())
        else:
            buffer.write(content)
            buffer.flush()


def _cells(values: Column) -> list[str]:
    if values.dtype != object:
        return [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values.tolist()]
    return [
        "" if value is None else (write_number(value) or "") if isinstance(value, float) else str(value)
        for value in values.tolist()
    ]
