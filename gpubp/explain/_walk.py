"""One forward pass, one backward pass and one change of the weights, equation by equation, with all their numbers.

The numbers come from the equations, activations and losses that training uses, in float64 on the host; this module adds
their order, their names and their meaning. Matrices are written with the paper's letters and the layer in
brackets above: ``y⁽⁰⁾`` are the inputs, ``W⁽¹⁾`` the weights into layer 1, ``x⁽¹⁾`` its total inputs, ``y⁽¹⁾`` its
outputs.
"""

import math
from typing import NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import choose_backend
from gpubp.data.datasets import load_dataset
from gpubp.engine.argument_checks import validate_targets, validate_theta, validate_x
from gpubp.errors import DataError
from gpubp.explain._formulas import ERRORS, SLOPES, VALUES
from gpubp.nn import equations
from gpubp.nn.activations import get_activation
from gpubp.nn.gradient_check import check_gradient
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import get_loss, output_loss
from gpubp.nn.network import Network, flatten, views
from gpubp.nn.passes import Layer, forward, loss_and_gradient
from gpubp.nn.weight_sharing import ABSENT

STAGES = ("start", "forward", "error", "backward", "update", "check")

MOST_CHECKED = 500
"""Parameters whose derivatives are compared with differences, which take two passes each."""


class Term(NamedTuple):
    """A named array, and the sign between it and the one before it.

    The signs ``×`` (matrix product), ``∘`` (number by number), ``+``, ``−`` and ``·`` (by a single number) are exact:
    applied from left to right they give the array after ``=``. Other signs are words or arrows.

    Examples
    --------
    >>> [term.name for term in explain(*rain_network())[1].terms]
    ['y⁽⁰⁾', 'W⁽¹⁾']
    """

    sign: str
    name: str
    values: np.ndarray


class Passage(NamedTuple):
    """One step of the walk.

    Attributes
    ----------
    equation : str
        Its number in the paper: ``"5"``, or ``"4, 5"`` for two at once; empty for steps without a number.
    title : str
    formula : str
        In the paper's letters; the chain rule is written as a product of fractions.
    terms : tuple of Term
        The inputs of the step.
    result : Term
    meaning : str
        An explanation in one sentence.
    stage : str
        One of `STAGES`.
    layer : int, optional
        The layer that the step computes, by its units or by the weights into it; None for all layers.

    Examples
    --------
    >>> passage = explain(*rain_network())[1]
    >>> passage.equation, passage.stage
    ('1', 'forward')
    """

    equation: str
    title: str
    formula: str
    terms: tuple[Term, ...]
    result: Term
    meaning: str
    stage: str = ""
    layer: int | None = None


class Example(NamedTuple):
    """The arguments of :func:`explain`: a network, its weights, and cases with their desired outputs.

    Examples
    --------
    >>> example = rain_network()
    >>> example.x.shape, example.d.shape
    ((3, 2), (3, 1))
    """

    network: Network
    theta: np.ndarray
    x: np.ndarray
    d: np.ndarray


def rain_network() -> Example:
    """Make a 2-3-1 network of logistic units without biases, with three days whose chance of rain it learns.

    The weights come from a fixed seed, uniform in the paper's range of -0.3 to 0.3.

    Examples
    --------
    >>> rain_network().network.sizes
    (2, 3, 1)
    """
    network = Network((2, 3, 1), activation="logistic", output_activation="logistic", bias=False)
    table = load_dataset("rain")
    return Example(network, initial_weights(network, seed=4, scheme="uniform", dtype="float64"), table.X, table.targets)


