"""Let one of several processes die at a random step, and resume with a different number of processes.

``python -m benchmarks.processes_soak --runs 200`` checks every run: all processes end within 10 seconds, with an error
that names the one that died, and the run resumed from the checkpoints agrees with an uninterrupted one within the
tolerances of :mod:`gpubp.testing`. It writes benchmarks/results/DATE-processes-soak.json, and its exit code is 1 if a
run failed.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.machine import ROOT, provenance
from benchmarks.scaling import ONE_THREAD
from gpubp.distributed.launch import process_group_for
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.testing import deviation
from gpubp.training.checkpoints import Checkpoints
from gpubp.training.fit import train

EPOCHS, STEPS = 10, 10  # steps per epoch
SECONDS = 10.0
WORDS = {
    "kill": r"process {rank} of {size} on \S+ is gone: it was killed",
    "terminate": r"process {rank} of {size} on \S+ received SIGTERM",
    "raise": r"process {rank} of {size} on \S+ failed: ZeroDivisionError",
}
"""The ways to die, and the error that each must cause."""


def problem(rate=0.05):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(STEPS * 50, 10)), np.eye(3)[rng.integers(3, size=STEPS * 50)]
    network = Network((10, 16, 3), activation="tanh", loss="cross_entropy")
    options = {"optimizer": momentum(rate, 0.9), "batch_size": 50, "epochs": EPOCHS, "device": "cpu"}
    return (network, x, targets), options


class FatalRate:
    """A learning rate that ends the chosen process at a given step."""

    def __init__(self, folder, step, how):
        self.folder, self.left, self.how = folder, step, how

    def __call__(self, epoch):
        self.left -= 1
        if self.left == 0:
            (self.folder / "died").write_text(str(time.time()))
            if self.how == "raise":
                raise ZeroDivisionError("on purpose")
            os.kill(os.getpid(), signal.SIGKILL if self.how == "kill" else signal.SIGTERM)
        return 0.05


def work(folder, rank, step, how):
    """Train, and die if this is the chosen process."""
    processes = process_group_for("mpi")
    rate = FatalRate(folder, step if processes.rank == rank else 0, how)
    kept = Checkpoints(folder / "kept", every_seconds=0)
    data, options = problem(rate)
    fit = train(*data, **options, checkpoint=kept, resume=True, parallel="mpi")
    if processes.rank == 0:
        np.save(folder / "theta.npy", fit.theta)


def run_processes(size, folder, rank, step, how):
    """Run processes to their end; return their output, their exit code, and the time when they ended."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = [mpiexec, "-n", str(size), sys.executable, "-m", "benchmarks.processes_soak", "--work", str(folder)]
    command += ["--rank", str(rank), "--step", str(step), "--how", how]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stderr, done.returncode, time.time()


def one_run(draw, reference):
    """Let one of several processes die, and resume with another number of processes."""
    size, how = draw.choice([2, 3]), draw.choice(["kill", "kill", "terminate", "raise"])
    rank, step = draw.randrange(size), draw.randrange(1, EPOCHS * STEPS)
    others = draw.choice([n for n in (1, 2, 3) if n != size])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, code, ended = run_processes(size, folder, rank, step, how)
        seconds = ended - float((folder / "died").read_text())
        kept = sorted(path.name for path in (folder / "kept").glob("checkpoint-*"))
        resumed_text, resumed_code, _ = run_processes(others, folder, -1, 0, how)
        theta = folder / "theta.npy"
        apart = deviation(np.load(theta), reference, "steps") if theta.exists() else float("inf")
    faults = []
    if code == 0 or not re.search(WORDS[how].format(rank=rank, size=size), text):
        faults.append(f"the error is not clear: code {code}, {text[-2000:]}")
    if seconds > SECONDS:
        faults.append(f"it ended after {seconds:.1f} s")
    if resumed_code or not apart <= 1.0:
        faults.append(f"resumed run: code {resumed_code}, {apart} of the tolerance, {resumed_text[-2000:]}")
    facts = {
        "processes": size,
        "dies": rank,
        "step": step,
        "how": how,
        "seconds_to_end": seconds,
        "resumed_in_processes": others,
    }
    return facts | {"from": kept[-1] if kept else None, "of_tolerance": apart, "faults": faults}


def summary(runs):
    """Summarise runs."""
    seconds = [run["seconds_to_end"] for run in runs]
    return {
        "runs": len(runs),
        "failed": sum(bool(run["faults"]) for run in runs),
        "ways": dict(Counter(run["how"] for run in runs)),
        "from_a_checkpoint": sum(run["from"] is not None for run in runs),
        "seconds_to_end": {"median": float(np.median(seconds)), "largest": max(seconds)},
        "largest_part_of_tolerance": max(run["of_tolerance"] for run in runs),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes_soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--how", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.work, options.rank, options.step, options.how)
        return 0
    result, draw, runs = provenance() | {"seed": options.seed}, random.Random(options.seed), []
    data, settings = problem(FatalRate(None, 0, ""))
    reference = train(*data, **settings).theta
    path = options.output or ROOT / "benchmarks" / "results" / f"{result['date'][:10]}-processes-soak.json"
    for _ in range(options.runs):
        runs.append(one_run(draw, reference))
        print(f"{len(runs)}: {runs[-1]}" if runs[-1]["faults"] else f"{len(runs)}", flush=True)
        path.write_text(json.dumps(result | {"summary": summary(runs), "each": runs}, indent=1) + "\n")
    print(json.dumps(summary(runs), indent=1), path, sep="\n")
    return int(any(run["faults"] for run in runs))


if __name__ == "__main__":
    sys.exit(main())
