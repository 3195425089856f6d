"""Epochs that are not observed are run together in one call, with the same results."""

import contextlib
import copy
import itertools
import math

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend
from gpubp.engine import cpu
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.errors import DivergenceWarning
from gpubp.estimators import MLPClassifier
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, adam, momentum
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.optim.second_order import lbfgs
from gpubp.training import batched_epochs, loop
from gpubp.training import epochs as epoch_module
from gpubp.training.fit import train
from gpubp.training.plan import Plan
from tests.compiled_engine import needs_engine

pytestmark = pytest.mark.once

BACKEND = choose_backend("cpu")
NETWORK = Network((3, 4, 2), activation="tanh")


def samples(n_samples=11, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, 3)), rng.uniform(size=(n_samples, 2))


@pytest.fixture
def epochs_per_call(epochs_per_call, monkeypatch):
    """Record the number of epochs of each call; an epoch takes a microsecond on the fake clock."""
    monkeypatch.setattr(batched_epochs.BatchedEpochs, "record_duration", lambda self, _: setattr(self, "seconds", 1e-6))
    monkeypatch.setattr(batched_epochs, "SECONDS_AT_RISK", 0.0)
    no_time = property(lambda self: 0.0, lambda self, seconds: None)
    monkeypatch.setattr(batched_epochs.BatchedEpochs, "seconds_to_record", no_time, raising=False)
    return epochs_per_call


def with_and_without_batching(monkeypatch, *, epochs=150, **options):
    """Return a fit with epochs run together, and one without."""
    fits = []
    for seconds in (batched_epochs.SECONDS_PER_CALL, 0.0):
        monkeypatch.setattr(batched_epochs, "SECONDS_PER_CALL", seconds)
        optimizer = options.get("optimizer") or momentum(0.05)
        arguments = (
            {"batch_size": "full", "dtype": "float64", "device": "cpu", "seed": 1} | options | {"optimizer": optimizer}
        )
        fits.append(train(NETWORK, *samples(), epochs=epochs, **arguments))
    return fits


def assert_same(one, other):
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(np.asarray(one.history.loss), np.asarray(other.history.loss))
    assert [type(error) for error in one.history.loss] == [type(error) for error in other.history.loss]
    assert (one.stop_reason, one.best_epoch) == (other.stop_reason, other.best_epoch)
    np.testing.assert_array_equal(one.diverged, other.diverged)
    seconds = one.history.seconds
    assert len(seconds) == len(one.history.loss)
    assert all(np.diff([0.0, *seconds]) >= 0.0)


