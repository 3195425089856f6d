"""The architecture: imports only go to lower levels (docs/architecture.md); names are unique; the import is cheap."""

import ast
import math
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import gpubp
import gpubp.data
import gpubp.estimators
from tests.registries import assert_same_names

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gpubp"
TABLE = ROOT / "docs" / "architecture.md"

# --- reading ---


def levels_in(text):
    """Read the level of each package or file, from rows such as ``| 3 | `nn/`, `errors.py` | ... |``."""
    levels = {}
    for level, packages in re.findall(r"^\|\s*(\d+(?:\.\d+)?)\s*\|([^|]*)\|", text, flags=re.MULTILINE):
        for package in re.findall(r"`([^`]+)`", packages):
            assert package not in levels, f"{package} has two rows in the table"
            levels[package] = float(level)
    return levels


def modules_in(package):
    """Every file of a package, by the name that it is imported under."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(name, path, modules):
    """The modules of the same package that a file imports, anywhere in it, with the line of each."""
    root = name.partition(".")[0]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def note(target, line):
        while target and target not in modules:  # a name within a module
            target = target.rpartition(".")[0]
        if target and target.partition(".")[0] == root:
            found.append((target, line))

    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                note(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                note(f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    note(argument.value, node.lineno)
    return found


def private_imports(package):
    """List every import of a private module, whose name begins with an underscore, from outside its package."""
    modules, found = modules_in(package), []
    for name, path in modules.items():
        for target, line in imports_of(name, path, modules):
            parts = target.split(".")
            for at, part in enumerate(parts):
                if part.startswith("_") and not f"{name}.".startswith(".".join(parts[:at]) + "."):
                    found.append(f"{path.relative_to(package).as_posix()}:{line} imports {target}")
    return found


def package_of(name, modules, package, levels):
    """Find a module's entry in the table: its own, or that of the innermost listed folder that it is in."""
    inside = modules[name].relative_to(package)
    folders = [f"{folder.as_posix()}/" for folder in inside.parents][:-1]
    listed = [row for row in (inside.as_posix(), *folders) if row in levels]
    return listed[0] if listed else (folders[-1] if folders else inside.as_posix())


def faults_of(package, levels):
    """List every package without a level, every import that does not go to a lower level, and every cycle."""
    modules, faults = modules_in(package), []
    packages = {name: package_of(name, modules, package, levels) for name in modules}
    # __init__.py, the list of public names, is just above the highest package that it lists
    listed = [levels.get(packages[target], 0) for target, _ in imports_of(package.name, modules[package.name], modules)]
    levels = {**levels, "__init__.py": max(listed, default=0) + 0.5}
    split = {row for row in packages.values() if any(listed.startswith(row) and listed != row for listed in levels)}
    for entry in sorted(set(packages.values()) - set(levels) - split):
        faults.append(f"{entry} has no level in the table")
    graph = {}
    for name, path in modules.items():
        imported = imports_of(name, path, modules)
        graph[name] = {target for target, _ in imported if target != name}
        for target, line in imported:
            place, target_place = packages[name], packages[target]
            if place != target_place and levels.get(target_place, 0) >= levels.get(place, math.inf):
                file = path.relative_to(package).as_posix()
                faults.append(f"{file}:{line} imports {target_place}, which is not below {place}")
    return faults + [f"circle: {' -> '.join(circle)}" for circle in cycles_in(graph)]


