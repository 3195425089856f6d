"""The parts of ``python -m benchmarks.gpu``: what each does, for how long at most, and the question it answers."""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import networks
from benchmarks.bars import EPOCH, SEARCH, STACK, STEP, WIDE
from benchmarks.contenders import absence
from benchmarks.first_look import LOOKS
from benchmarks.machine import ROOT, cores
from benchmarks.processes import environment
from benchmarks.rounds import run_workload
from benchmarks.workloads import make_workloads
from gpubp.backends.probe import probe_cuda

WORKLOADS = {workload.name: workload for workload in make_workloads() if workload.name.startswith("gpu/")}
SHARES = 8  # processes that run tests at the same time
STAND_INS = {
    "gpubp-cuda": "gpubp",
    "gpubp-other-cuda": "gpubp",
    "torch-cuda": "torch",
    "torch-compile-cuda": "torch",
    "torch-graph-cuda": "torch",
    "jax-scan-cuda": "jax-scan",
    "cublaslt-cuda": "floor",
    "floor-cuda": "floor",
    "traffic-cuda": "floor",
}
"""The CPU replacements of GPU contenders in a dry run, if those are absent."""


class Work(NamedTuple):
    """``save(found)`` keeps what a part has found; it begins nothing after ``deadline``, of ``time.monotonic()``."""

    save: Callable
    deadline: float
    dry_run: bool

    @property
    def device(self):
        """The device that is measured; a dry run is content with a CPU."""
        return "cpu" if self.dry_run and not probe_cuda().usable else "cuda"


class Part(NamedTuple):
    """``run(work)`` returns what it found, a dict that can be JSON; it is stopped after so many seconds."""

    seconds: int
    answers: str
    run: Callable


def _look(work):
    found = {}
    for name, look in LOOKS.items():
        if work.device == "cpu" and name != "doctor":
            found[name] = {"left out": "there is no GPU"}
            continue
        try:
            found[name] = look()
        except Exception as error:
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            found["failed"] = f"{found.get('failed', '')} {name}".strip()
        work.save(found)
    return found


def _tests(work):
    """Run the tests that need a GPU in several processes at once; in a dry run, a few of them, or of others."""
    chosen = ["tests/testing/test_parity.py" if work.dry_run else "tests"]
    chosen += ["--require-cuda"] if work.device == "cuda" else []
    n, device = 1 if work.dry_run else min(SHARES, cores()), work.device
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "benchmarks.cuda_tests", *chosen]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, f"{at}.txt") for at in range(n)]
        outcomes = [path.with_suffix(".json") for path in outputs]
        shares = []
        for at in range(n):
            options = ["--share", f"{at}/{n}/{device}", "--outcomes", str(outcomes[at])]
            with outputs[at].open("w") as file:
                shares.append(subprocess.Popen([*command, *options], cwd=ROOT, stdout=file, stderr=file))
        while (running := sum(share.poll() is None for share in shares)) and time.monotonic() < work.deadline:
            time.sleep(1)
            work.save(_outcomes(outcomes) | {"failed": f"{running} of {n} processes were still running"})
        late = [share for share in shares if share.poll() is None]
        for share in late:
            share.kill()
        found = _outcomes(outcomes)
        wrong = [f"{at}: {share.wait()}" for at, share in enumerate(shares) if share.wait() not in (0, 1, 5)]
        if found["failures"] or wrong:
            last = [outputs[int(each.partition(":")[0])].read_text()[-300:] for each in wrong]
            found["failed"] = (
                f"{len(found['failures'])} tests failed; stopped: {len(late)}; ended otherwise: {wrong} {last}"
            )
        return found


def _outcomes(paths):
    lines = [line for path in paths if path.exists() for line in path.read_text().splitlines(keepends=True)]
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    counts = {kind: sum(outcome == kind for _, outcome, _ in found) for kind in ("passed", "skipped")}
    return counts | {"failures": {test: why for test, outcome, why in found if outcome == "failed"}}


