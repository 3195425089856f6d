"""Read a table, split its rows into training, validation and test rows, and encode them as matrices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpubp._core.text import counted, shortened
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.data.metrics import Scores, score
from gpubp.data.preprocessing import (
    CategoryEncoding,
    ClassTarget,
    ColumnOptions,
    ColumnType,
    NumberEncoding,
    Preprocessing,
    TableDecisions,
    Task,
    apply,
    choose_targets,
    decide_table,
    encode_target,
    fit_columns,
    read_numbers,
    require_column,
)
from gpubp.data.readers import read_table
from gpubp.data.streaming.split import SPLITS, validate_fractions
from gpubp.data.table import Table, table_from_mapping
from gpubp.errors import DataError
from gpubp.nn.losses import smoothed_labels
from gpubp.tabular.held_out import check_columns, group_keys, split_at_random, split_groups, split_in_time, times_of

AnyTable = Any
"""A :class:`~gpubp.data.Table`, the path of a file, the name of a built-in data set, a dict of columns, a data frame,
or a pyarrow table."""


class EncodedRows(NamedTuple):
    """Rows of a table as inputs ``(n, i)``, targets ``(n, j)`` and, if there are any, weights ``(n,)``."""

    X: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> "EncodedRows":
        """Return some rows, by index; without a copy if they are all rows in their order."""
        if len(rows) == len(self.X) and np.array_equal(rows, np.arange(len(rows))):
            return self
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        return EncodedRows(self.X[rows], self.targets[rows], weights)


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """A table as matrices, with its rows split into parts.

    Attributes
    ----------
    table : Table
    preprocessing : Preprocessing
        Fitted on the training rows.
    encoded : EncodedRows
        All rows; the weights of the training rows have the mean 1.
    parts : dict of str to array of int
        The row numbers of ``"train"``, ``"validation"`` and ``"test"``; a part may be empty.
    decisions : TableDecisions
        What each column is.
    split_by : str
        How rows were held out: ``"group"``, ``"time"`` or, at random, ``""``.
    fingerprint : str
        Equal for tables with the same values in the columns that are used; models remember it.
    validation_table, given_validation : Table and EncodedRows, optional
        Validation rows that are not rows of the table.
    label_smoothing : float
        The part of each class label that :meth:`training` spreads over all classes.
    class_weight : dict of str to float
        The weights of the classes by which those of the rows were multiplied; empty if they were not.

    Examples
    --------
    >>> prepared = prepare_table("iris")
    >>> prepared.task, prepared.X.shape, prepared.targets.shape
    ('classification', (150, 51), (150, 3))
    >>> prepared.rows
    {'train': 105, 'validation': 15, 'test': 30}
    """

    table: Table
    preprocessing: Preprocessing
    encoded: EncodedRows
    parts: dict[str, np.ndarray]
    decisions: TableDecisions
    split_by: str = ""
    fingerprint: str = ""
    validation_table: Table | None = None
    given_validation: EncodedRows | None = None
    label_smoothing: float = 0.0
    class_weight: Mapping[str, float] = field(default_factory=dict)

    @property
    def X(self) -> np.ndarray:
        """The inputs of all rows, ``(n, i)``."""
        return self.encoded.X

    @property
    def targets(self) -> np.ndarray:
        """The targets of all rows, ``(n, j)``."""
        return self.encoded.targets

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
        given = {} if self.given_validation is None else {"validation": len(self.given_validation.X)}
        return {part: len(rows) for part, rows in self.parts.items()} | given

    @property
    def holds_out_rows(self) -> bool:
        """Whether rows of the table are not for training."""
        return len(self.parts["train"]) < self.table.n_rows

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The minimum and maximum of each numeric target, over all rows."""
        target, missing = self.preprocessing.target, self.preprocessing.target_missing
        if isinstance(target, ClassTarget):
            return {}
        columns = {
            name: read_numbers(self.table, name, target.number_format(name), missing).values for name in target.names
        }
        return {name: (float(values.min()), float(values.max())) for name, values in columns.items()}

    def with_preprocessing(self, preprocessing: Preprocessing) -> "PreparedTable":
        """Return the same table with another preprocessing of the target."""
        given = self.given_validation
        if given is not None and self.validation_table is not None:
            given = given._replace(targets=encode_target(preprocessing, self.validation_table))
        encoded = self.encoded._replace(targets=encode_target(preprocessing, self.table))
        return replace(self, preprocessing=preprocessing, encoded=encoded, given_validation=given)

    def reweighted(self, factors: Callable[[np.ndarray], np.ndarray]) -> "PreparedTable":
        """Return the same table with weights multiplied by ``factors(targets)``, ``(n,)``."""
        encoded, given = _reweighted(self.encoded, factors), self.given_validation
        given = None if given is None else _reweighted(given, factors)
        return replace(self, encoded=_normalized(encoded, self.parts["train"]), given_validation=given)

    def training(self) -> EncodedRows:
        """Return the training rows, with smoothed labels if they are requested."""
        rows = self.encoded.select(self.parts["train"])
        return rows._replace(targets=smoothed_labels(rows.targets, self.label_smoothing, self.n_outputs))

    def validation(self) -> EncodedRows | None:
        """Return the validation rows, or None if there are none."""
        if self.given_validation is not None:
            return self.given_validation
        rows = self.parts["validation"]
        return self.encoded.select(rows) if len(rows) else None

    def on_all_rows(self) -> "PreparedTable":
        """Return the table with all rows for training, encoded by the statistics of all of them."""
        return self.trained_on(np.arange(self.table.n_rows))

    def trained_on(
        self,
        rows: np.ndarray,
        numbers: NumberEncoding | None = None,
        categories: CategoryEncoding | None = None,
        *,
        only: Mapping[str, np.ndarray] | None = None,
    ) -> "PreparedTable":
        """Return the table with some rows for training, encoded by their statistics; other parts keep the others.

        `numbers` and `categories` are other encodings, and `only` are the rows of each part to which the table is
        reduced.
        """
        kept = self if only is None else self._reduced(only)
        decisions = self.decisions
        options = decisions.options
        options = replace(options, numbers=numbers or options.numbers, categories=categories or options.categories)
        if options == decisions.options and np.array_equal(rows, self.parts["train"]):
            return kept
        decisions = replace(decisions, options=options)
        is_training = np.zeros(self.table.n_rows, dtype=bool)
        is_training[rows] = True
        fitted = fit_columns(decisions, [(self.table, is_training)])
        preprocessing, weights, given = fitted.preprocessing, kept.encoded.sample_weight, self.given_validation
        if given is not None and self.validation_table is not None:
            rows_and_targets = _inputs_and_targets(preprocessing, self.validation_table, self.X.dtype)
            given = EncodedRows(*rows_and_targets, given.sample_weight)
        parts = kept.parts
        if only is None:
            parts = {part: of_part[~is_training[of_part]] for part, of_part in self.parts.items()} | {"train": rows}
        encoded = EncodedRows(*_inputs_and_targets(preprocessing, kept.table, self.X.dtype), weights)
        numbers_of_rows = rows if only is None else only["train"]
        fitted.out_of_fold.fill(encoded.X, preprocessing, kept.table, parts["train"], numbers_of_rows)
        return replace(
            kept,
            preprocessing=preprocessing,
            encoded=_normalized(encoded, parts["train"]),
            parts=parts,
            decisions=decisions,
            fingerprint=fitted.fingerprint,
            given_validation=given,
        )

    def _reduced(self, rows: Mapping[str, np.ndarray]) -> "PreparedTable":
        """Return the table with some rows of each part alone, as they are encoded."""
        is_kept = np.zeros(self.table.n_rows, dtype=bool)
        for of_part in rows.values():
            is_kept[of_part] = True
        place = np.cumsum(is_kept) - 1
        parts = {part: place[rows[part]] for part in SPLITS}
        encoded = _normalized(self.encoded.select(np.flatnonzero(is_kept)), parts["train"])
        return replace(self, table=self.table.select(is_kept), encoded=encoded, parts=parts)

    def held_out(self) -> EncodedRows | None:
        """Return the test rows, or without them the validation rows."""
        rows = self.parts["test"]
        return self.encoded.select(rows) if len(rows) else self.validation()

    def constant_outputs(self) -> np.ndarray:
        """Return the means of the training targets, ``(j,)``: class shares, or the mean of numbers."""
        means: np.ndarray = self.targets[self.parts["train"]].mean(axis=0)
        return means

    def scores(self, predicted: Callable[[np.ndarray], np.ndarray]) -> dict[str, Scores]:
        """Score the outputs of each part; a part without rows, or with outputs that are not finite, has no scores."""
        scores = {}
        for part, rows in self.parts.items():
            of_part = self.validation() if part == "validation" else self.encoded.select(rows) if len(rows) else None
            if of_part is None:
                continue
            outputs = predicted(of_part.X)
            if np.isfinite(outputs).all():  # after a divergence they may overflow
                scores[part] = score(self.preprocessing, of_part.targets, outputs)
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
    numbers: NumberEncoding = "piecewise",
    categories: CategoryEncoding = "one-hot",
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    group: str | None = None,
    time: str | None = None,
    seed: int = 0,
    sample_weight: Any = None,
    validation_table: AnyTable | None = None,
    validation_weight: Any = None,
    exact_labels: bool = False,
    dtype: str = "float64",
) -> PreparedTable:
    """Read a table, find its target and task, split its rows into parts, and encode them as matrices.

    Parameters
    ----------
    table : Table, path, name, dict of columns, data frame or pyarrow table
        See :func:`gpubp.data.read_table` for paths and names.
    target, task, types, categorical, drop, missing, max_categories, strict, numbers
        See :func:`gpubp.data.fit_preprocessing`.
    categories : {"one-hot", "embedding", "target"}
        "one-hot" gives each category an input. "embedding" does too, and the network embeds the inputs of a column of
        more than nine in eight numbers: see :func:`gpubp.nn.input_layers.with_embedded_inputs`; a table of more than
        1,000 inputs is not embedded. With "target" a column of more than ten categories becomes target
        statistics: the mean of each target in the rows of the category, or the share of each class, of two classes that
        of the second. It is drawn towards the mean of all rows the more, the fewer rows the category has and the less
        the means of categories differ (Micci-Barreca 2001); categories that training did not see have the mean of all.
        The statistics of a training row come from four of five folds, without its own, those of other rows from all
        training rows, all without weights.
    test_fraction, validation_fraction : float
        Fractions of all rows, drawn at random and stratified by class. The test rows are scored once, after training;
        the validation rows are scored after each epoch, for early stopping. A part of fewer than two rows stays empty.
    group : str, optional
        Hold out whole groups: no value of this column, which becomes no input, is in two parts.
    time : str, optional
        Hold out the latest rows by this column of dates or numbers, the test rows after the validation rows.
    seed : int
        Seed of the split, and of the folds of target statistics.
    sample_weight : (n,) array, optional
        The weight of each row of the table in the loss; only ratios matter, and rows of weight 0 are left out.
    validation_table : table, optional
        Validation rows with the same columns. They replace those that `validation_fraction` holds out, and the final
        network is not trained on them.
    validation_weight : (n,) array, optional
        The weight of each row of `validation_table`.
    exact_labels : bool
        Whether each text of the target is a class, also those that usually mean a missing value, such as NA, and
        `missing` is of the features alone.
    dtype : {"float64", "float32"}
        The type of the inputs. "float32" takes half of the memory, and gives :func:`fit_table` the same numbers if it
        trains in float32, which is its default.

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
    if validation_table is not None:
        validation_fraction = 0.0
    validate_fractions(test_fraction, validation_fraction, seed)
    table, weights = _weighted_rows(as_table(table), "sample_weight", sample_weight)
    if dtype not in ("float64", "float32"):
        raise DataError(f"dtype must be 'float64' or 'float32', got {dtype!r}")
    options = ColumnOptions(
        *(target, task, types, categorical, drop, missing, max_categories, strict, exact_labels, numbers),
        *(categories, seed, group),
    )
    check_columns(table, choose_targets(table, target), options, group, time)
    if group is not None:
        options = replace(options, drop=(*options.drop, group))
    decisions = decide_table([table], options)
    present = decisions.target.present(table)
    all_rows = np.flatnonzero(present)
    classes = None
    if decisions.target.is_classes:
        classes = np.unique(decisions.target.read(table)[0].values[present].astype(str), return_inverse=True)[1]
    places = np.arange(len(all_rows))
    if group is not None:
        keys = np.unique(group_keys(table, group)[present], return_inverse=True)[1]
        training, validation, test = split_groups(keys, validation_fraction, test_fraction, seed)
    elif time is not None:
        training, validation, test = split_in_time(times_of(table, time)[present], validation_fraction, test_fraction)
    else:
        rest, test = split_at_random(places, classes, round(test_fraction * len(places)), seed)
        training, validation = split_at_random(rest, classes, round(validation_fraction * len(places)), seed)
    if len(training) < 2:
        raise DataError(
            f"{table.source} has {counted(len(places), 'row')} with a target, of which test_fraction={test_fraction} "
            f"and validation_fraction={validation_fraction} leave {len(training)} for training; at least 2 are needed"
        )
    is_training = np.zeros(table.n_rows, dtype=bool)
    is_training[all_rows[training]] = True
    fitted = fit_columns(decisions, [(table, is_training)])
    preprocessing = fitted.preprocessing
    encoded, table = _encode(preprocessing, table, weights, present, dtype)
    fitted.out_of_fold.fill(encoded.X, preprocessing, table, training, all_rows[training])
    given, given_table = None, None
    if validation_table is not None:
        rows = _weighted_rows(as_table(validation_table), "the weights of validation_data", validation_weight)
        for name in decisions.target.names:
            require_column(rows[0], name)
        has_target = decisions.target.present(rows[0])
        if not has_target.any():
            raise DataError(
                f"validation_data: no row has the target {shortened([*map(repr, preprocessing.target_names)])}"
            )
        given, given_table = _encode(preprocessing, *rows, has_target, dtype)
    return PreparedTable(
        table,
        preprocessing,
        _normalized(encoded, training),
        dict(zip(SPLITS, (training, validation, test), strict=True)),
        decisions,
        "group" if group is not None else "time" if time is not None else "",
        fitted.fingerprint,
        given_table,
        given,
    )


def as_table(table: AnyTable) -> Table:
    """Convert any supported kind of table to a :class:`~gpubp.data.Table`.

    Examples
    --------
    >>> as_table({"area": [30.0, 50.0], "town": ["Bonn", "Oslo"]}).columns["town"]
    array(['Bonn', 'Oslo'], dtype=object)
    """
    if isinstance(table, Table):
        return table
    return read_table(fspath(table)) if isinstance(table, str | PathLike) else table_from_mapping(table)


def checked_weights(name: str, sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return the weights of rows, ``(n_rows,)``, finite and not all zero; None if there are none."""
    if sample_weight is None:
        return None
    weights: np.ndarray = as_numbers(name, np.asarray(accept_on_host(name, sample_weight))).astype(np.float64)
    if weights.shape != (n_rows,):
        raise DataError(f"{name} must have shape ({n_rows},), a number for each row, got shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0.0).any():
        row = int((~np.isfinite(weights) | (weights < 0.0)).argmax())
        raise DataError(f"{name} must be finite and not negative, got {weights[row]:g} in row {row + 1:,}")
    if not weights.any():
        raise DataError(f"{name} is zero in all rows; leave it out to weigh them equally")
    return weights


def _weighted_rows(table: Table, name: str, sample_weight: Any) -> tuple[Table, np.ndarray | None]:
    """Return the rows whose weight is not zero, and their weights."""
    weights = checked_weights(name, sample_weight, table.n_rows)
    if weights is None or weights.all():
        return table, weights
    return table.select(weights > 0.0), weights[weights > 0.0]


def _encode(
    preprocessing: Preprocessing, table: Table, weights: np.ndarray | None, present: np.ndarray, dtype: DTypeLike
) -> tuple[EncodedRows, Table]:
    """Encode the rows that have a target."""
    if not present.all():
        table, weights = table.select(present), None if weights is None else weights[present]
    return EncodedRows(*_inputs_and_targets(preprocessing, table, dtype), weights), table


def _inputs_and_targets(preprocessing: Preprocessing, table: Table, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
    return apply(preprocessing, table, dtype=dtype), encode_target(preprocessing, table)


def _reweighted(encoded: EncodedRows, factors: Callable[[np.ndarray], np.ndarray]) -> EncodedRows:
    weights = factors(encoded.targets)
    return encoded._replace(sample_weight=weights if encoded.sample_weight is None else encoded.sample_weight * weights)


def _normalized(encoded: EncodedRows, training: np.ndarray | None = None) -> EncodedRows:
    """Scale weights so that those of the training rows, by default all, have the mean 1, as rows without weights."""
    weights = encoded.sample_weight
    if weights is None:
        return encoded
    return encoded._replace(sample_weight=weights / (weights if training is None else weights[training]).mean())
