"""Training steps on a CUDA device that are captured into graphs: what they have in common, however a gradient is made.

While steps run, nothing is allocated, copied or read back, and no argument of a launch changes from step to step. So
the launches can be captured into a graph and replayed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import NDIM, BatchPlan, StepSpec, stride
from gpubp.engine.cuda.graphs import CudaGraphs
from gpubp.engine.cuda.host_samples import SampleTransfer
from gpubp.engine.cuda.kernels.layers import Kernel
from gpubp.engine.cuda.kernels.preamble import rounds
from gpubp.engine.cuda.kernels.steps import step_source
from gpubp.engine.cuda.launches import COLUMNS, MAX_BLOCKS, THREADS, LayerLaunches, blocks_of, threads_of_row
from gpubp.engine.cuda.loss_scales import LossScales
from gpubp.engine.cuda.step_arrays import StepArrays
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network

MAX_PARTIAL_SUMS = 256  # at most, if each block stores a number


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


class CapturedSteps(StepArrays, LayerLaunches):
    """Steps of one network or of a stack that end with the kernels of sums and updates; subclasses add the gradients.

    Parameters
    ----------
    products : str
        The precision to which the kernels round what products read: the parameters, and inputs without dropout.
    """

    def __init__(
        self,
        device: Any,
        spec: StepSpec,
        stack: tuple[int, ...],
        samples: Batch,
        plan: BatchPlan,
        products: str = "float32",
    ) -> None:
        super().__init__(device, spec, stack, samples, plan)
        network, dtype, objective = self.network, spec.dtype, spec.objective
        empty: Callable[..., Array] = partial(device.empty, dtype=dtype)
        # over the samples of a batch: the gradients, then the losses and the weights, of all networks
        self.sums = empty((self.n_networks * (self.n_parameters + 2),))
        self.gradients = self.sums[: self.n_networks * self.n_parameters].reshape(self.thetas.shape)
        self.totals_of_samples = self.sums[self.n_networks * self.n_parameters :]
        self.rounds = rounds(products, dtype)
        self.drops = plan.drops or (False,) * len(network.shapes)
        self.empty_operands: Callable[..., Array] = partial(device.empty, dtype="uint16" if self.rounds else dtype)
        rounds_inputs = self.rounds and not self.drops[0]
        gathers_operands = rounds_inputs and plan.gathered and not plan.on_host
        self.window: list[Array | None] = list(samples[:3])  # inputs, targets and weights that the steps read
        if plan.gathered:
            shapes = window_shapes(network, stack, samples, plan)
            of_each = (self.empty_operands if gathers_operands else empty, empty, empty)
            self.window = [None if shape is None else make(shape) for make, shape in zip(of_each, shapes, strict=True)]
        self.transfer = SampleTransfer(device, samples, self.window) if plan.on_host else None
        x = self.window[0]
        assert x is not None
        # what matrix products read: other arrays where operands are rounded
        self.inputs = self.empty_operands(x.shape) if rounds_inputs and not gathers_operands else x
        self.theta_operands = self.empty_operands(self.thetas.shape) if self.rounds else self.thetas
        self.scale = empty((self.n_networks,))
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

    def compile(self, kernels: Iterable[Kernel], products: str = "float32") -> None:
        """Compile the kernels of a step, with those that make the gradient."""
        source = step_source(
            kernels,
            self.spec.update,
            self.spec.dtype,
            mean=self.spec.objective.reduction == "mean",
            clipped=self.spec.clipped,
            loss_scaled=self.spec.loss_scaled,
            n_layers=len(self.plan.drops),
            products=products,
        )
        self.kernels = self.device.kernels(source)

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
            self._sums(0, 0, 1)
        inputs = (self.counter, *self.settings_in_c, self.scale, self.is_weight, self.gradients, self.norms)
        inputs += self.scaling
        if self.scaling:
            self._over_parameters("find_overflow", self.n_updates, *inputs, self.thetas)
        if self.norms is not None:
            self._over_parameters("partial_norms", self.n_counts, *inputs, self.thetas)
        operands = [self.theta_operands] if self.rounds else []
        changed = (self.squares, self.thetas, *operands, *self.parts, *self.factors)
        self._over_parameters("update", self.n_updates, *inputs, self.n_counts, *changed)

    def part_size(self, b: int) -> int:
        """Return how many of ``b`` samples are passed forward and backward together."""
        return -(-b // self.spec.objective.parts)

    def _add_gradient(self, start: int, first: int, end: int, *, is_last: bool) -> None:
        """Add the gradient and the loss of samples ``first`` to ``end`` of the batch that begins at ``start``.

        After the last of them, :meth:`_sums` has launched the kernel that ends the sums.
        """
        raise NotImplementedError

    def _sums(
        self,
        b: int,
        is_first: int,
        is_last: int,
        columns: tuple[Any, ...] = (None, None, 0),
        weights: tuple[Any, ...] = (None, 0, None, 0, 0),
        samples: tuple[Any, ...] = (None, None, 0),
    ) -> None:
        """Add to the sums what ``b`` samples have in arrays of signals and losses, and end them after the last ones."""
        n_squares = 0 if self.squares is None else self.n_updates
        others = (self.squares, n_squares, *self.settings_in_c, self.max_steps, self.counter, self.totals_of_samples)
        gradients = (*columns, *weights, self.gradients, self.n_parameters)
        n_gradients = columns[2] + weights[1] * weights[3]
        blocks = (-(-n_gradients // COLUMNS) + 1, 1, self.n_networks)
        arguments = (b, is_first, is_last, *gradients, *samples, *others, self.results, self.scale)
        self._launch("sums", blocks, THREADS, *arguments)
