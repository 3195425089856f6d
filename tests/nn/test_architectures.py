"""Connections that skip layers, groups of units, and tied weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network, load_model, predict, save_model, train
from gpubp.errors import DataError
from gpubp.nn.architectures import (
    iterative,
    transfer_weights,
    with_blocks,
    with_equal_layers,
    with_fields,
    with_sums,
)
from gpubp.nn.gradient_check import check_gradient
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.jacobian import jacobian
from gpubp.nn.network import flatten, views
from gpubp.nn.passes import forward, loss_and_gradient, output_layer
from gpubp.nn.weight_sharing import Ties
from gpubp.optim.first_order import OPTIMIZERS, momentum
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.optim.wrappers import decayed
from gpubp.testing import assert_agree
from tests import reference

SKIPPING = Network((2, 1, 1), activation="logistic", output_activation="logistic", skips=[(0, 2)])
GROUPED = with_blocks(Network((5, 4, 3), activation="tanh", output_activation="logistic"), 1, [(2, 1), (3, 3)])
EQUAL = with_equal_layers(Network((3, 3, 3, 3), activation="logistic", output_activation="logistic"), [1, 2, 3])
READING = iterative(2, 3, n_steps=4, n_outputs=1)
FIELDS = with_fields(
    Network((2 * 4 * 5, 3 * 3 * 3, 2), activation="tanh", output_activation="logistic"),
    1,
    (4, 5),
    (2, 3),
    n_feature_maps=3,
)
SUMS = with_sums(Network((3, 5, 2), activation="logistic", output_activation="logistic"), 2, [2, 3])
SCALED = with_scaled_inputs(Network((3, 4, 2), activation="tanh", output_activation="logistic", skips=[(0, 2)]))
PERIODIC = with_periodic_inputs(
    with_scaled_inputs(Network((3 + 2, 2, 1), activation="selu", output_activation="logistic")),
    [2, 0],
    n_frequencies=2,
    n_outputs=1,
)
EMBEDDED = with_embedded_inputs(
    Network((2 * 2 + 2, 3, 2), activation="parametric(tanh)", output_activation="logistic", skips=[(0, 2)]),
    [[4, 1], [2, 5]],
    n_outputs=2,
)
WIRED = {
    "skipping": SKIPPING,
    "grouped": GROUPED,
    "equal": EQUAL,
    "reading": READING,
    "fields": FIELDS,
    "sums": SUMS,
    "scaled": SCALED,
    "periodic": PERIODIC,
    "embedded": EMBEDDED,
}

wired = pytest.mark.parametrize("network", WIRED.values(), ids=WIRED)


def samples(network, n=7, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, network.sizes[0])), generator.uniform(size=(n, network.sizes[-1]))


def weights(network, seed=1):
    return initial_weights(network, seed, scheme="uniform", scale=1.0, dtype="float64")


class TestGradients:
    @wired
    def test_equal_central_differences_of_tied_weights(self, network):
        check = check_gradient(np, network, weights(network), *samples(network))
        differences = check.differences if network.tied is None else network.tied.average(np, check.differences, "cpu")
        np.testing.assert_allclose(check.gradient, differences, rtol=0.0, atol=1e-8)

    @wired
    def test_pass_the_public_check(self, network):
        assert check_gradient(np, network, weights(network), *samples(network)).largest_deviation < 1e-7

    @wired
    def test_of_a_stack_equal_those_of_its_networks(self, network):
        theta, (x, targets) = np.stack([weights(network, seed) for seed in range(3)]), samples(network)
        E, gradient = loss_and_gradient(np, network, theta, x, targets)
        for k in range(3):
            single = loss_and_gradient(np, network, theta[k], x, targets)
            np.testing.assert_allclose(E[k], single[0], rtol=1e-13)
            np.testing.assert_allclose(gradient[k], single[1], rtol=1e-12, atol=1e-15)

    @wired
    def test_agree_on_every_device(self, network, backend_case, dtype):
        theta, (x, targets) = weights(network), samples(network)
        expected = loss_and_gradient(np, network, *(a.astype(dtype) for a in (theta, x, targets)))
        actual = loss_and_gradient(
            backend_case.xp, network, *(backend_case.asarray(a, dtype) for a in (theta, x, targets))
        )
        assert_agree(actual[1], expected[1], "gradient", namespace=backend_case.xp, device=backend_case.device)

    @wired
    def test_of_all_outputs_add_up_to_that_of_the_loss(self, network):
        theta, (x, targets) = weights(network), samples(network)
        y = output_layer(np, network, theta, x).y
        from_outputs = np.einsum("bj,jbp->p", y - targets, jacobian(np, network, theta, x))
        np.testing.assert_allclose(from_outputs, loss_and_gradient(np, network, theta, x, targets)[1], atol=1e-13)


class TestSkips:
    def test_connect_to_the_layer_above_as_in_the_paper(self):
        w, v = 1.5, [0.4, -0.7, 2.0]  # one hidden unit; the output sees it, then both inputs
        theta = np.asarray([0.3, w, -0.2, v[0], v[1], v[2], 0.1])
        x = [0.5, -1.0]
        activation = reference.output(0.3 * x[0] + w * x[1] - 0.2)
        expected = reference.output(v[0] * activation + v[1] * x[0] + v[2] * x[1] + 0.1)
        actual = predict(SKIPPING, theta, np.asarray([x]), device="cpu")
        np.testing.assert_allclose(actual, [[expected]], rtol=1e-15)

    def test_solve_exclusive_or_with_one_hidden_unit(self):
        x = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        targets = np.asarray([[0.0], [1.0], [1.0], [0.0]])
        fit = train(
            SKIPPING, x, targets, optimizer=momentum(0.5, 0.9), epochs=2000, batch_size="full", seed=1, device="cpu"
        )
        np.testing.assert_array_equal(predict(SKIPPING, fit.theta, x) > 0.5, targets > 0.5)

    def test_join_dropout(self):
        network, kept = Network((2, 3, 3, 1), skips=[(1, 3)]), tuple(np.full((4, n), 2.0) for n in (2, 3, 3))
        x, targets = samples(network, 4)
        theta = weights(network)
        layers = forward(np, network, theta, x, kept)
        w = views(np, network, theta)[2]
        below = np.concatenate([2.0 * layers[1].y, 2.0 * layers[0].y], axis=-1)
        np.testing.assert_allclose(layers[2].x, below @ w[:-1] + w[-1])
        h, E = 1e-6, lambda theta: loss_and_gradient(np, network, theta, x, targets, None, kept)[0]
        shifts = h * np.eye(network.n_parameters)
        differences = [(E(theta + shift) - E(theta - shift)) / (2 * h) for shift in shifts]
        np.testing.assert_allclose(
            loss_and_gradient(np, network, theta, x, targets, None, kept)[1], differences, atol=1e-6
        )

    @pytest.mark.parametrize(
        "skips", [[(0, 1)], [(1, 0)], [(0, 3)], [(0,)], [(-1, 2)], [(0, 2), (0, 2)], [0.5], [(0, 1.5)]]
    )
    def test_are_checked(self, skips):
        with pytest.raises(DataError, match="skips must"):
            Network((2, 3, 1), skips=skips)


class TestEqualWeights:
    def test_layered_and_iterative_form_are_equal(self):
        """A loop runs the units for three time steps and averages each weight's derivatives over them."""
        theta, (x, targets) = weights(EQUAL), samples(EQUAL)
        w = [row.tolist() for row in views(np, EQUAL, theta)[0]]
        per_step = [reference.zeros_like([w])[0] for _ in range(3)]
        outputs = []
        for x_c, d_c in zip(x.tolist(), targets.tolist(), strict=True):
            states = [x_c]
            for _ in range(3):
                below = [*states[-1], 1.0]
                states.append([reference.output(reference.total_input(below, w, j)) for j in range(3)])
            outputs.append(states[-1])
            signal = [
                reference.dE_dx(reference.dE_dy(y, targets), y) for y, targets in zip(states[-1], d_c, strict=True)
            ]
            for step in (2, 1, 0):
                for i, y in enumerate([*states[step], 1.0]):
                    for j in range(3):
                        per_step[step][i][j] += reference.dE_dw(signal[j], y)
                signal = [reference.dE_dx(reference.dE_dy_below(signal, w, i), states[step][i]) for i in range(3)]
        E, gradient = loss_and_gradient(np, EQUAL, theta, x, targets)
        np.testing.assert_allclose(E, reference.error(outputs, targets.tolist()), rtol=1e-14)
        average = np.mean(per_step, axis=0)
        np.testing.assert_allclose(gradient, np.tile(average.ravel(), 3), rtol=1e-13, atol=1e-16)

    def test_a_net_with_inputs_at_each_step_equals_a_loop(self):
        theta, (x, _) = weights(READING), samples(READING)
        first, second, *_, output = views(np, READING, theta)
        from_inputs, from_units, biases = first[:2], second[:3], first[-1]
        state = np.zeros((len(x), 3))
        for step in range(4):
            inputs = x[:, 2 * step : 2 * step + 2]
            state = 1.0 / (1.0 + np.exp(-(inputs @ from_inputs + state @ from_units + biases)))
        expected = 1.0 / (1.0 + np.exp(-(state @ output[:-1] + output[-1])))
        np.testing.assert_allclose(output_layer(np, READING, theta, x).y, expected, rtol=1e-14)

    @wired
    @pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "decayed", "lbfgs", "levenberg_marquardt"])
    def test_stay_equal_while_they_are_trained(self, network, optimizer):
        made = {"decayed": decayed(momentum(0.1), 0.01), "lbfgs": lbfgs(), "levenberg_marquardt": levenberg_marquardt()}
        optimizer = made.get(optimizer) or OPTIMIZERS[optimizer]()
        x, targets = samples(network)
        fit = train(network, x, targets, optimizer=optimizer, epochs=5, dtype="float64", l2=0.01, seed=3, device="cpu")
        assert not np.array_equal(fit.theta, initial_weights(network, 3, dtype="float64"))
        assert fit.history.loss[-1] < fit.history.loss[0]
        if network.tied is not None:
            np.testing.assert_array_equal(fit.theta, network.tied.tie(fit.theta))

    def test_other_arguments_are_reported(self):
        theta = weights(GROUPED) + 1.0
        x, targets = samples(GROUPED)
        for use in (lambda: predict(GROUPED, theta, x), lambda: train(GROUPED, x, targets, theta=theta)):
            with pytest.raises(DataError, match=r"differs from the network's ties at \[1\]"):
                use()

    @given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.integers(0, 2**31))
    def test_averages_are_over_positions_of_one_number(self, numbers, seed):
        dE_dw = np.random.default_rng(seed).normal(size=(2, len(numbers)))
        actual = Ties(tuple(numbers)).average(np, dE_dw, "cpu")
        for place, number in enumerate(numbers):
            alike = [k for k, other in enumerate(numbers) if other == number]
            expected = dE_dw[:, alike].mean(axis=1) if number >= 0 else [0.0, 0.0]
            np.testing.assert_allclose(actual[:, place], expected, atol=1e-15)

    @pytest.mark.parametrize("ties", [[[1], [1, 2]], [2**63] * 9, (0, 1), [0.5] * 9, [-2] * 9, "text", [[0] * 9]])
    def test_are_checked(self, ties):
        with pytest.raises(DataError, match="ties must be 9 whole numbers"):
            Network((2, 2, 1), ties=ties)


