"""Each activation: its value by another formula, its derivative by finite differences, and both at extreme inputs."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.testing import assert_agree
from tests.registries import assert_ranges, assert_same_names

WHERE = "gpubp/nn/activations.py"


def gelu_gate(x):
    return 0.5 * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


FORMULAS = {
    "identity": lambda x: x,
    "logistic": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "relu": lambda x: x if x > 0 else 0.0,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "leaky_relu(0.2)": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1.0,
    "elu(0.5)": lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1.0),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1.0)),
    "softplus": lambda x: math.log(1.0 + math.exp(x)),
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "gelu": lambda x: x * gelu_gate(x),
    "mish": lambda x: x * math.tanh(math.log(1.0 + math.exp(x))),
    "cosine": math.cos,
    "exp": math.exp,
}
UNITS = [*FORMULAS, "softmax"]
RANGES = {
    "leaky_relu": {"slope": "above 0"},
    "elu": {"alpha": "above 0"},
    "softmax": {"sizes": "a whole number, 1 or more"},
}


def test_every_activation_is_tested():
    tested = {name.partition("(")[0] for name in UNITS}
    assert_same_names({f"ACTIVATIONS of {WHERE}": ACTIVATIONS, "FORMULAS of tests/nn/test_activations.py": tested})


def test_ranges_of_parameters():
    assert_ranges(ACTIVATIONS, WHERE, RANGES, "RANGES of tests/nn/test_activations.py")


@pytest.mark.parametrize("name", UNITS)
def test_above_zero_and_below_one_follow_the_outputs(name):
    """They decide with which losses the activation may be combined."""
    activation = get_activation(name)
    x = np.random.default_rng(0).normal(0.0, 3.0, (50, 3))
    x[0] = 0.0
    y = activation.value(np, x)
    low, high = np.min(y), np.max(y)
    message = f"set %s={{}} for {name} in {WHERE}: its outputs are from {low:g} to {high:g}"
    assert activation.above_zero == (low > 0.0), (message % "above_zero").format(low > 0.0)
    assert activation.below_one == (high < 1.0), (message % "below_one").format(high < 1.0)


@pytest.mark.parametrize("name", FORMULAS)
def test_value(backend_case, dtype, name):
    x = np.linspace(-6.0, 6.0, 49).reshape(7, 7).astype(dtype)
    expected = np.vectorize(FORMULAS[name], otypes=[dtype])(x.astype("float64"))
    actual = get_activation(name).value(backend_case.xp, backend_case.asarray(x))
    assert_agree(actual, expected, "elementwise", namespace=backend_case.xp, device=backend_case.device)


def test_value_of_softmax(backend_case, dtype):
    x = np.linspace(-6.0, 6.0, 24).reshape(2, 3, 4).astype(dtype)
    expected = np.asarray(
        [[[math.exp(x_j) / sum(map(math.exp, sample)) for x_j in sample] for sample in one.tolist()] for one in x],
        dtype,
    )
    actual = get_activation("softmax").value(backend_case.xp, backend_case.asarray(x))
    assert_agree(actual, expected, "elementwise", namespace=backend_case.xp, device=backend_case.device)


@pytest.mark.parametrize("dtype", ["float64"])
@pytest.mark.parametrize("name", UNITS)
def test_derivative_by_finite_differences(backend_case, dtype, name):
    activation, xp, h = get_activation(name), backend_case.xp, 6e-6
    generator = np.random.default_rng(5)
    x, dE_dy = generator.normal(0.0, 3.0, (4, 5)), generator.normal(size=(4, 5))
    shifts = h * np.eye(20).reshape(20, 4, 5)  # one total input after another, all at once

    def E(x):
        y = to_numpy(activation.value(xp, backend_case.asarray(x)))
        return np.sum(dE_dy * y, axis=(-2, -1))

    differences = ((E(x + shifts) - E(x - shifts)) / (2.0 * h)).reshape(4, 5)
    there = backend_case.asarray(x)
    actual = activation.dE_dx(xp, backend_case.asarray(dE_dy), there, activation.value(xp, there))
    assert_agree(actual, differences, "differences", namespace=xp, device=backend_case.device)


@pytest.mark.parametrize("name", [name for name in UNITS if name != "exp"])
@pytest.mark.parametrize("size", [0.0, 1e-30, 90.0, 800.0, 1e4, 1e20])
def test_extreme_inputs_give_finite_values(backend_case, dtype, name, size):
    xp, activation = backend_case.xp, get_activation(name)
    x = backend_case.asarray([[-size, 0.0, size], [size, size, size], [-size, -size, -size]], dtype)
    y = activation.value(xp, x)
    dE_dx = activation.dE_dx(xp, xp.ones_like(x), x, y)
    for values in (y, dE_dx):
        assert bool(xp.all(xp.isfinite(values)))
        assert values.dtype == x.dtype
    message = f"{name} has outputs %s, so %s is not True for it in {WHERE}"
    assert not activation.above_zero or bool(xp.all(y >= 0.0)), message % ("below 0", "above_zero")
    assert not activation.below_one or bool(xp.all(y <= 1.0)), message % ("above 1", "below_one")


def test_mish_and_its_derivative_keep_their_digits(backend_case, dtype):
    """By formulas in 60 decimals; the derivative is 0 near -1.19, and only there the sum cancels."""
    x = np.asarray([-80.0, -30.0, -8.0, -2.0, -0.5, -1e-3, 0.0, 1e-3, *np.linspace(0.5, 30.0, 119), 80.0], dtype)
    with localcontext(prec=60):
        values, slopes = [], []
        for x_j in map(Decimal, x.tolist()):
            u = x_j.exp()
            t = ((1 + u) ** 2 - 1) / ((1 + u) ** 2 + 1)
            values.append(float(x_j * t))
            slopes.append(float(t + x_j * (1 - t * t) * u / (1 + u)))
    there, mish, xp = backend_case.asarray(x), get_activation("mish"), backend_case.xp
    y = mish.value(xp, there)
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(to_numpy(y), values, rtol=rtol)
    np.testing.assert_allclose(to_numpy(mish.dE_dx(xp, xp.ones_like(there), there, y)), slopes, rtol=rtol)


def test_the_derivative_of_selu_keeps_its_digits(backend_case, dtype):
    """The output is -1.758 to the last digit far below 0, and the derivative is not 0."""
    x = np.asarray([-80.0, -30.0, -8.0, -0.5, -1e-6, 0.0, 1e-6, 3.0], dtype)
    expected = [1.0507009873554805 * (1.0 if x_j > 0 else 1.6732632423543772 * math.exp(x_j)) for x_j in x.tolist()]
    there, selu, xp = backend_case.asarray(x), get_activation("selu"), backend_case.xp
    y = selu.value(xp, there)
    actual = to_numpy(selu.dE_dx(xp, xp.ones_like(there), there, y))
    np.testing.assert_allclose(actual, expected, rtol=8 * np.finfo(dtype).eps)


def test_only_exp_overflows(dtype):
    """Its value at a large input exceeds every float, in any form."""
    activation = get_activation("exp")
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert activation.value(np, np.asarray([1e4], dtype)) == np.inf
    x = np.asarray([-1e4, 0.0, 80.0], dtype)
    y = activation.value(np, x)
    assert np.all(np.isfinite(y))
    np.testing.assert_array_equal(activation.dE_dx(np, np.ones_like(x), x, y), y)


@pytest.mark.parametrize("name", UNITS)
def test_derivative_of_a_stack_equals_that_of_each_network(name):
    activation, generator = get_activation(name), np.random.default_rng(6)
    x, dE_dy = generator.normal(size=(2, 3, 4, 5)), generator.normal(size=(2, 3, 4, 5))
    together = activation.dE_dx(np, dE_dy, x, activation.value(np, x))
    for n in np.ndindex(2, 3):
        assert_agree(together[n], activation.dE_dx(np, dE_dy[n], x[n], activation.value(np, x[n])), "elementwise")


def test_softmax_is_the_same_for_shifted_inputs(dtype):
    x = np.asarray([[1.0, 2.0, 3.0]], dtype)
    assert_agree(get_activation("softmax").value(np, x + 1000), get_activation("softmax").value(np, x), "elementwise")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rleu", "unknown activation 'rleu' .*'relu'"),
        ("relu(2)", "takes no parameters"),
        ("elu(-1)", "elu's alpha must be above 0, got -1"),
        ("elu(nan)", "elu's alpha must be a finite number, got 'nan'"),
        ("elu(x)", "elu's alpha must be a finite number, got 'x'"),
        ("elu()", "elu's alpha must be a finite number, got ''"),
        ("elu(1", "must be a name"),
        ("", "must be a name"),
        (None, "must be a name"),
    ],
)
def test_a_bad_name_raises(name, message):
    with pytest.raises(DataError, match=message):
        get_activation(name)


def test_the_derivative_of_gelu_carries_what_rounding_loses():
    """In float32 below its minimum it is within 4 units in the last place of the formula in float64."""
    x = np.linspace(-2.0, -1.0, 5001, dtype=np.float32)
    z, c = x.astype(np.float64), 2.0 * math.sqrt(2.0 / math.pi)
    gate = 1.0 / (1.0 + np.exp(-c * (z + 0.044715 * z**3)))
    expected = gate * (1.0 + z * (1.0 - gate) * c * (1.0 + 0.134145 * z * z))
    slope = get_activation("gelu").dE_dx(np, np.ones_like(x), x, None)
    assert np.max(np.abs(slope - expected) / np.spacing(np.abs(slope))) <= 4.0
