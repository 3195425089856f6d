"""Progress bars, early stopping, model files, learning rates; and what holds for trackers too."""

import copy
import io
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpubp import MLPClassifier, load_model, train
from gpubp.engine import cpu
from gpubp.errors import DataError
from gpubp.optim.first_order import adam, gradient_descent
from gpubp.training.callbacks import CSVLogger, figures
from gpubp.training.learning_rates import find_learning_rate
from gpubp.training.monitoring import EarlyStopping, ModelCheckpoint
from gpubp.training.progress_bar import ProgressBar
from gpubp.training.tracking import MLflowLogger, TensorBoardLogger, WandbLogger
from tests.callback_stand_ins import NETWORK, TARGETS, Bar, Tracker, Writer, X, epoch, fails, fit
from tests.interrupts import interrupt


def fails_in_epoch_5(progress):
    if progress.epoch == 5:
        fails(progress)


class TestFigures:
    def test_those_that_there_are(self):
        assert figures(epoch(1, score=0.5)) == {"loss": 0.5, "validation_score": 0.5, "samples_per_second": 1.0}

    def test_medians_of_a_stack(self):
        progress = epoch(1, loss=np.asarray([1.0, np.nan, 3.0]))
        assert figures(progress)["loss"] == 2.0


class TestProgressBar:
    def test_shows_every_epoch_and_closes(self):
        bars = []
        bar = ProgressBar(lambda n: bars.append(Bar(n)) or bars[-1])
        result = fit(bar, epochs=7, validation_data=(X, TARGETS))
        (shown,) = bars
        assert (shown.total, shown.n, shown.closed) == (7, 7, True)
        expected = f"loss {result.history.loss[-1]:.4g}, validation loss {result.history.validation_loss[-1]:.4g}"
        assert shown.texts[-1] == expected

    def test_a_resumed_run_begins_where_it_was(self, tmp_path):
        fit((), epochs=3, checkpoint=tmp_path)
        bars = []
        fit(ProgressBar(lambda n: bars.append(Bar(n)) or bars[-1]), epochs=5, checkpoint=tmp_path, resume=True)
        assert bars[0].n == 5

    def test_nothing_is_shown_elsewhere(self, capsys, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
        fit(ProgressBar(), epochs=2)
        assert capsys.readouterr().err == ""

    def test_rich_on_a_terminal(self, capsys, monkeypatch):
        pytest.importorskip("rich", reason="the extra 'cli' is not installed")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        fit(ProgressBar(), epochs=2)
        assert "2/2" in capsys.readouterr().err

    def test_an_error_gives_the_terminal_back(self, monkeypatch, capsys):
        pytest.importorskip("rich", reason="the extra 'cli' is not installed")
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich redirects stdout and hides the cursor only on a terminal
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        before = sys.stdout, sys.stderr
        with pytest.raises(DataError, match="'validation_loss' is monitored"):
            fit([ProgressBar(), EarlyStopping()], epochs=2)
        assert (sys.stdout, sys.stderr) == before
        shown = capsys.readouterr().err
        assert 0 <= shown.rfind("\x1b[?25l") < shown.rfind("\x1b[?25h")  # the cursor: hidden, then shown

    def test_an_error_leaves_the_last_epoch_on_the_bar(self):
        bars = []
        with pytest.raises(RuntimeError, match="no"):
            fit([ProgressBar(lambda n: bars.append(Bar(n)) or bars[-1]), fails_in_epoch_5], epochs=9)
        assert (bars[0].n, bars[0].closed) == (5, True)

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_an_error_in_an_estimator_closes_it(self, solver):
        bars = []
        bar = ProgressBar(lambda n: bars.append(Bar(n)) or bars[-1])
        model = MLPClassifier((3,), solver=solver, max_iter=5, device="cpu", random_state=0, callbacks=[bar, fails])
        with pytest.raises(RuntimeError, match="no"):
            model.fit(X, [0, 1] * 5 + [0])
        assert bars[0].closed

    @pytest.mark.parametrize("place", ["notebook", "notebook without widgets", "terminal"])
    def test_tqdm_in_a_notebook_and_without_rich(self, place, monkeypatch):
        made = []
        module = ModuleType("tqdm.notebook" if place == "notebook" else "tqdm")
        monkeypatch.setitem(sys.modules, "ipywidgets", ModuleType("ipywidgets") if place == "notebook" else None)
        module.tqdm = lambda total: made.append(Bar(total)) or made[-1]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        kernel = SimpleNamespace() if place == "terminal" else SimpleNamespace(kernel=1)
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setitem(sys.modules, "rich.console", None)
        if place == "notebook":
            monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(notebook=module))
        fit(ProgressBar(), epochs=3)
        assert [bar.n for bar in made] == [3]

    def test_the_real_tqdm(self):
        tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed")
        screen = io.StringIO()
        fit(ProgressBar(lambda n: tqdm.tqdm(total=n, file=screen)), epochs=6)
        assert "6/6" in screen.getvalue()
        assert "loss 0." in screen.getvalue()

    def test_without_either_library_training_is_as_usual(self, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        for name in ("rich.console", "tqdm"):
            monkeypatch.setitem(sys.modules, name, None)
        assert len(fit(ProgressBar(), epochs=2).history.loss) == 2


class TestEarlyStopping:
    def test_stops_after_the_epochs_without_improvement(self):
        stopping = EarlyStopping("loss", patience=3)
        losses = [5.0, 4.0, 4.0, 4.5, 3.9, 4.0, 4.0, 3.9, 1.0]
        ended = next(number for number, loss in enumerate(losses, 1) if stopping(epoch(number, loss)))
        assert (ended, stopping.best_epoch) == (8, 5)

    def test_a_score_is_to_grow_and_a_small_step_is_no_improvement(self):
        stopping = EarlyStopping("validation_score", patience=2, min_delta=0.1)
        assert [stopping(epoch(k, score=s)) for k, s in enumerate((0.5, 0.7, 0.75, 0.79), 1)] == [False] * 3 + [True]

    def test_nan_is_no_improvement(self):
        stopping = EarlyStopping("loss", patience=1)
        stopping(epoch(1))
        assert stopping(epoch(2, loss=float("nan")))

    def test_a_function_of_the_epoch(self):
        stopping = EarlyStopping(lambda progress: -float(np.sum(np.asarray(progress.theta) ** 2)), patience=2)
        result = fit(stopping, epochs=500)
        assert result.stop_reason in ("callback", "epochs")
        assert stopping.best_epoch > 0

    def test_in_an_estimator(self):
        model = MLPClassifier((3,), max_iter=300, device="cpu", random_state=0)
        model.set_params(callbacks=[EarlyStopping("loss", patience=1, min_delta=0.05)])
        model.fit(X, [0, 1] * 5 + [0])
        assert model.stop_reason_ == "callback"
        assert model.n_iter_ < 300

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"monitor": "los"}, r"unknown figure to monitor 'los' \(did you mean 'loss'\?\)"),
            ({"patience": 0}, "patience must be a whole number of at least 1, got 0"),
            ({"min_delta": -1.0}, "min_delta must be a finite number of at least 0, got -1.0"),
            ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ],
    )
    def test_faults(self, options, message):
        with pytest.raises(DataError, match=message):
            EarlyStopping(**options)

    def test_a_figure_that_there_is_not(self):
        with pytest.raises(DataError, match="'validation_loss' is monitored, but this training has only loss, "):
            fit(EarlyStopping(), epochs=1)


