"""Patterns of numbers as people write them, of the same parts: sign, digits, marks between them, exponent, unit."""

import re

SIGN = "[-+\u2212]"
"""A sign; the last one is the minus of typeset text."""

GROUP_MARKS = ".,' \u00a0\u202f\u2019"
"""Characters that may be between digits: decimal marks, and those between thousands."""

CURRENCIES = "$\u20ac\u00a3\u00a5\u20b9"

EXPONENT = r"([eE][-+]?\d+)"

_POWER = r"(?:[kcdm]?m|ft|in|yd|mi|s)\^?[23](?![A-Za-z0-9])"
"""A unit that contains a digit: ``m2``, ``ft^3``, and the ``s2`` of ``m/s2``."""

_MARK_BEFORE_THOUSANDS = f"[{GROUP_MARKS.replace(',', '')}]"
_THREE_BY_THREE = rf"{SIGN}?\d{{1,3}}(?:({_MARK_BEFORE_THOUSANDS})\d{{3}})"

DECIMAL_COMMA = re.compile(rf"{SIGN}?(\d*),(\d+){EXPONENT}?")
"""``1,5``, and ``1,234`` in whatever meaning."""

DECIMAL_POINT = re.compile(rf"{SIGN}?\d*\.\d+{EXPONENT}?")
"""``1.5``, and ``1.234`` in whatever meaning."""

WHOLE = re.compile(rf"{SIGN}?\d+")
"""``15``."""

GROUPED_BY_POINT = re.compile(rf"{SIGN}?\d{{1,3}}(\.\d{{3}})+")
"""``1.234.567``."""

GROUPED_WITH_COMMA = re.compile(rf"{_THREE_BY_THREE}+,\d+")
"""``1.234,5``; the group is the last mark between thousands."""

MANY_GROUPS = re.compile(rf"{_THREE_BY_THREE}{{2,}}")
"""``1.234.567``, in which the mark can only be between thousands."""

NUMBER_OR_AMOUNT = re.compile(
    rf"[-+(\u2212]?\s?[{CURRENCIES}]?\s?(\d[\d{GROUP_MARKS}]*|[.,]\d+){EXPONENT}?\s?(?:{_POWER}|[^\d\s]{{0,4}})\)?"
    "|[-+]?(inf|nan)",
    re.IGNORECASE,
)
"""A number with a currency or a short unit, which is no name of a column."""

NUMBER_IN_BYTES = re.compile(
    rf"\"?[-+]?(\d[\d.,']*|[.,]\d+){EXPONENT}?( ?(?:{_POWER}|[A-Za-z%$\x80-\xff]{{1,8}}))?\"?".encode("ascii")
)
"""A field that is a number, perhaps with a unit, in a text that is not decoded."""

_PLAIN_IN_BYTES = rf"[-+]?[\d.]+{EXPONENT}?"
NUMBERS_IN_BYTES = re.compile(f"{_PLAIN_IN_BYTES}( +{_PLAIN_IN_BYTES})+ *".encode("ascii"))
"""Several numbers with blanks between them, in a text that is not decoded."""

_IN_UNIT = rf"(?:(?<![^\W\d_]){_POWER}|[^\d(),;:|])"
QUANTITY = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>{SIGN})?\s*(?P<before>[A-Z]{{0,3}}[{CURRENCIES}])?\s*(?P<after_sign>{SIGN})?"
    rf"(?P<numeral>(?:\d[\d{GROUP_MARKS}]*|[.,])\d|\d)(?P<exponent>[eE][-+]?\d{{1,3}})?[.,]?"
    rf"\s*(?P<after>(?:{_POWER}|[^\W\d_]){_IN_UNIT}{{0,15}}|[/%\u2030\u00b0{CURRENCIES}]{_IN_UNIT}{{0,5}})?"
    rf"\s*(?P<close>\))?"
)
"""A number with its unit, or with its currency; negative in parentheses."""


def plain_number(decimal: str, thousands: str) -> str:
    """Return the pattern, for pyarrow, of a number that is written with given marks, with blanks around it."""
    mark, group = re.escape(decimal), re.escape(thousands)
    grouped = rf"|[0-9]{{1,3}}({group}[0-9]{{3}})+" if thousands else ""
    return rf"^\s*[-+\x{{2212}}]?(([0-9]+{grouped})({mark}[0-9]*)?|{mark}[0-9]+)([eE][-+]?[0-9]+)?\s*$"
