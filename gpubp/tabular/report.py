"""What a report says of a model of a table: from its file, and from rows that it was not trained on."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp._core.names import distinct_names
from gpubp._core.text import counted, excerpt, shortened
from gpubp.data.metrics import Scores, score
from gpubp.data.preprocessing import (
    CategoryColumn,
    ClassTarget,
    RunningFingerprint,
    encode_target,
    has_target,
    preprocessing_of,
    shown_reason,
    shown_type,
    values_of,
)
from gpubp.data.table import Table
from gpubp.engine.prediction import mean_outputs
from gpubp.errors import DataError, TableWarning
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance
from gpubp.io.atomic_files import write_atomically
from gpubp.io.model_facts import (
    TRIAL_HEADINGS,
    are_scores,
    described_trials,
    finite_numbers,
    linear_part_text,
    mapping,
    refit_text,
    restarts_text,
    untried_text,
)
from gpubp.io.model_file import Model
from gpubp.nn.network import Network, views
from gpubp.reports import (
    GRID,
    MAX_DEPENDENCE_ROWS,
    MAX_DEPENDENCES,
    Confusion,
    Curves,
    HeldOutFindings,
    ModelReport,
    Residuals,
    ShownColumn,
    report_page,
    versions,
)
from gpubp.tabular.inspected_table import InspectedTable
from gpubp.tabular.inspection import inspected_rows
from gpubp.tabular.made_again import code_again
from gpubp.tabular.predict import numbers_in

MAX_ROWS = 20_000
"""Rows that confusion, errors and calibration are made of; of more, evenly chosen ones."""

KINDS_IN_WORDS = {
    "number": "of numbers",
    "category": "of categories",
    "date": "of dates",
    "words": "of free text",
    "drop": "dropped",
}
"""The types of columns, after their number."""

MAX_SHUFFLED_ROWS, MAX_SHUFFLED_COLUMNS, N_REPEATS, MAX_CATEGORIES = 2_000, 50, 5, 8
MAX_WORK = 5e10
"""Rows times parameters that permutation importance may predict, some seconds of one processor core."""

NO_CALIBRATION = (
    "The errors on these rows set the width of prediction intervals, so the same rows cannot show whether intervals "
    "hold as many targets as they should: gpubp report MODEL --data TABLE shows it on rows that the model has not seen."
)


def report_of(
    model: Model,
    *,
    title: str,
    code: str = "",
    notes: Sequence[str] = (),
    inspected: InspectedTable | None = None,
    rows: str = "",
    scored_as: str = "",
) -> ModelReport:
    """Collect what a report says of a model.

    Parameters
    ----------
    model : Model
        Of a table; what it says of its training may be forged.
    title, code : str
        The name, and what makes it again.
    notes : sequence of str
        What makes the results doubtful.
    inspected : InspectedTable, optional
        A model, perhaps the one before the training on all rows, and rows that it was not trained on.
    rows : str
        These rows in words; by default their number and source.
    scored_as : str
        The part under which the scores of these rows are shown; by default they are not.
    """
    preprocessing, network, about = preprocessing_of(model), model.network, model.about
    scores = dict(about["scores"]) if are_scores(about.get("scores")) else {}
    baseline = about["baseline"] if are_scores({"baseline": about.get("baseline")}) else {}
    counts = {part: n for part, n in mapping(about.get("rows")).items() if type(n) is int and 0 <= n < 2**63}
    held_out = None
    if inspected is not None:
        inspected, chosen = _evenly(inspected, MAX_ROWS)
        words = rows or f"{counted(inspected.table.n_rows, 'row')} of {inspected.table.source}"
        held_out = held_out_of(inspected, words + chosen, are_new=bool(scored_as))
        if scored_as:
            scores[scored_as], baseline = _scores_of(inspected, about)
            counts[scored_as] = inspected.table.n_rows
    names, outputs = preprocessing.feature_names, list(preprocessing.target_names)
    if isinstance(preprocessing.target, ClassTarget):
        outputs = distinct_names(preprocessing.target.classes)
    places = preprocessing.input_slices
    columns = [name for name, place in places.items() for _ in range(place.stop - place.start)]
    training = mapping(about.get("training"))
    untried, trials = untried_text(training), training.get("trials")
    trials, reasons = described_trials(trials if isinstance(trials, list) else [])
    return ModelReport(
        title,
        preprocessing.task,
        network,
        model.theta if network.n_members is None else None,
        facts=_facts(model),
        notes=(*notes, untried[0].upper() + untried[1:] + ".") if untried else tuple(notes),
        scores=scores,
        rows=counts,
        baseline=baseline,
        curves=_curves(about, preprocessing.task),
        columns=_columns(model),
        tried=(TRIAL_HEADINGS, trials),
        tried_notes=reasons,
        held_out=held_out,
        input_names=names if len(names) == network.sizes[0] else (),
        output_names=outputs if len(outputs) == network.sizes[-1] else (),
        input_columns=columns if len(columns) == network.sizes[0] else (),
        code=code,
        versions=versions() | {"gpubp": model.version},
    )


def write_report(
    path: str | PathLike[str], estimator: Any, X: Any = None, y: Any = None, sample_weight: Any = None, title: str = ""
) -> None:
    """Write the report of a fitted estimator for tables, and of rows that it was not fitted to."""
    inspected = None
    if X is None and (y is not None or sample_weight is not None):
        raise DataError("y and sample_weight are of the rows of X: pass X too")
    if X is not None:
        named = y if isinstance(y, list) else [y] if isinstance(y, str) else []
        y = None if tuple(named) == preprocessing_of(estimator.model_).target_names else y
        inspected = inspected_rows(estimator, X, y, sample_weight, estimator.device, estimator.matmul_precision)
    model, notes = estimator.model_, []
    if inspected is not None and is_of_training(model, inspected.table):
        notes.append("The model was fitted to these rows, so their scores flatter; pass others to have honest ones.")
    report = report_of(
        model,
        title=title or type(estimator).__name__,
        code=code_again(model, estimator),
        notes=notes,
        inspected=inspected,
        scored_as="given",
    )
    write_atomically(path, report_page([report]).encode())


def is_of_training(model: Model, table: Table) -> bool:
    """Return whether a table has the target, and the values of that which the model was trained on."""
    preprocessing = preprocessing_of(model)
    if not set(preprocessing.target_names) <= set(table.columns):
        return False
    fingerprint = RunningFingerprint(preprocessing.schema)
    fingerprint.add(table.select(has_target(preprocessing, table)))
    return fingerprint.digest() == model.about.get("fingerprint")


def held_out_of(inspected: InspectedTable, rows: str, *, are_new: bool = True) -> HeldOutFindings | None:
    """Return confusion or errors, calibration and importance; None if the outputs are not finite.

    `are_new` is whether training did not hold out these rows.
    """
    predictions = inspected.predict(inspected.X)
    if not np.isfinite(predictions).all():
        return None
    targets = inspected.targets
    confusion, residuals = None, []
    if inspected.classes:
        known = targets >= 0
        confusion = Confusion.of(inspected.classes, targets[known], predictions.argmax(axis=1)[known])
    else:
        names = inspected.preprocessing.target_names
        pairs = zip(names, targets.reshape(len(predictions), -1).T, predictions.T, strict=True)
        residuals = [Residuals(name, true, predicted) for name, true, predicted in pairs]
    curves: tuple[CalibrationCurve, ...] = ()
    of_own_errors = not inspected.classes and not are_new
    if not of_own_errors:
        with suppress(DataError):  # few rows were held out, so there are no intervals
            curves = inspected.calibration_curve()
    why_none = NO_CALIBRATION if of_own_errors else ""
    found, words = _importance(inspected)
    dependence = _dependence(inspected, found)
    return HeldOutFindings(rows, confusion, residuals, curves, found, words, why_none, dependence)


def _fewer(inspected: InspectedTable, most: int) -> tuple[InspectedTable, str]:
    """Return fewer of the rows that were predicted, without the warnings of their values again."""
    inspected, chosen = _evenly(inspected, most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        _ = inspected.X  # which is kept
    return inspected, chosen


def _evenly(inspected: InspectedTable, most: int) -> tuple[InspectedTable, str]:
    """Return at most so many rows, evenly chosen, and in words that they are not all."""
    n = inspected.table.n_rows
    if n <= most:
        return inspected, ""
    rows = np.linspace(0, n - 1, most).round().astype(np.intp)
    weights = inspected.sample_weight
    chosen = replace(
        inspected,
        table=inspected.table.select(rows),
        sample_weight=None if weights is None else weights[rows],
        columns=(),
        problems=(),
    )
    return chosen, f", {most:,} of them"


def _importance(inspected: InspectedTable) -> tuple[PermutationImportance, str]:
    """Shuffle columns; of many those with the largest weights, and as many rows as the time allows."""
    network, theta = inspected.model.network, inspected.model.theta
    slices = inspected.preprocessing.input_slices
    columns, words = list(slices), ""
    if len(columns) > MAX_SHUFFLED_COLUMNS:
        sizes = _sizes_of_columns(network, theta, inspected.X, slices)
        columns = sorted(columns, key=lambda name: -sizes[name])[:MAX_SHUFFLED_COLUMNS]
        words = f"Of {len(slices):,} columns, the {len(columns)} with the largest weights are shuffled. "
    work = theta.size * (network.n_members or 1) * N_REPEATS * len(columns)
    most = int(np.clip(MAX_WORK / max(work, 1), 20, MAX_SHUFFLED_ROWS))
    inspected, chosen = _fewer(inspected, most)
    found = inspected.permutation_importance(n_repeats=N_REPEATS, columns=columns)
    return found, words + (f"{counted(most, 'row')} are shuffled." if chosen else "")


def _dependence(inspected: InspectedTable, found: PermutationImportance) -> list[PartialDependence]:
    """Return the partial dependence of the columns without which the score is clearly worse, most important first."""
    columns = [name for name in found.important_columns if inspected.has_grid(name)][:MAX_DEPENDENCES]
    work = inspected.model.theta.size * (inspected.model.network.n_members or 1) * GRID * MAX_DEPENDENCES
    inspected, _ = _fewer(inspected, int(np.clip(MAX_WORK / max(work, 1), 20, MAX_DEPENDENCE_ROWS)))
    kinds = {one.name: type(one) for one in inspected.preprocessing.columns}
    shown = []
    for name in columns:
        with suppress(DataError):  # it has no value in these rows
            resolution = MAX_CATEGORIES if kinds[name] is CategoryColumn else GRID
            shown.append(inspected.partial_dependence(name, grid_resolution=resolution))
    return shown


def _sizes_of_columns(
    network: Network, theta: NDArray[Any], X: NDArray[Any], slices: dict[str, slice]
) -> dict[str, float]:
    """Return how much each column moves the first hidden layer: its inputs' spread times their weights."""
    sizes = np.var(X, axis=0, dtype=np.float64)
    if network.n_members is None:
        first = np.asarray(views(np, network, theta.reshape(-1, theta.shape[-1]))[0], dtype=np.float64)
        sizes = sizes * np.sum(first[:, : len(sizes)] ** 2, axis=(0, 2))
    return {name: float(np.sum(sizes[place])) for name, place in slices.items()}


