"""scikit-learn's own multilayer perceptrons, trained and evaluated by gpubp.

The estimator stays scikit-learn's: it has validated the samples and drawn the first weights, and gpubp does what is
left of the fit. The result is in scikit-learn's attributes, from which any later call continues, with gpubp or without.
"""

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.neural_network._multilayer_perceptron import MLPClassifier, MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from gpubp.backends.backend import Backend, choose_backend, to_numpy
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.distributed.process_group import SINGLE_PROCESS
from gpubp.engine import cpu
from gpubp.engine.argument_checks import choose_precision
from gpubp.errors import GpubpError
from gpubp.estimators._arrays import outputs_in_parts
from gpubp.estimators._fit import sizes_of, theta_of, weights_of
from gpubp.estimators._fit_state import ATTRIBUTES, FitState
from gpubp.estimators._label_encoding import ClassTargets
from gpubp.estimators._optimizer import OptimizerState, learning_rate_of
from gpubp.estimators._options import FitOptions
from gpubp.estimators._run import FitArguments, run_fit
from gpubp.estimators._stacked_fit import StackedFit
from gpubp.estimators._targets import TargetCoding
from gpubp.estimators._validation import as_csr
from gpubp.estimators.classifier import MLPClassifier as ClassifierOnAnyDevice
from gpubp.estimators.regressor import NumberTargets
from gpubp.nn.network import Network
from gpubp.optim.first_order import AdamState, MomentumState
from gpubp.training.stacks import row_numbers

REPLACED = (
    *("_backprop", "_compute_loss_grad", "_forward_pass", "_loss_grad_lbfgs", "_unpack"),
    *("_predict", "_score", "_score_with_function", "_update_no_improvement_count"),
)
"""The methods of scikit-learn that are not called in a fit by gpubp; a subclass may have its own."""

_OF_OTHERS = ("validation_curve", "stop_reason", "fit_seconds", "scaling", "optimizer")  # scikit-learn keeps none
_SETTINGS: dict[type, dict[str, str]] = {
    AdamOptimizer: {name: name for name in ("beta_1", "beta_2", "epsilon", "learning_rate_init")},
    SGDOptimizer: {
        "learning_rate": "lr_schedule",
        "nesterovs_momentum": "nesterov",
        **{name: name for name in ("learning_rate_init", "momentum", "power_t")},
    },
}
"""By the class of an optimizer of scikit-learn, its attribute for each parameter of an estimator."""


class NotSupported(Exception):
    """scikit-learn has to do this fit itself; the message says why."""


class _ScoredNumbers(NumberTargets):
    """Targets that are scored as scikit-learn does, also if all are equal."""

    def score(self, name: str, y: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> float:
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predictions(outputs), sample_weight=sample_weight))


def check_supported(model: Any) -> None:
    """Check that gpubp computes what an estimator of scikit-learn, or of a subclass, would.

    Raises
    ------
    NotSupported
        If it does not.
    """
    base = MLPClassifier if isinstance(model, MLPClassifier) else MLPRegressor
    if not isinstance(model, base):
        raise NotSupported(f"{type(model).__name__} is neither an MLPClassifier nor an MLPRegressor")
    for name in REPLACED:
        if name in vars(model) or getattr(type(model), name, None) is not getattr(base, name, None):
            raise NotSupported(f"{type(model).__name__} has a {name} of its own")
    if isinstance(model, MLPClassifier) and model.loss != "log_loss":
        raise NotSupported(f"loss={model.loss!r}")
    optimizer = getattr(model, "_optimizer", None)
    if optimizer is not None and type(optimizer) not in _SETTINGS:
        raise NotSupported(f"the optimizer is a {type(optimizer).__name__}")


def continue_fit(
    model: Any, X: Any, targets: np.ndarray, sample_weight: np.ndarray | None, *, device: str, incremental: bool = False
) -> tuple[None, str]:
    """Train a model of scikit-learn from its weights, and set its fitted attributes.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor of scikit-learn
        With drawn weights, and with the state of earlier calls if there were any.
    X : (n, i) array of NumPy, or sparse matrix
    targets : (n, j) array of NumPy
        A column for each output.
    sample_weight : (n,) array of NumPy, optional
    device : str
    incremental : bool
        Whether this is a call of ``partial_fit``: one epoch, with the optimizer's state.

    Returns
    -------
    None
        The model has the result.
    name : str
        The name of the device.

    Raises
    ------
    NotSupported
        If gpubp cannot do this fit, or its device fails; the model and its random numbers are unchanged.
    ValueError
        If the weights become infinite or NaN: scikit-learn's error.
    """
    check_supported(model)
    if model.early_stopping and incremental:
        raise NotSupported("partial_fit with early_stopping=True")
    if targets.shape[1] > 1 and not is_classifier(model) and _loss_of(model) == "squared_error":
        raise NotSupported("for several numbers, scikit-learn minimizes the sum of their losses but reports the mean")
    draws = model._random_state.get_state()
    try:
        fit, start = _prepare(model, as_csr(X), targets, sample_weight, device, incremental)
        _run(model, fit, start, incremental)
    except (GpubpError, MemoryError) as error:
        model._random_state.set_state(draws)
        raise NotSupported(str(error) or type(error).__name__) from error
    return None, fit.backend.name


