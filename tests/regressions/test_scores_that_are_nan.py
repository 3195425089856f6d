"""Validation scores that are NaN never hand back the initial weights as the best.

See uber/causalml#216 and scikit-learn/scikit-learn#29504.
"""

import math
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_absolute_error_score, explained_variance_score, get_scorer_names, r2_score
from sklearn.neural_network import MLPRegressor

import gpubp
from gpubp.data.metrics import RunningScores, score

rng = np.random.default_rng(7)
X = rng.normal(size=(90, 4))
y = (X[:, 0] - X[:, 1] > 0).astype(int)
r = X @ np.array([1.0, -2.0, 0.5, 0.0])
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.02, "random_state": 3, "device": "cpu"}
NO_NUMBER = "None of the validation scores of 60 epochs was a number"


def regressor(**options):
    return gpubp.MLPRegressor(**SMALL | {"early_stopping": True} | options)


def classifier(**options):
    return gpubp.MLPClassifier(**SMALL | {"early_stopping": True} | options)


def quietly(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def without_early_stopping(**options):
    """The model after all epochs, which no figure ends."""
    return quietly(lambda: regressor(early_stopping=False, n_iter_no_change=np.inf, **options).fit(X, r))


class Scores:
    """A scorer that returns given scores, one for each epoch, and then the last; None raises."""

    def __init__(self, *scores):
        self.scores, self.calls = scores, 0

    def __call__(self, model, x, targets, sample_weight=None):
        score = self.scores[min(self.calls, len(self.scores) - 1)]
        self.calls += 1
        if score is None:
            raise ArithmeticError("no score")
        return score

    def __deepcopy__(self, memo):
        return type(self)(*self.scores)


# --- refused before training ---

REFUSED = {
    "R^2 of one row": lambda: regressor().fit(X, r, validation_data=(X[:1], r[:1])),
    "R^2 by name": lambda: regressor(scoring="r2").fit(X, r, validation_data=(X[:1], r[:1])),
    "R^2 of one weighted row": lambda: regressor().fit(X, r, validation_data=(X[:2], r[:2], [0.0, 1.0])),
    "one class": lambda: classifier(scoring="roc_auc").fit(X, y, validation_data=(X[y == 1], y[y == 1])),
    "one class, weighted": lambda: classifier(scoring="roc_auc").fit(X, y, validation_data=(X, y, y.astype(float))),
    "a class lacks": lambda: classifier(scoring="roc_auc_ovr").fit(
        X, np.arange(90) % 3, validation_data=(X[:2], np.arange(2))
    ),
    "one class in all": lambda: classifier(scoring="roc_auc").fit(X, np.zeros(90)),
    "a label of all": lambda: classifier(scoring="roc_auc").fit(X, np.c_[y, 1 - y, y * 0]),
    **{
        f"one class, {scoring}": lambda scoring=scoring: classifier(scoring=scoring).fit(
            X, y, validation_data=(X[y == 1], y[y == 1])
        )
        for scoring in ("neg_log_loss", "d2_log_loss_score", "top_k_accuracy")
    },
    **{
        f"a class lacks, {scoring}": lambda scoring=scoring: classifier(scoring=scoring).fit(
            X, np.arange(90) % 3, validation_data=(X[:2], np.arange(2))
        )
        for scoring in ("neg_log_loss", "d2_log_loss_score", "neg_brier_score", "d2_brier_score", "top_k_accuracy")
    },
    "restarts": lambda: classifier(scoring="roc_auc", n_restarts=2).fit(X, np.zeros(90)),
    "ensemble": lambda: gpubp.MLPEnsembleClassifier(classifier(scoring="roc_auc"), 2).fit(X, np.zeros(90)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_undefined_score_is_refused_before_training(name):
    with pytest.raises(ValueError, match=r"the score '\w+' of held-out samples, which is not defined"):
        REFUSED[name]()


@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_of_held_out_samples_that_are_all_zero(early_stopping):
    weights = np.zeros(90)
    with pytest.raises(ValueError, match=r"weights of the held-out samples are all 0|at least one non-zero"):
        classifier(early_stopping=early_stopping).fit(X, y, validation_data=(X, y, weights))
    weights[:3] = 1.0  # in the part to train on
    if early_stopping:
        with pytest.raises(ValueError, match="weights of the held-out samples are all 0"):
            quietly(lambda: classifier(random_state=0).fit(X, y, weights))


def test_what_is_not_compared_is_not_refused():
    model = quietly(lambda: regressor(early_stopping=False).fit(X, r, validation_data=(X[:1], r[:1])))
    assert np.isnan(model.validation_scores_).all()
    assert np.isfinite(model.validation_curve_).all()
    assert math.isnan(model.best_validation_score_)
    model = quietly(lambda: regressor(solver="lbfgs").fit(X, r, validation_data=(X[:1], r[:1])))
    assert model.score(X, r) > 0.99
    assert classifier().fit(X, y, validation_data=(X[:1], y[:1])).best_validation_score_ in (0.0, 1.0)
    model = quietly(lambda: regressor(scoring="loss").fit(X, r, validation_data=(X[:1], r[:1])))
    assert model.best_validation_score_ < 0


# --- never a number ---

ALL_NAN = {
    "a scorer": {"scoring": Scores(math.nan)},
    "infinite": {"scoring": Scores(-math.inf)},
    "equal targets": {"validation_data": (X[:20], np.full(20, 0.3))},
    **{
        f"equal targets, {scoring}": {"validation_data": (X[:20], np.full(20, 0.3)), "scoring": scoring}
        for scoring in ("explained_variance", "d2_absolute_error_score")
    },
    "equal targets, weighted": {"validation_data": (X[:20], np.r_[1.0, np.full(19, 0.3)], np.r_[0.0, np.ones(19)])},
    "equal targets, R^2 by name": {"validation_data": (X[:20], np.full(20, 0.3)), "scoring": "r2"},
}


@pytest.mark.parametrize("name", ALL_NAN)
@pytest.mark.parametrize("n_restarts", [1, 3])
def test_no_number_at_all_keeps_the_last_weights(name, n_restarts):
    options = dict(ALL_NAN[name])
    validation_data = options.pop("validation_data", (X, r))
    with pytest.warns(UserWarning, match=NO_NUMBER) as issued:
        model = regressor(n_restarts=n_restarts, **options).fit(X, r, validation_data=validation_data)
    assert all(issubclass(warning.category, UserWarning) for warning in issued)
    assert not any(issubclass(warning.category, ConvergenceWarning) for warning in issued)
    expected = without_early_stopping(n_restarts=n_restarts)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-12)
    assert model.score(X, r) > 0.9
    assert math.isnan(model.best_validation_score_)
    assert "no validation score was a number" in model.report()
    assert "max_iter" not in model.report().partition("advice")[2]
    if n_restarts > 1:  # by the loss
        assert model.best_restart_ == np.argmax(model.restart_scores_)
        assert model.restart_scores_ == expected.restart_scores_


@pytest.mark.parametrize("scoring", ["neg_log_loss", "d2_log_loss_score", "neg_brier_score", "top_k_accuracy"])
def test_scores_of_probabilities_that_are_defined(scoring):
    if scoring not in get_scorer_names():
        pytest.skip("this release of scikit-learn does not have it")
    model = quietly(lambda: classifier(scoring=scoring, max_iter=3).fit(X, y, validation_data=(X, y)))
    assert np.isfinite(model.validation_scores_).all()
    one = (X[y == 1], y[y == 1])
    model = quietly(lambda: classifier(scoring="neg_brier_score", max_iter=3).fit(X, y, validation_data=one))
    assert np.isfinite(model.validation_scores_).all()


RELATIVE = {
    "r2": r2_score,
    "explained_variance": explained_variance_score,
    "d2_absolute_error_score": d2_absolute_error_score,
}
relative = pytest.mark.parametrize("scoring", RELATIVE)


@relative
@pytest.mark.parametrize("weights", [(), (np.r_[0.0, np.ones(19)],)])
def test_an_output_whose_targets_are_equal_counts_as_in_scikit_learn(scoring, weights):
    two, constant = np.c_[r, r[::-1]], np.full(20, 0.3)
    constant[0] = 5.0 if weights else 0.3
    held_out = (X[:20], np.c_[r[:20], constant], *weights)
    model = quietly(lambda: regressor(max_iter=1, scoring=scoring).fit(X, two, validation_data=held_out))
    score = RELATIVE[scoring]
    expected = score(held_out[1], model.predict(X[:20]), sample_weight=weights[0] if weights else None)
    assert model.validation_scores_ == pytest.approx([expected])


@relative
@pytest.mark.parametrize("targets", [r, np.c_[r, r[::-1]]], ids=["one output", "two outputs"])
def test_scores_do_not_depend_on_the_scale_of_the_targets(scoring, targets):
    def scores(scale):
        model = regressor(max_iter=4, scoring=scoring, loss="absolute_error")
        return quietly(lambda: model.fit(X, targets * scale, validation_data=(X, targets * scale))).validation_scores_

    large = scores(2.0**540)  # whose squares overflow
    assert np.isfinite(large).all()
    assert large == pytest.approx(scores(2.0**480), abs=1e-12)


@relative
def test_several_outputs_that_are_all_equal(scoring):
    held_out = (X[:20], np.full((20, 2), 0.3))
    model = regressor(scoring=scoring)
    with pytest.warns(UserWarning, match=NO_NUMBER):
        model.fit(X, np.c_[r, r[::-1]], validation_data=held_out)
    assert np.isnan(model.validation_scores_).all()


def test_early_stopping_with_an_equal_output_is_scikit_learns():
    targets = np.c_[r, np.full(90, 0.3)]
    gpubp_model = quietly(lambda: regressor(n_iter_no_change=3).fit(X, targets))
    options = {name: value for name, value in SMALL.items() if name != "device"}
    sklearn_model = quietly(lambda: MLPRegressor(**options, early_stopping=True, n_iter_no_change=3).fit(X, targets))
    np.testing.assert_allclose(gpubp_model.validation_scores_, sklearn_model.validation_scores_, rtol=1e-6)
    np.testing.assert_allclose(gpubp_model.coefs_[0], sklearn_model.coefs_[0], rtol=1e-6, atol=1e-9)


def test_of_a_part_of_the_samples():
    with pytest.warns(UserWarning, match=NO_NUMBER):
        model = regressor(scoring=Scores(math.nan)).fit(X, r)
    assert model.score(X, r) > 0.9


def test_stacks():
    ensemble = gpubp.MLPEnsembleRegressor(regressor(scoring=Scores(math.nan)), 2, random_state=0)
    with pytest.warns(UserWarning, match=NO_NUMBER):
        assert ensemble.fit(X, r).score(X, r) > 0.9
    grid = {"alpha": [1e-4, 1e-3], "random_state": [5]}
    search = gpubp.BatchedSearchCV(regressor(scoring=Scores(math.nan)), grid, cv=3, progress=False)
    with pytest.warns(UserWarning, match=NO_NUMBER):
        search.fit(X, r)
    assert np.all(search.cv_results_["mean_test_score"] > 0.8)
    alpha = search.best_params_["alpha"]
    expected = quietly(lambda: regressor(scoring=Scores(math.nan), random_state=5, alpha=alpha).fit(X, r))
    np.testing.assert_array_equal(search.best_estimator_.predict(X), expected.predict(X))


def test_a_warm_start_continues_from_the_last_weights():
    model = quietly(lambda: regressor(scoring=Scores(math.nan), warm_start=True, max_iter=30).fit(X, r))
    quietly(lambda: model.fit(X, r))
    assert len(model.validation_scores_) == 60
    assert math.isnan(model.best_validation_score_)
    quietly(lambda: model.set_params(scoring="loss").fit(X, r))  # a number is better than none
    assert model.best_validation_score_ == np.nanmax(model.validation_scores_)


# --- partly a number ---


def test_the_best_is_the_best_number():
    nan = math.nan
    thetas = []
    scores = [nan, 0.1, nan, 0.5, nan, 0.2, 0.5, nan]
    model = regressor(
        scoring=Scores(*scores), n_iter_no_change=4, callbacks=lambda progress: thetas.append(progress.theta.copy())
    ).fit(X, r)
    np.testing.assert_array_equal(model._theta(), thetas[3])
    assert model.best_validation_score_ == 0.5
    assert model.stop_reason_ == "patience"
    assert model.n_iter_ == 4 + 5  # NaN is no improvement
    np.testing.assert_array_equal(model.validation_scores_[:6], scores[:6])


def test_patience_begins_with_the_first_number():
    model = regressor(scoring=Scores(*[math.nan] * 20, 0.5, math.nan), n_iter_no_change=3).fit(X, r)
    assert (model.n_iter_, model.best_validation_score_, model.stop_reason_) == (21 + 4, 0.5, "patience")


# --- a scorer that raises ---


def test_a_scorer_that_raises():
    with pytest.raises(ArithmeticError, match="no score"):
        classifier(scoring=Scores(0.5, None)).fit(X, y)


def test_a_scorer_that_raises_ends_its_own_network_of_a_stack():
    class Raises(Scores):
        def __call__(self, model, x, targets, sample_weight=None):
            if model.alpha == 1.0:
                raise ArithmeticError("no score")
            return super().__call__(model, x, targets)

    grid = {"alpha": [1e-4, 1.0, 1e-3]}
    member = classifier(scoring=Raises(*np.linspace(0.0, 1.0, 60)))
    search = gpubp.BatchedSearchCV(member, grid, cv=3, progress=False)
    means = quietly(lambda: search.fit(X, y).cv_results_["mean_test_score"])
    assert np.isfinite(means).tolist() == [True, False, True]
    alone = gpubp.BatchedSearchCV(member, {"alpha": [1e-4, 1e-3]}, cv=3, progress=False)
    np.testing.assert_array_equal(quietly(lambda: alone.fit(X, y).cv_results_["mean_test_score"]), means[[0, 2]])
    halving = gpubp.BatchedHalvingSearchCV(
        classifier(scoring=Raises(0.5)), grid, factor=2, max_resources=20, cv=3, progress=False
    )
    assert quietly(lambda: halving.fit(X, y).best_params_["alpha"]) != 1.0


# --- divergence ---


def test_divergence_without_a_best_score_raises():
    options = {"solver": "sgd", "activation": "identity", "momentum": 0.0, "learning_rate_init": 0.35}
    curves = []
    for scoring in (Scores(math.nan), None):
        model = regressor(**options, max_iter=4000, n_iter_no_change=4000, scoring=scoring)
        if scoring is None:
            with pytest.warns(ConvergenceWarning, match="those with the best validation score were kept"):
                model.fit(3.0 * X, r)
            assert np.isfinite(model.best_validation_score_)
        else:
            with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
                model.fit(3.0 * X, r)
        curves.append(model.loss_curve_)
    assert len(curves[0]) > 2
    np.testing.assert_array_equal(curves[0], curves[1])


# --- train ---

NETWORK = gpubp.Network((4, 8, 1), activation="tanh")


def trained(scoring, **options):
    options = {"epochs": 40, "patience": 5, "device": "cpu", "optimizer": gpubp.adam(0.02)} | options
    return gpubp.train(NETWORK, X, r[:, None], validation_data=(X[:20], r[:20, None]), scoring=scoring, **options)


def given_scores(*scores):
    scorer = Scores(*scores)
    return lambda targets, outputs: scorer(None, None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_train_keeps_the_last_weights_if_no_score_is_a_number(value):
    with pytest.warns(UserWarning, match="none of the validation scores of 40 epochs was a number.*monitor='loss'"):
        fit = trained(given_scores(value))
    assert (fit.best_epoch, fit.stop_reason) == (40, "epochs")
    np.testing.assert_array_equal(fit.theta, trained(None, patience=None).theta)


def test_train_with_some_numbers():
    nan = math.nan
    fit = trained(given_scores(*[nan] * 9, 0.1, nan, 0.3, nan))
    assert (fit.best_epoch, fit.stop_reason, len(fit.history.loss)) == (12, "patience", 17)
    np.testing.assert_array_equal(fit.theta, trained(None, patience=None, epochs=12).theta)


def test_train_monitors_the_loss_whatever_the_score():
    fit = trained(given_scores(math.nan), monitor="loss")
    assert np.isfinite(fit.history.validation_loss).all()
    assert fit.best_epoch == 1 + np.argmin(fit.history.validation_loss)


def test_the_message_of_train_says_which_weights_were_kept():
    options = {"optimizer": gpubp.gradient_descent(0.35), "epochs": 4000, "patience": 4000, "batch_size": "full"}
    network = gpubp.Network((4, 8, 1), activation="identity")
    data = (3.0 * X, r[:, None])
    for scoring, message in (
        (given_scores(0.1, 0.7, 0.2), "and the weights of the best epoch, 2, were kept"),
        (given_scores(math.nan), "and the last good weights were kept"),
    ):
        with pytest.warns(gpubp.DivergenceWarning, match=message):
            fit = gpubp.train(network, *data, validation_data=data, scoring=scoring, device="cpu", **options)
        assert fit.best_epoch == 2 if "best" in message else fit.best_epoch > 2
        assert len(fit.history.loss) > 2


# --- tables ---


def test_a_single_row_has_no_r2():
    preprocessing = gpubp.prepare_table({"a": X[:, 0], "target": r}, target="target").preprocessing
    targets, outputs = np.ones((3, 1)), np.array([[1.0], [2.0], [3.0]])
    for n, names in ((1, {"mae", "rmse"}), (3, {"mae", "rmse", "r2"})):
        running = RunningScores(preprocessing)
        running.add(targets[:n], outputs[:n])
        assert set(score(preprocessing, targets[:n], outputs[:n])) == set(running.scores()) == names


def test_a_stream_with_one_validation_row(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,target\n" + "".join(f"{a},{t}\n" for a, t in zip(X[:12, 0], r[:12], strict=True)))
    for seed in range(40):
        prepared = gpubp.prepare_stream(path, target="target", seed=seed)
        if prepared.rows["validation"] == 1:
            break
    result = gpubp.fit_table(prepared, epochs=3, device="cpu")
    assert np.isnan(result.fit.history.validation_score).all()
    assert set(result.scores["validation"]) == {"mae", "rmse"}
    assert result.fit.stop_reason == "epochs"


@pytest.mark.parametrize("n_rows", [5, 8, 12, 15, 30])
def test_tables_with_few_validation_rows(n_rows):
    """A part has no rows or two: the validation loss, not the score, decides."""
    table = {"a": X[:n_rows, 0], "b": X[:n_rows, 1], "target": r[:n_rows]}
    prepared = gpubp.prepare_table(table, target="target")
    assert all(n != 1 for n in prepared.rows.values())
    result = gpubp.fit_table(prepared, epochs=5, device="cpu")
    assert np.isfinite(result.fit.history.validation_loss).all()
    assert all(np.isfinite(figure) for scores in result.scores.values() for figure in scores.values())
