r"""First-order optimizers: gradient descent and momentum, eq. (8) and (9) of the paper, and their successors.

An optimizer is a pair of pure functions of the flat parameter array ``theta`` and its gradient ``g``, both
``(..., P)``:

- ``init(xp, theta) -> state``
- ``update(xp, gradient, state, theta, values) -> (change, state)``

The caller adds the change to ``theta``. ``values`` holds the current values of the optimizer's settings, each a number
or a ``(..., 1)`` array with one number for each network. A setting may be a schedule (:mod:`gpubp.optim.schedules`).

:mod:`gpubp.optim.wrappers` wraps an optimizer in another, and so does :mod:`gpubp.optim.loss_scaling`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from gpubp._core.names import ABOVE_0, Range, unknown
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError
from gpubp.nn import equations
from gpubp.optim.schedules import Schedule, check_is_made, value_at

Setting = float | Array | Schedule
SettingValues = Mapping[str, Any]


RANGES = {
    "learning_rate": Range(0),
    "momentum": Range(0, 1),
    "beta_1": Range(0, 1, includes_high=False),
    "beta_2": Range(0, 1, includes_high=False),
    "rho": Range(0, 1, includes_high=False),
    "epsilon": Range(0),
    "weight_decay": Range(0),
    "shrinkage": Range(0, 1, includes_high=False),
    "max_norm": ABOVE_0,
}
"""The valid range of each setting that is a plain number."""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: a name, its settings, and the pure functions ``init`` and ``update``.

    Raises
    ------
    DataError
        If a setting is neither a schedule nor an array, and not a number in its range in :data:`RANGES`.
    """

    name: str
    settings: Mapping[str, Setting]
    init: Callable[[Namespace, Array], Any]
    update: Callable[[Namespace, Array, Any, Array, SettingValues], tuple[Array, Any]]

    def __post_init__(self) -> None:
        for name, value in self.settings.items():
            shape: tuple[int, ...] = getattr(value, "shape", ())
            if callable(value) or shape:  # a schedule, or a number for each network
                check_is_made(name, value)
                continue
            if name not in RANGES:
                raise DataError(
                    f"the setting {name!r} of the optimizer {self.name!r} has no range; to fix it: add its valid range "
                    "to gpubp.optim.first_order.RANGES"
                )
            if value not in RANGES[name]:
                raise DataError(f"{name} must be {RANGES[name]}, got {value!r}")

    def at(self, epoch: float) -> dict[str, float | Array]:
        """Return the values of the settings after ``epoch`` epochs."""
        return {name: value_at(setting, epoch) for name, setting in self.settings.items()}


def same_update(one: Optimizer, other: Optimizer) -> bool:
    """Return whether two optimizers differ at most in the values of their settings."""
    return (
        list(one.settings) == list(other.settings) and _same(one.init, other.init) and _same(one.update, other.update)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, partial) and isinstance(other, partial):
        return one.func is other.func and len(one.args) == len(other.args) and all(map(_same, one.args, other.args))
    return one is other


def check_values(name: str, values: Iterable[Any]) -> None:
    """Check the values that a schedule or an array gives a setting; an :class:`Optimizer` checks only plain numbers.

    Raises
    ------
    DataError
        If one is not a number in the setting's range.
    """
    for value in values if name in RANGES else ():
        if value not in RANGES[name]:
            raise DataError(f"the values of {name} must be {RANGES[name]}, got {value!r:.80}")


def _no_state(xp: Namespace, theta: Array) -> tuple[()]:
    return ()


def _gradient_descent(
    xp: Namespace, gradient: Array, state: tuple[()], theta: Array, values: SettingValues
) -> tuple[Array, Any]:
    return equations.gradient_descent(xp, gradient, rate=values["learning_rate"]), state


def gradient_descent(learning_rate: Setting = 0.1) -> Optimizer:
    r"""Gradient descent, eq. (8): :math:`\Delta w = -\varepsilon\, \partial E / \partial w`.

    Parameters
    ----------
    learning_rate : float, (K, 1) array or schedule
        :math:`\varepsilon`.

    Examples
    --------
    >>> import numpy as np
    >>> optimizer = gradient_descent(0.5)
    >>> change, _ = optimizer.update(np, np.asarray([2.0]), (), np.asarray([0.0]), optimizer.at(0))
    >>> change
    array([-1.])
    """
    return Optimizer("gradient_descent", {"learning_rate": learning_rate}, _no_state, _gradient_descent)


