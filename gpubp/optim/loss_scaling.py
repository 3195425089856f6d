"""Optimizers for products in float16, whose range is so small that derivatives are scaled to fit it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from gpubp._typing import Array, Namespace
from gpubp.optim.first_order import Optimizer, SettingValues
from gpubp.optim.wrappers import settings_with

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
    # at the smallest scale, scaling is not the cause of a gradient that is not finite
    fits = finite | (state.loss_scale <= SMALLEST_LOSS_SCALE)
    change, inner = update(xp, xp.where(fits[..., None], gradient, 0.0), state.inner, theta, values)
    parts = [
        part if isinstance(part, int) else xp.where(fits[..., None], part, before)
        for part, before in zip(inner, state.inner, strict=True)
    ]
    inner = type(inner)(*parts)
    grows = finite & (state.clean + 1.0 >= UPDATES_BEFORE_GROWTH) & (state.loss_scale < LARGEST_LOSS_SCALE)
    factor = xp.where(grows, xp.full_like(state.clean, 2.0), xp.ones_like(state.clean))
    loss_scale = state.loss_scale * xp.where(fits, factor, 0.5)
    clean = xp.where(grows | ~fits, 0.0, state.clean + 1.0)
    return xp.where(fits[..., None], change, 0.0), LossScaleState(inner, loss_scale, clean)


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
    return Optimizer(
        f"loss-scaled {optimizer.name}",
        settings,
        partial(_scaled_init, optimizer.init),
        partial(_scaled, optimizer.update),
    )
