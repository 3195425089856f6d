"""Read the text of a field as a value of a known kind, and write each value in one form.

Two fields hold the same value exactly if their forms are equal: ``01`` and ``1.0`` are both the number ``1``, but they
are different texts.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

Kind = Literal["number", "text", "bool", "datetime", "datetime_utc"]
"""What a column holds. Dates with a time zone are ``"datetime_utc"``, dates without one ``"datetime"``."""

DESCRIPTIONS: dict[Kind, str] = {
    "number": "numbers",
    "text": "text",
    "bool": "true or false",
    "datetime": "dates without a time zone",
    "datetime_utc": "dates with a time zone",
}
"""Kinds in words, for messages."""

MISSING_TEXTS = (
    *("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "#N/A N/A", "#NA", "?", "-", "."),
    *("-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "0000-00-00", "0000-00-00 00:00:00"),
)
"""Texts that mean a missing value, unless they are a category."""

BOOL_WORDS = (("true", "yes", "y", "t", "on"), ("false", "no", "n", "f", "off"))
"""Words for true and false, in lower case."""

_NUMBER = re.compile(r"[-+]?(\d++(\.\d*+)?|\.\d++)(e[-+]?\d++)?|[-+]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?\d{1,300}", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,18}))?)?\s?(Z|UTC|[-+]\d\d(?::?\d\d)?)?", re.ASCII
)


def read_number(text: str) -> int | float | None:
    """Read a decimal number, with blanks around it; return None for other text.

    Examples
    --------
    >>> [read_number(text) for text in ("02", "+1.50", " 1e3 ", "0x10", "1,5", "1_0")]
    [2, 1.5, 1000.0, None, None, None]
    """
    text = text.strip().replace("\u2212", "-")  # the minus sign of typeset text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def write_number(value: int | float) -> str | None:
    """Write a number in the shortest form that reads back as itself, a whole float as an integer; None for NaN.

    Examples
    --------
    >>> write_number(2.0), write_number(0.5), write_number(2**53 + 1)
    ('2', '0.5', '9007199254740993')
    """
    if value != value:
        return None
    return repr(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value)


def has_leading_zero(text: str) -> bool:
    """Return whether a text consists of digits that begin with a zero, as codes do: ``007``."""
    return len(text) > 1 and text[0] == "0" and text.isdecimal()


def number_form(text: str) -> str | None:
    """Return the form in which the number that a text holds is written; None if it holds none."""
    number = read_number(text)
    return None if number is None else write_number(number)


def bool_form(text: str) -> str | None:
    """Return "True" or "False" for these words in any case, for those of `BOOL_WORDS`, and for 1 and 0."""
    word = text.strip().lower()
    for form, number, words in (("True", "1", BOOL_WORDS[0]), ("False", "0", BOOL_WORDS[1])):
        if word in words or word in (number, f"{number}.0"):
            return form
    return None


def datetime_form(text: str) -> str | None:
    """Return the form of a date or time in ISO 8601 without a time zone; None for other text.

    Examples
    --------
    >>> [datetime_form(text) for text in ("2020-01-31 00:00:00", "2020-01-31T08:30:00.500", "31.1.2020")]
    ['2020-01-31', '2020-01-31T08:30:00.5', None]
    """
    form = _datetime_form(text)
    return None if form is None or form.endswith("Z") else form


def datetime_utc_form(text: str) -> str | None:
    """Return the form of a time in ISO 8601 with an offset, in UTC; None for other text.

    Examples
    --------
    >>> datetime_utc_form("2020-01-31 01:00:00+01:00"), datetime_utc_form("2020-01-31")
    ('2020-01-31Z', None)
    """
    form = _datetime_form(text)
    return form if form is not None and form.endswith("Z") else None


FORMS: dict[Kind, Callable[[str], str | None]] = {
    "number": number_form,
    "bool": bool_form,
    "datetime": datetime_form,
    "datetime_utc": datetime_utc_form,
}
"""For each kind but text, the function that returns the form of the value that a text holds."""


def _datetime_form(text: str) -> str | None:
    match = _DATETIME.fullmatch(text.strip())
    if match is None:
        return None
    date, minutes, seconds, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(f"{date}T{minutes or '00:00'}{seconds or ':00'}")
        if zone not in (None, "Z", "UTC"):
            sign, digits = -1 if zone[0] == "-" else 1, zone[1:].replace(":", "").ljust(4, "0")
            time -= sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    except (ValueError, OverflowError):
        return None
    parts = f"T{time:%H:%M:%S}", f".{(fraction or '').rstrip('0')}".rstrip(".")
    clock = "" if parts == ("T00:00:00", "") else "".join(parts)
    return f"{time.date().isoformat()}{clock}{'' if zone is None else 'Z'}"
