"""Libraries of intervals, calibrated probabilities and fairness."""

import numpy as np

from tests.clients.comparison import (
    FRAME,
    NUMBERS,
    SAMPLE_WEIGHT,
    TEST,
    THREE_CLASSES,
    TRAIN,
    Estimators,
    X,
    Y,
    client,
)

SENSITIVE = np.where(X[:, 0] > 0, "old", "young")


@client("mapie")
def conformal_intervals(make: Estimators):
    from mapie.regression import (
        CrossConformalRegressor,
        JackknifeAfterBootstrapRegressor,
        SplitConformalRegressor,
    )

    split = SplitConformalRegressor(make.regressor(), prefit=False).fit(X[:70], NUMBERS[:70])
    split.conformalize(X[70:110], NUMBERS[70:110])
    others = [
        CrossConformalRegressor(make.regressor(), cv=3, conformity_score="gamma"),
        CrossConformalRegressor(make.regressors(2), cv=3, method="minmax"),
        JackknifeAfterBootstrapRegressor(make.regressor(), resampling=4, random_state=0),
    ]
    fitted = [m.fit_conformalize(X[TRAIN], np.exp(NUMBERS[TRAIN])) for m in others]
    return [model.predict_interval(X[TEST]) for model in (split, *fitted)]


@client("mapie")
def conformal_sets(make: Estimators):
    from mapie.classification import CrossConformalClassifier, SplitConformalClassifier

    fitted = make.classifier().fit(X[:70], THREE_CLASSES[:70])
    split = SplitConformalClassifier(fitted, conformity_score="aps", random_state=0)
    split.conformalize(X[70:110], THREE_CLASSES[70:110])
    cross = CrossConformalClassifier(make.classifier(), cv=3, random_state=0)
    cross.fit_conformalize(X[TRAIN], THREE_CLASSES[TRAIN], fit_params={"sample_weight": SAMPLE_WEIGHT[TRAIN]})
    return [split.predict_set(X[TEST]), cross.predict_set(X[TEST])]


@client("crepes")
def conformal_predictors_of_crepes(make: Estimators):
    from crepes import WrapClassifier, WrapRegressor

    classifier, regressor = WrapClassifier(make.classifier()), WrapRegressor(make.regressor())
    classifier.fit(X[:70], THREE_CLASSES[:70])
    classifier.calibrate(X[70:110], THREE_CLASSES[70:110], seed=0)
    regressor.fit(X[:70], NUMBERS[:70])
    regressor.calibrate(X[70:110], NUMBERS[70:110], seed=0)
    return [
        classifier.predict_p(X[TEST], seed=0),
        classifier.predict_set(X[TEST], seed=0),
        regressor.predict_int(X[TEST]),
        regressor.evaluate(X[TEST], NUMBERS[TEST])["eff_mean"],
    ]


@client("venn-abers")
def venn_abers(make: Estimators):
    from venn_abers import VennAbersCalibrator

    inductive = VennAbersCalibrator(make.classifier(), inductive=True, cal_size=0.3, random_state=0)
    cross = VennAbersCalibrator(make.classifier(), inductive=False, n_splits=2, random_state=0)
    inductive.fit(X[TRAIN], THREE_CLASSES[TRAIN])
    cross.fit(X[TRAIN], Y[TRAIN])
    return [inductive.predict_proba(X[TEST]), cross.predict_proba(X[TEST])]


@client("betacal")
def beta_calibration(make: Estimators):
    from betacal import BetaCalibration

    scores = make.classifier().fit(X[:70], Y[:70]).predict_proba(X)[:, 1]
    return BetaCalibration("abm").fit(scores[70:110, None], Y[70:110]).predict(scores[TEST])


@client("model-diagnostics")
def diagnostics(make: Estimators):
    from model_diagnostics.calibration import compute_bias
    from model_diagnostics.scoring import SquaredError, decompose

    predictions = {name: make.regressor(activation=name).fit(X, NUMBERS).predict(X) for name in ("relu", "tanh")}
    frame = FRAME.assign(**predictions)[["relu", "tanh"]]
    return [
        compute_bias(NUMBERS, frame, feature=FRAME["age"], n_bins=3).drop("age").to_pandas(),
        decompose(NUMBERS, frame, scoring_function=SquaredError()).to_pandas(),
    ]


@client("fairlearn")
def reductions(make: Estimators):
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient, GridSearch

    gradient = ExponentiatedGradient(make.classifier(max_iter=8), DemographicParity(), max_iter=4)
    gradient.fit(X, Y, sensitive_features=SENSITIVE)
    grid = GridSearch(make.classifier(), DemographicParity(), grid_size=3).fit(FRAME, Y, sensitive_features=SENSITIVE)
    return [gradient.weights_, gradient._pmf_predict(X), grid.predict_proba(FRAME), grid.objectives_]


@client("fairlearn")
def thresholds_by_group(make: Estimators):
    from fairlearn.metrics import MetricFrame, selection_rate
    from fairlearn.postprocessing import ThresholdOptimizer

    settings = {"constraints": "equalized_odds", "predict_method": "predict_proba"}
    model = ThresholdOptimizer(estimator=make.classifier(), **settings).fit(X, Y, sensitive_features=SENSITIVE)
    predicted = model.predict(X, sensitive_features=SENSITIVE, random_state=0)
    by_group = MetricFrame(metrics=selection_rate, y_true=Y, y_pred=predicted, sensitive_features=SENSITIVE)
    return [model._pmf_predict(X, sensitive_features=SENSITIVE), predicted, by_group.by_group]
