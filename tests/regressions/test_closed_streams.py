"""Closed standard streams, and files that may not grow: the command ends in one line, or works."""

import os
import resource
import signal
import subprocess
import sys

import pytest

TRAIN = [sys.executable, "-m", "gpubp", "train", "digits", "--epochs", "2", "--no-picture"]
ENVIRONMENT = os.environ | {"GPUBP_COMPILED": "never"}
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="POSIX file descriptors and limits"), pytest.mark.once]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
def test_closed_streams(folder, closed):
    """Output that cannot go anywhere is discarded, and the model is written."""

    def close():
        for number in closed:
            os.close(number)

    result = subprocess.run(TRAIN, preexec_fn=close, capture_output=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 0
    assert b"Traceback" not in result.stdout + result.stderr
    assert [path.name for path in folder.iterdir()] == ["digits.safetensors"]
    assert (folder / "digits.safetensors").read_bytes()[8:9] == b"{"  # nothing was printed into it


@pytest.mark.parametrize("limit", [1, 1024], ids=str)
def test_a_limit_of_file_sizes_names_the_users_path(folder, limit):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run(TRAIN, preexec_fn=limited, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"{folder / 'digits.safetensors'}: File too large")
    assert list(folder.iterdir()) == []
