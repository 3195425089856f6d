"""The CUDA forms of training against the plain ones: on a device that g++ emulates, and on a GPU where there is one."""

import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

import gpubp.engine.cuda.device
from gpubp.backends import memory
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine import cuda
from gpubp.engine import epoch as epoch_module
from gpubp.engine.cuda import epoch as room
from gpubp.engine.cuda import source, steps, tiny
from gpubp.engine.cuda.device import PRODUCTS, CudaDevice
from gpubp.engine.cuda.epoch import CudaEpochRunner, cuda_epoch_runner
from gpubp.engine.cuda.graphs import Graphs
from gpubp.engine.cuda.optimizers import settings_of_steps, update_of
from gpubp.engine.cuda.source import layers_of, part_in_global_memory, source_of_step
from gpubp.engine.cuda.steps import Work
from gpubp.engine.plain.dropout import with_dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, BatchesInParts
from gpubp.engine.plain.step import ModelState, Objective, make_step
from gpubp.engine.tracing import symbols
from gpubp.engine.tracing.expressions import Code
from gpubp.engine.tracing.symbols import Inexpressible, setting, variable
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES, get_loss, output_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, AdamState, Optimizer, adam, clipped, decayed, momentum
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.testing.agreement import assert_agree
from gpubp.training import fit as fit_module
from gpubp.training.checkpoints import Checkpoints
from tests import emulated_cuda
from tests.emulated_cuda import EmulatedDevice

NVCC = shutil.which("nvcc")
needs_compiler = pytest.mark.skipif(
    emulated_cuda.COMPILER is None, reason="g++ on Linux, which emulates CUDA, is not there"
)

UNITS = (*ACTIVATIONS, "leaky_relu(0.3)", "elu(0.5)")
ERRORS = (*LOSSES, "huber(0.1)")
PAIRS = [
    *((error, get_loss(error).output) for error in ERRORS),
    *((error, "logistic") for error in ERRORS if not get_loss(error).above_zero),
    *(("poisson", "softplus"), ("cross_entropy", "logistic"), ("binary_cross_entropy", "softmax")),
    *(("squared", "softmax"), ("squared", "gelu")),
]
DEEP = Network((2, *[2] * len(UNITS), 2), activation=UNITS)
SHALLOW = [Network((2, 2), output_activation=unit, loss=error, bias=False) for error, unit in PAIRS]
N_SAMPLES, SIZE = 23, 8  # the last batch has 7 samples


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


class Machine(NamedTuple):
    """A device, and the backend whose arrays it takes."""

    backend: object
    device: object

    def asarray(self, array, dtype=None):
        return to_backend(self.backend, array, dtype)


def emulated(**options):
    return Machine(choose_backend("cpu"), EmulatedDevice(**options))


def gpu():
    backend = choose_backend("cuda")
    return Machine(backend, CudaDevice(backend.device))


MACHINES = {"emulated": emulated, "backwards": partial(emulated, backwards=True), "gpu": gpu}


@pytest.fixture(
    params=[
        *(pytest.param(name, marks=needs_compiler) for name in ("emulated", "backwards")),
        pytest.param("gpu", marks=pytest.mark.on("cuda")),
    ]
)
def machine(request):
    return MACHINES[request.param]()


# --- expressions ---


def text_of(equation, *names, **options):
    code = Code("float32", {name: f"{name}[i]" for name in names})
    result = equation(symbols, *(variable(name, "float32") for name in names), **options)
    return code.statements(result=result).splitlines()


class TestExpressions:
    def test_an_equation_in_c(self):
        assert text_of(equations.logistic_dE_dx, "dE_dy", "y") == [
            "const real dE_dy = dE_dy[i];",
            "const real y = y[i];",
            "const real result = ((dE_dy * y) * (1.0f - y));",
        ]

    def test_what_is_needed_twice_is_computed_once(self):
        text = "\n".join(text_of(equations.logistic, "x"))
        assert text.count("expf(") == 1
        assert text.count("1.0f / ") == 1

    def test_only_what_is_needed_is_read(self):
        text = text_of(get_activation("relu").dE_dx, "dE_dy", "x", "y")
        assert sorted(line for line in text if "[i]" in line) == [
            "const real dE_dy = dE_dy[i];",
            "const real x = x[i];",
        ]

    def test_numbers_of_the_host_are_combined_there(self):
        code = Code("float64", {"g": "g[i]"})
        rate, beta, g = setting("rate"), setting("beta"), variable("g", "float64")
        text = code.statements(result=-rate * g + (1.0 - beta**2) * g + rate * g)
        assert text.count("settings[") == 3
        assert [number.text for number in code.settings] == ["(-rate)", "(1.0 - (beta ** 2.0))", "rate"]
        assert [number.of({"rate": 0.5, "beta": 0.5}) for number in code.settings] == [-0.5, 0.75, 0.5]

    @pytest.mark.parametrize(
        "use",
        [
            bool,
            float,
            lambda x: x == 0.0,
            lambda x: x**0.5,
            lambda x: x[0],
            lambda x: np.ones(2) * x,
            lambda x: symbols.exp([x]),
            lambda x: symbols.sum(x, axis=0),
            lambda x: symbols.cumsum(x),
            lambda x: Code("float32", {"x": "x"}).statements(result=symbols.sum(x, axis=-1)),
            lambda x: Code("float32", {"x": "x"}).statements(result=x * float("inf")),
        ],
    )
    def test_what_symbols_cannot_do(self, use):
        with pytest.raises((Inexpressible, TypeError)):
            use(variable("x", "float32"))

    @pytest.mark.parametrize("use", [bool, float, lambda a: a == 0.0, lambda a: a < 0.0, lambda a: [a] * a])
    def test_what_numbers_of_the_host_cannot_do(self, use):
        with pytest.raises((Inexpressible, TypeError)):
            use(setting("rate"))


# --- single kernels ---


