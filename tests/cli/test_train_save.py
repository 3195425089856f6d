"""``gpubp train`` saves what was learned when training diverges, is interrupted, or cannot write."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp import load_model
from gpubp.errors import DataError
from gpubp.io import atomic_files
from gpubp.nn.initialization import initial_weights
from gpubp.training import epochs
from tests.interrupts import interrupt, interrupt_epoch
from tests.shop import FAST, write


def test_a_training_that_diverges_ends_with_1(run):
    code, out, err = run("train", write(), *FAST, "--optimizer", "gradient_descent", "--learning-rate", "1e30")
    assert code == 1
    assert "nothing was learned" in err
    assert "accuracy" not in out
    assert not os.path.exists("shop.safetensors")


def diverges_later(monkeypatch):
    """Make training diverge in the second epoch."""

    def optimizer(epoch):
        return 1e-3 if epoch < 1 else 1e30

    monkeypatch.setattr("gpubp.cli.train.schedule.make_optimizer", lambda name, rate: gpubp.gradient_descent(optimizer))


def test_a_training_that_diverges_later_keeps_the_last_finite_weights(run, monkeypatch):
    diverges_later(monkeypatch)
    code, out, err = run("train", write(), *FAST, "--json")
    assert code == 1
    assert "holds the weights of epoch 1" in err
    assert json.loads(out)["training"]["stop_reason"] == "diverged"
    assert np.all(np.isfinite(load_model("shop.safetensors").theta))


def test_an_interruption_keeps_what_was_learned(run, monkeypatch):
    monkeypatch.setattr("gpubp.cli.progress.ignore_progress", interrupt_epoch(2))
    code, out, err = run("train", write(), *FAST, "--patience", "0")
    assert code == 130
    assert "interrupted" in err
    assert "accuracy" in out
    assert load_model("shop.safetensors").about["training"]["stop_reason"] == "interrupted"


def test_an_interruption_in_the_first_epoch_keeps_what_was_learned(run, monkeypatch):
    run_epoch = epochs.train_on_batches

    def interrupted(*arguments):
        run_epoch(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "train_on_batches", interrupted)
    code, out, _ = run("train", write(), "--preset", "fast", "--device", "cpu")
    assert code == 130
    assert "training   interrupted in the first epoch\n" in out
    assert not os.path.exists("shop.png")
    expected = load_model("shop.safetensors")
    start = initial_weights(expected.network, 0)
    assert np.all(np.isfinite(expected.theta))
    assert not np.array_equal(expected.theta, start)


def test_an_interruption_before_the_training_leaves_no_traceback(run, monkeypatch):
    monkeypatch.setattr("gpubp.cli.train.prepare.prepare_table", interrupt)
    assert run("train", write(), *FAST) == (130, "", "")


def test_a_model_that_cannot_be_written_is_written_elsewhere(run, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    replace = os.replace

    def full(source, target):
        if not str(target).startswith(str(elsewhere)):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(atomic_files.os, "replace", full)
    code, out, err = run("train", write(), *FAST)
    [saved] = elsewhere.glob("*/shop.safetensors")
    assert code == 2
    assert f"No space left on device); the model is in {saved}" in err
    assert str(saved) in out
    assert load_model(saved).network.sizes == (19, 5, 2)


def test_a_picture_that_cannot_be_written_does_not_hide_the_scores(run, monkeypatch):
    def fail(*arguments, **options):
        raise DataError("the learning curve cannot be written")

    monkeypatch.setattr("gpubp.cli.train.save.save_learning_curve", fail)
    code, out, err = run("train", write(), "--epochs", "2")
    assert code == 2
    assert "accuracy" in out
    assert "picture" not in out
    assert "error: the learning curve cannot be written" in err
    assert load_model("shop.safetensors")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "shop.html"), ValueError("No space left on device")]
)
def test_a_report_that_cannot_be_written_hides_neither_scores_nor_picture(run, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("gpubp.cli.train.save.write_report", fail)
    code, out, err = run("train", write(), "--epochs", "2", "--report", "shop.html")
    assert code == 2
    assert "accuracy" in out
    assert "picture    shop.png" in out
    assert "report " not in out
    assert "No space left on device" in err
    monkeypatch.setattr("gpubp.cli.train.save.save_learning_curve", fail)
    code, out, err = run("train", write(), "--epochs", "2", "--report", "shop.html")
    assert (code, err.count("No space left on device")) == (2, 2)
    assert "accuracy" in out
    assert load_model("shop.safetensors")


def test_a_model_of_no_use_replaces_no_other(run):
    wild = ("train", "diabetes", *FAST, "--learning-rate", "1000", "--loss", "huber")
    code, out, err = run(*wild)
    assert code == 1
    assert "far worse than the same prediction for every row, so no model file is written" in err
    assert "R²" in out
    assert "model " not in out
    assert "next" not in err
    assert not os.path.exists("diabetes.safetensors")
    assert run("train", "diabetes", *FAST)[0] == 0
    former = Path("diabetes.safetensors").read_bytes()
    code, out, err = run(*wild, "--json")
    assert (code, json.loads(out)["model"]) == (1, None)
    assert json.loads(out)["scores"]["train"]["r2"] < -1.0
    assert "diabetes.safetensors is still the former model" in err
    assert Path("diabetes.safetensors").read_bytes() == former


def test_a_model_no_better_than_the_baseline_is_written_with_a_warning(run):
    code, out, err = run("train", write(), *FAST, "--quiet")
    assert code == 0
    assert "model      shop.safetensors" in out
    assert "warning: on the 12 test rows the model predicts no better than the shares of the classes" in err
    assert "--preset best" in err


def test_advice_about_a_recipe_names_no_option_that_it_refuses(run, monkeypatch):
    monkeypatch.setattr("gpubp.cli.train.report.no_better_than_baseline", lambda result: "it is poor")
    code, _, err = run("train", write(), "--preset", "realmlp-s", "--device", "cpu", "--no-picture", "--quiet")
    assert code == 0
    assert "otherwise try --preset best, or several --networks" in err
