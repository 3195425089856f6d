"""``gpubp inspect MODEL DATA``: which columns a model relies on, how, and whether its predictions are calibrated."""

import importlib.util
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpubp._core.text import counted, number
from gpubp.cli.columns import ALL_IN_A_PIPE
from gpubp.cli.inspect.options import InspectOptions
from gpubp.cli.output import console, print_facts, print_json, print_note, print_reading, print_table
from gpubp.cli.paths import check_output
from gpubp.cli.predict.compute import Scoring, compute_with, note_training_rows, predict_whole, print_issues
from gpubp.cli.progress import counting_bar
from gpubp.cli.table_options import column_names
from gpubp.cli.train.options import PICTURES
from gpubp.data.preprocessing import preprocessing_of
from gpubp.data.readers import read_table_with, stem
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.score_names import metric_name
from gpubp.data.streaming.table_files import reason_to_stream
from gpubp.errors import DataError, TableWarning
from gpubp.inspection import CalibrationCurve, PartialDependence, PermutationImportance
from gpubp.io.model_file import load_model
from gpubp.tabular.inspected_table import InspectedTable
from gpubp.tabular.predict import left_out_in_words, unseen_classes_in_words

MOST_COLUMNS = 40
MOST_VALUES = 12
MOST_DRAWN = 4
"""Columns whose partial dependence is drawn if none are named: the most important ones."""


class ModelFindings(NamedTuple):
    """What was found out about a model."""

    source: str
    n_rows: int
    inspected: InspectedTable
    importance: PermutationImportance | None  # None without targets
    dependences: list[PartialDependence]
    curves: tuple[CalibrationCurve, ...]


def inspect_model(options: InspectOptions, data: str) -> None:
    """Print the importance of each column, and draw it with partial dependence and calibration.

    Without targets there is only the dependence.
    """
    model_path = Path(options.data)
    picture = _picture_path(options, model_path, data)
    trained = load_model(model_path)
    if reason := reason_to_stream(Path(data)):
        raise DataError(f"{data} is {reason}: a model is inspected on a table in memory; pass one file, of fewer rows")
    table = read_table_with(data, TextOptions.parse(options.read or (), options.separator))
    from gpubp.inspection.scorers import scoring_problem

    problem = None if options.scoring is None else scoring_problem(options.scoring)
    names = column_names(options.columns, table.columns)
    absent = [name for name in preprocessing_of(trained).target_names if name not in table.columns]
    is_scored = not absent or options.scoring is not None or not names
    if absent and not names:
        problem = (
            f"{problem + '; ' if problem else ''}without a target, --columns NAME shows what predictions depend on"
        )
    inspected = InspectedTable(
        trained, table, columns=names, needs_target=is_scored, problems=[problem], device=options.device
    )
    compute = compute_with(trained, strict=False, device=options.device, matmul_precision="float32")
    predicted = predict_whole(compute, lambda outputs: {}, Scoring(trained), table)
    print_reading(table.notes)
    importance, curves = None, tuple[CalibrationCurve, ...]()
    if is_scored:
        importance, curves = _scored(inspected, options)
    else:
        print_note(f"there is no target {absent[0]!r}, so importance and calibration, which need it, are not shown")
    drawn = names or (_drawn_by_default(inspected, importance) if picture and importance else [])
    dependences = []
    for name in drawn:
        with counting_bar(f"dependence on {name}") as progress:
            dependences.append(inspected.partial_dependence(name, progress=progress))
    found = ModelFindings(table.source, table.n_rows, inspected, importance, dependences, curves)
    if picture is not None:
        _draw(found, picture, title=f"{stem(options.data)} on {stem(data)}")
    if options.as_json:
        print_json(_as_json(found, picture))
    else:
        _print(found, picture, with_dependence=bool(names))
    print_issues(predicted, as_table=False)
    if is_scored:
        _note_unseen(inspected, options.scoring)
    note_training_rows(trained, predicted, model_path)


def _scored(
    inspected: InspectedTable, options: InspectOptions
) -> tuple[PermutationImportance, tuple[CalibrationCurve, ...]]:
    """Return what needs targets: the importance of each column, and calibration."""
    with warnings.catch_warnings(), counting_bar("shuffled") as progress:
        warnings.simplefilter("ignore", TableWarning)  # print_issues and _note_unseen say the same
        importance = inspected.permutation_importance(
            options.scoring, n_repeats=options.repeats, seed=options.seed, progress=progress
        )
    try:
        return importance, inspected.calibration_curve()
    except DataError as error:  # few rows were held out, so there are no intervals
        print_note(f"calibration is not shown: {error}")
        return importance, ()


def _note_unseen(inspected: InspectedTable, scoring: str | None) -> None:
    """Print how rows of a class that training did not see are scored."""
    if n_unseen := inspected.n_unseen:
        is_counted = inspected.counts_unseen(scoring)
        print_note(unseen_classes_in_words(n_unseen) if is_counted else left_out_in_words(n_unseen, "the score"))