@np.errstate(all="ignore")
def explain(network: Network, theta: Array, x: Array, d: Array, *, learning_rate: float = 0.5) -> list[Passage]:
    """Explain one forward pass, one backward pass, the change of the weights by eq. (8), and a check of the gradient.

    Parameters
    ----------
    network : Network
    theta : (P,) array
    x : (b, i) array
        A few cases.
    d : (b, j) array
        Their desired outputs.
    learning_rate : float
        The paper's epsilon.

    Returns
    -------
    list of Passage

    Raises
    ------
    DataError
        If shapes do not fit the network, values are not finite, the learning rate is not positive, or the network has
        connections past hidden layers from others than the inputs, tied or absent connections, parametric activations,
        or members that share weights.

    Examples
    --------
    >>> for passage in explain(*rain_network())[1:3]:
    ...     print(passage.equation, passage.formula)
    1 xⱼ = Σᵢ yᵢ wⱼᵢ
    2 yⱼ = 1 / (1 + exp(−xⱼ))
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise DataError(f"learning_rate must be finite and above 0, got {learning_rate}")
    reasons = {
        "connections that skip layers from hidden ones": any(below for below, _ in network.skips),
        "weights that are tied": network.tied is not None and not network.tied.only_absent,
        "connections that are absent": ABSENT in (network.ties or ()),
        "parametric activations": any(network.activation_weights),
        "members that share weights": network.n_members,
    }
    if reason := next((name for name, found in reasons.items() if found), None):
        raise DataError(
            f"explain needs a network with independent weights whose hidden layers connect only to the next one; this "
            f"one, {'-'.join(map(str, network.sizes))}, has {reason}; to fix it: train one without them, for a table "
            "with the preset fast and without embeddings"
        )
    host = choose_backend("cpu")
    theta = validate_theta(network, host, "float64", theta)
    if theta.ndim != 1:
        raise DataError(f"explain takes one network, got a stack of {theta.shape[0]}; to fix it: pass one row of theta")
    x = validate_x(network, host, "float64", theta, x, name="x")
    d = validate_targets(network, host, "float64", theta, x, d)

    layers, passages = _forward(network, theta, x)
    blocks, backward_passages = _backward(network, theta, x, d, layers)
    gradient = flatten(np, blocks)
    change = equations.gradient_descent(np, gradient, rate=learning_rate)
    return [
        _start(network, theta, x, d),
        *passages,
        *backward_passages,
        *_changes(network, blocks, change, learning_rate),
        _outcome(network, theta, theta + change, x, d),
        _check(network, theta, x, d, gradient),
    ]


def _start(network: Network, theta: np.ndarray, x: np.ndarray, d: np.ndarray) -> Passage:
    weights = [Term("and", _in_layer("W", k), w) for k, w in enumerate(views(np, network, theta), 1)]
    sizes = "-".join(map(str, network.sizes))
    meaning = (
        f"A {sizes} network of {' and '.join(dict.fromkeys(network.activations))} units "
        f"{'with' if network.bias else 'without'} biases: the rows of {_in_layer('y', 0)} are the cases, and the "
        "rows of d are their desired outputs."
    )
    formula = " → ".join(_in_layer("y", k) for k in range(len(network.sizes)))
    return Passage(
        "", "The inputs", formula, (Term("", _in_layer("y", 0), x), *weights), Term("desired", "d", d), meaning, "start"
    )


def _forward(network: Network, theta: np.ndarray, x: np.ndarray) -> tuple[list[Layer], list[Passage]]:
    layers: list[Layer] = []
    passages = []
    outputs = [x]
    for k, (w, unit) in enumerate(zip(views(np, network, theta), network.activations, strict=True), 1):
        below = _outputs_below(network, k, outputs)
        total = equations.total_input(np, below.values, w, bias=network.bias)
        others = " and each input of the network, past the layers between," if network.layers_below[k - 1][1:] else ""
        meaning = (
            f"{_each_unit(network, k)} adds up its inputs: each output of the layer below{others} times the weight "
            f"between them{'; the last column is a unit that is always 1, its weights the biases' * network.bias}."
        )
        terms = (_with_bias_unit(below, network.bias), Term("×", _in_layer("W", k), w))
        result = Term("=", _in_layer("x", k), total)
        title = f"Total input of layer {k}"
        passages.append(Passage("1", title, "xⱼ = Σᵢ yᵢ wⱼᵢ", terms, result, meaning, "forward", k))
        y = get_activation(unit).value(np, total)
        passages.append(_output(k, unit, total, y))
        layers.append(Layer(total, y))
        outputs.append(y)
    return layers, passages


def _output(k: int, unit: str, total: np.ndarray, y: np.ndarray) -> Passage:
    terms, result = (Term(unit, _in_layer("x", k), total),), Term("=", _in_layer("y", k), y)
    meaning = f"Each unit applies {unit} to its total input."
    if _stem(unit) == "softmax":
        meaning = "Each row of total inputs becomes a row of outputs above 0 that add up to 1."
    formula = f"yⱼ = {VALUES[_stem(unit)]}"
    return Passage("2", f"Output of layer {k}", formula, terms, result, meaning, "forward", k)


def _backward(
    network: Network, theta: np.ndarray, x: np.ndarray, d: np.ndarray, layers: list[Layer]
) -> tuple[list[np.ndarray], list[Passage]]:
    """Walk from the error back to the first layer's weights; return the blocks in the order of the layers."""
    weights = views(np, network, theta)
    last = len(layers)
    dE_dx, passages = _output_derivative(network, layers[-1], d)
    blocks: list[np.ndarray] = []
    outputs = [x, *(layer.y for layer in layers)]
    for k in range(last, 0, -1):
        if k < last:
            dE_dy = equations.dE_dy_below(np, dE_dx, weights[k], bias=network.bias)[:, : network.sizes[k]]
            passages.append(_below(network, k, dE_dx, weights[k], dE_dy))
            dE_dx, passage = _unit_derivative(k, network.activations[k - 1], layers[k - 1], dE_dy)
            passages.append(passage)
        below = _outputs_below(network, k, outputs)
        blocks.insert(0, equations.dE_dw(np, dE_dx, below.values, bias=network.bias))
        passages.append(_weight_derivative(k, _with_bias_unit(below, network.bias), dE_dx, blocks[0]))
    return blocks, passages


