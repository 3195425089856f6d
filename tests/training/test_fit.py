"""The training loop: batches, order, validation, stopping, history, callbacks, divergence, devices."""

from itertools import chain
from types import SimpleNamespace

import array_api_compat
import numpy as np
import pytest

from gpubp.backends import memory
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine import epoch as epoch_module
from gpubp.engine import prediction
from gpubp.engine.prediction import predict
from gpubp.errors import DataError, DivergenceWarning
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, gradient_descent, momentum
from gpubp.optim.schedules import PiecewiseConstant, WarmUp
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.optim.wrappers import clipped
from gpubp.training import loop
from gpubp.training.fit import all_correct, train
from tests.interrupts import interrupt_epoch

NETWORK = Network((3, 4, 2), activation="tanh")
X = np.random.default_rng(7).normal(size=(20, 3))
D = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
THETA = initial_weights(NETWORK, 0, dtype="float64")
STACK = initial_weights(NETWORK, [0, 1, 2], dtype="float64")


def fit(network=NETWORK, X=X, targets=D, **options):
    """Train on the CPU for a few epochs by default."""
    return train(network, X, targets, **({"device": "cpu", "epochs": 4, "optimizer": momentum(0.1, 0.5)} | options))


def on(device, array, dtype="float64"):
    return to_backend(choose_backend(device), array, dtype)


class Journal:
    """A callback that records its arguments."""

    def __init__(self, answer=lambda progress: None):
        self.seen, self.answer = [], answer

    def __call__(self, progress):
        self.seen.append(progress)
        return self.answer(progress)

    @property
    def thetas(self):
        return [to_numpy(progress.theta) for progress in self.seen]


@pytest.fixture
def batches_seen(monkeypatch):
    """Record every batch of the steps: its samples, and the epoch."""
    monkeypatch.setenv("GPUBP_COMPILED", "never")  # compiled code does not run single steps
    seen, make_step = [], epoch_module.make_step

    def recording(*args):
        step = make_step(*args)

        def recorded(theta, state, batch, epoch):
            seen.append((batch, epoch))
            return step(theta, state, batch, epoch)

        return recorded

    monkeypatch.setattr(epoch_module, "make_step", recording)
    return seen


# --- batches and their order ---


def numbered(n, device="cpu", precision="float64"):
    """Return samples whose inputs, targets and weights contain their number."""
    numbers = np.arange(1.0, n + 1)
    return {
        "network": Network((1, 1)),
        "X": on(device, numbers[:, None] / n, precision),
        "targets": on(device, numbers[:, None], precision),
        "sample_weight": on(device, numbers, precision),
    }


def numbers_in(batches_seen):
    """Return the numbers of the samples of each batch, after checking that x, targets and weights match."""
    numbers = []
    for batch, _ in batches_seen:
        x, targets, weights = (to_numpy(part)[: batch.sizes] for part in batch[:3])  # what follows is padding
        np.testing.assert_allclose(targets[:, 0] / targets[:, 0].max(), x[:, 0] / x[:, 0].max(), rtol=1e-6)
        np.testing.assert_array_equal(targets[:, 0], weights)
        numbers.append([int(number) for number in targets[:, 0]])
    return numbers


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7]), ("full", [7]), ("auto", [7])]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_is_seen_once_an_epoch(batches_seen, device, precision, shuffle, batch_size, sizes):
    fit(**numbered(7, device, precision), device=device, epochs=3, batch_size=batch_size, shuffle=shuffle)
    numbers = numbers_in(batches_seen)
    assert [len(batch) for batch in numbers] == sizes * 3
    per_epoch = [list(chain(*numbers[i : i + len(sizes)])) for i in range(0, len(numbers), len(sizes))]
    for samples in per_epoch:
        assert sorted(samples) == [1, 2, 3, 4, 5, 6, 7]
    if not shuffle:
        assert per_epoch == [[1, 2, 3, 4, 5, 6, 7]] * 3


def test_auto_is_two_hundred_samples(batches_seen):
    fit(**numbered(450), epochs=1, batch_size="auto")
    assert [len(batch) for batch in numbers_in(batches_seen)] == [200, 200, 50]


def test_order_is_new_in_each_epoch_and_follows_from_the_seed(batches_seen):
    def order(seed):
        batches_seen.clear()
        fit(**numbered(30), batch_size=10, seed=seed)
        numbers = list(chain(*numbers_in(batches_seen)))
        return [numbers[i : i + 30] for i in range(0, 120, 30)]

    first = order(1)
    assert len({tuple(epoch) for epoch in first}) == 4
    assert order(1) == first
    assert order([1, 9]) == first  # the first of a stack's seeds sets the order
    assert order(2) != first
    assert order(np.random.default_rng(5)) == order(np.random.default_rng(5))


def test_order_is_the_same_on_every_device(batches_seen, device, precision):
    orders = []
    for where in (("cpu", "float64"), (device, precision)):
        batches_seen.clear()
        fit(**numbered(30, *where), device=where[0], batch_size=10, seed=1)
        orders.append(numbers_in(batches_seen))
    assert orders[0] == orders[1]


def test_a_repeated_fit_gives_the_same_bits():
    fits = [fit(batch_size=3, seed=5, theta=None) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].theta, fits[1].theta)
    assert not np.array_equal(fits[0].theta, fit(batch_size=3, seed=6, theta=None).theta)


