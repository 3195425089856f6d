"""The walk through the equations: correct numbers, exact signs, and output that fits 80 columns."""

import itertools
import json
import re

import numpy as np
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

from gpubp import Network
from gpubp.cli.explain.command import explain as command
from gpubp.cli.explain.screen import matrix, stacked
from gpubp.errors import DataError
from gpubp.explain import Example, Passage, Term, _formulas, explain, html_page, rain_network
from gpubp.explain.notation import number_format, worked_number
from gpubp.nn import equations
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.architectures import with_equal_layers
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.nn.passes import loss_and_gradient
from tests.registries import assert_same_names

OPERATIONS = {"×": np.matmul, "∘": np.multiply, "+": np.add, "−": np.subtract, "·": np.multiply}


def walked_gradient(network: Network, passages: list[Passage]) -> np.ndarray:
    blocks = [passage.result.values for passage in passages if passage.equation == "6"]
    return np.concatenate([block.ravel() for block in reversed(blocks)])


def make(network: Network, cases: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, network.sizes[0]))
    d = rng.uniform(0.1, 0.9, size=(cases, network.sizes[-1]))
    theta = initial_weights(network, seed, scheme="uniform", scale=0.8, dtype="float64")
    return network, theta, x, d


NETWORKS = [
    *(Network((3, 4, 2), activation=name, output_activation="tanh") for name in ACTIVATIONS if name != "softmax"),
    *(Network((2, 2, 3), activation="tanh", loss=name) for name in LOSSES),
    *(
        Network((2, 3, 3), activation="tanh", output_activation="softmax", loss=name)
        for name in LOSSES
        if name != "poisson"
    ),
    Network((2, 3, 2), activation="softmax", output_activation="exp", loss="poisson", bias=False),
    Network((2, 3, 2), activation="elu(0.5)", output_activation="leaky_relu(0.2)", loss="huber(0.3)"),
    Network((2, 1), output_activation="logistic", bias=False),
    Network((2, *[2] * 11, 1), activation="tanh"),
    Network((3, 4, 2), activation="tanh", skips=((0, 2),)),
    Network((2, 4, 3, 1), activation="tanh", skips=((0, 2), (0, 3)), bias=False),
]


@pytest.mark.parametrize(
    ("table", "registry"),
    [
        ("VALUES", {*ACTIVATIONS}),
        ("SLOPES", {*ACTIVATIONS} - {"softmax"}),  # each output depends on all inputs: no slope
        ("ERRORS", {*LOSSES}),
    ],
)
def test_every_activation_and_loss_has_its_formulas(table, registry):
    place = "LOSSES of gpubp/nn/losses.py" if table == "ERRORS" else "ACTIVATIONS of gpubp/nn/activations.py"
    assert_same_names({place: registry, f"{table} of gpubp/explain/_formulas.py": getattr(_formulas, table)})


def test_losses_with_a_form_at_the_total_inputs_have_its_formula():
    expected = [name for name in LOSSES if get_loss(name).at_total_inputs is not None]
    listed = [name for name, formulas in _formulas.ERRORS.items() if formulas.at_total]
    with_formula = "the entries of ERRORS in gpubp/explain/_formulas.py with at_total"
    assert_same_names({"the losses with at_total_inputs in gpubp/nn/losses.py": expected, with_formula: listed})


