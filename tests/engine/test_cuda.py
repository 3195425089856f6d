"""Epochs by CUDA kernels compared with the plain equations: on an emulated device, and on a GPU if there is one."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_numpy
from gpubp.engine.cuda import captured_steps, small_networks, steps
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.epoch import cuda_epoch_runner
from gpubp.engine.cuda.graphs import CudaGraphs
from gpubp.engine.cuda.kernels import narrow_outputs
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, BatchesInParts
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, AdamState, Optimizer, adam, adamw, momentum
from gpubp.optim.schedules import Cosine, PiecewiseConstant
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from gpubp.testing import assert_agree
from tests.cuda_machines import (
    ACTIVATION_NAMES,
    LOSS_NAMES,
    N_SAMPLES,
    SIZE,
    assert_same,
    assert_same_report,
    emulated,
    needs_compiler,
    plain_and_compiled,
    plain_way,
    run_epochs,
    samples,
    to_machine,
)
from tests.emulated_cuda import EmulatedDevice
from tests.interrupts import interrupt_call

pytestmark = [pytest.mark.once, pytest.mark.slow]


@pytest.fixture(autouse=True)
def products_of_outputs(request, monkeypatch):
    """Where both precisions are tested, let float32 have cuBLAS's products also for a narrow output layer."""
    if hasattr(request.node, "callspec") and request.node.callspec.params.get("dtype") == "float32":
        monkeypatch.setattr(steps, "has_narrow_output", lambda *_: False)


