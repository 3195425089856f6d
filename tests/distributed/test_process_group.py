"""Several processes that train one network give the result of a single process, with the same bits in all of them."""

import re
import sys
import threading
import types
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

import gpubp
from gpubp import MLPClassifier, MLPRegressor, train
from gpubp.__main__ import main
from gpubp.backends.backend import Backend, choose_backend
from gpubp.backends.libraries import CUPY
from gpubp.cli import output
from gpubp.distributed import launch, mpi
from gpubp.distributed.process_group import SINGLE_PROCESS, sum_over_ranks
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import Objective, make_step
from gpubp.errors import CheckpointError, DataError, DeviceError, DivergenceWarning
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, gradient_descent, momentum
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.testing import assert_agree
from gpubp.training.checkpoints import Checkpoints, checkpoints_in
from tests.threads_as_processes import results_of, run_on_ranks

pytestmark = pytest.mark.once

NETWORK = Network((5, 7, 3), activation="tanh", loss="cross_entropy")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 5))
CLASSES = RNG.integers(3, size=53)
D = np.eye(3)[CLASSES]
WEIGHTS = RNG.uniform(size=53)
HELD_OUT = X[:20] + 0.1, D[:20]


def fits(size, network=NETWORK, x=X, targets=D, **options):
    """Return the fits of this many processes, and that of one."""
    options = {"epochs": 20, "batch_size": 11, "device": "cpu"} | options  # 100 steps
    together_ = results_of(
        run_on_ranks(size, lambda processes: train(network, x, targets, parallel=processes, **options))
    )
    return together_, train(network, x, targets, **options)


# --- the same as one process ---


