"""A small table with columns of each kind, for the tests of the commands."""

import csv
import io

import numpy as np
import pandas as pd

ROWS = 60
FAST = ("--epochs", "3", "--device", "cpu", "--no-picture", "--hidden-layer-sizes", "5")


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


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))
