"""Loops over parameters: the optimizers, and the numbers that each is given."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numba import types

from gpubp.engine.cpu import scalar
from gpubp.engine.cpu.compiling import REAL, address_of_loop, compilable
from gpubp.nn import equations
from gpubp.optim import first_order
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, adam_numbers, undecayed

Now = Mapping[str, Any]

NUMBERS: dict[str, Callable[[Now, Any], tuple[Any, ...]]] = {
    "gradient_descent": lambda now, update: (now["learning_rate"],),
    "momentum": lambda now, update: (now["learning_rate"], now["momentum"]),
    "nesterov": lambda now, update: (now["learning_rate"], now["momentum"]),
    "adam": adam_numbers,
    "adamw": lambda now, update: (*adam_numbers(now, update), now["learning_rate"] * now["weight_decay"]),
    "rmsprop": lambda now, update: (now["learning_rate"], now["rho"], 1.0 - now["rho"], now["epsilon"]),
    "adagrad": lambda now, update: (now["learning_rate"], now["epsilon"]),
}
"""What each optimizer's loop calls ``s``, from the present settings and the number of the update, counted from 1."""


def has_loop(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer, or the one that it is the decayed form of, has a loop."""
    optimizer = undecayed(optimizer) or optimizer
    return optimizer.name in NUMBERS and optimizer.update is OPTIMIZERS[optimizer.name]().update


def _numbers_of(optimizer: Optimizer) -> Callable[[Now, Any], tuple[Any, ...]]:
    base = undecayed(optimizer)
    if base is None:
        return NUMBERS[optimizer.name]
    numbers = NUMBERS[base.name]
    return lambda now, update: (*numbers(now, update), now["shrinkage"])


def numbers_of_steps(
    optimizer: Optimizer, epochs: np.ndarray, updates: np.ndarray, dtype: str, l2: Any = 0.0
) -> np.ndarray:
    """Find ``s`` for several steps: ``(n_steps, n)``, or ``(K, n_steps, n)`` where networks have settings of their own.

    Behind them comes the shrinkage of a decayed optimizer, and last the strength of the penalty on the weights.

    Parameters
    ----------
    epochs : (n_steps,) or (n_steps, K) array
        How many epochs are done before each step.
    updates : (n_steps,) array
        The number of each update, counted from 1.
    l2 : float or (K, 1) array
    """
    numbers = _numbers_of(optimizer)
    if any(callable(setting) for setting in optimizer.settings.values()):
        steps = zip(epochs.tolist() if epochs.ndim == 1 else epochs[..., None], updates.tolist(), strict=True)
        of_steps = zip(*(numbers(optimizer.at(epoch), update) for epoch, update in steps), strict=True)
        columns = [np.stack([np.reshape(number, np.shape(number)[:1]) for number in column], -1) for column in of_steps]
    else:
        columns = [np.asarray(number) for number in numbers(optimizer.at(0.0), updates)]
    columns.append(np.asarray(l2))
    shape = np.broadcast_shapes(updates.shape, *(column.shape for column in columns))
    found = np.empty((*shape, len(columns)), dtype)
    for place, column in enumerate(columns):
        found[..., place] = column
    return found


def _optimizer_loops() -> dict[str, Callable[..., float]]:
    """Make the loops: one step of descent for rows of parameters that are ``step`` apart; the gradient has no gaps.

    ``s`` are numbers that :data:`NUMBERS` finds.
    """
    descend = compilable(equations.gradient_descent)
    with_momentum = compilable(equations.momentum_descent)
    adam_change, rmsprop_change = compilable(first_order.adam_change), compilable(first_order.rmsprop_change)
    adagrad_change = compilable(first_order.adagrad_change)

    def gradient_descent(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                theta[i] += descend(scalar, g, s[0])
        return 0.0

    def momentum(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                first[i] = with_momentum(scalar, g, first[i], s[0], s[1])
                theta[i] += first[i]
        return 0.0

    def nesterov(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                first[i] = with_momentum(scalar, g, first[i], s[0], s[1])
                theta[i] += with_momentum(scalar, g, first[i], s[0], s[1])
        return 0.0

    def adam(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                change, first[i], second[i] = adam_change(
                    scalar, g, first[i], second[i], s[0], s[1], s[2], s[3], s[4], s[5]
                )
                theta[i] += change
        return 0.0

    def adamw(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                change, first[i], second[i] = adam_change(
                    scalar, g, first[i], second[i], s[0], s[1], s[2], s[3], s[4], s[5]
                )
                theta[i] += change - s[6] * theta[i]
        return 0.0

    def rmsprop(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                change, first[i] = rmsprop_change(scalar, g, first[i], s[0], s[1], s[2], s[3])
                theta[i] += change
        return 0.0

    def adagrad(rows, columns, step, theta, gradient, first, second, l2, share, s):
        for row in range(rows):
            for i in range(row * step, row * step + columns):
                g = (gradient[i - row * (step - columns)] + l2 * theta[i]) * share
                change, first[i] = adagrad_change(scalar, g, first[i], s[0], s[1])
                theta[i] += change
        return 0.0

    return {loop.__name__: loop for loop in (gradient_descent, momentum, nesterov, adam, adamw, rmsprop, adagrad)}


def change_of(optimizer: Optimizer, dtype: str) -> int:
    """Give the address of an optimizer's loop, which leaves the shrinkage of a decayed optimizer to others."""
    return change_named((undecayed(optimizer) or optimizer).name, dtype)


@cache
def change_named(optimizer: str, dtype: str) -> int:
    """Give the address of an optimizer's loop: see :func:`_optimizer_loops`."""
    real = REAL[dtype]
    whole, numbers = types.intp, types.CPointer(real)
    kinds = (whole, whole, whole, numbers, numbers, numbers, numbers, real, real, numbers)
    return address_of_loop(_optimizer_loops()[optimizer], (dtype,), *kinds)
