"""Behaviour that scikit-learn's users rely on, by solver: scores, stopping, resuming, outputs, and errors."""

import re
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_diabetes, load_wine, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import PoissonRegressor
from sklearn.preprocessing import scale

from gpubp import MLPClassifier, MLPRegressor

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
WINE = (scale(load_wine().data), load_wine().target)
TWO_WINES = (WINE[0][WINE[1] < 2], WINE[1][WINE[1] < 2])
DIABETES = (scale(load_diabetes().data), scale(load_diabetes().target))
MARKS = make_multilabel_classification(60, 20, n_classes=4, random_state=3)

quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(*args, **options):
    return MLPClassifier(*args, **{"random_state": 0, "device": "cpu", **options})


def regressor(**options):
    return MLPRegressor(**{"random_state": 0, "device": "cpu", **options})


class TestOneStepByHand:
    def test_the_weights_after_it(self):
        """One sample through a 3-2-1 network: the paper's eq. (8), with a penalty of alpha on the weights."""
        model = classifier(2, "logistic", solver="sgd", momentum=0.0, learning_rate_init=0.1, alpha=0.1, max_iter=1)
        x, targets = np.array([[0.6, 0.8, 0.7]]), 0.0
        model.partial_fit(x, [0], classes=[0, 1])
        w, v = np.array([[0.1, 0.2], [0.3, 0.1], [0.5, 0.0]]), np.array([[0.1], [0.2]])
        b, c = np.array([0.1, 0.1]), np.array([1.0])
        model.coefs_, model.intercepts_ = [w, v], [b, c]
        h = 1.0 / (1.0 + np.exp(-(x @ w + b)))
        y = 1.0 / (1.0 + np.exp(-(h @ v + c)))
        at_output = y - targets
        at_hidden = at_output * v.T * h * (1.0 - h)
        model.partial_fit(x, [0])
        expected = [w - 0.1 * (x.T @ at_hidden + 0.1 * w), v - 0.1 * (h.T @ at_output + 0.1 * v)]
        for actual, reference in zip(model.coefs_, expected, strict=True):
            np.testing.assert_allclose(actual, reference, rtol=1e-12)
        np.testing.assert_allclose(model.intercepts_[0], b - 0.1 * at_hidden[0], rtol=1e-12)
        np.testing.assert_allclose(model.intercepts_[1], c - 0.1 * at_output[0], rtol=1e-12)
        np.testing.assert_allclose(model.loss_, -np.log(1 - y[0, 0]) + 0.05 * ((w**2).sum() + (v**2).sum()), rtol=1e-12)


class TestLbfgs:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("samples", [WINE, TWO_WINES], ids=["three classes", "two"])
    def test_classifies(self, samples, activation):
        X, y = samples
        model = classifier(20, activation, solver="lbfgs", max_iter=300).fit(X[::2], y[::2])
        assert model.score(X[1::2], y[1::2]) > 0.93
        assert model.predict(X).dtype == y.dtype

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_fits_numbers(self, activation):
        X, y = make_regression(150, 8, noise=20.0, random_state=2)
        y = scale(y)
        model = regressor(hidden_layer_sizes=40, activation=activation, solver="lbfgs", max_iter=300, tol=1e-3)
        assert model.fit(X, y).score(X, y) > (0.95 if activation == "identity" else 0.98)

    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_max_fun_ends_it(self, kind):
        model = kind(solver="lbfgs", max_fun=8, tol=0.0, random_state=0, device="cpu")
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
            model.fit(*WINE)
        assert model.n_iter_ <= 8

    @quietly
    def test_its_curves_and_best_figures(self):
        model = classifier(8, solver="lbfgs", max_iter=15).fit(*WINE, validation_data=WINE)
        assert model.best_loss_ == model.loss_ == model.loss_curve_[-1] == min(model.loss_curve_)
        assert model.best_validation_score_ == max(model.validation_scores_)

    def test_poisson_is_a_generalised_linear_model_without_hidden_units(self):
        generator = np.random.default_rng(0)
        X = generator.uniform(size=(120, 2))
        y = generator.poisson(np.exp(1.0 + X[:, 0] - 0.5 * X[:, 1]))
        expected = PoissonRegressor(alpha=0.0, tol=1e-8).fit(X, y).predict(X)
        options = {"hidden_layer_sizes": (), "alpha": 0.0, "solver": "lbfgs", "tol": 1e-8}
        np.testing.assert_allclose(regressor(loss="poisson", **options).fit(X, y).predict(X), expected, rtol=1e-4)
        assert not np.allclose(regressor(**options).fit(X, y).predict(X), expected, rtol=1e-4)


