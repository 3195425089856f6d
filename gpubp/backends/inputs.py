"""Bring in what users pass as arrays: in memory, with numbers that every library can compute with, or refused."""

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import array_api_compat
import numpy as np

from gpubp._core.masked_arrays import refuse_masked
from gpubp._core.narrow_types import widened
from gpubp._core.text import excerpt
from gpubp.backends.backend import to_numpy
from gpubp.backends.libraries import is_of_other_library, library_of
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.errors import DataError

CONVERSIONS = (
    *("toPandas", "collect", "to_pandas", "df", "to_dataframe"),
    *("to_dense", "todense", "toarray", "to_numpy", "numpy"),
)
"""Methods by which lazy, sparse and wrapped arrays and frames give plain ones, those preferred first."""


_TO_NUMBERS = {
    "U": "; if the text is numbers, pass {name}.astype(float); class labels are for a classifier",
    "S": "; if the text is numbers, pass {name}.astype(float); class labels are for a classifier",
    "M": "; pass the time since a date, such as ({name} - {name}.min()) / numpy.timedelta64(1, 'D')",
    "m": "; pass a number of some unit, such as {name} / numpy.timedelta64(1, 'D')",
    "c": "; pass real and imaginary parts as columns",
    "V": "; pass an array with a column of numbers for each field",
}


class InputTypeError(DataError, TypeError):
    """The type of an argument is not one that can be converted to an array."""


def accept_array(name: str, array: Any) -> Any:
    """Return an array in memory; what is not an array in any way is refused.

    Parameters
    ----------
    name : str
        The name of the argument, for messages.
    array : object

    Returns
    -------
    object
        Arrays of dask are computed, those of zarr, h5py, xarray and others with ``__array__`` are read as NumPy's.
        Arrays of torch, JAX, CuPy and others stay where they are, without automatic differentiation. Types that NumPy
        does not have, such as bfloat16, become float32. Sequences, data frames and sparse matrices of SciPy are
        returned unchanged.

    Raises
    ------
    DataError
        If values are masked or absent, or the object cannot be converted; the message says how to convert it.

    Examples
    --------
    >>> accept_array("X", (n for n in range(3)))
    Traceback (most recent call last):
    gpubp.backends.inputs.InputTypeError: X is a generator, not an array or a data frame in memory; pass ...
    """
    refuse_masked(name, array)
    if hasattr(array, "__dask_graph__"):
        array = array.compute()
    if isinstance(array, list | tuple):
        return _sequence(name, array)
    if _is_frame(array) or is_sparse(array):
        return array
    library = library_of(array)
    if library is None or array_api_compat.is_pydata_sparse_array(array):
        return widened(_converted(name, array))
    if reason := library.refusal(array):
        raise InputTypeError(f"{name} is {reason.format(name=_last_word(name))}")
    try:
        return widened(library.detach(array))
    except Exception as error:  # of a library that has a type, but does not convert it
        raise InputTypeError(f"{name} is of {array.dtype}, which cannot be converted: {excerpt(str(error))}") from error


def accept_on_host(name: str, array: Any) -> Any:
    """Return :func:`accept_array`'s result, arrays of other libraries copied to the host; None stays None."""
    if array is None:
        return None
    array = accept_array(name, array)
    return to_numpy(array) if is_of_other_library(array) else array


