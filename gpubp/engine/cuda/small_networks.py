"""Small networks on a CUDA device: one block of threads takes all steps of a network, over many epochs, in one launch.

The parameters, outputs and derivatives stay in the block's shared memory. A stack has one block per network.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import BatchPlan, StepSpec, stride
from gpubp.engine.cuda.kernels.products import MAX_THREADS, threads_of_block
from gpubp.engine.cuda.kernels.small_networks import numbers_in_shared_memory, small_network_source
from gpubp.engine.cuda.step_arrays import StepArrays
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network

OPERATIONS_PER_LAUNCH = 5e9  # of a block: between two launches Python handles Ctrl-C
CONCURRENT_BLOCKS = 100  # about
RESERVED = 1 << 10  # bytes of a multiprocessor's shared memory that CUDA takes for each block


def shared_memory(network: Network, size: int, spec: StepSpec, drops: tuple[bool, ...] = ()) -> int:
    """Count the bytes of shared memory that a network needs for steps of ``size`` samples."""
    n_numbers = numbers_in_shared_memory(network, size, clipped=spec.clipped, drops=drops)
    return int(n_numbers * np.dtype(spec.dtype).itemsize)


def threads_of_each(device: Any, threads: int, n_bytes: int, n_networks: int) -> int:
    """Return how many of the threads that a network can use it gets, if it needs ``n_bytes`` of shared memory.

    If there are more networks than multiprocessors, and two have room in the shared memory of one, a network gets no
    more threads than leave registers for the other: while one waits at a barrier or for memory, the other computes.
    """
    two_fit = 2 * (n_bytes + RESERVED) <= device.shared_memory_of_multiprocessor
    return min(threads, MAX_THREADS // 2) if two_fit and n_networks > device.multiprocessors else threads


class SmallNetworkSteps(StepArrays):
    """Arrays on a device for the steps of some small networks, and their launches."""

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        super().__init__(device, spec, stack, samples, plan)
        self.shared_memory = shared_memory(self.network, plan.size, spec, plan.drops)
        weighted = samples.sample_weight is not None
        source = small_network_source(
            spec.objective,
            spec.update,
            spec.dtype,
            weighted=weighted,
            clipped=spec.clipped,
            drops=plan.drops,
            size=plan.size,
        )
        threads = threads_of_block(self.network, plan.size, spec.dtype)
        self.threads = threads_of_each(device, threads, self.shared_memory, self.n_networks)
        self.kernel = device.kernels(source)["take_steps"]
        self.results: Array | None = None

    def launches(self) -> Iterator[int]:
        """Take the steps of the epochs in launches that do not take long; yield the number of steps of each."""
        if self.results is None or len(self.results) < 2 * self.n_steps + 1:
            self.results = self.device.empty((2 * self.n_steps + 1, self.n_networks), "float64")
        operations = 6.0 * self.plan.size * self.n_parameters * max(1.0, self.n_networks / CONCURRENT_BLOCKS)
        per_launch = max(1, int(OPERATIONS_PER_LAUNCH / operations))
        x, targets, weights, *_ = self.samples
        samples = (x, stride(x, 2), targets, stride(targets, 2), weights)
        changed = (self.results, self.thetas, *self.parts)
        for begin in range(0, self.n_steps, per_launch):
            end = min(begin + per_launch, self.n_steps)
            counts = (begin, end, self.n_steps, self.plan.size, *self.network.sizes, *self.order_in_c)
            arguments = (*counts, *samples, *self.settings_in_c, *changed, *self.factors, *self.dropout_in_c)
            self.device.launch(self.kernel, self.n_networks, self.threads, self.shared_memory, *arguments)
            yield end - begin

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; return the values and weights of the steps, and whether all parameters are finite."""
        n = self.n_steps
        assert self.results is not None
        results = np.reshape(self.device.download(self.results[: 2 * n + 1]), (-1, *self.stack))
        return results[:n], self.shared_weights(results[n : 2 * n]), results[-1] == 0.0
