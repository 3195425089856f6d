"""Dropout: rates, masks, and the gradient through them."""

import re

import numpy as np
import pytest

from gpubp import Network
from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.engine.plain.dropout import dropout_rates, with_dropout
from gpubp.engine.plain.minibatches import Batch
from gpubp.errors import DataError
from gpubp.nn.network import loss_and_gradient
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_drop_the_requested_fraction_and_keep_the_mean(backend_case, dtype):
    x, targets = backend_case.asarray(np.zeros((2000, 4), dtype)), backend_case.asarray(np.zeros((2000, 3), dtype))
    backend = choose_backend("auto", x)
    rates = (0.0, 0.25, 0.8)
    [(part, batch)] = with_dropout(backend, NETWORK, rates, np.random.default_rng(0), [(0.5, Batch(x, targets))])
    assert part == 0.5
    assert [mask.shape for mask in batch.dropout_masks] == [(2000, 4), (2000, 6), (2000, 5)]
    for mask, rate in zip(batch.dropout_masks, rates, strict=True):
        assert mask.dtype == x.dtype
        values = to_numpy(mask)
        np.testing.assert_allclose(np.unique(values[values > 0]), 1.0 / (1.0 - rate), rtol=1e-6)
        assert abs(float(values.mean()) - 1.0) < 0.05
        assert abs(float((values == 0).mean()) - rate) < 0.02


def test_gradient_through_the_masks_equals_differences():
    generator = np.random.default_rng(3)
    theta = generator.normal(0.0, 0.5, NETWORK.n_parameters)
    x, targets = generator.normal(size=(7, 4)), np.eye(3)[generator.integers(0, 3, 7)]
    backend = choose_backend("cpu", x)
    [(_, batch)] = with_dropout(backend, NETWORK, (0.3, 0.5, 0.2), generator, [(0.0, Batch(x, targets))])

    def error(at):
        return loss_and_gradient(np, NETWORK, at, *batch[:4])[0]

    _, gradient = loss_and_gradient(np, NETWORK, theta, *batch[:4])
    h = 6e-6
    differences = np.asarray([(error(theta + h * e) - error(theta - h * e)) / (2 * h) for e in np.eye(theta.size)])
    assert_agree(gradient, differences, "differences")
    assert not np.allclose(gradient, loss_and_gradient(np, NETWORK, theta, x, targets)[1])
