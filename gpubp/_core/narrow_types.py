"""Widen the number types that NumPy does not have: bfloat16, float8, int4 and others."""

import re

import array_api_compat
import numpy as np

from gpubp._typing import Array

_NARROW = re.compile(r"b?float16|float[4-8]_\w+|b?complex32|u?int[1-7]")


def is_of_other_package(dtype: np.dtype) -> bool:
    """Return whether a dtype of NumPy arrays is defined by another package, such as ml_dtypes."""
    return dtype.isbuiltin == 2  # NumPy's documented number for it


def widened(array: Array) -> Array:
    """Return an array of a type that every library computes with, of the same numbers.

    Short floats become float32, short integers int32, in the array's own library. NumPy's own types are unchanged, also
    float16, but text of its type StringDType becomes text of fixed length.
    """
    is_numpy = isinstance(array, np.ndarray)
    if is_numpy and not is_of_other_package(array.dtype):
        return array.astype(object).astype(str) if array.dtype.kind == "T" else array
    name = str(array.dtype).rpartition(".")[2]
    if not _NARROW.fullmatch(name):
        return array
    wide = "float32" if "float" in name else "complex64" if "complex" in name else "int32"
    if is_numpy:
        return array.astype(wide)
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, getattr(xp, wide))
