"""The inputs of a network from the numbers and codes of a table, in array calls that any device can run."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend, to_backend_together
from gpubp.backends.memory import fits_in_memory
from gpubp.data._dates import SECONDS_OF_DAY
from gpubp.data.preprocessing._columns import WORDS_OF_A_CODE, ColumnArrays
from gpubp.data.preprocessing._records import (
    CategoryColumn,
    DateColumn,
    NumberColumn,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
)
from gpubp.nn.encodings import piecewise_linear, smooth_clip, standardized

EQUATIONS: dict[str, tuple[str, Callable[..., Array]]] = {
    "standardized": ("numbers", standardized),
    "clipped": ("numbers", lambda xp, x, *statistics: smooth_clip(xp, standardized(xp, x, *statistics))),
    "bins": ("numbers", piecewise_linear),
    "sine": ("numbers", lambda xp, x: xp.sin(x)),
    "cosine": ("numbers", lambda xp, x: xp.cos(x)),
    "missing": ("is_missing", lambda xp, x: x),
    "category": ("codes", lambda xp, codes, category: codes == category),
    "word": ("codes", lambda xp, codes, bit: xp.bitwise_and(codes, bit) != 0),
    "statistic": ("codes", lambda xp, codes, first, table: table[codes + first]),
}
"""How inputs follow from a number or a code, and statistics of each; those of categories also from a table of all."""


INPUTS_OF_NUMPY = 1 << 17
"""Inputs that NumPy computes together: what is in between stays in the cache."""

LEAST_INPUTS = 1 << 16
"""Fewer inputs are computed by NumPy before some thirty launches on a GPU would be done."""

INPUTS_AT_ONCE = 1 << 22
"""Inputs that a GPU computes together: what is in between takes about 200 MB."""


class Group(NamedTuple):
    """Inputs of one kind: of each the place of its number or code, ``(m,)``, and its statistics, ``(r, m)``."""

    places: Array
    statistics: Array


class Expansion(NamedTuple):
    """How the inputs of a table follow from its :class:`ColumnArrays`.

    Attributes
    ----------
    fills : (c,) array
        What replaces missing numbers.
    table : (t,) array
        The target statistics of all categories.
    order : (i,) array of int
        The place of each input among those of the groups.
    groups : dict of str to Group
        Those of `EQUATIONS` that have inputs.
    """

    fills: Array
    table: Array
    order: Array
    groups: dict[str, Group]

    @property
    def arrays(self) -> list[Array]:
        """All arrays."""
        return [*self[:3], *(array for group in self.groups.values() for array in group)]

    def with_arrays(self, arrays: list[Array]) -> "Expansion":
        """Return the same of other arrays, such as copies on a device."""
        (fills, table, order), rest = arrays[:3], arrays[3:]
        return Expansion(fills, table, order, dict(zip(self.groups, map(Group, rest[::2], rest[1::2]), strict=True)))


def expand(xp: Namespace, expansion: Expansion, columns: ColumnArrays, dtype: Any) -> Array:
    """Compute inputs, ``(n, i)``.

    Parameters
    ----------
    xp : namespace
        That of all arrays.
    expansion : Expansion
    columns : ColumnArrays
        Their statistics have the type of their numbers.
    dtype : dtype
        To which the inputs are rounded.
    """
    is_missing = xp.isnan(columns.numbers)
    sources = {"numbers": xp.where(is_missing, expansion.fills, columns.numbers), "is_missing": is_missing}
    sources["codes"] = columns.codes
    parts = []
    for kind, (places, statistics) in expansion.groups.items():
        source, equation = EQUATIONS[kind]
        arguments = [statistics[row, ...] for row in range(statistics.shape[0])]
        if kind == "statistic":
            arguments.append(expansion.table)
        inputs = equation(xp, xp.take(sources[source], places, axis=1), *arguments)
        parts.append(xp.astype(inputs, dtype, copy=False))
    joined = parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)
    return xp.take(joined, expansion.order, axis=1)


@np.errstate(over="ignore")
def inputs_of(
    preprocessing: Preprocessing, columns: ColumnArrays, dtype: DTypeLike, backend: Backend | None = None
) -> Array:
    """Compute the inputs of a table, ``(n, i)``, in float64, and round them.

    They are computed on `backend` if it is a GPU with memory for them, they are many, and their columns are fewer
    bytes to copy there; else by NumPy.
    """
    expansion, precision = expansion_of(preprocessing), np.dtype(dtype)
    shape = len(columns.numbers), len(expansion.order)
    arrays, xp, at_once = [*expansion.arrays, *columns], np, INPUTS_OF_NUMPY
    with nullcontext() if backend is None else backend.active():
        if backend is not None and _is_for_device(backend, arrays, shape[0] * shape[1], precision):
            *rest, numbers, codes = to_backend_together(backend, arrays)
            expansion, columns = expansion.with_arrays(rest), ColumnArrays(numbers, codes)
            xp, at_once = backend.xp, INPUTS_AT_ONCE
        of_type, rows_at_once = getattr(xp, precision.name), max(1, at_once // shape[1])
        if shape[0] <= rows_at_once:
            return expand(xp, expansion, columns, of_type)
        X = xp.empty(shape, dtype=of_type)
        for begin in range(0, shape[0], rows_at_once):
            rows = slice(begin, begin + rows_at_once)
            X[rows, ...] = expand(xp, expansion, columns.rows(rows), of_type)
    return X


def _is_for_device(backend: Backend, arrays: list[Array], n_inputs: int, dtype: np.dtype[Any]) -> bool:
    if not backend.is_cuda or n_inputs < LEAST_INPUTS:
        return False
    is_less = sum(array.nbytes for array in arrays) < n_inputs * dtype.itemsize
    return is_less and fits_in_memory(backend, n_inputs, dtype.name)


class _Inputs(NamedTuple):
    """Inputs of one kind that follow from one number or code."""

    kind: str
    place: int
    statistics: NDArray[Any]  # (r, m)


def expansion_of(preprocessing: Preprocessing) -> Expansion:
    """Return how the inputs of a table follow from its numbers and codes, which are in the order of its columns."""
    fills, tables, inputs, n_codes = list[float](), [np.empty(0)], list[_Inputs](), 0
    for column in preprocessing.columns:
        if isinstance(column, NumberColumn):
            inputs += _of_numbers(column, len(fills))
            fills.append(column.fill)
        elif isinstance(column, DateColumn):
            inputs += _of_dates(column, len(fills))
            fills += [column.fill / SECONDS_OF_DAY, *(0.0 for part in column.parts if part != "days")]
        elif isinstance(column, TargetStatisticsColumn):
            first = sum(map(len, tables)) + len(column.table) * np.arange(len(column.inputs))
            inputs.append(_Inputs("statistic", n_codes, first[None, :]))
            tables.append(column.table.T.ravel())
            n_codes += 1
        elif isinstance(column, CategoryColumn):
            inputs.append(_Inputs("category", n_codes, np.arange(len(column.inputs))[None, :]))
            n_codes += 1
        else:
            of_words = list(_of_words(column, n_codes))
            inputs += of_words
            n_codes += len(of_words)
    return _grouped(inputs, np.array(fills), np.concatenate(tables))


def _of_numbers(column: NumberColumn, place: int) -> Iterator[_Inputs]:
    statistics = np.array([[column.mean], [column.scale], [column.bound]])
    yield _Inputs("clipped" if column.is_smooth else "standardized", place, statistics)
    if column.indicator:
        yield _Inputs("missing", place, np.empty((0, 1)))
    if edges := column.edges:
        root = (len(edges) - 1) ** 0.5
        yield _Inputs("bins", place, np.array([edges[:-1], edges[1:], [root] * (len(edges) - 1)]))


def _of_dates(column: DateColumn, days: int) -> Iterator[_Inputs]:
    angle = days
    for part in column.parts:
        if part == "days":
            statistics = np.array([[column.mean], [column.scale], [column.bound]])
            yield _Inputs("standardized", days, statistics)
        else:
            angle += 1
            yield _Inputs("sine", angle, np.empty((0, 1)))
            yield _Inputs("cosine", angle, np.empty((0, 1)))
    if column.indicator:
        yield _Inputs("missing", days, np.empty((0, 1)))


def _of_words(column: WordsColumn, place: int) -> Iterator[_Inputs]:
    bits = np.left_shift(np.uint32(1), np.arange(len(column.words), dtype=np.uint32) % WORDS_OF_A_CODE).view(np.int32)
    for begin in range(0, len(bits), WORDS_OF_A_CODE):
        yield _Inputs("word", place + begin // WORDS_OF_A_CODE, bits[None, begin : begin + WORDS_OF_A_CODE])


def _grouped(inputs: list[_Inputs], fills: NDArray[np.float64], table: NDArray[np.float64]) -> Expansion:
    """Put inputs of one kind together, and remember where each was."""
    groups = dict[str, Group]()
    sizes, order, begin = np.array([one.statistics.shape[1] for one in inputs]), list[Any](inputs), 0
    for kind, (source, _) in EQUATIONS.items():
        members = [number for number, one in enumerate(inputs) if one.kind == kind]
        if not members:
            continue
        places = np.repeat([inputs[number].place for number in members], sizes[members])
        statistics = np.concatenate([inputs[number].statistics for number in members], axis=1)
        dtype = np.int32 if source == "codes" else np.float64
        groups[kind] = Group(places.astype(np.int32), statistics.astype(dtype))
        for number in members:
            order[number] = np.arange(begin, begin + sizes[number], dtype=np.int32)
            begin += sizes[number]
    return Expansion(fills, table, np.concatenate(order), groups)
