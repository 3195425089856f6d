"""The plan of a run of the training loop, with everything on the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.engine.plain.minibatches import Batches, EpochInParts
from gpubp.engine.plain.step import EpochRunner
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.schedules import value_at
from gpubp.optim.second_order import SecondOrder
from gpubp.training.callbacks import Callback, Progress


class Validation(NamedTuple):
    """Loss and score of the validation samples; for a stack the loss is ``(K,)`` of NumPy."""

    loss: Any | None = None
    score: float | None = None


class Draws(Protocol):
    """Random numbers that can be drawn again."""

    def state(self) -> Any:
        """Return the state before the next draw."""

    def restore(self, state: Any) -> None:
        """Restore an earlier state."""


@dataclass(frozen=True)
class Plan:
    """The plan of :func:`~gpubp.training.loop.run`.

    Attributes
    ----------
    backend : Backend
    run_epoch : callable
        See :data:`~gpubp.engine.plain.step.EpochRunner`.
    batches : callable
        Returns the batches of the next epoch, or the parts that contain them, from the number of epochs done; called
        once per epoch.
    draws : Draws, optional
        The random numbers that ``batches`` draws.
    epochs : int
        Maximum number of epochs.
    average : {"weights", "samples"} or None
        How the epoch's loss is computed from those of the steps: as the average of means, by the weight or the number
        of the samples of each batch; or, with None, as the sum.
    validate : callable, optional
        Evaluates parameters on the validation samples, after each epoch.
    patience, tolerance
        See :func:`gpubp.train`.
    monitors_score : bool
        Whether patience monitors the validation score, if there is one, rather than the loss.
    monitors_least : bool
        Whether of the losses of a stack the least is monitored, rather than the median.
    callbacks : tuple of callables
        See :mod:`gpubp.training.callbacks`.
    observers : tuple of callables
        The callbacks that look at the epochs in which they are due: those of the user.
    can_go_ahead : bool
        Whether epochs may be trained before the callbacks of those before are called, since nothing that the steps use
        is the user's to change: neither a schedule nor the generator of random numbers.
    foresee : callable, optional
        Returns two numbers of further epochs: in which only an observer or the time can end the training, and in which
        nothing that the steps use changes, nor is anything but observers called that looks at the parameters.
    learning_rate : callable, optional
        Returns the learning rate after a number of epochs, for callbacks.
    stop_when : callable, optional
        Called with the :class:`Progress` of the active networks, and the outputs of all samples or, if they have not
        been computed, None. Returns which networks are done, ``(...)`` of bool. The loss of networks that diverged in
        this epoch is NaN.
    plan_for_subset : callable, optional
        Returns the plan for some networks of a stack, selected by an array of bool, so that finished networks leave.
    keeps_history : bool
        Whether each epoch is recorded, which takes K numbers for K networks.
    is_distributed : bool
        Whether several processes run this plan together. Then Ctrl-C is raised rather than handled, and each epoch is
        run separately.
    network : Network, optional
        What is trained, for callbacks.
    settings : mapping of str
        How it is trained, for callbacks.
    """

    backend: Backend
    run_epoch: EpochRunner
    batches: Callable[[int], Batches | EpochInParts]
    epochs: int
    average: Literal["weights", "samples"] | None = "weights"
    validate: Callable[[Array], Validation] | None = None
    patience: int | None = None
    tolerance: float = 0.0
    monitors_score: bool = True
    monitors_least: bool = False
    callbacks: tuple[Callback, ...] = ()
    observers: tuple[Callback, ...] = ()
    can_go_ahead: bool = False
    foresee: Callable[[], tuple[float, float]] | None = None
    learning_rate: Callable[[int], Any] | None = None
    stop_when: Callable[[Progress, Array | None], Array] | None = None
    plan_for_subset: "Callable[[np.ndarray], Plan] | None" = None
    keeps_history: bool = True
    is_distributed: bool = False
    draws: Draws | None = None
    network: Network | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def learning_rate_after(optimizer: Optimizer | SecondOrder, epoch: int) -> Any:
    """Return an optimizer's learning rate after some epochs: a number, ``(K,)`` for a stack, None if it has none."""
    rate = optimizer.settings.get("learning_rate")
    if rate is None or type(rate) is float:
        return rate
    rate = value_at(rate, epoch)
    return np.ravel(rate) if np.ndim(rate) else float(rate)
