"""Find how a text file writes a table by looking at its beginning: a pure function of its bytes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpubp._core.text import excerpt, shortened
from gpubp.data._text_values import MISSING_TEXTS
from gpubp.data.readers._encoding import decode_start, find_encoding, refuse_zero_bytes
from gpubp.data.readers._header import choose_names, count_titles, has_header, is_of_orange, note_titles
from gpubp.data.readers._number_marks import find_number_marks
from gpubp.data.readers._records import is_no_row, split_fields, split_lines, split_records, unquoted
from gpubp.data.readers._separator import (
    find_comment,
    find_late_comment,
    find_quote,
    find_separator,
    has_blanks_after_separators,
    usual_count,
)
from gpubp.data.readers._split_numbers import note_split_numbers
from gpubp.data.readers.dialect import BLANKS, Dialect, TextOptions

SAMPLE_BYTES = 1 << 20
"""Bytes at the beginning of a file that are looked at."""

_MAX_LINES, _MAX_BYTES = 1000, 1 << 18
_SEPARATOR_LINE = re.compile(rb'\s*"?sep=([^"\'\r\n])"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text file writes a table, and where its rows begin.

    Attributes
    ----------
    dialect : Dialect
    names : tuple of str
        The names of the columns; "" after the last one if each line ends with a separator.
    start : int
        The number of bytes before the first row.
    needs_repair : bool
        Whether lines must be rewritten for pyarrow.
    has_long_records : bool
        Whether a record is seen to have several lines.
    notes : tuple of str
        What was decided, in short sentences.
    targets : tuple of str
        The columns that the file marks as targets, as files of Orange do.
    """

    dialect: Dialect
    names: tuple[str, ...]
    start: int
    needs_repair: bool = False
    has_long_records: bool = False
    notes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def sniff(
    content: bytes,
    options: TextOptions | None = None,
    *,
    expected: str = ",",
    source: str = "the text",
    is_whole: bool = True,
) -> Layout:
    r"""Find the layout of a text.

    Parameters
    ----------
    content : bytes
        The beginning of the text.
    options : TextOptions, optional
        What the caller has chosen.
    expected : str
        The separator that the file's name suggests.
    source : str
        The file, for messages.
    is_whole : bool
        Whether this is the whole text; otherwise its last line may be cut.

    Returns
    -------
    Layout

    Raises
    ------
    DataError
        If the bytes are not text, or commas divide numbers.

    Examples
    --------
    >>> layout = sniff(b"# shop\nage;fee\n42;1,5\n17;2,25\n")
    >>> layout.names, layout.dialect.separator, layout.dialect.decimal, layout.start
    (('age', 'fee'), ';', ',', 15)
    """
    options = options or TextOptions()
    encoding, mark = find_encoding(content, options.encoding)
    text = decode_start(content[len(mark) :], encoding, source).encode()
    refuse_zero_bytes(source, text, 0)
    lines = _first_lines(text, is_whole=is_whole)
    dialect = replace(options.apply(Dialect()), encoding=encoding)
    notes: list[str] = []
    if encoding != "utf-8" and options.encoding is None:
        what = " (Windows, Western Europe), as it is not UTF-8" if encoding == "cp1252" else ""
        notes.append(f"the text is read as {encoding}{what} (option encoding)")
    dialect, first = _find_dialect(lines, dialect, options, expected, notes)
    layout, n_lines = _find_header(lines, dialect, first, options, notes, source)
    return replace(layout, start=len(mark) + len(b"".join(lines[:n_lines]).decode().encode(encoding)))


def _first_lines(text: bytes, *, is_whole: bool) -> list[bytes]:
    lines = split_lines(text[:_MAX_BYTES])
    if len(text) > _MAX_BYTES and len(lines) < 20:  # a table of many columns
        lines = split_lines(text)
        is_whole = is_whole and len(lines) <= _MAX_LINES
    elif len(text) > _MAX_BYTES or len(lines) > _MAX_LINES:
        is_whole = False
    return lines[:_MAX_LINES] if is_whole or len(lines) < 2 else lines[:-1][:_MAX_LINES]


def _find_dialect(
    lines: Sequence[bytes], dialect: Dialect, options: TextOptions, expected: str, notes: list[str]
) -> tuple[Dialect, int]:
    """Find separator, quotation mark and comments, and the number of the first line that belongs to the table."""
    first = min(options.skip_rows or 0, len(lines))
    named = _SEPARATOR_LINE.fullmatch(lines[first]) if first < len(lines) else None
    if named:
        first += 1
        if options.separator is None:
            dialect = replace(dialect, separator=named[1].decode())
            notes.append(f"the first line names the separator, {dialect.separator!r}")
    if options.comment is None:
        dialect = replace(dialect, comment=find_comment(lines[first:]))
    if options.quote is None:
        dialect = replace(dialect, quote=find_quote(b"".join(lines[first:])))
    if options.separator is None and not named:
        dialect = replace(dialect, separator=find_separator(lines, dialect, first, expected))
        if dialect.separator != expected:
            words = {"\t": "tabs", BLANKS: "blanks"}.get(dialect.separator, repr(dialect.separator))
            notes.append(f"fields are separated by {words} (option separator)")
    records = list(split_records(lines, dialect, first))
    if options.comment is None and not dialect.comment and (comment := find_late_comment(records)):
        dialect = replace(dialect, comment=comment)
        records = list(split_records(lines, dialect, first))
    if dialect.separator != BLANKS and has_blanks_after_separators(records):
        dialect = replace(dialect, pads=True)
    return dialect, first


