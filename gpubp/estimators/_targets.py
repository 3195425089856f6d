"""How targets become outputs of a network, and outputs predictions: what classifiers and regressors do differently."""

from collections.abc import Hashable
from typing import Protocol

import numpy as np

from gpubp.io.onnx.predictions import AddPredictions


class TargetCoding(Protocol):
    """The targets of a fitted estimator: ``ClassTargets`` or ``NumberTargets``.

    ``y`` is what a user passes, ``targets`` has a column for each output of the network, ``outputs`` is ``(b, j)``.
    """

    @property
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""

    @property
    def key(self) -> Hashable:
        """Equal for targets that are encoded, learned and scored in the same way."""

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Turn y into targets; raise ValueError where it is not of the kind that was learned."""

    def to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Turn targets into what the loss compares outputs with in training."""

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Turn outputs into predictions."""

    def for_scoring(self, targets: np.ndarray) -> np.ndarray:
        """Turn targets into the true values for a scorer."""

    def default_score(self, y: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """Score outputs where the parameter ``scoring`` is None."""

    def stratify(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes by which held-out samples are drawn, if any."""

    def output_and_loss(self) -> tuple[str, str]:
        """Name the output activation, and the loss of :mod:`gpubp.nn.losses`."""

    def onnx_predictions(self) -> AddPredictions:
        """Return how an exported model turns outputs into predictions."""
