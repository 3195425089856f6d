"""Convert the values of a column, of any type, to one of the kinds of column that a table holds."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.masked_arrays import is_masked, refuse_masked
from gpubp._core.narrow_types import is_of_other_package, widened
from gpubp._core.text import excerpt
from gpubp.backends.inputs import accept_on_host
from gpubp.backends.libraries import is_of_other_library
from gpubp.data._arrow import arrow_to_numpy, is_arrow
from gpubp.data._text_values import Kind, datetime_form, write_number
from gpubp.errors import DataError

LEAST_ROUNDED = 2**53
"""The least integer whose successor float64 does not have."""

_SECOND = np.timedelta64(1, "s")


class NormalColumn(NamedTuple):
    """A numeric, bool or text array, its kind if the array does not show it, and whether numbers were durations.

    Dates, bools with missing values, and large integers with missing values are text in the forms of
    ``_text_values.py``. So are values of several kinds, such as numbers among text, and `value_kinds` has the kind of
    each.
    """

    values: NDArray[Any]
    kind: Kind | None = None
    value_kinds: NDArray[np.object_] | None = None
    are_durations: bool = False


def normalize_column(name: str, values: Any, source: str) -> NormalColumn:
    """Return values as a numeric, bool or text column.

    Parameters
    ----------
    name, source : str
        The column and where it comes from, for messages.
    values : array_like
        Numbers, bools, dates, durations or text, in one dimension; None, NaN, empty text and masked values are missing.

    Raises
    ------
    DataError
        If the values are of another kind or shape.
    """
    try:
        array = unmasked_array(values)
    except Exception as error:  # an object's own conversion to an array may raise anything
        raise DataError(
            f"{source}: column {name!r} is not a sequence of numbers or text: {excerpt(str(error))}"
        ) from error
    if array.ndim == 1 and array.dtype.kind == "m" and np.datetime_data(array.dtype)[0] not in "YM":
        return NormalColumn(array / _SECOND, are_durations=True)
    if array.ndim != 1 or array.dtype.kind not in "biufUOM":
        raise DataError(
            f"{source}: column {name!r} must be numbers, bools, dates or text of shape (n,), "
            f"got {array.dtype} of shape {array.shape}{'; pass .astype(str)' if array.dtype.kind == 'S' else ''}"
        )
    if array.dtype.kind in "biuf":
        return NormalColumn(array)
    if array.dtype.kind == "M":
        # NumPy's type has no time zone; pandas' columns with one become objects instead.
        dtype = getattr(values, "type" if is_arrow(values) else "dtype", None)
        is_utc = getattr(dtype, "tz" if is_arrow(values) else "time_zone", None) is not None
        return _datetimes(array, is_utc=is_utc)
    return _from_objects(name, array, source)


def unmasked_array(values: Any) -> NDArray[Any]:
    """Return an array on the host, with None where a mask hides a value."""
    if is_masked(values):
        objects = np.ma.getdata(values).astype(object)
        objects[np.ma.getmaskarray(values)] = None
        return objects
    refuse_masked("a list", values)
    if isinstance(values, list | tuple) or is_of_other_library(values):
        values = accept_on_host("column", values)
    if is_categorical(values) and not is_arrow(values):
        array = _of_categories(values)
    else:
        array = arrow_to_numpy(values) if is_arrow(values) else np.asarray(values)
    if array.dtype.kind == "f" and _rounds_integers(values, array):
        return np.asarray(values.to_pylist() if is_arrow(values) else list(values), dtype=object)
    array = array.astype(object) if array.dtype.kind == "T" else widened(array)
    if isinstance(values, list | tuple) and array.ndim == 1 and array.dtype.kind in "iufU":
        types = set(map(type, values))
        if array.dtype.kind == "U" or bool in types or np.bool_ in types:
            return np.array(values, dtype=object)  # NumPy would write numbers as text, and bools as numbers
    return array


def _rounds_integers(values: Any, array: NDArray[Any]) -> bool:
    """Return whether a column of integers lost digits when missing values made floats of them."""
    dtype = str(getattr(values, "type" if is_arrow(values) else "dtype", ""))
    return dtype.lower().startswith(("int", "uint")) and bool((np.abs(array) >= LEAST_ROUNDED).any())


def _of_categories(values: Any) -> NDArray[Any]:
    """Return pandas' categories as the values that they stand for, texts as objects that rows share."""
    stored = getattr(values, "cat", values)  # of a series, or of the array itself
    categories = np.asarray(stored.categories)
    if categories.dtype.kind != "O":
        return np.asarray(values)
    objects = np.asarray([*categories, None], dtype=object)  # the code of a missing value is -1
    return objects.take(np.asarray(stored.codes))


def is_categorical(values: Any) -> bool:
    """Return whether a column's type is pandas' for categories, or pyarrow's for a dictionary."""
    if is_arrow(values):
        return hasattr(values.type, "index_type")
    return type(getattr(values, "dtype", None)).__name__ == "CategoricalDtype"


def first_invalid_text(values: Sequence[str | bytes | None]) -> int | None:
    """Return the index of the first text or bytes that is not valid UTF-8; None if all are."""
    for place, value in enumerate(values):
        try:
            value.decode() if isinstance(value, bytes) else value is None or value.encode()
        except UnicodeError:
            return place
    return None


def _datetimes(array: NDArray[Any], *, is_utc: bool) -> NormalColumn:
    """Return times as text in ISO 8601, in a form that does not depend on the unit or on the other rows."""
    in_seconds = array.astype(np.promote_types(array.dtype, "datetime64[s]"))
    distinct, places = np.unique(in_seconds, return_inverse=True)
    forms = np.full(len(distinct), None, dtype=object)
    for place in np.flatnonzero(~np.isnat(distinct)):
        text = str(np.datetime_as_string(distinct[place]))
        forms[place] = (datetime_form(text) or text) + ("Z" if is_utc else "")
    return NormalColumn(forms[places], "datetime_utc" if is_utc else "datetime")


