"""Convert the values of a column, of any type, to one of the three kinds of column that a table holds."""

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp._core.masked_arrays import is_masked, refuse_masked
from gpubp._core.text import brief
from gpubp.errors import DataError


def normalize_column(name: str, values: Any, source: str) -> NDArray[Any]:
    """Return values as a numeric, bool or text column.

    Parameters
    ----------
    name, source : str
        The column and where it comes from, for messages.
    values : array_like
        Numbers, bools, dates or text, in one dimension; None, NaN, empty text and masked values are missing.

    Raises
    ------
    DataError
        If the values are of another kind or shape.
    """
    try:
        array = unmasked_array(values)
    except Exception as error:  # an object's own conversion to an array may raise anything
        raise DataError(
            f"{source}: column {name!r} is not a sequence of numbers or text: {brief(str(error))}"
        ) from error
    if array.ndim != 1 or array.dtype.kind not in "biufUOM":
        raise DataError(
            f"{source}: column {name!r} must be numbers, bools or text of shape (n,), "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "M":  # dates and times are read as text
        array = np.where(np.isnat(array), "", array.astype(str))
    return _from_objects(name, array, source)


def unmasked_array(values: Any) -> NDArray[Any]:
    """Return an array, with None where a mask hides a value."""
    if is_masked(values):
        objects = np.ma.getdata(values).astype(object)
        objects[np.ma.getmaskarray(values)] = None
        return objects
    refuse_masked("a list", values)
    return np.asarray(values)


def first_invalid_text(values: Sequence[str | bytes | None]) -> int | None:
    """Return the index of the first text or bytes that is not valid UTF-8; None if all are."""
    for place, value in enumerate(values):
        try:
            value.decode() if isinstance(value, bytes) else value is None or value.encode()
        except UnicodeError:
            return place
    return None


def _from_objects(name: str, array: NDArray[Any], source: str) -> NDArray[Any]:
    is_present = np.array([not _is_missing(value) for value in array], dtype=bool)
    present = array.astype(object)[is_present]
    odd = {type(v).__name__ for v in present if isinstance(v, bytes | list | tuple | dict | np.ndarray | complex)}
    if odd:
        raise DataError(
            f"{source}: column {name!r} holds {', '.join(sorted(odd))}, not numbers or text; "
            "bytes must be decoded to text, and lists need a column for each item"
        )
    if is_present.all() and all(isinstance(value, bool | np.bool_) for value in present):
        return array.astype(bool)
    if all(isinstance(value, Real | Decimal) and not isinstance(value, bool) for value in present):
        return _numbers(name, present, is_present, source)
    texts = [str(value) for value in present]
    try:
        "".join(set(texts)).encode()  # each distinct text once: many rows may share one long text
    except UnicodeError:
        row = np.flatnonzero(is_present)[first_invalid_text(texts)]
        raise DataError(
            f"{source}: column {name!r}, row {row + 1} holds text that is not valid Unicode; correct it"
        ) from None
    column = np.full(len(array), None, dtype=object)
    column[is_present] = texts
    return column


def _numbers(name: str, present: NDArray[Any], is_present: NDArray[np.bool_], source: str) -> NDArray[Any]:
    if is_present.all() and all(isinstance(value, int | np.integer) for value in present):
        integers = np.asarray(present.tolist())
        if integers.dtype.kind in "iu":
            return integers
    numbers = np.full(len(is_present), np.nan)
    try:
        numbers[is_present] = present.astype(np.float64)
    except OverflowError as error:
        raise DataError(f"{source}: column {name!r} holds a number too large for float64") from error
    return numbers


def _is_missing(value: Any) -> bool:
    # pandas' missing values are recognised by type name, so that pandas need not be imported.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return value == "" if isinstance(value, str) else bool(isinstance(value, Real) and value != value)
