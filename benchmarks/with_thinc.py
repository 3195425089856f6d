"""Thinc: layers chained, its own backward pass and its own Adam; it has no momentum."""

from itertools import pairwise

import thinc.api as thinc

ACTIVATIONS = {"relu": thinc.Relu, "logistic": thinc.Sigmoid}


def step(problem):
    """Train by Thinc's loop of ``begin_update``, ``backprop`` and ``finish_update``."""
    spec, batches, ops, model = problem.spec, problem.batches, thinc.get_current_ops(), _model(problem)
    output = ops.softmax if spec["output"] == "softmax" else ops.sigmoid

    def run(epochs):
        _set_weights(model, problem)
        optimizer = thinc.Adam(spec["rate"], L2=0.0, beta1=0.9, beta2=0.999, eps=1e-8, grad_clip=0.0)
        curve = []
        for _ in range(epochs):
            total = 0.0
            for x, targets in batches:
                seen, backprop = model.begin_update(x)
                y = output(seen)
                backprop((y - targets) / len(x))
                model.finish_update(optimizer)
                total += _error(ops, spec, y, targets)
            curve.append(total / len(batches))
        return curve

    return run


def predict(problem):
    """Compute outputs, NumPy in and NumPy out."""
    model, ops = _model(problem), thinc.get_current_ops()
    _set_weights(model, problem)
    output = ops.softmax if problem.spec["output"] == "softmax" else ops.sigmoid
    return lambda x: output(model.predict(x))


def _model(problem):
    sizes, activation = problem.spec["sizes"], ACTIVATIONS[problem.spec["activation"]]
    layers = [activation(n_out, n_in) for n_in, n_out in pairwise(sizes[:-1])]
    model = thinc.chain(*layers, thinc.Linear(sizes[-1], sizes[-2]))
    model.initialize()
    return model


def _set_weights(model, problem):
    for layer, (w, b) in zip(model.layers, problem.weights, strict=True):
        layer.set_param("W", w.T.copy())
        layer.set_param("b", b.copy())


def _error(ops, spec, y, targets):
    log = ops.xp.log
    if spec["output"] == "softmax":
        return float(-(targets * log(y)).sum() / len(y))
    return float(-(targets * log(y) + (1 - targets) * log(1 - y)).sum() / len(y))
