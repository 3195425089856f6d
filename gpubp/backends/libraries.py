"""The supported array libraries, each an entry of :data:`LIBRARIES`; docs/backends.md says how to add one."""

import contextlib
import importlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import array_api_compat
import numpy as np

from gpubp._typing import Array, Device, Namespace
from gpubp.backends import probe
from gpubp.backends.numpy_namespace import NUMPY_NAMESPACE
from gpubp.backends.uploads import upload
from gpubp.errors import DeviceError


def _default_device_text(device: Device) -> str:
    quoted = re.search(r"'(.*)'", str(device))  # array_api_strict.Device('device1')
    return quoted[1] if quoted else str(device)


def _from_numpy(xp: Namespace, host: np.ndarray, device: Device) -> Array:
    return xp.asarray(host, device=device)


def _unchanged(array: Array) -> Array:
    return array


def _no_refusal(array: Array) -> str:
    return ""


def _no_context(device: Device) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


@dataclass(frozen=True)
class Library:
    """An array library, and its differences from the Array API standard.

    Parameters
    ----------
    name : str
        The part of ``device=`` before the colon.
    owns : callable
        ``owns(array)`` is True for the library's arrays.
    open : callable
        ``open(text)`` returns the namespace and the device that the part of ``device=`` after the colon names; the
        device is None if ``text`` is empty and the library chooses. Its exceptions become DeviceErrors.
    device_text : callable
        ``device_text(device)`` returns the part after the colon for a device; empty if devices have no name.
    to_numpy : callable
        Copies an array to the host.
    from_numpy : callable
        ``from_numpy(xp, host, device)`` copies a NumPy array to a device.
    detach : callable
        Returns the array without the library's own automatic differentiation.
    refusal : callable
        ``refusal(array)`` says what an array is, and how to convert ``{name}``, if it does not hold its values in the
        usual way; else it is empty.
    current : callable
        ``current(device)`` returns a context manager that makes the device the current one.
    compile : callable, optional
        ``compile(function)`` compiles a pure function of arrays and numbers, and of tuples and dictionaries of these.
        Without it, operations are computed one by one.
    """

    name: str
    owns: Callable[[Any], bool]
    open: Callable[[str], tuple[Namespace, Device]]
    device_text: Callable[[Device], str] = _default_device_text
    to_numpy: Callable[[Array], np.ndarray] = np.asarray
    from_numpy: Callable[[Namespace, np.ndarray, Device], Array] = _from_numpy
    detach: Callable[[Array], Array] = _unchanged
    refusal: Callable[[Array], str] = _no_refusal
    current: Callable[[Device], AbstractContextManager[object]] = _no_context
    compile: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None

    def name_of(self, device: Device) -> str:
        """Return the name of a device as ``device=`` takes it."""
        text = "" if device is None else self.device_text(device)
        return f"{self.name}:{text}" if text else self.name


def _open(module: str, text: str, find_device: Callable[[Namespace, str], Device] | None = None) -> tuple[Any, Device]:
    """Import a library and make an array on the device, so that an unavailable device raises here."""
    xp = array_api_compat.array_namespace(importlib.import_module(module).asarray([0.0]))
    if not text:
        xp.asarray([0.0], dtype=xp.float32)
        return xp, None
    device = text if find_device is None else find_device(xp, text)
    return xp, array_api_compat.device(xp.asarray([0.0], dtype=xp.float32, device=device))


def _open_numpy(text: str) -> tuple[Namespace, Device]:
    if text:
        raise DeviceError(f"device='cpu:{text}': expected 'cpu', since NumPy has one device")
    return NUMPY_NAMESPACE, None


def _open_cupy(text: str) -> tuple[Namespace, Device]:
    device = f"cuda:{text}" if text else "cuda"
    if text and not text.isdecimal():
        raise DeviceError(f"device={device!r}: expected 'cuda' or 'cuda:N' with N a number, such as 'cuda:0'")
    index = int(text or 0)
    result = probe.probe_cuda(index)
    if not result.usable:
        raise DeviceError(f"device={device!r} cannot be used: {result.cause}. To fix it: {result.fix}")
    import cupy

    return importlib.import_module("array_api_compat.cupy"), cupy.cuda.Device(index)


