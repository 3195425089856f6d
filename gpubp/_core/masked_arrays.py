"""Detect masked arrays, whose mask NumPy drops when it converts them to plain arrays."""

import sys
from typing import Any

import numpy as np

from gpubp.errors import DataError


def is_masked(array: Any) -> bool:
    """Return whether this is a masked array, without importing numpy.ma."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(array, module.MaskedArray)


def refuse_masked(name: str, array: Any) -> None:
    """Raise if the mask of an array, or of an array in a list, hides a value.

    Raises
    ------
    DataError
        If a value is masked; the message says where the first one is.

    Examples
    --------
    >>> refuse_masked("x", np.ma.masked_invalid([1.0, np.nan]))
    Traceback (most recent call last):
    gpubp.errors.DataError: x is a masked array with 1 of 2 values masked, the first at [1]; ...
    """
    for part in array if isinstance(array, list | tuple) else (array,):
        if not is_masked(part):
            continue
        masked = np.ma.getmaskarray(part)
        if masked.dtype == bool and masked.any():  # structured arrays have structured masks, and are not numeric anyway
            raise DataError(
                f"{name} is a masked array with {masked.sum()} of {masked.size} values masked, the first at "
                f"{np.argwhere(masked)[0].tolist()}; leave these samples out, or put values there: {name}.filled(0.0)"
            )
