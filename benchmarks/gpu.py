"""``python -m benchmarks.gpu``: all measurements on a GPU in 15 minutes, in parts, the most telling first.

Each part is a process of its own with a time limit of at most 3 minutes, so that a failure or hang affects only that
part; what it had found is kept. One JSON file is written after every part, with a page in Markdown and a picture beside
it; a call ends after its given time, and the next call resumes from there. docs/gpu_benchmark.md explains the parts.
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

from benchmarks import gpu_parts, gpu_report
from benchmarks.bars import crossover, verdicts
from benchmarks.first_look import state
from benchmarks.gpu_parts import PARTS
from benchmarks.machine import ROOT, commit, cores, provenance

RESULT = Path(__file__).parent / "results" / "gpu.json"
ENDING = 5  # seconds of its time in which a part begins nothing new


def main(arguments=None):
    """Run the command line; return 1 if a part failed, 3 if some are left for another call."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="All measurements on a GPU.")
    parser.add_argument(
        "--output", type=Path, default=RESULT, metavar="JSON", help="the file to write and to resume from"
    )
    parser.add_argument("--resume", type=Path, metavar="JSON", help="resume from this file, and write to the other")
    parser.add_argument("--minutes", type=float, default=15, help="start no part that could exceed this total")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PATTERN", help="parts of names; by default, all")
    parser.add_argument("--again", action="store_true", help="measure all parts again, including finished ones")
    parser.add_argument(
        "--dry-run", action="store_true", help="try it out: small problems, stand-ins for what is absent"
    )
    parser.add_argument("--list", action="store_true", help="list the parts, their seconds at most and their status")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the argument of a part's process
    options = parser.parse_args(arguments)
    if options.one:
        _run_one(options)
        return 0
    began = time.monotonic()
    result = _previous_result(options)
    requested = [part for part in PARTS if not options.parts or any(pattern in part for pattern in options.parts)]
    if options.list:
        for name, part in PARTS.items():
            print(f"{_state(result['parts'].get(name)):8s} {part.seconds:4d} s  {name:22s} {part.answers}")
        print(f"{sum(part.seconds for part in PARTS.values()):13d} s  in all, at most")
        return 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for part in [part for part in requested if options.again or part not in result["parts"]]:
        left = 60 * options.minutes - (time.monotonic() - began)
        if PARTS[part].seconds <= left:
            print(f"{part} ...", end=" ", flush=True)
            found = {"commit": commit()} | _run_part(part, options.dry_run)
            result["parts"][part] = found | {"gpu": state()}
            print(f"{_state(found)} after {found['took']:.0f} s", flush=True)
            _write(result, options)
    _write(result, options)
    print(gpu_report.markdown_of(result))
    print(*gpu_report.write(result, options.output), options.output, sep="\n")
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
    """Write all results."""
    rows = {row: found for part in result["parts"].values() for row, found in part.get("found", {}).items()}
    result |= {"last": provenance(), "crossover": crossover(rows)}
    result["bars"] = verdicts(rows, {"cores": cores()}, dry_run=options.dry_run)
    _write_whole(options.output, result)


def _write_whole(path, plain):
    """Write JSON so that the file is never half-written."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(plain, indent=1) + "\n")
    aside.replace(path)


def _run_one(options):
    """Be a part's process."""
    part = PARTS[options.one]
    work = gpu_parts.Work(
        save=lambda found: _write_whole(options.output, found),
        deadline=time.monotonic() + max(1, part.seconds - ENDING),
        dry_run=options.dry_run,
    )
    work.save(part.run(work))


def _run_part(part, dry_run):
    """Run a part in a separate process, and end it with all of its children if it takes too long."""
    began, limit = time.monotonic(), PARTS[part].seconds
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("w+") as output:
        path = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", part, "--output", str(path)]
        process = subprocess.Popen(
            [*command, *(["--dry-run"] if dry_run else [])],
            **{"cwd": ROOT, "stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True},
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = f"stopped after {limit} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its remaining children
            process.wait()
        found = {"took": time.monotonic() - began}
        if path.exists():
            found["found"] = json.loads(path.read_text())
        else:
            found["found"], status = {}, status or "it wrote nothing"
        if status != 0:
            output.seek(0)
            found["failed"] = f"{status}: {' | '.join(output.read().strip().splitlines()[-5:])[-1000:]}"
        elif "failed" in found["found"]:
            found["failed"] = found["found"]["failed"]
        return found


def _state(found):
    return "" if found is None else "failed" if "failed" in found else "done"


if __name__ == "__main__":
    sys.exit(main())