def _scores_of(inspected: InspectedTable, about: dict[str, Any]) -> tuple[Scores, Scores]:
    """Return the scores of rows whose target the model knows, and those of the constant prediction of training."""
    preprocessing, model = inspected.preprocessing, inspected.model
    known = has_target(preprocessing, inspected.table)
    targets = encode_target(preprocessing, inspected.table.select(known))
    predicted = partial(mean_outputs, model.network, model.theta, device=inspected.device)
    outputs = predicted(inspected.X[known], matmul_precision=inspected.matmul_precision)
    constant = np.asarray(numbers_in(about.get("constant_outputs")))
    baseline: Scores = {}
    if constant.shape == (targets.shape[1],):
        baseline = score(preprocessing, targets, np.broadcast_to(constant, targets.shape))
    return score(preprocessing, targets, outputs), baseline


# --- from the file ---


def _curves(about: dict[str, Any], task: str) -> Curves:
    history, training = mapping(about.get("history")), mapping(about.get("training"))
    epochs = [int(one) for one in finite_numbers(history.get("epochs")) if 0.0 < one < 2.0**53]
    best = training.get("best_epoch")
    loss, validation, scores = (
        finite_numbers(history.get(name)) for name in ("loss", "validation_loss", "validation_score")
    )
    score_name = "accuracy" if task == "classification" else "R²"
    kept = best if type(best) is int else 0
    return Curves(epochs, loss, validation, scores, kept, score_name) if len(epochs) > 1 else Curves()


