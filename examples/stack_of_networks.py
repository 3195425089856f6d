"""Many networks in one call, each with its own first weights and its own step size: a search in one training run."""

import numpy as np

import gpubp

wine = gpubp.load_dataset("wine")
x = (wine.X - wine.X.mean(axis=0)) / wine.X.std(axis=0)
train, test = np.arange(178) % 4 != 0, np.arange(178) % 4 == 0

rates = np.geomspace(1e-4, 1.0, 16)
network = gpubp.Network((13, 8, 3), activation="tanh", loss="cross_entropy")
fit = gpubp.train(
    network,
    x[train],
    wine.targets[train],
    seed=range(16),
    optimizer=gpubp.momentum(rates[:, None], 0.9),
    epochs=50,
    batch_size=32,
)

y = gpubp.predict(network, fit.theta, x[test])
accuracy = (y.argmax(axis=-1) == wine.targets[test].argmax(axis=-1)).mean(axis=-1)
for rate, error, right in zip(rates, fit.history.loss[-1], accuracy, strict=True):
    print(f"step {rate:8.4f}   error {error:8.4f}   right {right:6.1%}")
