"""The compiled engine against the plain path."""

import contextlib
import ctypes
import platform
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse

from gpubp.backends.backend import choose_backend
from gpubp.engine import cpu
from gpubp.engine import epoch as epoch_module
from gpubp.engine.cpu import library, structures, thread_choice, threads, workplace
from gpubp.engine.cpu.compiler import INSTRUCTIONS
from gpubp.engine.cpu.epoch import EngineEpochRunner, engine_epoch_runner
from gpubp.engine.cpu.outputs import engine_outputs
from gpubp.engine.cpu.structures import address, functions_of, in_rows
from gpubp.engine.cpu.thread_choice import ThreadChoice
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, BatchesInParts, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.engine.prediction import predict
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.architectures import (
    with_blocks,
    with_equal_layers,
    with_fields,
    with_sums,
)
from gpubp.nn.initialization import initial_weights, ntk_rate_factors
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.losses import LOSSES
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.optim.first_order import OPTIMIZERS, adam, adamw, gradient_descent, lion, momentum
from gpubp.optim.schedules import Cosine, PiecewiseConstant
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from gpubp.testing import assert_agree
from gpubp.training.fit import train
from tests.threads_as_processes import results_of, run_on_ranks

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")]

BACKEND = choose_backend("cpu")
N_SAMPLES, SIZE = 23, 8  # the last batch has 7 samples


def samples(network, dtype, weighted=False, seed=0, stack=()):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*stack, N_SAMPLES, network.sizes[0]))
    targets = rng.dirichlet(np.ones(network.sizes[-1]), (*stack, N_SAMPLES))  # fits every error
    weights = rng.uniform(0.0, 2.0, (*stack, N_SAMPLES)).astype(dtype) if weighted else None
    return Batch(x.astype(dtype), targets.astype(dtype), weights)


def dropout_of(network, rates, stack=None):
    keys = np.random.default_rng(9).integers(0, 2**64, stack or (), dtype=np.uint64)
    return Dropout(network.sizes[:-1], rates, keys)


plain_runner = partial(epoch_module.plain_epoch_runner, BACKEND)


@np.errstate(all="ignore")  # as in train; on arm64 a product of NumPy may warn of numbers that are not in its result
def run_both(
    network,
    optimizer=None,
    dtype="float64",
    n_threads=2,
    epochs=3,
    size=SIZE,
    shuffled=True,
    weighted=False,
    stack=None,
    own_samples=False,
    moved=True,
    outputs_wanted=False,
    dropout=None,
    **objective,
):
    """Run epochs on the plain path and in the engine from one model; return both models and their last results."""
    optimizer, objective = optimizer or momentum(0.05, 0.9), Objective(network, **objective)
    plain, processes = plain_runner(objective, optimizer, dtype), objective.processes
    runner = engine_epoch_runner(objective, optimizer, dtype, lambda: plain, outputs_wanted=outputs_wanted)
    assert isinstance(runner, EngineEpochRunner)
    runs = []
    for run_epoch in (plain, runner):
        seeds = 1 if stack is None else range(stack)
        theta = initial_weights(network, seeds, scheme="uniform", scale=0.5, dtype=dtype)
        model, rng = ModelState(theta, optimizer.init(np, theta)), np.random.default_rng(2)
        given = samples(network, dtype, weighted, stack=(stack,) if own_samples else ())
        for _ in range(epochs):
            order = rng.permutation(N_SAMPLES) if shuffled else None
            with (
                contextlib.nullcontext()
                if processes.world_size > 1
                else patch.multiple(
                    workplace,
                    threads_allowed=lambda: n_threads,
                    WORTH_A_THREAD=1.0,
                    UNITS_OF_A_SHARE=1,
                    WORTH_MOVING=1 if moved else N_SAMPLES + 1,
                )
            ):
                batches = ArrayBatches(BACKEND, given, size, order, processes=processes)
                if dropout is not None:
                    batches = replace(batches, dropout=dropout_of(network, dropout, stack).at(epoch=model.epoch))
                result = run_epoch(model, batches)
            model.epoch += 1
        runs.append((model, result))
    return runs


def assert_equal_runs(runs):
    (plain, expected), (engine, result) = runs
    assert_agree(engine.theta, plain.theta, "steps")
    assert type(engine.state) is type(plain.state)
    for part, other in zip(engine.state, plain.state, strict=True):
        if isinstance(other, int):
            assert part == other
        else:
            assert_agree(part, other, "steps")
    dtype = plain.theta.dtype
    assert_agree(result.values.astype(dtype), expected.values.astype(dtype), "steps")
    assert_agree(result.weights.astype(dtype), expected.weights.astype(dtype), "steps")
    np.testing.assert_array_equal(result.sizes, expected.sizes)
    np.testing.assert_array_equal(result.finite, expected.finite, strict=True)


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


def factors_for(network, stack=None):
    """Factors of very different sizes, some 0; equal where weights are tied."""
    rng = np.random.default_rng(7)
    factors = 10.0 ** rng.uniform(-2, 0.5, (*(() if stack is None else (stack,)), network.n_parameters))
    factors[..., ::5] = 0.0
    return factors if network.tied is None else network.tied.tie(factors)


EQUAL_WEIGHTS = [
    with_sums(with_fields(Network((12, 8, 2), activation="tanh"), 1, (3, 4), (2, 3), n_feature_maps=2), 2, [4, 4]),
    with_equal_layers(Network((3, 3, 3, 3), activation="logistic", output_activation="logistic", bias=False), [1, 3]),
]


