"""Untrusted model files are read correctly or refused, quickly, with little memory, and are harmless in use."""

import json
import os
import threading
import time
from collections import Counter
from random import Random

import numpy as np
import pytest

from benchmarks import forged_files, fuzz
from benchmarks.forged_json import Raw
from gpubp import CheckpointError, Network, initial_weights, load_model, save_model, train
from gpubp.data.preprocessing import preprocessing_of
from gpubp.errors import DataError, ModelFileError
from gpubp.io.safetensors import MAX_TEXT_BYTES
from gpubp.tabular import predict_table

pytestmark = pytest.mark.once

MODEL = fuzz.KINDS["model"]
EACH = 20
ESCAPES = "\x1b[31m\x9b2J\u202e\x07\n"


@pytest.fixture(scope="module")
def valid():
    """Valid files of each kind."""
    return {name: kind.valid_files() for name, kind in fuzz.KINDS.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def refusal(path):
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000 + len(str(path))
    return str(caught.value)


# --- any file ---


@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name, kind in fuzz.KINDS.items() for how in kind.mutations if how != "large"]
)
def test_a_hostile_file_is_read_correctly_or_refused(tmp_path, valid, name, how):
    """Times are checked by ``python -m benchmarks.fuzz`` instead."""
    kind = fuzz.KINDS[name]
    path, ended = tmp_path / "files" / kind.name, Counter()
    path.parent.mkdir()
    for seed in range(EACH):
        path.write_bytes(kind.mutations[how](Random(f"{how} {seed}"), valid[name]))
        result = fuzz.judged(kind, path, most_seconds=None)
        assert result["outcome"] != "failed", (how, seed, result)
        ended[result["outcome"]] += 1
    behind_the_checksum = {"other_about", "other_preprocessing", "other_version", "other_network", "other_arrays"}
    assert ended["refused"] >= EACH // 3 or how in behind_the_checksum
    assert ended["read"] or how not in behind_the_checksum


def test_the_forger_knows_the_format_of_checkpoints(valid):
    for content in valid["checkpoint"]:
        header, arrays = forged_files.checkpoint_of(content)
        again = forged_files.sealed_checkpoint(header, arrays)
        assert forged_files.parts_of(again)[0] == forged_files.parts_of(content)[0]


def test_the_forger_knows_the_format(path, valid):
    """With wrong checksums, nothing behind them would be tested."""
    for content in valid["model"]:
        header, entry, numbers = forged_files.header_of(content)
        path.write_bytes(forged_files.sealed(header, numbers, entry["shape"], entry["dtype"]))
        forged, again = load_model(path), path.read_bytes()
        path.write_bytes(content)
        true = load_model(path)
        assert (forged.network, forged.about, forged.preprocessing) == (true.network, true.about, true.preprocessing)
        assert forged_files.parts_of(again)[0] == forged_files.parts_of(content)[0]


@pytest.mark.parametrize("how", forged_files.LARGE)
def test_memory_is_in_proportion_to_the_file(path, how):
    path.write_bytes(forged_files.LARGE[how](100_000))
    result = fuzz.judged(MODEL._replace(use=lambda read, path: None), path, most_seconds=None)
    assert result["outcome"] in ("read", "refused"), result


# --- false sizes ---


def test_a_header_longer_than_is_read_is_refused_unread(path):
    path.write_bytes(forged_files.joined(" " * (MAX_TEXT_BYTES + 1), b""))
    assert "at most are read" in refusal(path)
    with path.open("wb") as file:  # a sparse file of 10 GB
        file.write((10**10).to_bytes(8, "little"))
        file.truncate(10**10 + 8)
    assert "at most are read" in refusal(path)


