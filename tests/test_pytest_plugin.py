"""The plugin for pytest, in projects of a few lines."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp import pytest_plugin
from gpubp.backends.libraries import LIBRARIES, Library, _open
from gpubp.backends.probe import probe_cuda
from gpubp.testing import assert_functions_agree

pytest_plugins = "pytester"
pytestmark = pytest.mark.once

STRICT, STRICT_1 = "array_api_strict", "array_api_strict:device1"
OWN = """
import array_api_compat
import numpy as np

def softsign(x):
    xp = array_api_compat.array_namespace(x)
    return x / (1 + xp.abs(x)) + ERROR * (xp is not array_api_compat.numpy)

X = np.linspace(-5.0, 5.0, 100)
"""


@pytest.fixture(scope="module")
def _libraries_loaded():
    """Import all that is used, since pytester forgets what is imported in its runs, and NumPy refuses a second time."""
    assert_functions_agree(np.square, np.square, [1.0], kind="elementwise")
    xp = pytest.importorskip(STRICT)
    assert_functions_agree(xp.square, xp.square, [1.0], kind="forward", device=STRICT, expected_device=STRICT_1)


@pytest.fixture
def run(_libraries_loaded, pytester, monkeypatch):
    """Run pytest with the plugin on a project's only test file."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in {*LIBRARIES} - {"cpu", STRICT}:  # other libraries cannot be imported twice in one process
        monkeypatch.delitem(LIBRARIES, name)
    opened = Library("absent", owns=lambda array: False, open=lambda text: _open("absent_library", text))
    monkeypatch.setitem(LIBRARIES, "absent", opened)

    def run(test, *options, error="0.0"):
        pytester.makepyfile(OWN.replace("ERROR", error) + test)
        return pytester.runpytest_inprocess("-p", "gpubp.pytest_plugin", "-rA", "--strict-markers", *options)

    return run


AGREES = "def test_it(agreement): agreement(softsign, X)"


def outcomes(result):
    """Each test's outcome."""
    lines = [line.split(" ") for line in result.outlines if line.startswith(("PASSED ", "FAILED ", "ERROR "))]
    return {words[1].partition("::")[2]: words[0] for words in lines}


def test_by_default_each_library_that_can_be_used(run):
    result = run(AGREES)
    result.assert_outcomes(passed=1, skipped=1)
    assert outcomes(result) == {f"test_it[{STRICT}]": "PASSED"}
    result.stdout.fnmatch_lines(["SKIPPED * device='absent' cannot be used (ModuleNotFoundError: *"])


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        (["--gpubp-device", STRICT_1], [STRICT_1]),
        ([f"--gpubp-device={STRICT_1}", f"--gpubp-device={STRICT}"], [STRICT_1, STRICT]),
        ([f"--gpubp-device={STRICT_1}, {STRICT},{STRICT_1},"], [STRICT_1, STRICT]),
        (["--gpubp-device", "cpu"], ["cpu"]),
    ],
)
def test_requested_devices(run, options, devices):
    assert outcomes(run(AGREES, *options)) == {f"test_it[{device}]": "PASSED" for device in devices}


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("absent", "device='absent' cannot be used (ModuleNotFoundError: *). To fix it: install absent*"),
        ("strict", "unknown device 'strict'*; known: *"),
    ],
)
def test_a_requested_device_that_is_missing_fails(run, device, message):
    result = run(AGREES, "--gpubp-device", f"{device},cpu")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([message])
    assert result.ret == 1


def test_a_function_that_disagrees_fails_where_it_does(run):
    result = run(AGREES, "--gpubp-device", f"{STRICT},cpu", error="1e-3")
    assert outcomes(result) == {f"test_it[{STRICT}]": "FAILED", "test_it[cpu]": "PASSED"}
    message = "E * gpubp.errors.AgreementError: elementwise: * times the tolerance at *: got *; the table's row for *"
    result.stdout.fnmatch_lines([">*agreement(softsign, X)", message])
    assert "assert_functions_agree" not in result.stdout.str()  # only lines of the project are shown


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        ("agreement(softsign, X, expected=lambda x: x / (1 + abs(x)))", "PASSED"),
        ("agreement(softsign, X, expected=lambda x: x / (2 + abs(x)))", "FAILED"),
        ("agreement(softsign, X, against='array_api_strict:no_float64')", "PASSED"),  # of two libraries, in float32
        ("agreement(lambda x: (x, softsign(x)), X)", "PASSED"),
        ("agreement(softsign, X, expected=lambda x: (softsign(x), x))", "FAILED"),
        (
            "agreement(lambda x: x * x * 1.00001, X, expected=lambda x: x * x, kind='steps', dtypes=['float32'])",
            "PASSED",
        ),
        ("agreement(lambda x: x * x * 1.00001, X, expected=lambda x: x * x, kind='steps')", "FAILED"),
        ("agreement(softsign, X, kind='elemental')", "FAILED"),
    ],
)
def test_options_of_a_comparison(run, test, outcome):
    result = run(f"def test_it(agreement): {test}", "--gpubp-device", STRICT_1)
    assert outcomes(result) == {f"test_it[{STRICT_1}]": outcome}


