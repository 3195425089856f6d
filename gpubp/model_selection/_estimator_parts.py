"""The parts of an estimator, and the interface through which a search trains its fits in stacks."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.pipeline import Pipeline

from gpubp.training.stackable import EncodedTargets, StackableFit, ValidatedSamples


class Stackable(Protocol):
    """The result of the method ``__stackable__`` of an estimator, which prepares its fits for stacks."""

    def validate_parameters(self) -> None:
        """Check the parameters as ``fit`` does."""

    def reason_to_fit_alone(self, x: Any = None) -> str:
        """Return why the estimator cannot be fitted in a stack, or "" if it can."""

    def validate_samples(self, X: Any, y: Any) -> ValidatedSamples:
        """Validate samples as ``fit`` does, without changing the estimator."""

    def validate_weights(self, sample_weight: Any, y: np.ndarray) -> np.ndarray | None:
        """Validate sample weights as ``fit`` does."""

    def encode_targets(self, y: np.ndarray, weights: np.ndarray | None) -> EncodedTargets:
        """Learn the targets as ``fit`` does."""

    def set_learned(self, learned: dict[str, Any]) -> None:
        """Set attributes that another copy of the estimator learned from the same samples."""

    def prepare(self, x: Any, rows: np.ndarray, encoded: EncodedTargets, weights: np.ndarray | None) -> StackableFit:
        """Prepare a fit: targets and weights are those of ``rows``."""


class PipelineParts(NamedTuple):
    """An estimator whose fits can be stacked, the transformers before it, and its name in a pipeline."""

    model: Any
    stackable: Stackable
    transformers: Pipeline | None = None
    name: str = ""


def parts_of(estimator: Any) -> PipelineParts | None:
    """Split an estimator into its parts; None unless it is a network of gpubp or a pipeline that ends in one."""
    model, transformers, name = estimator, None, ""
    if type(estimator) is Pipeline and not getattr(estimator, "transform_input", None):
        name, model = estimator.steps[-1]
        transformers = estimator[:-1] if len(estimator.steps) > 1 else None
    stackable: Stackable | None = model.__stackable__() if hasattr(type(model), "__stackable__") else None
    return None if stackable is None else PipelineParts(model, stackable, transformers, name)
