"""Exclusive or as in the paper: logistic units, the summed error, one update per epoch; 200 networks at once."""

import numpy as np

import gpubp
from gpubp.plotting import decision_boundary

xor = gpubp.load_dataset("xor")
network = gpubp.Network((2, 2, 1), activation="logistic", output_activation="logistic", loss="squared")
theta = gpubp.initial_weights(network, seed=range(200), scheme="uniform", scale=1.0, dtype="float64")

fit = gpubp.train(
    network,
    xor.X,
    xor.targets,
    theta=theta,
    optimizer=gpubp.momentum(0.5, 0.9),
    epochs=2000,
    batch_size="full",
    reduction="sum",
)

outputs = gpubp.predict(network, fit.theta, xor.X)
solved = np.all(np.abs(outputs - xor.targets) < 0.5, axis=(1, 2))
print(f"{solved.sum()} of {solved.size} networks solved it; the others are in local minima, with losses of about")
print(np.unique(np.round(fit.history.loss[-1][~solved], 2)))

one = fit.theta[int(np.flatnonzero(solved)[0])]
ax = decision_boundary((network, one), xor.X, xor.targets[:, 0].astype(int))
ax.figure.savefig("exclusive-or.png")
