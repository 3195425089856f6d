"""Optimizers: the update of one parameter in C, and the numbers that compiled code is given for each step."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import HostNumber, Inexpressible, Symbol
from gpubp.optim.first_order import Optimizer, Setting
from gpubp.optim.wrappers import FACTORS

STATE_PREFIX = "state."  # before the name of a number of the optimizer's state; its settings have no prefix


class UpdateCode(NamedTuple):
    """The update of one parameter, in C.

    Attributes
    ----------
    statements : str
        They compute ``new_theta``, ``new_0``, ``new_1`` from ``own_gradient``, ``own_theta``, the state's arrays, and
        for each of ``factors`` one such as ``own_rate_factors``.
    parts : tuple of str
        The fields of the state that are arrays.
    counters : tuple of str
        The fields that count the updates.
    settings : list of HostNumber
        The values of ``settings[k]`` in C.
    factors : tuple of str
        The settings that have a number for each parameter.
    """

    statements: str
    parts: tuple[str, ...]
    counters: tuple[str, ...]
    settings: list[HostNumber]
    factors: tuple[str, ...]


def update_code(
    optimizer: Optimizer,
    dtype: str,
    state_in_c: Callable[[int], str],
    code_of: Callable[[Mapping[str, str]], Code] | None = None,
) -> UpdateCode:
    """Write the update of an optimizer.

    Parameters
    ----------
    optimizer : Optimizer
    dtype : str
    state_in_c : callable
        Gives the place of array ``k`` of the state, for one parameter.
    code_of : callable, optional
        Makes the writer of statements from the C expressions of variables; by default one for `dtype`.

    Raises
    ------
    Inexpressible
        If symbols cannot express the update, for example because it reads the whole gradient.
    """
    try:
        return _update_code(optimizer, dtype, state_in_c, code_of or partial(Code, dtype))
    except (TypeError, AttributeError, KeyError) as error:
        raise Inexpressible(f"{optimizer.name} does not update each parameter separately ({error})") from error


def _update_code(
    optimizer: Optimizer,
    dtype: str,
    state_in_c: Callable[[int], str],
    code_of: Callable[[Mapping[str, str]], Code],
) -> UpdateCode:
    example = optimizer.init(np, np.zeros(1, dtype))
    fields = {name: getattr(example, name) for name in getattr(example, "_fields", ())}
    if len(fields) != len(example):
        raise Inexpressible(f"its state is {example!r}")
    parts = tuple(name for name, value in fields.items() if isinstance(value, np.ndarray))
    counters = tuple(name for name, value in fields.items() if isinstance(value, int))
    arrays = {name: symbols.variable(f"old_{k}", dtype) for k, name in enumerate(parts)}
    counter_settings = {name: symbols.setting(STATE_PREFIX + name) for name in counters}
    gradient, theta = symbols.variable("gradient", dtype), symbols.variable("theta", dtype)
    settings: dict[str, Any] = {name: symbols.setting(name) for name in optimizer.settings}
    factors = tuple(name for name in FACTORS if name in settings)
    settings |= {name: symbols.variable(name, dtype) for name in factors}
    change, new_state = optimizer.update(symbols, gradient, _with(example, arrays | counter_settings), theta, settings)

    for name in counters:
        if getattr(new_state, name).evaluate({STATE_PREFIX + name: 5}) != 6:
            raise Inexpressible(f"{name} does not count its updates")
    results = {"new_theta": theta + change} | {f"new_{k}": getattr(new_state, name) for k, name in enumerate(parts)}
    if not all(isinstance(result, Symbol) for result in results.values()):
        raise Inexpressible("its new state is not computed from its state")
    variables = {name: f"own_{name}" for name in ("gradient", "theta", *factors)} | {
        f"old_{k}": state_in_c(k) for k in range(len(parts))
    }
    code = code_of(variables)
    statements = code.statements(**results)
    if not code.settings:
        raise Inexpressible("it has no learning rate")
    return UpdateCode(statements, parts, counters, code.settings, factors)


def state_after(update: UpdateCode, state: Any, arrays: list[Any], n_updates: int) -> Any:
    """Make the state after some updates from the previous state and the current arrays of its parts."""
    counts = {name: getattr(state, name) + n_updates for name in update.counters}
    return _with(state, dict(zip(update.parts, arrays, strict=True)) | counts)


def _with(state: Any, fields: Mapping[str, Any]) -> Any:
    return type(state)(**fields) if fields else state


def settings_of_steps(
    update: UpdateCode,
    settings: Mapping[str, Setting],
    state: Any,
    epochs: np.ndarray,
    more: Mapping[str, Setting] | None = None,
) -> np.ndarray:
    """Compute the values of ``settings`` in C, for several steps and networks: ``(n_steps, K, n)``.

    Parameters
    ----------
    settings : mapping
        The optimizer's settings: numbers, schedules, or arrays ``(K, 1)``, one number for each network.
    epochs : (n_steps,) or (n_steps, K) array
        How many epochs are done before each step.
    more : mapping, optional
        Settings of other kinds, whose values follow.
    """
    values = {name: _values(setting, epochs) for name, setting in settings.items() if name not in FACTORS}
    for name in update.counters:
        values[STATE_PREFIX + name] = (getattr(state, name) + np.arange(len(epochs)))[:, None]
    numbers = [number.evaluate(values) for number in update.settings]
    numbers += [_values(setting, epochs) for setting in (more or {}).values()]
    shape = np.broadcast_shapes((len(epochs), 1), *map(np.shape, numbers))
    result = np.empty((*shape, len(numbers)))
    for k, number in enumerate(numbers):
        result[..., k] = number
    return result


def _values(setting: Setting, epochs: np.ndarray) -> np.ndarray:
    """Compute a setting: ``(n_steps, K)``, or 1 in place of a number if it does not change."""
    if callable(setting):
        steps = epochs.tolist() if epochs.ndim == 1 else epochs[..., None]
        return np.reshape(np.asarray([to_numpy(setting(epoch)) for epoch in steps], float), (len(epochs), -1))
    return _constant(setting) if type(setting) is float else np.reshape(np.asarray(to_numpy(setting), float), (1, -1))


@lru_cache
def _constant(number: float) -> np.ndarray:
    """Return a number as ``(1, 1)``, which callers do not change; each epoch of each fit asks for the same."""
    return np.full((1, 1), number)
