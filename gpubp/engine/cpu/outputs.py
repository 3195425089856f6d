"""Outputs of a network in the compiled engine."""

import ctypes
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from gpubp.engine.cpu import library
from gpubp.engine.cpu.structures import (
    Functions,
    Plan,
    Samples,
    address,
    functions_of,
    in_rows,
    network_plan,
    new_memory,
)
from gpubp.engine.cpu.threads import Crew, new_mailbox, threads_allowed
from gpubp.nn.network import Network

PART = 256
"""Samples that a thread passes forward at a time, as in ``c/outputs.h``."""

AT_ONCE = 128 * PART
"""Samples that are done before Python looks whether Ctrl-C was pressed."""

_ALONE = new_mailbox(1)


class Prepared(NamedTuple):
    """A plan for the outputs of a network, without memory for them."""

    plan: Plan
    functions: Functions
    bytes_per_sample: int


def engine_outputs(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """Compute the outputs of one network: ``(b, j)`` from ``theta`` (P,) and ``x`` (b, i) of the same precision.

    None if an activation is not in the library.
    """
    # the hash of a network with ties takes as long as its outputs
    prepared = (_prepare if network.ties is None else _prepare.__wrapped__)(network, theta.dtype)
    if prepared is None:
        return None
    functions, n_samples = prepared.functions, len(x)
    theta, samples, plan = in_rows(theta), Samples(), Plan.from_buffer_copy(prepared.plan)
    n_threads = max(1, min(threads_allowed(), -(-n_samples // PART))) if n_samples > 1 else 1
    plan.batch = min(n_samples, PART)
    plan.kept_room, plan.room = new_memory(n_threads * (plan.batch * prepared.bytes_per_sample + 128))
    work = partial(functions.outputs, ctypes.addressof(plan), ctypes.addressof(samples))
    outputs = np.empty((n_samples, network.sizes[-1]), theta.dtype)
    samples.theta = address(theta)
    if n_samples == 1:  # no product is left to BLAS, whose threads need no limit then
        x = in_rows(x)
        samples.n, samples.x, samples.outputs = 1, address(x), address(outputs)
        work(_ALONE.ctypes.data, 0)
        return outputs
    crew = Crew(n_threads, work, functions.ask)
    for start in range(0, n_samples, AT_ONCE):
        rows = in_rows(x[start : start + AT_ONCE])
        samples.n, samples.x, samples.outputs = len(rows), address(rows), address(outputs[start:])
        crew.run()
    return outputs


@lru_cache(maxsize=64)
def _prepare(network: Network, dtype: np.dtype) -> Prepared | None:
    functions = functions_of(dtype.name)
    plan = network_plan(network, functions, library.gemm(dtype.name))
    if plan is None:
        return None
    return Prepared(plan, functions, sum(network.sizes[1:-1]) * dtype.itemsize)