class TestSteps:
    @pytest.mark.parametrize("activation", [*ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)"])
    def test_activations(self, activation, dtype):
        assert_equal_runs(run_both(Network((3, 5, 4, 2), activation=activation), dtype=dtype))

    @pytest.mark.parametrize("loss", [*LOSSES, "huber(0.1)", "quantile(0.9)"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_losses_with_their_own_activation(self, loss, weighted, dtype):
        assert_equal_runs(run_both(Network((3, 5, 4), activation="tanh", loss=loss), dtype=dtype, weighted=weighted))

    @pytest.mark.parametrize("loss", LOSSES)
    def test_losses_with_the_logistic(self, loss, dtype):
        assert_equal_runs(run_both(Network((3, 5, 4), output_activation="logistic", loss=loss), dtype=dtype))

    def test_softmax_with_another_loss(self, dtype):
        assert_equal_runs(run_both(Network((3, 5, 4), output_activation="softmax"), dtype=dtype))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_optimizers(self, optimizer, dtype):
        assert_equal_runs(
            run_both(Network((3, 5, 4), activation="tanh", loss="cross_entropy"), OPTIMIZERS[optimizer](), dtype=dtype)
        )

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_schedules(self, optimizer):
        assert_equal_runs(
            run_both(Network((3, 5, 4)), optimizer(learning_rate=PiecewiseConstant({0: 0.1, 0.4: 0.01, 1.5: 0.3})))
        )

    @pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
    @pytest.mark.parametrize("sizes", [(3, 5, 4), (3, 5, 6, 4), (3, 7, 5, 6, 4)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_any_number_of_threads(self, sizes, n_threads, bias, dtype):
        network = Network(sizes, activation="tanh", loss="cross_entropy", bias=bias)
        assert_equal_runs(run_both(network, n_threads=n_threads, dtype=dtype, l2=0.1, weighted=True))

    @pytest.mark.parametrize(
        "optimizer",
        [OPTIMIZERS["gradient_descent"](0.1), momentum(0.05, 0.9), adam(), decayed(adam(), 0.1)],
        ids=lambda optimizer: optimizer.name,
    )
    @pytest.mark.parametrize("bias", [True, False], ids=["biases", "no-biases"])
    def test_the_moved_or_where_it_is(self, optimizer, bias):
        network = Network((3, 7, 6, 2), bias=bias)
        apart, common = (run_both(network, optimizer, n_threads=3, l2=0.1, moved=moved) for moved in (True, False))
        assert_equal_runs(apart)
        np.testing.assert_array_equal(apart[1][0].theta, common[1][0].theta)

    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_periodic_and_scaled_inputs(self, stack, n_threads, dtype):
        inner = with_scaled_inputs(Network((4 + 2 * 3, 6, 3), activation="selu", loss="cross_entropy"))
        network = with_periodic_inputs(inner, [3, 1], n_frequencies=4)
        factors = ntk_rate_factors(network, bias=0.1, others={1: (0.6, 0.1), 2: (0.1, 0.1), 3: (6.0, 0.0)})
        optimizer = rate_scaled(adam(0.01), factors)
        assert_equal_runs(run_both(network, optimizer, dtype, n_threads, stack=stack))

    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_embedded_inputs(self, stack, n_threads, dtype):
        inner = with_scaled_inputs(Network((2 * 2 + 2 + 3, 6, 3), activation="selu", loss="cross_entropy"))
        network = with_embedded_inputs(with_periodic_inputs(inner, [5]), [range(2), range(3, 6)], n_outputs=2)
        assert_equal_runs(run_both(network, adam(), dtype, n_threads, stack=stack, l2=0.1))

    @pytest.mark.parametrize("skips", [[(0, 2)], [(0, 3), (1, 3)], [(0, 2), (0, 3), (1, 3)]])
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_skip_connections(self, skips, n_threads, dtype):
        network = Network((4, 6, 5, 3), activation="tanh", skips=skips)
        assert_equal_runs(run_both(network, adam(), n_threads=n_threads, dtype=dtype, l2=0.1, weighted=True))

    @pytest.mark.parametrize("activation", ["tanh", "softmax(2,4)"])
    def test_several_softmaxes(self, activation, dtype):
        network = Network((4, 6, 5), activation=activation, loss="cross_entropy(2,3)")
        assert_equal_runs(run_both(network, n_threads=3, dtype=dtype, weighted=True))

    @pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e9])
    @pytest.mark.parametrize("n_threads", [1, 3])
    @pytest.mark.parametrize("sizes", [(3, 2), (3, 7, 6, 4)])
    def test_clipped(self, sizes, n_threads, max_norm, dtype):
        optimizer = clipped(adam(), max_norm)
        assert_equal_runs(run_both(Network(sizes), optimizer, n_threads=n_threads, dtype=dtype, l2=0.1))

    @pytest.mark.parametrize("wrap", [lambda o: decayed(clipped(o, 0.1), 0.1), lambda o: clipped(decayed(o, 0.1), 0.1)])
    @pytest.mark.parametrize("network", [Network((3, 7, 4)), EQUAL_WEIGHTS[0]])
    def test_clipped_and_decayed(self, network, wrap):
        assert_equal_runs(run_both(network, wrap(momentum(0.05, 0.9)), n_threads=2))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_rate_factors(self, optimizer, dtype):
        network = Network((3, 5, 4), activation="tanh", loss="cross_entropy")
        assert_equal_runs(run_both(network, rate_scaled(OPTIMIZERS[optimizer](), factors_for(network)), dtype))

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda o, f: rate_scaled(decayed(o, 0.1), f),
            lambda o, f: rate_scaled(clipped(decayed(o, 0.1), 0.1), f),
            lambda o, f: clipped(rate_scaled(o, f), 0.1),
            lambda o, f: decay_scaled(o, f),
            lambda o, f: decayed(decay_scaled(o, f), 0.1),
            lambda o, f: decay_scaled(clipped(rate_scaled(decayed(o, 0.1), f), 0.1), 3 * f),
        ],
    )
    @pytest.mark.parametrize("network", [Network((3, 7, 4)), EQUAL_WEIGHTS[0]])
    def test_rate_factors_of_wrapped_optimizers(self, network, wrap):
        for optimizer in (adamw(0.01, weight_decay=0.5), lion(0.01, weight_decay=0.5)):
            assert_equal_runs(run_both(network, wrap(optimizer, factors_for(network)), n_threads=2))

    @pytest.mark.parametrize("moved", [True, False])
    @pytest.mark.parametrize("options", [{}, {"l2": 0.1, "parts": 2}, {"dropout": (0.2, 0.3, 0.0)}])
    def test_rate_factors_of_the_shares_of_threads(self, moved, options):
        network = Network((3, 7, 6, 2), activation="mish")
        factors = factors_for(network)
        optimizer = decay_scaled(rate_scaled(adamw(weight_decay=0.5), factors), factors[::-1])
        assert_equal_runs(run_both(network, optimizer, n_threads=3, moved=moved, **options))

    @pytest.mark.parametrize("own_factors", [True, False])
    def test_rate_factors_of_a_stack(self, own_factors, dtype):
        network = Network((3, 5, 4), activation="tanh")
        factors = factors_for(network, 3 if own_factors else None)
        optimizer = rate_scaled(decay_scaled(adamw(weight_decay=0.5), factors[..., ::-1]), factors)
        runs = run_both(network, optimizer, dtype, n_threads=2, stack=3)
        assert_equal_runs(runs)
        first = initial_weights(network, range(3), scheme="uniform", scale=0.5, dtype=dtype)
        np.testing.assert_array_equal(runs[1][0].theta[:, ::5], first[:, ::5])  # their factor is 0
        assert not np.any(runs[1][0].theta[:, 1::5] == first[:, 1::5])

    def test_factors_that_the_engine_does_not_have(self):
        """A decay that the factors do not multiply; so the steps are plain."""
        network = Network((3, 5, 4))
        optimizer = decayed(rate_scaled(adam(), factors_for(network)), 0.1)
        assert engine_epoch_runner(Objective(network), optimizer, "float64", lambda: "plain") == "plain"

    def test_factors_of_another_network_are_refused(self):
        network, optimizer = Network((3, 5, 4)), rate_scaled(adam(), np.ones(7))
        theta = initial_weights(network, 0, dtype="float64")
        runner = engine_epoch_runner(Objective(network), optimizer, "float64", None)
        batches = ArrayBatches(BACKEND, samples(network, "float64"), SIZE)
        with pytest.raises(ValueError, match=r"rate_factors must be float64 of shape \(44,\)"):
            runner(ModelState(theta, optimizer.init(np, theta)), batches)

    def test_clipping_of_a_gradient_whose_square_overflows(self, dtype):
        large = 1e160 if dtype == "float64" else 1e30
        network = Network((3, 4, 2), loss="absolute")
        data = samples(network, dtype)
        runs = []
        for make in (lambda *given: plain_runner(*given), lambda *given: engine_epoch_runner(*given, None)):
            optimizer = clipped(momentum(0.1, 0.0), 1.0)
            theta = initial_weights(network, 0, dtype=dtype)
            model = ModelState(theta, optimizer.init(np, theta))
            run_epoch = make(Objective(network), optimizer, dtype)
            run_epoch(model, ArrayBatches(BACKEND, data._replace(x=data.x * np.asarray(large, dtype)), SIZE))
            runs.append(model.theta)
        assert np.all(np.isfinite(runs[0]))
        assert_agree(runs[1], runs[0], "steps")

    @pytest.mark.parametrize("size", [1, 3, 22, 23])  # the last batch of 22 has one sample
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_batches_of_fewer_samples_than_threads(self, size, shuffled):
        network = Network((3, 7, 6, 4), activation="tanh", loss="cross_entropy")
        assert_equal_runs(
            run_both(network, n_threads=5, size=size, shuffled=shuffled and size < N_SAMPLES, weighted=True)
        )

    def test_threads_take_part(self, monkeypatch):
        crews, make = [], threads.Crew
        monkeypatch.setattr(workplace, "Crew", lambda n, *given: (crews.append(n), make(n, *given))[1])
        run_both(Network((3, 7, 6, 2)), n_threads=5)
        run_both(Network((3, 7, 6, 2), activation="softmax"), n_threads=5)  # needs all units of a layer
        run_both(Network((3, 2)), n_threads=5)
        assert crews == [5, 1, 1]

    @pytest.mark.parametrize("network", [Network((3, 7, 6, 2), activation="tanh"), Network((4, 9, 3), skips=[(0, 2)])])
    @pytest.mark.parametrize("optimizer", [adam(), clipped(adam(), 0.1)], ids=lambda optimizer: optimizer.name)
    def test_the_number_of_threads_changes_no_bit(self, network, optimizer, monkeypatch, dtype):
        """The units are divided into as many shares as before, which fewer threads do."""
        thetas = []
        for n_threads in (3, 2, 1):
            monkeypatch.setattr(workplace, "ThreadChoice", lambda most, n=n_threads: ThreadChoice(n))
            thetas.append(run_both(network, optimizer, dtype, n_threads=3, epochs=20)[1][0].theta)
        np.testing.assert_array_equal(thetas[0], thetas[1])
        np.testing.assert_array_equal(thetas[0], thetas[2])

    @pytest.mark.parametrize(("stack", "is_sparse"), [(None, False), (3, False), (None, True)])
    @pytest.mark.parametrize("wrap", [lambda o: o, lambda o: clipped(o, 0.1)], ids=["", "clipped"])
    @pytest.mark.parametrize("options", [{}, {"WORTH_MOVING": 1}, {"threads_allowed": lambda: 1}], ids=[3, "moved", 1])
    @pytest.mark.parametrize("rate", [0.0, 0.3])
    def test_parameters_after_each_epoch(self, stack, is_sparse, wrap, options, rate, dtype):
        network, rng = Network((3, 7, 6, 2), activation="tanh"), np.random.default_rng(0)
        given, orders = samples(network, dtype), np.stack([rng.permutation(N_SAMPLES) for _ in range(4)])
        optimizer = wrap(adam(PiecewiseConstant({0: 0.1, 1.5: 0.01})))
        if is_sparse:
            given = given._replace(x=scipy.sparse.csr_array(given.x))
        dropout = dropout_of(network, (rate, rate, 0.0), stack) if rate else None
        batches = ArrayBatches(BACKEND, given, SIZE, orders, 4, dropout=dropout, keeps_thetas=True)
        theta = initial_weights(network, 1 if stack is None else range(stack), dtype=dtype)
        together, singly = (ModelState(theta, optimizer.init(np, theta)) for _ in range(2))
        options = {"threads_allowed": lambda: 3, "WORTH_A_THREAD": 1.0, "UNITS_OF_A_SHARE": 1} | options
        with patch.multiple(workplace, **options):
            run_epoch = engine_epoch_runner(Objective(network), optimizer, dtype, None)
            thetas = run_epoch(together, batches).thetas
            for number in range(4):
                run_epoch(singly, batches.of_epoch(number))
                singly.epoch += 1
                np.testing.assert_array_equal(thetas[number], singly.theta)
        assert_agree(together.theta, singly.theta, "steps")

    @pytest.mark.parametrize("options", [{"reduction": "sum"}, {"l2": 0.3}, {"l2": 0.3, "penalty_reported": False}])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_objectives(self, options, weighted):
        assert_equal_runs(run_both(Network((3, 5, 4)), weighted=weighted, **options))

    def test_samples_in_their_own_order(self):
        assert_equal_runs(run_both(Network((3, 5, 4)), shuffled=False, weighted=True))

    def test_without_biases(self):
        assert_equal_runs(run_both(Network((3, 5, 4), activation="tanh", bias=False), l2=0.1))

    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_connections_that_are_missing(self, n_threads, dtype):
        network = with_blocks(Network((3, 5, 4), activation="tanh"), 1, [(1, 2), (2, 3)])
        assert_equal_runs(run_both(network, adam(), n_threads=n_threads, dtype=dtype, l2=0.1))

    @pytest.mark.parametrize("network", EQUAL_WEIGHTS)
    @pytest.mark.parametrize("stack", [None, 3])
    def test_weights_that_are_equal(self, network, stack, dtype):
        runs = run_both(network, stack=stack, n_threads=3, dtype=dtype, l2=0.1, weighted=True)
        assert_equal_runs(runs)
        theta = runs[1][0].theta
        np.testing.assert_array_equal(theta, network.tied.tie(theta))

    @pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), lambda: decayed(adam(), 0.1)])
    def test_optimizers_for_weights_that_are_equal(self, optimizer):
        assert_equal_runs(run_both(EQUAL_WEIGHTS[0], optimizer(), stack=2))

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_optimizers_that_let_the_weights_decay(self, optimizer, dtype):
        assert_equal_runs(
            run_both(Network((3, 5, 4)), decayed(optimizer(), PiecewiseConstant({0: 0.01, 0.5: 0.1})), dtype=dtype)
        )

    @pytest.mark.parametrize("sizes", [(9, 2), (9, 7, 6, 2)])
    @pytest.mark.parametrize("optimizer", [adam(), clipped(adam(), 0.1)], ids=lambda optimizer: optimizer.name)
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_sparse_samples(self, sizes, optimizer, shuffled, dtype):
        network, rng = Network(sizes), np.random.default_rng(0)
        data = samples(network, dtype, weighted=True)
        dense = np.where(rng.random(data.x.shape) < 0.3, data.x, 0.0).astype(dtype)
        theta, order = initial_weights(network, 0, dtype=dtype), rng.permutation(N_SAMPLES) if shuffled else None
        thetas = []
        for x in (dense, scipy.sparse.csr_array(dense)):
            model = ModelState(theta, optimizer.init(np, theta))
            run_epoch = engine_epoch_runner(Objective(network, l2=0.1), optimizer, dtype, None)
            for _ in range(3):
                run_epoch(model, ArrayBatches(BACKEND, data._replace(x=x), SIZE, order))
            thetas.append(model.theta)
        assert_agree(thetas[1], thetas[0], "steps")

    @pytest.mark.parametrize("rates", [(0.3, 0.0), (0.3, 0.4)])
    @pytest.mark.parametrize("order", [None, np.arange(N_SAMPLES)[::-1], np.asarray([5, 3, 9, 0, 8, 7, 1, 2, 6, 4])])
    def test_inputs_of_sparse_samples_are_dropped(self, rates, order, dtype):
        network, optimizer, dropout = Network((9, 7, 2)), adam(), dropout_of(Network((9, 7, 2)), rates)
        data = samples(network, dtype, weighted=True)
        dense = np.where(data.x > 0.5, data.x, 0.0).astype(dtype)
        orders = None if order is None else np.stack([order, np.roll(order, 3)])
        batches = ArrayBatches(BACKEND, data, 4, orders, epochs=2, dropout=dropout.at(epoch=5, sample=12))
        runs, theta = [], initial_weights(network, 0, dtype=dtype)
        plain = plain_runner(Objective(network), optimizer, dtype)
        engine = engine_epoch_runner(Objective(network), optimizer, dtype, None)
        for run_epoch, x in ((plain, dense), (engine, scipy.sparse.csr_array(dense))):
            model = ModelState(theta, optimizer.init(np, theta))
            runs.append((model, run_epoch(model, replace(batches, samples=data._replace(x=x)))))
        assert_equal_runs(runs)

    @pytest.mark.parametrize("field", ["indices", "indptr"])
    @pytest.mark.parametrize("number", [-1, 1000])
    def test_sparse_samples_that_are_damaged(self, field, number):
        network, optimizer = Network((3, 2)), momentum()
        data = samples(network, "float64")
        x = scipy.sparse.csr_array(data.x)
        getattr(x, field)[2] = number
        theta = initial_weights(network, 0, dtype="float64")
        run_epoch = engine_epoch_runner(Objective(network), optimizer, "float64", None)
        with pytest.raises(ValueError, match="sparse samples must"):
            run_epoch(ModelState(theta, optimizer.init(np, theta)), ArrayBatches(BACKEND, data._replace(x=x), SIZE))

    def test_one_layer(self):
        assert_equal_runs(run_both(Network((3, 2))))

    @pytest.mark.parametrize("sizes", [(1100, 4, 2), (3, 600, 2)])  # rows of a gradient are computed 512 at a time
    def test_gradients_in_several_blocks(self, sizes, dtype):
        assert_equal_runs(run_both(Network(sizes, activation="tanh"), adam(), l2=0.1, dtype=dtype))

    @pytest.mark.parametrize("instructions", INSTRUCTIONS)
    @pytest.mark.parametrize("sizes", [(20, 37, 16, 3), (70, 17, 33), (30, 520, 330, 3)])  # tiles and their edges
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_products_of_every_instruction_set(self, sizes, n_threads, instructions, dtype, monkeypatch):
        if instructions not in library._supported():
            pytest.skip(f"this CPU has no {instructions}")
        monkeypatch.setenv("GPUBP_INSTRUCTIONS", instructions)
        network = Network(sizes, activation="tanh", loss="cross_entropy", skips=((0, len(sizes) - 1),))
        assert_equal_runs(run_both(network, size=N_SAMPLES, n_threads=n_threads, dtype=dtype))

    def test_a_batch_whose_samples_count_nothing_changes_nothing(self):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        runner = engine_epoch_runner(Objective(network), optimizer, "float64", None)
        theta = initial_weights(network, 0, dtype="float64")
        model, given = ModelState(theta, optimizer.init(np, theta)), samples(network, "float64")
        given = given._replace(sample_weight=np.zeros(N_SAMPLES))
        result = runner(model, ArrayBatches(BACKEND, given, SIZE))
        np.testing.assert_array_equal(model.theta, theta)
        np.testing.assert_array_equal(result.values, 0.0)

    def test_a_mean_does_not_depend_on_the_sign_of_all_weights(self):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        runner = engine_epoch_runner(Objective(network), optimizer, "float64", None)
        theta, data = initial_weights(network, 0, dtype="float64"), samples(network, "float64", weighted=True)
        ends = []
        for sign in (1.0, -1.0):
            model = ModelState(theta.copy(), optimizer.init(np, theta))
            signed = data._replace(sample_weight=sign * data.sample_weight)
            ends.append((runner(model, ArrayBatches(BACKEND, signed, SIZE)).values, model.theta))
        np.testing.assert_array_equal(ends[0][0], ends[1][0])
        np.testing.assert_array_equal(ends[0][1], ends[1][1])

    def test_columns_and_read_only_samples(self, monkeypatch):
        """Frames come column by column; what may not be written to is not."""
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "always")
        network = Network((3, 5, 2))
        x, targets = samples(network, "float64")[:2]
        fits = []
        for given in (x, np.asfortranarray(x)):
            given.flags.writeable = False
            fits.append(train(network, given, targets, epochs=3, device="cpu", dtype="float64").theta)
        np.testing.assert_array_equal(*fits)


