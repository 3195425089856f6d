"""Switch from scikit-learn by changing the import: the same seed gives the same model.

`device="cuda"` trains it on a GPU.
"""

import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import gpubp

warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0)

sklearn_model = neural_network.MLPClassifier(max_iter=30, random_state=0).fit(X_train, y_train)
gpubp_model = gpubp.MLPClassifier(max_iter=30, random_state=0).fit(X_train, y_train)

print(
    f"accuracy: scikit-learn {sklearn_model.score(X_test, y_test):.1%}, gpubp {gpubp_model.score(X_test, y_test):.1%}"
)
differences = [np.abs(a - b).max() for a, b in zip(sklearn_model.coefs_, gpubp_model.coefs_, strict=True)]
print(f"the weights differ by at most {max(differences):.1e}")

figure = Figure((7.0, 4.2), dpi=200, layout="constrained")
ax = figure.add_subplot(xlabel="epoch", ylabel="training loss")
ax.plot(sklearn_model.loss_curve_, color="0.75", linewidth=8.0, label="scikit-learn")
ax.plot(gpubp_model.loss_curve_, "--", label="gpubp")
ax.legend(frameon=False)
figure.savefig("same-model.png")
