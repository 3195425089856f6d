"""Searches in stacks give the results of scikit-learn's searches over the same estimators."""

import io
import logging
import re
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    PredefinedSplit,
    RandomizedSearchCV,
    ShuffleSplit,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from gpubp import BatchedHalvingSearchCV, BatchedSearchCV, MLPClassifier, MLPRegressor
from gpubp._core.user_warnings import warn
from gpubp.errors import DataError
from gpubp.estimators import _stackable
from gpubp.model_selection import _trials as trials
from gpubp.model_selection import progress
from gpubp.training import stacks as stack

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger than:UserWarning"),
]

X, Y = load_iris(return_X_y=True)
CHOSEN = np.random.default_rng(0).permutation(150)[:91]  # folds of 18 and 19
X, Y = X[CHOSEN], Y[CHOSEN]
TARGET = X[:, 0] - X[:, 1]
NAMES = np.asarray(["setosa", "versicolor", "virginica"])[Y]
SPARSE = scipy.sparse.csr_matrix(np.where(np.quantile(X, 0.95) < X, X, 0.0))  # a twentieth is stored
WEIGHTS = np.random.default_rng(1).uniform(0.2, 2.0, len(Y))
MODEL = MLPClassifier((5,), batch_size=25, max_iter=5, random_state=0, device="cpu")
REGRESSOR = MLPRegressor(hidden_layer_sizes=(5,), batch_size=25, max_iter=5, random_state=0, device="cpu")
GRID = {"learning_rate_init": [1e-3, 0.03], "alpha": [1e-4, 1.0]}


def assert_same_search(gpubp_search, sklearn_search):
    assert gpubp_search.cv_results_.keys() == sklearn_search.cv_results_.keys()
    for key, column in sklearn_search.cv_results_.items():
        if key == "params":
            assert gpubp_search.cv_results_[key] == column
        elif key.startswith("param_"):
            assert gpubp_search.cv_results_[key].tolist() == column.tolist()
        elif "_time" not in key:
            np.testing.assert_allclose(gpubp_search.cv_results_[key], column, rtol=1e-9, err_msg=key)
        else:
            assert np.all(gpubp_search.cv_results_[key] >= 0.0)
    assert gpubp_search.n_splits_ == sklearn_search.n_splits_
    assert gpubp_search.multimetric_ == sklearn_search.multimetric_
    for name in ("best_params_", "best_index_"):
        assert getattr(gpubp_search, name, None) == getattr(sklearn_search, name, None), name
    assert getattr(gpubp_search, "best_score_", None) == pytest.approx(getattr(sklearn_search, "best_score_", None))
    if hasattr(sklearn_search, "best_estimator_"):
        np.testing.assert_array_equal(gpubp_search.predict(X), sklearn_search.predict(X))
        assert gpubp_search.best_estimator_.get_params().keys() == sklearn_search.best_estimator_.get_params().keys()
    else:
        assert not hasattr(gpubp_search, "best_estimator_")


def both(estimator=MODEL, grid=GRID, x=X, y=Y, fit=None, **options):
    """Search in stacks and as scikit-learn does."""
    gpubp_search = BatchedSearchCV(estimator, grid, **options).fit(x, y, **(fit or {}))
    sklearn_search = GridSearchCV(estimator, grid, **options).fit(x, y, **(fit or {}))
    return gpubp_search, sklearn_search


