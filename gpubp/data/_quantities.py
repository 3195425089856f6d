"""Numbers as people write them: with units, currencies, per cent, separators of thousands and decimal commas."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from gpubp.data._number_patterns import QUANTITY
from gpubp.data._text_values import has_leading_zero, read_number

MOST = 0.9
"""A column is of a type if at least this share of its values can be read as it; the others are then missing."""

MAGNITUDES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "bn": 1e9}
"""Suffixes that stand for powers of ten, if a column has several of them, or numbers without one."""

MOST_UNITS, LEAST_OF_UNIT = 3, 8
"""Units of a column that are named if no number can be read, and the different values that each has at least."""

_COMPATIBLE = re.compile("[\u00b5\u00ba\u02da\u2100-\u214f\u3371-\u33df\uff01-\uff0f\uff21-\uff5a\uffe0-\uffe6]")
"""Characters of units that others stand for as well: those of signs, of CJK squares, and wide ones."""

_DEGREES = dict.fromkeys("\u00ba\u02da", "\u00b0")  # the masculine ordinal and the ring, which keyboards have instead

_OTHER_NAMES = dict.fromkeys(("kmh", "kph", "km/h"), "km/h")  # in any case

_LONGEST = 100  # characters of a number with its unit


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Attributes
    ----------
    decimal, thousands : str
        The decimal separator, and the one between groups of three digits, which may be absent.
    symbol : str
        The text around the numbers, such as ``"mpg"``, ``"$"`` or ``"%"``; the values stay in this unit.
    has_magnitudes : bool
        Whether numbers may end in ``k``, ``M``, ``B`` or ``bn``.
    """

    decimal: str = "."
    thousands: str = ""
    symbol: str = ""
    has_magnitudes: bool = False


