"""CSV and TSV files, or a folder of them, in blocks of whole rows that can be read in any order.

When a file is opened, one pass finds where rows begin: a row ends at a line's end that has an even number of quotation
marks before it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.readers.text import check_names, parse_names, parse_rows, raw_table_from_fields, read_header, too_long
from gpubp.data.streaming._source import BLOCK_BYTES, FileState
from gpubp.data.streaming.table_source import Piece
from gpubp.data.table import NO_HEADER, Table, build_table
from gpubp.errors import DataError

NEWLINE, RETURN, QUOTE = b'\n\r"'

MEMORY_PER_TEXT_BYTE = 8
"""Bytes of memory per byte of text, for Arrow's columns, NumPy's columns and Python's text objects."""


class TextBlock(NamedTuple):
    """Whole rows of a file: the bytes from `start` to `stop`, their number, and the number of rows before them."""

    start: int
    stop: int
    n_rows: int
    first: int


class TextFile:
    """A CSV file and the positions at which its blocks of rows begin."""

    def __init__(self, path: Path, separator: str | None) -> None:
        self.path, self.state = path, FileState.of(path)
        self.separator = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            with path.open("rb") as file:
                header, begin = read_header(file)
                self.blocks = list(_find_blocks(file, begin))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if not self.blocks:
            raise DataError(f"{path} has a header and no rows; add a row, or remove the file")
        self.fields = parse_names(header, path, self.separator)
        self.names = [field.strip() for field in self.fields]
        check_names(self.names, path, self.separator)

    def read(self, block: TextBlock) -> Table:
        """Read a block as a table."""
        described = f"rows {block.first + 1:,} to {block.first + block.n_rows:,}{NO_HEADER}"
        self.state.check(described)
        with self.path.open("rb") as file:
            file.seek(block.start)
            text = file.read(block.stop - block.start)
        try:
            size = max(1 << 20, len(text) + 1)
            fields = parse_rows(io.BytesIO(text), self.path, self.separator, self.fields, size, has_header=False)
        except Exception as error:  # Arrow raises several kinds of exceptions
            in_file = re.sub(r"Row #(\d+)", lambda match: f"row {int(match[1]) + block.first:,}", str(error))
            reason = excerpt(" ".join(in_file.split()), 200).rstrip(".")
            raise DataError(
                f"{self.path}, {described}: {reason}. Each row needs as many fields as the header"
            ) from error
        if fields.num_rows != block.n_rows:
            raise DataError(
                f"{self.path}, {described}: {fields.num_rows:,} rows were read; a quotation mark is not closed, or "
                "is inside a field without being doubled"
            )
        return build_table(*raw_table_from_fields(fields, str(self.path), block.first))


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
                    f"{', '.join(self.names)[:100]}; all files need the same columns, each once"
                )
        self.dtype = "float32"  # text does not show the precision of a number
        self.blocks = [(file, block) for file in self.files for block in file.blocks]
        self.counts = np.asarray([block.n_rows for _, block in self.blocks], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.reading_bytes = MEMORY_PER_TEXT_BYTE * max(block.stop - block.start for _, block in self.blocks)

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read blocks."""
        for number in range(len(self.blocks)) if blocks is None else blocks:
            file, block = self.blocks[int(number)]
            yield Piece(file.read(block), str(file.path), block.first, int(self.starts[int(number)]))


def _find_blocks(file: Any, begin: int) -> Iterator[TextBlock]:
    """Find blocks of whole rows of about BLOCK_BYTES; empty lines are not rows."""
    start, n_rows, first = begin, 0, 0  # of the current block; the rows before it
    line, quotes, after_return = begin, 0, False  # start of the current line; its state
    place = begin
    while chunk := file.read(BLOCK_BYTES):
        content = np.frombuffer(chunk, np.uint8)
        at_quote = content == QUOTE
        odd = (np.cumsum(at_quote) + quotes) % 2
        ends = np.flatnonzero((content == NEWLINE) & (odd == 0))
        before_end = np.where(ends > 0, content[ends - 1], RETURN if after_return else 0)
        lengths = np.diff(place + ends, prepend=line - 1) - 1 - (before_end == RETURN)
        quotes, after_return = quotes + int(np.sum(at_quote)), bool(content[-1] == RETURN)
        if not len(ends) and place + len(chunk) - start > MAX_LINE_BYTES:
            raise DataError(f"{file.name}: row {first + 1:,} is {too_long()}")
        if len(ends):
            n_rows += int(np.sum(lengths > 0))
            line = place + int(ends[-1]) + 1
            if n_rows:
                yield TextBlock(start, line, n_rows, first)
                start, first, n_rows = line, first + n_rows, 0
        place += len(chunk)
    if place > line:  # a last row without a newline
        yield TextBlock(start, place, n_rows + 1, first)
