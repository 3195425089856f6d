"""Records of a text file: a line, or several where a quoted field holds line breaks, divided into fields.

pyarrow parses most files. This module serves where the dialect is found, and where lines must be rewritten for pyarrow:
runs of blanks between fields, comments, rows with fewer fields than the header.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from gpubp._core.text import excerpt
from gpubp.data._limits import MAX_LINE_BYTES, too_long
from gpubp.data.readers.dialect import BLANKS, Dialect
from gpubp.errors import DataError

_RUN = re.compile(rb"([ \t]+)")
NOT_CLOSED = (
    "a quotation mark is not closed, and its field runs to the end of the file; close it, or read quotation marks as "
    "text: --read quote=none, or read_table(path, quote='')"
)
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")


def split_lines(text: bytes) -> list[bytes]:
    r"""Return the lines of a text with their ends: ``\n``, ``\r\n`` or ``\r``."""
    return _LINE.findall(text)


def split_fields(record: bytes, dialect: Dialect) -> list[bytes] | None:
    """Return the fields of a record with their quotation marks; None if a quoted field is not closed.

    Examples
    --------
    >>> split_fields(b'1,"x,y"', Dialect()), split_fields(b'1,"x', Dialect())
    ([b'1', b'"x,y"'], None)
    >>> split_fields(b"  1   x ", Dialect(separator=" "))
    [b'1', b'x']
    """
    separator, quote = dialect.separator.encode(), dialect.quote.encode()
    if dialect.separator == BLANKS:
        pieces = _RUN.split(record.strip(b" \t"))
        pieces, joints = pieces[::2], pieces[1::2]
    else:
        pieces, joints = record.split(separator), []
    strip = dialect.pads
    if not quote or quote not in record:
        return [piece.strip(b" ") for piece in pieces] if strip else pieces
    fields: list[bytes] = []
    is_open = False
    for number, piece in enumerate(pieces):
        if is_open:
            fields[-1] += (joints[number - 1] if joints else separator) + piece
        else:
            fields.append(piece.lstrip(b" ") if strip else piece)
        is_open = fields[-1].startswith(quote) and _quotes(fields[-1], quote, dialect.escape.encode()) % 2 == 1
    if is_open:
        return None
    return [field.strip(b" ") for field in fields] if strip else fields


def unquoted(field: bytes, dialect: Dialect) -> bytes:
    """Return the text of a field without its quotation marks."""
    quote, escape = dialect.quote.encode(), dialect.escape.encode()
    if not quote or len(field) < 2 or not (field.startswith(quote) and field.endswith(quote)):
        return field
    inner = field[1:-1]
    return inner.replace(escape + quote, quote) if escape else inner.replace(quote * 2, quote)


class Record(NamedTuple):
    """The fields of a record, and the numbers of its first line and of the line after it."""

    fields: list[bytes]
    first: int
    stop: int


def split_records(lines: Sequence[bytes], dialect: Dialect, first: int = 0) -> Iterator[Record]:
    """Return the records of lines from number `first` on, without empty lines, comments, and an unclosed last one."""
    comment, numbered = dialect.comment.encode(), iter(range(first, len(lines)))
    for number in numbered:
        if not is_no_row(lines[number], comment):
            fields, n_more = _complete_record(lines[number], (lines[k] for k in numbered), dialect)
            if fields is not None:
                yield Record(fields, number, number + n_more + 1)


def _complete_record(record: bytes, following: Iterator[bytes], dialect: Dialect) -> tuple[list[bytes] | None, int]:
    """Add lines to a record as long as it has an open field; return its fields, if it is closed, and their number."""
    quote, n_more, n_split = dialect.quote.encode(), 0, len(record)
    fields = split_fields(record.rstrip(b"\r\n"), dialect)
    if fields is not None:
        return fields, 0
    parts = [record]
    n_bytes = len(record)
    for line in following:
        parts.append(line)
        n_more, n_bytes = n_more + 1, n_bytes + len(line)
        if n_bytes > MAX_LINE_BYTES or n_split > 8 * MAX_LINE_BYTES:
            break
        if line.count(quote) % 2 or dialect.escape:  # with an even number the field remains open
            n_split += n_bytes
            fields = split_fields(b"".join(parts).rstrip(b"\r\n"), dialect)
            if fields is not None:
                return fields, n_more
    return None, n_more


def is_no_row(line: bytes, comment: bytes) -> bool:
    """Return whether a line is empty or a comment."""
    return not line.strip(b" \r\n") or bool(comment and line.lstrip(b" \t").startswith(comment))


class RepairedText:
    """Records rewritten for pyarrow: one separator between fields, and as many fields as columns.

    Parameters
    ----------
    dialect : Dialect
    n_columns : int
    source : str
        The file, for messages.
    first_row : int
        The number of rows before the first record, for messages.

    Attributes
    ----------
    n_short, first_short : int
        The number of rows with fewer fields than columns, and the number of the first of them, from 1.
    """

    def __init__(self, dialect: Dialect, n_columns: int, source: str, first_row: int = 0) -> None:
        self.dialect, self.n_columns, self.source, self.n_rows = dialect, n_columns, source, first_row
        self.separator = rewritten_separator(dialect).encode()
        self.n_short = self.first_short = 0

    def blocks(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Rewrite a text in UTF-8, given in blocks of any size."""
        lines = self._rewritten(_lines_of(blocks))
        while several := list(islice(lines, 1000)):
            yield b"".join(several)

    def _rewritten(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        comment = self.dialect.comment.encode()
        for line in lines:
            if is_no_row(line, comment):
                continue
            fields, n_more = _complete_record(line, lines, self.dialect)
            if fields is None and next(lines, None) is None:
                raise DataError(f"{self.source}: {NOT_CLOSED}")
            if fields is None:
                raise DataError(f"{self.source}: row {self.n_rows + 1:,}, of {n_more + 1:,} lines, is {too_long()}")
            self.n_rows += 1
            yield self.separator.join(self._complete(fields)) + b"\n"

    def _complete(self, fields: list[bytes]) -> list[bytes]:
        n_lacking = self.n_columns - len(fields)
        if n_lacking < 0:
            if any(fields[self.n_columns :]):
                no_header = " (not counting the header)" if self.dialect.header else ""
                shown = excerpt(self.separator.join(fields).decode("utf-8", "replace"), 100)
                raise DataError(
                    f"{self.source}: row {self.n_rows:,}{no_header}: Expected {self.n_columns} columns, got "
                    f"{len(fields)}: {shown}. Write a field that holds {self.dialect.separator!r} in quotation marks"
                )
            return fields[: self.n_columns]
        if n_lacking:
            self.n_short += 1
            self.first_short = self.first_short or self.n_rows
            return fields + [b""] * n_lacking
        return fields


def rewritten_separator(dialect: Dialect) -> str:
    """Return the separator in rewritten records."""
    return "\t" if dialect.separator == BLANKS else dialect.separator


def _quotes(field: bytes, quote: bytes, escape: bytes) -> int:
    return field.count(quote) - (field.count(escape + quote) if escape else 0)


def _lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Divide blocks into lines; a line may run over several blocks."""
    rest: list[bytes] = []
    for block in blocks:
        rest.append(block)
        if len(rest) == 1 or b"\n" in block or b"\r" in block:
            lines = split_lines(b"".join(rest))
            rest = [lines.pop()] if lines else []  # perhaps not complete, or before the \n of \r\n
            yield from lines
        if sum(map(len, rest)) > MAX_LINE_BYTES:
            raise DataError(f"a line is {too_long()}")
    yield from split_lines(b"".join(rest))
