"""The picture and the report of a fit."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from gpubp import LossCurveDisplay, MLPClassifier, MLPRegressor
from gpubp.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

generator = np.random.default_rng(0)
X = generator.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def fitted(**parameters):
    return MLPClassifier((4,), **{"max_iter": 6, "random_state": 0, "device": "cpu", **parameters}).fit(X, Y)


class TestLossCurve:
    def test_draws_the_loss_of_each_epoch(self):
        model = fitted()
        display = model.plot_loss_curve()
        assert isinstance(display, LossCurveDisplay)
        [line] = display.lines_
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 7))
        np.testing.assert_array_equal(line.get_ydata(), model.loss_curve_)
        assert display.ax_.get_title() == "MLPClassifier"
        assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Epoch", "Loss")
        assert display.ax_.get_yscale() == "linear"

    def test_draws_the_validation_curve_and_the_epoch_kept(self):
        model = fitted(early_stopping=True, validation_fraction=0.3)
        training, validation, kept = LossCurveDisplay.from_estimator(model).lines_
        np.testing.assert_array_equal(validation.get_ydata(), model.validation_curve_)
        assert kept.get_xdata()[0] == np.argmax(model.validation_scores_) + 1
        assert len(training.get_ydata()) == len(model.loss_curve_)
        assert len({line.get_linestyle() for line in (training, validation, kept)}) == 3  # told apart without colour

    def test_axes_name_scale_and_style_can_be_passed(self):
        _, ax = plt.subplots()
        display = LossCurveDisplay.from_estimator(fitted(), ax=ax, name="mine", log=True, c="red")
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert (ax.get_title(), ax.get_yscale(), display.lines_[0].get_color()) == ("mine", "log", "red")

    def test_lbfgs_counts_iterations(self):
        display = fitted(solver="lbfgs").plot_loss_curve()
        assert display.ax_.get_xlabel() == "Iteration"
        assert len(display.lines_[0].get_ydata()) == 6

    def test_scikit_learns_model_and_plain_curves(self):
        sklearn_model = sklearn.neural_network.MLPClassifier((4,), max_iter=6, random_state=0, early_stopping=True).fit(
            X, Y
        )
        training, kept = LossCurveDisplay.from_estimator(sklearn_model).lines_
        np.testing.assert_array_equal(training.get_ydata(), sklearn_model.loss_curve_)
        assert kept.get_xdata()[0] == np.argmax(sklearn_model.validation_scores_) + 1
        [line] = LossCurveDisplay([3.0, 2.0]).plot().lines_
        np.testing.assert_array_equal(line.get_ydata(), [3.0, 2.0])

    def test_a_model_that_is_not_fitted(self):
        with pytest.raises(NotFittedError):
            MLPRegressor().plot_loss_curve()

    def test_a_model_without_a_loss_curve(self):
        with pytest.raises(DataError, match=r"needs a model with loss_curve_.* got LinearRegression"):
            LossCurveDisplay.from_estimator(LinearRegression().fit(X, Y))

    def test_matplotlib_is_imported_only_to_draw(self):
        script = "import sys, gpubp; gpubp.MLPClassifier; gpubp.LossCurveDisplay; sys.exit('matplotlib' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class TestReport:
    def test_describes_the_model_and_the_fit(self):
        model = fitted(alpha=0.25)
        text = model.report()
        for part in ("MLPClassifier: 3-4-1, 21 parameters", "relu; logistic at the output", "adam", "alpha=0.25"):
            assert part in text
        assert "6 epochs in" in text
        assert f"last {model.loss_curve_[-1]:.4g}" in text
        assert "max_iter was reached" in text
        assert "raise max_iter" in text
        assert "validation" not in text

    @pytest.mark.parametrize(
        ("x_scale", "y_scale", "advice"),
        [
            (1.0, 1.0, ""),
            (0.01, 100.0, "scale X (StandardScaler) and y (TransformedTargetRegressor)"),
            (1.0, 0.01, "scale y (TransformedTargetRegressor)"),
            (100.0, 1.0, "scale X (StandardScaler)"),
        ],
    )
    def test_advises_to_scale_what_is_far_from_1(self, x_scale, y_scale, advice):
        model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, device="cpu")
        with pytest.warns(ConvergenceWarning) as caught:
            model.fit(X * x_scale, X[:, 0] * y_scale)
        assert str(caught[0].message).endswith(f"You might also want to {advice}." if advice else "converged yet.")
        assert f"converged: {advice}{', and ' * bool(advice)}raise max_iter" in model.report()

    def test_contains_the_score_on_held_out_samples(self):
        model = fitted(early_stopping=True, validation_fraction=0.3)
        assert f"best {model.best_validation_score_:.4g}" in model.report()

    def test_advises_against_overfitting(self):
        model = fitted(max_iter=3)
        model.validation_curve_, model.validation_scores_ = [1.0, 0.5, 0.9], [0.1, 0.2, 0.3]
        assert "early_stopping=True" in model.report()
        model.validation_curve_ = [1.0, 0.5, 0.5]
        assert "early_stopping=True" not in model.report()

    def test_lbfgs_and_a_regressor(self):
        model = MLPRegressor(
            hidden_layer_sizes=(4, 2), activation=("tanh", "relu"), solver="lbfgs", max_iter=500, tol=0.1, device="cpu"
        )
        text = model.fit(X, X[:, 0]).report()
        assert "iterations in" in text
        assert "tanh, relu; identity" in text
        assert "the solver converged" in text
        assert "advice" not in text

    def test_a_model_that_is_not_fitted(self):
        with pytest.raises(NotFittedError):
            MLPClassifier().report()


class TestNotebook:
    def test_shows_what_was_set_and_whether_it_is_fitted(self):
        model = MLPClassifier((4,), dropout=0.25, class_weight="balanced", max_iter=2, device="cpu")
        before, after = model._repr_html_(), model.fit(X, Y)._repr_html_()
        for html in (before, after):
            assert "dropout" in html
            assert "balanced" in html
            assert "MLPClassifier" in html
        assert "<span>Not fitted</span>" in before
        assert "<span>Fitted</span>" in after
        assert {*model._repr_mimebundle_()} == {"text/plain", "text/html"}

    def test_in_a_pipeline(self):
        assert "MLPRegressor" in make_pipeline(StandardScaler(), MLPRegressor())._repr_html_()


@pytest.mark.parametrize(("early_stopping", "monitored"), [(False, "the loss"), (True, "the validation score")])
def test_the_report_names_what_did_not_improve(early_stopping, monitored):
    model = MLPClassifier((5,), max_iter=50, tol=10.0, early_stopping=early_stopping, random_state=0, device="cpu")
    X = np.random.default_rng(0).normal(size=(60, 3))
    text = model.fit(X, X[:, 0] > 0).report()
    assert f"it ended because {monitored} stopped improving" in text
