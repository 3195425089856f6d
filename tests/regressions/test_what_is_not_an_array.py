"""What is not an array of numbers is refused with our message: what was received, what was expected, how to convert it.

skorch-dev/skorch#824 (the type of y): text numbers as targets of a regressor ended in "ufunc 'minimum' did not contain
a loop"; LazyFrames, sparse, meta and nested tensors, DataLoaders in errors of their libraries.
"""

import numpy as np
import pytest

import gpubp
from gpubp import BatchedSearchCV, MLPClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.errors import DataError

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 4))
r = X @ np.array([1.0, -2.0, 0.5, 0.0])
labels = (r > 0).astype(int)
OPTIONS = {"hidden_layer_sizes": (6,), "max_iter": 1, "random_state": 3, "device": "auto"}
NETWORK = gpubp.Network((4, 3, 1))
THETA = gpubp.initial_weights(NETWORK, 0)


def torch():
    return pytest.importorskip("torch")


def polars():
    return pytest.importorskip("polars")


def dataset():
    return torch().utils.data.TensorDataset(torch().tensor(X), torch().tensor(r))


NOT_ARRAYS = {
    "sparse on a GPU": (
        type("csr_matrix", (), {"__module__": "cupyx.scipy.sparse._csr", "toarray": None, "get": None}),
        r"is a csr_matrix, .* pass \w+\.get\(\)",  # and not toarray(), which would make a dense copy on the GPU
    ),
    "LazyFrame": (lambda: polars().LazyFrame({"a": r}), r"is a LazyFrame, .* pass \w+\.collect\(\)"),
    "sparse": (lambda: torch().tensor(X).to_sparse(), r"is a sparse tensor; pass .*\.to_dense\(\)"),
    "sparse rows": (lambda: torch().tensor(X).to_sparse_csr(), r"is a sparse tensor; pass .*\.to_dense\(\)"),
    "meta": (lambda: torch().ones((60, 4), device="meta"), "is a tensor of the device 'meta', .* no values"),
    "quantized": (
        lambda: torch().quantize_per_tensor(torch().ones(60, 4), 0.1, 0, torch().quint8),
        r"is a quantized tensor; pass .*\.dequantize\(\)",
    ),
    "nested": (
        lambda: torch().nested.nested_tensor([torch().ones(2), torch().ones(3)], layout=torch().jagged),
        "is a nested tensor, .* pass torch.nested.to_padded_tensor",
    ),
    "Dataset": (dataset, "is a TensorDataset, not an array .* collect its samples"),
    "DataLoader": (
        lambda: torch().utils.data.DataLoader(dataset()),
        r"is a DataLoader, not an array .* gpubp.open_stream",
    ),
    "generator": (lambda: (row for row in X), r"is a generator, not an array .* pass numpy.asarray\(list\("),
    "map": (lambda: map(float, r), r"is a map, not an array .* pass numpy.asarray\(list\("),
    "set": (lambda: {1.0, 2.0}, "is a set, not an array"),
    "dict": (lambda: {"a": r}, "is a dict, not an array .* pass pandas.DataFrame"),
    "object": (object, "is an object, not an array .* expected an array with a row for each sample"),
    "text": (lambda: "table.csv", "is a str, not an array"),
    "function": (lambda: len, "is a builtin_function_or_method, not an array"),
}
NOT_NUMBERS = {
    "words": lambda: np.array(["a", "b", "c"] * 20),
    "word objects": lambda: np.array(["a", "b", "c"] * 20, object),
    "objects": lambda: np.full(60, {}, object),
    "ragged": lambda: [[1.0, 2.0], [3.0]] * 30,
    "ragged objects": lambda: np.array([[1.0, 2.0], [3.0]] * 30, object),
    "fields": lambda: np.zeros((60, 1), "f8,f8"),
    "categories": lambda: pytest.importorskip("pandas").Series(["a", "b"] * 30, dtype="category"),
    "strings of pandas": lambda: pytest.importorskip("pandas").Series(["a", "b"] * 30, dtype="string"),
    "list of words": lambda: ["a", "b"] * 30,
    "strings of NumPy": lambda: np.array(["a", "b"] * 30, np.dtypes.StringDType()),
}
NOT_TARGETS = {
    **NOT_NUMBERS,
    "numbers as text": lambda: r.astype(str),
    "numbers as bytes": lambda: r.astype("S"),
    "dates": lambda: np.arange("2020", "2080", dtype="M8[Y]"),
    "durations": lambda: r.astype("m8[s]"),
    "complex": lambda: r + 0j,
    "dates of pandas": lambda: pytest.importorskip("pandas").Series(
        pytest.importorskip("pandas").date_range("2020", periods=60)
    ),
}


