"""The rows and inputs that all contenders learn from, of one table and one seed.

A fifth of the rows is for the test. What a column is, and how it becomes numbers, is decided from the other rows, as
gpubp does without options. Contenders get one of three forms of the same rows:

- ``table``: the columns as they were read, for gpubp, which reads them itself.
- ``one-hot``: gpubp's inputs for ``numbers="linear"``: scaled numbers, missing ones filled and marked, categories
  one-hot, parts of dates, words.
- ``codes``: the same, but a data frame in which each column of categories is one column of codes, for models that treat
  categories in their own way.
"""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp.data import read_table
from gpubp.data.preprocessing import CategoryColumn, encode, encode_target, has_target
from gpubp.tabular import prepare_table

TABLES = Path(__file__).parents[1] / "tables.json"
FORMS = ("table", "one-hot", "codes")


class Rows(NamedTuple):
    """What a table became: facts for the result file, and the targets of the test rows.

    Targets are numbers of classes, or numbers scaled by the mean and the deviation of the rows that are learned.
    """

    facts: dict[str, Any]
    learned: np.ndarray
    tested: np.ndarray
    scale: float


def load_table(folder, named, work):
    """Read a table of `tables.json`; a data frame in a pickle is written as CSV first."""
    path = folder / named["file"]
    if ".pkl" in path.name and path.exists():
        import pandas

        path = work / f"{path.name.partition('.')[0]}.csv"
        pandas.read_pickle(folder / named["file"], compression="xz").to_csv(path, index=False)
    return read_table(str(path))


def write_inputs(table, target, seed, work, most_rows=None):
    """Split a table, write each form of its rows to a folder, and return :class:`Rows`."""
    split = prepare_table(table, target=target, seed=seed, numbers="linear", dtype="float32")
    n_rows, rows = split.table.n_rows, split.table
    if most_rows is not None and n_rows > most_rows:
        kept = np.sort(np.random.default_rng(seed).permutation(n_rows)[:most_rows])
        split = prepare_table(
            rows.select(kept), target=target, seed=seed, task=split.task, numbers="linear", dtype="float32"
        )
        rows = split.table
    parts = split.parts
    learned = rows.select(np.sort(np.concatenate([parts["train"], parts["validation"]])))
    kept = {"target": target, "task": split.task, "numbers": "linear", "test_fraction": 0.0}
    prepared = prepare_table(learned, **kept, validation_fraction=0.0, dtype="float32")
    test = rows.select(parts["test"])
    test = test.select(has_target(prepared.preprocessing, test))  # without classes that no other row has
    X, X_test = prepared.X, encode(prepared.preprocessing, test, np.float32).X
    is_classes = split.task == "classification"
    y, y_test = prepared.targets, encode_target(prepared.preprocessing, test)
    y, y_test = (one.argmax(axis=1) if is_classes else one[:, 0] for one in (y, y_test))
    forms = {
        "table": (_without(prepared.table, target), _without(test, target)),
        "one-hot": (X, X_test),
        "codes": (as_codes(prepared.preprocessing, X), as_codes(prepared.preprocessing, X_test)),
    }
    for form, (old, new) in forms.items():
        with (work / f"{form}.pickle").open("wb") as file:
            pickle.dump({"old": old, "new": new, "y": y}, file, protocol=5)
    facts = {
        "task": split.task,
        "rows": n_rows,
        "learned": len(y),
        "tested": len(y_test),
        "columns": len(prepared.preprocessing.columns),
        "inputs": X.shape[1],
        **({"classes": int(prepared.n_outputs)} if is_classes else {}),
    }
    scale = 1.0 if is_classes else prepared.preprocessing.target.scales[0]
    return Rows(facts, y, y_test, scale)


def as_codes(preprocessing, X):
    """Return inputs as a data frame in which each column of categories is one column of codes; -1 is none of them."""
    import pandas

    columns, begin = {}, 0
    for column in preprocessing.columns:
        part, begin = X[:, begin : begin + len(column.inputs)], begin + len(column.inputs)
        if isinstance(column, CategoryColumn):
            codes = np.where(part.any(axis=1), part.argmax(axis=1), -1)
            columns[column.name] = pandas.Categorical(codes, categories=range(-1, part.shape[1]))
        else:
            columns |= dict(zip(column.inputs, part.T, strict=True))
    frame = pandas.DataFrame(columns)
    frame.columns = [f"x{number}" for number in range(frame.shape[1])]  # LightGBM refuses some signs in names
    return frame


def _without(table, target):
    """Return a table without its target."""

    def others(named):
        return {name: value for name, value in named.items() if name != target}

    changed = {name: others(getattr(table, name)) for name in ("columns", "written", "kinds", "value_kinds")}
    return dataclasses.replace(table, **changed, targets=())


def named_tables():
    """Return the tables of `tables.json`, by set and name."""
    return json.loads(TABLES.read_text(encoding="utf-8"))
