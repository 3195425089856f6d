"""Threads that run the compiled engine together."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gpubp.backends.backend import choose_backend
from gpubp.engine import cpu, prediction
from gpubp.engine.cpu import outputs as engine_outputs
from gpubp.engine.cpu import thread_choice, threads, workplace
from gpubp.engine.cpu.epoch import engine_epoch_runner
from gpubp.engine.cpu.structures import functions_of
from gpubp.engine.cpu.thread_choice import ThreadChoice
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.nn.passes import output_layer
from gpubp.optim.first_order import momentum
from gpubp.testing import assert_agree

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")]

BACKEND, NETWORK, OPTIMIZER = choose_backend("cpu"), Network((3, 8, 7, 2), activation="tanh"), momentum()


@pytest.fixture
def train(monkeypatch):
    """Train for some epochs on so many threads, each of which calls ``before(thread)`` first; return the parameters.

    With ``n_networks`` a stack is trained.
    """
    make = threads.Crew
    rng = np.random.default_rng(0)
    data = Batch(rng.normal(size=(40, 3)), rng.normal(size=(40, 2)))
    monkeypatch.setattr(workplace, "WORTH_A_THREAD", 1.0)
    monkeypatch.setattr(workplace, "UNITS_OF_A_SHARE", 1)

    class Training:
        def __init__(self, n_threads, before=lambda thread: None, n_networks=None):
            def crew(n, work, ask):
                return make(n, lambda mailbox, thread: (before(thread), work(mailbox, thread)), ask)

            monkeypatch.setattr(workplace, "threads_allowed", lambda: n_threads)
            monkeypatch.setattr(workplace, "Crew", crew)
            self.run_epoch = engine_epoch_runner(Objective(NETWORK), OPTIMIZER, "float64", None)
            theta = initial_weights(NETWORK, 0 if n_networks is None else range(n_networks), dtype="float64")
            self.model = ModelState(theta, OPTIMIZER.init(np, theta))

        def __call__(self, epochs=1):
            for _ in range(epochs):
                self.run_epoch(self.model, ArrayBatches(BACKEND, data, 4))
            return self.model.theta

    return Training


def crew(n_threads, work):
    return threads.Crew(n_threads, work, functions_of("float64").ask)


@pytest.mark.parametrize("n_threads", [2, 4, 6])
def test_many_short_steps(train, n_threads):
    np.testing.assert_allclose(train(n_threads)(30), train(1)(30), rtol=1e-9)


@pytest.mark.parametrize(
    ("n_units", "stack", "pay", "expected"),
    [
        ((32,), (), 9.0, 4),
        ((31,), (), 9.0, 3),  # at least 8 units each
        ((32, 17), (), 9.0, 2),
        ((32,), (), 3.5, 3),
        ((32,), (), 0.5, 1),
        ((3,), (), 9.0, 1),
        ((), (), 9.0, 1),
        ((3,), (3,), 9.0, 3),
        ((3,), (3,), 0.7, 2),
        ((3,), (9,), 9.0, 4),
    ],
)
def test_how_many_pay(monkeypatch, n_units, stack, pay, expected):
    """As many as are allowed, have enough operations each, and units or networks."""
    network, size = Network((5, *n_units, 2)), 10
    monkeypatch.setattr(workplace, "threads_allowed", lambda: 4)
    monkeypatch.setattr(workplace, "WORTH_A_THREAD", 6.0 * size * network.n_parameters / pay)
    assert workplace.threads_that_pay(network, size, stack) == expected


@pytest.mark.parametrize(("n_samples", "allowed", "expected"), [(256, 4, 1), (257, 4, 2), (2000, 4, 4), (2000, 1, 1)])
def test_outputs_are_computed_by_as_many_as_have_a_part(monkeypatch, n_samples, allowed, expected):
    made, make = [], threads.Crew
    monkeypatch.setattr(engine_outputs, "threads_allowed", lambda: allowed)
    monkeypatch.setattr(
        engine_outputs, "Crew", lambda n_threads, *given: made.append(n_threads) or make(n_threads, *given)
    )
    engine_outputs.engine_outputs(NETWORK, initial_weights(NETWORK, 0, dtype="float64"), np.zeros((n_samples, 3)))
    assert made == [expected]


def test_waits_are_in_seconds():
    two = crew(2, lambda mailbox, thread: None)
    two.mailbox[threads.WAITED :: threads.PLACE] = 0, 1_500_000_000
    np.testing.assert_allclose(two.waits(), [0.0, 1.5])


def test_threads_keep_their_own_arithmetic(train, monkeypatch):
    """Subnormal numbers are 0 in a step alone."""
    take_part, halves, crews = threads.Crew._take_part, {}, []

    def taken_part(crew, mailbox, thread):
        crews.append(crew)
        take_part(crew, mailbox, thread)
        halves[thread] = float(np.finfo(np.float64).smallest_normal * np.float64(0.5))

    monkeypatch.setattr(threads.Crew, "_take_part", taken_part)
    train(2)()
    crews[0].others.shutdown()
    assert sorted(halves) == [0, 1]
    assert min(halves.values()) > 0.0


def test_are_requested_again_while_they_wait_and_when_they_have_left(train, monkeypatch):
    monkeypatch.setattr(ThreadChoice, "note", lambda *given: None)  # both, whatever else the machine does
    starts, running = [], []
    training = train(2, starts.append)
    for when_it_has_left in (False, False, True, True, False):
        theta = training()
        crew = training.run_epoch.place.crew
        while when_it_has_left and not all(other.done() for other in crew.running):
            time.sleep(0.01)
        running.append(len(crew.running))
    assert running[3] == 1  # those that have left are forgotten
    np.testing.assert_array_equal(theta, train(2)(5))
    assert 3 <= starts.count(1) < starts.count(0)  # it waits through the short pauses


@pytest.mark.parametrize("n_networks", [None, 5])
@pytest.mark.parametrize("numbers", [(1,), (2, 1, 3), (3, 2, 1, 1, 3)])
def test_how_many_do_the_work_may_change_at_any_time_and_changes_no_bit(train, monkeypatch, numbers, n_networks):
    expected, training, given = train(3, n_networks=n_networks)(8), train(3, n_networks=n_networks), []

    def change(choice, *_):
        given.append(choice.n_threads)
        choice.n_threads, choice.seconds = numbers[len(given) % len(numbers)], 1e-9  # as few steps in a call as can be

    monkeypatch.setattr(ThreadChoice, "note", change)
    np.testing.assert_array_equal(training(8), expected)
    assert set(given) >= set(numbers)


# --- how many do the work ---


def choose(choice, pace, seconds=0.01, times=10, at_work=None):
    """Note steps many times, ``pace(n_threads)`` in a second; return which numbers were chosen, without repetitions.

    Threads are at work for ``at_work(n_threads)``; as many as their pace if it is not given.
    """
    chosen = [choice.n_threads]
    for _ in range(times):
        n_threads = choice.n_threads
        choice.note(pace(n_threads) * seconds, seconds, (at_work or pace)(n_threads))
        chosen += [choice.n_threads] * (choice.n_threads != chosen[-1])
    return chosen


def test_all_go_on_while_they_wait_little():
    assert choose(ThreadChoice(4), lambda n: 0.8 * n, times=1000) == [4]


@pytest.mark.parametrize(("most", "chosen"), [(1, [1]), (2, [2, 1]), (3, [3]), (8, [8, 4, 2, 1])])
def test_fewer_go_on_if_they_wait_as_long_as_fewer_would_take(most, chosen):
    pace, at_work = (lambda n: 1.5 if n == 3 else 1.0), (lambda n: n / 2 if n > 1 else 1.0)
    assert choose(ThreadChoice(most), pace, times=45, at_work=at_work)[: len(chosen)] == chosen


def test_all_go_on_if_they_take_more_steps_however_long_they_wait():
    choice = ThreadChoice(2)
    tried = choose(choice, lambda n: 1.5 if n == 2 else 1.0, times=1000, at_work=lambda n: n / 2)
    assert tried == [2, 1] * (len(tried) // 2) + [2]
    assert 2 < len(tried) < 16  # tried again after longer and longer


def test_a_first_call_that_is_slow_costs_a_short_rest_only():
    choice = ThreadChoice(2)
    choice.note(0.01, 0.04, 0.5)  # memory is fetched for the first time
    assert choose(choice, lambda n: 0.8 * n, times=20) == [1, 2]


def test_more_are_tried_again_soon_after_a_moment_in_which_a_core_was_busy():
    choice, seconds, paces = ThreadChoice(2), 0.0, {1: 1.0, 2: 0.5}
    while choice.n_threads == 2:
        choice.note(paces[2] * choice.seconds, choice.seconds, 0.9)
    while choice.n_threads == 1:
        seconds += choice.seconds
        choice.note(paces[1] * choice.seconds, choice.seconds, 1.0)
    assert seconds <= 2 * thread_choice.SECONDS_OF_A_TRIAL + thread_choice.FIRST_REST


def test_fewer_are_tried_soon_when_steps_become_slow():
    choice = ThreadChoice(2)
    choose(choice, lambda n: 1.5 if n == 2 else 1.0, times=1000, at_work=lambda n: n / 2)  # the rest is long now
    choose(choice, lambda n: 1.0, times=12, at_work=lambda n: n / 2)
    assert choice.n_threads == 1


def test_pace_is_that_of_a_second():
    choice = ThreadChoice(2)
    for n_threads, seconds in ((2, 1.0), (1, thread_choice.SECONDS_OF_A_TRIAL)):
        assert choice.n_threads == n_threads
        choice.note(seconds, seconds, 1.0)  # a step in a second
    assert choice.n_threads == 1  # as fast as two


def test_one_slow_call_changes_nothing_if_it_is_short():
    choice = ThreadChoice(2)
    assert choose(choice, lambda n: 0.5 if n == 2 else 1.0, thread_choice.SECONDS_OF_A_TRIAL / 4, times=1) == [2]
    assert choose(choice, lambda n: 2.0, times=100) == [2]


def test_more_are_tried_again_after_longer_and_longer_and_kept_once_they_take_more_steps():
    choice, once = ThreadChoice(2), {"seconds": thread_choice.SECONDS_OF_A_TRIAL, "times": 1}
    trials = [k for k in range(300) if choose(choice, lambda n: n / 2 if n > 1 else 1.0, **once) == [1, 2]]
    rests = np.diff(trials)
    assert len(rests) > 4
    assert np.all(rests[1:] > 1.5 * rests[:-1])
    assert choose(choice, lambda n: n, seconds=0.1, times=200) == [1, 2]
    assert choose(choice, lambda n: n / 2 if n > 1 else 1.0, times=30)[:3] == [2, 1, 2]  # the first rest is short again


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_do_not_wait_for_one_that_fails_and_can_be_requested_again(train, failing, error):
    fails = [True]

    def may_fail(thread):
        if thread == failing and fails[0]:
            raise error

    training = train(3, may_fail)
    for _ in range(2):
        with pytest.raises(error):
            training()
    fails[0] = False
    assert np.all(np.isfinite(training()))


@pytest.mark.skipif(
    threads._core is None or threads.cores() < 2, reason="one core, or no way to choose one, on this system"
)
@pytest.mark.parametrize("fails", [False, True])
def test_caller_and_others_have_cores_of_their_own(fails):
    allowed, seen, both = os.sched_getaffinity(0), {}, threading.Barrier(2)

    def look(mailbox, thread):
        both.wait(10)  # the caller has its core by now, and so has the other
        seen[thread] = os.sched_getaffinity(0)
        both.wait(10)
        if fails and thread == 0:
            raise MemoryError

    with pytest.raises(MemoryError) if fails else contextlib.nullcontext():
        crew(2, look).run()
    assert len(seen[0]) == 1
    assert seen[1] == allowed - seen[0]
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to choose a core on this system")
def test_threads_stay_where_moving_is_forbidden(train, monkeypatch):
    def forbidden(thread, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert np.all(np.isfinite(train(2)()))


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)  # also of a process that may use one
    with threadpool_limits(2, "blas"):
        yield


@pytest.mark.usefixtures("two_threads")
def test_blas_is_given_back_by_crews_that_overlap():
    before = threads._threads_of_blas()
    inside, may_end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(crew(1, lambda *_: (inside.set(), may_end.wait(10))).run)
        assert inside.wait(10)
        crew(1, lambda *_: (may_end.set(), waiting.result(10))).run()
    assert threads._threads_of_blas() == before
    assert threads.threads_allowed() == min(max(before), threads.cores())


@pytest.mark.usefixtures("two_threads")
def test_blas_is_kept_to_one_thread_and_given_back():
    def threads_of_blas():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before, seen = threads_of_blas(), []
    crew(1, lambda *_: seen.append(threads_of_blas())).run()
    assert set(before) == {2}
    assert set(seen[0]) == {1}
    assert threads_of_blas() == before


@pytest.mark.usefixtures("two_threads")
def test_members_are_predicted_by_threads():
    network, sizes = Network((6, 64, 2), n_members=32), []
    x = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    theta = initial_weights(network, 0)

    def counted(xp, network, theta, x):
        sizes.append(len(x))
        return output_layer(xp, network, theta, x)

    operations = 2.0 * 128 * 32 * network.n_parameters
    with patch.object(prediction, "output_layer", counted), patch.object(prediction, "WORTH_THREADS", operations):
        layer = prediction.last_layer(choose_backend("cpu"), network, theta, x)
    assert sizes == [16] * 8
    assert_agree(layer.y, output_layer(np, network, theta, x).y, "forward")


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("worth_threads", [np.inf, 0.0], ids=["small", "large"])
@pytest.mark.parametrize("x", [np.ones((1100, 6), np.float32), np.ones((3, 20, 6), np.float32)], ids=["shared", "own"])
@pytest.mark.parametrize("stack", [(), (3,), (35,)])
def test_predictions_in_array_calls_take_one_thread_of_blas(stack, x, worth_threads):
    """The others would keep their cores busy: validation took 40 times as long as training beside a busy process."""
    network, rng = Network((6, 4, 2)), np.random.default_rng(0)
    if x.ndim == 3:
        x = np.resize(x, (*stack, 20, 6))
    x = x * rng.normal(size=x.shape).astype(np.float32)
    theta = rng.normal(size=(*stack, network.n_parameters)).astype(np.float32)
    is_divided = worth_threads == 0.0 and (bool(stack) or len(x) > 512)
    during, names, together = [], set(), threading.Barrier(2 if is_divided else 1)

    def counted(*arguments):
        during.append(threads._threads_of_blas())
        if len(during) <= together.parties:
            together.wait(60)
        names.add(threading.current_thread().name)
        return output_layer(*arguments)

    before = threads._threads_of_blas()
    with patch.object(prediction, "output_layer", counted), patch.object(prediction, "WORTH_THREADS", worth_threads):
        layer = prediction.last_layer(choose_backend("cpu"), network, theta, x)
    for found, expected in zip(layer, output_layer(np, network, theta, x), strict=True):
        assert_agree(found, expected, "forward")
    assert len(names) == together.parties
    assert (len(during) > 1) == is_divided
    assert during == [[1] * len(before)] * len(during)
    assert threads._threads_of_blas() == before
