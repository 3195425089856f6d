"""What a fit provides so that it can be trained in a stack."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.training.callbacks import Progress


class ValidatedSamples(NamedTuple):
    """Validated x and y, and the attributes that an estimator learned from them."""

    x: Any
    y: np.ndarray
    learned: dict[str, Any]


class EncodedTargets(NamedTuple):
    """Targets, the weights to train with, and the attributes that an estimator learned from them."""

    targets: np.ndarray
    train_weights: np.ndarray | None
    learned: dict[str, Any]


class HeldOutSamples(Protocol):
    """Held-out samples, evaluated after each epoch."""

    def evaluate_each(self, thetas: Array) -> list[Any]:
        """Evaluate the parameters ``(K, P)`` of several networks; what is returned goes to their followers."""


class Follower(Protocol):
    """Follows one network from epoch to epoch: figures, best parameters, and when to stop."""

    best: Array
    stop_reason: str

    def follow(self, progress: Progress) -> bool:
        """Follow one epoch; return whether training should stop."""

    def finish(self, theta: np.ndarray, stop_reason: str) -> None:
        """End the fit with these parameters; raise ValueError where it failed."""


class StackableFit(Protocol):
    """One fit that is ready to train: its network, its samples, and where training starts.

    Attributes
    ----------
    network, dropout_rates
        What is trained.
    backend, precision
        Where, and in which precision.
    random_state : RandomState
        For the held-out samples, the order of the samples and the masks of dropout.
    theta : (P,) array of NumPy
        The first parameters.
    x : array
        Inputs. Fits with the same object share it on the device.
    rows : array of int
        The rows of x that belong to this fit, those that it may hold out included.
    targets : (n, j) array of NumPy
        The targets of these rows.
    weights, train_weights : (n,) arrays of NumPy, or None
        The sample weights of the user, and those used in training.
    """

    network: Network
    dropout_rates: tuple[float, ...]
    backend: Backend
    precision: str
    random_state: np.random.RandomState
    theta: np.ndarray
    x: Any
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    train_weights: np.ndarray | None

    @property
    def kind(self) -> Hashable:
        """Equal for fits whose networks may be in one stack."""

    @property
    def draws(self) -> Hashable:
        """Equal for fits that draw the same from equal random states."""

    @property
    def l2(self) -> float:
        """The strength of the penalty."""

    @property
    def shuffle(self) -> bool:
        """Whether the samples come in a new order in each epoch."""

    @property
    def holds_out(self) -> bool:
        """Whether a part of the samples is held out and evaluated after each epoch."""

    @property
    def reads_theta(self) -> bool:
        """Whether the follower uses the parameters after an epoch."""

    @property
    def max_iter(self) -> int:
        """The largest number of epochs."""

    @max_iter.setter
    def max_iter(self, epochs: int) -> None: ...

    @property
    def n_iter(self) -> int:
        """Epochs done."""

    def batch_size(self, n_samples: int, stacklevel: int | None = None) -> int:
        """Return the batch size for this many training samples; warn where it is clipped, given a stack level."""

    def optimizer(self) -> Optimizer:
        """Make the optimizer; raise ValueError where it cannot be made."""

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw the samples to learn from and those held out, as places in ``rows``."""

    def targets_to_learn(self) -> np.ndarray:
        """Return the targets that the loss compares with in training."""

    def held_out(self, x: Array, places: np.ndarray) -> HeldOutSamples:
        """Make the held-out samples: their inputs x, and the places in ``rows`` that they have."""

    def begin(self, n_samples: int, theta: Array, evaluate: Callable[[Array], Any] | None) -> Follower:
        """Begin to train on this many samples from ``theta``."""
