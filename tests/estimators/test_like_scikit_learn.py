"""Any data, container, targets and options: gpubp does what scikit-learn does, or both refuse."""

import math
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.fixes import parse_version

import gpubp
from gpubp.estimators._label_encoding import ClassTargets, learn_labels

pytestmark = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"), reason="older releases lack options and containers"
)
DTYPES = ("float64", "float32", "float16", "int64", "int8", "uint8", "bool")
CONTAINERS = {
    "array": lambda x: x,
    "Fortran": np.asfortranarray,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda x: _read_only(x.copy()),
    "list": lambda x: x.tolist(),
    "pandas": lambda x: pd.DataFrame(x, columns=[f"c{k}" for k in range(x.shape[1])]),
    "pandas, nullable": lambda x: pd.DataFrame(x).convert_dtypes(),
    "polars": lambda x: pl.DataFrame(x.astype("float64")),
    "csr": lambda x: scipy.sparse.csr_matrix(x.astype(_of_sparse(x))),
    "csc": lambda x: scipy.sparse.csc_array(x.astype(_of_sparse(x))),
    "coo": lambda x: scipy.sparse.coo_matrix(x.astype(_of_sparse(x))),
}
LABELS = {
    "whole numbers": lambda k: k,
    "bool": lambda k: k > 0,
    "text": lambda k: np.asarray(["no", "yes", "à peu près"])[k],
    "objects": lambda k: np.asarray(["a", "b", "c"], dtype=object)[k],
    "floats": lambda k: k.astype(float),
    "negative": lambda k: -k,
    "float32": lambda k: k.astype("float32"),
    "series": lambda k: pd.Series(k, index=np.arange(len(k))[::-1]),
    "categories": lambda k: pd.Series(np.asarray(["a", "b", "c"])[k], dtype="category"),
    "list": lambda k: k.tolist(),
    "marks": lambda k: np.stack([k > 0, k == 1, k % 2 == 0], axis=1).astype(int),
    "one class": lambda k: np.zeros_like(k),
}
NUMBERS = {
    "one": lambda r: r[:, 0],
    "two": lambda r: r,
    "float32": lambda r: r[:, 0].astype("float32"),
    "whole numbers": lambda r: np.round(3 * r[:, 0]).astype(int),
    "bool": lambda r: r[:, 0] > 0,
    "series": lambda r: pd.Series(r[:, 0]),
    "frame": pd.DataFrame,
    "list": lambda r: r[:, 0].tolist(),
    "constant": lambda r: np.full(len(r), 2.5),
}
OPTIONS = st.fixed_dictionaries(
    {
        "solver": st.sampled_from(["adam", "sgd", "lbfgs"]),
        "activation": st.sampled_from(["relu", "tanh", "logistic", "identity"]),
        "hidden_layer_sizes": st.sampled_from([(), (3,), 4, [3, 2]]),
        "max_iter": st.integers(1, 6),
        "random_state": st.integers(0, 99),
    },
    optional={
        "batch_size": st.sampled_from(["auto", 1, 5, 7, 1000]),
        "shuffle": st.booleans(),
        "early_stopping": st.booleans(),
        "validation_fraction": st.sampled_from([0.2, 0.4]),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
        "learning_rate_init": st.sampled_from([1e-3, 0.02]),
        "alpha": st.sampled_from([0.0, 1e-4, 1.0]),
        "momentum": st.sampled_from([0.0, 0.5]),
        "nesterovs_momentum": st.booleans(),
        "n_iter_no_change": st.integers(1, 3),
        "tol": st.sampled_from([0.0, 1e-4, 10.0]),
        "warm_start": st.booleans(),
    },
)


def _read_only(x):
    x.flags.writeable = False
    return x


def _is_float32(x):
    dtypes = x.dtypes if isinstance(x, pd.DataFrame) else [getattr(x, "dtype", "")]
    return {str(dtype).lower() for dtype in dtypes} == {"float32"}


def _of_sparse(x):
    return "float64" if x.dtype == "float16" else x.dtype