def outputs_of(model: Any, X: Any, *, device: str) -> tuple[np.ndarray, str]:
    """Compute the outputs of a fitted model of scikit-learn.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor of scikit-learn
    X : (n, i) array of NumPy, or sparse matrix
        Checked by scikit-learn.
    device : str

    Returns
    -------
    outputs : (n, j) array of NumPy
    name : str
        The name of the device.

    Raises
    ------
    NotSupported
        If gpubp cannot compute them, or its device fails.
    """
    check_supported(model)
    try:
        network, theta = _network_of(model)
        X = as_csr(X)
        backend, precision = _place(device, X, theta)
        with (
            np.errstate(all="ignore"),
            translate_gpu_errors(backend, Workload(network, precision, 1, X.shape[0])),
            backend.active(),
        ):
            return to_numpy(outputs_in_parts(backend, precision, network, theta, X)), backend.name
    except (GpubpError, MemoryError, ValueError) as error:
        raise NotSupported(str(error) or type(error).__name__) from error


def _prepare(
    model: Any, x: Any, targets: np.ndarray, weights: np.ndarray | None, device: str, incremental: bool
) -> tuple[StackedFit, OptimizerState | None]:
    """Prepare a fit, and the state of the optimizer from which it starts, None for "lbfgs"."""
    network, theta = _network_of(model)
    coding = _coding_of(model)
    backend, precision = _place(device, x, theta, in_float64=model.solver == "lbfgs")
    if model.solver == "lbfgs" and backend.is_numpy and not cpu.is_wanted():
        raise NotSupported('its own "lbfgs" is faster than gpubp without the compiled engine')
    coding.check_learnable(targets, precision, is_first=False)
    before = getattr(model, "_optimizer", None) if incremental else None
    options, state = _options_of(model, before), FitState.of(model)
    start = None
    if options.solver != "lbfgs":
        start = OptimizerState(options.solver, learning_rate_of(options, 0), _arrays_of(before))
        if isinstance(before, SGDOptimizer):
            start.rate.current = before.learning_rate
        if start.state is not None:
            start.check_fits(theta)
    else:
        state = FitState()
    state.optimizer = None
    state.validation_curve = [] if options.early_stopping else None
    fit = StackedFit(
        options=options,
        state=state,
        coding=coding,
        network=network,
        dropout_rates=(),
        backend=backend,
        precision=precision,
        random_state=model._random_state,
        theta=theta,
        x=x,
        rows=row_numbers(targets.shape[0]),
        targets=targets,
        weights=weights,
        train_weights=weights,
        publish=lambda attributes: None,
        fitted=lambda attributes: None,
    )
    return fit, start


def _run(model: Any, fit: StackedFit, start: OptimizerState | None, incremental: bool) -> None:
    arguments = FitArguments(fit.x, fit.targets, fit.weights, None)
    held_out = fit.options.early_stopping and start is not None
    try:
        with np.errstate(all="ignore"):
            run_fit(model, fit, arguments, SINGLE_PROCESS, has_held_out=held_out, incremental=incremental, start=start)
    except (GpubpError, MemoryError):
        raise
    except BaseException:  # such as a warning that the user has made an error, after the training
        _store(model, fit, incremental)
        raise
    _store(model, fit, incremental)


def _store(model: Any, fit: StackedFit, incremental: bool) -> None:
    """Set the attributes that scikit-learn's own fit sets."""
    state, is_lbfgs = fit.state, fit.options.solver == "lbfgs"
    kept = ("n_iter", "loss") if is_lbfgs else [name for name in ATTRIBUTES if name not in _OF_OTHERS]
    figures = {ATTRIBUTES[name]: getattr(state, name) for name in kept}
    figures |= {name: _as_scalars(value) for name, value in figures.items() if "loss" in name}
    vars(model).update({name: value for name, value in figures.items() if name != "loss_" or value is not None})
    if state.theta is None:
        return
    vars(model).update(weights_of(fit.network, state.theta))
    if is_lbfgs:
        model._coef_indptr, model._intercept_indptr = _packing(model)
        return
    if fit.options.early_stopping:
        model._best_coefs, model._best_intercepts = model.coefs_, model.intercepts_
    if state.optimizer is None:
        vars(model).pop("_optimizer", None)
        return
    if not incremental or not hasattr(model, "_optimizer"):
        model._optimizer = _new_optimizer(model)
    _set_arrays(model._optimizer, fit.network, state.optimizer.on(None, ""))


