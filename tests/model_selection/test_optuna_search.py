"""Searches whose candidates Optuna suggests: requested, trained and reported a batch at a time."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import BatchedOptunaSearchCV, BatchedSearchCV, MLPClassifier
from gpubp.errors import DataError, GpubpError

optuna = pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning"),
]

X, Y = load_iris(return_X_y=True)
MODEL = MLPClassifier((5,), batch_size=25, max_iter=5, random_state=0, device="cpu")
SPACE = {
    "learning_rate_init": FloatDistribution(1e-4, 0.1, log=True),
    "alpha": FloatDistribution(1e-6, 1.0, log=True),
    "activation": CategoricalDistribution(["relu", "tanh"]),
}
OPTIONS = {"cv": KFold(3, shuffle=True, random_state=0), "scoring": "neg_log_loss", "random_state": 0}


def search(space=SPACE, model=MODEL, **options):
    return BatchedOptunaSearchCV(model, space, **(OPTIONS | {"n_trials": 7, "batch_size": 3} | options))


def test_each_trial_gets_the_score_of_its_parameters():
    result = search().fit(X, Y)
    trials = result.study_.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 7
    grid = [{name: [value] for name, value in trial.params.items()} for trial in trials]
    again = BatchedSearchCV(MODEL, grid, cv=OPTIONS["cv"], scoring="neg_log_loss").fit(X, Y)
    assert [trial.value for trial in trials] == again.cv_results_["mean_test_score"].tolist()
    assert result.cv_results_["params"] == [trial.params for trial in trials]
    assert result.cv_results_["trial"].tolist() == list(range(7))
    assert result.best_params_ == result.study_.best_params == again.best_params_
    np.testing.assert_array_equal(result.best_estimator_.coefs_[0], again.best_estimator_.coefs_[0])


def test_a_batch_is_requested_before_it_is_reported_and_is_one_stack(monkeypatch, caplog):
    study, order = optuna.create_study(direction="maximize"), []
    ask, tell = study.ask, study.tell
    monkeypatch.setattr(study, "ask", lambda *given: order.append("ask") or ask(*given))
    monkeypatch.setattr(study, "tell", lambda *given, **how: order.append("tell") or tell(*given, **how))
    with caplog.at_level(logging.INFO, "gpubp"):
        search({"alpha": SPACE["alpha"]}, study=study).fit(X, Y)
    assert order == [*["ask"] * 3, *["tell"] * 3] * 2 + ["ask", "tell"]
    stacks = [record.message for record in caplog.records if "one stack" in record.message]
    assert [line.split(" of sizes")[0] for line in stacks] == ["9 networks", "9 networks", "3 networks"]


def test_the_seed_decides_and_a_study_can_be_resumed():
    one, other = search().fit(X, Y), search().fit(X, Y)
    assert one.cv_results_["params"] == other.cv_results_["params"]
    assert one.cv_results_["params"] != search(random_state=1).fit(X, Y).cv_results_["params"]
    more = search(study=one.study_, n_trials=2).fit(X, Y)
    assert more.study_ is one.study_
    assert more.cv_results_["trial"].tolist() == [7, 8]
    assert len(one.study_.trials) == 9


def test_a_function_that_suggests_and_prunes():
    def suggest(trial):
        depth = trial.suggest_int("depth", 1, 2)
        width = trial.suggest_int("width", 2, 4)
        if trial.number in (0, 4, 5):
            raise optuna.TrialPruned
        return {"hidden_layer_sizes": (width,) * depth, **({"alpha": 0.5} if depth == 2 else {})}

    result = search(suggest, n_trials=8, batch_size=2).fit(X, Y)
    states = [trial.state for trial in result.study_.trials]
    assert [k for k, state in enumerate(states) if state == TrialState.PRUNED] == [0, 4, 5]  # one batch is none at all
    assert result.cv_results_["trial"].tolist() == [1, 2, 3, 6, 7]
    for number, params in zip(result.cv_results_["trial"], result.cv_results_["params"], strict=True):
        requested = result.study_.trials[number].params
        assert params["hidden_layer_sizes"] == (requested["width"],) * requested["depth"]
        assert ("alpha" in params) == (requested["depth"] == 2)

    def nothing(trial):
        raise optuna.TrialPruned

    with pytest.raises(DataError, match="all 7 trials were pruned"):
        search(nothing).fit(X, Y)


def test_failed_fits_are_failed_trials():
    model = clone(MODEL).set_params(solver="sgd")
    space = {"learning_rate_init": CategoricalDistribution([0.01, 1e300])}
    study = optuna.create_study(direction="maximize")
    for rate in (0.01, 1e300):
        study.enqueue_trial({"learning_rate_init": rate})
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        result = search(space, model, study=study, n_trials=2, batch_size=2).fit(X, Y)
    states = {trial.params["learning_rate_init"]: trial.state for trial in study.trials}
    assert states == {0.01: TrialState.COMPLETE, 1e300: TrialState.FAIL}
    assert result.best_params_ == study.best_params == {"learning_rate_init": 0.01}


@pytest.mark.parametrize(
    ("suggest", "error", "message"),
    [
        (lambda trial: 1 / 0, ZeroDivisionError, "division"),
        (lambda trial: [("alpha", 1.0)], DataError, r"must return a dict of parameters, got \[\('alpha', 1.0\)\]"),
        (lambda trial: {"no_such": 1}, ValueError, "Invalid parameter 'no_such'"),
        (lambda trial: {"alpha": -1.0}, ValueError, "All the 9 fits failed"),
    ],
)
def test_no_trial_is_left_open_after_an_error(suggest, error, message):
    study = optuna.create_study(direction="maximize")
    with pytest.raises(error, match=message):
        search(suggest, study=study).fit(X, Y)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"study": {}}, "must have the direction 'maximize', .* got minimize"),
        ({"study": {"directions": ["maximize", "maximize"]}}, "got maximize, maximize"),
        ({"scoring": ["accuracy"], "refit": False}, "refit must name the one that is reported to Optuna, got False"),
    ],
)
def test_invalid_arguments(options, message):
    if "study" in options:
        options = {"study": optuna.create_study(**options["study"])}
    with pytest.raises(DataError, match=message):
        search(**options).fit(X, Y)


def test_several_scores():
    result = search(scoring=["neg_log_loss", "accuracy"], refit="accuracy").fit(X, Y)
    assert [trial.value for trial in result.study_.trials] == result.cv_results_["mean_test_accuracy"].tolist()
    own = search(scoring=lambda model, x, y: {"a": 1.0, "b": model.score(x, y)}, refit="b").fit(X, Y)
    assert [trial.value for trial in own.study_.trials] == own.cv_results_["mean_test_b"].tolist()


def test_progress_pipelines_and_an_executor():
    reported, pipeline = [], make_pipeline(StandardScaler(), MODEL)
    space = {
        "mlpclassifier__alpha": SPACE["alpha"],
        "standardscaler__with_mean": CategoricalDistribution([True, False]),
    }
    here = search(space, pipeline).fit(X, Y)
    with ThreadPoolExecutor(2) as executor:
        away = search(space, pipeline, callbacks=reported.append, executor=executor).fit(X, Y)
    assert [trial.value for trial in away.study_.trials] == [trial.value for trial in here.study_.trials]
    assert [now.fits_done for now in reported] == list(range(3, 22, 3))
    assert {now.fits for now in reported} == {21}


def test_the_warning_counts_the_fits_of_a_study_that_stopped():
    def suggest(trial):
        if trial.number == 1:
            trial.study.stop()
        return {"alpha": trial.suggest_float("alpha", 0.1, 1.0)}

    with pytest.warns(ConvergenceWarning, match="^4 of the 4 fits of the search did not converge"):
        search(suggest, cv=2, n_trials=10).fit(X, Y)


def test_it_is_an_estimator(monkeypatch):
    study = optuna.create_study(direction="maximize")
    copied = clone(search(study=study))
    assert copied.study is not study  # the folds of an outer search are independent
    assert copied.fit(X, Y).predict(X).shape == Y.shape
    assert study.trials == []
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(GpubpError, match=r"BatchedOptunaSearchCV needs Optuna: pip install .*optuna"):
        search().fit(X, Y)
