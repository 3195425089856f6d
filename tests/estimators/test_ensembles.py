"""Restarts, of which the best is kept, and ensembles: each network equals one trained alone."""

import logging
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.neural_network import MLPClassifier as ClassifierOfSklearn

from gpubp import BatchedSearchCV, MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor
from gpubp.errors import DeviceError
from gpubp.testing import assert_agree
from gpubp.training import stacks as stack

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.asarray(["setosa", "versicolor", "virginica"])[Y]
NUMBERS = X[:, :2] @ np.asarray([1.0, -2.0])
WEIGHTS = np.random.default_rng(0).uniform(0.1, 2.0, len(Y))
CLASSIFIER = MLPClassifier((4,), max_iter=8, batch_size=40, learning_rate_init=0.02, random_state=0, device="cpu")
REGRESSOR = MLPRegressor(
    hidden_layer_sizes=(4,), max_iter=8, batch_size=40, learning_rate_init=0.02, random_state=0, device="cpu"
)


def with_options(model, **options):
    return clone(model).set_params(**options)


# --- restarts ---

OF_RESTARTS = {
    "loss": {},
    "held out": {"early_stopping": True},
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
    "callbacks": {"callbacks": lambda progress: None},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("options", OF_RESTARTS.values(), ids=OF_RESTARTS)
def test_best_restart_is_kept(options):
    model = with_options(CLASSIFIER, n_restarts=5, **options).fit(X, NAMES)
    scores = model.restart_scores_
    assert len(scores) == 5
    assert len(set(scores)) > 2
    assert model.best_restart_ == int(np.argmax(scores))
    kept = model.best_validation_score_ if "early_stopping" in options else -model.loss_
    assert kept == pytest.approx(max(scores))
    once = with_options(CLASSIFIER, **options).fit(X, NAMES)
    first = once.best_validation_score_ if "early_stopping" in options else -once.loss_
    assert scores[0] == pytest.approx(first, rel=1e-9)  # the first restart equals the single model
    assert model.get_params() == with_options(CLASSIFIER, n_restarts=5, **options).get_params()
    again = with_options(CLASSIFIER, n_restarts=5, **options).fit(X, NAMES)
    np.testing.assert_allclose(again.coefs_[0], model.coefs_[0])


def test_restarts_are_the_same_together_and_singly(caplog):
    together = with_options(CLASSIFIER, n_restarts=4).fit(X, Y)
    with caplog.at_level(logging.INFO, "gpubp"):
        one_by_one = with_options(CLASSIFIER, n_restarts=4, max_time=1000.0).fit(X, Y)
    assert "4 networks are fitted one at a time, since max_time is for one fit" in caplog.text
    np.testing.assert_allclose(together.restart_scores_, one_by_one.restart_scores_, rtol=1e-9)
    np.testing.assert_allclose(together.coefs_[0], one_by_one.coefs_[0], rtol=1e-9)


def test_restarts_with_samples_that_the_user_holds_out():
    held_out = (X[::3], Y[::3])
    model = with_options(CLASSIFIER, n_restarts=3).fit(X, Y, validation_data=held_out)
    assert model.validation_scores_[-1] == max(model.restart_scores_)
    assert model.score(*held_out) == model.validation_scores_[-1]


def test_restarts_hold_out_the_same_samples(monkeypatch):
    from gpubp.estimators import _stacked_fit

    splits = []
    original = _stacked_fit.split
    monkeypatch.setattr(_stacked_fit, "split", lambda *arguments: splits.append(1) or original(*arguments))
    with_options(CLASSIFIER, n_restarts=4, early_stopping=True).fit(X, Y)
    assert splits == [1]


def test_a_restart_that_fails_is_left_out_and_all_that_fail_raise():
    diverging = with_options(REGRESSOR, n_restarts=3, solver="sgd", learning_rate_init=1e200)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        diverging.fit(X, NUMBERS)
    assert not hasattr(diverging, "coefs_")


class FailsLate:
    """A device that is lost in the epoch ``at`` of a stack, after some of its networks have ended."""

    def __init__(self, monkeypatch, at):
        self.epochs, self.at, self.leaving = 0, at, stack.StackOfFits.update_done
        monkeypatch.setattr(stack.StackOfFits, "update_done", lambda *given: self.lose(*given))

    def lose(self, *given):
        self.epochs += 1
        if self.epochs == self.at:
            raise DeviceError("the device is lost")
        return self.leaving(*given)


def test_a_failed_stack_of_restarts_is_not_a_failed_fit(monkeypatch):
    monkeypatch.setattr(stack, "networks_at_once", lambda *given, **options: 2)
    FailsLate(monkeypatch, 12)  # in the second stack: the first has eight epochs
    with pytest.raises(DeviceError, match="the device is lost"):
        with_options(CLASSIFIER, n_restarts=4).fit(X, Y)


def test_networks_that_left_a_stack_fail_with_it(monkeypatch):
    FailsLate(monkeypatch, 30)
    search = BatchedSearchCV(CLASSIFIER, {"max_iter": [10, 40]}, cv=2, refit=False, progress=False)
    with pytest.raises(ValueError, match="All the 4 fits failed"):
        search.fit(X, Y)


def test_restarts_without_a_score_keep_the_smallest_loss():
    held_out = (X[:1, :2], NUMBERS[:1])  # R2 is undefined for one sample
    model = with_options(REGRESSOR, n_restarts=3).fit(X[:, :2], NUMBERS, validation_data=held_out)
    assert model.best_restart_ == np.argmax(model.restart_scores_)
    assert max(model.restart_scores_) == -model.loss_


def test_training_after_restarts_continues_with_the_best():
    model = with_options(CLASSIFIER, n_restarts=3, warm_start=True).fit(X, Y)
    best = model.loss_
    model.fit(X, Y)
    assert model.loss_ < best
    model.partial_fit(X, Y)
    assert with_options(CLASSIFIER, n_restarts=3).partial_fit(X, Y, classes=[0, 1, 2]).best_restart_ is None
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


# --- ensembles ---


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"dropout": 0.2}, {"class_weight": "balanced"}])
def test_each_member_equals_one_fitted_alone(options):
    member = with_options(CLASSIFIER, **options)
    ensemble = MLPEnsembleClassifier(member, n_estimators=3, random_state=0).fit(X, NAMES, WEIGHTS)
    assert len({model.random_state for model in ensemble.estimators_}) == 3
    for model in ensemble.estimators_:
        single = clone(model).fit(X, NAMES, WEIGHTS)
        assert single.n_iter_ == model.n_iter_
        np.testing.assert_allclose(model.coefs_[0], single.coefs_[0], rtol=1e-9)
    each = np.stack([model.predict_proba(X) for model in ensemble.estimators_])
    np.testing.assert_allclose(ensemble.predict_proba(X), np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_allclose(ensemble.predict_std(X), np.std(each, axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(ensemble.predict(X), ensemble.classes_[np.argmax(np.mean(each, axis=0), axis=1)])
    assert ensemble.score(X, NAMES) == np.mean(ensemble.predict(X) == NAMES)


def test_regressor():
    y = np.stack([NUMBERS, X[:, 3]], axis=1)
    for targets, shape in ((NUMBERS, (150,)), (y, (150, 2))):
        ensemble = MLPEnsembleRegressor(REGRESSOR, n_estimators=3, random_state=0).fit(X, targets)
        each = np.stack([model.predict(X) for model in ensemble.estimators_])
        mean, spread = ensemble.predict(X, return_std=True)
        assert mean.shape == spread.shape == shape
        np.testing.assert_allclose(mean, np.mean(each, axis=0))
        np.testing.assert_allclose(spread, np.std(each, axis=0))
        np.testing.assert_array_equal(ensemble.predict_std(X), spread)
        assert ensemble.score(X, targets) <= 1.0


def test_two_classes_and_several_labels():
    two = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(X, Y == 0)
    np.testing.assert_allclose(np.sum(two.predict_proba(X), axis=1), 1.0)
    spread = two.predict_std(X)
    np.testing.assert_array_equal(spread[:, 0], spread[:, 1])
    assert spread.max() > 0.0
    x, marks = make_multilabel_classification(60, 4, n_classes=3, random_state=0)
    several = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(x, marks)
    np.testing.assert_array_equal(several.predict(x), several.predict_proba(x) > 0.5)
    columns = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(X, np.stack([Y, NAMES], axis=1))
    assert [part.shape for part in columns.predict_proba(X)] == [part.shape for part in columns.predict_std(X)]
    assert columns.predict(X).shape == (150, 2)
    assert columns.score(X, np.stack([Y, NAMES], axis=1)) <= 1.0


@pytest.mark.parametrize(("bootstrap", "max_samples", "most"), [(True, 1.0, 150), (True, 0.5, 75), (False, 0.5, 75)])
def test_members_learn_from_their_own_samples(bootstrap, max_samples, most):
    ensemble = MLPEnsembleRegressor(
        REGRESSOR, n_estimators=3, bootstrap=bootstrap, max_samples=max_samples, random_state=0
    )
    rows = [ensemble._rows(np.random.RandomState(seed), 150) for seed in range(2)]
    assert [len(own) for own in rows] == [most, most]
    assert (len(set(rows[0])) < most) == bootstrap
    ensemble.fit(X, NUMBERS)
    random_state = np.random.RandomState(0)
    seeds = random_state.randint(2**31 - 1, size=3)
    for seed, model in zip(seeds, ensemble.estimators_, strict=True):
        own = ensemble._rows(random_state, 150)
        single = with_options(REGRESSOR, random_state=int(seed)).fit(X[own], NUMBERS[own])
        np.testing.assert_allclose(model.coefs_[0], single.coefs_[0], rtol=1e-9)


def test_members_without_samples_of_a_class_have_an_output_for_it():
    rare = np.asarray(["common"] * 148 + ["rare", "rarer"])
    member = with_options(CLASSIFIER, batch_size="auto")
    ensemble = MLPEnsembleClassifier(member, n_estimators=4, bootstrap=True, max_samples=0.2, random_state=0)
    assert ensemble.fit(X, rare).predict_proba(X).shape == (150, 3)
    assert ensemble.set_params(estimator__solver="lbfgs").fit(X, rare).predict_proba(X).shape == (150, 3)


def test_members_that_cannot_be_stacked_are_fitted_singly(caplog):
    with caplog.at_level(logging.INFO, "gpubp"):
        MLPEnsembleClassifier(with_options(CLASSIFIER, n_restarts=2), n_estimators=2).fit(X, Y)
    assert "2 networks are fitted one at a time, since it is fitted several times" in caplog.text
    sparse = scipy.sparse.csr_matrix(X)
    ensemble = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(sparse, Y)
    dense = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(X, Y)
    np.testing.assert_allclose(ensemble.predict_proba(sparse), dense.predict_proba(X), rtol=1e-6)


def test_frames_keep_their_names_and_files_their_members():
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    ensemble = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(frame, NAMES)
    assert ensemble.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = ensemble.predict_proba(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        ensemble.predict(frame[["b", "a", "c", "d"]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ensemble)).predict_proba(frame), before)


@pytest.mark.on("torch:cpu")
def test_outputs_are_in_the_library_of_x():
    torch = pytest.importorskip("torch")
    x = torch.asarray(X)
    ensemble = MLPEnsembleClassifier(with_options(CLASSIFIER, device="auto"), n_estimators=2, random_state=0)
    fitted = ensemble.fit(x, Y)
    for answer in (fitted.predict(x), fitted.predict_proba(x), fitted.predict_std(x)):
        assert isinstance(answer, torch.Tensor)
    host = MLPEnsembleClassifier(CLASSIFIER, n_estimators=2, random_state=0).fit(X, Y)
    np.testing.assert_allclose(fitted.predict_proba(x).numpy(), host.predict_proba(X), rtol=1e-6)


def test_estimator_of_another_kind():
    message = r"must be one MLPClassifier\(\) of gpubp, or None, got gpubp.estimators.regressor.MLPRegressor"
    for is_skipped in (False, True):
        with sklearn.config_context(skip_parameter_validation=is_skipped), pytest.raises(ValueError, match=message):
            MLPEnsembleClassifier(REGRESSOR).fit(X, Y)
    with pytest.raises(ValueError, match=r"got sklearn\.neural_network\..*MLPClassifier$"):
        MLPEnsembleClassifier(ClassifierOfSklearn()).fit(X, Y)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        MLPEnsembleClassifier(MLPClassifier((20,), max_iter=30, learning_rate_init=0.02, device="cpu"), 2),
        MLPEnsembleRegressor(
            MLPRegressor(hidden_layer_sizes=(20,), max_iter=60, learning_rate_init=0.02, device="cpu"), 2
        ),
        MLPClassifier((20,), max_iter=30, learning_rate_init=0.02, n_restarts=2, device="cpu"),
    ],
    ids=["classifier", "regressor", "restarts"],
)
def test_scikit_learns_checks(model):
    try:
        from sklearn.utils.estimator_checks import check_estimator
    except RuntimeError as error:  # scikit-learn 1.6 wants SCIPY_ARRAY_API to be set
        pytest.skip(f"scikit-learn's checks cannot be imported: {error}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(model, on_skip=None, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed == {}


class Watcher:
    """Called every other epoch; has no effect."""

    every = 2

    def __init__(self):
        self.seen = []

    def __call__(self, progress):
        self.seen.append((progress.epoch, progress.loss, progress.learning_rate, progress.theta.copy()))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callbacks_without_begin_or_end_keep_stacks(solver, caplog):
    watcher, options = Watcher(), {"solver": solver, "learning_rate": "invscaling", "learning_rate_init": 0.1}
    model = with_options(CLASSIFIER, n_restarts=3, max_iter=5, callbacks=watcher, random_state=0, **options)
    with caplog.at_level("INFO", "gpubp"):
        model.fit(X, Y)
    assert not [record for record in caplog.records if "one at a time" in record.message]
    assert [epoch for epoch, *_ in watcher.seen] == [2, 2, 2, 4, 4, 4]
    single = Watcher()
    with_options(model, n_restarts=1, callbacks=single).fit(X, Y)
    assert [epoch for epoch, *_ in single.seen] == [2, 4]
    for (epoch, loss, rate, theta), expected in zip(watcher.seen[::3], single.seen, strict=True):
        assert (epoch, rate) == (expected[0], pytest.approx(expected[2], rel=1e-12))
        assert loss == pytest.approx(expected[1], rel=1e-9)
        assert_agree(theta, expected[3], "steps")


@pytest.mark.parametrize("extra", ["on_begin", "on_end", "on_error"])
def test_callbacks_with_begin_or_end_get_one_fit_at_a_time(extra, caplog):
    watcher = Watcher()
    setattr(watcher, extra, lambda _: None)
    with caplog.at_level("INFO", "gpubp"):
        with_options(CLASSIFIER, n_restarts=2, max_iter=4, callbacks=watcher).fit(X, Y)
    assert [record for record in caplog.records if "its callbacks follow one fit at a time" in record.message]


def test_a_parameter_of_the_members_is_refused_with_its_place():
    with pytest.raises(
        TypeError, match=r"has no parameter 'max_iter', which its members have: .*MLPClassifier\(max_iter"
    ):
        MLPEnsembleClassifier(max_iter=3)
    with pytest.raises(TypeError, match=r"has no parameter 'bootstrp' \(did you mean 'bootstrap'\?\)"):
        MLPEnsembleRegressor(bootstrp=True)
    with pytest.raises(TypeError, match=r"'epochs', which its members have as 'max_iter': .*MLPRegressor\(max_iter"):
        MLPEnsembleRegressor(epochs=3)
    with pytest.raises(TypeError, match=r"'n_networks' \(did you mean 'n_estimators'\?\); .*'seed' .*'random_state'"):
        MLPEnsembleRegressor(n_networks=3, seed=1)


def test_all_that_is_wrong_with_an_ensemble_and_its_members_is_named_at_once():
    with pytest.raises(ValueError, match="'n_estimators'") as raised:
        MLPEnsembleClassifier(MLPClassifier(max_iter="3", alpha="a"), n_estimators="x").fit(X, Y)
    assert all(f"'{name}' parameter of MLPClassifier" in str(raised.value) for name in ("max_iter", "alpha"))
    with pytest.raises(
        ValueError, match=r"must be one MLPClassifier\(\) of gpubp, or None, got the class gpubp.*MLPClassifier"
    ):
        MLPEnsembleClassifier(MLPClassifier).fit(X, Y)
