"""Small files of every kind that gpubp reads again, with what they predict: one folder for each release.

At a release run ``python -m tests.files.make``, and commit the folder. ``tests/io/test_files_of_releases.py`` reads the
files of all releases. docs/files.md has the policy.
"""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

import gpubp
from gpubp import Checkpoints, Network, TabularClassifier, TabularRegressor
from gpubp.tabular.recipes import RECIPES

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"

X = (np.arange(24.0).reshape(8, 3) * 7 % 11 - 5) / 8  # exact in any precision, on any machine

# --- networks ---

NETWORKS = {
    "network": (Network((3, 4, 2), "tanh", loss="cross_entropy"), "float64", 0),
    "network-float32-stack": (Network((3, 5, 4, 1), ("gelu", "leaky_relu(0.2)"), loss="huber(1.5)"), "float32", [0, 1]),
    "network-without-biases": (Network((3, 4, 1), "logistic", bias=False), "float64", 0),
    "network-with-skips": (Network((3, 4, 2), "elu", skips=((0, 2),)), "float64", 0),
    "network-with-ties": (Network((3, 2, 1), "tanh", ties=(0, 1, 2, 0, -1, 3, 4, 4, 5, 5, 6)), "float64", 0),
    "network-with-members": (Network((3, 4, 1), "relu", n_members=2), "float32", 0),
    "network-with-parametric-activations": (Network((3, 4, 1), "parametric(selu)"), "float64", 0),
}


def make_network(name, path):
    network, dtype, seed = NETWORKS[name]
    theta = gpubp.initial_weights(network, seed, dtype=dtype)
    gpubp.save_model(path, network, theta, about={"made_by": "tests/files/make.py"})
    return {"outputs": outputs_of(path).tolist()}


def outputs_of(path):
    """Return the outputs for X of the network in a file."""
    model = gpubp.load_model(path)
    return np.asarray(gpubp.predict(model.network, model.theta, X.astype(model.theta.dtype), device="cpu"), np.float64)


# --- models of tables ---


def table(n=80):
    """Return columns of each type; their values are decimals and texts, which are the same everywhere."""
    k = np.arange(n)
    return {
        "area": [None if i % 13 == 0 else float(i * 37 % 90 + 20) for i in k],
        "price": [f"{i * 17 % 40},5 EUR" for i in k],
        "rooms": [int(i * 5 % 4) for i in k],
        "town": [None if i % 11 == 0 else ("Bonn", "Ulm", "Kiel", "Jena")[i % 4] for i in k],
        "code": [f"c{i * 7 % 23}" for i in k],
        "sold": [f"20{i % 20 + 10}-0{i % 9 + 1}-1{i % 10}" for i in k],
        "text": [("a quiet flat", "new roof and lift", "old house, quiet")[i * 5 % 3] for i in k],
        "balcony": [bool(i * 3 % 5 < 2) for i in k],
    }


def new_rows():
    """Return rows with what training has not seen: a town, an absent number, a date outside of its range."""
    return {
        name: [*values[:5], *values[-2:], new] for (name, values), new in zip(table().items(), NEW_ROW, strict=True)
    }


NEW_ROW = (9999.0, "?", None, "Rome", "c999", "1999-12-31", "a lift to the roof", None)
QUICK = {"hidden_layer_sizes": (6,), "epochs": 4}
SMALL = {  # the networks of the presets are too large for small files
    preset: {
        task: replace(recipe, hidden_layer_sizes=(6,) * len(recipe.hidden_layer_sizes), epochs=3, patience=None)
        for task, recipe in recipes.items()
    }
    for preset, recipes in RECIPES.items()
}
TABLES = {
    "table-classes": (TabularClassifier, {"n_networks": 2, "label_smoothing": 0.1}),
    "table-classes-in-float64": (TabularClassifier, {"dtype": "float64", "numbers": "linear", "missing": (-999,)}),
    "table-numbers": (TabularRegressor, {"hidden_layer_sizes": (8, 4), "activation": "gelu"}),
    "table-numbers-poisson": (TabularRegressor, {"loss": "poisson", "optimizer": "adamw"}),
    "table-target-statistics": (TabularRegressor, {"categories": "target"}),
    "table-embeddings": (TabularClassifier, {"categories": "embedding", "max_categories": 4}),
    "table-best": (TabularRegressor, {"preset": "best", "time_budget": 1.0}),
    "table-realmlp": (TabularRegressor, {"preset": "realmlp", "drop": ("code", "sold", "text")}),
    "table-tabm": (TabularClassifier, {"preset": "tabm"}),
}


