r"""Optimizers that wrap another: gradients clipped, weights shrunk, or a factor for each parameter."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.optim.first_order import Optimizer, Setting, SettingValues

RATE_FACTORS, DECAY_FACTORS = FACTORS = ("rate_factors", "decay_factors")
"""The settings of :func:`rate_scaled` and :func:`decay_scaled`: numbers for each parameter, as no other setting has."""


Update = Callable[..., tuple[Array, Any]]


def _before(
    changed: Callable[..., tuple[Array, SettingValues]],
    update: Update,
    xp: Namespace,
    gradient: Array,
    state: Any,
    theta: Array,
    values: SettingValues,
) -> tuple[Array, Any]:
    """Update by another gradient or other settings: ``changed(xp, gradient, values)``."""
    gradient, values = changed(xp, gradient, values)
    return update(xp, gradient, state, theta, values)


def _after(
    changed: Callable[..., Array],
    update: Update,
    xp: Namespace,
    gradient: Array,
    state: Any,
    theta: Array,
    values: SettingValues,
) -> tuple[Array, Any]:
    """Update, then change the parameters otherwise: by ``changed(change, theta, values)``."""
    change, state = update(xp, gradient, state, theta, values)
    return changed(change, theta, values), state


def _wrapped(
    optimizer: Optimizer, name: str, when: Callable[..., Any], changed: Callable[..., Any], **more: Setting
) -> Optimizer:
    settings = settings_with(optimizer, **more)
    return Optimizer(f"{name} {optimizer.name}", settings, optimizer.init, bound(when, changed, optimizer.update))


@lru_cache
def bound(function: Callable[..., Any], *arguments: Callable[..., Any]) -> Callable[..., Any]:
    """Bind the first arguments of a function: the same object for the same ones, by which compiled steps are found."""
    return partial(function, *arguments)


def settings_with(optimizer: Optimizer, **more: Setting) -> dict[str, Setting]:
    """Return the settings of an optimizer with those that a wrapper adds.

    Raises
    ------
    DataError
        If it is no first-order optimizer, or has such a setting.
    """
    if not isinstance(optimizer, Optimizer):
        raise DataError(
            "only a first-order optimizer, such as adam(), can be clipped, decayed or scaled; got "
            f"{getattr(optimizer, 'name', optimizer)}"
        )
    for name in more:
        if name in optimizer.settings:
            raise DataError(f"{optimizer.name} already has {name}={optimizer.settings[name]!r}")
    return {**optimizer.settings, **more}


def clipped(optimizer: Optimizer, max_norm: Setting) -> Optimizer:
    r"""Clip the norm of each network's gradient, then apply ``optimizer`` (Pascanu et al. 2013).

    :math:`g \leftarrow g \cdot \min(1, \mathrm{max\_norm} / \lVert g \rVert)`.

    Examples
    --------
    >>> from gpubp import adam
    >>> clipped(adam(), max_norm=1.0).name
    'clipped adam'
    """
    return _wrapped(optimizer, "clipped", _before, _clipped, max_norm=max_norm)


def _clipped(xp: Namespace, gradient: Array, values: SettingValues) -> tuple[Array, SettingValues]:
    # divide by the largest component first: its square could overflow
    largest = xp.max(xp.abs(gradient), axis=-1, keepdims=True)
    scaled = gradient / xp.where(largest > 0.0, largest, 1.0)
    norm = largest * xp.sqrt(xp.sum(scaled**2, axis=-1, keepdims=True))
    return gradient * (values["max_norm"] / xp.maximum(norm, values["max_norm"])), values


def decayed(optimizer: Optimizer, shrinkage: Setting) -> Optimizer:
    r"""Apply ``optimizer``, then shrink every weight: :math:`w \leftarrow (1 - \mathrm{shrinkage})\, w`.

    Rumelhart, Hinton & Williams (1986) shrank by 0.002, or 0.2 %, after each change.

    Examples
    --------
    >>> from gpubp import momentum
    >>> decayed(momentum(), 0.002).name
    'decayed momentum'
    """
    return _wrapped(optimizer, "decayed", _after, _decayed, shrinkage=shrinkage)


def _decayed(change: Array, theta: Array, values: SettingValues) -> Array:
    return change - values["shrinkage"] * (theta + change)


def rate_scaled(optimizer: Optimizer, rate_factors: Array) -> Optimizer:
    r"""Apply ``optimizer`` with a learning rate of its own for each parameter: its change is multiplied by a factor.

    The factor multiplies all of the change, so also the weight decay of :func:`adamw`, :func:`lion` and
    :func:`decayed`; :func:`decay_scaled` changes that. A parameter whose factor is 0 keeps its value.

    Parameters
    ----------
    optimizer : Optimizer
    rate_factors : (P,) array, or (K, P) array for a stack
        Not negative; tied weights have equal factors. See :func:`gpubp.ntk_rate_factors`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import gradient_descent
    >>> optimizer = rate_scaled(gradient_descent(0.5), [1.0, 0.1])
    >>> change, _ = optimizer.update(np, np.asarray([2.0, 2.0]), (), np.zeros(2), optimizer.at(0))
    >>> change
    array([-1. , -0.1])
    """
    factors = {RATE_FACTORS: _checked_factors(RATE_FACTORS, rate_factors)}
    return _wrapped(optimizer, "rate-scaled", _after, _rate_scaled, **factors)


def _rate_scaled(change: Array, theta: Array, values: SettingValues) -> Array:
    return values[RATE_FACTORS] * change


def decay_scaled(optimizer: Optimizer, decay_factors: Array) -> Optimizer:
    r"""Apply :func:`adamw` or :func:`lion` with a weight decay of its own for each parameter, such as 0 for biases.

    Parameters
    ----------
    optimizer : Optimizer
    decay_factors : (P,) array, or (K, P) array for a stack
        They multiply ``weight_decay``. Not negative; tied weights have equal factors.

    Examples
    --------
    >>> from gpubp import Network, adamw, decay_scaled
    >>> optimizer = decay_scaled(adamw(), Network((3, 1)).weight_mask())
    >>> optimizer.settings["decay_factors"]
    array([1., 1., 1., 0.])
    """
    if "weight_decay" not in getattr(optimizer, "settings", {}):
        given = getattr(optimizer, "name", optimizer)
        raise DataError(f"decay_scaled needs an optimizer with weight_decay, such as adamw(), got {given}")
    factors = {DECAY_FACTORS: _checked_factors(DECAY_FACTORS, decay_factors)}
    return _wrapped(optimizer, "decay-scaled", _before, _decay_scaled, **factors)


def _decay_scaled(xp: Namespace, gradient: Array, values: SettingValues) -> tuple[Array, SettingValues]:
    return gradient, {**values, "weight_decay": values["weight_decay"] * values[DECAY_FACTORS]}


def _checked_factors(name: str, factors: Array) -> Array:
    try:
        factors = factors if hasattr(factors, "shape") else np.asarray(factors)
    except ValueError as error:
        raise DataError(f"{name} must be an array, its rows of one length: {error}") from error
    if len(factors.shape) not in (1, 2):
        raise DataError(
            f"{name} must be an array with a number for each parameter, (P,) or for a stack (K, P), got "
            f"{tuple(factors.shape)}"
        )
    return factors


def unclipped(optimizer: Optimizer) -> Optimizer | None:
    """Return the optimizer inside one that :func:`clipped` made; None for any other."""
    return _inside(optimizer, _clipped, "max_norm")


def without_clipping(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer without :func:`clipped`, also if that is inside other wrappers: none reads the gradient."""
    update = _without_clipping(optimizer.update)
    if update is optimizer.update:
        return optimizer
    settings = {name: value for name, value in optimizer.settings.items() if name != "max_norm"}
    return replace(optimizer, settings=settings, update=update)


