"""Target statistics: a category becomes the smoothed mean of the target, for training rows that of the other folds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from gpubp.data._draws_by_row import drawn_by_number
from gpubp.data.preprocessing._decisions import Decision
from gpubp.data.preprocessing._features import N_GROUPS, CategoryFit, FeatureFit
from gpubp.data.preprocessing._records import CategoryColumn, Preprocessing, TargetStatisticsColumn
from gpubp.data.preprocessing._targets import TargetDecision
from gpubp.data.preprocessing._values import read_categories
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

N_FOLDS = 5
"""Folds of the training rows; the statistics of a row are those of the others."""

FEW_CATEGORIES = 10
"""A column with at most this many categories stays one-hot."""


def target_statistics(
    counts: NDArray[np.float64], sums: NDArray[np.float64], squares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the mean of all targets, and the number of rows of this mean with which those of a category are smoothed.

    The means of categories are taken as drawn with the variance :math:`\tau^2` around the overall mean :math:`\mu`, and
    targets as drawn with :math:`\sigma^2` around that of their category. The best linear prediction of the mean of a
    category with `n` rows of the sum `S` is then :math:`(S + m \mu) / (n + m)` with :math:`m = \sigma^2 / \tau^2`
    (Micci-Barreca 2001, eq. 5 to 7). Both variances are estimated by the mean squares within and between categories
    (Searle, Casella and McCulloch 1992), so that categories that differ no more than by chance all have the overall
    mean.

    Parameters
    ----------
    counts : (g,) array
        Rows of each category.
    sums : (g, t) array
        The sum of each target.
    squares : (t,) array
        The sum of the squares of each target, over all categories.

    Returns
    -------
    overall, smoothing : (t,) array
        `smoothing` is infinite where categories do not differ.

    Examples
    --------
    >>> counts, sums = np.array([2.0, 2.0]), np.array([[2.0], [6.0]])  # of the targets 0, 2 and 2, 4
    >>> overall, smoothing = target_statistics(counts, sums, np.array([24.0]))
    >>> overall.tolist(), smoothing.tolist()  # the variance within is 2, that between 4 / 2 - 2 / 2
    ([2.0], [2.0])
    """
    n, n_categories = counts.sum(), len(counts)
    overall: NDArray[np.float64] = sums.sum(axis=0) / n
    if not 1 < n_categories < n:
        return overall, np.full_like(overall, np.inf)
    of_means = (sums**2 / counts[:, None]).sum(axis=0)
    within = np.maximum(squares - of_means, 0.0) / (n - n_categories)
    between = (of_means - n * overall**2) / (n_categories - 1)
    rows = (n - (counts**2).sum() / n) / (n_categories - 1)
    excess = (between - within) / rows
    smoothing = np.divide(within, excess, out=np.full_like(overall, np.inf), where=excess > 0.0)
    return overall, smoothing