def make_table(name, path):
    kind, options = TABLES[name]
    columns = table()
    codes = np.arange(80) * 37 % 90
    y = np.where(codes > 40, "much", "little") if kind is TabularClassifier else codes + np.arange(80) % 3
    options = {"device": "cpu", "random_state": 0} | ({} if "preset" in options else QUICK) | options
    with warnings.catch_warnings(), mock.patch.dict(RECIPES, SMALL):
        warnings.simplefilter("ignore")
        kind(**options).fit(columns, y).save(path)
    return {"kind": kind.__name__, "predictions": predictions_of(path)}


def predictions_of(path):
    """Return what the model in a file predicts for new rows: columns of numbers or texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = gpubp.predict_table(gpubp.load_model(path), new_rows(), device="cpu")
    return {name: np.asarray(column).tolist() for name, column in columns.items()}


# --- checkpoints ---

TARGETS = np.stack([X[:, 0] > 0, X[:, 0] <= 0], axis=1).astype(float)
BEFORE, AFTER = 3, 6
"""Epochs of the run that wrote the checkpoint, and of the one that continues it."""

CHECKPOINTS = {
    "checkpoint-momentum": {
        "optimizer": gpubp.momentum(0.1, 0.9),
        "batch_size": 3,
        "dropout": 0.25,
        "validation_data": (X[:4], TARGETS[:4]),
        "patience": 5,
    },
    "checkpoint-stack": {"optimizer": gpubp.adamw(gpubp.Cosine(0.01, 10)), "seed": [0, 1], "batch_size": 4, "l2": 0.5},
    "checkpoint-clipped-float32": {"optimizer": gpubp.clipped(gpubp.adam(0.01), 0.5), "dtype": "float32"},
    "checkpoint-levenberg-marquardt": {"optimizer": gpubp.levenberg_marquardt(), "batch_size": "full"},
    "checkpoint-lbfgs": {"optimizer": gpubp.lbfgs(), "batch_size": "full"},
}


def run(name, folder, epochs, *, resume):
    """Run a training for so many epochs; return the outputs of the network for X."""
    options = {"dtype": "float64", "device": "cpu"} | CHECKPOINTS[name]
    network = Network((3, 4, 2), "tanh")
    fit = gpubp.train(
        network, X, TARGETS, epochs=epochs, checkpoint=Checkpoints(folder, keep=1), resume=resume, **options
    )
    return np.asarray(gpubp.predict(network, fit.theta, X.astype(fit.theta.dtype), device="cpu"), np.float64)


def make_checkpoint(name, path):
    folder = path.parent / name
    run(name, folder, BEFORE, resume=False)
    (written,) = folder.glob("checkpoint-*")
    shutil.copy(written, path)
    outputs = run(name, folder, AFTER, resume=True)
    shutil.rmtree(folder)
    return {"name": written.name, "outputs": outputs.tolist()}


# --- all of them ---

MAKERS = {
    **dict.fromkeys(NETWORKS, make_network),
    **dict.fromkeys(TABLES, make_table),
    **dict.fromkeys(CHECKPOINTS, make_checkpoint),
}


def main(folder):
    """Make a file of each kind that the folder lacks, and beside it what it predicts as JSON."""
    folder.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        path = folder / f"{name}{SUFFIX}"
        if not path.exists():
            expected = json.dumps(make(name, path), indent=1)
            path.with_suffix(".json").write_text(expected + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(FOLDER / gpubp.__version__)