class MomentumState(NamedTuple):
    """The previous change, (..., P)."""

    previous: Array


def _zero_momentum(xp: Namespace, theta: Array) -> MomentumState:
    return MomentumState(xp.zeros_like(theta))


def _momentum(
    xp: Namespace, gradient: Array, state: MomentumState, theta: Array, values: SettingValues
) -> tuple[Array, MomentumState]:
    change = equations.momentum_descent(
        xp, gradient, state.previous, rate=values["learning_rate"], momentum=values["momentum"]
    )
    return change, MomentumState(change)


def momentum(learning_rate: Setting = 0.1, momentum: Setting = 0.9) -> Optimizer:
    r"""Gradient descent with momentum, eq. (9).

    :math:`\Delta w(t) = -\varepsilon\, \partial E / \partial w(t) + \alpha\, \Delta w(t - 1)`.

    Parameters
    ----------
    learning_rate, momentum : float, (K, 1) array or schedule
        :math:`\varepsilon` and :math:`\alpha`.

    Examples
    --------
    >>> momentum(0.5).settings
    {'learning_rate': 0.5, 'momentum': 0.9}
    """
    return Optimizer("momentum", {"learning_rate": learning_rate, "momentum": momentum}, _zero_momentum, _momentum)


def _nesterov(
    xp: Namespace, gradient: Array, state: MomentumState, theta: Array, values: SettingValues
) -> tuple[Array, MomentumState]:
    velocity, state = _momentum(xp, gradient, state, theta, values)
    return equations.momentum_descent(
        xp, gradient, velocity, rate=values["learning_rate"], momentum=values["momentum"]
    ), state


def nesterov(learning_rate: Setting = 0.1, momentum: Setting = 0.9) -> Optimizer:
    r"""Nesterov's momentum (Sutskever et al. 2013).

    Eq. (9) gives a velocity :math:`v`, and :math:`\Delta w = \alpha v - \varepsilon\, \partial E / \partial w`. The
    gradient is taken at ``theta``.

    Parameters
    ----------
    learning_rate, momentum : float, (K, 1) array or schedule
        :math:`\varepsilon` and :math:`\alpha`.

    Examples
    --------
    >>> nesterov(0.5).settings
    {'learning_rate': 0.5, 'momentum': 0.9}
    """
    return Optimizer("nesterov", {"learning_rate": learning_rate, "momentum": momentum}, _zero_momentum, _nesterov)


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, (..., P) each, and the number of updates."""

    first: Array
    second: Array
    updates: int


def _zero_moments(xp: Namespace, theta: Array) -> AdamState:
    return AdamState(xp.zeros_like(theta), xp.zeros_like(theta), 0)


def adam_numbers(values: SettingValues, update: Any) -> tuple[Any, ...]:
    """Return the scalar arguments of :func:`adam_change` for an update, counted from 1.

    The rate includes the bias correction for moments that start at 0.
    """
    beta_1, beta_2 = values["beta_1"], values["beta_2"]
    rate = values["learning_rate"] * (1.0 - beta_2**update) ** 0.5 / (1.0 - beta_1**update)
    return rate, beta_1, 1.0 - beta_1, beta_2, 1.0 - beta_2, values["epsilon"]


def adam_change(
    xp: Namespace,
    gradient: Array,
    first: Array,
    second: Array,
    rate: Any,
    beta_1: Any,
    weight_1: Any,
    beta_2: Any,
    weight_2: Any,
    epsilon: Any,
) -> tuple[Array, Array, Array]:
    """Compute Adam's change and the new moments; ``weight_1`` and ``weight_2`` are 1 - beta_1 and 1 - beta_2."""
    first = beta_1 * first + weight_1 * gradient
    second = beta_2 * second + weight_2 * (gradient * gradient)
    return -rate * first / (xp.sqrt(second) + epsilon), first, second


