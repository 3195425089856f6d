"""Every pair of activation and loss compared with central differences: several outputs, sample weights, float64."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network, check_gradient
from gpubp.errors import DataError
from gpubp.nn import equations, gradient_check
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.testing import assert_agree

UNITS = [*ACTIVATIONS, "leaky_relu(0.2)", "elu(0.5)", "softmax(1,2)"]
ERRORS = [*LOSSES, "huber(0.1)", "cross_entropy(1,2)"]


def suits(activation, loss):
    """Whether the loss is defined for the outputs of the activation; their own tests check what they say of it."""
    outputs, needs = get_activation(activation), get_loss(loss)
    return outputs.above_zero >= needs.above_zero and outputs.below_one >= needs.below_one


def jumps(derivative):
    """Whether an array of derivatives over a fine grid of inputs has a step that is large for it."""
    return np.max(np.abs(np.diff(derivative, axis=0))) > 0.01 * np.max(np.abs(derivative))


def activation_has_kink(name):
    activation, x = get_activation(name), np.linspace(-8.0, 8.0, 10001)[:, None] * [1.0, -0.5, 0.25]
    dE_dy = np.broadcast_to([1.0, 2.0, 3.0], x.shape)
    return jumps(activation.dE_dx(np, dE_dy, x, activation.value(np, x)))


def loss_has_kink(name):
    y = np.linspace(0.05, 0.95, 10001)
    return jumps(get_loss(name).dE_dy(np, y, np.full_like(y, 0.5)))


ALL_PAIRS = [(activation, loss) for activation in UNITS for loss in ERRORS]
PAIRS = [pair for pair in ALL_PAIRS if suits(*pair)]
UNDEFINED_PAIRS = [pair for pair in ALL_PAIRS if not suits(*pair)]
KINKED = {*filter(activation_has_kink, UNITS), *filter(loss_has_kink, ERRORS)}
SMOOTH_PAIRS = [pair for pair in PAIRS if not {*pair} & KINKED]
GROUPED = {"softmax(1,2)", "cross_entropy(1,2)"}  # for layers of three units only
ANY_SIZE = [activation for activation in UNITS if activation not in GROUPED]


def draw(network, n_samples=6, seed=0):
    """Draw theta, x, d and sample weights."""
    generator = np.random.default_rng(seed)
    theta = generator.normal(0.0, 0.5, network.n_parameters)
    x = generator.normal(size=(n_samples, network.sizes[0]))
    targets = generator.uniform(0.0, 1.0, (n_samples, network.sizes[-1]))
    return theta, x, targets, generator.uniform(0.0, 2.0, n_samples)


def assert_right(check):
    assert_agree(check.gradient, check.differences, "differences")


@pytest.mark.parametrize(("activation", "error"), PAIRS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_pair_of_output_activation_and_loss(activation, error, bias):
    network = Network((4, 5, 3), activation="tanh", output_activation=activation, loss=error, bias=bias)
    assert_right(check_gradient(np, network, *draw(network)))


@pytest.mark.parametrize(("activation", "error"), UNDEFINED_PAIRS)
def test_an_undefined_pair_raises(activation, error):
    with pytest.raises(DataError, match=re.escape(f"loss '{error}' needs outputs")):
        Network((4, 5, 3), output_activation=activation, loss=error)


@pytest.mark.parametrize("dtype", ["float64"])
@pytest.mark.parametrize("activation", ANY_SIZE)
def test_every_hidden_activation_on_every_backend(backend_case, dtype, activation):
    network = Network((4, 5, 4, 3), activation=activation, loss="cross_entropy")
    check = check_gradient(backend_case.xp, network, *(backend_case.asarray(array) for array in draw(network, seed=1)))
    assert_right(check)
    assert_agree(check.gradient, check.gradient, "gradient", namespace=backend_case.xp, device=backend_case.device)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    activation=st.sampled_from(
        [activation for activation in ANY_SIZE if activation not in KINKED and activation != "exp"]
    ),
    pair=st.sampled_from([pair for pair in SMOOTH_PAIRS if not {*pair} & GROUPED]),
    n_samples=st.integers(1, 4),
    bias=st.booleans(),
)
def test_any_smooth_network(sizes, activation, pair, n_samples, bias):
    network = Network(sizes, activation=activation, output_activation=pair[0], loss=pair[1], bias=bias)
    assert_right(check_gradient(np, network, *draw(network, n_samples)))


def test_the_largest_deviation_is_relative_to_the_largest_derivative():
    network = Network((2, 2, 1), activation="tanh")
    theta, x, targets, sample_weight = draw(network)
    check = check_gradient(np, network, theta, x, 1000.0 * targets, sample_weight)
    difference = np.max(np.abs(check.gradient - check.differences))
    assert check.largest_deviation == difference / max(
        np.max(np.abs(check.gradient)), np.max(np.abs(check.differences))
    )
    assert check.largest_deviation < 1e-8


def test_a_larger_step_is_less_accurate():
    network = Network((2, 2, 1), activation="tanh")
    fine, rough = (check_gradient(np, network, *draw(network), step=step).largest_deviation for step in (1e-5, 1e-2))
    assert fine < 1e-8 < 1e-6 < rough


def test_a_small_gradient_of_the_wrong_sign_is_detected(monkeypatch):
    network, loss_and_gradient = Network((3, 4, 2), activation="tanh"), gradient_check.loss_and_gradient
    theta, x, targets, sample_weight = draw(network)
    right = check_gradient(np, network, theta, x, targets, 1e-7 * sample_weight).largest_deviation

    def of_the_wrong_sign(*args):
        E, gradient = loss_and_gradient(*args)
        return E, -gradient

    monkeypatch.setattr(gradient_check, "loss_and_gradient", of_the_wrong_sign)
    wrong = check_gradient(np, network, theta, x, targets, 1e-7 * sample_weight).largest_deviation
    assert right < 1e-7
    assert wrong == pytest.approx(2.0)


WRONG = {
    "logistic_dE_dx": lambda xp, dE_dy, y: dE_dy * (1.0 - y),  # a factor forgotten
    "dE_dy_below": lambda xp, dE_dx, w, *, bias: xp.matmul(dE_dx, xp.matrix_transpose(w[..., 1:, :])),  # a row off
    "dE_dw": lambda xp, dE_dx, y, *, bias: RIGHT_dE_dw(xp, dE_dx, y, bias=bias) / y.shape[-2],  # a mean, not a sum
}
RIGHT_dE_dw = equations.dE_dw


@pytest.mark.parametrize("equation", WRONG)
def test_a_wrong_equation_is_detected(monkeypatch, equation):
    network = Network((3, 4, 2), activation="logistic", output_activation="logistic")
    monkeypatch.setattr(equations, equation, WRONG[equation])
    check = check_gradient(np, network, *draw(network))
    assert check.largest_deviation > 1e-3
    with pytest.raises(AssertionError, match="times the tolerance"):
        assert_right(check)


def test_some_parameters_of_a_large_network():
    network = Network((40, 60, 3), activation="tanh")
    assert network.n_parameters**2 > gradient_check.NUMBERS_AT_ONCE
    arrays, some = draw(network), np.asarray([0, 7, 2000, network.n_parameters - 1])
    every, few = check_gradient(np, network, *arrays), check_gradient(np, network, *arrays, parameters=some)
    np.testing.assert_array_equal(few.gradient, every.gradient[some])
    np.testing.assert_allclose(few.differences, every.differences[some], rtol=1e-9, atol=1e-12)
    assert_right(every)
    tied = Network((2, 2), ties=[0, 0, 1, 1, 2, 2])
    with pytest.raises(DataError, match="tied weights"):
        check_gradient(np, tied, *draw(tied), parameters=some[:1])


@pytest.mark.parametrize("wrong", [[0.0, 1.0], [True, False], [-1], [0, 99], [[0]], np.zeros(0, int)])
def test_parameters_are_places(wrong):
    network = Network((2, 3, 1))
    with pytest.raises(DataError, match=r"^parameters must be whole numbers .* from 0 to 12; got "):
        check_gradient(np, network, *draw(network), parameters=np.asarray(wrong))
