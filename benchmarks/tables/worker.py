"""A process that has imported a contender's library, and forks for each fit: so a fit has a process of its own.

``python -m benchmarks.tables.worker NAME`` imports what the contender needs, and reads requests, a line of JSON each.
The fork reads its form of the inputs, fits, predicts the test rows, and writes ``outputs.npy`` and ``facts.json`` to
the folder of the inputs. A line of JSON answers with its CPU time and exit status.
"""

import contextlib
import json
import os
import pickle
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.tables.contenders import Job, described
from benchmarks.worker import die_first, memory, resident

FEW = 60
"""Rows of the first fit."""


def main(arguments=None):
    (name,) = arguments or sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries is not an answer
    warnings.simplefilter("ignore")
    for task in ("classification", "regression"):
        described(name)[0].make(Job(task, 0, 1, 1.0))
    for line in sys.stdin:
        request = json.loads(line)
        if not (pid := os.fork()):
            answer_in(Path(request["folder"]), request)
        _, status, usage = os.wait4(pid, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "cpu_seconds": usage.ru_utime + usage.ru_stime}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def answer_in(folder, request):
    """Do a request in this process, and end it."""
    die_first()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["limit"])  # ends a process that takes too long
    try:
        outputs, facts = fit(folder, request)
        np.save(folder / "outputs.npy", outputs)
    except Exception as error:  # whatever a library raises is its result
        facts = {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    os._exit(0)


def fit(folder, request):
    """Return the outputs for the test rows, ``(n,)`` or ``(n, k)`` probabilities, and the time and memory of it all.

    Imports and reading the inputs are not counted. Libraries load much of themselves in their first fit, so there is
    one on a few rows before.
    """
    contender, _, seconds = described(request["contender"])
    with (folder / f"{contender.form}.pickle").open("rb") as file:
        inputs = pickle.load(file)
    job = Job(request["task"], request["seed"], request["threads"], seconds)
    with contextlib.suppress(Exception):  # some need more rows, or all classes
        contender.make(job).fit(*_few(inputs))
    model = contender.make(job)
    before, wall, cpu = resident(), time.perf_counter(), time.process_time()
    model, remark = _fitted(model, inputs["old"], inputs["y"])
    fitted = time.perf_counter(), time.process_time()
    outputs = _outputs(model, inputs, request["task"])
    facts = {"seconds": fitted[0] - wall, "cpu_seconds": fitted[1] - cpu}
    facts |= {"predict_seconds": time.perf_counter() - fitted[0]} | memory(before)
    return outputs, facts | remark | _tried(model)


def _few(inputs):
    """Return some of the rows, evenly spaced."""
    X, y = inputs["old"], inputs["y"]
    rows = np.arange(0, len(y), -(-len(y) // FEW))
    if hasattr(X, "select"):
        return X.select(rows), y[rows]
    return (X.iloc[rows] if hasattr(X, "iloc") else X[rows]), y[rows]


def _fitted(model, X, y):
    """Fit; where scikit-learn's early stopping refuses a class of one row, without it."""
    try:
        return model.fit(X, y), {}
    except ValueError:
        if not getattr(model, "early_stopping", False) or type(model).__module__.partition(".")[0] != "sklearn":
            raise
        return model.set_params(early_stopping=False).fit(X, y), {"remark": "without early stopping"}


def _outputs(model, inputs, task):
    if task == "regression":
        return np.asarray(model.predict(inputs["new"]), np.float64).reshape(-1)
    found = np.asarray(model.predict_proba(inputs["new"]), np.float64)
    probabilities = np.zeros((len(found), int(inputs["y"].max()) + 1))
    probabilities[:, np.asarray(model.classes_).astype(int)] = found
    return probabilities


def _tried(model):
    """Return how many candidates gpubp's search tried."""
    trials = getattr(model, "trials_", ())
    return {"trials": len(trials)} if trials else {}


if __name__ == "__main__":
    main()
