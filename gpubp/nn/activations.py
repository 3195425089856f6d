r"""Activation functions and their derivatives.

Each activation is a pair of pure functions of an array namespace ``xp`` and arrays of shape ``(..., b, j)``: ``...``
networks, ``b`` samples, ``j`` units of the layer.

- ``value(xp, x) -> y`` computes the outputs ``y`` from the total inputs ``x``.
- ``dE_dx(xp, dE_dy, x, y)`` applies the chain rule, eq. (5) of the paper: it multiplies by :math:`dy/dx`. For softmax,
  whose outputs depend on all total inputs of the layer, it multiplies by the Jacobian.

:func:`get_activation` finds an activation by its name. Some take a parameter in brackets: ``"leaky_relu(0.2)"``,
``"elu(alpha=0.5)"``. ``"softmax(3,4)"`` is a softmax over the first three units of the layer and another over the next
four. ``"parametric(selu)"`` has a weight of its own for each unit, which is learned.
"""

import functools
import math
import re
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from gpubp._core.names import ABOVE_0, Parametric, Range, canonical_name, look_up, parse_name
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.nn import equations


class Activation(NamedTuple):
    """An activation function, its derivative, and the range of its outputs.

    Attributes
    ----------
    value, dE_dx : callable
        See :mod:`gpubp.nn.activations`.
    above_zero, below_one : bool
        Whether all outputs are above 0, and whether all are below 1.
    groups : tuple of int
        The sizes of the groups of units if a layer has several softmaxes; else empty.
    is_parametric : bool
        Whether each unit has a weight that mixes the output with the total input; see :func:`parametric`.
    """

    value: Callable[[Namespace, Array], Array]
    dE_dx: Callable[[Namespace, Array, Array, Array], Array]
    above_zero: bool = False
    below_one: bool = False
    groups: tuple[int, ...] = ()
    is_parametric: bool = False


def _logistic_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return equations.logistic_dE_dx(xp, dE_dy, y)


def _tanh(xp: Namespace, x: Array) -> Array:
    r"""Hyperbolic tangent: :math:`y = \tanh x`."""
    return xp.tanh(x)


def _tanh_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = 1 - y^2`; where it is small, with an absolute error of about an epsilon."""
    return dE_dy * (1.0 - y * y)


def _identity(xp: Namespace, x: Array) -> Array:
    r""":math:`y = x`."""
    return x


def _identity_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return dE_dy


def _relu(xp: Namespace, x: Array) -> Array:
    r"""Rectified linear unit (Nair & Hinton 2010): :math:`y = \max(x, 0)`."""
    return xp.maximum(x, 0.0)


def _relu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx` is 1 above 0, else 0; outputs are above 0 where total inputs are."""
    return xp.where(y > 0, dE_dy, 0.0)


def _leaky_relu(xp: Namespace, x: Array, *, slope: float) -> Array:
    r"""Leaky ReLU (Maas, Hannun & Ng 2013): :math:`y = x` above 0, else :math:`\mathrm{slope} \cdot x`."""
    return xp.where(x > 0, x, slope * x)


def _leaky_relu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array, *, slope: float) -> Array:
    return xp.where(y > 0, dE_dy, slope * dE_dy)


def _elu(xp: Namespace, x: Array, *, alpha: float) -> Array:
    r"""Exponential linear unit (Clevert et al. 2016): :math:`y = x` above 0, else :math:`\alpha (e^x - 1)`."""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))


def _elu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array, *, alpha: float) -> Array:
    r""":math:`dy/dx` is 1 above 0, else :math:`\alpha e^x = y + \alpha`, with an absolute error of about an epsilon."""
    return xp.where(y > 0, dE_dy, dE_dy * (y + alpha))


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _selu(xp: Namespace, x: Array) -> Array:
    r"""SELU (Klambauer et al. 2017): 1.0507 times :math:`x` above 0, and :math:`1.6733\, (e^x - 1)` below."""
    return xp.where(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * xp.expm1(xp.minimum(x, 0.0)))


def _selu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx` is 1.0507 above 0, else :math:`1.0507 \cdot 1.6733\, e^x`."""
    slope = xp.where(x > 0, SELU_SCALE, SELU_SCALE * SELU_ALPHA * xp.exp(xp.minimum(x, 0.0)))
    return dE_dy * slope


def _cosine(xp: Namespace, x: Array) -> Array:
    r""":math:`y = \cos x`, for periodic embeddings of numbers (Gorishniy et al. 2022)."""
    return xp.cos(x)


