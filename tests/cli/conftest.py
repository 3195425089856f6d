"""Fixtures for the tests of the commands: each runs in an empty folder."""

import pytest

from tests.shop import FAST, write


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)


@pytest.fixture
def fails(run):
    """Run a command that must end with code 2 and a one-line error; return the line."""

    def fails(*arguments):
        code, out, err = run(*arguments)
        lines = err.splitlines()
        assert (code, out) == (2, "")
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0]

    return fails


@pytest.fixture
def model(run):
    """A model file, ``shop.safetensors``, made of ``shop.csv``."""
    assert run("train", write(), *FAST)[0] == 0
    return "shop.safetensors"
