"""The paper's caveat, seen: methods that use second derivatives converge in fewer sweeps, at more work for each."""

import numpy as np

import gpubp

x = np.linspace(-3.0, 3.0, 60)[:, None]
d = np.sin(2.0 * x)
network = gpubp.Network((1, 10, 1), hidden="tanh")
theta = gpubp.initial_weights(network, scheme="uniform", scale=1.0, dtype="float64")

for rule, epochs in (
    (gpubp.momentum(0.05, 0.9), 2000),
    (gpubp.adam(0.01), 2000),
    (gpubp.lbfgs(), 200),
    (gpubp.levenberg_marquardt(), 50),
):
    fit = gpubp.train(network, x, d, theta=theta, rule=rule, epochs=epochs, batch_size="sweep")
    print(f"{rule.name:20s} {len(fit.history.error):5d} sweeps   error {fit.history.error[-1]:.2e}   {fit.stop_reason}")
