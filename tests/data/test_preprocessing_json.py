"""A preprocessing as JSON: what is written is read again, and anything else is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.data._dates import FORMATS
from gpubp.data._quantities import NumberFormat
from gpubp.data.preprocessing import (
    CategoryColumn,
    ClassTarget,
    ColumnSummary,
    DateColumn,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
    from_json,
    to_json,
)
from gpubp.errors import ModelFileError

NO_FORMATS = {"number_formats": [], "lows": [0.0], "highs": [1.0]}
NAN, INF = float("nan"), float("inf")

names = st.text(max_size=6)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0.0, exclude_min=True, allow_infinity=False)
pairs = st.tuples(finite, finite)
distinct = st.lists(names, min_size=1, max_size=5, unique=True).map(tuple)


number_formats = st.builds(
    NumberFormat, st.just("."), st.sampled_from(["", ",", "'", " "]), names, st.booleans()
) | st.builds(NumberFormat, st.just(","), st.sampled_from(["", "."]))
parts = st.lists(st.sampled_from(["days", "month", "weekday", "hour"]), min_size=1, unique=True).map(tuple)
summaries = st.builds(ColumnSummary, names, st.sampled_from(["number", "drop", "target"]), names, st.integers(0, 9))


@st.composite
def column(draw, name):
    known = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    n_own = draw(st.integers(1, len(known)))
    grouped = tuple((text,) for text in known[n_own:])
    seconds = st.floats(-1e10, 1e10)
    return draw(
        st.one_of(
            st.builds(
                *(NumberColumn, st.just(name), finite, positive, finite, st.booleans(), finite, finite, number_formats),
                encoding=st.sampled_from(["linear", "robust", "piecewise"]),
            ),
            st.just(CategoryColumn(name, tuple(known[:n_own]), "text", grouped, draw(st.booleans()), len(name) > 2)),
            st.just(CategoryColumn(name, ("u", "v"), is_embedded=draw(st.booleans()))),
            st.just(CategoryColumn(name, ("False", "True"), "bool")),
            st.builds(
                *(TargetStatisticsColumn, st.just(name), st.just(("u", "v")), st.just("text"), st.just(())),
                *(st.booleans(), st.just(True), st.just(("y", "z")), st.tuples(pairs, pairs), pairs, pairs),
                st.just((1.0, 2.0)),
            ),
            st.builds(
                *(DateColumn, st.just(name), st.sampled_from(["datetime", "datetime_utc"]), parts, finite, positive),
                *(seconds, st.booleans(), seconds, seconds, st.sampled_from(FORMATS)),
            ),
            st.builds(WordsColumn, st.just(name), st.just(("new", "old"))),
        )
    )


@st.composite
def preprocessings(draw):
    free = draw(st.lists(names, min_size=4, max_size=8, unique=True))
    n_columns, n_targets = draw(st.integers(1, len(free) - 2)), draw(st.integers(1, 2))
    columns = [draw(column(name)) for name in free[:n_columns]]
    targets = free[n_columns : n_columns + n_targets]
    whole = st.lists(st.integers(-(2**63), 2**63 - 1).map(str), min_size=2, max_size=4, unique=True).map(tuple)
    text = st.lists(names, min_size=2, max_size=4, unique=True).map(tuple)
    scaled = st.lists(positive, min_size=n_targets, max_size=n_targets).map(tuple)
    formats = st.lists(number_formats, min_size=n_targets, max_size=n_targets).map(tuple) | st.just(())
    lows, highs = np.sort(draw(st.tuples(scaled, scaled)), axis=0).tolist()
    target = draw(
        st.one_of(
            st.builds(ClassTarget, st.just(targets[0]), text, st.just("str")),
            st.builds(ClassTarget, st.just(targets[0]), whole, st.just("int")),
            st.just(ClassTarget(targets[0], ("False", "True"), "bool")),
            st.builds(
                *(NumberTarget, st.just(tuple(targets)), scaled, scaled),
                *(st.just(tuple(lows)), st.just(tuple(highs)), formats),
            ),
        )
    )
    missing = draw(st.lists(names, max_size=2).map(tuple))
    return Preprocessing(tuple(columns), target, missing, tuple(draw(st.lists(summaries, max_size=3))))


@given(preprocessings())
def test_json_round_trip(prepared):
    assert from_json(json.loads(json.dumps(to_json(prepared)))) == prepared
    assert from_json(to_json(prepared)) == prepared


def good():
    return to_json(
        Preprocessing(
            (
                NumberColumn("a", 1.0, 2.0, 0.5),
                CategoryColumn("b", ("u", "v"), groups=(("w",),)),
                DateColumn("c", "datetime", ("days", "hour"), 1.0, 2.0, 3.0),
                WordsColumn("d", ("new", "old")),
            ),
            ClassTarget("y", ("1", "2"), "int"),
            ("-999",),
        )
    )


def test_the_unchanged_json_is_read():
    assert from_json(good()).columns[0].fill == 0.5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), [], "expected Preprocessing"),
        ((), {}, "the keys of Preprocessing, got no columns, target, missing, summaries, target_missing;"),
        (("more",), 1, "the keys of Preprocessing, got the unknown more;"),
        (("columns",), [], "a feature and a target"),
        (("columns",), {}, "expected"),
        (("columns", 0), 3, "got 3"),
        (("columns", 0), {}, "the keys of .*Column, got no name, (mean|category|words|categories|kind)"),
        (("columns", 0, "extra"), 1, "the keys of NumberColumn, got the unknown extra;"),
        (("columns", 0, "name"), 1, "expected str, got 1"),
        (("columns", 0, "mean"), None, "expected float, got None"),
        (("columns", 0, "mean"), "1", "expected float"),
        (("columns", 0, "mean"), True, "expected float, got True"),
        (("columns", 0, "mean"), NAN, "expected float, got nan"),
        (("columns", 0, "mean"), 10**400, "expected float"),
        (("columns", 0, "scale"), INF, "expected float, got inf"),
        (("columns", 0, "scale"), 0.0, "a scale of 'a' above 0"),
        (("columns", 0, "scale"), -1.0, "a scale of 'a' above 0"),
        (("columns", 0, "fill"), "u", "expected float"),
        (("columns", 0, "encoding"), "cubic", "got cubic"),
        (("columns", 0, "encoding"), None, "got None"),
        (("columns", 0, "edges"), [0.0, 1.0, 2.0], "no edges of 'a'"),
        (("columns", 1, "categories"), [], "categories of 'b' that differ"),
        (("columns", 1, "categories"), ["u", "u"], "categories of 'b' that differ"),
        (("columns", 1, "categories"), ["u", 2], "expected str, got 2"),
        (("columns", 1, "categories"), "uv", "expected"),
        (("columns", 1, "groups"), [["w"], ["v"]], "categories of 'b' that differ"),
        (("columns", 1, "groups"), [["w"], []], "groups of 'b' that are not empty"),
        (("columns", 1, "groups"), ["w"], "expected"),
        (("columns", 1, "kind"), "colour", "got colour"),
        (("columns", 1, "kind"), "number", "categories of 'b' that hold numbers"),
        (("columns", 1, "other"), 1, "expected bool, got 1"),
        (("columns", 0, "number_format"), None, "got None"),
        (("columns", 0, "number_format", "decimal"), "x", "a known format of numbers"),
        (("columns", 0, "number_format", "thousands"), ".", "a known format of numbers"),
        (("columns", 0, "indicator"), None, "expected bool"),
        (("columns", 2, "parts"), [], "parts of 'c' that differ"),
        (("columns", 2, "parts"), ["days", "days"], "parts of 'c' that differ"),
        (("columns", 2, "parts"), ["year"], "got year"),
        (("columns", 2, "date_format"), "%Q", "a known format of 'c'"),
        (("columns", 2, "scale"), 0.0, "a scale of 'c' above 0"),
        (("columns", 2, "fill"), 1e300, "a date as fill of 'c'"),
        (("columns", 2, "kind"), "text", "got text"),
        (("columns", 3, "words"), [], "words of 'd' that differ"),
        (("columns", 3, "words"), ["a", "a"], "words of 'd' that differ"),
        (("columns", 3, "words"), ["a b"], "words of 'd' in lower case"),
        (("columns", 3, "words"), ["Old"], "words of 'd' in lower case"),
        (("columns", 1, "name"), "a", "names that differ"),
        (("target", "name"), "a", "names that differ"),
        (("missing",), None, "expected"),
        (("missing",), [1], "expected str"),
        (("summaries",), [{"name": "a"}], "the keys of ColumnSummary, got no type, reason, n_missing"),
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
        (
            ("target",),
            {"names": ["y"], "means": [0.0], "scales": [], **NO_FORMATS},
            "a mean, a scale, a low, a high and a format per target",
        ),
        (("target",), {"names": [], "means": [], "scales": [], **NO_FORMATS}, "a feature and a target"),
        (("target",), {"names": ["y"], "means": [0.0], "scales": [0.0], **NO_FORMATS}, "scales above 0"),
        *(
            (
                ("target",),
                {"names": ["y"], "means": [0.0], "scales": [1.0], **NO_FORMATS, **ends},
                message,
            )
            for ends, message in (
                ({"lows": []}, "a low, a high and a format per target"),
                ({"lows": [], "highs": []}, "a low, a high and a format per target"),
                ({"lows": [2.0]}, "a low that is not above the high"),
                ({"lows": [0.0, 0.0], "highs": [1.0, 1.0]}, "a low, a high and a format per target"),
            )
        ),
        (
            ("target",),
            {"names": ["y"], "means": [0.0], "scales": [1.0], "limits": [], "number_formats": []},
            "the keys of NumberTarget, got no lows, highs and the unknown limits;",
        ),
        (("target",), {"names": ["y"], "means": [0.0], "scales": [1.0], **NO_FORMATS, "lows": [NAN]}, "expected float"),
        (
            ("target",),
            {name: 2 * part for name, part in (NO_FORMATS | {"names": ["y"], "means": [0.0], "scales": [1.0]}).items()},
            "names that differ",
        ),
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


@pytest.mark.parametrize("key", ["columns", "target", "missing", "target_missing", "summaries"])
def test_a_missing_key_is_refused(key):
    data = good()
    del data[key]
    with pytest.raises(ModelFileError, match=f"expected the keys of Preprocessing, got no {key};"):
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
    key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
    place[key] = value
    try:
        prepared = from_json(description)
    except ModelFileError:
        return
    assert from_json(to_json(prepared)) == prepared
