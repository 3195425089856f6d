"""The result of training, and its initial state."""

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
        Whether the network diverged; its ``theta`` is then from the last finite epoch.
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
    if np.any(outcome.diverged) and setup.processes.rank == 0:
        _warn_of_divergence(outcome.diverged, int(np.max(outcome.epoch)))
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


def _warn_of_divergence(diverged: np.ndarray, epochs: int) -> None:
    which = f"{diverged.sum()} of {diverged.size} networks" if diverged.ndim else f"training, after {epochs} epochs,"
    warn(
        f"{which} diverged: parameters became infinite or NaN, and the last good weights were kept. A smaller learning "
        "rate, scaled inputs or gpubp.clipped(optimizer, 1.0) help",
        DivergenceWarning,
    )