def _rows(work, rows):
    """Measure workloads, each contender once as soon as it is ready and then in rounds."""
    found = {}
    for row in rows:
        workload = WORKLOADS[row]
        options = {"threads": cores(), "rounds": 1 if workload.kind == "fit" else 5, "seconds": 0.3, "limit": 60}
        names = {
            name: STAND_INS.get(name, name) if work.dry_run and absence(name) else name for name in workload.contenders
        }
        if work.dry_run:
            workload = workload._replace(spec=smaller(workload.spec))
            options |= {"threads": 1, "rounds": 1, "seconds": 0.01}
        absent = {name: why for name, stand_in in names.items() if (why := absence(stand_in))}
        able = list(dict.fromkeys(stand_in for name, stand_in in names.items() if name not in absent))

        def save(measured, row=row, names=names, absent=absent):
            found[row] = {
                name: {"absent": absent[name]} if name in absent else measured.get(by, {"failed": "not reached"})
                for name, by in names.items()
            }
            work.save(found)

        report = partial(print, flush=True)
        save(run_workload(workload, able, report=report, deadline=work.deadline, save=save, **options))
    return found


def smaller(spec):
    """Make a problem small enough that a dry run takes seconds."""
    spec = spec | {"stack": 3} if "stack" in spec else dict(spec)
    if "data" in spec:
        return spec | {"data": [400, 8, 3], "parameters": {"max_iter": 2}}
    sizes = [min(size, 16) for size in spec["sizes"]]
    return spec | {"sizes": sizes, "batch": min(spec["batch"], 32), "batches": min(spec["batches"], 4)}


def _networks(work, contender):
    """Measure one contender's stacks in this process."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ.update(environment(1 if work.dry_run else cores(), work.device == "cuda", cache))
        row, options = f"gpu/networks/{contender}", {"seconds": 0.01, "counts": (1, 3)} if work.dry_run else {}

        def save(found):
            work.save({row: found})

        return {row: networks.measure(contender, work.device, save, work.deadline, **options)}


def _search(work):
    """Search over the digits, with scikit-learn on all cores."""
    from sklearn.exceptions import ConvergenceWarning

    from benchmarks.search import GRID, with_gpubp, with_sklearn

    warnings.simplefilter("ignore", ConvergenceWarning)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of scikit-learn's processes
    grid = {name: values[:1] for name, values in GRID.items()} if work.dry_run else GRID
    epochs = 2 if work.dry_run else 20
    found = {SEARCH: {}}
    for name, warm_up, search, rounds in (
        ("gpubp-cuda", epochs, partial(with_gpubp, device=work.device, grid=grid), 3),
        ("scikit-learn", 1, partial(with_sklearn, jobs=-1, grid=grid), 1),
    ):
        search(warm_up)()  # compiled code, and the processes of scikit-learn
        seconds, scores = [], search(epochs)
        for _ in range(rounds):
            began = time.perf_counter()
            best = float(max(scores()))
            seconds.append(time.perf_counter() - began)
        found[SEARCH][name] = {"seconds": seconds, "best_accuracy": best}
        work.save(found)
    return found


def _part(seconds, answers, *rows):
    return Part(seconds, answers, partial(_rows, rows=rows))


CHOICES, CROSSOVER = (
    [name for name in WORKLOADS if name.startswith(f"gpu/{part}/")] for part in ("choices", "crossover")
)
PARTS = {
    "look": Part(45, "Which GPU and software is it, do graphs capture, and are equal fits equal to the bit?", _look),
    "step": _part(110, "Is a step of 784-256-10 faster than a CUDA graph, torch.compile and a scan?", STEP),
    "epoch": _part(50, "How long is an epoch of the smallest network, 6-2-1?", EPOCH),
    "stack": _part(50, "How much faster are 1,024 networks at once than one after another in PyTorch?", STACK),
    "tests": Part(120, "Do the tests that need a GPU pass?", _tests),
    "wide/tf32": _part(70, "How close is a wide network to its matrix products, in TF32?", WIDE["tf32"]),
    "wide/bfloat16": _part(70, "The same, in bfloat16.", WIDE["bfloat16"]),
    **{
        f"networks/{name}": Part(
            seconds,
            f"Microseconds a step of 1 to 100,000 networks: {networks.LABELS[name]}.",
            partial(_networks, contender=name),
        )
        for name, seconds in {"gpubp": 50, "torch-graph": 35, "jax-vmap": 60, "torch-vmap": 25}.items()
    },
    "search": Part(45, "How much faster is a search over 320 networks than scikit-learn's on all cores?", _search),
    "choices": _part(50, "Are choices that were made by arithmetic right, or is the other choice faster?", *CHOICES),
    "fit": _part(65, "How long is a fit of 1,000,000 rows, beside scikit-learn's?", "gpu/fit/1000000x100"),
    "crossover": _part(50, "From which width on does a GPU pay off?", *CROSSOVER),
}
