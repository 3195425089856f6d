"""``gpubp explain`` on the screen: what the matrices hold."""

import numpy as np
import pandas as pd

from tests.shop import FAST, write


def test_inputs_and_outputs_are_named(run):
    assert run("train", "iris", "--numbers", "linear", *FAST)[0] == 0
    code, out, _ = run("explain", "iris.safetensors", "--sample", 1)
    assert code == 0
    assert out.splitlines()[:2] == [
        "inputs     sepal length (cm), sepal width (cm), petal length (cm), petal width (cm)",
        "outputs    setosa, versicolor, virginica",
    ]
    assert run("explain")[1].splitlines()[1] == "outputs    chance of rain"


def test_names_are_shortened_and_escaped(run):
    columns = {f"{'x' * 100}{k}\x1b[31m": np.arange(60) % (2 + k) for k in range(20)}
    pd.DataFrame({**columns, "y": np.arange(60) % 2}).to_csv("wide.csv", index=False)
    assert run("train", "wide.csv", "--numbers", "linear", *FAST)[0] == 0
    first = run("explain", "wide.safetensors", "wide.csv")[1].splitlines()[0]
    assert first.startswith("inputs     xxx")
    assert first.endswith("... (20 in all)")
    assert "\x1b" not in first
    assert len(first) < 1200


def test_an_error_names_the_columns_that_samples_need(run, fails):
    assert run("train", write(), *FAST)[0] == 0
    message = fails("explain", "shop.safetensors")
    assert "pass cases as well, gpubp explain" in message
    assert "It needs the columns 'age', 'income', 'town', 'buys'" in message


def test_the_default_network_for_numbers_is_explained_with_its_linear_part(run):
    assert run("train", "diabetes", "--preset", "fast", *FAST)[0] == 0
    code, out, _ = run("explain", "diabetes.safetensors", "--sample", 1)
    assert code == 0
    assert "[y⁽¹⁾ y⁽⁰⁾ 1]" in out
