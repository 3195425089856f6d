"""MPI processes: they give the result of a single process, and if one dies, all end with a message."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gpubp import load_model, train
from gpubp.testing import assert_agree
from tests import mpi_program

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        MPIEXEC is None or importlib.util.find_spec("mpi4py") is None, reason="mpi4py or mpiexec is not installed"
    ),
]

SECONDS = 10  # in which all must have ended after one has died


def mpiexec(n, *command, environment=(), **options):
    """Start processes; each leaves one core to one thread."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **dict(environment)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [MPIEXEC, "-n", str(n), sys.executable, *command]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def ended(process):
    """Return a run's output and its exit code."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return out, err, process.returncode


PROGRAM = ("-m", "tests.mpi_program")


@pytest.mark.parametrize("size", [2, 3])
def test_mpi_processes_give_the_result_of_one(size):
    out, err, code = ended(mpiexec(size, *PROGRAM, "train"))
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
    process = mpiexec(3, *PROGRAM, "die", str(rank), how)
    out, err, code = ended(process)
    died = float(re.search(r"dies at ([\d.]+)", out)[1])
    assert code != 0
    assert re.search(f"gpubp: {words}", err), err
    assert "all 3 processes end" in err
    assert time.time() - died < SECONDS


def test_the_command_trains_one_model(tmp_path):
    command = ("-m", "gpubp", "train", "iris", "--epochs", "5", "--no-picture", "--json")
    process = mpiexec(2, *command, environment={"GPUBP_COMPILED": "never"}, cwd=tmp_path)
    out, err, code = ended(process)
    assert code == 0, err
    json.loads(out)  # one, not two
    assert err.count("2 train together") == 1
    assert load_model(tmp_path / "iris.safetensors").about["training"]["epochs"] == 5
