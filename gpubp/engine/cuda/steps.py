"""Training steps on a CUDA device, layer by layer: the arrays they use, and their launches in order."""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import NDIM, BatchPlan, StepSpec, stride
from gpubp.engine.cuda.captured_steps import CapturedSteps
from gpubp.engine.cuda.kernels.layers import layer_kernels
from gpubp.engine.cuda.kernels.narrow_outputs import has_narrow_output
from gpubp.engine.cuda.kernels.products import n_tiles
from gpubp.engine.cuda.kernels.ties import KERNEL as AVERAGE_TIED
from gpubp.engine.cuda.kernels.ties import groups_of
from gpubp.engine.cuda.launches import MAX_BLOCKS, THREADS, blocks_of, first_network
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network, activation_views, views

TILE = 128  # rows and columns of a product that a multiprocessor computes at a time, if it is large


class LayerwiseSteps(CapturedSteps):
    """Arrays on a device for the steps of one network or of a stack, and the launches of these steps."""

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        super().__init__(device, spec, stack, samples, plan, device.products)
        network, dtype = self.network, spec.dtype
        empty: Callable[..., Array] = partial(device.empty, dtype=dtype)
        rows = self.n_networks * self.part_size(plan.size)
        # of the inputs and the hidden layers, if they are not the outputs: what dropout leaves, or rounded numbers
        stored = [self.drops[0], *(drop or self.rounds for drop in self.drops[1:])]
        self.operands = [
            self.empty_operands((rows * n,)) if store else None for n, store in zip(network.sizes, stored, strict=False)
        ]
        # of the signals of the layers, then of those of the activations' weights
        self.starts = [rows * n for n in accumulate((0, *network.sizes[1:], *network.activation_weights))]
        self.signals, self.losses = empty((self.starts[-1],)), empty((rows,))
        self.signal_operands = self.empty_operands(self.signals.shape) if self.rounds else self.signals
        self.columns = device.upload(_columns(network, self.starts))
        weighted = self.window[2] is not None
        in_tf32 = device.products == "tf32" and dtype == "float32"  # to which cuBLAS alone rounds
        narrow = has_narrow_output(network, self.part_size(plan.size)) and not in_tf32
        narrow = narrow and len(network.layers_below[-1]) == 1
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
        self.ties: tuple[Any, ...] = ()
        if network.tied is not None:
            n_tied, begins, positions = groups_of(network.tied)
            self.ties = len(begins) - 1, n_tied, device.upload(begins), device.upload(positions)
        self.compile((*self.layers.each, *([AVERAGE_TIED] if self.ties else [])), device.products)

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
        weight_signals = [
            self._rows(self.signals[at:], b, n)
            for at, n in zip(self.starts[n_layers:], self.network.activation_weights, strict=False)
        ]
        of_activations = activation_views(self.device.xp, self.network, self.thetas)
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
        has_signals = [False] * n_layers  # of the layers above, whose contributions are added up
        for k in range(n_layers - 1, -1, -1):  # eq. (6), (7) and (5)
            is_narrow, start = layers.narrow and k == n_layers - 1, 0
            for source in () if is_narrow else self.network.layers_below[k]:
                block = slice(start, start := start + sizes[source])
                gradient, w = gradients[k][..., block, :], weights[k][..., block, :]
                how = {"a_transposed": True, "added": first > 0, "beside": self.branches}
                multiply(layer_inputs[source], signal_operands[k], gradient, **how)
                if source > 0:
                    at_outputs, added = signals[source - 1], has_signals[source]
                    multiply(signal_operands[k], w, at_outputs, b_transposed=True, added=added)
                    has_signals[source] = True
            if k > 0:
                above = (signal_operands[k], first_network(weights[k], 2)) if is_narrow else ()
                a = of_activations[k - 1]
                learned = () if a is None else (first_network(a, 2), weight_signals[k - 1])
                where = (n_parameters,) if above or learned else ()
                backward = (totals[k - 1], outputs[k - 1], signals[k - 1], *stored_signals[k - 1], *masks[k])
                self._over_layer(layers.derivatives[k - 1], b, sizes[k], *above, *where, *learned, *backward)
        below = (below, sizes[-2], signal_operands[-1], sizes[-1]) if layers.narrow else (None, 0, None, 0)
        n_last = sizes[-1] * (sizes[-2] + self.network.bias) + sum(self.network.activation_weights)
        self._sums(
            b,
            int(first == 0),
            int(is_last),
            (self.signals, self.columns, len(self.columns)),
            (*below, n_parameters - n_last),
            (self.losses, sample_weight, strides[1]),
        )
        if self.branches:
            self.device.join()
        if self.ties:
            blocks = (min(blocks_of(self.ties[0]), MAX_BLOCKS), 1, self.n_networks)
            self._launch("average_tied", blocks, THREADS, *self.ties, self.gradients, n_parameters)


def has_branches(network: Network, b: int, n_networks: int, device: Any, *, narrow: bool) -> bool:
    """Return whether the products of the gradients are computed beside the backward pass, on a second stream.

    They are if in no layer this product and the one that goes on to the layer below fill the GPU: if their results,
    for ``b`` samples, have no more tiles than there are multiprocessors. Without such a layer, only the sums over
    samples would be computed at the same time, which are shorter than a product. No GPU has measured what it gains.
    """
    layers = zip(network.sizes[1:], network.sizes[2:], strict=False)
    tiles = [n_tiles(i, j, TILE) + n_tiles(b, i, TILE) for i, j in layers][: -1 if narrow else None]
    return bool(tiles) and n_networks * max(tiles) <= device.multiprocessors


def _columns(network: Network, starts: list[int]) -> np.ndarray:
    """Find where the signals of biases and of activations' weights are: ``(n, 3)``.

    For each, where its signals start, their stride by sample, and where its gradient goes.
    """
    indices = np.arange(network.n_parameters)
    blocks = views(np, network, indices) if network.bias else [None] * len(network.shapes)
    columns = [np.empty((0, 3), np.int64)]
    for start, block in zip(starts, [*blocks, *activation_views(np, network, indices)], strict=False):
        if block is not None:
            n = block.shape[1]
            columns.append(np.stack([start + np.arange(n), np.full(n, n), block[-1]], axis=-1))
    return np.concatenate(columns).astype(np.int64)
