"""A plugin of pytest for ``benchmarks.gpu``: runs a share of the tests that need a GPU, and notes failures at once."""

import json
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--share", default="0/1/cuda", help="which share / of how many / of the tests on which device")
    parser.addoption("--outcomes", type=Path, help="the file for a line of JSON after each test")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    at, n, device = config.getoption("--share").split("/")
    kept = [item for item in items if any(mark.args[0] == device for mark in item.iter_markers("on"))]
    kept.sort(key=lambda item: "/engine/" not in item.nodeid)  # the most telling first
    items[:] = kept[int(at) :: int(n)]


class Outcomes:
    """Writes the outcome of each test as soon as it is known."""

    def __init__(self, path):
        self.file = path.open("w", buffering=1)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            why = str(report.longrepr).strip().splitlines()[-1][:300] if report.failed else ""
            self.file.write(json.dumps([report.nodeid, report.outcome, why]) + "\n")


def pytest_configure(config):
    if path := config.getoption("--outcomes"):
        config.pluginmanager.register(Outcomes(path))
