"""An objective on all samples, and its gradient, in the compiled engine: part after part of the samples."""

import numpy as np

from gpubp.backends.backend import Backend
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.distributed.process_group import sum_over_ranks
from gpubp.engine.cpu import library
from gpubp.engine.cpu.arrays_in_turn import ArraysInTurn
from gpubp.engine.cpu.given import Given, sparse_bits
from gpubp.engine.cpu.structures import (
    GRADIENT,
    LIMIT_OF_BLAS,
    Functions,
    Plan,
    Request,
    address,
    functions_of,
    in_rows,
    network_plan,
    set_loss,
)
from gpubp.engine.cpu.workplace import Workplace, threads_that_pay
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, total_weight
from gpubp.engine.plain.step import ModelState, Objective, mean_factor
from gpubp.engine.pointer_checks import check_array, check_epoch

BYTES_OF_A_PART = 1 << 20
"""What the layers of a part have, total inputs, outputs and signals: about what the cache of a core holds."""

LEAST_OF_A_PART = 384
"""Samples of a part, at least: fewer make narrow products."""


ELEMENTS_IN_CACHE = 1 << 14
"""Parameters whose gradient the penalty and the mean change together."""


def engine_objective(backend: Backend, objective: Objective, dtype: str, samples: Batch) -> "EngineObjective | None":
    """Bind an objective to samples; None if the engine lacks something that it needs."""
    network, functions = objective.network, functions_of(dtype)
    plan = network_plan(network, functions, library.gemm(dtype))
    if not samples.x.shape[0] or plan is None or network.tied is not None or not set_loss(plan, network, functions):
        return None
    if is_sparse(samples.x) and any(below == 0 for below, _ in network.skips):
        return None
    return EngineObjective(backend, objective, dtype, samples, functions, plan)


class EngineObjective:
    """Computes an objective on samples, and its gradient ``(P,)``, at parameters ``(P,)``.

    The same as :func:`gpubp.engine.plain.step.objective_and_gradient`, with the loss in double precision.
    """

    def __init__(
        self, backend: Backend, objective: Objective, dtype: str, samples: Batch, functions: Functions, plan: Plan
    ) -> None:
        network = objective.network
        n_samples, bytes_of_sample = samples.x.shape[0], 3 * sum(network.sizes[1:]) * np.dtype(dtype).itemsize
        size = min(n_samples, LIMIT_OF_BLAS - 1, max(LEAST_OF_A_PART, BYTES_OF_A_PART // bytes_of_sample))
        self.objective, self.weight = objective, total_weight(np, samples)
        self.gradients = ArraysInTurn((network.n_parameters,), dtype)
        self.pieces = _pieces(objective)
        start = ModelState(self.gradients.next(), None)
        check_epoch(network, np.dtype(dtype), start, ArrayBatches(backend, samples, size))
        plan.n_processes = plan.n_parts = plan.n_teams = 1
        plan.batch, plan.weighted, plan.sparse = size, samples.sample_weight is not None, sparse_bits(samples.x)
        plan.n_shares = plan.n_threads = threads_that_pay(network, size, ())
        self.place = Workplace((size, (), 0), plan, functions)
        self.given = x, targets, weights = [Given(part) for part in samples[:3]]
        self.results = self.place.results(-(-n_samples // size))
        self.request = Request(
            n_networks=1,
            n_samples=n_samples,
            x=x.address,
            columns=x.columns,
            row_starts=x.row_starts,
            targets=targets.address,
            weights=weights.address,
            batch=size,
            n_steps=self.results.n_steps,
            **self.results.addresses,
            phase=GRADIENT,
        )

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute both."""
        gradient = self.gradients.next()
        check_array("theta", theta, gradient.shape, gradient.dtype)
        theta = in_rows(theta)
        self.request.theta, self.request.gradient = address(theta), address(gradient)
        for begin, end in self.place.calls(self.request.n_steps):
            self.request.begin, self.request.end = begin, end
            self.place.run(self.request)
        loss, processes = float(self.results.values.sum()), self.objective.processes
        gradient, loss, weight = sum_over_ranks(np, processes, gradient, loss, self.weight)
        l2, factor = self.objective.l2, mean_factor(np, self.objective, weight)
        squares = 0.0
        for piece, penalised in self.pieces:
            part = gradient[piece]
            if penalised:
                weights = theta[piece]
                part += l2 * weights
                in_double = weights.astype(np.float64, copy=False)
                squares += float(in_double.dot(in_double))
            if factor != 1.0:
                part *= factor
        return (float(loss) + 0.5 * l2 * squares) * float(factor), gradient


def _pieces(objective: Objective) -> list[tuple[slice, bool]]:
    """Divide the parameters into pieces that stay in the cache; with each, whether it is of weights with a penalty."""
    network, runs, start = objective.network, [], 0
    for rows, columns in network.shapes:
        biases, stop = start + (rows - network.bias) * columns, start + rows * columns
        runs += [(start, biases, objective.penalised), (biases, stop, False)]
        start = stop
    runs.append((start, network.n_parameters, False))  # the weights of activations
    return [
        (slice(begin, min(begin + ELEMENTS_IN_CACHE, stop)), penalised)
        for start, stop, penalised in runs
        for begin in range(start, stop, ELEMENTS_IN_CACHE)
    ]
