"""Charts of the page: of figures that hardly differ, and that are too large to draw."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network
from gpubp.inspection import PartialDependence
from gpubp.reports import Confusion, Curves, HeldOutFindings, ModelReport, Residuals, report_page
from gpubp.reports._charts import curves_chart, dependence_chart, errors_chart, residuals_chart
from gpubp.reports._html import signed
from gpubp.reports._tables import name_of_class
from tests.reports.test_page import classification

pytestmark = pytest.mark.once

LARGE = 1e308


@given(st.floats(-1e300, 1e300), st.integers(0, 200))
def test_errors_that_differ_in_the_last_digits_are_drawn(error, n_steps):
    errors = error + np.arange(n_steps + 1) * np.spacing(abs(error))
    residuals = Residuals("y", np.zeros(len(errors)), errors)
    assert errors_chart(residuals).count('class="bar"') == 25
    assert residuals_chart(residuals).count('class="point"') == len(errors)


def test_figures_too_large_for_an_axis_have_no_chart():
    assert curves_chart(Curves([1], [0.5], [0.6])) == ""  # points, which the table of scores replaces
    assert curves_chart(Curves([1, 2, 3], [-LARGE, LARGE, 2.0])) == ""
    assert curves_chart(Curves([1, 2, 3], [1.0, LARGE, 2.0])) == ""
    far = Residuals("y", np.array([-LARGE, 0.0]), np.array([LARGE, 0.0]))
    found = HeldOutFindings("rows", None, [far, Residuals("z", np.zeros(2), np.ones(2))])
    text = report_page([ModelReport("r", "regression", Network((2, 1)), held_out=found)])
    assert "z: errors, rows" in text
    assert "y: errors" not in text
    assert "y: predicted" not in text


@pytest.mark.parametrize(
    ("text", "expected"), [("-0.5", "−0.5"), ("128-64", "128-64"), ("realmlp-s", "realmlp-s"), ("1 ± -2", "1 ± −2")]
)
def test_numbers_have_the_sign_of_minus_and_words_their_hyphens(text, expected):
    assert signed(text) == expected


RISES = np.linspace(0.0, 1.0, 5)
VALUES = {
    "numbers": np.linspace(-2.0, 2.0, 5),
    "dates": np.datetime64("2020-01-01", "s") + np.arange(5) * np.timedelta64(30, "D"),
    "categories": np.array(["a", "b", "<c>", "d", "a very long name"], dtype=object),
}


def dependence(values, *columns):
    return PartialDependence("x", values, tuple(f"y={k}" for k in range(len(columns))), np.column_stack(columns))


@pytest.mark.parametrize("kind", VALUES)
def test_of_two_classes_the_probability_of_the_second_is_drawn(kind):
    chart = dependence_chart(
        dependence(VALUES[kind], 1.0 - RISES, RISES), of_classes=True, averages=np.array([[0.0] * 2, [1.0] * 2])
    )
    assert "probability of y=1" in chart
    points = re.findall(r'cy="([\d.]+)"', chart) if kind == "categories" else re.findall(r",([\d.]+)", chart)
    heights = [*map(float, points)]
    assert len(heights) == 5
    assert heights == sorted(heights, reverse=True)  # from the top of the page
    expected = {"numbers": "−2", "dates": "2020-04-30", "categories": "&lt;c&gt;"}[kind]
    assert f">{expected}" in chart


def test_of_several_classes_the_two_that_vary_most_are_drawn_and_of_numbers_one():
    found = dependence(VALUES["numbers"], RISES / 9, 1.0 - RISES, RISES * 0.8)
    chart = dependence_chart(found, of_classes=True, averages=found.average)
    assert re.findall(r">(y=\d)<", chart) == ["y=2", "y=1"]  # in the legend, from the right
    assert chart.count("<polyline") == 2
    chart = dependence_chart(found, of_classes=False, averages=found.average)
    assert (re.findall(r">(y=\d)<", chart), chart.count("<polyline")) == (["y=1"], 1)


def test_of_targets_that_which_varies_most_for_its_scale_is_drawn_on_its_own_axis():
    found = dependence(VALUES["numbers"], 1e6 + 100.0 * RISES, 0.5 + RISES)
    targets = [Residuals("y=0", np.array([0.0, 1e6]), np.zeros(2)), Residuals("y=1", np.array([0.0, 2.0]), np.zeros(2))]
    held_out = HeldOutFindings("rows", None, targets, dependence=[found, dependence(np.arange(3.0), *np.ones((2, 3)))])
    text = report_page([ModelReport("r", "regression", Network((1, 2)), held_out=held_out)])
    first, second = re.findall(r"<svg.*?</svg>", text.partition('id="dependence"')[2].partition("</section>")[0])
    assert ">y=1<" in first
    assert {">0.6<", ">1.4<"} <= set(re.findall(r">[\d.]+<", first))
    assert "1,000,000" not in first + second


def test_a_dependence_of_one_value_is_a_point_and_one_that_is_not_finite_is_not_drawn():
    one = dependence(np.array([3.0]), np.array([0.5]))
    assert dependence_chart(one, of_classes=False, averages=one.average).count("<circle") == 1
    for values in (np.nan, LARGE):
        found = dependence(np.array([3.0]), np.array([values]))
        assert dependence_chart(found, of_classes=False, averages=found.average) == ""
    far = dependence(np.array([-LARGE, LARGE]), np.array([0.5, 1.0]))
    assert dependence_chart(far, of_classes=False, averages=far.average) == ""


def test_categories_and_classes_that_begin_alike_differ_and_are_whole_in_a_title():
    values = np.array([f"category {letter}" for letter in "ABCDEFGH"], dtype=object)
    names = tuple(f"y=a class with a long name, {k}" for k in range(3))
    found = PartialDependence("x", values, names, np.linspace(0.0, 1.0, 24).reshape(8, 3))
    chart = dependence_chart(found, of_classes=True, averages=found.average)
    ticks = re.findall(r">([^<]+)<title>(category .)</title>", chart)
    assert [title for _, title in ticks] == values.tolist()
    assert len({tick for tick, _ in ticks}) == 8
    assert len(re.findall(r"<title>y=a class with a long name, \d</title>", chart)) == 2


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (np.timedelta64(1, "D"), ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-05"]),
        (np.timedelta64(3, "h"), ["2020-01-01 00:00", "2020-01-01 04:00", "2020-01-01 08:00", "2020-01-01 12:00"]),
        (
            np.timedelta64(15, "s"),
            [f"2020-01-01 00:00:{second:02}" for second in (0, 20, 40)] + ["2020-01-01 00:01:00"],
        ),
    ],
)
def test_dates_that_are_close_have_times(step, expected):
    found = dependence(np.datetime64("2020-01-01", "s") + np.arange(5) * step, RISES)
    chart = dependence_chart(found, of_classes=False, averages=found.average)
    assert re.findall(r">(2020[^<]*)<", chart) == expected


def test_long_classes_that_begin_alike_have_other_headings():
    names = ["a class with a long name: " + end for end in ("left", "right")]
    shown = [name_of_class(name) for name in names]
    assert [len(name) for name in shown] == [24, 24]
    assert shown[0] != shown[1]
    assert name_of_class("short") == "short"


def test_what_the_two_figures_of_calibration_are_is_said():
    report = classification()
    words = "The calibration error among the scores is another number"
    two = replace(report.held_out, confusion=Confusion(("no", "yes"), np.ones((2, 2), np.int64)))
    scores = {"test": {"accuracy": 0.9, "calibration_error": 0.1}}
    assert words in report_page([replace(report, held_out=two, scores=scores)])
    assert words not in report_page([replace(report, held_out=two)])  # there is no other
    assert words not in report_page([replace(report, scores=scores)])  # of three classes both are the same
