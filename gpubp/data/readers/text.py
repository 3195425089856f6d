"""Text files, parsed by pyarrow. Every field is read as text, so that no type is inferred on the way."""

import codecs
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from gpubp.data._arrow import import_pyarrow, numbers_in_texts
from gpubp.data._column_values import first_invalid_text
from gpubp.data._limits import MAX_LINE_BYTES, too_long
from gpubp.data._written_texts import WrittenTexts
from gpubp.data.readers._encoding import ENCODING_FIX, is_western, refuse_zero_bytes
from gpubp.data.readers._input_file import InputFile
from gpubp.data.readers._number_marks import write_plainly
from gpubp.data.readers._records import NOT_CLOSED, RepairedText, rewritten_separator
from gpubp.data.readers.dialect import Dialect, TextOptions
from gpubp.data.readers.sniffing import SAMPLE_BYTES, Layout, sniff
from gpubp.data.table import NO_HEADER, RawTable
from gpubp.errors import DataError

_NEWLINE = ord("\n")
_BLOCK_BYTES = 1 << 20
_MIN_BYTES_OF_THREADS = 1 << 24


class NotUtf8(DataError):
    """A field is not UTF-8."""


def read_text(source: InputFile, options: TextOptions | None = None, expected: str = ",") -> RawTable:
    """Read a text file.

    Parameters
    ----------
    source : InputFile
    options : TextOptions, optional
        What the caller has chosen of the dialect.
    expected : str
        The separator that the file's name suggests.
    """
    options = options or TextOptions()
    try:
        return _read(source, options, expected)
    except NotUtf8:
        if options.encoding is not None or not _is_western(source):
            raise
        raw = _read(source, replace(options, encoding="cp1252"), expected)
        note = "the text is read as cp1252 (Windows, Western Europe), as it is not UTF-8 (option encoding)"
        return raw._replace(notes=(note, *raw.notes))


def read_layout(file: BinaryIO, options: TextOptions | None, expected: str, source: str) -> Layout:
    """Find the layout of a text file from its beginning.

    Raises
    ------
    DataError
        If it holds no table.
    """
    content = file.read(SAMPLE_BYTES)
    while len(content) < SAMPLE_BYTES and (more := file.read(SAMPLE_BYTES - len(content))):  # short reads
        content += more
    layout = sniff(content, options, expected=expected, source=source, is_whole=len(content) < SAMPLE_BYTES)
    if not layout.names:
        if layout.dialect.quote.encode() in content:
            raise DataError(f"{source}: the header is {too_long()}")
        raise DataError(f"{source} holds no table: all lines are empty or comments; write the data again")
    return layout


def parse_rows(blocks: Iterable[bytes], layout: Layout, source: str, first_row: int = 0, size: int = 0) -> "ParsedRows":
    """Parse rows in UTF-8 as a pyarrow table of bytes, of which nothing is converted; empty fields are null.

    Parameters
    ----------
    blocks : iterable of bytes
    layout : Layout
    source : str
        The file, for messages.
    first_row : int
        The number of rows before these.
    size : int
        Bytes that pyarrow parses at a time; a row is no longer.
    """
    names = _names_of_places(layout)
    repaired = RepairedText(layout.dialect, len(names), source, first_row) if layout.needs_repair else None
    counted = _Counted(source, layout.dialect)
    texts = counted.blocks(blocks)
    file = _BlockFile(repaired.blocks(texts) if repaired else texts)
    lib = import_pyarrow("lib", source)
    if not file.has_more():
        return ParsedRows(lib.table({name: lib.array([], lib.binary()) for name in names}), False, 0, 0)
    table = _read_csv(file, layout, source, min(max(size, _BLOCK_BYTES), MAX_LINE_BYTES), lib.binary())
    n_short, first_short = (repaired.n_short, repaired.first_short) if repaired else (0, 0)
    return ParsedRows(table, counted.has_comment, n_short, first_short)


