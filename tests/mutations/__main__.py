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
from pathlib import Path

from tests.mutations.sites import mutations

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
FOLDERS = ("nn", "optim", "engine")
SEED, COUNT = 1986, 200
SECONDS = 900  # a fault may end in an endless loop
WIDER = ["tests/training", *(f"tests/estimators/test_{name}.py" for name in ("trajectories", "kept_runners"))]
TESTS = {  # of the files whose paths begin so; the first that fits counts
    "gpubp/engine/cuda": [f"tests/engine/test_{name}.py" for name in ("cuda_kernels", "cuda")] + ["tests/engine"],
    "gpubp/engine": ["tests/engine", "tests/backends", *WIDER],
    "gpubp/nn": ["tests/nn", "tests/optim", "tests/engine/test_cpu.py", *WIDER],
    "gpubp/optim": ["tests/optim", "tests/engine/test_cpu.py", "tests/backends/test_matmul_precision.py", *WIDER],
}
# these compare texts, not what they compute, or take long
LEFT_OUT = ("test_generated.py", "test_nvrtc.py", "test_fuzz.py", "test_library.py")
CHOICE = "not jax and not torch"  # slow to begin, and the same equations


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
    files = [file for place in found for file in (sorted(place.glob("test_*.py")) if place.is_dir() else [place])]
    return [str(file.relative_to(ROOT)) for file in dict.fromkeys(files) if file.exists() and file.name not in LEFT_OUT]


def run_with(copy, mutation):
    """Run the tests of a file with a fault; return the test that fails, or None if none does."""
    path = copy / mutation.path
    source = path.read_bytes()
    path.write_bytes(mutation.apply(source))
    try:
        return run(copy, tests_of(mutation.path))
    finally:
        path.write_bytes(source)


def run(copy, tests, seconds=SECONDS):
    """Run tests; return the first that fails, or None if none does."""
    options = ["-x", "-q", "-n", "0", "-k", CHOICE, "-p", "no:cacheprovider", "--tb", "no", "-r", "fE"]
    environment = os.environ | {"PYTHONPATH": str(copy), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, timeout=seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end within {seconds} s"
    if not done.returncode:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$", done.stdout, re.MULTILINE)
    return failed.group(1) if failed else (done.stdout + done.stderr).strip().splitlines()[-1][:200]


def copy_of_the_project(folder):
    """Copy all files of the working tree that git knows, and the compiled engine."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    engine = [path.relative_to(ROOT) for path in (ROOT / "gpubp/engine/cpu").glob("_engine.*")]
    for name in [*listed.split("\0")[:-1], *engine]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def main(arguments=None):
    """Run the mutations that have no result yet; return 1 if some that no test noticed have no explanation."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--again", action="store_true", help="run those again that no test noticed")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin none after this time")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="every N-th, from K on")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="JSON")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    found = {row_key(row): row for row in read(options.output)}
    part, of_parts = options.part
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_the_project(Path(folder))
        mutated = chosen()[part::of_parts]
        every_test = sorted({test for mutation in mutated for test in tests_of(mutation.path)})
        if failed := run(copy, every_test, seconds=None):
            raise SystemExit(f"{failed} fails without a fault")
        for mutation in mutated:
            row = {name: value for name, value in mutation._asdict().items() if name not in ("start", "end")}
            earlier = found.get(row_key(row))
            is_done = earlier is not None and (earlier["found_by"] or not options.again)
            if is_done or time.monotonic() > end:
                continue
            found[row_key(row)] = (earlier or {}) | row | {"found_by": run_with(copy, mutation)}
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
