"""Look for signs that held-out scores flatter: leaks, repeated rows, groups of rows, an order in time, few rows."""

import re
import warnings
from collections.abc import Sequence

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data.preprocessing import (
    FEW_CATEGORIES,
    FEW_INPUTS,
    MOST_INPUTS_TO_EMBED,
    CategoryColumn,
    ClassTarget,
    DateColumn,
    FeatureColumn,
    Preprocessing,
)
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.tabular.prepared_table import PreparedTable

MOST_ROWS = 10_000
"""Rows of each part that are looked at."""

MOST_COLUMNS = 200
"""Columns that are looked at alone; a tree for each takes a second or two."""

MOST_INPUTS = 2000
"""Inputs of which a weighted sum may be the target."""

ROWS_AT_ONCE = 1000
"""Rows that are copied together."""

LEAST_HELD_OUT = 20
"""With fewer held-out rows nothing is said."""

LEAK = 0.999
"""A column that predicts this share of held-out rows, or of their variance, alone is suspicious."""

EXACT = 0.999999
"""A target of which a weighted sum of columns explains this share was computed from them."""

REPEATED = 0.01
"""A note is given if more than this share of the held-out rows occurs in training too."""

FEW_ROWS = 10
"""With fewer rows the result is of no use, whatever the scores."""

_GROUP_NAMES = re.compile(
    r"(.*[^a-z])?(id|patient|subject|customer|client|user|person|player|student|household|session|batch|store|site)"
    r"([^a-z]?(id|no|nr|number|name))?",
    re.IGNORECASE,
)


def suspicions(prepared: PreparedTable) -> list[str]:
    """Return a sentence for each sign that the scores of held-out rows would flatter.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp.tabular import prepare_table
    >>> x = np.random.default_rng(0).normal(size=200)
    >>> prepared = prepare_table({"x": x, "copy": 2.0 * x, "y": x}, target="y")
    >>> suspicions(prepared)[0]
    "column 'x' predicts the target alone (R² 1.0000 on held-out rows): if it is not known when predictions are made, \
drop it"
    """
    found = _leaks(prepared) + _repeated_rows(prepared)
    if not prepared.split_by:
        found += _groups(prepared) + _order(prepared)
    return found


def few_rows(prepared: PreparedTable | PreparedStream) -> str:
    """Say that a table has too few rows, else "".

    Examples
    --------
    >>> from gpubp.tabular import prepare_table
    >>> text = few_rows(prepare_table({"x": [1.0, 2.0], "y": [0.5, 0.7]}, target="y"))
    >>> text.partition(":")[0]
    'the table has 2 rows with a target, of which none are held out'
    """
    n_rows = sum(prepared.rows.values())
    if n_rows >= FEW_ROWS:
        return ""
    n_held_out = prepared.rows["test"] + prepared.rows["validation"]
    held_out = f"{n_held_out or 'none'} {'is' if n_held_out == 1 else 'are'} held out"
    return (
        f"{prepared.source} has {n_rows} rows with a target, of which {held_out}: nothing shows whether predictions of "
        f"new rows are of use; collect more rows, at least {FEW_ROWS} and better a hundred"
    )


def encoding_without_effect(requested: str, preprocessing: Preprocessing, hidden_layer_sizes: Sequence[int]) -> str:
    """Say why embeddings or target statistics, requested as the encoding of categories, change nothing, else "".

    Examples
    --------
    >>> from gpubp.tabular import prepare_table
    >>> encoding_without_effect("target", prepare_table("iris", categories="target").preprocessing, (100,))
    "categories='target' (--categories target) changes nothing: there is no column of categories"
    """
    if requested == "one-hot":
        return ""
    columns = [one for one in preprocessing.columns if isinstance(one, CategoryColumn)]
    if preprocessing.category_encoding == requested:
        if requested == "target" or len(hidden_layer_sizes):
            return ""
        found = "a network without hidden layers would compute the same"
    elif not columns:
        found = "there is no column of categories"
    elif requested == "target":
        most = max(len(one.known) for one in columns)
        found = f"it is for columns of more than {FEW_CATEGORIES} categories, and the largest has {most:,}"
        if most > FEW_CATEGORIES:
            found = f"the largest column of categories has {most:,}, and there are more classes"
    else:
        most = max(len(one.inputs) for one in columns)
        found = f"it is for columns of categories of more than {FEW_INPUTS} inputs, and the largest has {most}"
        if most > FEW_INPUTS:
            n_inputs = len(preprocessing.feature_names)
            found = f"the table has {n_inputs:,} inputs, more than {MOST_INPUTS_TO_EMBED:,}"
    return f"categories={requested!r} (--categories {requested}) changes nothing: {found}"