def test_the_deck_s_matrix_formulas():
    network, theta, x, y = rain_network()
    w1, w2 = theta[:6].reshape(2, 3), theta[6:].reshape(3, 1)
    a1 = 1 / (1 + np.exp(-x @ w1))
    a2 = 1 / (1 + np.exp(-a1 @ w2))
    delta2 = (a2 - y) * a2 * (1 - a2)
    delta1 = delta2 @ w2.T * a1 * (1 - a1)
    passages = explain(network, theta, x, y, learning_rate=2.0)
    by_name = {passage.result.name: passage.result.values for passage in passages}
    expected = {
        "y⁽¹⁾": a1,
        "y⁽²⁾": a2,
        "∂E/∂x⁽²⁾": delta2,
        "∂E/∂W⁽²⁾": a1.T @ delta2,
        "∂E/∂x⁽¹⁾": delta1,
        "∂E/∂W⁽¹⁾": x.T @ delta1,
        "ΔW⁽¹⁾": -2 * x.T @ delta1,
        "ΔW⁽²⁾": -2 * a1.T @ delta2,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(by_name[name], values, rtol=1e-13, atol=1e-17, err_msg=name)
    [error] = [passage.result.values for passage in passages if passage.equation == "3"]
    np.testing.assert_allclose(error, np.sum((a2 - y) ** 2) / 2, rtol=1e-14)


def test_the_order_of_the_equations():
    equations = [passage.equation for passage in explain(*rain_network())]
    assert equations == ["", "1", "2", "1", "2", "3", "4", "5", "6", "7", "5", "6", "8", "8", "", ""]


def test_the_rain_network_is_the_deck_s():
    network, theta, x, d = rain_network()
    assert network == Network((2, 3, 1), activation="logistic", output_activation="logistic", bias=False)
    assert x.tolist() == [[3, 5], [1, 6], [0, 8]]
    assert d.ravel().tolist() == [0.99, 0.59, 0.19]
    np.testing.assert_array_equal(theta, rain_network().theta)
    assert np.abs(theta).max() <= 0.3


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_the_arithmetic_is_correct(network):
    """Applying the signs from left to right gives the result, in every passage whose signs are all exact."""
    passages = explain(*make(network))
    followed = 0
    for passage in passages:
        signs = [term.sign for term in passage.terms[1:]]
        if passage.result.sign != "=" or not signs or not set(signs) <= set(OPERATIONS):
            continue
        value = passage.terms[0].values
        for sign, _, values in passage.terms[1:]:
            value = OPERATIONS[sign](value, values)
        np.testing.assert_allclose(value, passage.result.values, rtol=1e-12, atol=1e-15, err_msg=passage.title)
        followed += 1
    layers = len(network.sizes) - 1
    assert followed >= 4 * layers - 1  # (1), (6) and (8) of each layer, (7) of each but the first


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_results_are_the_inputs_of_later_steps(network):
    """Arrays of the same name are equal throughout the walk."""
    arrays: dict[str, np.ndarray] = {}
    for passage in explain(*make(network)):
        for term in (*passage.terms, passage.result):
            np.testing.assert_array_equal(arrays.setdefault(term.name, term.values), term.values, err_msg=term.name)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_the_walk_gives_the_gradient(network):
    case = make(network)
    passages = explain(*case)
    E, gradient = loss_and_gradient(np, *case)
    np.testing.assert_allclose(walked_gradient(network, passages), gradient, rtol=1e-13, atol=1e-16)
    [error] = [passage for passage in passages if passage.equation == "3"]
    np.testing.assert_allclose(error.result.values, E, rtol=1e-14)
    np.testing.assert_allclose(error.terms[-1].values.sum(), E, rtol=1e-12)
    check = passages[-1]
    assert check.result.name == "largest deviation"
    assert float(check.result.values) < 1e-7
    np.testing.assert_allclose(check.terms[1].values[:, 0], gradient)


def test_the_check_detects_a_wrong_gradient(monkeypatch):
    right = equations.dE_dy_below
    monkeypatch.setattr(equations, "dE_dy_below", lambda *a, **k: 1.01 * right(*a, **k))
    assert float(explain(*rain_network())[-1].result.values) > 1e-3


def test_a_step_goes_downhill_unless_it_is_too_long():
    network, theta, x, d = rain_network()
    before = next(passage for passage in explain(network, theta, x, d) if passage.equation == "3").result.values
    after = explain(network, theta, x, d)[-2]
    assert float(after.result.values) < float(before)
    assert "fell from" in after.meaning
    assert "ε is too large" in explain(network, theta, x, d, learning_rate=1e4)[-2].meaning


def test_every_unit_and_error_has_its_formula():
    for network in NETWORKS:
        for passage in explain(*make(network)):
            assert passage.meaning.endswith(".")
            assert passage.formula
    chain = {passage.equation: passage.formula for passage in explain(*rain_network())}
    assert chain["5"] == "∂E/∂xⱼ = ∂E/∂yⱼ · dyⱼ/dxⱼ = ∂E/∂yⱼ · yⱼ (1 − yⱼ)"
    assert chain["6"] == "∂E/∂wⱼᵢ = Σₙ ∂E/∂xₙⱼ · ∂xₙⱼ/∂wⱼᵢ = Σₙ ∂E/∂xₙⱼ · yₙᵢ"


def test_errors_on_their_own_unit_are_taken_in_one():
    for name in ("cross_entropy", "binary_cross_entropy", "poisson"):
        network = Network((2, 2, 3), activation="tanh", loss=name)
        assert network.output_activation == get_loss(name).output
        assert "4, 5" in [passage.equation for passage in explain(*make(network))]


def test_inputs_are_not_written_to():
    case = rain_network()
    for array in case[1:]:
        array.flags.writeable = False  # writing raises
    assert explain(*case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": np.zeros(8)}, r"theta must be \(9,\)"),
        ({"theta": np.zeros((2, 9))}, "a stack of 2"),
        ({"x": np.zeros((3, 4))}, "as the network has 2 inputs"),
        ({"d": np.zeros(3)}, r"targets must be \(3, 1\)"),
        ({"x": np.full((3, 2), np.nan)}, "must be finite"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and above 0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(DataError, match=message):
        explain(**rain_network()._asdict() | change)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network((2, 2, 2, 1), skips=((1, 3),)), "2-2-2-1, has connections that skip layers from hidden ones; to fix"),
        (with_equal_layers(Network((2, 2, 2)), [1, 2]), "2-2-2, has weights that are tied"),
        (with_embedded_inputs(Network((2, 2, 1)), [range(2)], n_outputs=2), "has connections that are absent"),
        (Network((2, 2, 1), n_members=3), "explain needs .*2-2-1, has members that share weights"),
    ],
)
def test_networks_with_other_weights_are_refused(network, message):
    with pytest.raises(DataError, match=message):
        explain(*make(network))