class TestMakers:
    def test_groups_see_only_their_inputs(self):
        theta, (x, _) = weights(GROUPED), samples(GROUPED)
        w = views(np, GROUPED, theta)[0]
        first = np.tanh(x[:, :2] @ w[:2, :1] + w[-1, :1])
        second = np.tanh(x[:, 2:] @ w[2:-1, 1:] + w[-1, 1:])
        actual = forward(np, GROUPED, theta, x)[0].y
        np.testing.assert_allclose(actual, np.concatenate([first, second], axis=1), rtol=1e-14)

    def test_fields_are_a_convolution(self):
        """Two planes of 4 x 5 below; three kinds of units, each with a 2 x 3 field over both, at 3 x 3 places."""
        theta, (x, _) = weights(FIELDS), samples(FIELDS)
        w = views(np, FIELDS, theta)[0]
        of_field, biases = w[:-1].reshape(2, 4, 5, 3, 3, 3)[:, :2, :3, :, 0, 0], w[-1].reshape(3, 3, 3)[:, 0, 0]
        planes = x.reshape(-1, 2, 4, 5)
        expected = np.empty((len(x), 3, 3, 3))
        for sample, kind, row, column in np.ndindex(expected.shape):
            total = biases[kind]
            for plane, down, right in np.ndindex(2, 2, 3):
                total += of_field[plane, down, right, kind] * planes[sample, plane, row + down, column + right]
            expected[sample, kind, row, column] = np.tanh(total)
        actual = forward(np, FIELDS, theta, x)[0].y
        np.testing.assert_allclose(actual, expected.reshape(len(x), -1), rtol=1e-13)

    def test_fields_share_the_weights_of_their_kind(self):
        assert len(set(FIELDS.ties) - {-1}) == 3 * (2 * 2 * 3 + 1) + (27 + 1) * 2
        without_biases = with_fields(Network((9, 8), bias=False), 1, (3, 3), (2, 2), n_feature_maps=2)
        assert len(set(without_biases.ties) - {-1}) == 2 * 4

    def test_fields_of_fields(self):
        """A shift of the sample on its plane shifts the planes above, away from the edges."""
        network = with_fields(Network((36, 32, 12), activation="tanh"), 1, (6, 6), (3, 3), n_feature_maps=2)
        network = with_fields(network, 2, (4, 4), (2, 3), n_feature_maps=2)
        theta = weights(network)
        x = np.zeros((2, 6, 6))
        x[0, 1:4, 1:4], x[1, 2:5, 1:4] = (spot := np.random.default_rng(2).normal(size=(3, 3))), spot
        y, moved = forward(np, network, theta, x.reshape(2, 36))[1].y.reshape(2, 2, 3, 2)
        np.testing.assert_allclose(moved[:, 1:], y[:, :-1], rtol=1e-13)
        assert not np.allclose(moved, y)

    def test_sums_see_groups(self):
        theta, (x, _) = weights(SUMS), samples(SUMS)
        w = views(np, SUMS, theta)[1]
        below = forward(np, SUMS, theta, x)[0].y
        sums = np.stack([below[:, :2].sum(axis=1), below[:, 2:].sum(axis=1)], axis=1)
        expected = 1.0 / (1.0 + np.exp(-(sums @ w[[0, 2]] + w[-1])))
        np.testing.assert_allclose(output_layer(np, SUMS, theta, x).y, expected, rtol=1e-14)
        assert len(set(SUMS.ties)) == 4 * 5 + 3 * 2

    def test_scaled_inputs_are_multiplied_by_a_weight_each(self):
        theta, (x, _) = weights(SCALED), samples(SCALED)
        scale, *_ = views(np, SCALED, theta)
        inner = Network((3, 4, 2), activation="tanh", output_activation="logistic", skips=[(0, 2)])
        expected = output_layer(np, inner, theta[scale.size :], x * np.diag(scale)).y
        np.testing.assert_allclose(output_layer(np, SCALED, theta, x).y, expected, rtol=1e-14)

    def test_each_of_periodic_inputs_has_16_frequencies_and_3_outputs(self):
        inner = Network((2 + 3, 1))
        assert with_periodic_inputs(inner, [0]) == with_periodic_inputs(inner, [0], n_frequencies=16, n_outputs=3)

    @pytest.mark.parametrize("bias", [True, False])
    def test_periodic_inputs_are_embedded_each_by_itself(self, bias):
        inner = Network((3 + 2 * 3, 4, 2), activation="tanh", bias=bias)
        network = with_periodic_inputs(inner, [2, 0], n_frequencies=5, n_outputs=3)
        theta, (x, _) = weights(network), samples(network)
        waves, outputs, *_ = views(np, network, theta)
        embedded = []
        for number, position in enumerate([2, 0]):
            five, three = slice(5 * number, 5 * number + 5), slice(3 * number, 3 * number + 3)
            y = np.cos(x[:, [position]] * waves[position, five] + (waves[-1, five] if bias else 0.0))
            embedded.append(y @ outputs[five, three] + (outputs[-1, three] if bias else 0.0))
        expected = output_layer(np, inner, theta[waves.size + outputs.size :], np.hstack([*embedded, x])).y
        np.testing.assert_allclose(output_layer(np, network, theta, x).y, expected, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize(
        ("network", "options", "reported"),
        [
            (Network((5, 1)), {"inputs": []}, "inputs must be one or more positions"),
            (Network((5, 1)), {"inputs": [0, 0]}, "each once and below -1: the network has 5 inputs, and 3 of them"),
            (Network((5, 1)), {"inputs": [2]}, r"below 2: .*; got \[2\]"),
            (Network((5, 1)), {"inputs": [0.0]}, "inputs must be"),
            (Network((5, 1)), {"inputs": 5}, "inputs must be one or more positions.*got 5"),
            (Network((5, 1)), {"inputs": [0], "n_outputs": 0}, "n_outputs must be a whole number of at least 1, got 0"),
            (Network((5, 1)), {"inputs": [0], "n_frequencies": 1.5}, "n_frequencies must be"),
            (Network((5, 2, 1), skips=[(0, 2)]), {"inputs": [0]}, "inputs of the network must not skip layers"),
        ],
    )
    def test_faults_of_periodic_inputs_are_reported(self, network, options, reported):
        with pytest.raises(DataError, match=reported):
            with_periodic_inputs(network, **options)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("skips", [[], [(0, 2), (0, 3), (1, 3)]])
    def test_groups_of_inputs_are_embedded_apart(self, bias, skips):
        inner = Network((2 * 3 + 2, 4, 5, 2), activation="tanh", bias=bias, skips=skips)
        groups = [[5, 1, 2], np.array([3, 6])]
        network = with_embedded_inputs(inner, groups, n_outputs=3)
        theta, (x, _) = weights(network), samples(network)
        embeddings = views(np, network, theta)[0]
        embedded = [x[:, group] @ embeddings[group, 3 * k : 3 * k + 3] for k, group in enumerate(groups)]
        assert np.count_nonzero(embeddings) == 3 * 5
        numbers = np.asarray(network.ties) - 7 * 6  # after those of the layer, without biases
        inner_theta = np.zeros(inner.n_parameters)
        inner_theta[numbers[numbers >= 0]] = theta[numbers >= 0]
        expected = output_layer(np, inner, inner_theta, np.hstack([*embedded, x[:, [0, 4]]])).y
        np.testing.assert_allclose(output_layer(np, network, theta, x).y, expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("network", "options", "reported"),
        [
            (Network((9, 1)), {"groups": []}, "groups must be one or more groups of positions.*got \\[\\]"),
            (Network((9, 1)), {"groups": [[]]}, r"got \[\[\]\]"),
            (Network((9, 1)), {"groups": [[0, 1], [1]], "n_outputs": 2}, "each once and below 8"),
            (
                Network((9, 1)),
                {"groups": [[0, 3]]},
                "below 3, such as .range.*the network has 9 inputs, and 8 of",
            ),
            (Network((9, 1)), {"groups": [0, 1]}, "groups must be"),
            (Network((9, 1)), {"groups": "ab"}, "got 'ab'"),
            (Network((9, 1)), {"groups": [[0]], "n_outputs": True}, "n_outputs must be a whole number of at least 1"),
            (Network((9, 2, 1), n_members=2), {"groups": [[0, 1]]}, "a network with members has no receptive fields"),
        ],
    )
    def test_faults_of_embedded_inputs_are_reported(self, network, options, reported):
        with pytest.raises(DataError, match=reported):
            with_embedded_inputs(network, **options)

    def test_can_be_combined(self):
        network = with_equal_layers(Network((4, 4, 4)), [1, 2])
        both = with_blocks(with_blocks(network, 1, [(2, 2), (2, 2)]), 2, [(2, 2), (2, 2)])
        assert len(set(both.ties)) == 1 + 8 + 4
        x, targets = samples(both)
        fit = train(both, x, targets, epochs=3, device="cpu")
        one, other = views(np, both, fit.theta)
        np.testing.assert_array_equal(one, other)
        assert np.count_nonzero(one[:-1]) == 8

    def test_faults_are_reported(self):
        network = Network((4, 4, 3))
        for blocks in ([(2, 2)], [4, 4], [(-1, 1), (5, 3)], [(2.0, 2.0), (2.0, 2.0)], []):
            with pytest.raises(DataError, match="blocks must add up to the 4 units below layer 1 and its 4 units"):
                with_blocks(network, 1, blocks)
        with pytest.raises(DataError, match="layer must be from 1 to 2"):
            with_blocks(network, 3, [(4, 3)])
        with pytest.raises(DataError, match=r"layers 1 and 2 have weights of shapes \(5, 4\) and \(5, 3\)"):
            with_equal_layers(network, [1, 2])
        with pytest.raises(DataError, match=r"groups must add up to the 4 units below layer 1, got \[2, 3\]"):
            with_sums(network, 1, [2, 3])

    @pytest.mark.parametrize(
        ("sizes", "options", "reported"),
        [
            ((25, 8), {}, r"has 3 x 3 positions in a plane of 5 x 5; so layer 1 must have 9 units, .* got 8 and 25"),
            ((24, 9), {}, "the layer below it 25 or a multiple of that; got 9 and 24"),
            ((25, 9), {"n_feature_maps": 2}, "must have 18 units"),
            ((25, 9), {"n_feature_maps": 0}, "n_feature_maps must be a whole number of at least 1, got 0"),
            ((25, 9), {"plane": (5,)}, r"plane must be \(rows, columns\), two whole numbers of at least 1, got \(5,\)"),
            ((25, 9), {"field": (3, 0.5)}, "field must be"),
            ((25, 9), {"field": (3, 6)}, "a field must fit in its plane of 5 x 5, got 3 x 6"),
            ((25, 9), {"layer": 2}, "layer must be from 1 to 1"),
        ],
    )
    def test_faults_of_fields_are_reported(self, sizes, options, reported):
        given = {"layer": 1, "plane": (5, 5), "field": (3, 3)} | options
        with pytest.raises(DataError, match=reported):
            with_fields(Network(sizes), **given)


class TestCarriedOver:
    def test_to_more_time_steps(self):
        longer = iterative(2, 3, n_steps=6, n_outputs=1)
        theta, (x, _) = weights(READING), samples(READING)
        first, second, *_, output = views(np, READING, theta)
        state = np.zeros((len(x), 3))
        for step in range(6):
            inputs = x[:, 2 * (step % 4) : 2 * (step % 4) + 2]
            state = 1.0 / (1.0 + np.exp(-(inputs @ first[:2] + state @ second[:3] + first[-1])))
        expected = 1.0 / (1.0 + np.exp(-(state @ output[:-1] + output[-1])))
        actual = predict(
            longer, transfer_weights(theta, READING, longer), np.concatenate([x, x[:, :4]], axis=1), device="cpu"
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-14)

    def test_to_a_larger_plane(self):
        small, large = (
            with_fields(Network((rows * 5, (rows - 1) * 4 * 2)), 1, (rows, 5), (2, 2), n_feature_maps=2)
            for rows in (3, 6)
        )
        theta = np.stack([weights(small, seed) for seed in range(3)])
        carried = transfer_weights(theta, small, large)
        np.testing.assert_array_equal(large.tied.tie(carried), carried)
        np.testing.assert_array_equal(transfer_weights(carried, large, small), theta)
        x = np.random.default_rng(0).normal(size=(4, 6, 5))
        y = predict(large, carried, x.reshape(4, -1), device="cpu").reshape(3, 4, 2, 5, 4)
        below = predict(small, theta, x[:, 3:].reshape(4, -1), device="cpu").reshape(3, 4, 2, 2, 4)
        np.testing.assert_allclose(y[:, :, :, 3:], below, rtol=1e-13)

    def test_faults_are_reported(self):
        with pytest.raises(DataError, match="between networks with ties"):
            transfer_weights(np.zeros(6), Network((2, 2)), EQUAL)
        with pytest.raises(DataError, match="same number of distinct weights, got 12 and 22"):
            transfer_weights(weights(EQUAL), EQUAL, READING)


class TestFiles:
    @wired
    def test_keep_the_wiring(self, network, tmp_path):
        save_model(tmp_path / "model", network, weights(network))
        assert load_model(tmp_path / "model").network == network

    def test_of_plain_networks_have_the_first_format(self, tmp_path):
        save_model(tmp_path / "model", Network((2, 1)), np.zeros(3))
        content = (tmp_path / "model").read_bytes()
        assert rb"\"format\":1" in content
        assert b"skips" not in content

    def test_refuse_parameters_that_break_the_ties(self, tmp_path):
        with pytest.raises(DataError, match="theta breaks the ties"):
            save_model(tmp_path / "model", GROUPED, weights(GROUPED) + 1.0)


def test_flatten_undoes_views_with_skips():
    theta = weights(READING)
    np.testing.assert_array_equal(flatten(np, views(np, READING, theta)), theta)
