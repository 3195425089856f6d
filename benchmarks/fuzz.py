"""``python -m benchmarks.fuzz``: thousands of hostile files, each of which must be read correctly or refused.

A process with limited memory reads them one at a time and reports for each the time, the memory and the outcome. If the
process dies or hangs, the file that it did not report has failed. Files that fail are stored; ``--first N --files 1``
with the same seed generates the N-th again.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import forged_files
from benchmarks.machine import ROOT, provenance, write_result
from benchmarks.page import FIGURES

TIMES_THE_FILE, TIMES_THE_HEADER, CONSTANT = 2, 40, 2**20
"""Most memory for a file: twice its size, 40 bytes for each byte of its JSON, and a MiB."""
SECONDS = 1.0
"""Most processor time for reading a file. The use of a model that was read has no limit."""
SILENCE = 60
"""Seconds after which a file that is not reported has failed."""
EXTRA_MEMORY = 2**30
"""Address space that the process may take in addition to what it has when it begins."""


class Kind(NamedTuple):
    """A kind of file: valid files to start from, mutations of them, a reader, and a user of what was read."""

    name: str
    valid_files: Any
    mutations: dict[str, Any]
    read: Any
    use: Any


def read_model(path):
    from gpubp import load_model

    return load_model(path)


def use_model(model, path):
    """Show, predict, export, explain: no model must make these fail, or control a terminal or a browser."""
    from gpubp import predict_table
    from gpubp.data.preprocessing import CategoryColumn, preprocessing_of
    from gpubp.errors import DataError, ModelFileError

    assert repr(model).isprintable()
    command("show", path)
    output = command("show", path, "--json")
    assert not output or isinstance(json.loads(output), dict)
    if find_spec("onnx"):
        command("export", path, f"{path}.onnx")
    try:
        preprocessing = preprocessing_of(model)
    except ModelFileError:
        return
    columns = {
        column.name: list(column.categories[:1]) * 2 if isinstance(column, CategoryColumn) else [column.mean, 0.5]
        for column in preprocessing.columns
    }
    with contextlib.suppress(DataError):
        predict_table(model, columns, device="cpu")
    table, page = Path(f"{path}.csv"), Path(f"{path}.html")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [list(columns) + list(preprocessing.target_names), *zip(*columns.values(), strict=True)]
        )
    output = command("predict", path, table, "--device", "cpu", "--json")
    assert not output or isinstance(json.loads(output), dict)
    command("predict", path, table, "--device", "cpu", "--output", f"{path}.out.csv", control=True)
    page.unlink(missing_ok=True)
    command("explain", path, "--data", table, "--html", page)
    if page.exists():
        text = page.read_text(encoding="utf-8")
        assert text.count("<script") == 1
        assert "<img" not in text


def command(*arguments, control=False):
    """Run a command as ``gpubp`` does and return its stdout, which like its stderr must be safe for a terminal."""
    from gpubp.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    message = out.getvalue() + err.getvalue()
    assert code in (0, 2), f"{arguments[0]} ended with {code}"
    assert "Traceback" not in message
    assert control or all(c.isprintable() or c == "\n" for c in message), f"{arguments[0]} sends control characters"
    assert code == 0 or err.getvalue().splitlines()[-1].startswith("error: "), err.getvalue()[:200]
    return out.getvalue() if code == 0 else ""


def read_checkpoint(path):
    from gpubp.training.checkpoints import Checkpoints, open_folder

    return open_folder(Checkpoints(path.parent), resume=True)


def use_checkpoint(found, path):
    """Resume each run that a checkpoint may belong to; it must fit, or be refused with a message."""
    import gpubp

    for given, options in forged_files.checkpointed_runs():
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # training may diverge with these numbers
            shutil.copy(path, folder)
            try:
                gpubp.train(*given, checkpoint=folder, resume=True, **options)
            except gpubp.CheckpointError as error:
                message = str(error)
                assert message.isprintable() and len(message) < 2000, f"an unreadable refusal: {message[:300]!r}"  # noqa: PT018


KINDS = {
    "model": Kind("file.safetensors", forged_files.valid_models, forged_files.MODEL, read_model, use_model),
    "checkpoint": Kind(
        "checkpoint-00000002-00000.safetensors",
        *(forged_files.valid_checkpoints, forged_files.CHECKPOINT, read_checkpoint, use_checkpoint),
    ),
}


def allowed(path):
    """Return the memory that a file may take."""
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        header = min(int.from_bytes(file.read(8), "little"), size)
    return TIMES_THE_FILE * size + TIMES_THE_HEADER * header + CONSTANT


def judged(kind, path, *, most_seconds=SECONDS):
    """Read a file, use what was read, and return the outcome, the time and the memory."""
    from gpubp.errors import GpubpError

    result, read = {"outcome": "read"}, None
    began, worked = time.perf_counter(), time.process_time()
    try:
        read = kind.read(path)
    except GpubpError as error:
        result["outcome"] = "refused"
        result["why"] = re.match(r"[a-z ,]*", str(error).rpartition(f"{path.name} ")[2])[0].strip(" ,")
        if not str(error).isprintable() or len(str(error)) > 2000 or path.name not in str(error):
            result |= failure(f"its refusal is unreadable: {str(error)[:300]!r}")
    except Exception as error:
        result = failure(f"{type(error).__name__}: {error}"[:300])
    result["seconds"], result["cpu_seconds"] = time.perf_counter() - began, time.process_time() - worked
    tracemalloc.start()  # a second time, as tracing memory takes far longer than reading
    with contextlib.suppress(Exception):
        kind.read(path)
    result["peak"] = tracemalloc.get_traced_memory()[1]
    result["of_allowed"] = result["peak"] / allowed(path)
    tracemalloc.stop()
    if result["of_allowed"] > 1:
        result |= failure(f"{result['peak']:,} bytes were taken, {allowed(path):,} are allowed")
    if most_seconds and result["cpu_seconds"] > most_seconds:
        result |= failure(f"it took {result['cpu_seconds']:.2f} s of the processor")
    if read is not None and result["outcome"] == "read":
        began = time.perf_counter()
        try:
            kind.use(read, path)
        except Exception as error:
            result |= failure(f"in use: {type(error).__name__}: {error}"[:300])
        result["seconds_in_use"] = time.perf_counter() - began
    return result


def failure(reason):
    return {"outcome": "failed", "reason": reason}


# --- the process that reads ---


def work(name, seed, first, last):
    """Read files and report each as a line of JSON on the original stdout."""
    kind = KINDS[name]
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    files = kind.valid_files()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "files", kind.name)
        path.parent.mkdir()
        for content in files:  # all of these must be read, which also loads all modules
            path.write_bytes(content)
            assert judged(kind, path, most_seconds=None)["outcome"] == "read"
        limit_memory(EXTRA_MEMORY)
        before = resident("VmHWM")
        for n in range(first, last):
            how, content = forged_files.file_number(name, kind.mutations, files, seed, n)
            path.write_bytes(content)
            result = judged(kind, path)
            result |= {"n": n, "how": how, "size": len(content), "grown": resident("VmHWM") - before}
            print(json.dumps(result), file=reports, flush=True)


def limit_memory(extra):
    """Limit this process to `extra` bytes of address space beyond what it has."""
    with contextlib.suppress(ImportError):
        import resource

        most = resident("VmSize") + extra
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def resident(what):
    """Return a figure of this process's memory in bytes; 0 if the system does not report it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
    return 0


