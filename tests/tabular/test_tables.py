"""From a table to a scored model: the split, the task, the network, the scores, and the predictions."""

import inspect
import math

import numpy as np
import pandas as pd
import pyarrow
import pytest
from sklearn import metrics

from gpubp import TabularClassifier, gradient_descent, lbfgs, load_model, momentum, predict, save_model, tabular
from gpubp.data import Preprocessing, Table, apply, encode_target, fit_preprocessing, read_table, table_from_mapping
from gpubp.data.metrics import RunningScores, r_squared, score
from gpubp.data.preprocessing import ClassTarget, NumberColumn, NumberTarget
from gpubp.errors import DataError, DivergenceWarning, ModelFileError, TableWarning
from gpubp.io.model_file import Model
from gpubp.nn.network import Network
from gpubp.tabular import estimator_base, network_for, network_outputs, predict_table, prepare_table
from gpubp.tabular.checks import suspicions
from gpubp.training.fit import train

CPU = {"device": "cpu"}
OF_PREPARATION = set(inspect.signature(prepare_table).parameters)
OF_BOTH = ("seed", "dtype")


def fit_table(table, **options):
    """Prepare and fit in one call, each with its own options and those of both. The scored network is the result."""
    preparation = {name: value for name, value in options.items() if name in OF_PREPARATION}
    fitting = {name: value for name, value in options.items() if name not in OF_PREPARATION or name in OF_BOTH}
    return tabular.fit_table(prepare_table(table, **preparation), **{"refit": False} | fitting)


def shop(n=120, seed=0):
    """Return columns of each kind, and classes that depend on two of them."""
    random = np.random.default_rng(seed)
    age, income = random.integers(18, 80, n), random.normal(30.0, 10.0, n)
    town, member = random.choice(["Bonn", "Ulm", "Rom"], n), random.choice([True, False], n)
    buys = np.where(income + 20.0 * (town == "Bonn") > 35.0, "yes", "no")
    return {"age": age, "income": income, "town": town, "member": member, "buys": buys}


def line(n=60, scale=1000.0, seed=0):
    """Return numbers that depend on one column."""
    x = np.random.default_rng(seed).normal(size=n)
    return {"x": x, "y": scale * (2.0 * x + 5.0)}


# --- the parts ---


def test_the_parts_are_every_row_once():
    prepared = prepare_table("iris")
    rows = np.concatenate(list(prepared.parts.values()))
    assert sorted(rows) == list(range(150))
    assert {part: len(rows) for part, rows in prepared.parts.items()} == {"train": 105, "validation": 15, "test": 30}


