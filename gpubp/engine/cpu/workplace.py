"""Threads with memory for the steps on batches of one kind, and for their results."""

import ctypes
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gpubp.engine.cpu.structures import Functions, Plan, Request, address, new_memory
from gpubp.engine.cpu.thread_choice import ThreadChoice
from gpubp.engine.cpu.threads import Crew, threads_allowed
from gpubp.engine.plain.minibatches import ArrayBatches, PerNetworkBatches, divide_epoch
from gpubp.nn.network import Network

WORTH_A_THREAD = 2e6  # operations of a step for each thread, below which one more costs more than it brings
WORTH_MOVING = 512  # samples of an epoch, below which a share's columns of the first layer are not moved together
UNITS_OF_A_SHARE = 8  # in each hidden layer, at least


class Workplace:
    """Threads with memory for batches of one kind, and for the results of one epoch."""

    def __init__(self, kind: Any, plan: Plan, functions: Functions) -> None:
        self.kind, (self.size, self.stack, self.window, *_) = kind, kind
        self.plan, self.request = plan, Request()
        self.memory, plan.workspace = new_memory(functions.prepare(ctypes.addressof(plan)))
        functions.prepare(ctypes.addressof(plan))
        work = partial(functions.train, ctypes.addressof(plan), ctypes.addressof(self.request))
        self.crew, self.choice = Crew(plan.n_threads, work, functions.ask), ThreadChoice(plan.n_threads)
        self.steps_at_once = 1
        self._results: Results | None = None
        self._divided: Any = None

    def run(self, request: Request) -> None:
        """Do a request, which the threads read at a fixed address."""
        ctypes.memmove(ctypes.addressof(self.request), ctypes.addressof(request), ctypes.sizeof(Request))
        self.crew.run(self.choice.n_threads)

    def calls(self, n_steps: int) -> Iterator[tuple[int, int]]:
        """Divide steps into calls, so that Python sees in time whether Ctrl-C was pressed or a core is busy."""
        begin = 0
        while begin < n_steps:
            end, start = min(begin + self.steps_at_once, n_steps), time.perf_counter()
            yield begin, end
            seconds = time.perf_counter() - start
            self.choice.note(end - begin, seconds, self._at_work(seconds))
            self.steps_at_once = max(1, int(self.choice.seconds * (end - begin) / seconds))
            begin = end

    def _at_work(self, seconds: float) -> float:
        """Return how many threads that never wait would have taken as long for the last call.

        The shares of a network are equal, so a thread that waits has had time for more; in a stack, whichever thread
        has time takes the next network.
        """
        n_threads, waited = self.choice.n_threads, self.crew.waits() / seconds
        return float(n_threads - waited.sum() if self.stack else n_threads * (1.0 - waited.max()))

    def divide(self, batches: ArrayBatches | PerNetworkBatches) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of each step, and the part of the epoch before it; kept for equal batches."""
        n_samples = batches.n_samples
        requested = (np.asarray(n_samples).tobytes(), batches.fraction_done, batches.fraction)
        if self._divided is None or self._divided[0] != requested:
            self._divided = requested, divide_epoch(n_samples, self.size, *requested[1:])
        steps: tuple[np.ndarray, np.ndarray] = self._divided[1]
        return steps

    def results(self, n_steps: int) -> "Results":
        """Return arrays for the results of so many steps; those of the last epoch if it had as many."""
        if self._results is None or self._results.n_steps != n_steps:
            self._results = Results(n_steps, self.stack, self.plan.n_shares)
        return self._results


class Results:
    """What the steps of an epoch compute: see ``struct request`` in ``c/engine.h``."""

    def __init__(self, n_steps: int, stack: tuple[int, ...], n_shares: int) -> None:
        self.n_steps = n_steps
        self.values, self.weights = np.empty((*stack, n_steps)), np.empty((*stack, n_steps))
        self.squares = np.empty((*stack, n_steps, n_shares))
        self.finite = np.empty(stack or (n_shares,), np.int64)
        self.addresses = {
            "values": address(self.values),
            "sample_weights": address(self.weights),
            "squares": address(self.squares),
            "finite": address(self.finite),
        }


def threads_that_pay(network: Network, size: int, stack: tuple[int, ...]) -> int:
    """Count the threads that pay for steps on ``size`` samples.

    Threads that share a network need some units each of every hidden layer; softmax needs them all.
    """
    n_threads = min(threads_allowed(), int(6.0 * size * network.n_parameters * math.prod(stack) / WORTH_A_THREAD))
    if stack:
        return max(1, min(n_threads, *stack))
    sizes = network.sizes[1:-1]
    if not sizes or any(name.startswith("softmax") for name in network.activation):
        return 1
    return max(1, min(n_threads, *(n_units // UNITS_OF_A_SHARE for n_units in sizes)))
