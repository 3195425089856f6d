"""The summed loss of all samples and its gradient in the compiled engine, part after part of the samples."""

import numpy as np

from gpubp.backends.backend import Backend
from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.cpu import library
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
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState
from gpubp.engine.pointer_checks import check_array, check_epoch
from gpubp.nn.network import Network

BYTES_OF_A_PART = 1 << 20
"""What the layers of a part have, total inputs, outputs and signals: about what the cache of a core holds."""

LEAST_OF_A_PART = 384
"""Samples of a part, at least: fewer make narrow products."""


def engine_gradient(backend: Backend, network: Network, dtype: str, samples: Batch) -> "EngineGradient | None":
    """Bind a network to samples; None if the engine lacks something that it needs."""
    functions = functions_of(dtype)
    plan = network_plan(network, functions, library.gemm(dtype))
    if not samples.x.shape[0] or plan is None or network.tied is not None or not set_loss(plan, network, functions):
        return None
    if is_sparse(samples.x) and any(below == 0 for below, _ in network.skips):
        return None
    return EngineGradient(backend, network, dtype, samples, functions, plan)


class EngineGradient:
    """Computes the summed loss of samples, and its gradient ``(P,)``, at parameters ``(P,)``.

    The gradient is in memory that the next call uses again.
    """

    def __init__(
        self, backend: Backend, network: Network, dtype: str, samples: Batch, functions: Functions, plan: Plan
    ) -> None:
        n_samples, bytes_of_sample = samples.x.shape[0], 3 * sum(network.sizes[1:]) * np.dtype(dtype).itemsize
        size = min(n_samples, LIMIT_OF_BLAS - 1, max(LEAST_OF_A_PART, BYTES_OF_A_PART // bytes_of_sample))
        self.gradient = np.zeros(network.n_parameters, dtype)
        check_epoch(network, self.gradient.dtype, ModelState(self.gradient, None), ArrayBatches(backend, samples, size))
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
            gradient=address(self.gradient),
        )

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute both; the losses are added in double precision."""
        check_array("theta", theta, self.gradient.shape, self.gradient.dtype)
        theta = in_rows(theta)
        self.request.theta = address(theta)
        for begin, end in self.place.calls(self.request.n_steps):
            self.request.begin, self.request.end = begin, end
            self.place.run(self.request)
        return float(self.results.values.sum()), self.gradient
