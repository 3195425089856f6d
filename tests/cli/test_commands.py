"""The command line: its output on each stream, the files it writes, and its errors."""

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import gpubp
from gpubp import load_model, save_model
from gpubp.__main__ import main
from gpubp.cli.app import app
from gpubp.cli.predict.formats import FORMATS
from gpubp.data import read_table
from gpubp.io import atomic_files
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.tabular import fit_table, predict_table, prepare_table
from gpubp.training.callbacks import CALLBACKS

ROWS = 60
FAST = ("--epochs", "3", "--device", "cpu", "--no-picture", "--hidden-layer-sizes", "5")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)


@pytest.fixture
def run(capsys):
    """Run a command in this process; return the exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


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


def shop(**changes):
    """Return columns of each kind; ``changes`` replace the start of a column."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(18, 80, ROWS), "income": random.normal(30.0, 10.0, ROWS)})
    frame["town"] = random.choice(["Bonn", "Köln", "Ulm"], ROWS)
    frame["buys"] = np.where(frame["income"] > 30.0, "yes", "no")
    for name, values in changes.items():
        frame[name] = [*values, *frame[name][len(values) :]]
    return frame


def write(name="shop.csv", **changes):
    frame = shop(**changes)
    if name.endswith(".parquet"):
        frame.to_parquet(name)
    else:
        frame.to_csv(name, index=False, sep="\t" if ".tsv" in name else ",")
    return name


@pytest.fixture
def model(run):
    """A model file, ``shop.safetensors``, made of ``shop.csv``."""
    assert run("train", write(), *FAST)[0] == 0
    return "shop.safetensors"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- train ---


def test_digits_end_to_end(run):
    code, out, err = run("train", "digits", "--device", "cpu")
    assert code == 0
    [accuracy] = re.findall(r"^accuracy .* (\S+)$", out, re.MULTILINE)
    assert float(accuracy) >= 0.97
    assert load_model("digits.safetensors").about["scores"]["test"]["accuracy"] == pytest.approx(
        float(accuracy), abs=1e-4
    )
    with open("digits.png", "rb") as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"
    for text in (
        "1,797 rows",
        "numbers: pixel_0_0, pixel_0_1, ",
        "... (64); 64 inputs",
        "10 classes",
        "classification",
        "64-100-10",
        "7,510",
        "cpu",
    ):
        assert text in err
    assert "gpubp predict digits.safetensors DATA" in err

    code, out, err = run("predict", "digits.safetensors", "digits", "--device", "cpu")
    predicted = [row["target"] for row in rows_of(out)]
    assert code == 0
    assert np.mean(read_table("digits").columns["target"].astype(str) == predicted) >= 0.97
    assert "accuracy 0.9" in err
    assert "was trained on" in err


def test_notes_go_to_stderr_and_scores_to_stdout(run):
    code, out, err = run("train", write(), *FAST)
    assert code == 0
    for text in ("shop.csv: 60 rows", "numbers: age, income; categories: town; 5 inputs", "buys: 2 classes (no, yes)"):
        assert text in err
        assert text not in out
    assert "cpu (as requested)" in err
    assert out.splitlines()[0].split() == ["train", "validation", "test"]
    assert [line.split("  ")[0] for line in out.splitlines()[1:5]] == [
        "accuracy",
        "balanced accuracy",
        "macro F1",
        "log loss",
    ]
    assert re.search(r"^rows +42 +6 +12$", out, re.MULTILINE)
    assert re.search(r"^model +shop.safetensors$", out, re.MULTILINE)
    assert set(os.listdir()) == {"shop.csv", "shop.safetensors"}


def test_quiet_prints_only_the_result(run):
    code, out, err = run("train", write(), *FAST, "--quiet")
    assert (code, err) == (0, "")
    assert "accuracy" in out


