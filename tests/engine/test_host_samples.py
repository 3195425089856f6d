"""Samples that stay on the host and are copied to the device in windows: the same training, without races."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import BatchedSearchCV, MLPEnsembleRegressor, MLPRegressor
from gpubp.backends import memory
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.backends.memory import Memory, fits_in_memory, networks_at_once
from gpubp.engine import prediction
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda import steps
from gpubp.engine.cuda.epoch import cuda_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.optim.first_order import adam, momentum
from gpubp.testing import assert_agree
from gpubp.training import fit as fit_module
from gpubp.training import stacks
from tests.cuda_machines import emulated, needs_compiler
from tests.emulated_cuda import EmulatedDevice

NETWORK = Network((3, 5, 4), activation="tanh", loss="cross_entropy")
N_SAMPLES = 23


def samples(stack=(), weighted=False, dtype="float64"):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(*stack, N_SAMPLES, 3)), rng.dirichlet(np.ones(4), (*stack, N_SAMPLES))
    return Batch(x.astype(dtype), targets.astype(dtype), rng.uniform(0, 2, (*stack, N_SAMPLES)) if weighted else None)


def result(place, samples, *, on_host, size=4, shuffled=True, epochs=(1, 1, 1), seeds=0):
    """Return the end of some epochs and their reports."""
    if not on_host:
        samples = Batch(*(None if part is None else place.asarray(part) for part in samples[:3]))
    fast = cuda_epoch_runner(place.device, Objective(NETWORK, l2=0.1), optimizer := adam(), "float64", None)
    theta = place.asarray(initial_weights(NETWORK, seeds, dtype="float64"))
    position, reports, rng = ModelState(theta, optimizer.init(place.backend.xp, theta)), [], np.random.default_rng(1)
    batches = ArrayBatches(place.backend, samples, size, on_host=on_host)
    for n in epochs:
        orders = [rng.permutation(N_SAMPLES) for _ in range(n if shuffled == "each epoch" else 1)]
        order = np.stack(orders) if len(orders) > 1 else orders[0]
        reports.append(fast(position, replace(batches, order=order if shuffled else None, epochs=n)))
        position.epoch += n
    assert isinstance(fast.steps, steps.LayerwiseSteps) or not on_host
    return [to_numpy(position.theta), *(np.concatenate([part[k] for part in reports]) for k in range(3))]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 2)
    monkeypatch.setattr(
        cuda_epoch, "MAX_OPERATIONS_OF_ONE_BLOCK", 0.0
    )  # on the device these networks too go layer by layer,
    monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)  # and so do stacks


class TestTransfer:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(
        ("size", "shuffled", "epochs"),
        [(4, True, (1, 1, 1)), (4, False, (1, 3)), (4, "each epoch", (1, 3)), (23, False, (2,)), (99, True, (1, 1))],
    )
    def test_gives_the_bits_of_samples_on_the_device(self, machine, size, shuffled, epochs, weighted):
        arguments = {"size": size, "shuffled": shuffled, "epochs": epochs}
        ends = [result(machine, samples(weighted=weighted), on_host=on_host, **arguments) for on_host in (False, True)]
        for resident, transferred in zip(*ends, strict=True):
            np.testing.assert_array_equal(transferred, resident)

    @pytest.mark.parametrize("own", ["all", "none", "weights"])
    def test_of_a_stack(self, machine, own):
        shared, each = samples((), True), samples((2,), True)
        data = {"all": each, "none": shared, "weights": shared._replace(sample_weight=each.sample_weight)}[own]
        ends = [result(machine, data, on_host=on_host, seeds=(0, 1)) for on_host in (False, True)]
        for resident, transferred in zip(*ends, strict=True):
            np.testing.assert_array_equal(transferred, resident)

    @needs_compiler
    @pytest.mark.parametrize(
        ("forgotten", "instead", "message"),
        [
            ("wait_for", lambda self, event: None, "may not have been sent yet"),
            ("mark", lambda self: 0, "may not have been used yet"),
            ("follow", lambda self, event: None, "not finite"),
        ],
    )
    def test_no_unnecessary_waits(self, monkeypatch, forgotten, instead, message):
        """The emulated device reorders whatever a GPU may reorder."""
        machine = emulated()
        if forgotten != "follow":
            monkeypatch.setattr(EmulatedDevice, forgotten, instead)
            with pytest.raises(AssertionError, match=message):
                result(machine, samples(), on_host=True)
        else:
            monkeypatch.setattr(EmulatedDevice, "follow", instead)
            assert not np.any(np.isfinite(result(machine, samples(), on_host=True)[0]))


def full(backend):
    """A GPU whose memory fits a hundred float32 numbers."""
    return Memory(int(402 / memory.MAX_SAMPLE_FRACTION), 10**9, 0, 0, 0)


def fit(device, **options):
    x, targets, *_ = samples(dtype="float32")
    arguments = {"epochs": 6, "batch_size": 4, "optimizer": momentum(0.05), "device": device} | options
    return fit_module.train(NETWORK, x, targets, **arguments)


@pytest.fixture
def brought(monkeypatch):
    """Record which batches came from the host on the plain path."""
    brought, cut = [], ArrayBatches.__iter__

    def counted(batches):
        brought.append(batches.on_host)
        return cut(batches)

    monkeypatch.setattr(ArrayBatches, "__iter__", counted)
    return brought


class TestTraining:
    @needs_compiler
    def test_of_samples_that_do_not_fit_on_the_gpu(self, emulated_gpu, monkeypatch):
        monkeypatch.setattr(memory, "gpu_memory", lambda backend: Memory(10**9, 10**9, 0, 0, 0))
        resident = fit("cuda")
        monkeypatch.setattr(memory, "gpu_memory", full)
        transferred = fit("cuda")
        assert [device.n_marks > 0 for device in emulated_gpu] == [False, True]
        np.testing.assert_array_equal(transferred.theta, resident.theta)
        assert transferred.history.loss == resident.history.loss

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"sample_weight": np.linspace(0.1, 1.0, N_SAMPLES), "l2": 0.1},
            {"batch_size": "full", "shuffle": False},
            {"seed": (0, 1)},
            {"stop_when": lambda targets, y: False},
        ],
        ids=["batches", "weighted", "full", "stack", "stop_when"],
    )
    def test_the_plain_path(self, monkeypatch, brought, options):
        """On a device whose arrays do not mix with NumPy's."""
        device = "array_api_strict:device1"
        resident = fit(device, **options)
        monkeypatch.setattr(memory, "fits_in_memory", lambda *_: False)
        transferred = fit(device, **options)
        assert brought == [False] * (len(brought) // 2) + [True] * (len(brought) // 2)
        assert_agree(transferred.theta, resident.theta, "fit")
        np.testing.assert_array_equal(np.asarray(transferred.history.loss), np.asarray(resident.history.loss))

    def test_of_a_stack_whose_networks_leave_with_their_samples(self, monkeypatch):
        x, targets, *_ = samples((3,), dtype="float32")
        ends = []
        for fits in (True, False):
            monkeypatch.setattr(memory, "fits_in_memory", lambda *_, fits=fits: fits)
            leaving = iter([[False, True, False], [False, False], [True, False], [True]])

            def stop_when(targets, y, leaving=leaving):
                xp = choose_backend("array_api_strict:device1").xp
                return xp.asarray(next(leaving), device=xp.Device("device1"))

            arguments = {
                "seed": (0, 1, 2),
                "stop_when": stop_when,
                "batch_size": 4,
                "device": "array_api_strict:device1",
            }
            ends.append(fit_module.train(NETWORK, x, targets, epochs=9, **arguments))
        np.testing.assert_array_equal(ends[0].best_epoch, [3, 1, 4])
        np.testing.assert_array_equal(ends[1].theta, ends[0].theta)

    def test_samples_on_the_device_stay_there(self, monkeypatch, brought):
        monkeypatch.setattr(memory, "fits_in_memory", lambda *_: False)
        xp = choose_backend("array_api_strict:device1").xp
        x, targets, *_ = samples(dtype="float32")
        x, targets = (xp.asarray(part, device=xp.Device("device1")) for part in (x, targets))
        fit_module.train(NETWORK, x, targets, epochs=2, device="auto")
        assert brought == [False] * 2


class TestElsewhere:
    """Predictions and estimators on a full device whose arrays do not mix with NumPy's."""

    @pytest.fixture(params=[True, False])
    def fits(self, request, monkeypatch):
        calls = []
        monkeypatch.setattr(memory, "fits_in_memory", lambda *_: calls.append(request.param) or request.param)
        yield request.param
        assert calls

    def test_predictions(self, fits, monkeypatch):
        monkeypatch.setattr(prediction, "samples_at_once", lambda *_: 10)
        x, theta = samples(dtype="float32").x, initial_weights(NETWORK, 0)
        expected = output_layer(np, NETWORK, theta, x).y
        assert_agree(prediction.predict(NETWORK, theta, x, device="array_api_strict:device1"), expected, "forward")

    @pytest.mark.parametrize(
        "options",
        [{}, {"shuffle": False}, {"dropout": 0.2}, {"early_stopping": True}],
        ids=lambda options: next(iter(options), ""),
    )
    def test_estimators(self, fits, options, brought):
        x, targets, *_ = samples(dtype="float32")
        arguments = {"hidden_layer_sizes": (5,), "max_iter": 3, "batch_size": 4, "random_state": 0} | options
        fitted = []
        for device in ("array_api_strict:device1", "cpu"):
            model = MLPRegressor(**arguments, device=device)
            with pytest.warns(ConvergenceWarning):
                fitted.append(model.fit(x, targets, np.linspace(0.5, 1.0, N_SAMPLES)))
        assert brought[:3] == [not fits] * 3
        assert_agree(fitted[0].predict(x), fitted[1].predict(x), "fit")

    def test_lbfgs_takes_all_samples_to_the_device(self, monkeypatch):
        monkeypatch.setattr(memory, "fits_in_memory", lambda *_: False)
        x, targets, *_ = samples(dtype="float32")
        model = MLPRegressor(solver="lbfgs", max_iter=2, device="array_api_strict:device1")
        with pytest.warns(ConvergenceWarning):
            model.fit(x, targets)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestStacksOfFits:
    """Models that would be fitted together, on a device without memory for their samples."""

    MODEL = MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=3, batch_size=4, random_state=0, device="array_api_strict:device1"
    )

    @pytest.mark.parametrize("of", ["restarts", "ensemble", "search"])
    def test_are_fitted_singly_with_samples_from_the_host(self, monkeypatch, brought, caplog, of):
        x, targets, *_ = samples(dtype="float32")
        found = []
        for fits in (True, False):
            monkeypatch.setattr(memory, "fits_in_memory", lambda *_, fits=fits: fits)
            brought.clear()
            caplog.clear()
            with caplog.at_level("INFO", "gpubp"):
                if of == "restarts":
                    model = MLPRegressor(**self.MODEL.get_params()).set_params(n_restarts=2).fit(x, targets)
                elif of == "ensemble":
                    model = MLPEnsembleRegressor(self.MODEL, n_estimators=2, random_state=0).fit(x, targets)
                else:
                    model = BatchedSearchCV(self.MODEL, {"alpha": [0.1, 1.0]}, cv=2).fit(x, targets)
            found.append(model.predict(x))
            assert ("has too little memory for X" in caplog.text) == (not fits)
            assert set(brought) == ({True} if not fits else {False} if of == "search" else set())
        assert_agree(found[0], found[1], "fit")

    def test_are_several_stacks_if_their_samples_do_not_fit_together(self, monkeypatch):
        x, targets, *_ = samples(dtype="float32")
        sizes, original = [], stacks.StackOfFits.__init__

        def counted(of_fits, members, *more):
            sizes.append((len(members), len({id(member.fit.x) for member in members})))
            original(of_fits, members, *more)

        monkeypatch.setattr(stacks.StackOfFits, "__init__", counted)
        search = BatchedSearchCV(
            make_pipeline(StandardScaler(), self.MODEL), {"mlpregressor__alpha": [0.1, 1.0]}, cv=3, refit=False
        )
        together = search.fit(x, targets).cv_results_["mean_test_score"]
        of_two_folds = 2 * 16 * (3 + 4)  # each fold's 15 or 16 samples have been transformed for it
        monkeypatch.setattr(stacks, "fits_in_memory", lambda backend, n, dtype: n <= of_two_folds)
        apart = search.fit(x, targets).cv_results_["mean_test_score"]
        assert sizes == [(6, 3), (4, 2), (2, 1)]
        np.testing.assert_allclose(apart, together, rtol=1e-5)


