"""The one training loop: epochs of batches, a look at held-out samples, stopping, history, callbacks.

:func:`run` knows nothing of where batches come from, of which optimizer changes the weights, or of who asked: a
:class:`Plan` says it. :func:`gpubp.train` makes a plan of arrays.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.backends.memory import power_of_two_below
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.engine.epoch import EpochRunner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, EpochInParts, epochs_of, remaining_parts
from gpubp.engine.plain.step import ModelState, Sums
from gpubp.engine.prediction import in_parts
from gpubp.errors import DataError
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network, output_layer
from gpubp.training.state import Best, History, Stack, TrainingState, state_of_some, with_each_array

StopReason = Literal["epochs", "solved", "patience", "converged", "diverged", "callback", "interrupted"]
Score = Callable[[np.ndarray, np.ndarray], float]


class Progress(NamedTuple):
    """What a callback is told after each epoch; of a stack, ``theta`` holds the networks that have not left it."""

    epoch: int  # epochs done
    epochs: int  # epochs planned
    loss: Any
    validation_loss: Any | None
    validation_score: float | None
    samples_per_second: float
    theta: Array  # on the device that trains


Callback = Callable[[Progress], bool | None]


@dataclass(frozen=True)
class Plan:
    """What :func:`run` does, with everything already on the device.

    Attributes
    ----------
    batches : callable
        Gives the batches of one more epoch, or the parts that they come in; called once for each.
    epochs : int
        How many at most.
    average : {"weights", "samples"} or None
        Whether steps give means over their batch, to be averaged over the epoch by the weight or by the number of its
        samples, or sums.
    held_out : Batch, optional
        Samples to look at after each epoch.
    score, patience, tolerance, callbacks
        See :func:`gpubp.train`.
    monitors_score : bool
        Whether patience watches the score, where there is one.
    until : callable, optional
        Tells, from the :class:`Progress` of the networks that are left and the present outputs of all samples, or None
        where they are not at hand, which of them are done: ``(...)`` of bool. The error is NaN of those that left the
        finite numbers in this epoch.
    plan_for_some : callable, optional
        Gives the plan for some networks of a stack, chosen by an array of bool: whoever is done leaves.
    unseen : callable, optional
        Tells for how many epochs from now the callbacks need only be told of each when all are done, which they will
        not end; without it they see each at its end.
    keeps_history : bool
        Whether each epoch is noted: of K networks that is K numbers.
    keep : callable, optional
        Is given a copy of where the run stands, from which it could go on, after each part of an epoch.
    processes : ProcessGroup
        Who else trains this network. Held-out samples are looked at by the first of them; callbacks and ``stop_when``
        are called by all, and must answer all the same.
    """

    backend: Backend
    network: Network
    run_epoch: EpochRunner
    batches: Callable[[], Batches | EpochInParts]
    epochs: int
    average: Literal["weights", "samples"] | None = "weights"
    held_out: Batch | None = None
    scoring: Score | None = None
    patience: int | None = None
    tolerance: float = 0.0
    monitors_score: bool = True
    callbacks: tuple[Callback, ...] = ()
    stop_when: Callable[[Progress, Array | None], Array] | None = None
    plan_for_some: "Callable[[np.ndarray], Plan] | None" = None
    unseen: Callable[[], int] | None = None
    keeps_history: bool = True
    keep: Callable[[TrainingState], None] | None = None
    processes: ProcessGroup = SINGLE_PROCESS


class Outcome(NamedTuple):
    """What came of a run.

    ``theta`` is that of ``epoch``, which is ``(K,)`` where networks leave a stack; ``diverged`` is ``(...)`` of NumPy.
    """

    theta: Array
    epoch: Any
    history: History
    stop_reason: StopReason
    diverged: np.ndarray
    solved: np.ndarray | None = None


def begin(plan: Plan, position: ModelState) -> TrainingState:
    """Stand at the beginning of a run."""
    theta = position.theta
    keeps_best = plan.patience is not None and plan.held_out is not None
    best = Best(-math.inf, theta if keeps_best else None, position.epoch, 0)
    diverged = np.zeros(theta.shape[:-1], dtype=bool)
    return TrainingState(
        position, theta, best, diverged, History(), None if plan.stop_when is None else Stack.of(theta)
    )


def run(plan: Plan, start: ModelState | TrainingState) -> Outcome:
    """Train from a position, which moves, or from where another run stood, until the plan or something else ends it.

    A network that leaves the finite numbers goes back to the end of its last good epoch; when none is left, the run
    ends. Ctrl-C ends it too, and what was learned stays, but where several processes train.
    """
    now = begin(plan, start) if isinstance(start, ModelState) else start
    xp, position, stack, history = plan.backend.xp, now.position, now.stack, now.history
    stop_reason = None if isinstance(start, ModelState) else _why_to_stop(plan, now)
    if stack is not None:
        plan = _plan_of_those_left(plan, stack)
    unwatched, began = Unwatched(plan, position), time.perf_counter() - now.seconds
    try:
        while stop_reason is None:
            taken, batches = unwatched.epochs(plan, position, now.best.stale)
            for progress, ended in taken:
                if plan.keeps_history:
                    history.add(progress.loss, None, None, ended - began)
                if plan.patience is not None:
                    now.best = now.best.after(position, _figure(progress.loss, None, None), plan.tolerance)
                for callback in plan.callbacks:
                    callback(progress)
            if not position.parts_done:
                now.last_good = position.theta
            epoch_began = time.perf_counter()
            error, n_samples, finite = _take_epoch(plan, now, batches, began)
            unwatched.note(time.perf_counter() - epoch_began)
            bad = ~(np.isfinite(error) & finite)
            now.diverged = now.diverged | (bad if stack is None else stack.of_all(bad) == 1.0)
            if np.all(bad if stack is None else bad | stack.done[stack.left]):
                stop_reason = "diverged"
                break
            if np.any(bad):
                position.outputs = None  # of parameters that are not kept
                position.theta = xp.where(to_backend(plan.backend, bad)[:, None], now.last_good, position.theta)
            now.last_good = position.theta
            position.epoch += 1

            validation_loss, validation_score = _look(plan, position.theta)
            progress = Progress(
                position.epoch,
                plan.epochs,
                error,
                validation_loss,
                validation_score,
                n_samples / (time.perf_counter() - epoch_began),
                position.theta,
            )
            if stack is not None:
                of_those_left = progress if stack.left is None else progress._replace(loss=np.where(bad, np.nan, error))
                error, validation_loss = stack.of_all(error), stack.of_all(validation_loss)
                plan = _follow(plan, stack, position, of_those_left)
                now.last_good = position.theta
                progress = progress._replace(loss=error, validation_loss=validation_loss, theta=position.theta)
            if plan.keeps_history:
                history.add(error, validation_loss, validation_score, time.perf_counter() - began)
            if now.diverged.ndim == 0:
                figure = _figure(error, validation_loss, validation_score if plan.monitors_score else None)
                now.best = now.best.after(position, figure, plan.tolerance)
            wants_to_stop = [callback(progress) for callback in plan.callbacks]
            stop_reason = "callback" if any(wants_to_stop) else _why_to_stop(plan, now)
            if not unwatched.drawn:  # else the next orders could not be drawn again
                _keep(plan, now, began)
    except KeyboardInterrupt:
        if plan.processes.world_size > 1:  # the others know nothing of it
            raise
        stop_reason = "interrupted"
        if bool(xp.all(xp.isfinite(position.theta))):
            now.last_good = position.theta
    solved, best = None if stack is None else stack.done, now.best
    if best.theta is not None and best.epoch > 0 and stop_reason != "solved":
        return Outcome(best.theta, best.epoch, history, stop_reason, now.diverged, solved)
    theta, epoch = now.last_good, position.epoch
    if stack is not None:
        theta, epoch = stack.end(plan.backend, position, theta)
    return Outcome(theta, epoch, history, stop_reason, now.diverged, solved)


def _why_to_stop(plan: Plan, now: TrainingState) -> StopReason | None:
    """Tell why a run is to stop at the end of an epoch, if it is."""
    if now.position.parts_done:
        return None
    if now.stack is not None and np.all(now.stack.done):
        return "solved"
    if getattr(now.position.state, "converged", False):
        return "converged"
    if plan.patience is not None and now.best.stale >= plan.patience:
        return "patience"
    return "epochs" if now.position.epoch >= plan.epochs else None


def _keep(plan: Plan, now: TrainingState, began: float) -> None:
    """Have a copy kept of where the run stands."""
    if plan.keep is not None:
        now.seconds = time.perf_counter() - began
        plan.keep(now.kept(plan.backend))


LEAVING_PAYS = 1 / 16
"""What part of a stack must be done for it to be made smaller: until then those that are done are trained along."""


def _follow(plan: Plan, stack: Stack, position: ModelState, progress: Progress) -> Plan:
    """Note which networks are done; where many are, they leave the position, and the plan for the rest is given."""
    assert plan.stop_when is not None
    if stack.left is None:
        stack.done = _answers(plan.stop_when(progress, position.outputs), ())
        return plan
    newly = _answers(plan.stop_when(progress, position.outputs), stack.left.shape) & ~stack.done[stack.left]
    if np.any(newly):
        stack.keep(plan.backend, position, newly)
        stack.done[stack.left[newly]] = True
    going_on = ~stack.done[stack.left]
    if plan.plan_for_some is None or not np.any(going_on) or np.mean(going_on) > 1.0 - LEAVING_PAYS:
        return plan
    some, left = state_of_some(plan.backend, position, going_on), stack.left[going_on]
    plan_for_some = plan.plan_for_some(going_on)
    position.theta, position.state, stack.left = some.theta, some.state, left  # all, or with Ctrl-C none
    return plan_for_some


def _plan_of_those_left(plan: Plan, stack: Stack) -> Plan:
    """Give the plan for the networks that had not left when the run stood here before."""
    if stack.left is None or len(stack.left) == len(stack.done):
        return plan
    assert plan.plan_for_some is not None
    return plan.plan_for_some(np.isin(np.arange(len(stack.done)), stack.left))


def _answers(told: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Bring to the host what ``stop_when`` told of each network."""
    answers = np.asarray(to_numpy(told) if hasattr(told, "shape") else told)
    if answers.shape != shape or answers.dtype != bool:
        raise DataError(
            f"stop_when must tell of each network whether it is done, {shape} of bool as gpubp.all_correct gives; got "
            f"{answers.shape} of {answers.dtype}"
        )
    return answers