def test_json_output_is_one_object(run):
    code, out, err = run("train", write(), *FAST, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["model"] == "shop.safetensors"
    assert result["picture"] is None
    assert result["rows"] == {"train": 42, "validation": 6, "test": 12}
    assert result["columns"] == {"age": "numbers", "income": "numbers", "town": "categories"}
    assert (result["target"], result["classes"], result["task"]) == (["buys"], ["no", "yes"], "classification")
    assert result["scores"] == load_model("shop.safetensors").about["scores"]
    assert all(len(seen) == 3 for seen in result["history"].values())
    assert set(result["history"]) == {"loss", "validation_loss", "validation_score", "seconds"}
    assert "accuracy" not in err


def test_the_command_equals_fit_table(run):
    options = (
        "--hidden-layer-sizes",
        "4,3",
        "--activation",
        "tanh",
        "--optimizer",
        "momentum",
        "--learning-rate",
        "0.05",
    )
    options += (
        "--epochs",
        "4",
        "--batch-size",
        "7",
        "--l2",
        "0.3",
        "--seed",
        "5",
        "--dtype",
        "float64",
        "--drop",
        "age",
    )
    options += ("--test-fraction", "0.3", "--validation-fraction", "0.2", "--patience", "0", "--device", "cpu")
    assert run("train", write(), *options, "--no-picture", "--output", "m.safetensors")[0] == 0
    prepared = prepare_table("shop.csv", seed=5, drop=["age"], test_fraction=0.3, validation_fraction=0.2)
    expected = fit_table(
        prepared,
        hidden_layer_sizes=(4, 3),
        activation="tanh",
        optimizer=gpubp.momentum(0.05),
        epochs=4,
        batch_size=7,
        l2=0.3,
        seed=5,
        dtype="float64",
        patience=None,
        device="cpu",
    ).model
    got = load_model("m.safetensors")
    np.testing.assert_array_equal(got.theta, expected.theta)
    assert (got.network, got.about, got.preprocessing) == (expected.network, expected.about, expected.preprocessing)


def test_the_same_command_writes_the_same_bytes(run):
    contents = []
    for name in ("a.safetensors", "b.safetensors"):
        run("train", write(), *FAST, "--output", name)
        with open(name, "rb") as file:
            contents.append(file.read())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["shop.tsv", "shop.csv.gz", "shop.parquet"])
def test_other_formats_of_the_same_table_give_the_same_model(run, name):
    models = []
    for path in (write(), write(name)):
        assert run("train", path, *FAST, "--output", "m.safetensors")[0] == 0
        models.append(load_model("m.safetensors").theta)
    np.testing.assert_array_equal(*models)


def test_numpy_files(run):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    np.save("a.npy", np.column_stack([x, x @ [1.0, 2.0, 3.0]]))
    np.savez("b.npz", x=x, y=y)
    np.savez("new.npz", x=x)
    assert "R²" in run("train", "a.npy", *FAST)[1]
    assert "accuracy" in run("train", "b.npz", *FAST)[1]
    code, out, err = run("predict", "b.safetensors", "new.npz")
    assert (code, len(rows_of(out)), err) == (0, 40, "")


def test_numbers_as_the_target(run):
    code, out, err = run("train", "diabetes", *FAST)
    assert code == 0
    assert "regression" in err
    for metric in ("R²", "mean absolute error", "root mean squared error"):
        assert re.search(rf"^{metric} +\S+ +\S+ +\S+$", out, re.MULTILINE)
    predicted = [float(row["target"]) for row in rows_of(run("predict", "diabetes.safetensors", "diabetes")[1])]
    expected = predict_table(load_model("diabetes.safetensors"), "diabetes")["target"]
    np.testing.assert_allclose(predicted, expected, rtol=1e-8)


def test_several_targets(run):
    code, out, _ = run("train", "linnerud", *FAST, "--target", "Waist", "--target", "Pulse", "--drop", "Weight")
    assert code == 0
    assert "mean absolute error, Pulse" in out


def test_the_target_and_the_task_can_be_named(run):
    assert "town: 3 classes" in run("train", write(), *FAST, "--target", "town")[2]
    assert "regression" in run("train", write(), *FAST, "--target", "age", "--task", "regression")[2]
    assert "numbers: income; categories: age, town;" in run("train", write(), *FAST, "--categorical", "age")[2]


