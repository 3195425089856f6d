"""Read the values of a table's columns as the types that a preprocessing states, value by value.

The type of a column is decided once, when a preprocessing is fitted. Afterwards a value is read by it alone, so a row's
inputs do not depend on the other rows, on the format of the file or on the types of a data frame. In order:

1. Empty fields, None, NaN and infinity are missing. So is a text of `MISSING_TEXTS`, such as ``NA``, and one of the
   preprocessing's own, unless it is a category of the column.
2. A text is read as the type: ``01`` is the number 1 where numbers are expected, and a text of two digits in a column
   of categories.
3. A number, bool or date in a column of text is the one category that reads as this value: the number 1 is ``01`` if
   no other category is 1. This holds for each value of a column that mixes them with text.
4. Other values are unreadable, which counts as missing; whether that is an error, the caller decides.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import excerpt
from gpubp.data._dates import ISO, read_date
from gpubp.data._quantities import PLAIN, NumberFormat, read_quantity
from gpubp.data._text_values import FORMS, MISSING_TEXTS, Kind, read_number, write_number
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

_MISSING_TEXTS = frozenset(MISSING_TEXTS)


class ReadColumn(NamedTuple):
    """The values of a column, NaN or None where missing, and which of the missing ones are unreadable."""

    values: Column
    unreadable: NDArray[np.bool_]


def read_numbers(
    table: Table, name: str, number_format: NumberFormat = PLAIN, missing: Collection[str] = ()
) -> ReadColumn:
    """Read a column as float64; text, dates and infinity are unreadable."""
    values, kind = table.columns[name], table.kind(name)
    marks = (number_format.decimal, number_format.thousands)
    if name in table.written and _has_marks(number_format) and marks != (table.decimal, table.thousands):
        values = table.texts(name)  # a file of few rows may not show its marks
    if values.dtype != object:
        numbers = values.astype(np.float64)
        infinite = np.isinf(numbers)
        return ReadColumn(np.where(infinite | missing_numbers(values, missing), np.nan, numbers), infinite)
    if name in table.value_kinds:
        return _by_kind(table, name, np.float64, lambda part: read_numbers(part, name, number_format, missing))
    if kind == "bool":
        return _read(values, missing, lambda text: float(text == "True"), np.nan)
    if kind not in ("number", "text"):
        return _unreadable(values, np.nan)

    formats = _number_formats(table, number_format)

    def read(text: str) -> float | None:
        number = next((number for one in formats if (number := read_quantity(text, one)) is not None), None)
        return None if number is None or np.isinf(number) else number

    return _read(values, missing, read, np.nan)


def read_dates(table: Table, name: str, date_format: str = ISO, missing: Collection[str] = ()) -> ReadColumn:
    """Read a column as seconds since 1970, float64; texts in the given format or in ISO 8601."""
    if name in table.value_kinds:
        return _by_kind(table, name, np.float64, lambda part: read_dates(part, name, date_format, missing))
    kind = table.kind(name)
    if kind == "bool" or (kind == "number" and name not in table.written and date_format == ISO):
        return _unreadable(table.columns[name], np.nan)

    def read(text: str) -> float | None:
        seconds = None if kind.startswith("datetime") else read_date(text, date_format)
        return read_date(text, ISO) if seconds is None else seconds

    return _read(table.texts(name) if kind != "number" else _texts(table, name, kind), missing, read, np.nan)


def read_categories(
    table: Table, name: str, kind: Kind, known: Collection[str] = (), missing: Collection[str] = ()
) -> ReadColumn:
    """Read a column as text in the forms of a kind.

    Parameters
    ----------
    table : Table
    name : str
        The column.
    kind : str
        What the preprocessing states that the column holds.
    known : collection of str
        The categories; while they are being fitted, the texts of the missing values that are categories.
    missing : collection of str
        Texts that mean a missing value besides `MISSING_TEXTS`.
    """
    if name in table.value_kinds:
        return _by_kind(table, name, object, lambda part: read_categories(part, name, kind, known, missing))
    is_plain = table.decimal == "." or kind != "number"  # else the text of a number has the marks of the file
    received: Kind = "text" if name in table.written and is_plain else table.kind(name)
    texts = _texts(table, name, received)
    if received == "number":
        missing = (*missing, "inf", "-inf")
    if received == "text" == kind:
        return _read(texts, missing, str, None, known)
    if kind == "text":
        same: dict[str, list[str]] = {}
        for category in known:
            if (form := FORMS[received](category)) is not None:
                same.setdefault(form, []).append(category)

        def of_known(text: str) -> str | None:
            categories = same.get(text, [text])
            return categories[0] if len(categories) == 1 else None

        return _read(texts, missing, of_known, None)
    if received == kind:
        return _read(texts, missing, str, None)
    if (received, kind) == ("bool", "number"):
        return _read(texts, missing, {"True": "1", "False": "0"}.get, None)
    if received == "text" or (received, kind) == ("number", "bool"):
        return _read(texts, missing, FORMS[kind], None)
    return _unreadable(texts, None)


def as_numbers(table: Table, name: str, fix: str = "correct it or leave the field empty") -> NDArray[np.float64]:
    """Return a column as float64, NaN where missing; raise a DataError at the first unreadable value.

    Parameters
    ----------
    table : Table
    name : str
        The column.
    fix : str
        How to correct text that is not a number.
    """
    column = read_numbers(table, name)
    if column.unreadable.any():
        raise DataError(f"{describe_value(table, name, int(column.unreadable.argmax()))} is not a number; {fix}")
    return column.values


def describe_value(table: Table, name: str, row: int) -> str:
    """Name a column, a row and the value there, for messages."""
    return f"column {name!r}, {table.describe_row(row)}: {shown_value(table, name, row)}"


def shown_value(table: Table, name: str, row: int) -> str:
    """Return a value as a short text for messages."""
    written = table.written.get(name)
    value = table.columns[name][row] if written is None else written.take(np.array([row])).to_numpy()[0]
    return excerpt(repr(value) if isinstance(value, str) else str(value), 60)


def missing_values(values: Column) -> NDArray[np.bool_]:
    """Return a mask of the missing values of a column."""
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def missing_numbers(values: Column, missing: Collection[str]) -> NDArray[np.bool_]:
    """Return a mask of the numbers of an array that mean a missing value, such as -999, as the texts `missing` say."""
    numbers = [number for number in map(read_number, missing) if number is not None]
    if not numbers or values.dtype == bool:
        return np.zeros(len(values), dtype=bool)
    return np.isin(values, numbers)


def is_missing_text(text: str, missing: Collection[str]) -> bool:
    """Return whether a text means a missing value; `missing` are such texts besides `MISSING_TEXTS`."""
    stripped = text.strip()
    return stripped in _MISSING_TEXTS or stripped in missing


def write_numbers(values: Column) -> NDArray[np.object_]:
    """Return numbers or bools as text, a whole float as the integer it equals; None for NaN."""
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.empty(len(distinct), dtype=object)
    texts[:] = [write_number(value) for value in distinct.tolist()]
    return texts[places]


def _number_formats(table: Table, number_format: NumberFormat) -> list[NumberFormat]:
    """Return how texts of numbers are read: as the column's format says, and with the marks of the file.

    Those of the file come first if the format has none of its own, so that ``1.234`` is the same number in a column
    with text and in one without.
    """
    of_file = replace(number_format, decimal=table.decimal, thousands=table.thousands)
    formats = [number_format, of_file] if _has_marks(number_format) else [of_file, number_format]
    return list(dict.fromkeys(formats))


def _has_marks(number_format: NumberFormat) -> bool:
    return number_format.decimal != "." or number_format.thousands != ""


def _texts(table: Table, name: str, received: Kind) -> Column:
    """Return the values of a column as text, in the forms of the kind that the table has."""
    values = table.texts(name) if received == "text" else table.columns[name]
    return values if values.dtype == object else write_numbers(values)


def _read(
    texts: Column, missing: Collection[str], read: Callable[[str], Any], absent: Any, known: Collection[str] = ()
) -> ReadColumn:
    """Read each distinct text once; `absent` stands for missing values."""
    values: dict[str | None, Any] = {None: absent}
    failed = set()
    for text in dict.fromkeys(texts.tolist()):
        if text is None:
            continue
        if text not in known and is_missing_text(text, missing):
            values[text] = absent
            continue
        value = read(text)
        values[text] = absent if value is None else value
        if value is None:
            failed.add(text)
    column = np.empty(len(texts), dtype=object if absent is None else np.float64)
    column[:] = [values[text] for text in texts.tolist()]
    unreadable = np.fromiter((text in failed for text in texts.tolist()), bool, len(texts))
    return ReadColumn(column, unreadable)


def _unreadable(values: Column, absent: Any) -> ReadColumn:
    column = np.full(len(values), absent, dtype=object if absent is None else np.float64)
    return ReadColumn(column, ~missing_values(values))


def _by_kind(table: Table, name: str, dtype: Any, read: Callable[[Table], ReadColumn]) -> ReadColumn:
    """Read each value of a column of several kinds as if it were alone."""
    values, unreadable = np.empty(table.n_rows, dtype=dtype), np.zeros(table.n_rows, dtype=bool)
    for rows, part in table.split_by_kind(name):
        values[rows], unreadable[rows] = read(part)
    return ReadColumn(values, unreadable)
