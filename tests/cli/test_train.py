"""``gpubp train``: tables and options, its output on each stream, callbacks, pictures."""

import importlib.util
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gpubp
from gpubp import load_model, save_model
from gpubp.cli.train import prepare
from gpubp.data import read_table
from gpubp.errors import DataError
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.tabular import REALMLP, REALMLP_S, TABM, Candidate, fit_table, predict_table, prepare_table
from gpubp.training.callbacks import CALLBACKS
from tests.shop import FAST, ROWS, rows_of, shop, write


def test_digits_end_to_end(run):
    code, out, err = run("train", "digits", "--device", "cpu", "--preset", "fast")
    assert code == 0
    [(accuracy, baseline)] = re.findall(r"^accuracy .* (\S+) +(\S+)$", out, re.MULTILINE)
    assert float(baseline) < 0.2
    assert float(accuracy) >= 0.97
    assert load_model("digits.safetensors").about["scores"]["test"]["accuracy"] == pytest.approx(
        float(accuracy), abs=1e-4
    )
    with open("digits.png", "rb") as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"
    for text in (
        "1,797 rows",
        "60 of numbers, 4 dropped: 504 inputs (a number has one for its value and one for each of its bins)",
        "... and 45 more columns of numbers without missing values; when it is trained, gpubp show digits.safetensors",
        "constant, '0'",
        "10 classes",
        "classification",
        "504-100-10",
        "51,510",
        "cpu",
    ):
        assert text in err
    assert "gpubp predict digits.safetensors DATA" in err

    code, out, err = run("predict", "digits.safetensors", "digits", "--device", "cpu")
    predicted = [row["target"] for row in rows_of(out)]
    assert code == 0
    assert np.mean(read_table("digits").columns["target"].astype(str) == predicted) >= 0.97
    assert re.search(r"^accuracy +(1.0|0\.9)", err, re.MULTILINE)
    assert "was trained on" in err


def test_rows_are_encoded_in_the_precision_of_the_training(fails, monkeypatch):
    dtypes = []

    def prepared(*arguments, **options):
        dtypes.append(prepare_table(*arguments, **options).X.dtype.name)
        raise DataError("stop")

    monkeypatch.setattr(prepare, "prepare_table", prepared)
    for dtype in ("float32", "float64"):
        assert "stop" in fails("train", write(), "--dtype", dtype, *FAST)
    assert dtypes == ["float32", "float64"]


def test_notes_go_to_stderr_and_scores_to_stdout(run):
    code, out, err = run("train", write(), *FAST)
    assert code == 0
    for text in ("shop.csv: 60 rows", "2 of numbers, 1 of categories: 15 inputs", "buys: 2 classes (no, yes)"):
        assert text in err
        assert text not in out
    assert "cpu (as requested)" in err
    assert "values and outliers of the 42 training rows; missing and distinct of all rows" in err
    assert re.search(r"^town +category +Bonn, Köln, Ulm +3 *$", err, re.MULTILINE)
    assert out.splitlines()[0].split() == ["train", "validation", "test", "baseline"]
    assert [line.split("  ")[0] for line in out.splitlines()[1:7]] == [
        "accuracy",
        "balanced accuracy",
        "macro F1",
        "log loss",
        "ROC AUC",
        "calibration error",
    ]
    assert re.search(r"^rows +42 +6 +12 *$", out, re.MULTILINE)
    assert re.search(r"^model +shop.safetensors$", out, re.MULTILINE)
    assert set(os.listdir()) == {"shop.csv", "shop.safetensors"}


def test_quiet_prints_only_the_result(run):
    code, out, err = run("train", write(), *FAST, "--quiet", "--learning-rate", "0.03")
    assert (code, err) == (0, "")
    assert "accuracy" in out


