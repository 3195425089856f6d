"""Training steps on a CUDA device, layer by layer: the arrays they use, and their launches in order.

While steps run, nothing is allocated, copied or read back, and no argument of a launch changes from step to step. So
the launches can be captured into a graph and replayed.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import NDIM, BatchPlan, StepSpec, stride
from gpubp.engine.cuda.graphs import CudaGraphs
from gpubp.engine.cuda.host_samples import SampleTransfer
from gpubp.engine.cuda.kernels.layers import layer_kernels
from gpubp.engine.cuda.kernels.narrow_outputs import has_narrow_output
from gpubp.engine.cuda.kernels.preamble import rounds
from gpubp.engine.cuda.kernels.products import n_tiles
from gpubp.engine.cuda.kernels.steps import step_source
from gpubp.engine.cuda.launches import (
    COLUMNS,
    MAX_BLOCKS,
    THREADS,
    LayerLaunches,
    blocks_of,
    first_network,
    threads_of_row,
)
from gpubp.engine.cuda.loss_scales import LossScales
from gpubp.engine.cuda.step_arrays import StepArrays
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network, views

MAX_PARTIAL_SUMS = 256  # at most, if each block stores a number
TILE = 128  # rows and columns of a product that a multiprocessor computes at a time, if it is large


def window_shapes(
    network: Network, stack: tuple[int, ...], samples: Batch, plan: BatchPlan
) -> list[tuple[int, ...] | None]:
    """Return the shapes of a window's inputs, targets and weights; with padding there always are weights."""
    shapes: list[tuple[int, ...] | None] = []
    of_sample = ((network.sizes[0],), (network.sizes[-1],), ())
    for array, numbers, ndim in zip(samples[:3], of_sample, NDIM, strict=True):
        is_own = plan.own_rows or (array is not None and array.ndim > ndim)
        shape = (*(stack if is_own else ()), plan.window * plan.size, *numbers)
        shapes.append(None if array is None and not plan.padded else shape)
    return shapes


