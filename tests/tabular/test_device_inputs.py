"""Fits of tables on a GPU: inputs that are computed there are those of the host, and so are the fits."""

import gc
import weakref

import numpy as np
import pytest

from gpubp.backends.backend import to_numpy
from gpubp.data.preprocessing import _expansion
from gpubp.tabular import fit as fits
from gpubp.tabular import fit_table, prepare_table
from gpubp.tabular.device_inputs import device_inputs
from gpubp.tabular.networks import network_for
from gpubp.tabular.predict import table_outputs

pytestmark = pytest.mark.on("cuda")
N_ROWS = 240
OPTIONS = {"device": "cuda", "dtype": "float32", "parallel": None}


@pytest.fixture(autouse=True)
def few_inputs_too(monkeypatch):
    """Compute the inputs of small tables on the GPU, in several parts."""
    monkeypatch.setattr(_expansion, "_is_for_device", lambda backend, *_: backend.is_cuda)
    monkeypatch.setattr(_expansion, "INPUTS_AT_ONCE", 1000)


def table(target, n_rows=N_ROWS, seed=0):
    random = np.random.default_rng(seed)
    size, town, price = random.normal(size=n_rows), random.integers(0, 15, n_rows), random.normal(size=n_rows)
    is_sold, text = size + 0.2 * town > 1.0, random.choice(["red", "green", "blue"], (n_rows, 2))
    columns = {
        "size": np.where(random.uniform(size=n_rows) < 0.1, np.nan, size),
        "town": [f"town {number}" for number in town],
        "when": np.datetime64("2020-01-01T06", "s") + random.integers(0, 10**8, n_rows),
        "text": [f"a {first} one beside {number} of {second}" for number, (first, second) in enumerate(text)],
    }
    targets = {"sold": np.where(is_sold, "yes", "no").astype(object), "price": price + np.sin(3.0 * size)}
    return columns | {target: targets[target]}


@pytest.mark.parametrize("target", ["sold", "price"])
@pytest.mark.parametrize("categories", ["one-hot", "target"])
def test_the_inputs_of_each_part_are_those_of_the_host(target, categories):
    prepared = prepare_table(table(target), target=target, categories=categories, dtype="float32")
    inputs = device_inputs(prepared, network_for(prepared), OPTIONS)
    assert set(inputs) == {"train", "validation", "test"}
    for part, X in inputs.items():
        assert not isinstance(X, np.ndarray)
        np.testing.assert_allclose(to_numpy(X), prepared.X[prepared.parts[part]], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("target", "options"), [("sold", {"n_networks": 2}), ("price", {}), ("price", {"has_linear_part": False})]
)
def test_a_fit_is_that_of_inputs_from_the_host(monkeypatch, target, options):
    prepared = prepare_table(table(target), target=target, validation_table=table(target, 60, seed=1), dtype="float32")
    assert set(device_inputs(prepared, network_for(prepared), OPTIONS)) == {"train", "validation", "test"}
    there = fit_table(prepared, epochs=3, device="cuda", **options)
    monkeypatch.setattr(fits, "device_inputs", lambda *_: {})
    here = fit_table(prepared, epochs=3, device="cuda", **options)
    assert isinstance(there.model.theta, np.ndarray)
    assert isinstance(there.fit.theta, np.ndarray)
    np.testing.assert_allclose(there.fit.theta, here.fit.theta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(there.model.theta, here.model.theta, rtol=1e-4, atol=1e-4)
    assert there.scores.keys() == here.scores.keys()
    for part, scores in there.scores.items():
        assert scores == pytest.approx(here.scores[part], rel=1e-3)
    assert there.model.about["held_out_errors"].keys() == here.model.about["held_out_errors"].keys()


def test_the_inputs_of_the_first_training_are_free_before_those_of_the_second(monkeypatch):
    earlier = []

    def watched(*arguments):
        gc.collect()
        assert [one() for one in earlier if one() is not None] == []
        inputs = device_inputs(*arguments)
        earlier.extend(weakref.ref(X if X.base is None else X.base) for X in inputs.values())
        return inputs

    monkeypatch.setattr(fits, "device_inputs", watched)
    fit_table(prepare_table(table("price"), target="price", dtype="float32"), epochs=2, device="cuda")
    assert len(earlier) == 3 + 1


def test_predictions_are_those_of_the_host():
    model = fit_table(prepare_table(table("sold"), target="sold"), epochs=2, device="cpu").model
    there, here = (table_outputs(model, table("sold", seed=2), device=device) for device in ("cuda", "cpu"))
    assert isinstance(there.outputs, np.ndarray)
    assert there.issues == here.issues
    np.testing.assert_allclose(there.outputs, here.outputs, rtol=1e-5, atol=1e-5)
