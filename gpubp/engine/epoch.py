"""Choose how the steps of an epoch, or an objective and its gradient, are computed: on the plain path, or compiled.

The training loop only calls what :func:`make_epoch_runner` returns.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend, to_backend
from gpubp.backends.sparse_matmul import is_sparse, is_sparse_on_host
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine import cpu, cuda
from gpubp.engine.plain.compilation import compiled
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, epochs_of, total_weight
from gpubp.engine.plain.step import (
    EpochResult,
    EpochRunner,
    ModelState,
    Objective,
    Step,
    bind,
    make_step,
    objective_and_gradient,
    second_order_step,
)
from gpubp.engine.windows import WindowRunner
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder

WORTH_THREADS_OF_BLAS = 1_000
"""Parameters from which a step of a second-order optimizer is long enough for threads of BLAS."""


def make_epoch_runner(
    backend: Backend,
    objective: Objective,
    optimizer: Optimizer | SecondOrder,
    dtype: str,
    *,
    outputs_wanted: bool = False,
    kept: dict[str, Any] | None = None,
) -> EpochRunner:
    """Bind an optimizer to an objective, on the fastest path for the backend.

    Parameters
    ----------
    outputs_wanted : bool
        Whether the outputs of all samples are needed after each epoch; paths that compute them anyway then return them.
    kept : dict, optional
        Where a GPU's runner is kept for later fits, which use its arrays and graphs again if they are of its kind.
    """
    plain = partial(plain_epoch_runner, backend, objective, optimizer, dtype)
    if isinstance(optimizer, SecondOrder):
        return FullBatchRunner(backend, objective, optimizer, dtype)
    if objective.processes.on_all(_runs_on_cpu(backend)):
        from gpubp.engine.cpu.epoch import engine_epoch_runner

        return WindowRunner(engine_epoch_runner(objective, optimizer, dtype, plain, outputs_wanted=outputs_wanted))
    processes = objective.processes
    wanted = backend.is_cuda and processes.on_all(_runs_on_gpu(backend))
    if wanted and (processes.world_size == 1 or processes.sums_on_gpus()):
        from gpubp.engine.cuda.device import cuda_device
        from gpubp.engine.cuda.epoch import cuda_epoch_runner

        device = cuda_device(backend.device, backend.matmul_precision)
        made = cache(plain)  # only where it is needed
        return cuda_epoch_runner(
            device, objective, optimizer, dtype, lambda model, batches: made()(model, batches), kept
        )
    return plain()


def _runs_on_cpu(backend: Backend) -> bool:
    """Return whether the compiled engine for the CPU is to be used."""
    on_cpu = backend.is_numpy or is_sparse_on_host(backend)
    return on_cpu and backend.matmul_precision == "float32" and cpu.is_wanted()


def _runs_on_gpu(backend: Backend) -> bool:
    """Return whether the compiled engine for GPUs is to be used."""
    return cuda.is_wanted(backend, cpu.requested_mode())


def make_objective(
    backend: Backend, objective: Objective, dtype: str, samples: Batch
) -> Callable[[Array], tuple[Any, Array]]:
    """Bind an objective to samples, on the fastest path for the backend.

    Returns
    -------
    callable
        Returns the objective's value and its gradient, (P,), at parameters (P,).
    """
    if _runs_on_cpu(backend):
        from gpubp.engine.cpu.gradient import engine_objective

        in_engine = engine_objective(backend, objective, dtype, samples)
        if in_engine is not None:
            return in_engine
    weight_mask = to_backend(backend, objective.network.weight_mask(), dtype)
    if objective.processes.world_size == 1 and not is_sparse(samples.x) and _runs_on_gpu(backend):
        from gpubp.engine.cuda.device import cuda_device
        from gpubp.engine.cuda.gradient import CudaObjective

        device = cuda_device(backend.device, backend.matmul_precision)
        return CudaObjective(device, objective, weight_mask, dtype, samples)
    evaluate, arrays = bind(backend, objective, objective_and_gradient), samples.arrays
    return lambda theta: evaluate(weight_mask, theta, arrays)


class FullBatchRunner:
    """Runs epochs of a second-order optimizer, which takes one step on all samples.

    What is prepared for the samples, and the last evaluation, with which the next step begins, are kept.
    """

    def __init__(self, backend: Backend, objective: Objective, optimizer: SecondOrder, dtype: str) -> None:
        self.backend, self.objective, self.dtype = backend, objective, dtype
        weight_mask = to_backend(backend, objective.network.weight_mask(), dtype)
        self.step = partial(second_order_step, backend, objective, weight_mask, optimizer)
        self.samples: Batch | None = None
        self.last: tuple[Array, tuple[Any, Array]] | None = None

    def __call__(self, model: ModelState, batches: Batches) -> EpochResult:
        """Take the step."""
        assert isinstance(batches, ArrayBatches)
        with self._few_threads():
            if self.samples is not batches.samples:
                ((_, self.batch),) = batches
                self.evaluate = make_objective(self.backend, self.objective, self.dtype, self.batch)
                self.samples, self.last = batches.samples, None
            step = partial(self.step, self._evaluate)  # not kept: a cycle would hold the memory of a GPU
            return _step_by_step(self.backend, step, self.objective.processes, model, [(0.0, self.batch)])

    def _few_threads(self) -> AbstractContextManager[None]:
        """Keep BLAS to one thread where a step is many small products and solutions."""
        few = self.objective.network.n_parameters < WORTH_THREADS_OF_BLAS
        if not (few and self.backend.is_numpy and cpu.is_wanted()):
            return nullcontext()
        from gpubp.engine.cpu.threads import blas_of_one_thread

        return blas_of_one_thread()

    def _evaluate(self, theta: Array, batch: Batch) -> tuple[Any, Array]:
        if self.last is None or self.last[0] is not theta:
            self.last = theta, self.evaluate(theta)
        return self.last[1]


def plain_epoch_runner(
    backend: Backend, objective: Objective, optimizer: Optimizer | SecondOrder, dtype: str
) -> EpochRunner:
    """Run the steps on the plain path, one after the other."""
    step = make_step(backend, objective, optimizer, dtype)
    return partial(_step_by_step, backend, step, objective.processes)


def _step_by_step(
    backend: Backend, step: Step, processes: ProcessGroup, model: ModelState, batches: Batches
) -> EpochResult:
    xp = backend.xp
    values: list[Array] = []
    weights: list[Any] = []
    sizes: Any = []
    thetas: list[Array] = []
    for number in range(epochs_of(batches)):
        for part, batch in batches.of_epoch(number) if isinstance(batches, ArrayBatches) else batches:
            epoch = model.epoch + number + part
            model.theta, model.state, value = step(model.theta, model.state, batch, epoch)
            values.append(value)
            weights.append(total_weight(xp, batch))
            sizes.append(batch.x.shape[-2] if batch.sizes is None else batch.sizes)
        thetas.append(model.theta)
    on_device = None if isinstance(weights[0], float) else weights
    all_values, summed, finite = compiled(backend, _summary)(values, on_device, model.theta)
    all_weights = np.asarray(weights) if summed is None else summed
    if processes.world_size > 1:  # so far these are the sums of shards
        all_weights, sizes = processes.all_reduce(all_weights), processes.all_reduce(np.asarray(sizes))
    return EpochResult(all_values, all_weights, np.asarray(sizes), finite, thetas=thetas)


def _summary(
    xp: Namespace, values: list[Array], weights: list[Array] | None, theta: Array
) -> tuple[Array, Array | None, Array]:
    return xp.stack(values), None if weights is None else xp.stack(weights), xp.all(xp.isfinite(theta), axis=-1)
