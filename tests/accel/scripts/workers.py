"""A user's script: scikit-learn's searches and ensembles in worker processes."""

import json
import sys

from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

if __name__ == "__main__":
    X, y = load_iris(return_X_y=True)
    n_jobs = int(sys.argv[1])
    model = MLPClassifier((20,), learning_rate_init=0.02, max_iter=500, tol=1e-3, random_state=0)
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=n_jobs).fit(X, y)
    bagging = BaggingClassifier(model, n_estimators=2, n_jobs=n_jobs, random_state=0).fit(X, y)
    scores = [*search.cv_results_["mean_test_score"], bagging.score(X, y)]
    print(json.dumps({"scores": scores, "best": type(search.best_estimator_).__module__}))
