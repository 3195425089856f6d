"""Two processes with a GPU each train like one; NCCL adds up their gradients. The GPUs may be emulated."""

import json
import re
import sys
import time

import numpy as np
import pytest

from gpubp import train
from gpubp.testing import assert_agree
from tests import mpi_program
from tests.mpi_launcher import PROGRAM, SECONDS_TO_END, ended, mpiexec, needs_mpi

pytestmark = [pytest.mark.slow, pytest.mark.on("cuda"), needs_mpi]

EMULATED = "tests.cuda_on_cpu.plugin" in sys.modules
only_emulated = pytest.mark.skipif(not EMULATED, reason="for emulated GPUs")
COUNTS = {  # of an epoch of five steps and its validation, in the first process
    True: {"collectives": 5, "graph_launches": 2, "synchronizations": 2, "uploads": 1, "downloads": 2},
    # the plain way: each step waits for the device, and copies the sum to the host and back
    False: {"collectives": 0, "graph_launches": 0, "synchronizations": 8, "uploads": 6, "downloads": 8},
}


@pytest.fixture
def run():
    """A function that runs the program in two processes, and returns its output, its messages and its exit code."""
    if EMULATED:
        emulated, environment = ("-m", "tests.cuda_on_cpu"), {"CUDA_ON_CPU_DEVICES": "2"}
    else:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("there is only one GPU")
        emulated, environment = (), {}

    def run(*arguments, **more):
        return ended(mpiexec(2, *emulated, *PROGRAM, *arguments, "cuda", environment=environment | more))

    return run


@pytest.fixture(scope="module")
def single():
    """The parameters of one process, by dtype."""
    return {dtype: train(**mpi_program.problem(dtype, "cuda")).theta for dtype in ("float64", "float32")}


def thetas(reported):
    return {dtype: np.asarray(theta, dtype) for dtype, (theta, _, _) in reported["fits"].items()}


@pytest.mark.parametrize("nccl", [True, pytest.param(False, marks=only_emulated)])
def test_two_processes_give_the_result_of_one(nccl, run, single):
    out, err, code = run("train", CUDA_ON_CPU_NCCL=str(int(nccl)))
    assert code == 0, err
    assert ("gradients go through the host" in err) == (not nccl)
    reported = json.loads(out)
    for dtype, theta in thetas(reported).items():
        assert_agree(theta, single[dtype], "steps")
        assert len(set(reported["fits"][dtype][1])) == 1  # the same bits
        if EMULATED:
            counts = {name: reported["counts"][dtype][name] for name in COUNTS[nccl]}
            assert counts == COUNTS[nccl]


@only_emulated
@pytest.mark.parametrize("fault", ["without_order", "of_a_copy"])
def test_planted_faults_change_the_result(fault, run, single):
    out, err, code = run(fault)
    assert code == 0, err
    for dtype, theta in thetas(json.loads(out)).items():
        with pytest.raises(AssertionError):
            assert_agree(theta, single[dtype], "steps")


@pytest.mark.parametrize(("rank", "how", "words"), [(1, "raise", "failed: ZeroDivisionError"), (0, "kill", "is gone")])
def test_a_death_ends_both_while_one_waits_for_a_sum(rank, how, words, run):
    out, err, code = run("die", str(rank), how)
    died = float(re.search(r"dies at ([\d.]+)", out)[1])
    assert code != 0
    assert re.search(f"gpubp: process {rank} of 2 on .* {words}", err), err
    assert time.time() - died < SECONDS_TO_END
