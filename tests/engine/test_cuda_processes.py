"""Processes that take steps on CUDA devices together give the result of one, with the same bits in all."""

from dataclasses import replace

import numpy as np
import pytest

from gpubp.engine.cuda.epoch import cuda_epoch_runner
from gpubp.engine.cuda.processes import share_of_process
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.wrappers import clipped
from tests.cuda_machines import (
    N_SAMPLES,
    NETWORKS,
    SIZE,
    assert_same,
    dropout_of,
    emulated,
    needs_compiler,
    plain_way,
    run_epochs,
    samples,
)
from tests.threads_as_processes import results_of, run_on_ranks

pytestmark = [pytest.mark.once, needs_compiler]

NETWORK = Network((5, 7, 3), activation="tanh", loss="cross_entropy")
WORKLOADS = {
    "adam": ({}, {}, adam()),
    "weights and penalty": ({"l2": 0.3}, {"weighted": True}, None),
    "sum": ({"reduction": "sum", "l2": 0.3}, {"shuffled": False}, momentum(0.01, 0.9)),
    "full batch": ({}, {"size": N_SAMPLES, "shuffled": False}, None),
    "a last batch that some have no sample of": ({"l2": 0.3}, {"size": 11}, None),
    "one sample each": ({}, {"size": 3}, None),
    "stack": ({"l2": np.asarray([[0.0], [0.1], [1.0]])}, {"stack": 3, "size": 11}, None),
    "parts": ({"parts": 2}, {"weighted": True}, None),
    "clipped": ({"l2": 0.3}, {}, clipped(momentum(0.05, 0.9), 0.1)),
    "loss scaled": ({"l2": 0.3}, {}, loss_scaled(adam())),
    "dropout": ({}, {"dropout": Dropout(NETWORK.sizes[:-1], (0.2, 0.5), 12345), "size": 11}, None),
    "ties": ({"network": NETWORKS["ties"], "l2": 0.3}, {"weighted": True}, None),
    "members": ({"network": NETWORKS["TabM"]}, {"dropout": dropout_of(NETWORKS["TabM"], 0.2, 0.5)}, None),
}


def no_plain_way(model, batches):
    raise AssertionError("these steps must be compiled")


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", WORKLOADS)
def test_processes_give_the_result_of_one(name, size, dtype):
    objective, of_run, optimizer = WORKLOADS[name]
    objective, optimizer = Objective(**{"network": NETWORK} | objective), optimizer or momentum(0.05, 0.9)
    machine, network = emulated(), objective.network
    single = run_epochs(machine, plain_way(machine, objective, optimizer, dtype), network, optimizer, dtype, **of_run)

    def work(processes):
        device, shared = emulated(backwards=processes.rank == 1).device, replace(objective, processes=processes)
        way = cuda_epoch_runner(device, shared, optimizer, dtype, no_plain_way)
        ended = run_epochs(machine, way, network, optimizer, dtype, processes=processes, **of_run)
        return *ended, device.n_replays, processes.comm.sums

    *found, replays, sums = zip(*results_of(run_on_ranks(size, work)), strict=True)
    steps = 4 * -(-N_SAMPLES // of_run.get("size", SIZE))
    n_networks = of_run.get("stack", 1)
    assert min(replays) > 0
    assert sums == ([n_networks * (network.n_parameters + 2)] * steps,) * size  # one sum in a step, and no other
    for model, report in zip(*found, strict=True):
        assert_same([single, (model, report)])
        np.testing.assert_array_equal(model.theta, found[0][0].theta)
        np.testing.assert_array_equal(report.values, found[1][0].values)
        np.testing.assert_array_equal(report.weights, found[1][0].weights)


@pytest.mark.parametrize(
    ("size", "n_processes", "on_host"),
    [
        (2, 3, False),  # a process has no sample of any batch
        (8, 5, False),  # a process has one sample of the batches, and two of the last batch of seven
        (11, 2, True),  # samples on the host cannot be filled up
    ],
)
def test_otherwise_all_take_the_plain_way(size, n_processes, on_host):
    plain = []

    def work(processes):
        objective = Objective(NETWORK, processes=processes)
        way = cuda_epoch_runner(emulated().device, objective, adam(), "float64", lambda *_: plain.append(1))
        theta, data = initial_weights(NETWORK, 0, dtype="float64"), samples(NETWORK, "float64")
        batches = ArrayBatches(emulated().backend, data, size, processes=processes, on_host=on_host)
        way(ModelState(theta, adam().init(np, theta)), batches)

    results_of(run_on_ranks(n_processes, work))
    assert len(plain) == n_processes


@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("n_processes", [2, 3, 5])
def test_shares_are_those_of_the_plain_way(size, n_processes):
    def rows(processes):
        x = np.arange(N_SAMPLES, dtype="float64")[:, None]
        batches = ArrayBatches(emulated().backend, samples(NETWORK, "float64")._replace(x=x), size, processes=processes)
        return share_of_process(processes, N_SAMPLES, size, on_host=False), [batch.x[:, 0] for _, batch in batches]

    for share, expected in results_of(run_on_ranks(n_processes, rows)):
        if share is not None:
            np.testing.assert_array_equal(share.rows[: share.n_own], np.concatenate(expected))
            assert {len(batch) for batch in expected[:-1]} <= {share.size}
            assert len(share.starts) == len(expected) == -(-len(share.rows) // share.size)
