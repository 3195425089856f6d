"""What gpubp leaves to scikit-learn, the report, and what install and uninstall change."""

import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import threadpoolctl
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

import gpubp
import gpubp.accel
from gpubp.accel._child_processes import Settings
from gpubp.accel._methods import replace_methods
from gpubp.accel._on_import import ImportHook
from gpubp.accel._record import Computation, ComputationRecord, Totals
from gpubp.errors import DeviceError

X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 3}


@pytest.fixture(autouse=True)
def _calm():
    with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
    gpubp.accel.uninstall()


def rows(title):
    """Return the rows of a part of the report: the name of the computation, its calls, and the last column."""
    part = re.search(rf"^  {title}.*\n((?:    .*\n?)*)", gpubp.accel.report(), flags=re.MULTILINE)
    cells = [re.split(r"\s{2,}", row.strip()) for row in part[1].splitlines()] if part else []
    return [(name, int(calls), last) for name, calls, _, last in cells]


# --- what is left to scikit-learn ---


class OwnGradient(MLPClassifier):
    def _backprop(self, *args):
        self.calls_ = getattr(self, "calls_", 0) + 1
        return super()._backprop(*args)


class OwnName(MLPClassifier):
    """Changes nothing of the computation."""

    def fit(self, X, y):
        return super().fit(X, y)


def test_a_subclass_with_a_computation_of_its_own_is_trained_by_scikit_learn():
    gpubp.accel.install("cpu")
    model = OwnGradient(**SMALL).fit(X, Y)
    assert model.calls_ == 3
    assert rows("left to scikit-learn") == [("OwnGradient.fit", 1, "OwnGradient has a _backprop of its own")]
    assert rows("computed by gpubp") == []
    assert model.loss_ == pytest.approx(MLPClassifier(**SMALL).fit(X, Y).loss_)


def test_a_method_of_one_object_is_used_too():
    gpubp.accel.install("cpu")
    model = MLPClassifier(**SMALL, early_stopping=True)
    model._score = lambda X, y, sample_weight=None: 0.5
    assert model.fit(X, Y).validation_scores_ == [0.5, 0.5, 0.5]
    assert rows("left to scikit-learn") == [("MLPClassifier.fit", 1, "MLPClassifier has a _score of its own")]


def test_a_subclass_without_one_is_trained_by_gpubp():
    gpubp.accel.install("cpu")
    OwnName(**SMALL).fit(X, Y)
    assert rows("computed by gpubp") == [("OwnName.fit", 1, "cpu")]


def test_a_device_that_fails_leaves_the_fit_to_scikit_learn(monkeypatch):
    def fail(*args, **kwargs):
        args[1].random_state.uniform(size=9)  # draws, as a fit does before it fails
        raise DeviceError("out of memory")

    monkeypatch.setattr("gpubp.estimators.scikit_learn.run_fit", fail)
    gpubp.accel.install("cpu")
    model = MLPClassifier(**SMALL).fit(X, Y)
    assert rows("left to scikit-learn") == [("MLPClassifier.fit", 1, "out of memory")]
    gpubp.accel.uninstall()
    assert model.loss_curve_ == MLPClassifier(**SMALL).fit(X, Y).loss_curve_


def test_several_numbers_are_left_to_scikit_learn():
    gpubp.accel.install("cpu")
    MLPRegressor(**SMALL).fit(X[:, :2], X[:, 2:])
    ((name, calls, reason),) = rows("left to scikit-learn")
    assert (name, calls) == ("MLPRegressor.fit", 1)
    assert "reports the mean" in reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": "newton"}, "The 'solver' parameter of MLPClassifier"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be > 0"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "test_size|validation set is too small|least"),
        ({"solver": "sgd", "learning_rate_init": 1e200}, "non-finite parameter weights"),
    ],
)
def test_errors_are_those_of_scikit_learn(change, message):
    gpubp.accel.install("cpu")
    model = MLPClassifier(**SMALL | change)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


def test_what_a_user_has_done_to_the_weights_is_seen_by_scikit_learn():
    model = MLPClassifier(**SMALL).fit(X, Y)
    model.coefs_[0] = model.coefs_[0][:, :4]
    with pytest.raises(ValueError, match=r"shape|operands|mismatch"):
        model.predict(np.repeat(X, 10, axis=0))


def test_a_warning_that_is_an_error_leaves_a_fitted_model():
    gpubp.accel.install("cpu")
    model = MLPClassifier(**SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(3\)"):
            model.fit(X, Y)
    assert len(model.loss_curve_) == model.n_iter_ == 3
    assert model.loss_curve_ == MLPClassifier(**SMALL).fit(X, Y).loss_curve_


def test_a_filter_of_scikit_learns_warnings_holds():
    gpubp.accel.install("cpu")
    with pytest.warns(ConvergenceWarning, match="Maximum iterations") as found:
        MLPClassifier(**SMALL).fit(X, Y)
    assert [warning.filename for warning in found] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module=r"sklearn\.neural_network")
        MLPClassifier(**SMALL).fit(X, Y)


# --- the report ---


