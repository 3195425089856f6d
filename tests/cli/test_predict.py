"""``gpubp predict``: predictions, scores, and tables that do not fit the model."""

import json
import re

import numpy as np

from gpubp import load_model
from gpubp.cli.predict.formats import FORMATS
from gpubp.data import read_table
from gpubp.tabular import predict_table
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
