"""Tests of what is compiled as a whole with an array library that can, and of what is not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gpubp import Network, adam, clipped, decayed, lbfgs, levenberg_marquardt, momentum, train
from gpubp.backends.backend import choose_backend, to_backend, to_numpy, with_matmul
from gpubp.backends.sparse_matmul import for_samples
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.epoch import plain_epoch_runner
from gpubp.engine.plain import compilation
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective, make_step
from gpubp.engine.prediction import evaluate
from gpubp.nn.activations import ACTIVATIONS
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.testing import assert_agree

NETWORK = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
GENERATOR = np.random.default_rng(0)
THETA = GENERATOR.normal(size=NETWORK.n_parameters)
X, TARGETS = GENERATOR.normal(size=(20, 4)), np.eye(3)[GENERATOR.integers(3, size=20)]
SAMPLES = Batch(X, TARGETS)


class TwoProcesses(ProcessGroup):
    world_size = 2


@pytest.fixture
def compilations():
    """The names of the functions that were compiled, and how often."""
    compilation._compiled.cache_clear()
    yield Counter()
    compilation._compiled.cache_clear()


@pytest.fixture
def backend(compilations):
    """NumPy as a library that compiles."""
    numpy = choose_backend("cpu")

    def compiled(function):
        compilations[function.func.__name__] += 1
        return function

    return numpy._replace(library=replace(numpy.library, name="compiling", compile=compiled))


def take_step(backend, optimizer, network=NETWORK, dtype="float64", **options):
    step = make_step(backend, Objective(network, **options), optimizer, dtype)
    theta = THETA.astype(dtype)
    return step(theta, optimizer.init(np, theta), Batch(X.astype(dtype), TARGETS.astype(dtype)), 0.0)


class TestIsCompiledOnce:
    def test_for_all_numbers_of_an_optimizer_and_a_penalty(self, backend, compilations):
        for k in (1, 2):
            take_step(backend, decayed(clipped(adam(0.1 * k), 0.5 * k), 0.01 * k), l2=0.1 * k)
        assert compilations.total() == 1

    def test_for_all_strengths_of_a_penalty_in_a_stack(self, backend, compilations):
        for l2 in (0.1, np.asarray([[0.1], [0.2]])):
            make_step(backend, Objective(NETWORK, l2=l2), adam(), "float64")
        assert compilations.total() == 1

    def test_for_loss_scaling_and_rounded_products(self, backend, compilations):
        for rate in (0.1, 0.2):
            take_step(with_matmul(backend, "float16", "float32"), loss_scaled(momentum(rate)), dtype="float32")
        assert compilations.total() == 1

    def test_but_again_for_another_function(self, backend, compilations):
        others = [{}, {"l2": 0.1}, {"parts": 2}, {"reduction": "sum"}, {"network": replace(NETWORK, activation="relu")}]
        for options in others:
            take_step(backend, adam(), **options)
        take_step(backend, momentum())
        assert compilations.total() == len(others) + 1

    @pytest.mark.parametrize("sample_weight", [None, np.arange(20.0)])
    def test_for_all_batches(self, backend, compilations, sample_weight):
        order = np.random.default_rng(1).permutation(20)
        batches = [batch for _, batch in ArrayBatches(backend, Batch(X, TARGETS, sample_weight), 8, order)]
        assert compilations == {"_rows_from": 1}
        weights = np.ones(20) if sample_weight is None else sample_weight
        for batch, rows in zip(batches, np.split(order, [8, 16]), strict=True):
            np.testing.assert_array_equal(batch.x[: len(rows)], X[rows])
            np.testing.assert_array_equal(batch.targets[: len(rows)], TARGETS[rows])
            np.testing.assert_array_equal(batch.sample_weight, np.append(weights[rows], np.zeros(8 - len(rows))))
            assert batch.x.shape == (8, 4)
            assert (batch.sizes, batch.total_weight) == (len(rows), np.sum(weights[rows]))

    def test_for_batches_without_padding(self, backend, compilations):
        (_, first), (_, last) = ArrayBatches(backend, SAMPLES, 10)
        assert compilations == {"_rows_from": 1}
        np.testing.assert_array_equal(np.concatenate([first.x, last.x]), X)
        assert first.sample_weight is first.total_weight is None

    @pytest.mark.parametrize("options", [{}, {"parts": 2}, {"reduction": "sum", "l2": 0.1}])
    @pytest.mark.parametrize("sample_weight", [None, np.arange(20.0)])
    def test_for_an_epoch_with_a_smaller_last_batch(self, backend, compilations, options, sample_weight):
        of_each = []
        for one in (backend, choose_backend("cpu")):
            run_epoch = plain_epoch_runner(one, Objective(NETWORK, **options), momentum(), "float64")
            model = ModelState(THETA, momentum().init(np, THETA))
            result = run_epoch(model, ArrayBatches(one, Batch(X, TARGETS, sample_weight), 8))
            of_each.append((model.theta, result.values, result.weights, result.sizes))
        assert compilations == {"_rows_from": 1, "_with_penalty": 1, "_summary": 1}
        for actual, expected in zip(*of_each, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12)

    @pytest.mark.parametrize("optimizer", [lbfgs(), levenberg_marquardt()])
    def test_for_a_second_order_optimizer(self, optimizer, backend, compilations):
        network = replace(NETWORK, loss="squared", output_activation=None)
        for l2 in (0.1, 0.2):
            take_step(backend, optimizer, network, l2=l2)
        assert compilations == {"_with_penalty": 2, "damped_solution": 1}  # gradient, Gauss-Newton matrix, equations

    def test_for_validations(self, backend, compilations):
        for theta in (THETA, 2.0 * THETA):
            evaluate(backend, NETWORK, theta, SAMPLES)
        assert compilations == {"output_layer": 1, "_loss": 1}


class TestIsNotCompiled:
    @pytest.fixture(autouse=True)
    def none(self, compilations):
        yield
        assert not compilations

    def test_a_users_optimizer(self, backend):
        own = replace(momentum(), update=lambda xp, gradient, state, *_: (-gradient, state))
        for optimizer in (own, clipped(own, 1.0)):
            take_step(backend, optimizer)

    def test_a_users_state_of_numbers(self, backend):
        own = replace(momentum(), init=lambda *_: (1,), update=lambda xp, g, state, *_: (-g, (*state, 2 * state[0])))
        assert take_step(backend, own)[1] == (1, 2)

    def test_a_users_activation(self, backend, monkeypatch):
        monkeypatch.setitem(ACTIVATIONS, "own", ACTIVATIONS["tanh"]._replace(value=lambda xp, x: xp.tanh(x)))
        take_step(backend, adam(), replace(NETWORK, activation="own"))

    def test_a_step_of_several_processes(self, backend):
        make_step(backend, Objective(NETWORK, processes=TwoProcesses()), adam(), "float64")

    def test_products_with_sparse_samples(self, backend):
        sparse = pytest.importorskip("scipy.sparse").csr_array(X)
        evaluate(for_samples(backend, sparse), NETWORK, THETA, Batch(sparse, TARGETS))


class TestJax:
    pytestmark = pytest.mark.on("jax.numpy")

    def test_numbers_of_python_keep_double_precision(self):
        backend = choose_backend("jax.numpy")
        compiled = backend.library.compile(lambda x, number: x * (1.0 - number))
        result = compiled(to_backend(backend, np.ones(3, "float32")), 0.999)
        np.testing.assert_array_equal(to_numpy(result), np.full(3, 1.0 - 0.999, "float32"))
        assert str(result.dtype) == "float32"

    def test_an_uploaded_array_is_a_copy(self):
        hosts = [np.zeros(1000 + k, "float32") for k in range(16)]  # JAX shares memory that is aligned
        arrays = [to_backend(choose_backend("jax.numpy"), host) for host in hosts]
        for host in hosts:
            host[:] = 1.0
        assert not any(to_numpy(array).any() for array in arrays)

    def test_counts_of_updates_stay_numbers(self):
        backend = choose_backend("jax.numpy")
        optimizer = loss_scaled(adam())
        theta, x, targets = (to_backend(backend, array, "float32") for array in (THETA, X, TARGETS))
        step, state = make_step(backend, Objective(NETWORK), optimizer, "float32"), optimizer.init(backend.xp, theta)
        for _ in range(2):
            theta, state, _ = step(theta, state, Batch(x, targets), 0.0)
        assert type(state.inner.updates) is int
        assert state.inner.updates == 2

    def test_a_fit_with_a_users_optimizer_agrees(self):
        def update(xp, gradient, state, theta, values):
            return (-0.1 if float(xp.sum(theta)) else 0.1) * gradient, state

        optimizer = replace(momentum(), update=update)
        thetas = [
            train(
                NETWORK, X, TARGETS, optimizer=optimizer, epochs=2, batch_size=8, device=device, dtype="float32"
            ).theta
            for device in ("jax.numpy", "cpu")
        ]
        assert_agree(*map(to_numpy, thetas), "fit")
