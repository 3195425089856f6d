"""Training in several processes: measured on this machine, with one thread per process, and predicted for GPUs.

``python -m benchmarks.scaling`` measures all-reduces of 1 KB to 64 MB, training steps in one process and in two, and
the parts of a step; fits ``benchmarks/scaling_model.py`` to them, compares the fit with the other steps, and
writes benchmarks/results/DATE-scaling.json. ``--predict`` only prints the prediction for GPUs, which is not
measured.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import scaling_model as model
from benchmarks.machine import ROOT, cores, provenance

SIZES = (784, 512, 512, 10)
WIDE = (4096, 8192, 8192, 1000)
BATCHES = (100, 200, 400, 800, 1600)
BYTES = [1 << k for k in range(10, 27, 2)]
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measured(processes, *arguments, threads=ONE_THREAD):
    """Return the measurements of this many processes."""
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = [mpiexec, "-n", str(processes), sys.executable, "-m", "benchmarks.scaling_worker", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def by_batch(processes, what, options, threads=ONE_THREAD):
    """Return the times of steps on batches of several sizes."""
    of = {}
    for batch in BATCHES:
        of[batch] = measured(processes, what, *options, "--batch", batch, "--sizes", *SIZES, threads=threads)["of"]
    return of


def fastest(seconds):
    """Return the fastest round, since disturbances only make a measurement slower."""
    return min(seconds)


def measure(processes, rounds):
    """Measure everything, and fit the model."""
    parameters = model.parameters_of(SIZES)
    options = ("--rounds", rounds)
    exchanges = measured(processes, "exchanges", *options, "--sizes", *BYTES)
    steps = {p: by_batch(p, "steps", options) for p in (1, processes)}
    usual = by_batch(1, "usual", options, threads={name: str(processes) for name in ONE_THREAD})
    parts = {
        p: {batch: measured(p, "parts", *options, "--batch", batch, "--sizes", *SIZES)["of"] for batch in (100, 200)}
        for p in (1, processes)
    }
    of_change = fastest(parts[1][100]["change"])
    link = model.fitted_link(*zip(*((e["bytes"], fastest(e["seconds"])) for e in exchanges["of"]), strict=True))
    compute = model.fitted_compute(BATCHES, [fastest(steps[1][batch]) for batch in BATCHES], of_change, parameters)
    held = {}
    for batch in BATCHES:
        expected = compute.seconds(batch, processes, parameters) + link.seconds(4 * (parameters + 2))
        seen = fastest(steps[processes][batch])
        held[batch] = {"model": expected, "measured": seen, "speedup": fastest(steps[1][batch]) / seen}
    return {
        "usual": usual,
        "library": exchanges["library"],
        "processes": processes,
        "threads_of_a_process": 1,
        "sizes": SIZES,
        "exchanges": exchanges["of"],
        "steps": steps,
        "parts": parts,
        "link": link._asdict(),
        "compute": compute._asdict(),
        "held_to": held,
    }


def tables(found):
    """Return tables of the measurements in Markdown."""
    p, lines = found["processes"], ["| bytes | all-reduce | GB/s | model |", "|---:|---:|---:|---:|"]
    link = model.Link(**found["link"])
    for exchange in found["exchanges"]:
        seconds, n_bytes = fastest(exchange["seconds"]), exchange["bytes"]
        expected = link.seconds(n_bytes)
        lines.append(f"| {n_bytes:,} | {show(seconds)} | {n_bytes / seconds / 1e9:.2f} | {show(expected)} |")
    lines += [
        "",
        f"| batch | 1 process | {p} processes | speed-up | model | one, compiled, {p} threads |",
        "|" + "---:|" * 6,
    ]
    for batch, held in found["held_to"].items():
        alone = show(fastest(found["steps"]["1"][batch]))
        usual = fastest(found["usual"][batch])
        columns = (alone, show(held["measured"]), f"{held['speedup']:.2f}", show(held["model"]), show(usual))
        lines.append(f"| {int(batch):,} | {' | '.join(columns)} |")
    names = ("forward", "backward", "sum", "change")
    lines += ["", f"| processes | samples in each | {' | '.join(names)} |", f"|{'---:|' * 6}"]
    for p, of_batch in found["parts"].items():
        for batch, parts in of_batch.items():
            lines.append(f"| {p} | {batch} | {' | '.join(show(fastest(parts[name])) for name in names)} |")
    return "\n".join(lines)


def predictions():
    """Return a table of the model's predictions for GPUs, none of which is measured."""
    lines = ["| network | batch | way | " + " | ".join(f"{p:,} GPU{'s' * (p > 1)}" for p in (1, 8, 64, 1024)) + " |"]
    lines.append("|---|---|---|" + "---:|" * 4)
    ways = {"as it is": model.LAUNCHES, "in graphs": model.LAUNCHES_OF_A_GRAPH}
    for sizes in (SIZES, WIDE):
        for kind, of in (("in all", lambda p: 8192), ("per GPU", lambda p: 1024 * p)):
            for way, launches in ways.items():
                alone = None
                cells = []
                for p in (1, 8, 64, 1024):
                    seconds, exchanged = model.predicted_step(sizes, of(p), p, launches)
                    speed = of(p) / seconds
                    alone = alone or speed
                    cells.append(f"{show(seconds)}, x{speed / alone:.1f}, {exchanged:.0%}")
                name, batch = "-".join(map(str, sizes)), "8,192 in all" if kind == "in all" else "1,024 per GPU"
                lines.append(f"| {name} | {batch} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show(seconds):
    """Format seconds in a suitable unit."""
    for suffix, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {suffix}"
    return f"{seconds * 1e6:.3g} µs"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--predict", action="store_true", help="print the prediction for GPUs, and measure nothing")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="tables of a result file")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    if options.predict:
        print(predictions())
        return
    if options.source:
        print(tables(json.loads(options.source.read_text())))
        return
    result = provenance()
    result |= measure(options.processes, options.rounds)
    path = options.output or ROOT / "benchmarks" / "results" / f"{result['date'][:10]}-scaling.json"
    result = json.loads(json.dumps(result))
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(tables(result), path, sep="\n")


if __name__ == "__main__":
    main()
