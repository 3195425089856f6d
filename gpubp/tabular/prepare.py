"""Read a table, split its rows into training, validation and test rows, and encode them as matrices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

import numpy as np

from gpubp.data.metrics import Scores, score
from gpubp.data.preprocessing import (
    ClassTarget,
    ColumnOptions,
    ColumnType,
    Preprocessing,
    Task,
    apply,
    decide_table,
    encode_target,
    fit_columns,
)
from gpubp.data.readers import read_table
from gpubp.data.streaming.split import SPLITS, validate_fractions
from gpubp.data.table import Table, table_from_mapping
from gpubp.errors import DataError

AnyTable = Any
"""A :class:`~gpubp.data.Table`, the path of a file, the name of a built-in data set, a dict of columns, a data frame,
or a pyarrow table."""


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """A table as matrices, with its rows split into parts.

    Attributes
    ----------
    table : Table
    preprocessing : Preprocessing
        Fitted on the training rows.
    X, targets : (n, i) and (n, j) arrays
        All rows.
    parts : dict of str to array of int
        The row numbers of ``"train"``, ``"validation"`` and ``"test"``; a part may be empty.
    """

    table: Table
    preprocessing: Preprocessing
    X: np.ndarray
    targets: np.ndarray
    parts: dict[str, np.ndarray]

    @property
    def task(self) -> str:
        """The task: "classification" or "regression"."""
        return self.preprocessing.task

    @property
    def source(self) -> str:
        """The file or data set that the table comes from."""
        return self.table.source

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return int(self.X.shape[1])

    @property
    def n_outputs(self) -> int:
        """The number of outputs."""
        return int(self.targets.shape[1])

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows in each part."""
        return {part: len(rows) for part, rows in self.parts.items()}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The minimum and maximum of each numeric target, over all rows."""
        target = self.preprocessing.target
        values = self.targets if isinstance(target, ClassTarget) else self.targets * target.scales + target.means
        return {
            name: (float(column.min()), float(column.max()))
            for name, column in zip(self.preprocessing.target_names, values.T, strict=False)
        }

    def with_preprocessing(self, preprocessing: Preprocessing) -> "PreparedTable":
        """Return the same table with another preprocessing of the target."""
        return replace(self, preprocessing=preprocessing, targets=encode_target(preprocessing, self.table))

    def training(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of the training rows."""
        return self.X[self.parts["train"]], self.targets[self.parts["train"]]

    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the inputs and targets of the validation rows, or None if there are none."""
        rows = self.parts["validation"]
        return (self.X[rows], self.targets[rows]) if len(rows) else None

    def held_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the inputs and targets of the test rows, or without them of the validation rows."""
        rows = self.parts["test"]
        return (self.X[rows], self.targets[rows]) if len(rows) else self.validation()

    def constant_outputs(self) -> np.ndarray:
        """Return the means of the training targets, ``(j,)``: class shares, or the mean of numbers."""
        means: np.ndarray = self.targets[self.parts["train"]].mean(axis=0)
        return means

    def scores(self, predicted: Callable[[np.ndarray], np.ndarray]) -> dict[str, Scores]:
        """Score the outputs of each part; a part without rows, or with outputs that are not finite, has no scores."""
        scores = {}
        for part, rows in self.parts.items():
            outputs = predicted(self.X[rows]) if len(rows) else self.X[rows]
            if len(rows) and np.isfinite(outputs).all():  # after a divergence they may overflow
                scores[part] = score(self.preprocessing, self.targets[rows], outputs)
        return scores


@np.errstate(all="ignore")
def prepare_table(
    table: AnyTable,
    *,
    target: str | Sequence[str] | None = None,
    task: Task = "auto",
    types: Mapping[str, ColumnType] | None = None,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: Sequence[str] = (),
    max_categories: int = 100,
    strict: bool = False,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> PreparedTable:
    """Read a table, find its target and task, split its rows into parts, and encode them as matrices.

    Parameters
    ----------
    table : Table, path, name, dict of columns, data frame or pyarrow table
        See :func:`gpubp.data.read_table` for paths and names.
    target, task, types, categorical, drop, missing, max_categories, strict
        See :func:`gpubp.data.fit_preprocessing`.
    test_fraction, validation_fraction : float
        Fractions of all rows, drawn at random and stratified by class. The test rows are scored once, after training;
        the validation rows are scored after each epoch, for early stopping. A part of fewer than two rows stays empty.
    seed : int
        Seed of the split.

    Returns
    -------
    PreparedTable

    Raises
    ------
    DataError
        If the table or an option is not valid; the message names the column and the fix.

    Examples
    --------
    >>> {part: len(rows) for part, rows in prepare_table("iris").parts.items()}
    {'train': 105, 'validation': 15, 'test': 30}
    """
    validate_fractions(test_fraction, validation_fraction, seed)
    table = as_table(table)

    options = ColumnOptions(target, task, types, categorical, drop, missing, max_categories, strict)
    decisions = decide_table([table], options)
    present = decisions.target.present(table)
    all_rows = np.flatnonzero(present)
    classes = None
    if decisions.target.is_classes:
        classes = np.unique(decisions.target.read(table)[0].values[present].astype(str), return_inverse=True)[1]
    places = np.arange(len(all_rows))
    rest, test = _split(places, classes, round(test_fraction * len(places)), seed)
    training, validation = _split(rest, classes, round(validation_fraction * len(places)), seed)
    if len(training) < 2:
        raise DataError(
            f"{table.source} has {len(places)} rows, which leaves {len(training)} for training; at least 2 are needed"
        )
    is_training = np.zeros(table.n_rows, dtype=bool)
    is_training[all_rows[training]] = True
    preprocessing = fit_columns(decisions, [(table, is_training)]).preprocessing
    if not present.all():
        table = table.select(present)
    return PreparedTable(
        table,
        preprocessing,
        apply(preprocessing, table),
        encode_target(preprocessing, table),
        dict(zip(SPLITS, (training, validation, test), strict=True)),
    )


def as_table(table: AnyTable) -> Table:
    """Convert any supported kind of table to a :class:`~gpubp.data.Table`."""
    if isinstance(table, Table):
        return table
    return read_table(fspath(table)) if isinstance(table, str | PathLike) else table_from_mapping(table)


def _split(rows: np.ndarray, classes: np.ndarray | None, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out ``size`` rows, stratified by class if each class has enough rows."""
    from sklearn.model_selection import train_test_split

    if not 2 <= size < len(rows):
        return rows, rows[:0]
    strata = None
    if classes is not None:
        present, counts = np.unique(classes[rows], return_counts=True)
        if counts.min() >= 2 and len(present) <= min(size, len(rows) - size):
            strata = classes[rows]
    remaining, held_out = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    return remaining, held_out
