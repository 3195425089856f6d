r"""Loss functions and their derivatives.

Each loss is a pair of pure functions of an array namespace ``xp``, outputs ``y`` and ``targets``, both of shape
``(..., b, j)``: ``...`` networks, ``b`` samples, ``j`` outputs.

- ``value(xp, y, targets)`` computes the loss of every output of every sample, not yet summed.
- ``dE_dy(xp, y, targets)`` computes its derivative with respect to ``y``.

Each loss names the output activation that belongs to it. With that activation, losses that take a logarithm compute
both from the total inputs ``x``, without overflow and without losing digits: ``at_total_inputs(xp, x, targets, y)``
returns the values and their derivatives with respect to ``x``; ``y`` may be None. :func:`output_loss` uses it where it
can.

:func:`get_loss` finds a loss by its name. Some take a parameter in brackets: ``"huber(0.5)"``,
``"dead_zone(width=0.1)"``. ``"cross_entropy(3,4)"`` is for one softmax over three outputs and another over four.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gpubp._core.names import ABOVE_0, Parametric, Range, look_up
from gpubp._typing import Array, Namespace
from gpubp.nn import equations
from gpubp.nn.activations import GROUP_SIZES, balanced, by_group, get_activation


class Loss(NamedTuple):
    """A loss function, its derivative, and where both are defined.

    Attributes
    ----------
    value, dE_dy, at_total_inputs : callable
        See :mod:`gpubp.nn.losses`.
    output : str
        The output activation that belongs to the loss.
    above_zero, below_one : bool
        Whether the loss is defined only for outputs above 0, and only below 1.
    target_range : (float, float)
        The smallest and the largest valid target.
    """

    value: Callable[[Namespace, Array, Array], Array]
    dE_dy: Callable[[Namespace, Array, Array], Array]
    output: str = "identity"
    at_total_inputs: Callable[..., tuple[Array, Array]] | None = None
    above_zero: bool = False
    below_one: bool = False
    target_range: tuple[float, float] = (-math.inf, math.inf)


def _absolute(xp: Namespace, y: Array, targets: Array) -> Array:
    r"""Absolute error: :math:`|y - d|`."""
    return xp.abs(y - targets)


def _absolute_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    r""":math:`\mathrm{sign}(y - d)`."""
    return xp.sign(y - targets)


def _huber(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    r"""Huber (1964): :math:`\frac12 r^2` where :math:`|r| \le w`, else :math:`w(|r| - \frac w2)`; :math:`r = y - d`."""
    inside = xp.minimum(xp.abs(y - targets), width)
    return inside * (xp.abs(y - targets) - 0.5 * inside)


def _huber_dE_dy(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    r""":math:`r` limited to :math:`\pm w`."""
    return xp.maximum(xp.minimum(y - targets, width), -width)


def _log_cosh(xp: Namespace, y: Array, targets: Array) -> Array:
    r"""Logarithm of the hyperbolic cosine: :math:`\log \cosh(y - d)`."""
    r = xp.abs(y - targets)
    # cosh^-2 is 1 - tanh^2, which keeps its digits where r is small, and loses them where it is not
    small = -0.5 * xp.log1p(-(xp.tanh(xp.minimum(r, 1.0)) ** 2))
    return xp.where(r < 1.0, small, r + xp.log1p(xp.exp(-2.0 * r)) - math.log(2.0))


def _log_cosh_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    r""":math:`\tanh(y - d)`."""
    return xp.tanh(y - targets)


def _away_from_zero(xp: Namespace, y: Array) -> Array:
    """Replace outputs that rounding made 0 by the smallest normal number."""
    return xp.maximum(y, float(xp.finfo(y.dtype).smallest_normal))


def _cross_entropy(xp: Namespace, y: Array, targets: Array) -> Array:
    r"""Cross entropy: :math:`-d \log y`."""
    return -targets * xp.log(_away_from_zero(xp, y))


def _cross_entropy_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    r""":math:`-d / y`."""
    return -targets / _away_from_zero(xp, y)


def _cross_entropy_at(xp: Namespace, x: Array, targets: Array, y: Array | None = None) -> tuple[Array, Array]:
    r"""Cross entropy of a softmax: :math:`d_j (\log \sum_k e^{x_k} - x_j)`, and :math:`y_j \sum_k d_k - d_j`."""
    x = x - xp.max(x, axis=-1, keepdims=True)
    e = xp.exp(x)
    y = e / xp.sum(e, axis=-1, keepdims=True) if y is None else y
    is_most = y > 0.6  # of one output at most; of two that are means, each a half, both may be rounded up
    others = xp.sum(xp.where(is_most, 0.0, e), axis=-1, keepdims=True)  # below 0.7, or if no output is most above 1.6
    values = targets * (xp.log1p(xp.where(others < 1.5, others, others - 1.0)) - x)
    return values, balanced(xp, is_most, xp.sum(targets, axis=-1, keepdims=True) * y - targets)


def _binary_cross_entropy(xp: Namespace, y: Array, targets: Array) -> Array:
    r"""Binary cross entropy: :math:`-d \log y - (1 - d) \log(1 - y)`."""
    log_rest = xp.where(y > 0.5, xp.log(_away_from_zero(xp, 1.0 - y)), xp.log1p(-xp.minimum(y, 0.5)))
    return _cross_entropy(xp, y, targets) - (1.0 - targets) * log_rest


def _binary_cross_entropy_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    r""":math:`-d / y + (1 - d) / (1 - y)`."""
    return _cross_entropy_dE_dy(xp, y, targets) - _cross_entropy_dE_dy(xp, 1.0 - y, 1.0 - targets)


def _binary_cross_entropy_at(xp: Namespace, x: Array, targets: Array, y: Array | None = None) -> tuple[Array, Array]:
    r"""Binary cross entropy of a logistic function: :math:`\log(1 + e^x) - d x`, and :math:`y - d`."""
    # ordered so that large terms of opposite signs are added first
    values = (xp.maximum(x, 0.0) - targets * x) + xp.log1p(xp.exp(-xp.abs(x)))
    return values, (equations.logistic(xp, x) if y is None else y) - targets


def _log_ratio(xp: Namespace, a: Array, b: Array) -> Array:
    r""":math:`\log(a / b)` of numbers above 0; where they are nearly equal, with the digits of :math:`a - b`."""
    gap, smaller = xp.abs(a - b), xp.minimum(a, b)
    is_far = gap * float(xp.finfo(a.dtype).smallest_normal) > smaller  # the fraction could overflow
    near = xp.sign(a - b) * xp.log1p(xp.where(is_far, 0.0, gap) / smaller)
    return xp.where(is_far, xp.log(a) - xp.log(b), near)


def _poisson(xp: Namespace, y: Array, targets: Array) -> Array:
    r"""Half the Poisson deviance: :math:`y - d - d \log(y / d)`."""
    y = _away_from_zero(xp, y)
    return (y - targets) - targets * _log_ratio(xp, y, xp.where(targets > 0, targets, 1.0))


def _poisson_dE_dy(xp: Namespace, y: Array, targets: Array) -> Array:
    r""":math:`1 - d / y`."""
    return 1.0 - targets / _away_from_zero(xp, y)


def _poisson_at(xp: Namespace, x: Array, targets: Array, y: Array | None = None) -> tuple[Array, Array]:
    r"""Half the Poisson deviance of :math:`y = e^x`: :math:`e^x - d - d (x - \log d)`, and :math:`y - d`."""
    y = xp.exp(x) if y is None else y
    r = x - xp.log(xp.where(targets > 0, targets, 1.0))
    # near the minimum exp(x) and d nearly cancel; away from it expm1(r) could overflow where d is tiny
    near = targets * (xp.expm1(xp.maximum(xp.minimum(r, 1.0), -1.0)) - r)
    dE_dx = y - targets
    return xp.where((targets > 0) & (xp.abs(r) < 1.0), near, dE_dx - targets * r), dE_dx


def _cross_entropy_groups_at(
    xp: Namespace, x: Array, targets: Array, y: Array | None = None, *, groups: tuple[int, ...]
) -> tuple[Array, Array]:
    values, dE_dx = by_group(xp, _cross_entropy_at, groups, *((x, targets) if y is None else (x, targets, y)))
    return values, dE_dx


def _make_cross_entropy(*sizes: int) -> Loss:
    return Loss(
        _cross_entropy,
        _cross_entropy_dE_dy,
        output=f"softmax({','.join(map(str, sizes))})" if sizes else "softmax",
        at_total_inputs=partial(_cross_entropy_groups_at, groups=sizes),
        above_zero=True,
        target_range=(0.0, math.inf),
    )


def _make_huber(width: float = 1.0) -> Loss:
    return Loss(partial(_huber, width=width), partial(_huber_dE_dy, width=width))


def _dead_zone(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    r"""Zero where :math:`|r| < w`, else :math:`\frac12 (r^2 - w^2)`; :math:`r = y - d`."""
    r = xp.abs(y - targets)
    return xp.where(r < width, 0.0, 0.5 * (r - width) * (r + width))


def _dead_zone_dE_dy(xp: Namespace, y: Array, targets: Array, *, width: float) -> Array:
    r"""Eq. (4) of the paper outside the dead zone: :math:`r` where :math:`|r| \ge w`, else 0."""
    return xp.where(xp.abs(y - targets) < width, 0.0, y - targets)


def _make_dead_zone(width: float = 0.2) -> Loss:
    return Loss(partial(_dead_zone, width=width), partial(_dead_zone_dE_dy, width=width))


def _quantile(xp: Namespace, y: Array, targets: Array, *, q: float) -> Array:
    r"""Koenker & Bassett (1978): :math:`(1 - q) r` where :math:`r > 0`, else :math:`-q r`; :math:`r = y - d`."""
    return xp.maximum((1.0 - q) * (y - targets), -q * (y - targets))


def _quantile_dE_dy(xp: Namespace, y: Array, targets: Array, *, q: float) -> Array:
    r""":math:`1 - q` where :math:`r > 0`, :math:`-q` where :math:`r < 0`, and 0 where :math:`r = 0`, the minimum."""
    sign = xp.sign(y - targets)
    return (1.0 - q) * xp.maximum(sign, 0.0) + q * xp.minimum(sign, 0.0)


def _make_quantile(q: float = 0.5) -> Loss:
    return Loss(partial(_quantile, q=q), partial(_quantile_dE_dy, q=q))


LOSSES: dict[str, Loss | Parametric] = {
    "squared": Loss(equations.squared_error, equations.squared_error_dE_dy),
    "cross_entropy": Parametric(_make_cross_entropy, GROUP_SIZES),
    "binary_cross_entropy": Loss(
        _binary_cross_entropy,
        _binary_cross_entropy_dE_dy,
        output="logistic",
        at_total_inputs=_binary_cross_entropy_at,
        above_zero=True,
        below_one=True,
        target_range=(0.0, 1.0),
    ),
    "poisson": Loss(
        _poisson,
        _poisson_dE_dy,
        output="exp",
        at_total_inputs=_poisson_at,
        above_zero=True,
        target_range=(0.0, math.inf),
    ),
    "absolute": Loss(_absolute, _absolute_dE_dy),
    "huber": Parametric(_make_huber, {"width": ABOVE_0}),
    "log_cosh": Loss(_log_cosh, _log_cosh_dE_dy),
    "dead_zone": Parametric(_make_dead_zone, {"width": ABOVE_0}),
    "quantile": Parametric(_make_quantile, {"q": Range(0, 1, includes_low=False, includes_high=False)}),
}


@functools.cache
def get_loss(name: str) -> Loss:
    r"""Return a loss by its name.

    Parameters
    ----------
    name : str
        One of the names below; :math:`r = y - d` is output minus target. Parameters follow in brackets, by position
        or by name.

        - ``"squared"``: :math:`\frac12 r^2`, eq. (3) of the paper
        - ``"cross_entropy"``: :math:`-d \log y`; with several ``sizes``, over groups of these sizes
        - ``"binary_cross_entropy"``: :math:`-d \log y - (1 - d) \log(1 - y)`
        - ``"poisson"``: half the deviance, 0 where :math:`y = d`
        - ``"absolute"``: :math:`|r|`
        - ``"huber"``: squared up to ``width`` (1), linear beyond it
        - ``"log_cosh"``: :math:`\log \cosh r`
        - ``"dead_zone"``: squared beyond ``width`` (0.2), 0 within it; the paper trained its family trees with this
        - ``"quantile"``: :math:`(1 - q) r` where :math:`r > 0`, else :math:`-q r`, with ``q`` (0.5) between 0 and 1;
          least where :math:`y` is that quantile of the targets

    Returns
    -------
    Loss

    Raises
    ------
    DataError
        If the name is unknown, or a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> get_loss("squared").value(np, np.asarray([0.5]), np.asarray([1.0]))
    array([0.125])
    >>> get_loss("huber(width=0.5)").value(np, np.asarray([2.0]), np.asarray([0.0]))
    array([0.875])
    """
    loss: Loss = look_up("loss", name, LOSSES)
    return loss


def loss_of_errors(xp: Namespace, name: str, errors: Array) -> Array:
    """Return the loss of outputs that differ from their targets by `errors`; these, if it depends on more than them."""
    loss = get_loss(name)
    return errors if loss.above_zero else loss.value(xp, errors, xp.zeros_like(errors))


def output_loss(
    xp: Namespace,
    loss_name: str,
    activation_name: str,
    x: Array,
    y: Array | None,
    targets: Array,
    sample_weight: Array | None = None,
) -> tuple[Array, Array]:
    r"""Sum the loss over outputs and samples, eq. (3), and take its derivative at the total inputs, eq. (4) and (5).

    Parameters
    ----------
    loss_name, activation_name : str
        The loss, and the activation of the output layer, by their canonical names.
    x, y, targets : (..., b, j) arrays
        Total inputs, outputs and targets of the output layer; outputs that are None are computed if they are needed.
    sample_weight : (..., b) array, optional
        The weight of each sample; 1 by default.

    Returns
    -------
    E : (...) array
        The loss: a sum over the samples, not a mean.
    dE_dx : (..., b, j) array
    """
    loss, activation = get_loss(loss_name), get_activation(activation_name)
    if loss.at_total_inputs is not None and activation_name == loss.output:
        values, dE_dx = loss.at_total_inputs(xp, x, targets, y)
    else:
        y = activation.value(xp, x) if y is None else y
        values, dE_dx = loss.value(xp, y, targets), activation.dE_dx(xp, loss.dE_dy(xp, y, targets), x, y)
    if sample_weight is None:
        return xp.sum(values, axis=(-2, -1)), dE_dx
    return xp.sum(xp.sum(values, axis=-1) * sample_weight, axis=-1), dE_dx * sample_weight[..., None]


def smoothed_labels(targets: Array, label_smoothing: float, n_classes: Array | int) -> Array:
    """Spread a part of each one-hot target evenly over the classes (Szegedy et al. 2016).

    Parameters
    ----------
    targets : (..., j) array
        Zeros and ones; returned unchanged if there is no smoothing.
    label_smoothing : float
        The part, from 0 to below 1.
    n_classes : int or (j,) array
        The number of classes, or for each output the number of classes of its group.

    Examples
    --------
    >>> import numpy as np
    >>> smoothed_labels(np.asarray([[0.0, 1.0]]), 0.1, 2)
    array([[0.05, 0.95]])
    """
    if not label_smoothing:
        return targets
    return (1.0 - label_smoothing) * targets + label_smoothing / n_classes
