"""Epochs in parts: the same batches, positions and bits wherever an epoch is divided."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.backends.backend import choose_backend
from gpubp.engine import windows
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, BatchesInParts, Orders, divide_epoch, remaining_parts
from gpubp.engine.plain.step import EpochResult, ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.schedules import InverseScaling
from gpubp.training.loop import begin, run
from gpubp.training.plan import Plan

BACKEND = choose_backend("cpu")
NETWORK = Network((3, 5, 2), activation="tanh")
N_SAMPLES, SIZE = 23, 4


def samples(n_samples=N_SAMPLES, *, weighed=False):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, n_samples) if weighed else None
    return Batch(rng.normal(size=(n_samples, 3)), rng.uniform(size=(n_samples, 2)), weights)


def batches(n_samples=N_SAMPLES, size=SIZE, *, shuffled=True, weighed=False):
    order = np.random.default_rng(1).permutation(n_samples) if shuffled else None
    return ArrayBatches(BACKEND, samples(n_samples, weighed=weighed), size, order)


# --- division into parts ---


@given(n_samples=st.integers(1, 3000), size=st.integers(1, 80), n_steps=st.integers(1, 12))
def test_fractions_do_not_depend_on_how_an_epoch_is_divided(n_samples, size, n_steps):
    batches = ArrayBatches(BACKEND, Batch(np.empty((n_samples, 1)), np.empty((n_samples, 1))), size)
    parts = list(BatchesInParts(batches, n_steps))
    of_parts = [divide_epoch(part.n_samples, size, part.fraction_done, part.fraction) for part in parts]
    for actual, expected in zip(
        map(np.concatenate, zip(*of_parts, strict=True)), divide_epoch(n_samples, size), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.concatenate([part.order for part in parts]), np.arange(n_samples))
    assert min(part.n_samples for part in parts) >= min(n_samples, size * n_steps)


def test_a_part_of_a_stream_has_its_fraction():
    """Windows of 10 and of 30 samples, the first of which is a quarter of the epoch."""
    np.testing.assert_array_equal(divide_epoch(30, 10, 0.25, 0.75)[1], [0.25, 0.5, 0.75])
    assert [place for place, _ in replace(batches(10, 99, shuffled=False), fraction_done=0.5, fraction=0.25)] == [0.5]


@pytest.mark.parametrize("shuffled", [True, False])
def test_parts_hold_the_batches_of_the_whole(shuffled):
    expected = batches(shuffled=shuffled)
    in_parts = [batch for part in BatchesInParts(expected, 2) for batch in part]
    assert [place for place, _ in in_parts] == [place for place, _ in expected]
    for (_, one), (_, other) in zip(in_parts, expected, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_remaining_parts():
    parts = BatchesInParts(batches(), 1)
    orders = [part.order.tolist() for part in parts]
    assert len(orders) == 5  # of six batches, the last of which is too small to be a part
    assert [part.order.tolist() for part in remaining_parts(parts, 3)] == orders[3:]
    assert [part.order.tolist() for part in parts.after(1).after(2)] == orders[3:]
    assert list(parts.after(5)) == []


def test_batches_without_parts_are_one_part():
    expected = batches()
    assert list(remaining_parts(expected, 0)) == [expected]


@pytest.mark.parametrize("bits", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_orders_are_drawn_again_from_a_restored_state(bits):
    def orders():
        return Orders(np.random.Generator(getattr(np.random, bits)(3)))

    one, other = orders(), orders()
    one.draw(50)
    drawn = [one.draw(50) for _ in range(3)]
    states = one.state(before_last_draw=True), one.state()
    drawn.append(one.draw(50))
    for state, order in zip(states, drawn[2:], strict=True):
        other.restore(state)
        np.testing.assert_array_equal(other.draw(50), order)


# --- epochs ---


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("n_networks", [None, 3])
@pytest.mark.parametrize(("shuffled", "weighed"), [(True, False), (False, True)])
def test_epochs_in_parts_take_the_steps_of_one_epoch(n_networks, shuffled, weighed):
    whole, optimizer, ends = batches(shuffled=shuffled, weighed=weighed), adam(InverseScaling(0.1)), []
    theta = initial_weights(NETWORK, 0 if n_networks is None else range(n_networks), dtype="float64")
    for parts in ([whole], BatchesInParts(whole, 1), BatchesInParts(whole, 2)):
        run_epoch = make_epoch_runner(BACKEND, Objective(NETWORK, l2=0.1), optimizer, "float64")
        position, reported = ModelState(theta, optimizer.init(np, theta)), []
        for _ in range(3):
            reported += [run_epoch(position, part) for part in parts]
            position.epoch += 1
        values, weights, sizes = (
            np.concatenate([getattr(one, of) for one in reported]) for of in reported[0]._fields[:3]
        )
        ends.append([position.theta, *position.state, values, weights, sizes])
    for end in ends[1:]:
        for actual, expected in zip(end, ends[0], strict=True):
            np.testing.assert_array_equal(actual, expected)


# --- the loop ---


def plan(parts=None, *, optimizer, average="weights", weighed=False, epochs=5, **more):
    """Return a plan for epochs in new orders, in parts of this many steps."""
    rng = np.random.default_rng(2)

    def next_batches(epoch):
        expected = replace(batches(weighed=weighed), order=rng.permutation(N_SAMPLES))
        return expected if parts is None else BatchesInParts(expected, parts)

    run_epoch = make_epoch_runner(BACKEND, Objective(NETWORK, average is not None), optimizer, "float64")
    return Plan(BACKEND, run_epoch, next_batches, epochs, average, **more)


def position(optimizer, seed=0):
    theta = initial_weights(NETWORK, seed, dtype="float64")
    return ModelState(theta, optimizer.init(np, theta), own_state=True)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("seed", [0, (0, 1)])
@pytest.mark.parametrize(("average", "weighed"), [("weights", True), ("samples", True), (None, False)])
def test_the_loss_of_an_epoch_is_the_same_in_parts(average, weighed, seed):
    optimizer = momentum(0.01)
    how = {"optimizer": optimizer, "average": average, "weighed": weighed}
    whole, *others = (run(plan(parts, **how), position(optimizer, seed)) for parts in (None, 1, 2, 3))
    for other in others:
        np.testing.assert_array_equal(other.theta, whole.theta)
        np.testing.assert_array_equal(other.history.loss, whole.history.loss)


@pytest.mark.parametrize("average", ["weights", None])
def test_many_steps_add_up_to_the_same_in_parts(average):
    values, weights = np.random.default_rng(0).normal(size=(2, 1000))
    batches = ArrayBatches(BACKEND, Batch(np.empty((1000, 3)), np.empty((1000, 2))), 1, np.arange(1000))

    def run_epoch(position, part):
        return EpochResult(values[part.order], weights[part.order], np.ones(part.n_samples, int), np.asarray(True))

    errors = [
        run(Plan(BACKEND, run_epoch, lambda _, given=given: given, 1, average), position(momentum())).history.loss
        for given in (batches, *(BatchesInParts(batches, n_steps) for n_steps in (1, 7, 100, 333)))
    ]
    assert errors[1:] == errors[:1] * 4


def test_the_state_is_passed_on_between_parts_and_after_each_epoch():
    optimizer, stood = momentum(0.01), []
    outcome = run(plan(2, optimizer=optimizer, epochs=2), position(optimizer), stood.append)
    assert [(one.model.epoch, one.model.parts_done) for one in stood] == [(0, 1), (1, 0), (1, 1), (2, 0)]
    assert [one.n_recorded for one in stood] == [0, 1, 1, 2]
    np.testing.assert_array_equal(stood[-1].model.theta, outcome.theta)
    assert stood[0].model.sums.n_samples == 2 * SIZE
    assert stood[1].model.sums.values == 0.0


@pytest.mark.usefixtures("form")
def test_a_state_that_was_passed_on_does_not_change():
    optimizer, stood, copies = adam(0.01), [], []

    def arrays(training_state):
        return [
            training_state.model.theta,
            *training_state.model.state,
            training_state.stack.done,
            training_state.stack.epoch,
        ]

    def keep(training_state):
        stood.append(training_state)
        copies.append([np.array(array) for array in arrays(training_state)])

    def stop_when(state, outputs):
        return np.asarray([state.epoch == 1, state.epoch == 3])

    run(plan(1, optimizer=optimizer, stop_when=stop_when), position(optimizer, (0, 1)), keep)
    for training_state, copy in zip(stood, copies, strict=True):
        for array, before in zip(arrays(training_state), copy, strict=True):
            np.testing.assert_array_equal(array, before)
    assert [one.stack.done.tolist() for one in stood[::5]] == [[False, False], [True, False], [True, False]]


def test_an_epoch_ends_early_if_all_networks_diverge():
    optimizer, taken = momentum(0.01), []
    start = position(optimizer)
    start.theta[0] = np.nan
    planned = plan(1, optimizer=optimizer)
    reported = replace(planned, run_epoch=lambda *given: (taken.append(1), planned.run_epoch(*given))[1])
    assert run(reported, start).stop_reason == "diverged"
    assert len(taken) == 1


def test_a_resumed_run_stops_where_an_uninterrupted_one_does():
    optimizer, stood = momentum(0.01), []
    planned = partial(plan, optimizer=optimizer, epochs=3)
    run(planned(), position(optimizer), stood.append)
    assert run(planned(), stood[-1]).stop_reason == "epochs"
    assert stood[-1].model.epoch == 3
    assert len(run(planned(epochs=4), stood[-1]).history.loss) == 4


def test_the_beginning():
    start = position(optimizer := momentum(0.01))
    training_state = begin(plan(optimizer=optimizer), start)
    assert training_state.model is start
    assert training_state.best.theta is None
    assert training_state.stack is None
    assert not training_state.diverged


@pytest.mark.parametrize("options", [{"epochs": 2}, {"size": N_SAMPLES}])
def test_windows_are_of_single_epochs_of_several_batches(monkeypatch, options):
    monkeypatch.setattr(windows, "BYTES_OF_A_WINDOW", 1)
    data = Batch(np.zeros((3, N_SAMPLES)).T, np.zeros((N_SAMPLES, 2)))
    result, requested = EpochResult(*[np.zeros(1)] * 4), []
    run_epoch = windows.WindowRunner(lambda model, batches: requested.append(batches) or result)
    batches = ArrayBatches(BACKEND, data, **{"size": SIZE} | options)
    run_epoch(None, batches)
    assert requested == [batches]
    run_epoch(None, replace(batches, epochs=1, size=SIZE))
    assert len(requested) > 2
