"""First- and second-order optimizers: the latter converge in fewer epochs, each of which does more work."""

import numpy as np

import gpubp
from gpubp.plotting import learning_curves

X = np.linspace(-3.0, 3.0, 60)[:, None]
targets = np.sin(2.0 * X)
network = gpubp.Network((1, 10, 1), activation="tanh")
theta = gpubp.initial_weights(network, scheme="uniform", scale=1.0, dtype="float64")

histories = {}
for optimizer, epochs in (
    (gpubp.momentum(0.05, 0.9), 2000),
    (gpubp.adam(0.01), 2000),
    (gpubp.lbfgs(), 200),
    (gpubp.levenberg_marquardt(), 50),
):
    fit = gpubp.train(network, X, targets, theta=theta, optimizer=optimizer, epochs=epochs, batch_size="full")
    losses = fit.history.loss
    print(f"{optimizer.name:20s} {len(losses):5d} epochs   loss {losses[-1]:.2e}   {fit.stop_reason}")
    histories[optimizer.name] = fit.history
learning_curves(histories, log=True).figure.savefig("optimizers.png")
