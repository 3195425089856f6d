"""NCCL on the CPU, by CuPy in two processes with a device each."""

import json

import pytest

from tests.mpi_launcher import ended, mpiexec

pytestmark = pytest.mark.xdist_group("nccl")

DEVICES = {"CUDA_ON_CPU_DEVICES": "2"}


@pytest.fixture(scope="module")
def found():
    program = ("-m", "tests.cuda_on_cpu", "-m", "tests.cuda_on_cpu.nccl_program")
    out, err, code = ended(mpiexec(2, *program, environment=DEVICES))
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sums", [True] * 4),
        ("copies", [2.0] * 5),
        ("a wait", [3.0] * 3),
        ("while the host is busy", [3.0] * 3),
    ],
)
def test_what_both_processes_compute(found, name, expected):
    assert [one[name] for one in found] == [expected] * 2


def test_a_graph_with_a_collective(found):
    nodes_and_collectives = 2, 2  # of two launches: 1 + 2, and 3 + 3
    assert [one["in a graph"] for one in found] == [
        [[[rank + 1.0] * 3, [6.0] * 3], *nodes_and_collectives]
        for rank in range(2)  # nothing runs in the capture
    ]


def test_a_missing_wait(found):
    assert [one["a missing wait"] for one in found] == [[1.0] * 3, [2.0] * 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("different collectives", "cudaErrorLaunchFailure"),
        ("beyond an array", "cudaErrorIllegalAddress"),
        ("a stream of another device", "INVALID_ARGUMENT"),
        ("two on one device", "INVALID_USAGE"),
    ],
)
def test_faults_are_errors_in_both(found, name, message):
    for one in found:
        assert message in one[name]
