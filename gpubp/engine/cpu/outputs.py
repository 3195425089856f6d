"""Outputs of a network in the compiled engine."""

import ctypes
from functools import partial

import numpy as np

from gpubp.engine.cpu import library
from gpubp.engine.cpu.structures import Samples, address, functions_of, network_plan, room
from gpubp.engine.cpu.threads import Crew, threads_allowed
from gpubp.nn.network import Network

PART = 256
"""Samples that a thread passes forward at a time, as in ``c/outputs.h``."""

AT_ONCE = 128 * PART
"""Samples that are done before Python looks whether Ctrl-C was pressed."""


def engine_outputs(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """Compute the outputs of one network: ``(b, j)`` from ``theta`` (P,) and ``x`` (b, i) of the same precision.

    None if an activation is not in the library.
    """
    dtype = str(theta.dtype)
    functions = functions_of(dtype)
    plan = network_plan(network, functions, library.gemm(dtype))
    if plan is None:
        return None
    theta, samples = np.ascontiguousarray(theta), Samples()
    n_threads = max(1, min(threads_allowed(), -(-len(x) // PART)))
    bytes_of_a_thread = functions.room_for_outputs(ctypes.addressof(plan)) * theta.itemsize
    plan.kept_room, plan.room = room(n_threads * bytes_of_a_thread)
    work = partial(functions.outputs, ctypes.addressof(plan), ctypes.addressof(samples))
    crew = Crew(n_threads, work, functions.ask)
    outputs = np.empty((len(x), network.sizes[-1]), theta.dtype)
    samples.theta = address(theta)
    for start in range(0, len(x), AT_ONCE):
        rows = np.ascontiguousarray(x[start : start + AT_ONCE])
        samples.n, samples.x, samples.outputs = len(rows), address(rows), address(outputs[start:])
        crew.run()
    return outputs
