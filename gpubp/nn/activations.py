r"""The units: how the output follows from the total input, and the derivative beside it.

Each unit is a pair of pure functions, ``value(xp, x) -> y`` and ``dE_dx(xp, dE_dy, x, y)``, the chain optimizer of eq.
(5): it multiplies by :math:`dy/dx`, or for softmax, whose outputs depend on every total input of the layer, by the
whole Jacobian. ``x`` and ``y`` are ``(..., b, j)``.

A unit is named by a string; those with a parameter take it in brackets: ``"leaky_relu(0.2)"``, ``"elu(0.5)"``, and
``"softmax(3,4)"`` is a softmax over the first three units of the layer beside one over the next four.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from gpubp._core.names import ABOVE_0, Parametric, Range, look_up
from gpubp._typing import Array, Namespace
from gpubp.nn import equations


class Activation(NamedTuple):
    """A unit: its value, its derivative, whether its outputs are always above 0 and always below 1; its groups."""

    value: Callable[[Namespace, Array], Array]
    dE_dx: Callable[[Namespace, Array, Array, Array], Array]
    above_zero: bool = False
    below_one: bool = False
    groups: tuple[int, ...] = ()  # how many units each softmax has, where a layer has several


def _logistic_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return equations.logistic_dE_dx(xp, dE_dy, y)


def _tanh(xp: Namespace, x: Array) -> Array:
    return xp.tanh(x)


def _tanh_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return dE_dy * (1.0 - y * y)


def _identity(xp: Namespace, x: Array) -> Array:
    return x


def _identity_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return dE_dy


def _relu(xp: Namespace, x: Array) -> Array:
    return xp.maximum(x, 0.0)


def _relu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return xp.where(x > 0, dE_dy, 0.0)


def _leaky_relu(xp: Namespace, x: Array, *, slope: float) -> Array:
    return xp.where(x > 0, x, slope * x)


def _leaky_relu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array, *, slope: float) -> Array:
    return xp.where(x > 0, dE_dy, slope * dE_dy)


def _elu(xp: Namespace, x: Array, *, alpha: float) -> Array:
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))


def _elu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array, *, alpha: float) -> Array:
    return xp.where(x > 0, dE_dy, dE_dy * (y + alpha))


def softplus(xp: Namespace, x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _softplus_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return dE_dy * equations.logistic(xp, x)


def _silu(xp: Namespace, x: Array) -> Array:
    return x * equations.logistic(xp, x)


def _silu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    s = equations.logistic(xp, x)
    return dE_dy * (s + y * (1.0 - s))


_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715
_GELU_FLAT = 10.0  # beyond this the gate is 0 or 1 to the last digit, and the cube of x could overflow


def _gelu_gate(xp: Namespace, x: Array) -> tuple[Array, Array]:
    # (1 + tanh(v)) / 2 is logistic(2 v), which loses no digits below zero
    x = xp.maximum(xp.minimum(x, _GELU_FLAT), -_GELU_FLAT)
    return x, 2.0 * _GELU_SCALE * (x + _GELU_CUBIC * x**3)


def _gelu(xp: Namespace, x: Array) -> Array:
    return x * equations.logistic(xp, _gelu_gate(xp, x)[1])


def _gelu_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    bounded, gate = _gelu_gate(xp, x)
    s, dgate_dx = equations.logistic(xp, gate), 2.0 * _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * bounded**2)
    return dE_dy * s * (1.0 + bounded * equations.logistic(xp, -gate) * dgate_dx)


def _exp(xp: Namespace, x: Array) -> Array:
    return xp.exp(x)


def _exp_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return dE_dy * y


def _softmax(xp: Namespace, x: Array) -> Array:
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _softmax_dE_dx(xp: Namespace, dE_dy: Array, x: Array, y: Array) -> Array:
    return y * (dE_dy - xp.sum(dE_dy * y, axis=-1, keepdims=True))


def by_group(xp: Namespace, f: Callable[..., Array], groups: tuple[int, ...], *arrays: Array) -> Array:
    """Apply ``f`` to each group of the units ``(..., b, j)`` of a layer, and join what comes back."""
    if not groups:
        return f(xp, *arrays)
    stops = list(accumulate(groups))
    cuts = zip([0, *stops], stops, strict=False)
    return xp.concat([f(xp, *(array[..., start:stop] for array in arrays)) for start, stop in cuts], axis=-1)


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


def _make_leaky_relu(slope: float = 0.01) -> Activation:
    return Activation(partial(_leaky_relu, slope=slope), partial(_leaky_relu_dE_dx, slope=slope))


def _make_elu(alpha: float = 1.0) -> Activation:
    return Activation(partial(_elu, alpha=alpha), partial(_elu_dE_dx, alpha=alpha))


GROUP_SIZES = {"sizes": Range(1, whole=True)}

ACTIVATIONS: dict[str, Activation | Parametric] = {
    "identity": Activation(_identity, _identity_dE_dx),
    "logistic": Activation(equations.logistic, _logistic_dE_dx, above_zero=True, below_one=True),
    "tanh": Activation(_tanh, _tanh_dE_dx, below_one=True),
    "relu": Activation(_relu, _relu_dE_dx),
    "leaky_relu": Parametric(_make_leaky_relu, {"slope": ABOVE_0}),
    "elu": Parametric(_make_elu, {"alpha": ABOVE_0}),
    "softplus": Activation(softplus, _softplus_dE_dx, above_zero=True),
    "silu": Activation(_silu, _silu_dE_dx),
    "gelu": Activation(_gelu, _gelu_dE_dx),
    "exp": Activation(_exp, _exp_dE_dx, above_zero=True),
    "softmax": Parametric(_make_softmax, GROUP_SIZES),
}


@functools.cache
def get_activation(name: str) -> Activation:
    """Find a unit by name.

    Parameters
    ----------
    name : str
        identity, logistic, tanh, relu, leaky_relu (slope below zero, 0.01), elu (alpha, 1), softplus, silu, gelu (its
        tanh form, Hendrycks & Gimpel 2016), exp or softmax (over all units of the layer, or with several numbers over
        groups of so many units).

    Raises
    ------
    DataError
        If there is no such unit, or its numbers are none.

    Examples
    --------
    >>> import numpy as np
    >>> relu = get_activation("leaky_relu(0.5)")
    >>> relu.value(np, np.asarray([-2.0, 3.0]))
    array([-1.,  3.])
    """
    found: Activation = look_up("activation", name, ACTIVATIONS)
    return found
