"""The probe for a working GPU, with fake CuPys that are missing, broken, incorrect or correct."""

import ctypes
import importlib.machinery
import importlib.metadata
import sys
import types

import numpy as np
import pytest

from gpubp.backends import probe
from gpubp.backends.driver_fix import driver_command
from gpubp.backends.probe import Probe, cuda_extra, cuda_of_cupy, install_command, probe_cuda


@pytest.fixture(autouse=True)
def _probe_again():
    probe_cuda.cache_clear()
    yield
    probe_cuda.cache_clear()


@pytest.fixture
def driver(monkeypatch):
    """Set the CUDA version that the driver supports; None means no driver."""
    return lambda version: monkeypatch.setattr(probe, "driver_cuda_version", lambda: version)


class Device:
    """A device as in CuPy: a context manager with a number."""

    entered: list[int] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, index):
        self.id = index

    def __enter__(self):
        self.entered.append(self.id)
        return self

    def __exit__(self, *error):
        return None


@pytest.fixture
def cupy(monkeypatch):
    """Install a fake CuPy with NumPy arrays; ``broken`` functions raise or return the given value."""
    Device.entered.clear()

    def install(**broken):
        def instead(outcome):
            def function(*args, **kwargs):
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            return function

        fake = types.ModuleType("cupy")
        fake.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        for name in ("arange", "sum", "matmul", "float32"):
            setattr(fake, name, getattr(np, name))
        fake.cuda = types.SimpleNamespace(Device=Device)
        for name, outcome in broken.items():
            if name == "Device":
                fake.cuda.Device = instead(outcome)
            else:
                setattr(fake, name, instead(outcome))
        monkeypatch.setitem(sys.modules, "cupy", fake)
        return fake

    return install


def error(name, text, module="cupy_backends.cuda.api.runtime"):
    """Make an exception with the name of one of CuPy's."""
    return type(name, (RuntimeError,), {"__module__": module})(text)


@pytest.mark.parametrize(("version", "extra", "expected"), [(13000, "cuda13", False), (12040, "cuda12", False)])
def test_not_installed(monkeypatch, driver, version, extra, expected):
    """A missing CuPy is normal without a driver; with a driver it is a fault, fixed by the matching CuPy."""
    driver(version)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert probe_cuda() == Probe(False, "CuPy is not installed", f'pip install "cupy-{extra}x[ctk]"', expected)


