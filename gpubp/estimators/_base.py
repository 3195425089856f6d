"""What the classifier and the regressor share: from what they are given to a plan, from its outcome to attributes."""

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from operator import index
from typing import Any, Self

import numpy as np
import scipy
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy, with_matmul
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import home_of
from gpubp.distributed.launch import process_group_for
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import dropout_rates, with_dropout
from gpubp.engine.plain.minibatches import DEFAULT_BATCH_SIZE, Batches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.errors import DeviceError
from gpubp.estimators._arrays import is_on_host, outputs_in_parts, rows_of
from gpubp.estimators._held_out import hold_out, look_at, split, validate_validation_data
from gpubp.estimators._lbfgs import fit_lbfgs
from gpubp.estimators._monitor import Monitor, refuse_weights
from gpubp.estimators._optimizer import OptimizerState, optimizer_of, optimizer_state_of
from gpubp.estimators._parameters import CONSTRAINTS
from gpubp.estimators._report import report
from gpubp.estimators._restarts import fit_restarts
from gpubp.estimators._samples import BatchesInOrder, Samples
from gpubp.estimators._sklearn_callbacks import CallbackSupportMixin, FitTask
from gpubp.estimators._stack import Ready
from gpubp.estimators._validation import validate_new_samples, validate_samples, validate_weights
from gpubp.estimators.display import LossCurveDisplay
from gpubp.io.onnx import estimator_to_onnx
from gpubp.io.onnx.answers import Answer
from gpubp.nn.network import Network, flatten, views
from gpubp.training.loop import Plan, run