def _output_derivative(network: Network, layer: Layer, d: np.ndarray) -> tuple[np.ndarray, list[Passage]]:
    """Compute the error, eq. (3), and its derivative by the total inputs of the output layer, eq. (4) and (5)."""
    k, unit, stem = len(network.activations), network.activations[-1], _stem(network.loss)
    error, (x, y) = get_loss(network.loss), layer
    E, dE_dx = output_loss(np, network.loss, unit, x, y, d)
    outputs = (Term("", _in_layer("y", k), y), Term("−" if stem == "squared" else "and", "d", d))
    each_error = Term("→", "Eⱼ", error.value(np, y, d))
    meaning = "The distance of the outputs from the desired ones: a number for each unit and case, all added up."
    total = Term("sum =", "E", np.asarray(E))
    passages = [Passage("3", "The error", ERRORS[stem].value, (*outputs, each_error), total, meaning, "error", k)]
    at_x = Term("=", f"∂E/∂{_in_layer('x', k)}", dE_dx)
    if error.at_total_inputs is not None and unit == error.output:
        target_term = Term("−" if stem != "cross_entropy" else "and", "d", d)
        meaning = (
            f"The derivative of {unit} cancels with a factor of the error's derivative, which leaves a simple form."
        )
        title = f"From the error to the total input of layer {k}"
        formula = ERRORS[stem].at_total
        passages.append(Passage("4, 5", title, formula, (outputs[0], target_term), at_x, meaning, "backward", k))
        return dE_dx, passages
    dE_dy = error.dE_dy(np, y, d)
    meaning = (
        "How the error changes with each output: positive where the output should fall, negative where it should rise."
    )
    at_y = Term("=", f"∂E/∂{_in_layer('y', k)}", dE_dy)
    title, formula = "From the error to the outputs", ERRORS[stem].slope
    passages.append(Passage("4", title, formula, outputs, at_y, meaning, "backward", k))
    dE_dx, passage = _unit_derivative(k, unit, layer, dE_dy)
    return dE_dx, [*passages, passage]


