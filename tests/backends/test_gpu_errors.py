"""GPU failures during work, on fake GPUs: messages, released memory, unchanged estimators."""

import re
import sys
import types
import weakref
from functools import partial

import numpy as np
import pytest

import gpubp.engine.prediction
import gpubp.estimators._base
import gpubp.training.setup
from gpubp import DataError, DeviceError, MLPClassifier, MLPRegressor, Network, predict, train
from gpubp.backends import gpu_errors
from gpubp.backends.backend import Backend, choose_backend
from gpubp.backends.driver_fix import driver_command
from gpubp.backends.gpu_errors import Workload, batch_that_fits, translate_gpu_errors
from gpubp.backends.libraries import CUPY
from gpubp.backends.memory import (
    SAMPLES_AT_ONCE,
    Memory,
    bytes_per_prediction,
    bytes_per_sample,
    gpu_memory,
    samples_at_once,
)
from gpubp.engine.prediction import outputs
from gpubp.estimators._arrays import outputs_in_parts
from gpubp.nn.initialization import initial_weights
from gpubp.nn.passes import output_layer

MIB = 2**20
NETWORK = Network((20, 50, 3), loss="cross_entropy")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 20)).astype("float32")
Y = RNG.integers(0, 3, 600)
D = np.eye(3, dtype="float32")[Y]
MARKS = np.stack([Y == 0, Y != 1], axis=1).astype(int)


def error_of_cupy(name, text, module="cupy_backends.cuda.api.runtime", kind=RuntimeError):
    """Make an exception with the name of one of CuPy's."""
    return type(name, (kind,), {"__module__": module})(text)


def out_of_memory():
    text = "Out of memory allocating 1,228,800 bytes (allocated so far: 2,097,152 bytes)."
    return error_of_cupy("OutOfMemoryError", text, "cupy.cuda.memory", MemoryError)


class Gpu(str):
    """A device on the host with its own memory figures."""

    __slots__ = ("mem_info",)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class Pool:
    held, used, limit, freed = 2 * MIB, MIB, 0, 0

    def total_bytes(self):
        return self.held

    def used_bytes(self):
        return self.used

    def get_limit(self):
        return self.limit

    def free_all_blocks(self):
        self.freed += 1
        self.held = self.used = 0


class Namespace:
    """NumPy with a ``matmul`` that fails if ``fails(a)`` returns an error; it keeps weak references to the operands."""

    __name__ = "array_api_compat.numpy"

    def __init__(self, fails):
        self.fails, self.failed_on = fails, None

    def __getattr__(self, name):
        return getattr(choose_backend("cpu").xp, name)

    def matmul(self, a, b):
        error = self.fails(a)
        if error is not None:
            self.failed_on = weakref.ref(a)
            raise error
        return np.matmul(a, b)


@pytest.fixture
def pool(monkeypatch):
    fake_pool = Pool()
    cupy = types.SimpleNamespace(get_default_memory_pool=lambda: fake_pool, ndarray=type("ndarray", (), {}))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return fake_pool


@pytest.fixture
def gpu(monkeypatch, pool):
    """Replace every device by a fake GPU; ``fails(a)`` returns the error of a product, or None."""

    def install(fails=lambda a: None, free=3 * MIB, total=8 * MIB):
        device = Gpu("cpu")
        device.mem_info = (free, total)
        backend = Backend(Namespace(fails), device, "cuda:0", CUPY)
        for module in (gpubp.training.setup, gpubp.engine.prediction, gpubp.estimators._base):
            monkeypatch.setattr(module, "choose_backend", lambda *_: backend)
        return backend

    return install


def full_above(n_samples):
    return lambda a: out_of_memory() if max(a.shape[-2:]) > n_samples else None


