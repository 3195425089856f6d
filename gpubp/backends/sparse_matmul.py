"""Matrix products with sparse samples, which stay SciPy's on the host whichever device computes.

The namespace is wrapped in one whose ``matmul`` takes sparse samples as well, so the equations are the same for them.
NumPy's products are SciPy's. Elsewhere the samples are made dense in the columns in which they have values: a batch
needs few of the rows of wide weights.
"""

import sys
from bisect import bisect_right
from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_backend_together
from gpubp.backends.wrapped_namespace import WrappedNamespace

NUMBERS_AT_ONCE = 1 << 23
"""The most numbers of sparse samples that are made dense together, unless a single sample has more."""


def is_sparse(x: Any) -> bool:
    """Return whether x is a sparse array or matrix of SciPy; without ``scipy.sparse``, which loads slowly, none is."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and bool(module.issparse(x))


class SparseMatmul(WrappedNamespace):
    """An array namespace whose ``matmul`` takes sparse samples of SciPy, CSR, or their transpose, CSC.

    Parameters
    ----------
    backend : Backend
        Where the other operand is.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.xp)
        self.backend = backend
        self.has_product = backend.is_numpy and backend.matmul_precision == "float32"

    def matrix_transpose(self, a: Any) -> Any:
        """Transpose matrices ``(..., n, k)``, or sparse samples ``(n, k)``."""
        return a.T if is_sparse(a) else self.plain.matrix_transpose(a)

    def matmul(self, a: Any, b: Array) -> Array:
        """Multiply matrices ``(..., n, k)``, or a sparse one ``(n, k)``, and ``(..., k, m)`` into ``(..., n, m)``."""
        if not is_sparse(a):
            return self.plain.matmul(a, b)
        if self.has_product:
            return a.dot(b) if b.ndim == 2 else np.stack([a.dot(matrix) for matrix in b])
        return self._samples_times(a, b) if a.format == "csr" else self._transposed_times(a.T, b)

    def _samples_times(self, x: Any, w: Array) -> Array:
        xp, totals = self.plain, []
        for rows in _parts(x):
            columns, dense = to_backend_together(self.backend, dense_in_columns(_consecutive(x, rows)))
            totals.append(xp.matmul(dense, xp.take(w, columns, axis=-2)))
        return totals[0] if len(totals) == 1 else xp.concat(totals, axis=-2)

    def _transposed_times(self, x: Any, b: Array) -> Array:
        sums: list[RowsOfProduct] = []
        for rows in _parts(x):
            columns, dense = dense_in_columns(_consecutive(x, rows))
            transposed = self.plain.matrix_transpose(to_backend(self.backend, dense))
            part = RowsOfProduct(columns, self.plain.matmul(transposed, b[..., rows, :]))
            while sums and len(sums[-1].numbers) <= len(part.numbers):  # so that a row is added few times
                part = self._add(sums.pop(), part)
            sums.append(part)
        return self._spread(reduce(self._add, reversed(sums)), np.arange(x.shape[1]))

    def _add(self, a: "RowsOfProduct", b: "RowsOfProduct") -> "RowsOfProduct":
        numbers = np.union1d(a.numbers, b.numbers)
        return RowsOfProduct(numbers, self._spread(a, numbers) + self._spread(b, numbers))

    def _spread(self, part: "RowsOfProduct", numbers: np.ndarray) -> Array:
        """Return the rows of these numbers, which contain those of the part; the others are 0."""
        xp, n, rows = self.plain, len(part.numbers), part.rows
        zeros = xp.zeros((*rows.shape[:-2], 1, rows.shape[-1]), dtype=rows.dtype, device=array_api_compat.device(rows))
        places = np.full(len(numbers), n)  # the standard has no assignment to rows by number
        places[np.searchsorted(numbers, part.numbers)] = np.arange(n)
        return xp.take(xp.concat([rows, zeros], axis=-2), to_backend(self.backend, places), axis=-2)


class RowsOfProduct(NamedTuple):
    """Some rows of a matrix product, ``(..., n, m)``, and their numbers in increasing order; all others are 0."""

    numbers: np.ndarray
    rows: Array


def dense_in_columns(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of sparse samples, CSR, that have values, and an array of these columns."""
    from scipy.sparse import csr_array

    columns, places = np.unique(x.indices, return_inverse=True)
    shape = (x.shape[0], len(columns))
    if not len(columns):  # arrays of other libraries may not be empty
        columns, shape = np.zeros(1, x.indices.dtype), (x.shape[0], 1)
    return columns, csr_array((x.data, places, x.indptr), shape=shape).toarray()


def dense_parts(x: Any, dtype: str) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows of sparse samples, CSR, the columns in which they have values, and an array of these columns."""
    for rows in _parts(x):
        yield rows, *dense_in_columns(samples_of(x, rows, dtype))


def _parts(x: Any) -> Iterator[slice]:
    """Cut sparse samples into parts that bound the numbers which :func:`dense_in_columns` returns."""
    start, n_rows, n_columns = 0, int(x.shape[0]), int(x.shape[1])

    def size(stop: int) -> int:
        return (stop - start) * min(max(int(x.indptr[stop] - x.indptr[start]), 1), n_columns)

    while True:
        n_fitting = bisect_right(range(start + 1, n_rows + 1), NUMBERS_AT_ONCE, key=size)
        stop = min(start + max(1, n_fitting), n_rows)
        yield slice(start, stop)
        if stop == n_rows:
            return
        start = stop


def for_samples(backend: Backend, x: Any) -> Backend:
    """Return a backend that multiplies with x: the same one unless x is sparse."""
    if not is_sparse(x) or isinstance(backend.xp, SparseMatmul):
        return backend
    return backend._replace(xp=SparseMatmul(backend))


def samples_of(x: Any, rows: Any, dtype: str) -> Any:
    """Return rows of samples, a view for a slice: of an array, or of sparse samples, CSR, converted to ``dtype``."""
    if not is_sparse(x):
        return x[rows, :]
    return (_consecutive(x, rows) if isinstance(rows, slice) else x[rows]).astype(dtype, copy=False)


def _consecutive(x: Any, rows: slice) -> Any:
    """Return consecutive rows of sparse samples as a view; SciPy's slices, and its constructor, copy the values."""
    starts = x.indptr[rows.start : rows.stop + 1]
    values = slice(starts[0], starts[-1])
    part = type(x)((len(starts) - 1, x.shape[1]), dtype=x.dtype)
    part.data, part.indices, part.indptr = x.data[values], x.indices[values], starts - starts[0]
    return part


def is_sparse_on_host(backend: Backend) -> bool:
    """Return whether a backend is NumPy's for sparse samples."""
    return isinstance(backend.xp, SparseMatmul) and backend.xp.backend.is_numpy
