"""Fast forms for NumPy: the same equations, compiled in the wheel, many steps at a time."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from contextvars import ContextVar

from gpubp.engine.cpu.library import why_not
from gpubp.errors import DataError, DeviceError

logger = logging.getLogger("gpubp")

ENVIRONMENT_VARIABLE = "GPUBP_COMPILED"
CHOICES = ("auto", "always", "never")
_in_array_calls = ContextVar("in_array_calls", default=False)


@contextlib.contextmanager
def in_array_calls() -> Iterator[None]:
    """Compute without compiled code meanwhile, as the reference that it is compared with."""
    token = _in_array_calls.set(True)
    try:
        yield
    finally:
        _in_array_calls.reset(token)


def requested_mode() -> str:
    """Read whether to use compiled code: what ``GPUBP_COMPILED`` says, "auto" without it.

    Raises
    ------
    DataError
        If it says neither "auto" nor "always" nor "never".
    """
    if _in_array_calls.get():
        return "never"
    requested = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "auto"
    if requested not in CHOICES:
        raise DataError(f"{ENVIRONMENT_VARIABLE} must be one of {', '.join(CHOICES)}, got {requested!r}")
    return requested


def is_wanted() -> bool:
    """Decide whether to use the compiled engine: wherever there is one, unless ``GPUBP_COMPILED`` is "never".

    Raises
    ------
    DeviceError
        If ``GPUBP_COMPILED`` is "always", and the engine cannot be used.
    """
    requested = requested_mode()
    if requested == "never":
        return False
    reason = why_not()
    if reason and requested == "always":
        raise DeviceError(f"{ENVIRONMENT_VARIABLE} is 'always', but {reason}")
    if reason:
        _warn_once(reason)
    return not reason


@functools.cache
def _warn_once(reason: str) -> None:
    logger.warning("training and prediction on the CPU are slower, since %s", reason)
