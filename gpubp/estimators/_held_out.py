"""Held-out samples: draw them, and compute their loss and score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, move_together
from gpubp.backends.sparse_matmul import for_samples, is_sparse
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.prediction import evaluate, evaluate_each
from gpubp.errors import DataError
from gpubp.estimators._arrays import on_host, rows_of
from gpubp.estimators._fit import EstimatorFit
from gpubp.estimators._targets import TargetCoding
from gpubp.nn.network import Network


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out samples of a network: X, targets and weights on the device, true values and weights on the host."""

    backend: Backend
    precision: str
    network: Network
    x: Any
    targets: Array
    sample_weight: Array | None
    y_true: np.ndarray
    y_weight: np.ndarray | None

    @property
    def samples(self) -> Batch:
        """What is on the device."""
        return Batch(self.x, self.targets, self.sample_weight)

    @property
    def total_weight(self) -> float:
        """By which a sum of losses is divided; NaN if the weights are all 0."""
        total = self.x.shape[0] if self.y_weight is None else float(np.sum(self.y_weight))
        return total or math.nan

    def evaluate(self, theta: Array) -> "Evaluated":
        """Evaluate the parameters ``(P,)`` of one network."""
        loss, outputs = evaluate(self.backend, self.network, theta, self.samples, outputs_wanted=True)
        return Evaluated(self, float(loss / self.total_weight), outputs)


class Evaluated(NamedTuple):
    """The mean loss of held-out samples, and the outputs on the host."""

    held_out: HeldOut
    loss: float
    outputs: np.ndarray


def evaluate_networks(pairs: "Sequence[tuple[HeldOut, Array]]") -> list[Evaluated]:
    """Evaluate the networks of stacks ``(K, P)``, each stack on samples of its own; return all in order."""
    backend, network = pairs[0][0].backend, pairs[0][0].network
    given = [(thetas, held_out.samples) for held_out, thetas in pairs]
    evaluations = evaluate_each(backend, network, given, outputs_wanted=True)
    return [
        Evaluated(held_out, float(loss / held_out.total_weight), outputs)
        for (held_out, _), evaluation in zip(pairs, evaluations, strict=True)
        for loss, outputs in zip(*evaluation, strict=True)
    ]


def split(fit: EstimatorFit) -> tuple[np.ndarray, np.ndarray]:
    """Draw held-out samples as scikit-learn does; return the rows to train on, and those held out."""
    from sklearn.model_selection import train_test_split  # which loads slowly, and most fits do without it

    rows, held_out_rows = train_test_split(
        np.arange(fit.targets.shape[0]),
        random_state=fit.random_state,
        test_size=fit.options.validation_fraction,
        stratify=fit.coding.stratify(fit.targets),
    )
    if held_out_rows.shape[0] < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return rows, held_out_rows


def check_scorable(fit: EstimatorFit, targets: np.ndarray, sample_weight: np.ndarray | None) -> None:
    """Check that held-out samples have the score that early stopping needs, whatever is predicted.

    Raises
    ------
    DataError
        If the score would be NaN in each epoch, or all weights are 0.
    """
    if sample_weight is not None:
        targets = targets[sample_weight != 0]
    if not len(targets):
        raise DataError("the weights of the held-out samples are all 0; give some of them a positive weight")
    options = fit.options
    if not options.early_stopping or options.solver == "lbfgs":
        return
    scoring = fit.coding.default_scoring if options.scoring is None else options.scoring
    if reason := fit.coding.reason_undefined(scoring, targets):
        raise DataError(
            f"early stopping compares the score {scoring!r} of held-out samples, which is not defined for them: "
            f"{reason}. Hold out other samples, or use scoring='loss'"
        )


def hold_out(
    fit: EstimatorFit, x: Any, targets: np.ndarray, weights: np.ndarray | None, rows: np.ndarray | None = None
) -> HeldOut:
    """Move samples, or some rows of them, to the device on which the network of a fit is evaluated."""
    backend, precision = fit.backend, fit.precision
    if rows is not None:
        targets, weights = targets[rows], None if weights is None else weights[rows]
    x = rows_of(x, rows)
    dense_x, targets_there, weights_there = move_together(
        precision, (backend, None if is_sparse(x) else x), (backend, targets), (backend, weights)
    )
    return HeldOut(
        for_samples(backend, x),
        precision,
        fit.network,
        x if is_sparse(x) else dense_x,
        targets_there,
        weights_there,
        fit.coding.for_scoring(targets),
        weights,
    )


def score_of(
    scoring: str | Callable[..., Any] | None, coding: TargetCoding, evaluated: Evaluated, fitted: Callable[[], Any]
) -> float:
    """Compute the score of held-out samples; it is NaN if it is not defined, or it or an output is infinite.

    Parameters
    ----------
    scoring : str, callable or None
        The parameter of the estimator.
    coding : TargetCoding
    evaluated : Evaluated
    fitted : callable
        Returns an estimator with the current weights, for a scorer that calls its methods.
    """
    held_out, loss, outputs = evaluated
    if not np.all(np.isfinite(outputs)):
        return math.nan
    if scoring == "loss":
        return -loss if math.isfinite(loss) else math.nan
    name = coding.default_scoring if scoring is None else scoring
    score = coding.score(name, held_out.y_true, outputs, held_out.y_weight) if isinstance(name, str) else None
    if score is None:
        from sklearn.metrics import check_scoring

        estimator = fitted()
        weights = {} if held_out.y_weight is None else {"sample_weight": held_out.y_weight}
        scorer = check_scoring(estimator, scoring)
        score = float(scorer(estimator, on_host(held_out.x), held_out.y_true, **weights))
    return score if math.isfinite(score) else math.nan
