"""Trackers of experiments: with stand-ins, and with the real libraries where they are installed."""

import copy
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpubp import MLPClassifier, MLPRegressor
from gpubp.errors import DataError, GpubpError
from gpubp.training.callbacks import AUTOMATIC
from gpubp.training.tracking import MLflowLogger, TensorBoardLogger, WandbLogger, mlflow_autolog
from tests.callback_stand_ins import Tracker, Writer, X, fails, fit


class TestTensorBoardLogger:
    def test_writes_the_figures(self):
        writer = Writer()
        result = fit(TensorBoardLogger(writer), epochs=3)
        losses = [(value, step) for tag, value, step in writer.written if tag == "loss"]
        assert losses == list(zip(result.history.loss, (1, 2, 3), strict=True))
        assert {tag for tag, *_ in writer.written} == {"loss", "learning_rate", "samples_per_second"}
        assert not writer.closed  # it is the user's

    def test_a_folder_opens_a_writer_of_its_own(self, monkeypatch, tmp_path):
        module = ModuleType("tensorboardX")
        opened = []
        module.SummaryWriter = lambda folder: opened.append(Writer(folder)) or opened[-1]
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        monkeypatch.setitem(sys.modules, "tensorboardX", module)
        fit(TensorBoardLogger(tmp_path / "logs", every=2), epochs=4)
        (writer,) = opened
        assert writer.folder == str(tmp_path / "logs")
        assert {step for _, _, step in writer.written} == {2, 4}
        assert writer.closed

    def test_an_error_closes_a_writer_of_its_own(self, monkeypatch, tmp_path):
        module, opened = ModuleType("tensorboardX"), []
        module.SummaryWriter = lambda folder: opened.append(Writer(folder)) or opened[-1]
        monkeypatch.setitem(sys.modules, "tensorboardX", module)
        with pytest.raises(RuntimeError, match="no"):
            fit([TensorBoardLogger(tmp_path), fails], epochs=1)
        assert opened[0].closed

    def test_without_a_writer(self, monkeypatch, tmp_path):
        for name in ("torch.utils.tensorboard", "tensorboardX"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(GpubpError, match="pip install tensorboardX"):
            fit(TensorBoardLogger(tmp_path), epochs=1)
        with pytest.raises(DataError, match="writer must be a folder or have add_scalar, got int"):
            TensorBoardLogger(7)

    def test_the_real_one(self, tmp_path):
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        pytest.importorskip("torch.utils.tensorboard", reason="PyTorch is not installed")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        result = fit(TensorBoardLogger(tmp_path), epochs=3)
        events = EventAccumulator(str(tmp_path))
        events.Reload()
        logged = [(event.step, event.value) for event in events.Scalars("loss")]
        assert [step for step, _ in logged] == [1, 2, 3]
        np.testing.assert_allclose([value for _, value in logged], result.history.loss, rtol=1e-6)


class TrackerOfThreads(Tracker):
    """A stand-in whose active run is that of the thread, as MLflow's is."""

    def __init__(self):
        self.of_thread = threading.local()
        super().__init__()

    @property
    def active(self):
        return getattr(self.of_thread, "active", None)

    @active.setter
    def active(self, run):
        self.of_thread.active = run


class TestMLflowLogger:
    def test_a_run_of_its_own(self):
        tracker = Tracker()
        result = fit(MLflowLogger(tracker, params={"data": "made up"}), epochs=3)
        (run,) = tracker.runs
        assert run.params == {
            **{"epochs": 3, "device": "cpu", "network": "3-4-2", "activation": "tanh, identity"},
            **{"loss_function": "squared", "n_parameters": 26, "data": "made up"},
            **{"optimizer": "momentum", "learning_rate": 0.05, "momentum": 0.9, "batch_size": "full"},
            **{"shuffle": True, "drop_last": False, "gradient_accumulation": 1, "reduction": "mean"},
            **{"l2": 0.0, "dropout": 0.0, "seed": 1},
        }
        assert [(step, metrics["loss"]) for step, metrics in run.metrics] == list(enumerate(result.history.loss, 1))
        assert (run.tags, run.end) == ({"stop_reason": "epochs"}, "FINISHED")

    def test_the_parameters_of_an_estimator_are_logged_and_a_diverged_training_has_failed(self):
        tracker = Tracker()
        options = {"callbacks": MLflowLogger(tracker), "random_state": 0, "max_iter": 20, "tol": 1.0}
        model = MLPRegressor(hidden_layer_sizes=(3,), alpha=0.25, solver="sgd", **options).fit(X, X[:, 0])
        with pytest.raises(ValueError, match="non-finite"):
            model.set_params(learning_rate_init=1e200).fit(X, X[:, 0])
        run, diverged = tracker.runs
        for name, value in {"alpha": 0.25, "solver": "sgd", "batch_size": "auto", "network": "3-3-1"}.items():
            assert run.params[name] == value
        assert "callbacks" not in run.params
        assert (run.end, diverged.end) == ("FINISHED", "FAILED")
        assert diverged.params["learning_rate_init"] == 1e200

    def test_the_run_of_the_user_stays_active_and_its_parameters_are_logged_once(self):
        tracker = Tracker()
        run = tracker.start_run()
        logger = MLflowLogger(tracker)
        fit(logger, epochs=2)
        fit(logger, epochs=2)
        assert tracker.active is run
        assert [step for step, _ in run.metrics] == [1, 2, 1, 2]

    def test_after_an_error_the_next_training_has_a_new_run(self):
        tracker = Tracker()
        logger = MLflowLogger(tracker)
        with pytest.raises(RuntimeError, match="no"):
            fit([logger, fails], epochs=1)
        assert [run.end for run in tracker.runs] == ["FAILED"]
        fit(logger, epochs=1)
        assert [run.end for run in tracker.runs] == ["FAILED", "FINISHED"]

    def test_after_an_error_the_run_of_the_user_is_not_ended(self):
        tracker = Tracker()
        mlflow_autolog(tracker)
        try:
            with pytest.raises(RuntimeError, match="no"):
                fit(fails, epochs=1)
            tracker.end_run()
            run = tracker.start_run()
            fit((), epochs=2)
        finally:
            mlflow_autolog(disable=True)
        assert [run.end for run in tracker.runs] == ["FAILED", ""]
        assert tracker.active is run
        assert [step for step, _ in run.metrics] == [1, 2]

    def test_a_run_that_the_user_has_started_meanwhile_is_not_ended(self):
        tracker = Tracker()

        def starts_another(progress):
            tracker.end_run()
            tracker.start_run()
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            fit([MLflowLogger(tracker), starts_another], epochs=1)
        assert [run.end for run in tracker.runs] == ["FINISHED", ""]

    def test_autolog_in_threads_has_a_run_for_each_fit(self):
        tracker, both_train = TrackerOfThreads(), threading.Barrier(2, timeout=60)

        def meets(progress):
            both_train.wait()

        mlflow_autolog(tracker)
        try:
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(fit, meets, epochs=epochs) for epochs in (2, 2)]:
                    done.result()
        finally:
            mlflow_autolog(disable=True)
        assert [(len(run.metrics), run.end) for run in tracker.runs] == [(2, "FINISHED")] * 2

    def test_autolog_logs_the_parameters_of_a_run_once(self):
        tracker = Tracker()
        run = tracker.start_run()
        mlflow_autolog(tracker)
        try:
            fit((), epochs=1)
            fit((), epochs=2)
        finally:
            mlflow_autolog(disable=True)
        assert (run.params["epochs"], len(run.metrics)) == (1, 3)

    def test_autolog_logs_every_fit_and_can_be_disabled(self):
        tracker = Tracker()
        mlflow_autolog(tracker)
        try:
            fit((), epochs=2)
            with pytest.warns(UserWarning, match="reached"):
                MLPClassifier((3,), max_iter=3, device="cpu", random_state=0).fit(X, [0, 1] * 5 + [0])
        finally:
            mlflow_autolog(disable=True)
        fit((), epochs=2)
        assert [len(run.metrics) for run in tracker.runs] == [2, 3]
        assert [run.params["network"] for run in tracker.runs] == ["3-4-2", "3-3-1"]
        assert AUTOMATIC == {}

    def test_estimators_can_copy_it(self, monkeypatch):
        tracker, module = Tracker(), ModuleType("mlflow")
        for name in ("active_run", "start_run", "end_run", "log_params", "log_metrics", "set_tag"):
            setattr(module, name, getattr(tracker, name))
        monkeypatch.setitem(sys.modules, "mlflow", module)
        logger = MLflowLogger()
        fit(logger, epochs=1)
        assert len(tracker.runs) == 1
        assert copy.deepcopy(logger).params == logger.params

    def test_without_mlflow(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(GpubpError, match="pip install mlflow"):
            fit(MLflowLogger(), epochs=1)

    # MLflow 3.17 uses a strategy that SQLAlchemy 2.1 deprecates
    @pytest.mark.filterwarnings(r"ignore:The ``noload`` loader strategy:DeprecationWarning:mlflow\.store")
    def test_the_real_one(self, tmp_path):
        mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
        result = fit(MLflowLogger(), epochs=3)
        run = mlflow.last_active_run()
        assert run.info.status == "FINISHED"
        assert run.data.params["network"] == "3-4-2"
        assert run.data.metrics["loss"] == pytest.approx(result.history.loss[-1])
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
        assert [metric.step for metric in history] == [1, 2, 3]


class Config:
    """As that of a run of Weights & Biases, it refuses other values than before if it is not asked to take them."""

    def __init__(self):
        self.settings = {}

    def update(self, settings, allow_val_change=False):
        assert allow_val_change or not any(self.settings.get(name, value) != value for name, value in settings.items())
        self.settings.update(settings)


class TestWandbLogger:
    def test_figures_and_settings(self):
        logged, config = [], Config()
        result = fit(WandbLogger(SimpleNamespace(log=logged.append, config=config), every=2), epochs=4)
        assert [(values["epoch"], values["loss"]) for values in logged] == [
            (2, result.history.loss[1]),
            (4, result.history.loss[3]),
        ]
        assert (config.settings["network"], config.settings["epochs"]) == ("3-4-2", 4)

    def test_settings_repeat_a_run(self):
        config = Config()
        log = WandbLogger(SimpleNamespace(log=lambda figures: None, config=config))
        fit(log, epochs=1, l2=0.01, dropout=[0.0, 0.5], seed=7)
        assert [config.settings[name] for name in ("l2", "dropout", "seed")] == [0.01, "[0.0, 0.5]", 7]
        options = {"hidden_layer_sizes": (3, 2), "dropout": 0.25, "random_state": np.int64(5)}
        model = MLPRegressor(**options, max_iter=1, device="cpu", callbacks=[log])
        with pytest.warns(UserWarning, match="reached"):
            model.fit(X, X[:, 0])
        assert {name: config.settings[name] for name in options} == options | {"hidden_layer_sizes": "(3, 2)"}

    def test_a_run_can_hold_several_trainings(self):
        logged, config = [], Config()
        log = WandbLogger(SimpleNamespace(log=logged.append, config=config))
        for epochs in (2, 3):
            fit(log, epochs=epochs)
        assert [values["epoch"] for values in logged] == [1, 2, 1, 2, 3]
        assert config.settings["epochs"] == 3

    def test_a_run_needs_no_config(self):
        logged = []
        fit(WandbLogger(SimpleNamespace(log=logged.append)), epochs=2)
        assert [values["epoch"] for values in logged] == [1, 2]

    def test_what_is_no_run(self):
        with pytest.raises(DataError, match=r"run must have a function log, as what wandb\.init returns, got str"):
            WandbLogger("run")