class TestFullMemory:
    def test_training_reports_request_memory_and_fitting_batch(self, gpu, pool):
        gpu(full_above(300))
        with pytest.raises(DeviceError) as caught:
            train(NETWORK, X, D, batch_size=500, epochs=2)
        message = str(caught.value)
        for part in ("cuda:0", "batches of 500 samples", "allocating 1,228,800 bytes", "held 2.0 MiB, 1.0 MiB of it"):
            assert part in message
        assert "3.0 MiB of 8.0 MiB were free" in message
        assert pool.freed == 1
        fitting = int(re.search(r"batch_size=(\d+) would fit", message)[1])
        assert fitting == 256
        assert train(NETWORK, X, D, batch_size=fitting, epochs=2).stop_reason == "epochs"

    def test_a_limit_of_the_pool_is_named(self, gpu, pool):
        pool.limit = 4 * MIB
        gpu(full_above(100))
        with pytest.raises(DeviceError, match=r"held 2.0 MiB, limited to 4.0 MiB, 1.0 MiB of it in use"):
            train(NETWORK, X, D)

    def test_arrays_are_released_while_the_error_is_handled(self, gpu):
        backend = gpu(full_above(100))
        with pytest.raises(DeviceError) as caught:
            train(NETWORK, X, D)
        assert caught.value.__cause__ is not None
        assert backend.xp.failed_on() is None

    def test_samples_that_do_not_fit_suggest_another_device(self, gpu):
        gpu(full_above(100), free=1000)
        with pytest.raises(
            DeviceError, match=r"device='cpu', or fewer samples: these and the weights take about 9\d\.\d KiB"
        ):
            train(NETWORK, X, D)

    def test_prediction(self, gpu, pool):
        theta = initial_weights(NETWORK, 0)
        backend = gpu(full_above(10))
        with pytest.raises(DeviceError, match=r"while predicting 600 samples .* predict fewer samples at a time"):
            predict(NETWORK, theta, X)
        assert pool.freed == 1
        assert backend.xp.failed_on() is None

    def test_the_runtime_and_the_matrix_library_run_out_too(self, gpu):
        for error in (
            error_of_cupy("CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory"),
            error_of_cupy("CUBLASError", "CUBLAS_STATUS_ALLOC_FAILED", "cupy_backends.cuda.libs.cublas"),
        ):
            gpu(lambda a, error=error: error)
            with pytest.raises(DeviceError, match="ran out of memory while training on batches of 200 samples"):
                train(NETWORK, X, D)

    def test_what_fits_is_a_power_of_two_below_the_batch(self):
        load = Workload(NETWORK, "float32", 1, 1000, batch_size=4096)
        of_sample, other_memory = (
            bytes_per_sample(NETWORK.sizes, "float32"),
            4 * (1000 * 23 + 8 * NETWORK.n_parameters),
        )

        def memory(space):
            return Memory(int(space), 10**12, 0, 0, 0)

        assert batch_that_fits(load, memory(10**9)) == 2048
        assert batch_that_fits(load, memory(other_memory + 1.26 * 128 * of_sample)) == 128
        assert batch_that_fits(load, memory(other_memory + 1.24 * 128 * of_sample)) == 64
        assert batch_that_fits(load, memory(other_memory)) == 0
        assert batch_that_fits(load._replace(n_networks=1000), memory(other_memory + 1.26 * 128 * of_sample)) == 0


