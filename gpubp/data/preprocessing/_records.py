"""A fitted preprocessing as plain data: how columns become inputs, and targets become outputs and back."""

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpubp._core.names import distinct_names
from gpubp.data._dates import ISO, TIMES_OF_DAY
from gpubp.data._quantities import PLAIN, NumberFormat
from gpubp.data._text_values import Kind
from gpubp.data.table import Column

LabelType = Literal["int", "float", "bool", "str"]
"""The type of a class label in the user's table."""

ColumnType = Literal["number", "category", "date", "words", "drop"]
"""What a column is used as; ``types`` and ``--type`` name these."""

DatePart = Literal["days", "month", "weekday", "hour"]
"""A part of a date: days since 1970 are a number, the others angles, whose sine and cosine are inputs."""

NumberEncoding = Literal["piecewise", "linear", "robust"]
"""How numbers become inputs: standardised, and by bins; only standardised; or scaled by quartiles and clipped."""

CategoryEncoding = Literal["one-hot", "embedding", "target"]
"""How categories become inputs: an input each, in columns of many with an embedding in the network, or instead of
inputs the smoothed mean of the target."""

FARTHEST = 1e6
"""The largest bound of scaled numbers, so that no value of a table overflows in a network."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, scaled to ``(value - mean) / scale``.

    `fill` replaces a missing value; with `indicator` a second input is 1 where the value is missing. `low` and `high`
    are the range of the training rows. The scaled value is kept between ``-bound`` and ``bound``. If `encoding` is
    "robust", `mean` is the median and `scale` the interquartile range, and the scaled value passes through
    :func:`gpubp.nn.encodings.smooth_clip`. Between two of `edges` is a bin, which has an input: see
    :func:`gpubp.nn.encodings.piecewise_linear`.
    """

    name: str
    mean: float
    scale: float
    fill: float
    indicator: bool = False
    low: float = 0.0
    high: float = 0.0
    number_format: NumberFormat = PLAIN
    bound: float = FARTHEST
    edges: tuple[float, ...] = ()
    encoding: NumberEncoding = "linear"

    @property
    def is_smooth(self) -> bool:
        """Whether the scaled value passes through a smooth clip."""
        return self.encoding == "robust"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        bins = (f"{self.name}>{edge!r}" for edge in self.edges[:-1])
        return (self.name, *([f"{self.name}=missing"] if self.indicator else []), *bins)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot.

    Each of `categories` has an input; less frequent ones share the inputs of `groups`; those that occur once, and those
    that training did not see, have the input "other" if `other`, and else none. `missing` is whether missing values
    have an input. `kind` is what the column holds in the user's table; categories are written in the form of this kind.
    `is_embedded` is whether a network embeds these inputs: see :func:`gpubp.nn.input_layers.with_embedded_inputs`.
    """

    name: str
    categories: tuple[str, ...]
    kind: Kind = "text"
    groups: tuple[tuple[str, ...], ...] = ()
    other: bool = False
    missing: bool = False
    is_embedded: bool = field(default=False, kw_only=True)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        names = [*self.categories, *(f"group {number + 1}" for number in range(len(self.groups)))]
        names += ["other"] * self.other + ["missing"] * self.missing
        return tuple(f"{self.name}={name}" for name in names)

    @property
    def known(self) -> dict[str, int]:
        """The index of the input of each category that training saw."""
        grouped = {text: len(self.categories) + number for number, group in enumerate(self.groups) for text in group}
        return {text: index for index, text in enumerate(self.categories)} | grouped

    @property
    def other_places(self) -> tuple[int, int]:
        """The indices of the inputs of other categories and of missing values; -1 for none."""
        n_known = len(self.categories) + len(self.groups)
        other = n_known if self.other else -1
        return other, n_known + self.other if self.missing else other

    def places_of(self, texts: Column) -> NDArray[np.intp]:
        """Return the index of the input of each text, ``(n,)``; -1 for none."""
        known, (other, missing) = self.known, self.other_places
        return np.array([missing if text is None else known.get(text, other) for text in texts], dtype=np.intp)


@dataclass(frozen=True)
class TargetStatisticsColumn(CategoryColumn):
    """A column of categories, each of which becomes the smoothed mean of the target in its training rows.

    `averaged` names what has a mean: each target, or whether the target is a class. `statistics` has these means for
    each of `categories`, in the user's units, `of_missing` those of missing values, and `overall` those of all training
    rows, which belong to categories that training did not see. An input is ``(statistic - overall) / scale``.
    """

    averaged: tuple[str, ...] = ()
    statistics: tuple[tuple[float, ...], ...] = ()
    of_missing: tuple[float, ...] = ()
    overall: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        return tuple(f"{self.name}:mean of {name}" for name in self.averaged)

    @property
    def other_places(self) -> tuple[int, int]:
        """The rows of other categories and of missing values in `table`."""
        return -1, len(self.categories) if self.missing else -1

    @property
    def table(self) -> NDArray[np.float64]:
        """The inputs of each category, of missing values if they have statistics, and at last of all others: 0."""
        statistics = np.array([*self.statistics, *([self.of_missing] if self.missing else []), self.overall])
        with np.errstate(over="ignore"):
            scaled = (statistics - np.array(self.overall)) / np.array(self.scales)
        inputs: NDArray[np.float64] = np.clip(scaled, -FARTHEST, FARTHEST)
        return inputs


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: days since 1970, scaled to ``(days - mean) / scale``, and the sine and cosine of its cycles.

    `parts` are those that vary in training. Times without a date are those of January 1, 1970. `fill` is the date that
    replaces a missing one, in seconds since 1970. The scaled days are kept between ``-bound`` and ``bound``.
    """

    name: str
    kind: Literal["datetime", "datetime_utc"]
    parts: tuple[DatePart, ...]
    mean: float
    scale: float
    fill: float
    indicator: bool = False
    low: float = 0.0
    high: float = 0.0
    date_format: str = ISO
    bound: float = FARTHEST

    @property
    def is_time(self) -> bool:
        """Whether the values are times of the day, without a date."""
        return self.date_format in TIMES_OF_DAY

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        cycles = [f"{part}_{function}" for part in self.parts if part != "days" for function in ("sin", "cos")]
        names = [*("hours" if self.is_time else "days" for part in self.parts if part == "days"), *cycles]
        return (*(f"{self.name}:{name}" for name in names), *([f"{self.name}=missing"] if self.indicator else []))