def _cosine_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = -\sin x`."""
    return -dE_dy * xp.sin(x)


def softplus(xp: Namespace, x: Array) -> Array:
    r"""Softplus (Dugas et al. 2001): :math:`y = \log(1 + e^x)`, computed so that nothing overflows."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _softplus_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = 1 / (1 + e^{-x})`."""
    return dE_dy * equations.logistic(xp, x)


def _gate(xp: Namespace, x: Array, e: Array) -> Array:
    """Return the logistic function of a number whose sign is that of x, from its exponential e, with one rounding less.

    :func:`gpubp.nn.equations.logistic` takes fewer registers on a GPU.
    """
    return xp.where(x < 0, e, 1.0) / (1.0 + e)


def _silu(xp: Namespace, x: Array) -> Array:
    r"""SiLU, or swish (Elfwing et al. 2018): :math:`y = x \sigma(x)` with the logistic function :math:`\sigma`."""
    return x * _gate(xp, x, xp.exp(-xp.abs(x)))


def _silu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = \sigma(x) + x\, \sigma(x)\, \sigma(-x)`: below 0 a number :math:`h`, above 0 :math:`1 - h`.

    With :math:`s = \sigma(-|x|)`, :math:`h = s (1 - |x| + |x| s)`. Near its zero only :math:`1 - |x|` cancels.
    """
    z = xp.abs(x)
    e = xp.exp(-z)
    s = e / (1.0 + e)
    h = s * ((1.0 - z) + z * s)
    return dE_dy * xp.where(x < 0, h, 1.0 - h)


_GELU_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
_GELU_FLAT = 30.0  # beyond this the gate is 0 or 1 in both precisions, and x**3 could overflow
_GELU_HIGH = round(_GELU_LINEAR * 2048.0) / 2048.0  # of 12 bits
_GELU_LOW = _GELU_LINEAR - _GELU_HIGH
_GRID = 256.0


def _gelu_gate_in_parts(xp: Namespace, z: Array) -> tuple[Array, Array, Array]:
    """Return the gate of numbers above 0, what its rounding lost, and its cubic term."""
    top = xp.round(z * _GRID) / _GRID  # so few bits that its product with those of the constant is exact
    high = top * _GELU_HIGH
    cubic = xp.abs(_GELU_CUBIC * (z * z) * z)  # with abs no fused multiply-add makes another v where XLA repeats it
    low = (z - top) * _GELU_LINEAR + top * _GELU_LOW + cubic
    v = high + low
    return v, (high - v) + low, cubic


def _gelu(xp: Namespace, x: Array) -> Array:
    r"""GELU in its tanh form (Hendrycks & Gimpel 2016).

    :math:`y = x \sigma(v)` with :math:`v = 2 \sqrt{2 / \pi}\, (x + 0.044715\, x^3)` and the logistic function
    :math:`\sigma`.
    """
    v, lost, _ = _gelu_gate_in_parts(xp, xp.minimum(xp.abs(x), _GELU_FLAT))
    e = xp.exp(-v)
    e = e - e * lost
    return xp.maximum(x, -_GELU_FLAT) * _gate(xp, x, e)


