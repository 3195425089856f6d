"""Checkpoints: resumed training ends with the bits of uninterrupted training; damaged checkpoints and those of another
training are refused with a message."""

import json
import os
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import array_api_compat
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from gpubp import Checkpoints, Network, train
from gpubp.errors import CheckpointError, CheckpointWarning, DataError, DivergenceWarning
from gpubp.io.json_header import canonical_json, checksum
from gpubp.nn.initialization import initial_weights
from gpubp.optim.first_order import adam, adamw, gradient_descent, momentum, nesterov
from gpubp.optim.schedules import Cosine, FlatCosine, PiecewiseConstant
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from gpubp.training import batched_epochs, checkpointed, checkpoints, run_settings
from gpubp.training import epochs as epoch_module
from gpubp.training.checkpoints import checkpoints_in
from gpubp.training.run_settings import fingerprint, name_of
from tests.compiled_engine import FORMS

NETWORK = Network((3, 6, 2), activation="tanh")
EPOCHS = 12


class Killed(BaseException):
    """An exception that is never caught."""


DEFAULT_SECONDS_AT_ONCE = batched_epochs.SECONDS_PER_CALL


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch):
    """Run epochs singly, even if they are fast."""
    monkeypatch.setattr(batched_epochs, "SECONDS_PER_CALL", 0.0)


@pytest.fixture(params=["whole epochs", "parts"])
def n_parts(request, monkeypatch):
    """Whole epochs, and epochs in as many parts as possible: 21 samples in batches of 8 have two."""
    if request.param == "whole epochs":
        return 1
    monkeypatch.setattr(checkpointed, "OPERATIONS_PER_PART", 1.0)
    return 2


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def samples(n_samples=21, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, 3)), rng.uniform(size=(n_samples, 2))


def fit(**options):
    arguments = {
        "epochs": EPOCHS,
        "batch_size": 8,
        "optimizer": adam(0.01),
        "dtype": "float64",
        "device": "cpu",
        "seed": 1,
    }
    arguments |= options
    return train(arguments.pop("network", NETWORK), *arguments.pop("samples", samples()), **arguments)


def always(folder, **more):
    """Write checkpoints as often as possible."""
    return Checkpoints(folder, every_seconds=0.0, **more)


def killed_at(monkeypatch, n, folder, **options):
    """Train until the n-th checkpoint is written, then stop; return whether it was written."""
    note, remaining = checkpoints.Keeper.note, iter(range(n - 1, -1, -1))

    def counted(keeper, training_state):
        note(keeper, training_state)
        if next(remaining) == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Keeper, "note", counted)
        try:
            fit(checkpoint=always(folder), resume=True, **options)
        except Killed:
            return True
    return False


