"""Loss and score of the validation samples."""

from collections.abc import Callable

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_numpy
from gpubp.engine.plain.minibatches import Batch, total_weight
from gpubp.engine.prediction import evaluate
from gpubp.nn.network import Network
from gpubp.training.plan import Validation

Scoring = Callable[[np.ndarray, np.ndarray], float]
"""``scoring(targets, outputs)`` on NumPy arrays; higher is better."""


class Validator:
    """Evaluates parameters on validation samples, which stay on the device.

    Parameters
    ----------
    held_out : Batch
        On the device.
    scoring : callable, optional
    is_mean : bool
        Whether the loss is a mean over the samples, weighted if they have weights; otherwise it is the sum.
    """

    def __init__(
        self, backend: Backend, network: Network, held_out: Batch, scoring: Scoring | None, *, is_mean: bool
    ) -> None:
        self.backend, self.network, self.held_out, self.scoring = backend, network, held_out, scoring
        self.divisor = to_numpy(np.asarray(1.0) if not is_mean else total_weight(backend.xp, held_out))
        self.targets = to_numpy(held_out.targets) if scoring is not None else np.empty(0)

    def __call__(self, theta: Array) -> Validation:
        """Compute the loss, without penalty, and the score, without weights."""
        loss, outputs = evaluate(
            self.backend, self.network, theta, self.held_out, outputs_wanted=self.scoring is not None
        )
        loss = loss / self.divisor
        score = None if self.scoring is None else float(self.scoring(self.targets, outputs))
        return Validation(loss if loss.ndim else float(loss), score)
