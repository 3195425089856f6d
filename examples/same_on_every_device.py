"""Train on any device and compare its results with NumPy's. The argument is a device, such as `cuda`."""

import sys

import gpubp
from gpubp.testing import check_agreement

device = sys.argv[1] if len(sys.argv) > 1 else "auto"

iris = gpubp.load_dataset("iris")
network = gpubp.Network((4, 16, 3), activation="tanh", loss="cross_entropy")
fit = gpubp.train(network, iris.X, iris.targets, optimizer=gpubp.adam(0.01), epochs=100, device=device)
print(f"trained on {fit.device}: loss {fit.history.loss[-1]:.4f}")

rows = check_agreement(device)
worst = max(rows, key=lambda row: row.deviation)
print(f"{len(rows)} comparisons with NumPy; the largest deviation is {worst.deviation:.2g} of the tolerance:")
print(worst)