def _gelu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = \sigma(v) (1 + x \sigma(-v) \, dv/dx)`: below 0 a number :math:`h`, above 0 :math:`1 - h`.

    With :math:`a = |x|\, dv/dx` and :math:`s = \sigma(-|v|)`, :math:`h = s (1 - a + a s)`. What rounding loses of
    :math:`v`, and of the denominator of :math:`s`, is carried along (Dekker 1971): near the minimum of the derivative
    it would be several units in its last place.
    """
    v, lost, cubic = _gelu_gate_in_parts(xp, xp.minimum(xp.abs(x), _GELU_FLAT))
    e = xp.exp(-v)
    denominator = 1.0 + e
    lost_of_s = lost + ((1.0 - denominator) + e)  # XLA would make e of denominator - 1.0, and 0 of what is lost
    s = e / denominator
    a_s = (v + 2.0 * cubic) * s
    rest = a_s - 2.0 * cubic
    slope = ((1.0 - v) + rest) + a_s  # of h by s
    h = s * ((1.0 - v) + (rest - (1.0 - s) * (lost + lost_of_s * slope)))
    return dE_dy * xp.where(x < 0, h, 1.0 - h)


_MISH_FLAT = 22.0  # beyond this the derivative is 1 in both precisions, and (e^x)^4 could overflow


def _mish(xp: Namespace, x: Array) -> Array:
    r"""Mish (Misra 2019): :math:`y = x \tanh(\log(1 + e^x))`."""
    # tanh(log(1 + u)) is ((1 + u)^2 - 1) / ((1 + u)^2 + 1); with u = e^x, and divided by u^2 above 0, nothing overflows
    e = xp.exp(-xp.abs(x))
    square = e * e
    numerator = xp.where(x < 0, square, 1.0) + 2.0 * e
    return x * (numerator / (numerator + xp.where(x < 0, 2.0, 2.0 * square)))


def _mish_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = t + x t'` with :math:`t = \tanh(\log(1 + e^x)) = m / (1 + m)`, :math:`m = e^x + e^{2x} / 2`.

    Written as :math:`e^x (1 + x + \ldots)` below -0.4, and as :math:`0.6 + \ldots` above, its value at 0, so that
    what has more than one rounding error is small beside the rest.
    """
    x = xp.minimum(x, _MISH_FLAT)
    e = xp.exp(x)
    m, m_slope = e * (1.0 + 0.5 * e), e * (1.0 + e)
    below = e * ((1.0 + x) - (x * ((m_slope + m * m) / (1.0 + m)) + 0.5 * m_slope) / (1.0 + m))
    above = 0.6 + (0.2 * (e - 1.0) * (e + 3.0) + x * (m_slope / (1.0 + m))) / (1.0 + m)
    return dE_dy * xp.where(x < -0.4, below, above)


def _exp(xp: Namespace, x: Array) -> Array:
    r""":math:`y = e^x`."""
    return xp.exp(x)


def _exp_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`dy/dx = y`."""
    return dE_dy * y


