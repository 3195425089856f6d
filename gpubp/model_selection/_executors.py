"""Trials that the workers of an executor fit and score: of Dask, of pools of processes, of MPI.

An executor is whatever has ``submit`` as :class:`concurrent.futures.Executor` has it. The samples go to Dask's workers
and to processes of this machine once, to others with each task; the tasks are parts of the trials, which each worker
trains as stacks of its own.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.utils import check_random_state

from gpubp.errors import GpubpError
from gpubp.model_selection._trials import Score, Trial, Trials, parts_of

logger = logging.getLogger("gpubp")

TASKS_OF_A_WORKER = 4  # so that those who are done early find more to do
NETWORKS_OF_A_TASK = 32  # where an executor does not tell how many workers it has
ATTEMPTS = 3  # at a task whose samples are lost with a worker

FORM = ("hidden_layer_sizes", "activation", "solver", "loss", "batch_size", "dropout", "early_stopping", "dtype")
"""Parameters in which networks of one stack are alike: a guess, for a task is cut into stacks by the worker."""


@dataclass(frozen=True)
class Common:
    """What all tasks need: the samples, what goes to ``fit``, and for each split its training and test samples."""

    X: Any
    y: Any
    fit_params: dict[str, Any]
    splits: dict[int, tuple[np.ndarray, np.ndarray]]


class OnDisk(NamedTuple):
    """A file where the common part is."""

    path: Path


class Task(NamedTuple):
    """Trials that one worker takes together; how often they were handed out, and what was shared then."""

    trials: list[Trial]
    attempt: int = 1
    shared: Any = None


def fit_and_score(
    common: Common | OnDisk, score: Score, n_in_all: int, trials: list[tuple[int, int, Any]]
) -> list[dict[str, Any]]:
    """Fit and score trials in a worker, of so many: each a candidate's number, a split's, and the estimator."""
    if isinstance(common, OnDisk):
        common = joblib.load(common.path, mmap_mode="r")
        assert isinstance(common, Common)
    here = Trials(common.X, common.y, common.fit_params, score, n_in_all=n_in_all)
    own = [Trial(candidate, split, estimator, *common.splits[split]) for candidate, split, estimator in trials]
    here.fit(own)
    return [trial.result for trial in here.scored(own) if trial.result is not None]


class SpreadTrials:
    """Fits and scores trials as :class:`~gpubp.model_selection._trials.Trials` does, with the workers of an executor.

    Parameters
    ----------
    executor : object with a method ``submit``
    X, y, fit_params, score
        See :class:`~gpubp.model_selection._trials.Trials`.
    """

    def __init__(self, executor: Any, X: Any, y: Any, fit_params: dict[str, Any], score: Score) -> None:
        self.given, self.X, self.y, self.fit_params, self.score = executor, X, y, fit_params, score
        # a Client of Dask has futures of its own kind, and takes equal tasks for one
        self.executor: Executor = executor.get_executor(pure=False) if hasattr(executor, "get_executor") else executor
        self.open = ExitStack()
        self.common: Common | None = None
        self.shared: Any = None
        self.n_in_all = 0
        self.running: dict[Future[list[dict[str, Any]]], Task] = {}

    def fit(self, trials: Sequence[Trial]) -> None:
        """Hand trials out, to be fitted and scored."""
        if self.common is None:
            splits = {trial.split: (trial.train, trial.test) for trial in trials}
            self.common = Common(self.X, self.y, self.fit_params, splits)
            self._share()
        self.n_in_all = len(trials)
        tasks = tasks_of(trials, n_workers(self.given))
        logger.info("%d fits are handed to an executor in %d tasks", len(trials), len(tasks))
        for task in tasks:
            self._hand_out(task)

    def go_on(self, trials: Sequence[Trial], epochs: int) -> list[Trial]:
        """Give the trials back: what workers have trained does not go on, and is to be fitted anew."""
        return list(trials)

    def scored(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Give each of the trials that were handed out when it is scored."""
        while self.running:
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                task = self.running.pop(future)
                try:
                    results = future.result()
                except CancelledError as fault:  # Dask's way to say that the worker is gone that had the samples
                    if task.attempt == ATTEMPTS:
                        raise worker_ended(task, fault) from fault
                    if task.shared is self.shared:  # else another task that was lost has seen to it
                        self._share()
                    self._hand_out(task._replace(attempt=task.attempt + 1))
                    continue
                except Exception as fault:
                    if isinstance(fault, BrokenExecutor) or type(fault).__name__ == "KilledWorker":
                        raise worker_ended(task, fault) from fault
                    raise
                for trial, result in zip(task.trials, results, strict=True):
                    trial.result = result
                    yield trial

    def close(self) -> None:
        """Take back what is not done yet, and what the workers share."""
        for future in self.running:
            future.cancel()
        self.running.clear()
        self.open.close()

    def _share(self) -> None:
        assert self.common is not None
        self.shared = self.open.enter_context(shared_with_workers(self.given, self.common))

    def _hand_out(self, task: Task) -> None:
        for trial in task.trials:
            _draw_seed(trial.estimator)
        trials = [(trial.candidate, trial.split, trial.estimator) for trial in task.trials]
        future = self.executor.submit(fit_and_score, self.shared, self.score, self.n_in_all, trials)
        self.running[future] = task._replace(shared=self.shared)


