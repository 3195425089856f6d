"""A study of Optuna that ends before ``n_trials`` ends the search, with what was found.

GridSampler and BruteForceSampler call ``study.stop()``, which raises outside of ``study.optimize``: optuna/optuna#4121,
optuna/optuna#5141.
"""

import warnings

import numpy as np
import pytest

from gpubp import BatchedOptunaSearchCV, MLPClassifier
from gpubp.errors import DataError

optuna = pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)
MODEL = MLPClassifier((3,), max_iter=2, random_state=0, device="cpu")
GRID = {"alpha": [0.0, 0.1, 1.0], "batch_size": [10, 20]}
SPACE = {name: CategoricalDistribution(values) for name, values in GRID.items()}
POINTS = {(alpha, size) for alpha in GRID["alpha"] for size in GRID["batch_size"]}


def suggest(trial):
    return {name: trial.suggest_categorical(name, values) for name, values in GRID.items()}


def search(sampler=None, space=SPACE, study=None, **options):
    if study is None:
        study = optuna.create_study(direction="maximize", sampler=sampler)
    options = {"n_trials": 50, "batch_size": 4, "cv": 2} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fixed parameter|.*is experimental")
        return BatchedOptunaSearchCV(MODEL, space, study=study, **options).fit(X, y)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("space", [SPACE, suggest], ids=["distributions", "function"])
@pytest.mark.parametrize(
    "sampler",
    [
        lambda: optuna.samplers.GridSampler(GRID, seed=0),
        lambda: optuna.samplers.BruteForceSampler(seed=0),
        lambda: optuna.samplers.BruteForceSampler(seed=0, avoid_premature_stop=True),
    ],
    ids=["grid", "brute force", "patient brute force"],
)
def test_each_point_of_a_finite_space_is_tried_once(sampler, space, batch_size):
    result = search(sampler(), space, batch_size=batch_size)
    params = result.cv_results_["params"]
    assert len(params) == len(POINTS)
    assert {(one["alpha"], one["batch_size"]) for one in params} == POINTS
    assert result.best_params_ == result.study_.best_params
    assert {trial.state for trial in result.study_.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert result.best_estimator_.predict(X).shape == y.shape


@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
def test_a_sampler_in_another(sampler):
    base = optuna.samplers.GridSampler(GRID) if sampler == "GridSampler" else optuna.samplers.BruteForceSampler()
    result = search(optuna.samplers.PartialFixedSampler({"batch_size": 10}, base))
    assert {one["batch_size"] for one in result.cv_results_["params"]} == {10}
    assert {one["alpha"] for one in result.cv_results_["params"]} == set(GRID["alpha"])


def test_a_study_continued_after_its_grid_was_tried():
    study = search(optuna.samplers.GridSampler(GRID, seed=0)).study_
    result = search(study=study, batch_size=1)
    assert len(result.cv_results_["params"]) == 1
    with pytest.raises(RuntimeError, match="supposed to be invoked"):
        study.stop()  # Optuna's own again


def test_stop_is_called_by_the_function_that_suggests():
    def stops(trial):
        if trial.number == 5:
            trial.study.stop()
        return suggest(trial)

    result = search(space=stops)
    assert result.cv_results_["trial"].tolist() == [0, 1, 2, 3, 4, 5]

    def stops_at_once(trial):
        trial.study.stop()
        raise optuna.TrialPruned

    with pytest.raises(DataError, match="the study was stopped after 1 trials, and none was trained"):
        search(space=stops_at_once)


def test_stop_is_called_by_a_callback():
    study = optuna.create_study(direction="maximize")
    result = search(study=study, callbacks=lambda progress: study.stop())
    assert len(result.cv_results_["params"]) == 4


@pytest.mark.parametrize(
    "pruner",
    [optuna.pruners.MedianPruner(0), optuna.pruners.HyperbandPruner(), optuna.pruners.ThresholdPruner(upper=0)],
)
def test_pruners(pruner):
    def prunes(trial):
        params = suggest(trial)
        trial.report(float(trial.number % 3), step=1)
        if trial.number > 0 and trial.should_prune():
            raise optuna.TrialPruned
        return params

    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.GridSampler(GRID))
    result = search(study=study, space=prunes)
    trained = {trial.number for trial in study.trials if trial.state == TrialState.COMPLETE}
    assert set(result.cv_results_["trial"].tolist()) == trained
    assert result.best_params_ == study.best_params


