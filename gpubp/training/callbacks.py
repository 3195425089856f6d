"""Callbacks: their arguments, how often they are called, and the built-in ones.

A callback is a callable that takes a :class:`Progress`; returning True ends the training after that epoch. It observes
only: short epochs are trained several at a time, for about a twentieth of a second, and the callbacks are called for
each of them afterwards. Optional attributes:

``every`` : int
    Number of epochs between two calls, by default 1. The callback is called after the epochs that are multiples of it.
``on_begin(run)``
    Called with a :class:`RunStart` before the first epoch.
``on_end(outcome)``
    Called with an :class:`~gpubp.training.state.Outcome` after the last epoch, also after Ctrl-C, but not if an error
    interrupts the epochs. An estimator sets its fitted attributes afterwards.
"""

import importlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import near_miss, unknown
from gpubp._core.text import excerpt
from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.io.atomic_files import write_atomically
from gpubp.training.state import Outcome


class RunStart(NamedTuple):
    """The argument of ``on_begin``.

    Attributes
    ----------
    epoch : int
        Epochs done before, by a run that is resumed or by earlier calls of ``partial_fit``.
    epochs : int
        Epochs planned, including those already done.
    device : str
        "cpu", "cuda:0", ...
    theta : (P,) or (K, P) array
        The parameters to start from, on the device.
    """

    epoch: int
    epochs: int
    device: str
    theta: Array


class Progress(NamedTuple):
    """The argument of a callback; for a stack of K networks the figures are ``(K,)`` NumPy arrays.

    Attributes
    ----------
    epoch, epochs : int
        Epochs done, and planned.
    loss : float
        Computed batch by batch during the epoch, without the penalty on the weights.
    validation_loss, validation_score : float, optional
    samples_per_second : float
    theta : (P,) or (K, P) array
        On the device that trains, not to be changed; for a stack, those of the networks that are still trained.
    learning_rate : float, optional
        At the beginning of the epoch; None for optimizers without one.
    """

    epoch: int
    epochs: int
    loss: Any
    validation_loss: Any | None
    validation_score: float | None
    samples_per_second: float
    theta: Array
    learning_rate: Any | None = None


Callback = Callable[[Progress], bool | None]


# --- calling them ---


def interval(callback: Callback) -> int:
    """Return the number of epochs between two calls of a callback."""
    return getattr(callback, "every", 1)


def call_due(callbacks: Iterable[Callback], progress: Progress) -> bool:
    """Call each callback that is due after this epoch; return whether any of them ends the training."""
    ends = False
    for callback in callbacks:
        if progress.epoch % interval(callback) == 0 and callback(progress):
            ends = True
    return ends


def epochs_before_due(callbacks: Iterable[Callback], epoch: int) -> float:
    """Return the number of epochs after ``epoch`` before the first one in which a callback is due; infinite if none is.

    Examples
    --------
    >>> def watch(progress): ...
    >>> watch.every = 10
    >>> epochs_before_due([watch], 23)
    6
    """
    return min((interval(callback) - 1 - epoch % interval(callback) for callback in callbacks), default=math.inf)


def begin_callbacks(callbacks: Iterable[Callback], run: RunStart) -> None:
    """Call ``on_begin`` of the callbacks that have it."""
    for callback in callbacks:
        if hasattr(callback, "on_begin"):
            callback.on_begin(run)