@dataclass(frozen=True)
class WordsColumn:
    """A column of free text: an input for each of `words` says whether the text has this word, in any case."""

    name: str
    words: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        return tuple(f"{self.name}:{word}" for word in self.words)


FeatureColumn = NumberColumn | CategoryColumn | TargetStatisticsColumn | DateColumn | WordsColumn


@dataclass(frozen=True)
class ClassTarget:
    """A target of classes, one-hot in the order of `classes`; `label_type` is the type of the decoded labels."""

    name: str
    classes: tuple[str, ...]
    label_type: LabelType = "str"

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return "text" if self.label_type == "str" else "bool" if self.label_type == "bool" else "number"


@dataclass(frozen=True)
class NumberTarget:
    """One or several numeric targets, scaled to ``(value - mean) / scale``.

    Predictions are kept between `lows` and `highs`, a little beyond the range of the training rows.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    number_formats: tuple[NumberFormat, ...] = ()

    def number_format(self, name: str) -> NumberFormat:
        """Return how a target is written."""
        return dict(zip(self.names, self.number_formats, strict=False)).get(name, PLAIN)


@dataclass(frozen=True)
class ColumnSummary:
    """What a column of the training table was taken for, and why.

    Attributes
    ----------
    name : str
    type : str
        A `ColumnType`, or "target".
    reason : str
        Why the column has this type, with what follows for its values.
    n_missing, n_distinct, n_outliers : int
        Missing and unreadable values of the whole table; distinct values, counted up to a limit; numbers of the
        training rows that lie more than three times the interquartile range outside the quartiles.
    likely_missing : str
        A number that may mean a missing value, such as ``"-999"``; it is taken as a number.
    """

    name: str
    type: str
    reason: str
    n_missing: int = 0
    n_distinct: int = 0
    n_outliers: int = 0
    likely_missing: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes matrices.

    `missing` has the texts that mean a missing value besides the usual ones, `target_missing` those of the target:
    the same, or none if each label is one. `summaries` says what each column of the
    training table was taken for; columns that became no input may be present in a table, or absent.

    Examples
    --------
    >>> columns = (NumberColumn("size", 0.0, 1.0, 0.0), CategoryColumn("colour", ("blue", "red")))
    >>> preprocessing = Preprocessing(columns, NumberTarget(("y",), (0.0,), (1.0,), (0.0,), (9.0,)))
    >>> preprocessing.feature_names, preprocessing.n_outputs, preprocessing.task
    (('size', 'colour=blue', 'colour=red'), 1, 'regression')
    """

    columns: tuple[FeatureColumn, ...]
    target: ClassTarget | NumberTarget
    missing: tuple[str, ...] = ()
    summaries: tuple[ColumnSummary, ...] = ()
    target_missing: tuple[str, ...] = ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the target columns."""
        return self.target.names if isinstance(self.target, NumberTarget) else (self.target.name,)

    @property
    def number_encoding(self) -> NumberEncoding:
        """How numbers become inputs."""
        return next((column.encoding for column in self.columns if isinstance(column, NumberColumn)), "linear")

    @property
    def category_encoding(self) -> CategoryEncoding:
        """How the categories of columns of many become inputs."""
        if any(isinstance(column, TargetStatisticsColumn) for column in self.columns):
            return "target"
        return "embedding" if self.embedded_inputs else "one-hot"

    @property
    def embedded_inputs(self) -> list[range]:
        """The positions of the inputs of each column that a network embeds."""
        places = zip(self.columns, self.input_slices.values(), strict=True)
        return [range(place.start, place.stop) for column, place in places if getattr(column, "is_embedded", False)]

    @property
    def schema(self) -> dict[str, Kind]:
        """What each column of a table holds, the targets last; a new table is read by this alone."""
        kinds: dict[str, Kind] = {
            column.name: column.kind
            if isinstance(column, CategoryColumn | DateColumn)
            else "text"
            if isinstance(column, WordsColumn)
            else "number"
            for column in self.columns
        }
        target_kind: Kind = self.target.kind if isinstance(self.target, ClassTarget) else "number"
        return kinds | dict.fromkeys(self.target_names, target_kind)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the network's inputs: ``"column"``, ``"column=category"``, ``"column:word"``, ``"column:days"``.

        One that repeats, as of a column named ``"column=category"``, gets a number.
        """
        return tuple(distinct_names(name for column in self.columns for name in column.inputs))

    @property
    def input_slices(self) -> dict[str, slice]:
        """The inputs of the network that belong to each column."""
        ends = [0, *accumulate(len(column.inputs) for column in self.columns)]
        return {column.name: slice(*place) for column, place in zip(self.columns, pairwise(ends), strict=True)}

    @property
    def n_outputs(self) -> int:
        """Number of the network's outputs."""
        return len(self.target.names) if isinstance(self.target, NumberTarget) else len(self.target.classes)

    @property
    def task(self) -> str:
        """The kind of problem: "classification" or "regression"."""
        return "classification" if isinstance(self.target, ClassTarget) else "regression"
