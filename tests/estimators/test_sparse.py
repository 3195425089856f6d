"""Sparse samples: the numbers of dense ones, in the memory of their values and of the weights."""

import numpy as np
import pytest
import scipy.sparse
from sklearn import neural_network
from sklearn.model_selection import GridSearchCV

from gpubp import BatchedSearchCV, MLPClassifier, MLPEnsembleClassifier, MLPRegressor
from gpubp.testing import assert_agree
from tests.traced_memory import peak_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Constructing a DIA matrix"),
]

WIDE = 2**18
N_SAMPLES = 400
DENSE_BYTES = N_SAMPLES * WIDE * 8
OPTIONS = {"hidden_layer_sizes": (1,), "max_iter": 2, "random_state": 0, "device": "cpu"}


def documents(n_samples=N_SAMPLES, n_columns=WIDE, n_values=20, seed=0):
    """Return samples with few values, as a hashing vectorizer makes them, and two classes."""
    generator = np.random.default_rng(seed)
    columns = generator.integers(0, n_columns, (n_samples, n_values))
    rows = np.repeat(np.arange(n_samples), n_values)
    x = scipy.sparse.csr_matrix(
        (generator.random(rows.size), (rows, columns.ravel())), shape=(n_samples, n_columns), dtype="float64"
    )
    return x, np.arange(n_samples) % 2


@pytest.mark.parametrize(("columns", "row_starts"), [("int16", "int16"), ("int32", "int64"), ("uint32", "uint32")])
def test_types_of_columns_and_rows_that_scipy_does_not_choose(columns, row_starts):
    x, y = documents(40, 9)
    expected = MLPClassifier(**OPTIONS).fit(x, y)
    x.indices, x.indptr = x.indices.astype(columns), x.indptr.astype(row_starts)
    model = MLPClassifier(**OPTIONS).fit(x, y)
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(model.predict_proba(x), expected.predict_proba(x))


