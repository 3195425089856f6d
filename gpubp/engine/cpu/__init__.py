"""Fast forms for NumPy: the same equations, compiled by numba (the extra ``fast``), whole epochs at a time."""

import functools
import importlib
import importlib.util
import logging
import os

from gpubp.errors import DataError

logger = logging.getLogger("gpubp")

ENVIRONMENT_VARIABLE = "GPUBP_COMPILED"
CHOICES = ("auto", "always", "never")


@functools.cache
def numba_works() -> bool:
    """Tell whether equations can be compiled: numba is there, and fits the NumPy beside it."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        importlib.import_module("numba")
    except ImportError as error:
        logger.warning(
            "nothing is compiled, since numba cannot be imported (%s); to fix it: pip install -U numba", error
        )
        return False
    return True


PLAIN_CALL = 1e-4  # about how many seconds a step by NumPy takes at least,
PLAIN_RATE = 2e10  # and about how many operations it does in one
WORTHWHILE = 0.5  # seconds without compiled code, below which loading it costs more than it saves


def requested_mode() -> str:
    """Read whether to compile: what ``GPUBP_COMPILED`` says, "auto" without it.

    Raises
    ------
    DataError
        If it says neither "auto" nor "always" nor "never".
    """
    requested = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "auto"
    if requested not in CHOICES:
        raise DataError(f"{ENVIRONMENT_VARIABLE} must be one of {', '.join(CHOICES)}, got {requested!r}")
    return requested


def is_wanted(n_calls: int, operations: float) -> bool:
    """Decide whether to compile, for ``n_calls`` steps of so many operations each.

    Under "auto", compiled code is used where it saves more than loading it costs. The decision depends on the work
    alone, so with the same number of threads the same training gives the same bits again.
    """
    requested = requested_mode()
    wanted = requested == "always" or n_calls * (PLAIN_CALL + operations / PLAIN_RATE) > WORTHWHILE
    return wanted and requested != "never" and numba_works()
