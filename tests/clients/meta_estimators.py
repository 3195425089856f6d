"""Libraries whose estimators are made of others: resampling, ensembles, noisy labels, active learning."""

import numpy as np
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from tests.clients.comparison import (
    FRAME,
    LABELS,
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

RARE = (THREE_CLASSES == 0) & (np.arange(len(X)) % 2 == 0)
GROUPS = np.where(X[:, 0] > 0, "old", "young")


@client("imbalanced-learn")
def resampled(make: Estimators):
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline
    from imblearn.under_sampling import InstanceHardnessThreshold

    pipeline = make_pipeline(SMOTE(random_state=0), make.classifier()).fit(X, RARE)
    hardness = InstanceHardnessThreshold(estimator=make.classifier(), random_state=0, cv=3)
    return [pipeline.predict_proba(X), pipeline.predict(X), *hardness.fit_resample(FRAME, RARE.astype(int))]


@client("imbalanced-learn")
def ensembles_of_imbalanced_learn(make: Estimators):
    from imblearn.ensemble import BalancedBaggingClassifier, EasyEnsembleClassifier, RUSBoostClassifier

    settings = {"n_estimators": 3, "random_state": 0}
    boosted = AdaBoostClassifier(make.classifier(max_iter=60), n_estimators=2)
    return [
        BalancedBaggingClassifier(make.classifier(), **settings).fit(X, RARE).predict_proba(X),
        RUSBoostClassifier(make.classifier(max_iter=8), **settings).fit(X, RARE).predict_proba(X),
        EasyEnsembleClassifier(estimator=boosted, **settings).fit(X, RARE).predict_proba(X),
    ]


@client("mlxtend")
def stacking_of_mlxtend(make: Estimators):
    from mlxtend.classifier import EnsembleVoteClassifier, StackingClassifier, StackingCVClassifier
    from mlxtend.regressor import StackingCVRegressor, StackingRegressor

    members = [make.classifier(), make.classifier(activation="tanh")]
    fitted = [member.fit(X, Y) for member in members]
    stacked = {"use_probas": True, "meta_classifier": LogisticRegression()}
    regressors = [make.regressor(), Ridge()]
    return [
        StackingCVClassifier(members, random_state=0, **stacked).fit(X, THREE_CLASSES).predict_proba(X),
        StackingClassifier(members, **stacked).fit(X, Y, sample_weight=SAMPLE_WEIGHT).predict_proba(X),
        EnsembleVoteClassifier(fitted, fit_base_estimators=False, voting="soft").fit(X, Y).predict_proba(X),
        StackingCVRegressor(regressors, make.regressor(), random_state=0).fit(X, NUMBERS).predict(X),
        StackingRegressor(regressors, Ridge()).fit(X, NUMBERS).predict(X),
    ]


@client("mlxtend")
def evaluation_of_mlxtend(make: Estimators):
    from mlxtend.evaluate import bias_variance_decomp, bootstrap_point632_score, feature_importance_permutation

    train_and_test = (X[TRAIN], NUMBERS[TRAIN], X[TEST], NUMBERS[TEST])
    predict = make.regressor().fit(X, NUMBERS).predict
    return [
        bias_variance_decomp(make.regressor(), *train_and_test, loss="mse", num_rounds=3, random_seed=0),
        bootstrap_point632_score(make.classifier(), X, Y, n_splits=3, random_seed=0),
        feature_importance_permutation(X, NUMBERS, predict, metric="r2", num_rounds=2, seed=0),
    ]


@client("vecstack")
def stacking_of_vecstack(make: Estimators):
    from vecstack import StackingTransformer

    classifiers = [("relu", make.classifier()), ("tanh", make.classifier(activation="tanh"))]
    settings = {"regression": False, "needs_proba": True, "n_folds": 3}
    stack = StackingTransformer(classifiers, **settings).fit(X[TRAIN], THREE_CLASSES[TRAIN])
    numbers = StackingTransformer([("mlp", make.regressor())], variant="B", n_folds=3).fit(X[TRAIN], NUMBERS[TRAIN])
    return [stack.transform(X[TRAIN]), stack.transform(X[TEST]), numbers.transform(X[TEST])]


@client("ngboost")
def natural_gradient_boosting(make: Estimators):
    from ngboost import NGBRegressor

    settings = {"n_estimators": 3, "learning_rate": 0.1, "verbose": False, "random_state": 0}
    model = NGBRegressor(Base=make.regressor(max_iter=10), **settings).fit(X, NUMBERS, sample_weight=SAMPLE_WEIGHT)
    return [model.predict(X), model.pred_dist(X).params]


@client("scikit-lego")
def meta_estimators_of_scikit_lego(make: Estimators):
    from sklego.meta import (
        DecayEstimator,
        EstimatorTransformer,
        GroupedPredictor,
        OrdinalClassifier,
        SubjectiveClassifier,
        Thresholder,
        ZeroInflatedRegressor,
    )

    frame, counts = FRAME.assign(group=GROUPS), np.maximum(NUMBERS, 0.0)
    prior = {0: 0.5, 1: 0.3, 2: 0.2}
    return [
        GroupedPredictor(make.regressor(), "group", use_global_model=True).fit(frame, NUMBERS).predict(frame),
        Thresholder(make.classifier(), threshold=0.3).fit(X, Y).predict(X),
        OrdinalClassifier(make.classifier()).fit(X, THREE_CLASSES).predict_proba(X),
        DecayEstimator(make.regressor()).fit(X, NUMBERS).predict(X),
        EstimatorTransformer(make.classifier(), "predict_proba").fit(FRAME, Y).transform(FRAME),
        SubjectiveClassifier(make.classifier(), prior).fit(X, THREE_CLASSES).predict_proba(X),
        ZeroInflatedRegressor(make.classifier(), make.regressor()).fit(X, counts, SAMPLE_WEIGHT).predict(X),
    ]


@client("scikit-multilearn-ng")
def multilabel_problems(make: Estimators):
    from skmultilearn.problem_transform import BinaryRelevance, ClassifierChain, LabelPowerset

    numbers = []
    for transform in (BinaryRelevance, ClassifierChain, LabelPowerset):
        for dense in ([True, True], [False, True]):
            model = transform(make.classifier(), require_dense=dense).fit(X, LABELS)
            numbers += [model.predict(X).toarray(), model.predict_proba(X).toarray()]
    return numbers


@client("cleanlab")
def noisy_labels(make: Estimators):
    from cleanlab.classification import CleanLearning
    from cleanlab.regression.learn import CleanLearning as CleanRegression

    noisy = np.where(np.arange(len(X)) % 10 == 0, 2 - THREE_CLASSES, THREE_CLASSES)
    model = CleanLearning(make.classifier(), seed=0, cv_n_folds=3).fit(X, noisy)
    regression = CleanRegression(make.regressor(), cv_n_folds=3, n_boot=2, seed=0)
    numbers = np.where(np.arange(len(X)) % 10 == 0, NUMBERS + 5.0, NUMBERS)
    return [
        model.get_label_issues(),
        model.predict_proba(X),
        regression.find_label_issues(X, numbers),
    ]


@client("scikit-activeml")
def active_learning(make: Estimators):
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import QueryByCommittee, UncertaintySampling
    from skactiveml.regressor import SklearnRegressor

    labels = np.where(np.arange(len(X)) < 20, Y, np.nan).astype(float)
    model = SklearnClassifier(make.classifier(), classes=[0.0, 1.0], random_state=0)
    committee = [SklearnClassifier(make.classifier(activation=name), classes=[0.0, 1.0]) for name in ("relu", "tanh")]
    query = UncertaintySampling(method="entropy", random_state=0)
    chosen = []
    for _ in range(3):
        at, utilities = query.query(X, labels, clf=model, return_utilities=True, batch_size=2)
        labels[at] = Y[at]
        chosen.append([at, utilities])
    numbers = np.where(np.arange(len(X)) < 40, NUMBERS, np.nan)
    return [
        chosen,
        QueryByCommittee(random_state=0).query(X, labels, ensemble=committee, return_utilities=True)[1],
        SklearnRegressor(make.regressor()).fit(X, numbers).predict(X),
        model.partial_fit(X, labels).predict_proba(X),
    ]


@client("river")
def online_learning(make: Estimators):
    from river import compose, metrics, preprocessing
    from river.compat import convert_sklearn_to_river

    classifier = convert_sklearn_to_river(make.classifier(batch_size=1), classes=[0, 1, 2])
    regressor = compose.Pipeline(preprocessing.StandardScaler(), convert_sklearn_to_river(make.regressor(batch_size=1)))
    accuracy, error, predicted = metrics.Accuracy(), metrics.MAE(), []
    for row, label, number in zip(FRAME.to_dict("records"), THREE_CLASSES.tolist(), NUMBERS.tolist(), strict=True):
        accuracy.update(label, classifier.predict_one(row))
        error.update(number, regressor.predict_one(row))
        classifier.learn_one(row, label)
        regressor.learn_one(row, number)
        predicted.append(classifier.predict_proba_one(row))
    return [accuracy.get(), error.get(), predicted]