def test_a_function_of_one_library_needs_expected(run):
    test = "def own(x):\n    if type(x) is np.ndarray: raise TypeError('no Tensor')\n    return x\n\n"
    result = run(f"{test}def test_it(agreement): agreement(own, X)", "--gpubp-device", STRICT)
    result.stdout.fnmatch_lines(["E *TypeError: no Tensor", "E * of a single library needs expected=*"])
    result = run(f"{test}def test_it(agreement): agreement(own, X, expected=own)", "--gpubp-device", STRICT)
    assert "needs expected=" not in result.stdout.str()


def test_tests_for_some_devices_run_only_there(run):
    test = f"import pytest\n@pytest.mark.gpubp_devices({STRICT!r}, 'absent')\n{AGREES}"
    assert outcomes(run(test)) == {f"test_it[{STRICT}]": "PASSED"}
    assert outcomes(run(test, f"--gpubp-device=cpu,{STRICT_1}")) == {f"test_it[{STRICT_1}]": "PASSED"}
    run(test, "--gpubp-device=cpu").assert_outcomes(skipped=1)


def test_the_device_of_ones_own_assertions(run):
    test = (
        "from gpubp.testing import assert_functions_agree as agree\n"
        "def test_it(gpubp_device): agree(softsign, softsign, X, kind='forward', device=gpubp_device)"
    )
    assert outcomes(run(test)) == {f"test_it[{STRICT}]": "PASSED"}


def test_an_assertion_of_the_function_itself_shows_where_it_is(run):
    result = run("def own(x):\n    assert x is None\n\ndef test_it(agreement): agreement(own, X)", "--gpubp-device=cpu")
    result.stdout.fnmatch_lines([">*assert x is None"])


def test_the_largest_deviations_are_printed(run):
    test = "def test_it(agreement): [agreement(softsign, x, dtypes=['float32']) for x in (X, 2 * X)]"
    lines = run(test, error="1e-7").stdout
    lines.fnmatch_lines(["*agreement: largest deviations*", f"{STRICT}, cpu: elementwise float32 * 0.0* *::test_it*"])


def test_a_project_that_does_not_use_it_imports_nothing(pytester):
    code = (
        "import sys; from gpubp import pytest_plugin; print([name for name in sys.modules if name.startswith('gpubp')])"
    )
    code += "; print([name for name in ('numpy', 'array_api_compat', 'torch', 'cupy') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(gpubp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    modules, heavy = (json.loads(line.replace("'", '"')) for line in done.stdout.splitlines())
    assert heavy == []
    assert set(modules) == {"gpubp", "gpubp._core", "gpubp._core.public_names", "gpubp._version", "gpubp.pytest_plugin"}


def test_pytest_finds_it():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["pytest11"].items()
    assert EntryPoint(name, value, "pytest11").load() is pytest_plugin


@pytest.mark.slow
def test_the_example_of_the_page_about_agreement_runs(pytester, monkeypatch):
    """In a process of its own, with torch where it is installed."""
    page = (Path(__file__).parents[1] / "docs" / "agreement.md").read_text(encoding="utf-8")
    pytester.makepyfile(re.search(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[1])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(gpubp.__file__).parents[1]))
    result = pytester.runpytest_subprocess("-p", "gpubp.pytest_plugin", "-rA")
    assert result.ret == 0
    found = outcomes(result)
    assert set(found.values()) == {"PASSED"}
    assert f"test_softsign[{STRICT}]" in found
    if importlib.util.find_spec("torch"):
        assert {"test_softsign[torch]", "test_silu_of_torch[torch]"} <= set(found)
    if probe_cuda().usable:
        assert {"test_softsign[cuda]", "test_silu_of_cupy[cuda]"} <= set(found)