def regressor():
    return MLPRegressor(**OPTIONS)


def search(x, y, **given):
    return BatchedSearchCV(regressor(), {"alpha": [0.0, 0.1]}, cv=2, error_score="raise").fit(x, y, **given)


FITTED, CLASSIFIER = regressor(), MLPClassifier(**OPTIONS)
SAMPLES = {
    "fit": lambda x: regressor().fit(x, r),
    "partial_fit": lambda x: regressor().partial_fit(x, r),
    "predict": lambda x: FITTED.predict(x),
    "score": lambda x: FITTED.score(x, r),
    "validation_data": lambda x: regressor().fit(X, r, validation_data=(x, r)),
    "classifier": lambda x: MLPClassifier(**OPTIONS).fit(x, labels),
    "predict_proba": lambda x: CLASSIFIER.predict_proba(x),
    "ensemble": lambda x: MLPEnsembleRegressor(regressor(), 2).fit(x, r),
    "search": lambda x: search(x, r),
    "train": lambda x: gpubp.train(NETWORK, x, r[:, None], epochs=1),
    "train with validation": lambda x: gpubp.train(NETWORK, X, r[:, None], epochs=1, validation_data=(x, r[:, None])),
    "gpubp.predict": lambda x: gpubp.predict(NETWORK, THETA, x),
}
TARGETS = {
    "fit": lambda y: regressor().fit(X, y),
    "partial_fit": lambda y: regressor().partial_fit(X, y),
    "score": lambda y: FITTED.score(X, y),
    "validation_data": lambda y: regressor().fit(X, r, validation_data=(X, y)),
    "ensemble": lambda y: MLPEnsembleRegressor(regressor(), 2).fit(X, y),
    "restarts": lambda y: regressor().set_params(n_restarts=2).fit(X, y),
    "search": lambda y: search(X, y),
}
WEIGHTS = {
    "sample_weight": lambda w: regressor().fit(X, r, sample_weight=w),
    "sample_weight of score": lambda w: FITTED.score(X, r, sample_weight=w),
    "sample_weight of search": lambda w: search(X, r, sample_weight=w),
}
ANY = {
    "targets": lambda y: gpubp.train(NETWORK, X, y, epochs=1),
    "weights": lambda w: gpubp.train(NETWORK, X, r[:, None], epochs=1, sample_weight=w),
    "theta": lambda theta: gpubp.predict(NETWORK, theta, X),
    "labels": gpubp.one_hot,
    "classifier": lambda y: MLPClassifier(**OPTIONS).fit(X, y),
}


@pytest.fixture(scope="module", autouse=True)
def fitted():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FITTED.fit(X, r)
        CLASSIFIER.fit(X, labels)


@pytest.mark.parametrize("kind", NOT_ARRAYS)
@pytest.mark.parametrize("use", [*SAMPLES, *TARGETS, *WEIGHTS, *ANY])
@pytest.mark.filterwarnings("ignore:.*torch:UserWarning", "ignore:Sparse:UserWarning")
def test_what_is_not_an_array(kind, use):
    make, message = NOT_ARRAYS[kind]
    with pytest.raises(DataError, match=message):
        (SAMPLES | TARGETS | WEIGHTS | ANY)[use](make())


@pytest.mark.parametrize("kind", NOT_NUMBERS)
@pytest.mark.parametrize("use", SAMPLES)
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_samples_that_are_not_numbers(kind, use):
    values = NOT_NUMBERS[kind]()
    if getattr(values, "ndim", 1) == 1 and not kind.startswith("ragged"):
        values = [[value] * 4 for value in values] if isinstance(values, list) else columns(values)
    with pytest.raises(ValueError, match=r"X must |(Convert|convert) your data"):  # the second is scikit-learn's
        SAMPLES[use](values)


def columns(values):
    if hasattr(values, "to_frame"):
        return pytest.importorskip("pandas").concat([values] * 4, axis=1, keys=list("abcd"))
    return np.stack([values] * 4, axis=1)


@pytest.mark.parametrize("kind", NOT_TARGETS)
@pytest.mark.parametrize("use", [*TARGETS, *WEIGHTS])
def test_targets_and_weights_that_are_not_numbers(kind, use):
    name = "y" if use in TARGETS else "sample_weight"
    with pytest.raises(DataError, match=f"{name} must hold (real )?numbers"):
        (TARGETS | WEIGHTS)[use](NOT_TARGETS[kind]())