def test_names_of_columns_may_be_a_list_with_commas(run, fails):
    taken = {"age": "a", "income": "b", "town": "a,b"}
    shop().rename(columns=taken).to_csv("shop.csv", index=False)
    assert "numbers: a, b; 2 inputs" in run("train", "shop.csv", *FAST, "--drop", "a,b")[2]  # the column of that name
    write()
    assert "categories: town; 3 inputs" in run("train", "shop.csv", *FAST, "--drop", "age, income")[2]
    assert "categories: age, income, town;" in run("train", "shop.csv", *FAST, "--categorical", "age,income")[2]
    err = run("train", "shop.csv", *FAST, "--target", "age,income", "--task", "regression")[2]
    assert re.search(r"^target +age: mean .*; income: mean ", err, re.MULTILINE)
    assert "no column 'agee'" in fails("train", "shop.csv", *FAST, "--drop", "income,agee")


def test_whole_numbers_that_are_read_as_classes_are_reported(run):
    reported = "classification (whole numbers with few values; --task regression reads them as numbers)"
    write(buys=[k % 3 for k in range(ROWS)])
    assert reported in run("train", "shop.csv", *FAST)[2]
    assert reported not in run("train", "shop.csv", *FAST, "--task", "classification")[2]
    assert reported not in run("train", write(), *FAST)[2]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_column_that_numbers_the_rows_is_reported(run, first):
    err = run("train", write(age=range(first, ROWS + first)), *FAST)[2]
    assert ("note: column 'age' numbers the rows; to leave it out: --drop age\n" in err) == (first < 2)
    assert "numbers the rows" not in run("train", "shop.csv", *FAST, "--quiet")[2]


def test_other_separators(run, fails):
    shop().to_csv("shop.csv", index=False, sep=";")
    assert "--separator ';'" in fails("train", "shop.csv", *FAST)
    assert run("train", "shop.csv", *FAST, "--separator", ";")[0] == 0
    code, out, _ = run("predict", "shop.safetensors", "shop.csv", "--separator", ";")
    assert (code, len(rows_of(out))) == (0, ROWS)
    assert "one ASCII character" in fails("train", "shop.csv", "--separator", ";;")
    assert "for .csv and .tsv" in fails("train", "iris", "--separator", ";")


def test_a_model_that_is_replaced_is_reported(run):
    assert "replaces" not in run("train", write(), *FAST)[2]
    err = run("train", write("other.csv"), *FAST, "--output", "shop.safetensors")[2]
    assert re.search(r"^replaces +shop.safetensors, the model of shop.csv from \d{4}-\d\d-\d\d \d\d:\d\d$", err, re.M)
    network = Network((2, 1))
    save_model("bare.safetensors", network, initial_weights(network))
    assert "bare.safetensors, the model from " in run("train", "shop.csv", *FAST, "--output", "bare.safetensors")[2]


def test_errors_of_numbers_have_about_five_digits(run):
    write(buys=np.random.default_rng(0).normal(2e5, 3e4, ROWS))
    out = run("train", "shop.csv", *FAST)[1]
    assert re.search(r"^mean absolute error +\d{5} +\d{5} +\d{5}$", out, re.MULTILINE)


def test_missing_values_are_filled_on_request(run, fails):
    path = write(age=[np.nan], town=["Ulm", None])
    message = fails("train", path, *FAST)
    assert "'age'" in message
    assert "--impute" in message
    assert run("train", path, *FAST, "--impute")[0] == 0
    assert run("predict", "shop.safetensors", path)[0] == 0
    assert "where missing" in run("show", "shop.safetensors")[1]


def test_methods_of_second_order(run, fails):
    assert run("train", write(), *FAST, "--optimizer", "lbfgs")[0] == 0
    assert "--learning-rate" in fails("train", write(), *FAST, "--optimizer", "lbfgs", "--learning-rate", "0.1")
    assert "squared" in run("train", write(), *FAST, "--optimizer", "levenberg_marquardt")[2]