def _adam(
    xp: Namespace, gradient: Array, state: AdamState, theta: Array, values: SettingValues
) -> tuple[Array, AdamState]:
    updates = state.updates + 1
    change, first, second = adam_change(xp, gradient, state.first, state.second, *adam_numbers(values, updates))
    return change, AdamState(first, second, updates)


def adam(
    learning_rate: Setting = 1e-3, beta_1: Setting = 0.9, beta_2: Setting = 0.999, epsilon: Setting = 1e-8
) -> Optimizer:
    r"""Adam (Kingma & Ba 2015), with the order of operations at the end of their section 2.

    :math:`m \leftarrow \beta_1 m + (1 - \beta_1) g`, :math:`v \leftarrow \beta_2 v + (1 - \beta_2) g^2`,
    :math:`\Delta w = -\varepsilon_t\, m / (\sqrt{v} + \epsilon)` with
    :math:`\varepsilon_t = \varepsilon \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)`.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon : float, (K, 1) array or schedule
        :math:`\varepsilon`, :math:`\beta_1`, :math:`\beta_2` and :math:`\epsilon`.

    Examples
    --------
    >>> adam(beta_2=0.99).settings["beta_2"]
    0.99
    """
    settings = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return Optimizer("adam", settings, _zero_moments, _adam)


def _adamw(
    xp: Namespace, gradient: Array, state: AdamState, theta: Array, values: SettingValues
) -> tuple[Array, AdamState]:
    change, state = _adam(xp, gradient, state, theta, values)
    return change - values["learning_rate"] * values["weight_decay"] * theta, state


def adamw(
    learning_rate: Setting = 1e-3,
    beta_1: Setting = 0.9,
    beta_2: Setting = 0.999,
    epsilon: Setting = 1e-8,
    weight_decay: Setting = 0.01,
) -> Optimizer:
    r"""AdamW (Loshchilov & Hutter 2019): Adam with decoupled weight decay.

    :math:`\Delta w = \Delta w_\mathrm{Adam} - \varepsilon \lambda w`.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon : float, (K, 1) array or schedule
        As in :func:`adam`.
    weight_decay : float, (K, 1) array or schedule
        :math:`\lambda`.

    Examples
    --------
    >>> adamw().settings["weight_decay"]
    0.01
    """
    settings = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return Optimizer("adamw", settings | {"weight_decay": weight_decay}, _zero_moments, _adamw)


class SecondMomentState(NamedTuple):
    """Running mean, or sum, of the squared gradient, (..., P)."""

    second: Array


def _zero_second_moment(xp: Namespace, theta: Array) -> SecondMomentState:
    return SecondMomentState(xp.zeros_like(theta))


def rmsprop_change(
    xp: Namespace, gradient: Array, second: Array, rate: Any, rho: Any, weight: Any, epsilon: Any
) -> tuple[Array, Array]:
    """Compute RMSprop's change and the new running mean of the squares; ``weight`` is 1 - rho."""
    second = rho * second + weight * (gradient * gradient)
    return -rate * gradient / (xp.sqrt(second) + epsilon), second


def _rmsprop(
    xp: Namespace, gradient: Array, state: SecondMomentState, theta: Array, values: SettingValues
) -> tuple[Array, SecondMomentState]:
    rho = values["rho"]
    change, second = rmsprop_change(
        xp, gradient, state.second, values["learning_rate"], rho, 1.0 - rho, values["epsilon"]
    )
    return change, SecondMomentState(second)


def rmsprop(learning_rate: Setting = 1e-3, rho: Setting = 0.9, epsilon: Setting = 1e-8) -> Optimizer:
    r"""RMSprop (Tieleman & Hinton 2012).

    :math:`v \leftarrow \rho v + (1 - \rho) g^2`, :math:`\Delta w = -\varepsilon g / (\sqrt{v} + \epsilon)`.

    Parameters
    ----------
    learning_rate, rho, epsilon : float, (K, 1) array or schedule
        :math:`\varepsilon`, :math:`\rho` and :math:`\epsilon`.

    Examples
    --------
    >>> rmsprop().settings["rho"]
    0.9
    """
    settings = {"learning_rate": learning_rate, "rho": rho, "epsilon": epsilon}
    return Optimizer("rmsprop", settings, _zero_second_moment, _rmsprop)


