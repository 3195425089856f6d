"""From text to the thing it names, with numbers behind the name where it takes any: ``"relu"``, ``"huber(0.5)"``."""

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from gpubp.errors import DataError

OTHER_NAMES = {
    "sigmoid": "logistic",
    "linear": "identity",
    "swish": "silu",
    "mse": "squared",
    "squared_error": "squared",
    "mae": "absolute",
    "log_loss": "cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "sgd": "gradient_descent",
    "gpu": "cuda",
    "fp32": "float32",
    "single": "float32",
    "tensorfloat32": "tf32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
}
"""What other libraries call what is here, to answer a wrong name with the right one."""

_NAME = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(?:\(([^()]*)\)\s*)?")


def look_up(kind: str, text: str, entries: Mapping[str, Any]) -> Any:
    """Find the entry that ``text`` names; a function among the entries is called with the numbers, where there are any.

    Parameters
    ----------
    kind : str
        What is looked up, for the error's text: "activation", "loss", ...
    text : str
        A name, or a name with a positive number in brackets, or several where the entry takes several.
    entries : mapping
        From names to records, or to functions that make a record from one number or from any count of them.

    Raises
    ------
    DataError
        If the name is unknown, if it takes no number and one was given, or if a number is not finite and positive.
    """
    match = _NAME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DataError(f"{kind} must be a name such as {next(iter(entries))!r}, got {text!r}")
    name, in_brackets = match.groups()
    if name not in entries:
        raise DataError(unknown(kind, name, entries))
    entry = entries[name]
    if isinstance(entry, tuple):
        if in_brackets is not None:
            raise DataError(f"{kind} {name!r} takes no number, got {text!r}")
        return entry
    if in_brackets is None:
        return entry()
    takes_several = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(entry).parameters.values())
    numbers = [_positive(part) for part in (in_brackets.split(",") if takes_several else [in_brackets])]
    if not all(numbers):
        which = "finite positive numbers" if takes_several else "one finite positive number"
        raise DataError(f"{kind} {name!r} takes {which}, got {text!r}")
    return entry(*numbers)


def _positive(text: str) -> float | None:
    """Read a finite positive number, None where there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Word an error about an unknown name: what was given, the nearest known one, and what is known."""
    names = list(known)
    return f"unknown {kind} {name!r}{near_miss(name, names)}; known: {', '.join(names)}"


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" for an error message, or nothing where no known name is close.

    Examples
    --------
    >>> near_miss("digit", ["digits", "iris"])
    " (did you mean 'digits'?)"
    """
    # Letter sample is the commonest slip; difflib alone would count it letter by letter.
    by_lower = {candidate.lower(): candidate for candidate in known}
    if (other := OTHER_NAMES.get(name.lower())) in by_lower:
        return f" (did you mean {other!r}?)"
    close = difflib.get_close_matches(name.lower(), by_lower, n=2, cutoff=0.7)
    return f" (did you mean {' or '.join(repr(by_lower[c]) for c in close)}?)" if close else ""
