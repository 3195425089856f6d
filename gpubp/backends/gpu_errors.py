"""Translate GPU failures during work into DeviceErrors: full memory, a lost or busy device."""

import contextlib
import traceback
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpubp._core.text import counted, size_in_words
from gpubp.backends.backend import Backend
from gpubp.backends.cupy_wheels import cupy_wheels, describe_duplicates, reinstall_command
from gpubp.backends.memory import (
    COPIES_OF_PARAMETERS,
    Memory,
    bytes_per_sample,
    cupy_pool,
    gpu_memory,
    power_of_two_below,
)
from gpubp.backends.probe import cause_and_fix, first_line, is_known
from gpubp.errors import DeviceError
from gpubp.nn.network import Network

CUPY_PACKAGES = ("cupy", "cupyx", "cupy_backends")  # their exceptions come from the GPU
MARGIN = 0.8  # a safety factor on what seems to fit


class Workload(NamedTuple):
    """The work that a device was doing; ``batch_size`` is None for predictions, which choose their own."""

    network: Network
    dtype: str
    n_networks: int
    n_samples: int
    batch_size: int | None = None


@contextlib.contextmanager
def translate_gpu_errors(backend: Backend, workload: Workload) -> Iterator[None]:
    """Turn errors of CuPy and of CUDA's libraries into a DeviceError that names the cause and the fix.

    If memory ran out, the arrays of the functions called within the block are released, and the pool returns their
    memory. So the block should call one function and hold no arrays itself.
    """
    try:
        yield
    except Exception as error:
        if not is_gpu_error(backend, error):
            raise
        message = (
            _out_of_memory_message(backend, workload, error)
            if _is_out_of_memory(error)
            else _failure_message(backend, error)
        )
        raise DeviceError(message) from error


def is_gpu_error(backend: Backend, error: Exception) -> bool:
    """Return whether an exception comes from CuPy or from one of CUDA's libraries."""
    if not backend.is_cuda:
        return False
    if type(error).__module__.partition(".")[0] in CUPY_PACKAGES:
        return True
    # ImportError and OSError: one of CUDA's libraries does not load
    return isinstance(error, RuntimeError | ImportError | OSError) and is_known(error)


def _is_out_of_memory(error: Exception) -> bool:
    text = f"{type(error).__name__}: {error}"
    return any(part in text for part in ("OutOfMemoryError", "cudaErrorMemoryAllocation", "ALLOC_FAILED"))


def _failure_message(backend: Backend, error: Exception) -> str:
    cause, fix = cause_and_fix(error)
    wheels = cupy_wheels()
    if len(wheels) > 1:
        cause, fix = f"{cause}; of CuPy {describe_duplicates(wheels)}", reinstall_command(wheels)
    return f"{backend.name} failed: {cause}. To fix it: {fix}"


def _out_of_memory_message(backend: Backend, workload: Workload, error: Exception) -> str:
    """Free as much memory as possible, and describe the request, the memory, and what would fit."""
    with backend.active():
        before = gpu_memory(backend)
        traceback.clear_frames(error.__traceback__)  # and release the arrays in them
        cupy_pool().free_all_blocks()
        after = gpu_memory(backend)
    assert before is not None
    assert after is not None
    limit = f", limited to {size_in_words(before.limit)}" if before.limit else ""
    activity = f"predicting {counted(workload.n_samples, 'sample')}"
    if workload.batch_size is not None:
        activity = f"training on batches of {counted(workload.batch_size, 'sample')}"
    return (
        f"{backend.name} ran out of memory while {activity} ({first_line(str(error)).rstrip('.')}): CuPy's pool held "
        f"{size_in_words(before.held)}{limit}, {size_in_words(before.used)} of it in use, and "
        f"{size_in_words(before.free)} of {size_in_words(before.total)} were free. To fix it: {_fix(workload, after)}"
    )


def _fix(workload: Workload, memory: Memory) -> str:
    if workload.batch_size is None:
        return "predict fewer samples at a time, or with device='cpu'"
    fitting = batch_that_fits(workload, memory)
    if fitting:
        return f"batch_size={fitting} would fit"
    needed = size_in_words(_fixed_bytes(workload))
    return f"device='cpu', or fewer samples: these and the weights take about {needed} with any batch size"


def batch_that_fits(workload: Workload, memory: Memory) -> int:
    """Estimate the largest batch size that fits, a power of two below the one that did not; 0 if none fits."""
    assert workload.batch_size is not None
    space = MARGIN * (memory.available - _fixed_bytes(workload))
    n_networks = workload.n_networks * (workload.network.n_members or 1)
    fitting = space / bytes_per_sample(workload.network.sizes, workload.dtype, n_networks)
    return power_of_two_below(min(fitting, workload.batch_size - 1))


def _fixed_bytes(workload: Workload) -> int:
    network = workload.network
    n_sample_values = workload.n_samples * (network.sizes[0] + network.sizes[-1])
    n_parameter_values = COPIES_OF_PARAMETERS * workload.n_networks * network.n_parameters
    return int(np.dtype(workload.dtype).itemsize) * (n_sample_values + n_parameter_values)
