"""The doctor on fake machines: a healthy GPU, and every fault that it reports."""

import contextlib
import functools
import importlib.machinery
import json
import os
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from gpubp.backends import backend, probe
from gpubp.backends.cupy_wheels import cupy_wheels
from gpubp.cli.doctor import diagnosis
from gpubp.cli.doctor.command import doctor
from gpubp.cli.doctor.diagnosis import Finding, diagnose, verdict
from gpubp.engine.cpu import library

GIB = 2**30
FIX = "sudo apt install nvidia-driver"


def fake_cupy(
    *,
    runtime: int = 13020,
    devices: int | Exception = 1,
    capability: tuple[int, int] = (9, 0),
    free: int = 100 * GIB,
    compiles: Exception | None = None,
    multiplies: Callable[..., Any] = np.matmul,
) -> types.ModuleType:
    """The parts of CuPy that the doctor and the probe use, on the host."""

    def get_device_count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return devices

    class RawKernel:
        def __init__(self, code: str, name: str) -> None:
            assert "cuda_fp16.h" in code
            assert name in code

        def compile(self) -> None:
            if compiles is not None:
                raise compiles

    cupy = types.ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.__version__ = "14.2.0"
    cupy.RawKernel = RawKernel
    cupy.arange, cupy.sum, cupy.float32, cupy.matmul = np.arange, np.sum, np.float32, multiplies
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(
        total_bytes=lambda: 3 * 2**20, used_bytes=lambda: 2**20, get_limit=lambda: 0
    )
    cupy.cuda = types.SimpleNamespace(
        Device=lambda index: contextlib.nullcontext(),
        runtime=types.SimpleNamespace(
            runtimeGetVersion=lambda: runtime,
            getDeviceCount=get_device_count,
            getDeviceProperties=lambda index: {"name": b"Fake 9000", "major": capability[0], "minor": capability[1]},
            memGetInfo=lambda: (free, 140 * GIB),
        ),
    )
    return cupy


