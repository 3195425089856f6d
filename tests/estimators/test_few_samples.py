"""Predictions of few samples: what is remembered of a model changes no result, no error and no warning."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.preprocessing import LabelBinarizer

from gpubp.engine import cpu
from gpubp.estimators import MLPClassifier, MLPRegressor, _few_samples
from gpubp.estimators._label_encoding import ClassTargets

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built"),
]

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(30, 4)), np.arange(30) % 3


def fitted(kind=MLPClassifier, y=CLASSES, **options):
    """Fit a model, and predict so that it is remembered."""
    arguments = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "device": "cpu", "random_state": 0}
    model = kind(**arguments | options).fit(X, y)
    model.predict(X[:1])
    assert id(model) in _few_samples._checked
    return model


@pytest.fixture
def computed(monkeypatch):
    """Record the samples whose outputs are computed without all of the checks."""
    computed, compute = [], _few_samples.outputs_on_numpy

    def recorded(network, theta, x):
        computed.append(x)
        return compute(network, theta, x)

    monkeypatch.setattr(_few_samples, "outputs_on_numpy", recorded)
    return computed


def outcome(model, x):
    """Return the predictions, or the error, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = [model.predict(x)] + ([model.predict_proba(x)] if hasattr(model, "predict_proba") else [])
            result = [(part.dtype, part.tolist()) for part in result]
        except Exception as error:
            result = type(error), str(error)
    return result, [(each.category, str(each.message)) for each in caught]


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (MLPClassifier, CLASSES),
        (MLPClassifier, CLASSES % 2 == 0),
        (MLPClassifier, np.array([*"abc"])[CLASSES]),
        (MLPClassifier, np.stack([CLASSES, CLASSES % 2], axis=1)),
        (MLPRegressor, X[:, 0]),
        (MLPRegressor, X[:, :2]),
    ],
    ids=["three classes", "two", "text", "columns", "number", "numbers"],
)
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_predictions(computed, monkeypatch, kind, y, device):
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    model = fitted(kind, y, device=device)
    for n in (1, 2, 30):
        n_before = len(computed)
        assert str(outcome(model, X[:n])) == str(outcome(copy.deepcopy(model), X[:n]))
        assert len(computed) > n_before


CHANGES = {
    "weights replaced": lambda model: model.coefs_.__setitem__(0, -model.coefs_[0]),
    "weights in place": lambda model: model.coefs_[0].__imul__(-3.0),
    "a new list": lambda model: setattr(model, "intercepts_", [part + 1.0 for part in model.intercepts_]),
    "a layer less": lambda model: model.intercepts_.pop(),
    "activation": lambda model: model.set_params(activation="tanh"),
    "unknown activation": lambda model: model.set_params(activation="no"),
    "dtype": lambda model: model.set_params(dtype="float32"),
    "unknown device": lambda model: model.set_params(device="no"),
    "unknown precision": lambda model: model.set_params(matmul_precision="no"),
    "features": lambda model: setattr(model, "n_features_in_", 3),
    "names": lambda model: setattr(model, "feature_names_in_", np.array([*"abcd"], dtype=object)),
    "library": lambda model: setattr(model, "_fitted_with", "torch"),
    "classes": lambda model: setattr(model._label_binarizer, "classes_", np.array([7, 8, 9])),
    "fitted again": lambda model: model.fit(-X, CLASSES),
    "no weights": lambda model: delattr(model, "coefs_"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_the_model_are_seen(change):
    model = fitted()
    before = outcome(model, X[:2])
    CHANGES[change](model)
    after = outcome(model, X[:2])
    assert str(after) == str(outcome(copy.deepcopy(model) if change != "library" else model, X[:2]))
    assert str(after) != str(before)


def test_changes_of_the_environment_are_seen(monkeypatch):
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    model = fitted(device="auto")
    monkeypatch.setenv("GPUBP_DEVICE", "no")
    assert "no" in str(outcome(model, X[:2]))


SAMPLES = {
    "NaN": np.where(np.arange(4) == 2, np.nan, X[:1]),
    "infinite": np.where(np.arange(4) == 2, -np.inf, X[:1]),
    "large": np.full((1, 4), 1e308),
    "wide": X[:1, [0, 1, 2, 3, 0]],
    "one sample": X[0],
    "three dimensions": X[None, :2],
    "none": X[:0],
    "text": np.array([["a", "b", "c", "d"]]),
    "float32": X[:2].astype("float32"),
    "big endian": X[:2].astype(">f8"),
    "integers": np.arange(8).reshape(2, 4),
    "a list": X[:2].tolist(),
    "columns": np.asfortranarray(X[:3]),
    "backwards": X[5:2:-1, ::-1],
    "unaligned": np.frombuffer(b"." + X[:2].tobytes(), np.float64, offset=1).reshape(2, 4),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_checked(name):
    model, x = fitted(), SAMPLES[name]
    found = outcome(model, x)
    assert str(found) == str(outcome(copy.deepcopy(model), x))
    assert isinstance(found[0], tuple) == (list(SAMPLES).index(name) in (0, 1, 3, 4, 5, 6, 7))


def test_many_samples_are_left_to_the_checks_that_need_less_memory(computed):
    fitted().predict(np.tile(X, (_few_samples.FEW // X.size + 1, 1)))
    assert computed == []


def test_the_model_is_not_kept():
    model = fitted()
    key = id(model)
    del model
    assert key not in _few_samples._checked


def test_nothing_is_added_to_the_model():
    model = MLPClassifier((5,), max_iter=3, device="cpu").fit(X, CLASSES)
    before = dict(vars(model))
    model.predict(X[:1])
    assert vars(model).keys() == before.keys()


def test_threads_have_memory_of_their_own():
    model = fitted(hidden_layer_sizes=(300, 200))
    expected = [model.predict_proba(X[k : k + 1]).tolist() for k in range(30)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda k: model.predict_proba(X[k % 30 : k % 30 + 1]).tolist(), range(600))
    assert list(found) == 20 * expected


@pytest.mark.parametrize(
    "classes", [[3, 5], ["a", "b"], [False, True], [2.0, 4.0, 1.0], ["a", "b", "cc"], [4]], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_are_those_of_scikit_learn(classes, dtype):
    labels = LabelBinarizer().fit(np.asarray(classes))
    outputs = RNG.choice([0.0, 0.25, 0.5, 0.75, 1.0], size=(50, 3 if len(classes) == 3 else 1)).astype(dtype)
    predicted = ClassTargets(labels, labels.classes_, "log_loss", 0.0).predictions(outputs)
    expected = labels.inverse_transform(outputs)
    np.testing.assert_array_equal(predicted, expected, strict=True)