def as_numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Return a NumPy array of real numbers; objects are converted to float64.

    Raises
    ------
    InputTypeError
        If they are not numbers.
    """
    if array.dtype.kind in "fiub":
        return array
    if array.dtype.kind != "O":
        what = "Complex data not supported: " if array.dtype.kind == "c" else ""
        fix = _TO_NUMBERS.get(array.dtype.kind, "").format(name=_last_word(name))
        raise InputTypeError(f"{what}{name} must hold real numbers, got {array.dtype}{fix}")
    try:
        return array.astype("float64")
    except Exception as error:  # of the objects
        raise InputTypeError(f"{name} must hold numbers, got {array.dtype}: {excerpt(str(error))}") from error


def as_floats(name: str, array: Any) -> Any:
    """Return an array of floating-point numbers, in its library; others become the library's default of these.

    Raises
    ------
    InputTypeError
        If they are not real numbers.
    """
    array = accept_array(name, array)
    if not is_of_other_library(array):
        array = as_numbers(name, np.asarray(array))
    xp = array_api_compat.array_namespace(array)
    if xp.isdtype(array.dtype, "complex floating"):
        raise InputTypeError(f"{name} must hold real numbers, got {array.dtype}")
    if xp.isdtype(array.dtype, "real floating"):
        return array
    return xp.astype(array, xp.__array_namespace_info__().default_dtypes()["real floating"])


def as_labels(name: str, labels: Any, predicted: np.ndarray | None = None) -> Any:
    """Return an array of class labels, of which objects that are all numbers have become numbers.

    Parameters
    ----------
    name : str
    labels : object
        Anything but a NumPy array is returned unchanged.
    predicted : array, optional
        Labels that these will be compared with.

    Raises
    ------
    InputTypeError
        If they cannot be labels, or are text and the predicted ones are numbers, or the other way round.
    """
    if not isinstance(labels, np.ndarray):
        return labels
    if labels.dtype.kind == "O" and labels.size and all(isinstance(label, Number) for label in labels.flat):
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind in "cSV":
        what = "Complex data not supported: " if labels.dtype.kind == "c" else ""
        fix = f"; pass {name}.astype(str)" if labels.dtype.kind == "S" else ""
        raise InputTypeError(
            f"{what}{name} must hold class labels, as whole numbers, text, bools or dates, got {labels.dtype}{fix}"
        )
    if predicted is not None and _label_type(labels) != _label_type(predicted):
        raise InputTypeError(
            f"{name} holds labels of {labels.dtype}, but the classes are of {predicted.dtype}; pass "
            f"{name}.astype({'str' if predicted.dtype.kind in 'OU' else repr(predicted.dtype.name)})"
        )
    return labels


def _label_type(labels: np.ndarray) -> str:
    kind = labels.dtype.kind
    return "number" if kind in "biuf" else "text" if kind in "OU" else kind


def _sequence(name: str, values: Any) -> Any:
    """Convert the arrays of other libraries in a list or tuple, at any depth, to NumPy's."""
    kinds = {type(value): value for value in values}
    if any(issubclass(kind, list | tuple) for kind in kinds):
        inner = [_sequence(name, value) if isinstance(value, list | tuple) else value for value in values]
        if any(new is not value for new, value in zip(inner, values, strict=True)):
            values = inner
    if not any(map(is_of_other_library, kinds.values())):
        return values
    arrays = [accept_on_host(name, value) for value in values]
    return np.asarray(arrays) if len(set(map(np.shape, arrays))) == 1 else arrays


def _is_frame(array: Any) -> bool:
    """Return whether this is a data frame or a column of one, of pandas, polars, pyarrow or others."""
    kind = type(array)
    return hasattr(kind, "__array__") and (hasattr(kind, "iloc") or hasattr(kind, "columns"))


def _converted(name: str, array: Any) -> np.ndarray:
    """Convert an object to a NumPy array by what it has for that: ``__array__``, a buffer or a sequence."""
    detail = ""
    if not isinstance(array, str | bytes | Mapping):
        try:
            converted = np.asarray(array)
        except Exception as error:  # __array__ may raise anything
            detail = f" ({excerpt(str(error))})"
        else:
            if converted.dtype != object or converted.ndim or np.isscalar(array):
                return converted
    raise InputTypeError(
        f"{name} is {_with_article(array)}, not an array or a data frame in memory{detail}; "
        f"{_fix(_last_word(name), array)}"
    )


def _last_word(name: str) -> str:
    """Return the argument itself, of a name such as "validation X"."""
    return name.rpartition(" ")[2]


def _with_article(array: Any) -> str:
    kind = "None" if array is None else type(array).__name__
    return kind if array is None else f"{'an' if kind[:1] in 'AEIOUaeio' else 'a'} {kind}"


def _fix(name: str, array: Any) -> str:
    """Say how to convert an object that is not an array."""
    if type(array).__module__.startswith("cupyx."):  # a sparse matrix: sparse samples stay on the host
        return f"pass {name}.get()"
    for method in CONVERSIONS:
        if hasattr(type(array), method):
            return f"pass {name}.{method}()"
    if isinstance(array, Mapping):
        return f"pass pandas.DataFrame({name}), or a matrix with a row for each sample"
    if hasattr(array, "__getitem__") and hasattr(array, "__len__") and not isinstance(array, str | bytes):
        return f"collect its samples first, for example numpy.asarray([sample for sample, _ in {name}])"
    if hasattr(array, "batch_size") or hasattr(array, "dataset"):
        return f"collect its batches first, or train on the stream gpubp.open_stream({name})"
    if isinstance(array, Iterable) and not isinstance(array, str | bytes):
        return f"pass numpy.asarray(list({name})), or a stream from gpubp.open_stream"
    return "expected an array with a row for each sample, a list of rows, or a data frame"
