"""Libraries of forecasts of time series, and of causal effects."""

import numpy as np
import pandas as pd

from tests.clients.comparison import FRAME, NUMBERS, Estimators, X, Y, client

TIMES = pd.date_range("2025-01-01", periods=90, freq="D")
SERIES = pd.Series(np.sin(np.arange(90) / 5.0) + np.random.default_rng(0).normal(0.0, 0.1, 90), TIMES, name="load")
WEATHER = pd.DataFrame({"heat": np.cos(np.arange(100) / 7.0)}, pd.date_range("2025-01-01", periods=100, freq="D"))
OUTCOME = NUMBERS + Y * (1.0 + X[:, 0])


@client("skforecast")
def forecasters(make: Estimators):
    from skforecast.direct import ForecasterDirect
    from skforecast.recursive import ForecasterRecursive
    from sklearn.preprocessing import StandardScaler

    recursive = ForecasterRecursive(make.regressor(), lags=5, transformer_y=StandardScaler())
    recursive.fit(SERIES, exog=WEATHER[:90], store_in_sample_residuals=True)
    direct = ForecasterDirect(steps=3, estimator=make.regressor(), lags=5)
    direct.fit(SERIES)
    return [
        recursive.predict_interval(4, exog=WEATHER[90:], n_boot=20, random_state=0),
        recursive.predict_bootstrapping(4, exog=WEATHER[90:], n_boot=5, random_state=0),
        direct.predict(),
    ]


@client("skforecast")
def backtesting(make: Estimators):
    from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster, grid_search_forecaster
    from skforecast.recursive import ForecasterRecursive

    folds = TimeSeriesFold(steps=5, initial_train_size=60, refit=2)
    settings = {"cv": folds, "metric": "mean_squared_error", "show_progress": False}
    forecaster = ForecasterRecursive(make.regressor(), lags=4)
    scores, predictions = backtesting_forecaster(forecaster, SERIES, **settings)
    found = grid_search_forecaster(forecaster, SERIES, param_grid={"alpha": [0.01, 1.0]}, return_best=False, **settings)
    return [scores, predictions, found[["alpha", "mean_squared_error"]]]


@client("sktime")
def reduced_forecasts(make: Estimators):
    from sktime.forecasting.compose import make_reduction

    series = SERIES.asfreq("D")
    numbers = []
    for strategy in ("recursive", "direct", "multioutput"):
        forecaster = make_reduction(make.regressor(), window_length=6, strategy=strategy)
        numbers.append(forecaster.fit(series, fh=[1, 2, 3]).predict())
    return numbers


@client("sktime")
def classified_series(make: Estimators):
    from sktime.classification.compose import SklearnClassifierPipeline
    from sktime.transformations.series.summarize import SummaryTransformer

    series = np.random.default_rng(0).normal(size=(60, 1, 20)) + Y[:60, None, None]
    model = SklearnClassifierPipeline(make.classifier(), [SummaryTransformer()]).fit(series, Y[:60])
    return model.predict_proba(series)


@client("mlforecast")
def forecasts_of_many_series(make: Estimators):
    from mlforecast import MLForecast
    from mlforecast.utils import PredictionIntervals

    both = {"a": SERIES.to_numpy(), "b": SERIES.to_numpy() ** 2}
    table = pd.concat([pd.DataFrame({"unique_id": name, "ds": TIMES, "y": y}) for name, y in both.items()])
    model = MLForecast(models={"network": make.regressor()}, freq="D", lags=[1, 2, 7], date_features=["dayofweek"])
    model.fit(table, prediction_intervals=PredictionIntervals(n_windows=2, h=3))
    forecast = model.predict(3, level=[80]).drop(columns="ds")
    return [forecast, model.cross_validation(table, n_windows=2, h=3)["network"]]