def renamed(kernel, name):
    return kernel.text.replace(f"void {kernel.name}(", f"void {name}(")


def numbers(shape, dtype, seed=0):
    """Numbers of all sizes, and some that are special."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1.3, shape)
    found[0, :3] = [0.0, 1.0, -1.0]
    return found.astype(dtype)


def launch_over_units(device, kernel, sample_by_sample, b, n, *places):
    shape = (b, 32) if sample_by_sample else ((-(-n // 32), -(-b // 8)), (32, 8))
    device.launch(kernel, *shape, 256 * 8, b, n, *places)


@pytest.fixture(scope="module", params=["float64", "float32"])
def compiled(request):
    """All units in one source, and all errors in another."""
    dtype, device = request.param, EmulatedDevice()
    layers = layers_of(DEEP, dtype, weighed=False)
    update = update_of(momentum(), dtype, part_in_global_memory)
    units = device.kernels(source_of_step(layers, update, dtype, mean=True))
    outputs = [layers_of(network, dtype, weighed=True).output for network in SHALLOW]
    text = source.head(dtype) + "".join(renamed(output, f"output_{k}") for k, output in enumerate(outputs))
    return dtype, device, layers, units, outputs, device.kernels(text)


class TestKernels:
    @needs_compiler
    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize("n", [1, 5, 70])
    def test_units(self, compiled, unit, n):
        dtype, device, layers, kernels, *_ = compiled
        k, x, bias = UNITS.index(unit), numbers((9, 70), dtype)[:, :n].copy(), numbers((1, 70), dtype, 1)[0, :n].copy()
        value, slope = layers.units[k], layers.slopes[k]
        totals, y = x.copy(), np.full_like(x, np.nan)
        launch_over_units(device, kernels[value.name], value.sample_by_sample, 9, n, bias, n, totals, y)
        assert_agree(y, get_activation(unit).value(np, x + bias), "elementwise")
        np.testing.assert_array_equal(totals, x + bias if layers.total_kept[k] else x)
        dE_dy = numbers((9, 70), dtype, 2)[:, :n].copy()
        signals = dE_dy.copy()
        launch_over_units(device, kernels[slope.name], slope.sample_by_sample, 9, n, totals, y, signals)
        assert_agree(signals, get_activation(unit).dE_dx(np, dE_dy, x + bias, y), "elementwise")

    @needs_compiler
    @pytest.mark.parametrize("pair", PAIRS, ids=" on ".join)
    def test_errors(self, compiled, pair):
        dtype, device, _, _, outputs, kernels = compiled
        rng, k = np.random.default_rng(0), PAIRS.index(pair)
        x, targets = rng.normal(size=(9, 40)).astype(dtype), rng.dirichlet(np.ones(40), 9).astype(dtype)
        weights = rng.uniform(0.0, 2.0, 9).astype(dtype)
        signals, errors = np.full_like(x, np.nan), np.full(9, np.nan, dtype)
        places = (None, 0, x, targets, 0, weights, 0, signals, errors)
        launch_over_units(device, kernels[f"output_{k}"], outputs[k].sample_by_sample, 9, 40, *places)
        y = get_activation(pair[1]).value(np, x)
        for c in range(9):  # the sum over one sample
            sample = slice(c, c + 1)
            error, dE_dx = output_loss(np, *pair, x[sample], y[sample], targets[sample], weights[sample])
            assert_agree(errors[c], error, "forward")
            assert_agree(signals[sample], dE_dx, "elementwise")

    @needs_compiler
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_optimizers(self, name, dtype):
        optimizer, device = OPTIMIZERS[name](), EmulatedDevice()
        update = update_of(optimizer, dtype, part_in_global_memory)
        layers = layers_of(Network((1, 1)), dtype, weighed=False)
        kernel = device.kernels(source_of_step(layers, update, dtype, mean=True))["update"]
        theta, gradient = numbers((1, 600), dtype)[0], numbers((1, 600), dtype, 1)[0]
        state = optimizer.init(np, theta)
        settings = settings_of_steps(update, optimizer.settings, state, np.zeros(3))[:, 0].astype(dtype)
        mine, parts = theta.copy(), [getattr(state, part).copy() for part in update.parts]
        for step in range(3):
            of_step = (np.asarray([step + 1]), settings, settings.shape[1], 0)
            fixed = (*of_step, np.asarray([0.5], dtype), np.dtype(dtype).type(0.0), None)
            device.launch(kernel, 2, 256, 4096, 600, *fixed, gradient, mine, *parts)
            change, state = optimizer.update(np, gradient * np.dtype(dtype).type(0.5), state, theta, optimizer.at(0))
            theta = theta + change
        assert_agree(mine, theta, "elementwise")
        for part, name_of_part in zip(parts, update.parts, strict=True):
            assert_agree(part, getattr(state, name_of_part), "elementwise")

    @needs_compiler
    def test_nan_is_not_lost(self):
        device, update = EmulatedDevice(), update_of(adam(), "float64", part_in_global_memory)
        layers = layers_of(Network((1, 1, 1, 1), ("relu", "softmax"), bias=False), "float64", weighed=False)
        kernels = device.kernels(source_of_step(layers, update, "float64", mean=True))
        x = np.asarray([[1.0, np.nan, -1.0]])
        for unit, expected in zip(layers.units, ([[1.0, np.nan, 0.0]], [[np.nan] * 3]), strict=True):
            y = np.empty_like(x)
            launch_over_units(device, kernels[unit.name], unit.sample_by_sample, 1, 3, None, 0, x.copy(), y)
            np.testing.assert_array_equal(y, expected)


# --- epochs ---


def samples(network, dtype, weighed=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_SAMPLES, network.sizes[0]))
    targets = rng.dirichlet(np.ones(network.sizes[-1]), N_SAMPLES)  # fits every error
    weights = rng.uniform(0.0, 2.0, N_SAMPLES).astype(dtype) if weighed else None
    return Batch(x.astype(dtype), targets.astype(dtype), weights)


@pytest.fixture(params=["layer by layer", "tiny"])
def form(request, monkeypatch):
    """Both forms of a step: launches for each layer, and one block of threads for all of a small network."""
    monkeypatch.setattr(room, "WORTH_MANY_BLOCKS", 0.0 if request.param == "layer by layer" else float("inf"))
    return request.param


def given_to(machine, batch):
    return Batch(*(None if part is None else machine.asarray(part) for part in batch[:3]))


def result(machine, way, network, optimizer, dtype, *, epochs=4, size=SIZE, shuffled=True, weighed=False):
    """Epoch from one position, always the same; where it ends, and what the last epoch says."""
    xp, given = machine.backend.xp, given_to(machine, samples(network, dtype, weighed))
    theta = machine.asarray(initial_weights(network, 1, scheme="uniform", scale=0.5, dtype=dtype))
    position, rng = ModelState(theta, optimizer.init(xp, theta)), np.random.default_rng(2)
    for _ in range(epochs):
        told = way(
            position, ArrayBatches(machine.backend, given, size, rng.permutation(N_SAMPLES) if shuffled else None)
        )
        position.epoch += 1
    return position, told


def plain_way(machine, objective, optimizer, dtype):
    return partial(
        epoch_module._step_by_step, machine.backend.xp, make_step(machine.backend, objective, optimizer, dtype)
    )


def both_ways(machine, network, optimizer=None, dtype="float64", options=None, **how):
    optimizer, objective = optimizer or momentum(0.05, 0.9), Objective(network, **(options or {}))
    plain = plain_way(machine, objective, optimizer, dtype)
    fast = cuda_epoch_runner(machine.device, objective, optimizer, dtype, plain)
    assert isinstance(fast, CudaEpochRunner)
    return [result(machine, way, network, optimizer, dtype, **how) for way in (plain, fast)]


def assert_told_the_same(told, expected, dtype):
    for name in ("values", "weights"):
        found, wanted = (to_numpy(getattr(one, name)).astype(dtype) for one in (told, expected))
        assert_agree(found, wanted, "steps")


def assert_same(seen, kind="steps"):
    (plain, told), (fast, also_told) = seen
    assert_agree(fast.theta, plain.theta, kind)
    assert type(fast.state) is type(plain.state)
    for part, other in zip(fast.state, plain.state, strict=True):
        if isinstance(other, int):
            assert part == other
        else:
            assert_agree(part, other, kind)
    dtype = str(to_numpy(plain.theta).dtype)
    assert_told_the_same(also_told, told, dtype)
    np.testing.assert_array_equal(also_told.sizes, told.sizes)
    assert bool(also_told.finite) == bool(told.finite)


@pytest.mark.usefixtures("form")
class TestSweepAgreesWithPlain:
    @pytest.mark.parametrize("unit", UNITS)
    def test_units(self, machine, unit):
        assert_same(both_ways(machine, Network((3, 5, 4, 2), activation=unit)))

    @pytest.mark.parametrize("error", ERRORS)
    def test_errors(self, machine, error, dtype):
        network = Network((3, 5, 4), activation="tanh", loss=error)
        assert_same(both_ways(machine, network, dtype=dtype, weighed=dtype == "float32"))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_optimizers(self, machine, optimizer, dtype):
        network = Network((3, 5, 4), activation="tanh", loss="cross_entropy")
        assert_same(both_ways(machine, network, OPTIMIZERS[optimizer](), dtype))

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_schedules(self, machine, optimizer):
        rate = PiecewiseConstant({0: 0.1, 0.4: 0.01, 1.5: 0.3})
        assert_same(both_ways(machine, Network((3, 5, 4)), decayed(optimizer(learning_rate=rate), 0.01)))

    @pytest.mark.parametrize("options", [{"reduction": "sum"}, {"l2": 0.3}, {"l2": 0.3, "penalty_reported": False}])
    @pytest.mark.parametrize("weighed", [False, True])
    def test_objectives(self, machine, options, weighed):
        assert_same(both_ways(machine, Network((3, 5, 4)), options=options, weighed=weighed))

    @pytest.mark.parametrize("size", [1, 2, 11, 22, 23, 99])
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_batches(self, machine, size, shuffled, monkeypatch):
        monkeypatch.setattr(room, "STEPS_OF_A_GRAPH", 4)
        assert_same(both_ways(machine, Network((3, 5, 4)), size=size, shuffled=shuffled, weighed=True, epochs=3))

    @pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 6, 4), (40, 300, 2), (2, 3, 70)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_networks(self, machine, sizes, bias):
        network = Network(sizes, activation="tanh", loss="cross_entropy", bias=bias)
        assert_same(both_ways(machine, network, options={"l2": 0.1}, epochs=3))

    @pytest.mark.parametrize("hidden", ["tanh", "softmax"])
    def test_more_of_everything_than_blocks(self, machine, hidden, monkeypatch):
        monkeypatch.setattr(steps, "MOST_BLOCKS", 2)
        monkeypatch.setattr(steps, "BLOCKS_THAT_COUNT", 2)
        network = Network((5, 300, 2), activation=hidden, loss="cross_entropy")
        assert_same(both_ways(machine, network, options={"l2": 0.1}, epochs=2))

    def test_a_batch_whose_samples_count_nothing_changes_nothing(self, machine):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
        given = given_to(machine, samples(network, "float64")._replace(sample_weight=np.zeros(N_SAMPLES)))
        position = ModelState(theta, optimizer.init(machine.backend.xp, theta))
        told = fast(position, ArrayBatches(machine.backend, given, SIZE))
        np.testing.assert_array_equal(to_numpy(position.theta), to_numpy(theta))
        np.testing.assert_array_equal(told.values, 0.0)


@pytest.mark.usefixtures("form")
class TestSweep:
    def ends(self, machine, *, optimizer=None, **how):
        """Where an epoch by a new object ends, and that object."""
        network, optimizer = Network((4, 30, 10), loss="cross_entropy"), optimizer or adam()
        fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.01), optimizer, "float32", None)
        return result(machine, fast, network, optimizer, "float32", **how), fast

    def assert_same_bits(self, one, other):
        for a, b in zip((one[0].theta, *one[0].state[:2]), (other[0].theta, *other[0].state[:2]), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
        np.testing.assert_array_equal(one[1].values, other[1].values)

    def test_two_runs_give_the_same_bits(self, machine):
        self.assert_same_bits(self.ends(machine)[0], self.ends(machine)[0])

    def test_captured_steps_give_the_bits_of_eager_ones(self, machine, form, monkeypatch):
        monkeypatch.setattr(room, "STEPS_OF_A_GRAPH", 3)
        captured, fast = self.ends(machine, size=2, epochs=5)
        if form == "layer by layer":
            assert set(fast.steps.graphs.replay_of) == {(2, 2), (2, 1), (1, 1)}
            assert all(fast.steps.graphs.replay_of.values())
        monkeypatch.setattr(Graphs, "run", lambda self, kind, work: work())
        self.assert_same_bits(captured, self.ends(machine, size=2, epochs=5)[0])

    @needs_compiler
    def test_the_order_of_threads_changes_nothing(self):
        self.assert_same_bits(self.ends(emulated())[0], self.ends(emulated(backwards=True))[0])

    @needs_compiler
    def test_steps_are_replayed(self, form):
        machine, counts = emulated(), []
        position, given = self.start(machine, adam()), samples(Network((4, 10)), "float32")
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        for _ in range(5):
            before = machine.device.n_launches, machine.device.n_replays
            fast(position, ArrayBatches(machine.backend, given, 3))
            counts.append((machine.device.n_launches - before[0], machine.device.n_replays - before[1]))
        # a graph of 7 steps, one of the last, and the look at what is finite; or one launch of all
        assert counts[2:] == [(1, 2) if form == "layer by layer" else (1, 0)] * 3

    def start(self, machine, optimizer):
        theta = machine.asarray(initial_weights(Network((4, 10)), 0, dtype="float32"))
        return ModelState(theta, optimizer.init(machine.backend.xp, theta))

    @needs_compiler
    def test_what_cannot_be_captured_is_launched_and_said_once(self, form, caplog):
        expected, _ = self.ends(emulated())
        with caplog.at_level(logging.WARNING, "gpubp"):
            seen, _ = self.ends(emulated(can_capture=False))
        self.assert_same_bits(expected, seen)
        said = "steps are launched one by one, since they could not be captured: this device captures nothing"
        assert [record.message for record in caplog.records] == ([said] if form == "layer by layer" else [])

    def test_leaves_what_it_was_given(self, machine):
        optimizer = adam()
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), optimizer, "float32", None)
        position, given = self.start(machine, optimizer), given_to(machine, samples(Network((4, 10)), "float32"))
        theta, state, before = position.theta, position.state, to_numpy(position.theta).copy()
        for _ in range(3):
            fast(position, ArrayBatches(machine.backend, given, SIZE))
        np.testing.assert_array_equal(to_numpy(theta), before)
        np.testing.assert_array_equal(to_numpy(state.first), 0.0)
        assert (state.updates, position.state.updates) == (0, 9)

    def test_an_epoch_makes_new_parameters(self, machine):
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        position, given = self.start(machine, adam()), given_to(machine, samples(Network((4, 10)), "float32"))
        kept = []
        for _ in range(4):
            fast(position, ArrayBatches(machine.backend, given, SIZE))
            kept.append((position.theta, to_numpy(position.theta).copy()))
        for theta, before in kept:
            np.testing.assert_array_equal(to_numpy(theta), before)

    def test_goes_on_from_parameters_that_others_put_back(self, machine):
        """As the loop does where training diverged, on a stream of its own."""
        optimizer, network = adam(), Network((4, 10))
        plain = plain_way(machine, Objective(network), optimizer, "float32")
        ends = []
        for way in (plain, cuda_epoch_runner(machine.device, Objective(network), optimizer, "float32", plain)):
            position, given = self.start(machine, optimizer), given_to(machine, samples(network, "float32"))
            for _ in range(4):
                way(position, ArrayBatches(machine.backend, given, SIZE))
                position.theta = position.theta * 0.5
            ends.append(position.theta)
        assert_agree(ends[1], ends[0], "steps")

    def test_begins_anew_with_a_new_position(self, machine):
        """With the same samples, and so in the same places."""
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        given, ends = given_to(machine, samples(Network((4, 10)), "float32")), []
        for _ in range(2):
            position = self.start(machine, adam())
            for _ in range(3):
                fast(position, ArrayBatches(machine.backend, given, SIZE))
            ends.append((to_numpy(position.theta), to_numpy(position.state.second).copy()))
        for one, other in zip(*ends, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("where", [0, -1])
    def test_tells_whether_the_parameters_are_finite(self, machine, where):
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), momentum(), "float32", None)
        position, given = self.start(machine, momentum()), given_to(machine, samples(Network((4, 10)), "float32"))
        batches = ArrayBatches(machine.backend, given, SIZE)
        assert fast(position, batches).finite
        theta = to_numpy(position.theta).copy()
        theta[where] = np.inf
        position.theta = machine.asarray(theta)
        with np.errstate(all="ignore"):
            assert not fast(position, batches).finite

    def test_interrupted_keeps_what_was_learned(self, machine, form, monkeypatch):
        monkeypatch.setattr(tiny, "OPERATIONS_OF_A_LAUNCH", 1.0)  # a launch for each step
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        position, given = self.start(machine, adam()), given_to(machine, samples(Network((4, 10)), "float32"))
        before, calls = to_numpy(position.theta).copy(), []
        holder, name = (Graphs, "run") if form == "layer by layer" else (type(machine.device), "launch")
        run = getattr(holder, name)

        def interrupted(*arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt
            run(*arguments)

        monkeypatch.setattr(holder, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fast(position, ArrayBatches(machine.backend, given, SIZE))
        assert position.state.updates == (2 if form == "layer by layer" else 1)  # a graph takes both full batches
        assert np.any(to_numpy(position.theta) != before)

    def test_batches_of_another_kind_find_room(self, machine):
        optimizer, network = adam(), Network((4, 10))
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        given, ends = samples(network, "float64"), []
        for batch, order in (
            (given, None),
            (given, np.arange(N_SAMPLES)),
            (given._replace(sample_weight=np.ones(N_SAMPLES)), np.arange(N_SAMPLES)),
        ):
            theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
            position, batch = ModelState(theta, optimizer.init(machine.backend.xp, theta)), given_to(machine, batch)
            for size in (2, SIZE):
                fast(position, ArrayBatches(machine.backend, batch, size, order))
            ends.append(to_numpy(position.theta))
        np.testing.assert_array_equal(ends[0], ends[1])
        np.testing.assert_allclose(ends[0], ends[2], rtol=1e-12)


STACK = 5


@pytest.fixture(params=["layer by layer", "tiny"])
def form_of_stack(request, monkeypatch):
    """Both forms of a stack's step: blocks of threads in a launch's third direction, or one for each small network."""
    if request.param == "layer by layer":
        monkeypatch.setattr(room, "shared_memory", lambda *_: 10**9)  # more than there is
    return request.param


@pytest.mark.usefixtures("form_of_stack")
class TestStacks:
    def both_ways(
        self,
        machine,
        network,
        optimizer,
        dtype="float64",
        own_samples=False,
        weighed=None,
        size=SIZE,
        shuffled=True,
        **o,
    ):
        xp, objective, ends = machine.backend.xp, Objective(network, **o), []
        theta = machine.asarray(initial_weights(network, range(STACK), scheme="uniform", scale=0.5, dtype=dtype))
        parts = [samples(network, dtype, weighed is not None, seed) for seed in range(STACK)]
        x, targets = (np.stack([part[k] for part in parts]) for k in range(2))
        weights = None if weighed is None else np.stack([part.sample_weight for part in parts])
        if not own_samples:
            x, targets = x[0], targets[0]
        if weighed == "together":
            weights = weights[0]
        given = given_to(machine, Batch(x, targets, weights))
        plain = plain_way(machine, objective, optimizer, dtype)
        for way in (plain, cuda_epoch_runner(machine.device, objective, optimizer, dtype, None)):
            position, rng = ModelState(theta, optimizer.init(xp, theta)), np.random.default_rng(2)
            for _ in range(3):
                order = rng.permutation(N_SAMPLES) if shuffled else None
                told = way(position, ArrayBatches(machine.backend, given, size, order))
                position.epoch += 1
            ends.append((position, told))
        (one, told), (other, also_told) = ends
        for a, b in zip((other.theta, *other.state[:2]), (one.theta, *one.state[:2]), strict=True):
            assert_agree(a, b, "steps")
        assert_told_the_same(also_told, told, dtype)
        np.testing.assert_array_equal(to_numpy(also_told.finite), to_numpy(told.finite))
        return other

    @pytest.mark.parametrize(
        ("own_samples", "weighed"),
        [(False, None), (False, "together"), (False, "each"), (True, None), (True, "each")],
    )
    def test_samples_and_weights(self, machine, own_samples, weighed, dtype):
        network = Network((3, 6, 4), activation="tanh", loss="cross_entropy")
        self.both_ways(machine, network, momentum(0.05), dtype, own_samples=own_samples, weighed=weighed, l2=0.1)

    @pytest.mark.parametrize("hidden", ["gelu", "softmax"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_networks(self, machine, hidden, bias):
        network = Network((3, 6, 5, 4), activation=hidden, loss="binary_cross_entropy", bias=bias)
        self.both_ways(machine, network, adam(), l2=0.1, penalty_reported=False)

    def test_a_step_size_for_each_network(self, machine):
        rates = machine.asarray(np.linspace(0.01, 0.1, STACK)[:, None])
        self.both_ways(machine, Network((3, 4, 2)), momentum(learning_rate=rates, momentum=0.5), size=99)

    def test_one_that_diverges_leaves_the_others_alone(self, machine):
        network, optimizer = Network((3, 4, 2)), momentum()
        theta = initial_weights(network, range(STACK), dtype="float64")
        theta[2, 3] = np.inf
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        position = ModelState(machine.asarray(theta), optimizer.init(machine.backend.xp, machine.asarray(theta)))
        given = given_to(machine, samples(network, "float64"))
        with np.errstate(invalid="ignore"):
            told = fast(position, ArrayBatches(machine.backend, given, SIZE))
        np.testing.assert_array_equal(told.finite, [True, True, False, True, True])

    def test_whole_sweeps(self, machine, monkeypatch):
        """Samples as they are, and graphs of one step."""
        monkeypatch.setattr(room, "STEPS_OF_A_GRAPH", 1)
        self.both_ways(machine, Network((3, 5, 2)), adam(), size=99, shuffled=False, own_samples=True, weighed="each")

    @needs_compiler
    def test_the_order_of_threads_changes_nothing(self):
        network, ends = Network((3, 40, 2), activation="softmax"), []
        for machine in (emulated(), emulated(backwards=True)):
            ends.append(self.both_ways(machine, network, adam(), "float32", l2=0.1).theta)
        np.testing.assert_array_equal(*ends)


class TestStackSizes:
    @needs_compiler
    @pytest.mark.parametrize("sizes", [(300, 300, 2), (3, 2)])
    def test_more_networks_than_blocks_can_count_go_the_plain_way_where_one_block_is_not_enough(
        self, monkeypatch, sizes
    ):
        monkeypatch.setattr(room, "MOST_NETWORKS", 1)
        network, optimizer, told = Network(sizes), momentum(), object()
        fast = cuda_epoch_runner(
            EmulatedDevice(), Objective(network), optimizer, "float64", lambda position, batches: told
        )
        given = ArrayBatches(choose_backend("cpu"), samples(network, "float64"), SIZE)
        for n_networks in (1, 2):
            theta = np.zeros((n_networks, network.n_parameters))
            goes_plain = fast(ModelState(theta, optimizer.init(np, theta)), given) is told
            assert goes_plain == (n_networks == 2 and sizes != (3, 2))

    @needs_compiler
    def test_larger_networks_go_layer_by_layer(self):
        for sizes, kind in (((300, 300, 2), steps.Steps), ((3, 30, 2), tiny.TinySteps)):
            network, optimizer = Network(sizes), momentum()
            fast = cuda_epoch_runner(EmulatedDevice(), Objective(network), optimizer, "float32", None)
            theta = np.zeros((2, network.n_parameters), "float32")
            given = ArrayBatches(choose_backend("cpu"), samples(network, "float32"), SIZE)
            fast(ModelState(theta, optimizer.init(np, theta)), given)
            assert type(fast.steps) is kind


# --- many epochs in one call ---


class TestEpochsTogether:
    """One call for several epochs, after which there is one for fewer and one for more: the same bits."""

    @pytest.mark.parametrize("seeds", [0, (0, 1)])
    @pytest.mark.parametrize(("size", "shuffled"), [(99, False), (SIZE, False), (5, True)])
    def test_give_the_bits_of_one_by_one(self, machine, form, size, shuffled, seeds, monkeypatch):
        monkeypatch.setattr(room, "STEPS_OF_A_GRAPH", 3)
        if form == "layer by layer":
            monkeypatch.setattr(room, "shared_memory", lambda *_: 10**9)
        network, order = Network((3, 5, 4), activation="tanh"), np.random.default_rng(0).permutation(N_SAMPLES)
        optimizer = adam(learning_rate=PiecewiseConstant({0: 0.1, 1.5: 0.01, 7.4: 0.05}))
        theta = machine.asarray(initial_weights(network, seeds, dtype="float64"))
        batches = ArrayBatches(machine.backend, given_to(machine, samples(network, "float64", weighed=True)), size)
        batches, ends = replace(batches, order=order if shuffled else None), []
        for epochs in ([1] * 13, [1, 4, 1, 2, 5]):
            fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.1), optimizer, "float64", None)
            position, told = ModelState(theta, optimizer.init(machine.backend.xp, theta)), []
            for n in epochs:
                told.append(fast(position, replace(batches, epochs=n)))
                position.epoch += n
            ends.append((position, told))
        (one, told), (other, also_told) = ends
        for a, b in zip((one.theta, *one.state), (other.theta, *other.state), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
        for name in ("values", "weights", "sizes"):
            found, expected = (np.concatenate([getattr(part, name) for part in parts]) for parts in (told, also_told))
            np.testing.assert_array_equal(found, expected)


class TestParts:
    """Epochs that are cut into parts, the last longer than the others: the bits of whole ones."""

    @pytest.mark.parametrize("seeds", [0, (0, 1)])
    @pytest.mark.parametrize(("shuffled", "on_host"), [(True, False), (False, False), (True, True)])
    def test_give_the_bits_of_whole_epochs(self, machine, form, shuffled, on_host, seeds, monkeypatch):
        monkeypatch.setattr(room, "STEPS_OF_A_GRAPH", 3)
        if form == "layer by layer":
            monkeypatch.setattr(room, "shared_memory", lambda *_: 10**9)
        network, order = Network((3, 5, 4), activation="tanh"), np.random.default_rng(0).permutation(N_SAMPLES)
        optimizer, given = (
            adam(learning_rate=PiecewiseConstant({0: 0.1, 1.5: 0.01})),
            samples(network, "float64", weighed=True),
        )
        theta = machine.asarray(initial_weights(network, seeds, dtype="float64"))
        whole = ArrayBatches(machine.backend, given if on_host else given_to(machine, given), 3, on_host=on_host)
        whole, ends = replace(whole, order=order if shuffled else None), []
        for epoch in ([whole], BatchesInParts(whole, 3), BatchesInParts(whole, 2)):
            fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.1), optimizer, "float64", None)
            position, told = ModelState(theta, optimizer.init(machine.backend.xp, theta)), []
            for _ in range(3):
                told += [fast(position, part) for part in epoch]
                position.epoch += 1
            assert len(fast.made) == (1 if epoch == [whole] else 2)
            found = [np.concatenate([getattr(one, name) for one in told]) for name in ("values", "weights", "sizes")]
            ends.append([*map(to_numpy, (position.theta, *position.state)), *found])
        for end in ends[1:]:
            for found, wanted in zip(end, ends[0], strict=True):
                np.testing.assert_array_equal(found, wanted)


class TestGoesThePlainWay:
    @pytest.mark.parametrize(
        ("network", "optimizer"),
        [
            (Network((3, 4, 4), output_activation="softmax(2,2)", loss="cross_entropy(2,2)"), momentum()),
            (Network((3, 4, 2), activation="softmax(2,2)"), momentum()),
            (Network((3, 2)), clipped(momentum(), 1.0)),
            (Network((3, 2)), replace(momentum(), update=lambda xp, g, state, theta, now: (g if g > 0 else -g, state))),
            (Network((3, 2)), replace(adam(), update=lambda xp, g, state, theta, now: (-g * now["beta_1"], ()))),
            (
                Network((3, 2)),
                replace(adam(), update=lambda xp, g, state, *_: (-g, AdamState(g, g, state.updates * 2))),
            ),
            (Network((3, 2)), replace(momentum(), init=lambda xp, theta: [1.0])),
        ],
    )
    def test_what_cannot_be_said_in_c(self, network, optimizer):
        plain = object()
        assert cuda_epoch_runner(EmulatedDevice(), Objective(network), optimizer, "float64", plain) is plain

    def test_a_optimizer_of_ones_own_need_not(self, machine):
        def update(xp, gradient, state, theta, now):
            return -now["learning_rate"] * xp.sign(gradient) * xp.maximum(xp.abs(theta), 0.01), state

        optimizer = Optimizer("signs", {"learning_rate": 0.1}, lambda xp, theta: (), update)
        assert_same(both_ways(machine, Network((3, 5, 2)), optimizer))

    def test_dropout_and_no_samples(self):
        network, optimizer, told = Network((3, 2)), momentum(), object()
        fast = cuda_epoch_runner(
            EmulatedDevice(), Objective(network), optimizer, "float64", lambda position, batches: told
        )
        backend, given = choose_backend("cpu"), samples(network, "float64")
        theta = initial_weights(network, 0, dtype="float64")
        position = ModelState(theta, optimizer.init(np, theta))
        batches = ArrayBatches(backend, given, SIZE)
        masked = with_dropout(backend, network, (0.5,), np.random.default_rng(0), batches)
        assert fast(position, masked) is told
        assert fast(position, ArrayBatches(backend, Batch(given.x[:0], given.targets[:0]), SIZE)) is told


# --- the seam ---


class DeviceOfNumPy(str):
    """NumPy's device, which can be made the current one, as CuPy's can."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def made(monkeypatch):
    """Let "cuda" be NumPy and the emulated device; the devices that were made for epochs."""
    host, made = choose_backend("cpu"), []
    backend = host._replace(device=DeviceOfNumPy("cpu"), name="cuda:0")
    monkeypatch.setattr(fit_module, "choose_backend", lambda device, *_: host if device == "cpu" else backend)
    monkeypatch.setattr(cuda, "nvmath_works", lambda: True)
    monkeypatch.setattr(
        gpubp.engine.cuda.device, "cuda_device", lambda device, products: made.append(EmulatedDevice()) or made[-1]
    )
    monkeypatch.setattr(memory, "memory_of", lambda backend: None)
    monkeypatch.delenv("GPUBP_COMPILED", raising=False)
    return made


