"""NVRTC, NVIDIA's compiler of CUDA C, called as CuPy calls it; a compiler needs no GPU."""

import ctypes
import hashlib
import importlib.metadata
import multiprocessing
import os
import re
from functools import cache
from typing import Any, NamedTuple

PACKAGE, VERSION = "nvidia-cuda-nvrtc", "13.5"
"""The package with the library, and the version whose figures the tests hold; pyproject.toml installs it."""

OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
"""CuPy's own (cupy/cuda/compiler.py), beside the architecture."""

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")  # A100; H100 and H200; B200
CACHED = "gpubp/nvrtc"
MOVES = ("cvt", "ld", "mov", "selp", "st")  # instructions that compute nothing


class Usage(NamedTuple):
    """What a kernel uses on one architecture.

    Attributes
    ----------
    registers : int
        Of a thread.
    spilled : int
        Bytes of registers that are written to memory and read again.
    shared : int
        Bytes of shared memory, beside those that a launch adds.
    float64 : list of str
        The operations that are computed in double precision, such as "add".
    """

    registers: int
    spilled: int
    shared: int
    float64: list[str]


def absence() -> str:
    """Return why NVRTC cannot be used here, or ''."""
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return f"{PACKAGE} is not installed"
    return "" if version.startswith(f"{VERSION}.") else f"{PACKAGE} is {version}; the figures are those of {VERSION}"


@cache
def library() -> ctypes.CDLL:
    """Load the library."""
    files = importlib.metadata.files(PACKAGE) or ()
    (path,) = (file.locate() for file in files if re.fullmatch(r"libnvrtc\.so\.\d+|nvrtc64_\d+_0\.dll", file.name))
    return ctypes.CDLL(str(path))


def compiled(source: str, architecture: str) -> dict[str, Usage]:
    """Compile a source to machine code; return what each of its kernels uses.

    Raises
    ------
    ValueError
        With the compiler's messages, if it has an error or a warning.
    """
    nvrtc, program = library(), ctypes.c_void_p()
    options = [option.encode() for option in (*OPTIONS, f"-arch={architecture}", "--ptxas-options=-v")]
    arguments = (ctypes.c_char_p * len(options))(*options)
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None):
        raise ValueError("NVRTC cannot make a program")
    status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    messages, assembly = (_text(nvrtc, program, name) for name in ("ProgramLog", "PTX"))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status or "warning" in messages:
        raise ValueError(f"for {architecture}: {messages}")
    return _usages(messages, assembly)


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, name: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value + 1)
    getattr(nvrtc, f"nvrtcGet{name}")(program, text)
    return text.value.decode()


def _usages(messages: str, assembly: str) -> dict[str, Usage]:
    """Read the assembler's report (ptxas -v), and the operations from PTX, the language before machine code."""
    parts = [*re.finditer(r"\.(entry|func)[^{;]*?(\w+)\([^{;]*\{.*?^}$", assembly, re.DOTALL | re.MULTILINE)]
    in_functions = set[str]().union(*(_float64(part[0]) for part in parts if part[1] == "func"))
    float64 = {part[2]: _float64(part[0]) | in_functions for part in parts}
    usages = {}
    for report in messages.split("Compiling entry function '")[1:]:
        name = report.partition("'")[0]
        (registers,) = re.findall(r"Used (\d+) registers", report)
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", report)))
        shared = sum(map(int, re.findall(r"(\d+) bytes smem", report)))
        usages[name] = Usage(int(registers), spilled, shared, sorted(float64[name]))
    return usages


def _float64(body: str) -> set[str]:
    return set(re.findall(r"^\s+(?:@!?%p\d+ )?(\w+)(?:\.\w+)*\.f64\b", body, re.MULTILINE)) - {*MOVES}


def _compiled(job: tuple[str, str]) -> dict[str, Usage]:
    return compiled(*job)


def compiled_together(jobs: list[tuple[str, str]], cache: Any) -> list[dict[str, Usage]]:
    """Compile pairs of a source and an architecture in several processes, those that pytest's cache does not have."""
    version, reports = importlib.metadata.version(PACKAGE), cache.get(CACHED, {})
    keys = [hashlib.sha256(repr((*job, version, OPTIONS)).encode()).hexdigest() for job in jobs]
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in reports}
    if missing:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            for key, report in zip(missing, pool.imap(_compiled, missing.values()), strict=True):
                reports[key] = report
                cache.set(CACHED, {key: reports[key] for key in keys if key in reports})  # kept if this is interrupted
    return [{name: Usage(*numbers) for name, numbers in reports[key].items()} for key in keys]
