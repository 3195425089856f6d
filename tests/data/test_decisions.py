"""What each column is taken for: from its first distinct values, for a stated reason."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gpubp.data import table_from_mapping
from gpubp.data.preprocessing import (
    MAX_COUNTED,
    CategoryColumn,
    ClassTarget,
    NumberTarget,
    apply,
    encode,
    encode_target,
    fit_preprocessing,
)
from gpubp.data.preprocessing._decisions import decide
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.errors import DataError

N = 40
K = np.arange(N)
RANDOM = np.random.default_rng(0)


def decided(values, name="column", **options):
    facts = ColumnFacts(name, options.pop("missing", ()))
    facts.add(table_from_mapping({name: list(values) if isinstance(values, map) else values}))
    return decide(facts, **options)


def cycle(*values):
    return [values[k % len(values)] for k in range(N)]


# --- types ---


@pytest.mark.parametrize(
    ("values", "expected", "reason"),
    [
        (K * 0.5, "number", "numbers"),
        (K + 0.5, "number", "numbers"),
        ([f"{k:03d}" for k in K], "drop", "an identifier: codes such as '000', none of them twice"),
        (K % 7, "number", "numbers"),
        (cycle("1.5", "2", "NA"), "number", "numbers"),
        (cycle("18 mpg", "21 mpg", ""), "number", "the unit 'mpg'"),
        (cycle("63 m2", "21 m2", ""), "number", "the unit 'm2'"),
        (cycle("$1,600.00", "$5.00"), "number", "the unit '$' and ',' between thousands"),
        (cycle("1,5", "2,25"), "number", "a decimal comma"),
        (cycle("$1.5k", "$2M"), "number", "k, M or B"),
        (cycle("01", "02", "1"), "category", "codes with leading zeros, such as '01'"),
        (cycle("01", "02", "?"), "category", "codes with leading zeros, such as '01'"),
        (cycle("a", "b", "C"), "category", "text"),
        (cycle("gold", "Basic", "Basic "), "category", "only by spaces or case: 'Basic', 'Basic '"),
        (cycle("gold", " GOLD", "Basic"), "category", "only by spaces or case: 'gold', ' GOLD'"),
        (cycle("4wd", "2", "fwd"), "category", "text"),
        (cycle("1st", "2nd"), "category", "text"),
        (cycle("5 km", "7 kg"), "category", "text"),
        (cycle("yes", "No"), "category", "yes or no, written 'No' and 'yes'"),
        (cycle("True", "true", "FALSE"), "category", "yes or no, written 'FALSE' and 'True'"),
        (K % 2 == 0, "category", "true or false"),
        ([None, *(K[1:] % 2 == 0).tolist()], "category", "true or false"),
        (K.astype("datetime64[D]"), "date", "dates without a time zone"),
        ([datetime.datetime(2020, 1, 1, k % 24, tzinfo=datetime.UTC) for k in range(N)], "date", "with a time zone"),
        (cycle("2020-01-31", "1969-02-01", ""), "date", "dates written as '2020-01-31'"),
        (cycle("31.1.2020", "1.2.2020"), "date", "dates written as '31.1.2020'"),
        (cycle("1/2/2020", "3/2/2020"), "date", "dates written as '1/2/2020', month first, which no value shows"),
        (cycle("1/2/2020", "1/31/2020", "?"), "date", "dates written as '1/2/2020', month first"),
        (cycle("31/1/2020", "1/2/2020"), "date", "dates written as '31/1/2020', day first"),
        ([f"{k} min" if k % 2 else f"{k / 10} h" for k in range(N)], "drop", "'0.0 h' and '1 min' in one unit"),
        (2 * [f"{k} min" if k % 2 else f"{k / 10} h" for k in range(N // 2)], "category", "text; to have numbers"),
        (cycle("20200131", "20200201"), "date", "dates such as '20200131'"),
        (20200101 + K % 28, "date", "dates such as '20200101'"),
        (cycle("12:30", "13:00"), "date", "times of the day written as '12:30'"),
        ([f"a house of {k} red bricks" for k in range(N)], "words", "free text, 6 words on average"),
        (cycle("a red house", "a blue house"), "category", "text"),
        (K, "drop", "row numbers"),
        (K[::-1] + 5, "drop", "row numbers"),
        (map(str, K + 1000), "drop", "row numbers"),
        ([f"x{k}" for k in range(N)], "drop", "an identifier: text such as 'x0', none of it twice"),
        ([f"x{k}" for k in range(1, N)] + ["x1"], "drop", "an identifier: text such as 'x1', hardly any of it twice"),
        ([f"x{k % 37}" for k in range(N)], "category", "text"),
        ([f"a house of {k % 39} bricks" for k in range(N)], "words", "free text"),
        (np.full(N, 3.5), "drop", "constant, '3.5'"),
        (["a"] * N, "drop", "constant, 'a'"),
        ([None] * N, "drop", "no values"),
        (cycle("NA", "?", ""), "drop", "no values"),
        (cycle("a", None), "category", "text"),
        (cycle(1.0, None), "number", "numbers"),
        (cycle(1, "a", True), "category", "text"),
        (RANDOM.normal(size=N), "number", "numbers"),
        (2 * K, "number", "numbers"),
        (K[:9], "number", "numbers"),
        ([f"x{k}" for k in range(9)], "category", "text"),
    ],
)
def test_the_type_and_its_reason(values, expected, reason):
    decision = decided(values)
    assert decision.type == expected
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("customer_id", 17 * K + 3, "drop"),
        ("userId", 17 * K + 3, "drop"),
        ("UUID", 17 * K + 3, "drop"),
        ("id", K % 20, "number"),
        ("id", K * 0.3, "number"),
        ("humidity", 17 * K + 3, "number"),
        ("width", 17 * K + 3, "number"),
        ("year", 1960 + K, "number"),
        ("age", K, "number"),
        ("day", K, "number"),
        ("rownames", K, "drop"),
    ],
)
def test_names_show_identifiers_and_times_but_not_measurements(name, values, expected):
    assert decided(values, name).type == expected


def test_row_numbers_of_a_large_table_are_recognised_in_any_pieces():
    """More distinct values than are counted, and identifiers of which some come twice after these."""
    n = MAX_COUNTED + 500
    for size in (n, 997):
        ordered, repeated = ColumnFacts("n"), ColumnFacts("id")
        for start in range(0, n, size):
            k = np.arange(start, min(start + size, n))
            ordered.add(table_from_mapping({"n": k}))
            repeated.add(table_from_mapping({"id": np.where(k == n - 1, 7, 3 * k + 1)}))
        assert ordered.is_truncated
        assert decide(ordered).type == "drop"
        assert len(repeated.counts) == MAX_COUNTED
        assert decide(repeated).type == "number"


def test_facts_after_the_first_values_count_missing_ones_alone():
    n = MAX_COUNTED + 100
    texts = [f"v{k}" for k in range(n)] + ["v1", "NA", "", "unknown", " ? ", "v2"]
    facts = ColumnFacts("c", ["unknown"])
    facts.add(table_from_mapping({"c": texts}))
    assert facts.marks == {"NA": 1, "unknown": 1, " ? ": 1}
    assert (facts.n_rows, facts.n_empty, facts.n_values) == (n + 6, 1, n + 2)
    assert facts.has_repeats
    assert facts.counts["v1"] == 1


def test_identifiers_are_kept_where_nothing_else_is():
    prepared = fit_preprocessing(table_from_mapping({"n": K, "name": [f"x{k}" for k in K], "y": cycle("a", "b")}))
    assert prepared.summaries[0].reason.endswith("; kept, since no other column can be used")
    assert prepared.feature_names[0] == "n"


# --- requested types ---


@pytest.mark.parametrize(
    ("values", "requested", "inputs"),
    [
        (K % 3, "category", ("c=0", "c=1", "c=2")),
        (cycle("1", "2"), "category", ("c=1", "c=2")),
        (cycle("1 km", "2 km"), "category", ("c=1 km", "c=2 km")),
        (K, "number", ("c",)),
        (cycle("007", "008"), "number", ("c",)),
        (cycle("5 km", "7 kg", "x", "3"), "number", ("c", "c=missing")),
        (cycle("2020-01-31", "2020-02-01"), "category", ("c=2020-01-31", "c=2020-02-01")),
        (cycle("31.1.2020 00:00", "1.1.2021 00:00"), "date", ("c:days",)),
        (cycle("red car", "red house", "blue car"), "words", ("c:blue", "c:car", "c:house", "c:red")),
        ([f"x{k}" for k in K % 20], "category", tuple(sorted(f"c=x{k}" for k in range(20)))),
        (K % 2 == 0, "number", ("c",)),
    ],
)
def test_a_requested_type_is_used(values, requested, inputs):
    table = table_from_mapping({"c": values, "x": K * 0.5, "y": cycle("a", "b")})
    prepared = fit_preprocessing(table, types={"c": requested})
    assert prepared.feature_names == (*inputs, "x")
    assert prepared.summaries[0].reason.startswith("as requested")
    assert np.isfinite(encode(prepared, table).X).all()


@pytest.mark.parametrize("requested", ["number", "date"])
def test_a_requested_type_that_no_value_has_is_refused(requested):
    table = table_from_mapping({"c": cycle("u", "v"), "x": K * 0.5, "y": cycle("a", "b")})
    with pytest.raises(DataError, match=f"no value of column 'c' can be read as a {requested}; the first is 'u'"):
        fit_preprocessing(table, types={"c": requested})
    one_of_type = table_from_mapping({"c": [*cycle("u", "v")[1:], "2020-01-31" if requested == "date" else "5"]})
    one_of_type = one_of_type.with_columns(table_from_mapping({"x": K * 0.5, "y": cycle("a", "b")}))
    assert fit_preprocessing(one_of_type, types={"c": requested}).summaries[0].type == requested


# --- what the issue names ---


def test_row_numbers_of_a_frame_that_was_written_with_them_are_dropped():
    """spam7 comes with its row numbers; its rows are sorted by the target, so that they would predict it."""
    n = 200
    frame = pd.DataFrame({"rownames": np.arange(1, n + 1), "crl.tot": RANDOM.integers(1, 999, n)})
    frame["dollar"] = RANDOM.exponential(size=n)
    frame["yesno"] = np.where(np.arange(n) < 80, "y", "n")
    prepared = fit_preprocessing(table_from_mapping(frame), "yesno", rows=np.flatnonzero(RANDOM.random(n) < 0.7))
    assert prepared.feature_names == ("crl.tot", "dollar")
    assert prepared.summaries[0].type == "drop"
    assert prepared.summaries[0].reason.startswith("row numbers")


def test_a_missing_sex_is_no_category():
    """penguins.csv of R: NA is missing, as everywhere."""
    sex = cycle("male", "female", "female", "NA")
    table = table_from_mapping({"sex": sex, "mass": K * 25.0 + 3000 + K % 3, "species": cycle("Adelie", "Gentoo")})
    prepared = fit_preprocessing(table, "species")
    assert prepared.columns[0] == CategoryColumn("sex", ("female", "male"), missing=True)
    assert prepared.summaries[0].n_missing == 10


def test_a_target_with_a_unit_is_regression():
    table = table_from_mapping({"weight": K * 1.5, "mpg": [f"{20 + k % 9} mpg" for k in K]})
    prepared = fit_preprocessing(table)
    assert isinstance(prepared.target, NumberTarget)
    assert prepared.target.number_format("mpg").symbol == "mpg"
    numbers = 20 + K % 9
    np.testing.assert_allclose(encode_target(prepared, table)[:, 0], (numbers - numbers.mean()) / numbers.std())


def test_another_unit_is_unreadable_and_counted():
    table = table_from_mapping({"speed": cycle("18 km/h", "29 km/h"), "y": cycle("a", "b", "b")})
    prepared = fit_preprocessing(table)
    new = table_from_mapping({"speed": ["18 km/h", "18 mph", "18", "12 mph"]})
    X, issues = encode(prepared, new)
    assert [tuple(issue) for issue in issues] == [("speed", "unreadable", 2, "row 2: '18 mph'")]
    column = prepared.columns[0]
    filled = (column.fill - column.mean) / column.scale
    np.testing.assert_array_equal(X[:, 0], [-1.0, filled, -1.0, filled])


# --- missing texts ---


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "n/a", "NaN", "null", "None", "?", "-", ".", "<NA>", "#N/A", " NA "])
@pytest.mark.parametrize(
    "values", [("1.5", "2"), ("a", "b"), ("2020-01-31", "2020-02-01"), ("5 km", "7 km"), ("yes", "no")]
)
def test_the_marks_of_missing_values_are_the_same_for_all_types(mark, values):
    table = table_from_mapping({"c": cycle(*values, mark), "x": K * 0.5, "y": cycle("a", "b")})
    empty = table_from_mapping({"c": cycle(*values, None), "x": K * 0.5, "y": cycle("a", "b")})
    prepared, expected = fit_preprocessing(table), fit_preprocessing(empty)
    assert prepared == expected
    assert prepared.summaries[0].n_missing == 13
    assert any(name == "c=missing" for name in prepared.feature_names)
    np.testing.assert_array_equal(encode(prepared, table).X, encode(prepared, empty).X)


def test_a_requested_type_takes_the_format_of_most_values():
    mixed = cycle("2.62 kg", "3.1 kg", "840 g", "2 kg", "5 kg", "1.5 kg", "700 g", "4 kg")
    table = table_from_mapping({"w": mixed, "x": K * 0.5, "y": cycle("a", "b")})
    assert isinstance(fit_preprocessing(table).columns[0], CategoryColumn)
    requested = fit_preprocessing(table, types={"w": "number"}).columns[0]
    assert (requested.number_format.symbol, requested.low, requested.high) == ("kg", 1.5, 5.0)


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        (("NA", "DE", "FR", "GB", "IT", "US"), ("NA",)),
        (("NA", "DE", "FR", "GB"), ()),
        (("NA", "DE", "FR", "GB", "IT", "USA"), ()),
        (("?", "!", "#"), ("?",)),
        (("-", "+"), ("-",)),
        (("?", "a", "b"), ()),
        (("None", "Brick", ""), ("None",)),
        (("None", "Brick"), ()),
        (("None", "1.5", ""), ()),
        (("None", "5 km", ""), ()),
        (("None", "2020-01-31", "2020-03-01", ""), ()),
        ((" ", "+", "*"), ()),
    ],
)
def test_marks_that_are_plainly_values_are_categories(values, plain):
    table = table_from_mapping({"c": cycle(*values), "x": K * 0.5, "y": cycle("a", "b")})
    column = fit_preprocessing(table).columns[0]
    categories = set(getattr(column, "categories", ()))
    assert set(plain) <= categories
    assert not {"NA", "?", "None", "-", " "} & categories - set(plain)
    assert not encode(fit_preprocessing(table), table).issues
    requested = fit_preprocessing(table, missing=list(values[:1])).columns[0]
    assert values[0] not in getattr(requested, "categories", ())


def test_none_is_a_class():
    table = table_from_mapping({"x": K * 0.5, "y": cycle("None", "mild", "severe")})
    assert fit_preprocessing(table).target == ClassTarget("y", ("None", "mild", "severe"))


@pytest.mark.parametrize(
    "values", [cycle(1.0, 2.0, -999.0), cycle(1, 2, -999), cycle("1", "2", "-999"), cycle("1 km", "2 km", "-999")]
)
def test_numbers_that_mean_missing(values):
    table = table_from_mapping({"c": values, "x": K * 0.5, "y": cycle("a", "b")})
    prepared = fit_preprocessing(table, missing=["-999"])
    assert (prepared.columns[0].low, prepared.columns[0].high, prepared.columns[0].indicator) == (1.0, 2.0, True)
    assert prepared.summaries[0].n_missing == 13
    np.testing.assert_array_equal(encode(prepared, table_from_mapping({"c": [-999], "x": [1]})).X[0, 1], 1.0)
    as_categories = fit_preprocessing(table, missing=["-999"], categorical=["c"]).columns[0]
    assert len(as_categories.categories) == 2
    assert as_categories.missing


def test_infinity_is_a_category_of_text_and_no_number():
    table = table_from_mapping({"c": cycle("inf", "a"), "x": cycle(1.0, np.inf, 2.0), "y": cycle("a", "b")})
    prepared = fit_preprocessing(table)
    assert prepared.columns[0].categories == ("a", "inf")
    assert prepared.columns[1].high == 2.0
    assert "13 other values, such as inf, are taken as missing" in prepared.summaries[1].reason
    classes = fit_preprocessing(table_from_mapping({"a": K, "y": cycle(1.0, np.inf, 2.0)}), task="classification")
    assert classes.target.classes == ("1", "2")


# --- strict ---


def test_strict_lists_every_loss_at_once():
    table = table_from_mapping(
        {
            "size": [*cycle("1 km", "2 km")[:-2], None, "3 kg"],
            "town": [None, None, None, *cycle("Ulm", "Rom")[3:]],  # the first in a row without a target
            "whole": K * 0.5,
            "y": [None, *cycle("a", "b")[1:]],
        }
    )
    with pytest.raises(DataError) as caught:
        fit_preprocessing(table, "y", strict=True)
    message = str(caught.value)
    for part in (
        "1 row without the target 'y'",
        "column 'size': 1 missing value",
        "column 'size': 1 value of another kind, such as '3 kg'",
        "column 'town': 2 missing values",
        "leave out strict=True (--strict): then rows without a target are left out and values are filled, and counted",
    ):
        assert part in message
    assert "whole" not in message
    assert fit_preprocessing(table.select(K[3:-2]), "y", strict=True).task == "classification"
    with pytest.raises(DataError, match=r"then rows without a target are left out, and counted$"):
        fit_preprocessing(table.select([0, *K[3:-2]]), "y", strict=True)


# --- categories of a frame ---


@pytest.mark.parametrize("as_arrow", [False, True], ids=["pandas", "pyarrow"])
def test_numbers_that_a_frame_states_to_be_categories_are_categories(as_arrow):
    frame = pd.DataFrame({"ward": K % 3, "size": K * 0.5, "row": K, "y": K % 7 * 0.5}).astype(
        {"ward": "category", "row": "category", "y": "category"}
    )
    table = table_from_mapping(pa.Table.from_pandas(frame) if as_arrow else frame)
    prepared = fit_preprocessing(table)
    assert [column.inputs for column in prepared.columns] == [("ward=0", "ward=1", "ward=2"), ("size",)]
    assert prepared.target.classes == ("0", "0.5", "1", "1.5", "2", "2.5", "3")
    assert prepared.summaries[0].reason == "categories of the data frame, or labels"
    assert prepared.summaries[1].type == "number"
    np.testing.assert_array_equal(apply(prepared, table), apply(prepared, table_from_mapping(frame.astype(float))))
    numbers = fit_preprocessing(table, types={"ward": "number", "y": "number"})
    assert numbers.columns[0].name == numbers.columns[0].inputs[0] == "ward"
    assert numbers.task == "regression"


# --- targets ---


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (cycle("01", "02", "1"), "classification"),
        ([f"{k:03}" for k in K // 2], "classification"),
        (cycle("5 km", "7 km"), "regression"),
        (cycle("1", "2", "?"), "classification"),
        (cycle("2020-01-31", "2020-02-01"), "classification"),
        (K % 2 == 0, "classification"),
        (cycle("yes", "no"), "classification"),
        (RANDOM.normal(size=N), "regression"),
        (cycle(0.5, 1.0), "regression"),
    ],
)
def test_the_task_of_a_target(values, task):
    prepared = fit_preprocessing(table_from_mapping({"x": K * 0.5, "y": values}))
    assert prepared.task == task


@pytest.mark.parametrize("form", ["{:%Y-%m-%d}", "{:%d.%m.%Y}", None])
def test_a_target_of_many_dates_is_no_set_of_classes(form):
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=k // 3) for k in range(100)]
    values = np.array(days, dtype="datetime64[s]") if form is None else [form.format(day) for day in days]
    table = table_from_mapping({"x": np.arange(100) * 0.5, "y": values})
    with pytest.raises(DataError, match=r"target 'y' holds dates, such as .*2020.*--type y=category"):
        fit_preprocessing(table)
    assert fit_preprocessing(table, types={"y": "category"}).task == "classification"
    assert fit_preprocessing(table, task="classification").task == "classification"


def test_a_target_of_few_times_is_a_set_of_classes():
    table = table_from_mapping({"x": np.arange(12.0), "y": ["10:30", "12:45"] * 6})
    assert fit_preprocessing(table).task == "classification"
    once = table_from_mapping({"x": np.arange(12.0), "y": [f"10:{k + 30}" for k in range(12)]})
    with pytest.raises(DataError, match="holds dates, such as '10:30'"):
        fit_preprocessing(once)


@pytest.mark.parametrize("n", [101, 10 * MAX_COUNTED + 10])
def test_a_target_of_too_many_dates_for_classes_is_no_advice_to_make_it_classes(n):
    """Nor to predict it as a number, which dates are not."""
    days = np.datetime64("1700-01-01", "D") + np.arange(n) % (MAX_COUNTED + 1)
    table = table_from_mapping({"x": np.arange(n) * 0.5, "y": days})
    with pytest.raises(DataError, match=r"holds dates, such as '1700-01-01.*since a date$"):
        fit_preprocessing(table)


def test_bools_can_be_numbers():
    table = table_from_mapping({"x": K * 0.5, "y": K % 2 == 0})
    target = fit_preprocessing(table, task="regression").target
    assert (target.means, target.scales) == ((0.5,), (0.5,))


@pytest.mark.parametrize(
    "name", ["id", "ID", "patient_id", "patient id", "PatientID", "orderId", "row", "Index", "row_index"]
)
def test_names_of_identifiers(name):
    assert decided(np.random.default_rng(0).permutation(1000)[:N], name).type == "drop"


@pytest.mark.parametrize("name", ["bid", "paid", "amountPaid", "covid", "grid", "price_index", "arrow", "monkey"])
def test_names_of_measurements_that_look_like_those_of_identifiers(name):
    assert decided(np.random.default_rng(0).permutation(1000)[:N], name).type == "number"
