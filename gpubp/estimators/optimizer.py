"""What a stochastic solver keeps from one call to the next: its learning rate, and the state of its rule."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gpubp.backend import Backend, to_backend, to_numpy

SMALLEST_RATE = 1e-6  # below which an adaptive learning rate stops the training


@dataclass
class LearningRate:
    """scikit-learn's learning rate, which follows the cases seen, or the progress made, rather than the epochs.

    Called with the epochs done, as any schedule of a rule, it answers with its present value whatever they are.
    """

    first: float
    schedule: str
    power: float
    now: float

    def __call__(self, epoch: float) -> float:
        """Give the present rate, whatever the epoch."""
        return self.now

    def after_epoch(self, n_seen: int) -> None:
        """Follow the number of cases seen since the first fit."""
        if self.schedule == "invscaling":
            self.now = self.first / (n_seen + 1) ** self.power

    def when_stuck(self) -> str:
        """Become smaller where that may help; say what was done, and nothing where training should stop."""
        if self.schedule != "adaptive" or self.now <= SMALLEST_RATE:
            return ""
        self.now /= 5.0
        return f"Setting learning rate to {self.now:f}"


class Optimizer(NamedTuple):
    """What :meth:`partial_fit` goes on with: the learning rate, and the state of the solver's rule."""

    solver: str
    rate: LearningRate
    state: Any = None

    def on(self, backend: Backend | None, dtype: str) -> "Optimizer":
        """Move the state's arrays to a backend, or to the host."""
        if not self.state:
            return self
        moved = [
            part if isinstance(part, int) else (to_numpy(part) if backend is None else to_backend(backend, part, dtype))
            for part in self.state
        ]
        return self._replace(state=type(self.state)(*moved))