OPTIONS = {
    "default": {},
    "train scores": {"return_train_score": True},
    "no refit": {"refit": False},
    "folds": {"cv": KFold(3, shuffle=True, random_state=0)},
    "number of folds": {"cv": 4},
    "shuffled splits": {"cv": ShuffleSplit(3, test_size=0.2, random_state=0)},
    "given splits": {"cv": [(np.arange(60), np.arange(60, 91)), (np.arange(31, 91), np.arange(31))]},
    "masks": {"cv": [(np.arange(91) < 60, np.arange(91) >= 60)]},
    "predefined": {"cv": PredefinedSplit(np.arange(91) % 3)},
    "scorer by name": {"scoring": "neg_log_loss"},
    "list of scorers": {"scoring": ["accuracy", "f1_macro"], "refit": "f1_macro"},
    "dict of scorers": {"scoring": {"a": "accuracy", "b": make_scorer(accuracy_score)}, "refit": "b"},
    "own scorer": {"scoring": lambda model, x, y: model.score(x, y) - model.alpha},
    "own scorer of several": {
        "scoring": lambda model, x, y: {"good": model.score(x, y), "bad": -model.score(x, y)},
        "refit": "good",
    },
    "own choice": {"refit": lambda results: int(np.argmax(results["std_test_score"]))},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_results_equal_scikit_learns(options):
    assert_same_search(*both(**options))


GRIDS = {
    "widths": {"hidden_layer_sizes": [(3,), (4, 2)], "activation": ["tanh", "relu"]},
    "solvers": {"solver": ["sgd", "adam", "lbfgs"], "momentum": [0.0, 0.9]},
    "list": [{"alpha": [0.1, 1.0]}, {"batch_size": [10, 200], "random_state": [0, 1]}],
    "early stopping": {"early_stopping": [True, False], "validation_fraction": [0.2, 0.3], "n_iter_no_change": [1, 5]},
    "schedules": {
        "solver": ["sgd"],
        "learning_rate": ["adaptive", "invscaling", "cosine", "coslog4"],
        "tol": [1e-4, 0.5],
    },
    "classes": {
        "class_weight": [None, "balanced"],
        "label_smoothing": [0.0, 0.1],
        "loss": ["log_loss", "squared_error"],
    },
    "epochs": {"max_iter": [1, 3, 8], "dropout": [0.0, 0.2]},
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_searches_over_any_parameter(grid):
    assert_same_search(*both(grid=grid, cv=3))


def test_regressor_with_several_targets():
    assert_same_search(*both(REGRESSOR, x=X[:, 2:], y=np.stack([TARGET, X[:, 0]], axis=1), cv=3, refit=False))


def test_names_of_classes_and_frames():
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    gpubp_search = BatchedSearchCV(MODEL, GRID, cv=3).fit(frame, NAMES)
    sklearn_search = GridSearchCV(MODEL, GRID, cv=3).fit(frame, NAMES)
    np.testing.assert_array_equal(gpubp_search.predict(frame), sklearn_search.predict(frame))
    np.testing.assert_array_equal(
        gpubp_search.cv_results_["mean_test_score"], sklearn_search.cv_results_["mean_test_score"]
    )
    assert gpubp_search.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert gpubp_search.classes_.tolist() == sklearn_search.classes_.tolist()


def test_weights_and_groups_are_split_along():
    fit = {"sample_weight": WEIGHTS, "groups": np.arange(len(Y)) % 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert_same_search(*both(fit=fit, cv=GroupKFold(3)))


def test_a_fold_that_lacks_a_class():
    order = np.argsort(Y, kind="stable")
    assert_same_search(*both(x=X[order], y=Y[order], cv=KFold(3), refit=False))


# --- pipelines ---


class CountedScaler(StandardScaler):
    fits = 0

    def fit(self, *arguments, **more):
        CountedScaler.fits += 1
        return super().fit(*arguments, **more)


def test_pipelines_fit_their_transformers_once_for_each_setting_and_fold():
    pipeline = Pipeline([("scale", CountedScaler()), ("net", MODEL)])
    grid = {"scale__with_std": [True, False], "net__alpha": [0.1, 1.0, 3.0]}
    CountedScaler.fits = 0
    gpubp_search = BatchedSearchCV(pipeline, grid, cv=3, refit=False).fit(X, Y)
    assert CountedScaler.fits == 2 * 3
    assert_same_search(gpubp_search, GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, Y))


@pytest.mark.parametrize(
    ("pipeline", "grid", "fit"),
    [
        (make_pipeline(MODEL), {"mlpclassifier__alpha": [0.1, 1.0]}, {}),
        (Pipeline([("scale", StandardScaler()), ("net", MODEL)]), {"scale": [StandardScaler(), "passthrough"]}, {}),
        (Pipeline([("scale", StandardScaler()), ("net", MODEL)]), {"net": [MODEL, LogisticRegression()]}, {}),
        (make_pipeline(StandardScaler(), REGRESSOR), {"mlpregressor__alpha": [0.1, 1.0]}, {}),
        (
            make_pipeline(StandardScaler(), MODEL),
            {"mlpclassifier__alpha": [0.1, 1.0]},
            {"mlpclassifier__sample_weight": WEIGHTS},
        ),
        (
            make_pipeline(FunctionTransformer(lambda x: x**2), MODEL),  # which cannot be pickled
            {"mlpclassifier__alpha": [0.1, 1.0]},
            {},
        ),
    ],
)
def test_pipelines(pipeline, grid, fit):
    y = TARGET if "mlpregressor" in getattr(pipeline, "named_steps", {}) else Y
    assert_same_search(*both(pipeline, grid, y=y, fit=fit, cv=3))


# --- fits outside stacks ---


@pytest.mark.parametrize(
    ("estimator", "reason", "x", "fit"),
    [
        (LogisticRegression(), "neither a network of gpubp nor a pipeline", X, {}),
        (clone(MODEL).set_params(solver="lbfgs"), "does a line search", X, {}),
        (clone(MODEL).set_params(callbacks=lambda progress: None), "callbacks follow one fit", X, {}),
        (clone(MODEL).set_params(max_time=100.0), "max_time is for one fit", X, {}),
        (MODEL, "X is sparse", SPARSE, {}),
        (MODEL, "fit is passed validation_data", X, {"validation_data": (X, Y)}),
    ],
)
def test_models_that_cannot_be_stacked_are_fitted_alone_and_logged(caplog, estimator, reason, x, fit):
    grid = {"C": [0.1, 1.0]} if isinstance(estimator, LogisticRegression) else {"alpha": [0.1, 1.0]}
    with caplog.at_level(logging.INFO, "gpubp"), joblib.parallel_config("threading"):
        gpubp_search = BatchedSearchCV(estimator, grid, cv=3, n_jobs=2).fit(x, Y, **fit)
    lines = [record.message for record in caplog.records if "fitted alone" in record.message]
    assert len(lines) == 1
    assert reason in lines[0]
    assert_same_search(gpubp_search, GridSearchCV(estimator, grid, cv=3).fit(x, Y, **fit))


def test_the_reason_to_fit_alone_is_printed(capsys):
    BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=2, refit=False, verbose=1).fit(SPARSE, Y)
    assert "fitted alone, not in a stack: MLPClassifier, since X is sparse" in capsys.readouterr().out


def test_sparse_samples_with_many_values_are_stacked(caplog):
    pipeline = make_pipeline(FunctionTransformer(np.round), OneHotEncoder(handle_unknown="ignore"), MODEL)
    grid = {"mlpclassifier__alpha": [0.1, 1.0]}
    with caplog.at_level(logging.INFO, "gpubp"):
        search = BatchedSearchCV(pipeline, grid, cv=3).fit(X, Y)
    assert scipy.sparse.issparse(search.best_estimator_[:-1].transform(X))
    assert "trained as one stack" in caplog.text
    assert "fitted alone" not in caplog.text
    assert_same_search(search, GridSearchCV(pipeline, grid, cv=3).fit(X, Y))


def test_sparse_samples_that_are_large_as_a_dense_array_are_fitted_alone(monkeypatch, caplog):
    x = scipy.sparse.csr_matrix(X)
    for most, alone in ((x.shape[0] * 32 - 1, True), (x.shape[0] * 32, False)):
        monkeypatch.setattr(_stackable, "MOST_DENSE_BYTES", most)
        with caplog.at_level(logging.INFO, "gpubp"):
            BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=2, refit=False).fit(x, Y)
        assert ("since X is sparse" in caplog.text) == alone
        caplog.clear()


