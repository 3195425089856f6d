"""The pass forward: one layer of it, and all of it for many samples."""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from gpubp.engine.cpu.compiling import compiled
from gpubp.engine.cpu.layers import unit_value
from gpubp.engine.cpu.mailbox import next_request, number_of_request, request_at, times_passed, wait_for_all
from gpubp.engine.cpu.native import AS_IS, GEMM, call, multiply
from gpubp.engine.cpu.rows import pointer_from, pointer_into, set_rows
from gpubp.engine.cpu.threads import Crew, threads_allowed
from gpubp.nn.network import Network

PART = 256
"""Samples that pass forward together: few enough for what they leave behind to stay in the cache."""


AT_ONCE = 128 * PART
"""Samples that are done before Python looks whether Ctrl-C was pressed."""


class Layers(NamedTuple):
    """A network as compiled code sees it.

    Attributes
    ----------
    sizes : (n_layers + 1,) array of int64
    values : (n_layers,) array of int64
        Where the loops of the units are, 0 where another loop does their work.
    parameters : (n_layers,) array
        The units' parameters.
    bias : bool
    gemm : int
        Where the product of matrices is.
    """

    sizes: np.ndarray
    values: np.ndarray
    parameters: np.ndarray
    bias: bool
    gemm: int


def layers_of(network: Network, dtype: str, *, without_output: bool = False) -> Layers:
    """Compile a network's units, those of the output layer aside if asked."""
    loops = [unit_value(name, dtype) for name in network.activations]
    values = np.asarray([loop.address for loop in loops], np.int64)
    if without_output:
        values[-1] = 0
    parameters = np.asarray([loop.parameter for loop in loops], dtype)
    return Layers(np.asarray(network.sizes, np.int64), values, parameters, network.bias, GEMM[dtype])


@compiled
def _pass_samples(thread, n_threads, mailbox, layers, theta, rooms):
    """Pass every so many parts of the samples forward, whenever it is asked; rooms are (2 * n_threads, n).

    A request is: how many samples there are, where x is, and where the outputs are to go.
    """
    served = number_of_request(mailbox, thread)
    while True:
        asked = request_at(mailbox, n_threads)
        n_samples, x, outputs = asked[0], asked[1], asked[2]
        for first in range(thread * PART, n_samples, n_threads * PART):
            _pass_part(layers, theta, x, first, min(PART, n_samples - first), rooms, 2 * thread, outputs)
        if not wait_for_all(mailbox, n_threads, times_passed(mailbox, n_threads) + 1) or thread == 0:
            return
        if not next_request(mailbox, thread, served):
            return
        served += 1


@register_jitable
def _pass_part(layers, theta, x, first, b, rooms, room, outputs):
    """Pass ``b`` samples forward, from sample ``first`` on: eq. (1) and (2), layer after layer."""
    number, n_layers, start = theta.dtype.type, layers.values.size, 0
    below = pointer_from(x, first * layers.sizes[0], theta)
    for k in range(n_layers):
        i, j = layers.sizes[k], layers.sizes[k + 1]
        y = pointer_into(rooms, (room + k % 2) * rooms.shape[1])
        if k == n_layers - 1:
            y = pointer_from(outputs, first * j, theta)
        w, kept = pointer_into(theta, start), 1.0 if layers.bias else 0.0
        start += i * j
        if layers.bias:
            set_rows(y, b, j, pointer_into(theta, start))
            start += j
        multiply(layers.gemm, b, j, i, below, AS_IS, i, w, AS_IS, j, number, kept, y, j)
        call(layers.values[k], (layers.parameters[k], b, j, y, y))
        below = y


def compiled_outputs(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Compute the outputs of one network: ``(b, j)`` from ``theta`` (P,) and ``x`` (b, i) of the same precision."""
    theta, n_outputs = np.ascontiguousarray(theta), network.sizes[-1]
    n_threads = max(1, min(threads_allowed(), -(-len(x) // PART)))
    rooms = np.empty((2 * n_threads, PART * max(network.sizes[1:])), theta.dtype)
    crew = Crew(n_threads, _pass_samples, layers_of(network, str(theta.dtype)), theta, rooms)
    outputs = np.empty((len(x), n_outputs), theta.dtype)
    for start in range(0, len(x), AT_ONCE):
        samples = np.ascontiguousarray(x[start : start + AT_ONCE])
        crew.run((len(samples), samples.ctypes.data, outputs[start:].ctypes.data))
    return outputs
