"""Callbacks for trackers of experiments: TensorBoard, MLflow, Weights & Biases, each by duck typing."""

import contextlib
import copy
import importlib
from collections.abc import Mapping
from numbers import Real
from os import PathLike, fspath
from typing import Any

from gpubp._core.optional_imports import import_optional
from gpubp.errors import DataError, GpubpError
from gpubp.training.callbacks import AUTOMATIC, Progress, RunStart, checked_interval, figures
from gpubp.training.state import Outcome


class TensorBoardLogger:
    """Write the figures of every epoch for TensorBoard; of a stack, the median over the networks that are finite.

    Parameters
    ----------
    writer : str, path, or an object with ``add_scalar(tag, value, step)``
        The folder of the logs, written by PyTorch's or tensorboardX's SummaryWriter, whichever is installed; or such a
        writer, which stays open after the training.
    every : int
        Number of epochs between two calls.

    Raises
    ------
    DataError
        If the writer has no ``add_scalar``.
    GpubpError
        If ``writer`` is a folder and no SummaryWriter is installed.

    Examples
    --------
    >>> from gpubp import Network, TensorBoardLogger, train
    >>> class Writer:
    ...     def add_scalar(self, tag, value, step):
    ...         print(step, tag)
    >>> logger = TensorBoardLogger(Writer())
    >>> _ = train(Network((1, 1)), [[0.0], [1.0]], [[1.0], [1.0]], epochs=1, device="cpu", callbacks=[logger])
    1 loss
    1 learning_rate
    1 samples_per_second
    """

    def __init__(self, writer: Any, *, every: int = 1) -> None:
        self.folder = fspath(writer) if isinstance(writer, str | PathLike) else None
        if self.folder is None and not hasattr(writer, "add_scalar"):
            raise DataError(f"writer must be a folder or have add_scalar, got {type(writer).__name__}")
        self.writer: Any = writer if self.folder is None else None
        self.every = checked_interval(every)

    def on_begin(self, run: RunStart) -> None:
        """Open the writer, if it was given as a folder."""
        if self.folder is not None:
            self.writer = _summary_writer()(self.folder)

    def __call__(self, progress: Progress) -> None:
        """Write the figures of an epoch."""
        for name, value in figures(progress).items():
            self.writer.add_scalar(name, value, progress.epoch)

    def on_end(self, outcome: Outcome) -> None:
        """Close the writer, if it was given as a folder."""
        self._close()

    def on_error(self, error: BaseException) -> None:
        """Close the writer, if it was given as a folder."""
        self._close()

    def _close(self) -> None:
        if self.folder is not None:
            writer, self.writer = self.writer, None
            if writer is not None:
                writer.close()
        elif hasattr(self.writer, "flush"):
            self.writer.flush()


def _summary_writer() -> Any:
    for module in ("tensorboardX", "torch.utils.tensorboard"):  # the second takes seconds to import
        with contextlib.suppress(ImportError):
            return importlib.import_module(module).SummaryWriter
    raise GpubpError(
        "a folder for TensorBoard needs a SummaryWriter; to fix it: pip install tensorboardX, or tensorboard beside "
        "PyTorch, or pass an object with add_scalar(tag, value, step)"
    )


class MLflowLogger:
    """Log the figures of every epoch to MLflow; of a stack, the median over the networks that are finite.

    The active run is logged to, or a new one, which ends with the training. Its parameters are the network, the
    number of epochs, the device, and the parameters of the estimator or of the optimizer; the reason why training
    stopped is a tag. After an error, and if training diverged, a new run ends as failed.

    Parameters
    ----------
    mlflow : module, optional
        The module ``mlflow``, imported when training begins; or an object with its functions ``active_run``,
        ``start_run``, ``end_run``, ``log_params``, ``log_metrics`` and ``set_tag``.
    params : mapping, optional
        More parameters to log.
    every : int
        Number of epochs between two calls.

    Raises
    ------
    GpubpError
        When training begins, if MLflow is not installed.

    Examples
    --------
    >>> from gpubp import MLflowLogger
    >>> logger = MLflowLogger(params={"data": "digits"}, every=10)  # train(..., callbacks=[logger])
    >>> logger.every
    10
    """

    def __init__(self, mlflow: Any = None, *, params: Mapping[str, Any] | None = None, every: int = 1) -> None:
        self.mlflow, self.params, self.every = mlflow, dict(params or {}), checked_interval(every)
        self._run_id: str | None = None  # of the run that this callback has started
        self._with_params: set[str] = set()  # runs whose parameters are logged, which must not change

    def on_begin(self, run: RunStart) -> None:
        """Start a run, if none is active, and log its parameters."""
        mlflow = self._functions()
        active, self._run_id = mlflow.active_run(), None
        if active is None:
            active = mlflow.start_run()
            self._run_id = active.info.run_id
        if active.info.run_id not in self._with_params:
            self._with_params.add(active.info.run_id)
            mlflow.log_params({**_settings(run), **self.params})

    def __call__(self, progress: Progress) -> None:
        """Log the figures of an epoch."""
        self._functions().log_metrics(figures(progress), step=progress.epoch)

    def on_end(self, outcome: Outcome) -> None:
        """Log why training stopped, and end the run that this callback has started."""
        self._functions().set_tag("stop_reason", outcome.stop_reason)
        self._end({"interrupted": "KILLED", "diverged": "FAILED"}.get(outcome.stop_reason, "FINISHED"))

    def on_error(self, error: BaseException) -> None:
        """End the run that this callback has started."""
        self._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _end(self, status: str) -> None:
        own, self._run_id = self._run_id, None
        if own is not None:
            active = self._functions().active_run()
            if active is not None and active.info.run_id == own:
                self._functions().end_run(status)

    def _functions(self) -> Any:
        """Return the module; it is not kept, since estimators copy their callbacks, and modules cannot be copied."""
        if self.mlflow is not None:
            return self.mlflow
        return import_optional("mlflow", "logging to MLflow", "MLflow", "mlflow")