def fit(epochs=10, **options):
    network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
    x, targets, *_ = samples(network, "float64")
    return fit_module.train(
        network, x, targets, epochs=epochs, batch_size=SIZE, validation_data=(x, targets), l2=0.01, **options
    )


class TestSeam:
    @needs_compiler
    def test_training_goes_this_way(self, made):
        assert fit(device="cuda").device == "cuda:0"
        assert [device.n_launches > 0 for device in made] == [True]

    @needs_compiler
    @pytest.mark.parametrize("seed", [0, (0, 1, 2)])
    def test_a_whole_fit_agrees_with_numpy(self, made, monkeypatch, seed):
        seen = fit(seed=seed)
        assert made[0].n_launches > 0
        monkeypatch.undo()
        monkeypatch.setenv("GPUBP_COMPILED", "never")
        expected = fit(seed=seed, device="cpu")
        assert_agree(seen.theta, expected.theta, "fit")
        for name in ("loss", "validation_loss"):
            found, wanted = (np.asarray(getattr(one.history, name)) for one in (seen, expected))
            assert_agree(found, wanted, "fit")

    @needs_compiler
    @pytest.mark.parametrize(
        ("asked", "epochs", "n_made"), [("never", 50, 0), ("always", 1, 1), ("", 1, 0), ("", 50, 1)]
    )
    def test_is_asked_for_or_worth_it(self, made, monkeypatch, asked, epochs, n_made):
        monkeypatch.setenv("GPUBP_COMPILED", asked)
        fit(epochs)
        assert len(made) == n_made

    @needs_compiler
    def test_training_goes_on_from_a_checkpoint(self, made, monkeypatch, tmp_path):
        monkeypatch.setattr(fit_module, "OPERATIONS_OF_A_PART", 1.0)
        monkeypatch.setenv("GPUBP_COMPILED", "always")  # however few epochs there are
        expected, kept = fit(optimizer=adam(0.01)), Checkpoints(tmp_path, 0.0)
        fit(4, optimizer=adam(0.01), checkpoint=kept)
        gone_on = fit(optimizer=adam(0.01), checkpoint=kept, resume=True)
        assert made[-1].n_launches > 0
        np.testing.assert_array_equal(gone_on.theta, expected.theta)
        np.testing.assert_array_equal(gone_on.history.loss, expected.history.loss)

    def test_without_nvmath_equations_run_one_by_one_and_it_is_said_once(self, monkeypatch, caplog):
        cuda.nvmath_works.cache_clear()
        monkeypatch.setitem(sys.modules, "nvmath", None)
        with caplog.at_level(logging.WARNING, "gpubp"):
            assert not any(cuda.is_wanted("always", 100) for _ in range(2))
        cuda.nvmath_works.cache_clear()
        (record,) = caplog.records
        assert "nvmath-python cannot be loaded" in record.message
        assert "pip install nvmath-python fixes it" in record.message