class Ends(optuna.storages.InMemoryStorage):
    """A storage that fails after some trials."""

    def __init__(self, after, method):
        super().__init__()
        self.calls, self.after = 0, after
        setattr(self, method, self.count(getattr(self, method)))

    def count(self, method):
        def counting(*args, **kwargs):
            self.calls += 1
            if self.calls > self.after:
                raise optuna.exceptions.StorageInternalError("the database is gone")
            return method(*args, **kwargs)

        return counting


@pytest.mark.parametrize("method", ["create_new_trial", "set_trial_state_values", "set_trial_param"])
@pytest.mark.parametrize("space", [SPACE, suggest], ids=["distributions", "function"])
def test_a_storage_that_ends(method, space):
    after = 13 if method == "set_trial_param" else 6
    study = optuna.create_study(direction="maximize", storage=Ends(after, method))
    with pytest.warns(RuntimeWarning, match=r"the study ended after \d of 50 trials.*the database is gone"):
        result = search(study=study, space=space)
    assert len(result.cv_results_["params"]) in (6, 8)
    assert result.best_params_ in result.cv_results_["params"]
    study = optuna.create_study(direction="maximize", storage=Ends(0, method))
    if method != "set_trial_state_values":
        with pytest.raises(DataError, match=r"the study ended before a trial was trained: .*the database is gone"):
            search(study=study, space=space)


@pytest.mark.parametrize("method", ["sample_relative", "after_trial"])
def test_a_fault_in_the_code_of_a_sampler_is_raised(method):
    class Faulty(optuna.samplers.RandomSampler):
        pass

    setattr(Faulty, method, lambda self: None)  # too few parameters
    study = optuna.create_study(direction="maximize", sampler=Faulty(seed=0))
    with pytest.raises(TypeError, match="positional argument"):
        search(study=study)


class Fails(optuna.samplers.RandomSampler):
    """A sampler that fails when it learns of some trials."""

    def __init__(self, error, numbers):
        super().__init__(seed=0)
        self.error, self.numbers = error, numbers

    def after_trial(self, study, trial, state, values):
        if trial.number in self.numbers:
            raise self.error


@pytest.mark.parametrize(
    ("error", "numbers"),
    [(TypeError("wrong"), {5}), (TypeError("wrong"), range(5, 50)), (KeyboardInterrupt("wrong"), {5})],
    ids=["one", "all later", "interrupt"],
)
def test_no_trial_is_open_after_an_error_that_is_raised(error, numbers):
    study = optuna.create_study(direction="maximize", sampler=Fails(error, numbers))
    with pytest.raises(type(error), match="wrong"):
        search(study=study)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 6 + [TrialState.FAIL] * 2  # Optuna stores the one whose report raises


@pytest.mark.parametrize("numbers", [{5}, range(5, 50)], ids=["one", "all later"])
def test_no_trial_is_open_after_an_error_that_ends_the_study(numbers):
    study = optuna.create_study(direction="maximize", sampler=Fails(RuntimeError("no more"), numbers))
    with pytest.warns(RuntimeWarning, match=r"the study ended after 8 of 50 trials.*no more"):
        result = search(study=study)
    assert [trial.value for trial in study.trials] == result.cv_results_["mean_test_score"].tolist()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8


def test_an_error_about_a_pruned_trial_ends_the_study():
    def prunes(trial):
        if trial.number == 5:
            raise optuna.TrialPruned
        return suggest(trial)

    study = optuna.create_study(direction="maximize", sampler=Fails(RuntimeError("no more"), {5}))
    with pytest.warns(RuntimeWarning, match=r"the study ended after 6 of 50 trials.*no more"):
        result = search(study=study, space=prunes)
    assert result.cv_results_["trial"].tolist() == [0, 1, 2, 3, 4]
    assert study.trials[5].state == TrialState.PRUNED


def test_an_error_of_the_users_function_is_raised():
    def fails(trial):
        return suggest(trial) if trial.number < 5 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        search(space=fails)


def test_random_samplers_may_repeat_themselves():
    space = {"batch_size": IntDistribution(10, 11)}
    result = search(optuna.samplers.RandomSampler(seed=0), space, n_trials=6, batch_size=3)
    assert len(result.cv_results_["params"]) == 6
