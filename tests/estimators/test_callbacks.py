"""scikit-learn's callbacks, from its version 1.9: their arguments, their effects, and their propagation."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier
from gpubp.backends.backend import to_numpy
from tests.interrupts import interrupt_epoch

sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


def classifier(**options):
    return MLPClassifier((6,), **{"max_iter": 4, "random_state": 0, "device": "cpu", **options})


class Recorder:
    """Records its arguments; can stop the training or raise an error."""

    def __init__(self, stop_at=None, break_at=None):
        self.stop_at, self.break_at = stop_at, break_at
        self.reported, self.fitted, self.given, self.planned = [], [], [], []

    def setup(self, estimator, context):
        self.reported.append("setup")

    def teardown(self, estimator, context):
        self.reported.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.reported.append(f"begin {context.task_name}")
        self.given.append((X, y, metadata))
        if context.task_name == "fit":
            self.planned.append(context.max_subtasks)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.reported.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            self.fitted.append(fitted_estimator)
            if len(self.fitted) == self.break_at:
                raise ZeroDivisionError
            return len(self.fitted) == self.stop_at
        return None


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_order_of_the_calls(solver):
    recorder, weights = Recorder(), np.ones(150)
    classifier(solver=solver).set_callbacks(recorder).fit(X, Y, sample_weight=weights)
    epochs = ["begin epoch", "end epoch"] * 4
    assert recorder.reported == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert recorder.planned == [4]
    for x, y, metadata in recorder.given:
        assert x is X
        assert y is Y
        assert metadata["sample_weight"] is weights


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_the_model_of_each_epoch_predicts_as_of_then(solver):
    recorder = Recorder()
    model = classifier(solver=solver).set_callbacks(recorder).fit(X, Y)
    for n_epochs, fitted in enumerate(recorder.fitted, start=1):
        expected = classifier(solver=solver, max_iter=n_epochs).fit(X, Y)
        np.testing.assert_allclose(fitted.predict_proba(X), expected.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(recorder.fitted[-1].coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_can_stop_the_training(solver):
    model = classifier(solver=solver, max_iter=30).set_callbacks(Recorder(stop_at=2)).fit(X, Y)
    assert (model.n_iter_, model.stop_reason_) == (2, "callback")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_it_is_torn_down_if_the_fit_fails(solver):
    recorder = Recorder(break_at=2)
    with pytest.raises(ZeroDivisionError):
        classifier(solver=solver).set_callbacks(recorder).fit(X, Y)
    assert recorder.reported[-1] == "teardown"


def test_an_interrupted_epoch_is_ended():
    recorder = Recorder()
    with pytest.warns(UserWarning, match="interrupted"):
        classifier(callbacks=interrupt_epoch(2)).set_callbacks(recorder).fit(X, Y)
    assert recorder.reported.count("begin epoch") == recorder.reported.count("end epoch") == 2
    assert recorder.fitted[-1] is None


def test_a_call_of_partial_fit_is_one_epoch():
    recorder = Recorder()
    model = classifier().set_callbacks(recorder)
    for _ in range(2):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert recorder.reported == ["setup", "begin fit", "begin epoch", "end epoch", "end fit", "teardown"] * 2
    assert recorder.planned == [1, 1]


def test_without_callbacks_nothing_is_called(monkeypatch):
    monkeypatch.setattr(MLPClassifier, "_init_callback_context", None)
    assert classifier().fit(X, Y).n_iter_ == 4


def test_arrays_of_other_libraries_are_passed_on_unchanged():
    strict = pytest.importorskip("array_api_strict")
    recorder, x = Recorder(), strict.asarray(X)
    model = classifier(device="auto").set_callbacks(recorder).fit(x, Y)
    assert recorder.given[-1][0] is x
    np.testing.assert_array_equal(to_numpy(recorder.fitted[-1].predict(x)), to_numpy(model.predict(x)))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_scoring_monitor_logs_each_epoch(solver):
    monitor = sklearn_callback.ScoringMonitor(scoring="accuracy")
    model = classifier(solver=solver, max_iter=15).set_callbacks(monitor).fit(X, Y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 15
    assert len({*scores}) > 1
    assert scores[-1] == model.score(X, Y)


def test_a_progress_bar(capsys):
    pytest.importorskip("rich")
    classifier().set_callbacks(sklearn_callback.ProgressBar()).fit(X, Y)
    assert "MLPClassifier" in capsys.readouterr().out


@pytest.mark.parametrize("depth", [1, None])
def test_they_propagate_from_a_search_over_pipelines(capsys, depth):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), classifier())
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2)
    search.set_callbacks(sklearn_callback.ProgressBar(max_propagation_depth=depth)).fit(X, Y)
    printed = capsys.readouterr().out
    assert "GridSearchCV" in printed
    assert ("MLPClassifier" in printed) == (depth is None)
