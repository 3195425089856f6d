"""Checks of the arrays whose addresses are passed to compiled code, which reads and writes them unchecked.

Arguments of users are validated at the entry points, with better messages. These checks find what has been changed
since then: fitted attributes, a model read by another program, an estimator that several threads fit at once.
"""

from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.plain.minibatches import ArrayBatches, PerNetworkBatches
from gpubp.engine.plain.step import ModelState
from gpubp.nn.network import Network


def check_epoch(network: Network, dtype: str, model: ModelState, batches: ArrayBatches | PerNetworkBatches) -> None:
    """Check the parameters, the optimizer's state, the samples and their order before compiled steps.

    Raises
    ------
    ValueError
        If shapes or types do not belong together, or an index is out of range.
    """
    theta = model.theta
    _check("theta", theta, (*theta.shape[:-1], network.n_parameters), dtype)
    for name, part in zip(getattr(model.state, "_fields", ()), model.state or (), strict=False):
        if np.ndim(part):
            _check(f"the optimizer's {name}", part, theta.shape, dtype)
    x, targets, weights, *_ = batches.samples
    stack, n = theta.shape[:-1], x.shape[-2]
    _check("x", x, (*_own(x, stack), n, network.sizes[0]), dtype)
    _check("targets", targets, (*_own(targets, stack), n, network.sizes[-1]), dtype)
    if isinstance(batches, ArrayBatches):
        if weights is not None:
            _check("sample_weight", weights, (*(stack if weights.ndim > 1 else ()), n), dtype)
        if batches.order is not None:
            _check_indices("order", batches.order, n)
            if batches.order.ndim > 1 and len(batches.order) != batches.epochs:
                raise ValueError(f"{len(batches.order)} orders for {batches.epochs} epochs")
        return
    _check("begins", batches.begins, stack, None)
    _check("counts", batches.counts, stack, None)
    _check_indices("order", batches.order, n)
    _check_indices("begins", batches.begins, len(batches.order))
    _check_indices("begins + counts", batches.begins + batches.counts, len(batches.order) + 1)
    if weights is not None:
        _check("sample_weight", weights, (*weights.shape[:-1], n), dtype)
        if batches.weights_of is not None:
            _check("weights_of", batches.weights_of, stack, None)
            _check_indices("weights_of", batches.weights_of, len(weights))


def check_prediction(network: Network, theta: Array, x: Array) -> None:
    """Check parameters and samples before outputs are computed; raise ValueError if they do not fit the network."""
    dtype = _name(theta.dtype)
    _check("theta", theta, (*theta.shape[:-1], network.n_parameters), dtype)
    _check("x", x, (*x.shape[:-1], network.sizes[0]), dtype)


def _own(array: Array, stack: tuple[int, ...]) -> tuple[int, ...]:
    """Return the leading dimensions of an array that is shared by a stack, or has a part for each network."""
    return () if array.ndim == 2 else stack


def _name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def _check(name: str, array: Array, shape: tuple[int, ...], dtype: str | None) -> None:
    if array.shape != shape or (dtype is not None and _name(array.dtype) != dtype):
        expected = f"{shape}" if dtype is None else f"{dtype} of shape {shape}"
        raise ValueError(f"{name} must be {expected} here, got {_name(array.dtype)} of shape {tuple(array.shape)}")


def _check_indices(name: str, indices: np.ndarray, n: int) -> None:
    if indices.size and not (indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() < n):
        raise ValueError(f"{name} must hold integers from 0 to {n - 1}, got {indices.dtype} that exceed them")
