"""``python -m benchmarks.page``: update the tables of docs/performance.md from the result files that it links to.

A table is between ``<!-- name -->`` and ``<!-- end -->``, and comes only from the files.
"""

import json
import re
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.summary import ratio, timed, timing
from benchmarks.table import markdown, show_bytes, show_seconds

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
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
    """Update the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page):
    """Replace every table between marks; if a workload is in several files, the last one counts.

    A table whose name ends in "-avx2" comes from the files that were measured with AVX2 kernels, others from the rest.
    """
    files = [PAGE.parent / link for link in dict.fromkeys(LINK.findall(page))]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    by_kernels = {True: {}, False: {}}
    for result in results:
        of_kernels = by_kernels[is_avx2(result)]
        of_kernels |= {workload["name"]: workload for workload in result.get("workloads", ())}

    def replaced(match):
        workloads = list(by_kernels[match["name"].endswith("-avx2")].values())
        return "\n".join([match["begin"], *TABLES[match["name"]](workloads), "", match["end"]])

    return MARKED.sub(replaced, page)


def is_avx2(result):
    """Return whether a result file was measured with OpenBLAS's AVX2 kernels."""
    return (result["machine"].get("blas") or "").endswith("Haswell")


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
    for workload in [w for w in workloads if w["name"].startswith("fit/")]:
        found = workload["contenders"]
        peaks = [show_bytes(found[name]["peak_bytes"]) for name in names]
        rows.append([workload["name"].partition("/")[2].replace("/", ", "), *peaks])
    return markdown(["peak of a process that fits", *(CONTENDERS[name].label for name in names)], rows)


TABLES = {
    "steps": _steps,
    "steps-avx2": _steps,
    "fits": _fits,
    "predictions": _times(
        ("predict",), ("gpubp", "scikit-learn", "thinc", "torch", "jax", "floor"), "network, rows of a call"
    ),
    "starts": _times(
        ("start",), ("gpubp", "gpubp-numpy", "scikit-learn", "thinc", "torch", "jax"), "from an empty process"
    ),
    "reports": _times(("report",), ("gpubp", "gpubp-numpy", "scikit-learn", "torch", "jax-scan"), "work"),
    "memory": _memory,
}


if __name__ == "__main__":
    main()