# --- the process that supervises it ---


def results(name, seed, first, last, silence=SILENCE):
    """Read files in a separate process, and in a new one after each file that it did not survive."""
    while first < last:
        command_line = [sys.executable, "-m", "benchmarks.fuzz", "--work", name, str(seed), str(first), str(last)]
        process = subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = queue.SimpleQueue()
        message = []
        listeners = [
            threading.Thread(target=pass_on, args=(process.stdout, lines)),
            threading.Thread(target=message.extend, args=(process.stderr,)),
        ]
        for listener in listeners:
            listener.start()
        try:
            while (line := lines.get(timeout=silence)) is not None:
                yield (result := json.loads(line))
                first = result["n"] + 1
            if first < last:
                words = message[-1].strip()[:200] if message else ""
                yield failure(f"the process ended with {process.wait()}: {words}") | {"n": first}
        except queue.Empty:
            yield failure(f"no end in {silence} s") | {"n": first}
        finally:
            process.kill()
            for listener in listeners:
                listener.join()
            process.communicate()
        first += 1


def pass_on(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)


def summary(found):
    """Summarise the results of the files of one kind."""
    read = [result for result in found if "seconds" in result]
    of = Counter((result.get("how"), result["outcome"]) for result in found)
    return {
        "files": len(found),
        "outcomes": dict(Counter(result["outcome"] for result in found)),
        "by_mutation": {
            how: {o: n for (h, o), n in sorted(of.items(), key=str) if h == how}
            for how in sorted({str(h) for h, _ in of})
        },
        "refusals": dict(Counter(result["why"] for result in found if "why" in result).most_common()),
        "bytes": sum(result["size"] for result in read),
        "largest_file": max(result["size"] for result in read),
        "slowest_reading_cpu_s": round(max(result["cpu_seconds"] for result in read), 4),
        "slowest_reading_s": round(max(result["seconds"] for result in read), 4),
        "slowest_use_s": round(max((result.get("seconds_in_use", 0.0) for result in read), default=0.0), 4),
        "largest_peak_bytes": max(result["peak"] for result in read),
        "largest_part_of_allowed": round(max(result["of_allowed"] for result in read), 4),
        "resident_memory_grew_by": max(result["grown"] for result in read),
        "failures": [
            {key: result.get(key) for key in ("n", "how", "reason")}
            for result in found
            if result["outcome"] == "failed"
        ],
    }


