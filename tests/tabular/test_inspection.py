"""Inspection of models of tables, compared with scikit-learn's of the estimators."""

import numpy as np
import pandas as pd
import pytest
import sklearn.inspection

import gpubp
from gpubp import TabularClassifier, TabularRegressor
from gpubp.data.metrics import score
from gpubp.data.preprocessing import preprocessing_of
from gpubp.errors import DataError, TableWarning
from gpubp.tabular import inspected_table

ROWS = 100
RANDOM = np.random.default_rng(1)
X = pd.DataFrame(
    {
        "size": RANDOM.normal(50.0, 15.0, ROWS),
        "rooms": RANDOM.integers(1, 6, ROWS).astype(float),
        "town": RANDOM.choice(["Bonn", "Köln", "Ulm"], ROWS),
        "built": pd.Timestamp("2001-01-01") + pd.to_timedelta(RANDOM.integers(0, 3000, ROWS), "D"),
        "note": [f"a {'nice' if k % 3 else 'dark'} flat with view {k}" for k in range(ROWS)],
    }
)
X.loc[::9, "size"] = np.nan
PRICE = X["rooms"] * 30.0 + (X["town"] == "Ulm") * 40.0 + X["size"].fillna(50.0) + RANDOM.normal(size=ROWS)
LABELS = np.asarray(["cheap", "fair", "rich"], dtype=object)[np.digitize(PRICE, (140.0, 190.0))]
WEIGHTS = RANDOM.uniform(0.5, 2.0, ROWS)
FAST = {"epochs": 15, "device": "cpu", "dtype": "float64", "hidden_layer_sizes": (12,), "refit": False}
CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def classifier():
    return TabularClassifier(**FAST, types={"note": "words"}).fit(X, pd.Series(LABELS, name="class"))


@pytest.fixture(scope="module")
def regressor():
    return TabularRegressor(**FAST, types={"note": "words"}, n_networks=2).fit(X, pd.Series(PRICE, name="price"))


@pytest.mark.parametrize(
    ("name", "scoring", "weights"),
    [
        ("classifier", None, None),
        ("classifier", "neg_log_loss", WEIGHTS),
        ("regressor", None, WEIGHTS),
        ("regressor", "neg_mean_absolute_error", None),
    ],
    ids=["accuracy", "log loss, weighted", "R squared, weighted", "absolute error"],
)
def test_importance_is_that_of_scikit_learn(request, name, scoring, weights):
    model, y = request.getfixturevalue(name), LABELS if name == "classifier" else PRICE
    theirs = sklearn.inspection.permutation_importance(
        model, X, y, scoring=scoring, n_repeats=2, random_state=4, sample_weight=weights
    )
    options = {"scoring": scoring, "n_repeats": 2, "seed": 4, "sample_weight": weights, **CPU}
    ours = gpubp.permutation_importance(model, X, y, **options)
    assert ours.columns == tuple(X.columns)
    np.testing.assert_allclose(ours.importances, theirs.importances, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.importances_mean, theirs.importances_mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.importances_std, theirs.importances_std, rtol=1e-9, atol=1e-9)
    assert ours.columns[ours.order[0]] in ("rooms", "town", "size")
    assert np.abs(ours.importances).max() > 0.01


@pytest.mark.parametrize(("name", "weights"), [("classifier", WEIGHTS), ("regressor", None)], ids=["weighted", "plain"])
def test_partial_dependence_is_that_of_scikit_learn(request, name, weights):
    model = request.getfixturevalue(name)
    ours = gpubp.partial_dependence(model, X, ("rooms", "town"), individual=True, sample_weight=weights, **CPU)
    for column, one in ours.items():
        theirs = sklearn.inspection.partial_dependence(
            model, X, [column], categorical_features=["town"], kind="both", method="brute", sample_weight=weights
        )
        assert one.values.tolist() == theirs["grid_values"][0].tolist()
        np.testing.assert_allclose(one.average.T, theirs["average"], rtol=1e-9)
        np.testing.assert_allclose(np.moveaxis(one.individual, 2, 0), theirs["individual"], rtol=1e-9)
    assert one.names == (("class=cheap", "class=fair", "class=rich") if name == "classifier" else ("price",))


