"""A chart of a result: the normalised score of each contender against its CPU time."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.table import show_seconds
from benchmarks.tables.contenders import described
from benchmarks.tables.summary import LOSSES, reference, summaries

# Okabe and Ito's colours, distinguishable with every kind of colour vision, and a shape for each
LOOKS = {
    "fast": {"color": "#0072B2", "marker": "o", "markerfacecolor": "white"},
    "best": {"color": "#0072B2", "marker": "o"},
    "linear": {"color": "black", "marker": "_"},
    "MLP": {"color": "#E69F00", "marker": "s"},
    "HistGradientBoosting": {"color": "#009E73", "marker": "^"},
    "LightGBM": {"color": "#009E73", "marker": "v"},
    "CatBoost": {"color": "#009E73", "marker": "D"},
    "RealMLP-TD-S": {"color": "#D55E00", "marker": "P", "markerfacecolor": "white"},
    "RealMLP-TD": {"color": "#D55E00", "marker": "P"},
    "RealMLP-TD-5": {"color": "#D55E00", "marker": "X"},
    "realmlp": {"color": "#0072B2", "marker": "P"},
    "realmlp-s": {"color": "#0072B2", "marker": "P", "markerfacecolor": "white"},
    "tabm": {"color": "#0072B2", "marker": "p"},
    "TabM": {"color": "#CC79A7", "marker": "p"},
}
TITLES = {
    "classification": "log loss / that of the constant prediction",
    "regression": "root mean squared error / that of the mean",
}


def draw(result, path, against=None):
    """Write the chart next to a result file; return its path in a list, empty if there is nothing to draw."""
    figure = score_against_time(result, against)
    if figure is None:
        return []
    drawn = Path(path).with_suffix(".png")
    figure.savefig(drawn, dpi=150)
    return [drawn]


def score_against_time(result, against=None):
    """Draw a row for each set of tables, and a panel for each task."""
    against = reference(result, against)
    panels = {
        (set_name, task): dots
        for set_name in result["sets"]
        for task in LOSSES
        if (dots := _dots(result, set_name, task, against))
    }
    sets = list(dict.fromkeys(set_name for set_name, _ in panels))
    if not panels:
        return None
    figure = Figure(figsize=(10, 0.9 + 3.6 * len(sets)), layout="constrained")
    axes_of_sets = figure.subplots(len(sets), len(LOSSES), squeeze=False)
    handles = {}
    for row, set_name in zip(axes_of_sets, sets, strict=True):
        for axes, task in zip(row, LOSSES, strict=True):
            if (set_name, task) in panels:
                _panel(axes, f"{set_name}: {task}", panels[set_name, task], task, handles)
            else:
                axes.set_visible(False)
    figure.suptitle("Models of tables: score and time of a fit", x=0.01, ha="left", fontweight="bold")
    labels = {name: described(name)[1] for name in handles}
    figure.legend(handles.values(), labels.values(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _dots(result, set_name, task, against):
    """Return CPU seconds and a normalised score for each contender: the reference's, times the ratio to it."""
    found = {one.name: one for one in summaries(result, set_name, against, task)}
    if against not in found or found[against].normalised is None:
        return {}
    middle = found[against].normalised
    return {
        name: (one.cpu_seconds, middle * one.ratio, middle * (one.ratio_error or 0.0))
        for name, one in found.items()
        if one.ratio is not None and one.cpu_seconds is not None
    }


def _panel(axes, title, dots, task, handles):
    for name, (seconds, score, error) in dots.items():
        look = LOOKS[name.partition("-")[0] if name.startswith("best-") else name]
        dot, *_ = axes.errorbar(seconds, score, yerr=error, linestyle="none", markersize=8, elinewidth=0.8, **look)
        handles.setdefault(name, dot)
        if name.startswith("best-"):
            axes.annotate(
                f"{described(name)[2]:g} s",
                (seconds, score),
                (0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_seconds(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("CPU time of a fit, median of the tables (log scale)", fontsize=9)
    axes.set_ylabel(TITLES[task], fontsize=9)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