def mlflow_autolog(mlflow: Any = None, *, disable: bool = False, every: int = 1) -> None:
    """Log every training in this process to MLflow from now on, of :func:`gpubp.train` and of the estimators.

    As ``mlflow.sklearn.autolog()`` does for scikit-learn, each fit without an active run gets a run of its own. The
    fits of a search are runs too, one network at a time.

    Parameters
    ----------
    mlflow : module, optional
        See :class:`MLflowLogger`.
    disable : bool
        Stop logging.
    every : int
        Number of epochs between two calls.

    Examples
    --------
    >>> from gpubp import mlflow_autolog
    >>> mlflow_autolog()
    >>> mlflow_autolog(disable=True)
    """
    AUTOMATIC.pop("mlflow", None)
    if not disable:
        logger = MLflowLogger(mlflow, every=every)
        # each fit has its own run, also in threads; the set of runs whose parameters are logged is shared
        AUTOMATIC["mlflow"] = lambda: copy.copy(logger)


def _settings(run: RunStart) -> dict[str, Any]:
    settings: dict[str, Any]
    settings = {name: value for name, value in run.settings.items() if isinstance(value, str | Real)}
    short = {name: value for name, value in run.settings.items() if isinstance(value, list | tuple) and len(value) < 50}
    settings |= {name: str(value) for name, value in short.items() if all(isinstance(one, Real) for one in value)}
    settings |= {"epochs": run.epochs, "device": run.device}
    if run.network is not None:
        settings |= {
            "network": "-".join(map(str, run.network.sizes)),
            "activation": ", ".join(run.network.activations),
            "loss_function": run.network.loss,
            "n_parameters": run.network.n_parameters,
        }
    return settings


class WandbLogger:
    """Log the figures of every epoch to a run of Weights & Biases; of a stack, the median over those that are finite.

    Parameters
    ----------
    run : object with ``log(dict)``
        What ``wandb.init(...)`` returns; gpubp does not import wandb. The epoch is one of the figures, and wandb counts
        the steps, so a run can hold several trainings and figures of your own. If it has
        ``config.update(dict, allow_val_change=True)``, the parameters of the last training go there, as for
        :class:`MLflowLogger`. The run is not finished by this callback.
    every : int
        Number of epochs between two calls.

    Raises
    ------
    DataError
        If the run has no ``log``.

    Examples
    --------
    >>> from gpubp import Network, WandbLogger, train
    >>> class Run:
    ...     def log(self, figures):
    ...         print(sorted(figures))
    >>> _ = train(
    ...     Network((1, 1)), [[0.0], [1.0]], [[1.0], [1.0]], epochs=1, device="cpu", callbacks=[WandbLogger(Run())]
    ... )
    ['epoch', 'learning_rate', 'loss', 'samples_per_second']
    """

    def __init__(self, run: Any, *, every: int = 1) -> None:
        if not callable(getattr(run, "log", None)):
            raise DataError(f"run must have a function log, as what wandb.init returns, got {type(run).__name__}")
        self.run, self.every = run, checked_interval(every)

    def on_begin(self, run: RunStart) -> None:
        """Log the settings."""
        if hasattr(getattr(self.run, "config", None), "update"):
            self.run.config.update(_settings(run), allow_val_change=True)

    def __call__(self, progress: Progress) -> None:
        """Log the figures of an epoch."""
        self.run.log({"epoch": progress.epoch, **figures(progress)})