def parse_lines(blocks: Iterable[bytes], layout: Layout, source: str) -> "ParsedRows | None":
    """Parse text each of whose lines is a row, as texts, in several threads; return None where it is not such text.

    Each thread parses blocks of its own: threads of pyarrow may wait for ever where one finds an error
    (https://github.com/apache/arrow/issues/43892).
    """
    lib = import_pyarrow("lib", source)
    counted, quote = _Counted(source, layout.dialect), layout.dialect.quote.encode()

    def parse(lines: bytes) -> Any:
        table = _read_csv(lib.BufferReader(lines), layout, source, len(lines), lib.string(), by_line=True)
        if quote and quote in lines and any("\n" in (column[-1].as_py() or "") for column in table.columns):
            raise lib.ArrowInvalid("a line ends inside quotation marks")
        return table

    try:
        with ThreadPoolExecutor(lib.cpu_count()) as pool:
            tables = list(_map_some(pool, parse, _whole_lines(counted.blocks(blocks)), 2 * lib.cpu_count()))
    except ValueError as error:  # pyarrow.ArrowInvalid is one
        if isinstance(error, DataError):
            raise
        return None
    if not tables or counted.n_lines != sum(table.num_rows for table in tables):
        return None
    return ParsedRows(lib.concat_tables(tables), counted.has_comment, 0, 0)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Divide blocks where lines end, not inside of lines."""
    parts: list[bytes] = []  # of a line
    n_bytes = 0
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*parts, block[:end]])
            parts, n_bytes = [], 0
        parts.append(block[end:])
        if (n_bytes := n_bytes + len(parts[-1])) > MAX_LINE_BYTES:
            raise ValueError("a line is too long")
    if n_bytes:
        yield b"".join(parts)


def _map_some(pool: Executor, function: Callable[[bytes], Any], items: Iterable[bytes], most: int) -> Iterator[Any]:
    """Map as a pool does, with at most some items at a time."""
    running: deque[Future[Any]] = deque()
    for item in items:
        running.append(pool.submit(function, item))
        if len(running) == most:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _names_of_places(layout: Layout) -> list[str]:
    return [str(place) for place in range(len(layout.names))]


def _read_csv(file: Any, layout: Layout, source: str, size: int, kind: Any, *, by_line: bool = False) -> Any:
    csv, dialect, names = import_pyarrow("csv", source), layout.dialect, _names_of_places(layout)
    return csv.read_csv(
        file,
        read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=size),
        parse_options=csv.ParseOptions(
            delimiter=rewritten_separator(dialect),
            quote_char=dialect.quote or False,
            double_quote=not dialect.escape,
            escape_char=dialect.escape or False,
            newlines_in_values=not by_line,
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, kind), null_values=[""], strings_can_be_null=True
        ),
    )


@dataclass(frozen=True)
class ParsedRows:
    """Rows as a pyarrow table, and what was counted on the way."""

    table: Any
    has_comment: bool
    n_short: int
    first_short: int

    def note_short(self, *, no_header: str = "") -> tuple[str, ...]:
        """Describe rows with fewer fields than the header."""
        if not self.n_short:
            return ()
        rows = f"{self.n_short:,} rows have" if self.n_short > 1 else "a row has"
        first = "the first is" if self.n_short > 1 else "it is"
        return (
            f"{rows} fewer fields than columns, and the rest is missing; {first} row {self.first_short:,}{no_header}",
        )


def raw_table_from_fields(
    table: Any, layout: Layout, source: str, first_row: int = 0, *, texts_only: Sequence[str] = (), missing: str = ""
) -> RawTable:
    """Return the columns of :func:`parse_rows`: numbers if all fields are numbers or missing, and else text.

    Parameters
    ----------
    table : pyarrow.Table
    layout : Layout
    source : str
        The file, for messages.
    first_row : int
        The number of rows before these, for messages.
    texts_only : sequence of str
        Columns that hold text, also if all fields are numbers.
    missing : str
        The field that stands for a missing value, in addition to the empty one.

    Raises
    ------
    DataError
        If a field is not UTF-8, or there are more fields than columns.
    """
    import pyarrow
    from pyarrow import compute

    no_header = NO_HEADER if layout.dialect.header else ""

    def convert(name: str, column: Any) -> tuple[Any, Any]:
        """Return the texts of a column, and its numbers or None."""
        try:
            texts = column.cast(pyarrow.string())
        except pyarrow.ArrowInvalid:
            row = first_invalid_text(column.to_pylist())
            where = "" if row is None else f"row {first_row + row + 1:,}{no_header} of "
            raise NotUtf8(f"{source} is not UTF-8 text, as {where}column {name!r} shows; {ENCODING_FIX}") from None
        if not name:
            _refuse_surplus(texts, layout, source, first_row)
            return texts, None
        if missing:
            texts = compute.if_else(compute.equal(texts, missing), pyarrow.scalar(None, pyarrow.string()), texts)
        if name in texts_only and texts.null_count < len(texts):
            return texts, None
        return texts, numbers_in_texts(write_plainly(texts, layout.dialect.decimal, layout.dialect.thousands))

    if table.nbytes > _MIN_BYTES_OF_THREADS:  # pyarrow converts without the interpreter lock
        with ThreadPoolExecutor() as pool:
            converted = list(pool.map(convert, layout.names, table.columns))
    else:
        converted = list(map(convert, layout.names, table.columns))
    columns, written = [], {}
    for name, (texts, numbers) in zip(layout.names, converted, strict=True):
        if name:
            written[name] = WrittenTexts(texts)
            columns.append((name, written[name] if numbers is None else numbers))
    return RawTable(
        columns,
        source,
        layout.targets,
        written,
        has_header=layout.dialect.header,
        first_row=first_row,
        notes=layout.notes,
        decimal=layout.dialect.decimal,
        thousands=layout.dialect.thousands,
    )


def rows_as_utf8(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Read the rest of a file in blocks, in UTF-8."""
    if encoding == "utf-8":
        while block := file.read(_BLOCK_BYTES):
            yield block
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    while block := file.read(_BLOCK_BYTES):
        yield decoder.decode(block).encode()
    yield decoder.decode(b"", final=True).encode()


