"""scikit-learn's MLPRegressor on any device."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if

from gpubp._core.counts import is_count
from gpubp._core.names import unknown
from gpubp._core.parameters import keep_parameters
from gpubp._typing import Array
from gpubp.backends.backend import like
from gpubp.errors import DataError
from gpubp.estimators._base import MultilayerPerceptron
from gpubp.estimators._docstrings import fill_docstring
from gpubp.estimators._mixins import R2Mixin
from gpubp.estimators._scores import RELATIVE_SCORES, relative_score
from gpubp.estimators._stackable import StackableModel
from gpubp.estimators.parameter_checks import NameOf
from gpubp.nn.losses import get_loss, loss_of_errors

if TYPE_CHECKING:
    from gpubp.io.onnx.predictions import AddPredictions

LOSS_OF = {"squared_error": "squared", "absolute_error": "absolute"}  # names that differ in gpubp.nn.losses
LOSSES = (*LOSS_OF, "huber", "log_cosh", "poisson", "quantile")


def _loss_name(loss: str) -> str:
    """Return the name in :mod:`gpubp.nn.losses` for the parameter ``loss``; some have a parameter in brackets."""
    if loss.partition("(")[0].strip() not in LOSSES:
        raise DataError(unknown("loss", loss, LOSSES))
    name = LOSS_OF.get(loss, loss)
    get_loss(name)
    return name


class _Loss(NameOf):
    """The name of a loss, which comes first as in scikit-learn, where some expect the hidden layers."""

    def hint(self, value: Any) -> str:
        """Return what follows in the message about a value that is no loss, or ""."""
        sizes = value if isinstance(value, tuple | list) else (value,)
        if sizes and all(map(is_count, sizes)):
            return f"; to set the hidden layers: hidden_layer_sizes={value!r}"
        return super().hint(value)


def _varies(y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Return of each column whether its targets differ, where their weight is not 0."""
    weighted = y if sample_weight is None else y[sample_weight != 0]
    varies: np.ndarray = np.any(weighted != weighted[:1], axis=0)
    return varies


@np.errstate(all="ignore")
def _why_not_learnable(targets: np.ndarray, loss: str, precision: str, *, may_vanish: bool) -> str:
    """Return why targets cannot be learned in a precision: the loss of a column overflows, or vanishes; else ""."""
    targets = targets if targets.dtype.kind == "f" else targets.astype(float)  # bools have no differences
    limits, largest = np.finfo(precision), np.max(np.abs(targets), axis=0)
    spread = np.ptp(targets / np.where(largest > 0.0, largest, 1.0), axis=0) * largest
    of_largest, of_spread = (loss_of_errors(np, _loss_name(loss), errors) for errors in (largest, spread))
    too_large = of_largest > float(limits.max) / targets.size
    too_small = (spread > 0.0) & (of_spread < float(limits.tiny)) & (not may_vanish)
    for columns, figures, found, effect in (
        (too_large, largest, "reach {:.3g}{}", f"the sum of {loss=} overflows"),
        (too_small, spread, "differ by {:.3g} at most{}", f"{loss=} vanishes"),
    ):
        if np.any(columns):
            k = int(np.argmax(columns))
            where, column = ("", "y") if len(figures) == 1 else (f" in column {k}", f"y[:, {k}]")
            fix = f"scale them, such as {column} / {figures[k]:.0e}"
            return f"{found.format(figures[k], where)}, and {effect} in {precision}; {fix}"
    return ""


