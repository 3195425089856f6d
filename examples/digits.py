"""Train on the handwritten digits on any device, save the model to a file, and load it again."""

import tempfile
from pathlib import Path

import numpy as np

import gpubp
from gpubp.plotting import hinton_diagram

digits = gpubp.load_dataset("digits")
test = np.arange(len(digits.X)) % 5 == 0

network = gpubp.Network((64, 100, 10), activation="relu", loss="cross_entropy")
fit = gpubp.train(network, digits.X[~test], digits.targets[~test], optimizer=gpubp.adam(1e-3), epochs=60, l2=1e-4)
print(f"trained on {fit.device}: loss {fit.history.loss[0]:.3f} -> {fit.history.loss[-1]:.3f}")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    gpubp.save_model(path, network, fit.theta)
    model = gpubp.load_model(path)

outputs = gpubp.predict(model.network, model.theta, digits.X[test])
accuracy = (outputs.argmax(axis=1) == digits.targets[test].argmax(axis=1)).mean()
print(f"accuracy {accuracy:.1%} on {len(outputs)} test samples")

names = [f"hidden unit {number}" for number in range(1, 13)]  # of the hundred
ax = hinton_diagram(model, input_shape=(8, 8), selected_units=range(12), across=4, unit_names=names)
ax.figure.savefig("digits.png")
