"""Steps whose gradients are those of the plain equations, in graphs: emulated, and on a GPU if there is one."""

import logging

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.captured_steps import CapturedSteps
from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.cuda.equation_steps import EquationSteps
from gpubp.engine.cuda.gradient import CudaObjective
from gpubp.engine.cuda.graphs import CudaGraphs
from gpubp.engine.cuda.namespace import CapturableNamespace
from gpubp.engine.plain.minibatches import ArrayBatches
from gpubp.engine.plain.step import ModelState, Objective, objective_and_gradient
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.nn.initialization import initial_weights
from gpubp.optim.first_order import adam, adamw, momentum
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.schedules import PiecewiseConstant
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from gpubp.testing import assert_agree
from tests.cuda_machines import (
    N_SAMPLES,
    NETWORKS,
    SIZE,
    assert_same,
    dropout_of,
    emulated,
    needs_compiler,
    plain_and_compiled,
    rounding,
    samples,
    to_machine,
)
from tests.emulated_cuda import EmulatedDevice
from tests.interrupts import interrupt_call

pytestmark = [pytest.mark.once, pytest.mark.slow]

OF_TABLES = ("RealMLP", "TabM")


@pytest.fixture(params=OF_TABLES)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch):
    """Let also those networks come here whose layers have kernels."""

    def lacking(*_, **__):
        raise Inexpressible("none is wanted")

    monkeypatch.setattr(cuda_epoch, "layer_kernels", lacking)


