"""Validate the arguments of :func:`gpubp.train`: options, devices and sizes, before arrays are moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_numpy, with_matmul
from gpubp.data.streaming.stream import Stream
from gpubp.data.streaming.validation import validate_stream
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import (
    check_gradient_accumulation,
    check_options,
    choose_precision,
    host_array,
    host_theta,
)
from gpubp.engine.plain.dropout import Dropout, Rate, dropout_rates
from gpubp.engine.plain.minibatches import DEFAULT_BATCH_SIZE, Orders
from gpubp.errors import DataError
from gpubp.nn.initialization import Purpose, Seed, check_seeds, generator_for, initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.second_order import SecondOrder
from gpubp.training.callbacks import Callback
from gpubp.training.run_settings import name_of
from gpubp.training.validation import Scoring

StopWhen = Callable[[Array, Array], Array]
"""``stop_when(targets, outputs)`` returns whether a network is done."""


class Inputs(NamedTuple):
    """The arrays passed to :func:`gpubp.train`."""

    X: Array | Stream
    targets: Array | None
    theta: Array | None
    sample_weight: Array | None
    validation_data: tuple[Array, ...] | None

    @property
    def arrays(self) -> list[Array]:
        """All arrays, beginning with those that determine the precision."""
        others = [self.targets, self.sample_weight, *(self.validation_data or ())]
        return [*self.precision_arrays, *(array for array in others if array is not None)]

    @property
    def precision_arrays(self) -> tuple[Any, ...]:
        """The arrays that determine the precision."""
        return (self.X,) if self.theta is None else (self.theta, self.X)


@dataclass(frozen=True)
class Options:
    """The options of :func:`gpubp.train`."""

    optimizer: Optimizer | SecondOrder
    epochs: int
    batch_size: int | Literal["auto", "full"]
    drop_last: bool
    shuffle: bool
    seed: Seed | Sequence[Seed]
    reduction: Literal["mean", "sum"]
    l2: float | Array
    dropout: Rate | Sequence[Rate] | None
    scoring: Scoring | None
    patience: int | None
    tolerance: float
    monitor: Literal["score", "loss", "least_loss"]
    stop_when: StopWhen | None
    callbacks: tuple[Callback, ...]
    device: str
    dtype: str | None
    matmul_precision: str
    history: bool
    gradient_accumulation: int


@dataclass(frozen=True)
class Setup:
    """A training whose options are valid.

    Attributes
    ----------
    inputs : Inputs
        On the host or on their original device; ``theta`` are the initial weights.
    options : Options
    precision : {"float32", "float64"}
    n_samples, n_networks : int
    batch_size : int
        Samples of a step, in all processes together.
    orders : Orders, optional
        The generator of the order of the samples, with ``shuffle``.
    dropout : Dropout, optional
        That of the first epoch.
    """

    network: Network
    inputs: Inputs
    options: Options
    backend: Backend
    precision: str
    n_samples: int
    n_networks: int
    batch_size: int
    orders: Orders | None
    processes: ProcessGroup
    dropout: Dropout | None = None


def validate(network: Network, inputs: Inputs, options: Options, processes: ProcessGroup) -> Setup:
    """Check options, choose the device and the precision, and draw the initial weights.

    Raises
    ------
    DataError
        If an option is out of range, or options contradict each other.
    DeviceError
        If the device cannot be used.
    """
    _check(network, inputs, options)
    orders = Orders(generator_for(check_seeds(options.seed)[0], Purpose.ORDER)) if options.shuffle else None
    inputs = _on_host(network, inputs, options, processes)
    backend = choose_backend(options.device, *inputs.arrays)
    precision = choose_precision(backend, options.dtype, *inputs.precision_arrays)
    if options.matmul_precision == "float16":
        options = replace(options, optimizer=_loss_scaled(options.optimizer))
    if inputs.theta is None:
        inputs = inputs._replace(theta=initial_weights(network, options.seed, dtype=precision))
    n_samples = inputs.X.shape[-2] if inputs.X.ndim > 1 else 1
    is_stack = getattr(inputs.theta, "ndim", 1) > 1
    n_networks = inputs.theta.shape[0] if is_stack else 1  # type: ignore[union-attr]
    size = options.gradient_accumulation * _batch_size(options, n_samples)
    return Setup(
        network,
        inputs,
        options,
        backend,
        precision,
        n_samples,
        n_networks,
        min(size, n_samples),
        orders,
        processes,
        _dropout(network, options, is_stack),
    )


def synchronize(setup: Setup, keeps_checkpoints: bool, resumes: bool) -> Setup:
    """Check that all processes run the same training, and use the weights and orders of rank 0."""
    network, inputs, options, processes = setup.network, setup.inputs, setup.options, setup.processes
    backend = setup.backend
    if processes.world_size > 1:
        on_host = all(map(array_api_compat.is_numpy_array, inputs.arrays))
        backend = processes.assign_gpu(backend, options.device if on_host else backend.name)
        observed = (inputs.validation_data, options.scoring, options.patience, options.stop_when)
        processes.check_equal(
            {
                "the network": (network.sizes, network.activations, network.loss, network.n_members, network.skips),
                "the optimizer": options.optimizer.name,
                "the number of samples": setup.n_samples,
                "the batch size": setup.batch_size,
                "epochs": options.epochs,
                "the precision": (setup.precision, options.matmul_precision),
                "dropout": [] if setup.dropout is None else list(map(name_of, setup.dropout.rates)),
                "whether validation_data, scoring, patience and stop_when are given": [
                    argument is not None for argument in observed
                ],
                "whether checkpoints are written, and resumed from": (keeps_checkpoints, resumes),
            }
        )
        key = None if setup.dropout is None else setup.dropout.key  # the rates may be functions, which pickle refuses
        theta, orders, key = processes.on_rank_0(lambda: (to_numpy(inputs.theta), setup.orders, key))
        dropout = None if setup.dropout is None else replace(setup.dropout, key=key)
        setup = replace(setup, inputs=inputs._replace(theta=theta), orders=orders, dropout=dropout)
    return replace(setup, backend=with_matmul(backend, options.matmul_precision, setup.precision))


def _check(network: Network, inputs: Inputs, options: Options) -> None:
    check_options(
        network,
        options.optimizer,
        options.epochs,
        options.batch_size,
        options.l2,
        options.tolerance,
        inputs.validation_data,
        options.scoring,
        options.patience,
        options.stop_when,
    )
    check_gradient_accumulation(options.gradient_accumulation, options.batch_size, options.optimizer)
    if not isinstance(options.drop_last, bool):
        raise DataError(f"drop_last must be True or False, got {options.drop_last!r}")
    if options.drop_last and isinstance(inputs.X, Stream):
        raise DataError("drop_last needs the number of samples, which a stream may not have; omit it")
    if options.monitor not in ("score", "loss", "least_loss"):
        raise DataError(f"monitor must be 'score', 'loss' or 'least_loss', got {options.monitor!r}")


def _on_host(network: Network, inputs: Inputs, options: Options, processes: ProcessGroup) -> Inputs:
    """Bring in all arrays, or check a stream."""
    theta, sample_weight, validation_data = inputs.theta, inputs.sample_weight, inputs.validation_data
    inputs = inputs._replace(
        theta=None if theta is None else host_theta(theta),
        sample_weight=None if sample_weight is None else host_array("sample_weight", sample_weight),
    )
    if validation_data is not None:
        names = ("validation X", "validation targets", "validation sample_weight")
        given = [*validation_data[:2], *(weights for weights in validation_data[2:] if weights is not None)]
        inputs = inputs._replace(validation_data=tuple(map(host_array, names, given)))
    if not isinstance(inputs.X, Stream):
        return inputs._replace(X=host_array("X", inputs.X), targets=host_array("targets", inputs.targets))
    validate_stream(
        network,
        inputs.X,
        inputs.targets,
        options.optimizer,
        options.epochs,
        options.batch_size,
        inputs.sample_weight,
        options.stop_when,
        processes.world_size,
    )
    return inputs


def _batch_size(options: Options, n_samples: int) -> int:
    if options.batch_size == "full" or isinstance(options.optimizer, SecondOrder):
        return n_samples
    return min(DEFAULT_BATCH_SIZE if options.batch_size == "auto" else int(options.batch_size), n_samples)


def _loss_scaled(optimizer: Optimizer | SecondOrder) -> Optimizer:
    if isinstance(optimizer, SecondOrder):
        raise DataError(
            f"{optimizer.name} uses the unscaled gradient, which float16 cannot represent; "
            "use matmul_precision='bfloat16'"
        )
    return loss_scaled(optimizer)


def _dropout(network: Network, options: Options, is_stack: bool) -> Dropout | None:
    """Return the dropout of the first epoch, with a key for each seed, or for each of its members."""
    rates = dropout_rates(network, options.dropout)
    if not rates:
        return None
    if isinstance(options.optimizer, SecondOrder):
        raise DataError(f"dropout makes the loss random, which {options.optimizer.name} does not support; use adam()")
    keys = [dropout_key(seed, network.n_members) for seed in check_seeds(options.seed)]
    is_one = len(keys) == 1 and not (is_stack and network.n_members)
    return Dropout(network.sizes[:-1], rates, keys[0] if is_one else np.asarray(keys, np.uint64))


def dropout_key(seed: Seed, n_members: int | None = None) -> Any:
    """Draw the key of a network, 64 bits, or an array with one for each of its members."""
    drawn = generator_for(seed, Purpose.DROPOUT).integers(2**64, size=n_members, dtype=np.uint64)
    return int(drawn) if n_members is None else drawn
