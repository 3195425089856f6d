"""scikit-learn's callbacks, from its version 1.9 on: a fit is a task, each of its epochs a task within it."""

from collections.abc import Callable
from typing import Any

from gpubp.engine.plain.minibatches import Batches

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks yet."""


class FitTask:
    """One fit, told to the callbacks that were set on the model; without any, nothing is done.

    X, y and sample_weight are as the user gave them; ``epochs`` is how many there are at most.
    """

    def __init__(self, model: Any, X: Any, y: Any, sample_weight: Any, epochs: int) -> None:
        self.model = model
        self.context: Any = None
        self.open: Any = None
        self.given = {
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        if getattr(model, "_skl_callbacks", None):
            self.context = model._init_callback_context(max_subtasks=epochs)
            self.context.call_on_fit_task_begin(estimator=model, **self.given)

    def begin_epoch(self) -> None:
        """Tell that an epoch begins, unless one is under way."""
        if self.context is not None and self.open is None:
            self.open = self.context.subcontext(task_name="epoch")
            self.open.call_on_fit_task_begin(estimator=self.model, **self.given)

    def in_epochs(self, batches: Callable[[], Batches]) -> Callable[[], Batches]:
        """Tell that an epoch begins whenever its batches are asked for."""
        if self.context is None:
            return batches

        def told() -> Batches:
            self.begin_epoch()
            return batches()

        return told

    def end_epoch(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """Tell that the epoch is over; ``attributes`` makes what a fitted model has now. True asks to stop."""
        if self.open is None:
            return False
        epoch, self.open = self.open, None
        stop = epoch.call_on_fit_task_end(estimator=self.model, **self.given, reconstruction_attributes=attributes)
        return bool(stop)

    def end(self) -> None:
        """Tell that the fit is over, and with it an epoch that was broken off."""
        if self.open is not None:
            self.open.call_on_fit_task_end(estimator=self.model, **self.given)
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.model, **self.given, reconstruction_attributes={})
