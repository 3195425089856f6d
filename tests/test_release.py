"""The files of a release agree: versions, the changelog's sections, the recipe, the workflows."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

import gpubp

pytestmark = pytest.mark.once
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.1.0] - 2026-01-02\n\n- old\n"


@pytest.fixture(scope="module")
def release():
    specification = importlib.util.spec_from_file_location("release", ROOT / "docs" / "packaging" / "release.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def project(release, tmp_path, monkeypatch):
    """A copy of the files that hold the version, with a short changelog."""
    for name in release.VERSIONS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    return tmp_path


def test_all_files_hold_the_same_version(release):
    found = {release.version_in((ROOT / name).read_text(encoding="utf-8"), at) for name, at in release.VERSIONS.items()}
    assert found == {gpubp.__version__}


def test_a_cut_release_has_its_version_its_section_and_its_date(release, project, capsys):
    with pytest.raises(SystemExit, match=r"the tag v0\.2\.0 is not of the version in gpubp/_version\.py"):
        release.check("v0.2.0")
    release.cut("0.2.0")
    release.check("v0.2.0")
    release.notes("0.2.0")
    assert capsys.readouterr().out == "- new\n"
    changelog = (project / "CHANGELOG.md").read_text()
    assert re.search(
        r"^## \[Unreleased\]\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n\n- new\n\n## \[0\.1\.0\]", changelog, re.M
    )
    citation = yaml.safe_load((project / "CITATION.cff").read_text())
    assert citation["version"] == "0.2.0"
    assert "date-released" in citation
    with pytest.raises(SystemExit, match="nothing to release"):
        release.cut("0.3.0")


def test_a_version_is_three_numbers(release, project):
    with pytest.raises(SystemExit, match="three numbers"):
        release.cut("v0.2")


def test_the_recipe_names_the_files_of_the_release(release, tmp_path, monkeypatch, capsys):
    (tmp_path / "gpubp.tar.gz").write_bytes(b"")
    monkeypatch.setenv("REPOSITORY_URL", "https://example.org/r")
    release.recipe(tmp_path / "gpubp.tar.gz")
    recipe = yaml.safe_load(capsys.readouterr().out)
    assert recipe["source"]["url"].startswith("https://example.org/r/releases/download/v")
    assert recipe["source"]["sha256"].startswith("e3b0c44298fc1c14")  # of no bytes
    requirements = [line.replace(" ", "") for line in recipe["requirements"]["run"] if line != "python"]
    assert sorted(requirements) == sorted(PROJECT["dependencies"])
    assert recipe["build"]["python"]["entry_points"] == [f"gpubp = {PROJECT['scripts']['gpubp']}"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_workflows_run_sessions_and_files_that_exist(path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"--session (\w+)|session: (\w+)", text)) <= {(name, "") for name in sessions} | {
        ("", name) for name in sessions
    }
    assert [name for name in re.findall(r"python3? (\S+\.py)", text) if not (ROOT / name).exists()] == []


def test_the_dev_container_is_built_from_a_file_that_exists():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert (ROOT / ".devcontainer" / settings["build"]["dockerfile"]).exists()