@pytest.mark.usefixtures("form")
class TestTogether:
    @pytest.mark.parametrize("seed", [1, (1, 2, 3)])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"optimizer": adam()},
            {"optimizer": momentum(learning_rate=PiecewiseConstant({0: 0.1, 20: 0.05, 66.5: 0.02}))},
            {"batch_size": 4, "shuffle": False},
            {"reduction": "sum", "l2": 0.1, "sample_weight": np.arange(11.0), "optimizer": momentum(0.001)},
            {"batch_size": 3, "shuffle": False, "sample_weight": np.arange(11.0)},
        ],
        ids=["full", "adam", "schedule", "batches", "sum", "weighed"],
    )
    def test_results_are_the_same(self, monkeypatch, epochs_per_call, options, seed):
        assert_same(*with_and_without_batching(monkeypatch, seed=seed, **options))
        assert epochs_per_call[:5] == [1, 128, 16, 1, 1]  # the last one is observed
        assert sum(epochs_per_call) == 2 * 150
        assert epochs_per_call[-150:] == [1] * 150

    def test_the_number_of_epochs_is_as_requested(self, monkeypatch, epochs_per_call):
        one, other = with_and_without_batching(monkeypatch, epochs=129)
        assert_same(one, other)
        assert len(one.history.loss) == 129
        assert epochs_per_call[1] == 64

    def test_no_history_if_not_requested(self, monkeypatch, epochs_per_call):
        one, other = with_and_without_batching(monkeypatch, history=False)
        np.testing.assert_array_equal(one.theta, other.theta)
        assert epochs_per_call[1] > 1
        assert one.history.loss == other.history.loss == []

    @pytest.mark.parametrize("patience", [10, 40])
    def test_patience_ends_where_it_would(self, monkeypatch, epochs_per_call, patience):
        one, other = with_and_without_batching(monkeypatch, epochs=3000, patience=patience, tolerance=1e-4)
        assert_same(one, other)
        assert one.stop_reason == "patience"
        assert max(epochs_per_call) == (8 if patience == 10 else 32)

    @pytest.mark.parametrize("patience", [1, 10, 40])
    def test_patience_ends_training_within_a_call(self, monkeypatch, epochs_per_call, patience):
        monkeypatch.setattr(batched_epochs, "SECONDS_AT_RISK", 1.0)
        one, other = with_and_without_batching(monkeypatch, epochs=3000, patience=patience, tolerance=1e-4)
        assert_same(one, other)
        assert one.stop_reason == "patience"
        assert max(epochs_per_call) == 2048  # of which most are not wanted

    def test_divergence_goes_back_and_continues_singly(self, monkeypatch, epochs_per_call):
        with pytest.warns(DivergenceWarning):
            one, other = with_and_without_batching(monkeypatch, optimizer=momentum(3.0), epochs=3000)
        assert_same(one, other)
        assert one.stop_reason == "diverged"
        assert epochs_per_call[1] > len(one.history.loss)  # it went on past the divergence

    def test_one_network_of_a_stack_can_diverge(self, monkeypatch, epochs_per_call):
        rates = np.asarray([[0.01], [9.0], [0.02]])
        with pytest.warns(DivergenceWarning):
            one, other = with_and_without_batching(monkeypatch, optimizer=momentum(rates), seed=(1, 2, 3), epochs=1000)
        assert_same(one, other)
        np.testing.assert_array_equal(one.diverged, [False, True, False])

    def test_interrupted_keeps_the_last_recorded_epoch(self, monkeypatch, epochs_per_call):
        run_epoch = epoch_module.train_on_batches

        def interrupted(plan, position, batches):
            result = run_epoch(plan, position, batches)
            if len(epochs_per_call) == 4:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(epoch_module, "train_on_batches", interrupted)
        arguments = {"batch_size": "full", "device": "cpu", "dtype": "float64", "optimizer": adam()}
        fit = train(NETWORK, *samples(), epochs=5000, **arguments)
        done = sum(epochs_per_call[:3])
        assert (fit.stop_reason, fit.best_epoch, len(fit.history.loss)) == ("interrupted", done, done)
        np.testing.assert_array_equal(fit.theta, train(NETWORK, *samples(), epochs=done, **arguments).theta)


