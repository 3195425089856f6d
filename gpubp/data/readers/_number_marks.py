"""Find how numbers are written in a text: the decimal mark, and the mark between thousands."""

import re
from collections.abc import Sequence
from typing import Any

from gpubp.data._number_patterns import (
    DECIMAL_COMMA,
    DECIMAL_POINT,
    GROUPED_BY_POINT,
    GROUPED_WITH_COMMA,
    MANY_GROUPS,
    WHOLE,
    plain_number,
)


def find_number_marks(columns: Sequence[Sequence[str]], separator: str) -> tuple[str, str]:
    """Return the decimal mark and the mark between thousands; thousands are looked for with a decimal comma only.

    Parameters
    ----------
    columns : sequence of sequences of str
        The fields of each column that are not missing.
    separator : str
        The separator of the fields. If it is a semicolon, ``1,234`` has a decimal comma.

    Examples
    --------
    >>> find_number_marks([["1,5", "2"], ["a", "b"]], ";"), find_number_marks([["1.234,5", "17,0"]], ";")
    ((',', ''), (',', '.'))
    >>> find_number_marks([["1,234", "5,678"]], ","), find_number_marks([["1.5"], ["1,5", "x"]], ";")
    (('.', ''), ('.', ''))
    """
    if not any("," in text for fields in columns for text in fields):
        return ".", ""
    with_comma = with_point = 0
    groups: list[str] = []
    by_point = other_points = False
    for fields in columns:
        commas = [
            match for text in fields if (match := DECIMAL_COMMA.fullmatch(text) or GROUPED_WITH_COMMA.fullmatch(text))
        ]
        points = [text for text in fields if DECIMAL_POINT.fullmatch(text)]
        many = [text for text in fields if MANY_GROUPS.fullmatch(text)]
        whole = sum(bool(WHOLE.fullmatch(text)) for text in fields)
        if not fields or len(commas) + len(points) + len(many) + whole < 0.9 * len(fields):
            continue
        is_decimal = separator == ";" or any(_has_decimal_comma(match) for match in commas)
        with_comma += bool(commas) and is_decimal
        outside = [text for text in points if not GROUPED_BY_POINT.fullmatch(text)]
        with_point += bool(outside)
        by_point, other_points = by_point or len(points) > len(outside), other_points or bool(outside)
        groups += [match[1] for match in commas if match.re is GROUPED_WITH_COMMA]
        groups += [match[1] for text in many if (match := MANY_GROUPS.fullmatch(text))]
    if with_comma <= with_point:
        return ".", ""
    return ",", groups[0] if groups else "." if by_point and not other_points else ""


def _has_decimal_comma(match: re.Match[str]) -> bool:
    if match.re is GROUPED_WITH_COMMA:
        return True
    before, after = match[1], match[2]
    return len(after) != 3 or len(before) > 3 or before in ("", "0") or (before.startswith("0"))


def write_plainly(texts: Any, decimal: str, thousands: str) -> Any:
    """Write the numbers among texts of pyarrow with a decimal point and without marks between thousands.

    A text that is not a number as a whole is kept.
    """
    if (decimal, thousands) == (".", ""):
        return texts
    from pyarrow import compute

    plain = texts
    if thousands:
        plain = compute.replace_substring(plain, thousands, "")
    if decimal != ".":
        plain = compute.replace_substring(plain, decimal, ".")
    return compute.if_else(compute.match_substring_regex(texts, plain_number(decimal, thousands)), plain, texts)
