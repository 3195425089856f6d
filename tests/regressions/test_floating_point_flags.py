"""np.seterr(all="raise") changes nothing: harmless underflow and overflow raise at no entry point.

See scikit-optimize/scikit-optimize#903 and HIPS/autograd#110.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import gpubp

rng = np.random.default_rng(7)
X = rng.normal(size=(60, 3))
TINY = np.where(rng.uniform(size=X.shape) < 0.3, 1e-300, X)  # underflows in float32
y = (X[:, 0] - X[:, 1] > 0).astype(int)
r = X @ np.array([1.0, -2.0, 0.5])
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 3, "device": "cpu"}
NETWORK = gpubp.Network((3, 4, 2), output_activation="softmax", loss="cross_entropy")
ONE_HOT = np.eye(2)[y]


def classifier(**options):
    return gpubp.MLPClassifier(**SMALL | options).fit(50 * X, y, validation_data=(TINY, y))


def regressor(**options):
    return gpubp.MLPRegressor(**SMALL | options).fit(TINY, 1e-18 * r, sample_weight=np.abs(r) * 1e-30)


def trained(**options):
    options = {"epochs": 20, "seed": 1, "device": "cpu"} | options
    return gpubp.train(NETWORK, 50 * TINY, ONE_HOT, validation_data=(1e3 * X, ONE_HOT), **options)


def table():
    return {"a": 50 * X[:, 0], "b": TINY[:, 1], "c": np.where(y, "p", "q")}


ENTRY_POINTS = {
    "predict_proba": lambda: classifier().predict_proba(1e3 * X),
    "predict_log_proba": lambda: classifier().predict_log_proba(1e3 * X),
    "score": lambda: classifier(dtype="float32").score(TINY, y),
    "lbfgs": lambda: classifier(solver="lbfgs").predict_proba(TINY),
    "logistic": lambda: classifier(activation="logistic", early_stopping=True).predict_proba(1e3 * X),
    "partial_fit": lambda: gpubp.MLPClassifier(**SMALL).partial_fit(50 * X, y, classes=[0, 1]).predict_proba(1e3 * X),
    "regressor": lambda: regressor().predict(1e-300 * X),
    "regressor, float32": lambda: regressor(dtype="float32").predict(1e-300 * X),
    "log_cosh": lambda: regressor(loss="log_cosh").score(X, r),
    "restarts": lambda: classifier(n_restarts=2).predict_proba(1e3 * X),
    "ensemble": lambda: (
        gpubp.MLPEnsembleClassifier(gpubp.MLPClassifier(**SMALL), 2, random_state=0)
        .fit(50 * TINY, y)
        .predict_proba(1e3 * X)
    ),
    "search": lambda: (
        gpubp.BatchedSearchCV(gpubp.MLPClassifier(**SMALL), {"alpha": [1e-4, 1e-300]}, cv=2, progress=False)
        .fit(50 * TINY, y)
        .cv_results_["mean_test_score"]
    ),
    "train": lambda: trained().theta,
    "train, a stack": lambda: trained(theta=gpubp.initial_weights(NETWORK, range(2))).theta,
    "predict": lambda: gpubp.predict(NETWORK, trained().theta, 1e3 * X, device="cpu"),
    "check_gradient": lambda: gpubp.check_gradient(np, NETWORK, 1e-3 * trained().theta, TINY, ONE_HOT).gradient,
    "table": lambda: gpubp.predict_table(
        gpubp.fit_table(gpubp.prepare_table(table(), target="c"), epochs=5, device="cpu").model, table()
    )["c=p"],
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_flags_that_raise_change_nothing(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with np.errstate(all="ignore"):
            expected = ENTRY_POINTS[name]()
        with np.errstate(all="raise"):
            result = ENTRY_POINTS[name]()
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_threads_of_an_executor():
    """NumPy's flags belong to a thread: those of the workers are set where they train."""
    scores = []
    for flag in ("ignore", "raise"):
        with ThreadPoolExecutor(1) as executor:
            executor.submit(np.seterr, all=flag).result()
            search = gpubp.BatchedSearchCV(
                gpubp.MLPClassifier(**SMALL), {"alpha": [1e-4, 1e-300]}, cv=2, executor=executor, progress=False
            )
            scores.append(search.fit(500 * TINY, y).cv_results_["mean_test_score"])
    assert np.all(np.isfinite(scores))
    np.testing.assert_array_equal(*scores)
