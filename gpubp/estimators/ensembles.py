"""Ensembles of networks that are trained together: the mean of their predictions, and the standard deviation."""

import copy
from collections.abc import Iterable
from inspect import signature
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from gpubp._core.documentation import DocumentationLink
from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.estimators._base import MultilayerPerceptron, outputs_of_placed
from gpubp.estimators._members import fit_members
from gpubp.estimators._mixins import AccuracyMixin, R2Mixin
from gpubp.estimators._validation import validate_new_samples, validate_samples, validate_weights
from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.parameter_checks import ClearKeywords, problems_of, synonym
from gpubp.estimators.regressor import MLPRegressor


class Ensemble(ClearKeywords, DocumentationLink, BaseEstimator):  # type: ignore[misc]
    """Base class of the ensembles: members that are fitted together, each from its own seed."""

    _member_class: type[MultilayerPerceptron]  # the class of the members
    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": "no_validation",  # fit checks it
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "bootstrap": ["boolean"],
        "max_samples": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: Any = 10,
        *,
        bootstrap: Any = False,
        max_samples: Any = 1.0,
        random_state: Any = None,
    ) -> None:
        self.estimator, self.n_estimators = estimator, n_estimators
        self.bootstrap, self.max_samples, self.random_state = bootstrap, max_samples, random_state

    @classmethod
    def _advice(cls, name: str, known: Iterable[str]) -> str:
        member = cls._member_class
        parameters = signature(member).parameters
        meant = name if name in parameters else synonym(name, parameters)
        if meant is None or synonym(name, known):
            return super()._advice(name, known)
        renamed = "" if meant == name else f" as {meant!r}"
        return f"{name!r}, which its members have{renamed}: {cls.__name__}(estimator={member.__name__}({meant}=...))"

    def _validate_params(self) -> None:
        """Check the parameters, also those of `estimator`, and name all that are not valid in one error."""
        problems = problems_of(self, self._parameter_constraints)
        if type(self.estimator) is self._member_class:
            problems += problems_of(self.estimator, self.estimator._parameter_constraints)
        elif problem := self._problem_of_estimator():
            problems.append(problem)
        if problems:
            raise InvalidParameterError("\n".join(problems))

    def _problem_of_estimator(self) -> str:
        """Return what is wrong with the type of `estimator`, "" if it is valid."""
        if self.estimator is None or type(self.estimator) is self._member_class:
            return ""
        is_class = isinstance(self.estimator, type)
        kind = self.estimator if is_class else type(self.estimator)
        given = f"{'the class ' if is_class else ''}{kind.__module__}.{kind.__qualname__}"
        return f"estimator must be one {self._member_class.__name__}() of gpubp, or None, got {given}"

    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the members.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array of shape (n_samples,), optional
            The weight of each sample.

        Returns
        -------
        self
        """
        if problem := self._problem_of_estimator():  # scikit-learn's validation may be skipped
            raise InvalidParameterError(problem)
        first = self._member_class() if self.estimator is None else clone(self.estimator)
        x, y_on_host = validate_samples(self, X, y, reset=True)
        weights = validate_weights(sample_weight, y_on_host)
        first._hidden_layer_sizes()
        first.n_features_in_, first._fitted_with = self.n_features_in_, self._fitted_with
        random_state, n_samples = check_random_state(self.random_state), y_on_host.shape[0]
        members, rows = [], []
        for seed in random_state.randint(2**31 - 1, size=self.n_estimators).tolist():
            member = copy.copy(first)
            member.random_state = seed
            members.append(member)
            rows.append(self._rows(random_state, n_samples))

        def fit_alone(k: int) -> None:  # samples that are not drawn for a member have weight 0
            member_rows = rows[k]
            counts = None if member_rows is None else np.bincount(member_rows, minlength=n_samples).astype(float)
            members[k].fit(x, y_on_host, _product(weights, counts))

        for error in fit_members(members, x, y_on_host, weights, rows, fit_alone):
            if error is not None:
                raise error
        self.estimators_ = members
        return self

    def _rows(self, random_state: np.random.RandomState, n_samples: int) -> np.ndarray | None:
        """Draw the samples of one member: all of them (None), fewer, or with replacement."""
        n_drawn = max(1, round(self.max_samples * n_samples))
        if self.bootstrap:
            rows: np.ndarray = np.sort(random_state.randint(n_samples, size=n_drawn))
            return rows
        if n_drawn == n_samples:
            return None
        rows_without_replacement: np.ndarray = np.sort(random_state.permutation(n_samples)[:n_drawn])
        return rows_without_replacement

    def _outputs(self, X: Any, method: str) -> tuple[Backend, Array]:
        """Compute the outputs of all members ``(K, b, j)``; they stay on the device."""
        check_is_fitted(self)
        x = validate_new_samples(self, X, method)
        placed = [member._placed(x) for member in self.estimators_]
        first = placed[0]
        if first.backend.is_cuda and all(one.kind == first.kind for one in placed):  # unless some were changed
            return first.backend, outputs_of_placed(first._replace(theta=np.stack([one.theta for one in placed])), x)
        per_member = [member._outputs(x, method) for member in self.estimators_]
        backend = per_member[0][0]
        with backend.active():
            return backend, backend.xp.stack([outputs for _, outputs in per_member])

    def _coding(self) -> Any:
        return self.estimators_[0]._coding()

    @np.errstate(all="ignore")
    def to_onnx(self, path: Any = None, *, dtype: str | None = None) -> Any:
        """Export the fitted ensemble as one ONNX model, which averages its members.

        Parameters
        ----------
        path, dtype
            See :meth:`gpubp.MLPClassifier.to_onnx`.

        Returns
        -------
        onnx.ModelProto
        """
        check_is_fitted(self)
        theta = np.stack([member._theta() for member in self.estimators_])
        return self.estimators_[0]._as_onnx(theta, getattr(self, "feature_names_in_", None), path, dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Remove the array library of X, so that the loaded model accepts arrays of any library."""
        state = dict(super().__getstate__())
        state.pop("_fitted_with", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _product(weights: np.ndarray | None, counts: np.ndarray | None) -> np.ndarray | None:
    if weights is None or counts is None:
        return counts if weights is None else weights
    product: np.ndarray = weights * counts
    return product


class MLPEnsembleClassifier(AccuracyMixin, Ensemble):
    """An ensemble of multilayer perceptrons that classifies by the mean of their probabilities.

    The members differ in their seeds: initial weights, order of the samples, held-out samples, masks of dropout
    (Lakshminarayanan et al. 2017), and with ``bootstrap`` in their samples too (Breiman 1996). They are trained
    together, as one stack of networks, with the same results as if each were trained alone.

    Parameters
    ----------
    estimator : MLPClassifier or None, default=None
        The members are copies of it, each with its own ``random_state``; the default is ``MLPClassifier()``.
    n_estimators : int, default=10
    bootstrap : bool, default=False
        Whether each member trains on samples drawn with replacement. With early stopping a sample may then be both
        held out and trained on.
    max_samples : float, default=1.0
        The fraction of the samples that each member trains on.
    random_state : int, RandomState or None, default=None
        Determines the seeds of the members, and their samples.

    Attributes
    ----------
    estimators_ : list of MLPClassifier
    classes_ : array of shape (n_classes,), or a list of them for several outputs
    n_features_in_ : int
    feature_names_in_ : array of str
        Set if X was a data frame.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import MLPClassifier, MLPEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> member = MLPClassifier((8,), learning_rate_init=0.05, max_iter=500, device="cpu")
    >>> ensemble = MLPEnsembleClassifier(member, n_estimators=5, random_state=0).fit(X, y)
    >>> ensemble.predict_proba(X[:1]).shape, ensemble.predict_std(X[:1]).shape
    ((1, 3), (1, 3))
    >>> ensemble.score(X, y) > 0.95
    True
    """

    _member_class = MLPClassifier

    @property
    def classes_(self) -> Any:
        """The classes, sorted."""
        return self.estimators_[0].classes_

    @np.errstate(all="ignore")
    def predict(self, X: Any) -> Any:
        """Predict classes, by the mean of the members' probabilities.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            A CSR matrix if y was sparse in fit.
        """
        backend, outputs = self._outputs(X, "predict")
        with backend.active():
            return self._coding().predictions(backend.xp.mean(outputs, axis=0), X)

    @np.errstate(all="ignore")
    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class: the mean over the members.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), or a list of them, one for each of several outputs
        """
        backend, outputs = self._outputs(X, "predict_proba")
        with backend.active():
            return self._coding().probabilities(backend, backend.xp.mean(outputs, axis=0), X)

    @np.errstate(all="ignore")
    def predict_std(self, X: Any) -> Any:
        """Compute the standard deviation of the members' probabilities.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), or a list of them, one for each of several outputs
        """
        backend, outputs = self._outputs(X, "predict_std")
        with backend.active():
            deviation = backend.xp.std(outputs, axis=0)
            return self._coding().probabilities(backend, deviation, X, complement=deviation)


class MLPEnsembleRegressor(R2Mixin, Ensemble):
    """An ensemble of multilayer perceptrons for regression: the mean of their predictions, and the standard deviation.

    See :class:`MLPEnsembleClassifier` for how the members differ and are trained.

    Parameters
    ----------
    estimator : MLPRegressor or None, default=None
        The members are copies of it, each with its own ``random_state``; the default is ``MLPRegressor()``.
    n_estimators, bootstrap, max_samples, random_state
        See :class:`MLPEnsembleClassifier`.

    Attributes
    ----------
    estimators_ : list of MLPRegressor
    n_features_in_ : int
    feature_names_in_ : array of str
        Set if X was a data frame.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import MLPEnsembleRegressor, MLPRegressor
    >>> x = np.linspace(-1.0, 1.0, 40)[:, None]
    >>> member = MLPRegressor(hidden_layer_sizes=(10,), activation="tanh", learning_rate_init=0.02, device="cpu")
    >>> ensemble = MLPEnsembleRegressor(member, n_estimators=5, random_state=0).fit(x, np.sin(3.0 * x[:, 0]))
    >>> inside, outside = ensemble.predict_std([[0.0], [4.0]])
    >>> bool(inside < outside)
    True
    """

    _member_class = MLPRegressor

    @np.errstate(all="ignore")
    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict numbers: the mean over the members.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to also return the standard deviation over the members.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs), or two of them
        """
        backend, outputs = self._outputs(X, "predict")
        with backend.active():
            statistics = [backend.xp.mean(outputs, axis=0), *([backend.xp.std(outputs, axis=0)] if return_std else [])]
            predicted = [self._coding().predictions(values, X) for values in statistics]
        return tuple(predicted) if return_std else predicted[0]

    @np.errstate(all="ignore")
    def predict_std(self, X: Any) -> Any:
        """Compute the standard deviation of the members' predictions.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self.predict(X, return_std=True)[1]
