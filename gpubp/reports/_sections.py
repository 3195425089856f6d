"""The sections of a report, each for one model or for several side by side."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gpubp._core.text import counted, excerpt, number
from gpubp.data.score_names import METRICS, metric_name, split_metric
from gpubp.reports._charts import curves_chart, dependence_chart, errors_chart, reliability_chart, residuals_chart
from gpubp.reports._facts import MAX_DEPENDENCES, HeldOutFindings, ModelReport
from gpubp.reports._html import Cell, card, figure, figure_cell, grid, pairs, section, signed, table, text_of
from gpubp.reports._picture import network_picture
from gpubp.reports._tables import confusion_table, importance_table, name_of_class

Reports = Sequence[ModelReport]

MAX_COLUMNS, MAX_TARGETS, MAX_TRIED = 200, 4, 40
NARROW = 56  # characters beside the scores
PARTS = {"train": "training", "validation": "validation", "test": "test", "given": "these rows"}
COLUMN_HEADS = ("type", "values", "why", "missing", "distinct", "outliers")
_LESS_IS_BETTER = ("log_loss", "calibration_error", "mae", "rmse")


def headline(report: ModelReport) -> str:
    """Show the scores that matter most beside those of the baseline, and the sizes of the table and the network."""
    part = scored_part(report)
    shown = [
        name for name in report.scores.get(part, {}) if split_metric(name)[0] in ("accuracy", "r2", "log_loss", "rmse")
    ]
    cards = []
    for name in shown[:3]:
        baseline = report.baseline.get(name)
        beside = "" if baseline is None else f"; baseline {_short(baseline)}"
        cards.append(card(metric_name(name), _short(report.scores[part][name]), f"{PARTS[part]}{beside}"))
    rows = {part: n for part in PARTS if (n := report.rows.get(part)) and part != "given"}
    if report.tried[1] and rows.get("validation") == rows.get("train"):  # by folds
        rows.pop("validation", None)
    if rows:
        cards.append(
            card("rows", f"{sum(rows.values()):,}", ", ".join(f"{n:,} {PARTS[part]}" for part, n in rows.items()))
        )
    sizes = "-".join(map(str, report.network.sizes))
    cards.append(card("parameters", f"{report.network.n_parameters:,}", f"units {excerpt(sizes, 40)}"))
    return f'<div class="cards">{"".join(cards)}</div>'


def scored_part(report: ModelReport) -> str:
    """Return the part of the rows whose scores say most."""
    return next((part for part in ("given", "test", "validation") if report.scores.get(part)), "train")


def scores(reports: Reports) -> str:
    """Return a table of scores: the parts of one model, or the models side by side, and the baseline."""
    report, is_alone = reports[0], len(reports) == 1
    if is_alone:
        shown = [(PARTS[part], report, part) for part in PARTS if report.scores.get(part)]
    else:
        shown = [(f"{one.title}, {PARTS[scored_part(one)]}", one, scored_part(one)) for one in reports]
    values = [dict(one.scores.get(part, {})) for _, one, part in shown]
    order = {name: place for place, name in enumerate(METRICS)}
    names = dict.fromkeys(name for one in values for name in one)
    if not names:
        return ""
    baseline = report.baseline if all(_are_close(one.baseline, report.baseline) for one in reports) else {}
    rows = []
    for name in sorted(names, key=lambda name: order.get(split_metric(name)[0], len(order))):
        known = [one[name] for one in values if name in one]
        better = min if split_metric(name)[0] in _LESS_IS_BETTER else max
        best = better(known) if not is_alone and len(known) > 1 else None
        cells = [figure_cell(one.get(name), best) for one in values]
        rows.append((metric_name(name), [*cells, *([figure_cell(baseline.get(name))] if baseline else [])]))
    counts = [one.rows.get(part) for _, one, part in shown]
    rows.append(("rows", [Cell("" if n is None else f"{n:,}", "number") for n in counts] + [Cell("")] * bool(baseline)))
    heads = [Cell(name, "number") for name, _, _ in shown] + [Cell("baseline", "number")] * bool(baseline)
    notes = ["The best of each row is bold."] * (not is_alone)
    if baseline:
        constants = {
            "the shares of the classes" if one.task == "classification" else "the mean of the target" for one in reports
        }
        notes.insert(0, f"The baseline is the same prediction for every row: {' or '.join(sorted(constants))}.")
        if is_alone:
            notes.insert(0, _in_words(report.scores.get(scored_part(report), {}), baseline))
    return section(
        "scores",
        "Scores",
        table(heads, rows, corner="score"),
        " ".join(filter(None, notes)),
        is_half=_is_narrow(reports) or _is_beside_scores(reports),
    )


def _in_words(scores: Mapping[str, float], baseline: Mapping[str, float]) -> str:
    """Say in a sentence how good a model is, for readers who do not know the scores' names."""
    if "accuracy" in scores and "accuracy" in baseline:
        right, by_baseline = (f"{100 * one['accuracy']:.0f}" for one in (scores, baseline))
        return f"Of 100 rows, {right} are predicted right, and {by_baseline} by the baseline."
    if "mae" in scores and "mae" in baseline:
        off, of_baseline = (number(one["mae"]) for one in (scores, baseline))
        return f"Predictions are off by {off} on average, and those of the baseline by {of_baseline}."
    return ""