@pytest.mark.usefixtures("form")
class TestAgreesWithPlain:
    @pytest.mark.parametrize("name", ACTIVATION_NAMES)
    def test_activations(self, machine, name):
        assert_same(plain_and_compiled(machine, Network((3, 5, 4, 2), activation=name)))

    @pytest.mark.parametrize("loss_name", LOSS_NAMES)
    def test_losses(self, machine, loss_name, dtype):
        network = Network((3, 5, 4), activation="tanh", loss=loss_name)
        assert_same(plain_and_compiled(machine, network, dtype=dtype, weighted=dtype == "float32"))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_optimizers(self, machine, optimizer, dtype):
        network = Network((3, 5, 4), activation="tanh", loss="cross_entropy")
        assert_same(plain_and_compiled(machine, network, OPTIMIZERS[optimizer](), dtype))

    @pytest.mark.parametrize("optimizer", [momentum, adam])
    def test_schedules(self, machine, optimizer):
        rate = PiecewiseConstant({0: 0.1, 0.4: 0.01, 1.5: 0.3})
        assert_same(plain_and_compiled(machine, Network((3, 5, 4)), decayed(optimizer(learning_rate=rate), 0.01)))

    @pytest.mark.parametrize(("stack", "leading"), [(None, ()), (3, ()), (3, (3,))], ids=["one", "shared", "own"])
    def test_rate_factors(self, machine, dtype, stack, leading):
        network = Network((3, 5, 4), activation="tanh", loss="cross_entropy")
        factors = 10.0 ** np.random.default_rng(4).uniform(-2.0, 0.5, (*leading, network.n_parameters))
        optimizer = decay_scaled(rate_scaled(decayed(adamw(weight_decay=0.5), 0.01), factors), factors[..., ::-1])
        assert_same(plain_and_compiled(machine, network, optimizer, dtype, stack=stack))

    @pytest.mark.parametrize(
        "optimizer",
        [
            clipped(momentum(0.05, 0.9), 0.1),
            clipped(adam(), PiecewiseConstant({0: 1e-3, 1.5: 1e3})),
            decayed(clipped(momentum(0.05, 0.9), 0.1), 0.01),
            clipped(decayed(rate_scaled(adamw(weight_decay=0.5), np.linspace(0.1, 2.0, 44)), 0.01), 0.1),
        ],
        ids=["momentum", "schedule", "decayed", "scaled"],
    )
    @pytest.mark.parametrize("l2", [0.0, 0.3, 1e25])  # the square of the last is too large for float32
    def test_clipping(self, machine, optimizer, l2, dtype, monkeypatch):
        monkeypatch.setattr(captured_steps, "MAX_BLOCKS", 2)
        assert_same(plain_and_compiled(machine, Network((3, 5, 4)), optimizer, dtype, options={"l2": l2}))

    @pytest.mark.parametrize(
        ("activation_name", "rates", "optimizer"),
        [
            ("tanh", (0.0, 0.3, 0.0), momentum(0.05, 0.9)),
            ("gelu", (0.2, 0.0, 0.5), clipped(momentum(0.05, 0.9), 0.1)),
            ("softmax", (0.2, Cosine(0.6, 2), 0.5), momentum(0.05, 0.9)),
            ("tanh", (0.2, Cosine(0.6, 2), 0.5), clipped(momentum(0.05, 0.9), 0.1)),
        ],
        ids=["tanh", "gelu", "softmax", "schedule"],
    )
    def test_dropout(self, machine, activation_name, rates, optimizer, dtype):
        network = Network((5, 7, 11, 3), activation=(activation_name, "tanh"), loss="cross_entropy")
        dropout = Dropout(network.sizes[:-1], rates, 2**63 + 12345)
        assert_same(plain_and_compiled(machine, network, optimizer, dtype, dropout=dropout))

    @pytest.mark.parametrize("n_parts", [2, 3, 99])
    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_gradients_of_parts(self, machine, n_parts, stack, shuffled, dtype):
        network, size = Network((5, 7, 11, 3), activation="tanh", loss="cross_entropy"), SIZE if shuffled else N_SAMPLES
        dropout = Dropout(network.sizes[:-1], (0.2, 0.0, 0.5), 12345)
        options = {"parts": n_parts, "l2": 0.1}
        batches = {"size": size, "shuffled": shuffled, "weighted": True, "stack": stack, "dropout": dropout}
        optimizer = clipped(momentum(0.05, 0.9), 0.1)
        assert_same(plain_and_compiled(machine, network, optimizer, dtype, options, **batches))

    @pytest.mark.parametrize(("precision", "stack"), [("float64", None), ("float32", 3)])
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("sizes", [(3, 300, 16), (3, 1024, 1), (3, 4, 17), (3, 1025, 2)], ids=str)
    def test_widest_narrow_outputs_and_wider_ones(self, machine, sizes, bias, precision, stack):
        network = Network(sizes, activation="tanh", loss="squared", output_activation="logistic", bias=bias)
        is_narrow = sizes[-1] <= 16 and sizes[-2] <= 1024
        assert narrow_outputs.has_narrow_output(network, N_SAMPLES) == is_narrow
        assert_same(plain_and_compiled(machine, network, dtype=precision, stack=stack, weighted=True))

    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("size", [1, N_SAMPLES])
    def test_dropout_of_batches(self, machine, size, stack):
        network = Network((5, 7, 3), loss="cross_entropy")
        keys = 2**63 + 12345 if stack is None else np.asarray([3, 2**64 - 1, 3], np.uint64)
        dropout = Dropout(network.sizes[:-1], (0.2, 0.5), keys)
        options = {"size": size, "shuffled": False, "stack": stack, "epochs": 2}
        assert_same(plain_and_compiled(machine, network, dropout=dropout, **options))

    @pytest.mark.parametrize("options", [{"reduction": "sum"}, {"l2": 0.3}, {"l2": 0.3, "penalty_reported": False}])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_objectives(self, machine, options, weighted):
        assert_same(plain_and_compiled(machine, Network((3, 5, 4)), options=options, weighted=weighted))

    @pytest.mark.parametrize("size", [1, 2, 11, 22, 23, 99])
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_batches(self, machine, size, shuffled, monkeypatch):
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 4)
        assert_same(
            plain_and_compiled(machine, Network((3, 5, 4)), size=size, shuffled=shuffled, weighted=True, epochs=3)
        )

    @pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 6, 4), (40, 300, 2), (1, 3, 16), (2, 3, 70)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_networks(self, machine, sizes, bias):
        network = Network(sizes, activation="tanh", loss="cross_entropy", bias=bias)
        assert_same(plain_and_compiled(machine, network, options={"l2": 0.1}, epochs=3))

    @pytest.mark.parametrize("activation_name", ["tanh", "softmax"])
    def test_more_numbers_than_threads_of_all_blocks(self, machine, activation_name, monkeypatch):
        monkeypatch.setattr(captured_steps, "MAX_BLOCKS", 2)
        monkeypatch.setattr(captured_steps, "MAX_PARTIAL_SUMS", 2)
        network = Network((5, 300, 2), activation=activation_name, loss="cross_entropy")
        assert_same(plain_and_compiled(machine, network, options={"l2": 0.1}, epochs=2))

    def test_a_batch_of_weight_0_changes_nothing(self, machine):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
        data = to_machine(machine, samples(network, "float64")._replace(sample_weight=np.zeros(N_SAMPLES)))
        position = ModelState(theta, optimizer.init(machine.backend.xp, theta))
        report = fast(position, ArrayBatches(machine.backend, data, SIZE))
        np.testing.assert_array_equal(to_numpy(position.theta), to_numpy(theta))
        np.testing.assert_array_equal(report.values, 0.0)

    def test_a_mean_does_not_depend_on_the_sign_of_all_weights(self, machine):
        network, optimizer = Network((3, 2)), momentum(0.1, 0.0)
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        data, ends = samples(network, "float64", weighted=True), []
        for sign in (1.0, -1.0):
            theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
            signed = to_machine(machine, data._replace(sample_weight=sign * data.sample_weight))
            position = ModelState(theta, optimizer.init(machine.backend.xp, theta))
            ends.append((fast(position, ArrayBatches(machine.backend, signed, SIZE)).values, to_numpy(position.theta)))
        np.testing.assert_array_equal(ends[0][0], ends[1][0])
        np.testing.assert_array_equal(ends[0][1], ends[1][1])


