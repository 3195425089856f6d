"""Validation at the entry points: options are checked, arrays are converted and checked.

Arrays of few numbers are checked on the host and stay there; the others are moved to the device first. The values are
checked at once or, with ``later``, together with those of other arrays.
"""

import sys
from collections.abc import Callable
from inspect import signature
from types import FunctionType
from typing import Any

import array_api_compat
import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import Range
from gpubp._core.text import counted, excerpt
from gpubp._typing import Array
from gpubp.backends.backend import FEW_NUMBERS, Backend, choose_backend, to_backend, to_numpy
from gpubp.backends.inputs import accept_array, as_numbers
from gpubp.backends.libraries import is_of_other_library
from gpubp.backends.value_checks import Facts, ValueChecks
from gpubp.errors import DataError
from gpubp.nn.initialization import check_seeds, is_sequence
from gpubp.nn.losses import get_loss, loss_of_errors
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder


def choose_precision(backend: Backend, dtype: str | None, *arrays: Array) -> str:
    """Choose the precision: the requested one, else that of the first floating-point array, else float32.

    float64 arrays become float32 on a device without float64.

    Raises
    ------
    DataError
        If the requested precision is not one of these, or the device does not support it.
    """
    available = backend.xp.__array_namespace_info__().dtypes(device=backend.device, kind="real floating")
    if dtype is not None:
        dtype = getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]  # numpy.float32, torch.float32, ...
        if dtype not in ("float32", "float64") or dtype not in available:
            raise DataError(f"dtype must be one of {', '.join(sorted(available))} on {backend.name}, got {dtype!r}")
        return dtype
    for array in arrays:
        if not hasattr(array, "dtype"):
            continue
        name = getattr(array.dtype, "name", str(array.dtype)).rpartition(".")[2]  # in any byte order
        if name in ("float32", "float64"):
            return name if name in available else "float32"
    return "float32"


def validate_theta(
    network: Network, backend: Backend, dtype: str, theta: Array, *, later: ValueChecks | None = None
) -> Array:
    """Validate the parameters of one network or of a stack, ``(P,)`` or ``(K, P)``."""
    theta = _converted("theta", backend, dtype, host_theta(theta))
    if theta.ndim not in (1, 2) or theta.shape[-1] != network.n_parameters or theta.shape[0] == 0:
        raise DataError(
            f"theta must be ({network.n_parameters},), or (K, {network.n_parameters}) for a stack, "
            f"for {network.in_words}; got {tuple(theta.shape)}"
        )

    def problem_of(facts: Facts) -> str | None:
        return _not_finite("theta", theta, dtype, facts) or _untied(network, theta)

    _check(later, problem_of, theta)
    return theta


def _untied(network: Network, theta: Array) -> str | None:
    if network.tied is None:
        return None
    host = to_numpy(theta)
    if untied := np.argwhere(host != network.tied.tie(host)).tolist():
        return (
            f"theta differs from the network's ties at {untied[0]}: tied weights must be equal, and those of "
            "absent connections 0; network.tied.tie(theta) makes them so"
        )
    return None


def validate_x(
    network: Network,
    backend: Backend,
    dtype: str,
    theta: Array,
    x: Array,
    *,
    name: str = "X",
    rows: slice = slice(None),
    later: ValueChecks | None = None,
) -> Array:
    """Validate samples, ``(b, i)``, or ``(K, b, i)`` with its own samples for each network of a stack.

    Only the values in ``rows`` are checked.

    Raises
    ------
    DataError
        If they are not finite numbers, are empty, or do not fit the network or the stack.
    """
    x = _converted(name, backend, dtype, x)
    n_inputs = network.sizes[0]
    if x.ndim == 1:
        raise DataError(
            f"{name} must be (samples, {n_inputs}), got one dimension of {x.shape[0]}; "
            f"a single sample is {name}.reshape(1, -1), a single input {name}.reshape(-1, 1)"
        )
    if x.ndim not in (2, 3) or x.shape[-1] != n_inputs:
        inputs = counted(n_inputs, "input")
        raise DataError(f"{name} must be (samples, {n_inputs}), as the network has {inputs}; got {_shape(x)}")
    if 0 in x.shape:
        raise DataError(f"{name} is empty, {_shape(x)}; at least one sample is needed")
    if x.ndim == 3 and (theta.ndim == 1 or theta.shape[0] != x.shape[0]):
        stack = "one network" if theta.ndim == 1 else f"a stack of {theta.shape[0]} networks"
        raise DataError(f"{name} holds {x.shape[0]} sets of samples, but theta is {stack}")
    checked = x[..., rows, :]
    _check(later, lambda facts: _not_finite(name, checked, dtype, facts, rows), checked)
    return x