class TestModelCheckpoint:
    def test_keeps_the_best(self, tmp_path):
        best = ModelCheckpoint(tmp_path / "best.safetensors", lambda progress: -abs(progress.epoch - 4))
        fit(best, epochs=9)
        assert best.best_epoch == 4
        model = load_model(best.path)
        assert model.network == NETWORK
        np.testing.assert_array_equal(model.theta, fit((), epochs=4).theta)

    def test_a_file_for_each_epoch(self, tmp_path):
        fit(ModelCheckpoint(tmp_path / "at-{epoch}.safetensors", None, every=2), epochs=5)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["at-2.safetensors", "at-4.safetensors"]

    def test_of_an_estimator(self, tmp_path):
        best = ModelCheckpoint(tmp_path / "best.safetensors", "loss")
        model = MLPClassifier((3,), max_iter=5, device="cpu", random_state=0, callbacks=[best])
        with pytest.warns(UserWarning, match="reached"):
            model.fit(X, [0, 1] * 5 + [0])
        assert load_model(best.path).network.sizes == (3, 3, 1)
        assert best.best_epoch == 5

    @pytest.mark.parametrize(
        ("path", "options", "message"),
        [
            ("best.safetensors", {"every": 0}, "every must be a whole number of at least 1, got 0"),
            ("", {}, "path must be that of a file to write"),
            ("nowhere/{epoch}.safetensors", {}, "its folder does not exist"),
        ],
    )
    def test_faults(self, path, options, message, tmp_path):
        with pytest.raises(DataError, match=message):
            ModelCheckpoint(tmp_path / path, "loss", **options)

    def test_a_folder_that_is_gone_ends_the_training(self, tmp_path):
        best = ModelCheckpoint(tmp_path / "{epoch}" / "best.safetensors", "loss")
        with pytest.raises(OSError, match="best"):
            fit(best, epochs=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: ProgressBar(Bar),
        lambda folder: EarlyStopping("loss", patience=99),
        lambda folder: ModelCheckpoint(folder / "best.safetensors", "loss"),
        lambda folder: TensorBoardLogger(Writer()),
        lambda folder: MLflowLogger(Tracker()),
        lambda folder: WandbLogger(SimpleNamespace(log=lambda values: None)),
        lambda folder: CSVLogger(folder / "log.csv"),
    ],
    ids=["bar", "stopping", "checkpoint", "tensorboard", "mlflow", "wandb", "csv"],
)
@pytest.mark.parametrize("options", [{}, {"seed": (1, 2)}], ids=["one", "stack"])
def test_no_bit_of_the_result_changes(make, options, tmp_path):
    callback = make(tmp_path)
    watched, plain = fit(callback, epochs=5, **options), fit((), epochs=5, **options)
    np.testing.assert_array_equal(watched.theta, plain.theta)
    np.testing.assert_array_equal(watched.history.loss, plain.history.loss)
    copy.deepcopy(callback)  # as estimators are cloned


