"""``python -m benchmarks.page``: update the tables of the pages under docs/ from the result files that they link to.

A table is between ``<!-- name -->`` and ``<!-- end -->``, and comes only from the files. Those of ``TABLES`` are of
workloads, those of ``FIGURES`` of single benchmarks.
"""

import json
import re
from pathlib import Path

from benchmarks import gpu_report
from benchmarks.contenders import CONTENDERS
from benchmarks.summary import ratio, timed, timing
from benchmarks.table import markdown, show_bytes, show_seconds
from benchmarks.truth import report as truth

NAMES = ("performance", "scaling", "search", "security", "agreement", "function_errors", "gpu_benchmark")
PAGES = [Path(__file__).parents[1] / "docs" / f"{name}.md" for name in NAMES]
MARKED = re.compile(r"(?P<begin><!-- (?P<name>[a-z0-9-]+) -->\n)(?P<table>.*?)(?P<end><!-- end -->)", re.DOTALL)
LINK = re.compile(r"\]\((\.\./benchmarks/results/[^)]+\.json)\)")
PEER_HEADS = {
    "scikit-learn": "scikit-learn",
    "thinc": "Thinc",
    "torch": "PyTorch",
    "torch-compile": "torch.compile",
    "jax": "JAX, jit per step",
    "jax-scan": "JAX, scan",
    "floor": "floor",
}


def main():
    """Update the pages."""
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page):
    """Replace every table between marks; if a workload is in several files, the last one counts.

    A table whose name ends in "-avx2" comes from the files that were measured with AVX2 kernels, others from the rest.
    One of ``FIGURES`` stays as it is until a file with its figures is linked.
    """
    results = [json.loads(file.read_text(encoding="utf-8")) for file in result_files(page)]
    by_kernels = {True: {}, False: {}}
    for result in results:
        of_kernels = by_kernels[is_avx2(result)]
        of_kernels |= {workload["name"]: workload for workload in result.get("workloads", ())}

    def replaced(match):
        if match["name"] in FIGURES:
            of_name = [result for result in results if KEYS.get(match["name"], match["name"]) in result]
            lines = ["", *FIGURES[match["name"]](of_name), "", ""] if of_name else [match["table"]]
            return match["begin"] + "\n".join(lines) + match["end"]
        workloads = list(by_kernels[match["name"].endswith("-avx2")].values())
        return "\n".join([match["begin"], *TABLES[match["name"]](workloads), "", match["end"]])

    return MARKED.sub(replaced, page)


def result_files(page):
    """List the result files that a page links to."""
    return [PAGES[0].parent / link for link in dict.fromkeys(LINK.findall(page))]


def is_avx2(result):
    """Return whether a result file was measured with OpenBLAS's AVX2 kernels."""
    return (result.get("last", result)["machine"].get("blas") or "").endswith("Haswell")


def _steps(workloads):
    """Lay out steps, those first that are slowest relative to JAX's scan."""
    chosen = [w for w in workloads if w["name"].startswith("step/")]
    peers = [name for name in PEER_HEADS if any(name in timed(w["contenders"]) for w in chosen)]
    rows = []
    for workload in chosen:
        _, sizes, activation, optimizer = workload["name"].split("/")
        what, found = f"{sizes}, {workload['spec']['batch']}; {activation}, {optimizer}", workload["contenders"]
        first, peak = show_seconds(found["gpubp"]["first_call"]), show_bytes(found["gpubp"]["peak_bytes"])
        worst = ratio(found["gpubp"], found["jax-scan"]) if "jax-scan" in timed(found) else 0.0
        rows.append((worst, [what, *_relative_times(found, peers), first, peak]))
    heads = ["network, batch; activation, optimizer", "gpubp", *(PEER_HEADS[name] for name in peers)]
    rows = [row for _, row in sorted(rows, key=lambda row: -row[0])]
    return markdown([*heads, "first call", "peak memory"], rows)


def _relative_times(found, names):
    """Return gpubp's time with its spread, and its ratio to each other's."""
    cells = [f"{ratio(found['gpubp'], found[name]):.2f}" if name in timed(found) else "-" for name in names]
    time = timing(found["gpubp"]["seconds"])
    return [f"{show_seconds(time.seconds)} ± {100 * time.spread:.0f}%", *cells]


