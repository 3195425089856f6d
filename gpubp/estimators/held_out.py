"""Cases held out of the training: how large the loss on them is, and how good the predictions are."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import gen_batches

from gpubp._typing import Array
from gpubp.backend import Backend, to_numpy
from gpubp.estimators.arrays import dense, on_host
from gpubp.losses import output_error
from gpubp.network import Network, output_layer
from gpubp.prediction import CASES_AT_ONCE


class HeldOut(NamedTuple):
    """Cases to look at after each epoch: x, d and their weights as those learned from, then on the host for a score."""

    x: Any
    d: Array
    case_weights: Array | None
    targets: np.ndarray
    sample_weight: np.ndarray | None


def loss_and_outputs(
    backend: Backend, precision: str, network: Network, theta: Array, held_out: HeldOut
) -> tuple[float, np.ndarray]:
    """Take the mean loss, without a penalty, and the outputs, in parts that bound the memory."""
    xp, (x, d, weights) = backend.xp, held_out[:3]
    total, outputs = 0.0, []
    for rows in gen_batches(x.shape[0], CASES_AT_ONCE):
        layer = output_layer(xp, network, theta, dense(backend, precision, x, rows))
        of_rows = None if weights is None else weights[rows]
        total += float(output_error(xp, network.loss, network.activations[-1], *layer, d[rows, :], of_rows)[0])
        outputs.append(to_numpy(layer.y))
    counted = x.shape[0] if held_out.sample_weight is None else float(np.sum(held_out.sample_weight))
    return (total / counted if counted else math.nan), np.concatenate(outputs)


def score_of(
    model: Any, held_out: HeldOut, loss: float, outputs: np.ndarray, learned: Callable[[], dict[str, Any]]
) -> float:
    """Score a model by its parameter ``scoring``; a score that is not finite is NaN.

    Parameters
    ----------
    learned : callable
        Makes the attributes that the model has learned so far, for a scorer that asks it for predictions.
    """
    if not np.all(np.isfinite(outputs)):
        return math.nan
    if model.scoring is None:
        return float(model._default_score(held_out.targets, outputs, held_out.sample_weight))
    if model.scoring == "loss":
        return -loss
    fitted = copy.copy(model)
    vars(fitted).update(learned())
    vars(fitted).pop("feature_names_in_", None)  # x has lost its names at the door
    weights = {} if held_out.sample_weight is None else {"sample_weight": held_out.sample_weight}
    return float(check_scoring(fitted, model.scoring)(fitted, on_host(held_out.x), held_out.targets, **weights))
