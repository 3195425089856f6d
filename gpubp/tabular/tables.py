"""Tables in, predictions out: a network trained on the columns of a file, scored on rows that it has not seen."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gpubp.data.metrics import Scores, score
from gpubp.data.preprocessing import (
    ClassTarget,
    Preprocessing,
    apply,
    decode_probabilities,
    decode_target,
    encode_target,
    fit_preprocessing,
    preprocessing_of,
    task_of,
    to_json,
)
from gpubp.data.readers import Column, Table, read_table, table_from_mapping
from gpubp.data.streaming.prepared import PARTS, PreparedStream
from gpubp.data.streaming.shares import check_parts
from gpubp.distributed.process_group import Processes
from gpubp.engine.prediction import predict
from gpubp.errors import CheckpointError, DataError
from gpubp.io.model_file import Model
from gpubp.nn.losses import loss as loss_named
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, adam
from gpubp.optim.second_order import SecondOrder
from gpubp.training.checkpoints import Checkpoints
from gpubp.training.fit import AUTO_BATCH, Fit, train
from gpubp.training.loop import Callback

Task = Literal["auto", "classification", "regression"]
AnyTable = Any
"""A :class:`~gpubp.data.Table`, the path of a file, the name of a built-in set, a dict of columns, a data frame, or a
pyarrow table."""


SMALL_BATCH = 32
BATCHES_IN_EPOCH = 50


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """A table as matrices, cut into parts.

    Attributes
    ----------
    table : Table
    preprocessing : Preprocessing
        Fitted on the training rows.
    x, d : (n, i) and (n, j) arrays
        All rows.
    parts : dict
        The rows of ``"train"``, ``"validation"`` and ``"test"``; a part may be empty.
    """

    table: Table
    preprocessing: Preprocessing
    x: np.ndarray
    targets: np.ndarray
    parts: dict[str, np.ndarray]

    @property
    def task(self) -> str:
        """The kind of problem: "classification" or "regression"."""
        return task_of(self.preprocessing)

    @property
    def source(self) -> str:
        """Where the table is from."""
        return self.table.source

    @property
    def n_inputs(self) -> int:
        """Count the inputs."""
        return int(self.x.shape[1])

    @property
    def n_outputs(self) -> int:
        """Count the outputs."""
        return int(self.targets.shape[1])

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each part has."""
        return {part: len(rows) for part, rows in self.parts.items()}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """From where to where each target of numbers goes, over all rows."""
        columns = {name: self.table.columns[name] for name in self.preprocessing.target_names}
        return {name: (values.min(), values.max()) for name, values in columns.items()}

    def with_preprocessing(self, preprocessing: Preprocessing) -> "PreparedTable":
        """Give the same with another description of the target."""
        return replace(self, preprocessing=preprocessing, targets=encode_target(preprocessing, self.table))

    def training(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the training rows as x and targets."""
        return self.x[self.parts["train"]], self.targets[self.parts["train"]]

    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the validation rows as x and targets, where there are any."""
        rows = self.parts["validation"]
        return (self.x[rows], self.targets[rows]) if len(rows) else None

    def scores(self, predicted: Callable[[np.ndarray], np.ndarray]) -> dict[str, Scores]:
        """Score the outputs for each part; after a divergence they may overflow, and then nothing is told."""
        scores = {}
        for part, rows in self.parts.items():
            y = predicted(self.x[rows]) if len(rows) else self.x[rows]
            if len(rows) and np.isfinite(y).all():
                scores[part] = score(self.preprocessing, self.targets[rows], y)
        return scores


@dataclass(frozen=True, eq=False)
class TableFit:
    """A network trained on a table.

    Attributes
    ----------
    model : Model
        What :func:`predict_table` and :func:`gpubp.save_model` take.
    fit : Fit
        How training went; ``history.validation_score`` is the accuracy or R squared of each epoch, which patience does
        not watch.
    scores : dict
        For ``"train"``, ``"validation"`` and ``"test"``, where they hold rows: accuracy, balanced accuracy, macro F1
        and log loss of classes; R squared, mean absolute error and root mean squared error of numbers, in their units.
    rows : dict
        How many rows each part holds.
    """

    model: Model
    fit: Fit
    scores: dict[str, Scores]
    rows: dict[str, int]


def prepare_table(
    table: AnyTable,
    *,
    target: str | Sequence[str] | None = None,
    task: Task = "auto",
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
    impute: bool = False,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> PreparedTable:
    """Read a table, find its target and task, cut its rows into parts and turn them into matrices.

    Parameters
    ----------
    table : Table, path, name, dict of columns, data frame or pyarrow table
        See :func:`gpubp.data.read_table` for paths and names.
    target, task, categorical, drop, max_categories, impute
        See :func:`gpubp.data.fit_preprocessing`.
    test_fraction, validation_fraction : float
        Parts of all rows, drawn by ``seed``, classes in equal shares. The test rows are looked at once, at the end;
        the validation rows after each epoch, to stop in time. A part of fewer than two rows is left empty.
    seed : int
        For the parts.

    Returns
    -------
    PreparedTable

    Raises
    ------
    DataError
        If the table or an option does not serve; the message names the column and the fix.

    Examples
    --------
    >>> {part: len(rows) for part, rows in prepare_table("iris").parts.items()}
    {'train': 105, 'validation': 15, 'test': 30}
    """
    check_parts(test_fraction, validation_fraction, seed)
    table = as_table(table)

    def fitted(rows: np.ndarray) -> Preprocessing:
        return fit_preprocessing(
            table,
            target,
            task=task,
            impute=impute,
            categorical=categorical,
            drop=drop,
            max_categories=max_categories,
            rows=rows,
        )

    everything = np.arange(table.n_rows)
    whole = fitted(everything)  # the task and the classes come first: they shape the parts
    classes = encode_target(whole, table).argmax(axis=1) if isinstance(whole.target, ClassTarget) else None
    rest, test = _divided(everything, classes, round(test_fraction * table.n_rows), seed)
    training, validation = _divided(rest, classes, round(validation_fraction * table.n_rows), seed)
    if len(training) < 2:
        raise DataError(
            f"{table.source} has {table.n_rows} rows, which leaves {len(training)} to train on; 2 are needed"
        )
    preprocessing = fitted(training)
    return PreparedTable(
        table,
        preprocessing,
        apply(preprocessing, table),
        encode_target(preprocessing, table),
        dict(zip(PARTS, (training, validation, test), strict=True)),
    )


def fit_table(
    prepared: PreparedTable | PreparedStream,
    *,
    hidden_layer_sizes: Sequence[int] = (100,),
    activation: str = "relu",
    loss: str | None = None,
    optimizer: Optimizer | SecondOrder | None = None,
    epochs: int = 200,
    batch_size: int | Literal["auto", "full"] = "auto",
    l2: float = 0.1,
    patience: int | None = 10,
    tolerance: float = 1e-4,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    matmul_precision: str = "float32",
    callbacks: Iterable[Callback] = (),
    checkpoint: str | PathLike[str] | Checkpoints | None = None,
    resume: bool = False,
    parallel: str | Processes | None = None,
) -> TableFit:
    """Train a network to predict the target of a prepared table from its features, and score it.

    Parameters
    ----------
    prepared : PreparedTable or PreparedStream
        From :func:`prepare_table`, or of a table larger than memory from :func:`gpubp.prepare_stream`.
    hidden_layer_sizes : sequence of int
        Units of the hidden layers.
    activation : str
        Their unit.
    loss : str, optional
        The error; cross-entropy for classes and the squared error for numbers without it.
    optimizer : Optimizer or SecondOrder, optional
        Adam without it.
    epochs : int
        Epochs through the training rows, at most.
    batch_size : int, "auto" or "epoch"
        "auto" makes about 50 batches an epoch, of 32 to 200 rows.
    seed : int
        For the first weights and the order of the rows.
    patience : int, optional
        Stop when the error of the validation rows, or without any the error, is no better for so many epochs.
    callbacks : iterable of callables
        As those of :func:`gpubp.train`; with validation rows they are told the accuracy or R squared of these too.
    checkpoint, resume
        See :func:`gpubp.train`; a table that has changed is told from the one before by its training rows.
    l2, tolerance, device, dtype, matmul_precision, parallel
        See :func:`gpubp.train`.

    Returns
    -------
    TableFit

    Raises
    ------
    DataError
        If an option does not serve, or the error is not defined for the target.
    CheckpointError
        As by :func:`gpubp.train`; its ``fit`` is a TableFit.
    DeviceError
        If the device cannot be used.

    Examples
    --------
    >>> from gpubp.tabular.tables import fit_table, predict_table, prepare_table
    >>> result = fit_table(prepare_table("iris"), epochs=20, device="cpu")
    >>> list(predict_table(result.model, "iris", device="cpu"))
    ['target', 'target=setosa', 'target=versicolor', 'target=virginica']
    """
    network = network_for(prepared, hidden_layer_sizes=hidden_layer_sizes, activation=activation, loss=loss)
    prepared = _suited_to(network.loss, prepared)
    x, targets = prepared.training()
    optimizer = adam() if optimizer is None else optimizer
    if batch_size == "auto" and isinstance(optimizer, Optimizer):
        batch_size = min(AUTO_BATCH, max(SMALL_BATCH, prepared.rows["train"] // BATCHES_IN_EPOCH))
    held_out = prepared.validation()
    not_written = None
    try:
        fit = train(
            network,
            x,
            targets,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            l2=l2,
            validation_data=held_out,
            scoring=partial(_one_score, prepared.task) if held_out else None,
            monitor="loss",
            patience=patience,
            tolerance=tolerance,
            callbacks=callbacks,
            device=device,
            dtype=dtype,
            matmul_precision=matmul_precision,
            parallel=parallel,
            checkpoint=checkpoint,
            resume=resume,
        )
    except CheckpointError as error:
        if error.fit is None:
            raise
        fit, not_written = error.fit, error
    predicted = partial(predict, network, fit.theta, matmul_precision=matmul_precision, device=fit.device)
    scores, n_rows = prepared.scores(predicted), prepared.rows
    about = {
        "task": prepared.task,
        "source": Path(prepared.source).name,
        "rows": n_rows,
        "scores": scores,
        "optimizer": {"name": optimizer.name, **{name: _plain(value) for name, value in optimizer.settings.items()}},
        "training": {
            "batch_size": batch_size,
            "l2": l2,
            "epochs": len(fit.history.loss),
            "best_epoch": fit.best_epoch,
            "stop_reason": fit.stop_reason,
            "seed": seed,
            "device": fit.device,
            "dtype": dtype,
            "matmul_precision": matmul_precision,
        },
    }
    result = TableFit(Model(network, fit.theta, to_json(prepared.preprocessing), about), fit, scores, n_rows)
    if not_written is not None:
        not_written.fit = result
        raise not_written
    return result


def network_for(
    prepared: PreparedTable | PreparedStream,
    *,
    hidden_layer_sizes: Sequence[int] = (100,),
    activation: str = "relu",
    loss: str | None = None,
) -> Network:
    """Plan the network that a prepared table asks for; classes have softmax outputs, whatever the error."""
    is_classification = prepared.task == "classification"
    return Network(
        (prepared.n_inputs, *hidden_layer_sizes, prepared.n_outputs),
        activation=activation,
        output_activation="softmax" if is_classification else None,
        loss=loss or ("cross_entropy" if is_classification else "squared"),
    )


def predict_table(
    model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32"
) -> dict[str, Column]:
    """Predict the target of each row of a table.

    Parameters
    ----------
    model : Model
        From :func:`fit_table`, or from :func:`gpubp.load_model`.
    table : Table, path, name, dict of columns, data frame or pyarrow table
        With the feature columns that the model was trained on, in any order.
    device : str
        See :func:`gpubp.backends.backend.choose_backend`.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        See :func:`gpubp.train`.

    Returns
    -------
    dict of str to (n,) array
        The target's name with the predicted classes, then ``"target=class"`` with the probability of each class; or
        each target's name with the predicted numbers.

    Raises
    ------
    DataError
        If the table does not have the columns or values that the model knows.
    ModelFileError
        If the model has no preprocessing, or one that does not fit its network.
    """
    preprocessing = preprocessing_of(model)
    return decoded(preprocessing, outputs(model, table, device=device, matmul_precision=matmul_precision))


def outputs(model: Model, table: AnyTable, *, device: str = "auto", matmul_precision: str = "float32") -> np.ndarray:
    """Compute the network's outputs for each row of a table, ``(n, j)``."""
    if model.theta.ndim != 1:
        raise DataError(f"the model is a stack of {model.theta.shape[0]} networks; tables are predicted with one")
    x = apply(preprocessing_of(model), as_table(table))
    y: np.ndarray = predict(model.network, model.theta, x, device=device, matmul_precision=matmul_precision)
    return y


def decoded(preprocessing: Preprocessing, y: np.ndarray) -> dict[str, Column]:
    """Turn outputs into what :func:`predict_table` gives."""
    predictions = decode_target(preprocessing, y)
    if isinstance(preprocessing.target, ClassTarget):
        predictions |= decode_probabilities(preprocessing, y)
    return predictions


def _one_score(task: str, targets: np.ndarray, y: np.ndarray) -> float:
    """Take the accuracy, or R squared, which is the same in the units of the network and in those of the target."""
    if task == "classification":
        return float((targets.argmax(axis=1) == y.argmax(axis=1)).mean())
    from sklearn.metrics import r2_score

    return float(r2_score(targets, y.astype(np.float64))) if np.isfinite(y).all() else math.nan


def as_table(table: AnyTable) -> Table:
    """Read a table, unless it is one."""
    if isinstance(table, Table):
        return table
    return read_table(fspath(table)) if isinstance(table, str | PathLike) else table_from_mapping(table)


def _divided(rows: np.ndarray, classes: np.ndarray | None, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out ``size`` rows, of each class its share where each class has enough rows for that."""
    from sklearn.model_selection import train_test_split

    if not 2 <= size < len(rows):
        return rows, rows[:0]
    shares = None
    if classes is not None:
        found, counts = np.unique(classes[rows], return_counts=True)
        if counts.min() >= 2 and len(found) <= min(size, len(rows) - size):
            shares = classes[rows]
    kept, held_out = train_test_split(rows, test_size=size, random_state=seed, stratify=shares)
    return kept, held_out


def _suited_to(loss: str, prepared: PreparedTable | PreparedStream) -> PreparedTable | PreparedStream:
    """Scale numbers so that the error is defined for them: Poisson's needs 0 to stay 0, a probability 1 to stay 1."""
    preprocessing, target = prepared.preprocessing, prepared.preprocessing.target
    low, high = loss_named(loss).desired
    if low == -math.inf or isinstance(target, ClassTarget):
        return prepared
    for name, (least, most) in prepared.ranges.items():
        if least < low or most > high:
            raise DataError(
                f"the error {loss!r} needs a target from {low:g} to {high:g}, got {least:g} to {most:g} in {name!r}; "
                "use 'squared'"
            )
    scales = target.scales if high == math.inf else (1.0,) * len(target.names)
    target = replace(target, means=(0.0,) * len(target.names), scales=scales)
    return prepared.with_preprocessing(replace(preprocessing, target=target))


def _plain(setting: Any) -> Any:
    """Write an optimizer's setting as JSON: a number, or the text of a schedule."""
    return setting if isinstance(setting, int | float) else repr(setting)
