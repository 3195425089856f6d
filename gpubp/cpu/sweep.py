"""The compiled sweep: a network, a rule and cases turned into what :func:`gpubp.cpu.steps.take_steps` is given."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp.batches import ArrayBatches, Batch, Batches
from gpubp.cpu.layers import on_own_unit, output_error, unit_dE_dx
from gpubp.cpu.outputs import layers_of
from gpubp.cpu.rules import NUMBERS, change_of, numbers_of_steps
from gpubp.cpu.steps import APART, Buffers, Cases, Work, take_steps
from gpubp.cpu.threads import Crew, threads_allowed
from gpubp.descent import RULES, Rule
from gpubp.losses import loss
from gpubp.network import Network
from gpubp.step import Objective, Position, Swept

Sweep = Callable[[Position, Batches], Swept]

ROWS = 512  # of a gradient that are made before they are used
WORTH_A_THREAD = 2e6  # operations of a step for each thread, below which one more costs more than it brings
UNITS_OF_A_THREAD = 8  # that a thread has in each hidden layer, at least
BETWEEN_LOOKS = 0.2  # seconds that compiled code runs before Python looks whether Ctrl-C was pressed


def compiled_sweep(objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> Sweep:
    """Compile the steps of a rule and an objective, or give ``plain`` where there is no compiled form of them."""
    known = rule.name in NUMBERS and rule.update is RULES[rule.name]().update
    if not known or not _has_loops(objective.network):
        return plain
    return CompiledSweep(objective, rule, dtype, plain)


def _has_loops(network: Network) -> bool:
    """Tell whether units and error have loops: logarithms only on the unit that belongs to the error."""
    if network.has_groups:
        return False
    return not loss(network.loss).above_zero or on_own_unit(network.loss, network.activations[-1])


class CompiledSweep:
    """A sweep in compiled code; batches that are not arrays of one network's cases go the plain way."""

    def __init__(self, objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> None:
        self.objective, self.rule, self.dtype, self.plain = objective, rule, dtype, plain
        self.work: Work | None = None  # made when it is sure to be used
        self.crew: Crew | None = None
        self.buffers: Buffers | None = None
        self.room_for: Any = None
        self.own_state: Any = None
        self.given: Batch | None = None
        self.steps_at_once = 1

    def __call__(self, position: Position, batches: Batches) -> Swept:
        """Move a position, step by step."""
        if not isinstance(batches, ArrayBatches) or position.theta.ndim != 1 or not len(batches.cases.x):
            return self.plain(position, batches)
        n_cases, size = batches.cases.x.shape[0], min(batches.size, batches.cases.x.shape[0])
        begins = np.arange(0, n_cases, size)
        state = self._state(position)
        updates = getattr(state, "updates", 0) + 1 + np.arange(len(begins))
        settings = numbers_of_steps(self.rule, position.epoch + begins / n_cases, updates, self.dtype)
        order = np.empty(0, np.int64) if batches.order is None else batches.order.astype(np.int64, copy=False)
        # a new array: whoever holds the parameters of the last epoch keeps them
        position.theta, position.state = np.array(position.theta), state
        first, second = ([part for part in state if isinstance(part, np.ndarray)] + [np.empty(0, self.dtype)] * 2)[:2]
        values, weights = np.empty(len(begins)), np.empty(len(begins))
        crew, buffers, cases = self._crew(size), self._buffers(size, batches), self._cases(batches.cases)
        squares = np.empty((len(begins), crew.n_threads))
        if self.work is None:
            self.work = _work(self.objective, self.rule, self.dtype)
        start = 0
        while start < len(begins):
            stop = min(start + self.steps_at_once, len(begins))
            began, weights[stop - 1] = time.perf_counter(), np.nan
            try:
                crew.run(
                    take_steps,
                    self.work,
                    cases,
                    buffers,
                    order,
                    size,
                    int(begins[start]),
                    position.theta,
                    first,
                    second,
                    settings[start:stop],
                    values[start:stop],
                    weights[start:stop],
                    squares[start:stop],
                )
            finally:  # Ctrl-C is looked at when the steps are done
                if hasattr(state, "updates") and not np.isnan(weights[stop - 1]):
                    position.state = state._replace(updates=int(updates[stop - 1]))
            of_a_step = (time.perf_counter() - began) / (stop - start)
            self.steps_at_once = max(1, int(BETWEEN_LOOKS / of_a_step))
            start = stop
        self.own_state = position.state
        if self.objective.l2 and self.objective.penalty_reported:
            # a batch whose cases all count nothing says nothing
            share = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0.0) if self.work.mean else 1.0
            values += 0.5 * self.objective.l2 * np.sum(squares, axis=1) * share
        return Swept(values, weights, np.minimum(size, n_cases - begins))

    def _state(self, position: Position) -> Any:
        """Copy the rule's state, unless it is the one made here in the sweep before: it is changed in place."""
        if position.state is self.own_state or not position.state:
            return position.state
        copied = [np.array(part) if isinstance(part, np.ndarray) else part for part in position.state]
        return type(position.state)(*copied)

    def _crew(self, size: int) -> Crew:
        """Gather as many threads as pay; each needs some units of every hidden layer, and softmax needs them all."""
        if self.crew is None:
            network = self.objective.network
            n_threads = min(threads_allowed(), int(6.0 * size * network.n_parameters / WORTH_A_THREAD))
            shares = [n_units // UNITS_OF_A_THREAD for n_units in network.sizes[1:-1]]
            self.crew = Crew(max(1, 1 if "softmax" in network.hidden else min([n_threads, *shares] if shares else [1])))
        return self.crew

    def _buffers(self, size: int, batches: ArrayBatches) -> Buffers:
        room_for = (size, batches.order is not None, batches.cases.case_weights is not None)
        if self.buffers is None or self.room_for != room_for:
            self.room_for = room_for
            self.buffers = _buffers(
                self.objective.network,
                size,
                self._crew(size).n_threads,
                np.dtype(self.dtype),
                chosen=batches.order is not None,
                weighed=batches.cases.case_weights is not None,
            )
        return self.buffers

    def _cases(self, cases: Batch) -> Cases:
        """Find where the cases are; those that are not in rows without gaps are copied, once."""
        if self.given is not cases:
            self.given = cases
            self.arrays = [None if part is None else np.ascontiguousarray(part) for part in cases[:3]]
        return Cases(len(cases.x), *(0 if part is None else part.ctypes.data for part in self.arrays))


def _work(objective: Objective, rule: Rule, dtype: str) -> Work:
    network, output = objective.network, objective.network.activations[-1]
    own_unit = on_own_unit(network.loss, output)
    slopes = [unit_dE_dx(name, dtype).address for name in network.activations]
    error = output_error(network.loss, output, dtype)
    return Work(
        # the error's loop does softmax on the way
        layers=layers_of(network, dtype, without_output=own_unit and output == "softmax"),
        error=error.address,
        change=change_of(rule.name, dtype),
        error_parameter=error.parameter,
        slopes=np.asarray([*slopes[:-1], 0 if own_unit else slopes[-1]], np.int64),
        l2=objective.l2,
        mean=objective.mean,
        penalty_reported=objective.penalty_reported,
        rows=ROWS,
    )


def _buffers(network: Network, size: int, n_threads: int, dtype: np.dtype, chosen: bool, weighed: bool) -> Buffers:
    room: Callable[..., np.ndarray] = partial(np.empty, dtype=dtype)
    inputs, *hidden, n_outputs = network.sizes
    own = [-(-n_units // n_threads) for n_units in hidden]  # at most, in each hidden layer
    share = -(-size // n_threads)  # of the cases, at most
    above = sum(network.sizes[2:]) if hidden else n_outputs
    block = max(min(ROWS, i) * j for i, j in zip(network.sizes[:-1], network.sizes[1:], strict=True))
    return Buffers(
        x=room((n_threads, size * inputs if chosen else 0)),
        d=room((n_threads, share * n_outputs if chosen else 0)),
        weights=room((n_threads, share if chosen and weighed else 0)),
        totals=room((n_threads, size * sum(own) + share * n_outputs)),
        outputs=room((n_threads, size * sum(own) + share * n_outputs)),
        partials=room((n_threads, size * above)),
        signals=room(size * above),
        own_signals=room((n_threads, size * own[0] if own else 0)),
        gradients=room((n_threads, block)),
        notes=np.zeros(n_threads * APART),
    )
