"""The solver "lbfgs": SciPy's L-BFGS-B on the objective of all samples at once, called as scikit-learn calls it."""

from typing import Any, cast

import numpy as np
import scipy
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

from gpubp._core.user_warnings import warn
from gpubp._typing import Array
from gpubp.backends.backend import to_backend, to_numpy
from gpubp.engine.cpu.arrays_in_turn import ArraysInTurn
from gpubp.engine.epoch import make_objective
from gpubp.engine.plain.step import Objective
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._samples import TrainingSamples


def fit_lbfgs(samples: TrainingSamples, theta: Array, monitor: FitMonitor) -> tuple[np.ndarray, str]:
    """Minimize from ``theta``; return the best parameters, on the host, and why the fit ended."""
    network, options, state = monitor.fit.network, monitor.fit.options, monitor.fit.state
    backend, precision, n_samples = samples.backend, samples.precision, samples.n_samples
    shard = samples.processes.shard(n_samples)
    objective = Objective(network, "mean", options.alpha, processes=samples.processes)
    evaluate = make_objective(backend, objective, precision, samples.batch(slice(shard.start, shard.stop)))

    latest: dict[str, Any] = {"theta": to_numpy(theta), "loss": np.nan}
    thetas = ArraysInTurn(theta.shape, precision)

    def value(theta: np.ndarray) -> float:
        monitor.task.begin_epoch()
        value, gradient = evaluate(to_backend(backend, theta, precision))
        latest["gradient"] = to_numpy(gradient).astype(np.float64, copy=False)
        return float(value)

    def gradient(_: np.ndarray) -> np.ndarray:
        # SciPy asks for it after the value; with both from one function it would compare all parameters first
        return cast(np.ndarray, latest["gradient"])

    def after_iteration(intermediate_result: Any) -> None:
        latest["theta"], latest["loss"] = thetas.next(), float(intermediate_result.fun)
        latest["theta"][...] = intermediate_result.x
        if monitor.follow_iteration(to_backend(backend, latest["theta"]), latest["loss"]):
            raise StopIteration

    settings: dict[str, Any] = {"maxfun": options.max_fun, "maxiter": options.max_iter, "gtol": options.tol}
    if parse_version(scipy.__version__) < parse_version("1.15"):
        settings["iprint"] = 1 if options.verbose is True or options.verbose >= 1 else -1
    state.n_iter = 0
    try:
        result = scipy.optimize.minimize(
            value,
            latest["theta"],
            method="L-BFGS-B",
            jac=gradient,
            options=settings,
            callback=after_iteration,
        )
    except KeyboardInterrupt:
        if samples.processes.world_size > 1:  # the other processes are not interrupted
            raise
        state.loss = latest["loss"]
        return latest["theta"], "interrupted"
    state.loss = result.fun
    best_theta = result.x.astype(precision, copy=False)
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
