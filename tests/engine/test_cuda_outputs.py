"""Predictions and losses by CUDA kernels compared with the plain equations: emulated, and on a GPU if there is one."""

import weakref
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array

import gpubp
from gpubp.backends import sparse_matmul
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.backends.sparse_matmul import for_samples
from gpubp.engine import prediction
from gpubp.engine.cuda import outputs as cuda_outputs
from gpubp.engine.cuda.forward_passes import forward_pass_on
from gpubp.engine.cuda.outputs import ForwardPass, evaluate_together
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.prediction import in_parts, mean_outputs
from gpubp.estimators import MLPClassifier, MLPEnsembleClassifier, _base
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.testing import assert_agree
from gpubp.training import setup
from tests.cuda_machines import ACTIVATION_NAMES, PAIRS, needs_compiler, rounding
from tests.emulated_cuda import EmulatedDevice

pytestmark = pytest.mark.once

N = 23  # samples
NETWORK = Network((5, 7, 11, 3), activation=("tanh", "gelu"), loss="cross_entropy")
OF_A_TABLE = with_embedded_inputs(
    with_periodic_inputs(
        with_scaled_inputs(
            Network((10, 7, 5, 3), activation=("parametric(selu)", "parametric(mish)"), loss="cross_entropy")
        ),
        [3],
        n_frequencies=4,
    ),
    [range(3)],
    n_outputs=3,
)
SPECIAL = {
    "skips": Network((5, 7, 2, 11, 3), skips=((0, 2), (0, 4), (1, 3), (1, 4)), loss="cross_entropy"),
    "a table": OF_A_TABLE,
    "members": Network((5, 7, 11, 3), n_members=4, loss="cross_entropy"),
}
MEMBERS = {
    "numbers": Network((5, 7, 1), n_members=3),
    "two classes": Network((5, 7, 1), activation="tanh", n_members=3, loss="binary_cross_entropy"),
    "counts": Network((5, 7, 2), n_members=3, loss="poisson"),
    "no hidden layer": Network((5, 3), n_members=3, loss="cross_entropy"),
    "a softmax below": Network((5, 7, 3), activation="softmax", n_members=1, output_activation="softmax"),
}


def drawn(network, dtype, *, stack=(), own=(), weighted=False):
    """Draw the parameters of a stack, and samples: ``own`` are those of which each network has others."""
    rng = np.random.default_rng(0)
    theta = initial_weights(network, range(stack[0]) if stack else 0, scheme="uniform", scale=0.5, dtype=dtype)
    of = {name: stack if name in own else () for name in ("x", "targets", "weights")}
    x = rng.normal(size=(*of["x"], N, network.sizes[0])).astype(dtype)
    targets = rng.dirichlet(np.ones(network.sizes[-1]), (*of["targets"], N)).astype(dtype)  # fits every loss
    weights = rng.uniform(0.0, 2.0, (*of["weights"], N)).astype(dtype) if weighted else None
    return theta, Batch(x, targets, weights)


def compare(machine, network, dtype, *, at_once=N, kind="forward", forms=(None, False, True), **how):
    """Compare outputs, and losses without and with them, with the equations on the same device."""
    theta, samples = drawn(network, dtype, **how)
    xp, theta = machine.backend.xp, machine.asarray(theta)
    x, targets, weights = (None if array is None else machine.asarray(array) for array in samples[:3])
    layer = output_layer(xp, network, theta, x)
    loss, _ = output_loss(xp, network.loss, network.activations[-1], *layer, targets, weights)
    for wanted in forms:
        if wanted is None:
            outputs = to_numpy(forward_pass_on(machine.device, network, theta).outputs(in_parts(x, at_once), N))
        else:
            options = {"weighted": weights is not None, "outputs_wanted": wanted}
            forward = forward_pass_on(machine.device, network, theta, **options)
            (((found, outputs),),) = evaluate_together(
                machine.device, [[(forward, Batch(x, targets, weights))]], at_once
            )
            assert_agree(found.astype(dtype), to_numpy(loss), kind)
        if wanted is False:
            assert outputs is None
        else:
            assert_agree(outputs, to_numpy(layer.y), kind)


