"""What is made from the parser: completion, the man page; and that options have the defaults of the library."""

import inspect
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gpubp import TabularClassifier, fit_table, prepare_table
from gpubp.cli.app import COMMANDS
from gpubp.cli.manual import manual
from gpubp.cli.program import program
from gpubp.optim.first_order import OPTIMIZERS

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs" / "gpubp.1"
OTHER_NAMES = {
    "networks": "n_networks",
    "restarts": "n_restarts",
    "seed": "random_state",
    "type": "types",
    "no_refit": "refit",
    "callback": "callbacks",
}
ALONE = {
    *("data", "separator", "read", "stream", "target", "task", "test_fraction"),  # of the reading, or of fit
    *("checkpoint", "every", "resume", "parallel"),  # of fit_table
    *("output", "picture", "no_picture", "report", "config", "save_config", "as_json", "quiet", "schedule", "warm_up"),
}
"""Options of gpubp train that are no parameters of the estimators for tables."""
SAID_IN_THE_HELP = {"preset": "The default, auto, is", "time_budget": "by default 60"}
"""Options whose default is not that of the library, and where their help says so."""


def train_parameters():
    from typer.main import get_command

    from gpubp.cli.app import make_app

    return {one.name: one for one in get_command(make_app(["train"])).commands["train"].params}


def plain(value):
    """A default of an option, or of the library, in one form: sizes as text, no list, nothing for an empty one."""
    if isinstance(value, tuple | list):
        value = ",".join(map(str, value))
    return None if value in ("", False) else value


def test_options_have_the_defaults_of_the_library_or_say_why():
    library = inspect.signature(TabularClassifier).parameters
    seen = set()
    for name, option in train_parameters().items():
        if name in ALONE:
            continue
        of_library = library[OTHER_NAMES.get(name, name)].default
        seen.add(OTHER_NAMES.get(name, name))
        if name in SAID_IN_THE_HELP:
            assert SAID_IN_THE_HELP[name] in option.help
        elif name == "no_refit":
            assert (of_library, option.default) == (True, False)
        else:
            assert plain(option.default) == plain(of_library), name
    assert {*library} - seen == set()
    assert (
        train_parameters()["test_fraction"].default
        == inspect.signature(prepare_table).parameters["test_fraction"].default
    )
    assert inspect.signature(fit_table).parameters["parallel"].default is None  # auto: the processes of mpiexec, if any


def test_the_man_page_is_that_of_the_parser():
    assert PAGE.read_text(encoding="utf-8") == manual(), "run: python -m gpubp.cli.manual > docs/gpubp.1"
    for line in manual().splitlines():
        assert not re.match(r"[.'](?!\\\"|TH|SH|SS|PP|TP|B )", line), line  # no text is taken for a request


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_name_every_command_and_option(run, shell):
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    for command in program():
        assert command.name in out
        for option in command.options:
            for name in option.names:
                words = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                assert re.search(re.escape(words if shell == "fish" else name) + r"\b", out), name


def completed(*words):
    from gpubp.cli.completion import _bash

    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gpubp; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{_bash(program())}\n{ask}", *words], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bash_completes_commands_options_values_and_files():
    assert completed("bash", "gpubp", "in") == ["inspect"]
    assert {*completed("bash", "gpubp", "")} >= {*COMMANDS}
    assert completed("bash", "gpubp", "train", "--opt") == ["--optimizer"]
    assert completed("bash", "gpubp", "train", "--optimizer", "ada") == [
        one for one in OPTIMIZERS if one.startswith("ada")
    ]
    assert completed("bash", "gpubp", "train", "ir") == ["iris"]
    Path("irises.csv").touch()
    assert completed("bash", "gpubp", "train", "ir") == ["iris", "irises.csv"]
    assert completed("bash", "gpubp", "predict", "irises") == ["irises.csv"]
    assert completed("bash", "gpubp", "train", "--output", "ir") == ["irises.csv"]


@pytest.fixture(scope="module")
def shells(tmp_path_factory):
    """A folder with the scripts, and files to complete."""
    from gpubp.cli.completion import _fish, _zsh

    folder = tmp_path_factory.mktemp("shells")
    (folder / "_gpubp").write_text(_zsh(program()), encoding="utf-8")
    (folder / "gpubp.fish").write_text(_fish(program()), encoding="utf-8")
    (folder / "irises.csv").touch()
    return folder


WORDS = [
    ("gpubp tra", ["train"]),
    ("gpubp --ver", ["--version"]),
    ("gpubp train --opt", ["--optimizer"]),
    ("gpubp train --optimizer levenberg", ["levenberg_marquardt"]),
    ("gpubp train --optimizer=levenberg", ["--optimizer=levenberg_marquardt"]),
    ("gpubp train iri", ["iris", "irises.csv"]),
    ("gpubp train --output iri", ["irises.csv"]),
    ("gpubp predict iri", ["irises.csv"]),
    ("gpubp reproduce symm", ["symmetry"]),
    ("gpubp completion z", ["zsh"]),
    ("gpubp inspect --hel", ["--help"]),
]
"""What is typed, and the words that it may become."""


def test_fish_completes_the_same(shells):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "source gpubp.fish; for line in $argv; complete -C $line; echo; end"
    lines = [line for line, _ in WORDS]
    environment = {**os.environ, "HOME": str(shells)}
    done = subprocess.run(
        ["fish", "-c", script, *lines], cwd=shells, env=environment, capture_output=True, text=True, check=True
    )
    found = [[row.partition("\t")[0] for row in part.splitlines()] for part in done.stdout.split("\n\n")]
    assert [sorted(words) for words in found[: len(WORDS)]] == [words for _, words in WORDS]
    assert "squared, huber, poisson, ..." in (shells / "gpubp.fish").read_text(encoding="utf-8")


def test_zsh_completes_the_same(shells):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    script = """
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell 'fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=1000'
    zpty -w shell 'show() { print -r -- "$BUFFER" >> typed; BUFFER="" }; zle -N show; bindkey "^]" show'
    for line; do zpty -w -n shell "$line"$'\\t\\x1d'; done
    zpty -w shell exit
    while zpty -r shell text; do :; done
    """
    lines = [line for line, _ in WORDS]
    subprocess.run(["zsh", "-f", "-c", script, "zsh", *lines], cwd=shells, capture_output=True, check=True)
    typed = (shells / "typed").read_text(encoding="utf-8").splitlines()
    for (line, words), found in zip(WORDS, typed, strict=True):
        assert found.rstrip(" =") == f"{line.rpartition(' ')[0]} {words[0]}"  # with which the others begin, too


def test_an_unknown_shell(fails):
    assert "unknown shell 'fsh' (did you mean 'fish'?)" in fails("completion", "fsh")