def test_networks_of_one_form_are_one_stack(caplog):
    with caplog.at_level(logging.INFO, "gpubp"):
        BatchedSearchCV(MODEL, GRID, cv=3, refit=False).fit(X, Y)
    assert [record.message for record in caplog.records if "stack" in record.message] == [
        "12 networks of sizes (4, 5, 3) are trained as one stack"
    ]


@pytest.mark.parametrize("estimator", [MODEL, make_pipeline(StandardScaler(), MODEL)], ids=["network", "pipeline"])
def test_an_order_is_drawn_once_for_all_candidates_of_a_fold(monkeypatch, estimator):
    drawn, original = [], stack.next_order
    monkeypatch.setattr(stack, "next_order", lambda *arguments: drawn.append(1) or original(*arguments))
    before = "" if estimator is MODEL else "mlpclassifier__"
    grid = {f"{before}{name}": values for name, values in GRID.items()}
    BatchedSearchCV(estimator, grid, cv=3, refit=False).fit(X, Y)
    assert len(drawn) == 3 * MODEL.max_iter


def test_samples_are_copied_to_the_device_once(monkeypatch):
    copies, original = [], trials.StackOfFits._arrays
    monkeypatch.setattr(
        trials.StackOfFits, "_arrays", lambda self: copies.append((arrays := original(self))[0].x.shape) or arrays
    )
    BatchedSearchCV(MODEL, GRID, refit=False).fit(X, Y)
    assert copies == [X.shape]