class TestAgreesWithPlain:
    @pytest.mark.parametrize("weighted", [False, True])
    def test_activations(self, machine, dtype, weighted):
        names = ACTIVATION_NAMES
        compare(machine, Network((3, *[4] * len(names), 2), activation=names), dtype, weighted=weighted)

    @pytest.mark.slow
    @pytest.mark.parametrize("pair", PAIRS, ids=" on ".join)
    def test_losses(self, machine, dtype, pair):
        loss, output = pair
        compare(machine, Network((3, 4), output_activation=output, loss=loss, bias=False), dtype, forms=(True,))

    @pytest.mark.parametrize("at_once", [1, 8, N])
    @pytest.mark.parametrize(("stack", "own"), [((), ()), ((3,), ()), ((3,), ("x",)), ((3,), ("targets", "weights"))])
    def test_stacks_and_parts(self, machine, dtype, stack, own, at_once):
        compare(machine, NETWORK, dtype, stack=stack, own=own, at_once=at_once, weighted=True)

    @pytest.mark.parametrize("stack", [(), (3,)])
    @pytest.mark.parametrize("products", ["bfloat16", "float16"])
    def test_products_of_rounded_operands(self, machine, products, stack):
        compare(rounding(machine, products), NETWORK, "float32", stack=stack, kind=f"forward {products}")

    @pytest.mark.parametrize(("stack", "own"), [((), ()), ((3,), ()), ((3,), ("x", "targets"))])
    @pytest.mark.parametrize("network", SPECIAL.values(), ids=SPECIAL)
    def test_special_networks(self, machine, network, stack, own):
        compare(machine, network, "float64", stack=stack, own=own, at_once=8, weighted=True, forms=(None, True))

    @pytest.mark.parametrize("network", SPECIAL.values(), ids=SPECIAL)
    def test_special_networks_with_products_of_rounded_operands(self, machine, network):
        how = {"stack": (3,), "kind": "forward bfloat16", "forms": (None,)}
        compare(rounding(machine, "bfloat16"), network, "float32", **how)

    @pytest.mark.parametrize("network", MEMBERS.values(), ids=MEMBERS)
    def test_members(self, machine, network):
        compare(machine, network, "float64", stack=(2,), own=("x",), forms=(None, True))

    def test_ties_and_absent_weights(self, machine, dtype):
        network = gpubp.Network((2, 3, 1), ties=(0, 1, 0, 1, -1, 2, 3, 3, 3, 4, 4, 4, 5))
        compare(machine, network, dtype)

    def test_parts_larger_than_are_passed_forward_together(self, machine, monkeypatch):
        monkeypatch.setattr(cuda_outputs, "MAX_SAMPLES", 4)
        compare(machine, NETWORK, "float64", stack=(2,), at_once=10)

    def test_arrays_in_any_order(self, machine, dtype):
        theta, samples = drawn(NETWORK, dtype, stack=(3,))
        theta, x = machine.asarray(theta), machine.asarray(samples.x)
        expected = output_layer(machine.backend.xp, NETWORK, theta[::2], x[::-2]).y
        outputs = forward_pass_on(machine.device, NETWORK, theta[::2]).outputs([x[::-2]], len(x[::-2]))
        assert_agree(to_numpy(outputs), to_numpy(expected), "forward")


@pytest.mark.parametrize(
    ("network", "leading"),
    [(Network((1, 1)), (2, 2)), (Network((1, 1)), (2**16,)), (Network((1, 2, 1), n_members=2), (2**15,))],
)
def test_what_it_cannot_compute_is_left_to_others(network, leading):
    assert forward_pass_on(EmulatedDevice(), network, np.zeros((*leading, network.n_parameters))) is None


