"""Settings of the networks of a stack as those of one optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpubp.optim.first_order import Optimizer
from gpubp.optim.schedules import value_at


def scalar_or_column(numbers: Sequence[Any]) -> Any:
    """Return the number if all are equal, else an array ``(K, 1)`` of NumPy."""
    return numbers[0] if all(number == numbers[0] for number in numbers) else np.asarray(numbers, float)[:, None]


@dataclass(frozen=True)
class PerNetworkSchedule:
    """A schedule or a number for each network of a stack: called with the epochs, returns ``(K, 1)`` of NumPy."""

    settings: tuple[Any, ...]

    def __call__(self, epoch: Any) -> np.ndarray:
        """Evaluate all schedules."""
        epochs = np.broadcast_to(np.ravel(epoch), len(self.settings)).tolist()
        return np.asarray([[value_at(setting, at)] for setting, at in zip(self.settings, epochs, strict=True)])


def optimizer_of_stack(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Create one optimizer for a stack from those of its networks, which differ only in their settings."""
    settings = {}
    for name in optimizers[0].settings:
        values = [optimizer.settings[name] for optimizer in optimizers]
        settings[name] = PerNetworkSchedule(tuple(values)) if any(map(callable, values)) else scalar_or_column(values)
    return replace(optimizers[0], settings=settings)
