"""Samples held out of the training: which they are, how large the loss on them is, how good the predictions are."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import gen_batches

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.backends.memory import SAMPLES_AT_ONCE
from gpubp.errors import DataError
from gpubp.estimators._arrays import dense, on_host, rows_of
from gpubp.estimators._validation import validate_samples, validate_weights
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network, output_layer


class HeldOut(NamedTuple):
    """Samples to look at after each epoch: X, targets and weights on the device; targets and weights on the host."""

    x: Any
    targets: Array
    sample_weight: Array | None
    y_true: np.ndarray
    y_weight: np.ndarray | None


class Look(NamedTuple):
    """What was seen in samples held out: the mean loss, and the outputs on the host."""

    held_out: HeldOut
    loss: float
    outputs: np.ndarray


def split(model: Any, targets: np.ndarray, random_state: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Choose samples to hold out, as scikit-learn does: the rows to learn from, and those held out."""
    stratify = targets if isinstance(model, ClassifierMixin) and targets.shape[1] == 1 else None
    rows, aside = train_test_split(
        np.arange(targets.shape[0]), random_state=random_state, test_size=model.validation_fraction, stratify=stratify
    )
    if aside.shape[0] < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    return rows, aside


def validate_validation_data(model: Any, validation_data: Any, backend: Backend, precision: str) -> HeldOut:
    """Check samples that the user holds out."""
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise DataError(
            f"validation_data must be (X, y) or (X, y, sample_weight), got {type(validation_data).__name__}"
            + (f" of {len(validation_data)}" if hasattr(validation_data, "__len__") else "")
        )
    X, y, sample_weight = (*validation_data, None)[:3]
    try:
        x, y = validate_samples(model, X, y, reset=False)
        targets, weights = model._desired(y), validate_weights(sample_weight, y)
    except ValueError as error:
        raise DataError(f"validation_data: {error}") from error
    return hold_out(model, backend, precision, x, targets, weights)


def hold_out(
    model: Any,
    backend: Backend,
    precision: str,
    x: Any,
    targets: np.ndarray,
    weights: np.ndarray | None,
    rows: np.ndarray | None = None,
) -> HeldOut:
    """Keep samples, or the chosen rows of them, to look at."""
    if rows is not None:
        targets, weights = targets[rows], None if weights is None else weights[rows]
    return HeldOut(
        rows_of(backend, precision, x, rows),
        to_backend(backend, targets, precision),
        None if weights is None else to_backend(backend, weights, precision),
        model._answers(targets) if isinstance(model, ClassifierMixin) else targets,
        weights,
    )


def loss_and_outputs(
    backend: Backend, precision: str, network: Network, theta: Array, held_out: HeldOut
) -> tuple[np.ndarray, np.ndarray]:
    """Take the mean loss ``(...)``, without a penalty, and the outputs ``(..., b, j)``, in parts that bound the memory.

    Both are on the host.
    """
    xp, (x, targets, weights) = backend.xp, held_out[:3]
    total, outputs = np.zeros(theta.shape[:-1]), []
    for rows in gen_batches(x.shape[0], SAMPLES_AT_ONCE):
        layer = output_layer(xp, network, theta, dense(backend, precision, x, rows))
        of_rows = None if weights is None else weights[rows]
        error = output_loss(xp, network.loss, network.activations[-1], *layer, targets[rows, :], of_rows)[0]
        total = total + to_numpy(error)
        outputs.append(to_numpy(layer.y))
    counted = x.shape[0] if held_out.y_weight is None else float(np.sum(held_out.y_weight))
    return total / (counted or math.nan), np.concatenate(outputs, axis=-2)


def look_at(backend: Backend, precision: str, network: Network, held_out: HeldOut, theta: Array) -> Look:
    """Look at samples held out with one network's parameters."""
    loss, outputs = loss_and_outputs(backend, precision, network, theta, held_out)
    return Look(held_out, float(loss), outputs)


def score_of(model: Any, look: Look, learned: Callable[[], dict[str, Any]]) -> float:
    """Score a model by its parameter ``scoring``; a score that is not finite is NaN.

    Parameters
    ----------
    learned : callable
        Makes the attributes that the model has learned so far, for a scorer that asks it for predictions.
    """
    held_out, loss, outputs = look
    if not np.all(np.isfinite(outputs)):
        return math.nan
    if model.scoring is None:
        return float(model._default_score(held_out.y_true, outputs, held_out.y_weight))
    if model.scoring == "loss":
        return -loss
    fitted = copy.copy(model)
    vars(fitted).update(learned())
    vars(fitted).pop("feature_names_in_", None)  # x has lost its names at the door
    weights = {} if held_out.y_weight is None else {"sample_weight": held_out.y_weight}
    return float(check_scoring(fitted, model.scoring)(fitted, on_host(held_out.x), held_out.y_true, **weights))
