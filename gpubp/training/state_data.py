"""Convert a training state to the numbers and arrays of a checkpoint, and back."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.engine.plain.step import ModelState, Sums
from gpubp.training.state import Best, History, StackState, TrainingState

Numbers = dict[str, Any]
Arrays = dict[str, np.ndarray]

_HISTORY = tuple(each.name for each in fields(History))
_COUNTS = ("epoch", "parts_done", "best_epoch", "epochs_without_improvement")
_NUMBERS = {**dict.fromkeys(_COUNTS, int), "seconds": float, "state": dict}


def to_data(training_state: TrainingState) -> tuple[Numbers, Arrays]:
    """Convert a :meth:`TrainingState.snapshot` to numbers, for JSON, and NumPy arrays."""
    model, best, stack = training_state.model, training_state.best, training_state.stack
    state_parts = dict(_name_parts("state", model.state))
    numbers = {
        "epoch": model.epoch,
        "parts_done": model.parts_done,
        "seconds": training_state.seconds,
        "best_epoch": best.epoch,
        "epochs_without_improvement": best.epochs_without_improvement,
        "state": {name: part for name, part in state_parts.items() if not hasattr(part, "dtype")},
    }
    arrays = {name: part for name, part in state_parts.items() if hasattr(part, "dtype")}
    arrays |= {"theta": model.theta, "best": np.asarray(best.figure), "diverged": training_state.diverged}
    for name, theta in (("last_good", training_state.last_good), ("best_theta", best.theta)):
        if theta is not None and theta is not model.theta:
            arrays[name] = theta
    for name in _HISTORY:
        arrays[f"history.{name}"] = np.asarray(
            getattr(training_state.history, name)[: training_state.n_recorded], np.float64
        )
    if model.parts_done:
        arrays |= {"sums.values": np.asarray(model.sums.values), "sums.weights": np.asarray(model.sums.weights)}
    if stack is not None:
        arrays |= {"stack.theta": stack.theta, "stack.done": stack.done, "stack.epoch": stack.epoch}
    if stack is not None and stack.active is not None:
        arrays["stack.active"] = stack.active
    return numbers, {name: to_numpy(array) for name, array in arrays.items()}


def _name_parts(name: str, state: Any) -> Iterator[tuple[str, Any]]:
    """Name each number and each array of an optimizer's state."""
    if not isinstance(state, tuple):
        yield name, state
        return
    for part_name, part in zip(getattr(state, "_fields", range(len(state))), state, strict=True):
        yield from _name_parts(f"{name}.{part_name}", part)


def from_data(backend: Backend, numbers: Numbers, arrays: Arrays, first: TrainingState) -> TrainingState:
    """Build a training state from what :func:`to_data` returned.

    Parameters
    ----------
    first : TrainingState
        The initial state of the same run, which has the expected parts, shapes and types.

    Raises
    ------
    ValueError
        If anything is missing, unexpected, or of another shape or type; the message is appended to a file's name.
    """
    if {name: type(number) for name, number in numbers.items()} != _NUMBERS or any(
        not 0 <= numbers[name] < 2**63 for name in _COUNTS
    ):
        raise ValueError(f"does not hold the numbers {', '.join(_NUMBERS)}")
    theta, stack = first.model.theta, first.stack
    contents, networks = _Contents(backend, numbers, arrays), tuple(theta.shape[:-1])
    if stack is not None:
        final_theta = contents.array("stack.theta", theta)
        active = None if stack.active is None else contents.active_networks(stack.active)
        done, epoch = (
            contents.host_array("stack.done", networks, "bool"),
            contents.host_array("stack.epoch", networks, "int64"),
        )
        stack, contents.n_active = StackState(final_theta, active, done, epoch), None if active is None else len(active)
    current = contents.array("theta", theta)
    model = ModelState(current, contents.state("state", first.model.state, theta), numbers["epoch"], own_state=True)
    if numbers["parts_done"]:
        model.parts_done = numbers["parts_done"]
        model.sums = Sums(contents.sums("sums.values", theta), contents.sums("sums.weights", theta))
    best_theta = None if first.best.theta is None else contents.array("best_theta", theta, current)
    best = Best(
        float(contents.host_array("best", (), "float64")),
        best_theta,
        numbers["best_epoch"],
        numbers["epochs_without_improvement"],
    )
    last_good, diverged = contents.array("last_good", theta, current), contents.host_array("diverged", networks, "bool")
    history = History(*(contents.history(f"history.{name}", networks if "loss" in name else ()) for name in _HISTORY))
    if len({len(figures) for figures in vars(history).values()} - {0}) > 1:
        raise ValueError("holds figures of several numbers of epochs")
    if contents.unread:
        raise ValueError(f"holds unexpected entries: {', '.join(sorted(contents.unread))}")
    return TrainingState(model, last_good, best, diverged, history, stack, numbers["seconds"])


