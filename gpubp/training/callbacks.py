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
``on_error(error)``
    Called with the exception that interrupts the training, to close what ``on_begin`` opened; the callback may not
    have begun, or may have ended, if the exception is that of another callback. Exceptions of ``on_error`` are ignored.
"""

import contextlib
import importlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
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
from gpubp.nn.network import Network
from gpubp.training.state import Outcome, median_loss


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
    network : Network, optional
        What is trained.
    settings : mapping of str to numbers, texts, sequences of numbers, or settings that change
        How: the parameters of an estimator that its fit reads, or the optimizer, its settings, and the options of
        :func:`gpubp.train` that a run like it needs, such as the batch size and the seed.
    """

    epoch: int
    epochs: int
    device: str
    theta: Array
    network: Network | None = None
    settings: Mapping[str, Any] = MappingProxyType({})


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

    Examples
    --------
    >>> import gpubp
    >>> losses = []
    >>> def keep_loss(progress):
    ...     losses.append(progress.loss)
    >>> fit = gpubp.train(gpubp.Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=3, callbacks=keep_loss)
    >>> len(losses)
    3
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

AUTOMATIC: dict[str, Callable[[], Callback]] = {}
"""What makes a callback for each fit in this process, by name: see :func:`~gpubp.training.tracking.mlflow_autolog`."""


FIGURES = ("loss", "validation_loss", "validation_score", "learning_rate", "samples_per_second")
"""The numbers of a :class:`Progress`."""


def figures(progress: Progress) -> dict[str, float]:
    """Return the figures of an epoch that there are; of a stack, the median of the networks whose figure is finite.

    Examples
    --------
    >>> figures(Progress(3, 10, np.asarray([0.5, 0.25, np.nan]), None, 0.75, 1e4, np.zeros(2)))
    {'loss': 0.375, 'validation_score': 0.75, 'samples_per_second': 10000.0}
    """
    values = ((name, getattr(progress, name)) for name in FIGURES)
    return {name: median_loss(to_numpy(value)) for name, value in values if value is not None}


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


def fail_callbacks(callbacks: Iterable[Callback], error: BaseException) -> None:
    """Call ``on_error`` of the callbacks that have it; ``error`` is what the user shall see, not what they raise."""
    for callback in callbacks:
        if hasattr(callback, "on_error"):
            with contextlib.suppress(Exception):
                callback.on_error(error)


@contextlib.contextmanager
def closed_on_error(callbacks: Iterable[Callback]) -> Iterator[None]:
    """Call ``on_error`` of the callbacks if an exception leaves the block."""
    try:
        yield
    except BaseException as error:
        fail_callbacks(callbacks, error)
        raise


def checked_interval(every: int) -> int:
    """Return the number of epochs between two calls.

    Raises
    ------
    DataError
        If it is not a whole number of at least 1.
    """
    if not is_count(every):
        raise DataError(f"a callback's every must be a whole number of at least 1, got {every!r}")
    return every


