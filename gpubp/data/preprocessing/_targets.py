"""Fit the target: classes, or numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpubp.data._dates import find_date_format
from gpubp.data._quantities import PLAIN, NumberFormat, find_number_format
from gpubp.data._running_statistics import RunningMoments, RunningSample
from gpubp.data._text_values import Kind, number_form, read_number
from gpubp.data.preprocessing._decisions import (
    are_codes,
    are_few_whole_numbers,
    describe_format,
    plain_values,
    quoted_list,
)
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.data.preprocessing._records import ClassTarget, ColumnType, LabelType, NumberTarget
from gpubp.data.preprocessing._values import ReadColumn, missing_values, read_categories, read_numbers
from gpubp.data.table import Table
from gpubp.errors import DataError

MARGIN = 0.05
"""How far predictions may lie beyond the targets of the training rows, as a part of their range."""

FEW_DATES, LEAST_OF_FEW, LEAST_OF_DATE = 20, 2, 10
"""Dates of a target are classes if each has so many rows on average: the first number if there are few."""

Task = Literal["auto", "classification", "regression"]
"""What a target is taken for: classes, numbers, or what its values are found to be.

Examples
--------
>>> from typing import get_args
>>> from gpubp.tabular import Task
>>> get_args(Task)
('auto', 'classification', 'regression')
"""


@dataclass(frozen=True)
class TargetDecision:
    """Whether the targets are classes or numbers, and how they are read; `classes` are sorted."""

    names: tuple[str, ...]
    is_classes: bool
    reason: str
    kind: Kind = "number"
    classes: tuple[str, ...] = ()
    label_type: LabelType = "str"
    number_formats: tuple[NumberFormat, ...] = ()
    missing: tuple[str, ...] = ()

    def read(self, table: Table) -> list[ReadColumn]:
        """Read the target columns."""
        if self.is_classes:
            return [read_categories(table, self.names[0], self.kind, self.classes, self.missing)]
        formats = zip(self.names, self.number_formats, strict=True)
        return [read_numbers(table, name, number_format, self.missing) for name, number_format in formats]

    def present(self, table: Table) -> NDArray[np.bool_]:
        """Return a mask of the rows in which no target is missing."""
        present = np.ones(table.n_rows, dtype=bool)
        for column in self.read(table):
            present &= ~missing_values(column.values)
        return present


NO_TARGET = TargetDecision((), False, "")
"""The decision about a table that is not trained on."""


def decide_target(
    facts: list[ColumnFacts],
    task: Task,
    requested: Mapping[str, ColumnType],
    missing: tuple[str, ...] = (),
    *,
    exact_labels: bool = False,
) -> TargetDecision:
    """Decide whether targets are classes or numbers; with `exact_labels` no text of classes is a missing value.

    Raises
    ------
    DataError
        If there are several targets of classes, only one class, or too many.
    """
    names = tuple(one.name for one in facts)
    for one in facts:
        if not one.counts and not one.marks:
            raise DataError(f"the target {one.name!r} has no values; choose another with target= (--target)")
    kinds = [requested.get(name) for name in names]
    if wrong := [name for name, kind in zip(names, kinds, strict=True) if kind in ("date", "words")]:
        raise DataError(
            f"the target {wrong[0]!r} cannot be of type {requested[wrong[0]]!r}; a target is of type 'number' or "
            "'category'"
        )
    if task == "classification" and len(names) > 1:
        raise DataError(f"classification takes one target, got {quoted_list(names)}")
    first = facts[0]
    formats = [
        PLAIN if one.is_numeric or one.kind == "bool" else find_number_format(one.counts, one.decimal) for one in facts
    ]
    if task == "auto" and kinds[0] is None and formats[0] is None:
        _refuse_dates(first)
    if task == "auto" and "number" in kinds:
        task = "regression"
    if task == "auto" and len(names) == 1:
        is_named = kinds[0] == "category" or first.is_categorical or first.kind == "bool" or are_codes(first.counts)
        is_few = (
            not first.is_truncated
            and formats[0] == PLAIN
            and are_few_whole_numbers(first.number_counts, first.n_values)
        )
        task = "classification" if is_named or formats[0] is None or is_few else "regression"
    if task == "classification":
        return _classes(first, kinds[0] == "category", missing, exact_labels=exact_labels)
    for one, number_format in zip(facts, formats, strict=True):
        has_number = any(read_number(text) is not None for text in one.counts)
        if number_format is None and not (has_number and requested.get(one.name) == "number"):
            example = next((text for text in one.counts if read_number(text) is None), "")
            raise DataError(
                f"the target {one.name!r} is mostly not numbers, such as {example[:60]!r}; correct it, or predict "
                "classes: task='classification', --task classification, or TabularClassifier"
            )
    number_formats = tuple(
        one.number_format if one.is_numeric else found or PLAIN for one, found in zip(facts, formats, strict=True)
    )
    reason = "; ".join(dict.fromkeys(map(describe_format, number_formats)))
    return TargetDecision(names, False, reason, number_formats=number_formats, missing=missing)


def _refuse_dates(facts: ColumnFacts) -> None:
    """Raise an error if a target holds many dates: as classes none could be predicted that training did not see."""
    least = LEAST_OF_FEW if len(facts.counts) <= FEW_DATES else LEAST_OF_DATE
    if not facts.is_truncated and len(facts.counts) * least <= facts.n_values:
        return
    if facts.kind in ("datetime", "datetime_utc") or find_date_format(facts.counts):
        example = next(iter(facts.counts), "")
        as_class = f"types={{{facts.name!r}: 'category'}}, --type {facts.name}=category"
        raise DataError(
            f"the target {facts.name!r} holds dates, such as {example[:60]!r}; predict a number, such as days since "
            f"a date{'' if _are_too_many_classes(facts) else f', or make each date a class: {as_class}'}"
        )


def _are_too_many_classes(facts: ColumnFacts) -> bool:
    return facts.is_truncated or len(facts.counts) == facts.n_rows > 100


class TargetFit:
    """The moments of targets of numbers, in the training rows and in all rows, and a sample of each."""

    def __init__(self, decision: TargetDecision) -> None:
        self.decision = decision
        self.training = [RunningMoments() for _ in decision.names]
        self.all_rows = [RunningMoments() for _ in decision.names]
        self.samples = [RunningSample() for _ in decision.names]

    def add(self, columns: list[ReadColumn], training: NDArray[np.bool_]) -> None:
        """Add the targets of more rows, with the mask of the training rows."""
        if self.decision.is_classes:
            return
        for place, (values, _) in enumerate(columns):
            is_present = ~np.isnan(values)
            self.training[place].add(values[training & is_present])
            self.all_rows[place].add(values[is_present])
            self.samples[place].add(values[is_present])

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The minimum and the maximum of each target of numbers in all rows."""
        if self.decision.is_classes:
            return {}
        return {name: (one.minimum, one.maximum) for name, one in zip(self.decision.names, self.all_rows, strict=True)}

    def fit(self) -> ClassTarget | NumberTarget:
        """Return the fitted target; numbers are scaled by the moments of the training rows."""
        decision = self.decision
        if decision.is_classes:
            return ClassTarget(decision.names[0], decision.classes, decision.label_type)
        scales = [one.mean_and_scale(name) for name, one in zip(decision.names, self.training, strict=True)]
        means, deviations = (tuple(scale[place] for scale in scales) for place in (0, 1))
        limits = [_limits(one.minimum, one.maximum) for one in self.training]
        lows, highs = (tuple(pair[place] for pair in limits) for place in (0, 1))
        return NumberTarget(decision.names, means, deviations, lows, highs, decision.number_formats)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return the limits of predictions: a little beyond the range of the training rows, on its side of 0."""
    margin = MARGIN * (high - low)
    return low - (min(margin, low) if low >= 0.0 else margin), high + (min(margin, -high) if high <= 0.0 else margin)


def _classes(facts: ColumnFacts, is_requested: bool, missing: tuple[str, ...], *, exact_labels: bool) -> TargetDecision:
    """Return the decision for a target of classes."""
    name, counts = facts.name, dict(facts.counts)
    if _are_too_many_classes(facts):
        raise DataError(
            f"the target {name!r} has {'more than ' if facts.is_truncated else ''}{len(counts):,} classes, too many "
            f"for {facts.n_rows:,} rows; choose another target, or pass task='regression' (--task regression)"
        )
    kind: Kind = facts.kind or "text"
    if facts.is_written and (are_codes(counts) or is_requested or not facts.is_numeric):
        kind = "text"
    elif facts.is_numeric and facts.is_written:
        counts = dict.fromkeys(filter(None, map(number_form, facts.number_counts)), 1)
    if kind == "text":
        labels = facts.marks if exact_labels else plain_values(facts, is_target=True)
        counts |= {text: facts.marks[text] for text in labels}
    if kind == "number":
        counts = {text: n for text, n in counts.items() if math.isfinite(float(text))}
    if len(counts) < 2:
        shown = next(iter(counts), "none")
        target = "y" if exact_labels else f"the target {name!r}"  # an array, which has no name
        raise DataError(f"{target} has only one class, {shown!r}; at least two are needed")
    if kind == "number":
        classes = sorted(counts, key=float)
        is_whole = all(text.lstrip("-").isdecimal() for text in classes)
        label_type: LabelType = "int" if is_whole else "float"
    else:
        classes, label_type = sorted(counts), "bool" if kind == "bool" else "str"
    if kind in ("datetime", "datetime_utc"):
        kind = "text"
    reason = {"number": "few whole numbers: classes", "bool": "true or false"}.get(kind, "classes")
    if kind == "text" and are_codes(counts):
        reason = "classes: codes with leading zeros"
    return TargetDecision((name,), True, reason, kind, tuple(classes), label_type, missing=missing)
