"""Time and peak memory of fits beside scikit-learn's: wide sparse samples, and many dense ones.

``python -m benchmarks.memory`` runs each fit in a process of its own, scikit-learn and gpubp in turn. It prints gpubp's
figures divided by scikit-learn's. Peak memory is that of the whole process (``VmHWM``), with the interpreter, the
libraries and the samples. ``--quick`` makes everything a tenth as large, ``--output FILE`` writes the figures as JSON.
CPU time is that of all threads, which is more reliable than seconds if the machine is shared. Predictions take
milliseconds: of each kind, the fastest of several calls counts.

The wide samples are documents as a hashing vectorizer makes them: 2^20 columns, 80 values in each row. The many are
1,000,000 rows of 100 numbers, in C and in Fortran order, which data frames have.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import provenance

CONTENDERS = ("scikit-learn", "gpubp")
CALLS = 7  # of each kind of prediction
SPARSE = [
    {"hidden_layer_sizes": 4},
    {"hidden_layer_sizes": 4, "early_stopping": True},
    {"hidden_layer_sizes": 4, "validation_data": True},
    {"hidden_layer_sizes": 4, "partial_fit": True},
    {"hidden_layer_sizes": 4, "solver": "lbfgs"},
    {"hidden_layer_sizes": 100, "n_samples": 1000, "max_iter": 1},
]
DENSE = [
    {"name": name, "dtype": dtype, "order": order, "early_stopping": early_stopping}
    for name in ("MLPClassifier", "MLPRegressor")
    for dtype in ("float32", "float64")
    for order in "CF"
    for early_stopping in (False, True)
]


def documents(n_samples, n_columns, n_values=80):
    import scipy.sparse

    generator = np.random.default_rng(0)
    columns = np.sort(generator.integers(0, n_columns, (n_samples, n_values)), axis=1)
    starts = np.arange(0, n_samples * n_values + 1, n_values)
    x = scipy.sparse.csr_matrix(
        (generator.random(n_samples * n_values), columns.ravel(), starts), shape=(n_samples, n_columns)
    )
    return x, (columns < n_columns // 2).sum(axis=1) > n_values // 2


def numbers(n_samples, dtype, order):
    """Make samples part by part, so that this takes no memory beside theirs."""
    generator = np.random.default_rng(0)
    x = np.empty((n_samples, 100), dtype, order=order)
    for start in range(0, n_samples, 10_000):
        x[start : start + 10_000] = generator.standard_normal((min(10_000, n_samples - start), 100), "float32")
    return x, x[:, 0] + x[:, 1] * x[:, 2]


def estimator(contender, name, **options):
    if contender == "scikit-learn":
        from sklearn import neural_network

        return getattr(neural_network, name)(**options)
    import gpubp

    return getattr(gpubp, name)(**options, device="cpu")


def peak_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise SystemExit("peak memory is read from /proc/self/status, which only Linux has")


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def measure_sparse(contender, scale, hidden_layer_sizes, n_samples=6000, max_iter=2, solver="adam", **options):
    x, y = documents(n_samples, 2**20 // scale)
    with_data, in_steps = options.pop("validation_data", False), options.pop("partial_fit", False)
    settings = {"hidden_layer_sizes": hidden_layer_sizes, "max_iter": max_iter, "solver": solver, "random_state": 0}
    model = estimator(contender, "MLPClassifier", **settings, **options)
    if in_steps:
        result = {"partial_fit": timed(lambda: model.partial_fit(x, y, classes=[False, True]))}
    elif with_data and contender == "gpubp":
        result = {"fit": timed(lambda: model.fit(x, y, validation_data=(x[:600], y[:600])))}
    else:
        result = {"fit": timed(lambda: model.fit(x, y))}
    for method, arguments in {"predict": (x,), "predict_proba": (x,), "score": (x, y)}.items():
        predict = partial(getattr(model, method), *arguments)
        result[method] = min((timed(predict) for _ in range(CALLS)), key=lambda call: call["cpu_seconds"])
    return result


def measure_dense(contender, scale, name, dtype, order, early_stopping):
    x, y = numbers(1_000_000 // scale, dtype, order)
    y = (y > 0.0).astype(int) if name == "MLPClassifier" else y
    settings = {"hidden_layer_sizes": (10,), "max_iter": 2, "batch_size": 2000, "random_state": 0}
    model = estimator(contender, name, **settings, early_stopping=early_stopping)
    return {"fit": timed(lambda: model.fit(x, y))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the columns and of the rows")
    parser.add_argument("--only", choices=["sparse", "dense"], help="one of the two kinds")
    parser.add_argument("--compiled", default="never", choices=["never", "always"], help="whether dense fits compile")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(*options.run, 10 if options.quick else 1)
    result = provenance() | {"compiled": options.compiled, "quick": options.quick, "fits": []}
    tasks = [("sparse", task) for task in SPARSE if options.only != "dense"]
    tasks += [("dense", task) for task in DENSE if options.only != "sparse"]
    for kind, task in tasks:
        figures = {contender: in_process(contender, kind, task, options) for contender in CONTENDERS}
        result["fits"].append({"kind": kind, **task, "figures": figures})
        print(row(kind, task, *figures.values()), flush=True)
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def in_process(contender, kind, task, options):
    command = [sys.executable, "-m", "benchmarks.memory", "--run", contender, json.dumps([kind, task])]
    command += ["--quick"] if options.quick else []
    environment = os.environ | {"GPUBP_COMPILED": options.compiled}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def run(contender, task, scale):
    warnings.simplefilter("ignore")
    kind, settings = json.loads(task)
    result = (measure_sparse if kind == "sparse" else measure_dense)(contender, scale, **settings)
    print(json.dumps(result | {"peak_bytes": peak_bytes()}))
    return 0


def row(kind, task, sklearn_figures, gpubp_figures):
    """Show the ratios of one fit: peak memory, then the CPU time of each method."""
    ratios = [f"peak {gpubp_figures['peak_bytes'] / sklearn_figures['peak_bytes']:.2f}"]
    ratios += [
        f"{method} {gpubp_figures[method]['cpu_seconds'] / max(sklearn_figures[method]['cpu_seconds'], 1e-9):.2f}"
        for method in gpubp_figures
        if method != "peak_bytes"
    ]
    return f"{kind:7}" + f"{', '.join(f'{k}={v}' for k, v in task.items()):75}" + "  ".join(ratios)


if __name__ == "__main__":
    sys.exit(main())
