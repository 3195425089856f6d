"""Numbers of types that NumPy lacks, such as bfloat16, give the model of the same numbers in float32.

pytorch/pytorch#110285, Nixtla/neuralforecast#1259, embeddings-benchmark/mteb#1297: "Got unsupported ScalarType
BFloat16".
"""

from typing import Any, NamedTuple

import array_api_compat
import numpy as np
import pytest

import gpubp
from gpubp import BatchedSearchCV, MLPClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.backends.backend import to_numpy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 4)).astype("float32")
labels = (X[:, 0] - X[:, 1] > 0).astype(int)
r = X @ np.array([1.0, -2.0, 0.5, 0.0], "float32")
OPTIONS = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 3, "device": "auto"}
NETWORK = gpubp.Network((4, 3, 1))
THETA = gpubp.initial_weights(NETWORK, 0)


def torch_tensor(name, values):
    torch = pytest.importorskip("torch")
    return torch.tensor(values).to(getattr(torch, name))


def torch_with_gradient(name, values):
    return torch_tensor(name, values).requires_grad_()


def jax_array(name, values):
    return pytest.importorskip("jax").numpy.asarray(values).astype(name)


def numpy_array(name, values):
    return values.astype(np.dtype(getattr(pytest.importorskip("ml_dtypes"), name)))


def list_of_tensors(name, values):
    return list(torch_with_gradient(name, values))


CONTAINERS = [torch_tensor, torch_with_gradient, jax_array, numpy_array, list_of_tensors]


def in_float32(array):
    """Return the same numbers in float32, in the same library."""
    if isinstance(array, list):
        return np.asarray([in_float32(part) for part in array])
    return array.detach().float() if hasattr(array, "detach") else array.astype("float32")


class Data(NamedTuple):
    x: Any
    y: Any
    column: Any
    weights: Any
    zeros_and_ones: Any


def data(convert):
    values = (X, r, r[:, None], 0.1 + abs(r), (r > 0).astype("float32"))
    return Data(*map(convert, values))


def regressor(**options):
    return MLPRegressor(**(OPTIONS | options))


def search(x, y, **given):
    return BatchedSearchCV(regressor(), {"alpha": [0.0, 0.1]}, cv=2, error_score="raise").fit(x, y, **given)


def trained(x=X, targets=r[:, None], **options):
    return gpubp.train(NETWORK, x, targets, epochs=2, seed=0, dtype="float32", **options).history


def streamed(x, y):
    stream = gpubp.open_stream(lambda: iter([(x[:30], y[:30]), (x[30:], y[30:])]))
    return gpubp.train(NETWORK, stream, epochs=2, seed=0, dtype="float32", device="cpu").history


