"""Fit and score trials with the workers of an executor: of Dask, process pools or MPI.

An executor is any object with the method ``submit`` of :class:`concurrent.futures.Executor`. The samples are sent once
to Dask's workers and to processes of this machine, and with each task to other workers. A task is a part of the trials;
its worker trains them as stacks.
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
from gpubp.model_selection._estimator_parts import parts_of
from gpubp.model_selection._trials import Trial, Trials, TrialScorer

logger = logging.getLogger("gpubp")

TASKS_PER_WORKER = 4  # more than one, to balance the load
NETWORKS_PER_TASK = 32  # if the number of workers is unknown
ATTEMPTS = 3  # for a task whose samples are lost with a worker

SHAPE_PARAMETERS = (
    "hidden_layer_sizes",
    "activation",
    "solver",
    "loss",
    "batch_size",
    "dropout",
    "early_stopping",
    "dtype",
)
"""Parameters that are equal within a stack: an estimate, since the worker divides its task into stacks."""


@dataclass(frozen=True)
class SharedData:
    """The data of all tasks: the samples, the arguments of ``fit``, and the training and test samples of each split."""

    X: Any
    y: Any
    fit_params: dict[str, Any]
    splits: dict[int, tuple[np.ndarray, np.ndarray]]


class SharedFile(NamedTuple):
    """A file with the :class:`SharedData`."""

    path: Path


class SearchTask(NamedTuple):
    """Trials that one worker runs together, the number of attempts, and the shared data at the time of submission."""

    trials: list[Trial]
    attempt: int = 1
    shared: Any = None


def fit_and_score(
    data: SharedData | SharedFile, score: TrialScorer, trials: list[tuple[int, int, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Fit and score trials in a worker; each has the numbers of a candidate and a split, and the estimator.

    Return the results, and the messages of the fits that did not converge.
    """
    if isinstance(data, SharedFile):
        data = joblib.load(data.path, mmap_mode="r")
        assert isinstance(data, SharedData)
    local_trials = Trials(data.X, data.y, data.fit_params, score)
    prepared = [Trial(candidate, split, estimator, *data.splits[split]) for candidate, split, estimator in trials]
    local_trials.fit(prepared)
    results = [trial.result for trial in local_trials.scored(prepared) if trial.result is not None]
    return results, local_trials.unconverged


