"""Samples given to the report of an estimator: labels of other types, and samples that do not match."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.inspection import partial_dependence

from gpubp import MLPClassifier, MLPRegressor, TabularClassifier
from gpubp.errors import DataError
from gpubp.estimators._page import report_of_estimator
from gpubp.inspection import PermutationImportance
from gpubp.tabular import report as tabular_report

pytestmark = pytest.mark.once

X = np.random.default_rng(0).normal(size=(150, 2))
Y = (X[:, 0] > 0.0).astype(int) + (X[:, 1] > 0.0)


@pytest.fixture(scope="module")
def classifier():
    return MLPClassifier((8,), max_iter=30, tol=1e-2, random_state=0).fit(X, Y)


@pytest.mark.parametrize("convert", [lambda y: y.astype(float), lambda y: y.astype(object), lambda y: y.tolist()])
def test_labels_are_compared_by_value(classifier, tmp_path, convert):
    classifier.report(tmp_path / "as_fitted.html", X, Y)
    classifier.report(tmp_path / "converted.html", X, convert(Y))
    text = (tmp_path / "converted.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "as_fitted.html").read_text(encoding="utf-8")
    right = map(int, re.findall(r'class="cell right"[^>]*>(\d+)<', text))
    assert sum(right) == round(classifier.score(X, Y) * len(Y))


def test_labels_of_no_class_are_wrong(classifier, tmp_path):
    classifier.report(tmp_path / "c.html", X, np.where(np.arange(len(Y)) < 75, Y, 0.5))
    correct = np.mean((classifier.predict(X) == Y)[:75]) / 2
    assert f">{correct:.4f}<" in (tmp_path / "c.html").read_text(encoding="utf-8")
    texts = MLPClassifier((4,), max_iter=30, tol=10.0, random_state=0).fit(X, Y.astype(str))
    texts.report(tmp_path / "c.html", X, np.where(np.arange(len(Y)) < 75, Y.astype(str).astype(object), np.nan))
    correct = np.mean((texts.predict(X) == Y.astype(str))[:75]) / 2
    assert f">{correct:.4f}<" in (tmp_path / "c.html").read_text(encoding="utf-8")
    with pytest.raises(DataError, match=r"the classes are of <U1; pass y\.astype\(str\)"):
        texts.report(tmp_path / "c.html", X, Y)
    with pytest.raises(DataError, match="none of the labels of y is a class"):
        classifier.report(tmp_path / "c.html", X, np.full(len(X), 7))
    with pytest.raises(DataError, match="y holds labels of <U21, but the classes are of int64"):
        classifier.report(tmp_path / "c.html", X, Y.astype(str))


@pytest.mark.parametrize("y", [Y[:-1], [], 1])
def test_samples_and_targets_of_different_lengths_are_an_error(classifier, tmp_path, y):
    regressor = MLPRegressor(hidden_layer_sizes=(2,), max_iter=9, tol=1e300, n_iter_no_change=1).fit(X, X[:, 0])
    for model in (classifier, regressor):
        with pytest.raises(DataError, match=r"as many samples as each other, got shapes \(150, 2\) and \("):
            model.report(tmp_path / "r.html", X, y)
    assert not (tmp_path / "r.html").exists()


def test_samples_that_would_be_ignored_are_an_error(classifier, tmp_path):
    with pytest.raises(DataError, match="pass a path to write it to"):
        classifier.report(X=X, y=Y)
    table = {"a": X[:, 0], "b": X[:, 1], "c": Y.astype(str)}
    tabular = TabularClassifier(epochs=2, device="cpu").fit(table, "c")
    for ignored in ({"y": Y}, {"y": "c"}, {"sample_weight": np.ones(150)}):
        with pytest.raises(DataError, match="are of the rows of X: pass X too"):
            tabular.report(tmp_path / "r.html", **ignored)
    assert not (tmp_path / "r.html").exists()


def test_errors_of_targets_that_hardly_differ_are_drawn(tmp_path):
    y = np.full(150, 1e17)
    model = MLPRegressor(hidden_layer_sizes=(2,), max_iter=9, tol=1e300, n_iter_no_change=1, random_state=0)
    model.fit(X, y).report(tmp_path / "r.html", X, y)
    assert "target: errors" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("convert", [lambda y: y, lambda y: y.astype(str)])
def test_several_columns_of_classes(tmp_path, convert):
    y = convert(np.column_stack([X[:, 0] > 0.0, Y]).astype(int))
    model = MLPClassifier((4,), max_iter=30, random_state=0, tol=10.0).fit(X, y)
    model.report(tmp_path / "columns.html", X, y)
    assert f">{model.score(X, y):.4f}<" in (tmp_path / "columns.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_partial_dependence_is_that_of_scikit_learn(kind, tmp_path):
    samples = np.column_stack([X, np.arange(150) % 3]).astype(np.float32)
    if kind == "classes":
        targets = np.where(X[:, 0] > 0.0, "yes", "no")
        model = MLPClassifier((8,), learning_rate_init=0.02, alpha=1.0, tol=1e-3, random_state=0)
    else:
        targets = 5.0 * X[:, 0]
        model = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.02, tol=1e-3, random_state=0)
    model.fit(samples, targets)
    found, *others = report_of_estimator(model, samples, targets).held_out.dependence
    assert kind == "numbers" or others == []
    assert found.column == "feature 1"
    assert len(found.values) == 20
    expected = partial_dependence(model, samples, [0], custom_values={0: found.values}, method="brute")["average"][0]
    np.testing.assert_allclose(found.average[:, -1], expected, rtol=1e-5)
    model.report(tmp_path / "r.html", samples, targets)
    predicted = "y=yes" if kind == "classes" else "target"
    assert f"Mean prediction over feature 1: {predicted}" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_dependence_of_many_samples_is_the_mean_of_some_of_them():
    samples = np.random.default_rng(0).normal(size=(1500, 1))
    targets = np.abs(samples).ravel()
    model = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.02, tol=1e-3, random_state=0)
    (found,) = report_of_estimator(model.fit(samples, targets), samples, targets).held_out.dependence
    some = samples[np.linspace(0, 1499, 500).round().astype(int)]
    assert set(found.values) <= set(some.ravel())
    np.testing.assert_allclose(found.average[:, 0], model.predict(found.values[:, None]), rtol=1e-5)


def test_a_model_without_parameters_has_a_dependence(monkeypatch):
    wanted = []
    monkeypatch.setattr(tabular_report, "_fewer", lambda inspected, most: (inspected, wanted.append(most)))
    model = SimpleNamespace(theta=np.empty(0), network=SimpleNamespace(n_members=None))
    inspected = SimpleNamespace(model=model, preprocessing=SimpleNamespace(columns=()))
    assert tabular_report._dependence(inspected, PermutationImportance((), np.empty((0, 5)), 0.0, "r2")) == []
    assert wanted == [tabular_report.MAX_DEPENDENCE_ROWS]
