"""Every backend agrees with NumPy; on NumPy itself this tests only precision and repeatability."""

import pytest

from gpubp.testing import compare, comparisons

COMPARISONS = [
    pytest.param(one, id=f"{one.kind}, {one.what}", marks=[pytest.mark.slow] if one.kind.startswith("steps ") else [])
    for one in comparisons()
]  # steps of products in fewer bits take the longest


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_agrees_with_numpy(comparison, backend_case, dtype, record_property):
    agreement = compare(comparison, backend_case.backend, dtype)
    row = f"{backend_case.name}, {agreement.kind}, {dtype}"
    record_property("agreement", (row, agreement.deviation, agreement.what))
    assert agreement.ok, agreement.fault
