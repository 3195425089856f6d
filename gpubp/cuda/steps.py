"""Training steps on a CUDA device: where everything is, and what is launched in which order.

Nothing is allocated, copied or read back while steps are taken, and no number of the host goes into a launch that
changes from step to step: so they can be captured into a graph and replayed.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.batches import Batch
from gpubp.cuda.graphs import Graphs
from gpubp.cuda.rules import Update
from gpubp.cuda.source import Kernel, layers_of, source_of_step
from gpubp.network import Network, views
from gpubp.step import Objective

THREADS = 256  # of a block
COLUMNS = 32  # of them beside each other where they go through rows and columns
MOST_BLOCKS = 4096  # of a launch: each has its share of what is to be done
BLOCKS_THAT_COUNT = 256  # at most, where each leaves a number behind

Size = int | tuple[int, int]


class Work(NamedTuple):
    """What steps are to do: make an objective small in one precision; ``update`` is their rule, in C."""

    objective: Objective
    update: Update
    dtype: str


class Cut(NamedTuple):
    """How the cases of an epoch are cut: into steps of ``size`` cases, ``window`` of which are taken together.

    ``chosen`` tells whether a step's cases are gathered; else the only step has all, as they are.
    """

    size: int
    n_cases: int
    window: int
    chosen: bool

    @property
    def n_steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.n_cases // self.size)


class Steps:
    """Places on a device for an epoch's steps of one network, and the launches of these steps.

    ``thetas`` and ``parts`` are the parameters and the arrays of the rule's state, which the steps change.
    """

    def __init__(self, device: Any, work: Work, cases: Batch, cut: Cut) -> None:
        self.device, self.work, self.cut, self.cases = device, work, cut, cases
        network = work.objective.network
        self.network, self.n_parameters = network, network.n_parameters
        room: Callable[..., Array] = device.empty
        dtype, size = work.dtype, cut.size
        self.thetas, self.gradients = room((self.n_parameters,), dtype), room((self.n_parameters,), dtype)
        self.parts = [room((self.n_parameters,), dtype) for _ in work.update.parts]
        self.x, self.d, self.case_weights = cases[:3]
        if cut.chosen:
            self.x, self.d = (room((cut.window * size, part.shape[-1]), dtype) for part in cases[:2])
            self.case_weights = None if cases.case_weights is None else room((cut.window * size,), dtype)
        self.totals = [room((size, n), dtype) for n in network.sizes[1:]]
        self.outputs = [room((size, n), dtype) for n in network.sizes[1:-1]]
        self.begins = [size * n for n in accumulate((0, *network.sizes[1:]))]  # of the layers' signals
        self.signals, self.errors, self.share = room((self.begins[-1],), dtype), room((size,), dtype), room((1,), dtype)
        self.columns = device.upload(_columns(network, self.begins))
        self.l2, self.is_weight, self.squares = np.dtype(dtype).type(work.objective.l2), None, None
        if work.objective.l2:
            self.is_weight = device.upload(network.weight_mask().astype(np.uint8))
        self.n_counts = min(BLOCKS_THAT_COUNT, _blocks(self.n_parameters))
        if work.objective.l2 and work.objective.penalty_reported:
            self.squares = room((self.n_counts,), dtype)
        self.order, self.counter = room((cut.n_cases,), "int32"), room((1,), "int64")
        self.settings = room((cut.n_steps, 1, len(work.update.settings)), dtype)
        self.found = room((2 * cut.n_steps + self.n_counts,), "float64")
        self.layers = layers_of(network, dtype, weighed=cases.case_weights is not None)
        self.kernels = device.kernels(source_of_step(self.layers, work.update, dtype, mean=work.objective.mean))
        self.graphs = Graphs(device)

    def launches(self) -> Iterator[int]:
        """Take an epoch's steps, some in each launch of a graph; tell after each how many."""
        self.device.upload(np.zeros(1, np.int64), self.counter)
        whole, rest = divmod(self.cut.n_cases, self.cut.size)
        several, single = divmod(whole, self.cut.window)
        parts = [(self.cut.size, self.cut.window)] * several + [(self.cut.size, 1)] * single + [(rest, 1)] * (rest > 0)
        for b, n in parts:
            self.graphs.run((b, n), partial(self.take, b, n))
            yield n

    def take(self, b: int, n: int) -> None:
        """Take ``n`` steps of ``b`` cases each."""
        size = self.cut.size
        if self.cut.chosen:
            self._gather(b * n)
        for step in range(n):
            rows = slice(step * size, step * size + b)
            weights = None if self.case_weights is None else self.case_weights[rows]
            self._step(b, self.x[rows], self.d[rows], weights)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; give the values and weights of the steps, and whether all parameters are finite."""
        n = self.cut.n_steps
        self._over_parameters("count_not_finite", self.n_counts, self.thetas, self.found[2 * n :])
        found = self.device.download(self.found)
        return found[:n], found[n : 2 * n], np.asarray(not np.any(found[2 * n :]))

    def _gather(self, n_cases: int) -> None:
        n_inputs, n_outputs = self.network.sizes[0], self.network.sizes[-1]
        x, d, weights, *_ = self.cases
        places = (self.order, self.counter, x, d, weights, self.x, self.d, self.case_weights)
        threads = _threads(max(n_inputs, n_outputs))
        self._launch("gather", min(n_cases, MOST_BLOCKS), threads, n_cases, n_inputs, n_outputs, self.cut.size, *places)

    def _step(self, b: int, x: Array, d: Array, case_weights: Array | None) -> None:
        multiply, layers, sizes = self.device.multiply, self.layers, self.network.sizes
        n_layers = len(sizes) - 1
        blocks, gradients = (views(self.device.xp, self.network, all) for all in (self.thetas, self.gradients))
        weights, biases = zip(*map(self._weights_and_biases, blocks), strict=True)
        signals = [self._signals(k, b) for k in range(n_layers)]
        totals, outputs = [part[:b] for part in self.totals], [part[:b] for part in self.outputs]
        below = [x, *outputs]

        for k in range(n_layers):  # eq. (1) and (2)
            multiply(below[k], weights[k], totals[k])
            if k < n_layers - 1:
                self._over_units(layers.units[k], b, sizes[k + 1], biases[k], totals[k], outputs[k])
        places = (biases[-1], totals[-1], d, case_weights, signals[-1], self.errors)  # eq. (3), (4) and (5)
        self._over_units(layers.output, b, sizes[-1], *places)
        for k in range(n_layers - 1, -1, -1):  # eq. (6), (7) and (5)
            multiply(below[k], signals[k], self._weights_and_biases(gradients[k])[0], a_transposed=True)
            if k > 0:
                multiply(signals[k], weights[k], signals[k - 1], b_transposed=True)
                self._over_units(layers.slopes[k - 1], b, sizes[k], totals[k - 1], outputs[k - 1], signals[k - 1])
        if self.squares is not None:
            self._over_parameters("squares_of_weights", self.n_counts, self.thetas, self.is_weight, self.squares)
        self._sums(b, case_weights)
        changed = (self.gradients, self.thetas, *self.parts)
        counted = (self.counter, self.settings, self.share, self.l2, self.is_weight)
        self._over_parameters("update", min(_blocks(self.n_parameters), MOST_BLOCKS), *counted, *changed)

    def _sums(self, b: int, case_weights: Array | None) -> None:
        n_columns = len(self.columns)
        n_squares = 0 if self.squares is None else self.n_counts
        of_biases = (self.signals, self.columns, n_columns, self.gradients)
        of_cases = (self.errors, case_weights, self.squares, n_squares, type(self.l2)(0.5) * self.l2)
        places = (self.cut.n_steps, self.counter, self.found, self.share)
        self._launch("sums", -(-n_columns // COLUMNS) + 1, THREADS, b, *of_biases, *of_cases, *places)

    def _weights_and_biases(self, block: Array) -> tuple[Array, Array | None]:
        return (block[:-1], block[-1]) if self.network.bias else (block, None)

    def _signals(self, k: int, b: int) -> Array:
        n = self.network.sizes[k + 1]
        return self.signals[self.begins[k] : self.begins[k] + b * n].reshape((b, n))

    # --- launches ---

    def _over_units(self, kernel: Kernel, b: int, n: int, *places: Any) -> None:
        if kernel.case_by_case:
            self._launch(kernel.name, min(b, MOST_BLOCKS), _threads(n), b, n, *places)
            return
        rows = THREADS // COLUMNS
        blocks = (min(-(-n // COLUMNS), MOST_BLOCKS), min(-(-b // rows), MOST_BLOCKS))
        self._launch(kernel.name, blocks, (COLUMNS, rows), b, n, *places)

    def _over_parameters(self, name: str, blocks: int, *places: Any) -> None:
        self._launch(name, blocks, THREADS, self.n_parameters, *places)

    def _launch(self, name: str, blocks: Size, threads: Size, *arguments: Any) -> None:
        self.device.launch(self.kernels[name], blocks, threads, THREADS * self.thetas.itemsize, *arguments)


def _threads(n: int) -> int:
    """Count the threads for a row of ``n`` numbers: a power of two, since they add up in pairs."""
    return min(THREADS, max(COLUMNS, 1 << (n - 1).bit_length()))


def _blocks(n: int) -> int:
    return -(-n // THREADS)


def _columns(network: Network, begins: list[int]) -> np.ndarray:
    """Find for each bias where its signals begin, how far its cases are apart, and where its gradient goes: (n, 3)."""
    places = np.arange(network.n_parameters)
    columns = [np.empty((0, 3), np.int64)]
    for begin, block in zip(begins, views(np, network, places), strict=False):
        n = block.shape[1]
        if network.bias:
            columns.append(np.stack([begin + np.arange(n), np.full(n, n), block[-1]], axis=-1))
    return np.concatenate(columns).astype(np.int64)
