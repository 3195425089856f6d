"""Symbols in place of arrays: they record what an equation computes, so that it can be written in C.

Every equation takes its array library as ``xp``. Called with this module instead, and with symbols as operands, it
returns the operations it would have computed; :mod:`gpubp.engine.tracing.expressions` writes them in C. A symbol stands
for the number of one unit in one sample, or for a parameter; a sum or a maximum is over the units of a sample.

Host numbers, such as the learning rate, are known to the host before each step. Operations on them alone run on the
host, in double precision.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

REDUCTIONS = {"sum": "sum over units", "max": "largest over units"}
OVER_SAMPLES = "sum over samples"


class Inexpressible(AttributeError):
    """An equation uses an operation that symbols, or this module as their array library, do not have."""


# --- operators ---

Operator = Callable[[Any, Any], Any]


def _operator_pair(name: str, text: str) -> tuple[Operator, Operator]:
    function = getattr(operator, name)
    return lambda a, b: _combine(text, function, a, b), lambda a, b: _combine(text, function, b, a)


def _combine(text: str, function: Operator, a: Any, b: Any) -> Any:
    """Combine two operands into a HostNumber if the host knows both, else into a symbol."""
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return _apply(text, a, b)
    if not all(isinstance(part, HostNumber | int | float | np.floating) for part in (a, b)):
        return NotImplemented
    evaluate_a, evaluate_b = _evaluator(a), _evaluator(b)
    return HostNumber(
        f"({_text(a)} {text} {_text(b)})", lambda settings: function(evaluate_a(settings), evaluate_b(settings))
    )


def _evaluator(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    return value.evaluate if isinstance(value, HostNumber) else lambda settings: value


def _text(value: Any) -> str:
    return value.text if isinstance(value, HostNumber) else repr(float(value))


class Symbol:
    """An operation and its operands: symbols, floats and host numbers, or for a variable its name.

    ``per_unit`` says whether the units of a sample have different values.
    """

    def __init__(self, operation: str, *operands: Any, per_unit: bool, dtype: str) -> None:
        self.operation, self.operands, self.per_unit, self.dtype = operation, operands, per_unit, dtype

    __array_ufunc__ = None  # NumPy scalars defer to the symbol's operators
    __add__, __radd__ = _operator_pair("add", "+")
    __sub__, __rsub__ = _operator_pair("sub", "-")
    __mul__, __rmul__ = _operator_pair("mul", "*")
    __truediv__, __rtruediv__ = _operator_pair("truediv", "/")
    __lt__, __gt__ = _operator_pair("lt", "<")
    __le__, __ge__ = _operator_pair("le", "<=")
    __and__, __rand__ = _operator_pair("and_", "&&")
    __or__, __ror__ = _operator_pair("or_", "||")

    def __neg__(self) -> "Symbol":
        if self.operation == "-":  # the same number, often computed already
            return _apply("-", *self.operands[::-1])
        return _apply("negative", self)

    def __pow__(self, exponent: Any) -> Any:
        if exponent not in (2, 3):
            raise Inexpressible(f"a symbol can be raised to the power 2 or 3, got {exponent!r}")
        return self * self if exponent == 2 else self * self * self

    def __getitem__(self, index: Any) -> "Symbol":
        if self.per_unit or index != (..., None):
            raise Inexpressible(f"a symbol cannot be indexed, got [{index}]")
        return self  # one number per sample, combined with those of its units

    def __eq__(self, other: object) -> bool:
        raise Inexpressible("symbols cannot be compared for equality before the device computes them")

    def __bool__(self) -> bool:
        raise Inexpressible("a symbol has no truth value before the device computes it")

    __hash__ = None  # type: ignore[assignment]


class HostNumber:
    """A number that the host knows before each step; ``evaluate`` computes it from the settings of the step."""

    def __init__(self, text: str, evaluate: Callable[[Mapping[str, Any]], Any]) -> None:
        self.text, self.evaluate = text, evaluate

    __array_ufunc__ = None
    __add__, __radd__ = _operator_pair("add", "+")
    __sub__, __rsub__ = _operator_pair("sub", "-")
    __mul__, __rmul__ = _operator_pair("mul", "*")
    __truediv__, __rtruediv__ = _operator_pair("truediv", "/")
    __pow__, __rpow__ = _operator_pair("pow", "**")

    def __neg__(self) -> "HostNumber":
        return HostNumber(f"(-{self.text})", lambda settings: -self.evaluate(settings))

    def __eq__(self, other: object) -> bool:
        raise Inexpressible(f"{self.text} may change from step to step")

    def __bool__(self) -> bool:
        raise Inexpressible(f"{self.text} may change from step to step")

    __hash__ = None  # type: ignore[assignment]


def variable(name: str, dtype: str, *, per_unit: bool = True) -> Symbol:
    """Make a symbol for a variable of C."""
    return Symbol("variable", name, per_unit=per_unit, dtype=dtype)


def setting(name: str) -> HostNumber:
    """Make the number of a setting."""
    return HostNumber(name, operator.itemgetter(name))


def _apply(operation: str, *operands: Any) -> Symbol:
    first = next((part for part in operands if isinstance(part, Symbol)), None)
    if first is None or not all(isinstance(part, Symbol | HostNumber | int | float | np.floating) for part in operands):
        raise Inexpressible(f"no symbol can represent {operation} of {operands}")
    per_unit = any(isinstance(part, Symbol) and part.per_unit for part in operands)
    return Symbol(operation, *operands, per_unit=per_unit, dtype=first.dtype)


# --- functions of an array library ---


def _function(name: str) -> Callable[[Any], Symbol]:
    return lambda a: _apply(name, a)


abs, cos, exp, expm1, log = map(_function, ("abs", "cos", "exp", "expm1", "log"))
log1p, round, sign, sin, sqrt, tanh = map(_function, ("log1p", "round", "sign", "sin", "sqrt", "tanh"))


def where(condition: Any, a: Any, b: Any) -> Symbol:
    """Choose ``a`` where the condition holds, else ``b``."""
    return _apply("where", condition, a, b)


def maximum(a: Any, b: Any) -> Symbol:
    """Take the larger; NaN if ``a`` is."""
    return _apply("maximum", a, b)


def minimum(a: Any, b: Any) -> Symbol:
    """Take the smaller; NaN if ``a`` is."""
    return _apply("minimum", a, b)


def sum(a: Symbol, *, axis: int | tuple[int, int], keepdims: bool = False) -> Symbol:
    """Add up over the units, or over the samples if each has one number; over both with the axes -2 and -1."""
    return sum(sum(a, axis=-1), axis=-1) if axis == (-2, -1) else _reduce("sum", a, axis)


def max(a: Symbol, *, axis: int, keepdims: bool = False) -> Symbol:
    """Take the largest over the units."""
    return _reduce("max", a, axis)


def _reduce(kind: str, a: Symbol, axis: Any) -> Symbol:
    if axis != -1 or not (a.per_unit or kind == "sum"):
        raise Inexpressible(f"{kind} over axis {axis} is not possible with one number per sample")
    return Symbol(REDUCTIONS[kind] if a.per_unit else OVER_SAMPLES, a, per_unit=False, dtype=a.dtype)


class FloatInfo(NamedTuple):
    """The limits of a precision that equations use."""

    smallest_normal: float


def finfo(dtype: str) -> FloatInfo:
    """Return the limits of a precision."""
    return FloatInfo(float(np.finfo(dtype).smallest_normal))


def __getattr__(name: str) -> Any:
    raise Inexpressible(f"symbols have no {name}")