@client("darts")
def forecasts_of_darts(make: Estimators):
    from darts import TimeSeries
    from darts.models import SKLearnModel

    series = TimeSeries.from_series(SERIES)
    weather = TimeSeries.from_dataframe(WEATHER)
    settings = {"lags": 5, "output_chunk_length": 3}
    together = SKLearnModel(model=make.regressor(), **settings, lags_future_covariates=[0]).fit(
        series, future_covariates=weather
    )
    one_by_one = SKLearnModel(model=make.regressor(), **settings, multi_models=False).fit(series)
    past = one_by_one.historical_forecasts(series, start=80, forecast_horizon=2, retrain=False)
    return [together.predict(6).values(), one_by_one.predict(4).values(), past.values()]


@client("scikit-uplift")
def uplift(make: Estimators):
    from sklift.models import ClassTransformation, SoloModel, TwoModels

    treated = np.arange(len(X)) % 2
    models = [
        SoloModel(make.classifier(), method="treatment_interaction"),
        ClassTransformation(make.classifier()),
        TwoModels(make.classifier(), make.classifier(activation="tanh"), method="ddr_control"),
        SoloModel(make.regressor()),
    ]
    targets = [Y, Y, Y, NUMBERS]
    return [m.fit(FRAME, y, treated).predict(FRAME) for m, y in zip(models, targets, strict=True)]


@client("econml", tolerance=1e-5)
def effects_of_econml(make: Estimators):
    from econml.dml import LinearDML
    from econml.dr import DRLearner
    from econml.metalearners import TLearner, XLearner

    double = LinearDML(model_y=make.regressors(2), model_t=make.classifier(), discrete_treatment=True, random_state=0)
    robust = DRLearner(model_propensity=make.classifier(), model_regression=make.regressor(), random_state=0)
    learners = [
        TLearner(models=make.regressor()).fit(OUTCOME, Y, X=X),
        XLearner(models=make.regressor(), propensity_model=make.classifier()).fit(OUTCOME, Y, X=X),
        double.fit(OUTCOME, Y, X=X),
        robust.fit(OUTCOME, Y, X=X),
    ]
    return [*(learner.effect(X) for learner in learners), *double.effect_interval(X[:5])]


@client("econml", difference="A library that looks for the class `GridSearchCV` treats that one differently")
def effects_with_a_search(make: Estimators):
    from econml.dml import LinearDML

    outcome = make.grid_search(make.regressor(), {"alpha": [1e-4, 0.1]}, cv=2)
    model = LinearDML(model_y=outcome, model_t=make.classifier(), discrete_treatment=True, random_state=0)
    return model.fit(OUTCOME, Y, X=X).effect(X)


@client("doubleml", tolerance=1e-5)
def double_machine_learning(make: Estimators):
    from doubleml import DoubleMLData, DoubleMLIRM, DoubleMLPLR

    frame = FRAME.assign(outcome=OUTCOME, treated=Y)
    data = DoubleMLData(frame, "outcome", "treated", x_cols=list(FRAME.columns))
    numbers = []
    for kind in (DoubleMLPLR, DoubleMLIRM):
        np.random.seed(0)  # noqa: NPY002 - it draws its folds from the global generator
        numbers.append(kind(data, make.regressor(), make.classifier(), n_folds=3).fit().summary)
    return numbers


@client("dowhy")
def causal_graph(make: Estimators):
    import networkx as nx
    from dowhy import gcm

    graph = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("age", "income"), ("income", "score"), ("age", "score")]))
    graph.set_causal_mechanism("age", gcm.EmpiricalDistribution())
    for node in ("income", "score"):
        network = gcm.ml.SklearnRegressionModel(make.regressor())
        graph.set_causal_mechanism(node, gcm.AdditiveNoiseModel(network))
    gcm.util.general.set_random_seed(0)
    gcm.config.disable_progress_bars()
    gcm.fit(graph, FRAME)
    return gcm.counterfactual_samples(graph, {"income": lambda income: income + 1.0}, observed_data=FRAME[:10])