@pytest.mark.usefixtures("form")
class TestEpoch:
    def ends(self, machine, *, optimizer=None, **how):
        """Run an epoch with a new object; return its result and the object."""
        network, optimizer = Network((4, 30, 10), loss="cross_entropy"), optimizer or adam()
        fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.01), optimizer, "float32", None)
        return run_epochs(machine, fast, network, optimizer, "float32", **how), fast

    def assert_same_bits(self, one, other):
        for a, b in zip((one[0].theta, *one[0].state[:2]), (other[0].theta, *other[0].state[:2]), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
        np.testing.assert_array_equal(one[1].values, other[1].values)

    def test_two_runs_give_the_same_bits(self, machine):
        self.assert_same_bits(self.ends(machine)[0], self.ends(machine)[0])

    def test_captured_steps_give_the_bits_of_eager_ones(self, machine, form, monkeypatch):
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 3)
        captured, fast = self.ends(machine, size=2, epochs=5)
        if form == "layer by layer":
            assert set(fast.steps.graphs.replays) == {(2, 2), (2, 1), (1, 1)}
            assert all(fast.steps.graphs.replays.values())
        monkeypatch.setattr(CudaGraphs, "run", lambda self, kind, work: work())
        self.assert_same_bits(captured, self.ends(machine, size=2, epochs=5)[0])

    @needs_compiler
    def test_the_order_of_threads_changes_nothing(self):
        self.assert_same_bits(self.ends(emulated())[0], self.ends(emulated(backwards=True))[0])

    @needs_compiler
    def test_steps_are_replayed(self, form):
        machine, counts = emulated(), []
        position, data = self.start(machine, adam()), samples(Network((4, 10)), "float32")
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        for _ in range(5):
            before = machine.device.n_launches, machine.device.n_replays
            fast(position, ArrayBatches(machine.backend, data, 3))
            counts.append((machine.device.n_launches - before[0], machine.device.n_replays - before[1]))
        # a graph of 7 steps, one of the last, and the check for finite numbers; or one launch of all
        assert counts[2:] == [(1, 2) if form == "layer by layer" else (1, 0)] * 3

    def start(self, machine, optimizer):
        theta = machine.asarray(initial_weights(Network((4, 10)), 0, dtype="float32"))
        return ModelState(theta, optimizer.init(machine.backend.xp, theta))

    @needs_compiler
    def test_steps_that_cannot_be_captured_are_launched_with_one_warning(self, form, caplog):
        expected, _ = self.ends(emulated())
        with caplog.at_level(logging.WARNING, "gpubp"):
            result, _ = self.ends(emulated(can_capture=False))
        self.assert_same_bits(expected, result)
        warning = "steps are launched one at a time, because they could not be captured: this device captures nothing"
        assert [record.message for record in caplog.records] == ([warning] if form == "layer by layer" else [])

    def test_does_not_change_its_inputs(self, machine):
        optimizer = adam()
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), optimizer, "float32", None)
        position, data = self.start(machine, optimizer), to_machine(machine, samples(Network((4, 10)), "float32"))
        theta, state, before = position.theta, position.state, to_numpy(position.theta).copy()
        for _ in range(3):
            fast(position, ArrayBatches(machine.backend, data, SIZE))
        np.testing.assert_array_equal(to_numpy(theta), before)
        np.testing.assert_array_equal(to_numpy(state.first), 0.0)
        assert (state.updates, position.state.updates) == (0, 9)

    def test_an_epoch_makes_new_parameters(self, machine):
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        position, data = self.start(machine, adam()), to_machine(machine, samples(Network((4, 10)), "float32"))
        checkpoints = []
        for _ in range(4):
            fast(position, ArrayBatches(machine.backend, data, SIZE))
            checkpoints.append((position.theta, to_numpy(position.theta).copy()))
        for theta, before in checkpoints:
            np.testing.assert_array_equal(to_numpy(theta), before)

    def test_continues_from_restored_parameters(self, machine):
        """As in the training loop after divergence, on a separate stream."""
        optimizer, network = adam(), Network((4, 10))
        plain = plain_way(machine, Objective(network), optimizer, "float32")
        ends = []
        for way in (plain, cuda_epoch_runner(machine.device, Objective(network), optimizer, "float32", plain)):
            position, data = self.start(machine, optimizer), to_machine(machine, samples(network, "float32"))
            for _ in range(4):
                way(position, ArrayBatches(machine.backend, data, SIZE))
                position.theta = position.theta * 0.5
            ends.append(position.theta)
        assert_agree(ends[1], ends[0], "steps")

    def test_restarts_from_a_new_position(self, machine):
        """With the same samples, and so the same arrays."""
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        data, ends = to_machine(machine, samples(Network((4, 10)), "float32")), []
        for _ in range(2):
            position = self.start(machine, adam())
            for _ in range(3):
                fast(position, ArrayBatches(machine.backend, data, SIZE))
            ends.append((to_numpy(position.theta), to_numpy(position.state.second).copy()))
        for one, other in zip(*ends, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("where", [0, -1])
    def test_reports_whether_the_parameters_are_finite(self, machine, where):
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), momentum(), "float32", None)
        position, data = self.start(machine, momentum()), to_machine(machine, samples(Network((4, 10)), "float32"))
        batches = ArrayBatches(machine.backend, data, SIZE)
        assert fast(position, batches).finite
        theta = to_numpy(position.theta).copy()
        theta[where] = np.inf
        position.theta = machine.asarray(theta)
        with np.errstate(all="ignore"):
            assert not fast(position, batches).finite

    def test_interrupted_keeps_what_was_learned(self, machine, form, monkeypatch):
        monkeypatch.setattr(small_networks, "OPERATIONS_PER_LAUNCH", 1.0)  # a launch for each step
        fast = cuda_epoch_runner(machine.device, Objective(Network((4, 10))), adam(), "float32", None)
        position, data = self.start(machine, adam()), to_machine(machine, samples(Network((4, 10)), "float32"))
        before = to_numpy(position.theta).copy()
        holder, name = (CudaGraphs, "run") if form == "layer by layer" else (type(machine.device), "launch")
        monkeypatch.setattr(holder, name, interrupt_call(2, getattr(holder, name)))
        with pytest.raises(KeyboardInterrupt):
            fast(position, ArrayBatches(machine.backend, data, SIZE))
        assert position.state.updates == (2 if form == "layer by layer" else 1)  # a graph takes both full batches
        assert np.any(to_numpy(position.theta) != before)

    def test_batches_of_another_kind_have_their_own_arrays(self, machine):
        optimizer, network = adam(), Network((4, 10))
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        data, ends = samples(network, "float64"), []
        for batch, order in (
            (data, None),
            (data, np.arange(N_SAMPLES)),
            (data._replace(sample_weight=np.ones(N_SAMPLES)), np.arange(N_SAMPLES)),
        ):
            theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
            position, batch = ModelState(theta, optimizer.init(machine.backend.xp, theta)), to_machine(machine, batch)
            for size in (2, SIZE):
                fast(position, ArrayBatches(machine.backend, batch, size, order))
            ends.append(to_numpy(position.theta))
        np.testing.assert_array_equal(ends[0], ends[1])
        np.testing.assert_allclose(ends[0], ends[2], rtol=1e-12)


