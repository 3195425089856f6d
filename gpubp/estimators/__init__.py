"""scikit-learn's multilayer perceptrons, on any device: the same parameters, attributes, warnings and random numbers.

Training is :func:`gpubp.training.loop.run` with batches in scikit-learn's order; this package validates samples, plans
the fit, and converts its outcome to fitted attributes.
"""

from gpubp.estimators._validation import NamespaceError
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.display import LossCurveDisplay
from gpubp.estimators.ensembles import MLPEnsembleClassifier, MLPEnsembleRegressor
from gpubp.estimators.regressor import MLPRegressor

__all__ = [
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPEnsembleClassifier",
    "MLPEnsembleRegressor",
    "MLPRegressor",
    "NamespaceError",
]
