"""Faults planted in programs for GPUs are caught."""

import cupy
import numpy as np
import pytest
from cupy.cuda import runtime

INCREMENT = 'extern "C" __global__ void increment(float* x) { x[threadIdx.x] += 1; }'


@pytest.fixture
def increment():
    kernel = cupy.RawKernel(INCREMENT, "increment")
    kernel.compile()
    return lambda *arguments: kernel((1,), (4,), arguments)


@pytest.fixture
def illegal_address(faults):
    def expect():
        return pytest.raises(runtime.CUDARuntimeError, match="cudaErrorIllegalAddress")

    return expect


def pinned(count):
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(4 * count), "float32", count)


def test_a_missing_wait_for_a_download(stream):
    host = pinned(4)
    host[:] = 0
    cupy.ones(4, "float32").get(out=host, stream=stream, blocking=False)
    assert (host == 0).all()
    stream.synchronize()
    assert (host == 1).all()


def test_a_missing_wait_for_an_upload(stream):
    host = pinned(4)
    host[:] = 1
    x = cupy.empty(4, "float32")
    x.set(host, stream=stream)
    host[:] = 2  # before the copy is done
    assert (x.get(stream=stream) == 2).all()


@pytest.mark.parametrize("waits", [False, True])
def test_a_missing_wait_for_another_stream(waits, stream, increment):
    x, other = cupy.zeros(4, "float32"), cupy.cuda.Stream(non_blocking=True)
    stream.synchronize()
    increment(x)
    if waits:
        other.wait_event(stream.record())
    assert (x.get(stream=other) == waits).all()


def test_the_default_stream_needs_no_wait(increment):
    x = cupy.zeros(4, "float32")
    with cupy.cuda.Stream() as blocking:
        increment(x)
    x += 1
    assert (x.get(stream=blocking) == 2).all()


def test_memory_that_was_never_written():
    assert np.isnan(cupy.ndarray(4, "float32", cupy.cuda.MemoryPointer(cupy.cuda.Memory(16), 0)).get()).all()


def test_shared_memory_that_was_never_written():
    code = """extern __shared__ float dynamic[];
    extern "C" __global__ void read(float* x) { __shared__ float fixed[2]; x[0] = fixed[1]; x[1] = dynamic[1];
        fixed[1] = dynamic[1] = 1; }"""
    x = cupy.zeros(2, "float32")
    cupy.RawKernel(code, "read")((3,), (1,), (x,), shared_mem=8)
    assert np.isnan(x.get()).all()


def test_a_use_after_free(increment, illegal_address):
    memory = cupy.cuda.Memory(16)
    pointer = np.uint64(memory.ptr)
    del memory
    increment(pointer)
    with illegal_address():
        cupy.cuda.get_current_stream().synchronize()


def test_a_graph_that_outlives_its_array(stream, increment, illegal_address):
    x = cupy.ndarray(4, "float32", cupy.cuda.MemoryPointer(cupy.cuda.Memory(16), 0))
    stream.begin_capture()
    increment(x)
    graph = stream.end_capture()
    del x
    graph.launch(stream)
    with illegal_address():
        stream.synchronize()


def test_an_array_of_the_host_given_to_a_kernel(increment, illegal_address):
    host = np.zeros(4, "float32")
    with pytest.raises(TypeError):
        increment(host)  # CuPy refuses it
    increment(np.uint64(host.ctypes.data))  # and here its address
    with illegal_address():
        cupy.cuda.Device().synchronize()


def test_an_array_of_the_host_given_to_a_function_of_cupy():
    with pytest.raises(TypeError):
        cupy.add(cupy.zeros(4), np.zeros(4))


def test_an_array_of_another_device(run_python):
    code = f"""
import cupy
with cupy.cuda.Device(1):
    x = cupy.zeros(4, "float32")
cupy.RawKernel({INCREMENT!r}, "increment")((1,), (4,), (x.data.ptr,))
try:
    cupy.cuda.Device().synchronize()
except cupy.cuda.runtime.CUDARuntimeError as error:
    print(error)
"""
    assert "cudaErrorIllegalAddress" in run_python(code, CUDA_ON_CPU_DEVICES="2")