def test_connections_past_hidden_layers_are_explained():
    passages = explain(*make(Network((3, 4, 2), activation="tanh", skips=((0, 2),))))
    [total] = [one for one in passages if one.title == "Total input of layer 2"]
    assert total.terms[0].name == "[y⁽¹⁾ y⁽⁰⁾ 1]"
    assert "and each input of the network, past the layers between" in total.meaning
    [below] = [one for one in passages if one.equation == "7"]
    assert below.meaning.endswith(
        "; the inputs' weights and the biases lead to no unit of this layer and are left out."
    )


def test_a_page_does_not_draw_connections_past_hidden_layers():
    with pytest.raises(DataError, match=r"2-2-1, has some past its hidden layers.*explain without --html"):
        html_page(Example(*make(Network((2, 2, 1), skips=((0, 2),)))))


# The command


def run(*arguments: str):
    app = typer.Typer()
    app.command()(command)
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments, catch_exceptions=False)


def test_the_command_is_plain_and_fits_80_columns():
    result = run()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert "\x1b" not in result.stdout
    assert "…" not in result.stdout
    assert not set("╭│╰") & set(result.stdout)
    for number in range(1, 9):
        assert any(line.startswith(f"({number})  ") for line in lines), number


def test_the_command_lays_out_a_product_as_on_paper():
    lines = run().stdout.splitlines()
    start = lines.index("(1)  Total input of layer 1")
    assert [line.strip() for line in lines[start + 4 : start + 11]] == [
        "y⁽⁰⁾                W⁽¹⁾                         x⁽¹⁾",
        "⎡ 3 5 ⎤   ⎡  0.2658 0.0068  0.2857 ⎤   ⎡ -0.4600 0.3425  0.4867 ⎤",
        "⎢ 1 6 ⎥ × ⎣ -0.2515 0.0644 -0.0741 ⎦ = ⎢ -1.2432 0.3933 -0.1589 ⎥",
        "⎣ 0 8 ⎦             2 × 3              ⎣ -2.0120 0.5153 -0.5929 ⎦",
        "3 × 2                                           3 × 3",
        "",
        "the first number: 3 × 0.2658 + 5 × (-0.2515) = -0.4600",
    ]


