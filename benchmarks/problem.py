"""The work of every contender: samples, targets and first weights, drawn from a seed."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

MOMENTUM = 0.9
NOISE = 0.5  # labels that cannot all be learned keep the gradients from vanishing in long runs


class Problem(NamedTuple):
    """One training problem.

    A spec is plain data: sizes, activation, output, optimizer, rate, batch, batches, epochs, dtype.
    """

    spec: dict
    x: np.ndarray  # (samples, inputs)
    targets: np.ndarray  # (samples, outputs), 0 and 1
    weights: list  # of each layer: (inputs, outputs) and (outputs,)

    @property
    def batches(self):
        """The samples in the order that every contender takes them: views of x and targets."""
        size = self.spec["batch"]
        return [(self.x[at : at + size], self.targets[at : at + size]) for at in range(0, len(self.x), size)]


def make_problem(spec):
    """Draw samples that a noisy linear teacher has labelled, and Glorot's weights."""
    rng, sizes, dtype = np.random.default_rng(0), spec["sizes"], spec["dtype"]
    x = rng.standard_normal((spec["batch"] * spec["batches"], sizes[0]), dtype="float32")
    scores = x @ rng.standard_normal((sizes[0], sizes[-1]), dtype="float32") / np.float32(sizes[0] ** 0.5)
    scores += np.float32(NOISE) * rng.standard_normal(scores.shape, dtype="float32")
    if spec["output"] == "softmax":
        classes = np.argmax(scores, axis=1)
        classes[: sizes[-1]] = np.arange(sizes[-1])[: len(classes)]  # every class occurs
        targets = np.eye(sizes[-1], dtype=dtype)[classes]
    else:
        targets = (scores > 0).astype(dtype)
    weights = []
    for i, j in pairwise(sizes):
        bound = (6 / (i + j)) ** 0.5
        weights.append((rng.uniform(-bound, bound, (i, j)).astype(dtype), np.zeros(j, dtype)))
    return Problem(spec, x.astype(dtype, copy=False), targets, weights)


def make_table(spec):
    """Return rows and labels for training and testing an estimator: x, x_new, y, y_new."""
    if spec["data"] == "digits":
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        x, y = load_digits(return_X_y=True)
        return train_test_split((x / 16).astype(spec["dtype"]), y, test_size=0.25, random_state=0, stratify=y)
    rows, columns, classes = spec["data"]
    drawn = {"sizes": (columns, classes), "output": "softmax", "batch": rows, "batches": 1, "dtype": spec["dtype"]}
    x, y = (problem := make_problem(drawn)).x, np.argmax(problem.targets, axis=1)
    return x, x[:1000], y, y[:1000]
