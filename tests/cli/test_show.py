"""``gpubp show``: a model file as text and as JSON."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import gpubp
from gpubp import load_model, save_model
from gpubp._core.text import number
from gpubp.io.model_facts import linear_part_text
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from tests.shop import FAST, write


def test_show(run, model):
    code, out, err = run("show", model)
    assert (code, err) == (0, "")
    assert f"format 1, gpubp {gpubp.__version__}, float32" in out
    assert re.search(r"^hidden 1 +relu +5 +20 x 5 +100 *$", out, re.MULTILINE)
    assert re.search(r"^output +softmax +2 +6 x 2 +12 *$", out, re.MULTILINE)
    assert re.search(r"^all +112 *$", out, re.MULTILINE)
    assert re.search(r"^town +category +Bonn, Köln, Ulm +3 *$", out, re.MULTILINE)
    assert re.search(r"^age +number +\d+ to \d+ +\d+ *$", out, re.MULTILINE)
    assert "buys, one of no, yes" in out
    assert re.search(r"^numbers +piecewise *$", out, re.MULTILINE)
    assert re.search(r"^rows +42 +6 +12 *$", out, re.MULTILINE)
    assert "adam" in out


def test_the_values_of_a_numeric_target_and_the_baseline_are_shown(run):
    assert run("train", write(), *FAST, "--target", "age")[0] == 0
    model, out = load_model("shop.safetensors"), run("show", "shop.safetensors")[1]
    target = model.preprocessing["target"]
    values = [number(target[name][0]) for name in ("means", "lows", "highs")]
    assert "age, mean {}, predicted from {} to {}\n".format(*values) in out
    scores = re.search(r"^ +train +validation +test +baseline *\n((?:.+\n)+)", out, re.MULTILINE)[1]
    assert re.search(rf"^mean absolute error .* {number(model.about['baseline']['mae'])} *$", scores, re.MULTILINE)


def test_the_command_that_made_the_model_is_shown_as_a_shell_takes_it(run):
    assert run("train", write(), *FAST, "--missing", "not known")[0] == 0
    command = re.search(r"^command +(.+)$", run("show", "shop.safetensors")[1], re.MULTILINE)[1]
    assert command.startswith("gpubp train shop.csv ")
    assert "--missing 'not known'" in command


def test_numbers_of_the_training_are_short(run):
    assert run("train", write(), *FAST, "--class-weight", "no=1,yes=3.14159265358979")[0] == 0
    assert "class_weight (no 1, yes 3.14159), " in run("show", "shop.safetensors")[1]


def test_the_encoding_of_numbers_is_shown(run):
    assert run("train", write(), *FAST, "--numbers", "robust")[0] == 0
    assert re.search(r"^numbers +robust *$", run("show", "shop.safetensors")[1], re.MULTILINE)


def test_the_rows_that_the_table_of_columns_describes_are_named_unless_they_are_all(run):
    table = "values and outliers of the training rows; missing and distinct of all rows"
    for options, is_said in ((["--no-refit"], True), ([], False)):
        assert run("train", write(), *FAST, *options)[0] == 0
        assert (table in run("show", "shop.safetensors")[1]) == is_said


def test_show_as_json(run, model):
    result = json.loads(run("show", model, "--json")[1])
    assert result["network"]["sizes"] == [19, 5, 2]
    assert result["network"]["layers"][0] == {"activation": "relu", "shape": [20, 5], "parameters": 100}
    assert result["about"] == load_model(model).about
    assert result["preprocessing"]["target"]["name"] == "buys"
    assert result["version"] == gpubp.__version__


def test_the_parameters_of_members_are_shown(run):
    network = Network((3, 4, 2), n_members=5)
    save_model("members.safetensors", network, initial_weights(network, seed=[0, 1]))
    out = run("show", "members.safetensors")[1]
    assert "a stack of 2 networks, each of 5 members that share weights" in out
    assert re.search(r"^layer +activation +units +shared weights +of each member +parameters *$", out, re.MULTILINE)
    assert re.search(r"^hidden 1 +relu +4 +3 x 4 +3 \+ 2 x 4 +67 *$", out, re.MULTILINE)  # 3 x 4 and 5 times 3 + 2 x 4
    assert re.search(r"^output +identity +2 +5 x 2 +50 *$", out, re.MULTILINE)
    assert re.search(r"^all +117 *$", out, re.MULTILINE)
    shown = json.loads(run("show", "members.safetensors", "--json")[1])["network"]
    assert shown["members"] == 5
    assert [layer["shape"] for layer in shown["layers"]] == [[3, 4], [5, 2]]


def test_a_pipe_has_all_of_many_columns(run):
    run("train", "digits", *FAST)
    out = run("show", "digits.safetensors")[1]
    assert "more columns" not in out
    assert "pixel_7_7" in out
    assert re.search(r"^target +target +0, 1, 2, 3, ", out, re.MULTILINE)


TRIAL = {
    **{"numbers": "linear", "hidden_layer_sizes": [100, 20], "l2": 0.02, "learning_rate": 0.003, "loss": 0.25},
    **{"epochs": 1200, "seconds": 0.5, "is_kept": False},
}


def test_the_trials_of_a_search_are_a_table(run):
    trials = [TRIAL, {**TRIAL, "numbers": "piecewise", "hidden_layer_sizes": [], "loss": 0.125, "is_kept": True}]
    trials.append({**TRIAL, "numbers": "diverged", "loss": None, "recipe": "realmlp", "ended_early": True})
    training = {"preset": "best", "trials": trials, "seed": 3}
    network = Network((2, 3, 1))
    save_model("own.safetensors", network, initial_weights(network, seed=0), about={"training": training})
    code, out, err = run("show", "own.safetensors")
    assert (code, err) == (0, "")
    assert re.search(r"^training +preset best, seed 3$", out, re.MULTILINE)
    rows = [line.split() for line in out.splitlines() if re.match("numbers|linear|piecewise|diverged", line)]
    assert rows == [
        ["numbers", "hidden", "l2", "rate", "loss", "out", "of", "fold", "epochs", "seconds"],
        ["piecewise", "none", "0.0200", "0.0030", "0.1250", "1,200", "0.5", "kept"],
        ["linear", "100-20", "0.0200", "0.0030", "0.2500", "1,200", "0.5"],
        ["diverged", "100-20", "realmlp", "0.0200", "0.0030", "inf", "1,200", "0.5", "ended", "early"],
    ]
    assert re.search(r"^ended early: more than 2 % .* the loss is that so far$", out, re.MULTILINE)  # in one line


@pytest.mark.parametrize(
    "trials",
    [
        *([], 3, "many", {"a": 1}, [3, None, []], [{}], [TRIAL, {}, 3]),
        [
            dict.fromkeys(TRIAL, value)
            for value in (None, "\x1b[31m", [[1], "a"], {"a": {}}, True, 10**400, -0.0, 1e308)
        ],
        [{**TRIAL, "numbers": "x" * 500, "hidden_layer_sizes": [1] * 500}] * 300,
    ],
    ids=lambda value: str(value)[:20],
)
def test_trials_that_a_file_forges_are_shown_in_short(run, trials):
    network = Network((2, 3, 1))
    about = {"training": {"seed": 3, "trials": trials}}
    save_model("own.safetensors", network, initial_weights(network, seed=0), about=about)
    code, out, err = run("show", "own.safetensors")
    assert (code, err) == (0, "")
    assert "seed 3" in out
    assert "\x1b" not in out
    assert len(out) < 100_000
    assert ("... and 200 more" in out) == (isinstance(trials, list) and len(trials) == 300)


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


def test_a_table_is_named_with_the_command_that_trains_on_it(run):
    Path("town houses.csv").write_text("a,y\n1,u\n2,v\n")
    for arguments in (("show",), ("predict",), ("export",)):
        data = ["town houses.csv"] * (1 + (arguments == ("predict",)))
        code, _, err = run(*arguments, *data)
        assert code == 2
        assert "town houses.csv is a table, not a model file" in err
        assert "gpubp train 'town houses.csv'" in err


def test_the_kind_of_categories_is_shown(run):
    Path("t.csv").write_text("zip,y\n" + "01,u\n1,v\n" * 20)
    assert run("train", "t.csv", "--categorical", "zip", *FAST)[0] == 0
    assert re.search(r"^zip +category +01, 1 +as requested +2 *$", run("show", "t.safetensors")[1], re.MULTILINE)
    pd.DataFrame({"open": [True, False] * 20, "y": ["u", "v"] * 20}).to_parquet("t.parquet")
    assert run("train", "t.parquet", *FAST)[0] == 0
    shown = run("show", "t.safetensors")[1]
    assert re.search(r"^open +category +no, yes +true or false +2 *$", shown, re.MULTILINE)


def test_the_linear_part_of_a_network_is_shown(run):
    code, out, err = run("train", "diabetes", "--preset", "fast", "--no-picture", "--device", "cpu")
    model = load_model("diabetes.safetensors")
    part = model.about["training"]["linear_part"]
    assert (code, part["share"]) == (0, 0.0)
    course = "the linear part alone is kept, since the hidden layers did not help; it was then solved for all rows"
    assert course in " ".join(out.split())
    assert "146 inputs" in err
    n_parameters = 147 * 100 + 101 + 146
    assert f"{n_parameters:,} parameters, loss squared, with a linear part" in " ".join(err.split())
    for text in (out, run("show", "diabetes.safetensors")[1]):
        (found,) = re.findall(r"^linear part +(.*(?:\n .*)*)", text, re.MULTILINE)
        inputs = "all inputs" if part["has_bins"] else "inputs that are not of bins"
        assert " ".join(found.split()) == (
            f"a ridge regression from {inputs}, with the penalty {number(part['l2'])}, predicts alone, "
            "since the hidden layers did not help on the validation rows"
        )
        assert "linear_part" not in text


def test_a_linear_part_beside_hidden_layers_in_words():
    about = {"l2": 0.5, "has_bins": True, "share": 0.25}
    assert linear_part_text(about) == (
        "a ridge regression from all inputs, with the penalty 0.5000; "
        "the outputs of the hidden layers are added, times 0.2500"
    )
