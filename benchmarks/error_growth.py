"""``python -m benchmarks.error_growth``: how rounding errors grow; write a result file, and the figure from it.

``--ways cuda --add FILE`` measures another way, on a GPU or on CUDA on the CPU, and adds it to a result file.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import mpmath

from benchmarks.machine import ROOT, provenance, write_result
from benchmarks.truth import growth
from gpubp.engine.cpu import library
from gpubp.optim.first_order import adam, momentum

FIGURE = ROOT / "docs" / "images" / "error-growth.svg"
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (2, 8, 32, 128, 512, 1024, 4096)
STEPS = (1, 4, 16, 64, 256, 1024, 4096, 10_000)
STACKS = (1, 8, 64, 512, 2048)
SMALL_STEPS = (1, 2, 4, 8, 16, 32, 64)
OPTIMIZERS = {"momentum": momentum(0.02, 0.9), "adam": adam(0.001)}


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.error_growth", description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=growth.WAYS, default=["numpy", "engine", "torch"])
    parser.add_argument("--at-most", type=int, default=10_000, help="the largest size in every series")
    parser.add_argument("--add", type=Path, metavar="FILE", help="add to this result file")
    parser.add_argument(
        "--output", type=Path, help="the result file; by default benchmarks/results/DATE-error-growth.json"
    )
    options = parser.parse_args(arguments)
    if "engine" in options.ways and (reason := library.why_not()):
        parser.error(reason)
    result = json.loads(options.add.read_text(encoding="utf-8")) if options.add else _begin()
    rows = [row for row in result.get("error-growth", ()) if row["way"] not in options.ways]
    measured = list(measure(options.ways, options.at_most))
    result["error-growth"] = rows + measured
    if options.add:
        result.setdefault("added", {})[" ".join(options.ways)] = _begin()
    print(write_result(result, "error-growth", options.add or options.output))
    if importlib.util.find_spec("matplotlib"):
        from benchmarks.truth.growth_chart import draw

        draw(result, FIGURE)
    worst = max(measured, key=lambda row: row["of_bound"])
    print(f"largest part of a bound: {worst}")


def _begin():
    return provenance() | {"mpmath": mpmath.__version__}


def measure(ways, at_most):
    """Yield a row for each series, size and way: errors in units u, and their bounds."""
    for series, network in (("depth", growth.deep), ("width", growth.wide)):
        for size in [n for n in (DEPTHS if series == "depth" else WIDTHS) if n <= at_most]:
            run = growth.gradient_of(network(size))
            true, bound = growth.gradient(run, "numpy", "float64"), growth.bound_of_gradient(run)
            for way in ways:
                found = growth.error(growth.gradient(run, way, "float32"), true, "float32")
                yield _row(series, size, way, "float32", float(found), bound)
    runs = {name: [(n, growth.training(make, n)) for n in STEPS] for name, make in OPTIMIZERS.items()}
    runs["stack"] = [(n, growth.stack(n)) for n in STACKS]
    for series, of_size in runs.items():
        for size, run in [(n, run) for n, run in of_size if n <= at_most]:
            true = growth.result(run, "numpy" if series != "stack" else "engine", "float64")
            bounds = growth.bound_of_training(run, growth.condition(run, true))
            for way in ways:
                errors = growth.error(growth.result(run, way, "float32"), true, "float32")
                yield _row_of_networks(series, size, way, errors, bounds)
    yield from measure_small(ways, at_most)


def measure_small(ways, at_most):
    """Yield the rows of the network that mpmath computes."""
    run = growth.small_gradient()
    true, bound = growth.true_small_gradient(run), growth.bound_of_gradient(run)
    for way in ways:
        for dtype in ("float32", "float64"):
            found = growth.error_from_truth(growth.gradient(run, way, dtype), true, dtype)
            yield _row("mpmath, gradient", 1, way, dtype, found, bound)
    for size in [n for n in SMALL_STEPS if n <= at_most]:
        run = growth.small_training(size)
        true = growth.true_weights(run)
        bound = growth.bound_of_training(run, growth.condition(run, growth.result(run, "numpy", "float64")))
        for way in ways:
            for dtype in ("float32", "float64"):
                found = growth.error_from_truth(growth.result(run, way, dtype), true, dtype)
                yield _row("mpmath, training", size, way, dtype, found, float(bound))


def _row(series, size, way, dtype, found, bound, **more):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{series} {size} {way} {dtype}", end="", file=sys.stderr, flush=True)
    row = {"series": series, "size": size, "way": way, "dtype": dtype, "error": found, "bound": bound}
    return row | {"of_bound": found / bound} | more


def _row_of_networks(series, size, way, errors, bounds):
    """Summarise the networks of a training: the mean error and bound, and the largest part of a bound."""
    mean, largest, of_bound = growth.mean_and_largest(errors, bounds)
    row = _row(series, size, way, "float32", mean, float(bounds.mean()))
    return row | {"largest": largest, "of_bound": of_bound}


if __name__ == "__main__":
    main()
