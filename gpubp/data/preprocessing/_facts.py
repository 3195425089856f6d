"""What a column holds, counted in one pass over a table that may arrive in pieces."""

import math
from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np

from gpubp.data._text_values import Kind, write_number
from gpubp.data.preprocessing._values import is_missing_text, missing_values
from gpubp.data.table import Column, Table

MAX_COUNTED = 10_000
"""Distinct values of a column that are counted; the type of a column is decided from the first ones that occur."""


class ColumnFacts:
    """The values of a column, counted.

    Attributes
    ----------
    counts : dict of str to int
        How often each of the first `MAX_COUNTED` distinct values occurs, as text, missing ones left out.
    marks : dict of str to int
        The same for texts that may mean a missing value, such as ``"NA"``.
    n_rows, n_empty : int
        Rows, and those with no text and no number at all.
    is_truncated : bool
        Whether there are more distinct values than are counted.
    is_numeric : bool
        Whether all values are numbers, or texts that pyarrow and Python read as such.
    is_written : bool
        Whether the column comes from a text file.
    is_consecutive : bool
        Whether the values are whole numbers that grow by one from row to row.
    kind : str
        What the table says that the column holds: "text" for several kinds.
    """

    def __init__(self, name: str, missing: Collection[str] = ()) -> None:
        self.name, self.missing = name, missing
        self.counts: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.n_rows = self.n_empty = 0
        self.is_truncated, self.is_numeric, self.is_written, self.is_consecutive = False, True, False, True
        self.kind: Kind | None = None
        self._last = math.nan

    @property
    def n_values(self) -> int:
        """Number of values that are not missing; `marks` count as missing."""
        return self.n_rows - self.n_empty - sum(self.marks.values())

    @property
    def has_repeats(self) -> bool:
        """Whether a value is seen to occur twice."""
        return any(n > 1 for n in self.counts.values())

    def add(self, table: Table) -> None:
        """Add the column's values in more rows."""
        name, values = self.name, table.columns[self.name]
        kind: Kind = "text" if name in table.value_kinds else table.kind(name)
        is_written = name in table.written
        self.n_rows += table.n_rows
        self.is_written |= is_written
        if is_written:
            counted = table.written[name].value_counts()
            texts, counts = (counted.field(part).to_pylist() for part in ("values", "counts"))
        else:
            present = values[~missing_values(values)]
            self.n_empty += len(values) - len(present)
            if values.dtype == object:
                texts, counts = zip(*Counter(present.tolist()).items(), strict=True) if len(present) else ((), ())
            else:
                distinct, counts = np.unique(present, return_counts=True)
                texts = map(write_number, distinct[: MAX_COUNTED + 1].tolist())
        self._count(texts, counts)
        if len(values) and not missing_values(values).all():
            self.kind = kind if self.kind in (None, kind) else "text"
            self.is_numeric &= kind == "number"
            self._follow(values)

    def _follow(self, values: Column) -> None:
        if not self.is_consecutive:
            return
        self.is_consecutive = values.dtype.kind in "iuf" and bool(
            (np.diff(values) == 1).all() and (values[0] == self._last + 1 or math.isnan(self._last))
        )
        self._last = float(values[-1]) if self.is_consecutive else math.nan

    def _count(self, texts: Iterable[str | None], counts: Iterable[int]) -> None:
        for text, n in zip(texts, counts, strict=False):
            if not text:
                self.n_empty += n
            elif is_missing_text(text, self.missing):
                self.marks[text] = self.marks.get(text, 0) + int(n)
            elif text in self.counts:
                self.counts[text] += int(n)
            elif len(self.counts) < MAX_COUNTED:
                self.counts[text] = int(n)
            else:
                self.is_truncated = True
