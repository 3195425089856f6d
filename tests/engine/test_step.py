"""One training step: sum or mean, the penalty on the weights, sample weights, and its return value."""

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine.plain.minibatches import Batch, total_weight
from gpubp.engine.plain.step import Objective, gauss_newton, make_step, objective_and_gradient
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.nn.passes import loss_and_gradient
from gpubp.optim.first_order import momentum
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.optim.wrappers import decayed

pytestmark = pytest.mark.usefixtures("double")
NETWORK = Network((3, 4, 2), activation="tanh")
RNG = np.random.default_rng(0)
X, D = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2))
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 3.0, 1.0, 1.0])
THETA = initial_weights(NETWORK, 1, scheme="uniform", scale=1.0, dtype="float64")
STACK = initial_weights(NETWORK, [1, 2, 3], scheme="uniform", scale=1.0, dtype="float64")


def evaluate(objective, theta, batch, device="cpu"):
    backend = choose_backend(device)
    mask, theta = (to_backend(backend, array) for array in (objective.network.weight_mask(), theta))
    batch = Batch(*(None if part is None else to_backend(backend, part) for part in batch[:3]))
    return tuple(to_numpy(part) for part in objective_and_gradient(backend.xp, objective, mask, theta, batch))


def differences(objective, theta, batch, h=1e-5):
    def error(theta):
        return evaluate(objective, theta, batch)[0]

    return np.array([(error(theta + h * e) - error(theta - h * e)) / (2 * h) for e in np.eye(theta.size)])


def test_sum_without_penalty_is_that_of_the_paper(device):
    value, gradient = evaluate(Objective(NETWORK, reduction="sum"), THETA, Batch(X, D), device)
    E, dE = loss_and_gradient(np, NETWORK, THETA, X, D)
    np.testing.assert_allclose(value, E, rtol=1e-14)
    np.testing.assert_allclose(gradient, dE, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("weights", "of_samples"), [(None, 7.0), (WEIGHTS, 8.5)])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_mean_is_the_sum_over_the_weight_of_the_samples(weights, of_samples, l2, device):
    batch = Batch(X, D, weights)
    total, slope_of_total = evaluate(Objective(NETWORK, reduction="sum", l2=l2), THETA, batch, device)
    mean, slope_of_mean = evaluate(Objective(NETWORK, reduction="mean", l2=l2), THETA, batch, device)
    np.testing.assert_allclose(mean, total / of_samples, rtol=1e-14)
    np.testing.assert_allclose(slope_of_mean, slope_of_total / of_samples, rtol=1e-14)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gradient_of_the_penalised_objective_is_that_of_central_differences(weights, reduction):
    objective, batch = Objective(NETWORK, reduction, l2=0.7), Batch(X, D, weights)
    np.testing.assert_allclose(
        evaluate(objective, THETA, batch)[1], differences(objective, THETA, batch), rtol=1e-6, atol=1e-8
    )


def test_penalty_is_half_the_squared_weights_without_biases(device):
    plain, slope = evaluate(Objective(NETWORK, reduction="sum"), THETA, Batch(X, D), device)
    penalised, penalised_slope = evaluate(Objective(NETWORK, reduction="sum", l2=0.7), THETA, Batch(X, D), device)
    first, second = THETA[:16].reshape(4, 4), THETA[16:].reshape(5, 2)
    np.testing.assert_allclose(
        penalised - plain, 0.35 * (np.sum(first[:-1] ** 2) + np.sum(second[:-1] ** 2)), rtol=1e-12
    )
    extra = penalised_slope - slope
    np.testing.assert_allclose(extra[:12], 0.7 * THETA[:12], rtol=1e-10)
    np.testing.assert_array_equal(extra[12:16], 0.0)
    np.testing.assert_array_equal(extra[24:], 0.0)