def _sample(rows: np.ndarray) -> np.ndarray:
    return rows[:: -(-len(rows) // MOST_ROWS)] if len(rows) else rows


def _leaks(prepared: PreparedTable) -> list[str]:
    """Fit a tree to each column alone, and a line to numbers."""
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    train, held_out = (_sample(prepared.parts[part]) for part in ("train", "test"))
    if len(held_out) < LEAST_HELD_OUT:
        return []
    is_classes = isinstance(prepared.preprocessing.target, ClassTarget)
    targets = prepared.targets.argmax(axis=1) if is_classes else prepared.targets
    if is_classes and len(np.unique(targets[held_out])) < 2:
        return []
    tree = (DecisionTreeClassifier if is_classes else DecisionTreeRegressor)(min_samples_leaf=3, random_state=0)
    line = Ridge(1e-6, solver="cholesky")  # many times as fast as least squares by singular values
    models, name = ([tree], "accuracy") if is_classes else ([tree, line], "R²")
    sentences = []
    for column, inputs in _inputs(prepared)[:MOST_COLUMNS]:
        x, x_held_out = (prepared.X[rows, inputs].astype(np.float64) for rows in (train, held_out))
        with warnings.catch_warnings(action="ignore"):  # of many classes
            score = max(model.fit(x, targets[train]).score(x_held_out, targets[held_out]) for model in models)
        if score >= LEAK:
            sentences.append(
                f"column {excerpt(repr(column.name), 60)} predicts the target alone ({name} {score:.4f} on held-out "
                "rows): if it is not known when predictions are made, drop it"
            )
    if not sentences and not is_classes:
        places = [place for _, inputs in _inputs(prepared) for place in range(inputs.start, inputs.stop)][:MOST_INPUTS]
        x, x_held_out = (prepared.X[rows][:, places].astype(np.float64) for rows in (train, held_out))
        with warnings.catch_warnings(action="ignore"):  # of columns that are nearly the same
            score = line.fit(x, targets[train]).score(x_held_out, targets[held_out])
        if score >= EXACT:
            sentences.append(
                f"the target is a weighted sum of the columns (R² {score:.6f} on held-out rows): drop those that are "
                "parts of it"
            )
    return sentences


def _inputs(prepared: PreparedTable) -> list[tuple[FeatureColumn, slice]]:
    """Return the columns of the table with their columns of X, but for bins, which say the same as the number."""
    preprocessing = prepared.preprocessing
    return [
        (column, slice(place.start, place.stop - len(getattr(column, "edges", ())[1:])))
        for column, place in zip(preprocessing.columns, preprocessing.input_slices.values(), strict=True)
    ]


def _repeated_rows(prepared: PreparedTable) -> list[str]:
    train, held_out = prepared.parts["train"], prepared.parts["test"]
    if len(held_out) < LEAST_HELD_OUT:
        return []
    n = int(np.isin(_digests(prepared, held_out), _digests(prepared, train)).sum())
    if n <= REPEATED * len(held_out):
        return []
    return [
        f"{n:,} of {len(held_out):,} test rows {'is' if n == 1 else 'are'} equal to training rows, features and "
        "target: the scores flatter if new rows will be new"
    ]


def _digests(prepared: PreparedTable, rows: np.ndarray) -> np.ndarray:
    """Return a number for each row of features and target, ``(n,)``: equal ones for equal rows, 64 bits long."""
    digests = np.empty(len(rows), dtype=np.int64)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[begin : begin + ROWS_AT_ONCE]
        X, targets = np.ascontiguousarray(prepared.X[some]), np.ascontiguousarray(prepared.targets[some])
        as_bytes = [part.view(np.dtype((np.void, part.strides[0]))).ravel().tolist() for part in (X, targets)]
        digests[begin : begin + len(some)] = [hash(pair) for pair in zip(*as_bytes, strict=True)]
    return digests


def _groups(prepared: PreparedTable) -> list[str]:
    summaries = prepared.preprocessing.summaries
    n_rows = sum(prepared.rows.values())
    return [
        f"rows share values of {excerpt(repr(one.name), 60)} ({one.n_distinct:,} in {n_rows:,} rows): if new rows will "
        f"come from others, hold out whole groups with group={one.name!r} (--group)"
        for one in summaries
        if one.type in ("category", "number", "drop")
        and _GROUP_NAMES.fullmatch(one.name)
        and LEAST_HELD_OUT <= one.n_distinct <= 2 * n_rows / 3
        and not one.reason.startswith("constant")
    ]


def _order(prepared: PreparedTable) -> list[str]:
    """Suggest a split in time if the rows are in the order of a date, and note an order by the target."""
    sentences = []
    for column in prepared.preprocessing.columns:
        if isinstance(column, DateColumn) and "days" in column.parts:
            places = {one.name: inputs for one, inputs in _inputs(prepared)}
            days = prepared.X[:, places[column.name].start]
            if len(days) >= LEAST_HELD_OUT and (np.diff(days) >= 0).mean() > 0.99:
                sentences.append(
                    f"rows are in the order of {excerpt(repr(column.name), 60)}: to predict the future, hold out the "
                    f"latest rows with time={column.name!r} (--time)"
                )
    if isinstance(prepared.preprocessing.target, ClassTarget):
        labels = prepared.targets.argmax(axis=1)
        n_changes = int((np.diff(labels) != 0).sum())
        n_by_chance = len(labels) - np.square(np.bincount(labels)).sum() / len(labels)  # changes in shuffled rows
        is_sorted = len(labels) >= LEAST_HELD_OUT and n_changes < min(2 * prepared.n_outputs, n_by_chance / 2)
        if is_sorted and any(not isinstance(column, CategoryColumn) for column in prepared.preprocessing.columns):
            sentences.append("rows are sorted by the target: a column that counts rows or time would give it away")
    return sentences
