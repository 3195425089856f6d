"""Libraries that search for the best parameters, or for the best features."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.clients.comparison import FRAME, NUMBERS, THREE_CLASSES, Estimators, X, Y, client


@client("optuna")
def study(make: Estimators):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial):
        model = make.classifier(
            alpha=trial.suggest_float("alpha", 1e-5, 1.0, log=True),
            hidden_layer_sizes=(trial.suggest_int("n_units", 2, 8),),
        )
        for step in range(6):
            model.partial_fit(X, Y, classes=[0, 1])
            trial.report(model.loss_, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return model.score(X, Y)

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    found = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner)
    found.optimize(objective, n_trials=12)
    return [[trial.state.name, trial.value, trial.params] for trial in found.trials]


@client("optuna-integration")
def search_with_optuna(make: Estimators):
    import optuna
    from optuna_integration import OptunaSearchCV

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {"alpha": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)}
    settings = {"cv": 3, "n_trials": 4, "random_state": 0, "scoring": "neg_log_loss"}
    whole = OptunaSearchCV(make.classifier(), distributions, **settings).fit(X, THREE_CLASSES)
    pruned = OptunaSearchCV(make.classifier(), distributions, enable_pruning=True, max_iter=6, **settings)
    pruned.fit(FRAME, Y)
    numbers = []
    for search in (whole, pruned):
        numbers += [search.best_params_, search.best_score_, search.predict_proba(X)]
        numbers.append([trial.value for trial in search.trials_])
    return numbers


@client("hyperopt")
def minimize_with_hyperopt(make: Estimators):
    from hyperopt import Trials, fmin, hp, tpe

    trials = Trials()
    best = fmin(
        lambda parameters: -cross_val_score(make.regressor(**parameters), X, NUMBERS, cv=3).mean(),
        {"alpha": hp.loguniform("alpha", -9, 1), "activation": hp.choice("activation", ["relu", "tanh"])},
        algo=tpe.suggest,
        max_evals=5,
        trials=trials,
        rstate=np.random.default_rng(0),
        show_progressbar=False,
    )
    return [best, trials.losses()]


@client("bayesian-optimization")
def maximize_with_bayesian_optimization(make: Estimators):
    from bayes_opt import BayesianOptimization

    def score(log_alpha, log_rate):
        model = make.classifier(alpha=10.0**log_alpha, learning_rate_init=10.0**log_rate)
        return cross_val_score(model, X, Y, cv=3, scoring="neg_log_loss").mean()

    search = BayesianOptimization(score, {"log_alpha": (-5, 0), "log_rate": (-3, -1)}, random_state=0, verbose=0)
    search.maximize(init_points=3, n_iter=2)
    return [[result["target"], result["params"]] for result in search.res]


@client("scikit-optimize")
def search_with_scikit_optimize(make: Estimators):
    from skopt import BayesSearchCV

    search = BayesSearchCV(make.classifier(), {"alpha": (1e-5, 1.0, "log-uniform")}, n_iter=4, cv=3, random_state=0)
    search.fit(X, Y)
    return [search.best_params_, search.cv_results_["mean_test_score"], search.predict_proba(X)]


@client("sklearn-genetic-opt")
def search_with_a_genetic_algorithm(make: Estimators):
    import random

    from sklearn_genetic import GASearchCV
    from sklearn_genetic.space import Categorical, Continuous

    random.seed(0)
    space = {
        "alpha": Continuous(1e-5, 1.0, distribution="log-uniform", random_state=0),
        "activation": Categorical(["relu", "tanh"], random_state=0),
    }
    settings = {"population_size": 4, "generations": 2, "cv": 3, "verbose": False}
    search = GASearchCV(make.classifier(), param_grid=space, scoring="neg_log_loss", **settings).fit(X, Y)
    return [search.best_params_, search.best_score_, search.predict_proba(X)]


@client("flaml")
def tune_with_flaml(make: Estimators):
    from flaml import tune

    warnings.simplefilter("ignore", ConvergenceWarning)  # as the first import of flaml does

    def evaluate(parameters):
        return {"loss": -cross_val_score(make.regressor(**parameters), X, NUMBERS, cv=3).mean()}

    space = {"alpha": tune.loguniform(1e-5, 1.0), "activation": tune.choice(["relu", "tanh"])}
    found = tune.run(evaluate, config=space, metric="loss", mode="min", num_samples=5, verbose=0)
    return [[trial.config, trial.last_result["loss"]] for trial in found.trials]


@client("dask-ml")
def grid_search_of_dask(make: Estimators):
    from dask_ml.model_selection import GridSearchCV

    pipeline = make_pipeline(StandardScaler(), make.classifier())
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3, scheduler="synchronous")
    search.fit(X, THREE_CLASSES)
    return [search.cv_results_["mean_test_score"], search.predict_proba(X)]


@client("mlxtend")
def selection_of_features(make: Estimators):
    from mlxtend.feature_selection import ExhaustiveFeatureSelector, SequentialFeatureSelector

    floating = SequentialFeatureSelector(make.regressor(), 3, floating=True, cv=2, scoring="r2").fit(FRAME, NUMBERS)
    all_pairs = ExhaustiveFeatureSelector(make.classifier(max_iter=8), 2, 2, cv=2, print_progress=False).fit(X, Y)
    return [
        [[subset["feature_idx"], subset["cv_scores"]] for subset in floating.subsets_.values()],
        [[subset["feature_idx"], subset["cv_scores"]] for subset in all_pairs.subsets_.values()],
    ]


@client("feature-engine")
def selectors_of_feature_engine(make: Estimators):
    from feature_engine.selection import SelectByShuffling, SelectBySingleFeaturePerformance

    shuffled = SelectByShuffling(make.classifier(), random_state=0).fit(FRAME, Y)
    single = SelectBySingleFeaturePerformance(make.regressor(), scoring="r2", threshold=0.05).fit(FRAME, NUMBERS)
    return [
        shuffled.performance_drifts_,
        shuffled.features_to_drop_,
        single.feature_performance_,
        single.transform(FRAME),
    ]


@client("boruta")
def boruta(make: Estimators):
    from boruta import BorutaPy

    class Network(type(make.classifier())):
        """A network with what Boruta needs: a number of estimators, and importances."""

        n_estimators = 1

        def set_params(self, *, n_estimators=1, **parameters):
            return super().set_params(**parameters)

        @property
        def feature_importances_(self):
            return np.abs(self.coefs_[0]).sum(axis=1)

    model = Network(**make.classifier().get_params())
    selector = BorutaPy(model, n_estimators=1, max_iter=6, random_state=0).fit(X, Y)
    return [selector.ranking_, selector.importance_history_, selector.support_weak_]
