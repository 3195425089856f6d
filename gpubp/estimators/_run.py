"""Run a prepared fit: on its device, in all of its processes, under its monitor."""

from typing import Any, NamedTuple, cast

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, move_together, with_matmul
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import storage_backend
from gpubp.backends.sparse_matmul import for_samples, is_sparse
from gpubp.distributed.process_group import ProcessGroup
from gpubp.estimators._arrays import is_on_host, rows_of
from gpubp.estimators._held_out import HeldOut, check_scorable, hold_out
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._optimizer import OptimizerState, optimizer_state_of
from gpubp.estimators._samples import TrainingSamples
from gpubp.estimators._sklearn_callbacks import FitTask
from gpubp.estimators._stacked_fit import StackedFit
from gpubp.estimators._stochastic import fit_stochastic
from gpubp.estimators._validation import validate_validation_data
from gpubp.training.callbacks import RunStart, closed_on_error
from gpubp.training.state import History, Outcome, StopReason


class FitArguments(NamedTuple):
    """The arguments of the user."""

    X: Any
    y: Any
    sample_weight: Any
    validation_data: Any


def run_fit(
    model: Any,
    fit: StackedFit,
    arguments: FitArguments,
    processes: ProcessGroup,
    *,
    has_held_out: bool,
    incremental: bool,
    start: OptimizerState | None = None,
) -> None:
    """Train, and write the state to the estimator, also if training raises.

    The optimizer starts from ``start``; by default from where the last call ended, if it may.
    """
    if processes.world_size > 1:
        fit.backend = _join_processes(fit, model.device, processes, has_held_out)
    backend, n_samples = fit.backend, fit.targets.shape[0]
    workload = Workload(fit.network, fit.precision, 1, n_samples, fit.options.samples_in_a_step(n_samples))
    try:
        with processes.monitored("Start it again"), translate_gpu_errors(backend, workload), backend.active():
            _train(model, fit, arguments, processes, has_held_out, incremental, start)
    finally:
        fit.publish_all()


def _train(
    model: Any,
    fit: StackedFit,
    arguments: FitArguments,
    processes: ProcessGroup,
    has_held_out: bool,
    incremental: bool,
    start: OptimizerState | None,
) -> None:
    options, state = fit.options, fit.state
    theta = processes.on_rank_0(lambda: fit.theta)
    with processes.raise_on_all():
        held_out, rows = _hold_out(model, fit, arguments.validation_data, has_held_out)
        samples, theta = _on_device(fit, rows, theta, processes)
    if start is None and options.solver != "lbfgs":
        start = optimizer_state_of(options, state.optimizer, fit.theta, state.t, incremental)
    task = FitTask(model, arguments.X, arguments.y, arguments.sample_weight, 1 if incremental else options.max_iter)
    n_samples, evaluate = samples.n_samples, None if held_out is None else held_out.evaluate
    monitor = FitMonitor(fit, n_samples, evaluate, theta, task, start and start.rate, processes)
    if start is None:
        from gpubp.estimators._lbfgs import fit_lbfgs

        with closed_on_error((monitor,)):
            monitor.on_begin(RunStart(0, options.max_iter, fit.backend.name, theta, fit.network))
            last_theta, stop_reason = fit_lbfgs(samples, theta, monitor)
            history = History(loss=list(state.loss_curve))
            reason = cast(StopReason, stop_reason)
            monitor.on_end(Outcome(last_theta, state.n_iter, history, reason, np.zeros((), bool)))
        state.optimizer = None
    else:
        last_theta, stop_reason = fit_stochastic(samples, theta, monitor, start, incremental)
    monitor.end(last_theta, stop_reason, incremental=incremental)


def _join_processes(fit: StackedFit, device: str, processes: ProcessGroup, has_held_out: bool) -> Backend:
    """Check that all processes run the same fit; return the backend of this one."""
    options, n_samples = fit.options, fit.targets.shape[0]
    backend = processes.assign_gpu(fit.backend, device if is_on_host(fit.x) else fit.backend.name)
    processes.check_equal(
        {
            "the network": (fit.network.sizes, fit.network.activations, fit.network.loss),
            "the solver": options.solver,
            "the number of samples": n_samples,
            "the batch size": options.samples_in_a_step(n_samples),
            "max_iter": options.max_iter,
            "the precision": (fit.precision, options.matmul_precision),
            "whether samples are held out": has_held_out,
        }
    )
    return with_matmul(backend, options.matmul_precision, fit.precision)


def _hold_out(
    model: Any, fit: StackedFit, validation_data: Any, has_held_out: bool
) -> tuple[HeldOut | None, np.ndarray | None]:
    """Move the held-out samples, if any, to the device; return also the rows to train on, None for all."""
    if validation_data is not None:
        data = validate_validation_data(model, fit.coding.encode, validation_data)
        check_scorable(fit, *data[1:])
        return hold_out(fit, *data), None
    if not has_held_out:
        return None, None
    rows, held_out_rows = fit.split()
    return hold_out(fit, fit.x, fit.targets, fit.weights, held_out_rows), rows


def _on_device(
    fit: StackedFit, rows: np.ndarray | None, theta: np.ndarray, processes: ProcessGroup
) -> tuple[TrainingSamples, Array]:
    """Move the training samples to the device, or leave them on the host if they do not fit; and the parameters.

    On the host only the rows of each batch are copied, unless a batch has all of them.
    """
    in_steps = fit.options.solver != "lbfgs" and not is_sparse(fit.x)
    storage = storage_backend(fit.backend, fit.precision, fit.x, fit.targets) if in_steps else fit.backend
    used, targets = None, fit.targets_to_learn()
    if rows is not None and storage.is_numpy and fit.batch_size(len(rows)) < len(rows):
        used, rows = rows, None
    x = rows_of(fit.x, rows)
    theta, dense_x, targets, weights = move_together(
        fit.precision,
        (fit.backend, theta),
        (storage, None if is_sparse(x) else x),
        (storage, targets if rows is None else targets[rows]),
        (storage, fit.train_weights if rows is None or fit.train_weights is None else fit.train_weights[rows]),
    )
    samples = TrainingSamples(
        for_samples(fit.backend, fit.x),
        fit.precision,
        x if is_sparse(x) else dense_x,
        targets,
        weights,
        on_host=storage is not fit.backend,
        processes=processes,
        rows=used,
    )
    return samples, theta
