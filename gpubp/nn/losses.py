r"""The errors: how far the outputs are from what was desired, and the derivative beside it.

Each error is a pair of pure functions of the outputs ``y`` and the targets ``targets``, both ``(..., b, j)``:
``value(xp, y, d)``, the error of every unit in every sample, not yet summed, and ``dE_dy(xp, y, d)``.

Each names the output unit that belongs to it. On that unit the errors that take a logarithm have a second pair, of the
total input ``x``, which neither overflows nor loses digits: ``value_at(xp, x, d)`` and ``dE_dx(xp, y, d)``.
:func:`output_loss` uses the second pair wherever the unit allows it.

An error is named by a string; Huber's and the dead zone take a width in brackets, ``"huber(0.5)"``, and cross entropy
the units of each of several softmaxes side by side, ``"cross_entropy(3,4)"``.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gpubp._core.names import ABOVE_0, Parametric, look_up
from gpubp._typing import Array, Namespace
from gpubp.nn import equations
from gpubp.nn.activations import GROUP_SIZES, by_group, get_activation


class Loss(NamedTuple):
    """An error: its value, its derivative, and where both are defined."""

    value: Callable[[Namespace, Array, Array], Array]
    dE_dy: Callable[[Namespace, Array, Array], Array]
    output: str = "identity"  # the unit that belongs to it
    value_at: Callable[[Namespace, Array, Array], Array] | None = None
    dE_dx: Callable[[Namespace, Array, Array], Array] | None = None
    above_zero: bool = False  # defined only for outputs above 0 ...
    below_one: bool = False  # ... and below 1
    target_range: tuple[float, float] = (-math.inf, math.inf)


def _difference(xp: Namespace, y: Array, targets: Array) -> Array:
    return y - targets


def _absolute(xp: Namespace, y: Array, targets: Array) -> Array:
    return xp.abs(y - targets)


def _absolute_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    return xp.sign(y - targets)


def _huber(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    inside = xp.minimum(xp.abs(y - targets), width)
    return inside * (xp.abs(y - targets) - 0.5 * inside)


def _huber_dE_dy(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    return xp.maximum(xp.minimum(y - targets, width), -width)


def _log_cosh(xp: Namespace, y: Array, targets: Array) -> Array:
    r = xp.abs(y - targets)
    # cosh^-2 is 1 - tanh^2, which keeps its digits where r is small, and loses them where it is not
    small = -0.5 * xp.log1p(-(xp.tanh(xp.minimum(r, 1.0)) ** 2))
    return xp.where(r < 1.0, small, r + xp.log1p(xp.exp(-2.0 * r)) - math.log(2.0))


def _log_cosh_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    return xp.tanh(y - targets)


def _away_from_zero(xp: Namespace, y: Array) -> Array:
    """Put outputs that rounding has made 0 back at the smallest normal number."""
    return xp.maximum(y, float(xp.finfo(y.dtype).smallest_normal))


def _cross_entropy(xp: Namespace, y: Array, targets: Array) -> Array:
    return -targets * xp.log(_away_from_zero(xp, y))


def _cross_entropy_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    return -targets / _away_from_zero(xp, y)


def _cross_entropy_at(xp: Namespace, x: Array, targets: Array) -> Array:
    above = xp.max(x, axis=-1, keepdims=True) - x
    return targets * (above + xp.log(xp.sum(xp.exp(-above), axis=-1, keepdims=True)))


def _cross_entropy_dE_dx(xp: Namespace, y: Array, targets: Array) -> Array:
    return xp.sum(targets, axis=-1, keepdims=True) * y - targets


def _binary_cross_entropy(xp: Namespace, y: Array, targets: Array) -> Array:
    return _cross_entropy(xp, y, targets) + _cross_entropy(xp, 1.0 - y, 1.0 - targets)


def _binary_cross_entropy_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    return _cross_entropy_dE_dy(xp, y, targets) - _cross_entropy_dE_dy(xp, 1.0 - y, 1.0 - targets)


def _binary_cross_entropy_at(xp: Namespace, x: Array, targets: Array) -> Array:
    # softplus(x) - d x, arranged so that large terms of opposite signs meet first
    return (xp.maximum(x, 0.0) - targets * x) + xp.log1p(xp.exp(-xp.abs(x)))


def _x_log_x(xp: Namespace, targets: Array) -> Array:
    return targets * xp.log(xp.where(targets > 0, targets, 1.0))


def _poisson(xp: Namespace, y: Array, targets: Array) -> Array:
    return y - targets * xp.log(_away_from_zero(xp, y)) + _x_log_x(xp, targets) - targets


def _poisson_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    return 1.0 - targets / _away_from_zero(xp, y)


def _poisson_at(xp: Namespace, x: Array, targets: Array) -> Array:
    r = x - xp.log(xp.where(targets > 0, targets, 1.0))
    # near the minimum exp(x) and d nearly cancel; away from it expm1(r) could overflow where d is tiny
    near = targets * (xp.expm1(xp.maximum(xp.minimum(r, 1.0), -1.0)) - r)
    return xp.where((targets > 0) & (xp.abs(r) < 1.0), near, xp.exp(x) - targets - targets * r)


def _cross_entropy_groups_at(xp: Namespace, x: Array, targets: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _cross_entropy_at, groups, x, targets)


def _cross_entropy_groups_dE_dx(xp: Namespace, y: Array, targets: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _cross_entropy_dE_dx, groups, y, targets)


def _make_cross_entropy(*sizes: int) -> Loss:
    return Loss(
        _cross_entropy,
        _cross_entropy_dE_dy,
        output=f"softmax({','.join(map(str, sizes))})" if sizes else "softmax",
        value_at=partial(_cross_entropy_groups_at, groups=sizes),
        dE_dx=partial(_cross_entropy_groups_dE_dx, groups=sizes),
        above_zero=True,
        target_range=(0.0, math.inf),
    )


def _make_huber(width: float = 1.0) -> Loss:
    return Loss(partial(_huber, width=width), partial(_huber_dE_dy, width=width))


def _dead_zone(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    r = xp.abs(y - targets)
    return xp.where(r < width, 0.0, 0.5 * (r - width) * (r + width))


def _dead_zone_dE_dy(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    return xp.where(xp.abs(y - targets) < width, 0.0, y - targets)


def _make_dead_zone(width: float = 0.2) -> Loss:
    return Loss(partial(_dead_zone, width=width), partial(_dead_zone_dE_dy, width=width))


LOSSES: dict[str, Loss | Parametric] = {
    "squared": Loss(equations.squared_error, equations.squared_error_dE_dy),
    "cross_entropy": Parametric(_make_cross_entropy, GROUP_SIZES),
    "binary_cross_entropy": Loss(
        _binary_cross_entropy,
        _binary_cross_entropy_dE_dy,
        output="logistic",
        value_at=_binary_cross_entropy_at,
        dE_dx=_difference,
        above_zero=True,
        below_one=True,
        target_range=(0.0, 1.0),
    ),
    "poisson": Loss(
        _poisson,
        _poisson_dE_dy,
        output="exp",
        value_at=_poisson_at,
        dE_dx=_difference,
        above_zero=True,
        target_range=(0.0, math.inf),
    ),
    "absolute": Loss(_absolute, _absolute_dE_dy),
    "huber": Parametric(_make_huber, {"width": ABOVE_0}),
    "log_cosh": Loss(_log_cosh, _log_cosh_dE_dy),
    "dead_zone": Parametric(_make_dead_zone, {"width": ABOVE_0}),
}


@functools.cache
def get_loss(name: str) -> Loss:
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
    >>> get_loss("squared").value(np, np.asarray([0.5]), np.asarray([1.0]))
    array([0.125])
    """
    found: Loss = look_up("loss", name, LOSSES)
    return found


