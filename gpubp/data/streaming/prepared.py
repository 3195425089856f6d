"""A table larger than memory as a stream of matrices: preprocessing fitted in one pass, rows held out by number."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpubp.data.metrics import RunningScores, Scores
from gpubp.data.preprocessing import (
    Preprocessing,
    apply,
    encode_target,
    feature_names,
    n_outputs_of,
    task_of,
)
from gpubp.data.readers import Table
from gpubp.data.streaming.folders import open_tables
from gpubp.data.streaming.shares import check_parts, share_of_rows
from gpubp.data.streaming.sources import Rows
from gpubp.data.streaming.stream import MEMORY, Stream
from gpubp.data.streaming.tables import Piece, TableSource, with_rows_of_file
from gpubp.data.survey import survey
from gpubp.errors import DataError

MOST_VALIDATION_ROWS = 50_000
"""Validation rows lie in memory, beside the stream; so many tell an accuracy to 0.2 %."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class PreparedSource:
    """Some rows of a table, as x and targets."""

    tables: TableSource
    preprocessing: Preprocessing
    shares: Callable[[int, int], NDArray[np.int8]]
    share: int
    counts: np.ndarray

    dtype = "float32"

    @property
    def name(self) -> str:
        """The file or folder."""
        return self.tables.name

    @property
    def n_inputs(self) -> int:
        """Count the inputs."""
        return len(feature_names(self.preprocessing))

    @property
    def n_outputs(self) -> int:
        """Count the outputs."""
        return n_outputs_of(self.preprocessing)

    @property
    def bytes_in_hand(self) -> int:
        """A piece of the table, and what becomes of it: matrices of float64, put together from columns."""
        n_columns = max(1, len(self.tables.names))
        return self.tables.bytes_in_hand * (1 + -(-2 * (self.n_inputs + self.n_outputs) // (3 * n_columns)))

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        for piece in self.tables.pieces(blocks):
            x, targets = matrices(self.preprocessing, piece)
            mine = self.shares(piece.number, piece.table.n_rows) == self.share
            yield Rows(x[mine], targets[mine], piece.origin, piece.first)


@dataclass(frozen=True, eq=False)
class PreparedStream:
    """A table that is read while it is used: what :class:`gpubp.tabular.PreparedTable` is in memory.

    Attributes
    ----------
    tables : TableSource
    preprocessing : Preprocessing
        Fitted on the training rows.
    rows : dict
        How many rows "train", "validation" and "test" have.
    ranges : dict
        From where to where each target of numbers goes, over all rows.
    held_out : list of Piece
        The validation rows.
    shares : callable
        Which part the rows from a number on are of.
    counts : array of NumPy
        How many rows of each block are trained on.
    memory : int
        See :func:`gpubp.open_stream`.
    """

    tables: TableSource
    preprocessing: Preprocessing
    rows: dict[str, int]
    ranges: dict[str, tuple[float, float]]
    held_out: list[Piece]
    shares: Callable[[int, int], NDArray[np.int8]]
    counts: np.ndarray
    memory: int

    @property
    def task(self) -> str:
        """The kind of problem: "classification" or "regression"."""
        return task_of(self.preprocessing)

    @property
    def source(self) -> str:
        """The file or folder."""
        return self.tables.name

    @property
    def n_inputs(self) -> int:
        """Count the inputs."""
        return len(feature_names(self.preprocessing))

    @property
    def n_outputs(self) -> int:
        """Count the outputs."""
        return n_outputs_of(self.preprocessing)

    def with_preprocessing(self, preprocessing: Preprocessing) -> "PreparedStream":
        """Give the same with another description of the same columns."""
        return replace(self, preprocessing=preprocessing)

    def training(self) -> tuple[Stream, None]:
        """Give what :func:`gpubp.train` takes: a stream of the training rows."""
        source = PreparedSource(self.tables, self.preprocessing, self.shares, 0, self.counts)
        return Stream(source, self.memory, None, self.rows["train"]), None

    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the validation rows as x and targets."""
        if not self.held_out:
            return None
        x, targets = zip(*(matrices(self.preprocessing, piece) for piece in self.held_out), strict=True)
        return np.concatenate(x).astype("float32"), np.concatenate(targets).astype("float32")

    def scores(self, predicted: Callable[[np.ndarray], np.ndarray]) -> dict[str, Scores]:
        """Score the outputs for all rows of each part, in one more pass."""
        running = [RunningScores(self.preprocessing) for _ in PARTS]
        for piece in self.tables.pieces():
            x, targets = matrices(self.preprocessing, piece)
            y, shares = predicted(x), self.shares(piece.number, len(x))
            for share, so_far in enumerate(running):
                so_far.add(targets[shares == share], y[shares == share])
        found = {part: so_far.scores() for part, so_far in zip(PARTS, running, strict=True)}
        return {part: scores for part, scores in found.items() if scores is not None}


def prepare_stream(
    tables: str | PathLike[str] | TableSource,
    *,
    target: str | Sequence[str] | None = None,
    task: Literal["auto", "classification", "regression"] = "auto",
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
    impute: bool = False,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    separator: str | None = None,
    memory: int = MEMORY,
) -> PreparedStream:
    """Prepare a table that is larger than memory, in one pass over its files.

    What comes of it is what :func:`gpubp.prepare_table` gives, but for this: rows are held out by a hash of their
    number, so that the sizes of the parts vary as if each row was drawn, and classes have no equal shares; at most
    `MOST_VALIDATION_ROWS` rows are for validation; medians that fill gaps are of a sample; a column of a CSV file has
    the type that its first rows show.

    Parameters
    ----------
    tables : str, path or TableSource
        A ``.parquet``, ``.csv`` or ``.tsv`` file, or a folder of such files; or what
        :func:`~gpubp.data.streaming.folders.open_tables` made of it.
    target, task, categorical, drop, max_categories, impute, test_fraction, validation_fraction, seed
        See :func:`gpubp.prepare_table`.
    separator : str, optional
        What stands between the fields of CSV.
    memory : int
        See :func:`gpubp.open_stream`.

    Returns
    -------
    PreparedStream
        What :func:`gpubp.fit_table` takes.

    Raises
    ------
    DataError
        If the files or an option do not serve; the message names file, column and row.
    """
    check_parts(test_fraction, validation_fraction, seed)
    tables = open_tables(Path(tables), separator) if isinstance(tables, str | PathLike) else tables
    n_rows = int(np.sum(tables.counts))
    fractions = (min(validation_fraction, MOST_VALIDATION_ROWS / n_rows), test_fraction)

    def shares(first: int, n: int) -> NDArray[np.int8]:
        return share_of_rows(first, n, fractions, seed)

    held_out: list[Piece] = []
    present: Piece | None = None

    def marked() -> Iterator[tuple[Table, NDArray[np.bool_]]]:
        nonlocal present
        for present in tables.pieces():
            of_rows = shares(present.number, present.table.n_rows)
            if (of_rows == 1).any():
                held_out.append(present._replace(table=present.table.select(of_rows == 1)))
            yield present.table, of_rows == 0
        present = None  # what is wrong now is so with the whole table

    how = {"task": task, "impute": impute, "categorical": categorical, "drop": drop, "max_categories": max_categories}
    try:
        found = survey(marked(), target, **how)  # type: ignore[arg-type]
    except DataError as error:
        raise error if present is None else with_rows_of_file(error, present) from error
    in_blocks = zip(np.cumsum(tables.counts) - tables.counts, tables.counts, strict=True)
    counts = np.asarray([np.bincount(shares(int(first), int(n)), minlength=3) for first, n in in_blocks])
    rows = dict(zip(PARTS, counts.sum(axis=0).tolist(), strict=True))
    if rows["train"] < 2:
        raise DataError(f"{tables.name} has {n_rows} rows, which leaves {rows['train']} to train on; 2 are needed")
    return PreparedStream(
        tables, found.preprocessing, rows, found.ranges, held_out, shares, counts[:, 0].astype(np.int64), memory
    )


def matrices(preprocessing: Preprocessing, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Turn a piece of a table into x and targets; errors name the row of the file."""
    try:
        return apply(preprocessing, piece.table), encode_target(preprocessing, piece.table)
    except DataError as error:
        raise with_rows_of_file(error, piece) from error
