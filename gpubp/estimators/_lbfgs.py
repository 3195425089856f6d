"""The solver "lbfgs": SciPy's L-BFGS-B on the objective of all samples at once, called as scikit-learn calls it."""

from typing import Any

import numpy as np
import scipy
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import to_backend, to_numpy
from gpubp.distributed.process_group import sum_over_ranks
from gpubp.engine.plain.step import Objective, objective_and_gradient
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._samples import TrainingSamples


def fit_lbfgs(samples: TrainingSamples, theta: Array, monitor: FitMonitor) -> tuple[np.ndarray, str]:
    """Minimize from ``theta``; return the best parameters, on the host, and why the fit ended."""
    network, options, state = monitor.fit.network, monitor.fit.options, monitor.fit.state
    backend, precision, n_samples = samples.backend, samples.precision, samples.n_samples
    mask = network.weight_mask()
    mask_on_device = to_backend(backend, mask, precision)
    # scikit-learn packs all weights before all biases; the same order gives the same rounding
    packing_order = np.concatenate([np.flatnonzero(mask), np.flatnonzero(mask == 0.0)])
    weights = samples.sample_weight
    total = float(n_samples) if weights is None else float(backend.xp.sum(weights))
    shard = samples.processes.shard(n_samples)
    rows = slice(shard.start, shard.stop)
    # the penalty is added once
    shard_objective = Objective(network, "sum", l2=float(options.alpha) if samples.processes.rank == 0 else 0.0)

    def unpack(packed: np.ndarray) -> np.ndarray:
        unpacked = np.empty_like(packed)
        unpacked[packing_order] = packed
        return unpacked

    def objective(packed: np.ndarray) -> tuple[float, np.ndarray]:
        monitor.task.begin_epoch()
        theta_on_device = to_backend(backend, unpack(packed), precision)
        E, dE_dtheta = objective_and_gradient(
            backend.xp, shard_objective, mask_on_device, theta_on_device, samples.batch(rows)
        )
        gradient, value = sum_over_ranks(np, samples.processes, to_numpy(dE_dtheta).astype("float64"), float(E))
        return float(value) / total, gradient[packing_order] / total

    latest = {"x": to_numpy(theta).astype("float64")[packing_order], "fun": np.nan}

    def after_iteration(intermediate_result: Any) -> None:
        latest.update(x=intermediate_result.x.copy(), fun=float(intermediate_result.fun))
        if monitor.follow_iteration(to_backend(backend, unpack(latest["x"]), precision), latest["fun"]):
            raise StopIteration

    settings: dict[str, Any] = {"maxfun": options.max_fun, "maxiter": options.max_iter, "gtol": options.tol}
    if parse_version(scipy.__version__) < parse_version("1.15"):
        settings["iprint"] = 1 if options.verbose is True or options.verbose >= 1 else -1
    state.n_iter = 0
    try:
        result = scipy.optimize.minimize(
            objective, latest["x"], method="L-BFGS-B", jac=True, options=settings, callback=after_iteration
        )
    except KeyboardInterrupt:
        if samples.processes.world_size > 1:  # the other processes are not interrupted
            raise
        state.loss = latest["fun"]
        return unpack(latest["x"]).astype(precision), "interrupted"
    state.loss = result.fun
    best_theta = unpack(result.x).astype(precision)
    if monitor.stop_reason:
        return best_theta, monitor.stop_reason
    state.n_iter = min(result.nit, options.max_iter)
    if result.status == 0:
        return best_theta, "converged"
    warn(_not_converged(result, state.n_iter, options.max_iter), ConvergenceWarning)
    return best_theta, "epochs"


def _not_converged(result: Any, n_iter: int, max_iter: int) -> str:
    """Write scikit-learn's message for a solver that stopped before it converged."""
    more = f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    return (
        f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}):\n{result.message}\n"
        f"{more if n_iter == max_iter else ''}\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html"
    )
