"""Decide what each column of a table is: numbers, categories, dates, words, or nothing to learn from."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import get_args

from gpubp._core.names import near_miss, unknown
from gpubp._core.text import excerpt, shortened
from gpubp.data._dates import FORMATS, ISO, TIMES_OF_DAY, find_date_format, read_date
from gpubp.data._quantities import PLAIN, NumberFormat, find_number_format, several_units
from gpubp.data._text_values import (
    BOOL_WORDS,
    DESCRIPTIONS,
    Kind,
    bool_form,
    datetime_utc_form,
    has_leading_zero,
    read_number,
)
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.data.preprocessing._records import ColumnType
from gpubp.data.table import Table
from gpubp.errors import DataError

TARGET_NAMES = ("target", "label", "class", "y")
"""Names that mark a column as the target, in upper or lower case."""

MAX_CODED_CLASSES = 20
"""Whole numbers are classes if there are at most this many and each occurs at least twice on average."""

LEAST_ROWS = 10
"""A column of a shorter table is never taken for row numbers or an identifier."""

UNIQUE = 0.95
"""A column of text identifies rows if more than this share of its values are distinct."""

TEXT_WORDS = 3.0
"""Values with this many words on average are text if they seldom repeat."""

_MOST_ZONES = 100  # dates whose time zone is looked at

_COUNTING_NAMES = re.compile(r"(year|yr|month|week|day|hour|time|date|age|t)s?", re.IGNORECASE)
_IDENTIFIER_NAMES = re.compile(
    r"(?i:(.*[^a-z])?(id|uuid|guid|key|rownames?|row)|((row|record|sample|case)[^a-z]?)?index)|.*[a-z]I[Dd]"
)


@dataclass(frozen=True)
class Decision:
    """The type of a column, why it has this type, and how its values are read.

    Attributes
    ----------
    name : str
    type : str
        A `ColumnType`.
    reason : str
    kind : str
        What a column of categories or dates holds.
    number_format, date_format
        How numbers and dates are written.
    values : collection of str
        Texts such as ``"NA"`` that are categories of the column and not missing values.
    """

    name: str
    type: ColumnType
    reason: str
    kind: Kind = "text"
    number_format: NumberFormat = PLAIN
    date_format: str = ISO
    values: Collection[str] = field(default=())


def decide(facts: ColumnFacts, requested: ColumnType | None = None, *, max_categories: int = 100) -> Decision:
    """Decide the type of a feature.

    Parameters
    ----------
    facts : ColumnFacts
    requested : str, optional
        The type that the user wants.
    max_categories : int
        A column of text with more different values may be free text.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> facts = ColumnFacts("speed")
    >>> facts.add(table_from_mapping({"speed": ["18 mpg", "21 mpg", "NA"]}))
    >>> decision = decide(facts)
    >>> decision.type, decision.reason
    ('number', "numbers with the unit 'mpg'")
    """
    name, values = facts.name, plain_values(facts)
    counts = {**facts.counts, **{text: facts.marks[text] for text in values}}
    if requested is not None:
        return _as_requested(facts, counts, requested)
    if not counts:
        return Decision(name, "drop", "no values")
    if len(counts) == 1 and facts.n_values == facts.n_rows:
        return Decision(name, "drop", f"constant, {_shown(next(iter(counts)))}")
    if facts.kind in ("datetime", "datetime_utc"):
        return Decision(name, "date", DESCRIPTIONS[facts.kind], facts.kind)
    if facts.kind == "bool":
        return Decision(name, "category", DESCRIPTIONS["bool"], "bool")
    if facts.is_numeric or all(read_number(text) is not None for text in counts):
        if facts.is_categorical and facts.has_repeats:
            return Decision(name, "category", "categories of the data frame, or labels", facts.kind or "text")
        return _of_numbers(facts)
    return _of_text(facts, counts, values, max_categories)


def _as_requested(facts: ColumnFacts, counts: Mapping[str, int], requested: ColumnType) -> Decision:
    name, kind, reason = facts.name, facts.kind or "text", "as requested"
    if requested == "number":
        found = facts.number_format if facts.is_numeric else find_number_format(counts, facts.decimal, least=0.0)
        return Decision(name, requested, reason, number_format=found or PLAIN)
    if requested == "date":
        is_typed = kind in ("datetime", "datetime_utc")
        date_format = None if is_typed else find_date_format(counts, least=0.0)
        return Decision(name, requested, reason, kind if is_typed else "datetime", date_format=date_format or ISO)
    if requested == "category":
        return Decision(name, requested, reason, "text" if facts.is_written else kind, values=plain_values(facts))
    return Decision(name, requested, reason)


def _of_numbers(facts: ColumnFacts) -> Decision:
    """Decide about a column in which every value is a number."""
    name, counts = facts.name, facts.number_counts
    if are_codes(counts):
        if _identifies(facts):
            return Decision(
                name, "drop", f"an identifier: codes such as {_shown(_first_code(counts))}, none of them twice"
            )
        return Decision(name, "category", f"codes with leading zeros, such as {_shown(_first_code(counts))}")
    if facts.n_values >= LEAST_ROWS and facts.n_values == facts.n_rows and not _COUNTING_NAMES.fullmatch(name):
        numbers = None if facts.is_truncated or facts.has_repeats else _whole_numbers(counts)
        if facts.is_consecutive or (numbers and max(numbers) - min(numbers) + 1 == len(numbers) == facts.n_rows):
            return Decision(name, "drop", "row numbers: whole numbers one after the other, none of them twice")
        if _IDENTIFIER_NAMES.fullmatch(name) and not facts.has_repeats and _whole_numbers(counts):
            return Decision(name, "drop", "an identifier by its name and values: whole numbers, none of them twice")
    if len(counts) > 1 and all(len(text) == 8 and text[:2] in ("19", "20") for text in counts):
        date_format = find_date_format(counts)
        if date_format is not None:
            return Decision(
                name, "date", f"dates such as {_shown(next(iter(counts)))}", "datetime", date_format=date_format
            )
    reason = "durations, in seconds" if facts.are_durations else "numbers"
    return Decision(name, "number", reason, number_format=facts.number_format)


def _of_text(facts: ColumnFacts, counts: Mapping[str, int], values: Collection[str], max_categories: int) -> Decision:
    """Decide about a column in which some values are not numbers."""
    name, example = facts.name, _shown(next(iter(counts)))
    if (number_format := find_number_format(counts, facts.decimal)) is not None:
        return Decision(name, "number", describe_format(number_format), number_format=number_format)
    if (date_format := find_date_format(counts)) is not None:
        return _of_dates(name, counts, date_format)
    words = {text.strip().lower() for text in counts}
    if len(words) == 2 and any(words == set(pair) for pair in zip(*BOOL_WORDS, strict=True)):
        no, yes = (next(text for text in counts if bool_form(text) == form) for form in ("False", "True"))
        return Decision(name, "category", f"yes or no, written {_shown(no)} and {_shown(yes)}", "bool")
    n_words = sum(len(text.split()) * n for text, n in counts.items()) / sum(counts.values())
    is_unique = _identifies(facts) or _hardly_repeats(facts, counts)
    if n_words < TEXT_WORDS and is_unique and not values:
        how_many = "hardly any" if facts.has_repeats else "none"
        return Decision(
            name, "drop", f"an identifier: text such as {example}, {how_many} of it twice{_mixed_quantities(counts)}"
        )
    if n_words >= TEXT_WORDS and (is_unique or len(counts) > max(max_categories, sum(counts.values()) // 2)):
        return Decision(name, "words", f"free text, {n_words:.0f} words on average")
    return Decision(name, "category", f"text{_mixed_quantities(counts)}{_nearly_equal(counts)}", values=values)


def _mixed_quantities(counts: Mapping[str, int]) -> str:
    texts = several_units(counts)
    return f"; to have numbers, write {' and '.join(map(_shown, texts))} in one unit" if texts else ""


def _nearly_equal(counts: Mapping[str, int]) -> str:
    """Name the first categories that differ only by spaces around them or by case, if any do."""
    first = dict[str, str]()
    for text in counts:
        other = first.setdefault(text.strip().casefold(), text)
        if other != text:
            return f"; categories differ only by spaces or case: {_shown(other)}, {_shown(text)}"
    return ""


def _of_dates(name: str, counts: Mapping[str, int], date_format: str) -> Decision:
    what = "times of the day" if date_format in TIMES_OF_DAY else "dates"
    reason = f"{what} written as {_shown(next(iter(counts)))}"
    swapped = date_format.replace("%d", "%D").replace("%m", "%d").replace("%D", "%m")
    if date_format != swapped and swapped in FORMATS:
        first = "month" if date_format.index("%m") < date_format.index("%d") else "day"
        is_clear = any(read_date(text, date_format) is not None and read_date(text, swapped) is None for text in counts)
        reason += f", {first} first" + ("" if is_clear else ", which no value shows")
    some = [text for text in islice(counts, _MOST_ZONES) if read_date(text, date_format) is not None]
    has_zone = {date_format == ISO and datetime_utc_form(text) is not None for text in some}
    if len(has_zone) > 1:
        reason += "; those without a time zone are taken as UTC"
    return Decision(name, "date", reason, "datetime_utc" if True in has_zone else "datetime", date_format=date_format)


def plain_values(facts: ColumnFacts, *, is_target: bool = False) -> tuple[str, ...]:
    """Return the texts of missing values that are plainly values of a column, such as Namibia's code among others.

    They are, unless the user says that they are missing: NA among at least five other codes of two capital letters; a
    punctuation mark among others; None in a column that says otherwise what is missing, and in a target.
    """
    others = list(facts.counts)
    plain = []
    for text in facts.marks:
        if not text.strip() or text.strip() in facts.missing:
            continue
        if len(text) == 2 and text.isalpha():
            is_plain = len(others) >= 5 and all(re.fullmatch("[A-Z]{2}", other) for other in others)
        elif text.isascii() and not text.isalnum() and len(text) == 1:
            is_plain = bool(others) and all(len(other) == 1 and not other.isalnum() for other in others)
        else:
            is_plain = text == "None" and (is_target or facts.n_empty > 0) and _are_words(others)
        if is_plain:
            plain.append(text)
    return tuple(plain)


def choose_targets(table: Table, target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Choose the target columns: `target`, else those the source marks, else one of `TARGET_NAMES`, else the last."""
    if target is not None:
        names = (target,) if isinstance(target, str) else tuple(target) if isinstance(target, Sequence) else ()
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise DataError(f"targets must be named, each once, got {target!r}")
        return names
    if table.targets:
        return table.targets
    by_lower = {name.lower(): name for name in table.columns}
    return (next((by_lower[name] for name in TARGET_NAMES if name in by_lower), list(table.columns)[-1]),)


