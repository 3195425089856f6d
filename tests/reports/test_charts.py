"""Charts of the page: of figures that hardly differ, and that are too large to draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import Network
from gpubp.reports import Curves, HeldOutFindings, ModelReport, Residuals, report_page
from gpubp.reports._charts import curves_chart, errors_chart, residuals_chart
from gpubp.reports._html import signed

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
