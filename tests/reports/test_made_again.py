"""What a report says makes its model again, and that its scores are of rows of the training."""

import html
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gpubp import MLPClassifier, MLPRegressor, TabularClassifier, load_model, save_model
from gpubp.__main__ import main
from gpubp.tabular import fit_table, prepare_table

pytestmark = pytest.mark.once

X = np.random.default_rng(0).normal(size=(80, 2))
FRAME = pd.DataFrame(X, columns=["a", "b"]).assign(y=np.where(X[:, 0] > 0, "u", "v"))
FITTED = "The model was fitted to these rows"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made_again(path="r.html"):
    """The lines of the page that make its model again, and its notes."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    [code] = re.findall(r"<pre[^>]*><code>(.*?)</code>", text, re.DOTALL)
    notes = re.findall(r'<p class="doubt">(.*?)</p>', text)
    return html.unescape(code.replace("<br>", "\n")).splitlines(), " ".join(map(html.unescape, notes))


@pytest.mark.parametrize(
    ("arguments", "options", "lines"),
    [
        ((FRAME, "y"), {}, ["# X: a table with the columns 'a', 'b', 'y'", "model.fit(X, 'y')"]),
        (
            (X, FRAME["y"].to_numpy()),
            {"sample_weight": np.ones(80)},
            [
                "# X: a table with the columns 'x0', 'x1'",
                "# y: for each row its class: 'u', 'v'",
                "model.fit(X, y, sample_weight=sample_weight)",
            ],
        ),
        (("data/t.csv", "y"), {}, ["model.fit('t.csv', 'y')"]),
    ],
    ids=["frame", "array", "file"],
)
def test_the_call_of_an_estimator_for_tables(tmp_path, arguments, options, lines):
    (tmp_path / "data").mkdir()
    FRAME.to_csv("data/t.csv", index=False)
    model = TabularClassifier(epochs=2, device="cpu").fit(*arguments, **options)
    model.report("r.html", *arguments)
    code, notes = made_again()
    assert [line for line in code if line.startswith(("#", "model.fit"))] == lines
    assert FITTED in notes
    model.save("m.safetensors")
    assert main(["report", "m.safetensors", "-o", "r.html"]) == 0
    assert made_again()[0][-len(lines) :][-1] == lines[-1]
    if arguments[0] is FRAME:
        model.report("r.html", FRAME[:40], "y")
        assert FITTED not in made_again()[1]


def test_the_command_of_a_file(tmp_path):
    (tmp_path / "my data").mkdir()
    FRAME.to_csv("my data/t.csv", index=False)
    options = [
        "--preset",
        "fast",
        "--epochs",
        "3",
        "--drop",
        "b",
        "--device",
        "cpu",
        "--no-picture",
        "-o",
        "m.safetensors",
    ]
    assert main(["train", "my data/t.csv", *options, "--quiet"]) == 0
    model = load_model("m.safetensors")
    assert model.about["command"] == ["gpubp", "train", "t.csv", "--drop", "b", "--preset", "fast", "--epochs", "3"]
    assert main(["report", "m.safetensors", "-o", "r.html"]) == 0
    assert made_again()[0] == ["gpubp train t.csv --drop b --preset fast --epochs 3"]
    forged = {**model.about, "command": ["gpubp", "train", "t.csv; rm -r x", "$(rm x)"]}
    save_model("m.safetensors", replace(model, about=forged))
    assert main(["report", "m.safetensors", "-o", "r.html"]) == 0
    assert made_again()[0] == ["gpubp train 't.csv; rm -r x' '$(rm x)'"]
    for command in (["rm", "-r", "x"], "gpubp train t.csv", ["gpubp", "train", 3], []):
        save_model("m.safetensors", replace(model, about={**model.about, "command": command}))
        assert main(["report", "m.safetensors", "-o", "r.html"]) == 0
        assert made_again()[0][0] == "from gpubp import TabularClassifier"


@pytest.mark.parametrize("fit", [{"X": 3, "y": ["y", 4], "others": "all"}, [], {"others": ["os.system"]}])
def test_a_forged_call_is_not_shown(fit):
    model = fit_table(prepare_table(FRAME, target="y"), epochs=1, device="cpu").model
    save_model("m.safetensors", replace(model, about={**model.about, "estimator": {"fit": fit}}))
    assert main(["report", "m.safetensors", "-o", "r.html"]) == 0
    assert made_again()[0][-1] == "model.fit(X, y)"


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_as_many_samples_as_in_the_fit(options):
    model = MLPClassifier((3,), max_iter=12, tol=10.0, device="cpu", **options).fit(X, FRAME["y"])
    model.report("r.html", X, FRAME["y"])
    code, notes = made_again()
    assert code[2:4] == ["# X: samples of 2 features", "# y: for each sample one of 2 classes: u, v"]
    assert "their scores flatter" in notes
    model.report("r.html", X[:70], FRAME["y"][:70])
    assert ("flatter" in made_again()[1]) == (options == {"solver": "lbfgs"})
    model.report("r.html")
    assert made_again()[1] == ""


def test_a_regressor():
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=12, tol=10.0, device="cpu").fit(FRAME[["a", "b"]], X)
    model.report("r.html")
    assert made_again()[0][2:4] == ["# X: samples of 2 features: 'a', 'b'", "# y: for each sample numbers"]
