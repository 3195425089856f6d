"""Plant faults and run the tests: ``python -m tests.mutations``; ``--help`` has the options."""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.mutations.runner import FOLDERS, OPTIONS, import_libraries, run
from tests.mutations.sites import mutations

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
SEED, COUNT = 1986, 200
GENERATORS = tuple(f"gpubp/engine/{name}" for name in ("cpu/generate", "cpu/loops_in_c", "cpu/settings", "tracing/"))
WIDER = ["tests/training", *(f"tests/estimators/test_{name}.py" for name in ("trajectories", "kept_runners"))]
QUICK_ON_CUDA = ("connections", "equations", "branches", "outputs", "device")  # with few kernels to compile
LIBRARY = "tests/engine/test_library.py"
REFUSALS = ["tests/regressions/test_extreme_targets.py", "tests/optim/test_first_order.py"]
TRAINED = ["tests/engine/test_cpu.py", "tests/engine/test_loss_scaling.py"]
ROW = ("path", "line", "nth", "kind", "before", "after")
TESTS = {  # of the files whose paths begin so; the first that fits counts
    **{f"gpubp/engine/cpu/{name}.py": [LIBRARY, "tests/engine"] for name in ("build_hook", "compiler", "library")},
    **{path: ["tests/engine/test_generated.py", "tests/engine", "tests/backends", *WIDER] for path in GENERATORS},
    "gpubp/engine/cuda": [f"tests/engine/test_cuda_{name}.py" for name in QUICK_ON_CUDA] + ["tests/engine", *WIDER],
    "gpubp/engine/argument_checks": ["tests/engine", *REFUSALS, "tests/backends", *WIDER],
    "gpubp/engine": ["tests/engine", "tests/backends", *WIDER],
    "gpubp/nn": ["tests/nn", "tests/optim", *TRAINED, *WIDER],
    "gpubp/optim": ["tests/optim", *TRAINED, "tests/backends/test_matmul_precision.py", *WIDER],
}
# these compare texts, which a fault changes in any case, or take long
LEFT_OUT = ("test_generated.py", "test_nvrtc.py", "test_fuzz.py", "test_library.py")


def chosen():
    """Choose mutations by their hashes: at random, and most of them again after a source has changed."""
    every = []
    for folder in FOLDERS:
        for path in sorted((ROOT / "gpubp" / folder).rglob("*.py")):
            every += mutations(path.relative_to(ROOT).as_posix(), path.read_bytes())
    return sorted(every, key=_hash)[:COUNT]


def _hash(mutation):
    described = repr((SEED, mutation.path, mutation.nth, mutation.kind, mutation.before, mutation.after))
    return hashlib.sha256(described.encode()).digest()


def tests_of(path):
    """Return the tests of a source: its own file first, so that most faults are found soon."""
    _, *folders, name = Path(path).with_suffix("").parts
    own = [f"tests/{'/'.join(folders[:depth])}/test_{name}.py" for depth in range(1, len(folders) + 1)]
    others = next(tests for begin, tests in TESTS.items() if path.startswith(begin))
    found = [ROOT / name for name in (*own, *others)]
    files = []
    for place in found:
        if place.is_dir():
            files += [file for file in sorted(place.glob("test_*.py")) if file.name not in LEFT_OUT]
        elif place.exists():
            files.append(place)
    return [str(file.relative_to(ROOT)) for file in dict.fromkeys(files)]


def run_with(copy, mutation, tests):
    """Run the tests of a file with a fault; return what fails, or None if nothing does.

    Those that execute the changed lines run first, and then all others.
    """
    files, executing = tests_of(mutation.path), set()
    with planted(copy, mutation):
        if mutation.path.startswith(GENERATORS) and (failed := generate_and_compile(copy)):
            return failed
        for file in files:
            record = tests.record(file)
            names = executed_by(record, mutation)
            executing |= names
            if names and (failed := run(copy, [file], names.__contains__, record["seconds"])):
                return failed
        failed = run(copy, files, lambda name: name not in executing)
    # they have not run in this order and company before
    if failed and (also := run(tests.copy, files, lambda name: name not in executing)):
        raise SystemExit(f"{also} fails without a fault")
    return failed


def executed_by(record, mutation):
    """Return the names of the recorded tests that execute the changed lines; all, if these run on import."""
    names, found = list(record["seconds"]), set()
    for line in range(mutation.line, mutation.last_line + 1):
        numbers = record["lines"].get(f"{mutation.path}:{line}")
        found |= set(names if numbers == [] else (names[number] for number in numbers or ()))
    return found