class LayerwiseSteps(StepArrays, LayerLaunches):
    """Arrays on a device for the steps of one network or of a stack, and the launches of these steps."""

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        super().__init__(device, spec, stack, samples, plan)
        network, dtype, objective = self.network, spec.dtype, spec.objective
        empty: Callable[..., Array] = partial(device.empty, dtype=dtype)
        # over the samples of a batch: the gradients, then the losses and the weights, of all networks
        self.sums = empty((self.n_networks * (self.n_parameters + 2),))
        self.gradients = self.sums[: self.n_networks * self.n_parameters].reshape(self.thetas.shape)
        self.rounds = rounds(device.products, dtype)
        self.drops = plan.drops or (False,) * len(network.shapes)
        empty_operands: Callable[..., Array] = partial(device.empty, dtype="uint16" if self.rounds else dtype)
        rounds_inputs = self.rounds and not self.drops[0]
        gathers_operands = rounds_inputs and plan.gathered and not plan.on_host
        self.window: list[Array | None] = list(samples[:3])  # inputs, targets and weights that the steps read
        if plan.gathered:
            shapes = window_shapes(network, stack, samples, plan)
            of_each = (empty_operands if gathers_operands else empty, empty, empty)
            self.window = [None if shape is None else make(shape) for make, shape in zip(of_each, shapes, strict=True)]
        self.transfer = SampleTransfer(device, samples, self.window) if plan.on_host else None
        x = self.window[0]
        assert x is not None
        # what matrix products read: other arrays where operands are rounded
        self.inputs = empty_operands(x.shape) if rounds_inputs and not gathers_operands else x
        self.theta_operands = empty_operands(self.thetas.shape) if self.rounds else self.thetas
        rows = self.n_networks * self.part_size(plan.size)
        # of the inputs and the hidden layers, if they are not the outputs: what dropout leaves, or rounded numbers
        stored = [self.drops[0], *(drop or self.rounds for drop in self.drops[1:])]
        self.operands = [
            empty_operands((rows * n,)) if store else None for n, store in zip(network.sizes, stored, strict=False)
        ]
        self.starts = [rows * n for n in accumulate((0, *network.sizes[1:]))]  # of the layers' signals
        self.signals, self.losses, self.scale = empty((self.starts[-1],)), empty((rows,)), empty((self.n_networks,))
        self.signal_operands = empty_operands(self.signals.shape) if self.rounds else self.signals
        self.columns = device.upload(_bias_columns(network, self.starts))
        self.is_weight = device.upload(network.weight_mask().astype(np.uint8)) if objective.penalised else None
        self.n_counts = min(MAX_PARTIAL_SUMS, blocks_of(self.n_parameters))  # for each network
        self.n_updates = min(MAX_BLOCKS, blocks_of(self.n_parameters))
        squares_wanted = objective.penalised and objective.penalty_reported
        self.squares = empty((self.n_networks * self.n_updates,)) if squares_wanted else None
        self.norms = empty((self.n_networks * self.n_counts,)) if spec.clipped else None
        self.counters = device.empty((2, self.n_networks), "int64")
        self.counter, overflows = self.counters  # of the steps, and the last of them whose gradient overflowed
        self.loss_scales = LossScales(device, dtype, stack, self.n_networks) if spec.loss_scaled else None
        self.scaling = () if self.loss_scales is None else (self.loss_scales.array, overflows)
        weighted = self.window[2] is not None
        in_tf32 = device.products == "tf32" and dtype == "float32"  # to which cuBLAS alone rounds
        narrow = has_narrow_output(network, self.part_size(plan.size)) and not in_tf32
        widths_of_totals = network.sizes[1:-1] if narrow else network.sizes[1:]
        self.totals = [empty((rows * n,)) for n in widths_of_totals]
        self.layers = layer_kernels(
            network,
            dtype,
            weighted=weighted,
            drops=plan.drops,
            rounds=self.rounds,
            narrow=narrow,
            loss_scaled=spec.loss_scaled,
        )
        needed = self.layers.total_input_needed  # by the backward pass; outputs replace other total inputs
        self.outputs = [
            empty(totals.shape) if keep else totals for totals, keep in zip(self.totals, needed, strict=False)
        ]
        self.branches = has_branches(network, self.part_size(plan.size), self.n_networks, device, narrow=narrow)
        source = step_source(
            self.layers,
            spec.update,
            dtype,
            mean=objective.reduction == "mean",
            clipped=spec.clipped,
            loss_scaled=spec.loss_scaled,
            n_layers=len(plan.drops),
            products=device.products,
        )
        self.kernels = device.kernels(source)

    def begin(
        self, settings: np.ndarray, order: np.ndarray, row_ranges: np.ndarray, dropout: Sequence[np.ndarray]
    ) -> bool:
        """Set the numbers of the next steps; return whether launches have other arguments than before."""
        has_changed = super().begin(settings, order, row_ranges, dropout)
        if has_changed:
            self.max_steps = len(self.settings)
            n_results = (2 * self.max_steps + self.n_counts) * self.n_networks
            self.results = self.device.empty((n_results,), "float64")
            self.graphs = CudaGraphs(self.device)  # earlier graphs hold the earlier arrays
        return has_changed

    def launches(self) -> Iterator[int]:
        """Take the steps of the epochs, some in each graph; yield the number of steps of each."""
        self.counters.fill(0)
        self._round(self.thetas, self.theta_operands)
        if self.transfer is None:
            self._round(self.window[0], self.inputs)
        if self.squares is not None:
            self._over_parameters("squares_of_weights", self.n_updates, self.thetas, self.is_weight, self.squares)
        full, rest = divmod(self.plan.n_samples, self.plan.size)
        windows, single = divmod(full, self.plan.window)
        parts = [(self.plan.size, self.plan.window)] * windows
        parts += [(self.plan.size, 1)] * single + [(rest, 1)] * (rest > 0)
        for _ in range(self.n_steps // self.plan.n_steps):
            for b, n in parts:
                if self.transfer is not None:
                    self.transfer.copy_next(b * n)
                self.graphs.run((b, n), partial(self.take, b, n))
                yield n

    def take(self, b: int, n: int) -> None:
        """Take ``n`` steps of ``b`` samples each."""
        size = self.plan.size
        if self.plan.gathered and self.transfer is None:
            self._gather(b * n)
        if self.transfer is not None:
            self._round(self.window[0], self.inputs)
        for step in range(n):
            self._step(slice(step * size, step * size + b))

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; return the values and weights of the steps, and whether all parameters are finite."""
        n, max_steps, n_networks = self.n_steps, self.max_steps, self.n_networks
        counts = self.results[2 * max_steps * n_networks :]
        self._over_parameters("count_not_finite", self.n_counts, self.thetas, counts)
        results = np.reshape(self.device.download(self.results), (-1, *self.stack))
        finite = np.reshape(results[2 * max_steps :], (*self.stack, self.n_counts)) == 0.0
        weights = self.shared_weights(results[max_steps : max_steps + n])
        return results[:n], weights, np.all(finite, axis=-1)

    def _gather(self, n_gathered: int) -> None:
        """Gather samples into the windows, for the steps from this one on."""
        (x, targets, weights), (x_to, targets_to, weights_to) = self.samples[:3], self.window
        strides = [stride(array, ndim) for array, ndim in zip(self.window, NDIM, strict=True)]
        n_inputs, n_outputs = self.network.sizes[0], self.network.sizes[-1]
        blocks = (min(n_gathered, MAX_BLOCKS), 1, self.n_networks if any(strides) else 1)
        of_x = (n_inputs, x, stride(x, 2), x_to, strides[0])
        of_targets = (n_outputs, targets, stride(targets, 2), targets_to, strides[1])
        of_weights = (weights, weights_to, strides[2])
        where = (n_gathered, self.plan.size, self.plan.n_steps, *self.order_in_c, self.counter)
        self._launch(
            "gather", blocks, threads_of_row(max(n_inputs, n_outputs)), *where, *of_x, *of_targets, *of_weights
        )

    def _step(self, rows: slice) -> None:
        """Take a step with some rows of the windows: gradients are summed over its parts and over the processes."""
        b = rows.stop - rows.start
        part_size, processes = self.part_size(b), self.spec.objective.processes
        for first in range(0, b, part_size):
            end = min(first + part_size, b)
            self._add_gradient(rows.start, first, end, is_last=end == b and processes.world_size == 1)
        if processes.world_size > 1:
            self.device.all_reduce(processes, self.sums)
            self._sums(0, 0, 1, None, 0)
        inputs = (self.counter, *self.settings_in_c, self.scale, self.is_weight, self.gradients, self.norms)
        inputs += self.scaling
        if self.scaling:
            self._over_parameters("find_overflow", self.n_updates, *inputs, self.thetas)
        if self.norms is not None:
            self._over_parameters("partial_norms", self.n_counts, *inputs, self.thetas)
        operands = [self.theta_operands] if self.rounds else []
        n_norms = 0 if self.norms is None else self.n_counts
        changed = (self.squares, self.thetas, *operands, *self.parts, *self.factors)
        self._over_parameters("update", self.n_updates, *inputs, n_norms, *changed)

    def part_size(self, b: int) -> int:
        """Return how many of ``b`` samples are passed forward and backward together."""
        return -(-b // self.spec.objective.parts)

    def _add_gradient(self, start: int, first: int, end: int, *, is_last: bool) -> None:
        """Add the gradient and the loss of samples ``first`` to ``end`` of the batch that begins at ``start``."""
        layers, sizes, multiply = self.layers, self.network.sizes, self.device.multiply
        b, n_parameters = end - first, self.n_parameters
        n_layers, rows = len(sizes) - 1, slice(start + first, start + end)
        _, all_targets, all_weights = self.window
        x, targets = self.inputs[..., rows, :], first_network(all_targets, 2)[rows]
        sample_weight = None if all_weights is None else first_network(all_weights, 1)[rows]
        x_stride, *strides = (stride(array, ndim) for array, ndim in zip(self.window, NDIM, strict=True))
        weights, biases = self._blocks_of_weights(), self._biases()
        gradients = views(self.device.xp, self.network, self.gradients)
        signals, signal_operands = (
            [self._rows(array[at:], b, n) for at, n in zip(self.starts, sizes[1:], strict=False)]
            for array in (self.signals, self.signal_operands)
        )
        totals = [self._rows(array, b, n) for array, n in zip(self.totals, sizes[1:], strict=False)]
        outputs = [self._rows(array, b, n) for array, n in zip(self.outputs, sizes[1:-1], strict=True)]
        stored = [
            [] if array is None else [self._rows(array, b, n)] for array, n in zip(self.operands, sizes, strict=False)
        ]
        # what kernels need to compute the masks of a layer
        masks = [(k, first, self.counter, *self.dropout_in_c) if drop else () for k, drop in enumerate(self.drops)]
        layer_inputs = [operand[0] if operand else y for y, operand in zip([x, *outputs], stored, strict=True)]
        stored_signals = [[operand] if self.rounds else [] for operand in signal_operands]

        if layers.drop_inputs is not None:
            self._over_layer(layers.drop_inputs, b, sizes[0], first_network(x, 2), x_stride, *stored[0], *masks[0])
        activated = [[y, *operand] for y, operand in zip(outputs, stored[1:], strict=True)]
        self._pass_forward(b, layer_inputs, totals, activated, masks[1:])
        samples = (targets, strides[0], sample_weight, strides[1])  # eq. (3), (4) and (5)
        below = first_network(layer_inputs[-1], 2) if layers.narrow else None
        totals_from = (below, first_network(weights[-1], 2)) if layers.narrow else (totals[-1],)
        results = (signals[-1], self.losses, *stored_signals[-1])
        results += (self.scaling[0], self.counter) if self.scaling else ()
        self._over_layer(layers.output, b, sizes[-1], biases[-1], n_parameters, *totals_from, *samples, *results)
        for k in range(n_layers - 1, -1, -1):  # eq. (6), (7) and (5)
            is_narrow = layers.narrow and k == n_layers - 1
            if not is_narrow:
                gradient = self._weights(gradients[k])
                how = {"a_transposed": True, "added": first > 0, "beside": self.branches}
                multiply(layer_inputs[k], signal_operands[k], gradient, **how)
            if k > 0:
                above = (signal_operands[k], first_network(weights[k], 2), n_parameters) if is_narrow else ()
                if not is_narrow:
                    multiply(signal_operands[k], weights[k], signals[k - 1], b_transposed=True)
                backward = (totals[k - 1], outputs[k - 1], signals[k - 1], *stored_signals[k - 1], *masks[k])
                self._over_layer(layers.derivatives[k - 1], b, sizes[k], *above, *backward)
        self._sums(b, int(first == 0), int(is_last), sample_weight, strides[1], below, signal_operands[-1])
        if self.branches:
            self.device.join()

    def _sums(
        self,
        b: int,
        is_first: int,
        is_last: int,
        sample_weight: Array | None,
        weights_stride: int,
        below: Array | None = None,
        output_signals: Array | None = None,
    ) -> None:
        *_, n_below, n_outputs = self.network.sizes
        n_columns = len(self.columns) if b else 0
        n_weights = n_below * n_outputs if self.layers.narrow and b else 0
        first_weight = self.n_parameters - n_outputs * (n_below + self.network.bias)
        of_weights = (below, n_below if n_weights else 0, output_signals, n_outputs, first_weight)
        n_squares = 0 if self.squares is None else self.n_updates
        biases = (self.signals, self.columns, n_columns, *of_weights, self.gradients, self.n_parameters)
        samples = (self.losses, sample_weight, weights_stride, self.squares, n_squares, *self.settings_in_c)
        totals = self.sums[self.n_networks * self.n_parameters :]
        results = (self.max_steps, self.counter, totals, self.results, self.scale)
        blocks = (-(-(n_columns + n_weights) // COLUMNS) + 1, 1, self.n_networks)
        self._launch("sums", blocks, THREADS, b, is_first, is_last, *biases, *samples, *results)


def has_branches(network: Network, b: int, n_networks: int, device: Any, *, narrow: bool) -> bool:
    """Return whether the products of the gradients are computed beside the backward pass, on a second stream.

    They are if in no layer this product and the one that goes on to the layer below fill the GPU: if their results,
    for ``b`` samples, have no more tiles than there are multiprocessors. Without such a layer, only the sums over
    samples would be computed at the same time, which are shorter than a product. No GPU has measured what it gains.
    """
    layers = zip(network.sizes[1:], network.sizes[2:], strict=False)
    tiles = [n_tiles(i, j, TILE) + n_tiles(b, i, TILE) for i, j in layers][: -1 if narrow else None]
    return bool(tiles) and n_networks * max(tiles) <= device.multiprocessors


def _bias_columns(network: Network, starts: list[int]) -> np.ndarray:
    """Find for each bias where its signals start, their stride by sample, and where its gradient goes: (n, 3)."""
    indices = np.arange(network.n_parameters)
    columns = [np.empty((0, 3), np.int64)]
    for start, block in zip(starts, views(np, network, indices), strict=False):
        n = block.shape[1]
        if network.bias:
            columns.append(np.stack([start + np.arange(n), np.full(n, n), block[-1]], axis=-1))
    return np.concatenate(columns).astype(np.int64)
