"""What a user says about the columns of a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import near_miss
from gpubp.data._text_values import write_number
from gpubp.data.preprocessing._records import CategoryEncoding, ColumnType, NumberEncoding
from gpubp.data.preprocessing._targets import Task
from gpubp.errors import DataError

NAMES_OF_CATEGORIES = "; columns of categories are named by categorical (--categorical)"
"""What a message about the option `categories` says where its value may be the name of a column."""


def check_options(options: "ColumnOptions") -> None:
    """Raise a DataError if the task, an encoding or the number of categories is not valid."""
    if not isinstance(options.task, str) or options.task not in get_args(Task):
        raise DataError(f"task must be 'auto', 'classification' or 'regression', got {options.task!r}")
    if not isinstance(options.numbers, str) or options.numbers not in get_args(NumberEncoding):
        near = near_miss(options.numbers, get_args(NumberEncoding))
        raise DataError(f"numbers must be 'piecewise', 'linear' or 'robust', got {options.numbers!r}{near}")
    if not isinstance(options.categories, str) or options.categories not in get_args(CategoryEncoding):
        hint = near_miss(options.categories, get_args(CategoryEncoding)) or NAMES_OF_CATEGORIES
        raise DataError(f"categories must be 'one-hot', 'embedding' or 'target', got {options.categories!r}{hint}")
    if not is_count(options.max_categories):
        raise DataError(f"max_categories must be a whole number of at least 1, got {options.max_categories!r}")


def _column_names(option: str, names: Any) -> tuple[str, ...]:
    """Return names of columns, or one, as a tuple."""
    if isinstance(names, str):  # otherwise each letter would be a name
        return (names,)
    if not isinstance(names, Iterable):
        raise DataError(f"{option} must be a sequence of names of columns, got {names!r}")
    given = tuple(names)
    for name in given:
        if not isinstance(name, str):
            raise DataError(
                f"{option} takes names of columns, which are text, got {name!r}; write 'x{name}' for a column of an "
                f"array, and '{name}' for one of a data frame"
            )
    return tuple(map(str, given))  # without NumPy's type, which messages would show


def _missing_texts(missing: Any) -> tuple[str, ...]:
    """Return texts that mean a missing value; numbers as texts, ``-999.0`` as ``-999``."""
    given = tuple(missing) if isinstance(missing, Iterable) and not isinstance(missing, str) else (missing,)
    texts = []
    for value in given:
        text = value if isinstance(value, str) else None
        if isinstance(value, int | float | np.number) and not isinstance(value, bool | np.complexfloating):
            text = write_number(int(value) if isinstance(value, int | np.integer) else float(value))
        if text is None:
            raise DataError(f"missing must be texts or numbers that mean a missing value, such as -999, got {value!r}")
        texts.append(text)
    return tuple(texts)


@dataclass(frozen=True)
class ColumnOptions:
    """What a user says about the columns of a table; see :func:`fit_preprocessing`. A text stands for a list of one.

    With `exact_labels` each text of the target is a class, also those that usually mean a missing value, and `missing`
    is of the features alone. `seed` divides the training rows into the folds of target statistics, of which each value
    of the column `group` is in one.
    """

    target: str | Sequence[str] | None = None
    task: Task = "auto"
    types: Mapping[str, ColumnType] | None = None
    categorical: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: Sequence[str] = ()
    max_categories: int = 100
    strict: bool = False
    exact_labels: bool = False
    numbers: NumberEncoding = "linear"
    categories: CategoryEncoding = "one-hot"
    seed: int = 0
    group: str | None = None

    def __post_init__(self) -> None:
        for name in ("categorical", "drop"):
            object.__setattr__(self, name, _column_names(name, getattr(self, name)))
        if self.types is not None and not isinstance(self.types, Mapping):
            raise DataError(f"types must be a dict of names of columns and types, got {type(self.types).__name__}")
        _column_names("types", tuple(self.types or ()))
        object.__setattr__(self, "missing", _missing_texts(self.missing))
