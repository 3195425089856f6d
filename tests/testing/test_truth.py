"""Every activation, derivative, loss and optimizer against its formula in mpmath; and what compares them."""

import functools
import itertools
import math

import mpmath
import numpy as np
import pytest

from benchmarks.truth import formulas, libraries
from benchmarks.truth.bounds import Bounds
from benchmarks.truth.errors import Truth, errors, truth, ulp, worst_of
from benchmarks.truth.functions import SCALES, functions
from gpubp.backends.numpy_namespace import NUMPY_NAMESPACE
from gpubp.engine import cpu
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES
from gpubp.optim.first_order import OPTIMIZERS
from tests import reference
from tests.registries import assert_same_names

pytestmark = pytest.mark.once

SIZE = 0.01  # of the inputs of docs/function_errors.md
MOST = 4.0
MP = mpmath.mp
FUNCTIONS = {
    f"{dtype}, {kind}, {name}": list(of_name)
    for dtype in ("float32", "float64")
    for (kind, name), of_name in itertools.groupby(
        functions(dtype, SIZE), lambda function: (function.kind, function.name)
    )
}
needs_engine = pytest.mark.skipif(bool(cpu.why_not()), reason=cpu.why_not())


@functools.cache
def truths(name):
    return [function.truth() for function in FUNCTIONS[name]]


def of_kind(*kinds):
    return [function for several in FUNCTIONS.values() for function in several if function.kind in kinds]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_4_units_in_the_last_place_times_the_condition_number(name):
    for function, true in zip(FUNCTIONS[name], truths(name), strict=True):
        smallest_normal = float(np.finfo(function.dtype).smallest_normal)
        with np.errstate(all="ignore"):
            bound = function.bound_of_cuda()
            results = {"NumPy": (function.computed(), 0.0)}
            if not cpu.why_not() and (compiled := function.computed_by_engine()) is not None:
                results["engine"] = compiled, smallest_normal  # subnormal numbers are 0 there
        for way, (computed, smallest) in results.items():
            assert computed.dtype == function.dtype
            found = errors(computed, true, function.arrays, scale=function.scale, smallest=smallest)
            assert found.of_bar <= MOST, f"{way}, {name}: {found.of_bar:.3g} times the bar at {found.bar_at}"
        assert not np.any(np.isnan(bound) & (np.abs(function.arrays[0]) < 1e4)), f"{name} has no bound for CUDA"


