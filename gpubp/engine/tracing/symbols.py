"""Symbols in place of arrays: an equation that is given them says what it computes, for CUDA C to compute it.

Every equation takes its array library as ``xp``. Given this module instead, and symbols as operands, it gives back what
it would have computed, as operations on symbols; :mod:`gpubp.engine.tracing.expressions` writes them down in C. A
symbol stands for a number of one unit in one sample, or for a parameter; a sum or a maximum is over the units of a
sample.

Beside symbols there are numbers that the host knows before each step, such as the learning rate: what equations do
with these alone is done on the host, in double precision.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

REDUCTIONS = {"sum": "sum over units", "max": "largest over units"}
OVER_SAMPLES = "sum over cases"


class Inexpressible(AttributeError):
    """An equation asks of symbols, or of their array library, what they do not have."""


# --- operators ---

Operator = Callable[[Any, Any], Any]


def _both_ways(name: str, text: str) -> tuple[Operator, Operator]:
    function = getattr(operator, name)
    return lambda a, b: _combine(text, function, a, b), lambda a, b: _combine(text, function, b, a)


def _combine(text: str, function: Operator, a: Any, b: Any) -> Any:
    """Combine two operands: to a number where the host knows both, else to a symbol."""
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return _apply(text, a, b)
    if not all(isinstance(part, Number | int | float | np.floating) for part in (a, b)):
        return NotImplemented
    of_a, of_b = _of(a), _of(b)
    return Number(f"({_text(a)} {text} {_text(b)})", lambda settings: function(of_a(settings), of_b(settings)))


def _of(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    return value.of if isinstance(value, Number) else lambda settings: value


def _text(value: Any) -> str:
    return value.text if isinstance(value, Number) else repr(float(value))


class Symbol:
    """An operation and what it is applied to: symbols, floats, numbers of the host; a variable has its name instead.

    ``per_unit`` tells whether the units of a sample have different values.
    """

    def __init__(self, operation: str, *operands: Any, per_unit: bool, dtype: str) -> None:
        self.operation, self.operands, self.per_unit, self.dtype = operation, operands, per_unit, dtype

    __array_ufunc__ = None  # NumPy's numbers leave it to a symbol what is done with them
    __add__, __radd__ = _both_ways("add", "+")
    __sub__, __rsub__ = _both_ways("sub", "-")
    __mul__, __rmul__ = _both_ways("mul", "*")
    __truediv__, __rtruediv__ = _both_ways("truediv", "/")
    __lt__, __gt__ = _both_ways("lt", "<")
    __le__, __ge__ = _both_ways("le", "<=")
    __and__, __rand__ = _both_ways("and_", "&&")

    def __neg__(self) -> "Symbol":
        if self.operation == "-":  # exactly as much, and often computed already
            return _apply("-", *self.operands[::-1])
        return _apply("negative", self)

    def __pow__(self, exponent: Any) -> Any:
        if exponent not in (2, 3):
            raise Inexpressible(f"a symbol can be raised to 2 and 3, not to {exponent!r}")
        return self * self if exponent == 2 else self * self * self

    def __getitem__(self, index: Any) -> "Symbol":
        if self.per_unit or index != (..., None):
            raise Inexpressible(f"a symbol has no parts, but [{index}] was asked for")
        return self  # one number a sample, beside those of its units

    def __eq__(self, other: object) -> bool:
        raise Inexpressible("whether symbols are equal shows only on the device")

    def __bool__(self) -> bool:
        raise Inexpressible("whether a symbol is true shows only on the device")

    __hash__ = None  # type: ignore[assignment]


class Number:
    """A number that the host knows before each step; ``of`` finds it from the settings of the step."""

    def __init__(self, text: str, of: Callable[[Mapping[str, Any]], Any]) -> None:
        self.text, self.of = text, of

    __array_ufunc__ = None
    __add__, __radd__ = _both_ways("add", "+")
    __sub__, __rsub__ = _both_ways("sub", "-")
    __mul__, __rmul__ = _both_ways("mul", "*")
    __truediv__, __rtruediv__ = _both_ways("truediv", "/")
    __pow__, __rpow__ = _both_ways("pow", "**")

    def __neg__(self) -> "Number":
        return Number(f"(-{self.text})", lambda settings: -self.of(settings))

    def __eq__(self, other: object) -> bool:
        raise Inexpressible(f"{self.text} may change from step to step")

    def __bool__(self) -> bool:
        raise Inexpressible(f"{self.text} may change from step to step")

    __hash__ = None  # type: ignore[assignment]


def variable(name: str, dtype: str, *, per_unit: bool = True) -> Symbol:
    """Make a symbol that C knows by its name."""
    return Symbol("variable", name, per_unit=per_unit, dtype=dtype)


def setting(name: str) -> Number:
    """Make a number that is a setting itself."""
    return Number(name, operator.itemgetter(name))


def _apply(operation: str, *operands: Any) -> Symbol:
    first = next((part for part in operands if isinstance(part, Symbol)), None)
    if first is None or not all(isinstance(part, Symbol | Number | int | float | np.floating) for part in operands):
        raise Inexpressible(f"{operation} of {operands} is nothing that a symbol can stand for")
    per_unit = any(isinstance(part, Symbol) and part.per_unit for part in operands)
    return Symbol(operation, *operands, per_unit=per_unit, dtype=first.dtype)


# --- what an array library has ---


def _function(name: str) -> Callable[[Any], Symbol]:
    return lambda a: _apply(name, a)


abs, exp, expm1, log = map(_function, ("abs", "exp", "expm1", "log"))
log1p, sign, sqrt, tanh = map(_function, ("log1p", "sign", "sqrt", "tanh"))


def where(condition: Any, a: Any, b: Any) -> Symbol:
    """Choose one of two."""
    return _apply("where", condition, a, b)


def maximum(a: Any, b: Any) -> Symbol:
    """Take the larger; NaN where ``a`` is."""
    return _apply("maximum", a, b)


def minimum(a: Any, b: Any) -> Symbol:
    """Take the smaller; NaN where ``a`` is."""
    return _apply("minimum", a, b)


def sum(a: Symbol, *, axis: int, keepdims: bool = False) -> Symbol:
    """Add up over the units, or over the samples where each has one number."""
    return _reduce("sum", a, axis)


def max(a: Symbol, *, axis: int, keepdims: bool = False) -> Symbol:
    """Take the largest over the units."""
    return _reduce("max", a, axis)


def _reduce(kind: str, a: Symbol, axis: int) -> Symbol:
    if axis != -1 or not (a.per_unit or kind == "sum"):
        raise Inexpressible(f"no {kind} over axis {axis} of what has one number a case")
    return Symbol(REDUCTIONS[kind] if a.per_unit else OVER_SAMPLES, a, per_unit=False, dtype=a.dtype)


class Limits(NamedTuple):
    """What equations ask of a precision."""

    smallest_normal: float


def finfo(dtype: str) -> Limits:
    """Tell the limits of a precision."""
    return Limits(float(np.finfo(dtype).smallest_normal))


def __getattr__(name: str) -> Any:
    raise Inexpressible(f"symbols have no {name}")
