"""Checkpoints: the state of a run, kept in a folder, so that the run can be resumed.

A checkpoint is data, never code: a safetensors file with the arrays and one entry of metadata, ``gpubp_checkpoint``: a
JSON object with the format's number, gpubp's version, the settings of the training, the numbers of the training state,
the state of the generator that draws the orders, the arrays' shapes and types, and a SHA-256 over all of these and the
arrays' bytes. Writing is atomic: a file is complete or absent.
"""

import contextlib
import hashlib
import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.text import brief
from gpubp._typing import Array
from gpubp._version import __version__
from gpubp.backends.backend import Backend, to_numpy
from gpubp.engine.plain.minibatches import Orders
from gpubp.errors import CheckpointError, CheckpointWarning, DataError
from gpubp.io.atomic_files import write_atomically
from gpubp.io.json_header import array_bytes, canonical_json, checksum, has_types, parse_canonical
from gpubp.io.safetensors import MalformedFile, read_tensors
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder
from gpubp.training.state import TrainingState
from gpubp.training.state_data import Arrays, Numbers, from_data, to_data

FORMAT = 1
"""The number of the format that this version writes, and the newest that it reads."""

Settings = dict[str, Any]
"""The settings that must match for a run to resume from a checkpoint, by readable names, as JSON."""

_KEY = "gpubp_checkpoint"
_NAME = re.compile(r"checkpoint-(\d{8,})-(\d{5,})\.safetensors")
_LEFT_BEHIND = re.compile(r"\.[0-9a-f]{16}\.tmp")  # left by a process that was killed while writing
_HEADER = {
    "format": int,
    "version": str,
    "settings": dict,
    "training_state": dict,
    "order": dict | None,
    "arrays": dict,
    "sha256": str,
}
_BYTES_AT_ONCE = 1 << 24  # moved to the host at a time for the fingerprint of an array


@dataclass(frozen=True)
class Checkpoints:
    """The folder of checkpoints, how often to write them, and how many to keep.

    Attributes
    ----------
    folder : str or path
        A folder for one training only; it is created if it does not exist.
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
        if not (isinstance(self.keep, int) and self.keep >= 1):
            raise DataError(f"keep must be a whole number of at least 1, got {self.keep!r}")


class Checkpoint(NamedTuple):
    """The contents of a checkpoint."""

    path: Path
    settings: Settings
    numbers: Numbers
    order: dict[str, Any] | None
    arrays: Arrays


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
            checkpoint = _read(path)
        except _Damaged as fault:
            faults.append(f"{path.name} {fault}")
            continue
        if faults:
            for damaged in paths[paths.index(path) + 1 :]:  # otherwise they would be newer than the next checkpoints
                damaged.rename(f"{damaged}.damaged")
            warnings.warn(
                f"of the checkpoints in {folder}, {'; '.join(faults)}; training continues from {path.name} instead",
                CheckpointWarning,
                stacklevel=5,
            )
        return checkpoint
    if faults:
        raise CheckpointError(
            f"no checkpoint in {folder} is intact: {'; '.join(faults)}. Copy them again from their source, "
            "or train again with another folder"
        )
    return None


class _Damaged(Exception):
    """A file is not a checkpoint, or is damaged; the message is appended to the file's name."""


