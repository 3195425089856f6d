"""Kernels compiled by g++, where CuPy calls NVRTC; they are kept on disk by a hash of what they are made of."""

import hashlib
import os
import re
import subprocess
from functools import cache
from pathlib import Path

from tests.cuda_on_cpu import build

FLAGS = (
    *("-std=c++17", "-O1", "-w", "-fpermissive", "-fPIC", "-fvisibility=hidden", "-mavx2", "-mf16c"),
    *("-ffp-contract=fast", "-mfma", "-fexpensive-optimizations"),  # as NVRTC fuses multiplications and additions
    "-U_FORTIFY_SOURCE",  # which forbids longjmp to another stack
    *("-fno-exceptions", "-fno-threadsafe-statics"),
)
LINKED = ("-nostdlib", "-lm", "-lc")  # with the library of C++, linking would take as long as compiling
BOUNDS = r"(?:__launch_bounds__\([^)]*\)\s*)?"
KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\(')
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+([\w<>: ]+?)\s+(\w+)\[\];")
PREFIX = b"CUDA on the CPU:"  # and the path, as driver.cpp reads it
HEADERS = ("kernel.hpp", "cupy_kernel.hpp")  # the latter for CuPy's own kernels


@cache
def _compiled_headers():
    """Return the folder of the compiled headers, which save most of the time of each kernel."""
    out = build.folder() / f"headers-{_version()}"
    for name in HEADERS:
        with build.locked(out / name):
            if not (out / f"{name}.gch").exists():
                temporary = out / f"{name}.new"
                build.run("g++", *FLAGS, *_includes(), "-x", "c++-header", build.SOURCES / name, "-o", temporary)
                temporary.rename(out / f"{name}.gch")
    return out


def _digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


@cache
def _version():
    """Return a digest of all that kernels are compiled with."""
    headers = (path.read_text() for path in sorted(build.SOURCES.glob("*.hpp")))
    return _digest(build.run("g++", "-dumpfullversion"), build.cupy_version(), *FLAGS, *LINKED, *headers)


def _includes():
    cupy = build.site() / "cupy" / "_core" / "include"
    bundled = [cupy / "cupy" / "_cccl" / name for name in ("cub", "thrust", "libcudacxx")]
    return [f"-I{path}" for path in (build.SOURCES, *bundled, cupy, build.headers())]


def translate(source):
    """Return C++ for the source of kernels."""
    names = KERNEL.findall(source)
    if not names:
        raise ValueError(f'no kernel is declared as extern "C" __global__ void name(...):\n{source}')
    source = DYNAMIC_SHARED.sub(r"static \1* const \2 = (\1*)gpu::dynamic_shared;", source)
    has_barriers = int(bool(re.search(r"__(sync|shfl|ballot|any|all)", source)))
    flushes = int("double" not in source)  # the CPU has one switch for float32 and float64
    exports = "".join(f"GPU_EXPORT({name}, {has_barriers}, {flushes})\n" for name in names)
    header = HEADERS["<cupy/" in source]
    return f'#include "{header}"\n#line 1 "kernel.cu"\n{source}\n{exports}'


def _compile(text, library, options):
    code, temporary = (library.with_suffix(f".new.{end}") for end in ("cpp", "so"))
    code.write_text(text)
    command = ("g++", *FLAGS, f"-I{_compiled_headers()}", *_includes(), *options, "-shared", code, "-o", temporary)
    done = subprocess.run([str(part) for part in (*command, *LINKED)], capture_output=True, text=True)
    code.unlink()
    if done.returncode:
        raise ValueError(done.stderr)
    temporary.rename(library)


@cache
def compiled(source, options=()):
    """Compile the source of kernels, unless it was before, and return the path of the library."""
    text = translate(source)
    key = _digest(text, *options, _version())
    library = build.folder() / "kernels" / f"{key}.so"
    if not library.exists():
        with build.locked(library):
            if not library.exists():
                _compile(text, library, options)
    return library


class Program:
    """In place of CuPy's NVRTC program, with the methods that CuPy calls."""

    def __init__(self, src, name="kernel", headers=(), include_names=(), name_expressions=None, method="ptx"):
        self.src, self.name = src, name

    def compile(self, options=(), log_stream=None):
        """Return what CuPy gives to the driver, and no names of templates."""
        from cupy.cuda.compiler import CompileException

        if not self.src.strip():  # CuPy tries whether options are known
            return PREFIX, None
        macros = tuple(option for option in options if option.startswith(("-D", "-U")))
        try:
            path = compiled(self.src, macros)
        except ValueError as error:
            raise CompileException(str(error), self.src, self.name, options) from None
        return PREFIX + os.fsencode(Path(path)) + b"\0", None
