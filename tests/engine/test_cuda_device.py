"""Training on the CUDA engine through the public functions, and its calls to CuPy and cuBLAS."""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend
from gpubp.backends.libraries import CUPY
from gpubp.backends.matmul_precision import rounded
from gpubp.engine import cuda
from gpubp.engine.cuda.device import PRODUCTS, CudaDevice, multiplies
from gpubp.engine.cuda.epoch import cuda_epoch_runner
from gpubp.engine.cuda.kernels.preamble import head
from gpubp.engine.plain.minibatches import ArrayBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import AdamState, adam
from gpubp.testing import assert_agree
from gpubp.training import checkpointed
from gpubp.training import fit as fit_module
from gpubp.training.checkpoints import Checkpoints
from tests import emulated_cuda
from tests.cuda_machines import (
    N_SAMPLES,
    SIZE,
    Machine,
    assert_same,
    needs_compiler,
    plain_way,
    run_epochs,
    samples,
)

pytestmark = pytest.mark.once


def fit(epochs=10, **options):
    network = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
    x, targets, *_ = samples(network, "float64")
    return fit_module.train(
        network, x, targets, epochs=epochs, batch_size=SIZE, validation_data=(x, targets), l2=0.01, **options
    )


class TestSeam:
    @needs_compiler
    def test_training_uses_this_engine(self, emulated_gpu):
        assert fit(device="cuda").device == "cuda:0"
        assert [device.n_launches > 0 for device in emulated_gpu] == [True]

    @needs_compiler
    @pytest.mark.parametrize("seed", [0, (0, 1, 2)])
    def test_a_whole_fit_agrees_with_numpy(self, emulated_gpu, monkeypatch, seed):
        result = fit(seed=seed)
        assert emulated_gpu[0].n_launches > 0
        monkeypatch.undo()
        monkeypatch.setenv("GPUBP_COMPILED", "never")
        expected = fit(seed=seed, device="cpu")
        assert_agree(result.theta, expected.theta, "fit")
        for name in ("loss", "validation_loss"):
            actual, reference = (np.asarray(getattr(one.history, name)) for one in (result, expected))
            assert_agree(actual, reference, "fit")

    @needs_compiler
    @pytest.mark.parametrize(
        ("requested", "epochs", "n_devices"), [("never", 50, 0), ("always", 1, 1), ("", 1, 1), ("", 50, 1)]
    )
    def test_is_used_unless_refused(self, emulated_gpu, monkeypatch, requested, epochs, n_devices):
        monkeypatch.setenv("GPUBP_COMPILED", requested)
        fit(epochs)
        assert len(emulated_gpu) == n_devices

    @needs_compiler
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_short_fit_gives_the_bits_of_the_beginning_of_a_long_one(self, emulated_gpu, dtype):
        thetas = []
        fit(30, dtype=dtype, callbacks=[lambda progress: thetas.append(progress.theta)])
        np.testing.assert_array_equal(fit(2, dtype=dtype).theta, thetas[1])

    @needs_compiler
    def test_training_resumes_from_a_checkpoint(self, emulated_gpu, monkeypatch, tmp_path):
        monkeypatch.setattr(checkpointed, "OPERATIONS_PER_PART", 1.0)
        expected, checkpoints = fit(optimizer=adam(0.01)), Checkpoints(tmp_path, 0.0)
        fit(4, optimizer=adam(0.01), checkpoint=checkpoints)
        resumed = fit(optimizer=adam(0.01), checkpoint=checkpoints, resume=True)
        assert emulated_gpu[-1].n_launches > 0
        np.testing.assert_array_equal(resumed.theta, expected.theta)
        np.testing.assert_array_equal(resumed.history.loss, expected.history.loss)

    def test_without_nvmath_equations_run_one_at_a_time_with_one_warning(self, monkeypatch, caplog):
        gpu = choose_backend("cpu")._replace(library=CUPY)
        cuda.nvmath_works.cache_clear()
        monkeypatch.setitem(sys.modules, "nvmath", None)
        with caplog.at_level(logging.WARNING, "gpubp"):
            assert not any(cuda.is_wanted(gpu, "always") for _ in range(2))
        cuda.nvmath_works.cache_clear()
        (record,) = caplog.records
        assert "nvmath-python cannot be loaded" in record.message
        assert "to fix it: pip install nvmath-python" in record.message


