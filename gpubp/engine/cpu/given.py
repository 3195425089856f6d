"""Samples, their order and the keys of dropout, as the compiled engine is given them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.cpu.structures import address, in_rows
from gpubp.engine.plain.minibatches import ArrayBatches, PerNetworkBatches


class Given:
    """An array of samples, or none, in rows without gaps; or sparse samples."""

    def __init__(self, array: Any) -> None:
        parts = (array.data, array.indices, array.indptr) if is_sparse(array) else (array, None, None)
        self.arrays = [None if part is None else in_rows(part) for part in parts]
        self.address, self.columns, self.row_starts = map(address, self.arrays)

    def apart(self, ndim: int) -> int:
        """Return how far the samples of one network are from those of the next; one network's have ``ndim`` axes."""
        array = self.arrays[0]
        return 0 if array is None or array.ndim <= ndim else array[0].size


def sparse_bits(x: Any) -> int:
    """Return how many bits the numbers of the columns of sparse samples have; 0 if the samples are dense."""
    return 8 * x.indices.itemsize if is_sparse(x) else 0


def drops_sparse_inputs(batches: ArrayBatches | PerNetworkBatches) -> bool:
    """Return whether inputs of sparse samples are dropped, which is done before the engine is given them."""
    return is_sparse(batches.samples.x) and batches.dropout is not None and bool(batches.dropout.rates[0])


def with_inputs_dropped(batches: ArrayBatches) -> Iterator[ArrayBatches]:
    """Drop inputs of sparse samples, for a whole epoch at once; yield each epoch, whose dropout leaves the inputs."""
    for number in range(batches.epochs):
        epoch = batches.of_epoch(number)
        if epoch.n_samples < epoch.samples.x.shape[0]:
            epoch = epoch.in_order()
        positions = np.arange(epoch.samples.x.shape[0])
        if epoch.order is not None:
            positions[epoch.order] = np.arange(len(epoch.order))
        dropout = epoch.dropout
        assert dropout is not None
        x = dropout.drop_inputs(epoch.samples.x, positions + dropout.first_sample)
        others = replace(dropout, rates=(0.0, *dropout.rates[1:]))
        yield replace(epoch, samples=epoch.samples._replace(x=x), dropout=others if any(others.rates) else None)
