"""Searches over the workers of an executor give the results of this process."""

import os
import pickle
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import joblib
import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor as LokyExecutor
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from gpubp import BatchedHalvingSearchCV, BatchedSearchCV, MLPClassifier
from gpubp.errors import GpubpError
from gpubp.model_selection import _executors as spread
from gpubp.model_selection._executors import SharedData, SharedFile, make_tasks, shared_with_workers
from gpubp.model_selection._trials import Trial

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning"),
]

X, Y = load_iris(return_X_y=True)
WEIGHTS = np.random.default_rng(1).uniform(0.2, 2.0, len(Y))
MODEL = MLPClassifier((5,), batch_size=25, max_iter=5, random_state=0, device="cpu")
GRID = {"learning_rate_init": [1e-3, 0.03], "hidden_layer_sizes": [(4,), (5, 3)], "early_stopping": [False, True]}
FOLDS = KFold(3, shuffle=True, random_state=0)  # of 50 samples each
FINE = {"cv": FOLDS, "scoring": "neg_log_loss"}  # a score that shows every bit


def dask_client(**options):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(dashboard_address=":0", **options)
    return distributed.Client(cluster, set_as_default=False), cluster


@pytest.fixture(scope="module")
def dask_threads():
    client, cluster = dask_client(n_workers=1, threads_per_worker=2, processes=False)
    with cluster, client:
        yield client


def test_models_without_a_seed_get_one_each():
    """Workers that are forked all have the same generator of NumPy."""
    seeds = []

    class Recording(ThreadPoolExecutor):
        def submit(self, function, *given):
            seeds.extend(estimator.random_state for _, _, estimator in given[-1])
            return super().submit(function, *given)

    for _ in range(2):
        with Recording(2) as executor:
            check_random_state(None).seed(3)
            model = clone(MODEL).set_params(random_state=None)
            search = BatchedSearchCV(model, {"alpha": [0.1, 0.2]}, cv=3, executor=executor).fit(X, Y)
            assert search.best_params_.keys() == {"alpha"}
    assert len(set(seeds[:6])) == 6
    assert seeds[:6] == seeds[6:]


@pytest.fixture(scope="module")
def dask_processes():
    client, cluster = dask_client(n_workers=2, threads_per_worker=1)
    with cluster, client:
        yield client


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def loky():
    with LokyExecutor(1) as executor:
        yield executor


def assert_same(spread_out, here):
    assert spread_out.cv_results_.keys() == here.cv_results_.keys()
    for key, column in here.cv_results_.items():
        if "_time" not in key:
            np.testing.assert_array_equal(spread_out.cv_results_[key], column, err_msg=key)
    assert spread_out.best_index_ == here.best_index_
    assert spread_out.best_score_ == here.best_score_


ENGINES = ["threads", "loky", "dask_threads", pytest.param("dask_processes", marks=pytest.mark.once)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_workers_give_the_results_of_this_process(engine, request):
    executor = request.getfixturevalue(engine)
    here = BatchedSearchCV(MODEL, GRID, **FINE, return_train_score=True, refit=False).fit(X, Y)
    away = BatchedSearchCV(MODEL, GRID, **FINE, return_train_score=True, refit=False, executor=executor).fit(X, Y)
    assert_same(away, here)
    assert np.all(away.cv_results_["mean_fit_time"] > 0.0)


@pytest.mark.parametrize("engine", ["threads", "dask_threads"])
def test_halving(engine, request):
    grid, options = {"learning_rate_init": [1e-4, 1e-3, 0.01, 0.1]}, {"factor": 2, "max_resources": 8, **FINE}
    here = BatchedHalvingSearchCV(MODEL, grid, **options).fit(X, Y)
    away = BatchedHalvingSearchCV(MODEL, grid, **options, executor=request.getfixturevalue(engine)).fit(X, Y)
    assert_same(away, here)
    assert away.n_resources_ == [2, 4, 8]
    np.testing.assert_array_equal(away.best_estimator_.coefs_[0], here.best_estimator_.coefs_[0])


@pytest.mark.once
def test_pipelines_and_weights(dask_processes):
    pipeline = make_pipeline(StandardScaler(), MODEL)
    grid = {"standardscaler__with_std": [True, False], "mlpclassifier__alpha": [0.1, 1.0]}
    fit = {"mlpclassifier__sample_weight": WEIGHTS}
    here = BatchedSearchCV(pipeline, grid, **FINE).fit(X, Y, **fit)
    assert_same(BatchedSearchCV(pipeline, grid, **FINE, executor=dask_processes).fit(X, Y, **fit), here)


def test_workers_fit_models_that_cannot_be_stacked(threads):
    here = BatchedSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, **FINE).fit(X, Y)
    assert_same(BatchedSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, **FINE, executor=threads).fit(X, Y), here)