@pytest.mark.parametrize(
    ("size", "dtype", "form"), [(2, "float64", "never"), (3, "float32", "auto"), (5, "float64", "auto")]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": momentum(0.1, 0.9), "sample_weight": WEIGHTS, "l2": 0.1},
        {"optimizer": gradient_descent(0.002), "reduction": "sum", "l2": 0.1, "shuffle": False},
        {"batch_size": "full", "epochs": 100, "optimizer": momentum(0.1, 0.9)},
        {"batch_size": 2, "epochs": 4},  # the shares of some are empty
        {
            "seed": (0, 1, 2),
            "optimizer": momentum(0.1, 0.9),
            "sample_weight": np.stack([WEIGHTS, WEIGHTS**2, 1.0 + WEIGHTS]),
        },
        {"dropout": (0.1, lambda epoch: 0.3 / (1 + epoch)), "seed": (0, 1), "optimizer": momentum(0.1, 0.9)},
    ],
    ids=["adam", "weights", "sum", "full", "tiny", "stack", "dropout"],
)
def test_several_processes_give_the_result_of_one(options, size, dtype, form, monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", form)
    results, single = fits(size, dtype=dtype, **options)
    assert_agree(results[0].theta, single.theta, "steps")
    np.testing.assert_allclose(results[0].history.loss, single.history.loss, rtol=1e-5 if dtype == "float32" else 1e-12)
    for one in results[1:]:
        np.testing.assert_array_equal(one.theta, results[0].theta)
        np.testing.assert_array_equal(one.history.loss, results[0].history.loss)


@pytest.mark.parametrize("optimizer", [lbfgs(), levenberg_marquardt()], ids=["lbfgs", "levenberg_marquardt"])
def test_methods_of_second_order(optimizer):
    network = Network((5, 4, 3), activation="tanh")
    results, single = fits(3, network, optimizer=optimizer, epochs=8, batch_size="auto", l2=0.1, sample_weight=WEIGHTS)
    assert_agree(results[0].theta, single.theta, "steps")
    np.testing.assert_allclose(results[0].history.loss, single.history.loss, rtol=1e-10)
    np.testing.assert_array_equal(results[2].theta, results[0].theta)


def test_float16_skips_the_same_updates():
    results, single = fits(2, dtype="float32", matmul_precision="float16", epochs=4)
    assert_agree(results[0].theta, single.theta, "steps float16")


def test_held_out_samples_end_all_at_the_same_epoch():
    options = {"validation_data": HELD_OUT, "patience": 3, "epochs": 300, "optimizer": adam(0.05)}
    options["scoring"] = lambda targets, y: float(np.mean(targets.argmax(1) == y.argmax(1)))
    results, single = fits(3, **options)
    assert {fit.stop_reason for fit in results} == {single.stop_reason} == {"patience"}
    assert {fit.best_epoch for fit in results} == {single.best_epoch}
    assert results[1].history.validation_score == single.history.validation_score
    assert_agree(results[2].theta, single.theta, "steps")


def test_stop_when_is_called_once_and_stops_all():
    requested = []

    def stop_when(targets, y):
        requested.append(1)
        return len(requested) == 4

    results = results_of(
        run_on_ranks(
            2, lambda processes: train(NETWORK, X, D, stop_when=stop_when, epochs=9, device="cpu", parallel=processes)
        )
    )
    assert [fit.stop_reason for fit in results] == ["solved", "solved"]
    assert [len(fit.history.loss) for fit in results] == [4, 4]


def test_networks_leave_a_stack_in_all_processes():
    x, targets = np.asarray([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.asarray([[0.0], [1], [1], [0]])
    network = Network((2, 4, 1), activation="tanh", output_activation="logistic")
    options = {"optimizer": momentum(0.5, 0.9), "stop_when": gpubp.all_correct, "seed": range(6), "batch_size": "full"}
    results, single = fits(2, network, x, targets, epochs=60, **options)
    np.testing.assert_array_equal(results[1].solved, single.solved)
    np.testing.assert_array_equal(results[1].best_epoch, single.best_epoch)
    assert single.solved.sum() > 0
    assert_agree(results[1].theta, single.theta, "steps")


def test_all_diverge_together_and_the_first_warns():
    def diverge(processes):
        network = Network((5, 7, 3))
        return train(network, X, D, optimizer=gradient_descent(1e300), device="cpu", parallel=processes)

    with pytest.warns(DivergenceWarning) as reported:
        results = results_of(run_on_ranks(2, diverge))
    assert len(reported) == 1
    assert [fit.stop_reason for fit in results] == ["diverged", "diverged"]


# --- the work of each process ---


def test_each_process_takes_its_share_of_each_batch():
    order = np.random.default_rng(1).permutation(53)
    samples = Batch(X, D, WEIGHTS)
    batches = list(ArrayBatches(choose_backend("cpu"), samples, 10, order))

    def shares(processes):
        return [batch for _, batch in ArrayBatches(choose_backend("cpu"), samples, 10, order, processes=processes)]

    batches_by_rank = results_of(run_on_ranks(4, shares))
    for parts, (_, batch) in zip(zip(*batches_by_rank, strict=True), batches, strict=True):
        assert max(len(part.x) for part in parts) - min(len(part.x) for part in parts) <= 1
        for k in range(3):
            np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), batch[k])


class Rows(np.ndarray):
    """Samples that record which of them are read."""

    read: set

    def take(self, indices, *args, **options):
        self.read.update(np.asarray(indices).tolist())
        return super().take(indices, *args, **options).view(np.ndarray)


def test_rows_of_other_processes_are_not_read():
    def read(processes):
        x = X.view(Rows)
        x.read = set()
        order = np.arange(53)[::-1]
        list(ArrayBatches(choose_backend("cpu"), Batch(x, D), 10, order, processes=processes))
        return x.read

    first, second = results_of(run_on_ranks(2, read))
    assert first | second == set(range(53))
    assert not first & second


def test_samples_can_be_mapped_from_a_file(tmp_path):
    for name, array in (("x", X), ("d", D)):
        np.save(tmp_path / f"{name}.npy", array)

    def work(processes):
        x, targets = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "d"))
        return train(NETWORK, x, targets, epochs=4, batch_size=11, device="cpu", parallel=processes).theta

    for theta in results_of(run_on_ranks(2, work)):
        assert_agree(theta, train(NETWORK, X, D, epochs=4, batch_size=11, device="cpu").theta, "steps")


def test_one_sum_per_step():
    def sums(processes):
        train(NETWORK, X, D, epochs=1, batch_size=11, device="cpu", parallel=processes)
        return processes.comm.sums

    expected = [NETWORK.n_parameters + 2] * 5 + [5, 5]  # five steps; then the epoch's sample weights and counts
    assert results_of(run_on_ranks(2, sums)) == [expected, expected]


def test_sums_keep_shapes():
    def work(processes):
        terms = np.full((2, 3), 1.0 + processes.rank), np.ones(2), 4.0
        return sum_over_ranks(np, processes, *terms)

    for matrix, row, number in results_of(run_on_ranks(3, work)):
        np.testing.assert_array_equal(matrix, np.full((2, 3), 6.0))
        np.testing.assert_array_equal(row, [3.0, 3.0])
        assert number == 12.0
    terms = (np.ones(2), 4.0)
    assert sum_over_ranks(np, SINGLE_PROCESS, *terms) == terms


