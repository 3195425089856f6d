"""CuPy's own kernels give what NumPy gives."""

import cupy
import numpy as np
import pytest

FLOATS = ("float32", "float64")
TOLERANCES = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-14}
UFUNCS = ("exp", "expm1", "log1p", "tanh", "sqrt", "negative", "abs", "sign", "floor", "isnan", "square", "sin", "exp2")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "fmod", "copysign", "hypot")
REDUCTIONS = ("sum", "prod", "max", "min", "mean", "all", "any", "var")


def random(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).uniform(0.1, 2, shape).astype(dtype)


def assert_close(actual, expected, dtype=None):
    actual = actual.get()
    assert actual.dtype == expected.dtype
    tolerance = TOLERANCES.get(str(dtype or expected.dtype), 0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float16", *FLOATS])
@pytest.mark.parametrize("name", UFUNCS)
def test_functions_of_one_array(name, dtype):
    x = random(7, 33, dtype=dtype)
    assert_close(getattr(cupy, name)(cupy.asarray(x)), getattr(np, name)(x), dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_that_are_broadcast(name, dtype):
    x, y = random(5, 1, 8, dtype=dtype), random(3, 8, dtype=dtype, seed=1)
    function, expected = getattr(cupy, name), getattr(np, name)
    assert_close(function(cupy.asarray(x), cupy.asarray(y)), expected(x, y), dtype)
    assert_close(function(cupy.asarray(x).T, 0.5), expected(x.T, 0.5), dtype)


@pytest.mark.parametrize("axis", [None, 0, 2, (0, 2)])
@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in REDUCTIONS), ("sum", "float64")])
def test_reductions(name, axis, dtype):
    x = random(4, 5, 700, dtype=dtype) ** 0.001  # so that the product stays finite
    expected = getattr(np, name)(x.astype("float64"), axis=axis)
    actual = getattr(cupy, name)(cupy.asarray(x), axis=axis).get()
    np.testing.assert_allclose(actual, expected, rtol=1000 * TOLERANCES[dtype], atol=10 * TOLERANCES[dtype])


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_of_extremes(name, axis):
    x = np.round(random(40, 50), 2)  # with ties: the first counts
    np.testing.assert_array_equal(
        getattr(cupy, name)(cupy.asarray(x), axis=axis).get(), getattr(np, name)(x, axis=axis)
    )


def test_indexing():
    x, rows = random(6, 5, 4), np.array([3, 0, 3, -1])
    on_gpu = cupy.asarray(x)
    assert_close(on_gpu[::-2, 1:, ::3], x[::-2, 1:, ::3])
    assert_close(on_gpu[cupy.asarray(rows)], x[rows])
    assert_close(cupy.take(on_gpu, cupy.asarray(rows), axis=1), np.take(x, rows, axis=1))
    assert_close(cupy.where(on_gpu > 1, on_gpu, 0), np.where(x > 1, x, 0))
    assert_close(cupy.concatenate([on_gpu, on_gpu[:2]]), np.concatenate([x, x[:2]]))
    x[1:3, ::2], on_gpu[1:3, ::2] = 7, 7
    x[rows[:2], 1], on_gpu[cupy.asarray(rows[:2]), 1] = 8, 8
    assert_close(on_gpu, x)


@pytest.mark.parametrize("to", ["int32", "int64", "uint8", "bool", "float16", "float32", "float64"])
def test_conversions(to):
    x = random(300) * 50
    assert_close(cupy.asarray(x).astype(to), x.astype(to))


SHAPES = [((3, 4), (4, 5)), ((70, 300), (300, 40)), ((1, 6), (6, 1)), ((4,), (4, 3)), ((3, 4), (4,)), ((9,), (9,))]
STACKS = [((2, 3, 4), (2, 4, 5)), ((6, 3, 4), (4, 5)), ((3, 4), (2, 2, 4, 5))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", [*SHAPES, *STACKS], ids=str)
def test_products(shapes, dtype):
    a, b = (random(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes))
    assert_close(cupy.matmul(cupy.asarray(a), cupy.asarray(b)), np.matmul(a, b), dtype)


@pytest.mark.parametrize("dtype", ["float16", *FLOATS])
def test_products_of_transposed_and_strided_matrices(dtype):
    a, b = random(12, 30, dtype=dtype), random(24, 9, dtype=dtype, seed=1)
    on_gpu = cupy.asarray(a).T, cupy.asarray(b)[::2]
    expected = (a.T.astype("float64") @ b[::2]).astype(dtype)
    assert_close(cupy.matmul(*on_gpu), expected)
    assert_close(cupy.matmul(on_gpu[1].T, on_gpu[0].T), expected.T)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("stack", [(), (4,)], ids=str)
def test_linear_solutions(stack, dtype):
    a, b = random(*stack, 6, 6, dtype=dtype), random(*stack, 6, 2, dtype=dtype, seed=1)
    actual = cupy.linalg.solve(cupy.asarray(a), cupy.asarray(b)).get()
    np.testing.assert_allclose(a @ actual, b, rtol=0, atol=1e4 * np.finfo(dtype).eps)


def test_an_array_larger_than_a_grid():
    x = random(1_000_003, dtype="float32")
    assert_close(cupy.asarray(x) * 2, x * 2)
