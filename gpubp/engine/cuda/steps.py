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
from gpubp.engine.cuda.feeding import Feed
from gpubp.engine.cuda.graphs import Graphs
from gpubp.engine.cuda.optimizers import Update
from gpubp.engine.cuda.source import Kernel, layers_of, source_of_step
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective
from gpubp.nn.network import Network, views

THREADS = 256  # of a block
COLUMNS = 32  # of them beside each other where they go through rows and columns
MOST_BLOCKS = 4096  # of a launch: each has its share of what is to be done
BLOCKS_THAT_COUNT = 256  # at most, where each leaves a number behind

NDIM = (2, 2, 1)  # of x, d and weights, where all networks have the same

Size = int | tuple[int, ...]


class Work(NamedTuple):
    """What steps are to do: make an objective small in one precision; ``update`` is their optimizer, in C."""

    objective: Objective
    update: Update
    dtype: str


class Cut(NamedTuple):
    """How the samples of an epoch, or of a part of one, are cut: into steps of ``size`` samples.

    So many steps as a ``window`` has are taken together.

    ``chosen`` tells whether a step's samples are gathered, ``from_host`` whether they are on the host; else the only
    step has all, as they are.
    """

    size: int
    n_samples: int
    window: int
    chosen: bool
    from_host: bool = False

    @property
    def n_steps(self) -> int:
        """How many steps an epoch has."""
        return -(-self.n_samples // self.size)


class Steps:
    """Places on a device for the steps of one network, or of a stack of them, and the launches of these steps.

    ``thetas`` and ``parts`` are the parameters ``(..., P)`` and the arrays of the optimizer's state, which the steps
    change.
    """

    def __init__(self, device: Any, work: Work, stack: tuple[int, ...], samples: Batch, cut: Cut) -> None:
        self.device, self.work, self.stack, self.cut, self.samples = device, work, stack, cut, samples
        network, dtype, size = work.objective.network, work.dtype, cut.size
        self.network, self.n_networks, self.n_parameters = network, int(np.prod(stack, dtype=int)), network.n_parameters
        room: Callable[..., Array] = partial(device.empty, dtype=dtype)
        self.thetas, self.gradients = (room((*stack, self.n_parameters)) for _ in range(2))
        self.parts = [room((*stack, self.n_parameters)) for _ in work.update.parts]
        self.given: list[Array | None] = list(samples[:3])  # x, d and weights, as the steps see them
        if cut.chosen:
            self.given = [self._room_for_window(part, ndim) for part, ndim in zip(samples[:3], NDIM, strict=True)]
        self.feed = Feed(device, samples, self.given) if cut.from_host else None
        rows = self.n_networks * size
        self.totals = [room((rows * n,)) for n in network.sizes[1:]]
        self.outputs = [room((rows * n,)) for n in network.sizes[1:-1]]
        self.begins = [rows * n for n in accumulate((0, *network.sizes[1:]))]  # of the layers' signals
        self.signals, self.errors, self.share = room((self.begins[-1],)), room((rows,)), room((self.n_networks,))
        self.columns = device.upload(_columns(network, self.begins))
        self.l2, self.is_weight, self.squares = np.dtype(dtype).type(work.objective.l2), None, None
        if work.objective.l2:
            self.is_weight = device.upload(network.weight_mask().astype(np.uint8))
        self.n_counts = min(BLOCKS_THAT_COUNT, _blocks(self.n_parameters))  # for each network
        if work.objective.l2 and work.objective.penalty_reported:
            self.squares = room((self.n_networks * self.n_counts,))
        self.order = device.empty((cut.n_samples,), "int32")
        self.counter = device.empty((self.n_networks,), "int64")
        self.layers = layers_of(network, dtype, weighed=samples.sample_weight is not None)
        self.kernels = device.kernels(
            source_of_step(self.layers, work.update, dtype, mean=work.objective.reduction == "mean")
        )
        self.most_steps = 0
        self.settings: Array

    def _room_for_window(self, part: Array | None, ndim: int) -> Array | None:
        if part is None:
            return None
        own, of_sample = part.shape[: part.ndim - ndim], part.shape[part.ndim - ndim + 1 :]
        place: Array = self.device.empty((*own, self.cut.window * self.cut.size, *of_sample), self.work.dtype)
        return place

    def make_room(self, n_epochs: int, n_own: int) -> None:
        """Prepare for the steps of some epochs; ``n_own`` networks have settings of their own, or 1 for all."""
        self.n_epochs, n_steps = n_epochs, n_epochs * self.cut.n_steps
        if n_steps > self.most_steps or self.settings.shape[1] != n_own:
            self.most_steps = max(n_steps, self.most_steps)
            self.settings = self.device.empty((self.most_steps, n_own, len(self.work.update.settings)), self.work.dtype)
            n_found = (2 * self.most_steps + self.n_counts) * self.n_networks
            self.found = self.device.empty((n_found,), "float64")
            self.graphs = Graphs(self.device)  # those before have the places before

    def launches(self) -> Iterator[int]:
        """Take the steps of the epochs, some in each launch of a graph; tell after each how many."""
        self.device.upload(np.zeros(self.n_networks, np.int64), self.counter)
        whole, rest = divmod(self.cut.n_samples, self.cut.size)
        several, single = divmod(whole, self.cut.window)
        parts = [(self.cut.size, self.cut.window)] * several + [(self.cut.size, 1)] * single + [(rest, 1)] * (rest > 0)
        for _ in range(self.n_epochs):
            for b, n in parts:
                if self.feed is not None:
                    self.feed.bring(b * n)
                self.graphs.run((b, n), partial(self.take, b, n))
                yield n

    def take(self, b: int, n: int) -> None:
        """Take ``n`` steps of ``b`` samples each."""
        size = self.cut.size
        if self.cut.chosen and self.feed is None:
            for part, to, ndim in zip(self.samples[:3], self.given, NDIM, strict=True):
                self._gather(b * n, part, to, ndim)
        x, targets, weights = self.given
        assert x is not None
        for step in range(n):
            rows = slice(step * size, step * size + b)
            of_step = None if weights is None else _of_first(weights, 1)[rows]
            self._step(b, x[..., rows, :], _of_first(targets, 2)[rows], of_step)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; give the values and weights of the steps, and whether all parameters are finite."""
        n, most, n_networks = self.n_epochs * self.cut.n_steps, self.most_steps, self.n_networks
        counts = self.found[2 * most * n_networks :]
        self._over_parameters("count_not_finite", self.n_counts, self.thetas, counts)
        found = np.reshape(self.device.download(self.found), (-1, *self.stack))
        finite = np.reshape(found[2 * most :], (*self.stack, self.n_counts)) == 0.0
        weights = found[most : most + n]
        return found[:n], one_for_all(weights, self.samples) if self.stack else weights, np.all(finite, axis=-1)

    def _gather(self, n_chosen: int, part: Array | None, to: Array | None, ndim: int) -> None:
        if part is None:
            return
        assert to is not None
        n = 1 if ndim == 1 else part.shape[-1]
        blocks = (min(n_chosen, MOST_BLOCKS), 1, 1 if part.ndim == ndim else self.n_networks)
        counted = (self.cut.size, self.cut.n_steps, self.order, self.counter)
        n_samples = self.samples.x.shape[-2]  # of which those in the order may be a part
        places = (part, n_samples, to, self.cut.window * self.cut.size)
        self._launch("gather", blocks, _threads(n), n_chosen, n, *counted, *places)

    def _step(self, b: int, x: Array, targets: Array, sample_weight: Array | None) -> None:
        """Take a step; of d and of the weights those of the first network are given."""
        multiply, layers, sizes = self.device.multiply, self.layers, self.network.sizes
        n_layers = len(sizes) - 1
        blocks, gradients = (views(self.device.xp, self.network, all) for all in (self.thetas, self.gradients))
        weights = [self._weights(block) for block in blocks]
        # those of the first network, from which kernels count on
        biases = [_of_first(block, 2)[-1] if self.network.bias else None for block in blocks]
        signals = [self._rows(self.signals[begin:], b, n) for begin, n in zip(self.begins, sizes[1:], strict=False)]
        totals = [self._rows(part, b, n) for part, n in zip(self.totals, sizes[1:], strict=True)]
        outputs = [self._rows(part, b, n) for part, n in zip(self.outputs, sizes[1:-1], strict=True)]
        below, n_parameters = [x, *outputs], self.n_parameters
        d_apart, weights_apart = (apart(part, ndim) for part, ndim in zip(self.given[1:], NDIM[1:], strict=True))

        for k in range(n_layers):  # eq. (1) and (2)
            multiply(below[k], weights[k], totals[k])
            if k < n_layers - 1:
                self._over_units(layers.units[k], b, sizes[k + 1], biases[k], n_parameters, totals[k], outputs[k])
        given = (targets, d_apart, sample_weight, weights_apart)  # eq. (3), (4) and (5)
        places = (biases[-1], n_parameters, totals[-1], *given, signals[-1], self.errors)
        self._over_units(layers.output, b, sizes[-1], *places)
        for k in range(n_layers - 1, -1, -1):  # eq. (6), (7) and (5)
            multiply(below[k], signals[k], self._weights(gradients[k]), a_transposed=True)
            if k > 0:
                multiply(signals[k], weights[k], signals[k - 1], b_transposed=True)
                self._over_units(layers.slopes[k - 1], b, sizes[k], totals[k - 1], outputs[k - 1], signals[k - 1])
        if self.squares is not None:
            self._over_parameters("squares_of_weights", self.n_counts, self.thetas, self.is_weight, self.squares)
        self._sums(b, sample_weight, weights_apart)
        n_own, n_settings = self.settings.shape[1:]
        settings = (self.settings, n_own * n_settings, n_settings if n_own > 1 else 0)
        counted = (self.counter, *settings, self.share, self.l2, self.is_weight)
        changed = (self.gradients, self.thetas, *self.parts)
        self._over_parameters("update", min(_blocks(n_parameters), MOST_BLOCKS), *counted, *changed)

    def _sums(self, b: int, sample_weight: Array | None, weights_apart: int) -> None:
        n_columns = len(self.columns)
        n_squares = 0 if self.squares is None else self.n_counts
        of_biases = (self.signals, self.columns, n_columns, self.gradients, self.n_parameters)
        of_samples = (self.errors, sample_weight, weights_apart, self.squares, n_squares, type(self.l2)(0.5) * self.l2)
        places = (self.most_steps, self.counter, self.found, self.share)
        blocks = (-(-n_columns // COLUMNS) + 1, 1, self.n_networks)
        self._launch("sums", blocks, THREADS, b, *of_biases, *of_samples, *places)

    def _weights(self, block: Array) -> Array:
        return block[..., :-1, :] if self.network.bias else block

    def _rows(self, place: Array, b: int, n: int) -> Array:
        """Cut rows of ``n`` numbers for ``b`` samples of each network from where a place begins."""
        return place[: self.n_networks * b * n].reshape((*self.stack, b, n))

    # --- launches ---

    def _over_units(self, kernel: Kernel, b: int, n: int, *places: Any) -> None:
        if kernel.sample_by_sample:
            self._launch(kernel.name, (min(b, MOST_BLOCKS), 1, self.n_networks), _threads(n), b, n, *places)
            return
        rows = THREADS // COLUMNS
        blocks = (min(-(-n // COLUMNS), MOST_BLOCKS), min(-(-b // rows), MOST_BLOCKS), self.n_networks)
        self._launch(kernel.name, blocks, (COLUMNS, rows), b, n, *places)

    def _over_parameters(self, name: str, blocks: int, *places: Any) -> None:
        self._launch(name, (blocks, 1, self.n_networks), THREADS, self.n_parameters, *places)

    def _launch(self, name: str, blocks: Size, threads: Size, *arguments: Any) -> None:
        self.device.launch(self.kernels[name], blocks, threads, THREADS * self.thetas.itemsize, *arguments)


def apart(part: Array | None, ndim: int) -> int:
    """Tell how far what one network is given lies from what the next is, 0 where all have the same."""
    return 0 if part is None or part.ndim == ndim else int(part[0].size)


def one_for_all(weights: np.ndarray, samples: Batch) -> np.ndarray:
    """Give the weights of a stack's batches, ``(n_steps, K)``, as ``(n_steps,)`` where they are the same for all."""
    return weights[:, 0] if samples.sample_weight is None or samples.sample_weight.ndim == 1 else weights


def _of_first(part: Array, ndim: int) -> Array:
    return part if part.ndim == ndim else part[0]


def _threads(n: int) -> int:
    """Count the threads for a row of ``n`` numbers: a power of two, since they add up in pairs."""
    return min(THREADS, max(COLUMNS, 1 << (n - 1).bit_length()))


def _blocks(n: int) -> int:
    return -(-n // THREADS)


def _columns(network: Network, begins: list[int]) -> np.ndarray:
    """Find for each bias where its signals begin, their stride by sample, and where its gradient goes: (n, 3)."""
    places = np.arange(network.n_parameters)
    columns = [np.empty((0, 3), np.int64)]
    for begin, block in zip(begins, views(np, network, places), strict=False):
        n = block.shape[1]
        if network.bias:
            columns.append(np.stack([begin + np.arange(n), np.full(n, n), block[-1]], axis=-1))
    return np.concatenate(columns).astype(np.int64)
