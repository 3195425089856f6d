"""Members that share weights, compared with ordinary networks; their gradient with differences and PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import (
    Network,
    adam,
    check_gradient,
    gradient_descent,
    levenberg_marquardt,
    load_model,
    predict,
    save_model,
    train,
)
from gpubp.engine import prediction
from gpubp.engine.plain.dropout import Dropout
from gpubp.errors import DataError, ModelFileError
from gpubp.io.model_file import format_of
from gpubp.nn import batch_ensemble
from gpubp.nn.architectures import with_equal_layers
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_scaled_inputs
from gpubp.nn.jacobian import jacobian
from gpubp.nn.losses import get_loss, output_loss
from gpubp.nn.passes import forward, loss_and_gradient, output_layer
from gpubp.testing import assert_agree
from gpubp.training.setup import dropout_key
from tests import reference
from tests.io.test_model_file import forge, header_and_theta

LOGISTIC = Network((3, 4, 5, 2), activation="logistic", output_activation="logistic", n_members=3)
CLASSES = Network((3, 4, 5, 2), activation="tanh", loss="cross_entropy", n_members=3)
NETWORKS = [
    LOGISTIC,
    CLASSES,
    Network((3, 2), n_members=2),
    Network((3, 4, 2), activation="silu", n_members=1),
    Network((3, 4, 1), activation="gelu", loss="binary_cross_entropy", n_members=4),
    Network((3, 4, 2), activation="tanh", loss="poisson", n_members=2),
    Network((3, 4, 3, 4, 2), activation=("tanh", "gelu", "logistic"), n_members=2),
]
by_network = pytest.mark.parametrize("network", NETWORKS, ids=str)


def draw(network, *leading, n_samples=5, dtype="float64", seed=0):
    """Draw theta, x, targets and sample weights on the host."""
    generator = np.random.default_rng(seed)
    theta = generator.normal(0.0, 0.7, (*leading, network.n_parameters))
    x = generator.normal(size=(*leading, n_samples, network.sizes[0]))
    targets = generator.uniform(0.1, 0.9, (*leading, n_samples, network.sizes[-1]))
    sample_weight = generator.uniform(0.5, 3.0, (*leading, n_samples))
    return tuple(array.astype(dtype) for array in (theta, x, targets, sample_weight))


def member_weights(network, theta):
    """Return the blocks of each member as an ordinary network: w scaled by rows and columns, and biases."""
    shared, last = batch_ensemble.views(np, network.members, theta)
    return [
        [np.vstack([layer.r[k].T * layer.w * layer.s[k], layer.b[k]]) for layer in shared] + [last[k]]
        for k in range(network.n_members)
    ]


def of_one_member(network, blocks):
    ordinary = Network(network.sizes, network.activation, network.output_activation, network.loss)
    return ordinary, np.concatenate([np.ravel(block) for block in blocks])


def test_the_parameters_of_a_layer():
    shared = [6 * 4 + 2 * (6 + 4 + 4), 4 * 3 + 2 * (4 + 3 + 3)]
    assert Network((6, 4, 3, 1), n_members=2).parameters_of_layers == (*shared, 2 * (3 + 1))


class TestAgainstThePaper:
    def test_members_are_networks_with_scaled_weights(self):
        theta, x, targets, _ = draw(LOGISTIC)
        members = [[block.tolist() for block in blocks] for blocks in member_weights(LOGISTIC, theta)]
        outputs = [[reference.forward(weights, sample)[-1] for sample in x.tolist()] for weights in members]
        assert_agree(output_layer(np, LOGISTIC, theta, x).y, np.mean(outputs, axis=0), "forward")
        samples = list(zip(x.tolist(), targets.tolist(), strict=True))
        losses, gradients = zip(*(reference.loss_and_gradient(weights, samples) for weights in members), strict=True)
        E, gradient = loss_and_gradient(np, LOGISTIC, theta, x, targets)
        assert_agree(E, np.asarray(np.mean(losses)), "forward")
        assert_agree(gradient, _folded(LOGISTIC, theta, gradients), "gradient")

    @by_network
    def test_every_backend_computes_the_mean_of_the_members(self, backend_case, dtype, network):
        theta, x, targets, sample_weight = draw(network, dtype=dtype)
        there = [backend_case.asarray(array) for array in (theta, x, targets, sample_weight)]
        E, gradient = loss_and_gradient(backend_case.xp, network, *there)
        layer = output_layer(backend_case.xp, network, *there[:2])
        members = [of_one_member(network, blocks) for blocks in member_weights(network, theta)]
        losses = [loss_and_gradient(np, *one, x, targets, sample_weight)[0] for one in members]
        outputs = [output_layer(np, *one, x).y for one in members]
        place = {"namespace": backend_case.xp, "device": backend_case.device}
        assert_agree(E, np.asarray(np.mean(losses), dtype), "forward", **place)
        assert_agree(layer.y, np.mean(outputs, axis=0).astype(dtype), "forward", **place)
        wide = [array.astype("float64") for array in (theta, x, targets, sample_weight)]
        assert_agree(gradient, check_gradient(np, network, *wide).gradient.astype(dtype), "gradient", **place)


def _folded(network, theta, gradients):
    """Apply the chain rule to the gradients of the members' weights, which are products of w and two scales."""
    shared, _ = batch_ensemble.views(np, network.members, theta)
    parts = []
    for number, layer in enumerate(shared):
        G = np.asarray([gradient[number] for gradient in gradients])  # (k, i + 1, j)
        G, of_biases, w, r, s = G[:, :-1], G[:, -1], layer.w, layer.r[:, 0, :, None], layer.s
        parts += [(G * r * s).sum(0), (G * w * s).sum(2), (G * w * r).sum(1), of_biases]
    parts += [np.asarray(gradient[-1]) for gradient in gradients]
    return np.concatenate([np.ravel(part) for part in parts]) / network.n_members


