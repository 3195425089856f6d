"""Fit the columns of features from their training rows, which may arrive in pieces."""

import math
import re
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from gpubp.data._dates import date_parts
from gpubp.data._running_statistics import RunningMoments, RunningSample
from gpubp.data.preprocessing._decisions import Decision
from gpubp.data.preprocessing._records import (
    FARTHEST,
    CategoryColumn,
    DateColumn,
    DatePart,
    FeatureColumn,
    NumberColumn,
    NumberEncoding,
    WordsColumn,
)
from gpubp.data.preprocessing._suspicious_numbers import likely_mark
from gpubp.data.preprocessing._values import (
    ReadColumn,
    missing_values,
    read_categories,
    read_dates,
    read_numbers,
    shown_value,
)
from gpubp.data.table import Table
from gpubp.errors import DataError

N_GROUPS = 32
"""Inputs that the less frequent categories of a column share."""

MANY_ROWS = 50
"""With at least this many training rows, categories that occur once are "other", if there are two or more."""

MAX_KNOWN = 20_000
"""Categories of a column that a model remembers."""

N_WORDS = 200
"""Words of a column of free text that have an input."""

N_BINS = 16
"""Bins of a column of numbers, between quantiles of its training rows (Gorishniy et al. 2022)."""

ROWS_OF_A_BIN = 8
"""Training rows of a bin, at least, if no values are equal."""

MAX_BINS = 2048
"""Bins of all columns of numbers together."""

MAX_ENCODED = 1 << 27
"""Encoded numbers of bins, of all rows: 1 GiB. Training takes several times as much memory."""

REACH = 1.5
"""How far beyond the training rows a number still counts, as a multiple of its largest distance from the mean there."""

_WORD = re.compile(r"\w+")
_FAR = 3.0  # times the interquartile range


class FeatureFit(ABC):
    """The statistics of one column.

    `n_unreadable` counts the values that are not of its type, of which `example` is the first, at `place` of `source`;
    `likely_missing` is a number that may mean missing.
    """

    def __init__(self, decision: Decision, missing: Collection[str] = ()) -> None:
        self.decision, self.missing = decision, missing
        self.n_rows = self.n_missing = self.n_missing_in_training = self.n_unreadable = self.n_outliers = 0
        self.example = self.place = self.source = ""
        self.likely_missing: float | None = None

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.decision.name

    def add(self, table: Table, training: NDArray[np.bool_]) -> ReadColumn:
        """Add the column's values in more rows, with the mask of the training rows, and return them."""
        column = self.read(table)
        is_missing = missing_values(column.values)
        self.n_rows += len(is_missing)
        self.n_missing += int(is_missing.sum())
        self.n_missing_in_training += int((is_missing & training).sum())
        if column.unreadable.any():
            self.n_unreadable += int(column.unreadable.sum())
            if not self.example:
                row = int(column.unreadable.argmax())
                self.example = shown_value(table, self.name, row)
                self.place, self.source = table.describe_row(row), table.source
        self.add_values(column.values[training & ~is_missing])
        return column

    @abstractmethod
    def read(self, table: Table) -> ReadColumn:
        """Read the column."""

    @abstractmethod
    def add_values(self, values: NDArray[np.generic]) -> None:
        """Add values of training rows, none of them missing."""

    @abstractmethod
    def fit(self) -> FeatureColumn:
        """Return the fitted column.

        Raises
        ------
        DataError
            If the column has nothing to learn from; the message is the reason.
        """


