"""The state of a training run, and its outcome."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from gpubp._core.text import counted
from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend
from gpubp.engine.plain.step import ModelState

StopReason = Literal["epochs", "solved", "patience", "converged", "diverged", "callback", "interrupted"]


@dataclass
class History:
    """The figures of each epoch; for a stack of K networks ``(K,)`` arrays of NumPy, NaN for networks that are done.

    Attributes
    ----------
    loss : list
        Computed batch by batch during the epoch, while the weights change, without the penalty on the weights.
    validation_loss, validation_score : list
        Computed at the end of the epoch; empty without validation data or ``scoring``.
    seconds : list of float
        Time since training began. Epochs trained in one call get equal durations.
    """

    loss: list[Any] = field(default_factory=list)
    validation_loss: list[Any] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"History of {counted(len(self.loss), 'epoch')}"

    def add(self, loss: Any, validation_loss: Any | None, validation_score: float | None, seconds: float) -> None:
        """Add one epoch."""
        self.loss.append(loss)
        self.seconds.append(seconds)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)
        if validation_score is not None:
            self.validation_score.append(validation_score)


def median_loss(loss: Any) -> float:
    """Return the median of the losses of a stack that are finite, NaN if none is, or the loss of one network.

    Examples
    --------
    >>> median_loss(0.5), median_loss(np.array([3.0, np.inf, 1.0])), median_loss(np.array([np.nan]))
    (0.5, 2.0, nan)
    """
    losses = np.asarray(loss, dtype=np.float64)
    if losses.ndim == 0:
        return float(losses)
    finite = losses[np.isfinite(losses)]
    return float(np.median(finite)) if finite.size else math.nan


class Best(NamedTuple):
    """The best epoch so far, and the number of epochs since the last improvement by more than the tolerance."""

    figure: float  # higher is better
    theta: Array | None  # None if it is not needed
    epoch: int
    epochs_without_improvement: int

    def after(self, model: ModelState, figure: float, tolerance: float) -> "Best":
        """Compare with the figure of one more epoch. NaN is no improvement, but not counted before the first number."""
        if not math.isfinite(figure):
            return self._replace(
                epochs_without_improvement=self.epochs_without_improvement + math.isfinite(self.figure)
            )
        epochs_without_improvement = 0 if figure > self.figure + tolerance else self.epochs_without_improvement + 1
        if figure > self.figure:
            return Best(figure, None if self.theta is None else model.theta, model.epoch, epochs_without_improvement)
        return self._replace(epochs_without_improvement=epochs_without_improvement)


@dataclass
class StackState:
    """Which networks of a run are done, and the parameters that they ended with.

    Attributes
    ----------
    theta : (P,) or (K, P) array
        Final parameters of the networks that are done.
    active : (n,) array of NumPy, or None for one network
        Numbers of the networks that are still trained; their parameters are the model state's, in this order.
    done, epoch : (...) arrays of NumPy
        Which networks are done, and their last epoch.
    """

    theta: Array
    active: np.ndarray | None
    done: np.ndarray
    epoch: np.ndarray

    @classmethod
    def of(cls, theta: Array) -> "StackState":
        """Return the initial state, with all networks active."""
        shape = theta.shape[:-1]
        active = np.arange(theta.shape[0]) if theta.ndim == 2 else None
        return cls(theta, active, np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64))

    def store(self, backend: Backend, model: ModelState, which: np.ndarray) -> None:
        """Store the current parameters of some active networks as their final ones."""
        assert self.active is not None
        stored = self.active[which]
        if len(stored) == len(self.done):
            self.theta = model.theta
        elif len(stored):
            places = np.arange(len(self.done))
            places[stored] = len(places) + np.flatnonzero(which)
            both = backend.xp.concat([self.theta, model.theta], axis=0)
            self.theta = backend.xp.take(both, to_backend(backend, places), axis=0)
        self.epoch[stored] = model.epoch

    def for_all(self, figure: Any) -> Any:
        """Expand a figure of the active networks to all networks, with NaN for those that are done."""
        if self.active is None or figure is None:
            return figure
        expanded = np.full(self.done.shape, np.nan)
        expanded[self.active] = figure
        expanded[self.done] = np.nan
        return expanded

    def end(self, backend: Backend, model: ModelState, last_good: Array) -> tuple[Array, Any]:
        """Return the final parameters of all networks, and their epochs."""
        if self.active is None:
            return last_good, model.epoch
        model.theta = last_good
        self.store(backend, model, ~self.done[self.active])
        return self.theta, self.epoch


def select_states(backend: Backend, model: ModelState, which: np.ndarray) -> ModelState:
    """Select some networks of a stack by an array of bool."""
    index = to_backend(backend, np.flatnonzero(which))
    theta = backend.xp.take(model.theta, index, axis=0)
    state = map_arrays(lambda part: backend.xp.take(part, index, axis=0), model.state)
    return ModelState(theta, state, model.epoch)


def map_arrays(change: Callable[[Array], Array], state: Any) -> Any:
    """Apply a function to each array of an optimizer's state, which may be nested tuples."""
    if isinstance(state, tuple):
        parts = [map_arrays(change, part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return change(state) if getattr(state, "ndim", 0) else state


@dataclass
class TrainingState:
    """The state from which a run can continue, at the end of an epoch or between two parts of one.

    Attributes
    ----------
    model : ModelState
    last_good : (..., P) array
        The parameters after the last finite epoch.
    best : Best
    diverged : (...) array of NumPy
        Which networks diverged.
    history : History
        Entries are only appended; ``n_recorded`` is their number at the time of a snapshot.
    stack : StackState, optional
        Set if the plan has ``stop_when``.
    seconds : float
        Time trained so far.
    """

    model: ModelState
    last_good: Array
    best: Best
    diverged: np.ndarray
    history: History
    stack: StackState | None = None
    seconds: float = 0.0
    n_recorded: int = 0

    def snapshot(self, backend: Backend) -> "TrainingState":
        """Copy everything that the run changes as it continues."""
        state = map_arrays(lambda part: backend.xp.asarray(part, copy=True), self.model.state)
        stack = self.stack and replace(self.stack, done=self.stack.done.copy(), epoch=self.stack.epoch.copy())
        model = replace(self.model, state=state, own_state=False)
        return replace(self, model=model, stack=stack, n_recorded=len(self.history.loss))


class Outcome(NamedTuple):
    """The result of a run.

    Attributes
    ----------
    theta : (P,) or (K, P) array
        On the device.
    epoch : int, or (K,) array of NumPy if networks of a stack end at different epochs
        The epoch that ``theta`` is from.
    history : History
    stop_reason : str
        See :class:`~gpubp.training.result.Fit`.
    diverged : (...) array of NumPy
    solved : (...) array of NumPy, optional
        For which networks ``stop_when`` became true.
    best_value : float, optional
        With patience and validation samples, the best value that was monitored, which ``theta`` has; -inf if none was
        a number, and ``theta`` is from the last finite epoch.
    """

    theta: Array
    epoch: Any
    history: History
    stop_reason: StopReason
    diverged: np.ndarray
    solved: np.ndarray | None = None
    best_value: float | None = None