def worst(size):
    """Read the worst model file of each kind, of about `size` bytes; return the figures of each."""
    kind, found = KINDS["model"]._replace(use=lambda read, path: None), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, kind.name)
        for how, make in forged_files.LARGE.items():
            path.write_bytes(make(size))
            result, n_bytes = judged(kind, path, most_seconds=None), path.stat().st_size
            figures = {key: result[key] for key in ("outcome", "cpu_seconds", "peak", "of_allowed")}
            found[how] = {"bytes": n_bytes} | figures
    return found


def store(name, seed, result, folder):
    """Store a file that failed."""
    kind = KINDS[name]
    how, content = forged_files.file_number(name, kind.mutations, kind.valid_files(), seed, result["n"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{seed}-{result['n']}.safetensors"
    path.write_bytes(content)
    again = f"python -m benchmarks.fuzz --kinds {name} --seed {seed} --first {result['n']} --files 1"
    print(f"{how}: {result['reason']}\n    stored as {path}; again: {again}", flush=True)


def main(arguments=None):
    """Run the command line; return 1 if a file failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description="Hostile files for gpubp's readers.")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--files", type=int, default=2000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--output", type=Path, help="the result file (.json)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="the folder for files that fail")
    parser.add_argument("--worst", type=int, metavar="BYTES", help="read the worst model files of that size instead")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        name, *numbers = options.work
        work(name, *map(int, numbers))
        return 0
    if options.worst:
        result = provenance() | {"worst-files": worst(options.worst)}
        print(*FIGURES["worst-files"]([result]), write_result(result, "worst-files", options.output), sep="\n")
        return 0
    limits = {"times_the_file": TIMES_THE_FILE, "times_the_header": TIMES_THE_HEADER, "constant": CONSTANT}
    limits |= {"seconds": SECONDS, "address_space": EXTRA_MEMORY}
    figures = provenance() | {"seed": options.seed, "first": options.first, "limits": limits, "kinds": {}}
    for name in options.kinds:
        found = []
        for result in results(name, options.seed, options.first, options.first + options.files):
            found.append(result)
            if result["outcome"] == "failed":
                store(name, options.seed, result, options.keep)
        figures["kinds"][name] = summary(found)
        shown = {key: value for key, value in figures["kinds"][name].items() if not isinstance(value, dict)}
        print(f"{name}: {json.dumps(shown)}", flush=True)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")
    return int(any(kind["failures"] for kind in figures["kinds"].values()))


if __name__ == "__main__":
    sys.exit(main())
