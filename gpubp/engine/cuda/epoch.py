"""An epoch on a CUDA device: turn a network, an optimizer and samples into kernel launches."""

import logging
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.cuda.batch_plan import BatchPlan, StepSpec, rows_of_networks
from gpubp.engine.cuda.captured_steps import window_shapes
from gpubp.engine.cuda.equation_steps import EquationSteps
from gpubp.engine.cuda.kernels.layers import layer_kernels
from gpubp.engine.cuda.kernels.small_networks import small_network_source, state_of_one_network
from gpubp.engine.cuda.kernels.steps import state_in_global_memory
from gpubp.engine.cuda.processes import Share, share_of_process
from gpubp.engine.cuda.small_networks import SmallNetworkSteps, shared_memory
from gpubp.engine.cuda.step_arrays import numbers_of_dropout
from gpubp.engine.cuda.steps import LayerwiseSteps
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, PerNetworkBatches, divide_epoch
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState, Objective
from gpubp.engine.pointer_checks import check_epoch
from gpubp.engine.tracing.optimizers import settings_of_steps, state_after, update_code
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import Optimizer, same_update
from gpubp.optim.loss_scaling import without_loss_scaling
from gpubp.optim.wrappers import FACTORS, without_clipping

logger = logging.getLogger("gpubp")

Steps = LayerwiseSteps | EquationSteps | SmallNetworkSteps

STEPS_PER_GRAPH = 64  # at most
STEPS_OF_EQUATIONS = 8  # in a graph: they have many launches, and a graph pays once it has been captured
BYTES_PER_WINDOW = 64 << 20  # of gathered samples, at most
MAX_NETWORKS = 2**16 - 1  # of a stack: the largest third dimension of a launch
MAX_OPERATIONS_OF_ONE_BLOCK = 1e6
"""Operations of a step above which one block of threads is slower than all; by calculation."""


def cuda_epoch_runner(
    device: Any,
    objective: Objective,
    optimizer: Optimizer,
    dtype: str,
    plain: EpochRunner,
    kept: dict[str, Any] | None = None,
) -> EpochRunner:
    """Write the steps of an optimizer and an objective in CUDA C, or return ``plain`` if that is not possible.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or an object with the same methods.
    kept : dict, optional
        Where the runner is kept. One that is there is returned if it is of the same kind; its settings are replaced.
    """
    earlier = (kept or {}).get("runner")
    if earlier is not None and earlier.continues_with(device, objective, optimizer, dtype):
        earlier.plain = plain
        return cast(EpochRunner, earlier)
    if kept is not None:
        kept.clear()  # its memory is free before more is allocated
    try:
        runner = CudaEpochRunner(device, objective, optimizer, dtype, plain, copies_samples=kept is not None)
        if kept is not None:
            kept["runner"] = runner
        return runner
    except Inexpressible as error:
        logger.info("the equations run one at a time: %s", error)
        return plain