def end_callbacks(callbacks: Iterable[Callback], outcome: Outcome) -> None:
    """Call ``on_end`` of the callbacks that have it."""
    for callback in callbacks:
        if hasattr(callback, "on_end"):
            callback.on_end(outcome)


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Check callbacks, one or several, and return them as a tuple.

    Raises
    ------
    DataError
        If one is not callable, or its ``every`` is not a whole number of at least 1.
    """
    as_tuple = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    for callback in as_tuple:
        if not callable(callback):
            raise DataError(f"callbacks must be functions that take a Progress, got {callback!r}")
        every = interval(callback)
        if not is_count(every):
            raise DataError(f"a callback's every must be a whole number of at least 1, got {every!r}")
    return as_tuple


# --- built in, and by name ---


class JSONLines:
    """Write a JSON object to a line of a file after every epoch, or every ``every`` epochs.

    Each object has the fields of :class:`Progress` except ``theta``. NaN and infinity, which JSON lacks, are null. A
    run that starts at its first epoch replaces the log of an earlier run, never another file; a resumed one continues
    after the line of its last epoch. Several fits, as in a search, need a file each.

    Parameters
    ----------
    path : str or path
    every : int
        Number of epochs between two lines.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gpubp import JSONLines, Network, train
    >>> X, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = JSONLines(f"{folder}/log.jsonl", every=10)
    ...     fit = train(Network((2, 4, 1)), X, targets, epochs=30, device="cpu", callbacks=[log])
    ...     len(Path(log.path).read_text().splitlines())
    3
    """

    def __init__(self, path: str | PathLike[str], every: int = 1) -> None:
        self.path, self.every = fspath(path), every
        self._can_write = True

    def on_begin(self, run: RunStart) -> None:
        """Start a new file, or drop the lines after the epoch from which the run resumes."""
        path = Path(self.path)
        self._can_write = True
        if path.exists() and not path.is_file():
            raise DataError(f"cannot write to {self.path}: it is not a regular file")
        try:
            lines = [line for epoch, line in _read_epochs(path) if epoch <= run.epoch]
            write_atomically(path, "".join(lines if run.epoch else []).encode())
        except OSError as error:
            folder = "" if path.parent.is_dir() else "; its folder does not exist"
            raise DataError(f"cannot write to {self.path}: {error.strerror or error}{folder}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path} holds lines that are not epochs; pass another file") from error

    def __call__(self, progress: Progress) -> None:
        """Write the line of an epoch; if that fails, warn once and let training continue."""
        if not self._can_write:
            return
        figures = {name: _as_json(value) for name, value in progress._asdict().items() if name != "theta"}
        try:
            with Path(self.path).open("ab", buffering=0) as file:
                file.write(f"{_ENCODER.encode(figures)}\n".encode())
        except OSError as error:
            self._can_write = False
            reason = error.strerror or error
            warn(f"cannot write to {self.path}: {reason}; the file gets no more lines")


def _read_epochs(path: Path) -> Iterator[tuple[int, str]]:
    """Read the epoch of each line of an earlier log; a last line that a crash cut off is left out."""
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            if line.startswith('{"epoch"') and not line.endswith("\n"):
                return
            yield int(json.loads(line)["epoch"]), line


_ENCODER = json.JSONEncoder(allow_nan=False)


def _as_json(value: Any) -> Any:
    """Convert a number, or an array of numbers, for JSON."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if hasattr(value, "ndim"):
        return _as_json(to_numpy(value).tolist())
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value


CALLBACKS: dict[str, Callable[[str], Callback]] = {"json_lines": JSONLines}
"""The built-in callbacks by name; each takes the text after ``=``."""


def get_callback(text: str) -> Callback:
    """Return a callback by name: a built-in one, or an attribute of your module.

    Parameters
    ----------
    text : str
        ``"json_lines=FILE"``, or ``"module:attribute"``. If the attribute is a class, it is called without
        arguments.

    Raises
    ------
    DataError
        If the name is unknown, or the module or the attribute cannot be imported.

    Examples
    --------
    >>> from gpubp import get_callback
    >>> get_callback("json_lines=log.jsonl").path
    'log.jsonl'
    """
    name, equals, argument = text.partition("=")
    if name in CALLBACKS:
        if not argument:
            raise DataError(f"callback {name!r} needs a value: {name}=FILE")
        return CALLBACKS[name](argument)
    module_name, colon, attribute = text.partition(":")
    if not (colon and module_name and attribute) or equals:
        raise DataError(f"{unknown('callback', name, CALLBACKS)}; or pass module:attribute")
    return _import_callback(text, module_name, attribute)


def _import_callback(text: str, module_name: str, attribute: str) -> Callback:
    """Import a user-defined callback."""
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module may raise anything when it is imported
        raise DataError(f"callback {text!r}: cannot import {module_name!r}: {excerpt(str(error))}") from error
    if not hasattr(module, attribute):
        close = near_miss(attribute, vars(module))
        raise DataError(f"callback {text!r}: module {module_name!r} has no {attribute!r}{close}")
    imported = getattr(module, attribute)
    try:
        callback = imported() if isinstance(imported, type) else imported
    except Exception as error:  # a class may raise anything, or need arguments
        raise DataError(
            f"callback {text!r}: {attribute}() raised {type(error).__name__}: {excerpt(str(error))}"
        ) from error
    return check_callbacks([callback])[0]


def call_on_rank_0(callbacks: Sequence[Callback], processes: Any) -> tuple[Callback, ...]:
    """Wrap callbacks so that all processes call them together, but only those of rank 0 run."""
    if processes.world_size == 1:
        return tuple(callbacks)
    every = processes.on_rank_0(lambda: math.gcd(*map(interval, callbacks)))
    return (_OnRank0(tuple(callbacks), every, processes),) if every else ()


class _OnRank0:
    """The callbacks of rank 0 as one callback of each process."""

    def __init__(self, callbacks: tuple[Callback, ...], every: int, processes: Any) -> None:
        self.callbacks, self.every, self.processes = callbacks, every, processes

    def on_begin(self, run: RunStart) -> None:
        with self.processes.raise_on_all():
            if self.processes.rank == 0:
                begin_callbacks(self.callbacks, run)

    def __call__(self, progress: Progress) -> bool:
        result: bool = self.processes.on_rank_0(lambda: call_due(self.callbacks, progress))
        return result

    def on_end(self, outcome: Outcome) -> None:
        self.processes.on_rank_0(lambda: end_callbacks(self.callbacks, outcome))
