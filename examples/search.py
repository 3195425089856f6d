"""Search with all candidates and folds trained at once, the same by successive halving, and an ensemble."""

import time
import warnings

from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from gpubp import BatchedHalvingSearchCV, BatchedSearchCV, MLPClassifier, MLPEnsembleClassifier

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split((X / 16).astype("float32"), y, test_size=0.3, random_state=0)

network = MLPClassifier((32,), max_iter=27, random_state=0)
grid = {"learning_rate_init": [1e-4, 1e-3, 3e-3, 1e-2, 3e-2], "alpha": [1e-5, 1e-2, 1.0]}
searches = (BatchedSearchCV(network, grid, cv=3), BatchedHalvingSearchCV(network, grid, cv=3, max_resources=27))
for search in searches:
    start = time.perf_counter()
    search.fit(X, y)
    seconds, n_fits = time.perf_counter() - start, 3 * len(search.cv_results_["params"])
    print(f"{type(search).__name__:22s} {n_fits} fits in {seconds:.1f} s: {search.best_params_}")
    scores = f"{search.best_score_:.1%} in cross-validation, {search.score(X_test, y_test):.1%} on test samples"
    print(f"{'':22s} accuracy {scores}")

ensemble = MLPEnsembleClassifier(search.best_estimator_, n_estimators=10, random_state=0).fit(X, y)
correct = ensemble.predict(X_test) == y_test
agree = ensemble.predict_std(X_test).max(axis=1) < 0.1
print(f"{'ensemble of 10':22s} accuracy {correct.mean():.1%} on test samples")
print(f"{'members agree':22s} accuracy {correct[agree].mean():.1%} on {agree.mean():.0%} of them")
print(f"{'members disagree':22s} accuracy {correct[~agree].mean():.1%} on the others")

figure = Figure((7.0, 4.2), dpi=200, layout="constrained")
ax = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="accuracy in cross-validation")
found = searches[0].cv_results_
for alpha, style in zip(grid["alpha"], ("o-", "s--", "^-."), strict=True):
    chosen = found["param_alpha"] == alpha
    rates = found["param_learning_rate_init"][chosen].astype(float)
    ax.plot(rates, found["mean_test_score"][chosen], style, label=f"alpha {alpha:g}")
ax.legend(frameon=False)
figure.savefig("search.png")