def is_ragged(error: Exception) -> bool:
    """Return whether pyarrow found a row with more or fewer fields than columns."""
    return re.search(r"Expected \d+ columns, got \d+", str(error)) is not None


def _read(source: InputFile, options: TextOptions, expected: str) -> RawTable:
    with source.open() as file:
        layout = read_layout(file, options, expected, source.name)
    return read_rows(source, layout)


def read_rows(source: InputFile, layout: Layout, *, texts_only: Sequence[str] = (), missing: str = "") -> RawTable:
    """Read the rows of a text file whose layout is known; see :func:`raw_table_from_fields`."""
    parsed, layout = _parse_or_repair(source, layout)
    raw = raw_table_from_fields(parsed.table, layout, source.name, texts_only=texts_only, missing=missing)
    texts = [values for _, values in raw.columns if isinstance(values, WrittenTexts) and len(values)]
    last = [values.part(len(values) - 1)[0].as_py() or "" for values in texts]
    if any("\n" in value for value in last) and _count_quotes(source, layout) % 2:
        raise DataError(f"{source.name}: {NOT_CLOSED}")  # Arrow reads the rest of the file as one field
    return raw._replace(notes=raw.notes + parsed.note_short(no_header=NO_HEADER if layout.dialect.header else ""))


def _parse_or_repair(source: InputFile, layout: Layout) -> tuple[ParsedRows, Layout]:
    """Parse a file as it is, or with its lines rewritten if the rows are not even."""
    if not layout.needs_repair:
        try:
            parsed = _parse(source, layout)
        except DataError:
            raise
        except Exception as error:  # pyarrow raises several kinds of exceptions
            if not is_ragged(error):
                raise
            layout = replace(layout, needs_repair=True)
        else:
            if not (parsed.has_comment and layout.dialect.comment):
                return parsed, layout
            layout = replace(layout, needs_repair=True)
    return _parse(source, layout), layout


def _parse(source: InputFile, layout: Layout) -> ParsedRows:
    if not layout.needs_repair and not layout.has_long_records:
        with _blocks_of_rows(source, layout) as blocks:
            parsed = parse_lines(blocks, layout, source.name)
        if parsed is not None:
            return parsed
    try:
        return _parse_by(source, layout, _BLOCK_BYTES)  # blocks that fit into a cache
    except DataError:
        raise
    except Exception as error:  # pyarrow raises several kinds of exceptions
        if "straddling" not in str(error):
            raise
    return _parse_by(source, layout, MAX_LINE_BYTES)