class Machine:
    """A fake machine, configured by each test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.monkeypatch = monkeypatch
        for name in ("GPUBP_DEVICE", "CUPY_TF32", "CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(home))
        for module in (probe, diagnosis):
            monkeypatch.setattr(module, "driver_command", lambda: FIX)
        self.driver(None)
        self.wheels()
        monkeypatch.setitem(sys.modules, "cupy", None)

    def driver(self, version: int | None) -> None:
        self.monkeypatch.setattr(probe, "driver_cuda_version", lambda: version)

    def wheels(self, *names: str) -> None:
        installed = [types.SimpleNamespace(metadata={"Name": name}) for name in ("numpy", "cupyx-extras", *names)]
        self.monkeypatch.setattr(diagnosis.importlib.metadata, "distributions", lambda: iter(installed))

    def cupy(self, wheel: str = "cupy-cuda13x", **behaviour: Any) -> None:
        self.wheels(wheel)
        self.monkeypatch.setitem(sys.modules, "cupy", fake_cupy(**behaviour))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for cached in (probe.probe_cuda, backend._best_backend):
        cached.cache_clear()
    yield Machine(monkeypatch, tmp_path)
    for cached in (probe.probe_cuda, backend._best_backend):
        cached.cache_clear()


def found(name: str) -> Finding:
    [finding] = [finding for finding in diagnose() if finding.name == name]
    return finding


def faults() -> list[str]:
    return [finding.name for finding in diagnose() if finding.status == "fault"]


def test_a_laptop_without_gpu_is_healthy(machine, monkeypatch, capfd):
    monkeypatch.setattr(library, "why_not", lambda: "")
    monkeypatch.setattr(library, "built_by", lambda: "GCC 99")
    monkeypatch.setattr(library, "_supported", lambda: {"baseline": 0})
    findings = diagnose()
    assert verdict() == "This machine trains on the CPU, because it has no NVIDIA driver, and CuPy is not installed."
    assert {finding.status for finding in findings} == {"info"}
    assert [finding.name for finding in findings] == [
        *("Python", "gpubp", "NumPy", "compiled engine", "NVIDIA driver", "CuPy", "GPUBP_DEVICE", 'device="auto"')
    ]
    assert "uses the CPU" in findings[-1].detail
    assert findings[5].fix == ""  # no GPU for CuPy
    assert "nvidia-driver" in findings[4].detail
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("", "This machine trains on cuda:0, because its GPU passed the test."),
        ("cpu", "This machine trains on cpu, because GPUBP_DEVICE says so."),
        ("gpu", "Nothing trains here without --device, because GPUBP_DEVICE is 'gpu', which cannot be used."),
    ],
)
def test_the_verdict_stands_first(requested, expected, machine, monkeypatch):
    machine.driver(13020)
    machine.cupy()
    monkeypatch.setenv("GPUBP_DEVICE", requested)
    app = typer.Typer()
    app.command()(doctor)
    assert CliRunner().invoke(app).stdout.splitlines()[0] == expected
    assert json.loads(CliRunner().invoke(app, "--json").stdout)["verdict"] == expected


class TestEngine:
    @pytest.fixture(autouse=True)
    def engine(self, monkeypatch):
        """An engine that works."""
        for name in ("GPUBP_COMPILED", "GPUBP_INSTRUCTIONS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(library, "why_not", lambda: "")
        monkeypatch.setattr(library, "built_by", lambda: "GCC 99")
        monkeypatch.setattr(library, "_supported", lambda: {"avx2": 1, "baseline": 2})

    def test_says_what_is_used(self, monkeypatch):
        assert found("compiled engine")[1:] == ("info", "compiled by GCC 99; uses the instructions avx2", "")
        monkeypatch.setenv("GPUBP_INSTRUCTIONS", "baseline")
        assert found("compiled engine").detail == "compiled by GCC 99; uses the instructions baseline"
        monkeypatch.setenv("GPUBP_COMPILED", "never")
        assert found("compiled engine")[1:3] == ("info", "compiled by GCC 99; turned off by GPUBP_COMPILED")

    def test_says_why_it_is_not_used_and_the_fix(self, monkeypatch):
        reason = "the compiled engine has not been built; to fix it: python -m gpubp.engine.cpu.compiler"
        monkeypatch.setattr(library, "why_not", lambda: reason)
        status, detail, fix = found("compiled engine")[1:]
        assert (status, fix) == ("warning", "python -m gpubp.engine.cpu.compiler")
        assert detail == "not used, so computing on the CPU is slower: the compiled engine has not been built"

    @pytest.mark.parametrize("name", ["GPUBP_COMPILED", "GPUBP_INSTRUCTIONS"])
    def test_a_variable_that_is_wrong_is_a_fault(self, monkeypatch, name):
        monkeypatch.setenv(name, "yes")
        finding = found("compiled engine")
        assert (finding.status, finding.fix) == ("fault", f"unset {name}")
        assert f"{name} must be one of" in finding.detail


def test_a_healthy_gpu_passes_every_check(machine):
    machine.driver(13000)
    machine.cupy(devices=2)
    cublas_of(machine)
    findings = {finding.name: finding for finding in diagnose()}
    assert {finding.status for finding in findings.values()} == {"ok", "info"}
    passed = {name for name, finding in findings.items() if finding.status == "ok"}
    assert passed == {
        *("NVIDIA driver", "CuPy", "CUDA runtime", "cuda:0", "cuda:1", "CUDA compiler"),
        *("test on cuda:0", "test on cuda:1", "kernel cache", "nvmath-python", 'device="auto"'),
    }
    assert findings["cuda:1"].detail == "Fake 9000, compute capability 9.0, 100.0 GiB of 140.0 GiB free"
    assert "3.0 MiB, 1.0 MiB of it in use" in findings["memory pool"].detail
    assert findings['device="auto"'].detail == "uses cuda:0"


def test_a_driver_without_cupy_is_a_fault_with_the_extra_that_fits(machine):
    machine.driver(12040)
    assert faults() == ["CuPy"]
    assert found("CuPy").fix == 'pip install "cupy-cuda12x[ctk]"'


def test_cupy_without_a_driver_is_a_warning(machine):
    machine.cupy(devices=RuntimeError("cudaErrorInsufficientDriver"), multiplies=lambda a, b: 1 / 0)
    assert faults() == []
    assert found("NVIDIA driver").status == "warning"
    assert found("NVIDIA driver").fix
    assert found('device="auto"').status == "info"


def test_the_driver_is_too_old_for_cupy(machine):
    machine.driver(12080)
    machine.cupy(runtime=13020, multiplies=lambda a, b: 1 / 0)
    finding = found("CUDA runtime")
    assert finding.status == "fault"
    assert "13.2" in finding.detail
    assert "12.8" in finding.detail
    assert finding.fix == 'pip uninstall -y cupy-cuda13x && pip install "cupy-cuda12x[ctk]"'
    assert not any(finding.name.startswith("cuda:") for finding in diagnose())


@pytest.mark.parametrize(("driver", "runtime"), [(13000, 13020), (13020, 12090)])
def test_a_driver_of_the_same_major_version_or_a_newer_one_suffices(machine, driver, runtime):
    machine.driver(driver)
    machine.cupy(runtime=runtime)
    assert found("CUDA runtime").status == "ok"


def test_a_driver_older_than_every_extra(machine):
    machine.driver(11040)
    assert found("NVIDIA driver").status == "warning"
    assert "525" in found("NVIDIA driver").detail
    machine.cupy(runtime=12090)
    assert found("CUDA runtime").fix == FIX


def test_duplicate_wheels(machine):
    machine.driver(13000)
    machine.cupy()
    machine.wheels("CuPy_CUDA12x", "cupy-cuda13x", "cupy-cuda13x")
    assert cupy_wheels() == ["cupy-cuda12x", "cupy-cuda13x"]
    assert faults() == ["CuPy wheels"]
    command = 'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install "cupy-cuda13x[ctk]"'
    assert found("CuPy wheels").fix == command


@pytest.mark.parametrize("name", ["cupy", "cupy-cuda11x", "cupy-cuda112", "cupy-rocm-7-0", "amd-cupy"])
def test_every_kind_of_wheel_is_known(machine, name):
    machine.wheels(name)
    assert cupy_wheels() == [name]


def test_a_cupy_that_cannot_be_imported(machine, tmp_path):
    message = "\n=======\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: libcudart.so.13 is missing\n====="
    (tmp_path / "cupy.py").write_text(f"raise ImportError({message!r})")
    machine.monkeypatch.delitem(sys.modules, "cupy")
    machine.monkeypatch.syspath_prepend(tmp_path)
    machine.wheels("cupy-cuda13x")
    finding = found("CuPy")
    assert finding.status == "fault"
    assert "libcudart.so.13 is missing" in finding.detail
    assert finding.fix.startswith("pip uninstall -y cupy-cuda13x && ")


def test_a_warning_at_import_stays_quiet(machine, tmp_path, capfd):
    (tmp_path / "cupy.py").write_text("import warnings; warnings.warn('multiple CuPy packages'); __version__ = '14'")
    machine.monkeypatch.delitem(sys.modules, "cupy")
    machine.monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found("CuPy").status == "ok"
    assert capfd.readouterr() == ("", "")


def test_missing_headers(machine):
    machine.driver(13000)
    log = 'kern.cu\nkern.cu(2): catastrophic error: cannot open source file "cuda_fp16.h"\n1 error detected'
    machine.cupy(compiles=RuntimeError(log))
    finding = found("CUDA compiler")
    assert finding.status == "fault"
    assert 'cannot open source file "cuda_fp16.h"' in finding.detail
    assert finding.fix == 'pip install "cupy-cuda13x[ctk]"'


def test_a_long_error_without_an_error_line_is_reported_by_its_first_line(machine):
    machine.driver(13000)
    machine.cupy(compiles=OSError("======\n\n  libnvrtc.so.13 is not there\n  looked in many places\n======"))
    assert found("CUDA compiler").detail == "no kernel can be compiled: OSError: libnvrtc.so.13 is not there"


def test_headers_are_searched_for_each_time(machine):
    machine.driver(13000)
    machine.cupy()
    sources = []
    keep = sys.modules["cupy"].RawKernel
    sys.modules["cupy"].RawKernel = lambda code, name: (sources.append(code), keep(code, name))[1]
    diagnose()
    diagnose()
    assert sources[0] != sources[1]  # else CuPy would use its cache


def test_no_gpu_behind_the_driver(machine):
    machine.driver(13000)
    machine.cupy(devices=0, multiplies=lambda a, b: 1 / 0)
    assert faults() == ["GPUs"]
    machine.cupy(devices=RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))
    assert faults() == ["GPUs"]
    assert found("GPUs").fix


def test_a_gpu_that_cuda_13_does_not_support(machine):
    machine.driver(13000)
    machine.cupy(capability=(7, 0))
    assert faults() == ["cuda:0"]
    assert found("cuda:0").fix == 'pip uninstall -y cupy-cuda13x && pip install "cupy-cuda12x[ctk]"'
    machine.cupy("cupy-cuda12x", capability=(7, 0), runtime=12090)
    assert faults() == []


def test_a_gpu_that_cannot_work_is_not_tried(machine):
    machine.driver(13000)
    machine.cupy(devices=2)
    capabilities = [(7, 0), (9, 0)]
    machine.monkeypatch.setattr(
        sys.modules["cupy"].cuda.runtime,
        "getDeviceProperties",
        lambda index: {"name": b"Fake", "major": capabilities[index][0], "minor": capabilities[index][1]},
    )
    names = [finding.name for finding in diagnose()]
    assert faults() == ["cuda:0"]
    assert "test on cuda:1" in names
    assert "test on cuda:0" not in names


def test_a_full_gpu_is_a_warning(machine):
    machine.driver(13000)
    machine.cupy(free=2**20)
    assert found("cuda:0").status == "warning"
    assert found("cuda:0").fix == "nvidia-smi"


def test_a_gpu_that_multiplies_incorrectly(machine):
    machine.driver(13000)
    machine.cupy(multiplies=lambda a, b: np.matmul(a, b) + 1)
    assert faults() == ["test on cuda:0"]
    assert "computes incorrectly" in found("test on cuda:0").detail
    assert found('device="auto"').status == "warning"
    assert "uses the CPU" in found('device="auto"').detail


def test_a_check_that_breaks_is_a_finding(machine):
    machine.driver(13000)
    machine.cupy()
    machine.monkeypatch.setattr(sys.modules["cupy"], "get_default_memory_pool", lambda: 1 / 0)
    assert found("memory pool").status == "fault"
    assert "ZeroDivisionError" in found("memory pool").detail


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        (None, "info", "matmul_precision='tf32' is faster"),
        ("0", "info", "used on request"),
        ("1", "warning", "CUPY_TF32 is set"),
        ("true", "fault", "'true'"),
        ("", "fault", "''"),
    ],
)
def test_tf32(machine, value, status, text):
    machine.cupy()
    if value is not None:
        machine.monkeypatch.setenv("CUPY_TF32", value)
    finding = found("TF32")
    assert finding.status == status
    assert text in finding.detail
    assert "CUPY_TF32=1" not in finding.detail  # which would round unless requested


def cublas_of(machine, version=130102):
    """Install a fake nvmath-python with a cuBLAS or an error; return the handles that are not destroyed."""
    handles = []

    def create():
        if isinstance(version, Exception):
            raise version
        handles.append(7)
        return 7

    cublas = types.ModuleType("nvmath.bindings.cublas")
    cublas.create, cublas.destroy, cublas.get_version = create, handles.remove, {7: version}.get
    for name in ("nvmath", "nvmath.bindings", "nvmath.bindings.cublas"):
        machine.monkeypatch.setitem(sys.modules, name, cublas)
    known = diagnosis.importlib.metadata.version
    machine.monkeypatch.setattr(
        diagnosis.importlib.metadata, "version", lambda name: "1.2.0" if name == "nvmath-python" else known(name)
    )
    return handles


class TestNvmath:
    def test_one_that_works(self, machine):
        machine.driver(13020)
        machine.cupy()
        handles = cublas_of(machine)
        assert found("nvmath-python") == Finding("nvmath-python", "ok", "1.2.0, with cuBLAS 13.1.2")
        assert handles == []

    def test_one_that_finds_no_cublas(self, machine):
        machine.driver(13020)
        machine.cupy()
        cublas_of(machine, RuntimeError("Failed to dlopen libcublas"))
        finding = found("nvmath-python")
        assert (finding.status, finding.fix) == ("warning", "pip install -U nvmath-python")
        assert "equations run one at a time: RuntimeError: Failed to dlopen libcublas" in finding.detail

    def test_it_is_loaded_only_if_a_gpu_works(self, machine):
        machine.cupy(devices=RuntimeError("cudaErrorNoDevice"))
        cublas_of(machine, AssertionError("loaded"))
        assert found("nvmath-python") == Finding("nvmath-python", "info", "1.2.0")

    @pytest.mark.parametrize(("has_gpu", "status"), [(True, "warning"), (False, "info")])
    def test_not_installed(self, monkeypatch, has_gpu, status):
        def version(name):
            raise diagnosis.importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(diagnosis.importlib.metadata, "version", version)
        finding = diagnosis._nvmath(has_gpu=has_gpu)
        assert (finding.status, finding.fix) == (status, "pip install nvmath-python")
        assert "equations run one at a time" in finding.detail


def test_the_kernel_cache(machine, tmp_path):
    machine.cupy()
    assert found("kernel cache").status == "ok"
    assert "does not exist yet" in found("kernel cache").detail
    machine.monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "a.cubin").write_bytes(bytes(3 * 1024))
    assert found("kernel cache").detail.endswith("kernels, 1 kernels, 3.0 KiB")
    machine.monkeypatch.setattr(os, "access", lambda place, mode: False)
    assert found("kernel cache").status == "warning"
    assert "CUPY_CACHE_DIR" in found("kernel cache").fix
    machine.monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    assert "in memory only" in found("kernel cache").detail


def test_a_file_where_the_cache_should_be(machine, tmp_path):
    machine.cupy()
    (tmp_path / "taken").touch()
    machine.monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "taken" / "kernels"))
    assert found("kernel cache").status == "warning"


def test_the_variable(machine):
    machine.monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    assert found("GPUBP_DEVICE").status == "ok"
    assert found('device="auto"').detail == "uses cpu, set by GPUBP_DEVICE"
    machine.monkeypatch.setenv("GPUBP_DEVICE", "cuda")
    assert faults() == ["GPUBP_DEVICE", 'device="auto"']
    assert found("GPUBP_DEVICE").fix == "unset GPUBP_DEVICE"
    machine.monkeypatch.setenv("GPUBP_DEVICE", " auto ")
    assert faults() == []


def run(*arguments: str):
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments)


def test_the_command_on_a_laptop(machine):
    result = run()
    assert result.exit_code == 0, result.output
    assert "uses the CPU" in result.stdout
    assert sys.executable in result.stdout  # paths stay whole in a pipe
    assert "where there is an NVIDIA GPU: sudo apt install nvidia-driver" in " ".join(result.stdout.split())
    assert "device='cpu'" not in result.stdout
    assert "To fix it" not in result.stdout


def test_the_command_with_a_fault(machine):
    machine.driver(13000)
    machine.cupy()
    machine.wheels("cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
    result = run()
    assert result.exit_code == 1
    command = 'pip uninstall -y cupy-cuda11x cupy-cuda12x cupy-cuda13x && pip install "cupy-cuda13x[ctk]"'
    assert command in result.stdout.splitlines()[-1].strip() or f"    {command}\n" in result.stdout  # never wrapped
    assert "\x1b" not in result.stdout


def test_the_command_names_each_fix_once(machine):
    machine.cupy(devices=RuntimeError("cudaErrorInsufficientDriver"), multiplies=lambda a, b: 1 / 0)
    answer = functools.cache(lambda index=0: probe.Probe(False, "no driver", FIX, True))
    machine.monkeypatch.setattr(probe, "probe_cuda", answer)
    out = run().stdout
    assert out.count(FIX) == 1
    assert (
        out.index("To fix it:")
        < out.index(FIX)
        < out.index("Optional (nothing is broken):")
        < out.index("pip install nvmath-python")
    )
    assert "  NVIDIA driver\n" in out


def test_the_command_for_programs(machine):
    result = run("--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["faults"] == 0
    assert printed["findings"] == [finding._asdict() for finding in diagnose()]
    machine.driver(13000)
    result = run("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"] == 1


def test_the_machine_is_not_changed(machine, tmp_path):
    machine.driver(13000)
    machine.cupy()
    before = dict(os.environ)
    diagnose()
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []
