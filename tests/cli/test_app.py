"""The program around the commands: usage, exit codes, pipes, signals and full disks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import gpubp
from gpubp import load_model, save_model
from gpubp._core.installation import install_command
from gpubp.cli.app import COMMANDS, make_app
from gpubp.cli.output import print_error
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from tests.shop import FAST, shop, write


def test_version_and_help(run):
    assert run("--version") == (0, f"gpubp {gpubp.__version__}\n", "")
    out = run("--help")[1]
    for command in ("train", "predict", "show", "doctor", "explain", "reproduce"):
        assert re.search(rf"\b{command}\b", out)
        code, reported, _ = run(command, "--help")
        assert code == 0
        assert "<bool>" not in reported
        assert "range>" not in reported
    assert "<bool>" not in out


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("train", "DATA"), ("predict", "MODEL DATA"), ("export", "MODEL [OUT.onnx]"), ("report", "MODEL..."),
     ("reproduce", "[NAME...]"), ("doctor", "")],
)  # fmt: skip
def test_the_usage_shows_which_arguments_may_be_left_out(run, command, arguments):
    usage = " ".join(filter(None, ("Usage: gpubp", command, arguments, "[OPTIONS]")))
    assert re.search(rf"^\s*{re.escape(usage)}\s*$", run(command, "--help")[1], re.M)


def test_alone_it_prints_a_short_start_of_commands_that_exist(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    named = re.findall(r"^  gpubp (\w+)", out, re.M)
    assert named
    assert {*named} <= {*COMMANDS}
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 12


def test_errors_name_the_option_for_the_device(capsys):
    print_error("there is no GPU; to fix it: compute with device='cpu', or on device='cuda:1'")
    expected = "error: there is no GPU; to fix it: compute with --device cpu, or on --device cuda:1\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["train"], ["train", "iris", "--nonsense"], ["train", "iris", "--epochs", "0"], ["--nonsense"]],
)
def test_wrong_usage_ends_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


@pytest.mark.parametrize(
    ("arguments", "value"),
    [("train iris --epochs abc", "abc"), ("train iris --epochs 0", "0"), ("inspect a b --repeats -3", "-3")],
)
def test_a_value_that_is_not_valid_is_named(run, arguments, value):
    for _ in range(2):
        code, _, err = run(*arguments.split())
        assert code == 2
        named_by_click = re.search(rf"'?{value}'? is not", err)  # in its older versions
        assert err.count(f"got '{value}'") == (0 if named_by_click else 1)


def test_files_that_are_not_models_are_refused(fails):
    write()
    for command in (["predict", "shop.csv", "shop.csv"], ["show", "shop.csv"]):
        assert "shop.csv is a table, not a model file" in fails(*command)
    assert "does not exist" in fails("show", "nothing.safetensors")
    assert "folder" in fails("show", ".")
    network = Network((2, 1))
    save_model("bare.safetensors", network, initial_weights(network))
    assert "no preprocessing" in fails("predict", "bare.safetensors", "shop.csv")


def test_names_from_the_data_are_neither_markup_nor_control(run):
    name = "[red]a\x1b[31m[/red]"
    shop().rename(columns={"age": name}).to_csv("shop.csv", index=False)
    code, out, err = run("train", "shop.csv", *FAST, "--target", name, "--task", "regression")
    assert code == 0
    assert r"[red]a\x1b[31m[/red]" in err
    assert "\x1b" not in out + err
    assert run("train", "shop.csv", *FAST)[0] == 0
    shown = run("show", "shop.safetensors")[1]
    assert r"[red]a\x1b[31m[/red]" in shown
    assert "\x1b" not in shown


def test_typers_own_runner():
    result = CliRunner().invoke(make_app(), ["train", "iris", *FAST, "--json", "--quiet"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rows"]["test"] == 30


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["--version"], {"gpubp.data.readers", "gpubp.tabular", "gpubp.training"}),
        (["show", "shop.safetensors"], {"gpubp.training", "scipy.sparse", "sklearn"}),
        (["predict", "shop.safetensors", "shop.csv", "--output", "new.csv"], {"gpubp.plotting", "sklearn"}),
    ],
    ids=("version", "show", "predict"),
)
def test_a_command_loads_only_what_it_needs(model, arguments, unused):
    of_other_commands = {f"gpubp.cli.{command}" for command in COMMANDS if command != arguments[0]}
    code = (
        f"import sys; from gpubp.__main__ import main; code = main({arguments}); "
        f"print(code, {{*sys.modules}} & {unused | of_other_commands})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


def test_doctor_and_explain_exist(run):
    assert run("doctor")[0] in (0, 1)
    assert run("explain")[0] == 0


def test_without_typer_the_fix_is_reported(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    command = install_command("typer rich pyarrow matplotlib", "cli")
    assert run("train", "iris") == (2, "", f"gpubp's command line needs: {command}\n")


def test_an_interruption_while_modules_are_loaded_leaves_no_traceback(run, monkeypatch):
    class Interrupt:
        def find_spec(self, name, *others):
            if name == "gpubp.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "gpubp.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    assert run("train", "iris") == (130, "", "")


def test_running_out_of_memory_gives_no_traceback(run, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("gpubp.cli.train.prepare.prepare_table", fail)
    code, _, err = run("train", "iris")
    assert code == 2
    assert err.startswith("error: there is not enough memory")


ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(gpubp.__file__).parents[1]), "GPUBP_COMPILED": "never"}


def process(*arguments, program=("-m", "gpubp"), stdout=subprocess.PIPE, environment=()):
    """Run the program as users do, uncompiled: what compiled code computes is tested elsewhere."""
    command, given = [sys.executable, *program, *arguments], ENVIRONMENT | dict(environment)
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=given, check=False, timeout=120)


@pytest.mark.slow
@pytest.mark.once
def test_piped_output_is_plain():
    write()
    narrow = {"PYTHONIOENCODING": "ascii", "TERM": "xterm-256color", "COLUMNS": "20"}
    done = process("train", "shop.csv", *FAST, environment=narrow)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stdout.isascii()
    assert b"\r" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) > 40  # not wrapped: other programs read it
    predicted = process("predict", "shop.safetensors", "shop.csv", environment=narrow)
    assert predicted.returncode == 0
    assert predicted.stdout.decode().startswith("buys,buys=no,buys=yes\n")
    assert b"\x1b" not in predicted.stdout + predicted.stderr
    assert rb"K\xf6ln" in process("show", "shop.safetensors", environment=narrow).stdout


def test_an_error_ends_the_process_with_2():
    done = process("predict", "none.safetensors", "none.csv")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.splitlines() == [done.stderr.strip()]


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["predict", "shop.csv"]], ids=" ".join)
def test_a_full_disk_is_one_line(model, arguments):
    with open("/dev/full", "w") as full:
        done = process(arguments[0], model, *arguments[1:], stdout=full, environment={"PYTHONUNBUFFERED": ""})
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"No space left on device" in done.stderr.splitlines()[0]
    assert b"Traceback" not in done.stderr


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way on Windows")
def test_a_closed_pipe_is_not_an_error(model):
    pd.concat([shop()] * 300).to_csv("long.csv", index=False)
    command = [sys.executable, "-m", "gpubp", "predict", model, "long.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as running:
        assert running.stdout.readline().startswith(b"buys")
        running.stdout.close()
        err = running.stderr.read()
    assert b"Traceback" not in err
    assert b"Exception" not in err
    assert b"error:" not in err


INTERRUPTED = """
import os, signal, sys
from gpubp import __main__
from gpubp.cli import progress

def interrupt(seen):
    if seen.epoch == 3:
        os.kill(os.getpid(), signal.SIG{name})

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
progress.ignore_progress = interrupt
sys.exit(__main__.main())
"""


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are sent in another way on Windows")
@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_signal_ends_the_process_with_its_code_and_a_model(name, code):
    program = ["-c", INTERRUPTED.format(name=name)]
    done = process("train", write(), *FAST, "--epochs", "100000", "--patience", "0", program=program)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"interrupted" in done.stdout
    assert load_model("shop.safetensors").about["training"]["epochs"] == 3