def validate_targets(
    network: Network,
    backend: Backend,
    dtype: str,
    theta: Array,
    x: Array,
    targets: Array,
    *,
    name: str = "targets",
    rows: slice = slice(None),
    later: ValueChecks | None = None,
) -> Array:
    """Validate targets, one row for each sample of ``x``; for a stack they may be ``(K, b, j)``.

    Only the values in ``rows`` are checked.

    Raises
    ------
    DataError
        If their shape does not fit the network and ``x``, or the loss is not defined for their values or overflows.
    """
    targets = _converted(name, backend, dtype, targets)
    expected = (x.shape[-2], network.sizes[-1])
    if tuple(targets.shape) not in _allowed_shapes(expected, theta):
        fix = ""
        if targets.ndim == 1:
            column, labels = "reshape(-1, 1) makes a column", "gpubp.one_hot makes rows of class labels"
            fix = f"; {column if network.sizes[-1] == 1 else labels}"
        raise DataError(
            f"{name} must be {expected}, a row for each sample of X and a column for each output; "
            f"got {_shape(targets)}{fix}"
        )
    checked = targets[..., rows, :]

    def problem_of(facts: Facts) -> str | None:
        if problem := _not_finite(name, checked, dtype, facts, rows):
            return problem
        (smallest, largest), (low, high) = facts, get_loss(network.loss).target_range
        if smallest < low or largest > high:
            return f"the loss {network.loss!r} needs {name} from {low:g} to {high:g}, got {smallest:g} to {largest:g}"
        return overflow(name, network.loss, max(-smallest, largest), targets.shape[-2] * targets.shape[-1], dtype)

    _check(later, problem_of, checked)
    return targets


@np.errstate(over="ignore", under="ignore")
def overflow(name: str, loss: str, largest: float, n: int, dtype: str) -> str | None:
    """Say so if the sum of the loss of n targets up to this magnitude overflows in a precision."""
    of_largest = float(loss_of_errors(np, loss, np.asarray(largest, "float64")))
    if of_largest <= float(np.finfo(dtype).max) / n:
        return None
    wider = ", or use dtype='float64'" if of_largest <= float(np.finfo("float64").max) / n else ""
    return (
        f"{name} reach {largest:.3g}, and the sum of the loss {loss!r} overflows in {dtype}; scale them, such as "
        f"{name} / {largest:.0e}{wider}"
    )


def validate_sample_weight(
    backend: Backend,
    dtype: str,
    theta: Array,
    x: Array,
    sample_weight: Array,
    *,
    name: str = "sample_weight",
    later: ValueChecks | None = None,
) -> Array:
    """Validate sample weights, not negative and not all 0, one per sample; for a stack they may be ``(K, b)``."""
    weights = _converted(name, backend, dtype, sample_weight)
    expected = (x.shape[-2],)
    if tuple(weights.shape) not in _allowed_shapes(expected, theta):
        raise DataError(f"{name} must be {expected}, one for each sample, got {_shape(weights)}")

    def problem_of(facts: Facts, facts_of_largest: Facts) -> str | None:
        if problem := _not_finite(name, weights, dtype, facts):
            return problem
        is_wrong = facts[0] < 0.0 or facts_of_largest[0] <= 0.0
        return f"{name} must not be negative, and not all 0" if is_wrong else None

    _check(later, problem_of, weights, array_api_compat.array_namespace(weights).max(weights, axis=-1))
    return weights


