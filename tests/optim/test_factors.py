"""A learning rate, and a weight decay, of its own for each parameter."""

import numpy as np
import pytest

from gpubp import Network, adam, adamw, decayed, initial_weights, lbfgs, momentum, rate_scaled, train
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine import cpu
from gpubp.engine.cpu.epoch import log_plain
from gpubp.errors import DataError
from gpubp.nn.architectures import with_blocks, with_equal_layers
from gpubp.nn.initialization import ntk_rate_factors
from gpubp.optim.first_order import get_optimizer, gradient_descent, lion
from gpubp.optim.wrappers import clipped, decay_scaled, without_rate_factors
from gpubp.testing import assert_agree
from tests.optim.test_first_order import FORMULAS, START, descend, gradient_at

NETWORK = Network((3, 4, 2), activation="tanh")
RNG = np.random.default_rng(0)
X, TARGETS = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
FACTORS = np.where(np.arange(NETWORK.n_parameters) % 4 == 0, 0.0, 10.0 ** RNG.uniform(-2, 0.5, NETWORK.n_parameters))


def fit(optimizer, network=NETWORK, **options):
    return train(
        network, X, TARGETS, **{"optimizer": optimizer, "epochs": 3, "batch_size": 8, "dtype": "float64"} | options
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_a_factor_is_that_of_a_learning_rate(name, device, precision):
    of_one, settings = FORMULAS[name]
    factors, theta, states = [1.0, 0.1, 0.0, 3.0, 0.5], START.copy(), [{} for _ in START]
    own = [settings | {"learning_rate": settings["learning_rate"] * factor} for factor in factors]
    scaled = rate_scaled(
        get_optimizer(name, **settings), to_backend(choose_backend(device), np.array(factors), precision)
    )
    places = descend(scaled, START, device, precision)
    for t, place in enumerate(places):
        slopes = gradient_at(theta, t)
        each = zip(theta, slopes, states, own, strict=True)
        theta = np.array([w + of_one(float(g), float(w), s, **of_w) for w, g, s, of_w in each])
        np.testing.assert_allclose(place, theta, rtol=0, atol=1e-13 if precision == "float64" else 1e-5)
    np.testing.assert_array_equal(places[:, 2], np.asarray(START[2], precision))


def test_the_factor_is_of_the_decay_too_unless_that_comes_after():
    theta, gradient = np.asarray([1.0, 2.0]), np.zeros(2)
    inside = rate_scaled(decayed(gradient_descent(1.0), 0.1), [0.5, 0.0])
    outside = decayed(rate_scaled(gradient_descent(1.0), [0.5, 0.0]), 0.1)
    np.testing.assert_allclose(inside.update(np, gradient, (), theta, inside.at(0))[0], [-0.05, 0.0])
    np.testing.assert_allclose(outside.update(np, gradient, (), theta, outside.at(0))[0], [-0.1, -0.2])


@pytest.mark.parametrize("name", ["adamw", "lion"])
@pytest.mark.parametrize("has_rates", [True, False])
def test_a_factor_of_the_decay(name, has_rates, device, precision):
    """As if each parameter had a weight decay of its own, beside its own learning rate."""
    of_one, settings = FORMULAS[name]
    decays, rates = [1.0, 0.0, 7.0, 0.1, 0.5], [1.0, 0.1, 0.0, 3.0, 0.5] if has_rates else [1.0] * 5
    backend, theta, states = choose_backend(device), START.copy(), [{} for _ in START]
    optimizer = decay_scaled(get_optimizer(name, **settings), to_backend(backend, np.array(decays), precision))
    if has_rates:
        optimizer = rate_scaled(optimizer, to_backend(backend, np.array(rates), precision))
    own = [
        settings | {"learning_rate": settings["learning_rate"] * rate, "weight_decay": settings["weight_decay"] * decay}
        for rate, decay in zip(rates, decays, strict=True)
    ]
    for t, place in enumerate(descend(optimizer, START, device, precision)):
        each = zip(theta, gradient_at(theta, t), states, own, strict=True)
        theta = np.array([w + of_one(float(g), float(w), s, **of_w) for w, g, s, of_w in each])
        np.testing.assert_allclose(place, theta, rtol=0, atol=1e-13 if precision == "float64" else 1e-5)


def test_the_order_of_both_kinds_of_factors_makes_no_difference():
    one = fit(decay_scaled(rate_scaled(adamw(0.1, weight_decay=0.5), FACTORS), FACTORS[::-1]))
    other = fit(rate_scaled(decay_scaled(adamw(0.1, weight_decay=0.5), FACTORS[::-1]), FACTORS))
    np.testing.assert_array_equal(one.theta, other.theta)


def test_biases_without_decay():
    theta = initial_weights(NETWORK, 0, scheme="uniform", dtype="float64")
    options = {"theta": theta, "epochs": 1, "batch_size": "full"}
    decays = [adamw(0.1, weight_decay=decay) for decay in (0.0, 0.5)]
    without, partly = (fit(decay_scaled(decay, NETWORK.weight_mask()), **options).theta for decay in decays)
    np.testing.assert_allclose(partly - without, -0.1 * 0.5 * theta * NETWORK.weight_mask(), rtol=0, atol=1e-15)


def test_factors_of_the_decay_need_one():
    with pytest.raises(DataError, match=r"needs an optimizer with weight_decay, such as adamw\(\), got adam"):
        decay_scaled(adam(), np.ones(3))
    with pytest.raises(DataError, match="decay-scaled lion already has decay_factors"):
        decay_scaled(decay_scaled(lion(), np.ones(3)), np.ones(3))
    with pytest.raises(DataError, match=r"decay_factors must be \(26,\), .* got \(7,\)"):
        fit(decay_scaled(adamw(), np.ones(7)))


@pytest.mark.parametrize("wrap", [rate_scaled, decay_scaled])
@pytest.mark.parametrize("optimizer", [None, adamw, "adamw"])
def test_only_an_optimizer_is_scaled(wrap, optimizer):
    with pytest.raises(DataError, match=r"only a first-order|needs an optimizer with weight_decay") as error:
        wrap(optimizer, np.ones(3))
    assert str(optimizer) in str(error.value)


def test_the_shapes_of_factors_that_are_named_fit():
    message = r"must be \(26,\), a number for each parameter, got \(3, 26\)"
    with pytest.raises(DataError, match=message):
        fit(rate_scaled(adam(), np.ones((3, 26))))
    message = r"must be \(26,\), a number for each parameter, or \(2, 26\), others for each .* got \(3, 26\)"
    with pytest.raises(DataError, match=message):
        fit(rate_scaled(adam(), np.ones((3, 26))), seed=[1, 2])


def test_the_optimizer_inside():
    inner = adamw(0.1)
    scaled = rate_scaled(inner, np.ones(3))
    assert scaled.name == "rate-scaled adamw"
    assert without_rate_factors(scaled) == inner
    assert without_rate_factors(inner) is None
    with pytest.raises(DataError, match="rate-scaled adamw already has rate_factors"):
        rate_scaled(scaled, np.ones(3))


@pytest.mark.parametrize("optimizer", [adam(0.05), clipped(momentum(0.1, 0.9), 0.5)], ids=["adam", "clipped"])
def test_training_on_each_device(optimizer, device, precision):
    scaled = rate_scaled(optimizer, FACTORS)
    theta = initial_weights(NETWORK, 0, dtype=precision)
    result = to_numpy(fit(scaled, theta=theta, device=device, dtype=precision).theta)
    assert_agree(result, fit(scaled, theta=theta, device="cpu", dtype=precision).theta, "fit")
    np.testing.assert_array_equal(result[::4], theta[::4])
    assert not np.any(result[1::4] == theta[1::4])


def test_factors_of_1_change_no_bit():
    for optimizer in (adamw(), momentum()):
        np.testing.assert_array_equal(fit(rate_scaled(optimizer, np.ones_like(FACTORS))).theta, fit(optimizer).theta)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("n_factors", [1, 3])
def test_a_stack_equals_single_networks(n_factors, device):
    """With factors for all of its networks, or for each; networks leave the stack as they are done."""
    factors = FACTORS if n_factors == 1 else np.stack([FACTORS, FACTORS[::-1], 0.5 * FACTORS])
    epochs_of = iter(range(100))

    def stop_when(targets, outputs):  # the first network after the first epoch, the others never
        epoch = next(epochs_of)
        return np.asarray([epoch == 0 and k == 0 for k in range(outputs.shape[0])])

    stack = fit(rate_scaled(adam(0.05), factors), seed=[1, 2, 3], stop_when=stop_when, device=device)
    for k, epochs in enumerate([1, 3, 3]):
        theta = initial_weights(NETWORK, k + 1, dtype="float64")
        own = rate_scaled(adam(0.05), FACTORS if n_factors == 1 else factors[k])
        batches = {"seed": 1, "theta": theta, "epochs": epochs, "device": device}
        assert_agree(to_numpy(stack.theta)[k], to_numpy(fit(own, **batches).theta), "fit")


def ntk_steps(start, sizes, X, targets, decay=0.0, *, rate=0.07, bias_factor=0.1, epochs=8):
    """Train ``y = tanh(x W_1 / sqrt(n) + b_1) W_2 / sqrt(m) + b_2`` by Adam on W and b; W decays."""
    n, m, j = sizes
    ends = np.cumsum([n * m, m, m * j, j])
    parts = [part.copy() for part in np.split(start, ends[:-1])]
    parts[0], parts[2] = parts[0].reshape(n, m) * np.sqrt(n), parts[2].reshape(m, j) * np.sqrt(m)
    rates = [rate, bias_factor * rate, rate, bias_factor * rate]
    first, second = [0.0] * 4, [0.0] * 4
    for t in range(1, epochs + 1):
        W_1, b_1, W_2, b_2 = parts
        outputs = np.tanh(X @ W_1 / np.sqrt(n) + b_1)
        dE = (outputs @ W_2 / np.sqrt(m) + b_2 - targets) / len(X)
        dE_below = dE @ W_2.T / np.sqrt(m) * (1 - outputs**2)
        gradient = [X.T @ dE_below / np.sqrt(n), dE_below.sum(0), outputs.T @ dE / np.sqrt(m), dE.sum(0)]
        first = [0.9 * m_t + 0.1 * g for m_t, g in zip(first, gradient, strict=True)]
        second = [0.95 * v_t + 0.05 * g * g for v_t, g in zip(second, gradient, strict=True)]
        for k in range(4):
            change = first[k] / (1 - 0.9**t) / np.sqrt(second[k] / (1 - 0.95**t))
            parts[k] = parts[k] - rates[k] * (change + (decay if k in (0, 2) else 0.0) * parts[k])
    parts[0], parts[2] = parts[0] / np.sqrt(n), parts[2] / np.sqrt(m)
    return np.concatenate([part.ravel() for part in parts])


@pytest.mark.usefixtures("double")
def test_ntk_factors_train_as_a_network_in_that_parametrization(device):
    theta = initial_weights(NETWORK, 3, scheme="ntk", dtype="float64")
    optimizer = rate_scaled(adam(0.07, beta_2=0.95, epsilon=0.0), ntk_rate_factors(NETWORK, bias=0.1))
    result = fit(optimizer, theta=theta, epochs=8, batch_size="full", device=device).theta
    expected = ntk_steps(theta, NETWORK.sizes, X, TARGETS)
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-10, atol=1e-12)
    assert np.max(np.abs(expected - theta)) > 0.1
    rate_factors = ntk_rate_factors(NETWORK, bias=0.1)
    decayed_weights = decay_scaled(
        adamw(0.07, beta_2=0.95, epsilon=0.0, weight_decay=0.5), NETWORK.weight_mask() / rate_factors
    )
    options = {"theta": theta, "epochs": 8, "batch_size": "full", "device": device}
    result = to_numpy(fit(rate_scaled(decayed_weights, rate_factors), **options).theta)
    expected = ntk_steps(theta, NETWORK.sizes, X, TARGETS, decay=0.5)
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-12)


