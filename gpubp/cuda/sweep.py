"""The sweep on a CUDA device: the steps of an epoch, captured into graphs and replayed."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.batches import ArrayBatches, Batch, Batches
from gpubp.cuda.rules import settings_of_steps, state_after, update_of
from gpubp.cuda.source import layers_of, part_in_global_memory
from gpubp.cuda.steps import Cut, Steps, Work
from gpubp.cuda.symbols import Inexpressible
from gpubp.descent import Rule
from gpubp.step import Objective, Position, Swept

logger = logging.getLogger("gpubp")

Sweep = Callable[[Position, Batches], Swept]

STEPS_OF_A_GRAPH = 64  # at most
BYTES_OF_A_WINDOW = 64 << 20  # of gathered cases, at most


def cuda_sweep(device: Any, objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> Sweep:
    """Write the steps of a rule and an objective in CUDA C, or give ``plain`` where that cannot be done.

    Parameters
    ----------
    device : object
        A :class:`gpubp.cuda.device.CudaDevice`, or what has the same methods.
    """
    try:
        return CudaSweep(device, objective, rule, dtype, plain)
    except Inexpressible as error:
        logger.info("equations run one by one: %s", error)
        return plain


class CudaSweep:
    """A sweep by kernels of our own; batches that are not arrays of one network's cases go the plain way."""

    def __init__(self, device: Any, objective: Objective, rule: Rule, dtype: str, plain: Sweep) -> None:
        self.device, self.objective, self.rule, self.dtype, self.plain = device, objective, rule, dtype, plain
        self.update = update_of(rule, dtype, part_in_global_memory)
        self.work = {weighed: self._work(weighed) for weighed in (False, True)}
        self.steps: Steps | None = None
        self.graphs: dict[tuple[int, int], Callable[[], None] | None] = {}
        self.can_capture = True
        self.own_state: Any = None
        self.present: dict[str, np.ndarray] = {}  # what was uploaded last

    def _work(self, weighed: bool) -> Work:
        network = self.objective.network
        layers = layers_of(
            network.hidden, network.activations[-1], network.loss, self.dtype, bias=network.bias, weighed=weighed
        )
        return Work(self.objective, layers, self.update, self.dtype)

    def __call__(self, position: Position, batches: Batches) -> Swept:
        """Move a position, step by step."""
        if not isinstance(batches, ArrayBatches) or position.theta.ndim != 1 or not batches.cases.x.shape[-2]:
            return self.plain(position, batches)
        with self.device.active():
            return self._sweep(position, batches)

    def _sweep(self, position: Position, batches: ArrayBatches) -> Swept:
        steps = self._steps_for(batches)
        cut, before = steps.cut, position.state
        self._bring(steps, position, batches.order)
        done = 0
        try:
            for b, n in self._parts(cut):
                self._take(steps, b, n)
                done += n
        finally:  # Ctrl-C keeps what was learned
            position.theta = self.device.copy(steps.thetas)
            position.state = self.own_state = state_after(self.update, before, steps.parts, done)
            self.device.wait()
        steps.count_not_finite()
        values, weights, finite = steps.read()
        sizes = np.minimum(cut.size, cut.n_cases - np.arange(0, cut.n_cases, cut.size))
        return Swept(values, weights, sizes, np.asarray(finite))

    def _parts(self, cut: Cut) -> Iterator[tuple[int, int]]:
        """Cut an epoch into steps that are taken together: of how many cases each, and how many."""
        whole, rest = divmod(cut.n_cases, cut.size)
        for _ in range(whole // cut.window):
            yield cut.size, cut.window
        for _ in range(whole % cut.window):
            yield cut.size, 1
        if rest:
            yield rest, 1

    def _take(self, steps: Steps, b: int, n: int) -> None:
        """Take steps: for the first time one launch after the other, the second time captured, then replayed."""
        if (b, n) not in self.graphs or not self.can_capture:
            steps.take(b, n)
            self.graphs[b, n] = None
            return
        replay = self.graphs[b, n]
        if replay is None:
            try:
                replay = self.graphs[b, n] = self.device.capture(lambda: steps.take(b, n))
            except Exception as error:
                logger.warning("steps are launched one by one, since they could not be captured: %s", error)
                self.can_capture = False
                steps.take(b, n)
                return
        replay()

    def _steps_for(self, batches: ArrayBatches) -> Steps:
        """Make places for the cases, or find those made before for the same cases, cut in the same way."""
        n_cases = batches.cases.x.shape[-2]
        size = min(batches.size, n_cases)
        n_whole = n_cases // size
        weighed = batches.cases.case_weights is not None
        chosen = size < n_cases or batches.order is not None
        cut = Cut(size, n_cases, self._window(size, n_whole) if chosen else 1, chosen)
        if self.steps is None or self.steps.cases is not batches.cases or self.steps.cut != cut:
            self.steps, self.graphs, self.present = None, {}, {}  # let go what they hold before asking for more
            self.own_state = None
            self.steps = Steps(self.device, self.work[weighed], batches.cases, cut)
        return self.steps

    def _window(self, size: int, n_whole: int) -> int:
        """Count the steps of a graph, so that few are left over."""
        sizes = self.objective.network.sizes
        bytes_of_a_step = size * (sizes[0] + sizes[-1] + 1) * np.dtype(self.dtype).itemsize
        most = max(1, min(STEPS_OF_A_GRAPH, BYTES_OF_A_WINDOW // bytes_of_a_step))
        return n_whole // -(-n_whole // most)

    def _bring(self, steps: Steps, position: Position, order: np.ndarray | None) -> None:
        """Bring to the device what the steps start from: parameters, state, order, settings; the counter begins at 0."""
        device, cut = self.device, steps.cut
        device.wait_for_others()
        device.copy(position.theta, steps.thetas)
        if position.state is not self.own_state or not self.update.parts:
            for name, place in zip(self.update.parts, steps.parts, strict=True):
                device.copy(getattr(position.state, name), place)
        epochs = position.epoch + np.arange(0, cut.n_cases, cut.size) / cut.n_cases
        settings = settings_of_steps(self.update, self.rule.settings, position.state, epochs)
        self._upload("settings", settings[:, 0].astype(self.dtype), steps.settings)
        if cut.chosen:
            cases = np.arange(cut.n_cases) if order is None else order
            self._upload("order", cases.astype(np.int32), steps.order)
        device.upload(np.zeros(1, np.int64), steps.counter)

    def _upload(self, name: str, array: np.ndarray, place: Array) -> None:
        if name not in self.present or not np.array_equal(self.present[name], array):
            self.device.upload(array, place)
            self.present[name] = array
