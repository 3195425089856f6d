"""Warnings that point at the user's code."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

LIBRARIES = {"gpubp", "sklearn", "joblib", "numpy", "contextlib", "functools"}
"""The packages between the user's call and the warning."""

WORKERS = {"multiprocessing", "concurrent", "threading", "distributed", "dask"}
"""The packages that call the libraries in a process or thread where the user's code is not on the stack."""

PICKLED = "<dynamic-code>"
"""The file of the functions that cloudpickle has sent to a worker."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line of the user's code that called gpubp, however deep the call.

    In a worker, which runs none of the user's code, it names the script and the method of the estimator instead.
    Its module is then that of the outermost call of scikit-learn or gpubp, so that filters of their warnings hold.
    Where gpubp computes scikit-learn's own networks, the module is theirs, for the same reason.

    Parameters
    ----------
    message : str
    category : type of Warning
    """
    held_category, messages = _held_back.get()
    if issubclass(category, held_category):
        messages.append(message)
        return
    frame, level, call, module, network = sys._getframe(1), 2, "", "gpubp", ""
    while _package(frame) in LIBRARIES and frame.f_back is not None:
        call = _call_of_estimator(frame) or call
        module = frame.f_globals["__name__"] if _package(frame) in ("gpubp", "sklearn") else module
        network = module if module.startswith("sklearn.neural_network") else network
        frame, level = frame.f_back, level + 1
    if _package(frame) in WORKERS or frame.f_code.co_filename == PICKLED:
        place = f"{_script()}{call or 'gpubp'} in a worker"
        warnings.warn_explicit(message, category, place, 0, module=module, registry=_already_shown)
    elif network:
        shown = frame.f_globals.setdefault("__warningregistry__", {})
        place = frame.f_code.co_filename
        warnings.warn_explicit(message, category, place, frame.f_lineno, module=network, registry=shown)
    else:
        warnings.warn(message, category, stacklevel=level)


@contextmanager
def held_back(category: type[Warning], messages: list[str]) -> Iterator[None]:
    """Append the messages of gpubp's warnings of a category to a list instead, for one warning about all of them."""
    token = _held_back.set((category, messages))
    try:
        yield
    finally:
        _held_back.reset(token)


_held_back: ContextVar[tuple[type[Warning] | tuple[()], list[str]]] = ContextVar("_held_back", default=((), []))

_already_shown: dict[str | tuple[str, type[Warning], int], int] = {}


def _package(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def _call_of_estimator(frame: FrameType) -> str:
    """Return a call such as ``MLPClassifier.fit``; "" for a frame that is no public method of an estimator."""
    method, kind = frame.f_code.co_name, type(frame.f_locals.get("self"))
    return f"{kind.__name__}.{method}" if hasattr(kind, "get_params") and not method.startswith("_") else ""


def _script() -> str:
    """Return the name of the script, which workers have from the process that started them; "" in a notebook."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return f"{name}, " if name.endswith(".py") and not name.startswith("ipykernel") else ""
