"""Read a table, split its rows into training, validation and test rows, and encode them as matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpubp._core.text import counted, shortened
from gpubp._core.user_warnings import warn
from gpubp.backends.inputs import accept_on_host, as_numbers
from gpubp.data.preprocessing import (
    CategoryEncoding,
    ColumnArrays,
    ColumnOptions,
    ColumnType,
    NumberEncoding,
    Preprocessing,
    Task,
    choose_targets,
    decide_table,
    fit_columns,
    require_column,
)
from gpubp.data.readers import read_table
from gpubp.data.streaming.split import SPLITS, validate_fractions
from gpubp.data.table import Table, table_from_mapping
from gpubp.errors import DataError, TableWarning
from gpubp.tabular.held_out import check_columns, group_keys, split_at_random, split_groups, split_in_time, times_of
from gpubp.tabular.prepared_table import EncodedRows, PreparedTable, encode_rows

AnyTable = Any
"""A :class:`~gpubp.data.Table`, the path of a file, the name of a built-in data set, a dict of columns, a data frame,
or a pyarrow table."""


@np.errstate(all="ignore")
def prepare_table(
    table: AnyTable,
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
    group: str | None = None,
    time: str | None = None,
    seed: int = 0,
    sample_weight: Any = None,
    validation_table: AnyTable | None = None,
    validation_weight: Any = None,
    exact_labels: bool = False,
    dtype: str = "float64",
) -> PreparedTable:
    """Read a table, find its target and task, split its rows into parts, and encode them as matrices.

    Parameters
    ----------
    table : Table, path, name, dict of columns, data frame or pyarrow table
        See :func:`gpubp.data.read_table` for paths and names.
    target, task, types, categorical, drop, missing, max_categories, strict, numbers
        See :func:`gpubp.data.fit_preprocessing`.
    categories : {"one-hot", "embedding", "target"}
        "one-hot" gives each category an input. "embedding" does too, and the network embeds the inputs of a column of
        more than nine in eight numbers (docs/tables.md); a table of more than 1,000 inputs is not embedded. With
        "target" a column of more than ten categories becomes target statistics: the mean of each target in the rows of
        the category, or the share of each class, of two classes that of the second. It is (S + m μ) / (n + m), for n
        rows whose targets add up to S and the mean μ of all rows, as of scikit-learn's ``TargetEncoder(smooth=m)``; m
        is the variance of the target within categories divided by that between their means, by a one-way analysis of
        variance (Micci-Barreca 2001). So categories that differ no more than by chance all have the mean of all rows,
        and so have categories that training did not see. The statistics of a training row come from four of five folds,
        without its own, those of other rows from all training rows, all without weights.
    test_fraction, validation_fraction : float
        Fractions of all rows, drawn at random and stratified by class. The test rows are scored once, after training;
        the validation rows are scored after each epoch, for early stopping. A part of fewer than two rows stays empty.
    group : str, optional
        Hold out whole groups: no value of this column, which becomes no input, is in two parts.
    time : str, optional
        Hold out the latest rows by this column of dates or numbers, the test rows after the validation rows.
    seed : int
        Seed of the split, and of the folds of target statistics.
    sample_weight : (n,) array, optional
        The weight of each row of the table in the loss; only ratios matter, and rows of weight 0 are left out.
    validation_table : table, optional
        Validation rows with the same columns. They replace those that `validation_fraction` holds out, and the final
        network is not trained on them.
    validation_weight : (n,) array, optional
        The weight of each row of `validation_table`.
    exact_labels : bool
        Whether each text of the target is a class, also those that usually mean a missing value, such as NA, and
        `missing` is of the features alone.
    dtype : {"float64", "float32"}
        The type of the inputs. "float32" takes half of the memory, and gives :func:`fit_table` the same numbers if it
        trains in float32, which is its default.

    Returns
    -------
    PreparedTable

    Raises
    ------
    DataError
        If the table or an option is not valid; the message names the column and the fix.

    Examples
    --------
    >>> {part: len(rows) for part, rows in prepare_table("iris").parts.items()}
    {'train': 105, 'validation': 15, 'test': 30}
    """
    if validation_table is not None:
        validation_fraction = 0.0
    validate_fractions(test_fraction, validation_fraction, seed)
    table, weights = _weighted_rows(as_table(table), "sample_weight", sample_weight)
    if dtype not in ("float64", "float32"):
        raise DataError(f"dtype must be 'float64' or 'float32', got {dtype!r}")
    options = ColumnOptions(
        *(target, task, types, categorical, drop, missing, max_categories, strict, exact_labels, numbers),
        *(categories, seed, group),
    )
    check_columns(table, choose_targets(table, target), options, group, time)
    if group is not None:
        options = replace(options, drop=(*options.drop, group))
    decisions = decide_table([table], options)
    present = decisions.target.present(table)
    all_rows = np.flatnonzero(present)
    classes = None
    if decisions.target.is_classes:
        classes = np.unique(decisions.target.read(table)[0].values[present].astype(str), return_inverse=True)[1]
    places = np.arange(len(all_rows))
    if group is not None:
        keys = np.unique(group_keys(table, group)[present], return_inverse=True)[1]
        training, validation, test = split_groups(keys, validation_fraction, test_fraction, seed)
    elif time is not None:
        training, validation, test = split_in_time(times_of(table, time)[present], validation_fraction, test_fraction)
    else:
        rest, test = split_at_random(places, classes, round(test_fraction * len(places)), seed)
        training, validation = split_at_random(rest, classes, round(validation_fraction * len(places)), seed)
    if len(training) < 2:
        raise DataError(
            f"{table.source} has {counted(len(places), 'row')} with a target, of which test_fraction={test_fraction} "
            f"and validation_fraction={validation_fraction} leave {len(training)} for training; at least 2 are needed"
        )
    fitted = fit_columns(decisions, [(table, np.isin(np.arange(table.n_rows), all_rows[training]))])
    if fitted.unreadable:
        warn(f"{table.source}: {fitted.unreadable}", TableWarning)
    preprocessing = fitted.preprocessing
    (encoded, columns), table = _encode(preprocessing, table, weights, present, dtype)
    fitted.out_of_fold.fill(encoded.X, preprocessing, table, training, all_rows[training])
    given, given_columns, given_table = None, None, None
    if validation_table is not None:
        rows = _weighted_rows(as_table(validation_table), "the weights of validation_data", validation_weight)
        for name in decisions.target.names:
            require_column(rows[0], name)
        has_target = decisions.target.present(rows[0])
        if not has_target.any():
            raise DataError(
                f"validation_data: no row has the target {shortened([*map(repr, preprocessing.target_names)])}"
            )
        (given, given_columns), given_table = _encode(preprocessing, *rows, has_target, dtype)
    return PreparedTable(
        table,
        preprocessing,
        encoded.normalized(training),
        dict(zip(SPLITS, (training, validation, test), strict=True)),
        decisions,
        "group" if group is not None else "time" if time is not None else "",
        fitted.fingerprint,
        given_table,
        given,
        columns=columns,
        given_columns=given_columns,
    )


def as_table(table: AnyTable) -> Table:
    """Convert any supported kind of table to a :class:`~gpubp.data.Table`.

    Examples
    --------
    >>> as_table({"area": [30.0, 50.0], "town": ["Bonn", "Oslo"]}).columns["town"]
    array(['Bonn', 'Oslo'], dtype=object)
    """
    if isinstance(table, Table):
        return table
    return read_table(fspath(table)) if isinstance(table, str | PathLike) else table_from_mapping(table)


def checked_weights(name: str, sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return the weights of rows, ``(n_rows,)``, finite and not all zero; None if there are none."""
    if sample_weight is None:
        return None
    weights: np.ndarray = as_numbers(name, np.asarray(accept_on_host(name, sample_weight))).astype(np.float64)
    if weights.shape != (n_rows,):
        raise DataError(f"{name} must have shape ({n_rows},), a number for each row, got shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0.0).any():
        row = int((~np.isfinite(weights) | (weights < 0.0)).argmax())
        raise DataError(f"{name} must be finite and not negative, got {weights[row]:g} in row {row + 1:,}")
    if not weights.any():
        raise DataError(f"{name} is zero in all rows; leave it out to weigh them equally")
    return weights


def _weighted_rows(table: Table, name: str, sample_weight: Any) -> tuple[Table, np.ndarray | None]:
    """Return the rows whose weight is not zero, and their weights."""
    weights = checked_weights(name, sample_weight, table.n_rows)
    if weights is None or weights.all():
        return table, weights
    return table.select(weights > 0.0), weights[weights > 0.0]


def _encode(
    preprocessing: Preprocessing, table: Table, weights: np.ndarray | None, present: np.ndarray, dtype: DTypeLike
) -> tuple[tuple[EncodedRows, ColumnArrays], Table]:
    """Encode the rows that have a target."""
    if not present.all():
        table, weights = table.select(present), None if weights is None else weights[present]
    return encode_rows(preprocessing, table, weights, dtype), table
