"""Which array library computes, on which device, and how arrays get there and back."""

import contextlib
import functools
import importlib
import logging
import os
import re
from contextlib import AbstractContextManager
from typing import NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.masked_arrays import refuse_masked
from gpubp._core.names import unknown
from gpubp._typing import Array, Device, Namespace
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS, RoundedMatmul, plain_namespace
from gpubp.backends.probe import probe_cuda
from gpubp.errors import DataError, DeviceError

logger = logging.getLogger("gpubp")

ENVIRONMENT_VARIABLE = "GPUBP_DEVICE"
LIBRARIES = ("torch", "jax.numpy", "array_api_strict")
"""Array libraries that a device may name, beside NumPy and CuPy."""


class Backend(NamedTuple):
    """An array namespace, one of its devices (None: the namespace's own choice), and a name for people to read.

    ``matmul_precision`` is one of :data:`gpubp.backends.matmul_precision.MATMUL_PRECISIONS`; the namespace multiplies
    by it.
    """

    xp: Namespace
    device: Device
    name: str
    matmul_precision: str = "float32"

    def active(self) -> AbstractContextManager[object]:
        """Make the device the current one for a ``with`` block, where the namespace has such a thing."""
        if self.name.startswith("cuda"):
            entered: AbstractContextManager[object] = self.device
            return entered
        return contextlib.nullcontext()


def choose_backend(device: str = "auto", *arrays: Array) -> Backend:
    """Choose the array library and the device.

    Parameters
    ----------
    device : str
        ``"auto"``: the device that the arrays are on; for NumPy arrays what the environment variable ``GPUBP_DEVICE``
        says, else a GPU if one works, else the CPU. ``"cpu"``: NumPy. ``"cuda"``, ``"cuda:1"``: CuPy, and an error
        where that GPU does not work. Anything else names an array library and one of its devices: ``"torch:cpu"``,
        ``"array_api_strict:device1"``.
    *arrays : array
        What is to be computed with.

    Returns
    -------
    Backend

    Raises
    ------
    DeviceError
        If the device cannot be used; the message names the cause and the fix.
    DataError
        If arrays of several namespaces or devices are mixed and ``device`` does not choose one.

    Examples
    --------
    >>> choose_backend("cpu").name
    'cpu'
    """
    if not isinstance(device, str):
        raise DeviceError(f"device must be text, such as 'auto', 'cpu', 'cuda' or 'cuda:0', got {device!r}")
    if device == "auto":
        own = _backend_of(*arrays)
        if own is not None:
            return own
        device = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "auto"
    if device == "auto":
        return _best()
    return _named(device)


def _backend_of(*arrays: Array) -> Backend | None:
    """Find the one backend that all arrays share, host arrays aside; None where there are only host arrays."""
    found = None
    for array in arrays:
        if not array_api_compat.is_array_api_obj(array) or array_api_compat.is_numpy_array(array):
            continue
        xp, device = array_api_compat.array_namespace(array), array_api_compat.device(array)
        if array_api_compat.is_cupy_array(array):
            backend = Backend(xp, device, f"cuda:{device.id}")
        else:
            backend = Backend(xp, device, _device_name(xp, device))
        if found is not None and (found.xp is not xp or found.device != device):
            raise DataError(
                f"the arrays are on {found.name} and on {backend.name}; put them on one, or name one with device="
            )
        found = backend
    return found


def _device_name(xp: Namespace, device: Device) -> str:
    """Name a device as ``device=`` takes it; JAX's devices have no such name."""
    library = xp.__name__.removeprefix("array_api_compat.")
    if array_api_compat.is_jax_namespace(xp):
        return library
    quoted = re.search(r"'(.*)'", str(device))  # array_api_strict.Device('device1')
    return f"{library}:{quoted[1] if quoted else device}"


@functools.cache
def _best() -> Backend:
    probe = probe_cuda()
    if probe.usable:
        return _named("cuda")
    level = logging.INFO if probe.expected else logging.WARNING
    logger.log(level, "device='auto' computes on the CPU: %s. To fix it: %s", probe.cause, probe.fix)
    return _named("cpu")


