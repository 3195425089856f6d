"""Rows in a drawn order with little memory: blocks in a drawn order, and a window in which their rows are shuffled.

The order of the blocks is drawn uniformly. Their rows fill windows of W rows, one after the other; what is left of a
block begins the next window, so that every window but the last is full, and is cut into whole batches. Within its
window the order of the rows is drawn uniformly, from the seed and the window's number: windows can be left out unread.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpubp.data.streaming.sources import Rows, Source
from gpubp.errors import DataError


class Window(NamedTuple):
    """Rows of X and targets, their order or None, and the fractions of all rows before the window and in it."""

    x: np.ndarray
    targets: np.ndarray
    order: np.ndarray | None
    begins: float
    spans: float


class Places:
    """Memory for two windows, which take turns: one is used while the other is filled."""

    def __init__(self, n_rows: int, n_inputs: int, n_outputs: int, dtype: str) -> None:
        self.n_rows = n_rows
        self.x = [np.empty((n_rows, n_inputs), dtype) for _ in range(2)]
        self.targets = [np.empty((n_rows, n_outputs), dtype) for _ in range(2)]


@dataclass(frozen=True)
class Limits:
    """What rows must be: ``targets`` from ``low`` to ``high``, or where there are ``classes`` a class number."""

    low: float = -np.inf
    high: float = np.inf
    classes: int | None = None
    why: str = ""


def windows(
    source: Source,
    places: Places,
    *,
    n_rows: int | None,
    seed: Sequence[int] | None,
    limits: Limits,
    skip: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Window]:
    """Fill windows with the rows of a source.

    Parameters
    ----------
    source : Source
    places : Places
        The arrays of a window are overwritten by the second one after it.
    n_rows : int, optional
        How many rows there are, where that is known.
    seed : sequence of int, optional
        For the order; without it the rows come as they lie.
    limits : Limits
    skip : int
        How many windows to leave out, of those that would come.
    stopped : callable
        Looked at now and then: whether to end.
    """
    pieces, number, so_far = _without(source, seed, skip * places.n_rows), skip, skip * places.n_rows
    rest: Rows | None = None
    while not stopped():
        x, targets, n = places.x[number % 2], places.targets[number % 2], 0
        while n < places.n_rows and not stopped() and (rest := rest or next(pieces, None)) is not None:
            here = slice(n, n := min(n + len(rest.x), places.n_rows))
            taken = here.stop - here.start
            _copy(rest, x[here], targets[here], limits)
            more = taken < len(rest.x)
            rest = Rows(rest.x[taken:], rest.targets[taken:], rest.origin, rest.first + taken) if more else None
        if not n or stopped():
            break
        order = None if seed is None else np.random.default_rng([*seed, number]).permutation(n)
        of_all = (0.0, 0.0) if n_rows is None else (so_far / n_rows, n / n_rows)
        yield Window(x[:n], targets[:n], order, *of_all)
        number, so_far = number + 1, so_far + n
    if not stopped() and n_rows is not None and number > skip and so_far != n_rows:
        raise DataError(f"{source.name} gave {so_far:,} rows, and was said to have {n_rows:,}; give n_rows={so_far}")


def _without(source: Source, seed: Sequence[int] | None, n_skipped: int) -> Iterator[Rows]:
    """Give the rows in the order of their blocks, without the first ones; of known blocks those are not read."""
    blocks = None
    if source.counts is not None:
        blocks = np.arange(len(source.counts))
        if seed is not None:
            blocks = np.random.default_rng(seed).permutation(blocks)
        ends = np.cumsum(source.counts[blocks])
        first = int(np.searchsorted(ends, n_skipped, side="right"))
        n_skipped -= int(ends[first - 1]) if first else 0
        blocks = blocks[first:]
    for piece in source.rows(blocks):
        if n_skipped < len(piece.x):
            yield Rows(piece.x[n_skipped:], piece.targets[n_skipped:], piece.origin, piece.first + n_skipped)
        n_skipped = max(0, n_skipped - len(piece.x))


def _copy(rows: Rows, x: np.ndarray, targets: np.ndarray, limits: Limits) -> None:
    """Copy the first of some rows into a window, and check them there, in the precision that is trained in."""
    with np.errstate(over="ignore"):  # what becomes infinite is found below
        x[:] = rows.x[: len(x)]
        if limits.classes is None:
            targets[:] = rows.targets[: len(targets)]
        else:
            targets[:] = _one_hot(rows, len(targets), limits.classes)
    for name, array in (("x", x), ("d", targets)):
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise DataError(
                f"{_place(rows, row)}: {name} holds {array[row, column]} in column {column + 1}; every value must be "
                f"finite in {array.dtype}"
            )
    if targets.min() < limits.low or targets.max() > limits.high:
        row, column = np.argwhere((targets < limits.low) | (targets > limits.high))[0]
        raise DataError(
            f"{_place(rows, row)}: {limits.why} d from {limits.low:g} to {limits.high:g}, got {targets[row, column]:g}"
        )


def _one_hot(rows: Rows, n: int, classes: int) -> np.ndarray:
    labels = rows.targets[:n, 0]
    good = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{_place(rows, row)}: a class must be a whole number from 0 to {classes - 1}, as classes={classes} says; "
            f"got {labels[row]}"
        )
    return np.asarray(labels.astype(np.intp)[:, None] == np.arange(classes))


def _place(rows: Rows, row: int) -> str:
    return f"{rows.origin}, row {rows.first + int(row) + 1:,}"
