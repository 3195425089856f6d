"""Operands of matrix products in 16 bits, which the CUDA kernels round and store: the bits, and training with them."""

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.backends.matmul_precision import rounded
from gpubp.engine.cuda import steps
from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.cuda.kernels.preamble import head
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.wrappers import clipped
from tests.cuda_machines import N_SAMPLES, SIZE, assert_same, plain_and_compiled, rounding, run_epochs, samples
from tests.emulated_cuda import numbers_of

pytestmark = [pytest.mark.once, pytest.mark.slow]

READ = """
extern "C" __global__ void read_operands(integer n, const operand* from, real* to) {
    for (integer i = threadIdx.x; i < n; i += blockDim.x) to[i] = to_real(from[i]);
}
"""
NETWORK = Network((5, 7, 11, 3), activation=("tanh", "gelu"), loss="cross_entropy")


@pytest.fixture(params=["bfloat16", "float16"])
def products(request):
    return request.param


@pytest.fixture
def rounding_machine(machine, products):
    return rounding(machine, products)


def assert_rounded(operands, numbers, products):
    """Check that the bits are those of the numbers rounded by NumPy."""
    with np.errstate(over="ignore"):
        expected = rounded(np, to_numpy(numbers), products)
    np.testing.assert_array_equal(numbers_of(to_numpy(operands), products), expected)


def steps_of(machine, optimizer, **how):
    runner = CudaEpochRunner(machine.device, Objective(NETWORK), optimizer, "float32", None)
    run_epochs(machine, runner, NETWORK, optimizer, "float32", **how)
    return runner.steps


class TestBits:
    def test_every_exponent_and_every_tie(self, rounding_machine, products):
        """Subnormal numbers, infinities, NaN, and numbers that round to infinity are among them."""
        low = np.asarray([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001])
        bits = (np.arange(2**16)[:, None] << 16 | low).astype(np.uint32)
        numbers = rounding_machine.asarray(bits.ravel().view(np.float32))
        taken = steps_of(rounding_machine, momentum())
        operands = rounding_machine.device.empty(numbers.shape, "uint16")
        with rounding_machine.device.active():
            taken._round(numbers, operands)
            operands = rounding_machine.device.download(operands)
        assert_rounded(operands, numbers, products)

    def test_every_operand_is_read_as_its_number(self, rounding_machine, products):
        """Also subnormal numbers, though float32 arithmetic takes those of bfloat16 for 0."""
        device = rounding_machine.device
        text = head("float32", products=products) + READ
        bits = np.arange(2**16, dtype=np.uint16)
        with device.active():
            operands, numbers = device.upload(bits), device.empty(bits.shape, "float32")
            device.launch(device.kernels(text)["read_operands"], 1, 256, 1024, len(bits), operands, numbers)
            numbers = device.download(numbers)
        np.testing.assert_array_equal(numbers, numbers_of(bits, products))

    @pytest.mark.parametrize("stack", [None, 3])
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_all_operands_of_a_step(self, rounding_machine, products, stack, shuffled):
        steps = steps_of(rounding_machine, adam(), stack=stack, shuffled=shuffled, size=N_SAMPLES)
        assert_rounded(steps.theta_operands, steps.thetas, products)
        assert_rounded(steps.signal_operands, steps.signals, products)
        for operands, outputs in zip(steps.operands[1:], steps.outputs, strict=True):
            assert_rounded(operands, outputs, products)
        inputs = to_numpy(steps.samples.x)
        if shuffled:
            inputs = inputs[to_numpy(steps.order)[0]]
        assert_rounded(steps.inputs, inputs, products)

    def test_what_dropout_leaves(self, rounding_machine, products):
        """Inputs are rounded once, after their dropout."""
        dropout = Dropout(NETWORK.sizes[:-1], (0.3, 0.0, 0.0), 12345)
        steps = steps_of(rounding_machine, momentum(), dropout=dropout, size=N_SAMPLES, shuffled=False, epochs=1)
        left = np.reshape(to_numpy(steps.operands[0]), (N_SAMPLES, -1))
        kept = (left & 0x7FFF) != 0
        assert 0.5 < np.mean(kept) < 0.9
        kept_inputs = np.where(kept, to_numpy(steps.samples.x) * np.float32(1 / 0.7), 0)
        assert_rounded(left, kept_inputs.astype(np.float32), products)


@pytest.mark.parametrize("optimizer", [momentum(0.05, 0.9), clipped(adam(), 0.1)], ids=["momentum", "clipped adam"])
@pytest.mark.parametrize(
    "how",
    [
        {"weighted": True},
        {"stack": 3},
        {"shuffled": False, "size": N_SAMPLES},
        {"options": {"parts": 2, "l2": 0.1}},
        {"dropout": Dropout(NETWORK.sizes[:-1], (0.2, 0.0, 0.5), 12345)},
        {"dropout": Dropout(NETWORK.sizes[:-1], (0.2, 0.0, 0.5), 12345), "stack": 3},
    ],
    ids=["weighted", "stack", "full batch", "parts", "dropout", "stack with dropout"],
)
@pytest.mark.parametrize("narrow", [True, False])
def test_training_agrees_with_plain(rounding_machine, products, optimizer, how, narrow, monkeypatch):
    monkeypatch.setattr(steps, "has_narrow_output", lambda *_: narrow)
    results = plain_and_compiled(rounding_machine, NETWORK, optimizer, "float32", **how)
    assert_same(results, f"steps {products}")


def test_samples_from_the_host(rounding_machine, products):
    """Windows of samples are rounded where they arrive; the result has the bits of samples on the device."""
    ends = []
    for on_host in (False, True):
        data = samples(NETWORK, "float32")
        theta = rounding_machine.asarray(initial_weights(NETWORK, 0, dtype="float32"))
        optimizer = momentum()
        model = ModelState(theta, optimizer.init(rounding_machine.backend.xp, theta))
        runner = CudaEpochRunner(rounding_machine.device, Objective(NETWORK), optimizer, "float32", None)
        if not on_host:
            data = type(data)(*(None if part is None else rounding_machine.asarray(part) for part in data[:3]))
        for epoch in range(3):
            order = np.random.default_rng(epoch).permutation(N_SAMPLES)
            runner(model, ArrayBatches(rounding_machine.backend, data, SIZE, order, on_host=on_host))
        ends.append(to_numpy(model.theta))
    np.testing.assert_array_equal(*ends)