def _unit_derivative(k: int, unit: str, layer: Layer, dE_dy: np.ndarray) -> tuple[np.ndarray, Passage]:
    """Go from the outputs of a layer to its total inputs, eq. (5)."""
    stem = _stem(unit)
    dE_dx = get_activation(unit).dE_dx(np, dE_dy, *layer)
    title, result = f"Back through the units of layer {k}", Term("=", f"∂E/∂{_in_layer('x', k)}", dE_dx)
    at_y = Term("", f"∂E/∂{_in_layer('y', k)}", dE_dy)
    if stem == "softmax":
        formula = "∂E/∂xⱼ = Σₖ ∂E/∂yₖ · ∂yₖ/∂xⱼ = yⱼ (∂E/∂yⱼ − Σₖ ∂E/∂yₖ yₖ)"
        meaning = "Every total input changes every output of its row, so the paths through all outputs are added up."
        terms = (at_y, Term("and", _in_layer("y", k), layer.y))
        return dE_dx, Passage("5", title, formula, terms, result, meaning, "backward", k)
    slope = get_activation(unit).dE_dx(np, np.ones_like(dE_dy), *layer)
    formula = f"∂E/∂xⱼ = ∂E/∂yⱼ · dyⱼ/dxⱼ = ∂E/∂yⱼ · {SLOPES[stem]}"
    meaning = (
        f"A total input affects the error only through its output, so the derivative is times the slope of {unit}."
    )
    terms = (at_y, Term("∘", f"d{_in_layer('y', k)}/d{_in_layer('x', k)}", slope))
    return dE_dx, Passage("5", title, formula, terms, result, meaning, "backward", k)


def _weight_derivative(k: int, below: Term, dE_dx: np.ndarray, block: np.ndarray) -> Passage:
    """Multiply the two ends of each connection, eq. (6)."""
    terms = (Term("", f"{below.name}ᵀ", below.values.T), Term("×", f"∂E/∂{_in_layer('x', k)}", dE_dx))
    meaning = (
        "A weight changes the total input above it in proportion to the output below it; the product of the two is "
        f"added up over all cases n, here {len(below.values)}."
    )
    formula = "∂E/∂wⱼᵢ = Σₙ ∂E/∂xₙⱼ · ∂xₙⱼ/∂wⱼᵢ = Σₙ ∂E/∂xₙⱼ · yₙᵢ"
    result = Term("=", f"∂E/∂{_in_layer('W', k)}", block)
    title = f"The derivatives of the weights into layer {k}"
    return Passage("6", title, formula, terms, result, meaning, "backward", k)


def _below(network: Network, k: int, dE_dx: np.ndarray, w: np.ndarray, dE_dy: np.ndarray) -> Passage:
    """Go from the total inputs of the layer above to the outputs of layer k, eq. (7)."""
    transposed = w[: network.sizes[k]].T
    others = (("the inputs' weights", len(network.layers_below[k]) > 1), ("the biases", network.bias))
    left_out = " and ".join(name for name, found in others if found)
    without = f"; {left_out} lead to no unit of this layer and are left out" if left_out else ""
    terms = (Term("", f"∂E/∂{_in_layer('x', k + 1)}", dE_dx), Term("×", f"{_in_layer('W', k + 1)}ᵀ", transposed))
    meaning = (
        "An output affects the error through every unit above it, in proportion to the weights: the signal goes "
        f"back along the connections{without}."
    )
    formula = "∂E/∂yᵢ = Σⱼ ∂E/∂xⱼ · ∂xⱼ/∂yᵢ = Σⱼ ∂E/∂xⱼ wⱼᵢ"
    result = Term("=", f"∂E/∂{_in_layer('y', k)}", dE_dy)
    return Passage("7", f"Down to the outputs of layer {k}", formula, terms, result, meaning, "backward", k)


def _changes(network: Network, blocks: list[np.ndarray], change: np.ndarray, learning_rate: float) -> list[Passage]:
    rate = Term("", "−ε", np.asarray(-learning_rate))
    meaning = "Every weight changes against its derivative, downhill, by ε times the slope."
    return [
        Passage(
            "8",
            f"The change of the weights into layer {k}",
            "Δw = −ε ∂E/∂w",
            (rate, Term("·", f"∂E/∂{_in_layer('W', k)}", block)),
            Term("=", f"Δ{_in_layer('W', k)}", step),
            meaning,
            "update",
            k,
        )
        for k, (block, step) in enumerate(zip(blocks, views(np, network, change), strict=True), 1)
    ]


