"""What the classifier and the regressor share: from what they are given to a plan, from its outcome to attributes."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from operator import index
from typing import Any, Self

import array_api_compat
import numpy as np
import scipy
import scipy.optimize
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, check_X_y, column_or_1d, gen_batches
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.fixes import parse_version
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from gpubp._typing import Array
from gpubp.backend import Backend, choose_backend, to_backend, to_numpy
from gpubp.checks import choose_precision
from gpubp.descent import Rule, adam, momentum, nesterov
from gpubp.errors import DataError
from gpubp.estimators.arrays import library_of, on_device, on_host, outputs_in_parts, rows_of
from gpubp.estimators.cases import BatchesInOrder, Cases, HeldOut, weighed_by_cases
from gpubp.estimators.optimizer import LearningRate, Optimizer
from gpubp.estimators.watch import Watch
from gpubp.loop import Plan, Position, run
from gpubp.network import Network, flatten, views
from gpubp.prediction import CASES_AT_ONCE
from gpubp.step import Objective, make_step, objective_and_gradient

STOCHASTIC_SOLVERS = ("sgd", "adam")


class NamespaceError(DataError, TypeError):
    """A model fitted on arrays of one library was given arrays of another."""


class MultilayerPerceptron(BaseEstimator, ABC):  # type: ignore[misc]
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
            None if sample_weight is None else _check_sample_weight(on_host(sample_weight), np.empty((y.shape[0], 1)))
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
                    rows_of(backend, precision, x, aside),
                    self._answers(d[aside]) if isinstance(self, ClassifierMixin) else d[aside],
                    None if weights is None else weights[aside],
                )
            cases = Cases(
                backend,
                precision,
                rows_of(backend, precision, x, rows),
                rows_of(backend, precision, d, rows),
                None if train_weights is None else rows_of(backend, precision, train_weights, rows),
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
            refuse_weights()

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
        watch = Watch(self, cases, held_out, network, optimizer.rate, theta)
        step = make_step(backend, Objective(network, l2=float(self.alpha)), rule, precision)
        plan = Plan(
            backend=backend,
            network=network,
            step=partial(weighed_by_cases, step),
            batches=BatchesInOrder(cases, self._batch_size(n_cases), random_state if self.shuffle else None),
            epochs=1 if incremental else self.max_iter,
            mean=False,
            callbacks=(watch,),
        )
        outcome = run(plan, position)
        self._optimizer = optimizer._replace(state=position.state)
        if outcome.stop_reason == "diverged":
            watch.diverged()
            if held_out is None:
                refuse_weights()
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
            here = to_backend(backend, at, cases.precision)
            value, gradient = 0.0, np.zeros_like(packed)
            for part, of_part in zip(parts, objectives, strict=True):
                E, dE_dtheta = objective_and_gradient(backend.xp, of_part, mask_on_device, here, cases.batch(part))
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
        library, y = library_of(X), on_host(y)
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
        library = library_of(X)
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
            theta = to_backend(backend, theta, precision)
            return backend, outputs_in_parts(
                backend, precision, self._network(), theta, on_device(backend, precision, x)
            )

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


def refuse_weights() -> None:
    """Raise scikit-learn's error about weights that are not finite."""
    raise ValueError(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
        "preprocessed."
    )


def keep_parameters(model: Any, given: Mapping[str, Any]) -> None:
    """Set each argument of ``__init__`` as an attribute, as scikit-learn's estimators do."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(model, name, value)
