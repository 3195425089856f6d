"""The base class of the classifier and the regressor."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from gpubp._core.counts import is_count
from gpubp._core.documentation import DocumentationLink
from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, with_matmul
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.inputs import InputTypeError
from gpubp.distributed.launch import process_group_for
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.plain.dropout import dropout_rates
from gpubp.errors import DataError, DeviceError
from gpubp.estimators._arrays import outputs_in_parts
from gpubp.estimators._few_samples import outputs_of_few, remember
from gpubp.estimators._fit import rejoined, sizes_of, theta_of
from gpubp.estimators._fit_state import FitState
from gpubp.estimators._initial_weights import draw_initial_weights
from gpubp.estimators._optimizer import OptimizerState
from gpubp.estimators._options import FitOptions
from gpubp.estimators._parameters import CONSTRAINTS
from gpubp.estimators._report import report
from gpubp.estimators._run import FitArguments, run_fit
from gpubp.estimators._sklearn_callbacks import CallbackSupportMixin
from gpubp.estimators._stackable import StackableModel
from gpubp.estimators._stacked_fit import StackedFit
from gpubp.estimators._targets import TargetCoding
from gpubp.estimators._validation import validate_new_samples, validate_samples, validate_weights
from gpubp.estimators.parameter_checks import ClearKeywords, problems_of
from gpubp.nn.network import Network
from gpubp.training.stacks import row_numbers


class PlacedNetwork(NamedTuple):
    """The network of an estimator, its parameters ``(P,)``, or ``(K, P)`` of several, and where it is computed."""

    network: Network
    theta: np.ndarray
    backend: Backend
    precision: str

    @property
    def kind(self) -> Any:
        """Equal for networks that can be computed as a stack."""
        return self.network, self.theta.dtype, self.backend.name, self.backend.matmul_precision, self.precision


def outputs_of_placed(placed: PlacedNetwork, x: Any) -> Array:
    """Compute the outputs of networks for valid samples, dense or sparse; they stay on the device."""
    network, theta, backend, precision = placed
    workload = Workload(network, precision, len(theta) if theta.ndim == 2 else 1, x.shape[0])
    with translate_gpu_errors(backend, workload), backend.active():
        return outputs_in_parts(backend, precision, network, theta, x)


class MultilayerPerceptron(ClearKeywords, DocumentationLink, CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base class of the classifier and the regressor."""

    _parameter_constraints = CONSTRAINTS
    _optimizer: OptimizerState | None = None  # the state from which the next call continues

    # --- implemented by the classifier and the regressor ---

    @abstractmethod
    def _learn_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Learn the type of the targets; return them with a column for each output, and the weights to train with."""

    @abstractmethod
    def _coding(self) -> TargetCoding:
        """Return the encoding of the learned targets."""

    # --- fitting ---

    def _validate_params(self) -> None:
        """Check the parameters, and name all that are not valid in one error."""
        if problems := problems_of(self, self._parameter_constraints):
            raise InvalidParameterError("\n".join(problems))

    @np.errstate(all="ignore")
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
            Arrays of CuPy, torch or another library that implements the array API standard stay on their device.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: classes, or numbers. May be a NumPy array even if X is not. Of a classifier, also a sparse matrix
            of zeros and ones that mark labels.
        sample_weight : array of shape (n_samples,), optional
            The weight of each sample.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are evaluated after each epoch and not used for training. Their loss is in
            ``validation_curve_``, their score in ``validation_scores_``; early stopping uses them instead of a part of
            X. A pipeline does not transform them: transform them first.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, X, y or a weight is invalid, or the weights of the network become infinite or NaN.
        NamespaceError
            If X in a warm start is of another array library than before; a ValueError and a TypeError.
        DeviceError
            If ``device`` cannot be used, or fails; the message says why and how to fix it, and the model is unchanged.
        """
        with self._unchanged_if_the_device_fails():
            return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any = None,
        *,
        incremental: bool,
        first_weights_seed: int | None = None,
    ) -> Self:
        self._hidden_layer_sizes()  # raises before anything is learned
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)

        if first_pass and not incremental and self.n_restarts > 1:
            from gpubp.estimators._restarts import fit_restarts

            fit_restarts(self, X, y, sample_weight, validation_data)
            return self
        processes = process_group_for(self.parallel)
        random_state = processes.on_rank_0(lambda: check_random_state(self.random_state))
        with processes.raise_on_all():
            x, y_on_host = validate_samples(self, X, y, reset=first_pass)
            weights = validate_weights(sample_weight, y_on_host)
            targets, train_weights = self._learn_targets(y_on_host, weights, incremental)
            if self.early_stopping and incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            has_held_out = validation_data is not None or (self.early_stopping and self.solver != "lbfgs")
            fit = self._prepare(
                x,
                row_numbers(targets.shape[0]),
                targets,
                weights,
                train_weights,
                has_held_out,
                first_pass=first_pass,
                random_state=random_state,
                first_weights_seed=first_weights_seed,
            )
        arguments = FitArguments(X, y, sample_weight, validation_data)
        run_fit(self, fit, arguments, processes, has_held_out=has_held_out, incremental=incremental)
        return self

    @contextmanager
    def _unchanged_if_the_device_fails(self) -> Iterator[None]:
        """Restore every attribute if the device cannot be used or fails."""
        before = {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()}
        if self._optimizer is not None:
            before["_optimizer"] = self._optimizer._replace(rate=copy.copy(self._optimizer.rate))
        try:
            yield
        except DeviceError:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _hidden_layer_sizes(self) -> list[int]:
        given = self.hidden_layer_sizes
        sizes = np.atleast_1d(np.asarray(given, dtype=object)).tolist()  # object: [True, 4] keeps True
        if not all(is_count(n, least=-math.inf) for n in sizes):
            raise InputTypeError(
                "hidden_layer_sizes must be whole numbers > 0, one for each hidden layer, such as (100, 50), "
                f"got {given!r}"
            )
        if not all(map(is_count, sizes)):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(n) for n in sizes]

    def _prepare(
        self,
        x: Any,
        rows: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        train_weights: np.ndarray | None,
        has_held_out: bool,
        *,
        first_pass: bool = True,
        random_state: np.random.RandomState | None = None,
        first_weights_seed: int | None = None,
    ) -> StackedFit:
        """Prepare everything before the first step; in a first fit, draw the initial weights."""
        network = self._network([x.shape[1], *self._hidden_layer_sizes(), targets.shape[1]])
        rates = dropout_rates(network, self.dropout)
        if rates and self.solver == "lbfgs":
            raise ValueError("dropout makes the loss random, which solver='lbfgs' does not support")
        if self.matmul_precision == "float16" and self.solver == "lbfgs":
            raise ValueError("float16 is too narrow for solver='lbfgs'; use matmul_precision='bfloat16', or adam")
        backend = choose_backend(self.device, x)
        precision = choose_precision(backend, self.dtype, x)
        self._coding().check_learnable(targets, precision, is_first=first_pass)
        backend = with_matmul(backend, self.matmul_precision, precision)
        random_state = check_random_state(self.random_state) if random_state is None else random_state
        if first_pass:
            state = FitState()
            theta = draw_initial_weights(network, self.activation, precision, random_state, first_weights_seed)
            state.theta = theta
            self.n_layers_, self.n_outputs_ = len(network.sizes), network.sizes[-1]
            self.out_activation_ = network.output_activation
            self.restart_scores_: list[float] | None = None
            self.best_restart_: int | None = None
        elif network.sizes != self._network().sizes:
            raise ValueError(
                f"the model continues with the network fitted before, of sizes {self._network().sizes}, but now "
                f"hidden_layer_sizes, X and y require {network.sizes}; clone() the model to start again"
            )
        else:
            state, theta = FitState.of(self), self._theta()
        if first_pass or (has_held_out and state.validation_scores is None):
            state.start_history(self.early_stopping, has_held_out)
        fit = StackedFit(
            options=FitOptions.of(self),
            state=state,
            coding=self._coding(),
            network=network,
            dropout_rates=rates,
            backend=backend,
            precision=precision,
            random_state=random_state,
            theta=theta,
            x=x,
            rows=rows,
            targets=targets,
            weights=weights,
            train_weights=train_weights,
            publish=self.__dict__.update,
            fitted=self._with_attributes,
        )
        fit.publish_all()
        return fit

    def _with_attributes(self, attributes: dict[str, Any]) -> Self:
        """Return a copy with these attributes, for a scorer that calls its methods."""
        fitted = copy.copy(self)
        fitted.__dict__.update(attributes)
        fitted.__dict__.pop("feature_names_in_", None)  # held-out samples are arrays without names
        return fitted

    def _network(self, sizes: list[int] | None = None) -> Network:
        """Return a network of these sizes, by default those of the fitted weights."""
        if sizes is None:
            sizes = sizes_of(self.coefs_, self.intercepts_)
            if (sizes[0], sizes[-1]) != (self.n_features_in_, self.n_outputs_):
                raise ValueError(
                    f"coefs_ and intercepts_ have the shapes of {sizes[0]} features and {sizes[-1]} outputs, but the "
                    f"model was fitted to {self.n_features_in_} features and {self.n_outputs_} outputs; clone() and "
                    "fit the model to change these"
                )
        output_activation, loss = self._coding().output_and_loss()
        activation = self.activation if isinstance(self.activation, str) else tuple(self.activation)
        network = Network(tuple(sizes), activation=activation, output_activation=output_activation, loss=loss)
        if any(network.activation_weights):
            raise ValueError(
                f"activation={self.activation!r} has weights of its own, which coefs_ and intercepts_ do not hold; "
                "gpubp.train and the estimators for tables take it"
            )
        return network

    def _theta(self) -> np.ndarray:
        """Join ``coefs_`` and ``intercepts_``, which the user may have changed."""
        return theta_of(self.coefs_, self.intercepts_)

    @abstractmethod
    def __stackable__(self) -> StackableModel | None:
        """Return the object with which a search trains fits of this estimator in stacks; None for subclasses."""

    # --- predicting ---

    def _outputs(self, X: Any, method: str) -> tuple[Backend, Array]:
        """Compute the outputs of the network; they stay on the device."""
        return outputs_of_few(self, X) or self._outputs_of_checked(X, method)

    @np.errstate(all="ignore")
    def _outputs_of_checked(self, X: Any, method: str) -> tuple[Backend, Array]:
        check_is_fitted(self)
        x = validate_new_samples(self, X, method)
        placed = self._placed(x)
        computed = outputs_of_placed(placed, x)
        if placed.theta.dtype == placed.precision:
            remember(self, X, placed.backend, placed.network, placed.theta)
        return placed.backend, computed

    def _placed(self, x: Any) -> "PlacedNetwork":
        """Choose where the outputs of valid samples are computed, and in which precision."""
        network, theta = self._network(), self._theta()
        backend = choose_backend(self.device, x)
        wide = "float64" in (str(theta.dtype), self._own_precision(x))
        precision = choose_precision(backend, self.dtype, np.empty(0, "float64" if wide else "float32"))
        return PlacedNetwork(network, theta, with_matmul(backend, self.matmul_precision, precision), precision)

    @staticmethod
    def _own_precision(x: Any) -> str:
        """Return float32 for x of float32 or less, else float64, which integers need too."""
        return "float32" if str(x.dtype).rpartition(".")[2] in ("float32", "float16", "bfloat16") else "float64"

    # --- export ---

    @np.errstate(all="ignore")
    def to_onnx(self, path: Any = None, *, dtype: str | None = None) -> Any:
        """Export the fitted model as an ONNX model, for onnxruntime and other programs without gpubp.

        Parameters
        ----------
        path : str or path, optional
            Path to write the model to.
        dtype : {"float32", "float64"}, optional
            The precision of the exported model; by default, that of this model.

        Returns
        -------
        onnx.ModelProto
            Its input is ``"X"``, in its precision. A classifier returns ``"label"``, of the type of ``classes_``, and
            ``"probabilities"``, with several outputs ``"probabilities_0"`` and so on; a regressor ``"variable"``,
            ``(n_samples, n_outputs)``.

        Raises
        ------
        GpubpError
            If the package onnx is not installed.
        """
        check_is_fitted(self)
        return self._as_onnx(self._theta(), getattr(self, "feature_names_in_", None), path, dtype)

    def _as_onnx(self, theta: np.ndarray, feature_names: Any, path: Any, dtype: str | None) -> Any:
        """Export the network with these parameters, or with the mean of the outputs of a stack of them."""
        from gpubp.io.onnx import estimator_to_onnx

        add_predictions, dtype = self._coding().onnx_predictions(), dtype or self.dtype
        return estimator_to_onnx(
            self._network(), theta, add_predictions, feature_names=feature_names, path=path, dtype=dtype
        )

    # --- reports on the fit ---

    def plot_loss_curve(self, *, ax: Any = None, name: str | None = None, log: bool = False, **kwargs: Any) -> Any:
        """Draw ``loss_curve_``, and ``validation_curve_`` if there is one.

        Parameters
        ----------
        ax, name, log, **kwargs
            See :meth:`gpubp.LossCurveDisplay.from_estimator`.

        Returns
        -------
        LossCurveDisplay
        """
        from gpubp.estimators.display import LossCurveDisplay

        return LossCurveDisplay.from_estimator(self, ax=ax, name=name, log=log, **kwargs)

    def report(self, path: Any = None, X: Any = None, y: Any = None, *, title: str = "") -> str:
        """Describe the fitted model in a few lines: the network, the fit, losses and scores, and advice.

        With a path, write a report as one HTML page too, with learning curves and the network; with samples also scores
        beside a baseline, a confusion matrix or errors, calibration, and permutation importance.

        Parameters
        ----------
        path : str or path, optional
            The page holds all it needs, and no scripts.
        X : array of shape (n_samples, n_features), optional
            Samples that the model was not fitted to.
        y : array of shape (n_samples,) or (n_samples, n_outputs), optional
            Their targets.
        title : str, optional
            The title of the page, by default the name of the class.

        Returns
        -------
        str

        Raises
        ------
        DataError
            If there are samples, but no path to write what is found on them; or X without y, or of another length.
        """
        if path is None and (X is not None or y is not None):
            raise DataError("what is found on X and y is shown on a page: pass a path to write it to")
        if path is not None:
            from gpubp.estimators._page import report_of_estimator
            from gpubp.io.atomic_files import write_atomically
            from gpubp.reports import report_page

            write_atomically(path, report_page([report_of_estimator(self, X, y, title=title)]).encode())
        return report(self)

    # --- for scikit-learn's tools ---

    def __getstate__(self) -> dict[str, Any]:
        """Remove what belongs to a device or an array library, so that the model loads anywhere."""
        state = dict(super().__getstate__())
        state.pop("_fitted_with", None)
        if state.get("_optimizer") is not None:
            state["_optimizer"] = state["_optimizer"].on(None, "")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Join the weights, so that predictions of a copy need not."""
        super().__setstate__(state)
        self.__dict__.update(rejoined(self.__dict__))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags
