"""``python -m gpubp.accel``: programs that use scikit-learn's networks run unchanged, with the same results."""

import json
import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

import gpubp
import gpubp.accel
import gpubp.accel.__main__
from gpubp.accel.__main__ import main
from gpubp.engine import cpu

SCRIPTS = Path(__file__).parent / "scripts"
INSTALLED = Path(gpubp.__file__).parents[1]


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """As after the end of a process."""
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(gpubp.accel.__main__, "atexit", SimpleNamespace(register=lambda report: None))
    monkeypatch.syspath_prepend("")  # not by setattr: a later syspath_prepend would bring it back
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*iprint.*", DeprecationWarning)  # of an older scikit-learn's
        warnings.filterwarnings("ignore", ".*warning is set to.*|.*converge", category=UserWarning)
        yield
    gpubp.accel.uninstall()


def result_of(printed):
    return json.loads(printed.splitlines()[-1])


def flat(result):
    return np.concatenate([np.ravel(values) for values in result.values() if values and not isinstance(values[0], str)])


@pytest.mark.once
@pytest.mark.parametrize("name", ["digit_filters", "penalties", "learning_curves"])
def test_a_script_as_in_the_gallery_of_scikit_learn(name, capsys):
    pytest.importorskip("matplotlib")
    script = str(SCRIPTS / f"{name}.py")
    runpy.run_path(script, run_name="__main__")
    expected = capsys.readouterr().out
    main([script])
    printed = capsys.readouterr().out
    assert [line.split("=")[0] for line in printed.splitlines()[:-1]] == [
        line.split("=")[0] for line in expected.splitlines()[:-1]
    ]
    tolerance = 1e-2 if name == "penalties" else 1e-6  # many iterations of L-BFGS amplify rounding
    np.testing.assert_allclose(flat(result_of(printed)), flat(result_of(expected)), rtol=tolerance)
    where = "cpu" if name != "penalties" or cpu.is_wanted() else 'its own "lbfgs" is faster than .*'
    assert re.search(rf"MLPClassifier\.fit +\d+ +[\d.]+ +{where}\n", gpubp.accel.report())


def run(*arguments, check=True):
    """Run the command in a process of its own, which finds the gpubp that is tested."""
    path = os.pathsep.join([str(INSTALLED), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "gpubp.accel", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.once
def test_worker_processes_are_accelerated_too(capsys, monkeypatch):
    script = str(SCRIPTS / "workers.py")
    monkeypatch.setattr(sys, "argv", [script, "1"])
    runpy.run_path(script, run_name="__main__")
    done = run("--device", "cpu", "--compare", script, "2")
    assert json.loads(done.stdout) == json.loads(capsys.readouterr().out)
    assert json.loads(done.stdout)["best"] == "sklearn.neural_network._multilayer_perceptron"
    fits, elsewhere = (
        int(re.search(pattern, done.stderr)[1]) for pattern in (r"MLPClassifier\.fit +(\d+) ", r"(\d+) of the calls")
    )
    assert (fits, elsewhere) == (7, 6)  # the last fit of the search is in the main process
    assert re.search(r"time (saved|lost): ", done.stderr)


def test_a_program_sees_its_own_arguments_and_folder(tmp_path):
    (tmp_path / "beside.py").write_text("value = 3\n")
    (tmp_path / "script.py").write_text(
        "import sys, beside\nprint(sys.argv[1:], beside.value, __name__, __file__)\nsys.exit(4)\n"
    )
    script = str(tmp_path / "script.py")
    done = run("--device", "cpu", script, "--device", "cuda", "-m", check=False)
    assert done.returncode == 4
    assert done.stdout == f"['--device', 'cuda', '-m'] 3 __main__ {script}\n"
    assert done.stderr == "gpubp.accel: no MLPClassifier or MLPRegressor of scikit-learn was fitted\n"


def test_a_module_runs_and_the_report_can_be_left_out(tmp_path, capsys, monkeypatch):
    (tmp_path / "package_to_run").mkdir()
    for path in ("module_to_run.py", "package_to_run/__init__.py", "package_to_run/__main__.py"):
        text = "import sys\nprint(sys.argv, __package__)\n" if "__init__" not in path else ""
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name, path, package in (("module_to_run", "", ""), ("package_to_run", "/__main__", "package_to_run")):
        main(["--quiet", "-m", name, "--compare"])
        assert capsys.readouterr() == (f"{[f'{tmp_path}/{name}{path}.py', '--compare']} {package}\n", "")
    with pytest.raises(SystemExit):
        main(["--quiet", "-m", "no_such_module"])
    assert "there is no module no_such_module to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a script, or -m and a module"),
        (["absent.py"], "there is no file absent.py"),
        (["--device", "no_such", __file__], "no_such"),
        (["--devic", "cpu", __file__], "unrecognized arguments|there is no file"),
    ],
)
def test_misuse(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.once
@pytest.mark.slow
def test_the_tests_of_scikit_learn_pass():
    """Its whole module of tests of these estimators, unchanged."""
    pytest.importorskip("sklearn.neural_network.tests.test_mlp")
    module = "sklearn.neural_network.tests.test_mlp"
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--pyargs", module, check=False)
    passed = re.search(r"^(\d+) passed", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(passed[1]) >= 50
    left = done.stderr.partition("left to scikit-learn")[2]
    reasons = {reason for _, reason in re.findall(r"^ {4}(\S+) +\d+ +[\d.]+ +(.*)", left, flags=re.MULTILINE)}
    assert len(reasons) == (1 if cpu.is_wanted() else 2), reasons  # regression of several numbers, and "lbfgs"


FAILS = "import os\nos.chdir('/')\ndef fail():\n    raise KeyError(__file__)\n\nfail()\n"


def test_a_failed_program_has_the_traceback_of_python(tmp_path, capsys, monkeypatch):
    """Also one that has left the folder from which it was started."""
    (tmp_path / "fails.py").write_text(FAILS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["fails.py"])
    err, path = capsys.readouterr().err, str(tmp_path / "fails.py")
    assert re.findall(r'File "(.*)", line (\d+)', err) == [(path, "6"), (path, "4")]
    assert err.count("fail()\n") == 1
    assert err.endswith(f"KeyError: {path!r}\n")


OUTLIVED = """
import atexit, pickle, threading, time
from sklearn.neural_network import MLPRegressor

class Own(MLPRegressor):
    pass

def fit():
    return pickle.loads(pickle.dumps(Own(max_iter=1).partial_fit([[0.0], [1.0]], [0.0, 1.0])))

atexit.register(lambda: print("registered", fit().n_iter_))
threading.Thread(target=lambda: [time.sleep(0.1), print("thread", fit().n_iter_)]).start()
raise KeyError("the end")
"""


@pytest.mark.parametrize("way", ["script", "module"])
def test_what_outlives_a_program_finds_its_classes_and_is_in_the_report(tmp_path, monkeypatch, way):
    (tmp_path / "outlived.py").write_text(OUTLIVED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = ["-m", "outlived"] if way == "module" else [str(tmp_path / "outlived.py")]
    done = run("--device", "cpu", *program, check=False)
    assert (done.returncode, done.stdout) == (1, "thread 1\nregistered 1\n")
    assert re.search(r"KeyError: 'the end'\ngpubp.accel\n.*\n +Own\.partial_fit +2 ", done.stderr)
