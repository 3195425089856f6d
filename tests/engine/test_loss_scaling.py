"""Loss scaling in the CUDA kernels: the scales of the plain path, to the bit, also where gradients overflow."""

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim import loss_scaling
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.loss_scaling import LARGEST_LOSS_SCALE, SMALLEST_LOSS_SCALE, loss_scaled
from gpubp.optim.wrappers import clipped, decayed
from tests.cuda_machines import (
    N_SAMPLES,
    SIZE,
    assert_same,
    plain_and_compiled,
    rounding,
    run_epochs,
    samples,
    to_machine,
)

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # of NumPy

NETWORK = Network((5, 7, 11, 3), activation=("tanh", "gelu"), loss="cross_entropy")
OPTIMIZERS = {
    "momentum": momentum(0.05, 0.9),
    "adam": adam(),
    "clipped adam": clipped(adam(), 0.1),
    "decayed momentum": decayed(momentum(), 0.01),
}


@pytest.fixture
def halving(machine):
    """A machine with products in float16."""
    return rounding(machine, "float16")


def from_scale(machine, *scales):
    """Return a function that gives a state a scale, or one for each network."""

    def state_from(state):
        shape = state.loss_scale.shape
        scale = np.reshape(np.asarray(scales, np.float32), shape) if shape else np.asarray(scales[0], np.float32)
        return state._replace(loss_scale=machine.asarray(scale))

    return state_from


def assert_same_scales(results):
    """Compare everything, the scales to the bit; return the scales and counts at the end."""
    assert_same(results, "steps float16")
    (plain, _), (fast, _) = results
    for name in ("loss_scale", "clean"):
        own, expected = (to_numpy(getattr(model.state, name)) for model in (fast, plain))
        assert own.shape == expected.shape
        assert own.dtype == expected.dtype
        np.testing.assert_array_equal(own, expected)
    return to_numpy(fast.state.loss_scale), to_numpy(fast.state.clean)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_overflows_are_skipped_and_halve_the_scale(halving, optimizer):
    """With momentum and Adam the state is unchanged too, but Adam's count; clipping sees no skipped gradient."""
    results = plain_and_compiled(
        halving,
        NETWORK,
        loss_scaled(OPTIMIZERS[optimizer]),
        "float32",
        state_from=from_scale(halving, LARGEST_LOSS_SCALE),
    )
    scale, clean = assert_same_scales(results)
    assert 2.0**10 < scale < LARGEST_LOSS_SCALE
    assert 0 < clean <= 12 - np.log2(LARGEST_LOSS_SCALE / scale)  # of 12 updates each halving skipped one


def test_the_scale_grows_and_gradients_overflow(halving, monkeypatch):
    monkeypatch.setattr(loss_scaling, "UPDATES_BEFORE_GROWTH", 2)
    start = from_scale(halving, 2.0**15)
    scale, _ = assert_same_scales(
        plain_and_compiled(halving, NETWORK, loss_scaled(adam()), "float32", state_from=start, epochs=5)
    )
    assert 2.0**15 < scale < 2.0**15 * 2**7


def test_the_scale_does_not_grow_beyond_its_bound(halving, monkeypatch):
    monkeypatch.setattr(loss_scaling, "UPDATES_BEFORE_GROWTH", 2)
    monkeypatch.setattr(loss_scaling, "LARGEST_LOSS_SCALE", 2.0**11)
    scale, clean = assert_same_scales(plain_and_compiled(halving, NETWORK, loss_scaled(momentum()), "float32"))
    assert (scale, clean) == (2.0**11, 10.0)


def test_networks_of_a_stack_have_separate_scales(halving):
    start = from_scale(halving, LARGEST_LOSS_SCALE, 2.0**10, 2.0**20)
    results = plain_and_compiled(
        halving, NETWORK, loss_scaled(clipped(adam(), 0.1)), "float32", stack=3, state_from=start
    )
    scale, clean = assert_same_scales(results)
    assert scale[1] == 2.0**10
    assert clean[0] < clean[1] == 12


