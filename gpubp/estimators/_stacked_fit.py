"""A fit that can be trained in a stack of networks."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gpubp._typing import Array
from gpubp.estimators._fit import EstimatorFit
from gpubp.estimators._held_out import Evaluated, HeldOut, check_scorable, evaluate_networks, hold_out, split
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._optimizer import LearningRate, learning_rate_of, optimizer_of
from gpubp.estimators._sklearn_callbacks import NO_TASK
from gpubp.optim.first_order import Optimizer


@dataclass(eq=False)
class StackedFit(EstimatorFit):
    """A fit with the methods that a stack needs; see :class:`gpubp.training.stackable.StackableFit`."""

    rate: LearningRate | None = None

    @property
    def kind(self) -> Hashable:
        """A key that is equal for fits whose networks may be in one stack, as far as the estimator knows."""
        return self.coding.key, self.options.early_stopping

    @property
    def draws(self) -> Hashable:
        """A key that is equal for fits that draw the same numbers from equal random states."""
        options = self.options
        fraction = options.validation_fraction if options.early_stopping else None
        return self.coding.is_classifier, fraction, options.shuffle, self.targets.shape[1]

    @property
    def l2(self) -> float:
        """The strength of the penalty."""
        return float(self.options.alpha)

    @property
    def shuffle(self) -> bool:
        """Whether to shuffle the samples in each epoch."""
        return self.options.shuffle

    @property
    def holds_out(self) -> bool:
        """Whether some samples are held out and evaluated after each epoch."""
        return self.options.early_stopping

    @property
    def reads_theta(self) -> bool:
        """Whether the parameters after an epoch are evaluated or passed to callbacks."""
        return self.options.early_stopping or bool(self.options.callbacks)

    @property
    def max_iter(self) -> int:
        """The maximum number of epochs."""
        return self.options.max_iter

    @max_iter.setter
    def max_iter(self, epochs: int) -> None:
        self.options = replace(self.options, max_iter=epochs)

    @property
    def n_iter(self) -> int:
        """Epochs done."""
        return self.state.n_iter

    def optimizer(self) -> Optimizer:
        """Create the optimizer and its learning rate, in their initial state."""
        self.rate = learning_rate_of(self.options, self.state.t)
        return optimizer_of(self.options, self.rate)

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw the training samples and the held-out samples, as indices into ``rows``."""
        rows, held_out_rows = split(self)
        weights = None if self.weights is None else self.weights[held_out_rows]
        check_scorable(self, self.targets[held_out_rows], weights)
        return rows, held_out_rows

    def targets_to_learn(self) -> np.ndarray:
        """Return the targets for the training loss."""
        return self.coding.to_learn(self.targets)

    def held_out(self, x: Array, indices: np.ndarray) -> HeldOut:
        """Create the held-out samples from their inputs x and their indices into ``rows``."""
        weights = None if self.weights is None else self.weights[indices]
        return hold_out(self, x, self.targets[indices], weights)

    def evaluate(self, pairs: Sequence[tuple[HeldOut, Array]]) -> list[Evaluated]:
        """Evaluate the networks of stacks ``(K, P)``, each stack on samples of its own; return all in order."""
        return evaluate_networks(pairs)

    def begin(self, n_samples: int, theta: Array, evaluate: Callable[[Array], Evaluated] | None) -> FitMonitor:
        """Start training on `n_samples` samples from ``theta``."""
        self.state.n_iter = 0
        return FitMonitor(self, n_samples, evaluate, theta, NO_TASK, self.rate)
