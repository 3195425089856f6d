"""GPU memory: how much is free, how much a sample needs, and how many samples fit."""

import itertools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend

SAMPLES_AT_ONCE = 4096
"""Samples per forward pass on the host, and whenever the same samples must give the same bits."""

COPIES_OF_PARAMETERS = 8  # in training: the parameters, the gradient, the optimizer's state and temporaries
NUMBERS_OF_STEP = 14  # of a network: the optimizer's settings, at most 8, the penalty, and two results of 8 bytes
BYTES_PER_ROW = 4  # of an order
HOST_SPACE = 1 << 30  # bytes of host memory that a stack may use

PREDICTION_DIVISOR = 4  # predictions may use the free memory divided by this
MAX_SAMPLE_FRACTION = 0.6  # of the free memory, at most; the rest is for parameters, batches and checks


class Memory(NamedTuple):
    """Bytes on a GPU: free and total; held and used by CuPy's pool; the pool's limit, or 0 for none."""

    free: int
    total: int
    held: int
    used: int
    limit: int

    @property
    def available(self) -> int:
        """Bytes available to new arrays, including what the pool holds but does not use."""
        space = self.free + self.held - self.used
        return min(space, self.limit - self.used) if self.limit else space


def gpu_memory(backend: Backend) -> Memory | None:
    """Return the memory of a GPU, which must be the current device; None for other devices."""
    if not backend.is_cuda:
        return None
    pool = cupy_pool()
    free, total = backend.device.mem_info
    return Memory(free, total, pool.total_bytes(), pool.used_bytes(), pool.get_limit())


def cupy_pool() -> Any:
    """Return CuPy's memory pool; CuPy must be imported already."""
    return sys.modules["cupy"].get_default_memory_pool()


def bytes_per_prediction(sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Estimate the bytes of one sample in a forward pass: total inputs and outputs of a layer and of the one below."""
    widest = max(below + 3 * here for below, here in itertools.pairwise(sizes))
    return np.dtype(dtype).itemsize * n_networks * widest


def bytes_per_sample(sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Estimate the bytes of one sample in a training step: what the backward pass needs, and its derivatives."""
    n_values = sizes[0] + sizes[-1] + 4 * sum(sizes[1:])
    return np.dtype(dtype).itemsize * n_networks * n_values


def power_of_two_below(number: float) -> int:
    """Return the largest power of two that is not larger than ``number``; 0 below 1.

    Examples
    --------
    >>> [power_of_two_below(n) for n in (0.5, 1, 5, 64)]
    [0, 1, 4, 64]
    """
    return 1 << (int(number).bit_length() - 1) if number >= 1 else 0


def networks_at_once(
    backend: Backend,
    sizes: tuple[int, ...],
    dtype: str,
    size: int,
    n_steps: int,
    new_rows: Sequence[int],
    n_numbers: int = 0,
) -> int:
    """Choose how many networks of a stack train together, at least 1; what they need must fit into memory.

    That is half of the GPU memory that samples leave free, or a fixed amount of host memory. Counted are parameters,
    optimizer state, gradients, the layers of a batch, the numbers of the steps, and the orders.

    Parameters
    ----------
    backend : Backend
    sizes : tuple of int
        Units of each layer.
    dtype : str
    size : int
        Samples of a batch.
    n_steps : int
        Steps of an epoch.
    new_rows : sequence of int
        For each network the number of rows in its order, or 0 if an earlier network has the same order.
    n_numbers : int, default=0
        Numbers in the samples.
    """
    memory = gpu_memory(backend)
    n_parameters = sum((i + 1) * j for i, j in itertools.pairwise(sizes))
    of_network = COPIES_OF_PARAMETERS * n_parameters + NUMBERS_OF_STEP * n_steps
    bytes_per_network = np.dtype(dtype).itemsize * of_network + size * bytes_per_sample(sizes, dtype)
    space = HOST_SPACE if memory is None else (memory.available - n_numbers * np.dtype(dtype).itemsize) // 2
    needed = np.cumsum(bytes_per_network + BYTES_PER_ROW * np.asarray(new_rows))
    return max(1, int(np.searchsorted(needed, space, side="right")))


def fits_in_memory(backend: Backend, n_numbers: int, dtype: str) -> bool:
    """Return whether samples with ``n_numbers`` numbers fit on the device during training."""
    memory = gpu_memory(backend)
    return memory is None or n_numbers * np.dtype(dtype).itemsize <= MAX_SAMPLE_FRACTION * memory.available


def storage_backend(backend: Backend, dtype: str, *samples: Array) -> Backend:
    """Choose where samples are kept: on the device, or on the host if they come from there and do not fit."""
    from_host = all(map(array_api_compat.is_numpy_array, samples))
    if not from_host or fits_in_memory(backend, sum(array.size for array in samples), dtype):
        return backend
    return choose_backend("cpu")


def samples_at_once(backend: Backend, sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Choose how many samples pass forward together: on a GPU, a power of two that fits into its free memory."""
    memory = gpu_memory(backend)
    if memory is None:
        return SAMPLES_AT_ONCE
    fit = memory.available // (PREDICTION_DIVISOR * bytes_per_prediction(sizes, dtype, n_networks))
    return max(1, power_of_two_below(fit))
