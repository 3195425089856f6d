"""Which rows are held out: at random, by groups or by time; and the check of the columns that options name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.data.preprocessing import ColumnOptions, column_decision, column_problems, read_dates, read_numbers
from gpubp.data.table import Table
from gpubp.errors import DataError


def check_columns(table: Table, targets: Sequence[str], options: ColumnOptions, group: Any, time: Any) -> None:
    """Check the columns that options name; one error says all that is wrong.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> check_columns(table_from_mapping({"a": [1, 2], "y": [0, 1]}), ["y"], ColumnOptions(), "y", "a")
    Traceback (most recent call last):
    ...
    gpubp.errors.DataError: group 'y' is the target; name a column whose values are shared by the rows of one group, \
such as a patient's number; group and time are two ways to hold out rows; choose one
    """
    by = {option: name for option, name in (("group", group), ("time", time)) if name is not None}
    named = {option: name for option, name in by.items() if isinstance(name, str)}
    problems = [
        f"{option} must be the name of a column, got {name!r}" for option, name in by.items() if option not in named
    ]
    problems += column_problems(table, targets, options, list(named.values()))
    if named.get("group") in targets:
        problems.append(
            f"group {group!r} is the target; name a column whose values are shared by the rows of one group, such as a "
            "patient's number"
        )
    if named.get("time") in targets:
        problems.append(
            f"time {time!r} is the target, which new rows do not have; name a column that says when each row was taken"
        )
    if len(by) > 1:
        problems.append("group and time are two ways to hold out rows; choose one")
    if problems:
        raise DataError("; ".join(problems))


def split_at_random(
    rows: np.ndarray, classes: np.ndarray | None, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out ``size`` rows, stratified by class if each class has enough rows."""
    from sklearn.model_selection import train_test_split

    if size < 2:
        return rows, rows[:0]
    if size >= len(rows):
        return rows[:0], rows
    strata = None
    if classes is not None:
        present, counts = np.unique(classes[rows], return_counts=True)
        if counts.min() >= 2 and len(present) <= min(size, len(rows) - size):
            strata = classes[rows]
    remaining, held_out = train_test_split(rows, test_size=size, random_state=seed, stratify=strata)
    return remaining, held_out


def group_keys(table: Table, name: str) -> np.ndarray:
    """Return the values of a column as text; a missing value is a group of its own."""
    values = table.texts(name)
    return np.array([f"missing {row}" if value is None else f"={value}" for row, value in enumerate(values.tolist())])


def times_of(table: Table, name: str) -> np.ndarray:
    """Return a column of dates or numbers as numbers, for sorting."""
    decision = column_decision(table, name)
    if decision.type not in ("number", "date"):
        raise DataError(f"time needs a column of dates or numbers, and {name!r} holds {decision.reason}")
    read = (
        read_dates(table, name, decision.date_format)
        if decision.type == "date"
        else read_numbers(table, name, decision.number_format)
    )
    if np.isnan(read.values).any():
        row = int(np.isnan(read.values).argmax())
        raise DataError(f"time needs a date or number in each row, and {name!r} has none in {table.describe_row(row)}")
    times: np.ndarray = read.values
    return times


def split_groups(
    groups: np.ndarray, validation_fraction: float, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw groups in random order for each part, as long as they fit into its share of the rows, and at least one."""
    n_groups = int(groups.max()) + 1
    if n_groups < 3:
        raise DataError(f"holding out groups needs at least 3 of them, got {n_groups}")
    sizes, part_of_group = np.bincount(groups), np.zeros(n_groups, dtype=np.int8)
    order = np.random.default_rng(seed).permutation(n_groups)
    for part, fraction in ((2, test_fraction), (1, validation_fraction)):
        rest = order[part_of_group[order] == 0]
        n_spared = 2 if part == 2 and validation_fraction else 1  # groups for the other parts
        chosen, n_rows = list[int](), 0
        for one in rest.tolist():
            if n_rows + sizes[one] <= fraction * len(groups) and len(chosen) < len(rest) - n_spared:
                chosen.append(one)
                n_rows += sizes[one]
        if fraction > 0.0 and not chosen:
            chosen = [int(rest[sizes[rest].argmin()])]
        part_of_group[chosen] = part
    return tuple(np.flatnonzero(part_of_group[groups] == part) for part in (0, 1, 2))  # type: ignore[return-value]


def split_in_time(
    times: np.ndarray, validation_fraction: float, test_fraction: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold out the latest rows; rows of one time stay together."""
    first_test = np.quantile(times, 1.0 - test_fraction, method="higher") if test_fraction else np.inf
    n_rest = 1.0 - test_fraction - validation_fraction
    first_validation = np.quantile(times, n_rest, method="higher") if validation_fraction else first_test
    test = np.flatnonzero(times >= first_test)
    validation = np.flatnonzero((times >= first_validation) & (times < first_test))
    return np.flatnonzero(times < min(first_test, first_validation)), validation, test
