"""``gpubp agree``: the table, the rows that fail, the file and the exit code."""

import json
import math
from dataclasses import replace

import pytest

from gpubp.backends.backend import choose_backend
from gpubp.cli import agree
from gpubp.testing import Agreement, _agreement, check_agreement, comparisons, left_out

pytestmark = pytest.mark.once

ROWS = [
    Agreement("forward", "a", "float32", 0.25, True, ""),
    Agreement("forward", "b", "float32", 2.0, False, "fault of b"),
    Agreement("gradient", "c", "float32", math.inf, False, "fault of c"),
]


def test_all_rows_that_fail_are_printed_and_written(run, monkeypatch, tmp_path):
    monkeypatch.setattr(agree, "check_agreement", lambda *args, **kwargs: ROWS)
    code, out, err = run("agree", "--device", "cpu", "--json", "rows.json")
    assert (code, err) == (1, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["forward", "float32", "b", "2.0000", "2", "1"] in lines
    assert ["gradient", "float32", "c", "inf", "1", "1"] in lines
    assert "b in float32: fault of b" in out
    assert "c in float32: fault of c" in out
    assert out.splitlines()[-1] == "1 of 3 agree"
    written = json.loads((tmp_path / "rows.json").read_text())
    assert [row["what"] for row in written["rows"]] == ["a", "b", "c"]
    assert written["rows"][2]["deviation"] is None


def test_devices_that_agree_end_with_0(run, monkeypatch):
    monkeypatch.setattr(agree, "check_agreement", lambda *args, **kwargs: ROWS[:1])
    assert run("agree", "--device", "cpu")[0] == 0


@pytest.mark.parametrize(("compiles", "n_threads"), [(None, 1), (lambda function: function, 3)])
def test_only_a_library_that_compiles_takes_all_cores(run, monkeypatch, compiles, n_threads):
    chosen, calls = choose_backend("array_api_strict"), []
    chosen = chosen._replace(library=replace(chosen.library, compile=compiles))
    monkeypatch.setattr(agree, "choose_backend", lambda device: chosen)
    monkeypatch.setattr(agree, "cores", lambda: 3)
    monkeypatch.setattr(agree, "check_agreement", lambda *args, **options: calls.append(options) or ROWS[:1])
    assert run("agree", "--device", "array_api_strict")[0] == 0
    assert [options["n_threads"] for options in calls] == [n_threads]


def test_float64_that_is_left_out_has_a_reason(run, monkeypatch):
    monkeypatch.setattr(agree, "check_agreement", lambda *args, dtypes, **kwargs: ROWS[:1] * (dtypes == ["float32"]))
    _, out, err = run("agree", "--device", "array_api_strict:no_float64")
    assert "1 of 1 agree" in out
    assert err.count("no_float64 has no float64: only float32 is compared") == 1
    jax = pytest.importorskip("jax")
    assert ("JAX_ENABLE_X64=1" in left_out("jax.numpy")) == (not jax.config.jax_enable_x64)


def test_another_device_is_compared_with(monkeypatch):
    one_of_each = {comparison.kind: comparison for comparison in comparisons()}
    monkeypatch.setattr(_agreement, "comparisons", lambda: list(one_of_each.values()))
    calls = []
    rows = check_agreement(
        "cpu", against="array_api_strict", dtypes=["float32"], progress=lambda done, total: calls.append((done, total))
    )
    assert all(row.ok for row in rows)
    assert calls[-1] == (len(rows), len(rows))
