"""References for every contender: textbook equations and scikit-learn's fits, both in float64."""

import numpy as np

from benchmarks.problem import MOMENTUM


def step(problem, corrected=False):
    """Train by the textbook equations."""
    return lambda epochs: reference_curve(problem, epochs, corrected=corrected)


def predict(problem):
    """Compute outputs."""
    return lambda x: forward(problem, problem.weights, x[:20].astype("float64"))[-1]


def estimator(parameters):
    """Make scikit-learn's classifier, which computes in the precision of its data."""
    from sklearn.neural_network import MLPClassifier

    class InFloat64(MLPClassifier):
        def fit(self, x, y):
            return super().fit(x.astype("float64"), y)

    return InFloat64(**parameters, random_state=0)


def forward(problem, weights, x):
    """Compute each layer's outputs, the inputs first."""
    ys = [x]
    for layer, (w, b) in enumerate(weights):
        total = ys[-1] @ w + b
        activation = problem.spec["output"] if layer == len(weights) - 1 else problem.spec["activation"]
        if activation == "relu":
            y = np.maximum(total, 0)
        elif activation == "logistic":
            y = 0.5 + 0.5 * np.tanh(0.5 * total)
        else:
            y = np.exp(total - total.max(axis=1, keepdims=True))
            y /= y.sum(axis=1, keepdims=True)
        ys.append(y)
    return ys


def reference_curve(problem, epochs, corrected=False):
    """Train by the textbook; return the mean loss of each epoch. ``corrected`` is Adam as in PyTorch (reference_of)."""
    spec = problem.spec
    weights = [(w.astype("float64"), b.astype("float64")) for w, b in problem.weights]
    state = [[np.zeros_like(part), np.zeros_like(part)] for layer in weights for part in layer]
    curve, step = [], 0
    for _ in range(epochs):
        losses = []
        for x, targets in problem.batches:
            x, targets, step = x.astype("float64"), targets.astype("float64"), step + 1
            ys = forward(problem, weights, x)
            likelihood = ys[-1] if spec["output"] == "softmax" else np.where(targets > 0, ys[-1], 1 - ys[-1])
            marked = targets > 0 if spec["output"] == "softmax" else np.ones_like(targets, bool)
            losses.append(-np.log(likelihood[marked]).sum() / len(x))
            signal, gradients = (ys[-1] - targets) / len(x), []
            for layer in range(len(weights) - 1, -1, -1):
                gradients[:0] = [ys[layer].T @ signal, signal.sum(axis=0)]
                y = ys[layer]
                slope = (y > 0) if spec["activation"] == "relu" else y * (1 - y)
                signal = (signal @ weights[layer][0].T) * slope
            parts = [part for layer in weights for part in layer]
            changes = [_change(spec, g, s, step, corrected) for g, s in zip(gradients, state, strict=True)]
            changed = [part + change for part, change in zip(parts, changes, strict=True)]
            weights = list(zip(changed[::2], changed[1::2], strict=True))
        curve.append(float(np.mean(losses)))
    return curve


def _change(spec, gradient, state, step, corrected):
    rate = spec["rate"]
    if spec["optimizer"] == "momentum":
        state[0] = MOMENTUM * state[0] - rate * gradient
        return state[0]
    state[0] = 0.9 * state[0] + 0.1 * gradient
    state[1] = 0.999 * state[1] + 0.001 * gradient**2
    correction = (1 - 0.999**step) ** 0.5
    epsilon = 1e-8 * correction if corrected else 1e-8
    return -rate * correction / (1 - 0.9**step) * state[0] / (state[1] ** 0.5 + epsilon)
