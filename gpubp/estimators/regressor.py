"""scikit-learn's MLPRegressor on any device."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from gpubp.backend import like
from gpubp.errors import DataError
from gpubp.estimators.arrays import on_host
from gpubp.estimators.base import MultilayerPerceptron
from gpubp.estimators.parameters import NameOf, keep_parameters
from gpubp.losses import loss as find_loss
from gpubp.registry import unknown

ERROR_OF = {"squared_error": "squared", "absolute_error": "absolute"}  # where scikit-learn has a name of its own
LOSSES = (*ERROR_OF, "huber", "log_cosh", "poisson")


def _error(loss: str) -> str:
    """Name the error of a parameter ``loss``, as :mod:`gpubp.losses` calls it; Huber's may have a width."""
    if loss.partition("(")[0].strip() not in LOSSES:
        raise DataError(unknown("loss", loss, LOSSES))
    error = ERROR_OF.get(loss, loss)
    find_loss(error)
    return error


class MLPRegressor(RegressorMixin, MultilayerPerceptron):  # type: ignore[misc]
    """A multilayer perceptron that predicts numbers: scikit-learn's ``MLPRegressor`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model; ``device`` and ``dtype`` are new.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        Half the squared error, or half the Poisson deviance, for targets from 0 up and with the exponential as output.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, default="relu"
        The units of the hidden layers.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
    alpha : float, default=1e-4
        Strength of the L2 penalty, which is divided by the weight of the batch's cases.
    batch_size : int or "auto", default="auto"
        "auto" is 200, or all cases where there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        How the learning rate of "sgd" goes on: as it is; divided by the ``power_t``-th power of the number of cases
        seen; divided by 5 whenever ``n_iter_no_change`` epochs brought nothing.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
    max_iter : int, default=200
        Epochs at most, or iterations of "lbfgs".
    shuffle : bool, default=True
        Whether the cases come in a new order in each epoch.
    random_state : int, RandomState or None, default=None
        For the first weights, the cases held out and the order of the cases.
    tol : float, default=1e-4
        What counts as an improvement of the loss, or of the validation score.
    verbose : bool, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether :meth:`fit` goes on from the weights there are.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Whether to hold out cases, to watch the score on them, and to keep the weights of the best epoch.
    validation_fraction : float, default=0.1
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Settings of "adam".
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    max_fun : int, default=15000
        Evaluations of the loss at most, for "lbfgs".
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:1", "torch:cpu", ...; "auto" is where X is, and for X of NumPy a GPU if
        one works. See :func:`gpubp.backend.choose_backend`.
    dtype : {"float32", "float64"} or None, default=None
        The precision to compute in; None is that of X.

    Attributes
    ----------
    coefs_, intercepts_ : list of array
        Weights ``(n_in, n_out)`` and biases ``(n_out,)`` of each layer, arrays of NumPy. Changing them changes what
        the model predicts.
    loss_, best_loss_ : float
        The loss of the last epoch, and the smallest; ``best_loss_`` is None with early stopping.
    loss_curve_ : list of float
        The loss of each epoch.
    validation_scores_, best_validation_score_ : list of float and float, or None
        The score on the cases held out, with early stopping.
    n_iter_, t_ : int
        Epochs of the last fit, and cases seen in all.
    n_layers_, n_outputs_, n_features_in_ : int
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
    - Training ends as soon as the weights leave the finite numbers, not after ``max_iter`` epochs.
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
        dropout: Any = 0.0,
        weight_decay: Any = 0.01,
        rho: Any = 0.9,
        warm_up: Any = 0,
        max_grad_norm: Any = None,
        scoring: Any = None,
        max_time: Any = None,
        callbacks: Any = None,
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

    def _admit_targets(self, y: np.ndarray, incremental: bool) -> tuple[np.ndarray, np.ndarray | None]:
        lowest, _ = find_loss(_error(self.loss)).desired
        if np.min(y) < lowest:
            raise DataError(f"y must not be below {lowest:g} for loss={self.loss!r}, got {np.min(y):g}")
        return (y.reshape(-1, 1) if y.ndim == 1 else y), None

    def _desired(self, y: np.ndarray) -> np.ndarray:
        d, _ = self._admit_targets(y, incremental=False)
        if d.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {d.shape[1]}")
        return d

    def _output(self) -> tuple[str, str]:
        error = _error(self.loss)
        return find_loss(error).output, error

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _default_score(self, targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        return float(r2_score(targets, self._answers(outputs), sample_weight=sample_weight))
