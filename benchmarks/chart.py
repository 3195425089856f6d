"""Charts of a result file: each workload relative to its fastest peer, and the growth of time and memory."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.contenders import CONTENDERS, FLOORS, ON_GPU
from benchmarks.summary import fastest_peer, ratio, timed, timing
from benchmarks.table import show_bytes, show_seconds

# Okabe and Ito's colours, distinguishable with every kind of colour vision, and a shape for each
LOOKS = {
    "gpubp": {"color": "#0072B2", "marker": "o", "markersize": 9, "zorder": 6},
    "gpubp-numpy": {"color": "#0072B2", "marker": "o", "markersize": 8, "markerfacecolor": "white", "zorder": 5},
    "scikit-learn": {"color": "#E69F00", "marker": "s"},
    "thinc": {"color": "#CC79A7", "marker": "v"},
    "torch": {"color": "#D55E00", "marker": "^"},
    "torch-compile": {"color": "#D55E00", "marker": "^", "markerfacecolor": "white"},
    "torch-graph": {"color": "#D55E00", "marker": "*"},
    "jax": {"color": "#009E73", "marker": "D", "markerfacecolor": "white"},
    "jax-scan": {"color": "#009E73", "marker": "D"},
    "floor": {"color": "black", "marker": "|", "markersize": 13, "markeredgewidth": 2},
    "cublaslt": {"color": "0.25", "marker": "|", "markersize": 13, "markeredgewidth": 2},
    "traffic": {"color": "0.5", "marker": "|", "markersize": 13, "markeredgewidth": 2},
}
KINDS = {
    "step": "one training step",
    "fit": "a whole fit of MLPClassifier",
    "predict": "one call of predict",
    "import": "from an empty process",
    "start": "from an empty process",
}
SERIES = {
    "width": "units in each of 2 hidden layers (64 inputs, batch 200)",
    "depth": "hidden layers of 128 units (64 inputs, batch 200)",
    "batch": "samples in a batch (784-256-10)",
    "rows": "rows of 784 numbers (784-64-10, batch 200)",
}


def draw(result, path):
    """Write the charts next to a result file; return their paths."""
    drawn = []
    for suffix, figure in (("", ratios(result)), ("-gpu", ratios(result, on_gpu=True)), ("-growth", growth(result))):
        if figure:
            drawn.append(Path(path).with_name(f"{Path(path).stem}{suffix}.png"))
            figure.savefig(drawn[-1], dpi=150)
    return drawn


def ratios(result, on_gpu=False):
    """Draw every contender's time relative to the fastest peer's; return None if no workload has a peer's time."""
    panels = {}
    for workload in result["workloads"]:
        found, growing = workload["contenders"], workload["name"].startswith("growth/")
        if not growing and (peer := fastest_peer(found, on_gpu)):
            found = {name: facts for name, facts in timed(found).items() if (name in ON_GPU) == on_gpu}
            dots = {name: ratio(facts, found[peer]) for name, facts in found.items()}
            panels.setdefault(KINDS[workload["kind"]], []).append((workload["name"], dots))
    if not panels:
        return None
    rows = sum(map(len, panels.values()))
    figure = Figure(figsize=(10, 1.9 + 0.29 * rows + 0.35 * len(panels)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.01)
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[*map(len, panels.values())])
    handles = {}
    for axes, (title, lines) in zip(all_axes[:, 0], panels.items(), strict=True):
        _panel(axes, title, lines, handles)
    axes.set_xscale("log")
    dots = [value for lines in panels.values() for _, found in lines for value in found.values()]
    axes.set_xlim(min(dots) / 1.3, max(dots) * 1.3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("time relative to the fastest peer, median of the rounds (log scale)      ← faster      slower →")
    _head(figure, result, "gpubp and other libraries" + (" on a GPU" if on_gpu else ""), handles)
    return figure


def _panel(axes, title, lines, handles):
    axes.axvspan(1e-3, 1, color="#0072B2", alpha=0.06, linewidth=0)
    axes.axvline(1, color="0.35", linewidth=1)
    for at, (_, dots) in enumerate(lines):
        for name, value in dots.items():
            look = name.removesuffix("-cuda")
            (handle,) = axes.plot(value, at, linestyle="none", **{"markersize": 6.5, **LOOKS[look]})
            handles.setdefault(name, handle)
        for name in (name for name in ("gpubp", "gpubp-cuda") if name in dots):
            axes.annotate(
                f"{dots[name]:.2g}", (dots[name], at), (0, 6.5), textcoords="offset points", ha="center", fontsize=8,
                color=LOOKS["gpubp"]["color"], fontweight="bold", zorder=7, annotation_clip=True,
            )  # fmt: skip
    axes.set_ylim(len(lines) - 0.4, -0.75)
    axes.set_yticks(range(len(lines)), [name.partition("/")[2].replace("/", "  ") for name, _ in lines], fontsize=9)
    axes.grid(axis="y", color="0.9")
    axes.grid(axis="x", color="0.93")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def growth(result):
    """Draw time and peak memory over width, depth, batch and rows; return None if nothing was measured."""
    curves = {}
    for workload in result["workloads"]:
        if workload["name"].startswith("growth/"):
            _, series, at = workload["name"].split("/")
            # rows are timed per epoch: the time of a step does not depend on them
            steps = workload["spec"]["batches"] if series == "rows" else 1
            for name, facts in timed(workload["contenders"]).items():
                point = (int(at), timing(facts["seconds"]).seconds * steps, facts["peak_bytes"])
                curves.setdefault(series, {}).setdefault(name, []).append(point)
    if not curves:
        return None
    figure, handles = Figure(figsize=(max(9, 3.3 * len(curves) + 0.8), 7), layout="constrained"), {}
    pairs = figure.subplots(2, len(curves), sharex="col", squeeze=False)
    for column, (series, lines) in enumerate(curves.items()):
        for name, points in lines.items():
            at, seconds, peaks = zip(*sorted(points), strict=True)
            look = LOOKS[name.removesuffix("-cuda")] | {"markersize": 5, "linewidth": 1.4}
            if name in FLOORS:
                look |= {"marker": "", "linestyle": ":"}
            (handles[name],) = pairs[0, column].plot(at, seconds, **look)
            if name not in FLOORS and None not in peaks:
                pairs[1, column].plot(at, peaks, **look)
        pairs[0, column].set_title(
            "time of an epoch" if series == "rows" else "time of a step", fontsize=10, loc="left"
        )
        pairs[1, column].set_title("peak memory of the process", fontsize=10, loc="left")
        pairs[1, column].set_xlabel(SERIES[series].replace(" (", "\n("), fontsize=9)
        for axes, show in zip(pairs[:, column], (show_seconds, show_bytes), strict=True):
            _log_axes(axes, show)
    _head(figure, result, "How time and memory grow: relu, Adam, float32", handles)
    return figure


def _log_axes(axes, show):
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if show is show_bytes:  # a decade or two
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8)
    axes.grid(color="0.92")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _head(figure, result, title, handles):
    machine = result["machine"]
    place = f"{machine['processor']}, {result['threads']} threads" + (f", {machine['gpu']}" if machine["gpu"] else "")
    inch = 1 / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.6 * inch))
    figure.text(0.01, 1 - 0.08 * inch, title, fontsize=14, fontweight="bold", va="top")
    when = f"{place}; {result['date'][:10]}, commit {(result['commit'] or 'unknown')[:7]}, {result['rounds']} rounds"
    figure.text(0.01, 1 - 0.36 * inch, when, fontsize=9, color="0.35", va="top")
    order = [name for name in CONTENDERS if name in handles]
    figure.legend(
        [handles[name] for name in order], [CONTENDERS[name].label for name in order],
        loc="outside lower center", ncols=5, frameon=False, fontsize=9,
    )  # fmt: skip
