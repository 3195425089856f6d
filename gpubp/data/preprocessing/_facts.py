"""What a column holds, counted in one pass over a table that may arrive in pieces."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data._quantities import PLAIN, NumberFormat, plain_marks, read_quantity
from gpubp.data._text_values import Kind, read_number, write_number
from gpubp.data.preprocessing._values import is_missing_text, missing_numbers, missing_values
from gpubp.data.table import Column, Table

MAX_COUNTED = 10_000
"""Distinct values of a column that are counted; the type of a column is decided from the first ones that occur."""

_SLICE = 1 << 16  # rows that are counted at once


class ColumnFacts:
    """The values of a column, counted.

    Attributes
    ----------
    counts : dict of str to int
        How often each distinct value occurs, as text, missing ones left out; after `MAX_COUNTED` of them, the count
        ends at the first row with another value.
    marks : dict of str to int
        How often texts occur that may mean a missing value, such as ``"NA"``.
    n_rows, n_empty : int
        Rows, and those with no text and no number at all.
    is_truncated : bool
        Whether there are more distinct values than are counted.
    has_repeats : bool
        Whether a value is seen to occur twice.
    is_numeric : bool
        Whether all values are numbers, or texts that pyarrow and Python read as such.
    is_written : bool
        Whether the column comes from a text file.
    is_consecutive : bool
        Whether the values are whole numbers that grow by one from row to row.
    kind : str
        What the table says that the column holds: "text" for several kinds.
    decimal, thousands : str
        How the file writes numbers.
    """

    def __init__(self, name: str, missing: Collection[str] = ()) -> None:
        self.name, self.missing = name, frozenset(missing)
        self.counts: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.n_rows = self.n_empty = 0
        self.is_truncated = self.has_repeats = self.is_written = False
        self.is_numeric = self.is_consecutive = True
        self.kind: Kind | None = None
        self.decimal, self.thousands = ".", ""
        self._last = math.nan

    @property
    def n_values(self) -> int:
        """Number of values that are not missing; `marks` count as missing."""
        return self.n_rows - self.n_empty - sum(self.marks.values())

    @property
    def number_format(self) -> NumberFormat:
        """How the file writes numbers."""
        return PLAIN if self.decimal == "." else NumberFormat(self.decimal, plain_marks(self.thousands))

    @property
    def number_counts(self) -> Mapping[str, int]:
        """`counts` of a column of numbers, without the marks of the file: ``1.5`` for ``1,5``."""
        if self.decimal == ".":
            return self.counts
        counts = Counter[str]()
        for text, n in self.counts.items():
            number = None if text.isdecimal() else read_quantity(text, self.number_format)  # codes keep their zeros
            counts[text if number is None else write_number(number) or text] += n
        return counts

    def add(self, table: Table) -> None:
        """Add the column's values in more rows."""
        name, values = self.name, table.columns[self.name]
        kind: Kind = "text" if name in table.value_kinds else table.kind(name)
        texts = table.written.get(name)
        self.n_rows += len(values)
        self.is_written |= texts is not None
        if table.decimal != ".":  # in a file of a folder; others may not show it
            self.decimal, self.thousands = table.decimal, table.thousands or self.thousands
        start = 0
        while start < len(values) and not self.is_truncated:
            start = self._count(values, texts, start, min(start + _SLICE, len(values)))
        if start < len(values):
            self._scan(values[start:], None if texts is None else texts.slice(start))
        if len(values) and not missing_values(values).all():
            self.kind = kind if self.kind in (None, kind) else "text"
            self.is_numeric &= kind == "number"
            self._follow(values)

    def _follow(self, values: Column) -> None:
        if not self.is_consecutive:
            return
        self.is_consecutive = values.dtype.kind in "iuf" and bool(
            values[0] == np.floor(values[0])
            and (values[1:] == values[:-1] + 1).all()
            and (values[0] == self._last + 1 or math.isnan(self._last))
        )
        self._last = float(values[-1]) if self.is_consecutive else math.nan

    def _count(self, values: Column, texts: Any, start: int, stop: int) -> int:
        """Count rows up to the first value too many, and return the row after the last one that is counted."""
        distinct = _distinct(values, texts, np.arange(start, stop))
        present = {text: n for text, n in distinct.items() if text and not is_missing_text(text, self.missing)}
        if len(self.counts.keys() | present) > MAX_COUNTED:
            if stop - start == 1:
                self.is_truncated = True
                return start
            middle = (start + stop) // 2
            reached = self._count(values, texts, start, middle)
            return reached if self.is_truncated else self._count(values, texts, middle, stop)
        for text, n in present.items():
            self.counts[text] = self.counts.get(text, 0) + n
            self.has_repeats |= self.counts[text] > 1
        self._mark(distinct)
        return stop

    def _scan(self, values: Column, texts: Any) -> None:
        """Look for missing values, and for counted ones that occur again, which shows that they identify no row."""
        if values.dtype == object:
            self._mark(Counter(text for text in values.tolist() if self._is_missing(text)))
            self.has_repeats = self.has_repeats or any(text in self.counts for text in values.tolist())
            return
        is_missing = missing_values(values) | missing_numbers(values, self.missing)
        self._mark(_distinct(values, texts, np.flatnonzero(is_missing)))
        if not self.has_repeats and values.dtype.kind != "b":
            counted = np.array(list(map(read_number, self.counts)), dtype=np.float64)
            if (counted == np.floor(counted)).all():  # of other numbers it does not matter
                self.has_repeats = bool(np.isin(values[~is_missing], counted).any())

    def _mark(self, counts: Mapping[str | None, int]) -> None:
        for text, n in counts.items():
            if not text:
                self.n_empty += n
            elif self._is_missing(text):
                self.marks[text] = self.marks.get(text, 0) + n

    def _is_missing(self, text: str | None) -> bool:
        return not text or is_missing_text(text, self.missing)


def _distinct(values: Column, texts: Any, rows: NDArray[np.intp]) -> dict[str | None, int]:
    """Count the distinct values of rows, as text, in the order in which they occur; None or "" where there is none."""
    if texts is not None:
        part = texts.slice(rows[0], len(rows)) if _are_adjacent(rows) else texts.take(rows)
        counted = part.value_counts()
        return dict(zip(*(counted.field(name).to_pylist() for name in ("values", "counts")), strict=True))
    if values.dtype == object:
        return Counter(values[rows].tolist())
    distinct, first, counts = np.unique(values[rows], return_index=True, return_counts=True)
    order = np.argsort(first)
    return dict(zip(map(write_number, distinct[order].tolist()), counts[order].tolist(), strict=True))


def _are_adjacent(rows: NDArray[np.intp]) -> bool:
    return len(rows) > 0 and bool(rows[-1] - rows[0] + 1 == len(rows))
