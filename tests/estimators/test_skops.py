"""Fitted estimators in skops files, which contain no code: a loaded model predicts and trains like the saved one."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import (
    BatchedHalvingSearchCV,
    BatchedSearchCV,
    Cosine,
    CosineCycles,
    FlatCosine,
    InverseScaling,
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    PiecewiseConstant,
    WarmUp,
)

try:
    skops_io = pytest.importorskip("skops.io", reason="skops is not installed")
except RuntimeError as error:  # scikit-learn 1.6 wants SCIPY_ARRAY_API to be set
    pytest.skip(str(error), allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "deployment.md"
X, Y = load_iris(return_X_y=True)
SPECIES = np.asarray(["setosa", "versicolor", "virginica"])[Y]
GIVEN = {"max_iter": 4, "random_state": 0, "device": "cpu"}
CLASSIFIERS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "momentum": {"solver": "momentum", "learning_rate": "adaptive"},
    "adamw": {"solver": "adamw"},
    "rmsprop": {"solver": "rmsprop"},
    "lbfgs": {"solver": "lbfgs"},
    "float16": {"matmul_precision": "float16", "dtype": "float32"},
    "cosine": {"learning_rate": "cosine", "warm_up": 2},
    "steps": {"learning_rate": PiecewiseConstant({0: 0.01, 2: 0.001})},
    "schedules": {"learning_rate": WarmUp(1, InverseScaling(0.01))},
    "schedule": {"learning_rate": Cosine(0.01, 4)},
    "flat cosine": {"learning_rate": FlatCosine(0.01, 4)},
    "coslog4": {"learning_rate": CosineCycles(0.01, 4)},
    "early stopping": {"early_stopping": True},
    "restarts": {"n_restarts": 3},
    "random state": {"random_state": np.random.RandomState(0)},
    "clipped": {"max_grad_norm": 1.0, "activation": ("gelu",)},
}


def documented():
    """Return the types that docs/deployment.md lists."""
    return set(re.findall(r"`(gpubp\.[a-z_.]+\.[A-Z]\w+)`", DOCUMENTATION.read_text(encoding="utf-8")))


def loaded(model):
    """Save and load a model, trusting only documented types."""
    data = skops_io.dumps(model)
    untrusted = skops_io.get_untrusted_types(data=data)
    assert {name for name in untrusted if not name.startswith("sklearn.")} <= documented()
    return skops_io.loads(data, trusted=untrusted)


@pytest.mark.parametrize("options", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers(options):
    model = MLPClassifier((5,), **(GIVEN | options)).fit(X, SPECIES)
    again = loaded(model)
    assert type(again) is MLPClassifier
    assert again.get_params().keys() == model.get_params().keys()
    assert again.predict(X).tolist() == model.predict(X).tolist()
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.report() == model.report()
    if "solver" not in options or options["solver"] != "lbfgs":
        for one in (model, again):
            one.set_params(early_stopping=False, random_state=1).partial_fit(X, SPECIES)
        np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize(
    "y",
    [Y, SPECIES.astype(object), Y == 1, np.eye(3, dtype=int)[Y], np.stack([SPECIES, SPECIES[::-1]], 1)],
    ids=["numbers", "objects", "bools", "marks", "columns"],
)
def test_targets(y):
    model = MLPClassifier((5,), **GIVEN).fit(X, y)
    again = loaded(model)
    assert again.predict(X).tolist() == model.predict(X).tolist()
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("loss", ["squared_error", "huber(0.5)"])
def test_regressors(loss):
    model = MLPRegressor(loss, (5,), **GIVEN).fit(X, X[:, :2])
    np.testing.assert_array_equal(loaded(model).predict(X), model.predict(X))


def test_not_fitted():
    assert loaded(MLPClassifier((5,), alpha=0.5)).get_params() == MLPClassifier((5,), alpha=0.5).get_params()


@pytest.mark.parametrize("bootstrap", [False, True])
def test_ensembles(bootstrap):
    model = MLPEnsembleClassifier(MLPClassifier((5,), **GIVEN), 3, bootstrap=bootstrap, random_state=0).fit(X, SPECIES)
    np.testing.assert_array_equal(loaded(model).predict_proba(X), model.predict_proba(X))
    numbers = MLPEnsembleRegressor(MLPRegressor(hidden_layer_sizes=(5,), **GIVEN), 3, random_state=0).fit(X, X[:, 0])
    np.testing.assert_array_equal(loaded(numbers).predict_std(X), numbers.predict_std(X))


@pytest.mark.parametrize("scoring", [None, "accuracy", ["accuracy", "neg_log_loss"]])
def test_searches(scoring):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((5,), **GIVEN))
    options = {"scoring": scoring, "refit": "accuracy" if isinstance(scoring, list) else True, "cv": 2}
    search = BatchedSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1.0]}, **options).fit(X, SPECIES)
    again = loaded(search)
    assert again.best_params_ == search.best_params_
    assert again.predict(X).tolist() == search.predict(X).tolist()
    assert again.score(X, SPECIES) == search.score(X, SPECIES)
    assert again.cv_results_.keys() == search.cv_results_.keys()


def test_halving_searches():
    search = BatchedHalvingSearchCV(MLPClassifier((5,), **GIVEN), {"alpha": [0.1, 1.0, 10.0]}, cv=2, random_state=0)
    search.fit(X, Y)
    assert loaded(search).predict(X).tolist() == search.predict(X).tolist()


def test_documented_types_exist():
    assert len(documented()) == 19
    for name in documented():
        package, _, what = name.rpartition(".")
        assert getattr(__import__(package, fromlist=[what]), what).__module__ == package


def test_a_model_is_not_loaded_without_trust():
    data = skops_io.dumps(MLPClassifier((5,), **GIVEN).fit(X, Y))
    with pytest.raises(TypeError, match=r"gpubp\.estimators\.classifier\.MLPClassifier"):
        skops_io.loads(data)