def _parse_by(source: InputFile, layout: Layout, size: int) -> ParsedRows:
    with _blocks_of_rows(source, layout) as blocks:
        return parse_rows(blocks, layout, source.name, size=size)


@contextmanager
def _blocks_of_rows(source: InputFile, layout: Layout) -> Iterator[Iterator[bytes]]:
    """Open a file after its header, as UTF-8."""
    with source.open() as file:
        _skip(file, layout.start)
        try:
            yield rows_as_utf8(file, layout.dialect.encoding)
        except UnicodeDecodeError as error:
            name = layout.dialect.encoding
            raise DataError(f"{source.name} is not text in {name}: {error.reason}; {ENCODING_FIX}") from None


def _count_quotes(source: InputFile, layout: Layout) -> int:
    quote = layout.dialect.quote.encode()
    with _blocks_of_rows(source, layout) as blocks:
        return sum(block.count(quote) for block in blocks) if quote else 0


def _refuse_surplus(texts: Any, layout: Layout, source: str, first_row: int) -> None:
    """Raise a DataError if a field behind the last separator of its line, where no column is, holds text."""
    from pyarrow import compute

    if texts.null_count < len(texts):
        row = first_row + compute.index(compute.is_null(texts), False).as_py() + 1
        no_header = NO_HEADER if layout.dialect.header else ""
        n_columns = len(layout.names) - 1
        raise DataError(
            f"{source}: row {row:,}{no_header}: Expected {n_columns} columns, got {n_columns + 1}; name all columns"
        )


def _is_western(source: InputFile) -> bool:
    with source.open() as file:
        before = b""
        while block := file.read(_BLOCK_BYTES):
            if not is_western(before + block):
                return False
            before = block[-3:]
    return True


def _skip(file: BinaryIO, n_bytes: int) -> None:
    while n_bytes > 0 and (block := file.read(n_bytes)):
        n_bytes -= len(block)


class _Counted:
    """Blocks of text as they pass: without zero bytes, with counts of what pyarrow does not report.

    `n_lines` is the number of lines, and -1 if some end in a single carriage return.
    """

    def __init__(self, source: str, dialect: Dialect) -> None:
        self._source, self._comment = source, dialect.comment.encode()
        self._begins_comment = re.compile(rb"[\r\n][ \t]*" + re.escape(self._comment))
        self.n_lines, self.has_comment = 0, False

    def blocks(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        n_newlines, n_lone, last, begun = 0, 0, b"", b"\n"
        for block in blocks:
            refuse_zero_bytes(self._source, block, n_newlines)
            n_newlines += int(np.count_nonzero(np.frombuffer(block, np.uint8) == _NEWLINE))  # faster than bytes.count
            if b"\r" in block:
                n_lone += block.count(b"\r") - block.count(b"\r\n")
            n_lone -= last == b"\r" and block.startswith(b"\n")
            last = block[-1:] or last
            if self._comment and not self.has_comment:
                text = begun + block
                self.has_comment = self._comment in text and self._begins_comment.search(text) is not None
                begun = self._begun_comment(text)
            yield block
        self.n_lines = -1 if n_lone else n_newlines + (last not in (b"", b"\n"))

    def _begun_comment(self, text: bytes) -> bytes:
        """Return the end of a line and what follows it, if that may be the beginning of a comment."""
        end = max(text.rfind(b"\n"), text.rfind(b"\r"))
        return text[end:] if end >= 0 and self._comment.startswith(text[end:].strip()) else b""


class _BlockFile(io.RawIOBase):
    """Blocks of bytes as a file, of which each read returns as many bytes as requested."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, b""

    def readable(self) -> bool:
        return True

    def has_more(self) -> bool:
        """Return whether a line that is not empty is left."""
        while not self._rest.strip(b" \r\n"):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._rest = block
        return True

    def read(self, size: int | None = -1) -> bytes:
        parts, n_bytes = [self._rest], len(self._rest)
        wanted = float("inf") if size is None or size < 0 else size
        while n_bytes < wanted and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            n_bytes += len(block)
        content = b"".join(parts)
        if n_bytes <= wanted:
            self._rest = b""
            return content
        self._rest = content[size:]
        return content[:size]