def _without_clipping(update: Update) -> Update:
    if not isinstance(update, partial) or update.func not in (_before, _after):
        return update
    changed, wrapped = update.args
    inside = _without_clipping(wrapped)
    if changed is _clipped:
        return inside
    return bound(update.func, changed, inside)


def undecayed(optimizer: Optimizer) -> Optimizer | None:
    """Return the optimizer inside one that :func:`decayed` made; None for any other."""
    return _inside(optimizer, _decayed, "shrinkage")


def without_rate_factors(optimizer: Optimizer) -> Optimizer | None:
    """Return the optimizer inside one that :func:`rate_scaled` made; None for any other."""
    return _inside(optimizer, _rate_scaled, RATE_FACTORS)


def without_decay_factors(optimizer: Optimizer) -> Optimizer | None:
    """Return the optimizer inside one that :func:`decay_scaled` made; None for any other."""
    return _inside(optimizer, _decay_scaled, DECAY_FACTORS)


def _inside(optimizer: Optimizer, changed: Callable[..., Any], setting: str) -> Optimizer | None:
    update = optimizer.update
    if not (isinstance(update, partial) and update.func in (_before, _after) and update.args[0] is changed):
        return None
    settings = {name: value for name, value in optimizer.settings.items() if name != setting}
    return Optimizer(optimizer.name.partition(" ")[2], settings, optimizer.init, update.args[1])