class TestOtherFaults:
    FAULTS = {  # noqa: RUF012
        "lost": (
            error_of_cupy("CUDARuntimeError", "cudaErrorIllegalAddress: an illegal memory access was encountered"),
            ("restart Python", "nvidia-smi"),
        ),
        "busy": (
            error_of_cupy("CUDARuntimeError", "cudaErrorDevicesUnavailable: all CUDA-capable devices are busy"),
            ("exclusive use of the GPU", "nvidia-smi"),
        ),
        "old driver": (
            error_of_cupy(
                "CUDARuntimeError", "cudaErrorUnsupportedPtxVersion: PTX was compiled with another toolchain"
            ),
            ("driver is older", driver_command()),
        ),
        "no header": (
            error_of_cupy("CompileException", 'cannot open source file "cuda_fp16.h"', "cupy.cuda.compiler"),
            ("headers are missing", "pip install"),
        ),
        "no library": (
            ImportError("libcublas.so.13: cannot open shared object file"),
            ("matrix library is missing", "pip install"),
        ),
        "unheard of": (
            error_of_cupy("OddError", "never seen before", "cupy.odd"),
            ("never seen before", "gpubp doctor"),
        ),
    }

    @pytest.mark.parametrize(
        "work",
        [
            lambda: train(NETWORK, X, D),
            lambda: predict(NETWORK, initial_weights(NETWORK, 0), X),
            lambda: MLPClassifier().fit(X, Y),
        ],
        ids=["train", "predict", "fit"],
    )
    @pytest.mark.parametrize("fault", FAULTS)
    def test_are_reported_as_by_the_doctor(self, gpu, fault, work):
        error, parts = self.FAULTS[fault]
        gpu(lambda a: error)
        with pytest.raises(DeviceError) as caught:
            work()
        message = str(caught.value)
        assert message.startswith("cuda:0 failed: ")
        assert "\n" not in message
        for part in parts:
            assert part in message
        assert caught.value.__cause__ is error

    def test_two_wheels_are_named(self, gpu, monkeypatch):
        monkeypatch.setattr(gpu_errors, "cupy_wheels", lambda: ["cupy-cuda12x", "cupy-cuda13x"])
        gpu(lambda a: self.FAULTS["no header"][0])
        with pytest.raises(
            DeviceError, match=r"2 are installed over each other.*pip uninstall -y cupy-cuda12x cupy-cuda"
        ):
            train(NETWORK, X, D)

    @pytest.mark.parametrize("error", [ValueError("mine"), RuntimeError("mine"), KeyError("mine"), MemoryError("mine")])
    def test_other_errors_pass_unchanged(self, gpu, error):
        gpu(lambda a: error)
        with pytest.raises(type(error), match="mine"):
            train(NETWORK, X, D)

    def test_data_errors_are_unchanged(self, gpu):
        gpu()
        with pytest.raises(DataError, match="X must be"):
            train(NETWORK, X[:, :4], D)

    def test_on_the_host_nothing_is_changed(self):
        load = Workload(NETWORK, "float32", 1, 5)
        with pytest.raises(MemoryError), translate_gpu_errors(choose_backend("cpu"), load):
            raise out_of_memory()

    def test_ctrl_c_is_not_a_gpu_error(self, gpu):
        gpu(lambda a: KeyboardInterrupt())
        assert train(NETWORK, X, D).stop_reason == "interrupted"


