"""scikit-learn's MLPRegressor on any device."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from gpubp._core.names import unknown
from gpubp.backends.backend import like
from gpubp.errors import DataError
from gpubp.estimators._arrays import on_host
from gpubp.estimators._base import MultilayerPerceptron
from gpubp.estimators._parameters import NameOf, keep_parameters
from gpubp.io.onnx.answers import Answer, plain
from gpubp.nn.losses import get_loss

ERROR_OF = {"squared_error": "squared", "absolute_error": "absolute"}  # where scikit-learn has a name of its own
LOSSES = (*ERROR_OF, "huber", "log_cosh", "poisson")


def _error(loss: str) -> str:
    """Name the error of a parameter ``loss``, as :mod:`gpubp.nn.losses` calls it; Huber's may have a width."""
    if loss.partition("(")[0].strip() not in LOSSES:
        raise DataError(unknown("loss", loss, LOSSES))
    error = ERROR_OF.get(loss, loss)
    get_loss(error)
    return error


class MLPRegressor(RegressorMixin, MultilayerPerceptron):  # type: ignore[misc]
    """A multilayer perceptron that predicts numbers: scikit-learn's ``MLPRegressor`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model. What is new stands last, from ``device`` on, and changes nothing as long as it is left alone.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "log_cosh"}, default="squared_error"
        Half the squared error; half the Poisson deviance, for targets from 0 up and with the exponential as output; the
        absolute error; Huber's, squared within its width and absolute beyond, with the width in brackets, as in
        "huber(0.5)", else 1; the logarithm of the hyperbolic cosine.
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
        What ``validation_scores_`` holds and early stopping watches: R^2 with None, minus the validation loss
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

    Attributes
    ----------
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
    Ctrl-C ends the training and keeps what was learned. Where scikit-learn differs:

    - The squared error of several outputs is their sum, whose derivative is what training follows; scikit-learn
      follows the same derivative but reports, and gives L-BFGS, the mean over the outputs. Its ``loss_curve_`` is
      therefore smaller, its ``tol`` coarser, and its line searches are misled.
    - A warm start goes on with the velocity or the moments of the solver, so that fits one after the other are one long
      fit; scikit-learn starts them anew, and the learning rate of "invscaling" with them.
    - Training ends as soon as the weights leave the finite numbers, not after ``max_iter`` epochs.
    - Targets below 0 are refused with ``loss="poisson"``; scikit-learn's loss is then NaN.
    - With ``solver="lbfgs"`` there is no ``partial_fit``, and with X of float32 the computation and ``coefs_`` are
      float32.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gpubp import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(solver="lbfgs", alpha=100.0, max_iter=1000, random_state=0, device="cpu")
    >>> model.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.4
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **MultilayerPerceptron._parameter_constraints,
        "loss": [NameOf(_error, LOSSES)],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
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
    ) -> None:
        keep_parameters(self, locals())

    @available_if(MultilayerPerceptron._has_partial_fit)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go on training for one epoch, with the solver's state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        self
        """
        with self._staying_where_the_device_fails():
            return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Predict numbers.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs)
            In the library and on the device of X.
        """
        backend, outputs = self._outputs(X, "predict")
        with backend.active():
            return like(self._answers(outputs), X)

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
        return float(r2_score(on_host(y), on_host(self.predict(X)), sample_weight=on_host(sample_weight)))

    def _validate_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        lowest, _ = get_loss(_error(self.loss)).target_range
        if np.min(y) < lowest:
            raise DataError(f"y must not be below {lowest:g} for loss={self.loss!r}, got {np.min(y):g}")
        return (y.reshape(-1, 1) if y.ndim == 1 else y), sample_weight

    def _desired(self, y: np.ndarray) -> np.ndarray:
        targets, _ = self._validate_targets(y, None, incremental=False)
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {targets.shape[1]}")
        return targets

    def _output(self) -> tuple[str, str]:
        error = _error(self.loss)
        return get_loss(error).output, error

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _answer_in_onnx(self) -> Answer:
        return plain

    def _default_score(self, targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        return float(r2_score(targets, self._answers(outputs), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
