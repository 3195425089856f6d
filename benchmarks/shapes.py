"""The cost of a search over widths: 57 widths are 57 stacks of networks.

``python -m benchmarks.shapes`` trains 57 candidates times 5 folds on the digits in four ways, which take turns: widths
8 to 64, one stack each; width 36, which has as many multiplications in total, in 57 stacks; width 36 in one stack; and
width 64 in one stack, as with padding. It writes a result file, and prints its table: the best of some rounds, the CPU
time of all cores, and the cost of an additional stack and of padding. With OPENBLAS_NUM_THREADS=1 no thread waits for
another.
"""

import argparse
import time
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.machine import provenance, write_result
from benchmarks.page import FIGURES
from benchmarks.search import FOLDS, samples, settings
from gpubp import BatchedSearchCV, MLPClassifier
from gpubp.training import stacks as stack

WIDTHS = [*range(8, 65)]
ALIKE = np.logspace(-5, 0, len(WIDTHS)).tolist()  # candidates of one width
WAYS = {
    "widths 8 to 64, 57 stacks": ({"hidden_layer_sizes": [(width,) for width in WIDTHS]}, False),
    "width 36, 57 stacks": ({"hidden_layer_sizes": [(36,)], "alpha": ALIKE}, True),
    "width 36, 1 stack": ({"hidden_layer_sizes": [(36,)], "alpha": ALIKE}, False),
    "width 64, 1 stack": ({"hidden_layer_sizes": [(64,)], "alpha": ALIKE}, False),
}


def seconds_of(epochs, grid, apart):
    """Search once; return the seconds, and the CPU time of all cores.

    With ``apart``, each candidate has its own stack.
    """
    kind = stack._stack_key
    x, y = samples()
    search = BatchedSearchCV(MLPClassifier(**settings(epochs), device="cpu"), grid, refit=False, progress=False)
    with mock.patch.object(stack, "_stack_key", lambda member: (*kind(member), apart and member.fit.l2)):
        began, spent = time.perf_counter(), time.process_time()
        search.fit(x, y)
        return time.perf_counter() - began, time.process_time() - spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="the result file, by default benchmarks/results/DATE-shapes.json")
    chosen, result = parser.parse_args(), provenance()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rounds = {name: [] for name in WAYS}
    for number in range(chosen.rounds + 1):
        for name, way in WAYS.items():
            found = seconds_of(chosen.epochs, *way)
            if number:  # the first compiles
                rounds[name].append(found)
    ways = {
        name: {"seconds": [one for one, _ in found], "core_seconds": [spent for _, spent in found]}
        for name, found in rounds.items()
    }
    result["shapes"] = {"epochs": chosen.epochs, "candidates": len(WIDTHS), "folds": FOLDS, "ways": ways}
    print(*FIGURES["shapes"]([result]), write_result(result, "shapes", chosen.output), sep="\n")


if __name__ == "__main__":
    main()