def test_json_output_is_one_object(run):
    code, out, err = run("train", write(), *FAST, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["model"] == "shop.safetensors"
    assert result["picture"] is None
    assert result["rows"] == {"train": 42, "validation": 6, "test": 12}
    types = {column["name"]: column["type"] for column in result["columns"]}
    assert types == {"age": "number", "income": "number", "town": "category", "buys": "target"}
    assert set(result["baseline"]) == set(result["scores"]["test"])
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
        "--label-smoothing",
        "0.1",
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
        label_smoothing=0.1,
        seed=5,
        dtype="float64",
        patience=None,
        device="cpu",
    ).model
    got = load_model("m.safetensors")
    np.testing.assert_array_equal(got.theta, expected.theta)
    assert got.about.pop("command")[:3] == ["gpubp", "train", "shop.csv"]
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
        assert re.search(rf"^{metric} +\S+ +\S+ +\S+ +\S+$", out, re.MULTILINE)
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
    assert "1 of numbers, 2 of categories: " in run("train", write(), *FAST, "--categorical", "age")[2]


def test_names_of_columns_may_be_a_list_with_commas(run, fails):
    taken = {"age": "a", "income": "b", "town": "a,b"}
    shop().rename(columns=taken).to_csv("shop.csv", index=False)
    assert (
        "2 of numbers, 1 dropped: 12 inputs" in run("train", "shop.csv", *FAST, "--drop", "a,b")[2]
    )  # the column of that name
    write()
    assert "1 of categories, 2 dropped: 3 inputs" in run("train", "shop.csv", *FAST, "--drop", "age, income")[2]
    assert "3 of categories: " in run("train", "shop.csv", *FAST, "--categorical", "age,income")[2]
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
def test_a_column_that_numbers_the_rows_is_dropped(run, first):
    shop().assign(number=range(first, ROWS + first)).to_csv("shop.csv", index=False)
    err = run("train", "shop.csv", *FAST, "--target", "buys")[2]
    assert re.search(r"^number +dropped +row numbers: ", err, re.MULTILINE)
    err = run("train", "shop.csv", *FAST, "--target", "buys", "--type", "number=number")[2]
    assert re.search(r"^number +number +\d+ to \d+ +as requested", err, re.MULTILINE)


def test_other_separators(run, fails):
    shop().to_csv("shop.csv", index=False, sep=";", decimal=",")
    code, _, err = run("train", "shop.csv", *FAST)
    assert code == 0
    assert re.search("^reading +fields are separated by ';'", err, re.MULTILINE)
    assert "decimal comma" in err
    assert "reading" not in run("train", "shop.csv", *FAST, "--separator", ";", "--read", "decimal=,", "--quiet")[2]
    code, out, _ = run("predict", "shop.safetensors", "shop.csv", "--separator", ";")
    assert (code, len(rows_of(out))) == (0, ROWS)
    assert "one ASCII character" in fails("train", "shop.csv", "--separator", ";;")
    assert "for text files" in fails("train", "iris", "--separator", ";")
    assert "did you mean 'header'" in fails("train", "shop.csv", "--read", "headr=no")


def test_a_model_that_is_replaced_is_reported(run):
    assert "replaces" not in run("train", write(), *FAST)[2]
    score = load_model("shop.safetensors").about["scores"]["test"]["accuracy"]
    err = run("train", write("other.csv"), *FAST, "--output", "shop.safetensors")[2]
    former = r"shop.safetensors, the model of shop.csv from \d{4}-\d\d-\d\d \d\d:\d\d, test accuracy"
    assert re.search(rf"^note: this replaces {former} {score:.4f}; to keep that", err, re.M)
    network = Network((2, 1))
    save_model("bare.safetensors", network, initial_weights(network))
    assert "bare.safetensors, the model from " in run("train", "shop.csv", *FAST, "--output", "bare.safetensors")[2]


