"""The array namespace of a CUDA device with which the plain equations can be captured into graphs."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.wrapped_namespace import WrappedNamespace
from gpubp.engine.cuda.kernels.preamble import head, rounds
from gpubp.engine.cuda.kernels.steps import LOOP, ROUND
from gpubp.engine.cuda.launches import MAX_BLOCKS, THREADS, blocks_of


class CapturableNamespace(WrappedNamespace):
    """A namespace of arrays on a device that launches products itself, and copies no array from the host twice.

    In a capture, CuPy refuses its own products, and copies from the host. What is captured has to run in
    :meth:`compute`, and there once before without a capture. The memory of temporary arrays belongs to this object, so
    it must live as long as graphs that use it.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or an object with the same methods.
    array : array
        Any array of the device.
    dtype : str
        The precision of the arrays; that of products is the device's.
    """

    def __init__(self, device: Any, array: Array, dtype: str) -> None:
        super().__init__(array_api_compat.array_namespace(array))
        self.device, self.pool = device, device.temporaries()
        self.constants: dict[tuple[Any, ...], tuple[np.ndarray, Array]] = {}
        self.to_operands = None
        if rounds(device.products, dtype):
            source = head(dtype, products=device.products) + ROUND.format(loop=LOOP)
            self.to_operands = device.kernels(source)["to_operands"]

    def compute(self, work: Callable[[], None]) -> None:
        """Run operations of this namespace that leave their results in arrays that were there before."""
        self.device.compute(work, self.pool)

    def asarray(self, array: Any, dtype: Any = None, **options: Any) -> Array:
        """Return an array of the device; one of NumPy, which must not change, is copied the first time only."""
        if type(array) is not np.ndarray:
            return self.plain.asarray(array, dtype=dtype, **options)
        key = array.ctypes.data, array.shape, array.strides, array.dtype, str(dtype)
        if key not in self.constants:  # which also keep the array, so that no other one gets its address
            self.constants[key] = array, self.device.upload(array if dtype is None else array.astype(dtype))
        return self.constants[key][1]

    def concat(self, arrays: Sequence[Array], *, axis: int = 0) -> Array:
        """Join arrays of one type along an axis; CuPy would copy their addresses from the host."""
        axis %= arrays[0].ndim
        before, after = arrays[0].shape[:axis], arrays[0].shape[axis + 1 :]
        stops = [*accumulate((array.shape[axis] for array in arrays), initial=0)]
        result = self.device.temporary((*before, stops[-1], *after), str(arrays[0].dtype))
        for array, (start, stop) in zip(arrays, pairwise(stops), strict=True):
            result[(*(slice(None) for _ in before), slice(start, stop))] = array
        return result

    def matmul(self, a: Array, b: Array) -> Array:
        """Multiply matrices ``(..., n, k)`` and ``(..., k, m)`` into ``(..., n, m)``."""
        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        n_products = math.prod(stack)
        shape = (n_products, a.shape[-2], b.shape[-1])[1 if n_products == 1 else 0 :]
        result = self.device.temporary(shape, str(a.dtype))
        (a, a_transposed), (b, b_transposed) = (self._operand(array, stack, n_products) for array in (a, b))
        self.device.multiply(a, b, result, a_transposed=a_transposed, b_transposed=b_transposed)
        return self.plain.reshape(result, (*stack, *shape[-2:]))

    def _operand(self, matrices: Array, stack: tuple[int, ...], n_products: int) -> tuple[Array, bool]:
        """Return matrices with contiguous rows, one or ``n_products`` of them, and whether they are transposed."""
        xp, (rows, columns) = self.plain, matrices.shape[-2:]
        if math.prod(matrices.shape[:-2]) == 1:
            matrices = xp.reshape(matrices, (rows, columns))
        else:
            matrices = xp.reshape(xp.broadcast_to(matrices, (*stack, rows, columns)), (n_products, rows, columns))
        transposed = xp.matrix_transpose(matrices)
        is_transposed = not _has_contiguous_rows(matrices) and _has_contiguous_rows(transposed)
        if is_transposed:
            matrices = transposed
        elif not _has_contiguous_rows(matrices):
            matrices = self.device.xp.ascontiguousarray(matrices)
        return self._rounded(matrices), is_transposed

    def _rounded(self, numbers: Array) -> Array:
        """Return what products read of numbers."""
        if self.to_operands is None:
            return numbers
        numbers = self.device.xp.ascontiguousarray(numbers)
        operands, n = self.device.temporary(numbers.shape, "uint16"), int(numbers.size)
        self.device.launch(
            self.to_operands, min(blocks_of(n), MAX_BLOCKS), THREADS, THREADS * numbers.itemsize, n, numbers, operands
        )
        return operands


def _has_contiguous_rows(matrices: Array) -> bool:
    """Return whether the rows of each matrix follow one after the other, so that it is read where it is."""
    return bool((matrices if matrices.ndim == 2 else matrices[0]).flags.c_contiguous)