@pytest.mark.parametrize("engine", ["threads", "dask_threads"])
def test_failed_fits(engine, request):
    executor = request.getfixturevalue(engine)
    grid = {"solver": ["sgd"], "learning_rate_init": [0.01, 1e300]}
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        search = BatchedSearchCV(MODEL, grid, cv=3, executor=executor).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        BatchedSearchCV(MODEL, grid, cv=3, error_score="raise", executor=executor).fit(X, Y)


# --- the samples are sent once ---


def test_samples_are_scattered_once_and_not_in_the_tasks(dask_threads, monkeypatch):
    scattered, submitted, original = [], [], dask_threads.scatter
    monkeypatch.setattr(
        dask_threads, "scatter", lambda *given, **how: scattered.append(given) or original(*given, **how)
    )
    executor = dask_threads.get_executor(pure=False)
    submit = executor.submit
    monkeypatch.setattr(
        executor, "submit", lambda *given: submitted.append(len(pickle.dumps(given[2:]))) or submit(*given)
    )
    monkeypatch.setattr(dask_threads, "get_executor", lambda **options: executor)
    x = np.repeat(X, 20, axis=0)
    BatchedSearchCV(MODEL, GRID, cv=2, refit=False, executor=dask_threads).fit(x, np.repeat(Y, 20))
    assert len(scattered) == 1
    assert len(submitted) == 2 * spread.TASKS_PER_WORKER
    assert max(submitted) < x.nbytes / 10


def test_processes_read_the_samples_from_a_temporary_file(loky):
    common = SharedData(X, Y, {"sample_weight": WEIGHTS}, {0: (np.arange(9), np.arange(9, 12))})
    with shared_with_workers(loky, common) as shared:
        assert isinstance(shared, SharedFile)
        again = joblib.load(shared.path, mmap_mode="r")
        assert isinstance(again.X, np.memmap)
        np.testing.assert_array_equal(again.X, X)
    assert not shared.path.parent.exists()


class ProcessPoolExecutor:
    """A fake process pool, recognized by its name; it records where the samples were."""

    def submit(self, function, shared, *arguments):
        self.folder = shared.path.parent
        assert self.folder.exists()
        future = Future()
        future.set_result(function(shared, *arguments))
        return future


def test_a_search_leaves_no_file_behind():
    executor = ProcessPoolExecutor()
    BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=2, refit=False, executor=executor).fit(X, Y)
    assert not executor.folder.exists()
    with pytest.raises(ValueError, match="non-finite"):
        BatchedSearchCV(
            clone(MODEL).set_params(solver="sgd"),
            {"learning_rate_init": [1e300]},
            cv=2,
            error_score="raise",
            executor=executor,
        ).fit(X, Y)
    assert not executor.folder.exists()


def test_tasks_contain_every_trial_once_grouped_by_form():
    trials = [
        Trial(candidate, split, clone(MODEL).set_params(hidden_layer_sizes=width), None, None)
        for candidate, width in enumerate([(4,), (5,), (4,), (5,)])
        for split in range(3)
    ]
    tasks = make_tasks(trials, 1)
    assert [[(trial.candidate, trial.split) for trial in task.trials] for task in tasks] == [
        [(0, 0), (2, 0), (0, 1)],
        [(2, 1), (0, 2), (2, 2)],
        [(1, 0), (3, 0), (1, 1)],
        [(3, 1), (1, 2), (3, 2)],
    ]
    assert [len(task.trials) for task in make_tasks(trials, 100)] == [1] * 12
    assert [len(task.trials) for task in make_tasks(trials * 3, 0)] == [18, 18]  # it is unknown how many workers


# --- workers that end ---