def test_without_biases_every_parameter_is_penalised():
    network = Network((3, 4, 2), activation="tanh", bias=False)
    theta = initial_weights(network, 0, dtype="float64")
    slopes = [evaluate(Objective(network, "sum", l2), theta, Batch(X, D))[1] for l2 in (0.0, 0.5)]
    np.testing.assert_allclose(slopes[1] - slopes[0], 0.5 * theta, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_sample_weight_counts_as_copies_of_the_sample(reduction, device):
    weights = np.array([1.0, 2.0, 0.0, 1.0, 3.0, 1.0, 1.0])
    repeated = np.repeat(np.arange(7), weights.astype(int))
    weighted = evaluate(Objective(NETWORK, reduction, 0.1), THETA, Batch(X, D, weights), device)
    plain = evaluate(Objective(NETWORK, reduction, 0.1), THETA, Batch(X[repeated], D[repeated]))
    np.testing.assert_allclose(weighted[0], plain[0], rtol=1e-13)
    np.testing.assert_allclose(weighted[1], plain[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("own", [False, True])
def test_stack_equals_singles(own, device):
    """With separate samples and weights, or with the same for all."""
    rng, k = np.random.default_rng(1), len(STACK)
    batch = Batch(rng.normal(size=(k, 7, 3)), rng.normal(size=(k, 7, 2)), rng.uniform(0.1, 2, (k, 7)))
    objective = Objective(NETWORK, reduction="mean", l2=0.2)
    batch = batch if own else Batch(X, D, WEIGHTS)
    value, gradient = evaluate(objective, STACK, batch, device)
    for i, theta in enumerate(STACK):
        single = evaluate(objective, theta, Batch(*(part[i] for part in batch[:3])) if own else batch)
        np.testing.assert_allclose(value[i], single[0], rtol=1e-13)
        np.testing.assert_allclose(gradient[i], single[1], rtol=1e-12, atol=1e-14)


def test_weight_of_a_batch():
    assert total_weight(np, Batch(X, D)) == 7.0
    assert isinstance(total_weight(np, Batch(X, D)), float)
    np.testing.assert_array_equal(total_weight(np, Batch(X, D, np.stack([WEIGHTS, np.ones(7)]))), [8.5, 7.0])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gauss_newton_is_the_second_derivative_of_a_linear_network(weights, reduction):
    network = Network((3, 2))
    objective, batch = Objective(network, reduction, l2=0.4), Batch(X, D, weights)
    theta = initial_weights(network, 0, dtype="float64")
    H = gauss_newton(np, objective, network.weight_mask(), theta, batch)
    columns = [
        (evaluate(objective, theta + e, batch)[1] - evaluate(objective, theta - e, batch)[1]) / 2
        for e in np.eye(theta.size)
    ]
    np.testing.assert_allclose(H, columns, rtol=1e-10, atol=1e-12)


def test_first_order_step_adds_the_change_and_returns_the_value_before_it(device):
    backend = choose_backend(device)
    objective, optimizer = (
        Objective(NETWORK, reduction="mean", l2=0.1),
        decayed(momentum(lambda epoch: 0.1 + epoch, 0.9), 0.002),
    )
    theta, batch = to_backend(backend, THETA), Batch(*(to_backend(backend, part) for part in (X, D, WEIGHTS)))
    step = make_step(backend, objective, optimizer, "float64")
    state = optimizer.init(backend.xp, theta)
    expected, velocity = THETA, np.zeros_like(THETA)
    for epoch in (0.0, 0.5, 1.0):
        theta, state, value = step(theta, state, batch, epoch)
        E, gradient = evaluate(objective, expected, Batch(X, D, WEIGHTS))
        velocity = 0.9 * velocity - (0.1 + epoch) * gradient
        expected = (expected + velocity) * 0.998
        np.testing.assert_allclose(to_numpy(value), E, rtol=1e-12)
        np.testing.assert_allclose(to_numpy(theta), expected, rtol=1e-11)


@pytest.mark.parametrize("reported", [True, False])
@pytest.mark.parametrize("optimizer", [lbfgs(), levenberg_marquardt()])
def test_second_order_step_returns_the_value_after_the_change(device, optimizer, reported):
    backend = choose_backend(device)
    objective = Objective(NETWORK, reduction="mean", l2=0.1, penalty_reported=reported)
    of_value = objective if reported else Objective(NETWORK, reduction="mean")
    theta, batch = to_backend(backend, THETA), Batch(*(to_backend(backend, part) for part in (X, D, WEIGHTS)))
    step = make_step(backend, objective, optimizer, "float64")
    after, _, value = step(theta, optimizer.init(backend.xp, theta), batch, 0.0)
    np.testing.assert_allclose(
        to_numpy(value), evaluate(of_value, to_numpy(after), Batch(X, D, WEIGHTS))[0], rtol=1e-12
    )
    assert float(value) < evaluate(of_value, THETA, Batch(X, D, WEIGHTS))[0]


def test_batch_of_weight_0_changes_nothing():
    value, gradient = evaluate(Objective(NETWORK, reduction="mean"), THETA, Batch(X[:1], D[:1], np.zeros(1)))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
