"""Dropout: rates, masks at all positions on all paths, and the gradient through them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy
import scipy.sparse

from gpubp import Network, adam, initial_weights
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.epoch import plain_epoch_runner
from gpubp.engine.plain.dropout import Dropout, dropout_rates, threshold_of
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, BatchesInParts, PerNetworkBatches
from gpubp.engine.plain.philox import philox
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.errors import DataError
from gpubp.nn.passes import loss_and_gradient
from gpubp.optim.schedules import Cosine, FlatCosine
from gpubp.testing import assert_agree

NETWORK = Network((4, 6, 5, 3), activation="tanh", loss="cross_entropy")


@pytest.mark.parametrize(
    ("dropout", "rates"),
    [
        (0, ()),
        (0.0, ()),
        ((0.0, 0.0), ()),
        (0.5, (0.0, 0.5, 0.5)),
        ((0.1, 0.2), (0.0, 0.1, 0.2)),
        (np.asarray([0.3, 0.1, 0.2]), (0.3, 0.1, 0.2)),
        (Cosine(0.5, 3), (0.0, Cosine(0.5, 3), Cosine(0.5, 3))),
        ((0.1, Cosine(0.5, 3), 0), (0.1, Cosine(0.5, 3), 0.0)),
    ],
)
def test_rates(dropout, rates):
    assert dropout_rates(NETWORK, dropout) == rates


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        *((dropout, "must be from 0 to below 1, ") for dropout in (1.0, -0.1, ("a", 0.1), float("nan"))),
        *((dropout, "must be one number, 2 .* or 3 .the inputs first., ") for dropout in ((0.1,), (0.1,) * 4)),
    ],
)
def test_invalid_rates(dropout, message):
    with pytest.raises(DataError, match=f"dropout {message}.*got {re.escape(repr(dropout))}"):
        dropout_rates(NETWORK, dropout)


def dropout_of(rates, key=2**63 + 5, **position):
    return Dropout(NETWORK.sizes[:-1], rates, key, **position)


def samples(n, generator=None):
    generator = np.random.default_rng(0) if generator is None else generator
    return generator.normal(size=(n, 4)), np.eye(3)[generator.integers(0, 3, n)]


def masks_of(batches):
    """All masks of some batches, by layer."""
    masks = [[None if mask is None else to_numpy(mask) for mask in batch.dropout_masks] for _, batch in batches]
    return [None if layer[0] is None else np.concatenate(layer, axis=-2) for layer in zip(*masks, strict=True)]


def assert_same_masks(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def rises(epoch):
    return 0.5 * epoch


@pytest.mark.parametrize("schedule", [Cosine(1.0, 3), lambda epoch: "0.1", lambda epoch: -0.1])
def test_schedules_with_invalid_values(schedule):
    with pytest.raises(DataError, match=r"the values of dropout must be from 0 to below 1, .* after 0 epochs .* is "):
        dropout_rates(NETWORK, schedule)
    with pytest.raises(DataError, match=r"after 2 epochs <function rises .* is 1\.0"):
        dropout_of((0.0, rises, 0.0), epoch=2).mask(1, np.arange(3), "float64")


def test_schedules_that_are_not_made():
    with pytest.raises(DataError, match=r"dropout must be a number or a schedule, .* got the class Cosine"):
        dropout_rates(NETWORK, Cosine)


# --- one epoch ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_drop_the_requested_fraction_and_keep_the_mean(backend_case, dtype):
    x, targets = backend_case.asarray(np.zeros((2000, 4), dtype)), backend_case.asarray(np.zeros((2000, 3), dtype))
    backend, rates = choose_backend("auto", x), (0.0, 0.25, 0.8)
    [(_, batch)] = ArrayBatches(backend, Batch(x, targets), 2000, dropout=dropout_of(rates))
    without, *masks = batch.dropout_masks
    assert without is None
    assert [mask.shape for mask in masks] == [(2000, 6), (2000, 5)]
    for layer, (mask, rate) in enumerate(zip(masks, rates[1:], strict=True), 1):
        assert mask.dtype == x.dtype
        values = to_numpy(mask)
        np.testing.assert_allclose(np.unique(values[values > 0]), 1.0 / (1.0 - rate), rtol=1e-6)
        assert abs(float(values.mean()) - 1.0) < 0.05
        assert abs(float((values == 0).mean()) - rate) < 0.02
        np.testing.assert_array_equal(values, dropout_of(rates).mask(layer, np.arange(2000), dtype))


@pytest.mark.parametrize("at_once", [1, 7, 1 << 13])
def test_a_mask_is_that_of_the_documented_counters(at_once, monkeypatch):
    monkeypatch.setattr("gpubp.engine.plain.dropout.COUNTERS_AT_ONCE", at_once)
    key, epoch, rates = 2**63 + 5, 3, (0.3, 0.5, 0.2)
    for layer, (n_units, rate) in enumerate(zip(NETWORK.sizes, rates, strict=False)):
        mask = dropout_of(rates, key, epoch=epoch).mask(layer, np.asarray([0, 1, 2, 70000]), "float32")
        for row, position in enumerate((0, 1, 2, 70000)):
            for k in range(n_units):
                word = int(philox((k // 4, position, epoch, layer), key)[k % 4])
                assert mask[row, k] == (0.0 if word < round(rate * 2**32) else np.float32(1.0 / (1.0 - rate)))


def test_thresholds():
    assert [threshold_of(rate) for rate in (0.0, 0.5, 0.2, 1.0 - 1e-15)] == [0, 2**31, 858993459, 2**32 - 1]


def test_layers_epochs_and_keys_have_different_masks():
    positions = np.arange(50)
    masks = [
        dropout_of((0.5, 0.5, 0.5), key, epoch=epoch).mask(layer, positions, "float64")[:, :4].tobytes()
        for key in (0, 1, 2**32)
        for epoch in (0, 1)
        for layer in (0, 1, 2)
    ]
    assert len(set(masks)) == len(masks)


def test_a_rate_that_is_a_schedule_has_its_value_in_each_epoch():
    schedule, positions = FlatCosine(0.5, 8), np.arange(9)
    scheduled, rates = dropout_of((0.1, schedule, 0.0)), []
    for epoch in range(9):
        rate = 0.5 if epoch <= 4 else 0.25 * (1.0 + np.cos(np.pi * (epoch - 4) / 4))
        fixed = dropout_of((0.1, rate, 0.0), epoch=epoch)
        rates.append(fixed.rates)
        for layer in range(3):
            masks = (one.mask(layer, positions, "float64") for one in (scheduled.at(epoch=epoch), fixed))
            np.testing.assert_allclose(*masks, rtol=1e-15)
    np.testing.assert_allclose(scheduled.of_epochs(9), rates, rtol=1e-15)
    [(_, batch)] = ArrayBatches(choose_backend("cpu"), Batch(*samples(9)), 9, dropout=scheduled.at(epoch=8))
    assert batch.dropout_masks[1:] == (None, None)


def test_gradient_through_the_masks_equals_differences():
    generator = np.random.default_rng(3)
    theta = generator.normal(0.0, 0.5, NETWORK.n_parameters)
    x, targets = samples(7, generator)
    for rates in ((0.3, 0.5, 0.2), (0.0, 0.5, 0.0)):
        batch = Batch(x, targets).with_dropout(choose_backend("cpu"), dropout_of(rates), 0)

        def error(at, batch=batch):
            return loss_and_gradient(np, NETWORK, at, *batch[:4])[0]

        _, gradient = loss_and_gradient(np, NETWORK, theta, *batch[:4])
        h = 6e-6
        differences = np.asarray([(error(theta + h * e) - error(theta - h * e)) / (2 * h) for e in np.eye(theta.size)])
        assert_agree(gradient, differences, "differences")
        assert not np.allclose(gradient, loss_and_gradient(np, NETWORK, theta, x, targets)[1])


# --- the same masks however an epoch is divided ---

RATES = (0.3, 0.5, 0.2)


@pytest.fixture
def whole():
    """The masks of an epoch of 23 samples in one batch."""
    return [dropout_of(RATES, epoch=2).mask(layer, np.arange(23), "float64") for layer in range(3)]


@pytest.mark.parametrize("on_host", [False, True])
@pytest.mark.parametrize("order", [None, np.random.default_rng(0).permutation(23)])
@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_batches(size, order, on_host, whole):
    batches = ArrayBatches(
        choose_backend("cpu"), Batch(*samples(23)), size, order, on_host=on_host, dropout=dropout_of(RATES, epoch=2)
    )
    assert_same_masks(masks_of(batches), whole)


def test_parts_of_an_epoch(whole):
    batches = ArrayBatches(choose_backend("cpu"), Batch(*samples(23)), 3, dropout=dropout_of(RATES, epoch=2))
    parts = list(BatchesInParts(batches, 2))
    assert len(parts) == 3
    assert_same_masks(masks_of(pair for part in parts for pair in part), whole)
    resumed = BatchesInParts(batches, 2).after(2)
    assert_same_masks(masks_of(pair for part in resumed for pair in part), [mask[12:] for mask in whole])


def test_shards_of_several_processes(whole):
    shards = []
    for rank in range(3):
        process = ProcessGroup()
        process.rank, process.world_size = rank, 3
        dropout = dropout_of(RATES, epoch=2)
        shards.append(ArrayBatches(choose_backend("cpu"), Batch(*samples(23)), 7, processes=process, dropout=dropout))
    assert_same_masks(masks_of(pair for step in zip(*shards, strict=True) for pair in step), whole)


def test_parts_of_a_batch(whole):
    [(_, batch)] = ArrayBatches(choose_backend("cpu"), Batch(*samples(23)), 23, dropout=dropout_of(RATES, epoch=2))
    assert_same_masks(masks_of(enumerate(batch.parts(4))), whole)
    [(_, batch)] = ArrayBatches(choose_backend("cpu"), Batch(*samples(9)), 9, dropout=dropout_of((0.0, 0.0, 0.2)))
    assert [part.dropout_masks[:2] for part in batch.parts(2)] == [(None, None)] * 2


@pytest.mark.parametrize("at_once", [1, 7, 1 << 13])
def test_sparse_samples(at_once, whole, monkeypatch):
    monkeypatch.setattr("gpubp.engine.plain.dropout.COUNTERS_AT_ONCE", at_once)
    x, targets = samples(23)
    x[np.random.default_rng(1).random(x.shape) < 0.6] = 0.0
    x[5] = 0.0
    batch = Batch(scipy.sparse.csr_array(x), targets)
    dropped = batch.with_dropout(choose_backend("cpu"), dropout_of(RATES, epoch=2, first_sample=-3), 3)
    np.testing.assert_array_equal(dropped.x.toarray(), x * whole[0])
    assert_same_masks(dropped.dropout_masks, [None, *whole[1:]])
    np.testing.assert_array_equal(batch.x.toarray(), x)


def test_networks_of_a_stack_have_the_masks_that_they_have_alone():
    keys, counts = np.asarray([3, 2**64 - 1, 3], np.uint64), np.asarray([11, 9, 5])
    order = np.concatenate([np.random.default_rng(k).permutation(11)[:n] for k, n in enumerate(counts)])
    starts = np.cumsum([0, *counts[:-1]])
    backend = choose_backend("cpu")
    for of_networks in (keys, keys[[0, 2]]):
        networks = slice(None) if len(of_networks) == 3 else slice(0, None, 2)
        batches = PerNetworkBatches(
            backend,
            Batch(*samples(11)),
            4,
            order,
            starts[networks],
            counts[networks],
            dropout=dropout_of(RATES, of_networks, epoch=2),
        )
        masks = masks_of(batches)
        for k, n in enumerate(counts[networks]):
            alone = ArrayBatches(
                backend, Batch(*samples(n)), 4, dropout=dropout_of(RATES, int(of_networks[k]), epoch=2)
            )
            stacked = [np.broadcast_to(mask, (len(of_networks), *mask.shape[-2:]))[k, :n] for mask in masks]
            assert_same_masks(stacked, masks_of(alone))


def test_several_epochs_in_one_call():
    backend, optimizer, data = choose_backend("cpu"), adam(0.01), Batch(*samples(23))
    orders = np.stack([np.random.default_rng(k).permutation(23) for k in range(4)])
    thetas = []
    for calls in ([4], [1, 3], [1] * 4):
        run_epoch = plain_epoch_runner(backend, Objective(NETWORK), optimizer, "float64")
        theta = initial_weights(NETWORK, 0, dtype="float64")
        model, start = ModelState(theta, optimizer.init(np, theta)), 0
        for n in calls:
            batches = ArrayBatches(backend, data, 5, orders[start : start + n], n, dropout=dropout_of(RATES))
            run_epoch(model, replace(batches, dropout=batches.dropout.at(epoch=start)))
            start, model.epoch = start + n, model.epoch + n
        thetas.append(model.theta)
    np.testing.assert_array_equal(thetas[0], thetas[1])
    np.testing.assert_array_equal(thetas[0], thetas[2])
