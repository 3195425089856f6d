"""Optimizers for CUDA: what an optimizer does to one parameter, and the numbers that it is given in each step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import Inexpressible, Number, Symbol
from gpubp.optim.first_order import Optimizer, Setting

OF_STATE = "state."  # before the name of a number that belongs to an optimizer's state, not to its settings


class Update(NamedTuple):
    """One update of one parameter, in C.

    Attributes
    ----------
    statements : str
        From ``own_gradient``, ``own_theta`` and the parts of the state they find ``new_theta``, ``new_0``, ``new_1``.
    parts : tuple of str
        The fields of the state that are arrays.
    counters : tuple of str
        Its fields that count the updates.
    settings : list of Number
        What C finds in ``settings[k]``.
    """

    statements: str
    parts: tuple[str, ...]
    counters: tuple[str, ...]
    settings: list[Number]


def update_of(optimizer: Optimizer, dtype: str, part_in_c: Callable[[int], str]) -> Update:
    """Write down what an optimizer does; ``part_in_c`` tells where part ``k`` of a parameter's state is.

    Raises
    ------
    Inexpressible
        If the optimizer does what symbols cannot do, such as looking at all of the gradient.
    """
    try:
        return _update_of(optimizer, dtype, part_in_c)
    except (TypeError, AttributeError, KeyError) as error:
        raise Inexpressible(f"{optimizer.name} is no rule of single parameters ({error})") from error


def _update_of(optimizer: Optimizer, dtype: str, part_in_c: Callable[[int], str]) -> Update:
    example = optimizer.init(np, np.zeros(1, dtype))
    fields = {name: getattr(example, name) for name in getattr(example, "_fields", ())}
    if len(fields) != len(example):
        raise Inexpressible(f"its state is {example!r}")
    parts = tuple(name for name, value in fields.items() if isinstance(value, np.ndarray))
    counters = tuple(name for name, value in fields.items() if isinstance(value, int))
    symbol_of = {name: symbols.variable(f"old_{k}", dtype) for k, name in enumerate(parts)}
    number_of = {name: symbols.setting(OF_STATE + name) for name in counters}
    gradient, theta = symbols.variable("gradient", dtype), symbols.variable("theta", dtype)
    now = {name: symbols.setting(name) for name in optimizer.settings}
    change, after = optimizer.update(symbols, gradient, _with(example, symbol_of | number_of), theta, now)

    for name in counters:
        if getattr(after, name).of({OF_STATE + name: 5}) != 6:
            raise Inexpressible(f"{name} does not count its updates")
    results = {"new_theta": theta + change} | {f"new_{k}": getattr(after, name) for k, name in enumerate(parts)}
    if not all(isinstance(result, Symbol) for result in results.values()):
        raise Inexpressible("its state turns into something else")
    in_c = {"gradient": "own_gradient", "theta": "own_theta"} | {f"old_{k}": part_in_c(k) for k in range(len(parts))}
    code = Code(dtype, in_c)
    statements = code.statements(**results)
    if not code.settings:
        raise Inexpressible("it has no step size")
    return Update(statements, parts, counters, code.settings)


def state_after(update: Update, state: Any, arrays: list[Any], n_updates: int) -> Any:
    """Make the state after some updates, from the one before and from the arrays that its parts are in now."""
    counted = {name: getattr(state, name) + n_updates for name in update.counters}
    return _with(state, dict(zip(update.parts, arrays, strict=True)) | counted)


def _with(state: Any, fields: Mapping[str, Any]) -> Any:
    return type(state)(**fields) if fields else state


def settings_of_steps(update: Update, given: Mapping[str, Setting], state: Any, epochs: np.ndarray) -> np.ndarray:
    """Find what C finds in ``settings``, for several steps and networks: ``(n_steps, K, n)``.

    Parameters
    ----------
    given : mapping
        The optimizer's settings: numbers, schedules, or arrays ``(K, 1)``, one number for each network.
    epochs : (n_steps,) array
        How many epochs are done before each step.
    """
    now: dict[str, Any] = {}
    for name, setting in given.items():
        if callable(setting):
            of_steps = [to_numpy(setting(epoch)) for epoch in epochs.tolist()]
            now[name] = np.reshape(np.asarray(of_steps, float), (len(epochs), -1))
        else:
            now[name] = np.reshape(np.asarray(to_numpy(setting), float), (1, -1))
    for name in update.counters:
        now[OF_STATE + name] = (getattr(state, name) + np.arange(len(epochs)))[:, None]
    found = np.broadcast_arrays(np.empty((len(epochs), 1)), *(number.of(now) for number in update.settings))[1:]
    return np.stack(found, axis=-1)