def output_loss(
    xp: Namespace,
    loss_name: str,
    unit_name: str,
    x: Array,
    y: Array,
    targets: Array,
    sample_weight: Array | None = None,
) -> tuple[Array, Array]:
    r"""Sum the error over units and samples, eq. (3), and take its derivative at the total input, eq. (4) and (5).

    Parameters
    ----------
    loss_name, unit_name : str
        The error, and the unit of the output layer.
    x, y, d : (..., b, j) arrays
        Total inputs, outputs and targets of the output layer.
    sample_weight : (..., b) array, optional
        How much each sample counts; 1 without them.

    Returns
    -------
    E : (...) array
        The error: a sum over the samples, never a mean.
    dE_dx : (..., b, j) array
    """
    error, unit = get_loss(loss_name), get_activation(unit_name)
    if error.value_at is not None and error.dE_dx is not None and unit_name == error.output:
        values, dE_dx = error.value_at(xp, x, targets), error.dE_dx(xp, y, targets)
    else:
        values, dE_dx = error.value(xp, y, targets), unit.dE_dx(xp, error.dE_dy(xp, y, targets), x, y)
    of_sample = xp.sum(values, axis=-1)
    if sample_weight is not None:
        of_sample = of_sample * sample_weight
        dE_dx = dE_dx * sample_weight[..., None]
    return xp.sum(of_sample, axis=-1), dE_dx