def check_options(
    network: Network,
    optimizer: Any,
    epochs: Any,
    batch_size: Any,
    l2: Any,
    tolerance: Any,
    validation_data: Any,
    scoring: Any,
    patience: Any,
    stop_when: Any,
) -> None:
    """Check the options of training that can be checked without arrays."""
    check_optimizer(optimizer)
    if not is_count(epochs):
        raise DataError(f"epochs must be a whole number of at least 1, got {epochs!r}")
    if batch_size not in ("auto", "full") and not is_count(batch_size):
        raise DataError(f"batch_size must be a positive whole number, 'auto' or 'full', got {batch_size!r}")
    numbers = [("l2", number) for number in (to_numpy(l2).ravel().tolist() if getattr(l2, "ndim", 0) else [l2])]
    for name, number in (*numbers, ("tolerance", tolerance)):
        if not (isinstance(number, int | float | np.floating) and number in Range(0)):
            raise DataError(f"{name} must be a finite number of at least 0, got {number!r}")
    if validation_data is not None and not (
        isinstance(validation_data, tuple | list) and len(validation_data) in (2, 3)
    ):
        raise DataError(
            "validation_data must be a pair (X, targets), or (X, targets, sample_weight), got "
            f"{type(validation_data).__name__}"
        )
    if scoring is not None and validation_data is None:
        raise DataError("scoring needs validation samples: pass validation_data=(X, targets)")
    if stop_when is not None and not callable(stop_when):
        raise DataError(f"stop_when must be a function of targets and outputs, got {stop_when!r}")
    if patience is not None and not is_count(patience):
        raise DataError(f"patience must be a whole number of epochs, at least 1, got {patience!r}")
    if isinstance(optimizer, SecondOrder):
        if batch_size not in ("auto", "full"):
            raise DataError(f"{optimizer.name} works on the full batch: leave batch_size out, or make it 'full'")
        if optimizer.needs_squared_loss and network.loss != "squared":
            raise DataError(f"{optimizer.name} needs the loss 'squared', got {network.loss!r}; use lbfgs")
        if optimizer.needs_squared_loss and network.n_members is not None:
            raise DataError(f"{optimizer.name} does not train members that share weights; use lbfgs")


def check_gradient_accumulation(gradient_accumulation: Any, batch_size: Any, optimizer: Any) -> None:
    """Check the number of batches whose gradients are summed."""
    if not is_count(gradient_accumulation):
        raise DataError(
            f"gradient_accumulation must be a whole number of batches, at least 1, got {gradient_accumulation!r}"
        )
    if gradient_accumulation > 1 and (batch_size == "full" or isinstance(optimizer, SecondOrder)):
        raise DataError(
            "gradient_accumulation sums the gradients of several batches, but with a full batch there is only one. "
            "To fix it: set batch_size to a number"
        )


def check_optimizer(optimizer: Any, expected: str = "such as adam() or get_optimizer('adam')") -> None:
    """Check that an optimizer is one of gpubp's, rather than the function that makes it."""
    check_is_called(optimizer)
    if not isinstance(optimizer, Optimizer | SecondOrder):
        raise DataError(f"optimizer must be one of gpubp's, {expected}, got {optimizer!r}")


def check_is_called(optimizer: Any) -> None:
    """Check that an optimizer is not a function of gpubp that makes one, such as ``gpubp.adam`` without brackets."""
    if isinstance(optimizer, type):
        raise DataError(f"optimizer must be one of gpubp's, such as adam(), got the class {optimizer.__name__}")
    if isinstance(optimizer, FunctionType) and _is_public_maker(optimizer):
        name, parameters = optimizer.__name__, signature(optimizer).parameters.values()
        arguments = "" if all(p.default is not p.empty for p in parameters) else "..."
        raise DataError(f"optimizer is a function that makes one: pass gpubp.{name}({arguments}), not gpubp.{name}")


def _is_public_maker(function: FunctionType) -> bool:
    """Return whether a function is one of gpubp.optim itself: functools.wraps gives its names to a user's as well."""
    module = str(function.__module__)
    return module.startswith("gpubp.optim.") and getattr(sys.modules.get(module), function.__name__, None) is function


