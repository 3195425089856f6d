"""Bounds of errors by running error analysis: the equations computed with numbers that carry the bound of their error.

``Bounds(dtype, ulps)`` is an array library for gpubp's equations. Each operation adds half a unit in the last place to
the errors of its operands, and each elementary function as many units as its documentation states. So a bound follows
for a device that nobody has measured; fused multiply-adds only make it smaller. Overflow is not modelled.
"""

import numpy as np

# CUDA C++ Programming Guide, Mathematical Functions, 17.1 Standard Functions, tables 17 and 18 (release 12.8 or later):
# largest differences in ulp from the correctly rounded result, over the full range. The guide found them by extensive
# tests and does not guarantee them. Older tables (appendix E.1) have the same, but 1 for sin and cos in float64.
# Sums, products, quotients and roots are correctly rounded, as without --use_fast_math, which gpubp does not set.
CUDA_ULPS = {
    "float32": {"exp": 2, "expm1": 1, "log": 1, "log1p": 1, "tanh": 2, "sin": 2, "cos": 2},
    "float64": {"exp": 1, "expm1": 1, "log": 1, "log1p": 1, "tanh": 1, "sin": 2, "cos": 2},
}
PRECISE = np.longdouble


class Bounded:
    """Numbers and the bounds of their absolute errors, arrays of one shape."""

    __array_ufunc__ = None

    def __init__(self, value, error, xp):
        self.value, self.error, self.xp = value, error, xp
        self.shape, self.dtype = value.shape, xp.dtype

    def _with(self, operation, other, *, is_reversed=False):
        other = other if isinstance(other, Bounded) else self.xp.constant(other, self.shape)
        return operation(self.xp, other, self) if is_reversed else operation(self.xp, self, other)

    def __add__(self, other):
        return self._with(_add, other)

    def __sub__(self, other):
        return self._with(_subtract, other)

    def __mul__(self, other):
        return self._with(_multiply, other)

    def __truediv__(self, other):
        return self._with(_divide, other)

    def __rsub__(self, other):
        return self._with(_subtract, other, is_reversed=True)

    def __rtruediv__(self, other):
        return self._with(_divide, other, is_reversed=True)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return Bounded(-self.value, self.error, self.xp)

    def __pow__(self, exponent):
        return self * self if exponent == 2 else self * self * self

    def __getitem__(self, key):
        return Bounded(self.value[key], self.error[key], self.xp)

    def __lt__(self, other):
        return self.value < _value(other)

    def __gt__(self, other):
        return self.value > _value(other)


def _value(number):
    return number.value if isinstance(number, Bounded) else number


def _add(xp, a, b):
    return xp.rounded(a.value + b.value, a.error + b.error)


def _subtract(xp, a, b):
    return xp.rounded(a.value - b.value, a.error + b.error)


def _multiply(xp, a, b):
    error = abs(a.value) * b.error + abs(b.value) * a.error + a.error * b.error
    return xp.rounded(a.value * b.value, error)


def _divide(xp, a, b):
    smallest = np.maximum(abs(b.value) - b.error, 0)
    return xp.rounded(a.value / b.value, (a.error + abs(a.value / b.value) * b.error) / smallest)


def _error_of_exp(x):
    y = np.exp(x.value)
    return np.where(x.error < 1, y * np.expm1(x.error), np.exp(x.value + x.error) - y)


