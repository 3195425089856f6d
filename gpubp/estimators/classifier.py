"""scikit-learn's MLPClassifier on any device."""

from numbers import Real
from typing import Any, Self

import array_api_compat
import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, is_multilabel, unique_labels

from gpubp._typing import Array
from gpubp.backends.backend import Backend, like, to_numpy
from gpubp.estimators._arrays import is_on_host, on_host
from gpubp.estimators._base import MultilayerPerceptron
from gpubp.estimators._label_encoding import LabelColumns, accuracy, has_columns, learn_labels, weights_by_class
from gpubp.estimators._parameters import keep_parameters
from gpubp.io.onnx.answers import Answer, largest, largest_of_each, marks, one_of_two


class MLPClassifier(ClassifierMixin, MultilayerPerceptron):  # type: ignore[misc]
    """A multilayer perceptron that classifies: scikit-learn's ``MLPClassifier`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model. What is new stands last, from ``device`` on, and changes nothing as long as it is left alone.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; none with ``()``.
    activation : str, or sequence of str with one for each hidden layer, default="relu"
        The units of the hidden layers: "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu",
        "gelu", "exp" or "softmax"; two take a number in brackets, as in "leaky_relu(0.1)" and "elu(0.5)".
    solver : {"lbfgs", "sgd", "adam", "adamw", "rmsprop", "momentum"}, default="adam"
        "lbfgs" takes all samples at once, the others batches. "sgd" has Nesterov's momentum unless told otherwise,
        "momentum" is that of Rumelhart, Hinton & Williams (1986), eq. 9. See :mod:`gpubp.optim.first_order`.
    alpha : float, default=1e-4
        Strength of the L2 penalty, which is divided by the weight of the batch's samples.
    batch_size : int or "auto", default="auto"
        "auto" is 200, or all samples where there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine"} or callable, default="constant"
        How the learning rate goes on. "constant": as it is. "cosine": down to 0 at ``max_iter`` epochs, along half a
        cosine. A function is called with the epochs done, a float, and gives the rate; the schedules of
        :mod:`gpubp.optim.schedules` will do. For "sgd" and "momentum" alone, "invscaling": divided by the
        ``power_t``-th power of the number of samples seen; and "adaptive": divided by 5 whenever ``n_iter_no_change``
        epochs brought nothing.
    learning_rate_init : float, default=0.001
        The learning rate at the start.
    power_t : float, default=0.5
        The exponent of "invscaling".
    max_iter : int, default=200
        Epochs at most, or iterations of "lbfgs".
    shuffle : bool, default=True
        Whether the samples come in a new order in each epoch.
    random_state : int, RandomState or None, default=None
        For the first weights, the samples held out, the order of the samples and the masks of dropout.
    tol : float, default=1e-4
        What counts as an improvement of the loss, or of the validation score.
    verbose : bool, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether :meth:`fit` goes on from the weights and the solver's state that there are; the schedule of the learning
        rate begins anew.
    momentum : float, default=0.9
        The part of the last change that is made again, for "sgd" and "momentum".
    nesterovs_momentum : bool, default=True
        Whether "sgd" looks ahead along its last change.
    early_stopping : bool, default=False
        Whether to watch the score on samples held out, to stop where it no longer improves, and to keep the weights of
        the best epoch; not for "lbfgs". The samples are ``validation_data`` of :meth:`fit`, or a part of X.
    validation_fraction : float, default=0.1
        How much of X early stopping holds out.
    beta_1, beta_2 : float, default=0.9, 0.999
        How much of the old means of the gradient and of its square "adam" and "adamw" keep.
    epsilon : float, default=1e-8
        What "adam", "adamw" and "rmsprop" add to the denominator.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement after which training stops.
    max_fun : int, default=15000
        Evaluations of the loss at most, for "lbfgs".
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "torch:cpu", ...; "auto" is where X is, and for X of NumPy a GPU if
        one works. See :func:`gpubp.backends.backend.choose_backend`.
    dtype : {"float32", "float64"} or None, default=None
        The precision to compute in; None is that of X.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}, default="float32"
        What the operands of matrix products are rounded to, where ``dtype`` or X is float32: see :func:`gpubp.train`.
        "float32" rounds nothing, in float64 neither; "float16" is not for "lbfgs".
    dropout : float or sequence of float, default=0.0
        The part of the units that falls silent while training (Srivastava et al. 2014). One number is for every hidden
        layer; a sequence has one for each hidden layer, or one more, for the inputs, in front. Not for "lbfgs".
    weight_decay : float, default=0.01
        How much "adamw" takes straight off the weights, times the learning rate.
    rho : float, default=0.9
        How much of the old mean of the squared gradient "rmsprop" keeps.
    warm_up : float, default=0
        Epochs over which the learning rate grows from 0, whatever its schedule.
    max_grad_norm : float or None, default=None
        The length at which the gradient of a batch is clipped (Pascanu et al. 2013).
    scoring : str, callable or None, default=None
        What ``validation_scores_`` holds and early stopping watches: the accuracy with None, minus the validation loss
        with "loss", or any scorer of :func:`sklearn.metrics.check_scoring`.
    max_time : float or None, default=None
        Seconds after which training stops, at the end of an epoch.
    callbacks : callable, sequence of callables or None, default=None
        Each is called after each epoch, or iteration of "lbfgs", with a :class:`gpubp.training.loop.Progress`; one that
        returns True ends the training. scikit-learn's own, from version 1.9 on, go to ``set_callbacks``.
    n_restarts : int, default=1
        Fits from different first weights, trained together where that can be, of which the best is kept: by the score
        on samples held out where there are any, else by the loss. The first is what one fit would be. A warm start or
        :meth:`partial_fit` goes on with the best, and with the solver's state anew.
    parallel : "mpi" or None, default=None
        "mpi": all processes that a launcher of MPI has started train this one model, each on its share of every batch,
        and all come to the same. Each must make the same calls. See :func:`gpubp.train` and docs/scaling.md.
    class_weight : dict, list of dict, "balanced" or None, default=None
        How much a sample of each class counts, beside ``sample_weight``; "balanced" makes all classes count the same in
        sum, and a list has one dict for each of several outputs. Neither the score nor the loss of held-out samples
        heeds it.
    loss : {"log_loss", "squared_error"}, default="log_loss"
        Cross entropy, or half the squared error of the probabilities.
    label_smoothing : float, default=0.0
        The part of each label that is spread evenly over the classes (Szegedy et al. 2016), in training alone.

    Attributes
    ----------
    classes_ : array of shape (n_classes,), or a list of them for several outputs
        The classes, sorted.
    coefs_, intercepts_ : list of array
        Weights ``(n_in, n_out)`` and biases ``(n_out,)`` of each layer, arrays of NumPy. Changing them changes what
        the model predicts.
    loss_, best_loss_ : float
        The loss of the last epoch, and the smallest; ``best_loss_`` is None with early stopping.
    loss_curve_ : list of float
        The loss of each epoch, or iteration of "lbfgs", taken while the weights were changing and with the penalty.
    validation_curve_ : list of float or None
        The loss of the samples held out after each epoch, without the penalty; None where none are.
    validation_scores_, best_validation_score_ : list of float and float, or None
        The score on the samples held out after each epoch, and the best; None where none are.
    n_iter_, t_ : int
        Epochs of the last fit, and samples seen in all.
    stop_reason_ : {"epochs", "patience", "converged", "time", "callback", "interrupted", "diverged"}
        Why the last fit ended; :meth:`report` puts it into words.
    fit_seconds_ : float
        How long the last fit took.
    restart_scores_, best_restart_ : list of float and int, or None
        What each restart was judged by, higher being better and NaN for one that failed, and which was kept; None with
        ``n_restarts=1``.
    n_layers_, n_outputs_, n_features_in_ : int
        Layers, the inputs among them; output units; columns of X.
    feature_names_in_ : array of str
        Where X was a frame.
    out_activation_ : str
        The unit of the output layer.

    Notes
    -----
    Beside one class a sample, y may mark several with ones, ``(n_samples, n_classes)``, or have a column of classes for
    each of several outputs, ``(n_samples, n_outputs)``. Ctrl-C ends the training and keeps what was learned. Where
    scikit-learn differs:

    - The loss is exact where outputs are 0 or 1 to the last digit; scikit-learn clips them.
    - A warm start goes on with the velocity or the moments of the solver, so that fits one after the other are one long
      fit; scikit-learn starts them anew, and the learning rate of "invscaling" with them.
    - Training ends as soon as the weights leave the finite numbers, not after ``max_iter`` epochs.
    - :meth:`partial_fit` needs no ``classes`` where y marks several, and refuses those that do not fit its columns.
    - With ``solver="lbfgs"`` and X of float32 the computation and ``coefs_`` are float32.

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
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss", "squared_error"})],
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
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go on training for one epoch, with the solver's state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.
        classes : array of shape (n_classes,), or a list of them for several outputs, optional
            All classes there will be; needed in the first call, unless y marks classes with ones.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples at once and is not supported for partial_fit; give it a "
                "dict, such as sklearn.utils.compute_class_weight makes"
            )
        with self._staying_where_the_device_fails():
            y = on_host(y)
            if has_columns(y):
                self._learn_columns(classes)
            elif is_multilabel(y):
                self._learn_marks(y, on_host(classes))
            elif _check_partial_fit_first_call(self, on_host(classes)):
                self._label_binarizer = learn_labels(on_host(classes))
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Predict classes.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,), (n_samples, n_classes) for multilabel targets, or (n_samples, n_outputs)
            In the library and on the device of X; classes that are text are in an array of NumPy.
        """
        _, outputs = self._outputs(X, "predict")
        classes = self._answers(to_numpy(outputs))
        return classes if is_on_host(X) or classes.dtype.kind in "OSUT" else like(classes, X)

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
        with np.errstate(divide="ignore"):
            if isinstance(probabilities, list):
                return [array_api_compat.array_namespace(p).log(p) for p in probabilities]
            return array_api_compat.array_namespace(probabilities).log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of the predictions: with several outputs, the part of the samples where all are right.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        float
        """
        return accuracy(on_host(y), on_host(self.predict(X)), on_host(sample_weight))

    def _probabilities(self, X: Any, method: str) -> Any:
        backend, outputs = self._outputs(X, method)
        with backend.active():
            return self._as_probabilities(backend, outputs, X)

    def _as_probabilities(self, backend: Backend, outputs: Array, X: Any, of_other: Array | None = None) -> Any:
        """Give the outputs as users see probabilities; beside one logistic unit stands the other class."""
        if isinstance(self._label_binarizer, LabelColumns):
            return [like(group, X) for group in self._label_binarizer.split(outputs)]
        if self.n_outputs_ == 1:
            outputs = backend.xp.concat([1.0 - outputs if of_other is None else of_other, outputs], axis=1)
        return like(outputs, X)

    def _validate_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = learn_labels(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and not has_columns(y) and {*(classes := unique_labels(y))} != {*self.classes_}:
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if self.class_weight is not None:
            by_class = weights_by_class(self.class_weight, y, sample_weight)
            sample_weight = by_class if sample_weight is None else sample_weight * by_class
        return self._desired(y), sample_weight

    def _learn_columns(self, classes: Any) -> None:
        """Learn the classes of several outputs in the first call of :meth:`partial_fit`."""
        if getattr(self, "classes_", None) is not None:
            return
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: a list, one array an output")
        self._label_binarizer = LabelColumns().of([on_host(of_output) for of_output in classes])
        self.classes_ = self._label_binarizer.classes_

    def _learn_marks(self, y: Any, classes: Any) -> None:
        """Learn in the first call of :meth:`partial_fit` how many labels the columns of y mark."""
        marks = learn_labels(y)
        n_columns = len(marks.classes_)
        if classes is not None and len(classes) != n_columns:
            raise ValueError(
                f"y marks {n_columns} labels, one a column, but classes names {len(classes)}: leave classes out, or "
                f"pass range({n_columns})"
            )
        if getattr(self, "classes_", None) is None:
            self._label_binarizer, self.classes_ = marks, marks.classes_

    def _desired(self, y: np.ndarray) -> np.ndarray:
        if isinstance(self._label_binarizer, LabelColumns):
            return self._label_binarizer.transform(y)
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        desired: np.ndarray = self._label_binarizer.transform(y).astype(bool)
        return desired

    def _to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Smooth the labels (Szegedy et al. 2016): a part of each is spread over the classes it chooses among."""
        if not self.label_smoothing:
            return targets
        if isinstance(self._label_binarizer, LabelColumns):
            n_classes = np.repeat(self._label_binarizer.sizes, self._label_binarizer.sizes)
        else:
            n_classes = np.asarray(targets.shape[1] if self._label_binarizer.y_type_ == "multiclass" else 2)
        smooth: np.ndarray = (1.0 - self.label_smoothing) * targets + self.label_smoothing / n_classes
        return smooth

    def _output(self) -> tuple[str, str]:
        unit, error = "logistic", "binary_cross_entropy"
        if isinstance(self._label_binarizer, LabelColumns):
            groups = ",".join(map(str, self._label_binarizer.sizes))
            unit, error = f"softmax({groups})", f"cross_entropy({groups})"
        elif self._label_binarizer.y_type_ == "multiclass":
            unit, error = "softmax", "cross_entropy"
        return unit, "squared" if self.loss == "squared_error" else error

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        answers: np.ndarray = self._label_binarizer.inverse_transform(
            outputs.ravel() if outputs.shape[1] == 1 else outputs
        )
        return answers

    def _answer_in_onnx(self) -> Answer:
        labels = self._label_binarizer
        if isinstance(labels, LabelColumns):
            return largest_of_each(labels.classes_)
        if labels.y_type_ == "multiclass":
            return largest(labels.classes_)
        return one_of_two(labels.classes_) if labels.y_type_ == "binary" else marks

    def _default_score(self, targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        return accuracy(targets, self._answers(outputs), sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags
