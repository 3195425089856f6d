"""Every backend agrees with NumPy; on NumPy itself this tests only precision and repeatability."""

import pytest

from gpubp.backends.backend import choose_backend
from gpubp.testing import compare, comparisons

SLOW = [pytest.mark.slow, pytest.mark.once]  # steps of products in fewer bits take the longest
COMPARISONS = [
    pytest.param(one, id=f"{one.kind}, {one.what}", marks=SLOW if one.kind.startswith("steps ") else [])
    for one in comparisons()
]
DTYPES = ["float64", pytest.param("float32", marks=pytest.mark.once)]  # with the lowest versions, the stricter one


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_agrees_with_numpy(comparison, device, dtype, record_property):
    agreement = compare(comparison, choose_backend(device), dtype)
    row = f"{device}, {agreement.kind}, {dtype}"
    record_property("agreement", (row, agreement.deviation, agreement.what))
    assert agreement.ok, agreement.fault
