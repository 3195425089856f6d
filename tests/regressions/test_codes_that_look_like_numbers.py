"""apache/arrow#46853, autogluon/autogluon#5830, pytorch-tabular/pytorch_tabular#403, pandas-dev/pandas#54665.

Codes such as 01, 1.10, 02139, 1e3, inf or 12:30 are text in a column that the model or ``categorical=`` calls text:
they are neither merged nor refused, in any file that is read later.
"""

import re

import numpy as np
import pandas as pd
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.data import table_from_mapping
from gpubp.data.preprocessing import encode, preprocessing_of

CPU = {"device": "cpu"}
AMOUNTS = np.random.default_rng(7).normal(size=90).round(3)


@pytest.mark.parametrize(
    "codes",
    [
        ["02139", "K1A", "SW1", "W2"],
        ["1.0", "2.5", "XL", "S", "M"],
        ["+5", "a", "b", "c"],
        ["0x10", "a", "b"],
        ["12:30", "a", "b"],
        ["inf", "a", "b"],
        ["1e3", "a", "b", "c"],
        ["NA", "a", "b"],
        ["nan", "a", "b"],
        ["2020-01-31 10:00", "a", "b"],
        ["true", "a", "b"],
        ["9007199254740993", "a", "b"],
        [" 7", "a", "b"],
        ["'1,234'", "a", "b"],
    ],
    ids=lambda codes: codes[0],
)
def test_a_category_is_the_same_beside_any_other_rows(tmp_path, codes):
    path, new = tmp_path / "train.csv", tmp_path / "new.csv"
    frame = pd.DataFrame({"c": np.array(codes)[np.arange(90) % len(codes)], "a": AMOUNTS})
    frame["y"] = np.where(frame["c"] == codes[0], "first", "other")
    frame.to_csv(path, index=False)
    model = gpubp.fit_table(gpubp.prepare_table(path, target="y"), epochs=3, **CPU).model
    expected = gpubp.predict_table(model, frame[["c", "a"]][:2], **CPU)["y=first"]
    for n_rows in (1, 2):
        frame[["c", "a"]][:n_rows].to_csv(new, index=False)
        got = gpubp.predict_table(model, new, **CPU)["y=first"]
        np.testing.assert_allclose(got, expected[:n_rows], rtol=1e-6)


@pytest.mark.parametrize(
    "codes",
    [["1.1", "1.10", "1.2"], ["01", "1", "2"], ["1e1", "10", "7"], ["9007199254740992", "9007199254740993", "7"]],
    ids=lambda codes: codes[0],
)
def test_categorical_columns_of_a_file_are_text(tmp_path, codes):
    k = np.arange(90) % 3
    frame = pd.DataFrame({"c": np.array(codes)[k], "a": AMOUNTS, "y": np.where(k == 0, "first", "other")})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    of_file = gpubp.fit_table(gpubp.prepare_table(path, target="y", categorical=["c"]), epochs=4, **CPU).model
    prepared = gpubp.prepare_table(frame, target="y", categorical=["c"])
    of_frame = gpubp.fit_table(prepared, epochs=4, **CPU).model
    assert preprocessing_of(of_file) == preprocessing_of(of_frame)
    assert preprocessing_of(of_file).columns[0].categories == tuple(sorted(codes))
    np.testing.assert_array_equal(of_file.theta, of_frame.theta)
    stream = gpubp.prepare_stream(path, target="y", categorical=["c"])
    assert stream.preprocessing.columns[0] == preprocessing_of(of_file).columns[0]