def _read(path: Path) -> Checkpoint:
    try:
        metadata, tensors = read_tensors(path)
    except MalformedFile as error:
        raise _Damaged(f"is truncated or damaged ({error})") from error
    except (OSError, ValueError) as error:
        raise _Damaged(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    header, arrays = _header(metadata.get(_KEY)), {name: tensors[name] for name in sorted(tensors)}
    number = header.get("format")
    if isinstance(number, int) and number > FORMAT:
        version = brief(str(header.get("version")), 40)
        raise CheckpointError(
            f"{path} has the format {brief(str(number), 40)}, from gpubp {version}; gpubp {__version__} reads up to "
            f"{FORMAT}. Upgrade it: pip install --upgrade gpubp"
        )
    if not has_types(header, _HEADER) or header["arrays"] != _described(arrays):
        raise _Damaged("has a header that does not match its contents")
    if header.pop("sha256") != checksum(header, *arrays.values()):
        raise _Damaged("was changed after it was written: its checksum does not match")
    return Checkpoint(path, header["settings"], header["training_state"], header["order"], arrays)


def _header(text: str | None) -> dict[str, Any]:
    if text is None:
        raise _Damaged("is a safetensors file, but not a checkpoint of gpubp")
    if (header := parse_canonical(text)) is None:
        raise _Damaged("has a damaged header")
    return header


def _described(arrays: Arrays) -> dict[str, Any]:
    return {name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in sorted(arrays.items())}


def _differences(before: Settings, now: Settings) -> Iterator[str]:
    for name in dict.fromkeys([*now, *before]):
        was, is_now = before.get(name), now.get(name)
        if was == is_now:
            continue
        if isinstance(was, dict) and isinstance(is_now, dict):
            known = [f"{one.get('shape')} of {one.get('dtype')}" if "shape" in one else "" for one in (was, is_now)]
            yield f"{name} was {known[0]}, is {known[1]}" if known[0] != known[1] else f"{name} has other values"
        else:
            yield f"{name} was {_shown(was)}, is {_shown(is_now)}"


def _shown(value: Any) -> str:
    return "given" if isinstance(value, dict) else f"{value!r:.60}"


def settings_of(
    network: Network, optimizer: Optimizer | SecondOrder, data: Mapping[str, Array | None], same: Mapping[str, Any]
) -> Settings:
    """Describe the settings that must match for a run to resume: network, optimizer, arrays, and other options."""
    settings = {f"network.{name}": value for name, value in asdict(network).items()} | {"optimizer": optimizer.name}
    settings |= {f"{optimizer.name}.{name}": name_of(value) for name, value in optimizer.settings.items()}
    settings |= {name: fingerprint(array) for name, array in data.items()}
    return settings | {name: name_of(value) for name, value in same.items()}


def fingerprint(array: Array | None) -> dict[str, Any] | None:
    """Describe an array by shape, type and SHA-256; None for None."""
    if array is None:
        return None
    of_all, n_rows = hashlib.sha256(), int(array.shape[0])
    at_once = max(1, int(_BYTES_AT_ONCE // max(1, 8 * int(np.prod(array.shape[1:], dtype=np.int64)))))
    for start in range(0, n_rows, at_once):
        of_all.update(array_bytes(to_numpy(array[start : min(start + at_once, n_rows), ...])))
    shape = [int(n) for n in array.shape]
    return {"shape": shape, "dtype": str(array.dtype).rpartition(".")[2], "sha256": of_all.hexdigest()}


def name_of(setting: Any) -> Any:
    """Describe a setting as JSON: a number, an array, a schedule or a function."""
    if setting is None or isinstance(setting, str | bool | int | float | dict):
        return setting
    if getattr(setting, "shape", ()):
        return fingerprint(setting)
    if hasattr(setting, "__dataclass_fields__"):
        return repr(setting)
    if callable(setting):
        return str(getattr(setting, "__qualname__", type(setting).__qualname__))
    return float(setting)


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
        self.checkpoints, self.settings, self.orders = checkpoints, _as_json(settings), orders
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
            If the checkpoint belongs to another training; the message lists the differences.
        """
        differences = list(_differences(checkpoint.settings, self.settings))
        if differences:
            shown = brief("; ".join(differences), 1000)
            raise CheckpointError(
                f"{checkpoint.path} belongs to another training: {shown}. Pass the same arguments as before, "
                "or another folder"
            )
        try:
            training_state = from_data(backend, checkpoint.numbers, checkpoint.arrays, first)
        except ValueError as error:
            raise CheckpointError(f"{checkpoint.path} {brief(str(error))}; train again with another folder") from error
        if training_state.model.epoch > epochs:
            epoch = brief(str(training_state.model.epoch), 40)
            raise CheckpointError(f"{checkpoint.path} is from epoch {epoch}, but epochs={epochs}; pass more epochs")
        if self.orders is not None and checkpoint.order is not None:
            try:
                self.orders.go_back_to(checkpoint.order)
            except Exception as error:  # NumPy's generators may raise anything
                raise CheckpointError(
                    f"{checkpoint.path} holds no state of the orders' generator ({brief(str(error))}); train again "
                    "with another folder"
                ) from error
        return training_state

    def note(self, training_state: TrainingState) -> None:
        """Store the state of the run, and write it if a checkpoint is due; if that fails, warn and continue."""
        order = None if self.orders is None else self.orders.state(of_present=training_state.model.parts_done > 0)
        self.latest = training_state, order
        if time.monotonic() < self.due:
            return
        try:
            self.write()
            self.warned = False
        except (OSError, MemoryError) as error:
            if not self.warned:
                self.warned = True
                warnings.warn(
                    f"no checkpoint could be written to {self.folder}: {_cause(error)}; training continues, and "
                    f"writing is tried again every {self.checkpoints.every_seconds:g} s",
                    CheckpointWarning,
                    stacklevel=2,
                )
        self.due = time.monotonic() + self.checkpoints.every_seconds

    def write(self) -> None:
        """Write the last state of the run if it is not written yet, and remove surplus checkpoints."""
        import safetensors.numpy

        if self.latest is None:
            return
        training_state, order = self.latest
        numbers, arrays = to_data(training_state)
        arrays = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
        header = {
            "format": FORMAT,
            "version": __version__,
            "settings": self.settings,
            "training_state": numbers,
            "order": order,
            "arrays": _described(arrays),
        }
        header["sha256"] = checksum(header, *(arrays[name] for name in sorted(arrays)))
        path = self.folder / f"checkpoint-{numbers['epoch']:08}-{numbers['parts_done']:05}.safetensors"
        write_atomically(path, safetensors.numpy.save(arrays, {_KEY: canonical_json(header)}))
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


def _as_json(settings: Mapping[str, Any]) -> Settings:
    """Convert settings to the types that JSON returns, such as lists for tuples."""
    as_read: Settings = json.loads(canonical_json(settings))
    return as_read
