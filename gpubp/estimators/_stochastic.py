"""The stochastic solvers: gradient descent over batches in scikit-learn's order."""

import weakref
from functools import partial
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import Dropout, draw_dropout_key
from gpubp.engine.plain.minibatches import Batches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._optimizer import OptimizerState, optimizer_of
from gpubp.estimators._samples import BatchesInOrder, TrainingSamples
from gpubp.training.loop import run
from gpubp.training.plan import Plan, learning_rate_after
from gpubp.training.state import map_arrays

KEPT: dict[int, dict[str, Any]] = {}
"""By the id of an estimator, what its fits on a GPU leave to the next one."""

MOST_ESTIMATORS_KEPT = 8
"""Estimators for which arrays are kept, the last ones."""

MOST_NUMBERS_KEPT = 1 << 24
"""Numbers, about, in the arrays that a fit keeps for the next one: they hold memory until the estimator is gone."""


def kept_of(estimator: Any) -> dict[str, Any]:
    """Return what is kept for an estimator, hashable or not, until it is gone."""
    key = id(estimator)
    if key not in KEPT:
        if len(KEPT) >= MOST_ESTIMATORS_KEPT:
            KEPT.pop(next(iter(KEPT)), None)
        KEPT[key] = {}
        weakref.finalize(estimator, KEPT.pop, key, None).atexit = False
    return KEPT[key]


def fit_stochastic(
    samples: TrainingSamples, theta: Array, monitor: FitMonitor, start: OptimizerState, incremental: bool
) -> tuple[np.ndarray, str]:
    """Train, for one epoch if `incremental`; return the last parameters, on the host, and why training ended."""
    fit = monitor.fit
    options, state, network = fit.options, fit.state, fit.network
    backend, precision, n_samples = samples.backend, samples.precision, samples.n_samples
    optimizer = optimizer_of(options, start.rate)
    fresh = start.state is None
    if fresh:
        start = start._replace(state=optimizer.init(backend.xp, theta))
    position = ModelState(theta, start.on(backend, precision).state, start.epochs, own_state=fresh)
    state.n_iter = 0
    if fit.dropout_rates and start.dropout_key is None:
        start = start._replace(dropout_key=draw_dropout_key(fit.random_state))
    dropout = Dropout(network.sizes[:-1], fit.dropout_rates, start.dropout_key) if fit.dropout_rates else None
    size = fit.batch_size(n_samples, warns=True)
    in_order = BatchesInOrder(samples, size, fit.random_state if options.shuffle else None)

    def batches(epoch: int) -> Batches:
        return in_order(None if dropout is None else dropout.at(epoch=epoch))

    of_layers = 3 * size * sum(network.sizes[1:])  # total inputs, outputs and signals
    n_numbers = n_samples * (network.sizes[0] + network.sizes[-1]) + network.n_parameters + of_layers
    keeps = backend.is_cuda and (incremental or n_numbers <= MOST_NUMBERS_KEPT)
    kept = kept_of(monitor.task.estimator) if keeps else None
    if not keeps:
        KEPT.pop(id(monitor.task.estimator), None)
    objective = Objective(network, l2=float(options.alpha), processes=samples.processes)
    plan = Plan(
        backend=backend,
        run_epoch=make_epoch_runner(backend, objective, optimizer, precision, kept=kept),
        batches=monitor.task.in_epochs(batches),
        epochs=start.epochs + (1 if incremental else options.max_iter),
        average="samples",  # for any sample weights, as in scikit-learn
        callbacks=(monitor,),
        observers=monitor.callbacks,
        can_go_ahead=monitor.can_go_ahead,
        foresee=monitor.foresee,
        learning_rate=partial(learning_rate_after, optimizer) if monitor.callbacks else None,
        is_distributed=samples.processes.world_size > 1,
        draws=in_order,
        network=network,
    )
    try:
        outcome = run(plan, position)
    except BaseException:
        for one in (*KEPT.values(), kept or {}):  # a GPU whose memory is full gets it back
            one.clear()
        raise
    diverged = outcome.stop_reason == "diverged"
    if kept:  # the next call changes the arrays of a kept runner
        kept["runner"].release_samples()
        position.state = map_arrays(partial(backend.xp.asarray, copy=True), position.state)
    state.optimizer = None if diverged else start._replace(state=position.state, epochs=position.epoch)
    return to_numpy(outcome.theta), outcome.stop_reason
