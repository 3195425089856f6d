"""A user's script: learning rates and optimizers compared by their loss curves, as in scikit-learn's gallery."""

import json
import warnings

import matplotlib
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler

PARAMS = [
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0, "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": True},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0, "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": False},
    {"solver": "adam", "learning_rate_init": 0.01},
]

if __name__ == "__main__":
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    losses, scores = [], []
    for name in ("iris", "digits"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        X = MinMaxScaler().fit_transform(X[:600])
        figure, ax = plt.subplots()
        for params in PARAMS:
            mlp = MLPClassifier(random_state=0, max_iter=15, **params)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
                mlp.fit(X, y[:600])
            ax.plot(mlp.loss_curve_, label=str(params))
            scores.append(mlp.score(X, y[:600]))
            losses.append(mlp.loss_)
        ax.legend()
        plt.close(figure)
    print(json.dumps({"scores": scores, "losses": losses}))
