"""One sweep: a training step for each batch of an epoch, run the way the backend runs it best.

This is the seam for speed: the training loop calls what :func:`make_sweep` gives it and knows no more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp import cpu
from gpubp._typing import Array, Namespace
from gpubp.backend import Backend
from gpubp.batches import Batches, total_weight
from gpubp.descent import Rule
from gpubp.second_order import SecondOrder
from gpubp.step import Objective, Position, Step, Swept, make_step

Sweep = Callable[[Position, Batches], Swept]
"""``sweep(position, batches)`` moves the position, batch by batch."""


def make_sweep(
    backend: Backend,
    objective: Objective,
    rule: Rule | SecondOrder,
    dtype: str,
    size: int,
    n_steps: int,
    n_networks: int = 1,
) -> Sweep:
    """Bind a rule to an objective, for ``n_steps`` steps at most, on batches of ``size`` cases."""
    if backend.name != "cpu" or backend.matmul_precision != "float32" or isinstance(rule, SecondOrder):
        return plain_sweep(backend, objective, rule, dtype)
    if not cpu.is_wanted(n_steps, 6.0 * size * objective.network.n_parameters * n_networks):
        return plain_sweep(backend, objective, rule, dtype)
    from gpubp.cpu.sweep import compiled_sweep

    return compiled_sweep(objective, rule, dtype, partial(plain_sweep, backend, objective, rule, dtype))


def plain_sweep(backend: Backend, objective: Objective, rule: Rule | SecondOrder, dtype: str) -> Sweep:
    """Take the steps one by one, with the equations as they stand."""
    return partial(_step_by_step, backend.xp, make_step(backend, objective, rule, dtype))


def _step_by_step(xp: Namespace, step: Step, position: Position, batches: Batches) -> Swept:
    values: list[Array] = []
    weights: list[Any] = []
    sizes: list[int] = []
    for part, batch in batches:
        epoch = position.epoch + part
        position.theta, position.state, value = step(position.theta, position.state, batch, epoch)
        values.append(value)
        weights.append(total_weight(xp, batch))
        sizes.append(batch.x.shape[-2])
    all_weights = np.asarray(weights) if isinstance(weights[0], float) else xp.stack(weights)
    finite = xp.all(xp.isfinite(position.theta), axis=-1)
    return Swept(xp.stack(values), all_weights, np.asarray(sizes), finite)