def check_stack_options(
    theta: Array, optimizer: Optimizer | SecondOrder, seed: Any, stop_when: Any, scoring: Any, patience: int | None
) -> None:
    """Check that no option is given that a stack of networks does not support."""
    if theta.ndim == 2 and isinstance(optimizer, SecondOrder):
        raise DataError(f"{optimizer.name} trains one network, got a stack of {theta.shape[0]}")
    n_seeds, n_networks = len(check_seeds(seed)), 1 if theta.ndim == 1 else theta.shape[0]
    if is_sequence(seed) and n_seeds != n_networks:
        raise DataError(f"seed holds {n_seeds} seeds, but theta is {n_networks} network{'s' * (n_networks > 1)}")
    if theta.ndim == 2 and stop_when is not None and (patience is not None or scoring is not None):
        raise DataError(
            "in a stack, stop_when ends the training of each network, and patience and scoring are for all of them; "
            "choose one of the two"
        )


def _allowed_shapes(shape: tuple[int, ...], theta: Array) -> tuple[tuple[int, ...], ...]:
    """Return the allowed shapes: one array for all networks or, for a stack, one for each."""
    return (shape,) if theta.ndim == 1 else (shape, (theta.shape[0], *shape))


def _shape(array: Array) -> tuple[int, ...]:
    return tuple(array.shape)


def host_array(name: str, array: Array) -> Array:
    """Convert lists, data frames and matrices to plain NumPy arrays; see :func:`accept_array` for other arrays.

    Raises
    ------
    DataError
        If rows differ in length, values are masked, or it cannot be converted to an array.
    """
    if array is None:
        raise DataError(f"{name} is missing; only a stream from gpubp.open_stream contains all data")
    array = accept_array(name, array)
    if is_of_other_library(array):
        return array
    if hasattr(array, "toarray"):
        raise DataError(f"{name} is a sparse {type(array).__name__}; pass {name}.toarray(), or use gpubp's estimators")
    try:
        return np.asarray(array)
    except Exception as error:  # __array__ may raise anything
        raise DataError(f"{name} must be an array of numbers, its rows of one length: {excerpt(str(error))}") from error


def host_theta(theta: Array) -> Array:
    """Convert parameters as :func:`host_array` does; the result of a training is refused."""
    if hasattr(theta, "theta"):
        raise DataError(f"theta must be an array, got a {type(theta).__name__}; pass its .theta")
    return host_array("theta", theta)


def _converted(name: str, backend: Backend, dtype: str, array: Array) -> Array:
    """Convert an array to a precision; it is moved to a backend unless it has few numbers and is on the host."""
    array = host_array(name, array)
    if array_api_compat.is_numpy_array(array):
        if array.dtype.kind in "OUS":
            try:
                array = array.astype("float64")
            except Exception as error:  # of the objects, or an integer too large for a float
                fix = "; gpubp.one_hot makes rows of class labels" if name.endswith("targets") else ""
                raise DataError(f"{name} must hold numbers, got {array.dtype}: {excerpt(str(error))}{fix}") from error
        array = as_numbers(name, array)
    elif array_api_compat.array_namespace(array).isdtype(array.dtype, "complex floating"):
        raise DataError(f"{name} must hold real numbers, got {array.dtype}")
    if array_api_compat.is_numpy_array(array) and array.size <= FEW_NUMBERS:
        backend = choose_backend("cpu")
    return to_backend(backend, array, dtype)


def _check(later: ValueChecks | None, problem_of: Callable[..., str | None], *arrays: Array) -> None:
    """Check values of arrays later or, without that, at once."""
    checks = ValueChecks() if later is None else later
    if all(0 not in array.shape for array in arrays):  # of the shares of several processes some may be empty
        checks.add(problem_of, *arrays)
    if later is None:
        checks.finish()


def _not_finite(name: str, array: Array, dtype: str, facts: Facts, rows: slice = slice(None)) -> str | None:
    """Say where an array, of which these are rows, is not finite, if it is not."""
    if np.all(np.isfinite(facts)):
        return None
    host = to_numpy(array)
    index = [int(i) for i in np.argwhere(~np.isfinite(host))[0]]
    value = host[tuple(index)]
    if array.ndim > 1:
        index[-2] += rows.start or 0
    return f"{name} holds {value} at {index}; every value must be finite in {dtype}"
