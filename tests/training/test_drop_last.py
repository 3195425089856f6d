"""A last batch that is smaller than the others is left out."""

import numpy as np
import pytest

from gpubp import Network, gradient_descent, initial_weights, momentum, open_stream, train
from gpubp.engine import cpu
from gpubp.errors import DataError
from gpubp.testing import assert_agree

NETWORK = Network((3, 4, 2), activation="tanh")
OPTIONS = {"optimizer": momentum(0.1), "batch_size": 8, "epochs": 5, "device": "cpu", "seed": 1}


def samples(n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2))


@pytest.mark.parametrize("mode", ["never", "always"])
def test_samples_after_the_last_whole_batch_change_nothing(mode, monkeypatch):
    monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, mode)
    X, targets = samples(21)
    dropped = train(NETWORK, X, targets, drop_last=True, shuffle=False, **OPTIONS)
    expected = train(NETWORK, X[:16], targets[:16], shuffle=False, **OPTIONS)
    assert_agree(dropped.theta, expected.theta, "steps")
    assert not np.allclose(dropped.theta, train(NETWORK, X, targets, shuffle=False, **OPTIONS).theta)


def test_other_samples_are_left_out_in_each_epoch():
    X, targets = samples(21)
    X = np.eye(21)
    network = Network((21, 2))
    fit = train(network, X, targets, drop_last=True, **OPTIONS | {"epochs": 1, "theta": np.zeros(44)})
    assert np.count_nonzero(np.any(fit.theta[:42].reshape(21, 2), axis=1)) == 16
    fit = train(network, X, targets, drop_last=True, **OPTIONS | {"epochs": 9, "theta": np.zeros(44)})
    assert np.all(fit.theta)


@pytest.mark.parametrize("n", [5, 8, 16])
def test_whole_batches_and_a_single_one_stay(n):
    one, other = (train(NETWORK, *samples(n), drop_last=drop, **OPTIONS).theta for drop in (False, True))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", ["never", "always"])
def test_an_epoch_whose_samples_weigh_0_has_no_loss(mode, monkeypatch):
    monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, mode)
    weights = np.where(np.arange(21) < 16, 0.0, 1.0)
    options = OPTIONS | {"optimizer": gradient_descent(0.1), "dtype": "float64"}
    fit = train(NETWORK, *samples(21), drop_last=True, shuffle=False, sample_weight=weights, **options)
    assert not fit.diverged
    assert fit.history.loss == [0.0] * 5
    np.testing.assert_array_equal(fit.theta, initial_weights(NETWORK, 1, dtype="float64"))


def test_faults_are_reported():
    with pytest.raises(DataError, match="drop_last must be True or False, got 1"):
        train(NETWORK, *samples(21), drop_last=1, **OPTIONS)
    with pytest.raises(DataError, match="drop_last needs the number of samples"):
        train(NETWORK, open_stream(*samples(21)), drop_last=True, **OPTIONS)
