"""Every backend agrees with NumPy; on NumPy itself this tests only precision and repeatability."""

import pytest

from gpubp.backends.backend import choose_backend
from gpubp.testing import compare, comparisons

pytestmark = pytest.mark.once  # with the lowest versions, an example of check_agreement has the same rows

COMPARISONS = [
    pytest.param(one, id=f"{one.kind}, {one.what}", marks=[pytest.mark.slow] if one.kind.startswith("steps ") else [])
    for one in comparisons()
]  # steps of products in fewer bits take the longest


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_agrees_with_numpy(comparison, device, dtype, record_property):
    agreement = compare(comparison, choose_backend(device), dtype)
    row = f"{device}, {agreement.kind}, {dtype}"
    record_property("agreement", (row, agreement.deviation, agreement.what))
    assert agreement.ok, agreement.fault