@needs_engine
class TestWatched:
    """Callbacks see each epoch after several are trained in one call, as if they had been trained one by one."""

    @pytest.fixture(autouse=True)
    def compiled(self, monkeypatch):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "always")

    @pytest.mark.parametrize("seed", [1, (1, 2, 3)], ids=["one", "stack"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"batch_size": 4, "optimizer": adam()},
            {"optimizer": momentum(PiecewiseConstant({0: 0.1, 20: 0.02}))},
            {"patience": 40, "tolerance": 1e-4},
        ],
        ids=["full", "batches", "schedule", "patience"],
    )
    def test_callbacks_see_the_same(self, monkeypatch, epochs_per_call, options, seed):
        seen = []

        def note(progress):
            theta, others = progress.theta.copy(), progress._replace(theta=None, samples_per_second=None)
            seen.append((theta, np.asarray(others.loss), others._replace(loss=None)))

        one, other = with_and_without_batching(monkeypatch, seed=seed, callbacks=[note], **options)
        assert_same(one, other)
        n_epochs = len(one.history.loss)
        assert max(epochs_per_call) >= 32
        assert [epoch.epoch for *_, epoch in seen] == 2 * list(range(1, n_epochs + 1))
        for (theta, loss, rest), (other_theta, other_loss, others) in zip(
            seen[:n_epochs], seen[n_epochs:], strict=True
        ):
            np.testing.assert_array_equal(theta, other_theta)
            np.testing.assert_array_equal(loss, other_loss)
            assert rest == others

    @pytest.mark.parametrize("last", [2, 50, 129, 130])  # epochs 2 to 129 are one call
    @pytest.mark.parametrize("ends", ["stops", "raises", "interrupts"])
    def test_a_run_that_a_callback_ends_continues_as_if_it_had_not(
        self, monkeypatch, epochs_per_call, tmp_path, last, ends
    ):
        def end(progress):
            if progress.epoch == last and ends != "stops":
                raise {"raises": ZeroDivisionError, "interrupts": KeyboardInterrupt}[ends]
            return progress.epoch == last

        how = {"optimizer": adam(), "batch_size": 4, "device": "cpu", "seed": 1, "epochs": 200, "checkpoint": tmp_path}
        expected = train(NETWORK, *samples(), **how | {"checkpoint": None})
        epochs_per_call.clear()
        with contextlib.nullcontext() if ends != "raises" else pytest.raises(ZeroDivisionError):
            fit = train(NETWORK, *samples(), callbacks=[end], **how)
            assert fit.stop_reason == {"stops": "callback", "interrupts": "interrupted"}[ends]
            assert fit.history.loss == expected.history.loss[:last]
            alone = train(NETWORK, *samples(), **how | {"checkpoint": None, "epochs": last})
            np.testing.assert_array_equal(fit.theta, alone.theta)
        assert epochs_per_call[1] == 128
        resumed = train(NETWORK, *samples(), resume=True, **how)
        np.testing.assert_array_equal(resumed.theta, expected.theta)
        assert resumed.history.loss == expected.history.loss

    def test_memory_is_bounded(self, monkeypatch, epochs_per_call):
        monkeypatch.setattr(batched_epochs, "BYTES_OF_THETAS", 40 * 8 * NETWORK.n_parameters)
        with_and_without_batching(monkeypatch, callbacks=[lambda progress: None])
        assert max(epochs_per_call) == 32

    def test_callbacks_that_take_long_are_not_kept_waiting(self, monkeypatch, epochs_per_call):
        monkeypatch.delattr(batched_epochs.BatchedEpochs, "seconds_to_record")
        times = itertools.count(0.0, batched_epochs.SECONDS_PER_CALL / 20)
        monkeypatch.setattr(loop.time, "perf_counter", lambda: next(times))
        with_and_without_batching(monkeypatch, callbacks=[lambda progress: next(times) and None])
        assert max(epochs_per_call) <= 16

    def test_parameters_cannot_be_changed(self, epochs_per_call):
        def change(progress):
            if progress.epoch > 1:
                progress.theta[:] = 0.0

        with pytest.raises(ValueError, match="read-only"):
            train(NETWORK, *samples(), epochs=100, batch_size="full", device="cpu", callbacks=[change])


