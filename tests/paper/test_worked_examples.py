"""The library's worked examples: the matrix form of the slides, and the published figures of two programs.

The figures are those printed by the programs in "A neural network in 11 lines of Python" and "A neural network in 13
lines of Python" (iamtrask, 2015): no biases, logistic units, the summed squared error, all four cases at once, weights
from ``numpy.random.seed(1)``.
"""

import numpy as np
import pytest

from gpubp.engine.prediction import predict
from gpubp.nn.network import Network, flatten, views
from gpubp.nn.passes import forward, loss_and_gradient, output_layer
from gpubp.optim.first_order import gradient_descent
from gpubp.training.fit import train

pytestmark = [pytest.mark.once, pytest.mark.slow]

# --- the rain table: days of rain and Kdp, three days; a 2-3-1 network without biases ---

RAIN_X = np.array([[3.0, 5.0], [1.0, 6.0], [0.0, 8.0]])
RAIN_Y = np.array([[0.99], [0.59], [0.19]])
RAIN = Network((2, 3, 1), activation="logistic", output_activation="logistic", bias=False)


def rain_weights(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (2, 3)), rng.uniform(-1.0, 1.0, (3, 1))


def s(z):
    return 1.0 / (1.0 + np.exp(-z))


def s_prime(z):
    return np.exp(-z) / (1.0 + np.exp(-z)) ** 2


@pytest.mark.parametrize("seed", range(5))
def test_the_decks_matrix_formulas_are_the_librarys_gradient(seed):
    """delta2 = (a2 - y) * s'(z2); dC/dW2 = a1^T delta2; delta1 = delta2 W2^T * s'(z1); dC/dW1 = X^T delta1."""
    X, y, (W1, W2) = RAIN_X, RAIN_Y, rain_weights(seed)
    z1 = X @ W1
    a1 = s(z1)
    z2 = a1 @ W2
    a2 = s(z2)
    delta2 = (a2 - y) * s_prime(z2)
    dC_dW2 = a1.T @ delta2
    delta1 = delta2 @ W2.T * s_prime(z1)
    dC_dW1 = X.T @ delta1

    theta = flatten(np, [W1, W2])
    E, gradient = loss_and_gradient(np, RAIN, theta, X, y)
    hidden, output = forward(np, RAIN, theta, X)
    for actual, expected in [(hidden.x, z1), (hidden.y, a1), (output.x, z2), (output.y, a2)]:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)
    for actual, expected in zip(views(np, RAIN, gradient), (dC_dW1, dC_dW2), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(E, 0.5 * np.sum((y - a2) ** 2), rtol=1e-14)
    assert np.max(np.abs(dC_dW1)) > 1e-4


def test_the_rain_network_learns_its_table():
    fit = train(
        RAIN,
        RAIN_X / 8.0,
        RAIN_Y,
        theta=flatten(np, list(rain_weights())),
        optimizer=gradient_descent(2.0),
        epochs=4000,
        reduction="sum",
        device="cpu",
    )
    np.testing.assert_allclose(predict(RAIN, fit.theta, RAIN_X / 8.0, device="cpu"), RAIN_Y, atol=0.05)


# --- the published figures ---

CODE_X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])


def first_weights(network):
    """Draw ``2 * random - 1`` layer by layer, as the programs do."""
    random = np.random.RandomState(1)
    return flatten(np, [2 * random.random_sample(shape) - 1 for shape in network.shapes])


def descend(network, d, theta, rate, n_iterations, every):
    """Change the weights this many times.

    Return the mean absolute error of every n-th iteration, and the outputs of the last one. Like the programs' output,
    both come from an iteration's forward pass, before it changes the weights.
    """
    optimizer = gradient_descent(rate)
    state, now, errors = optimizer.init(np, theta), optimizer.at(0), []
    for iteration in range(n_iterations):
        if iteration % every == 0 or iteration == n_iterations - 1:
            y = output_layer(np, network, theta, CODE_X).y
            if iteration % every == 0:
                errors.append(np.mean(np.abs(d - y), axis=(-2, -1)))
        _, gradient = loss_and_gradient(np, network, theta, CODE_X, d)
        change, state = optimizer.update(np, gradient, state, theta, now)
        theta = theta + change
    return np.array(errors), y[..., 0]


def assert_printed(values, printed):
    """Compare up to half of the last printed digit."""
    for value, text in zip(np.atleast_1d(values), printed, strict=True):
        digits = len(text.partition(".")[2])
        assert abs(value - float(text)) <= 0.500001 * 10.0**-digits, f"{value!r} is not {text}"


def test_two_layers():
    """A 3-1 network, ten thousand iterations."""
    network = Network((3, 1), output_activation="logistic", bias=False)
    d = np.array([[0.0], [0], [1], [1]])
    _, outputs = descend(network, d, first_weights(network), 1.0, 10_000, every=10_000)
    assert_printed(outputs, ["0.00966449", "0.00786506", "0.99358898", "0.99211957"])


STEP_SIZES = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]


@pytest.fixture(scope="module")
def three_layers():
    """A 3-4-1 network, sixty thousand iterations at seven step sizes from the same weights, as one stack."""
    network = Network((3, 4, 1), activation="logistic", output_activation="logistic", bias=False)
    d = np.array([[0.0], [1], [1], [0]])
    start = np.tile(first_weights(network), (7, 1))
    return descend(network, d, start, np.array(STEP_SIZES)[:, None], 60_000, every=10_000)


def test_three_layers_error_during_training(three_layers):
    errors, _ = three_layers
    printed = ["0.496410031903", "0.00858452565325", "0.00578945986251", "0.00462917677677", "0.00395876528027"]
    assert_printed(errors[:, 3], [*printed, "0.00351012256786"])


def test_three_layers_outputs(three_layers):
    _, outputs = three_layers
    assert_printed(outputs[3], ["0.00260572", "0.99672209", "0.99701711", "0.00386759"])


def test_step_sizes(three_layers):
    """The mean absolute error at iteration 50,000, by step size."""
    errors, _ = three_layers
    assert_printed(errors[5], ["0.4860", "0.0986", "0.0130", "0.00351", "0.00131", "0.1252", "0.5"])


def test_a_stack_of_step_sizes_equals_single_trainings(three_layers):
    network = Network((3, 4, 1), activation="logistic", output_activation="logistic", bias=False)
    d = np.array([[0.0], [1], [1], [0]])
    for k in (3, 6):
        errors, _ = descend(network, d, first_weights(network), STEP_SIZES[k], 1_001, every=1_000)
        stacked, _ = descend(
            network, d, np.tile(first_weights(network), (7, 1)), np.array(STEP_SIZES)[:, None], 1_001, every=1_000
        )
        np.testing.assert_allclose(stacked[:, k], errors, rtol=1e-9)


def test_train_gives_the_same_figures():
    """The public function ``train``, for the first iterations."""
    network = Network((3, 4, 1), activation="logistic", output_activation="logistic", bias=False)
    d = np.array([[0.0], [1], [1], [0]])
    fit = train(
        network,
        CODE_X,
        d,
        theta=first_weights(network),
        optimizer=gradient_descent(1.0),
        epochs=10_000,
        reduction="sum",
        batch_size="full",
        device="cpu",
    )
    y = predict(network, fit.theta, CODE_X, device="cpu")
    assert_printed([np.mean(np.abs(y - d))], ["0.00858452565325"])