class ExecutorTrials:
    """Fits and scores trials as :class:`~gpubp.model_selection._trials.Trials` does, with the workers of an executor.

    Parameters
    ----------
    executor : object with a method ``submit``
    X, y, fit_params, score
        See :class:`~gpubp.model_selection._trials.Trials`.
    """

    def __init__(self, executor: Any, X: Any, y: Any, fit_params: dict[str, Any], score: TrialScorer) -> None:
        self.client, self.X, self.y, self.fit_params, self.score = executor, X, y, fit_params, score
        # a Dask Client has its own kind of futures, and would run equal tasks once
        self.executor: Executor = executor.get_executor(pure=False) if hasattr(executor, "get_executor") else executor
        self.resources = ExitStack()
        self.data: SharedData | None = None
        self.shared: Any = None
        self.running: dict[Future[tuple[list[dict[str, Any]], list[str]]], SearchTask] = {}
        self.unconverged: list[str] = []

    def fit(self, trials: Sequence[Trial]) -> None:
        """Submit trials, to be fitted and scored."""
        if self.data is None:
            splits = {trial.split: (trial.train, trial.test) for trial in trials}
            self.data = SharedData(self.X, self.y, self.fit_params, splits)
            self._share_data()
        tasks = make_tasks(trials, n_workers(self.client))
        logger.info("%d fits are submitted to an executor in %d tasks", len(trials), len(tasks))
        for task in tasks:
            self._submit(task)

    def continue_fits(self, trials: Sequence[Trial], epochs: int) -> list[Trial]:
        """Return all trials: networks trained by workers cannot continue and are fitted again."""
        return list(trials)

    def scored(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Yield each of the submitted trials when it is scored."""
        while self.running:
            for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                task = self.running.pop(future)
                try:
                    results, unconverged = future.result()
                except CancelledError as error:  # Dask raises it if the worker with the samples has ended
                    if task.attempt == ATTEMPTS:
                        raise worker_ended(task, error) from error
                    if task.shared is self.shared:  # otherwise they were already sent again for another lost task
                        self._share_data()
                    self._submit(task._replace(attempt=task.attempt + 1))
                    continue
                except Exception as error:
                    if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker":
                        raise worker_ended(task, error) from error
                    raise
                self.unconverged += unconverged
                for trial, result in zip(task.trials, results, strict=True):
                    trial.result = result
                    yield trial

    def close(self) -> None:
        """Cancel unfinished tasks, and release the shared data."""
        for future in self.running:
            future.cancel()
        self.running.clear()
        self.resources.close()

    def _share_data(self) -> None:
        assert self.data is not None
        self.shared = self.resources.enter_context(shared_with_workers(self.client, self.data))

    def _submit(self, task: SearchTask) -> None:
        for trial in task.trials:
            _draw_seed(trial.estimator)
        trials = [(trial.candidate, trial.split, trial.estimator) for trial in task.trials]
        future = self.executor.submit(fit_and_score, self.shared, self.score, trials)
        self.running[future] = task._replace(shared=self.shared)


def _draw_seed(estimator: Any) -> None:
    """Set a seed if there is none, because forked workers all have the same state of NumPy's generator."""
    parts = parts_of(estimator)
    if parts is not None and parts.model.random_state is None:
        parts.model.set_params(random_state=int(check_random_state(None).randint(2**31 - 1)))


def worker_ended(task: SearchTask, error: BaseException) -> GpubpError:
    """Return the error about a worker that ended during a task."""
    models = [parts.model for trial in task.trials if (parts := parts_of(trial.estimator))]
    sizes = sorted({str(model.hidden_layer_sizes) for model in models})
    return GpubpError(
        f"a worker of the executor ended during {len(task.trials)} fits{' of hidden_layer_sizes ' if sizes else ''}"
        f"{', '.join(sizes)} ({type(error).__name__}: {error}). Its log says why; often its memory was full. To fix "
        "it: give it more memory, start fewer workers on its machine, or train in this process with executor=None"
    )


# --- tasks ---


def make_tasks(trials: Sequence[Trial], n_workers: int) -> list[SearchTask]:
    """Divide trials into tasks; trials of one shape and split, which share their order, are consecutive."""
    sorted_trials = sorted(trials, key=lambda trial: (shape_key(trial.estimator), trial.split, trial.candidate))
    n_tasks = min(len(trials), n_workers * TASKS_PER_WORKER or -(-len(trials) // NETWORKS_PER_TASK))
    bounds = np.linspace(0, len(trials), n_tasks + 1).astype(int).tolist()
    return [SearchTask(sorted_trials[begin:end]) for begin, end in pairwise(bounds)]


def shape_key(estimator: Any) -> str:
    """Return a key that is equal for estimators that can be in one stack."""
    parts = parts_of(estimator)
    model = estimator if parts is None else parts.model
    return repr((type(model).__name__, [getattr(model, name, None) for name in SHAPE_PARAMETERS]))


def n_workers(executor: Any) -> int:
    """Return the number of tasks that an executor runs in parallel; 0 if it is unknown."""
    if hasattr(executor, "nthreads"):  # a Client of Dask
        return sum(executor.nthreads().values())
    return int(getattr(executor, "_max_workers", 0) or 0)


@contextmanager
def shared_with_workers(executor: Any, data: SharedData) -> Iterator[Any]:
    """Share data with all workers of an executor; yield the reference that tasks use instead."""
    if hasattr(executor, "scatter"):  # a Client of Dask
        yield executor.scatter([data], broadcast=True, hash=False)[0]
    elif any(kind.__name__ == "ProcessPoolExecutor" for kind in type(executor).__mro__):  # on this machine, loky's too
        with TemporaryDirectory(prefix="gpubp-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "data"
            joblib.dump(data, path)
            yield SharedFile(path)
    else:
        yield data
