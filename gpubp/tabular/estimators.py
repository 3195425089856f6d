"""scikit-learn's interface to tables: a classifier and a regressor that take frames and files with any columns."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval

from gpubp._core.parameters import keep_parameters
from gpubp.backends.inputs import accept_on_host, as_labels, as_numbers
from gpubp.data.preprocessing import ClassTarget, NumberTarget, class_values, preprocessing_of
from gpubp.data.table import Column, table_from_mapping
from gpubp.errors import DataError
from gpubp.estimators.parameter_checks import OneOf
from gpubp.io.model_file import Model
from gpubp.tabular.class_weight import with_class_weight
from gpubp.tabular.estimator_base import TabularEstimator
from gpubp.tabular.estimator_parameters import documented
from gpubp.tabular.estimator_tables import numbers_of, refuse_missing
from gpubp.tabular.fit import with_label_smoothing
from gpubp.tabular.predict import interval_ends
from gpubp.tabular.prepared_table import PreparedTable


@documented
class TabularClassifier(ClassifierMixin, TabularEstimator):  # type: ignore[misc]
    """A multilayer perceptron that predicts the classes of the rows of a table.

    Columns of numbers, categories, dates and text need no preparation: see docs/tables.md.

    Parameters
    ----------
    %(parameters)s
    class_weight : dict, "balanced" or None, default=None
        The weight of each class, also in the loss of the validation rows; "balanced" gives all classes the same total
        weight.
    label_smoothing : float, default=0.0
        The part of each label that is spread evenly over all classes, not for the validation rows: see
        :func:`gpubp.fit_table`.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The classes, sorted; text in an array of objects.
    %(attributes)s

    Examples
    --------
    >>> from gpubp import TabularClassifier
    >>> shop = {"size": [1.5, 2.5, None, 8.0] * 20, "colour": ["red", "blue", "blue", "red"] * 20}
    >>> model = TabularClassifier(epochs=20, device="cpu").fit(shop, ["no", "yes", "yes", "no"] * 20)
    >>> model.predict({"colour": ["blue", "red"], "size": [2.0, None]})
    array(['yes', 'no'], dtype=object)
    """

    _task = "classification"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TabularEstimator._parameter_constraints,
        "class_weight": [dict, OneOf(["balanced"]), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        preset: Any = "fast",
        time_budget: Any = 60.0,
        loss: Any = None,
        optimizer: Any = "adam",
        learning_rate: Any = None,
        epochs: Any = 200,
        batch_size: Any = "auto",
        l2: Any = 0.1,
        dropout: Any = 0.0,
        patience: Any = 10,
        tolerance: Any = 1e-6,
        validation_fraction: Any = 0.1,
        refit: Any = True,
        types: Any = None,
        categorical: Any = (),
        drop: Any = (),
        missing: Any = (),
        max_categories: Any = 100,
        strict: Any = False,
        numbers: Any = "piecewise",
        categories: Any = "one-hot",
        n_networks: Any = 1,
        n_restarts: Any = 1,
        group: Any = None,
        time: Any = None,
        random_state: Any = 0,
        device: Any = "auto",
        dtype: Any = "float32",
        matmul_precision: Any = "float32",
        callbacks: Any = None,
        class_weight: Any = None,
        label_smoothing: Any = 0.0,
    ) -> None:
        keep_parameters(self, locals())

    def _weighted(self, prepared: PreparedTable) -> PreparedTable:
        prepared = with_label_smoothing(prepared, self.label_smoothing)
        return with_class_weight(prepared, self.class_weight)

    def _keep(self, model: Model) -> None:
        super()._keep(model)
        target = preprocessing_of(model).target
        assert isinstance(target, ClassTarget)
        self.classes_ = class_values(target)

    @np.errstate(all="ignore")
    def predict(self, X: Any) -> np.ndarray:
        """Predict classes.

        Parameters
        ----------
        X : data frame, dict of columns, array, path, or name of a data set
            Columns are matched by name, in any order, and others are ignored; those of an array by position.

        Returns
        -------
        array of shape (n_samples,)
        """
        return next(iter(self._predictions(X).values()))

    @np.errstate(all="ignore")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X
            See :meth:`predict`.

        Returns
        -------
        array of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to 1 in float64.
        """
        _, *of_classes = self._predictions(X).values()
        probabilities = np.stack(of_classes, axis=1)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of the predictions.

        Parameters
        ----------
        X
            See :meth:`predict`.
        y : array of shape (n_samples,), or the name of the target in X
            Given a name, rows without a class are left out. Classes that training did not see count as wrong.
        sample_weight : array of shape (n_samples,), optional

        Returns
        -------
        float
        """
        rows, true, weights = self._known(X, y, sample_weight)
        if true is y:
            labels = np.asarray(accept_on_host("y", y))
            if labels.ndim == 1 and labels.dtype.kind in "Of":
                refuse_missing(table_from_mapping({"y": labels}))
            return float(super().score(X, as_labels("y", labels, self.classes_), weights))
        return float(np.average(true == self.predict(rows), weights=weights))


@documented
class TabularRegressor(RegressorMixin, TabularEstimator):  # type: ignore[misc]
    """A multilayer perceptron that predicts numbers for the rows of a table.

    Columns of numbers, categories, dates and text need no preparation: see docs/tables.md.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    Examples
    --------
    >>> from gpubp import TabularRegressor
    >>> flats = {"area": [30.0, 50.0, 80.0, None] * 20, "town": ["Bonn", "Rome", "Bonn", "Rome"] * 20}
    >>> model = TabularRegressor(epochs=50, device="cpu").fit(flats, [300.0, 900.0, 800.0, 900.0] * 20)
    >>> model.predict_quantiles({"area": [50.0], "town": ["Rome"]}, [0.25, 0.75]).shape
    (1, 2)
    """

    _task = "regression"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        preset: Any = "fast",
        time_budget: Any = 60.0,
        loss: Any = None,
        optimizer: Any = "adam",
        learning_rate: Any = None,
        epochs: Any = 200,
        batch_size: Any = "auto",
        l2: Any = 0.1,
        dropout: Any = 0.0,
        patience: Any = 10,
        tolerance: Any = 1e-6,
        validation_fraction: Any = 0.1,
        refit: Any = True,
        types: Any = None,
        categorical: Any = (),
        drop: Any = (),
        missing: Any = (),
        max_categories: Any = 100,
        strict: Any = False,
        numbers: Any = "piecewise",
        categories: Any = "one-hot",
        n_networks: Any = 1,
        n_restarts: Any = 1,
        group: Any = None,
        time: Any = None,
        random_state: Any = 0,
        device: Any = "auto",
        dtype: Any = "float32",
        matmul_precision: Any = "float32",
        callbacks: Any = None,
    ) -> None:
        keep_parameters(self, locals())

    @np.errstate(all="ignore")
    def predict(self, X: Any) -> np.ndarray:
        """Predict numbers.

        Parameters
        ----------
        X : data frame, dict of columns, array, path, or name of a data set
            Columns are matched by name, in any order, and others are ignored; those of an array by position.

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
        """
        return _joined(self._predictions(X))

    @np.errstate(all="ignore")
    def predict_quantiles(self, X: Any, quantiles: Any) -> np.ndarray:
        """Predict quantiles of the target: the prediction, moved by the errors on the rows that training held out.

        Parameters
        ----------
        X
            See :meth:`predict`.
        quantiles : sequence of float
            Between 0 and 1. Those of 0.05 and 0.95 are the ends of an interval that holds nine of ten targets, as of
            ``gpubp predict --interval 0.9`` (split conformal prediction; Vovk, Gammerman & Shafer 2005).

        Returns
        -------
        array of shape (n_samples, n_quantiles) or (n_samples, n_quantiles, n_outputs)

        Raises
        ------
        DataError
            If a quantile is not between 0 and 1, or too few rows were held out for it.
        """
        given = np.atleast_1d(accept_on_host("quantiles", quantiles))
        wanted = as_numbers("quantiles", given).astype(float)
        if wanted.ndim != 1 or not wanted.size or not ((wanted > 0.0) & (wanted < 1.0)).all():
            raise DataError(f"quantiles must be numbers between 0 and 1, such as (0.05, 0.5, 0.95), got {quantiles!r}")
        predictions = self._predictions(X)
        of_quantiles = []
        for quantile in wanted.tolist():
            share = round(abs(2.0 * quantile - 1.0), 12)
            numbers = predictions
            if share > 0.0:
                ends = interval_ends(self.model_, predictions, share)
                numbers = {name: one.low if quantile < 0.5 else one.high for name, one in ends.items()}
            of_quantiles.append(_joined(numbers))
        return np.stack(of_quantiles, axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R squared of the predictions.

        Parameters
        ----------
        X
            See :meth:`predict`.
        y : array of shape (n_samples,) or (n_samples, n_outputs), or the name of the target in X
            Given a name, or a list of them, rows whose target is missing are left out.
        sample_weight : array of shape (n_samples,), optional

        Returns
        -------
        float
        """
        rows, true, weights = self._known(X, y, sample_weight)
        target = preprocessing_of(self.model_).target
        assert isinstance(target, NumberTarget)
        return float(super().score(rows, numbers_of(true, target), weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _joined(columns: dict[str, Column]) -> np.ndarray:
    """Return one column, or several as a matrix."""
    arrays = list(columns.values())
    return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