def test_partial_dependence_on_dates_and_many_numbers_is_what_predict_says(regressor):
    for column, one in gpubp.partial_dependence(regressor, X, ["built", "size"], grid_resolution=4, **CPU).items():
        assert len(one.values) == 4
        for value, average in zip(one.values, one.average, strict=True):
            expected = regressor.predict(X.assign(**{column: value})).mean()
            np.testing.assert_allclose(average, expected, rtol=1e-9)
    assert gpubp.partial_dependence(regressor, X, "built", **CPU)["built"].values.dtype.kind == "M"


@pytest.mark.parametrize("labels", [LABELS, np.where(LABELS == "rich", "rich", "other")], ids=["three", "two"])
def test_calibration_of_the_predicted_class_is_that_of_the_scores(labels):
    model = TabularClassifier(**FAST).fit(X, labels)
    curves = gpubp.calibration_curve(model, X, labels, **CPU)
    probabilities = model.predict_proba(X)
    one_hot = (labels[:, None] == model.classes_).astype(float)
    if len(model.classes_) == 3:
        assert [curve.name for curve in curves] == [
            "the predicted class",
            *(f"target={label}" for label in model.classes_),
        ]
        of_scores = score(preprocessing_of(model.model_), one_hot, probabilities)["calibration_error"]
        assert curves[0].error == pytest.approx(of_scores)
    else:
        assert [curve.name for curve in curves] == ["target=rich"]
    from sklearn.calibration import calibration_curve

    observed, predicted = calibration_curve(labels == "rich", probabilities[:, -1], n_bins=10)
    np.testing.assert_allclose(curves[-1].observed, observed)
    np.testing.assert_allclose(curves[-1].predicted, predicted)


def test_coverage_is_the_share_of_targets_within_intervals(regressor):
    (curve,) = gpubp.calibration_curve(regressor, X.assign(price=PRICE), sample_weight=WEIGHTS, **CPU)
    for share, observed in zip(curve.predicted.tolist(), curve.observed, strict=True):
        ends = gpubp.predict_table(regressor.model_, X, interval=share, **CPU)
        inside = (ends["price low"] <= PRICE) & (ends["price high"] >= PRICE)
        assert observed == pytest.approx(np.average(inside, weights=WEIGHTS))
    assert curve.predicted.tolist() == pytest.approx([k / 10 for k in range(1, 10)])
    assert 0.0 < curve.error < 0.5


def test_a_model_a_fit_and_an_estimator_are_inspected_alike(regressor):
    frame = X.assign(price=PRICE)
    fit = gpubp.fit_table(gpubp.prepare_table(frame, target="price"), epochs=3, **CPU)
    first, second = (
        gpubp.permutation_importance(one, frame, n_repeats=2, **CPU).importances for one in (fit, fit.model)
    )
    np.testing.assert_array_equal(first, second)
    loaded = gpubp.permutation_importance(regressor.model_, frame, n_repeats=2, **CPU)
    apart = gpubp.permutation_importance(regressor, X, PRICE, n_repeats=2, **CPU)
    np.testing.assert_allclose(loaded.importances, apart.importances, rtol=1e-9)


def test_several_targets():
    frame = X.assign(price=PRICE, rent=np.sqrt(PRICE))
    model = TabularRegressor(**FAST).fit(frame, ["price", "rent"])
    ours = gpubp.permutation_importance(model, frame, n_repeats=2, **CPU)
    theirs = sklearn.inspection.permutation_importance(
        model, X, frame[["price", "rent"]].to_numpy(), n_repeats=2, random_state=0
    )
    np.testing.assert_allclose(ours.importances, theirs.importances, rtol=1e-9, atol=1e-9)
    assert [curve.name for curve in gpubp.calibration_curve(model, frame, **CPU)] == ["price", "rent"]
    assert gpubp.partial_dependence(model, frame, "town", **CPU)["town"].average.shape == (3, 2)


