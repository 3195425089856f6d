"""A progress bar: rich's on a terminal, tqdm's in a notebook, or one that is passed."""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from gpubp.training.callbacks import Progress, RunStart, checked_interval, figures
from gpubp.training.state import Outcome

SECONDS_BETWEEN_REDRAWS = 0.15


class Bar(Protocol):
    """What is needed of a bar; those of tqdm have it."""

    def update(self, n: int) -> Any:
        """Advance by ``n`` epochs."""

    def set_postfix_str(self, s: str) -> Any:
        """Show a text beside the bar."""

    def close(self) -> Any:
        """End."""


class ProgressBar:
    """Show the epochs, the loss and the validation figures while a network is trained.

    In a notebook the bar is tqdm's, with ipywidgets a graphical one; on a terminal rich's or, without rich, tqdm's.
    Elsewhere, and without either library, nothing is shown. The command line has its own bar.

    Parameters
    ----------
    make_bar : callable, optional
        Takes the number of epochs and returns a bar with the methods ``update(n)``, ``set_postfix_str(text)`` and
        ``close()``, such as ``lambda n: tqdm.tqdm(total=n)``.
    every : int
        Number of epochs between two calls.

    Examples
    --------
    >>> from gpubp import Network, ProgressBar, train
    >>> fit = train(Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=20, device="cpu", callbacks=[ProgressBar()])
    >>> len(fit.history.loss)
    20
    """

    def __init__(self, make_bar: Callable[[int], Bar] | None = None, *, every: int = 1) -> None:
        self.make_bar, self.every = make_bar, checked_interval(every)
        self._bar: Bar | None = None
        self._last: Progress | None = None

    def on_begin(self, run: RunStart) -> None:
        """Make the bar, with the epochs done before."""
        self._bar = (self.make_bar or _bar_for_this_place)(run.epochs)
        self._epoch, self._last, self._next_redraw = 0, None, 0.0
        self._advance(run.epoch)

    def __call__(self, progress: Progress) -> None:
        """Redraw the bar, but not too often."""
        self._last = progress
        if time.monotonic() >= self._next_redraw:
            self._show()
            self._next_redraw = time.monotonic() + SECONDS_BETWEEN_REDRAWS

    def on_end(self, outcome: Outcome) -> None:
        """Show the last epoch and close the bar."""
        self._show()
        self._close()

    def on_error(self, error: BaseException) -> None:
        """Show the last epoch and close the bar."""
        self._show()
        self._close()

    def _show(self) -> None:
        if self._bar is not None and self._last is not None:
            values = figures(self._last)
            shown = (name for name in ("loss", "validation_loss", "validation_score") if name in values)
            self._bar.set_postfix_str(", ".join(f"{name.replace('_', ' ')} {values[name]:.4g}" for name in shown))
            self._advance(self._last.epoch)

    def _advance(self, epoch: int) -> None:
        if self._bar is not None and epoch > self._epoch:
            self._bar.update(epoch - self._epoch)
            self._epoch = epoch

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _bar_for_this_place(epochs: int) -> Bar | None:
    """Choose the bar for a notebook, a terminal, or neither."""
    if _is_notebook():
        return _tqdm_bar("tqdm.notebook" if _has_widgets() else "tqdm", epochs)
    if not sys.stderr.isatty():
        return None
    try:
        return _RichBar(epochs)
    except ImportError:
        return _tqdm_bar("tqdm", epochs)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _has_widgets() -> bool:
    """Return whether a notebook can show tqdm's bar; without ipywidgets that prints an error when it is deleted."""
    try:
        __import__("ipywidgets")
    except ImportError:
        return False
    return True


def _tqdm_bar(module: str, epochs: int) -> Bar | None:
    try:
        bar: Bar = __import__(module, fromlist=["tqdm"]).tqdm(total=epochs)
    except ImportError:
        return None
    return bar


class _RichBar:
    """A bar of rich with the methods of tqdm's."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.progress = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
        self.task = self.progress.add_task("", total=epochs)
        self.progress.start()

    def update(self, n: int) -> None:
        self.progress.advance(self.task, n)
        self.progress.refresh()

    def set_postfix_str(self, s: str) -> None:
        self.progress.update(self.task, description=s)

    def close(self) -> None:
        self.progress.stop()