@st.composite
def samples(draw, targets):
    n_samples, n_features = draw(st.integers(2, 30)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = (2.0 * rng.normal(size=(n_samples, n_features))).round(2)
    dtype = draw(st.sampled_from(DTYPES))
    x = (np.abs(x) if dtype == "uint8" else x).astype(dtype)
    name = draw(st.sampled_from([*targets]))
    raw = rng.integers(0, 3, n_samples) if targets is LABELS else rng.normal(size=(n_samples, 2))
    container = draw(st.sampled_from([*CONTAINERS]))
    weights = draw(st.sampled_from([None, None, "random", "zeros among them"]))
    if weights is not None:
        weights = rng.uniform(0.1, 2.0, n_samples) * (1.0 if weights == "random" else rng.integers(0, 2, n_samples))
    return container, CONTAINERS[container](x), name, targets[name](raw), weights


def outcome(model, x, y, weights, again):
    """Fit and use a model; return its results, or the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            options = {} if weights is None else {"sample_weight": weights}
            model.fit(x, y, **options)
            if again:
                model.fit(x, y, **options)
            results = {"n_iter_": model.n_iter_, "predict": model.predict(x)}
            results["scores"] = getattr(model, "validation_scores_", None) or []
            if hasattr(model, "predict_proba"):
                results |= {"proba": model.predict_proba(x), "classes_": model.classes_}
            return results | {"coefs": model.coefs_, "names": getattr(model, "feature_names_in_", None)}
        except Exception as error:
            return error


def compare(gpubp_outcome, sklearn_outcome, *, single):
    if isinstance(sklearn_outcome, Exception) or isinstance(gpubp_outcome, Exception):
        event(f"refused: {type(sklearn_outcome).__name__}")
        if isinstance(sklearn_outcome, ZeroDivisionError) and not isinstance(gpubp_outcome, Exception):
            return  # the samples of a batch all have weight 0, which gpubp trains on: they change nothing
        assert isinstance(sklearn_outcome, Exception), gpubp_outcome
        assert isinstance(
            gpubp_outcome, type(sklearn_outcome) if isinstance(sklearn_outcome, ValueError | TypeError) else Exception
        ), sklearn_outcome
        return
    if any(
        map(math.isnan, gpubp_outcome["scores"])
    ):  # the held-out targets are all equal, which scikit-learn scores 0 or 1
        assert set(sklearn_outcome["scores"]) <= {0.0, 1.0}
        return
    tolerance = {"rtol": 2e-3, "atol": 2e-4} if single else {"rtol": 1e-6, "atol": 1e-8}
    assert gpubp_outcome["n_iter_"] == sklearn_outcome["n_iter_"]
    for a, b in zip(gpubp_outcome["coefs"], sklearn_outcome["coefs"], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, **tolerance)
    assert gpubp_outcome["predict"].dtype == sklearn_outcome["predict"].dtype
    assert gpubp_outcome["predict"].shape == sklearn_outcome["predict"].shape
    np.testing.assert_array_equal(gpubp_outcome["names"], sklearn_outcome["names"])
    if "proba" in sklearn_outcome:
        np.testing.assert_array_equal(gpubp_outcome["classes_"], sklearn_outcome["classes_"])
        if len(sklearn_outcome["classes_"]) == 1:  # scikit-learn's two columns do not belong to a class
            sklearn_outcome["proba"] = np.ones((len(sklearn_outcome["predict"]), 1))
        np.testing.assert_allclose(gpubp_outcome["proba"], sklearn_outcome["proba"], **tolerance)
    else:
        np.testing.assert_allclose(gpubp_outcome["predict"], sklearn_outcome["predict"], **tolerance)


EVERYTHING = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.filterwarnings("ignore")
@EVERYTHING
@given(data=samples(LABELS), options=OPTIONS)
def test_classifier(data, options):
    check("MLPClassifier", data, options)


@pytest.mark.filterwarnings("ignore")
@EVERYTHING
@given(data=samples(NUMBERS), options=OPTIONS)
@example(
    data=("array", np.asarray([[0.25], [-0.26], [1.0]]), "bool", np.asarray([True, False, True]), None),
    options={"hidden_layer_sizes": (3,), "solver": "adam", "max_iter": 2, "random_state": 0},
)
def test_regressor(data, options):
    check("MLPRegressor", data, options)


def check(name, data, options):
    container, x, of_targets, y, weights = data
    # differences that the docstrings name
    assume(not (options["solver"] == "lbfgs" and of_targets in ("two", "frame")))  # its loss is a mean over outputs
    assume(not (options["solver"] == "lbfgs" and _is_float32(x)))  # it computes in float64
    event(f"X: {container}")
    event(f"y: {of_targets}")
    again = options.get("warm_start", False) and options["solver"] == "lbfgs"  # others continue with the solver's state
    sklearn_outcome = outcome(getattr(sklearn.neural_network, name)(**options), x, y, weights, again)
    gpubp_outcome = outcome(getattr(gpubp, name)(device="cpu", **options), x, y, weights, again)
    single = not isinstance(sklearn_outcome, Exception) and sklearn_outcome["coefs"][0].dtype == np.float32
    compare(gpubp_outcome, sklearn_outcome, single=single)


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 1],
        [3, 7, 5, 3],
        ["b", "a"],
        ["c", "a", "b"],
        [True, False, True],
        [4, 4],
        ["only"],
        np.array(["no", "yes"], "U10"),
        np.array([7, 3, 9], "uint8"),
    ],
)
def test_classes_of_one_column_are_encoded_as_by_label_binarizer(y):
    labels, expected = learn_labels(np.asarray(y)), LabelBinarizer().fit(y)
    assert vars(labels).keys() == vars(expected).keys()
    assert (labels.classes_.tolist(), labels.y_type_) == (expected.classes_.tolist(), expected.y_type_)
    assert labels.classes_.dtype == expected.classes_.dtype
    encoded = ClassTargets(labels, labels.classes_, "log_loss", 0.0).encode(np.asarray(y))
    np.testing.assert_array_equal(encoded, expected.transform(y).astype(bool))