def test_rows_without_a_known_target_or_weight_are_left_out(classifier):
    frame = X.assign(**{"class": LABELS})
    more = pd.concat([frame, frame[:30].assign(**{"class": [None, "unheard of"] * 15}), frame[:10]], ignore_index=True)
    weights = np.r_[WEIGHTS, np.ones(30), np.zeros(10)]
    options = {"scoring": "neg_log_loss", **CPU}
    clean = gpubp.permutation_importance(classifier, frame, sample_weight=WEIGHTS, **options)
    with pytest.warns(TableWarning, match="15 rows of a class that training did not see are left out of the score"):
        mixed = gpubp.permutation_importance(classifier, more, sample_weight=weights, **options)
    np.testing.assert_array_equal(clean.importances, mixed.importances)
    known = gpubp.calibration_curve(classifier, frame, sample_weight=WEIGHTS, **CPU)
    mixed = gpubp.calibration_curve(classifier, more, sample_weight=weights, **CPU)
    for one, other in zip(known, mixed, strict=True):
        assert sum(other.weights) == pytest.approx(sum(one.weights) + 15.0)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_classes_that_training_did_not_see_count_as_wrong_as_in_score(classifier, scoring, weights):
    labels = LABELS.copy()
    labels[20:50] = ["unheard of", "new", None] * 10
    frame = X.assign(**{"class": labels})
    with pytest.warns(TableWarning, match="20 rows of a class that training did not see count as wrong") as ours:
        found = gpubp.permutation_importance(classifier, frame, scoring=scoring, sample_weight=weights, **CPU)
    with pytest.warns(TableWarning) as theirs:
        expected = classifier.score(frame, "class", sample_weight=weights)
    assert found.score == pytest.approx(expected, abs=1e-12)
    assert [str(one.message) for one in ours] == [str(one.message) for one in theirs]
    assert found.importances.max() < 0.8


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "jaccard"])
def test_classes_that_training_did_not_see_are_not_the_second_of_two(name):
    labels = np.where(np.median(PRICE) < PRICE, "dear", "cheap").astype(object)
    model = TabularClassifier(**FAST).fit(X.assign(**{"class": labels}), "class")
    second = model.classes_[1]
    labels[20:50] = ["unheard of", "new", None] * 10
    frame = X.assign(**{"class": labels})
    with pytest.warns(TableWarning, match="20 rows of a class that training did not see count as wrong"):
        found = gpubp.permutation_importance(model, frame, scoring=name, n_repeats=1, **CPU)
    known = [label is not None for label in labels]
    of_sklearn = getattr(sklearn.metrics, f"{name}_score")
    expected = of_sklearn(labels[known].astype(str), model.predict(X[known]), labels=[second], average="macro")
    assert found.score == pytest.approx(expected, abs=1e-12)
    assert 0.0 < expected < 1.0


def test_arrays_of_an_estimator():
    array = X[["size", "rooms"]].to_numpy()
    model = TabularRegressor(**FAST).fit(array, PRICE)
    importance = gpubp.permutation_importance(model, array, PRICE, **CPU)
    assert importance.columns == ("x0", "x1")
    assert gpubp.partial_dependence(model, array, "x1", **CPU)["x1"].values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_an_absent_column_is_a_warning_and_has_no_importance(regressor):
    with pytest.warns(TableWarning, match="lacks 'town'"):
        importance = gpubp.permutation_importance(regressor, X.drop(columns="town"), PRICE, **CPU)
    assert (importance.importances[importance.columns.index("town")] == 0.0).all()


@pytest.mark.parametrize("columns", [3, None, ["town", 3], [["town"]], b"town"])
def test_columns_are_names(classifier, columns):
    with pytest.raises(DataError, match="columns must be the name of a column, or several names, got"):
        gpubp.partial_dependence(classifier, X, columns, **CPU)


