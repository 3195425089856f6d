r"""The errors: how far the outputs are from what was desired, and the derivative beside it.

Each error is a pair of pure functions of the outputs ``y`` and the desired outputs ``d``, both ``(..., b, j)``:
``value(xp, y, d)``, the error of every unit in every case, not yet summed, and ``dE_dy(xp, y, d)``.

Each names the output unit that belongs to it. On that unit the errors that take a logarithm have a second pair, of the
total input ``x``, which neither overflows nor loses digits: ``value_at(xp, x, d)`` and ``dE_dx(xp, y, d)``.
:func:`output_error` uses the second pair wherever the unit allows it.

An error is named by a string; Huber's and the dead zone take a width in brackets, ``"huber(0.5)"``, and cross entropy
the units of each of several softmaxes side by side, ``"cross_entropy(3,4)"``.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gpubp._core.names import look_up
from gpubp._typing import Array, Namespace
from gpubp.nn import equations
from gpubp.nn.activations import activation, by_group, units_of_groups


class Loss(NamedTuple):
    """An error: its value, its derivative, and where both are defined."""

    value: Callable[[Namespace, Array, Array], Array]
    dE_dy: Callable[[Namespace, Array, Array], Array]
    output: str = "identity"  # the unit that belongs to it
    value_at: Callable[[Namespace, Array, Array], Array] | None = None
    dE_dx: Callable[[Namespace, Array, Array], Array] | None = None
    above_zero: bool = False  # defined only for outputs above 0 ...
    below_one: bool = False  # ... and below 1
    desired: tuple[float, float] = (-math.inf, math.inf)


def _difference(xp: Namespace, y: Array, d: Array) -> Array:
    return y - d


def _absolute(xp: Namespace, y: Array, d: Array) -> Array:
    return xp.abs(y - d)


def _absolute_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    return xp.sign(y - d)


def _huber(xp: Namespace, y: Array, d: Array, *, width: float) -> Array:
    inside = xp.minimum(xp.abs(y - d), width)
    return inside * (xp.abs(y - d) - 0.5 * inside)


def _huber_dE_dy(xp: Namespace, y: Array, d: Array, *, width: float) -> Array:
    return xp.maximum(xp.minimum(y - d, width), -width)


def _log_cosh(xp: Namespace, y: Array, d: Array) -> Array:
    r = xp.abs(y - d)
    # cosh^-2 is 1 - tanh^2, which keeps its digits where r is small, and loses them where it is not
    small = -0.5 * xp.log1p(-(xp.tanh(xp.minimum(r, 1.0)) ** 2))
    return xp.where(r < 1.0, small, r + xp.log1p(xp.exp(-2.0 * r)) - math.log(2.0))


def _log_cosh_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    return xp.tanh(y - d)


def _away_from_zero(xp: Namespace, y: Array) -> Array:
    """Put outputs that rounding has made 0 back at the smallest normal number."""
    return xp.maximum(y, float(xp.finfo(y.dtype).smallest_normal))


def _cross_entropy(xp: Namespace, y: Array, d: Array) -> Array:
    return -d * xp.log(_away_from_zero(xp, y))


def _cross_entropy_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    return -d / _away_from_zero(xp, y)


def _cross_entropy_at(xp: Namespace, x: Array, d: Array) -> Array:
    above = xp.max(x, axis=-1, keepdims=True) - x
    return d * (above + xp.log(xp.sum(xp.exp(-above), axis=-1, keepdims=True)))


def _cross_entropy_dE_dx(xp: Namespace, y: Array, d: Array) -> Array:
    return xp.sum(d, axis=-1, keepdims=True) * y - d


def _binary_cross_entropy(xp: Namespace, y: Array, d: Array) -> Array:
    return _cross_entropy(xp, y, d) + _cross_entropy(xp, 1.0 - y, 1.0 - d)


def _binary_cross_entropy_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    return _cross_entropy_dE_dy(xp, y, d) - _cross_entropy_dE_dy(xp, 1.0 - y, 1.0 - d)


def _binary_cross_entropy_at(xp: Namespace, x: Array, d: Array) -> Array:
    # softplus(x) - d x, arranged so that large terms of opposite signs meet first
    return (xp.maximum(x, 0.0) - d * x) + xp.log1p(xp.exp(-xp.abs(x)))


def _x_log_x(xp: Namespace, d: Array) -> Array:
    return d * xp.log(xp.where(d > 0, d, 1.0))


def _poisson(xp: Namespace, y: Array, d: Array) -> Array:
    return y - d * xp.log(_away_from_zero(xp, y)) + _x_log_x(xp, d) - d


def _poisson_dE_dy(xp: Namespace, y: Array, d: Array) -> Array:
    return 1.0 - d / _away_from_zero(xp, y)


def _poisson_at(xp: Namespace, x: Array, d: Array) -> Array:
    r = x - xp.log(xp.where(d > 0, d, 1.0))
    # near the minimum exp(x) and d nearly cancel; away from it expm1(r) could overflow where d is tiny
    near = d * (xp.expm1(xp.maximum(xp.minimum(r, 1.0), -1.0)) - r)
    return xp.where((d > 0) & (xp.abs(r) < 1.0), near, xp.exp(x) - d - d * r)


def _cross_entropy_groups_at(xp: Namespace, x: Array, d: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _cross_entropy_at, groups, x, d)


def _cross_entropy_groups_dE_dx(xp: Namespace, y: Array, d: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _cross_entropy_dE_dx, groups, y, d)


def _make_cross_entropy(*sizes: float) -> Loss:
    groups = units_of_groups("cross_entropy", sizes)
    return Loss(
        _cross_entropy,
        _cross_entropy_dE_dy,
        output=f"softmax({','.join(map(str, groups))})" if groups else "softmax",
        value_at=partial(_cross_entropy_groups_at, groups=groups),
        dE_dx=partial(_cross_entropy_groups_dE_dx, groups=groups),
        above_zero=True,
        desired=(0.0, math.inf),
    )


def _make_huber(width: float = 1.0) -> Loss:
    return Loss(partial(_huber, width=width), partial(_huber_dE_dy, width=width))


def _dead_zone(xp: Namespace, y: Array, d: Array, *, width: float) -> Array:
    r = xp.abs(y - d)
    return xp.where(r < width, 0.0, 0.5 * (r - width) * (r + width))


def _dead_zone_dE_dy(xp: Namespace, y: Array, d: Array, *, width: float) -> Array:
    return xp.where(xp.abs(y - d) < width, 0.0, y - d)


def _make_dead_zone(width: float = 0.2) -> Loss:
    return Loss(partial(_dead_zone, width=width), partial(_dead_zone_dE_dy, width=width))


LOSSES: dict[str, Loss | Callable[..., Loss]] = {
    "squared": Loss(equations.squared_error, equations.squared_error_dE_dy),
    "cross_entropy": _make_cross_entropy,
    "binary_cross_entropy": Loss(
        _binary_cross_entropy,
        _binary_cross_entropy_dE_dy,
        output="logistic",
        value_at=_binary_cross_entropy_at,
        dE_dx=_difference,
        above_zero=True,
        below_one=True,
        desired=(0.0, 1.0),
    ),
    "poisson": Loss(
        _poisson,
        _poisson_dE_dy,
        output="exp",
        value_at=_poisson_at,
        dE_dx=_difference,
        above_zero=True,
        desired=(0.0, math.inf),
    ),
    "absolute": Loss(_absolute, _absolute_dE_dy),
    "huber": _make_huber,
    "log_cosh": Loss(_log_cosh, _log_cosh_dE_dy),
    "dead_zone": _make_dead_zone,
}


@functools.cache
def loss(name: str) -> Loss:
    r"""Find an error by name.

    Parameters
    ----------
    name : str
        ``squared``, eq. (3); ``cross_entropy``, :math:`-d \log y`, with several numbers over groups of so many units;
        ``binary_cross_entropy``; ``poisson``, half the deviance, 0 where ``y = d``; ``absolute``; ``huber``, squared up
        to a width (1) and straight beyond it; ``log_cosh``; ``dead_zone``, squared beyond a width (0.2) within which
        nothing counts as wrong, so that the derivative is eq. (4) or 0: the paper's family trees.

    Raises
    ------
    DataError
        If there is no such error, or its numbers are none.

    Examples
    --------
    >>> import numpy as np
    >>> loss("squared").value(np, np.asarray([0.5]), np.asarray([1.0]))
    array([0.125])
    """
    found: Loss = look_up("loss", name, LOSSES)
    return found


def output_error(
    xp: Namespace, loss_name: str, unit_name: str, x: Array, y: Array, d: Array, case_weights: Array | None = None
) -> tuple[Array, Array]:
    r"""Sum the error over units and cases, eq. (3), and take its derivative at the total input, eq. (4) and (5).

    Parameters
    ----------
    loss_name, unit_name : str
        The error, and the unit of the output layer.
    x, y, d : (..., b, j) arrays
        Total inputs, outputs and desired outputs of the output layer.
    case_weights : (..., b) array, optional
        How much each case counts; 1 without them.

    Returns
    -------
    E : (...) array
        The error: a sum over the cases, never a mean.
    dE_dx : (..., b, j) array
    """
    error, unit = loss(loss_name), activation(unit_name)
    if error.value_at is not None and error.dE_dx is not None and unit_name == error.output:
        values, dE_dx = error.value_at(xp, x, d), error.dE_dx(xp, y, d)
    else:
        values, dE_dx = error.value(xp, y, d), unit.dE_dx(xp, error.dE_dy(xp, y, d), x, y)
    of_case = xp.sum(values, axis=-1)
    if case_weights is not None:
        of_case = of_case * case_weights
        dE_dx = dE_dx * case_weights[..., None]
    return xp.sum(of_case, axis=-1), dE_dx
