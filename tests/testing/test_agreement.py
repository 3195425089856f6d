"""The comparison accepts arrays that agree; otherwise it reports what differs, where and by how much."""

import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import array_api_strict
import numpy as np
import pytest

from gpubp.backends.backend import choose_backend
from gpubp.backends.matmul_precision import FORMATS
from gpubp.backends.probe import probe_cuda
from gpubp.engine import cpu
from gpubp.engine.cpu import structures
from gpubp.errors import DataError, DeviceError
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.testing import (
    TOLERANCES,
    Agreement,
    _agreement,
    assert_agree,
    check_agreement,
    compare,
    comparisons,
    deviation,
)
from gpubp.testing._comparison import Comparison
from tests.interrupts import interrupt, interrupt_call

pytestmark = pytest.mark.once

DEVICE_1 = array_api_strict.Device("device1")


def on_device_1(values):
    return array_api_strict.asarray(values, dtype=array_api_strict.float64, device=DEVICE_1)


class TestTable:
    def test_every_kind_has_both_precisions_but_differences(self):
        rounded = {f"{kind} {name}" for kind in ("forward", "gradient", "steps") for name in FORMATS}
        kinds = {kind for kind, _ in TOLERANCES} - rounded
        expected = {(kind, dtype) for kind in kinds for dtype in ("float64", "float32")} - {("differences", "float32")}
        assert set(TOLERANCES) == expected | {(kind, "float32") for kind in rounded}
        assert kinds == {"elementwise", "forward", "gradient", "differences", "steps", "fit"}

    def test_every_row_has_a_reason_and_float64_is_tighter(self):
        for (kind, dtype), row in TOLERANCES.items():
            assert row.reason
            widest = 0.1 if kind.endswith(tuple(FORMATS)) else 1e-4
            assert 0.0 < row.rtol <= widest
            assert 0.0 < row.atol <= widest
            if dtype == "float64" and kind != "differences":
                assert row.rtol < TOLERANCES[kind, "float32"].rtol


class TestDeviation:
    @pytest.mark.parametrize(("kind", "dtype"), TOLERANCES)
    def test_is_a_multiple_of_the_tolerance(self, kind, dtype):
        row, expected = TOLERANCES[kind, dtype], np.zeros(3, dtype)
        actual = np.asarray([0.0, -3.0 * row.atol, row.atol], dtype)
        assert deviation(actual, expected, kind) == pytest.approx(3.0, rel=1e-6)

    def test_grows_with_the_expected_value(self):
        row = TOLERANCES["steps", "float64"]
        actual = np.asarray([1e6 * (1.0 + 2.0 * row.rtol)])
        assert deviation(actual, np.asarray([1e6]), "steps") == pytest.approx(2.0, rel=1e-3)

    @pytest.mark.parametrize(
        ("actual", "expected", "result"),
        [
            (math.nan, 1.0, math.inf),
            (1.0, math.nan, math.inf),
            (math.inf, 1.0, math.inf),
            (-math.inf, math.inf, math.inf),
            (math.nan, math.nan, 0.0),
            (math.inf, math.inf, 0.0),
        ],
    )
    def test_of_nan_and_infinity(self, actual, expected, result):
        assert deviation(np.asarray([actual]), np.asarray([expected]), "forward") == result

    def test_of_empty_arrays(self):
        assert deviation(np.zeros((0, 3)), np.zeros((0, 3)), "forward") == 0.0

    def test_across_namespaces(self, backend_case, dtype):
        assert deviation(backend_case.asarray([1.0, 2.0], dtype), np.asarray([1.0, 2.0], dtype), "elementwise") == 0.0

    def test_shapes_are_not_broadcast(self):
        with pytest.raises(DataError, match=r"shapes \(3, 1\) and \(3,\)"):
            deviation(np.zeros((3, 1)), np.zeros(3), "forward")

    def test_an_unknown_row_raises(self):
        with pytest.raises(DataError, match=r"in float64 'forwards' \(did you mean 'forward'"):
            deviation(np.zeros(1), np.zeros(1), "forwards")
        with pytest.raises(DataError, match="in float32 'differences'"):
            deviation(np.zeros(1, "float32"), np.zeros(1, "float32"), "differences")


