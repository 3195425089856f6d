"""Parametric activations: each unit mixes its total input with the activation by a weight that is learned."""

import math
import re

import numpy as np
import pytest

from gpubp import MLPClassifier, Network, load_model, save_model
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.explain import explain
from gpubp.nn.activations import ACTIVATIONS, activation_name, base_name, get_activation
from gpubp.nn.architectures import with_equal_layers
from gpubp.nn.gradient_check import check_gradient
from gpubp.nn.initialization import initial_weights, ntk_rate_factors
from gpubp.nn.input_layers import with_scaled_inputs
from gpubp.nn.jacobian import jacobian
from gpubp.nn.network import activation_views, views
from gpubp.nn.passes import forward, loss_and_gradient, output_layer
from gpubp.testing import assert_agree

SELU = Network((3, 4, 5, 2), activation=("parametric(selu)", "parametric(mish)"))
NETWORKS = {
    "all": SELU,
    "some": Network((3, 4, 5, 6, 2), activation=("parametric(elu(0.5))", "tanh", "parametric(logistic)"), bias=False),
    "skips": Network((3, 4, 4, 2), activation="parametric(gelu)", skips=((0, 2), (1, 3))),
    "scaled inputs": with_scaled_inputs(Network((3, 4, 2), activation="parametric(silu)")),
    "equal layers": with_equal_layers(Network((4, 4, 4, 2), activation="parametric(tanh)"), [1, 2]),
}
ELEMENTWISE = [name for name in ACTIVATIONS if name != "softmax"]


def weights(network, *leading, seed=0):
    theta = np.random.default_rng(seed).normal(0.0, 0.7, (*leading, network.n_parameters))
    return theta if network.tied is None else network.tied.tie(theta)


def samples(network, n=7, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, network.sizes[0])), rng.normal(size=(n, network.sizes[-1]))


def selu(x):
    return 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x))


def mish(x):
    return x * math.tanh(math.log1p(math.exp(x)))