def test_the_parts_follow_from_the_seed():
    first, again, other = (prepare_table("iris", seed=seed).parts["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_each_part_has_its_share_of_each_class():
    prepared = prepare_table("iris")
    for rows in prepared.parts.values():
        np.testing.assert_array_equal(prepared.targets[rows].sum(axis=0), len(rows) / 3)


def test_a_class_with_one_row_is_accepted():
    table = {"x": np.arange(40.0), "y": ["a"] * 20 + ["b"] * 19 + ["rare"]}
    result = fit_table(table, epochs=2, **CPU)
    assert result.fit.network.sizes[-1] == 3
    assert set(result.scores) == {"train", "validation", "test"}


def test_scales_come_only_from_the_training_rows():
    table = table_from_mapping(line())
    prepared = prepare_table(table, numbers="linear")
    training = table.columns["x"][prepared.parts["train"]]
    column = prepared.preprocessing.columns[0]
    assert column.mean == pytest.approx(training.mean(), rel=1e-12)
    assert column.mean != pytest.approx(table.columns["x"].mean(), rel=1e-6)
    assert prepared.preprocessing == fit_preprocessing(table, rows=prepared.parts["train"])
    np.testing.assert_array_equal(prepared.X, apply(prepared.preprocessing, table))
    np.testing.assert_array_equal(prepared.targets, encode_target(prepared.preprocessing, table))


def test_the_test_rows_do_not_affect_the_training():
    """Changing rows of the test part must not change what is learned."""
    table = line()
    test = prepare_table(table).parts["test"]
    spoilt = {name: values.copy() for name, values in table.items()}
    spoilt["x"][test] *= 50.0
    spoilt["y"][test] *= -3.0
    first, second = (fit_table(data, epochs=5, **CPU) for data in (table, spoilt))
    np.testing.assert_array_equal(first.model.theta, second.model.theta)
    assert first.scores["validation"] == second.scores["validation"]
    assert first.scores["test"] != second.scores["test"]


def test_parts_too_small_to_score_are_left_empty():
    assert fit_table("xor", epochs=2, **CPU).rows == {"train": 4, "validation": 0, "test": 0}
    result = fit_table("iris", test_fraction=0, validation_fraction=0, epochs=2, **CPU)
    assert result.rows == {"train": 150, "validation": 0, "test": 0}
    assert list(result.scores) == ["train"]
    assert not result.fit.history.validation_loss


@pytest.mark.parametrize(
    ("test_fraction", "validation_fraction"), [(1.0, 0.1), (-0.1, 0.1), (0.6, 0.4), (0.1, 1.5), (math.nan, 0.1)]
)
def test_fractions_that_leave_nothing_are_refused(test_fraction, validation_fraction):
    with pytest.raises(DataError, match="must be fractions"):
        prepare_table("iris", test_fraction=test_fraction, validation_fraction=validation_fraction)


@pytest.mark.parametrize(("test_fraction", "validation_fraction"), [(0.999, 0.0), (0.0, 0.999), (0.5, 0.498)])
def test_fractions_that_round_to_all_rows_are_refused(test_fraction, validation_fraction):
    message = f"150 rows .* test_fraction={test_fraction} and validation_fraction={validation_fraction} leave 0 for"
    with pytest.raises(DataError, match=message):
        prepare_table("iris", test_fraction=test_fraction, validation_fraction=validation_fraction)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0"])
def test_an_invalid_seed_is_refused(seed):
    with pytest.raises(DataError, match="seed"):
        prepare_table("iris", seed=seed)


def test_one_row_is_too_few():
    with pytest.raises(DataError, match="2 are needed"):
        fit_table({"x": [1.0], "y": [2.5]}, task="regression")


# --- the task and the network ---


def test_classes_make_softmax_outputs_for_every_loss():
    prepared = prepare_table(shop(), numbers="linear")
    assert prepared.task == "classification"
    network = network_for(prepared, hidden_layer_sizes=(5, 4), activation="tanh")
    assert network == Network((7, 5, 4, 2), activation="tanh", loss="cross_entropy")
    assert network_for(prepared, loss="squared").output_activation == "softmax"
    assert network_for(prepared, hidden_layer_sizes=()).sizes == (7, 2)


def test_numbers_make_one_output_each():
    prepared = prepare_table("linnerud")
    assert prepared.task == "regression"
    assert network_for(prepared) == Network((3, 100, 3), activation="relu", loss="squared")


def test_the_target_the_task_and_the_columns_can_be_chosen():
    prepared = prepare_table(shop(), target="town", drop=["buys"], categorical=["age"])
    assert prepared.preprocessing.target.classes == ("Bonn", "Rom", "Ulm")
    assert [column.name for column in prepared.preprocessing.columns] == ["age", "income", "member"]
    assert not isinstance(prepared.preprocessing.columns[0], NumberColumn)
    assert prepare_table("iris", task="classification").task == "classification"
    assert prepare_table("xor", task="regression").task == "regression"


def test_the_options_reach_the_training():
    """fit_table equals train() on the prepared matrices with the same options."""
    prepared = prepare_table(line(), seed=3)
    options = {
        "optimizer": momentum(0.01, 0.5),
        "epochs": 7,
        "batch_size": 11,
        "l2": 0.5,
        "seed": 3,
        "dtype": "float64",
    }
    result = fit_table(
        line(), hidden_layer_sizes=(4,), activation="logistic", loss="huber", patience=None, **options, **CPU
    )
    network = Network((prepared.n_inputs, 4, 1), activation="logistic", loss="huber")
    rows = prepared.parts["train"]
    expected = train(network, prepared.X[rows], prepared.targets[rows], **options, **CPU)
    np.testing.assert_array_equal(result.model.theta, expected.theta)
    assert result.model.theta.dtype == np.float64
    assert result.model.about["training"]["epochs"] == 7
    assert result.model.about["optimizer"] == {"name": "momentum", "learning_rate": 0.01, "momentum": 0.5}


@pytest.mark.parametrize(("n", "expected"), [(40, 32), (2000, 40), (20_000, 200)])
def test_an_automatic_batch_grows_with_the_rows(n, expected):
    result = fit_table(line(n), test_fraction=0, validation_fraction=0, hidden_layer_sizes=(), epochs=1, **CPU)
    assert result.model.about["training"]["batch_size"] == expected


def test_a_method_of_second_order_takes_full_batches():
    result = fit_table(line(), numbers="linear", optimizer=lbfgs(), hidden_layer_sizes=(), l2=0.0, **CPU)
    assert result.model.about["training"]["batch_size"] == "auto"
    assert result.scores["test"]["r2"] > 0.999


def test_training_stops_when_validation_does_not_improve():
    result = fit_table("wine", patience=3, tolerance=0.05, **CPU)
    assert result.fit.stop_reason == "patience"
    validation = result.fit.history.validation_loss
    assert result.fit.best_epoch == 1 + int(np.argmin(validation))
    assert len(validation) < 200


@pytest.mark.parametrize(("name", "metric"), [("wine", "accuracy"), ("diabetes", "r2")])
def test_a_score_is_reported_while_patience_monitors_the_loss(name, metric):
    """The score is that of the validation rows at the last epoch, and does not change the training."""
    reported = []
    prepared = prepare_table(name)
    options = {"epochs": 12, "l2": 0.1, **CPU}
    result = tabular.fit_table(
        prepared,
        has_linear_part=False,
        callbacks=[lambda progress: reported.append(progress.validation_score)],
        **options,
    )
    history = result.fit.history
    assert reported == history.validation_score
    assert len(reported) == len(history.validation_loss) == len(history.loss)

    rows, held_out = prepared.parts["train"], prepared.parts["validation"]
    data = prepared.X[rows], prepared.targets[rows]
    validation = prepared.X[held_out], prepared.targets[held_out]
    plain = train(
        network_for(prepared), *data, batch_size=32, validation_data=validation, patience=10, dtype="float32", **options
    )
    np.testing.assert_array_equal(result.fit.theta, plain.theta)
    assert history.validation_loss == plain.history.validation_loss
    last = tabular.fit_table(prepared, patience=None, has_linear_part=False, **options)
    assert last.fit.history.validation_score[-1] == pytest.approx(last.scores["validation"][metric], rel=1e-5)


def test_without_validation_rows_there_is_no_score():
    result = fit_table("iris", validation_fraction=0, epochs=2, callbacks=[lambda progress: progress.epoch == 1], **CPU)
    assert result.fit.history.validation_score == []
    assert result.fit.stop_reason == "callback"


def test_callbacks_are_called():
    epochs = []
    fit_table("iris", epochs=3, callbacks=[lambda progress: epochs.append(progress.epoch)], **CPU)
    assert epochs == [1, 2, 3]


# --- scores ---


def test_scores_of_classes_are_scikit_learns():
    target = ClassTarget("y", ("a", "b", "c"))
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 30)  # class c is only predicted
    y = random.dirichlet(np.ones(3), 30).astype(np.float32)
    got = score(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target), np.eye(3)[labels], y)
    predicted = y.argmax(axis=1)
    hits = predicted == labels
    assert 2 in predicted
    assert got["accuracy"] == pytest.approx(hits.mean())
    assert got["balanced_accuracy"] == pytest.approx((hits[labels == 0].mean() + hits[labels == 1].mean()) / 2)
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro", zero_division=0))
    assert got["log_loss"] == pytest.approx(-np.log(y[np.arange(30), labels]).mean(), rel=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_all_scores_of_classes_are_scikit_learns(n_classes):
    random = np.random.default_rng(n_classes)
    labels = random.permutation(np.arange(60) % n_classes)
    y = random.dirichlet(np.ones(n_classes), 60)
    y[:5] = np.eye(n_classes)[0]  # probabilities of 0, and ties
    target = ClassTarget("y", tuple("abcde"[:n_classes]))
    got = score(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target), np.eye(n_classes)[labels], y)
    predicted = y.argmax(axis=1)
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert got["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert got["log_loss"] == pytest.approx(metrics.log_loss(labels, y))
    ranked = {"y_score": y[:, 1]} if n_classes == 2 else {"y_score": y, "multi_class": "ovr"}
    assert got["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, **ranked))


@pytest.mark.parametrize("constant", [None, 0.0, 1.0])
def test_r_squared_is_scikit_learns(constant):
    random = np.random.default_rng(0)
    true = random.normal(size=(40, 2)) + 1e3
    predicted = true + random.normal(size=(40, 2))
    if constant is not None:
        true[:, 1], predicted[:, 1] = 7.0, 7.0 + constant * random.normal(size=40)
    assert r_squared(true, predicted) == pytest.approx(metrics.r2_score(true, predicted))


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1e307])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 1.5, 40)], ids=["", "weights"])
def test_r_squared_of_numbers_whose_squares_vanish_or_overflow(scale, weights):
    random = np.random.default_rng(0)
    true = random.integers(1, 9, (40, 2)).astype("float64")
    predicted = true + random.integers(-1, 2, (40, 2))
    expected = r_squared(true, predicted, weights)
    assert r_squared(true * [1.0, scale], predicted * [1.0, scale], weights) == pytest.approx(expected, rel=1e-3)


