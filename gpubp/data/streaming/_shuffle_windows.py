"""Rows in a random order with little memory: blocks in a random order, and windows in which their rows are shuffled.

The order of the blocks is drawn uniformly. Their rows fill windows of W rows, one after the other; the rest of a block
begins the next window, so that every window except the last is full, and is cut into whole batches. Within a window the
order of the rows is drawn uniformly, from the seed and the window's number, so windows can be skipped without reading.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpubp.data.streaming._source import Rows, Source
from gpubp.engine.argument_checks import overflow
from gpubp.errors import DataError
from gpubp.nn.losses import get_loss


class Window(NamedTuple):
    """Rows of X and targets, their order or None, and the fractions of all rows before and in the window."""

    x: np.ndarray
    targets: np.ndarray
    order: np.ndarray | None
    fraction_done: float
    fraction: float


class WindowBuffers:
    """Memory for two windows: one is used while the other is filled."""

    def __init__(self, n_rows: int, n_inputs: int, n_outputs: int, dtype: str) -> None:
        self.n_rows = n_rows
        self.x = [np.empty((n_rows, n_inputs), dtype) for _ in range(2)]
        self.targets = [np.empty((n_rows, n_outputs), dtype) for _ in range(2)]


@dataclass(frozen=True)
class TargetRange:
    """The valid targets: those of a loss, if there is one, and class numbers if `classes` is set."""

    classes: int | None = None
    loss: str | None = None


def shuffled_windows(
    source: Source,
    buffers: WindowBuffers,
    *,
    n_rows: int | None,
    seed: Sequence[int] | None,
    target_range: TargetRange,
    skip: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Window]:
    """Fill windows with the rows of a source.

    Parameters
    ----------
    source : Source
    buffers : WindowBuffers
        The arrays of a window are overwritten two windows later.
    n_rows : int, optional
        Number of rows, if it is known.
    seed : sequence of int, optional
        Seed of the order; by default the rows keep the source's order.
    target_range : TargetRange
    skip : int
        Number of windows to skip at the beginning.
    stopped : callable
        Called at intervals; returns whether to end.
    """
    pieces, number, n_before = _skip_rows(source, seed, skip * buffers.n_rows), skip, skip * buffers.n_rows
    rest: Rows | None = None
    while not stopped():
        x, targets, n = buffers.x[number % 2], buffers.targets[number % 2], 0
        while n < buffers.n_rows and not stopped() and (rest := rest or next(pieces, None)) is not None:
            here = slice(n, n := min(n + len(rest.x), buffers.n_rows))
            taken = here.stop - here.start
            _copy(rest, x[here], targets[here], target_range)
            more = taken < len(rest.x)
            rest = Rows(rest.x[taken:], rest.targets[taken:], rest.origin, rest.first + taken) if more else None
        if not n or stopped():
            break
        order = None if seed is None else np.random.default_rng([*seed, number]).permutation(n)
        fractions = (0.0, 0.0) if n_rows is None else (n_before / n_rows, n / n_rows)
        yield Window(x[:n], targets[:n], order, *fractions)
        number, n_before = number + 1, n_before + n
    if not stopped() and n_rows is not None and number > skip and n_before != n_rows:
        raise DataError(f"{source.name} yielded {n_before:,} rows, but n_rows is {n_rows:,}; pass n_rows={n_before}")


def _skip_rows(source: Source, seed: Sequence[int] | None, n_skipped: int) -> Iterator[Rows]:
    """Yield the rows in the order of their blocks, without the first ones; counted blocks are not read for this."""
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


def _copy(rows: Rows, x: np.ndarray, targets: np.ndarray, target_range: TargetRange) -> None:
    """Copy the first rows to a window, and check them in the precision of training."""
    with np.errstate(over="ignore"):  # infinite values are reported below
        x[:] = rows.x[: len(x)]
        if target_range.classes is None:
            targets[:] = rows.targets[: len(targets)]
        else:
            targets[:] = _one_hot(rows, len(targets), target_range.classes)
    for name, array in (("X", x), ("targets", targets)):
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise DataError(
                f"{_place(rows, row)}: {name} has {array[row, column]} in column {column + 1}; every value must be "
                f"finite in {array.dtype}"
            )
    if target_range.loss is not None:
        _check_targets(rows, targets, target_range.loss)


def _check_targets(rows: Rows, targets: np.ndarray, loss: str) -> None:
    low, high = get_loss(loss).target_range
    if targets.min() < low or targets.max() > high:
        row, column = np.argwhere((targets < low) | (targets > high))[0]
        value = targets[row, column]
        raise DataError(f"{_place(rows, row)}: the loss {loss!r} needs targets from {low:g} to {high:g}, got {value:g}")
    row, column = np.unravel_index(np.argmax(np.abs(targets)), targets.shape)
    largest = abs(float(targets[row, column]))
    if problem := overflow(f"{_place(rows, int(row))}: targets", loss, largest, targets.size, str(targets.dtype)):
        raise DataError(problem)


def _one_hot(rows: Rows, n: int, classes: int) -> np.ndarray:
    labels = rows.targets[:n, 0]
    is_class = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if not is_class.all():
        row = int(np.argmin(is_class))
        raise DataError(
            f"{_place(rows, row)}: a class must be a whole number from 0 to {classes - 1}, as classes={classes} says; "
            f"got {labels[row]}"
        )
    return np.asarray(labels.astype(np.intp)[:, None] == np.arange(classes))


def _place(rows: Rows, row: int) -> str:
    return f"{rows.origin}, row {rows.first + int(row) + 1:,}"