@pytest.fixture(autouse=True)
def all_is_captured(request, caplog, monkeypatch):
    """Let few steps be in a graph, and let no step be launched without one."""
    monkeypatch.setattr(cuda_epoch, "STEPS_OF_EQUATIONS", 2)
    yield
    warnings = [record.message for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert len(warnings) == ("without_graphs" in request.node.name), warnings


class TestAgreesWithPlain:
    @pytest.mark.parametrize(("stack", "dtype"), [(None, "float64"), (3, "float32")])
    @pytest.mark.parametrize("name", NETWORKS)
    def test_networks(self, machine, name, stack, dtype):
        assert_same(plain_and_compiled(machine, NETWORKS[name], dtype=dtype, stack=stack, weighted=stack is None))

    @pytest.mark.parametrize(
        ("options", "how"),
        [
            ({"l2": 0.1, "parts": 2}, {"weighted": True}),
            ({"l2": np.asarray([[0.0], [0.1]])}, {"stack": 2}),
            ({"reduction": "sum"}, {"shuffled": False}),
            ({"l2": 0.3, "penalty_reported": False}, {"shuffled": False, "size": N_SAMPLES}),
        ],
        ids=["parts", "stack", "sum", "full batch"],
    )
    def test_objectives_and_batches(self, machine, network, options, how):
        assert_same(plain_and_compiled(machine, network, clipped(adam(), 0.1), options=options, **how))

    def test_settings_of_each_step_and_each_parameter(self, machine, network):
        factors = 10.0 ** np.random.default_rng(4).uniform(-2.0, 0.5, network.n_parameters)
        optimizer = adamw(learning_rate=PiecewiseConstant({0: 0.01, 0.4: 0.1, 1.5: 0.03}), weight_decay=0.5)
        assert_same(
            plain_and_compiled(machine, network, decay_scaled(rate_scaled(decayed(optimizer, 0.01), factors), factors))
        )

    @pytest.mark.parametrize(("stack", "parts", "dtype"), [(None, 2, "float64"), (3, 1, "float32")])
    def test_dropout(self, machine, network, stack, parts, dtype):
        dropout = dropout_of(network, 0.3, 0.0, 0.2, stack=stack)
        options = {"stack": stack, "dropout": dropout, "epochs": 3}
        assert_same(plain_and_compiled(machine, network, momentum(), dtype, {"parts": parts}, **options))

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy
    @pytest.mark.parametrize(("products", "stack"), [("bfloat16", None), ("float16", 3)])
    def test_products_of_16_bits(self, machine, network, products, stack):
        optimizer = loss_scaled(adam()) if products == "float16" else adam()
        rounded = rounding(machine, products)
        results = plain_and_compiled(rounded, network, optimizer, "float32", stack=stack)
        assert_same(results, f"steps {products}")

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy
    def test_gradients_that_overflow_are_skipped(self, machine, network):
        def from_large_scale(state):
            return state._replace(loss_scale=state.loss_scale * 2.0**14)

        results = plain_and_compiled(
            rounding(machine, "float16"), network, loss_scaled(momentum()), "float32", state_from=from_large_scale
        )
        assert_same(results, "steps float16")
        (plain, _), (fast, _) = results
        assert float(fast.state.loss_scale) == float(plain.state.loss_scale) < 2.0**24

    @pytest.mark.on("cuda")
    def test_products_in_tf32(self, network):
        from tests.cuda_machines import gpu

        assert_same(plain_and_compiled(rounding(gpu(), "tf32"), network, dtype="float32"), "steps tf32")


class TestEpochs:
    def run(self, machine, network, *, on_host=False, epochs=4, optimizer=None):
        optimizer, data = optimizer or adam(), samples(network, "float64", weighted=True)
        data = data if on_host else to_machine(machine, data)
        runner = CudaEpochRunner(machine.device, Objective(network), optimizer, "float64", None)
        theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
        model, rng = ModelState(theta, optimizer.init(machine.backend.xp, theta)), np.random.default_rng(0)
        for _ in range(epochs):
            runner(model, ArrayBatches(machine.backend, data, SIZE, rng.permutation(N_SAMPLES), on_host=on_host))
            model.epoch += 1
        return to_numpy(model.theta), runner

    def test_captured_steps_give_the_bits_of_others(self, machine, network, monkeypatch):
        captured, runner = self.run(machine, network)
        assert isinstance(runner.steps, EquationSteps)
        assert set(runner.steps.graphs.replays) == {(SIZE, 2), (N_SAMPLES % SIZE, 1)}
        assert all(runner.steps.graphs.replays.values())
        monkeypatch.setattr(CudaGraphs, "run", lambda self, kind, work: work())
        np.testing.assert_array_equal(captured, self.run(machine, network)[0])

    def test_samples_from_the_host(self, machine, network):
        np.testing.assert_array_equal(*(self.run(machine, network, on_host=on_host)[0] for on_host in (False, True)))

    @needs_compiler
    def test_an_epoch_uploads_once_and_downloads_once(self, network):
        machine, counts = emulated(), []
        for epochs in (3, 4):
            machine.device.n_uploads = machine.device.n_downloads = 0
            self.run(machine, network, epochs=epochs)
            counts.append((machine.device.n_uploads, machine.device.n_downloads))
        assert np.subtract(*counts[::-1]).tolist() == [1, 1]

    @needs_compiler
    def test_steps_without_graphs(self, network, caplog):
        expected = self.run(emulated(), network)[0]
        with caplog.at_level(logging.WARNING, "gpubp"):
            np.testing.assert_array_equal(self.run(emulated(can_capture=False), network)[0], expected)

    @pytest.mark.on("cuda")
    def test_operations_that_cupy_refuses_to_capture_run_without_graphs(self, network, monkeypatch, caplog):
        from tests.cuda_machines import gpu

        machine = gpu()
        expected = self.run(machine, network)[0]
        monkeypatch.setattr(CapturableNamespace, "asarray", lambda self, array, **_: self.device.upload(array))
        monkeypatch.setattr(
            CapturableNamespace, "concat", lambda self, arrays, axis: self.plain.concat(arrays, axis=axis)
        )
        with caplog.at_level(logging.WARNING, "gpubp"):
            np.testing.assert_array_equal(self.run(machine, network)[0], expected)

    def test_an_interrupted_epoch_keeps_its_steps(self, machine, network, monkeypatch):
        monkeypatch.setattr(CudaGraphs, "run", interrupt_call(2, CudaGraphs.run))
        optimizer, data = adam(), to_machine(machine, samples(network, "float64"))
        runner = CudaEpochRunner(machine.device, Objective(network), optimizer, "float64", None)
        theta = machine.asarray(initial_weights(network, 0, dtype="float64"))
        model = ModelState(theta, optimizer.init(machine.backend.xp, theta))
        with pytest.raises(KeyboardInterrupt):
            runner(model, ArrayBatches(machine.backend, data, SIZE))
        assert model.state.updates == 2
        assert np.any(to_numpy(model.theta) != to_numpy(theta))

    @needs_compiler
    def test_a_graph_has_few_steps(self, network, monkeypatch):
        monkeypatch.setattr(cuda_epoch, "STEPS_OF_EQUATIONS", 1)
        _, runner = self.run(emulated(), network, epochs=1)
        assert runner.steps.plan.window == 1

    def test_steps_must_say_how_they_make_gradients(self):
        with pytest.raises(NotImplementedError):
            CapturedSteps._add_gradient(object(), 0, 0, 0, is_last=True)


class TestNamespace:
    @pytest.fixture
    def xp(self, machine):
        return CapturableNamespace(machine.device, machine.asarray(np.zeros(1)), "float64")

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ((3, 4), (4, 2)),
            ((5, 3, 4), (5, 4, 2)),
            ((3, 4), (5, 4, 2)),
            ((5, 3, 4), (4, 2)),
            ((2, 5, 3, 4), (2, 5, 4, 2)),
            ((1, 3, 4), (5, 4, 2)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((1, 1, 3), (1, 3, 1)),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("view", ["whole", "transposed", "rows", "columns", "reversed"])
    def test_products(self, machine, xp, a, b, view):
        rng = np.random.default_rng(0)

        def operand(*shape):
            *stack, rows, columns = shape
            if view == "transposed":
                return machine.asarray(rng.normal(size=(*stack, columns, rows))).mT
            whole = machine.asarray(rng.normal(size=(*stack, rows + 2, columns + 2)))
            views = {"rows": whole[..., 1 : rows + 1, :], "columns": whole[..., 1:-1, 1:-1]}
            views |= {"reversed": whole[..., rows::-1, 1:-1][..., :rows, :]}
            part = views[view][..., :columns] if view in views else whole[..., :rows, :columns].copy()
            assert part.shape == shape
            return part

        a, b = operand(*a), operand(*b)
        with machine.device.active():
            product = xp.matmul(a, b)
        assert_agree(to_numpy(product), np.matmul(to_numpy(a), to_numpy(b)), "forward")

    def test_joins_arrays(self, machine, xp):
        a, b = (machine.asarray(np.random.default_rng(n).normal(size=(2, n, 3))) for n in (4, 1))
        with machine.device.active():
            joined = xp.concat([a, b], axis=-2), xp.concat([a, a]), xp.concat([a], axis=1)
        expected = [a, b], [a, a], [a]
        for result, arrays, axis in zip(joined, expected, (-2, 0, 1), strict=True):
            np.testing.assert_array_equal(to_numpy(result), np.concatenate([*map(to_numpy, arrays)], axis=axis))

    @needs_compiler
    def test_arrays_of_the_host_are_copied_once(self):
        device, host = EmulatedDevice(), np.arange(6.0)
        xp = CapturableNamespace(device, host, "float64")
        for _ in range(2):
            np.testing.assert_array_equal(xp.asarray(np.reshape(host, (2, 3))), np.reshape(host, (2, 3)))
            assert xp.asarray(host, dtype=np.dtype("float32")).dtype == "float32"
        assert device.n_uploads == 2
        assert float(xp.asarray(2.0)) == 2.0


class TestObjective:
    """Of second-order optimizers: on all samples, in one launch."""

    @pytest.mark.parametrize(
        ("dtype", "options"), [("float32", {"reduction": "sum"}), ("float64", {"l2": 0.1})], ids=["sum", "penalty"]
    )
    @pytest.mark.parametrize("name", ["TabM", "ties"])
    def test_agrees_with_plain(self, machine, name, options, dtype):
        network = NETWORKS[name]
        objective, weighted = Objective(network, **options), "l2" in options
        batch = to_machine(machine, samples(network, dtype, weighted))
        mask = machine.asarray(network.weight_mask(), dtype)
        compiled = CudaObjective(machine.device, objective, mask, dtype, batch)
        results = []
        for seed in range(4):  # launched, captured, and replayed twice
            theta = machine.asarray(initial_weights(network, seed, dtype=dtype))
            results.append((compiled(theta), theta))
        for (value, gradient), theta in results:  # which later evaluations have not changed
            expected, slope = objective_and_gradient(machine.backend.xp, objective, mask, theta, batch)
            assert_agree(to_numpy(value), to_numpy(expected), "steps")
            assert_agree(to_numpy(gradient), to_numpy(slope), "steps")
        assert compiled.graphs.can_capture
