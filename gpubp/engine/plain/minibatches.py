"""Samples, and their division into batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend, choose_backend, to_backend
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup, Shard
from gpubp.engine.plain.compilation import can_compile, compiled
from gpubp.engine.plain.dropout import Dropout

DEFAULT_BATCH_SIZE = 200
"""The maximum number of samples in a batch if ``batch_size`` is "auto"."""


class Batch(NamedTuple):
    """Samples that one step trains on.

    Attributes
    ----------
    x : (..., b, i) array
    targets : (..., b, j) array
    sample_weight : (..., b) array, optional
    dropout_masks : tuple of (..., b, n) arrays or None
        One for the inputs and one for each hidden layer, None for a layer without dropout; empty without any dropout.
    sizes : int or (K,) array of NumPy, optional
        Number of samples, or of those of each network of a stack, if samples of weight 0 follow them as padding.
    shard : Shard, optional
        The part of the whole batch that this is, if several processes share it.
    total_weight : float or (...) array, optional
        The sum of the sample weights, if it is known.
    """

    x: Array
    targets: Array
    sample_weight: Array | None = None
    dropout_masks: tuple[Array | None, ...] = ()
    sizes: int | np.ndarray | None = None
    shard: Shard | None = None
    total_weight: Any = None

    @property
    def arrays(self) -> "Batch":
        """The batch without the facts that a step does not need."""
        return Batch(*self[:4], total_weight=self.total_weight)

    def parts(self, n: int) -> Iterator["Batch"]:
        """Divide the samples into ``n`` parts; fewer if there are fewer samples, one if there is no sample."""
        n_samples = self.x.shape[-2]
        size = max(1, -(-n_samples // n))
        if size >= n_samples:
            yield self
            return
        for start in range(0, n_samples, size):
            yield self.of(slice(start, min(start + size, n_samples)))  # the standard has no slices beyond the end

    def of(self, rows: slice) -> "Batch":
        """Return consecutive samples."""
        weights = None if self.sample_weight is None else self.sample_weight[..., rows]
        masks = tuple(None if mask is None else mask[..., rows, :] for mask in self.dropout_masks)
        return Batch(self.x[..., rows, :], self.targets[..., rows, :], weights, masks)

    def with_dropout(self, backend: Backend, dropout: Dropout | None, start: int) -> "Batch":
        """Return the batch with its masks; ``start`` is where the whole batch begins, as in :meth:`Dropout.apply`."""
        if dropout is None:
            return self
        x, masks = dropout.apply(backend, self.x, start + (0 if self.shard is None else self.shard.start))
        return self._replace(x=x, dropout_masks=masks)


Batches = Iterable[tuple[Any, Batch]]
"""The batches of one epoch, each with the fraction of the epoch that is done before it, a number or ``(K, 1)``; see
:func:`epochs_of`."""


class EpochInParts(Protocol):
    """The batches of one epoch in parts; each part is run in one call."""

    def __iter__(self) -> Iterator[Batches]:
        """Iterate over the parts."""

    def after(self, n: int) -> "EpochInParts":
        """Return the epoch without its first ``n`` parts, which need not be computed."""


def epochs_of(batches: Batches) -> int:
    """Return the number of epochs that the batches are for: 1, unless they have an attribute ``epochs``."""
    return getattr(batches, "epochs", 1)


def remaining_parts(batches: Batches | EpochInParts, done: int) -> Iterable[Batches]:
    """Return the parts of an epoch after the first ``done``; batches without parts are a single part."""
    if hasattr(batches, "after"):  # isinstance takes ten times as long as a small step for a protocol
        return batches.after(done)
    return (batches,)


def total_weight(xp: Namespace, batch: Batch) -> Array:
    """Return the total weight of a batch, ``(...)``; without weights, the number of samples as a float."""
    if batch.total_weight is not None:
        return batch.total_weight
    return float(batch.x.shape[-2]) if batch.sample_weight is None else xp.sum(batch.sample_weight, axis=-1)


@dataclass(frozen=True)
class ArrayBatches:
    """Samples in arrays, divided into batches of ``size``; the last batch may be smaller.

    Where steps are compiled for each shape, samples of weight 0 make it as large as the others.

    ``order`` is a NumPy array of row indices, or None for the order of the arrays. The batches are for ``epochs``
    epochs, all in the same order or each in its own, ``(epochs, n)``; iterating gives the batches of one epoch. x may
    be sparse. If the samples are ``on_host``, they are NumPy arrays and are copied to the backend batch by batch. These
    batches are a ``fraction`` of the epoch, 0 if unknown, and follow after ``fraction_done`` of it. Each process takes
    its shard of every batch. ``dropout`` is that of the first epoch and the first sample. With ``keeps_thetas`` the
    parameters after each epoch are wanted.
    """

    backend: Backend
    samples: Batch
    size: int
    order: np.ndarray | None = None
    epochs: int = 1
    on_host: bool = False
    fraction_done: float = 0.0
    fraction: float = 1.0
    processes: ProcessGroup = SINGLE_PROCESS
    dropout: Dropout | None = None
    keeps_thetas: bool = False

    @property
    def n_samples(self) -> int:
        """The number of samples in the epoch, or in this part of it."""
        return int(self.samples.x.shape[-2]) if self.order is None else self.order.shape[-1]

    def in_order(self) -> "ArrayBatches":
        """Return the same batches of samples that are copied in their order."""
        x, targets, weights, *_ = self.samples
        xp, rows = self.backend.xp, self.order
        if rows is None:
            return self
        in_order = Batch(
            take_rows(xp, x, rows),
            take_rows(xp, targets, rows),
            None if weights is None else xp.take(weights, rows, axis=-1),
        )
        return replace(self, samples=in_order, order=None)

    def of_epoch(self, number: int) -> "ArrayBatches":
        """Return the batches of one of the epochs."""
        order = self.order if self.order is None or self.order.ndim == 1 else self.order[number]
        dropout = None if self.dropout is None else self.dropout.at(epoch=number)
        return replace(self, order=order, epochs=1, dropout=dropout)

    def __iter__(self) -> Iterator[tuple[float, Batch]]:
        storage = choose_backend("cpu") if self.on_host else self.backend
        for step, (part, batch) in enumerate(self._divide(storage)):
            if self.on_host:
                x, targets, weights = (
                    array if array is None else to_backend(self.backend, array) for array in batch[:3]
                )
                batch = batch._replace(x=x, targets=targets, sample_weight=weights)
            yield part, batch.with_dropout(self.backend, self.dropout, step * self.size)

    def _divide(self, storage: Backend) -> Iterator[tuple[float, Batch]]:
        """Divide the samples, without moving them between host and device."""
        xp, (x, targets, weights, *_), n_samples = storage.xp, self.samples, self.n_samples
        if self.processes.world_size == 1 and self.order is None and self.size >= n_samples:
            yield self.fraction_done, self.samples
            return
        _, fractions = divide_epoch(n_samples, self.size, self.fraction_done, self.fraction)
        order = self.order
        if order is not None and not (storage.is_numpy or is_sparse(x)):
            order = to_backend(storage, order, "int32" if x.shape[-2] < 2**31 else "int64")
        compiles = can_compile(storage) and not is_sparse(x)
        is_padded = compiles and self.processes.world_size == 1 and n_samples % min(self.size, n_samples) > 0
        for start, fraction in zip(range(0, n_samples, self.size), fractions.tolist(), strict=True):
            shard = self.processes.shard(min(start + self.size, n_samples) - start)
            rows, sizes, total = slice(start + shard.start, start + shard.stop), None, None
            if compiles:
                n = rows.stop - rows.start
                rows_from = compiled(storage, _rows_from, self.size if is_padded else n, is_padded)
                copied = rows_from(x, targets, weights, order, rows.start, rows.stop)
                x_part, targets_part, weights_part, total = copied
                if is_padded:
                    sizes, total = n, float(n) if total is None else total
            elif order is None:
                x_part = x[rows] if is_sparse(x) else x[..., rows, :]
                targets_part = targets[..., rows, :]
                weights_part = None if weights is None else weights[..., rows]
            else:
                row_numbers = order[rows]
                x_part = take_rows(xp, x, row_numbers)
                if is_sparse(x):  # the numbers of its rows stay on the host
                    row_numbers = to_backend(storage, row_numbers)
                targets_part = take_rows(xp, targets, row_numbers)
                weights_part = None if weights is None else xp.take(weights, row_numbers, axis=-1)
            yield fraction, Batch(x_part, targets_part, weights_part, (), sizes, shard, total)


def _rows_from(
    xp: Namespace,
    n: int,
    is_padded: bool,
    x: Array,
    targets: Array,
    weights: Array | None,
    order: Array | None,
    start: int,
    stop: int,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Copy ``n`` rows of each array, in an order; compiled, it is the same for each ``start``.

    If the rows may end before that, the last one is repeated, with weight 0. Also returns the total of given weights.
    """
    positions = start + xp.arange(n)
    last = xp.minimum(positions, stop - 1)
    rows = last if order is None else xp.take(order, last)
    part = None if weights is None else xp.take(weights, rows, axis=-1)
    if is_padded:
        is_sample = positions < stop
        part = xp.astype(is_sample, x.dtype) if part is None else xp.where(is_sample, part, 0.0)
    total = None if weights is None else xp.sum(part, axis=-1)
    return xp.take(x, rows, axis=-2), xp.take(targets, rows, axis=-2), part, total


