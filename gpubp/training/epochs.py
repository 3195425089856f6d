"""One epoch: its batches, or the parts that contain them, and the loss over all of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.engine.plain.minibatches import Batches, EpochInParts, epochs_of, remaining_parts
from gpubp.engine.plain.step import ModelState, Sums
from gpubp.training.plan import Plan


class EpochSummary(NamedTuple):
    """The result of an epoch, on the host except the outputs.

    Attributes
    ----------
    loss : float, or (K,) array of NumPy
    n_samples : int
        Samples trained on, without those of parts that were done in an earlier run.
    finite : (...) array of NumPy
        Whether the parameters are finite at the end.
    outputs : (..., b, j) array, optional
        The outputs for all samples with the final parameters, if the epoch computed them.
    """

    loss: Any
    n_samples: int
    finite: np.ndarray
    outputs: Array | None


class BatchesSummary(NamedTuple):
    """The sums over some batches, added to those of earlier parts, and other fields of the results of an epoch."""

    sums: Sums
    finite: np.ndarray
    outputs: Array | None
    thetas: Sequence[Array] | None


def train_epoch(
    plan: Plan, model: ModelState, batches: Batches | EpochInParts, between_parts: Callable[[], None]
) -> EpochSummary:
    """Train on the remaining parts of an epoch."""
    finite, outputs = np.asarray(True), None
    for number, part in enumerate(remaining_parts(batches, model.parts_done)):
        if number:
            between_parts()
        model.sums, finite, outputs, _ = train_on_batches(plan, model, part)
        model.parts_done += 1
        if not np.any(finite):
            break
    (loss,), n_samples = list_per_epoch(mean_losses(plan, model.sums)), model.sums.n_samples
    model.parts_done, model.sums = 0, Sums()
    return EpochSummary(loss, n_samples, finite, outputs)


def train_on_batches(plan: Plan, model: ModelState, batches: Batches) -> BatchesSummary:
    """Take one step for each batch of an epoch, of a part of one, or of several epochs."""
    earlier_sums, result, n_epochs = model.sums, plan.run_epoch(model, batches), epochs_of(batches)

    def sum_steps(figures: np.ndarray, earlier: Any) -> np.ndarray:
        per_epoch = np.array(np.reshape(figures, (n_epochs, -1, *figures.shape[1:])), dtype=np.float64)
        per_epoch[:, 0] += earlier
        # one at a time, so that the sum does not depend on how an epoch is divided
        return np.add.accumulate(per_epoch, axis=1)[:, -1]

    n_samples = earlier_sums.n_samples + int(np.max(np.sum(result.sizes, axis=0))) // n_epochs
    values, finite = to_numpy(result.values), to_numpy(result.finite)
    if plan.average is None:
        sums = Sums(sum_steps(values, earlier_sums.values), earlier_sums.weights, n_samples)
        return BatchesSummary(sums, finite, result.outputs, result.thetas)
    weights = to_numpy(result.weights) if plan.average == "weights" else result.sizes
    weights = np.reshape(weights, (*weights.shape, *(1,) * (values.ndim - weights.ndim)))
    sums = Sums(sum_steps(values * weights, earlier_sums.values), sum_steps(weights, earlier_sums.weights), n_samples)
    return BatchesSummary(sums, finite, result.outputs, result.thetas)


def mean_losses(plan: Plan, sums: Sums) -> np.ndarray:
    """Compute the loss of each epoch from the sums over its steps; 0 if the samples of all its batches weigh 0."""
    if plan.average is None:
        return np.asarray(sums.values)
    weights = np.where(np.equal(sums.weights, 0.0), 1.0, sums.weights)
    return np.asarray(sums.values / weights)


def list_per_epoch(figures: np.ndarray) -> list[Any]:
    """List the figures of epochs: a float each for one network, ``(K,)`` of NumPy for a stack."""
    return figures.tolist() if figures.ndim == 1 else list(figures)
