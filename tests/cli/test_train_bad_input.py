"""``gpubp train`` refuses bad tables, options and outputs in one line."""

import os
import re

import numpy as np
import pytest

from tests.shop import ROWS, write

BAD = {
    "unknown column": ({}, ["--target", "bys"], "did you mean 'buys'"),
    "one class": ({"buys": ["yes"] * ROWS}, [], "has only one class"),
    "text as numbers": ({}, ["--task", "regression"], "the target 'buys' is mostly not numbers, such as 'no'"),
    "type": ({}, ["--type", "age=integer"], "NAME=TYPE with one of number, category, date, words, drop"),
    "type of no column": ({}, ["--type", "agee=number"], "no column 'agee' (did you mean 'age'?)"),
    "strict": ({"age": [np.nan]}, ["--strict"], "column 'age': 1 missing value"),
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


@pytest.mark.parametrize(("option", "meant"), [("--lr", "--learning-rate"), ("--hidden", "--hidden-layer-sizes")])
def test_abbreviated_options_are_suggested_in_full(run, option, meant):
    code, _, err = run("train", "iris", option, "1")
    assert code == 2
    message = " ".join(err.replace("│", " ").split())
    assert "No such option" in message
    assert re.findall("--[a-z0-9-]+", message.partition("Error")[2]) == [option, meant]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("iris", "--label-smoothing", "2"), "from 0 to below 1, got 2.0"),
        (("diabetes", "--label-smoothing", "0.1"), "is for classes"),
    ],
)
@pytest.mark.parametrize("preset", ["fast", "best"])
def test_smoothing_that_cannot_be_is_an_error_before_the_job_is_printed(fails, options, message, preset):
    assert message in fails("train", *options, "--preset", preset)


def test_files_that_cannot_be_read(fails):
    with open("empty.csv", "w") as file:
        file.write("a,b\n")
    with open("ragged.csv", "w") as file:
        file.write("a,b\n1,2\n3,4,5\n")
    with open("nothing.csv", "w"):
        pass
    with open("foreign.parquet", "wb") as file:
        file.write(b"PAR0" * 10)
    assert "no rows" in fails("train", "empty.csv")
    assert "row 2 (not counting the header)" in fails("train", "ragged.csv")
    assert "is empty" in fails("train", "nothing.csv")
    assert "foreign.parquet cannot be read" in fails("train", "foreign.parquet")
    assert "did you mean 'digits'" in fails("train", "digit")
    assert "no such file" in fails("train", "there-is-none.csv")


def test_outputs_are_checked_before_training(fails, monkeypatch):
    write()
    with open("notes.txt", "w") as file:
        file.write("mine")
    monkeypatch.setattr("gpubp.cli.train.fit.fit_table", None)
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
