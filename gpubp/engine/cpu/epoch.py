"""Epochs on compiled loops: network, optimizer and samples as :func:`gpubp.engine.cpu.steps.take_part` takes them."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gpubp.engine.cpu.layers import on_own_unit, output_loss, unit_dE_dx
from gpubp.engine.cpu.mailbox import APART
from gpubp.engine.cpu.optimizers import change_of, has_loop, numbers_of_steps
from gpubp.engine.cpu.outputs import layers_of
from gpubp.engine.cpu.steps import Buffers, Request, Work, take_part, take_part_in_stack
from gpubp.engine.cpu.threads import Crew, threads_allowed
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, PerNetworkBatches, divide_epoch, epochs_of
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState, Objective
from gpubp.engine.pointer_checks import check_epoch
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network
from gpubp.nn.weight_sharing import Ties
from gpubp.optim.first_order import Optimizer, undecayed

ROWS = 512  # of a gradient that are made before they are used
WORTH_A_THREAD = 2e6  # operations of a step for each thread, below which one more costs more than it brings
WORTH_THE_WAY = 512  # samples of an epoch, below which the first layer stays where it is
SHORT_ROW = 2048  # bytes of a thread's part of a row, above which it is far enough from those of others
UNITS_OF_A_THREAD = 8  # that a thread has in each hidden layer, at least
BYTES_OF_A_WINDOW = 1 << 20  # of samples gathered for networks that share an order, at most: about what a cache holds
BETWEEN_LOOKS = 0.2  # seconds that compiled code runs before Python looks whether Ctrl-C was pressed


def compiled_epoch_runner(
    objective: Objective,
    optimizer: Optimizer,
    dtype: str,
    make_plain: Callable[[], EpochRunner],
    *,
    outputs_wanted: bool = False,
) -> EpochRunner:
    """Compile the steps of an optimizer and an objective, or make the plain runner where there is no compiled form."""
    if not has_loop(optimizer) or not _has_loops(objective.network):
        return make_plain()
    return CompiledEpochRunner(objective, optimizer, dtype, make_plain, outputs_wanted)


def _has_loops(network: Network) -> bool:
    """Tell whether units and error have loops: logarithms only on the unit that belongs to the error."""
    if network.has_groups or network.skips:
        return False
    return not get_loss(network.loss).above_zero or on_own_unit(network.loss, network.activations[-1])


class CompiledEpochRunner:
    """An epoch in compiled code; batches that are not arrays of samples go the plain way."""

    takes_orders = True  # one for each epoch of batches

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        dtype: str,
        make_plain: Callable[[], EpochRunner],
        outputs_wanted: bool = False,
    ) -> None:
        self.objective, self.optimizer, self.dtype, self.make_plain = objective, optimizer, dtype, make_plain
        self.outputs_wanted = outputs_wanted
        self.plain: EpochRunner | None = None  # made where it is needed: it holds as many numbers as the network
        self.gathered: Gathered | None = None  # when it is sure to be used
        self.work: Work | None = None
        self.own_state: Any = None
        self.own_thetas: list[np.ndarray] = []
        self.samples: Batch | None = None
        self.steps_at_once = 1

    def __call__(self, position: ModelState, batches: Batches) -> EpochResult:
        """Move a position, step by step."""
        if (
            isinstance(batches, ArrayBatches | PerNetworkBatches)
            and position.theta.ndim <= 2
            and batches.samples.x.shape[-2]
        ):
            return self._run_epoch(position, batches)
        if self.plain is None:
            self.plain = self.make_plain()
        return self.plain(position, batches)

    def _run_epoch(self, position: ModelState, batches: ArrayBatches | PerNetworkBatches) -> EpochResult:
        check_epoch(self.objective.network, np.dtype(self.dtype), position, batches, self.samples)
        stack = position.theta.shape[:-1]
        g = self._gathered(batches, stack)
        n_epochs = epochs_of(batches)
        sizes, parts = g.cut(batches)
        found, epochs = g.room_for(n_epochs * len(sizes)), position.epoch + np.arange(n_epochs)
        state, theta = self._state(position), self._theta(position)
        updates = getattr(state, "updates", 0) + 1 + np.arange(found.n_steps)
        done = np.reshape(np.add.outer(epochs, parts), (-1, *parts.shape[1:]))
        settings = numbers_of_steps(self.optimizer, done, updates, self.dtype, self.objective.l2)
        order = None if batches.order is None else np.ascontiguousarray(batches.order, np.int64)
        own = _own_of(batches)
        position.theta, position.state = theta, state
        first, second, *more = [*(_address(part) for part in state if isinstance(part, np.ndarray)), 0, 0]
        if len(more) > 2:
            raise ValueError(
                f"compiled loops take an optimizer's state of at most 2 arrays, and {self.optimizer.name!r} has "
                f"{len(more)}; to fix it: keep less, or let the loops in gpubp/engine/cpu/optimizers.py take more"
            )
        x, targets, sample_weight = self._samples(batches.samples)
        outputs = self._room_for_outputs(batches, g.size, stack)
        asked = Request(
            n_networks=stack[0] if stack else 1,
            n_samples=batches.n_samples if own is None else batches.samples.x.shape[-2],
            x=x.address,
            targets=targets.address,
            weights=sample_weight.address,
            x_apart=x.apart(2),
            d_apart=targets.apart(2),
            weights_apart=0 if own is not None else sample_weight.apart(1),
            order=_address(order),
            order_apart=0 if order is None or order.ndim == 1 else order.shape[-1],
            own=_address(own),
            window=g.window,
            size=g.size,
            theta=_address(theta),
            first=first,
            second=second,
            n_steps=found.n_steps,
            settings=_address(settings),
            n_settings=settings.shape[-1],
            settings_apart=settings[0].size if settings.ndim == 3 else 0,
            values=found.values.address,
            sample_weight=found.weights.address,
            squares=found.squares.address,
            finite=found.finite.address,
            outputs=_address(outputs),
            begin=0,
            end=0,
            taken=0,
        )
        found.weights.array[..., :] = np.nan
        for begin, end in self._calls(found.n_steps):
            try:
                g.crew.run(asked._replace(begin=begin, end=end))
            finally:  # Ctrl-C is looked at when the steps are done
                if hasattr(state, "updates") and not np.any(np.isnan(found.weights.array[..., end - 1])):
                    position.state = state._replace(updates=int(updates[end - 1]))
        self.own_state = position.state
        values, weights, finite = found.values.array.copy(), found.weights.array.copy(), found.finite.array == 1
        if self.objective.penalised and self.objective.penalty_reported:
            # a batch whose samples all count nothing says nothing
            share = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights != 0.0)
            squares = np.sum(found.squares.array, axis=-1)
            values += 0.5 * self.objective.l2 * squares * (share if self.objective.reduction == "mean" else 1.0)
        if stack and own is None and not sample_weight.apart(1):
            weights = weights[0]  # the same for all
        all_finite = finite if stack else np.all(finite)
        return EpochResult(values.T, weights.T, np.concatenate([sizes] * n_epochs), all_finite, outputs)

    def _room_for_outputs(
        self, batches: ArrayBatches | PerNetworkBatches, size: int, stack: tuple[int, ...]
    ) -> np.ndarray | None:
        """Allocate the outputs of all samples, where they are wanted and all samples are one batch in their order."""
        n_samples, network = batches.samples.x.shape[-2], self.objective.network
        whole = isinstance(batches, ArrayBatches) and batches.order is None and size == n_samples
        # the error's loop does softmax on the way, and nobody else
        if not self.outputs_wanted or not whole or (self.work and not self.work.layers.values[-1]):
            return None
        return np.empty((*stack, n_samples, network.sizes[-1]), self.dtype)

    def _calls(self, n_steps: int) -> Iterator[tuple[int, int]]:
        """Cut steps into calls, so that Python sees in time whether Ctrl-C was pressed."""
        begin = 0
        while begin < n_steps:
            end, began = min(begin + self.steps_at_once, n_steps), time.perf_counter()
            yield begin, end
            self.steps_at_once = max(1, int(BETWEEN_LOOKS * (end - begin) / (time.perf_counter() - began)))
            begin = end

    def _state(self, position: ModelState) -> Any:
        """Copy the optimizer's state, unless nobody else has it: it is changed in place."""
        if position.own_state or position.state is self.own_state or not position.state:
            position.own_state = False  # whoever looks at the position may keep what he sees
            return position.state
        copied = [np.array(part, order="C") if isinstance(part, np.ndarray) else part for part in position.state]
        return type(position.state)(*copied)

    def _theta(self, position: ModelState) -> np.ndarray:
        """Copy the parameters, since whoever holds those of an epoch before keeps them; use again what nobody holds."""
        theta = next((own for own in self.own_thetas if sys.getrefcount(own) <= HELD_BY_NOBODY_ELSE), None)
        if theta is None:
            theta = np.empty(position.theta.shape, self.dtype)
        self.own_thetas = [theta, *(own for own in self.own_thetas if own is position.theta)]
        np.copyto(theta, position.theta)
        return theta

    def _gathered(self, batches: ArrayBatches | PerNetworkBatches, stack: tuple[int, ...]) -> "Gathered":
        """Gather threads, and room for a batch and for what is found; both are kept for batches of the same kind."""
        n_samples, weighed = int(np.max(batches.n_samples)), batches.samples.sample_weight is not None
        size, worth_the_way = min(batches.size, n_samples), n_samples >= WORTH_THE_WAY
        window = self._window(batches, size)
        chosen = 0 if batches.order is None else max(1, window)
        kind = (size, stack, window, chosen, weighed, worth_the_way)
        if self.gathered is None or self.gathered.kind != kind:
            network = self.objective.network
            n_threads = self.gathered.crew.n_threads if self.gathered else _n_threads(network, size, stack)
            if self.work is None:
                self.work = _work(self.objective, self.optimizer, self.dtype)
            together = 1 if stack else n_threads
            dtype = np.dtype(self.dtype)
            short = network.sizes[1] // together * dtype.itemsize <= SHORT_ROW
            apart = together > 1 and short and worth_the_way
            buffers = _buffers(network, size, n_threads, together, dtype, chosen=chosen, weighed=weighed, apart=apart)
            crew = Crew(n_threads, take_part_in_stack if stack else take_part, self.work, buffers)
            self.gathered = Gathered(kind, size, stack, window, crew)
        return self.gathered

    def _window(self, batches: ArrayBatches | PerNetworkBatches, size: int) -> int:
        """Choose for how many steps samples are gathered at once: with shared orders, as many as fit into the cache.

        0 where each network gathers its own.
        """
        if isinstance(batches, ArrayBatches) or 2 * len(np.unique(batches.starts)) > len(batches.starts):
            return 0
        sizes = self.objective.network.sizes
        of_a_step = size * (sizes[0] + sizes[-1]) * np.dtype(self.dtype).itemsize
        return max(1, min(BYTES_OF_A_WINDOW // of_a_step, -(-int(np.max(batches.counts)) // size)))

    def _samples(self, samples: Batch) -> list["Given"]:
        """Find where the samples are; those that are not in rows without gaps are copied, once."""
        if self.samples is not samples:
            self.samples = samples
            self.given = [Given(part) for part in samples[:3]]
        return self.given


class Given:
    """An array of samples, or none, in rows without gaps."""

    def __init__(self, array: np.ndarray | None) -> None:
        self.array = None if array is None else np.ascontiguousarray(array)
        self.address = _address(self.array)

    def apart(self, ndim: int) -> int:
        """Tell how far what is given to one network lies from the next, if ``ndim`` dimensions are one network's."""
        return 0 if self.array is None or self.array.ndim == ndim else self.array[0].size


class Gathered:
    """Threads with room for a batch, and for what they find in the steps of one epoch."""

    def __init__(self, kind: Any, size: int, stack: tuple[int, ...], window: int, crew: Crew) -> None:
        self.kind, self.size, self.stack, self.window, self.crew = kind, size, stack, window, crew
        self.found: Found | None = None
        self.cut_before: Any = None

    def cut(self, batches: ArrayBatches | PerNetworkBatches) -> tuple[np.ndarray, np.ndarray]:
        """Return how many samples each step has, and the part of the epoch before it; reused where equal."""
        n_samples = batches.n_samples
        of_epoch = (batches.fraction_done, batches.fraction) if isinstance(batches, ArrayBatches) else ()
        asked = (np.asarray(n_samples).tobytes(), of_epoch)
        if self.cut_before != asked:
            self.cut_before, self.steps = asked, divide_epoch(n_samples, self.size, *of_epoch)
        return self.steps

    def room_for(self, n_steps: int) -> "Found":
        """Give room for what is found in so many steps; that of the last epoch, where it had as many."""
        if self.found is None or self.found.n_steps != n_steps:
            self.found = Found(n_steps, self.stack, self.crew.n_threads)
        return self.found


def _own_of(batches: ArrayBatches | PerNetworkBatches) -> np.ndarray | None:
    """Tell for each network how many samples it has, and where in the order and in the sample weights its own begin."""
    if isinstance(batches, ArrayBatches):
        return None
    weights_of, weights = batches.weights_of, batches.samples.sample_weight
    begins = np.zeros_like(batches.starts) if weights_of is None or weights is None else weights_of * weights.shape[-1]
    return np.stack([batches.counts, batches.starts, begins], axis=1).astype(np.int64)


class Found:
    """What threads find in the steps of an epoch: see :class:`gpubp.engine.cpu.steps.Request`."""

    def __init__(self, n_steps: int, stack: tuple[int, ...], n_threads: int) -> None:
        self.n_steps = n_steps
        self.values, self.weights = Place((*stack, n_steps), float), Place((*stack, n_steps), float)
        self.squares = Place((*stack, n_steps, 1 if stack else n_threads), float)
        self.finite = Place(stack or (n_threads,), np.int64)


class Place:
    """An array with its address, which takes NumPy a while to find."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.array = np.empty(shape, dtype)
        self.address = _address(self.array)


def _n_threads(network: Network, size: int, stack: tuple[int, ...]) -> int:
    """Count the threads that pay.

    Those that share a network need some units each of every hidden layer, softmax needs them all, and an average over
    equal weights all of the gradient.
    """
    n_threads = min(threads_allowed(), int(6.0 * size * network.n_parameters * math.prod(stack) / WORTH_A_THREAD))
    if stack:
        return max(1, min(n_threads, *stack))
    if _equal_weights(network):
        return 1
    shares = [n_units // UNITS_OF_A_THREAD for n_units in network.sizes[1:-1]]
    return max(1, 1 if "softmax" in network.activation else min([n_threads, *shares] if shares else [1]))


HELD_BY_NOBODY_ELSE = next(sys.getrefcount(own) for own in [np.empty(0)])
"""References that Python counts to an array that only a list has, while what goes through the list asks for them."""


def _address(array: np.ndarray | None) -> int:
    return 0 if array is None else array.ctypes.data


def _work(objective: Objective, optimizer: Optimizer, dtype: str) -> Work:
    network, output = objective.network, objective.network.activations[-1]
    own_unit = on_own_unit(network.loss, output)
    slopes = [unit_dE_dx(name, dtype).address for name in network.activations]
    error = output_loss(network.loss, output, dtype)
    equal = _equal_weights(network)
    absent = np.empty(0) if network.tied is None or equal else network.tied.mask
    return Work(
        # the error's loop does softmax on the way
        layers=layers_of(network, dtype, without_output=own_unit and output == "softmax"),
        error=error.address,
        change=change_of(optimizer, dtype),
        shrinks=undecayed(optimizer) is not None,
        error_parameter=error.parameter,
        slopes=np.asarray([*slopes[:-1], 0 if own_unit else slopes[-1]], np.int64),
        mean=objective.reduction == "mean",
        penalty_reported=objective.penalised and objective.penalty_reported,
        n_parameters=network.n_parameters,
        rows=ROWS,
        mask=np.asarray(absent, dtype),
        places=np.flatnonzero(equal.present) if equal else np.empty(0, np.int64),
        weight_at=equal.index if equal else np.empty(0, np.int64),
        n_equal=np.asarray(equal.counts if equal else [], dtype),
    )


def _equal_weights(network: Network) -> Ties | None:
    """Give the ties of a network whose weights are not all free; those that are absent need no average."""
    return None if network.tied is None or network.tied.only_absent else network.tied


def _buffers(
    network: Network,
    size: int,
    n_threads: int,
    together: int,
    dtype: np.dtype,
    *,
    chosen: int,
    weighed: bool,
    apart: bool,
) -> Buffers:
    """Make room for a batch; so many threads together share a network: all of them, or for stacks each has its own.

    ``chosen`` is for how many steps there is room for samples that come in another order than theirs; ``apart`` whether
    threads have their part of the first layer in a place of its own.
    """
    room: Callable[..., np.ndarray] = partial(np.empty, dtype=dtype)
    inputs, *hidden, n_outputs = network.sizes
    own = [-(-n_units // together) for n_units in hidden]  # at most, in each hidden layer
    share = -(-size // together)  # of the samples, at most
    of_thread = [size * n_units for n_units in own] + [share * n_outputs]
    shared = [0 if hidden and k == 0 else size * n_units for k, n_units in enumerate(network.sizes[1:])]
    of_layer = [(i + (1 if network.bias else 0)) * j for i, j in pairwise(network.sizes)]
    of_first = (
        3 * (of_layer[0] // network.sizes[1]) * own[0] if own else 0
    )  # parameters, and the optimizer's two numbers for each
    rows = n_threads // together  # of what threads that share a network share
    of_gradient, equal = max(min(ROWS, i) * j for i, j in pairwise(network.sizes)), _equal_weights(network)
    return Buffers(
        x=room((n_threads, chosen * size * inputs)),
        targets=room((n_threads, chosen * size * n_outputs)),
        weights=room((n_threads, chosen * size if weighed else 0)),
        totals=room((n_threads, sum(of_thread))),
        outputs=room((n_threads, sum(of_thread))),
        partials=room((n_threads, sum(shared))),
        signals=room((rows, sum(shared))),
        own_signals=room((n_threads, size * own[0] if own else 0)),
        gradients=room((n_threads, network.n_parameters if equal else of_gradient)),
        sums=room((n_threads, len(equal.counts) if equal else 0)),
        first_layers=room((n_threads, _whole_lines(of_first, dtype) if apart else 0)),
        notes=np.zeros(n_threads * APART),
        own_at=_begins(of_thread),
        shared_at=_begins(shared),
        start_at=_begins(of_layer),
    )


def _whole_lines(n: int, dtype: np.dtype) -> int:
    """Round up, so that what lies behind so many numbers is two lines of the cache away from them."""
    of_two_lines = 128 // dtype.itemsize
    return (n // of_two_lines + 2) * of_two_lines


def _begins(lengths: list[int]) -> np.ndarray:
    """Find where each of some parts begins that lie one behind the other."""
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64)