class TestSettings:
    @quietly
    def test_alpha_shrinks_the_weights(self):
        models = [classifier(10, alpha=alpha).fit(*TWO_WINES) for alpha in (0.0, 1.0)]
        for free, bound in zip(models[0].coefs_, models[1].coefs_, strict=True):
            assert np.abs(bound).sum() < np.abs(free).sum()

    @quietly
    def test_shuffle_changes_the_fit_and_a_seed_repeats_it(self):
        options = {"hidden_layer_sizes": (3,), "max_iter": 1, "batch_size": 1}
        first, again = (regressor(**options).fit(*DIABETES) for _ in range(2))
        np.testing.assert_array_equal(first.coefs_[0], again.coefs_[0])
        assert not np.array_equal(first.coefs_[0], regressor(shuffle=False, **options).fit(*DIABETES).coefs_[0])
        assert not np.array_equal(first.coefs_[0], regressor(**options | {"random_state": 1}).fit(*DIABETES).coefs_[0])

    @quietly
    @pytest.mark.parametrize("options", [{"solver": "lbfgs"}, {"solver": "adam", "max_iter": 20}], ids=str)
    @pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_matrix", "csc_array", "coo_matrix"])
    def test_sparse_and_dense_samples_give_the_same(self, form, options):
        X = np.where(np.abs(TWO_WINES[0]) < 0.7, 0.0, TWO_WINES[0])
        sparse = getattr(scipy.sparse, form)(X)
        of_dense, of_sparse = (classifier(8, **options).fit(x, TWO_WINES[1]) for x in (X, sparse))
        np.testing.assert_allclose(of_sparse.predict_proba(sparse), of_dense.predict_proba(X), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(of_dense.predict_proba(sparse), of_dense.predict_proba(X), rtol=1e-12)

    @quietly
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_both_precisions_predict_the_same(self, kind):
        options = {"hidden_layer_sizes": (5, 3), "max_iter": 60, "random_state": 1, "device": "cpu"}
        wide, narrow = (kind(**options).fit(WINE[0].astype(t), WINE[1]) for t in ("float64", "float32"))
        method = "predict_proba" if kind is MLPClassifier else "predict"
        of_wide, of_narrow = getattr(wide, method)(WINE[0]), getattr(narrow, method)(WINE[0].astype("float32"))
        assert of_narrow.dtype == "float32"
        np.testing.assert_allclose(of_narrow, of_wide, rtol=1e-3, atol=1e-4)

    @quietly
    def test_sample_weights_of_1_change_nothing(self):
        options = {"early_stopping": True, "batch_size": 20, "max_iter": 20}
        plain = regressor(**options).fit(*DIABETES)
        weighted = regressor(**options).fit(*DIABETES, sample_weight=np.ones(len(DIABETES[1])))
        np.testing.assert_allclose(weighted.predict(DIABETES[0]), plain.predict(DIABETES[0]), rtol=1e-9)


class TestStopping:
    def test_a_loss_that_no_longer_falls_by_tol(self):
        model = classifier(solver="sgd", tol=0.5, max_iter=3000).fit(*WINE)
        assert model.n_iter_ < 100
        assert model.stop_reason_ == "patience"

    @pytest.mark.parametrize("n", [1, 4, 20])
    def test_after_as_many_epochs_as_requested(self, n):
        """With a tolerance that no epoch meets, the first epoch is the best, and training stops after n more."""
        model = classifier(solver="sgd", tol=1e9, n_iter_no_change=n, max_iter=3000).fit(*WINE)
        assert model.n_iter_ == n + 2

    @quietly
    def test_never_with_infinite_patience(self):
        assert classifier(3, tol=1e9, n_iter_no_change=np.inf, max_iter=40).fit(*WINE).n_iter_ == 40

    def test_an_adaptive_rate_falls_to_its_minimum(self, capsys):
        model = classifier(3, solver="sgd", learning_rate="adaptive", tol=0.5, max_iter=3000, verbose=True).fit(*WINE)
        printed = capsys.readouterr().out
        rates = [float(rate) for rate in re.findall(r"Setting learning rate to ([\d.]+)", printed)]
        np.testing.assert_allclose(rates[:3], [0.001 / 5, 0.001 / 25, 0.001 / 125], atol=1e-6)
        assert "Learning rate too small. Stopping." in printed
        assert model.n_iter_ < 3000

    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_early_stopping_prints_its_scores(self, kind):
        options = {"solver": "sgd", "tol": 0.2, "max_iter": 3000, "random_state": 0, "device": "cpu"}
        model = kind(early_stopping=True, **options).fit(*TWO_WINES)
        scores = model.validation_scores_
        assert model.n_iter_ == len(scores) < 3000
        assert model.best_loss_ is None
        assert model.best_validation_score_ == max(scores)
        assert model.best_validation_score_ + 0.2 > max(scores[-2:])
        plain = kind(early_stopping=False, **options).fit(*TWO_WINES)
        assert plain.validation_scores_ is plain.best_validation_score_ is plain.validation_curve_ is None
        assert plain.best_loss_ == min(plain.loss_curve_)

    def test_early_stopping_keeps_the_class_proportions(self):
        with pytest.raises(ValueError, match="least populated class"):
            classifier(early_stopping=True).fit([[1, 2], [2, 3], [3, 4], [4, 5]], [0, 0, 0, 1])

    @quietly
    def test_early_stopping_on_text_marks_and_one_class(self):
        names = np.asarray(["red", "rosé", "white"], dtype=object)[WINE[1]]
        assert np.all(np.isfinite(classifier(early_stopping=True, max_iter=15).fit(WINE[0], names).validation_scores_))
        model = classifier(early_stopping=True, max_iter=15).fit(*MARKS)
        assert model.predict(MARKS[0]).shape == MARKS[1].shape
        frame = pd.DataFrame(WINE[0][:20, :2], columns=["acid", "sugar"])
        one_class = pd.Series(np.ones(20, dtype=int), name="class")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of names that were not passed on to the score
            warnings.simplefilter("ignore", ConvergenceWarning)
            for kind, y in ((MLPClassifier, one_class), (MLPRegressor, frame["acid"])):
                kind(early_stopping=True, validation_fraction=0.2, max_iter=3, device="cpu").fit(frame, y)


class TestResuming:
    @quietly
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_calls_of_partial_fit_are_one_fit(self, momentum):
        options = {"solver": "sgd", "momentum": momentum, "learning_rate_init": 0.01, "batch_size": 100_000}
        with pytest.warns(UserWarning, match="clipped"):
            whole = regressor(max_iter=60, tol=0.0, **options).fit(*DIABETES)
        part = regressor(**options)
        for _ in range(60):
            with pytest.warns(UserWarning, match="clipped"):
                part.partial_fit(*DIABETES)
        np.testing.assert_allclose(part.predict(DIABETES[0]), whole.predict(DIABETES[0]), rtol=1e-7, atol=1e-9)

    def test_calls_of_partial_fit_learn_classes(self):
        for X, y in (WINE, TWO_WINES):
            model = classifier(solver="sgd", learning_rate_init=0.2)
            for _ in range(50):
                model.partial_fit(X, y, classes=np.unique(y))
            assert model.score(X, y) > 0.95

    def test_a_class_can_appear_late(self):
        model = classifier().partial_fit([[1], [2], [3]], ["a", "b", "c"], classes=["a", "b", "c", "d"])
        model.partial_fit([[4]], ["d"])
        assert [*model.classes_] == ["a", "b", "c", "d"]
        assert model.predict_proba([[4]]).shape == (1, 4)

    def test_other_classes_than_before_are_refused(self):
        with pytest.raises(ValueError, match="classes not in"):
            classifier(solver="sgd").partial_fit([[3, 2], [1, 6]], [1, 0], classes=[2])
        model = classifier(solver="sgd").partial_fit([[3, 2]], [0], classes=[0, 1])
        with pytest.raises(ValueError, match="is not the same as on last call"):
            model.partial_fit([[3, 2]], [0], classes=[1, 2])

    def test_a_stored_model_learns_other_data(self, tmp_path):
        regressor(hidden_layer_sizes=(20,), learning_rate_init=0.01).fit([[2.0]], [4.0])
        joblib.dump(regressor(learning_rate_init=0.01).fit([[2.0]], [4.0]), tmp_path / "model.joblib")
        model = joblib.load(tmp_path / "model.joblib")
        for _ in range(250):
            model.partial_fit([[2.0]], [1.0])
        np.testing.assert_allclose(model.predict([[2.0]]), [1.0], rtol=1e-3)

    @quietly
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    @pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
    def test_a_warm_start_counts_its_own_iterations(self, kind, solver):
        model = kind(
            solver=solver, warm_start=True, max_iter=6, tol=1e-9, n_iter_no_change=np.inf, random_state=0, device="cpu"
        )
        assert model.fit(*WINE).n_iter_ == 6
        first = model.loss_
        with pytest.warns(ConvergenceWarning):
            assert model.set_params(max_iter=12).fit(*WINE).n_iter_ == 12
        assert model.loss_ < first
        assert len(model.loss_curve_) == 18

    @quietly
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_a_warm_start_with_early_stopping(self, kind):
        model = kind(max_iter=8, warm_start=True, early_stopping=True, random_state=0, device="cpu").fit(*WINE)
        best = model.best_validation_score_
        model.fit(*WINE)
        assert 8 < len(model.validation_scores_) <= 16
        assert model.best_validation_score_ == max(model.validation_scores_) >= best

    @quietly
    @pytest.mark.parametrize(
        "y", [WINE[1] % 2, WINE[1] * 2, np.arange(len(WINE[1])) % 4], ids=["two", "others", "four"]
    )
    def test_a_warm_start_with_other_classes_is_refused(self, y):
        model = classifier(2, max_iter=2, warm_start=True).fit(*WINE)
        message = f"same classes as in the previous call to fit. Previously got [0 1 2], `y` has {np.unique(y)}"
        with pytest.raises(ValueError, match=re.escape(message)):
            model.fit(WINE[0], y)

    @quietly
    @pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
    def test_partial_fit_after_early_stopping_is_refused(self, kind):
        model = kind(early_stopping=True, max_iter=5, random_state=0, device="cpu").fit(*WINE)
        with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
            model.partial_fit(*WINE)

    @quietly
    def test_a_warm_start_after_divergence_begins_with_a_clean_state(self):
        options = {"solver": "sgd", "early_stopping": True, "warm_start": True, "max_iter": 5}
        model = regressor(learning_rate_init=1e-3, **options).fit(*DIABETES)
        assert model.set_params(learning_rate_init=1e9).fit(*DIABETES).stop_reason_ == "diverged"
        model.set_params(learning_rate_init=1e-3).fit(*DIABETES)
        assert model.stop_reason_ == "epochs"
        assert np.all(np.isfinite(model.loss_curve_[-5:]))


class TestSeveralLabelsPerSample:
    def test_their_probabilities_are_independent(self):
        model = classifier(30, solver="lbfgs", max_iter=300).fit(*MARKS)
        probabilities = model.predict_proba(MARKS[0])
        np.testing.assert_array_equal(probabilities > 0.5, MARKS[1])
        assert np.ptp(probabilities.sum(axis=1)) > 0.5
        np.testing.assert_allclose(model.predict_log_proba(MARKS[0]), np.log(probabilities))
        assert model.score(*MARKS) == 1.0

    @quietly
    def test_partial_fit_without_classes_is_fit(self):
        """scikit-learn's issue #12505."""
        options = {"shuffle": False, "batch_size": 20, "learning_rate_init": 0.01}
        whole, part = classifier(8, max_iter=30, tol=0.0, **options).fit(*MARKS), classifier(8, **options)
        for _ in range(30):
            part.partial_fit(*MARKS)
        assert part.loss_curve_ == whole.loss_curve_
        np.testing.assert_array_equal(part.predict(MARKS[0]), whole.predict(MARKS[0]))
        np.testing.assert_array_equal(part.classes_, [0, 1, 2, 3])

    @pytest.mark.parametrize("classes", [[0, 1], range(5)])
    def test_classes_that_do_not_fit_the_columns(self, classes):
        with pytest.raises(ValueError, match=r"y marks 4 labels.* omit classes, or pass range\(4\)"):
            classifier().partial_fit(*MARKS, classes=classes)

    @quietly
    @pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, lambda y: y.tolist(), lambda y: y.astype(bool)])
    def test_marks_of_any_form(self, form):
        options = {"max_iter": 5}
        np.testing.assert_array_equal(
            classifier(8, **options).fit(MARKS[0], form(MARKS[1])).coefs_[0],
            classifier(8, **options).fit(*MARKS).coefs_[0],
        )