def take_rows(xp: Namespace, array: Array, rows: Array) -> Array:
    """Copy rows ``(..., n, k)`` by number; NumPy's ``take`` would first copy an array in Fortran order as a whole."""
    if is_sparse(array):
        return array[rows]
    if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
        return np.ascontiguousarray(array[..., rows, :])
    return xp.take(array, rows, axis=-2)


@dataclass(frozen=True)
class BatchesInParts:
    """Batches of an epoch in parts of ``n_steps`` batches, starting with part ``first``; the batches are unchanged.

    The last part includes the remainder, so that no part is smaller than the others.
    """

    batches: ArrayBatches
    n_steps: int
    first: int = 0

    def __iter__(self) -> Iterator[ArrayBatches]:
        n_samples, part_size = self.batches.n_samples, self.n_steps * self.batches.size
        order = np.arange(n_samples) if self.batches.order is None else self.batches.order
        n_parts = max(1, n_samples // part_size)
        for part in range(self.first, n_parts):
            rows = order[part * part_size : None if part == n_parts - 1 else (part + 1) * part_size]
            fraction_done = self.batches.fraction_done + self.batches.fraction * (part * part_size / n_samples)
            dropout = self.batches.dropout
            yield replace(
                self.batches,
                order=rows,
                fraction_done=fraction_done,
                fraction=self.batches.fraction * (len(rows) / n_samples),
                dropout=None if dropout is None else dropout.at(sample=part * part_size),
            )

    def after(self, n: int) -> "BatchesInParts":
        """Return the epoch without its first ``n`` parts."""
        return replace(self, first=self.first + n)


class Orders:
    """Draws the order of the samples in each epoch, and remembers the generator's previous state."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.before_last_draw = self.state()

    def draw(self, n_samples: int) -> np.ndarray:
        """Draw the order of the next epoch."""
        self.before_last_draw = self.state()
        return self.generator.permutation(n_samples)

    def draw_seed(self) -> tuple[int, ...]:
        """Draw a seed for the order of the next epoch."""
        self.before_last_draw = self.state()
        return tuple(self.generator.integers(2**32, size=2).tolist())

    def state(self, *, before_last_draw: bool = False) -> dict[str, Any]:
        """Return the generator's present state as JSON, or the state before the last draw."""
        return self.before_last_draw if before_last_draw else _as_json(self.generator.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of the generator."""
        self.generator.bit_generator.state = state


def _as_json(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _as_json(part) for name, part in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def divide_epoch(
    n_samples: Any, size: int, fraction_done: float = 0.0, fraction: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each step of an epoch or of a part of it, its number of samples and the fraction of the epoch done.

    The number of samples in an epoch is whole, so the fraction before a step does not depend on how the epoch is
    divided into parts.

    Parameters
    ----------
    n_samples : int or (K,) array of NumPy
    size : int
    fraction_done, fraction : float
        See :class:`ArrayBatches`.

    Returns
    -------
    two (n_steps,) or (n_steps, K) arrays of NumPy
        A network that has fewer steps than others has 0 samples in the last ones.
    """
    starts = np.arange(0, np.max(n_samples), size)
    starts = np.reshape(starts, (-1, *(1,) * np.ndim(n_samples)))
    if fraction == 0.0:  # the number of samples in the epoch is unknown
        return np.clip(n_samples - starts, 0, size), np.full(starts.shape, fraction_done)
    epoch_size = np.rint(n_samples / fraction)
    return np.clip(n_samples - starts, 0, size), (np.rint(fraction_done * epoch_size) + starts) / epoch_size


@dataclass(frozen=True)
class PerNetworkBatches:
    """Batches for a stack whose networks each train on their own rows of the samples, in their own order.

    All networks take the same number of steps in an epoch. Only the batches are copied.

    Attributes
    ----------
    backend : Backend
    samples : Batch
        ``(n, i)``, ``(n, j)``; sample weights are ``(n,)``, or ``(w, n)`` if they differ between networks.
    size : int
        The maximum number of samples in a batch.
    order : (m,) array of NumPy
        Rows of the samples: the orders of all networks, concatenated; networks may share an order.
    starts, counts : (K,) arrays of NumPy
        Where in ``order`` the rows of each network start, and how many it has.
    weights_of : (K,) array of NumPy, optional
        Which of the ``w`` rows of sample weights each network has; by default, the first.
    dropout : Dropout, optional
        That of the epoch, with a key for each network.
    """

    backend: Backend
    samples: Batch
    size: int
    order: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    weights_of: np.ndarray | None = None
    dropout: Dropout | None = None

    # as of an ArrayBatches that is a whole epoch, on the backend
    epochs: ClassVar[int] = 1
    on_host: ClassVar[bool] = False
    fraction_done: ClassVar[float] = 0.0
    fraction: ClassVar[float] = 1.0

    @property
    def n_samples(self) -> Any:
        """Number of samples of each network: one number if it is the same for all, else ``(K,)``."""
        return int(self.counts[0]) if np.all(self.counts == self.counts[0]) else self.counts

    def rows_of_networks(self) -> np.ndarray:
        """Return how many samples each network has, and where in the order and in the sample weights its own begin."""
        begins, weights = np.zeros_like(self.starts), self.samples.sample_weight
        if self.weights_of is not None and weights is not None:
            begins = self.weights_of * weights.shape[-1]
        return np.stack([self.counts, self.starts, begins], axis=1).astype(np.int64)

    def __iter__(self) -> Iterator[tuple[Any, Batch]]:
        sizes, parts = divide_epoch(self.n_samples, self.size)
        for step, (step_sizes, part) in enumerate(zip(sizes, parts, strict=True)):
            positions = step * self.size + np.arange(np.max(step_sizes))
            indices = self.starts[:, None] + np.minimum(positions, self.counts[:, None] - 1)
            is_sample = None if step_sizes.ndim == 0 else positions < self.counts[:, None]
            batch = self._batch(self.order[indices], is_sample)
            if step_sizes.ndim:
                batch, part = batch._replace(sizes=step_sizes), part[:, None]
            yield part, batch.with_dropout(self.backend, self.dropout, step * self.size)

    def _batch(self, rows: np.ndarray, is_sample: np.ndarray | None) -> Batch:
        """Gather rows ``(K, b)``; rows of padding have weight 0."""
        xp, (x, targets, weights, *_) = self.backend.xp, self.samples

        def take(array: Array, rows: np.ndarray) -> Array:
            index = to_backend(self.backend, rows.reshape(-1), "int64")
            return xp.reshape(xp.take(array, index, axis=0), (*rows.shape, *array.shape[1:]))

        sample_weight = None
        if weights is not None:
            first = 0 if self.weights_of is None else self.weights_of[:, None] * weights.shape[-1]
            sample_weight = take(xp.reshape(weights, (-1,)), rows + first)
        if is_sample is not None:
            not_padding = to_backend(self.backend, is_sample, str(x.dtype).rpartition(".")[2])
            sample_weight = not_padding if sample_weight is None else sample_weight * not_padding
        return Batch(take(x, rows), take(targets, rows), sample_weight)
