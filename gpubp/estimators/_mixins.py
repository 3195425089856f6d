"""What the estimators and the ensembles of each kind share: their default score, and their tags."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from gpubp.estimators._scores import accuracy_of, r2_of


class AccuracyMixin(ClassifierMixin):  # type: ignore[misc]
    """A classifier of classes, marked labels or several outputs, scored by its accuracy."""

    @np.errstate(all="ignore")
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of the predictions; for several outputs, the fraction of samples with all correct.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        float
        """
        return accuracy_of(self, y, self.predict(X), sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags


class R2Mixin(RegressorMixin):  # type: ignore[misc]
    """A regressor, scored by its coefficient of determination."""

    @np.errstate(all="ignore")
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination of the predictions, R^2.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        float
        """
        return r2_of(self, y, self.predict(X), sample_weight)
