"""Compare the back-propagated gradient with central differences, for every loss and every output activation."""

import numpy as np

import gpubp
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES

generator = np.random.default_rng(0)
X, targets = generator.normal(size=(5, 3)), generator.dirichlet(np.ones(2), size=5)

for loss in LOSSES:
    for activation in ACTIVATIONS:
        try:
            network = gpubp.Network((3, 4, 2), activation="tanh", output_activation=activation, loss=loss)
        except DataError:
            continue  # the loss takes a logarithm of outputs that this activation can make negative
        check = gpubp.check_gradient(np, network, gpubp.initial_weights(network, dtype="float64"), X, targets)
        print(f"{loss:22s} {activation:12s} {check.largest_deviation:.1e}")
