"""What the inputs of a network follow from: a number or a code for each row of a table, of each of its columns.

They need the host, which reads text. The inputs are computed from them where the network is, see ``_expansion.py``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._typing import Array
from gpubp.data._dates import date_parts
from gpubp.data.preprocessing._features import words_of
from gpubp.data.preprocessing._records import (
    CategoryColumn,
    DateColumn,
    FeatureColumn,
    NumberColumn,
    TargetStatisticsColumn,
    WordsColumn,
)
from gpubp.data.table import Column

WORDS_OF_A_CODE = 32
ROWS_AT_ONCE = 1024
"""Rows whose words are found together, which bounds the memory that this takes."""


class ColumnArrays(NamedTuple):
    """Numbers ``(n, c)``, NaN where missing, and codes ``(n, k)`` of the rows of a table."""

    numbers: Array
    codes: Array

    def rows(self, rows: slice | NDArray[np.intp]) -> "ColumnArrays":
        """Return some rows."""
        return ColumnArrays(self.numbers[rows, ...], self.codes[rows, ...])


def columns_of(columns: tuple[FeatureColumn, ...], values: list[Column], n_rows: int) -> ColumnArrays:
    """Return the numbers and codes of a table, in the order of its columns.

    Parameters
    ----------
    columns : tuple of FeatureColumn
    values : list of (n,) array
        The values of each as ``_values.py`` reads them.
    n_rows : int
    """
    numbers: list[NDArray[np.float64]] = []
    codes: list[NDArray[np.int32]] = []
    for column, of_column in zip(columns, values, strict=True):
        if isinstance(column, NumberColumn):
            numbers.append(of_column)
        elif isinstance(column, DateColumn):
            numbers += _numbers_of_dates(column, of_column)
        elif isinstance(column, WordsColumn):
            codes += _codes_of_words(column, of_column)
        else:
            codes.append(_codes_of_categories(column, of_column))
    return ColumnArrays(_side_by_side(numbers, n_rows, np.float64), _side_by_side(codes, n_rows, np.int32))


def _side_by_side(columns: Sequence[NDArray[Any]], n_rows: int, dtype: Any) -> NDArray[Any]:
    joined = np.empty((n_rows, len(columns)), dtype)
    for place, column in enumerate(columns):
        joined[:, place] = column
    return joined


def _numbers_of_dates(column: DateColumn, seconds: Column) -> list[NDArray[np.float64]]:
    """Return days since 1970, and the angle of each cycle, where missing dates are filled."""
    parts = date_parts(np.where(np.isnan(seconds), column.fill, seconds))
    return [date_parts(seconds)["days"], *(parts[part] for part in column.parts if part != "days")]


def _codes_of_words(column: WordsColumn, texts: Column) -> list[NDArray[np.int32]]:
    """Return a bit for each word, 32 in a code."""
    places = {word: place for place, word in enumerate(column.words)}
    n_codes = -(-len(places) // WORDS_OF_A_CODE)
    codes = np.empty((len(texts), n_codes), "<i4")
    for begin in range(0, len(texts), ROWS_AT_ONCE):
        part = texts[begin : begin + ROWS_AT_ONCE]
        has_word = np.zeros((len(part), n_codes * WORDS_OF_A_CODE), dtype=bool)
        found: list[int] = []  # one assignment to all is several times faster than one for each row
        for row, text in enumerate(part):
            if text is not None:
                first = row * has_word.shape[1]
                found += [first + places[word] for word in words_of(text) if word in places]
        has_word.ravel()[found] = True
        codes[begin : begin + len(part)] = np.packbits(has_word, axis=1, bitorder="little").view("<i4")
    return list(codes.astype(np.int32, copy=False).T)


def _codes_of_categories(column: CategoryColumn, texts: Column) -> NDArray[np.int32]:
    """Return the index of the input of each category, -1 for none, or of its target statistics."""
    places = column.places_of(texts)
    if isinstance(column, TargetStatisticsColumn):
        places %= len(column.table)  # -1 are all others, the last
    return places.astype(np.int32)
