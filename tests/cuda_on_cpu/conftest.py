"""Tests of CUDA on the CPU itself; they are collected only where the plugin has put it in CUDA's place."""

import sys

import pytest

IS_ACTIVE = "tests.cuda_on_cpu.plugin" in sys.modules

collect_ignore_glob = [] if IS_ACTIVE else ["*.py"]


@pytest.fixture
def faults():
    """For tests that make a kernel fail: on a GPU all work of the process would fail from then on."""
    import cupy

    from tests.cuda_on_cpu.activation import forget_fault

    yield
    forget_fault()
    cupy.cuda.Device().synchronize()


@pytest.fixture
def stream():
    """A stream that does not wait for the default one, and is the current one."""
    import cupy

    with cupy.cuda.Stream(non_blocking=True) as stream:
        yield stream
        if stream.is_capturing():  # in a test that failed
            stream.end_capture()
    cupy.cuda.Device().synchronize()


@pytest.fixture
def run_python(tmp_path):
    """A function that runs code in a process of its own, with variables of the environment; returns what it prints."""
    import os
    import subprocess

    def run(code, **environment):
        script = tmp_path / "script.py"
        script.write_text(f"from tests.cuda_on_cpu.activation import activate\nactivate()\n{code}")
        done = subprocess.run(
            [sys.executable, script],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