@pytest.mark.parametrize("precision", ["1", "6", "12"])
def test_precision(precision):
    result = run("--precision", precision)
    assert result.exit_code == 0
    assert max(map(cell_len, result.stdout.splitlines())) <= 80
    assert f"{0.99:.{precision}f}" in result.stdout


@pytest.mark.parametrize("arguments", [("--precision", "0"), ("--precision", "x"), ("--learning-rat", "1")])
def test_misuse(arguments):
    assert run(*arguments).exit_code == 2


def test_json_holds_every_number_in_full():
    result = run("--json", "--learning-rate", "0.25")
    data = json.loads(result.stdout)
    assert data["learning_rate"] == 0.25
    assert data["network"]["sizes"] == [2, 3, 1]
    passages = explain(*rain_network(), learning_rate=0.25)
    assert len(data["passages"]) == len(passages)
    for passage, in_json in zip(passages, data["passages"], strict=True):
        for field in ("equation", "title", "formula", "meaning"):
            assert in_json[field] == getattr(passage, field)
        for term, told_term in zip(
            [*passage.terms, passage.result], [*in_json["terms"], in_json["result"]], strict=True
        ):
            assert told_term["name"] == term.name
            assert told_term["shape"] == list(term.values.shape)
            np.testing.assert_array_equal(np.asarray(told_term["values"]), term.values)


def test_fractions_are_stacked():
    assert stacked("∂E/∂wⱼᵢ = Σ ∂E/∂xⱼ · yᵢ").plain.splitlines() == [
        " ∂E      ∂E",
        "──── = Σ ─── · yᵢ",
        "∂wⱼᵢ     ∂xⱼ",
    ]
    assert stacked("yⱼ = 1 / (1 + exp(−xⱼ))").plain.splitlines() == [
        "          1",
        "yⱼ = ────────────",
        "     1 + exp(−xⱼ)",
    ]
    for inline in ("w ← w + Δw", "∂ = (1 − dⱼ) / (1 − yⱼ)", "½ (x / 2h)"):
        assert stacked(inline).plain == inline


def test_stacked_fractions_line_up():
    for network, passage in itertools.chain.from_iterable(
        ((network, passage) for passage in explain(*make(network))) for network in NETWORKS
    ):
        lines = stacked(passage.formula).plain.splitlines()
        if len(lines) == 3:
            for bar in re.finditer("─+", lines[1]):
                over, under = (line.ljust(200)[bar.start() : bar.end()] for line in (lines[0], lines[2]))
                assert over.strip(), (network, passage.formula)
                assert under.strip(), (network, passage.formula)
            assert "/∂" not in lines[1]


def test_a_large_matrix_shows_both_ends():
    lines = matrix(np.arange(400.0).reshape(20, 20), 2)
    assert lines[0] == "⎡   0   1   2   3 …  16  17  18  19 ⎤"
    assert lines[4] == "⎢   ⋮   ⋮   ⋮   ⋮ ⋮   ⋮   ⋮   ⋮   ⋮ ⎥"
    assert lines[-1] == "⎣ 380 381 382 383 … 396 397 398 399 ⎦"
    assert len(lines) == 9


def test_numbers_of_every_size_stay_readable():
    assert matrix(np.asarray([[1e-7, -2e-9]]), 3) == ["[ 1.00e-07 -2.00e-09 ]"]
    assert matrix(np.asarray([[1e8, 0.5]]), 3) == ["[ 1.00e+08 5.00e-01 ]"]
    assert matrix(np.asarray([[0.0]]), 3) == ["[ 0 ]"]
    assert matrix(np.asarray([[np.inf, np.nan]]), 3) == ["[ inf nan ]"]
    assert matrix(np.asarray(0.25), 2) == ["0.25"]
    assert number_format(np.asarray([0.4]), 1)(0.4) == "0.4"


def test_a_minus_after_a_sign_is_in_brackets():
    a, b = np.asarray([[-1.0, 2.0]]), np.asarray([[-3.0], [-4.0]])
    passage = Passage("1", "", "", (Term("", "a", a), Term("×", "b", b)), Term("=", "c", a @ b), "")
    assert worked_number(passage, 2) == "the first number: -1 × (-3) + 2 × (-4) = -5"