def test_r_squared_of_numbers_far_from_0():
    true = np.array([[1e9], [1e9 + 1.0], [1e9 + 2.0]])
    assert r_squared(true, true + np.array([[0.5], [0.0], [0.0]])) == 1.0 - 0.25 / 2.0


@pytest.mark.parametrize(("predicted", "expected"), [(0.1, 1.0), (1.1, 0.0)])
def test_samples_of_weight_0_leave_a_constant_constant(predicted, expected):
    true, weights = np.full((9, 1), 0.1), np.linspace(0.1, 0.3, 9)
    true[0], weights[0] = 3.7, 0.0
    assert r_squared(true, np.full((9, 1), predicted), weights) == expected


@pytest.mark.parametrize(("predicted", "expected"), [(0.1, 1.0), (1.1, 0.0)])
def test_a_constant_whose_mean_is_rounded_is_constant(predicted, expected):
    true, outputs = np.full((3, 1), 0.1), np.full((3, 1), predicted)
    assert true.mean() != 0.1
    assert r_squared(true, outputs) == expected
    target = NumberTarget(("y",), (0.0,), (1.0,), (-9.0,), (9.0,))
    running = RunningScores(Preprocessing((), target))
    running.add(true, outputs)
    assert running.scores()["r2"] == expected


def test_scores_of_numbers_are_in_their_units():
    target = NumberTarget(("u", "v"), (10.0, -5.0), (2.0, 100.0), (0.0, -100.0), (99.0, 900.0))
    targets, y = np.asarray([[0.0, 0.0], [1.0, 1.0], [2.0, 5.0]]), np.asarray([[0.5, 0.0], [1.0, 1.0], [2.0, 2.0]])
    got = score(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target), targets, y)
    assert got["mae u"] == pytest.approx(1.0 / 3)
    assert got["rmse v"] == pytest.approx(300.0 / math.sqrt(3))
    assert got["r2"] == pytest.approx(np.mean([1 - 0.25 / 2.0, 1 - 9.0 / 14.0]))
    assert set(got) == {"r2", "mae u", "rmse u", "mae v", "rmse v"}


