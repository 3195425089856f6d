"""What a column holds: numbers or categories, missing values, and which columns are the targets."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from gpubp._core.names import near_miss
from gpubp._core.text import excerpt, shortened
from gpubp.data._text_values import MISSING_TEXTS, Kind, has_separators, read_number
from gpubp.data.preprocessing._schema import as_numbers
from gpubp.data.table import Table
from gpubp.errors import DataError

TARGET_NAMES = ("target", "label", "class", "y")
"""Names that mark a column as the target, in upper or lower case."""

MAX_CODED_CLASSES = 20
"""Whole numbers are classes if there are at most this many and each occurs at least twice on average."""


def choose_targets(table: Table, target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Choose the target columns: `target`, else those the source marks, else one of `TARGET_NAMES`, else the last."""
    if target is not None:
        names = (target,) if isinstance(target, str) else tuple(target)
        if not names or len(set(names)) < len(names):
            raise DataError(f"targets must be named, each once, got {list(names)}")
        return names
    if table.targets:
        return table.targets
    by_lower = {name.lower(): name for name in table.columns}
    return (next((by_lower[name] for name in TARGET_NAMES if name in by_lower), list(table.columns)[-1]),)


def require_column(table: Table, name: str) -> None:
    """Raise a DataError that suggests the nearest name if the table has no such column."""
    if name not in table.columns:
        raise DataError(
            f"{table.source} has no column {name!r}{near_miss(name, table.columns)}; "
            f"it has {quoted_list(table.columns)}"
        )


def category_kind(table: Table, name: str, categorical: Sequence[str]) -> Kind | None:
    """Return what a column of categories holds, None for a column of numbers.

    Raises
    ------
    DataError
        If the column mixes numbers with some other text and is not in `categorical`.
    """
    kind = table.kind(name)
    if name in categorical:
        return "text" if name in table.written else kind
    if kind == "text":
        counts = Counter(text for text in table.columns[name] if text is not None)
        refuse_separators(name, counts)
        if text_among_numbers(counts) is not None:
            as_numbers(table, name, categories_fix(name))
            raise DataError(f"column {name!r} holds true or false among numbers; {categories_fix(name)}")
    return None if kind == "number" else kind


def categories_fix(name: str) -> str:
    """Say how a column with text among its numbers can be fixed."""
    return f"correct it, or read categories: categorical=[{name!r}] (--categorical {name!r})"


def are_few_whole_numbers(distinct: Collection[float], n_rows: int) -> bool:
    """Return whether numbers are classes: whole, at most `MAX_CODED_CLASSES`, each at least twice on average."""
    few = len(distinct) <= MAX_CODED_CLASSES and n_rows >= 2 * len(distinct)
    return few and all(float(value).is_integer() for value in distinct)


def refuse_separators(name: str, counts: Counter[str]) -> None:
    """Raise a DataError if most values are numbers and some are written with separators, as in ``"1,234"``.

    Parameters
    ----------
    name : str
        Name of the column.
    counts : Counter
        How often each text occurs.
    """
    separated = {text: count for text, count in counts.items() if has_separators(text)}
    n_numbers = sum(count for text, count in counts.items() if read_number(text) is not None)
    if separated and n_numbers + sum(separated.values()) > counts.total() / 2:
        shown = excerpt(repr(next(iter(separated))), 60)
        raise DataError(
            f"column {name!r} seems to hold numbers with separators, such as {shown}: write plain numbers with a "
            f"decimal point (1234.5), or read categories: categorical=[{name!r}] (--categorical {name!r})"
        )


def text_among_numbers(counts: Counter[str]) -> str | None:
    """Return a text that is not a number from a column whose values are mostly numbers; None if all are numbers.

    Examples
    --------
    >>> for texts in (["1", "2", "x"], ["1", "x"], ["01"]):
    ...     print(text_among_numbers(Counter(texts)))
    x
    None
    None
    """
    others = [text for text in counts if read_number(text) is None and text not in MISSING_TEXTS]
    n_numbers = sum(count for text, count in counts.items() if read_number(text) is not None)
    return others[0] if others and n_numbers > counts.total() / 2 else None


def quoted_list(names: Iterable[str]) -> str:
    """Quote names for a message; of more than twelve, show the first twelve and the count."""
    return shortened([excerpt(repr(name), 60) for name in names])
