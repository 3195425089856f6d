"""The interface of this package to a CUDA device; only this module calls CuPy and nvmath-python.

CuPy's own products cannot be captured into graphs, so products go to cuBLAS through nvmath-python's bindings, with
their own handle and workspace. With these, on one stream, repeated products give the same bits.
"""

import contextlib
import functools
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.distributed.process_group import ProcessGroup

WORKSPACE = 32 << 20  # bytes: what cuBLAS recommends for the largest devices
DEFAULT_SHARED_MEMORY = 48 << 10  # bytes that a kernel may use without an attribute set

PRODUCTS = {
    "float32": "COMPUTE_32F",
    "tf32": "COMPUTE_32F_FAST_TF32",
    "bfloat16": "COMPUTE_32F",
    "float16": "COMPUTE_32F",
}
"""How products into float32 are computed. cuBLAS rounds operands to TF32; those of 16 bits have been rounded before."""

CUDA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, ...16BF

LaunchSize = int | tuple[int, ...]


class CudaDevice:
    """One GPU, with its own streams and cuBLAS handle, and arrays outside CuPy's memory pool.

    Parameters
    ----------
    device : cupy.cuda.Device
    products : str
        A key of :data:`PRODUCTS`; products of float64 are always computed in full. With "bfloat16" and "float16",
        operands are arrays of uint16 with the bits of these types, of which CuPy lacks the first.
    """

    def __init__(self, device: Any, products: str = "float32") -> None:
        import cupy
        from nvmath.bindings import cublas

        self.xp, self.device, self.products, self._cublas = cupy, device, products, cublas
        with device:
            self.stream, self._copy_stream = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
            self._workspaces: list[Array] = []
            self._handle = self._products_of(self.stream)
        compute = {"float32": PRODUCTS[products], "float64": "COMPUTE_64F"}
        self._compute = {dtype: int(getattr(cublas.ComputeType, name)) for dtype, name in compute.items()}
        self._algorithm = int(cublas.GemmAlgo.DEFAULT)
        self._factors = {dtype: (np.ones(1, dtype), np.zeros(1, dtype)) for dtype in compute}
        self._in_flight: list[np.ndarray] = []
        attributes = ("MaxSharedMemoryPerBlockOptin", "MaxSharedMemoryPerMultiprocessor", "MultiProcessorCount")
        numbers = (int(device.attributes[name]) for name in attributes)
        self.shared_memory, self.shared_memory_of_multiprocessor, self.multiprocessors = numbers

    def _products_of(self, stream: Any) -> Any:
        """Make the handle of cuBLAS for a stream, with a workspace."""
        workspace, handle = self.empty((WORKSPACE,), "uint8"), self._cublas.create()
        weakref.finalize(self, self._cublas.destroy, handle)
        self._cublas.set_stream(handle, stream.ptr)
        self._cublas.set_workspace(handle, workspace.data.ptr, workspace.nbytes)  # a new stream resets it
        self._workspaces.append(workspace)
        return handle

    @functools.cached_property
    def _branch(self) -> tuple[Any, Any]:
        """A stream for products beside other work, and their handle."""
        with self.device:
            stream = self.xp.cuda.Stream(non_blocking=True)
            return stream, self._products_of(stream)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make device and stream the current ones; work queued before on the stream current until now runs first.

        What is queued there afterwards waits for what was queued in between, so that arrays may pass in and out.
        """
        with self.device:
            before = self.xp.cuda.get_current_stream()
            self.stream.wait_event(before.record())
            with self.stream:
                yield
            before.wait_event(self.stream.record())

    # --- arrays ---

    def empty(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Make an uninitialized array."""
        with self.xp.cuda.using_allocator(self._allocate):
            return self.xp.empty(shape, dtype)

    def temporary(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Make an uninitialized array in CuPy's memory pool."""
        return self.xp.empty(shape, dtype)

    def _allocate(self, n_bytes: int) -> Any:
        """Allocate outside the pool: graphs keep addresses, which must not be reused; memory is freed on release."""
        cuda = self.xp.cuda
        try:
            memory = cuda.Memory(n_bytes)
        except cuda.runtime.CUDARuntimeError:  # the pool may hold free blocks; it would return them itself
            self.xp.get_default_memory_pool().free_all_blocks()
            memory = cuda.Memory(n_bytes)
        return cuda.MemoryPointer(memory, 0)

    def upload(self, array: np.ndarray, destination: Array | None = None) -> Array:
        """Copy a NumPy array into an array of its shape and dtype, or into a new one."""
        array = np.ascontiguousarray(array)
        if destination is None:
            destination = self.empty(array.shape, str(array.dtype))
        destination.set(array, stream=self.stream)
        self._in_flight.append(array)
        return destination

    def copy(self, array: Array, destination: Array | None = None) -> Array:
        """Copy an array of the device into an array of its shape and dtype, or into a new one in CuPy's pool."""
        if destination is None:
            return array.copy()
        self.xp.copyto(destination, array)
        return destination

    def download(self, array: Array) -> np.ndarray:
        """Wait for the device and copy an array to the host."""
        host = array.get(stream=self.stream)  # waits for the stream
        self._in_flight.clear()
        return np.asarray(host)

    def wait(self) -> None:
        """Wait until the device has done all work queued so far."""
        self.stream.synchronize()
        self._in_flight.clear()

    # --- copies that overlap with the steps ---

    def pinned(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Make a NumPy array in pinned memory: copies from it do not block the host."""
        count = int(np.prod(shape, dtype=int))
        memory = self.xp.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def send(self, pairs: list[tuple[np.ndarray, Array]], after: Any) -> Any:
        """Copy pinned arrays to arrays of the device on a second stream; return the event of completion.

        The copy waits for the event ``after``, if there is one.
        """
        if after is not None:
            self._copy_stream.wait_event(after)
        for array, destination in pairs:
            destination.set(array, stream=self._copy_stream)
        return self._copy_stream.record()

    def follow(self, event: Any) -> None:
        """Let work queued from now on wait for an event."""
        self.stream.wait_event(event)

    def mark(self) -> Any:
        """Return the event that the work queued so far is done, except copies on the second stream."""
        return self.stream.record()

    def wait_for(self, event: Any) -> None:
        """Wait for an event."""
        event.synchronize()

    # --- operations of ``xp`` ---

    def temporaries(self) -> Any:
        """Make a memory pool for :meth:`compute`."""
        return self.xp.cuda.MemoryPool(self._allocate)

    def compute(self, work: Callable[[], None], pool: Any) -> None:
        """Run operations that take the memory of new arrays from a pool.

        Graphs that captured them use this memory whenever they run, so the pool must live as long as they.
        """
        with self.xp.cuda.using_allocator(pool.malloc):
            work()

    # --- launches ---

    def kernels(self, source: str) -> dict[str, Any]:
        """Compile a source, or load it from CuPy's cache on disk; return its kernels by name."""
        module = self.xp.RawModule(code=source)
        return {name: module.get_function(name) for name in re.findall(r"__global__ .*?void (\w+)\(", source)}

    def launch(self, kernel: Any, blocks: LaunchSize, threads: LaunchSize, shared_bytes: int, *arguments: Any) -> None:
        """Launch a kernel; arguments are arrays, None for a null pointer, ints, and NumPy scalars."""
        if shared_bytes > DEFAULT_SHARED_MEMORY:
            kernel.max_dynamic_shared_size_bytes = shared_bytes
        kernel(_size(blocks), _size(threads), tuple(map(_argument, arguments)), shared_mem=shared_bytes)

    def multiply(
        self,
        a: Array,
        b: Array,
        result: Array,
        *,
        a_transposed: bool = False,
        b_transposed: bool = False,
        added: bool = False,
        beside: bool = False,
    ) -> None:
        """Set ``result`` to a product of matrices with contiguous rows, or to one for each network of a stack.

        With ``added`` it is added to what ``result`` holds. With ``beside`` it may be computed at the same time as what
        is queued later, until :meth:`join`.

        For a stack ``result`` is ``(K, m, n)``; an operand that all networks share is a single matrix.
        cuBLAS stores matrices by columns and so sees the transposes; the operands are passed in reverse order.
        """
        m, n = result.shape[-2:]
        k = a.shape[-2] if a_transposed else a.shape[-1]
        dtype = str(result.dtype)
        one, zero = self._factors[dtype]
        not_transposed, transposed = int(self._cublas.Operation.N), int(self._cublas.Operation.T)
        is_stack = result.ndim == 3

        def operand(matrix: Array) -> tuple[int, ...]:
            stride = matrix.strides[0] // matrix.itemsize if matrix.ndim == 3 else 0
            name = self.products if matrix.dtype == "uint16" else str(matrix.dtype)
            return (matrix.data.ptr, CUDA_TYPES[name], matrix.shape[-1], *((stride,) if is_stack else ()))

        handle = self._handle
        if beside:
            stream, handle = self._branch
            stream.wait_event(self.stream.record())
        product = self._cublas.gemm_strided_batched_ex if is_stack else self._cublas.gemm_ex
        product(
            handle,
            transposed if b_transposed else not_transposed,
            transposed if a_transposed else not_transposed,
            *(n, m, k),
            one.ctypes.data,
            *operand(b),
            *operand(a),
            (one if added else zero).ctypes.data,
            *operand(result),
            *(result.shape[:1] if is_stack else ()),
            self._compute[dtype],
            self._algorithm,
        )

    def join(self) -> None:
        """Let work queued from now on wait for the products that are computed beside it."""
        self.stream.wait_event(self._branch[0].record())

    def all_reduce(self, processes: ProcessGroup, array: Array) -> None:
        """Sum an array over the processes, in place; NCCL's work is captured like a kernel."""
        if processes.all_reduce(array) is not array:
            raise RuntimeError("sums that go through the host cannot be a part of compiled steps")

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the launches of ``work`` without running them; return a function that runs them all."""
        self.stream.begin_capture()
        try:
            work()
        except BaseException:
            with contextlib.suppress(Exception):
                self.stream.end_capture()
            raise
        graph = self.stream.end_capture()
        return lambda: graph.launch(self.stream)


def _size(size: LaunchSize) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)


def _argument(value: Any) -> Any:
    if value is None:
        return np.uint64(0)
    return np.int64(value) if isinstance(value, int) else value


def multiplies(device: Any, products: str) -> bool:
    """Return whether a GPU has matrix products in a precision: in bfloat16 since compute capability 8.0."""
    return products != "bfloat16" or int(device.compute_capability) >= 80


_thread_devices = threading.local()


def cuda_device(device: Any, products: str = "float32") -> CudaDevice:
    """Return the thread's :class:`CudaDevice` of a GPU; a stream that captures belongs to one thread."""
    devices: dict[tuple[int, str], CudaDevice] = _thread_devices.__dict__.setdefault("devices", {})
    if (device.id, products) not in devices:
        devices[device.id, products] = CudaDevice(device, products)
    return devices[device.id, products]