STACK = 5


@pytest.fixture(params=["layer by layer", "small networks"])
def form_of_stack(request, monkeypatch):
    """Both forms of a stack's step: blocks along a launch's third dimension, or one block for each small network."""
    if request.param == "layer by layer":
        monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)  # more than available
    return request.param


@pytest.mark.usefixtures("form_of_stack")
class TestStacks:
    def assert_paths_agree(
        self,
        machine,
        network,
        optimizer,
        dtype="float64",
        own_samples=False,
        weighted=None,
        size=SIZE,
        shuffled=True,
        **o,
    ):
        xp, objective, ends = machine.backend.xp, Objective(network, **o), []
        theta = machine.asarray(initial_weights(network, range(STACK), scheme="uniform", scale=0.5, dtype=dtype))
        parts = [samples(network, dtype, weighted is not None, seed) for seed in range(STACK)]
        x, targets = (np.stack([part[k] for part in parts]) for k in range(2))
        weights = None if weighted is None else np.stack([part.sample_weight for part in parts])
        if not own_samples:
            x, targets = x[0], targets[0]
        if weighted == "together":
            weights = weights[0]
        data = to_machine(machine, Batch(x, targets, weights))
        plain = plain_way(machine, objective, optimizer, dtype)
        for way in (plain, cuda_epoch_runner(machine.device, objective, optimizer, dtype, None)):
            position, rng = ModelState(theta, optimizer.init(xp, theta)), np.random.default_rng(2)
            for _ in range(3):
                order = rng.permutation(N_SAMPLES) if shuffled else None
                report = way(position, ArrayBatches(machine.backend, data, size, order))
                position.epoch += 1
            ends.append((position, report))
        (one, report), (other, other_report) = ends
        for a, b in zip((other.theta, *other.state[:2]), (one.theta, *one.state[:2]), strict=True):
            assert_agree(a, b, "steps")
        assert_same_report(other_report, report, dtype)
        np.testing.assert_array_equal(to_numpy(other_report.finite), to_numpy(report.finite))
        return other

    @pytest.mark.parametrize(
        ("own_samples", "weighted"),
        [(False, None), (False, "together"), (False, "each"), (True, None), (True, "each")],
    )
    def test_samples_and_weights(self, machine, own_samples, weighted, dtype):
        network = Network((3, 6, 4), activation="tanh", loss="cross_entropy")
        self.assert_paths_agree(
            machine, network, momentum(0.05), dtype, own_samples=own_samples, weighted=weighted, l2=0.1
        )

    @pytest.mark.parametrize("activation_name", ["gelu", "softmax"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_networks(self, machine, activation_name, bias):
        network = Network((3, 6, 5, 4), activation=activation_name, loss="binary_cross_entropy", bias=bias)
        self.assert_paths_agree(machine, network, adam(), l2=0.1, penalty_reported=False)

    def test_a_step_size_for_each_network(self, machine):
        rates = machine.asarray(np.linspace(0.01, 0.1, STACK)[:, None])
        self.assert_paths_agree(machine, Network((3, 4, 2)), momentum(learning_rate=rates, momentum=0.5), size=99)

    def test_one_that_diverges_leaves_the_others_alone(self, machine):
        network, optimizer = Network((3, 4, 2)), momentum()
        theta = initial_weights(network, range(STACK), dtype="float64")
        theta[2, 3] = np.inf
        fast = cuda_epoch_runner(machine.device, Objective(network), optimizer, "float64", None)
        position = ModelState(machine.asarray(theta), optimizer.init(machine.backend.xp, machine.asarray(theta)))
        data = to_machine(machine, samples(network, "float64"))
        with np.errstate(invalid="ignore"):
            report = fast(position, ArrayBatches(machine.backend, data, SIZE))
        np.testing.assert_array_equal(report.finite, [True, True, False, True, True])

    def test_whole_epochs(self, machine, monkeypatch):
        """Samples in place, and graphs of one step."""
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 1)
        self.assert_paths_agree(
            machine, Network((3, 5, 2)), adam(), size=99, shuffled=False, own_samples=True, weighted="each"
        )

    @needs_compiler
    def test_the_order_of_threads_changes_nothing(self):
        network, ends = Network((3, 40, 2), activation="softmax"), []
        for machine in (emulated(), emulated(backwards=True)):
            ends.append(self.assert_paths_agree(machine, network, adam(), "float32", l2=0.1).theta)
        np.testing.assert_array_equal(*ends)


class TestStackSizes:
    @needs_compiler
    @pytest.mark.parametrize("sizes", [(300, 300, 2), (3, 2)])
    def test_too_many_networks_for_a_launch_use_the_plain_path(self, monkeypatch, sizes):
        monkeypatch.setattr(cuda_epoch, "MAX_NETWORKS", 1)
        network, optimizer, report = Network(sizes), momentum(), object()
        fast = cuda_epoch_runner(
            EmulatedDevice(), Objective(network), optimizer, "float64", lambda position, batches: report
        )
        data = ArrayBatches(choose_backend("cpu"), samples(network, "float64"), SIZE)
        for n_networks in (1, 2):
            theta = np.zeros((n_networks, network.n_parameters))
            goes_plain = fast(ModelState(theta, optimizer.init(np, theta)), data) is report
            assert goes_plain == (n_networks == 2 and sizes != (3, 2))

    @needs_compiler
    def test_a_launch_takes_less_than_65536_networks(self):
        network, optimizer, report = Network((1, 1)), momentum(), object()
        device = EmulatedDevice(shared_memory=0)  # layer by layer
        fast = cuda_epoch_runner(device, Objective(network), optimizer, "float32", lambda position, batches: report)
        theta = np.zeros((2**16, network.n_parameters), "float32")
        data = ArrayBatches(choose_backend("cpu"), samples(network, "float32"), SIZE)
        assert fast(ModelState(theta, optimizer.init(np, theta)), data) is report

    @needs_compiler
    def test_one_network_of_many_operations_goes_layer_by_layer(self):
        for sizes, kind in (((150, 150, 2), steps.LayerwiseSteps), ((3, 30, 2), small_networks.SmallNetworkSteps)):
            network, optimizer = Network(sizes), momentum()
            device = EmulatedDevice(shared_memory=1 << 30)  # enough for either
            fast = cuda_epoch_runner(device, Objective(network), optimizer, "float32", None)
            theta = np.zeros(network.n_parameters, "float32")
            fast(
                ModelState(theta, optimizer.init(np, theta)),
                ArrayBatches(choose_backend("cpu"), samples(network, "float32"), SIZE),
            )
            assert type(fast.steps) is kind

    @needs_compiler
    def test_larger_networks_go_layer_by_layer(self):
        for sizes, kind in (((300, 300, 2), steps.LayerwiseSteps), ((3, 30, 2), small_networks.SmallNetworkSteps)):
            network, optimizer = Network(sizes), momentum()
            fast = cuda_epoch_runner(EmulatedDevice(), Objective(network), optimizer, "float32", None)
            theta = np.zeros((2, network.n_parameters), "float32")
            data = ArrayBatches(choose_backend("cpu"), samples(network, "float32"), SIZE)
            fast(ModelState(theta, optimizer.init(np, theta)), data)
            assert type(fast.steps) is kind


@needs_compiler
def test_steps_of_a_window_have_no_more_bytes_than_it_may(monkeypatch):
    network, optimizer, size = Network((3, 2)), momentum(), 2
    data = ArrayBatches(choose_backend("cpu"), Batch(np.zeros((12, 3)), np.zeros((12, 2))), size, order=np.arange(12))
    monkeypatch.setattr(cuda_epoch, "MAX_OPERATIONS_OF_ONE_BLOCK", 0)  # layer by layer
    monkeypatch.setattr(cuda_epoch, "BYTES_PER_WINDOW", 3 * size * (3 + 2) * 8)  # three of the six steps
    fast = cuda_epoch_runner(EmulatedDevice(), Objective(network), optimizer, "float64", None)
    theta = np.zeros(network.n_parameters)
    fast(ModelState(theta, optimizer.init(np, theta)), data)
    assert fast.steps.plan.window == 3


class TestEpochsTogether:
    """One call for several epochs, then one for fewer and one for more: the same bits."""

    @pytest.mark.parametrize("seeds", [0, (0, 1)])
    @pytest.mark.parametrize(
        ("size", "shuffled"), [(99, False), (SIZE, False), (5, "once"), (5, "each epoch"), (99, "each epoch")]
    )
    def test_give_the_bits_of_single_epochs(self, machine, form, size, shuffled, seeds, monkeypatch):
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 3)
        if form == "layer by layer":
            monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)
        network, rng = Network((3, 5, 4), activation="tanh"), np.random.default_rng(0)
        orders = np.stack([rng.permutation(N_SAMPLES) for _ in range(13)])
        optimizer = adam(learning_rate=PiecewiseConstant({0: 0.1, 1.5: 0.01, 7.4: 0.05}))
        theta = machine.asarray(initial_weights(network, seeds, dtype="float64"))
        batches = ArrayBatches(machine.backend, to_machine(machine, samples(network, "float64", weighted=True)), size)
        batches, ends = replace(batches, order=orders[0] if shuffled else None), []
        for epochs in ([1] * 13, [1, 4, 1, 2, 5]):
            fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.1), optimizer, "float64", None)
            position, report = ModelState(theta, optimizer.init(machine.backend.xp, theta)), []
            for n in epochs:
                if shuffled == "each epoch":
                    order = orders[position.epoch : position.epoch + n]
                    batches = replace(batches, order=order if n > 1 else order[0])
                report.append(fast(position, replace(batches, epochs=n)))
                position.epoch += n
            ends.append((position, report))
        (one, report), (other, other_report) = ends
        for a, b in zip((one.theta, *one.state), (other.theta, *other.state), strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
        for name in ("values", "weights", "sizes"):
            result, expected = (
                np.concatenate([getattr(part, name) for part in parts]) for parts in (report, other_report)
            )
            np.testing.assert_array_equal(result, expected)


class TestParts:
    """Epochs in parts, the last longer than the others, give the bits of whole epochs."""

    @pytest.mark.parametrize("seeds", [0, (0, 1)])
    @pytest.mark.parametrize(("shuffled", "on_host"), [(True, False), (False, False), (True, True)])
    def test_give_the_bits_of_whole_epochs(self, machine, form, shuffled, on_host, seeds, monkeypatch):
        monkeypatch.setattr(cuda_epoch, "STEPS_PER_GRAPH", 3)
        if form == "layer by layer":
            monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)
        network, order = Network((3, 5, 4), activation="tanh"), np.random.default_rng(0).permutation(N_SAMPLES)
        optimizer, data = (
            adam(learning_rate=PiecewiseConstant({0: 0.1, 1.5: 0.01})),
            samples(network, "float64", weighted=True),
        )
        theta = machine.asarray(initial_weights(network, seeds, dtype="float64"))
        batches = ArrayBatches(machine.backend, data if on_host else to_machine(machine, data), 3, on_host=on_host)
        batches, ends = replace(batches, order=order if shuffled else None), []
        for epoch in ([batches], BatchesInParts(batches, 3), BatchesInParts(batches, 2)):
            fast = cuda_epoch_runner(machine.device, Objective(network, l2=0.1), optimizer, "float64", None)
            position, report = ModelState(theta, optimizer.init(machine.backend.xp, theta)), []
            for _ in range(3):
                report += [fast(position, part) for part in epoch]
                position.epoch += 1
            assert len(fast.cache) == (1 if epoch == [batches] else 2)
            result = [np.concatenate([getattr(one, name) for one in report]) for name in ("values", "weights", "sizes")]
            ends.append([*map(to_numpy, (position.theta, *position.state)), *result])
        for end in ends[1:]:
            for actual, expected in zip(end, ends[0], strict=True):
                np.testing.assert_array_equal(actual, expected)


