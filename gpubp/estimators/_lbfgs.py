"""The solver "lbfgs": SciPy's L-BFGS-B on the objective of all samples at once, called as scikit-learn calls it."""

from itertools import pairwise
from typing import Any

import numpy as np
import scipy
import scipy.optimize
from scipy.linalg.blas import daxpy
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import to_backend, to_numpy
from gpubp.distributed.process_group import sum_over_ranks
from gpubp.engine.epoch import make_loss_and_gradient
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._samples import TrainingSamples


def fit_lbfgs(samples: TrainingSamples, theta: Array, monitor: FitMonitor) -> tuple[np.ndarray, str]:
    """Minimize from ``theta``; return the best parameters, on the host, and why the fit ended."""
    network, options, state = monitor.fit.network, monitor.fit.options, monitor.fit.state
    backend, precision, n_samples = samples.backend, samples.precision, samples.n_samples
    weights = samples.sample_weight
    total = float(n_samples) if weights is None else float(backend.xp.sum(weights))
    shard = samples.processes.shard(n_samples)
    batch = samples.batch(slice(shard.start, shard.stop))
    loss_and_gradient = make_loss_and_gradient(backend, network, precision, batch)
    weight_mask = network.weight_mask()
    places, n_weights = _packing(weight_mask), np.count_nonzero(weight_mask)
    present = np.empty(theta.shape[0], precision)  # the parameters of every evaluation, in the same memory

    def pack(array: np.ndarray) -> np.ndarray:
        packed = np.empty(array.size)
        for of_theta, of_packed in places:
            packed[of_packed] = array[of_theta]
        return packed

    def unpack(packed: np.ndarray, unpacked: np.ndarray) -> np.ndarray:
        for of_theta, of_packed in places:
            unpacked[of_theta] = packed[of_packed]
        return unpacked

    def objective(packed: np.ndarray) -> tuple[float, np.ndarray]:
        monitor.task.begin_epoch()
        E, dE_dtheta = loss_and_gradient(to_backend(backend, unpack(packed, present)))
        gradient, value = sum_over_ranks(np, samples.processes, pack(to_numpy(dE_dtheta)), float(E))
        if options.alpha:
            penalised = packed[:n_weights]
            daxpy(penalised, gradient[:n_weights], a=options.alpha)  # in place, in one pass over memory
            value += 0.5 * options.alpha * penalised.dot(penalised)
        gradient /= total
        return float(value) / total, gradient

    latest: dict[str, Any] = {"theta": to_numpy(theta), "loss": np.nan}

    def after_iteration(intermediate_result: Any) -> None:
        x, loss = intermediate_result.x, float(intermediate_result.fun)
        latest.update(theta=unpack(x, np.empty(x.size, precision)), loss=loss)
        if monitor.follow_iteration(to_backend(backend, latest["theta"]), loss):
            raise StopIteration

    settings: dict[str, Any] = {"maxfun": options.max_fun, "maxiter": options.max_iter, "gtol": options.tol}
    if parse_version(scipy.__version__) < parse_version("1.15"):
        settings["iprint"] = 1 if options.verbose is True or options.verbose >= 1 else -1
    state.n_iter = 0
    try:
        result = scipy.optimize.minimize(
            objective, pack(latest["theta"]), method="L-BFGS-B", jac=True, options=settings, callback=after_iteration
        )
    except KeyboardInterrupt:
        if samples.processes.world_size > 1:  # the other processes are not interrupted
            raise
        state.loss = latest["loss"]
        return latest["theta"], "interrupted"
    state.loss = result.fun
    best_theta = unpack(result.x, present)
    if monitor.stop_reason:
        return best_theta, monitor.stop_reason
    state.n_iter = min(result.nit, options.max_iter)
    if result.status == 0:
        return best_theta, "converged"
    warn(_not_converged(result, state.n_iter, options.max_iter), ConvergenceWarning)
    return best_theta, "epochs"


def _packing(weight_mask: np.ndarray) -> list[tuple[slice, slice]]:
    """Return which slices of the parameters are which of a vector with all weights before all biases.

    scikit-learn packs them so; the same order gives the same rounding.
    """
    edges = [0, *(np.flatnonzero(np.diff(weight_mask)) + 1).tolist(), weight_mask.size]
    runs = sorted(pairwise(edges), key=lambda run: weight_mask[run[0]] == 0.0)
    ends = np.cumsum([0, *(stop - start for start, stop in runs)]).tolist()
    return [(slice(*run), slice(*packed)) for run, packed in zip(runs, pairwise(ends), strict=True)]


def _not_converged(result: Any, n_iter: int, max_iter: int) -> str:
    """Write scikit-learn's message for a solver that stopped before it converged."""
    more = f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    return (
        f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}):\n{result.message}\n"
        f"{more if n_iter == max_iter else ''}\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html"
    )
