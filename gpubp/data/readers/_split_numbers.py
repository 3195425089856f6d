"""Find numbers such as 1,600 that the comma between fields divides, because they are not in quotation marks."""

import re
from collections.abc import Sequence

from gpubp.data._number_patterns import NUMBER_IN_BYTES
from gpubp.data.readers._records import Record, unquoted
from gpubp.data.readers.dialect import Dialect
from gpubp.errors import DataError

_LEAD = re.compile(rb"\s*[-+(]?\s*[^\w\s,.\"']{0,3}\s*[-+]?\d{1,3}")
_GROUP = re.compile(rb"\d{3}(\.\d*)?\s*([^\w\s,.\"']|[A-Za-z]{1,3})?\)?\s*")


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
        A note if rows may as well have names without a name in the header, as R writes them.

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
        rows = [record.fields for record in records[place + 1 :]]
        if not any(fields[-1] for fields in rows):  # each line ends with a separator
            rows = [fields[:-1] for fields in rows]
        if not (example := _divided(rows, len(names))):
            continue
        what = (
            f"rows have more fields than the header has names, and {example} looks like one number with a comma "
            "between thousands"
        )
        fix = f'write such numbers as "{example}" or without the comma'
        if not _is_certain(rows, len(names)):
            return (f"{what}: if it is one, {fix}, as the columns are shifted",)
        raise DataError(f"{source}: {what}; {fix}, or name all columns in the header if these are two")
    return ()


def _divided(rows: Sequence[list[bytes]], n_names: int) -> str:
    """Return the first number whose parts are fields, if such numbers explain each surplus field; else ""."""
    example = ""
    for fields in rows:
        surplus = len(fields) - n_names
        if surplus > 0:
            groups = _groups(fields)
            if len(groups) < surplus:
                return ""
            example = example or b",".join(fields[groups[0] - 1 : groups[0] + 1]).strip().decode("utf-8", "replace")
    return example


def _groups(fields: Sequence[bytes]) -> list[int]:
    """Return the places of fields that may be three digits of a number that begins in the field before."""
    places: list[int] = []
    for place in range(1, len(fields)):
        before = fields[place - 1]
        follows = _LEAD.fullmatch(before) or (place - 1 in places and before.strip().isdigit())
        if follows and _GROUP.fullmatch(fields[place]):
            places.append(place)
    return places


def _is_certain(rows: Sequence[list[bytes]], n_names: int) -> bool:
    """Return whether names of rows cannot explain the surplus fields.

    They add one field to all rows, and no number has three digits of which the first is 0.
    """
    if {len(fields) - n_names for fields in rows} != {1}:
        return True
    common = set.intersection(*(set(_groups(fields)) for fields in rows))
    return any(fields[place].startswith(b"0") for fields in rows for place in common)