@pytest.mark.parametrize("package", libraries.LIBRARY_NAMES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_libraries(name, package):
    """As above, or as near as the library's own functions, which are held to what was measured."""
    pytest.importorskip(package)
    results = libraries.computed_by(package, FUNCTIONS[name])
    for function, true, computed in zip(FUNCTIONS[name], truths(name), results, strict=True):
        assert computed.dtype == function.dtype
        found = libraries.errors_of(package, function, true, computed, most=MOST)
        if function.kind == "elementary":
            assert found.largest <= libraries.LIBRARY_ULPS[package][function.dtype][function.name], found
        else:
            assert found.of_bar <= MOST, f"{found.of_bar:.3g} times the bar at {found.bar_at}"


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
@pytest.mark.parametrize("kind", ["activation", "derivative"])
def test_densely_in_float32(kind, name):
    """As above for many numbers, with float64 for the truth: the largest errors are rare."""
    (function,), (in_float64,) = (FUNCTIONS[f"{dtype}, {kind}, {name}"] for dtype in ("float32", "float64"))
    generator, step = np.random.default_rng(0), 4 * float(np.finfo(np.float32).eps)
    x = np.concatenate([generator.uniform(-size, size, 500_000) for size in (0.5, 3.0, 15.0)]).astype(np.float32)
    true, *beside = (in_float64.plain(np, x.astype(float) * factor) for factor in (1.0, 1.0 - step, 1.0 + step))
    change = np.maximum(*(abs(moved - true) for moved in beside))
    kept = np.abs(true) > 1e-30  # the engine has 0 for the exponentials of the smallest ones
    x, true, change = x[kept], true[kept], change[kept]
    ulps = np.ldexp(1.0, np.frexp(true)[1] - 1 - np.finfo(np.float32).nmant)
    allowed = ulps * np.maximum(1.0, change / (np.abs(true) * step))
    if (kind, name) in SCALES:
        allowed = np.maximum(allowed, float(np.finfo(np.float32).eps) * SCALES[kind, name](true))
    for computed in (function.plain(NUMPY_NAMESPACE, x), *([] if cpu.why_not() else [function.compiled(x)])):
        of_bar = np.abs(computed - true) / allowed
        assert np.max(of_bar) <= MOST, f"{np.max(of_bar):.3g} times the bar at {x[np.argmax(of_bar)]}"
    function = function._replace(arrays=(x,))
    for package in libraries.installed():
        (computed,) = libraries.computed_by(package, [function])
        of_bar = np.abs(computed - true) / np.maximum(allowed, libraries.allowed(package, function) / MOST)
        assert np.max(of_bar) <= MOST, f"{package}: {np.max(of_bar):.3g} times the bar at {x[np.argmax(of_bar)]}"


def test_jax_keeps_what_rounding_loses_in_the_derivative_of_gelu():
    """XLA folds constants, and computes the gate twice, with other fused multiply-adds unless they are prevented."""
    pytest.importorskip("jax")
    (function,) = FUNCTIONS["float64, derivative, gelu"]
    function = function._replace(arrays=(np.linspace(-1.8, -1.5, 20_000),))
    (computed,) = libraries.computed_by("jax", [function])
    farthest = np.argsort(np.abs(computed - function.computed()))[-20:]
    function = function._replace(arrays=(function.arrays[0][farthest],))
    assert libraries.errors_of("jax", function, function.truth(), computed[farthest]).of_bar <= MOST


def test_every_function_is_compared():
    named = {kind: {function.name.split(":")[0].split(" ")[0] for function in of_kind(kind)} for kind in KINDS}
    assert_same_names({"ACTIVATIONS of gpubp/nn/activations.py": ACTIVATIONS, WHERE: named["activation"]})
    assert_same_names({"ACTIVATIONS of gpubp/nn/activations.py": ACTIVATIONS, WHERE: named["derivative"]})
    assert_same_names({"LOSSES of gpubp/nn/losses.py": LOSSES, WHERE: named["loss"] & named["loss derivative"]})
    assert_same_names({"OPTIMIZERS of gpubp/optim/first_order.py": OPTIMIZERS, WHERE: named["optimizer"]})


KINDS = ("activation", "derivative", "loss", "loss derivative", "optimizer")
WHERE = "benchmarks/truth/formulas.py"


@needs_engine
@pytest.mark.parametrize(
    "function", of_kind("activation", "derivative"), ids=lambda function: f"{function.dtype} {function.name}"
)
def test_infinities_and_nan(function):
    """The limits at infinities, but for x times a gate that is 0 there; NaN for NaN where the output depends on it."""
    if function.name == "softmax":
        return
    x = np.asarray([-np.inf, np.inf, np.nan], function.dtype)
    with np.errstate(invalid="ignore"):
        plain, compiled = function.plain(np, x), function.compiled(x)
    np.testing.assert_array_equal(plain, compiled)
    assert np.isnan(plain[2]) == (
        function.name not in ("identity", "relu", "leaky_relu") or function.kind == "activation"
    )
    for infinity, found in zip(x[:2].tolist(), plain[:2].tolist(), strict=True):
        far = [math.copysign(size, infinity) for size in (1e6, 1e8)]
        with MP.workprec(1200):
            near_limit, limit = (float(function.formula(MP.mpf(x_j), *map(MP.mpf, function.settings))) for x_j in far)
        is_slope_of_silu = (function.kind, function.name) == ("derivative", "silu")
        is_gated = function.name in ("silu", "mish") and (infinity < 0 or is_slope_of_silu)
        if function.name == "cosine" or is_gated:
            assert math.isnan(found)
        elif abs(limit) > 10 * abs(near_limit):  # it grows
            assert found == math.copysign(math.inf, limit)
        else:
            assert found == pytest.approx(limit, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("x", [-3.0, -0.1, 0.0, 0.7, 5.0])
def test_formulas_are_those_of_the_paper(x):
    y, target = 0.3, 0.8
    assert float(formulas.logistic(MP.mpf(x))) == pytest.approx(reference.output(x), rel=1e-15)
    slope = float(formulas.logistic_slope(MP.mpf(x)))
    assert slope == pytest.approx(reference.dE_dx(1.0, reference.output(x)), rel=1e-14)
    assert float(formulas.squared(MP.mpf(y), MP.mpf(target))) == pytest.approx(
        reference.error([[y]], [[target]]), rel=1e-15
    )
    assert float(formulas.difference(MP.mpf(y), MP.mpf(target))) == reference.dE_dy(y, target)
    assert float(formulas.gradient_descent(0.0, x, 0.1)[0]) == reference.change(x, 0.1)
    _, change = formulas.momentum(MP.mpf(0), MP.mpf(x), MP.mpf(y), MP.mpf(0.1), MP.mpf(0.9))
    assert float(change) == pytest.approx(reference.change_with_momentum(x, y, 0.1, 0.9), rel=1e-15)


class TestTruth:
    """True values have all digits, however plain the formula is."""

    @pytest.mark.parametrize("x", [1e-300, 1e-5, 3.0, 18.7, 40.0, 300.0, 371.0])
    def test_of_formulas_that_lose_digits(self, x):
        (slope,) = truth(formulas.tanh_slope, (np.asarray([x]),)).values
        (loss,) = truth(formulas.log_cosh, (np.asarray([1e-150]), np.asarray([0.0]))).values
        with MP.workprec(3000):
            assert abs(slope * MP.cosh(x) ** 2 - 1) < 1e-20
            assert abs(loss / (MP.mpf(1e-150) ** 2 / 2) - 1) < 1e-20

    @pytest.mark.parametrize("x", [-20.0, -12.0, -8.0, -2.0])
    def test_of_gelu(self, x):
        """Far below 0 it is x times exp of twice u, and its derivative that times 1 + 2 x du/dx."""
        x = MP.mpf(x)
        (value,), (slope,) = (truth(f, (np.asarray([float(x)]),)).values for f in (formulas.gelu, formulas.gelu_slope))
        with MP.workprec(3000):
            scale = MP.sqrt(2 / MP.pi)
            u, du = scale * (x + MP.mpf("0.044715") * x**3), scale * (1 + 3 * MP.mpf("0.044715") * x**2)
            s = 1 / (1 + MP.exp(-2 * u))
            assert abs(value / (x * s) - 1) < 1e-20
            assert abs(slope / (s * (1 + 2 * x * (1 - s) * du)) - 1) < 1e-20

    def test_condition_numbers(self):
        x = np.asarray([0.5, 2.0, 7.0])
        np.testing.assert_allclose(truth(lambda x: x**3, (x,)).conditions, 3.0, rtol=1e-6)
        np.testing.assert_allclose(truth(lambda x, k: x * k, (x,), (3.0,)).conditions, 2.0, rtol=1e-6)
        np.testing.assert_allclose(truth(lambda x, y: x - y, (x, x * 0.5)).conditions, 3.0, rtol=1e-6)
        np.testing.assert_array_equal(truth(lambda x: MP.sign(x - 2), (x,)).conditions, [1.0, np.inf, 1.0])


class TestErrors:
    def test_are_in_units_in_the_last_place(self, dtype):
        values = np.asarray([1.0, -3.5, 1e-3, 0.0], dtype)
        true = Truth([MP.mpf(value) for value in values.tolist()], np.asarray([1.0, 2.0, 1.0, 1.0]))
        found = errors(values, true, (values,))
        assert (found.largest, found.mean, found.of_bar) == (0.0, 0.0, 0.0)
        off = values.copy()
        off[1] = values[1] + 6 * float(ulp(MP.mpf(3.5), dtype))
        found = errors(off, true, (values,))
        assert (found.largest, found.mean, found.at, found.of_bar) == (6.0, 1.5, (-3.5,), 3.0)
        assert errors(off, true, (values,), scale=np.full(4, 1e3)).of_bar < 0.1

    def test_where_a_result_is_subnormal(self, dtype):
        info = np.finfo(dtype)
        true = Truth([MP.mpf(float(info.smallest_subnormal)) * 3], np.ones(1))
        computed = np.zeros(1, dtype)
        assert errors(computed, true, (computed,)).largest == 3.0
        assert errors(computed, true, (computed,), smallest=float(info.smallest_normal)).largest < 1.0

    @pytest.mark.parametrize(("number", "value", "error"), [("inf", "1e400", 0.0), ("inf", "1", math.inf)])
    def test_of_what_is_not_finite(self, dtype, number, value, error):
        true, computed = Truth([MP.mpf(value)], np.ones(1)), np.asarray([number], dtype)
        assert errors(computed, true, (computed,)).largest == error
        assert errors(-computed, true, (computed,)).largest == errors(computed * np.nan, true, (computed,)).largest

    def test_the_worst_of_several(self):
        values = np.ones(2)
        true = Truth([MP.mpf(1)] * 2, np.ones(2))
        several = [errors(values * (1 + k * 2.0**-52), true, (values * k,)) for k in (1, 5, 2)]
        assert worst_of(several)[:3] == (5.0, 8 / 3, (5.0,))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "optimizer" not in name and "product" not in name])
def test_no_error_of_numpy_exceeds_its_bound(name):
    """As derived from what NumPy's functions are off by at most; so the bounds of CUDA follow from its functions."""
    ulps = dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "sin", "cos"), 3.0)
    for function in FUNCTIONS[name]:
        true = truth(function.formula, function.arrays, function.settings)
        with np.errstate(all="ignore"):
            computed = function.plain(np, *function.arrays).astype(float).tolist()
            xp = Bounds(function.dtype, ulps)
            bound = function.plain(xp, *map(xp.asarray, function.arrays)).error.astype(float) * (1 + 1e-9) + 5e-324
        for number, value, error, condition, *point in zip(
            computed, true.values, bound.tolist(), true.conditions, *function.arrays, strict=True
        ):
            if math.isfinite(number) and not math.isinf(condition):
                assert not abs(MP.mpf(number) - value) > error, f"{name} at {point}: {number}, {value}, {error}"
