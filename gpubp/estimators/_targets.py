"""The interface of encodings: from targets to outputs of a network, and from outputs to predictions."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpubp._typing import Array

if TYPE_CHECKING:
    from gpubp.io.onnx.predictions import AddPredictions


class TargetCoding(Protocol):
    """The targets of a fitted estimator: ``ClassTargets`` or ``NumberTargets``.

    ``y`` is what a user passes, ``targets`` has a column for each output of the network, ``outputs`` is ``(b, j)``.
    """

    @property
    def is_classifier(self) -> bool:
        """Whether the targets are classes."""

    @property
    def default_scoring(self) -> str:
        """The name in scikit-learn of the default score."""

    @property
    def key(self) -> Hashable:
        """A key that is equal for targets that are encoded, learned and scored in the same way."""

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Convert y to targets; raise ValueError if its type is not the one that was learned."""

    def check_learnable(self, targets: np.ndarray, precision: str, *, is_first: bool) -> None:
        """Check that the loss of these targets does not overflow or, in a first fit, vanish in a precision."""

    def to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Convert targets to the targets of the training loss."""

    def predictions(self, outputs: Array, X: Any = None) -> Any:
        """Convert outputs to predictions, in the library and on the device of X; text stays on the host."""

    def for_scoring(self, targets: np.ndarray) -> np.ndarray:
        """Convert targets to the true values for a scorer."""

    def score(self, name: str, y: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float | None:
        """Compute the score of this name in scikit-learn from outputs; NaN if it does not depend on them.

        Return None for a name that needs scikit-learn's scorer, which calls methods of the estimator.
        """

    def reason_undefined(self, scoring: Any, targets: np.ndarray) -> str:
        """Return why a score is undefined for these targets, whatever is predicted; "" if that is not known."""

    def stratify(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the classes by which held-out samples are drawn, if any."""

    def output_and_loss(self) -> tuple[str, str]:
        """Return the names of the output activation and of the loss in :mod:`gpubp.nn.losses`."""

    def onnx_predictions(self) -> "AddPredictions":
        """Return the function that adds predictions to an exported model."""