# --- failures ---


def test_failed_fits_are_scored_as_requested():
    grid = {"solver": ["sgd"], "learning_rate_init": [0.01, 1e300]}
    search = BatchedSearchCV(MODEL, grid, cv=3)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        gpubp_search = search.fit(X, Y)
    assert np.isnan(gpubp_search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert gpubp_search.best_params_["learning_rate_init"] == 0.01
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        BatchedSearchCV(MODEL, grid, cv=3, error_score="raise").fit(X, Y)
    with pytest.warns(FitFailedWarning):
        zeros = BatchedSearchCV(MODEL, grid, cv=3, error_score=0.0, scoring=["accuracy"], refit=False).fit(X, Y)
    assert zeros.cv_results_["mean_test_accuracy"][1] == 0.0


def test_wrong_parameters_are_failed_fits_as_in_scikit_learn():
    with pytest.raises(ValueError, match="All the 3 fits failed"):
        BatchedSearchCV(MODEL, {"alpha": [-1.0]}, cv=3).fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'no_such'"):
        BatchedSearchCV(MODEL, {"no_such": [1]}, cv=3).fit(X, Y)


def test_nan_in_one_fold_fails_the_others_alone():
    x = X.copy()
    x[0, 0] = np.nan
    search = BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=KFold(3), refit=False, scoring=lambda *_: 1.0)
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
        search.fit(x, Y)
    assert search.cv_results_["split0_test_score"].tolist() == [1.0]


@pytest.mark.parametrize("arguments", [{}, {"param_grid": GRID, "param_distributions": GRID}])
def test_a_grid_or_distributions(arguments):
    with pytest.raises(DataError, match="pass one of param_grid"):
        BatchedSearchCV(MODEL, **arguments).fit(X, Y)


# --- random search and halving ---


def test_random_search():
    distributions = {"alpha": loguniform(1e-4, 1.0), "learning_rate_init": loguniform(1e-4, 0.1)}
    options = {"n_iter": 6, "random_state": 3, "cv": 3}
    with pytest.raises(DataError, match=r"param_grid has a distribution for 'alpha', .* pass param_distributions="):
        BatchedSearchCV(MODEL, distributions, **options).fit(X, Y)
    gpubp_search = BatchedSearchCV(MODEL, param_distributions=distributions, **options).fit(X, Y)
    assert_same_search(gpubp_search, RandomizedSearchCV(MODEL, distributions, **options).fit(X, Y))


HALVING = {
    "default": ({"learning_rate_init": [1e-4, 1e-3, 0.01, 0.03, 0.1], "alpha": [0.0, 1.0]}, {}),
    "early stopping": (
        {"learning_rate_init": [1e-3, 0.03, 0.1], "n_iter_no_change": [1, 4], "early_stopping": [True, False]},
        {"factor": 2},
    ),
    "widths": ({"hidden_layer_sizes": [(3,), (4,)], "activation": ["tanh", "relu"]}, {"factor": 2, "min_resources": 2}),
    "fitted again": (
        {"solver": ["lbfgs", "adam"], "learning_rate": ["cosine", "constant"]},
        {"factor": 2},
    ),
    "schedules": ({"learning_rate": ["flat_cosine", "coslog4"], "learning_rate_init": [0.01, 0.1]}, {"factor": 2}),
    "adaptive": (
        {"solver": ["sgd"], "learning_rate": ["adaptive", "invscaling"], "learning_rate_init": [0.01, 0.1, 0.3]},
        {"factor": 2},
    ),
}


