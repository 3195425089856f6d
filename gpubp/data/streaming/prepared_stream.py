"""A table larger than memory as a stream of matrices: its preprocessing is fitted in two passes over the files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import counted
from gpubp._core.user_warnings import warn
from gpubp.data.metrics import RunningScores, Scored
from gpubp.data.preprocessing import (
    CategoryEncoding,
    ColumnOptions,
    ColumnType,
    NumberEncoding,
    OutOfFold,
    Preprocessing,
    TableDecisions,
    Task,
    apply,
    decide_table,
    encode_target,
    fit_columns,
)
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming._source import Rows, Source
from gpubp.data.streaming.split import SPLITS, assign_splits, validate_fractions
from gpubp.data.streaming.stream import DEFAULT_MEMORY, Stream
from gpubp.data.streaming.table_files import open_tables
from gpubp.data.streaming.table_source import Piece, TableSource, in_file
from gpubp.data.table import Table
from gpubp.errors import DataError, TableWarning
from gpubp.nn.losses import smoothed_labels

TRAIN, VALIDATION, NONE = 0, 1, 3

MAX_VALIDATION_ROWS = 50_000
"""Validation rows stay in memory in addition to the stream; this many give an accuracy to 0.2 %."""


@dataclass(eq=False)
class PreparedSource(Source):
    """The training rows of a table, as X and targets."""

    prepared: "PreparedStream"

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        prepared = self.prepared
        for piece in prepared.tables.pieces(blocks):
            training = prepared.splits(piece.number, piece.table.n_rows) == TRAIN
            x, targets = encode_piece(prepared.preprocessing, piece, training)
            if prepared.out_of_fold is not None:
                rows, table = np.flatnonzero(training), piece.table.select(training)
                numbers = piece.number + rows
                prepared.out_of_fold.fill(x, prepared.preprocessing, table, np.arange(len(rows)), numbers)
            targets = smoothed_labels(targets, prepared.label_smoothing, self.n_outputs)
            yield Rows(x, targets, piece.origin, piece.first)


@dataclass(frozen=True, eq=False)
class PreparedStream:
    """A table that is read during training: the counterpart of :class:`gpubp.tabular.PreparedTable`.

    Attributes
    ----------
    tables : TableSource
    preprocessing : Preprocessing
        Fitted on the training rows.
    rows : dict
        Number of rows of "train", "validation" and "test".
    ranges : dict
        Minimum and maximum of each numeric target, over all rows.
    validation_pieces : list of Piece
        The validation rows.
    splits : callable
        Splits of `n` rows from number `first` on: ``splits(first, n)``.
    counts : array of NumPy
        Number of training rows of each block.
    memory : int
        See :func:`gpubp.open_stream`.
    fingerprint : str
        See :class:`gpubp.tabular.PreparedTable`.
    label_smoothing : float
        See :class:`gpubp.tabular.PreparedTable`.
    out_of_fold : OutOfFold, optional
        The target statistics of the training rows.
    """

    tables: TableSource
    preprocessing: Preprocessing
    rows: dict[str, int]
    ranges: dict[str, tuple[float, float]]
    validation_pieces: list[Piece]
    splits: Callable[[int, int], NDArray[np.int8]]
    counts: np.ndarray
    memory: int
    fingerprint: str = ""
    label_smoothing: float = 0.0
    out_of_fold: OutOfFold | None = None

    @property
    def task(self) -> str:
        """The kind of problem: "classification" or "regression"."""
        return self.preprocessing.task

    @property
    def source(self) -> str:
        """The file or folder."""
        return self.tables.name

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return len(self.preprocessing.feature_names)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.preprocessing.n_outputs

    def with_preprocessing(self, preprocessing: Preprocessing) -> "PreparedStream":
        """Return the same stream with another preprocessing of the same columns."""
        return replace(self, preprocessing=preprocessing)

    @property
    def holds_out_rows(self) -> bool:
        """Whether rows are not for training."""
        return self.rows["train"] < sum(self.rows.values())

    def training(self) -> tuple[Stream, None, None]:
        """Return X, targets and weights for :func:`gpubp.train`: a stream of the training rows, and None twice."""
        n_columns = max(1, len(self.tables.names))
        of_matrices = -(-2 * (self.n_inputs + self.n_outputs) // (3 * n_columns))  # float64, of a piece of the table
        source = PreparedSource(
            *(self.source, self.n_inputs, self.n_outputs, "float32", self.counts),
            reading_bytes=self.tables.reading_bytes * (1 + of_matrices),
            prepared=self,
        )
        return Stream(source, self.memory, None, self.rows["train"]), None, None

    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the validation rows as X and targets; None if there are none."""
        if not self.validation_pieces:
            return None
        x, targets = zip(
            *(
                encode_piece(self.preprocessing, piece, np.ones(piece.table.n_rows, dtype=bool))
                for piece in self.validation_pieces
            ),
            strict=True,
        )
        return np.concatenate(x).astype("float32"), np.concatenate(targets).astype("float32")

    def on_all_rows(self) -> "PreparedStream":
        """Return the stream with all rows for training; the statistics stay those of the training rows."""

        def splits(first: int, n: int) -> NDArray[np.int8]:
            assigned = self.splits(first, n)
            return np.where(assigned == NONE, NONE, TRAIN).astype(np.int8)

        counts = _counts_of_splits(self.tables, splits)[:, TRAIN]
        rows = {"train": int(counts.sum()), "validation": 0, "test": 0}
        return replace(self, rows=rows, validation_pieces=[], splits=splits, counts=counts)

    def constant_outputs(self) -> np.ndarray:
        """Return the means of the targets, ``(j,)``: class shares, or the mean of numbers, of the validation rows."""
        held_out = self.validation()
        means: np.ndarray = np.zeros(self.n_outputs) if held_out is None else held_out[1].mean(axis=0, dtype=np.float64)
        return means

    def scored(self, predict: Callable[[np.ndarray], np.ndarray], inputs: object = None) -> Scored:
        """Score the outputs for all rows of each split, in one more pass over the files."""
        running, held_out = [RunningScores(self.preprocessing) for _ in SPLITS], list[tuple[np.ndarray, np.ndarray]]()
        for piece in self.tables.pieces():
            splits = self.splits(piece.number, piece.table.n_rows)
            x, targets = encode_piece(self.preprocessing, piece, splits != NONE)
            outputs, splits = predict(x), splits[splits != NONE]
            for number, one_split in enumerate(running):
                one_split.add(targets[splits == number], outputs[splits == number])
            held_out.append((targets[splits == VALIDATION], outputs[splits == VALIDATION]))
        scores_by_split = {name: one_split.scores() for name, one_split in zip(SPLITS, running, strict=True)}
        targets, outputs = map(np.concatenate, zip(*held_out, strict=True))
        return Scored(
            {name: scores for name, scores in scores_by_split.items() if scores is not None},
            (targets, outputs) if len(targets) else None,
        )


