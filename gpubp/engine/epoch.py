"""Choose how the steps of an epoch, or a loss and its gradient, are computed: on the plain path, or compiled.

The training loop only calls what :func:`make_epoch_runner` returns.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend
from gpubp.backends.sparse_matmul import is_sparse_on_host
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.engine import cpu, cuda
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, epochs_of, total_weight
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState, Objective, Step, make_step
from gpubp.engine.windows import WindowRunner
from gpubp.nn.network import Network
from gpubp.nn.passes import loss_and_gradient
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder


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
        return plain()
    if objective.processes.on_all(_runs_on_cpu(backend)):
        from gpubp.engine.cpu.epoch import engine_epoch_runner

        return WindowRunner(engine_epoch_runner(objective, optimizer, dtype, plain, outputs_wanted=outputs_wanted))
    processes = objective.processes
    wanted = backend.is_cuda and processes.on_all(cuda.is_wanted(backend, cpu.requested_mode()))
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


def make_loss_and_gradient(
    backend: Backend, network: Network, dtype: str, samples: Batch
) -> Callable[[Array], tuple[Any, Array]]:
    """Bind a network to samples, on the fastest path for the backend.

    Returns
    -------
    callable
        Returns the summed loss and its gradient, (P,), at parameters (P,). The gradient may be in memory that the next
        call uses again.
    """
    if _runs_on_cpu(backend):
        from gpubp.engine.cpu.gradient import engine_gradient

        compiled = engine_gradient(backend, network, dtype, samples)
        if compiled is not None:
            return compiled
    return lambda theta: loss_and_gradient(backend.xp, network, theta, *samples[:4])


def plain_epoch_runner(
    backend: Backend, objective: Objective, optimizer: Optimizer | SecondOrder, dtype: str
) -> EpochRunner:
    """Run the steps on the plain path, one after the other."""
    step = make_step(backend, objective, optimizer, dtype)
    return partial(_step_by_step, backend.xp, step, processes=objective.processes)


def _step_by_step(
    xp: Namespace, step: Step, model: ModelState, batches: Batches, processes: ProcessGroup = SINGLE_PROCESS
) -> EpochResult:
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
    all_weights = np.asarray(weights) if isinstance(weights[0], float) else xp.stack(weights)
    if processes.world_size > 1:  # so far these are the sums of shards
        all_weights, sizes = processes.all_reduce(all_weights), processes.all_reduce(np.asarray(sizes))
    finite = xp.all(xp.isfinite(model.theta), axis=-1)
    return EpochResult(xp.stack(values), all_weights, np.asarray(sizes), finite, thetas=thetas)