class TestAssertAgree:
    def test_passes_what_agrees(self, backend_case, dtype):
        actual = backend_case.asarray([[1.0, 2.0]], dtype)
        assert_agree(actual, actual, "elementwise")
        expected = np.asarray([[1.0, 2.0]], dtype)
        assert_agree(actual, expected, "elementwise", namespace=backend_case.xp, device=backend_case.device)

    def test_reports_deviation_position_and_tolerance(self):
        with pytest.raises(AssertionError) as raised:
            assert_agree(np.asarray([[1.0, 2.0], [3.0, 4.5]]), np.asarray([[1.0, 2.0], [3.0, 4.0]]), "steps")
        row = TOLERANCES["steps", "float64"]
        for part in ("1e+11 times", "[1, 1]", "got 4.5, expected 4.0", f"rtol={row.rtol:g}"):
            assert part in str(raised.value)

    @pytest.mark.parametrize(
        ("actual", "message"),
        [
            (np.ones(2, "float32"), "dtype is float32, expected float64"),
            (np.ones((2, 1)), r"shape is \(2, 1\), expected \(2,\)"),
            (np.ones(2, int), "dtype is int64, expected float64"),
            (array_api_strict.ones(2), "namespace is array_api_strict, expected numpy"),
            ([1.0, 1.0], "namespace is none, a list, expected numpy"),
        ],
    )
    def test_detects_more_than_values(self, actual, message):
        with pytest.raises(AssertionError, match=message):
            assert_agree(actual, np.ones(2), "forward")

    def test_detects_the_wrong_device(self):
        here, there = array_api_strict.ones(2), on_device_1([1.0, 1.0])
        assert_agree(there, there, "forward")
        with pytest.raises(AssertionError, match=r"device is .*device1.*, expected .*CPU_DEVICE"):
            assert_agree(there, here, "forward")
        with pytest.raises(AssertionError, match=r"device is .*CPU_DEVICE.*, expected .*device1"):
            assert_agree(here, here, "forward", device=DEVICE_1)

    def test_detects_arrays_that_fell_back_to_numpy(self):
        with pytest.raises(AssertionError, match="namespace is numpy, expected array_api_strict"):
            assert_agree(np.ones(2), np.ones(2), "forward", namespace=array_api_strict)


def rounded(kind):
    """Tell the kinds of products in fewer bits."""
    return kind.endswith(tuple(FORMATS))


