"""Check the compiled engine, CuPy, the NVIDIA driver and the GPUs, and find the command that fixes each fault.

Nothing is printed, and nothing is changed except for one small kernel in CuPy's cache. CuPy is imported only if it is
installed. A machine without a GPU has no fault.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gpubp._core.text import size_in_words
from gpubp._version import __version__
from gpubp.backends import probe
from gpubp.backends.backend import ENVIRONMENT_VARIABLE, choose_backend
from gpubp.backends.cupy_wheels import cupy_wheels, describe_duplicates, reinstall_command
from gpubp.backends.driver_fix import driver_command
from gpubp.cli.kernel_cache import find_kernel_cache
from gpubp.engine import cpu
from gpubp.engine.cpu import library
from gpubp.errors import GpubpError

Status = Literal["ok", "info", "warning", "fault"]

MIN_CAPABILITY_OF_CUDA_13 = (7, 5)  # compute capability; CUDA 13 no longer compiles for Maxwell, Pascal and Volta
LITTLE_MEMORY = 512 * 2**20  # bytes; a context and cuBLAS's workspaces alone take about half of it


class Finding(NamedTuple):
    """The result of one check, with the command that fixes it, or that installs what is optional."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def diagnose() -> list[Finding]:
    """Check everything that decides which device gpubp uses.

    Returns
    -------
    list of Finding
        The status is ``"ok"`` for a check that passed, ``"info"`` for a fact, ``"warning"`` for something that costs
        speed or prevents the use of a GPU, and ``"fault"`` for something broken. Warnings and faults have a command
        that fixes them.

    Examples
    --------
    >>> [finding.name for finding in diagnose()][:3]
    ['Python', 'gpubp', 'NumPy']
    """
    driver = probe.driver_cuda_version()
    wheels = cupy_wheels()
    cupy, cupy_finding = _import_cupy(driver, wheels)
    findings = [*_versions(), _driver_finding(driver, has_cupy=cupy is not None), cupy_finding]
    if len(wheels) > 1:
        findings.append(Finding("CuPy wheels", "fault", describe_duplicates(wheels), reinstall_command(wheels)))
    if cupy is not None:
        findings += _cuda_findings(cupy, driver, wheels)
    return [*findings, _run_check(ENVIRONMENT_VARIABLE, _device_variable), _run_check('device="auto"', _auto_device)]


def verdict() -> str:
    """Return which device trains here, and why."""
    requested = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if requested in ("", "auto"):
        result = probe.probe_cuda()
        if result.usable:
            return "This machine trains on cuda:0, because its GPU passed the test."
        return f"This machine trains on the CPU, because {result.cause.replace('this machine', 'it')}."
    try:
        return f"This machine trains on {choose_backend(requested).name}, because {ENVIRONMENT_VARIABLE} says so."
    except GpubpError:
        what = f"{ENVIRONMENT_VARIABLE} is {requested!r}, which cannot be used"
        return f"Nothing trains here without --device, because {what}."


def _run_check(name: str, check: Callable[..., Finding], *arguments: Any) -> Finding:
    """Run a check; an exception in it becomes a fault."""
    try:
        return check(*arguments)
    except Exception as error:
        return Finding(name, "fault", _cause(error), 'python -c "import cupy; cupy.show_config()"')


def _cause(error: Exception) -> str:
    """Return the first line of a message that names an error; compilers and CuPy print other lines before it."""
    lines = [line.strip() for line in str(error).splitlines() if re.search(r"\w", line)] or ["no message"]
    line = next((line for line in lines if re.search(r"error: \S", line, re.IGNORECASE)), lines[0])
    return f"{type(error).__name__}: {line}"[:300]


def _versions() -> list[Finding]:
    return [
        Finding("Python", "info", f"{platform.python_version()}, {sys.executable}"),
        Finding("gpubp", "info", f"{__version__}, {Path(__file__).parents[2]}"),
        Finding("NumPy", "info", importlib.metadata.version("numpy")),
        _engine(),
    ]


def _engine() -> Finding:
    """Check the compiled engine, which computes on the CPU."""
    name = "compiled engine"
    if reason := library.why_not():
        cause, _, fix = reason.partition("; to fix it: ")
        return Finding(name, "warning", f"not used, so computing on the CPU is slower: {cause}", fix)
    built_by = f"compiled by {library.built_by()}"
    try:
        if cpu.requested_mode() == "never":
            return Finding(name, "info", f"{built_by}; turned off by {cpu.ENVIRONMENT_VARIABLE}")
    except GpubpError as error:
        return Finding(name, "fault", str(error), f"unset {cpu.ENVIRONMENT_VARIABLE}")
    try:
        return Finding(name, "info", f"{built_by}; uses the instructions {library.variant()}")
    except GpubpError as error:
        return Finding(name, "fault", str(error), f"unset {library.ENVIRONMENT_VARIABLE}")


