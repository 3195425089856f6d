"""scikit-learn's multilayer perceptrons, on any device: the same parameters, attributes, warnings and random numbers.

Training is :func:`gpubp.loop.run` with batches in scikit-learn's order; this room turns what an estimator is given into
a plan, and what comes of it into fitted attributes.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from operator import index
from typing import Any, NamedTuple, Self

import array_api_compat
import numpy as np
import scipy  # type: ignore[import-untyped]
import scipy.optimize  # type: ignore[import-untyped]
import scipy.sparse  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, check_X_y, column_or_1d, compute_sample_weight, gen_batches, shuffle
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.fixes import parse_version
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gpubp._typing import Array
from gpubp.backend import Backend, choose_backend, like, to_backend, to_numpy
from gpubp.checks import choose_precision
from gpubp.descent import Rule, adam, momentum, nesterov
from gpubp.errors import DataError
from gpubp.loop import Plan, Position, Progress, run
from gpubp.network import Network, flatten, output_layer, views
from gpubp.prediction import CASES_AT_ONCE
from gpubp.step import Batch, Objective, Step, make_step, objective_and_gradient

STOCHASTIC_SOLVERS = ("sgd", "adam")
SMALLEST_RATE = 1e-6  # below which an adaptive learning rate stops the training
_OUTPUT_OF = {"squared_error": ("identity", "squared"), "poisson": ("exp", "poisson")}


class NamespaceError(DataError, TypeError):
    """A model fitted on arrays of one library was given arrays of another."""


@dataclass
class LearningRate:
    """scikit-learn's learning rate, which follows the cases seen, or the progress made, rather than the epochs.

    Called with the epochs done, as any schedule of a rule, it answers with its present value whatever they are.
    """

    first: float
    schedule: str
    power: float
    now: float

    def __call__(self, epoch: float) -> float:
        """Give the present rate, whatever the epoch."""
        return self.now

    def after_epoch(self, n_seen: int) -> None:
        """Follow the number of cases seen since the first fit."""
        if self.schedule == "invscaling":
            self.now = self.first / (n_seen + 1) ** self.power

    def when_stuck(self) -> str:
        """Become smaller where that may help; say what was done, and nothing where training should stop."""
        if self.schedule != "adaptive" or self.now <= SMALLEST_RATE:
            return ""
        self.now /= 5.0
        return f"Setting learning rate to {self.now:f}"


class Optimizer(NamedTuple):
    """What :meth:`partial_fit` goes on with: the learning rate, and the state of the solver's rule."""

    solver: str
    rate: LearningRate
    state: Any = None

    def on(self, backend: Backend | None, dtype: str) -> "Optimizer":
        """Move the state's arrays to a backend, or to the host."""
        if not self.state:
            return self
        moved = [
            part if isinstance(part, int) else (to_numpy(part) if backend is None else to_backend(backend, part, dtype))
            for part in self.state
        ]
        return self._replace(state=type(self.state)(*moved))


class Cases(NamedTuple):
    """Cases to learn from: x on the device, or sparse on the host; the desired outputs and weights on the device."""

    backend: Backend
    precision: str
    x: Any
    d: Array
    case_weights: Array | None

    def batch(self, rows: slice) -> Batch:
        """Take consecutive cases."""
        weights = None if self.case_weights is None else self.case_weights[rows]
        return Batch(_dense(self.backend, self.precision, self.x, rows), self.d[rows, :], weights)

    def chosen(self, order: np.ndarray, order_on_device: Array, part: slice) -> Batch:
        """Take the cases that a part of ``order`` names."""
        xp, rows = self.backend.xp, order_on_device[part]
        if scipy.sparse.issparse(self.x):
            x = to_backend(self.backend, self.x[order[part]].toarray(), self.precision)
        else:
            x = xp.take(self.x, rows, axis=0)
        weights = None if self.case_weights is None else xp.take(self.case_weights, rows, axis=0)
        return Batch(x, xp.take(self.d, rows, axis=0), weights)