def _columns(model: Model) -> list[ShownColumn]:
    """Return the columns; of many, first those that are not complete numbers."""
    preprocessing = preprocessing_of(model)
    values, summaries = values_of(preprocessing), list(preprocessing.summaries)
    if len(summaries) > MAX_SHUFFLED_COLUMNS:
        summaries.sort(key=lambda one: (one.type == "number" and not one.n_missing, one.type != "target"))
    return [
        ShownColumn(
            *(one.name, shown_type(one), values.get(one.name, ""), shown_reason(one)),
            *(one.n_missing, one.n_distinct, one.n_outliers),
        )
        for one in summaries
    ]


def _facts(model: Model) -> list[tuple[str, str]]:
    about, network, preprocessing = model.about, model.network, preprocessing_of(model)
    training, target = dict(mapping(about.get("training"))), preprocessing.target
    kinds = [one.type for one in preprocessing.summaries if one.type != "target"]
    columns = ", ".join(f"{kinds.count(kind):,} {KINDS_IN_WORDS.get(kind, kind)}" for kind in dict.fromkeys(kinds))
    of_classes = (
        f", one of {counted(len(target.classes), 'class', 'classes')}: " if isinstance(target, ClassTarget) else ""
    )
    names = shortened([excerpt(name, 60) for name in preprocessing.target_names], 4)
    classes = shortened([excerpt(name, 30) for name in target.classes], 6) if isinstance(target, ClassTarget) else ""
    layers = ", ".join(dict.fromkeys(network.activations))
    several = f"{len(model.theta):,} networks, each " if model.theta.ndim > 1 and len(model.theta) > 1 else ""
    facts = [
        ("data", str(about.get("source", ""))),
        ("target", f"{names}{of_classes}{classes}"),
        ("task", preprocessing.task),
        ("columns", f"{columns}: {counted(network.sizes[0], 'input')}"),
        ("network", f"{several}{'-'.join(map(str, network.sizes))} ({layers}), loss {network.loss}"),
    ]
    if isinstance(part := training.pop("linear_part", None), dict):
        facts.append(("linear part", linear_part_text(part)))
    if restarts := restarts_text(training):
        facts.append(("restarts", restarts))
    optimizer = mapping(about.get("optimizer"))
    settings = ", ".join(f"{name} {_plain(value)}" for name, value in optimizer.items() if name != "name")
    facts.append(("optimizer", " ".join(filter(None, (str(optimizer.get("name", "")), settings)))))
    if training.get("preset") == "best" and training.get("stop_reason") == "callback":
        training["stop_reason"] = "the end of the time budget"
    for name in ("preset", "epochs", "best_epoch", "stop_reason", "batch_size", "l2", "seed", "dtype", "device"):
        if (value := training.get(name)) is not None:
            facts.append((name.replace("_", " "), _plain(value)))
    if again := mapping(about.get("refit")):
        facts.append(("refit", f"{refit_text(again)}; the scores are of the network before"))
    return [(label, text) for label, text in facts if text]


def _plain(value: Any) -> str:
    return f"{value:g}" if type(value) is float else str(value)