def test_a_state_that_was_kept_is_left_alone(halving):
    """The loop keeps the state before some epochs, to which it may return."""
    optimizer, start = loss_scaled(momentum()), from_scale(halving, LARGEST_LOSS_SCALE)
    states, numbers = [], []

    def numbers_of(state):
        return float(state.loss_scale), float(state.clean)

    def way(model, batches):
        runner(model, batches)
        states.append(model.state)
        numbers.append(numbers_of(model.state))

    runner = CudaEpochRunner(halving.device, Objective(NETWORK), optimizer, "float32", None)
    run_epochs(halving, way, NETWORK, optimizer, "float32", state_from=start)
    assert len(set(numbers)) > 1
    assert [numbers_of(state) for state in states] == numbers


@pytest.mark.parametrize(
    "how",
    [
        {"weighted": True},
        {"shuffled": False, "size": N_SAMPLES},
        {"options": {"parts": 2, "l2": 0.1}},
        {"options": {"reduction": "sum"}},
        {"dropout": Dropout(NETWORK.sizes[:-1], (0.2, 0.0, 0.5), 12345), "stack": 3},
    ],
    ids=["weighted", "full batch", "parts", "sum", "dropout"],
)
def test_other_options(halving, how):
    scales = (2.0**21,) * how.get("stack", 1)
    start = from_scale(halving, *scales)
    scale, _ = assert_same_scales(
        plain_and_compiled(halving, NETWORK, loss_scaled(adam()), "float32", state_from=start, **how)
    )
    assert np.all(scale < 2.0**21)


def test_at_the_smallest_scale_numbers_that_are_not_finite_get_through(halving):
    start = from_scale(halving, SMALLEST_LOSS_SCALE)
    network = Network((5, 3))
    ends = []
    for value in (0.0, np.inf):
        optimizer = loss_scaled(momentum())
        runner = CudaEpochRunner(halving.device, Objective(network), optimizer, "float32", None)
        batch = samples(network, "float32")
        batch.targets[3, 1] = value
        theta = halving.asarray(initial_weights(network, 0, dtype="float32"))
        model = ModelState(theta, start(optimizer.init(halving.backend.xp, theta)))
        report = runner(model, ArrayBatches(halving.backend, to_machine(halving, batch), SIZE))
        assert bool(report.finite) == np.isfinite(value)
        ends.append((float(model.state.loss_scale), float(model.state.clean)))
    assert ends == [(SMALLEST_LOSS_SCALE, 3.0)] * 2


def test_full_precision_has_loss_scaling_too(machine, dtype):
    """Nothing overflows; a power of two changes no digit."""
    start = from_scale(machine, 4.0) if dtype == "float32" else lambda state: state
    (plain, _), (fast, _) = plain_and_compiled(
        machine, NETWORK, loss_scaled(momentum()), dtype, state_from=start, epochs=3
    )
    unscaled, _ = run_epochs(
        machine,
        CudaEpochRunner(machine.device, Objective(NETWORK), momentum(), dtype, None),
        NETWORK,
        momentum(),
        dtype,
        epochs=3,
    )
    assert float(fast.state.clean) == float(plain.state.clean) == 9.0
    np.testing.assert_allclose(to_numpy(fast.theta), to_numpy(unscaled.theta), rtol=1e-6, atol=1e-6)


def test_the_scale_must_fit_the_networks(halving):
    optimizer, theta = loss_scaled(momentum()), halving.asarray(np.zeros((3, NETWORK.n_parameters), "float32"))
    runner = CudaEpochRunner(halving.device, Objective(NETWORK), optimizer, "float32", None)
    state = optimizer.init(halving.backend.xp, theta)
    batches = ArrayBatches(halving.backend, to_machine(halving, samples(NETWORK, "float32")), SIZE)
    for name in ("loss_scale", "clean"):
        model = ModelState(theta, state._replace(**{name: getattr(state, name)[:2]}))
        with pytest.raises(ValueError, match=r"must be float32 of shape \(3,\) here, got float32 of shape \(2,\)"):
            runner(model, batches)
