"""Make CuPy and nvmath-python of this process use CUDA on the CPU; to be called before either is imported."""

import ctypes
import os
import sys
from functools import cache
from types import SimpleNamespace

from tests.cuda_on_cpu import build

LAPACK = ("getrf", "getrs")
COUNTERS = (
    *("launches", "synchronizations", "uploads", "downloads", "allocations", "graph_launches", "graph_nodes"),
    *("collectives", "uploaded_bytes"),
)


class _Counters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in COUNTERS]


@cache
def activate():
    """Load the libraries, put them in the place of NVIDIA's, and return the first."""
    if "cupy" in sys.modules:
        raise RuntimeError("CuPy was imported before CUDA on the CPU could take NVIDIA's place")
    libraries = build.build()
    # loaded by their paths here, they are found by their names when CuPy and nvmath-python ask for these
    lacking = {"libnccl.so.2"} if os.environ.get("CUDA_ON_CPU_NCCL") == "0" else set()
    names = [name for name in build.LIBRARIES if name not in lacking]
    cuda, *_ = [ctypes.CDLL(str(libraries / name), mode=ctypes.RTLD_GLOBAL) for name in names]
    sys.path.insert(0, str(libraries / "site"))
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB is not there
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # compiler.py has a cache of its own
    _give_lapack(cuda)
    from cupy.cuda import compiler

    from tests.cuda_on_cpu.compiler import Program

    compiler._NVRTCProgram = Program
    compiler._nvrtc_version = (build.CUDA_VERSION // 1000, 0)
    return cuda


def _give_lapack(library):
    """Hand over LAPACK's functions, which SciPy exports for Cython."""
    from scipy.linalg import cython_lapack

    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    library.cuda_on_cpu_set_lapack.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    for name in (letter + name for letter in "sd" for name in LAPACK):
        capsule = cython_lapack.__pyx_capi__[name]
        library.cuda_on_cpu_set_lapack(name.encode(), address(capsule, name_of(capsule)))


def counters():
    """Return how many launches, waits, copies and allocations there were so far."""
    counted = _Counters()
    activate().cuda_on_cpu_counters(ctypes.byref(counted))
    return SimpleNamespace(**{name: getattr(counted, name) for name in COUNTERS})


def forget_fault():
    """Forget the fault that a kernel met; on a GPU it ends all work of the process."""
    activate().cuda_on_cpu_forget_fault()
