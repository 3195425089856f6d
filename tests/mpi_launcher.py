"""Processes that tests start with mpiexec."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
PROGRAM = ("-m", "tests.mpi_program")
SECONDS_TO_END = 10  # in which all must have ended after one has died

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None, reason="mpi4py or mpiexec is not installed"
)


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
        out, err = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return out, err, process.returncode