def test_a_worker_that_dies_leaves_its_task_to_another(dask_processes, tmp_path):
    died = str(tmp_path / "died")

    def scorer(model, x, y):
        try:
            os.close(os.open(died, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return model.score(x, y)
        os._exit(1)

    grid = {"alpha": [0.1, 1.0, 10.0]}
    here = BatchedSearchCV(MODEL, grid, cv=FOLDS).fit(X, Y)
    away = BatchedSearchCV(MODEL, grid, cv=FOLDS, scoring=scorer, executor=dask_processes).fit(X, Y)
    assert os.path.exists(died)
    assert_same(away, here)


class Fails:
    """An executor whose first futures are of one kind, and the others done."""

    def __init__(self, n, fault=None):
        self.n, self.fault, self.handed_out = n, fault, 0

    def submit(self, function, *arguments):
        self.handed_out += 1
        future = Future()
        if self.handed_out > self.n:
            future.set_result(function(*arguments))
        elif self.fault is not None:
            future.set_exception(self.fault)
        else:
            future.cancel()
            future.set_running_or_notify_cancel()
        return future


def test_tasks_whose_samples_are_lost_are_handed_out_again():
    """As Dask cancels futures if the worker with the samples dies."""
    here = BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, **FINE).fit(X, Y)
    executor = Fails(spread.ATTEMPTS - 1)
    assert_same(BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, **FINE, executor=executor).fit(X, Y), here)
    assert executor.handed_out == spread.ATTEMPTS


def test_lost_samples_are_shared_again_once(monkeypatch):
    shared = []

    @contextmanager
    def counted(executor, common):
        shared.append(replace(common))
        yield shared[-1]

    monkeypatch.setattr(spread, "shared_with_workers", counted)
    executor = Fails(3)
    executor._max_workers = 1
    BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, cv=3, refit=False, executor=executor).fit(X, Y)
    assert executor.handed_out == spread.TASKS_PER_WORKER + 3
    assert len(shared) == 2


class KilledWorker(Exception):
    """A fake of Dask's exception, recognized by its name."""


@pytest.mark.parametrize("fault", [None, BrokenExecutor("a process died"), KilledWorker("after 4 attempts")])
def test_workers_that_keep_dying_give_a_clear_error(fault):
    search = BatchedSearchCV(MODEL, {"alpha": [0.1, 1.0]}, cv=2, executor=Fails(spread.ATTEMPTS, fault))
    with pytest.raises(GpubpError, match=r"a worker of the executor ended during 4 fits of hidden_layer_sizes \(5,\)"):
        search.fit(X, Y)
    with pytest.raises(ZeroDivisionError):  # an error that does not end a worker is raised unchanged
        search.set_params(executor=Fails(1, ZeroDivisionError())).fit(X, Y)


# --- manners ---


def test_callbacks_are_called_after_each_score(threads):
    reported = []
    search = BatchedSearchCV(MODEL, GRID, cv=FOLDS, callbacks=reported.append, executor=threads).fit(X, Y)
    assert [now.fits_done for now in reported] == list(range(3, 25, 3))
    assert {now.fits for now in reported} == {24}
    assert reported[-1].best_score == search.best_score_


@pytest.mark.once
def test_copies_share_the_executor_and_pickled_searches_have_none(threads):
    search = BatchedSearchCV(MODEL, {"alpha": [0.1]}, cv=2, executor=threads)
    assert clone(search).executor is threads
    assert clone(search).estimator is not search.estimator
    assert search.executor is threads
    assert pickle.loads(pickle.dumps(search.fit(X, Y))).executor is None
    with pytest.raises(ValueError, match=r"'executor' parameter .* must be an object implementing 'submit' or None"):
        BatchedSearchCV(MODEL, {"alpha": [0.1]}, executor="dask").fit(X, Y)


def test_scikit_learns_own_search_on_joblibs_backend(dask_threads):
    here = GridSearchCV(MODEL, {"alpha": [0.1, 1.0]}, **FINE).fit(X, Y)
    with joblib.parallel_config(backend="dask", client=dask_threads):
        away = GridSearchCV(MODEL, {"alpha": [0.1, 1.0]}, **FINE).fit(X, Y)
    assert_same(away, here)
