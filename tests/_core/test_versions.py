"""Versions of the packages that are installed, as reports list them."""

import numpy as np

import gpubp
from gpubp._core.versions import installed_versions
from gpubp.paper.report.results import new_results
from gpubp.reports import versions


def test_packages_that_are_not_installed_are_left_out():
    found = installed_versions("numpy", "absent")
    assert list(found) == ["gpubp", "Python", "numpy"]
    assert (found["gpubp"], found["numpy"]) == (gpubp.__version__, np.__version__)


def test_the_wheels_of_cupy_are_named(monkeypatch, tmp_path):
    for name in ("CuPy_CUDA13x", "cupy-tools"):
        folder = tmp_path / f"{name.replace('-', '_')}-14.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for found in (versions(), new_results("", [], "cpu")["versions"]):
        assert {name: one for name, one in found.items() if "cupy" in name} == {"cupy-cuda13x": "14.0"}