# --- what is asked of CuPy and cuBLAS ---


@needs_compiler
class TestCudaDevice:
    """The real class, on modules that stand in for CuPy and nvmath-python."""

    @pytest.fixture
    def device(self):
        return self.made()

    def made(self, *products):
        below, modules = emulated_cuda.emulated_modules()
        with pytest.MonkeyPatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            device = CudaDevice(emulated_cuda.CudaDeviceOfNumPy(), *products)
        device.below = below
        return device

    @pytest.mark.parametrize("a_transposed", [False, True])
    @pytest.mark.parametrize("b_transposed", [False, True])
    def test_products(self, device, dtype, a_transposed, b_transposed):
        rng = np.random.default_rng(0)
        a, b = (device.upload(rng.normal(size=shape).astype(dtype)) for shape in ((3, 4), (4, 5)))
        expected = np.asarray(a) @ np.asarray(b)
        pairs = ((a, a_transposed), (b, b_transposed))
        a, b = (device.upload(np.asarray(part).T) if turned else part for part, turned in pairs)
        to = device.empty((3, 5), dtype)
        device.multiply(a, b, to, a_transposed=a_transposed, b_transposed=b_transposed)
        assert_agree(np.asarray(to), expected, "forward")

    @pytest.mark.parametrize("a_transposed", [False, True])
    @pytest.mark.parametrize("b_transposed", [False, True])
    @pytest.mark.parametrize("shared", [0, 1, None])
    def test_products_of_a_stack(self, device, dtype, a_transposed, b_transposed, shared):
        """Blocks of parameters are far apart; what all networks have the same is one matrix."""
        rng, shapes, places = np.random.default_rng(0), [(3, 4), (4, 5), (3, 5)], []
        for k, turned in enumerate((a_transposed, b_transposed, False)):
            rows, columns = shapes[k][::-1] if turned else shapes[k]
            numbers = device.upload(rng.normal(size=(6, 7 + rows * columns)).astype(dtype))
            place = numbers[:, 7:].reshape(6, rows, columns)
            places.append(place[2] if k == shared else place)
        a, b, to = places
        device.multiply(a, b, to, a_transposed=a_transposed, b_transposed=b_transposed)
        a, b = (np.asarray(part.mT if turned else part) for part, turned in ((a, a_transposed), (b, b_transposed)))
        assert_agree(np.asarray(to), np.matmul(a, b), "forward")

    @pytest.mark.parametrize("products", PRODUCTS)
    def test_precision_of_products(self, products):
        device = self.made(products)
        for dtype, name in (("float32", PRODUCTS[products]), ("float64", "COMPUTE_64F")):
            a = device.upload(np.ones((2, 2), dtype))
            device.multiply(a, a, device.empty((2, 2), dtype))
            assert device.below.computed == emulated_cuda.COMPUTE_TYPES[name]

    @pytest.mark.usefixtures("form")
    def test_sweeps(self, device, dtype):
        backend, network, optimizer = choose_backend("cpu"), Network((3, 5, 4), loss="cross_entropy"), adam()
        objective = Objective(network, l2=0.1)
        plain = plain_way(Machine(backend, None), objective, optimizer, dtype)
        fast = cuda_epoch_runner(device, objective, optimizer, dtype, plain)
        on_device = Machine(backend, device)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Machine, "asarray", lambda machine, array: np.array(array).view(emulated_cuda.DeviceArray))
            seen = result(on_device, fast, network, optimizer, dtype, weighed=True)
        position, told = result(on_device, plain, network, optimizer, dtype, weighed=True)
        seen[0].theta = np.asarray(seen[0].theta)
        seen[0].state = AdamState(*map(np.asarray, seen[0].state[:2]), seen[0].state.updates)
        assert_same([(position, told), seen])
        assert device.stream.non_blocking
        assert len(device.stream.waited_for) == 4  # once an epoch

    def test_samples_from_the_host_come_on_a_stream_aside(self, device, dtype):
        network, optimizer, ends = Network((3, 5, 4), loss="cross_entropy"), adam(), []
        theta = np.asarray(initial_weights(network, 0, dtype=dtype)).view(emulated_cuda.DeviceArray)
        given = samples(network, dtype, weighed=True)
        for way in (
            plain_way(Machine(choose_backend("cpu"), None), Objective(network), optimizer, dtype),
            cuda_epoch_runner(device, Objective(network), optimizer, dtype, None),
        ):
            position, rng = ModelState(theta, optimizer.init(np, theta)), np.random.default_rng(0)
            for _ in range(3):
                order = rng.permutation(N_SAMPLES)
                way(position, ArrayBatches(choose_backend("cpu"), given, SIZE, order, on_host=True))
            ends.append(np.asarray(position.theta))
        assert_agree(*ends, "steps")
        assert device._aside.non_blocking
        assert device._aside.waited_for == [device.stream] * 5  # but for the first of 3 times 2 windows
        assert device.stream.waited_for.count(device._aside) == 6

    def test_what_fails_in_capture_ends_it(self, device):
        def fails():
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            device.capture(fails)
        assert device.below.recorded is None

    def test_asks_for_much_shared_memory(self, device):
        kernel = device.kernels(source.head("float32") + 'extern "C" __global__ void none(real a) {\n}\n')["none"]
        with device.active():
            device.launch(kernel, 1, 32, 100 << 10, np.float32(1.0))
        assert kernel.max_dynamic_shared_size_bytes == 100 << 10


