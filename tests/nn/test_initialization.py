"""Initial weights: the same numbers from the same seed, in every precision and in stacks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network
from gpubp.errors import DataError
from gpubp.nn.initialization import initial_weights, ntk_rate_factors, standardized_weights
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.network import views
from gpubp.nn.passes import forward

SCHEMES = ["glorot", "he", "uniform", "ntk", "fan_in", "periodic", "normal"]
NETWORK = Network((40, 30, 20))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_same_seed_same_numbers(scheme):
    one, again, other = (initial_weights(NETWORK, seed, scheme=scheme) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_numbers_do_not_change_between_versions():
    """Results published with a seed must be reproducible."""
    np.testing.assert_allclose(
        initial_weights(Network((3, 1)), 0), [0.33548626, -0.56390506, -1.12438059, 0.0], rtol=1e-6
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32_is_float64_rounded(scheme):
    wide = initial_weights(NETWORK, 3, scheme=scheme, dtype="float64")
    narrow = initial_weights(NETWORK, 3, scheme=scheme, dtype="float32")
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(narrow, wide.astype("float32"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_row_of_a_stack_equals_its_seeds_weights(scheme):
    seeds = [3, 1, 3]
    stack = initial_weights(NETWORK, seeds, scheme=scheme)
    assert stack.shape == (3, NETWORK.n_parameters)
    for row, seed in zip(stack, seeds, strict=True):
        np.testing.assert_array_equal(row, initial_weights(NETWORK, seed, scheme=scheme))
    np.testing.assert_array_equal(stack, initial_weights(NETWORK, np.asarray(seeds), scheme=scheme))


def test_a_generator_continues_its_sequence():
    generator = np.random.default_rng(5)
    first, second = initial_weights(NETWORK, generator), initial_weights(NETWORK, generator)
    np.testing.assert_array_equal(first, initial_weights(NETWORK, 5))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("scheme", "bounds"),
    [("glorot", [math.sqrt(6 / 70), math.sqrt(6 / 50)]), ("he", [math.sqrt(6 / 40), math.sqrt(6 / 30)])],
)
def test_each_layer_has_its_range(scheme, bounds, bias):
    network = Network(NETWORK.sizes, bias=bias)
    theta = initial_weights(network, scheme=scheme)
    for block, n_in, bound in zip(views(np, network, theta), network.sizes[:-1], bounds, strict=True):
        assert 0.95 * bound < np.max(np.abs(block[:n_in])) <= np.float32(bound)
        assert abs(np.mean(block[:n_in])) < 0.1 * bound
        np.testing.assert_array_equal(block[n_in:], 0.0)


@pytest.mark.parametrize("bias", [True, False])
def test_ntk_is_normal_with_the_deviation_of_each_layer(bias):
    network = Network((50, 80, 60), bias=bias)
    theta = initial_weights(network, scheme="ntk", dtype="float64")
    for block, n_in in zip(views(np, network, theta), network.sizes[:-1], strict=True):
        standard = block[:n_in] * math.sqrt(n_in)
        np.testing.assert_allclose([np.mean(standard), np.std(standard)], [0.0, 1.0], atol=0.05)
        np.testing.assert_allclose(np.mean(standard**4), 3.0, atol=0.4)
        assert block.shape[0] == n_in + bias
        if bias:
            np.testing.assert_allclose(np.std(block[n_in]), 1.0, atol=0.25)


def test_ntk_rate_factors_of_each_layer():
    """Also with connections that skip a layer: all that a unit receives counts."""
    network = Network((4, 5, 2), skips=[(0, 2)])
    first, last = views(np, network, ntk_rate_factors(network, bias=0.1))
    np.testing.assert_array_equal(first, np.concatenate([np.full((4, 5), 0.5), np.full((1, 5), 0.1)]))
    np.testing.assert_array_equal(last, np.concatenate([np.full((9, 2), 1 / 3), np.full((1, 2), 0.1)]))
    assert ntk_rate_factors(Network((9, 2), bias=False)).tolist() == [1 / 3] * 18


@pytest.mark.parametrize("bias", [-0.1, np.nan, "a", True])
def test_ntk_factor_of_the_biases_is_checked(bias):
    with pytest.raises(DataError, match="bias must be a finite number, 0 or more, got"):
        ntk_rate_factors(NETWORK, bias=bias)


@pytest.mark.parametrize("scale", [0.3, 0.05])
def test_uniform_draws_weights_and_biases(scale):
    theta = initial_weights(NETWORK, scheme="uniform", scale=scale)
    assert 0.95 * scale < np.max(np.abs(theta)) <= np.float32(scale)
    biases = theta[NETWORK.weight_mask() == 0.0]
    assert 0.8 * scale < np.max(np.abs(biases))


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5), bias=st.booleans(), scheme=st.sampled_from(SCHEMES))
def test_the_number_of_weights_for_any_network(sizes, bias, scheme):
    network = Network(sizes, bias=bias)
    theta = initial_weights(network, scheme=scheme)
    assert theta.shape == (network.n_parameters,)
    assert np.all(np.isfinite(theta))


def test_a_scheme_for_each_layer():
    """The weights of RealMLP: of periodic inputs, of their outputs, of the scale, and of the network."""
    inner = Network((4 + 3 * 3, 200, 2))
    network = with_periodic_inputs(with_scaled_inputs(inner), [0, 1, 3], n_frequencies=100)
    theta = initial_weights(network, 0, scheme=("periodic", "fan_in", "ones", "ntk", "zeros"), dtype="float64")
    waves, outputs, scale, first, last = views(np, network, theta)
    assert np.count_nonzero(waves[:-1]) == 300
    np.testing.assert_allclose(np.std(waves[:-1][waves[:-1] != 0.0]), 0.2 * np.pi, rtol=0.1)
    assert 3.0 < np.max(np.abs(waves[-1])) <= np.pi
    assert np.count_nonzero(outputs[:-1]) == 900
    assert 0.09 < np.max(np.abs(outputs)) <= 0.1  # each unit has 100 connections
    np.testing.assert_array_equal(scale, np.vstack([np.eye(13), np.zeros((1, 13))]))
    np.testing.assert_allclose(np.std(first[:-1]), 13**-0.5, rtol=0.05)
    assert not np.any(last)


def test_embeddings_are_normal():
    network = with_embedded_inputs(Network((8 + 1, 2)), [range(100)])
    embeddings, _ = views(np, network, initial_weights(network, 0, scheme=("normal", "ntk"), dtype="float64"))
    assert np.count_nonzero(embeddings) == 800
    np.testing.assert_allclose([np.mean(embeddings[:100]), np.std(embeddings[:100])], [0.0, 1.0], atol=0.1)


def test_the_factors_of_other_layers():
    network = with_scaled_inputs(Network((4, 2)))
    scale, last = views(np, network, ntk_rate_factors(network, bias=0.1, others={1: (6.0, 0.0)}))
    np.testing.assert_array_equal(scale, np.vstack([np.full((4, 4), 6.0), np.zeros((1, 4))]))
    np.testing.assert_array_equal(last, np.vstack([np.full((4, 2), 0.5), np.full((1, 2), 0.1)]))
    for others, reported in (
        ({0: (1.0, 1.0)}, "others must be layers from 1 to 2"),
        ({3: (1.0, 1.0)}, "others must be layers from 1 to 2"),
        ({1: (1.0,)}, "each with the factors of its weights and of its biases"),
        ({1: (1.0, np.inf)}, "others must be a finite number, 0 or more, got inf"),
        ({1: (1.0, True)}, "others must be a finite number, 0 or more, got True"),
        ({1: 1}, "each with the factors of its weights and of its biases, got 1: 1"),
        ([1, 2], r"others must be a mapping, such as {1: \(6.0, 0.0\)}, got \[1, 2\]"),
    ):
        with pytest.raises(DataError, match=reported):
            ntk_rate_factors(network, others=others)


def test_one_scheme_for_each_layer_is_needed():
    with pytest.raises(DataError, match=r"scheme must be one name, or 2, one for each layer, got \('ntk',\)"):
        initial_weights(NETWORK, scheme=("ntk",))


@pytest.mark.parametrize(
    ("scheme", "reported"),
    [(5, "scheme must be one name, or 2, one for each layer, got 5"), (["ntk", 3], "unknown scheme 3; known: glorot")],
)
def test_a_scheme_that_is_no_text_raises(scheme, reported):
    with pytest.raises(DataError, match=reported):
        initial_weights(NETWORK, scheme=scheme)


def test_an_unknown_scheme_raises():
    with pytest.raises(DataError, match=r"unknown scheme 'Glorot' \(did you mean 'glorot'\?\); known: glorot, he, un"):
        initial_weights(NETWORK, scheme="Glorot")


class TestStandardizedWeights:
    NETWORK = Network((4, 6, 5, 2), activation=("parametric(selu)", "tanh"), skips=((0, 2),))

    def weights(self, x, seeds, **options):
        theta = initial_weights(self.NETWORK, seeds, scheme="ntk", dtype="float64")
        return standardized_weights(self.NETWORK, theta, x, seeds, **{"layers": (1, 2, 3), **options})

    def test_total_inputs_have_standard_deviation_1(self):
        x = np.random.default_rng(0).normal(2.0, 3.0, (50, 4))
        for layer in forward(np, self.NETWORK, self.weights(x, 0), x):
            np.testing.assert_allclose(layer.x.std(axis=0), 1.0, rtol=1e-12)

    def test_every_unit_bends_among_the_samples(self):
        x = np.random.default_rng(0).normal(2.0, 3.0, (50, 4))
        total = forward(np, self.NETWORK, self.weights(x, 0), x)[0].x
        assert np.all((total.min(axis=0) < 0.0) & (total.max(axis=0) > 0.0))

    @pytest.mark.parametrize("value", [0.0, 0.1, -1e9])
    def test_other_layers_and_constant_inputs_are_left_alone(self, value):
        x = np.full((1000, 4), value)
        theta = self.weights(x, 0, layers=(1,))
        before = initial_weights(self.NETWORK, 0, scheme="ntk", dtype="float64")
        np.testing.assert_array_equal(theta[:24], before[:24])
        np.testing.assert_allclose(theta[24:30], -(x[0] @ before[:24].reshape(4, 6)), rtol=1e-12)
        np.testing.assert_array_equal(theta[30:], before[30:])

    def test_layers_above_constant_inputs_are_left_alone(self):
        assert np.abs(self.weights(np.full((1000, 4), 0.1), 0)).max() < 10.0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 0}, "seed must hold 2 seeds, one for each network of theta, got 1"),
            ({"X": np.zeros((0, 4))}, r"X must be one or more samples of 4 inputs, got an array \(0, 4\)"),
            ({"X": np.zeros((5, 3))}, r"X must be one or more samples of 4 inputs, got an array \(5, 3\)"),
            ({"layers": (1, 4)}, r"layers must be numbers from 1, above the inputs, to 3, the outputs, got \(1, 4\)"),
            ({"layers": (0,)}, "layers must be numbers from 1"),
        ],
    )
    def test_arguments_are_checked(self, change, message):
        theta = initial_weights(self.NETWORK, [0, 1])
        options = {"X": np.ones((5, 4)), "seed": [0, 1], "layers": (1,)} | change
        with pytest.raises(DataError, match=message):
            standardized_weights(self.NETWORK, theta, options["X"], options["seed"], layers=options["layers"])

    def test_a_network_of_a_stack_gets_what_it_gets_alone(self):
        x = np.random.default_rng(0).normal(size=(50, 4))
        np.testing.assert_array_equal(self.weights(x, [3, 4])[1], self.weights(x, 4))

    def test_connections_that_are_absent_stay_absent(self):
        network, x = with_scaled_inputs(Network((4, 3, 2))), np.random.default_rng(0).normal(size=(50, 4))
        theta = standardized_weights(network, initial_weights(network, 0), x, 0, layers=(1, 2))
        assert theta.dtype == np.float32
        assert not np.any(theta[~network.tied.present])