@pytest.mark.parametrize(("grid", "options"), HALVING.values(), ids=HALVING)
def test_halving_results_equal_scikit_learns(grid, options):
    model = clone(MODEL).set_params(tol=1e-3, n_iter_no_change=3)
    options = {"max_resources": 20, "cv": KFold(3, shuffle=True, random_state=0)} | options
    gpubp_search = BatchedHalvingSearchCV(model, grid, **options).fit(X, Y)
    sklearn_search = HalvingGridSearchCV(
        model, grid, resource="max_iter", return_train_score=False, **({"min_resources": "exhaust"} | options)
    ).fit(X, Y)
    assert_same_search(gpubp_search, sklearn_search)
    for name in ("n_resources_", "n_candidates_", "n_iterations_", "n_remaining_candidates_"):
        assert getattr(gpubp_search, name) == getattr(sklearn_search, name)


@pytest.fixture
def epochs(monkeypatch):
    """Record the epochs of all networks."""
    epochs, original = [], trials.StackOfFits._follow

    def counted(self, k, place, progress):
        epochs.append(progress.epoch)
        return original(self, k, place, progress)

    monkeypatch.setattr(trials.StackOfFits, "_follow", counted)
    return epochs


def test_halving_continues_the_training(epochs):
    model = clone(MODEL).set_params(tol=0.0, n_iter_no_change=100)
    grid = {"learning_rate_init": [1e-4, 1e-3, 0.01, 0.1]}
    search = BatchedHalvingSearchCV(model, grid, factor=2, max_resources=8, cv=3, refit=False).fit(X, Y)
    assert search.n_resources_ == [2, 4, 8]
    assert len(epochs) == 3 * (4 * 2 + 2 * 2 + 1 * 4)  # epochs of networks: none is trained again
    assert max(epochs) == 8


def test_the_last_round_of_halving_has_the_epochs_of_the_estimator():
    search = BatchedHalvingSearchCV(clone(MODEL).set_params(max_iter=9), GRID, cv=3, refit=False).fit(X, Y)
    assert search.n_resources_[-1] == 9
    with pytest.raises(InvalidParameterError, match="max_iter"):
        BatchedHalvingSearchCV(clone(MODEL).set_params(max_iter=0), GRID, cv=3).fit(X, Y)


def test_stopped_networks_are_not_continued(epochs):
    model = clone(MODEL).set_params(tol=100.0, n_iter_no_change=1)  # which ends after three epochs
    BatchedHalvingSearchCV(model, GRID, factor=2, max_resources=16, cv=3, refit=False).fit(X, Y)
    assert epochs == [1] * 12 + [2] * 12 + [3] * 12


def test_halving_drops_candidates_that_fail():
    grid = {"solver": ["sgd"], "learning_rate_init": [0.01, 1e300, 0.1, 1e200, 1e250]}
    options = {"max_resources": 8, "cv": 3, "factor": 2}
    gpubp_search, sklearn_search = (
        BatchedHalvingSearchCV(MODEL, grid, **options),
        HalvingGridSearchCV(
            MODEL, grid, resource="max_iter", min_resources="exhaust", return_train_score=False, **options
        ),
    )
    for search in (gpubp_search, sklearn_search):
        with pytest.warns(FitFailedWarning):
            search.fit(X, Y)
    assert_same_search(gpubp_search, sklearn_search)


