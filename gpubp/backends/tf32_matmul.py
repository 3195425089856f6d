"""Products of float32 matrices in TF32 on NVIDIA GPUs, of single matrices and of stacks.

CuPy's own ``matmul`` computes stacks in full precision only, and copies operands that are not contiguous. Here cuBLAS's
strided product is called through the binding that CuPy itself uses, with the compute type, and reads operands in place.
"""

import sys

import numpy as np

from gpubp._typing import Array, Namespace

FLOAT32, DEFAULT_ALGORITHM, COMPUTE_IN_TF32 = 0, -1, 77  # CUDA_R_32F, CUBLAS_GEMM_DEFAULT, CUBLAS_COMPUTE_32F_FAST_TF32
ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def has_tf32(array: Array) -> bool:
    """Return whether the array's GPU multiplies in TF32, and CuPy lets it."""
    cublas = getattr(sys.modules["cupy"].cuda, "cublas", None)
    return hasattr(cublas, "gemmStridedBatchedEx") and int(array.device.compute_capability) >= 80


def matmul_in_tf32(xp: Namespace, a: Array, b: Array) -> Array:
    """Multiply float32 matrices ``(..., n, k)`` and ``(..., k, m)`` of CuPy into ``(..., n, m)``.

    cuBLAS rounds the operands to TF32 and sums in float32. It stores matrices by columns and so sees the transposes;
    the operands are passed in reverse order.
    """
    (n, k), m = a.shape[-2:], b.shape[-1]
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result = xp.empty((*stack, n, m), dtype=a.dtype)
    if not (result.size and k):
        return xp.matmul(a, b)
    (a, *a_layout), (b, *b_layout) = (_operand(xp, operand, stack) for operand in (a, b))
    (a_operation, *a_strides), (b_operation, *b_strides) = a_layout, b_layout
    sys.modules["cupy"].cuda.cublas.gemmStridedBatchedEx(
        a.device.cublas_handle,
        *(b_operation, a_operation, m, n, k, ONE.ctypes.data),
        *(b.data.ptr, FLOAT32, *b_strides),
        *(a.data.ptr, FLOAT32, *a_strides),
        ZERO.ctypes.data,
        *(result.data.ptr, FLOAT32, m, n * m, len(a)),
        *(COMPUTE_IN_TF32, DEFAULT_ALGORITHM),
    )
    return result


def _operand(xp: Namespace, matrices: Array, stack: tuple[int, ...]) -> tuple[Array, int, int, int]:
    """Return matrices as ``(K, rows, columns)``, whether their columns are contiguous, not their rows, and strides.

    The strides are from one row (or column) to the next, and from one matrix to the next. Matrices of which neither is
    contiguous are copied.
    """
    rows, columns = shape = matrices.shape[-2:]
    matrices = xp.reshape(xp.broadcast_to(matrices, (*stack, *shape)), (-1, *shape))
    to_matrix, to_row, to_column = (stride // matrices.itemsize for stride in matrices.strides)
    if to_matrix >= 0:
        if (to_column == 1 or columns == 1) and (to_row >= columns or rows == 1):
            return matrices, 0, columns if rows == 1 else to_row, to_matrix
        if (to_row == 1 or rows == 1) and (to_column >= rows or columns == 1):
            return matrices, 1, rows if columns == 1 else to_column, to_matrix
    return xp.ascontiguousarray(matrices), 0, columns, rows * columns
