"""Train several epochs in one call: the same results, but faster."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.memory import power_of_two_below
from gpubp.engine.plain.minibatches import ArrayBatches, Batches, EpochInParts
from gpubp.engine.plain.step import ModelState
from gpubp.training import epochs
from gpubp.training.callbacks import epochs_before_due
from gpubp.training.plan import Plan
from gpubp.training.state import map_arrays

SECONDS_PER_CALL = 0.05  # approximate training time of one call, which Ctrl-C discards
SECONDS_AT_RISK = 2e-3  # of training in one call, though patience may end it at the first of the epochs
MIN_EPOCHS_PER_CALL = 8  # fewer epochs are not worth copying the optimizer's state
BYTES_OF_THETAS = 1 << 22  # for the parameters after each epoch of one call, which callbacks may look at


class EpochsOfCall(NamedTuple):
    """The epochs trained in one call.

    Attributes
    ----------
    first : int
        The number of the first epoch.
    losses : list
        See :func:`~gpubp.training.epochs.list_per_epoch`.
    thetas : sequence of arrays
        The parameters after each epoch, or the last ones if no callback is due before the end.
    samples_per_second : float
    ended : list of float
        When the epochs ended on ``time.perf_counter``.
    go_back : callable
        ``go_back(n)`` restores the model and the random draws to the end of the n-th of these epochs.
    """

    first: int
    losses: list[Any]
    thetas: Sequence[Array]
    samples_per_second: float
    ended: list[float]
    go_back: Callable[[int], None]


class BatchedEpochs:
    """Trains epochs in one call if that is possible and worthwhile.

    Attributes
    ----------
    enabled : bool
        Whether nothing needs the model itself at the end of each epoch, and the numbers have been finite so far.
    seconds : float
        The shortest duration of an epoch so far.
    seconds_to_record : float
        The time that recording an epoch took last, with its callbacks.
    """

    def __init__(self, plan: Plan, model: ModelState) -> None:
        observed = plan.validate is not None or plan.stop_when is not None or plan.is_distributed
        self.enabled = not observed and not hasattr(model.state, "converged")
        self.seconds, self.seconds_to_record = math.inf, 0.0

    def record_duration(self, seconds: float) -> None:
        """Record the duration of an epoch."""
        self.seconds = min(self.seconds, seconds)

    def train(
        self, plan: Plan, model: ModelState, batches: Batches | EpochInParts, epochs_without_improvement: int
    ) -> EpochsOfCall | None:
        """Train several epochs, of which the batches of the first are given; None if nothing is trained.

        If numbers become infinite or NaN, or after Ctrl-C, the model and the random draws are as before the call.
        """
        if not isinstance(batches, ArrayBatches):
            return None
        n, keeps_thetas = self._choose_n_epochs(plan, model, batches, epochs_without_improvement)
        if n < MIN_EPOCHS_PER_CALL:
            return None
        batches = replace(batches, keeps_thetas=keeps_thetas)
        theta, state = model.theta, map_arrays(partial(plan.backend.xp.asarray, copy=True), model.state)
        draws, epoch = None if plan.draws is None else plan.draws.state(), model.epoch

        def go_back(n_done: int) -> None:
            model.theta, model.state, model.epoch = theta, state, epoch
            if plan.draws is not None:
                plan.draws.restore(draws)
            if n_done:
                epochs.train_on_batches(plan, model, self._join_batches(plan, epoch, batches, n_done))
                model.epoch += n_done

        start, self.enabled = time.perf_counter(), False
        try:
            sums, finite, _, thetas = epochs.train_on_batches(plan, model, self._join_batches(plan, epoch, batches, n))
            losses = epochs.mean_losses(plan, sums)
            self.enabled = bool(np.all(np.isfinite(losses)) and np.all(finite))
        finally:
            if not self.enabled:
                go_back(0)
        if not self.enabled:
            return None
        model.epoch += n
        seconds = (time.perf_counter() - start) / n
        self.record_duration(seconds)
        ended = (start + seconds * np.arange(1, n + 1)).tolist()
        seen = [model.theta] * n if thetas is None or not keeps_thetas else thetas
        rate = sums.n_samples / seconds
        return EpochsOfCall(epoch + 1, epochs.list_per_epoch(losses), seen, rate, ended, go_back)

    def _join_batches(self, plan: Plan, epoch: int, batches: ArrayBatches, n: int) -> ArrayBatches:
        """Return the batches of ``n`` epochs, the first of which has been drawn."""
        others = [plan.batches(epoch + k) for k in range(1, n)]  # full batches need no order, but it is drawn
        if batches.order is None:
            return replace(batches, epochs=n)
        orders: list[Any] = [one.order for one in (batches, *others)]  # type: ignore[union-attr]
        return replace(batches, order=np.stack(orders), epochs=n)

    def _choose_n_epochs(
        self, plan: Plan, model: ModelState, batches: ArrayBatches, epochs_without_improvement: int
    ) -> tuple[int, bool]:
        """Choose a number of epochs, and whether callbacks look at their parameters afterwards."""
        if not self.enabled or (batches.order is not None and not getattr(plan.run_epoch, "takes_orders", False)):
            return 0, False
        before_end, before_change = (math.inf, math.inf) if plan.foresee is None else plan.foresee()
        if plan.patience is not None:
            before_end = min(before_end, plan.patience - epochs_without_improvement - 1)
        before_end = max(before_end, SECONDS_AT_RISK / self.seconds)
        limit = min(before_end, before_change, plan.epochs - model.epoch - 1)  # the last one is observed
        limit = min(limit, SECONDS_PER_CALL / (self.seconds + self.seconds_to_record))
        before_due = min(limit, epochs_before_due(plan.observers, model.epoch))
        if before_due < limit and plan.can_go_ahead and getattr(plan.run_epoch, "keeps_thetas", False):
            n = power_of_two_below(min(limit, BYTES_OF_THETAS // model.theta.nbytes))
            if n > before_due:
                return n, True
        return power_of_two_below(before_due), False
