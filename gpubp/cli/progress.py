"""Progress bars of training and of a search, on a terminal only: epoch, loss, validation, best value, time, speed."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from gpubp._core.text import excerpt, number
from gpubp.training.callbacks import Callback, Progress
from gpubp.training.state import median_loss

SECONDS_BETWEEN_REDRAWS = 0.15  # a redraw takes 1 to 2 ms, as long as a short epoch


@contextmanager
def progress_bar(epochs: int, *, enabled: bool | None = None, score_name: str = "score") -> Iterator[Callback]:
    """Show the progress of training on stderr.

    Parameters
    ----------
    epochs : int
        The maximum number of epochs.
    enabled : bool, optional
        Whether to show the bar. By default, it is shown if stderr is a terminal.
    score_name : str
        The name of the validation score: "accuracy", ...

    Yields
    ------
    callable
        A callback for :func:`gpubp.train`.

    Examples
    --------
    >>> from gpubp import Network, train
    >>> with progress_bar(20) as bar:
    ...     fit = train(Network((1, 1)), [[0.0], [1.0]], [[0.0], [1.0]], epochs=20, callbacks=[bar], device="cpu")
    >>> len(fit.history.loss)
    20
    """
    with _shown(enabled) as bar:
        if bar is None:
            yield ignore_progress
            return
        callback = _BarCallback(bar, epochs, score_name)
        try:
            yield callback
        finally:
            callback.redraw(ended=True)


@contextmanager
def search_bar(
    seconds: float, *, enabled: bool | None = None
) -> Iterator[tuple[Callback, Callable[[str], object] | None]]:
    """Show the progress of a search on stderr: how much of its time has passed, and what is trained.

    Parameters
    ----------
    seconds : float
        The time of the search.
    enabled : bool, optional
        See :func:`progress_bar`.

    Yields
    ------
    tuple of callables
        The arguments `callback` and `on_training` of :func:`gpubp.tabular.search_table`.
    """
    with _shown(enabled) as bar:
        if bar is None:
            yield ignore_progress, None
            return
        callback = _SearchBarCallback(bar, seconds)
        try:
            yield callback, callback.begin
        finally:
            callback.redraw(ended=True)


@contextmanager
def _shown(enabled: bool | None) -> "Iterator[_TwoLines | None]":
    """Show a bar without a task, unless stderr is no terminal or `enabled` is False."""
    console = Console(stderr=True)
    if enabled is None:
        enabled = console.is_terminal and not console.is_dumb_terminal
    if not enabled:
        yield None
        return
    bar = _TwoLines(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[duration]}"),
        console=console,
        auto_refresh=False,  # redrawn between epochs, without a thread
        redirect_stdout=sys.stdout.isatty(),  # otherwise rich prints piped stdout to stderr
        expand=True,
    )
    with bar:
        yield bar


@contextmanager
def counting_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr, if it is a terminal, how many of something are done; the bar disappears in the end.

    Yields
    ------
    callable
        A function of the number done, and of all.

    Examples
    --------
    >>> with counting_bar("shuffled") as progress:
    ...     progress(1, 2)
    """
    console = Console(stderr=True)
    enabled = console.is_terminal and not console.is_dumb_terminal
    columns = (TextColumn("{task.description} {task.completed}/{task.total}", markup=False), BarColumn(bar_width=None))
    with Bar(*columns, console=console, transient=True, disable=not enabled, expand=True) as bar:
        task = bar.add_task(excerpt(what, 60), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def ignore_progress(progress: Progress) -> None:
    """Do nothing; the callback used if no bar is shown."""


class _TwoLines(Bar):
    """A bar across the terminal, and a line of figures below it."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["figures"], no_wrap=True, overflow="ellipsis")


class _BarCallback:
    """A callback that redraws the bar with the last epoch and the best value so far."""

    def __init__(self, bar: Bar, total: float, score_name: str) -> None:
        self.bar, self.total, self.score_name = bar, total, score_name
        self.last: Progress | None = None
        self.epochs_before = 0  # done before training resumed
        self.best: float | None = None
        self.start = time.monotonic()
        self.next_redraw = self.start
        self.task = bar.add_task(self.place(), total=total, duration="", figures="...")

    def __call__(self, progress: Progress) -> None:
        if self.last is None:
            self.epochs_before = progress.epoch - 1
        elif progress.epoch <= self.last.epoch:  # another training
            self.epochs_before = progress.epoch - 1
            self.begin_training()
        self.last = progress
        score, loss = progress.validation_score, progress.validation_loss
        if score is not None:
            self.best = score if self.best is None else max(self.best, score)
        elif loss is not None and np.ndim(loss) == 0:
            self.best = float(loss) if self.best is None else min(self.best, float(loss))
        if time.monotonic() >= self.next_redraw:
            self.redraw()
            self.next_redraw = time.monotonic() + SECONDS_BETWEEN_REDRAWS

    def begin_training(self) -> None:
        """Forget what belongs to the training before."""
        self.best, self.start = None, time.monotonic()

    def redraw(self, *, ended: bool = False) -> None:
        """Draw the current state."""
        if self.last is not None:
            figures = _figures(self.last, self.best, self.score_name)
            completed, total, duration = self.course(self.last, ended=ended)
            self.bar.update(
                self.task,
                description=self.place(),
                completed=completed,
                total=total,
                duration=duration,
                figures=figures,
            )
        self.bar.refresh()

    def place(self) -> str:
        """Return the epoch, as text."""
        return f"epoch 0/{self.total}" if self.last is None else f"epoch {self.last.epoch}/{self.last.epochs}"

    def course(self, last: Progress, *, ended: bool) -> tuple[float, float, str]:
        """Return what is done, of how much, and how long it has taken or will take."""
        seconds, epoch, epochs = time.monotonic() - self.start, last.epoch, last.epochs
        left = seconds / (epoch - self.epochs_before) * (epochs - epoch)
        return epoch, epochs, f"in {_duration_text(seconds)}" if ended else f"{_duration_text(left)} left"


class _SearchBarCallback(_BarCallback):
    """A callback whose bar is the time of a search that has passed."""

    def __init__(self, bar: Bar, seconds: float) -> None:
        self.what = ""
        super().__init__(bar, seconds, "score")

    def begin(self, what: str) -> None:
        """Say what is trained next."""
        self.what = what

    def begin_training(self) -> None:
        """Forget the best value; the time is that of the whole search."""
        self.best = None

    def place(self) -> str:
        """Return what is trained and the epoch, as text."""
        return f"{self.what}, epoch {0 if self.last is None else self.last.epoch}".removeprefix(", ")

    def course(self, last: Progress, *, ended: bool) -> tuple[float, float, str]:
        """Return the seconds that have passed, of how many."""
        seconds = time.monotonic() - self.start
        if ended:
            return self.total, self.total, f"in {_duration_text(seconds)}"
        return min(seconds, self.total), self.total, f"{_duration_text(seconds)} of {_duration_text(self.total)}"


def _figures(progress: Progress, best: float | None, score_name: str) -> str:
    figures = [_loss_text("loss", progress.loss)]
    if progress.validation_score is not None:
        figures.append(f"validation {score_name} {number(progress.validation_score)}")
    elif progress.validation_loss is not None:
        figures.append(_loss_text("validation loss", progress.validation_loss))
    if best is not None:
        figures.append(f"best {number(best)}")
    figures.append(f"{_rate_text(progress.samples_per_second)} samples/s")
    return ", ".join(figures)


def _loss_text(name: str, values: Any) -> str:
    """Format the value of one network, or the median of a stack."""
    return f"{'median ' if np.ndim(values) else ''}{name} {number(median_loss(values))}"


def _duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _rate_text(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