def _driver_finding(driver: int | None, *, has_cupy: bool) -> Finding:
    name = "NVIDIA driver"
    if driver is not None and driver < 12000:
        supported = f"it supports CUDA up to {_version_text(driver)}"
        detail = f"too old: {supported}; CUDA 12 needs driver 525 or newer, CUDA 13 driver 580"
        return Finding(name, "warning", detail, driver_command())
    if driver is not None:
        return Finding(name, "ok", f"supports CUDA up to {_version_text(driver)}")
    if not has_cupy or probe.probe_cuda().usable:  # CuPy for AMD's GPUs works without NVIDIA's driver
        return Finding(name, "info", f"not installed; where there is an NVIDIA GPU: {driver_command()}")
    return Finding(name, "warning", "not found, so CuPy cannot run", driver_command())


def _import_cupy(driver: int | None, wheels: list[str]) -> tuple[Any, Finding]:
    if importlib.util.find_spec("cupy") is None:
        if driver is None:
            return None, Finding("CuPy", "info", "not installed, and not needed without an NVIDIA driver")
        return None, Finding("CuPy", "fault", "not installed, so the GPU is not used", probe.install_command())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # duplicate wheels are a separate finding
            import cupy
    except Exception as error:
        return None, Finding(
            "CuPy", "fault", f"installed, but it cannot be imported: {_cause(error)}", reinstall_command(wheels)
        )
    return cupy, Finding("CuPy", "ok", f"{cupy.__version__}, installed as {', '.join(wheels) or 'no known wheel'}")


def _cuda_findings(cupy: Any, driver: int | None, wheels: list[str]) -> list[Finding]:
    findings = [_run_check("CUDA runtime", _runtime, cupy, driver, wheels)]
    devices = [] if findings[0].status == "fault" else _devices(cupy, driver, wheels)
    findings += devices
    working = [i for i, device in enumerate(devices) if device.status != "fault"]
    if working:
        findings.append(_run_check("CUDA compiler", _compiler, cupy, wheels))
        findings += [_run_check(f"test on cuda:{i}", _test_device, i) for i in working]
        findings.append(_run_check("memory pool", _memory_pool, cupy))
    return [*findings, _tf32(), _run_check("kernel cache", _kernel_cache), _nvmath(has_gpu=bool(working))]


def _runtime(cupy: Any, driver: int | None, wheels: list[str]) -> Finding:
    runtime = cupy.cuda.runtime.runtimeGetVersion()
    version = f"CuPy uses {_version_text(runtime)}"
    if driver is None:
        return Finding("CUDA runtime", "info", version)
    if driver // 1000 >= runtime // 1000:  # within one major version an older driver runs newer minor ones
        return Finding("CUDA runtime", "ok", f"{version}, which the driver supports")
    detail = f"{version}, but the driver supports only {_version_text(driver)}"
    if driver < 12000:
        return Finding("CUDA runtime", "fault", detail, driver_command())
    return Finding(
        "CUDA runtime", "fault", f"{detail}; CuPy for CUDA {driver // 1000} fits it", reinstall_command(wheels)
    )


def _devices(cupy: Any, driver: int | None, wheels: list[str]) -> list[Finding]:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        # a missing driver is a separate finding
        return [] if driver is None else [Finding("GPUs", "fault", _cause(error), "nvidia-smi")]
    if count == 0:
        return [Finding("GPUs", "fault", "the driver is installed, but shows no GPU", "nvidia-smi -L")]
    return [_run_check(f"cuda:{i}", _device, cupy, i, wheels) for i in range(count)]


def _device(cupy: Any, index: int, wheels: list[str]) -> Finding:
    name, runtime = f"cuda:{index}", cupy.cuda.runtime
    with cupy.cuda.Device(index):
        properties = runtime.getDeviceProperties(index)
        free, total = runtime.memGetInfo()
    capability = (properties["major"], properties["minor"])
    model = properties["name"].decode()
    memory = f"{size_in_words(free)} of {size_in_words(total)} free"
    detail = f"{model}, compute capability {capability[0]}.{capability[1]}, {memory}"
    if runtime.runtimeGetVersion() // 1000 == 13 and capability < MIN_CAPABILITY_OF_CUDA_13:
        fix = f'pip uninstall -y {" ".join(wheels) or "cupy"} && pip install "cupy-cuda12x[ctk]"'
        return Finding(name, "fault", f"{detail}; CUDA 13 no longer runs on it, CUDA 12 does", fix)
    if free < LITTLE_MEMORY:
        return Finding(name, "warning", f"{detail}; other programs use the rest", "nvidia-smi")
    return Finding(name, "ok", detail)