def _fits(workloads):
    rows = []
    for workload in [w for w in workloads if w["name"].startswith("fit/digits/")]:
        found = workload["contenders"]
        times = [
            show_seconds(timing(found[name]["seconds"]).seconds) for name in ("gpubp", "gpubp-numpy", "scikit-learn")
        ]
        accuracy = ", ".join(f"{found[name]['accuracy']:.3f}" for name in ("gpubp", "scikit-learn"))
        what = workload["name"].removeprefix("fit/digits/").replace("/", ", ")
        rows.append([what, *times, f"{ratio(found['gpubp'], found['scikit-learn']):.2f}", accuracy])
    heads = ["MLPClassifier on digits", "gpubp", "NumPy alone", "scikit-learn", "gpubp / scikit-learn"]
    return markdown([*heads, "test accuracy of both"], rows)


def _lbfgs(workloads):
    rows, names = [], ("gpubp", "gpubp-numpy", "scikit-learn")
    for workload in [w for w in workloads if w["name"].startswith("fit/lbfgs/")]:
        found = workload["contenders"]
        times = [show_seconds(timing(found[name]["seconds"]).seconds) for name in names]
        what = workload["name"].removeprefix("fit/lbfgs/").replace("/", ", ")
        rows.append([what, *times, f"{ratio(found['gpubp'], found['scikit-learn']):.2f}"])
    return markdown(["20 iterations of L-BFGS", *(CONTENDERS[n].label for n in names), "gpubp / scikit-learn"], rows)


def _times(kinds, names, heads):
    """Lay out the times of all contenders, a column each."""

    def table(workloads):
        rows = []
        for workload in [w for w in workloads if w["name"].split("/")[0] in kinds]:
            found = timed(workload["contenders"])
            what = workload["name"].partition("/")[2].replace("/", ", ")
            rows.append(
                [what, *(show_seconds(timing(found[n]["seconds"]).seconds) if n in found else "-" for n in names)]
            )
        return markdown([heads, *(CONTENDERS[name].label for name in names)], rows)

    return table


def _memory(workloads):
    rows = []
    names = ("gpubp", "gpubp-numpy", "scikit-learn")
    for workload in [w for w in workloads if w["name"].startswith(("fit/digits/", "fit/memory/"))]:
        found = workload["contenders"]
        peaks = [show_bytes(found[name]["peak_bytes"]) for name in names]
        rows.append([workload["name"].partition("/")[2].replace("/", ", "), *peaks])
    return markdown(["peak of a process that fits", *(CONTENDERS[name].label for name in names)], rows)


TABLES = {
    "steps": _steps,
    "steps-avx2": _steps,
    "fits": _fits,
    "fits-avx2": _fits,
    "lbfgs": _lbfgs,
    "predictions": _times(
        ("predict",), ("gpubp", "scikit-learn", "thinc", "torch", "jax", "floor"), "network, rows of a call"
    ),
    "starts": _times(
        ("start",), ("gpubp", "gpubp-numpy", "scikit-learn", "thinc", "torch", "jax"), "from an empty process"
    ),
    "reports": _times(("report",), ("gpubp", "gpubp-numpy", "scikit-learn", "torch", "jax-scan"), "work"),
    "memory": _memory,
}


# --- single benchmarks: each takes the result files that have its figures ---


SEARCHES = {
    "gpubp": "`BatchedSearchCV`",
    "jax-shared": "JAX, nested `vmap`; the networks of a fold share their batches",
    "jax": "JAX, `vmap` over the networks",
    "scikit-learn": "`GridSearchCV` over scikit-learn's `MLPClassifier`",
}


