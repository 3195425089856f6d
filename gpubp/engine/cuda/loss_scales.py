"""The loss scales of networks on a CUDA device, and the state of an optimizer that has them."""

from typing import Any

from gpubp.optim.loss_scaling import LossScaleState


class LossScales:
    """Scales and counts of clean updates, ``(2, 2, K)``, as :mod:`gpubp.engine.cuda.kernels.loss_scaling` has them."""

    def __init__(self, device: Any, dtype: str, stack: tuple[int, ...], n_networks: int) -> None:
        self.device, self.stack = device, stack
        self.array = device.empty((2, 2, n_networks), dtype)

    def begin(self, state: LossScaleState) -> None:
        """Copy a state to where the first step reads it."""
        for numbers, own in zip((state.loss_scale, state.clean), self.array[0], strict=True):
            self.device.copy(numbers, own.reshape(self.stack))

    def state_after(self, inner: Any, n_updates: int) -> LossScaleState:
        """Return the state after some updates, in arrays that the next ones do not change."""
        scale, clean = self.device.copy(self.array[n_updates % 2])
        return LossScaleState(inner, scale.reshape(self.stack), clean.reshape(self.stack))