def _softmax(xp: Namespace, x: Array) -> Array:
    r"""Softmax: :math:`y_j = e^{x_j} / \sum_k e^{x_k}`, with the largest :math:`x_k` subtracted against overflow."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _softmax_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    r""":math:`\partial E / \partial x_j = y_j (\partial E / \partial y_j - \sum_k y_k\, \partial E / \partial y_k)`."""
    return balanced(xp, y > 0.5, y * (dE_dy - xp.sum(dE_dy * y, axis=-1, keepdims=True)))


def balanced(xp: Namespace, is_most: Array, dE_dx: Array) -> Array:
    """Keep the digits of derivatives at the total inputs of a softmax, which add up to 0, where an output is nearly 1.

    Its derivative is minus the sum of the others; ``is_most`` is where one output is above a half.
    """
    others = xp.sum(xp.where(is_most, 0.0, dE_dx), axis=-1, keepdims=True)
    return xp.where(is_most, -others, dE_dx)


def by_group(xp: Namespace, f: Callable[..., Any], groups: tuple[int, ...], *arrays: Array) -> Any:
    """Apply ``f`` to each group of units along the last axis of ``(..., b, j)`` arrays; join the results of each."""
    if not groups:
        return f(xp, *arrays)
    stops = list(accumulate(groups))
    cuts = zip([0, *stops], stops, strict=False)
    results = [f(xp, *(array[..., start:stop] for array in arrays)) for start, stop in cuts]
    if isinstance(results[0], tuple):
        return tuple(xp.concat(parts, axis=-1) for parts in zip(*results, strict=True))
    return xp.concat(results, axis=-1)


def _softmax_groups(xp: Namespace, x: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _softmax, groups, x)


def _softmax_groups_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array, *, groups: tuple[int, ...]) -> Array:
    return by_group(xp, _softmax_dE_dx, groups, dE_dy, x, y)


def _make_softmax(*sizes: int) -> Activation:
    return Activation(
        partial(_softmax_groups, groups=sizes),
        partial(_softmax_groups_dE_dx, groups=sizes),
        above_zero=True,
        below_one=True,
        groups=sizes,
    )


def parametric(xp: Namespace, x: Array, f_x: Array, a: Array) -> Array:
    r"""Parametric activation (Holzmüller et al. 2024): :math:`y = (1 - a)\, x + a f(x)`, a learned for each unit.

    Parameters
    ----------
    x, f_x : (..., b, j) arrays
    a : (..., 1, j) array
    """
    return x + a * (f_x - x)


def parametric_dE_dx(xp: Namespace, f: Activation, dE_dy: Array, x: Array, a: Array) -> Array:
    r""":math:`dy/dx = 1 - a + a f'(x)`."""
    return (1.0 - a) * dE_dy + f.dE_dx(xp, a * dE_dy, x, f.value(xp, x))


def parametric_dE_da(xp: Namespace, f: Activation, dE_dy: Array, x: Array) -> Array:
    r""":math:`\partial E / \partial a = \partial E / \partial y\, (f(x) - x)`, not yet summed: (..., b, j)."""
    return dE_dy * (f.value(xp, x) - x)


def _make_leaky_relu(slope: float = 0.01) -> Activation:
    return Activation(partial(_leaky_relu, slope=slope), partial(_leaky_relu_dE_dx, slope=slope))


def _make_elu(alpha: float = 1.0) -> Activation:
    return Activation(partial(_elu, alpha=alpha), partial(_elu_dE_dx, alpha=alpha))


GROUP_SIZES = {"sizes": Range(1, integer=True)}

ACTIVATIONS: dict[str, Activation | Parametric] = {
    "identity": Activation(_identity, _identity_dE_dx),
    "logistic": Activation(equations.logistic, _logistic_dE_dx, above_zero=True, below_one=True),
    "tanh": Activation(_tanh, _tanh_dE_dx, below_one=True),
    "relu": Activation(_relu, _relu_dE_dx),
    "leaky_relu": Parametric(_make_leaky_relu, {"slope": ABOVE_0}),
    "elu": Parametric(_make_elu, {"alpha": ABOVE_0}),
    "selu": Activation(_selu, _selu_dE_dx),
    "softplus": Activation(softplus, _softplus_dE_dx, above_zero=True),
    "silu": Activation(_silu, _silu_dE_dx),
    "gelu": Activation(_gelu, _gelu_dE_dx),
    "mish": Activation(_mish, _mish_dE_dx),
    "cosine": Activation(_cosine, _cosine_dE_dx),
    "exp": Activation(_exp, _exp_dE_dx, above_zero=True),
    "softmax": Parametric(_make_softmax, GROUP_SIZES),
}

ACTIVATION_NAMES = (*ACTIVATIONS, "parametric(NAME)")
"""The activations as messages list them."""


@functools.cache
def get_activation(name: str) -> Activation:
    """Return an activation by its name.

    Parameters
    ----------
    name : str
        One of the names below. Parameters follow in brackets, by position or by name.

        - ``"identity"``, ``"logistic"`` (eq. 2 of the paper), ``"tanh"``, ``"relu"``, ``"selu"``, ``"softplus"``,
          ``"silu"``, ``"gelu"`` (in its tanh form), ``"mish"``, ``"cosine"``, ``"exp"``
        - ``"leaky_relu"``, with the ``slope`` below 0, above 0 (0.01)
        - ``"elu"``, with ``alpha``, above 0 (1)
        - ``"softmax"``, over all units of the layer; with several ``sizes``, over groups of these sizes
        - ``"parametric(NAME)"``, of an activation above that is none of the softmaxes: ``(1 - a) x + a f(x)``,
          with an ``a`` for each unit that is learned, begins at 1, and is not decayed (Holzmüller et al. 2024).

    Returns
    -------
    Activation

    Raises
    ------
    DataError
        If the name is unknown, or a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> get_activation("leaky_relu(slope=0.5)").value(np, np.asarray([-2.0, 3.0]))
    array([-1.,  3.])
    """
    base = base_name(name)
    is_nameless = isinstance(base, str) and base.partition("(")[0].strip() == "parametric"  # or one of another
    activation: Activation | None = None if is_nameless else look_up("activation", base, ACTIVATIONS, ACTIVATION_NAMES)
    if activation is not None and base == name:
        return activation
    if activation is None or parse_name("activation", base, ACTIVATIONS)[0] == "softmax":
        raise DataError(
            f"a parametric activation is of one that each unit applies to its own total input, such as "
            f"'parametric(selu)'; got {name!r}"
        )
    return activation._replace(above_zero=False, below_one=False, is_parametric=True)


_PARAMETRIC = re.compile(r"\s*parametric\s*\((.*)\)\s*", re.DOTALL)


def base_name(name: str) -> str:
    """Return the name of the activation inside a parametric one; that of any other unchanged.

    Examples
    --------
    >>> base_name("parametric(elu(0.5))"), base_name("relu")
    ('elu(0.5)', 'relu')
    """
    match = _PARAMETRIC.fullmatch(name) if isinstance(name, str) else None
    return name if match is None else match[1]


def activation_name(name: str) -> str:
    """Return the name by which networks are compared and stored; see :func:`gpubp._core.names.canonical_name`."""
    get_activation(name)
    base = base_name(name)
    canonical = canonical_name("activation", base, ACTIVATIONS)
    return canonical if base == name else f"parametric({canonical})"
