"""Fit the preprocessing of a table: decide what each column is, then compute the statistics of the training rows.

Both are one pass over the table, which may be in memory or arrive in pieces.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import counted, shortened
from gpubp.data.preprocessing._decisions import (
    Decision,
    choose_targets,
    decide,
    quoted_list,
    requested_types,
)
from gpubp.data.preprocessing._embedding import embedded
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.data.preprocessing._features import FeatureFit, feature_fits
from gpubp.data.preprocessing._fingerprint import RunningFingerprint
from gpubp.data.preprocessing._issues import issues_in_words
from gpubp.data.preprocessing._options import ColumnOptions, check_options
from gpubp.data.preprocessing._records import (
    CategoryColumn,
    CategoryEncoding,
    ColumnSummary,
    ColumnType,
    FeatureColumn,
    NumberEncoding,
    Preprocessing,
    TargetStatisticsColumn,
)
from gpubp.data.preprocessing._suspicious_numbers import likely_mark
from gpubp.data.preprocessing._target_statistics import (
    OutOfFold,
    TargetStatisticsFit,
    folds_of,
    statistics_fits,
    targets_of,
)
from gpubp.data.preprocessing._targets import (
    NO_TARGET,
    TargetDecision,
    TargetFit,
    Task,
    decide_target,
)
from gpubp.data.preprocessing._transform import Issue
from gpubp.data.table import Table
from gpubp.errors import DataError

_MANY_ROWS = 1 << 18  # of a table whose columns are counted in threads


@dataclass(frozen=True)
class TableDecisions:
    """What the columns of a table are.

    `needs_target` is False for a table that is only looked at; `refusal` is why its target cannot be learned.
    """

    source: str
    options: ColumnOptions
    features: tuple[Decision, ...]
    target: TargetDecision
    facts: Mapping[str, ColumnFacts]
    needs_target: bool = True
    refusal: str = ""


@dataclass(frozen=True)
class FittedTable:
    """The preprocessing, and the minimum and maximum of each numeric target over all rows.

    `fingerprint` is that of the columns that are used, in all rows with a target; see `RunningFingerprint`. `refusal`
    is why no network can be trained on the table, if it is only looked at. `out_of_fold` encodes the training rows.
    `unreadable` says which columns have values that are not of their type.
    """

    preprocessing: Preprocessing
    ranges: dict[str, tuple[float, float]]
    fingerprint: str = ""
    refusal: str = ""
    out_of_fold: OutOfFold = field(default_factory=lambda: OutOfFold(0, {}))
    unreadable: str = ""


def column_problems(
    table: Table, targets: Sequence[str], options: ColumnOptions, others: Iterable[str] = ()
) -> list[str]:
    """Say what is wrong with the columns that options name, and with `others`."""
    types = options.types or {}
    named = dict.fromkeys([*targets, *types, *options.categorical, *options.drop, *others])
    problems = []
    if absent := [name for name in named if name not in table.columns]:
        shown = ", ".join(f"{name!r}{near_miss(name, table.columns)}" for name in absent)
        is_encoding = any(name in get_args(CategoryEncoding) for name in absent if name in options.categorical)
        hint = "; how categories become inputs is the option categories (--categories)" if is_encoding else ""
        problems.append(f"{table.source} has no column {shown}; it has {quoted_list(table.columns)}{hint}")
    requests = [types, dict.fromkeys(options.categorical, "category"), dict.fromkeys(options.drop, "drop")]
    for name in named:
        wanted = dict.fromkeys(str(one[name]) for one in requests if name in one)
        if len(wanted) > 1:
            problems.append(
                f"{name!r} is requested as {' and as '.join(wanted)} (types, categorical, drop); choose one"
            )
    dropped = {*options.drop, *(name for name, column_type in types.items() if column_type == "drop")}
    both = [name for name in targets if name in dropped]
    return problems + [f"the target {name!r} is also listed in drop; choose another target" for name in both]


def fit_preprocessing(
    table: Table,
    target: str | Sequence[str] | None = None,
    *,
    task: Task = "auto",
    types: Mapping[str, ColumnType] | None = None,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: Sequence[str] = (),
    max_categories: int = 100,
    strict: bool = False,
    numbers: NumberEncoding = "linear",
    rows: ArrayLike | None = None,
) -> Preprocessing:
    """Choose the targets, the task and the type of each column, and compute the statistics that encode them.

    Parameters
    ----------
    table : Table
        The data. Rows without a target are left out.
    target : str or sequence of str, optional
        Target column or columns. By default those the source marks, else the one named target, label, class or y,
        else the last.
    task : {"auto", "classification", "regression"}
        "auto" treats text, bools and whole numbers with few values (at most 20, each twice on average) as classes.
    types : mapping of str to {"number", "category", "date", "words", "drop"}, optional
        Types of columns, by name, instead of those that are found.
    categorical, drop : sequence of str
        Columns whose type is "category" or "drop". Categories of a text file are text, so that ``01`` and ``1`` differ.
        `categorical` may include the target, whose classes are then text.
    missing : sequence of str
        Texts that mean a missing value, besides the usual ones.
    max_categories : int
        Number of categories of a column that have an input each; the less frequent ones share inputs.
    strict : bool
        Raise where a value would be filled, left out or read as missing.
    numbers : {"linear", "piecewise", "robust"}
        "linear" scales numbers by their mean and standard deviation, and keeps them within 1.5 times the largest
        distance from the mean in the training rows. "piecewise" also adds inputs for up to 16 bins between quantiles,
        so that the network can bend where the numbers do. "robust" scales by the median and the interquartile range,
        and clips smoothly. See docs/tables.md.
    rows : array_like, optional
        Indices of the training rows if others are held out: all statistics and categories come from these alone.

    Returns
    -------
    Preprocessing
        For `apply`, `encode_target` and `decode_target`.

    Raises
    ------
    DataError
        If an option names an unknown column, no value is of the type that `types` names, no column has anything to
        learn from, there is only one class, or with `strict` a value is missing or unreadable.

    Examples
    --------
    >>> from gpubp.data import apply, table_from_mapping
    >>> table = table_from_mapping({"size": [1.0, 3.0], "colour": ["red", "blue"], "y": ["a", "b"]})
    >>> preprocessing = fit_preprocessing(table)
    >>> preprocessing.feature_names
    ('size', 'colour=blue', 'colour=red')
    >>> apply(preprocessing, table)
    array([[-1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    """
    options = ColumnOptions(target, task, types, categorical, drop, missing, max_categories, strict, numbers=numbers)
    decisions = decide_table([table], options)
    training = np.zeros(table.n_rows, dtype=bool)
    training[slice(None) if rows is None else np.asarray(rows)] = True
    return fit_columns(decisions, [(table, training & decisions.target.present(table))]).preprocessing


def decide_table(pieces: Iterable[Table], options: ColumnOptions, *, needs_target: bool = True) -> TableDecisions:
    """Decide what each column of a table is, in one pass over its pieces.

    A table without a target that can be learned is an error, unless it is only looked at and `needs_target` is False:
    then all columns are features.

    Raises
    ------
    DataError
        If an option is not valid, or a target cannot be learned.
    """
    check_options(options)
    facts: dict[str, ColumnFacts] = {}
    targets: tuple[str, ...] = ()
    requested: dict[str, ColumnType] = {}
    source = "the table"
    for table in pieces:
        if not facts:
            source, targets = table.source, choose_targets(table, options.target)
            if problems := column_problems(table, targets, options):
                raise DataError("; ".join(problems))
            requested = requested_types(options.types, options.categorical, options.drop)
            of_target = () if options.exact_labels else options.missing
            facts = {
                name: ColumnFacts(name, of_target if name in targets else options.missing) for name in table.columns
            }
        if table.n_rows < _MANY_ROWS:
            for one in facts.values():
                one.add(table)
        else:  # NumPy and pyarrow count without the interpreter lock
            with ThreadPoolExecutor() as pool:
                list(pool.map(ColumnFacts.add, facts.values(), repeat(table)))
    if not facts:
        raise DataError("a table without rows has no columns to decide about")
    refusal = ""
    try:
        if len(facts) == len(targets):
            raise DataError(f"{source} has no columns besides the target {quoted_list(targets)}; features are needed")
        of_targets, missing = [facts[name] for name in targets], () if options.exact_labels else tuple(options.missing)
        target = decide_target(of_targets, options.task, requested, missing, exact_labels=options.exact_labels)
    except DataError as error:
        if needs_target:
            raise
        target, targets, refusal = NO_TARGET, (), str(error)
    features = [
        decide(one, requested.get(name), max_categories=options.max_categories)
        for name, one in facts.items()
        if name not in targets
    ]
    if all(decision.type == "drop" for decision in features):
        features = [_kept(decision, facts[decision.name], requested) for decision in features]
    return TableDecisions(source, options, tuple(features), target, facts, needs_target, refusal)


def column_decision(table: Table, name: str) -> Decision:
    """Decide what one column of a table is, even if a network could not learn from it: row numbers are numbers."""
    facts = ColumnFacts(name)
    facts.add(table)
    decision = decide(facts)
    return decide(facts, "number") if decision.type == "drop" and facts.is_numeric else decision


def fit_columns(decisions: TableDecisions, pieces: Iterable[tuple[Table, NDArray[np.bool_]]]) -> FittedTable:
    """Compute the statistics of each column in one pass over a table's pieces, each with a mask of its training rows.

    Raises
    ------
    DataError
        If no column has anything to learn from, no value is of a requested type, or with ``strict`` a value is missing
        or unreadable.
    """
    options, target = decisions.options, decisions.target
    n_rows = next(iter(decisions.facts.values())).n_rows
    fits = feature_fits(decisions.features, options.missing, options.max_categories, options.numbers, n_rows)
    if options.categories == "target" and target.names:
        fits = statistics_fits(fits, target, options.missing, options.max_categories)
    by_target = [(name, fit) for name, fit in fits.items() if isinstance(fit, TargetStatisticsFit)]
    of_target = TargetFit(target)
    first = n_without_target = 0
    sources = set[str]()
    fingerprint = RunningFingerprint([*fits, *target.names])
    for whole, of_whole in pieces:
        sources.add(whole.source)
        present = target.present(whole)  # rows without a target count nowhere else
        table, training = (whole, of_whole) if present.all() else (whole.select(present), of_whole[present])
        n_without_target += int((~present).sum())
        fingerprint.add(table)
        values = {name: fit.add(table, training).values for name, fit in fits.items()}
        columns = target.read(table)
        if by_target:
            groups = None if options.group is None else table.texts(options.group)[training]
            folds = folds_of(first + np.flatnonzero(present)[training], options.seed, groups)
            means_of = targets_of(target, [column.values[training] for column in columns])
            for name, fit in by_target:
                fit.add_targets(values[name][training], means_of, folds)
        first += whole.n_rows
        of_target.add(columns, training)
    fitted, summaries = [], []
    for decision in decisions.features:
        if decision.name in (options.types or {}) and decision.name in fits:
            _refuse_type_of_no_value(decisions.source, fits[decision.name])
        feature, summary = _finish(decision, fits.get(decision.name), decisions.facts[decision.name])
        fitted += [feature] if feature is not None else []
        summaries.append(summary)
    if options.categories == "embedding":
        fitted, summaries = embedded(fitted, summaries)
    refusal = decisions.refusal
    if not fitted and not refusal:
        reasons = shortened([f"{one.name!r}: {one.reason}" for one in summaries])
        refusal = f"{decisions.source} has no column to learn from ({reasons})"
        if decisions.needs_target:
            raise DataError(refusal)
    for name, sample in zip(target.names, of_target.samples, strict=True):
        n_distinct, mark = len(decisions.facts[name].counts), _mark_in_words(likely_mark(sample.values))
        reason = target.reason + _advice(mark)
        summaries.append(ColumnSummary(name, "target", reason, n_without_target, n_distinct, likely_missing=mark))
    if options.strict:
        _refuse_losses(decisions.source, fits.values(), n_without_target, target.names)
    records = tuple(fitted), of_target.fit(), tuple(options.missing), tuple(summaries)
    preprocessing = Preprocessing(*records, target.missing)
    digest = fingerprint.digest(preprocessing.schema)
    inputs = {name: fit.by_fold for name, fit in by_target if fit.by_fold is not None}
    out_of_fold = OutOfFold(options.seed, inputs, options.group)
    used, files = {column.name for column in fitted}, {one: f"{one}, " for one in sources if len(sources) > 1}
    issues = [
        Issue(name, "unreadable", fit.n_unreadable, f"{files.get(fit.source, '')}{fit.place}: {fit.example}")
        for name, fit in fits.items()
        if fit.n_unreadable and name in used
    ]
    unreadable = issues_in_words(issues, n_rows - n_without_target)
    return FittedTable(preprocessing, of_target.ranges, digest, refusal, out_of_fold, unreadable)


def _kept(decision: Decision, facts: ColumnFacts, requested: Mapping[str, ColumnType]) -> Decision:
    """Keep row numbers and identifiers of a table that has nothing else."""
    if decision.name in requested or len(facts.counts) < 2:
        return decision
    column_type: ColumnType = "number" if facts.is_numeric else "category"
    kept = decide(facts, column_type)
    return replace(kept, reason=f"{decision.reason}; kept, since no other column can be used")


def _finish(
    decision: Decision, fit: FeatureFit | None, facts: ColumnFacts
) -> tuple[FeatureColumn | None, ColumnSummary]:
    """Fit a column, and summarize it; a column without anything to learn from is dropped."""
    if fit is None:
        n_missing = facts.n_rows - facts.n_values
        return None, ColumnSummary(decision.name, "drop", decision.reason, n_missing, len(facts.counts))
    reason, n_missing = decision.reason, fit.n_missing
    if fit.n_unreadable:
        others = counted(fit.n_unreadable, "other value, ", "other values, such as ")
        reason += f"; {others}{fit.example}, {'is' if fit.n_unreadable == 1 else 'are'} taken as missing"
    column: FeatureColumn | None = None
    column_type = decision.type
    try:
        column = fit.fit()
        if isinstance(column, CategoryColumn):
            reason += _shares(column)
    except DataError as error:
        column_type, reason = "drop", str(error)
    mark = _mark_in_words(fit.likely_missing)
    reason += _advice(mark)
    summary = ColumnSummary(decision.name, column_type, reason, n_missing, len(facts.counts), fit.n_outliers, mark)
    return column, summary


def _refuse_type_of_no_value(source: str, fit: FeatureFit) -> None:
    """Raise a DataError if no value of a column is of the type that the user requests."""
    if fit.n_unreadable and fit.n_missing == fit.n_rows:
        what = fit.decision.type
        raise DataError(
            f"{source}: no value of column {fit.name!r} can be read as a {what}; the first is {fit.example}. Correct "
            f"them, or leave out the type {what!r} of this column (--type {fit.name}={what})"
        )


def _mark_in_words(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"


def _advice(mark: str) -> str:
    return f"; {mark} stands apart from all others: if it means missing, pass --missing {mark}" if mark else ""


def _shares(column: CategoryColumn) -> str:
    """Say which categories have no input of their own."""
    shares = ""
    if column.groups:
        n_grouped = sum(map(len, column.groups))
        shares = (
            f"; the {len(column.categories)} most frequent have an input each, {n_grouped:,} share {len(column.groups)}"
        )
    if isinstance(column, TargetStatisticsColumn):
        return "; each becomes the smoothed mean of the target" + (
            ", those that occur once its overall mean" if column.other else ""
        )
    return shares + ("; those that occur once are one category, 'other'" if column.other else "")


def _refuse_losses(source: str, fits: Iterable[FeatureFit], n_without_target: int, targets: Sequence[str]) -> None:
    """Raise a DataError that lists every value that would be filled or left out."""
    losses, otherwise = [], []
    if n_without_target:
        losses.append(f"{counted(n_without_target, 'row')} without the target {quoted_list(targets)}")
        otherwise.append("rows without a target are left out")
    for fit in fits:
        if fit.n_missing > fit.n_unreadable:
            losses.append(f"column {fit.name!r}: {counted(fit.n_missing - fit.n_unreadable, 'missing value')}")
        if fit.n_unreadable:
            losses.append(
                f"column {fit.name!r}: {counted(fit.n_unreadable, 'value')} of another kind, such as {fit.example}"
            )
    if len(losses) > len(otherwise):
        otherwise.append("values are filled")
    if losses:
        raise DataError(
            f"{source}: {'; '.join(losses)}; correct them, or leave out strict=True (--strict): then "
            f"{' and '.join(otherwise)}, and counted"
        )
