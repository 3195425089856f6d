"""Columns to matrices and back: statistics, tasks, values that do not fit, round trips."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpubp.data import read_table, table_from_arrays, table_from_mapping
from gpubp.data._quantities import PLAIN
from gpubp.data.preprocessing import (
    CategoryColumn,
    ClassTarget,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    WordsColumn,
    apply,
    decode_predictions,
    decode_probabilities,
    decode_target,
    encode,
    encode_target,
    fit_preprocessing,
    from_json,
    has_target,
    to_json,
)
from gpubp.errors import DataError

NAN, INF = float("nan"), float("inf")


def animals():
    return table_from_mapping(
        {
            "weight": [4.0, 30.0, 5.0, 31.0],
            "colour": ["black", "brown", "white", "black"],
            "tame": [True, True, False, True],
            "species": ["cat", "dog", "cat", "dog"],
        }
    )


def table(**columns):
    return table_from_mapping(columns)


# --- fitting ---


def test_numbers_are_standardised_and_categories_one_hot():
    prepared = fit_preprocessing(animals())
    assert prepared.feature_names == (
        "weight",
        "colour=black",
        "colour=brown",
        "colour=white",
        "tame=False",
        "tame=True",
    )
    x = apply(prepared, animals())
    assert x.dtype == np.float64
    weight = np.array([4.0, 30.0, 5.0, 31.0])
    np.testing.assert_allclose(x[:, 0], (weight - weight.mean()) / weight.std(), rtol=1e-14)
    np.testing.assert_array_equal(x[:, 1:], [[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1]])
    assert prepared.target == ClassTarget("species", ("cat", "dog"), "str")
    np.testing.assert_array_equal(encode_target(prepared, animals()), [[1, 0], [0, 1], [1, 0], [0, 1]])


def test_columns_are_matched_by_name_and_the_target_may_be_absent():
    prepared = fit_preprocessing(animals())
    shuffled = table_from_mapping({k: animals().columns[k] for k in ("tame", "colour", "weight")})
    np.testing.assert_array_equal(apply(prepared, shuffled), apply(prepared, animals()))
    assert apply(prepared, animals().select([])).shape == (0, 6)


@pytest.mark.parametrize("constant", [0.1, 7, -3.3e300, 5e-324])
def test_a_column_that_is_constant_in_the_training_rows_is_dropped(constant):
    data = table(a=[constant] * 3 + [1.0], b=[1.0, 2.0, 4.0, 5.0], y=[0.5, 0.25, 0.125, 0.3])
    prepared = fit_preprocessing(data, rows=[0, 1, 2])
    assert prepared.feature_names == ("b",)
    assert prepared.summaries[0].reason.startswith("constant in the training rows")
    assert fit_preprocessing(data.select([0, 1, 2])).summaries[0].reason.startswith("constant, ")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, 1e-200, 2e-200], "holds numbers too small to standardise"),
        ([1e308, -1e308, 1e308], r"holds numbers too large to standardise (up to 1e+308)"),
    ],
)
def test_a_column_that_cannot_be_scaled_is_dropped_and_a_target_refused(values, reason):
    """Scaled as if it were constant, numbers whose squares underflow would be zeros in effect."""
    data = table(a=values, b=[1.0, 2.0, 4.0], y=[0.5, 0.25, 0.3])
    prepared = fit_preprocessing(data)
    assert prepared.feature_names == ("b",)
    assert reason in prepared.summaries[0].reason
    with pytest.raises(DataError) as caught:
        fit_preprocessing(table(b=[1.0, 2.0, 4.0], y=values))
    assert f"column 'y' {reason}" in str(caught.value)


def test_small_numbers_are_standardised():
    prepared = fit_preprocessing(table(a=[0.0, 1e-140], y=[0.5, 0.25]))
    assert prepared.columns[0].scale == pytest.approx(5e-141, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("name", ["target", "Label", "CLASS", "y"])
def test_the_target_is_found_by_its_name(name):
    assert fit_preprocessing(table(**{name: ["u", "v"], "a": [1, 2]})).target_names == (name,)


def test_the_target_is_otherwise_the_last_marked_or_named_columns():
    data = table(a=[1.0, 2.0], b=[0.5, 1.5], c=[0.25, 2.5])
    assert fit_preprocessing(data).target_names == ("c",)
    assert fit_preprocessing(data, "a").target_names == ("a",)
    assert fit_preprocessing(data, ["c", "a"]).target_names == ("c", "a")
    assert fit_preprocessing(read_table("linnerud")).target_names == ("Weight", "Waist", "Pulse")
    marked = table_from_arrays([[1.0], [2.0]], [0.5, 0.75], names=["y"])
    assert fit_preprocessing(marked).target_names == ("target",)


@pytest.mark.parametrize(
    ("values", "is_classification"),
    [
        (["a", "b"], True),
        ([True, False], True),
        ([0, 1, 0, 1], True),
        ([0.0, 1.0, 0.0, 1.0], True),
        ([0, 1, 2, 1], False),  # three values in four rows: not twice on average
        (list(range(20)) * 2, True),
        (list(range(21)) * 2, False),
        ([0.5, 1.0] * 10, False),
    ],
)
def test_the_task_is_inferred_as_documented(values, is_classification):
    data = table(x=np.arange(len(values)) / 2, y=values)
    assert isinstance(fit_preprocessing(data).target, ClassTarget if is_classification else NumberTarget)


def test_the_task_can_be_requested():
    data = table(x=[1.0, 2.0, 3.0, 4.0], y=[0, 1, 1, 0])
    assert fit_preprocessing(data, task="regression").target == NumberTarget(
        ("y",), (0.5,), (0.5,), (0.0,), (1.05,), (PLAIN,)
    )
    halves = table(x=[1.0, 2.0, 3.0], y=[0.5, 1.0, 0.5])
    assert fit_preprocessing(halves, task="classification").target == ClassTarget("y", ("0.5", "1"), "float")
    ratings = table(x=[1.0, 2.0, 3.0, 4.0], y=["1", "2", "3", "3+"])
    assert fit_preprocessing(ratings, task="classification").target.label_type == "str"


@pytest.mark.parametrize(
    ("targets", "low", "high"),
    [
        ([1.0, 41.0], 0.0, 43.0),
        ([10.0, 50.0], 8.0, 52.0),
        ([-40.0, 0.0], -42.0, 0.0),
        ([-10.0, 10.0], -11.0, 11.0),
        ([7.0, 7.0], 7.0, 7.0),
    ],
)
def test_predictions_may_lie_a_little_beyond_the_targets_of_training(targets, low, high):
    prepared = fit_preprocessing(table(x=[1.0, 2.0, 3.0], y=[*targets, 1e6]), rows=[0, 1], task="regression")
    assert (prepared.target.lows, prepared.target.highs) == ((low,), (high,))
    assert decode_predictions(prepared, [[-1e9], [1e9]])["y"].tolist() == [low, high]
    assert decode_target(prepared, [[0.0]]) == decode_predictions(prepared, [[0.0]])


def test_named_columns_are_categories_and_dropped_ones_may_be_absent():
    data = table(zone=[10, 2, 10, 3], id=["p", "q", "r", "s"], size=[1.0, 2.0, 3.0, 4.0], y=["a", "b", "a", "b"])
    prepared = fit_preprocessing(data, categorical=["zone"], drop=["id", "id"])
    assert prepared.feature_names == ("zone=10", "zone=2", "zone=3", "size")
    as_float = table(zone=[2.0, 10.0], size=[2.5, 2.5])
    np.testing.assert_array_equal(apply(prepared, as_float), [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(apply(prepared, data)[:, :3], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_missing_values_are_filled_beside_an_indicator():
    data = table(a=[1.0, NAN, 3.0, 10.0], b=["u", "v", None, "v"], c=[1, 2, 5, 4], y=["p", "q", "p", "q"])
    prepared = fit_preprocessing(data)
    assert prepared.feature_names == ("a", "a=missing", "b=u", "b=v", "b=missing", "c")
    present = np.array([1.0, 3.0, 10.0])
    numbers = prepared.columns[0]
    assert (numbers.fill, numbers.mean, numbers.scale) == (3.0, present.mean(), present.std())
    assert (numbers.low, numbers.high) == (1.0, 10.0)
    x = apply(prepared, data)
    filled = (3.0 - present.mean()) / present.std()
    np.testing.assert_array_equal(x[:, 0], (np.array([1.0, 3.0, 3.0, 10.0]) - numbers.mean) / numbers.scale)
    np.testing.assert_array_equal(x[:, 1], [0, 1, 0, 0])
    np.testing.assert_array_equal(x[:, 2:5], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    X, issues = encode(prepared, table(a=[None], b=[None], c=[None]))
    np.testing.assert_array_equal(X, [[filled, 1, 0, 0, 1, 0]])
    assert [tuple(issue) for issue in issues] == [("c", "missing", 1, "row 1")]


def test_statistics_and_categories_come_from_the_training_rows_and_classes_from_all():
    data = table(a=[1.0, 3.0, 1000.0, NAN], b=["u", "w", "v", "v"], c=["k", "k", "k", "m"], y=[10.0, 30.0, 0.5, 1e6])
    prepared = fit_preprocessing(data, rows=[0, 1])
    assert prepared.columns == (
        NumberColumn("a", 2.0, 1.0, 2.0, low=1.0, high=3.0, bound=1.5),
        CategoryColumn("b", ("u", "w")),
    )
    assert prepared.target == NumberTarget(("y",), (20.0,), (10.0,), (9.0,), (31.0,), (PLAIN,))
    mask = fit_preprocessing(data, rows=np.array([True, True, False, False]))
    assert mask == prepared
    classes = fit_preprocessing(table(a=[1.0, 2.0, 3.0], y=["p", "q", "r"]), rows=[0, 1]).target
    assert classes.classes == ("p", "q", "r")


def test_categories_that_occur_once_are_other_and_the_least_frequent_share_inputs():
    towns = [f"t{k}" for k in range(6) for _ in range(2 * k)] + ["once", "twice", "twice", "rare"] * 10
    towns = [*towns[:60], "once a", "once b"]
    data = table(town=towns, y=["p", "q"] * 31)
    column = fit_preprocessing(data, max_categories=3).columns[0]
    assert column.other
    assert len(column.categories) == 3
    assert {"once a", "once b"}.isdisjoint(column.known)
    names = column.inputs
    x = apply(fit_preprocessing(data, max_categories=3), table(town=["once a", "never seen", None, *column.known]))
    np.testing.assert_array_equal(x.sum(axis=1), 1.0)
    assert names[-1] == "town=other"
    np.testing.assert_array_equal(x[:3, -1], 1.0)
    for row, place in enumerate(column.known.values()):
        assert x[3 + row, place] == 1.0


def test_a_single_category_that_occurs_once_keeps_its_input():
    towns = ["a", "b"] * 30 + ["once"]
    preprocessing = fit_preprocessing(table(town=towns, y=np.arange(61.0)))
    [column] = preprocessing.columns
    assert column.inputs == ("town=a", "town=b", "town=once")
    np.testing.assert_array_equal(apply(preprocessing, table(town=["once", "never seen"])), [[0, 0, 1], [0, 0, 0]])


def test_the_categories_do_not_depend_on_the_order_of_rows():
    """Of equally frequent ones the first in sorted order have an input of their own."""
    for order in (["u", "v", "w"] * 2, ["w", "v", "u"] * 2):
        column = fit_preprocessing(table(b=order, y=["p", "q"] * 3), max_categories=2).columns[0]
        assert (column.categories, column.groups) == (("u", "v"), (("w",),))


# --- parts of dates, words ---


def test_dates_become_days_and_cycles():
    days = np.array(["2020-01-31", "2020-07-31", "2021-01-31"], "datetime64[D]")
    prepared = fit_preprocessing(table(day=days, y=["a", "b", "a"]))
    assert prepared.feature_names == (
        *("day:days", "day:month_sin", "day:month_cos", "day:weekday_sin", "day:weekday_cos"),
    )
    since = days.astype(int)
    x = apply(prepared, table(day=days))
    np.testing.assert_allclose(x[:, 0], (since - since.mean()) / since.std(), rtol=1e-12)
    months, weekdays = np.array([0, 6, 0]) * np.pi / 6, np.array([4, 4, 6]) * 2 * np.pi / 7
    np.testing.assert_allclose(
        x[:, 1:], np.stack([np.sin(months), np.cos(months), np.sin(weekdays), np.cos(weekdays)], axis=1), atol=1e-12
    )


def test_inputs_of_the_same_name_differ():
    """A column may have the name of another one's input, and a category that of the missing ones."""
    columns = {
        "w": ["b", "missing", None, "b"],
        "w=b": [1.0, 2.0, 3.0, 4.0],
        "w=missing": ["b", "c", "b", "c"],
        "w=missing=b": [4.0, None, 2.0, 1.0],
        "y": ["p", "q", "p", "q"],
    }
    prepared = fit_preprocessing(table(**columns), "y")
    assert prepared.feature_names == (
        *("w=b", "w=missing", "w=missing_2", "w=b_2", "w=missing=b", "w=missing=c", "w=missing=b_2"),
        "w=missing=b=missing",
    )
    assert from_json(to_json(prepared)) == prepared
    x = apply(prepared, table(**columns))
    np.testing.assert_array_equal(x[:, :3], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert x[:, 3].argmax() == 3
    np.testing.assert_array_equal(x[:, 4], [1, 0, 1, 0])
    assert x[:, 6].argmin() == 3


def test_words_are_found_in_capitals_and_small_letters():
    texts = ["Old red house", "old BLUE house", "a new house here", "the old car"] * 3
    texts = [f"{text} n{k}" for k, text in enumerate(texts)]
    prepared = fit_preprocessing(table(text=texts, y=["p", "q"] * 6))
    assert prepared.columns == (WordsColumn("text", ("a", "blue", "car", "here", "house", "new", "old", "red", "the")),)
    x = apply(prepared, table(text=["OLD house!", None, "unknown"]))
    np.testing.assert_array_equal(x, [[0, 0, 0, 0, 1, 0, 1, 0, 0], [0] * 9, [0] * 9])


# --- targets ---


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (["dog", "cat", "dog", "cat"], "str", ("cat", "dog")),
        ([10, 2, -1, 10, 2, -1], "int", ("-1", "2", "10")),
        ([10.0, 2.0, 10.0, 2.0], "int", ("2", "10")),
        ([True, False], "bool", ("False", "True")),
        ([0.1, 2.5, 0.1], "float", ("0.1", "2.5")),
        ([1e20, 1.0], "float", ("1", "1e+20")),
    ],
)
def test_labels_come_back_in_their_own_type(labels, kind, classes):
    data = table(x=np.arange(len(labels)) / 2, y=labels)
    prepared = fit_preprocessing(data, task="classification")
    assert prepared.target == ClassTarget("y", classes, kind)
    decoded = decode_target(prepared, encode_target(prepared, data))["y"]
    assert decoded.tolist() == labels
    assert decoded.dtype.kind == {"str": "O", "int": "i", "bool": "b", "float": "f"}[kind]
    through_file = from_json(json.loads(json.dumps(to_json(prepared))))
    assert decode_target(through_file, encode_target(prepared, data))["y"].tolist() == labels


