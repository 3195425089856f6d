"""Look up entries of a registry by name, with parameters if an entry takes any: ``"relu"``, ``"huber(0.5)"``."""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gpubp._core.text import excerpt
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
    "cupy": "cuda",
    "numpy": "cpu",
    "jax": "jax.numpy",
    "pytorch": "torch",
    "mps": "torch:mps",
    "fp32": "float32",
    "single": "float32",
    "tensorfloat32": "tf32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
}
"""Names that other libraries use, for the hint in the error about an unknown name."""


def distinct_names(names: Iterable[str]) -> list[str]:
    """Return names of which none repeats: a later one gets a number.

    Examples
    --------
    >>> distinct_names(["a", "a", "a_2", "a"])
    ['a', 'a_3', 'a_2', 'a_4']
    """
    given = list(names)
    taken, chosen = set(given), dict[str, None]()
    for name in given:
        new, count = name, 2
        while new in chosen or (new != name and new in taken):
            new, count = f"{name}_{count}", count + 1
        chosen[new] = None
    return list(chosen)


_NAME = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(?:\(([^()]*)\)\s*)?")


@dataclass(frozen=True)
class Range:
    """The finite numbers from ``low`` to ``high``.

    Examples
    --------
    >>> str(Range(0, 1)), str(Range(0, 1, includes_high=False)), str(Range(0, includes_low=False))
    ('between 0 and 1', 'from 0 to below 1', 'above 0')
    >>> 1.0 in Range(0, 1), float("nan") in Range(0, 1), "1" in Range(0, 1), 10**400 in Range(0)
    (True, False, False, False)
    """

    low: float
    high: float = math.inf
    includes_low: bool = True
    includes_high: bool = True
    integer: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, str | bytes | bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
            return False
        if getattr(value, "shape", ()):  # several numbers, or an array of one
            return False
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return False
        above = number >= self.low if self.includes_low else number > self.low
        below = number <= self.high if self.includes_high else number < self.high
        return above and below and math.isfinite(number) and (not self.integer or number == int(number))

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        if self.high == math.inf:
            text = f"{low} or more" if self.includes_low else f"above {low}"
        elif self.includes_low:
            text = f"between {low} and {high}" if self.includes_high else f"from {low} to below {high}"
        else:
            text = f"above {low} and {'at most' if self.includes_high else 'below'} {high}"
        return f"a whole number, {text}" if self.integer else text


ABOVE_0 = Range(0, includes_low=False)


@dataclass(frozen=True)
class Parametric:
    """An entry of a registry that takes parameters.

    Parameters
    ----------
    make : callable
        Makes the entry. Its parameters have defaults, or it has a single ``*parameter``.
    ranges : mapping
        The valid range of each parameter, in the order of the parameters.
    """

    make: Callable[..., Any]
    ranges: Mapping[str, Range]

    @property
    def is_variadic(self) -> bool:
        """Whether the entry takes any number of values of a single parameter."""
        return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(self.make).parameters.values())

    def arguments(self, name: str, text: str) -> tuple[float, ...]:
        """Read the arguments in brackets; trailing arguments that equal their defaults are left out.

        Raises
        ------
        DataError
            If there is no such parameter, or a value is outside its range.
        """
        parts = text.split(",")
        if self.is_variadic:
            (parameter,) = self.ranges
            return tuple(self._number(name, parameter, part) for part in parts)
        parameters, values_by_name = list(self.ranges), dict[str, float]()
        for position, part in enumerate(parts):
            parameter, _, value = part.rpartition("=")
            parameter = parameter.strip() or (parameters[position] if position < len(parameters) else "")
            if not parameter:
                raise DataError(
                    f"{name} takes {len(parameters)} parameter{'s' * (len(parameters) > 1)}, "
                    f"{', '.join(parameters)}; got {excerpt(f'{name}({text})')!r}"
                )
            if parameter not in self.ranges:
                raise DataError(unknown(f"parameter of {name}", parameter, parameters))
            if parameter in values_by_name:
                raise DataError(f"{name} takes {parameter} once, got {excerpt(f'{name}({text})')!r}")
            values_by_name[parameter] = self._number(name, parameter, value)
        defaults = {p.name: p.default for p in inspect.signature(self.make).parameters.values()}
        values = {parameter: values_by_name.get(parameter, defaults[parameter]) for parameter in parameters}
        while parameters and values[parameters[-1]] == defaults[parameters[-1]]:
            del values[parameters.pop()]
        return tuple(values.values())

    def _number(self, name: str, parameter: str, text: str) -> float:
        allowed = self.ranges[parameter]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{name}'s {parameter} must be a finite number, got {excerpt(text.strip(), 40)!r}")
        if value not in allowed:
            raise DataError(f"{name}'s {parameter} must be {allowed}, got {excerpt(text.strip(), 40)}")
        return int(value) if allowed.integer else value


