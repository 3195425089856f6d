"""Optimizers for products in float16, whose range is so small that derivatives are scaled to fit it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from gpubp._typing import Array, Namespace
from gpubp.optim.first_order import Optimizer, SettingValues
from gpubp.optim.wrappers import bound, settings_with

INITIAL_LOSS_SCALE = 2.0**10
LARGEST_LOSS_SCALE = 2.0**24
SMALLEST_LOSS_SCALE = 2.0**-24
UPDATES_BEFORE_GROWTH = 1000  # without overflow, after which the loss scale doubles


class LossScaleState(NamedTuple):
    """The state of :func:`loss_scaled`.

    Attributes
    ----------
    inner : NamedTuple
        The state of the wrapped optimizer.
    loss_scale : (...) array
        The factor of all derivatives in the backward pass.
    clean : (...) array
        The number of updates since the scale changed.
    """

    inner: Any
    loss_scale: Array
    clean: Array


def next_loss_scale(xp: Namespace, finite: Array, loss_scale: Array, clean: Array) -> tuple[Array, Array, Array]:
    """Decide whether a gradient is applied, and with which scale the next one is computed.

    Parameters
    ----------
    finite : (...) array of bool
        Whether all of the gradient is finite.
    loss_scale, clean : (...) array
        As in :class:`LossScaleState`.

    Returns
    -------
    applied, loss_scale, clean : (...) array
    """
    # at the smallest scale, scaling is not the cause of a gradient that is not finite
    applied = finite | (loss_scale <= SMALLEST_LOSS_SCALE)
    grows = finite & (clean + 1.0 >= UPDATES_BEFORE_GROWTH) & (loss_scale < LARGEST_LOSS_SCALE)
    next_scale = xp.where(applied, xp.where(grows, 2.0 * loss_scale, loss_scale), 0.5 * loss_scale)
    return applied, next_scale, xp.where(applied, xp.where(grows, 0.0, clean + 1.0), 0.0)


def _scaled_init(init: Callable[[Namespace, Array], Any], xp: Namespace, theta: Array) -> LossScaleState:
    none = xp.sum(xp.zeros_like(theta), axis=-1)
    return LossScaleState(init(xp, theta), none + INITIAL_LOSS_SCALE, none)


def _scaled(
    update: Callable[..., tuple[Array, Any]],
    xp: Namespace,
    gradient: Array,
    state: LossScaleState,
    theta: Array,
    values: SettingValues,
) -> tuple[Array, LossScaleState]:
    finite = xp.all(xp.isfinite(gradient), axis=-1)
    applied, loss_scale, clean = next_loss_scale(xp, finite, state.loss_scale, state.clean)
    is_applied = applied[..., None]
    change, inner = update(xp, xp.where(is_applied, gradient, 0.0), state.inner, theta, values)
    parts = [
        xp.where(is_applied, part, before) if getattr(part, "ndim", 0) else part
        for part, before in zip(inner, state.inner, strict=True)
    ]
    return xp.where(is_applied, change, 0.0), LossScaleState(type(inner)(*parts), loss_scale, clean)


def loss_scaled(optimizer: Optimizer) -> Optimizer:
    """Scale the loss dynamically, for products in float16 (Micikevicius et al. 2018, section 3.2).

    An update whose gradient overflowed is skipped, and the loss scale is halved. After 1,000 updates without overflow
    it is doubled. The scale is a power of two for each network, so it changes no digit of a gradient that does not
    overflow. A skipped update leaves the weights and the state unchanged, except that Adam counts it.

    Examples
    --------
    >>> from gpubp import adam
    >>> loss_scaled(adam()).name
    'loss-scaled adam'
    """
    settings = settings_with(optimizer)
    init, update = bound(_scaled_init, optimizer.init), bound(_scaled, optimizer.update)
    return Optimizer(f"loss-scaled {optimizer.name}", settings, init, update)


def without_loss_scaling(optimizer: Optimizer) -> Optimizer | None:
    """Return the optimizer inside one that :func:`loss_scaled` made; None for any other."""
    init, update = optimizer.init, optimizer.update
    if not (isinstance(init, partial) and isinstance(update, partial) and update.func is _scaled):
        return None
    name = optimizer.name.removeprefix("loss-scaled ")
    return replace(optimizer, name=name, init=init.args[0], update=update.args[0])
