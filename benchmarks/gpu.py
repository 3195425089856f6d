"""``python -m benchmarks.gpu``: all measurements on a GPU, in parts that can be resumed.

Each part is a separate process with its own time limit, so that a failure or hang affects only that part. Results are
written to one JSON file after every part; a call ends after its given time, and the next call resumes from there.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bars import EPOCH, FIT, STACK, STEP, WIDE, crossover, verdicts
from benchmarks.contenders import absence
from benchmarks.first_look import LOOKS
from benchmarks.machine import ROOT, commit, cores, provenance
from benchmarks.workloads import make_workloads

RESULT = Path(__file__).parent / "results" / "gpu.json"
WORKLOADS = {workload.name: workload for workload in make_workloads() if workload.name.startswith("gpu/")}
CUDA_TESTS = [f"tests/engine/test_{name}.py" for name in ("cuda", "cuda_device", "cuda_kernels", "host_samples")]
TESTS = {"cuda": CUDA_TESTS, "others": ["tests", *(f"--ignore={path}" for path in CUDA_TESTS)]}
FIRST = (STEP, EPOCH, STACK, *WIDE.values(), FIT)
PARTS = {  # seconds at most
    **{f"look/{name}": 60 for name in LOOKS},
    "tests/cuda": 240,
    **dict.fromkeys(FIRST, 300),
    **{name: 60 for name in WORKLOADS if name not in FIRST},
    "tests/others": 540,
}
STAND_INS = {
    "gpubp-cuda": "gpubp",
    "torch-cuda": "torch",
    "torch-compile-cuda": "torch",
    "torch-graph-cuda": "torch",
    "jax-scan-cuda": "jax-scan",
    "cublaslt-cuda": "floor",
    "floor-cuda": "floor",
    "traffic-cuda": "floor",
}
"""The CPU replacements of GPU contenders in a dry run."""


def main(arguments=None):
    """Run the command line; return 1 if a part failed, 3 if some are left for another call."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="All measurements on a GPU.")
    parser.add_argument(
        "--output", type=Path, default=RESULT, metavar="JSON", help="the file to write and to resume from"
    )
    parser.add_argument("--resume", type=Path, metavar="JSON", help="resume from this file, and write to the other")
    parser.add_argument("--minutes", type=float, default=9.5, help="start no part that would exceed this total")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PATTERN", help="parts of names; by default, all")
    parser.add_argument("--again", action="store_true", help="measure all parts again, including finished ones")
    parser.add_argument("--dry-run", action="store_true", help="try it out: small problems, stand-ins on the CPU")
    parser.add_argument("--list", action="store_true", help="list the parts and their status")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the argument of a part's process
    options = parser.parse_args(arguments)
    if options.one:
        options.output.write_text(json.dumps(RUNNERS[options.one.partition("/")[0]](options.one, options.dry_run)))
        return 0
    began = time.monotonic()
    result = _previous_result(options)
    requested = [part for part in PARTS if not options.parts or any(pattern in part for pattern in options.parts)]
    if options.list:
        print(*(f"{_state(result['parts'].get(part)):8s} {part}" for part in PARTS), sep="\n")
        return 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for part in [part for part in requested if options.again or part not in result["parts"]]:
        left = 60 * options.minutes - (time.monotonic() - began)
        if PARTS[part] <= left:
            print(f"{part} ...", end=" ", flush=True)
            found = {"commit": commit()} | _run_part(part, options.dry_run)
            result["parts"][part] = found
            print(f"{_state(found)} after {found['took']:.0f} s", flush=True)
            _write(result, options)
    _write(result, options)
    print(*(_verdict_line(verdict) for verdict in result["bars"]), options.output, sep="\n")
    if any(part not in result["parts"] for part in requested):
        print("some parts are left: run it again")
        return 3
    return int(any("failed" in result["parts"][part] for part in requested))


