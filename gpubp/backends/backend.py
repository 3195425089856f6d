"""Choose the array library and the device, and move arrays to and from the device."""

import functools
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.masked_arrays import refuse_masked
from gpubp._core.names import unknown
from gpubp._core.narrow_types import widened
from gpubp._typing import Array, Device, Namespace
from gpubp.backends import probe
from gpubp.backends.libraries import CUPY, LIBRARIES, NUMPY, Library, library_of
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS, RoundedMatmul
from gpubp.backends.wrapped_namespace import plain_namespace
from gpubp.errors import DataError, DeviceError

logger = logging.getLogger("gpubp")

ENVIRONMENT_VARIABLE = "GPUBP_DEVICE"

FEW_NUMBERS = 1 << 16
"""Numbers of an array of the host up to which a call of a device takes longer than what is to be done with them."""

ALIGNMENT = 256
"""Arrays that are uploaded together begin at multiples of this many bytes, as CUDA aligns memory."""


class Backend(NamedTuple):
    """An array namespace on one of its devices.

    Attributes
    ----------
    xp : namespace
        Its ``matmul`` multiplies with ``matmul_precision``.
    device : object
        A device of the namespace; None leaves the choice to the namespace.
    name : str
        The device as ``device=`` takes it: "cpu", "cuda:0", "torch:cpu", ...
    library : Library
        The array library; see :mod:`gpubp.backends.libraries`.
    matmul_precision : str
        One of :data:`gpubp.backends.matmul_precision.MATMUL_PRECISIONS`.
    """

    xp: Namespace
    device: Device
    name: str
    library: Library
    matmul_precision: str = "float32"

    @property
    def is_numpy(self) -> bool:
        """Whether arrays are NumPy's, in the host's memory."""
        return self.library is NUMPY

    @property
    def is_cuda(self) -> bool:
        """Whether arrays are CuPy's, on an NVIDIA GPU."""
        return self.library is CUPY

    def active(self) -> AbstractContextManager[object]:
        """Return a context manager that makes the device the current one, if the library has a current device."""
        return self.library.current(self.device)


def choose_backend(device: str = "auto", *arrays: Array) -> Backend:
    """Choose the array library and the device.

    Parameters
    ----------
    device : str
        ``"auto"``: the device that the arrays are on; for NumPy arrays, the value of the environment variable
        ``GPUBP_DEVICE``, else a GPU if one works, else the CPU. ``"cpu"``: NumPy. ``"cuda"``, ``"cuda:1"``: CuPy, or
        an error if that GPU does not work. Anything else names an array library and one of its devices:
        ``"torch:cpu"``, ``"array_api_strict:device1"``.
    *arrays : array
        The arrays of the computation.

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
        backend = _backend_of(*arrays)
        if backend is not None:
            return backend
        device = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or "auto"
    if device == "auto":
        return _best_backend()
    return _named_backend(device)


def _backend_of(*arrays: Array) -> Backend | None:
    """Find the backend that all arrays other than NumPy's share; None if all are NumPy's."""
    shared = None
    for array in arrays:
        library = library_of(array)
        if library is None or library is NUMPY:
            continue
        xp, device = array_api_compat.array_namespace(array), array_api_compat.device(array)
        backend = Backend(xp, device, library.name_of(device), library)
        if shared is not None and (shared.xp is not xp or shared.device != device):
            raise DataError(
                f"the arrays are on {shared.name} and on {backend.name}; move them to one device, or choose one "
                "with device="
            )
        shared = backend
    return shared


@functools.cache
def _best_backend() -> Backend:
    result = probe.probe_cuda()
    if result.usable:
        return _named_backend(CUPY.name)
    if result.expected:
        logger.info("device='auto' computes on the CPU: %s", result.cause)
    else:
        logger.warning("device='auto' computes on the CPU: %s. To fix it: %s", result.cause, result.fix)
    return _named_backend(NUMPY.name)


def _named_backend(device: str) -> Backend:
    name, _, text = device.partition(":")
    if name not in LIBRARIES:
        known = ("auto", *LIBRARIES)
        raise DeviceError(f"{unknown('device', device, known)}. A number or a name may follow: 'cuda:1', 'torch:mps'")
    library = LIBRARIES[name]
    try:
        xp, opened_device = library.open(text)
    except DeviceError:
        raise
    except Exception as error:
        package = name.partition(".")[0]
        fix = f"install {package.replace('_', '-')}, or " if isinstance(error, ImportError) else ""
        has = f"name a device that {package} has" if text else "name another, such as 'cpu'"
        raise DeviceError(
            f"device={device!r} cannot be used ({type(error).__name__}: {error}). To fix it: {fix}{has}"
        ) from error
    return Backend(xp, opened_device, library.name_of(opened_device), library)


def check_matmul_precision(matmul_precision: str) -> None:
    """Raise a DataError if there is no such precision of products."""
    if matmul_precision not in MATMUL_PRECISIONS:
        raise DataError(unknown("matmul_precision", str(matmul_precision), MATMUL_PRECISIONS))


def with_matmul(backend: Backend, matmul_precision: str, dtype: str) -> Backend:
    """Return a backend that multiplies matrices of ``dtype`` in another precision.

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
            f"matmul_precision={matmul_precision!r} rounds float32 numbers, but the computation is in float64; pass "
            "dtype='float32' too, or leave matmul_precision out"
        )
    return backend._replace(xp=_rounding(backend.xp, matmul_precision), matmul_precision=matmul_precision)


