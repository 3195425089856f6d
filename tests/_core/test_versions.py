"""Versions of the packages that are installed, as reports list them."""

import importlib.metadata
from types import SimpleNamespace

import gpubp
from gpubp._core.versions import installed_versions
from gpubp.paper.report.results import new_results
from gpubp.reports import versions


def test_the_wheels_of_cupy_are_named(monkeypatch):
    installed = {"NumPy": "2.0", "cupy-cuda13x": "14.0", "cupy-tools": "1.0", None: "0.0", "scipy": "1.17"}
    distributions = [SimpleNamespace(metadata={"Name": name}, version=one) for name, one in installed.items()]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: distributions)
    found = installed_versions("scipy", "cupy", "absent")
    assert found.pop("gpubp") == gpubp.__version__
    assert list(found) == ["Python", "scipy", "cupy-cuda13x"]
    assert versions("cupy")["cupy-cuda13x"] == new_results("", [], "cpu")["versions"]["cupy-cuda13x"] == "14.0"
    assert "cupy-cuda13x" not in installed_versions("scipy")
