"""Products with sparse samples on every backend, beside those of dense ones."""

import numpy as np
import pytest
import scipy.sparse

from gpubp.backends import sparse_matmul
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.backends.sparse_matmul import SparseMatmul, for_samples, samples_of
from gpubp.backends.wrapped_namespace import WrappedNamespace, plain_namespace

GENERATOR = np.random.default_rng(0)
X = scipy.sparse.csr_array(GENERATOR.random((30, 12)) * (GENERATOR.random((30, 12)) < 0.2), dtype="float32")
EMPTY = scipy.sparse.csr_array((5, 12), dtype="float32")


@pytest.fixture(params=[1 << 23, 40], ids=["at once", "in parts"])
def _numbers_at_once(request, monkeypatch):
    monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", request.param)


@pytest.mark.usefixtures("_numbers_at_once")
@pytest.mark.parametrize("stack", [(), (3,)], ids=["one network", "a stack"])
@pytest.mark.parametrize("x", [X, X[:0], EMPTY], ids=["samples", "none", "no values"])
def test_products_are_those_of_dense_samples(device, x, stack):
    backend = choose_backend(device)
    xp = for_samples(backend, x).xp
    w, b = (GENERATOR.random((*stack, n, 4)).astype("float32") for n in x.shape[::-1])
    with backend.active():
        forward = xp.matmul(x, to_backend(backend, w))
        back = xp.matmul(xp.matrix_transpose(x), to_backend(backend, b))
    np.testing.assert_allclose(to_numpy(forward), x.toarray() @ w, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(back), x.toarray().T @ b, rtol=1e-5, atol=1e-7)


def test_dense_samples_need_no_other_namespace():
    backend = choose_backend("cpu")
    assert for_samples(backend, X.toarray()) is backend
    sparse = for_samples(backend, X)
    assert for_samples(sparse, X) is sparse
    assert plain_namespace(sparse.xp) is plain_namespace(backend.xp)
    product = sparse.xp.matmul(X.toarray(), np.ones((12, 1), "float32"))
    np.testing.assert_array_equal(product, X.toarray() @ np.ones((12, 1), "float32"))
    np.testing.assert_array_equal(sparse.xp.matrix_transpose(np.eye(2, 3)), np.eye(3, 2))


def test_numbers_made_dense_are_bounded(monkeypatch):
    """One row is full, and has to be made dense alone."""
    monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", 50)
    rows = np.asarray(X.toarray())
    rows[7] = 1.0
    sizes, make_dense = [], sparse_matmul.dense_in_columns

    def noted(x):
        columns, dense = make_dense(x)
        sizes.append(dense.size)
        return columns, dense

    monkeypatch.setattr(sparse_matmul, "dense_in_columns", noted)
    x = scipy.sparse.csr_array(rows)
    backend = choose_backend("array_api_strict")
    xp = for_samples(backend, x).xp
    product = xp.matmul(x, to_backend(backend, np.ones((12, 2), "float32")))
    np.testing.assert_allclose(to_numpy(product), rows @ np.ones((12, 2)), rtol=1e-5)
    assert len(sizes) > 3
    assert max(sizes) <= 50


def test_samples_are_converted_where_they_are_sparse():
    assert samples_of(X, slice(2, 4), "float64").dtype == np.float64
    np.testing.assert_array_equal(samples_of(X, np.asarray([3, 1]), "float32").toarray(), X.toarray()[[3, 1]])
    dense = X.toarray()
    assert samples_of(dense, slice(2, 4), "float64").base is dense


@pytest.mark.parametrize("rows", [slice(0, 30), slice(7, 19), slice(29, 30), slice(4, 4)], ids=str)
def test_consecutive_samples_are_not_copied(rows):
    """Predictions of wide samples took a third of their time for it."""
    part = samples_of(X, rows, "float32")
    assert [np.shares_memory(part.data, X.data), np.shares_memory(part.indices, X.indices)] == 2 * [part.nnz > 0]
    np.testing.assert_array_equal(part.toarray(), X.toarray()[rows])


def test_parts_are_as_large_as_the_bound_allows(monkeypatch):
    monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", 50)
    parts = list(sparse_matmul._parts(X))

    def size(start, stop):
        return (stop - start) * min(max(X[start:stop].nnz, 1), X.shape[1])

    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(X.indptr) - 1
    assert all(size(part.start, part.stop) <= 50 < size(part.start, part.stop + 1) for part in parts[:-1])


class Taken(WrappedNamespace):
    """A namespace that notes how many rows it takes of its arrays."""

    def __init__(self, plain):
        super().__init__(plain)
        self.n_rows = []

    def take(self, a, indices, *, axis):
        self.n_rows.append(indices.shape[0])
        return self.plain.take(a, indices, axis=axis)


def test_one_gradient_is_made_however_many_parts_there_are(monkeypatch):
    """Each part once made an array of the gradient's size, which is large with many features."""
    monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", 50)
    backend = choose_backend("array_api_strict")
    x = scipy.sparse.hstack([X, scipy.sparse.csr_array((30, 1000), dtype="float32")], format="csr")
    taken = Taken(backend.xp)
    xp = SparseMatmul(backend._replace(xp=taken))
    product = xp.matmul(x.T, to_backend(backend, np.ones((30, 2), "float32")))
    np.testing.assert_allclose(to_numpy(product), x.toarray().T @ np.ones((30, 2)), rtol=1e-5)
    assert len(taken.n_rows) > 4
    assert sum(n_rows == x.shape[1] for n_rows in taken.n_rows) == 1