def _picture_path(options: InspectOptions, model: Path, data: str) -> Path | None:
    if options.no_picture:
        if options.picture is not None:
            raise DataError("--picture and --no-picture contradict each other; pass one of them")
        return None
    if importlib.util.find_spec("matplotlib") is None:
        fix = "pip install matplotlib"
        if options.picture is not None:
            raise DataError(f"--picture needs matplotlib: {fix}")
        print_note(f"no picture is drawn, because matplotlib is not installed: {fix}")
        return None
    path = options.picture or model.with_name(f"{model.stem}-inspection.png")
    check_output(path, PICTURES, inputs=[model, data])
    return path


def _drawn_by_default(inspected: InspectedTable, importance: PermutationImportance) -> list[str]:
    """Return the most important columns whose dependence can be drawn."""
    ordered = (importance.columns[place] for place in importance.order)
    return [name for name in ordered if inspected.has_grid(name)][:MOST_DRAWN]


def _print(found: ModelFindings, picture: Path | None, *, with_dependence: bool) -> None:
    rows = found.inspected.table.n_rows
    scored = "" if rows == found.n_rows else f", {rows:,} with a target"
    print_facts([("data", f"{found.source}: {counted(found.n_rows, 'row')}{scored}")], console)
    if found.importance is not None:
        _print_importance(found.importance)
    for one in found.dependences if with_dependence else ():
        console.print()
        print_table([one.column, *one.names], _rows(one))
    console.print()
    for curve in found.curves[:1]:
        of_classes = f"probabilities of {curve.name} are {number(curve.error)} from the observed shares, on average"
        of_numbers = f"shares of {curve.name} in intervals are {number(curve.error)} from those intended, on average"
        print_facts([("calibration", of_classes if found.inspected.classes else of_numbers)], console)
    print_facts([("picture", str(picture))] if picture is not None else [], console)


def _print_importance(importance: PermutationImportance) -> None:
    score, repeats = f"{metric_name(importance.scoring)} {number(importance.score)}", importance.importances.shape[1]
    meaning = f"importance is how much less it is with a column shuffled, the mean of {counted(repeats, 'time')}"
    print_facts([("score", f"{score}; {meaning}"), ("", "")], console)
    figures = np.stack([importance.importances_mean, importance.importances_std], axis=1)
    decimals = len(number(np.abs(figures).max()).partition(".")[2])
    most = MOST_COLUMNS if console.is_terminal else len(importance.columns)
    cells = [
        [importance.columns[place], *(f"{figure:.{decimals}f}" for figure in figures[place])]
        for place in importance.order[:most]
    ]
    print_table(["column", "importance", "standard deviation"], cells, cut=(0,))
    if (rest := len(importance.columns) - most) > 0:
        console.print(f"... and {counted(rest, 'less important column', 'less important columns')}{ALL_IN_A_PIPE}")


def _rows(dependence: PartialDependence) -> list[list[str]]:
    """Return the printed values and predictions; of many numbers, `MOST_VALUES` from the first to the last."""
    values, n = dependence.values, len(dependence.values)
    shown = range(n) if dependence.is_categorical else np.unique(np.linspace(0, n - 1, min(n, MOST_VALUES)).round())
    rows = []
    for place in map(int, shown):
        value = values[place]
        text = f"{value:.6g}" if values.dtype.kind == "f" else str(value).removesuffix("T00:00:00")
        rows.append([text, *map(number, dependence.average[place])])
    return rows


def _as_json(found: ModelFindings, picture: Path | None) -> dict[str, object]:
    importance, ordered = found.importance, []
    if importance is not None:
        means, deviations = importance.importances_mean.tolist(), importance.importances_std.tolist()
        ordered = [(importance.columns[place], means[place], deviations[place]) for place in importance.order]
    dependences = {
        one.column: {
            "values": list(map(str, one.values)) if one.values.dtype.kind in "OM" else one.values.tolist(),
            **dict(zip(one.names, one.average.T.tolist(), strict=True)),
        }
        for one in found.dependences
    }
    return {
        "data": found.source,
        "rows": found.n_rows,
        "scored": found.inspected.table.n_rows if importance else 0,
        "unseen_classes": found.inspected.n_unseen if importance else 0,
        "scoring": importance and importance.scoring,
        "score": importance and importance.score,
        "importances": [{"column": name, "mean": mean, "std": std} for name, mean, std in ordered],
        "partial_dependence": dependences,
        "calibration": [
            {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in asdict(curve).items()}
            | {"error": curve.error}
            for curve in found.curves
        ],
        "picture": None if picture is None else str(picture),
    }


def _draw(found: ModelFindings, path: Path, title: str) -> None:
    """Draw importance, partial dependence and calibration in one picture."""
    from gpubp.plotting import importance_bars, partial_dependence_curve, reliability_diagram
    from gpubp.plotting.figure import new_figure, plain_label, save_figure

    panels = [] if found.importance is None else [partial(importance_bars, found.importance)]
    if found.curves:
        of_intervals = not found.inspected.classes
        panels.append(partial(reliability_diagram, found.curves, of_intervals=of_intervals))
    panels += [partial(partial_dependence_curve, one) for one in found.dependences]
    n_rows = -(-len(panels) // 2)
    figure = new_figure((11.0, 3.8 * n_rows))
    for place, draw in enumerate(panels, 1):
        draw(figure.add_subplot(n_rows, min(len(panels), 2), place))
    figure.suptitle(plain_label(title, 100), fontweight="bold")
    save_figure(figure, path, "the picture")
