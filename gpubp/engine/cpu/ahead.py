"""What training and prediction on a CPU compile, done ahead of need."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from gpubp.backends.backend import choose_backend
from gpubp.engine.cpu.compiling import REAL
from gpubp.engine.cpu.epoch import compiled_epoch_runner
from gpubp.engine.cpu.layers import output_loss, unit_dE_dx, unit_value
from gpubp.engine.cpu.optimizers import NUMBERS, change_named
from gpubp.engine.cpu.outputs import compiled_outputs
from gpubp.engine.cpu.steps import take_part
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches
from gpubp.engine.plain.step import EpochResult, ModelState, Objective
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum

_PAIRS = [*((name, get_loss(name).output) for name in LOSSES), ("squared", "logistic"), ("squared", "softmax")]


def compilations() -> Iterator[tuple[str, Callable[[], object]]]:
    """List what there is to compile, each with a function that does it or finds it on disk.

    Units and errors whose number is not the usual one, such as ``elu(0.5)``, are compiled when they are needed.
    """
    for dtype in REAL:
        for name in ACTIVATIONS:
            yield f"activation {name}, {dtype}", partial(_unit, name, dtype)
        for error, unit in _PAIRS:
            yield f"loss {error} of {unit}, {dtype}", partial(output_loss, error, unit, dtype)
        for optimizer in NUMBERS:
            yield f"optimizer {optimizer}, {dtype}", partial(change_named, optimizer, dtype)
        yield f"steps, {dtype}", partial(_step, dtype, ())
        yield f"steps of stacks, {dtype}", partial(_step, dtype, (1,))
        yield f"predictions, {dtype}", partial(_predict, dtype)


def kept_in() -> Path | None:
    """Find the folder that holds what was compiled; None where there is no place for it."""
    path = take_part.stats.cache_path  # type: ignore[attr-defined]
    return Path(path) if path else None


_NETWORK = Network((2, 3, 1))


def _unit(name: str, dtype: str) -> None:
    unit_value(name, dtype)
    unit_dE_dx(name, dtype)


def _step(dtype: str, stack: tuple[int, ...]) -> None:
    optimizer, theta = momentum(), np.zeros((*stack, _NETWORK.n_parameters), dtype)
    run_epoch = compiled_epoch_runner(Objective(_NETWORK), optimizer, dtype, _no_plain_way)
    batch = Batch(np.zeros((4, 2), dtype), np.zeros((4, 1), dtype))
    run_epoch(ModelState(theta, optimizer.init(np, theta)), ArrayBatches(choose_backend("cpu"), batch, 2))


def _no_plain_way() -> Callable[[ModelState, Batches], EpochResult]:
    raise AssertionError("there is a compiled form of this")


def _predict(dtype: str) -> None:
    compiled_outputs(_NETWORK, np.zeros(_NETWORK.n_parameters, dtype), np.zeros((4, 2), dtype))