class TestGradient:
    @by_network
    def test_it_equals_central_differences(self, network):
        assert check_gradient(np, network, *draw(network)).largest_deviation < 1e-8

    @given(
        sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
        n_members=st.integers(1, 4),
        n_samples=st.integers(1, 3),
        seed=st.integers(0, 99),
    )
    def test_any_sizes(self, sizes, n_members, n_samples, seed):
        network = Network(sizes, activation="tanh", n_members=n_members)
        theta, x, targets, weights = draw(network, n_samples=n_samples, seed=seed)
        assert check_gradient(np, network, theta, x, targets, weights).largest_deviation < 1e-7

    def test_it_equals_that_of_torch(self):
        torch = pytest.importorskip("torch")
        theta, x, targets, weights = map(torch.asarray, draw(CLASSES))
        theta.requires_grad_()
        shared, last = batch_ensemble.views(torch, CLASSES.members, theta)
        y = x
        for layer in shared:
            y = torch.tanh(layer.s * ((layer.r * y) @ layer.w) + layer.b)
        log_y = torch.log_softmax(y @ last[:, :-1] + last[:, -1:], -1)
        E = -(targets * log_y).sum(-1).mul(weights).sum(-1).mean()
        E.backward()
        got_E, got = loss_and_gradient(np, CLASSES, *draw(CLASSES))
        assert_agree(got_E, E.detach().numpy(), "forward")
        assert_agree(got, theta.grad.numpy(), "gradient")

    def test_dropout_masks_are_of_each_member(self):
        theta, x, targets, _ = draw(CLASSES)
        generator = np.random.default_rng(1)
        masks = tuple(generator.uniform(0.5, 2.0, (3, 5, n)) for n in CLASSES.sizes[:-1])
        E, gradient = loss_and_gradient(np, CLASSES, theta, x, targets, masks=masks)
        members = [of_one_member(CLASSES, blocks) for blocks in member_weights(CLASSES, theta)]
        masks_of = list(zip(*masks, strict=True))
        losses = [loss_and_gradient(np, *members[k], x, targets, masks=masks_of[k])[0] for k in range(3)]
        assert_agree(E, np.asarray(np.mean(losses)), "forward")
        step = 1e-6 * np.eye(CLASSES.n_parameters)
        above, below = (loss_and_gradient(np, CLASSES, theta + h, x, targets, masks=masks)[0] for h in (step, -step))
        np.testing.assert_allclose(gradient, (above - below) / 2e-6, rtol=1e-6, atol=1e-7)

    def test_a_scaled_loss_has_the_same_gradient(self):
        data = draw(CLASSES)
        scaled = loss_and_gradient(np, CLASSES, *data, loss_scale=np.asarray(1024.0))
        for got, expected in zip(scaled, loss_and_gradient(np, CLASSES, *data), strict=True):
            assert_agree(got, expected, "gradient")


@pytest.mark.parametrize("shared", [True, False])
def test_a_stack_equals_single_calls(shared):
    theta, x, targets, weights = draw(CLASSES, 4)
    samples = [array[0] if shared else array for array in (x, targets, weights)]
    E, gradient = loss_and_gradient(np, CLASSES, theta, *samples)
    y = output_layer(np, CLASSES, theta, samples[0]).y
    for n in range(4):
        one = samples if shared else [array[n] for array in samples]
        expected = loss_and_gradient(np, CLASSES, theta[n], *one)
        assert_agree(E[n], expected[0], "forward")
        assert_agree(gradient[n], expected[1], "gradient")
        assert_agree(y[n], output_layer(np, CLASSES, theta[n], one[0]).y, "forward")