def check_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Check callbacks, one or several, and return them and new automatic ones as a tuple.

    Raises
    ------
    DataError
        If one is not callable, or its ``every`` is not a whole number of at least 1.
    """
    given = callbacks if isinstance(callbacks, Iterable) else (callbacks,)
    as_tuple = (*given, *(make() for make in tuple(AUTOMATIC.values())))
    for callback in as_tuple:
        if isinstance(callback, type):
            raise DataError(f"callbacks must be functions or objects, got the class {callback.__name__}: call it first")
        if not callable(callback):
            raise DataError(f"callbacks must be functions that take a Progress, got {callback!r}")
        checked_interval(interval(callback))
    return as_tuple


# --- built in, and by name ---


class _EpochFile:
    """A text file with a line for each epoch; subclasses say how an epoch is written and read."""

    header = ""
    """The first line of the file, if it has one."""

    def __init__(self, path: str | PathLike[str], every: int = 1) -> None:
        self.path, self.every = fspath(path), checked_interval(every)
        self._can_write = True

    def on_begin(self, run: RunStart) -> None:
        """Start a new file, or drop the lines after the epoch from which the run resumes."""
        path = Path(self.path)
        self._can_write = True
        if path.exists() and not path.is_file():
            raise DataError(f"cannot write to {self.path}: it is not a regular file")
        try:
            lines = [line for epoch, line in self._read_epochs(path) if epoch <= run.epoch]
            write_atomically(path, "".join([self.header, *(lines if run.epoch else [])]).encode())
        except OSError as error:
            folder = "" if path.parent.is_dir() else "; its folder does not exist"
            raise DataError(f"cannot write to {self.path}: {error.strerror or error}{folder}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path} holds lines that are not epochs; pass another file") from error

    def __call__(self, progress: Progress) -> None:
        """Write the line of an epoch; if that fails, warn once and let training continue."""
        if not self._can_write:
            return
        try:
            with Path(self.path).open("ab", buffering=0) as file:
                file.write(f"{self._written_text(progress)}\n".encode())
        except OSError as error:
            self._can_write = False
            reason = error.strerror or error
            warn(f"cannot write to {self.path}: {reason}; the file gets no more lines")

    def _read_epochs(self, path: Path) -> Iterator[tuple[int, str]]:
        """Read the epoch of each line of an earlier log; a last line that a crash cut off is left out."""
        if not path.exists():
            return
        with path.open() as file:
            if self.header and (first := file.readline()) not in ("", self.header):
                raise ValueError(f"another header: {first!r}")
            for line in file:
                if not line.endswith("\n") and self._is_cut_off(line):
                    return
                yield self._epoch_of(line), line

    def _written_text(self, progress: Progress) -> str:
        raise NotImplementedError

    def _epoch_of(self, line: str) -> int:
        raise NotImplementedError

    def _is_cut_off(self, line: str) -> bool:
        raise NotImplementedError


class JSONLines(_EpochFile):
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

    def _written_text(self, progress: Progress) -> str:
        return _ENCODER.encode({name: _as_json(value) for name, value in progress._asdict().items() if name != "theta"})

    def _epoch_of(self, line: str) -> int:
        return int(json.loads(line)["epoch"])

    def _is_cut_off(self, line: str) -> bool:
        return line.startswith('{"epoch"')


class CSVLogger(_EpochFile):
    """Write a row of a CSV file after every epoch, or every ``every`` epochs.

    The columns are ``epoch`` and the figures of :class:`Progress`; those that there are not are empty, and of a stack
    the median over the networks that are finite is written. Files are replaced and continued as by
    :class:`JSONLines`.

    Parameters
    ----------
    path : str or path
    every : int
        Number of epochs between two rows.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gpubp import CSVLogger, Network, train
    >>> X, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(f"{folder}/log.csv", every=10)
    ...     fit = train(Network((2, 4, 1)), X, targets, epochs=30, device="cpu", callbacks=[log])
    ...     header, *rows = Path(log.path).read_text().splitlines()
    >>> header, len(rows)
    ('epoch,loss,validation_loss,validation_score,learning_rate,samples_per_second', 3)
    """

    header = ",".join(("epoch", *FIGURES)) + "\n"

    def _written_text(self, progress: Progress) -> str:
        values = figures(progress)
        return ",".join([str(progress.epoch), *(repr(values[name]) if name in values else "" for name in FIGURES)])

    def _epoch_of(self, line: str) -> int:
        epoch, *values = line.rstrip("\n").split(",")
        if len(values) != len(FIGURES):
            raise ValueError(f"{len(values)} figures")
        return int(epoch)

    def _is_cut_off(self, line: str) -> bool:
        return line[:1].isdigit()


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


CALLBACKS: dict[str, Callable[[str], Callback]] = {"json_lines": JSONLines, "csv": CSVLogger}
"""The built-in callbacks by name; each takes the text after ``=``."""


def get_callback(text: str) -> Callback:
    """Return a callback by name: a built-in one, or an attribute of your module.

    Parameters
    ----------
    text : str
        ``"json_lines=FILE"``, ``"csv=FILE"``, or ``"module:attribute"``. If the attribute is a class, it is called
        without arguments; what follows ``=``, as in ``"gpubp:TensorBoardLogger=logs"``, is its one argument.

    Raises
    ------
    DataError
        If the name is unknown, nothing follows ``=``, or the module or the attribute cannot be imported.

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
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise DataError(f"{unknown('callback', name, CALLBACKS)}; or pass module:attribute")
    if equals and not argument:
        raise DataError(f"callback {text!r} has no value after '='; pass one, or {name} alone")
    return _import_callback(text, module_name, attribute, [argument] if equals else [])


def _import_callback(text: str, module_name: str, attribute: str, arguments: list[str]) -> Callback:
    """Import a callback, or what makes one."""
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module may raise anything when it is imported
        raise DataError(f"callback {text!r}: cannot import {module_name!r}: {excerpt(str(error))}") from error
    if not hasattr(module, attribute):
        close = near_miss(attribute, vars(module))
        raise DataError(f"callback {text!r}: module {module_name!r} has no {attribute!r}{close}")
    imported = getattr(module, attribute)
    try:
        callback = imported(*arguments) if arguments or isinstance(imported, type) else imported
    except Exception as error:  # a class may raise anything, or need arguments
        call = f"{attribute}({', '.join(map(repr, arguments))})"
        raise DataError(f"callback {text!r}: {call} raised {type(error).__name__}: {excerpt(str(error))}") from error
    return check_callbacks([callback])[0]


def call_on_rank_0(callbacks: Sequence[Callback], processes: Any) -> tuple[Callback, ...]:
    """Wrap callbacks so that all processes call them together, but only those of rank 0 run."""
    if processes.world_size == 1:
        return tuple(callbacks)
    every = processes.on_rank_0(lambda: math.gcd(*map(interval, callbacks)))
    return (CallbacksOfRank0(tuple(callbacks), processes, every),) if every else ()


class CallbacksOfRank0:
    """The callbacks of rank 0 as one callback of each process."""

    def __init__(self, callbacks: tuple[Callback, ...], processes: Any, every: int = 1) -> None:
        self.callbacks, self.processes, self.every = callbacks, processes, every

    def on_begin(self, run: RunStart) -> None:
        """Begin the callbacks."""
        with self.processes.raise_on_all():
            if self.processes.rank == 0:
                begin_callbacks(self.callbacks, run)

    def __call__(self, progress: Progress) -> bool:
        """Call those that are due; return whether training should end."""
        result: bool = self.processes.on_rank_0(lambda: call_due(self.callbacks, progress))
        return result

    def on_end(self, outcome: Outcome) -> None:
        """End the callbacks."""
        self.processes.on_rank_0(lambda: end_callbacks(self.callbacks, outcome))

    def on_error(self, error: BaseException) -> None:
        """Let the callbacks close what they opened."""
        if self.processes.rank == 0:  # without the others, which may not have failed
            fail_callbacks(self.callbacks, error)
