"""The paper's caveat, seen: methods that use second derivatives converge in fewer epochs, at more work for each."""

import numpy as np

import gpubp

x = np.linspace(-3.0, 3.0, 60)[:, None]
targets = np.sin(2.0 * x)
network = gpubp.Network((1, 10, 1), activation="tanh")
theta = gpubp.initial_weights(network, scheme="uniform", scale=1.0, dtype="float64")

for optimizer, epochs in (
    (gpubp.momentum(0.05, 0.9), 2000),
    (gpubp.adam(0.01), 2000),
    (gpubp.lbfgs(), 200),
    (gpubp.levenberg_marquardt(), 50),
):
    fit = gpubp.train(network, x, targets, theta=theta, optimizer=optimizer, epochs=epochs, batch_size="full")
    print(
        f"{optimizer.name:20s} {len(fit.history.loss):5d} epochs   error {fit.history.loss[-1]:.2e}   {fit.stop_reason}"
    )