@needs_compiler
class TestCudaDevice:
    """The real class, on fakes of CuPy and nvmath-python."""

    @pytest.fixture
    def device(self):
        return self.make()

    def make(self, *products):
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
        """Blocks of parameters are strided; an operand shared by all networks is one matrix."""
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

    def test_the_pool_gives_back_what_it_does_not_use(self, device, monkeypatch):
        cuda, freed = device.xp.cuda, []

        class CUDARuntimeError(RuntimeError):
            pass

        def memory(n_bytes):
            if not freed:
                raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
            return bytearray(n_bytes)

        monkeypatch.setattr(cuda, "runtime", SimpleNamespace(CUDARuntimeError=CUDARuntimeError), raising=False)
        monkeypatch.setattr(cuda, "Memory", memory)
        pool = SimpleNamespace(free_all_blocks=lambda: freed.append(True))
        monkeypatch.setattr(device.xp, "get_default_memory_pool", lambda: pool, raising=False)
        assert device.empty((3,), "float32").shape == (3,)
        assert freed == [True]

    @pytest.mark.parametrize("products", PRODUCTS)
    def test_precision_of_products(self, products):
        device = self.make(products)
        for dtype, name in (("float32", PRODUCTS[products]), ("float64", "COMPUTE_64F")):
            a = device.upload(np.ones((2, 2), dtype))
            device.multiply(a, a, device.empty((2, 2), dtype))
            assert device.below.computed == emulated_cuda.COMPUTE_TYPES[name]

    @pytest.mark.parametrize("products", ["bfloat16", "float16"])
    @pytest.mark.parametrize("stack", [(), (3,)])
    def test_products_of_16_bits(self, products, stack):
        """The operands are arrays of uint16 with the bits of bfloat16 or float16; the result is float32."""
        device, rng = self.make(products), np.random.default_rng(0)
        numbers = [
            rounded(np, rng.normal(size=(*stack, *shape)).astype("float32"), products) for shape in ((3, 4), (5, 4))
        ]
        bits = [
            x.astype("float16").view("uint16") if products == "float16" else x.view("uint16")[..., 1::2]
            for x in numbers
        ]
        to = device.empty((*stack, 3, 5), "float32")
        device.multiply(*map(device.upload, bits), to, b_transposed=True)
        assert_agree(np.asarray(to), np.matmul(numbers[0], numbers[1].mT), "forward")
        assert (device.below.multiplied, device.below.computed) == (
            products,
            emulated_cuda.COMPUTE_TYPES["COMPUTE_32F"],
        )

    @pytest.mark.usefixtures("form")
    def test_epochs(self, device, dtype):
        backend, network, optimizer = choose_backend("cpu"), Network((3, 5, 4), loss="cross_entropy"), adam()
        objective = Objective(network, l2=0.1)
        plain = plain_way(Machine(backend, None), objective, optimizer, dtype)
        fast = cuda_epoch_runner(device, objective, optimizer, dtype, plain)
        there = Machine(backend, device)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Machine, "asarray", lambda machine, array: np.array(array).view(emulated_cuda.DeviceArray))
            result = run_epochs(there, fast, network, optimizer, dtype, weighted=True)
        position, report = run_epochs(there, plain, network, optimizer, dtype, weighted=True)
        result[0].theta = np.asarray(result[0].theta)
        result[0].state = AdamState(*map(np.asarray, result[0].state[:2]), result[0].state.updates)
        assert_same([(position, report), result])
        assert device.stream.non_blocking
        assert len(device.stream.waited_for) == 4  # once an epoch

    def test_samples_from_the_host_come_on_a_stream_copy_stream(self, device, dtype):
        network, optimizer, ends = Network((3, 5, 4), loss="cross_entropy"), adam(), []
        theta = np.asarray(initial_weights(network, 0, dtype=dtype)).view(emulated_cuda.DeviceArray)
        data = samples(network, dtype, weighted=True)
        for way in (
            plain_way(Machine(choose_backend("cpu"), None), Objective(network), optimizer, dtype),
            cuda_epoch_runner(device, Objective(network), optimizer, dtype, None),
        ):
            position, rng = ModelState(theta, optimizer.init(np, theta)), np.random.default_rng(0)
            for _ in range(3):
                order = rng.permutation(N_SAMPLES)
                way(position, ArrayBatches(choose_backend("cpu"), data, SIZE, order, on_host=True))
            ends.append(np.asarray(position.theta))
        assert_agree(*ends, "steps")
        assert device._copy_stream.non_blocking
        assert device._copy_stream.waited_for == [device.stream] * 5  # except for the first of 3 times 2 windows
        assert device.stream.waited_for.count(device._copy_stream) == 6

    def test_an_error_ends_the_capture(self, device):
        def fails():
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            device.capture(fails)
        assert device.below.recorded is None

    def test_requests_large_shared_memory(self, device):
        kernel = device.kernels(head("float32") + 'extern "C" __global__ void none(real a) {\n}\n')["none"]
        with device.active():
            device.launch(kernel, 1, 32, 100 << 10, np.float32(1.0))
        assert kernel.max_dynamic_shared_size_bytes == 100 << 10


@pytest.mark.on("cuda")
def test_memory_that_the_pool_does_not_use_is_available(monkeypatch):
    import cupy

    pool, memory, n_bytes = cupy.get_default_memory_pool(), cupy.cuda.Memory, 1 << 20

    def with_space_for_one(size):  # on a device with memory for one such array
        if pool.total_bytes() >= n_bytes:
            raise cupy.cuda.runtime.CUDARuntimeError(2)  # cudaErrorMemoryAllocation
        return memory(size)

    device = CudaDevice(cupy.cuda.Device())
    pool.free_all_blocks()
    cupy.empty(n_bytes, "uint8")  # which the pool keeps
    monkeypatch.setattr(cupy.cuda, "Memory", with_space_for_one)
    assert device.empty((n_bytes,), "uint8").nbytes == n_bytes
    held = cupy.empty(n_bytes, "uint8")
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
        device.empty((n_bytes,), "uint8")
    assert held.nbytes == n_bytes


@pytest.mark.parametrize(
    ("capability", "products", "can"), [("80", "bfloat16", True), ("75", "bfloat16", False), ("75", "float16", True)]
)
def test_bfloat16_needs_compute_capability_8_0(capability, products, can):
    assert multiplies(SimpleNamespace(compute_capability=capability), products) == can