def test_each_device_has_memory_of_its_own(run_python):
    code = """
import cupy
x = cupy.arange(4)
with cupy.cuda.Device(1):
    y = x.copy() + 1
    print(y.device.id, y, cupy.cuda.Device(1).mem_info[0] < cupy.cuda.Device(1).mem_info[1])
"""
    assert run_python(code, CUDA_ON_CPU_DEVICES="2") == "1 [1 2 3 4] True"


def gemm(a, b, c, leading):
    """Set c to a @ b, where all are stored by columns, with the leading dimension of a."""
    cublas, handle = cupy.cuda.cublas, cupy.cuda.device.get_cublas_handle()
    one, zero = np.ones(1, "float32"), np.zeros(1, "float32")
    (m, k), n = a.shape, b.shape[1]
    right = (b.data.ptr, k, zero.ctypes.data, c.data.ptr, m)
    cublas.sgemm(handle, 0, 0, m, n, k, one.ctypes.data, a.data.ptr, leading, *right)


@pytest.fixture
def matrices():
    def make(*shape):
        memory = cupy.cuda.MemoryPointer(cupy.cuda.Memory(4 * shape[0] * shape[1]), 0)  # not a part of a larger block
        array = cupy.ndarray(shape, "float32", memory, order="F")
        array[...] = 1
        return array

    return make(4, 3), make(3, 2), make(4, 2)


def test_a_leading_dimension_that_is_right(matrices):
    gemm(*matrices, leading=4)
    assert (matrices[2] == 3).all()


def test_a_leading_dimension_that_is_too_small(matrices):
    with pytest.raises(cupy.cuda.cublas.CUBLASError, match="INVALID_VALUE"):
        gemm(*matrices, leading=3)


def test_a_leading_dimension_that_is_too_large(matrices, illegal_address):
    gemm(*matrices, leading=5)
    with illegal_address():
        cupy.cuda.Device().synchronize()


@pytest.mark.parametrize(
    "code",
    [
        "if (threadIdx.x < 2) __syncthreads();\n else\n __syncthreads();",
        "if (threadIdx.x < 2) __syncwarp();\n else\n __syncthreads();",
        "if (threadIdx.x < 2) __shfl_xor_sync(0xffffffff, x[0], 1);\n __syncthreads();",
        "if (threadIdx.x < 2) __shfl_xor_sync(0xffffffff, x[0], 1);\n else\n __shfl_xor_sync(0xffffffff, x[0], 1);",
        "__syncwarp(threadIdx.x < 2 ? 3 : 15);",
        "__syncwarp(1);",
    ],
)
def test_threads_that_wait_at_different_barriers(code, faults):
    cupy.RawKernel(f'extern "C" __global__ void f(float* x) {{ {code} x[0] = 1; }}', "f")((1,), (4,), (cupy.zeros(4),))
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorLaunchFailure"):
        cupy.cuda.Device().synchronize()


@pytest.mark.parametrize(("backwards", "expected"), [("0", "4.0"), ("1", "0.0")])
def test_numbers_that_depend_on_the_order_of_threads(backwards, expected, run_python):
    code = """
import cupy
x = cupy.zeros(5, "float32")
x[0] = 1
code = 'extern "C" __global__ void f(float* x) { int i = threadIdx.x + 1; x[i] = x[i - 1] + (i < 4); }'
cupy.RawKernel(code, "f")((1,), (4,), (x,))
print(x[4])
"""
    assert run_python(code, CUDA_ON_CPU_BACKWARDS=backwards) == expected


@pytest.mark.parametrize("sizes", [((1,), (1025,), 0), ((1, 65536), (1,), 0), ((1,), (1,), (48 << 10) + 1)], ids=str)
def test_launches_beyond_the_limits(sizes):
    grid, block, shared = sizes
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="cudaErrorInvalidValue"):
        cupy.RawKernel(INCREMENT, "increment")(grid, block, (cupy.zeros(4, "float32"),), shared_mem=shared)


def test_more_memory_than_the_device_has(run_python):
    code = """
import cupy
print(cupy.cuda.Device().mem_info)
x = cupy.zeros(1 << 19, "uint8")
try:
    cupy.zeros(1 << 20, "uint8")
except cupy.cuda.memory.OutOfMemoryError:
    print("out of memory")
"""
    assert run_python(code, CUDA_ON_CPU_MEMORY=str(1 << 20)).splitlines() == ["(1048576, 1048576)", "out of memory"]