def test_halving_of_a_pipeline():
    pipeline, grid = make_pipeline(StandardScaler(), MODEL), {"mlpclassifier__alpha": [0.1, 1.0, 10.0]}
    options = {"max_resources": 9, "cv": 3}
    gpubp_search = BatchedHalvingSearchCV(pipeline, grid, **options).fit(X, Y)
    sklearn_search = HalvingGridSearchCV(
        pipeline, grid, resource="mlpclassifier__max_iter", min_resources="exhaust", return_train_score=False, **options
    ).fit(X, Y)
    assert_same_search(gpubp_search, sklearn_search)


@pytest.mark.parametrize(
    ("estimator", "grid", "options", "message"),
    [
        (MODEL, GRID, {"scoring": ["accuracy"], "refit": False}, "halving needs one score"),
        (LogisticRegression(), {"C": [1.0]}, {}, "halving counts epochs"),
        (MODEL, {"max_iter": [1, 2]}, {}, "is set to the epochs of a round"),
        (MODEL, GRID, {"min_resources": 9, "max_resources": 5}, "min_resources=9 is more than max_resources=5"),
    ],
)
def test_halving_reports_unsupported_options(estimator, grid, options, message):
    with pytest.raises(DataError, match=message):
        BatchedHalvingSearchCV(estimator, grid, **options).fit(X, Y)


# --- progress and pictures ---


def test_callbacks_are_called_and_can_stop():
    reported = []
    search = BatchedSearchCV(MODEL, GRID, cv=3, callbacks=reported.append).fit(X, Y)
    assert [now.epoch for now in reported[:5]] == [1, 2, 3, 4, 5]
    assert reported[0].networks == reported[0].fits == 12
    assert [now.fits_done for now in reported[5:]] == [3, 6, 9, 12]
    assert reported[-1].best_score == search.best_score_
    assert reported[-1].best_params == search.best_params_

    def stop(now):
        return now.epoch >= 2

    stopped = BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=3, callbacks=[stop], refit=False).fit(X, Y)
    short = GridSearchCV(clone(MODEL).set_params(max_iter=2), {"alpha": [0.1]}, cv=3, refit=False).fit(X, Y)
    assert stopped.cv_results_["mean_test_score"] == short.cv_results_["mean_test_score"]


@pytest.mark.parametrize(("is_terminal", "requested"), [(True, True), (False, True), (True, False)])
def test_bar_only_on_a_terminal(monkeypatch, is_terminal, requested):
    class Screen(io.StringIO):
        def isatty(self):
            return is_terminal

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    BatchedSearchCV(MODEL, GRID, cv=3, progress=requested, refit=False).fit(X, Y)
    shown = screen.getvalue()
    assert bool(shown) == (is_terminal and requested)
    if shown:
        assert "0/12 fits, 12 networks, epoch 1/5" in shown
        assert "12/12 fits, best so far 0." in shown
        assert shown.endswith("\r\x1b[2K")


def test_verbose_prints_the_number_of_fits(capsys):
    BatchedSearchCV(MODEL, GRID, cv=3, verbose=2, refit=False).fit(X, Y)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Fitting 3 folds for each of 4 candidates, totalling 12 fits"
    assert len(out) == 1 + 4


