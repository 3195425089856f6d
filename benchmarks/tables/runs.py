"""Run contenders on tables, each fit in a process of its own, and keep the result file in step."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import ROOT, provenance
from benchmarks.tables.contenders import described
from benchmarks.tables.inputs import load_table, write_inputs

SETTINGS = ("limit", "most_rows", "threads")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def new_result(settings):
    """Return an empty result."""
    return {"settings": settings, "runs": [], "sets": {}}


def run(result, sets, folder, contenders, seeds, *, keep, report, wait):
    """Fit what the result lacks: all tables with the first seed, then with the next one.

    Parameters
    ----------
    result : dict
        It is changed; `keep` is called after each fit.
    sets : dict
        As in `tables.json`.
    folder : Path
        Where the packages of the tables are.
    contenders : list of str
        Names as in :func:`.contenders.expanded`.
    seeds : int
    keep, report, wait : callable
        ``keep()`` writes the result, ``report(text)`` shows a line, ``wait()`` returns when the next fit may begin.
    """
    result["runs"].append(provenance())
    with Workers(result["settings"]) as workers:
        for seed in range(seeds):
            for set_name, tables in sets.items():
                for name, named in tables.items():
                    table = result["sets"].setdefault(set_name, {}).setdefault(name, dict(named))
                    try:
                        for contender, facts in _fits(table, folder, contenders, seed, workers, wait):
                            facts["run"] = len(result["runs"]) - 1
                            report(f"{set_name}, {name}, seed {seed}, {contender}: {json.dumps(facts)}")
                            keep()
                    except (ValueError, OSError) as error:
                        message = str(error).partition("\n")[0].replace(f"{folder}{os.sep}", "")
                        table["error"] = f"{type(error).__name__}: {message[:200]}"
                        report(f"{set_name}, {name}: {table['error']}")
                        keep()


def _fits(table, folder, contenders, seed, workers, wait):
    """Fit those contenders that a table lacks for a seed, and yield the figures of each."""
    found = table.setdefault("seeds", {}).get(str(seed), {"contenders": {}})
    missing = [one for one in contenders if one not in found["contenders"]]
    if not missing:
        return
    wait()
    table.pop("error", None)
    with tempfile.TemporaryDirectory() as named:
        work = Path(named)
        rows = write_inputs(load_table(folder, table, work), table["target"], seed, work, workers.settings["most_rows"])
        table |= {"task": rows.facts["task"], "rows": rows.facts["rows"]}
        table["seeds"][str(seed)] = found
        found |= rows.facts | {"baseline": scores(constant(rows), rows)}
        for contender in missing:
            wait()
            found["contenders"][contender] = workers.measure(contender, rows, seed, work)
            yield contender, found["contenders"][contender]


class Workers:
    """The processes that have imported the libraries; they end with the ``with`` block."""

    def __init__(self, settings):
        self.settings, self.running = settings, {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.running.values():
            process.kill()
            process.communicate()

    def measure(self, contender, rows, seed, work):
        """Return the scores, times and memory of one fit, or why it failed."""
        for name in ("facts.json", "outputs.npy"):
            (work / name).unlink(missing_ok=True)
        requested = {"contender": contender, "task": rows.facts["task"], "seed": seed, "folder": str(work)}
        answer = self._ask(contender, requested | {name: self.settings[name] for name in ("threads", "limit")})
        if answer is None:
            return {"failed": "its library could not be imported"}
        if answer["status"] == -signal.SIGALRM:
            return {"failed": f"stopped after {self.settings['limit']:g} s"}
        if answer["status"]:
            return {"failed": f"its process ended with status {answer['status']}"}
        facts = json.loads((work / "facts.json").read_text(encoding="utf-8"))
        if "failed" not in facts:
            outputs = np.load(work / "outputs.npy")
            if not np.isfinite(outputs).all():
                return {"failed": "predictions that are infinite or NaN"}
            facts = {"scores": scores(outputs, rows)} | facts | {"process_cpu_seconds": answer["cpu_seconds"]}
        return {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in facts.items()}

    def _ask(self, contender, request):
        """Return the answer of a process with the contender's library, None if there is no such process."""
        library = described(contender)[0].library
        if library not in self.running:
            environment = os.environ | dict.fromkeys(THREADS, str(self.settings["threads"]))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            command = [sys.executable, "-m", "benchmarks.tables.worker", contender]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.running[library] = subprocess.Popen(command, env=environment, text=True, **pipes)
        process = self.running[library]
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        except (OSError, ValueError):
            self.running.pop(library).kill()
            return None


def constant(rows):
    """Return the same prediction for each test row: the shares of the classes, or the mean."""
    if rows.facts["task"] == "regression":
        return np.full(len(rows.tested), rows.learned.mean())
    shares = np.bincount(rows.learned, minlength=rows.facts["classes"]) / len(rows.learned)
    return np.tile(shares, (len(rows.tested), 1))


def scores(outputs, rows):
    """Return accuracy and log loss, or R squared and root mean squared error in the units of the target.

    Probabilities are kept above the distance of float32 from 1 to the next number, so that the log loss is finite.
    """
    if rows.facts["task"] == "regression":
        errors = outputs - rows.tested
        spread = ((rows.tested - rows.tested.mean()) ** 2).sum()
        found = {"r2": 1.0 - (errors**2).sum() / spread if spread else np.nan}
        found["rmse"] = rows.scale * np.sqrt((errors**2).mean())
    else:
        floor = np.finfo(np.float32).eps
        shares = np.clip(outputs, floor, 1.0)
        shares /= shares.sum(axis=1, keepdims=True)
        found = {"accuracy": (outputs.argmax(axis=1) == rows.tested).mean()}
        found["log_loss"] = -np.log(shares[np.arange(len(shares)), rows.tested]).mean()
    return {name: float(f"{value:.6g}") for name, value in found.items()}