def assert_same(one, other):
    np.testing.assert_array_equal(one.theta, other.theta)
    assert one.theta.dtype == other.theta.dtype
    for name in ("loss", "validation_loss", "validation_score"):
        actual, expected = getattr(one.history, name), getattr(other.history, name)
        np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))
        assert [type(each) for each in actual] == [type(each) for each in expected]
    for name in ("best_epoch", "diverged", "solved"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.stop_reason == other.stop_reason
    assert len(one.history.seconds) == len(other.history.seconds)
    assert np.all(np.diff([0.0, *one.history.seconds]) >= 0.0)


def close(targets, y):
    xp = array_api_compat.array_namespace(y)
    return xp.mean((y - targets) ** 2, axis=(-2, -1)) < 0.06


def negative_error(targets, y):
    return -float(np.sum((targets - y) ** 2))


def factors(*leading):
    return np.random.default_rng(3).uniform(0.0, 2.0, (*leading, NETWORK.n_parameters))


STACK = {"seed": (1, 2, 3, 4), "optimizer": momentum(np.asarray([[0.3], [0.1], [0.05], [0.001]]), 0.8), "epochs": 25}
TRAININGS = {
    "adam": {},
    "in order": {"shuffle": False, "optimizer": gradient_descent(PiecewiseConstant({0: 0.1, 2.5: 0.05, 7: 0.2}))},
    "full": {"batch_size": "full", "optimizer": nesterov(Cosine(0.1, 10))},
    "sums": {"reduction": "sum", "l2": 0.1, "sample_weight": np.linspace(0.0, 1.0, 21), "optimizer": momentum(0.01)},
    "wrapped": {"optimizer": decayed(clipped(adamw(0.01), 0.5), 0.001), "dtype": "float32"},
    "decayed": {"optimizer": decayed(adam(0.01), 0.001)},
    "rate factors": {"optimizer": rate_scaled(decay_scaled(adamw(0.01), factors()), factors()), "dtype": "float32"},
    "rate factors of a stack": {**STACK, "optimizer": rate_scaled(momentum(0.3), factors(4)), "stop_when": close},
    "drop_last": {"drop_last": True, "seed": (1, 2)},
    "dropout": {"dropout": (0.1, FlatCosine(0.4, EPOCHS)), "seed": (1, 2)},
    "patience": {"validation_data": samples(9, 1), "patience": 2, "optimizer": momentum(0.15), "epochs": 40},
    "patience without": {"patience": 3, "optimizer": momentum(0.4), "epochs": 40},
    "score": {
        "validation_data": samples(9, 1),
        "scoring": negative_error,
        "patience": 2,
        "optimizer": momentum(0.15),
        "epochs": 40,
    },
    "score not monitored": {
        "validation_data": samples(9, 1),
        "scoring": negative_error,
        "patience": 2,
        "monitor": "loss",
    },
    "least loss": {
        "validation_data": samples(9, 1),
        "seed": (1, 2, 3),
        "patience": 2,
        "monitor": "least_loss",
        "optimizer": momentum(0.15),
        "epochs": 40,
    },
    "no history": {"history": False},
    "float16": {"matmul_precision": "float16", "dtype": "float32"},
    "lbfgs": {"batch_size": "full", "optimizer": lbfgs(memory=3)},
    "levenberg-marquardt": {"batch_size": "full", "optimizer": levenberg_marquardt()},
    "stop_when": {"stop_when": close, "optimizer": momentum(0.3), "epochs": 25},
    "stack": {"seed": (1, 2, 3), "sample_weight": np.ones((3, 21))},
    "stack stop_when": {**STACK, "stop_when": close},
    "stack stop_when, in epochs": {**STACK, "stop_when": close, "batch_size": "full", "epochs": 40},
    "stack stop_when, in float16": {**STACK, "stop_when": close, "matmul_precision": "float16", "dtype": "float32"},
    "stack of which one diverges": {"seed": (1, 2), "optimizer": momentum(np.asarray([[0.01], [1e60]])), "epochs": 6},
    "diverges": {"optimizer": momentum(PiecewiseConstant({0: 0.01, 4: 1e60})), "epochs": 6},
}


@pytest.mark.usefixtures("form", "n_parts")
@pytest.mark.filterwarnings("ignore::gpubp.DivergenceWarning")
@pytest.mark.parametrize("name", TRAININGS)
def test_resumed_training_ends_with_the_bits_of_uninterrupted_training(monkeypatch, folder, name):
    options = TRAININGS[name]
    expected = fit(**options)
    kills = 0
    while killed_at(monkeypatch, 1 + kills % 4, folder, **options):
        kills += 1
    assert kills >= 2
    resumed = fit(checkpoint=always(folder), resume=True, **options)  # from the end: training is complete
    assert_same(resumed, expected)


@pytest.mark.usefixtures("form")
def test_checkpoints_do_not_change_training(folder):
    assert_same(fit(checkpoint=always(folder)), fit())


def test_checkpoints_from_before_drop_last_resume(monkeypatch, folder):
    settings_of = checkpointed.settings_of

    def before(network, optimizer, data, others):
        return settings_of(network, optimizer, data, {name: one for name, one in others.items() if name != "drop_last"})

    with monkeypatch.context() as patch:
        patch.setattr(checkpointed, "settings_of", before)
        fit(epochs=2, checkpoint=folder)
    assert_same(fit(epochs=4, checkpoint=folder, resume=True), fit(epochs=4))
    with pytest.raises(CheckpointError, match="drop_last was None, is True"):
        fit(epochs=4, checkpoint=folder, resume=True, drop_last=True)


@pytest.mark.usefixtures("form")
def test_networks_have_ended(monkeypatch, folder):
    options = TRAININGS["stack stop_when"]
    expected = fit(**options)
    first, last = np.sort(expected.best_epoch)[[0, -1]]
    assert first < last
    assert killed_at(monkeypatch, int(first), folder, **options)
    with safetensors.safe_open(checkpoints_in(folder)[-1], framework="numpy") as file:
        assert len(file.get_tensor("stack.active")) < 4
        assert file.get_tensor("theta").shape[0] < 4
    assert_same(fit(checkpoint=folder, resume=True, **options), expected)


@pytest.mark.usefixtures("form")
def test_more_epochs_than_before(folder):
    assert len(fit(checkpoint=folder, epochs=5).history.loss) == 5
    assert_same(fit(checkpoint=folder, epochs=9, resume=True), fit(epochs=9))


def test_more_patience_than_before(folder):
    options = TRAININGS["patience without"]
    assert fit(checkpoint=folder, **options).stop_reason == "patience"
    assert_same(fit(checkpoint=folder, resume=True, **options), fit(**options))
    more = options | {"patience": 7}
    assert_same(fit(checkpoint=folder, resume=True, **more), fit(**more))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("kind", ["PCG64", "MT19937"])
def test_a_passed_generator_continues(monkeypatch, folder, kind):
    def seed():
        return np.random.Generator(getattr(np.random, kind)(5))

    expected = fit(seed=seed())
    assert killed_at(monkeypatch, 4, folder, seed=seed())
    assert_same(fit(checkpoint=folder, resume=True, seed=seed()), expected)


@pytest.mark.parametrize("device", ["array_api_strict:device1", pytest.param("cuda", marks=pytest.mark.on("cuda"))])
def test_other_devices(monkeypatch, folder, device):
    options = {"device": device, "validation_data": samples(9, 1), "patience": 30}
    expected = fit(**options)
    assert killed_at(monkeypatch, 5, folder, **options)
    assert_same(fit(checkpoint=folder, resume=True, **options), expected)


def test_another_device_resumes_from_the_same_file(monkeypatch, folder):
    assert killed_at(monkeypatch, 5, folder)
    resumed = fit(checkpoint=folder, resume=True, device="array_api_strict:device1")
    np.testing.assert_allclose(resumed.theta, fit().theta, rtol=1e-9)
    assert resumed.device == "array_api_strict:device1"


@pytest.fixture
def epochs_per_call(epochs_per_call, monkeypatch):
    """Record the number of epochs of each call; an epoch takes ten microseconds on the fake clock."""
    monkeypatch.setattr(batched_epochs, "SECONDS_PER_CALL", DEFAULT_SECONDS_AT_ONCE)
    monkeypatch.setattr(batched_epochs.BatchedEpochs, "record_duration", lambda self, _: setattr(self, "seconds", 1e-5))
    return epochs_per_call


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("form", FORMS[1:], indirect=True)
@pytest.mark.parametrize("options", [{"batch_size": "full"}, {}, {"patience": 30}], ids=["full", "orders", "patience"])
def test_epochs_that_are_not_observed_are_still_run_together(monkeypatch, folder, epochs_per_call, options):
    options = {"epochs": 150, **options}
    expected = fit(**options)
    assert max(epochs_per_call) >= batched_epochs.MIN_EPOCHS_PER_CALL
    epochs_per_call.clear()
    kills = 0
    while killed_at(monkeypatch, 1 + kills % 3, folder, **options):
        kills += 1
    assert max(epochs_per_call) >= batched_epochs.MIN_EPOCHS_PER_CALL
    assert kills >= 2
    assert_same(fit(checkpoint=folder, resume=True, **options), expected)


@pytest.mark.filterwarnings("ignore::gpubp.DivergenceWarning")
@pytest.mark.usefixtures("form", "epochs_per_call")
@pytest.mark.parametrize("at", range(1, 7))
def test_epochs_that_were_trained_together_and_undone(monkeypatch, folder, at):
    """Their orders are drawn again, also after a checkpoint."""
    options = {"optimizer": momentum(PiecewiseConstant({0: 0.01, 30: 1e60})), "epochs": 60}
    expected = fit(**options)
    assert expected.stop_reason == "diverged"
    killed_at(monkeypatch, at, folder, **options)
    assert_same(fit(checkpoint=folder, resume=True, **options), expected)


def test_seconds_continue(monkeypatch, folder):
    assert killed_at(monkeypatch, 3, folder)
    (path,) = checkpoints_in(folder)[-1:]
    with safetensors.safe_open(path, framework="numpy") as file:
        seconds = json.loads(file.metadata()["gpubp_checkpoint"])["training_state"]["seconds"]
        recorded = file.get_tensor("history.seconds")
    assert 0.0 < recorded[-1] <= seconds
    resumed = fit(checkpoint=folder, resume=True)
    np.testing.assert_array_equal(resumed.history.seconds[:3], recorded)
    assert resumed.history.seconds[3] > seconds


# --- when they are written ---


class TestWritten:
    def names(self, folder):
        return [path.name for path in checkpoints_in(folder)]

    def test_the_last_ones_are_kept(self, folder):
        fit(checkpoint=always(folder))
        assert self.names(folder) == [f"checkpoint-{epoch:08}-00000.safetensors" for epoch in (10, 11, 12)]
        assert sorted(os.listdir(folder)) == self.names(folder)

    def test_a_single_one_is_kept(self, folder):
        fit(checkpoint=always(folder, keep=1))
        assert self.names(folder) == ["checkpoint-00000012-00000.safetensors"]

    @pytest.mark.parametrize("stop", ["epochs", "callback", "patience"])
    def test_always_at_the_end(self, folder, stop):
        options = {"callback": {"callbacks": [lambda progress: progress.epoch == 7]}, "patience": TRAININGS["patience"]}
        ended = fit(checkpoint=folder, **options.get(stop, {}))
        assert ended.stop_reason == stop
        assert self.names(folder) == [f"checkpoint-{len(ended.history.loss):08}-00000.safetensors"]

    def test_not_again_without_progress(self, folder):
        fit(checkpoint=folder)
        (path,) = checkpoints_in(folder)
        before = path.stat().st_mtime_ns
        fit(checkpoint=folder, resume=True)
        assert path.stat().st_mtime_ns == before

    def test_when_it_is_time(self, folder, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
        fit(
            checkpoint=Checkpoints(folder, 5.0, keep=9),
            callbacks=[lambda progress: now.__setitem__(0, progress.epoch * 2.0)],
        )
        assert [int(name[11:19]) for name in self.names(folder)] == [3, 6, 9, 12]

    @pytest.mark.usefixtures("form")
    def test_ctrl_c_keeps_the_last_whole_part(self, monkeypatch, folder, n_parts):
        run_epoch, epochs = epoch_module.train_on_batches, []

        def interrupted(plan, position, batches):
            result = run_epoch(plan, position, batches)  # the position has moved, and the optimizer's means with it
            epochs.append(result)
            if len(epochs) == 4:
                raise KeyboardInterrupt
            return result

        expected = fit()
        with monkeypatch.context() as patch:
            patch.setattr(epoch_module, "train_on_batches", interrupted)
            assert fit(checkpoint=folder).stop_reason == "interrupted"
        (path,) = checkpoints_in(folder)
        assert path.name == f"checkpoint-{3 // n_parts:08}-{3 % n_parts:05}.safetensors"
        assert_same(fit(checkpoint=folder, resume=True), expected)

    def test_none_before_the_first_epoch_has_ended(self, monkeypatch, folder):
        monkeypatch.setattr(
            epoch_module, "train_on_batches", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        fit(checkpoint=folder)
        assert self.names(folder) == []

    def test_an_error_of_a_callback_loses_nothing(self, folder):
        def fails(progress):
            if progress.epoch == 6:
                raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            fit(checkpoint=folder, callbacks=[fails])
        (path,) = checkpoints_in(folder)
        assert path.name == "checkpoint-00000005-00000.safetensors"
        assert caught.value.__notes__ == [f"resume continues from {path}"]
        assert_same(fit(checkpoint=folder, resume=True), fit())


# --- validation ---

X, D = samples()
OTHER = {
    "X has other values": {"samples": (X + 1e-9, D)},
    r"X was \[21, 3\] of float64, is \[20, 3\] of float64; targets was \[21, 2\]": {"samples": (X[:-1], D[:-1])},
    "targets has other values": {"samples": (X, D[::-1])},
    "network.sizes was .* theta was": {"network": Network((3, 5, 2), activation="tanh")},
    "network.loss was 'squared', is 'huber": {"network": replace(NETWORK, loss="huber")},
    "optimizer was 'adam', is 'momentum'": {"optimizer": momentum(0.01)},
    "adam.learning_rate was 0.01, is 0.02$": {"optimizer": adam(0.02)},
    r"adam.learning_rate was 0.01, is 'Cosine\(": {"optimizer": adam(Cosine(0.01, 5))},
    "seed has other values; theta has other values$": {"seed": 2},
    "seed has other values$": {"seed": 2, "theta": initial_weights(NETWORK, 1, dtype="float64")},
    "batch_size was 8, is 7": {"batch_size": 7},
    "shuffle was True, is False": {"shuffle": False},
    "dtype was 'float64', is 'float32'": {"dtype": "float32"},
    "l2 was 0.0, is 0.1": {"l2": 0.1},
    "reduction was 'mean', is 'sum'": {"reduction": "sum"},
    "sample_weight was None, is given": {"sample_weight": np.ones(21)},
    "validation_X was None, is given": {"validation_data": (X, D)},
    "patience was None, is 'given'": {"patience": 9},
    "stop_when was None, is 'close'": {"stop_when": close},
    "history was True, is False": {"history": False},
}


class TestValidation:
    def test_a_folder_in_use_is_left_alone(self, folder):
        fit(checkpoint=folder)
        (path,) = checkpoints_in(folder)
        content = path.read_bytes()
        with pytest.raises(
            CheckpointError,
            match=r"already holds checkpoints.* with resume=True \(--resume\), or choose another folder",
        ):
            fit(checkpoint=folder)
        assert path.read_bytes() == content

    def test_an_empty_or_missing_folder_starts_from_the_beginning(self, folder):
        assert_same(fit(checkpoint=folder, resume=True), fit())
        (empty := folder / "empty").mkdir()
        assert_same(fit(checkpoint=str(empty), resume=True), fit())

    def test_other_files_are_left_alone(self, folder):
        folder.mkdir()
        for name in ("notes.txt", "checkpoint-1.safetensors", "checkpoint-00000001-00001.safetensors.bak"):
            (folder / name).write_text("mine")
        (folder / ".0123456789abcdef.tmp").write_text("left behind by a killed process")
        fit(checkpoint=always(folder, keep=1))
        assert sorted(os.listdir(folder)) == [
            "checkpoint-00000001-00001.safetensors.bak",
            "checkpoint-00000012-00000.safetensors",
            "checkpoint-1.safetensors",
            "notes.txt",
        ]

    def test_resume_without_a_folder(self):
        with pytest.raises(DataError, match="pass checkpoint="):
            fit(resume=True)

    @pytest.mark.parametrize("value", [7, "", True, object()])
    def test_a_path_that_is_not_a_folder(self, value):
        with pytest.raises(DataError, match="must be a path"):
            fit(checkpoint=value)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"every_seconds": -1}, "every_seconds must be"),
            ({"every_seconds": np.inf}, "every_seconds must be"),
            ({"every_seconds": "1"}, "every_seconds must be"),
            ({"keep": 0}, "keep must be a whole number of at least 1"),
            ({"keep": 1.5}, "keep must be a whole number of at least 1"),
        ],
    )
    def test_options_out_of_range(self, folder, options, message):
        with pytest.raises(DataError, match=message):
            Checkpoints(folder, **options)

    def test_invalid_monitor(self):
        with pytest.raises(DataError, match="monitor must be 'score', 'loss' or 'least_loss'"):
            fit(monitor="error")

    def test_fewer_epochs_than_done(self, folder):
        fit(checkpoint=folder)
        with pytest.raises(CheckpointError, match="is from epoch 12, but epochs=5; pass more epochs"):
            fit(checkpoint=folder, resume=True, epochs=5)

    @pytest.mark.parametrize("message", OTHER)
    def test_another_training(self, folder, message):
        fit(checkpoint=folder, epochs=3)
        (path,) = checkpoints_in(folder)
        with pytest.raises(CheckpointError) as caught:
            fit(checkpoint=folder, resume=True, **OTHER[message])
        start, difference, fix = re.split(
            " was written by a run with other settings: |. Pass the same arguments as before, ", str(caught.value)
        )
        assert (start, fix) == (str(path), "or another folder")
        assert re.search(message, difference)
        assert checkpoints_in(folder) == [path]

    def test_settings_as_json(self):
        assert name_of(np.float32(0.5)) == 0.5
        assert name_of(PiecewiseConstant({0: 1.0})) == "PiecewiseConstant(values={0: 1.0})"
        assert name_of(close) == "close"
        assert name_of(re.compile("a").match) == "Pattern.match"
        assert name_of(np.ones((2, 1))) == fingerprint(np.ones((2, 1)))

    def test_fingerprints_are_of_all_values_in_their_order(self, monkeypatch):
        x = np.arange(60.0).reshape(20, 3)
        fingerprint_of_x = fingerprint(x)
        monkeypatch.setattr(run_settings, "_BYTES_AT_ONCE", 100)
        assert fingerprint(x) == fingerprint(np.asfortranarray(x)) == fingerprint_of_x
        assert fingerprint_of_x["shape"] == [20, 3]
        for changed in (x[::-1], x.T.reshape(20, 3), np.where(x == 59.0, 0.0, x)):
            assert fingerprint(changed) != fingerprint_of_x


