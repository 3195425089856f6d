"""Training steps on a CUDA device whose gradients come from the plain equations, for networks that have no kernels.

Skip connections, tied and absent weights, members that share weights, parametric activations, several softmaxes in a
layer: the equations of :mod:`gpubp.nn` are captured as they are, array operation by array operation.
"""

from functools import partial
from typing import Any

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import BatchPlan, StepSpec
from gpubp.engine.cuda.captured_steps import CapturedSteps
from gpubp.engine.cuda.kernels.masks import mask_kernel
from gpubp.engine.cuda.namespace import CapturableNamespace
from gpubp.engine.plain.minibatches import Batch, total_weight
from gpubp.nn.passes import loss_and_gradient


class EquationSteps(CapturedSteps):
    """Arrays on a device for the steps of one network or of a stack, and the launches of these steps."""

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        super().__init__(device, spec, stack, samples, plan)
        self.xp = CapturableNamespace(device, self.thetas, spec.dtype)
        n_members, size = self.network.n_members, self.part_size(plan.size)
        self.of_masks = stack if n_members is None else (*stack, n_members)  # their leading dimensions
        self.n_masks = self.n_networks * (n_members or 1)
        self.masks = [
            device.empty((self.n_masks * size * n,), spec.dtype) if drop else None
            for n, drop in zip(self.network.sizes, self.drops, strict=False)
        ]
        self.mask_kernel = mask_kernel()
        self.compile([self.mask_kernel] if plan.drops else [])

    def _add_gradient(self, start: int, first: int, end: int, *, is_last: bool) -> None:
        """Add the gradient and the loss of samples ``first`` to ``end`` of the batch that begins at ``start``."""
        x, targets, sample_weight = self.window
        assert x is not None
        assert targets is not None
        rows = slice(start + first, start + end)
        weights = None if sample_weight is None else sample_weight[..., rows]
        samples = Batch(x[..., rows, :], targets[..., rows, :], weights, self._masks(first, end - first))
        self.xp.compute(partial(self._compute, samples, is_first=first == 0))
        if is_last:
            self._sums(0, 0, 1)

    def _masks(self, first: int, b: int) -> tuple[Array | None, ...]:
        """Compute the masks of dropout, for ``b`` samples of the batch from number ``first`` on."""
        masks: list[Array | None] = []
        for k, (array, n) in enumerate(zip(self.masks, self.network.sizes, strict=False)):
            if array is None:
                masks.append(None)
                continue
            masks.append(array[: self.n_masks * b * n].reshape((*self.of_masks, b, n)))
            numbers = (masks[-1], k, first, self.counter, *self.dropout_in_c)
            self._over_layer(self.mask_kernel, b, n, *numbers, n_networks=self.n_masks)
        return tuple(masks)

    def _compute(self, samples: Batch, *, is_first: bool) -> None:
        """Set the sums over the samples, or add to those of other parts of the batch."""
        loss_scale = None
        if self.loss_scales is not None:
            of_even_and_odd, step = self.loss_scales.array[:, 0], self.counter[:1] % 2
            loss_scale = self.xp.reshape(self.xp.take(of_even_and_odd, step, axis=0), self.stack)
        loss, gradient = loss_and_gradient(self.xp, self.network, self.thetas, *samples[:4], loss_scale=loss_scale)
        if loss_scale is not None:  # the update divides by it
            gradient = gradient * loss_scale[..., None]
        totals = self.totals_of_samples.reshape((2, *self.stack))
        of_losses, of_weights = totals[0, ...], totals[1, ...]
        sums = ((self.gradients, gradient), (of_losses, loss), (of_weights, total_weight(self.xp, samples)))
        for place, number in sums:
            place[...] = number if is_first else place + number
