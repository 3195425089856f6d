"""Dropout in the networks of tables: that of gpubp.train, for the hidden layers alone."""

import numpy as np
import pytest

from gpubp import TabularClassifier, fit_table, prepare_table
from gpubp.errors import DataError

OPTIONS = {"epochs": 3, "device": "cpu", "hidden_layer_sizes": (8, 6)}


def test_layers_that_embed_categories_keep_their_outputs(monkeypatch):
    random = np.random.default_rng(0)
    table = {"x": random.normal(size=120), "town": random.choice([f"t{k}" for k in range(14)], 120)}
    table["y"] = np.where(table["x"] > 0.0, "a", "b")
    requested = []
    from gpubp.tabular import fit

    def train(*arguments, **options):
        requested.append((arguments[0].sizes, options["dropout"]))
        return fit_once(*arguments, **options)

    fit_once = fit.train
    monkeypatch.setattr(fit, "train", train)
    prepared = prepare_table(table, target="y", categories="embedding", max_categories=20)
    result = fit_table(prepared, dropout=0.25, **OPTIONS)
    assert [(len(sizes), rates) for sizes, rates in requested] == [(5, (0.0, 0.25, 0.25))] * 2
    assert result.model.about["training"]["dropout"] == 0.25


def test_a_file_keeps_it(tmp_path):
    model = TabularClassifier(dropout=0.2, **OPTIONS).fit({"x": np.arange(60.0)}, ["a", "b"] * 30)
    model.save(tmp_path / "m.safetensors")
    assert TabularClassifier.load(tmp_path / "m.safetensors").dropout == 0.2
    assert "dropout" not in fit_table(prepare_table("iris"), **OPTIONS).model.about["training"]


def test_dropout_needs_a_hidden_layer_and_a_fraction():
    prepared = prepare_table("iris")
    with pytest.raises(DataError, match="for hidden layers, and the network has none"):
        fit_table(prepared, dropout=0.2, **OPTIONS | {"hidden_layer_sizes": ()})
    with pytest.raises(DataError, match=r"from 0 to below 1, got 1\.5"):
        fit_table(prepared, dropout=1.5, **OPTIONS)