# --- compilers ---


@pytest.mark.skipif(NVCC is None, reason="nvcc, of NVIDIA's toolkit, is not installed")
@pytest.mark.parametrize(("form", "dtype"), [("layer by layer", "float32"), ("tiny", "float64")])
def test_sources_compile_for_gpus(form, dtype, tmp_path):
    """All kernels there are, for three generations of GPUs."""
    optimizer = decayed(adam(), 0.01)
    if form == "tiny":
        hidden = (*UNITS, "tanh")
        objective = Objective(Network((3, *[4] * len(hidden), 2), activation=hidden, loss="cross_entropy"), l2=0.1)
        work = Work(objective, update_of(optimizer, dtype, tiny.part_of_one_network), dtype)
        text = tiny.source_of_tiny(work, weighed=True)
    else:
        layers = layers_of(DEEP, dtype, weighed=False)
        text = source_of_step(layers, update_of(optimizer, dtype, part_in_global_memory), dtype, mean=True)
        outputs = [layers_of(network, dtype, weighed=True).output for network in SHALLOW]
        text += "".join(renamed(output, f"output_{k}") for k, output in enumerate(outputs))
    path = tmp_path / "all.cu"
    path.write_text(text)
    kinds = [f"-gencode=arch=compute_{kind},code=sm_{kind}" for kind in (80, 90, 100)]
    command = [NVCC, "--fatbin", "-Werror=all-warnings", *kinds, str(path), "-o", str(tmp_path / "all.fatbin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
