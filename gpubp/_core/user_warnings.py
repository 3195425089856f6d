"""Warnings that point at the user's code."""

import sys
import warnings

LIBRARIES = {"gpubp", "sklearn", "joblib", "numpy", "contextlib"}
"""The packages between the user's call and the warning."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line of the user's code that called gpubp, however deep the call.

    Parameters
    ----------
    message : str
    category : type of Warning
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
