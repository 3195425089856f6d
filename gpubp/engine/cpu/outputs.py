"""Outputs of a network in the compiled engine."""

import ctypes
import weakref
from collections.abc import Callable
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
_ALONE_AT = address(_ALONE)


class Prepared(NamedTuple):
    """A plan for the outputs of a network, without memory for them, and places for one sample that are free."""

    plan: Plan
    functions: Functions
    bytes_per_sample: int
    places: "list[PlaceOfOne]"


class Place:
    """A plan with memory for ``n_threads`` threads, which pass ``batch`` samples each forward at a time."""

    def __init__(self, prepared: Prepared, n_threads: int, batch: int) -> None:
        self.samples, self.plan = Samples(), Plan.from_buffer_copy(prepared.plan)
        self.plan.batch = batch
        self.memory, self.plan.workspace = new_memory(n_threads * (batch * prepared.bytes_per_sample + 128))
        addresses = ctypes.addressof(self.plan), ctypes.addressof(self.samples)
        self.work = partial(prepared.functions.outputs, *addresses)


class PlaceOfOne(Place):
    """A place for one sample, which is copied: to find out where an array is takes longer."""

    def __init__(self, prepared: Prepared, network: Network, dtype: np.dtype) -> None:
        super().__init__(prepared, 1, 1)
        self.x, self.outputs = np.empty((1, network.sizes[0]), dtype), np.empty((1, network.sizes[-1]), dtype)
        self.samples.n, self.samples.x, self.samples.outputs = 1, address(self.x), address(self.outputs)
        self.last_theta: Callable[[], np.ndarray | None] = lambda: None

    def compute(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Compute the outputs: no product is left to BLAS, whose threads need no limit then."""
        if self.last_theta() is not theta:
            theta = in_rows(theta)
            self.samples.theta, self.last_theta = address(theta), weakref.ref(theta)
        self.x[...] = x
        self.work(_ALONE_AT, 0)
        return self.outputs.copy()


def engine_outputs(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """Compute the outputs of one network: ``(b, j)`` from ``theta`` (P,) and ``x`` (b, i) of the same precision.

    None if an activation is not in the library.
    """
    # the hash of a network with ties takes as long as its outputs
    prepared = (_prepare if network.ties is None else _prepare.__wrapped__)(network, theta.dtype)
    if prepared is None:
        return None
    if (n_samples := len(x)) == 1:
        return _outputs_of_one(prepared, network, theta, x)
    theta, outputs = in_rows(theta), np.empty((n_samples, network.sizes[-1]), theta.dtype)
    n_threads = max(1, min(threads_allowed(), -(-n_samples // PART)))
    place = Place(prepared, n_threads, min(n_samples, PART))
    samples, crew = place.samples, Crew(n_threads, place.work, prepared.functions.ask)
    samples.theta = address(theta)
    for start in range(0, n_samples, AT_ONCE):
        rows = in_rows(x[start : start + AT_ONCE])
        samples.n, samples.x, samples.outputs = len(rows), address(rows), address(outputs[start:])
        crew.run()
    return outputs


def _outputs_of_one(prepared: Prepared, network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    try:
        place = prepared.places.pop()  # several threads may ask at the same time
    except IndexError:
        place = PlaceOfOne(prepared, network, theta.dtype)
    outputs = place.compute(theta, x)
    prepared.places.append(place)
    return outputs


@lru_cache(maxsize=64)
def _prepare(network: Network, dtype: np.dtype) -> Prepared | None:
    functions = functions_of(dtype.name)
    plan = network_plan(network, functions, library.gemm(dtype.name))
    if plan is None:
        return None
    return Prepared(plan, functions, sum(network.sizes[1:-1]) * dtype.itemsize, [])
