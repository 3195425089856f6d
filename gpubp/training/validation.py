"""Loss and score of the validation samples."""

from collections.abc import Callable

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_numpy
from gpubp.backends.memory import SAMPLES_AT_ONCE
from gpubp.engine.plain.minibatches import Batch, total_weight
from gpubp.engine.prediction import in_parts, last_layer
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.training.plan import Validation

Scoring = Callable[[np.ndarray, np.ndarray], float]
"""``scoring(targets, outputs)`` on NumPy arrays; higher is better."""


def evaluate(
    backend: Backend, network: Network, held_out: Batch, scoring: Scoring | None, is_mean: bool, theta: Array
) -> Validation:
    """Compute the loss, without penalty, as a weighted mean or sum over the samples, and the score without weights."""
    xp, loss, outputs, start = backend.xp, 0.0, [], 0
    at_once = SAMPLES_AT_ONCE // (network.n_members or 1)
    for x, targets in zip(in_parts(held_out.x, at_once), in_parts(held_out.targets, at_once), strict=True):
        layer = last_layer(backend, network, theta, x)
        weights = held_out.sample_weight
        if weights is not None:
            weights = weights[..., start : start + x.shape[-2]]
            start += x.shape[-2]
        loss = loss + output_loss(xp, network.loss, network.activations[-1], *layer, targets, weights)[0]
        if scoring is not None:
            outputs.append(to_numpy(layer.y))
    if is_mean:
        loss = loss / total_weight(xp, held_out)
    score = None
    if scoring is not None:
        score = float(scoring(to_numpy(held_out.targets), np.concatenate(outputs, axis=-2)))
    on_host = to_numpy(loss)
    return Validation(on_host if on_host.ndim else float(on_host), score)
