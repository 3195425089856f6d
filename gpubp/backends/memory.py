"""Memory of a GPU: how much is free, what a sample takes on its way through a network, how many samples fit."""

import itertools
import sys
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend

SAMPLES_AT_ONCE = 4096
"""Samples that pass forward together where memory is the host's, or where the same samples must give the same bits."""

COPIES_OF_PARAMETERS = 8  # in training: themselves, the gradient, the optimizer's state and temporaries
HOST_ROOM = 1 << 30  # bytes of the host's memory that a stack may take

SHARE = 4  # of the free memory, one part for predictions in the making
SHARE_OF_SAMPLES = 0.6  # of the free memory, at most: parameters, batches and what checks need have the rest


class Memory(NamedTuple):
    """Bytes on a GPU: free and in all, and of CuPy's pool: what it holds, what of that is in use, its limit or 0."""

    free: int
    total: int
    held: int
    used: int
    limit: int

    @property
    def available(self) -> int:
        """What can still be given to arrays: the pool gives what it holds and does not use before it asks for more."""
        room = self.free + self.held - self.used
        return min(room, self.limit - self.used) if self.limit else room


def memory_of(backend: Backend) -> Memory | None:
    """Ask a GPU for its memory, while it is the current device; None where arrays are elsewhere."""
    if not backend.is_cuda:
        return None
    pool = pool_of_cupy()
    free, total = backend.device.mem_info
    return Memory(free, total, pool.total_bytes(), pool.used_bytes(), pool.get_limit())


def pool_of_cupy() -> Any:
    """Find CuPy's memory pool, once there are arrays of CuPy."""
    return sys.modules["cupy"].get_default_memory_pool()


def bytes_of_a_prediction(sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Estimate what one sample takes while it passes forward: a layer's total inputs and outputs, and those below."""
    widest = max(below + 3 * here for below, here in itertools.pairwise(sizes))
    return np.dtype(dtype).itemsize * n_networks * widest


def bytes_of_a_sample(sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Estimate what one sample takes in a step of training: what is kept for the pass backward, and the signals."""
    units = sizes[0] + sizes[-1] + 4 * sum(sizes[1:])
    return np.dtype(dtype).itemsize * n_networks * units


def power_of_two_below(number: float) -> int:
    """Find the largest power of two that is no larger; 0 below 1.

    Examples
    --------
    >>> [power_of_two_below(n) for n in (0.5, 1, 5, 64)]
    [0, 1, 4, 64]
    """
    return 1 << (int(number).bit_length() - 1) if number >= 1 else 0


def networks_at_once(backend: Backend, sizes: tuple[int, ...], dtype: str, size: int, n_numbers: int = 0) -> int:
    """Choose how many networks of a stack train together, on batches of ``size`` samples each: 1 or more.

    Parameters, the state of an optimizer, gradients and what is kept of a batch must fit into a part of what is free of
    a GPU's memory beside samples of ``n_numbers``, or of the host's.
    """
    memory = memory_of(backend)
    n_parameters = sum((i + 1) * j for i, j in itertools.pairwise(sizes))
    of_one = np.dtype(dtype).itemsize * COPIES_OF_PARAMETERS * n_parameters + size * bytes_of_a_sample(sizes, dtype)
    room = HOST_ROOM if memory is None else (memory.available - n_numbers * np.dtype(dtype).itemsize) // 2
    return max(1, room // of_one)


def has_room_for(backend: Backend, n_numbers: int, dtype: str) -> bool:
    """Tell whether samples of so many numbers may lie on the device while a network learns from them."""
    memory = memory_of(backend)
    return memory is None or n_numbers * np.dtype(dtype).itemsize <= SHARE_OF_SAMPLES * memory.available


def home_of(backend: Backend, dtype: str, *samples: Array) -> Backend:
    """Choose where samples are: on the device, or on the host where they come from there and it has no room for them."""
    from_host = all(map(array_api_compat.is_numpy_array, samples))
    if not from_host or has_room_for(backend, sum(array.size for array in samples), dtype):
        return backend
    return choose_backend("cpu")


def samples_at_once(backend: Backend, sizes: tuple[int, ...], dtype: str, n_networks: int = 1) -> int:
    """Choose how many samples pass forward together: on a GPU a power of two that its free memory has room for."""
    memory = memory_of(backend)
    if memory is None:
        return SAMPLES_AT_ONCE
    fit = memory.available // (SHARE * bytes_of_a_prediction(sizes, dtype, n_networks))
    return max(1, power_of_two_below(fit))