@pytest.mark.parametrize("categorical", [(), ("y",)])
def test_classes_come_back_as_the_text_of_the_file(tmp_path, categorical):
    """Leading zeros alone show that classes are codes; categorical= says it of any target."""
    path = tmp_path / "t.csv"
    labels = ["01", "1", "2"] if not categorical else ["1.1", "1.10", "2"]
    frame = pd.DataFrame({"a": np.arange(90) % 3 * 10.0, "y": np.array(labels)[np.arange(90) % 3]})
    frame.to_csv(path, index=False)
    for prepare in (gpubp.prepare_table, gpubp.prepare_stream):
        prepared = prepare(path, target="y", categorical=categorical)
        fit = gpubp.fit_table(prepared, epochs=60, batch_size=8, **CPU)
        assert gpubp.predict_table(fit.model, path, **CPU)["y"].tolist() == frame["y"].tolist()


def test_values_of_a_frame_are_the_categories_that_read_as_them(tmp_path):
    """A frame that pandas reads has the numbers 2139 and 10, dates and bools instead of the text of training."""
    texts = {"zip": ["02139", "10"], "day": ["2020-01-31", "2020-02-01 10:00:00"], "open": ["true", "false"]}
    frame = pd.DataFrame({name: np.array(two)[np.arange(40) % 2] for name, two in texts.items()})
    frame["y"] = np.where(np.arange(40) % 2, "b", "a")
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    model = gpubp.fit_table(gpubp.prepare_table(path, target="y", categorical=["zip"]), epochs=3, **CPU).model
    typed = pd.DataFrame(
        {
            "zip": [2139.0, 10.0],
            "day": pd.to_datetime(texts["day"], format="ISO8601"),
            "open": pd.array([True, False], dtype="boolean"),
        }
    )
    expected = gpubp.predict_table(model, frame[["zip", "day", "open"]][:2], **CPU)["y=a"]
    np.testing.assert_array_equal(gpubp.predict_table(model, typed, **CPU)["y=a"], expected)
    one = frame[["zip", "day", "open"]][1:2]  # products of one row may round differently than those of two
    expected = gpubp.predict_table(model, one, **CPU)["y=a"]
    np.testing.assert_array_equal(gpubp.predict_table(model, typed[1:], **CPU)["y=a"], expected)


def test_a_number_that_may_be_several_categories_is_missing_and_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("zip,y\n" + "01,a\n1,b\n" * 10)
    preprocessing = gpubp.prepare_table(path, categorical=["zip"]).preprocessing
    encoded = encode(preprocessing, table_from_mapping({"zip": [10, 1]}))
    np.testing.assert_array_equal(encoded.X, 0.0)
    assert [(issue.problem, issue.example) for issue in encoded.issues] == [
        ("unseen", "row 1: 10"),
        ("unreadable", "row 2: 1"),
    ]


@pytest.mark.parametrize("stream", [(), ("--stream",)], ids=["memory", "stream"])
def test_the_commands_read_codes_as_text(tmp_path, monkeypatch, capsys, stream):
    """Train with --categorical, then predict and score each row alone: the same as all rows."""
    monkeypatch.chdir(tmp_path)
    codes = np.array(["01", "1", "1.0", "NA"])[np.arange(80) % 4]
    frame = pd.DataFrame({"c": codes, "a": AMOUNTS[:80], "y": np.where(codes == "01", "first", "other")})
    frame.to_csv("t.csv", index=False)
    options = ("--categorical", "c", "--epochs", "40", "--device", "cpu", "--no-picture", "-q", *stream)
    assert main(["train", "t.csv", *options]) == 0
    for name, rows in (("new.csv", frame), *((f"{k}.csv", frame[k : k + 1]) for k in range(4))):
        rows.to_csv(name, index=False)
        assert main(["predict", "t.safetensors", name, "-o", f"p_{name}", "--device", "cpu", *stream]) == 0
    whole = pd.read_csv("p_new.csv")
    assert whole["y"].tolist() == frame["y"].tolist()
    alone = pd.concat([pd.read_csv(f"p_{k}.csv") for k in range(4)], ignore_index=True)
    pd.testing.assert_frame_equal(alone, whole[:4], rtol=1e-5)
    assert re.search(r"^accuracy +1\.0000 ", capsys.readouterr().err, re.MULTILINE)