def cycles_in(graph):
    """Find one cycle for each import that closes one."""
    found, done = [], set()

    def walk(name, path):
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for target in sorted(graph[name]):
                walk(target, [*path, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return found


# --- gpubp ---


def test_imports_go_to_lower_levels_without_cycles():
    assert faults_of(PACKAGE, levels_in(TABLE.read_text(encoding="utf-8"))) == []


def test_table_names_only_what_exists():
    missing = [entry for entry in levels_in(TABLE.read_text(encoding="utf-8")) if not (PACKAGE / entry).exists()]
    assert missing == []


def test_no_module_has_a_vague_name():
    for path in PACKAGE.rglob("*"):
        assert not re.search(r"^_*(utils?|helpers?|common|misc)$", path.stem), path.relative_to(ROOT)


def test_a_class_name_is_used_once():
    found = Counter()
    for path in PACKAGE.rglob("*.py"):
        if "engine/cpu" not in path.as_posix():
            found.update(
                {
                    node.name
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.ClassDef)
                }
            )
    assert {name for name, times in found.items() if times > 1} == set()


def test_both_engines_use_the_same_module_names():
    names = [{path.name for path in (PACKAGE / "engine" / device).glob("*.py")} for device in ("cpu", "cuda")]
    assert set.intersection(*names) >= {"__init__.py", "epoch.py"}


def test_private_modules_stay_in_their_package():
    """Packages import only public modules of others; ``_core``, ``_typing`` and ``_version`` are for all of gpubp."""
    assert private_imports(PACKAGE) == []


def test_matrix_products_use_matmul():
    """So that a backend can replace it."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.MatMult), f"@ in {path.relative_to(ROOT)}"


# --- can these tests fail? ---

FAKE_LEVELS = {"low.py": 0, "middle.py": 1, "box/": 1, "high.py": 2}


@pytest.fixture
def fake(tmp_path):
    """Build a small package without faults; other files are added or replace its own."""

    def build(**files):
        package = tmp_path / "fake"
        sound = {
            "__init__": "from fake.high import top",
            "low": "import os, numpy\nbottom = 1",
            "middle": "from fake.low import bottom",
            "box__inner": "from ..low import bottom",
            "box__outer": "from . import inner\nfrom .inner import bottom",
            "box____init__": "from fake.box.outer import inner",
            "high": "from fake import middle\nimport fake.box.inner\ndef top():\n    from .low import bottom",
        }
        for name, text in (sound | files).items():
            path = package / f"{name.replace('__', '/', 1) if name.startswith('box') else name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return package

    return build


def test_a_sound_package_has_no_faults(fake):
    assert faults_of(fake(), FAKE_LEVELS) == []


@pytest.mark.parametrize(
    "text",
    [
        "from fake.high import top",
        "from fake import high",
        "import fake.high as h",
        "from .high import top",
        "from . import high",
        "def late():\n    from fake.high import top",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fake.high import top",
        "import importlib\nimportlib.import_module('fake.high')",
        "from fake import *",
        "import fake",
        "from fake.box import inner",  # of its own level
    ],
)
def test_an_import_from_a_level_that_is_not_lower_is_found(fake, text):
    faults = faults_of(fake(middle=text), FAKE_LEVELS)
    line = text.count("\n") + 1
    assert any(fault.startswith(f"middle.py:{line} imports ") for fault in faults)


def test_an_upward_import_from_a_folder_is_found(fake):
    for text in ("from ..high import top", "from .. import high", "from fake.middle import bottom"):
        faults = faults_of(fake(box__inner=text), FAKE_LEVELS)
        assert any(fault.startswith("box/inner.py:1 imports ") for fault in faults)


def test_a_cycle_within_a_package_is_found(fake):
    faults = faults_of(fake(box__inner="from fake.box.outer import inner"), FAKE_LEVELS)
    assert faults == ["circle: fake.box.outer -> fake.box.inner -> fake.box.outer"] or any(
        "fake.box.inner -> fake.box.outer" in fault for fault in faults
    )


def test_a_cycle_of_three_is_found():
    assert cycles_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert cycles_in({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_a_module_without_a_level_is_found(fake):
    assert faults_of(fake(other="x = 1"), FAKE_LEVELS) == ["other.py has no level in the table"]


def test_an_import_of_another_packages_private_module_is_found(fake):
    package = fake(box___hidden="x = 1", box__inner="from ._hidden import x", high="from fake.box import _hidden")
    assert private_imports(package) == ["high.py:1 imports fake.box._hidden"]


def test_levels_are_read_from_rows_of_the_table():
    text = "| level | package | what |\n|---|---|---|\n| 12 | `a.py`, `b/` | text with `c.py` |\n| 0 | `d.py` | x |\n"
    assert levels_in(text) == {"a.py": 12, "b/": 12, "d.py": 0}
    with pytest.raises(AssertionError, match=r"a\.py has two rows"):
        levels_in(text + "| 3 | `a.py` | again |\n")


# --- importing ---


def run(code):
    env = {name: value for name, value in os.environ.items() if name != "GPUBP_COMPILED"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_pulls_in_nothing_heavy():
    heavy = ("numpy", "cupy", "sklearn", "scipy", "array_api_compat", "torch", "pyarrow", "matplotlib", "rich", "typer")
    assert run(f"import sys, gpubp; print([name for name in {heavy} if name in sys.modules])") == "[]"


OF_TABLES = (
    *("gpubp.data.preprocessing", "gpubp.data.readers", "gpubp.data.table", "gpubp.io.onnx", "gpubp.tabular"),
    *("gpubp.inspection", "gpubp.plotting", "gpubp.model_selection", "gpubp.distributed.mpi"),
    *("cupy", "matplotlib", "sqlite3", "torch", "xml"),
)
WITHOUT_SCIKIT_LEARN = (*OF_TABLES, "pandas", "scipy.linalg", "scipy.sparse", "sklearn")
OF_OTHER_FITS = (
    *("gpubp.estimators.ensembles", "gpubp.estimators.regressor", "gpubp.estimators._lbfgs"),
    *("gpubp.estimators._restarts", "sklearn.metrics", "sklearn.model_selection"),
)
NETWORK = "network = gpubp.Network((2, 3, 1)); x, targets = [[0.0, 1.0], [1.0, 0.0]], [[0.0], [1.0]]; "


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (
            "import warnings; warnings.simplefilter('ignore'); from gpubp import MLPClassifier; "
            "model = MLPClassifier((3,), max_iter=2).fit([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1]); "
            "model.predict([[0.0, 1.0]])",
            (*OF_TABLES, *OF_OTHER_FITS),
        ),
        (f"import gpubp; {NETWORK} gpubp.train(network, x, targets, epochs=1, device='cpu')", WITHOUT_SCIKIT_LEARN),
        (
            f"import gpubp; {NETWORK} gpubp.predict(network, gpubp.initial_weights(network, 0), x, device='cpu')",
            (*WITHOUT_SCIKIT_LEARN, "gpubp.training", "gpubp.data"),
        ),
        ("import gpubp; gpubp.load_dataset('xor')", (*WITHOUT_SCIKIT_LEARN, "scipy", "gpubp.training")),
        ("from gpubp import load_model, save_model", (*WITHOUT_SCIKIT_LEARN, "scipy", "gpubp.training")),
    ],
    ids=("fit", "train", "predict", "dataset", "model-file"),
)
def test_modules_that_are_not_used_are_not_loaded(code, unused):
    """So that the first call is fast; what an interpreter loads by itself does not count."""
    code = f"import sys; before = {{*sys.modules}}; {code}; print({{*sys.modules}} & {{*{unused}}} - before)"
    assert run(code) == "set()"


def public_names():
    return [name for names in gpubp._PUBLIC.values() for name in names]


@pytest.mark.slow
def test_public_names_are_those_of_the_modules():
    code = "import gpubp; print([name for name in gpubp.__all__ if not callable(getattr(gpubp, name))])"
    assert run(code) == "[]"


@pytest.mark.slow
def test_public_names_do_not_change_when_all_modules_are_loaded():
    """A module with a public name would replace it as soon as the module is imported."""
    code = (
        "import gpubp, importlib\n"
        "for name in ['training', *gpubp._PUBLIC]: importlib.import_module('gpubp.' + name)\n"
        "print([name for name in gpubp.__all__ if not callable(getattr(gpubp, name))])"
    )
    assert run(code) == "[]"


@pytest.mark.parametrize("name", public_names())
def test_public_name_has_a_docstring(name):
    found = getattr(gpubp, name)
    assert not isinstance(found, ModuleType)
    assert found.__doc__
    assert name in dir(gpubp)


@pytest.mark.parametrize("package", [gpubp, gpubp.data, gpubp.estimators], ids=lambda package: package.__name__)
def test_type_checkers_see_the_same_public_names(package):
    imported, file = [], f"{package.__name__.replace('.', '/')}/__init__.py"
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                for alias in line.names:
                    again = f"{alias.name} as {alias.name}"
                    assert alias.asname == alias.name, f"write {again!r} in the imports of {file}"
                    imported.append(f"{line.module}.{alias.name}")
    public = [f"{package.__name__}.{module}.{name}" for module, names in package._PUBLIC.items() for name in names]
    assert_same_names({f"the imports of {file}": imported, f"_PUBLIC of {file}": public})


@pytest.mark.parametrize("package", ["gpubp", "gpubp.data", "gpubp.estimators"])
def test_modules_of_lazy_packages_are_attributes_of_them(package):
    modules = [module.name for module in pkgutil.iter_modules([str(ROOT / package.replace(".", "/"))])]
    named = [name for name in modules if not name.startswith("_")]
    code = (
        f"import {package} as package, sys\n"
        f"assert all(getattr(package, name).__name__ == '{package}.' + name for name in {named})\n"
        "print(hasattr(package, 'absent'), hasattr(package, '_absent'))"
    )
    assert run(code) == "False False"


def test_no_public_name_twice():
    assert len(public_names()) == len(set(public_names()))


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'gpubp' has no attribute 'no_such_name'"):
        _ = gpubp.no_such_name