def test_callbacks_are_called_only_in_the_first_process():
    calls = []

    def recorded(progress):
        calls.append(progress.epoch)
        return progress.epoch == 3

    def work(processes):
        callbacks = [recorded] if processes.rank == 0 else []
        return train(NETWORK, X, D, epochs=9, callbacks=callbacks, device="cpu", parallel=processes)

    results = results_of(run_on_ranks(3, work))
    assert calls == [1, 2, 3]
    assert [fit.stop_reason for fit in results] == ["callback"] * 3


def test_all_use_the_generator_of_the_first():
    def work(processes):
        generator = np.random.default_rng(processes.rank)
        return train(NETWORK, X, D, seed=generator, parallel=processes, **options).theta

    options = {"epochs": 2, "batch_size": 7, "device": "cpu"}
    single = train(NETWORK, X, D, seed=np.random.default_rng(0), **options).theta
    for theta in results_of(run_on_ranks(2, work)):
        assert_agree(theta, single, "steps")


# --- gradients of several batches in one change ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"sample_weight": WEIGHTS, "l2": 0.1}, {"reduction": "sum", "seed": (0, 1)}])
def test_accumulated_batches_are_one_batch(options, dtype):
    options = {"optimizer": momentum(0.01, 0.9), "epochs": 50, "device": "cpu", "dtype": dtype} | options
    large = train(NETWORK, X, D, batch_size=28, **options)
    small = train(NETWORK, X, D, batch_size=7, gradient_accumulation=4, **options)
    assert_agree(small.theta, large.theta, "steps")
    assert len(small.history.loss) == 50
    np.testing.assert_allclose(small.history.loss, large.history.loss, rtol=1e-4 if dtype == "float32" else 1e-10)


def test_accumulated_batches_pass_one_at_a_time(monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "never")  # of the engine see tests/engine/test_cpu.py
    passed, plain = [], gpubp.nn.passes.loss_and_gradient

    def recorded(xp, network, theta, x, *args, **options):
        passed.append(len(x))
        return plain(xp, network, theta, x, *args, **options)

    monkeypatch.setattr("gpubp.engine.plain.step.loss_and_gradient", recorded)
    train(NETWORK, X, D, batch_size=7, gradient_accumulation=4, epochs=1, shuffle=False, device="cpu")
    assert passed == [7, 7, 7, 7, 7, 7, 7, 4]


def test_accumulated_shares():
    results, single = fits(3, batch_size=4, gradient_accumulation=3)
    assert_agree(results[1].theta, single.theta, "steps")


@pytest.mark.parametrize("gradient_accumulation", [0, 1.5, "2"])
def test_gradient_accumulation_must_be_a_count(gradient_accumulation):
    with pytest.raises(DataError, match="gradient_accumulation must be a whole number of batches, at least 1"):
        train(NETWORK, X, D, gradient_accumulation=gradient_accumulation, device="cpu")


@pytest.mark.parametrize("options", [{"batch_size": "full"}, {"optimizer": lbfgs()}])
def test_a_full_batch_cannot_be_accumulated(options):
    with pytest.raises(DataError, match="with a full batch there is only one"):
        train(NETWORK, X, D, gradient_accumulation=2, device="cpu", **options)


def test_a_step_in_parts_is_a_step():
    step, in_parts = (
        make_step(choose_backend("cpu"), Objective(NETWORK, l2=0.1, parts=parts), gradient_descent(0.1), "float64")
        for parts in (1, 6)
    )
    theta = gpubp.initial_weights(NETWORK, 0, dtype="float64")
    batch = Batch(X, D, WEIGHTS)
    for expected, actual in zip(step(theta, (), batch, 0), in_parts(theta, (), batch, 0), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-13)


# --- checkpoints ---


