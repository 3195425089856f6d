"""Closed standard streams, and files that may not grow: the command ends in one line, or works."""

import os
import subprocess
import sys

import pytest

TRAIN = [sys.executable, "-m", "gpubp", "train", "small.csv", "--epochs", "2", "--no-picture"]
CLOSE = "import os, sys; [os.close(int(number)) for number in sys.argv[1].split(',')]"
LIMIT = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)"
ENVIRONMENT = os.environ | {"GPUBP_COMPILED": "never"}
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="POSIX file descriptors and limits"), pytest.mark.once]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.csv").write_text("x,y\n" + "".join(f"{k / 7},{'ab'[k % 2]}\n" for k in range(60)))
    return tmp_path


def train_after(code, argument, **options):
    """Train in a process that runs some code first.

    It is a program of its own: ``preexec_fn`` runs in a fork of this process, where another thread may have held a lock
    for good.
    """
    start = [sys.executable, "-c", f"{code}; os.execv(sys.argv[2], sys.argv[2:])", argument]
    return subprocess.run([*start, *TRAIN], capture_output=True, check=False, env=ENVIRONMENT, **options)


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams(folder, closed):
    """Output that cannot go anywhere is discarded, and the model is written."""
    result = train_after(CLOSE, ",".join(map(str, closed)))
    assert result.returncode == 0
    assert b"Traceback" not in result.stdout + result.stderr
    assert {path.name for path in folder.iterdir()} == {"small.csv", "small.safetensors"}
    assert (folder / "small.safetensors").read_bytes()[8:9] == b"{"  # nothing was printed into it


@pytest.mark.parametrize("limit", [1, 1024], ids=str)
def test_a_limit_of_file_sizes_names_the_users_path(folder, limit):
    result = train_after(LIMIT, str(limit), text=True)
    assert result.returncode == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"{folder / 'small.safetensors'}: File too large")
    assert [path.name for path in folder.iterdir()] == ["small.csv"]
