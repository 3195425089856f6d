"""How far a search is: told to callbacks, and drawn as a bar where a person looks at a terminal."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpubp.training.loop import Progress


class SearchProgress(NamedTuple):
    """What a callback of a search is told after each epoch of each stack, and after each score."""

    fits_done: int
    fits: int
    networks: int  # that train just now
    epoch: int
    epochs: int
    best_score: float | None  # the best mean score of a candidate so far
    best_params: dict[str, Any] | None


SearchCallback = Callable[[SearchProgress], bool | None]

WIDTH = 24  # characters of the bar


class Reporter:
    """Puts together how far a search is, and tells it."""

    def __init__(self, callbacks: tuple[SearchCallback, ...], bar: bool) -> None:
        self.callbacks = (*callbacks, *((_Bar(),) if bar and sys.stderr.isatty() else ()))
        self.now = SearchProgress(0, 0, 0, 0, 0, None, None)

    def begin(self, fits: int) -> None:
        """Begin to fit so many more."""
        self.now = self.now._replace(fits=self.now.fits + fits)

    def follow_stack(self, progress: Progress) -> bool:
        """Follow one more epoch of a stack; True where a callback wants to end it."""
        training = int(np.sum(np.isfinite(progress.loss)))
        return self._tell(self.now._replace(networks=training, epoch=progress.epoch, epochs=progress.epochs))

    def follow_score(self, fits: int, score: float | None, params: dict[str, Any]) -> None:
        """Follow the mean score of one more candidate, in so many fits."""
        best = self.now.best_score
        if score is not None and np.isfinite(score) and (best is None or score > best):
            self.now = self.now._replace(best_score=float(score), best_params=params)
        self._tell(self.now._replace(fits_done=self.now.fits_done + fits, networks=0))

    def end(self) -> None:
        """Take the bar away."""
        for callback in self.callbacks:
            if isinstance(callback, _Bar):
                callback.clear()

    def _tell(self, now: SearchProgress) -> bool:
        self.now = now
        wants_to_stop = [callback(now) for callback in self.callbacks]
        return any(wants_to_stop)


class _Bar:
    """One line of a terminal."""

    def __call__(self, now: SearchProgress) -> None:
        part = now.fits_done / now.fits if now.fits else 0.0
        done = round(part * WIDTH)
        words = [f"[{'#' * done}{'.' * (WIDTH - done)}] {now.fits_done}/{now.fits} fits"]
        if now.networks:
            words.append(f"{now.networks} networks, epoch {now.epoch}/{now.epochs}")
        if now.best_score is not None:
            words.append(f"best so far {now.best_score:.4g}")
        sys.stderr.write("\r\x1b[2K" + ", ".join(words))
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()
