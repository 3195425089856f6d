"""Fit the same estimator on two devices and compare the weights. The argument is a device, such as `cuda`."""

import sys
import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)

device = sys.argv[1] if len(sys.argv) > 1 else "auto"
X, y = make_classification(4000, 100, n_informative=40, n_classes=4, random_state=0)
X = X.astype("float32")


def fit_on(device):
    model = MLPClassifier((256, 256), max_iter=10, random_state=0, device=device).fit(X[:3000], y[:3000])
    print(f"{device:12s} accuracy {model.score(X[3000:], y[3000:]):.1%}, fitted in {model.fit_seconds_:.2f} s")
    return model


on_device, on_cpu = fit_on(device), fit_on("cpu")
differences = [np.abs(a - b).max() for a, b in zip(on_device.coefs_, on_cpu.coefs_, strict=True)]
print(f"the weights differ by at most {max(differences):.1e} after {on_cpu.n_iter_} epochs in float32")