def test_models_that_could_not_be_loaded_are_not_saved(path):
    network = Network((2, 1))
    for about, message in [
        ({"a": "x" * (MAX_TEXT_BYTES + 1)}, "bytes, and .* at most are read"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({"\udfff": 1}, "not valid Unicode"),
        ({"a": json.loads("[" * 100 + "]" * 100)}, "levels deep"),
    ]:
        with pytest.raises(DataError, match=message):
            save_model(path, network, initial_weights(network), about=about)
    assert not path.exists()
    with pytest.raises(DataError, match=r"theta is a masked array with 1 of 3"):
        save_model(path, network, np.ma.masked_equal(np.asarray([1.0, 2.0, 3.0], "float32"), 2.0))


@pytest.mark.slow
def test_many_tied_weights_are_saved_and_loaded(path):
    """Their numbers are text in the header, whose limit grows with them."""
    n = 450_000
    network = Network((n, 1), bias=False, ties=range(2**62, 2**62 + n))
    save_model(path, network, np.ones(n, "float32"))
    assert os.stat(path).st_size - 4 * n > MAX_TEXT_BYTES
    assert load_model(path).network == network


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('{"a":1,"a":2}', "damaged header"),
        ("[" * 100_000, "damaged header"),
        ("NaN", "damaged header"),
        ("1" * 5000, "damaged header"),
        ("1E5", "damaged header"),
        ('{"a": 1}', "damaged header"),
        ('"\\ud800"', "not valid Unicode"),
        ("[" * 100 + "]" * 100, "levels deep"),
    ],
)
def test_json_of_another_form_is_refused(path, valid, inner, expected):
    header, entry, numbers = forged_files.header_of(valid["model"][0])
    path.write_bytes(forged_files.sealed({**header, "about": {"x": Raw(inner)}}, numbers, entry["shape"]))
    assert expected in refusal(path)


def test_a_name_that_comes_twice_in_the_outer_header_is_refused(path, valid):
    metadata, tensors, numbers = forged_files.parts_of(valid["model"][0])
    text = forged_files.written({"__metadata__": metadata, **tensors})
    path.write_bytes(forged_files.joined(f'{{"theta":{{}},{text[1:]}', numbers))
    assert "occurs twice" in refusal(path)


@pytest.mark.parametrize(
    ("network", "n", "expected"),
    [
        ({"sizes": [10**9, 10**9]}, 3, "a unit has one or more"),
        ({"sizes": [10**4000, 10**4000]}, 3, "a unit has one or more"),
        ({"sizes": [2, 1], "output_activation": f"relu{' ' * 10**6}!"}, 3, "does not describe a network"),
        ({"sizes": [1, 1, 1], "activation": ["relu"], "skips": [[0, 2]] * 10**4}, 5, "name each connection once"),
        ({"sizes": [1, 1, 1], "activation": ["relu"], "skips": [[-1, 2]]}, 5, "skips must be pairs"),
        ({"sizes": [1, 1, 1], "activation": ["relu"], "skips": [[False, 2]]}, 5, "skips must be pairs"),
        ({"sizes": [2, 1], "ties": [0] * 10**5}, 3, "ties must be 3 whole numbers"),
        ({"sizes": [2, 1], "ties": [0, 1, 2**70]}, 3, "ties must be 3 whole numbers"),
        ({"sizes": [2, 1], "ties": [0, 1, -2]}, 3, "ties must be 3 whole numbers"),
        ({"sizes": [99_999, 1], "ties": ["x" * 10**6, *["y"] * 99_999]}, 10**5, "ties must be 100000 whole numbers"),
    ],
    ids=[
        "huge",
        "huger",
        "slow name",
        "skips twice",
        "skips below",
        "skips of bools",
        "ties",
        "large",
        "negative",
        "texts",
    ],
)
def test_a_network_that_is_too_large_is_refused(path, network, n, expected):
    """A pattern of quadratic time would not end with that name; an array of these texts would be 400 GB."""
    whole = {
        "activation": [],
        "output_activation": "identity",
        "loss": "squared",
        "bias": True,
        "skips": [],
        "ties": None,
    } | network
    header = {"format": 2, "version": "1", "preprocessing": None, "about": {}, "network": whole}
    header["theta"] = {"dtype": "float32", "shape": [n]}
    path.write_bytes(forged_files.sealed(header, bytes(4 * n)))
    assert expected in refusal(path)


def test_many_layers_and_skips_take_time_in_proportion(path):
    """30,000 of each would be a thousand million steps if every layer looked through all connections."""
    path.write_bytes(forged_files.LARGE["skips"](1_300_000))
    assert len(load_model(path).network.skips) > 30_000


# --- files that are not regular ---


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
@pytest.mark.parametrize("what", ["pipe", "zero", "loop", "folder", "nothing", "zero byte", "long"])
def test_special_files_are_refused_immediately(tmp_path, what):
    path = tmp_path / "model.safetensors"
    if what == "pipe":
        os.mkfifo(path)  # nothing ever writes to it
    elif what == "folder":
        path.mkdir()
    elif what in ("zero", "loop", "nothing"):
        path.symlink_to({"zero": "/dev/zero", "loop": path, "nothing": "none"}[what])
    else:
        path = str(path) + {"zero byte": "\0", "long": "x" * 5000}[what]
    expected = {"pipe": "a pipe or a device", "zero": "a pipe or a device", "folder": "is a folder"}
    assert expected.get(what, "does not exist" if what == "nothing" else "cannot be read") in refusal(path)


