"""Fits that run in several threads at once give the bits that they give alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

import gpubp
from tests.compiled_engine import needs_engine

pytestmark = [
    needs_engine,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def several_threads_of_blas(monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "always")
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def fit(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, 60))
    model = gpubp.MLPClassifier((50, 40), max_iter=8, random_state=seed, device="cpu", early_stopping=seed % 2 == 0)
    return model.fit(X, X[:, 0] > X[:, 1]).coefs_


def test_eight_fits():
    alone = [fit(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as executor:
        together = list(executor.map(fit, range(8)))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    threads = {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}
    assert threads == {2}


def test_blas_stays_limited_while_it_has_a_user():
    from gpubp.engine.cpu.threads import _threads_of_blas, blas_of_one_thread

    first, second = blas_of_one_thread(), blas_of_one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(_threads_of_blas()) == {1}
    second.__exit__(None, None, None)
    assert set(_threads_of_blas()) == {2}


@pytest.mark.parametrize(("n_hidden", "threads"), [(5, 1), (600, 2)])
def test_second_order_steps_of_few_parameters_take_one_thread_of_blas(n_hidden, threads, monkeypatch):
    from gpubp.engine import epoch
    from gpubp.engine.cpu.threads import _threads_of_blas

    seen, step = set(), epoch._step_by_step
    monkeypatch.setattr(epoch, "_step_by_step", lambda *given: (seen.update(_threads_of_blas()), step(*given))[1])
    network, X = gpubp.Network((2, n_hidden, 1)), np.random.default_rng(0).normal(size=(9, 2))
    gpubp.train(network, X, X[:, :1], optimizer=gpubp.lbfgs(), epochs=1, seed=0, device="cpu")
    assert seen == {threads}
