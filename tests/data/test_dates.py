"""Dates are read in the format of most values of a column."""

import datetime
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.data import apply, fit_preprocessing, table_from_mapping
from gpubp.data._dates import FORMATS, ISO, date_parts, find_date_format, read_date
from gpubp.data.preprocessing import encode, from_json, read_dates, to_json, values_of
from gpubp.data.preprocessing._decisions import decide
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.errors import DataError

DAY = 86400.0
WHEN = datetime.datetime(1999, 12, 31, 22, 45, 30)


@pytest.mark.parametrize("date_format", FORMATS[1:])
def test_each_format_is_found_and_read(date_format):
    """Formats of other columns may read the same texts; what is found reads all of them in the same way."""
    days = [WHEN + datetime.timedelta(days=37 * k, hours=k) for k in range(40)]
    texts = [day.strftime(date_format) for day in days]
    found = find_date_format(Counter(texts))
    assert found is not None
    for text in texts:
        assert read_date(text, found) == read_date(text, date_format)


@pytest.mark.parametrize(
    ("texts", "date_format"),
    [
        (["2020-01-31", "2020-02-01 08:30", "2020-02-01T08:30:00Z"], ISO),
        (["1/2/2020", "3/4/2020"], "%m/%d/%Y"),
        (["1/2/2020", "30/4/2020"], "%d/%m/%Y"),
        (["1/2/2020", "4/30/2020"], "%m/%d/%Y"),
        (["soon"] + ["31.12.2020", "1.1.2021"] * 10, "%d.%m.%Y"),
        (["n. d. 5"] + ["5 Jan 2020", "7 Feb 2020"] * 10, "%d %b %Y"),
        (["1/2020", "12/2021"], "%m/%Y"),
        (["2020/1", "2021/12"], "%Y/%m"),
        (["1. Jan 2020", "12. May 2021"], "%d. %b %Y"),
        (["1. January 2020", "12. December 2021"], "%d. %B %Y"),
        (["1/2020", "13/2021"], None),
        (["12:30", "00:00"], "%H:%M"),
        (["12:30", "00:00:15"], "%H:%M"),
        (["1:30 PM", "11:00 am"], "%I:%M %p"),
        (["a", "b"], None),
        (["32.12.2020", "1.13.2021"], None),
        (["12", "13"], None),
        (["1.5", "2.5"], None),
        (["2020-01-31", "x", "y"], None),
        ([], None),
    ],
)
def test_the_format_of_most_values(texts, date_format):
    assert find_date_format(Counter(texts)) == date_format


def test_zero_dates_are_missing():
    """As MySQL writes them, however many there are."""
    texts = ["2020-01-31", "2021-02-28"] * 10 + ["0000-00-00", "0000-00-00 00:00:00"] * 20
    table = table_from_mapping({"day": texts, "y": [1.0, 2.0] * 30})
    preprocessing = fit_preprocessing(table, "y")
    assert (preprocessing.summaries[0].type, preprocessing.summaries[0].n_missing) == ("date", 40)
    read = read_dates(table, "day")
    assert np.isnan(read.values).sum() == 40
    assert not read.unreadable.any()


@pytest.mark.parametrize(
    "times",
    [
        ["08:30", "17:45", "12:00"] * 5,
        ["08:30:00", "17:45:00", "12:00:00"] * 5,
        ["8:30 AM", "5:45 PM", "12:00 PM"] * 5,
        [datetime.time(8, 30), datetime.time(17, 45), datetime.time(12)] * 5,
    ],
)
def test_times_of_the_day_are_hours(times):
    """They are no dates in 1970, for the user."""
    table = table_from_mapping({"start": times, "y": range(15)})
    preprocessing = fit_preprocessing(table, "y")
    assert preprocessing.summaries[0].reason.startswith("times of the day written as ")
    assert preprocessing.feature_names == ("start:hours", "start:hour_sin", "start:hour_cos")
    assert values_of(preprocessing)["start"] == "08:30 to 17:45"
    hours = np.array([8.5, 17.75, 12.0] * 5)
    X = apply(preprocessing, table)
    np.testing.assert_allclose(X[:, 0], (hours - hours.mean()) / hours.std(), atol=1e-12)
    np.testing.assert_allclose(X[:, 1], np.sin(hours * np.pi / 12), atol=1e-12)
    assert from_json(to_json(preprocessing)) == preprocessing


WAITS = np.array([90, 3600, 86400, 90, -1], dtype="timedelta64[s]")


