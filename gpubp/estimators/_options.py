"""The parameters that a fit reads, typed."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

from gpubp.engine.plain.minibatches import DEFAULT_BATCH_SIZE
from gpubp.optim.schedules import Schedule


@dataclass(frozen=True)
class FitOptions:
    """The parameters of an estimator that its fit reads. See :class:`gpubp.MLPClassifier` for what each means."""

    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str | Schedule
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool | int
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    matmul_precision: str
    weight_decay: float
    rho: float
    warm_up: float
    max_grad_norm: float | None
    scoring: str | Callable[..., Any] | None
    max_time: float | None
    callbacks: Any
    hidden_layer_sizes: Any
    dropout: Any
    random_state: Any

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Read the parameters of an estimator."""
        return cls(**{field.name: getattr(estimator, field.name) for field in fields(cls)})

    def samples_in_a_step(self, n_samples: int) -> int:
        """Return the number of training samples in a step."""
        if self.solver == "lbfgs":
            return n_samples
        return min(DEFAULT_BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size), n_samples)

    def clips_batch_size(self, n_samples: int) -> bool:
        """Whether ``batch_size`` is larger than the number of training samples."""
        return self.batch_size != "auto" and int(self.batch_size) > n_samples