def test_neither_installed_nor_a_driver(monkeypatch, driver):
    """Without a GPU, CuPy would not help: the fix is the CPU."""
    driver(None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = probe_cuda()
    assert (result.usable, result.expected) == (False, True)
    assert "no NVIDIA driver" in result.cause
    assert "device='cpu'" in result.fix


@pytest.mark.parametrize("wheel", ["cupy-cuda12x", "cupy-cuda13x"])
def test_the_installed_wheel_is_the_one_to_fix(monkeypatch, driver, wheel):
    def version(name):
        if name != wheel:
            raise importlib.metadata.PackageNotFoundError(name)
        return "14.2.0"

    driver(13000)
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert install_command() == f'pip install "{wheel}[ctk]"'
    assert cuda_of_cupy() == wheel.removeprefix("cupy-").removesuffix("x")


def test_installed_but_cannot_be_imported(monkeypatch, driver, tmp_path):
    driver(13000)
    (tmp_path / "cupy.py").write_text("raise ImportError('libcublas.so.13: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    result = probe_cuda()
    assert not result.usable
    assert "matrix library is missing" in result.cause
    assert "libcublas.so.13" in result.cause
    assert result.fix == 'pip install "cupy-cuda13x[ctk]"'


FAULTS = {
    "no driver": (
        {"Device": error("CUDARuntimeError", "cudaErrorInsufficientDriver: CUDA driver version is insufficient")},
        ("driver is missing, or older", "cudaErrorInsufficientDriver"),
        driver_command(),
    ),
    "no GPU": (
        {"Device": error("CUDARuntimeError", "cudaErrorNoDevice: no CUDA-capable device is detected")},
        ("sees no GPU", "cudaErrorNoDevice"),
        "nvidia-smi",
    ),
    "no such GPU": (
        {"Device": error("CUDARuntimeError", "cudaErrorInvalidDevice: invalid device ordinal")},
        ("no GPU with that number", "cudaErrorInvalidDevice"),
        "nvidia-smi -L",
    ),
    "busy": (
        {"arange": error("CUDARuntimeError", "cudaErrorDevicesUnavailable: all CUDA-capable devices are busy")},
        ("another program", "cudaErrorDevicesUnavailable"),
        "nvidia-smi",
    ),
    "memory, by the runtime": (
        {"arange": error("CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory")},
        ("memory is full", "cudaErrorMemoryAllocation"),
        "nvidia-smi",
    ),
    "memory, by the pool": (
        {"sum": error("OutOfMemoryError", "Out of memory allocating 512 bytes", "cupy.cuda.memory")},
        ("memory is full", "Out of memory allocating 512 bytes"),
        "nvidia-smi",
    ),
    "no compiler": (
        {"sum": error("RuntimeError", "CuPy failed to load libnvrtc.so.12: cannot open shared object file")},
        ("compiler or its headers", "libnvrtc.so.12"),
        'pip install "cupy-cuda12x[ctk]"',
    ),
    "kernel does not compile": (
        {"sum": error("CompileException", "nvrtc: error: failed to open builtins\nsecond line", "cupy.cuda.compiler")},
        ("compiler or its headers", "CompileException"),
        'pip install "cupy-cuda12x[ctk]"',
    ),
    "no headers": (
        {"sum": error("CompileException", 'cannot open source file "vector_types.h"', "cupy.cuda.compiler")},
        ("headers are missing", "vector_types.h"),
        'pip install "cupy-cuda12x[ctk]"',
    ),
    "no matrix library": (
        {"matmul": error("RuntimeError", "libcublas.so.12: cannot open shared object file")},
        ("matrix library is missing", "libcublas.so.12"),
        'pip install "cupy-cuda12x[ctk]"',
    ),
    "no memory for the matrix library": (
        {"matmul": error("CUBLASError", "CUBLAS_STATUS_ALLOC_FAILED", "cupy_backends.cuda.libs.cublas")},
        ("memory is full", "CUBLAS_STATUS_ALLOC_FAILED"),
        "nvidia-smi",
    ),
    "something new": ({"matmul": error("OddError", "never seen before")}, ("OddError: never seen before",), "doctor"),
    "wrong kernel": ({"sum": 255.0}, ("computes incorrectly", "255.0", "256"), "nvidia-smi -q"),
    "wrong product": ({"matmul": np.zeros((4, 4))}, ("computes incorrectly", "0.0", "3920"), "nvidia-smi -q"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_reported_with_its_cause_and_its_fix(driver, cupy, fault):
    broken, in_cause, in_fix = FAULTS[fault]
    driver(12080)
    cupy(**broken)
    result = probe_cuda()
    assert not result.usable
    for part in in_cause:
        assert part in result.cause
    assert in_fix in result.fix
    assert "\n" not in result.cause + result.fix
    assert not result.expected


def test_missing_gpu_without_a_driver_is_expected(driver, cupy):
    driver(None)
    cupy(Device=error("CUDARuntimeError", "cudaErrorInsufficientDriver: CUDA driver version is insufficient"))
    assert probe_cuda().expected


@pytest.mark.parametrize("index", [0, 3])
def test_usable_only_after_a_kernel_and_a_product_on_that_gpu(cupy, index):
    cupy()
    assert probe_cuda(index) == Probe(True)
    assert Device.entered == [index]


def test_each_gpu_is_queried_once(cupy):
    cupy()
    assert probe_cuda(0) is probe_cuda(0)
    probe_cuda(1)
    assert Device.entered == [0, 1]


@pytest.mark.parametrize(
    ("version", "extra"), [(None, "cuda13"), (12000, "cuda12"), (12090, "cuda12"), (13000, "cuda13"), (13020, "cuda13")]
)
def test_extra_fits_the_driver(driver, version, extra):
    driver(version)
    assert cuda_extra() == cuda_of_cupy() == extra
    assert install_command() == f'pip install "cupy-{extra}x[ctk]"'


def test_driver_is_queried_for_its_version(monkeypatch):
    class Driver:
        status = 0

        def cuDriverGetVersion(self, version):
            version._obj.value = 12080
            return self.status

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert probe.driver_cuda_version() == 12080
    monkeypatch.setattr(Driver, "status", 3)
    assert probe.driver_cuda_version() is None


def test_no_driver_no_version(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert probe.driver_cuda_version() is None
