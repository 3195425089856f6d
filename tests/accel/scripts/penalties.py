"""A user's script: decision functions under several penalties, as in scikit-learn's gallery."""

import json

import matplotlib
import numpy as np
from sklearn.datasets import make_circles, make_classification, make_moons
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if __name__ == "__main__":
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    classifiers = [
        make_pipeline(
            StandardScaler(),
            MLPClassifier(
                solver="lbfgs",
                alpha=alpha,
                random_state=1,
                max_iter=2000,
                early_stopping=True,
                hidden_layer_sizes=[10, 10],
            ),
        )
        for alpha in np.logspace(0, 1, 2)
    ]
    separable, classes = make_classification(
        n_features=2, n_redundant=0, n_informative=2, random_state=0, n_clusters_per_class=1
    )
    separable += 2 * np.random.RandomState(2).uniform(size=separable.shape)
    moons, circles = make_moons(noise=0.3, random_state=0), make_circles(noise=0.2, factor=0.5, random_state=1)
    scores, means = [], []
    for X, y in [moons, circles, (separable, classes)]:
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, test_size=0.4)
        xx, yy = np.meshgrid(np.linspace(X[:, 0].min(), X[:, 0].max(), 30), np.linspace(-2, 2, 30))
        grid = np.column_stack([xx.ravel(), yy.ravel()])
        figure, axes = plt.subplots(1, len(classifiers))
        for model, ax in zip(classifiers, axes, strict=True):
            model.fit(X_train, y_train)
            scores.append(model.score(X_test, y_test))
            if hasattr(model, "decision_function"):
                Z = model.decision_function(grid)
            else:
                Z = model.predict_proba(grid)[:, 1]
            means.append(Z.mean())
            ax.contourf(xx, yy, Z.reshape(xx.shape), cmap=plt.cm.RdBu, alpha=0.8)
        plt.close(figure)
    print(json.dumps({"scores": scores, "means": means}))
