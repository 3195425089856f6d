"""Project files agree with the code: versions, tools, and the documentation of the registries."""

import inspect
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import gpubp
from gpubp._core.names import Parametric
from gpubp.cli.predict.formats import FORMATS
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.training.callbacks import CALLBACKS, get_callback
from tests.registries import assert_same_names

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


TOP_LEVEL = {
    *("gpubp", "tests", "examples", "docs", "benchmarks", "pyproject.toml", "noxfile.py", "README.md"),
    *("LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "SECURITY.md"),
    *(".github", ".ci", ".gitignore", ".pre-commit-config.yaml", ".devcontainer"),
}
"""What the repository may hold at its top: what the project fixed, and what the ecosystem expects beside it."""


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no git, or no checkout")
def test_nothing_else_is_at_the_top_of_the_repository():
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git cannot read this checkout: {listed.stderr.strip()}")
    files = listed.stdout.split("\0")
    others = [name for name in files if name and name.partition("/")[0] not in TOP_LEVEL]
    assert others == [], f"remove {', '.join(others[:5])} (git rm), which a test or a tool may have left"


def test_hooks_before_a_commit_use_the_tools_of_the_sessions():
    pinned = set(re.findall(r'"((?:ruff|mypy)==[^"]+|pytest>=[^"]+)"', text_of(".pre-commit-config.yaml")))
    groups = PYPROJECT["dependency-groups"]
    assert pinned == {*groups["lint"], *groups["typecheck"]}


@pytest.mark.parametrize("version", ["12", "13"])
def test_extras_for_gpus_install_what_several_gpus_need(version):
    names = [re.split(r"[^\w-]", one)[0] for one in PYPROJECT["project"]["optional-dependencies"][f"cuda{version}"]]
    assert names == [f"cupy-cuda{version}x", "nvmath-python", f"nvidia-nccl-cu{version}"]


def test_the_citation_is_of_this_version():
    assert f"\nversion: {gpubp.__version__}\n" in text_of("CITATION.cff")
    assert f"\nlicense: {PYPROJECT['project']['license']}\n" in text_of("CITATION.cff")


@pytest.mark.parametrize(
    ("registry", "documented"), [(ACTIVATIONS, get_activation), (LOSSES, get_loss)], ids=["activations", "losses"]
)
def test_registered_names_are_documented(registry, documented):
    text = inspect.getdoc(documented)
    path = Path(inspect.getfile(inspect.unwrap(documented))).relative_to(ROOT).as_posix()
    where = f"in the docstring of {documented.__name__} in {path}"
    missing = [name for name in registry if f'``"{name}"``' not in text]
    assert missing == [], f"give {', '.join(missing)} a line {where}"
    for name, entry in registry.items():
        if isinstance(entry, Parametric):
            line = " ".join(re.search(rf'``"{name}"``(.*?)(\n- |\n\n)', text, flags=re.DOTALL)[1].split())
            for parameter in inspect.signature(entry.make).parameters.values():
                assert f"``{parameter.name}``" in line, f"name {parameter.name} in the line of {name} {where}"
                if not entry.is_variadic:
                    message = f"state the default of {parameter.name} as ({parameter.default:g}) {where}"
                    assert f"({parameter.default:g})" in line, message


CODE = "\n".join(
    span
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
    for span in re.findall(r"`[^`\n]+`", path.read_text(encoding="utf-8"))
)
"""Every span of code in the documentation."""


@pytest.mark.parametrize(
    "registry",
    [ACTIVATIONS, LOSSES, OPTIMIZERS, FORMATS],
    ids=["activations", "losses", "optimizers", "formats of predict"],
)
def test_registered_names_are_in_the_documentation(registry):
    missing = [name for name in registry if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", CODE)]
    assert missing == [], f"name {', '.join(missing)} in `code` in CHANGELOG.md, or in README.md or a page of docs/"


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_is_public_and_documented(name):
    callback = CALLBACKS[name]
    public = callback.__name__ in gpubp.__all__ and getattr(gpubp, callback.__name__) is callback
    assert public, f"add {callback.__name__} to the imports and to _PUBLIC in gpubp/__init__.py"
    text, where = inspect.getdoc(callback), "in gpubp/training/callbacks.py"
    for section in ("Parameters", "Examples"):
        message = f"give {callback.__name__} {where} a docstring with the section {section}"
        assert re.search(rf"^{section}\n-+$", text or "", flags=re.MULTILINE), message
    assert f"gpubp.{callback.__name__}`" in text_of("CHANGELOG.md"), f"name `gpubp.{callback.__name__}` in CHANGELOG.md"


def test_callbacks_by_name_are_documented():
    registry = {"CALLBACKS of gpubp/training/callbacks.py": CALLBACKS}
    in_docstring = re.findall(r'"(\w+)=FILE"', inspect.getdoc(get_callback))
    assert_same_names(registry | {'"NAME=FILE" in the docstring of get_callback there': in_docstring})
    in_readme = re.findall(r"^ +gpubp .* --callback (\w+)=", text_of("README.md"), flags=re.MULTILINE)
    assert_same_names(registry | {"the commands with --callback NAME=FILE in README.md": in_readme})


def test_no_message_installs_gpubp_from_an_index_where_it_is_not():
    paths = [
        *(ROOT / "gpubp").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    assert [name for name, text in texts.items() if re.search(r"pip install (-\S+ )*[\\\"]*gpubp\b", text)] == []


def test_every_optimizer_is_public():
    missing = [name for name, make in OPTIMIZERS.items() if getattr(gpubp, name, None) is not make]
    assert missing == [], f"add {', '.join(missing)} to the imports and to _PUBLIC in gpubp/__init__.py"


def test_the_readme_has_the_command_that_the_gate_runs():
    assert re.search(r"^ +python3 -m venv .*bin/nox$", text_of("README.md"), flags=re.MULTILINE)
