"""MPI processes: they give the result of a single process, and if one dies, all end with a message."""

import json
import re
import time

import numpy as np
import pytest

from gpubp import load_model, train
from gpubp.testing import assert_agree
from tests import mpi_program
from tests.mpi_launcher import PROGRAM, SECONDS_TO_END, ended, mpiexec, needs_mpi

pytestmark = [pytest.mark.slow, needs_mpi]


@pytest.mark.parametrize("size", [2, 3])
def test_mpi_processes_give_the_result_of_one(size):
    out, err, code = ended(mpiexec(size, *PROGRAM, "train", "cpu"))
    assert code == 0, err
    reported = json.loads(out)
    assert reported["size"] == size
    for dtype, (theta, hashes, callbacks) in reported["fits"].items():
        assert len(set(hashes)) == 1
        assert callbacks == [mpi_program.EPOCHS] + [0] * (size - 1)
        single = train(**mpi_program.problem(dtype))
        assert_agree(np.asarray(theta, dtype=dtype), single.theta, "steps")


@pytest.mark.parametrize(
    ("rank", "how", "words"),
    [
        (1, "kill", "process 1 of 3 on .* is gone: it was killed"),
        (0, "kill", "process 0 of 3 on .* is gone: it was killed"),
        (2, "raise", "process 2 of 3 on .* failed: ZeroDivisionError"),
        (1, "terminate", r"process 1 of 3 on .* received SIGTERM"),
    ],
)
def test_a_death_ends_all_with_a_message(rank, how, words):
    process = mpiexec(3, *PROGRAM, "die", str(rank), how, "cpu")
    out, err, code = ended(process)
    died = float(re.search(r"dies at ([\d.]+)", out)[1])
    assert code != 0
    assert re.search(f"gpubp: {words}", err), err
    assert "all 3 processes end" in err
    assert time.time() - died < SECONDS_TO_END


def test_the_command_trains_one_model(tmp_path):
    command = ("-m", "gpubp", "train", "iris", "--epochs", "5", "--no-picture", "--json")
    process = mpiexec(2, *command, environment={"GPUBP_COMPILED": "never"}, cwd=tmp_path)
    out, err, code = ended(process)
    assert code == 0, err
    json.loads(out)  # one, not two
    assert err.count("2 train together") == 1
    assert load_model(tmp_path / "iris.safetensors").about["training"]["epochs"] == 5
