"""scikit-learn's callbacks (from version 1.9): a fit is a task, and each of its epochs a task within it."""

from collections.abc import Callable
from typing import Any

from gpubp.engine.plain.minibatches import Batches

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A stand-in for versions of scikit-learn without callbacks."""


class FitTask:
    """One fit, reported to the callbacks that are set on the estimator; does nothing without callbacks.

    Parameters
    ----------
    estimator : estimator or None
    X, y, sample_weight
        The arguments of the user.
    epochs : int
        The maximum number of epochs.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int) -> None:
        self.estimator = estimator
        self.context: Any = None
        self.epoch_context: Any = None
        self.arguments = {
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        if getattr(estimator, "_skl_callbacks", None):
            self.context = estimator._init_callback_context(max_subtasks=epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.arguments)

    def begin_epoch(self) -> None:
        """Report that an epoch begins, unless one is running."""
        if self.context is not None and self.epoch_context is None:
            self.epoch_context = self.context.subcontext(task_name="epoch")
            self.epoch_context.call_on_fit_task_begin(estimator=self.estimator, **self.arguments)

    def in_epochs(self, batches: Callable[[int], Batches]) -> Callable[[int], Batches]:
        """Wrap ``batches`` so that each call reports that an epoch begins."""
        if self.context is None:
            return batches

        def next_batches(epoch: int) -> Batches:
            self.begin_epoch()
            return batches(epoch)

        return next_batches

    def end_epoch(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Report that the epoch is over; ``attributes`` returns the fitted attributes. Return whether to stop."""
        if self.epoch_context is None:
            return False
        epoch, self.epoch_context = self.epoch_context, None
        stop = epoch.call_on_fit_task_end(
            estimator=self.estimator, **self.arguments, reconstruction_attributes=attributes
        )
        return bool(stop)

    def end(self) -> None:
        """Report the end of the fit, and of an interrupted epoch."""
        if self.epoch_context is not None:
            self.epoch_context.call_on_fit_task_end(estimator=self.estimator, **self.arguments)
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.arguments, reconstruction_attributes={})


NO_TASK = FitTask(None, None, None, None, 0)
"""A fit without callbacks."""