def test_the_scores_are_those_of_the_model_on_its_rows():
    result = fit_table(shop(), epochs=30, **CPU)
    prepared = prepare_table(shop())
    table = prepared.table.select(prepared.parts["test"])
    predictions = predict_table(result.model, table, **CPU)
    assert result.scores["test"]["accuracy"] == np.mean(predictions["buys"] == table.columns["buys"])
    assert result.model.about["scores"] == result.scores


# --- results ---


def test_digits_are_classified_well():
    result = fit_table("digits", **CPU)
    assert result.scores["test"]["accuracy"] >= 0.97
    assert result.rows["test"] == 359


def test_columns_of_every_kind_are_learned():
    assert fit_table(shop(), **CPU).scores["test"]["accuracy"] > 0.9


def test_numbers_are_predicted_in_the_units_of_the_target():
    result = fit_table(line(), numbers="linear", optimizer=lbfgs(), hidden_layer_sizes=(), l2=0.0, **CPU)
    assert predict_table(result.model, {"x": [1.0, -1.0]}, **CPU)["y"] == pytest.approx([7000.0, 3000.0], rel=1e-3)
    assert result.scores["test"]["rmse"] < 10.0


def test_missing_features_are_filled():
    table = shop()
    table["income"][3] = np.nan
    table["town"] = np.where(np.arange(120) % 9 == 0, None, table["town"])
    prepared = prepare_table(table)
    rows = np.array(prepared.parts["train"])
    assert prepared.preprocessing.columns[1].indicator == (3 in rows)
    assert prepared.preprocessing.columns[2].missing
    model = fit_table(table, epochs=2, **CPU).model
    assert len(predict_table(model, table, **CPU)["buys"]) == 120
    with pytest.raises(DataError, match="column 'income': 1 missing value; column 'town': 14 missing values"):
        fit_table(table, strict=True, **CPU)


