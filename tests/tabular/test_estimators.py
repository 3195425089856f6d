"""The estimators for tables: what they take as X, y and weights, scikit-learn's checks, and files."""

import copy
import functools
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import threadpoolctl
from sklearn import metrics
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

import gpubp
from gpubp import (
    TabularClassifier,
    TabularRegressor,
    adam,
    fit_table,
    ntk_rate_factors,
    predict_table,
    prepare_table,
    rate_scaled,
    save_model,
)
from gpubp.data import table_from_mapping
from gpubp.errors import DataError, ModelFileError, TableWarning
from gpubp.io.model_file import Model
from gpubp.optim.first_order import Optimizer
from gpubp.tabular.saved_optimizer import optimizer_in

QUICK = {"device": "cpu", "epochs": 5}
N = 120


def shop(n=N, seed=0):
    """Return columns of each kind, with missing values."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": random.normal(30.0, 10.0, n), "town": random.choice(["Bonn", "Ulm", None], n)})
    frame["day"] = pd.Timestamp("2020-01-01") + random.integers(0, 700, n) * pd.Timedelta(days=1)
    frame.loc[::7, "income"] = np.nan
    return frame


def buys(frame):
    return np.where((frame["income"].fillna(30.0) + 8.0 * (frame["town"] == "Bonn")) > 32.0, "yes", "no")


def price(frame):
    return 3.0 * frame["income"].fillna(30.0) + 20.0 * (frame["town"] == "Bonn")


FRAME = shop()
CLASSES, NUMBERS = buys(FRAME), price(FRAME).to_numpy()


def classifier(**options):
    return TabularClassifier(**QUICK | options)


def regressor(**options):
    return TabularRegressor(**QUICK | options)


# --- scikit-learn's checks ---

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row twice makes other batches, other held-out rows and other means of columns than one that weighs 2"
    ),
}
CHECKED = [TabularClassifier(epochs=15), TabularRegressor(epochs=30)]


@pytest.mark.parametrize("model", CHECKED, ids=lambda model: type(model).__name__)
def test_scikit_learn_checks(model):
    """In float64, because the checks want 1e-7 between single rows and all of them together, which float32 has not."""
    try:
        from sklearn.utils.estimator_checks import check_estimator
    except RuntimeError as error:  # scikit-learn 1.6 wants SCIPY_ARRAY_API to be set
        pytest.skip(f"scikit-learn's checks cannot be imported: {error}")
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")
        results = check_estimator(model.set_params(device="cpu", dtype="float64"), on_skip=None, on_fail=None)
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}
    assert failed.keys() == EXPECTED_FAILURES.keys(), failed
    assert sum(result["status"] == "passed" for result in results) > 50


# --- X and y ---


def frames():
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    columns = {name: FRAME[name].astype(object).where(FRAME[name].notna(), None).tolist() for name in FRAME}
    return {
        "pandas": FRAME,
        "polars": polars.DataFrame(FRAME.to_dict("list"), strict=False, schema_overrides={"income": polars.Float64}),
        "pyarrow": pyarrow.Table.from_pandas(FRAME),
        "dict": columns,
        "Table": table_from_mapping(FRAME),
    }


def test_every_kind_of_frame_gives_the_same_model():
    expected = classifier().fit(FRAME, CLASSES)
    for kind, frame in frames().items():
        model = classifier().fit(frame, CLASSES)
        np.testing.assert_allclose(model.predict_proba(frame), expected.predict_proba(FRAME), rtol=1e-6, err_msg=kind)
        assert model.feature_names_in_.tolist() == list(FRAME.columns), kind


def test_a_path_and_the_name_of_a_data_set(tmp_path):
    path = tmp_path / "shop.csv"
    FRAME.assign(price=NUMBERS).to_csv(path, index=False)
    model = regressor(epochs=30).fit(path, "price")
    assert model.n_features_in_ == 3
    assert model.score(path, "price") == pytest.approx(metrics.r2_score(NUMBERS, model.predict(str(path))))
    iris = classifier(epochs=30).fit("iris", "target")
    assert iris.score("iris", "target") > 0.9
    assert iris.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    with pytest.raises(DataError, match="pass its name as y"):
        classifier().fit("iris", np.arange(150) % 3)


def test_a_target_in_the_frame_and_one_given_apart_give_the_same_model():
    apart = regressor().fit(FRAME, pd.Series(NUMBERS, name="price"))
    inside = regressor().fit(FRAME.assign(price=NUMBERS), "price")
    np.testing.assert_array_equal(apart.model_.theta, inside.model_.theta)
    assert apart.model_.preprocessing == inside.model_.preprocessing
    assert apart.n_features_in_ == inside.n_features_in_ == 3


def test_rows_without_a_named_target_are_left_out():
    frame = FRAME.assign(price=np.where(np.arange(N) % 10, NUMBERS, np.nan))
    known = frame["price"].notna()
    left_out, expected = regressor().fit(frame, "price"), regressor().fit(frame[known].reset_index(drop=True), "price")
    np.testing.assert_array_equal(left_out.model_.theta, expected.model_.theta)
    weights = np.arange(N) % 3 + 1.0
    assert left_out.score(frame, "price", weights) == left_out.score(frame[known], NUMBERS[known], weights[known])


def test_it_is_the_network_of_fit_table():
    result = fit_table(prepare_table(FRAME.assign(y=CLASSES), target="y", test_fraction=0.0, seed=3), seed=3, **QUICK)
    model = classifier(random_state=3).fit(FRAME, pd.Series(CLASSES, name="y"))
    np.testing.assert_array_equal(model.model_.theta, result.model.theta)
    assert model.scores_ == result.scores
    np.testing.assert_array_equal(model.predict(FRAME), predict_table(result.model, FRAME, device="cpu")["y"])


@pytest.mark.parametrize(
    "labels",
    [
        ["NA", "EU"],
        ["?", "-"],
        [" a", "a"],
        ["01", "1"],
        ["1", "2"],
        [True, False],
        [-1, 1],
        [2**60, 2**60 + 1],
    ],
    ids=repr,
)
def test_each_label_of_an_array_is_a_class(labels, tmp_path):
    y = np.array(labels * (N // 2), dtype=object if isinstance(labels[0], str) else None)
    model = classifier().fit(FRAME, y)
    assert model.classes_.tolist() == sorted(labels)
    assert type(model.classes_[0]) is type(np.sort(y)[0])
    assert model.model_.about["rows"]["train"] + model.model_.about["rows"]["validation"] == N
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(TabularClassifier.load(tmp_path / "m.safetensors").classes_, model.classes_)


@pytest.mark.parametrize("missing", ["0", ["0.0", "no"]])
def test_missing_is_not_of_targets_that_are_given_apart(missing, tmp_path):
    X, weights = {"a": np.arange(90) % 7, "b": ["no", "yes", "so"] * 30}, np.ones(90)
    for y in (np.arange(90) % 3, np.array(["no", "0", "1"] * 30), [True, False] * 45):
        model = classifier(epochs=1, missing=missing).fit(X, y, weights, validation_data=(X, y))
        assert model.classes_.tolist() == sorted(set(np.asarray(y).tolist()))
        assert model.model_.about["rows"] == {"train": 90, "validation": 90, "test": 0}
        model.save(tmp_path / "model.safetensors")
        loaded = TabularClassifier.load(tmp_path / "model.safetensors")
        named = {**X, model.model_.preprocessing["target"]["name"]: y}
        assert loaded.score(named, "target") == loaded.score(X, y)
    model = regressor(epochs=1, missing=missing).fit(X, np.arange(90.0) % 3, validation_data=(X, np.arange(90.0) % 3))
    assert model.model_.about["rows"]["train"] == 90
    assert model.model_.preprocessing["target"]["means"] == [1.0]
    assert regressor(epochs=1, missing="0").fit({**X, "y": np.arange(90) % 3}, "y").model_.preprocessing["target"][
        "means"
    ] == [1.5]


def test_labels_may_be_names_of_columns():
    X, y = {"a": np.arange(40), "b": np.arange(40) % 2}, ["a", "b"] * 20
    model = classifier().fit(X, y)
    assert (model.classes_.tolist(), model.n_features_in_) == (["a", "b"], 2)
    assert model.score(X, y) == (model.predict(X) == np.array(y)).mean()
    pair = {"a": [0, 1], "b": [1, 0]}
    with pytest.warns(TableWarning, match="2 rows with a target, of which none are held out"):
        assert classifier(validation_fraction=0.0).fit(pair, ["a", "b"]).classes_.tolist() == ["a", "b"]
    named = classifier().fit(FRAME.assign(town=CLASSES), ["town"])
    one_row = FRAME.assign(town=named.predict(FRAME))[:1]
    assert named.score(one_row, ["town"]) == named.score(one_row, "town") == 1.0


@pytest.mark.parametrize(
    ("labels", "unseen"),
    [(["no", "yes"], "perhaps"), ([0, 1], 7), ([False, True], "perhaps"), ([0, 1], "NN"), (["a", "b"], 3)],
    ids=["text", "numbers", "bools", "text among numbers", "number among text"],
)
def test_a_class_that_training_did_not_see_counts_as_wrong(labels, unseen):
    y = np.array(labels, dtype=object)[np.arange(N) % 2]
    model = classifier().fit(FRAME.assign(y=y.tolist()), "y")
    mixed = [unseen, None, *y[2:]]
    n_correct = (model.predict(FRAME) == y)[2:].sum()
    with pytest.warns(TableWarning, match="1 row of a class that training did not see counts as wrong"):
        assert model.score(FRAME.assign(y=mixed), "y") == n_correct / (N - 1)
    weights = np.r_[2.0, np.ones(N - 1)]
    with pytest.warns(TableWarning):
        assert model.score(FRAME.assign(y=mixed), "y", weights) == n_correct / N


def test_unseen_categories_are_counted_in_a_warning_for_each_call():
    model, new = classifier().fit(FRAME.assign(town=FRAME["town"].fillna("Ulm")), CLASSES), FRAME.assign(town="Rome")
    for call in (model.predict, model.predict_proba, lambda X: model.score(X, CLASSES)):
        with pytest.warns(TableWarning, match=rf"column 'town': {N} of {N} values are not among the categ") as caught:
            call(new)
        assert len(caught) == 1
        assert caught[0].filename == __file__


def texts_of(numbers, how):
    return [f"${number:,.2f}" if how == "amounts" else f"{number:.2f} EUR" for number in numbers]


@pytest.mark.parametrize("how", ["amounts", "units"])
def test_texts_of_numbers_are_targets_whether_named_or_given_apart(how):
    numbers = np.round(NUMBERS * 1000.0, 2)
    texts = texts_of(numbers, how)
    named = regressor().fit(FRAME.assign(price=texts), "price")
    for y in (pd.Series(texts, name="price"), texts, np.array(texts), pd.Series(texts, dtype="category")):
        model = regressor().fit(FRAME, y)
        np.testing.assert_array_equal(model.model_.theta, named.model_.theta)
        assert model.score(FRAME, y) == named.score(FRAME.assign(price=texts), "price") == model.score(FRAME, numbers)
    several = pd.DataFrame({"a": texts, "b": numbers})
    model = regressor().fit(FRAME, several, validation_data=(FRAME, several))
    assert model.score(FRAME, several) == model.score(FRAME, np.stack([numbers, numbers], axis=1))


def test_a_text_that_is_no_number_is_no_target():
    texts = texts_of(NUMBERS, "amounts")
    for odd in ("NA", "perhaps"):
        mixed = [*texts[:-1], odd]
        with pytest.raises(DataError, match=rf"y must hold a number for each row, and '{odd}' in row {N} is none"):
            regressor().fit(FRAME, mixed)
        model = regressor()
        with pytest.raises(DataError, match=rf"'{odd}' in row {N} is none"):
            model.fit(FRAME, texts, validation_data=(FRAME, mixed))
        with pytest.raises(DataError, match=rf"'{odd}' in row {N} is none"):
            regressor().fit(FRAME, texts).score(FRAME, mixed)
    with pytest.raises(DataError, match=r"mostly not numbers, such as 'no'.*TabularClassifier"):
        regressor().fit(FRAME, np.where(np.arange(N) % 2, "yes", "no"))


def test_what_cannot_be_scored_is_refused():
    for model, y in ((classifier(), CLASSES), (regressor(), NUMBERS)):
        named = FRAME.assign(y=y)
        model.fit(named, "y")
        with pytest.raises(DataError, match=r"sample_weight must have shape \(120,\)"):
            model.score(named, "y", sample_weight=np.ones(3))
        with pytest.raises(DataError, match="has no row whose target 'y' is known"):
            model.score(FRAME.assign(y="unseen"), "y")
        weights = np.r_[1.0, np.zeros(N - 1)]
        with pytest.raises(DataError, match="has no row of weight above 0 whose target 'y' is known"):
            model.score(FRAME.assign(y=[None, *y[1:]]), "y", sample_weight=weights)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_targets_are_refused_in_score_as_in_fit(missing):
    y = np.array([*CLASSES], dtype=object)
    model = classifier().fit(FRAME, y)
    y[3] = missing
    for function in (model.fit, model.score):
        with pytest.raises(DataError, match="the target of row 4 is missing"):
            function(FRAME, y)


def test_target_statistics_without_effect_are_a_warning():
    with pytest.warns(TableWarning, match="changes nothing: it is for columns of more than 10 categories.* has 2"):
        classifier(categories="target").fit(FRAME, CLASSES)
    with pytest.warns(TableWarning, match="changes nothing: there is no column of categories"):
        classifier(categories="target").fit(FRAME[["income"]], CLASSES)


def test_a_parameter_of_scikit_learn_is_refused_with_the_name_here():
    with pytest.raises(TypeError, match=r"no parameter 'max_iter' \(did you mean 'epochs'\?\).*'alpha' \(.*'l2'"):
        TabularClassifier(max_iter=3, alpha=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "tabmm"}, r"did you mean 'tabm'\?"),
        ({"categories": "onehot"}, r"did you mean 'one-hot'\?"),
        ({"categories": "town"}, r"Got 'town' instead; columns of categories are named by categorical"),
        ({"categories": ["town"]}, "columns of categories are named by categorical"),
        ({"categorical": "one-hot"}, "no column 'one-hot'.* how categories become inputs is the option categories"),
        ({"categorical": "target"}, "no column 'target'.* how categories become inputs is the option categories"),
    ],
)
def test_names_that_are_not_known_are_refused_with_what_is_meant(options, message):
    with pytest.raises(ValueError, match=message):
        classifier(**options).fit(FRAME, CLASSES)


def test_a_time_budget_without_a_search_is_an_error():
    with pytest.raises(InvalidParameterError, match=r"time_budget is for preset=\"best\", not for preset='fast'"):
        classifier(time_budget=5).fit(FRAME, CLASSES)


def test_numbers_of_an_array_are_numbers():
    X = np.column_stack([np.arange(N), np.arange(N) % 2, np.arange(N) * 10 + 7]).astype(float)
    assert [column.type for column in regressor().fit(X, NUMBERS).columns_] == ["number"] * 3 + ["target"]
    mixed = [[k, "a" if k % 3 else "b"] for k in range(N)]
    assert regressor().fit(mixed, NUMBERS).columns_[1].type == "category"
    categories = regressor(categorical="x1").fit(X, NUMBERS)
    assert categories.columns_[1].type == "category"


def test_columns_are_matched_by_name_and_those_of_arrays_by_position():
    model = regressor().fit(FRAME, NUMBERS)
    expected = model.predict(FRAME)
    np.testing.assert_allclose(model.predict(FRAME[FRAME.columns[::-1]].assign(other=1)), expected)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but TabularRegressor was fitted with"):
        np.testing.assert_allclose(model.predict(FRAME.to_numpy()), expected)
    with pytest.raises(ValueError, match="X has 2 features, but TabularRegressor is expecting 3 features as input"):
        model.predict(np.zeros((4, 2)))
    X = np.random.default_rng(0).normal(size=(N, 2))
    model = regressor().fit(X, NUMBERS)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but TabularRegressor was fitted without feature names"):
        np.testing.assert_allclose(model.predict(pd.DataFrame(X, columns=["a", "b"])), model.predict(X))


def test_a_column_that_is_absent_is_filled_with_a_warning_at_the_call():
    model = regressor().fit(FRAME, NUMBERS)
    with pytest.warns(gpubp.errors.TableWarning, match="lacks 'income'") as caught:
        model.predict(FRAME.drop(columns="income"))
    assert [one.filename for one in caught] == [__file__]
    with pytest.raises(DataError, match="income"):
        model.set_params(strict=True).predict(FRAME.drop(columns="income"))


def test_text_among_numbers_is_one_warning_at_the_call_of_fit():
    frame = FRAME.assign(area=np.arange(N, dtype=object), year=np.arange(N) % 9 + 0.5)
    frame.loc[3, "area"] = None  # as usual
    regressor().fit(frame, NUMBERS)
    frame.loc[[16, 20], "area"], frame.loc[5, "year"] = "about 9000", np.inf
    with pytest.warns(gpubp.errors.TableWarning) as caught:
        regressor().fit(frame, NUMBERS)
    assert [(one.filename, str(one.message)) for one in caught] == [
        (
            __file__,
            f"the table: column 'area': 2 of {N} values are not of the column's type, and taken as missing (first in "
            f"row 17: 'about 9000'); column 'year': 1 of {N} values is not of the column's type, and taken as missing "
            "(first in row 6: inf)",
        )
    ]


def test_several_targets():
    y = np.column_stack([NUMBERS, -NUMBERS])
    model = regressor().fit(FRAME, y)
    assert model.predict(FRAME).shape == (N, 2)
    assert model.predict_quantiles(FRAME, [0.4, 0.5, 0.6]).shape == (N, 3, 2)
    named = regressor().fit(FRAME.assign(a=y[:, 0], b=y[:, 1]), ["a", "b"])
    np.testing.assert_array_equal(named.predict(FRAME), model.predict(FRAME))
    assert named.score(FRAME.assign(a=y[:, 0], b=y[:, 1]), ["a", "b"]) == model.score(FRAME, y)


# --- errors ---


def test_all_parameters_that_are_not_valid_are_named_at_once():
    model = classifier(epochs=0, l2=-1.0, activation="rely", class_weight="even", hidden_layer_sizes=(5, 1.5))
    with pytest.raises(ValueError, match="epochs") as raised:
        model.fit(FRAME, CLASSES)
    assert all(part in str(raised.value) for part in ("'l2'", "did you mean 'relu'", "class_weight", "(5, 1.5)"))
    with pytest.raises(DataError, match=r"'income2'.*'towns'.*'dy'"):
        classifier(drop="towns", types={"income2": "number"}, time="dy").fit(FRAME, CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": [0]}, "categorical takes names .* got 0; write 'x0' for a column of an array"),
        ({"drop": [1]}, "drop takes names .* got 1; write 'x1'"),
        ({"types": {0: "number"}}, "types takes names .* got 0; write 'x0'"),
        ({"missing": [None]}, "missing must be texts or numbers .* got None"),
        ({"missing": [True]}, "missing must be texts or numbers .* got True"),
        ({"missing": [np.nan]}, "missing must be texts or numbers .* got nan"),
    ],
)
def test_lists_of_parameters_hold_text(options, message):
    X = np.arange(2.0 * N).reshape(N, 2)
    with pytest.raises(DataError, match=message):
        classifier(**options).fit(X, CLASSES)
    with pytest.raises(DataError, match=message):
        prepare_table(table_from_mapping({"x0": X[:, 0], "y": CLASSES}), target="y", **options)


@pytest.mark.parametrize("missing", [[-999], -999, [-999.0], np.array([-999]), "-999", np.float32(-999)])
def test_numbers_may_mean_a_missing_value(missing, tmp_path):
    X = {"a": np.r_[-999.0, -999.0, np.arange(N - 2.0)], "b": ["-999", "yes", "so"] * (N // 3)}
    model = classifier(epochs=1, missing=missing).fit(X, CLASSES)
    assert [column.n_missing for column in model.columns_[:2]] == [2, N // 3]
    assert model.model_.preprocessing["missing"] == ["-999"]
    model.save(tmp_path / "model.safetensors")
    loaded = TabularClassifier.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.fit(X, CLASSES).model_.preprocessing["missing"], ["-999"])


def test_all_that_is_wrong_with_the_data_is_said_at_once():
    with pytest.raises(DataError) as raised:
        classifier(drop="towns").fit(FRAME, CLASSES[1:], np.ones(3), validation_data=(FRAME, CLASSES, -np.ones(N)))
    expected = ("inconsistent numbers of samples", "'towns'", "sample_weight must", "weights of validation_data must")
    assert all(part in str(raised.value) for part in expected)
    assert str(raised.value).count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": "prices"}, "no column 'prices'"),
        ({"y": None}, "requires y to be passed"),
        ({"y": ["no"] * (N - 1) + [""]}, f"row {N} is missing"),
        ({"y": ["no", 1] * (N // 2)}, "labels of several types"),
        ({"y": NUMBERS}, "Unknown label type"),
        ({"y": CLASSES[1:]}, "inconsistent numbers of samples"),
        ({"sample_weight": np.ones(5)}, r"sample_weight must have shape \(120,\)"),
        ({"sample_weight": np.r_[-1.0, np.ones(N - 1)]}, "got -1 in row 1"),
        ({"y": ["town", "income"]}, "classification takes one target"),
        ({"validation_data": (FRAME,)}, "validation_data must be"),
        ({"validation_data": (FRAME, ["maybe"] * N)}, "expected 'no', 'yes'"),
        ({"validation_data": (FRAME, CLASSES, np.zeros(N))}, "weights of validation_data is zero"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(**{"X": FRAME, "y": CLASSES} | arguments)


@pytest.mark.parametrize("optimizer", ["lbfgs", gpubp.adamw(0.01)], ids=["lbfgs", "adamw"])
def test_a_learning_rate_that_is_not_used_is_refused(optimizer):
    with pytest.raises(ValueError, match="learning_rate"):
        classifier(optimizer=optimizer, learning_rate=0.1).fit(FRAME, CLASSES)
    assert classifier(optimizer=optimizer).fit(FRAME, CLASSES).model_.about["optimizer"]["name"] in ("lbfgs", "adamw")


def test_a_divergence_is_an_error():
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(DataError, match="smaller learning_rate"):
        regressor(optimizer="gradient_descent", learning_rate=1e30).fit(FRAME, NUMBERS)


# --- weights ---


@pytest.mark.parametrize("refit", [True, False])
def test_weights_reach_the_loss_and_only_their_ratios_matter(refit):
    weights, options = np.where(CLASSES == "yes", 50.0, 1.0), {"epochs": 20, "refit": refit}
    plain, weighted, scaled = (
        classifier(**options).fit(FRAME, CLASSES, given) for given in (np.ones(N), weights, 1e-6 * weights)
    )
    np.testing.assert_allclose(plain.model_.theta, classifier(**options).fit(FRAME, CLASSES).model_.theta, rtol=1e-5)
    assert (weighted.predict(FRAME) == "yes").mean() > (plain.predict(FRAME) == "yes").mean() + 0.1
    np.testing.assert_allclose(scaled.predict_proba(FRAME), weighted.predict_proba(FRAME), rtol=1e-3)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (np.inf, 1.0), (np.nan, 1.0), (-1.0, 1.0)])
def test_weights_of_classes_are_finite_and_not_all_zero(weights):
    with pytest.raises(DataError, match="class_weight must be finite"):
        classifier(class_weight=dict(zip(("no", "yes"), weights, strict=True))).fit(FRAME, CLASSES)


@pytest.mark.parametrize("weights", [{"no": "a"}, {"no": "a", "yes": 1.0}, {"n": 1.0}, {"no": [1.0], "yes": 1.0}])
def test_weights_that_are_no_numbers_or_of_no_class_are_refused(weights):
    with pytest.raises(DataError, match=r"a number for each class of the training rows \('no', 'yes'\), got \{'n"):
        classifier(class_weight=weights).fit(FRAME, CLASSES)


def test_rows_of_weight_0_are_left_out():
    weights = np.where(np.arange(N) % 4, 1.0, 0.0)
    kept = FRAME[weights > 0].reset_index(drop=True)
    zero, absent = regressor().fit(FRAME, NUMBERS, weights), regressor().fit(kept, NUMBERS[weights > 0])
    np.testing.assert_allclose(zero.model_.theta, absent.model_.theta, rtol=1e-5)


def test_the_loss_of_the_held_out_rows_is_weighted():
    """Early stopping follows the rows that count: with all weight on one half, the loss is that of this half."""
    half, numbers = np.arange(N) < N // 2, NUMBERS + np.random.default_rng(0).normal(size=N)
    options = {"validation_fraction": 0.0, "refit": False, "patience": None}
    everything, first, second = (
        regressor(**options).fit(FRAME, numbers, validation_data=given).history_.validation_loss
        for given in (
            (FRAME, numbers, np.where(half, 1.0, 1e-12)),
            (FRAME[half], numbers[half]),
            (FRAME[~half], numbers[~half]),
        )
    )
    np.testing.assert_allclose(everything, first, rtol=1e-5)
    assert not np.allclose(everything, second, rtol=1e-2)


@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 20.0, "usual": 1.0}])
def test_classes_have_weights(class_weight):
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 1))
    y = np.where(X[:, 0] + 1.5 * random.normal(size=300) > 2.2, "rare", "usual")
    plain, weighted = (TabularClassifier(device="cpu", class_weight=given).fit(X, y) for given in (None, class_weight))
    recalls = [metrics.recall_score(y, model.predict(X), pos_label="rare") for model in (plain, weighted)]
    assert recalls[1] > recalls[0] + 0.3


def test_balanced_weights_heed_sample_weight():
    """A class of three times the weight gets a third of the weight by class, so that both weigh the same."""
    y = np.array(["a", "b"] * (N // 2))
    weighted = classifier(class_weight="balanced").fit(FRAME, y, np.where(y == "a", 3.0, 1.0))
    np.testing.assert_allclose(weighted.model_.theta, classifier().fit(FRAME, y).model_.theta, rtol=1e-4, atol=1e-6)


# --- validation data, quantiles ---


def test_given_validation_rows_are_not_trained_on():
    extra = shop(60, seed=1)
    model = regressor(epochs=15).fit(FRAME, NUMBERS, validation_data=(extra, price(extra)))
    other = regressor(epochs=15).fit(FRAME, NUMBERS, validation_data=(extra, -price(extra)))
    assert model.model_.about["rows"] == {"train": N, "validation": 60, "test": 0}
    assert "refit" not in model.model_.about
    assert model.history_.loss[: len(other.history_.loss)] == other.history_.loss[: len(model.history_.loss)]
    assert model.history_.validation_loss[0] != other.history_.validation_loss[0]
    assert model.scores_["validation"]["r2"] == pytest.approx(model.score(extra, price(extra)), abs=1e-6)
    named = regressor(epochs=15).fit(
        FRAME.assign(price=NUMBERS), "price", validation_data=(extra.assign(price=price(extra)), "price")
    )
    np.testing.assert_array_equal(named.model_.theta, model.model_.theta)


def test_quantiles_are_the_ends_of_intervals():
    model = regressor(validation_fraction=0.4).fit(FRAME, pd.Series(NUMBERS, name="price"))
    low, middle, high = model.predict_quantiles(FRAME, (0.1, 0.5, 0.9)).T
    expected = predict_table(model.model_, FRAME, device="cpu", interval=0.8)
    np.testing.assert_array_equal(low, expected["price low"])
    np.testing.assert_array_equal(high, expected["price high"])
    np.testing.assert_array_equal(middle, model.predict(FRAME))
    for wrong in ([], [0.0], [1.5], [[0.5]], "a", ["0.5"], np.asarray([0.5 + 0j])):
        with pytest.raises(DataError, match=r"quantiles (must be numbers|must hold real numbers|is a str)"):
            model.predict_quantiles(FRAME, wrong)
    with pytest.raises(DataError, match="rows held out"):
        model.predict_quantiles(FRAME, 0.999)


def test_quantiles_of_targets_that_are_named_like_the_ends_of_an_interval():
    frame = FRAME.assign(**{"y": NUMBERS, "y low": -NUMBERS})
    model = regressor(validation_fraction=0.4).fit(frame, ["y", "y low"])
    low, high = model.predict_quantiles(FRAME, [0.2, 0.8]).transpose(1, 0, 2)
    ends = predict_table(model.model_, FRAME, device="cpu", interval=0.6)
    assert list(ends) == ["y", "y low", "y low_2", "y high", "y low low", "y low high"]
    np.testing.assert_array_equal(low, np.stack([ends["y low_2"], ends["y low low"]], axis=1))
    np.testing.assert_array_equal(high, np.stack([ends["y high"], ends["y low high"]], axis=1))


def test_a_named_target_that_is_absent_is_named():
    named, absent = FRAME.assign(price=NUMBERS), r"no column 'price'"
    with pytest.raises(DataError, match=absent):
        regressor().fit(named, "price", validation_data=(FRAME, "price"))
    with pytest.raises(DataError, match=absent):
        prepare_table(named, target="price", validation_table=FRAME)
    with pytest.raises(DataError, match=absent):
        regressor().fit(named, "price").score(FRAME, "price")
    for y in ("price", NUMBERS):
        with pytest.raises(DataError, match=r"target 'prices', and the training rows have '(price|target)'"):
            regressor().fit(named, y, validation_data=(named, "prices"))


def test_rows_of_a_group_are_held_out_together():
    frame = FRAME.assign(patient=[f"p{k // 6}" for k in range(N)])
    model = regressor(group="patient").fit(frame, NUMBERS)
    assert model.model_.about["rows"]["validation"] % 6 == 0
    assert model.columns_[3].type == "drop"


# --- copies and files ---


@pytest.mark.parametrize("make", [classifier, regressor])
def test_copies_predict_the_same(make):
    model = make().fit(FRAME, CLASSES if make is classifier else NUMBERS)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        clone(model).fit(FRAME, CLASSES if make is classifier else NUMBERS),
    ):
        np.testing.assert_array_equal(other.predict(FRAME), model.predict(FRAME))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_saved_model_predicts_the_same_and_keeps_its_parameters(make, tmp_path):
    path = tmp_path / "model.safetensors"
    options = {
        "hidden_layer_sizes": (7, 5),
        "activation": "tanh",
        "random_state": 4,
        "l2": 0.5,
        "types": {"town": "category"},
    }
    model = make(**options).fit(FRAME, CLASSES if make is classifier else NUMBERS)
    model.save(path)
    loaded = type(model).load(path)
    np.testing.assert_array_equal(loaded.predict(FRAME), model.predict(FRAME))
    assert loaded.get_params() == model.get_params() | {"device": "auto"}
    assert loaded.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    with pytest.raises(ModelFileError, match=r"load it with Tabular(Classifier|Regressor)\.load"):
        (TabularRegressor if make is classifier else TabularClassifier).load(path)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_several_networks_have_weights_files_and_another_encoding(make, tmp_path):
    y, weights = CLASSES if make is classifier else NUMBERS, np.where(np.arange(N) < N // 2, 1.0, 1e-9)
    model = make(n_networks=3, numbers="linear", refit=False).fit(FRAME, y, weights)
    assert model.model_.theta.shape[0] == 3
    assert not model.model_.preprocessing["columns"][0]["edges"]
    single = Model(model.model_.network, model.model_.theta[0], model.model_.preprocessing)
    first = predict_table(single, FRAME, device="cpu")
    plain = make(numbers="linear", refit=False).fit(FRAME, y, weights)
    np.testing.assert_allclose([*first.values()][-1].astype(float), outputs_of(plain), rtol=1e-4)
    model.save(tmp_path / "model.safetensors")
    loaded = type(model).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(FRAME), model.predict(FRAME))
    assert (loaded.n_networks, loaded.numbers) == (3, "linear")


def outputs_of(model):
    return model.predict_proba(FRAME)[:, -1] if hasattr(model, "predict_proba") else model.predict(FRAME)


def test_a_model_of_an_array_is_loaded_without_names(tmp_path):
    X = np.random.default_rng(0).normal(size=(N, 2))
    model = regressor(optimizer="adam").fit(X, NUMBERS)
    model.save(tmp_path / "model.safetensors")
    loaded = TabularRegressor.load(tmp_path / "model.safetensors")
    assert not hasattr(loaded, "feature_names_in_")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def ntk(network):
    return rate_scaled(adam(0.01), ntk_rate_factors(network, bias=0.1))


@pytest.mark.parametrize("n_networks", [1, 2])
def test_an_optimizer_that_is_made_for_the_network(n_networks, tmp_path):
    """Trained on all rows, another network has other inputs, and so more parameters."""
    frame = FRAME.assign(code=[f"c{row % 40}" for row in range(N)])  # too rare for an input, without rows held out
    sizes = list[int]()

    def make(network):
        sizes.append(network.sizes[0])
        return ntk(network)

    model = classifier(n_networks=n_networks, optimizer=make).fit(frame, CLASSES)
    assert [model.model_.network.sizes[0]] == sizes[1:]
    assert sizes[0] != sizes[1]
    facts = model.model_.about["optimizer"]
    assert facts["name"] == "rate-scaled adam"
    assert re.fullmatch(r"\d+ numbers from 0.1 to 0.\d+", facts["rate_factors"])
    model.save(tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match=r"cannot hold \(rate-scaled adam, .* rate_factors \d+ numbers from 0.1 to"):
        assert TabularClassifier.load(tmp_path / "model.safetensors").optimizer == "adam"
    plain = classifier(n_networks=n_networks, optimizer=adam(0.01)).fit(frame, CLASSES)
    assert not np.allclose(model.predict_proba(frame), plain.predict_proba(frame))


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_a_function_of_gpubp_in_place_of_an_optimizer_is_named(name):
    function, message = getattr(gpubp, name), rf"pass gpubp\.{name}\(\), not gpubp\.{name}$"
    with pytest.raises(ValueError, match=message):
        classifier(optimizer=function).fit(FRAME, CLASSES)
    with pytest.raises(DataError, match=message):
        gpubp.fit_table(gpubp.prepare_table("iris"), optimizer=function, device="cpu")
    with pytest.raises(DataError, match=message):
        gpubp.train(gpubp.Network((2, 1)), np.ones((3, 2)), np.ones((3, 1)), optimizer=function, device="cpu")


def test_a_users_function_with_the_names_of_one_of_gpubp_makes_an_optimizer():
    @functools.wraps(gpubp.adam)
    def make(network):
        return gpubp.adam(0.01)

    for module in (gpubp.adam.__module__, None):
        make.__module__ = module
        assert classifier(optimizer=make).fit(FRAME, CLASSES).history_.loss


def test_a_function_that_makes_no_optimizer_is_named():
    with pytest.raises(DataError, match=r"a function of a network that returns one, got 'adam'"):
        classifier(optimizer=lambda network: "adam").fit(FRAME, CLASSES)


def test_a_file_of_fit_table_is_loaded(tmp_path):
    path = tmp_path / "model.safetensors"
    result = fit_table(prepare_table(FRAME.assign(y=CLASSES), target="y"), hidden_layer_sizes=(9,), seed=5, **QUICK)
    forged = {
        **result.model.about,
        "estimator": {"parameters": {"epochs": -3, "l2": "x", "nonsense": 1, "strict": True}},
    }
    for about, strict in ((result.model.about, False), (forged, True)):
        save_model(
            path, result.model.network, result.model.theta, preprocessing=result.model.preprocessing, about=about
        )
        loaded = TabularClassifier.load(path)
        parameters = loaded.get_params()
        assert (parameters["hidden_layer_sizes"], parameters["random_state"], parameters["epochs"]) == ((9,), 5, 200)
        assert (parameters["strict"], parameters["learning_rate"]) == (strict, 0.001)
        loaded.set_params(strict=False)
        np.testing.assert_array_equal(loaded.predict(FRAME), predict_table(result.model, FRAME)["y"])
    assert loaded.feature_names_in_.tolist() == ["income", "town", "day"]


COMPOSED = {"learning_rate": 0.2, "momentum": 0.9, "shrinkage": 0.01, "max_norm": 0.5}
COSINE = gpubp.WarmUp(2, then=gpubp.Cosine(0.1, epochs=7))
STEPS = gpubp.PiecewiseConstant({0: 0.5, 1: 0.9})


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (gpubp.adamw(0.01), ("adamw", {}, 0.01)),
        (gpubp.adamw(0.01, weight_decay=0.5), ("adamw", {"learning_rate": 0.01, "weight_decay": 0.5}, None)),
        (gpubp.lbfgs(), ("lbfgs", {}, None)),
        (gpubp.lbfgs(memory=3), ("lbfgs", {"memory": 3}, None)),
        ("adam", ("adam", {}, None)),
        (gpubp.clipped(gpubp.decayed(gpubp.momentum(0.2), 0.01), 0.5), ("clipped decayed momentum", COMPOSED, None)),
        (gpubp.adam(COSINE, beta_1=0.5), ("adam", {"learning_rate": COSINE, "beta_1": 0.5}, None)),
        (gpubp.clipped(gpubp.momentum(0.1, STEPS), 1.0), ("clipped momentum", {"momentum": STEPS}, None)),
    ],
    ids=["adamw", "weight decay", "lbfgs", "memory", "name", "composed", "scheduled", "composed, scheduled"],
)
def test_an_optimizer_is_loaded_with_its_settings(optimizer, expected, tmp_path):
    model = regressor(optimizer=optimizer, epochs=2).fit(FRAME, NUMBERS)
    model.save(tmp_path / "model.safetensors")
    loaded = TabularRegressor.load(tmp_path / "model.safetensors")
    name, settings, learning_rate = expected
    assert (getattr(loaded.optimizer, "name", loaded.optimizer), loaded.learning_rate) == (name, learning_rate)
    assert getattr(loaded.optimizer, "settings", {}).items() >= settings.items()
    again = loaded.set_params(device="cpu").fit(FRAME, NUMBERS)
    np.testing.assert_array_equal(again.model_.theta, model.model_.theta)


def test_numbers_of_numpy_are_saved_as_parameters(tmp_path):
    parameters = {"batch_size": np.int64(20), "l2": np.float32(0.25), "n_networks": np.int32(2)}
    optimizer = gpubp.momentum(np.float32(0.125), np.float64(0.5))
    model = regressor(random_state=np.int64(3), optimizer=optimizer, **parameters).fit(FRAME, NUMBERS)
    model.save(tmp_path / "model.safetensors")
    loaded = TabularRegressor.load(tmp_path / "model.safetensors").get_params()
    assert {name: loaded[name] for name in parameters} == parameters
    assert (loaded["random_state"], loaded["optimizer"].settings) == (3, {"learning_rate": 0.125, "momentum": 0.5})
    result = fit_table(prepare_table("iris", seed=np.int64(1)), seed=np.int64(1), **parameters | QUICK).model
    save_model(tmp_path / "model.safetensors", result.network, result.theta, about=result.about)


def test_an_optimizer_that_a_file_cannot_hold_is_described_in_a_warning(tmp_path):
    path = tmp_path / "model.safetensors"
    regressor(optimizer=gpubp.momentum(lambda epoch: 0.1 / (1 + epoch))).fit(FRAME, NUMBERS).save(path)
    expected = r"an optimizer that a model file cannot hold \(momentum, .*<function .*fit would use 'momentum'"
    with pytest.warns(UserWarning, match=expected):
        TabularRegressor.load(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "clipped adam"},
        {"name": "clipped clipped adam", "max_norm": 1.0},
        {"name": "odd adam"},
        {"name": "adam", "learning_rate": "Cosine(start='x', epochs=1)"},
        {"name": "adam", "learning_rate": "Cosine(start=[1], epochs=1)"},
        {"name": "adam", "learning_rate": "PiecewiseConstant(values=5)"},
        {"name": "adam", "learning_rate": "__import__('os').getcwd()"},
        {"name": "adam", "learning_rate": "WarmUp(epochs=1,then=" * 400 + "1" + ")" * 400},
        {"name": "adam", "learning_rate": "(" * 9000},
        {"name": "adam", "learning_rate": "\0"},
        {"name": "adam", "odd": 1},
    ],
    ids=range(11),
)
def test_forged_optimizers_are_lost(facts):
    assert optimizer_in(facts).lost
    assert not isinstance(optimizer_in(facts).parameters.get("optimizer"), Optimizer)


@pytest.mark.parametrize("numbers", ["linear", "piecewise"])
def test_numbers_and_missing_of_fit_table_are_loaded(numbers, tmp_path):
    prepared = prepare_table(FRAME.assign(y=CLASSES), target="y", numbers=numbers, missing=["-999"])
    model = fit_table(prepared, **QUICK).model
    path = tmp_path / "model.safetensors"
    save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    loaded = TabularClassifier.load(path)
    assert (loaded.numbers, loaded.missing) == (numbers, ("-999",))


def test_onnx(tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = np.random.default_rng(0).normal(size=(N, 2))
    model = classifier().fit(X, CLASSES)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {"x0": X[:, :1], "x1": X[:, 1:]})
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_allclose(probabilities, model.predict_proba(X), rtol=1e-5)


# --- scikit-learn's tools ---


def test_searches_pipelines_and_folds():
    model = classifier(epochs=2)
    search = GridSearchCV(model, {"hidden_layer_sizes": [(3,), (5,)]}, cv=2, error_score="raise").fit(FRAME, CLASSES)
    assert search.predict_proba(FRAME).shape == (N, 2)
    assert len(cross_val_score(regressor(epochs=2), FRAME, NUMBERS, cv=2, error_score="raise")) == 2
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame.drop(columns="day")), model).fit(FRAME, CLASSES)
    assert pipeline[-1].n_features_in_ == 2
    logarithms = TransformedTargetRegressor(regressor(epochs=2), func=np.log, inverse_func=np.exp)
    assert (logarithms.fit(FRAME, NUMBERS).predict(FRAME) > 0).all()
    assert metrics.log_loss(CLASSES, model.fit(FRAME, CLASSES).predict_proba(FRAME)) > 0  # warns if a sum is not 1


def test_sample_weights_are_routed():
    weights = np.where(np.arange(N) % 4, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = regressor(epochs=2).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(FunctionTransformer(), model).fit(FRAME, NUMBERS, sample_weight=weights)
    expected = regressor(epochs=2).fit(FRAME, NUMBERS, weights)
    np.testing.assert_array_equal(pipeline[-1].model_.theta, expected.model_.theta)


def test_without_y_the_error_names_the_columns_that_may_be_it():
    for arguments in ((), (None,)):
        with pytest.raises(DataError, match=r"the target y is None; pass an array, or the name of .*: 'a', 'b'"):
            TabularClassifier().fit({"a": [1.0, 2.0] * 9, "b": [0, 1] * 9}, *arguments)


def test_an_array_of_one_class_is_called_y():
    with pytest.raises(ValueError, match=r"^y has only one class, 'a'; at least two are needed"):
        TabularClassifier(preset="fast").fit({"x": np.arange(9.0)}, ["a"] * 9)
