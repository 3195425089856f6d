"""The stochastic solvers: the optimizer of each name, its learning rate, and the state kept between two calls."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.estimators._options import FitOptions
from gpubp.optim.first_order import Optimizer, adam, adamw, check_values, lion, momentum, nesterov, rmsprop
from gpubp.optim.loss_scaling import LossScaleState, loss_scaled
from gpubp.optim.schedules import SCHEDULES, Schedule, WarmUp, first_value
from gpubp.optim.wrappers import clipped

MIN_ADAPTIVE_RATE = 1e-6  # training stops when an adaptive learning rate is below it


@dataclass
class LearningRate:
    """The learning rate of an estimator, called with the epochs done, like any schedule of an optimizer.

    scikit-learn's schedules depend on the samples seen or on the progress, rather than on the epochs: ``current`` is
    their current value. ``by_epoch`` is a schedule in epochs and takes precedence.
    """

    first: float
    schedule: str
    power: float
    current: float
    by_epoch: Schedule | None = None
    warm_up: float = 0.0

    def __call__(self, epoch: float) -> float:
        """Return the rate after this many epochs."""
        rate = self.current if self.by_epoch is None else float(self.by_epoch(epoch))
        return WarmUp(self.warm_up, rate)(epoch) if self.warm_up else rate

    @property
    def changes(self) -> bool:
        """Whether the rate changes."""
        return self.by_epoch is not None or self.warm_up > 0.0 or self.schedule != "constant"

    @property
    def follows_samples(self) -> bool:
        """Whether the rate depends on the number of samples seen."""
        return self.schedule == "invscaling"

    def after_epoch(self, n_seen: int) -> None:
        """Set the rate from the number of samples seen since the first fit."""
        if self.follows_samples:
            self.current = self.first / (n_seen + 1) ** self.power

    def when_stuck(self) -> str:
        """Shrink an adaptive rate and return a message about it; return "" if training should stop."""
        if self.schedule != "adaptive" or self.current <= MIN_ADAPTIVE_RATE:
            return ""
        self.current /= 5.0
        return f"Setting learning rate to {self.current:f}"


OPTIMIZER_OF: dict[str, Callable[[FitOptions, LearningRate | float], Optimizer]] = {
    "sgd": lambda options, rate: (nesterov if options.nesterovs_momentum else momentum)(rate, options.momentum),
    "momentum": lambda options, rate: momentum(rate, options.momentum),
    "adam": lambda options, rate: adam(rate, options.beta_1, options.beta_2, options.epsilon),
    "adamw": lambda options, rate: adamw(rate, options.beta_1, options.beta_2, options.epsilon, options.weight_decay),
    "rmsprop": lambda options, rate: rmsprop(rate, options.rho, options.epsilon),
    "lion": lambda options, rate: lion(rate, options.beta_1, options.beta_2, options.weight_decay),
}
"""The optimizer of each stochastic solver, from an estimator's parameters and its learning rate."""

SCHEDULED_BY_PROGRESS = ("sgd", "momentum")  # the solvers that use "invscaling" and "adaptive", as in scikit-learn


def learning_rate_of(options: FitOptions, n_seen: int) -> LearningRate:
    """Create the learning rate of an estimator that has seen `n_seen` samples."""
    first, requested = float(options.learning_rate_init), options.learning_rate
    by_epoch: Schedule | None = None
    schedule = "constant"
    if callable(requested):
        by_epoch = requested
        check_values("learning_rate", [first_value("learning_rate", requested)])
    elif requested in SCHEDULES:
        by_epoch = SCHEDULES[requested](first, options.max_iter)
    elif options.solver in SCHEDULED_BY_PROGRESS:
        schedule = str(requested)
    rate = LearningRate(first, schedule, options.power_t, first, by_epoch, float(options.warm_up))
    rate.after_epoch(n_seen)  # for a warm start
    return rate


def optimizer_of(options: FitOptions, rate: LearningRate) -> Optimizer:
    """Create the optimizer of an estimator."""
    optimizer = OPTIMIZER_OF[options.solver](options, rate if rate.changes else rate.first)
    if options.max_grad_norm is not None:
        optimizer = clipped(optimizer, float(options.max_grad_norm))
    return loss_scaled(optimizer) if options.matmul_precision == "float16" else optimizer


class OptimizerState(NamedTuple):
    """The state from which :meth:`partial_fit` continues; ``epochs`` are those done with the key of dropout."""

    solver: str
    rate: LearningRate
    state: Any = None
    epochs: int = 0
    dropout_key: int | None = None

    def on(self, backend: Backend | None, dtype: str) -> "OptimizerState":
        """Move the state's arrays to a backend, or with None to the host."""
        return self._replace(state=_move_arrays(self.state, backend, dtype))

    def check_fits(self, theta: np.ndarray) -> None:
        """Check that the state has the shape of the parameters, which the user may have replaced.

        Raises
        ------
        ValueError
            If an array of the state has another shape.
        """
        if others := {shape for shape in _shapes(self.state) if shape not in ((), theta.shape)}:
            raise ValueError(
                f"the state of solver={self.solver!r} has the shape {others.pop()}, but coefs_ and intercepts_ hold "
                f"{theta.size} parameters: give them the shapes that they had, or clone() and fit the model"
            )


def _shapes(part: Any) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of the arrays of an optimizer's state, or of a part of it."""
    for inner in part if isinstance(part, tuple) else ():
        yield from _shapes(inner)
    if hasattr(part, "shape"):
        yield tuple(part.shape)


def _move_arrays(part: Any, backend: Backend | None, dtype: str) -> Any:
    """Move the arrays of an optimizer's state, or of a part of it."""
    if isinstance(part, tuple):
        return type(part)(*(_move_arrays(inner, backend, dtype) for inner in part))
    if part is None or isinstance(part, int):
        return part
    return to_numpy(part) if backend is None else to_backend(backend, part, dtype)


def optimizer_state_of(
    options: FitOptions, before: OptimizerState | None, theta: np.ndarray, n_seen: int, incremental: bool
) -> OptimizerState:
    """Return the initial state of the optimizer: the previous state, if the solver is the same.

    Parameters
    ----------
    options : FitOptions
    before : OptimizerState, optional
        The state after the last call.
    theta : (P,) array
        The parameters from which to continue.
    n_seen : int
        Samples seen in all previous calls.
    incremental : bool
        Whether the learning rate and dropout continue too; a new fit starts its schedule again, with another key.

    Raises
    ------
    ValueError
        If the previous state does not fit the parameters.
    """
    scaled = before is not None and isinstance(before.state, LossScaleState)
    if before is None or before.solver != options.solver or scaled != (options.matmul_precision == "float16"):
        return OptimizerState(options.solver, learning_rate_of(options, n_seen))
    before.check_fits(theta)
    if incremental:
        return before
    return before._replace(rate=learning_rate_of(options, n_seen), epochs=0, dropout_key=None)