def test_rows_without_a_target_are_left_out():
    table = shop()
    table["buys"] = np.where(np.arange(120) % 10 == 3, None, table["buys"])
    prepared = prepare_table(table)
    assert sum(prepared.rows.values()) == len(prepared.X) == len(prepared.targets) == 108
    assert prepared.preprocessing.summaries[-1].n_missing == 12
    assert np.isfinite(prepared.X).all()
    assert sum(fit_table(table, epochs=2, **CPU).rows.values()) == 108
    with pytest.raises(DataError, match="12 rows without the target 'buys'"):
        prepare_table(table, strict=True)
    with pytest.raises(DataError, match="has no values"):
        prepare_table(table | {"buys": [None] * 120})


def test_a_model_predicts_what_training_did_not_see():
    model = fit_table(shop(), epochs=5, **CPU).model
    new = {
        "age": ["old", None, 7],
        "income": [1e300, "5 EUR", "30"],
        "town": ["Paris", None, 3],
        "member": [2, "yes", "?"],
    }
    with pytest.warns(TableWarning) as caught:
        predictions = predict_table(model, new, **CPU)
    (message,) = [str(one.message) for one in caught]
    assert "column 'town': 2 of 3 values are not among the categories of training (first in row 1: 'Paris')" in message
    assert "column 'income': 1 of 3 values is not of the column's type, and taken as missing" in message
    assert "column 'age': 1 of 3 values is missing, as none was in training (first in row 2)" in message
    assert message.endswith("... (7 in all)")
    assert set(predictions["buys"]) <= {"no", "yes"}
    assert np.isfinite(predictions["buys=yes"]).all()
    for strict in ({"town": ["Paris"]}, {"age": [None]}, {"income": ["5 EUR"]}):
        row = {name: [values[0]] for name, values in shop().items()} | strict
        with pytest.raises(DataError, match=f"in column '{next(iter(strict))}', first row 1"):
            predict_table(model, row, strict=True, **CPU)


@pytest.mark.parametrize("target", ["buys", "income"])
def test_a_table_prepared_in_float32_trains_the_same_network(target):
    options = {"target": target, "seed": 3}
    wide, narrow = (prepare_table(shop(), dtype=dtype, **options) for dtype in ("float64", "float32"))
    assert (narrow.X.dtype, narrow.on_all_rows().X.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(narrow.X, wide.X.astype(np.float32))
    of_wide, of_narrow = (tabular.fit_table(prepared, epochs=5, **CPU) for prepared in (wide, narrow))
    np.testing.assert_array_equal(of_narrow.model.theta, of_wide.model.theta)
    assert (of_narrow.scores, of_narrow.model.about) == (of_wide.scores, of_wide.model.about)
    assert suspicions(narrow) == suspicions(wide)
    with pytest.raises(DataError, match="pass dtype='float64' to prepare_table as well"):
        tabular.fit_table(narrow, dtype="float64", **CPU)
    with pytest.raises(DataError, match="dtype must be 'float64' or 'float32', got 'float16'"):
        prepare_table(shop(), dtype="float16")


def test_the_estimators_encode_in_the_precision_of_the_training(monkeypatch):
    dtypes = []

    def prepare(*arguments, **options):
        dtypes.append(prepare_table(*arguments, **options).X.dtype.name)
        raise DataError("stop")

    monkeypatch.setattr(estimator_base, "prepare_table", prepare)
    for dtype in ("float32", "float64"):
        with pytest.raises(DataError, match="stop"):
            TabularClassifier(dtype=dtype, device="cpu").fit("iris", "target")
    assert dtypes == ["float32", "float64"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "town", "drop": None}, "drop must be a sequence of names of columns, got None"),
        ({"group": "town", "drop": 5}, "drop must be a sequence of names of columns, got 5"),
        ({"group": ["town"]}, r"group must be the name of a column, got \['town'\]"),
        ({"types": {"size": "number"}, "drop": ["size"]}, "'size' is requested as number and as drop .*; choose one"),
        ({"types": {"size": "number"}, "categorical": ["size"]}, "'size' is requested as number and as category "),
        ({"categorical": ["size"], "drop": ["size"]}, "'size' is requested as category and as drop "),
        ({"task": np.array(["g", "x"])}, r"task must be 'auto', .*, got array\("),
        ({"numbers": np.array(["g", "x"])}, r"numbers must be 'piecewise', .*, got array\("),
        ({"drop": np.array(["g"])}, "has no column 'g'"),
        ({"time": 5}, "time must be the name of a column, got 5"),
        ({"time": np.array(["g", "x"])}, r"time must be the name of a column, got array\("),
        ({"group": np.array(["g", "x"])}, r"group must be the name of a column, got array\("),
        (
            {"test_fraction": "0.2"},
            "must be fractions of the rows, at least 0 and together less than 1, got '0.2' and 0.1",
        ),
        ({"validation_fraction": None}, "must be fractions of the rows, .*, got 0.2 and None"),
    ],
)
def test_options_of_wrong_types_are_named(options, message):
    with pytest.raises(DataError, match=message):
        prepare_table(shop(), **options)


