"""Where the tests compute: every array library and device that stands in for a user's."""

import importlib.util
from typing import NamedTuple

import array_api_compat
import numpy as np
import pytest
from hypothesis import settings

from gpubp.backend import Backend, choose_backend
from gpubp.probe import probe_cuda

settings.register_profile("gpubp", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("gpubp")

PLACES = {
    "numpy": "cpu",
    "numpy-read-only": "cpu",  # who writes to an input raises
    # stand-ins for a GPU: mixing their devices raises, and so does handing their arrays to NumPy
    "strict-cpu": "array_api_strict:CPU_DEVICE",
    "strict-device1": "array_api_strict:device1",
    "strict-no-float64": "array_api_strict:no_float64",
    "torch": "torch:cpu",
    "cupy": "cuda",
}


class Place(NamedTuple):
    """An array library on one of its devices."""

    name: str  # as in PLACES
    backend: Backend

    @property
    def xp(self):
        return self.backend.xp

    @property
    def device(self):
        return array_api_compat.device(self.asarray(0.0, "float32"))

    def asarray(self, array, dtype=None):
        """Copy an array of NumPy to this place, rounded to ``dtype``."""
        host = np.array(array, dtype=dtype)
        if self.name == "numpy-read-only":
            host.flags.writeable = False
        return self.xp.asarray(host, device=self.backend.device)


def pytest_addoption(parser):
    parser.addoption("--require-cuda", action="store_true", help="fail, rather than skip, where there is no usable GPU")


def pytest_collection_modifyitems(config, items):
    missing = {}
    if importlib.util.find_spec("torch") is None:
        missing["torch"] = "torch is not installed"
    if not (probe := probe_cuda()).usable and not config.getoption("--require-cuda"):
        missing["cupy"] = f"no usable GPU: {probe.cause}; to mend it: {probe.mend}"
    for item in items:
        name = item.callspec.params.get("place") if hasattr(item, "callspec") else None
        if name in missing:
            item.add_marker(pytest.mark.skip(reason=missing[name]))
    items[:] = [item for item in items if not _asks_for_what_is_not(item)]


def _asks_for_what_is_not(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return (params.get("place"), params.get("dtype")) == ("strict-no-float64", "float64")


@pytest.fixture(scope="session", params=PLACES)
def place(request):
    """Each array library and device in turn; without a GPU the last one raises, if it is not skipped."""
    return Place(request.param, choose_backend(PLACES[request.param]))


@pytest.fixture(scope="session", params=["float64", "float32"])
def dtype(request):
    """Each precision; with ``place``, each one that it has."""
    return request.param


def pytest_terminal_summary(terminalreporter):
    """Print the largest deviation of each kind from NumPy, so that the slack of the tolerances shows."""
    largest = {}
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for name, (row, deviation, what) in report.user_properties:
            if name == "agreement":
                largest[row] = max(largest.get(row, (0.0, "")), (deviation, what))
    if largest:
        terminalreporter.section("largest deviations from NumPy, in parts of the tolerance")
        for row, (deviation, what) in sorted(largest.items()):
            if deviation > 0:
                terminalreporter.line(f"{row:40s} {deviation:8.2g}  {what}")
        terminalreporter.line(f"none at all in {sum(deviation == 0 for deviation, _ in largest.values())} other rows")
