"""Smoothed labels of tables: in the targets that are learned, and nowhere else."""

import numpy as np
import pytest

from gpubp import TabularClassifier, fit_table, initial_weights, predict, prepare_stream, prepare_table
from gpubp.data import load_dataset
from gpubp.errors import DataError
from gpubp.nn.losses import smoothed_labels
from gpubp.tabular import fit as fit_module

N, SMOOTHING = 90, 0.3
RANDOM = np.random.default_rng(0)
TABLE = {"x": RANDOM.normal(size=N), "z": RANDOM.normal(size=N), "kind": RANDOM.choice(["a", "b", "c"], N).tolist()}
OPTIONS = {"label_smoothing": SMOOTHING, "epochs": 3, "device": "cpu"}


def cross_entropy(targets, outputs):
    return -np.mean(np.sum(targets * np.log(outputs), axis=1))


@pytest.fixture
def trainings(monkeypatch):
    """Record the arguments of each training."""
    calls, train = [], fit_module.train
    monkeypatch.setattr(
        fit_module, "train", lambda *given, **options: calls.append((given, options)) or train(*given, **options)
    )
    return calls


def prepared_table(tmp_path):
    return prepare_table(TABLE)


def prepared_stream(tmp_path):
    rows = zip(*TABLE.values(), strict=True)
    (tmp_path / "t.csv").write_text("x,z,kind\n" + "".join(f"{x},{z},{kind}\n" for x, z, kind in rows))
    return prepare_stream(tmp_path / "t.csv")


def test_labels_are_spread_over_the_classes():
    targets = np.eye(3)[[0, 2]]
    expected = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    np.testing.assert_allclose(smoothed_labels(targets, SMOOTHING, 3), expected, rtol=1e-15)
    assert smoothed_labels(targets, 0.0, 3) is targets
    of_groups = smoothed_labels(np.asarray([[1.0, 0.0, 0.0, 1.0, 0.0]]), SMOOTHING, np.asarray([2, 2, 3, 3, 3]))
    np.testing.assert_allclose(of_groups, [[0.85, 0.15, 0.1, 0.8, 0.1]], rtol=1e-15)


@pytest.mark.parametrize("prepare", [prepared_table, prepared_stream])
def test_only_the_training_rows_are_smoothed(trainings, tmp_path, prepare):
    """Those of both trainings, before and after rows were held out."""
    prepared = prepare(tmp_path)
    result = fit_table(prepared, **OPTIONS)
    assert len(trainings) == 2
    for (_, X, targets), _ in trainings:
        learned = np.concatenate([rows.targets for rows in X.source.rows()]) if targets is None else targets
        np.testing.assert_allclose(np.unique(learned), [0.1, 0.8], rtol=1e-6)
        np.testing.assert_allclose(learned.sum(axis=1), 1.0, rtol=1e-6)
    assert set(np.unique(trainings[0][1]["validation_data"][1])) == {0.0, 1.0}
    assert result.model.about["training"]["label_smoothing"] == SMOOTHING
    assert set(np.unique(prepared.validation()[1])) == {0.0, 1.0}  # the caller's table is not changed
    assert "label_smoothing" not in fit_table(prepared, epochs=1, device="cpu").model.about["training"]


def test_losses_are_of_smoothed_labels_in_training_and_of_labels_held_out():
    prepared = prepare_table(TABLE)
    options = OPTIONS | {"epochs": 1, "batch_size": "full", "l2": 0.0, "refit": False, "dtype": "float64"}
    result = fit_table(prepared, **options)
    model, rows, held_out = result.model, prepared.training(), prepared.validation()
    first = predict(model.network, initial_weights(model.network, 0, dtype="float64"), rows.X, device="cpu")
    learned = (1.0 - SMOOTHING) * rows.targets + SMOOTHING / 3
    np.testing.assert_allclose(result.fit.history.loss, cross_entropy(learned, first), rtol=1e-12)
    outputs = predict(model.network, model.theta, held_out.X, device="cpu")
    expected = cross_entropy(held_out.targets, outputs)
    np.testing.assert_allclose(result.fit.history.validation_loss, expected, rtol=1e-12)
    np.testing.assert_allclose(result.scores["validation"]["log_loss"], expected, rtol=1e-6)


def test_the_classifier_learns_smoothed_labels(trainings, tmp_path):
    digits = load_dataset("digits")
    X, y = digits.X[:400], digits.targets[:400].argmax(axis=1)
    options = {"epochs": 30, "device": "cpu", "l2": 0.0, "validation_fraction": 0.0}
    surest = []
    for smoothing in (0.0, 0.2):
        model = TabularClassifier(label_smoothing=smoothing, **options).fit(X, y)
        surest.append(np.mean(np.max(model.predict_proba(X), axis=1)))
    assert surest[0] > 0.95
    assert abs(surest[1] - 0.82) < 0.06  # the best outputs are 1 - 0.2 + 0.2 / 10
    weighted = TabularClassifier(label_smoothing=0.2, class_weight={0: 5.0}, **options | {"epochs": 1}).fit(X, y)
    np.testing.assert_allclose(np.unique(trainings[-1][0][2]), [0.02, 0.82], rtol=1e-6)
    weighted.save(tmp_path / "m.safetensors")
    assert TabularClassifier.load(tmp_path / "m.safetensors").label_smoothing == 0.2


def test_the_smoothing_of_fit_table_is_loaded(tmp_path):
    from gpubp import save_model

    model = fit_table(prepare_table(TABLE), **OPTIONS).model
    save_model(
        tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about
    )
    assert TabularClassifier.load(tmp_path / "m.safetensors").label_smoothing == SMOOTHING


@pytest.mark.parametrize("smoothing", [1.0, -0.1, np.nan, "a"])
def test_a_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(DataError, match=r"label_smoothing \(--label-smoothing\) must be from 0 to below 1, got"):
        fit_table(prepare_table(TABLE), label_smoothing=smoothing)
    with pytest.raises(ValueError, match="The 'label_smoothing' parameter of TabularClassifier must be"):
        TabularClassifier(label_smoothing=smoothing).fit(TABLE, "kind")


def test_numbers_have_no_labels_to_smooth():
    with pytest.raises(DataError, match="is for classes, and the target holds numbers"):
        fit_table(prepare_table(TABLE, target="x"), **OPTIONS)