def of_each(*numbers):
    return np.asarray(numbers)[:, None]


class TestStacks:
    @pytest.mark.parametrize("n_threads", [1, 2, 4])
    @pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (3, 5, 4, 3, 2)])
    @pytest.mark.parametrize("own_samples", [False, True])
    def test_agree_with_plain(self, sizes, n_threads, own_samples, dtype):
        runs = run_both(
            Network(sizes), stack=3, n_threads=n_threads, own_samples=own_samples, weighted=True, l2=0.1, dtype=dtype
        )
        assert_equal_runs(runs)

    @pytest.mark.parametrize(
        "optimizer",
        [
            momentum(of_each(0.01, 0.05, 0.1), 0.9),
            momentum(0.05, of_each(0.0, 0.5, 0.9)),
            adam(of_each(0.001, 0.01, 0.1), beta_1=of_each(0.5, 0.9, 0.99)),
            momentum(PiecewiseConstant({0: 0.1, 1.5: 0.01}), of_each(0.0, 0.5, 0.9)),
        ],
    )
    def test_settings_of_their_own(self, optimizer):
        assert_equal_runs(run_both(Network((3, 5, 2)), optimizer, stack=3))

    @pytest.mark.parametrize("shuffled", [False, True])
    def test_one_network_of_a_stack_is_the_network_alone(self, shuffled):
        network = Network((3, 5, 4, 2), loss="cross_entropy")
        stack = run_both(network, stack=2, shuffled=shuffled, n_threads=1)[1]
        alone = run_both(network, shuffled=shuffled, n_threads=1)[1]  # from seed 1, as the second of the stack
        np.testing.assert_array_equal(stack[0].theta[1], alone[0].theta)
        np.testing.assert_array_equal(stack[1].values[:, 1], alone[1].values)

    @pytest.mark.parametrize(
        "network", [Network((3, 2)), Network((3, 5, 4, 2), loss="cross_entropy"), EQUAL_WEIGHTS[0]]
    )
    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("own_samples", [False, True])
    def test_outputs_after_the_last_step(self, network, stack, own_samples, dtype):
        options = {
            "stack": stack,
            "own_samples": own_samples and stack,
            "dtype": dtype,
            "shuffled": False,
            "size": N_SAMPLES,
        }
        model, result = run_both(network, n_threads=3, outputs_wanted=True, **options)[1]
        x = samples(network, dtype, stack=(stack,) if own_samples and stack else ()).x
        assert_agree(result.outputs, output_layer(np, network, model.theta, x).y, "forward")

    @pytest.mark.parametrize("options", [{"outputs_wanted": False}, {"size": SIZE}, {"shuffled": True}])
    def test_outputs_that_are_not_computed(self, options):
        network = Network((3, 5, 2))
        options = {"outputs_wanted": True, "shuffled": False, "size": N_SAMPLES, "stack": 3} | options
        assert run_both(network, **options)[1][1].outputs is None

    def test_one_that_leaves_the_finite_numbers(self):
        optimizer = momentum(of_each(0.01, 1e200, 0.01), 0.9)
        with np.errstate(all="ignore"):
            model, result = run_both(Network((3, 5, 2)), optimizer, stack=3)[1]
        np.testing.assert_array_equal(result.finite, [True, False, True])
        np.testing.assert_array_equal(np.isfinite(model.theta).all(-1), [True, False, True])


