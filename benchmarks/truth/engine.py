"""The functions of the compiled engine, called one at a time with NumPy's arrays."""

import ctypes
from typing import Any, NamedTuple

import numpy as np

from gpubp.engine.cpu.settings import engine_update
from gpubp.engine.cpu.structures import functions_of


class Real(NamedTuple):
    """A number of the engine's precision, as an argument."""

    value: float


def _call(dtype: str, name: str, *arguments: Any) -> None:
    """Call a function of the engine with arrays (None is a NULL), :class:`Real` and whole numbers."""
    address = functions_of(dtype).find(name.encode())
    if address is None:
        raise KeyError(f"the engine has no function {name!r}")
    types, values = [], []
    for argument in arguments:
        if isinstance(argument, Real):
            types.append(ctypes.c_float if dtype == "float32" else ctypes.c_double)
            values.append(argument.value)
        elif isinstance(argument, int):
            types.append(ctypes.c_int64)
            values.append(argument)
        else:
            types.append(ctypes.c_void_p)
            values.append(None if argument is None else argument.ctypes.data)
    ctypes.CFUNCTYPE(None, *types)(address)(*values)


def _rows(*arrays):
    """Lay out arrays, one of each unit, as samples by units; a single one as one sample."""
    return np.ascontiguousarray(np.stack(arrays, axis=-1)) if len(arrays) > 1 else arrays[0][None].copy()


def value(dtype, name, parameter, *x):
    """Return the total inputs and the outputs of an activation, ``(b, j)`` each."""
    x = _rows(*x)
    y = np.empty_like(x)
    b, j = x.shape
    _call(dtype, f"value {name}", Real(parameter), b, j, j, x, y)
    return x, y


def derivative(dtype, name, parameter, x, dE):
    """Return derivatives at total inputs from those at outputs, ``(b, j)``."""
    x, y = value(dtype, name, parameter, *x)
    dE = _rows(*dE)
    b, j = x.shape
    _call(dtype, f"derivative {name}", Real(parameter), b, j, j, x, y, dE, j)
    return dE


def loss(dtype, name, parameter, x, y, targets):
    """Return the loss of each output and its derivative, ``(b, j)`` each; x or y is None where it is not read."""
    targets = _rows(*targets)
    x, y = (np.empty_like(targets) if array is None else _rows(*array) for array in (x, y))
    dE, losses = np.empty_like(targets), np.empty_like(targets)
    b, j = targets.shape
    _call(dtype, f"loss {name}", Real(parameter), b, j, j, x, y, targets, None, dE, losses)
    return losses, dE


def update(dtype, optimizer, state, theta, gradient, *arrays, rate_factors=None, decay_factors=None):
    """Return the new weights, and the new arrays of the optimizer's state."""
    found = engine_update(optimizer, dtype)
    settings = found.settings(state, np.zeros(1), np.dtype(dtype), 0.0)[0]
    theta, *parts = (array.copy() for array in (theta, *arrays))
    places, n = [*parts, *[None] * (2 - len(parts))], len(theta)
    numbers = (Real(0.0), Real(1.0))  # no penalty, and the gradient as it is
    places += [rate_factors, decay_factors]
    _call(dtype, f"update {found.name}", 1, n, n, theta, gradient, *places, *numbers, settings)
    return theta, *parts
