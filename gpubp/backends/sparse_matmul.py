"""Matrix products with sparse samples, which stay SciPy's on the host whichever device computes.

The namespace is wrapped in one whose ``matmul`` takes sparse samples as well, so the equations are the same for them.
NumPy's products are SciPy's. Elsewhere the samples are made dense in the columns in which they have values: a batch
needs few of the rows of wide weights.
"""

from collections.abc import Iterator
from typing import Any

import array_api_compat
import numpy as np
import scipy
import scipy.sparse

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend
from gpubp.backends.wrapped_namespace import WrappedNamespace

NUMBERS_AT_ONCE = 1 << 23
"""The most numbers of sparse samples that are made dense together, unless a single sample has more."""


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
        return a.T if scipy.sparse.issparse(a) else self.plain.matrix_transpose(a)

    def matmul(self, a: Any, b: Array) -> Array:
        """Multiply matrices ``(..., n, k)``, or a sparse one ``(n, k)``, and ``(..., k, m)`` into ``(..., n, m)``."""
        if not scipy.sparse.issparse(a):
            return self.plain.matmul(a, b)
        if self.has_product:
            return a.dot(b) if b.ndim == 2 else np.stack([a.dot(matrix) for matrix in b])
        return self._samples_times(a, b) if a.format == "csr" else self._transposed_times(a.T, b)

    def _samples_times(self, x: Any, w: Array) -> Array:
        xp, totals = self.plain, []
        for rows in _parts(x):
            columns, dense = self._dense(x[rows])
            totals.append(xp.matmul(dense, xp.take(w, to_backend(self.backend, columns), axis=-2)))
        return totals[0] if len(totals) == 1 else xp.concat(totals, axis=-2)

    def _transposed_times(self, x: Any, b: Array) -> Array:
        xp, total = self.plain, None
        shape = (*b.shape[:-2], 1, b.shape[-1])
        zeros = xp.zeros(shape, dtype=b.dtype, device=array_api_compat.device(b))
        for rows in _parts(x):
            columns, dense = self._dense(x[rows])
            product = xp.matmul(xp.matrix_transpose(dense), b[..., rows, :])
            # the standard has no assignment to rows by number: all other rows are taken from one of zeros
            product = xp.concat([product, zeros], axis=-2)
            places = np.full(x.shape[1], len(columns), columns.dtype)
            places[columns] = np.arange(len(columns))
            product = xp.take(product, to_backend(self.backend, places), axis=-2)
            total = product if total is None else total + product
        return total

    def _dense(self, x: Any) -> tuple[np.ndarray, Array]:
        """Return the columns that have values, and these columns of x as an array on the device."""
        columns, places = np.unique(x.indices, return_inverse=True)
        shape = (x.shape[0], len(columns))
        if not len(columns):  # arrays of other libraries may not be empty
            columns, shape = np.zeros(1, x.indices.dtype), (x.shape[0], 1)
        dense = scipy.sparse.csr_array((x.data, places, x.indptr), shape=shape).toarray()
        return columns, to_backend(self.backend, dense)


def _parts(x: Any) -> Iterator[slice]:
    """Cut sparse samples into parts that bound the numbers which :meth:`SparseMatmul._dense` returns."""
    start = 0
    while True:
        widths = np.minimum(x.indptr[start + 1 :] - x.indptr[start], x.shape[1])
        fits = np.searchsorted(np.arange(1, len(widths) + 1) * np.maximum(widths, 1), NUMBERS_AT_ONCE, side="right")
        stop = min(start + max(1, int(fits)), x.shape[0])
        yield slice(start, stop)
        if stop >= x.shape[0]:
            return
        start = stop


def for_samples(backend: Backend, x: Any) -> Backend:
    """Return a backend that multiplies with x: the same one unless x is sparse."""
    if not scipy.sparse.issparse(x) or isinstance(backend.xp, SparseMatmul):
        return backend
    return backend._replace(xp=SparseMatmul(backend))


def samples_of(x: Any, rows: Any, dtype: str) -> Any:
    """Return rows of samples: a view of an array for a slice, or sparse samples of ``dtype``."""
    return x[rows].astype(dtype, copy=False) if scipy.sparse.issparse(x) else x[rows, :]