UNWATCHED = 0.05  # seconds of training, about, that are taken together; so much is lost where Ctrl-C comes
WORTH_IT = 8  # epochs: the optimizer's state is copied for them


class Unwatched:
    """Epochs that nobody looks at, taken together in one call of the epoch; what comes of them is the same."""

    def __init__(self, plan: Plan, position: ModelState) -> None:
        seen = bool(plan.callbacks) and plan.unseen is None
        monitored = seen or plan.held_out is not None or plan.stop_when is not None or plan.processes.world_size > 1
        self.possible = not monitored and not hasattr(position.state, "converged")
        self.seconds = math.inf  # that an epoch takes at least, as far as is known
        self.drawn: list[Batches | EpochInParts] = []  # for epochs that were to be taken together, and were not

    def note(self, seconds: float) -> None:
        """Note how long an epoch took."""
        self.seconds = min(self.seconds, seconds)

    def epochs(
        self, plan: Plan, position: ModelState, stale: int
    ) -> tuple[list[tuple[Progress, float]], Batches | EpochInParts]:
        """Take some epochs, or none; each with when it ended, and the batches of the epoch after them.

        Where numbers do not stay finite, or Ctrl-C comes, the position stays where it was.
        """
        batches = self.drawn.pop(0) if self.drawn else plan.batches()
        if not isinstance(batches, ArrayBatches) or (n := self._how_many(plan, position, batches, stale)) < WORTH_IT:
            return [], batches
        before = position.theta, with_each_array(partial(plan.backend.xp.asarray, copy=True), position.state)
        began, self.possible = time.perf_counter(), False
        try:
            sums, finite = _run_epoch(plan, position, self._together(plan, batches, n))
            errors = _errors(plan, sums)
            self.possible = bool(np.all(np.isfinite(errors)) and np.all(finite))
        finally:
            if not self.possible:
                position.theta, position.state = before
        if not self.possible:
            return [], batches
        position.epoch += n
        seconds, rate = (time.perf_counter() - began) / n, sums.n_samples * n / (time.perf_counter() - began)
        self.note(seconds)
        taken = [
            (Progress(epoch, plan.epochs, error, None, None, rate, position.theta), began + k * seconds)
            for k, (epoch, error) in enumerate(
                zip(range(position.epoch - n + 1, position.epoch + 1), _one_by_one(errors), strict=True), 1
            )
        ]
        if batches.order is None:
            return taken, batches
        self.drawn = []
        return taken, plan.batches()

    def _together(self, plan: Plan, batches: ArrayBatches, n: int) -> ArrayBatches:
        """Give the batches of ``n`` epochs, of which those of the first are drawn."""
        if batches.order is None:
            return replace(batches, epochs=n)
        self.drawn = [plan.batches() for _ in range(n - 1)]
        orders: list[Any] = [epoch.order for epoch in (batches, *self.drawn)]  # type: ignore[union-attr]
        return replace(batches, order=np.stack(orders), epochs=n)

    def _how_many(self, plan: Plan, position: ModelState, batches: ArrayBatches, stale: int) -> int:
        if not self.possible or (batches.order is not None and not getattr(plan.run_epoch, "takes_orders", False)):
            return 0
        most = plan.epochs - position.epoch - 1  # the last one is looked at
        if plan.patience is not None:
            most = min(most, plan.patience - stale - 1)  # it cannot end before
        if plan.unseen is not None:
            most = min(most, plan.unseen())
        return power_of_two_below(min(most, UNWATCHED / self.seconds))