def _previous_result(options):
    source = options.resume or options.output
    if source.exists():
        result = json.loads(source.read_text())
        if result["dry_run"] == options.dry_run:
            return result
        raise SystemExit(f"{source} is of {'a dry run' if result['dry_run'] else 'a real run'}; pass another --output")
    return {"dry_run": options.dry_run, "parts": {}, "bars": []}


def _write(result, options):
    """Write all results atomically."""
    rows = {name: part["found"] for name, part in result["parts"].items() if name in WORKLOADS and "found" in part}
    result |= {"last": provenance(), "crossover": crossover(rows)}
    result["bars"] = verdicts(rows, {"cores": cores()}, dry_run=options.dry_run)
    aside = options.output.with_suffix(".new")
    aside.write_text(json.dumps(result, indent=1) + "\n")
    aside.replace(options.output)


def _run_part(part, dry_run):
    """Run a part in a separate process, and end it with all of its children if it takes too long."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("w+") as output:
        path = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", part, "--output", str(path)]
        process = subprocess.Popen(
            [*command, *(["--dry-run"] if dry_run else [])],
            **{"cwd": ROOT, "stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True},
        )
        try:
            status = process.wait(PARTS[part])
        except subprocess.TimeoutExpired:
            status = f"stopped after {PARTS[part]} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its remaining children
            process.wait()
        took = time.monotonic() - began
        if status == 0 and path.exists():
            found = json.loads(path.read_text())
            failed = {"failed": found["failed"]} if "failed" in found else {}
            return {"took": took, "found": found} | failed
        output.seek(0)
        return {"took": took, "failed": f"{status}: {' | '.join(output.read().strip().splitlines()[-5:])[-1000:]}"}


def _look(part, dry_run):
    name = part.partition("/")[2]
    if dry_run and name != "doctor":
        return {"left out": "there is no GPU"}
    return LOOKS[name]()


def _tests(part, dry_run):
    """Run the tests with the GPU required; in a dry run, a few without."""
    arguments = [*TESTS[part.partition("/")[2]], "--require-cuda"]
    if dry_run:
        arguments = ["tests/engine/test_tracing.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    found = {"summary": lines[-1] if lines else done.stderr[-300:]}
    if done.returncode:
        found["failed"] = "; ".join([*[line for line in lines if line.startswith(("FAILED", "ERROR"))][:20], lines[-1]])
    return found


def _measure_workload(part, dry_run):
    from benchmarks.rounds import run_workload

    workload = WORKLOADS[part]
    options = {"threads": cores(), "rounds": 1 if workload.kind == "fit" else 5, "seconds": 0.5, "limit": 120}
    names = {name: STAND_INS.get(name, name) if dry_run else name for name in workload.contenders}
    if dry_run:
        workload = workload._replace(spec=smaller(workload.spec))
        options |= {"threads": 1, "rounds": 1, "seconds": 0.01}
    absent = {name: why for name, stand_in in names.items() if (why := absence(stand_in))}
    able = list(dict.fromkeys(stand_in for name, stand_in in names.items() if name not in absent))
    found = run_workload(workload, able, report=lambda text: print(text, flush=True), **options)
    return {name: {"absent": absent[name]} if name in absent else found[names[name]] for name in names}


def smaller(spec):
    """Make a problem small enough that a dry run takes seconds."""
    spec = spec | {"stack": 3} if "stack" in spec else dict(spec)
    if "data" in spec:
        return spec | {"data": [400, 8, 3], "parameters": {"max_iter": 2}}
    sizes = [min(size, 16) for size in spec["sizes"]]
    return spec | {"sizes": sizes, "batch": min(spec["batch"], 32), "batches": min(spec["batches"], 4)}


RUNNERS = {"look": _look, "tests": _tests, "gpu": _measure_workload}


def _state(found):
    return "" if found is None else "failed" if "failed" in found else "done"


def _verdict_line(verdict):
    value = "" if verdict["value"] is None else f"{verdict['value']:.3g}, "
    return f"{verdict['bar']}: {value}limit {verdict['limit']:g}: {verdict['verdict']}"


if __name__ == "__main__":
    sys.exit(main())