def test_samples_leave_less_memory_for_networks(monkeypatch):
    backend = choose_backend("cpu")
    monkeypatch.setattr(memory, "gpu_memory", lambda backend: Memory(10**6, 10**9, 0, 0, 0))
    without_samples, half, one = (
        networks_at_once(backend, NETWORK.sizes, "float32", 4, 1, [0] * 10**4, n) for n in (0, 10**6 // 8, 10**7)
    )
    assert half == pytest.approx(without_samples / 2, abs=1)
    assert 1 == one < half < without_samples < 10**4


def test_orders_and_numbers_of_steps_leave_less_memory_for_networks(monkeypatch):
    def at_once(n_steps, new_rows):
        return networks_at_once(choose_backend("cpu"), NETWORK.sizes, "float32", 4, n_steps, new_rows)

    monkeypatch.setattr(memory, "gpu_memory", lambda backend: Memory(2 * 10**6, 10**9, 0, 0, 0))
    n_networks, n_rows = 10**4, 25_000  # an order has 0.1 MB
    alone, settings = at_once(1, [0] * n_networks), 4 * (7 + 2 + 4)  # bytes of AdamW's, the penalty and the norm
    assert at_once(1, [n_rows] * n_networks) == 9
    assert at_once(1, [n_rows] + [0] * n_networks) == pytest.approx(0.9 * alone, abs=1)
    assert at_once(10**6, [0] * n_networks) == 1
    assert 10**6 / (1000 * settings) / 2 < at_once(1000, [0] * n_networks) <= 10**6 / (1000 * settings)
    assert at_once(1, [0, 0]) == 2


def test_whether_samples_fit(monkeypatch):
    backend = choose_backend("cpu")
    assert fits_in_memory(backend, 10**12, "float32")  # the host's memory is not checked
    monkeypatch.setattr(memory, "gpu_memory", full)
    assert [
        fits_in_memory(backend, n, dtype) for n, dtype in ((100, "float32"), (101, "float32"), (51, "float64"))
    ] == [*(True, False, False)]