def _search(results):
    figures, rows = results[-1]["search"], []
    found = figures["contenders"]
    for name in sorted(found, key=lambda name: min(found[name]["seconds"])):
        seconds, core_seconds = min(found[name]["seconds"]), found[name]["core_seconds"]
        cores = "-" if None in core_seconds else f"{min(core_seconds):.2f}"
        relative = f"{seconds / min(found['gpubp']['seconds']):.1f}" if "gpubp" in found else "-"
        step = f"{1e6 * seconds / figures['steps']:.1f}"
        row = [SEARCHES[name], f"{seconds:.2f}", cores, step, relative, f"{found[name]['best_accuracy']:.4f}"]
        rows.append(row)
    heads = ["", "seconds", "core seconds", "us per step and network", "relative to gpubp", "best accuracy"]
    return markdown(heads, rows)


def _shapes(results):
    figures = results[-1]["shapes"]
    spent = {name: min(way["core_seconds"]) for name, way in figures["ways"].items()}
    rows = [[name, f"{seconds:.2f} s"] for name, seconds in spent.items()]
    _, many, one, padded = spent.values()
    n_networks, epochs = figures["candidates"] * figures["folds"], figures["epochs"]
    of_stack, of_padding = (many - one) / (figures["candidates"] - 1) / epochs, (padded - one) / n_networks / epochs
    rows += [
        ["an additional stack, in each epoch", f"{1e3 * of_stack:.2f} ms"],
        ["padding of one network, in each epoch", f"{1e3 * of_padding:.3f} ms"],
    ]
    return markdown([f"{figures['candidates']} candidates times {figures['folds']} folds", "time of all cores"], rows)


def _xor_stack(results):
    figures = results[-1]["xor-stack"]
    row = [f"{figures['networks']:,}", f"{figures['solved']:,}", show_bytes(figures["peak_bytes"])]
    return markdown(["networks", "solved XOR", "peak memory of the process"], [row])


def _kills(results):
    figures = results[-1]["kills"]
    rows = [[name, *(f"{counts[name]:,}" for counts in figures.values())] for name in next(iter(figures.values()))]
    return markdown(["", *(f"{steps} steps" for steps in figures)], rows)


def _worst_files(results):
    rows = [
        [
            *(how, show_bytes(found["bytes"]), found["outcome"], f"{found['cpu_seconds']:.2f} s"),
            *(f"{found['peak'] / found['bytes']:.1f}", f"{found['of_allowed']:.2f}"),
        ]
        for how, found in results[-1]["worst-files"].items()
    ]
    return markdown(["full of", "size", "outcome", "core time", "memory / size", "memory / bound"], rows)


def _fuzz(results):
    rows = []
    for name, found in [(name, found) for result in results for name, found in result["kinds"].items()]:
        counts = [f"{found['outcomes'].get(outcome, 0):,}" for outcome in ("read", "refused", "failed")]
        times = [f"{found['slowest_reading_cpu_s']:.2f} s", f"{found['slowest_use_s']:.1f} s"]
        size, part = show_bytes(found["largest_file"]), f"{found['largest_part_of_allowed']:.2f}"
        rows.append([f"{name} files", f"{found['files']:,}", *counts, size, *times, part])
    heads = ["", "files", "read", "refused", "failed", "largest", "longest read", "longest use", "peak memory / bound"]
    return markdown(heads, rows)


FIGURES = {
    "search": _search,
    "shapes": _shapes,
    "xor-stack": _xor_stack,
    "kills": _kills,
    "worst-files": _worst_files,
    "fuzz": _fuzz,
    "gpu-bars": lambda results: gpu_report.bars_table(results[-1]["bars"]),
    "gpu-networks": gpu_report.networks_table,
    **{name: truth.figures(name) for name in truth.KINDS},
    "truth-largest": lambda results: truth.largest(results[-1]["truth"]),
    "truth-worst": lambda results: truth.worst(results[-1]["truth"]),
    "error-growth": lambda results: truth.growth_table(results[-1]["error-growth"]),
    "agreement": lambda results: truth.devices(results[-1]["agreement"]),
}
KEYS = {
    "fuzz": "kinds",
    "gpu-bars": "bars",
    "gpu-networks": "parts",
    **dict.fromkeys((*truth.KINDS, "truth-largest", "truth-worst"), "truth"),
}  # where a file has the figures under another name


if __name__ == "__main__":
    main()
