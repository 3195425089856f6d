"""Text files, or a folder of them, in blocks of whole rows that can be read in any order.

When a file is opened, one pass finds where rows begin: a row ends at a line's end that has an even number of quotation
marks before it.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.files import open_regular
from gpubp._core.text import brief
from gpubp.data._limits import MAX_LINE_BYTES, too_long
from gpubp.data.readers import separator_of
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.readers.sniffing import Layout
from gpubp.data.readers.text import is_ragged, parse_rows, raw_table_from_fields, read_layout, rows_as_utf8
from gpubp.data.streaming._source import BLOCK_BYTES, FileState
from gpubp.data.streaming.table_source import Piece
from gpubp.data.table import NO_HEADER, Table, build_table
from gpubp.errors import DataError

NEWLINE, RETURN = b"\n\r"

MEMORY_PER_TEXT_BYTE = 8
"""Bytes of memory per byte of text, for Arrow's columns, NumPy's columns and Python's text objects."""


class TextBlock(NamedTuple):
    """Whole rows of a file: the bytes from `start` to `stop`, their number, and the number of rows before them."""

    start: int
    stop: int
    n_rows: int
    first: int


class TextFile:
    """A text file, its layout, and the positions at which its blocks of rows begin."""

    def __init__(self, path: Path, options: TextOptions) -> None:
        self.path, self.state = path, FileState.of(path)
        self.short_rows: dict[int, int] = {}
        """Number of rows with fewer fields than columns, by the first row of their block."""
        try:
            with open_regular(path) as file:
                self.layout = read_layout(file, options, separator_of(path), str(path))
                if self.layout.dialect.encoding.startswith(("utf-16", "utf-32")):
                    raise DataError(
                        f"{path} is {self.layout.dialect.encoding}, which cannot be read in parts; save it as UTF-8"
                    )
                file.seek(self.layout.start)
                self.blocks = list(_find_blocks(file, self.layout))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if not self.blocks:
            raise DataError(f"{path} has a header and no rows; add a row, or remove the file")
        self.names = [name for name in self.layout.names if name]

    def read(self, block: TextBlock) -> Table:
        """Read a block as a table."""
        no_header = NO_HEADER if self.layout.dialect.header else ""
        described = f"rows {block.first + 1:,} to {block.first + block.n_rows:,}{no_header}"
        self.state.check(described)
        with self.path.open("rb") as file:
            file.seek(block.start)
            text = file.read(block.stop - block.start)
        try:
            fields = self._parse(text, block)
        except DataError:
            raise
        except Exception as error:  # Arrow raises several kinds of exceptions
            reason = re.sub(r"Row #(\d+)", lambda match: f"row {int(match[1]) + block.first:,}", brief(error))
            raise DataError(
                f"{self.path}, {described}: {reason}. Each row needs as many fields as the header"
            ) from error
        if fields.num_rows != block.n_rows:
            raise DataError(
                f"{self.path}, {described}: {fields.num_rows:,} rows were read; a quotation mark is not closed, or "
                "is inside a field without being doubled"
            )
        return build_table(raw_table_from_fields(fields, self.layout, str(self.path), block.first))

    def _parse(self, text: bytes, block: TextBlock) -> Any:
        blocks = list(rows_as_utf8(io.BytesIO(text), self.layout.dialect.encoding))
        layout, size = self.layout, len(text) + 1
        try:
            parsed = parse_rows(blocks, layout, str(self.path), block.first, size)
            if not layout.needs_repair and not parsed.has_comment:
                return parsed.table
        except ValueError as error:  # pyarrow.ArrowInvalid is one
            if isinstance(error, DataError) or not is_ragged(error):
                raise
        parsed = parse_rows(blocks, replace(layout, needs_repair=True), str(self.path), block.first, size)
        self.short_rows[block.first] = parsed.n_short
        return parsed.table


class TextTables:
    """Text files with the same columns."""

    def __init__(self, paths: list[Path], name: str, options: TextOptions | None = None) -> None:
        self.name, self.files = name, [TextFile(path, options or TextOptions()) for path in paths]
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the files, in short sentences; complete after all blocks are read."""
        n_short = sum(sum(file.short_rows.values()) for file in self.files)
        rows = f"{n_short:,} rows have" if n_short > 1 else "a row has"
        short = (f"{rows} fewer fields than columns, and the rest is missing",) if n_short else ()
        return (*dict.fromkeys(note for file in self.files for note in file.layout.notes), *short)

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read blocks."""
        for number in range(len(self.blocks)) if blocks is None else blocks:
            file, block = self.blocks[int(number)]
            yield Piece(file.read(block), str(file.path), block.first, int(self.starts[int(number)]))


def _find_blocks(file: Any, layout: Layout) -> Iterator[TextBlock]:
    """Find blocks of whole rows of about BLOCK_BYTES; empty lines and comments are not rows."""
    quote, comment = layout.dialect.quote.encode(), layout.dialect.comment.encode()
    start = line = place = file.tell()  # of the current block, of the current line, of the chunk
    n_rows, first = 0, 0  # of the current block; the rows before it
    quotes, after_return, line_is_comment = 0, False, False  # state of the current line
    while chunk := file.read(BLOCK_BYTES):
        content = np.frombuffer(chunk, np.uint8)
        at_quote = content == quote[0] if quote else np.zeros(len(content), bool)
        odd = (np.cumsum(at_quote) + quotes) % 2
        ends = np.flatnonzero((content == NEWLINE) & (odd == 0))
        before_end = np.where(ends > 0, content[ends - 1], RETURN if after_return else 0)
        lengths = np.diff(place + ends, prepend=line - 1) - 1 - (before_end == RETURN)
        begins = np.append(line - place, ends + 1)  # of the lines that end in the chunk, and of the next one
        inside = np.flatnonzero((begins >= 0) & (begins < len(content)))
        is_comment = np.zeros(len(begins), bool)
        is_comment[0] = line_is_comment
        if comment:
            is_comment[inside] = content[begins[inside]] == comment[0]
        quotes, after_return = quotes + int(np.sum(at_quote)), bool(content[-1] == RETURN)
        line_is_comment = bool(is_comment[-1])
        if not len(ends) and place + len(chunk) - start > MAX_LINE_BYTES:
            raise DataError(f"{file.name}: row {first + 1:,} is {too_long()}")
        if len(ends):
            n_rows += int(np.sum((lengths > 0) & ~is_comment[:-1]))
            line = place + int(ends[-1]) + 1
            if n_rows:
                yield TextBlock(start, line, n_rows, first)
                start, first, n_rows = line, first + n_rows, 0
        place += len(chunk)
    if place > line and not line_is_comment:  # a last row without a newline
        yield TextBlock(start, place, n_rows + 1, first)
