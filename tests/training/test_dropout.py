"""Dropout in train: the units follow from the seed, on every device and path, and rates may be schedules."""

import numpy as np
import pytest

from gpubp import FlatCosine, Network, lbfgs, momentum, train
from gpubp.backends.backend import to_numpy
from gpubp.engine import cpu
from gpubp.engine.plain.dropout import Dropout
from gpubp.errors import CheckpointError, DataError
from gpubp.nn.initialization import initial_weights
from gpubp.nn.passes import loss_and_gradient
from gpubp.testing import assert_agree
from gpubp.training.setup import dropout_key

NETWORK = Network((4, 6, 5, 3), activation="tanh", loss="cross_entropy")
RATES = (0.2, 0.3, FlatCosine(0.6, 6))
OPTIONS = {"optimizer": momentum(0.1), "epochs": 6, "shuffle": False, "batch_size": 8, "dtype": "float64"}


def samples(n=21):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), np.eye(3)[rng.integers(0, 3, n)]


def literal(seed, dropout_seed):
    """The parameters after a loop that masks each batch by rates written out."""
    X, targets = samples()
    theta, previous = initial_weights(NETWORK, seed, dtype="float64"), 0.0
    key = dropout_key(dropout_seed)
    for epoch in range(6):
        last = 0.6 if epoch < 3 else 0.3 * (1.0 + np.cos(np.pi * (epoch - 3) / 3))
        dropout = Dropout(NETWORK.sizes[:-1], (0.2, 0.3, last), key, epoch)
        for start in range(0, 21, 8):
            rows = np.arange(start, min(start + 8, 21))
            masks = tuple(dropout.mask(layer, rows, "float64") for layer in range(3))
            _, gradient = loss_and_gradient(np, NETWORK, theta, X[rows], targets[rows], masks=masks)
            previous = 0.9 * previous - 0.1 * gradient / len(rows)
            theta = theta + previous
    return theta


@pytest.mark.parametrize("mode", ["never", "always"])
def test_training_is_that_of_a_literal_loop(mode, monkeypatch):
    monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, mode)
    fit = train(NETWORK, *samples(), seed=5, dropout=RATES, device="cpu", **OPTIONS)
    assert_agree(fit.theta, literal(5, 5), "steps")
    assert not np.allclose(fit.theta, literal(5, 6))


def test_every_backend_drops_the_same_units(backend_case):
    X, targets = samples()
    options = {**OPTIONS, "dtype": "float32", "dropout": RATES}
    fit = train(NETWORK, *map(backend_case.asarray, (X.astype("float32"), targets.astype("float32"))), **options)
    expected = train(NETWORK, X, targets, device="cpu", **options)
    assert_agree(to_numpy(fit.theta), expected.theta, "steps")


def test_networks_of_a_stack_drop_the_units_that_they_drop_alone():
    options = {**OPTIONS, "dropout": RATES, "device": "cpu"}
    stack = train(NETWORK, *samples(), seed=(1, 2), **options)
    for k, seed in enumerate((1, 2)):
        assert_agree(stack.theta[k], train(NETWORK, *samples(), seed=seed, **options).theta, "steps")


def test_networks_that_leave_a_stack_change_nothing_for_the_others():
    def done(targets, outputs):
        return np.arange(len(outputs)) == 0 if len(outputs) > 1 else np.zeros(1, bool)

    options = {**OPTIONS, "dropout": RATES, "device": "cpu"}
    stack = train(NETWORK, *samples(), seed=(1, 2), stop_when=done, **options)
    assert_agree(stack.theta[1], train(NETWORK, *samples(), seed=2, **options).theta, "steps")


def test_a_generator_is_drawn_from_once():
    options = {**OPTIONS, "device": "cpu", "theta": initial_weights(NETWORK, 0, dtype="float64")}
    seeds = [np.random.default_rng(3) for _ in range(2)]
    one, other = (train(NETWORK, *samples(), seed=seed, dropout=0.5, **options).theta for seed in seeds)
    np.testing.assert_array_equal(one, other)
    continued = train(NETWORK, *samples(), seed=seeds[0], dropout=0.5, **options).theta
    assert not np.array_equal(one, continued)


def test_a_rate_of_0_is_none():
    none = train(NETWORK, *samples(), device="cpu", **OPTIONS)
    for dropout in (None, 0.0, FlatCosine(0.0, 3)):
        np.testing.assert_array_equal(
            train(NETWORK, *samples(), device="cpu", dropout=dropout, **OPTIONS).theta, none.theta
        )


@pytest.mark.parametrize("dropout", [0.1, FlatCosine(0.1, 3)], ids=["number", "schedule"])
def test_one_rate_needs_hidden_layers(dropout):
    network, options = Network((4, 3)), {**OPTIONS, "device": "cpu"}
    with pytest.raises(DataError, match=r"network of sizes \(4, 3\) has none, got .*; for the inputs pass a sequence"):
        train(network, *samples(), dropout=dropout, **options)
    dropped, kept = (train(network, *samples(), dropout=each, **options).theta for each in ((dropout,), 0.0))
    assert not np.array_equal(dropped, kept)


def test_second_order_methods_refuse_it():
    with pytest.raises(DataError, match="dropout makes the loss random, which lbfgs does not support"):
        train(NETWORK, *samples(), optimizer=lbfgs(), dropout=0.1, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": FlatCosine(0.4, 6)}, r"dropout of layer 1 was 'FlatCosine\(start=0.5"),
        ({"dropout": FlatCosine(0.5, 6), "seed": 1, "theta": initial_weights(NETWORK, 0)}, "seed of dropout was"),
    ],
)
def test_another_dropout_does_not_resume(tmp_path, options, message):
    common = {**OPTIONS, "device": "cpu", "dropout": FlatCosine(0.5, 6), "dtype": "float32"}
    train(NETWORK, *samples(), checkpoint=tmp_path, **common)
    with pytest.raises(CheckpointError, match=message):
        train(NETWORK, *samples(), checkpoint=tmp_path, resume=True, **{**common, **options})
