"""A table as matrices, with its rows in parts: what training, scores and searches are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpubp._typing import Array
from gpubp.data.metrics import Scored, Scores, score
from gpubp.data.preprocessing import (
    CategoryEncoding,
    ClassTarget,
    ColumnArrays,
    NumberEncoding,
    Preprocessing,
    TableDecisions,
    complete_columns,
    encode_target,
    fit_columns,
    inputs_of,
    read_numbers,
)
from gpubp.data.streaming.split import SPLITS
from gpubp.data.table import Table
from gpubp.nn.losses import smoothed_labels


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

    def reweighted(self, factors: Callable[[np.ndarray], np.ndarray]) -> "EncodedRows":
        """Return the rows with weights multiplied by ``factors(targets)``, ``(n,)``."""
        weights = factors(self.targets)
        return self._replace(sample_weight=weights if self.sample_weight is None else self.sample_weight * weights)

    def normalized(self, training: np.ndarray) -> "EncodedRows":
        """Scale weights so that those of the training rows have the mean 1, as rows without weights."""
        weights = self.sample_weight
        return self if weights is None else self._replace(sample_weight=weights / weights[training].mean())


def encode_rows(
    preprocessing: Preprocessing, table: Table, sample_weight: np.ndarray | None, dtype: DTypeLike
) -> tuple[EncodedRows, ColumnArrays]:
    """Encode a table whose rows all have a target; return also what its inputs follow from."""
    columns = complete_columns(preprocessing, table)
    X = inputs_of(preprocessing, columns, dtype)
    return EncodedRows(X, encode_target(preprocessing, table), sample_weight), columns


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
    columns, given_columns : ColumnArrays, optional
        What the inputs of the table and of `given_validation` follow from: numbers and codes.

    Examples
    --------
    >>> from gpubp import prepare_table
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
    columns: ColumnArrays | None = None
    given_columns: ColumnArrays | None = None

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
        encoded, given = self.encoded.reweighted(factors), self.given_validation
        given = None if given is None else given.reweighted(factors)
        return replace(self, encoded=encoded.normalized(self.parts["train"]), given_validation=given)

    def training(self) -> EncodedRows:
        """Return the training rows, with smoothed labels if they are requested."""
        rows = self.encoded.select(self.parts["train"])
        return rows._replace(targets=smoothed_labels(rows.targets, self.label_smoothing, self.n_outputs))

    def _part(self, part: str) -> EncodedRows | None:
        if part == "validation" and self.given_validation is not None:
            return self.given_validation
        return self.encoded.select(self.parts[part]) if len(self.parts[part]) else None

    def validation(self) -> EncodedRows | None:
        """Return the validation rows, or None if there are none."""
        return self._part("validation")

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
        options = self.decisions.options
        options = replace(options, numbers=numbers or options.numbers, categories=categories or options.categories)
        if options == self.decisions.options and np.array_equal(rows, self.parts["train"]):
            return kept
        decisions = replace(self.decisions, options=options)
        is_training = np.isin(np.arange(self.table.n_rows), rows)
        fitted = fit_columns(decisions, [(self.table, is_training)])
        preprocessing, weights, given = fitted.preprocessing, kept.encoded.sample_weight, self.given_validation
        given_columns = None
        if given is not None and self.validation_table is not None:
            of_given = self.validation_table, given.sample_weight
            given, given_columns = encode_rows(preprocessing, *of_given, self.X.dtype)
        parts = kept.parts
        if only is None:
            parts = {part: of_part[~is_training[of_part]] for part, of_part in self.parts.items()} | {"train": rows}
        encoded, columns = encode_rows(preprocessing, kept.table, weights, self.X.dtype)
        numbers_of_rows = rows if only is None else only["train"]
        fitted.out_of_fold.fill(encoded.X, preprocessing, kept.table, parts["train"], numbers_of_rows)
        return replace(
            kept,
            preprocessing=preprocessing,
            encoded=encoded.normalized(parts["train"]),
            parts=parts,
            decisions=decisions,
            fingerprint=fitted.fingerprint,
            given_validation=given,
            columns=columns,
            given_columns=given_columns,
        )

    def _reduced(self, rows: Mapping[str, np.ndarray]) -> "PreparedTable":
        """Return the table with some rows of each part alone, as they are encoded."""
        is_kept = np.isin(np.arange(self.table.n_rows), np.concatenate([*rows.values()]))
        place = np.cumsum(is_kept) - 1
        parts = {part: place[rows[part]] for part in SPLITS}
        encoded = self.encoded.select(np.flatnonzero(is_kept)).normalized(parts["train"])
        return replace(self, table=self.table.select(is_kept), encoded=encoded, parts=parts, columns=None)

    def constant_outputs(self) -> np.ndarray:
        """Return the means of the training targets, ``(j,)``: class shares, or the mean of numbers."""
        means: np.ndarray = self.targets[self.parts["train"]].mean(axis=0)
        return means

    def scored(self, predicted: Callable[[Array], np.ndarray], inputs: Mapping[str, Array] | None = None) -> Scored:
        """Score the outputs of each part; a part without rows, or with outputs that are not finite, has no scores.

        `inputs` are those of parts that are on a device.
        """
        scores, held_out = dict[str, Scores](), None
        for part in self.parts:
            if rows := self._part(part):
                outputs = predicted((inputs or {}).get(part, rows.X))
                if np.isfinite(outputs).all():  # after a divergence they may overflow
                    scores[part] = score(self.preprocessing, rows.targets, outputs)
                held_out = (rows.targets, outputs) if part != "train" else held_out  # the last are test rows
        return Scored(scores, held_out)
