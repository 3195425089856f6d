"""The rows that a search trains on: drawn of a large table, and divided into folds."""

import numpy as np

from gpubp.tabular.prepared_table import PreparedTable

N_FOLDS = 5

MOST_ROWS_OF_TRIALS = 10_000
"""Rows that are drawn of a larger table for the trials, or the time would be over after a few candidates."""


def has_folds(prepared: PreparedTable) -> bool:
    """Return whether rows are divided into folds: those of a split by groups or time, or given ones, are not."""
    return not prepared.split_by and prepared.given_validation is None


def learned_rows(prepared: PreparedTable) -> np.ndarray:
    """Return the rows that are divided into folds, or without folds the training rows."""
    rows = prepared.parts["train"]
    return np.sort(np.concatenate([rows, prepared.parts["validation"]])) if has_folds(prepared) else rows


def drawn_rows(prepared: PreparedTable, seed: int) -> dict[str, np.ndarray] | None:
    """Draw the rows of each part that are for the trials; None if they are all of those that the model learns from."""
    rows = {"train": learned_rows(prepared), "validation": prepared.parts["validation"], "test": np.empty(0, np.int64)}
    if has_folds(prepared):
        rows["validation"] = rows["test"]
    if len(rows["train"]) <= MOST_ROWS_OF_TRIALS:
        return None
    random = np.random.default_rng(seed)
    return {part: np.sort(random.permutation(some)[:MOST_ROWS_OF_TRIALS]) for part, some in rows.items()}


def folds_of(targets: np.ndarray, seed: int, *, is_classes: bool) -> np.ndarray:
    """Return the number of each row's fold, ``(n,)``; the rows of each class are divided evenly."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if is_classes:
        order = order[np.argsort(targets[order].argmax(axis=1), kind="stable")]
    folds = np.empty(len(targets), np.int64)
    folds[order] = np.arange(len(targets)) % min(N_FOLDS, len(targets))
    return folds


def rows_of_folds(folds: np.ndarray, n_folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of each fold, ``(n_folds, m)``, and which are: small folds repeat a row to be as long as others.

    Examples
    --------
    >>> rows_of_folds(np.array([0, 1, 0]), 2)
    (array([[0, 2],
           [1, 1]]), array([[ True,  True],
           [ True, False]]))
    """
    each = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    longest = max(map(len, each))
    rows = np.stack([np.resize(rows, longest) for rows in each])
    return rows, np.arange(longest) < np.array(list(map(len, each)))[:, None]
