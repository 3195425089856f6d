"""Score models on tables whose numbers have heavy tails: ``python -m benchmarks.heavy_tails``.

Such a number is a standard normal one, transformed: by quantiles to Student's t with two degrees of freedom, or by the
exponential function to a log-normal one. The target is a smooth function of five of eight normal numbers, plus noise of
a tenth of its standard deviation, so that no model can have an R squared above 0.99. ``--encodings`` compares gpubp's
encodings of numbers instead of other libraries. RealMLP-TD-S takes part where pytabkit is installed.
"""

import argparse
import importlib.util
import json
import math
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.machine import provenance
from benchmarks.table import markdown

N_ROWS, N_TEST, N_COLUMNS = 2000, 2000, 8
NOISE = 0.1
TAILS = ("t", "log-normal")
REALMLP = "RealMLP-TD-S"


def heavy_tailed(tails, n_rows, seed):
    """Return numbers with heavy tails, ``(n, 8)``, and targets, ``(n,)``."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((n_rows, N_COLUMNS))
    signal = (
        np.sin(2.0 * normal[:, 0])
        + normal[:, 1] * normal[:, 2]
        + np.tanh(2.0 * normal[:, 3])
        + 0.5 * np.abs(normal[:, 4])
    )
    y = signal + NOISE * signal.std() * rng.standard_normal(n_rows)
    return (np.exp(normal) if tails == "log-normal" else _student(normal)), y


def _student(normal):
    """Return numbers with Student's distribution of two degrees of freedom, whose quantiles have a closed form."""
    from scipy.special import ndtr

    below = np.clip(ndtr(normal), 1e-12, 1.0 - 1e-12)
    return (2.0 * below - 1.0) * np.sqrt(2.0 / (4.0 * below * (1.0 - below)))


def contenders(time_budget):
    """Return functions of a seed that make an estimator, by name."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from gpubp import TabularRegressor

    found = {
        "gpubp fast": lambda seed: TabularRegressor(random_state=seed, device="cpu"),
        "gpubp best": lambda seed: TabularRegressor(
            preset="best", time_budget=time_budget, random_state=seed, device="cpu"
        ),
        "MLP": lambda seed: make_pipeline(StandardScaler(), MLPRegressor(random_state=seed, early_stopping=True)),
        "HistGradientBoosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    }
    if importlib.util.find_spec("pytabkit") is not None:
        from pytabkit import RealMLP_TD_S_Regressor

        found[REALMLP] = lambda seed: RealMLP_TD_S_Regressor(random_state=seed, device="cpu", n_threads=1, verbosity=0)
    return found


def encodings():
    """Return functions of a seed that make an estimator of gpubp with each encoding of numbers."""
    from typing import get_args

    from gpubp import TabularRegressor
    from gpubp.data.preprocessing import NumberEncoding

    return {
        name: lambda seed, name=name: TabularRegressor(numbers=name, random_state=seed, device="cpu")
        for name in get_args(NumberEncoding)
    }


def measure(models, n_seeds, report=print):
    """Return the R squared of held-out rows and the seconds of each fit: ``{tails: {model: {"r2": [...], ...}}}``."""
    from sklearn.metrics import r2_score

    found = {tails: {name: {"r2": [], "seconds": []} for name in models} for tails in TAILS}
    for tails, of_models in found.items():
        for seed in range(n_seeds):
            X, y = heavy_tailed(tails, N_ROWS + N_TEST, seed)
            for name, make in models.items():
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = make(seed).fit(X[:N_ROWS], y[:N_ROWS])
                of_models[name]["seconds"].append(round(time.perf_counter() - start, 2))
                r2 = r2_score(y[N_ROWS:], np.ravel(model.predict(X[N_ROWS:])))
                of_models[name]["r2"].append(round(float(r2), 4))
                report(tails, seed, name, of_models[name]["r2"][-1], flush=True)
    return found


def table(found):
    """Format the figures as Markdown: a line for each model."""
    names = list(next(iter(found.values())))
    headings = ["model", *(f"R² ({tails})" for tails in found), "seconds"]
    rows = []
    for name in names:
        scores = [np.asarray(found[tails][name]["r2"]) for tails in found]
        seconds = np.median([found[tails][name]["seconds"] for tails in found])
        shown = [
            f"{one.mean():.3f} ± {one.std(ddof=1) / math.sqrt(len(one)):.3f}" if len(one) > 1 else f"{one[0]:.3f}"
            for one in scores
        ]
        rows.append([name, *shown, f"{seconds:.1f}"])
    return "\n".join(markdown(headings, rows))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heavy_tails", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time-budget", type=float, default=60.0, help="seconds of gpubp best")
    parser.add_argument("--encodings", action="store_true", help="compare gpubp's encodings of numbers")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="models that take part")
    parser.add_argument("--output", type=Path, help="the result file (.json)")
    parser.add_argument("--from", dest="sources", type=Path, nargs="+", metavar="JSON", help="print result files")
    options = parser.parse_args(arguments)
    if options.sources:
        results = [json.loads(path.read_text(encoding="utf-8"))["tails"] for path in options.sources]
        print(table({tails: {name: one for found in results for name, one in found[tails].items()} for tails in TAILS}))
        return
    models = encodings() if options.encodings else contenders(options.time_budget)
    if options.models:
        models = {name: models[name] for name in options.models}
    result = {**provenance(), "seeds": options.seeds, "time_budget": options.time_budget}
    result["tails"] = measure(models, options.seeds)
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["tails"]))


if __name__ == "__main__":
    main()