def test_one_hidden_layer_may_be_a_number_and_an_interval_is_one():
    result = fit_table("iris", hidden_layer_sizes=7, epochs=1, **CPU)
    assert result.model.network.sizes[1:-1] == (7,)
    with pytest.raises(DataError, match=r"share of the targets between 0 and 1, such as 0\.9, got '0\.9'"):
        predict_table(result.model, "iris", interval="0.9", **CPU)


def test_counts_are_not_centred_for_the_poisson_loss():
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    table = {"x": x, "y": random.poisson(np.exp(1.0 + x)) * 10.0}
    result = fit_table(table, numbers="linear", loss="poisson", task="regression", l2=0.0, **CPU)
    predictions = predict_table(result.model, table, **CPU)["y"]
    assert predictions.min() > 0
    assert predictions.mean() == pytest.approx(table["y"].mean(), rel=0.1)
    with pytest.raises(DataError, match="'y'"):
        fit_table({"x": x, "y": table["y"] - 5.0}, loss="poisson", task="regression", **CPU)


def test_probabilities_are_not_scaled_for_the_binary_cross_entropy():
    x = np.random.default_rng(0).normal(size=300)
    table = {"x": x, "y": 1.0 / (1.0 + np.exp(-3.0 * x))}
    result = fit_table(table, loss="binary_cross_entropy", **CPU)
    assert result.scores["test"]["rmse"] < 0.05
    assert 0 < predict_table(result.model, table, **CPU)["y"].max() < 1
    with pytest.raises(DataError, match="from 0 to 1"):
        fit_table({"x": x, "y": table["y"] * 2.0}, loss="binary_cross_entropy", **CPU)


def test_a_divergence_is_reported_and_the_scores_are_finite():
    with pytest.warns(DivergenceWarning):
        result = fit_table(shop(), optimizer=gradient_descent(1e30), **CPU)
    assert result.fit.stop_reason == "diverged"
    assert all(math.isfinite(value) for scores in result.scores.values() for value in scores.values())


def test_outputs_that_overflow_are_not_scored():
    """One step before divergence: the weights are still finite, but the outputs are not."""
    options = {"batch_size": "full", "has_linear_part": False}
    with pytest.warns(DivergenceWarning):
        result = fit_table(line(), optimizer=gradient_descent(1e30), **options, **CPU)
    assert np.isfinite(result.model.theta).all()
    assert not np.isfinite(network_outputs(result.model, line(), **CPU)).all()
    assert result.scores == {}


# --- predictions ---