class TestOutputs:
    @pytest.mark.parametrize("n_samples", [1, 255, 257, 1000])
    @pytest.mark.parametrize(
        "network",
        [
            Network((3, 5, 4, 2), loss="cross_entropy"),
            Network((3, 2), bias=False),
            Network((3, 5, 4, 2), activation="elu(0.5)", skips=[(0, 2), (0, 3), (1, 3)]),
            Network((3, 5, 5), loss="cross_entropy(2,3)"),
        ],
    )
    def test_agree_with_plain(self, network, n_samples, dtype):
        x = np.random.default_rng(0).normal(size=(n_samples, 3)).astype(dtype)
        theta = initial_weights(network, 0, dtype=dtype)
        assert_agree(engine_outputs(network, theta, x), output_layer(np, network, theta, x).y, "forward")


@pytest.mark.parametrize("sizes", [(3, 5, 2), (70, 90, 4)])
@pytest.mark.parametrize("n_samples", [1, 2, 17, 255, 257, 300])
def test_parts_agree_with_the_whole(sizes, n_samples, dtype):
    """Not to the bit: BLAS adds in another order if there are fewer rows."""
    network = Network(sizes, activation="tanh")
    x = np.random.default_rng(0).normal(size=(600, sizes[0])).astype(dtype)
    theta = initial_weights(network, 0, dtype=dtype)
    part = slice(600 - n_samples, 600)
    assert_agree(engine_outputs(network, theta, x[part]), engine_outputs(network, theta, x)[part], "forward")


