"""Stacks whose networks have their own samples, order and numbers: each compiled engine against the plain equations."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

from gpubp import BatchedSearchCV, MLPClassifier
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.engine import cpu
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.batch_plan import stride
from gpubp.engine.cuda.epoch import CudaEpochRunner, cuda_epoch_runner
from gpubp.engine.cuda.small_networks import SmallNetworkSteps
from gpubp.engine.cuda.step_arrays import Uploaded
from gpubp.engine.plain import minibatches
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.optim.wrappers import clipped, decayed
from gpubp.testing import assert_agree
from gpubp.training.stack_settings import PerNetworkSchedule
from tests.cuda_machines import MACHINES, Machine, needs_compiler, plain_way, to_machine
from tests.emulated_cuda import EmulatedDevice

N_SAMPLES, SIZE, K = 23, 8, 4
NETWORK = Network((3, 6, 4), activation="tanh", loss="cross_entropy")
KEYS = np.asarray([3, 2**64 - 1, 3, 2**63 + 7], np.uint64)
COUNTS = {"equal": (20, 20, 20, 20), "different": (23, 20, 17, 18), "one more": (17, 24, 24, 24)}
PLACES = {
    "the CPU": pytest.param("the CPU", marks=pytest.mark.skipif(bool(cpu.why_not()), reason="not built")),
    "backwards": pytest.param("backwards", marks=needs_compiler),
    "gpu": pytest.param("gpu", marks=pytest.mark.on("cuda")),
}

pytestmark = pytest.mark.once


def of_each(*numbers):
    return np.asarray(numbers)[:, None]


@pytest.fixture(params=PLACES.values())
def place(request):
    return Machine(choose_backend("cpu"), None) if request.param == "the CPU" else MACHINES[request.param]()


@pytest.fixture(params=["layer by layer", "small networks"])
def form_of_stack(request, place, monkeypatch):
    if request.param == "layer by layer":
        if place.device is None:
            pytest.skip("the CPU has one form")
        monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)  # more than available
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 2)
    return request.param


def compiled_way(place, objective, optimizer, dtype, plain):
    if place.device is None:
        from gpubp.engine.cpu.epoch import engine_epoch_runner

        return engine_epoch_runner(objective, optimizer, dtype, lambda: plain)
    way = cuda_epoch_runner(place.device, objective, optimizer, dtype, None)
    assert isinstance(way, CudaEpochRunner)
    return way


def batches_of(place, dtype, epoch, *, counts, shared=False, weights=None, rates=None):
    """Batches of networks with as many samples each, of which those with a shared order begin at the same place."""
    rng, counts = np.random.default_rng(0), np.asarray(COUNTS[counts])
    x, targets = rng.normal(size=(N_SAMPLES, 3)), rng.dirichlet(np.ones(4), N_SAMPLES)
    sample_weight = None if weights is None else rng.uniform(0.0, 2.0, (2, N_SAMPLES))
    weights_of = np.asarray([0, 1, 1, 0]) if weights == "each" else None
    sample_weight = sample_weight[0] if weights == "together" else sample_weight
    data = Batch(*(None if part is None else part.astype(dtype) for part in (x, targets, sample_weight)))
    rng = np.random.default_rng(epoch)
    orders = [rng.integers(0, N_SAMPLES, n) for n in (counts[:1] if shared else counts)]
    starts = np.zeros(K, int) if shared else np.cumsum([0, *counts[:-1]])
    dropout = None if rates is None else Dropout(NETWORK.sizes[:-1], rates, KEYS, epoch)
    return PerNetworkBatches(
        place.backend, to_machine(place, data), SIZE, np.concatenate(orders), starts, counts, weights_of, dropout
    )


def assert_paths_agree(place, optimizer=None, dtype="float64", network=NETWORK, options=None, **of_batches):
    optimizer, objective = optimizer or momentum(0.05, 0.9), Objective(network, **(options or {}))
    plain, ends = plain_way(place, objective, optimizer, dtype), []
    for way in (plain, compiled := compiled_way(place, objective, optimizer, dtype, plain)):
        theta = place.asarray(initial_weights(network, range(K), scheme="uniform", scale=0.5, dtype=dtype))
        model = ModelState(theta, optimizer.init(place.backend.xp, theta))
        for _ in range(3):
            result = way(model, batches_of(place, dtype, model.epoch, **of_batches))
            model.epoch += 1
        ends.append((model, result))
    (expected_model, expected), (model, result) = ends
    for a, b in zip((model.theta, *model.state[:2]), (expected_model.theta, *expected_model.state[:2]), strict=True):
        assert_agree(a, b, "steps")
    values = to_numpy(expected.values)
    assert_agree(to_numpy(result.values).astype(dtype), values, "steps")
    weights, expected_weights = (
        np.broadcast_to(np.reshape(to_numpy(one.weights), (len(values), -1)), values.shape)
        for one in (result, expected)
    )
    assert_agree(weights.astype(dtype), expected_weights.astype(dtype), "steps")
    np.testing.assert_array_equal(result.sizes, expected.sizes)
    np.testing.assert_array_equal(to_numpy(result.finite), to_numpy(expected.finite))
    return compiled


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.usefixtures("form_of_stack")
class TestAgreesWithPlain:
    @pytest.mark.parametrize("weights", [None, "together", "each"])
    @pytest.mark.parametrize("counts", COUNTS)
    def test_samples_and_weights(self, place, counts, weights, dtype):
        assert_paths_agree(place, dtype=dtype, counts=counts, weights=weights)

    @pytest.mark.parametrize("weights", [None, "each"])
    def test_a_shared_order(self, place, weights):
        way = assert_paths_agree(place, counts="equal", shared=True, weights=weights)
        if place.device is not None and not isinstance(way.steps, SmallNetworkSteps):
            assert way.steps.window[0].ndim == 2  # gathered once for all networks

    @pytest.mark.parametrize("reported", [True, False])
    @pytest.mark.parametrize("l2", [0.3, of_each(0.0, 0.3, 1.0, 2.0)], ids=["shared", "own"])
    def test_penalties(self, place, l2, reported, dtype):
        assert_paths_agree(place, dtype=dtype, options={"l2": l2, "penalty_reported": reported}, counts="different")

    @pytest.mark.parametrize(
        "optimizer",
        [
            adam(of_each(0.001, 0.01, 0.1, 0.02), beta_1=of_each(0.5, 0.9, 0.99, 0.9)),
            decayed(momentum(0.05, of_each(0.0, 0.5, 0.9, 0.2)), of_each(0.1, 0.0, 0.01, 0.02)),
            clipped(momentum(0.05, 0.9), of_each(0.1, 1e-3, 1e3, 0.2)),
            momentum(PerNetworkSchedule((0.1, PiecewiseConstant({0: 0.1, 1.5: 0.01}), 0.05, 0.2))),
        ],
        ids=["adam", "decayed", "clipped", "schedule"],
    )
    def test_settings(self, place, optimizer):
        assert_paths_agree(place, optimizer, counts="different", options={"l2": of_each(0.1, 0.0, 0.0, 2.0)})

    @pytest.mark.parametrize("shared", [True, False])
    @pytest.mark.parametrize("rates", [(0.0, 0.3), (0.2, 0.0), (0.2, 0.3)])
    def test_dropout(self, place, rates, shared):
        counts = "equal" if shared else "different"
        assert_paths_agree(place, adam(), rates=rates, shared=shared, counts=counts)

    @pytest.mark.parametrize("bias", [True, False])
    def test_deeper_networks(self, place, bias):
        network = Network((3, 6, 5, 4), activation="relu", loss="squared", bias=bias)
        assert_paths_agree(place, network=network, counts="different", options={"reduction": "sum"})


@needs_compiler
@pytest.mark.once
def test_the_window_of_networks_with_their_own_weights(monkeypatch):
    """Its samples are counted once for each network, with one weight each, however many weights there are."""
    n_networks, size, n_steps = 3, 2, 50
    place, network = MACHINES["emulated"](), Network((5, 6, 4))
    in_bytes = n_networks * size * (5 + 4 + 1) * 8
    monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)
    monkeypatch.setattr(cuda_epoch, "BYTES_PER_WINDOW", 25 * in_bytes)
    n = n_steps * size
    data = Batch(np.ones((n, 5)), np.ones((n, 4)), np.ones((n_networks, n)))
    orders, counts = np.tile(np.arange(n), n_networks), np.full(n_networks, n)
    batches = PerNetworkBatches(
        place.backend, data, size, orders, n * np.arange(n_networks), counts, np.arange(n_networks)
    )
    way = cuda_epoch_runner(place.device, Objective(network), momentum(), "float64", None)
    theta = np.zeros((n_networks, network.n_parameters))
    way(ModelState(theta, momentum().init(np, theta)), batches)
    assert way.steps.plan.window == 25
    assert sum(array.nbytes for array in way.steps.window) == 25 * in_bytes


@pytest.mark.once
def test_an_order_that_is_changed_in_place():
    order, uploaded = np.arange(6, dtype="int32").reshape(1, 6), Uploaded(EmulatedDevice(), "int32")
    uploaded.set(order)
    order[:] = order[:, ::-1].copy()
    uploaded.set(order)
    np.testing.assert_array_equal(uploaded.arrays[0], [[5, 4, 3, 2, 1, 0]])


@pytest.mark.once
def test_strides_from_network_to_network():
    assert [stride(np.zeros(shape), 2) for shape in ((4, 3), (1, 4, 3), (5, 4, 3))] == [0, 12, 12]
    assert stride(None, 2) == 0


@pytest.mark.once
def test_arrays_side_by_side_keep_their_places_unless_one_is_larger():
    device, order = EmulatedDevice(), np.arange(5)[None]
    uploaded = Uploaded(device, "float64", "int32")
    assert uploaded.set(np.ones((3, 2)), order)
    places = uploaded.arrays
    assert not uploaded.set(np.full((2, 2), 7.0), order[:, ::-1])
    assert not uploaded.set(np.full((2, 2), 7.0), order[:, ::-1])
    assert (device.n_uploads, device.n_allocations) == (2, 1)  # the last numbers were there
    np.testing.assert_array_equal(places[0][:2], 7.0)
    np.testing.assert_array_equal(places[1], order[:, ::-1])
    assert uploaded.set(np.ones((4, 2)), order)
    for array, expected in zip(uploaded.arrays, (np.ones((4, 2)), order), strict=True):
        np.testing.assert_array_equal(array, expected)


@needs_compiler
@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("form", ["layer by layer", "small networks"])
def test_a_search_trains_in_kernels(emulated_gpu, form, early_stopping, monkeypatch):
    """Networks with rates, penalties, folds and ends of their own: the scores of the CPU, without a plain step."""
    if form == "layer by layer":
        monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)
    monkeypatch.setattr(minibatches.PerNetworkBatches, "__iter__", None)  # only the plain path divides them
    monkeypatch.setenv("GPUBP_COMPILED", "always")
    X, y = make_blobs(50, n_features=4, cluster_std=4.0, random_state=0)
    grid = {"learning_rate_init": [0.01, 0.1], "alpha": [0.0, 1.0], "random_state": [0, 1]}
    options = {"max_iter": 8, "batch_size": 10, "tol": 0.1, "n_iter_no_change": 2, "early_stopping": early_stopping}
    searches = []
    for device in ("cuda", "cpu"):
        model = MLPClassifier((5,), device=device, dtype="float64", **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            searches.append(BatchedSearchCV(model, grid, cv=2, refit=False).fit(X, y))
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(*(search.cv_results_[name] for search in searches), rtol=1e-6)
    assert len(emulated_gpu) > 1  # networks that were done have left
    assert all(device.n_launches for device in emulated_gpu)
