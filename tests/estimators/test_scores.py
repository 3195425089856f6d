"""Scores of samples on a device: computed there, the same as on the host, and the host's errors."""

import copy
import functools

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, r2_score

from gpubp import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.backends.backend import to_numpy
from gpubp.estimators import _scores
from gpubp.testing._tolerances import TOLERANCES

RNG = np.random.default_rng(0)
X, WEIGHTS = RNG.normal(size=(70, 3)).astype("float32"), RNG.uniform(size=70)
CLASSES = {
    "three": np.argmax(X, axis=1),
    "two": X[:, 0] > 0.0,
    "of other numbers": np.array([7, 5, 9])[np.argmax(X, 1)],
}
NUMBERS = {"number": X[:, 0] - X[:, 1], "two numbers": X[:, :2] ** 2}
OPTIONS = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@functools.cache
def fitted_on_host(model, target):
    return model(**OPTIONS).fit(X, (CLASSES | NUMBERS)[target])


def fitted(*arguments):
    return copy.deepcopy(fitted_on_host(*arguments))  # which takes arrays of any library


@pytest.fixture
def here(backend_case):
    """Move an array of NumPy to a device."""
    return backend_case.asarray


@pytest.fixture
def on_host(monkeypatch):
    """The true values that were scored on the host."""
    scored = []
    for name in ("accuracy", "relative_score"):
        own = getattr(_scores, name)
        monkeypatch.setattr(_scores, name, lambda *given, own=own: scored.append(given) or own(*given))
    return scored


def is_numpy(backend_case):
    return backend_case.backend.is_numpy


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
class TestOnTheDevice:
    @pytest.mark.parametrize("target", CLASSES)
    def test_accuracy_is_the_same_to_the_bit(self, backend_case, here, on_host, target, weights):
        model, y = fitted(MLPClassifier, target), CLASSES[target]
        x, labels = here(X), here(y)
        predicted = model.predict(x)
        assert predicted.dtype == labels.dtype
        assert type(predicted) is type(labels)
        found = model.score(x, labels, weights)
        assert bool(on_host) == is_numpy(backend_case)
        assert found == accuracy_score(y, to_numpy(predicted), sample_weight=weights)
        assert found == model.score(x, y, weights)  # with y on the host

    def test_several_labels_are_right_together(self, backend_case, here, weights):
        labels = (X > 0.3).astype("int64")
        model = MLPClassifier(**OPTIONS).fit(X, labels)
        expected = accuracy_score(labels, model.predict(X), sample_weight=weights)
        assert copy.deepcopy(model).score(here(X), here(labels), weights) == expected

    @pytest.mark.parametrize("target", NUMBERS)
    def test_r2_agrees(self, backend_case, here, on_host, target, weights):
        model, y = fitted(MLPRegressor, target), NUMBERS[target]
        x, numbers = here(X), here(y)
        predicted = to_numpy(model.predict(x)).astype("float64")
        found = model.score(x, numbers, None if weights is None else here(weights, "float32"))
        is_wide = "float64" in backend_case.xp.__array_namespace_info__().dtypes(device=backend_case.backend.device)
        assert bool(on_host) == (is_numpy(backend_case) or not is_wide)
        rounded = None if weights is None else weights.astype("float32")
        rtol, atol, _ = TOLERANCES["fit", "float32" if on_host else "float64"]
        assert found == pytest.approx(
            r2_score(y.astype("float64"), predicted, sample_weight=rounded), rel=rtol, abs=atol
        )


@pytest.mark.parametrize(
    ("ensemble", "member", "y"),
    [
        (MLPEnsembleClassifier, MLPClassifier, CLASSES["three"]),
        (MLPEnsembleRegressor, MLPRegressor, NUMBERS["number"]),
    ],
)
def test_ensembles(here, ensemble, member, y):
    model = ensemble(member(**OPTIONS), n_estimators=2, random_state=0).fit(X, y)
    expected = pytest.approx(model.score(X, y), rel=TOLERANCES["fit", "float32"].rtol)
    assert copy.deepcopy(model).score(here(X), here(y)) == expected


class TestOnTheHost:
    """What is not scored on the device is scored as before, with scikit-learn's messages."""

    def test_text(self, here):
        names = np.array(["a", "b", "c"])[CLASSES["three"]]
        model = copy.deepcopy(MLPClassifier(**OPTIONS).fit(X, names))
        assert type(model.predict(here(X))) is np.ndarray
        assert model.score(here(X), names) == np.mean(model.predict(here(X)) == names)

    def test_classes_of_another_type(self, here):
        model = fitted(MLPClassifier, "three")
        floats = here(CLASSES["three"], "float32")
        assert model.score(here(X), floats) == model.score(here(X), CLASSES["three"])

    def test_other_lengths(self, here):
        for model, y in ((fitted(MLPClassifier, "three"), CLASSES["three"]), (fitted(MLPRegressor, "number"), X[:, 0])):
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                model.score(here(X), here(y[:9]))

    def test_numbers_that_are_not_finite(self, here):
        model = fitted(MLPRegressor, "number")
        broken = NUMBERS["number"].copy()
        broken[3] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            model.score(here(X), here(broken))

    def test_one_sample(self, here):
        model = fitted(MLPRegressor, "number")
        with pytest.warns(UndefinedMetricWarning):
            assert np.isnan(model.score(here(X[:1]), here(NUMBERS["number"][:1])))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8"])
def test_classes_of_each_type_of_integer(backend_case, here, dtype):
    y = CLASSES["of other numbers"].astype(dtype)
    model = MLPClassifier(**OPTIONS).fit(X, y)
    there = copy.deepcopy(model)  # which takes arrays of any library
    assert to_numpy(there.predict(here(X))).dtype == dtype
    assert there.score(here(X), here(y)) == model.score(X, y)
