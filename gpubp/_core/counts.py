"""Checks of whole numbers."""

from typing import Any

import numpy as np


def is_count(number: Any, least: float = 1) -> bool:
    """Return whether a value is a whole number of at least ``least``; True and False are not.

    Examples
    --------
    >>> is_count(3), is_count(0), is_count(True), is_count(2.0)
    (True, False, False, False)
    """
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number >= least)