@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 1), (1, 3)])
def test_training_resumes_in_another_number_of_processes(before, after, tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.training.checkpointed.OPERATIONS_PER_PART", 1.0)  # a checkpoint after each step
    checkpoints = Checkpoints(tmp_path, every_seconds=0)
    options = {
        "batch_size": 11,
        "device": "cpu",
        "optimizer": momentum(0.1, 0.9),
        "checkpoint": checkpoints,
        "resume": True,
    }
    options |= {"validation_data": HELD_OUT, "patience": 50}

    def train_some(processes, stop_at=None):
        def stop(progress):
            if progress.epoch == stop_at:
                raise ZeroDivisionError

        return train(NETWORK, X, D, epochs=20, callbacks=[stop], parallel=processes, **options)

    for error in run_on_ranks(before, lambda processes: train_some(processes, 7)):
        assert isinstance(error, ZeroDivisionError | threading.BrokenBarrierError)
    # it resumes in the middle of an epoch
    assert checkpoints_in(tmp_path)[-1].name == "checkpoint-00000006-00003.safetensors"
    results = results_of(run_on_ranks(after, train_some))
    single = train(NETWORK, X, D, epochs=20, **options | {"checkpoint": None, "resume": False})
    for fit in results:
        assert_agree(fit.theta, single.theta, "steps")
        np.testing.assert_allclose(fit.history.loss, single.history.loss, rtol=1e-12)
        np.testing.assert_array_equal(fit.theta, results[0].theta)


def test_checkpoints_of_another_training_are_refused_by_all(tmp_path):
    train(NETWORK, X, D, epochs=2, batch_size=11, device="cpu", checkpoint=tmp_path)
    options = {"epochs": 4, "batch_size": 12, "device": "cpu", "checkpoint": tmp_path, "resume": True}
    results = run_on_ranks(2, lambda processes: train(NETWORK, X, D, parallel=processes, **options))
    assert all(isinstance(error, CheckpointError) and "batch_size was 11, is 12" in str(error) for error in results)
    del options["resume"]
    first, second = run_on_ranks(2, lambda processes: train(NETWORK, X, D, parallel=processes, **options))
    assert isinstance(first, CheckpointError)
    assert "process 0 of 2 on host0 failed: CheckpointError" in str(second)


# --- validation ---


def test_an_error_of_one_is_raised_in_all():
    def work(processes):
        x = X.copy()
        x[30, 2] = np.nan
        train(NETWORK, x, D, device="cpu", parallel=processes)

    first, second, third = run_on_ranks(3, work)  # each checks its share of the rows
    assert type(first) is type(second) is type(third) is DataError
    assert "X holds nan at [30, 2]" in str(second)
    assert str(first) == str(third) == f"process 1 of 3 on host0 failed: DataError: {second}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([{"epochs": 5}, {"epochs": 6}], "epochs is 5 in process 0 and 6 in process 1"),
        ([{"dropout": 0.1}, {}], r"dropout is \[0.0, 0.1\] in process 0 and \[\] in process 1"),
        ([{"network": replace(NETWORK, n_members=n)} for n in (2, 3)], r"the network is .*, 2, .* and .*, 3, "),
    ],
    ids=["epochs", "dropout", "members"],
)
def test_processes_must_train_the_same(options, words):
    def work(processes):
        arguments = {"network": NETWORK, "X": X, "targets": D, "epochs": 5, "device": "cpu"} | options[processes.rank]
        train(**arguments, parallel=processes)

    results = run_on_ranks(2, work)
    assert all(isinstance(error, DataError) for error in results)
    assert re.search(words, str(results[1]))


def test_unknown_values_of_parallel_are_refused():
    with pytest.raises(DataError, match="mpi"):
        train(NETWORK, X, D, parallel="npi", device="cpu")


def test_without_mpi4py_the_fix_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    mpi.mpi_process_group.cache_clear()
    with pytest.raises(DataError, match="pip install mpi4py"):
        train(NETWORK, X, D, parallel="mpi", device="cpu")


@pytest.mark.parametrize("launcher", [("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")])
def test_separate_training_is_warned_of_once(monkeypatch, caplog, launcher):
    monkeypatch.setattr(launch, "_warned", [])
    for name, value in zip(launcher, ("0", "4"), strict=True):
        monkeypatch.setenv(name, value)
    for _ in range(2):
        assert launch.process_group_for(None) is SINGLE_PROCESS
    assert caplog.messages == [
        "mpiexec has started 4 processes, and each trains separately; with parallel='mpi' they train one network"
    ]
    monkeypatch.setenv(launcher[0], "1")
    monkeypatch.setattr(launch, "_warned", [])
    launch.process_group_for(None)
    assert len(caplog.messages) == 1


