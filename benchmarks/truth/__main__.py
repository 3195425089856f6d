"""``python -m benchmarks.truth``: measure the errors of every function, and write a result file.

On NumPy, the compiled engine, and PyTorch and JAX on the CPU where they are installed.
"""

import argparse
import multiprocessing
import os
import sys
from itertools import groupby
from pathlib import Path

import mpmath
import numpy as np

from benchmarks.machine import provenance, write_result
from benchmarks.truth import libraries
from benchmarks.truth.errors import bar, errors, worst_of
from benchmarks.truth.functions import functions
from benchmarks.truth.report import KINDS, tables
from gpubp.engine.cpu import library

DTYPES = ("float32", "float64")
_groups = []  # of functions; the processes inherit them, as lambdas cannot be sent


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="how many inputs, relative to the committed table")
    parser.add_argument("--output", type=Path, help="the result file; by default benchmarks/results/DATE-truth.json")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many compute; all cores by default")
    options = parser.parse_args(arguments)
    if reason := library.why_not():
        parser.error(reason)
    _groups[:] = [list(of_name) for dtype in DTYPES for _, of_name in groupby(functions(dtype, options.size), _name)]
    rows = []
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        for row in pool.imap(_measured, range(len(_groups))):
            rows.append(row)
            _report(f"{len(rows)} of {len(_groups)}: {row['dtype']} {row['kind']} {row['name']}")
    result = provenance() | {"engine": f"{library.variant()}, {library.built_by()}", "mpmath": mpmath.__version__}
    result |= {"size": options.size, "truth": rows}
    for title in KINDS:
        print(f"\n{title}\n", *tables(rows, title), sep="\n")
    print(write_result(result, "truth", options.output))


def _name(function):
    return function.kind, function.name


def _measured(k):
    return measured(_groups[k])


def measured(of_name):
    """Return the errors of a function, whose entries are sets of inputs, as plain data."""
    found = {device: [] for device in ("numpy", "engine", *libraries.installed())}
    bounds, n = [], 0
    of_libraries = {package: libraries.computed_by(package, of_name) for package in libraries.installed()}
    for k, function in enumerate(of_name):
        true = function.truth()
        with np.errstate(all="ignore"):
            computed, compiled = function.computed(), function.computed_by_engine()
        found["numpy"].append(errors(computed, true, function.arrays, scale=function.scale))
        if compiled is not None:
            normal = float(np.finfo(function.dtype).smallest_normal)
            found["engine"].append(errors(compiled, true, function.arrays, scale=function.scale, smallest=normal))
        for package, results in of_libraries.items():
            found[package].append(libraries.errors_of(package, function, true, results[k]))
        bounds.append(_largest_bound(function, true))
        n += len(computed)
    return {
        **{"kind": function.kind, "name": function.name, "dtype": function.dtype, "inputs": n},
        **{device: worst_of(several)._asdict() if several else None for device, several in found.items()},
        **{"cuda_of_bar": max(bounds), "absolute": function.scale is not None},
    }


def _largest_bound(function, true):
    """Bound the error on CUDA, as a multiple of the bar, where nothing comes near to over- or underflow."""
    info = np.finfo(function.dtype)
    bound = function.bound_of_cuda()
    sizes = np.abs([float(value) for value in true.values])
    fits = np.all([np.abs(array) < float(info.max) ** 0.5 for array in function.arrays], axis=0)
    fits &= np.isfinite(true.conditions) & (sizes > float(info.smallest_normal / info.eps)) & (sizes < float(info.max))
    return float(np.max((bound / bar(true, function.dtype, function.scale))[fits], initial=0.0))


def _report(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:100]}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
