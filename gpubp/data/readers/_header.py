"""Find the header of a table among its first rows, and name its columns."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gpubp._core.text import excerpt, shortened
from gpubp.data._number_patterns import NUMBER_OR_AMOUNT
from gpubp.data._text_values import MISSING_TEXTS

ROW_NAME = "row_name"

_MAX_TITLES = 30
_MISSING = {*MISSING_TEXTS, "--"}
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|\d{1,2}:\d\d(:\d\d)?.*")
_ORANGE_TYPES = re.compile(r"|[cdsti]|continuous|discrete|string|time|([^ ]|\\ )+( ([^ ]|\\ )+)+")
_ORANGE_FLAGS = re.compile(r"|class|meta|ignore|[cmi]|\w+=.*")


class Names(NamedTuple):
    """The names of columns, and what was decided about them, in short sentences."""

    names: tuple[str, ...]
    notes: tuple[str, ...]


def is_title(rows: Sequence[Sequence[str]], n_fields: int) -> bool:
    """Return whether the first row is a title above a table of `n_fields` columns, not a header or a row of it.

    Examples
    --------
    >>> is_title([["Sales of 2020"], ["town", "fee"], ["Bonn", "3"]], 2)
    True
    >>> is_title([["town", "fee"], ["1", "Bonn", "3"]], 3)  # names without one for the names of the rows
    False
    """
    present = [text for text in rows[0] if text]
    if len(rows) < 2 or n_fields < 2:
        return False
    if not any(rows[0]):
        return True
    if len(rows[0]) == n_fields:
        return n_fields > 2 and len(present) == 1 and len(rows[1]) == n_fields and all(rows[1][1:])
    if len(rows[0]) > n_fields:
        return False
    if len(rows[0]) == n_fields - 1 and len(rows[1]) == n_fields:
        return len(rows) > 2 and has_header(rows[1], rows[2:]) and _votes(rows[1], rows[2:]) > 0
    following = next((len(row) for row in rows[1:] if any(row)), 0)
    return following == n_fields or len(present) < n_fields / 2


def count_titles(rows: Sequence[Sequence[str]], n_fields: int) -> int:
    """Return how many rows are titles above a table; see :func:`is_title`."""
    n = 0
    while n < min(_MAX_TITLES, len(rows) - 1) and is_title(rows[n:], n_fields):
        n += 1
    return n


def note_titles(rows: Sequence[Sequence[str]], n: int, what: str) -> tuple[str, ...]:
    """Describe the titles that are left out, which are lines or rows."""
    if not n:
        return ()
    which = f"{n} {what}s before the table are" if n > 1 else f"the {what} before the table is"
    shown = excerpt(repr(" ".join(filter(None, rows[0]))), 60)
    return (f"{which} left out: {shown} (option skip_rows)",)


def has_header(row: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a row has the names of the columns of the rows after it.

    Examples
    --------
    >>> has_header(["age", "town"], [["42", "Bonn"], ["17", "Ulm"]])
    True
    >>> has_header(["5.1", "setosa"], [["4.9", "setosa"]])
    False
    """
    if not rows:
        numbers = sum(_is_number(text) for text in row)
        return not numbers or _counts_up(row)
    names_no_index = len(row) > 1 and not row[0] and all(other and other[0] for other in rows)
    return names_no_index or _votes(row, rows) >= 0 or _counts_up(row)


def choose_names(header: Sequence[str] | None, rows: Sequence[Sequence[str]], n_fields: int) -> Names:
    """Return different, non-empty names, from a header if there is one; "" for an empty column after the last one.

    Examples
    --------
    >>> choose_names(["a", "", "a"], [["1", "2", "3"]], 3).names
    ('a', 'unnamed_2', 'a_2')
    >>> choose_names(["mpg", "hp"], [["Mazda RX4", "21.0", "110"]], 3).names
    ('row_name', 'mpg', 'hp')
    >>> choose_names(None, [["1", "2"]], 2).names
    ('column_1', 'column_2')
    """
    if header is None:
        ends = n_fields > 1 and bool(rows) and all(len(row) == n_fields and not row[-1] for row in rows)
        named = [f"column_{place + 1}" for place in range(n_fields - ends)]
        return Names((*named, *[""] * ends), _ending(ends))
    names, notes = [name.strip() for name in header], list[str]()
    while len(names) > max(n_fields, 1) and not names[-1]:
        names.pop()
    n_columns = max(n_fields, len(names))
    in_last = [row[n_columns - 1] for row in rows if len(row) == n_columns]
    ends = False
    if n_columns == len(names) + 1:
        if in_last and not any(in_last):
            ends = True
        else:
            names.insert(0, ROW_NAME)
            notes.append(f"the first column has no name in the header: it is named {ROW_NAME}")
    elif len(names) == n_columns > 1 and not names[-1] and rows and not any(in_last):
        names, ends = names[:-1], True
    n_unnamed = n_columns - len(names) - ends
    names += [""] * n_unnamed
    notes += _ending(ends)
    unique = unique_names(names)
    return Names((*unique.names, *[""] * ends), (*notes, *unique.notes))


