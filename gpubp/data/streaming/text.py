"""CSV and TSV files, or a folder of them, in blocks of whole rows that can be read in any order.

Where rows begin is found in one pass through each file when it is opened: a row ends at a line's end that has an even
number of quotation marks before it. Columns have the types that the first block of the first file shows.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.text import brief
from gpubp.data.readers import MOST_LINE, Table, table_from_mapping
from gpubp.data.streaming.sources import BLOCK_BYTES, FileState
from gpubp.data.streaming.tables import Piece, pyarrow_module
from gpubp.errors import DataError

NEWLINE, RETURN, QUOTE = b'\n\r"'
UTF8_MARK = b"\xef\xbb\xbf"
GROWTH = 8  # times the bytes of text: as Arrow's columns, as NumPy's, text as Python's objects


class Block(NamedTuple):
    """Whole rows of a file: from which byte to which, how many, and how many lie before them."""

    start: int
    stop: int
    n_rows: int
    first: int


class TextFile:
    """A CSV file of which it is known where its rows begin."""

    def __init__(self, path: Path, separator: str | None) -> None:
        self.path, self.state = path, FileState.of(path)
        self.separator = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            with path.open("rb") as file:
                header, begin = _header(file)
                self.blocks = list(_blocks(file, begin))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if not self.blocks:
            raise DataError(f"{path} has a header and no rows; at least one is needed, or leave the file out")
        self.names = self._parsed(header, None, {}).column_names if header.strip() else []
        self.names = [name.strip() for name in self.names]

    def read(self, block: Block, types: dict[str, Any]) -> Any:
        """Read a block as a table of Arrow."""
        doing = f"rows {block.first + 1:,} to {block.first + block.n_rows:,}"
        self.state.check(doing)
        with self.path.open("rb") as file:
            file.seek(block.start)
            text = file.read(block.stop - block.start)
        try:
            table = self._parsed(text, self.names, types)
        except Exception as error:  # Arrow raises several kinds; each means that these rows are bad
            told = brief(" ".join(str(error).split()), 200).rstrip(".")
            raise DataError(
                f"{self.path}, {doing}: {told}. Columns must be as the first rows of the first file show them, numbers "
                "or text; Parquet files carry the types of their columns"
            ) from error
        if table.num_rows != block.n_rows:
            raise DataError(
                f"{self.path}, {doing}: {table.num_rows:,} rows were read; a quotation mark is not closed, or stands "
                "within a field without being doubled"
            )
        return table

    def _parsed(self, text: bytes, names: list[str] | None, types: dict[str, Any]) -> Any:
        csv = pyarrow_module("csv", self.path)
        return csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1 << 20, len(text) + 1)),
            parse_options=csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(true_values=[], false_values=[], column_types=types),
        )


class TextTables:
    """CSV files with the same columns."""

    def __init__(self, paths: list[Path], name: str, separator: str | None = None) -> None:
        self.name, self.files = name, [TextFile(path, separator) for path in paths]
        first = self.files[0]
        self.names = tuple(first.names)
        for file in self.files:
            if set(file.names) != set(self.names) or len(set(file.names)) < len(file.names):
                raise DataError(
                    f"{file.path} has the columns {', '.join(file.names)[:100]}, {first.path} has "
                    f"{', '.join(self.names)[:100]}; all files need the same, each once"
                )
        self.types = _types(first.read(first.blocks[0], {}))
        self.dtype = "float32"  # as text says of no number how exact it is
        self.blocks = [(file, block) for file in self.files for block in file.blocks]
        self.counts = np.asarray([block.n_rows for _, block in self.blocks], np.int64)
        self.begins = np.cumsum(self.counts) - self.counts
        self.bytes_in_hand = GROWTH * max(block.stop - block.start for _, block in self.blocks)

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read blocks."""
        for number in range(len(self.blocks)) if blocks is None else blocks:
            file, block = self.blocks[int(number)]
            table = file.read(block, self.types).select(list(self.names))
            yield Piece(self._table(table, file), str(file.path), block.first, int(self.begins[int(number)]))

    def _table(self, table: Any, file: TextFile) -> Table:
        return table_from_mapping(table, source=str(file.path))


def _types(table: Any) -> dict[str, Any]:
    """Choose the types of columns from some rows: numbers with room for fractions and gaps, else text."""
    import pyarrow

    numbers = ("null", "int64", "double")
    text = pyarrow.string()
    return {field.name: pyarrow.float64() if str(field.type) in numbers else text for field in table.schema}


def _header(file: Any) -> tuple[bytes, int]:
    """Read the first line that is not empty, or the lines that it goes over; where the rows begin."""
    lines: list[bytes] = []
    n_quotes = 0
    while line := file.readline(MOST_LINE):
        line = line if lines else line.removeprefix(UTF8_MARK)
        if not lines and not line.strip():
            continue
        lines.append(line)
        n_quotes += line.count(QUOTE)
        if file.tell() > MOST_LINE:
            raise DataError(f"{file.name}: the header is {_too_long()}")
        if n_quotes % 2 == 0:
            break
    return b"".join(lines), file.tell()


def _too_long() -> str:
    return f"longer than {MOST_LINE:,} bytes, perhaps for want of a quotation mark that closes a field"


def _blocks(file: Any, begin: int) -> Iterator[Block]:
    """Find whole rows of about BLOCK_BYTES; lines that are empty are no rows."""
    start, n_rows, first = begin, 0, 0  # of the block that is looked for, and the rows before it
    line, quotes, after_return = begin, 0, False  # where the present line begins, and what is behind us in it
    place = begin
    while chunk := file.read(BLOCK_BYTES):
        found = np.frombuffer(chunk, np.uint8)
        at_quote = found == QUOTE
        odd = (np.cumsum(at_quote) + quotes) % 2
        ends = np.flatnonzero((found == NEWLINE) & (odd == 0))
        before_end = np.where(ends > 0, found[ends - 1], RETURN if after_return else 0)
        lengths = np.diff(place + ends, prepend=line - 1) - 1 - (before_end == RETURN)
        quotes, after_return = quotes + int(np.sum(at_quote)), bool(found[-1] == RETURN)
        if not len(ends) and place + len(chunk) - start > MOST_LINE:
            raise DataError(f"{file.name}: row {first + 1:,} is {_too_long()}")
        if len(ends):
            n_rows += int(np.sum(lengths > 0))
            line = place + int(ends[-1]) + 1
            if n_rows:
                yield Block(start, line, n_rows, first)
                start, first, n_rows = line, first + n_rows, 0
        place += len(chunk)
    if place > line:  # a last row without a line's end
        yield Block(start, place, n_rows + 1, first)