def test_callbacks_by_name(run, fails):
    log = ("--callback", "json_lines=log.jsonl")
    assert run("train", write(), *FAST, *log, "--output", "with.safetensors")[0] == 0
    with open("log.jsonl") as file:
        lines = [json.loads(line) for line in file]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {"loss", "validation_loss", "validation_score"} <= set(lines[0])
    assert run("train", "shop.csv", *FAST, "--output", "without.safetensors")[0] == 0
    np.testing.assert_array_equal(load_model("with.safetensors").theta, load_model("without.safetensors").theta)
    for name in CALLBACKS:
        assert f"{name}=FILE" in "".join(run("train", "--help")[1].replace("│", "").split())
    assert "did you mean 'json_lines'" in fails("train", "shop.csv", *FAST, "--callback", "json_line=a")
    assert "json_lines=FILE" in fails("train", "shop.csv", *FAST, "--callback", "json_lines")


def test_a_callback_writes_to_no_file_that_is_read_or_written_otherwise(run, fails):
    path = write()
    with open(path) as file:
        before = file.read()
    assert "is an input" in fails("train", path, *FAST, "--callback", f"json_lines={path}")
    assert "as another output does" in fails("train", path, *FAST, "--callback", "json_lines=shop.safetensors")
    with open(path) as file:
        assert file.read() == before


def test_a_callback_of_a_module_can_stop_training(run, monkeypatch):
    with open("my_callbacks.py", "w") as file:
        file.write("def two(progress):\n    return progress.epoch == 2\n")
    # the installed script has its own folder on the path, not the current one
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", os.getcwd())])
    code, out, _ = run("train", write(), *FAST, "--callback", "my_callbacks:two")
    assert code == 0
    assert re.search(r"^training +2 epochs in .* s, stopped by a callback", out, re.MULTILINE)


def test_no_hidden_layer(run):
    assert "5-2 (softmax)" in run("train", write(), "--hidden-layer-sizes", "none", "--no-picture", "--epochs", "2")[2]


def test_pictures(run):
    assert run("train", "iris", "--epochs", "2", "--output", "m.safetensors")[1].count("m.png") == 1
    assert os.path.getsize("m.png") > 1000
    assert run("train", "iris", "--epochs", "2", "--picture", "p.svg")[0] == 0
    with open("p.svg") as file:
        assert "<svg" in file.read()


def test_the_picture_shows_the_score_and_marks_the_lowest_validation_error(run, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        gpubp.cli.train.save, "save_learning_curve", lambda *given, **options: drawn.append((given, options))
    )
    run("train", "iris", "--epochs", "3")
    run("train", "diabetes", "--epochs", "3")
    assert [options["score_name"] for _, options in drawn] == ["accuracy", "R²"]
    for (history, _), options in drawn:
        assert len(history.validation_score) == 3
        assert options["monitored"] == "loss"