def adagrad_change(xp: Namespace, gradient: Array, second: Array, rate: Any, epsilon: Any) -> tuple[Array, Array]:
    """Compute Adagrad's change and the new sum of the squares."""
    second = second + gradient * gradient
    return -rate * gradient / (xp.sqrt(second) + epsilon), second


def _adagrad(
    xp: Namespace, gradient: Array, state: SecondMomentState, theta: Array, values: SettingValues
) -> tuple[Array, SecondMomentState]:
    change, second = adagrad_change(xp, gradient, state.second, values["learning_rate"], values["epsilon"])
    return change, SecondMomentState(second)


def adagrad(learning_rate: Setting = 0.01, epsilon: Setting = 1e-8) -> Optimizer:
    r"""Adagrad (Duchi et al. 2011).

    :math:`s \leftarrow s + g^2`, :math:`\Delta w = -\varepsilon g / (\sqrt{s} + \epsilon)`.

    Parameters
    ----------
    learning_rate, epsilon : float, (K, 1) array or schedule
        :math:`\varepsilon` and :math:`\epsilon`.

    Examples
    --------
    >>> adagrad().settings
    {'learning_rate': 0.01, 'epsilon': 1e-08}
    """
    return Optimizer("adagrad", {"learning_rate": learning_rate, "epsilon": epsilon}, _zero_second_moment, _adagrad)


class LionState(NamedTuple):
    """Running mean of the gradient, (..., P)."""

    first: Array


def _zero_first_moment(xp: Namespace, theta: Array) -> LionState:
    return LionState(xp.zeros_like(theta))


def _lion(
    xp: Namespace, gradient: Array, state: LionState, theta: Array, values: SettingValues
) -> tuple[Array, LionState]:
    rate, beta_1, beta_2 = values["learning_rate"], values["beta_1"], values["beta_2"]
    direction = xp.sign(beta_1 * state.first + (1.0 - beta_1) * gradient)
    change = -rate * direction - rate * values["weight_decay"] * theta
    return change, LionState(beta_2 * state.first + (1.0 - beta_2) * gradient)


def lion(
    learning_rate: Setting = 1e-4, beta_1: Setting = 0.9, beta_2: Setting = 0.99, weight_decay: Setting = 0.01
) -> Optimizer:
    r"""Lion (Chen et al. 2023): steps of the same size for all weights, with decoupled weight decay.

    :math:`\Delta w = -\varepsilon\, (\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w)`, then
    :math:`m \leftarrow \beta_2 m + (1 - \beta_2) g`. The learning rate is usually a third to a tenth of Adam's.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, weight_decay : float, (K, 1) array or schedule
        :math:`\varepsilon`, :math:`\beta_1`, :math:`\beta_2` and :math:`\lambda`.

    Examples
    --------
    >>> lion().settings["beta_2"]
    0.99
    """
    settings = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "weight_decay": weight_decay}
    return Optimizer("lion", settings, _zero_first_moment, _lion)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    optimizer.__name__: optimizer
    for optimizer in (gradient_descent, momentum, nesterov, adam, adamw, rmsprop, adagrad, lion)
}


def get_optimizer(name: str, **settings: Setting) -> Optimizer:
    """Return an optimizer by its name, with some of its settings.

    Parameters
    ----------
    name : str
        That of one of the functions :func:`gradient_descent`, :func:`momentum`, :func:`nesterov`, :func:`adam`,
        :func:`adamw`, :func:`rmsprop`, :func:`adagrad` and :func:`lion`.
    **settings : float, (K, 1) array or schedule
        The others keep their defaults.

    Raises
    ------
    DataError
        If there is no such optimizer, if it has no such setting, or if a value is outside its range.

    Examples
    --------
    >>> get_optimizer("momentum", learning_rate=0.5).settings
    {'learning_rate': 0.5, 'momentum': 0.9}
    """
    if not isinstance(name, str):
        raise DataError(f"the name of an optimizer must be text, such as 'adam', got {name!r:.80}")
    if name not in OPTIMIZERS:
        raise DataError(unknown("optimizer", name, OPTIMIZERS))
    default = OPTIMIZERS[name]()
    for setting in settings:
        if setting not in default.settings:
            raise DataError(unknown(f"setting of {name}", setting, default.settings))
    return OPTIMIZERS[name](**settings)