class MultilayerPerceptron(CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    _parameter_constraints = CONSTRAINTS
    _optimizer: OptimizerState | None = None  # what the next call goes on with
    _first_weights_seed: int | None = None  # of a restart

    # --- what a classifier and a regressor do differently ---

    @abstractmethod
    def _validate_targets(
        self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Learn what targets there are; targets, a column for each output unit, and weights to learn with."""

    @abstractmethod
    def _desired(self, y: np.ndarray) -> np.ndarray:
        """Turn targets of the kind that was learned into targets."""

    @abstractmethod
    def _output(self) -> tuple[str, str]:
        """Name the output unit, and the error as :mod:`gpubp.nn.losses` calls it."""

    @abstractmethod
    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        """Turn the network's outputs into predictions."""

    @abstractmethod
    def _default_score(self, targets: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """Score outputs where ``scoring`` is None."""

    @abstractmethod
    def _answer_in_onnx(self) -> Answer:
        """Choose what an exported model turns the outputs into: what predictions are."""

    def _to_learn(self, targets: np.ndarray) -> np.ndarray:
        """Turn targets into what the training aims at."""
        return targets

    # --- fitting ---

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, frame or sparse matrix of shape (n_samples, n_features)
            Arrays of CuPy, torch or another library that implements the array API standard stay where they are.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: classes, or numbers. An array of NumPy will do, whatever library X is from.
        sample_weight : array of shape (n_samples,), optional
            How much each sample counts.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples to look at after each epoch and not to learn from. Their loss goes to ``validation_curve_``, their
            score to ``validation_scores_``; early stopping watches them instead of a part of X. A pipeline hands them
            on as they are: transform them first.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, X, y or a weight is not what it must be, or the weights leave the finite numbers.
        NamespaceError
            If a warm start finds X in another array library than before; a ValueError and a TypeError.
        DeviceError
            If ``device`` cannot be used, or fails; the message names the cause and the fix, the model stays as it was.
        """
        with self._staying_where_the_device_fails():
            return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation_data: Any = None, *, incremental: bool) -> Self:
        self._hidden_layer_sizes()  # before anything is learned
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)

        if first_pass and not incremental and self.n_restarts > 1:
            fit_restarts(self, X, y, sample_weight, validation_data)
            return self
        processes = process_group_for(self.parallel)
        random_state = processes.on_rank_0(lambda: check_random_state(self.random_state))
        with processes.raise_on_all():
            x, y_on_host = validate_samples(self, X, y, reset=first_pass)
            weights = validate_weights(sample_weight, y_on_host)
            targets, train_weights = self._validate_targets(y_on_host, weights, incremental)
            if self.early_stopping and incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            has_held_out = validation_data is not None or (self.early_stopping and self.solver != "lbfgs")
            ready = self._make_ready(
                x, np.arange(targets.shape[0]), targets, weights, train_weights, has_held_out, first_pass, random_state
            )
        network, rates, backend, precision, random_state = ready[1:6]
        if processes.world_size > 1:
            backend = self._joined(processes, ready, has_held_out)

        def on_device() -> None:
            with processes.raise_on_all():
                rows = None
                held_out = None
                if validation_data is not None:
                    held_out = validate_validation_data(self, validation_data, backend, precision)
                elif has_held_out:
                    rows, aside = split(self, targets, random_state)
                    held_out = hold_out(self, backend, precision, x, targets, weights, aside)
                in_steps = self.solver != "lbfgs" and not scipy.sparse.issparse(x)
                home = home_of(backend, precision, x, targets) if in_steps else backend
                samples = Samples(
                    backend,
                    precision,
                    rows_of(home, precision, x, rows),
                    rows_of(home, precision, self._to_learn(targets), rows),
                    None if train_weights is None else rows_of(home, precision, train_weights, rows),
                    on_host=home is not backend,
                    processes=processes,
                )
            theta = to_backend(backend, processes.on_rank_0(self._theta), precision)
            task = FitTask(self, X, y, sample_weight, 1 if incremental else self.max_iter)
            look = held_out and partial(look_at, backend, precision, network, held_out)
            monitor = Monitor(self, targets.shape[0] if rows is None else len(rows), look, theta, task, processes)
            if self.solver == "lbfgs":
                found, stop_reason = fit_lbfgs(self, network, samples, theta, monitor)
                self._optimizer = None
            else:
                found, stop_reason = self._fit_stochastic(
                    samples, network, rates, theta, monitor, random_state, incremental
                )
            self._keep(found)
            monitor.finish(stop_reason, incremental)
            task.end()

        load = Workload(network, precision, 1, targets.shape[0], self._samples_in_a_step(targets.shape[0]))
        quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with processes.monitored("Start it again"), translate_gpu_errors(backend, load), backend.active(), quietly:
            on_device()
        return self

    def _joined(self, processes: ProcessGroup, ready: Ready, has_held_out: bool) -> Backend:
        """See to it that all processes fit the same; the backend of this one."""
        of_host = is_on_host(ready.x)
        backend = processes.assign_gpu(ready.backend, self.device if of_host else ready.backend.name)
        n_samples = ready.targets.shape[0]
        processes.check_equal(
            {
                "the network": (ready.network.sizes, ready.network.activations, ready.network.loss),
                "the solver": self.solver,
                "the number of samples": n_samples,
                "the batch size": self._samples_in_a_step(n_samples),
                "max_iter": self.max_iter,
                "the precision": (ready.precision, self.matmul_precision),
                "whether samples are held out": has_held_out,
            }
        )
        return with_matmul(backend, self.matmul_precision, ready.precision)

    @contextmanager
    def _staying_where_the_device_fails(self) -> Iterator[None]:
        """Put every attribute back where a device cannot be used, or fails."""
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
        hidden = self.hidden_layer_sizes
        hidden = [index(n) for n in hidden] if hasattr(hidden, "__iter__") else [hidden]
        if any(n <= 0 for n in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        return hidden

    def _make_ready(
        self,
        x: Any,
        rows: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        train_weights: np.ndarray | None,
        has_held_out: bool,
        first_pass: bool = True,
        random_state: np.random.RandomState | None = None,
    ) -> Ready:
        """Decide all that is decided before the first step; in a first pass draw the first weights."""
        network = self._network([x.shape[1], *self._hidden_layer_sizes(), targets.shape[1]])
        rates = dropout_rates(network, self.dropout)
        if rates and self.solver == "lbfgs":
            raise ValueError("dropout makes the loss change from batch to batch, which solver='lbfgs' cannot follow")
        if self.matmul_precision == "float16" and self.solver == "lbfgs":
            raise ValueError("float16 is too narrow for solver='lbfgs'; use matmul_precision='bfloat16', or adam")
        backend = choose_backend(self.device, x)
        precision = choose_precision(backend, self.dtype, x)
        backend = with_matmul(backend, self.matmul_precision, precision)
        random_state = check_random_state(self.random_state) if random_state is None else random_state
        if first_pass:
            self._initialize(network, precision, random_state)
        elif network.sizes != self._network().sizes:
            raise ValueError(
                f"the model goes on with the network fitted before, of sizes {self._network().sizes}, but now "
                f"hidden_layer_sizes, X and y ask for {network.sizes}; clone() the model to start anew"
            )
        if first_pass or (has_held_out and self.validation_scores_ is None):
            self._start_history(has_held_out)
        return Ready(self, network, rates, backend, precision, random_state, x, rows, targets, weights, train_weights)

    def _initialize(self, network: Network, precision: str, random_state: np.random.RandomState) -> None:
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(network.sizes)
        self.n_outputs_ = network.sizes[-1]
        self.out_activation_ = network.output_activation
        # as in scikit-learn, the output layer's weights are drawn like those of the layer below
        units = (*network.activation, *(network.activation[-1:] or (self.activation,)))
        draws = [random_state] if self._first_weights_seed is None else [random_state, self._first_weights_seed]
        for draw in map(check_random_state, draws):  # a restart draws what it would alone, and then its own
            self.coefs_, self.intercepts_ = [], []
            for (n_in, n_out), unit in zip(pairwise(network.sizes), units, strict=True):
                bound = math.sqrt((2.0 if unit == "logistic" else 6.0) / (n_in + n_out))
                # scikit-learn draws the weights, then the biases: one stream, so one draw of the whole block
                block = draw.uniform(-bound, bound, (n_in + 1, n_out)).astype(precision, copy=False)
                self.coefs_.append(block[:-1].copy())
                self.intercepts_.append(block[-1].copy())
        self._optimizer = None
        self.restart_scores_: list[float] | None = None
        self.best_restart_: int | None = None

    def _start_history(self, has_held_out: bool) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_: float | None = None if self.early_stopping else np.inf
        self.validation_curve_: list[float] | None = [] if has_held_out else None
        self.validation_scores_: list[float] | None = [] if has_held_out else None
        self.best_validation_score_: float | None = -np.inf if has_held_out else None

    def _network(self, sizes: list[int] | None = None) -> Network:
        """Make the network of these sizes, or of the fitted weights."""
        if sizes is None:
            sizes = [self.coefs_[0].shape[0], *(coefs.shape[1] for coefs in self.coefs_)]
        output, loss = self._output()
        hidden = self.activation if isinstance(self.activation, str) else tuple(self.activation)
        return Network(tuple(sizes), activation=hidden, output_activation=output, loss=loss)

    def _theta(self) -> np.ndarray:
        """Join ``coefs_`` and ``intercepts_`` as they stand: a user may have changed them."""
        blocks = [np.vstack([w, b]) for w, b in zip(self.coefs_, self.intercepts_, strict=True)]
        return np.asarray(flatten(np, blocks))

    def _learned(self, theta: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Cut the parameters into the fitted attributes that hold them."""
        blocks = views(np, self._network(), theta)
        return {
            "coefs_": [block[:-1].copy() for block in blocks],
            "intercepts_": [block[-1].copy() for block in blocks],
        }

    def _keep(self, theta: np.ndarray) -> None:
        learned = self._learned(theta)
        self.coefs_, self.intercepts_ = learned["coefs_"], learned["intercepts_"]
        if not np.all(np.isfinite(theta)):
            refuse_weights()

    # --- the stochastic solvers ---

    def _fit_stochastic(
        self,
        samples: Samples,
        network: Network,
        rates: tuple[float, ...],
        theta: Array,
        monitor: Monitor,
        random_state: np.random.RandomState,
        incremental: bool,
    ) -> tuple[np.ndarray, str]:
        """Train by gradient descent; the parameters to keep, on the host, and why training ended."""
        backend, precision, n_samples = samples.backend, samples.precision, samples.targets.shape[0]
        optimizer_state = optimizer_state_of(self, incremental)
        optimizer = optimizer_of(self, optimizer_state.rate)
        fresh = optimizer_state.state is None
        if fresh:
            optimizer_state = optimizer_state._replace(state=optimizer.init(backend.xp, theta))
        state = optimizer_state.on(backend, precision).state
        position = ModelState(theta, state, optimizer_state.epochs, own_state=fresh)
        self.n_iter_ = 0
        size = self._batch_size(n_samples)
        in_order = BatchesInOrder(samples, size, random_state if self.shuffle else None)

        def batches() -> Batches:
            return with_dropout(backend, network, rates, random_state, in_order()) if rates else in_order()

        # who calls partial_fit calls it often
        n_steps = math.ceil(n_samples / size) * max(self.max_iter, 200 if incremental else 0)
        objective = Objective(network, l2=float(self.alpha), processes=samples.processes)
        plan = Plan(
            backend=backend,
            network=network,
            run_epoch=make_epoch_runner(backend, objective, optimizer, precision, size, n_steps),
            batches=monitor.task.in_epochs(batches),
            epochs=optimizer_state.epochs + (1 if incremental else self.max_iter),
            average="samples",  # whatever they weigh, as in scikit-learn
            callbacks=(partial(monitor.follow, optimizer_state.rate),),
            unseen=partial(monitor.unseen, optimizer_state.rate),
            processes=samples.processes,
        )
        outcome = run(plan, position)
        self._optimizer = optimizer_state._replace(state=position.state, epochs=position.epoch)
        if outcome.stop_reason == "diverged":
            self._optimizer = None  # its state is not finite
            monitor.diverged()
            if not self.early_stopping:
                refuse_weights()
        return to_numpy(monitor.best if self.early_stopping else outcome.theta), outcome.stop_reason

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size != "auto" and self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=5
            )
        return self._samples_in_a_step(n_samples)

    def _samples_in_a_step(self, n_samples: int) -> int:
        if self.solver == "lbfgs":
            return n_samples
        return min(DEFAULT_BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size), n_samples)

    # --- predicting ---

    def _outputs(self, X: Any, method: str) -> tuple[Backend, Array]:
        """Compute the outputs of the network, on the device that computes."""
        check_is_fitted(self)
        x = validate_new_samples(self, X, method)
        theta = self._theta()
        backend = choose_backend(self.device, x)
        wide = "float64" in (str(theta.dtype), self._own_precision(x))
        precision = choose_precision(backend, self.dtype, np.empty(0, "float64" if wide else "float32"))
        backend = with_matmul(backend, self.matmul_precision, precision)
        network = self._network()
        load = Workload(network, precision, 1, x.shape[0])
        with translate_gpu_errors(backend, load), backend.active(), np.errstate(over="ignore", invalid="ignore"):
            return backend, outputs_in_parts(backend, precision, network, theta, x)

    @staticmethod
    def _own_precision(x: Any) -> str:
        """float32 for x of float32 or less, else float64, which whole numbers need too."""
        return "float32" if str(x.dtype).rpartition(".")[2] in ("float32", "float16", "bfloat16") else "float64"

    # --- elsewhere ---

    def to_onnx(self, path: Any = None, *, dtype: str | None = None) -> Any:
        """Turn the fitted model into an ONNX model, for onnxruntime and other programs that know nothing of gpubp.

        Parameters
        ----------
        path : str or path, optional
            Where to write it as well.
        dtype : {"float32", "float64"}, optional
            The precision of the model; without it the one that this model computes in.

        Returns
        -------
        onnx.ModelProto
            It takes ``"X"`` in its precision. A classifier gives ``"label"``, of the type of ``classes_``, and
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
        answer, dtype = self._answer_in_onnx(), dtype or self.dtype
        return estimator_to_onnx(self._network(), theta, answer, feature_names=feature_names, path=path, dtype=dtype)

    # --- how the fit went ---

    def plot_loss_curve(self, *, ax: Any = None, name: str | None = None, log: bool = False, **kwargs: Any) -> Any:
        """Draw ``loss_curve_``, and ``validation_curve_`` where there is one.

        Parameters
        ----------
        ax, name, log, **kwargs
            See :meth:`gpubp.LossCurveDisplay.from_estimator`.

        Returns
        -------
        LossCurveDisplay
        """
        return LossCurveDisplay.from_estimator(self, ax=ax, name=name, log=log, **kwargs)

    def report(self) -> str:
        """Describe the fitted model in a few lines: the network, the fit, losses and scores, advice where it is due.

        Returns
        -------
        str
        """
        return report(self)

    # --- what scikit-learn's tools ask for ---

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