@pytest.mark.parametrize("grows", [True, False])
def test_a_file_that_changes_while_it_is_read(path, grows):
    """A mapped file that is cut short would end the process."""
    n = 200_000
    network = Network((n, 1))
    save_model(path, network, initial_weights(network))
    content, stop = path.read_bytes(), threading.Event()

    def change():
        while not stop.is_set():
            path.write_bytes(content + bytes(1000) if grows else content[: len(content) // 2])
            path.write_bytes(content)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            try:
                assert load_model(path).theta.shape == (n + 1,)
            except ModelFileError as error:
                assert str(path) in str(error)  # noqa: PT017 - either is right
    finally:
        stop.set()
        thread.join()


# --- use of a model ---


def model_of(about=None, names=("a", "b"), classes=("no", "yes")):
    from gpubp.data.preprocessing import ClassTarget, NumberColumn, Preprocessing, to_json

    columns = tuple(NumberColumn(name, 0.0, 1.0, 0.0) for name in names)
    network = Network((len(names), 2), output_activation="softmax", loss="cross_entropy")
    preprocessing = to_json(Preprocessing(columns, ClassTarget("t", classes)))
    return {"network": network, "theta": initial_weights(network), "preprocessing": preprocessing, "about": about or {}}


@pytest.mark.parametrize(
    "about",
    [
        {"source": ESCAPES, "optimizer": {"name": ESCAPES}, "training": {ESCAPES: ESCAPES}},
        {"scores": {ESCAPES: {ESCAPES: 1.0}}, "rows": {ESCAPES: 10**4000}},
        {"scores": {"test": {"accuracy": 10**4000}}},
        {"scores": {"test": {"accuracy": True}}, "rows": [1]},
        {"source": "x" * 10**5, "training": {"epochs": [[1]] * 10**4}},
    ],
)
def test_facts_of_a_file_are_shown_escaped_and_short(path, about):
    save_model(path, **model_of(about))
    out = fuzz.command("show", path)
    assert len(out) < 50_000
    assert (repr(ESCAPES)[1:-1] in repr(about)) == (r"\x1b[31m\x9b2J\u202e\x07\n" in out)
    reported = fuzz.command("show", path, "--json")
    assert "\x9b" not in reported
    assert json.loads(reported)["about"] == about


def test_names_are_shown_escaped_to_a_terminal_and_written_as_they_are_to_a_file(path, tmp_path, monkeypatch):
    from gpubp.cli.output import console

    save_model(path, **model_of(classes=("no", ESCAPES)))
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n")
    for force_terminal, escaped in ((True, True), (False, False)):
        monkeypatch.setattr(console, "_force_terminal", force_terminal)
        out = fuzz.command("predict", path, table, "--device", "cpu", control=True)
        assert ("\\x1b[31m" in out) == escaped
        assert ("\x1b" in out) == (not escaped)


def test_a_column_named_as_a_script_does_not_run(path, tmp_path):
    name = "<script>alert(1)</script>"
    save_model(path, **model_of(names=(name, "b"), classes=(name, "</svg><img src=x onerror=alert(1)>")))
    table, page = tmp_path / "<script>.csv", tmp_path / "page.html"
    table.write_text(f"{name},b,t\n1,2,{name}\n")
    fuzz.command("explain", path, "--data", table, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_preprocessing_that_scales_beyond_all_numbers_is_an_error_and_no_warning(path):
    from gpubp.data.preprocessing import NumberColumn, NumberTarget, Preprocessing, to_json

    network = Network((1, 1))
    target = NumberTarget(("t",), (1e308,), (1e308,), (0.0,), (1e308,))
    preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), target)
    save_model(path, network, np.asarray([9.0, 9.0], "float32"), preprocessing=to_json(preprocessing))
    with pytest.raises(DataError, match="beyond the range of numbers"):
        predict_table(load_model(path), {"a": [1.0]}, device="cpu")


def test_a_malformed_preprocessing_is_reported_briefly(path):
    model = model_of()
    model["preprocessing"]["columns"][0] = {ESCAPES: "x" * 10**6}
    save_model(path, **model)
    with pytest.raises(ModelFileError) as caught:
        preprocessing_of(load_model(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


# --- checkpoints ---


@pytest.fixture
def checkpoint(tmp_path, valid):
    """Return a function that changes a valid checkpoint, resumes from it and returns the message of the error."""

    def resume_from(number, change):
        header, arrays = forged_files.checkpoint_of(valid["checkpoint"][number])
        change(header, arrays)
        given, options = list(forged_files.checkpointed_runs())[number]
        path = tmp_path / fuzz.KINDS["checkpoint"].name
        path.write_bytes(forged_files.sealed_checkpoint(header, arrays))
        with pytest.raises(CheckpointError) as caught:
            train(*given, checkpoint=tmp_path, resume=True, **options)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000
        return str(caught.value)

    return resume_from


@pytest.mark.parametrize(
    ("number", "change", "expected"),
    [
        (0, lambda header, arrays: header["settings"].update({ESCAPES: "x" * 10**5}), r"\x1b[31m"),
        (0, lambda header, arrays: header["settings"].update(X={"shape": ESCAPES}), r"\x1b[31m"),
        (0, lambda header, arrays: header["order"].update(bit_generator=ESCAPES), "no state of the orders' generator"),
        (0, lambda header, arrays: header["order"].update(state={}), "no state of the orders' generator"),
        (0, lambda header, arrays: header.update(format=10**4000, version=ESCAPES), r"\x1b[31m"),
        (0, lambda header, arrays: header["training_state"].update(epoch=10**4000), "does not hold the numbers"),
        (0, lambda header, arrays: header["training_state"].update(epoch=10**18), "pass more epochs"),
        (
            0,
            lambda header, arrays: header["training_state"]["state"].update({"state.updates": 10**4000}),
            "not a number such",
        ),
        (0, lambda header, arrays: arrays.update({"history.loss": np.asarray(1.0)}), "holds history.loss as ()"),
        (0, lambda header, arrays: arrays.update({"history.loss": np.ones(7)}), "several numbers of epochs"),
        (1, lambda header, arrays: arrays.update({"history.loss": np.ones(2)}), "holds history.loss as (2,)"),
        (1, lambda header, arrays: arrays.update({"stack.active": np.asarray([0, 7])}), "networks that do not exist"),
        (2, lambda header, arrays: arrays.pop("state.theta_changes.0"), "lacks|differ in number|unexpected"),
    ],
)
def test_a_forged_checkpoint_is_refused_with_a_message(checkpoint, number, change, expected):
    message = checkpoint(number, change)
    assert any(part in message for part in expected.split("|")), message


# --- the fuzzer itself ---


def test_a_process_that_dies_or_hangs_is_reported_with_the_number_of_its_file(monkeypatch):
    """Three files: the first is read, the second ends the process, the third never ends."""
    code = (
        "import json, os, sys, time\n"
        "first = int(sys.argv[1])\n"
        "if first == 0: print(json.dumps({'n': 0, 'outcome': 'read'}), flush=True); os.abort()\n"
        "time.sleep(60)\n"
    )
    started = fuzz.subprocess.Popen

    def start(command, **options):
        return started([command[0], "-c", code, command[-2]], **options)

    monkeypatch.setattr(fuzz.subprocess, "Popen", start)
    reported = list(fuzz.results("model", 0, 0, 3, silence=2))
    assert [(result["n"], result["outcome"]) for result in reported] == [(0, "read"), (1, "failed"), (2, "failed")]
    assert "ended with -6" in reported[1]["reason"]
    assert "no end in 2 s" in reported[2]["reason"]


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda path: 1 / 0, "ZeroDivisionError"),
        (lambda path: bytearray(10**8), "bytes were taken"),
        (lambda path: (_ for _ in ()).throw(ModelFileError("\x1b")), "unreadable"),
    ],
)
def test_failures_of_the_fuzzer(path, read, reason):
    path.write_bytes(b"12345678")
    assert reason in fuzz.judged(MODEL._replace(read=read), path)["reason"]


def test_the_worst_files_are_reported_line_by_line(capsys, tmp_path):
    assert fuzz.main(["--worst", "1000", "--output", str(tmp_path / "worst.json")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].strip() for line in lines] == list(forged_files.LARGE)
    assert not any("failed" in line for line in lines)


@pytest.mark.slow
def test_a_run_writes_figures_and_makes_each_file_again(tmp_path, capfd):
    output = tmp_path / "figures.json"
    assert fuzz.main(["--files", "30", "--seed", "7", "--kinds", "model", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())["kinds"]["model"]
    assert figures["files"] == 30
    assert sum(figures["outcomes"].values()) == 30
    assert figures["failures"] == []
    files = forged_files.valid_models()
    again = [forged_files.file_number("model", MODEL.mutations, files, 7, 3) for _ in range(2)]
    assert again[0] == again[1]
