"""Rows of numbers: set, added up and gathered by pointer.

Numba must ask of an array's index whether it is negative, and compilers then make slow instructions of a loop; a
pointer's index it takes as it is.
"""

from numba.extending import register_jitable

from gpubp.engine.cpu.compiling import compiled
from gpubp.engine.cpu.native import address_of, pointer_to


@register_jitable
def pointer_from(address, at, example):
    """Point to number ``at``, counted from an address, where numbers like those of ``example`` are, an array."""
    return pointer_to(address + at * example.itemsize, example)


@register_jitable
def pointer_into(array, at):
    """Point to number ``at`` of an array, counted through all of it."""
    return pointer_from(address_of(array), at, array)


@register_jitable
def as_long_as_may_be(n_rows, n, step):
    """Take rows between which there are no gaps for one: short ones are gone through slowly."""
    return (1, n_rows * n, n_rows * n) if step == n else (n_rows, n, step)


@register_jitable
def set_rows(to, n_rows, n, row):
    """Set each of ``n_rows`` rows to ``row``."""
    for c in range(n_rows):
        for i in range(n):
            to[c * n + i] = row[i]


@register_jitable
def copy_rows(to, to_step, rows, step, n_rows, n):
    """Set rows that lie ``to_step`` apart to rows that lie ``step`` apart."""
    for c in range(n_rows):
        for i in range(n):
            to[c * to_step + i] = rows[c * step + i]


@register_jitable
def add_up(to, n_rows, n, parts, n_parts, apart, step, with_row, row):
    """Set rows to the sums of ``n_parts`` parts, and of ``row`` if asked.

    The parts lie ``apart`` from each other, and their rows ``step``.
    """
    for c in range(n_rows):
        for i in range(n):
            to[c * n + i] = row[i] + parts[c * step + i] if with_row else parts[c * step + i]
        for part in range(1, n_parts):
            for i in range(n):
                to[c * n + i] += parts[part * apart + c * step + i]


@register_jitable
def sum_of_rows(to, n_rows, n, rows, step, number):
    """Set ``to`` to the sum of rows that lie ``step`` apart; ``number`` is their type.

    Four at a time: a sum that is in memory has to wait for itself.
    """
    for i in range(n):
        to[i] = number(0.0)
    whole = n_rows - n_rows % 4
    for c in range(0, whole, 4):
        first, second, third, fourth = c * step, (c + 1) * step, (c + 2) * step, (c + 3) * step
        for i in range(n):
            to[i] += (rows[first + i] + rows[second + i]) + (rows[third + i] + rows[fourth + i])
    for c in range(whole, n_rows):
        for i in range(n):
            to[i] += rows[c * step + i]


@register_jitable
def gather(to, n, rows, chosen, first, n_rows):
    """Set ``n_rows`` rows to those that ``chosen`` names from ``first`` on."""
    for c in range(n_rows):
        row = chosen[first + c]
        for i in range(n):
            to[c * n + i] = rows[row * n + i]


@register_jitable
def keep(numbers, n_rows, n, mask, step):
    """Multiply rows that lie without gaps by rows of a mask that lie ``step`` apart."""
    for c in range(n_rows):
        for i in range(n):
            numbers[c * n + i] *= mask[c * step + i]


@register_jitable
def average(numbers, n, sums, places, weight_at, n_equal, number):
    """Set each of n numbers to the average of those that are the same weight, and to 0 where there is none.

    ``places`` are where there are any, ``weight_at`` which; ``number`` is their type.
    """
    for weight in range(n_equal.size):
        sums[weight] = number(0.0)
    for i in range(places.size):
        sums[weight_at[i]] += numbers[places[i]]
    for weight in range(n_equal.size):
        sums[weight] /= n_equal[weight]
    for i in range(n):
        numbers[i] = number(0.0)
    for i in range(places.size):
        numbers[places[i]] = sums[weight_at[i]]


@register_jitable
def shrink(numbers, n_rows, n, step, part):
    """Take a part off each number of rows that lie ``step`` apart."""
    for c in range(n_rows):
        for i in range(n):
            numbers[c * step + i] -= part * numbers[c * step + i]


@register_jitable
def all_finite(numbers, n_rows, n, step):
    """Tell whether all numbers are finite, of rows that lie ``step`` apart."""
    n_finite = 0
    for c in range(n_rows):
        for i in range(n):
            n_finite += numbers[c * step + i] - numbers[c * step + i] == 0
    return n_finite == n_rows * n


def _sum_of_squares(numbers, n_rows, n, step):
    """Add up the squares of rows that lie ``step`` apart."""
    total = 0.0
    n_rows, n, step = as_long_as_may_be(n_rows, n, step)
    for c in range(n_rows):
        for i in range(n):
            total += numbers[c * step + i] * numbers[c * step + i]
    return total


# in whatever order is fastest: the sum is for people to read
sum_of_squares = compiled(_sum_of_squares, fastmath={"reassoc"})
