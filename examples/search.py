"""A search whose candidates times folds train at once, the same by halves, and an ensemble that knows what it knows."""

import time
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from gpubp import BatchedHalvingSearchCV, BatchedSearchCV, MLPClassifier, MLPEnsembleClassifier

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split((X / 16).astype("float32"), y, test_size=0.3, random_state=0)

network = MLPClassifier((32,), max_iter=27, random_state=0)
grid = {"learning_rate_init": [1e-4, 1e-3, 3e-3, 1e-2, 3e-2], "alpha": [1e-5, 1e-2, 1.0]}
for search in (BatchedSearchCV(network, grid, cv=3), BatchedHalvingSearchCV(network, grid, cv=3, max_resources=27)):
    began = time.perf_counter()
    search.fit(X, y)
    seconds, n_fits = time.perf_counter() - began, 3 * len(search.cv_results_["params"])
    print(f"{type(search).__name__:22s} {n_fits} fits in {seconds:.1f} s: {search.best_params_}")
    print(
        f"{'':22s} {search.best_score_:.1%} of the folds right, {search.score(X_test, y_test):.1%} of the test samples"
    )

ensemble = MLPEnsembleClassifier(search.best_estimator_, n_estimators=10, random_state=0).fit(X, y)
chosen = ensemble.predict(X_test)
doubt = ensemble.predict_std(X_test).max(axis=1)
sure = doubt < 0.1
print(f"{'ensemble of 10':22s} {ensemble.score(X_test, y_test):.1%} of the test samples")
print(f"{'where members agree':22s} {(chosen == y_test)[sure].mean():.1%} of {sure.mean():.0%} of them")
print(f"{'where they do not':22s} {(chosen == y_test)[~sure].mean():.1%} of the others")
