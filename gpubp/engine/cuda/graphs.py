"""Launches that are made again and again: captured once into a graph, then replayed."""

import logging
from collections.abc import Callable, Hashable
from typing import Any

logger = logging.getLogger("gpubp")


class Graphs:
    """Work on a device, each kind of it made launch by launch the first time, captured the second, then replayed.

    The first time compiles kernels and lets libraries make their choices, which must not happen while capturing.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.replay_of: dict[Hashable, Callable[[], None] | None] = {}
        self.can_capture = True

    def run(self, kind: Hashable, work: Callable[[], None]) -> None:
        """Do work that makes the same launches whenever its kind is the same."""
        if kind not in self.replay_of or not self.can_capture:
            work()
            self.replay_of[kind] = None
            return
        replay = self.replay_of[kind]
        if replay is None:
            try:
                replay = self.replay_of[kind] = self.device.capture(work)
            except Exception as error:
                logger.warning("steps are launched one by one, since they could not be captured: %s", error)
                self.can_capture = False
                work()
                return
        replay()
