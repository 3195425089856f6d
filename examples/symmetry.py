"""The paper's symmetry network, trained from 300 initial weights in one call; then the weights of one, drawn."""

from functools import partial

import numpy as np

import gpubp
from gpubp.plotting import hinton_diagram

symmetry = gpubp.load_dataset("symmetry")
network = gpubp.Network((6, 2, 1), activation="logistic", output_activation="logistic", loss="squared")
theta = gpubp.initial_weights(network, seed=range(300), scheme="uniform", scale=0.3)

fit = gpubp.train(
    network,
    symmetry.X,
    symmetry.targets,
    theta=theta,
    optimizer=gpubp.momentum(0.1, 0.9),
    epochs=1425,  # the paper's network needed as many
    batch_size="full",
    reduction="sum",
    stop_when=partial(gpubp.all_correct, within=0.5),
)
print(f"{np.sum(fit.solved)} of {len(theta)} networks recognise symmetric vectors within 1,425 epochs")

first = int(np.flatnonzero(fit.solved)[0])
into_hidden = fit.theta[first][:14].reshape(7, 2)  # six weights and a bias for each of the two units
print(f"weights into the hidden units of the network with seed {first}, biases last:")
print(np.round(into_hidden.T, 1))

units, bits = [f"hidden unit {k}" for k in (1, 2)], [f"bit {k}" for k in range(1, 7)]
ax = hinton_diagram((network, fit.theta[first]), unit_names=units, input_names=bits)
ax.figure.savefig("symmetry.png")