class TestMemory:
    """A dense copy of a batch of 200 has a half of ``DENSE_BYTES``; the weights of one unit a 400th."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"batch_size": N_SAMPLES},
            {"early_stopping": True},
            {"solver": "lbfgs"},
            {"solver": "sgd", "n_restarts": 2},
            {"dtype": "float32"},
            {"dtype": "float32", "matmul_precision": "bfloat16"},
            {"device": "array_api_strict"},
            {"device": "array_api_strict", "solver": "lbfgs"},
            {"dropout": (0.1, 0.1), "max_iter": 1},
        ],
        ids=str,
    )
    def test_a_fit_makes_no_dense_copy(self, options):
        x, y = documents()
        model = MLPClassifier(**OPTIONS | options)
        assert peak_of(lambda: model.fit(x, y)) < DENSE_BYTES / 4

    def test_validation_data_and_partial_fit_make_no_dense_copy(self):
        x, y = documents()
        model = MLPClassifier(**OPTIONS)
        assert peak_of(lambda: model.fit(x, y, validation_data=(x, y))) < DENSE_BYTES / 8
        assert peak_of(lambda: model.partial_fit(x, y)) < DENSE_BYTES / 8

    @pytest.mark.parametrize("device", ["cpu", "array_api_strict"])
    @pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
    def test_predictions_make_no_dense_copy(self, method, device):
        x, y = documents()
        model = MLPClassifier(**OPTIONS | {"device": device}).fit(x, y)
        assert peak_of(lambda: getattr(model, method)(*((x, y) if method == "score" else (x,)))) < DENSE_BYTES / 8

    @pytest.mark.parametrize(
        "model",
        [
            MLPRegressor(**OPTIONS),
            MLPEnsembleClassifier(MLPClassifier(**OPTIONS), n_estimators=2, random_state=0),
            BatchedSearchCV(MLPClassifier(**OPTIONS), {"alpha": [0.0, 1.0]}, cv=2, progress=False),
            GridSearchCV(MLPClassifier(**OPTIONS), {"alpha": [0.0, 1.0]}, cv=2),
        ],
        ids=lambda model: type(model).__name__,
    )
    def test_other_estimators_make_no_dense_copy(self, model):
        x, y = documents()
        assert peak_of(lambda: model.fit(x, y).predict(x)) < DENSE_BYTES / 8


def shuffled(x):
    """Reverse the values of each row, so that columns are not sorted."""
    x = x.copy()
    for start, stop in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        x.indices[start:stop] = x.indices[start:stop][::-1].copy()
        x.data[start:stop] = x.data[start:stop][::-1].copy()
    x.has_sorted_indices = False
    return x


def duplicated(x):
    """Divide each value into two in the same place."""
    data, indices = np.repeat(x.data / 2.0, 2), np.repeat(x.indices, 2)
    return scipy.sparse.csr_matrix((data, indices, x.indptr * 2), shape=x.shape)


def with_int64(x):
    x = x.copy()
    x.indices, x.indptr = x.indices.astype("int64"), x.indptr.astype("int64")
    return x


def read_only(x):
    x = x.copy()
    for array in (x.data, x.indices, x.indptr):
        array.flags.writeable = False
    return x


def with_zeros(x):
    """Replace some values by explicit zeros, and add empty rows."""
    x = x.copy()
    x.data[:30] = 0.0
    return scipy.sparse.vstack([x[:-3], scipy.sparse.csr_matrix((3, x.shape[1]))]).tocsr()


FORMS = {
    "csr_matrix": scipy.sparse.csr_matrix,
    "csr_array": scipy.sparse.csr_array,
    "csc_array": scipy.sparse.csc_array,
    "coo_matrix": scipy.sparse.coo_matrix,
    "bsr_matrix": lambda x: x.tobsr((10, 10)),
    "dia_matrix": scipy.sparse.dia_matrix,
    "lil_matrix": scipy.sparse.lil_matrix,
    "unsorted": shuffled,
    "duplicated": duplicated,
    "int64 indices": with_int64,
    "read-only": read_only,
    "zeros and empty rows": with_zeros,
    "booleans": lambda x: x.astype(bool),
}
NARROW = documents(120, 50, 6)


class TestNumbers:
    @pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
    @pytest.mark.parametrize("form", FORMS)
    def test_are_those_of_dense_samples_and_of_scikit_learn(self, form, options):
        x, y = FORMS[form](NARROW[0]), NARROW[1]
        options = {"hidden_layer_sizes": (8,), "max_iter": 10, "random_state": 0, **options}
        sparse_model = MLPClassifier(device="cpu", **options).fit(x, y)
        dense = MLPClassifier(device="cpu", **options).fit(x.toarray(), y)
        sklearn_model = neural_network.MLPClassifier(**options).fit(x, y)
        for other, outputs in (
            (dense, dense.predict_proba(x.toarray())),
            (sklearn_model, sklearn_model.predict_proba(x)),
        ):
            np.testing.assert_allclose(sparse_model.predict_proba(x), outputs, rtol=1e-7)
            np.testing.assert_allclose(sparse_model.coefs_[0], other.coefs_[0], rtol=1e-7, atol=1e-10)

    def test_agree_on_each_device(self, device):
        x, y = NARROW
        options = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "solver": "sgd"}
        model, expected = (MLPClassifier(device=name, **options).fit(x, y) for name in (device, "cpu"))
        outputs = model.predict_proba(x)
        assert_agree(outputs, expected.predict_proba(x).astype(outputs.dtype), "fit")

    @pytest.mark.parametrize(
        "options",
        [
            {"dropout": 0.4},
            {"dropout": (0.2, 0.4), "batch_size": 7},
            {"dropout": (0.2, 0.4), "device": "array_api_strict"},
            {"hidden_layer_sizes": ()},
            {"n_restarts": 2},
            {"solver": "adamw", "max_grad_norm": 0.1},
            {"device": "array_api_strict"},
            {"device": "array_api_strict", "solver": "lbfgs"},
        ],
        ids=str,
    )
    def test_options_change_dense_and_sparse_alike(self, options, monkeypatch):
        monkeypatch.setattr("gpubp.backends.sparse_matmul.NUMBERS_AT_ONCE", 500)
        monkeypatch.setattr("gpubp.engine.plain.dropout.COUNTERS_AT_ONCE", 50)
        x, y = NARROW
        weights = np.linspace(0.0, 2.0, len(y))
        options = {"hidden_layer_sizes": (8,), "max_iter": 10, "random_state": 0, "device": "cpu", **options}
        sparse_model = MLPClassifier(**options).fit(x, y, weights, validation_data=(x[:50], y[:50]))
        dense = MLPClassifier(**options).fit(x.toarray(), y, weights, validation_data=(x[:50].toarray(), y[:50]))
        mixed = MLPClassifier(**options).fit(x.toarray(), y, weights, validation_data=(x[:50], y[:50]))
        np.testing.assert_allclose(sparse_model.predict_proba(x), dense.predict_proba(x.toarray()), rtol=1e-7)
        for other in (sparse_model, mixed):
            np.testing.assert_allclose(other.validation_curve_, dense.validation_curve_, rtol=1e-9)

    def test_rounded_products_are_those_of_dense_samples(self):
        x, y = NARROW
        options = {"max_iter": 5, "random_state": 0, "device": "cpu", "dtype": "float32"}
        sparse_model, dense = (
            MLPClassifier(8, matmul_precision="bfloat16", **options).fit(form, y) for form in (x, x.toarray())
        )
        np.testing.assert_allclose(sparse_model.coefs_[0], dense.coefs_[0], rtol=1e-5, atol=1e-7)
        exact = MLPClassifier(8, **options).fit(x, y)
        assert not np.allclose(sparse_model.coefs_[0], exact.coefs_[0], rtol=1e-5, atol=1e-7)
