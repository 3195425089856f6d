"""A warm-up, a cosine, early stopping on data held out, and a callback that watches."""

import numpy as np

import gpubp

digits = gpubp.load_dataset("digits")
held_out = np.arange(len(digits.X)) % 5 == 0


def accuracy(targets, y):
    return (y.argmax(axis=1) == targets.argmax(axis=1)).mean()


def report(progress):
    if progress.epoch % 10 == 0:
        print(f"epoch {progress.epoch:3d}   error {progress.loss:.4f}   right {progress.validation_score:.1%}")


fit = gpubp.train(
    gpubp.Network((64, 64, 10), activation="gelu", loss="cross_entropy"),
    digits.X[~held_out],
    digits.targets[~held_out],
    optimizer=gpubp.clipped(gpubp.adamw(gpubp.WarmUp(3, then=gpubp.Cosine(3e-3, epochs=80)), weight_decay=0.01), 1.0),
    epochs=80,
    batch_size=64,
    validation_data=(digits.X[held_out], digits.targets[held_out]),
    scoring=accuracy,
    patience=15,
    callbacks=[report],
)
print(f"ended by {fit.stop_reason}; the weights are those of epoch {fit.best_epoch}")
