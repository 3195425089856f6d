"""A grid search, 64 candidates times 5 folds on the digits, compared with scikit-learn and JAX's ``vmap`` and ``scan``.

``python -m benchmarks.search`` writes a result file and prints its table: the best of some rounds, in which the
contenders take turns, and the CPU time of all cores, which is more reliable than seconds if the machine is shared.
scikit-learn uses separate processes, whose CPU time is not included; with ``--jobs 1`` it uses none.

All train 320 networks of sizes 64-32-10 by Adam, on batches of 200 in each fold's own order, for the same epochs, and
compute the accuracy on each fold's test samples. JAX's compilation is not timed, and it draws no order: it gets the
orders of all epochs beforehand. "jax" is ``vmap`` over the networks, each of which gathers its batches; in
"jax-shared", one ``vmap`` inside another, those of a fold share them.
"""

import argparse
import time
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from threadpoolctl import threadpool_limits

from benchmarks.machine import provenance, write_result
from benchmarks.page import FIGURES

SIZES, BATCH, FOLDS = (64, 32, 10), 200, 5
GRID = {"learning_rate_init": np.logspace(-4, -1.5, 8).tolist(), "alpha": np.logspace(-5, 0, 8).tolist()}


def samples():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


def settings(epochs):
    """Return parameters by which no network stops early, so that all do the same work."""
    return {"hidden_layer_sizes": SIZES[1:-1], "max_iter": epochs, "n_iter_no_change": epochs, "random_state": 0}


def with_sklearn(epochs, jobs=2, grid=GRID):
    x, y = samples()
    search = GridSearchCV(SklearnClassifier(**settings(epochs)), grid, n_jobs=jobs, refit=False)

    def scores():
        with threadpool_limits(1 if jobs == 1 else None, "blas"):  # processes have one thread each already
            return search.fit(x, y).cv_results_["mean_test_score"]

    return scores


def with_gpubp(epochs, device="cpu", grid=GRID):
    from gpubp import BatchedSearchCV, MLPClassifier

    x, y = samples()
    search = BatchedSearchCV(MLPClassifier(**settings(epochs), device=device), grid, refit=False, progress=False)
    return lambda: search.fit(x, y).cv_results_["mean_test_score"]


def with_jax(epochs, shared=False):
    import jax
    import jax.numpy as jnp

    x, y = samples()
    targets = np.eye(SIZES[-1], dtype="float32")[y]
    folds = list(StratifiedKFold(FOLDS).split(x, y))
    n_samples = min(len(train) for train, _ in folds)  # they differ by one sample, which would need masks
    draw = np.random.default_rng(0)
    orders = np.stack([[draw.permutation(train)[:n_samples] for _ in range(epochs)] for train, _ in folds])
    whole = n_samples // BATCH * BATCH
    n_test = min(len(test) for _, test in folds)
    tests = np.stack([test[:n_test] for _, test in folds])
    rates, alphas = (np.float32(axis.ravel()) for axis in np.meshgrid(*GRID.values(), indexing="ij"))

    def first_weights():
        shapes = pairwise(SIZES)
        bounds = [(n_in, n_out, np.sqrt(6.0 / (n_in + n_out))) for n_in, n_out in shapes]
        rng = np.random.default_rng(0)
        return [(np.float32(rng.uniform(-b, b, (i, j))), np.float32(rng.uniform(-b, b, j))) for i, j, b in bounds]

    def outputs(weights, x):
        (w, b), (w_out, b_out) = weights
        return jax.nn.relu(x @ w + b) @ w_out + b_out

    def error(weights, x, targets, alpha):
        squares = sum(jnp.sum(w**2) for w, _ in weights)
        return (-jnp.sum(targets * jax.nn.log_softmax(outputs(weights, x))) + 0.5 * alpha * squares) / len(x)

    def step(rate, alpha, x_all, d_all, position, rows):
        weights, first, second, count = position
        gradient = jax.grad(error)(weights, x_all[rows], d_all[rows], alpha)
        count = count + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        scale = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jax.tree.map(lambda w, m, v: w - scale * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
        return (weights, first, second, count), None

    def fit(x_all, d_all, labels, weights, rate, alpha, order, test):
        one = partial(step, rate, alpha, x_all, d_all)

        def epoch(position, rows):
            position, _ = jax.lax.scan(one, position, rows[:whole].reshape(-1, BATCH))
            return one(position, rows[whole:])

        zeros = jax.tree.map(jnp.zeros_like, weights)
        (weights, *_), _ = jax.lax.scan(epoch, (weights, zeros, zeros, jnp.float32(0)), order)
        return jnp.mean(jnp.argmax(outputs(weights, x_all[test]), axis=1) == labels[test])

    if shared:
        of_candidates = jax.vmap(fit, (None, None, None, None, 0, 0, None, None))
        of_all = jax.jit(jax.vmap(of_candidates, (None, None, None, None, None, None, 0, 0)))
    else:
        of_all = jax.jit(jax.vmap(fit, (None, None, None, None, 0, 0, 0, 0)))
        n_candidates = len(rates)
        rates, alphas = np.tile(rates, FOLDS), np.tile(alphas, FOLDS)
        orders, tests = (np.repeat(of_folds, n_candidates, axis=0) for of_folds in (orders, tests))
    on_device = jax.tree.map(jnp.asarray, (x, targets, y, first_weights(), rates, alphas, orders, tests))
    return lambda: np.mean(np.asarray(of_all(*on_device)).reshape(FOLDS, -1), axis=0)


CONTENDERS = {
    "gpubp": with_gpubp,
    "scikit-learn": with_sklearn,
    "jax": with_jax,
    "jax-shared": partial(with_jax, shared=True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--jobs", type=int, default=2, help="processes of scikit-learn; with 1 it runs in this one")
    parser.add_argument("--output", type=Path, help="the result file, by default benchmarks/results/DATE-search.json")
    chosen, result = parser.parse_args(), provenance()
    warnings.simplefilter("ignore", ConvergenceWarning)
    contenders = {**CONTENDERS, "scikit-learn": partial(with_sklearn, jobs=chosen.jobs)}
    searches = {name: contenders[name](chosen.epochs) for name in chosen.contenders}
    for name in searches:  # compiled code, and the processes of scikit-learn
        searches[name]() if name != "scikit-learn" else contenders[name](1)()
    found = {name: {"seconds": [], "core_seconds": []} for name in searches}
    for _ in range(chosen.rounds):
        for name, search in searches.items():
            began, spent = time.perf_counter(), time.process_time()
            scores = search()
            own = time.process_time() - spent
            found[name]["seconds"].append(time.perf_counter() - began)
            found[name]["core_seconds"].append(None if name == "scikit-learn" and chosen.jobs > 1 else own)
            found[name]["best_accuracy"] = float(max(scores))
    steps = 320 * chosen.epochs * -(-1437 // BATCH)
    result["search"] = {"epochs": chosen.epochs, "jobs": chosen.jobs, "steps": steps, "contenders": found}
    print(*FIGURES["search"]([result]), write_result(result, "search", chosen.output), sep="\n")


if __name__ == "__main__":
    main()