def parse_name(
    kind: str, text: str, entries: Mapping[str, Any], known: Iterable[str] = ()
) -> tuple[str, tuple[float, ...]]:
    """Split a text into the name of an entry and its arguments.

    Parameters
    ----------
    kind : str
        What is looked up, for the error message: "activation", "loss", ...
    text : str
        A name, or a name and arguments in brackets, by position or by name.
    entries : mapping
        From names to entries; those that take parameters are :class:`Parametric`.
    known : iterable of str, optional
        The names that the error about an unknown one lists, by default those of the entries.

    Raises
    ------
    DataError
        If the name is unknown, the entry takes no parameters, or an argument is outside its range.

    Examples
    --------
    >>> parse_name("loss", "huber(width=0.5)", {"huber": Parametric(lambda width=1.0: ..., {"width": ABOVE_0})})
    ('huber', (0.5,))
    """
    match = _NAME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        received = excerpt(text) if isinstance(text, str) else text
        raise DataError(f"{kind} must be a name such as {next(iter(entries))!r}, got {received!r}")
    name, arguments_text = match.groups()
    if name not in entries:
        raise DataError(unknown(kind, name, [*known] or entries))
    entry = entries[name]
    if arguments_text is None:
        return name, ()
    if not isinstance(entry, Parametric):
        raise DataError(f"{kind} {name!r} takes no parameters, got {excerpt(text)!r}")
    return name, entry.arguments(name, arguments_text)


def look_up(kind: str, text: str, entries: Mapping[str, Any], known: Iterable[str] = ()) -> Any:
    """Return the entry that ``text`` names, made with its arguments if it takes any; see :func:`parse_name`."""
    name, arguments = parse_name(kind, text, entries, known)
    entry = entries[name]
    return entry.make(*arguments) if isinstance(entry, Parametric) else entry


def canonical_name(kind: str, text: str, entries: Mapping[str, Any]) -> str:
    """Return the canonical text of an entry and its arguments, by which networks are compared and stored.

    Examples
    --------
    >>> entries = {"huber": Parametric(lambda width=1.0: ..., {"width": ABOVE_0})}
    >>> [canonical_name("loss", text, entries) for text in ("huber(width=0.50)", " huber(1)", "huber")]
    ['huber(0.5)', 'huber', 'huber']
    """
    name, arguments = parse_name(kind, text, entries)
    return f"{name}({','.join(repr(value).removesuffix('.0') for value in arguments)})" if arguments else name


def unknown(kind: str, name: Any, known: Iterable[str]) -> str:
    """Return the error message about an unknown name: what was given, the nearest known names, and all known names."""
    names = list(known)
    return f"unknown {kind} {name!r}{near_miss(name, names)}; known: {', '.join(names)}"


def near_miss(name: Any, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" for an error message, or an empty text if no known name is close.

    Examples
    --------
    >>> near_miss("digit", ["digits", "iris"])
    " (did you mean 'digits'?)"
    """
    if not isinstance(name, str):
        return ""
    # difflib alone would count a wrong case letter by letter, and the placeholder of "parametric(NAME)" as letters
    by_lower = {candidate.removesuffix("(NAME)").lower(): candidate for candidate in known}
    other = OTHER_NAMES.get(name.lower(), "")
    if other.partition(":")[0] in by_lower:
        return f" (did you mean {other!r}?)"
    close = difflib.get_close_matches(name.lower(), by_lower, n=2, cutoff=0.7)
    return f" (did you mean {' or '.join(repr(by_lower[c]) for c in close)}?)" if close else ""


_MOST_FILES = 10_000  # of a folder that are compared


def near_file(path: Path) -> str:
    """Return " (did you mean ...?)" for a file that does not exist, or "" if no file beside it has a similar name."""
    try:
        beside = sorted(other for other in islice(path.parent.iterdir(), _MOST_FILES) if other.is_file())
    except (OSError, ValueError):
        return ""
    by_stem = {_stem(other): other for other in reversed(beside)}  # equal suffixes alone make no names similar
    close = difflib.get_close_matches(_stem(path), by_stem, n=1, cutoff=0.75)
    return f" (did you mean {str(by_stem[close[0]])!r}?)" if close else ""


def _stem(path: Path) -> str:
    return path.name.lower().partition(".")[0]
