"""scikit-learn's MLPClassifier on any device."""

from numbers import Real
from typing import Any, Self

import array_api_compat
import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call

from gpubp._core.parameters import keep_parameters
from gpubp.backends.inputs import accept_on_host, as_labels
from gpubp.estimators._arrays import on_host
from gpubp.estimators._base import MultilayerPerceptron
from gpubp.estimators._docstrings import fill_docstring
from gpubp.estimators._label_encoding import (
    ClassTargets,
    LabelColumns,
    check_same_classes,
    has_columns,
    learn_labels,
    marks_labels,
    weights_by_class,
)
from gpubp.estimators._mixins import AccuracyMixin
from gpubp.estimators._stackable import StackableModel
from gpubp.estimators._validation import accept_targets
from gpubp.estimators.parameter_checks import OneOf


@fill_docstring("the accuracy")
class MLPClassifier(AccuracyMixin, MultilayerPerceptron):
    """A multilayer perceptron for classification: scikit-learn's ``MLPClassifier`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model. The parameters from ``device`` on are new; their defaults change nothing.

    Parameters
    ----------
    %(parameters)s
    class_weight : dict, list of dict, "balanced" or None, default=None
        The weight of each class, which multiplies ``sample_weight``; "balanced" gives all classes the same total
        weight, and a list has one dict for each of several outputs. Held-out samples are evaluated without it.
    loss : {"log_loss", "squared_error"}, default="log_loss"
        Cross entropy, or half the squared error of the probabilities.
    label_smoothing : float, default=0.0
        The fraction of each label that is spread evenly over the classes (Szegedy et al. 2016), in training only.

    Attributes
    ----------
    classes_ : array of shape (n_classes,), or a list of them for several outputs
        The classes, sorted.
    %(attributes)s

    Notes
    -----
    Instead of one class per sample, y may mark several labels with ones, ``(n_samples, n_classes)``, or have a column
    of classes for each of several outputs, ``(n_samples, n_outputs)``. Columns of zeros and ones mark labels, and may
    be a sparse matrix; :meth:`predict` then returns a sparse matrix too. Ctrl-C ends the training and keeps what was
    learned. Differences from scikit-learn:

    - The loss is exact even if outputs round to 0 or 1. scikit-learn clips them, so that the loss of a sample is at
      most 36 in float64 and 16 in float32. For "sgd" and "adam" this changes only what is reported. "lbfgs" chooses its
      steps by the loss: its weights differ from scikit-learn's where some sample on the way is worse than that, which
      is rare unless X is not scaled.
    - A warm start continues with the velocity or the moments of the solver, so that consecutive fits are one long fit;
      scikit-learn resets them, and the learning rate of "invscaling" too.
    - Training ends as soon as the weights are not finite, not after ``max_iter`` epochs.
    - With one class in y, :meth:`predict_proba` has one column, of ones; scikit-learn has two columns, of which neither
      belongs to the class.
    - Columns of two other numbers, such as 1 and 2, are columns of classes; scikit-learn treats them as marks.
    - :meth:`partial_fit` needs no ``classes`` if y marks labels, and raises if ``classes`` does not fit its columns.
    - With ``solver="lbfgs"`` and float32 X, the computation and ``coefs_`` are float32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), solver="lbfgs", max_iter=1000, random_state=0, device="cpu").fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **MultilayerPerceptron._parameter_constraints,
        "class_weight": [dict, list, OneOf(["balanced"]), None],
        "loss": [OneOf(["log_loss", "squared_error"])],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: Any = 0.001,
        power_t: Any = 0.5,
        max_iter: Any = 200,
        shuffle: Any = True,
        random_state: Any = None,
        tol: Any = 1e-4,
        verbose: Any = False,
        warm_start: Any = False,
        momentum: Any = 0.9,
        nesterovs_momentum: Any = True,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        beta_1: Any = 0.9,
        beta_2: Any = 0.999,
        epsilon: Any = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: Any = 15000,
        device: Any = "auto",
        dtype: Any = None,
        matmul_precision: Any = "float32",
        dropout: Any = 0.0,
        weight_decay: Any = 0.01,
        rho: Any = 0.9,
        warm_up: Any = 0,
        max_grad_norm: Any = None,
        scoring: Any = None,
        max_time: Any = None,
        callbacks: Any = None,
        n_restarts: Any = 1,
        parallel: Any = None,
        class_weight: Any = None,
        loss: Any = "log_loss",
        label_smoothing: Any = 0.0,
    ) -> None:
        keep_parameters(self, locals())

    @available_if(MultilayerPerceptron._has_partial_fit)  # type: ignore[untyped-decorator]
    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one more epoch, from the solver's state after the last call.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.
        classes : array of shape (n_classes,), or a list of them for several outputs, optional
            All classes that will occur; required in the first call, unless y marks labels with ones. Batches may lack
            some of them; a warm start of :meth:`fit` may not.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples at once and is not supported for partial_fit; pass a dict "
                "of weights, for example from sklearn.utils.compute_class_weight"
            )
        with self._unchanged_if_the_device_fails():
            y, classes = accept_targets(self, y), as_labels("classes", accept_on_host("classes", classes))
            if self._expects_columns(y, classes):
                self._learn_columns(classes)
            elif marks_labels(y):
                self._learn_multilabel(y, classes)
            elif _check_partial_fit_first_call(self, classes):
                self._label_binarizer = learn_labels(classes)
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Predict classes.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,), (n_samples, n_classes) for multilabel targets, or (n_samples, n_outputs)
            In the library and on the device of X; text classes are in a NumPy array, and labels in a CSR matrix if y
            was sparse in fit.
        """
        backend, outputs = self._outputs(X, "predict")
        with backend.active():
            return self._coding().predictions(outputs, X)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), or a list of them, one for each of several outputs
            In the library and on the device of X.
        """
        return self._probabilities(X, "predict_proba")

    @np.errstate(all="ignore")
    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), or a list of them, one for each of several outputs
            In the library and on the device of X.
        """
        probabilities = self._probabilities(X, "predict_log_proba")
        if isinstance(probabilities, list):
            return [array_api_compat.array_namespace(p).log(p) for p in probabilities]
        return array_api_compat.array_namespace(probabilities).log(probabilities)

    def _probabilities(self, X: Any, method: str) -> Any:
        backend, outputs = self._outputs(X, method)
        with backend.active():
            return self._coding().probabilities(backend, outputs, X)

    def _learn_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = learn_labels(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and not incremental:
            check_same_classes(self._label_binarizer, y)
        if self.class_weight is not None:
            class_weights = weights_by_class(self.class_weight, y, sample_weight)
            sample_weight = class_weights if sample_weight is None else sample_weight * class_weights
        return self._coding().encode(y), sample_weight

    def _expects_columns(self, y: Any, classes: Any) -> bool:
        """Return whether :meth:`partial_fit` learns columns of classes; zeros and ones alone do not show it."""
        if getattr(self, "classes_", None) is not None:
            return isinstance(self._label_binarizer, LabelColumns)
        return has_columns(y) or any(np.ndim(on_host(each)) for each in (() if classes is None else classes))

    def _learn_columns(self, classes: Any) -> None:
        """Learn the classes of several outputs in the first call of :meth:`partial_fit`; later, check them."""
        is_first = getattr(self, "classes_", None) is None
        if classes is None and not is_first:
            return
        if classes is None or not all(np.ndim(on_host(output_classes)) == 1 for output_classes in classes):
            raise ValueError("classes must be passed on the first call to partial_fit: a list, one array per output")
        labels = LabelColumns().set_classes([on_host(output_classes) for output_classes in classes])
        if is_first:
            self._label_binarizer, self.classes_ = labels, labels.classes_
        elif len(labels.classes_) != len(self.classes_) or not all(map(np.array_equal, labels.classes_, self.classes_)):
            raise ValueError(f"classes={classes} differ from those of the first call to partial_fit, {self.classes_}")

    def _learn_multilabel(self, y: Any, classes: Any) -> None:
        """Learn the number of labels that y marks, in the first call of :meth:`partial_fit`."""
        labels = learn_labels(y)
        n_columns = len(labels.classes_)
        if classes is not None and len(classes) != n_columns:
            raise ValueError(
                f"y marks {n_columns} labels, one per column, but classes has {len(classes)}: omit classes, or "
                f"pass range({n_columns})"
            )
        if getattr(self, "classes_", None) is None:
            self._label_binarizer, self.classes_ = labels, labels.classes_

    def _coding(self) -> ClassTargets:
        return ClassTargets(self._label_binarizer, self.classes_, self.loss, self.label_smoothing)

    def __stackable__(self) -> StackableModel | None:
        return StackableModel(self) if type(self) is MLPClassifier else None
