"""Each loss: its value by another formula, its derivative by finite differences, its stable form, sample weights."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import LOSSES, get_loss, output_loss
from gpubp.nn.network import Network
from gpubp.testing import assert_agree
from gpubp.training.fit import train
from tests.registries import assert_ranges, assert_same_names

WHERE = "gpubp/nn/losses.py"


def huber(width):
    return lambda y, targets: (
        (y - targets) ** 2 / 2 if abs(y - targets) <= width else width * (abs(y - targets) - width / 2)
    )


def dead_zone(width):
    return lambda y, targets: 0.0 if abs(y - targets) < width else ((y - targets) ** 2 - width**2) / 2


def quantile(q):
    return lambda y, targets: (1 - q) * (y - targets) if y > targets else q * (targets - y)


FORMULAS = {
    "squared": lambda y, targets: (y - targets) ** 2 / 2,
    "cross_entropy": lambda y, targets: -targets * math.log(y),
    "binary_cross_entropy": lambda y, targets: -targets * math.log(y) - (1.0 - targets) * math.log(1.0 - y),
    "poisson": lambda y, targets: y - targets + (targets * math.log(targets / y) if targets > 0 else 0.0),
    "absolute": lambda y, targets: abs(y - targets),
    "huber": huber(1.0),
    "huber(0.2)": huber(0.2),
    "log_cosh": lambda y, targets: math.log(math.cosh(y - targets)),
    "dead_zone": dead_zone(0.2),
    "dead_zone(0.5)": dead_zone(0.5),
    "quantile": quantile(0.5),
    "quantile(0.9)": quantile(0.9),
}
RANGES = {
    "cross_entropy": {"sizes": "a whole number, 1 or more"},
    "huber": {"width": "above 0"},
    "dead_zone": {"width": "above 0"},
    "quantile": {"q": "above 0 and below 1"},
}
STABLE = [name for name in LOSSES if get_loss(name).at_total_inputs is not None]


def outputs_and_targets(dtype="float64"):
    generator = np.random.default_rng(8)
    targets = generator.uniform(0.0, 1.0, (6, 4))
    targets[0] = [0.0, 1.0, 0.0, 1.0]
    return generator.uniform(0.05, 0.95, (6, 4)).astype(dtype), targets.astype(dtype)


def test_every_loss_is_tested():
    tested = {name.partition("(")[0] for name in FORMULAS}
    assert_same_names({f"LOSSES of {WHERE}": LOSSES, "FORMULAS of tests/nn/test_losses.py": tested})


def test_ranges_of_parameters():
    assert_ranges(LOSSES, WHERE, RANGES, "RANGES of tests/nn/test_losses.py")


def derivative_is_right_at(name, y):
    """Compare the derivative with a central difference, for several targets."""
    loss, h = get_loss(name), 1e-6
    y, targets = np.full(9, y), np.linspace(0.03, 0.97, 9)
    differences = (loss.value(np, y + h, targets) - loss.value(np, y - h, targets)) / (2.0 * h)
    return np.allclose(loss.dE_dy(np, y, targets), differences, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_above_zero_and_below_one_follow_the_derivative(name):
    """They decide with which output activations the loss may be combined."""
    loss = get_loss(name)
    for flag, y in (("above_zero", -0.5), ("below_one", 1.5)):
        undefined = not derivative_is_right_at(name, y)
        found = "is not defined" if undefined else "is defined"
        assert getattr(loss, flag) == undefined, f"set {flag}={undefined} for {name} in {WHERE}: it {found} at {y}"


@pytest.mark.parametrize("name", FORMULAS)
def test_the_output_activation_suits_the_loss(name):
    loss = get_loss(name)
    activation = get_activation(loss.output)
    for flag in ("above_zero", "below_one"):
        message = f"set output= for {name} in {WHERE}: it needs an activation with {flag}, not {loss.output!r}"
        assert not getattr(loss, flag) or getattr(activation, flag), message


def test_a_loss_whose_output_activation_does_not_suit_it_is_named(monkeypatch):
    wrong = get_loss("poisson")._replace(output="identity")
    monkeypatch.setattr("gpubp.nn.network.get_loss", lambda name: wrong)
    message = (
        "'poisson' needs outputs above 0, which 'identity' does not give. To fix it: set output= of the loss, in gp"
    )
    with pytest.raises(DataError, match=message):
        Network((2, 1), loss="poisson")


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_takes_a_logarithm_has_a_stable_form(name):
    loss = get_loss(name)
    message = f"give {name} in {WHERE} at_total_inputs, as it needs outputs above 0"
    assert not loss.above_zero or loss.at_total_inputs is not None, message


@pytest.mark.parametrize("name", FORMULAS)
def test_value(backend_case, dtype, name):
    y, targets = outputs_and_targets(dtype)
    expected = np.vectorize(FORMULAS[name], otypes=[dtype])(y.astype("float64"), targets.astype("float64"))
    actual = get_loss(name).value(backend_case.xp, backend_case.asarray(y), backend_case.asarray(targets))
    assert_agree(actual, expected, "elementwise", namespace=backend_case.xp, device=backend_case.device)


@pytest.mark.parametrize("dtype", ["float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_derivative_by_finite_differences(backend_case, dtype, name):
    y, targets = outputs_and_targets()
    h = 6e-6

    def E(y):
        return to_numpy(get_loss(name).value(backend_case.xp, backend_case.asarray(y), backend_case.asarray(targets)))

    actual = get_loss(name).dE_dy(backend_case.xp, backend_case.asarray(y), backend_case.asarray(targets))
    differences = (E(y + h) - E(y - h)) / (2.0 * h)
    assert_agree(actual, differences, "differences", namespace=backend_case.xp, device=backend_case.device)


@pytest.mark.parametrize("name", FORMULAS)
def test_loss_is_0_if_outputs_equal_targets(name, dtype):
    _, targets = outputs_and_targets(dtype)
    error = get_loss(name)
    if name in ("cross_entropy", "binary_cross_entropy"):
        targets = np.round(targets)  # for any other d the least error is not 0
    assert_agree(error.value(np, targets, targets), np.zeros_like(targets), "elementwise")


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_minimum_of_the_quantile_loss_is_the_quantile(q):
    loss, targets = get_loss(f"quantile({q})"), np.random.default_rng(0).exponential(size=101)
    losses = [np.sum(loss.value(np, y, targets)) for y in targets]
    best = targets[np.argmin(losses)]
    assert best == np.quantile(targets, q)
    slopes = loss.dE_dy(np, best, targets)
    np.testing.assert_array_equal(slopes, np.where(targets < best, 1 - q, np.where(targets > best, -q, 0.0)))


@pytest.mark.parametrize("name", ["quantile", "quantile(0.9)"])
def test_the_quantile_loss_of_nan_is_nan(name):
    one, nan = np.ones(1), np.full(1, np.nan)
    for f in (get_loss(name).value, get_loss(name).dE_dy):
        assert np.isnan(f(np, nan, one))
        assert np.isnan(f(np, one, nan))


@pytest.mark.parametrize("name", STABLE)
def test_the_stable_form_equals_the_plain_one(backend_case, dtype, name):
    xp, error = backend_case.xp, get_loss(name)
    activation = get_activation(error.output)
    _, targets = outputs_and_targets(dtype)
    x, targets = (
        backend_case.asarray(np.random.default_rng(9).normal(size=(6, 4)), dtype),
        backend_case.asarray(targets),
    )
    y = activation.value(xp, x)
    values, dE_dx = error.at_total_inputs(xp, x, targets)
    assert_agree(values, error.value(xp, y, targets), "elementwise")
    assert_agree(dE_dx, activation.dE_dx(xp, error.dE_dy(xp, y, targets), x, y), "elementwise")


@pytest.mark.parametrize("size", [0.0, 1e-30, 90.0, 800.0, 1e4])
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_the_stable_form_is_finite_at_extreme_inputs(backend_case, dtype, name, size):
    xp, error = backend_case.xp, get_loss(name)
    x = backend_case.asarray([[-size, 0.0, size], [size, -size, size]], dtype)
    y = get_activation(error.output).value(xp, x)
    for targets in ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]):
        E, dE_dx = output_loss(xp, name, error.output, x, y, backend_case.asarray(targets, dtype))
        assert bool(xp.isfinite(E))
        assert float(E) >= 0.0
        assert bool(xp.all(xp.isfinite(dE_dx)))


def test_the_stable_form_keeps_digits():
    x, targets = np.asarray([[800.0, 0.0]]), np.asarray([[0.0, 1.0]])
    E, dE_dx = output_loss(np, "cross_entropy", "softmax", x, get_activation("softmax").value(np, x), targets)
    assert E == 800.0
    np.testing.assert_array_equal(dE_dx, [[1.0, -1.0]])


@pytest.mark.parametrize(
    "x",
    [
        [0.0, 0.0, -30.0],  # two outputs of nearly a half
        [0.0, 0.0, 0.0],
        [3.0, 3.0, 3.0 - 1e-6],
        [0.0, -1e-6, -20.0],  # the largest is above a half by little
        [-0.69, -0.70, 0.0],  # it is a half, by rounding
        [-50.0, 0.0, -50.0],
    ],
)
def test_cross_entropy_of_equal_outputs_and_of_halves_keeps_its_digits(backend_case, dtype, x):
    xp, x = backend_case.xp, np.asarray([x], dtype)
    for k in range(3):
        targets = np.eye(3, dtype=dtype)[[k]]
        values, dE_dx = get_loss("cross_entropy").at_total_inputs(
            xp, backend_case.asarray(x), backend_case.asarray(targets)
        )
        with localcontext(prec=60):
            e = [Decimal(float(x_j)).exp() for x_j in x[0]]
            loss = float(sum(e).ln() - Decimal(float(x[0, k])))
            slopes = [float(e_j / sum(e) - (j == k)) for j, e_j in enumerate(e)]
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(np.sum(to_numpy(values)), loss, rtol=tolerance)
        np.testing.assert_allclose(to_numpy(dE_dx)[0], slopes, rtol=tolerance)


def test_cross_entropy_of_means_of_a_half_that_are_both_rounded_up(backend_case, dtype):
    y = np.nextafter(np.asarray([[0.5, 0.5]], dtype), 1, dtype=dtype)  # as means of several softmaxes may be
    x, y, targets = (backend_case.asarray(array) for array in (np.log(y), y, np.asarray([[0.0, 1.0]], dtype)))
    E, _ = output_loss(backend_case.xp, "cross_entropy", "softmax", x, y, targets)
    np.testing.assert_allclose(to_numpy(E), np.log(2.0), rtol=8 * np.finfo(dtype).eps)


# by formulas in 60 decimals, which lose no digits that a float has
EXACT = {
    "binary_cross_entropy": lambda x, targets: (1 + x.exp()).ln() - targets * x,
    "poisson": lambda x, targets: x.exp() - targets * x + targets * targets.ln() - targets,
    "log_cosh": lambda x, targets: (((x - targets).exp() + (targets - x).exp()) / 2).ln(),
}


def exact(name, x, targets):
    with localcontext(prec=60):
        return np.asarray(
            [float(EXACT[name](Decimal(float(a)), Decimal(float(b)))) for a, b in zip(x, targets, strict=True)]
        )


def test_binary_cross_entropy_of_confident_correct_outputs_keeps_its_digits(backend_case, dtype):
    x = np.asarray([10.0, 12.0, 16.0, 37.0, -10.0, -12.0, -16.0, -37.0], dtype)
    targets = np.asarray([1.0] * 4 + [0.0] * 4, dtype)
    values = to_numpy(
        get_loss("binary_cross_entropy").at_total_inputs(
            backend_case.xp, backend_case.asarray(x), backend_case.asarray(targets)
        )[0]
    )
    np.testing.assert_allclose(values, exact("binary_cross_entropy", x, targets), rtol=8 * np.finfo(dtype).eps)


def test_log_cosh_keeps_its_digits_near_zero_and_is_never_negative(backend_case, dtype):
    r = np.asarray([1e-6, 1e-4, 3e-4, 1e-3, 0.1, 0.5, 0.999, 1.0, 1.001, 3.0], dtype)
    y, targets = np.concatenate([r, -r]), np.zeros(20, dtype)
    values = to_numpy(
        get_loss("log_cosh").value(backend_case.xp, backend_case.asarray(y), backend_case.asarray(targets))
    )
    np.testing.assert_allclose(values, exact("log_cosh", y, targets), rtol=8 * np.finfo(dtype).eps)
    small = backend_case.asarray(np.linspace(-2e-3, 2e-3, 1001), dtype)
    assert bool(backend_case.xp.all(get_loss("log_cosh").value(backend_case.xp, small, 0.0 * small) >= 0.0))


def test_poisson_keeps_its_digits_near_its_minimum(backend_case, dtype):
    """The error is that of the last digit of ``log d``, not of ``d log d``."""
    targets = np.asarray([300.0, 300.0, 10.0, 1.0, 0.5], dtype)
    x = np.log(np.asarray([300.3, 299.7, 10.0, 1.0, 0.6])).astype(dtype)
    values = to_numpy(
        get_loss("poisson").at_total_inputs(backend_case.xp, backend_case.asarray(x), backend_case.asarray(targets))[0]
    )
    expected, digit = (
        exact("poisson", x, targets),
        4 * np.finfo(dtype).eps * np.maximum(np.abs(x.astype("float64")), 1.0),
    )
    slack = (
        digit * np.abs(np.expm1(x.astype("float64") - np.log(targets.astype("float64")))) * targets + targets * digit**2
    )
    assert np.all(np.abs(values - expected) <= slack + digit * expected)


@pytest.mark.parametrize("name", FORMULAS)
def test_outputs_rounded_to_0_and_1_give_finite_values(backend_case, dtype, name):
    xp, error = backend_case.xp, get_loss(name)
    y = backend_case.asarray([[0.0, 0.0, 0.5, 1.0, 1.0]], dtype)
    targets = backend_case.asarray([[0.0, 1.0, 0.5, 0.0, 1.0]], dtype)
    for values in (error.value(xp, y, targets), error.dE_dy(xp, y, targets)):
        assert bool(xp.all(xp.isfinite(values)))
        assert values.dtype == y.dtype


@pytest.mark.parametrize("name", [name for name in LOSSES if not get_loss(name).above_zero])
def test_far_outputs_give_finite_values(name, dtype):
    y, targets = np.asarray([[-1e4, 1e4]], dtype), np.asarray([[1e4, 0.0]], dtype)
    assert np.all(np.isfinite(get_loss(name).value(np, y, targets)))
    assert np.all(np.isfinite(get_loss(name).dE_dy(np, y, targets)))


def targets_over_range(name):
    low, high = get_loss(name).target_range
    return np.linspace(max(low, -100.0), min(high, 100.0), 41)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_defined_over_its_target_range(name):
    error, targets = get_loss(name), targets_over_range(name)[:, None]
    x = np.linspace(-8.0, 8.0, 41)
    y = np.broadcast_to(get_activation(error.output).value(np, x), (41, 41))
    values, message = error.value(np, y, targets), f"give {name} a narrower target_range in gpubp/nn/losses.py"
    assert np.all(np.isfinite(values)), message
    assert np.all(values >= -1e-12), f"negative: {message}"
    assert np.all(np.isfinite(error.dE_dy(np, y, targets))), message


@pytest.mark.parametrize(
    ("name", "end", "outside"),
    [
        (name, end, end + step)
        for name in LOSSES
        for end, step in zip(get_loss(name).target_range, (-1e-6, 1e-6), strict=True)
        if math.isfinite(end)
    ],
)
def test_targets_outside_the_range_are_refused(name, end, outside):
    network, X = Network((1, 2), loss=name), np.zeros((3, 1))
    targets = np.full((3, 2), targets_over_range(name)[20])
    targets[1, 1] = end
    train(network, X, targets, epochs=1, device="cpu", dtype="float64")
    targets[1, 1] = outside
    with pytest.raises(DataError, match=f"the loss '{name}' needs targets from"):
        train(network, X, targets, epochs=1, device="cpu", dtype="float64")


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_a_sum_over_outputs_and_samples(backend_case, dtype, name):
    xp, activation = backend_case.xp, get_loss(name).output
    _, targets = outputs_and_targets(dtype)
    x = np.random.default_rng(10).normal(size=(2, 6, 4)).astype(dtype)  # a stack of two
    y = get_activation(activation).value(xp, backend_case.asarray(x))
    E, dE_dx = output_loss(xp, name, activation, backend_case.asarray(x), y, backend_case.asarray(targets))
    values = get_loss(name).value(np, to_numpy(y), targets) if name in STABLE else get_loss(name).value(np, x, targets)
    assert_agree(E, values.sum(axis=(-2, -1)), "forward", namespace=xp, device=backend_case.device)
    assert dE_dx.shape == x.shape


@pytest.mark.parametrize("activation", ["logistic", "softmax"])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_weight_counts_as_copies_of_the_sample(backend_case, dtype, name, activation):
    xp = backend_case.xp
    _, targets = outputs_and_targets(dtype)
    x = np.random.default_rng(11).normal(size=(6, 4)).astype(dtype)
    times = np.asarray([0, 1, 2, 3, 1, 2])

    def error_of(x, targets, sample_weight=None):
        x = backend_case.asarray(x)
        return output_loss(
            xp,
            name,
            activation,
            x,
            get_activation(activation).value(xp, x),
            backend_case.asarray(targets),
            sample_weight,
        )

    weighted, dE_dx = error_of(x, targets, backend_case.asarray(times, dtype))
    repeated, dE_dx_repeated = error_of(np.repeat(x, times, axis=0), np.repeat(targets, times, axis=0))
    assert_agree(weighted, repeated, "forward")
    sums = np.zeros_like(x)
    np.add.at(sums, np.repeat(np.arange(6), times), to_numpy(dE_dx_repeated))
    assert_agree(dE_dx, sums, "gradient", namespace=xp, device=backend_case.device)


def test_huber_is_squared_within_its_width_and_linear_beyond():
    y, targets = np.asarray([0.1, 5.0]), np.zeros(2)
    np.testing.assert_allclose(get_loss("huber(0.5)").value(np, y, targets), [0.005, 0.5 * (5.0 - 0.25)])
    np.testing.assert_allclose(get_loss("huber(0.5)").dE_dy(np, y, targets), [0.1, 0.5])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mse", "unknown loss 'mse'"),
        ("cross_entrop", "did you mean 'cross_entropy'"),
        ("squared(2)", "takes no parameters"),
        ("huber(0)", "huber's width must be above 0, got 0"),
        (3, "must be a name"),
    ],
)
def test_a_bad_name_raises(name, message):
    with pytest.raises(DataError, match=message):
        get_loss(name)


def test_poisson_does_not_overflow_for_targets_near_zero():
    """The exact value exp(x) - d x + d log d - d, in which exp(x) dominates."""
    for dtype, x, targets in (("float32", 20.0, 1e-30), ("float32", 82.0, 1e-3), ("float64", 700.0, 1e-5)):
        at = np.asarray([x], dtype=dtype), np.asarray([targets], dtype=dtype)
        actual, _ = get_loss("poisson").at_total_inputs(np, *at)
        np.testing.assert_allclose(actual, np.exp(np.asarray([x], dtype=dtype)), rtol=1e-6)


def test_cross_entropy_of_groups_is_the_sum_of_each_groups():
    generator = np.random.default_rng(0)
    x, targets = generator.normal(size=(5, 7)), generator.uniform(size=(5, 7))
    y = get_activation("softmax(3,4)").value(np, x)
    E, dE_dx = output_loss(np, "cross_entropy(3,4)", "softmax(3,4)", x, y, targets)
    parts = []
    for group in (slice(0, 3), slice(3, 7)):
        of_group = get_activation("softmax").value(np, x[:, group])
        np.testing.assert_allclose(y[:, group], of_group, rtol=1e-14)
        parts.append(output_loss(np, "cross_entropy", "softmax", x[:, group], of_group, targets[:, group]))
    np.testing.assert_allclose(E, parts[0][0] + parts[1][0], rtol=1e-14)
    np.testing.assert_allclose(dE_dx, np.concatenate([parts[0][1], parts[1][1]], axis=1), rtol=1e-14)


def test_invalid_groups_of_units():
    with pytest.raises(DataError, match="cross_entropy's sizes must be a whole number, 1 or more, got 0"):
        get_loss("cross_entropy(3,0)")
    with pytest.raises(DataError, match=r"cross_entropy's sizes must be a whole number, 1 or more, got 1.5"):
        get_loss("cross_entropy(3,1.5)")
