"""The text of a column as a text file spells it, which stays in pyarrow's memory until it is needed."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.data._arrow import texts_to_numpy

Column = NDArray[Any]


class WrittenTexts:
    """A column of text.

    Parameters
    ----------
    texts : pyarrow.ChunkedArray
        Strings, null where a field is empty.
    rows : array of int, optional
        The rows of `texts` that are the column; by default all.
    """

    def __init__(self, texts: Any, rows: NDArray[np.intp] | None = None) -> None:
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._texts if self._rows is None else self._rows)

    def take(self, rows: NDArray[np.intp]) -> "WrittenTexts":
        """Return the column in the given rows."""
        return WrittenTexts(self._texts, rows if self._rows is None else self._rows[rows])

    def part(self, start: int = 0, stop: int | None = None) -> Any:
        """Return the rows from `start` to `stop` as a column of pyarrow."""
        if self._rows is None:
            return self._texts.slice(start, None if stop is None else stop - start)
        return self._texts.take(self._rows[start:stop])

    def to_numpy(self) -> NDArray[np.object_]:
        """Return the column as an object array, with None where a field is empty."""
        return texts_to_numpy(self.part())


class Columns(Mapping[str, Column]):
    """The columns of a table, by name; one of text in a file becomes an array when it is first used."""

    def __init__(self, columns: "Mapping[str, Column | WrittenTexts]") -> None:
        self._columns: dict[str, Column | WrittenTexts]
        self._columns = dict(columns._columns if isinstance(columns, Columns) else columns)

    def __getitem__(self, name: str) -> Column:
        values = self._columns[name]
        if isinstance(values, WrittenTexts):
            values = self._columns[name] = values.to_numpy()
        return values

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def take(self, rows: NDArray[np.intp]) -> "Columns":
        """Return the columns in the given rows."""
        return Columns({name: values.take(rows) for name, values in self._columns.items()})

    def renamed(self, new: Mapping[str, str]) -> "Columns":
        """Return the columns under new names."""
        return Columns({new[name]: values for name, values in self._columns.items()})

    def joined(self, other: "Columns") -> "Columns":
        """Return these columns and others."""
        return Columns({**self._columns, **other._columns})