class TestSums:
    def test_more_samples_than_a_block_adds_up(self, machine):
        """Sums do not depend on how many samples are passed forward together, if the outputs do not."""
        network, n = Network((1, 1)), 9000
        x = machine.asarray(np.random.default_rng(0).normal(size=(n, 1)))
        theta, targets = machine.asarray(np.asarray([2.0, 0.5])), machine.backend.xp.zeros_like(x)
        forward = forward_pass_on(machine.device, network, theta, weighted=False, outputs_wanted=False)
        part = (forward, Batch(x, targets))
        found = [evaluate_together(machine.device, [[part]], at_once)[0][0][0] for at_once in (n, 4096, 700)]
        np.testing.assert_allclose(found[0], 0.5 * np.sum((2.0 * to_numpy(x) + 0.5) ** 2), rtol=1e-13)
        assert found[0] == found[1] == found[2]


@needs_compiler
class TestSeam:
    @pytest.fixture(autouse=True)
    def passes(self, monkeypatch):
        """The compiled passes that are made."""
        made, begin = [], ForwardPass.__init__

        def begin_and_keep(self, *arguments, **options):
            begin(self, *arguments, **options)
            made.append(self)

        monkeypatch.setattr(ForwardPass, "__init__", begin_and_keep)
        return made

    @pytest.mark.parametrize(
        "network",
        [
            Network((2, 3), loss="cross_entropy(1,2)"),
            Network((2, 3), loss="cross_entropy(1,2)", n_members=2),
        ],
        ids=["groups", "groups of members"],
    )
    def test_what_it_lacks_is_computed_plainly(self, emulated_gpu, passes, network):
        theta = initial_weights(network, dtype="float64")
        x, targets = np.ones((4, 2)), np.full((4, network.sizes[-1]), 0.5)
        fits = [
            gpubp.train(network, x, targets, theta=theta, epochs=2, validation_data=(x, targets), device=device)
            for device in ("cuda", "cpu")
        ]
        assert not passes
        assert_agree(*(np.asarray(fit.history.validation_loss) for fit in fits), "fit")

    @pytest.mark.parametrize("requested", ["never", "auto"])
    @pytest.mark.parametrize("early_stopping", [False, True])
    def test_estimators_use_it_unless_it_is_refused(self, emulated_gpu, passes, monkeypatch, requested, early_stopping):
        monkeypatch.setenv("GPUBP_COMPILED", requested)
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
        options = {"max_iter": 4, "early_stopping": early_stopping, "random_state": 0, "tol": 0, "dtype": "float64"}
        models = [MLPClassifier((6,), device=device, **options) for device in ("cuda", "cpu")]
        with pytest.warns(UserWarning, match="Maximum iterations"):
            models = [model.fit(X, y) for model in models]
        if early_stopping:
            assert_agree(*(np.asarray(model.validation_scores_) for model in models), "fit")
        n_before = len(passes)
        assert (n_before > 0) == (early_stopping and requested == "auto")
        assert_agree(*(model.predict_proba(X) for model in models), "fit")
        assert (len(passes) > n_before) == (requested == "auto")


