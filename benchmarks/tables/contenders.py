"""The models that learn a table: all have scikit-learn's interface, and their own defaults unless said here."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple


class Job(NamedTuple):
    """What a model is made for; `seconds` is gpubp's time budget."""

    task: str
    seed: int
    threads: int
    seconds: float | None = None


class Contender(NamedTuple):
    """A model: its name in reports, the library it needs, the form of its inputs, and a function that makes it."""

    label: str
    library: str
    form: str
    make: Callable[[Job], Any]
    options: str = "defaults"  # what differs from them, in words


def _gpubp(preset):
    def make(job):
        import gpubp

        kind = gpubp.TabularClassifier if job.task == "classification" else gpubp.TabularRegressor
        budget = {"time_budget": job.seconds} if preset == "best" else {}
        return kind(preset=preset, random_state=job.seed, device="cpu", **budget)

    return make


def _mlp(job):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPClassifier if job.task == "classification" else MLPRegressor
    return kind(random_state=job.seed, early_stopping=True)


def _linear(job):
    from sklearn.linear_model import LogisticRegression, RidgeCV

    return LogisticRegression(max_iter=1000) if job.task == "classification" else RidgeCV()


def _trees(job):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if job.task == "classification" else HistGradientBoostingRegressor
    return kind(random_state=job.seed, categorical_features="from_dtype")


def _lightgbm(job):
    import lightgbm

    kind = lightgbm.LGBMClassifier if job.task == "classification" else lightgbm.LGBMRegressor
    return kind(random_state=job.seed, n_jobs=job.threads, verbose=-1)


def _catboost(job):
    import catboost

    kind = catboost.CatBoostClassifier if job.task == "classification" else catboost.CatBoostRegressor
    return _WithCategories(kind, random_seed=job.seed, thread_count=job.threads, verbose=0, allow_writing_files=False)


class _WithCategories:
    """CatBoost, told which columns of a frame are categories."""

    def __init__(self, kind, **options):
        self.kind, self.options = kind, options

    def fit(self, X, y):
        named = [name for name in X if X[name].dtype == "category"]
        self.model = self.kind(cat_features=named, **self.options).fit(X, y)
        return self.model


def _pytabkit(name, **options):
    def make(job):
        import pytabkit
        import pytorch_lightning  # noqa: F401 - which it imports in its first fit

        is_classes = job.task == "classification"
        kind = getattr(pytabkit, f"{name}_{'Classifier' if is_classes else 'Regressor'}")
        scored = {"val_metric_name": "cross_entropy"} if is_classes else {}
        return kind(random_state=job.seed, n_threads=job.threads, device="cpu", **scored, **options)

    return make


LOG_LOSS = "the best epoch by log loss"
CONTENDERS = {
    "fast": Contender("gpubp, fast", "gpubp", "table", _gpubp("fast")),
    "best": Contender("gpubp, best", "gpubp", "table", _gpubp("best")),
    "realmlp": Contender("gpubp, realmlp", "gpubp", "table", _gpubp("realmlp")),
    "realmlp-s": Contender("gpubp, realmlp-s", "gpubp", "table", _gpubp("realmlp-s")),
    "tabm": Contender("gpubp, tabm", "gpubp", "table", _gpubp("tabm")),
    "linear": Contender("linear", "sklearn", "one-hot", _linear, "LogisticRegression(max_iter=1000), RidgeCV()"),
    "MLP": Contender("scikit-learn's MLP", "sklearn", "one-hot", _mlp, "early_stopping=True"),
    "HistGradientBoosting": Contender("HistGradientBoosting", "sklearn", "codes", _trees),
    "LightGBM": Contender("LightGBM", "lightgbm", "codes", _lightgbm),
    "CatBoost": Contender("CatBoost", "catboost", "codes", _catboost),
    "RealMLP-TD-S": Contender("RealMLP-TD-S", "pytabkit", "codes", _pytabkit("RealMLP_TD_S"), LOG_LOSS),
    "RealMLP-TD": Contender("RealMLP-TD", "pytabkit", "codes", _pytabkit("RealMLP_TD"), LOG_LOSS),
    "RealMLP-TD-5": Contender(
        "RealMLP-TD, 5 folds", "pytabkit", "codes", _pytabkit("RealMLP_TD", n_cv=5), f"n_cv=5; {LOG_LOSS}"
    ),
    "TabM": Contender("TabM", "pytabkit", "codes", _pytabkit("TabM_D"), LOG_LOSS),
}
GPUBP = ("fast", "best", "tabm")


def expanded(names, budgets):
    """Return contenders as they stand in a result: ``best-20s`` for each time budget.

    Examples
    --------
    >>> expanded(["best", "MLP"], [4, 20.5])
    ['best-4s', 'best-20.5s', 'MLP']
    """
    return [one for name in names for one in ([f"best-{b:g}s" for b in budgets] if name == "best" else [name])]


def described(name):
    """Return the contender of a name in a result, its label there, and its time budget or None.

    Examples
    --------
    >>> described("best-20s")[1:]
    ('gpubp, best, 20 s', 20.0)
    """
    if name.startswith("best-"):
        seconds = float(name.removeprefix("best-").removesuffix("s"))
        return CONTENDERS["best"], f"{CONTENDERS['best'].label}, {seconds:g} s", seconds
    return CONTENDERS[name], CONTENDERS[name].label, None


def absence(name):
    """Return why a contender cannot run here, or None."""
    library = described(name)[0].library
    return None if importlib.util.find_spec(library) else f"{library} is not installed"