def test_one_sample_wherever_it_and_the_parameters_are(dtype):
    network = Network((3, 5, 2), activation="tanh")
    for seed in (0, 1, 0):
        theta = initial_weights(network, seed, dtype=dtype)
        x = np.random.default_rng(seed).normal(size=(2, 3)).astype(dtype)
        expected = output_layer(np, network, theta, x[:1]).y
        apart = np.repeat(theta, 2)[::2]
        unaligned = np.frombuffer(b"." + theta.tobytes(), dtype, offset=1)
        for parameters in (theta, apart, unaligned, theta):
            for sample in (x[:1], np.asfortranarray(x)[:1], x[:1, ::-1].copy()[:, ::-1]):
                found = engine_outputs(network, parameters, sample)
                assert_agree(found, expected, "forward")
        theta *= 2
        assert_agree(engine_outputs(network, theta, x[:1]), output_layer(np, network, theta, x[:1]).y, "forward")
        assert_agree(found, expected, "forward")  # it is the caller's


def test_layers_too_wide_for_blas_are_left_to_numpy(dtype):
    wide = Network((2**31, 1))
    assert structures.network_plan(wide, functions_of(dtype), library.gemm(dtype)) is None
    batch = Batch(np.broadcast_to(np.zeros(1, dtype), (2**31, 1)), np.broadcast_to(np.zeros(1, dtype), (2**31, 1)))
    objective, plain = Objective(Network((1, 1))), object()
    runner = engine_epoch_runner(objective, adam(), dtype, lambda: lambda *given: plain)
    theta = np.zeros(2, dtype)
    assert runner(ModelState(theta, adam().init(np, theta)), ArrayBatches(BACKEND, batch, 2**31)) is plain


def test_a_fit_without_assertions():
    code = (
        "import gpubp; gpubp.train(gpubp.Network((1, 2, 1)), [[1.0]], [[1.0]], epochs=1, device='cpu'); print('done')"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_arrays_whose_addresses_are_passed():
    array = np.arange(12.0).reshape(3, 4)
    assert in_rows(array) is array
    unaligned = np.frombuffer(b"." + array.tobytes(), np.float64, offset=1).reshape(3, 4)
    for other in (unaligned, array[:, ::2], np.asfortranarray(array)):
        copy = in_rows(other)
        assert copy.flags.aligned
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, other)


class TestPredictionsOfCheckedParameters:
    """Parameters are checked once; samples always."""

    @pytest.fixture
    def network(self, monkeypatch):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "always")
        return Network((3, 5, 2))

    def test_parameters_that_are_changed_in_place(self, network, dtype):
        theta = initial_weights(network, 0, dtype=dtype)
        x = np.ones((4, 3), dtype)
        for _ in range(3):
            assert_agree(predict(network, theta, x, device="cpu"), output_layer(np, network, theta, x).y, "forward")
            theta *= 2

    @pytest.mark.parametrize("kind", [">f8", ">f4", "f2", "longdouble", "i8"])
    def test_parameters_of_types_that_are_converted(self, network, kind):
        theta, x = (np.random.default_rng(0).normal(size=n).astype(kind) for n in (network.n_parameters, (4, 3)))
        first = predict(network, theta, x, device="cpu")
        np.testing.assert_array_equal(predict(network, theta, x, device="cpu"), first, strict=True)

    @pytest.mark.parametrize("x", [np.ones((1, 4)), np.full((1, 3), np.nan), np.ones((0, 3)), np.ones(3)])
    def test_samples_that_do_not_fit(self, network, x):
        theta, errors = initial_weights(network, 0, dtype="float64"), []
        for _ in range(2):
            with pytest.raises(DataError) as error:
                predict(network, theta, x, device="cpu")
            errors.append(str(error.value))
            predict(network, theta, np.ones((1, 3)), device="cpu")
        assert errors[0] == errors[1]

    def test_other_parameters_in_the_same_place(self, network):
        good = initial_weights(network, 0, dtype="float64")
        predict(network, good, np.ones((1, 3)), device="cpu")
        for bad in (good[:-1], np.where(good == good[0], np.nan, good), good[None, None]):
            with pytest.raises(DataError, match="theta"):
                predict(network, bad, np.ones((1, 3)), device="cpu")