class TestSeveralTargetsPerSample:
    def test_lbfgs_learns_them(self):
        X, y = make_regression(150, 10, n_targets=4, random_state=1)
        model = regressor(hidden_layer_sizes=40, solver="lbfgs", max_iter=500, tol=1.0).fit(X, y)
        assert model.score(X, y) > 0.95
        assert model.predict(X).shape == (150, 4)

    @quietly
    def test_the_reported_loss_is_the_minimised_one(self):
        """scikit-learn's issue #8349: its loss is the mean over the outputs, its derivative that of the sum."""
        X, y = make_regression(40, 3, n_targets=3, random_state=0)
        y = y / 50.0
        options = {"hidden_layer_sizes": (4,), "activation": "tanh", "alpha": 0.3, "solver": "sgd", "momentum": 0.0}
        rate, width = 1e-3, 1e-5
        model = regressor(max_iter=1, learning_rate_init=rate, **options).fit(X, y)
        start = regressor(max_iter=1, learning_rate_init=1e-300, **options).fit(X, y)

        def loss_with(i, j, change):
            start.coefs_[0][i, j] += change
            penalty = 0.5 * 0.3 * sum(np.sum(w**2) for w in start.coefs_) / len(X)
            loss = 0.5 * np.sum((start.predict(X) - y) ** 2) / len(X) + penalty
            start.coefs_[0][i, j] -= change
            return loss

        np.testing.assert_allclose(model.loss_, loss_with(0, 0, 0.0), rtol=1e-12)
        for i, j in np.ndindex(3, 4):
            slope = (loss_with(i, j, width) - loss_with(i, j, -width)) / (2 * width)
            np.testing.assert_allclose((start.coefs_[0] - model.coefs_[0])[i, j] / rate, slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("y", [[-1.0, 2.0, 3.0, 4.0]])
def test_counts_below_zero_are_refused(y):
    with pytest.raises(ValueError, match="y must not be below 0 for loss='poisson', got -1"):
        regressor(loss="poisson").fit([[1.0], [2.0], [3.0], [4.0]], y)
