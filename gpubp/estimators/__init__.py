"""scikit-learn's multilayer perceptrons, on any device: the same parameters, attributes, warnings and random numbers.

Training is :func:`gpubp.training.loop.run` with batches in scikit-learn's order; this package validates samples, plans
the fit, and converts its outcome to fitted attributes.
"""

from typing import TYPE_CHECKING

from gpubp._core.public_names import load_on_first_use

if TYPE_CHECKING:
    from gpubp.estimators._validation import NamespaceError as NamespaceError
    from gpubp.estimators.classifier import MLPClassifier as MLPClassifier
    from gpubp.estimators.display import LossCurveDisplay as LossCurveDisplay
    from gpubp.estimators.ensembles import MLPEnsembleClassifier as MLPEnsembleClassifier
    from gpubp.estimators.ensembles import MLPEnsembleRegressor as MLPEnsembleRegressor
    from gpubp.estimators.regressor import MLPRegressor as MLPRegressor

_PUBLIC = {
    "_validation": ("NamespaceError",),
    "classifier": ("MLPClassifier",),
    "display": ("LossCurveDisplay",),
    "ensembles": ("MLPEnsembleClassifier", "MLPEnsembleRegressor"),
    "regressor": ("MLPRegressor",),
}
__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = load_on_first_use(__name__, _PUBLIC)