def test_a_different_mpi_than_the_launchers_is_reported(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setattr(mpi, "mpi_process_group", lambda: SINGLE_PROCESS)
    with pytest.raises(DataError, match="different MPI implementations"):
        launch.process_group_for("mpi")


# --- fake GPUs ---


class FakeGpuArray:
    """The parts of a CuPy array that a sum uses."""

    def __init__(self, host):
        self.host = host


@pytest.fixture
def fake_nccl(monkeypatch):
    """A fake CuPy with NCCL, whose communicators record their arguments and sum on the host."""
    made = []

    class NCCLBackend:
        def __init__(self, n_devices, rank, use_mpi):
            made.append((n_devices, rank, use_mpi))

        def all_reduce(self, in_array, out_array):
            assert in_array is out_array
            out_array.host += 1.0

    cupy = types.ModuleType("cupy")
    cupy.cuda = types.ModuleType("cupy.cuda")
    cupy.cuda.nccl = types.ModuleType("cupy.cuda.nccl")
    cupy.cuda.nccl.available = True
    distributed = types.ModuleType("cupyx.distributed")
    distributed.NCCLBackend = NCCLBackend
    modules = {"cupy": cupy, "cupy.cuda": cupy.cuda, "cupy.cuda.nccl": cupy.cuda.nccl}
    for name, module in (modules | {"cupyx": types.ModuleType("cupyx"), "cupyx.distributed": distributed}).items():
        monkeypatch.setitem(sys.modules, name, module)
    is_cupy = mpi.array_api_compat.is_cupy_array
    monkeypatch.setattr(
        mpi.array_api_compat, "is_cupy_array", lambda array: isinstance(array, FakeGpuArray) or is_cupy(array)
    )
    return types.SimpleNamespace(made=made, nccl=cupy.cuda.nccl)


def test_arrays_on_gpus_are_summed_by_nccl(fake_nccl):
    def work(processes):
        array = FakeGpuArray(np.zeros(3))
        assert processes.all_reduce(array) is array
        processes.all_reduce(array)
        return array.host, processes.comm.sums

    for host, sums_on_host in results_of(run_on_ranks(2, work)):
        np.testing.assert_array_equal(host, [2.0, 2.0, 2.0])
        assert sums_on_host == []
    assert sorted(fake_nccl.made) == [(2, 0, True), (2, 1, True)]  # once each


@pytest.mark.parametrize("version", ["12", "13"])
def test_without_nccl_sums_go_through_the_host(fake_nccl, caplog, monkeypatch, version):
    fake_nccl.nccl.available = False
    monkeypatch.setattr(mpi, "cuda_of_cupy", lambda: f"cuda{version}")
    monkeypatch.setattr(mpi, "to_numpy", lambda array: array.host)
    xp = types.SimpleNamespace(asarray=lambda host, device: FakeGpuArray(host))
    monkeypatch.setattr(mpi.array_api_compat, "array_namespace", lambda array: xp)
    monkeypatch.setattr(mpi.array_api_compat, "device", lambda array: "gpu")
    for total in results_of(run_on_ranks(2, lambda processes: processes.all_reduce(FakeGpuArray(np.ones(3))))):
        np.testing.assert_array_equal(total.host, [2.0, 2.0, 2.0])
    assert "gradients go through the host" in caplog.text
    assert f"To fix it: pip install -U nvidia-nccl-cu{version}" in caplog.text


GPU_0 = Backend(None, None, "cuda:0", CUPY)


@pytest.fixture
def gpus(monkeypatch):
    """Machines with two GPUs each."""
    monkeypatch.setattr(mpi, "_gpus", lambda: 2)
    monkeypatch.setattr(mpi, "_unique_name", lambda backend: backend.name)
    monkeypatch.setattr(mpi, "choose_backend", lambda device: Backend(None, device, device, CUPY))


def test_each_process_of_a_machine_has_its_own_gpu(gpus):
    def work(processes):
        return processes.assign_gpu(GPU_0, "auto").name

    assert results_of(run_on_ranks(4, work)) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]  # on two machines


def test_a_gpu_for_two_is_refused(gpus):
    results = run_on_ranks(2, lambda processes: processes.assign_gpu(Backend(None, None, "cuda:1", CUPY), "cuda:1"))
    assert all(isinstance(error, DeviceError) for error in results)
    assert "process 0 of 2 on host0 and process 1 of 2 on host0 have the same GPU" in str(results[0])


def test_a_gpu_for_some_is_refused(gpus):
    def work(processes):
        processes.assign_gpu(GPU_0 if processes.rank == 0 else choose_backend("cpu"), "auto")

    results = run_on_ranks(2, work)
    assert all("process 0 of 2 on host0 computes on GPU and process 1 of 2 on host0 on cpu" in str(e) for e in results)