def _named(device: str) -> Backend:
    library, _, part = device.partition(":")
    if device == "cpu":
        return Backend(importlib.import_module("array_api_compat.numpy"), None, "cpu")
    if library == "cuda":
        if part and not part.isdecimal():
            raise DeviceError(f"device={device!r}: expected 'cuda' or 'cuda:N' with N a number, such as 'cuda:0'")
        index = int(part or 0)
        probe = probe_cuda(index)
        if not probe.usable:
            raise DeviceError(f"device={device!r} cannot be used: {probe.cause}. To fix it: {probe.fix}")
        import cupy

        return Backend(importlib.import_module("array_api_compat.cupy"), cupy.cuda.Device(index), f"cuda:{index}")
    if library not in LIBRARIES:
        known = ("auto", "cpu", "cuda", *LIBRARIES)
        raise DeviceError(f"{unknown('device', device, known)}. A number or a name may follow: 'cuda:1', 'torch:cpu'")
    try:
        xp = array_api_compat.array_namespace(importlib.import_module(library).asarray([0.0]))
        target = xp.Device(part) if part and array_api_compat.is_array_api_strict_namespace(xp) else part or None
        probed = xp.asarray([0.0], dtype=xp.float32, device=target)
    except Exception as error:
        raise DeviceError(
            f"device={device!r} cannot be used ({type(error).__name__}: {error}); is {library} installed, and has it "
            "that device?"
        ) from error
    return Backend(xp, array_api_compat.device(probed) if part else None, device)


def check_matmul_precision(matmul_precision: str) -> None:
    """Raise a DataError where there is no such precision of products."""
    if matmul_precision not in MATMUL_PRECISIONS:
        raise DataError(unknown("matmul_precision", str(matmul_precision), MATMUL_PRECISIONS))


def with_matmul(backend: Backend, matmul_precision: str, dtype: str) -> Backend:
    """Let a backend multiply matrices of ``dtype`` in another precision.

    Raises
    ------
    DataError
        If there is no such precision, or if arrays of float64 would be rounded.
    """
    check_matmul_precision(matmul_precision)
    if matmul_precision == "float32":
        return backend
    if dtype == "float64":
        raise DataError(
            f"matmul_precision={matmul_precision!r} rounds numbers of float32, but the computation is in float64; give "
            "dtype='float32' too, or leave matmul_precision out"
        )
    xp = RoundedMatmul(backend.xp, matmul_precision)
    return backend._replace(xp=xp, matmul_precision=matmul_precision)


def to_backend(backend: Backend, array: Array, dtype: str | None = None) -> Array:
    """Move an array, of whatever namespace, to a backend; nothing is copied where it is there already.

    Parameters
    ----------
    array : array or array-like
    dtype : str, optional
        "float32", "float64", "int64", ...; as it is, without.
    """
    xp = backend.xp
    if array_api_compat.is_torch_array(array) and array.requires_grad:
        array = array.detach()  # gpubp takes its own derivatives: torch need not keep what is computed
    wanted = None if dtype is None else getattr(xp, dtype)
    if _is_on(backend, array):
        return array if wanted is None else xp.astype(array, wanted, copy=False)
    host = to_numpy(array)
    if dtype is not None:
        host = host.astype(dtype, copy=False)
    if not host.flags.writeable:
        host = host.copy()  # torch warns of memory that it could write to and must not
    return xp.asarray(host, device=backend.device)


def _is_on(backend: Backend, array: Array) -> bool:
    if not array_api_compat.is_array_api_obj(array):
        return False
    if array_api_compat.array_namespace(array) is not plain_namespace(backend.xp):
        return False
    return backend.device is None or array_api_compat.device(array) == backend.device


def to_numpy(array: Array) -> np.ndarray:
    """Copy an array of any namespace and device to the host; NumPy's own come back as they are."""
    if type(array) is np.ndarray:
        return array
    refuse_masked("the array", array)
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    if array_api_compat.is_torch_array(array):
        return np.asarray(array.detach().cpu().numpy())
    if array_api_compat.is_array_api_obj(array):
        xp = array_api_compat.array_namespace(array)
        if array_api_compat.is_array_api_strict_namespace(xp):
            return np.asarray(array_api_compat.to_device(array, xp.Device("CPU_DEVICE")))
    return np.asarray(array)


def like(array: Array, reference: Array) -> Array:
    """Bring an array to the namespace and device of ``reference``; to NumPy where that is no array at all."""
    backend = _backend_of(reference)
    return to_numpy(array) if backend is None else to_backend(backend, array)