# --- the files ---


@pytest.fixture
def kept(folder):
    """Checkpoints of three epochs."""
    fit(checkpoint=always(folder), epochs=3)
    return checkpoints_in(folder)


def contents(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["gpubp_checkpoint"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def forge(path, header, arrays, *, sign=True):
    """Write a checkpoint file with any contents and a correct checksum."""
    if sign:
        header["arrays"] = {name: {"shape": [*each.shape], "dtype": each.dtype.name} for name, each in arrays.items()}
        header.pop("sha256", None)
        header["sha256"] = checksum(header, *(arrays[name] for name in sorted(arrays)))
    path.write_bytes(safetensors.numpy.save(arrays, {"gpubp_checkpoint": canonical_json(header)}))


class TestFiles:
    def test_hold_data_and_no_code(self, kept):
        header, arrays = contents(kept[-1])
        assert set(header) == {"format", "version", "settings", "training_state", "order", "arrays", "sha256"}
        assert {"theta", "state.first", "state.second", "history.loss", "best", "diverged"} <= set(arrays)
        assert header["training_state"]["state"] == {"state.updates": 9}
        assert header["order"]["bit_generator"] == "PCG64"
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(kept[-1].read_bytes())

    def test_equal_runs_give_equal_files_except_for_the_seconds(self, kept, tmp_path):
        fit(checkpoint=always(tmp_path / "again"), epochs=3)
        for path, other in zip(kept, checkpoints_in(tmp_path / "again"), strict=True):
            (one, arrays), (two, others) = contents(path), contents(other)
            for header, held in ((one, arrays), (two, others)):
                del header["training_state"]["seconds"], header["sha256"], held["history.seconds"]
            assert one == two
            assert all(np.array_equal(arrays[name], others[name]) for name in arrays)

    def damage(self, how, path):
        content = path.read_bytes()
        header, arrays = contents(path)
        if how == "empty":
            path.write_bytes(b"")
        elif how == "cut off":
            path.write_bytes(content[:-9])
        elif how == "one bit":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        elif how == "header":
            forge(path, {**header, "training_state": {**header["training_state"], "epoch": 2}}, arrays, sign=False)
        elif how == "text":
            path.write_text("no checkpoint")
        elif how == "foreign":
            path.write_bytes(safetensors.numpy.save({"theta": np.ones(3)}))
        elif how == "folder":
            path.unlink()
            path.mkdir()
        elif how == "one array less":
            arrays.pop("theta")
            forge(path, header, arrays, sign=False)

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ("empty", "is truncated or damaged"),
            ("cut off", "is truncated or damaged"),
            ("one bit", "checksum does not match"),
            ("header", "checksum does not match"),
            ("text", "is truncated or damaged"),
            ("foreign", "not a checkpoint of gpubp"),
            ("folder", "cannot be read|damaged"),
            ("one array less", "does not match its contents"),
        ],
    )
    def test_the_previous_one_is_used_if_the_newest_is_damaged(self, kept, folder, how, message):
        self.damage(how, kept[-1])
        pattern = rf"{kept[-1].name} .*({message}).*; training continues from {kept[-2].name} instead"
        with pytest.warns(CheckpointWarning, match=pattern):
            resumed = fit(checkpoint=always(folder, keep=1), epochs=4, resume=True)
        assert_same(resumed, fit(epochs=4))
        assert sorted(os.listdir(folder)) == [
            "checkpoint-00000003-00000.safetensors.damaged",
            "checkpoint-00000004-00000.safetensors",
        ]

    def test_all_are_damaged(self, kept, folder):
        for path in kept:
            self.damage("cut off", path)
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact: .*00003.*00002.*00001") as caught:
            fit(checkpoint=folder, resume=True)
        assert "train again with another folder" in str(caught.value)
        assert checkpoints_in(folder) == kept

    def test_of_a_newer_format(self, kept, folder):
        header, arrays = contents(kept[-1])
        forge(kept[-1], {**header, "format": 2, "version": "9.9"}, arrays)
        with pytest.raises(CheckpointError, match=r"has the format 2, from gpubp 9.9; .* Upgrade gpubp"):
            fit(checkpoint=folder, resume=True)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda h, a: a.pop("state.second"), "lacks state.second"),
            (lambda h, a: a.update({"state.first": np.zeros(3)}), r"holds state.first as \(3,\) of float64, not"),
            (lambda h, a: a.update({"theta": a["theta"].astype("float32")}), "holds theta as .* of float32, not"),
            (lambda h, a: a.update(more=np.zeros(3)), "holds unexpected entries: more"),
            (
                lambda h, a: h["training_state"]["state"].clear(),
                "holds None as state.updates, not a number such as 0",
            ),
            (lambda h, a: h["training_state"]["state"].update({"state.updates": 1.5}), "holds 1.5 as state.updates"),
            (
                lambda h, a: h["training_state"].pop("epochs_without_improvement"),
                "does not hold the numbers epoch, parts_done",
            ),
            (lambda h, a: h["training_state"].update(epoch="1"), "does not hold the numbers epoch, parts_done"),
            (lambda h, a: h["training_state"].update(epoch=-1), "does not hold the numbers epoch, parts_done"),
            (lambda h, a: a.update(diverged=np.zeros(2, bool)), r"holds diverged as \(2,\)"),
            (lambda h, a: a.update({"history.loss": np.zeros((3, 2))}), r"holds history.loss as \(3, 2\)"),
        ],
    )
    def test_inconsistent_contents_are_refused(self, kept, folder, change, message):
        header, arrays = contents(kept[-1])
        change(header, arrays)
        forge(kept[-1], header, arrays)
        with pytest.raises(CheckpointError, match=rf"{re.escape(str(kept[-1]))} .*{message}"):
            fit(checkpoint=folder, resume=True)

    def test_numbers_of_missing_networks(self, folder):
        fit(checkpoint=folder, **STACK, stop_when=close)
        (path,) = checkpoints_in(folder)
        header, arrays = contents(path)
        arrays["stack.active"] = arrays["stack.active"] + 4
        forge(path, header, arrays)
        with pytest.raises(CheckpointError, match="holds numbers of networks that do not exist"):
            fit(checkpoint=folder, **STACK, stop_when=close, resume=True)

    def test_can_be_moved(self, kept, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "elsewhere")
        assert_same(fit(checkpoint=tmp_path / "elsewhere", resume=True), fit())


def test_divergence_is_reported_again(folder):
    options = TRAININGS["diverges"]
    for resume in (False, True):
        with pytest.warns(DivergenceWarning):
            assert fit(checkpoint=folder, resume=resume, **options).stop_reason == "diverged"


def test_the_names_sort_by_time(tmp_path):
    names = [f"checkpoint-{epoch:08}-{part:05}.safetensors" for epoch, part in ((9, 0), (9, 2), (10, 0), (10**8, 1))]
    for name in reversed(names):
        Path(tmp_path, name).touch()
    assert [path.name for path in checkpoints_in(tmp_path)] == names
