"""Where a run stands: all that it needs, beside its plan, to go on as if it had never stopped; as data, and back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.engine.plain.step import ModelState, Sums


@dataclass
class History:
    """What was seen in each epoch: one entry an epoch, ``(K,)`` arrays of NumPy for a stack of K networks.

    Of a network that has left the stack NaN is noted.

    ``loss`` is taken batch by batch during the epoch, while the weights were changing, and without the penalty on the
    weights; the validation figures are taken at the epoch's end. ``seconds`` counts from the start of training; epochs
    that were taken together, since nobody looked in between, count as equally long.
    """

    loss: list[Any] = field(default_factory=list)
    validation_loss: list[Any] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"History of {len(self.loss)} epochs"

    def add(self, loss: Any, validation_loss: Any | None, validation_score: float | None, seconds: float) -> None:
        """Note one more epoch."""
        self.loss.append(loss)
        self.seconds.append(seconds)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)
        if validation_score is not None:
            self.validation_score.append(validation_score)


class Best(NamedTuple):
    """The best epoch so far, and for how many epochs nothing has been better by more than a tolerance."""

    figure: float  # higher is better
    theta: Array | None  # None where nobody will ask for it
    epoch: int
    stale: int

    def after(self, position: ModelState, figure: float, tolerance: float) -> "Best":
        """Compare with the figure of one more epoch."""
        stale = 0 if figure > self.figure + tolerance else self.stale + 1
        if figure > self.figure:
            return Best(figure, None if self.theta is None else position.theta, position.epoch, stale)
        return self._replace(stale=stale)


@dataclass
class Stack:
    """The networks of a run: which of them still train, and what became of those that are done.

    Attributes
    ----------
    theta : (P,) or (K, P) array
        What those that are done ended with.
    left : (n,) array of NumPy, or None for one network
        The numbers of those that still train: their parameters are the position's, in this order.
    done, epoch : (...) arrays of NumPy
        Which are done, and since which epoch.
    """

    theta: Array
    left: np.ndarray | None
    done: np.ndarray
    epoch: np.ndarray

    @classmethod
    def of(cls, theta: Array) -> "Stack":
        """Begin with all networks."""
        shape = theta.shape[:-1]
        left = np.arange(theta.shape[0]) if theta.ndim == 2 else None
        return cls(theta, left, np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64))

    def keep(self, backend: Backend, position: ModelState, which: np.ndarray) -> None:
        """Keep the parameters of networks, chosen among those that are left, as they are now."""
        assert self.left is not None
        all_of_them = np.zeros(len(self.done), dtype=bool)
        all_of_them[self.left[which]] = True
        place = np.zeros(len(self.done), dtype=np.int64)
        place[self.left] = np.arange(len(self.left))
        present = backend.xp.take(position.theta, to_backend(backend, place), axis=0)
        self.theta = backend.xp.where(to_backend(backend, all_of_them)[:, None], present, self.theta)
        self.epoch[all_of_them] = position.epoch

    def of_all(self, figure: Any) -> Any:
        """Give a figure for all networks, NaN for those that are done, from one for those that still train."""
        if self.left is None or figure is None:
            return figure
        of_all = np.full(self.done.shape, np.nan)
        of_all[self.left] = figure
        of_all[self.done] = np.nan
        return of_all

    def end(self, backend: Backend, position: ModelState, last_good: Array) -> tuple[Array, Any]:
        """Give the parameters of all networks, and the epochs that they are from."""
        if self.left is None:
            return last_good, position.epoch
        position.theta = last_good
        self.keep(backend, position, ~self.done[self.left])
        return self.theta, self.epoch


def state_of_some(backend: Backend, position: ModelState, which: np.ndarray) -> ModelState:
    """Choose some networks of a stack, by an array of bool: where they stand."""
    index = to_backend(backend, np.flatnonzero(which))
    theta = backend.xp.take(position.theta, index, axis=0)
    state = with_each_array(lambda part: backend.xp.take(part, index, axis=0), position.state)
    return ModelState(theta, state, position.epoch)


def with_each_array(change: Callable[[Array], Array], state: Any) -> Any:
    """Change each array of what an optimizer keeps, which may be parts of parts."""
    if isinstance(state, tuple):
        parts = [with_each_array(change, part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return change(state) if getattr(state, "ndim", 0) else state


@dataclass
class TrainingState:
    """Where a run stands, at the end of an epoch or between two parts of one.

    Attributes
    ----------
    position : ModelState
    last_good : (..., P) array
        The parameters after the last epoch that ended well.
    best : Best
    diverged : (...) array of NumPy
        Which networks left the finite numbers.
    history : History
        Entries are only ever added to it: ``n_noted`` tells how many there were when a copy was kept.
    stack : Stack, optional
        Where the plan has an ``stop_when``.
    seconds : float
        For how long it has trained.
    """

    position: ModelState
    last_good: Array
    best: Best
    diverged: np.ndarray
    history: History
    stack: Stack | None = None
    seconds: float = 0.0
    n_noted: int = 0

    def kept(self, backend: Backend) -> "TrainingState":
        """Copy what a run that goes on would change."""
        state = with_each_array(lambda part: backend.xp.asarray(part, copy=True), self.position.state)
        stack = self.stack and replace(self.stack, done=self.stack.done.copy(), epoch=self.stack.epoch.copy())
        position = replace(self.position, state=state, own_state=False, outputs=None)
        return replace(self, position=position, stack=stack, n_noted=len(self.history.loss))


# --- as data, and back ---

Numbers = dict[str, Any]
Arrays = dict[str, np.ndarray]

_HISTORY = tuple(each.name for each in fields(History))
_COUNTS = ("epoch", "parts_done", "best_epoch", "stale")
_NUMBERS = {**dict.fromkeys(_COUNTS, int), "seconds": float, "state": dict}


def to_data(training_state: TrainingState) -> tuple[Numbers, Arrays]:
    """Turn what :meth:`TrainingState.kept` gave into numbers, as JSON has them, and arrays of NumPy."""
    position, best, stack = training_state.position, training_state.best, training_state.stack
    of_state = dict(_parts_of("state", position.state))
    numbers = {
        "epoch": position.epoch,
        "parts_done": position.parts_done,
        "seconds": training_state.seconds,
        "best_epoch": best.epoch,
        "stale": best.stale,
        "state": {name: part for name, part in of_state.items() if not hasattr(part, "dtype")},
    }
    arrays = {name: part for name, part in of_state.items() if hasattr(part, "dtype")}
    arrays |= {"theta": position.theta, "best": np.asarray(best.figure), "diverged": training_state.diverged}
    for name, theta in (("last_good", training_state.last_good), ("best_theta", best.theta)):
        if theta is not None and theta is not position.theta:
            arrays[name] = theta
    for name in _HISTORY:
        arrays[f"history.{name}"] = np.asarray(
            getattr(training_state.history, name)[: training_state.n_noted], np.float64
        )
    if position.parts_done:
        arrays |= {"sums.values": np.asarray(position.sums.values), "sums.weights": np.asarray(position.sums.weights)}
    if stack is not None:
        arrays |= {"stack.theta": stack.theta, "stack.done": stack.done, "stack.epoch": stack.epoch}
    if stack is not None and stack.left is not None:
        arrays["stack.left"] = stack.left
    return numbers, {name: to_numpy(array) for name, array in arrays.items()}


def _parts_of(name: str, state: Any) -> Iterator[tuple[str, Any]]:
    """Name each number and each array of what an optimizer keeps."""
    if not isinstance(state, tuple):
        yield name, state
        return
    for of_part, part in zip(getattr(state, "_fields", range(len(state))), state, strict=True):
        yield from _parts_of(f"{name}.{of_part}", part)


def from_data(backend: Backend, numbers: Numbers, arrays: Arrays, first: TrainingState) -> TrainingState:
    """Build what :func:`to_data` took apart.

    Parameters
    ----------
    first : TrainingState
        Where the same run stands at its beginning: what it has there tells which parts, shapes and types there may be.

    Raises
    ------
    ValueError
        If anything is missing, left over, or of another shape or type; the message goes on after the name of a file.
    """
    if {name: type(number) for name, number in numbers.items()} != _NUMBERS or any(
        not 0 <= numbers[name] < 2**63 for name in _COUNTS
    ):
        raise ValueError(f"does not hold the numbers {', '.join(_NUMBERS)}")
    theta, stack = first.position.theta, first.stack
    given, networks = _Given(backend, numbers, arrays), tuple(theta.shape[:-1])
    if stack is not None:
        ended = given.array("stack.theta", theta)
        left = None if stack.left is None else given.some_of(stack.left)
        done, epoch = given.host("stack.done", networks, "bool"), given.host("stack.epoch", networks, "int64")
        stack, given.n_left = Stack(ended, left, done, epoch), None if left is None else len(left)
    present = given.array("theta", theta)
    position = ModelState(present, given.state("state", first.position.state, theta), numbers["epoch"], own_state=True)
    if numbers["parts_done"]:
        position.parts_done = numbers["parts_done"]
        position.sums = Sums(given.sums("sums.values", theta), given.sums("sums.weights", theta))
    best_theta = None if first.best.theta is None else given.array("best_theta", theta, present)
    best = Best(float(given.host("best", (), "float64")), best_theta, numbers["best_epoch"], numbers["stale"])
    last_good, diverged = given.array("last_good", theta, present), given.host("diverged", networks, "bool")
    history = History(*(given.history(f"history.{name}", networks if "loss" in name else ()) for name in _HISTORY))
    if len({len(figures) for figures in vars(history).values()} - {0}) > 1:
        raise ValueError("holds figures of several numbers of epochs")
    if given.rest:
        raise ValueError(f"holds what does not belong to it: {', '.join(sorted(given.rest))}")
    return TrainingState(position, last_good, best, diverged, history, stack, numbers["seconds"])


class _Given:
    """What a file holds, taken piece by piece; ``n_left`` networks of the stack still train, None if that is all."""

    def __init__(self, backend: Backend, numbers: Numbers, arrays: Arrays) -> None:
        self.backend, self.numbers, self.rest = backend, numbers["state"], dict(arrays)
        self.n_left: int | None = None

    def host(self, name: str, shape: Any, dtype: str) -> np.ndarray:
        """Take an array of one shape and type; a shape of None is any."""
        if name not in self.rest:
            raise ValueError(f"lacks {name}")
        array = self.rest.pop(name)
        if array.dtype.name != dtype or (shape is not None and array.shape != tuple(shape)):
            raise ValueError(f"holds {name} as {array.shape} of {array.dtype}, where {shape} of {dtype} belongs")
        return array

    def array(self, name: str, like: Array, where_it_lacks: Array | None = None) -> Array:
        """Take an array that is like another, of the networks that are left; to the backend."""
        if where_it_lacks is not None and name not in self.rest:
            return where_it_lacks
        host = self.host(name, self._of_those_left(like.shape), str(like.dtype).rpartition(".")[2])
        return to_backend(self.backend, host)

    def state(self, name: str, first: Any, theta: Array) -> Any:
        """Take what an optimizer keeps, built as it is at first."""
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            parts = zip(first._fields, first, strict=True)
            given = [self.state(f"{name}.{of_part}", part, theta) for of_part, part in parts]
            if len({len(part) for part in given if type(part) is tuple}) > 1:  # what changed, and how the gradient did
                raise ValueError(f"holds parts of {name} that differ in number")
            return type(first)(*given)
        if isinstance(first, tuple):  # of arrays like the parameters, as they come: the last changes of L-BFGS
            n = sum(other.startswith(f"{name}.") for other in self.rest)
            return tuple(self.array(f"{name}.{k}", theta) for k in range(n))
        if hasattr(first, "dtype"):
            array = self.array(name, first)
            return array[()] if isinstance(first, np.generic) else array
        number = self.numbers.get(name)
        if type(number) is not type(first) or not abs(number) < 2**63:
            raise ValueError(f"holds {number!r:.60} as {name}, where a number such as {first!r} belongs")
        return number

    def some_of(self, numbers: np.ndarray) -> np.ndarray:
        """Take which networks of a stack are left."""
        left = self.host("stack.left", None, "int64")
        if left.ndim != 1 or not np.all(np.isin(left, numbers)) or np.any(np.diff(left) <= 0):
            raise ValueError("holds numbers of networks that there are not")
        return left

    def sums(self, name: str, theta: Array) -> np.ndarray:
        """Take what steps add up to: for all networks, or for each."""
        sums = self.host(name, None, "float64")
        if sums.shape not in ((), (1,), (1, 1), (1, *self._of_those_left(theta.shape)[:-1])):
            raise ValueError(f"holds {name} as {sums.shape}")
        return sums

    def history(self, name: str, of_each: tuple[int, ...]) -> list[Any]:
        """Take figures of epochs, one or an array of them for each."""
        figures = self.host(name, None, "float64")
        if figures.shape != (0,) and (figures.ndim == 0 or figures.shape[1:] != of_each):
            raise ValueError(f"holds {name} as {figures.shape}, where (epochs, *{of_each}) belongs")
        return figures.tolist() if figures.ndim == 1 else list(figures)

    def _of_those_left(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape) if self.n_left is None or not shape else (self.n_left, *shape[1:])
