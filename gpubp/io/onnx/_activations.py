"""Activations as ONNX operators. Each activation of gpubp.nn that can be exported has an entry here.

An activation that ONNX has as an operator is exported as that operator, so that other programs recognise it. Some
operators have float32 attributes, or run in onnxruntime in float32 only; in float64 these activations are composed of
others.
"""

import math
from collections.abc import Callable
from itertools import accumulate, pairwise

from gpubp._core.names import parse_name, unknown
from gpubp.errors import DataError
from gpubp.io.onnx._graph import Graph
from gpubp.nn.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE

AddActivation = Callable[[Graph, str], str]
"""Adds an activation to a graph: takes the value of the total input, and returns the value of the output."""


def _identity(graph: Graph, x: str) -> str:
    return x


def _operator(name: str) -> Callable[[], AddActivation]:
    return lambda: lambda graph, x: graph.node(name, x)


def _by_sign(graph: Graph, x: str, below: str) -> str:
    """Return x where it is above 0, and `below` elsewhere."""
    return graph.node("Where", graph.node("Greater", x, graph.number(0.0)), x, below)


def _make_leaky_relu(slope: float = 0.01) -> AddActivation:
    def leaky_relu(graph: Graph, x: str) -> str:
        if graph.precision == "float32":
            return graph.node("LeakyRelu", x, alpha=slope)
        return _by_sign(graph, x, graph.node("Mul", x, graph.number(slope)))

    return leaky_relu


def _make_elu(alpha: float = 1.0) -> AddActivation:
    def elu(graph: Graph, x: str) -> str:
        if graph.precision == "float32":
            return graph.node("Elu", x, alpha=alpha)
        e = graph.node("Exp", graph.node("Min", x, graph.number(0.0)))
        return _by_sign(graph, x, graph.node("Mul", graph.node("Sub", e, graph.number(1.0)), graph.number(alpha)))

    return elu


def _selu(graph: Graph, x: str) -> str:
    if graph.precision == "float32":
        return graph.node("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE)
    return graph.node("Mul", _make_elu(SELU_ALPHA)(graph, x), graph.number(SELU_SCALE))


def _cosine(graph: Graph, x: str) -> str:
    if graph.precision == "float32":
        return graph.node("Cos", x)
    sine = graph.node("Sin", graph.node("Mul", x, graph.number(0.5)))  # cos x is 1 - 2 sin(x / 2)**2
    return graph.node("Sub", graph.number(1.0), graph.node("Mul", graph.node("Mul", sine, sine), graph.number(2.0)))


def _softplus(graph: Graph, x: str) -> str:
    if graph.precision == "float32":
        return graph.node("Softplus", x)
    e = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    above = graph.node("Max", x, graph.number(0.0))
    return graph.node("Add", above, graph.node("Log", graph.node("Add", e, graph.number(1.0))))


def _gated(graph: Graph, x: str, gate: str) -> str:
    """Multiply x by logistic(gate), as ``x / (1 + exp(-gate))``, whose overflow gives 0.

    onnxruntime 1.20 replaces x times Sigmoid by a kernel that exists in float32 only.
    """
    e = graph.node("Exp", graph.node("Neg", gate))
    return graph.node("Div", x, graph.node("Add", e, graph.number(1.0)))


def _silu(graph: Graph, x: str) -> str:
    return _gated(graph, x, x)


def _gelu(graph: Graph, x: str) -> str:
    scale, cubic = 2.0 * math.sqrt(2.0 / math.pi), 0.044715
    cube = graph.node("Mul", x, graph.node("Mul", x, x))
    bent = graph.node("Add", x, graph.node("Mul", cube, graph.number(cubic)))
    return _gated(graph, x, graph.node("Mul", bent, graph.number(scale)))


def _mish(graph: Graph, x: str) -> str:
    return graph.node("Mul", x, graph.node("Tanh", _softplus(graph, x)))


def _make_softmax(*groups: int) -> AddActivation:
    def softmax(graph: Graph, x: str) -> str:
        if not groups:
            return graph.node("Softmax", x, axis=-1)
        parts = [graph.slice(x, start, stop) for start, stop in pairwise(accumulate(groups, initial=0))]
        return graph.concatenate([graph.node("Softmax", part, axis=-1) for part in parts])

    return softmax


ONNX_ACTIVATIONS: dict[str, Callable[..., AddActivation]] = {
    "identity": lambda: _identity,
    "logistic": _operator("Sigmoid"),
    "tanh": _operator("Tanh"),
    "relu": _operator("Relu"),
    "leaky_relu": _make_leaky_relu,
    "elu": _make_elu,
    "selu": lambda: _selu,
    "softplus": lambda: _softplus,
    "silu": lambda: _silu,
    "gelu": lambda: _gelu,
    "mish": lambda: _mish,
    "cosine": lambda: _cosine,
    "exp": _operator("Exp"),
    "softmax": _make_softmax,
}


def onnx_activation(name: str) -> AddActivation:
    """Find an activation by its name, as :func:`gpubp.nn.activations.get_activation` does."""
    stem, arguments = parse_name("activation", name, ACTIVATIONS)
    if stem not in ONNX_ACTIVATIONS:
        raise DataError(unknown("activation that can be exported", stem, ONNX_ACTIVATIONS))
    return ONNX_ACTIVATIONS[stem](*arguments)
