"""The epoch on a CUDA device: a network, an optimizer and samples turned into launches."""

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
from gpubp.engine.plain.step import EpochResult, ModelState, Objective
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import Optimizer

logger = logging.getLogger("gpubp")

EpochRunner = Callable[[ModelState, Batches], EpochResult]

STEPS_OF_A_GRAPH = 64  # at most
BYTES_OF_A_WINDOW = 64 << 20  # of gathered samples, at most
MOST_NETWORKS = 2**16 - 1  # of a stack: blocks have no more numbers in that direction
WORTH_MANY_BLOCKS = 1e6  # operations of a step, above which one block of threads is slower than all: from arithmetic


def cuda_epoch_runner(
    device: Any, objective: Objective, optimizer: Optimizer, dtype: str, plain: EpochRunner
) -> EpochRunner:
    """Write the steps of an optimizer and an objective in CUDA C, or give ``plain`` where that cannot be done.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or what has the same methods.
    """
    try:
        return CudaEpochRunner(device, objective, optimizer, dtype, plain)
    except Inexpressible as error:
        logger.info("the equations run one by one: %s", error)
        return plain


class CudaEpochRunner:
    """An epoch by kernels of our own; batches that are not arrays go the plain way.

    The arrays of the state that it leaves in a position are its own: the next epoch changes them.
    """

    def __init__(self, device: Any, objective: Objective, optimizer: Optimizer, dtype: str, plain: EpochRunner) -> None:
        if objective.network.skips or objective.network.ties:
            raise Inexpressible("the network has connections that skip layers, or weights that are tied or absent")
        if np.ndim(objective.l2):
            raise Inexpressible("each network has a penalty of its own strength")
        self.device, self.objective, self.optimizer, self.dtype, self.plain = device, objective, optimizer, dtype, plain
        self.work = Work(objective, update_of(optimizer, dtype, part_in_global_memory), dtype)
        self.work_of_tiny = Work(objective, update_of(optimizer, dtype, part_of_one_network), dtype)
        layers_of(objective.network, dtype, weighed=False)  # raise now what they would raise later
        source_of_tiny(self.work_of_tiny, weighed=False)
        self.made: dict[int, Steps | TinySteps] = {}  # for so many samples: the last part of an epoch may have others
        self.steps: Steps | TinySteps | None = None
        self.given: Batch | None = None
        self.kind: Any = None
        self.own_state: Any = None
        self.present: dict[str, tuple[Array, np.ndarray]] = {}  # what was uploaded last, and where to

    def __call__(self, position: ModelState, batches: Batches) -> EpochResult:
        """Move a position, step by step."""
        if not isinstance(batches, ArrayBatches) or not 0 < batches.samples.x.shape[-2] < 2**31:
            return self.plain(position, batches)
        stack = position.theta.shape[:-1]
        size = min(batches.size, batches.n_samples)
        of_one_block = not batches.on_host and self._is_tiny(stack, size)
        if len(stack) > 1 or (stack > (MOST_NETWORKS,) and not of_one_block):
            return self.plain(position, batches)
        with self.device.active():
            return self._run_epoch(self._steps_for(batches, stack), position, batches)

    def _run_epoch(self, steps: Steps | TinySteps, position: ModelState, batches: ArrayBatches) -> EpochResult:
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
        sizes, _ = cut_epoch(cut.n_samples, cut.size)
        return EpochResult(values, weights, np.tile(sizes, batches.epochs), finite)

    def _is_tiny(self, stack: tuple[int, ...], size: int) -> bool:
        """Tell whether one block of threads takes the steps of a network: where it can, and is not slower than all."""
        if self.device.products != "float32":  # a block makes its products itself, and in full
            return False
        if shared_memory(self.objective.network, size, self.dtype) > self.device.shared_memory:
            return False
        return bool(stack) or 6.0 * size * self.objective.network.n_parameters <= WORTH_MANY_BLOCKS

    def _steps_for(self, batches: ArrayBatches, stack: tuple[int, ...]) -> Steps | TinySteps:
        """Make places for the samples, or find those made before for the same samples, cut in the same way."""
        samples, n_samples, from_host = batches.samples, batches.n_samples, batches.on_host
        size = min(batches.size, n_samples)
        chosen = size < n_samples or batches.order is not None or from_host
        kind = (size, chosen, stack, from_host)
        if self.kind != kind or not (self.given is samples or (from_host and _are_alike(self.given, samples))):
            self.made, self.steps, self.present = {}, None, {}  # let go what they hold before asking for more
            self.given, self.kind = samples, kind
        if n_samples not in self.made:
            rows = (np if from_host else self.device.xp).ascontiguousarray
            x, targets, sample_weight = (None if part is None else rows(part) for part in samples[:3])
            samples = Batch(x, targets, sample_weight)
            cut = Cut(size, n_samples, self._window(size, n_samples, samples) if chosen else 1, chosen, from_host)
            if not from_host and self._is_tiny(stack, size):
                self.made[n_samples] = TinySteps(self.device, self.work_of_tiny, stack, samples, cut)
            else:
                self.made[n_samples] = Steps(self.device, self.work, stack, samples, cut)
        if self.steps is not self.made[n_samples]:
            self.steps, self.own_state = self.made[n_samples], None
        if self.steps.feed is not None:
            self.steps.feed.take_from(batches.samples)
        return self.steps

    def _window(self, size: int, n_samples: int, samples: Batch) -> int:
        """Count the steps of a graph, so that few are left over."""
        n_whole, numbers = n_samples // size, sum(int(part.size) for part in samples[:3] if part is not None)
        bytes_of_a_step = size * max(1, numbers // samples.x.shape[-2]) * int(np.dtype(self.dtype).itemsize)
        most = max(1, min(STEPS_OF_A_GRAPH, BYTES_OF_A_WINDOW // bytes_of_a_step))
        return int(n_whole // -(-n_whole // most))

    def _bring(self, steps: Steps | TinySteps, position: ModelState, batches: ArrayBatches) -> None:
        """Bring to the device what the steps start from: parameters, state, order, settings."""
        cut = steps.cut
        self.device.copy(position.theta, steps.thetas)
        if position.state is not self.own_state:
            for name, place in zip(self.work.update.parts, steps.parts, strict=True):
                self.device.copy(getattr(position.state, name), place)
        _, parts = cut_epoch(cut.n_samples, cut.size, batches.begins, batches.spans)
        epochs = np.add.outer(position.epoch + np.arange(batches.epochs), parts).ravel()
        settings = settings_of_steps(self.work.update, self.optimizer.settings, position.state, epochs).astype(
            self.dtype
        )
        steps.make_room(batches.epochs, settings.shape[1])
        self._upload("settings", settings, steps.settings)
        if steps.feed is not None:
            steps.feed.begin(batches.order)
        else:
            samples = np.arange(cut.n_samples) if batches.order is None else batches.order
            self._upload("order", samples.astype(np.int32), steps.order)

    def _upload(self, name: str, array: np.ndarray, place: Array) -> None:
        """Fill the beginning of a place, unless it is there already."""
        of, present = self.present.get(name, (None, array))
        if of is not place or not np.array_equal(present[: len(array)], array):
            self.device.upload(array, place[: len(array)])
            self.present[name] = place, array


def _are_alike(given: Batch | None, samples: Batch) -> bool:
    """Tell whether places that were made for some samples are such as others need: a stream's windows are alike."""
    if given is None:
        return False
    pairs = zip(given[:3], samples[:3], strict=True)
    return all(a is b is None or (a is not None and b is not None and a.ndim == b.ndim) for a, b in pairs)