class _Contents:
    """The contents of a file, read piece by piece. ``n_active`` is the number of active networks, None for all."""

    def __init__(self, backend: Backend, numbers: Numbers, arrays: Arrays) -> None:
        self.backend, self.numbers, self.unread = backend, numbers["state"], dict(arrays)
        self.n_active: int | None = None

    def host_array(self, name: str, shape: Any, dtype: str) -> np.ndarray:
        """Read an array of this shape and type; a shape of None accepts any."""
        if name not in self.unread:
            raise ValueError(f"lacks {name}")
        array = self.unread.pop(name)
        if array.dtype.name != dtype or (shape is not None and array.shape != tuple(shape)):
            raise ValueError(f"holds {name} as {array.shape} of {array.dtype}, not {shape} of {dtype}")
        return array

    def array(self, name: str, like: Array, default: Array | None = None) -> Array:
        """Read an array of the active networks, like another array, and move it to the backend."""
        if default is not None and name not in self.unread:
            return default
        host_array = self.host_array(name, self._active_shape(like.shape), str(like.dtype).rpartition(".")[2])
        return to_backend(self.backend, host_array)

    def state(self, name: str, first: Any, theta: Array) -> Any:
        """Read an optimizer's state with the structure of the initial state."""
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            parts = zip(first._fields, first, strict=True)
            parts_of_state = [self.state(f"{name}.{part_name}", part, theta) for part_name, part in parts]
            if (
                len({len(part) for part in parts_of_state if type(part) is tuple}) > 1
            ):  # changes of parameters and of gradients
                raise ValueError(f"holds parts of {name} that differ in number")
            return type(first)(*parts_of_state)
        if isinstance(first, tuple):  # any number of arrays like the parameters: the last changes of L-BFGS
            n = sum(other.startswith(f"{name}.") for other in self.unread)
            return tuple(self.array(f"{name}.{k}", theta) for k in range(n))
        if hasattr(first, "dtype"):
            array = self.array(name, first)
            return array[()] if isinstance(first, np.generic) else array
        number = self.numbers.get(name)
        if type(number) is not type(first) or not abs(number) < 2**63:
            raise ValueError(f"holds {number!r:.60} as {name}, not a number such as {first!r}")
        return number

    def active_networks(self, numbers: np.ndarray) -> np.ndarray:
        """Read the numbers of the active networks."""
        active = self.host_array("stack.active", None, "int64")
        if active.ndim != 1 or not np.all(np.isin(active, numbers)) or np.any(np.diff(active) <= 0):
            raise ValueError("holds numbers of networks that do not exist")
        return active

    def sums(self, name: str, theta: Array) -> np.ndarray:
        """Read sums over steps: for all networks, or for each."""
        sums = self.host_array(name, None, "float64")
        if sums.shape not in ((), (1,), (1, 1), (1, *self._active_shape(theta.shape)[:-1])):
            raise ValueError(f"holds {name} as {sums.shape}")
        return sums

    def history(self, name: str, item_shape: tuple[int, ...]) -> list[Any]:
        """Read the figures of epochs, one number or one array for each."""
        figures = self.host_array(name, None, "float64")
        if figures.shape != (0,) and (figures.ndim == 0 or figures.shape[1:] != item_shape):
            raise ValueError(f"holds {name} as {figures.shape}, not (epochs, *{item_shape})")
        return figures.tolist() if figures.ndim == 1 else list(figures)

    def _active_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape) if self.n_active is None or not shape else (self.n_active, *shape[1:])