def test_own_samples_of_each_network_of_a_stack_are_batched_alike(batches_seen):
    x, targets = np.stack([X, 2 * X, 3 * X]), np.stack([D, 2 * D, 3 * D])
    fit(X=x, targets=targets, theta=STACK, batch_size=8, sample_weight=np.ones((3, 20)), epochs=1)
    for batch, _ in batches_seen:
        np.testing.assert_allclose(batch.x[1], 2 * batch.x[0])
        np.testing.assert_allclose(batch.targets[2], 3 * batch.targets[0])
        assert batch.sample_weight.shape == batch.x.shape[:2]


def test_loss_of_an_epoch_is_the_mean_over_its_samples_for_any_batches():
    still = gradient_descent(0.0)
    expected = fit(theta=THETA, optimizer=still, epochs=1, batch_size="full").history.loss[0]
    for batch_size in (1, 6, 20):
        error = fit(theta=THETA, optimizer=still, epochs=1, batch_size=batch_size).history.loss[0]
        assert error == pytest.approx(expected, rel=1e-12)
    y = predict(NETWORK, THETA, X, device="cpu")
    assert expected == pytest.approx(0.5 * np.sum((y - D) ** 2) / 20, rel=1e-12)
    summed = fit(theta=THETA, optimizer=still, epochs=1, batch_size=6, reduction="sum").history.loss[0]
    assert summed == pytest.approx(20 * expected, rel=1e-12)


