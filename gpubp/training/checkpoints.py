"""The folder of checkpoints: the newest is read before training, and others are written during it."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from gpubp._core.counts import is_count
from gpubp._core.text import excerpt
from gpubp._core.user_warnings import warn
from gpubp.backends.backend import Backend
from gpubp.engine.plain.minibatches import Orders
from gpubp.errors import CheckpointError, CheckpointWarning, DataError
from gpubp.io.atomic_files import write_atomically
from gpubp.training.checkpoint_file import Checkpoint, DamagedCheckpoint, read_checkpoint, write_checkpoint
from gpubp.training.run_settings import Settings, as_read_back, differences
from gpubp.training.state import TrainingState
from gpubp.training.state_data import from_data, to_data

_NAME = re.compile(r"checkpoint-(\d{8,})-(\d{5,})\.safetensors")
_LEFT_BEHIND = re.compile(r"\.[0-9a-f]{16}\.tmp")  # left by a process that was killed while writing


@dataclass(frozen=True)
class Checkpoints:
    """The folder of checkpoints, how often to write them, and how many to keep.

    Attributes
    ----------
    folder : str or path
        A folder for one run only; it is created if it does not exist.
    every_seconds : float
        The minimum time between two checkpoints. They are written at the end of an epoch, or between two parts of a
        long one, and once when training ends.
    keep : int
        The number of checkpoints that are kept.

    Examples
    --------
    >>> import tempfile
    >>> from gpubp import Checkpoints, Network, train
    >>> network = Network((2, 4, 1))
    >>> X, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder, every_seconds=10)
    ...     fit = train(network, X, targets, epochs=20, device="cpu", checkpoint=checkpoints)
    ...     fit = train(network, X, targets, epochs=50, device="cpu", checkpoint=checkpoints, resume=True)
    >>> len(fit.history.loss)
    50
    """

    folder: str | PathLike[str]
    every_seconds: float = 60.0
    keep: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | PathLike) or not fspath(self.folder):
            raise DataError(f"the folder of checkpoints must be a path, got {self.folder!r}")
        if not (isinstance(self.every_seconds, int | float) and 0.0 <= self.every_seconds < float("inf")):
            raise DataError(f"every_seconds must be a finite number of at least 0, got {self.every_seconds!r}")
        if not is_count(self.keep):
            raise DataError(f"keep must be a whole number of at least 1, got {self.keep!r}")


# --- before training ---


def open_folder(checkpoints: Checkpoints, *, resume: bool) -> Checkpoint | None:
    """Check that checkpoints can be written, and return the newest undamaged one, if any.

    Newer ones that are damaged are renamed, and listed in a warning.

    Raises
    ------
    DataError
        If nothing can be written to the folder.
    CheckpointError
        If there are checkpoints and ``resume`` is False, or all of them are damaged.
    """
    folder = Path(checkpoints.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(probe := folder / ".writable", b"")
        probe.unlink()
    except OSError as error:
        raise DataError(
            f"no checkpoint can be written to {folder}: {error.strerror or error}; fix it, or choose another folder"
        ) from error
    for left_behind in folder.iterdir():
        if _LEFT_BEHIND.fullmatch(left_behind.name):
            left_behind.unlink(missing_ok=True)
    paths = checkpoints_in(folder)
    if paths and not resume:
        raise CheckpointError(
            f"{folder} already holds checkpoints, the newest {paths[-1].name}; continue from it with resume=True "
            "(--resume), or choose another folder"
        )
    return _newest(folder, paths)


def checkpoints_in(folder: str | PathLike[str]) -> list[Path]:
    """List the checkpoints in a folder, intact or not, the newest last."""
    found = [(match, path) for path in Path(folder).glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda each: [int(number) for number in each[0].groups()])]


def _newest(folder: Path, paths: list[Path]) -> Checkpoint | None:
    faults: list[str] = []
    for path in reversed(paths):
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpoint as fault:
            faults.append(f"{path.name} {fault}")
            continue
        if faults:
            for damaged in paths[paths.index(path) + 1 :]:  # otherwise they would be newer than the next checkpoints
                damaged.rename(f"{damaged}.damaged")
            warn(
                f"of the checkpoints in {folder}, {'; '.join(faults)}; training continues from {path.name} instead",
                CheckpointWarning,
            )
        return checkpoint
    if faults:
        raise CheckpointError(
            f"no checkpoint in {folder} is intact: {'; '.join(faults)}. Copy them again from their source, "
            "or train again with another folder"
        )
    return None


# --- during training ---


class Keeper:
    """Writes the checkpoints of one run: at intervals, and at its end.

    Parameters
    ----------
    settings : dict
        The settings that must match when the run is resumed.
    orders : Orders, optional
        The generator of the order of the samples.
    """

    def __init__(self, checkpoints: Checkpoints, settings: Settings, orders: Orders | None) -> None:
        self.checkpoints, self.settings, self.orders = checkpoints, as_read_back(settings), orders
        self.folder = Path(checkpoints.folder)
        self.latest: tuple[TrainingState, Any] | None = None  # not written yet
        self.due, self.warned = time.monotonic() + checkpoints.every_seconds, False

    def training_state(
        self, checkpoint: Checkpoint, backend: Backend, first: TrainingState, epochs: int
    ) -> TrainingState:
        """Return the state of the run in a checkpoint, and set the generator of the orders to it.

        Parameters
        ----------
        first : TrainingState
            The initial state of the run.
        epochs : int
            The maximum number of epochs.

        Raises
        ------
        CheckpointError
            If the run that wrote the checkpoint had other settings; the message lists the differences.
        """
        changed = list(differences(checkpoint.settings, self.settings))
        if changed:
            shown = excerpt("; ".join(changed), 1000)
            raise CheckpointError(
                f"{checkpoint.path} was written by a run with other settings: {shown}. Pass the same arguments as "
                "before, or another folder"
            )
        try:
            training_state = from_data(backend, checkpoint.numbers, checkpoint.arrays, first)
        except ValueError as error:
            raise CheckpointError(
                f"{checkpoint.path} {excerpt(str(error))}; train again with another folder"
            ) from error
        if training_state.model.epoch > epochs:
            epoch = excerpt(str(training_state.model.epoch), 40)
            raise CheckpointError(f"{checkpoint.path} is from epoch {epoch}, but epochs={epochs}; pass more epochs")
        if self.orders is not None and checkpoint.order is not None:
            try:
                self.orders.restore(checkpoint.order)
            except Exception as error:  # NumPy's generators may raise anything
                raise CheckpointError(
                    f"{checkpoint.path} holds no state of the orders' generator ({excerpt(str(error))}); train again "
                    "with another folder"
                ) from error
        return training_state

    def note(self, training_state: TrainingState) -> None:
        """Store the state of the run, and write it if a checkpoint is due; if that fails, warn and continue."""
        order = None if self.orders is None else self.orders.state(before_last_draw=training_state.model.parts_done > 0)
        self.latest = training_state, order
        if time.monotonic() < self.due:
            return
        try:
            self.write()
            self.warned = False
        except (OSError, MemoryError) as error:
            if not self.warned:
                self.warned = True
                warn(
                    f"no checkpoint could be written to {self.folder}: {_cause(error)}; training continues, and "
                    f"writing is tried again every {self.checkpoints.every_seconds:g} s",
                    CheckpointWarning,
                )
        self.due = time.monotonic() + self.checkpoints.every_seconds

    def write(self) -> None:
        """Write the last state of the run if it is not written yet, and remove surplus checkpoints."""
        if self.latest is None:
            return
        training_state, order = self.latest
        numbers, arrays = to_data(training_state)
        path = self.folder / f"checkpoint-{numbers['epoch']:08}-{numbers['parts_done']:05}.safetensors"
        write_checkpoint(Checkpoint(path, self.settings, numbers, order, arrays))
        self.latest = None
        for old in checkpoints_in(self.folder)[: -self.checkpoints.keep]:
            old.unlink(missing_ok=True)

    def close(self, fit: Any) -> None:
        """Write the last checkpoint.

        Raises
        ------
        CheckpointError
            If it cannot be written; the error's ``fit`` is the result.
        """
        try:
            self.write()
        except (OSError, MemoryError) as error:
            failed = CheckpointError(f"the last checkpoint could not be written to {self.folder}: {_cause(error)}")
            failed.fit = fit
            failed.add_note("the result of training is not lost: it is the attribute fit of this error")
            raise failed from error

    @contextlib.contextmanager
    def write_on_error(self) -> Iterator[None]:
        """Write the last state if an error ends the run, and add a note to the error on how to resume."""
        try:
            yield
        except Exception as error:
            with contextlib.suppress(Exception):  # the device, the disk or the memory may have failed
                self.write()
            if paths := checkpoints_in(self.folder):
                error.add_note(f"resume continues from {paths[-1]}")
            raise


def _cause(error: OSError | MemoryError) -> str:
    return getattr(error, "strerror", None) or str(error) or "there is not enough memory"
