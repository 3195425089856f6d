"""Dropout (Srivastava et al. 2014): during training, random units are set to 0, different ones for each sample.

The outputs of the other units are scaled up accordingly, so that predictions need no change.
"""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import numpy as np
import scipy
import scipy.sparse

from gpubp.backends.backend import Backend, to_backend
from gpubp.backends.sparse_matmul import NUMBERS_AT_ONCE
from gpubp.engine.plain.minibatches import Batch, Batches
from gpubp.errors import DataError
from gpubp.nn.network import Network


def dropout_rates(network: Network, dropout: float | Sequence[float]) -> tuple[float, ...]:
    """Return the dropout rate of the inputs and of each hidden layer.

    Parameters
    ----------
    dropout : float or sequence of float
        One number is for every hidden layer, with all inputs kept. A sequence has a rate for each hidden layer,
        optionally preceded by one for the inputs.

    Returns
    -------
    tuple of float
        One rate per layer, inputs first; empty if all are 0.

    Raises
    ------
    DataError
        If there are more or fewer numbers, or one is not from 0 to below 1.

    Examples
    --------
    >>> dropout_rates(Network((4, 8, 8, 3)), 0.5)
    (0.0, 0.5, 0.5)
    """
    n_hidden = len(network.sizes) - 2
    rates: list[Any] = [0.0] + [dropout] * n_hidden if isinstance(dropout, Real) else list(dropout)  # type: ignore[arg-type]
    if len(rates) == n_hidden:
        rates = [0.0, *rates]
    if len(rates) != n_hidden + 1:
        raise DataError(
            f"dropout must be one number, {n_hidden} (one for each hidden layer) or {n_hidden + 1} (the inputs first), "
            f"got {dropout!r}"
        )
    if not all(isinstance(rate, Real) and 0.0 <= float(rate) < 1.0 for rate in rates):
        raise DataError(f"dropout must be from 0 to below 1, the fraction of units that is dropped, got {dropout!r}")
    return tuple(map(float, rates)) if any(rates) else ()


def with_dropout(
    backend: Backend,
    network: Network,
    rates: tuple[float, ...],
    generator: np.random.Generator | np.random.RandomState,
    batches: Batches,
) -> Iterator[tuple[float, Batch]]:
    """Yield each batch with its masks, drawn on the host so that every device has the same ones.

    Parameters
    ----------
    rates : tuple of float
        The result of :func:`dropout_rates`.
    """
    for part, batch in batches:
        shape, rows = batch.x.shape[:-1], slice(None)
        if batch.shard is not None:  # the masks are those of the whole batch
            shape, rows = (*shape[:-1], batch.shard.n), batch.shard.rows
        masks_of_inputs: list[Any] = []
        if scipy.sparse.issparse(batch.x):
            batch, masks_of_inputs = batch._replace(x=_drop_sparse(batch.x, rates[0], generator, shape[0], rows)), [1.0]
        masks = [mask[..., rows, :] for mask in draw_masks(network, rates, generator, shape, len(masks_of_inputs))]
        dtype = str(batch.x.dtype).rpartition(".")[2]
        on_device = [to_backend(backend, mask, dtype) for mask in masks]
        yield part, batch._replace(dropout_masks=(*masks_of_inputs, *on_device))


def draw_masks(
    network: Network,
    rates: tuple[float, ...],
    generator: np.random.Generator | np.random.RandomState,
    shape: tuple[int, ...],
    first: int = 0,
) -> list[np.ndarray]:
    """Draw the factors of the inputs and of the units of each hidden layer, from layer ``first``: ``(*shape, n)``."""
    return [
        (generator.random((*shape, n_units)) >= rate) / (1.0 - rate)
        for n_units, rate in zip(network.sizes[first:-1], rates[first:], strict=True)
    ]


def _drop_sparse(
    x: Any, rate: float, generator: np.random.Generator | np.random.RandomState, n_samples: int, shard: slice
) -> Any:
    """Apply the factors of the inputs to sparse samples: those that dense samples get, drawn in parts.

    ``shard`` are the rows of x among the ``n_samples`` of the whole batch.
    """
    begin, _, _ = shard.indices(n_samples)
    factors = np.ones_like(x.data)
    at_once = max(1, NUMBERS_AT_ONCE // x.shape[1])
    for start in range(0, n_samples, at_once):
        drawn = generator.random((min(at_once, n_samples - start), x.shape[1]))
        first, last = (min(max(row - begin, 0), x.shape[0]) for row in (start, start + len(drawn)))
        places = slice(x.indptr[first], x.indptr[last])
        rows = np.repeat(np.arange(first, last) + begin - start, np.diff(x.indptr[first : last + 1]))
        factors[places] = (drawn[rows, x.indices[places]] >= rate) / (1.0 - rate)
    return type(x)((x.data * factors, x.indices, x.indptr), shape=x.shape)