def test_without_matplotlib_there_is_a_note_and_no_picture(run, fails, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    code, out, err = run("train", "iris", "--epochs", "2")
    assert code == 0
    assert "picture" not in out
    assert 'pip install "gpubp[cli]"' in err
    assert "matplotlib" in fails("train", "iris", "--picture", "p.png")


# --- saving the model ---


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

    monkeypatch.setattr(gpubp.cli.train.prepare, "make_optimizer", lambda name, rate: gpubp.gradient_descent(optimizer))


def test_a_training_that_diverges_later_keeps_the_last_finite_weights(run, monkeypatch):
    diverges_later(monkeypatch)
    code, out, err = run("train", write(), *FAST, "--json")
    assert code == 1
    assert "holds the weights of epoch 1" in err
    assert json.loads(out)["training"]["stop_reason"] == "diverged"
    assert np.all(np.isfinite(load_model("shop.safetensors").theta))


def test_an_interruption_keeps_what_was_learned(run, monkeypatch):
    def interrupt(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.cli.progress.ignore_progress", interrupt)
    code, out, err = run("train", write(), *FAST, "--patience", "0")
    assert code == 130
    assert "interrupted" in err
    assert "accuracy" in out
    assert load_model("shop.safetensors").about["training"]["stop_reason"] == "interrupted"


def test_an_interruption_in_the_first_epoch_keeps_what_was_learned(run, monkeypatch):
    run_epoch = gpubp.training.epochs.train_on_batches

    def interrupted(*arguments):
        run_epoch(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(gpubp.training.epochs, "train_on_batches", interrupted)
    code, out, _ = run("train", write(), "--device", "cpu")
    assert code == 130
    assert "training   interrupted in the first epoch\n" in out
    assert not os.path.exists("shop.png")
    expected = load_model("shop.safetensors")
    start = initial_weights(expected.network, 0)
    assert np.all(np.isfinite(expected.theta))
    assert not np.array_equal(expected.theta, start)


def test_an_interruption_while_modules_are_loaded_leaves_no_traceback(run, monkeypatch):
    class Interrupt:
        def find_spec(self, name, *others):
            if name == "gpubp.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "gpubp.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    assert run("train", "iris") == (130, "", "")


def test_an_interruption_before_the_training_leaves_no_traceback(run, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpubp.cli.train.prepare, "prepare_table", interrupt)
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
    assert load_model(saved).network.sizes == (5, 5, 2)


def test_a_picture_that_cannot_be_written_does_not_hide_the_scores(run, monkeypatch):
    def fail(*arguments, **options):
        raise gpubp.errors.DataError("the learning curve cannot be written")

    monkeypatch.setattr(gpubp.cli.train.save, "save_learning_curve", fail)
    code, out, err = run("train", write(), "--epochs", "2")
    assert code == 2
    assert "accuracy" in out
    assert "picture" not in out
    assert "error: the learning curve cannot be written" in err
    assert load_model("shop.safetensors")


def test_outputs_are_checked_before_training(fails, monkeypatch):
    write()
    with open("notes.txt", "w") as file:
        file.write("mine")
    monkeypatch.setattr(gpubp.cli.train.fit, "fit_table", None)
    assert "no folder" in fails("train", "shop.csv", "--output", "nowhere/m.safetensors")
    assert "is a folder" in fails("train", "shop.csv", "--output", ".")
    assert "would be overwritten" in fails("train", "shop.csv", "--output", "./shop.csv")
    assert "would be overwritten" in fails("train", "shop.csv", "--output", os.path.abspath("shop.csv"))
    assert "not a model file" in fails("train", "shop.csv", "--output", "notes.txt")
    assert ".png" in fails("train", "shop.csv", "--picture", "p.bmp")
    assert "no folder" in fails("train", "shop.csv", "--picture", "nowhere/p.png")
    assert "both" in fails("train", "shop.csv", "--output", "m.png")
    assert "contradict" in fails("train", "shop.csv", "--picture", "p.png", "--no-picture")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is not writable" in fails("train", "shop.csv")
    with open("notes.txt") as file:
        assert file.read() == "mine"


# --- predict ---


def test_predictions_equal_those_of_the_library(run, model):
    shop().drop(columns="buys").iloc[::-1, ::-1].to_csv("new.csv", index=False)  # rows and columns in another order
    expected = predict_table(load_model(model), "new.csv", device="cpu")
    code, out, err = run("predict", model, "new.csv", "--device", "cpu")
    rows = rows_of(out)
    assert (code, err) == (0, "")
    assert [row["buys"] for row in rows] == expected["buys"].tolist()
    got = np.asarray([row["buys=yes"] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(got, expected["buys=yes"].astype(np.float32))

    for name in ("p.csv", "p.parquet"):
        code, out, err = run("predict", model, "new.csv", "--output", name)
        assert (code, err) == (0, "")
        assert name in out
        table = read_table(name)
        assert list(table.columns) == list(expected)
        assert table.columns["buys"].tolist() == expected["buys"].tolist()
        np.testing.assert_allclose(table.columns["buys=no"], expected["buys=no"], rtol=1e-8)


def test_scores_come_with_the_target_and_go_to_stderr(run, model):
    code, out, err = run("predict", model, write("again.csv"))
    assert code == 0
    assert len(rows_of(out)) == ROWS
    assert re.match(r"scores +accuracy \d", err)
    assert "was trained on" not in err
    code, out, err = run("predict", model, write("again.csv", buys=["perhaps"]))
    assert code == 0
    assert len(rows_of(out)) == ROWS
    assert "no scores: " in err
    assert "'perhaps'" in err


def test_predictions_in_lower_precision(run, model):
    shop().to_csv("new.csv", index=False)
    how = ("predict", model, "new.csv", "--device", "cpu")
    plain = [float(row["buys=yes"]) for row in rows_of(run(*how)[1])]
    code, out, _ = run(*how, "--matmul-precision", "bfloat16")
    assert code == 0
    found = [float(row["buys=yes"]) for row in rows_of(out)]
    expected = predict_table(load_model(model), "new.csv", device="cpu", matmul_precision="bfloat16")["buys=yes"]
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert found != plain
    code, _, err = run(*how, "--matmul-precision", "bfloat")
    assert code == 2
    assert "bfloat16" in err


def test_predictions_as_json(run, model):
    result = json.loads(run("predict", model, "shop.csv", "--json")[1])
    assert result["rows"] == len(result["predictions"]["buys"]) == ROWS
    assert result["scores"]["accuracy"] <= 1
    result = json.loads(run("predict", model, "shop.csv", "--json", "--output", "p.csv")[1])
    assert result["output"] == "p.csv"
    assert "predictions" not in result


def test_labels_with_commas_and_quotes_are_quoted_in_csv(run):
    label = 'a, "b"\nc'
    write(buys=[label] * 30)
    run("train", "shop.csv", *FAST)
    rows = rows_of(run("predict", "shop.safetensors", "shop.csv")[1])
    assert len(rows) == ROWS
    assert f"buys={label}" in rows[0]


def test_tables_that_do_not_fit_the_model_are_refused(fails, model):
    shop().assign(extra=1).to_csv("more.csv", index=False)
    shop().drop(columns="age").to_csv("less.csv", index=False)
    assert "'extra'" in fails("predict", model, "more.csv")
    assert "'age'" in fails("predict", model, "less.csv")
    assert "'Rom'" in fails("predict", model, write("unseen.csv", town=["Rom"]))
    assert "missing" in fails("predict", model, write("missing.csv", income=[np.nan]))
    assert "infinity" in fails("predict", model, write("infinity.csv", income=[np.inf]))
    assert "non-numeric" in fails("predict", model, write("text.csv", income=["much"]))


def test_predict_does_not_overwrite_its_inputs(fails, model):
    assert "would be overwritten" in fails("predict", model, "shop.csv", "--output", "shop.csv")
    assert " or ".join(FORMATS) in fails("predict", model, "shop.csv", "--output", "p.txt")
    assert "no folder" in fails("predict", model, "shop.csv", "--output", "nowhere/p.csv")


def test_files_that_are_not_models_are_refused(fails):
    write()
    for command in (["predict", "shop.csv", "shop.csv"], ["show", "shop.csv"]):
        assert "shop.csv is not a model file" in fails(*command)
    assert "does not exist" in fails("show", "nothing.safetensors")
    assert "folder" in fails("show", ".")
    network = Network((2, 1))
    save_model("bare.safetensors", network, initial_weights(network))
    assert "no preprocessing" in fails("predict", "bare.safetensors", "shop.csv")


# --- show ---


def test_show(run, model):
    code, out, err = run("show", model)
    assert (code, err) == (0, "")
    assert f"format 1, gpubp {gpubp.__version__}, float32" in out
    assert re.search(r"^hidden 1 +relu +5 +6 x 5 +30 *$", out, re.MULTILINE)
    assert re.search(r"^output +softmax +2 +6 x 2 +12 *$", out, re.MULTILINE)
    assert re.search(r"^all +42 *$", out, re.MULTILINE)
    assert re.search(r"^town +categories +Bonn, Köln, Ulm *$", out, re.MULTILINE)
    assert re.search(r"^age +numbers +mean \d", out, re.MULTILINE)
    assert "buys, one of no, yes" in out
    assert re.search(r"^rows +42 +6 +12 *$", out, re.MULTILINE)
    assert "adam" in out


def test_show_as_json(run, model):
    result = json.loads(run("show", model, "--json")[1])
    assert result["network"]["sizes"] == [5, 5, 2]
    assert result["network"]["layers"][0] == {"activation": "relu", "shape": [6, 5], "parameters": 30}
    assert result["about"] == load_model(model).about
    assert result["preprocessing"]["target"]["name"] == "buys"
    assert result["version"] == gpubp.__version__


def test_many_columns_are_shortened(run):
    run("train", "digits", *FAST)
    out = run("show", "digits.safetensors")[1]
    assert "and 52 more columns" in out
    assert "pixel_7_7" not in out


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"scores": 3},
        {"scores": {"here": {"beauty": 1.0}}, "rows": {"here": "x"}},
        {"training": [1], "optimizer": "own"},
    ],
)
def test_models_of_other_programs_are_shown(run, about):
    network = Network((2, 3, 1), bias=False)
    save_model("own.safetensors", network, initial_weights(network, seed=[0, 1]), about=about)
    code, out, err = run("show", "own.safetensors")
    assert (code, err) == (0, "")
    assert "a stack of 2 networks" in out
    assert "2 x 3" in out


# --- bad input ---

BAD = {
    "unknown column": ({}, ["--target", "bys"], "did you mean 'buys'"),
    "target missing": ({"buys": [None]}, [], "'buys' is missing in 1 of 60 rows"),
    "missing value": ({"age": [np.nan]}, [], "1 in column 'age'"),
    "text": ({"age": ["old"]}, [], "column 'age', row 1: 'old' is non-numeric text"),
    "infinity": ({"income": [np.inf]}, [], "infinity"),
    "one class": ({"buys": ["yes"] * ROWS}, [], "has only one class"),
    "text as numbers": ({}, ["--task", "regression"], "non-numeric text"),
    "activation": ({}, ["--hidden-layer-sizes", "10,x"], "--hidden-layer-sizes"),
    "many hidden": ({}, ["--hidden-layer-sizes", "9" * 30], "--hidden-layer-sizes"),
    "no hidden": ({}, ["--hidden-layer-sizes", "0"], "--hidden-layer-sizes"),
    "batch": ({}, ["--batch-size", "many"], "--batch-size"),
    "optimizer": ({}, ["--optimizer", "adamm"], "did you mean 'adam'"),
    "rate": ({}, ["--learning-rate", "-1"], "--learning-rate"),
    "unit": ({}, ["--activation", "rleu"], "did you mean 'relu'"),
    "error": ({}, ["--loss", "crossentropy"], "did you mean 'cross_entropy'"),
    "fraction": ({}, ["--test-fraction", "1"], "must be fractions"),
    "device": ({}, ["--device", "gpu"], "cuda"),
    "task": ({}, ["--task", "classify"], "'classification' or 'regression'"),
    "dtype": ({}, ["--dtype", "float16"], "float32"),
    "drop": ({}, ["--drop", "bye"], "no column 'bye'"),
}


@pytest.mark.parametrize("sample", BAD)
def test_bad_input_is_one_line(fails, sample):
    changes, options, expected = BAD[sample]
    write(**changes)
    assert expected in fails("train", "shop.csv", *options)
    assert os.listdir() == ["shop.csv"]


def test_files_that_cannot_be_read(fails):
    with open("empty.csv", "w") as file:
        file.write("a,b\n")
    with open("ragged.csv", "w") as file:
        file.write("a,b\n1,2\n3\n")
    with open("nothing.csv", "w"):
        pass
    with open("foreign.parquet", "wb") as file:
        file.write(b"PAR0" * 10)
    assert "no rows" in fails("train", "empty.csv")
    assert "row 3" in fails("train", "ragged.csv")
    assert "is empty" in fails("train", "nothing.csv")
    assert "foreign.parquet cannot be read" in fails("train", "foreign.parquet")
    assert "did you mean 'digits'" in fails("train", "digit")
    assert "no such file" in fails("train", "there-is-none.csv")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["train"], ["train", "iris", "--nonsense"], ["train", "iris", "--epochs", "0"], ["--nonsense"]],
)
def test_wrong_usage_ends_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


