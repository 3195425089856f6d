"""Columns of a table in ONNX models: onnxruntime encodes raw columns as gpubp does."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubp.data import table_from_mapping
from gpubp.data.preprocessing import (
    BOOL_WORDS,
    MISSING_TEXTS,
    CategoryColumn,
    DateColumn,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
    encode,
    lowered,
)
from gpubp.data.preprocessing._features import words_of
from gpubp.io.onnx import describe_values
from gpubp.io.onnx._graph import Graph
from gpubp.io.onnx._table_inputs import add_table_inputs
from gpubp.io.onnx._texts import BLANK, WORD, _letters
from gpubp.testing import assert_agree

onnx = pytest.importorskip("onnx", reason="onnx, of the extra 'onnx', is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra 'onnx', is not installed")

TARGET = NumberTarget(("target",), (0.0,), (1.0,), (-1e9,), (1e9,))
CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def run(model, feeds):
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def feed(values):
    """Return a column as an input, as docs/deployment.md says."""
    values = np.asarray(values)
    if values.dtype.kind == "M":
        return values.astype("datetime64[ms]").astype(float)[:, None] / 1000.0
    if values.dtype.kind in "UO":
        return np.asarray([["" if value is None else value] for value in values], dtype=object)
    return values.astype(float)[:, None]


@np.errstate(all="ignore")  # as in to_onnx and predict_table
def encoded_by_both(columns, values, missing=()):
    """Encode a table by onnxruntime and by gpubp."""
    preprocessing = Preprocessing(tuple(columns), TARGET, tuple(missing))
    graph = Graph("float64")
    n_inputs = len(preprocessing.feature_names)
    graph.output("encoded", add_table_inputs(graph, preprocessing), np.float64, ("samples", n_inputs))
    values = {
        name: np.asarray(column, dtype=object if isinstance(column[0], str | None) else None)
        for name, column in values.items()
    }
    received = run(graph.model(""), {name: feed(column) for name, column in values.items()})
    return received, encode(preprocessing, table_from_mapping(values)).X


def check(columns, values, missing=()):
    received, expected = encoded_by_both(columns, values, missing)
    assert_agree(received, expected, "forward")
    return received


# --- each type of column ---


def test_numbers_are_filled_scaled_and_clipped_beside_their_indicators():
    columns = [
        NumberColumn("a", 2.0, 4.0, 10.0, indicator=True),
        NumberColumn("b", 0.0, 1e-300, 0.0),
        NumberColumn("c", 1.0, 1.0, 3.0, indicator=True),
    ]
    numbers = [2.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324]
    check(columns, dict.fromkeys("abc", numbers), missing=("gone", "-1e300", "2.0", "inf"))
    received = check(columns, dict.fromkeys("abc", numbers))
    assert received[:2].tolist() == [[0.0, 0.0, 1e6, 1.0, 0.0], [2.0, 1.0, 0.0, 2.0, 1.0]]


def test_robust_numbers_beside_others():
    columns = [
        NumberColumn("a", 1.0, 4.0, 10.0, indicator=True, encoding="robust"),
        NumberColumn("b", 0.0, 1e-300, 0.0, encoding="robust"),
        NumberColumn("c", 1.0, 2.0, 3.0),
    ]
    numbers = np.asarray([1.0, 17.0, np.nan, 1e300, -1e300])
    received = check(columns, {"a": numbers, "b": numbers, "c": numbers})
    np.testing.assert_allclose(received[:2], [[0.0, 0.0, 3.0, 0.0], [2.4, 0.0, 3.0, 8.0]])


@pytest.mark.parametrize("number", [1e-50, 1.0 - 1e-9, 1.0 + 1e-9])
def test_one_number_that_is_0_or_1_in_float32(number):
    """Of such numbers onnxruntime loses the digits beyond float32."""
    check([NumberColumn("a", number, number, 0.0)], {"a": [3.0, 0.0]})
    check([DateColumn("a", "datetime", ("days",), number, number, 0.0)], {"a": np.asarray([3, 0], "datetime64[D]")})


TOWNS = CategoryColumn("town", ("Bonn", "NA", "inf"), groups=(("Köln", "-"), ("Ulm",)))


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_categories_groups_others_and_missing_ones(other, missing):
    column = CategoryColumn(TOWNS.name, TOWNS.categories, "text", TOWNS.groups, other, missing)
    texts = [
        "Bonn",
        "NA",
        "Köln",
        "-",
        "Ulm",
        "bonn",
        "",
        " NA ",
        " - ",
        "n/a",
        "\u3000?\n",
        "inf",
        "-inf",
        "gone",
        "no.",
    ]
    received = check([column], {"town": texts}, missing=("gone", " never ", "no."))
    assert received.sum() == 6 + other * 2 + (other or missing) * 7


@pytest.mark.parametrize("missing", [False, True])
def test_target_statistics(missing):
    received = check([with_statistics("town", ["Bonn", "NA"], missing=missing)], {"town": ["NA", "", "Ulm", "n/a"]})
    np.testing.assert_allclose(received[[0, 2]], [[0.2, -200.0], [0.0, 0.0]])
    assert received[1].any() == received[3].any() == missing


@pytest.mark.parametrize("missing", [(), ("no", "True")])
def test_bools_in_words(missing):
    words = [*BOOL_WORDS[0], *BOOL_WORDS[1], "1", "0", "1.0", "0.0", "2", "maybe", "nope", "yeſ", "on the", "", "NA"]
    column = CategoryColumn("b", ("False", "True"), "bool", other=True, missing=True)
    texts = [form for word in words for form in (word, word.upper(), word.title(), f"\t{word} ")]
    received = check([column], {"b": texts}, missing)
    assert received[:, 1].sum() > 20 - len(missing)


def test_columns_that_have_the_names_of_other_inputs():
    """And those of values within the graph."""
    columns = [
        CategoryColumn("w", ("b", "missing"), missing=True),
        NumberColumn("w=b", 1.0, 2.0, 3.0),
        NumberColumn("w=missing", 0.0, 1.0, 3.0, indicator=True),
        NumberColumn("fills", 2.0, 1.0, 3.0),
        NumberColumn("encoded", 3.0, 1.0, 3.0),
    ]
    numbers = {name: [1.0, np.nan, 5.0] for name in ("w=b", "w=missing", "fills", "encoded")}
    check(columns, {"w": ["b", "missing", None], **numbers})


def test_categories_that_are_numbers():
    column = CategoryColumn("n", ("-1.5", "0", "0.1"), "number", groups=(("7",),), other=True, missing=True)
    numbers = [0.0, -0.0, 7.0, -1.5, 0.1, 0.30000000000000004, np.nan, np.inf, 2.0**53 + 2.0]
    check([column], {"n": numbers}, missing=("0", "7.0", "0.30000000000000004"))
    received = check([column], {"n": numbers})
    assert received.argmax(axis=1).tolist() == [1, 1, 3, 0, 2, 4, 5, 5, 4]


def test_categories_that_are_numbers_beyond_float64_are_text():
    numbers = np.asarray([2**53 + 1, 2**53, 2**53 + 2])
    column = CategoryColumn("n", ("9007199254740992", "9007199254740993"), "number", other=True, missing=True)
    preprocessing = Preprocessing((column,), TARGET)
    graph = Graph("float64")
    graph.output("encoded", add_table_inputs(graph, preprocessing), np.float64, ("samples", 4))
    model = graph.model("")
    assert describe_values(model.graph.input)[0]["type"] == "text"
    received = run(model, {"n": np.asarray([[str(number)] for number in numbers], dtype=object)})
    assert received.tolist() == encode(preprocessing, table_from_mapping({"n": numbers})).X.tolist()


PARTS = ("days", "month", "weekday", "hour")


def test_every_day_of_two_cycles_of_the_calendar():
    column = DateColumn("d", "datetime", PARTS, 10.0, 400.0, 0.0, indicator=True)
    days = np.arange("1599-01-01", "2401-01-01", 1, dtype="datetime64[D]").astype("datetime64[s]")
    hours = np.random.default_rng(0).integers(0, 86400, len(days)).astype("timedelta64[s]")
    check([column], {"d": days[::7] + hours[::7]})
    check([column], {"d": days[(days.astype("datetime64[D]") - days.astype("datetime64[M]")).astype(int) % 27 == 0]})


@pytest.mark.parametrize("indicator", [False, True])
def test_dates_at_the_ends_and_missing(indicator):
    column = DateColumn("d", "datetime_utc", PARTS[::-1], 1e4, 1e-3, 1.5e9, indicator)
    dates = ["0001-01-01", "9999-12-31T23:59:59.999", "1969-12-31T23:59:59", "1970-01-01", "1900-02-28", "NaT"]
    dates += ["10000-01-01", "0000-12-31", "2000-02-29T12:30:00.5"]
    received = check([column], {"d": np.asarray(dates, dtype="datetime64[ms]")})
    assert indicator == (received[:, -1].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0])


def test_dates_of_pandas_as_the_documentation_says():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    column = DateColumn("d", "datetime", PARTS, 1e4, 500.0, 1.5e9, indicator=True)
    dates = pandas.Series(pandas.to_datetime(["2020-02-29 10:00", None, "1969-07-20 20:17"]))
    preprocessing = Preprocessing((column,), TARGET)
    graph = Graph("float64")
    graph.output("encoded", add_table_inputs(graph, preprocessing), np.float64, ("samples", 8))
    for series in (dates, dates.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
        received = run(graph.model(""), {"d": series.to_numpy("datetime64[s]").astype(float)[:, None]})
        assert_agree(received, encode(preprocessing, table_from_mapping({"d": series})).X, "forward")


TEXTS = [
    *("Braund, Mr. Owen", "BRAUND", "abraund braunds", "", "NA", "n/a", "mr\nowen", "mr_owen", "-mr-", "owen2 OWEN"),
    *("İstanbul ISTANBUL", "ΟΔΟΣ οδος", "οδοσ", "Ōsaka", "straße STRASSE", "STRA\u1e9eE", "\u212angstrom K", "京都 に"),
    *("e\u0301cole", "école", "\U0001d400bc", "mr\x00owen", " inf", "inf", "²", "x²", "ǅ ǆ"),
]


def test_words_in_capitals_and_other_scripts():
    words = sorted(set().union(*map(words_of, TEXTS)))
    assert {"istanbul", "οδοσ", "straße", "京都", "na", "mr_owen", "inf", "ǆ"} <= set(words)
    received = check([WordsColumn("w", tuple(words))], {"w": TEXTS})
    assert received.sum() > len(TEXTS)


# --- characters ---


def matches(pattern, texts):
    graph = Graph("float64")
    found = graph.node("RegexFullMatch", graph.input("x", object, ("samples",)), pattern=pattern)
    graph.output("found", found, bool, ("samples",))
    return run(graph.model(""), {"x": np.asarray(texts, dtype=object)}).tolist()


def test_blanks_are_those_of_python():
    assert matches(BLANK, CHARACTERS) == [character.isspace() for character in CHARACTERS]


def test_characters_of_words_are_those_of_python():
    from unicodedata import ucd_3_2_0  # which every version of Unicode keeps

    assigned = [character for character in CHARACTERS if ucd_3_2_0.category(character) != "Cn"]
    assert matches(f"[{WORD}]", assigned) == [bool(words_of(character)) for character in assigned]


def test_each_character_is_lowered_alone():
    lower = list(map(lowered, CHARACTERS))
    assert lowered("".join(CHARACTERS)) == "".join(lower)
    assert list(map(len, lower)) == [1] * len(CHARACTERS)
    assert matches(f"[{WORD}]", lower) == matches(f"[{WORD}]", CHARACTERS)
    assert {letter: "".join(_letters()[letter]) for letter in "ikåßσ"} == {
        "i": "iIİ",
        "k": "kK\u212a",
        "å": "åÅ\u212b",
        "ß": "ß\u1e9e",
        "σ": "σΣς",
    }


# --- any columns ---

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LETTERS = st.text(st.sampled_from("aAbBkKſsSßẞσςΣiIİıéÉ 京1²_-.,?\t\n\u3000\u0301'\"\\[]()*{}|^$&~#"), max_size=6)
MARKS = st.sampled_from([*MISSING_TEXTS, *BOOL_WORDS[0], *BOOL_WORDS[1], "inf", "-inf", "1", "0.0"])
BLANKS = st.sampled_from(["", "", "", " ", "\t"])
ANY_TEXT = st.tuples(BLANKS, MARKS | MARKS.map(str.upper) | MARKS.map(str.title) | LETTERS, BLANKS).map("".join)


def parts_of(draw, texts):
    """Divide categories into those with an input and groups."""
    texts = draw(st.permutations(sorted(texts)))
    n = draw(st.integers(1, len(texts)))
    return tuple(texts[:n]), tuple((text,) for text in texts[n:])


@st.composite
def number_columns(draw, name, n):
    column = NumberColumn(
        *(name, draw(FINITE), draw(st.floats(5e-324, 1e300)), draw(FINITE), draw(st.booleans())),
        encoding=draw(st.sampled_from(["linear", "robust"])),
    )
    return column, np.asarray(draw(st.lists(st.floats(), min_size=n, max_size=n)))


def with_statistics(name, known, kind="text", *, other=False, missing=False):
    """Return a column with two statistics of each category."""
    statistics = tuple((float(place), 0.1 * place**2) for place in range(len(known)))
    of_missing = (-2.0, 7.0) if missing else ()
    parts = (kind, (), other, missing, ("a", "b"), statistics, of_missing, (0.7, 0.3), (1.5, 1e-3))
    return TargetStatisticsColumn(name, tuple(known), *parts)


@st.composite
def category_columns(draw, name, n):
    kind = draw(st.sampled_from(["text", "bool", "number"]))
    if kind == "number":
        values = draw(st.lists(st.floats(width=16) | st.integers(-3, 3).map(float), min_size=n, max_size=n))
        known = {repr(int(x) if x.is_integer() else x) for x in values if np.isfinite(x)} or {"1"}
    else:
        values = draw(st.lists(ANY_TEXT | st.none(), min_size=n, max_size=n))
        known = {"True", "False"} if kind == "bool" else {text for text in values if text} | {"a"}
    known = draw(st.sets(st.sampled_from(sorted(known)), min_size=1))
    categories, groups = parts_of(draw, known)
    other, missing = draw(st.booleans()), draw(st.booleans())
    if draw(st.booleans()):
        column = CategoryColumn(name, categories, kind, groups, other, missing)
    else:
        column = with_statistics(name, sorted(known), kind, other=other, missing=missing)
    return column, np.asarray(values, dtype=float if kind == "number" else object)


@st.composite
def date_columns(draw, name, n):
    milliseconds = st.integers(-62135596800000, 253402300799999)
    parts = tuple(draw(st.lists(st.sampled_from(PARTS), min_size=1, unique=True)))
    fill = draw(milliseconds) / 1000.0
    column = DateColumn(
        name, "datetime", parts, draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-9, 1e9)), fill, draw(st.booleans())
    )
    values = draw(st.lists(milliseconds | st.none(), min_size=n, max_size=n))
    return column, np.asarray(["NaT" if value is None else value for value in values], dtype="datetime64[ms]")


@st.composite
def words_columns(draw, name, n):
    values = draw(st.lists(st.lists(ANY_TEXT, max_size=4).map(" ".join) | MARKS, min_size=n, max_size=n))
    words = sorted(set().union({"na", "inf", "i"}, *map(words_of, values)))
    column = WordsColumn(name, tuple(draw(st.lists(st.sampled_from(words), min_size=1, max_size=6, unique=True))))
    return column, np.asarray(values, dtype=object)


@settings(max_examples=80)
@given(data=st.data(), n=st.integers(1, 6), missing=st.lists(ANY_TEXT, max_size=3))
def test_any_columns(data, n, missing):
    kinds = st.sampled_from([number_columns, category_columns, date_columns, words_columns])
    drawn = [
        data.draw(columns(f"column {place}", n))
        for place, columns in enumerate(data.draw(st.lists(kinds, min_size=1, max_size=4)))
    ]
    columns = [column for column, _ in drawn]
    check(columns, {column.name: values for column, values in drawn}, missing)