class CudaEpochRunner:
    """Runs epochs with compiled kernels; batches that are not dense arrays are passed to the plain runner.

    It owns the arrays of the optimizer's state that it sets: the next epoch changes them.
    """

    takes_orders = True  # one for each epoch of batches

    def __init__(
        self,
        device: Any,
        objective: Objective,
        optimizer: Optimizer,
        dtype: str,
        plain: EpochRunner,
        *,
        copies_samples: bool = False,
    ) -> None:
        self.given_optimizer, self.copies_samples = optimizer, copies_samples
        loss_scaled, max_norm = without_loss_scaling(optimizer) is not None, optimizer.settings.get("max_norm")
        optimizer = _of_each_parameter(optimizer)
        self.device, self.objective, self.optimizer, self.dtype, self.plain = device, objective, optimizer, dtype, plain
        given = {name: optimizer.settings[name] for name in FACTORS if name in optimizer.settings}
        self.factors = {name: np.ascontiguousarray(to_numpy(array), dtype) for name, array in given.items()}
        self.spec, self.small_spec = (
            StepSpec(
                objective,
                update_code(optimizer, dtype, place),
                dtype,
                tuple(self.factors.values()),
                max_norm,
                loss_scaled,
            )
            for place in (state_in_global_memory, state_of_one_network)
        )
        lacking = _lacking(lambda: layer_kernels(objective.network, dtype, weighted=False))
        if lacking:
            logger.info("gradients are computed by the plain equations, in graphs: %s", lacking)
        self.has_kernels = not lacking
        self.has_kernel_of_all = not _lacking(
            lambda: small_network_source(objective, self.small_spec.update, dtype, weighted=False)
        )
        self.cache: dict[int, Steps] = {}  # by samples: an epoch's last part may have more
        self.steps: Steps | None = None
        self.samples: Batch | None = None
        self.layout: Any = None
        self.own_state: Any = None
        self.shares: dict[tuple[int, int, bool], Share | None] = {}  # by the samples of the epoch, and those of a batch

    def continues_with(self, device: Any, objective: Objective, optimizer: Optimizer, dtype: str) -> bool:
        """Take new settings of the optimizer for another fit; return False if it needs another runner."""
        before, is_plain = self.given_optimizer, not (np.ndim(objective.l2) or np.ndim(self.objective.l2))
        same = device is self.device and dtype == self.dtype and is_plain and objective == self.objective
        if not (same and not self.factors and same_update(optimizer, before)):
            return False
        self.given_optimizer, self.optimizer, self.own_state = optimizer, _of_each_parameter(optimizer), None
        max_norm = optimizer.settings.get("max_norm")
        self.spec, self.small_spec = (spec._replace(max_norm=max_norm) for spec in (self.spec, self.small_spec))
        return True

    def release_samples(self) -> None:
        """Hold no samples but the copies, between two fits."""
        for steps in self.cache.values():
            steps.copied, self.samples = None, steps.samples

    def __call__(self, model: ModelState, batches: Batches) -> EpochResult:
        """Take the steps of some epochs."""
        if not isinstance(batches, ArrayBatches | PerNetworkBatches) or is_sparse(batches.samples.x):
            return self.plain(model, batches)
        stack, n_samples = model.theta.shape[:-1], int(np.max(batches.n_samples))
        if not n_samples or batches.samples.x.shape[-2] >= 2**31:
            return self.plain(model, batches)
        in_one_block = not batches.on_host and self._fits_one_block(
            stack, min(batches.size, n_samples), _drops(batches)
        )
        n_networks = math.prod(stack) * (self.objective.network.n_members or 1)
        if len(stack) > 1 or (n_networks > MAX_NETWORKS and not in_one_block):
            return self.plain(model, batches)
        share, own = None, batches
        if self.objective.processes.world_size > 1:
            if not isinstance(batches, ArrayBatches) or (share := self._share(batches)) is None:
                return self.plain(model, batches)
            own = share.of(batches)
        check_epoch(self.objective.network, np.dtype(self.dtype), model, batches, self.samples, self.factors)
        row_ranges = rows_of_networks(own, math.prod(stack))
        if share is not None:
            row_ranges[:, 0] = share.n_own
        sizes, parts = divide_epoch(batches.n_samples, batches.size, batches.fraction_done, batches.fraction)
        with self.device.active():
            steps = self._steps_for(own, row_ranges, stack, share)
            self._begin(steps, model, own, row_ranges, parts, share)
            return self._run_epoch(steps, model, np.concatenate([sizes] * batches.epochs))

    def _share(self, batches: ArrayBatches) -> Share | None:
        """Return what this process takes of each batch, or None if not all processes can take theirs."""
        key = batches.n_samples, batches.size, batches.on_host
        if key not in self.shares:
            self.shares[key] = share_of_process(self.objective.processes, *key[:2], on_host=batches.on_host)
        return self.shares[key]

    def _run_epoch(self, steps: Steps, model: ModelState, sizes: np.ndarray) -> EpochResult:
        state_before, n_done, is_complete = self._state_of_update(model), 0, True
        try:
            for n in steps.launches():
                n_done += n
        except BaseException:
            is_complete = False
            raise
        finally:  # after Ctrl-C the steps taken so far are kept
            model.theta = self.device.copy(steps.thetas)
            state = state_after(self.spec.update, state_before, steps.parts, n_done)
            scales = steps.loss_scales
            model.state = self.own_state = state if scales is None else scales.state_after(state, n_done)
            if not is_complete:
                self.device.wait()
        values, weights, finite = steps.read()  # waits
        return EpochResult(values, weights, sizes, finite)

    def _state_of_update(self, model: ModelState) -> Any:
        """Return the state of the optimizer without that of loss scaling."""
        return model.state.inner if self.spec.loss_scaled else model.state

    def _fits_one_block(self, stack: tuple[int, ...], size: int, drops: tuple[bool, ...]) -> bool:
        """Return whether one block of threads can take the steps of a network and is not slower than all blocks."""
        if not self.has_kernel_of_all:
            return False
        if self.device.products != "float32" or self.spec.loss_scaled:  # it computes its products in full precision
            return False
        if self.objective.processes.world_size > 1:  # it takes many steps, and the sums come between
            return False
        if shared_memory(self.objective.network, size, self.small_spec, drops) > self.device.shared_memory:
            return False
        return bool(stack) or 6.0 * size * self.objective.network.n_parameters <= MAX_OPERATIONS_OF_ONE_BLOCK

    def _steps_for(
        self,
        batches: ArrayBatches | PerNetworkBatches,
        row_ranges: np.ndarray,
        stack: tuple[int, ...],
        share: Share | None,
    ) -> Steps:
        """Return the steps for some samples; earlier ones are reused for the same samples with the same division."""
        samples, on_host, n_samples = batches.samples, batches.on_host, int(np.max(batches.n_samples))
        size = min(batches.size, n_samples)
        gathered = size < n_samples or batches.order is not None or on_host
        padded, own_starts = np.any(row_ranges[:, :2] != row_ranges[0, :2], axis=0).tolist()
        own_rows = padded or own_starts
        padded = padded or (share is not None and share.padded)
        drops = _drops(batches)
        layout = (size, gathered, stack, on_host, own_rows, padded, drops)
        fits = self.samples is samples or (
            (on_host and _same_layout(self.samples, samples))
            or (self.copies_samples and _same_shapes(self.samples, samples))
        )
        if self.layout != layout or not fits:
            self.cache, self.steps = {}, None  # free their memory before more is allocated
        self.samples, self.layout = samples, layout
        if n_samples not in self.cache:
            contiguous = (np if on_host else self.device.xp).ascontiguousarray
            arrays = [None if array is None else contiguous(array) for array in samples[:3]]
            if self.copies_samples and not on_host:
                arrays = [None if array is None else self.device.empty(array.shape, self.dtype) for array in arrays]
            samples = Batch(arrays[0], arrays[1], arrays[2])
            plan = BatchPlan(size, n_samples, 1, gathered, on_host, own_rows, padded, drops)
            if not on_host and self._fits_one_block(stack, size, drops):
                self.cache[n_samples] = SmallNetworkSteps(self.device, self.small_spec, stack, samples, plan)
            else:
                window = self._window(plan, stack, samples) if gathered else 1
                plan = plan._replace(window=window)
                kind = LayerwiseSteps if self.has_kernels else EquationSteps
                self.cache[n_samples] = kind(self.device, self.spec, stack, samples, plan)
        if self.steps is not self.cache[n_samples]:
            self.steps, self.own_state = self.cache[n_samples], None
        if self.steps.transfer is not None:
            self.steps.transfer.take_from(batches.samples)
        elif self.copies_samples and self.steps.copied is not batches.samples:
            for array, destination in zip(batches.samples[:3], self.steps.samples[:3], strict=True):
                if array is not None:
                    self.device.copy(array, destination)
            self.steps.copied = batches.samples
        return self.steps

    def _window(self, plan: BatchPlan, stack: tuple[int, ...], samples: Batch) -> int:
        """Choose the number of steps of a graph so that few are left over."""
        n_full, shapes = plan.n_samples // plan.size, window_shapes(self.objective.network, stack, samples, plan)
        bytes_per_step = sum(math.prod(shape) for shape in shapes if shape) * int(np.dtype(self.dtype).itemsize)
        most = min(STEPS_PER_GRAPH, STEPS_PER_GRAPH if self.has_kernels else STEPS_OF_EQUATIONS)
        max_window = max(1, min(most, BYTES_PER_WINDOW // bytes_per_step))
        return int(n_full // -(-n_full // max_window))

    def _begin(
        self,
        steps: Steps,
        model: ModelState,
        batches: ArrayBatches | PerNetworkBatches,
        row_ranges: np.ndarray,
        parts: np.ndarray,
        share: Share | None,
    ) -> None:
        """Copy the parameters, the state, and the numbers of the steps to the device."""
        self.device.copy(model.theta, steps.thetas)
        state = self._state_of_update(model)
        if model.state is not self.own_state:
            for name, array in zip(self.spec.update.parts, steps.parts, strict=True):
                self.device.copy(getattr(state, name), array)
        if steps.loss_scales is not None:
            steps.loss_scales.begin(model.state)
        epochs = np.add.outer(model.epoch + np.arange(batches.epochs), parts)
        epochs = np.reshape(epochs, (-1, *parts.shape[1:]))
        spec, plan, dropout = self.spec, steps.plan, batches.dropout
        settings = settings_of_steps(spec.update, self.optimizer.settings, state, epochs, spec.more_settings)
        numbers = []
        if dropout is not None:
            starts = plan.size * np.arange(plan.n_steps) if share is None else share.starts
            of_each = () if spec.objective.network.n_members is None else (spec.objective.network.n_members,)
            numbers = numbers_of_dropout(dropout, (len(row_ranges), *of_each), batches.epochs, starts)
        order = np.arange(plan.n_samples) if batches.order is None else batches.order
        if steps.transfer is not None:
            steps.transfer.begin(None if batches.order is None else np.ravel(batches.order))
            order = np.empty(0)  # it stays on the host
        steps.begin(settings, np.atleast_2d(order), row_ranges, numbers)


def _lacking(write: Callable[[], Any]) -> str:
    """Return what cannot be written in CUDA C, empty if all can: now, not when a step needs it."""
    try:
        write()
    except Inexpressible as error:
        return str(error)
    return ""


def _of_each_parameter(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer without what reads the whole gradient."""
    return without_clipping(without_loss_scaling(optimizer) or optimizer)


def _drops(batches: ArrayBatches | PerNetworkBatches) -> tuple[bool, ...]:
    """Return whether the inputs, and each hidden layer, have dropout."""
    return () if batches.dropout is None else tuple(map(bool, batches.dropout.rates))


def _same_shapes(earlier: Batch | None, samples: Batch) -> bool:
    """Return whether samples can take the place of others."""
    shapes = [[None if array is None else array.shape for array in one[:3]] for one in (earlier, samples) if one]
    return len(shapes) == 2 and shapes[0] == shapes[1]


def _same_layout(earlier: Batch | None, samples: Batch) -> bool:
    """Return whether arrays made for some samples fit others, as for the windows of a stream."""
    if earlier is None:
        return False
    pairs = zip(earlier[:3], samples[:3], strict=True)
    return all(a is b is None or (a is not None and b is not None and a.ndim == b.ndim) for a, b in pairs)
