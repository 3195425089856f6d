"""Build what CuPy needs to run on a CPU: ``python -m tests.cuda_on_cpu.build``; what is there already is kept."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from contextlib import contextmanager
from functools import cache
from importlib import metadata, util
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
LIBRARIES = {  # the source files of each; those without are only asked for beside the others
    "libcuda.so.1": ("counters", "devices", "streams", "graphs", "memory", "driver", "lapack"),
    "libcublasLt.so.13": (),
    "libcublas.so.13": ("cublas", "cublas_solvers"),
    "libnvJitLink.so.13": (),
    "libcusparse.so.12": (),
    "libcusolver.so.12": ("cusolver",),
    "libnccl.so.2": ("nccl",),
}
CALLERS = {  # modules of CuPy
    "libcublas.so.13": "cupy_backends/cuda/libs/cublas",
    "libcusolver.so.12": "cupy_backends/cuda/libs/cusolver",
    "libnccl.so.2": "cupy_backends/cuda/libs/nccl",
}
NOT_SUPPORTED = {"cuda": 801, "cublas": 15, "cusolver": 9, "nccl": 5}
FLAGS = ("-std=c++17", "-O3", "-mavx2", "-mfma", "-mf16c", "-w", "-fPIC", "-fvisibility=hidden")
RUNTIME = "cupy_backends/cuda/api/runtime"  # CuPy's module
CUDA_VERSION = 13000


def folder():
    """Return the folder that holds the libraries of this version, and kernels."""
    parent = os.environ.get("CUDA_ON_CPU_FOLDER") or Path.home() / ".cache" / "gpubp" / "cuda_on_cpu"
    return Path(parent).resolve()


@cache
def site():
    """Return the folder of installed packages that has CuPy."""
    return Path(util.find_spec("cupy").origin).parents[1]


@cache
def headers():
    """Return the folder of CUDA's headers, of NVIDIA's wheels."""
    for path in site().glob("nvidia/cu1*/include/cuda_runtime_api.h"):
        return path.parent
    raise FileNotFoundError("CUDA's headers are missing: install the dependency group cuda-on-cpu of pyproject.toml")


def cupy_version():
    return metadata.version("cupy-cuda13x")


@cache
def libraries():
    """Return the folder of the libraries for these sources, this CuPy and this Python."""
    digest = hashlib.sha256(f"{cupy_version()} {sys.version} {FLAGS}".encode())
    for path in sorted((*SOURCES.iterdir(), Path(__file__))):
        digest.update(path.read_bytes())
    return folder() / f"libraries-{digest.hexdigest()[:16]}"


@contextmanager
def locked(path):
    """Let one process at a time make a file, which the others then find: those of MPI and of pytest begin at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build():
    """Build the libraries, unless they are there, and return their folder."""
    out = libraries()
    with locked(out):
        if not out.exists():
            temporary = out.with_name(out.name + ".new")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            objects = _build_runtime_object(temporary)
            _build_libraries(temporary, objects)
            _build_runtime(temporary, objects)
            temporary.rename(out)
    return out


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _symbols(option, *paths):
    """Return CUDA's names that libraries or object files define, or lack."""
    dynamic = "-D" if paths[0].suffix == ".so" else "--no-demangle"
    return set(re.findall(r"\b(?:cuda|cublas|cusolver|nccl)[A-Z]\w+", run("nm", dynamic, option, *paths)))


def _module(name):
    return site() / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"


def _cupy_sources():
    """Return CuPy's source distribution, of the version that is installed."""
    sources = folder() / f"cupy-{cupy_version()}"
    if not sources.exists():
        os.environ["CUPY_INSTALL_USE_STUB"] = "1"  # so that pip needs no toolkit to read what it requires
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "cupy", "-d", folder())
        run(*pip, f"cupy=={cupy_version()}")
        with tarfile.open(sources.with_name(sources.name + ".tar.gz")) as archive:
            archive.extractall(folder(), filter="data")
    return sources


def _build_runtime_object(out):
    """Translate and compile CuPy's module of the runtime."""
    sources = _cupy_sources()
    constants = {"CUDA_VERSION": CUDA_VERSION, "HIP_VERSION": 0, "CANN_VERSION": 0, "USE_CUDA_PYTHON": 0}
    constants |= {"USE_GEN_HIP_CODE": 0, "DTYPE_MAX": 0}
    given = ",".join(f"CUPY_{name}={value}" for name, value in constants.items())
    translated = out / "runtime.cpp"
    run(sys.executable, "-m", "cython", "-3", "--cplus", "-E", given, sources / f"{RUNTIME}.pyx", "-o", translated)
    includes = (headers(), sysconfig.get_paths()["include"], sources / "cupy_backends", (sources / RUNTIME).parent)
    options = (f"-DCUPY_CUDA_VERSION={CUDA_VERSION}", *(f"-I{path}" for path in includes))
    run("g++", "-std=c++17", "-O1", "-w", "-fPIC", "-c", *options, translated, "-o", out / "runtime.o")
    return out / "runtime.o"


def _build_libraries(out, runtime):
    """Compile the sources, and write what CuPy's modules ask for beyond them as functions that return an error."""
    for library, names in LIBRARIES.items():
        caller = _module(CALLERS[library]) if library in CALLERS else runtime
        objects = [out / f"{name}.o" for name in names]
        for name, target in zip(names, objects, strict=True):
            run("g++", *FLAGS, "-c", f"-I{headers()}", SOURCES / f"{name}.cpp", "-o", target)
        kind = library[3 : library.index(".")]
        missing = _symbols("-u", caller) - _symbols("--defined-only", *objects) if names else set()
        stubs = out / f"{kind}_missing.cpp"
        stubs.write_text(_stubs(sorted(name for name in missing if name.startswith(kind)), NOT_SUPPORTED.get(kind)))
        link = [f"-Wl,-soname,{library}", "-Wl,-rpath,$ORIGIN", "-ldl"]
        if kind != "cuda":
            versions = out / f"{kind}.map"  # CuPy's modules ask for symbols of this version
            versions.write_text(f"{library} {{ global: {kind}*; local: *; }};\n")
            link = [out / "libcuda.so.1", f"-Wl,--version-script={versions}", *link]
        run("g++", *FLAGS, "-shared", *objects, stubs, *link, "-o", out / library)


def _stubs(names, error):
    """Write functions that say which one is missing, and return an error."""
    body = '{ fprintf(stderr, "CUDA on the CPU lacks %%s\\n", "%s"); return %d; }'
    lines = [f'extern "C" __attribute__((visibility("default"))) int {name}() {body % (name, error)}' for name in names]
    return "\n".join(["#include <stdio.h>", *lines, ""])


def _build_runtime(out, runtime):
    """Link CuPy's module to the library, in a copy of its package that goes before the installed one."""
    package = out / "site" / "cupy_backends"
    shutil.copytree(site() / "cupy_backends", package)
    target = out / "site" / _module(RUNTIME).relative_to(site())
    rpath = "-Wl,-rpath,$ORIGIN/../../../.."
    run("g++", "-shared", "-fPIC", runtime, out / "libcuda.so.1", rpath, "-o", target)


if __name__ == "__main__":
    print(build())
