"""Find, check and load the compiled engine, and SciPy's matrix products."""

import ctypes
import importlib
import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from gpubp._core.installation import installed_from
from gpubp.engine.cpu import compiler
from gpubp.errors import DataError

ENVIRONMENT_VARIABLE = "GPUBP_INSTRUCTIONS"
PATH = Path(__file__).parent / compiler.library_name()
PRECISIONS = {"float32": 32, "float64": 64}


def why_not() -> str:
    """Return why the engine cannot be used, and how to fix it; "" if it can."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else ""


def variant() -> str:
    """Return the instruction set in use: the best that the CPU has, or what ``GPUBP_INSTRUCTIONS`` says.

    Raises
    ------
    DataError
        If it says something else than the name of one that the CPU supports.
    """
    supported = _supported()
    requested = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not requested:
        return next(iter(supported))
    if requested not in supported:
        raise DataError(f"{ENVIRONMENT_VARIABLE} must be one of {', '.join(supported)} on this CPU, got {requested!r}")
    return requested


def functions(dtype: str) -> int:
    """Return the address of the table of functions for a precision, "float32" or "float64"."""
    return _functions(variant(), dtype)


@cache
def _functions(variant: str, dtype: str) -> int:
    address: int = _library().gpubp_functions(_supported()[variant], PRECISIONS[dtype])
    return address


@cache
def gemm(dtype: str) -> int:
    """Return the address of SciPy's Fortran subroutine ``sgemm`` or ``dgemm``, whose integers have 32 bits."""
    capsule = _cython_blas().__pyx_capi__["dgemm" if dtype == "float64" else "sgemm"]
    python: Any = ctypes.pythonapi
    python.PyCapsule_GetName.argtypes, python.PyCapsule_GetName.restype = [ctypes.py_object], ctypes.c_char_p
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    signature = python.PyCapsule_GetName(capsule)
    if not signature.startswith(b"void (char *, char *, int *, int *, int *, "):
        raise ImportError(f"its matrix product has another signature, {signature.decode()}")
    address: int = python.PyCapsule_GetPointer(capsule, signature)
    return address


@cache
def _cython_blas() -> Any:
    """Import SciPy's interface to BLAS, without the rest of ``scipy.linalg``, which takes ten times as long."""
    name = "scipy.linalg.cython_blas"
    if "scipy.linalg" not in sys.modules:
        folder = Path(importlib.import_module("scipy").__file__ or "").parent / "linalg"
        if (spec := PathFinder.find_spec(name, [str(folder)])) and spec.loader:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules.pop(name, None)  # so that importing it also makes it an attribute of scipy.linalg
            return module
    return importlib.import_module(name)


def built_by() -> str:
    """Return the name and the version of the compiler."""
    name: bytes = _library().gpubp_compiler()
    return name.decode()


# --- loading ---


def _library() -> ctypes.CDLL:
    loaded = _load()
    if isinstance(loaded, str):
        raise RuntimeError(loaded)
    return loaded


@cache
def _load() -> ctypes.CDLL | str:
    """Load the library, once; or return why it cannot be used."""
    return load(PATH, compiler.SOURCES)


def _fix(is_checkout: bool) -> str:
    if is_checkout:
        return f"to fix it: {compiler.COMMAND}"
    return f'to fix it: pip install --force-reinstall --no-deps --no-cache-dir "{installed_from()}"'


def load(path: Path, sources: Path) -> ctypes.CDLL | str:
    """Load a library that is made of the sources, where these are there; or return why it cannot be used."""
    is_checkout = sources.is_dir()  # wheels do not have the sources
    if not path.is_file():
        if is_checkout:
            return f"the compiled engine has not been built; {_fix(is_checkout)}"
        return f"gpubp was installed without the compiled engine (GPUBP_BUILD_ENGINE=0); {_fix(is_checkout)}"
    try:
        library = ctypes.CDLL(str(path))
        library.gpubp_sources.restype = library.gpubp_compiler.restype = ctypes.c_char_p
        library.gpubp_variant_name.restype, library.gpubp_functions.restype = ctypes.c_char_p, ctypes.c_void_p
        if is_checkout and library.gpubp_sources().decode() != compiler.digest(sources):
            return f"the compiled engine is older than its sources; {_fix(is_checkout)}"
    except (OSError, AttributeError) as error:
        return f"the compiled engine cannot be loaded ({error}); {_fix(is_checkout)}"
    try:
        gemm("float32"), gemm("float64")
    except (ImportError, KeyError) as error:
        return f"SciPy cannot be used by the compiled engine ({error}); to fix it: pip install -U scipy"
    return library


@cache
def _supported() -> dict[str, int]:
    """List the instruction sets that the CPU supports, the fastest first, with their numbers in the library."""
    library = _library()
    numbers = range(library.gpubp_n_variants())
    return {library.gpubp_variant_name(n).decode(): n for n in numbers if library.gpubp_variant_is_supported(n)}