class TestRunner:
    @pytest.fixture
    def runner(self):
        self.optimizer = adam()
        network = Network((3, 5, 2))
        self.theta = initial_weights(network, 0, dtype="float64")
        self.given = samples(network, "float64")
        return engine_epoch_runner(Objective(network), self.optimizer, "float64", None)

    def test_leaves_what_it_was_given(self, runner):
        state = self.optimizer.init(np, self.theta)
        model, before = ModelState(self.theta, state), self.theta.copy()
        for _ in range(2):
            runner(model, ArrayBatches(BACKEND, self.given, SIZE))
        np.testing.assert_array_equal(self.theta, before)
        np.testing.assert_array_equal(state.first, 0.0)
        assert state.updates == 0
        assert model.state.updates == 6

    def test_an_epoch_makes_new_parameters(self, runner):
        model = ModelState(self.theta, self.optimizer.init(np, self.theta))
        runner(model, ArrayBatches(BACKEND, self.given, SIZE))
        kept = model.theta
        before = kept.copy()
        runner(model, ArrayBatches(BACKEND, self.given, SIZE))
        np.testing.assert_array_equal(kept, before)

    def test_a_part_of_an_epochs_parameters_keeps_them(self, runner):
        model, kept = ModelState(self.theta, self.optimizer.init(np, self.theta)), []
        for _ in range(4):
            runner(model, ArrayBatches(BACKEND, self.given, SIZE))
            kept.append((model.theta[2:], model.theta[2:].copy()))
        for part, before in kept:
            np.testing.assert_array_equal(part, before)

    def test_unreferenced_parameters_are_reused(self, runner):
        model, places = ModelState(self.theta, self.optimizer.init(np, self.theta)), []
        for _ in range(6):
            runner(model, ArrayBatches(BACKEND, self.given, SIZE))
            places.append(model.theta.ctypes.data)
        assert len(set(places)) == 2

    @pytest.mark.parametrize("where", [0, -1])
    def test_tells_whether_the_parameters_are_finite(self, runner, where):
        model = ModelState(self.theta.copy(), self.optimizer.init(np, self.theta))
        batches = ArrayBatches(BACKEND, self.given, SIZE)
        assert runner(model, batches).finite
        model.theta[where] = np.inf
        with np.errstate(all="ignore"):
            assert not runner(model, batches).finite

    @pytest.mark.parametrize("before", [True, False])
    def test_interrupted_training_keeps_the_steps_taken(self, runner, monkeypatch, before):
        """Python looks at Ctrl-C before the steps of a call, or when they are done."""
        model = ModelState(self.theta, self.optimizer.init(np, self.theta))
        run, calls = threads.Crew.run, []
        monkeypatch.setattr(thread_choice, "SECONDS_OF_A_CALL", 1e6)
        monkeypatch.setattr(thread_choice, "SECONDS_OF_A_TRIAL", 1e6)

        def interrupted(*arguments):
            calls.append(arguments)
            if not before or len(calls) == 1:
                run(*arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(threads.Crew, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner(model, ArrayBatches(BACKEND, self.given, 1))
        # the first call takes one step, the second all others
        assert model.state.updates == (1 if before else N_SAMPLES)
        assert np.any(model.theta != self.theta)

    def test_an_error_before_the_first_step_leaves_the_model_alone(self, runner, monkeypatch):
        def fail(*_):
            raise MemoryError

        model = ModelState(self.theta, self.optimizer.init(np, self.theta))
        monkeypatch.setattr(threads.Crew, "run", fail)
        with pytest.raises(MemoryError):
            runner(model, ArrayBatches(BACKEND, self.given, 4))
        assert model.theta is self.theta
        assert model.state.updates == 0

    @pytest.mark.parametrize("theta", [np.asfortranarray, lambda theta: np.repeat(theta, 2, axis=-1)[..., ::2]])
    def test_parameters_in_other_than_rows(self, theta):
        network, thetas = Network((3, 4, 2)), []
        given = initial_weights(network, range(3), dtype="float64")
        for start in (given, theta(given)):
            run_epoch = engine_epoch_runner(Objective(network), momentum(), "float64", None)
            model = ModelState(start, momentum().init(np, given))
            run_epoch(model, ArrayBatches(BACKEND, samples(network, "float64"), 4))
            thetas.append(model.theta)
        np.testing.assert_array_equal(thetas[0], thetas[1])

    def test_parameters_that_are_held_in_turn_need_no_new_memory(self, runner):
        """The loop holds those of the epoch before and of the best one."""
        model, made, best = ModelState(self.theta, self.optimizer.init(np, self.theta)), [], None
        for epoch in range(30):
            before = model.theta
            runner(model, ArrayBatches(BACKEND, self.given, 4))
            if all(known() is not model.theta for known in made):
                made.append(weakref.ref(model.theta))
            best = model.theta if epoch in (0, 5, 6, 7, 12, 20) else best
        assert len(made) == 3
        assert before is not model.theta is not best

    def test_batches_of_another_kind_find_room(self, runner):
        model = ModelState(self.theta, self.optimizer.init(np, self.theta))
        weighted = self.given._replace(sample_weight=np.ones(N_SAMPLES))
        results = []
        for given, order in ((self.given, None), (self.given, np.arange(N_SAMPLES)), (weighted, np.arange(N_SAMPLES))):
            model.theta, model.state = self.theta, self.optimizer.init(np, self.theta)
            for size in (2, SIZE):
                runner(model, ArrayBatches(BACKEND, given, size, order))
            results.append(model.theta)
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_allclose(results[0], results[2], rtol=1e-12)

    def test_two_runs_give_the_same_bits(self):
        network = Network((40, 30, 10), loss="cross_entropy")
        runs = [run_both(network, adam(), dtype="float32", n_threads=2)[1][0].theta for _ in range(2)]
        np.testing.assert_array_equal(*runs)

    @pytest.mark.parametrize(
        ("activation", "optimizer"),
        [
            ("relu", replace(momentum(), update=adam().update)),
            ("relu", replace(adam(), init=lambda xp, theta: ThreeArrays(*[xp.zeros_like(theta)] * 3))),
            ("own", momentum()),
        ],
    )
    def test_what_is_not_in_the_library_is_run_on_the_plain_path(self, activation, optimizer, monkeypatch):
        monkeypatch.setitem(ACTIVATIONS, "own", ACTIVATIONS["tanh"])
        plain = object()
        network = Network((3, 4, 2), activation=activation)
        assert engine_epoch_runner(Objective(network), optimizer, "float64", lambda: plain) is plain


PARTS = {
    "weighted": {"weighted": True, "l2": 0.1},
    "sum": {"reduction": "sum", "optimizer": clipped(momentum(0.01), 0.5), "l2": 0.1},
    "equal weights": {"network": EQUAL_WEIGHTS[0]},
    "skip connections": {"network": Network((3, 4, 4, 2), activation="tanh", skips=((0, 3),))},
    "missing connections": {"network": with_blocks(Network((3, 5, 4), activation="tanh"), 1, [(1, 2), (2, 3)])},
    "dropout": {"dropout": (0.2, 0.3, 0.5), "shuffled": False},
    "stack": {"stack": 3, "weighted": True},
    "own samples": {"stack": 3, "own_samples": True, "dropout": (0.2, 0.3, 0.5)},
}


class TestBatchesInParts:
    """Gradients summed over parts of a batch, and over processes."""

    @pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
    @pytest.mark.parametrize(("parts", "n_threads"), [(3, 1), (2, 3), (30, 2)])
    def test_parts_of_a_batch(self, options, parts, n_threads, dtype):
        options = {"network": Network((3, 5, 4, 2), activation="tanh"), "optimizer": adam()} | options
        assert_equal_runs(run_both(dtype=dtype, parts=parts, n_threads=n_threads, **options))

    @pytest.mark.parametrize("options", PARTS.values(), ids=PARTS)
    @pytest.mark.parametrize(
        ("n_processes", "parts", "size", "dtype"),
        [(2, 1, SIZE, "float32"), (3, 2, SIZE, "float64"), (3, 1, 2, "float64"), (2, 1, N_SAMPLES, "float64")],
    )
    def test_processes(self, options, n_processes, parts, size, dtype):
        def run(processes):
            return run_both(**options | {"parts": parts, "size": size, "dtype": dtype, "processes": processes})

        options = {"network": Network((3, 5, 4, 2), activation="tanh"), "optimizer": adam()} | options
        runs = results_of(run_on_ranks(n_processes, run))
        for one in runs:
            assert_equal_runs(one)
            np.testing.assert_array_equal(one[1][0].theta, runs[0][1][0].theta)
            np.testing.assert_array_equal(one[1][1].values, runs[0][1][1].values)

    def test_sparse_samples_in_parts(self, dtype):
        network, optimizer = Network((9, 7, 2)), adam()
        objective, data = Objective(network, l2=0.1, parts=3), samples(network, dtype)
        dense = np.where(data.x > 0.5, data.x, 0.0).astype(dtype)
        runs, theta = [], initial_weights(network, 0, dtype=dtype)
        plain, engine = (
            plain_runner(objective, optimizer, dtype),
            engine_epoch_runner(objective, optimizer, dtype, None),
        )
        for run_epoch, x in ((plain, dense), (engine, scipy.sparse.csr_array(dense))):
            model = ModelState(theta, optimizer.init(np, theta))
            for _ in range(3):
                result = run_epoch(model, ArrayBatches(BACKEND, data._replace(x=x), SIZE))
            runs.append((model, result))
        assert_equal_runs(runs)

    def test_memory_is_that_of_a_part(self):
        network = Network((3, 64, 2))
        rooms = []
        for parts in (1, 16):
            x = np.zeros((4096, 3))
            runner = engine_epoch_runner(Objective(network, parts=parts), momentum(), "float64", None)
            theta = initial_weights(network, 0, dtype="float64")
            model = ModelState(theta, momentum().init(np, theta))
            runner(model, ArrayBatches(BACKEND, Batch(x, np.zeros((4096, 2))), 4096, np.arange(4096)))
            rooms.append(runner.place.memory.size)
        assert rooms[1] < rooms[0] / 8


class ThreeArrays(NamedTuple):
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray


class TestChoice:
    def test_something_else(self, monkeypatch):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "yes")
        with pytest.raises(DataError, match="GPUBP_COMPILED must be one of auto, always, never, got 'yes'"):
            train(Network((1, 1)), [[1.0]], [[1.0]], device="cpu", epochs=1)

    @pytest.mark.parametrize("asked", ["always", "never"])
    def test_training_uses_what_is_requested(self, monkeypatch, asked):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, asked)
        called, take_steps = [], threads.Crew.run
        monkeypatch.setattr(threads.Crew, "run", lambda *args: (called.append(args), take_steps(*args)))
        train(Network((1, 1)), [[1.0]], [[1.0]], device="cpu", epochs=2)
        assert len(called) == (2 if asked == "always" else 0)