class TestEstimators:
    @staticmethod
    def state(model):
        return {name: repr(value) for name, value in vars(model).items()}

    def test_an_unfitted_estimator_stays_unfitted(self, gpu):
        gpu(full_above(100))
        model = MLPClassifier()
        before = self.state(model)
        with pytest.raises(DeviceError, match="batch_size=128 would fit"):
            model.fit(X, Y)
        assert self.state(model) == before

    @pytest.mark.parametrize(
        ("y", "classes"),
        [
            (Y, [0, 1, 2]),
            (np.stack([Y, Y], 1), [[0, 1, 2]] * 2),
            (MARKS, None),
        ],
        ids=["labels", "columns", "marks"],
    )
    def test_an_unfitted_estimator_stays_unfitted_by_partial_fit(self, gpu, y, classes):
        """It has no classes either, so that partial_fit can be called again with other classes."""
        gpu(full_above(100))
        model = MLPClassifier()
        before = self.state(model)
        with pytest.raises(DeviceError, match="batch_size=128 would fit"):
            model.partial_fit(X, y, classes=classes)
        assert self.state(model) == before

    def test_partial_fit_of_a_fitted_estimator_changes_nothing(self, gpu):
        for model, more in (
            (MLPClassifier(random_state=0), {"classes": [0, 1, 2]}),
            (MLPRegressor(random_state=0), {}),
        ):
            gpu()
            model.partial_fit(X, Y, **more)
            before = self.state(model)
            gpu(full_above(100))
            with pytest.raises(DeviceError):
                model.partial_fit(X, Y)
            assert self.state(model) == before

    def test_an_unavailable_device_leaves_it_unchanged(self):
        model = MLPClassifier(device="no such")
        before = self.state(model)
        for fit in (model.fit, partial(model.partial_fit, classes=[0, 1, 2])):
            with pytest.raises(DeviceError):
                fit(X, Y)
            assert self.state(model) == before

    @pytest.mark.parametrize("options", [{"learning_rate": "invscaling", "solver": "sgd"}, {"early_stopping": True}])
    def test_a_fitted_estimator_is_unchanged(self, gpu, options):
        n_products = 0

        def later(a):
            nonlocal n_products
            n_products += 1
            return out_of_memory() if n_products > 300 else None

        gpu()
        model = MLPRegressor(warm_start=True, max_iter=3, random_state=0, n_iter_no_change=50, **options)
        with pytest.warns(Warning, match="reached"):
            model.fit(X, X[:, 0])
        before, predicted = self.state(model), model.predict(X)
        gpu(later)
        with pytest.raises(DeviceError):
            model.set_params(max_iter=1000).fit(X, X[:, 0])
        assert n_products == 301
        assert self.state(model.set_params(max_iter=3)) == before
        gpu()
        np.testing.assert_array_equal(model.predict(X), predicted)
        with pytest.warns(Warning, match="reached"):
            model.fit(X, X[:, 0])  # goes on

    def test_predicting(self, gpu, pool):
        gpu()
        model = MLPClassifier((5,), max_iter=3, solver="lbfgs")
        with pytest.warns(Warning, match="failed to converge"):
            model.fit(X, Y)
        gpu(full_above(10))
        with pytest.raises(DeviceError, match="predicting 600 samples"):
            model.predict_proba(X)


class TestPartsOfPredictions:
    def test_on_the_host_their_size_is_fixed(self):
        assert gpu_memory(choose_backend("cpu")) is None
        assert samples_at_once(choose_backend("cpu"), NETWORK.sizes, "float32") == SAMPLES_AT_ONCE

    @pytest.mark.parametrize(
        ("free", "held", "used", "limit", "available"),
        [
            (1000, 0, 0, 0, 1000),
            (1000, 500, 200, 0, 1300),
            (1000, 500, 200, 900, 700),
            (1000, 500, 200, 10_000, 1300),
            (0, 500, 500, 400, -100),
        ],
    )
    def test_memory_that_is_available(self, gpu, pool, free, held, used, limit, available):
        pool.held, pool.used, pool.limit = held, used, limit
        memory = gpu_memory(gpu(free=free))
        assert memory.available == available

    def test_follow_the_free_memory(self, gpu):
        of_sample = bytes_per_prediction(NETWORK.sizes, "float32")
        assert of_sample == 4 * (20 + 3 * 50)
        for n, fitting in ((1.0, 1), (100.0, 64), (127.9, 64), (128.1, 128), (0.5, 1), (10.0**6, 2**19)):
            backend = gpu(free=int(4 * n * of_sample) + 1 - MIB)
            assert samples_at_once(backend, NETWORK.sizes, "float32") == fitting
        assert samples_at_once(backend, NETWORK.sizes, "float64", n_networks=4) == 2**16

    def test_outputs_equal_those_of_all_samples_together(self, gpu):
        seen = []

        def recorded(a):
            seen.append(a.shape[-2])

        theta = initial_weights(NETWORK, 0)
        of_sample = bytes_per_prediction(NETWORK.sizes, "float32")
        backend = gpu(recorded, free=4 * 100 * of_sample - MIB)
        actual = outputs(backend, NETWORK, theta, X)
        assert set(seen) == {64, 600 % 64}
        np.testing.assert_allclose(actual, output_layer(np, NETWORK, theta, X).y, rtol=1e-5, atol=1e-6)
        sparse = pytest.importorskip("scipy.sparse").csr_matrix(X)
        np.testing.assert_array_equal(outputs_in_parts(backend, "float32", NETWORK, theta, sparse), actual)