class TestRunsPlainEquations:
    @pytest.mark.parametrize(
        "optimizer",
        [
            replace(momentum(), update=lambda xp, g, state, theta, values: (g if g > 0 else -g, state)),
            replace(adam(), update=lambda xp, g, state, theta, values: (-g * values["beta_1"], ())),
            replace(adam(), update=lambda xp, g, state, *_: (-g, AdamState(g, g, state.updates * 2))),
            replace(momentum(), init=lambda xp, theta: [1.0]),
        ],
    )
    def test_updates_that_c_cannot_express(self, optimizer):
        plain = object()
        assert cuda_epoch_runner(EmulatedDevice(), Objective(Network((3, 2))), optimizer, "float64", plain) is plain

    def test_a_user_defined_optimizer(self, machine):
        def update(xp, gradient, state, theta, values):
            return -values["learning_rate"] * xp.sign(gradient) * xp.maximum(xp.abs(theta), 0.01), state

        optimizer = Optimizer("signs", {"learning_rate": 0.1}, lambda xp, theta: (), update)
        assert_same(plain_and_compiled(machine, Network((3, 5, 2)), optimizer))

    def test_no_samples(self):
        network, optimizer, report = Network((3, 2)), momentum(), object()
        fast = cuda_epoch_runner(
            EmulatedDevice(), Objective(network), optimizer, "float64", lambda position, batches: report
        )
        backend, data = choose_backend("cpu"), samples(network, "float64")
        theta = initial_weights(network, 0, dtype="float64")
        position = ModelState(theta, optimizer.init(np, theta))
        assert fast(position, ArrayBatches(backend, Batch(data.x[:0], data.targets[:0]), SIZE)) is report
