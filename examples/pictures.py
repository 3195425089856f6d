"""Draw the pictures of docs/pictures.md with gpubp.plotting, into the folder given as the argument."""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import gpubp
from gpubp.plotting import (
    decision_boundary,
    hidden_heat_map,
    hidden_projection,
    hinton_diagram,
    learning_curves,
    learning_rate_curve,
    loss_surface,
    network_diagram,
)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)


def save(name, ax):
    path, drawn = folder / f"{name}.png", io.BytesIO()
    # twice the dots of a page, and cut to what is drawn
    ax.figure.savefig(drawn, dpi=200, format="png", bbox_inches="tight", pad_inches=0.05)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name:24s} {path.stat().st_size / 1024:5.1f} kB")


paper = {"batch_size": "full", "reduction": "sum", "device": "cpu"}

# the paper's symmetry network, once all 64 vectors are right
symmetry = gpubp.load_dataset("symmetry")
network = gpubp.Network((6, 2, 1), activation="logistic", output_activation="logistic")
first = gpubp.initial_weights(network, seed=range(20), scheme="uniform", scale=0.3, dtype="float64")
fit = gpubp.train(
    network, symmetry.X, symmetry.targets, theta=first, optimizer=gpubp.momentum(0.1, 0.9), epochs=3000, **paper
)
outputs = gpubp.predict(network, fit.theta, symmetry.X)
solved = np.flatnonzero(np.all((outputs > 0.5) == (symmetry.targets > 0.5), axis=(1, 2)))
print(f"symmetry: {len(solved)} of 20 networks solved it; the first is drawn")
model = (network, fit.theta[solved[0]])
# each hidden unit adds up one half and subtracts the other, so it is on if its half is the larger number
weights = gpubp.predict(gpubp.Network((6, 2), output_activation="identity"), model[1][:14], np.eye(6))
codes = ["on if the left is larger" if of_unit[1] > 0 else "on if the right is larger" for of_unit in weights.T]
bits = [f"bit {k}" for k in range(1, 7)]
save("hinton", hinton_diagram(model, unit_names=[f"hidden unit {k}" for k in (1, 2)], input_names=bits))
save("network", network_diagram(model, input_names=bits, output_names=["symmetric?"]))
chosen = [*np.flatnonzero(symmetry.targets[:, 0] > 0.5), 1, 6, 22, 29, 32, 41, 52, 62]
vectors = ["".join(str(int(bit)) for bit in symmetry.X[k]) for k in chosen]
names = [f"{vector}, symmetric" if vector == vector[::-1] else vector for vector in vectors]
unit_names = [f"hidden unit {k}:\n{code}" for k, code in enumerate(codes, 1)]
ax = hidden_heat_map(model, symmetry.X[chosen], sample_names=names, unit_names=unit_names)
ax.set_xlabel("")
save("hidden-heat-map", ax)

# exclusive or with three optimizers, 50 networks each
xor = gpubp.load_dataset("xor")
network = gpubp.Network((2, 3, 1), activation="tanh", output_activation="logistic", loss="squared")
first = gpubp.initial_weights(network, seed=range(50), scheme="uniform", scale=1.0, dtype="float64")
optimizers = {
    "plain, eq. (8)": gpubp.gradient_descent(0.3),
    "momentum, eq. (9)": gpubp.momentum(0.3, 0.9),
    "Adam": gpubp.adam(0.03),
}
fits = {
    name: gpubp.train(network, xor.X, xor.targets, theta=first, optimizer=optimizer, epochs=300, **paper)
    for name, optimizer in optimizers.items()
}
save("learning-curves", learning_curves({name: fit.history for name, fit in fits.items()}))

# a learning rate for a classifier of digits, one network for each rate
digits = gpubp.load_dataset("digits")
network = gpubp.Network((64, 30, 10), activation="relu", loss="cross_entropy")
found = gpubp.find_learning_rate(network, digits.X, digits.targets, epochs=3, device="cpu")
save("learning-rates", learning_rate_curve(found))

# one logistic unit has only two parameters, its weight and its bias, so this is its whole loss surface
X = np.linspace(-2.0, 2.0, 12)[:, None]
targets = 1.0 / (1.0 + np.exp(-(3.0 * X - 2.0)))
small_network = gpubp.Network((1, 1), output_activation="logistic")
start = np.asarray([-3.0, 4.0])
optimizers = {
    "plain, 150 epochs": (gpubp.gradient_descent(0.2), 150),
    "momentum, 150 epochs": (gpubp.momentum(0.2, 0.8), 150),
    "L-BFGS, until converged": (gpubp.lbfgs(), 50),
}
paths = {}
for name, (optimizer, epochs) in optimizers.items():
    path = [start]
    gpubp.train(
        small_network,
        X,
        targets,
        theta=start,
        optimizer=optimizer,
        epochs=epochs,
        callbacks=[lambda progress, path=path: path.append(np.array(progress.theta))],
        **paper,
    )
    paths[name] = np.asarray(path)
    print(f"{name}: {len(path) - 1} epochs, end at w = {path[-1][0]:.2f}, b = {path[-1][1]:.2f}")
ax = loss_surface((small_network, start), X, targets, paths=paths)
ax.set_xlabel("weight")
ax.set_ylabel("bias")
save("error-surface", ax)

# two interleaving half circles
rng = np.random.default_rng(0)
angle, labels = rng.uniform(0.0, np.pi, 120), np.arange(120) % 2
moons = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.where(labels, -1.0, 1.0)[:, None]
moons = moons + labels[:, None] * [1.0, 0.4] + rng.normal(scale=0.12, size=(120, 2))
network = gpubp.Network((2, 12, 1), activation="tanh", loss="binary_cross_entropy")
# momentum, because L-BFGS would amplify rounding differences between processors until they are visible
fit = gpubp.train(
    network,
    moons,
    labels[:, None],
    optimizer=gpubp.momentum(0.1, 0.9),
    epochs=2000,
    batch_size="full",
    l2=0.02,
    dtype="float64",
    device="cpu",
)
save("decision-boundary", decision_boundary(fit, moons, labels))

# the encoder: eight patterns through three hidden units
encoder = gpubp.load_dataset("encoder")
network = gpubp.Network((8, 3, 8), activation="logistic", output_activation="logistic")
first = gpubp.initial_weights(network, seed=1, scheme="uniform", scale=1.0, dtype="float64")
fit = gpubp.train(network, encoder.X, encoder.targets, theta=first, optimizer=gpubp.adam(0.02), epochs=1500, **paper)
outputs = gpubp.predict(network, fit.theta, encoder.X)
print(f"encoder: {np.sum(outputs.argmax(axis=1) == np.arange(8))} of 8 patterns right")
outputs = gpubp.predict(gpubp.Network((8, 3), output_activation="logistic"), fit.theta[:27], encoder.X)
codes = ["".join(str(int(output > 0.5)) for output in of_pattern) for of_pattern in outputs]
names = [f"pattern {k}: {code}" for k, code in enumerate(codes, 1)]
save("hidden-projection", hidden_projection(fit, encoder.X, sample_names=names))
