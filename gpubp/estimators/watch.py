"""What scikit-learn's estimators do after each epoch."""

import math
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backend import to_numpy
from gpubp.estimators.arrays import outputs_in_parts
from gpubp.estimators.cases import Cases, HeldOut
from gpubp.estimators.optimizer import LearningRate
from gpubp.loop import Progress
from gpubp.network import Network


class Watch:
    """What happens after each epoch: the fitted attributes, the best weights, printing, and the word to stop."""

    def __init__(
        self,
        model: Any,
        cases: Cases,
        held_out: HeldOut | None,
        network: Network,
        rate: LearningRate,
        theta: Array,
    ) -> None:
        self.model, self.cases, self.held_out = model, cases, held_out
        self.network, self.rate, self.best = network, rate, theta

    def __call__(self, progress: Progress) -> bool:
        """Follow one more epoch; True ends the training."""
        model = self.model
        self._note(progress.error / self.cases.d.shape[0])
        better = self._no_worse_score(progress.theta) if self.held_out is not None else self._no_worse_loss()
        model._no_improvement_count = 0 if better else model._no_improvement_count + 1
        self.rate.after_epoch(model.t_)
        if model._no_improvement_count <= model.n_iter_no_change:
            return False
        figure = "Training loss" if self.held_out is None else "Validation score"
        done = self.rate.when_stuck()
        if model.verbose:
            too_small = "Learning rate too small. " if self.rate.schedule == "adaptive" else ""
            print(
                f"{figure} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive "
                f"epochs. {done or too_small + 'Stopping.'}"
            )
        if done:
            model._no_improvement_count = 0
        return not done

    def _note(self, loss: float) -> None:
        model = self.model
        model.n_iter_ += 1
        model.t_ += self.cases.d.shape[0]
        model.loss_ = loss
        model.loss_curve_.append(loss)
        if model.verbose:
            print(f"Iteration {model.n_iter_}, loss = {loss:.8f}")

    def _no_worse_loss(self) -> bool:
        model, loss = self.model, self.model.loss_
        if model.best_loss_ is None:
            model.best_loss_ = np.inf
        better = not loss > model.best_loss_ - model.tol
        model.best_loss_ = min(model.best_loss_, loss)
        return better

    def _no_worse_score(self, theta: Array) -> bool:
        held_out, backend = self.held_out, self.cases.backend
        assert held_out is not None
        outputs = to_numpy(outputs_in_parts(backend, self.cases.precision, self.network, theta, held_out.x))
        finite = bool(np.all(np.isfinite(outputs)))
        score = float(self.model._held_out_score(held_out, outputs)) if finite else math.nan
        return self._note_score(score, theta)

    def _note_score(self, score: float, theta: Array) -> bool:
        model = self.model
        model.validation_scores_.append(score)
        if model.verbose:
            print(f"Validation score: {score:f}")
        better = not score < model.best_validation_score_ + model.tol
        if score > model.best_validation_score_:
            model.best_validation_score_, self.best = score, theta
        return better

    def diverged(self) -> None:
        """Note the epoch that left the finite numbers."""
        self._note(math.nan)
        if self.held_out is not None:
            self._note_score(math.nan, self.best)
