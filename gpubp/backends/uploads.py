"""Copies of NumPy arrays to a GPU: large ones go in pieces through one small buffer of pinned memory.

CuPy copies a whole array to pinned memory first, from where the GPU reads it, and keeps that memory for later uploads,
so that the host would hold large samples twice, for good.
"""

import sys

import numpy as np

from gpubp._typing import Array, Device, Namespace

LARGEST_AT_ONCE = 64 << 20  # bytes of an array that CuPy uploads itself
PIECE = 32 << 20  # bytes; while one piece is copied to the GPU, the next is copied to the buffer's other half


def upload(xp: Namespace, host: np.ndarray, device: Device) -> Array:
    """Copy a NumPy array to a new array of CuPy on a device."""
    if host.nbytes <= LARGEST_AT_ONCE:
        return xp.asarray(host, device=device)
    if host.flags.fnc:  # contiguous in Fortran's order, which is kept
        return xp.permute_dims(upload(xp, host.T, device), tuple(range(host.ndim))[::-1])
    cuda = sys.modules["cupy"].cuda
    with device:
        array = xp.empty(host.shape, dtype=host.dtype)
        source = np.reshape(np.ascontiguousarray(host), -1).view(np.uint8)
        destination, stream = xp.reshape(array, (-1,)).view(np.uint8), cuda.get_current_stream()
        memory = cuda.alloc_pinned_memory(2 * PIECE)
        halves = np.frombuffer(memory, np.uint8, 2 * PIECE).reshape(2, PIECE)
        done = [stream.record(), stream.record()]
        for number, begin in enumerate(range(0, host.nbytes, PIECE)):
            part, turn = slice(begin, begin + PIECE), number % 2
            half = halves[turn, : len(source[part])]
            done[turn].synchronize()
            half[:] = source[part]
            destination[part].set(half, stream=stream)
            done[turn] = stream.record()
        stream.synchronize()  # the pool may give the buffer to others
    return array
