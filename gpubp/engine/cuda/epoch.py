"""An epoch on a CUDA device: turn a network, an optimizer and samples into kernel launches."""

import logging
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.engine.cuda.kernels.layers import layer_kernels
from gpubp.engine.cuda.kernels.small_networks import small_network_source, state_of_one_network
from gpubp.engine.cuda.kernels.steps import state_in_global_memory
from gpubp.engine.cuda.small_networks import SmallNetworkSteps, shared_memory
from gpubp.engine.cuda.steps import BatchPlan, LayerwiseSteps, StepSpec
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, divide_epoch
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState, Objective
from gpubp.engine.pointer_checks import check_epoch
from gpubp.engine.tracing.optimizers import settings_of_steps, state_after, update_code
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import FACTORS, Optimizer

logger = logging.getLogger("gpubp")

STEPS_PER_GRAPH = 64  # at most
BYTES_PER_WINDOW = 64 << 20  # of gathered samples, at most
MAX_NETWORKS = 2**16 - 1  # of a stack: the largest third dimension of a launch
MAX_OPERATIONS_OF_ONE_BLOCK = 1e6
"""Operations of a step above which one block of threads is slower than all; by calculation."""


def cuda_epoch_runner(
    device: Any, objective: Objective, optimizer: Optimizer, dtype: str, plain: EpochRunner
) -> EpochRunner:
    """Write the steps of an optimizer and an objective in CUDA C, or return ``plain`` if that is not possible.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or an object with the same methods.
    """
    try:
        return CudaEpochRunner(device, objective, optimizer, dtype, plain)
    except Inexpressible as error:
        logger.info("the equations run one at a time: %s", error)
        return plain


