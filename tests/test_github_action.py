"""The action for GitHub: its file is sound, and its scripts run commands that gpubp has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "actions" / "agreement"
pytestmark = [pytest.mark.once, pytest.mark.skipif(not FOLDER.exists(), reason="not in the source distribution")]


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def action():
    return loaded(FOLDER / "action.yml")


def step(action, name):
    (found,) = [step for step in action["runs"]["steps"] if step.get("name") == name]
    return found


def test_inputs_are_described_and_used(action):
    assert action["runs"]["using"] == "composite"
    used = re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", (FOLDER / "action.yml").read_text(encoding="utf-8"))
    assert sorted(used) == sorted(action["inputs"])
    assert all({"description", "default"} <= set(entry) for entry in action["inputs"].values())


def test_scripts_take_inputs_from_the_environment(action):
    """As text in a script, an input would be run as a command."""
    for one in action["runs"]["steps"]:
        assert ("run" in one) == ("shell" in one)
        assert "${{" not in one.get("run", "")


def test_it_installs_its_own_repository(action):
    (path,) = re.findall(
        r"\$GITHUB_ACTION_PATH/([./]+)\[cli\]", step(action, "Install gpubp from the repository of this action")["run"]
    )
    assert (FOLDER / path).resolve() == ROOT


def test_our_own_workflow_uses_it_with_inputs_that_it_has(action):
    steps = [
        step for job in loaded(ROOT / ".github" / "workflows" / "ci.yml")["jobs"].values() for step in job["steps"]
    ]
    (used,) = [step for step in steps if step.get("uses", "").startswith("./")]
    assert (ROOT / used["uses"]).resolve() == FOLDER
    assert set(used["with"]) <= set(action["inputs"])


@pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("disagrees", ["none", "torch"])
def test_the_script_compares_each_device_and_writes_a_summary(action, tmp_path, disagrees):
    """With a command in place of gpubp that writes down its arguments, and fails for one device."""
    typer = pytest.importorskip("typer")
    from gpubp.cli.app import make_app

    fake = tmp_path / "bin" / "gpubp"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> calls\necho "table of $3"\n[ "$3" != {disagrees} ]\n')
    fake.chmod(0o755)
    environment = {
        **{"PATH": f"{fake.parent}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": "summary.md"},
        **{"DEVICES": "torch cuda:0 *", "AGAINST": "cpu"},
    }
    # as GitHub runs a step whose shell is bash
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(action, "Compare")["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if disagrees == "none" else 1), done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert re.findall("^table of (.*)$", summary, flags=re.MULTILINE) == ["torch", "cuda:0", "*"]
    assert summary.count("```") == 6

    group, options = typer.main.get_command(make_app()), []
    for line in (tmp_path / "calls").read_text().splitlines():
        name, *arguments = line.split()
        context = group.commands[name].make_context(name, arguments)
        options.append((context.params["device"], context.params["against"], context.params["json"].as_posix()))
    assert options == [
        ("torch", "cpu", "gpubp-agreement/torch.json"),
        ("cuda:0", "cpu", "gpubp-agreement/cuda-0.json"),
        ("*", "cpu", "gpubp-agreement/-.json"),
    ]
