"""Copy samples in other than C order window by window, for compiled code, which needs them in C order."""

import numpy as np

from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.plain.minibatches import ArrayBatches, Batches, BatchesInParts
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState

BYTES_OF_A_WINDOW = 32 << 20
"""Samples in other than C order above this size are copied in windows."""


class WindowRunner:
    """Runs an epoch on samples in C order: others are copied window by window, not all at once."""

    def __init__(self, run_epoch: EpochRunner) -> None:
        self.run_epoch = run_epoch
        self.takes_orders = getattr(run_epoch, "takes_orders", False)
        self.keeps_thetas = getattr(run_epoch, "keeps_thetas", False)

    def __call__(self, model: ModelState, batches: Batches) -> EpochResult:
        """Run one or more epochs, or a part of one."""
        if not isinstance(batches, ArrayBatches) or batches.epochs > 1 or batches.size >= batches.n_samples:
            return self.run_epoch(model, batches)
        x = batches.samples.x
        if is_sparse(x) or x.flags.c_contiguous or x.nbytes <= BYTES_OF_A_WINDOW:
            return self.run_epoch(model, batches)
        steps_per_window = max(1, BYTES_OF_A_WINDOW // (batches.size * x.shape[-1] * x.itemsize))
        results = [self.run_epoch(model, window.in_order()) for window in BatchesInParts(batches, steps_per_window)]
        values, weights, sizes = (
            np.concatenate(parts) for parts in zip(*(result[:3] for result in results), strict=True)
        )
        return EpochResult(values, weights, sizes, results[-1].finite)