class CudaEpochRunner:
    """Runs epochs with compiled kernels; batches that are not arrays are passed to the plain runner.

    It owns the arrays of the optimizer's state that it sets: the next epoch changes them.
    """

    def __init__(self, device: Any, objective: Objective, optimizer: Optimizer, dtype: str, plain: EpochRunner) -> None:
        if objective.network.skips or objective.network.ties:
            raise Inexpressible("the network has connections that skip layers, or weights that are tied or absent")
        if objective.network.n_members is not None:
            raise Inexpressible("the network has members that share weights")
        if any(objective.network.activation_weights):
            raise Inexpressible("the network has parametric activations")
        if np.ndim(objective.l2):
            raise Inexpressible("the networks have different penalties")
        self.device, self.objective, self.optimizer, self.dtype, self.plain = device, objective, optimizer, dtype, plain
        given = {name: optimizer.settings[name] for name in FACTORS if name in optimizer.settings}
        self.factors = {name: np.ascontiguousarray(to_numpy(array), dtype) for name, array in given.items()}
        self.spec, self.small_spec = (
            StepSpec(objective, update_code(optimizer, dtype, place), dtype, tuple(self.factors.values()))
            for place in (state_in_global_memory, state_of_one_network)
        )
        layer_kernels(objective.network, dtype, weighted=False)  # raises Inexpressible now, not later
        small_network_source(objective, self.small_spec.update, dtype, weighted=False)
        self.cache: dict[int, LayerwiseSteps | SmallNetworkSteps] = {}  # by samples: an epoch's last part may have more
        self.steps: LayerwiseSteps | SmallNetworkSteps | None = None
        self.samples: Batch | None = None
        self.layout: Any = None
        self.own_state: Any = None
        self.uploaded: dict[str, tuple[Array, np.ndarray]] = {}  # the destination and the source of the last upload

    def __call__(self, model: ModelState, batches: Batches) -> EpochResult:
        """Take the steps of some epochs."""
        if not isinstance(batches, ArrayBatches) or batches.dropout or not 0 < batches.samples.x.shape[-2] < 2**31:
            return self.plain(model, batches)
        stack = model.theta.shape[:-1]
        size = min(batches.size, batches.n_samples)
        in_one_block = not batches.on_host and self._fits_one_block(stack, size)
        if len(stack) > 1 or (stack > (MAX_NETWORKS,) and not in_one_block):
            return self.plain(model, batches)
        check_epoch(self.objective.network, np.dtype(self.dtype), model, batches, self.samples, self.factors)
        with self.device.active():
            return self._run_epoch(self._steps_for(batches, stack), model, batches)

    def _run_epoch(
        self, steps: LayerwiseSteps | SmallNetworkSteps, model: ModelState, batches: ArrayBatches
    ) -> EpochResult:
        state_before, n_done, plan = model.state, 0, steps.plan
        self._upload_start(steps, model, batches)
        try:
            for n in steps.launches():
                n_done += n
        finally:  # after Ctrl-C the steps taken so far are kept
            model.theta = self.device.copy(steps.thetas)
            model.state = self.own_state = state_after(self.spec.update, state_before, steps.parts, n_done)
            self.device.wait()
        values, weights, finite = steps.read()
        sizes, _ = divide_epoch(plan.n_samples, plan.size)
        return EpochResult(values, weights, np.tile(sizes, batches.epochs), finite)

    def _fits_one_block(self, stack: tuple[int, ...], size: int) -> bool:
        """Return whether one block of threads can take the steps of a network and is not slower than all blocks."""
        if self.device.products != "float32":  # a block computes its products itself, in full precision
            return False
        if shared_memory(self.objective.network, size, self.dtype) > self.device.shared_memory:
            return False
        return bool(stack) or 6.0 * size * self.objective.network.n_parameters <= MAX_OPERATIONS_OF_ONE_BLOCK

    def _steps_for(self, batches: ArrayBatches, stack: tuple[int, ...]) -> LayerwiseSteps | SmallNetworkSteps:
        """Return the steps for some samples; earlier ones are reused for the same samples with the same division."""
        samples, n_samples, on_host = batches.samples, batches.n_samples, batches.on_host
        size = min(batches.size, n_samples)
        gathered = size < n_samples or batches.order is not None or on_host
        layout = (size, gathered, stack, on_host)
        if self.layout != layout or not (self.samples is samples or (on_host and _same_layout(self.samples, samples))):
            self.cache, self.steps, self.uploaded = {}, None, {}  # free their memory before more is allocated
            self.samples, self.layout = samples, layout
        if n_samples not in self.cache:
            contiguous = (np if on_host else self.device.xp).ascontiguousarray
            x, targets, sample_weight = (None if array is None else contiguous(array) for array in samples[:3])
            samples = Batch(x, targets, sample_weight)
            window = self._window(size, n_samples, samples) if gathered else 1
            plan = BatchPlan(size, n_samples, window, gathered, on_host)
            if not on_host and self._fits_one_block(stack, size):
                self.cache[n_samples] = SmallNetworkSteps(self.device, self.small_spec, stack, samples, plan)
            else:
                self.cache[n_samples] = LayerwiseSteps(self.device, self.spec, stack, samples, plan)
        if self.steps is not self.cache[n_samples]:
            self.steps, self.own_state = self.cache[n_samples], None
        if self.steps.transfer is not None:
            self.steps.transfer.take_from(batches.samples)
        return self.steps

    def _window(self, size: int, n_samples: int, samples: Batch) -> int:
        """Choose the number of steps of a graph so that few are left over."""
        n_full, n_numbers = n_samples // size, sum(int(array.size) for array in samples[:3] if array is not None)
        bytes_per_step = size * max(1, n_numbers // samples.x.shape[-2]) * int(np.dtype(self.dtype).itemsize)
        max_window = max(1, min(STEPS_PER_GRAPH, BYTES_PER_WINDOW // bytes_per_step))
        return int(n_full // -(-n_full // max_window))

    def _upload_start(
        self, steps: LayerwiseSteps | SmallNetworkSteps, model: ModelState, batches: ArrayBatches
    ) -> None:
        """Copy the parameters, state, settings and order to the device."""
        plan = steps.plan
        self.device.copy(model.theta, steps.thetas)
        if model.state is not self.own_state:
            for name, array in zip(self.spec.update.parts, steps.parts, strict=True):
                self.device.copy(getattr(model.state, name), array)
        _, parts = divide_epoch(plan.n_samples, plan.size, batches.fraction_done, batches.fraction)
        epochs = np.add.outer(model.epoch + np.arange(batches.epochs), parts).ravel()
        settings = settings_of_steps(self.spec.update, self.optimizer.settings, model.state, epochs)
        settings = settings.astype(self.dtype)
        steps.allocate(batches.epochs, settings.shape[1])
        self._upload("settings", settings, steps.settings)
        if steps.transfer is not None:
            steps.transfer.begin(batches.order)
        else:
            order = np.arange(plan.n_samples) if batches.order is None else batches.order
            self._upload("order", order.astype(np.int32), steps.order)

    def _upload(self, name: str, array: np.ndarray, destination: Array) -> None:
        """Fill the beginning of a destination, unless it holds the array already."""
        last_destination, last_array = self.uploaded.get(name, (None, array))
        if last_destination is not destination or not np.array_equal(last_array[: len(array)], array):
            self.device.upload(array, destination[: len(array)])
            self.uploaded[name] = destination, array


def _same_layout(earlier: Batch | None, samples: Batch) -> bool:
    """Return whether arrays made for some samples fit others, as for the windows of a stream."""
    if earlier is None:
        return False
    pairs = zip(earlier[:3], samples[:3], strict=True)
    return all(a is b is None or (a is not None and b is not None and a.ndim == b.ndim) for a, b in pairs)