PLAIN = NumberFormat()
_FORMATS = tuple(
    NumberFormat(decimal, thousands)
    for decimal, thousands in [(".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (".", " "), (",", " ")]
)


def read_quantity(text: str, number_format: NumberFormat = PLAIN) -> float | None:
    """Read a number that is written in a format; return None for other text, and for another unit.

    The unit may be left out. A plain number is read in any format with a decimal point.

    Examples
    --------
    >>> read_quantity("$1,600.00", NumberFormat(thousands=",", symbol="$"))
    1600.0
    >>> read_quantity("1,8 %", NumberFormat(decimal=",", symbol="%"))
    1.8
    >>> print(read_quantity("29 km", NumberFormat(symbol="mpg")))
    None
    """
    if number_format.decimal == "." and (number := read_number(text)) is not None:
        return float(number)
    parts = _split(text)
    if parts is None:
        return None
    symbol, numeral, sign = parts
    factor = 1.0
    if number_format.has_magnitudes:
        symbol, factor = _split_magnitude(symbol)
    if symbol not in ("", number_format.symbol):
        return None
    value = _read_numeral(numeral, number_format)
    return None if value is None else sign * value * factor


def find_number_format(counts: Mapping[str, int], decimal: str = ".", least: float = MOST) -> NumberFormat | None:
    """Return the format in which most values of a column are numbers; None if there is none.

    Parameters
    ----------
    counts : mapping of str to int
        How often each text occurs, without missing values.
    decimal : str
        The decimal mark of the file, which decides where ``1.234 km`` may be two numbers.
    least : float
        The share of the values that must be numbers in this format.

    Examples
    --------
    >>> find_number_format({"18 mpg": 3, "21.5 mpg": 1}).symbol
    'mpg'
    >>> print(find_number_format({"1st": 1, "2nd": 1, "3rd": 1}))
    None
    """
    total = sum(counts.values())
    if total and _are_enough(counts, lambda text: read_number(text) is not None, max(least, 0.5) * total):
        return PLAIN
    symbols: Counter[str] = Counter()
    numerals: Counter[str] = Counter()

    def is_quantity(text: str) -> bool:
        if (parts := _split(text)) is None:
            return False
        symbols[parts[0]] += counts[text]
        numerals[parts[1]] += counts[text]
        return True

    if not _are_enough(counts, is_quantity, least * total) or not symbols or any(map(has_leading_zero, numerals)):
        return None
    formats = {
        one: sum(n for numeral, n in numerals.items() if _read_numeral(numeral, one) is not None) for one in _FORMATS
    }
    best = max(formats, key=lambda one: (formats[one], one.decimal == decimal != "."))  # of equals the first
    without = {_split_magnitude(symbol)[0] for symbol in symbols}
    if len(symbols) > 1 and len(without) == 1:  # 1.2k beside 500, or 3M beside 800k
        best = replace(best, symbol=without.pop(), has_magnitudes=True)
    else:
        named = Counter({symbol: n for symbol, n in symbols.items() if symbol})
        best = replace(best, symbol=named.most_common(1)[0][0] if named else "")
    n_read = sum(n for text, n in counts.items() if read_quantity(text, best) is not None)
    return best if n_read >= least * total else None


def several_units(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return a text in each of the units in which the numbers of a column are written, if these are two or three.

    Examples
    --------
    >>> several_units({f"{n} min": 1 for n in range(30, 60)} | {f"{n / 60} h": 1 for n in range(60, 90)})
    ('30 min', '1.0 h')
    >>> several_units({"1st": 1, "2nd": 1, "3rd": 1})
    ()
    """
    by_unit: dict[str, list[str]] = {}
    for text in counts:
        parts = _split(text) if text.strip()[:1].isdigit() else None
        if parts is not None and parts[0]:
            by_unit.setdefault(parts[0], []).append(text)
        if len(by_unit) > MOST_UNITS:
            return ()
    texts = by_unit.values()
    has_units = len(texts) > 1 and min(map(len, texts)) >= LEAST_OF_UNIT
    return tuple(few[0] for few in texts) if has_units and sum(map(len, texts)) >= MOST * len(counts) else ()


def _are_enough(counts: Mapping[str, int], holds: Callable[[str], bool], least: float) -> bool:
    """Return whether at least so many values are of a kind; stop as soon as they cannot be."""
    n_possible = sum(counts.values())
    for text, n in counts.items():
        if not holds(text):
            n_possible -= n
            if n_possible < least:
                return False
    return True


def _split(text: str) -> tuple[str, str, float] | None:
    """Split a text into its unit, the digits of its number and the sign."""
    if len(text) > _LONGEST:
        return None
    if not text.isascii():
        text = _COMPATIBLE.sub(lambda found: _DEGREES.get(found[0]) or unicodedata.normalize("NFKC", found[0]), text)
    match = QUANTITY.fullmatch(text.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    is_negative = match["open"] or any(sign and sign != "+" for sign in (match["sign"], match["after_sign"]))
    symbol = " ".join(part.strip() for part in (match["before"], match["after"]) if part)
    return plain_unit(symbol), match["numeral"] + (match["exponent"] or ""), -1.0 if is_negative else 1.0


@lru_cache(1000)
def plain_unit(symbol: str) -> str:
    """Return one of several ways to write a unit.

    Examples
    --------
    >>> plain_unit("m\u00b2"), plain_unit("m^2"), plain_unit("\u2126"), plain_unit("km / h"), plain_unit("KMH")
    ('m2', 'm2', '\u03a9', 'km/h', 'km/h')
    """
    plain = re.sub(r"\s*/\s*", "/", unicodedata.normalize("NFKC", symbol)).replace("^", "")
    plain = re.sub(r"\u00b0\s+(?=[CF]$)", "\u00b0", plain)
    return symbol if plain[:1].isdigit() else _OTHER_NAMES.get(plain.lower(), plain)


def _split_magnitude(symbol: str) -> tuple[str, float]:
    """Split ``"$k"`` into ``"$"`` and 1000."""
    magnitude = next((suffix for suffix in MAGNITUDES if suffix and symbol.endswith(suffix)), "")
    return symbol[: len(symbol) - len(magnitude)].strip(), MAGNITUDES[magnitude]


def plain_marks(text: str) -> str:
    """Return a text with plain blanks and apostrophes."""
    return text.replace("\u00a0", " ").replace("\u202f", " ").replace("\u2019", "'")


def _read_numeral(numeral: str, number_format: NumberFormat) -> float | None:
    decimal, thousands = number_format.decimal, number_format.thousands
    numeral, thousands = plain_marks(numeral), plain_marks(thousands)
    if thousands and thousands in numeral:
        whole = numeral.partition(decimal)[0]
        if not re.fullmatch(rf"\d{{1,3}}({re.escape(thousands)}\d{{3}})+", whole):
            return None
        numeral = numeral.replace(thousands, "", whole.count(thousands))
    if decimal != ".":
        if "." in numeral:
            return None
        numeral = numeral.replace(decimal, ".")
    number = read_number(numeral)
    return None if number is None else float(number)