@by_network
def test_the_total_inputs_of_the_mean_give_its_loss(network):
    theta, x, targets, _ = draw(network)
    layer = output_layer(np, network, theta, x)
    got, _ = output_loss(np, network.loss, network.activations[-1], *layer, targets)
    np.testing.assert_allclose(got, get_loss(network.loss).value(np, layer.y, targets).sum(), rtol=1e-12)


def test_a_mean_that_underflows_has_a_finite_loss():
    network = Network((1, 2), loss="cross_entropy", n_members=2)
    theta = np.tile([0.0, 0.0, 200.0, -200.0], 2).astype("float32")
    x, y = output_layer(np, network, theta, np.zeros((1, 1), "float32"))
    assert y.tolist() == [[1.0, 0.0]]
    loss, _ = output_loss(np, network.loss, "softmax", x, y, np.asarray([[0.0, 1.0]], "float32"))
    assert 80.0 < loss < 200.0


def test_initial_weights():
    network = Network((6, 4, 3, 1), n_members=5)
    theta = initial_weights(network, [3, 4], scheme="fan_in", dtype="float64")
    assert np.array_equal(theta[1], initial_weights(network, 4, scheme="fan_in", dtype="float64"))
    (first, second), last = batch_ensemble.views(np, network.members, theta[0])
    assert set(np.unique(first.r)) == {-1.0, 1.0}
    assert np.unique(first.r[:, 0], axis=0).shape[0] > 1
    for ones in (first.s, second.r, second.s):
        assert np.all(ones == 1.0)
    for layer, n_in in ((first, 6), (second, 4)):
        assert 0.5 < np.abs(layer.w).max() * np.sqrt(n_in) <= 1.0
        assert np.array_equal(layer.b, np.broadcast_to(layer.b[:1], layer.b.shape))
        assert np.any(layer.b)
    assert len(np.unique(last)) == last.size


def test_the_penalty_is_on_weights_alone():
    shared, last = batch_ensemble.views(np, CLASSES.members, CLASSES.weight_mask())
    assert all(np.all(layer.w == 1.0) and not np.any(layer.r) and not np.any(layer.b) for layer in shared)
    assert not any(np.any(layer.s) for layer in shared)
    assert np.all(last[:, :-1] == 1.0)
    assert not np.any(last[:, -1])


