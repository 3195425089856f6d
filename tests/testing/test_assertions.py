"""The assertions pass where results agree, and otherwise name what is worst."""

import array_api_strict
import numpy as np
import pytest

from gpubp.errors import AgreementError, DataError
from gpubp.testing import Agreement, _assertions, assert_agreement, assert_functions_agree

pytestmark = pytest.mark.once


def test_rows_that_disagree_are_shown_with_the_worst_first(monkeypatch):
    rows = [
        Agreement("forward", "a", "float32", 0.5, True, ""),
        Agreement("forward", "b", "float32", 2.0, False, "fault of b"),
        Agreement("gradient", "c", "float64", 3.0, False, "fault of c"),
    ]
    monkeypatch.setattr(_assertions, "check_agreement", lambda device, dtypes: rows)
    with pytest.raises(AgreementError, match=r"2 of 3 rows.*worst c in float64: fault of c") as caught:
        assert_agreement("cpu")
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value).splitlines()[2:] == ["c  float64  gradient  3", "b  float32  forward  2"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_two_array_libraries_are_compared(dtype):
    def compare(expected):
        assert_functions_agree(
            array_api_strict.exp, expected, [0.5, 1.0], kind="elementwise", dtype=dtype, device="array_api_strict"
        )

    compare(np.exp)
    with pytest.raises(AssertionError, match=r"elementwise: .* at \[1\]"):
        compare(lambda x: np.exp(x) + np.asarray([0, 1], dtype))
    with pytest.raises(AssertionError, match="shape"):
        compare(lambda x: np.exp(x)[:1])


def test_a_result_elsewhere_is_an_error():
    with pytest.raises(AssertionError, match="namespace"):
        assert_functions_agree(
            lambda x: np.exp(np.asarray([1.0], "float32")), np.exp, [1.0], kind="elementwise", device="array_api_strict"
        )


def test_any_two_devices_are_compared(device, other_device):
    """CuPy with torch, for example, without NumPy."""

    def scaled(x, w):
        return x / (1 + abs(x)), x * w

    def wrong(x, w):
        return x / (1 + abs(x)), x * w * 1.001

    arrays, options = (
        ([-2.0, 0.5], [3.0, 4.0]),
        {"kind": "elementwise", "device": device, "expected_device": other_device},
    )
    assert assert_functions_agree(scaled, scaled, *arrays, **options) < 0.2
    with pytest.raises(AgreementError, match="times the tolerance at"):
        assert_functions_agree(wrong, scaled, *arrays, **options)
    with pytest.raises(AgreementError, match="1 results, expected 2"):
        assert_functions_agree(lambda x, w: x, scaled, *arrays, **options)


@pytest.mark.parametrize(
    ("actual", "expected", "options", "message"),
    [
        (np.sum, lambda x: 1.0, {}, "expected must be an array, got float"),
        (np.sum, lambda x: None, {}, "expected must be an array, got NoneType"),
        (lambda x: (), lambda x: (), {}, "return no arrays"),
        (np.exp, np.exp, {"dtype": "half"}, "unknown dtype of the tolerance table 'half'"),
    ],
)
def test_what_cannot_be_compared_is_an_error(actual, expected, options, message):
    with pytest.raises(DataError, match=message):
        assert_functions_agree(actual, expected, [1.0], **{"kind": "elementwise"} | options)


def test_a_reference_that_promotes_is_named():
    def scaled(x):
        return np.float64(2.0) * x

    with pytest.raises(DataError, match=r"expected returned float64 for float32 arrays on 'cpu'; a NumPy scalar"):
        assert_functions_agree(lambda x: x * 2, scaled, [1.0], kind="elementwise")
    with pytest.raises(AgreementError, match="dtype is float64, expected float32"):
        assert_functions_agree(scaled, lambda x: x * 2, [1.0], kind="elementwise")
    assert assert_functions_agree(scaled, scaled, [1.0], kind="elementwise") == 0.0
    assert assert_functions_agree(lambda x: x * 2, scaled, [1.0], kind="elementwise", dtype="float64") == 0.0


def test_some_precision_is_compared():
    with pytest.raises(DataError, match="got none"):
        assert_agreement("cpu", dtypes=[])