@pytest.mark.parametrize(
    "values",
    [
        WAITS,
        WAITS.astype("timedelta64[ns]"),
        WAITS.astype(object),
        list(WAITS),
        pd.Series(WAITS),
        pd.Series([*pd.to_timedelta(WAITS)], dtype=object),
        pl.Series(WAITS.tolist()),
        pyarrow.array(WAITS),
    ],
)
def test_durations_are_seconds(values):
    table = table_from_mapping({"wait": values})
    np.testing.assert_array_equal(table.columns["wait"], [90.0, 3600.0, 86400.0, 90.0, -1.0])
    assert table.durations == {"wait"}
    facts = ColumnFacts("wait")
    facts.add(table.select([0, 1, 2, 3]))
    assert (decide(facts).type, decide(facts).reason) == ("number", "durations, in seconds")


def test_missing_durations():
    for values in (np.array([1, "NaT"], "timedelta64[m]"), [datetime.timedelta(minutes=1), None], [WAITS[0], None]):
        seconds = table_from_mapping({"wait": values}).columns["wait"]
        assert np.isnan(seconds[1])
        assert seconds[0] in (60.0, 90.0)
    with pytest.raises(DataError, match=r"got timedelta64\[M\]"):  # months differ in length
        table_from_mapping({"wait": np.array([1, 2], "timedelta64[M]")})


@given(st.datetimes())
def test_any_time_is_read_as_seconds_since_1970(when):
    expected = (when - datetime.datetime(1970, 1, 1)) / datetime.timedelta(seconds=1)
    assert read_date(when.isoformat(), ISO) == pytest.approx(expected, abs=1e-5)
    assert read_date(f"{when:%d.%m.}{when.year:04}", "%d.%m.%Y") == pytest.approx(expected - expected % DAY, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "date_format", "seconds"),
    [
        ("1970-01-01", ISO, 0.0),
        ("1969-12-31T23:59:59.5", ISO, -0.5),
        ("1970-01-01T01:00+01:00", ISO, 0.0),
        ("06:00", "%H:%M", DAY / 4),
        ("6:00", "%H:%M", DAY / 4),
        ("06:00:00", "%H:%M", DAY / 4),
        ("06:00:00.500000", "%I:%M %p", DAY / 4 + 0.5),
        ("18:00", "%I:%M %p", DAY * 3 / 4),
        ("24:00", "%I:%M %p", None),
        ("0600", "%I:%M %p", None),
        ("06:00:00+01:00", "%H:%M", None),
        (" 2/1/1970 ", "%d/%m/%Y", DAY),
        ("2/1/1970", "%d.%m.%Y", None),
        ("x" * 10**6, ISO, None),
        (" " * 10**6 + "1", "%b %d %Y", None),
        ("", ISO, None),
    ],
)
def test_dates_are_read(text, date_format, seconds):
    assert read_date(text, date_format) == seconds


@given(st.lists(st.datetimes(datetime.datetime(1600, 1, 1)), min_size=1, max_size=5))
def test_the_parts_are_those_of_the_calendar(times):
    seconds = [(when - datetime.datetime(1970, 1, 1)) / datetime.timedelta(seconds=1) for when in times]
    parts = date_parts(np.array([*seconds, np.nan]))
    circle = 2.0 * np.pi
    for place, when in enumerate(times):
        assert parts["month"][place] == pytest.approx(circle * (when.month - 1) / 12)
        assert parts["weekday"][place] == pytest.approx(circle * when.weekday() / 7)
        hours = when.hour + when.minute / 60 + when.second / 3600 + when.microsecond / 3.6e9
        assert parts["hour"][place] == pytest.approx(circle * hours / 24, abs=1e-4)
        assert parts["days"][place] == seconds[place] / DAY
    assert all(np.isnan(values[-1]) for values in parts.values())


@pytest.mark.parametrize("texts", [["08:30", "17:45"], ["08:30:00", "17:45:00"], ["8:30 AM", "5:45 PM"]])
def test_times_of_a_frame_are_those_of_a_file(texts):
    preprocessing = fit_preprocessing(table_from_mapping({"start": texts * 10, "y": range(20)}), "y")
    times = [datetime.time(8, 30), datetime.time(17, 45)]
    for values in (times, pyarrow.array(times), pl.Series(times), ["08:30:00.000", "17:45"]):
        X, issues = encode(preprocessing, table_from_mapping({"start": values}))
        assert not issues
        np.testing.assert_array_equal(X, apply(preprocessing, table_from_mapping({"start": texts})))
