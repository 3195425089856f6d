"""The compiled epoch compared with the plain one, its threads, and the cases that it leaves to the plain one."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba, of the extra 'fast', is not installed")

from gpubp.engine.cpu.mailbox import next_request, number_of_request, times_passed, wait_for_all
from gpubp.engine.cpu.rows import pointer_into, sum_of_rows, sum_of_squares
from gpubp.engine.cpu.steps import take_part
from numba import njit
from threadpoolctl import threadpool_info, threadpool_limits

from gpubp.backends.backend import choose_backend
from gpubp.engine import cpu
from gpubp.engine import epoch as epoch_module
from gpubp.engine.cpu import compiling, scalar, threads
from gpubp.engine.cpu import epoch as compiled_sweeps
from gpubp.engine.cpu.epoch import CompiledEpochRunner, compiled_epoch_runner
from gpubp.engine.cpu.outputs import compiled_outputs
from gpubp.engine.plain.dropout import with_dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective, make_step
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.architectures import with_blocks, with_equal_layers, with_fields, with_sums
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network, output_layer
from gpubp.optim.first_order import OPTIMIZERS, adam, clipped, decayed, momentum
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.testing import assert_agree
from gpubp.training.fit import train

BACKEND = choose_backend("cpu")
N_SAMPLES, SIZE = 23, 8  # the last batch has 7 samples


def samples(network, dtype, weighed=False, seed=0, stack=()):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*stack, N_SAMPLES, network.sizes[0]))
    targets = rng.dirichlet(np.ones(network.sizes[-1]), (*stack, N_SAMPLES))  # fits every error
    weights = rng.uniform(0.0, 2.0, (*stack, N_SAMPLES)).astype(dtype) if weighed else None
    return Batch(x.astype(dtype), targets.astype(dtype), weights)


def plain_and_compiled(
    network,
    optimizer=None,
    dtype="float64",
    n_threads=2,
    epochs=3,
    size=SIZE,
    shuffled=True,
    weighed=False,
    stack=None,
    own_samples=False,
    first_layer_apart=True,
    outputs_wanted=False,
    **objective,
):
    """Epoch the plain way and the compiled one from one position; where both end, and what they say."""
    optimizer, objective = optimizer or momentum(0.05, 0.9), Objective(network, **objective)
    plain = partial(epoch_module._step_by_step, BACKEND.xp, make_step(BACKEND, objective, optimizer, dtype))
    compiled = compiled_epoch_runner(objective, optimizer, dtype, lambda: plain, outputs_wanted=outputs_wanted)
    assert isinstance(compiled, CompiledEpochRunner)
    seen = []
    for way in (plain, compiled):
        seeds = 1 if stack is None else range(stack)
        theta = initial_weights(network, seeds, scheme="uniform", scale=0.5, dtype=dtype)
        position, rng = ModelState(theta, optimizer.init(np, theta)), np.random.default_rng(2)
        given = samples(network, dtype, weighed, stack=(stack,) if own_samples else ())
        for _ in range(epochs):
            order = rng.permutation(N_SAMPLES) if shuffled else None
            with patch.multiple(
                compiled_sweeps,
                threads_allowed=lambda: n_threads,
                WORTH_A_THREAD=1.0,
                UNITS_OF_A_THREAD=1,
                WORTH_THE_WAY=1 if first_layer_apart else N_SAMPLES + 1,
            ):
                result = way(position, ArrayBatches(BACKEND, given, size, order))
            position.epoch += 1
        seen.append((position, result))
    return seen


def assert_same(seen, kind="steps"):
    (plain, told), (compiled, also_told) = seen
    assert_agree(compiled.theta, plain.theta, kind)
    assert type(compiled.state) is type(plain.state)
    for part, other in zip(compiled.state, plain.state, strict=True):
        if isinstance(other, int):
            assert part == other
        else:
            assert_agree(part, other, kind)
    dtype = plain.theta.dtype
    assert_agree(also_told.values.astype(dtype), told.values.astype(dtype), kind)
    assert_agree(also_told.weights.astype(dtype), told.weights.astype(dtype), kind)
    np.testing.assert_array_equal(also_told.sizes, told.sizes)
    np.testing.assert_array_equal(also_told.finite, told.finite, strict=True)


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


EQUAL_WEIGHTS = [
    with_sums(with_fields(Network((12, 8, 2), activation="tanh"), 1, (3, 4), (2, 3), n_feature_maps=2), 2, [4, 4]),
    with_equal_layers(Network((3, 3, 3, 3), activation="logistic", output_activation="logistic", bias=False), [1, 3]),
]


class TestCompiledAgreesWithPlain:
    @pytest.mark.parametrize("unit", [*ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)"])
    def test_units(self, unit, dtype):
        assert_same(plain_and_compiled(Network((3, 5, 4, 2), activation=unit), dtype=dtype))

    @pytest.mark.parametrize("error", [*LOSSES, "huber(0.1)"])
    @pytest.mark.parametrize("weighed", [False, True])
    def test_errors_on_their_own_unit(self, error, weighed, dtype):
        assert_same(plain_and_compiled(Network((3, 5, 4), activation="tanh", loss=error), dtype=dtype, weighed=weighed))

    @pytest.mark.parametrize("error", [name for name in LOSSES if not get_loss(name).above_zero])
    def test_errors_on_the_logistic(self, error, dtype):
        assert_same(plain_and_compiled(Network((3, 5, 4), output_activation="logistic", loss=error), dtype=dtype))

    def test_softmax_with_another_error(self, dtype):
        assert_same(plain_and_compiled(Network((3, 5, 4), output_activation="softmax"), dtype=dtype))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_optimizers(self, optimizer, dtype):
        assert_same(
            plain_and_compiled(
                Network((3, 5, 4), activation="tanh", loss="cross_entropy"), OPTIMIZERS[optimizer](), dtype=dtype
            )
        )

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_schedules(self, optimizer):
        assert_same(
            plain_and_compiled(
                Network((3, 5, 4)), optimizer(learning_rate=PiecewiseConstant({0: 0.1, 0.4: 0.01, 1.5: 0.3}))
            )
        )

    @pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
    @pytest.mark.parametrize("sizes", [(3, 5, 4), (3, 5, 6, 4), (3, 7, 5, 6, 4)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_any_number_of_threads(self, sizes, n_threads, bias, dtype):
        network = Network(sizes, activation="tanh", loss="cross_entropy", bias=bias)
        assert_same(plain_and_compiled(network, n_threads=n_threads, dtype=dtype, l2=0.1, weighed=True))

    @pytest.mark.parametrize(
        "optimizer",
        [OPTIMIZERS["gradient_descent"](0.1), momentum(0.05, 0.9), adam(), decayed(adam(), 0.1)],
        ids=lambda optimizer: optimizer.name,
    )
    @pytest.mark.parametrize("bias", [True, False], ids=["biases", "no-biases"])
    def test_the_first_layer_apart_or_where_it_is(self, optimizer, bias):
        network = Network((3, 7, 6, 2), bias=bias)
        apart, common = (
            plain_and_compiled(network, optimizer, n_threads=3, l2=0.1, first_layer_apart=first_layer_apart)
            for first_layer_apart in (True, False)
        )
        assert_same(apart)
        np.testing.assert_array_equal(apart[1][0].theta, common[1][0].theta)

    @pytest.mark.parametrize("size", [1, 3, 22, 23])  # the last batch of 22 has one sample
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_batches_of_fewer_samples_than_threads(self, size, shuffled):
        network = Network((3, 7, 6, 4), activation="tanh", loss="cross_entropy")
        assert_same(
            plain_and_compiled(network, n_threads=5, size=size, shuffled=shuffled and size < N_SAMPLES, weighed=True)
        )

    def test_threads_take_part(self, monkeypatch):
        crews, make = [], threads.Crew
        monkeypatch.setattr(compiled_sweeps, "Crew", lambda n, *given: (crews.append(n), make(n, *given))[1])
        plain_and_compiled(Network((3, 7, 6, 2)), n_threads=5)
        plain_and_compiled(Network((3, 7, 6, 2), activation="softmax"), n_threads=5)  # needs all units of a layer
        plain_and_compiled(Network((3, 2)), n_threads=5)
        assert crews == [5, 1, 1]

    @pytest.mark.parametrize("options", [{"reduction": "sum"}, {"l2": 0.3}, {"l2": 0.3, "penalty_reported": False}])
    @pytest.mark.parametrize("weighed", [False, True])
    def test_objectives(self, options, weighed):
        assert_same(plain_and_compiled(Network((3, 5, 4)), weighed=weighed, **options))

    def test_samples_in_their_own_order(self):
        assert_same(plain_and_compiled(Network((3, 5, 4)), shuffled=False, weighed=True))

    def test_without_biases(self):
        assert_same(plain_and_compiled(Network((3, 5, 4), activation="tanh", bias=False), l2=0.1))

    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_connections_that_are_missing(self, n_threads, dtype):
        network = with_blocks(Network((3, 5, 4), activation="tanh"), 1, [(1, 2), (2, 3)])
        assert_same(plain_and_compiled(network, adam(), n_threads=n_threads, dtype=dtype, l2=0.1))

    @pytest.mark.parametrize("network", EQUAL_WEIGHTS)
    @pytest.mark.parametrize("stack", [None, 3])
    def test_weights_that_are_equal(self, network, stack, dtype, monkeypatch):
        monkeypatch.setattr(compiled_sweeps, "ROWS", 2)
        seen = plain_and_compiled(network, stack=stack, n_threads=3, dtype=dtype, l2=0.1, weighed=True)
        assert_same(seen)
        theta = seen[1][0].theta
        np.testing.assert_array_equal(theta, network.tied.tie(theta))

    @pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), lambda: decayed(adam(), 0.1)])
    def test_optimizers_for_weights_that_are_equal(self, optimizer):
        assert_same(plain_and_compiled(EQUAL_WEIGHTS[0], optimizer(), stack=2))

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_optimizers_that_let_the_weights_decay(self, optimizer, dtype):
        assert_same(
            plain_and_compiled(
                Network((3, 5, 4)), decayed(optimizer(), PiecewiseConstant({0: 0.01, 0.5: 0.1})), dtype=dtype
            )
        )

    def test_one_layer(self):
        assert_same(plain_and_compiled(Network((3, 2))))

    def test_gradients_in_several_blocks(self, monkeypatch):
        monkeypatch.setattr(compiled_sweeps, "ROWS", 3)
        assert_same(plain_and_compiled(Network((9, 17, 5, 2), activation="tanh"), adam(), l2=0.1))

    def test_a_batch_whose_samples_count_nothing_changes_nothing(self):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        compiled = compiled_epoch_runner(Objective(network), optimizer, "float64", None)
        theta = initial_weights(network, 0, dtype="float64")
        position, given = ModelState(theta, optimizer.init(np, theta)), samples(network, "float64")
        given = given._replace(sample_weight=np.zeros(N_SAMPLES))
        result = compiled(position, ArrayBatches(BACKEND, given, SIZE))
        np.testing.assert_array_equal(position.theta, theta)
        np.testing.assert_array_equal(result.values, 0.0)

    def test_a_mean_does_not_depend_on_the_sign_of_all_weights(self):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        compiled = compiled_epoch_runner(Objective(network), optimizer, "float64", None)
        theta, data = initial_weights(network, 0, dtype="float64"), samples(network, "float64", weighed=True)
        ends = []
        for sign in (1.0, -1.0):
            position = ModelState(theta.copy(), optimizer.init(np, theta))
            signed = data._replace(sample_weight=sign * data.sample_weight)
            ends.append((compiled(position, ArrayBatches(BACKEND, signed, SIZE)).values, position.theta))
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
        seen = plain_and_compiled(
            Network(sizes), stack=3, n_threads=n_threads, own_samples=own_samples, weighed=True, l2=0.1, dtype=dtype
        )
        assert_same(seen)

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
        assert_same(plain_and_compiled(Network((3, 5, 2)), optimizer, stack=3))

    @pytest.mark.parametrize("shuffled", [False, True])
    def test_one_network_of_a_stack_is_the_network_alone(self, shuffled):
        network = Network((3, 5, 4, 2), loss="cross_entropy")
        stack = plain_and_compiled(network, stack=2, shuffled=shuffled, n_threads=1)[1]
        alone = plain_and_compiled(network, shuffled=shuffled, n_threads=1)[
            1
        ]  # from seed 1, as the second of the stack
        np.testing.assert_array_equal(stack[0].theta[1], alone[0].theta)
        np.testing.assert_array_equal(stack[1].values[:, 1], alone[1].values)

    @pytest.mark.parametrize("network", [Network((3, 2)), Network((3, 5, 4, 2), activation="tanh"), EQUAL_WEIGHTS[0]])
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
        position, result = plain_and_compiled(network, n_threads=3, outputs_wanted=True, **options)[1]
        x = samples(network, dtype, stack=(stack,) if own_samples and stack else ()).x
        assert_agree(result.outputs, output_layer(np, network, position.theta, x).y, "forward")

    @pytest.mark.parametrize(
        "options", [{"outputs_wanted": False}, {"size": SIZE}, {"shuffled": True}, {"loss": "cross_entropy"}]
    )
    def test_outputs_that_are_not_at_hand(self, options):
        network = Network((3, 5, 2), loss=options.get("loss", "squared"))
        options = {name: value for name, value in options.items() if name != "loss"}
        options = {"outputs_wanted": True, "shuffled": False, "size": N_SAMPLES, "stack": 3} | options
        assert plain_and_compiled(network, **options)[1][1].outputs is None

    def test_one_that_leaves_the_finite_numbers(self):
        optimizer = momentum(of_each(0.01, 1e200, 0.01), 0.9)
        with np.errstate(all="ignore"):
            position, result = plain_and_compiled(Network((3, 5, 2)), optimizer, stack=3)[1]
        np.testing.assert_array_equal(result.finite, [True, False, True])
        np.testing.assert_array_equal(np.isfinite(position.theta).all(-1), [True, False, True])


class TestOutputs:
    @pytest.mark.parametrize("n_samples", [1, 255, 257, 1000])
    @pytest.mark.parametrize("network", [Network((3, 5, 4, 2), loss="cross_entropy"), Network((3, 2), bias=False)])
    def test_agree_with_plain(self, network, n_samples, dtype):
        x = np.random.default_rng(0).normal(size=(n_samples, 3)).astype(dtype)
        theta = initial_weights(network, 0, dtype=dtype)
        assert_agree(compiled_outputs(network, theta, x), output_layer(np, network, theta, x).y, "forward")


class TestSweep:
    @pytest.fixture
    def compiled(self):
        self.optimizer = adam()
        network = Network((3, 5, 2))
        self.theta = initial_weights(network, 0, dtype="float64")
        self.given = samples(network, "float64")
        return compiled_epoch_runner(Objective(network), self.optimizer, "float64", None)

    def test_leaves_what_it_was_given(self, compiled):
        state = self.optimizer.init(np, self.theta)
        position, before = ModelState(self.theta, state), self.theta.copy()
        for _ in range(2):
            compiled(position, ArrayBatches(BACKEND, self.given, SIZE))
        np.testing.assert_array_equal(self.theta, before)
        np.testing.assert_array_equal(state.first, 0.0)
        assert state.updates == 0
        assert position.state.updates == 6

    def test_an_epoch_makes_new_parameters(self, compiled):
        position = ModelState(self.theta, self.optimizer.init(np, self.theta))
        compiled(position, ArrayBatches(BACKEND, self.given, SIZE))
        kept = position.theta
        before = kept.copy()
        compiled(position, ArrayBatches(BACKEND, self.given, SIZE))
        np.testing.assert_array_equal(kept, before)

    def test_a_part_of_an_epochs_parameters_keeps_them(self, compiled):
        position, kept = ModelState(self.theta, self.optimizer.init(np, self.theta)), []
        for _ in range(4):
            compiled(position, ArrayBatches(BACKEND, self.given, SIZE))
            kept.append((position.theta[2:], position.theta[2:].copy()))
        for part, before in kept:
            np.testing.assert_array_equal(part, before)

    def test_unreferenced_parameters_are_reused(self, compiled):
        position, places = ModelState(self.theta, self.optimizer.init(np, self.theta)), []
        for _ in range(6):
            compiled(position, ArrayBatches(BACKEND, self.given, SIZE))
            places.append(position.theta.ctypes.data)
        assert len(set(places)) == 2

    @pytest.mark.parametrize("where", [0, -1])
    def test_tells_whether_the_parameters_are_finite(self, compiled, where):
        position = ModelState(self.theta.copy(), self.optimizer.init(np, self.theta))
        batches = ArrayBatches(BACKEND, self.given, SIZE)
        assert compiled(position, batches).finite
        position.theta[where] = np.inf
        with np.errstate(all="ignore"):
            assert not compiled(position, batches).finite

    @pytest.mark.parametrize("before", [True, False])
    def test_interrupted_keeps_what_was_learned(self, compiled, monkeypatch, before):
        """Python looks at Ctrl-C before the steps of a call, or when they are done."""
        position = ModelState(self.theta, self.optimizer.init(np, self.theta))
        run, calls = threads.Crew.run, []

        def interrupted(*arguments):
            calls.append(arguments)
            if not before or len(calls) == 1:
                run(*arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(threads.Crew, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compiled(position, ArrayBatches(BACKEND, self.given, 1))
        # the first call takes one step, the second all others
        assert position.state.updates == (1 if before else N_SAMPLES)
        assert np.any(position.theta != self.theta)

    def test_batches_of_another_kind_find_room(self, compiled):
        position = ModelState(self.theta, self.optimizer.init(np, self.theta))
        weighed = self.given._replace(sample_weight=np.ones(N_SAMPLES))
        results = []
        for given, order in ((self.given, None), (self.given, np.arange(N_SAMPLES)), (weighed, np.arange(N_SAMPLES))):
            position.theta, position.state = self.theta, self.optimizer.init(np, self.theta)
            for size in (2, SIZE):
                compiled(position, ArrayBatches(BACKEND, given, size, order))
            results.append(position.theta)
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_allclose(results[0], results[2], rtol=1e-12)

    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_is_compiled_once_for_each_precision(self, n_threads, dtype):
        """Another layout of an argument would be another kind of argument."""
        for options in ({}, {"shuffled": False, "weighed": True, "l2": 0.1}):
            plain_and_compiled(Network((3, 5, 2)), n_threads=n_threads, dtype=dtype, **options)
        kinds = {str(signature).count("float32") > 0 for signature in take_part.signatures}
        assert len(take_part.signatures) == len(kinds)

    def test_two_runs_give_the_same_bits(self):
        network = Network((40, 30, 10), loss="cross_entropy")
        runs = [plain_and_compiled(network, adam(), dtype="float32", n_threads=2)[1][0].theta for _ in range(2)]
        np.testing.assert_array_equal(*runs)

    @pytest.mark.parametrize(
        ("network", "optimizer"),
        [
            (Network((3, 4, 4), output_activation="softmax(2,2)", loss="cross_entropy(2,2)"), momentum()),
            (Network((3, 4), output_activation="softplus", loss="poisson"), momentum()),
            (Network((3, 2)), replace(momentum(), update=adam().update)),
            (Network((3, 2)), clipped(momentum(), 1.0)),
            (Network((3, 2)), decayed(clipped(momentum(), 1.0), 0.1)),
            (Network((3, 2, 2), skips=[(0, 2)]), momentum()),
        ],
    )
    def test_what_has_no_loop_goes_the_plain_way(self, network, optimizer):
        plain = object()
        assert compiled_epoch_runner(Objective(network), optimizer, "float64", lambda: plain) is plain

    def test_dropout_goes_the_plain_way(self):
        network, optimizer, told = Network((3, 2)), momentum(), object()
        compiled = compiled_epoch_runner(
            Objective(network), optimizer, "float64", lambda: lambda position, batches: told
        )
        batches = ArrayBatches(BACKEND, samples(network, "float64"), SIZE)
        theta = initial_weights(network, 0, dtype="float64")
        state = optimizer.init(np, theta)
        masked = with_dropout(BACKEND, network, (0.5,), np.random.default_rng(0), batches)
        assert compiled(ModelState(theta, state), masked) is told
        assert compiled(ModelState(theta, state), batches) is not told


class TestChoice:
    def test_something_else(self, monkeypatch):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, "yes")
        with pytest.raises(DataError, match="GPUBP_COMPILED must be one of auto, always, never, got 'yes'"):
            train(Network((1, 1)), [[1.0]], [[1.0]], device="cpu", epochs=1)

    @pytest.mark.parametrize("asked", ["always", "never"])
    def test_training_goes_the_way_asked_for(self, monkeypatch, asked):
        monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, asked)
        called, take_steps = [], threads.Crew.run
        monkeypatch.setattr(threads.Crew, "run", lambda *args: (called.append(args), take_steps(*args)))
        train(Network((1, 1)), [[1.0]], [[1.0]], device="cpu", epochs=2)
        assert len(called) == (2 if asked == "always" else 0)


@compiling.compiled
def _meet(thread, n_threads, mailbox, met):
    """Count each time when another thread has not come as far."""
    served = number_of_request(mailbox, thread)
    while True:
        passed = times_passed(mailbox, n_threads)
        for meeting in range(500):
            met[thread] += 1
            if not wait_for_all(mailbox, n_threads, passed + 2 * meeting + 1):
                return
            for other in range(n_threads):
                met[n_threads] += met[other] != met[thread]
            if not wait_for_all(mailbox, n_threads, passed + 2 * meeting + 2):
                return
        if thread == 0 or not next_request(mailbox, thread, served):
            return
        served += 1


class TestThreads:
    @pytest.mark.slow
    @pytest.mark.parametrize("n_threads", [1, 2, 4])
    def test_wait_for_each_other(self, n_threads):
        met = np.zeros(n_threads + 1, np.int64)
        crew = threads.Crew(n_threads, _meet, met)
        for run in range(1, 6):
            crew.run([])
            np.testing.assert_array_equal(met, [*[500 * run] * n_threads, 0])

    def test_are_asked_again_while_they_wait_and_when_they_have_left(self):
        met = np.zeros(3, np.int64)
        crew = threads.Crew(2, _meet, met)
        for pause in (0.0, 0.0, 0.1, 0.1, 0.0):
            crew.run([])
            time.sleep(pause)
        np.testing.assert_array_equal(met, [2500, 2500, 0])

    def test_do_not_wait_for_one_that_never_comes(self):
        def interrupted(thread, n_threads, mailbox, met):
            if thread == 0:
                raise KeyboardInterrupt
            _meet(thread, n_threads, mailbox, met)

        met = np.zeros(4, np.int64)
        crew = threads.Crew(3, interrupted, met)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                crew.run([])
        np.testing.assert_array_equal(met[[0, 3]], 0)

    @pytest.mark.parametrize("failing", [0, 1])
    def test_do_not_wait_for_one_that_fails_and_can_be_asked_again(self, failing):
        fails = [True]

        def may_fail(thread, n_threads, mailbox, met):
            if thread == failing and fails[0]:
                raise MemoryError
            _meet(thread, n_threads, mailbox, met)

        met = np.zeros(3, np.int64)
        crew = threads.Crew(2, may_fail, met)
        with pytest.raises(MemoryError):
            crew.run([])
        fails[0], met[:] = False, 0
        crew.run([])
        np.testing.assert_array_equal(met, [500, 500, 0])

    @pytest.mark.skipif(
        threads._core is None or threads.cores() < 2, reason="one core, or no way to choose one, on this system"
    )
    @pytest.mark.parametrize("fails", [False, True])
    def test_caller_and_others_have_cores_of_their_own(self, fails):
        allowed, seen, both = os.sched_getaffinity(0), {}, threading.Barrier(2)

        def look(thread, n_threads, mailbox):
            both.wait(10)  # the caller is where it is to be, and so is the other
            seen[thread] = os.sched_getaffinity(0)
            both.wait(10)
            if fails and thread == 0:
                raise MemoryError

        with pytest.raises(MemoryError) if fails else contextlib.nullcontext():
            threads.Crew(2, look).run([])
        assert len(seen[0]) == 1
        assert seen[1] == allowed - seen[0]
        assert os.sched_getaffinity(0) == allowed

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to choose a core on this system")
    def test_where_moving_is_forbidden_threads_stay(self, monkeypatch):
        def forbidden(thread, cores):
            raise PermissionError

        monkeypatch.setattr(os, "sched_setaffinity", forbidden)
        met = np.zeros(3, np.int64)
        threads.Crew(2, _meet, met).run([])
        np.testing.assert_array_equal(met, [500, 500, 0])

    @pytest.fixture
    def two_threads(self):
        with threadpool_limits(2, "blas"):
            yield

    @pytest.mark.usefixtures("two_threads")
    def test_blas_is_given_back_by_crews_that_overlap(self):
        before = threads._threads_of_blas()
        inside, go_on = threading.Event(), threading.Event()
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(threads.Crew(1, lambda *_: (inside.set(), go_on.wait(10))).run, [])
            assert inside.wait(10)
            threads.Crew(1, lambda *_: (go_on.set(), waiting.result(10))).run([])
        assert threads._threads_of_blas() == before
        assert threads.threads_allowed() == min(max(before), threads.cores())

    @pytest.mark.usefixtures("two_threads")
    def test_blas_is_kept_to_one_thread_and_given_back(self):
        def threads_of_blas():
            return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

        before, seen = threads_of_blas(), []
        threads.Crew(1, lambda *_: seen.append(threads_of_blas())).run([])
        assert set(before) == {2}
        assert set(seen[0]) == {1}
        assert threads_of_blas() == before


FUNCTIONS = {"exp": np.exp, "expm1": np.expm1, "tanh": np.tanh}


class TestScalar:
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_accuracy(self, name, dtype):
        info = np.finfo(dtype)
        rng = np.random.default_rng(0)
        most = 1.01 * np.log(float(info.max))
        x = np.concatenate([rng.normal(size=5000), rng.uniform(-most, most, 5000), 10.0 ** rng.uniform(-20, 1, 2000)])
        x = x.astype(dtype)
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
            expected = FUNCTIONS[name](x)
        np.testing.assert_array_equal(apply(name, x), expected)
        if name == "tanh":
            assert np.signbit(apply(name, x)[1])

    def test_of_two_numbers(self):
        @compiling.compiled
        def both(a, b):
            return scalar.maximum(a, b), scalar.minimum(a, b), scalar.where(a > b, a, b), scalar.sign(a)

        for a, b in ((1.0, 2.0), (-2.0, -3.0), (0.0, 0.0)):
            assert both(a, b) == (max(a, b), min(a, b), max(a, b), np.sign(a))
        assert all(np.isnan(both(np.nan, 1.0)[k]) for k in (0, 1, 3))


@compiling.compiled
def _exp(x, y):
    for i in range(x.size):
        y[i] = scalar.exp(x[i])


@compiling.compiled
def _expm1(x, y):
    for i in range(x.size):
        y[i] = scalar.expm1(x[i])


@compiling.compiled
def _tanh(x, y):
    for i in range(x.size):
        y[i] = scalar.tanh(x[i])


def apply(name, x):
    y = np.empty_like(x)
    {"exp": _exp, "expm1": _expm1, "tanh": _tanh}[name](x, y)
    return y


@njit
def _sums(rows, n_rows, n, step, to):
    sum_of_rows(pointer_into(to, 0), n_rows, n, pointer_into(rows, 0), step, to.dtype.type)
    return sum_of_squares(pointer_into(rows, 0), n_rows, n, step)


@pytest.mark.parametrize("n_rows", [1, 3, 4, 9])
@pytest.mark.parametrize("step", [3, 5])
def test_rows_with_gaps_and_without(n_rows, step):
    rows, to = np.random.default_rng(0).normal(size=(n_rows, step)), np.empty(3)
    squares = _sums(rows, n_rows, 3, step, to)
    assert squares == pytest.approx(np.sum(rows[:, :3] ** 2), rel=1e-14)
    np.testing.assert_allclose(to, np.sum(rows[:, :3], axis=0), rtol=1e-13)


class ThreeArrays(NamedTuple):
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray


def test_a_state_of_three_arrays_is_refused():
    optimizer = replace(adam(), init=lambda xp, theta: ThreeArrays(*(xp.zeros_like(theta) for _ in range(3))))
    network, plain = Network((3, 2)), None
    compiled = compiled_epoch_runner(Objective(network), optimizer, "float64", lambda: plain)
    theta = initial_weights(network, 1, dtype="float64")
    batches = ArrayBatches(BACKEND, samples(network, "float64"), SIZE)
    with pytest.raises(ValueError, match="at most 2 arrays, and 'adam' has 3; to fix it: keep less, or let the"):
        compiled(ModelState(theta, optimizer.init(np, theta)), batches)
