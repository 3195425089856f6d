"""The forward pass, eq. (1) and (2), of one network or of a stack."""

import numpy as np

from gpubp.io.onnx._activations import onnx_activation
from gpubp.io.onnx._graph import Graph
from gpubp.nn import batch_ensemble
from gpubp.nn.activations import base_name
from gpubp.nn.network import Network, activation_views, views


def add_network(graph: Graph, network: Network, theta: np.ndarray, x: str) -> str:
    """Add a network to a graph; all networks of a stack see the same samples.

    Parameters
    ----------
    graph : Graph
    network : Network
    theta : (P,) or (K, P) array of NumPy
        In the precision of the graph.
    x : str
        The value of the samples, ``(b, i)``.

    Returns
    -------
    str
        The value of the outputs: ``(b, j)``, or ``(K, b, j)``.
    """
    if network.members is not None:
        return _add_members(graph, network.members, theta, x)
    layers = [x]
    blocks, activation_weights = views(np, network, theta), activation_views(np, network, theta)
    for number, (weights, a, name) in enumerate(
        zip(blocks, activation_weights, network.activations, strict=True), start=1
    ):
        total = _add_total_input(graph, network, weights, layers, number)
        y = onnx_activation(base_name(name))(graph, total)
        if a is not None:  # y = x + a (f(x) - x)
            mixed = graph.node("Mul", graph.node("Sub", y, total), graph.constant(a, f"activation_weights.{number}"))
            y = graph.node("Add", total, mixed)
        layers.append(y)
    return layers[-1]


def _add_members(graph: Graph, members: batch_ensemble.Members, theta: np.ndarray, x: str) -> str:
    """Add members that share weights, and the mean of their outputs."""
    shared, last = batch_ensemble.views(np, members, theta)
    y = x
    for number, (layer, name) in enumerate(zip(shared, members.activations, strict=False), start=1):
        scaled = graph.node("Mul", y, graph.constant(layer.r, f"input_scales.{number}"))
        weights = graph.constant(layer.w[..., None, :, :], f"weights.{number - 1}.{number}")
        product = graph.node("MatMul", scaled, weights, name=f"product.{number - 1}.{number}")
        scaled = graph.node("Mul", product, graph.constant(layer.s, f"output_scales.{number}"))
        y = onnx_activation(name)(graph, graph.node("Add", scaled, graph.constant(layer.b, f"biases.{number}")))
    n = len(members.activations)
    product = graph.node("MatMul", y, graph.constant(last[..., :-1, :], f"weights.{n - 1}.{n}"))
    total = graph.node("Add", product, graph.constant(last[..., -1:, :], f"biases.{n}"))
    outputs = onnx_activation(members.activations[-1])(graph, total)
    return graph.node("ReduceMean", outputs, graph.integers(-3), keepdims=0)


def _add_total_input(graph: Graph, network: Network, weights: np.ndarray, layers: list[str], number: int) -> str:
    """Add the total input of a layer: a sum over the layers below, several of them if connections skip layers."""
    terms, start = [], 0
    for below in network.layers_below[number - 1]:
        stop = start + network.sizes[below]
        block = graph.constant(weights[..., start:stop, :], f"weights.{below}.{number}")
        terms.append(graph.node("MatMul", layers[below], block, name=f"product.{below}.{number}"))
        start = stop
    if network.bias:
        terms.append(graph.constant(weights[..., -1:, :], f"biases.{number}"))
    total = terms[0]
    for term in terms[1:]:
        total = graph.node("Add", total, term, name=f"total_input.{number}")
    return total
