"""Hyperparameter searches that train all candidates and folds as stacks of networks.

The results are those of scikit-learn's searches over gpubp's estimators: the same splits, scores and attributes.
"""

from gpubp.model_selection.batched import BatchedSearchCV
from gpubp.model_selection.halving import BatchedHalvingSearchCV
from gpubp.model_selection.optuna_search import BatchedOptunaSearchCV

__all__ = ["BatchedHalvingSearchCV", "BatchedOptunaSearchCV", "BatchedSearchCV"]