def curves(reports: Reports) -> str:
    """Draw the learning curves."""
    figures = []
    for report in reports:
        if loss := curves_chart(report.curves):
            figures.append(figure(_name(report, reports), "Loss", loss))
        if score := curves_chart(report.curves, of_scores=True):
            figures.append(figure(_name(report, reports), f"Validation {report.curves.score_name}", score))
    note = "Of the training that was scored. The penalty on the weights is not part of the loss."
    return section("curves", "Learning curves", grid(figures), note, is_half=len(figures) == 1)


def predictions(reports: Reports) -> str:
    """Show confusion matrices, or predicted beside true values and the errors."""
    figures = []
    for report in reports:
        found, name = report.held_out, _name(report, reports)
        if found is None:
            continue
        if found.confusion is not None:
            figures.append(
                figure(name, f"True and predicted classes of {found.rows}", confusion_table(found.confusion))
            )
        for one in found.residuals[:MAX_TARGETS]:
            for what, draw in (("predicted and true", residuals_chart), ("errors", errors_chart)):
                if drawn := draw(one):
                    figures.append(figure(name, f"{one.target}: {what}, {found.rows}", drawn))
    of_classes = all(report.task == "classification" for report in reports)
    return section(
        "predictions", "Confusion matrix" if of_classes else "Errors", grid(figures), is_half=_is_narrow(reports)
    )


def calibration(reports: Reports) -> str:
    """Draw reliability diagrams, or say why there are none."""
    figures = []
    for report in reports:
        for curve in report.held_out.calibration[:1] if report.held_out is not None else ():
            if len(curve.weights):
                drawn = reliability_chart(curve, of_intervals=report.task == "regression")
                caption = f"{curve.name}: {number(curve.error)} off the diagonal on average"
                figures.append(figure(_name(report, reports), caption, drawn))
    found = reports[0].held_out
    if not figures and found is not None and found.why_no_calibration:
        return section("calibration", "Calibration", f"<p>{text_of(found.why_no_calibration, 400)}</p>")
    note = (
        "On the diagonal, what is predicted with a probability occurs that often: 0.02 off it, probabilities are wrong "
        "by 2 in 100. Larger points stand for more rows."
    )
    if any(_is_of_one_class(report) for report in reports):
        note += (
            " The calibration error among the scores is another number, of the predicted class, whichever it is: it "
            "says how far the certainty of predictions can be trusted; this one, how far the probability of this class."
        )
    if any(report.task == "regression" for report in reports):
        note = "On the diagonal, prediction intervals hold as many targets as they should; below it, too few."
    return section("calibration", "Calibration", grid(figures), note, is_half=_has_both(reports))


def _is_of_one_class(report: ModelReport) -> bool:
    """Whether the calibration is of one of two classes, and that of the predicted class is a score."""
    found = report.held_out
    of_two = found is not None and found.confusion is not None and len(found.confusion.classes) == 2
    return of_two and "calibration_error" in report.scores.get(scored_part(report), {})


def importance(reports: Reports) -> str:
    """Show how much of the score is lost if a column is shuffled."""
    figures = []
    for report in reports:
        if report.held_out is None or report.held_out.importance is None:
            continue
        found = report.held_out.importance
        repeats = counted(found.importances.shape[1], "shuffling")
        caption = f"How much less the {metric_name(found.scoring)} of {number(found.score)} is with a column shuffled"
        caption += f", on average over {repeats}. {report.held_out.importance_rows}"
        figures.append(figure(_name(report, reports), caption, importance_table(found)))
    note = "Columns that hold the same can replace each other, so none of them seems important."
    return section(
        "importance",
        "Permutation importance",
        grid(figures),
        note,
        is_half=_has_both(reports) or _is_beside_scores(reports),
    )


def dependence(reports: Reports) -> str:
    """Draw how the predictions depend on the columns that matter most."""
    figures = []
    for report in reports:
        if report.held_out is None or not report.held_out.dependence:
            continue
        found, of_classes = report.held_out.dependence, report.task == "classification"
        averages, scales = np.concatenate([one.average for one in found]), _scales(report.held_out)
        for one in found[:MAX_DEPENDENCES] if len(reports) == 1 else found[:2]:
            if drawn := dependence_chart(one, of_classes=of_classes, averages=averages, scales=scales):
                figures.append(figure(_name(report, reports), one.column, drawn))
    note = "The mean prediction if all rows had the same value of a column, and kept their values of all others."
    return section("dependence", "Partial dependence", grid(figures), note)