def _outcome(network: Network, theta: np.ndarray, changed: np.ndarray, x: np.ndarray, d: np.ndarray) -> Passage:
    before, after = (forward(np, network, at, x)[-1] for at in (theta, changed))
    E, E_after = (float(output_loss(np, network.loss, network.activations[-1], *end, d)[0]) for end in (before, after))
    y = _in_layer("y", len(network.activations))
    terms = (Term("", f"{y} before", before.y), Term("→", f"{y} after", after.y), Term("desired", "d", d))
    if E_after < E:
        meaning = f"A forward pass with the changed weights: the error fell from {E:.6g} to {E_after:.6g}."
    else:
        meaning = (
            f"A forward pass with the changed weights: the error went from {E:.6g} to {E_after:.6g}; ε is too large."
        )
    result = Term("error", "E after", np.asarray(E_after))
    return Passage("", "The effect of the change", "w ← w + Δw", terms, result, meaning, "update")


def _check(network: Network, theta: np.ndarray, x: np.ndarray, d: np.ndarray, gradient: np.ndarray) -> Passage:
    """Compare the gradient with the function that training uses, and with central differences of the error."""
    _, training_gradient = loss_and_gradient(np, network, theta, x, d)
    n, checked, which = network.n_parameters, None, ""
    if n > MOST_CHECKED and network.tied is None:
        checked = np.linspace(0, n - 1, MOST_CHECKED).astype(int)
        which = f" by {MOST_CHECKED:,} of the {n:,} parameters"
    differences = check_gradient(np, network, theta, x, d, parameters=checked).differences
    largest = max(*(float(np.max(np.abs(g))) for g in (training_gradient, differences)), 1e-300)
    training_deviation = float(np.max(np.abs(gradient - training_gradient))) / largest
    if checked is not None:
        gradient, training_gradient = gradient[checked], training_gradient[checked]
    difference_deviation = float(np.max(np.abs(gradient - differences))) / largest
    columns = (
        ("", "step by step", gradient),
        ("≈", "in training", training_gradient),
        ("≈", "by differences", differences),
    )
    agreement = f"to {training_deviation:.1g} of the largest derivative" if training_deviation else "to the last digit"
    meaning = (
        f"These steps give what training computes, {agreement}. Central differences of the error{which}, which do not "
        f"use the chain rule, agree to {difference_deviation:.1g} of the largest derivative."
    )
    return Passage(
        "",
        "A check of the derivatives",
        "∂E/∂w ≈ (E(w + h) − E(w − h)) / 2h",
        tuple(Term(sign, name, values[:, None]) for sign, name, values in columns),
        Term("off by", "largest deviation", np.asarray(max(training_deviation, difference_deviation))),
        meaning,
        "check",
    )


def _outputs_below(network: Network, k: int, outputs: list[np.ndarray]) -> Term:
    """Return the outputs that layer k has connections from, side by side; those of the inputs are the first."""
    layers = network.layers_below[k - 1]
    names = [_in_layer("y", layer) for layer in layers]
    return Term("", " ".join(names), np.concat([outputs[layer] for layer in layers], axis=-1))


def _with_bias_unit(below: Term, bias: bool) -> Term:
    """Add a column for the extra unit, whose output is always 1, to the outputs below a layer."""
    y = below.values
    if bias:
        return Term("", f"[{below.name} 1]", np.concat([y, np.ones((*y.shape[:-1], 1))], axis=-1))
    return below if " " not in below.name else below._replace(name=f"[{below.name}]")


def _in_layer(letter: str, k: int) -> str:
    return f"{letter}⁽{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(digit)] for digit in str(k))}⁾"


def _stem(name: str) -> str:
    return name.partition("(")[0].strip()


def _each_unit(network: Network, k: int) -> str:
    n, layer = network.sizes[k], "output" if k == len(network.activations) else "hidden"
    return f"The {layer} unit" if n == 1 else f"Each of the {n} {layer} units"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
