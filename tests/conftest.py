"""Shared fixtures: the array libraries and devices that the tests run on."""

import gc
import importlib
import importlib.util
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # before NumPy is imported: as many threads in total as cores; tests of threads set their own number
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // workers)))

import array_api_compat
import numpy as np
import pytest
from hypothesis import settings

from gpubp.backends.backend import Backend, choose_backend
from gpubp.backends.probe import probe_cuda
from tests import browser
from tests.compiled_engine import FORMS

settings.register_profile("gpubp", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("many", deadline=None, max_examples=1000, print_blob=True)  # nox -s tests_sanitized
settings.load_profile("gpubp")

BACKEND_CASES = {
    "numpy": "cpu",
    "numpy-read-only": "cpu",  # writing to an input raises
    # substitutes for a GPU: mixing their devices raises, and so does passing their arrays to NumPy, which arrays of the
    # library's default device allow
    "strict-device1": "array_api_strict:device1",
    "strict-no-float64": "array_api_strict:no_float64",
    "torch": "torch:cpu",
    "jax": "jax.numpy",
    "cupy": "cuda",
}
DEVICES = ("cpu", "array_api_strict:device1", "array_api_strict:no_float64", "torch:cpu", "jax.numpy", "cuda")
ONCE = ("strict-no-float64", "array_api_strict:no_float64")  # device1 is the strictest
LACKING = {"array_api_strict:no_float64": ("float64",)}
if importlib.util.find_spec("jax") is None or not importlib.import_module("jax").config.jax_enable_x64:
    LACKING["jax.numpy"] = ("float64", "int64")  # JAX_ENABLE_X64=1 gives it both


class BackendCase(NamedTuple):
    """An array library on one of its devices."""

    name: str  # as in BACKEND_CASES
    backend: Backend

    @property
    def xp(self):
        return self.backend.xp

    @property
    def device(self):
        return array_api_compat.device(self.asarray(0.0, "float32"))

    def asarray(self, array, dtype=None):
        """Copy a NumPy array to this backend, rounded to ``dtype``."""
        host = np.array(array, dtype=dtype)
        if self.name == "numpy-read-only":
            host.flags.writeable = False
        return self.xp.asarray(host, device=self.backend.device)


def pytest_addoption(parser):
    parser.addoption("--require-cuda", action="store_true", help="fail, rather than skip, where there is no usable GPU")
    parser.addoption(
        "--require-clients", action="store_true", help="fail, rather than skip, where a library is missing"
    )
    parser.addoption("--require-nvrtc", action="store_true", help="fail, rather than skip, where NVRTC is missing")


def pytest_configure(config):
    gc.disable()  # until all tests are collected
    config.addinivalue_line("markers", "on(device): computes there; skipped where the device is not")
    # doctests that cannot be collected or run in the installed package or the working tree
    package = Path(importlib.util.find_spec("gpubp").origin).parent
    needed = {
        "engine/cpu/build_hook.py": "hatchling",
        "model_selection/optuna_search.py": "optuna",
        "io/onnx/_export.py": "onnxruntime",
    }
    for path, library in needed.items():
        if importlib.util.find_spec(library) is None:
            config.option.ignore = [*(config.option.ignore or []), str(package / path)]


def pytest_collection_modifyitems(config, items):
    missing = {
        device: f"{library} is not installed"
        for library, device in (("torch", "torch:cpu"), ("jax", "jax.numpy"))
        if importlib.util.find_spec(library) is None
    }
    if not (probe := probe_cuda()).usable and not config.getoption("--require-cuda"):
        missing["cuda"] = f"no usable GPU: {probe.cause}; to fix it: {probe.fix}"
    items[:] = [item for item in items if not _needs_missing_package(item)]
    for item in items:
        for device in _devices_of(item) & set(missing):
            item.add_marker(pytest.mark.skip(reason=missing[device]))


def pytest_collection_finish():
    """Leave the thousands of collected tests out of each later collection of garbage."""
    gc.freeze()
    gc.enable()


def _devices_of(item):
    return {mark.args[0] for mark in item.iter_markers("on")}


def _needs_missing_package(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    required = "float64" if "double" in getattr(item, "fixturenames", ()) else params.get("dtype")
    if (comparison := params.get("comparison")) is not None:
        has_kernels = params["device"] in ("cpu", "cuda")
        if required not in comparison.dtypes or (comparison.of_kernels and not has_kernels):
            return True
    return any(required in LACKING.get(device, ()) for device in _devices_of(item))


def _marked(devices):
    """Mark each name by the device that it needs, and whether it is left out with the lowest versions."""
    once = {name: [pytest.mark.once] if name in ONCE else [] for name in devices}
    return [pytest.param(name, marks=[pytest.mark.on(devices[name]), *once[name]]) for name in devices]


@pytest.fixture(scope="session", params=_marked(BACKEND_CASES))
def backend_case(request):
    """Each array library and device in turn; CuPy is skipped, or fails with ``--require-cuda``, without a GPU."""
    return BackendCase(request.param, choose_backend(BACKEND_CASES[request.param]))


@pytest.fixture(params=_marked({name: name for name in DEVICES}))
def device(request):
    """The name of each device in turn, as passed to ``device=``."""
    return request.param


other_device = device  # once more, for pairs of devices


@pytest.fixture
def precision(device):
    """The highest precision that the device supports."""
    return "float32" if "float64" in LACKING.get(device, ()) else "float64"


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Plain and compiled steps."""
    monkeypatch.setenv("GPUBP_COMPILED", request.param)


@pytest.fixture
def double():
    """Float64, for tests that need it; they are skipped on devices without float64."""


@pytest.fixture(scope="session", params=["float64", "float32"])
def dtype(request):
    """Each precision; with ``backend_case``, each one that the device supports."""
    return request.param


def pytest_terminal_summary(terminalreporter):
    """Print the largest deviation of each kind from NumPy, to show the margin of the tolerances."""
    largest = {}
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for name, (row, deviation, what) in report.user_properties:
            if name == "agreement":
                largest[row] = max(largest.get(row, (0.0, "")), (deviation, what))
    if largest:
        terminalreporter.section("largest deviations from NumPy, in parts of the tolerance")
        for row, (deviation, what) in sorted(largest.items()):
            if deviation > 0:
                terminalreporter.line(f"{row:40s} {deviation:8.2g}  {what}")
        terminalreporter.line(f"none at all in {sum(deviation == 0 for deviation, _ in largest.values())} other rows")


@pytest.fixture
def run(capsys):
    """Run a command in this process; return the exit code, stdout and stderr."""
    from gpubp.__main__ import main

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def chromium_process(tmp_path_factory):
    executable = browser.find()
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on the path")
    with browser.opened(executable, tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def chromium(chromium_process):
    """A page in a browser; it must not request other resources or log errors."""
    with chromium_process.page() as page:
        yield page
        assert page.requested_urls() == set()
        assert page.events("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") == []


@pytest.fixture
def emulated_gpu(monkeypatch):
    """Make "cuda" mean NumPy's arrays and an emulated CUDA device; yield the list of the devices made for epochs."""
    import gpubp.engine.cuda.device
    from gpubp.backends import backend as backends
    from gpubp.backends import memory
    from gpubp.engine import cuda
    from gpubp.engine.cuda import forward_passes
    from gpubp.estimators import _base, _stackable
    from gpubp.training import setup
    from tests.cuda_machines import DeviceOfNumPy
    from tests.emulated_cuda import EmulatedDevice

    host, devices = choose_backend("cpu"), []
    library = replace(host.library, name="cuda")
    backend = host._replace(device=DeviceOfNumPy("cpu"), name="cuda:0", library=library)

    def make_device(device, products):
        devices.append(EmulatedDevice(products=products))
        return devices[-1]

    monkeypatch.setattr(backends, "CUPY", library)
    for module in (setup, _base, _stackable):
        monkeypatch.setattr(module, "choose_backend", lambda device, *_: host if device == "cpu" else backend)
    monkeypatch.setattr(cuda, "nvmath_works", lambda: True)
    monkeypatch.setattr(gpubp.engine.cuda.device, "cuda_device", make_device)
    monkeypatch.setattr(
        forward_passes, "cuda_device", cache(lambda device, products: EmulatedDevice(products=products))
    )
    monkeypatch.setattr(memory, "gpu_memory", lambda backend: None)
    monkeypatch.delenv("GPUBP_COMPILED", raising=False)
    return devices
