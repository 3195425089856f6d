"""Every file format of predictions is read back, whole and in parts."""

import io
from functools import partial

import numpy as np
import pandas as pd
import pytest

from gpubp import fit_table, predict_table, prepare_table, save_model
from gpubp.__main__ import main
from gpubp.cli.predict.formats import FORMATS
from tests.registries import assert_same_names

READERS = {
    ".csv": pd.read_csv,
    ".jsonl": partial(pd.read_json, lines=True),
    ".parquet": pd.read_parquet,
    ".xlsx": partial(pd.read_excel, engine="openpyxl"),
}
"""For each format in FORMATS a function that reads a file of it to a pandas.DataFrame."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gpubp.data.streaming.table_source.PIECE_BYTES", 64 * 8)  # 64 rows in each part


def table():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(18, 80, 300), "income": random.normal(30.0, 10.0, 300)})
    frame["buys"] = np.where(frame["income"] > 30.0, 'yes, "a lot"', "no")
    return frame


def test_every_format_has_a_reader():
    places = {"FORMATS of gpubp/cli/predict/formats.py": FORMATS}
    assert_same_names(places | {"READERS of tests/cli/test_predict_formats.py": READERS})


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_predictions_are_read_back(suffix, options, capsys):
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
    table().drop(columns="buys").to_parquet("new.parquet")
    table().to_parquet("shop.parquet")
    model = fit_table(prepare_table("shop.parquet"), epochs=2, device="cpu").model
    save_model("m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    arguments = ("predict", "m.safetensors", "new.parquet", "--device", "cpu", *options)
    assert main([*arguments, "--output", f"p{suffix}"]) == 0
    assert capsys.readouterr().out == f"written    p{suffix} (300 rows)\n"
    found, expected = READERS[suffix](f"p{suffix}"), predict_table(model, "shop.parquet", device="cpu")
    assert list(found.columns) == list(expected)
    assert found["buys"].tolist() == expected["buys"].tolist()
    for name in expected:
        if name != "buys":
            np.testing.assert_allclose(found[name].astype("float32"), expected[name], rtol=1e-6)


def test_the_help_and_the_messages_list_every_format(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table().to_parquet("shop.parquet")
    assert main(["predict", "--help"]) == 0
    described = capsys.readouterr().out
    assert main(["predict", "m.safetensors", "shop.parquet", "--output", "p.nonesuch"]) == 2
    message = capsys.readouterr().err
    for suffix in FORMATS:
        assert suffix in described
        assert suffix in message


def test_csv_on_stdout_is_the_same_as_in_a_file(capsys):
    table().to_parquet("shop.parquet")
    model = fit_table(prepare_table("shop.parquet"), epochs=2, device="cpu").model
    save_model("m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    assert main(["predict", "m.safetensors", "shop.parquet", "--device", "cpu", "--stream"]) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert main(["predict", "m.safetensors", "shop.parquet", "--device", "cpu", "--output", "p.csv"]) == 0
    pd.testing.assert_frame_equal(printed, pd.read_csv("p.csv"))


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["whole", "in parts"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_kept_columns_are_exact(suffix, options, capsys):
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
    frame = table()
    frame["id"] = 1234567890123.0 + np.arange(300)
    frame["part"] = np.where(np.arange(300) % 7, np.arange(300) + 0.123456789012345, np.nan)
    frame["note"] = np.where(np.arange(300) < 100, None, "bell \x07" if suffix != ".xlsx" else "=cmd")
    frame.to_parquet("shop.parquet")
    prepared = prepare_table("shop.parquet", target="buys", drop=["id", "part", "note"])
    model = fit_table(prepared, epochs=1, device="cpu").model
    save_model("m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    kept = [text for name in ("id", "part", "note", "buys") for text in ("--keep", name)]
    assert main(["predict", "m.safetensors", "shop.parquet", "-o", f"p{suffix}", *kept, *options]) == 0
    found = READERS[suffix](f"p{suffix}")
    np.testing.assert_array_equal(found["id"].astype(float), frame["id"])
    np.testing.assert_allclose(found["part"].astype(float), frame["part"], rtol=1e-15)
    assert found["note"].where(found["note"].notna(), None).tolist() == frame["note"].tolist()
    assert found["buys (given)"].tolist() == frame["buys"].tolist()


def test_excel_gets_no_control_characters():
    openpyxl = pytest.importorskip("openpyxl")
    with open("a.xlsx", "wb") as file, FORMATS[".xlsx"](file) as write:
        write({"a": np.array(["bell \x07"], dtype=object)})
    assert openpyxl.load_workbook("a.xlsx").active["A2"].value == "bell \\x07"