def test_names_from_the_data_are_neither_markup_nor_control(run):
    name = "[red]a\x1b[31m[/red]"
    shop().rename(columns={"age": name}).to_csv("shop.csv", index=False)
    code, out, err = run("train", "shop.csv", *FAST, "--target", name, "--task", "regression")
    assert code == 0
    assert r"[red]a\x1b[31m[/red]" in err
    assert "\x1b" not in out + err
    assert run("train", "shop.csv", *FAST)[0] == 0
    shown = run("show", "shop.safetensors")[1]
    assert r"[red]a\x1b[31m[/red]" in shown
    assert "\x1b" not in shown


# --- the program ---


def test_version_and_help(run):
    assert run("--version") == (0, f"gpubp {gpubp.__version__}\n", "")
    out = run("--help")[1]
    for command in ("train", "predict", "show", "doctor", "explain", "warmup"):
        assert re.search(rf"\b{command}\b", out)
        code, reported, _ = run(command, "--help")
        assert code == 0
        assert "<bool>" not in reported
    assert "<bool>" not in out


def test_typers_own_runner():
    result = CliRunner().invoke(app, ["train", "iris", *FAST, "--json", "--quiet"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rows"]["test"] == 30


def test_doctor_and_explain_exist(run):
    assert run("doctor")[0] in (0, 1)
    assert run("explain")[0] == 0


def test_without_typer_the_fix_is_reported(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    assert run("train", "iris") == (2, "", 'gpubp\'s command line needs: pip install "gpubp[cli]"\n')


def test_running_out_of_memory_gives_no_traceback(run, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(gpubp.cli.train.prepare, "prepare_table", fail)
    code, _, err = run("train", "iris")
    assert code == 2
    assert err.startswith("error: there is not enough memory")


def process(*arguments, program=("-m", "gpubp"), stdout=subprocess.PIPE, environment=()):
    """Run the program as users do."""
    given = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(gpubp.__file__)), **dict(environment)}
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=given, check=False, timeout=120)


@pytest.mark.slow
def test_piped_output_is_plain():
    write()
    narrow = {"PYTHONIOENCODING": "ascii", "TERM": "xterm-256color", "COLUMNS": "20"}
    done = process("train", "shop.csv", *FAST, environment=narrow)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stdout.isascii()
    assert b"\r" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) > 40  # not wrapped: other programs read it
    predicted = process("predict", "shop.safetensors", "shop.csv", environment=narrow)
    assert predicted.returncode == 0
    assert predicted.stdout.decode().startswith("buys,buys=no,buys=yes\n")
    assert b"\x1b" not in predicted.stdout + predicted.stderr
    assert rb"K\xf6ln" in process("show", "shop.safetensors", environment=narrow).stdout