class HeldOut(NamedTuple):
    """Cases for early stopping: x as in :class:`Cases`, desired outputs as a score takes them, weights; on the host."""

    x: Any
    desired: np.ndarray
    case_weights: np.ndarray | None


class _MultilayerPerceptron(BaseEstimator, ABC):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  scikit-learn's name and kind
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    # --- what a classifier and a regressor do differently ---

    @abstractmethod
    def _admit_targets(self, y: np.ndarray, incremental: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Turn targets into desired outputs, a column for each output unit, and weights by class."""

    @abstractmethod
    def _output(self) -> tuple[str, str]:
        """Name the output unit, and the error as :mod:`gpubp.losses` calls it."""

    @abstractmethod
    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        """Turn the network's outputs into predictions."""

    @abstractmethod
    def _held_out_score(self, held_out: HeldOut, outputs: np.ndarray) -> float:
        """Score the outputs for cases held out."""

    # --- fitting ---

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
            Arrays of CuPy, torch or another library that implements the array API standard stay where they are.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: classes, or numbers. An array of NumPy will do, whatever library X is from.
        sample_weight : array of shape (n_samples,), optional
            How much each case counts.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _has_partial_fit(self) -> bool:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:
        hidden = self.hidden_layer_sizes
        hidden = [index(n) for n in hidden] if hasattr(hidden, "__iter__") else [hidden]
        if any(n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)

        x, y = self._admit_cases(X, y, reset=first_pass)
        weights = (
            None if sample_weight is None else _check_sample_weight(_on_host(sample_weight), np.empty((y.shape[0], 1)))
        )
        d, weights_by_class = self._admit_targets(y, incremental)
        self.n_outputs_ = d.shape[1]

        backend = choose_backend(self.device, x)
        precision = choose_precision(backend, self.dtype, x)
        random_state = check_random_state(self.random_state)
        if first_pass:
            self._initialize([x.shape[1], *hidden, self.n_outputs_], precision, random_state)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")

        rows = held_out = None
        train_weights = weights
        if weights_by_class is not None:
            train_weights = weights_by_class if weights is None else weights * weights_by_class
        with backend.active(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.early_stopping and self.solver in STOCHASTIC_SOLVERS:
                rows, aside = self._split(d, random_state)
                held_out = HeldOut(
                    _rows(backend, precision, x, aside),
                    self._answers(d[aside]) if isinstance(self, ClassifierMixin) else d[aside],
                    None if weights is None else weights[aside],
                )
            cases = Cases(
                backend,
                precision,
                _rows(backend, precision, x, rows),
                _rows(backend, precision, d, rows),
                None if train_weights is None else _rows(backend, precision, train_weights, rows),
            )
            theta = to_backend(backend, self._theta(), precision)
            if self.solver == "lbfgs":
                self._fit_lbfgs(cases, theta)
            else:
                self._fit_stochastic(cases, held_out, theta, random_state, incremental)
        return self

    def _initialize(self, sizes: list[int], precision: str, random_state: np.random.RandomState) -> None:
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output()[0]
        factor = 2.0 if self.activation == "logistic" else 6.0
        self.coefs_, self.intercepts_ = [], []
        for n_in, n_out in pairwise(sizes):
            bound = math.sqrt(factor / (n_in + n_out))
            # scikit-learn draws the weights, then the biases: one stream, so one draw of the whole block
            block = random_state.uniform(-bound, bound, (n_in + 1, n_out)).astype(precision, copy=False)
            self.coefs_.append(block[:-1].copy())
            self.intercepts_.append(block[-1].copy())
        if self.solver in STOCHASTIC_SOLVERS:
            self._start_history()
        self._optimizer: Optimizer | None = None

    def _start_history(self) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_: float | None = None if self.early_stopping else np.inf
        self.validation_scores_: Any = [] if self.early_stopping else None
        self.best_validation_score_: Any = -np.inf if self.early_stopping else None

    def _network(self) -> Network:
        sizes = (self.coefs_[0].shape[0], *(coefs.shape[1] for coefs in self.coefs_))
        output, loss = self._output()
        return Network(sizes, hidden=self.activation, output=output, loss=loss)

    def _theta(self) -> np.ndarray:
        """Join ``coefs_`` and ``intercepts_`` as they stand: a user may have changed them."""
        blocks = [np.vstack([w, b]) for w, b in zip(self.coefs_, self.intercepts_, strict=True)]
        return np.asarray(flatten(np, blocks))

    def _keep(self, theta: np.ndarray) -> None:
        blocks = views(np, self._network(), theta)
        self.coefs_ = [block[:-1].copy() for block in blocks]
        self.intercepts_ = [block[-1].copy() for block in blocks]
        if not np.all(np.isfinite(theta)):
            _refuse_weights()

    def _split(self, d: np.ndarray, random_state: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Hold out a part of the cases for early stopping: the rows to learn from, and those held out."""
        stratify = d if isinstance(self, ClassifierMixin) and self.n_outputs_ == 1 else None
        rows, held_out = train_test_split(
            np.arange(d.shape[0]), random_state=random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if held_out.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return rows, held_out

    # --- the stochastic solvers ---

    def _fit_stochastic(
        self,
        cases: Cases,
        held_out: HeldOut | None,
        theta: Array,
        random_state: np.random.RandomState,
        incremental: bool,
    ) -> None:
        backend, precision, network, n_cases = cases.backend, cases.precision, self._network(), cases.d.shape[0]
        if not hasattr(self, "loss_curve_") or (held_out is not None and self.validation_scores_ is None):
            self._start_history()  # a warm start from another solver, or now with early stopping
        optimizer = self._optimizer if incremental else None
        if optimizer is None or optimizer.solver != self.solver:
            rate = float(self.learning_rate_init)
            schedule = self.learning_rate if self.solver == "sgd" else "constant"
            optimizer = Optimizer(self.solver, LearningRate(rate, schedule, self.power_t, rate))
        rule = self._rule(optimizer.rate)
        if optimizer.state is None:
            optimizer = optimizer._replace(state=rule.init(backend.xp, theta))
        position = Position(theta, optimizer.on(backend, precision).state)
        self.n_iter_ = 0
        watch = _Watch(self, cases, held_out, network, optimizer.rate, theta)
        step = make_step(backend, Objective(network, l2=float(self.alpha)), rule, precision)
        plan = Plan(
            backend=backend,
            network=network,
            step=partial(_weighed_by_cases, step),
            batches=_Order(cases, self._batch_size(n_cases), random_state if self.shuffle else None),
            epochs=1 if incremental else self.max_iter,
            mean=False,
            callbacks=(watch,),
        )
        outcome = run(plan, position)
        self._optimizer = optimizer._replace(state=position.state)
        if outcome.stop_reason == "diverged":
            watch.diverged()
            if held_out is None:
                _refuse_weights()
        self._keep(to_numpy(outcome.theta if held_out is None else watch.best))
        if outcome.stop_reason == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=3)
        elif outcome.stop_reason in ("epochs", "diverged") and not incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet."
                if outcome.stop_reason == "epochs"
                else f"Stochastic Optimizer: the weights left the finite numbers after {self.n_iter_} iterations; "
                "those with the best validation score were kept. A smaller learning_rate_init or scaled inputs help.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _rule(self, rate: LearningRate) -> Rule:
        if self.solver == "adam":
            return adam(float(self.learning_rate_init), self.beta_1, self.beta_2, self.epsilon)
        return (nesterov if self.nesterovs_momentum else momentum)(rate, self.momentum)

    def _batch_size(self, n_cases: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_cases)
        if self.batch_size > n_cases:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
            )
        return int(min(self.batch_size, n_cases))

    # --- L-BFGS ---

    def _fit_lbfgs(self, cases: Cases, theta: Array) -> None:
        backend, network, n_cases = cases.backend, self._network(), cases.d.shape[0]
        mask = network.weight_mask()
        mask_on_device = to_backend(backend, mask, cases.precision)
        # scikit-learn packs all weights before all biases; in that order rounding falls as it does there
        order = np.concatenate([np.flatnonzero(mask), np.flatnonzero(mask == 0.0)])
        weights = cases.case_weights
        total = float(n_cases) if weights is None else float(backend.xp.sum(weights))
        at_once = CASES_AT_ONCE if scipy.sparse.issparse(cases.x) else n_cases
        parts = list(gen_batches(n_cases, at_once))
        # the penalty counts once, with the first part
        objectives = [Objective(network, mean=False, l2=0.0 if part.start else float(self.alpha)) for part in parts]

        def objective(packed: np.ndarray) -> tuple[float, np.ndarray]:
            at = np.empty_like(packed)
            at[order] = packed
            on_device = to_backend(backend, at, cases.precision)
            value, gradient = 0.0, np.zeros_like(packed)
            for part, of_part in zip(parts, objectives, strict=True):
                E, dE_dtheta = objective_and_gradient(backend.xp, of_part, mask_on_device, on_device, cases.batch(part))
                value, gradient = value + float(E), gradient + to_numpy(dE_dtheta)
            return value / total, gradient[order] / total

        options: dict[str, Any] = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        if parse_version(scipy.__version__) < parse_version("1.15"):
            options["iprint"] = 1 if self.verbose is True or self.verbose >= 1 else -1
        start = to_numpy(theta).astype("float64")[order]
        result = scipy.optimize.minimize(objective, start, method="L-BFGS-B", jac=True, options=options)
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        found = np.empty_like(result.x)
        found[order] = result.x
        self._keep(found.astype(cases.precision))

    # --- arrays in and out ---

    def _admit_cases(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        """Check X and y for fitting; X stays in its library, sparse X becomes CSR, y comes back on the host."""
        library, y = _library(X), _on_host(y)
        if reset:
            self._fitted_with = library
        else:
            self._check_library(library, "fit")
        numbers = not isinstance(self, ClassifierMixin)
        if library == "numpy":
            sparse = ["csr", "csc"]
            wanted = (np.float64, np.float32)
            x, y = validate_data(
                self, X, y, accept_sparse=sparse, multi_output=True, y_numeric=numbers, dtype=wanted, reset=reset
            )
            x = x.tocsr() if scipy.sparse.issparse(x) else x
        else:
            x = self._admit_array(X, reset=reset)
            if y is None:
                raise ValueError(
                    f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
                )
            _, y = check_X_y(np.zeros((x.shape[0], 1)), y, multi_output=True, y_numeric=numbers)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return x, y

    def _admit_array(self, X: Array, *, reset: bool) -> Array:
        """Check an array of another library than NumPy; whole numbers become floats."""
        xp = array_api_compat.array_namespace(X)
        if X.ndim != 2:
            raise ValueError(
                f"Expected 2D array, got {X.ndim}D array instead. Reshape your data either using X.reshape(-1, 1) if "
                "your data has a single feature or X.reshape(1, -1) if it contains a single sample."
            )
        if xp.isdtype(X.dtype, "complex floating"):
            raise ValueError("Complex data not supported")
        for axis, what in enumerate(("sample", "feature")):
            if X.shape[axis] == 0:
                raise ValueError(f"Found array with 0 {what}(s) (shape={tuple(X.shape)}); at least 1 is required.")
        validate_data(self, X, reset=reset, skip_check_array=True)
        if not xp.isdtype(X.dtype, "real floating"):
            backend = choose_backend("auto", X)
            available = backend.xp.__array_namespace_info__().dtypes(device=backend.device, kind="real floating")
            X = xp.astype(X, xp.float64 if "float64" in available else xp.float32)
        if not bool(xp.all(xp.isfinite(X))):
            what = "NaN" if bool(xp.any(xp.isnan(X))) else f"infinity or a value too large for {X.dtype}"
            raise ValueError(f"Input X contains {what}.")
        return X

    def _check_library(self, library: str, method: str) -> None:
        fitted_with = getattr(self, "_fitted_with", None)
        if fitted_with in (None, library):
            return
        to_host = {"cupy": "cupy.asnumpy(X)", "torch": "X.numpy(force=True)"}
        recipe = to_host.get(library, "numpy.asarray(X)") if fitted_with == "numpy" else f"{fitted_with}.asarray(X)"
        raise NamespaceError(
            f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace as those passed to fit(): "
            f"it was fitted on arrays of {fitted_with} and got arrays of {library}. Convert them with {recipe}, or "
            "take a copy.deepcopy() of the model: a copied or pickled one takes arrays of any library"
        )

    def _outputs(self, X: Any, method: str) -> tuple[Backend, Array]:
        """Compute the outputs of the network, on the device that computes."""
        check_is_fitted(self)
        library = _library(X)
        self._check_library(library, method)
        if library == "numpy":
            x = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
            x = x.tocsr() if scipy.sparse.issparse(x) else x
        else:
            x = self._admit_array(X, reset=False)
        theta = self._theta()
        backend = choose_backend(self.device, x)
        wide = "float64" in (str(theta.dtype), self._own_precision(x))
        precision = choose_precision(backend, self.dtype, np.empty(0, "float64" if wide else "float32"))
        with backend.active(), np.errstate(over="ignore", invalid="ignore"):
            on_device = to_backend(backend, theta, precision)
            return backend, _forward(backend, precision, self._network(), on_device, _on_device(backend, precision, x))

    @staticmethod
    def _own_precision(x: Any) -> str:
        """float32 for x of float32 or less, else float64, which whole numbers need too."""
        return "float32" if str(x.dtype).rpartition(".")[2] in ("float32", "float16", "bfloat16") else "float64"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a device or a library, so that the model loads where there is none."""
        state = dict(super().__getstate__())
        state.pop("_fitted_with", None)
        if state.get("_optimizer") is not None:
            state["_optimizer"] = state["_optimizer"].on(None, "")
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


class MLPClassifier(ClassifierMixin, _MultilayerPerceptron):  # type: ignore[misc]
    """A multilayer perceptron that classifies: scikit-learn's ``MLPClassifier`` on any device.

    Parameters, attributes, random numbers and updates are scikit-learn's, so that the same ``random_state`` gives the
    same model; ``device``, ``dtype`` and ``class_weight`` are new.

    Parameters
    ----------
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
    class_weight : dict, list of dict, "balanced" or None, default=None
        How much a case of each class counts, beside ``sample_weight``; "balanced" makes all classes count the same in
        sum. The score of early stopping does not heed it.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
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

    - The loss is exact where outputs are 0 or 1 to the last digit; scikit-learn clips them.
    - Training ends as soon as the weights leave the finite numbers, not after ``max_iter`` epochs.
    - With ``solver="lbfgs"`` and X of float32 the computation and ``coefs_`` are float32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp.estimators import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((10,), solver="lbfgs", max_iter=1000, random_state=0, device="cpu").fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **_MultilayerPerceptron._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }
    loss = "log_loss"

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
        class_weight: Any = None,
    ) -> None:
        _keep_parameters(self, locals())

    @available_if(_MultilayerPerceptron._has_partial_fit)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go on training for one epoch, with the solver's state of the last call.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.
        classes : array of shape (n_classes,), optional
            All classes there will be; needed in the first call.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all cases at once and is not supported for partial_fit; give it a dict, "
                "such as sklearn.utils.compute_class_weight makes"
            )
        y = _on_host(y)
        if _check_partial_fit_first_call(self, _on_host(classes)):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else _on_host(classes))
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:
        """Predict classes.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_classes)
            In the library and on the device of X; classes that are text are in an array of NumPy.
        """
        _, outputs = self._outputs(X, "predict")
        classes = self._answers(to_numpy(outputs))
        return classes if _library(X) == "numpy" or classes.dtype.kind in "OSUT" else like(classes, X)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes)
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
        array of shape (n_samples, n_classes)
            In the library and on the device of X.
        """
        probabilities = self._probabilities(X, "predict_log_proba")
        with np.errstate(divide="ignore"):
            return array_api_compat.array_namespace(probabilities).log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy of the predictions.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.

        Returns
        -------
        float
        """
        return float(accuracy_score(_on_host(y), _on_host(self.predict(X)), sample_weight=_on_host(sample_weight)))

    def _probabilities(self, X: Any, method: str) -> Any:
        backend, outputs = self._outputs(X, method)
        with backend.active():
            if self.n_outputs_ == 1:
                outputs = backend.xp.concat([1.0 - outputs, outputs], axis=1)
            return like(outputs, X)

    def _admit_targets(self, y: np.ndarray, incremental: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
            if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        weights = None if self.class_weight is None else compute_sample_weight(self.class_weight, y)
        return self._label_binarizer.transform(y).astype(bool), weights

    def _output(self) -> tuple[str, str]:
        if self._label_binarizer.y_type_ == "multiclass":
            return "softmax", "cross_entropy"
        return "logistic", "binary_cross_entropy"

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        answers: np.ndarray = self._label_binarizer.inverse_transform(
            outputs.ravel() if self.n_outputs_ == 1 else outputs
        )
        return answers

    def _held_out_score(self, held_out: HeldOut, outputs: np.ndarray) -> float:
        return float(accuracy_score(held_out.desired, self._answers(outputs), sample_weight=held_out.case_weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MultilayerPerceptron):  # type: ignore[misc]
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
    >>> from gpubp.estimators import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(solver="lbfgs", alpha=100.0, max_iter=1000, random_state=0, device="cpu")
    >>> model.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.4
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        **_MultilayerPerceptron._parameter_constraints,
        "loss": [StrOptions(set(_OUTPUT_OF))],
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
    ) -> None:
        _keep_parameters(self, locals())

    @available_if(_MultilayerPerceptron._has_partial_fit)  # type: ignore[untyped-decorator]
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
        return float(r2_score(_on_host(y), _on_host(self.predict(X)), sample_weight=_on_host(sample_weight)))

    def _admit_targets(self, y: np.ndarray, incremental: bool) -> tuple[np.ndarray, np.ndarray | None]:
        return (y.reshape(-1, 1) if y.ndim == 1 else y), None

    def _output(self) -> tuple[str, str]:
        return _OUTPUT_OF[self.loss]

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _held_out_score(self, held_out: HeldOut, outputs: np.ndarray) -> float:
        return float(r2_score(held_out.desired, self._answers(outputs), sample_weight=held_out.case_weights))


class _Order:
    """The batches of each epoch in scikit-learn's order: the running order is shuffled anew, then cut."""

    def __init__(self, cases: Cases, size: int, random_state: np.random.RandomState | None) -> None:
        self.cases, self.size, self.random_state = cases, size, random_state
        self.order = np.arange(cases.d.shape[0])

    def __call__(self) -> Iterator[tuple[float, Batch]]:
        n_cases, order_on_device = len(self.order), None
        if self.random_state is not None:
            self.order = shuffle(self.order, random_state=self.random_state)
            if self.size < n_cases:
                order_on_device = to_backend(self.cases.backend, self.order)
        for part in gen_batches(n_cases, self.size):
            if order_on_device is None:
                yield part.start / n_cases, self.cases.batch(part)
            else:
                yield part.start / n_cases, self.cases.chosen(self.order, order_on_device, part)


class _Watch:
    """What happens after each epoch: the fitted attributes, the best weights, printing, and the word to stop."""

    def __init__(
        self,
        model: _MultilayerPerceptron,
        cases: Cases,
        held_out: HeldOut | None,
        network: Network,
        rate: LearningRate,
        theta: Array,
    ) -> None:
        self.model, self.cases, self.held_out = model, cases, held_out
        self.network, self.rate, self.best = network, rate, theta

    def __call__(self, progress: Progress) -> bool:
        model = self.model
        self._note(progress.error / self.cases.d.shape[0])
        better = self._no_worse_score(progress.theta) if self.held_out is not None else self._no_worse_loss()
        model._no_improvement_count = 0 if better else model._no_improvement_count + 1
        self.rate.after_epoch(model.t_)
        if model._no_improvement_count <= model.n_iter_no_change:
            return False
        figure = "Training loss" if self.held_out is None else "Validation score"
        done = self.rate.when_stuck()
        if model.verbose:
            too_small = "Learning rate too small. " if self.rate.schedule == "adaptive" else ""
            print(
                f"{figure} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive "
                f"epochs. {done or too_small + 'Stopping.'}"
            )
        if done:
            model._no_improvement_count = 0
        return not done

    def _note(self, loss: float) -> None:
        model = self.model
        model.n_iter_ += 1
        model.t_ += self.cases.d.shape[0]
        model.loss_ = loss
        model.loss_curve_.append(loss)
        if model.verbose:
            print(f"Iteration {model.n_iter_}, loss = {loss:.8f}")

    def _no_worse_loss(self) -> bool:
        model, loss = self.model, self.model.loss_
        if model.best_loss_ is None:
            model.best_loss_ = np.inf
        better = not loss > model.best_loss_ - model.tol
        model.best_loss_ = min(model.best_loss_, loss)
        return better

    def _no_worse_score(self, theta: Array) -> bool:
        held_out, backend = self.held_out, self.cases.backend
        assert held_out is not None
        outputs = to_numpy(_forward(backend, self.cases.precision, self.network, theta, held_out.x))
        finite = bool(np.all(np.isfinite(outputs)))
        score = float(self.model._held_out_score(held_out, outputs)) if finite else math.nan
        return self._note_score(score, theta)

    def _note_score(self, score: float, theta: Array) -> bool:
        model = self.model
        model.validation_scores_.append(score)
        if model.verbose:
            print(f"Validation score: {score:f}")
        better = not score < model.best_validation_score_ + model.tol
        if score > model.best_validation_score_:
            model.best_validation_score_, self.best = score, theta
        return better

    def diverged(self) -> None:
        """Note the epoch that left the finite numbers."""
        self._note(math.nan)
        if self.held_out is not None:
            self._note_score(math.nan, self.best)


def _weighed_by_cases(step: Step, theta: Array, state: Any, batch: Batch, epoch: float) -> tuple[Array, Any, Array]:
    """Take a step whose value counts as much as the batch has cases, whatever they weigh, as in scikit-learn."""
    theta, state, value = step(theta, state, batch, epoch)
    return theta, state, value * float(batch.x.shape[0])


def _refuse_weights() -> None:
    raise ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
        "preprocessed."
    )


def _library(X: Any) -> str:
    """Name the array library that X is from; lists, frames and sparse matrices count as NumPy's."""
    if not array_api_compat.is_array_api_obj(X) or array_api_compat.is_numpy_array(X):
        return "numpy"
    return str(array_api_compat.array_namespace(X).__name__.removeprefix("array_api_compat."))


def _on_host(array: Any) -> Any:
    """Bring arrays of other libraries to the host; whatever else comes back as it is."""
    return to_numpy(array) if _library(array) != "numpy" else array


def _on_device(backend: Backend, precision: str, x: Any) -> Any:
    return x if scipy.sparse.issparse(x) else to_backend(backend, x, precision)


def _rows(backend: Backend, precision: str, x: Any, rows: np.ndarray | None) -> Any:
    """Choose rows of x, all without ``rows``, on the device; sparse x stays on the host."""
    if scipy.sparse.issparse(x):
        return x if rows is None else x[rows]
    x = to_backend(backend, x, precision)
    return x if rows is None else backend.xp.take(x, to_backend(backend, rows), axis=0)


def _dense(backend: Backend, precision: str, x: Any, rows: slice) -> Array:
    return to_backend(backend, x[rows].toarray(), precision) if scipy.sparse.issparse(x) else x[rows, :]


def _forward(backend: Backend, precision: str, network: Network, theta: Array, x: Any) -> Array:
    """Compute the outputs for x, dense on the device or sparse on the host, in parts that bound the memory."""
    parts = [
        output_layer(backend.xp, network, theta, _dense(backend, precision, x, rows)).y
        for rows in gen_batches(x.shape[0], CASES_AT_ONCE)
    ]
    return parts[0] if len(parts) == 1 else backend.xp.concat(parts, axis=0)


def _keep_parameters(model: Any, given: Mapping[str, Any]) -> None:
    """Set each argument of ``__init__`` as an attribute, as scikit-learn's estimators do."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(model, name, value)
