"""From scikit-learn in one line, the import: the same seed gives the same model.

With `device="cuda"` it is trained on a GPU.
"""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirMLPClassifier

from gpubp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0)

theirs = TheirMLPClassifier(max_iter=30, random_state=0).fit(X_train, y_train)
ours = MLPClassifier(max_iter=30, random_state=0).fit(X_train, y_train)

print(f"right: theirs {theirs.score(X_test, y_test):.1%}, ours {ours.score(X_test, y_test):.1%}")
differences = [np.abs(a - b).max() for a, b in zip(theirs.coefs_, ours.coefs_, strict=True)]
print(f"the weights differ by {max(differences):.1e} at most")
