"""The optimizers compared with their formulas, written as plain loops over single numbers."""

import inspect
import math
import re
from functools import partial

import numpy as np
import pytest

from gpubp import TabularClassifier
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.errors import DataError
from gpubp.nn.network import Network
from gpubp.optim.first_order import (
    OPTIMIZERS,
    RANGES,
    Optimizer,
    adagrad,
    adam,
    adamw,
    get_optimizer,
    gradient_descent,
    lion,
    momentum,
    nesterov,
    rmsprop,
    same_update,
)
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.schedules import InverseScaling, PiecewiseConstant
from gpubp.optim.second_order import lbfgs
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled, without_clipping
from gpubp.training.fit import train
from tests.registries import assert_same_names

REGISTRY = "OPTIMIZERS of gpubp/optim/first_order.py"


def descent_of_one(g, w, s, learning_rate):
    return -learning_rate * g


def momentum_of_one(g, w, s, learning_rate, momentum):
    s["v"] = momentum * s.get("v", 0.0) - learning_rate * g
    return s["v"]


def nesterov_of_one(g, w, s, learning_rate, momentum):
    s["v"] = momentum * s.get("v", 0.0) - learning_rate * g
    return momentum * s["v"] - learning_rate * g


def adam_of_one(g, w, s, learning_rate, beta_1, beta_2, epsilon):
    s["t"] = s.get("t", 0) + 1
    s["m"] = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    s["v"] = beta_2 * s.get("v", 0.0) + (1 - beta_2) * g * g
    rate = learning_rate * math.sqrt(1 - beta_2 ** s["t"]) / (1 - beta_1 ** s["t"])
    return -rate * s["m"] / (math.sqrt(s["v"]) + epsilon)


def adamw_of_one(g, w, s, learning_rate, beta_1, beta_2, epsilon, weight_decay):
    return adam_of_one(g, w, s, learning_rate, beta_1, beta_2, epsilon) - learning_rate * weight_decay * w


def rmsprop_of_one(g, w, s, learning_rate, rho, epsilon):
    s["v"] = rho * s.get("v", 0.0) + (1 - rho) * g * g
    return -learning_rate * g / (math.sqrt(s["v"]) + epsilon)


def adagrad_of_one(g, w, s, learning_rate, epsilon):
    s["s"] = s.get("s", 0.0) + g * g
    return -learning_rate * g / (math.sqrt(s["s"]) + epsilon)


def lion_of_one(g, w, s, learning_rate, beta_1, beta_2, weight_decay):
    direction = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    s["m"] = beta_2 * s.get("m", 0.0) + (1 - beta_2) * g
    return -learning_rate * ((direction > 0) - (direction < 0) + weight_decay * w)


