"""Train a stack: 16 networks in one call, each with its own initial weights and learning rate."""

import numpy as np
from matplotlib.figure import Figure

import gpubp

wine = gpubp.load_dataset("wine")
X = (wine.X - wine.X.mean(axis=0)) / wine.X.std(axis=0)
test = np.arange(len(X)) % 4 == 0

rates = np.geomspace(1e-4, 1.0, 16)
network = gpubp.Network((13, 8, 3), activation="tanh", loss="cross_entropy")
fit = gpubp.train(
    network,
    X[~test],
    wine.targets[~test],
    seed=range(16),
    optimizer=gpubp.momentum(rates[:, None], 0.9),
    epochs=50,
    batch_size=32,
)

outputs = gpubp.predict(network, fit.theta, X[test])
accuracies = (outputs.argmax(axis=-1) == wine.targets[test].argmax(axis=-1)).mean(axis=-1)
for rate, loss, accuracy in zip(rates, fit.history.loss[-1], accuracies, strict=True):
    print(f"learning rate {rate:8.4f}   loss {loss:8.4f}   accuracy {accuracy:6.1%}")

figure = Figure((7.0, 4.2), dpi=200, layout="constrained")
ax = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="accuracy on test samples")
ax.plot(rates, accuracies, "o-")
figure.savefig("rates.png")