FUNCTIONS = {"exp": np.exp, "elu(1)": np.expm1, "tanh": np.tanh}


def apply(name, x):
    functions = functions_of(str(x.dtype))
    kind = ctypes.c_float if x.dtype == np.float32 else ctypes.c_double
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    value = ctypes.CFUNCTYPE(None, kind, integer, integer, integer, pointer, pointer)
    y = np.empty_like(x)
    find = functions.find(b"value " + name.partition("(")[0].encode())
    value(find)(1.0, 1, len(x), len(x), address(x), address(y))
    return y


class TestElementaryFunctions:
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_accuracy(self, name, dtype):
        info = np.finfo(dtype)
        rng = np.random.default_rng(0)
        most = 1.01 * np.log(float(info.max))
        x = np.concatenate([rng.normal(size=5000), rng.uniform(-most, most, 5000), 10.0 ** rng.uniform(-20, 1, 2000)])
        x = x.astype(dtype)
        if name == "elu(1)":
            x = -np.abs(x)
        expected = FUNCTIONS[name](x.astype("longdouble"))
        y, tiny = apply(name, x), 5.0 * float(info.smallest_normal)
        ordinary = (np.abs(expected) < float(info.max)) & (np.abs(expected) > tiny)
        assert np.sum(ordinary) > 8000
        units = np.abs(y[ordinary] - expected[ordinary]) / np.spacing(np.abs(expected[ordinary]).astype(dtype))
        assert np.max(units) < 3.0
        small = np.abs(expected) <= tiny
        assert np.any(small) == (name == "exp")
        np.testing.assert_allclose(y[small], expected[small].astype(dtype), rtol=0, atol=tiny)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_edges(self, name, dtype):
        x = np.asarray([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], dtype)
        with np.errstate(over="ignore"):
            expected = np.where(x > 0, x, FUNCTIONS[name](x)) if name == "elu(1)" else FUNCTIONS[name](x)
        np.testing.assert_array_equal(apply(name, x), expected)
        if name == "tanh":
            assert np.signbit(apply(name, x)[1])


PARAMETRIC = {
    "one": {"network": Network((3, 11, 2), activation="parametric(selu)")},
    "two": {"network": Network((3, 130, 7, 2), activation=("parametric(mish)", "parametric(elu(0.5))"))},
    "some": {"network": Network((3, 5, 6, 4, 2), activation=("tanh", "parametric(gelu)", "relu"), bias=False)},
    "skips": {"network": Network((3, 6, 6, 3), activation="parametric(tanh)", skips=[(0, 2), (1, 3)])},
    "absent": {"network": with_blocks(Network((3, 5, 4, 2), activation="parametric(silu)"), 1, [(1, 2), (2, 3)])},
    "tied": {"network": with_sums(Network((3, 5, 4, 2), activation="parametric(silu)"), 2, [2, 3])},
    "dropout": {"dropout": (0.2, 0.3, 0.5)},
    "dropout of one layer": {"dropout": (0.0, 0.0, 0.5)},
    "weighted": {"weighted": True, "l2": 0.1},
    "sum": {"reduction": "sum", "optimizer": momentum(0.001)},
    "clipped": {"optimizer": clipped(momentum(0.05, 0.9), 0.1), "l2": 0.1},
    "decayed": {"optimizer": decayed(adam(), 0.01)},
    "parts": {"parts": 3, "dropout": (0.2, 0.3, 0.5)},
    "stack": {"stack": 3, "own_samples": True, "dropout": (0.2, 0.3, 0.5)},
    "full batch": {"size": N_SAMPLES, "shuffled": False},
}


