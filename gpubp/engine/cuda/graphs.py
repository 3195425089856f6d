"""Repeated sequences of launches: captured once into a CUDA graph, then replayed."""

import logging
from collections.abc import Callable, Hashable
from typing import Any

logger = logging.getLogger("gpubp")


class CudaGraphs:
    """Sequences of launches on a device, by key: the first run launches, the second captures, later ones replay.

    The first run compiles kernels and lets libraries choose their algorithms, which must not happen during a capture.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.replays: dict[Hashable, Callable[[], None] | None] = {}
        self.can_capture = True

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Run ``work``, whose launches must be the same for equal keys."""
        if key not in self.replays or not self.can_capture:
            work()
            self.replays[key] = None
            return
        replay = self.replays[key]
        if replay is None:
            try:
                replay = self.replays[key] = self.device.capture(work)
            except Exception as error:
                logger.warning("steps are launched one at a time, because they could not be captured: %s", error)
                self.can_capture = False
                work()
                return
        replay()