@pytest.mark.slow
class TestCheckAgreement:
    @pytest.fixture(autouse=True)
    def _one_of_each_kind(self, monkeypatch):
        """test_parity.py makes every comparison, those of products in fewer bits too, which take the longest."""
        one_of_each = {comparison.kind: comparison for comparison in comparisons() if not rounded(comparison.kind)}
        monkeypatch.setattr(_agreement, "comparisons", lambda: list(one_of_each.values()))

    def test_on_a_device(self):
        rows = check_agreement("array_api_strict:device1")
        assert all(isinstance(row, Agreement) and row.ok and row.deviation <= 1.0 and not row.fault for row in rows)
        kinds = {(kind, dtype) for kind, dtype in TOLERANCES if not rounded(kind)}
        assert {(row.kind, row.dtype) for row in rows} == kinds - {("differences", "float64")}
        assert len(rows) == sum(len(comparison.dtypes) for comparison in _agreement.comparisons())

    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_rows_and_progress_are_the_same_with_threads(self, n_threads):
        chosen = [one for one in _agreement.comparisons() if not one.of_kernels]
        expected = [(one.what, dtype) for dtype in ("float64", "float32") for one in chosen if dtype in one.dtypes]
        calls = []
        rows = check_agreement(
            "array_api_strict", n_threads=n_threads, progress=lambda done, total: calls.append((done, total))
        )
        assert all(row.ok for row in rows)
        assert [(row.what, row.dtype) for row in rows] == expected
        assert calls == [(done, len(rows)) for done in range(1, len(rows) + 1)]

    def test_compiled_code_is_compared_where_there_is_some(self, monkeypatch):
        of_kernels = [comparison for comparison in comparisons() if comparison.of_kernels]
        monkeypatch.setattr(_agreement, "comparisons", lambda: of_kernels)
        rows = check_agreement("cpu", dtypes=["float32"])
        assert [row.what for row in rows] == [comparison.what for comparison in of_kernels] != []
        assert check_agreement("array_api_strict:device1", dtypes=["float32"]) == []

    @pytest.mark.parametrize("registry", [ACTIVATIONS, LOSSES, OPTIMIZERS], ids=["activations", "losses", "optimizers"])
    def test_compiled_code_is_compared_for_every_function(self, registry):
        names = {name for comparison in comparisons() if comparison.of_kernels for name in comparison.what.split(", ")}
        assert set(registry) <= names

    @pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")
    @pytest.mark.parametrize(
        ("name", "function", "other"),
        [
            ("gelu", b"derivative gelu", b"derivative mish"),
            ("quantile", b"loss quantile", b"loss squared"),
            ("rmsprop", b"update rmsprop", b"update adagrad"),
        ],
    )
    def test_compiled_code_that_computes_another_function_is_found(self, name, function, other, monkeypatch):
        """Only by fits: the rows of a single function are of array calls, compiled or not."""
        monkeypatch.setattr(_agreement, "comparisons", lambda: [c for c in comparisons() if name in c.what])
        find = structures.Functions.find

        def found(functions):
            return lambda requested: find.__get__(functions)(other if requested == function else requested)

        monkeypatch.setattr(structures.Functions, "find", property(found))
        failed = {row.what for row in check_agreement("cpu", dtypes=["float64"]) if not row.ok}
        assert failed
        assert failed <= {comparison.what for comparison in comparisons() if comparison.of_kernels}

    def test_every_comparison_has_its_own_name(self):
        names = [(comparison.kind, comparison.what) for comparison in comparisons()]
        assert len(set(names)) == len(names)

    def test_the_data_are_the_same_each_time(self):
        for one, again in zip(comparisons(), comparisons(), strict=True):
            for array, same in zip(one.arrays, again.arrays, strict=True):
                np.testing.assert_array_equal(array, same)

    def test_without_float64(self, caplog):
        rows = check_agreement("array_api_strict:no_float64")
        assert {row.dtype for row in rows} == {"float32"}
        assert "has no float64: only float32 is compared" in caplog.text
        with pytest.raises(DataError, match="dtype must be one of float32 on array_api_strict:no_float64"):
            check_agreement("array_api_strict:no_float64", dtypes=["float64"])

    @pytest.mark.parametrize("dtype", ["float16", "int64", "double"])
    def test_an_unknown_precision_raises(self, dtype):
        with pytest.raises(DataError, match="dtype must be one of"):
            check_agreement("cpu", dtypes=[dtype])

    def test_an_unusable_device_raises(self):
        with pytest.raises(DeviceError):
            check_agreement("cuda:99")

    def test_a_device_that_computes_incorrectly_is_found(self, monkeypatch):
        monkeypatch.setattr(_agreement, "comparisons", lambda: [c for c in comparisons() if not rounded(c.kind)])
        right = equations.dE_dy_below
        monkeypatch.setattr(
            equations,
            "dE_dy_below",
            lambda xp, *arrays, **options: right(xp, *arrays, **options) * (1.001 if xp is array_api_strict else 1.0),
        )
        rows = check_agreement("array_api_strict:device1", dtypes=["float32"])
        faults = {row.kind: row for row in rows if not row.ok}
        assert set(faults) == {"gradient", "steps", "fit"}
        assert all(row.deviation > 1.0 and "times the tolerance" in row.fault for row in faults.values())
        assert all(row.ok for row in rows if row.kind in ("elementwise", "forward"))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda xp, x: xp.asarray(x, dtype=xp.float64), "dtype is float64, expected float32"),
            (lambda xp, x: xp.sum(x, axis=0), "shape is"),
            (lambda xp, x: np.ones(x.shape, "float32"), "namespace is numpy"),
            (lambda xp, x: array_api_strict.ones(x.shape, dtype=array_api_strict.float32), "device is .*CPU_DEVICE"),
        ],
    )
    def test_a_result_of_the_wrong_form_is_found(self, wrong, message):
        comparison = next(comparison for comparison in comparisons() if comparison.what == "eq. (2) logistic")
        broken = comparison._replace(
            compute=lambda to, x: wrong(to.xp, x) if to.xp is array_api_strict else equations.logistic(to.xp, x)
        )
        agreement = compare(broken, choose_backend("array_api_strict:device1"), "float32")
        assert not agreement.ok
        assert agreement.deviation == math.inf
        assert re.search(message, agreement.fault)

    def test_another_way_to_compute_what_is_expected(self):
        comparison = comparisons()[0]
        device = choose_backend("array_api_strict:device1")
        expected = comparison.compute
        assert compare(comparison._replace(expected=expected), device, "float64").ok
        doubled = comparison._replace(compute=lambda *arguments: 2.0 * expected(*arguments), expected=expected)
        assert not compare(doubled, device, "float64").ok

    def test_a_computation_that_raises_disagrees(self):
        comparison = comparisons()[0]

        def writing(to, y_below, w):
            y_below += 1.0
            return y_below

        row = compare(comparison._replace(compute=writing), choose_backend("cpu"), "float64")
        assert not row.ok
        assert row.deviation == math.inf
        assert re.search("ValueError: .*read-only", row.fault)