def test_an_error_ends_the_process_with_2():
    done = process("predict", "none.safetensors", "none.csv")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.splitlines() == [done.stderr.strip()]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["predict", "shop.csv"]], ids=" ".join)
def test_a_full_disk_is_one_line(model, arguments):
    with open("/dev/full", "w") as full:
        done = process(arguments[0], model, *arguments[1:], stdout=full, environment={"PYTHONUNBUFFERED": ""})
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"No space left on device" in done.stderr.splitlines()[0]
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way on Windows")
def test_a_closed_pipe_is_not_an_error(model):
    pd.concat([shop()] * 300).to_csv("long.csv", index=False)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(gpubp.__file__))}
    command = [sys.executable, "-m", "gpubp", "predict", model, "long.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout.readline().startswith(b"buys")
        running.stdout.close()
        err = running.stderr.read()
    assert b"Traceback" not in err
    assert b"Exception" not in err
    assert b"error" not in err


INTERRUPTED = """
import os, signal, sys
from gpubp import __main__
from gpubp.cli import progress

def interrupt(seen):
    if seen.epoch == 3:
        os.kill(os.getpid(), signal.SIG{name})

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
progress.ignore_progress = interrupt
sys.exit(__main__.main())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are sent in another way on Windows")
@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_signal_ends_the_process_with_its_code_and_a_model(name, code):
    program = ["-c", INTERRUPTED.format(name=name)]
    done = process("train", write(), *FAST, "--epochs", "100000", "--patience", "0", program=program)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"interrupted" in done.stdout
    assert load_model("shop.safetensors").about["training"]["epochs"] == 3
