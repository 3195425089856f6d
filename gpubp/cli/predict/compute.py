"""Predict and score a table, as a whole or in parts."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.names import near_miss
from gpubp._core.text import counted, excerpt
from gpubp.cli.output import notes, print_note, print_table, print_warning
from gpubp.cli.predict.formats import Columns, open_writer
from gpubp.cli.table_options import column_names
from gpubp.data.metrics import RunningScores, Scores
from gpubp.data.preprocessing import (
    PROBLEMS,
    UNSEEN_CLASS,
    ClassTarget,
    Issue,
    KnownClasses,
    RunningFingerprint,
    apply,
    encode_target,
    has_target,
    issue_in_words,
    known_classes,
    missing_values,
    preprocessing_of,
)
from gpubp.data.streaming.table_source import TableSource, in_file
from gpubp.data.table import Table
from gpubp.errors import DataError
from gpubp.io.model_file import Model
from gpubp.tabular.predict import (
    TableOutputs,
    absence_in_words,
    numbers_in,
    table_outputs,
    unit_in_words,
    unseen_classes_in_words,
)

Compute = Callable[[Table], TableOutputs]
"""Computes the network's outputs for the rows of a table."""

Decode = Callable[[np.ndarray], Columns]
"""Converts outputs to the columns to write."""

FAR = 0.05
"""A note is printed if more than this share of a column lies outside the range of the training rows."""


class Predicted(NamedTuple):
    """The predictions for a table."""

    source: str  # the table
    n_rows: int
    n_scored: int  # rows that have a target
    n_unseen: int  # those of them whose class training did not see
    columns: Columns  # empty if they were written in parts
    scores: Scores | None  # None if the table has no target
    baseline: Scores | None  # of the same output for each row
    issues: tuple[Issue, ...]
    fingerprint: str  # of the scored rows


class Scoring:
    """Scores of the rows that have a target, and those of constant outputs."""

    def __init__(self, trained: Model) -> None:
        self.preprocessing = preprocessing = preprocessing_of(trained)
        self.n = self.n_unseen = 0
        self.fingerprint = RunningFingerprint(preprocessing.schema)
        self.scores, self.baseline = RunningScores(preprocessing), RunningScores(preprocessing)
        constant = np.asarray(numbers_in(trained.about.get("constant_outputs")))
        self.constant = constant if constant.shape == (preprocessing.n_outputs,) else None

    def add(self, table: Table, outputs: np.ndarray) -> None:
        """Add the outputs for the rows of a table, if it has the target."""
        if not set(self.preprocessing.target_names) <= set(table.columns):
            return
        if isinstance(self.preprocessing.target, ClassTarget):
            self._add_unseen(known_classes(self.preprocessing, table), outputs)
        known = has_target(self.preprocessing, table)
        if not known.any():
            return
        scored = table if known.all() else table.select(known)
        targets = encode_target(self.preprocessing, scored)
        self.fingerprint.add(scored)
        self.n += len(targets)
        self.scores.add(targets, outputs[known])
        if self.constant is not None:
            self.baseline.add(targets, np.broadcast_to(self.constant, targets.shape))

    def _add_unseen(self, classes: KnownClasses, outputs: np.ndarray) -> None:
        is_unseen = classes.places == UNSEEN_CLASS
        n = int(is_unseen.sum())
        self.n, self.n_unseen = self.n + n, self.n_unseen + n
        if n:
            self.scores.add_unseen(classes.unseen, outputs[is_unseen])
            if self.constant is not None:
                self.baseline.add_unseen(classes.unseen, np.broadcast_to(self.constant, (n, len(self.constant))))


def compute_with(trained: Model, *, strict: bool, device: str, matmul_precision: str) -> Compute:
    """Return a function that computes the outputs of a model; with `strict` values that do not fit are errors."""

    def compute(table: Table) -> TableOutputs:
        if strict:
            apply(preprocessing_of(trained), table, strict=True)
        return table_outputs(trained, table, device=device, matmul_precision=matmul_precision)

    return compute


def predict_whole(
    compute: Compute, decode: Decode, scoring: Scoring, table: Table, keep: Iterable[str] = ()
) -> Predicted:
    """Predict a table that is in memory."""
    kept = _kept(table, keep)
    outputs, issues = compute(table)
    scoring.add(table, outputs)
    return _predicted(table.source, table.n_rows, _joined(kept, decode(outputs)), scoring, issues)


def predict_in_parts(
    compute: Compute, decode: Decode, scoring: Scoring, tables: TableSource, output: Path | None, keep: Iterable[str]
) -> Predicted:
    """Predict a table part by part, and write each part to a file or to stdout."""
    with open_writer(output) as write:

        def compute_and_write(table: Table) -> TableOutputs:
            computed = compute(table)
            write(_joined(_kept(table, keep), decode(computed.outputs)))
            return computed

        return score_in_parts(compute_and_write, scoring, tables)


