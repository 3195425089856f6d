"""The same script on CPU and GPU: name a device as the argument, such as cuda; then compare with the CPU."""

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


def fitted(device):
    model = MLPClassifier((256, 256), max_iter=10, random_state=0, device=device).fit(X[:3000], y[:3000])
    print(f"{device:12s} right {model.score(X[3000:], y[3000:]):.1%}, fitted in {model.fit_seconds_:.2f} s")
    return model


there, here = fitted(device), fitted("cpu")
differences = [np.abs(a - b).max() for a, b in zip(there.coefs_, here.coefs_, strict=True)]
print(f"the weights differ by {max(differences):.1e} at most, after {here.n_iter_} epochs in float32")