class TestParametricActivations:
    NETWORK = Network((3, 7, 11, 3), activation=("parametric(selu)", "parametric(mish)"), loss="cross_entropy")

    @pytest.mark.parametrize("n_threads", [1, 2, 5])
    @pytest.mark.parametrize("name", PARAMETRIC)
    def test_agree_with_plain(self, name, n_threads, dtype):
        options = {"network": self.NETWORK, "optimizer": adam(0.02)} | PARAMETRIC[name]
        runs = run_both(n_threads=n_threads, dtype=dtype, **options)
        assert_equal_runs(runs)
        last = sum(options["network"].activation_weights)
        assert np.all(runs[1][0].theta[..., -last:] != 1.0)

    def test_with_their_own_rates(self, dtype):
        factors = ntk_rate_factors(self.NETWORK, bias=0.1, activation=0.1)
        mask = self.NETWORK.weight_mask()
        assert_equal_runs(run_both(self.NETWORK, rate_scaled(decay_scaled(adamw(0.02), mask), factors), dtype))

    @pytest.mark.parametrize("n_samples", [1, 255, 257, 1000])
    @pytest.mark.parametrize("name", ["one", "two", "some", "skips"])
    def test_outputs(self, name, n_samples, dtype):
        network = PARAMETRIC[name]["network"]
        rng = np.random.default_rng(0)
        x = rng.normal(size=(n_samples, 3)).astype(dtype)
        theta = rng.normal(0.0, 0.5, network.n_parameters).astype(dtype)
        assert_agree(engine_outputs(network, theta, x), output_layer(np, network, theta, x).y, "forward")


FALLING = Cosine(0.6, 2)  # 0 from the third epoch on


class TestDropout:
    NETWORK = Network((5, 7, 11, 3), activation="tanh", loss="cross_entropy")

    @pytest.mark.parametrize("n_threads", [1, 2, 5])
    @pytest.mark.parametrize("shuffled", [False, True])
    @pytest.mark.parametrize("rates", [(0.0, 0.3, 0.5), (0.2, 0.0, 0.0), (0.2, 0.3, 0.5), (FALLING, 0.3, FALLING)])
    def test_one_network(self, rates, shuffled, n_threads, dtype):
        assert_equal_runs(
            run_both(self.NETWORK, adam(), dtype, n_threads, shuffled=shuffled, dropout=rates, weighted=shuffled)
        )

    @pytest.mark.parametrize(
        "network",
        [
            Network((5, 4), loss="cross_entropy"),
            Network((5, 6, 6, 3), loss="cross_entropy", skips=[(0, 2), (1, 3)]),
            Network((5, 130, 3), loss="cross_entropy"),
        ],
    )
    @pytest.mark.parametrize("options", [{}, {"optimizer": clipped(momentum(0.05, 0.9), 0.1)}, {"l2": 0.1}])
    def test_networks_and_options(self, network, options):
        assert_equal_runs(run_both(network, dropout=(0.2, 0.3, 0.4)[: len(network.sizes) - 1], **options))

    @pytest.mark.parametrize("size", [1, N_SAMPLES, 100])
    def test_batches(self, size):
        assert_equal_runs(run_both(self.NETWORK, size=size, dropout=(0.2, 0.3, 0.5)))

    @pytest.mark.parametrize("own_samples", [False, True])
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_stack(self, shuffled, own_samples, dtype):
        options = {"stack": 3, "shuffled": shuffled, "own_samples": own_samples}
        assert_equal_runs(run_both(self.NETWORK, dtype=dtype, dropout=(0.2, 0.3, 0.5), **options))

    @pytest.mark.parametrize("shared_orders", [False, True])
    @pytest.mark.parametrize("rates", [(0.0, 0.3, 0.5), (0.2, 0.3, 0.5)])
    def test_networks_with_their_own_rows(self, rates, shared_orders):
        network, optimizer, data = self.NETWORK, adam(), samples(self.NETWORK, "float64", weighted=True)
        counts = np.asarray([N_SAMPLES] * 5 if shared_orders else [23, 20, 17, 18, 22])
        models = []
        for compiled in (False, True):
            plain = plain_runner(Objective(network), optimizer, "float64")
            runner = engine_epoch_runner(Objective(network), optimizer, "float64", lambda plain=plain: plain)
            theta, rng = initial_weights(network, range(5), dtype="float64"), np.random.default_rng(0)
            model = ModelState(theta, optimizer.init(np, theta))
            for epoch in range(3):
                orders = [rng.permutation(N_SAMPLES)[:n] for n in (counts[:1] if shared_orders else counts)]
                starts = np.zeros(5, int) if shared_orders else np.cumsum([0, *counts[:-1]])
                dropout = dropout_of(network, rates, 5).at(epoch=epoch)
                batches = PerNetworkBatches(
                    BACKEND,
                    data._replace(sample_weight=None),
                    SIZE,
                    np.concatenate(orders),
                    starts,
                    counts,
                    None,
                    dropout,
                )
                result = (runner if compiled else plain)(model, batches)
                model.epoch += 1
            models.append((model, result))
        (plain_model, expected), (model, result) = models
        assert_agree(model.theta, plain_model.theta, "steps")
        np.testing.assert_allclose(result.values, expected.values, rtol=1e-10)

    def test_several_epochs_in_one_call_and_parts_of_one(self):
        network, optimizer, data = self.NETWORK, adam(), samples(self.NETWORK, "float64")
        orders = np.stack([np.random.default_rng(k).permutation(N_SAMPLES) for k in range(4)])
        thetas = []
        for calls in ([4], [1, 3], "parts"):
            runner = engine_epoch_runner(Objective(network), optimizer, "float64", None)
            theta = initial_weights(network, 0, dtype="float64")
            model, start = ModelState(theta, optimizer.init(np, theta)), 0
            for n in [1] * 4 if calls == "parts" else calls:
                dropout = dropout_of(network, (0.2, FALLING, 0.5)).at(epoch=start)
                order = orders[start : start + n]
                batches = ArrayBatches(BACKEND, data, 3, order if n > 1 else order[0], n, dropout=dropout)
                for part in BatchesInParts(batches, 2) if calls == "parts" else (batches,):
                    runner(model, part)
                start, model.epoch = start + n, model.epoch + n
            thetas.append(model.theta)
        np.testing.assert_array_equal(thetas[0], thetas[1])
        np.testing.assert_array_equal(thetas[0], thetas[2])


def vanish():
    """Whether c/subnormal.h knows how to make subnormal numbers 0 on this processor."""
    machine = platform.machine().lower()
    return machine in ("x86_64", "amd64") or (machine in ("aarch64", "arm64") and sys.platform != "win32")


@pytest.mark.parametrize("stack", [(), (3,)])
def test_subnormal_numbers_become_zero_in_a_step_but_not_after_it(stack):
    smallest = np.finfo(np.float32).smallest_normal
    network = Network((3, 2, 1))
    theta = np.full((*stack, network.n_parameters), 4.0 * smallest, np.float32)
    X, targets = np.zeros((8, 3), np.float32), np.zeros((8, 1), np.float32)
    seed = list(range(stack[0])) if stack else 0
    options = {"theta": theta, "optimizer": decayed(gradient_descent(1e-30), 0.8), "epochs": 1, "seed": seed}
    fit = train(network, X, targets, device="cpu", dtype="float32", batch_size=8, **options)
    left = np.float32(0.2) * theta
    np.testing.assert_allclose(fit.theta, np.zeros_like(left) if vanish() else left, rtol=1e-5)
    assert 0.0 < left.max() < smallest
