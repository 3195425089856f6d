"""Count the distinct values of a column as text: those of arrays by NumPy, those of a file's text by pyarrow."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gpubp.data._text_values import MISSING_TEXTS, read_number, write_number
from gpubp.data._written_texts import WrittenTexts
from gpubp.data.preprocessing._values import is_missing_text, missing_numbers, missing_values
from gpubp.data.table import Column, Table

Counts = Mapping[str | None, int]
"""How often texts occur, in the order in which they do; None is no text."""


class ArrayColumn:
    """A column of an array."""

    def __init__(self, values: Column) -> None:
        self.values = values

    def are_missing(self) -> bool:
        """Return whether no row has a value; a text such as ``"NA"`` is one."""
        return bool(missing_values(self.values).all())

    def distinct(self, start: int, stop: int) -> Counts:
        """Count the distinct values of rows."""
        return _distinct(self.values[start:stop])

    def first_row(self, start: int, stop: int, text: str) -> int:
        """Return the first of the rows with a value."""
        values = self.values[start:stop]
        return start + int((values == (text if values.dtype == object else read_number(text))).argmax())

    def missing(self, start: int, missing: Collection[str]) -> Counts:
        """Count the values of the rows from `start` on that mean a missing value."""
        values = self.values[start:]
        if values.dtype == object:
            return Counter(text for text in values.tolist() if not text or is_missing_text(text, missing))
        return _distinct(values[missing_values(values) | missing_numbers(values, missing)])

    def has_any(self, start: int, texts: Collection[str], missing: Collection[str]) -> bool:
        """Return whether a value of the rows from `start` on is one of `texts`; of fractions it does not matter."""
        values = self.values[start:]
        if values.dtype == object:
            return any(text in texts for text in values.tolist())
        counted = np.array(list(map(read_number, texts)), dtype=np.float64)
        if values.dtype.kind == "b" or not (counted == np.floor(counted)).all():
            return False
        is_missing = missing_values(values) | missing_numbers(values, missing)
        return bool(np.isin(values[~is_missing], counted).any())


class _Texts:
    """The text of a column in a file."""

    texts: WrittenTexts

    def distinct(self, start: int, stop: int) -> Counts:
        """Count the distinct texts of rows."""
        return _counted(self.texts.part(start, stop))

    def first_row(self, start: int, stop: int, text: str) -> int:
        """Return the first of the rows with a text."""
        from pyarrow import compute

        return start + int(compute.index(self.texts.part(start, stop), text).as_py())


class WrittenNumbers(_Texts, ArrayColumn):
    """A column of numbers with their text in a file."""

    def __init__(self, values: Column, texts: WrittenTexts) -> None:
        super().__init__(values)
        self.texts = texts

    def missing(self, start: int, missing: Collection[str]) -> Counts:
        """Count the texts of the rows from `start` on that mean a missing value."""
        import pyarrow

        values, texts = self.values[start:], self.texts.part(start)
        is_missing = missing_values(values) | missing_numbers(values, missing)
        n_missing = int(is_missing.sum())
        return {None: n_missing} if texts.null_count == n_missing else _counted(texts.filter(pyarrow.array(is_missing)))


class TextColumn(_Texts):
    """A column of text in a file."""

    def __init__(self, texts: WrittenTexts) -> None:
        self.texts = texts

    def are_missing(self) -> bool:
        """Return whether no row has a text."""
        return bool(self.texts.part().null_count == len(self.texts))

    def missing(self, start: int, missing: Collection[str]) -> Counts:
        """Count the texts of the rows from `start` on that mean a missing value, also with blanks around them."""
        from pyarrow import compute

        texts = self.texts.part(start)
        plain = compute.utf8_trim_whitespace(texts) if any(map(_may_have_blanks, texts.chunks)) else texts
        is_mark = _is_in(plain, [*MISSING_TEXTS, *missing])
        return {None: texts.null_count, **_counted(texts.filter(is_mark))}

    def has_any(self, start: int, texts: Collection[str], missing: Collection[str]) -> bool:
        """Return whether a text of the rows from `start` on is one of `texts`."""
        from pyarrow import compute

        return any(compute.any(_is_in(chunk, texts)).as_py() for chunk in self.texts.part(start).chunks)


CountableColumn = ArrayColumn | TextColumn


def countable(table: Table, name: str) -> CountableColumn:
    """Return a column of a table whose values can be counted."""
    if name not in table.written:
        return ArrayColumn(table.columns[name])
    texts = table.written[name]
    return TextColumn(texts) if table.kind(name) == "text" else WrittenNumbers(table.columns[name], texts)


def _distinct(values: Column) -> Counts:
    if values.dtype == object:
        return Counter(values.tolist())
    distinct, first, counts = np.unique(values, return_index=True, return_counts=True)
    order = np.argsort(first)
    return dict(zip(map(write_number, distinct[order].tolist()), counts[order].tolist(), strict=True))


def _counted(texts: Any) -> Counts:
    counted = texts.value_counts()
    return dict(zip(*(counted.field(name).to_pylist() for name in ("values", "counts")), strict=True))


def _may_have_blanks(texts: Any) -> bool:
    """Return whether a text may begin or end with a blank: with one of ASCII, or with a character beyond it."""
    _, ends, content = texts.buffers()
    if content is None:
        return False
    places = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    starts, stops = places[:-1], places[1:]
    is_text, content = starts < stops, np.frombuffer(content, np.uint8)
    edges = np.concatenate([content[starts[is_text]], content[stops[is_text] - 1]])
    return bool(((edges <= ord(" ")) | (edges > ord("~"))).any())


def _is_in(texts: Any, of: Collection[str]) -> Any:
    import pyarrow
    from pyarrow import compute

    return compute.is_in(texts, value_set=pyarrow.array(of, pyarrow.string()))
