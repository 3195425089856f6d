"""A namespace of functions of single numbers, for the equations to be compiled with.

Every equation takes its array library as ``xp``. Given this module instead, numba compiles the same equation as a
function of numbers, and a loop over it is one pass over memory, with no arrays in between. The exponential, and what
follows from it, is written here so that compilers make vector instructions of it.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

abs = abs


@register_jitable
def where(condition: Any, a: Any, b: Any) -> Any:
    """Choose one of two numbers."""
    return a if condition else b


@register_jitable
def maximum(a: Any, b: Any) -> Any:
    """Take the larger number; NaN where ``a`` is."""
    return b if a < b else a


@register_jitable
def minimum(a: Any, b: Any) -> Any:
    """Take the smaller number; NaN where ``a`` is."""
    return b if a > b else a


@register_jitable
def sign(a: Any) -> Any:
    """Give 1, 0 or -1; NaN where ``a`` is."""
    return a if a != a else (a > 0) * 1.0 - (a < 0) * 1.0


@register_jitable
def sqrt(a: Any) -> Any:
    """Take the square root."""
    return np.sqrt(a)


@register_jitable
def log(a: Any) -> Any:
    """Take the natural logarithm."""
    return np.log(a)


@register_jitable
def log1p(a: Any) -> Any:
    """Take the natural logarithm of 1 + a."""
    return np.log1p(a)


def exp(a: Any) -> Any:
    """Take the exponential; 0 where that is not above four times the smallest normal number."""
    return math.exp(a)


def expm1(a: Any) -> Any:
    """Take the exponential less 1, with all digits near 0."""
    return math.expm1(a)


def tanh(a: Any) -> Any:
    """Take the hyperbolic tangent, with all digits near 0."""
    return math.tanh(a)


@cache
def _exponentials(a: types.Float) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Make the three functions above for numbers of one type, with constants of that type.

    ``e**a`` is ``2**n * e**r``, with ``a = n * log(2) + r`` and ``r`` at most half of ``log(2)``, where a few terms of
    the power series give all digits. Adding ``to_whole`` rounds to ``n`` and leaves it in the number's last bits, from
    where it is shifted to be an exponent.
    """
    real: Any
    whole: Any
    real, whole, n_terms = (np.float32, np.int32, 7) if a == types.float32 else (np.float64, np.int64, 13)
    info = np.finfo(real)
    digits, bias = whole(info.nmant), whole(-info.minexp)  # a bias of 1 less than usual: half of the power
    to_whole, log2_e = real(1.5 * 2.0**info.nmant), real(1.0 / math.log(2.0))
    scale = 2.0 ** (info.nmant // 2)
    ln2_high = real(round(math.log(2.0) * scale) / scale)  # n * ln2_high is exact
    ln2_low = real((math.log(2.0) - float(ln2_high)) + LOG_2_BEYOND)
    lowest, highest = real(math.log(4.0 * float(info.smallest_normal))), real(math.log(float(info.max)))
    terms = tuple(real(1.0 / math.factorial(k)) for k in range(n_terms, 0, -1))
    zero, one, two, infinite = real(0.0), real(1.0), real(2.0), real(math.inf)

    @register_jitable
    def parts(a: Any) -> Any:
        """Give ``e**r - 1`` and half of ``2**n``."""
        shifted = min(max(a, lowest), highest) * log2_e + to_whole
        n = shifted - to_whole
        r = (min(max(a, lowest), highest) - n * ln2_high) - n * ln2_low
        p = zero
        for term in terms:
            p = p * r + term
        return p * r, whole((real(shifted).view(whole) + bias) << digits).view(real)

    @register_jitable
    def of_a(a: Any) -> Any:
        rest, half = parts(a)
        y = (rest * half + half) * two
        y = infinite if a > highest else (zero if a < lowest else y)
        return a if a != a else y

    @register_jitable
    def less_one(a: Any) -> Any:
        rest, half = parts(a)
        y = (rest * half + (half - one / two)) * two
        y = infinite if a > highest else y
        return a if a != a else y

    @register_jitable
    def tangent(a: Any) -> Any:
        e = less_one(-two * abs(a))
        return math.copysign(-e / (e + two), a)

    return of_a, less_one, tangent


LOG_2_BEYOND = 2.3190468138462996e-17
"""What log(2) has beyond the digits of a double."""


@overload(exp)
def _exp(a: Any) -> Any:
    return _exponentials(a)[0]


@overload(expm1)
def _expm1(a: Any) -> Any:
    return _exponentials(a)[1]


@overload(tanh)
def _tanh(a: Any) -> Any:
    return _exponentials(a)[2]
