"""An emulated CUDA device: kernels compiled by g++ run block by block, the threads of a block in turn.

It has the methods of gpubp.engine.cuda.device.CudaDevice, on NumPy arrays. It is stricter than a GPU:

- new arrays hold NaN, and so does shared memory before each block; what is written beyond it is an error;
- arrays are checked against a kernel's parameters;
- during a capture nothing runs, and only launches are allowed;
- threads of a block, or lanes of a warp, that wait at different places, or end while others wait, are an error;
- products beside other work are computed when they are waited for;
- copies on the second stream arrive when they are waited for; until then their source must not be written to, and they
  must not overwrite what may still be read.

With ``backwards`` the threads of a block, and the blocks, run in reverse order, so that any dependence on the order
shows.
"""

import atexit
import contextlib
import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np

COMPILER = shutil.which("g++") if sys.platform == "linux" else None

FIBERS = Path(__file__).parent / "cuda_on_cpu" / "src"  # the threads of a block, their barriers and shuffles

HEADER = """
#include <math.h>
#include <string.h>
#define __global__
#define __device__ static
#define __shared__
#define __launch_bounds__(...)
#include "fibers.hpp"

static unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static int __clz(int x) { return x ? __builtin_clz(x) : 32; }
"""

RUNNER = """
alignas(16) real shared[1 << 16];
static const unsigned MARGIN = 64;  // numbers beyond those of a block

template <class Kernel> static void call(const void *kernel) { (*(const Kernel *)kernel)(); }

template <class Kernel>
static const char *run(
    const Kernel &kernel, gpu::Dimensions grid, gpu::Dimensions block, unsigned n_shared, bool waits, bool backwards
) {
    gpu::body = call<Kernel>;
    gpu::body_argument = &kernel;
    gridDim = grid;
    blockDim = block;
    const unsigned n = block.x * block.y, n_blocks = grid.x * grid.y * grid.z;
    for (unsigned k = 0; k < n_blocks; ++k) {
        const unsigned at = backwards ? n_blocks - 1 - k : k;
        blockIdx = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
        for (unsigned i = 0; i < n_shared + MARGIN; ++i) shared[i] = NAN;
        if (waits) {
            if (const char *wrong = gpu::run_block(n, backwards)) {
                for (unsigned t = 0; t < n; ++t) gpu::fibers[t].begun = false;
                return wrong;
            }
        } else {
            for (unsigned t = 0; t < n; ++t) {
                gpu::become(backwards ? n - 1 - t : t);
                kernel();
            }
        }
        for (unsigned i = n_shared; i < n_shared + MARGIN; ++i)
            if (shared[i] == shared[i]) return "a thread writes beyond the shared memory of its block";
    }
    return nullptr;
}
"""

C_TYPES = {
    "real float32": ctypes.c_float,
    "real float64": ctypes.c_double,
    "integer": ctypes.c_longlong,
}
WAITING = re.compile(r"__sync|__shfl|_over_block\(|WAIT\(")
CODES = {0: "float32", 1: "float64", 2: "float16", 14: "bfloat16"}
"""cuBLAS's numbers of types."""


def numbers_of(array, name):
    """Return the numbers of an operand; NumPy has no bfloat16, so 16 bits are held by uint16."""
    if array.dtype != "uint16":
        return array
    if name == "float16":
        return array.view(np.float16).astype(np.float32)
    assert name == "bfloat16"
    return (array.astype(np.uint32) << 16).view(np.float32)


DTYPES = {"int": "int32", "integer": "int64", "double": "float64", "unsigned char": "uint8", "unsigned": "uint32"}


class Parameter(NamedTuple):
    kind: str  # its type, or the type it points to
    is_pointer: bool
    is_read_only: bool


class Kernel(NamedTuple):
    name: str
    run: object
    parameters: tuple[Parameter, ...]
    waits: bool
    dtype: str
    operand_dtype: str


@cache
def folder():
    made = tempfile.TemporaryDirectory(prefix="emulated-cuda-")
    atexit.register(made.cleanup)
    return Path(made.name)


