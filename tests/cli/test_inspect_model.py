"""``gpubp inspect MODEL DATA``."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import gpubp
from tests.shop import FAST, ROWS, shop, write


@pytest.fixture
def prices(run):
    """A model file of numbers and dates, ``prices.safetensors``."""
    day = pd.Timestamp("2001-01-01") + pd.to_timedelta(np.arange(ROWS) % 50, "D")
    shop().assign(day=day.strftime("%Y-%m-%d")).to_csv("prices.csv", index=False)
    assert run("train", "prices.csv", "--target", "income", *FAST)[0] == 0
    return "prices.safetensors"


def test_columns_are_listed_by_importance_and_drawn(run, model, tmp_path):
    write("new.csv", buys=[None] * 5)
    code, out, err = run("inspect", model, "new.csv", "--repeats", "3", "--seed", "2")
    assert code == 0
    assert re.search(rf"^data +new.csv: {ROWS} rows, {ROWS - 5} with a target$", out, re.MULTILINE)
    expected = gpubp.permutation_importance(gpubp.load_model(model), shop()[5:], n_repeats=3, seed=2)
    assert f"score      accuracy {expected.score:.4f}; " in out
    lines = out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("column "))
    rows = [line.split() for line in lines[start + 1 : start + 4]]
    assert [row[0] for row in rows] == [expected.columns[place] for place in expected.order]
    assert [float(row[1]) for row in rows] == pytest.approx(
        expected.importances_mean[expected.order].tolist(), abs=1e-4
    )
    assert [float(row[2]) for row in rows] == pytest.approx(expected.importances_std[expected.order].tolist(), abs=1e-4)
    assert "picture    shop-inspection.png" in out
    assert (tmp_path / "shop-inspection.png").read_bytes()[1:4] == b"PNG"
    assert "shuffled" not in err


def test_classes_that_training_did_not_see_count_as_in_evaluate(run, model):
    write("new.csv", buys=["maybe"] * 7 + [None] * 3)
    scores = json.loads(run("evaluate", model, "new.csv", "--json")[1])
    code, out, err = run("inspect", model, "new.csv", "--no-picture", "--repeats", "1", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["score"] == pytest.approx(scores["scores"]["accuracy"], abs=1e-12)
    (curve,) = found["calibration"]
    assert sum(curve["weights"]) == ROWS - 3
    assert [found[key] for key in ("scored", "unseen_classes")] == [ROWS - 3, 7]
    assert "note: 7 rows of a class that training did not see count as wrong" in err
    assert "are left out" not in err
    assert "Warning" not in err
    err = run("inspect", model, "new.csv", "--no-picture", "--repeats", "1", "--scoring", "neg_log_loss")[2]
    assert "note: 7 rows of a class that training did not see are left out of the score" in err
    assert "count as wrong" not in err


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "f1_macro"])
def test_scores_of_classes_that_training_did_not_see_are_those_of_evaluate(run, scoring):
    write("three.csv", buys=["perhaps"] * 20)
    assert run("train", "three.csv", *FAST)[0] == 0
    write("new.csv", buys=["maybe", "never", "never"] * 4 + ["perhaps"] * 8)
    scores = json.loads(run("evaluate", "three.safetensors", "new.csv", "--json")[1])["scores"]
    options = ("--no-picture", "--repeats", "1", "--json", "--scoring", scoring)
    found = json.loads(run("inspect", "three.safetensors", "new.csv", *options)[1])
    assert found["score"] == pytest.approx(scores[{"f1_macro": "macro_f1"}.get(scoring, scoring)], abs=1e-12)
    assert found["calibration"][0]["error"] == pytest.approx(scores["calibration_error"], abs=1e-6)
    assert found["scored"] == ROWS


def test_the_rows_of_the_training_are_noted(run, model):
    _, _, err = run("inspect", model, "shop.csv", "--no-picture")
    assert "the model was trained on a table with the same values, so these scores flatter" in err


def test_no_picture(run, model, tmp_path):
    _, out, _ = run("inspect", model, "shop.csv", "--no-picture")
    assert "picture" not in out
    assert list(tmp_path.glob("*.png")) == []


def test_named_columns_are_printed(run, prices):
    code, out, _ = run("inspect", prices, "prices.csv", "--columns", "town,day", "--no-picture")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if re.match("Bonn|Köln|Ulm", line)] == ["Bonn", "Köln", "Ulm"]
    days = re.findall(r"^2001-\d\d-\d\d(?= )", out, re.MULTILINE)
    assert len(days) == 12
    assert (days[0], days[-1]) == ("2001-01-01", "2001-02-19")
    assert re.search(r"^calibration +shares of income in intervals are [\d.]+ from those intended", out, re.MULTILINE)


def test_without_rows_held_out_there_is_no_calibration(run):
    write("few.csv")
    assert run("train", "few.csv", "--target", "income", *FAST, "--test-fraction", "0.1")[0] == 0
    code, out, err = run("inspect", "few.safetensors", "few.csv", "--no-picture")
    assert code == 0
    assert "calibration" not in out
    assert "note: calibration is not shown: an interval that holds 0.9 of the targets needs" in err


def test_a_column_without_values_is_not_drawn_unless_it_is_named(run, fails, model):
    write("new.csv", age=[None] * ROWS)
    code, out, _ = run("inspect", model, "new.csv", "--json", "--picture", "a.svg")
    assert code == 0
    assert set(json.loads(out)["partial_dependence"]) == {"income", "town"}
    assert "column 'age' has no value in these rows" in fails("inspect", model, "new.csv", "--columns", "age")


def test_json_has_everything(run, model):
    _, out, _ = run(
        *("inspect", model, "shop.csv", "--json", "--columns", "age", "--columns", "town", "--scoring", "neg_log_loss"),
        "--no-picture",
    )
    found = json.loads(out)
    assert found["scoring"] == "neg_log_loss"
    assert found["score"] < 0.0
    assert [len(found[name]) for name in ("importances", "partial_dependence", "calibration")] == [3, 2, 1]
    town = found["partial_dependence"]["town"]
    assert town["values"] == ["Bonn", "Köln", "Ulm"]
    np.testing.assert_allclose(np.add(town["buys=no"], town["buys=yes"]), 1.0)
    assert found["calibration"][0]["name"] == "buys=yes"
    assert sum(found["calibration"][0]["weights"]) == found["scored"] == ROWS


def test_hostile_names_are_drawn_and_printed(run, tmp_path):
    names = {"income": "$\\frac$ {\n", "town": "町\x1b[31m$"}
    shop().rename(columns=names).to_csv("shop$_$.csv", index=False)
    assert run("train", "shop$_$.csv", "--target", "buys", *FAST)[0] == 0
    code, out, err = run("inspect", "shop$_$.safetensors", "shop$_$.csv", "--picture", "a$.svg")
    assert code == 0
    assert "\x1b" not in out + err
    assert "<svg" in (tmp_path / "a$.svg").read_text(encoding="utf-8")


def test_without_a_target_the_dependence_on_named_columns_is_shown(run, model):
    shop().drop(columns="buys").to_csv("none.csv", index=False)
    code, out, err = run("inspect", model, "none.csv", "--columns", "age", "--no-picture")
    assert (code, "note: there is no target 'buys'" in err) == (0, True)
    assert re.search(r"^age +buys=no +buys=yes$", out, re.M)
    found = json.loads(run("inspect", model, "none.csv", "--columns", "age", "--json")[1])
    assert (found["importances"], found["score"], list(found["partial_dependence"])) == ([], None, ["age"])


def test_misuse(run, fails, model):
    unknown = fails("inspect", model, "shop.csv", "--columns", "incom,age", "--scoring", "acuracy")
    assert "unknown scoring 'acuracy' (did you mean 'accuracy'" in unknown
    assert "the model has no column 'incom' (did you mean 'income'?)" in unknown
    shop().drop(columns="buys").to_csv("none.csv", index=False)
    without = fails("inspect", model, "none.csv")
    assert "there is no target 'buys', which is needed for a score" in without
    assert "without a target, --columns NAME shows" in without
    message = fails("inspect", model, "shop.csv", "--target", "buys", "--html", "a.html")
    assert "--target, --html: a model knows its columns" in message
    assert "what is found of a model, --picture draws" in message
    of_model = "--columns, --repeats, --no-picture: only with a model: gpubp inspect MODEL DATA"
    assert of_model in fails("inspect", "shop.csv", "--no-picture", "--columns", "age", "--repeats", "2")
    assert f"{model} is a model: pass a table as well, gpubp inspect {model} DATA" in fails("inspect", model)
    assert "contradict each other" in fails("inspect", model, "shop.csv", "--no-picture", "--picture", "a.png")
    assert "its name must end in .png" in fails("inspect", model, "shop.csv", "--picture", "shop.csv")
    assert "is a folder: a model is inspected on a table in memory" in fails("inspect", model, ".", "--no-picture")
    assert "shop.csv" in fails("inspect", "shop.csv", "shop.csv", "--no-picture")
