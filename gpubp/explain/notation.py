"""Notation of numbers and fractions, on a terminal or on a page."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from gpubp.explain._walk import Passage

_FRACTION = re.compile(
    r"(?P<top>[∂d][^\s/]+)/(?P<under>[∂d][^\s/)]+)|(?P<above>\w+(?:\(\S+\))?) / \((?P<below>(?:[^()]|\([^()]*\))+)\)"
)
MAX_SUMMED = 4


class Fraction(NamedTuple):
    """What is above the fraction line and what is below."""

    top: str
    bottom: str


def fractions(formula: str) -> Iterator[str | Fraction]:
    """Split a formula into its fractions and the text between them.

    Examples
    --------
    >>> list(fractions("a = dy/dx · 2"))
    ['a = ', Fraction(top='dy', bottom='dx'), ' · 2']
    """
    position = 0
    for match in _FRACTION.finditer(formula):
        if match.start() > position:
            yield formula[position : match.start()]
        yield Fraction(match["top"] or match["above"], match["under"] or match["below"])
        position = match.end()
    if position < len(formula):
        yield formula[position:]


def number_format(values: np.ndarray, precision: int) -> Callable[[float], str]:
    """Choose the format of all numbers of a matrix: integers bare, small ones with an exponent, 0 without a minus.

    Examples
    --------
    >>> list(map(number_format(np.asarray([-0.0, 0.25]), 2), [-0.0, 0.25]))
    ['0.00', '0.25']
    """
    sizes = np.abs(values[values != 0])
    form = f".{precision}f"
    if np.all(values == np.round(values)) and np.all(sizes < 1e6):
        form = ".0f"
    elif sizes.max(initial=0) < min(10.0 ** (1 - precision), 0.05) or sizes.max(initial=0) >= 1e6:
        form = f".{max(precision - 1, 0)}e"
    return lambda value: format(value + 0.0, form)  # -0.0 + 0.0 is 0.0


def worked_number(passage: Passage, precision: int) -> str:
    """Write out the arithmetic of the first number of the result, if it is a short sum, product or difference."""
    worked = worked_at(passage, precision, (0, 0)) if len(passage.terms) == 2 else ""
    return f"the first number: {worked}" if worked else ""


def worked_at(passage: Passage, precision: int, index: tuple[int, int], max_summed: int = MAX_SUMMED) -> str:
    """Write out the arithmetic of the number at a place of the result; return an empty text if that is long.

    Examples
    --------
    >>> from gpubp.explain._walk import Term
    >>> a, b, c = np.asarray([[1.0, 2.0]]), np.asarray([[3.0], [-0.5]]), np.asarray([[2.0]])
    >>> worked_at(Passage("1", "", "", (Term("", "a", a), Term("×", "b", b)), Term("=", "c", c), ""), 1, (0, 0))
    '1 × 3.0 + 2 × (-0.5) = 2'
    """
    result = passage.result.values
    format_result, (row, column) = number_format(result, precision), index
    format_first = number_format(passage.terms[0].values, precision)
    if len(passage.terms) == 1 and result.shape == passage.terms[0].values.shape:
        unit, _, x = passage.terms[0]
        if unit.startswith("softmax"):
            return ""
        return f"{unit}({format_first(x[index])}) = {format_result(result[index])}"
    if len(passage.terms) != 2:
        return ""
    (_, _, a), (sign, _, b) = passage.terms
    format_second = number_format(b, precision)
    if sign == "×" and a.shape[1] <= max_summed:
        left_side = " + ".join(
            f"{format_first(p)} × {format_second(q)}" for p, q in zip(a[row], b[:, column], strict=True)
        )
    elif sign in ("∘", "−", "·"):
        left, right = (float(side if side.ndim == 0 else side[index]) for side in (a, b))
        left_side = f"{format_first(left)} {'−' if sign == '−' else '×'} {format_second(right)}"
    else:
        return ""
    left_side = re.sub(r"(?<= )(-\S+)", r"(\1)", left_side)  # a minus after another sign is in brackets
    return f"{left_side} = {format_result(result[index])}"
