"""Every place gives what NumPy gives; on NumPy itself this tests only precision and repeatability."""

import pytest

from gpubp.testing.agreement import compare, comparisons


@pytest.mark.parametrize("comparison", comparisons(), ids=lambda comparison: f"{comparison.kind}, {comparison.what}")
def test_agrees_with_numpy(comparison, place, dtype, record_property):
    agreement = compare(comparison, place.backend, dtype)
    row = f"{place.name}, {agreement.kind}, {dtype}"
    record_property("agreement", (row, agreement.deviation, agreement.what))
    assert agreement.ok, agreement.fault