def test_several_targets_come_back_in_their_own_units():
    data = read_table("linnerud")
    prepared = fit_preprocessing(data)
    targets = encode_target(prepared, data)
    np.testing.assert_allclose(targets.mean(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(targets.std(axis=0), 1.0, rtol=1e-14)
    decoded = decode_target(prepared, targets.astype(np.float32))
    assert list(decoded) == ["Weight", "Waist", "Pulse"]
    for name, values in decoded.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, data.columns[name], rtol=1e-6)


def test_probabilities_are_named_by_class():
    prepared = fit_preprocessing(animals())
    named = decode_probabilities(prepared, [[0.25, 0.75], [1.0, 0.0]])
    assert {name: values.tolist() for name, values in named.items()} == {
        "species=cat": [0.25, 1.0],
        "species=dog": [0.75, 0.0],
    }
    assert decode_target(prepared, [[0.25, 0.75]])["species"].tolist() == ["dog"]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.5, 0.5], r"shape \(samples, 2\), got \(2,\)"),
        ([[0.5, 0.25, 0.25]], r"shape \(samples, 2\), got \(1, 3\)"),
        ([[NAN, 1.0]], "not finite"),
        ([[INF, 1.0]], "not finite"),
    ],
)
def test_outputs_that_do_not_fit(y, message):
    prepared = fit_preprocessing(animals())
    for decode in (decode_target, decode_probabilities):
        with pytest.raises(DataError, match=message):
            decode(prepared, y)


