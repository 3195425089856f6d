"""Which parts of a network the picture of a report shows, and what it says of that."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gpubp.inspection import PermutationImportance
from gpubp.nn.network import views
from gpubp.reports import report_page
from tests.reports.test_page import classification

pytestmark = pytest.mark.once


def inputs_drawn(page):
    return re.findall(r'end">([^<]+)<title>', page)


def test_the_inputs_that_are_drawn_are_those_of_the_most_important_columns():
    report = classification(n_inputs=20)
    order = report.held_out.importance.order
    columns = [report.held_out.importance.columns[place] for place in sorted(order[:9])]
    text = report_page([replace(report, input_columns=report.input_names)])
    assert inputs_drawn(text) == columns
    assert "Of 20 inputs, 9 are drawn: those of the 9 most important columns." in text
    assert "Of other layers, the 9 units with the largest weights are drawn." in text


def test_of_the_inputs_of_a_column_those_with_the_largest_weights_are_drawn():
    report = classification(n_inputs=20)
    views(np, report.network, report.theta)[0][:] = np.arange(21.0)[:, None]
    importance = PermutationImportance(("a", "b"), np.asarray([[0.5], [0.1]]), 0.9, "accuracy")
    held_out = replace(report.held_out, importance=importance)
    text = report_page([replace(report, input_columns=["b"] * 2 + ["a"] * 18, held_out=held_out)])
    assert inputs_drawn(text) == [f"column {place}" for place in (0, 1, *range(13, 20))]
    assert "Of 20 inputs, 9 are drawn: of the 2 most important columns those with the largest weights." in text


@pytest.mark.parametrize(
    ("has_weights", "how", "drawn"), [(True, "with the largest weights", 11), (False, "that come first", 0)]
)
def test_without_importance_the_inputs_with_the_largest_weights_are_drawn(has_weights, how, drawn):
    report = replace(classification(n_inputs=20), held_out=None)
    views(np, report.network, report.theta)[0][:] = np.arange(21.0)[:, None]
    text = report_page([report if has_weights else replace(report, theta=None)])
    assert inputs_drawn(text) == [f"column {drawn + place}" for place in range(9)]
    assert f"Of 20 inputs, the 9 {how} are drawn. Of other layers, the 9 units {how} are drawn." in text
    assert ("The width of a line" in text) == has_weights


def test_of_several_networks_the_first_is_drawn():
    report = classification()
    text = report_page([report])
    several = report_page([replace(report, theta=np.stack([report.theta, -report.theta, -report.theta]))])
    assert "first of" not in text
    assert "The weights are those of the first of 3 networks." in several
    lines = re.compile(r'<line class="w [^>]+>')
    assert lines.findall(several) == lines.findall(text)


def test_thresholds_in_the_names_of_inputs_are_rounded():
    report = replace(classification(), input_names=["a>0.12345678", "b>-1.5e-07", "c>1.25", "d"])
    text = report_page([report])
    assert re.findall(r"end\">([^<]+)<title>", text)[:4] == ["a&gt;0.1235", "b&gt;-1.5e-07", "c&gt;1.25", "d"]


@pytest.mark.parametrize("is_cut", [True, False])
def test_connections_past_layers_are_named_and_weights_of_zero_not_drawn(is_cut):
    report = classification()
    network = replace(report.network, skips=((0, len(report.network.sizes) - 1),))
    theta = np.ones(network.n_parameters)
    if is_cut:
        views(np, network, theta)[-1][: network.sizes[-2]] = 0.0
    text = report_page([replace(report, network=network, theta=theta)])
    assert "Connections that skip layers, from the inputs to the outputs, are not drawn." in text
    assert ("They alone predict: the weights from the last hidden layer are 0." in text) == is_cut
    layers = len(set(re.findall(r'<line class="w [^>]+ x2="([^"]+)"', text)))
    assert layers == len(network.sizes) - 1 - is_cut
    assert "that skip layers" not in report_page([report])
