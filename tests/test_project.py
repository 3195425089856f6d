"""The files beside the code agree with it: versions, tools, documentation of what the registries hold."""

import re
import tomllib
from pathlib import Path

import gpubp

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


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))]
    relative = [(page, link) for page, link in links if "://" not in link]
    assert len(relative) > 20
    assert [f"{page.name}: {link}" for page, link in relative if not (page.parent / link).exists()] == []
