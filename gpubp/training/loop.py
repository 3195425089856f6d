"""The one training loop: epochs, validation, stopping, history, callbacks.

:func:`run` is independent of the source of batches, the optimizer and checkpoints: a
:class:`~gpubp.training.plan.Plan` provides the first two, and ``save`` receives the data of a checkpoint.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends.backend import to_backend
from gpubp.engine.plain.step import ModelState
from gpubp.training.batched_epochs import BatchedEpochs, EpochsOfCall
from gpubp.training.callbacks import Progress, RunStart, begin_callbacks, call_due, closed_on_error, end_callbacks
from gpubp.training.epochs import EpochSummary, train_epoch
from gpubp.training.finished_networks import plan_for_active, retire_finished
from gpubp.training.plan import Plan, Validation
from gpubp.training.state import Best, History, Outcome, StackState, StopReason, TrainingState, median_loss

Save = Callable[[TrainingState], None]
"""Called with a snapshot, from which the run can resume, after each part of an epoch."""


def begin(plan: Plan, model: ModelState) -> TrainingState:
    """Return the initial state of a run."""
    theta = model.theta
    keeps_best = plan.patience is not None and plan.validate is not None
    best = Best(-math.inf, theta if keeps_best else None, model.epoch, 0)
    diverged = np.zeros(theta.shape[:-1], dtype=bool)
    stack = None if plan.stop_when is None else StackState.of(theta)
    return TrainingState(model, theta, best, diverged, History(), stack)


def run(plan: Plan, start: ModelState | TrainingState, save: Save | None = None) -> Outcome:
    """Train from a model state, which is changed, or from an earlier training state, until the plan ends the run.

    A network that diverges is reset to the end of its last finite epoch; when all have diverged, the run ends. Ctrl-C
    also ends it, and the result is returned unless the plan is distributed.
    """
    with closed_on_error(plan.callbacks):
        return _run(plan, start, save)


def _run(plan: Plan, start: ModelState | TrainingState, save: Save | None) -> Outcome:
    state = begin(plan, start) if isinstance(start, ModelState) else start
    stop_reason = None if isinstance(start, ModelState) else reason_to_stop(plan, state)
    if state.stack is not None:
        plan = plan_for_active(plan, state.stack)
    model, start_time = state.model, time.perf_counter() - state.seconds
    batched = BatchedEpochs(plan, model)
    run = RunStart(model.epoch, plan.epochs, plan.backend.name, model.theta, plan.network, plan.settings)
    begin_callbacks(plan.callbacks, run)
    save_now = partial(_save, plan, state, start_time, save)
    try:
        while stop_reason is None:
            batches = plan.batches(model.epoch)
            if (together := batched.train(plan, model, batches, state.best.epochs_without_improvement)) is not None:
                stop_reason = _record_together(plan, state, batched, together, start_time)
                state.last_good, together = model.theta, None
                save_now()
                continue
            if not model.parts_done:
                state.last_good = model.theta
            epoch_began = time.perf_counter()
            epoch = train_epoch(plan, model, batches, save_now)
            batched.record_duration(time.perf_counter() - epoch_began)
            diverged_now = _undo_diverged(plan, state, epoch)
            if diverged_now is None:
                stop_reason = "diverged"
                break
            if np.any(diverged_now):
                epoch = epoch._replace(outputs=None)  # they are those of parameters that were reset
            trained = time.perf_counter()
            plan, stop_reason = _finish_epoch(plan, state, epoch, diverged_now, epoch_began, start_time)
            batched.seconds_to_record = time.perf_counter() - trained
            save_now()
    except KeyboardInterrupt:
        if plan.is_distributed:  # the other processes are not interrupted
            raise
        stop_reason = "interrupted"
        if bool(plan.backend.xp.all(plan.backend.xp.isfinite(model.theta))):
            state.last_good = model.theta
    outcome = _outcome(plan, state, stop_reason)
    end_callbacks(plan.callbacks, outcome)
    return outcome


def reason_to_stop(plan: Plan, state: TrainingState) -> StopReason | None:
    """Return why a run stops at the end of an epoch, if it does."""
    if state.model.parts_done:
        return None
    if state.stack is not None and np.all(state.stack.done):
        return "solved"
    if getattr(state.model.state, "converged", False):
        return "converged"
    if _is_exhausted(plan, state):
        return "patience"
    return "epochs" if state.model.epoch >= plan.epochs else None


def _save(plan: Plan, state: TrainingState, start_time: float, save: Save | None) -> None:
    if save is not None:
        state.seconds = time.perf_counter() - start_time
        save(state.snapshot(plan.backend))


def _record_together(
    plan: Plan, state: TrainingState, batched: BatchedEpochs, together: EpochsOfCall, start_time: float
) -> StopReason | None:
    """Record epochs trained in one call, in order; return why the run stops after one of them, if it does.

    After the last epoch that is recorded, be it for an error or Ctrl-C, everything is as if no other had been trained.
    """
    began, n_recorded = time.perf_counter(), 0
    try:
        for loss, theta, ended in zip(together.losses, together.thetas, together.ended, strict=True):
            epoch, n_recorded = together.first + n_recorded, n_recorded + 1
            if plan.keeps_history:
                state.history.add(loss, None, None, ended - start_time)
            if plan.patience is not None:
                state.best = state.best.after(state.model, _monitored(plan, state, loss, Validation()), plan.tolerance)
            if plan.callbacks:
                learning_rate = None if plan.learning_rate is None else plan.learning_rate(epoch - 1)
                speed = together.samples_per_second
                progress = Progress(epoch, plan.epochs, loss, None, None, speed, theta, learning_rate)
                if call_due(plan.callbacks, progress):
                    return "callback"
            if _is_exhausted(plan, state):
                return "patience"
    finally:
        if n_recorded < len(together.losses):
            together.go_back(n_recorded)
    batched.seconds_to_record = (time.perf_counter() - began) / n_recorded
    return None


def _is_exhausted(plan: Plan, state: TrainingState) -> bool:
    """Return whether patience ends the run."""
    return plan.patience is not None and state.best.epochs_without_improvement >= plan.patience


def _undo_diverged(plan: Plan, state: TrainingState, epoch: EpochSummary) -> np.ndarray | None:
    """Reset networks that diverged in an epoch to its beginning; return which, or None if all have diverged."""
    model, stack = state.model, state.stack
    diverged_now: np.ndarray = ~(np.isfinite(epoch.loss) & epoch.finite)
    state.diverged = state.diverged | (diverged_now if stack is None else stack.for_all(diverged_now) == 1.0)
    if np.all(diverged_now if stack is None else diverged_now | stack.done[stack.active]):
        return None
    if np.any(diverged_now):
        model.theta = plan.backend.xp.where(
            to_backend(plan.backend, diverged_now)[:, None], state.last_good, model.theta
        )
    state.last_good = model.theta
    return diverged_now


def _finish_epoch(
    plan: Plan,
    state: TrainingState,
    epoch: EpochSummary,
    diverged_now: np.ndarray,
    epoch_began: float,
    start_time: float,
) -> tuple[Plan, StopReason | None]:
    """Validate, record and report an epoch; return the plan for the remaining networks, and why the run stops."""
    model, stack, loss = state.model, state.stack, epoch.loss
    model.epoch += 1
    validation = Validation() if plan.validate is None else plan.validate(model.theta)
    rate = epoch.n_samples / (time.perf_counter() - epoch_began)
    if stack is not None:
        active_loss = loss if stack.active is None else np.where(diverged_now, np.nan, loss)
        progress = Progress(model.epoch, plan.epochs, active_loss, *validation, rate, model.theta)
        loss, validation = stack.for_all(loss), validation._replace(loss=stack.for_all(validation.loss))
        plan = retire_finished(plan, stack, model, progress, epoch.outputs)
        state.last_good = model.theta
    if plan.keeps_history:
        state.history.add(loss, *validation, time.perf_counter() - start_time)
    if plan.patience is not None:
        state.best = state.best.after(model, _monitored(plan, state, loss, validation), plan.tolerance)
    if plan.callbacks:
        learning_rate = _learning_rate(plan, state, model.epoch)
        progress = Progress(model.epoch, plan.epochs, loss, *validation, rate, model.theta, learning_rate)
        if call_due(plan.callbacks, progress):
            return plan, "callback"
    return plan, reason_to_stop(plan, state)


def _learning_rate(plan: Plan, state: TrainingState, epoch: int) -> Any:
    """Return the learning rate at the beginning of an epoch."""
    rate = None if plan.learning_rate is None else plan.learning_rate(epoch - 1)
    return rate if state.stack is None or rate is None or not np.ndim(rate) else state.stack.for_all(rate)


def _monitored(plan: Plan, state: TrainingState, loss: Any, validation: Validation) -> float:
    """Return the value that patience monitors: the score, else the negated validation loss, else the negated loss.

    Of the losses of a stack the median counts, so that networks that diverge do not, or the least of the others.
    """
    if validation.score is not None and plan.monitors_score:
        return validation.score
    monitored = loss if validation.loss is None else validation.loss
    if plan.monitors_least:
        losses = np.where(state.diverged, np.inf, monitored)
        return -float(np.fmin.reduce(losses, axis=None))
    return -median_loss(monitored)


def _outcome(plan: Plan, state: TrainingState, stop_reason: StopReason) -> Outcome:
    stack, best = state.stack, state.best
    solved = None if stack is None else stack.done
    if best.theta is not None and best.epoch > 0 and stop_reason != "solved":
        return Outcome(best.theta, best.epoch, state.history, stop_reason, state.diverged, solved, best.figure)
    theta, epoch = state.last_good, state.model.epoch
    if stack is not None:
        theta, epoch = stack.end(plan.backend, state.model, theta)
    best_value = None if best.theta is None or stop_reason == "solved" else best.figure
    return Outcome(theta, epoch, state.history, stop_reason, state.diverged, solved, best_value)
