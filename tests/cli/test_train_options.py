"""Options that the library has too, and options from a file."""

import json
import re
import tomllib

import numpy as np
import pytest

from gpubp import MLPClassifier, TabularClassifier, load_model
from gpubp.cli.train.options import LEARNING_RATES
from gpubp.optim.schedules import Cosine, WarmUp
from tests.shop import FAST, shop, write

PARAMETERS = {"epochs": 3, "device": "cpu", "hidden_layer_sizes": (5,)}


def theta_of(run, *options):
    assert run("train", write(), *FAST, "--test-fraction", "0", *options)[0] == 0
    return load_model("shop.safetensors").theta


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (("--dropout", "0.3"), {"dropout": 0.3}),
        (("--class-weight", "balanced"), {"class_weight": "balanced"}),
        (("--class-weight", "no=1, yes=5"), {"class_weight": {"no": 1.0, "yes": 5.0}}),
        (("--class-weight", "yes=5"), {"class_weight": {"yes": 5.0}}),
        (("--tolerance", "0.5", "--patience", "1"), {"tolerance": 0.5, "patience": 1}),
    ],
)
def test_the_command_trains_what_the_estimator_does(run, options, parameters):
    plain, theta = theta_of(run), theta_of(run, *options)
    fitted = TabularClassifier(**PARAMETERS, **parameters).fit(shop(), "buys").model_.theta
    np.testing.assert_array_equal(theta, fitted)
    assert theta.shape != plain.shape or (theta != plain).any()


def test_the_learning_rate_follows_a_schedule(run):
    theta_of(run, "--schedule", "cosine", "--warm-up", "2", "--learning-rate", "0.01")
    rate = load_model("shop.safetensors").about["optimizer"]["learning_rate"]
    assert rate == repr(WarmUp(2, Cosine(0.01, 3)))


@pytest.mark.parametrize("name", [name for name in LEARNING_RATES if name != "constant"])
def test_schedules_have_the_names_of_the_estimators(run, name):
    assert (theta_of(run, "--schedule", name) != theta_of(run)).any()
    estimator = MLPClassifier((2,), learning_rate=name, solver="sgd", tol=100.0, n_iter_no_change=1, device="cpu")
    assert estimator.fit([[0.0], [1.0]], [0, 1]).n_iter_ > 0


def test_class_weights_are_in_the_model_and_not_judged_by_the_shares_of_the_classes(run):
    code, _, err = run("train", write(), *FAST, "--class-weight", "yes=1000")
    assert code == 0
    assert "no better than" not in err
    assert load_model("shop.safetensors").about["training"]["class_weight"] == {"no": 1.0, "yes": 1000.0}
    assert re.search(r"class_weight.*yes", run("show", "shop.safetensors")[1])


def test_options_that_do_not_fit(fails):
    write()
    assert "unknown --schedule 'cosin' (did you mean 'cosine'" in fails("train", "shop.csv", "--schedule", "cosin")
    assert "chooses its own step lengths" in fails("train", "shop.csv", "--optimizer", "lbfgs", "--warm-up", "3")
    assert "unknown class 'maybe'; known: no, yes" in fails("train", "shop.csv", "--class-weight", "maybe=2")
    assert "the weight of 'no' must be a number, got 'x'" in fails("train", "shop.csv", "--class-weight", "no=x")
    assert "'no' has two weights" in fails("train", "shop.csv", "--class-weight", "no=1,no=2")
    assert "the target holds numbers" in fails("train", "shop.csv", "--target", "income", "--class-weight", "balanced")
    assert "from 0 to below 1, got 1.0" in fails("train", "shop.csv", "--preset", "fast", "--dropout", "1")
    assert "best chooses --dropout, --schedule itself" in fails(
        "train", "shop.csv", "--preset", "best", "--dropout", "0.1", "--schedule", "cosine"
    )


def test_a_saved_config_trains_the_same_network(run):
    given = ("--class-weight", "balanced", "--drop", "town", "--hidden-layer-sizes", "4,3")
    theta = theta_of(run, *given, "--save-config", "run.toml")
    with open("run.toml", "rb") as file:
        found = tomllib.load(file)
    assert found["data"] == "shop.csv"
    assert (found["epochs"], found["drop"], found["hidden-layer-sizes"]) == (3, ["town"], "4,3")
    assert "save-config" not in found
    assert run("train", "--config", "run.toml")[0] == 0
    np.testing.assert_array_equal(load_model("shop.safetensors").theta, theta)
    code, out, err = run("train", "--config", "run.toml", "--epochs", "2", "--json")
    assert (code, json.loads(out)["training"]["epochs"]) == (0, 2)
    assert "fast, not best, because of --epochs, --hidden-layer-sizes" in err


def test_a_config_by_hand(run, fails, tmp_path):
    write()
    (tmp_path / "hand.toml").write_text(
        'hidden_layer_sizes = [4, 3]\nepochs = 2\nno-picture = true\njson = true\ndevice = "cpu"\n'
    )
    assert json.loads(run("train", "shop.csv", "--config", "hand.toml")[1])["network"]["sizes"][1:3] == [4, 3]
    (tmp_path / "bad.toml").write_text("epoch = 3\n[l2]\na = 1\n")
    message = fails("train", "shop.csv", "--config", "bad.toml")
    assert "unknown option 'epoch' (did you mean 'epochs'?)" in message
    assert "l2 must be a value or a list of values" in message
    (tmp_path / "twice.toml").write_text('drop = [["town"]]\nno-picture = true\nno_picture = true')
    message = fails("train", "shop.csv", "--config", "twice.toml")
    assert "drop must be a value or a list of values; no_picture stands there twice, spelled in two ways" in message
    (tmp_path / "worse.toml").write_text("epochs 3")
    assert "worse.toml is not a TOML file" in fails("train", "shop.csv", "--config", "worse.toml")
    (tmp_path / "text.toml").write_text('epochs = "many"')
    code, _, err = run("train", "shop.csv", "--config", "text.toml")
    assert code == 2
    assert "many" in err
    assert "missing.toml" in fails("train", "shop.csv", "--config", "missing.toml")


def test_a_flag_that_is_off_changes_nothing(run, tmp_path):
    (tmp_path / "off.toml").write_text('resume = false\njson = false\nno-picture = true\ndevice = "cpu"\n')
    code, _, err = run("train", write(), "--config", "off.toml", "--epochs", "1", "--save-config", "saved.toml")
    assert code == 0
    assert "note: the options are saved in saved.toml; --config saved.toml takes them again\n" in err
    assert "--epochs" in err  # why it is not best
    assert "--resume" not in err
    assert "resume" not in (tmp_path / "saved.toml").read_text()