def test_errors_of_a_regression_have_about_five_digits(run):
    write(buys=np.random.default_rng(0).normal(2e5, 3e4, ROWS))
    out = run("train", "shop.csv", *FAST)[1]
    assert re.search(r"^mean absolute error +\d{5} +\d{5} +\d{5} +\d{5}$", out, re.MULTILINE)


def test_what_is_missing_is_filled_and_counted_or_refused_at_once(run, fails):
    path = write(age=[33, "?"], town=["Ulm", None], income=[1.0, 2.0, "unknown"], buys=[None])
    err = run("train", path, *FAST, "--target", "buys")[2]
    for name in ("age", "town", "buys"):
        assert re.search(rf"^{name} .* 1  +\d+ *$", err, re.MULTILINE)
    assert re.search(r"^income +number .*; 1 other value, 'unknown', is taken as missing +1 ", err, re.MULTILINE)
    assert re.findall("^note: .*not of the column's type.*$", err, re.MULTILINE) == [
        f"note: {path}: column 'income': 1 of {ROWS - 1} values is not of the column's type, and taken as missing "
        "(first in row 3 (not counting the header): 'unknown')"
    ]
    assert run("predict", "shop.safetensors", path)[0] == 0
    message = fails("train", path, *FAST, "--strict")
    for part in ("1 row without the target 'buys'", "column 'age': 1", "column 'town': 1", "'unknown'"):
        assert part in message


def test_texts_that_mean_missing_can_be_named(run):
    path = write(age=["-999", "-999"])
    assert not re.search(r"^age .* 2  +\d+ *$", run("train", path, *FAST)[2], re.MULTILINE)
    err = run("train", path, *FAST, "--missing", "-999")[2]
    assert re.search(r"^age .* 2  +\d+ *$", err, re.MULTILINE)
    assert "-999 to" not in err


def test_second_order_optimizers(run, fails):
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


def test_the_picture_shows_the_score_and_marks_the_lowest_validation_loss(run, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "gpubp.cli.train.save.save_learning_curve", lambda *given, **options: drawn.append((given, options))
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
    assert "pip install matplotlib" in err
    assert "matplotlib" in fails("train", "iris", "--picture", "p.png")


# --- the preset best ---


@pytest.fixture
def two_candidates(monkeypatch):
    candidates = (Candidate(), Candidate("linear", (8,), 0.02, 0.003))
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", candidates)


@pytest.mark.usefixtures("two_candidates")
def test_without_options_the_best_of_several_networks_is_searched(run):
    code, out, err = run("train", write(), "--no-picture", "--device", "cpu")
    assert code == 0
    assert "the best of up to 2 kinds that are tried in about 60 s (--time-budget), 5 networks each" in err
    assert "48 for training, in 5 folds, 12 for the test scores" in err
    assert out.splitlines()[0].split("  ")[0] == "numbers"
    assert sorted(line.split()[0] for line in out.splitlines()[1:3]) == ["linear", "piecewise"]
    assert sum(line.rstrip().endswith("kept") for line in out.splitlines()[1:3]) == 1
    losses = [float(line.split()[4]) for line in out.splitlines()[1:3]]
    assert losses == sorted(losses)
    assert re.search(
        r"^training +2 kinds of network tried in .* s; 20 networks of the kept kind were trained again", out, re.M
    )
    about = load_model("shop.safetensors").about
    assert about["training"]["preset"] == "best"
    assert run("predict", "shop.safetensors", "shop.csv")[0] == 0
    table = out.splitlines()[:3]
    code, out, _ = run("show", "shop.safetensors")
    assert code == 0
    assert set(table) <= set(out.splitlines())
    assert "{" not in out
    code, _, err = run("explain", "shop.safetensors", "--data", "shop.csv")
    assert code == 0
    assert "shop.safetensors holds 20 networks, whose outputs are averaged; this is the first of them" in err
    code, out, _ = run("train", write(), "--no-picture", "--device", "cpu", "--json", "--no-refit")
    assert [trial["numbers"] for trial in json.loads(out)["training"]["trials"]] == ["piecewise", "linear"]


@pytest.mark.usefixtures("two_candidates")
def test_the_search_takes_epochs_and_patience_as_limits_of_each_training(run):
    options = ("--no-picture", "--device", "cpu", "--preset", "best", "--epochs", "2", "--patience", "1")
    code, out, _ = run("train", write(), *options)
    assert code == 0
    trials = load_model("shop.safetensors").about["training"]["trials"]
    assert {trial["epochs"] for trial in trials} <= {1, 2}
    assert re.search(r"were trained again on all rows, for [12] epochs? \([12] in its trial\)", out)


def test_other_inputs_of_all_rows_are_reported(run):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"town": [f"t{k // 2}" for k in range(60)], "y": random.normal(size=60)})
    frame.to_csv("towns.csv", index=False)
    code, out, err = run("train", "towns.csv", *FAST)
    assert code == 0
    [shown] = re.findall(r"^columns .*: (\d+) inputs \(each category has one\)$", err, re.M)
    n_inputs = load_model("towns.safetensors").network.sizes[0]
    assert n_inputs == 30 > int(shown)
    assert re.search(
        rf"^network .*; the categories and bins of all rows make 30 inputs, those for training {shown}$", out, re.M
    )
    assert re.search(r"^network +30-", out, re.M)
    network = json.loads(run("train", "towns.csv", *FAST, "--json")[1])["network"]
    assert network["sizes"][0] == n_inputs