def test_loss_of_an_epoch_respects_sample_weights():
    weights = np.arange(1.0, 21.0)
    still = {"theta": THETA, "optimizer": gradient_descent(0.0), "epochs": 1, "sample_weight": weights}
    y = predict(NETWORK, THETA, X, device="cpu")
    expected = 0.5 * np.sum(weights[:, None] * (y - D) ** 2) / weights.sum()
    for batch_size in (1, 6, "full"):
        assert fit(**still, batch_size=batch_size).history.loss[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_samples_of_weight_0_can_fill_a_batch(batch_size):
    weights = np.ones(20)
    weights[:4] = 0.0
    options = {"theta": THETA, "batch_size": batch_size, "shuffle": False, "optimizer": gradient_descent(0.1)}
    without = fit(X=X[4:], targets=D[4:], **options)
    weighted = fit(sample_weight=weights, **options)
    assert weighted.stop_reason == "epochs"
    np.testing.assert_allclose(weighted.theta, without.theta, rtol=1e-12)
    np.testing.assert_allclose(weighted.history.loss, without.history.loss, rtol=1e-12)


# --- schedules ---


@pytest.mark.parametrize(
    ("batch_size", "times"),
    [("full", [0, 1, 2]), (5, np.arange(0, 3, 0.25)), (8, [0, 0.4, 0.8, 1, 1.4, 1.8, 2, 2.4, 2.8])],
)
def test_schedules_are_called_with_fractional_epochs(batch_size, times):
    requested = []

    def rate(epoch):
        requested.append(epoch)
        return 0.1

    fit(optimizer=gradient_descent(rate), batch_size=batch_size, epochs=3)
    assert requested[0] == 0.0  # before training, to check what it returns
    np.testing.assert_allclose(requested[1:], times, rtol=1e-12)


def test_steps_change_the_rate_at_their_epoch():
    journal = Journal()
    fit(optimizer=gradient_descent(PiecewiseConstant({0: 0.0, 2: 0.1})), theta=THETA, callbacks=[journal], batch_size=7)
    np.testing.assert_array_equal(journal.thetas[1], THETA)
    assert not np.array_equal(journal.thetas[2], THETA)


def test_warm_up_starts_without_a_change():
    journal = Journal()
    fit(optimizer=gradient_descent(WarmUp(4, 0.1)), theta=THETA, callbacks=[journal], batch_size="full")
    np.testing.assert_array_equal(journal.thetas[0], THETA)
    moved = fit(optimizer=gradient_descent(0.025), theta=THETA, batch_size="full", epochs=1).theta
    np.testing.assert_allclose(journal.thetas[1], moved, rtol=1e-12)


# --- history, callbacks ---


def test_history_has_one_entry_per_epoch():
    history = fit(
        validation_data=(X[:5], D[:5]), scoring=lambda targets, y: float(np.mean(targets - y)), epochs=6
    ).history
    for figures in (history.loss, history.validation_loss, history.validation_score, history.seconds):
        assert len(figures) == 6
    assert history.seconds == sorted(history.seconds)
    assert history.seconds[0] > 0


def test_history_without_validation_has_no_validation_figures():
    history = fit().history
    assert (history.validation_loss, history.validation_score) == ([], [])


@pytest.mark.parametrize("theta", [THETA, STACK], ids=["one", "stack"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_validation_samples_have_weights(theta, reduction, monkeypatch):
    monkeypatch.setattr(prediction, "SAMPLES_AT_ONCE", 2)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    losses = [
        fit(theta=theta, reduction=reduction, optimizer=momentum(0.01), validation_data=given).history.validation_loss
        for given in ((X[:5], D[:5], weights), *((X[k : k + 1], D[k : k + 1]) for k in range(5)), (X[:5], D[:5], None))
    ]
    weighted, *each, plain = map(np.asarray, losses)
    total = weights.sum() if reduction == "mean" else 1.0
    np.testing.assert_allclose(weighted, np.tensordot(weights, each, axes=1) / total, rtol=1e-12)
    np.testing.assert_allclose(plain, np.sum(each, axis=0) / (5.0 if reduction == "mean" else 1.0), rtol=1e-12)
    for wrong, message in ((weights[:4], "one for each sample"), (-weights, "must not be negative")):
        with pytest.raises(DataError, match=f"validation sample_weight must.*{message}|validation .*{message}"):
            fit(validation_data=(X[:5], D[:5], wrong))


def test_history_of_a_stack_holds_one_figure_for_each_network():
    history = fit(theta=STACK, validation_data=(X[:5], D[:5])).history
    assert np.asarray(history.loss).shape == np.asarray(history.validation_loss).shape == (4, 3)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_validation_uses_the_weights_at_the_end_of_the_epoch(reduction, monkeypatch):
    monkeypatch.setattr(prediction, "SAMPLES_AT_ONCE", 3)
    journal, x, targets = Journal(), X[:8] + 0.1, D[:8]
    history = fit(
        validation_data=(x, targets),
        scoring=lambda targets, y: -float(np.max(np.abs(targets - y))),
        callbacks=[journal],
        reduction=reduction,
        l2=0.1,
    ).history
    for epoch, theta in enumerate(journal.thetas):
        y = predict(NETWORK, theta, x, device="cpu")
        assert history.validation_loss[epoch] == pytest.approx(
            0.5 * np.sum((y - targets) ** 2) / (8 if reduction == "mean" else 1)
        )
        assert history.validation_score[epoch] == pytest.approx(-np.max(np.abs(y - targets)))


def test_validation_samples_are_not_trained_on():
    plain = fit(batch_size=4)
    looked = fit(batch_size=4, validation_data=(100 * X[:5], D[:5]))
    np.testing.assert_array_equal(plain.theta, looked.theta)


def test_callbacks_get_the_progress():
    journal = Journal()
    result = fit(callbacks=[journal], validation_data=(X[:5], D[:5]), scoring=lambda targets, y: 0.25)
    assert [progress.epoch for progress in journal.seen] == [1, 2, 3, 4]
    assert {progress.epochs for progress in journal.seen} == {4}
    assert [progress.loss for progress in journal.seen] == result.history.loss
    assert [progress.validation_loss for progress in journal.seen] == result.history.validation_loss
    assert {progress.validation_score for progress in journal.seen} == {0.25}
    assert all(progress.samples_per_second > 0 for progress in journal.seen)
    np.testing.assert_array_equal(journal.thetas[-1], result.theta)
    assert result.stop_reason == "epochs"
    assert result.best_epoch == 4


def test_speed_is_samples_per_second_of_the_epoch(monkeypatch):
    """Each step advances the fake clock by half a second."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def rate(epoch):
        clock.now += 0.5
        return 0.1

    journal = Journal()
    result = fit(optimizer=gradient_descent(rate), batch_size=5, epochs=3, callbacks=[journal])
    assert [progress.samples_per_second for progress in journal.seen] == [10.0, 10.0, 10.0]
    assert result.history.seconds == [
        2.0,
        4.5,
        7.0,
    ]  # the rate is also evaluated for callbacks, which advances the clock


def test_a_callback_stops_training_and_the_others_are_still_called():
    stopping, other = Journal(lambda progress: progress.epoch == 3), Journal()
    result = fit(callbacks=iter([stopping, other]), epochs=50)
    assert result.stop_reason == "callback"
    assert len(stopping.seen) == len(other.seen) == len(result.history.loss) == result.best_epoch == 3
    np.testing.assert_array_equal(result.theta, other.thetas[-1])


# --- stopping ---


def scores(*figures):
    """Return a scoring function that yields these values, one per epoch."""
    remaining = iter(figures)
    return lambda targets, y: next(remaining)


def test_patience_stops_and_returns_the_best_weights():
    journal = Journal()
    result = fit(
        validation_data=(X[:5], D[:5]), scoring=scores(1, 3, 2, 2, 2, 9), patience=3, epochs=50, callbacks=[journal]
    )
    assert result.stop_reason == "patience"
    assert len(result.history.loss) == 5
    assert result.best_epoch == 2
    np.testing.assert_array_equal(result.theta, journal.thetas[1])


def test_best_weights_are_returned_when_the_epochs_run_out_first():
    journal = Journal()
    result = fit(validation_data=(X[:5], D[:5]), scoring=scores(1, 3, 2, 2), patience=30, callbacks=[journal])
    assert (result.stop_reason, result.best_epoch) == ("epochs", 2)
    np.testing.assert_array_equal(result.theta, journal.thetas[1])


def test_gains_within_the_tolerance_use_up_patience_but_can_be_the_best():
    options = {"validation_data": (X[:5], D[:5]), "patience": 3, "epochs": 50}
    result = fit(scoring=scores(1.0, 1.05, 1.1, 1.15, 9.0), tolerance=0.1, **options)
    assert (result.stop_reason, len(result.history.loss), result.best_epoch) == ("patience", 4, 4)
    result = fit(scoring=scores(1.0, 1.05, 1.1, 1.15, 1.0, 1.0, 1.0), tolerance=0.01, **options)
    assert (len(result.history.loss), result.best_epoch) == (7, 4)


def test_patience_monitors_the_validation_loss_without_a_score():
    result = fit(validation_data=(X, -D), patience=2, epochs=200, optimizer=gradient_descent(0.2), batch_size="full")
    errors = result.history.validation_loss
    assert result.stop_reason == "patience"
    assert result.best_epoch == int(np.argmin(errors)) + 1 < len(errors)


@pytest.mark.parametrize("monitor", ["loss", "least_loss"])
def test_patience_monitors_the_median_or_the_least_loss_of_a_stack(monitor):
    options = {"validation_data": (X, -D), "patience": 5, "epochs": 200, "seed": (0, 1, 2, 3, 4), "monitor": monitor}
    result = fit(optimizer=gradient_descent(0.05), batch_size="full", **options)
    monitored = {"loss": np.median, "least_loss": np.min}
    best = {
        name: int(np.argmin(figure(result.history.validation_loss, axis=1))) + 1 for name, figure in monitored.items()
    }
    assert result.stop_reason == "patience"
    assert result.best_epoch == best[monitor] != best[({*best} - {monitor}).pop()]


def test_the_least_loss_is_not_that_of_a_network_that_diverged():
    network, rates = Network((3, 2)), np.asarray([[0.01], [1e60]])
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(20)]), D, rcond=None)[0]
    theta = np.stack([initial_weights(network, seed=0, dtype="float64"), solution.ravel()])
    options = {"validation_data": (X, D), "optimizer": momentum(rates), "patience": 3, "epochs": 9, "batch_size": 2}
    with pytest.warns(DivergenceWarning):
        result = fit(network, theta=theta, monitor="least_loss", **options)
    assert result.diverged.tolist() == [False, True]
    assert result.history.validation_loss[0].argmin() == 1  # it was reset to the solution
    assert result.best_epoch == 1 + int(np.argmin([one[0] for one in result.history.validation_loss])) > 4


def test_patience_monitors_the_loss_without_validation():
    journal = Journal()
    result = fit(optimizer=gradient_descent(0.0), patience=3, epochs=50, callbacks=[journal])
    assert (result.stop_reason, len(result.history.loss)) == ("patience", 4)
    assert result.best_epoch == 4  # without validation the weights are the last ones


def test_without_patience_the_last_weights_are_returned():
    journal = Journal()
    result = fit(validation_data=(X[:5], D[:5]), scoring=scores(4, 3, 2, 1), callbacks=[journal])
    assert (result.stop_reason, result.best_epoch) == ("epochs", 4)
    np.testing.assert_array_equal(result.theta, journal.thetas[-1])


@pytest.mark.parametrize("optimizer", [lbfgs(tolerance=1e-6), levenberg_marquardt(tolerance=1e-8)])
def test_second_order_optimizers_end_on_convergence(optimizer):
    result = fit(Network((3, 2)), optimizer=optimizer, epochs=500)
    assert result.stop_reason == "converged"
    assert len(result.history.loss) < 50
    design = np.column_stack([X, np.ones(20)])
    best = np.linalg.lstsq(design, D, rcond=None)[0]
    np.testing.assert_allclose(result.theta.reshape(4, 2), best, atol=1e-4)


# --- interruption ---


def test_interrupted_between_two_epochs_keeps_what_was_learned():
    journal = Journal(interrupt_epoch(3))
    result = fit(callbacks=[journal], epochs=50)
    assert result.stop_reason == "interrupted"
    assert len(result.history.loss) == result.best_epoch == 3
    np.testing.assert_array_equal(result.theta, journal.thetas[2])
    np.testing.assert_array_equal(result.theta, fit(epochs=3).theta)


@pytest.fixture
def interrupted_step(monkeypatch):
    """Interrupt the n-th step, after ``spoil`` has changed its weights."""
    monkeypatch.setenv("GPUBP_COMPILED", "never")
    make_step = epoch_module.make_step

    def install(at, spoil=None):
        def interrupting(*args):
            step, calls = make_step(*args), []

            def interrupted(theta, state, batch, epoch):
                calls.append(epoch)
                if len(calls) == at:
                    raise KeyboardInterrupt
                theta, state, value = step(theta, state, batch, epoch)
                return (theta if spoil is None else spoil(theta)), state, value

            return interrupted

        monkeypatch.setattr(epoch_module, "make_step", interrupting)

    return install


def test_interrupted_within_an_epoch_keeps_what_was_learned(interrupted_step):
    """With four batches per epoch, the seventh step is the third of the second epoch."""
    learned = []
    interrupted_step(7, lambda theta: learned.append(theta) or theta)
    result = fit(batch_size=5, theta=THETA)
    assert result.stop_reason == "interrupted"
    assert len(result.history.loss) == result.best_epoch == 1
    assert len(learned) == 6
    np.testing.assert_array_equal(result.theta, learned[-1])


def test_interrupted_before_the_first_change_returns_the_first_weights(interrupted_step):
    interrupted_step(1)
    result = fit(theta=THETA)
    assert (result.stop_reason, result.best_epoch, result.history.loss) == ("interrupted", 0, [])
    np.testing.assert_array_equal(result.theta, THETA)


def test_interrupted_with_nan_weights_returns_the_last_finite_ones(interrupted_step):
    interrupted_step(2, lambda theta: theta * np.nan)
    result = fit(batch_size=5, theta=THETA)
    assert result.stop_reason == "interrupted"
    np.testing.assert_array_equal(result.theta, THETA)


def test_interrupted_with_patience_returns_the_best_weights():
    journal = Journal(interrupt_epoch(3))
    result = fit(callbacks=[journal], validation_data=(X[:5], D[:5]), scoring=scores(1, 3, 2), patience=9, epochs=50)
    assert (result.stop_reason, result.best_epoch) == ("interrupted", 2)
    np.testing.assert_array_equal(result.theta, journal.thetas[1])


# --- divergence ---

RELU = Network((3, 8, 2), activation="relu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_caught_and_the_last_finite_weights_are_kept(dtype, device):
    journal = Journal()
    rate = PiecewiseConstant({0: 0.05, 3: 1e30})
    with pytest.warns(DivergenceWarning, match=r"after 3 epochs.*last good weights.*smaller learning rate"):
        result = fit(
            RELU,
            optimizer=gradient_descent(rate),
            epochs=50,
            batch_size=5,
            dtype=dtype,
            device=device,
            callbacks=[journal],
        )
    assert result.stop_reason == "diverged"
    assert bool(result.diverged) is True
    assert result.best_epoch == len(result.history.loss) == 3
    assert np.all(np.isfinite(result.theta))
    np.testing.assert_array_equal(result.theta, journal.thetas[-1])
    good = fit(RELU, optimizer=gradient_descent(0.05), epochs=3, batch_size=5, dtype=dtype, device=device)
    np.testing.assert_array_equal(result.theta, good.theta)


def test_weights_that_diverge_in_the_last_step_of_an_epoch_are_not_kept():
    """The loss of that step, computed before its change, is still finite."""
    journal, rate = Journal(), PiecewiseConstant({0: 1e-3, 2: 1e308})
    with pytest.warns(DivergenceWarning):
        result = fit(
            targets=1e3 * D, optimizer=gradient_descent(rate), batch_size="full", callbacks=[journal], reduction="sum"
        )
    assert (result.stop_reason, result.best_epoch) == ("diverged", 2)
    np.testing.assert_array_equal(result.theta, journal.thetas[-1])
    assert np.all(np.isfinite(result.theta))


def test_divergence_in_the_first_epoch_returns_the_first_weights():
    start = initial_weights(RELU, 4, dtype="float64")
    with pytest.warns(DivergenceWarning):
        result = fit(RELU, theta=start, optimizer=gradient_descent(1e200), batch_size=5)
    assert (result.stop_reason, result.best_epoch, result.history.loss) == ("diverged", 0, [])
    np.testing.assert_array_equal(result.theta, start)


def test_clipping_fixes_what_diverges_without_it():
    with pytest.warns(DivergenceWarning, match=r"gpubp\.clipped"):
        fit(RELU, optimizer=gradient_descent(30.0), epochs=60, batch_size=1)
    assert fit(RELU, optimizer=clipped(gradient_descent(30.0), 1e-3), epochs=60, batch_size=1).stop_reason == "epochs"


@pytest.mark.parametrize("optimizer", [gradient_descent, momentum, adam])
def test_one_network_diverges_and_the_others_are_unaffected(optimizer, device, precision):
    starts, rates = initial_weights(RELU, [4, 5, 6], dtype="float64"), [0.02, 1e30, 0.01]
    options = {"batch_size": 5, "device": device, "dtype": precision, "epochs": 6, "seed": 3}
    if optimizer is adam:
        rates[1] = 1e300 if precision == "float64" else 1e38
    with pytest.warns(DivergenceWarning, match="1 of 3 networks"):
        result = fit(RELU, theta=starts, optimizer=optimizer(np.array(rates)[:, None]), **options)
    assert result.stop_reason == "epochs"
    np.testing.assert_array_equal(result.diverged, [False, True, False])
    assert np.all(np.isfinite(result.theta))
    for k in (0, 2):
        single = fit(RELU, theta=starts[k], optimizer=optimizer(rates[k]), **options)
        np.testing.assert_allclose(
            result.theta[k], single.theta, rtol=0, atol=1e-12 if precision == "float64" else 1e-5
        )
    np.testing.assert_allclose(result.theta[1], starts[1], rtol=1e-6)


def test_training_ends_when_every_network_has_diverged():
    starts = initial_weights(RELU, [4, 5], dtype="float64")
    with pytest.warns(DivergenceWarning, match="2 of 2 networks"):
        result = fit(RELU, theta=starts, optimizer=momentum(1e200), batch_size=5, epochs=50)
    assert result.stop_reason == "diverged"
    np.testing.assert_array_equal(result.theta, starts)


# --- stacks ---


@pytest.mark.parametrize("batch_size", [6, "full"])
def test_a_whole_fit_of_a_stack_equals_fits_of_singles(device, precision, batch_size):
    options = {"batch_size": batch_size, "seed": 11, "epochs": 10, "l2": 0.01, "validation_data": (X[:5], D[:5])}
    options |= {"device": device, "dtype": precision, "sample_weight": np.linspace(0.5, 2, 20)}
    rates = [0.01, 0.02, 0.03]
    result = fit(theta=STACK, optimizer=adam(np.array(rates)[:, None]), **options)
    for k, rate in enumerate(rates):
        single = fit(theta=STACK[k], optimizer=adam(rate), **options)
        close = {"rtol": 0, "atol": 1e-12 if precision == "float64" else 2e-5}
        np.testing.assert_allclose(result.theta[k], single.theta, **close)
        np.testing.assert_allclose(np.asarray(result.history.loss)[:, k], single.history.loss, **close)
        np.testing.assert_allclose(
            np.asarray(result.history.validation_loss)[:, k], single.history.validation_loss, **close
        )


def test_own_samples_of_each_network_equal_singles():
    rng = np.random.default_rng(1)
    x, targets = rng.normal(size=(3, 20, 3)), rng.normal(size=(3, 20, 2))
    weights = rng.uniform(0.5, 2, (3, 20))
    result = fit(X=x, targets=targets, theta=STACK, batch_size=6, sample_weight=weights)
    for k in range(3):
        single = fit(X=x[k], targets=targets[k], theta=STACK[k], batch_size=6, sample_weight=weights[k])
        np.testing.assert_allclose(result.theta[k], single.theta, rtol=1e-12)


def test_seeds_make_a_stack_that_starts_like_singles():
    still = {"optimizer": gradient_descent(0.0), "epochs": 1}
    result = fit(seed=[8, 9], **still)
    assert result.theta.shape == (2, NETWORK.n_parameters)
    for row, seed in zip(result.theta, (8, 9), strict=True):
        np.testing.assert_array_equal(row, fit(seed=seed, **still).theta)


# --- precision, namespaces, devices ---


def test_precision_is_that_of_theta_then_of_x_then_float32():
    single, double = np.float32, np.float64
    assert fit(X=X.astype(single)).theta.dtype == single
    assert fit(X=X).theta.dtype == double
    assert fit(X=X, theta=THETA.astype(single)).theta.dtype == single
    assert fit(X=X.astype(single), theta=THETA).theta.dtype == double
    assert fit(X=X.tolist(), targets=D.tolist()).theta.dtype == double
    assert fit(X=(X > 0).astype(int).tolist()).theta.dtype == single
    assert fit(X=np.arange(60).reshape(20, 3) % 2).theta.dtype == single
    assert fit(X=X, dtype="float32").theta.dtype == single
    assert fit(X=X.astype(single), dtype="float64").theta.dtype == double


def test_both_precisions_start_from_the_same_numbers_and_stay_close():
    low, high = fit(dtype="float32", epochs=20), fit(dtype="float64", epochs=20)
    np.testing.assert_allclose(low.theta, high.theta, atol=1e-5)


def test_results_are_on_the_device_of_the_arrays(monkeypatch, device, precision):
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")  # where NumPy arrays do not decide the device
    x, targets = on(device, X, precision), on(device, D, precision)
    journal = Journal()
    result = train(NETWORK, x, targets, epochs=3, batch_size=6, callbacks=[journal], validation_data=(x, targets))
    y = predict(NETWORK, result.theta, x)
    for array in (result.theta, y, journal.seen[0].theta):
        assert array_api_compat.array_namespace(array) is array_api_compat.array_namespace(x)
        assert array_api_compat.device(array) == array_api_compat.device(x)
        assert array.dtype == x.dtype
    assert result.device.startswith(device)  # the number is added to "cuda" and to a library without a device
    host = fit(optimizer=adam(), epochs=3, batch_size=6, dtype=precision)
    close = {"rtol": 0, "atol": 1e-12 if precision == "float64" else 1e-5}
    np.testing.assert_allclose(to_numpy(result.theta), host.theta, **close)
    np.testing.assert_allclose(result.history.loss, host.history.loss, **close)
    np.testing.assert_allclose(to_numpy(y), predict(NETWORK, host.theta, X, device="cpu"), **close)


@pytest.mark.parametrize("make", [np.asarray, np.ndarray.tolist])
def test_numpy_and_lists_give_numpy_on_every_device(device, make):
    result = fit(X=make(X), targets=make(D), device=device)
    y = predict(NETWORK, result.theta, make(X), device=device)
    assert type(result.theta) is type(y) is np.ndarray
    assert result.device == ("cuda:0" if device == "cuda" else device)


def test_a_device_array_trained_on_the_cpu_returns_to_its_device():
    x, targets = on("array_api_strict:device1", X), on("array_api_strict:device1", D)
    result = train(NETWORK, x, targets, epochs=2, device="cpu")
    assert result.device == "cpu"
    assert array_api_compat.device(result.theta) == array_api_compat.device(x)


def test_weights_of_another_device_decide_for_host_samples():
    result = train(NETWORK, X, D, theta=on("array_api_strict:device1", THETA), epochs=2)
    assert result.device == "array_api_strict:device1"
    assert type(result.theta) is np.ndarray


def test_inputs_are_not_changed():
    arguments = {"X": X.copy(), "targets": D.copy(), "theta": STACK.copy(), "sample_weight": np.ones(20)}
    held_out = (X[:5].copy(), D[:5].copy())
    for array in (*arguments.values(), *held_out):
        array.flags.writeable = False  # writing raises
    for batch_size in (6, "full"):
        fit(**arguments, validation_data=held_out, batch_size=batch_size)
    fit(**(arguments | {"theta": arguments["theta"][0]}), optimizer=lbfgs())
    predict(NETWORK, arguments["theta"], arguments["X"], device="cpu")


# --- resuming and predicting ---


def test_training_continues_from_theta():
    options = {"optimizer": gradient_descent(0.1), "batch_size": 6, "shuffle": False}
    expected = fit(theta=THETA, epochs=6, **options)
    half = fit(theta=THETA, epochs=3, **options)
    np.testing.assert_array_equal(fit(theta=half.theta, epochs=3, **options).theta, expected.theta)


@pytest.mark.parametrize("theta", [THETA, STACK])
def test_prediction_in_parts_equals_a_single_prediction(monkeypatch, device, precision, theta):
    x, theta = on(device, X, precision), on(device, theta, precision)
    expected = predict(NETWORK, theta, x, device=device)
    assert expected.shape == (*theta.shape[:-1], 20, 2)
    monkeypatch.setattr(memory, "SAMPLES_AT_ONCE", 7)
    parts = predict(NETWORK, theta, x, device=device)
    np.testing.assert_allclose(
        to_numpy(parts), to_numpy(expected), rtol=0, atol=1e-14 if precision == "float64" else 1e-6
    )
    singles = [predict(NETWORK, theta, x[i : i + 1, :], device=device) for i in range(20)]
    joined = np.concatenate([to_numpy(single) for single in singles], axis=-2)
    np.testing.assert_allclose(joined, to_numpy(expected), rtol=0, atol=1e-14 if precision == "float64" else 1e-6)


def test_prediction_for_each_network_of_its_own_samples():
    x = np.random.default_rng(1).normal(size=(3, 5, 3))
    y = predict(NETWORK, STACK, x, device="cpu")
    for k in range(3):
        np.testing.assert_allclose(y[k], predict(NETWORK, STACK[k], x[k], device="cpu"), rtol=1e-14)
    with_same = predict(NETWORK, STACK, x[0], device="cpu")
    np.testing.assert_allclose(with_same[0], y[0], rtol=1e-14)


def test_precision_of_a_prediction():
    assert predict(NETWORK, THETA, X, device="cpu").dtype == np.float64
    assert predict(NETWORK, THETA.astype("float32"), X, device="cpu").dtype == np.float32
    assert predict(NETWORK, THETA, X, device="cpu", dtype="float32").dtype == np.float32


def test_networks_of_a_stack_can_have_separate_targets_and_weights():
    generator = np.random.default_rng(0)
    targets, weights = generator.normal(size=(3, 20, 2)), generator.uniform(0.0, 2.0, (3, 20))
    options = {"optimizer": momentum(0.05), "epochs": 4, "batch_size": 6, "device": "cpu"}
    stack = train(NETWORK, X, targets, theta=STACK, sample_weight=weights, **options)
    for k in range(3):
        single = train(NETWORK, X, targets[k], theta=STACK[k], sample_weight=weights[k], **options)
        np.testing.assert_allclose(stack.theta[k], single.theta, rtol=1e-12, atol=1e-12)
        assert stack.history.loss[-1][k] == pytest.approx(single.history.loss[-1], rel=1e-12)


class TestStopWhen:
    """``stop_when`` ends training, or that of single networks of a stack."""

    X, D = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    NETWORK = Network((2, 3, 1), activation="tanh", output_activation="logistic")

    def fit(self, theta, optimizer=None, epochs=400, **options):
        options = {"batch_size": "full", "reduction": "sum", "device": "cpu", "dtype": "float64", **options}
        options |= {"epochs": epochs}
        return train(self.NETWORK, self.X, self.D, theta=theta, optimizer=optimizer or momentum(0.5, 0.9), **options)

    @pytest.fixture
    def thetas(self):
        return initial_weights(self.NETWORK, range(40), scheme="uniform", scale=1.0, dtype="float64")

    def test_one_network_ends_when_it_is_done(self, thetas):
        fit = self.fit(thetas[0], stop_when=all_correct)
        assert fit.stop_reason == "solved"
        assert fit.solved
        assert fit.best_epoch == len(fit.history.loss) < 400
        y = predict(self.NETWORK, fit.theta, np.asarray(self.X, float), device="cpu")
        assert np.all(np.abs(y - self.D) < 0.5)
        before = self.fit(thetas[0], epochs=fit.best_epoch - 1, stop_when=all_correct)
        assert (before.stop_reason, before.solved) == ("epochs", False)

    @pytest.mark.parametrize("compiled", ["never", "always"])
    def test_a_network_of_a_stack_equals_one_trained_alone(self, thetas, monkeypatch, compiled):
        monkeypatch.setenv("GPUBP_COMPILED", compiled)
        rates = np.linspace(0.1, 0.9, 40)[:, None]
        stack = self.fit(thetas, momentum(rates, 0.9), stop_when=all_correct)
        assert 5 < np.sum(stack.solved) < 40
        for k in range(40):
            single = self.fit(thetas[k], momentum(float(rates[k, 0]), 0.9), stop_when=all_correct)
            assert (single.solved, single.best_epoch) == (stack.solved[k], stack.best_epoch[k])
            np.testing.assert_allclose(single.theta, stack.theta[k], rtol=1e-9, atol=1e-9)

    def test_history_has_nan_of_those_that_are_done(self, thetas):
        fit = self.fit(thetas, stop_when=all_correct)
        errors = np.asarray(fit.history.loss)
        assert errors.shape == (len(fit.history.loss), 40)
        for k in np.flatnonzero(fit.solved):
            assert np.all(np.isfinite(errors[: fit.best_epoch[k], k]))
            assert np.all(np.isnan(errors[fit.best_epoch[k] :, k]))

    def test_a_stack_ends_when_all_are_done(self, thetas):
        fit = self.fit(thetas, stop_when=lambda targets, y: np.ones(len(y), dtype=bool))
        assert (fit.stop_reason, len(fit.history.loss)) == ("solved", 1)
        np.testing.assert_array_equal(fit.best_epoch, 1)

    def test_samples_and_adams_moments_are_removed_with_their_networks(self, thetas):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(40, 8, 2))
        targets = (x[..., :1] > 0).astype(float)
        weights = rng.uniform(0.5, 1.5, (40, 8))
        options = {"optimizer": adam(0.05), "epochs": 9, "reduction": "sum", "device": "cpu", "dtype": "float64"}
        options |= {"stop_when": all_correct, "batch_size": 3, "seed": list(range(40)), "validation_data": (x, targets)}
        stack = train(self.NETWORK, x, targets, theta=thetas, sample_weight=weights, **options)
        assert 5 < np.sum(stack.solved) < 40
        for k in range(0, 40, 7):
            own = {"validation_data": (x[k], targets[k]), "seed": 0}
            single = train(self.NETWORK, x[k], targets[k], theta=thetas[k], sample_weight=weights[k], **(options | own))
            assert (single.solved, single.best_epoch) == (stack.solved[k], stack.best_epoch[k])
            np.testing.assert_allclose(single.theta, stack.theta[k], rtol=1e-9, atol=1e-9)
            seen = np.asarray(stack.history.validation_loss)[: single.best_epoch, k]
            np.testing.assert_allclose(seen[:-1], single.history.validation_loss[:-1], rtol=1e-9)

    def test_loss_scales_are_removed_with_their_networks(self, thetas):
        rates = np.linspace(0.1, 0.9, 40)[:, None]
        options = {"stop_when": all_correct, "matmul_precision": "float16", "dtype": "float32", "epochs": 300}
        stack = self.fit(thetas, momentum(rates, 0.9), **options)
        assert 5 < np.sum(stack.solved) < 40
        for k in range(0, 40, 7):
            single = self.fit(thetas[k], momentum(float(rates[k, 0]), 0.9), **options)
            assert (single.solved, single.best_epoch) == (stack.solved[k], stack.best_epoch[k])

    def test_those_that_diverge_do_not_wait_for_those_that_are_done(self, thetas):
        rates = np.where(np.arange(40) == 3, 0.5, 1e30)[:, None]
        with pytest.warns(DivergenceWarning, match="39 of 40 networks"):
            fit = self.fit(thetas, momentum(rates, 0.9), stop_when=lambda targets, y: np.arange(40) == 3, l2=1.0)
        assert fit.stop_reason == "diverged"
        assert len(fit.history.loss) < 100
        assert np.flatnonzero(fit.solved).tolist() == [3]

    @pytest.mark.filterwarnings("ignore::gpubp.errors.DivergenceWarning")
    @pytest.mark.parametrize("compiled", ["never", "always"])
    def test_outputs_are_those_of_the_weights_that_are_kept(self, thetas, monkeypatch, compiled):
        monkeypatch.setenv("GPUBP_COMPILED", compiled)
        requested, options = [], []

        def never(targets, y):
            requested.append(y)
            return np.zeros(len(y), dtype=bool)

        def rates(epoch):
            return np.where((np.arange(40) == 3) & (epoch > 0.0), np.inf, 0.5)[:, None]  # one diverges soon

        look = [lambda progress: options.append(progress.theta)]
        self.fit(thetas, momentum(rates, 0.9), epochs=5, stop_when=never, callbacks=look)
        assert len(requested) == len(options) == 5
        for y, theta in zip(requested, options, strict=True):
            expected = predict(self.NETWORK, theta, np.asarray(self.X, float), device="cpu")
            np.testing.assert_allclose(y, expected, rtol=1e-12)

    def test_patience_keeps_what_is_reported_of_the_best_epoch(self, thetas):
        validation = (np.asarray(self.X, float), 1.0 - np.asarray(self.D))  # gets worse and worse
        fit = self.fit(thetas[0], stop_when=all_correct, validation_data=validation, patience=2)
        assert (fit.stop_reason, fit.solved) == ("patience", False)

    def test_one_network_can_return_a_plain_bool(self, thetas):
        assert self.fit(thetas[0], stop_when=lambda targets, y: True).stop_reason == "solved"

    @pytest.mark.parametrize("answer", [True, np.ones(3, bool), np.ones(40)])
    def test_results_of_another_form_are_refused(self, thetas, answer):
        with pytest.raises(
            DataError, match=r"stop_when must return for each network whether it is done, \(40,\) of bool"
        ):
            self.fit(thetas, stop_when=lambda targets, y: answer)

    def test_not_a_function(self):
        with pytest.raises(DataError, match=r"stop_when must be a function .* got 'solved'"):
            self.fit(None, stop_when="solved")
