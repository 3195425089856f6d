"""What a column holds, counted in one pass over a table that may arrive in pieces."""

import math
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from gpubp.data._quantities import PLAIN, NumberFormat, plain_marks, read_quantity
from gpubp.data._text_values import MISSING_TEXTS, Kind, write_number
from gpubp.data.preprocessing._distinct_values import CountableColumn, countable
from gpubp.data.table import Column, Table

MAX_COUNTED = 10_000
"""Distinct values of a column that are counted; the type of a column is decided from the first ones that occur."""

_LEAST_SLICE, _MOST_SLICE = 11_000, 1 << 20  # rows that are counted at once


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
    is_categorical : bool
        Whether a data frame states that the values are categories.
    are_durations : bool
        Whether the numbers are seconds of what a frame holds as durations.
    is_consecutive : bool
        Whether the values are whole numbers that grow by one from row to row.
    kind : str
        What the table says that the column holds: "text" for several kinds.
    decimal, thousands : str
        How the file writes numbers.
    """

    def __init__(self, name: str, missing: Collection[str] = ()) -> None:
        self.name, self.missing = name, frozenset(missing)
        self._missing_texts = self.missing | set(MISSING_TEXTS)
        self.counts: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.n_rows = self.n_empty = 0
        self.is_truncated = self.has_repeats = self.is_written = False
        self.is_categorical = self.are_durations = False
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
        name, n_rows = self.name, table.n_rows
        kind: Kind = "text" if name in table.value_kinds else table.kind(name)
        column = countable(table, name)
        self.n_rows += n_rows
        self.is_written |= name in table.written
        self.is_categorical |= name in table.categorical
        self.are_durations |= name in table.durations
        if table.decimal != ".":  # in a file of a folder; others may not show it
            self.decimal, self.thousands = table.decimal, table.thousands or self.thousands
        start = 0
        while start < n_rows and not self.is_truncated:
            start = self._count(column, start, min(start + min(max(start, _LEAST_SLICE), _MOST_SLICE), n_rows))
        if start < n_rows:
            self._scan(column, start)
        if n_rows and not column.are_missing():
            self.kind = kind if self.kind in (None, kind) else "text"
            self.is_numeric &= kind == "number"
            self.is_consecutive = self.is_consecutive and kind == "number" and self._follows(table.columns[name])

    def _follows(self, values: Column) -> bool:
        """Return whether numbers continue those before in steps of one."""
        last, self._last = self._last, float(values[-1]) if values.dtype.kind in "iuf" else math.nan
        return (
            values.dtype.kind in "iuf"
            and bool(values[0] == np.floor(values[0]) and (values[0] == last + 1 or math.isnan(last)))
            and all((part[1:] == part[:-1] + 1).all() for part in (values[:100], values))  # most fail soon
        )

    def _count(self, column: CountableColumn, start: int, stop: int) -> int:
        """Count rows up to the first value too many, and return the row after the last one that is counted."""
        distinct = column.distinct(start, stop)
        present = self._present(distinct)
        new = [text for text in present if text not in self.counts]
        if len(self.counts) + len(new) > MAX_COUNTED:
            self.is_truncated = True
            stop = column.first_row(start, stop, new[MAX_COUNTED - len(self.counts)])
            distinct = column.distinct(start, stop)
            present = self._present(distinct)
        self.has_repeats = (
            self.has_repeats or max(present.values(), default=0) > 1 or not present.keys().isdisjoint(self.counts)
        )
        for text, n in present.items():
            self.counts[text] = self.counts.get(text, 0) + n
        self._mark({text: n for text, n in distinct.items() if text not in present})
        return stop

    def _scan(self, column: CountableColumn, start: int) -> None:
        """Look for missing values, and for counted ones that occur again, which shows that they identify no row."""
        self._mark(column.missing(start, self.missing))
        self.has_repeats = self.has_repeats or column.has_any(start, self.counts, self.missing)

    def _present(self, counts: Mapping[str | None, int]) -> dict[str, int]:
        known, missing = self.counts, self._missing_texts
        return {text: n for text, n in counts.items() if text in known or (text and text.strip() not in missing)}

    def _mark(self, counts: Mapping[str | None, int]) -> None:
        """Add the counts of texts that mean a missing value; None and the empty text are no text."""
        for text, n in counts.items():
            if text:
                self.marks[text] = self.marks.get(text, 0) + n
            else:
                self.n_empty += n