def test_numbers_have_no_probabilities():
    prepared = fit_preprocessing(table(x=[1.0, 2.0], y=[0.5, 0.25]))
    with pytest.raises(DataError, match="'y' is numeric"):
        decode_probabilities(prepared, [[0.5]])


# --- errors when fitting ---

XY = {"x": [1.0, 2.0, 3.0, 4.0], "y": ["a", "b", "a", "b"]}
MANY = [f"n{k}" for k in range(150)]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (XY, {"target": "Y"}, r"no column 'Y' \(did you mean 'y'\?\); it has 'x', 'y'"),
        (XY, {"drop": ["z"]}, "no column 'z'; it has"),
        (XY, {"categorical": ["z"]}, "no column 'z'; it has"),
        (XY, {"target": "x", "drop": ["x"]}, "'x' is also listed in drop"),
        (XY, {"target": []}, "targets must be named, each once"),
        (XY, {"target": ["x", "x"]}, "targets must be named, each once"),
        (XY, {"task": "clustering"}, "task must be 'auto'.*got 'clustering'"),
        (XY, {"target": ["x", "y"], "drop": []}, "no columns besides the target 'x', 'y'"),
        (XY, {"types": {"z": "number"}}, "no column 'z'; it has"),
        (XY, {"types": {"x": "numbers"}}, "type of column 'x'.*'numbers'"),
        (XY, {"types": {"y": "date"}}, "target 'y' cannot be of type 'date'"),
        (XY, {"max_categories": 0}, "max_categories must be a whole number of at least 1, got 0"),
        (XY, {"max_categories": 1.5}, "max_categories must be a whole number of at least 1, got 1.5"),
        (XY, {"target": [5]}, r"targets must be named, each once, got \[5\]"),
        (XY, {"task": "regression"}, "target 'y' is mostly not numbers, such as 'a'.*classification"),
        (XY, {"types": {"y": "number"}}, "target 'y' is mostly not numbers, such as 'a'"),
        (XY | {"z": [None, *"pqr"]}, {"types": {"z": "number"}}, "'z' can be read as a number; the first is 'p'"),
        (XY | {"z": [*"pqr", "NA"]}, {"types": {"z": "date"}}, r"'z' can be .* a date; .* 'p'\..*\(--type z=date\)"),
        (XY | {"z": [1.5, 2.0, 4.0, 4.0]}, {"types": {"z": "date"}}, "'z' can be read as a date; the first is 1.5"),
        (XY | {"y": [None] * 4}, {}, "target 'y' has no values"),
        (XY | {"x": [NAN] * 4}, {}, "no column to learn from .'x': no values"),
        (XY | {"x": [5.0] * 4}, {}, "no column to learn from .'x': constant, '5'"),
        (XY | {"y": ["a"] * 4}, {}, "target 'y' has only one class, 'a'; at least two"),
        (XY | {"y": [1] * 4}, {}, "target 'y' has only one class, '1'"),
        (XY, {"target": ["y"], "drop": ["x"]}, "no column to learn from .'x': as requested"),
        (
            {"a": [1.0, 2.0], "b": [1, 2], "c": [1, 2]},
            {"target": ["a", "b"], "task": "classification"},
            "one target, got 'a', 'b'",
        ),
        ({"x": np.arange(150.0), "y": MANY}, {}, "target 'y' has 150 classes, too many for 150 rows"),
        (
            XY | {"y": ["12", "7", "old", "new"]},
            {"task": "regression"},
            "target 'y' is mostly not numbers, such as 'old'",
        ),
    ],
)
def test_fitting_refuses(columns, options, message):
    with pytest.raises(DataError, match=message):
        fit_preprocessing(table_from_mapping(columns), **options)


