"""Bring the columns of a table to the kinds that a model's schema states, value by value.

The kind of a column is decided once, when a preprocessing is fitted. Afterwards a value is read by that kind alone, so
a row's inputs do not depend on the other rows, on the format of the file or on the types of a data frame. In order:

1. Empty fields, None and NaN are missing. So is a text of `MISSING_TEXTS`, such as ``NA``, unless it is a category of
   a column of text.
2. A text is read as the kind: ``01`` is the number 1 where numbers are expected, and a text of two digits in a column
   of text.
3. A number, bool or date in a column of text is the one category that reads as this value: the number 1 is ``01`` if
   no other category is 1. This holds for each value of a column that mixes them with text.
4. Other values raise an error that names the column, the row, the value and the expected kind.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import excerpt
from gpubp.data._text_values import (
    DESCRIPTIONS,
    FORMS,
    MISSING_TEXTS,
    Kind,
    has_separators,
    read_number,
    write_number,
)
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

NUMBER_FIX = "correct it or leave the field empty"


def as_numbers(table: Table, name: str, fix: str = NUMBER_FIX) -> NDArray[np.float64]:
    """Return a column as float64, NaN where missing; raise a DataError at text, dates and infinity.

    Parameters
    ----------
    table : Table
    name : str
        The column.
    fix : str
        How to correct text that is not a number.
    """
    if name in table.value_kinds:
        numbers = np.empty(table.n_rows)
        for rows, part in table.split_by_kind(name):
            numbers[rows] = as_numbers(part, name, fix)
        return numbers
    values = table.columns[name]
    if table.kind(name) == "bool":
        values = np.array([np.nan if value is None else value in (True, "True") for value in values], dtype=np.float64)
    numbers = _read_numbers(table, name, fix) if values.dtype == object else values.astype(np.float64)
    if (infinite := np.isinf(numbers)).any():
        where = table.describe_row(int(infinite.argmax()))
        raise DataError(f"column {name!r}, {where}: infinity; numbers must be finite")
    return numbers


def as_categories(table: Table, name: str, kind: Kind, known: Collection[str] = ()) -> NDArray[np.object_]:
    """Return a column as text in the forms of a kind, None where missing.

    Parameters
    ----------
    table : Table
    name : str
        The column.
    kind : str
        What the schema states that the column holds.
    known : collection of str
        The categories; empty while they are being fitted.

    Raises
    ------
    DataError
        If a value is not of the kind, or if several categories read as it.
    """
    if name in table.value_kinds:
        mixed = np.empty(table.n_rows, dtype=object)
        for rows, part in table.split_by_kind(name):
            mixed[rows] = as_categories(part, name, kind, known)
        return mixed
    received: Kind = "text" if name in table.written else table.kind(name)
    texts = _forms(table, name, received)
    if kind == received:
        if kind == "text" and known:
            return _replaced(texts, {text: None for text in MISSING_TEXTS if text not in known})
        return texts
    categories: dict[str, list[str]] = {}
    if kind == "text":
        for category in known:
            if (form := FORMS[received](category)) is not None:
                categories.setdefault(form, []).append(category)
    converted: dict[str, str | None] = {}
    for text in dict.fromkeys(texts.tolist()):
        if text is None or (received == "text" and text.strip() in MISSING_TEXTS):
            converted[text] = None
        elif kind == "text":
            same = categories.get(text, [text])
            if len(same) > 1:
                raise DataError(_ambiguous(table, name, texts, text, same))
            converted[text] = same[0]
        else:
            form = _BOOL_AS_NUMBER[text] if (received, kind) == ("bool", "number") else _form(text, received, kind)
            if form is None:
                raise DataError(_unexpected(table, name, texts, text, received, kind))
            converted[text] = form
    return _replaced(texts, converted)


def missing_values(values: Column) -> NDArray[np.bool_]:
    """Return a mask of the missing values of a column."""
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def write_numbers(values: Column) -> NDArray[np.object_]:
    """Return numbers or bools as text, a whole float as the integer it equals; None for NaN."""
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.empty(len(distinct), dtype=object)
    texts[:] = [write_number(value) for value in distinct.tolist()]
    return texts[places]


_BOOL_AS_NUMBER = {"True": "1", "False": "0"}


def _read_numbers(table: Table, name: str, fix: str) -> NDArray[np.float64]:
    """Read each text as a number."""
    texts = table.columns[name]
    numbers: dict[str | None, float] = {None: np.nan}
    for text in dict.fromkeys(texts.tolist()):
        if text is None or text in numbers:
            continue
        number = np.nan if text.strip() in MISSING_TEXTS else read_number(text)
        if number is None:
            what = {"text": "non-numeric text"}.get(table.kind(name), "a date")
            if has_separators(text):
                fix = f"write it with a decimal point and no thousands separators, as 1234.5; or {fix}"
            raise DataError(f"{_place(table, name, texts, text)} is {what} where numbers are needed; {fix}")
        numbers[text] = float(number)
    return np.array([numbers[text] for text in texts], dtype=np.float64)


def _forms(table: Table, name: str, received: Kind) -> NDArray[np.object_]:
    """Return the values of a column as text, in the forms of the kind that the table has."""
    values = table.columns[name]
    if received == "text":
        return table.texts(name)
    is_text = values.dtype == object
    infinite = np.array([value in ("inf", "-inf") for value in values]) if is_text else np.isinf(values)
    if infinite.any():
        where = table.describe_row(int(infinite.argmax()))
        raise DataError(f"column {name!r}, {where}: infinity; it cannot be a category")
    return values if is_text else write_numbers(values)


def _form(text: str, received: Kind, kind: Kind) -> str | None:
    """Return the form of a value in another kind: of a text in any, of a number as a bool."""
    return FORMS[kind](text) if received == "text" or (received, kind) == ("number", "bool") else None


def _replaced(texts: NDArray[np.object_], others: dict[str, str | None]) -> NDArray[np.object_]:
    replaced = np.empty(len(texts), dtype=object)
    replaced[:] = [others.get(text, text) for text in texts]
    return replaced


def _place(table: Table, name: str, texts: NDArray[np.object_], text: str) -> str:
    """Name the column, the first row of a value, and the value."""
    where = table.describe_row(texts.tolist().index(text))
    return f"column {name!r}, {where}: {excerpt(repr(text), 60)}"


def _ambiguous(table: Table, name: str, texts: NDArray[np.object_], text: str, same: list[str]) -> str:
    shown = ", ".join(excerpt(repr(category), 60) for category in same[:5])
    return (
        f"{_place(table, name, texts, text)} may be any of the categories {shown}; the column was text in training, so "
        f"pass text: pandas.read_csv(path, dtype={{{name!r}: str}}), or the path of the file"
    )


def _unexpected(table: Table, name: str, texts: NDArray[np.object_], text: str, received: Kind, kind: Kind) -> str:
    fix = {
        "datetime": "write dates in ISO 8601 without a time zone, as 2020-01-31 or 2020-01-31T08:30:00",
        "datetime_utc": "write dates in ISO 8601 with a time zone, as 2020-01-31T08:30:00Z or +01:00",
        "bool": "write true or false",
    }.get(kind, "correct it or leave the field empty")
    shown = "" if received == "text" else f" ({DESCRIPTIONS[received]})"
    return (
        f"{_place(table, name, texts, text)}{shown} does not fit the column, which held {DESCRIPTIONS[kind]} in "
        f"training; {fix}"
    )