@pytest.mark.parametrize(
    ("categories", "n_towns", "sizes", "reason"),
    [
        ("target", 3, "5", "it is for columns of more than 10 categories"),
        ("embedding", 3, "5", "it is for columns of categories of more than 9 inputs"),
        ("embedding", 12, "none", "a network without hidden layers would compute the same"),
    ],
)
def test_encodings_of_categories_without_effect_are_noted(categories, n_towns, sizes, reason, run):
    data = write(town=[f"town {k % n_towns}" for k in range(ROWS)])
    err = run("train", data, *FAST, "--categories", categories, "--hidden-layer-sizes", sizes)[2]
    assert f"note: categories={categories!r} (--categories {categories}) changes nothing: {reason}" in err


@pytest.mark.usefixtures("two_candidates")
def test_a_time_budget_is_shown_and_kept(run):
    code, out, err = run("train", write(), "--no-picture", "--device", "cpu", "--time-budget", "0.001", "--quiet")
    assert (code, err) == (0, "")
    assert "1 of 2 kinds of network tried" in out
    untried = "trials begin in the first half of the time budget of 0.001 s, which was enough for 1 of 2 kinds"
    assert f"{untried}; a larger --time-budget tries the rest" in out
    shown = run("show", "shop.safetensors")[1]
    assert untried in shown
    assert "n_untried" not in shown
    code, _, err = run("train", write(), "--no-picture", "--device", "cpu", "--epochs", "2", "--l2", "1")
    assert re.search(r"^preset +fast, not best, because of --epochs, --l2$", err, re.M)


