"""Other code computes the same with gpubp's estimators as with scikit-learn's: ``nox -s tests_clients``.

A client that needs a missing library is skipped; with ``--require-clients`` it fails. These libraries are left out:

- They do not install beside current versions: aeon 1.6 (needs a numba that needs NumPy before 2.4), alibi 0.9 (NumPy
  before 2.0), pycaret 3.3 (NumPy before 1.27).
- They fail with scikit-learn's estimators, too: deslib 0.3 calls a method that scikit-learn 1.7 removed.
- Their wheels install a package ``tests`` that hides this folder: PyALE 1.2, probatus 3.1.
- They install PyTorch: modAL-python 0.4, netcal 1.4.
"""

import importlib.metadata
import inspect
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gpubp
from tests.clients import (  # noqa: F401 - each adds to CLIENTS
    calibration,
    explanations,
    forecasts,
    meta_estimators,
    scikit_learn_tools,
    searches,
    tables_and_files,
)
from tests.clients.comparison import CLIENTS, differences

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_same_numbers_as_with_scikit_learn(client, request, monkeypatch):
    try:
        importlib.metadata.version(client.distribution)
    except importlib.metadata.PackageNotFoundError:
        missing = pytest.fail if request.config.getoption("--require-clients") else pytest.skip
        missing(f"{client.distribution} is not installed")
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    client.check()


def test_each_library_of_the_group_has_a_client():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["clients"]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in group}
    assert names - {"onnxruntime", "setuptools"} == {client.distribution for client in CLIENTS}


def test_each_difference_is_documented():
    pages = [*map(inspect.getdoc, (gpubp.MLPClassifier, gpubp.MLPRegressor))]
    pages.append((ROOT / "docs" / "search.md").read_text(encoding="utf-8"))
    documentation = " ".join(" ".join(pages).split())
    assert [client.name for client in CLIENTS if client.difference not in documentation] == []


@pytest.mark.parametrize(
    ("gpubp_result", "sklearn_result"),
    [
        (1.001, 1.0),
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([np.inf, 2.0], [-np.inf, 2.0]),
        ([1.0], [1.0, 2.0]),
        (np.ones((2, 1)), np.ones(2)),
        (np.ones(2), np.ones(2, dtype=int)),
        (np.array(["a"]), np.array(["b"])),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1.0, {"b": 3.0}]}),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [2.0]})),
    ],
)
def test_differences_are_found(gpubp_result, sklearn_result):
    assert list(differences(gpubp_result, sklearn_result, 1e-6)) != []
    assert list(differences(sklearn_result, sklearn_result, 1e-6)) == []