class TargetStatisticsFit(CategoryFit):
    """Counts of categories, and the sums of the targets of each, by fold."""

    def __init__(
        self, decision: Decision, target: TargetDecision, missing: Collection[str] = (), max_categories: int = 100
    ) -> None:
        super().__init__(decision, missing, max_categories)
        self.target, self.averaged, self.places = target, averaged(target), dict[str | None, int]()
        n = len(self.averaged)
        self.counts_of, self.sums_of = np.zeros((0, N_FOLDS)), np.zeros((0, N_FOLDS, n))
        self.squares, self.shift = np.zeros(n), np.zeros(n)
        self.by_fold: NDArray[np.float64] | None = None

    def add_targets(self, values: Column, targets: NDArray[np.float64], folds: NDArray[np.int8]) -> None:
        """Add training rows: categories ``(n,)``, targets ``(n, t)`` as in `targets_of`, and folds ``(n,)``."""
        if not len(values):
            return
        if not self.places and not self.target.is_classes:
            self.shift = targets.mean(axis=0)  # or squares would lose the digits of small differences
        targets = targets - self.shift
        self.squares = self.squares + (targets**2).sum(axis=0)
        cells = np.array([self.places.setdefault(text, len(self.places)) for text in values.tolist()]) * N_FOLDS + folds
        n_cells = len(self.places) * N_FOLDS
        grown = [(0, len(self.places) - len(self.counts_of)), (0, 0), (0, 0)]
        counts = np.bincount(cells, minlength=n_cells).reshape(-1, N_FOLDS)
        self.counts_of = np.pad(self.counts_of, grown[:2]) + counts
        sums = [np.bincount(cells, column, n_cells).reshape(-1, N_FOLDS) for column in targets.T]
        self.sums_of = np.pad(self.sums_of, grown) + np.stack(sums, axis=-1)

    def fit(self) -> CategoryColumn:
        """Return the column with its statistics, one-hot if there are few categories; keep those of each fold."""
        column = super().fit()
        known = sorted(column.known)
        if len(known) <= FEW_CATEGORIES or len(self.averaged) > len(column.inputs):
            return column
        counts, sums = self.counts_of.sum(axis=1), self.sums_of.sum(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            overall, smoothing = target_statistics(counts, sums, self.squares)
            rows = [self.places[text] for text in (*known, *([None] if column.missing else []))]
            effects = _effects(counts[rows], sums[rows], overall, smoothing)
            effects[counts[rows] < 2] = 0.0  # one row tells nothing of others, as if its category had not been seen
            scales = np.sqrt((counts[rows, None] * effects**2).sum(axis=0) / counts.sum())
        if not np.isfinite(scales).all():
            raise DataError(f"the target {self.target.names[0]!r} holds numbers too large for target statistics")
        scales = np.where(scales > 0.0, scales, 1.0)
        others = counts[rows, None] - self.counts_of[rows], sums[rows, None] - self.sums_of[rows]
        out_of_fold = _effects(*others, overall, smoothing) / scales  # (categories, folds, t)
        self.by_fold = np.pad(out_of_fold.swapaxes(0, 1), [(0, 0), (0, 1), (0, 0)])
        statistics = [tuple(row) for row in (overall + self.shift + effects).tolist()]
        return TargetStatisticsColumn(
            self.name,
            tuple(known),
            column.kind,
            (),
            column.other,
            column.missing,
            self.averaged,
            tuple(statistics[: len(known)]),
            statistics[-1] if column.missing else (),
            tuple((overall + self.shift).tolist()),
            tuple(scales.tolist()),
        )


def statistics_fits(
    fits: Mapping[str, FeatureFit], target: TargetDecision, missing: Collection[str], max_categories: int
) -> dict[str, FeatureFit]:
    """Return the fits of columns, with those of categories replaced; they stay where there are too many classes."""
    if len(averaged(target)) > max_categories + N_GROUPS:
        return dict(fits)
    return {
        name: TargetStatisticsFit(fit.decision, target, missing, max_categories)
        if isinstance(fit, CategoryFit)
        else fit
        for name, fit in fits.items()
    }


def averaged(target: TargetDecision) -> tuple[str, ...]:
    """Return what has a mean: each target, or whether the target is a class, of two the second."""
    if not target.is_classes:
        return target.names
    classes = target.classes[1:] if len(target.classes) == 2 else target.classes
    return tuple(f"{target.names[0]}={label}" for label in classes)


def targets_of(target: TargetDecision, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return the numbers that are averaged, ``(n, t)``: the targets, or 1 for the class of each row."""
    if not target.is_classes:
        return np.stack(columns, axis=1)
    first = 1 if len(target.classes) == 2 else 0
    places = {label: place for place, label in enumerate(target.classes)}
    of_rows = np.array([places[label] for label in columns[0].tolist()], dtype=np.intp)
    indicators: NDArray[np.float64] = np.eye(len(target.classes))[of_rows][:, first:]
    return indicators


def folds_of(numbers: NDArray[np.intp], seed: int, groups: Column | None = None) -> NDArray[np.int8]:
    """Return the folds of rows, ``(n,)``: each follows from the row's number alone, or from the value of its group.

    A row without a group, None, is a group of its own.
    """
    keys = numbers.astype(np.uint64)
    if groups is not None:
        texts = [None if value is None else str(value) for value in groups.tolist()]
        hashes = {text: _hashed(text) for text in set(texts) if text is not None}
        keys = np.array(
            [key if text is None else hashes[text] for text, key in zip(texts, keys.tolist(), strict=True)], np.uint64
        )
    return (drawn_by_number(keys, seed, stream=1) * N_FOLDS).astype(np.int8)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The inputs of training rows, for each column ``(folds, categories, t)`` by the statistics of the other folds.

    The rows of one group, the values of the column `group`, are in one fold.
    """

    seed: int
    inputs: Mapping[str, NDArray[np.float64]]
    group: str | None = None

    def fill(
        self,
        X: NDArray[np.floating],
        preprocessing: Preprocessing,
        table: Table,
        rows: NDArray[np.intp],
        numbers: NDArray[np.intp],
    ) -> None:
        """Replace the inputs of some rows of a table, whose numbers or groups tell their folds."""
        if not self.inputs or not len(rows):
            return
        places, training = preprocessing.input_slices, table.select(rows)
        folds = folds_of(numbers, self.seed, None if self.group is None else training.texts(self.group))
        for column in preprocessing.columns:
            if (inputs := self.inputs.get(column.name)) is not None:
                assert isinstance(column, TargetStatisticsColumn)
                texts = read_categories(training, column.name, column.kind, column.known, preprocessing.missing).values
                X[rows, places[column.name]] = inputs[folds, column.places_of(texts)]


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _effects(
    counts: NDArray[np.float64], sums: NDArray[np.float64], overall: NDArray[np.float64], smoothing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much smoothed means lie above the overall mean; 0 without rows."""
    rows = counts[..., None] + smoothing
    effects: NDArray[np.float64] = np.divide(
        sums - counts[..., None] * overall, rows, out=np.zeros_like(sums), where=rows > 0.0
    )
    return effects
