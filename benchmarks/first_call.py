"""``python -m benchmarks.first_call``: import and a first fit of the digits in a fresh process, beside scikit-learn's.

Both take turns, after a round that is not counted, in which Python stores its bytecode. The figures are the best of
all rounds, in seconds and in CPU time, which is more reliable where the machine is shared. The bar: gpubp's import and
first fit take at most 30 ms longer than scikit-learn's import and gpubp's second fit. A result file is written.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT, provenance, write_result
from benchmarks.table import markdown, show_seconds

IMPORTS = {
    "gpubp": "from gpubp import MLPClassifier",
    "scikit-learn": "from sklearn.neural_network import MLPClassifier",
}
PARTS = ("import", "first fit", "second fit")
PROGRAM = """
import json, time
clocks = (time.perf_counter, time.process_time)
times = [[clock() for clock in clocks]]
IMPORT
times.append([clock() for clock in clocks])
import warnings
from sklearn.datasets import load_digits
warnings.simplefilter("ignore")
x, y = load_digits(return_X_y=True)
x = x.astype("float32")
for _ in range(2):
    start = [clock() for clock in clocks]
    MLPClassifier(max_iter=20, random_state=0).fit(x, y)
    times += [start, [clock() for clock in clocks]]
print(json.dumps([[e - b for b, e in zip(*pair)] for pair in zip(times[::2], times[1::2])]))
"""


def measure(name):
    """Return the seconds and the CPU time of each part, in a fresh process."""
    command = [sys.executable, "-c", PROGRAM.replace("IMPORT", IMPORTS[name])]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return dict(zip(PARTS, json.loads(done.stdout), strict=True))


def best(rounds, part, clock):
    """Return the best time of a part: clock 0 counts seconds, clock 1 CPU time."""
    return min(found[part][clock] for found in rounds)


def excess(figures, clock):
    """Return by how much gpubp's import and first fit exceed scikit-learn's import and gpubp's second fit."""
    own, others = figures["gpubp"], figures["scikit-learn"]
    first = best(own, "import", clock) + best(own, "first fit", clock)
    return first - best(others, "import", clock) - best(own, "second fit", clock)


def table(figures):
    rows = [
        [f"{name}, {kind}", *(show_seconds(best(rounds, part, clock)) for part in PARTS)]
        for clock, kind in enumerate(("seconds", "CPU time"))
        for name, rounds in figures.items()
    ]
    by_clock = (f"{1e3 * excess(figures, clock):.0f} ms of {kind}" for clock, kind in enumerate(("time", "CPU time")))
    more = " and ".join(by_clock)
    return [*markdown(["", *PARTS], rows), "", f"gpubp's first call takes {more} more than the bar compares it with"]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_call", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result = provenance() | {"first-call": {name: [] for name in IMPORTS}}
    for number in range(options.rounds + 1):
        for name, rounds in result["first-call"].items():
            found = measure(name)
            rounds += [found] if number else []
    print(*table(result["first-call"]), write_result(result, "first-call", options.output), sep="\n")


if __name__ == "__main__":
    main()