@needs_compiler
class TestEnsembles:
    @pytest.fixture
    def ensemble(self):
        X, y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
        member = MLPClassifier((6,), max_iter=2, dtype="float64", device="cpu")
        with pytest.warns(UserWarning, match="Maximum iterations"):
            return MLPEnsembleClassifier(member, n_estimators=3, random_state=0).fit(X, y)

    def predictions(self, ensemble, device, X):
        for member in ensemble.estimators_:
            member.device = device
        return ensemble.predict_proba(X)

    @pytest.mark.parametrize("is_sparse", [False, True])
    @pytest.mark.parametrize("change", ["nothing", "a layer", "the precision"])
    def test_members_are_computed_as_a_stack_unless_they_differ(
        self, emulated_gpu, ensemble, monkeypatch, change, is_sparse
    ):
        rng, made = np.random.default_rng(1), []
        original = _base.outputs_in_parts
        monkeypatch.setattr(_base, "outputs_in_parts", lambda *given: made.append(given[3]) or original(*given))
        member = ensemble.estimators_[1]
        if change == "a layer":
            member.coefs_ = [rng.normal(size=(4, 5)), rng.normal(size=(5, 3))]
            member.intercepts_ = [rng.normal(size=5), rng.normal(size=3)]
        elif change == "the precision":
            member.matmul_precision, member.dtype = "bfloat16", "float32"
        X = rng.normal(size=(9, 4))
        given = csr_array(X) if is_sparse else X
        expected = self.predictions(ensemble, "cpu", X)
        made.clear()
        rtol = 1e-5 if change == "the precision" else 1e-12
        np.testing.assert_allclose(self.predictions(ensemble, "cuda", given), expected, rtol=rtol)
        assert [theta.ndim for theta in made] == ([2] if change == "nothing" else [1, 1, 1])


@pytest.mark.parametrize("n_networks", [None, 1, 3])
def test_the_mean_of_a_stack_is_that_of_its_outputs(n_networks, monkeypatch):
    theta, (x, *_) = drawn(NETWORK, "float64", stack=() if n_networks is None else (n_networks,))
    expected = gpubp.predict(NETWORK, theta, x, device="cpu")
    monkeypatch.setattr("gpubp.backends.memory.SAMPLES_AT_ONCE", 10)
    found = mean_outputs(NETWORK, theta, x.tolist(), device="cpu")
    assert_agree(found, expected if n_networks is None else expected.mean(axis=0), "forward")


@pytest.mark.on("cuda")
@pytest.mark.parametrize("given", [np.asarray, "cupy"])
def test_the_mean_of_a_stack_on_a_gpu(given, monkeypatch):
    theta, (x, *_) = drawn(NETWORK, "float64", stack=(3,))
    expected = gpubp.predict(NETWORK, theta, x, device="cpu").mean(axis=0)
    given = to_backend(choose_backend("cuda"), x) if given == "cupy" else x
    monkeypatch.setattr(prediction, "samples_at_once", lambda *_: 10)
    found = mean_outputs(NETWORK, theta, given, device="cuda")
    assert type(found) is type(given)
    assert_agree(to_numpy(found), expected, "forward")


@pytest.mark.on("cuda")
@pytest.mark.parametrize("numbers_at_once", [1 << 23, 60])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stack", "weighted"), [((), True), ((3,), False)])
def test_losses_of_sparse_samples_on_a_gpu(numbers_at_once, bias, stack, weighted, monkeypatch):
    monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", numbers_at_once)
    network = Network((40, 7, 3), loss="cross_entropy", bias=bias)
    theta, (_, targets, weights, *_) = drawn(network, "float64", stack=stack, weighted=weighted)
    rng = np.random.default_rng(0)
    x = csr_array(np.where(rng.random((N, 40)) < 0.1, rng.normal(size=(N, 40)), 0.0))
    backend = for_samples(choose_backend("cuda"), x)
    with backend.active():
        there = [None if array is None else to_backend(backend, array) for array in (theta, targets, weights)]
        found = prediction.evaluate(backend, network, there[0], Batch(x, *there[1:]), outputs_wanted=True)
    batch = Batch(x.toarray(), targets, weights)
    expected = prediction.evaluate(choose_backend("cpu"), network, theta, batch, outputs_wanted=True)
    assert_agree(found.loss, expected.loss, "forward")
    assert_agree(found.outputs, expected.outputs, "forward")