def test_predictions_are_the_same_after_the_file(tmp_path):
    result = fit_table(shop(), epochs=5, **CPU)
    model = result.model
    save_model(tmp_path / "m", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    loaded = load_model(tmp_path / "m")
    assert loaded.about == model.about
    first, second = (predict_table(m, shop(seed=1), **CPU) for m in (model, loaded))
    assert list(first) == ["buys", "buys=no", "buys=yes"]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_predictions_are_the_networks():
    model = fit_table(shop(), epochs=5, **CPU).model
    table = table_from_mapping(shop(seed=1))
    prepared = prepare_table(shop())
    y = predict(model.network, model.theta, apply(prepared.preprocessing, table), **CPU)
    predictions = predict_table(model, table, **CPU)
    np.testing.assert_array_equal(predictions["buys"], np.asarray(["no", "yes"])[y.argmax(axis=1)])
    np.testing.assert_allclose(predictions["buys=yes"], y[:, 1], rtol=1e-6)
    np.testing.assert_allclose(predictions["buys=no"] + predictions["buys=yes"], 1.0, rtol=1e-6)


@pytest.mark.parametrize("device", ["array_api_strict:device1", "array_api_strict:no_float64"])
def test_another_device_gives_the_same(device):
    here = fit_table("iris", epochs=5, **CPU)
    there = fit_table("iris", epochs=5, device=device)
    assert there.fit.device == device
    assert isinstance(there.model.theta, np.ndarray)
    np.testing.assert_allclose(there.model.theta, here.model.theta, rtol=1e-4, atol=1e-5)
    first, second = predict_table(here.model, "iris", **CPU), predict_table(here.model, "iris", device=device)
    np.testing.assert_allclose(first["target=setosa"], second["target=setosa"], rtol=1e-5, atol=1e-6)


def test_tables_come_as_paths_frames_and_dicts(tmp_path):
    frame = pd.DataFrame(shop())
    frame.to_csv(tmp_path / "shop.csv", index=False)
    arrow = pyarrow.Table.from_pandas(frame)
    tables = [
        shop(),
        frame,
        arrow,
        arrow.to_batches()[0],
        tmp_path / "shop.csv",
        str(tmp_path / "shop.csv"),
        read_table(tmp_path / "shop.csv"),
    ]
    fits = [fit_table(table, epochs=2, **CPU) for table in tables]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.model.theta, fits[0].model.theta)
    assert fits[4].model.about["source"] == "shop.csv"  # never the folder


@pytest.mark.parametrize("table", [3, None, [[1.0, 2.0]], np.zeros((2, 2))])
def test_objects_that_are_not_tables_are_refused(table):
    with pytest.raises(DataError, match=r"a table must be .* got"):
        predict_table(fit_table("iris", epochs=1, **CPU).model, table)


def test_integer_labels_come_back_as_integers():
    table = {"x": np.arange(40.0), "y": np.arange(40) // 20 + 7}
    predicted = predict_table(fit_table(table, epochs=2, **CPU).model, {"x": [0.0, 39.0]}, **CPU)["y"]
    assert predicted.dtype.kind == "i"
    assert set(predicted.tolist()) <= {7, 8}


def test_a_model_that_takes_no_table_is_refused():
    network = Network((1, 2))
    with pytest.raises(ModelFileError, match="no preprocessing"):
        predict_table(Model(network, np.zeros(4)), {"x": [1.0]})
    other = fit_table(shop(), epochs=1, **CPU).model.preprocessing
    with pytest.raises(ModelFileError, match="7 inputs"):
        predict_table(Model(network, np.zeros(4), other), shop())
    with pytest.raises(ModelFileError, match="malformed"):
        predict_table(Model(network, np.zeros(4), {"columns": 3}), shop())


def test_a_fit_is_not_a_model():
    fit = fit_table("iris", epochs=1, **CPU)
    with pytest.raises(DataError, match="or load_model, got TableFit"):
        predict_table(fit, "iris", **CPU)


def test_a_prepared_table_is_not_changed():
    prepared = prepare_table("iris")
    assert isinstance(prepared.table, Table)
    assert network_outputs(tabular.fit_table(prepared, epochs=1, **CPU).model, "iris", **CPU).shape == (150, 3)


def test_targets_that_have_the_names_of_an_interval_keep_their_predictions():
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=80) for name in ("x", "y", "y low", "y low_2")}
    model = fit_table(columns, target=["y", "y low", "y low_2"], epochs=1, **CPU).model
    plain, with_ends = predict_table(model, columns, **CPU), predict_table(model, columns, interval=0.5, **CPU)
    ends = ["y low_3", "y high", "y low low", "y low high", "y low_2 low", "y low_2 high"]
    assert list(with_ends) == [*plain, *ends]
    for name, values in plain.items():
        np.testing.assert_array_equal(with_ends[name], values)
    assert (with_ends["y low_3"] < with_ends["y"]).all()
