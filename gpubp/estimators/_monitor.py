"""What the estimators do after each epoch."""

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.estimators._held_out import Look, score_of
from gpubp.estimators._optimizer import LearningRate
from gpubp.estimators._sklearn_callbacks import FitTask
from gpubp.training.loop import Progress


class Monitor:
    """Follows a fit: the fitted attributes, the best weights, printing, callbacks, and the word to stop.

    Of several processes each follows it; the first looks at held-out samples, prints, and calls what the user gave.
    """

    def __init__(
        self,
        model: Any,
        n_samples: int,
        look: Callable[[Array], Look] | None,
        theta: Array,
        task: FitTask,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.model, self.n_samples, self.look, self.best, self.task = model, n_samples, look, theta, task
        self.processes, self.prints = processes, bool(model.verbose) and processes.rank == 0
        self.callbacks = (model.callbacks,) if callable(model.callbacks) else tuple(model.callbacks or ())
        self.began = time.perf_counter()
        self.stop_reason = ""

    # --- after an epoch of a stochastic solver ---

    def follow(self, rate: LearningRate, progress: Progress) -> bool:
        """Follow one more epoch of a stochastic solver; True ends the training."""
        model = self.model
        self._note_epoch(progress.loss)
        validation_loss, score = self._look(progress.theta)
        better_score = score is not None and self._no_worse_score(score, progress.theta)
        better = better_score if model.early_stopping else self._no_worse_loss()
        model._no_improvement_count = 0 if better else model._no_improvement_count + 1
        rate.after_epoch(model.t_)
        stuck = model._no_improvement_count > model.n_iter_no_change and self._is_stuck(rate)
        told = progress._replace(loss=model.loss_, validation_loss=validation_loss, validation_score=score)
        return self._should_stop(told, stuck)

    def unseen(self, rate: LearningRate) -> int:
        """Tell for how many epochs nobody looks, and nothing changes or ends the training."""
        model = self.model
        looks = self.callbacks or self.look is not None or self.task.context is not None or model.verbose
        if looks or model.max_time is not None or rate.follows_samples:
            return 0
        return int(min(model.n_iter_no_change - model._no_improvement_count, model.max_iter))  # it may be infinite

    def _note_epoch(self, loss: float) -> None:
        self._note(loss)
        self.model.t_ += self.n_samples
        if self.prints:
            print(f"Iteration {self.model.n_iter_}, loss = {loss:.8f}")

    def _note(self, loss: float) -> None:
        model = self.model
        model.n_iter_ += 1
        model.loss_ = loss
        model.loss_curve_.append(loss)

    def _no_worse_loss(self) -> bool:
        model, loss = self.model, self.model.loss_
        best = np.inf if model.best_loss_ is None else model.best_loss_
        model.best_loss_ = min(best, loss)
        return not loss > best - model.tol

    def _no_worse_score(self, score: float, theta: Array) -> bool:
        model = self.model
        better = not score < model.best_validation_score_ + model.tol
        if score > model.best_validation_score_:
            model.best_validation_score_, self.best = score, theta
        return better

    def _is_stuck(self, rate: LearningRate) -> bool:
        """Say that nothing improves any more; make the rate smaller where that may help."""
        model = self.model
        figure = "Validation score" if model.early_stopping else "Training loss"
        done = rate.when_stuck()
        if self.prints:
            too_small = "Learning rate too small. " if rate.schedule == "adaptive" else ""
            print(
                f"{figure} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive "
                f"epochs. {done or too_small + 'Stopping.'}"
            )
        if done:
            model._no_improvement_count = 0
        return not done

    def diverged(self) -> None:
        """Note the epoch that left the finite numbers."""
        self._note_epoch(math.nan)
        if self.look is not None:
            self._note_held_out(math.nan, math.nan)

    # --- after an epoch, or an iteration of L-BFGS ---

    def follow_iteration(self, theta: Array, loss: float) -> bool:
        """Follow one more iteration of L-BFGS; True ends the training."""
        model = self.model
        self._note(loss)
        self._no_worse_loss()
        error, score = self._look(theta)
        if score is not None:
            self._no_worse_score(score, theta)
        return self._should_stop(Progress(model.n_iter_, model.max_iter, loss, error, score, math.nan, theta))

    def _look(self, theta: Array) -> tuple[float | None, float | None]:
        """Take the loss and the score of the samples held out, where there are any."""
        if self.look is None:
            return None, None
        loss, score = self.processes.on_rank_0(partial(self._seen, self.look, theta))
        self._note_held_out(loss, score)
        return loss, score

    def _seen(self, look_at: Callable[[Array], Look], theta: Array) -> tuple[float, float]:
        look = look_at(theta)
        return look.loss, score_of(self.model, look, lambda: self._learned(theta))

    def _note_held_out(self, loss: float, score: float) -> None:
        self.model.validation_curve_.append(loss)
        self.model.validation_scores_.append(score)
        if self.prints:
            print(f"Validation score: {score:f}")

    def _learned(self, theta: Array) -> dict[str, Any]:
        learned: dict[str, Any] = self.model._learned(to_numpy(theta))
        return learned

    def _should_stop(self, progress: Progress, stuck: bool = False) -> bool:
        """Call every callback; note why training should stop, if it should."""
        answers = self.processes.on_rank_0(lambda: [callback(progress) for callback in self.callbacks])
        answers.append(self.task.end_epoch(lambda: self._learned(progress.theta)))
        self.stop_reason = self.processes.on_rank_0(lambda: self._reason_to_stop(any(answers), stuck))
        return bool(self.stop_reason)

    def _reason_to_stop(self, asked: bool, stuck: bool) -> str:
        if asked:
            return "callback"
        if stuck:
            return "patience"
        max_time = self.model.max_time
        return "time" if max_time is not None and time.perf_counter() - self.began >= max_time else ""

    # --- at the end ---

    def finish(self, stop_reason: str, incremental: bool) -> None:
        """Keep why the fit ended and how long it took, and warn where it was not done."""
        model = self.model
        model.stop_reason_ = self.stop_reason or stop_reason
        model.fit_seconds_ = time.perf_counter() - self.began
        not_done = f"Maximum iterations ({model.max_iter}) reached and the optimization hasn't converged yet."
        warning = {
            "interrupted": "Training interrupted by user.",
            "time": f"Maximum time ({model.max_time} s) reached after {model.n_iter_} iterations and the optimization "
            "hasn't converged yet.",
            "epochs": "" if incremental or model.solver == "lbfgs" else f"Stochastic Optimizer: {not_done}",
            "diverged": f"Stochastic Optimizer: the weights left the finite numbers after {model.n_iter_} iterations; "
            "those with the best validation score were kept. A smaller learning_rate_init or scaled inputs help.",
        }.get(model.stop_reason_)
        if warning and self.processes.rank == 0:
            category = UserWarning if model.stop_reason_ == "interrupted" else ConvergenceWarning
            warnings.warn(warning, category, stacklevel=6)


def refuse_weights() -> None:
    """Raise scikit-learn's error about weights that are not finite."""
    raise ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
        "preprocessed."
    )