def test_the_lists_in_messages_are_shortened():
    wide = table_from_arrays(np.ones((2, 40)))
    with pytest.raises(DataError, match=r"'x0', 'x1', .*'x11', \.\.\. \(40 in all\)$"):
        fit_preprocessing(wide, "price")


def test_a_near_miss_ignores_capitals():
    with pytest.raises(DataError, match=r"no column 'weight' \(did you mean 'WEIGHT'\?\)"):
        fit_preprocessing(table(WEIGHT=[1.0, 2.0], y=["a", "b"]), "weight")


# --- values that do not fit when applying ---

ROW = {"weight": [4.0], "colour": ["black"], "tame": [True], "species": ["cat"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": None}, "lacks 1 of the 3 columns that the model was trained on: 'colour'; it has 'weight', 'tame'"),
        ({"colour": None, "color": ["black"]}, r"'colour' .did you mean 'color'\?.; it has"),
    ],
)
def test_a_column_that_is_absent_is_refused(change, message):
    columns = {name: values for name, values in (ROW | change).items() if values is not None}
    with pytest.raises(DataError, match=message):
        apply(fit_preprocessing(animals()), table_from_mapping(columns))


@pytest.mark.parametrize(
    ("change", "issue", "inputs"),
    [
        ({"colour": ["green"]}, ("colour", "unseen", 1, "row 1: 'green'"), slice(1, 4)),
        ({"colour": [7]}, ("colour", "unseen", 1, "row 1: 7"), slice(1, 4)),
        ({"colour": [None]}, ("colour", "missing", 1, "row 1"), slice(1, 4)),
        ({"weight": ["heavy"]}, ("weight", "unreadable", 1, "row 1: 'heavy'"), slice(0, 1)),
        ({"weight": [INF]}, ("weight", "unreadable", 1, "row 1: inf"), slice(0, 1)),
        ({"weight": [NAN]}, ("weight", "missing", 1, "row 1"), slice(0, 1)),
        ({"tame": ["maybe"]}, ("tame", "unreadable", 1, "row 1: 'maybe'"), slice(4, 6)),
    ],
)
def test_values_that_do_not_fit_are_filled_and_counted(change, issue, inputs):
    prepared = fit_preprocessing(animals())
    X, issues = encode(prepared, table_from_mapping(ROW | change))
    assert [tuple(one) for one in issues] == [issue]
    as_usual = apply(prepared, table_from_mapping(ROW))
    as_usual[0, inputs] = 0.0 if issue[0] != "weight" else (17.5 - prepared.columns[0].mean) / prepared.columns[0].scale
    np.testing.assert_array_equal(X, as_usual)
    with pytest.raises(DataError, match=f"1 {issue[1]} in column '{issue[0]}', first {issue[3]}; correct"):
        apply(prepared, table_from_mapping(ROW | change), strict=True)


