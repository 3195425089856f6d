"""Lower bounds for a step: only its matrix products, and on a GPU only the bytes that it must move."""

from functools import partial
from itertools import pairwise

import numpy as np


def products(x, weights, ones):
    """Return the products of a step as ``(a, b, out)``: those of the forward pass and those of the backward pass.

    ``ones(shape)`` makes an array of the library of ``x`` and ``weights``.
    """
    ys = [x, *(ones((x.shape[0], w.shape[1])) for w in weights)]
    signals, gradients = [ones(y.shape) for y in ys], [ones(w.shape) for w in weights]
    ahead = [(y, w, above) for y, w, above in zip(ys, weights, ys[1:], strict=False)]
    back = []
    for layer in reversed(range(len(weights))):
        back.append((ys[layer].T, signals[layer + 1], gradients[layer]))
        if layer:
            back.append((signals[layer + 1], weights[layer].T, signals[layer]))
    return ahead, back


def traffic_bytes(spec):
    """Count the bytes that a step must move at least: samples, weights, optimizer's state, each layer's outputs."""
    sizes, item = spec["sizes"], np.dtype(spec["dtype"]).itemsize
    weights = sum((i + 1) * j for i, j in pairwise(sizes))
    arrays = 1 + {"momentum": 1, "adam": 2}[spec["optimizer"]]  # the weights and the state, each read and written
    outputs = 2 * spec["batch"] * sum(sizes[1:])  # written in the forward pass, read in the backward pass
    return item * (2 * arrays * weights + outputs + spec["batch"] * (sizes[0] + sizes[-1]))


def step(problem, device="cpu", traffic=False):
    """Compute only the products of a step."""
    if device == "cuda":
        return _on_gpu(problem, traffic)
    ahead, back = _in_numpy(problem)

    def run(epochs):
        for _ in range(epochs * problem.spec["batches"]):
            for a, b, out in ahead + back:
                np.matmul(a, b, out=out)

    return run


def predict(problem):
    """Compute only the products of the forward pass."""
    ahead, _ = _in_numpy(problem)

    def outputs(x):
        for a, b, out in ahead:
            np.matmul(a, b, out=out)

    return outputs


def _in_numpy(problem):
    ones = partial(np.ones, dtype=problem.spec["dtype"])
    return products(problem.batches[0][0], [w for w, _ in problem.weights], ones)


def _on_gpu(problem, traffic):
    """Capture the work as a CUDA graph, so that its time includes no Python."""
    import torch

    if traffic:  # a copy reads and writes
        read, written = torch.ones((2, traffic_bytes(problem.spec) // 2), dtype=torch.uint8, device="cuda")
    x, *weights = [
        torch.from_numpy(array).cuda() for array in (problem.batches[0][0], *(w for w, _ in problem.weights))
    ]
    ahead, back = products(x, weights, partial(torch.ones, dtype=x.dtype, device="cuda"))

    def work():
        if traffic:
            written.copy_(read)
        else:
            for a, b, out in ahead + back:
                torch.matmul(a, b, out=out)

    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def run(epochs):
        for _ in range(epochs * problem.spec["batches"]):
            graph.replay()
        torch.cuda.synchronize()

    return run