class TestThreads:
    @pytest.fixture
    def waiting(self, monkeypatch):
        """Rows that say when they begin: the first ones meet, all others would follow after a tenth of a second."""
        begun, together = [], threading.Barrier(2)

        def compute(backend, x):
            begun.append(threading.get_ident())
            if backend.is_numpy:  # of the reference
                return x
            if len(begun) <= 2:
                together.wait(timeout=60.0)
            time.sleep(0.1)
            return x

        rows = [Comparison("elementwise", f"row {k}", compute, (np.zeros(1),), ("float32",)) for k in range(20)]
        monkeypatch.setattr(_agreement, "comparisons", lambda: rows)
        return begun

    def test_several_compute_at_once(self, waiting):
        rows = check_agreement("array_api_strict", n_threads=2)
        assert [row.fault for row in rows] == [""] * 20  # of a barrier that nobody else has come to
        assert len(set(waiting)) == 2

    @pytest.mark.parametrize("function", [interrupt, interrupt_call(2)], ids=["first", "second"])
    def test_ctrl_c_ends_all(self, waiting, function):
        with pytest.raises(KeyboardInterrupt):
            check_agreement("array_api_strict", n_threads=2, progress=function)
        n_begun = len(waiting)
        assert n_begun < 20
        time.sleep(0.3)
        assert len(waiting) == n_begun

    def test_an_error_ends_all(self, waiting, monkeypatch):
        monkeypatch.setattr(_agreement, "to_numpy", fails := Mock(side_effect=DeviceError("lost")))
        with pytest.raises(DeviceError, match="lost"):
            check_agreement("array_api_strict", n_threads=2)
        assert 0 < fails.call_count < 20


@pytest.mark.slow
@pytest.mark.skipif(probe_cuda().usable, reason="here is a usable GPU")
def test_a_run_that_requires_a_gpu_fails_without_one():
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "cupy and eq_8"]
    command += [str(tests / "nn" / "test_equations.py"), "--rootdir", str(tests.parent)]
    skipped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert skipped.returncode == 0
    assert "no usable GPU" in skipped.stdout
    required = subprocess.run([*command, "--require-cuda"], capture_output=True, text=True, check=False)
    assert required.returncode == 1
    assert "cannot be used" in required.stdout