def is_of_orange(rows: Sequence[Sequence[str]], n_names: int) -> bool:
    """Return whether the rows begin with the two lines in which files of Orange describe their columns."""
    if len(rows) < 3 or not all(0 < len(row) <= n_names for row in rows[:2]):
        return False
    types, flags = rows[0], rows[1]
    return (
        all(map(_ORANGE_TYPES.fullmatch, types))
        and all(map(_ORANGE_FLAGS.fullmatch, flags))
        and sum(text in ("c", "d", "s", "continuous", "discrete", "string") for text in types) >= len(types) / 2
        and sum(not text for text in flags) >= len(flags) / 2 - 1
    )


def unique_names(names: Sequence[str]) -> Names:
    """Return names of which none is empty and none repeats.

    Examples
    --------
    >>> unique_names(["a", "a", "a_2", ""]).names
    ('a', 'a_3', 'a_2', 'unnamed_4')
    """
    notes: list[str] = []
    taken, used, chosen = Counter(names), set[str](), list[str]()
    unnamed, renamed = [], []
    for place, name in enumerate(names):
        new = name
        if not name:
            new = _free(f"unnamed_{place + 1}", taken)
            unnamed.append(new)
        elif name in used:
            new = _free(f"{name}_2", taken)
            renamed.append(f"{name!r} {new!r}")
        taken[new] += 1
        used.add(new)
        chosen.append(new)
    if unnamed:
        notes.append(f"columns without a name in the header are named {excerpt(shortened(unnamed), 200)}")
    if renamed:
        notes.append(f"names that repeat are changed: {excerpt(shortened(renamed, 6), 300)}")
    return Names(tuple(chosen), tuple(notes))


def _free(name: str, taken: Counter[str]) -> str:
    stem, _, number = name.rpartition("_")
    count = int(number)
    while taken[f"{stem}_{count}"]:
        count += 1
    return f"{stem}_{count}"


def _ending(ends: bool) -> tuple[str, ...]:
    return ("each line ends with a separator; no column follows it",) if ends else ()


def _votes(row: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how much speaks for a header, minus what speaks against it; columns of numbers decide if there are any."""
    shift = max(0, max(map(len, rows)) - len(row))
    if shift > 1:
        shift = 0
    of_numbers = of_texts = 0
    for place, name in enumerate(row):
        values = [text for row in rows if len(row) > place + shift and (text := row[place + shift]) not in _MISSING]
        if not values or name in _MISSING:
            continue
        if sum(_is_number(text) for text in values) >= 0.9 * len(values):
            of_numbers += -1 if _is_number(name) else 1
        elif name in values:
            of_texts -= 1
        elif len(set(values)) < len(values) / 2:
            of_texts += 1
    return of_numbers or of_texts


def _is_number(text: str) -> bool:
    text = text.strip()
    return bool(NUMBER_OR_AMOUNT.fullmatch(text) or _DATE.fullmatch(text))


def _counts_up(row: Sequence[str]) -> bool:
    """Return whether names are text, and years or numbers that follow each other from 0 or 1: ``country,1990,1991``."""
    numbers = [int(text) for text in row if re.fullmatch(r"\d{1,4}", text.strip(), re.ASCII)]
    n_texts = sum(not _is_number(text) for text in row)
    if len(numbers) < 2 or len(numbers) + n_texts < len(row):
        return False
    steps = {later - sooner for sooner, later in pairwise(numbers)}
    is_count = steps == {1} and numbers[0] in (0, 1) and len(row) > 3
    are_years = len(steps) == 1 and min(steps) > 0 and 1800 <= numbers[0] < numbers[-1] <= 2100 and n_texts > 0
    return is_count or are_years