def test_other_libraries_sum_through_the_host():
    strict = pytest.importorskip("array_api_strict")

    def work(processes):
        return processes.all_reduce(strict.asarray([1.0, 2.0]))

    for total in results_of(run_on_ranks(2, work)):
        assert total.tolist() if hasattr(total, "tolist") else [float(n) for n in total] == [2.0, 4.0]
    options = {"epochs": 3, "batch_size": 11, "device": "array_api_strict:device1"}
    fits = results_of(run_on_ranks(2, lambda processes: train(NETWORK, X, D, parallel=processes, **options)))
    assert_agree(fits[0].theta, train(NETWORK, X, D, **(options | {"device": "cpu"})).theta, "steps")


# --- estimators ---


ESTIMATORS = {
    "adam": MLPClassifier(),
    "dropout": MLPClassifier(dropout=0.3, batch_size=10),
    "sparse": MLPClassifier(solver="momentum", batch_size=7),
    "lbfgs": MLPClassifier(solver="lbfgs", max_iter=6),
    "lbfgs of sparse": MLPClassifier(solver="lbfgs", max_iter=6),
    "early": MLPClassifier(early_stopping=True, n_iter_no_change=3, max_iter=60, learning_rate_init=0.03),
    "adaptive": MLPClassifier(solver="sgd", learning_rate="adaptive", tol=0.05, n_iter_no_change=2, max_iter=60),
    "restarts": MLPClassifier(n_restarts=2, early_stopping=True),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_fit_the_same(name):
    x = scipy.sparse.csr_matrix(X) if "sparse" in name else X
    common = {"hidden_layer_sizes": (6,), "random_state": 0, "device": "cpu"}
    model = ESTIMATORS[name].set_params(**common, **({"max_iter": 10} if ESTIMATORS[name].max_iter == 200 else {}))
    weights = None if name == "restarts" else WEIGHTS

    def work(processes):
        return MLPClassifier(**model.get_params() | {"parallel": processes}).fit(x, CLASSES, weights)

    models, single = results_of(run_on_ranks(3, work)), model.fit(x, CLASSES, weights)
    for one in models:
        assert one.n_iter_ == single.n_iter_
        assert one.stop_reason_ == single.stop_reason_
        np.testing.assert_allclose(one.loss_curve_, single.loss_curve_, rtol=1e-9)
        for actual, expected, first in zip(one.coefs_, single.coefs_, models[0].coefs_, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(actual, first)


def test_all_use_the_random_numbers_of_the_first(capsys):
    def work(processes):
        model = MLPRegressor(
            hidden_layer_sizes=(4,), max_iter=3, parallel=processes, device="cpu", verbose=True, tol=1.0
        )
        return model.fit(X, D).coefs_[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        first, second = results_of(run_on_ranks(2, work))
    np.testing.assert_array_equal(first, second)
    assert capsys.readouterr().out.count("Iteration 1,") == 1


def test_max_time_ends_all_together(monkeypatch):
    calls = []

    def work(processes):
        options = {"max_time": 1e-9 if processes.rank == 0 else 1e9, "callbacks": calls.append}
        return MLPRegressor(hidden_layer_sizes=(4,), parallel=processes, device="cpu", **options).fit(X, D)

    with pytest.warns(ConvergenceWarning, match="Maximum time") as reported:
        results = results_of(run_on_ranks(2, work))
    assert [model.stop_reason_ for model in results] == ["time", "time"]
    assert [progress.epoch for progress in calls] == [1]
    assert len(reported) == 1


def test_parallel_is_a_parameter():
    assert MLPClassifier().get_params()["parallel"] is None
    assert MLPRegressor(parallel="mpi").get_params()["parallel"] == "mpi"
    with pytest.raises(ValueError, match="parallel"):
        MLPClassifier(parallel="npi").fit(X, CLASSES)


# --- the command ---


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "m.safetensors", "iris"], "start gpubp predict without mpiexec"),
        (["train", "iris", "--parallel", "none"], "each would write the same file"),
        (["train", "iris", "--parallel", "some"], "known: auto, mpi, none"),
    ],
)
def test_the_command_makes_no_copies(arguments, words, rank, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMI_RANK", rank)
    monkeypatch.setenv("PMI_SIZE", "2")
    for to in (output.console, output.notes):
        monkeypatch.setattr(to, "quiet", False)
    assert main(arguments) == 2
    reported = capsys.readouterr()
    assert reported.out == ""
    if rank == "0":
        assert words in " ".join(reported.err.split())
    else:
        assert reported.err == ""
    assert list(tmp_path.iterdir()) == []
