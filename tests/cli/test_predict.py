"""``gpubp predict``: predictions, scores, and tables that do not fit the model."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from gpubp import load_model, save_model
from gpubp.cli.predict.formats import FORMATS
from gpubp.data import read_table
from gpubp.errors import TableWarning
from gpubp.tabular import predict_table
from gpubp.tabular.predict import numbers_in
from tests.shop import FAST, ROWS, rows_of, shop, write


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
    assert re.search(r"^accuracy +0\.\d+ +0\.\d+$", err, re.MULTILINE)  # beside the baseline
    assert "was trained on a table with the same values" in err
    code, out, err = run("predict", model, write("again.csv", buys=[None]))
    assert code == 0
    assert len(rows_of(out)) == ROWS
    assert re.search(rf"^rows +{ROWS - 1} *$", err, re.MULTILINE)  # the class of one row is missing


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


def test_tables_that_do_not_fit_the_model_are_predicted_and_counted(run, fails, model):
    for name, changes, expected in (
        ("unseen.csv", {"town": ["Rom"]}, "column 'town': 1 of 60 values is not among the categories of training"),
        ("missing.csv", {"income": [np.nan]}, "column 'income': 1 of 60 values is missing, as none was in training"),
        ("infinity.csv", {"income": [np.inf]}, "column 'income': 1 of 60 values is not of the column's type"),
        ("text.csv", {"income": ["much"]}, "column 'income': 1 of 60 values is not of the column's type"),
    ):
        code, out, err = run("predict", model, write(name, **changes))
        assert (code, len(rows_of(out))) == (0, ROWS)
        assert expected in err
        assert "in row 1 (not counting the header)" in err
        assert f"'{next(iter(changes))}'" in fails("predict", model, name, "--strict")
    shop().assign(extra=1, income=1e6).to_csv("more.csv", index=False)
    code, out, err = run("predict", model, "more.csv")
    assert (code, len(rows_of(out))) == (0, ROWS)
    assert "column 'income': 60 of 60 values are outside the range of the training rows" in err
    assert re.search(r"^income +outside +60 +100.0%", run("predict", model, "more.csv", "--columns")[2], re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("--stream",), ("--columns",)])
def test_a_column_in_another_unit_is_a_warning(run, model, options):
    shop().assign(income=shop().income * 1000).to_csv("units.csv", index=False)
    code, out, err = run("predict", model, "units.csv", *options)
    assert (code, len(rows_of(out))) == (0, ROWS)
    assert "warning: numbers of column 'income' are about 1000 times as large as in training" in err
    with pytest.warns(TableWarning, match="units.csv: numbers of column 'income' are about 1000 times as large"):
        predict_table(load_model(model), "units.csv", device="cpu")
    assert "unit" not in run("predict", model, write("same.csv"), *options)[2]


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
def test_a_column_that_is_absent_is_filled_as_missing_with_a_warning(run, fails, options):
    train, new = shop(age=[None, None]), shop()
    for frame in (train, new):
        frame.insert(0, "size", shop()["age"])
    train.to_csv("shop.csv", index=False)
    assert run("train", "shop.csv", *FAST)[0] == 0
    model = "shop.safetensors"
    new.drop(columns="age").rename(columns={"town": "Towns"}).to_csv("less.csv", index=False)
    code, out, err = run("predict", model, "less.csv", "--device", "cpu", *options)
    assert code == 0
    assert re.search(
        r"^warning: .*less.csv lacks 'age', 'town' \(did you mean 'Towns'\?\), which the model was trained on: .*; "
        "--strict refuses",
        err,
        re.M,
    )
    new.assign(age=None, town=None).to_csv("empty.csv", index=False)
    assert out == run("predict", model, "empty.csv", "--device", "cpu", *options)[1]
    assert re.search(r"^town +absent +60 +100.0%", run("evaluate", model, "less.csv", "--columns", *options)[2], re.M)
    assert "lacks 2 of the 4 columns" in fails("predict", model, "less.csv", "--strict", *options)
    for kept, n in ((["size", "buys"], 3), (["buys"], 4)):
        new[kept].to_csv("few.csv", index=False)
        refused = fails("predict", model, "few.csv", *options)
        assert f"lacks {n} of the 4 columns" in refused
        assert "Rename its columns, or add those that are not known as empty ones" in refused
    with pytest.warns(TableWarning, match="lacks 'age'"):
        predictions = predict_table(load_model(model), "less.csv", device="cpu")
    assert [row["buys"] for row in rows_of(out)] == predictions["buys"].tolist()


@pytest.mark.parametrize("how", [(), ("--no-refit",), ("--stream",)], ids=["refitted", "not refitted", "in parts"])
def test_the_table_of_the_training_is_known_by_its_values(run, how):
    frame = shop(age=[None], buys=[None]).assign(open="yes", zip=[f"0{k % 9}" for k in range(ROWS)])
    frame.to_csv("shop.csv", index=False)
    assert run("train", "shop.csv", "--target", "buys", *FAST, *how)[0] == 0
    model, same, named = "shop.safetensors", "table with the same values", "table with the same name"
    frame.iloc[::-1, ::-1].assign(extra=1).to_csv("again.csv", index=False)
    frame.to_parquet("again.parquet")
    for name in ("shop.csv", "again.csv", "again.parquet"):
        for options in ((), ("--stream",)):
            assert same in run("evaluate", model, name, *options)[2]
    assert same in run("predict", model, "again.csv")[2]
    for number, other in enumerate((frame.assign(age=frame["age"] + 1), frame[1:-1], pd.concat([frame, frame[-1:]]))):
        other.to_csv(f"{number}.csv", index=False)
        err = run("evaluate", model, f"{number}.csv")[2]
        assert same not in err
        assert named not in err
    frame[5:].to_csv("shop.csv", index=False)
    err = run("evaluate", model, "shop.csv")[2]
    assert same not in err
    assert named in err


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
def test_columns_of_the_table_are_kept_beside_the_predictions(run, fails, model, options):
    shop().assign(id=[f"0{k}" for k in range(ROWS)]).to_csv("new.csv", index=False)
    rows = rows_of(run("predict", model, "new.csv", "--keep", "id", "--keep", "age", *options)[1])
    assert list(rows[0])[:3] == ["id", "age", "buys"]
    assert [row["id"] for row in rows] == [f"0{k}" for k in range(ROWS)]
    assert [float(row["age"]) for row in rows] == shop()["age"].tolist()
    assert "no column 'ids'" in fails("predict", model, "new.csv", "--keep", "ids", *options)


def test_intervals_hold_their_share_of_the_targets(run, fails, model):
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x.sum(axis=1) + random.normal(size=2000)})
    frame[:1000].to_csv("train.csv", index=False)
    frame[1000:].to_csv("new.csv", index=False)
    assert run("train", "train.csv", "--device", "cpu", "--no-picture", "--target", "y")[0] == 0
    rows = rows_of(run("predict", "train.safetensors", "new.csv", "--interval", "0.8")[1])
    inside = [float(row["y low"]) <= y <= float(row["y high"]) for row, y in zip(rows, frame["y"][1000:], strict=True)]
    assert 0.72 < np.mean(inside) < 0.88  # of 200 held-out rows
    assert "between 0 and 1" in fails("predict", "train.safetensors", "new.csv", "--interval", "80")
    assert "rows held out" in fails("predict", "train.safetensors", "new.csv", "--interval", "0.999")
    assert "intervals are for numbers" in fails("predict", model, "shop.csv", "--interval", "0.9")


def test_predict_does_not_overwrite_its_inputs(fails, model):
    assert "would be overwritten" in fails("predict", model, "shop.csv", "--output", "shop.csv")
    assert " or ".join(FORMATS) in fails("predict", model, "shop.csv", "--output", "p.txt")
    assert "no folder" in fails("predict", model, "shop.csv", "--output", "nowhere/p.csv")


@pytest.mark.parametrize("figures", [5, ["a", "b"], [None, 1.0], {"spend": ["x"] * 90}, {"spend": 7}])
def test_figures_of_a_forged_model_are_no_crash(run, model, figures):
    loaded = load_model(model)
    about = {**loaded.about, "constant_outputs": figures, "held_out_errors": figures}
    save_model("forged.safetensors", loaded.network, loaded.theta, preprocessing=loaded.preprocessing, about=about)
    code, out, _ = run("evaluate", "forged.safetensors", write("again.csv"))
    assert (code, "baseline" in out) == (0, False)
    assert "accuracy" in out
    assert numbers_in(figures) == []