@needs_engine
class TestSeparateOrders:
    @pytest.fixture(autouse=True)
    def compiled(self, monkeypatch):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "always")

    @pytest.mark.parametrize("seed", [1, (1, 2, 3)], ids=["one", "stack"])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"optimizer": adam(), "sample_weight": np.arange(11.0)},
            {"optimizer": momentum(PiecewiseConstant({0: 0.1, 20.5: 0.02}))},
        ],
        ids=["momentum", "adam", "schedule"],
    )
    def test_results_are_the_same(self, monkeypatch, epochs_per_call, options, seed):
        assert_same(*with_and_without_batching(monkeypatch, batch_size=4, seed=seed, **options))
        assert epochs_per_call[:5] == [1, 128, 16, 1, 1]

    def test_divergence_continues_with_the_same_orders(self, monkeypatch, epochs_per_call):
        with pytest.warns(DivergenceWarning):
            one, other = with_and_without_batching(monkeypatch, batch_size=4, optimizer=momentum(3.0), epochs=3000)
        assert_same(one, other)
        assert epochs_per_call[1] > len(one.history.loss) > 1  # it went on past the divergence

    def test_patience_ends_where_it_would(self, monkeypatch, epochs_per_call):
        one, other = with_and_without_batching(monkeypatch, batch_size=4, epochs=3000, patience=10, tolerance=1e-4)
        assert_same(one, other)
        assert one.stop_reason == "patience"
        assert max(epochs_per_call) == 8

    @pytest.mark.parametrize(
        ("options", "together"),
        [
            ({}, True),
            ({"dropout": (0.1, 0.3)}, True),
            ({"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1}, True),
            ({"learning_rate": "cosine", "warm_up": 5}, True),
            ({"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}, False),
            ({"early_stopping": True}, False),
            ({"callbacks": lambda progress: False}, True),
            ({"callbacks": lambda progress: False, "random_state": np.random.RandomState(0)}, False),
            ({"callbacks": lambda progress: False, "learning_rate": lambda epoch: 0.01}, False),
            ({"callbacks": lambda progress: progress.epoch == 23}, True),
            ({"max_time": 60.0}, True),
            ({"verbose": True}, True),
            ({"n_iter_no_change": np.inf, "max_iter": 100}, True),
        ],
        ids=lambda of: ", ".join(of) or "default" if isinstance(of, dict) else "",
    )
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_of_estimators(self, monkeypatch, epochs_per_call, options, together):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
        fits, most = [], []
        for seconds, at_risk in ((0.05, 1.0), (0.05, 0.0), (0.0, 0.0)):
            monkeypatch.setattr(batched_epochs, "SECONDS_PER_CALL", seconds)
            monkeypatch.setattr(batched_epochs, "SECONDS_AT_RISK", at_risk)
            epochs_per_call.clear()
            arguments = {"max_iter": 400, "batch_size": 16, "random_state": 0, "tol": 1e-3, "n_iter_no_change": 15}
            fits.append(MLPClassifier((5,), device="cpu", **copy.deepcopy(arguments | options)).fit(X, y))
            most.append(max(epochs_per_call))
        assert [n > 1 for n in most] == [together, together, False]
        *others, one = fits
        for other in others:
            assert (one.n_iter_, one.t_, one.stop_reason_) == (other.n_iter_, other.t_, other.stop_reason_)
            assert one.loss_curve_ == other.loss_curve_
            parts = [(*fit.coefs_, *fit.intercepts_, *fit._optimizer.state) for fit in (one, other)]
            for part, other_part in zip(*parts, strict=True):
                np.testing.assert_array_equal(part, other_part)


def test_separate_orders_are_run_singly_on_the_plain_path(monkeypatch, epochs_per_call):
    monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "never")
    train(NETWORK, *samples(), epochs=30, batch_size=4, device="cpu")
    assert epochs_per_call == [1] * 30


class TestSingly:
    @pytest.mark.parametrize(
        "options",
        [
            {"callbacks": [lambda progress: None], "optimizer": momentum(lambda epoch: 0.05)},
            {"callbacks": [lambda progress: None], "seed": np.random.default_rng(0)},
            {"validation_data": samples(5)},
            {"stop_when": lambda targets, y: False},
            {"optimizer": lbfgs()},
            {"patience": 8},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_epochs_that_are_observed(self, epochs_per_call, options):
        arguments = {"batch_size": "full", "optimizer": momentum(0.05), "device": "cpu", "dtype": "float64"} | options
        fit = train(NETWORK, *samples(), epochs=30, **arguments)
        assert epochs_per_call == [1] * len(fit.history.loss)

    def test_epochs_that_take_long(self, monkeypatch, epochs_per_call):
        monkeypatch.setattr(
            batched_epochs.BatchedEpochs,
            "record_duration",
            lambda self, seconds: setattr(self, "seconds", batched_epochs.SECONDS_PER_CALL / 7),
        )
        train(NETWORK, *samples(), epochs=50, batch_size="full", device="cpu")
        assert epochs_per_call == [1] * 50

    def test_before_the_time_of_an_epoch_is_known(self):
        batched = batched_epochs.BatchedEpochs(Plan(BACKEND, None, None, 10**6), ModelState(None, ()))
        batches = ArrayBatches(BACKEND, Batch(*samples()), 99)
        assert batched._choose_n_epochs(Plan(BACKEND, None, None, 10**6), ModelState(None, ()), batches, 0) == (
            0,
            False,
        )
        assert batched.seconds == math.inf


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("order", [None, np.random.default_rng(0).permutation(11)], ids=["in order", "shuffled"])
def test_a_run_of_several_epochs_is_several_epochs(optimizer, order):
    optimizer, ends = OPTIMIZERS[optimizer](), []
    theta = initial_weights(NETWORK, 0, dtype="float64")
    for calls in ([3, 1, 2], [1] * 6):
        run_epoch = make_epoch_runner(BACKEND, Objective(NETWORK, l2=0.1), optimizer, "float64")
        position, reported, given = ModelState(theta, optimizer.init(np, theta)), [], Batch(*samples())
        for epochs in calls:
            reported.append(run_epoch(position, ArrayBatches(BACKEND, given, 4, order, epochs)))
            position.epoch += epochs
        ends.append(
            (position, [np.concatenate([getattr(one, name) for one in reported]) for name in reported[0]._fields[:3]])
        )
    (one, reported), (other, also_reported) = ends
    np.testing.assert_array_equal(one.theta, other.theta)
    for a, b in zip([*reported, *one.state], [*also_reported, *other.state], strict=True):
        np.testing.assert_array_equal(a, b)
