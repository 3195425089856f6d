"""Errors in units in the last place, and condition numbers, of functions of numbers in float32 or float64."""

import math
from typing import NamedTuple

import mpmath
import numpy as np

mp = mpmath.mp
RIGHT_BITS = 120  # of a true value


class Truth(NamedTuple):
    """True values, and the condition number of the function at each point, (n,) each.

    Attributes
    ----------
    values : list of mpf
    conditions : (n,) array
        By how much a change of the inputs by a few units in the last place is magnified, but at least 1: the sum over
        the inputs of the relative change of the value by that of the input. Infinite at a jump.
    """

    values: list[mpmath.mpf]
    conditions: np.ndarray


class Errors(NamedTuple):
    """Errors at many points.

    Attributes
    ----------
    largest, mean : float
        In units in the last place of the true value.
    at : tuple of float
        The inputs of the largest error.
    of_bar : float
        The largest error as a multiple of a unit in the last place times the condition number; or of an epsilon of the
        function's scale, where that is larger.
    bar_at : tuple of float
        The inputs of that.
    """

    largest: float
    mean: float
    at: tuple[float, ...]
    of_bar: float
    bar_at: tuple[float, ...]


def precision(arguments, dtype):
    """Return how many bits a formula needs to have all digits of a dtype, however plainly it is written.

    Differences from 1 need the more, the farther ``exp(x)`` is from 1, or in gelu ``exp(x**3)``; but none that are 0 in
    the dtype count.
    """
    info = np.finfo(dtype)
    magnitudes = [abs(number) for number in map(float, arguments) if number]
    spread = max((3 * (a + min(a, 1e3) ** 3 / 25) + 2 * abs(math.log2(a)) for a in magnitudes), default=0)
    return RIGHT_BITS + math.ceil(min(spread, info.nmant - info.minexp))


def truth(f, arrays, settings=()):
    """Evaluate a formula and its condition number at every point.

    Parameters
    ----------
    arrays : tuple of (n,) arrays of one dtype
    settings : tuple of float
        Further arguments, the same at every point.
    """
    step = mp.mpf(4 * float(np.finfo(arrays[0].dtype).eps))
    values, conditions = [], []
    for point in zip(*(array.tolist() for array in arrays), strict=True):
        arguments = [mp.mpf(number) for number in (*point, *settings)]
        with mp.workprec(precision(arguments, arrays[0].dtype)):
            values.append(value := f(*arguments))
            condition = mp.fsum(_condition(f, arguments, k, value, step) for k in range(len(arguments)))
        conditions.append(max(1.0, float(condition)))
    return Truth(values, np.asarray(conditions))


def _condition(f, arguments, k, value, step):
    if not arguments[k]:
        return mp.mpf(0)
    changes = []
    for factor in (1 + step, 1 - step):
        moved = [*arguments[:k], arguments[k] * factor, *arguments[k + 1 :]]
        try:
            changes.append(abs(f(*moved) - value))
        except (ValueError, ZeroDivisionError):  # outside the domain, where only real numbers are compared
            return mp.inf
    if any(mp.im(change) for change in changes):
        return mp.inf
    change = max(changes)
    return change / (abs(value) * step) if value else mp.inf if change else mp.mpf(0)


def ulp(value, dtype, smallest=0):
    """Return the unit in the last place of a number in a dtype, or ``smallest`` if it is larger."""
    info = np.finfo(dtype)
    exponent = info.minexp if not value else max(mp.frexp(value)[1] - 1, info.minexp)
    return max(mp.ldexp(1, int(min(exponent, info.maxexp - 1)) - info.nmant), smallest)


def errors(computed, true, arrays, *, scale=None, smallest=0.0):
    """Compare computed numbers with the true ones; where the function jumps, none counts as wrong.

    Parameters
    ----------
    computed : (n,) array
    true : Truth
    arrays : tuple of (n,) arrays
        The inputs.
    scale : (n,) array, optional
        A size of which an absolute error of an epsilon is as good as one of a unit in the last place.
    smallest : float
        What a unit is at least: the smallest normal number where subnormal ones are 0.

    Returns
    -------
    Errors
    """
    with np.errstate(over="ignore"):
        rounded = np.asarray([float(value) for value in true.values]).astype(computed.dtype)
    differences = np.asarray([*map(_difference, computed.tolist(), rounded.tolist(), true.values)])
    ulps = _ulps(true, computed.dtype, smallest)
    is_jump = np.isinf(true.conditions)  # there an error says nothing
    with np.errstate(invalid="ignore", over="ignore"):
        wrong = np.where(is_jump, 0.0, differences / ulps)
        of_bar = np.where(is_jump, 0.0, differences / bar(true, computed.dtype, scale, smallest))

    def point(n):
        return tuple(float(array[n]) for array in arrays)

    largest, worst = int(np.argmax(wrong)), int(np.argmax(of_bar))
    return Errors(float(wrong[largest]), float(np.mean(wrong)), point(largest), float(of_bar[worst]), point(worst))


def bar(true, dtype, scale=None, smallest=0.0):
    """Return a unit in the last place times the condition number, or an epsilon of the scale where that is larger."""
    with np.errstate(over="ignore"):
        allowed = _ulps(true, dtype, smallest) * true.conditions
    return allowed if scale is None else np.maximum(allowed, np.finfo(dtype).eps * scale)


def _ulps(true, dtype, smallest):
    return np.asarray([float(ulp(value, dtype, smallest)) for value in true.values])


def _difference(number, rounded, value):
    if math.isfinite(number):
        return float(abs(mp.mpf(number) - value))
    return 0.0 if number == rounded else math.inf


def worst_of(several):
    """Combine the errors of several sets of points, of about as many each."""
    largest, of_bar = max(several, key=lambda e: e.largest), max(several, key=lambda e: e.of_bar)
    mean = float(np.mean([e.mean for e in several]))
    return Errors(largest.largest, mean, largest.at, of_bar.of_bar, of_bar.bar_at)