def requested_types(
    types: Mapping[str, ColumnType] | None, categorical: Sequence[str], drop: Sequence[str]
) -> dict[str, ColumnType]:
    """Join the options that request types, and check the types."""
    requested: dict[str, ColumnType] = {**(types or {}), **dict.fromkeys(categorical, "category")}
    requested |= dict.fromkeys(drop, "drop")
    for name, column_type in requested.items():
        if column_type not in get_args(ColumnType):
            raise DataError(unknown(f"type of column {name!r}", str(column_type), get_args(ColumnType)))
    return requested


def require_column(table: Table, name: str) -> None:
    """Raise a DataError that suggests the nearest name if the table has no such column."""
    if name not in table.columns:
        raise DataError(
            f"{table.source} has no column {name!r}{near_miss(name, table.columns)}; "
            f"it has {quoted_list(table.columns)}"
        )


def are_few_whole_numbers(counts: Mapping[str, int], n_rows: int) -> bool:
    """Return whether numbers are classes: whole, at most `MAX_CODED_CLASSES`, each at least twice on average."""
    few = len(counts) <= MAX_CODED_CLASSES and n_rows >= 2 * len(counts)
    return few and _whole_numbers(counts) is not None


def quoted_list(names: Collection[str]) -> str:
    """Quote names for a message; of more than twelve, show the first twelve and the count."""
    return shortened([excerpt(repr(name), 60) for name in names])


