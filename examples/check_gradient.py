"""Is the gradient right? Back-propagation beside central differences, for every unit and every error that fit."""

import numpy as np

import gpubp
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES

generator = np.random.default_rng(0)
x, targets = generator.normal(size=(5, 3)), generator.dirichlet(np.ones(2), size=5)

for loss in LOSSES:
    for output in ACTIVATIONS:
        try:
            network = gpubp.Network((3, 4, 2), activation="tanh", output_activation=output, loss=loss)
        except DataError:
            continue  # a logarithm of outputs that may be negative is not defined
        check = gpubp.check_gradient(np, network, gpubp.initial_weights(network, dtype="float64"), x, targets)
        print(f"{loss:22s} {output:12s} {check.largest_deviation:.1e}")
