"""Find numbers such as 1,600 that the comma between fields divides, because they are not in quotation marks."""

import re
from collections.abc import Sequence
from itertools import pairwise

from gpubp.data._number_patterns import NUMBER_IN_BYTES
from gpubp.data.readers._records import Record, unquoted
from gpubp.data.readers.dialect import Dialect
from gpubp.errors import DataError

_LEAD = re.compile(rb"\s*[-+(]?\s*[^\w\s,.\"']{0,3}\s*[-+]?\d{1,3}")
_GROUP = re.compile(rb"\d{3}(\.\d*)?\s*([^\w\s,.\"']|[A-Za-z]{1,3})?\)?\s*")
_FEWEST_NUMBERED, _FEWEST_NAMED = 5, 30  # rows, below which thousands may by chance count them, or all be different
_MOST_SHORT = 0.1  # rows without a field, for each one that has them all


def note_split_numbers(records: Sequence[Record], dialect: Dialect, n_above: int, source: str) -> tuple[str, ...]:
    """Look for numbers that are divided into two fields, as ``1,600`` in a table of fields between commas.

    Parameters
    ----------
    records : sequence of Record
        The first records of a text, among them the header if there is one.
    dialect : Dialect
    n_above : int
        The number of records that seem to be titles; the last of them may be a header.
    source : str
        The file, for messages.

    Returns
    -------
    tuple of str
        A note if rows may as well have names without a name in the header, as R writes them, and the first fields do
        not look like names or numbers of rows.

    Raises
    ------
    DataError
        If rows have more fields than the header has names, and divided numbers alone explain that.
    """
    if dialect.separator != ",":
        return ()
    for place, header in enumerate(records[: n_above + 1]):
        names = [unquoted(field, dialect).strip() for field in header.fields]
        while len(names) > 1 and not names[-1]:
            names.pop()
        if not all(names) or any(map(NUMBER_IN_BYTES.fullmatch, names)):
            continue
        written = [record.fields for record in records[place + 1 :]]
        rows = [fields for fields in map(_without_empty_end, written) if len(fields) > len(names)]
        if not rows or any(len(_groups(fields)) < len(fields) - len(names) for fields in rows):
            continue
        n_even = sum(len(fields) == len(names) for fields in written)
        adds_one = all(len(fields) == len(names) + 1 for fields in rows)
        is_certain = n_even > 0 or not adds_one  # names of rows add one field to all rows
        places = set.intersection(*map(set, map(_groups, rows)))
        if adds_one and n_even <= _MOST_SHORT * len(rows):
            explained = _explained_by_names(rows, places, len(written))
            places -= explained or set()
            if explained is not None and not places:
                continue
        first = min(places or _groups(rows[0]))
        example = b",".join(rows[0][first - 1 : first + 1]).strip().decode("utf-8", "replace")
        what = (
            f"rows have more fields than the header has names, and {example} looks like one number with a comma "
            "between thousands"
        )
        fix = f'write such numbers as "{example}" or without the comma'
        if not is_certain:
            return (f"{what}: if it is one, {fix}, as the columns are shifted",)
        raise DataError(f"{source}: {what}; {fix}, or name all columns in the header if these are two")
    return ()


def _without_empty_end(fields: list[bytes]) -> list[bytes]:
    """Return fields without the empty ones at the end, which a line may have in addition."""
    n = len(fields)
    while n > 1 and not fields[n - 1]:
        n -= 1
    return fields[:n]


def _groups(fields: Sequence[bytes]) -> list[int]:
    """Return the places of fields that may be three digits of a number that begins in the field before."""
    places: list[int] = []
    for place in range(1, len(fields)):
        before = fields[place - 1]
        follows = _LEAD.fullmatch(before) or (places[-1:] == [place - 1] and before.strip().isdigit())
        if follows and _GROUP.fullmatch(fields[place]):
            places.append(place)
    return places


def _explained_by_names(rows: Sequence[list[bytes]], places: set[int], n_rows: int) -> set[int] | None:
    """Return the places that are no groups of digits, if the first fields are names or numbers of rows; else None.

    In a column of numbers with three digits none begins with 0, as about every tenth group of a number does. Rows whose
    first field is none, because they are short, may be among `n_rows`.
    """
    first = [fields[0].strip(b"\"' ") for fields in rows]
    numbers = [int(text) for text in first if text.isdigit() and len(text) < 18]
    counts = (
        len(numbers) == len(rows) >= _FEWEST_NUMBERED
        and all(a < b for a, b in pairwise(numbers))
        and numbers[-1] - numbers[0] < n_rows
    )
    if not counts and not len(set(first)) == len(rows) >= _FEWEST_NAMED:
        return None
    explained = {place for place in places if not any(fields[place].startswith(b"0") for fields in rows)}
    return explained | {1} if counts else explained
