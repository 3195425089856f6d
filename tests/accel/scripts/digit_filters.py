"""A user's script: what the first layer of a network for digits responds to, as in scikit-learn's gallery."""

import json
import sys
import warnings

import matplotlib
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

if __name__ == "__main__":
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0, test_size=0.7)
    mlp = MLPClassifier(
        hidden_layer_sizes=(16,),
        max_iter=8,
        alpha=1e-4,
        solver="sgd",
        verbose=10,
        random_state=1,
        learning_rate_init=0.2,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        mlp.fit(X_train, y_train)
    figure, axes = plt.subplots(4, 4)
    vmin, vmax = mlp.coefs_[0].min(), mlp.coefs_[0].max()
    for coef, ax in zip(mlp.coefs_[0].T, axes.ravel(), strict=True):
        ax.matshow(coef.reshape(8, 8), cmap=plt.cm.gray, vmin=0.5 * vmin, vmax=0.5 * vmax)
        ax.set_xticks(())
    plt.close(figure)
    scores = [mlp.score(X_train, y_train), mlp.score(X_test, y_test)]
    print(json.dumps({"arguments": sys.argv[1:], "scores": scores, "range": [vmin, vmax], "curve": mlp.loss_curve_}))