class TestTraining:
    X = np.random.default_rng(0).normal(size=(60, 3))
    TARGETS = np.eye(2)[(X[:, 0] > X[:, 1]).astype(int)]

    def fit(self, **options):
        held_out = self.X[40:], self.TARGETS[40:]
        return train(CLASSES, self.X[:40], self.TARGETS[:40], validation_data=held_out, batch_size=16, **options)

    def test_early_stopping_monitors_the_loss_of_the_mean(self):
        fit = self.fit(epochs=200, patience=20, optimizer=adam(0.01))
        mean = output_layer(np, CLASSES, fit.theta, self.X[40:]).y
        expected = -np.log(mean)[self.TARGETS[40:] == 1.0].mean()
        assert min(fit.history.validation_loss) == pytest.approx(expected, rel=1e-6)
        assert expected < 0.5 < fit.history.loss[0]

    def test_a_resumed_run_ends_with_the_same_bits(self, tmp_path):
        whole = self.fit(epochs=6, patience=6)
        self.fit(epochs=3, patience=6, checkpoint=tmp_path)
        resumed = self.fit(epochs=6, patience=6, checkpoint=tmp_path, resume=True)
        assert np.array_equal(resumed.theta, whole.theta)
        assert resumed.history.validation_loss == whole.history.validation_loss

    def test_predictions_are_means_and_the_model_file_keeps_them(self, tmp_path):
        fit = self.fit(epochs=2)
        save_model(tmp_path / "model.safetensors", CLASSES, fit.theta)
        model = load_model(tmp_path / "model.safetensors")
        assert model.network == CLASSES
        outputs = predict(model.network, model.theta, self.X)
        assert outputs.shape == self.TARGETS.shape
        members = [predict(*of_one_member(CLASSES, blocks), self.X) for blocks in member_weights(CLASSES, fit.theta)]
        assert_agree(outputs, np.mean(members, axis=0), "forward")

    def test_dropout_is_that_of_each_member(self):
        rates, X, targets = (0.2, 0.3, 0.4), self.X[:32], self.TARGETS[:32]
        network, theta = CLASSES, initial_weights(CLASSES, [4, 5], dtype="float64")
        options = {"optimizer": gradient_descent(0.1), "epochs": 2, "batch_size": 16, "shuffle": False}
        fit = train(network, X, targets, theta=theta, seed=[4, 5], dropout=rates, **options)
        for seed, one in zip([4, 5], theta, strict=True):
            for epoch in range(2):
                dropout = Dropout(network.sizes[:-1], rates, dropout_key(seed, 3), epoch)
                for start in (0, 16):
                    rows = slice(start, start + 16)
                    masks = tuple(dropout.mask(layer, np.arange(32)[rows], "float64") for layer in range(3))
                    assert masks[1].shape == (3, 16, 4)
                    _, gradient = loss_and_gradient(np, network, one, X[rows], targets[rows], masks=masks)
                    one = one - 0.1 * gradient / 16
            assert_agree(fit.theta[seed - 4], one, "steps")

    @pytest.mark.parametrize("n_members", [3, 4])
    def test_networks_of_one_seed_that_leave_a_stack_change_nothing_for_the_others(self, n_members):
        network = Network((3, 4, 2), n_members=n_members)  # as many members as networks, and more
        theta = initial_weights(network, range(3), dtype="float64")
        options = {"theta": theta, "seed": 0, "dropout": 0.3, "epochs": 4, "batch_size": 16}

        def first_is_done(targets, outputs):
            return np.arange(len(outputs)) == 0 if len(outputs) == 3 else np.zeros(len(outputs), bool)

        fit = train(network, self.X, self.TARGETS, stop_when=first_is_done, **options)
        assert fit.solved.tolist() == [True, False, False]
        assert_agree(fit.theta[1:], train(network, self.X, self.TARGETS, **options).theta[1:], "steps")
        alone = train(network, self.X, self.TARGETS, **options | {"theta": theta[2]})
        assert_agree(fit.theta[2], alone.theta, "steps")

    def test_many_samples_are_predicted_in_parts(self, monkeypatch):
        sizes, compute = [], prediction.last_layer

        def counted(backend, network, theta, x):
            sizes.append(len(x))
            return compute(backend, network, theta, x)

        monkeypatch.setattr("gpubp.backends.memory.SAMPLES_AT_ONCE", 24)
        monkeypatch.setattr(prediction, "last_layer", counted)
        theta = initial_weights(CLASSES, dtype="float64")
        assert_agree(predict(CLASSES, theta, self.X), output_layer(np, CLASSES, theta, self.X).y, "forward")
        assert sizes == [8] * 7 + [4]


def test_only_networks_with_members_or_parametric_activations_need_the_newest_format():
    parametric = Network((3, 2, 1), activation="parametric(selu)")
    networks = CLASSES, parametric, Network((3, 2)), Network((3, 2, 1), skips=[(0, 2)])
    assert list(map(format_of, networks)) == [3, 3, 1, 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(4, "parameters that do not fit"), (0, "n_members must be a whole number"), ("3", "malformed topology")],
)
def test_a_file_whose_members_do_not_fit_is_refused(tmp_path, wrong, message):
    path = tmp_path / "model.safetensors"
    save_model(path, CLASSES, np.zeros(CLASSES.n_parameters))
    header, theta = header_and_theta(path)
    assert header["network"]["n_members"] == 3
    header["network"]["n_members"] = wrong
    forge(path, header, {"theta": theta})
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize("wrong", [0, -1, 1.0, True, "3", 2**63])
def test_numbers_of_members_are_checked(wrong):
    with pytest.raises(DataError, match="n_members must be a whole number"):
        Network((3, 2), n_members=wrong)


@pytest.mark.parametrize("options", [{"bias": False}, {"skips": [(0, 2)]}, {"ties": range(27)}], ids=str)
def test_what_members_cannot_have(options):
    with pytest.raises(DataError, match="members share their weights"):
        Network((3, 4, 2), n_members=2, **options)


@pytest.mark.parametrize(
    "use",
    [
        lambda theta, x: forward(np, CLASSES, theta, x),
        lambda theta, x: jacobian(np, CLASSES, theta, x),
        lambda theta, x: with_equal_layers(CLASSES, [1]),
        lambda theta, x: with_scaled_inputs(CLASSES),
    ],
)
def test_what_needs_one_block_for_each_layer_refuses_members(use):
    with pytest.raises(DataError, match="members"):
        use(*draw(CLASSES)[:2])


def test_levenberg_marquardt_refuses_members():
    with pytest.raises(DataError, match="use lbfgs"):
        train(Network((3, 2), n_members=2), np.zeros((2, 3)), np.zeros((2, 2)), optimizer=levenberg_marquardt())
