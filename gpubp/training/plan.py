"""A plan: what the training loop does, with everything on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.engine.plain.minibatches import Batches, EpochInParts
from gpubp.engine.plain.step import EpochRunner
from gpubp.optim.first_order import Optimizer
from gpubp.optim.schedules import value_at
from gpubp.optim.second_order import SecondOrder
from gpubp.training.callbacks import Callback, Progress


class Validation(NamedTuple):
    """Loss and score of the validation samples; for a stack the loss is ``(K,)`` of NumPy."""

    loss: Any | None = None
    score: float | None = None


@dataclass(frozen=True)
class Plan:
    """What :func:`~gpubp.training.loop.run` does.

    Attributes
    ----------
    backend : Backend
    run_epoch : callable
        See :data:`~gpubp.engine.plain.step.EpochRunner`.
    batches : callable
        Returns the batches of the next epoch, or the parts that they come in; called once an epoch.
    epochs : int
        Epochs at most.
    average : {"weights", "samples"} or None
        Whether steps return means over their batch, to be averaged over the epoch by the weight or by the number of
        its samples, or sums.
    validate : callable, optional
        Evaluates parameters on the validation samples, after each epoch.
    patience, tolerance
        See :func:`gpubp.train`.
    monitors_score : bool
        Whether patience monitors the validation score where there is one, rather than the loss.
    callbacks : tuple of callables
        See :mod:`gpubp.training.callbacks`.
    epochs_before_callbacks : callable, optional
        Returns for how many epochs from now it is enough to call the callbacks for each when all of them are trained,
        and they will not end the training. Without it, they are called at the end of the epochs that they are due in.
    learning_rate : callable, optional
        Returns the learning rate after a number of epochs, for callbacks.
    stop_when : callable, optional
        Is given the :class:`Progress` of the networks that are active, and the outputs of all samples or, where these
        are not at hand, None. Returns which networks are done, ``(...)`` of bool. The loss of networks that diverged
        in this epoch is NaN.
    plan_for_some : callable, optional
        Returns the plan for some networks of a stack, selected by an array of bool, so that those that are done leave.
    keeps_history : bool
        Whether each epoch is recorded: for K networks that is K numbers.
    is_distributed : bool
        Whether several processes run this plan together. Then Ctrl-C is raised rather than handled, and each epoch is
        run on its own.
    """

    backend: Backend
    run_epoch: EpochRunner
    batches: Callable[[], Batches | EpochInParts]
    epochs: int
    average: Literal["weights", "samples"] | None = "weights"
    validate: Callable[[Array], Validation] | None = None
    patience: int | None = None
    tolerance: float = 0.0
    monitors_score: bool = True
    callbacks: tuple[Callback, ...] = ()
    epochs_before_callbacks: Callable[[], int] | None = None
    learning_rate: Callable[[int], Any] | None = None
    stop_when: Callable[[Progress, Array | None], Array] | None = None
    plan_for_some: "Callable[[np.ndarray], Plan] | None" = None
    keeps_history: bool = True
    is_distributed: bool = False


def learning_rate_after(optimizer: Optimizer | SecondOrder, epoch: int) -> Any:
    """Return an optimizer's learning rate after some epochs: a number, ``(K,)`` for a stack, None where it has none."""
    if "learning_rate" not in optimizer.settings:
        return None
    rate = value_at(optimizer.settings["learning_rate"], epoch)
    return np.ravel(rate) if np.ndim(rate) else float(rate)