def test_strict_lists_all_that_does_not_fit():
    changed = ROW | {"weight": ["heavy"], "colour": ["green"], "tame": [None]}
    with pytest.raises(DataError, match=r"unreadable in .*'weight'.*unseen in .*'colour'.*missing in .*'tame'"):
        apply(fit_preprocessing(animals()), table_from_mapping(changed), strict=True)


def test_numbers_outside_of_the_range_of_training_are_counted_and_clipped():
    prepared = Preprocessing((NumberColumn("a", 0.0, 1e-300, 0.0, high=1.0),), ClassTarget("y", ("p", "q")))
    X, issues = encode(prepared, table(a=[1.0, 1e30, -1e308]))
    assert [tuple(one) for one in issues] == [("a", "outside", 2, "row 2: 1e+30")]
    np.testing.assert_array_equal(X, [[1e6], [1e6], [-1e6]])
    apply(prepared, table(a=[1e30]), strict=True)


def test_numbers_can_be_text_when_applied():
    prepared = fit_preprocessing(table(a=[1.0, 3.0], y=["p", "q"]))
    np.testing.assert_array_equal(apply(prepared, table(a=["3", "1e0"])), [[1.0], [-1.0]])


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (
            ["cat", "wolf"],
            "'species' is missing or not known in 1 rows .first row 2: 'wolf'.; expected 'cat', 'dog'",
        ),
        ([None, "dog"], "target 'species' is missing or not known in 1 rows .first row 1: None.; expected"),
        (None, "no column 'species'"),
    ],
)
def test_encoding_a_target_refuses(species, message):
    prepared = fit_preprocessing(animals())
    data = table(weight=[1.0]) if species is None else table(species=species)
    with pytest.raises(DataError, match=message):
        encode_target(prepared, data)


