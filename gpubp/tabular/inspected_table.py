"""A model and the rows of a table that it is inspected on: importance, dependence and calibration of its columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import excerpt, shortened
from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy
from gpubp.backends.memory import storage_backend
from gpubp.data.preprocessing import (
    MISSING_CLASS,
    UNSEEN_CLASS,
    ClassTarget,
    Preprocessing,
    WordsColumn,
    decode_target,
    encode,
    encode_target,
    has_target,
    known_classes,
    preprocessing_of,
)
from gpubp.data.table import Table
from gpubp.engine.prediction import mean_outputs
from gpubp.errors import DataError, TableWarning
from gpubp.inspection import (
    CalibrationCurve,
    PartialDependence,
    PermutationImportance,
    grid_of,
    mean_predictions,
    permuted_scores,
    reliability,
)
from gpubp.io.model_file import Model
from gpubp.tabular.predict import (
    decode_outputs,
    interval_ends,
    left_out_in_words,
    unseen_classes_in_words,
    warn_of_columns,
)
from gpubp.tabular.prepare import checked_weights

SHARES = tuple((np.arange(1, 10) / 10).tolist())
"""Shares of the targets that the intervals of a calibration curve should hold."""

LEAST_ROWS = 2
"""Rows with a known target that a score needs."""

Progress = Callable[[int, int], object]


@dataclass(eq=False)
class InspectedTable:
    """A model, and the rows of a table that it is inspected on; with `needs_target`, those whose target is known.

    A class that training did not see is no missing target.

    Raises
    ------
    DataError
        If `columns` are not inputs of the model, or targets are needed and fewer than two rows have one; one error
        names everything.
    """

    model: Model
    table: Table
    sample_weight: Any = None
    columns: Sequence[str] = ()
    needs_target: bool = True
    problems: Sequence[str | None] = ()
    device: str = "auto"
    matmul_precision: str = "float32"

    def __post_init__(self) -> None:
        table, preprocessing = self.table, self.preprocessing
        problems = [problem for problem in self.problems if problem]
        problems += [problem for name in self.columns if (problem := _problem_of(name, preprocessing, table))]
        weights = checked_weights("sample_weight", self.sample_weight, table.n_rows)
        used = np.ones(table.n_rows, dtype=bool) if weights is None else weights > 0.0
        targets = preprocessing.target_names
        if self.needs_target and (absent := [name for name in targets if name not in table.columns]):
            problems.append(f"there is no target {shortened(list(map(repr, absent)))}, which is needed for a score")
        elif self.needs_target:
            known = used & has_target(preprocessing, table)
            if known.sum() < LEAST_ROWS:
                what = f"a target {shortened(list(map(repr, targets)))} that the model knows"
                problems.append(f"{known.sum()} of {table.n_rows:,} rows have {what}; at least {LEAST_ROWS} are needed")
            used = used & (known_classes(preprocessing, table).places != MISSING_CLASS) if self.classes else known
        if problems:
            raise DataError(f"{table.source}: {'; '.join(problems)}")
        self.table = table if used.all() else table.select(used)
        self.sample_weight = None if weights is None else weights[used]

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the model."""
        return preprocessing_of(self.model)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the model predicts; none for numbers."""
        target = self.preprocessing.target
        return target.classes if isinstance(target, ClassTarget) else ()

    def has_grid(self, column: str) -> bool:
        """Whether the dependence on a column can be computed: it is there, has values, and is no free text."""
        return _problem_of(column, self.preprocessing, self.table) is None

    @cached_property
    def X(self) -> NDArray[Any]:
        """The inputs, ``(n, i)``, in the precision of the model."""
        X: NDArray[Any]
        X, issues = encode(self.preprocessing, self.table, self.model.theta.dtype)
        warn_of_columns(self.table, issues)
        return X

    @cached_property
    def placed(self) -> tuple[Backend, Array]:
        """The device that predicts, and the inputs, which are there if it is a GPU with memory for them."""
        backend, precision = choose_backend(self.device, self.X), str(self.X.dtype)
        if not backend.is_cuda:
            return backend, self.X
        with backend.active():
            return backend, to_backend(storage_backend(backend, precision, self.X), self.X, precision)

    @cached_property
    def targets(self) -> NDArray[Any]:
        """The numbers of the classes, or UNSEEN_CLASS, ``(n,)``, or targets in their units, ``(n,)`` or ``(n, j)``."""
        if self.classes:
            return known_classes(self.preprocessing, self.table).places
        encoded = encode_target(self.preprocessing, self.table)
        numbers = np.stack([*decode_target(self.preprocessing, encoded).values()], axis=1)
        return numbers[:, 0] if numbers.shape[1] == 1 else numbers

    @property
    def n_unseen(self) -> int:
        """How many rows are of a class that training did not see."""
        return int((self.targets == UNSEEN_CLASS).sum()) if self.classes else 0

    def counts_unseen(self, scoring: Any) -> bool:
        """Whether rows of a class that training did not see are part of a score; their predictions are wrong."""
        from gpubp.inspection.scorers import OF_PREDICTED_CLASSES, OF_SECOND_CLASS

        return bool(self.classes) and (
            scoring is None or (isinstance(scoring, str) and scoring in (*OF_PREDICTED_CLASSES, *OF_SECOND_CLASS))
        )

    def _scored_targets(self, scoring: Any) -> NDArray[Any]:
        """Return the targets, with a number for each class that training did not see, after those of the others."""
        from gpubp.inspection.scorers import OF_SECOND_CLASS

        if not self.n_unseen:
            return self.targets
        numbers = self.targets.copy()
        if scoring in OF_SECOND_CLASS:  # whose scorers refuse a third class
            numbers[numbers == UNSEEN_CLASS] = 0
            return numbers
        of_unseen = known_classes(self.preprocessing, self.table).of_unseen
        numbers[numbers == UNSEEN_CLASS] = len(self.classes) + of_unseen
        return numbers

    def _without_unseen(self) -> "InspectedTable":
        """Leave rows of classes that training did not see out of the score, with a warning."""
        warn(f"{self.table.source}: {left_out_in_words(self.n_unseen, 'the score')}", TableWarning)
        known = self.targets != UNSEEN_CLASS
        weights = None if self.sample_weight is None else self.sample_weight[known]
        return replace(self, table=self.table.select(known), sample_weight=weights, columns=(), problems=())

    @np.errstate(all="ignore")
    def predict(self, X: Array) -> NDArray[np.float64]:
        """Return the probabilities of the classes, or numbers in the units of the targets, ``(n, j)``."""
        model = self.model
        outputs = mean_outputs(
            model.network, model.theta, X, device=self.device, matmul_precision=self.matmul_precision
        )
        columns = list(decode_outputs(self.preprocessing, to_numpy(outputs)).values())
        predictions = np.stack(columns[1:] if self.classes else columns, axis=1)
        return predictions / predictions.sum(axis=1, keepdims=True) if self.classes else predictions

    def permutation_importance(
        self,
        scoring: Any = None,
        *,
        n_repeats: int = 5,
        seed: int = 0,
        progress: Progress | None = None,
        columns: Sequence[str] | None = None,
    ) -> PermutationImportance:
        """See :func:`permutation_importance`; `columns` are those to shuffle, if not all."""
        from gpubp.inspection.scorers import scorer_of

        options: dict[str, Any] = {"n_repeats": n_repeats, "seed": seed, "progress": progress}
        if self.n_unseen and not self.counts_unseen(scoring):
            return self._without_unseen().permutation_importance(scoring, columns=columns, **options)
        if self.n_unseen:
            warn(f"{self.table.source}: {unseen_classes_in_words(self.n_unseen)}", TableWarning)
        scoring = scoring or ("accuracy" if self.classes else "r2")
        score = scorer_of(scoring, self._scored_targets(scoring), len(self.classes), self.sample_weight)
        (backend, X), slices = self.placed, self.preprocessing.input_slices
        slices = {name: slices[name] for name in slices if columns is None or name in columns}
        with backend.active():
            first = score(self.predict(X))
            permuted = permuted_scores(self.predict, X, slices, score, **options)
        name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
        return PermutationImportance(tuple(slices), first - permuted, first, name)

    def partial_dependence(
        self, column: str, *, grid_resolution: int = 50, individual: bool = False, progress: Progress | None = None
    ) -> PartialDependence:
        """See :func:`partial_dependence`."""
        preprocessing = self.preprocessing
        record = next(one for one in preprocessing.columns if one.name == column)
        grid = grid_of(self.table, record, preprocessing.missing, resolution=grid_resolution)
        if not len(grid.values):
            raise DataError(f"{self.table.source}: column {excerpt(repr(column), 60)} has no value in these rows")
        backend, X = self.placed
        with backend.active():
            average, kept = mean_predictions(
                self.predict,
                X,
                preprocessing.input_slices[column],
                grid.rows,
                sample_weight=self.sample_weight,
                individual=individual,
                progress=progress,
            )
        (target, *_), classes = preprocessing.target_names, self.classes
        names = tuple(f"{target}={label}" for label in classes) or preprocessing.target_names
        return PartialDependence(column, grid.values, names, average, kept)

    def calibration_curve(
        self, *, n_bins: int = 10, strategy: Literal["uniform", "quantile"] = "uniform"
    ) -> tuple[CalibrationCurve, ...]:
        """See :func:`calibration_curve`."""
        (name, *_), classes, predictions = self.preprocessing.target_names, self.classes, self.predict(self.X)
        if not classes:
            return self._coverage(predictions)
        events = [(f"{name}={label}", self.targets == k, predictions[:, k]) for k, label in enumerate(classes)]
        if len(classes) == 2:
            events = events[1:]
        else:
            is_correct = predictions.argmax(axis=1) == self.targets
            events.insert(0, ("the predicted class", is_correct, predictions.max(axis=1)))
        return tuple(
            reliability(*event, n_bins=n_bins, strategy=strategy, sample_weight=self.sample_weight) for event in events
        )

    def _coverage(self, predictions: NDArray[np.float64]) -> tuple[CalibrationCurve, ...]:
        """Return the share of the targets in intervals that should hold a share."""
        names = self.preprocessing.target_names
        columns, targets = dict(zip(names, predictions.T, strict=True)), self.targets.reshape(len(predictions), -1)
        ends = [interval_ends(self.model, columns, share) for share in SHARES]
        curves = []
        for name, true in zip(names, targets.T, strict=True):
            inside = [(one[name].low <= true) & (true <= one[name].high) for one in ends]
            observed = np.average(np.stack(inside, axis=1), axis=0, weights=self.sample_weight)
            total = len(true) if self.sample_weight is None else self.sample_weight.sum()
            curves.append(CalibrationCurve(name, np.asarray(SHARES), observed, np.full(len(SHARES), float(total))))
        return tuple(curves)


def _problem_of(name: str, preprocessing: Preprocessing, table: Table) -> str | None:
    """Say why the dependence on a column cannot be computed."""
    columns, shown = {column.name: column for column in preprocessing.columns}, excerpt(repr(name), 60)
    if name not in columns:
        dropped = next((one.reason for one in preprocessing.summaries if one.name == name and one.type == "drop"), None)
        why = near_miss(str(name), columns) if dropped is None else f" (dropped in training: {dropped})"
        return f"the model has no column {shown}{why}"
    if isinstance(columns[name], WordsColumn):
        return f"column {shown} is free text; partial dependence is on numbers, dates and categories"
    if name not in table.columns:
        return f"there is no column {shown}"
    is_empty = not len(grid_of(table, columns[name], preprocessing.missing).values)
    return f"column {shown} has no value in these rows" if is_empty else None
