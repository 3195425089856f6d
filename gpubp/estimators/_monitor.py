"""Monitor a fit after each epoch: figures, best weights, printing, callbacks, and when to stop."""

import math
import time
from collections.abc import Callable
from functools import partial
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.estimators._fit import EstimatorFit, scaling_of, weights_of
from gpubp.estimators._held_out import Evaluated, score_of
from gpubp.estimators._optimizer import LearningRate
from gpubp.estimators._sklearn_callbacks import FitTask
from gpubp.optim.schedules import is_fixed
from gpubp.training.callbacks import CallbacksOfRank0, Progress, RunStart, check_callbacks
from gpubp.training.state import Outcome


class FitMonitor:
    """Monitors a fit epoch by epoch, and updates its state.

    With several processes each monitors the fit; the first evaluates held-out samples, prints, and calls callbacks.

    Parameters
    ----------
    fit : EstimatorFit
        Its state is updated.
    n_samples : int
        The number of training samples.
    evaluate : callable, optional
        Evaluates parameters on the held-out samples.
    theta : array
        The initial parameters.
    task : FitTask
        Calls scikit-learn's callbacks.
    rate : LearningRate, optional
        The learning rate of a stochastic solver.
    processes : ProcessGroup
    """

    def __init__(
        self,
        fit: EstimatorFit,
        n_samples: int,
        evaluate: Callable[[Array], Evaluated] | None,
        theta: Array,
        task: FitTask,
        rate: LearningRate | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.fit, self.n_samples, self.evaluate, self.best, self.task = fit, n_samples, evaluate, theta, task
        self.rate, self.processes = rate, processes
        self.prints = bool(fit.options.verbose) and processes.rank == 0
        self.callbacks = check_callbacks(() if fit.options.callbacks is None else fit.options.callbacks)
        self.of_rank_0 = CallbacksOfRank0(self.callbacks, processes)
        self.epoch = 0
        self.has_score: bool | None = None  # whether a validation score was a number; None before the first score
        self.start = time.perf_counter()
        self.stop_reason = ""

    def on_begin(self, run: RunStart) -> None:
        """Begin the callbacks."""
        self.epoch = run.epoch
        self.of_rank_0.on_begin(run._replace(settings=vars(self.fit.options)))

    def __call__(self, progress: Progress) -> bool:
        """Follow one epoch of a stochastic solver; return whether training should stop."""
        return self.follow(progress)

    def on_end(self, outcome: Outcome) -> None:
        """End the callbacks."""
        self.of_rank_0.on_end(outcome)

    def on_error(self, error: BaseException) -> None:
        """Let the callbacks close what they opened."""
        self.of_rank_0.on_error(error)

    # --- after an epoch of a stochastic solver ---

    def follow(self, progress: Progress) -> bool:
        """Follow one epoch of a stochastic solver; return whether training should stop."""
        options, state, rate = self.fit.options, self.fit.state, self.rate
        assert rate is not None
        if self.callbacks and progress.learning_rate is None:  # in a stack
            progress = progress._replace(learning_rate=rate(progress.epoch - 1))
        self._record_epoch(progress.loss)
        validation_loss, score = self._evaluate_held_out(progress.theta)
        better_score = score is not None and self._score_is_no_worse(score, progress.theta)
        better = better_score if options.early_stopping else self._loss_is_no_worse(progress.loss)
        state.no_improvement_count = 0 if better else state.no_improvement_count + 1
        rate.after_epoch(state.t)
        stuck = state.no_improvement_count > options.n_iter_no_change and self._is_stuck(rate)
        progress = progress._replace(loss=state.loss, validation_loss=validation_loss, validation_score=score)
        return self._should_stop(progress, stuck)

    def foresee(self) -> tuple[float, float]:
        """Return in how many epochs only callbacks or the time can end the fit, and in how many the rate is the same.

        The latter is 0 if the parameters are looked at after each epoch.
        """
        rate, before_end = self.rate, self.fit.options.n_iter_no_change - self.fit.state.no_improvement_count
        if self.evaluate is not None or self.task.context is not None or rate is None or rate.follows_samples:
            return before_end, 0
        return before_end, before_end if rate.schedule == "adaptive" else math.inf

    @property
    def can_go_ahead(self) -> bool:
        """Whether callbacks can change neither a schedule nor the random numbers of later epochs."""
        is_own = isinstance(getattr(self.task.estimator, "random_state", None), Integral)
        return is_own and all(map(is_fixed, self.fit.dropout_rates)) and not callable(self.fit.options.learning_rate)

    def _record_epoch(self, loss: float) -> None:
        state = self.fit.state
        self._record_loss(loss)
        state.t += self.n_samples
        if self.prints:
            print(f"Iteration {state.n_iter}, loss = {loss:.8f}")

    def _record_loss(self, loss: float) -> None:
        state = self.fit.state
        state.n_iter += 1
        state.loss = loss
        state.loss_curve.append(loss)

    def _loss_is_no_worse(self, loss: float) -> bool:
        state = self.fit.state
        best = np.inf if state.best_loss is None else state.best_loss
        state.best_loss = min(best, loss)
        return not loss > best - self.fit.options.tol

    def _score_is_no_worse(self, score: float, theta: Array) -> bool:
        """Compare a score with the best one. NaN is no improvement, but is not counted before the first number."""
        state = self.fit.state
        assert state.best_validation_score is not None
        if math.isnan(score):
            self.has_score = bool(self.has_score)
            return not self.has_score
        self.has_score = True
        # the best score of an earlier fit may be NaN
        better = not score < state.best_validation_score + self.fit.options.tol
        if not score <= state.best_validation_score:
            state.best_validation_score, self.best = score, theta
        return better

    def _is_stuck(self, rate: LearningRate) -> bool:
        """Shrink the learning rate if that may help; return whether training should stop."""
        options = self.fit.options
        monitored = "Validation score" if options.early_stopping else "Training loss"
        rate_message = rate.when_stuck()
        if self.prints:
            too_small = "Learning rate too small. " if rate.schedule == "adaptive" else ""
            print(
                f"{monitored} did not improve more than tol={options.tol:f} for {options.n_iter_no_change} consecutive "
                f"epochs. {rate_message or too_small + 'Stopping.'}"
            )
        if rate_message:
            self.fit.state.no_improvement_count = 0
        return not rate_message

    def diverged(self) -> None:
        """Record the epoch in which the weights became infinite or NaN."""
        self._record_epoch(math.nan)
        if self.evaluate is not None:
            self._record_held_out(math.nan, math.nan)

    # --- after an epoch, or an iteration of L-BFGS ---

    def follow_iteration(self, theta: Array, loss: float) -> bool:
        """Follow one iteration of L-BFGS; return whether training should stop."""
        self._record_loss(loss)
        self._loss_is_no_worse(loss)
        validation_loss, score = self._evaluate_held_out(theta)
        if score is not None:
            self._score_is_no_worse(score, theta)
        n_iter, max_iter = self.fit.state.n_iter, self.fit.options.max_iter
        return self._should_stop(Progress(n_iter, max_iter, loss, validation_loss, score, math.nan, theta))

    def _evaluate_held_out(self, theta: Array) -> tuple[float | None, float | None]:
        """Return the loss and the score of the held-out samples, if any."""
        if self.evaluate is None:
            return None, None
        loss, score = self.processes.on_rank_0(partial(self._loss_and_score, self.evaluate, theta))
        self._record_held_out(loss, score)
        return loss, score

    def _loss_and_score(self, evaluate: Callable[[Array], Evaluated], theta: Array) -> tuple[float, float]:
        fit, evaluated = self.fit, evaluate(theta)
        score = score_of(fit.options.scoring, fit.coding, evaluated, lambda: fit.fitted_copy(to_numpy(theta)))
        return evaluated.loss, score

    def _record_held_out(self, loss: float, score: float) -> None:
        state = self.fit.state
        assert state.validation_curve is not None
        assert state.validation_scores is not None
        state.validation_curve.append(loss)
        state.validation_scores.append(score)
        if self.prints:
            print(f"Validation score: {score:f}")

    def _should_stop(self, progress: Progress, stuck: bool = False) -> bool:
        """Call the callbacks that are due; record why training should stop, if it should."""
        self.epoch = progress.epoch
        if self.callbacks or self.task.context is not None:
            self.fit.publish_figures()
        requested = self.of_rank_0(progress)
        requested |= self.task.end_epoch(lambda: weights_of(self.fit.network, to_numpy(progress.theta)))
        self.stop_reason = self.processes.on_rank_0(lambda: self._reason_to_stop(requested, stuck))
        return bool(self.stop_reason)

    def _reason_to_stop(self, requested: bool, stuck: bool) -> str:
        if requested:
            return "callback"
        if stuck:
            return "patience"
        max_time = self.fit.options.max_time
        return "time" if max_time is not None and time.perf_counter() - self.start >= max_time else ""

    # --- at the end ---

    def end(self, theta: np.ndarray, stop_reason: str, *, incremental: bool = False) -> None:
        """Store the parameters, the reason why the fit ended and its duration; warn if it did not converge.

        Parameters
        ----------
        theta : (P,) array of NumPy
            With early stopping, the best parameters are stored instead, if a validation score was a number.
        stop_reason : str
            The reason why the training loop or the solver ended.
        incremental : bool
            Whether this is a call of ``partial_fit``.

        Raises
        ------
        ValueError
            If the parameters are not finite.
        """
        options, state = self.fit.options, self.fit.state
        if stop_reason == "diverged":
            self.diverged()
            best = state.best_validation_score
            if not options.early_stopping or best is None or not math.isfinite(best):
                refuse_weights()
        keeps_best = options.early_stopping and options.solver != "lbfgs" and self.has_score is not False
        if self.has_score is False:
            state.best_validation_score = math.nan
        state.theta = to_numpy(self.best) if keeps_best else theta
        if not np.all(np.isfinite(state.theta)):
            refuse_weights()
        state.stop_reason = self.stop_reason or stop_reason
        state.fit_seconds = time.perf_counter() - self.start
        state.scaling = scaling_of(self.fit) if state.stop_reason == "epochs" and not incremental else ""
        if self.processes.rank == 0:
            self._warn(incremental)
        self.task.end()

    def finish(self, theta: np.ndarray, stop_reason: str) -> None:
        """End the fit of one network of a stack, and write the fitted attributes."""
        if stop_reason == "diverged":
            self.stop_reason = stop_reason
        try:
            self.end(theta, stop_reason)
        finally:
            self.fit.publish_all()

    def _warn(self, incremental: bool) -> None:
        options, state = self.fit.options, self.fit.state
        if options.early_stopping and options.solver != "lbfgs" and self.has_score is False:
            warn(
                f"None of the validation scores of {state.n_iter} epochs was a number, so early stopping could not "
                "compare them: the weights of the last epoch were kept. Check the validation samples and scoring; "
                "scoring='loss' is defined for any samples."
            )
            return
        max_iter_message = f"Maximum iterations ({options.max_iter}) reached and the optimization hasn't converged yet."
        if state.scaling:
            max_iter_message += f" You might also want to {state.scaling}."
        warning = {
            "interrupted": "Training interrupted by user.",
            "time": f"Maximum time ({options.max_time} s) reached after {state.n_iter} iterations and the optimization "
            "hasn't converged yet.",
            "epochs": "" if incremental or options.solver == "lbfgs" else f"Stochastic Optimizer: {max_iter_message}",
            "diverged": f"Stochastic Optimizer: the weights were not finite after {state.n_iter} iterations; "
            "those with the best validation score were kept. A smaller learning_rate_init or scaled inputs help.",
        }.get(str(state.stop_reason))
        if warning:
            category = UserWarning if state.stop_reason == "interrupted" else ConvergenceWarning
            warn(warning, category)


def refuse_weights() -> None:
    """Raise scikit-learn's error about weights that are not finite."""
    raise ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
        "preprocessed."
    )