@functools.lru_cache
def _rounding(xp: Namespace, matmul_precision: str) -> RoundedMatmul:
    return RoundedMatmul(xp, matmul_precision)


def to_backend(backend: Backend, array: Array, dtype: str | None = None) -> Array:
    """Move an array of any namespace to a backend, without a copy if it is there already.

    Parameters
    ----------
    array : array or array-like
    dtype : str, optional
        "float32", "float64", "int64", ...; by default, that of the array.
    """
    xp, library = backend.xp, library_of(array)
    if library is not None:
        array = library.detach(array)
    dtype_object = None if dtype is None else getattr(xp, dtype)
    if _is_on(backend, array):
        return array if dtype_object is None else xp.astype(array, dtype_object, copy=False)
    host = to_numpy(array)
    if dtype is not None:
        host = host.astype(dtype, copy=False)
    if not host.flags.writeable:
        host = host.copy()  # torch warns that it could write to read-only memory
    return backend.library.from_numpy(xp, host, backend.device)


def to_backend_together(backend: Backend, arrays: Sequence[np.ndarray]) -> list[Array]:
    """Move arrays of the host to a backend; a GPU gets them in one copy, of which they are aligned parts."""
    if not backend.is_cuda:
        return [to_backend(backend, array) for array in arrays]
    ends = np.cumsum([-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]).tolist()
    parts = [slice(begin, begin + array.nbytes) for begin, array in zip([0, *ends], arrays, strict=False)]
    joined = np.zeros(ends[-1], np.uint8)
    for part, array in zip(parts, arrays, strict=True):
        joined[part] = np.ravel(array).view(np.uint8)
    on_device = to_backend(backend, joined)
    return [on_device[part].view(array.dtype).reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]


def move_together(dtype: str, *moves: tuple[Backend, Array | None]) -> list[Any]:
    """Move each array to its backend as :func:`to_backend` does; a GPU gets small ones of the host in one copy.

    None stays None. There is one GPU among the backends at most.

    Examples
    --------
    >>> cpu = choose_backend("cpu")
    >>> move_together("float32", (cpu, np.array([1, 2])), (cpu, None))
    [array([1., 2.], dtype=float32), None]
    """
    arrays = [array for _, array in moves]
    small = {
        k: array.astype(dtype, copy=False)
        for k, (backend, array) in enumerate(moves)
        if backend.is_cuda and type(array) is np.ndarray and array.size <= FEW_NUMBERS
    }
    if len(small) > 1:
        gpu = moves[min(small)][0]
        for k, array in zip(small, to_backend_together(gpu, [*small.values()]), strict=True):
            arrays[k] = array
    return [
        None if array is None else to_backend(backend, array, dtype)
        for (backend, _), array in zip(moves, arrays, strict=True)
    ]


def _is_on(backend: Backend, array: Array) -> bool:
    if not array_api_compat.is_array_api_obj(array):
        return False
    if array_api_compat.array_namespace(array) is not plain_namespace(backend.xp):
        return False
    return backend.device is None or array_api_compat.device(array) == backend.device


def to_numpy(array: Array) -> np.ndarray:
    """Copy an array of any namespace and device to the host; NumPy arrays are returned unchanged."""
    if type(array) is np.ndarray:
        return array
    if isinstance(array, (np.bool_, np.number)):
        return np.asarray(array)
    refuse_masked("the array", array)
    library = library_of(array)
    return np.asarray(array) if library is None else library.to_numpy(widened(array))


def like(array: Array, reference: Array) -> Array:
    """Bring an array to the namespace and device of ``reference``; to NumPy if that is not an array."""
    backend = _backend_of(reference)
    return to_numpy(array) if backend is None else to_backend(backend, array)