class NumberFit(FeatureFit):
    """Moments of numbers, and a sample for their quantiles; only the piecewise-linear `encoding` has bins."""

    def __init__(
        self,
        decision: Decision,
        missing: Collection[str] = (),
        encoding: NumberEncoding = "linear",
        n_bins: int = 0,
    ) -> None:
        super().__init__(decision, missing)
        self.moments, self.sample = RunningMoments(), RunningSample()
        self.encoding, self.n_bins = encoding, n_bins if encoding == "piecewise" else 0

    def read(self, table: Table) -> ReadColumn:
        """Read numbers."""
        return read_numbers(table, self.name, self.decision.number_format, self.missing)

    def add_values(self, values: NDArray[np.generic]) -> None:
        """Add numbers."""
        numbers = values.astype(np.float64)
        self.moments.add(numbers)
        self.sample.add(numbers)

    def fit(self) -> NumberColumn:
        """Return the column of numbers."""
        fill, low, high, indicator = self.range()
        self.likely_missing = likely_mark(self.sample.values)
        if self.encoding == "robust":
            mean, scale, bound = *self._median_and_scale(), FARTHEST
        else:
            mean, scale = self.moments.mean_and_scale(self.name)
            bound = _bound(self.moments, mean, scale)
        return NumberColumn(
            self.name,
            *(mean, scale, fill, indicator, low, high),
            self.decision.number_format,
            *(bound, self._edges(), self.encoding),
        )

    def _median_and_scale(self) -> tuple[float, float]:
        """Return the median and the interquartile range, or half of the range if that is 0."""
        low, high = self.moments.minimum, self.moments.maximum
        if low == high:
            return low, 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            lower, median, upper = np.quantile(self.sample.values, [0.25, 0.5, 0.75]).tolist()
        scale = upper - lower or high / 2.0 - low / 2.0
        if not (math.isfinite(median) and math.isfinite(scale)):
            raise DataError(f"column {self.name!r} holds numbers too large to scale (up to {max(-low, high):g})")
        return median, scale or high - low

    def _edges(self) -> tuple[float, ...]:
        """Return the edges of the bins: quantiles that differ, if they make at least two bins."""
        values, n_bins = self.sample.values, min(self.n_bins or 0, len(self.sample.values) // ROWS_OF_A_BIN)
        if n_bins < 2:
            return ()
        quantiles = np.quantile(values, np.linspace(0.0, 1.0, n_bins + 1), method="inverted_cdf")
        edges = np.unique(quantiles).tolist()
        return tuple(edges) if len(edges) > 2 else ()

    def range(self) -> tuple[float, float, float, bool]:
        """Return the median, the minimum, the maximum and whether values are missing; count the outliers."""
        moments, values = self.moments, self.sample.values
        if not moments.n:
            raise DataError("no values in the training rows")
        indicator = self.n_missing_in_training > 0
        if moments.minimum == moments.maximum and not indicator:
            raise DataError(f"constant in the training rows, {moments.minimum:g}")
        with np.errstate(over="ignore", invalid="ignore"):
            lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
            margin = _FAR * (upper - lower)
            if margin > 0:
                self.n_outliers = int(((values < lower - margin) | (values > upper + margin)).sum())
        return float(median), moments.minimum, moments.maximum, indicator


class DateFit(NumberFit):
    """Moments of days since 1970, and which other parts of the dates vary."""

    def __init__(self, decision: Decision, missing: Collection[str] = ()) -> None:
        super().__init__(decision, missing)
        self.days = RunningMoments()
        self.first: dict[str, float] = {}
        self.varying: set[str] = set()

    def read(self, table: Table) -> ReadColumn:
        """Read dates."""
        return read_dates(table, self.name, self.decision.date_format, self.missing)

    def add_values(self, values: NDArray[np.generic]) -> None:
        """Add dates."""
        super().add_values(values)
        if not len(values):
            return
        for part, numbers in date_parts(values.astype(np.float64)).items():
            if (numbers != self.first.setdefault(part, float(numbers[0]))).any():
                self.varying.add(part)
            if part == "days":
                self.days.add(numbers)

    def fit(self) -> DateColumn:  # type: ignore[override]
        """Return the column of dates."""
        fill, low, high, indicator = self.range()
        parts = tuple(cast(DatePart, part) for part in self.first if part in self.varying)
        if not parts:
            parts = ("days",)
        mean, scale = self.days.mean_and_scale(self.name)
        kind: Literal["datetime", "datetime_utc"]
        kind = "datetime_utc" if self.decision.kind == "datetime_utc" else "datetime"
        bound, date_format = _bound(self.days, mean, scale), self.decision.date_format
        return DateColumn(self.name, kind, parts, mean, scale, fill, indicator, low, high, date_format, bound)


def _bound(moments: RunningMoments, mean: float, scale: float) -> float:
    """Return the bound of scaled numbers: some way beyond those of the training rows."""
    return min(FARTHEST, REACH * max(moments.maximum - mean, mean - moments.minimum) / scale or 1.0)


class CategoryFit(FeatureFit):
    """Counts of categories."""

    def __init__(self, decision: Decision, missing: Collection[str] = (), max_categories: int = 100) -> None:
        super().__init__(decision, missing)
        self.counts: Counter[str] = Counter()
        self.max_categories = max_categories

    def read(self, table: Table) -> ReadColumn:
        """Read categories."""
        return read_categories(table, self.name, self.decision.kind, self.decision.values, self.missing)

    def add_values(self, values: NDArray[np.generic]) -> None:
        """Add categories."""
        self.counts.update(values.tolist())

    def fit(self) -> CategoryColumn:
        """Return the column of categories: the most frequent ones, groups of others, and whether some are rare."""
        if not self.counts:
            raise DataError("no values in the training rows")
        has_missing = self.n_missing_in_training > 0
        if len(self.counts) == 1 and not has_missing:
            raise DataError(f"constant in the training rows, {next(iter(self.counts))!r}")
        # Of equally frequent categories the first in sorted order, so that the order of rows does not matter.
        ranked = sorted(self.counts, key=lambda text: (-self.counts[text], text))
        # Of a single rare category "other" would learn its one row and no more, so unseen ones have no input instead.
        n_rare = list(self.counts.values()).count(1)
        if self.counts.total() < MANY_ROWS or n_rare < 2 or n_rare == len(ranked):
            n_rare = 0
        known = ranked[: min(len(ranked) - n_rare, MAX_KNOWN)]
        groups: list[list[str]] = [[] for _ in range(N_GROUPS)]
        for text in known[self.max_categories :]:
            groups[zlib.crc32(text.encode()) % N_GROUPS].append(text)
        return CategoryColumn(
            self.name,
            tuple(sorted(known[: self.max_categories])),
            self.decision.kind,
            tuple(tuple(group) for group in groups if group),
            len(known) < len(ranked),
            has_missing,
        )


class WordsFit(FeatureFit):
    """Counts of the rows in which each word occurs."""

    def __init__(self, decision: Decision, missing: Collection[str] = ()) -> None:
        super().__init__(decision, missing)
        self.counts: Counter[str] = Counter()

    def read(self, table: Table) -> ReadColumn:
        """Read text."""
        return read_categories(table, self.name, "text", (), self.missing)

    def add_values(self, values: NDArray[np.generic]) -> None:
        """Add texts."""
        for text in values.tolist():
            self.counts.update(words_of(text))
        if len(self.counts) > 10 * MAX_KNOWN:  # rare words of large tables
            self.counts = Counter(dict(self.counts.most_common(MAX_KNOWN)))

    def fit(self) -> WordsColumn:
        """Return the words that occur in most rows, but in at least two."""
        ranked = sorted((word for word, n in self.counts.items() if n > 1), key=lambda word: (-self.counts[word], word))
        if not ranked:
            raise DataError("free text without a word that occurs twice")
        return WordsColumn(self.name, tuple(sorted(ranked[:N_WORDS])))


def words_of(text: str) -> set[str]:
    """Return the words of a text, in lower case.

    Examples
    --------
    >>> sorted(words_of("Braund, Mr. Owen"))
    ['braund', 'mr', 'owen']
    """
    return set(_WORD.findall(lowered(text)))


def lowered(text: str) -> str:
    """Return a text in lower case, character by character, so that a letter does not depend on its neighbours.

    It differs from ``str.lower`` in two letters: the dotted capital I becomes i, and sigma has one form.

    Examples
    --------
    >>> lowered("\u0130stanbul"), lowered("\u03a3\u03a3") == "\u03c3\u03c3"
    ('istanbul', True)
    """
    return text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")


def feature_fits(
    decisions: Iterable[Decision], missing: Collection[str], max_categories: int, numbers: NumberEncoding, n_rows: int
) -> dict[str, FeatureFit]:
    """Return the statistics to collect for each column that becomes inputs."""
    used = [decision for decision in decisions if decision.type != "drop"]
    n_numbers = max(1, sum(decision.type == "number" for decision in used))
    n_bins = min(N_BINS, MAX_BINS // n_numbers, MAX_ENCODED // (n_numbers * max(1, n_rows)))
    fits: dict[str, FeatureFit] = {}
    for decision in used:
        if decision.type == "category":
            fits[decision.name] = CategoryFit(decision, missing, max_categories)
        elif decision.type == "words":
            fits[decision.name] = WordsFit(decision, missing)
        elif decision.type == "date":
            fits[decision.name] = DateFit(decision, missing)
        else:
            fits[decision.name] = NumberFit(decision, missing, numbers, n_bins)
    return fits
