"""Fast forms for NumPy: the same equations, compiled by numba (the extra ``fast``), whole sweeps at a time."""

import functools
import importlib.util
import os

from gpubp.errors import DataError

ENVIRONMENT_VARIABLE = "GPUBP_COMPILED"
CHOICES = ("auto", "always", "never")


@functools.cache
def numba_is_installed() -> bool:
    """Tell whether equations can be compiled."""
    return importlib.util.find_spec("numba") is not None


def is_wanted(seconds_without: float) -> bool:
    """Decide whether to compile, for training that would take about so long without.

    ``GPUBP_COMPILED`` says "always" or "never"; without it, compiled code is used where it saves more than loading it
    costs. What is decided depends on the work alone, so that the same training gives the same bits each time.

    Raises
    ------
    DataError
        If ``GPUBP_COMPILED`` says something else.
    """
    asked = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "auto"
    if asked not in CHOICES:
        raise DataError(f"{ENVIRONMENT_VARIABLE} must be one of {', '.join(CHOICES)}, got {asked!r}")
    return asked != "never" and numba_is_installed() and (asked == "always" or seconds_without > 0.5)
