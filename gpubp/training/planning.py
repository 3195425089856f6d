"""Make the plan that the loop runs from a validated training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_backend, to_numpy
from gpubp.data.streaming.stream import Stream
from gpubp.data.streaming.validation import stream_epochs
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, BatchesInParts, EpochInParts
from gpubp.engine.plain.step import EpochRunner, Objective
from gpubp.engine.prediction import outputs as outputs_of
from gpubp.optim.schedules import is_fixed
from gpubp.training.callbacks import Progress, call_on_rank_0
from gpubp.training.placement import Placed, select_networks
from gpubp.training.plan import Plan, Validation, learning_rate_after
from gpubp.training.setup import Options, Setup
from gpubp.training.validation import Validator

SHOWN_OPTIONS = ("batch_size", "shuffle", "drop_last", "gradient_accumulation", "reduction", "l2", "dropout", "seed")
"""The options of a training that callbacks are told, beside its optimizer."""


def make_plan(setup: Setup, placed: Placed, steps_per_part: int | None) -> Plan:
    """Make the plan of a training.

    Parameters
    ----------
    steps_per_part : int, optional
        Number of steps after which a checkpoint may be written before an epoch ends; None without checkpoints.
    """
    options = setup.options
    callbacks = call_on_rank_0(options.callbacks, setup.processes)
    return _plan(setup, steps_per_part, callbacks, placed)


def _plan(setup: Setup, steps_per_part: int | None, callbacks: tuple[Any, ...], placed: Placed) -> Plan:
    options = setup.options
    return Plan(
        backend=setup.backend,
        run_epoch=_epoch_runner(setup, placed),
        batches=_batches(setup, placed, steps_per_part),
        epochs=options.epochs,
        average="weights" if options.reduction == "mean" else None,
        validate=placed.held_out and _validation(setup, placed.held_out),
        patience=options.patience,
        tolerance=float(options.tolerance),
        monitors_score=options.monitor == "score",
        monitors_least=options.monitor == "least_loss",
        callbacks=callbacks,
        observers=callbacks,
        can_go_ahead=_can_go_ahead(options, placed.dropout),
        learning_rate=partial(learning_rate_after, placed.optimizer),
        stop_when=options.stop_when and partial(_find_done, setup, placed.samples),
        plan_for_subset=lambda chosen: _plan(
            setup, steps_per_part, callbacks, select_networks(setup.backend, placed, chosen)
        ),
        keeps_history=options.history,
        is_distributed=setup.processes.world_size > 1,
        draws=setup.orders,
        network=setup.network,
        settings={
            "optimizer": options.optimizer.name,
            **options.optimizer.settings,
            **{name: getattr(options, name) for name in SHOWN_OPTIONS},
        },
    )


def _can_go_ahead(options: Options, dropout: Dropout | None) -> bool:
    """Return whether callbacks can change neither a schedule nor the generator of the orders."""
    settings = [*options.optimizer.settings.values(), *(() if dropout is None else dropout.rates)]
    return all(map(is_fixed, settings)) and not isinstance(options.seed, np.random.Generator)


def _epoch_runner(setup: Setup, placed: Placed) -> EpochRunner:
    options = setup.options
    objective = Objective(
        setup.network,
        options.reduction,
        placed.l2,
        False,
        parts=options.gradient_accumulation,
        processes=setup.processes,
    )
    return make_epoch_runner(
        setup.backend,
        objective,
        placed.optimizer,
        setup.precision,
        outputs_wanted=options.stop_when is not None,
    )


def _batches(setup: Setup, placed: Placed, steps_per_part: int | None) -> Callable[[int], Batches | EpochInParts]:
    if isinstance(setup.inputs.X, Stream):
        stream: Callable[[int], Batches | EpochInParts] = stream_epochs(
            setup.network,
            setup.inputs.X,
            setup.backend,
            setup.precision,
            setup.batch_size,
            setup.orders,
            placed.dropout,
        )
        return stream
    return partial(_array_batches, setup, placed, steps_per_part)


def _array_batches(
    setup: Setup, placed: Placed, steps_per_part: int | None, epoch: int
) -> ArrayBatches | BatchesInParts:
    """Divide the samples into batches, in a new order with ``shuffle`` and more than one batch.

    The batches are grouped into parts if there are enough steps for several parts.
    """
    samples, size, orders = placed.samples, setup.batch_size, setup.orders
    n_samples, on_host = samples.x.shape[-2], placed.storage is not setup.backend
    order = None if orders is None or size >= n_samples else orders.draw(n_samples)
    if setup.options.drop_last and n_samples % size:
        order = (np.arange(n_samples) if order is None else order)[: n_samples - n_samples % size]
    dropout = None if placed.dropout is None else placed.dropout.at(epoch=epoch)
    batches = ArrayBatches(
        setup.backend, samples, size, order, on_host=on_host, processes=setup.processes, dropout=dropout
    )
    if steps_per_part is None or n_samples < 2 * steps_per_part * size:
        return batches
    return BatchesInParts(batches, steps_per_part)


def _validation(setup: Setup, held_out: Batch) -> Callable[[Array], Validation]:
    """Return what evaluates the validation samples on rank 0."""
    options = setup.options
    validator = Validator(setup.backend, setup.network, held_out, options.scoring, is_mean=options.reduction == "mean")
    return lambda theta: setup.processes.on_rank_0(partial(validator, theta))


def _find_done(setup: Setup, samples: Batch, progress: Progress, outputs: Array | None) -> Array:
    """Call ``stop_when`` on rank 0; compute the outputs if they are None."""
    backend, stop_when = setup.backend, setup.options.stop_when
    assert stop_when is not None

    def done() -> Array:
        current_outputs = outputs_of(backend, setup.network, progress.theta, samples.x) if outputs is None else outputs
        result = stop_when(to_backend(backend, samples.targets), current_outputs)
        return to_numpy(result) if hasattr(result, "shape") else result

    return setup.processes.on_rank_0(done)
