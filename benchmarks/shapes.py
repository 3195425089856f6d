"""The cost of a search over widths: 57 widths are 57 stacks of networks.

``python -m benchmarks.shapes`` trains 57 candidates times 5 folds on the digits in four ways, which take turns: widths
8 to 64, one stack each; width 36, which has as many multiplications in total, in 57 stacks; width 36 in one stack; and
width 64 in one stack, as with padding. It prints the best of some rounds, the CPU time of all cores, and the cost of an
additional stack. With OPENBLAS_NUM_THREADS=1 no thread waits for another.
"""

import argparse
import time
import warnings
from unittest import mock

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.search import BATCH, FOLDS, samples, settings
from gpubp import BatchedSearchCV, MLPClassifier
from gpubp.training import stacks as stack

WIDTHS = [*range(8, 65)]
ALIKE = np.logspace(-5, 0, len(WIDTHS)).tolist()  # candidates of one width
WAYS = {
    "57 widths, 57 stacks": ({"hidden_layer_sizes": [(width,) for width in WIDTHS]}, False),
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
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rounds = {name: [] for name in WAYS}
    for number in range(chosen.rounds + 1):
        for name, way in WAYS.items():
            found = seconds_of(chosen.epochs, *way)
            if number:  # the first compiles
                rounds[name].append(found)
    steps = len(WIDTHS) * FOLDS * chosen.epochs * -(-1437 // BATCH)
    print(f"{'':22}  seconds  computing  core us per step and network  seconds of all rounds")
    for name, found in rounds.items():
        seconds, computing = map(min, zip(*found, strict=True))
        of_rounds = " ".join(f"{second:.2f}" for second, _ in found)
        print(f"{name:22}  {seconds:7.2f}  {computing:9.2f}  {1e6 * computing / steps:28.1f}  {of_rounds}")
    widths, many, one, padded = (min(computing for _, computing in found) for found in rounds.values())
    of_one = (many - one) / (len(WIDTHS) - 1) / chosen.epochs
    print(f"\nan additional stack costs {1e3 * of_one:.2f} ms per epoch, in total {many / one - 1:.0%} of this search")
    print(f"padded to the widest, the networks compute {padded / widths:.2f} times as long as in separate stacks")


if __name__ == "__main__":
    main()