def test_report_without_a_comparison_says_that_no_time_was_compared():
    gpubp.accel.install("cpu")
    model = MLPClassifier(**SMALL)
    for _ in range(2):
        model.fit(X, Y)
    model.partial_fit(X, Y)
    assert rows("computed by gpubp") == [("MLPClassifier.fit", 2, "cpu"), ("MLPClassifier.partial_fit", 1, "cpu")]
    assert "time saved: not measured" in gpubp.accel.report()
    gpubp.accel.uninstall()
    assert len(rows("computed by gpubp")) == 2


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)], ids=["number", "generator"])
def test_a_comparison_changes_nothing(random_state, capsys):
    options = SMALL | {"verbose": True}
    state = random_state if isinstance(random_state, int) else np.random.RandomState(0)
    gpubp.accel.install("cpu", compare=True)
    models = [MLPClassifier(**options | {"random_state": random_state}).fit(X, Y) for _ in range(2)]
    printed = capsys.readouterr().out
    assert re.search(r"time (saved|lost): [\d.]+ s; scikit-learn took [\d.]+ s for the same", gpubp.accel.report())
    gpubp.accel.install("cpu")
    expected = [MLPClassifier(**options | {"random_state": state}).fit(X, Y) for _ in range(2)]
    assert [model.loss_curve_ for model in models] == [model.loss_curve_ for model in expected]
    assert capsys.readouterr().out == printed


def test_the_time_saved_is_the_difference_of_what_was_measured():
    record = ComputationRecord.of_a_main_process()
    record.add(Computation("MLPClassifier", "fit", "cpu"), Totals(1, 2.0, 1, 2.0, 9.5))
    record.add(Computation("MLPClassifier", "fit", "cpu"), Totals(1, 4.0))  # not compared
    record.add(Computation("MLPRegressor", "fit", reason="a\nreason"), Totals(1, 100.0))
    text = gpubp.accel._report.write_report(record.collect())
    assert "time saved: 7.500 s; scikit-learn took 9.500 s for the same, gpubp 2.000 s" in text
    assert re.search(r"MLPClassifier\.fit +2 +6\.000 +cpu\n", text)
    assert len(text.splitlines()) == 6
    record.add(Computation("MLPClassifier", "fit", "cpu"), Totals(1, 8.0, 1, 8.0, 0.25))
    assert "time lost: 0.250 s" in gpubp.accel._report.write_report(record.collect())


def test_a_record_takes_in_what_other_processes_write():
    record = ComputationRecord.of_a_main_process()
    child = ComputationRecord.of_a_child_process(record.folder)
    for _ in range(3):
        child.add(Computation("MLPClassifier", "fit", "cpu"), Totals(1, 0.5))
    (totals,) = record.collect().values()
    assert (totals.calls, totals.seconds, totals.elsewhere) == (3, 1.5, 3)
    assert record.collect() == {Computation("MLPClassifier", "fit", "cpu"): totals}  # and no line twice
    record.remove_folder()
    child.add(Computation("MLPClassifier", "fit", "cpu"), Totals(1, 0.5))
    assert record.collect() == {}


# --- install and uninstall ---


def test_uninstall_restores_methods_and_environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["first", "second"]))
    before = [vars(MLPClassifier.__mro__[2])[name] for name in ("_fit_stochastic", "_fit_lbfgs", "_forward_pass_fast")]
    for _ in range(2):  # a second call replaces the first
        gpubp.accel.install("cpu")
    assert os.environ["PYTHONPATH"].split(os.pathsep)[1:] == ["first", "second"]
    assert Settings.left().device == "cpu"
    gpubp.accel.uninstall()
    after = [vars(MLPClassifier.__mro__[2])[name] for name in ("_fit_stochastic", "_fit_lbfgs", "_forward_pass_fast")]
    assert before == after
    assert os.environ["PYTHONPATH"].split(os.pathsep) == ["first", "second"]
    assert Settings.left() is None


def test_a_device_that_cannot_be_used_is_an_error_and_nothing_is_replaced():
    before = MLPClassifier._fit_stochastic
    with pytest.raises(DeviceError):
        gpubp.accel.install("no_such_device")
    assert MLPClassifier._fit_stochastic is before


def test_an_extension_of_ipython_prints_the_report_when_it_is_unloaded(capsys, monkeypatch):
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    gpubp.accel.load_ipython_extension(None)
    MLPClassifier(**SMALL).fit(X, Y)
    gpubp.accel.unload_ipython_extension(None)
    assert re.search(r"MLPClassifier\.fit +1 ", capsys.readouterr().err)


def test_a_module_that_is_imported_later_is_seen(tmp_path, monkeypatch):
    (tmp_path / "imported_late.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    hook = ImportHook("imported_late", lambda module: found.append(module.value) or found.clear)
    import imported_late

    assert found == [1]
    assert hook not in sys.meta_path
    hook.remove()
    assert found == []
    assert imported_late.value == 1
    waiting = ImportHook("never_imported", lambda module: None)
    waiting.remove()
    assert waiting not in sys.meta_path


def test_the_hidden_sitecustomize_of_an_environment_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.from_the_environment = True\n")
    gpubp.accel.install("cpu")
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path), os.path.dirname(os.path.dirname(gpubp.__file__))])
    code = (
        "import sys, json, sitecustomize; from sklearn.neural_network import MLPClassifier as C; "
        "print(json.dumps([sys.from_the_environment, hasattr(C._fit_lbfgs, '__wrapped__'), sitecustomize.__file__, "
        "[path for path in sys.path if 'startup' in path]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [True, True, str(tmp_path / "sitecustomize.py"), []]


def test_an_unknown_version_of_scikit_learn_is_left_alone():
    class Module:
        class BaseMultilayerPerceptron:
            pass

    with pytest.warns(RuntimeWarning, match="does not know this version"):
        replace_methods(Module, "cpu", False, ComputationRecord())()
