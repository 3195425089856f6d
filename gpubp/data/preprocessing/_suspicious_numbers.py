"""Numbers that are not what they seem: marks of missing values, and another unit than in training."""

import numpy as np
from numpy.typing import NDArray

from gpubp.data.preprocessing._records import NumberColumn

LEAST_MARKS = 3
"""A number is taken for a mark of missing values if it occurs at least this often."""

LEAST_OTHERS = 10
"""Distinct numbers beside a mark of one or two digits."""

LEAST_BESIDE_LONG = 3
"""Distinct numbers beside a longer one, such as 999, which codes do not reach."""

LEAST_OF_A_UNIT = 10
"""Numbers from which another unit can be seen."""

FACTORS = (100.0, 1000.0, 0.01, 0.001)
"""What another unit multiplies numbers by: per cent, thousands."""


@np.errstate(all="ignore")
def likely_mark(numbers: NDArray[np.float64]) -> float | None:
    """Return the number that plainly stands for missing values, such as -999; None if there is none.

    It is the least or the greatest number, occurs several times, and is written in nines and farther from all others
    than these are from each other, or it is -1, -9, -99, ... beside numbers that are all positive.

    Examples
    --------
    >>> ages = np.arange(20.0, 70.0)
    >>> likely_mark(np.append(ages, [-1.0] * 3)), likely_mark(np.append(ages, [999.0] * 3))
    (-1.0, 999.0)
    >>> print(likely_mark(np.append(ages, [99.0] * 3)))
    None
    """
    for number in (float(numbers.min()), float(numbers.max())) if len(numbers) else ():
        is_of_nines = number.is_integer() and abs(number) < 1e9 and set(f"{abs(number):.0f}") == {"9"}
        if not is_of_nines and number != -1.0:
            continue
        others = numbers[numbers != number]
        least = LEAST_BESIDE_LONG if abs(number) >= 999.0 else LEAST_OTHERS
        if len(numbers) - len(others) < LEAST_MARKS or len(np.unique(others)) < least:
            continue
        low, high = float(others.min()), float(others.max())
        is_far = abs(number) >= 99.0 and max(low - number, number - high) > high - low
        if is_far or (number < 0.0 < low):
            return number
    return None


@np.errstate(all="ignore")
def unit_factor(column: NumberColumn, numbers: NDArray[np.float64]) -> float | None:
    """Return how many times as large numbers are as those of training, if that shows another unit; else None.

    Middle and spread must both be about 100 or 1000 times as large or as small, and nearly all numbers in the range of
    training after division, and outside of it before if they are larger.

    Examples
    --------
    >>> column = NumberColumn("share", mean=0.5, scale=0.3, fill=0.5, low=0.0, high=1.0)
    >>> unit_factor(column, np.linspace(1.0, 99.0, 50))
    100.0
    >>> print(unit_factor(column, np.linspace(0.0, 1.0, 50)))
    None
    """
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) < LEAST_OF_A_UNIT or column.fill == 0.0:
        return None
    middle, spread = float(np.median(numbers)) / column.fill, float(np.std(numbers)) / column.scale
    for factor in FACTORS:
        is_inside = (numbers / factor >= column.low) & (numbers / factor <= column.high)
        was_inside = (numbers >= column.low) & (numbers <= column.high)
        is_scaled = 0.5 <= middle / factor <= 2.0 and 0.4 <= spread / factor <= 2.5
        if is_scaled and is_inside.mean() >= 0.95 and (factor < 1.0 or was_inside.mean() <= 0.1):
            return factor
    return None
