"""The state of a fit, which becomes the fitted attributes of an estimator."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from gpubp.estimators._optimizer import OptimizerState

ATTRIBUTES = {
    "n_iter": "n_iter_",
    "t": "t_",
    "loss": "loss_",
    "best_loss": "best_loss_",
    "loss_curve": "loss_curve_",
    "no_improvement_count": "_no_improvement_count",
    "validation_curve": "validation_curve_",
    "validation_scores": "validation_scores_",
    "best_validation_score": "best_validation_score_",
    "stop_reason": "stop_reason_",
    "fit_seconds": "fit_seconds_",
    "scaling": "_scaling",
    "optimizer": "_optimizer",
}
"""The attribute of the estimator for each field of :class:`FitState`, named as in scikit-learn if it has one."""

SET_DURING_FIT = ("loss", "stop_reason", "fit_seconds", "scaling")  # missing before the fit sets them


@dataclass
class FitState:
    """The figures of a fit, and its progress.

    Attributes
    ----------
    theta : (P,) array of NumPy, optional
        The parameters for ``coefs_`` and ``intercepts_``; None leaves those unchanged.
    n_iter, t : int
        Epochs of this fit, and samples seen in all fits.
    loss, best_loss : float, optional
        The loss of the last epoch, and the smallest; the latter is None with early stopping.
    loss_curve : list of float
        The loss of each epoch.
    no_improvement_count : int
        Epochs since the last improvement.
    validation_curve, validation_scores : list of float, optional
        The loss and the score of the held-out samples after each epoch.
    best_validation_score : float, optional
        The largest of the scores.
    stop_reason, fit_seconds : str and float, optional
        The reason why the fit ended, and its duration.
    scaling : str, optional
        Advice to scale the samples, if the fit had not converged.
    optimizer : OptimizerState, optional
        The state from which the next call continues.
    """

    theta: np.ndarray | None = None
    n_iter: int = 0
    t: int = 0
    loss: float | None = None
    best_loss: float | None = np.inf
    loss_curve: list[float] = field(default_factory=list)
    no_improvement_count: int = 0
    validation_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    stop_reason: str | None = None
    fit_seconds: float | None = None
    scaling: str | None = None
    optimizer: OptimizerState | None = None

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Read the state of a fitted estimator, from which training continues."""
        attributes = vars(estimator)
        return cls(**{name: attributes[attribute] for name, attribute in ATTRIBUTES.items() if attribute in attributes})

    def start_history(self, early_stopping: bool, has_held_out: bool) -> None:
        """Start the curves, and reset the best figures."""
        self.loss_curve = []
        self.no_improvement_count = 0
        self.best_loss = None if early_stopping else np.inf
        self.validation_curve = [] if has_held_out else None
        self.validation_scores = [] if has_held_out else None
        self.best_validation_score = -np.inf if has_held_out else None

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes, except the weights."""
        figures = {name: getattr(self, name) for name in ATTRIBUTES}
        return {
            ATTRIBUTES[name]: value
            for name, value in figures.items()
            if value is not None or name not in SET_DURING_FIT
        }