def test_restarts_are_announced_and_the_kept_one_is_named(run):
    options = ("--restarts", "3", "--epochs", "3", "--save-config", "run.toml")
    code, out, err = run("train", write(), *options, "--device", "cpu", "--no-picture", "--report", "page.html")
    assert code == 0
    assert re.search(r"^network +the best of 3 restarts, each [\d-]+ \(relu", err, re.M)
    (words,) = re.findall(r"^restarts +(number [123] of 3 is kept, with the loss .*; the others have .*)$", out, re.M)
    assert words in Path("page.html").read_text()
    shown = run("show", "shop.safetensors")[1]
    assert words in shown
    assert "restart_losses" not in shown
    assert "restarts = 3\n" in Path("run.toml").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--restarts", "3", "--networks", "2"),
            "keeps the best of 3 networks, and n_networks (--networks) averages 2",
        ),
        (
            ("--preset", "best", "--networks", "5", "--l2", "1"),
            "best cannot be combined with --networks, --l2 (best chooses --networks, --l2 itself)",
        ),
        (
            ("--time-budget", "5", "--networks", "2"),
            "is for --preset best, not with --networks (best chooses --networks itself);",
        ),
        (("--time-budget", "5", "--preset", "fast"), "--time-budget is for --preset best, not with --preset fast"),
        (("--time-budget", "5", "--preset", "realmlp"), "is for --preset best, not with --preset realmlp"),
        (
            ("--preset", "realmlp", "--epochs", "5", "--activation", "tanh"),
            "--preset realmlp cannot be combined with --activation, --epochs; omit one or the other",
        ),
        (
            ("--preset", "realmlp", "--validation-fraction", "0.3"),
            "--preset realmlp cannot be combined with --validation-fraction; omit one or the other",
        ),
        (
            (
                "--time-budget",
                "0",
            ),
            "--time-budget must be a number of seconds above 0, got 0",
        ),
        (
            (
                "--preset",
                "quick",
            ),
            "unknown --preset 'quick'",
        ),
    ],
    ids=["restarts", "best", "budget", "fast", "budget and realmlp", "realmlp", "its rows", "zero", "unknown"],
)
def test_presets_and_options_that_contradict_each_other(fails, options, words):
    assert words in fails("train", write(), *options)


@pytest.mark.parametrize(
    ("preset", "recipes", "layers"),
    [
        (
            "realmlp",
            REALMLP,
            r"[\d-]+-8-8-2 \(cosine, identity, identity, parametric\(selu\), parametric\(selu\), softmax\)",
        ),
        ("realmlp-s", REALMLP_S, r"(\d+)-\1-8-8-2 \(identity, selu, selu, softmax\)"),
    ],
)
def test_the_presets_of_realmlp(run, monkeypatch, preset, recipes, layers):
    for task, recipe in recipes.items():
        monkeypatch.setitem(recipes, task, replace(recipe, hidden_layer_sizes=(8, 8), epochs=3))
    code, _, err = run("train", write(), "--preset", preset, "--device", "cpu", "--no-picture", "--networks", "2")
    assert code == 0
    assert re.search(rf"^network +2 networks, each {layers}", err, re.M)
    about = load_model("shop.safetensors").about
    training = about["training"]
    assert (training["preset"], training["epochs"], training["label_smoothing"]) == (preset, 3, 0.1)
    assert "refit" not in about
    code, out, _ = run("show", "shop.safetensors")
    assert code == 0
    assert f"preset {preset}" in out
    assert run("predict", "shop.safetensors", "shop.csv")[0] == 0


def test_the_preset_tabm(run, monkeypatch):
    for task, recipe in TABM.items():
        monkeypatch.setitem(TABM, task, replace(recipe, hidden_layer_sizes=(8, 8), epochs=3, n_members=4))
    code, _, err = run("train", write(), "--preset", "tabm", "--device", "cpu", "--no-picture")
    assert code == 0
    assert re.search(r"^network +\d+-8-8-2 \(relu, relu, softmax\), 4 members", err, re.M)
    network = load_model("shop.safetensors").network
    code, out, _ = run("show", "shop.safetensors")
    assert code == 0
    assert "preset tabm" in out
    assert re.search(rf"^output +softmax +2 +9 x 2 +{4 * 9 * 2}$", out, re.M)
    assert re.search(rf"^all +{network.n_parameters:,}$", out, re.M)
    assert run("predict", "shop.safetensors", "shop.csv")[0] == 0


def test_a_table_of_two_rows_is_warned_of(run):
    Path("two.csv").write_text("a,y\n1,2\n3,4\n")
    code, _, err = run("train", "two.csv", *FAST, "--quiet")
    assert code == 0
    assert err.startswith("warning: two.csv has 2 rows with a target, of which none are held out: nothing shows")
