"""Calibration: whether what is predicted with a probability occurs that often."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["uniform", "quantile"]


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Predicted probabilities beside the shares of the rows in which the event occurred.

    Attributes
    ----------
    name : str
        The event: ``"target=class"``, that the predicted class is correct, or that an interval holds the target.
    predicted, observed : (b,) array
        The mean probability of the rows of each bin, and the share of them in which the event occurred. Bins without
        rows are left out.
    weights : (b,) array
        The number of rows in each bin, or the sum of their weights.

    Examples
    --------
    >>> curve = CalibrationCurve("rain", np.asarray([0.2, 0.8]), np.asarray([0.25, 0.75]), np.asarray([10.0, 30.0]))
    >>> round(curve.error, 3)
    0.05
    """

    name: str
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of `predicted` and `observed` over the rows."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.weights))


def reliability(
    name: str,
    occurred: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    *,
    n_bins: int = 10,
    strategy: Strategy = "uniform",
    sample_weight: NDArray[np.float64] | None = None,
) -> CalibrationCurve:
    """Compare the probabilities of an event with how often it occurred, in bins of the probability.

    Without weights the numbers are those of :func:`sklearn.calibration.calibration_curve`.

    Parameters
    ----------
    name : str
        The event.
    occurred : (n,) array of bool
    probabilities : (n,) array
    n_bins : int
    strategy : {"uniform", "quantile"}
        Whether bins are equally wide, or have equally many rows.
    sample_weight : (n,) array, optional

    Returns
    -------
    CalibrationCurve

    Examples
    --------
    >>> curve = reliability("rain", np.asarray([False, False, True, True]), np.asarray([0.1, 0.3, 0.8, 0.8]), n_bins=2)
    >>> curve.predicted.tolist(), curve.observed.tolist(), round(curve.error, 3)
    ([0.2, 0.8], [0.0, 1.0], 0.2)
    """
    shares = np.linspace(0.0, 1.0, n_bins + 1)
    edges = np.quantile(probabilities, shares) if strategy == "quantile" else shares
    bins = np.searchsorted(edges[1:-1], probabilities)
    weights = np.ones(len(probabilities)) if sample_weight is None else sample_weight
    totals = np.bincount(bins, weights, n_bins).astype(np.float64)
    present = totals > 0.0
    predicted, observed = (np.bincount(bins, weights * one, n_bins) for one in (probabilities, occurred))
    return CalibrationCurve(
        name, predicted[present] / totals[present], observed[present] / totals[present], totals[present]
    )