def compile_shared(text):
    """Compile C++ to a shared library, once."""
    path = folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        part = path.with_suffix(".part")
        # without optimization, since compiling takes longer than running; without the library of C++, of which linking
        # takes as long as compiling
        command = [COMPILER, "-x", "c++", "-std=c++14", "-O0", "-fno-exceptions", "-fno-threadsafe-statics"]
        command += ["-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function", "-U_FORTIFY_SOURCE"]
        command += ["-ffp-contract=off", f"-I{FIBERS}", "-shared", "-fPIC", "-", "-o", str(part)]
        command += ["-nostdlib", "-lm", "-lc"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        part.replace(path)
    return ctypes.CDLL(str(path))


def parsed(source):
    """Yield the name, the parameters and the text of each kernel of a source."""
    for head in re.finditer(r'extern "C" __global__ (?:__launch_bounds__\([^)]*\) )?void (\w+)\(([^)]*)\) \{', source):
        stop = source.index("\n}\n", head.end())
        parameters = []
        for text in head[2].split(","):
            kind = re.sub(r"\bconst\b", "", text.rpartition("*")[0] if "*" in text else text.rsplit(None, 1)[0]).strip()
            parameters.append(Parameter(kind, "*" in text, "const" in text))
        yield head[1], head[2], parameters, source[head.end() : stop]


LOCK = threading.Lock()  # threads compile to the same files, and kernels have one place for their shared memory


class EmulatedDevice:
    """See the module's docstring."""

    xp = np

    def __init__(self, *, backwards=False, can_capture=True, shared_memory=227 << 10, products="float32"):
        self.backwards, self.can_capture, self.shared_memory = backwards, can_capture, shared_memory
        self.products, self.multiprocessors, self.shared_memory_of_multiprocessor = products, 132, 228 << 10
        self.recorded, self.branch = None, []
        self.n_launches, self.n_replays, self.n_replayed = 0, 0, 0  # those in graphs count when they are captured
        self.n_uploads, self.n_downloads, self.n_allocations = 0, 0, 0
        self.computed = None  # the compute type of the last cuBLAS product
        self.arrivals, self.on_their_way, self.reads, self.n_marks = [], [], [], 0

    def active(self):
        return contextlib.nullcontext()

    def empty(self, shape, dtype):
        self._must_not_be_captured()
        self.n_allocations += 1
        fill = np.nan if np.dtype(dtype).kind == "f" else 0x7FFF if dtype == "uint16" else 77  # NaN of 16 bits
        return np.full(shape, fill, dtype)

    def temporary(self, shape, dtype):
        n_before = self.n_allocations
        array = self.empty(shape, dtype)
        self.n_allocations = n_before
        return array

    def upload(self, array, place=None):
        self.n_uploads += 1
        self.n_allocations += place is None
        return self.copy(np.ascontiguousarray(array), place)

    def copy(self, array, place=None):
        self._must_not_be_captured()
        if place is None:
            return array.copy()
        assert (array.shape, array.dtype) == (place.shape, place.dtype)
        if any(np.shares_memory(array, arrival) for arrival in self.arrivals):
            self.reads.append((array, self.n_marks))
        place[...] = array
        return place

    def download(self, array):
        self._must_not_be_captured()
        self.wait()
        self.n_downloads += 1
        return array.copy()

    def wait(self):
        self._must_not_be_captured()
        for _, event in list(self.on_their_way):
            self.wait_for(event)

    def pinned(self, shape, dtype):
        self._must_not_be_captured()
        return np.full(shape, np.nan, dtype)

    def send(self, pairs, after):
        self._must_not_be_captured()
        for array, place in pairs:
            assert (array.shape, array.dtype) == (place.shape, place.dtype)
            assert array.flags.c_contiguous
            assert place.flags.c_contiguous
            for sent, _ in self.on_their_way:
                assert not any(np.shares_memory(array, other) for other, _, _ in sent), "may not have been sent yet"
            for read, mark in self.reads:
                assert not np.shares_memory(place, read) or (after or 0) > mark, "may not have been used yet"
            self.arrivals.append(place)
            place[...] = np.nan  # the copy may arrive at any time from now on
        self.on_their_way.append(([(array, array.copy(), place) for array, place in pairs], event := object()))
        return event

    def follow(self, event):
        self._must_not_be_captured()
        for pairs, sent in self.on_their_way:
            for _, copied, place in pairs if sent is event else ():
                place[...] = copied

    def mark(self):
        self.n_marks += 1
        return self.n_marks

    def wait_for(self, event):
        """Wait for the copies of this event, and for earlier ones."""
        while any(sent is event for _, sent in self.on_their_way):
            for array, copied, _ in self.on_their_way.pop(0)[0]:
                np.testing.assert_array_equal(array, copied, "written to before it was sent")

    def temporaries(self):
        return "a pool"

    def compute(self, work, pool):
        assert pool == "a pool"
        self._do(work)  # as one launch: operations of NumPy are not seen one by one

    def kernels(self, source):
        self._must_not_be_captured()
        dtype = "float32" if "typedef float real" in source else "float64"
        types = dtype, "uint16" if "typedef unsigned short operand" in source else dtype
        wrappers, kernels_found = [], {}
        for name, text, parameters, body in parsed(source):
            names = ", ".join(re.search(r"(\w+)\s*$", part)[1] for part in text.split(","))
            wrappers.append(
                f'extern "C" const char *run_{name}(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, '
                f"unsigned n_shared, int waits, int backwards, {text}) {{\n"
                f"    const gpu::Dimensions grid = {{gx, gy, gz}}, block = {{bx, by, 1}};\n"
                f"    return run([&] {{ {name}({names}); }}, grid, block, n_shared, waits, backwards);\n}}\n"
            )
            kernels_found[name] = (parameters, bool(WAITING.search(body)))
        with LOCK:
            library = compile_shared(HEADER + source + RUNNER + "".join(wrappers))
        for name in kernels_found:
            getattr(library, f"run_{name}").restype = ctypes.c_char_p
        return {
            name: Kernel(name, getattr(library, f"run_{name}"), tuple(parameters), waits, *types)
            for name, (parameters, waits) in kernels_found.items()
        }

    def launch(self, kernel, blocks, threads, shared_bytes, *arguments):
        blocks = (*blocks, 1, 1)[:3] if isinstance(blocks, tuple) else (blocks, 1, 1)
        threads = threads if isinstance(threads, tuple) else (threads, 1)
        n_threads, n_shared = threads[0] * threads[1], shared_bytes // np.dtype(kernel.dtype).itemsize
        assert 0 < n_threads <= 1024
        assert 0 < blocks[0] < 2**31
        assert 0 < blocks[1] < 2**16
        assert 0 < blocks[2] < 2**16
        assert shared_bytes <= self.shared_memory
        assert len(arguments) == len(kernel.parameters), kernel.name
        values = [self._argument(kernel, *pair) for pair in zip(kernel.parameters, arguments, strict=True)]
        plain = [*blocks, *threads, n_shared, kernel.waits, self.backwards]

        def work():
            with LOCK:
                wrong = kernel.run(*map(ctypes.c_int, plain), *values)
            assert wrong is None, f"{kernel.name}: {wrong.decode()}"

        self._do(work)

    def multiply(self, a, b, to, *, a_transposed=False, b_transposed=False, added=False, beside=False):
        for part in (a, b, to):
            assert (part if part.ndim == 2 else part[0]).flags.c_contiguous
            assert part.ndim == 2 or part.ndim == to.ndim == 3
        rounds = self.products in ("bfloat16", "float16") and to.dtype == "float32"
        assert a.dtype == b.dtype == ("uint16" if rounds else to.dtype)
        a, b = (a.mT if a_transposed else a), (b.mT if b_transposed else b)

        def work():
            product = np.matmul(numbers_of(a, self.products), numbers_of(b, self.products))
            np.copyto(to, product + (to if added else 0))

        if beside:
            self.branch.append(work)
        else:
            self._do(work)

    def join(self):
        """Compute the products that may be computed as late as now."""
        while self.branch:
            self._do(self.branch.pop(0))

    def all_reduce(self, processes, array):
        self._do(lambda: processes.all_reduce(array))

    def capture(self, work):
        if not self.can_capture:
            raise RuntimeError("this device captures nothing")
        self._must_not_be_captured()
        self.recorded = recorded = []
        try:
            work()
        finally:
            self.recorded = None

        def replay():
            self._must_not_be_captured()
            self.n_replays += 1
            self.n_replayed += len(recorded)
            for one in recorded:
                one()

        return replay

    def _do(self, work):
        self.n_launches += 1
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)

    def _must_not_be_captured(self):
        assert self.recorded is None, "this cannot be captured"

    def _argument(self, kernel, parameter, value):
        if not parameter.is_pointer:
            assert type(value) in (int, np.dtype(kernel.dtype).type), (kernel.name, value)
            assert isinstance(value, int) == (parameter.kind == "integer"), (kernel.name, value)
            return C_TYPES[parameter.kind if parameter.kind == "integer" else f"real {kernel.dtype}"](value)
        if value is None:
            return ctypes.c_void_p(None)
        expected = {"real": kernel.dtype, "operand": kernel.operand_dtype}.get(parameter.kind) or DTYPES[parameter.kind]
        assert value.dtype == expected, (kernel.name, parameter, value.dtype)
        assert value.flags.c_contiguous, (kernel.name, parameter)
        return ctypes.c_void_p(value.ctypes.data)


