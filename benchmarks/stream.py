"""Training from a file larger than memory, compared with training in memory: rows per second, memory, disk speed.

``python -m benchmarks.stream --gigabytes 20`` writes a file of this size in blocks to a temporary folder, trains on it
and deletes it. Before each run the file is dropped from the page cache. Each run is a separate
process, which trains on a few rows first, so that compilation is not timed; its peak of resident memory is VmHWM of
Linux. Training in memory uses as many rows as fit; "part" is the ratio of the stream's rows per second to those in
memory, each the best of some rounds in turns. The results go to a JSON file, with the machine and its load.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import machine

INPUTS, CLASSES, BATCH = 256, 10, 256
WIDTH = INPUTS + 1  # the last column numbers the class
NETWORKS = {"256-256-10": (256, 256, 10), "256-4-10": (256, 4, 10)}
RESULTS = Path(__file__).parent / "results"
MIB, GB = 1 << 20, 10**9


def write_file(path, n_rows):
    """Write rows of normal numbers, and a class that depends on some of them; each block is shifted a little."""
    at_once = 50_000
    first = np.random.default_rng(0).standard_normal((min(at_once, n_rows), WIDTH), dtype="float32")
    first[:, -1] = first[:, :CLASSES].argmax(axis=1)
    block = first.copy()
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, WIDTH)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for start in range(0, n_rows, at_once):
            np.add(first[:, :-1], np.float32(start / n_rows), out=block[:, :-1])
            file.write(block[: n_rows - start].data)
        file.flush()
        os.fsync(file.fileno())


def drop_from_page_cache(path):
    """Ask the system to drop a file from the page cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_speed(path, *, in_order, most=2 * GB):
    """Read blocks of a MiB, in the file's order or in random order; return bytes per second."""
    drop_from_page_cache(path)
    starts = np.arange(0, min(most, path.stat().st_size - MIB), MIB)
    if not in_order:
        starts = np.random.default_rng(0).integers(0, path.stat().st_size - MIB, len(starts))
    into, began = memoryview(bytearray(MIB)), time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        for start in starts.tolist():
            file.seek(start)
            file.readinto(into)
    return len(starts) * MIB / (time.perf_counter() - began)


def peak_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def run(path, sizes, memory, rows_in_memory):
    """Train one epoch on the stream or, with ``rows_in_memory``, several epochs on these."""
    from gpubp import Network, open_stream, train

    network, seen = Network(sizes, loss="cross_entropy", output_activation="softmax"), []
    rows = np.load(path, mmap_mode="r")
    how = {"batch_size": BATCH, "device": "cpu", "history": False}

    def in_memory(n):
        part = np.array(rows[:n])
        return np.ascontiguousarray(part[:, :-1]), np.eye(CLASSES, dtype="float32")[part[:, -1].astype(int)]

    # as many steps as later, so that the same code is compiled
    train(network, *in_memory(40 * BATCH), epochs=200, callbacks=[lambda progress: progress.epoch > 1], **how)
    before = peak_memory()
    if rows_in_memory:
        samples, epochs = in_memory(rows_in_memory), 3
    else:
        samples, epochs = (open_stream(path, target_columns=1, classes=CLASSES, memory=memory),), 1
    times, began = os.times(), time.perf_counter()
    train(
        network, *samples, epochs=epochs, callbacks=[lambda progress: seen.append(progress.samples_per_second)], **how
    )
    seconds, spent = time.perf_counter() - began, os.times()
    return {
        "rows_per_second": max(seen),
        "seconds": seconds,
        "computing_seconds": spent.user + spent.system - times.user - times.system,
        "peak_bytes": peak_memory(),
        "peak_bytes_before": before,
        "epochs": epochs,
    }


def run_in_process(path, sizes, memory, rows_in_memory=0):
    drop_from_page_cache(path)
    options = json.dumps([str(path), sizes, memory, rows_in_memory])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stream", "--run", options], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measure(path, n_rows, memory, rounds):
    bytes_of_row = WIDTH * 4
    part = int(min(n_rows, 1.5 * GB // bytes_of_row))
    found = {"disk_bytes_per_second": {"in_order": disk_speed(path, in_order=True)}}
    found["disk_bytes_per_second"]["random_mib"] = disk_speed(path, in_order=False)
    found["networks"] = {}
    for name, sizes in NETWORKS.items():
        runs = {"stream": [], "memory": []}
        for _ in range(rounds):
            runs["memory"].append(run_in_process(path, sizes, memory, part))
            runs["stream"].append(run_in_process(path, sizes, memory))
        best = {kind: max(run["rows_per_second"] for run in of_kind) for kind, of_kind in runs.items()}
        found["networks"][name] = {
            "part_of_in_memory": best["stream"] / best["memory"],
            "stream_bytes_per_second": best["stream"] * bytes_of_row,
            "runs": runs,
        }
    return found | {"rows": n_rows, "rows_in_memory": part, "bytes_of_a_row": bytes_of_row, "memory": memory}


def print_table(found):
    disk = found["disk_bytes_per_second"]
    print(f"the disk: {disk['in_order'] / GB:.2f} GB/s in order, {disk['random_mib'] / GB:.2f} GB/s in random order")
    print(f"{'network':12}  stream rows/s  memory rows/s  part  stream GB/s  stream's peak MiB")
    for name, figures in found["networks"].items():
        rates = {kind: max(run["rows_per_second"] for run in of_kind) for kind, of_kind in figures["runs"].items()}
        peak = max(run["peak_bytes"] for run in figures["runs"]["stream"])
        print(
            f"{name:12}  {rates['stream']:13,.0f}  {rates['memory']:13,.0f}  {figures['part_of_in_memory']:4.2f}  "
            f"{figures['stream_bytes_per_second'] / GB:11.2f}  {peak / MIB:17,.0f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", help="folder for the temporary file; by default, the system's")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        print(json.dumps(run(*json.loads(chosen.run))))
        return
    n_rows = int(chosen.gigabytes * GB / (WIDTH * 4))
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        free = shutil.disk_usage(folder).free
        if free < 1.1 * n_rows * WIDTH * 4:
            sys.exit(f"{folder} has only {free / GB:.1f} GB free; pass another --folder, or fewer --gigabytes")
        path, facts = Path(folder) / "rows.npy", machine.provenance()
        write_file(path, n_rows)
        found = facts | measure(path, n_rows, chosen.memory_mib * MIB, chosen.rounds)
    found["load_after"] = os.getloadavg()[0]
    print_table(found)
    output = chosen.output or RESULTS / f"{datetime.date.today().isoformat()}-stream.json"
    output.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {output}")


if __name__ == "__main__":
    main()
