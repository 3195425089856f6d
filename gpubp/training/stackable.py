"""The interface of fits that can be trained in a stack."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.engine.plain.dropout import Rate
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.training.callbacks import Progress


class ValidatedSamples(NamedTuple):
    """Validated x and y, and the attributes that an estimator learned."""

    x: Any
    y: np.ndarray
    learned: dict[str, Any]


class EncodedTargets(NamedTuple):
    """Encoded targets, the weights to train with, and the attributes that an estimator learned."""

    targets: np.ndarray
    train_weights: np.ndarray | None
    learned: dict[str, Any]


class Follower(Protocol):
    """Follows one network from epoch to epoch: figures, best parameters, and when to stop."""

    best: Array
    stop_reason: str

    def follow(self, progress: Progress) -> bool:
        """Follow one epoch; return whether training should stop."""

    def finish(self, theta: np.ndarray, stop_reason: str) -> None:
        """End the fit with these parameters; raise ValueError if it failed."""


class StackableFit(Protocol):
    """One fit that is ready to train: its network, its samples and its initial parameters.

    Attributes
    ----------
    network, dropout_rates
        The network to train.
    backend, precision
        The device and the precision.
    random_state : RandomState
        Draws the held-out samples, the key of dropout and the order of the samples, in this order.
    theta : (P,) array of NumPy
        The initial parameters.
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
    dropout_rates: tuple[Rate, ...]
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
        """A key that is equal for fits that draw the same numbers from equal random states."""

    @property
    def l2(self) -> float:
        """The strength of the penalty."""

    @property
    def shuffle(self) -> bool:
        """Whether to shuffle the samples in each epoch."""

    @property
    def holds_out(self) -> bool:
        """Whether some samples are held out and evaluated after each epoch."""

    @property
    def reads_theta(self) -> bool:
        """Whether the follower uses the parameters after an epoch."""

    @property
    def max_iter(self) -> int:
        """The maximum number of epochs."""

    @max_iter.setter
    def max_iter(self, epochs: int) -> None: ...

    @property
    def n_iter(self) -> int:
        """Epochs done."""

    def batch_size(self, n_samples: int, *, warns: bool = False) -> int:
        """Return the batch size for `n_samples` training samples; ``warns`` warns if it is clipped."""

    def optimizer(self) -> Optimizer:
        """Create the optimizer; raise ValueError if its parameters are not valid."""

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw the training samples and the held-out samples, as indices into ``rows``."""

    def targets_to_learn(self) -> np.ndarray:
        """Return the targets for the training loss."""

    def held_out(self, x: Array, indices: np.ndarray) -> Any:
        """Create the held-out samples, on the device, from their inputs x and their indices into ``rows``."""

    def evaluate(self, pairs: Sequence[tuple[Any, Array]]) -> list[Any]:
        """Evaluate stacks ``(K, P)``, each on held-out samples; return one result for the follower of each network."""

    def begin(self, n_samples: int, theta: Array, evaluate: Callable[[Array], Any] | None) -> Follower:
        """Start training on `n_samples` samples from ``theta``."""
