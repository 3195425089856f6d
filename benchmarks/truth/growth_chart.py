"""The figure of how rounding errors grow, from a result file."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

# Okabe and Ito's colours, and for each a shape and a line of its own, so that no colour is needed to tell them apart
LOOKS = {
    "numpy": {"label": "NumPy", "color": "#0072B2", "marker": "o", "linestyle": "-"},
    "engine": {"label": "compiled engine", "color": "#E69F00", "marker": "s", "linestyle": "--"},
    "torch": {"label": "PyTorch", "color": "#D55E00", "marker": "^", "linestyle": "-."},
    "cuda": {"label": "CUDA, on the CPU", "color": "#009E73", "marker": "D", "linestyle": ":"},
}
PANELS = {
    "depth": ("gradient", "layers of 32 units"),
    "width": ("gradient", "units in each of two layers"),
    "momentum": ("weights after training with momentum", "steps"),
    "adam": ("weights after training with Adam", "steps"),
    "stack": ("weights after 100 steps, mean of a stack", "networks in the stack"),
    "mpmath, training": ("weights, against mpmath", "steps of a 4-6-3 network"),
}


def draw(result, path):
    """Write the figure as SVG."""
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    handles = {}
    for axes, (series, (title, size)) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        rows = [row for row in result["error-growth"] if row["series"] == series and row["dtype"] == "float32"]
        for way, look in LOOKS.items():
            if points := sorted((row["size"], row["error"]) for row in rows if row["way"] == way):
                (handles[look["label"]],) = axes.plot(*zip(*points, strict=True), **look, markersize=5, linewidth=1.3)
        bound = sorted({row["size"]: row["bound"] for row in rows}.items())
        (handles["bound"],) = axes.plot(*zip(*bound, strict=True), color="black", linewidth=2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        lowest, highest = min(row["error"] for row in rows), max(row["bound"] for row in rows)
        axes.set_ylim(min(lowest, 1.0) / 1.6, max(highest, 20.0) * 1.6)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator())
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(size, fontsize=9)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.supylabel("error relative to the length, in units of 6.0e-8 (float32)", fontsize=9)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, frameon=False)
    with mpl.rc_context({"svg.hashsalt": "error-growth", "svg.fonttype": "none"}):
        figure.savefig(Path(path), metadata={"Date": None})
