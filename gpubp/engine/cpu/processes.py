"""Steps in the compiled engine that several processes take together, as ``engine/plain/step.py`` takes them."""

from collections.abc import Callable

import numpy as np

from gpubp.engine.cpu.structures import GRADIENT, UPDATE, Request, address
from gpubp.engine.plain.step import EpochResult, Objective


class SharedSteps:
    """Takes steps one at a time, with the sums over the samples of all processes.

    What is exchanged, and in which order, is the same as on the plain path, which other processes may be on.

    Parameters
    ----------
    objective : Objective
    values, weights : (..., n_steps) arrays
        Where the engine writes the values and the total weights of steps.
    dtype : numpy.dtype
    weighted : bool
        Whether samples have weights.
    same_weights : bool
        Whether all networks of a stack have the same.
    """

    def __init__(
        self,
        objective: Objective,
        values: np.ndarray,
        weights: np.ndarray,
        dtype: np.dtype,
        *,
        weighted: bool,
        same_weights: bool,
    ) -> None:
        self.objective, self.values, self.weights = objective, values, weights
        self.weighted, self.dtype = weighted, dtype
        n_networks, n_steps = values.size // values.shape[-1], values.shape[-1]
        self.n_weights = 1 if same_weights or not weighted else n_networks
        self.own_weights = np.empty((self.n_weights, n_steps))
        self.end_of_gradient = n_networks * objective.network.n_parameters
        self.end_of_values = self.end_of_gradient + n_networks
        self.sums = np.empty(self.end_of_values + self.n_weights, dtype)

    def run(self, call: Callable[[Request], None], request: Request) -> None:
        """Take the steps of a request, by calls for each phase of each."""
        request.gradient = address(self.sums)
        for step in range(request.begin, request.end):
            request.begin, request.end, request.phase = step, step + 1, GRADIENT
            call(request)
            request.start = None
            self._add_those_of_others(step)
            request.phase = UPDATE
            call(request)

    def _add_those_of_others(self, step: int) -> None:
        values, weights = self.values[..., step], self.weights[..., step]
        own_weights = self.own_weights[:, step]
        own_weights[...] = np.reshape(weights, -1)[: self.n_weights]
        self.sums[self.end_of_gradient : self.end_of_values] = np.reshape(values, -1)
        self.sums[self.end_of_values :] = own_weights
        sums = self.objective.processes.all_reduce(self.sums)
        if sums is not self.sums:
            self.sums[...] = sums
        weights[...] = np.resize(self.sums[self.end_of_values :], weights.shape)
        values[...] = np.reshape(self.sums[self.end_of_gradient : self.end_of_values], values.shape)
        if self.objective.reduction == "mean":  # a batch whose weights sum to 0 has no effect
            values *= np.divide(1.0, weights, out=np.zeros_like(weights), where=weights != 0.0)

    def result(self, result: EpochResult) -> EpochResult:
        """Return the result of an epoch with the weights and the numbers of samples of all processes."""
        processes, weights = self.objective.processes, self.own_weights
        weights = weights[0] if result.weights.ndim == 1 else weights.T
        if self.weighted:
            weights = weights.astype(self.dtype)
        sizes = [processes.shard(size) for size in result.sizes.tolist()]
        own_sizes = np.asarray([shard.stop - shard.start for shard in sizes])
        return result._replace(weights=processes.all_reduce(weights), sizes=processes.all_reduce(own_sizes))
