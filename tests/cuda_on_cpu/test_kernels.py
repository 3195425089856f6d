"""Kernels compiled by g++ compute as those of a GPU."""

import cupy
import numpy as np
import pytest

SUMS = r"""
extern __shared__ float numbers[];
extern "C" __global__ void by_barriers(const float* x, float* sums) {
    numbers[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) numbers[threadIdx.x] += numbers[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = numbers[0];
}
extern "C" __global__ void by_shuffles(const float* x, float* sums) {
    __shared__ float warps[32];
    float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffff, sum, half);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned i = 1; i < blockDim.x / 32; ++i) sum += warps[i];
        sums[blockIdx.x] = sum;
    }
}
"""


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(-50, 50, (3, 128)).astype("float32")  # whose sums are exact


@pytest.mark.parametrize("name", ["by_barriers", "by_shuffles"])
def test_threads_of_a_block_work_together(name, x):
    sums = cupy.empty(3, "float32")
    cupy.RawModule(code=SUMS).get_function(name)((3,), (128,), (cupy.asarray(x), sums), shared_mem=4 * 128)
    np.testing.assert_array_equal(sums.get(), x.sum(1))


def test_threads_of_a_warp_vote():
    code = """extern "C" __global__ void vote(int* out) {
        const int i = threadIdx.x, odd = i % 2;
        out[3 * i] = __ballot_sync(0xffffffff, odd);
        out[3 * i + 1] = __any_sync(0xffffffff, i == 33);
        out[3 * i + 2] = __all_sync(0xffffffff, i < 33);
    }"""
    out = cupy.empty((36, 3), "int32")
    cupy.RawKernel(code, "vote")((1,), (36,), (out,))  # a whole warp, and four threads of another
    first, second = [0xAAAAAAAA - (1 << 32), 0, 1], [0b1010, 1, 0]
    np.testing.assert_array_equal(out.get(), [first] * 32 + [second] * 4)


def test_lanes_of_a_mask_work_together():
    code = """extern "C" __global__ void exchange(float* out) {
        const int i = threadIdx.x;
        float other;
        if (i < 2)
            other = __shfl_xor_sync(3, (float)i, 1);
        else
            other = __shfl_xor_sync(12, (float)i, i == 2 ? 1 : 2);
        out[i] = other;
    }"""
    out = cupy.empty(4, "float32")
    cupy.RawKernel(code, "exchange")((1,), (4,), (out,))
    np.testing.assert_array_equal(out.get(), [1, 0, 3, np.nan])  # the last asks a lane that is not in its mask


def test_indices_in_three_dimensions():
    code = """extern "C" __global__ void indices(int* out) {
        int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
    }"""
    out = cupy.zeros((2 * 3 * 4, 2 * 2 * 5), "int32")
    cupy.RawKernel(code, "indices")((2, 3, 4), (2, 2, 5), (out,))
    np.testing.assert_array_equal(out.get(), np.arange(24)[:, None] * 1000 + np.arange(20))


def test_arguments_of_all_sizes():
    code = """extern "C" __global__ void sum(char a, double b, short c, const float* d, long long e, float f,
                                     double* out) {
        *out = a + b + c + d[1] + e + f;
    }"""
    out = cupy.empty((), "float64")
    numbers = cupy.asarray([0, 16], "float32")
    given = (np.int8(1), np.float64(2), np.int16(4), numbers, np.int64(32), np.float32(64), out)
    cupy.RawKernel(code, "sum")((1,), (1,), given)
    assert out == 1 + 2 + 4 + 16 + 32 + 64


def test_small_numbers_of_float32_are_zero():
    tiny = np.array([1e-39, 2e-38], "float32")
    np.testing.assert_array_equal((cupy.asarray(tiny) * np.float32(0.5)).get(), [0, 0])
    assert (cupy.asarray([1e-310]) * 0.5).get() == 0.5e-310  # but not of float64


def test_multiplication_and_addition_are_one_operation():
    multiply_add = cupy.ElementwiseKernel("float32 x, float32 y", "float32 z", "z = x * x - y", "multiply_add")
    x = np.float32(1 + 2**-12)
    exact = np.float64(x) ** 2
    assert multiply_add(cupy.asarray(x), np.float32(exact)) == exact - np.float64(np.float32(exact)) != 0


def test_an_error_in_a_source_is_reported():
    with pytest.raises(cupy.cuda.compiler.CompileException, match="wrong"):
        cupy.RawModule(code='extern "C" __global__ void f(float* x) { wrong(x); }').compile()


@pytest.mark.parametrize(("code", "digits"), [(2, 11), (14, 8)], ids=["float16", "bfloat16"])
def test_products_of_16_bits_are_summed_in_float32(code, digits):
    from nvmath.bindings import cublas

    handle, one, zero = cublas.create(), np.ones(1, "float32"), np.zeros(1, "float32")
    x = np.float32([[1 + 2.0 ** (1 - digits), -3], [2.0**-14, 2.0**7]])
    bits = x.astype("float16").view("uint16") if code == 2 else (x.view("uint32") >> 16).astype("uint16")
    compute, algorithm = int(cublas.ComputeType.COMPUTE_32F), int(cublas.GemmAlgo.DEFAULT)
    a, c = cupy.asarray(np.stack([bits, bits.T])), cupy.empty((2, 2, 2), "float32")
    operand = (a.data.ptr, code, 2, 4)
    result = (zero.ctypes.data, c.data.ptr, 0, 2, 4, 2)
    cublas.gemm_strided_batched_ex(
        handle, 0, 0, 2, 2, 2, one.ctypes.data, *operand, *operand, *result, compute, algorithm
    )
    single = cupy.empty((2, 2), "float32")
    operand, result = operand[:3], (zero.ctypes.data, single.data.ptr, 0, 2)
    cublas.gemm_ex(handle, 0, 0, 2, 2, 2, one.ctypes.data, *operand, *operand, *result, compute, algorithm)
    cublas.destroy(handle)
    np.testing.assert_array_equal(c.get(), np.stack([x @ x, x.T @ x.T]))  # exact in float32, not in 16 bits
    np.testing.assert_array_equal(single.get(), x @ x)


COMPUTE_TYPES = [("COMPUTE_32F", 24), ("COMPUTE_32F_FAST_TF32", 11), ("COMPUTE_32F_FAST_16F", 11)]


@pytest.mark.parametrize(("name", "digits"), [*COMPUTE_TYPES, ("COMPUTE_32F_FAST_16BF", 8)])
def test_products_round_their_operands_to_binary_digits(name, digits):
    from nvmath.bindings import cublas

    handle, one, zero = cublas.create(), np.ones(1, "float32"), np.zeros(1, "float32")
    x = np.float32([1 + 2.0 ** (1 - digits), 1 + 2.0**-digits, 1 + 1.5 * 2.0**-digits])
    rounded = np.array([x[0], 1, x[0]])  # to the nearest, ties to even
    if digits == 24:
        rounded = x
    a, b, c = cupy.asarray(x), cupy.ones(1, "float32"), cupy.empty(3, "float32")
    compute, algorithm = int(getattr(cublas.ComputeType, name)), int(cublas.GemmAlgo.DEFAULT)
    operands = (a.data.ptr, 0, 3, b.data.ptr, 0, 1, zero.ctypes.data, c.data.ptr, 0, 3)
    cublas.gemm_ex(handle, 0, 0, 3, 1, 1, one.ctypes.data, *operands, compute, algorithm)
    cublas.destroy(handle)
    np.testing.assert_array_equal(c.get(), rounded)
