"""Searches over pipelines whose steps change the columns score each candidate as scikit-learn's searches do.

See dask/dask-ml#629 and ray-project/tune-sklearn#222.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler

import gpubp

rng = np.random.default_rng(7)
X = rng.normal(size=(90, 4))
y = (X[:, 0] - X[:, 1] > 0).astype(int)
GAPS = np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X)
GAPS[:30, 2] = X[:30, 2]  # complete in the first fold
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.asarray(["p", "q", "r"])[np.arange(90) % 3])


def first_columns(n):
    return FunctionTransformer(lambda x: x[:, :n])  # cannot be pickled


SCALED = ColumnTransformer([("scaled", StandardScaler(), ["a", "b"])], remainder="passthrough")
KINDS = ColumnTransformer([("kind", OneHotEncoder(sparse_output=False), ["kind"])], remainder="passthrough")
UNION = FeatureUnion([("pca", PCA(2, random_state=0)), ("best", SelectKBest(k=1))])

PIPELINES = {
    "PCA": (X, PCA(random_state=0), {"t__n_components": [1, 2, 4]}),
    "SelectKBest": (X, SelectKBest(), {"t__k": [1, 2, 4]}),
    "polynomials": (X, PolynomialFeatures(), {"t__degree": [1, 2], "t__interaction_only": [True, False]}),
    "passthrough": (X, PCA(2, random_state=0), {"t": ["passthrough", PCA(2, random_state=0), None]}),
    "classes": (X, PCA(2), {"t": [SelectKBest(k=3), StandardScaler(), PolynomialFeatures()]}),
    "add_indicator": (GAPS, SimpleImputer(), {"t__add_indicator": [False, True], "t__strategy": ["mean", "median"]}),
    "drop": (FRAME, KINDS, {"t__kind__drop": [None, "first"], "t__remainder": ["drop", "passthrough"]}),
    "columns": (FRAME[["a", "b", "c"]], SCALED, {"t__scaled": ["drop", "passthrough", StandardScaler()]}),
    "set_output": (FRAME, KINDS.set_output(transform="pandas"), {"t__kind__drop": ["first", None]}),
    "union": (X, UNION, {"t__pca": ["drop", PCA(1, random_state=0)], "t__best__k": [1, 2]}),
    "lambdas": (X, first_columns(1), {"t": [first_columns(n) for n in (1, 2, 3, 4)]}),
    "nested": (
        X,
        Pipeline([("s", StandardScaler()), ("p", PCA(1))]),
        {"t__p__n_components": [1, 3], "t__s": [None, StandardScaler()]},
    ),
}
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 3, "device": "cpu"}


@pytest.fixture(autouse=True)
def unconverged():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def pipeline_of(name, **options):
    data, step, grid = PIPELINES[name]
    return data, Pipeline([("t", step), ("net", gpubp.MLPClassifier(**SMALL | options))]), grid


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("name", PIPELINES)
def test_scores_are_those_of_grid_search(name, options):
    data, pipeline, grid = pipeline_of(name, **options)
    gpubp_search = gpubp.BatchedSearchCV(pipeline, grid, cv=3, progress=False).fit(data, y)
    sklearn_search = GridSearchCV(pipeline, grid, cv=3).fit(data, y)
    np.testing.assert_allclose(
        gpubp_search.cv_results_["mean_test_score"], sklearn_search.cv_results_["mean_test_score"]
    )
    assert repr(gpubp_search.best_params_) == repr(sklearn_search.best_params_)
    np.testing.assert_allclose(
        gpubp_search.predict_proba(data), sklearn_search.predict_proba(data), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ["PCA", "passthrough", "lambdas"])
def test_halving(name):
    data, pipeline, grid = pipeline_of(name, tol=0.0, n_iter_no_change=100)
    search = gpubp.BatchedHalvingSearchCV(pipeline, grid, cv=3, progress=False).fit(data, y)
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))
    assert search.predict(data).shape == y.shape


@pytest.mark.parametrize("name", ["PCA", "SelectKBest"])
def test_optuna(name):
    data, pipeline, grid = pipeline_of(name)
    space = {key: optuna.distributions.CategoricalDistribution(values) for key, values in grid.items()}
    search = gpubp.BatchedOptunaSearchCV(pipeline, space, n_trials=6, batch_size=3, random_state=0, cv=3).fit(data, y)
    sklearn_search = GridSearchCV(pipeline, grid, cv=3).fit(data, y)
    expected = {
        str(p): s
        for p, s in zip(
            sklearn_search.cv_results_["params"], sklearn_search.cv_results_["mean_test_score"], strict=True
        )
    }
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        np.testing.assert_allclose(score, expected[str(params)])


@pytest.mark.parametrize("name", ["PCA", "add_indicator"])
def test_executors(name):
    data, pipeline, grid = pipeline_of(name)
    sklearn_search = GridSearchCV(pipeline, grid, cv=3).fit(data, y)
    with ThreadPoolExecutor(2) as executor:
        gpubp_search = gpubp.BatchedSearchCV(pipeline, grid, cv=3, progress=False, executor=executor).fit(data, y)
    np.testing.assert_allclose(
        gpubp_search.cv_results_["mean_test_score"], sklearn_search.cv_results_["mean_test_score"]
    )


def test_feature_names_of_an_earlier_fit_with_restarts():
    model = gpubp.MLPClassifier(n_restarts=2, **SMALL).fit(FRAME[["a", "b"]], y)
    model.fit(X[:, :3], y)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 3
    model.predict(X[:, :3])