def score_in_parts(compute: Compute, scoring: Scoring, tables: TableSource) -> Predicted:
    """Score a table part by part."""
    issues = _Issues()
    for piece in tables.pieces():
        try:
            outputs, found = compute(piece.table)
        except DataError as error:
            raise in_file(error, piece.origin) from error
        scoring.add(piece.table, outputs)
        issues.add(found)
    return _predicted(tables.name, int(sum(tables.counts)), {}, scoring, issues.merged())


def scores_as_json(predicted: Predicted) -> dict[str, Any]:
    """Return the scores, the baseline and the values that do not fit as JSON's own types."""
    issues = [issue._asdict() for issue in predicted.issues]
    return {
        "scores": predicted.scores,
        "baseline": predicted.baseline,
        "scored": predicted.n_scored,
        "unseen_classes": predicted.n_unseen,
        "issues": issues,
    }


def note_scored_rows(predicted: Predicted) -> None:
    """Print notes about rows that have no target, and about those of a class that training did not see."""
    if n := predicted.n_rows - predicted.n_scored:
        print_note(f"{counted(n, 'row')} without a target: not scored, so the scores are of the others alone")
    if predicted.n_unseen:
        print_note(unseen_classes_in_words(predicted.n_unseen))


def note_training_rows(trained: Model, predicted: Predicted, model: Path) -> None:
    """Print a note if the scored rows are those of the training table, or if the table has the name of its file."""
    held_out = f"for scores of rows that were held out: gpubp show {model}"
    if predicted.fingerprint == trained.about.get("fingerprint"):
        print_note(f"the model was trained on a table with the same values, so these scores flatter; {held_out}")
    elif trained.about.get("source") == Path(predicted.source).name:
        print_note(
            "the model was trained on a table with the same name and other values: if rows of it are in this one, "
            f"these scores flatter; {held_out}"
        )


def print_issues(predicted: Predicted, *, as_table: bool) -> None:
    """Print notes about the values that do not fit, or a table of all of them on stderr."""
    if absent := [issue for issue in predicted.issues if issue.problem == "absent"]:
        print_warning(f"{absence_in_words(predicted.source, absent)}; --strict refuses such a table")
    for issue in predicted.issues:
        if issue.problem == "unit":
            print_warning(unit_in_words(issue))
    if as_table:
        rows = [
            [issue.column, issue.problem, f"{issue.n:,}", f"{issue.n / predicted.n_rows:.1%}", issue.example]
            for issue in predicted.issues
        ]
        print_table(["column", "problem", "values", "share", "first"], rows, left=2, output=notes)
        return
    for issue in predicted.issues:
        if issue.problem in PROBLEMS and (issue.problem != "outside" or issue.n > FAR * predicted.n_rows):
            print_note(issue_in_words(issue, predicted.n_rows))


class _Issues:
    """The values that do not fit, added up over the parts of a table."""

    def __init__(self) -> None:
        self.by_problem: dict[tuple[str, str], Issue] = {}

    def add(self, issues: Iterable[Issue]) -> None:
        for issue in issues:
            first = self.by_problem.setdefault((issue.column, issue.problem), issue._replace(n=0))
            self.by_problem[issue.column, issue.problem] = first._replace(n=first.n + issue.n)

    def merged(self) -> tuple[Issue, ...]:
        return tuple(self.by_problem.values())


def _kept(table: Table, names: Iterable[str]) -> Columns:
    """Return columns of the table that are written beside the predictions, as objects, None where missing."""
    columns: Columns = {}
    for name in column_names(names, table.columns):
        if name not in table.columns:
            raise DataError(
                f"--keep: {table.source} has no column {excerpt(repr(name), 60)}{near_miss(name, table.columns)}"
            )
        values = table.texts(name)
        columns[name] = values.astype(object)
        columns[name][missing_values(values)] = None
    return columns


def _joined(kept: Columns, predictions: Columns) -> Columns:
    """Return kept columns and predictions; a kept column with the name of a prediction is ``"y (given)"``."""
    return {f"{name} (given)" if name in predictions else name: values for name, values in kept.items()} | predictions


def _predicted(source: str, n_rows: int, columns: Columns, scoring: Scoring, issues: tuple[Issue, ...]) -> Predicted:
    scores, baseline = scoring.scores.scores(), scoring.baseline.scores()
    n_scored, n_unseen, fingerprint = scoring.n, scoring.n_unseen, scoring.fingerprint.digest()
    return Predicted(source, n_rows, n_scored, n_unseen, columns, scores, baseline, issues, fingerprint)
