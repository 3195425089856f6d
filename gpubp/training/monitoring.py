"""Callbacks that monitor a figure: one ends the training, one keeps the best model."""

import math
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import unknown
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.io.model_file import save_model
from gpubp.nn.network import Network
from gpubp.training.callbacks import FIGURES, Progress, RunStart, checked_interval, figures

Monitor = Literal["validation_loss", "validation_score", "loss"] | Callable[[Progress], float]


class _Best:
    """The best value of a figure so far, larger for a score or a function, smaller for a loss."""

    def __init__(self, monitor: Monitor, min_delta: float = 0.0) -> None:
        if not callable(monitor) and monitor not in FIGURES:
            raise DataError(f"{unknown('figure to monitor', str(monitor), FIGURES)}; or pass a function of a Progress")
        if not 0.0 <= min_delta < math.inf:
            raise DataError(f"min_delta must be a finite number of at least 0, got {min_delta!r}")
        self.monitor, self.min_delta = monitor, min_delta
        self.value, self.epoch = -math.inf, 0

    def improves(self, progress: Progress) -> bool:
        """Return whether an epoch has the best value so far, and remember it."""
        if callable(self.monitor):
            value = float(self.monitor(progress))
        else:
            by_name = figures(progress)
            if self.monitor not in by_name:
                raise DataError(
                    f"{self.monitor!r} is monitored, but this training has only {', '.join(by_name)}; pass "
                    "validation_data, and scoring for a score, or monitor another figure"
                )
            value = by_name[self.monitor] * (1.0 if self.monitor.endswith("score") else -1.0)
        if value > self.value + self.min_delta:  # False for NaN
            self.value, self.epoch = value, progress.epoch
            return True
        return False


class EarlyStopping:
    """End the training once a figure has not improved for some epochs.

    :func:`gpubp.train` and the estimators stop by themselves, and keep the best parameters: see ``patience`` and
    ``early_stopping``. This callback only stops; it is for other figures. In a resumed training it counts anew.

    Parameters
    ----------
    monitor : {"validation_loss", "validation_score", "loss"} or callable
        The figure, of a stack its median; a function takes a :class:`~gpubp.training.callbacks.Progress` and returns
        a number that is to become large.
    patience : int
        Epochs without an improvement after which training ends.
    min_delta : float
        An improvement is more than this.
    every : int
        Number of epochs between two calls.

    Attributes
    ----------
    best_epoch : int
        The epoch of the best value, 0 before the first.

    Raises
    ------
    DataError
        If a parameter is invalid, or the training has no such figure.

    Examples
    --------
    >>> from gpubp import EarlyStopping, Network, train
    >>> stopping = EarlyStopping("loss", patience=3, min_delta=1e-3)
    >>> fit = train(Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=900, device="cpu", callbacks=[stopping])
    >>> fit.stop_reason, len(fit.history.loss) - stopping.best_epoch
    ('callback', 3)
    """

    def __init__(
        self, monitor: Monitor = "validation_loss", *, patience: int = 10, min_delta: float = 0.0, every: int = 1
    ) -> None:
        if not is_count(patience):
            raise DataError(f"patience must be a whole number of at least 1, got {patience!r}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.every = checked_interval(every)
        self._best = _Best(monitor, min_delta)

    @property
    def best_epoch(self) -> int:
        """The epoch of the best value."""
        return self._best.epoch

    def on_begin(self, run: RunStart) -> None:
        """Forget the training before."""
        self._best = _Best(self.monitor, self.min_delta)
        self._best.epoch = run.epoch

    def __call__(self, progress: Progress) -> bool:
        """Return whether the figure has not improved for long enough."""
        return not self._best.improves(progress) and progress.epoch - self._best.epoch >= self.patience


class ModelCheckpoint:
    """Write a model file whenever a figure is the best so far, or every few epochs.

    The file is for predictions (:func:`gpubp.load_model`); a training is continued from
    :class:`~gpubp.training.checkpoints.Checkpoints`. Of a stack that is trained with ``stop_when``, a file has only
    the networks that are still trained: the number of its rows falls.

    Parameters
    ----------
    path : str or path
        An existing file is replaced once the new one is complete. ``{epoch}`` in it gives each epoch a file. Its
        folder must exist.
    monitor : {"validation_loss", "validation_score", "loss"}, callable or None
        See :class:`EarlyStopping`; None writes at every call.
    every : int
        Number of epochs between two calls.

    Attributes
    ----------
    best_epoch : int
        The epoch of the last file, 0 before the first.

    Raises
    ------
    DataError
        If a parameter is invalid, the folder does not exist, or the training has no such figure.
    OSError
        If the file cannot be written, which ends the training.

    Examples
    --------
    >>> import tempfile
    >>> from gpubp import ModelCheckpoint, Network, load_model, train
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     best = ModelCheckpoint(f"{folder}/best.safetensors", monitor="loss", every=10)
    ...     fit = train(Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=30, device="cpu", callbacks=[best])
    ...     model = load_model(best.path)
    >>> bool((model.theta == fit.theta).all()), best.best_epoch
    (True, 30)
    """

    def __init__(
        self, path: str | PathLike[str], monitor: Monitor | None = "validation_loss", *, every: int = 1
    ) -> None:
        self.path, self.monitor, self.every = fspath(path), monitor, checked_interval(every)
        example = Path(self.path.replace("{epoch}", "1"))
        if not self.path or example.is_dir():
            raise DataError(f"path must be that of a file to write, got {self.path!r}")
        if "{epoch}" not in str(Path(self.path).parent) and not example.parent.is_dir():
            raise DataError(f"cannot write to {self.path}: its folder does not exist")
        self._best = None if monitor is None else _Best(monitor)
        self._network: Network | None = None
        self.best_epoch = 0

    def on_begin(self, run: RunStart) -> None:
        """Forget the training before."""
        self._best = None if self.monitor is None else _Best(self.monitor)
        self._network, self.best_epoch = run.network, 0

    def __call__(self, progress: Progress) -> None:
        """Write the file, if this epoch is the best."""
        if self._best is not None and not self._best.improves(progress):
            return
        theta = np.asarray(to_numpy(progress.theta))
        if self._network is None or not np.all(np.isfinite(theta)):
            return
        save_model(self.path.replace("{epoch}", str(progress.epoch)), self._network, theta)
        self.best_epoch = progress.epoch