FORMULAS = {
    # settings away from the defaults, and unequal, so that a mixed-up pair shows
    "gradient_descent": (descent_of_one, {"learning_rate": 0.3}),
    "momentum": (momentum_of_one, {"learning_rate": 0.3, "momentum": 0.7}),
    "nesterov": (nesterov_of_one, {"learning_rate": 0.3, "momentum": 0.7}),
    "adam": (adam_of_one, {"learning_rate": 0.2, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    "adamw": (
        adamw_of_one,
        {"learning_rate": 0.2, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
    ),
    "rmsprop": (rmsprop_of_one, {"learning_rate": 0.2, "rho": 0.8, "epsilon": 1e-3}),
    "adagrad": (adagrad_of_one, {"learning_rate": 0.2, "epsilon": 1e-3}),
    "lion": (lion_of_one, {"learning_rate": 0.2, "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.1}),
}
N_UPDATES = 6


def gradient_at(theta, t):
    """A gradient that depends on the parameters and the time; its first element is always 0."""
    slopes = np.sin(3.0 * theta + t) + 0.3 * theta
    slopes[..., 0] = 0.0
    return slopes


def descend(optimizer, theta, device="cpu", dtype="float64"):
    """Run the optimizer on a device; return all parameters on the host."""
    backend = choose_backend(device)
    xp, theta = backend.xp, to_backend(backend, theta, dtype)
    state, places = optimizer.init(xp, theta), []
    for t in range(N_UPDATES):
        gradient = to_backend(backend, gradient_at(np.array(to_numpy(theta), dtype="float64"), t), dtype)
        change, state = optimizer.update(xp, gradient, state, theta, optimizer.at(t))
        assert change.dtype == theta.dtype
        assert change.shape == theta.shape
        theta = theta + change
        places.append(to_numpy(theta))
    return np.stack(places)


def descend_by_hand(of_one, settings, start):
    places, theta, states = [], [float(w) for w in start], [{} for _ in start]
    for t in range(N_UPDATES):
        slopes = gradient_at(np.array(theta), t)
        theta = [w + of_one(float(g), w, s, **settings) for w, g, s in zip(theta, slopes, states, strict=True)]
        places.append(theta)
    return np.array(places)


START = np.array([0.5, -1.2, 0.0, 2.0, 0.31])


def test_every_optimizer_is_compared_with_a_formula():
    assert_same_names({REGISTRY: OPTIMIZERS, "FORMULAS of tests/optim/test_first_order.py": FORMULAS})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_docstring_has_the_formula(name):
    text = inspect.getdoc(OPTIMIZERS[name]).partition("Parameters\n---")[0]
    where = f"in the docstring of {name} in gpubp/optim/first_order.py"
    message = rf"state the change of a weight, :math:`\Delta w = ...`, {where}"
    assert re.search(r":math:`\\Delta w\b", text), message


def test_every_setting_has_its_range():
    expected = {
        "learning_rate": "0 or more",
        "momentum": "between 0 and 1",
        "beta_1": "from 0 to below 1",
        "beta_2": "from 0 to below 1",
        "rho": "from 0 to below 1",
        "epsilon": "0 or more",
        "weight_decay": "0 or more",
        "shrinkage": "from 0 to below 1",
        "max_norm": "above 0",
    }
    places = {"RANGES of gpubp/optim/first_order.py": RANGES}
    assert_same_names(places | {"test_every_setting_has_its_range of tests/optim/test_first_order.py": expected})
    for setting, allowed in RANGES.items():
        message = f"the range of {setting} in RANGES of gpubp/optim/first_order.py is not the one in this test"
        assert str(allowed) == expected[setting], message


def test_a_setting_without_a_range_is_refused():
    with pytest.raises(DataError, match=r"the setting 'warmth' of the optimizer 'own' has no range; .*\.RANGES"):
        Optimizer("own", {"warmth": 0.5}, adam().init, adam().update)


@pytest.mark.parametrize("name", FORMULAS)
def test_optimizer_follows_its_formula(name, device, precision):
    of_one, settings = FORMULAS[name]
    actual = descend(get_optimizer(name, **settings), START, device, precision)
    expected = descend_by_hand(of_one, settings, START)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 if precision == "float64" else 1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_default_settings_match_the_formulas(name):
    of_one, _ = FORMULAS[name]
    optimizer = get_optimizer(name)
    np.testing.assert_allclose(
        descend(optimizer, START), descend_by_hand(of_one, optimizer.settings, START), rtol=0, atol=1e-13
    )


def test_defaults_are_the_published_ones():
    assert dict(adam().settings) == {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    assert dict(momentum().settings) == {"learning_rate": 0.1, "momentum": 0.9}
    assert adamw().settings["weight_decay"] == 0.01
    assert rmsprop().settings["rho"] == 0.9


def frozen(state):
    if isinstance(state, np.ndarray):
        state.flags.writeable = False
    elif isinstance(state, tuple):
        for part in state:
            frozen(part)
    return state


@pytest.mark.parametrize(
    "wrap", [lambda optimizer: optimizer, lambda optimizer: clipped(decayed(optimizer, 0.01), 0.5)]
)
@pytest.mark.parametrize("name", FORMULAS)
def test_optimizer_does_not_change_its_inputs(name, wrap):
    optimizer = wrap(get_optimizer(name, **FORMULAS[name][1]))
    theta, gradient = frozen(START.copy()), frozen(gradient_at(START.copy(), 0))
    state = frozen(optimizer.init(np, theta))
    first, after = optimizer.update(np, gradient, state, theta, optimizer.at(0))
    again, _ = optimizer.update(np, gradient, state, theta, optimizer.at(0))
    np.testing.assert_array_equal(first, again)
    optimizer.update(np, gradient, frozen(after), theta, optimizer.at(1))
    np.testing.assert_array_equal(theta, START)
    np.testing.assert_array_equal(gradient, gradient_at(START.copy(), 0))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", FORMULAS)
def test_stack_with_a_setting_for_each_network_equals_singles(name, device):
    starts = np.stack([START, 2.0 * START, -START])
    each = {setting: [value, 0.5 * value, 0.25 * value] for setting, value in FORMULAS[name][1].items()}
    backend = choose_backend(device)
    columns = {setting: to_backend(backend, np.array(values)[:, None]) for setting, values in each.items()}
    actual = descend(get_optimizer(name, **columns), starts, device)
    for k, start in enumerate(starts):
        single = get_optimizer(name, **{setting: values[k] for setting, values in each.items()})
        np.testing.assert_allclose(actual[:, k], descend(single, start, device), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("number", [float, np.float64, lambda value: lambda epoch: np.float64(value)])
def test_float32_stays_float32_for_settings_of_any_type(name, number):
    optimizer = get_optimizer(name, **{setting: number(value) for setting, value in FORMULAS[name][1].items()})
    assert descend(optimizer, START, dtype="float32").dtype == np.float32


def test_gradient_is_shortened_to_max_norm_and_no_further():
    optimizer = clipped(gradient_descent(1.0), 2.0)
    gradients = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]])
    change, _ = optimizer.update(np, gradients, (), np.zeros((3, 2)), optimizer.at(0))
    np.testing.assert_allclose(change, [[-1.2, -1.6], [-0.6, -0.8], [0.0, 0.0]], rtol=1e-15)


def test_clipping_comes_before_the_optimizer(device, precision):
    optimizer, start = clipped(momentum(0.3, 0.7), 0.5), np.array([0.5, -1.2, 2.0])
    theta, velocity, expected = start.copy(), np.zeros(3), []
    for t in range(N_UPDATES):
        g = gradient_at(theta, t)
        velocity = 0.7 * velocity - 0.3 * g * min(1.0, 0.5 / math.sqrt(sum(part * part for part in g)))
        theta = theta + velocity
        expected.append(theta)
    actual = descend(optimizer, start, device, precision)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 if precision == "float64" else 1e-5)


def test_weights_shrink_after_the_change(device, precision):
    theta, velocity, expected = START.copy(), np.zeros(5), []
    for t in range(N_UPDATES):
        velocity = 0.7 * velocity - 0.3 * gradient_at(theta, t)
        theta = (theta + velocity) * (1 - 0.02)
        expected.append(theta)
    actual = descend(decayed(momentum(0.3, 0.7), 0.02), START, device, precision)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 if precision == "float64" else 1e-5)


def test_wrapped_optimizers_keep_the_settings_inside_them():
    optimizer = clipped(decayed(momentum(0.5, 0.8), 0.002), 3.0)
    assert optimizer.at(0) == {"learning_rate": 0.5, "momentum": 0.8, "shrinkage": 0.002, "max_norm": 3.0}
    assert optimizer.name == "clipped decayed momentum"


def test_updates_are_the_same_if_only_values_differ():
    one, other = decayed(clipped(adam(0.1), 1.0), 0.1), decayed(clipped(adam(0.2), 2.0), 0.3)
    assert same_update(one, other)
    for different in (adam(), clipped(adam(), 1.0), clipped(decayed(adam(), 0.1), 1.0), decayed(clipped(lion(), 1), 0)):
        assert not same_update(one, different)


def test_clipping_is_taken_out_of_other_wrappers():
    inside = decayed(adamw(0.2), 0.1)
    for optimizer in (decayed(clipped(adamw(0.2), 2.0), 0.1), clipped(inside, 2.0)):
        without = without_clipping(optimizer)
        assert (without.update, without.settings) == (inside.update, inside.settings)
    assert without_clipping(inside) is inside


@pytest.mark.parametrize("wrap", [clipped, decayed])
def test_nested_wrappers_of_one_kind_are_refused(wrap):
    """Settings are passed by name, so the inner wrapper would silently use the outer one's."""
    with pytest.raises(DataError, match="already"):
        wrap(wrap(gradient_descent(1.0), 0.25), 0.5)


def test_settings_can_be_schedules():
    optimizer = clipped(
        momentum(PiecewiseConstant({0: 0.005, 20: 0.01}), PiecewiseConstant({0: 0.5, 20: 0.9})), InverseScaling(1.0)
    )
    assert optimizer.at(0) == {"learning_rate": 0.005, "momentum": 0.5, "max_norm": 1.0}
    assert optimizer.at(20) == {"learning_rate": 0.01, "momentum": 0.9, "max_norm": 1.0 / math.sqrt(21.0)}


def test_scheduled_settings_reach_the_formula():
    places, theta = [], START.copy()
    for t in range(N_UPDATES):
        theta = theta - (0.4 if t >= 3 else 0.2) * gradient_at(theta, t)
        places.append(theta)
    np.testing.assert_allclose(
        descend(gradient_descent(PiecewiseConstant({0: 0.2, 3: 0.4})), START), places, rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("optimizer", [adagrad(), rmsprop(), adam(), nesterov(), momentum(), gradient_descent()])
def test_a_zero_gradient_changes_nothing(optimizer):
    change, _ = optimizer.update(np, np.zeros(3), optimizer.init(np, np.ones(3)), np.ones(3), optimizer.at(0))
    np.testing.assert_array_equal(change, 0.0)


def test_lion_steps_by_the_sign_whatever_the_size_of_the_gradient():
    optimizer, theta = lion(0.5, weight_decay=0.0), np.zeros(5)
    gradient = np.asarray([1e-30, -1e-30, 1e30, 0.0, np.nan])
    change, state = optimizer.update(np, gradient, optimizer.init(np, theta), theta, optimizer.at(0))
    np.testing.assert_array_equal(change, [-0.5, 0.5, -0.5, 0.0, np.nan])
    back, _ = optimizer.update(np, -5.0 * gradient, state, theta, optimizer.at(0))  # outweighs the mean
    np.testing.assert_array_equal(back, -change)


SETTINGS = [(name, setting) for name, make in OPTIMIZERS.items() for setting in make().settings]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True, np.True_, "0.1", None, 1j], ids=repr)
@pytest.mark.parametrize(("name", "setting"), [*SETTINGS, ("clipped", "max_norm"), ("decayed", "shrinkage")])
def test_every_setting_is_checked(name, setting, value):
    make = {"clipped": partial(clipped, adam()), "decayed": partial(decayed, adam())}.get(name, OPTIMIZERS.get(name))
    with pytest.raises(DataError, match=rf"^{setting} must be .*, got "):
        make(**{setting: value})


@pytest.mark.parametrize("make", [adam, clipped, decayed, rate_scaled, decay_scaled, loss_scaled, get_optimizer, lbfgs])
def test_a_function_that_makes_an_optimizer_is_none(make):
    arguments = "" if make in (adam, lbfgs) else "..."  # the others need some
    message = re.escape(f"pass gpubp.{make.__name__}({arguments}), not gpubp.{make.__name__}")
    with pytest.raises(DataError, match=message):
        train(Network((1, 1)), [[1.0]], [[0.5]], optimizer=make, epochs=1)
    with pytest.raises(ValueError, match=message):
        TabularClassifier(optimizer=make, preset="fast").fit([[0.0], [1.0]] * 9, ["a", "b"] * 9)


def test_a_class_is_no_optimizer():
    with pytest.raises(DataError, match=r"must be one of gpubp's, such as adam\(\), got the class PiecewiseConstant"):
        train(Network((1, 1)), [[1.0]], [[0.5]], optimizer=PiecewiseConstant, epochs=1)


@pytest.mark.parametrize("wrap", [loss_scaled, partial(clipped, max_norm=1.0), partial(decayed, shrinkage=0.1)])
@pytest.mark.parametrize("inner", [adam, "adam", None, lbfgs()])
def test_what_is_no_optimizer_is_not_wrapped(wrap, inner):
    with pytest.raises(DataError, match=r"only a first-order optimizer, such as adam\(\), can be"):
        wrap(inner)


@pytest.mark.parametrize("name", [None, [], 3, adam])
def test_the_name_of_an_optimizer_is_text(name):
    with pytest.raises(DataError, match="the name of an optimizer must be text, such as 'adam', got "):
        get_optimizer(name)


def test_unknown_optimizers_and_settings_list_the_known_ones():
    with pytest.raises(DataError, match=r"unknown optimizer 'adma' \(did you mean 'adam'\?\); known: .*momentum"):
        get_optimizer("adma")
    with pytest.raises(DataError, match=r"unknown setting of momentum 'learnin_rate' \(did you mean 'learning_rate'"):
        get_optimizer("momentum", learnin_rate=0.1)
    with pytest.raises(DataError, match="unknown setting of gradient_descent 'momentum'"):
        get_optimizer("gradient_descent", momentum=0.9)


@pytest.mark.parametrize("value", [10**400, "0.1", True, 1j, None, [0.1, 0.2], {0: 0.1}], ids=repr)
def test_what_is_not_a_number_is_refused(value):
    with pytest.raises(DataError, match="learning_rate must be 0 or more, got "):
        adam(value)
