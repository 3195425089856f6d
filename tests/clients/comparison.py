"""One comparison for all clients: a client computes with gpubp's estimators what it computes with scikit-learn's.

A client is a function from :class:`Estimators` to numbers. It runs twice, and both runs give the same numbers.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn.ensemble
import sklearn.model_selection
import sklearn.neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression

import gpubp

SETTINGS = {"hidden_layer_sizes": (6,), "learning_rate_init": 0.02, "max_iter": 25, "random_state": 0}
"""Few epochs, so that most fits end with a ConvergenceWarning from both libraries."""
TOLERANCE = 1e-6
"""Of the largest number of an array. Trajectories agree to 1e-7; a client may amplify that."""

FEATURES = ("age", "height", "income", "score", "visits")
X, Y = make_classification(150, len(FEATURES), n_informative=4, n_redundant=0, random_state=1)
THREE_CLASSES = make_classification(
    150, len(FEATURES), n_informative=4, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=2
)[1]
LABELS = make_multilabel_classification(150, 2, n_classes=3, random_state=3)[1]
TWO_NUMBERS = make_regression(150, len(FEATURES), n_targets=2, random_state=4)[1] / 50.0
NUMBERS = TWO_NUMBERS[:, 0]
SAMPLE_WEIGHT = np.random.default_rng(5).uniform(0.5, 2.0, len(X))
FRAME = pd.DataFrame(X, columns=list(FEATURES))
TRAIN, TEST = slice(0, 110), slice(110, None)


class Estimators(NamedTuple):
    """The estimators of gpubp or of scikit-learn, with equal settings."""

    of_gpubp: bool

    @property
    def _module(self) -> Any:
        return gpubp if self.of_gpubp else sklearn.neural_network

    def classifier(self, **settings: Any) -> Any:
        return self._module.MLPClassifier(**{**SETTINGS, **settings})

    def regressor(self, **settings: Any) -> Any:
        return self._module.MLPRegressor(**{**SETTINGS, **settings})

    def grid_search(self, estimator: Any, grid: Any, **settings: Any) -> Any:
        search = gpubp.BatchedSearchCV if self.of_gpubp else sklearn.model_selection.GridSearchCV
        return search(estimator, param_grid=grid, **settings)

    def classifiers(self, seeds: int = 3, **settings: Any) -> Any:
        """Make an ensemble of classifiers that differ in their seeds."""
        if self.of_gpubp:
            return gpubp.MLPEnsembleClassifier(self.classifier(**settings), seeds, random_state=0)
        members = [(str(k), self.classifier(random_state=seed, **settings)) for k, seed in enumerate(_seeds(seeds))]
        return sklearn.ensemble.VotingClassifier(members, voting="soft")

    def regressors(self, seeds: int = 3, **settings: Any) -> Any:
        """Make an ensemble of regressors that differ in their seeds."""
        if self.of_gpubp:
            return gpubp.MLPEnsembleRegressor(self.regressor(**settings), seeds, random_state=0)
        members = [(str(k), self.regressor(random_state=seed, **settings)) for k, seed in enumerate(_seeds(seeds))]
        return sklearn.ensemble.VotingRegressor(members)


def _seeds(n: int) -> list[int]:
    return np.random.RandomState(0).randint(2**31 - 1, size=n).tolist()


class Client(NamedTuple):
    """A function from estimators to numbers.

    ``distribution`` is the package that it needs, as in the dependency group ``clients``; ``difference`` is the
    documented reason for other numbers than scikit-learn's, if there is one.
    """

    numbers: Callable[[Estimators], Any]
    distribution: str
    tolerance: float
    difference: str

    @property
    def name(self) -> str:
        return f"{self.distribution}: {self.numbers.__name__}"

    def check(self) -> None:
        """Compare gpubp's numbers with scikit-learn's, and the warnings."""
        sklearn_result, sklearn_warnings = self._run(Estimators(of_gpubp=False))  # first: some libraries warn on import
        gpubp_result, gpubp_warnings = self._run(Estimators(of_gpubp=True))
        found = list(differences(gpubp_result, sklearn_result, self.tolerance))
        found += [f"only gpubp warns: {text}" for kind, text in gpubp_warnings.items() if kind not in sklearn_warnings]
        if self.difference:
            assert found, f"the numbers agree, in spite of the reason for a difference: {self.difference}"
        else:
            assert not found, "\n".join(found[:20])

    def _run(self, estimators: Estimators) -> tuple[Any, dict[type[Warning], str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            np.random.seed(0)  # noqa: NPY002 - some libraries draw from the global generator
            numbers = self.numbers(estimators)
        return numbers, {warning.category: str(warning.message) for warning in caught}


CLIENTS: list[Client] = []


def client(
    distribution: str = "scikit-learn", *, tolerance: float = TOLERANCE, difference: str = ""
) -> Callable[[Callable[[Estimators], Any]], Callable[[Estimators], Any]]:
    """Add a function to ``CLIENTS``."""

    def add(numbers: Callable[[Estimators], Any]) -> Callable[[Estimators], Any]:
        CLIENTS.append(Client(numbers, distribution, tolerance, difference))
        return numbers

    return add


def differences(gpubp_result: Any, sklearn_result: Any, tolerance: float, where: str = "") -> Any:
    """Yield how two results differ: mappings and sequences of arrays, frames, numbers and text."""
    gpubp_result, sklearn_result = _plain(gpubp_result), _plain(sklearn_result)
    if isinstance(sklearn_result, Mapping):
        if list(gpubp_result) != list(sklearn_result):
            yield f"{where}: {list(gpubp_result)}, not {list(sklearn_result)}"
        for key in [key for key in sklearn_result if key in gpubp_result]:
            yield from differences(gpubp_result[key], sklearn_result[key], tolerance, f"{where}[{key!r}]")
    elif isinstance(sklearn_result, list | tuple):
        if len(gpubp_result) != len(sklearn_result):
            yield f"{where}: {len(gpubp_result)} items, not {len(sklearn_result)}"
        for at, (one, other) in enumerate(zip(gpubp_result, sklearn_result, strict=False)):
            yield from differences(one, other, tolerance, f"{where}[{at}]")
    else:
        one, other = np.asarray(gpubp_result), np.asarray(sklearn_result)
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{where}: {one.dtype} of shape {one.shape}, not {other.dtype} of shape {other.shape}"
        elif one.dtype.kind in "fc":
            scale = np.max(np.abs(other), initial=0.0, where=np.isfinite(other))
            if not np.allclose(one, other, rtol=0.0, atol=tolerance * scale, equal_nan=True):
                far = ~np.isclose(one, other, rtol=0.0, atol=tolerance * scale, equal_nan=True)
                yield f"{where}: {one[far][0]:.9g}, not {other[far][0]:.9g}, and {np.sum(far) - 1} more"
        elif not np.array_equal(one, other):
            yield f"{where}: {one}, not {other}"


def _plain(result: Any) -> Any:
    if isinstance(result, pd.DataFrame):
        return {column: result[column].to_numpy() for column in result}
    return result.to_numpy() if isinstance(result, pd.Series) else result