@pytest.mark.parametrize("value", [NAN, "x", INF, None])
def test_rows_without_a_target_are_recognised(value):
    prepared = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), NumberTarget(("y",), (0.0,), (1.0,), (0.0,), (9.0,)))
    data = table(y=[1.5, value])
    np.testing.assert_array_equal(has_target(prepared, data), [True, False])
    np.testing.assert_array_equal(encode_target(prepared, data.select([0])), [[1.5]])
    with pytest.raises(DataError, match=r"missing or not known in 1 rows \(first row 2.*expected a number"):
        encode_target(prepared, data)


def test_rows_without_a_target_are_left_out():
    data = table(x=[1.0, 2.0, 3.0, 1000.0], y=["a", "b", "a", None])
    prepared = fit_preprocessing(data)
    assert prepared == replace(fit_preprocessing(data.select([0, 1, 2])), summaries=prepared.summaries)
    assert prepared.summaries[-1].n_missing == 1


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)),
    st.data(),
)
def test_fitted_statistics_standardise_and_survive_the_round_trip(x, data):
    labels = data.draw(st.lists(st.integers(-5, 5), min_size=len(x), max_size=len(x)))
    source = table_from_arrays(x, np.array(labels))
    types = dict.fromkeys(source.columns, "number")
    try:
        prepared = fit_preprocessing(source, task="regression", types=types)
    except DataError:  # all columns are constant
        assert (np.ptp(x, axis=0) < 1e-150).all()
        return
    again = from_json(json.loads(json.dumps(to_json(prepared))))
    z = apply(again, source)
    np.testing.assert_array_equal(z, apply(prepared, source))
    assert np.isfinite(z).all()
    assert (np.abs(z) <= np.sqrt(len(x)) * (1 + 1e-6)).all()
    decoded = decode_target(again, encode_target(prepared, source))["target"]
    np.testing.assert_allclose(decoded, labels, rtol=1e-9, atol=1e-9)
