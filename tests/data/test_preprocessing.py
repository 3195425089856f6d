"""Columns to matrices and back: types, tasks, errors, round trips."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpubp.data import read_table, table_from_arrays, table_from_mapping
from gpubp.data.preprocessing import (
    CategoryColumn,
    ClassTarget,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    apply,
    decode_probabilities,
    decode_target,
    encode_target,
    fit_incrementally,
    fit_preprocessing,
    from_json,
    to_json,
)
from gpubp.errors import DataError, ModelFileError

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
def test_a_constant_column_becomes_zeros(constant):
    data = table(a=[constant] * 3, b=[1.0, 2.0, 4.0], y=[0.5, 0.25, 0.125])
    prepared = fit_preprocessing(data)
    assert prepared.columns[0].scale == 1.0
    np.testing.assert_array_equal(apply(prepared, data)[:, 0], 0.0)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", ["a", "y"])
def test_a_spread_whose_square_underflows_is_refused(name, in_pieces):
    """Scaled as if it were constant, such a column would be zeros in effect."""
    data = table(**{"a": [1.0, 2.0, 4.0], "y": [0.5, 0.25, 0.3]} | {name: [0.0, 1e-200, 2e-200]})
    with pytest.raises(DataError, match=f"column '{name}' holds numbers too small to standardise"):
        fit_incrementally([(data, np.ones(3, dtype=bool))]) if in_pieces else fit_preprocessing(data)


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
    assert fit_preprocessing(data, task="regression").target == NumberTarget(("y",), (0.5,), (0.5,))
    halves = table(x=[1.0, 2.0, 3.0], y=[0.5, 1.0, 0.5])
    assert fit_preprocessing(halves, task="classification").target == ClassTarget("y", ("0.5", "1"), "float")
    ratings = table(x=[1.0, 2.0, 3.0, 4.0], y=["1", "2", "3", "3+"])
    assert fit_preprocessing(ratings, task="classification").target.label_type == "str"


def test_named_columns_are_categories_and_dropped_ones_are_ignored():
    data = table(zone=[10, 2, 10, 3], id=["p", "q", "r", "s"], size=[1.0, 2.0, 3.0, 4.0], y=["a", "b", "a", "b"])
    prepared = fit_preprocessing(data, categorical=["zone"], drop=["id", "id"])
    assert prepared.feature_names == ("zone=10", "zone=2", "zone=3", "size")
    assert prepared.dropped == ("id",)
    as_float = table(zone=[2.0, 10.0], size=[2.5, 2.5])
    np.testing.assert_array_equal(apply(prepared, as_float), [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(apply(prepared, data)[:, :3], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_missing_values_are_imputed_on_request_here_and_later():
    data = table(a=[1.0, NAN, 3.0, 10.0], b=["u", "v", None, "v"], c=[1, 2, 3, 4], y=["p", "q", "p", "q"])
    prepared = fit_preprocessing(data, impute=True)
    numbers, category, complete = prepared.columns
    present = np.array([1.0, 3.0, 10.0])
    assert (numbers.fill, category.fill, complete.fill) == (3.0, "v", 2.5)
    assert (numbers.mean, numbers.scale) == (present.mean(), present.std())
    x = apply(prepared, data)
    assert x[1, 0] == (3.0 - present.mean()) / present.std()
    np.testing.assert_array_equal(x[:, 1:3], [[1, 0], [0, 1], [0, 1], [0, 1]])
    empty = table(a=[None], b=[None], c=[None])
    np.testing.assert_array_equal(apply(prepared, empty), [[x[1, 0], 0, 1, 0]])


def test_the_most_frequent_category_does_not_depend_on_the_order_of_rows():
    for order in (["u", "v"], ["v", "u"]):
        data = table(b=[*order, None], y=["p", "q", "p"])
        assert fit_preprocessing(data, impute=True).columns[0].fill == "u"


def test_statistics_come_from_the_training_rows_and_categories_from_all():
    data = table(a=[1.0, 3.0, 1000.0, NAN], b=["u", "u", "v", "v"], c=["k", "k", "k", "k"], y=[10.0, 30.0, 0.5, 1e6])
    prepared = fit_preprocessing(data, impute=True, rows=[0, 1])
    assert prepared.columns[:2] == (NumberColumn("a", 2.0, 1.0, 2.0), CategoryColumn("b", ("u", "v"), "u"))
    assert prepared.target == NumberTarget(("y",), (20.0,), (10.0,))
    mask = fit_preprocessing(data, impute=True, rows=np.array([True, True, False, False]))
    assert mask == prepared
    classes = fit_preprocessing(table(a=[1.0, 2.0, 3.0], y=["p", "q", "r"]), rows=[0, 1]).target
    assert classes.classes == ("p", "q", "r")


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
DATES = r"'name' looks like dates, 150 different ones .*columns of numbers from it \(year, month\), or drop it"


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
        (
            XY,
            {"task": "regression"},
            "column 'y', row 1: 'a' is non-numeric text where numbers are needed.*classification",
        ),
        (XY | {"x": [0.5, INF, 1, 2]}, {}, "column 'x', row 2: infinity"),
        (XY | {"x": [0.5, -INF, 1, 2]}, {"impute": True}, "column 'x', row 2: infinity"),
        (XY | {"x": [0.5, -INF, 1, 2]}, {"categorical": ["x"]}, "column 'x', row 2: infinity"),
        (XY | {"x": [1e308, -1e308, 1e308, 0.0]}, {}, r"'x' holds numbers too large to standardise \(up to 1e\+308\)"),
        (
            {"x": [NAN, 1.0, NAN], "s": ["u", None, "v"], "y": ["a", "b", "a"]},
            {},
            r"2 in column 'x', 1 in column 's'\).*--impute",
        ),
        ({"x": [NAN, NAN], "y": ["a", "b"]}, {"impute": True}, r"'x' has no values to learn from.*--drop 'x'"),
        (XY | {"y": ["a", None, "b", None]}, {}, r"target 'y' is missing in 2 of 4 rows \(first in row 2\)"),
        (
            XY | {"y": [0.5, 1.5, NAN, 2.5]},
            {"impute": True},
            r"target 'y' is missing in 1 of 4 rows \(first in row 3\)",
        ),
        (XY | {"y": [0.5, 1.5, INF, 2.5]}, {}, "column 'y', row 3: infinity"),
        (XY | {"y": ["a"] * 4}, {}, "target 'y' has only one class, 'a'; at least two"),
        (XY | {"y": [1] * 4}, {}, "target 'y' has only one class, '1'"),
        (XY, {"target": ["y"], "drop": ["x"]}, "features are needed"),
        (
            {"a": [1.0, 2.0], "b": [1, 2], "c": [1, 2]},
            {"target": ["a", "b"], "task": "classification"},
            "one target, got 'a', 'b'",
        ),
        (
            {"name": MANY, "y": [0, 1] * 75},
            {},
            r"'name' has 150 categories.*max_categories=100 and looks like an identifier.*--drop 'name'",
        ),
        ({"name": [f"{k // 12}-{k % 12 + 1:02}-01" for k in range(24000, 24150)], "y": [0, 1] * 75}, {}, DATES),
        ({"name": [f"{k % 28 + 1}.{k // 28 + 1}.2001 10:00" for k in range(150)], "y": [0, 1] * 75}, {}, DATES),
        ({"name": MANY * 2, "y": [0, 1] * 150}, {}, "'name' has 150 categories, more than max_categories=100; drop it"),
        ({"x": np.arange(150.0), "y": MANY}, {}, "target 'y' has a class for each of its 150 rows"),
        (
            XY | {"x": ["12", "old", "7", "8"]},
            {},
            "column 'x', row 2: 'old' is non-numeric text where numbers are needed.*--categorical 'x'",
        ),
        (XY | {"y": ["12", "7", "8", "none"]}, {}, "column 'y', row 4: 'none' is non-numeric text"),
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


def test_the_advice_of_the_messages_works():
    spoilt = table_from_mapping(XY | {"x": ["12", "n/a", "7", "8"]})
    assert len(fit_preprocessing(spoilt, categorical=["x"]).columns[0].categories) == 4
    data = table(name=MANY, size=np.arange(150.0), y=[0, 1] * 75)
    prepared = fit_preprocessing(data, drop=["name"])
    assert apply(prepared, data).shape == (150, 1)
    assert apply(fit_preprocessing(data, max_categories=150), data).shape == (150, 151)


def test_text_that_is_mostly_not_numeric_is_a_category():
    data = table(x=["4wd", "2", "fwd", "rwd"], y=["a", "b", "a", "b"])
    assert isinstance(fit_preprocessing(data).columns[0], CategoryColumn)
    # A column declared as text on purpose, zero-padded codes, stays one.
    codes = table(x=["01", "02", "01", "02"], y=["a", "b", "a", "b"])
    assert fit_preprocessing(codes).columns[0].categories == ("01", "02")


# --- errors when applying ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": [1.0]}, "3 feature columns of the training data; extra, to be removed: 'height'"),
        ({"colour": None}, "missing: 'colour'$"),
        ({"colour": None, "color": ["black"]}, "missing: 'colour'; extra, to be removed: 'color'"),
        (
            {"colour": ["green"]},
            "'colour', row 1: 'green' does not occur in the training data, only 'black', 'brown', 'white'",
        ),
        ({"colour": [7]}, "'7' does not occur"),
        ({"weight": ["heavy"]}, "'weight', row 1: 'heavy' is non-numeric text where numbers are needed"),
        ({"weight": [INF]}, "'weight', row 1: infinity"),
        ({"weight": [NAN]}, r"'weight' has 1 missing values \(first in row 1\).*--impute"),
        ({"colour": [None]}, "'colour' has 1 missing values"),
    ],
)
def test_applying_refuses(change, message):
    prepared = fit_preprocessing(animals())
    columns = {name: values[:1] for name, values in animals().columns.items()} | change
    data = table_from_mapping({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(DataError, match=message):
        apply(prepared, data)


def test_a_value_too_far_to_scale_is_refused():
    prepared = Preprocessing((NumberColumn("a", 0.0, 1e-300),), ClassTarget("y", ("p", "q")))
    with pytest.raises(DataError, match=r"'a', row 2: 1e\+30 is too far from the mean 0"):
        apply(prepared, table(a=[1.0, 1e30]))


def test_unseen_categories_are_zeros_on_request():
    prepared = fit_preprocessing(animals())
    data = table(weight=[17.5, 17.5], colour=["green", "white"], tame=[True, True])
    np.testing.assert_array_equal(apply(prepared, data, unknown="zeros"), [[0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1]])
    with pytest.raises(DataError, match="unknown must be 'error' or 'zeros', got 'ignore'"):
        apply(prepared, data, unknown="ignore")


def test_numbers_can_be_text_when_applied():
    prepared = fit_preprocessing(table(a=[1.0, 3.0], y=["p", "q"]))
    np.testing.assert_array_equal(apply(prepared, table(a=["3", "1e0"])), [[1.0], [-1.0]])


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (["wolf"], "'species', row 1: 'wolf' does not occur"),
        ([None], "'species' has 1 missing"),
        (None, "no column 'species'"),
    ],
)
def test_encoding_a_target_refuses(species, message):
    prepared = fit_preprocessing(animals())
    data = table(weight=[1.0]) if species is None else table(species=species)
    with pytest.raises(DataError, match=message):
        encode_target(prepared, data)


@pytest.mark.parametrize(("y", "message"), [([NAN], "missing"), (["x"], "non-numeric text"), ([INF], "infinity")])
def test_encoding_numbers_refuses(y, message):
    prepared = Preprocessing((NumberColumn("a", 0.0, 1.0),), NumberTarget(("y",), (0.0,), (1.0,)))
    with pytest.raises(DataError, match=message):
        encode_target(prepared, table(y=y))


# --- JSON ---

names = st.text(max_size=6)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0.0, exclude_min=True, allow_infinity=False)
distinct = st.lists(names, min_size=1, max_size=5, unique=True).map(tuple)


@st.composite
def preprocessings(draw):
    free = draw(st.lists(names, min_size=4, max_size=8, unique=True))
    n_columns, n_targets = draw(st.integers(1, len(free) - 2)), draw(st.integers(1, 2))
    columns = []
    for name in free[:n_columns]:
        categories = draw(distinct)
        columns.append(
            draw(
                st.one_of(
                    st.builds(NumberColumn, st.just(name), finite, positive, st.none() | finite),
                    st.builds(
                        CategoryColumn, st.just(name), st.just(categories), st.none() | st.sampled_from(categories)
                    ),
                )
            )
        )
    targets, dropped = free[n_columns : n_columns + n_targets], free[n_columns + n_targets :]
    whole = st.lists(st.integers(-(2**63), 2**63 - 1).map(str), min_size=2, max_size=4, unique=True).map(tuple)
    text = st.lists(names, min_size=2, max_size=4, unique=True).map(tuple)
    scaled = st.lists(positive, min_size=n_targets, max_size=n_targets).map(tuple)
    target = draw(
        st.one_of(
            st.builds(ClassTarget, st.just(targets[0]), text, st.just("str")),
            st.builds(ClassTarget, st.just(targets[0]), whole, st.just("int")),
            st.just(ClassTarget(targets[0], ("False", "True"), "bool")),
            st.builds(NumberTarget, st.just(tuple(targets)), scaled, scaled),
        )
    )
    return Preprocessing(tuple(columns), target, tuple(dropped))


@given(preprocessings())
def test_json_round_trip(prepared):
    assert from_json(json.loads(json.dumps(to_json(prepared)))) == prepared
    assert from_json(to_json(prepared)) == prepared


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)),
    st.data(),
)
def test_fitted_statistics_standardise_and_survive_the_round_trip(x, data):
    labels = data.draw(st.lists(st.integers(-5, 5), min_size=len(x), max_size=len(x)))
    source = table_from_arrays(x, np.array(labels))
    prepared = fit_preprocessing(source, task="regression")
    again = from_json(json.loads(json.dumps(to_json(prepared))))
    z = apply(again, source)
    np.testing.assert_array_equal(z, apply(prepared, source))
    assert np.isfinite(z).all()
    assert (np.abs(z) <= np.sqrt(len(x)) * (1 + 1e-6)).all()
    decoded = decode_target(again, encode_target(prepared, source))["target"]
    np.testing.assert_allclose(decoded, labels, rtol=1e-9, atol=1e-9)


@given(st.lists(st.text(max_size=4) | st.none(), min_size=2, max_size=12), st.data())
def test_any_text_column_is_fitted_or_refused_with_a_data_error(texts, data):
    labels = data.draw(st.lists(st.sampled_from(["p", "q"]), min_size=len(texts), max_size=len(texts)))
    source = table_from_mapping({"s": texts, "y": labels})
    try:
        prepared = fit_preprocessing(source, impute=True)
    except DataError:
        return
    x = apply(prepared, source)
    if isinstance(prepared.columns[0], CategoryColumn):
        np.testing.assert_array_equal(x.sum(axis=1), 1.0)
    assert decode_target(prepared, encode_target(prepared, source))["y"].tolist() == labels


def good():
    return to_json(
        Preprocessing(
            (NumberColumn("a", 1.0, 2.0, 0.5), CategoryColumn("b", ("u", "v"), "u")),
            ClassTarget("y", ("1", "2"), "int"),
            ("id",),
        )
    )


def test_the_unchanged_json_is_read():
    assert from_json(good()).columns[0].fill == 0.5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), [], "expected Preprocessing"),
        ((), {}, "the keys columns, target, dropped"),
        (("more",), 1, "the keys columns, target, dropped"),
        (("columns",), [], "a feature and a target"),
        (("columns",), {}, "expected"),
        (("columns", 0), 3, "got 3"),
        (("columns", 0), {}, "the keys name, mean, scale, fill"),
        (("columns", 0, "extra"), 1, "the keys"),
        (("columns", 0, "name"), 1, "expected str, got 1"),
        (("columns", 0, "mean"), None, "expected float, got None"),
        (("columns", 0, "mean"), "1", "expected float"),
        (("columns", 0, "mean"), True, "expected float, got True"),
        (("columns", 0, "mean"), NAN, "expected float, got nan"),
        (("columns", 0, "mean"), 10**400, "expected float"),
        (("columns", 0, "scale"), INF, "expected float, got inf"),
        (("columns", 0, "scale"), 0.0, "scales above 0"),
        (("columns", 0, "scale"), -1.0, "scales above 0"),
        (("columns", 0, "fill"), "u", "expected float"),
        (("columns", 1, "categories"), [], "categories of 'b' that differ"),
        (("columns", 1, "categories"), ["u", "u"], "categories of 'b' that differ"),
        (("columns", 1, "categories"), ["u", 2], "expected str, got 2"),
        (("columns", 1, "categories"), "uv", "expected"),
        (("columns", 1, "fill"), "w", "a category as fill of 'b', got w"),
        (("columns", 1, "name"), "a", "names that differ"),
        (("target", "name"), "a", "names that differ"),
        (("dropped",), ["a"], "names that differ"),
        (("dropped",), None, "expected"),
        (("target",), None, "got None"),
        (("target", "label_type"), "complex", "got complex"),
        (("target", "label_type"), [], r"got \[\]"),
        (("target", "classes"), ["1"], "two or more different classes"),
        (("target", "classes"), ["1", "1"], "two or more different classes"),
        (("target", "classes"), ["1", "x"], "classes of type int"),
        (("target", "classes"), ["1", "01"], "classes of type int"),
        (("target",), {"name": "y", "classes": ["yes", "no"], "label_type": "bool"}, "classes of type bool"),
        (("target",), {"name": "y", "classes": ["nan", "1"], "label_type": "float"}, "classes of type float"),
        (("target",), {"name": "y", "classes": ["inf", "1"], "label_type": "float"}, "classes of type float"),
        (("target",), {"names": ["y"], "means": [0.0], "scales": []}, "a mean and scale per target"),
        (("target",), {"names": [], "means": [], "scales": []}, "a feature and a target"),
        (("target",), {"names": ["y"], "means": [0.0], "scales": [0.0]}, "scales above 0"),
        (("target",), {"names": ["y", "y"], "means": [0.0, 0.0], "scales": [1.0, 1.0]}, "names that differ"),
    ],
)
def test_malformed_json_is_refused(path, value, message):
    data = good()
    if path:
        place = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    else:
        data = value
    with pytest.raises(ModelFileError, match=f"preprocessing is malformed: .*{message}"):
        from_json(data)


@pytest.mark.parametrize("key", ["columns", "target", "dropped"])
def test_a_missing_key_is_refused(key):
    data = good()
    del data[key]
    with pytest.raises(ModelFileError, match="expected the keys columns, target, dropped"):
        from_json(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, st.data())
def test_any_json_is_read_or_refused(value, data):
    description = good()
    place = data.draw(
        st.sampled_from([description, description["target"], *description["columns"], description["columns"]])
    )
    key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else [0, 1]))
    place[key] = value
    try:
        prepared = from_json(description)
    except ModelFileError:
        return
    assert from_json(to_json(prepared)) == prepared
