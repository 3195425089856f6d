"""Each equation, on every backend, compared with the paper's loops."""

import numpy as np
import pytest

from gpubp.nn import equations
from gpubp.testing import assert_agree
from tests import reference

LEADING = [(), (2,), (2, 3)]  # one network, a stack, a stack of stacks
SAMPLES, BELOW, ABOVE = 5, 4, 3


@pytest.fixture(params=LEADING, ids=str)
def draw(request, backend_case, dtype):
    """Draw an array with leading dimensions: return it on the host in float64, and on the backend."""
    generator = np.random.default_rng(3)

    def draw(*shape, low=-2.0, high=2.0):
        host = generator.uniform(low, high, (*request.param, *shape)).astype(dtype)
        return host.astype("float64"), backend_case.asarray(host)

    return draw


def each(formula, *arrays):
    return np.vectorize(formula, otypes=[float])(*arrays)


def layers(*arrays):
    """Iterate over the networks of a stack: yield the index and the arrays as lists."""
    for n in np.ndindex(arrays[0].shape[:-2]):
        yield n, *(array[n].tolist() for array in arrays)


def check(actual, expected, kind, backend_case, dtype):
    assert_agree(actual, expected.astype(dtype), kind, namespace=backend_case.xp, device=backend_case.device)


@pytest.mark.parametrize("bias", [True, False])
def test_eq_1_total_input(backend_case, dtype, draw, bias):
    (y_below, y_below_there), (w, w_there) = draw(SAMPLES, BELOW), draw(BELOW + bias, ABOVE)
    expected = np.zeros((*y_below.shape[:-1], ABOVE))
    for n, y, w_of_one in layers(y_below, w):
        for c in range(SAMPLES):
            for j in range(ABOVE):
                expected[n][c, j] = reference.total_input(reference.with_extra_unit(y[c], bias), w_of_one, j)
    check(
        equations.total_input(backend_case.xp, y_below_there, w_there, bias=bias),
        expected,
        "forward",
        backend_case,
        dtype,
    )


def test_the_bias_is_the_weight_of_an_extra_unit(backend_case, dtype, draw):
    xp = backend_case.xp
    (_, y_below), (_, w) = draw(SAMPLES, BELOW), draw(BELOW + 1, ABOVE)
    ones = xp.ones((*y_below.shape[:-1], 1), dtype=y_below.dtype, device=backend_case.device)
    literal = xp.matmul(xp.concat([y_below, ones], axis=-1), w)
    assert_agree(equations.total_input(xp, y_below, w), literal, "forward")


def test_eq_2_logistic(backend_case, dtype, draw):
    x, x_there = draw(SAMPLES, ABOVE, low=-20.0, high=20.0)
    check(equations.logistic(backend_case.xp, x_there), each(reference.output, x), "elementwise", backend_case, dtype)


@pytest.mark.parametrize("size", [1e4, 100.0, 0.0])
def test_eq_2_does_not_overflow(backend_case, dtype, size):
    y = equations.logistic(backend_case.xp, backend_case.asarray([-size, size], dtype))
    expected = np.asarray([0.5, 0.5] if size == 0.0 else [np.exp(-size), 1.0], dtype)
    check(y, expected, "elementwise", backend_case, dtype)


def test_eq_2_keeps_the_digits_of_small_outputs():
    y = equations.logistic(np, np.asarray([-700.0]))
    np.testing.assert_allclose(y, np.exp([-700.0]), rtol=1e-14)


def test_eq_3_squared_error(backend_case, dtype, draw):
    (y, y_there), (d, d_there) = draw(SAMPLES, ABOVE), draw(SAMPLES, ABOVE)
    expected = each(lambda y, d: reference.error([[y]], [[d]]), y, d)
    check(equations.squared_error(backend_case.xp, y_there, d_there), expected, "elementwise", backend_case, dtype)


def test_eq_4_dE_dy(backend_case, dtype, draw):
    (y, y_there), (d, d_there) = draw(SAMPLES, ABOVE), draw(SAMPLES, ABOVE)
    actual = equations.squared_error_dE_dy(backend_case.xp, y_there, d_there)
    check(actual, each(reference.dE_dy, y, d), "elementwise", backend_case, dtype)


def test_eq_5_dE_dx(backend_case, dtype, draw):
    (dE_dy, dE_dy_there), (y, y_there) = draw(SAMPLES, ABOVE), draw(SAMPLES, ABOVE, low=0.0, high=1.0)
    actual = equations.logistic_dE_dx(backend_case.xp, dE_dy_there, y_there)
    check(actual, each(reference.dE_dx, dE_dy, y), "elementwise", backend_case, dtype)


@pytest.mark.parametrize("bias", [True, False])
def test_eq_6_dE_dw(backend_case, dtype, draw, bias):
    (dE_dx, dE_dx_there), (y_below, y_below_there) = draw(SAMPLES, ABOVE), draw(SAMPLES, BELOW)
    expected = np.zeros((*dE_dx.shape[:-2], BELOW + bias, ABOVE))
    for n, signal, y in layers(dE_dx, y_below):
        for c in range(SAMPLES):
            for i, y_i in enumerate(reference.with_extra_unit(y[c], bias)):
                for j in range(ABOVE):
                    expected[n][i, j] += reference.dE_dw(signal[c][j], y_i)
    check(
        equations.dE_dw(backend_case.xp, dE_dx_there, y_below_there, bias=bias),
        expected,
        "gradient",
        backend_case,
        dtype,
    )


@pytest.mark.parametrize("bias", [True, False])
def test_eq_7_dE_dy_below(backend_case, dtype, draw, bias):
    (dE_dx, dE_dx_there), (w, w_there) = draw(SAMPLES, ABOVE), draw(BELOW + bias, ABOVE)
    expected = np.zeros((*dE_dx.shape[:-1], BELOW))
    for n, signal, w_of_one in layers(dE_dx, w):
        for c in range(SAMPLES):
            for i in range(BELOW):
                expected[n][c, i] = reference.dE_dy_below(signal[c], w_of_one, i)
    check(
        equations.dE_dy_below(backend_case.xp, dE_dx_there, w_there, bias=bias),
        expected,
        "gradient",
        backend_case,
        dtype,
    )


def test_eq_8_gradient_descent(backend_case, dtype, draw):
    gradient, gradient_there = draw(7)
    actual = equations.gradient_descent(backend_case.xp, gradient_there, rate=0.3)
    check(actual, each(lambda g: reference.change(g, 0.3), gradient), "elementwise", backend_case, dtype)


def test_eq_9_momentum(backend_case, dtype, draw):
    (gradient, gradient_there), (previous, previous_there) = draw(7), draw(7)
    actual = equations.momentum_descent(backend_case.xp, gradient_there, previous_there, rate=0.3, momentum=0.9)
    expected = each(lambda g, before: reference.change_with_momentum(g, before, 0.3, 0.9), gradient, previous)
    check(actual, expected, "elementwise", backend_case, dtype)


def test_eq_9_takes_a_rate_for_each_network(backend_case, dtype):
    xp, rates = backend_case.xp, np.asarray([[0.1], [0.2]])
    gradient = np.ones((2, 4))
    actual = equations.momentum_descent(
        xp,
        backend_case.asarray(gradient, dtype),
        backend_case.asarray(gradient, dtype),
        rate=backend_case.asarray(rates, dtype),
        momentum=0.5,
    )
    check(actual, 0.5 - rates * gradient, "elementwise", backend_case, dtype)
