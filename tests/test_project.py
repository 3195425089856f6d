"""Project files agree with the code: versions, tools, and the documentation of the registries."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import gpubp
from gpubp.nn.activations import ACTIVATIONS, get_activation
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.optim.first_order import OPTIMIZERS

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_hooks_before_a_commit_use_the_tools_of_the_sessions():
    pinned = set(re.findall(r'"((?:ruff|mypy)==[^"]+)"', text_of(".pre-commit-config.yaml")))
    groups = PYPROJECT["dependency-groups"]
    assert pinned == {*groups["lint"], *groups["typecheck"]}


def test_the_citation_is_of_this_version():
    assert f"\nversion: {gpubp.__version__}\n" in text_of("CITATION.cff")
    assert f"\nlicense: {PYPROJECT['project']['license']}\n" in text_of("CITATION.cff")


@pytest.mark.parametrize(
    ("registry", "documented"), [(ACTIVATIONS, get_activation), (LOSSES, get_loss)], ids=["activations", "losses"]
)
def test_registered_names_are_documented(registry, documented):
    text = inspect.getdoc(documented)
    assert [name for name in registry if not re.search(rf"\b{name}\b", text)] == []


def test_every_optimizer_is_public():
    assert [name for name, make in OPTIMIZERS.items() if getattr(gpubp, name, None) is not make] == []


def test_the_readme_has_the_command_that_the_gate_runs():
    assert re.search(r"^ +python3 -m venv .*bin/nox$", text_of("README.md"), flags=re.MULTILINE)