@pytest.mark.on("cuda")
def test_losses_of_sparse_samples_and_tied_weights_on_a_gpu():
    """A network of some of the inputs would lack weights that the others share."""
    network = Network((2, 3, 1), ties=(0, 1, 0, 1, -1, 2, 3, 3, 3, 4, 4, 4, 5))
    theta, (x, targets, *_) = drawn(network, "float64")
    x[:, 0] = 0.0
    backend = for_samples(choose_backend("cuda"), csr_array(x))
    with backend.active():
        on_gpu, there = to_backend(backend, theta), to_backend(backend, targets)
        found = prediction.evaluate(backend, network, on_gpu, Batch(csr_array(x), there))
    expected = prediction.evaluate(choose_backend("cpu"), network, theta, Batch(x, targets))
    assert_agree(found.loss, expected.loss, "forward")


@needs_compiler
class TestMemoryOfSparseSamples:
    @pytest.fixture
    def in_memory(self, emulated_gpu, monkeypatch):
        """The inputs and the parameters of parts that are in memory whenever those of the next part are made."""
        monkeypatch.setattr(sparse_matmul, "NUMBERS_AT_ONCE", 60)
        counts, inputs, parameters = [], weakref.WeakValueDictionary(), weakref.WeakValueDictionary()
        upload, forward_on_gpu = prediction.to_backend_together, prediction._forward_on_gpu

        def upload_and_note(*given):
            counts.append((len(inputs), len(parameters)))
            columns, x = upload(*given)
            inputs[len(counts)] = x
            return columns, x

        def note_parameters(backend, network, theta, **options):
            if counts:  # not of a whole network
                parameters[len(counts)] = theta
            return forward_on_gpu(backend, network, theta, **options)

        monkeypatch.setattr(prediction, "to_backend_together", upload_and_note)
        monkeypatch.setattr(prediction, "_forward_on_gpu", note_parameters)
        return counts

    def evaluate(self, network, n_pairs, **options):
        theta, (_, targets, *_) = drawn(network, "float64")
        x = csr_array(np.eye(N, network.sizes[0]))
        backend = for_samples(setup.choose_backend("cuda"), x)
        found = prediction.evaluate_each(backend, network, n_pairs * [(theta, Batch(x, targets))], **options)
        batch = Batch(x.toarray(), targets)
        expected = prediction.evaluate(choose_backend("cpu"), network, theta, batch, **options)
        for one in found:
            assert_agree(one.loss, expected.loss, "forward")
            assert (one.outputs is None) == (expected.outputs is None)
            if one.outputs is not None:
                assert_agree(one.outputs, expected.outputs, "forward")

    @pytest.mark.parametrize("outputs_wanted", [False, True])
    def test_only_the_part_before_is_in_memory(self, in_memory, outputs_wanted):
        self.evaluate(Network((40, 7, 3), loss="cross_entropy"), n_pairs=3, outputs_wanted=outputs_wanted)
        assert len(in_memory) > 9
        assert set(in_memory[1:]) == {(1, 1)}

    def test_nothing_is_uploaded_for_a_network_without_kernels(self, in_memory):
        self.evaluate(Network((40, 7, 3), loss="cross_entropy(1,2)"), n_pairs=1)
        assert not in_memory


@pytest.mark.on("cuda")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_predictions_on_a_gpu_agree_with_numpy(precision):
    theta, (x, *_) = drawn(NETWORK, "float32", stack=(3,))
    how = {"matmul_precision": precision}
    on_gpu, on_host = (gpubp.predict(NETWORK, theta, x, device=device, **how) for device in ("cuda", "cpu"))
    assert_agree(on_gpu, on_host, "forward" if precision == "float32" else f"forward {precision}")
    import cupy

    given = cupy.asarray(x)
    found = [gpubp.predict(NETWORK, theta, given, **how) for _ in range(3)]  # on CuPy's stream, without a wait
    del given
    assert all(isinstance(one, cupy.ndarray) for one in found)
    for one, other in pairwise(map(to_numpy, found)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(to_numpy(found[0]), on_gpu)