USES = {
    "fit X": lambda given: regressor().fit(given.x, r).loss_,
    "fit y": lambda given: regressor().fit(X, given.y).loss_,
    "fit both": lambda given: regressor().fit(given.x, given.y).loss_,
    "partial_fit": lambda given: regressor().partial_fit(given.x, given.y).loss_,
    "sample_weight": lambda given: regressor().fit(X, r, sample_weight=given.weights).loss_,
    "predict": lambda given: regressor().fit(given.x, r).predict(given.x),
    "score": lambda given: regressor().fit(X, r).score(X, given.y, sample_weight=given.weights),
    "validation_data": lambda given: (
        regressor().fit(given.x, r, validation_data=(given.x, given.y, given.weights)).validation_curve_
    ),
    "classes": lambda given: (
        MLPClassifier(**OPTIONS).fit(X, given.zeros_and_ones, sample_weight=given.weights).predict_proba(X)
    ),
    "score of classes": lambda given: (
        MLPClassifier(**OPTIONS).fit(X, given.zeros_and_ones).score(X, given.zeros_and_ones)
    ),
    "classes of partial_fit": lambda given: (
        MLPClassifier(**OPTIONS)
        .partial_fit(X, given.zeros_and_ones, classes=given.zeros_and_ones[:20])
        .predict_proba(X)
    ),
    "ensemble": lambda given: (
        MLPEnsembleRegressor(regressor(), 2, random_state=0).fit(given.x, given.y).predict(given.x)
    ),
    "restarts": lambda given: regressor(n_restarts=2).fit(given.x, given.y).loss_,
    "lbfgs": lambda given: regressor(solver="lbfgs").fit(X, given.y).loss_,
    "search": lambda given: search(given.x, given.y).best_score_,
    "search with weights": lambda given: search(X, r, sample_weight=given.weights).best_score_,
    "train": lambda given: trained(given.x, given.column).loss,
    "train with weights": lambda given: trained(sample_weight=given.weights).loss,
    "train with validation": lambda given: trained(validation_data=(given.x, given.column)).validation_loss,
    "gpubp.predict": lambda given: gpubp.predict(NETWORK, THETA, given.x),
    "stream": lambda given: streamed(given.x, given.y).loss,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_model_of_the_same_numbers_in_float32(container, use):
    short = data(lambda values: container("bfloat16", values))
    np.testing.assert_allclose(
        to_numpy(USES[use](short)), to_numpy(USES[use](Data(*map(in_float32, short)))), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["float16", "float8_e5m2", "float8_e4m3fn"])
@pytest.mark.parametrize("use", ["fit both", "validation_data", "search", "train"])
def test_other_short_floats(container, name, use):
    if (container, name) == (numpy_array, "float16"):
        container = lambda name, values: values.astype(name)  # noqa: E731
    short = data(lambda values: container(name, values))
    np.testing.assert_allclose(USES[use](short), USES[use](Data(*map(in_float32, short))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["int4", "uint4", "int2"])
@pytest.mark.parametrize("container", [jax_array, numpy_array])
def test_short_integers(container, name):
    short = container(name, labels)
    model = MLPClassifier(**OPTIONS).fit(X, short)
    assert model.classes_.tolist() == [0, 1]
    assert model.score(X, short) == MLPClassifier(**OPTIONS).fit(X, labels).score(X, labels)
    np.testing.assert_array_equal(gpubp.one_hot(short), gpubp.one_hot(labels))
    assert regressor().fit(container(name, (X > 0).astype(int)), r).loss_ == pytest.approx(
        regressor().fit((X > 0).astype("float32"), r).loss_, rel=1e-5
    )


@pytest.mark.parametrize("container", [torch_tensor, jax_array, numpy_array])
def test_gradients_are_checked_in_float32(container):
    arrays = [container("bfloat16", values) for values in (THETA, X, r[:, None], abs(r))]
    xp = np if container is numpy_array else array_api_compat.array_namespace(arrays[0])
    short = gpubp.check_gradient(xp, NETWORK, *arrays)
    assert str(short.gradient.dtype).endswith("float32")
    assert short.largest_deviation == pytest.approx(
        gpubp.check_gradient(xp, NETWORK, *map(in_float32, arrays)).largest_deviation
    )
    assert short.largest_deviation < 0.1


@pytest.mark.parametrize("container", [torch_tensor, jax_array, numpy_array])
def test_parameters(container):
    theta = container("bfloat16", THETA)
    np.testing.assert_allclose(
        to_numpy(gpubp.predict(NETWORK, theta, X, device="cpu")),
        to_numpy(gpubp.predict(NETWORK, in_float32(theta), X, device="cpu")),
        rtol=1e-6,
    )
    assert to_numpy(gpubp.train(NETWORK, X, r[:, None], theta=theta, epochs=1, device="cpu").theta).dtype == "float32"


@pytest.mark.parametrize("container", [torch_tensor, jax_array, numpy_array])
def test_values_that_are_not_finite(container):
    wrong = np.where(X > 2.0, np.nan, X)
    with pytest.raises(ValueError, match="NaN"):
        regressor().fit(container("bfloat16", wrong), r)
    with pytest.raises(ValueError, match="NaN"):
        regressor().fit(X, container("bfloat16", np.where(r > 2.0, np.nan, r)))
