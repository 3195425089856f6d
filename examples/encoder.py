"""The 8-3-8 encoder: eight patterns pass through three hidden units, which learn a binary code."""

import numpy as np

import gpubp
from gpubp.plotting import hidden_heat_map

patterns = np.eye(8)
network = gpubp.Network((8, 3, 8), activation="logistic", output_activation="logistic", loss="squared")
theta = gpubp.initial_weights(network, seed=0, scheme="uniform", dtype="float64")

fit = gpubp.train(
    network,
    patterns,
    patterns,
    theta=theta,
    optimizer=gpubp.momentum(0.1, 0.9),
    epochs=3000,
    batch_size="full",
    reduction="sum",
)

first_layer = gpubp.Network((8, 3), output_activation="logistic")
codes = gpubp.predict(first_layer, fit.theta[: first_layer.n_parameters], patterns)
print(f"loss {fit.history.loss[-1]:.4f}; outputs of the hidden units for each pattern:")
print(np.round(codes, 2))
names = [f"pattern {k}" for k in range(1, 9)]
hidden_heat_map(fit, patterns, sample_names=names).figure.savefig("encoder.png")
