"""What a function that predicts has learned from each column of a table, and how far its predictions can be trusted.

The functions work on a matrix of inputs ``(n, i)``, on the places of each column in it, and on a function that predicts
``(n, j)`` from it. :mod:`gpubp.tabular.inspection` applies them to models of tables.
"""

from gpubp.inspection.calibration import CalibrationCurve, reliability
from gpubp.inspection.dependence import PartialDependence, grid_of, grid_of_numbers, mean_predictions
from gpubp.inspection.importance import PermutationImportance, permuted_scores

__all__ = [
    "CalibrationCurve",
    "PartialDependence",
    "PermutationImportance",
    "grid_of",
    "grid_of_numbers",
    "mean_predictions",
    "permuted_scores",
    "reliability",
]
