"""Failures during long runs: killed processes, full disks, lack of memory, files that change.

Each failure is reported with a message, and nothing that had been written is lost.
"""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp import Checkpoints, Network, train
from gpubp.__main__ import main
from gpubp.errors import CheckpointError, CheckpointWarning, DataError
from gpubp.io import atomic_files
from gpubp.io.model_file import load_model
from gpubp.optim.first_order import adam
from gpubp.tabular import TableFit, fit_table, prepare_table
from gpubp.tabular import result as table_result
from gpubp.training import epochs as epoch_module
from gpubp.training import state_data
from gpubp.training.checkpoints import checkpoints_in

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
NETWORK = Network((3, 4, 2), activation="tanh")
UNIX = pytest.mark.skipif(os.name == "nt", reason="signals are sent in another way on Windows")
FULL = "No space left on device"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def fit(**options):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(20, 3)), rng.uniform(size=(20, 2))
    arguments = {"epochs": 9, "batch_size": 8, "optimizer": adam(0.01), "dtype": "float64", "device": "cpu"} | options
    return train(NETWORK, x, targets, **arguments)


def always(folder):
    return Checkpoints(folder, every_seconds=0.0)


def epochs_kept(folder):
    return [int(path.name[11:19]) for path in checkpoints_in(folder)]


def assert_same(one, other):
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.history.loss, other.history.loss)
    assert (one.stop_reason, one.best_epoch) == (other.stop_reason, other.best_epoch)


# --- killed ---


