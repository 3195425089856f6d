"""An objective on all samples, and its gradient, on a CUDA device: one launch of a graph."""

from functools import partial
from typing import Any

from gpubp._typing import Array
from gpubp.engine.cuda.graphs import CudaGraphs
from gpubp.engine.cuda.namespace import CapturableNamespace
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective, objective_and_gradient


class CudaObjective:
    """Computes an objective on samples, and its gradient ``(P,)``, at parameters ``(P,)``.

    :func:`gpubp.engine.plain.step.objective_and_gradient` as a graph: it reads the parameters at one place, and leaves
    its results at others.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or an object with the same methods.
    weight_mask : (P,) array
        1 for weights, 0 for biases.
    """

    def __init__(self, device: Any, objective: Objective, weight_mask: Array, dtype: str, samples: Batch) -> None:
        self.device = device
        with device.active():
            self.theta, self.gradient = (device.empty(weight_mask.shape, dtype) for _ in range(2))
            self.value = device.empty((), dtype)
            self.xp, self.graphs = CapturableNamespace(device, self.theta, dtype), CudaGraphs(device)
        self.evaluate = partial(objective_and_gradient, self.xp, objective, weight_mask, self.theta, samples)

    def __call__(self, theta: Array) -> tuple[Array, Array]:
        """Compute both, without waiting."""
        with self.device.active():
            self.device.copy(theta, self.theta)
            self.graphs.run("evaluation", partial(self.xp.compute, self._compute))
        return self.device.copy(self.value), self.device.copy(self.gradient)  # on the caller's stream

    def _compute(self) -> None:
        self.value[...], self.gradient[...] = self.evaluate()