def test_outputs_are_those_of_the_formula_one_number_at_a_time():
    theta, (x, _) = weights(SELU), samples(SELU)
    numbers = iter(theta[: SELU.n_parameters - 9])
    blocks = [[[next(numbers) for _ in range(j)] for _ in range(i + 1)] for i, j in ((3, 4), (4, 5), (5, 2))]
    mixing = [theta[-9:-5], theta[-5:]]
    for inputs, outputs in zip(x, output_layer(np, SELU, theta, x).y, strict=True):
        y = list(inputs)
        for k, f in enumerate((selu, mish, None)):
            totals = [
                sum(b * row[j] for b, row in zip([*y, 1.0], blocks[k], strict=True)) for j in range(len(blocks[k][0]))
            ]
            y = totals if f is None else [(1.0 - a) * t + a * f(t) for t, a in zip(totals, mixing[k], strict=True)]
        np.testing.assert_allclose(outputs, y, rtol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_equals_central_differences(name):
    network = NETWORKS[name]
    check = check_gradient(np, network, weights(network), *samples(network))
    assert_agree(check.gradient, check.differences, "differences")
    assert any(network.activation_weights)
    assert np.abs(check.gradient[-sum(network.activation_weights) :]).min() > 0.0


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_gradient_of_every_activation(name):
    network = Network((3, 4, 2), activation=f"parametric({name})")
    theta = weights(network, seed=3)
    check = check_gradient(np, network, theta, *samples(network, seed=4))
    assert_agree(check.gradient, check.differences, "differences")


def test_the_gradient_through_dropout():
    theta, (x, targets) = weights(SELU), samples(SELU)
    masks = (
        None,
        np.random.default_rng(0).integers(0, 2, (7, 4)) * 2.0,
        np.random.default_rng(1).integers(0, 2, (7, 5)) * 2.0,
    )
    _, gradient = loss_and_gradient(np, SELU, theta, x, targets, masks=masks)
    h = 6e-6

    def loss(at):
        return loss_and_gradient(np, SELU, at, x, targets, masks=masks)[0]

    differences = [(loss(theta + h * e) - loss(theta - h * e)) / (2 * h) for e in np.eye(theta.size)]
    assert_agree(gradient, np.asarray(differences), "differences")


@pytest.mark.parametrize("name", ["all", "some"])
def test_the_jacobian_adds_up_to_the_gradient(name):
    network = NETWORKS[name]
    theta, (x, targets) = weights(network), samples(network)
    dE_dy = output_layer(np, network, theta, x).y - targets
    gradient = np.einsum("jbp,bj->p", jacobian(np, network, theta, x), dE_dy)
    np.testing.assert_allclose(gradient, loss_and_gradient(np, network, theta, x, targets)[1], rtol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_computes_what_its_networks_compute(name):
    network = NETWORKS[name]
    theta, (x, targets) = weights(network, 3), samples(network)
    loss, gradient = loss_and_gradient(np, network, theta, x, targets)
    for k in range(3):
        of_one = loss_and_gradient(np, network, theta[k], x, targets)
        np.testing.assert_allclose(loss[k], of_one[0], rtol=1e-12)
        np.testing.assert_allclose(gradient[k], of_one[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees(backend_case, dtype):
    theta, (x, targets) = weights(SELU), samples(SELU)
    given = [backend_case.asarray(array.astype(dtype)) for array in (theta, x, targets)]
    expected = loss_and_gradient(np, SELU, *(array.astype(dtype) for array in (theta, x, targets)))
    for actual, other in zip(loss_and_gradient(backend_case.xp, SELU, *given), expected, strict=True):
        assert_agree(to_numpy(actual), np.asarray(other), "gradient")


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_weight_of_0_is_the_identity_and_of_1_the_activation(weight):
    theta, (x, _) = weights(SELU), samples(SELU)
    theta[-9:] = weight
    plain = Network(SELU.sizes, activation=("selu", "mish") if weight else "identity")
    expected = output_layer(np, plain, theta[:-9], x).y
    np.testing.assert_allclose(output_layer(np, SELU, theta, x).y, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(forward(np, SELU, theta, x)[-1].y, expected, rtol=1e-12, atol=1e-12)


def test_weights_follow_the_last_layer_and_begin_at_1():
    assert SELU.activation_weights == (4, 5, 0)
    assert SELU.n_parameters == 4 * 4 + 5 * 5 + 6 * 2 + 9
    theta = initial_weights(SELU, 0, scheme="uniform", dtype="float64")
    first, second, none = activation_views(np, SELU, theta)
    assert (first.shape, second.shape, none) == ((1, 4), (1, 5), None)
    np.testing.assert_array_equal(theta[-9:], 1.0)
    np.testing.assert_array_equal(
        theta[:-9], initial_weights(Network(SELU.sizes), 0, scheme="uniform", dtype="float64")
    )
    assert activation_views(np, SELU, np.stack([theta] * 3))[1].shape == (3, 1, 5)
    assert not np.any(SELU.weight_mask()[-9:])
    np.testing.assert_array_equal(ntk_rate_factors(SELU, activation=0.25)[-9:], 0.25)
    assert [block.shape for block in views(np, SELU, theta)] == [(4, 4), (5, 5), (6, 2)]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("parametric(elu(alpha=0.50))", "parametric(elu(0.5))"),
        (" parametric( selu ) ", "parametric(selu)"),
        ("parametric(logistic)", "parametric(logistic)"),
        ("elu(1.0)", "elu"),
    ],
)
def test_names(given, name):
    assert activation_name(given) == name
    assert Network((1, 2, 1), activation=given) == Network((1, 2, 1), activation=name)
    assert not get_activation(name).above_zero
    assert not get_activation(name).below_one
    assert base_name(name) == name.removeprefix("parametric(").removesuffix(")" * name.startswith("parametric"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"activation": "parametric(softmax)"},
            "a parametric activation is of one that each unit applies .* got 'param",
        ),
        ({"activation": "parametric(softmax(1,3))"}, "a parametric activation is of one that each unit applies"),
        ({"activation": "parametric(parametric(selu))"}, "a parametric activation is of one that each unit applies"),
        ({"activation": "parametric(sleu)"}, "unknown activation 'sleu' .did you mean 'silu' or 'selu'"),
        ({"activation": "parametric"}, "such as 'parametric.selu.'; got 'parametric'"),
        ({"activation": "parametric()"}, "activation must be a name such as 'identity', got ''"),
        (
            {"output_activation": "parametric(selu)"},
            r"a parametric activation is for hidden layers, got 'parametric.selu.",
        ),
    ],
)
def test_invalid_names(options, message):
    with pytest.raises(DataError, match=message):
        Network((3, 4, 2), **options)


def test_model_files_hold_them(tmp_path):
    theta = weights(SELU)
    save_model(tmp_path / "model.safetensors", SELU, theta)
    model = load_model(tmp_path / "model.safetensors")
    assert model.network == SELU
    np.testing.assert_array_equal(model.theta, theta)


def test_what_cannot_hold_them_says_so():
    with pytest.raises(
        ValueError, match=re.escape("activation='parametric(selu)' has weights of its own, which coefs_")
    ):
        MLPClassifier(activation="parametric(selu)").fit([[0.0], [1.0]], [0, 1])
    theta = weights(SELU)
    with pytest.raises(DataError, match=r"explain needs a network .* has parametric activations"):
        explain(SELU, theta, *samples(SELU))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parametrik(selu)", r"did you mean 'parametric\(NAME\)'\?.*softmax, parametric\(NAME\)$"),
        ("parametric(selo)", r"unknown activation 'selo' \(did you mean 'selu'\?\)"),
        ("parametric", "is of one that each unit applies .* got 'parametric'"),
        ("parametric()", "activation must be a name such as"),
        ("parametric(parametric(selu))", "is of one that each unit applies"),
    ],
)
def test_a_misspelled_parametric_activation_is_refused_with_the_nearest(name, message):
    with pytest.raises(DataError, match=message):
        Network((2, 3, 1), activation=name)