def test_the_message_says_how_to_convert():
    with pytest.raises(ValueError, match=r"y must hold real numbers, got <U.*; if the text is numbers, pass y.astype"):
        regressor().fit(X, r.astype(str))
    with pytest.raises(DataError, match=r"datetime64.*; pass the time since a date"):
        regressor().fit(X, NOT_TARGETS["dates"]())


def test_both_kinds_of_errors_catch_it():
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match="generator"):
            regressor().fit((row for row in X), r)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_scikit_learn_takes_is_taken():
    plain = regressor().fit(X, r).predict(X)
    for x, y in (
        (X.astype(object), r.astype(object)),
        (X.astype(str).astype(object), r.astype(str).astype(object)),
        (X.astype(str), r.tolist()),
        (X.tolist(), list(r)),
    ):
        np.testing.assert_array_equal(regressor().fit(x, y).predict(X), plain)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        regressor().fit(X, None)
    with pytest.raises(ValueError, match="Complex data not supported"):
        regressor().fit(X + 0j, r)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (np.array(4), (4,)),
        (np.int64(4), (4,)),
        (4, (4,)),
        (np.array([4, 3]), (4, 3)),
        ((np.int32(4), 3), (4, 3)),
        ([4, 3], (4, 3)),
        ((), ()),
    ],
)
def test_hidden_layer_sizes(sizes, expected):
    model = MLPRegressor(**(OPTIONS | {"hidden_layer_sizes": sizes})).fit(X, r)
    assert [coefs.shape[1] for coefs in model.coefs_[:-1]] == list(expected)


@pytest.mark.parametrize(
    "sizes",
    [
        *[
            (4.0,),
            np.array(4.0),
            np.array([4.0]),
            [[4]],
            ["4"],
            "4",
            {4.0},
            (None,),
            (4, "a"),
            np.array([[4, 3]]),
            ("",),
        ],
        *[[True], (4, True), np.array([True]), np.True_, (np.True_, 4), True],
    ],
)
@pytest.mark.parametrize("model_class", [MLPRegressor, MLPClassifier])
def test_hidden_layer_sizes_that_are_not_whole_numbers(model_class, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        model_class(**(OPTIONS | {"hidden_layer_sizes": sizes})).fit(X, labels)


@pytest.mark.parametrize("sizes", [(n for n in (4, 3)), None, 4.0])
def test_hidden_layer_sizes_of_a_wrong_type(sizes):
    with pytest.raises(ValueError, match="The 'hidden_layer_sizes' parameter of MLPRegressor must be"):
        MLPRegressor(**(OPTIONS | {"hidden_layer_sizes": sizes})).fit(X, labels)


NESTED = {
    "a list": lambda grad: [torch().tensor(row, requires_grad=grad) for row in X],
    "scalars": lambda grad: [[torch().tensor(value, requires_grad=grad) for value in row] for row in X],
    "tuples": lambda grad: tuple(tuple(torch().tensor(value, requires_grad=grad) for value in row) for row in X),
    "a row of many": lambda grad: [*X[:-1].tolist(), [torch().tensor(value, requires_grad=grad) for value in X[-1]]],
    "among numbers": lambda grad: [[torch().tensor(row[0], requires_grad=grad), *row[1:].tolist()] for row in X],
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", NESTED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_nested_lists_of_tensors(name, grad):
    x = NESTED[name](grad)
    expected = regressor().fit(X, r).predict(X)
    np.testing.assert_array_equal(regressor().fit(x, r).predict(x), expected)
    targets = [[value, 1.0] for value in (torch().tensor(value, requires_grad=grad) for value in r)]
    expected = regressor().fit(X, np.c_[r, np.ones(60)]).predict(X)
    np.testing.assert_array_equal(regressor().fit(X, targets).predict(X), expected)
    outputs = gpubp.predict(NETWORK, THETA, x)
    np.testing.assert_array_equal(outputs, gpubp.predict(NETWORK, THETA, X))


@pytest.mark.parametrize("table", [lambda: polars().LazyFrame({"a": r}), lambda: 3.0, lambda: (row for row in X)])
def test_tables(table):
    with pytest.raises(DataError, match=r"table must be|collect\(\)"):
        gpubp.prepare_table(table(), target="a")