def test_everything_that_is_wrong_is_in_one_error(classifier):
    frame = X.assign(**{"class": LABELS})
    with pytest.raises(DataError) as raised:
        gpubp.partial_dependence(classifier, X.drop(columns="town"), ("twon", "note", "town"), grid_resolution=0)
    for part in (
        "no column 'twon' (did you mean 'town'?)",
        "column 'note' is free text",
        "there is no column 'town'",
        "grid_resolution must be a whole number of at least 1, got 0",
    ):
        assert part in str(raised.value)
    with pytest.raises(DataError) as raised:
        gpubp.permutation_importance(classifier, X, scoring="acuracy", n_repeats=0, seed=-1)
    for part in (
        "unknown scoring 'acuracy' (did you mean 'accuracy'",
        "there is no target 'class'",
        "n_repeats must be a whole number of at least 1, got 0",
        "seed must be a whole number of at least 0, got -1",
    ):
        assert part in str(raised.value)
    one = frame.assign(**{"class": ["rich", *[None] * (ROWS - 1)]})
    with pytest.raises(
        DataError, match=r"n_bins .*, got 0; strategy .*, got 'even'; 1 of 100 rows have a target 'class'"
    ):
        gpubp.calibration_curve(classifier, one, n_bins=0, strategy="even")


@pytest.mark.parametrize(
    ("name", "scoring"), [("classifier", "f1"), ("regressor", "accuracy"), ("regressor", "roc_auc")]
)
def test_a_score_that_does_not_fit_the_model_is_an_error(request, name, scoring):
    model, y = request.getfixturevalue(name), LABELS if name == "classifier" else PRICE
    with pytest.raises(DataError, match=f"scoring='{scoring}' cannot score these predictions"):
        gpubp.permutation_importance(model, X, y, scoring=scoring, **CPU)


def test_a_callable_score_gets_the_numbers_of_classes(classifier):
    def recall_of_rich(model, X, y):
        return (model.predict(X) == 2)[y == 2].mean()

    importance = gpubp.permutation_importance(classifier, X, LABELS, scoring=recall_of_rich, **CPU)
    assert importance.scoring == "recall_of_rich"
    assert importance.score == (classifier.predict(X) == "rich")[LABELS == "rich"].mean()


@pytest.mark.parametrize("model", [7, TabularRegressor(), "model.safetensors"], ids=["number", "unfitted", "path"])
def test_what_is_no_model(model):
    with pytest.raises(DataError, match=r"model must be a Model of load_model.* got (int|TabularRegressor|str)"):
        gpubp.permutation_importance(model, X)


@pytest.mark.on("cuda")
@pytest.mark.parametrize("n_networks", [1, 2])
def test_on_a_gpu_the_inputs_are_uploaded_once(n_networks, monkeypatch):
    """Copies of them, in which columns are shuffled or set, are made there."""
    import cupy

    predicted, uploaded = [], []
    predict, upload = inspected_table.mean_outputs, inspected_table.to_backend

    def recorded(network, theta, X, **how):
        predicted.append(type(X))
        return predict(network, theta, X, **how)

    monkeypatch.setattr(inspected_table, "mean_outputs", recorded)
    monkeypatch.setattr(inspected_table, "to_backend", lambda *given: uploaded.append(given) or upload(*given))
    model = TabularRegressor(**FAST, types={"note": "words"}, n_networks=n_networks)
    model.fit(X, pd.Series(PRICE, name="price"))
    found = {}
    for device, n_uploads, kind in (("cuda", 2, cupy.ndarray), ("cpu", 0, np.ndarray)):
        importance = gpubp.permutation_importance(model, X, PRICE, n_repeats=3, seed=1, device=device)
        dependence = gpubp.partial_dependence(model, X, "rooms", device=device)
        found[device] = importance.importances, dependence["rooms"].average
        assert len(uploaded) == n_uploads
        assert set(predicted) == {kind}
        uploaded.clear()
        predicted.clear()
    for on_gpu, on_host in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(on_gpu, on_host, rtol=1e-9, atol=1e-9)