def _draw_seed(estimator: Any) -> None:
    """Give a model a seed where it has none: workers that are forked all have the same generator of NumPy."""
    parts = parts_of(estimator)
    if parts is not None and parts.model.random_state is None:
        parts.model.set_params(random_state=int(check_random_state(None).randint(2**31 - 1)))


def worker_ended(task: Task, fault: BaseException) -> GpubpError:
    """Say that a worker ended before it was done, and what it was doing."""
    models = [parts.model for trial in task.trials if (parts := parts_of(trial.estimator))]
    sizes = sorted({str(model.hidden_layer_sizes) for model in models})
    return GpubpError(
        f"a worker of the executor ended during {len(task.trials)} fits{' of hidden_layer_sizes ' if sizes else ''}"
        f"{', '.join(sizes)} ({type(fault).__name__}: {fault}). Its log says why; often its memory was full: give it "
        "more, or start fewer workers on its machine. executor=None trains in this process"
    )


# --- what is handed out ---


def tasks_of(trials: Sequence[Trial], n_workers: int) -> list[Task]:
    """Cut trials into tasks: those of one form and one split, which share their order, one behind the other."""
    in_order = sorted(trials, key=lambda trial: (form_of(trial.estimator), trial.split, trial.candidate))
    n_tasks = min(len(trials), n_workers * TASKS_OF_A_WORKER or -(-len(trials) // NETWORKS_OF_A_TASK))
    bounds = np.linspace(0, len(trials), n_tasks + 1).astype(int).tolist()
    return [Task(in_order[begin:end]) for begin, end in pairwise(bounds)]


def form_of(estimator: Any) -> str:
    """Tell estimators apart that can hardly be one stack."""
    parts = parts_of(estimator)
    model = estimator if parts is None else parts.model
    return repr((type(model).__name__, [getattr(model, name, None) for name in FORM]))


def n_workers(executor: Any) -> int:
    """Count how many tasks an executor does at once; 0 where it does not tell."""
    if hasattr(executor, "nthreads"):  # a Client of Dask
        return sum(executor.nthreads().values())
    return int(getattr(executor, "_max_workers", 0) or 0)


@contextmanager
def shared_with_workers(executor: Any, common: Common) -> Iterator[Any]:
    """Give all workers of an executor the same, once; what tasks are to be given instead of it."""
    if hasattr(executor, "scatter"):  # a Client of Dask
        yield executor.scatter([common], broadcast=True, hash=False)[0]
    elif any(kind.__name__ == "ProcessPoolExecutor" for kind in type(executor).__mro__):  # on this machine, loky's too
        with TemporaryDirectory(prefix="gpubp-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "common"
            joblib.dump(common, path)
            yield OnDisk(path)
    else:
        yield common
