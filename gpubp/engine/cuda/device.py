"""A CUDA device as the rest of this room sees it: all that is asked of CuPy and of nvmath-python.

CuPy's own products cannot be captured into graphs, so products go to cuBLAS through nvmath-python's bindings, with a
handle and a workspace of our own: with these, on one stream, the same products give the same bits again.
"""

import contextlib
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpubp._typing import Array

WORKSPACE = 32 << 20  # bytes, what cuBLAS asks for on the largest devices
FREELY_SHARED = 48 << 10  # bytes of shared memory that a kernel may have without asking

PRODUCTS = {
    "float32": "COMPUTE_32F",
    "tf32": "COMPUTE_32F_FAST_TF32",
    "bfloat16": "COMPUTE_32F_FAST_16BF",
    "float16": "COMPUTE_32F_FAST_16F",
}
"""How products of float32 are made: in full, or from operands rounded to fewer digits; sums are float32 in each."""

CUDA_TYPES = {"float32": 0, "float64": 1}  # CUDA_R_32F, CUDA_R_64F

Size = int | tuple[int, ...]


class CudaDevice:
    """One GPU, with streams and a cuBLAS handle of its own, and arrays apart from CuPy's pool of memory.

    Parameters
    ----------
    device : cupy.cuda.Device
    products : str
        A key of :data:`PRODUCTS`; products of float64 are always made in full.
    """

    def __init__(self, device: Any, products: str = "float32") -> None:
        import cupy
        from nvmath.bindings import cublas

        self.xp, self.device, self.products, self._cublas = cupy, device, products, cublas
        with device:
            self.stream, self._aside = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
            self._workspace = self.empty((WORKSPACE,), "uint8")
            self._handle = cublas.create()
        weakref.finalize(self, cublas.destroy, self._handle)
        cublas.set_stream(self._handle, self.stream.ptr)
        cublas.set_workspace(self._handle, self._workspace.data.ptr, self._workspace.nbytes)  # a new stream resets it
        compute = {"float32": PRODUCTS[products], "float64": "COMPUTE_64F"}
        self._compute = {dtype: int(getattr(cublas.ComputeType, name)) for dtype, name in compute.items()}
        self._algorithm = int(cublas.GemmAlgo.DEFAULT)
        self._factors = {dtype: (np.ones(1, dtype), np.zeros(1, dtype)) for dtype in CUDA_TYPES}
        self._in_flight: list[np.ndarray] = []
        self.shared_memory = int(device.attributes["MaxSharedMemoryPerBlockOptin"])

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make device and stream the current ones; what was asked of the stream before comes first."""
        with self.device:
            self.stream.wait_event(self.xp.cuda.get_current_stream().record())
            with self.stream:
                yield

    # --- arrays ---

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Make an array whose numbers are whatever was there."""
        with self.xp.cuda.using_allocator(self._apart):
            return self.xp.empty(shape, dtype)

    def _apart(self, n_bytes: int) -> Any:
        """Ask the driver for memory: graphs keep addresses, which nothing else may get; and what is dropped is free."""
        return self.xp.cuda.MemoryPointer(self.xp.cuda.Memory(n_bytes), 0)

    def upload(self, array: np.ndarray, place: Array | None = None) -> Array:
        """Copy an array of NumPy to a place of its shape and type, or to a new one."""
        array = np.ascontiguousarray(array)
        if place is None:
            place = self.empty(array.shape, str(array.dtype))
        place.set(array, stream=self.stream)
        self._in_flight.append(array)
        return place

    def copy(self, array: Array, place: Array | None = None) -> Array:
        """Copy an array of the device to a place of its shape and type, or to a new one for others to keep."""
        if place is None:
            return array.copy()
        self.xp.copyto(place, array)
        return place

    def download(self, array: Array) -> np.ndarray:
        """Wait for the device and copy an array to the host."""
        found = array.get(stream=self.stream)
        self.wait()
        return np.asarray(found)

    def wait(self) -> None:
        """Wait until the device has done all that was asked of it."""
        self.stream.synchronize()
        self._in_flight.clear()

    # --- copies aside ---

    def pinned(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Make an array of NumPy that the system leaves where it is: copies from it do not hold up the host."""
        count = int(np.prod(shape, dtype=int))
        memory = self.xp.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def send(self, pairs: list[tuple[np.ndarray, Array]], after: Any) -> Any:
        """Copy pinned arrays to places, while the device does other things; give the event that they have arrived.

        ``after`` is the event that is waited for, or None.
        """
        if after is not None:
            self._aside.wait_event(after)
        for array, place in pairs:
            place.set(array, stream=self._aside)
        return self._aside.record()

    def follow(self, event: Any) -> None:
        """Let what is asked of the device from now on wait for an event."""
        self.stream.wait_event(event)

    def mark(self) -> Any:
        """Give the event that the device has done what was asked of it so far, copies aside not counted."""
        return self.stream.record()

    def wait_for(self, event: Any) -> None:
        """Wait for an event."""
        event.synchronize()

    # --- launches ---

    def kernels(self, source: str) -> dict[str, Any]:
        """Compile a source, or find it compiled on disk; give its kernels by name."""
        module = self.xp.RawModule(code=source)
        return {name: module.get_function(name) for name in re.findall(r"__global__ void (\w+)\(", source)}

    def launch(self, kernel: Any, blocks: Size, threads: Size, shared_bytes: int, *arguments: Any) -> None:
        """Launch a kernel; arguments are arrays, None for no array, whole numbers, and NumPy's numbers."""
        if shared_bytes > FREELY_SHARED:
            kernel.max_dynamic_shared_size_bytes = shared_bytes
        kernel(_size(blocks), _size(threads), tuple(map(_argument, arguments)), shared_mem=shared_bytes)

    def multiply(
        self, a: Array, b: Array, to: Array, *, a_transposed: bool = False, b_transposed: bool = False
    ) -> None:
        """Set ``to`` to a product of matrices whose rows have no gaps; or to one for each network of a stack.

        Of a stack ``to`` is ``(K, m, n)``; what all networks have the same is a single matrix.
        cuBLAS goes by columns: what it sees are the transposes, and so it is given the operands in reverse.
        """
        m, n = to.shape[-2:]
        k = a.shape[-2] if a_transposed else a.shape[-1]
        dtype = str(to.dtype)
        (one, zero), kind = self._factors[dtype], CUDA_TYPES[dtype]
        as_is, transposed = int(self._cublas.Operation.N), int(self._cublas.Operation.T)
        one_of_many = to.ndim == 3

        def given(matrix: Array) -> tuple[int, ...]:
            apart = matrix.strides[0] // matrix.itemsize if matrix.ndim == 3 else 0
            return (matrix.data.ptr, kind, matrix.shape[-1], *((apart,) if one_of_many else ()))

        product = self._cublas.gemm_strided_batched_ex if one_of_many else self._cublas.gemm_ex
        product(
            self._handle,
            transposed if b_transposed else as_is,
            transposed if a_transposed else as_is,
            *(n, m, k),
            one.ctypes.data,
            *given(b),
            *given(a),
            zero.ctypes.data,
            *given(to),
            *(to.shape[:1] if one_of_many else ()),
            self._compute[dtype],
            self._algorithm,
        )

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Note the launches that work makes, without making them; give a function that makes them all."""
        self.stream.begin_capture()
        try:
            work()
        except BaseException:
            with contextlib.suppress(Exception):
                self.stream.end_capture()
            raise
        graph = self.stream.end_capture()
        return lambda: graph.launch(self.stream)


def _size(size: Size) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)


def _argument(value: Any) -> Any:
    if value is None:
        return np.uint64(0)
    return np.int64(value) if isinstance(value, int) else value


_of_thread = threading.local()


def cuda_device(device: Any, products: str = "float32") -> CudaDevice:
    """Give the thread's :class:`CudaDevice` of a GPU: streams that capture are for one thread alone."""
    devices: dict[tuple[int, str], CudaDevice] = _of_thread.__dict__.setdefault("devices", {})
    if (device.id, products) not in devices:
        devices[device.id, products] = CudaDevice(device, products)
    return devices[device.id, products]
