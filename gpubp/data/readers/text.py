"""CSV and TSV files, parsed by pyarrow. Every field is read as text, so that no type is inferred on the way."""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpubp._core.text import excerpt
from gpubp.data._arrow import import_pyarrow, numbers_in_texts, texts_to_numpy
from gpubp.data._column_values import first_invalid_text
from gpubp.data._limits import MAX_LINE_BYTES, check_unpacked_size
from gpubp.data._text_values import read_number
from gpubp.data.table import NO_HEADER, RawTable
from gpubp.errors import DataError

UTF8_FIX = "save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or convert it: iconv -f LATIN1 -t UTF-8 old.csv > new.csv"
UTF8_MARK = b"\xef\xbb\xbf"


def read_text(path: Path, separator: str) -> RawTable:
    """Read a CSV or TSV file, compressed or not."""
    lib = import_pyarrow("lib", path)
    is_compressed = path.suffix.lower() == ".gz"
    size = MAX_LINE_BYTES if is_compressed else min(max(path.stat().st_size, 2**20), MAX_LINE_BYTES)
    with gzip.open(path) if is_compressed else path.open("rb") as file:
        header, _ = read_header(file)
    names = parse_names(header, path, separator)
    check_names([name.strip() for name in names], path, separator)
    with lib.input_stream(path, compression="gzip" if is_compressed else None) as stream:
        text = _CheckedText(stream, path)
        table = parse_rows(text, path, separator, names, size, has_header=True)
    raw = raw_table_from_fields(table, str(path))
    last = [value for _, values in raw.columns for value in values[-1:] if isinstance(value, str)]
    if any("\n" in value for value in last) and text.n_quotes % 2:  # Arrow reads the rest of the file as one field
        raise DataError(f"{path}: a quotation mark is not closed, and its field runs to the end of the file; close it")
    return raw


def read_header(file: Any) -> tuple[bytes, int]:
    """Return the header (the first non-empty line with its continuation lines) and the position of the first row."""
    lines: list[bytes] = []
    n_quotes = 0
    while line := file.readline(MAX_LINE_BYTES):
        line = line if lines else line.removeprefix(UTF8_MARK)
        if not lines and not line.strip(b"\r\n"):
            continue
        lines.append(line)
        n_quotes += line.count(b'"')
        if file.tell() > MAX_LINE_BYTES:
            raise DataError(f"{file.name}: the header is {too_long()}")
        if n_quotes % 2 == 0:
            break
    return b"".join(lines), file.tell()


def too_long() -> str:
    """Describe a line that exceeds the limit, for messages."""
    return f"longer than {MAX_LINE_BYTES:,} bytes, perhaps because the quotation mark that closes a field is missing"


def parse_names(header: bytes, path: Path, separator: str) -> list[str]:
    """Return the fields of a header; none if it is empty."""
    if not header:
        return []
    _refuse_zero_bytes(path, header, 0)
    names: list[str] = _parse(io.BytesIO(header), path, separator, {}, block_size=len(header) + 2**20).column_names
    return names


def parse_rows(file: Any, path: Path, separator: str, names: list[str], size: int, *, has_header: bool) -> Any:
    """Parse rows, in blocks of `size` bytes, as a pyarrow table of bytes, of which nothing is converted."""
    types = dict.fromkeys(names, import_pyarrow("lib", path).binary())
    options = {} if has_header else {"column_names": names}
    return _parse(file, path, separator, types, block_size=size, **options)


def raw_table_from_fields(table: Any, source: str, first_row: int = 0) -> RawTable:
    """Return the columns of :func:`parse_rows`: numbers if all fields are numbers or missing, and else text.

    Parameters
    ----------
    table : pyarrow.Table
    source : str
        The file, for messages.
    first_row : int
        The number of rows before these, for messages.

    Raises
    ------
    DataError
        If a field is not UTF-8.
    """
    import pyarrow

    columns, written = [], {}
    for field, column in zip(table.column_names, table.columns, strict=True):
        name = field.strip()
        try:
            texts = column.cast(pyarrow.string())
        except pyarrow.ArrowInvalid:
            row = first_invalid_text(column.to_pylist())
            where = "" if row is None else f"row {first_row + row + 1:,}{NO_HEADER} of "
            raise DataError(f"{source} is not UTF-8 text, as {where}column {name!r} shows; {UTF8_FIX}") from None
        numbers = numbers_in_texts(texts)
        if numbers is not None:
            written[name] = texts
        columns.append((name, texts_to_numpy(texts) if numbers is None else numbers))
    return RawTable(columns, source, (), written, has_header=True, first_row=first_row)


def _parse(file: Any, path: Path, separator: str, types: dict[str, Any], **options: Any) -> Any:
    csv = import_pyarrow("csv", path)
    return csv.read_csv(
        file,
        # With one thread, which is still fast, the parser reports the number of a ragged row.
        read_options=csv.ReadOptions(use_threads=False, **options),
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types),
    )


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
        _refuse_zero_bytes(self.path, block, self.n_lines)
        self.n_lines += block.count(b"\n")
        self.n_quotes += block.count(b'"')
        return block

    def close(self) -> None:
        self.closed = True


def _refuse_zero_bytes(path: Path, block: bytes, n_lines: int) -> None:
    """Raise a DataError that names the line if a block, before which there are `n_lines` lines, has a zero byte."""
    if (place := block.find(b"\0")) >= 0:
        line = n_lines + block.count(b"\n", 0, place) + 1
        raise DataError(f"{path} is not text: line {line:,} has a zero byte; if it is UTF-16, save it as UTF-8")


def check_names(names: Sequence[str], path: Path, separator: str) -> None:
    """Raise a DataError if the fields seem to have another separator, or the first line seems to be data."""
    if len(names) == 1 and (other := next((c for c in ";\t,|" if c in names[0] and c != separator), None)):
        give = f"pass --separator {other!r}, or read_table(path, separator={other!r})"
        fix = "name the file .tsv" if other == "\t" else give
        problem = f"one column named {excerpt(repr(names[0]))}: the fields seem to be separated by {other!r}"
        raise DataError(f"{path}: {problem}; {fix}")
    if any("." in name and read_number(name) is not None for name in names):
        shown = excerpt(", ".join(names[:12]), 60)
        raise DataError(f"{path}: the first line seems to be data ({shown}); add a header line")
