"""CSV and TSV files, read by pyarrow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpubp._core.text import brief
from gpubp.data._arrow import arrow_to_numpy, import_pyarrow
from gpubp.data._column_values import first_invalid_text
from gpubp.data._limits import MAX_LINE_BYTES, check_unpacked_size
from gpubp.data.table import RawTable
from gpubp.errors import DataError

UTF8_FIX = "save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or convert it: iconv -f LATIN1 -t UTF-8 old.csv > new.csv"


def read_text(path: Path, separator: str) -> RawTable:
    """Read a CSV or TSV file, compressed or not."""
    csv, lib = import_pyarrow("csv", path), import_pyarrow("lib", path)
    is_compressed = path.suffix.lower() == ".gz"
    size = MAX_LINE_BYTES if is_compressed else min(max(path.stat().st_size, 2**20), MAX_LINE_BYTES)
    with lib.input_stream(path, compression="gzip" if is_compressed else None) as stream:
        text = _CheckedText(stream, path)
        table = csv.read_csv(
            text,
            # With one thread, which is still fast, the parser reports the number of a ragged row.
            read_options=csv.ReadOptions(use_threads=False, block_size=size),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(true_values=[], false_values=[]),  # text is not converted
        )
    names = [name.strip() for name in table.column_names]
    _check_encoding(path, names, table)
    columns = [arrow_to_numpy(column) for column in table.columns]
    last = [value for values in columns for value in values[-1:] if isinstance(value, str)]
    if any("\n" in value for value in last) and text.n_quotes % 2:  # Arrow reads the rest of the file as one field
        raise DataError(f"{path}: a quotation mark is not closed, and its field runs to the end of the file; close it")
    _check_header(path, names, separator)
    return RawTable(list(zip(names, columns, strict=True)), str(path))


class _CheckedText:
    """A file's bytes as the parser reads them: counted, unpacked within limits, and without zero bytes."""

    closed = False

    def __init__(self, stream: Any, path: Path) -> None:
        self.stream, self.path, self.is_compressed = stream, path, path.suffix.lower() == ".gz"
        self.n_bytes = self.n_lines = self.n_quotes = 0

    def read(self, n: int = -1) -> bytes:
        block: bytes = self.stream.read(n)
        self.n_bytes += len(block)
        if self.is_compressed:
            fix = "if it can be trusted, unpack it with gunzip and use that file"
            check_unpacked_size(self.path, self.n_bytes, fix)
        if (place := block.find(b"\0")) >= 0:
            line = self.n_lines + block.count(b"\n", 0, place) + 1
            raise DataError(
                f"{self.path} is not text: line {line:,} has a zero byte; if it is UTF-16, save it as UTF-8"
            )
        self.n_lines += block.count(b"\n")
        self.n_quotes += block.count(b'"')
        return block

    def close(self) -> None:
        self.closed = True


def _check_encoding(path: Path, names: Sequence[str], table: Any) -> None:
    for name, column in zip(names, table.columns, strict=True):
        if str(column.type) == "binary":  # Arrow's type for text in other encodings
            row = first_invalid_text(column.to_pylist())
            where = "" if row is None else f"row {row + 2:,} (the header is row 1) of "
            raise DataError(f"{path} is not UTF-8 text, as {where}column {name!r} shows; {UTF8_FIX}")


def _check_header(path: Path, names: Sequence[str], separator: str) -> None:
    """Raise a DataError if the fields seem to have another separator, or the first line seems to be data."""
    if len(names) == 1 and (other := next((c for c in ";\t,|" if c in names[0] and c != separator), None)):
        give = f"pass --separator {other!r}, or read_table(path, separator={other!r})"
        fix = "name the file .tsv" if other == "\t" else give
        found = f"one column named {brief(repr(names[0]))}: the fields seem to be separated by {other!r}"
        raise DataError(f"{path}: {found}; {fix}")
    if any("." in name and _is_number(name) for name in names):
        shown = brief(", ".join(names[:12]), 60)
        raise DataError(f"{path}: the first line seems to be data ({shown}); add a header line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