def _take_epoch(
    plan: Plan, now: TrainingState, batches: Batches | EpochInParts, began: float
) -> tuple[Any, int, np.ndarray]:
    """Epoch what is left of an epoch, part after part.

    The objective over all of it comes back, on the host, the number of the samples that were left, and whether the
    parameters are finite at the end.
    """
    position, finite = now.position, np.asarray(True)
    for number, part in enumerate(remaining_parts(batches, position.parts_done)):
        if number:
            _keep(plan, now, began)
        position.sums, finite = _run_epoch(plan, position, part)
        position.parts_done += 1
        if not np.any(finite):
            break
    (error,), n_samples = _one_by_one(_errors(plan, position.sums)), position.sums.n_samples
    position.parts_done, position.sums = 0, Sums()
    return error, n_samples, finite


def _run_epoch(plan: Plan, position: ModelState, batches: Batches) -> tuple[Sums, np.ndarray]:
    """Take one step for each batch of an epoch, of a part of one, or of several epochs.

    What the steps of each epoch add up to comes back, those of the parts before with them, and whether the parameters
    are finite at the end.
    """
    position.outputs = None
    before, result, n_epochs = position.sums, plan.run_epoch(position, batches), epochs_of(batches)

    def added(figures: np.ndarray, to: Any) -> np.ndarray:
        of_epochs = np.array(np.reshape(figures, (n_epochs, -1, *figures.shape[1:])), dtype=np.float64)
        of_epochs[:, 0] += to
        # one by one, so that the sum is the same wherever an epoch is cut
        return np.add.accumulate(of_epochs, axis=1)[:, -1]

    n_samples = before.n_samples + int(np.max(np.sum(result.sizes, axis=0))) // n_epochs
    values, finite = to_numpy(result.values), to_numpy(result.finite)
    if plan.average is None:
        return Sums(added(values, before.values), before.weights, n_samples), finite
    counted = to_numpy(result.weights) if plan.average == "weights" else result.sizes
    counted = np.reshape(counted, (*counted.shape, *(1,) * (values.ndim - counted.ndim)))
    return Sums(added(values * counted, before.values), added(counted, before.weights), n_samples), finite