class TestFindLearningRate:
    RATES = (1e-6, 1e-2, 1e-1, 1e200)

    def test_the_losses_are_those_of_separate_fits(self):
        options = {"batch_size": 4, "device": "cpu", "dtype": "float64"}
        found = find_learning_rate(
            NETWORK, X, TARGETS, optimizer=gradient_descent, rates=self.RATES, epochs=3, seed=7, **options
        )
        for rate, loss in zip(self.RATES[:3], found.loss, strict=False):
            single = train(NETWORK, X, TARGETS, optimizer=gradient_descent(rate), epochs=3, seed=7, **options)
            assert loss == pytest.approx(single.history.loss[-1], rel=1e-12)
        assert np.isnan(found.loss[3])
        assert found.best == self.RATES[int(np.nanargmin(found.loss))] == 0.1

    def test_the_validation_loss_decides(self):
        options = {"validation_data": (X[:3], TARGETS[:3]), "device": "cpu", "dtype": "float64", "epochs": 2}
        found = find_learning_rate(NETWORK, X, TARGETS, rates=[0.01, 0.1], **options)
        single = train(NETWORK, X, TARGETS, optimizer=adam(0.1), seed=0, **options)
        assert found.loss[1] == pytest.approx(single.history.validation_loss[-1], rel=1e-12)

    def test_by_default_rates_of_six_decades(self):
        found = find_learning_rate(NETWORK, X, TARGETS, epochs=1, device="cpu")
        assert (len(found.rates), found.rates[0], found.rates[-1]) == (25, pytest.approx(1e-5), pytest.approx(10.0))

    def test_an_interrupt_in_the_first_epoch_is_no_divergence(self, monkeypatch):
        monkeypatch.setattr("gpubp.engine.epoch._step_by_step", interrupt)
        with cpu.in_array_calls(), pytest.raises(KeyboardInterrupt, match="before the first epoch ended"):
            find_learning_rate(NETWORK, X, TARGETS, epochs=1, device="cpu")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rates": [0.1, 0.0]}, r"rates must be finite numbers above 0, got \[0.1, 0.0\]"),
            ({"rates": []}, "rates must be finite numbers above 0"),
            ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
            ({"theta": np.zeros(26)}, "pass seed instead of theta"),
            ({"history": False}, "find_learning_rate takes no history"),
            ({"checkpoint": "folder", "resume": True}, "takes no checkpoint, resume"),
            ({"seed": (1, 2)}, r"seed must be one whole number of at least 0, got \(1, 2\)"),
            ({"rates": [1e300], "optimizer": gradient_descent, "batch_size": 1}, "diverged with every rate"),
            (
                {"rates": [1e200, 1e201], "optimizer": gradient_descent},
                "diverged with every rate from 1e.200 to 1e.201",
            ),
        ],
    )
    def test_faults(self, options, message):
        with pytest.raises(DataError, match=message):
            find_learning_rate(NETWORK, X, TARGETS, device="cpu", **options)