def test_picture_has_a_panel_for_each_parameter():
    pytest.importorskip("matplotlib")
    grid = {"learning_rate_init": [1e-4, 0.01], "activation": ["tanh", "relu"], "solver": ["adam"]}
    search = BatchedSearchCV(MODEL, grid, cv=3, scoring=["accuracy", "f1_macro"], refit="accuracy").fit(X, Y)
    panels = search.plot_results(metric="f1_macro").axes
    assert [axes.get_xlabel() for axes in panels] == ["activation", "learning_rate_init"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["tanh", "relu"]
    assert panels[1].get_xscale() == "log"
    best = search.cv_results_["mean_test_f1_macro"][search.best_index_]
    assert panels[0].lines[-1].get_ydata().tolist() == [best]
    with pytest.raises(DataError, match="metric must be one of accuracy, f1_macro, got 'r2'"):
        search.plot_results(metric="r2")
    with pytest.raises(DataError, match="ax must be 2 Axes"):
        search.plot_results(ax=[panels[0]])
    assert search.plot_results(ax=panels) is panels[0].figure


# --- compatibility with scikit-learn ---


def test_search_is_an_estimator():
    search = BatchedSearchCV(clone(MODEL), GRID, cv=3, progress=False)
    assert clone(search).get_params()["estimator__alpha"] == MODEL.alpha
    assert search.set_params(estimator__max_iter=7).estimator.max_iter == 7
    with pytest.raises(AttributeError):
        _ = search.n_features_in_
    fitted = search.fit(X, Y)
    assert fitted.n_features_in_ == 4
    assert 0.0 <= fitted.score(X, Y) <= 1.0
    assert fitted.predict_proba(X).shape == (91, 3)


def test_reporter_keeps_the_best():
    reporter = progress.Reporter((), bar=False)
    reporter.begin(4)
    for score in (0.5, float("nan"), 0.7, None, 0.6):
        reporter.follow_score(1, score, {"score": score})
    assert (reporter.current.best_score, reporter.current.best_params) == (0.7, {"score": 0.7})


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])  # in stacks, and alone
def test_one_warning_counts_the_fits_that_did_not_converge(solver, n_jobs):
    search = BatchedSearchCV(clone(MODEL).set_params(solver=solver), {"max_iter": [2, 3, 300]}, cv=2, n_jobs=n_jobs)
    search.set_params(refit=False, estimator__tol=1.0, estimator__n_iter_no_change=9)
    with pytest.warns(ConvergenceWarning) as record:
        search.fit(X, Y)
    (warning,) = record
    assert warning.filename == __file__
    assert str(warning.message).startswith("4 of the 6 fits of the search did not converge, so")
    assert re.search(r"The reason, of 2 of them: .*(Maximum iterations \(2\)|after 2 iteration)", str(warning.message))
    assert search.n_splits_ == 2


def test_an_executor_and_halving_have_one_warning_too():
    with ThreadPoolExecutor(2) as pool, pytest.warns(ConvergenceWarning) as record:
        BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, cv=3, refit=False, executor=pool).fit(X, Y)
    assert [str(warning.message)[:32] for warning in record] == ["6 of the 6 fits of the search di"]
    assert "The reason: Stochastic Optimizer" in str(record[0].message)
    halving = BatchedHalvingSearchCV(MODEL, {"alpha": [0.1, 1.0]}, factor=2, max_resources=4, cv=3, refit=False)
    with pytest.warns(ConvergenceWarning) as record:
        halving.fit(X, Y)
    assert halving.n_candidates_ == [2, 1]
    assert [str(warning.message)[:32] for warning in record] == ["3 of the 3 fits of the search di"]


def test_the_one_warning_mentions_the_refit():
    grid, either = (
        {"alpha": [0.1, 1.0]},
        "The refit of the best candidate did not converge either. The reason: Stochastic",
    )
    for search in (BatchedSearchCV(MODEL, grid, cv=3), BatchedHalvingSearchCV(MODEL, grid, max_resources=4, cv=3)):
        with pytest.warns(ConvergenceWarning, match=either) as record:
            search.fit(X, Y)
        assert len(record) == 1


class ConvergesOnFolds(LogisticRegression):
    def fit(self, X, y):
        if len(X) == len(Y):
            warn("slow", ConvergenceWarning)
        return super().fit(X, y)


def test_a_refit_that_alone_did_not_converge_is_the_one_warning():
    with pytest.warns(ConvergenceWarning) as record:
        BatchedSearchCV(ConvergesOnFolds(max_iter=1000), {"C": [0.1]}, cv=2).fit(X, Y)
    found = [str(w.message) for w in record if w.category is ConvergenceWarning]  # old releases of SciPy warn too
    assert found == ["The refit of the best candidate did not converge. The reason: slow"]


@pytest.mark.parametrize("kind", [BatchedSearchCV, BatchedHalvingSearchCV])
def test_a_warning_that_is_an_error_leaves_the_results(kind):
    search = kind(MODEL, {"alpha": [0.1]}, cv=3)
    with (
        warnings.catch_warnings(action="error", category=ConvergenceWarning),
        pytest.raises(ConvergenceWarning, match="3 of the 3 fits"),
    ):
        search.fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(X).shape == Y.shape