def _is_strict(array: Any) -> bool:
    if not array_api_compat.is_array_api_obj(array):
        return False
    return bool(array_api_compat.is_array_api_strict_namespace(array_api_compat.array_namespace(array)))


def _strict_to_numpy(array: Array) -> np.ndarray:
    xp = array_api_compat.array_namespace(array)
    return np.asarray(array_api_compat.to_device(array, xp.Device("CPU_DEVICE")))


def _torch_refusal(tensor: Array) -> str:
    if tensor.is_nested:
        return "a nested tensor, whose rows may differ in length; pass torch.nested.to_padded_tensor({name}, 0.0)"
    if tensor.is_meta:
        return "a tensor of the device 'meta', which has a shape but no values; pass a tensor of another device"
    if tensor.is_quantized:
        return "a quantized tensor; pass {name}.dequantize()"
    if str(tensor.layout) != "torch.strided":
        return "a sparse tensor; pass {name}.to_dense(), or to gpubp's estimators a matrix of scipy.sparse"
    return ""


def _upload_to_jax(xp: Namespace, host: np.ndarray, device: Device) -> Array:
    """Copy a NumPy array, whose memory ``device_put`` may share; ``asarray`` would compile a copy for each shape."""
    return importlib.import_module("jax").device_put(np.array(host), device)


def _compile_with_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for each shape; numbers of Python stay in double precision, also without arrays of float64."""
    jax = importlib.import_module("jax")
    home = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    compiled, enable_x64 = jax.jit(function), home.enable_x64

    def call(*arguments: Any) -> Any:
        with enable_x64(True):
            return compiled(*arguments)

    return call


NUMPY = Library("cpu", owns=array_api_compat.is_numpy_array, open=_open_numpy)
CUPY = Library(
    "cuda",
    owns=array_api_compat.is_cupy_array,
    open=_open_cupy,
    device_text=lambda device: str(device.id),
    to_numpy=lambda array: np.asarray(array.get()),
    from_numpy=upload,
    current=_unchanged,  # a device of CuPy is such a context manager
)
TORCH = Library(
    "torch",
    owns=array_api_compat.is_torch_array,
    open=partial(_open, "torch"),
    to_numpy=lambda array: np.asarray(array.detach().cpu().numpy()),
    detach=lambda array: array.detach() if array.requires_grad else array,
    refusal=_torch_refusal,
)
JAX = Library(
    "jax.numpy",
    owns=array_api_compat.is_jax_array,
    open=partial(_open, "jax.numpy"),
    device_text=lambda device: "",
    from_numpy=_upload_to_jax,
    compile=_compile_with_jax,
)
STRICT = Library(
    "array_api_strict",
    owns=_is_strict,
    open=partial(_open, "array_api_strict", find_device=lambda xp, text: xp.Device(text)),
    to_numpy=_strict_to_numpy,
)

LIBRARIES = {library.name: library for library in (NUMPY, CUPY, TORCH, JAX, STRICT)}


def library_of(array: Any) -> Library | None:
    """Find the library of an array; None for other objects, and for arrays of dask, which are not computed yet.

    An array of a library that is not in :data:`LIBRARIES` gets an entry with the behaviour of the standard.
    """
    if type(array) is np.ndarray:
        return NUMPY
    for library in LIBRARIES.values():
        if library.owns(array):
            return library
    if not array_api_compat.is_array_api_obj(array) or array_api_compat.is_dask_array(array):
        return None
    xp = array_api_compat.array_namespace(array)
    name = xp.__name__.removeprefix("array_api_compat.")
    return Library(name, owns=lambda other: type(other) is type(array), open=partial(_open, name))


def is_of_other_library(array: Any) -> bool:
    """Return whether this is an array of a library other than NumPy."""
    library = library_of(array)
    return library is not None and library is not NUMPY
