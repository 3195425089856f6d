"""One script, any device: name one as the argument, or leave the choice to gpubp. Then compare it with NumPy."""

import sys

import gpubp
from gpubp.testing.agreement import check_agreement

device = sys.argv[1] if len(sys.argv) > 1 else "auto"

iris = gpubp.load_dataset("iris")
network = gpubp.Network((4, 16, 3), activation="tanh", loss="cross_entropy")
fit = gpubp.train(network, iris.X, iris.targets, optimizer=gpubp.adam(0.01), epochs=100, device=device)
print(f"trained on {fit.device}: error {fit.history.loss[-1]:.4f}")

rows = check_agreement(device)
worst = max(rows, key=lambda row: row.deviation)
print(f"{len(rows)} comparisons with NumPy; the largest deviation is {worst.deviation:.2g} of what is allowed:")
print(worst)
