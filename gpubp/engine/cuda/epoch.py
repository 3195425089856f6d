"""The sweep on a CUDA device: a network, a rule and cases turned into launches."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.optimizers import settings_of_steps, state_after, update_of
from gpubp.engine.cuda.source import layers_of, part_in_global_memory
from gpubp.engine.cuda.steps import Cut, Steps, Work
from gpubp.engine.cuda.tiny import TinySteps, part_of_one_network, shared_memory, source_of_tiny
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches
from gpubp.engine.plain.minibatches import cut as cut_epoch
from gpubp.engine.plain.step import Objective, Position, Swept
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import Rule

logger = logging.getLogger("gpubp")

Sweep = Callable[[Position, Batches], Swept]

STEPS_OF_A_GRAPH = 64  # at most
BYTES_OF_A_WINDOW = 64 << 20  # of gathered cases, at most
MOST_NETWORKS = 2**16 - 1  # of a stack: blocks have no more numbers in that direction
WORTH_MANY_BLOCKS = 1e6  # operations of a step, above which one block of threads is slower than all: from arithmetic


def cuda_sweep(device: Any, objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> Sweep:
    """Write the steps of a rule and an objective in CUDA C, or give ``plain`` where that cannot be done.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or what has the same methods.
    """
    try:
        return CudaSweep(device, objective, rule, dtype, plain)
    except Inexpressible as error:
        logger.info("the equations run one by one: %s", error)
        return plain


class CudaSweep:
    """A sweep by kernels of our own; batches that are not arrays go the plain way.

    The arrays of the state that it leaves in a position are its own: the next sweep changes them.
    """

    def __init__(self, device: Any, objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> None:
        if objective.network.skips or objective.network.ties:
            raise Inexpressible("the network has connections that skip layers, or weights that are tied or absent")
        if np.ndim(objective.l2):
            raise Inexpressible("each network has a penalty of its own strength")
        self.device, self.objective, self.rule, self.dtype, self.plain = device, objective, rule, dtype, plain
        self.work = Work(objective, update_of(rule, dtype, part_in_global_memory), dtype)
        self.work_of_tiny = Work(objective, update_of(rule, dtype, part_of_one_network), dtype)
        layers_of(objective.network, dtype, weighed=False)  # raise now what they would raise later
        source_of_tiny(self.work_of_tiny, weighed=False)
        self.made: dict[int, Steps | TinySteps] = {}  # for so many cases: the last part of an epoch may have others
        self.steps: Steps | TinySteps | None = None
        self.given: Batch | None = None
        self.kind: Any = None
        self.own_state: Any = None
        self.present: dict[str, tuple[Array, np.ndarray]] = {}  # what was uploaded last, and where to

    def __call__(self, position: Position, batches: Batches) -> Swept:
        """Move a position, step by step."""
        if not isinstance(batches, ArrayBatches) or not 0 < batches.cases.x.shape[-2] < 2**31:
            return self.plain(position, batches)
        stack = position.theta.shape[:-1]
        size = min(batches.size, batches.n_cases)
        of_one_block = not batches.on_host and self._is_tiny(stack, size)
        if len(stack) > 1 or (stack > (MOST_NETWORKS,) and not of_one_block):
            return self.plain(position, batches)
        with self.device.active():
            return self._sweep(self._steps_for(batches, stack), position, batches)

    def _sweep(self, steps: Steps | TinySteps, position: Position, batches: ArrayBatches) -> Swept:
        before, done, cut = position.state, 0, steps.cut
        self._bring(steps, position, batches)
        try:
            for n in steps.launches():
                done += n
        finally:  # Ctrl-C keeps what was learned
            position.theta = self.device.copy(steps.thetas)
            position.state = self.own_state = state_after(self.work.update, before, steps.parts, done)
            self.device.wait()
        values, weights, finite = steps.read()
        sizes, _ = cut_epoch(cut.n_cases, cut.size)
        return Swept(values, weights, np.tile(sizes, batches.epochs), finite)

    def _is_tiny(self, stack: tuple[int, ...], size: int) -> bool:
        """Tell whether one block of threads takes the steps of a network: where it can, and is not slower than all."""
        if self.device.products != "float32":  # a block makes its products itself, and in full
            return False
        if shared_memory(self.objective.network, size, self.dtype) > self.device.shared_memory:
            return False
        return bool(stack) or 6.0 * size * self.objective.network.n_parameters <= WORTH_MANY_BLOCKS

    def _steps_for(self, batches: ArrayBatches, stack: tuple[int, ...]) -> Steps | TinySteps:
        """Make places for the cases, or find those made before for the same cases, cut in the same way."""
        cases, n_cases, from_host = batches.cases, batches.n_cases, batches.on_host
        size = min(batches.size, n_cases)
        chosen = size < n_cases or batches.order is not None or from_host
        kind = (size, chosen, stack, from_host)
        if self.kind != kind or not (self.given is cases or (from_host and _are_alike(self.given, cases))):
            self.made, self.steps, self.present = {}, None, {}  # let go what they hold before asking for more
            self.given, self.kind = cases, kind
        if n_cases not in self.made:
            rows = (np if from_host else self.device.xp).ascontiguousarray
            x, d, case_weights = (None if part is None else rows(part) for part in cases[:3])
            cases = Batch(x, d, case_weights)
            cut = Cut(size, n_cases, self._window(size, n_cases, cases) if chosen else 1, chosen, from_host)
            if not from_host and self._is_tiny(stack, size):
                self.made[n_cases] = TinySteps(self.device, self.work_of_tiny, stack, cases, cut)
            else:
                self.made[n_cases] = Steps(self.device, self.work, stack, cases, cut)
        if self.steps is not self.made[n_cases]:
            self.steps, self.own_state = self.made[n_cases], None
        if self.steps.feed is not None:
            self.steps.feed.take_from(batches.cases)
        return self.steps

    def _window(self, size: int, n_cases: int, cases: Batch) -> int:
        """Count the steps of a graph, so that few are left over."""
        n_whole, numbers = n_cases // size, sum(int(part.size) for part in cases[:3] if part is not None)
        bytes_of_a_step = size * max(1, numbers // cases.x.shape[-2]) * int(np.dtype(self.dtype).itemsize)
        most = max(1, min(STEPS_OF_A_GRAPH, BYTES_OF_A_WINDOW // bytes_of_a_step))
        return int(n_whole // -(-n_whole // most))

    def _bring(self, steps: Steps | TinySteps, position: Position, batches: ArrayBatches) -> None:
        """Bring to the device what the steps start from: parameters, state, order, settings."""
        cut = steps.cut
        self.device.copy(position.theta, steps.thetas)
        if position.state is not self.own_state:
            for name, place in zip(self.work.update.parts, steps.parts, strict=True):
                self.device.copy(getattr(position.state, name), place)
        _, parts = cut_epoch(cut.n_cases, cut.size, batches.begins, batches.spans)
        epochs = np.add.outer(position.epoch + np.arange(batches.epochs), parts).ravel()
        settings = settings_of_steps(self.work.update, self.rule.settings, position.state, epochs).astype(self.dtype)
        steps.make_room(batches.epochs, settings.shape[1])
        self._upload("settings", settings, steps.settings)
        if steps.feed is not None:
            steps.feed.begin(batches.order)
        else:
            cases = np.arange(cut.n_cases) if batches.order is None else batches.order
            self._upload("order", cases.astype(np.int32), steps.order)

    def _upload(self, name: str, array: np.ndarray, place: Array) -> None:
        """Fill the beginning of a place, unless it is there already."""
        of, present = self.present.get(name, (None, array))
        if of is not place or not np.array_equal(present[: len(array)], array):
            self.device.upload(array, place[: len(array)])
            self.present[name] = place, array


def _are_alike(given: Batch | None, cases: Batch) -> bool:
    """Tell whether places that were made for some cases are such as others need: a stream's windows are alike."""
    if given is None:
        return False
    pairs = zip(given[:3], cases[:3], strict=True)
    return all(a is b is None or (a is not None and b is not None and a.ndim == b.ndim) for a, b in pairs)