@dataclass(frozen=True)
class NumberTargets:
    """The targets of a regressor; see :class:`gpubp.estimators._targets.TargetCoding`.

    ``n_outputs`` is the learned number of columns, None before fitting.
    """

    loss: str
    n_outputs: int | None
    is_classifier = False
    default_scoring = "r2"

    @property
    def key(self) -> Hashable:
        """A key that is equal for all targets: the loss belongs to the network."""
        return type(self).__name__

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Check the range that the loss allows; return a column for each output."""
        lowest, _ = get_loss(_loss_name(self.loss)).target_range
        if np.min(y) < lowest:
            raise DataError(f"y must not be below {lowest:g} for loss={self.loss!r}, got {np.min(y):g}")
        targets = y.reshape(-1, 1) if y.ndim == 1 else y
        if self.n_outputs is not None and targets.shape[1] != self.n_outputs:
            raise ValueError(f"y must have {self.n_outputs} columns, as in fit, got {targets.shape[1]}")
        return targets

    def check_learnable(self, targets: np.ndarray, precision: str, *, is_first: bool) -> None:
        """Check that the loss of these targets does not overflow or, in a first fit, vanish in a precision.

        Raises
        ------
        DataError
            If the sum of the loss would be infinite, or the targets differ by too little for it to be more than 0. A
            later fit may have such targets, since it continues with what was learned from others.
        """
        if reason := _why_not_learnable(targets, self.loss, precision, may_vanish=not is_first):
            in_float64 = _why_not_learnable(targets, self.loss, "float64", may_vanish=not is_first)
            wider = "" if in_float64 else ", or use dtype='float64'"
            raise DataError(f"the targets {reason}{wider}")

    def to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets unchanged."""
        return targets

    def predictions(self, outputs: Array, X: Any = None) -> Any:
        """Return one output as a vector, several as columns, in the library and on the device of X."""
        return like(outputs[:, 0] if outputs.shape[1] == 1 else outputs, X)

    def for_scoring(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets unchanged."""
        return targets

    def score(self, name: str, y: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float | None:
        """Compute a relative score; NaN if all targets are equal, which scikit-learn scores 0 or 1."""
        if name not in RELATIVE_SCORES:
            return None
        if not np.any(_varies(y, sample_weight)):
            return math.nan
        return relative_score(name, y, self.predictions(outputs), sample_weight)

    def reason_undefined(self, scoring: Any, targets: np.ndarray) -> str:
        """Return what a relative score lacks: it needs two samples."""
        is_relative = isinstance(scoring, str) and scoring in RELATIVE_SCORES
        return "it needs at least two samples, but there is one" if is_relative and len(targets) < 2 else ""

    def stratify(self, targets: np.ndarray) -> np.ndarray | None:
        """Return None: held-out samples are not stratified."""
        return None

    def output_and_loss(self) -> tuple[str, str]:
        """Return the names of the output activation and of the loss in :mod:`gpubp.nn.losses`."""
        name = _loss_name(self.loss)
        return get_loss(name).output, name

    def onnx_predictions(self) -> "AddPredictions":
        """Return the function that adds predictions to an exported model: the outputs, unchanged."""
        from gpubp.io.onnx.predictions import add_numbers

        return add_numbers


@fill_docstring("R^2")
class MLPRegressor(R2Mixin, MultilayerPerceptron):
    """A multilayer perceptron for regression: scikit-learn's ``MLPRegressor`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model. The parameters from ``device`` on are new; their defaults change nothing.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "log_cosh", "quantile"}, default="squared_error"
        Half the squared error; half the Poisson deviance, for non-negative targets, with an exponential output; the
        absolute error; Huber's loss, squared within its width and linear beyond, with the width in parentheses, as in
        "huber(0.5)", by default 1; the logarithm of the hyperbolic cosine; the pinball loss, whose minimum is a
        quantile, as in "quantile(0.9)", by default the median.
    %(parameters)s

    Attributes
    ----------
    %(attributes)s

    Notes
    -----
    Ctrl-C ends the training and keeps what was learned. Differences from scikit-learn:

    - The squared error is summed over the outputs, and so is its gradient; scikit-learn uses the same gradient but
      reports, and passes to L-BFGS, the mean over the outputs. Its ``loss_curve_`` is therefore smaller, its ``tol``
      coarser, and its line searches are wrong.
    - A warm start continues with the velocity or the moments of the solver, so that consecutive fits are one long fit;
      scikit-learn resets them, and the learning rate of "invscaling" too.
    - Training ends as soon as the weights are not finite, not after ``max_iter`` epochs.
    - Targets whose loss overflows or vanishes in the precision of the computation raise an error, such as 1e200 and
      1e-200 in float64, or 1e20 and 1e-20 in float32; scikit-learn's loss is infinite or knows nothing of them. Scale
      them, for example with :class:`sklearn.compose.TransformedTargetRegressor`. :meth:`score` is exact for all.
    - If the held-out targets are all equal, early stopping has no score to compare: it warns, and keeps the last
      weights. scikit-learn scores them 0, and keeps the first.
    - Targets below 0 raise an error with ``loss="poisson"``; scikit-learn's loss is then NaN.
    - With ``solver="lbfgs"`` there is no ``partial_fit``, and with float32 X the computation and ``coefs_`` are
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
        "loss": [_Loss(_loss_name, LOSSES)],
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
    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch, from the solver's state after the last call.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        self
        """
        with self._unchanged_if_the_device_fails():
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
            return self._coding().predictions(outputs, X)

    def _learn_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return NumberTargets(self.loss, None).encode(y), sample_weight

    def _coding(self) -> NumberTargets:
        return NumberTargets(self.loss, getattr(self, "n_outputs_", None))

    def __stackable__(self) -> StackableModel | None:
        return StackableModel(self) if type(self) is MLPRegressor else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