# --- CuPy and nvmath-python on the emulated device ---


COMPUTE_TYPES = {
    "COMPUTE_32F": 68,
    "COMPUTE_64F": 70,
    "COMPUTE_32F_FAST_16F": 74,
    "COMPUTE_32F_FAST_16BF": 75,
    "COMPUTE_32F_FAST_TF32": 77,
}
"""The numbers of cublas_api.h."""


class DeviceArray(np.ndarray):
    """An array with the parts of CuPy's interface that are used: an address, and copies from and to the host."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def set(self, array, stream):
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        self[...] = array

    def get(self, stream):
        return np.array(self)


class Stream:
    """A stream that must be current for launches, and that can capture."""

    present = None
    ptr = 4096

    def __init__(self, device=None, *, non_blocking=False):
        self.device, self.non_blocking, self.waited_for = device, non_blocking, []

    def __enter__(self):
        self.before, Stream.present = Stream.present, self

    def __exit__(self, *_):
        Stream.present = self.before

    def record(self):
        return self

    def wait_event(self, event):
        self.waited_for.append(event)

    def synchronize(self):
        assert self.device.recorded is None, "this cannot be captured"

    def begin_capture(self):
        assert self.non_blocking
        self.device.recorded = []

    def end_capture(self):
        recorded, self.device.recorded = self.device.recorded, None
        return SimpleNamespace(launch=lambda stream: [one() for one in recorded])


class RawKernel:
    """A kernel that takes arguments as CuPy does: arrays and NumPy scalars."""

    def __init__(self, device, kernel):
        self.device, self.kernel, self.max_dynamic_shared_size_bytes = device, kernel, 48 << 10

    def __call__(self, blocks, threads, arguments, *, shared_mem):
        assert Stream.present is not None, "launched on the default stream"
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        assert all(isinstance(value, np.generic | DeviceArray) for value in arguments)
        values = [_as_emulated(value) for value in arguments]
        self.device.launch(self.kernel, blocks, (*threads, 1)[:2], shared_mem, *values)


class RawModule:
    def __init__(self, device, code):
        self.device, self.kernels = device, device.kernels(code)

    def get_function(self, name):
        return RawKernel(self.device, self.kernels[name])


def _as_emulated(value):
    if isinstance(value, np.uint64):
        assert value == 0
        return None
    return int(value) if isinstance(value, np.int64) else value


@contextlib.contextmanager
def allocated_by(cupy, allocate):
    cupy.allocate = allocate
    yield
    del cupy.allocate


def emulated_modules():
    """The used parts of the modules cupy, nvmath, nvmath.bindings and nvmath.bindings.cublas."""
    device = EmulatedDevice()

    def gemm_ex(handle, op_a, op_b, m, n, k, alpha, *values):
        """Set C to op(A) op(B), all stored by columns."""
        a, b, c = values[:3], values[3:6], values[7:10]
        gemm_strided_batched_ex(handle, op_a, op_b, m, n, k, alpha, *a, 0, *b, 0, values[6], *c, 0, 1, *values[10:])

    def gemm_strided_batched_ex(*values):
        handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, a_stride, b, type_b, ldb, b_stride, *others = values
        beta, c, type_c, ldc, c_stride, count, compute, algo = others
        assert (handle, type_a, algo) == (99, type_b, -1)
        assert type_a == type_c or (CODES[type_a] in ("float16", "bfloat16") and CODES[type_c] == "float32")
        multiplied, dtype = CODES[type_a], CODES[type_c]
        device.computed, device.multiplied = compute, multiplied
        of_operands = dtype if type_a == type_c else "uint16"

        def matrix(address, rows, columns, stride, dtype=dtype):
            number = np.ctypeslib.as_ctypes_type(np.dtype(dtype))
            numbers = np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(number)), (columns, stride))
            return numbers.T[:rows]

        assert matrix(alpha, 1, 1, 1) == 1.0
        added = matrix(beta, 1, 1, 1) == 1.0
        assert added or matrix(beta, 1, 1, 1) == 0.0
        products, items = [], [np.dtype(name).itemsize for name in (of_operands, of_operands, dtype)]
        for one in range(count):
            at_a, at_b, at_c = (
                first + one * stride * item
                for first, stride, item in zip((a, b, c), (a_stride, b_stride, c_stride), items, strict=True)
            )
            A = matrix(at_a, k, m, lda, of_operands).T if op_a else matrix(at_a, m, k, lda, of_operands)
            B = matrix(at_b, n, k, ldb, of_operands).T if op_b else matrix(at_b, k, n, ldb, of_operands)
            products.append((A, B, matrix(at_c, m, n, ldc)))

        def multiply():
            for A, B, C in products:
                A, B = (numbers_of(part, multiplied) for part in (A, B))
                np.copyto(C, np.matmul(A, B).astype(dtype) + (C if added else 0))

        device._do(multiply)

    def on_device(array):
        return np.asarray(array).view(DeviceArray)

    def empty(shape, dtype):
        """Take memory from the current allocator; its contents are arbitrary, as on a GPU."""
        array = np.ndarray(shape, dtype, cupy.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize))
        array[...] = device.empty(shape, dtype)
        return on_device(array)

    cupy = ModuleType("cupy")
    cupy.empty = empty
    cupy.copyto, cupy.reshape = np.copyto, np.reshape
    cupy.ascontiguousarray = lambda array: on_device(np.ascontiguousarray(array))
    cupy.RawModule = partial(RawModule, device)
    cupy.cuda = SimpleNamespace(
        Stream=lambda **options: Stream(device, **options),
        Memory=bytearray,
        alloc_pinned_memory=lambda n_bytes: bytearray(2 * n_bytes),  # CuPy allocates more than requested
        MemoryPointer=lambda memory, offset: memoryview(memory)[offset:],
        using_allocator=partial(allocated_by, cupy),
        get_current_stream=lambda: Stream(device),
    )
    cublas = ModuleType("nvmath.bindings.cublas")
    cublas.create, cublas.destroy = lambda: 99, lambda handle: None
    cublas.set_stream = cublas.set_workspace = lambda *_: None
    cublas.gemm_ex, cublas.gemm_strided_batched_ex = gemm_ex, gemm_strided_batched_ex
    cublas.Operation, cublas.GemmAlgo = SimpleNamespace(N=0, T=1), SimpleNamespace(DEFAULT=-1)
    cublas.ComputeType = SimpleNamespace(**COMPUTE_TYPES)
    bindings, nvmath = ModuleType("nvmath.bindings"), ModuleType("nvmath")
    nvmath.bindings, bindings.cublas = bindings, cublas
    modules = {module.__name__: module for module in (cupy, nvmath, bindings, cublas)}
    return device, modules


class CudaDeviceOfNumPy(contextlib.nullcontext):
    """The parts of cupy.cuda.Device that are used."""

    id = 0
    attributes = MappingProxyType(
        {
            "MaxSharedMemoryPerBlockOptin": 227 << 10,
            "MaxSharedMemoryPerMultiprocessor": 228 << 10,
            "MultiProcessorCount": 132,
        }
    )