def _find_header(
    lines: Sequence[bytes], dialect: Dialect, first: int, options: TextOptions, notes: list[str], source: str
) -> tuple[Layout, int]:
    """Find the names of the columns, and the number of lines before the first row."""
    records = list(split_records(lines, dialect, first))
    n_fields = usual_count(records[1:] or records, len(records[0].fields) if records else 0)
    texts = [[unquoted(field, dialect).decode().strip() for field in record.fields] for record in records]
    n_titles = count_titles(texts, n_fields) if options.skip_rows is None else 0
    if options.header is not False:
        notes += note_split_numbers(records, dialect, n_titles, source)
    notes += note_titles(texts, n_titles, "line")
    records, texts = records[n_titles:], texts[n_titles:]
    begin = records[0].first if records else len(lines)
    header: Sequence[str] | None = texts[0] if texts else []
    n_above = 1  # records above the rows
    for_orange = header is not None and options.header is not False and is_of_orange(texts[1:4], len(header))
    guesses_none = options.header is None and len(texts) > 0 and not for_orange and not has_header(texts[0], texts[1:])
    if options.header is False or guesses_none:
        header, n_above = None, 0
        if options.header is None:
            header = _header_in_comment(lines[first:begin], dialect, n_fields)
            if header is not None:
                shown = excerpt(shortened([repr(name) for name in header], 6), 200)
                notes.append(f"the names of the columns are those in the comment above the rows: {shown}")
    targets: Sequence[str] = ()
    if for_orange and header is not None:
        targets = [name for name, flag in zip(header, texts[2], strict=False) if flag in ("class", "c")]
        notes.append("the two lines below the header describe the columns for Orange, and are left out")
        n_above = 3
    rows = texts[n_above:]
    names = choose_names(header, rows, n_fields)
    notes += names.notes
    if header is None and options.header is None:
        few = ", ".join([names.names[0], *(["..."] if len(names.names) > 1 else [])])
        notes.append(f"there is no header, so the columns are named {few} (option header)")
    n_lines = begin
    if len(records) > n_above:
        n_lines = records[n_above].first
    elif n_above and records:
        n_lines = records[-1].stop
    comments = [
        line for line in lines if dialect.comment and line.strip() and is_no_row(line, dialect.comment.encode())
    ]
    if comments and options.comment is None and (header is None or n_above):
        shown = excerpt(repr(comments[0].decode().strip()), 60)
        notes.append(f"lines that begin with {dialect.comment} are left out: {shown} (option comment)")
    dialect = replace(dialect, header=header is not None)
    dialect = _with_number_marks(dialect, rows, len(names.names), options, notes)
    is_uneven = any(len(record.fields) != len(names.names) for record in records[n_above:])
    needs_repair = dialect.separator == BLANKS or dialect.pads or is_uneven
    has_long_records = any(record.stop - record.first > 1 for record in records)
    return Layout(dialect, names.names, 0, needs_repair, has_long_records, tuple(notes), tuple(targets)), n_lines


def _header_in_comment(above: Sequence[bytes], dialect: Dialect, n_fields: int) -> list[str] | None:
    """Return the names in the last comment above the rows, if it has as many fields as they do; else None."""
    comments = [line.strip() for line in above if line.strip()]
    if not comments or not dialect.comment:
        return None
    line = comments[-1].removeprefix(dialect.comment.encode()).strip()
    fields = split_fields(line, dialect) or []
    names = [unquoted(field, dialect).decode().strip() for field in fields]
    return names if len(names) == n_fields and has_header(names, [[""] * n_fields]) else None


def _with_number_marks(
    dialect: Dialect, rows: Sequence[Sequence[str]], n_columns: int, options: TextOptions, notes: list[str]
) -> Dialect:
    if options.decimal is not None or options.thousands is not None:
        return dialect
    columns = [
        [text for row in rows if len(row) > place and (text := row[place]) not in MISSING_TEXTS]
        for place in range(n_columns)
    ]
    decimal, thousands = find_number_marks(columns, dialect.separator)
    if decimal != ".":
        groups = f", and {thousands!r} between thousands" if thousands else ""
        notes.append(f"numbers have a decimal comma{groups} (options decimal and thousands)")
    return replace(dialect, decimal=decimal, thousands=thousands)