def columns(reports: Reports) -> str:
    """Show what each column of the table was taken for."""
    shown = []
    are_alike = len({tuple((one.name, one.type, one.values) for one in report.columns) for report in reports}) == 1
    for report in reports[:1] if are_alike else reports:
        listed = report.columns[:MAX_COLUMNS]
        rows = [[one.type, one.values, one.reason, *map(_count, one[4:])] for one in listed]
        used = [place for place in range(len(COLUMN_HEADS)) if any(row[place] for row in rows)]
        if rows:
            kinds = ["short", "", "", *["number"] * 3]
            heads = [Cell(COLUMN_HEADS[place], kinds[place]) for place in used]
            cells = [[Cell(row[place], kinds[place]) for place in used] for row in rows]
            named = list(zip((one.name for one in listed), cells, strict=True))
            shown.append(table(heads, named, corner="column", caption="" if are_alike else _name(report, reports)))
        if (rest := len(report.columns) - MAX_COLUMNS) > 0:
            shown.append(f"<p>and {counted(rest, 'more column', 'more columns')}</p>")
    return section("columns", "Columns as they were taken", "".join(shown))


def tried(reports: Reports) -> str:
    """Show what a search tried."""
    shown = []
    for report in reports:
        heads, cells = report.tried
        rows = [(row[0], [Cell(signed(text), "number") for text in row[1:]]) for row in cells[:MAX_TRIED]]
        if rows:
            named = [Cell(one, "number") for one in heads[1:]]
            shown.append(table(named, rows, corner=heads[0], caption=_name(report, reports)))
            shown += [f'<p class="note">{text_of(note, 500)}</p>' for note in report.tried_notes]
    return section("tried", "What was tried", "".join(shown))


def network(reports: Reports) -> str:
    """Draw the networks."""
    figures = []
    for report in reports:
        drawn, words = network_picture(report)
        figures.append(figure(_name(report, reports), words, drawn))
    note = "The width of a line is the size of a weight: orange is positive, dashed blue is negative."
    if all(report.theta is None for report in reports):
        note = ""
    return section(
        "network",
        "The network" if len(reports) == 1 else "The networks",
        grid(figures),
        note,
        is_half=not _has_two_curves(reports),
    )


def facts(reports: Reports) -> str:
    """List facts: of one model as a list, of several as a table, in which what differs is bold."""
    if len(reports) == 1:
        return section("facts", "How it was trained", pairs(reports[0].facts))
    rows = []
    for label in dict.fromkeys(label for report in reports for label, _ in report.facts):
        values = [dict(report.facts).get(label, "") for report in reports]
        rows.append((label, [Cell(value, "best" if len({*values}) > 1 else "") for value in values]))
    heads = [Cell(report.title) for report in reports]
    return section("facts", "How they were trained", table(heads, rows, corner="model"), "What differs is bold.")


def again(reports: Reports) -> str:
    """Show the command that makes each model again, and the versions."""
    parts = []
    for report in reports:
        if name := _name(report, reports):
            parts.append(f"<h3>{text_of(name)}</h3>")
        if report.code:
            lines = "<br>".join(text_of(line, 2000) for line in report.code.splitlines())
            parts.append(f'<pre tabindex="0"><code>{lines}</code></pre>')
        versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        parts.append(f'<p class="versions">{text_of(versions, 500)}</p>')
    return section("again", "To make it again", "".join(parts))


SECTIONS: tuple[Callable[[Reports], str], ...] = (
    *(scores, predictions, curves, network, calibration, importance, dependence, columns, tried, facts, again),
)


def _are_close(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether baselines are about the same: those of other splits of the rows differ a little."""
    return set(one) == set(other) and all(
        math.isclose(one[name], other[name], rel_tol=0.02, abs_tol=2e-3) for name in one
    )


def _is_narrow(reports: Reports) -> bool:
    """Whether there is one confusion matrix, of few and short classes, which stands beside the scores."""
    found = reports[0].held_out
    if len(reports) > 1 or found is None or found.confusion is None:
        return False
    widths = [len(max(name_of_class(name).split() or [""], key=len)) for name in found.confusion.classes]
    return max(widths) + sum(max(3, width) + 3 for width in widths) <= NARROW


def _has_both(reports: Reports) -> bool:
    """Whether there is one model, with calibration and importance, which stand beside each other."""
    found = reports[0].held_out
    return len(reports) == 1 and found is not None and bool(found.calibration) and found.importance is not None


def _is_beside_scores(reports: Reports) -> bool:
    """Whether there is one model with importance, and neither confusion nor calibration to stand beside it."""
    found = reports[0].held_out
    alone = len(reports) == 1 and found is not None and found.importance is not None
    return alone and found is not None and found.confusion is None and not found.calibration


def _has_two_curves(reports: Reports) -> bool:
    """Whether the learning curves need the whole width."""
    return len(reports) > 1 or not reports[0].curves.loss or bool(reports[0].curves.validation_score)


def _scales(found: HeldOutFindings) -> list[float]:
    """Return the standard deviation of each numeric target."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(np.std(one.true)) for one in found.residuals]


def _name(report: ModelReport, reports: Reports) -> str:
    """Return the name of a model if there are several."""
    return report.title if len(reports) > 1 else ""


def _count(n: int) -> str:
    return f"{n:,}" if n else ""


def _short(value: float) -> str:
    return signed(f"{value:.3f}" if abs(value) < 10.0 else number(value))