@np.errstate(all="ignore")
def prepare_stream(
    tables: str | PathLike[str] | TableSource,
    *,
    target: str | Sequence[str] | None = None,
    task: Task = "auto",
    types: Mapping[str, ColumnType] | None = None,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: Sequence[str] = (),
    max_categories: int = 100,
    strict: bool = False,
    numbers: NumberEncoding = "piecewise",
    categories: CategoryEncoding = "one-hot",
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    separator: str | None = None,
    memory: int = DEFAULT_MEMORY,
) -> PreparedStream:
    """Prepare a table that is larger than memory, in two passes over its files.

    The result is that of :func:`gpubp.prepare_table`, with these differences: rows are held out by a hash of their
    number, so the sizes of the splits vary as if each row were drawn, and classes are not stratified; at most
    `MAX_VALIDATION_ROWS` rows are for validation; and medians that fill missing values come from a sample.

    Parameters
    ----------
    tables : str, path or TableSource
        A Parquet or text file, a folder of such files, or a pattern such as ``"data/*.csv"``; or the result of
        :func:`gpubp.data.streaming.table_files.open_tables`.
    target, task, types, categorical, drop, missing, max_categories, strict, numbers, categories, test_fraction,
    validation_fraction, seed
        See :func:`gpubp.prepare_table`.
    separator : str, optional
        Separator of the fields of text files. For other options pass the result of
        :func:`gpubp.data.streaming.table_files.open_tables`.
    memory : int
        See :func:`gpubp.open_stream`.

    Returns
    -------
    PreparedStream
        For :func:`gpubp.fit_table`.

    Raises
    ------
    DataError
        If a file or an option is not valid; the message names file, column and row.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "shop.csv")
    ...     with open(path, "w") as file:
    ...         for row in ("size,kind", *["1.5,a", "2.5,b"] * 100):
    ...             print(row, file=file)
    ...     prepared = prepare_stream(path)
    >>> prepared.task, prepared.n_inputs, sum(prepared.rows.values())
    ('classification', 1, 200)
    """
    validate_fractions(test_fraction, validation_fraction, seed)
    tables = open_tables(Path(tables), TextOptions(separator)) if isinstance(tables, str | PathLike) else tables
    n_rows = int(np.sum(tables.counts))
    fractions = (min(validation_fraction, MAX_VALIDATION_ROWS / n_rows), test_fraction)

    current: Piece | None = None

    def pieces() -> Iterator[Piece]:
        nonlocal current
        for current in tables.pieces():
            yield current
            current = None  # an error from here on concerns another piece, or the whole table

    held_out: list[Piece] = []
    without_target = [np.empty(0, dtype=np.intp)]

    def training_pieces(decisions: TableDecisions) -> Iterator[tuple[Table, NDArray[np.bool_]]]:
        for piece in pieces():
            present = decisions.target.present(piece.table)
            without_target.append(piece.number + np.flatnonzero(~present))
            row_splits = assign_splits(piece.number, piece.table.n_rows, fractions, seed)
            row_splits[~present] = NONE
            if (row_splits == VALIDATION).any():
                held_out.append(piece._replace(table=piece.table.select(row_splits == VALIDATION)))
            yield piece.table, row_splits == TRAIN

    options = ColumnOptions(
        *(target, task, types, categorical, drop, missing, max_categories, strict),
        numbers=numbers,
        categories=categories,
        seed=seed,
    )
    try:
        decisions = decide_table((piece.table for piece in pieces()), options)
        fitted = fit_columns(decisions, training_pieces(decisions))
    except DataError as error:
        raise error if current is None else in_file(error, current.origin) from error
    if fitted.unreadable:
        warn(f"{tables.name}: {fitted.unreadable}", TableWarning)
    left_out = np.sort(np.concatenate(without_target))

    def splits(first: int, n: int) -> NDArray[np.int8]:
        assigned = assign_splits(first, n, fractions, seed)
        start, stop = np.searchsorted(left_out, [first, first + n])
        assigned[left_out[start:stop] - first] = NONE
        return assigned

    counts = _counts_of_splits(tables, splits)
    rows = dict(zip(SPLITS, counts.sum(axis=0).tolist(), strict=False))
    if rows["train"] < 2:
        raise DataError(
            f"{tables.name} has {counted(n_rows, 'row')}, of which test_fraction={test_fraction} and "
            f"validation_fraction={validation_fraction} leave {rows['train']} for training; at least 2 are needed"
        )
    return PreparedStream(
        *(tables, fitted.preprocessing, rows, fitted.ranges, held_out, splits, counts[:, TRAIN], memory),
        fingerprint=fitted.fingerprint,
        out_of_fold=fitted.out_of_fold,
    )


def _counts_of_splits(tables: TableSource, splits: Callable[[int, int], NDArray[np.int8]]) -> NDArray[np.int64]:
    """Return how many rows of each block belong to each split, and at last to none, ``(blocks, 4)``."""
    blocks = zip(np.cumsum(tables.counts) - tables.counts, tables.counts, strict=True)
    counts = [np.bincount(splits(int(first), int(n)), minlength=4) for first, n in blocks]
    return np.asarray(counts).astype(np.int64)


def encode_piece(preprocessing: Preprocessing, piece: Piece, rows: NDArray[np.bool_]) -> tuple[np.ndarray, np.ndarray]:
    """Convert rows of a piece of a table to X and targets; errors name the row of the file."""
    table = piece.table if rows.all() else piece.table.select(rows)
    try:
        return apply(preprocessing, table), encode_target(preprocessing, table)
    except DataError as error:
        raise in_file(error, piece.origin) from error
