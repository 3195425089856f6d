"""The progress of a search, passed to callbacks and shown as a bar on a terminal."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpubp.training.callbacks import Progress


class SearchProgress(NamedTuple):
    """The argument of a search's callbacks, after each epoch of each stack and after each score.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gpubp import BatchedSearchCV, MLPClassifier
    >>> done = []
    >>> search = BatchedSearchCV(
    ...     MLPClassifier((5,), tol=9.0, n_iter_no_change=2), {"alpha": [0.0, 0.1]}, cv=2, refit=False,
    ...     callbacks=lambda progress: done.append((progress.fits_done, progress.fits)),
    ... ).fit(*load_iris(return_X_y=True))
    >>> done[-1]
    (4, 4)
    """

    fits_done: int
    fits: int
    networks: int  # in training
    epoch: int
    epochs: int
    best_score: float | None  # the best mean score of a candidate so far
    best_params: dict[str, Any] | None


SearchCallback = Callable[[SearchProgress], bool | None]

WIDTH = 24  # characters of the bar


class Reporter:
    """Keeps the progress of a search, and calls the callbacks."""

    def __init__(self, callbacks: tuple[SearchCallback, ...], bar: bool) -> None:
        self.callbacks = (*callbacks, *((_Bar(),) if bar and sys.stderr.isatty() else ()))
        self.current = SearchProgress(0, 0, 0, 0, 0, None, None)

    def begin(self, fits: int) -> None:
        """Add to the number of fits to do."""
        self.current = self.current._replace(fits=self.current.fits + fits)

    def follow_stack(self, progress: Progress) -> bool:
        """Report one epoch of a stack; return whether a callback ends its training."""
        training = int(np.sum(np.isfinite(progress.loss)))
        return self._call(self.current._replace(networks=training, epoch=progress.epoch, epochs=progress.epochs))

    def follow_score(self, fits: int, score: float | None, params: dict[str, Any]) -> None:
        """Report the mean score of one candidate, with its number of fits."""
        best = self.current.best_score
        if score is not None and np.isfinite(score) and (best is None or score > best):
            self.current = self.current._replace(best_score=float(score), best_params=params)
        self._call(self.current._replace(fits_done=self.current.fits_done + fits, networks=0))

    def end(self) -> None:
        """Remove the bar."""
        for callback in self.callbacks:
            if isinstance(callback, _Bar):
                callback.clear()

    def _call(self, current: SearchProgress) -> bool:
        self.current = current
        wants_to_stop = [callback(current) for callback in self.callbacks]
        return any(wants_to_stop)


class _Bar:
    """A progress bar on one line of a terminal."""

    def __call__(self, current: SearchProgress) -> None:
        fraction = current.fits_done / current.fits if current.fits else 0.0
        done = round(fraction * WIDTH)
        parts = [f"[{'#' * done}{'.' * (WIDTH - done)}] {current.fits_done}/{current.fits} fits"]
        if current.networks:
            parts.append(f"{current.networks} networks, epoch {current.epoch}/{current.epochs}")
        if current.best_score is not None:
            parts.append(f"best so far {current.best_score:.4g}")
        sys.stderr.write("\r\x1b[2K" + ", ".join(parts))
        sys.stderr.flush()

    def clear(self) -> None:
        """Clear the line."""
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()
