"""Small networks on a CUDA device: one block of threads takes all steps of a network, over many epochs, in one launch.

The parameters, outputs and derivatives stay in the block's shared memory. A stack has one block per network.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.kernels.small_networks import small_network_source
from gpubp.engine.cuda.steps import NDIM, THREADS, BatchPlan, StepSpec, shared_weights, stride
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network

OPERATIONS_PER_LAUNCH = 5e9  # of a block: between two launches Python handles Ctrl-C
CONCURRENT_BLOCKS = 100  # about


def shared_memory(network: Network, size: int, dtype: str) -> int:
    """Count the bytes of shared memory that a network needs for steps of ``size`` samples."""
    n_inputs, *layer_sizes, n_outputs = network.sizes
    per_sample = n_inputs + 2 * sum(layer_sizes) + n_outputs + 1
    return int((THREADS + network.n_parameters + size * per_sample) * np.dtype(dtype).itemsize)


class SmallNetworkSteps:
    """Arrays on a device for the steps of some small networks, and their launches.

    It has the attributes and methods of :class:`gpubp.engine.cuda.steps.LayerwiseSteps`; ``thetas`` and ``parts`` are
    ``(..., P)``.
    """

    transfer = None

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        self.device, self.spec, self.stack, self.samples, self.plan = device, spec, stack, samples, plan
        network, update, dtype = spec.objective.network, spec.update, spec.dtype
        self.n_networks, self.n_parameters = int(np.prod(stack, dtype=int)), network.n_parameters
        self.thetas = device.empty((*stack, self.n_parameters), dtype)
        self.parts = [device.empty((*stack, self.n_parameters), dtype) for _ in update.parts]
        self.factors = spec.factors_on(device)
        self.order, self.max_steps = device.empty((plan.n_samples,), "int32"), 0
        self.settings: Array
        self.shared_memory = shared_memory(network, plan.size, dtype)
        source = small_network_source(spec.objective, update, dtype, weighted=samples.sample_weight is not None)
        self.kernel = device.kernels(source)["take_steps"]

    def allocate(self, n_epochs: int, n_settings: int) -> None:
        """Allocate for the steps of some epochs, with settings for ``n_settings`` networks, or 1 for all."""
        self.n_steps = n_epochs * self.plan.n_steps
        if self.n_steps > self.max_steps or self.settings.shape[1] != n_settings:
            self.max_steps = max(self.n_steps, self.max_steps)
            shape = (self.max_steps, n_settings, len(self.spec.update.settings))
            self.settings = self.device.empty(shape, self.spec.dtype)
            self.results = self.device.empty((2 * self.max_steps + 1, self.n_networks), "float64")

    def launches(self) -> Iterator[int]:
        """Take the steps of the epochs in launches that do not take long; yield the number of steps of each."""
        plan, n_samples, n_steps = self.plan, self.plan.n_samples, self.n_steps
        operations = 6.0 * plan.size * self.n_parameters * max(1.0, self.n_networks / CONCURRENT_BLOCKS)
        per_launch = max(1, int(OPERATIONS_PER_LAUNCH / operations))
        arrays = [(array, stride(array, ndim)) for array, ndim in zip(self.samples[:3], NDIM, strict=True)]
        n_rows, n_settings = self.settings.shape[1:]
        settings = (self.settings, n_rows * n_settings, n_settings if n_rows > 1 else 0)
        l2 = np.dtype(self.spec.dtype).type(self.spec.objective.l2)
        for begin in range(0, n_steps, per_launch):
            end = min(begin + per_launch, n_steps)
            counts = (begin, end, n_steps, plan.size, n_samples, self.order)
            changed = (self.results, self.thetas, *self.parts)
            arguments = (*counts, *chain(*arrays), *settings, l2, *changed, *self.factors)
            self.device.launch(self.kernel, self.n_networks, THREADS, self.shared_memory, *arguments)
            yield end - begin

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the device; return the values and weights of the steps, and whether all parameters are finite."""
        n = self.n_steps
        results = np.reshape(self.device.download(self.results[: 2 * n + 1]), (-1, *self.stack))
        weights = results[n : 2 * n]
        return results[:n], shared_weights(weights, self.samples) if self.stack else weights, results[-1] == 0.0
