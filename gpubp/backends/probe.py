"""Find out whether a GPU works, once and on demand, by running a kernel and a matrix product."""

import contextlib
import ctypes
import functools
import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gpubp.backends.driver_fix import driver_command


class Probe(NamedTuple):
    """Whether a GPU can be used; if not, why not and the one command that fixes it."""

    usable: bool
    cause: str = ""
    fix: str = ""
    expected: bool = False  # True if the machine simply has no GPU, which is not a fault


def driver_cuda_version() -> int | None:
    """Return the newest CUDA version that the NVIDIA driver supports.

    Returns
    -------
    int or None
        1000 times the major version plus 10 times the minor one, as CUDA counts (13000 is 13.0); None without a driver.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None


def cuda_extra() -> str:
    """Return the extra of gpubp whose CuPy fits this machine's driver."""
    return "cuda12" if 12000 <= (driver_cuda_version() or 13000) < 13000 else "cuda13"


def cuda_of_cupy() -> str:
    """Return "cuda12" or "cuda13": that of the installed wheel of CuPy, or what fits the driver if there is none."""
    from importlib.metadata import PackageNotFoundError, version  # which load slowly

    for extra in ("cuda12", "cuda13"):
        with contextlib.suppress(PackageNotFoundError):
            version(f"cupy-{extra}x")
            return extra
    return cuda_extra()


def install_command() -> str:
    """Return the command that installs CuPy with CUDA's libraries, for the installed wheel if there is one."""
    return f'pip install "cupy-{cuda_of_cupy()}x[ctk]"'


_DRIVER = "the command of driver_fix"

_FIXES = (
    # part of the error's text, its meaning, the command that fixes it
    ("InsufficientDriver", "the NVIDIA driver is missing, or older than CuPy's CUDA", _DRIVER),
    ("NoDevice", "CUDA sees no GPU", "nvidia-smi"),
    ("InvalidDevice", "there is no GPU with that number", "nvidia-smi -L"),
    ("MemoryAllocation", "the GPU's memory is full", "nvidia-smi"),
    ("out of memory", "the GPU's memory is full", "nvidia-smi"),
    ("DevicesUnavailable", "another program has exclusive use of the GPU", "nvidia-smi"),
    ("ALLOC_FAILED", "the GPU's memory is full", "nvidia-smi"),
    ("NOT_INITIALIZED", "CUDA's matrix library finds no memory or no GPU", "nvidia-smi"),
    ("UnsupportedPtxVersion", "the NVIDIA driver is older than CuPy's CUDA", _DRIVER),
    ("ECCUncorrectable", "the GPU's memory is damaged", "nvidia-smi -q -d ECC"),
    ("IllegalAddress", "the GPU stopped during its work; restart Python", "nvidia-smi"),
    ("LaunchFailure", "the GPU stopped during its work; restart Python", "nvidia-smi"),
    ("cudaErrorUnknown", "the GPU is lost; restart Python or the machine", "nvidia-smi"),
    ("NoKernelImage", "this CuPy's CUDA does not support this GPU", "gpubp doctor"),
    ("gpu-architecture", "this CuPy's CUDA does not support this GPU", "gpubp doctor"),
    ("nvrtc", "CUDA's run-time compiler or its headers are missing", ""),
    ("cuda_fp16.h", "CUDA's headers are missing", ""),
    ("cannot open source file", "CUDA's headers are missing", ""),
    ("cublas", "CUDA's matrix library is missing", ""),
)


@functools.cache
def probe_cuda(index: int = 0) -> Probe:
    """Run one kernel and one matrix product on a GPU and compare the results with the known ones.

    The result is cached. The first call may take seconds, since it compiles.
    """
    driver = driver_cuda_version()
    if driver is None and importlib.util.find_spec("cupy") is None:
        return Probe(
            False,
            "this machine has no NVIDIA driver, and CuPy is not installed",
            f"compute with device='cpu'; if there is an NVIDIA GPU: {driver_command()}",
            expected=True,
        )
    if importlib.util.find_spec("cupy") is None:
        return Probe(False, "CuPy is not installed", install_command())
    try:
        with ThreadPoolExecutor(1) as executor:
            kernel, product = executor.submit(_computed, index).result()
    except Exception as error:
        return Probe(False, *cause_and_fix(error), expected=driver is None)
    if (kernel, product) != (256.0, 3920.0):
        return Probe(
            False, f"the GPU computes incorrectly: got {kernel} and {product}, not 256 and 3920", "nvidia-smi -q"
        )
    return Probe(True)


def _computed(index: int) -> tuple[float, float]:
    """Compute by a kernel and by a matrix product, in a thread.

    What CuPy imports on the way keeps errors of optional imports, and so all frames up to here: in a thread none of a
    caller, whose arrays would be held for good.
    """
    import cupy

    with cupy.cuda.Device(index):
        a = cupy.arange(16.0, dtype=cupy.float32).reshape(4, 4)
        return float(cupy.sum(2 * a + 1)), float(cupy.sum(cupy.matmul(a, a)))


def cause_and_fix(error: Exception) -> tuple[str, str]:
    """Return the meaning of an error of CuPy or of CUDA's libraries, and the one command that fixes it."""
    text = f"{type(error).__name__}: {error}"
    for part, cause, fix in _FIXES:
        if part.lower() in text.lower():
            command = driver_command() if fix is _DRIVER else fix
            return f"{cause} ({first_line(text)})", command or install_command()
    return first_line(text), "gpubp doctor"


def is_known(error: Exception) -> bool:
    """Return whether an error is a known error of CUDA or its libraries."""
    text = f"{type(error).__name__}: {error}".lower()
    return any(part.lower() in text for part, _, _ in _FIXES)


def first_line(text: str) -> str:
    """Shorten an error's text so that it fits into another message."""
    return text.strip().splitlines()[0][:200]