@contextmanager
def planted(copy, mutation):
    """Plant a fault, and take it back with all that was made from it."""
    path = copy / mutation.path
    made = [*(copy / "gpubp/engine/cpu/c/generated").iterdir(), *(copy / "gpubp/engine/cpu").glob("_engine.*")]
    before = {file: (file.read_bytes(), file.stat().st_mtime) for file in (path, *made)}
    path.write_bytes(mutation.apply(before[path][0]))
    # Python knows its compiled form by this time, in seconds, and by its size
    os.utime(path, 2 * (int.from_bytes(_hash(mutation)[:4]) >> 1,))
    try:
        yield
    finally:
        for file, (content, when) in before.items():
            if file == path or file.read_bytes() != content:
                file.write_bytes(content)
                os.utime(file, (when, when))


def generate_and_compile(copy):
    """Write the C of the engine, and compile it if it is another; return the command that fails, or None."""
    folder = copy / "gpubp/engine/cpu/c/generated"
    before = {file: file.read_bytes() for file in folder.iterdir()}
    environment = os.environ | {"PYTHONPATH": str(copy)}
    for command in ("generate", "compiler"):
        if command == "compiler" and all(file.read_bytes() == text for file, text in before.items()):
            return None
        called = [sys.executable, "-m", f"gpubp.engine.cpu.{command}"]
        if subprocess.run(called, cwd=copy, env=environment, capture_output=True, check=False).returncode:
            return f"python -m gpubp.engine.cpu.{command}"
    return None


class RecordedTests:
    """What each file of tests executes, recorded when it is first needed, and kept in a folder."""

    def __init__(self, copy, folder):
        self.copy, self.folder = copy, folder  # a copy without a fault
        self.record = cache(self._record)

    def _record(self, file):
        path = self.folder / f"{Path(file).with_suffix('.json')}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            if failed := run(self.copy, [file], record=part):
                raise SystemExit(f"{failed} fails without a fault")
            part.replace(path)
        return json.loads(path.read_text())


def copy_of_the_project(folder):
    """Copy all files of the working tree that git knows, and the compiled engine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    engine = [path.relative_to(ROOT) for path in (ROOT / "gpubp/engine/cpu").glob("_engine.*")]
    for name in [*listed.split("\0")[:-1], *engine]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def hash_of_sources(folder):
    """Return a hash of the library and its tests: records hold for them alone."""
    paths = sorted(path for place in ("gpubp", "tests") for path in (folder / place).rglob("*.*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def main(arguments=None):
    """Run the mutations that have no result yet; return 1 if some that no test noticed have no explanation."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--again", action="store_true", help="run those again that no test noticed")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin none after this time")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="every N-th, from K on")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="JSON")
    parser.add_argument("--records", type=Path, metavar="FOLDER", help="keep there what each test executes")
    parser.add_argument("--cuda", action="store_true", help="run the tests for GPUs, on CuPy with tests/cuda_on_cpu")
    options = parser.parse_args(arguments)
    OPTIONS.extend(["-p", "tests.cuda_on_cpu.plugin"] * options.cuda)
    import_libraries()
    end = time.monotonic() + 60 * options.minutes
    found = {row_key(row): row for row in read(options.output)}
    part, of_parts = options.part
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_the_project(Path(folder) / "copy")
        sound = copy_of_the_project(Path(folder) / "sound")
        records = (options.records or sound / ".records") / f"{hash_of_sources(sound)}{'-cuda' * options.cuda}"
        tests = RecordedTests(sound, records)
        # those first whose tests compile least
        for mutation in sorted(chosen()[part::of_parts], key=lambda mutation: mutation.path, reverse=True):
            row = {name: getattr(mutation, name) for name in ROW}
            earlier = found.get(row_key(row))
            is_done = earlier is not None and (earlier["found_by"] or not options.again)
            if is_done or time.monotonic() > end:
                continue
            found_by = run_with(copy, mutation, tests)
            # without the parameters of the test
            row["found_by"] = found_by and re.sub(r"\[.*\]", "", found_by)
            found[row_key(row)] = (earlier or {}) | row
            print(*found[row_key(row)].values(), sep=" | ", flush=True)
            options.output.write_text(json.dumps(list(found.values()), indent=1) + "\n")
    return int(any(not (row["found_by"] or row.get("why")) for row in found.values()))


def read(path):
    """Read the results so far."""
    return json.loads(path.read_text()) if path.exists() else []


def row_key(row):
    """Return what a mutation is known by."""
    return tuple(row[name] for name in ("path", "nth", "kind", "before", "after"))


if __name__ == "__main__":
    sys.exit(main())
