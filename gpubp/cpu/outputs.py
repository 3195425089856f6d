"""The pass forward: one layer of it, and all of it for many cases."""

from functools import partial
from typing import NamedTuple

import numpy as np

from gpubp.cpu.compiling import compiled
from gpubp.cpu.layers import unit_value
from gpubp.cpu.native import AS_IS, GEMM, address_of, call, multiply, pointer_to
from gpubp.cpu.threads import Crew, threads_allowed
from gpubp.network import Network

PART = 256
"""Cases that pass forward together: few enough for what they leave behind to stay in the cache."""


AT_ONCE = 128 * PART
"""Cases that are done before Python looks whether Ctrl-C was pressed."""


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
def pass_layer(layers, k, start, theta, n_cases, below, total, y):
    """Set the total inputs, eq. (1), and the outputs, eq. (2), of layer k; give where the next one starts in theta."""
    i, j = layers.sizes[k], layers.sizes[k + 1]
    w, kept = theta[start : start + i * j], 0.0
    start += i * j
    if layers.bias:
        kept = 1.0
        for c in range(n_cases):
            for unit in range(j):
                total[c * j + unit] = theta[start + unit]
        start += j
    multiply(layers.gemm, n_cases, j, i, below, AS_IS, i, w, AS_IS, j, kept, total, j)
    if layers.values[k]:
        call(layers.values[k], (layers.parameters[k], n_cases, j, total, y))
    return start


@compiled
def _pass_cases(thread, n_threads, barrier, layers, theta, x, n_cases, rooms, outputs):
    """Pass every so many parts of the cases forward; x is an address, rooms are (n_threads, 2, PART * widest layer)."""
    sizes, n_layers, item = layers.sizes, layers.values.size, theta.itemsize
    for first in range(thread * PART, n_cases, n_threads * PART):
        b = min(PART, n_cases - first)
        below, start = pointer_to(x + first * sizes[0] * item, theta), 0
        for k in range(n_layers):
            j = sizes[k + 1]
            y = rooms[thread, k % 2, : b * j] if k < n_layers - 1 else outputs[first * j : (first + b) * j]
            start = pass_layer(layers, k, start, theta, b, below, y, y)
            below = pointer_to(address_of(y), theta)


def compiled_outputs(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Compute the outputs of one network: ``(b, j)`` from ``theta`` (P,) and ``x`` (b, i) of the same precision."""
    theta, room = np.ascontiguousarray(theta), partial(np.empty, dtype=theta.dtype)
    crew = Crew(max(1, min(threads_allowed(), -(-len(x) // PART))))
    layers = layers_of(network, str(theta.dtype))
    outputs = room(len(x) * network.sizes[-1])
    rooms = room((crew.n_threads, 2, PART * max(network.sizes[1:])))
    for start in range(0, len(x), AT_ONCE):
        cases = np.ascontiguousarray(x[start : start + AT_ONCE])
        y = outputs[start * network.sizes[-1] :][: len(cases) * network.sizes[-1]]
        crew.run(_pass_cases, layers, theta, cases.ctypes.data, len(cases), rooms, y)
    return outputs.reshape(len(x), -1)