def _identifies(facts: ColumnFacts) -> bool:
    """Return whether no value occurs twice, in enough rows to say so."""
    return facts.n_values >= LEAST_ROWS and not facts.has_repeats


def _hardly_repeats(facts: ColumnFacts, counts: Mapping[str, int]) -> bool:
    """Return whether nearly every row has a value of its own, so that other rows have others."""
    n_values = sum(counts.values())
    return not facts.is_truncated and n_values >= LEAST_ROWS and len(counts) > UNIQUE * n_values


def _are_words(texts: Collection[str]) -> bool:
    """Return whether texts are neither numbers, with units or without, nor dates."""
    counts = dict.fromkeys(texts, 1)
    return find_number_format(counts) is None and find_date_format(counts) is None


def _whole_numbers(texts: Collection[str]) -> list[int] | None:
    """Return texts as whole numbers, None if one is not."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return [int(number) for number in numbers] if all(number.is_integer() for number in numbers) else None


def are_codes(texts: Collection[str]) -> bool:
    """Return whether texts are codes of digits, at least one of which begins with a zero."""
    return all(text.isdecimal() for text in texts) and any(map(has_leading_zero, texts))


def _first_code(texts: Collection[str]) -> str:
    return next(text for text in texts if has_leading_zero(text))


def describe_format(number_format: NumberFormat) -> str:
    """Describe how numbers are written."""
    if number_format == PLAIN:
        return "numbers"
    parts = [f"the unit {number_format.symbol!r}"] if number_format.symbol else []
    parts += ["k, M or B for powers of ten"] if number_format.has_magnitudes else []
    parts += ["a decimal comma"] if number_format.decimal == "," else []
    parts += [f"{number_format.thousands!r} between thousands"] if number_format.thousands else []
    return f"numbers with {' and '.join(parts)}" if parts else "numbers"


def _shown(text: str) -> str:
    return excerpt(repr(text), 40)