@pytest.mark.slow
@UNIX
def test_training_killed_at_any_moment_ends_with_the_same_bits(tmp_path):
    output = tmp_path / "kills.json"
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "10", "--epochs", "15", "--longest", "0.08"]
    command += ["--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for counts in json.loads(output.read_text())["kills"].values():
        assert counts["kills"] == 10
        assert counts["checkpoints compared"] > 3
        assert counts["differences"] == 0


# --- disks ---


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be made full: writing to it then fails as on a full disk."""
    state = {"full": False, "error": errno.ENOSPC}
    fsync = os.fsync

    def fails(file):
        if state["full"]:
            raise OSError(state["error"], os.strerror(state["error"]))
        fsync(file)

    monkeypatch.setattr(atomic_files.os, "fsync", fails)
    return state


def test_on_a_full_disk_training_continues_and_tries_again(disk, folder):
    def fill(progress):
        disk["full"] = 3 <= progress.epoch < 7

    with pytest.warns(CheckpointWarning) as caught:
        ended = fit(checkpoint=Checkpoints(folder, 0.0, keep=9), callbacks=[fill])
    (warning,) = caught
    pattern = (
        rf"no checkpoint could be written to {re.escape(str(folder))}: {FULL}; training continues, and writing is tried"
    )
    assert re.match(pattern, str(warning.message))
    assert epochs_kept(folder) == [1, 2, 7, 8, 9]
    assert len(os.listdir(folder)) == 5  # nothing half written
    assert_same(ended, fit())


def test_a_disk_that_is_full_again_is_reported_again(disk, folder):
    def fill(progress):
        disk["full"] = progress.epoch in (2, 5)

    with pytest.warns(CheckpointWarning) as caught:
        fit(checkpoint=always(folder), callbacks=[fill])
    assert len(caught) == 2


def test_the_error_has_the_weights_if_the_last_checkpoint_does_not_fit(disk, folder):
    def fill(progress):
        disk["full"] = progress.epoch >= 5

    with (
        pytest.warns(CheckpointWarning),
        pytest.raises(CheckpointError, match=f"the last checkpoint could not be written to .*: {FULL}") as caught,
    ):
        fit(checkpoint=always(folder), callbacks=[fill])
    assert_same(caught.value.fit, fit())
    assert epochs_kept(folder) == [2, 3, 4]
    disk["full"] = False
    assert_same(fit(checkpoint=always(folder), resume=True), fit())


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_refused_before_training(disk, folder, error):
    disk |= {"full": True, "error": error}
    with pytest.raises(DataError, match=rf"no checkpoint can be written to .*: {os.strerror(error)}; fix it"):
        fit(checkpoint=folder, callbacks=[lambda progress: pytest.fail("it trains")])
    assert os.listdir(folder) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_without_write_permission(folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(DataError, match=r"no checkpoint can be written to .*: Permission denied"):
        fit(checkpoint=folder)


def test_a_file_instead_of_a_folder(folder):
    folder.write_text("mine")
    for path in (folder, folder / "below"):
        with pytest.raises(DataError, match=r"no checkpoint can be written to .*(File exists|Not a directory|exist)"):
            fit(checkpoint=path)
    assert folder.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
def test_a_disk_that_is_really_full(tmp_path):
    """A separate file system with space for little more than one checkpoint of 4 KiB."""
    (place := tmp_path / "small").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"nothing may be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.warns(CheckpointWarning, match=FULL), pytest.raises(CheckpointError, match=FULL) as caught:
            fit(checkpoint=Checkpoints(place / "kept", 0.0, keep=50))
        checkpoints = epochs_kept(place / "kept")
        assert checkpoints
        assert_same(caught.value.fit, fit())
        for path in checkpoints_in(place / "kept")[:-1]:
            path.unlink()
        assert_same(fit(checkpoint=Checkpoints(place / "kept", 0.0, keep=1), resume=True), fit())
    finally:
        subprocess.run(["umount", place], check=True)


# --- memory ---


def test_running_out_of_memory_keeps_the_last_checkpoint(monkeypatch, folder):
    run_epoch, calls = epoch_module.train_on_batches, []

    def runs_out(*args):
        calls.append(args)
        if len(calls) == 6:
            raise MemoryError("Unable to allocate 8.00 GiB for an array")
        return run_epoch(*args)

    with monkeypatch.context() as patch:
        patch.setattr(epoch_module, "train_on_batches", runs_out)
        with pytest.raises(MemoryError, match=r"Unable to allocate 8\.00 GiB") as caught:
            fit(checkpoint=folder)
    (path,) = checkpoints_in(folder)
    assert epochs_kept(folder) == [5]
    assert caught.value.__notes__ == [f"resume continues from {path}"]
    assert_same(fit(checkpoint=folder, resume=True), fit())


def test_too_little_memory_for_a_checkpoint_does_not_end_training(monkeypatch, folder):
    to_data, calls = state_data.to_data, []

    def runs_out(now):
        calls.append(now)
        if len(calls) == 4:
            raise MemoryError
        return to_data(now)

    monkeypatch.setattr(gpubp.training.checkpoints, "to_data", runs_out)
    with pytest.warns(CheckpointWarning, match="there is not enough memory; training continues"):
        ended = fit(checkpoint=Checkpoints(folder, 0.0, keep=9))
    assert epochs_kept(folder) == [1, 2, 3, 5, 6, 7, 8, 9]
    assert_same(ended, fit())


# --- tables and the command line ---


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A table in a file in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)
    rng = np.random.default_rng(0)
    rows = [
        f"{age},{income:.3f},{'yes' if income > 30 else 'no'}"
        for age, income in zip(rng.integers(18, 80, 60), rng.normal(30.0, 10.0, 60), strict=True)
    ]
    Path("shop.csv").write_text("\n".join(["age,income,buys", *rows]) + "\n")
    return Path("shop.csv")


TABLE = {"hidden_layer_sizes": (5,), "epochs": 8, "device": "cpu", "patience": 3}
ARGUMENTS = ("train", "shop.csv", "--hidden-layer-sizes", "5", "--device", "cpu", "--no-picture", "--patience", "0")


def fit_shop(path, folder, **options):
    return fit_table(prepare_table(path), checkpoint=Checkpoints(folder, 0.0), **TABLE | options)


class TestTables:
    def test_resumes(self, shop, folder):
        expected = fit_table(prepare_table(shop), **TABLE)
        fit_shop(shop, folder, epochs=3)
        result = fit_shop(shop, folder, resume=True)
        assert_same(result.fit, expected.fit)
        assert result.scores == expected.scores
        assert len(result.fit.history.validation_score) == 8
        assert result.fit.history.validation_score == expected.fit.history.validation_score
        np.testing.assert_array_equal(result.model.theta, expected.model.theta)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda text: text.replace(",no", ",yes", 1), "X has other values|targets has other values"),
            (lambda text: "\n".join(text.splitlines()[:-20]), r"X was \[42, 12\] of float32, is \[28, 8\]"),
            (lambda text: text + "33,33.3,yes\n", "X was|X has other values"),
        ],
        ids=["another value", "ends early", "a row more"],
    )
    def test_a_file_that_has_changed(self, shop, folder, change, message):
        fit_shop(shop, folder, epochs=3)
        before = checkpoints_in(folder)
        shop.write_text(change(shop.read_text()))
        with pytest.raises(CheckpointError, match=f"was written by a run with other settings: .*({message})"):
            fit_shop(shop, folder, resume=True)
        assert checkpoints_in(folder) == before

    def test_the_error_has_the_model_of_a_table(self, shop, folder, disk):
        full = [lambda progress: disk.__setitem__("full", progress.epoch >= 5)]
        with pytest.warns(CheckpointWarning), pytest.raises(CheckpointError, match=FULL) as caught:
            fit_shop(shop, folder, callbacks=full)
        assert isinstance(caught.value.fit, TableFit)
        assert caught.value.fit.scores == fit_table(prepare_table(shop), **TABLE).scores


@pytest.fixture
def run(capsys, shop):
    """Run a command in this process; return the exit code, stdout and stderr."""

    def run(*arguments):
        code = main([*ARGUMENTS, *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


class TestCommand:
    def test_resumes(self, run, folder):
        assert run("--epochs", 6, "-o", "whole.safetensors")[0] == 0
        assert run("--epochs", 3, "--checkpoint", folder, "-o", "resumed.safetensors")[0] == 0
        code, out, err = run("--epochs", 6, "--checkpoint", folder, "--resume", "-o", "resumed.safetensors")
        assert code == 0
        assert f"checkpoint {folder}, from checkpoint-00000003-00000.safetensors on\n" in err
        assert "6 epochs" in out
        uninterrupted, resumed = load_model("whole.safetensors"), load_model("resumed.safetensors")
        np.testing.assert_array_equal(resumed.theta, uninterrupted.theta)
        assert resumed.about == uninterrupted.about

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--resume"], "error: --resume needs a folder with checkpoints; pass --checkpoint FOLDER"),
            (["--checkpoint", "kept"], "error: kept already holds checkpoints, "),
            (
                ["--checkpoint", "kept", "--resume", "--seed", "7"],
                "was written by a run with other settings: X has other values; seed has",
            ),
            (["--checkpoint", "shop.csv"], "error: no checkpoint can be written to shop.csv: "),
        ],
    )
    def test_faults_in_one_line(self, run, arguments, message):
        assert run("--epochs", 2, "--checkpoint", "kept", "--quiet")[0] == 0
        code, out, err = run("--epochs", 2, "--quiet", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1

    def test_a_damaged_checkpoint_is_noted(self, run, folder):
        assert run("--epochs", 3, "--checkpoint", folder, "--every", 0)[0] == 0
        newest = checkpoints_in(folder)[-1]
        newest.write_bytes(newest.read_bytes()[:-1])
        code, _, err = run("--epochs", 4, "--checkpoint", folder, "--resume", "--quiet")
        assert code == 0
        assert err.startswith("note: of the checkpoints in ")
        assert "training continues from checkpoint-00000002-00000.safetensors instead" in err

    def test_a_full_disk_at_the_end_keeps_the_model(self, run, folder, disk, monkeypatch):
        def fill_disk(progress):
            disk["full"] = progress.epoch == 3

        monkeypatch.setattr("gpubp.cli.progress.ignore_progress", fill_disk)
        released = table_result.Model  # made between the last checkpoint and the model file

        def released_disk(*args):
            disk["full"] = False
            return released(*args)

        monkeypatch.setattr(table_result, "Model", released_disk)
        code, out, err = run("--epochs", 3, "--checkpoint", folder)
        assert code == 2
        assert re.search(rf"error: the last checkpoint could not be written to .*: {FULL}; shop.safetensors holds", err)
        assert "accuracy" in out
        assert load_model("shop.safetensors").about["training"]["epochs"] == 3

    @UNIX
    def test_sigterm_writes_a_checkpoint(self, run, folder, monkeypatch):
        def ends(progress):
            if progress.epoch == 5:
                os.kill(os.getpid(), signal.SIGTERM)

        assert run("--epochs", 9, "-o", "whole.safetensors")[0] == 0
        with monkeypatch.context() as patch:
            patch.setattr("gpubp.cli.progress.ignore_progress", ends)
            code, out, err = run("--epochs", 9, "--checkpoint", folder)
        assert code == 143
        assert "Traceback" not in err
        assert "the same command with --resume continues from there" in err
        assert "interrupted" in out
        assert epochs_kept(folder) == [4]
        assert run("--epochs", 9, "--checkpoint", folder, "--resume")[0] == 0
        np.testing.assert_array_equal(load_model("shop.safetensors").theta, load_model("whole.safetensors").theta)

    def test_running_out_of_memory_is_reported_with_how_to_resume(self, run, folder, monkeypatch):
        def runs_out(progress):
            if progress.epoch == 3:
                raise MemoryError("Unable to allocate")

        monkeypatch.setattr("gpubp.cli.progress.ignore_progress", runs_out)
        code, _, err = run("--epochs", 5, "--checkpoint", folder, "--quiet")
        (path,) = checkpoints_in(folder)
        assert code == 2
        assert "there is not enough memory" in err
        assert f"resume continues from {path}" in err