def _errors(plan: Plan, sums: Sums) -> np.ndarray:
    """Find the error of each epoch from what its steps add up to."""
    return np.asarray(sums.values if plan.average is None else sums.values / sums.weights)


def _look(plan: Plan, theta: Array) -> tuple[Any | None, float | None]:
    """Take the error, without penalty, and the score of the validation samples."""
    if plan.held_out is None:
        return None, None
    return plan.processes.on_rank_0(partial(_seen, plan, plan.held_out, theta))


def _seen(plan: Plan, held_out: Batch, theta: Array) -> tuple[Any, float | None]:
    network, xp, error, seen = plan.network, plan.backend.xp, 0.0, []
    for x, targets in zip(in_parts(held_out.x), in_parts(held_out.targets), strict=True):
        layer = output_layer(xp, network, theta, x)
        error = error + output_loss(xp, network.loss, network.activations[-1], *layer, targets)[0]
        if plan.scoring is not None:
            seen.append(to_numpy(layer.y))
    if plan.average is not None:
        error = error / held_out.x.shape[-2]
    of_score = (
        None if plan.scoring is None else float(plan.scoring(to_numpy(held_out.targets), np.concatenate(seen, axis=-2)))
    )
    return _on_host(error), of_score


def _one_by_one(figures: np.ndarray) -> list[Any]:
    """List figures: Python floats of one network, ``(K,)`` of NumPy for a stack."""
    return figures.tolist() if figures.ndim == 1 else list(figures)


def _on_host(figure: Array) -> Any:
    """Bring a figure to the host: a Python float for one network, ``(K,)`` of NumPy for a stack."""
    host = to_numpy(figure)
    return host if host.ndim else float(host)


def _figure(error: Any, validation_loss: Any | None, validation_score: float | None) -> float:
    """Choose what patience watches: the score, else the validation error, else the error; higher is better."""
    if validation_score is not None:
        return validation_score
    return -float(error if validation_loss is None else validation_loss)
