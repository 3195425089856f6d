"""Warm-up and a cosine schedule, early stopping on validation data, and a callback that prints."""

import numpy as np

import gpubp
from gpubp.plotting import learning_curve

digits = gpubp.load_dataset("digits")
validation = np.arange(len(digits.X)) % 5 == 0


def accuracy(targets, outputs):
    return (outputs.argmax(axis=1) == targets.argmax(axis=1)).mean()


def report(progress):
    print(f"epoch {progress.epoch:3d}   loss {progress.loss:.4f}   accuracy {progress.validation_score:.1%}")


report.every = 10  # epochs


fit = gpubp.train(
    gpubp.Network((64, 64, 10), activation="gelu", loss="cross_entropy"),
    digits.X[~validation],
    digits.targets[~validation],
    optimizer=gpubp.clipped(gpubp.adamw(gpubp.WarmUp(3, then=gpubp.Cosine(3e-3, epochs=80)), weight_decay=0.01), 1.0),
    epochs=80,
    batch_size=64,
    validation_data=(digits.X[validation], digits.targets[validation]),
    scoring=accuracy,
    patience=15,
    callbacks=[report],
)
print(f"stopped by {fit.stop_reason}; the weights are those of epoch {fit.best_epoch}")
learning_curve(fit.history, score_name="accuracy").figure.savefig("schedules.png")
