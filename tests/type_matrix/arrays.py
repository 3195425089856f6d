"""Arrays of each dtype, array library and layout, with the same values as far as a dtype has them."""

import numpy as np

COLUMNS = {
    "bool": ("bool",),
    "integers": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "float16": ("float16",),
    "bfloat16": ("bfloat16",),
    "float32": ("float32",),
    "float64": ("float64",),
    "complex": ("complex64", "complex128"),
    "numbers as objects": ("object",),
    "text": ("str",),
    "bytes": ("bytes",),
    "dates": ("datetime64[D]",),
}
"""The columns of the table, and the dtypes of each."""

FEW = {"integers": ("int32", "uint64"), "complex": ("complex128",)}
"""The dtypes of a column for calls that take long."""


def cast(array, dtype):
    """Convert an array of zeros and ones to a dtype that NumPy has; None if it lacks it, as bfloat16."""
    if dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            return None
        dtype = ml_dtypes.bfloat16
    return array.astype("int64").astype(dtype)


def on(backend, array, dtype):
    """Convert such an array to another library's; None if it lacks the dtype."""
    if not hasattr(backend.xp, dtype):
        return None
    return backend.xp.astype(backend.library.from_numpy(backend.xp, array, backend.device), getattr(backend.xp, dtype))


def _strided(array):
    return np.repeat(array, 2, axis=0)[::2]


def _reversed(array):
    return np.ascontiguousarray(array[::-1])[::-1]


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array):
    buffer = np.empty(array.nbytes + 1, "uint8")
    shifted = buffer[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


LAYOUTS = {
    "strided": _strided,
    "reversed": _reversed,
    "Fortran order": np.asfortranarray,
    "read-only": _read_only,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "unaligned": _unaligned,
}
"""The same numbers in other places of the memory."""
