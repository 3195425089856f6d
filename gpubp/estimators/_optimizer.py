"""The stochastic solvers: the optimizer of each name, its learning rate, and the state kept between two calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.optim.first_order import (
    LossScaleState,
    Optimizer,
    adam,
    adamw,
    clipped,
    loss_scaled,
    momentum,
    nesterov,
    rmsprop,
)
from gpubp.optim.schedules import Cosine, Schedule, WarmUp

SMALLEST_RATE = 1e-6  # below which an adaptive learning rate stops the training


@dataclass
class LearningRate:
    """The learning rate of an estimator, called with the epochs done, as any schedule of an optimizer.

    scikit-learn's own schedules follow the samples seen, or the progress made, rather than the epochs: ``now`` is then
    the present value. ``by_epoch`` is a schedule in epochs, which goes before.
    """

    first: float
    schedule: str
    power: float
    now: float
    by_epoch: Schedule | None = None
    warm_up: float = 0.0

    def __call__(self, epoch: float) -> float:
        """Give the rate after so many epochs."""
        rate = self.now if self.by_epoch is None else float(self.by_epoch(epoch))
        return WarmUp(self.warm_up, rate)(epoch)

    @property
    def changes(self) -> bool:
        """Whether it is ever another than the first."""
        return self.by_epoch is not None or self.warm_up > 0.0 or self.schedule != "constant"

    @property
    def follows_samples(self) -> bool:
        """Whether it changes with the number of samples seen."""
        return self.schedule == "invscaling"

    def after_epoch(self, n_seen: int) -> None:
        """Follow the number of samples seen since the first fit."""
        if self.follows_samples:
            self.now = self.first / (n_seen + 1) ** self.power

    def when_stuck(self) -> str:
        """Become smaller where that may help; say what was done, and nothing where training should stop."""
        if self.schedule != "adaptive" or self.now <= SMALLEST_RATE:
            return ""
        self.now /= 5.0
        return f"Setting learning rate to {self.now:f}"


OPTIMIZER_OF: dict[str, Callable[[Any, LearningRate | float], Optimizer]] = {
    "sgd": lambda model, rate: (nesterov if model.nesterovs_momentum else momentum)(rate, model.momentum),
    "momentum": lambda model, rate: momentum(rate, model.momentum),
    "adam": lambda model, rate: adam(rate, model.beta_1, model.beta_2, model.epsilon),
    "adamw": lambda model, rate: adamw(rate, model.beta_1, model.beta_2, model.epsilon, model.weight_decay),
    "rmsprop": lambda model, rate: rmsprop(rate, model.rho, model.epsilon),
}
"""The optimizer of each stochastic solver, from an estimator's parameters and its learning rate."""

FOLLOW_PROGRESS = ("sgd", "momentum")  # the solvers that heed "invscaling" and "adaptive", as in scikit-learn


def learning_rate_of(model: Any) -> LearningRate:
    """Make the learning rate that an estimator's parameters ask for."""
    first, asked, by_epoch = float(model.learning_rate_init), model.learning_rate, None
    if callable(asked):
        by_epoch = asked
    elif asked == "cosine":
        by_epoch = Cosine(first, model.max_iter)
    schedule = asked if by_epoch is None and model.solver in FOLLOW_PROGRESS else "constant"
    rate = LearningRate(first, schedule, model.power_t, first, by_epoch, float(model.warm_up))
    rate.after_epoch(model.t_)  # of a warm start
    return rate


def optimizer_of(model: Any, rate: LearningRate) -> Optimizer:
    """Make the optimizer that an estimator's parameters ask for."""
    optimizer = OPTIMIZER_OF[model.solver](model, rate if rate.changes else rate.first)
    if model.max_grad_norm is not None:
        optimizer = clipped(optimizer, float(model.max_grad_norm))
    return loss_scaled(optimizer) if model.matmul_precision == "float16" else optimizer


class OptimizerState(NamedTuple):
    """What :meth:`partial_fit` continues from: the learning rate, the state of the optimizer, the epochs done."""

    solver: str
    rate: LearningRate
    state: Any = None
    epochs: int = 0

    def on(self, backend: Backend | None, dtype: str) -> "OptimizerState":
        """Move the state's arrays to a backend, or to the host."""
        return self._replace(state=_moved(self.state, backend, dtype))


def _moved(part: Any, backend: Backend | None, dtype: str) -> Any:
    """Move the arrays of an optimizer's state, or of a part of it."""
    if isinstance(part, tuple):
        return type(part)(*(_moved(inner, backend, dtype) for inner in part))
    if part is None or isinstance(part, int):
        return part
    return to_numpy(part) if backend is None else to_backend(backend, part, dtype)


def optimizer_state_of(model: Any, incremental: bool) -> OptimizerState:
    """Find the optimizer of one more call: the solver's state goes on, and for a new fit the schedule begins anew."""
    optimizer: OptimizerState | None = model._optimizer
    scaled = optimizer is not None and isinstance(optimizer.state, LossScaleState)
    if optimizer is None or optimizer.solver != model.solver or scaled != (model.matmul_precision == "float16"):
        return OptimizerState(model.solver, learning_rate_of(model))
    return optimizer if incremental else optimizer._replace(rate=learning_rate_of(model), epochs=0)