def _compiler(cupy: Any, wheels: list[str]) -> Finding:
    # the time makes the source new: a cached kernel would hide missing headers
    source = f"""// {time.time_ns()}
#include <cuda_fp16.h>
extern "C" __global__ void check(float* out) {{ out[0] = __half2float(__float2half(1.0f)); }}"""
    try:
        cupy.RawKernel(source, "check").compile()
    except Exception as error:
        toolkit = f'pip install "{wheels[0]}[ctk]"' if len(wheels) == 1 and "cuda" in wheels[0] else ""
        detail = f"no kernel can be compiled: {_cause(error)}"
        return Finding("CUDA compiler", "fault", detail, toolkit or reinstall_command(wheels))
    return Finding("CUDA compiler", "ok", "NVRTC and CUDA's headers compile a kernel")


def _test_device(index: int) -> Finding:
    name, result = f"test on cuda:{index}", probe.probe_cuda(index)
    if result.usable:
        return Finding(name, "ok", "a kernel and a matrix product gave the right results")
    return Finding(name, "fault", result.cause, result.fix)


def _memory_pool(cupy: Any) -> Finding:
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    detail = (
        f"holds {size_in_words(pool.total_bytes())}, {size_in_words(pool.used_bytes())} of it in use, "
        f"{f'at most {size_in_words(limit)}' if limit else 'without a limit'}; freed memory stays in the pool for "
        "reuse"
    )
    return Finding("memory pool", "info", detail)


def _tf32() -> Finding:
    value = os.environ.get("CUPY_TF32", "0")
    try:
        on = int(value) > 0
    except ValueError:
        detail = f"CUPY_TF32={value!r} is not a whole number, and CuPy's matrix products fail"
        return Finding("TF32", "fault", detail, "unset CUPY_TF32")
    if on:
        detail = "CUPY_TF32 is set: some float32 products have about 3 digits, although matmul_precision requests all 7"
        return Finding("TF32", "warning", detail, "unset CUPY_TF32")
    detail = (
        "used on request: matmul_precision='tf32' is faster on large networks, and its products have about 3 digits"
    )
    return Finding("TF32", "info", detail)


def _kernel_cache() -> Finding:
    cache = find_kernel_cache()
    status: Status = "ok" if cache.kind == "folder" else "info" if cache.kind == "memory" else "warning"
    fix = 'export CUPY_CACHE_DIR="$(mktemp -d)"' if cache.kind == "unwritable" else ""
    return Finding("kernel cache", status, cache.description, fix)


def _nvmath(*, has_gpu: bool) -> Finding:
    """Check the bindings of cuBLAS, which gpubp's own kernels need for matrix products; on a GPU make a handle."""
    name = "nvmath-python"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        detail = "not installed: on a GPU the equations run one at a time, which is slower"
        return Finding(name, "warning" if has_gpu else "info", detail, f"pip install {name}")
    if not has_gpu:
        return Finding(name, "info", version)
    try:
        cublas: Any = importlib.import_module("nvmath.bindings.cublas")
        handle = cublas.create()
        cublas_version = cublas.get_version(handle)
        cublas.destroy(handle)
    except Exception as error:  # includes errors about missing libraries
        detail = f"{version} finds no working cuBLAS, so the equations run one at a time: {_cause(error)}"
        return Finding(name, "warning", detail, f"pip install -U {name}")
    return Finding(
        name,
        "ok",
        f"{version}, with cuBLAS {cublas_version // 10000}.{cublas_version // 100 % 100}.{cublas_version % 100}",
    )


def _device_variable() -> Finding:
    value = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not value:
        return Finding(ENVIRONMENT_VARIABLE, "info", 'not set; it selects the device for device="auto"')
    if value == "auto":
        return Finding(ENVIRONMENT_VARIABLE, "info", "'auto', the same as not set")
    try:
        choose_backend(value)
    except GpubpError as error:
        return Finding(ENVIRONMENT_VARIABLE, "fault", str(error), f"unset {ENVIRONMENT_VARIABLE}")
    return Finding(ENVIRONMENT_VARIABLE, "ok", repr(value))


def _auto_device() -> Finding:
    name, requested = 'device="auto"', os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if requested in ("", "auto"):
        result = probe.probe_cuda()
        if result.usable:
            return Finding(name, "ok", "uses cuda:0")
        if result.expected:
            return Finding(name, "info", f"uses the CPU: {result.cause}")
        return Finding(name, "warning", f"uses the CPU: {result.cause}", result.fix)
    try:
        return Finding(name, "ok", f"uses {choose_backend(requested).name}, set by {ENVIRONMENT_VARIABLE}")
    except GpubpError:
        return Finding(name, "fault", f"raises: {ENVIRONMENT_VARIABLE} cannot be used", f"unset {ENVIRONMENT_VARIABLE}")


def _version_text(number: int) -> str:
    """Convert CUDA's version number to text: 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
