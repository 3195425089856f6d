"""Checks of the arrays whose addresses are passed to compiled code, which reads and writes them unchecked.

Arguments of users are validated at the entry points, with better messages. These checks find what has been changed
since then: fitted attributes, a model read by another program, an estimator that several threads fit at once. They
compare shapes and types, but no strides: callers copy what is not contiguous.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState
from gpubp.nn.network import Network
from gpubp.optim.loss_scaling import LossScaleState


def check_epoch(
    network: Network,
    dtype: np.dtype,
    model: ModelState,
    batches: ArrayBatches | PerNetworkBatches,
    checked: Batch | None = None,
    factors: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Check the parameters, the optimizer's state, the samples and their order before compiled steps.

    Parameters
    ----------
    checked : Batch, optional
        Samples that have been checked before.
    factors : dict of str to (P,) or (K, P) array, optional
        Settings of the optimizer that have a number for each parameter.

    Raises
    ------
    ValueError
        If shapes or types do not belong together, or an index is out of range.
    """
    theta, samples = model.theta, batches.samples
    stack = theta.shape[:-1]
    check_array("theta", theta, (*stack, network.n_parameters), dtype)
    state = model.state
    if isinstance(state, LossScaleState):
        check_array("the loss scale", state.loss_scale, stack, dtype)
        check_array("the count of the loss scale", state.clean, stack, dtype)
        state = state.inner
    for part in state or ():
        if hasattr(part, "shape") and part.shape != ():
            check_array("the optimizer's state", part, theta.shape, dtype)
    for name, array in (factors or {}).items():
        check_array(name, array, (network.n_parameters,) if array.ndim == 1 else theta.shape, dtype)
    if samples is not checked:
        _check_samples(network, dtype, stack, batches)
    if batches.dropout is not None:
        _check_dropout(network, stack, batches.dropout)
    if isinstance(batches, ArrayBatches):
        if batches.order is not None:
            _check_indices("order", batches.order, samples.x.shape[-2])
            if batches.order.ndim > 1 and len(batches.order) != batches.epochs:
                raise ValueError(f"{len(batches.order)} orders for {batches.epochs} epochs")
    else:
        _check_networks(stack, batches)


def check_prediction(network: Network, theta: Array, x: Array) -> None:
    """Check parameters and samples before outputs are computed; raise ValueError if they do not fit the network."""
    check_array("theta", theta, (*theta.shape[:-1], network.n_parameters), theta.dtype)
    # samples that stay on the host are of another library than theta, which has dtypes of its own
    dtype = theta.dtype if type(x) is type(theta) else x.dtype
    check_array("x", x, (*x.shape[:-1], network.sizes[0]), dtype)


def _check_samples(
    network: Network, dtype: np.dtype, stack: tuple[int, ...], batches: ArrayBatches | PerNetworkBatches
) -> None:
    x, targets, weights, *_ = batches.samples
    n = x.shape[-2]
    check_array("x", x, (*stack[: x.ndim - 2], n, network.sizes[0]), dtype)
    if is_sparse(x):
        _check_sparse(x)
    check_array("targets", targets, (*stack[: targets.ndim - 2], n, network.sizes[-1]), dtype)
    if weights is not None:  # networks with rows of their own may share weights
        leading = stack[: weights.ndim - 1] if isinstance(batches, ArrayBatches) else weights.shape[:-1]
        check_array("sample_weight", weights, (*leading, n), dtype)


def _check_sparse(x: Any) -> None:
    """Check where the rows of sparse samples begin and end, and the columns of their values."""
    n_rows, n_columns = x.shape
    if x.indptr.shape != (n_rows + 1,) or x.indices.dtype != x.indptr.dtype or x.data.shape != x.indices.shape:
        raise ValueError("sparse samples must have a column for each value, and a beginning for each row")
    if x.indices.dtype not in ("int32", "int64"):
        raise ValueError(f"the columns of sparse samples must be int32 or int64, got {x.indices.dtype}")
    if x.indptr[0] < 0 or np.any(np.diff(x.indptr) < 0) or x.indptr[-1] > len(x.data):
        raise ValueError(f"the rows of sparse samples must be consecutive parts of {len(x.data)} values")
    _check_indices("the columns of sparse samples", x.indices, n_columns)


def _check_dropout(network: Network, stack: tuple[int, ...], dropout: Dropout) -> None:
    """Check the keys, and that there is a rate for each layer but the last."""
    shape, members = np.shape(dropout.key), () if network.n_members is None else (network.n_members,)
    networks = (*stack, *members)
    if shape not in ((), members, networks, (*(1 for _ in stack), *members)):
        raise ValueError(f"the dropout of networks {networks} must have one key, or one for each, got {shape}")
    if dropout.n_units != network.sizes[:-1] or len(dropout.rates) != len(dropout.n_units):
        raise ValueError(
            f"dropout must be of layers of {network.sizes[:-1]} units here, got {len(dropout.rates)} rates for "
            f"{dropout.n_units}"
        )


def _check_networks(stack: tuple[int, ...], batches: PerNetworkBatches) -> None:
    """Check where the rows of each network are."""
    order, starts, counts, weights_of = batches.order, batches.starts, batches.counts, batches.weights_of
    check_array("starts", starts, stack, starts.dtype)
    check_array("counts", counts, stack, counts.dtype)
    _check_indices("order", order, batches.samples.x.shape[-2])
    _check_indices("starts", starts, len(order))
    _check_indices("starts + counts", starts + counts, len(order) + 1)
    n_steps = np.unique(-(-counts // batches.size))
    if len(n_steps) != 1 or n_steps[0] < 1:
        raise ValueError(f"all networks must take as many steps, and at least one; got {n_steps.tolist()}")
    if weights_of is not None and batches.samples.sample_weight is not None:
        check_array("weights_of", weights_of, stack, weights_of.dtype)
        _check_indices("weights_of", weights_of, len(batches.samples.sample_weight))


def check_array(name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> None:
    """Check an array's shape and type; raise ValueError if they are others."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {dtype} of shape {shape} here, got {array.dtype} of shape {array.shape}")


def _check_indices(name: str, indices: np.ndarray, n: int) -> None:
    if not indices.size:
        return
    if indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integers from 0 to {n - 1}, got {indices.dtype}")
    low, high = indices.min(), indices.max()
    if low < 0 or high >= n:
        raise ValueError(f"{name} must hold integers from 0 to {n - 1}, got numbers from {low} to {high}")