def test_float16_products():
    """Loss scaling skips updates, and keeps the factors."""
    theta = initial_weights(NETWORK, 0)
    result = fit(rate_scaled(adam(0.05), FACTORS), theta=theta, dtype="float32", matmul_precision="float16").theta
    np.testing.assert_array_equal(result[::4], theta[::4])
    assert not np.any(result[1::4] == theta[1::4])


def test_tied_weights_have_equal_factors():
    tied = with_equal_layers(Network((3, 3, 3, 2)), [1, 2])
    factors = np.random.default_rng(0).uniform(0.1, 1.0, tied.n_parameters)
    with pytest.raises(DataError, match="rate_factors differ for weights that are tied, at"):
        fit(rate_scaled(adam(), factors), tied)
    theta = fit(rate_scaled(adam(), tied.tied.tie(factors)), tied).theta
    np.testing.assert_array_equal(theta, tied.tied.tie(theta))
    missing = with_blocks(Network((3, 4, 2)), 1, [(1, 2), (2, 2)])
    fit(rate_scaled(adam(), np.ones(missing.n_parameters)), missing)  # where there is no weight, any factor will do


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones(7), r"rate_factors must be \(26,\), .* got \(7,\)"),
        (np.ones((2, 26)), r"rate_factors must be \(26,\), .* got \(2, 26\)"),
        (np.where(np.arange(26) == 5, -1.0, 1.0), r"at least 0, got -1.0 at \[5\]"),
        (np.where(np.arange(26) == 6, np.nan, 1.0), r"must be finite and at least 0, got nan at \[6\]"),
        (np.ones(26, complex), "must hold real numbers, got complex128"),
        (["a"] * 26, "must hold real numbers, got <U1"),
    ],
)
def test_factors_that_are_refused(factors, message):
    with pytest.raises(DataError, match=message):
        fit(rate_scaled(adam(), factors))


def test_factors_whose_rows_differ_in_length():
    with pytest.raises(DataError, match="rate_factors must be an array, its rows of one length: "):
        rate_scaled(adam(), [[1.0], [1.0, 2.0]])


def test_an_optimizer_that_the_engine_lacks_is_logged_once(caplog):
    if not cpu.is_wanted():
        pytest.skip("the engine is not used")
    log_plain.cache_clear()
    with caplog.at_level("INFO", logger="gpubp"):
        for _ in range(2):
            fit(decayed(rate_scaled(adam(), FACTORS), 0.1))
    lacking = [message for message in caplog.messages if "lacks the optimizer 'decayed rate-scaled adam'" in message]
    assert len(lacking) == 1


@pytest.mark.parametrize("factors", [0.5, np.ones((2, 2, 2))])
def test_factors_are_one_or_two_dimensional(factors):
    with pytest.raises(DataError, match="an array with a number for each parameter"):
        rate_scaled(adam(), factors)


@pytest.mark.parametrize("wrap", [rate_scaled, clipped, decayed])
def test_second_order_optimizers_are_not_wrapped(wrap):
    with pytest.raises(DataError, match=r"only a first-order optimizer, .* got lbfgs"):
        wrap(lbfgs(), np.ones(26))
