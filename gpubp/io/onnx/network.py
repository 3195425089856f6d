"""The pass forward, eq. (1) and (2), of one network or of a stack."""

import numpy as np

from gpubp.io.onnx.graph import Graph
from gpubp.io.onnx.units import unit
from gpubp.nn.network import Network, views


def outputs(graph: Graph, network: Network, theta: np.ndarray, x: str) -> str:
    """Add a network to a graph; of a stack all networks see the same samples.

    Parameters
    ----------
    theta : (P,) or (K, P) array of NumPy
        In the precision of the graph.
    x : str
        The value that holds the samples, ``(b, i)``.

    Returns
    -------
    str
        The value that holds the outputs: ``(b, j)``, or ``(K, b, j)``.
    """
    sent = [x]
    for layer, (w, name) in enumerate(zip(views(np, network, theta), network.activations, strict=True), start=1):
        sent.append(unit(name)(graph, _total_input(graph, network, w, sent, layer)))
    return sent[-1]


def _total_input(graph: Graph, network: Network, w: np.ndarray, sent: list[str], layer: int) -> str:
    """Sum what comes from each layer below: with connections that skip layers, from several."""
    products, start = [], 0
    for below in network.layers_below[layer - 1]:
        stop = start + network.sizes[below]
        weights = graph.constant(w[..., start:stop, :], f"weights.{below}.{layer}")
        products.append(graph.node("MatMul", sent[below], weights, name=f"product.{below}.{layer}"))
        start = stop
    if network.bias:
        products.append(graph.constant(w[..., -1:, :], f"biases.{layer}"))
    total = products[0]
    for more in products[1:]:
        total = graph.node("Add", total, more, name=f"total_input.{layer}")
    return total
