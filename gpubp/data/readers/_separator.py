"""Find the separator, the quotation mark and the comments of a text among its first lines."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gpubp.data._number_patterns import NUMBER_IN_BYTES, NUMBERS_IN_BYTES
from gpubp.data.readers._records import Record, split_fields, split_records
from gpubp.data.readers.dialect import BLANKS, Dialect

SEPARATORS = (",", "\t", ";", "|")
_MIN_SCORE = 0.7
_SCORED_LINES = 300
_SINGLE_QUOTED = re.compile(rb"(?m)(?:^|[,;\t| ] ?)'[^'\r\n]*'(?=\r?$|[,;\t| ])")


def find_separator(lines: Sequence[bytes], dialect: Dialect, first: int, expected: str) -> str:
    """Return the separator that divides lines most evenly into fields without other separators.

    Parameters
    ----------
    lines : sequence of bytes
    dialect : Dialect
        The quotation mark and the comment.
    first : int
        The number of the first line.
    expected : str
        The separator that the file's name suggests, for lines that do not show it.
    """
    order = sorted(SEPARATORS, key=lambda separator: separator != expected)
    few = lines[: first + _SCORED_LINES]
    scores: dict[str, float] = {}
    for separator in order:
        scores[separator] = _score(few, replace(dialect, separator=separator), first)
        if round(scores[separator], 2) == 1.0:
            break  # no later one is better
    best = max(scores, key=lambda separator: round(scores[separator], 2))
    if scores[best] >= _MIN_SCORE:
        return best
    by_blanks, by_best = (replace(dialect, separator=separator) for separator in (BLANKS, best))
    is_divided = _divides_header(few, by_best, first) and not _divides_header(few, by_blanks, first, n_lacking=1)
    of_blanks = 0.0 if is_divided else _score(few, by_blanks, first)
    if of_blanks > max(scores[best], 0.5) and _numbers_between_blanks(few, dialect, first):
        return BLANKS
    return best if scores[best] > 0.0 else expected


def find_comment(lines: Sequence[bytes]) -> str:
    """Return the character that begins the first line that is not empty, if it is one that begins comments."""
    line = next((line for line in lines if line.strip()), b"").lstrip(b" \t")
    return line[:1].decode() if line[:1] in (b"#", b"%") and line.strip() != line[:1] else ""


def find_late_comment(records: Sequence[Record]) -> str:
    """Return the character that begins comments below the header, which have another number of fields than rows."""
    n_fields = usual_count(records)
    late = [record for record in records[1:] if record.fields[0].startswith(b"#") and len(record.fields) != n_fields]
    return "#" if late and n_fields > 1 else ""


def find_quote(text: bytes) -> str:
    """Return the quotation mark: a double one unless fields are in single ones alone."""
    if b'"' in text:
        return '"'
    n_quoted = len(_SINGLE_QUOTED.findall(text))
    return "'" if n_quoted >= 2 and 2 * n_quoted == text.count(b"'") else '"'


def has_blanks_after_separators(records: Sequence[Record]) -> bool:
    """Return whether a blank follows each separator."""
    later = [field for record in records[1:] for field in record.fields[1:]]
    return bool(later) and all(field.startswith(b" ") for field in later) and any(map(bytes.strip, later))


def usual_count(records: Sequence[Record], expected: int = 0) -> int:
    """Return the most frequent number of fields; of several, the expected one or else the largest."""
    counts = Counter(len(record.fields) for record in records)
    return max(counts, key=lambda n: (counts[n], n == expected, n), default=0)


def _score(lines: Sequence[bytes], dialect: Dialect, first: int) -> float:
    """Return how evenly a separator divides lines, from 0 to 1, times the share of fields without other separators."""
    records = list(split_records(lines, dialect, first))
    n_fields = usual_count(records)
    if n_fields < 2:
        return 0.0
    even = [record for record in records if len(record.fields) == n_fields]
    quote = dialect.quote.encode()
    others = b"[" + "".join(sorted({";", "\t", "|"} - {dialect.separator})).encode() + b"]"
    if dialect.separator not in (",", BLANKS):
        others += b"|,(?! )"  # before a blank it belongs to a sentence
    has_other = re.compile(others).search
    fields = [field for record in even for field in record.fields]
    plain = [field for field in fields if not (quote and field.startswith(quote))]
    clean = sum(
        bool(NUMBER_IN_BYTES.fullmatch(field)) or not (has_other(field) or NUMBERS_IN_BYTES.fullmatch(field))
        for field in plain
    )
    share = (clean + len(fields) - len(plain)) / len(fields)
    n_unclosed = sum(split_fields(line.rstrip(b"\r\n"), dialect) is None for line in lines[first:][-1:])
    rows = max(1, len(records) - 1) if len(records[0].fields) != n_fields else len(records)  # a title costs nothing
    return min(1.0, len(even) / rows) * share - 0.001 * n_unclosed


def _divides_header(lines: Sequence[bytes], dialect: Dialect, first: int, n_lacking: int = 0) -> bool:
    """Return whether the first record has as many fields as most, or lacks at most `n_lacking`, as R writes names."""
    records = list(split_records(lines, dialect, first))
    n_fields = usual_count(records)
    return len(records) > 1 and max(2, n_fields - n_lacking) <= len(records[0].fields) <= n_fields


def _numbers_between_blanks(lines: Sequence[bytes], dialect: Dialect, first: int) -> bool:
    """Return whether fields between blanks are numbers in some column, as they are not in sentences."""
    records = list(split_records(lines, replace(dialect, separator=BLANKS), first))
    n_fields = usual_count(records)
    rows = [record.fields for record in records if len(record.fields) == n_fields]
    rows = rows[1:] or rows
    numeric = [sum(map(_is_number_alone, (row[k] for row in rows))) > 0.8 * len(rows) for k in range(n_fields)]
    first_count = len(records[0].fields)
    return sum(numeric) >= 2 or (any(numeric) and n_fields - 1 <= first_count <= n_fields and first_count > 1)


def _is_number_alone(field: bytes) -> bool:
    """Return whether a field is a number, and not one with a comma behind it."""
    return bool(NUMBER_IN_BYTES.fullmatch(field)) and not field.endswith(b",")