def _as_scalars(value: Any) -> Any:
    """Return a figure as NumPy's float64, which has a dtype, and a list of figures as a list of these."""
    if isinstance(value, list):
        return [_as_scalars(each) for each in value]
    return np.float64(value) if isinstance(value, float) else value


def _packing(model: Any) -> tuple[list[Any], list[Any]]:
    """Return where scikit-learn puts each layer's weights, and its biases, in the vector that "lbfgs" changes."""
    stops = np.cumsum([0, *(part.size for part in (*model.coefs_, *model.intercepts_))]).tolist()
    spans, n_layers = list(pairwise(stops)), len(model.coefs_)
    coefs = [(*span, part.shape) for span, part in zip(spans, model.coefs_, strict=False)]
    return coefs, spans[n_layers:]


def _new_optimizer(model: Any) -> Any:
    """Create scikit-learn's optimizer for a model."""
    kind = SGDOptimizer if model.solver == "sgd" else AdamOptimizer
    settings = {attribute: getattr(model, parameter) for parameter, attribute in _SETTINGS[kind].items()}
    return kind([], **settings)


def _set_arrays(optimizer: Any, network: Network, kept: OptimizerState) -> None:
    """Write gpubp's state to an optimizer of scikit-learn, which has an array for each of its weights and biases."""

    def in_parts(flat: np.ndarray) -> list[np.ndarray]:
        parts = weights_of(network, flat)
        return [*parts["coefs_"], *parts["intercepts_"]]

    if isinstance(optimizer, SGDOptimizer):
        optimizer.velocities, optimizer.learning_rate = in_parts(kept.state.previous), kept.rate.current
        return
    optimizer.ms, optimizer.vs = in_parts(kept.state.first), in_parts(kept.state.second)
    optimizer.t = t = int(kept.state.updates)
    rate = optimizer.learning_rate_init
    optimizer.learning_rate = rate * np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t) if t else rate


def _arrays_of(optimizer: Any) -> AdamState | MomentumState | None:
    """Read the state of an optimizer of scikit-learn."""

    def joined(parts: list[np.ndarray]) -> np.ndarray:
        return theta_of(parts[: len(parts) // 2], parts[len(parts) // 2 :])

    if optimizer is None:
        return None
    if isinstance(optimizer, SGDOptimizer):
        return MomentumState(joined(optimizer.velocities))
    return AdamState(joined(optimizer.ms), joined(optimizer.vs), optimizer.t)


def _options_of(model: Any, optimizer: Any) -> FitOptions:
    """Return the options of a fit; in a later call of ``partial_fit`` the optimizer keeps those of the first."""
    defaults = FitOptions.of(ClassifierOnAnyDevice())
    given = {field.name: getattr(model, field.name) for field in fields(FitOptions) if hasattr(model, field.name)}
    if optimizer is not None:
        given |= {name: getattr(optimizer, attribute) for name, attribute in _SETTINGS[type(optimizer)].items()}
        given["solver"] = "sgd" if isinstance(optimizer, SGDOptimizer) else "adam"
    return replace(defaults, **given)


def _coding_of(model: Any) -> TargetCoding:
    if is_classifier(model):
        return ClassTargets(model._label_binarizer, model.classes_, "log_loss", 0.0)
    return _ScoredNumbers(_loss_of(model), model.n_outputs_)


def _loss_of(regressor: Any) -> str:
    return str(getattr(regressor, "loss", "squared_error"))  # scikit-learn 1.6 has no other


def _network_of(model: Any) -> tuple[Network, np.ndarray]:
    """Return the network of a model with weights, and its parameters."""
    output_activation, loss = _coding_of(model).output_and_loss()
    sizes = tuple(sizes_of(model.coefs_, model.intercepts_))
    if output_activation != model.out_activation_ or len(sizes) != model.n_layers_:
        raise NotSupported(f"{len(sizes)} layers with out_activation_={model.out_activation_!r}")
    network = Network(sizes, activation=model.activation, output_activation=output_activation, loss=loss)
    return network, theta_of(model.coefs_, model.intercepts_)


def _place(device: str, x: Any, theta: np.ndarray, *, in_float64: bool = False) -> tuple[Backend, str]:
    """Choose the device, and the precision in which scikit-learn would compute."""
    dtype = np.float64 if in_float64 else np.result_type(x.dtype, theta.dtype)
    backend = choose_backend(device)
    return backend, choose_precision(backend, None, np.empty(0, dtype if dtype == np.float32 else np.float64))
