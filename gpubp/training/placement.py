"""Move arrays and settings to the device, and check their values."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, move_together, to_backend, to_numpy
from gpubp.backends.inputs import accept_on_host
from gpubp.backends.memory import storage_backend
from gpubp.backends.value_checks import ValueChecks
from gpubp.data.streaming.stream import Stream
from gpubp.engine.argument_checks import (
    check_stack_options,
    validate_sample_weight,
    validate_targets,
    validate_theta,
    validate_x,
)
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import Batch
from gpubp.errors import DataError
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, check_values
from gpubp.optim.schedules import first_value
from gpubp.optim.second_order import SecondOrder
from gpubp.optim.wrappers import FACTORS
from gpubp.training.setup import Setup


@dataclass(frozen=True)
class Placed:
    """The arrays and settings of a training, on the device.

    Attributes
    ----------
    theta : (P,) or (K, P) array
    samples : Batch
        On ``storage``, which is the host if the samples do not fit on the device; without arrays for a stream.
    held_out : Batch, optional
        The validation samples.
    optimizer : Optimizer or SecondOrder
        Settings of each network are NumPy arrays; a step moves them to the device if needed.
    l2 : float, or (K, 1) array of NumPy
    dropout : Dropout, optional
        That of the first epoch.
    """

    theta: Array
    samples: Batch
    held_out: Batch | None
    optimizer: Optimizer | SecondOrder
    l2: Any
    storage: Backend
    n_networks: int
    dropout: Dropout | None = None


def place(setup: Setup) -> Placed:
    """Move arrays to the device and check their shapes and values.

    Raises
    ------
    DataError
        If shapes do not fit together, or values are not finite.
    """
    network, inputs, backend, precision = setup.network, setup.inputs, setup.backend, setup.precision
    values = ValueChecks()
    theta = validate_theta(network, backend, precision, inputs.theta, later=values)
    storage = storage_backend(backend, precision, inputs.X, inputs.targets)
    samples = held_out = Batch(None, None)
    if not isinstance(inputs.X, Stream):
        rows = setup.processes.shard(setup.n_samples).rows  # the rows whose values this process checks
        given = (inputs.X, inputs.targets, inputs.sample_weight)
        samples = _batch(network, storage, precision, theta, *given, values, rows=rows)
    if inputs.validation_data:
        x, targets, *weights = inputs.validation_data
        weight = weights[0] if weights else None
        held_out = _batch(network, backend, precision, theta, x, targets, weight, values, prefix="validation ")
    values.finish()
    theta, *moved = move_together(
        precision,
        (backend, theta),
        *((storage, array) for array in samples[:3]),
        *((backend, array) for array in held_out[:3]),
    )
    samples, held_out = Batch(*moved[:3]), Batch(*moved[3:])
    options = setup.options
    check_stack_options(theta, options.optimizer, options.seed, options.stop_when, options.scoring, options.patience)
    optimizer = _settings_on_host(network, options.optimizer, theta)
    l2 = _host_setting("l2", options.l2, theta)
    validated = held_out if inputs.validation_data else None
    return Placed(theta, samples, validated, optimizer, l2, storage, setup.n_networks, setup.dropout)


def select_networks(backend: Backend, placed: Placed, chosen: np.ndarray) -> Placed:
    """Select some networks of a stack by an array of bool: their samples and settings."""
    return replace(
        placed,
        samples=_select_samples(placed.storage, placed.samples, chosen),
        held_out=placed.held_out and _select_samples(backend, placed.held_out, chosen),
        optimizer=_select_settings(placed.optimizer, chosen),
        l2=_select(placed.l2, chosen),
        dropout=placed.dropout and placed.dropout.of_networks(chosen),
        n_networks=int(np.sum(chosen)),
    )


def _batch(
    network: Network,
    backend: Backend,
    precision: str,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None,
    values: ValueChecks,
    prefix: str = "",
    rows: slice = slice(None),
) -> Batch:
    given = (network, backend, precision, theta)
    x = validate_x(*given, x, name=f"{prefix}X", rows=rows, later=values)
    targets = validate_targets(*given, x, targets, name=f"{prefix}targets", rows=rows, later=values)
    if sample_weight is not None:
        name = f"{prefix}sample_weight"
        sample_weight = validate_sample_weight(*given[1:], x, sample_weight, name=name, later=values)
    return Batch(x, targets, sample_weight)


def _settings_on_host(network: Network, optimizer: Optimizer | SecondOrder, theta: Array) -> Optimizer | SecondOrder:
    if isinstance(optimizer, SecondOrder):
        return optimizer
    settings = {
        name: _factors(name, network, value, theta) if name in FACTORS else _host_setting(name, value, theta)
        for name, value in optimizer.settings.items()
    }
    return replace(optimizer, settings=settings)


def _factors(name: str, network: Network, given: Any, theta: Array) -> np.ndarray:
    """Return factors of each parameter on the host."""
    factors = np.asarray(accept_on_host(name, given))
    of_all, of_each = tuple(theta.shape[-1:]), tuple(theta.shape)
    if factors.shape not in (of_all, of_each):
        for_each = "" if of_each == of_all else f", or {of_each}, others for each network of the stack"
        raise DataError(f"{name} must be {of_all}, a number for each parameter{for_each}, got {factors.shape}")
    if factors.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, got {factors.dtype}")
    factors = factors.astype("float64")
    if wrong := np.argwhere(~((factors >= 0.0) & np.isfinite(factors))).tolist():
        raise DataError(f"{name} must be finite and at least 0, got {factors[tuple(wrong[0])]} at {wrong[0]}")
    if network.tied is not None:
        untied = network.tied.present & (factors != network.tied.tie(factors))
        if places := np.argwhere(untied).tolist():
            raise DataError(f"{name} differ for weights that are tied, at {places[0]}; they must be equal")
    return factors


def _host_setting(name: str, value: Any, theta: Array) -> Any:
    shape = tuple(getattr(value, "shape", ()))
    if shape and theta.ndim == 2 and shape == (theta.shape[0], 1):
        check_values(name, to_numpy(value).ravel().tolist())
        return to_numpy(value).astype("float64")
    if shape or not (callable(value) or hasattr(value, "__float__")):
        raise DataError(f"{name} must be a number, a schedule, or for a stack an array (K, 1), got {value!r:.80}")
    if callable(value):
        first = first_value(name, value)
        check_values(name, to_numpy(first).ravel().tolist() if getattr(first, "shape", ()) else [first])
        return value
    return float(value)  # NumPy's numbers would widen the precision


def _select_settings(optimizer: Optimizer | SecondOrder, chosen: np.ndarray) -> Optimizer | SecondOrder:
    if isinstance(optimizer, SecondOrder):
        return optimizer
    return replace(optimizer, settings={name: _select(value, chosen) for name, value in optimizer.settings.items()})


def _select(number: Any, chosen: np.ndarray) -> Any:
    """Select the numbers of some networks, if each network has its own."""
    return number[chosen] if np.ndim(number) == 2 else number


def _select_samples(backend: Backend, samples: Batch, chosen: np.ndarray) -> Batch:
    """Select the samples of some networks, if each network has its own."""
    index = to_backend(backend, np.flatnonzero(chosen))

    def selected(array: Array | None, ndim: int) -> Array | None:
        return array if array is None or array.ndim == ndim else backend.xp.take(array, index, axis=0)

    return Batch(selected(samples.x, 2), selected(samples.targets, 2), selected(samples.sample_weight, 1))
