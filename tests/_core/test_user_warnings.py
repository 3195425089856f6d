import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import FunctionType

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score

import gpubp
from gpubp.tabular.inspection import calibration_curve, permutation_importance


def in_a_thread(call):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


X = np.random.default_rng(0).normal(size=(20, 2))
y = X[:, 0] > 0
MODEL = gpubp.MLPClassifier((3,), max_iter=2, batch_size=50, random_state=0, device="cpu")
NETWORK = gpubp.Network((2, 3, 1))
TABLE = {"x": [*map(str, range(60))], "y": [k / 7 for k in range(60)]}
ODD = TABLE | {"x": ["odd", *TABLE["x"][1:]]}


@cache
def table_model():
    """Return a model of a table of numbers."""
    return (
        gpubp.TabularRegressor(preset="fast", validation_fraction=0.5, epochs=2, device="cpu", random_state=0)
        .fit(TABLE, "y")
        .model_
    )


CALLS = {
    "fit": lambda: MODEL.fit(X, y),
    "partial_fit": lambda: gpubp.MLPClassifier((3,), batch_size=50, device="cpu").partial_fit(
        X, y, classes=[False, True]
    ),
    "restarts": lambda: gpubp.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, n_restarts=2, device="cpu").fit(
        X, 1.0 * y
    ),
    "lbfgs": lambda: gpubp.MLPClassifier((3,), solver="lbfgs", max_iter=2, random_state=0, device="cpu").fit(X, y),
    "ensemble": lambda: gpubp.MLPEnsembleClassifier(MODEL, n_estimators=2, random_state=0).fit(X, y),
    "search": lambda: gpubp.BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, cv=2, progress=False).fit(X, y),
    "cross_val_score": lambda: cross_val_score(MODEL, X, y, cv=2),
    "GridSearchCV": lambda: GridSearchCV(MODEL, {"alpha": [0.1, 1.0]}, cv=2).fit(X, y),
    "bagging": lambda: BaggingClassifier(MODEL, 2, random_state=0).fit(X, y),
    "search, each alone": lambda: gpubp.BatchedSearchCV(
        clone(MODEL).set_params(solver="lbfgs"), {"alpha": [0.1, 1.0]}, cv=2, progress=False
    ).fit(X, y),
    "thread": lambda: in_a_thread(lambda: MODEL.fit(X, y)),
    "inspection": lambda: permutation_importance(table_model(), ODD, n_repeats=1),
    "calibration": lambda: calibration_curve(table_model(), ODD),
    "train": lambda: gpubp.train(
        NETWORK, X, 1.0 * y[:, None], optimizer=gpubp.momentum(1e6), epochs=90, seed=0, device="cpu"
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_warnings_point_at_the_call(name):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        CALLS[name]()
    assert record
    assert {warning.filename for warning in record} == {__file__}


def fit():
    """A user's function, which cloudpickle sends to a worker without the name of its file."""
    MODEL.fit(X, y)


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("folder/study.py", "study.py, MLPClassifier.fit in a worker"),
        ("site-packages/ipykernel_launcher.py", "MLPClassifier.fit in a worker"),
        ("", "MLPClassifier.fit in a worker"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda: (MODEL.fit, X, y),
        lambda: (cross_val_score, MODEL, X, y),
        lambda: (FunctionType(fit.__code__.replace(co_filename="<dynamic-code>"), globals()),),
    ],
    ids=["fit", "cv", "function"],
)
def test_warnings_in_a_worker_name_the_script_and_the_call(monkeypatch, script, place, call):
    """Its stack has none of the user's code, as in the processes of joblib; one line of a library says nothing."""
    monkeypatch.setattr(sys, "argv", [script])
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(*call()).result()
    assert record
    assert {(warning.filename, warning.lineno) for warning in record} == {(place, 0)}


def test_without_an_estimator_gpubp_is_named():
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(1) as pool:
            options = {"optimizer": gpubp.momentum(1e6), "epochs": 90, "seed": 0, "device": "cpu"}
            pool.submit(gpubp.train, NETWORK, X, 1.0 * y[:, None], **options).result()
    assert [warning.filename.rpartition(", ")[2] for warning in record] == ["gpubp in a worker"]


def test_filters_of_scikit_learns_warnings_hold_in_workers():
    """Where no line of the user is on the stack."""
    with warnings.catch_warnings(record=True) as record, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module="sklearn")
        pool.submit(MODEL.fit, X, y).result()
        assert not record