class Bounds:
    """An array library of :class:`Bounded` numbers, with the functions that gpubp's equations use."""

    def __init__(self, dtype, ulps):
        info = np.finfo(dtype)
        self.dtype, self.ulps = dtype, ulps
        self.half, self.smallest = PRECISE(info.eps) / 2, PRECISE(info.smallest_subnormal) / 2

    def asarray(self, array):
        """Take exact numbers."""
        return Bounded(array.astype(PRECISE), np.zeros(array.shape, PRECISE), self)

    def constant(self, number, shape):
        """Take a number of the host, which is rounded to the precision."""
        value = np.full(shape, PRECISE(number))
        return Bounded(value, np.abs(value - np.asarray(number, self.dtype)), self)

    def rounded(self, value, error, ulps=0.0):
        """Add the rounding of an operation, which is so many units in the last place off besides."""
        largest = np.abs(value) + error
        rounding = np.where(largest > 0, np.maximum(self.half * largest, self.smallest), 0)  # an exact 0 stays 0
        return Bounded(value, error + rounding * (1 + 2 * ulps), self)

    def finfo(self, dtype):
        return np.finfo(self.dtype)

    def ones_like(self, x):
        return self.constant(1.0, x.shape)

    def abs(self, x):
        return Bounded(abs(x.value), x.error, self)

    def sign(self, x):
        return Bounded(np.sign(x.value), PRECISE(2) * (abs(x.value) < x.error), self)

    def round(self, x):
        """Round to whole numbers; which ones decides nothing, as the caller computes what is left of exact numbers."""
        return Bounded(np.rint(x.value), np.zeros(x.shape, PRECISE), self)

    def exp(self, x):
        y = self.rounded(np.exp(x.value), _error_of_exp(x), self.ulps["exp"])
        return Bounded(y.value, np.where((x.value == 0) & (x.error == 0), 0, y.error), self)  # exp(0) is exact

    def expm1(self, x):
        return self.rounded(np.expm1(x.value), _error_of_exp(x), self.ulps["expm1"])

    def log(self, x):
        return self.rounded(np.log(x.value), x.error / np.maximum(x.value - x.error, 0), self.ulps["log"])

    def log1p(self, x):
        error = x.error / np.maximum(1 + x.value - x.error, 0)
        return self.rounded(np.log1p(x.value), error, self.ulps["log1p"])

    def sqrt(self, x):
        return self.rounded(np.sqrt(x.value), x.error / (np.sqrt(np.maximum(x.value - x.error, 0)) + np.sqrt(x.value)))

    def tanh(self, x):
        slope = 1 / np.cosh(np.maximum(abs(x.value) - x.error, 0)) ** 2
        return self.rounded(np.tanh(x.value), slope * x.error, self.ulps["tanh"])

    def sin(self, x):
        return self.rounded(np.sin(x.value), x.error, self.ulps["sin"])

    def cos(self, x):
        return self.rounded(np.cos(x.value), x.error, self.ulps["cos"])

    def where(self, condition, a, b):
        """Choose by the exact numbers: next to a jump the condition number is infinite."""
        shape = condition.shape
        a, b = (part if isinstance(part, Bounded) else self.constant(part, shape) for part in (a, b))
        return Bounded(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error), self)

    def maximum(self, a, b):
        return self._extreme(np.maximum, a, b)

    def minimum(self, a, b):
        return self._extreme(np.minimum, a, b)

    def _extreme(self, function, a, b):
        b = b if isinstance(b, Bounded) else self.constant(b, a.shape)
        value, errors = function(a.value, b.value), a.error + b.error
        error = np.where(value == a.value, a.error, b.error)
        return Bounded(value, np.where(abs(a.value - b.value) > errors, error, np.maximum(a.error, b.error)), self)

    def clip(self, x, low, high):
        return self.minimum(self.maximum(x, low), high)

    def stack(self, arrays, axis):
        value, error = (np.stack([getattr(a, what) for a in arrays], axis) for what in ("value", "error"))
        return Bounded(value, error, self)

    def sum(self, x, axis, keepdims=False):
        total = x[..., 0]
        for k in range(1, x.shape[-1]):
            total = total + x[..., k]
        return total[..., None] if keepdims else total

    def max(self, x, axis, keepdims=False):
        return Bounded(*(np.max(part, axis, keepdims=keepdims) for part in (x.value, x.error)), self)

    def zeros_like(self, x):
        return self.constant(0.0, x.shape)


def bound_of(plain, arrays, dtype, ulps):
    """Return the bound of the absolute error of an equation, ``plain(xp, *arrays)``: (n,)."""
    xp = Bounds(dtype, ulps)
    with np.errstate(all="ignore"):
        return plain(xp, *map(xp.asarray, arrays)).error