def _from_objects(name: str, array: NDArray[Any], source: str) -> NormalColumn:
    if array.dtype.kind == "O" and set(map(type, array)) <= {str, NoneType}:  # much faster than one value at a time
        _refuse_invalid_unicode(name, array, source)
        texts = array.copy()
        texts[array == ""] = None
        return NormalColumn(texts if any(texts) else np.full(len(texts), np.nan))
    is_present = np.array([not _is_missing(value) for value in array], dtype=bool)
    present = array.astype(object)[is_present]
    odd = {kind.__name__ for kind, value in {type(value): value for value in present}.items() if _is_odd(value)}
    if odd:
        raise DataError(
            f"{source}: column {name!r} holds {', '.join(sorted(odd))}, not numbers or text; "
            "bytes must be decoded to text, and lists need a column for each item"
        )
    kind: Kind | None = None
    value_kinds: NDArray[np.object_] | None = None
    texts = np.empty(len(present), dtype=object)
    if len(present) and all(isinstance(value, bool | np.bool_) for value in present):
        if is_present.all():
            return NormalColumn(array.astype(bool))
        kind, texts[:] = "bool", [str(value) for value in present]
    elif len(present) and all(isinstance(value, timedelta | np.timedelta64) for value in present):
        seconds = np.full(len(array), np.nan)
        seconds[is_present] = [
            value / (_SECOND if isinstance(value, np.generic) else timedelta(seconds=1)) for value in present
        ]
        return NormalColumn(seconds, are_durations=True)
    elif all(isinstance(value, Real | Decimal) and not isinstance(value, bool) for value in present):
        integers = [int(value) for value in present if _is_exact_integer(value)]
        is_exact = len(integers) == len(present)
        if is_exact and is_present.all() and (column := np.asarray(integers)).dtype.kind in "iu":
            return NormalColumn(column)
        if not is_exact or is_present.all() or max(map(abs, integers), default=0) < LEAST_ROUNDED:
            return NormalColumn(_floats(name, present, is_present, source))
        kind, texts[:] = "number", [write_number(value) for value in integers]
    elif all(isinstance(value, date) for value in present) and len(set(map(_has_zone, present))) < 2:
        texts[:] = [_date_form(value) for value in present]
        kind = "datetime_utc" if any(map(_has_zone, present)) else "datetime"
    else:  # each value is written as it would be alone
        kinds = [_kind(value) for value in present]
        texts[:] = [_form(name, value, kind, source) for value, kind in zip(present, kinds, strict=True)]
        if set(kinds) != {"text"}:
            value_kinds = np.full(len(array), "text", dtype=object)
            value_kinds[is_present] = kinds
    column = np.full(len(array), None, dtype=object)
    column[is_present] = texts
    _refuse_invalid_unicode(name, column, source)
    return NormalColumn(column, kind, value_kinds)


def _kind(value: Any) -> Kind:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, Real | Decimal):
        return "number"
    return ("datetime_utc" if _has_zone(value) else "datetime") if isinstance(value, date) else "text"


def _form(name: str, value: Any, kind: Kind, source: str) -> str | None:
    """Return the text of a value in the form of its kind; None for a missing number."""
    if kind == "number":
        try:
            return write_number(int(value) if _is_exact_integer(value) else float(value))
        except OverflowError as error:
            raise _too_large(name, source) from error
    return _date_form(value) if kind.startswith("datetime") else str(value)


def _has_zone(value: date) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _date_form(value: date) -> str:
    zone = ""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value, zone = value.astimezone(UTC).replace(tzinfo=None), "Z"
    text = value.isoformat()
    return (datetime_form(text) or text) + zone


def _is_odd(value: Any) -> bool:
    """Return whether an object is neither a number nor can be read as text."""
    is_narrow = isinstance(value, np.generic) and is_of_other_package(value.dtype)
    return (
        is_narrow or isinstance(value, bytes | list | tuple | dict | np.ndarray | complex) or is_of_other_library(value)
    )


def _refuse_invalid_unicode(name: str, texts: NDArray[Any], source: str) -> None:
    distinct = {text for text in texts if text is not None}  # many rows may share one long text
    try:
        "".join(distinct).encode()
    except UnicodeError:
        row = first_invalid_text(texts.tolist())
        where = "" if row is None else f", row {row + 1}"
        raise DataError(f"{source}: column {name!r}{where} holds text that is not valid Unicode; correct it") from None


def _is_exact_integer(value: Any) -> bool:
    """Return whether a number is whole, of a type that keeps all digits, and in the range of NumPy's integers."""
    is_whole = isinstance(value, int | np.integer) or (
        isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    )
    return is_whole and -(2**63) <= value < 2**64


def _floats(name: str, present: NDArray[Any], is_present: NDArray[np.bool_], source: str) -> NDArray[Any]:
    numbers = np.full(len(is_present), np.nan)
    try:
        numbers[is_present] = present.astype(np.float64)
    except OverflowError as error:
        raise _too_large(name, source) from error
    return numbers


def _too_large(name: str, source: str) -> DataError:
    return DataError(f"{source}: column {name!r} holds a number too large for float64")


def _is_missing(value: Any) -> bool:
    # pandas' missing values are recognised by type name, so that pandas need not be imported.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return value == "" if isinstance(value, str) else bool(isinstance(value, Real) and value != value)
