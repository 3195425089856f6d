"""Forward and backward passes compared with the paper's loops; stacks, biases, weights, topology, the Jacobian."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network, gradient_descent, momentum, train
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.jacobian import jacobian
from gpubp.nn.network import flatten, views
from gpubp.nn.passes import forward, loss_and_gradient, output_layer
from gpubp.testing import assert_agree
from tests import reference

PAPERS = Network((3, 4, 2), activation="logistic", output_activation="logistic")

any_sizes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
any_hidden = st.sampled_from(list(ACTIVATIONS))


def draw(network, *leading, n_samples=5, dtype="float64", seed=0):
    """Draw theta, x, d and sample weights on the host."""
    generator = np.random.default_rng(seed)
    theta = generator.normal(0.0, 0.7, (*leading, network.n_parameters))
    x = generator.normal(size=(*leading, n_samples, network.sizes[0]))
    targets = generator.uniform(0.0, 1.0, (*leading, n_samples, network.sizes[-1]))
    sample_weight = generator.uniform(0.0, 3.0, (*leading, n_samples))
    return tuple(array.astype(dtype) for array in (theta, x, targets, sample_weight))


def as_lists(network, theta):
    return [block.tolist() for block in views(np, network, theta.astype("float64"))]


def as_theta(weights, dtype):
    return np.concatenate([np.ravel(block) for block in weights]).astype(dtype)


def samples_of(x, targets):
    return list(zip(x.astype("float64").tolist(), targets.astype("float64").tolist(), strict=True))


class TestAgainstThePaper:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 3, 4, 1)])
    def test_forward_and_gradient(self, backend_case, dtype, sizes, bias):
        network = Network(sizes, activation="logistic", output_activation="logistic", bias=bias)
        theta, x, targets, _ = draw(network, dtype=dtype)
        weights = as_lists(network, theta)
        there = [backend_case.asarray(array) for array in (theta, x, targets)]
        by_sample = [reference.forward(weights, sample, bias)[1:] for sample, _ in samples_of(x, targets)]
        for layer, expected in zip(
            forward(backend_case.xp, network, *there[:2]), zip(*by_sample, strict=True), strict=True
        ):
            expected = np.asarray(expected, dtype)
            assert_agree(layer.y, expected, "forward", namespace=backend_case.xp, device=backend_case.device)
        E, gradient = loss_and_gradient(backend_case.xp, network, *there)
        E_expected, gradient_expected = reference.loss_and_gradient(weights, samples_of(x, targets), bias)
        assert_agree(E, np.asarray(E_expected, dtype), "forward", namespace=backend_case.xp, device=backend_case.device)
        expected = as_theta(gradient_expected, dtype)
        assert_agree(gradient, expected, "gradient", namespace=backend_case.xp, device=backend_case.device)

    @pytest.mark.parametrize(
        "optimizer", [gradient_descent(0.5), momentum(0.5, 0.9)], ids=lambda optimizer: optimizer.name
    )
    def test_twenty_epochs_of_training(self, backend_case, dtype, optimizer):
        theta, x, targets, _ = draw(PAPERS, dtype=dtype)
        fit = train(
            *(PAPERS, backend_case.asarray(x), backend_case.asarray(targets)),
            theta=backend_case.asarray(theta),
            optimizer=optimizer,
            epochs=20,
            batch_size="full",
            reduction="sum",
            device=backend_case.backend.name,
        )
        expected = reference.descend(
            *(as_lists(PAPERS, theta), samples_of(x, targets), 0.5, optimizer.settings.get("momentum", 0.0)), 20
        )
        assert_agree(
            fit.theta, as_theta(expected, dtype), "steps", namespace=backend_case.xp, device=backend_case.device
        )

    @given(sizes=any_sizes, n_samples=st.integers(1, 4), bias=st.booleans(), seed=st.integers(0, 99))
    def test_any_sizes(self, sizes, n_samples, bias, seed):
        network = Network(sizes, activation="logistic", output_activation="logistic", bias=bias)
        theta, x, targets, _ = draw(network, n_samples=n_samples, seed=seed)
        E, gradient = loss_and_gradient(np, network, theta, x, targets)
        E_expected, gradient_expected = reference.loss_and_gradient(
            as_lists(network, theta), samples_of(x, targets), bias
        )
        assert_agree(E, np.asarray(E_expected), "forward")
        assert_agree(gradient, as_theta(gradient_expected, "float64"), "gradient")


class TestStacks:
    NETWORK = Network((3, 5, 4, 2), activation=("tanh", "gelu"), loss="cross_entropy")

    @pytest.mark.parametrize("leading", [(3,), (2, 3)], ids=str)
    @pytest.mark.parametrize("shared", [True, False])
    def test_a_stack_equals_single_calls(self, backend_case, dtype, shared, leading):
        theta, x, targets, sample_weight = draw(self.NETWORK, *leading, dtype=dtype)
        if shared:
            x, targets, sample_weight = (array[(0,) * len(leading)] for array in (x, targets, sample_weight))
        arrays = [backend_case.asarray(array) for array in (theta, x, targets, sample_weight)]
        E, gradient = loss_and_gradient(backend_case.xp, self.NETWORK, *arrays)
        assert E.shape == leading
        assert gradient.shape == theta.shape
        for n in np.ndindex(leading):
            own = [backend_case.asarray(theta[n])] + [
                backend_case.asarray(a if shared else a[n]) for a in (x, targets, sample_weight)
            ]
            E_alone, gradient_alone = loss_and_gradient(backend_case.xp, self.NETWORK, *own)
            assert_agree(E[*n, ...], E_alone, "forward")
            assert_agree(gradient[*n, ...], gradient_alone, "gradient")

    @given(
        sizes=any_sizes,
        activation=any_hidden,
        n_networks=st.integers(1, 4),
        n_samples=st.integers(1, 4),
        bias=st.booleans(),
    )
    def test_any_stack(self, sizes, activation, n_networks, n_samples, bias):
        network = Network(sizes, activation=activation, output_activation="tanh", bias=bias)
        theta, x, targets, _ = draw(network, n_networks, n_samples=n_samples)
        E, gradient = loss_and_gradient(np, network, theta, x, targets)
        for n in range(n_networks):
            E_alone, gradient_alone = loss_and_gradient(np, network, theta[n], x[n], targets[n])
            assert_agree(E[n], E_alone, "forward")
            assert_agree(gradient[n], gradient_alone, "gradient")


class TestSums:
    NETWORK = Network((3, 4, 2), activation="silu", loss="huber(0.3)")

    def test_a_weight_counts_as_copies_of_the_sample(self, backend_case, dtype):
        theta, x, targets, _ = draw(self.NETWORK, dtype=dtype)
        times = np.asarray([0, 1, 2, 3, 1])
        weighted = loss_and_gradient(
            backend_case.xp, self.NETWORK, *(backend_case.asarray(array, dtype) for array in (theta, x, targets, times))
        )
        x, targets = np.repeat(x, times, axis=0), np.repeat(targets, times, axis=0)
        repeated = loss_and_gradient(
            backend_case.xp, self.NETWORK, *(backend_case.asarray(array) for array in (theta, x, targets))
        )
        for one, other in zip(weighted, repeated, strict=True):
            assert_agree(one, other, "gradient")

    @given(n_samples=st.integers(2, 8), cut=st.integers(1, 7), seed=st.integers(0, 99))
    def test_the_loss_of_all_samples_is_the_sum_over_its_parts(self, n_samples, cut, seed):
        cut = min(cut, n_samples - 1)
        theta, x, targets, weights = draw(self.NETWORK, n_samples=n_samples, seed=seed)
        whole = loss_and_gradient(np, self.NETWORK, theta, x, targets, weights)
        first = loss_and_gradient(np, self.NETWORK, theta, x[:cut], targets[:cut], weights[:cut])
        rest = loss_and_gradient(np, self.NETWORK, theta, x[cut:], targets[cut:], weights[cut:])
        for total, one, other in zip(whole, first, rest, strict=True):
            assert_agree(total, one + other, "gradient")

    def test_the_loss_of_no_samples_is_0(self, backend_case, dtype):
        theta, x, targets, _ = draw(self.NETWORK, n_samples=0, dtype=dtype)
        E, gradient = loss_and_gradient(
            backend_case.xp, self.NETWORK, *(backend_case.asarray(array) for array in (theta, x, targets))
        )
        assert float(E) == 0.0
        assert_agree(gradient, np.zeros_like(theta), "gradient", namespace=backend_case.xp, device=backend_case.device)


class TestForms:
    @given(
        sizes=any_sizes,
        activation=any_hidden,
        dtype=st.sampled_from(["float64", "float32"]),
        n_samples=st.integers(1, 3),
    )
    def test_shapes_and_precision_on_every_backend(self, backend_case, sizes, activation, dtype, n_samples):
        if (backend_case.name, dtype) == ("strict-no-float64", "float64"):
            dtype = "float32"
        network = Network(sizes, activation=activation)
        theta, x, targets, sample_weight = (
            backend_case.asarray(array, dtype) for array in draw(network, n_samples=n_samples)
        )
        if activation == "exp":  # exp of exp of exp overflows
            theta = 0.1 * theta
        with np.errstate(invalid="ignore"):  # products of small matrices may set the flag without a reason
            layers = forward(backend_case.xp, network, theta, x)
            E, gradient = loss_and_gradient(backend_case.xp, network, theta, x, targets, sample_weight)
        assert [layer.y.shape for layer in layers] == [(n_samples, n) for n in network.sizes[1:]]
        assert (E.shape, gradient.shape) == ((), theta.shape)
        assert {array.dtype for layer in layers for array in layer} | {E.dtype, gradient.dtype} == {theta.dtype}
        assert bool(backend_case.xp.all(backend_case.xp.isfinite(gradient)))

    def test_the_output_layer_is_the_last_layer(self, backend_case, dtype):
        network = Network((3, 4, 4, 2), activation=("relu", "softmax"), loss="poisson")
        theta, x, _, _ = (backend_case.asarray(array) for array in draw(network, dtype=dtype))
        last = forward(backend_case.xp, network, theta, x)[-1]
        for one, other in zip(output_layer(backend_case.xp, network, theta, x), last, strict=True):
            assert_agree(one, other, "forward")

    def test_without_biases_equals_biases_of_0(self, backend_case, dtype):
        without, biased = Network((3, 4, 2), activation="tanh", bias=False), Network((3, 4, 2), activation="tanh")
        theta, x, targets, _ = draw(without, dtype=dtype)
        mask = biased.weight_mask() == 1.0
        padded = np.zeros(biased.n_parameters, dtype)
        padded[mask] = theta
        x, targets = backend_case.asarray(x), backend_case.asarray(targets)
        E, gradient = loss_and_gradient(backend_case.xp, without, backend_case.asarray(theta), x, targets)
        E_padded, gradient_padded = loss_and_gradient(backend_case.xp, biased, backend_case.asarray(padded), x, targets)
        assert_agree(E, E_padded, "forward")
        expected = to_numpy(gradient_padded)[mask]
        assert_agree(gradient, expected, "gradient", namespace=backend_case.xp, device=backend_case.device)

    def test_arrays_of_two_devices_do_not_mix(self):
        one, other = choose_backend("array_api_strict:CPU_DEVICE"), choose_backend("array_api_strict:device1")
        theta, x, targets, _ = draw(PAPERS)
        with pytest.raises(ValueError, match="device"):
            loss_and_gradient(one.xp, PAPERS, to_backend(one, theta), to_backend(other, x), to_backend(other, targets))


class TestParameters:
    @given(sizes=any_sizes, bias=st.booleans(), leading=st.lists(st.integers(1, 3), max_size=2))
    def test_views_can_be_joined_again(self, backend_case, sizes, bias, leading):
        network = Network(sizes, bias=bias)
        shape = (*leading, network.n_parameters)
        theta = backend_case.asarray(np.arange(np.prod(shape)).reshape(shape), "float32")
        blocks = views(backend_case.xp, network, theta)
        assert [block.shape for block in blocks] == [(*leading, *shape) for shape in network.shapes]
        assert bool(backend_case.xp.all(flatten(backend_case.xp, blocks) == theta))

    def test_views_are_not_copies(self):
        theta = np.zeros((2, PAPERS.n_parameters))
        for block in views(np, PAPERS, theta):
            assert np.shares_memory(block, theta)

    def test_layout(self):
        """By layer, then by unit below, with the biases last: the order that model files rely on."""
        w_1, w_2 = views(np, Network((2, 3, 1)), np.arange(13.0))
        np.testing.assert_array_equal(w_1, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
        np.testing.assert_array_equal(w_2, [[9], [10], [11], [12]])

    def test_mask_marks_weights_but_not_biases(self):
        np.testing.assert_array_equal(Network((2, 3, 1)).weight_mask(), [1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0])
        np.testing.assert_array_equal(Network((2, 3, 1), bias=False).weight_mask(), np.ones(9))


class TestTopology:
    def test_the_output_activation_follows_from_the_loss(self):
        outputs = {
            loss: Network((2, 1), loss=loss).output_activation for loss in ("squared", "cross_entropy", "poisson")
        }
        assert outputs == {"squared": "identity", "cross_entropy": "softmax", "poisson": "exp"}
        assert Network((2, 1), loss="binary_cross_entropy").output_activation == "logistic"

    def test_equal_topologies_are_equal_and_hash_alike(self):
        one, other = Network([2, np.int64(3), 1], activation=["relu"]), Network((2, 3, 1))
        assert one == other
        assert hash(one) == hash(other)
        assert all(type(n) is int for n in one.sizes)

    def test_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            PAPERS.sizes = (1, 1)

    def test_one_activation_for_all_hidden_layers_or_one_each(self):
        assert Network((1, 2, 3, 1), activation="tanh").activations == ("tanh", "tanh", "identity")
        assert Network((1, 2, 3, 1), activation=("tanh", "relu")).activations == ("tanh", "relu", "identity")

    @pytest.mark.parametrize(
        "sizes", [(), (3,), (3, 0, 1), (3, -2, 1), (3, 2.0, 1), ("2", 1), "64", "ab", 5, None], ids=repr
    )
    def test_bad_sizes_raise(self, sizes):
        with pytest.raises(DataError, match="sizes must be two or more positive whole numbers, inputs first, got"):
            Network(sizes)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"activation": "rleu"}, r"unknown activation 'rleu' \(did you mean 'relu'"),
            ({"activation": ("relu", "relu")}, r"one name for all hidden layers, or 1 names.*got \('relu', 'r"),
            ({"activation": None}, "given by name, such as 'relu' and 'squared', got None"),
            ({"activation": (["relu"],)}, r"given by name.*got \['relu'\]"),
            ({"activation": 5}, "given by name.*got 5"),
            ({"activation": "leaky_relu(-1)"}, "leaky_relu's slope must be above 0, got -1"),
            ({"output_activation": "sigmoid"}, r"unknown activation 'sigmoid' \(did you mean 'logistic'\?\)"),
            ({"loss": "mse"}, r"unknown loss 'mse' \(did you mean 'squared'\?\); known: squared"),
            ({"loss": None}, "given by name, such as 'relu' and 'squared', got None"),
            (
                {"output_activation": "relu", "loss": "poisson"},
                "needs outputs above 0.*'relu' does not give.*use output_activation='exp'",
            ),
            (
                {"output_activation": "exp", "loss": "binary_cross_entropy"},
                "needs outputs between 0 and 1.*use output_activation='logistic'",
            ),
            ({"output_activation": "softmax(2,3)"}, r"'softmax\(2,3\)' is for a layer of 5 units.* has 1"),
            ({"sizes": (3, 1), "activation": ("relu",)}, "one name for all hidden layers, or 0 names"),
        ],
    )
    def test_a_bad_argument_raises(self, options, message):
        with pytest.raises(DataError, match=message):
            Network(**{"sizes": (3, 2, 1)} | options)


class TestJacobian:
    @pytest.mark.parametrize("dtype", ["float64"])
    @pytest.mark.parametrize(("output", "bias"), [("logistic", True), ("softmax", True), ("identity", False)])
    def test_equals_finite_differences(self, backend_case, dtype, output, bias):
        network, h = Network((3, 4, 2), activation="tanh", output_activation=output, bias=bias), 6e-6
        theta, x, _, _ = draw(network)
        shifts = h * np.eye(network.n_parameters)

        def outputs(thetas):
            return to_numpy(
                output_layer(backend_case.xp, network, backend_case.asarray(thetas), backend_case.asarray(x)).y
            )

        differences = (outputs(theta + shifts) - outputs(theta - shifts)) / (2.0 * h)  # (P, b, j)
        actual = jacobian(backend_case.xp, network, backend_case.asarray(theta), backend_case.asarray(x))
        expected = np.transpose(differences, (2, 1, 0))
        assert_agree(actual, expected, "differences", namespace=backend_case.xp, device=backend_case.device)

    def test_gives_the_gradient_of_the_squared_error(self, backend_case, dtype):
        theta, x, targets, _ = (backend_case.asarray(array) for array in draw(PAPERS, dtype=dtype))
        xp = backend_case.xp
        residual = output_layer(xp, PAPERS, theta, x).y - targets
        J = jacobian(xp, PAPERS, theta, x)
        gradient = xp.sum(xp.matrix_transpose(residual)[..., None] * J, axis=(0, 1))
        assert_agree(gradient, loss_and_gradient(xp, PAPERS, theta, x, targets)[1], "gradient")


class TestNames:
    """Networks with the same activations and losses are equal, even if their names are written differently."""

    def test_names_are_canonical(self):
        written = Network((2, 3, 4, 2), activation=(" relu", "elu( alpha = 0.50 )"), loss="huber(width=0.5)")
        assert written == Network((2, 3, 4, 2), activation=("relu", "elu(0.5)"), loss="huber(0.5)")
        assert (written.activation, written.loss) == (("relu", "elu(0.5)"), "huber(0.5)")
        assert Network((2, 1), loss="huber(1)") == Network((2, 1), loss="huber")

    def test_output_activations_follow_the_loss(self):
        network = Network((2, 5), loss="cross_entropy( 2, 3 )")
        assert network.output_activation == "softmax(2,3)"
        assert network == Network((2, 5), output_activation="softmax( 2,3)", loss="cross_entropy(2,3)")
