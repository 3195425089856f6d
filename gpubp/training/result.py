"""The result of training, and its initial state."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import like
from gpubp.engine.plain.step import ModelState
from gpubp.errors import DivergenceWarning
from gpubp.nn.network import Network
from gpubp.training.placement import Placed
from gpubp.training.setup import Setup
from gpubp.training.state import History, Outcome, StopReason


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of :func:`gpubp.train`.

    Attributes
    ----------
    network : Network
    theta : (P,) or (K, P) array
        In the namespace and on the device of X.
    history : History
    stop_reason : str
        Why training ended: ``"epochs"`` (all were trained), ``"solved"`` (``stop_when`` was true of all networks),
        ``"patience"``, ``"converged"``, ``"diverged"``, ``"callback"`` or ``"interrupted"``.
    best_epoch : int, or (K,) array of NumPy for a stack with ``stop_when``
        The epoch that ``theta`` is from; if training was interrupted, the last complete one. For a network of a stack
        that diverged, this includes the epochs that the others continued.
    device : str
        The device that trained: "cpu", "cuda:0", ...
    diverged : bool, or (K,) array of NumPy
        Whether the network diverged; its ``theta`` is then from the last finite epoch, or from the best one with
        ``patience`` and validation samples.
    solved : bool, or (K,) array of NumPy, or None without ``stop_when``
        For which networks ``stop_when`` became true.

    Examples
    --------
    >>> from gpubp import Network, train
    >>> train(Network((2, 3, 1)), [[0.0, 1.0], [1.0, 0.0]], [[1.0], [0.0]], epochs=5, device="cpu")
    Fit(2-3-1, epoch 5, ended by epochs, on cpu)
    """

    network: Network
    theta: Array
    history: History
    stop_reason: StopReason
    best_epoch: Any
    device: str
    diverged: Any
    solved: Any = None

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        stack = f"{self.theta.shape[0]} networks " if self.theta.ndim == 2 else ""
        return f"Fit({stack}{sizes}, epoch {np.max(self.best_epoch)}, ended by {self.stop_reason}, on {self.device})"


def first_state(setup: Setup, placed: Placed) -> ModelState:
    """Return the state before the first step: the initial weights, and the optimizer's state."""
    return ModelState(placed.theta, placed.optimizer.init(setup.backend.xp, placed.theta), own_state=True)


def make_fit(setup: Setup, outcome: Outcome) -> Fit:
    """Move the result of a run to the library and device of the samples; warn if networks diverged."""
    if setup.processes.rank == 0:
        _warn(setup, outcome)
    return Fit(
        setup.network,
        like(outcome.theta, setup.inputs.X),
        outcome.history,
        outcome.stop_reason,
        outcome.epoch,
        setup.backend.name,
        outcome.diverged[()],
        None if outcome.solved is None else outcome.solved[()],
    )


def _warn(setup: Setup, outcome: Outcome) -> None:
    epochs, has_best = int(np.max(outcome.epoch)), outcome.best_value not in (None, -math.inf)
    if np.any(outcome.diverged):
        _warn_of_divergence(outcome.diverged, epochs, has_best=has_best)
    elif outcome.best_value == -math.inf and epochs:
        scored = setup.options.scoring is not None and setup.options.monitor == "score"
        warn(
            f"none of the validation {'scores' if scored else 'losses'} of {epochs} epochs was a number, so patience "
            "could not compare them: the weights of the last epoch were kept. Check validation_data"
            + (" and scoring, or use monitor='loss'" if scored else ", whose values may be too large")
        )


def _warn_of_divergence(diverged: np.ndarray, epochs: int, *, has_best: bool) -> None:
    which, kept = f"training, after {epochs} epochs,", "the last good weights"
    if diverged.ndim:
        which = f"{diverged.sum()} of {diverged.size} networks"
    elif has_best:
        which, kept = "training", f"the weights of the best epoch, {epochs},"
    warn(
        f"{which} diverged: parameters became infinite or NaN, and {kept} were kept. A smaller learning rate, "
        "scaled inputs and targets or gpubp.clipped(optimizer, 1.0) help",
        DivergenceWarning,
    )
