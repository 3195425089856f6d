"""Run tests in a fork of this process, which has imported the libraries; limit the CPU time of each."""

import importlib
import importlib.util
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):
    import resource  # Windows has none, nor forks: there mutations are only read

FOLDERS = ("nn", "optim", "engine")
CHOICE = "not jax and not torch"  # slow to begin, and the same equations
OPTIONS = ["-x", "-q", "-k", CHOICE, "-p", "no:cacheprovider", "--tb", "no"]
LIBRARIES = (
    "array_api_compat.numpy",
    "array_api_strict",
    "hypothesis.extra.numpy",
    "jax",
    "mpmath",
    "pandas",
    "scipy.linalg",
    "scipy.sparse",
    "sklearn.base",
)
# a fault may end in an endless loop, or in a wait; wall time is far more, since others may keep the machine busy
LEAST_SECONDS, TIMES_AS_LONG, WALL = 60, 10, 20
OURS = ("tests", "gpubp")


def import_libraries():
    """Import what most tests import, for all forks to come."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in LIBRARIES:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)


def run(copy, files, kept=None, usual=None, record=None):
    """Run tests of a copy of the project; return what failed, or None.

    Parameters
    ----------
    copy : Path
    files : list of str
    kept : function, optional
        Of a test's name: whether to run it.
    usual : dict, optional
        The seconds that a test takes, by its name; the quickest run first.
    record : Path, optional
        Where to write the seconds of each test, and for each line the numbers of the tests that execute it.
    """
    last = copy / ".last_test"
    last.write_text("the start of pytest")
    if not (child := os.fork()):
        os._exit(_run(copy, files, _Tests(last, kept, usual or {}), record))
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test has left running
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        what = "no end" if number in (signal.SIGXCPU, signal.SIGALRM) else f"ends with {number.name}"
        return f"{last.read_text()}: {what}"
    if os.WEXITSTATUS(status) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return None
    return last.read_text()


def _run(copy, files, plugin, record):
    os.setsid()
    os.chdir(copy)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(0.0)
    root = Path(__file__).parents[2]
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() != root)]
    os.environ["PYTHONPATH"] = str(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    output = os.open(copy / ".output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        plugins = [plugin] if record is None else [plugin, _Recorder(copy, record)]
        return pytest.main([*OPTIONS, "--basetemp", str(copy / ".temporary"), *files], plugins)
    except BaseException as error:
        plugin.last.write_text(repr(error)[:200])
        return pytest.ExitCode.INTERNAL_ERROR


def _cpu_seconds():
    return sum(os.times()[:4])  # and those of processes that have ended


def _limit(usual):
    """Limit what comes next to many times its usual seconds; a signal ends the process."""
    seconds = LEAST_SECONDS + TIMES_AS_LONG * usual
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds), resource.RLIM_INFINITY))
    signal.alarm(int(WALL * seconds))


class _Tests:
    """Choose and order the tests, limit each, and note in a file which one runs or fails."""

    def __init__(self, last, kept, usual):
        self.last, self.kept, self.usual = last, kept, usual

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        # kernels are compiled once, since their files are known by their texts
        from tests import emulated_cuda

        kernels = self.last.parents[1] / "kernels"
        kernels.mkdir(exist_ok=True)
        emulated_cuda.folder = lambda: kernels
        if self.kept is not None:
            items[:] = [item for item in items if self.kept(item.nodeid)]
        # in classes of 0.1, 1, 10, ... seconds, so that most tests of a module stay together
        items.sort(key=lambda item: len(str(int(10 * self.usual.get(item.nodeid, 0)))))

    def pytest_runtest_logstart(self, nodeid):
        self.last.write_text(nodeid)
        _limit(self.usual.get(nodeid, LEAST_SECONDS))

    def pytest_collectreport(self, report):
        if report.failed:
            self.last.write_text(report.nodeid)


class _Recorder:
    """Record the seconds of each test, and which tests execute each line."""

    def __init__(self, copy, output):
        from coverage import Coverage

        self.copy, self.output, self.seconds = copy, output, {}
        folders = [str(copy / "gpubp" / name) for name in FOLDERS]
        self.coverage = Coverage(data_file=None, source=folders, config_file=False)
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.coverage.switch_context(item.nodeid)
        start = _cpu_seconds()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = _cpu_seconds() - start
            self.coverage.switch_context("")

    def pytest_sessionfinish(self):
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        numbers = {test: number for number, test in enumerate(self.seconds)}
        for file in data.measured_files():
            path = Path(file).relative_to(self.copy).as_posix()
            for line, tests in data.contexts_by_lineno(file).items():
                lines[f"{path}:{line}"] = [numbers[test] for test in tests if test]
        self.output.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))
