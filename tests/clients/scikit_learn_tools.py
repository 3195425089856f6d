"""What scikit-learn's own tools compute with the estimators: searches, ensembles, calibration, selection, pictures."""

import io
import pickle
import tempfile

import joblib
import matplotlib as mpl
import numpy as np
import sklearn
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401 - they add classes
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer
from sklearn.inspection import DecisionBoundaryDisplay, partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, RANSACRegressor, Ridge
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay, RocCurveDisplay, get_scorer, make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedGroupKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from tests.clients.comparison import (
    FRAME,
    LABELS,
    NUMBERS,
    SAMPLE_WEIGHT,
    TEST,
    THREE_CLASSES,
    TRAIN,
    TWO_NUMBERS,
    Estimators,
    X,
    Y,
    client,
)

mpl.use("Agg")


def importance_of_features(model):
    """Return one number for each feature, for tools that look for ``coef_``."""
    return np.abs(model.coefs_[0]).sum(axis=1)


def results_of(search):
    """Return the numbers of a fitted search, without its times."""
    numbers = {
        key: value for key, value in search.cv_results_.items() if key.startswith(("mean_test", "split", "rank"))
    }
    return {**numbers, "best": search.best_index_, "score": search.best_score_, "predictions": search.predict(X[TEST])}


# --- searches ---


@client()
def grid_search(make: Estimators):
    grid = {"alpha": [1e-4, 1.0], "activation": ["relu", "tanh"], "solver": ["adam", "sgd"]}
    search = GridSearchCV(make.classifier(), grid, cv=3, scoring="neg_log_loss", n_jobs=2)
    return results_of(search.fit(X[TRAIN], THREE_CLASSES[TRAIN]))


@client()
def stacked_grid_search(make: Estimators):
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (5, 3)]}
    classifying = make.grid_search(make.classifier(early_stopping=True), grid, cv=3, return_train_score=True)
    regressing = make.grid_search(make.regressor(), grid, cv=3, scoring="neg_mean_absolute_error")
    return [
        results_of(classifying.fit(X[TRAIN], Y[TRAIN], sample_weight=SAMPLE_WEIGHT[TRAIN])),
        results_of(regressing.fit(FRAME[TRAIN], NUMBERS[TRAIN])),
    ]


@client()
def stacked_grid_search_of_a_pipeline(make: Estimators):
    pipeline = make_pipeline(StandardScaler(), PolynomialFeatures(), make.classifier())
    grid = {"polynomialfeatures__degree": [1, 2], "mlpclassifier__alpha": [1e-4, 1.0]}
    search = make.grid_search(pipeline, grid, cv=3, scoring=["roc_auc", "neg_log_loss"], refit="roc_auc")
    return results_of(search.fit(FRAME[TRAIN], Y[TRAIN]))


@client()
def random_search(make: Estimators):
    distributions = {"alpha": loguniform(1e-5, 1.0), "learning_rate_init": loguniform(1e-3, 0.1)}
    search = RandomizedSearchCV(make.regressor(), distributions, n_iter=4, cv=3, random_state=0)
    return results_of(search.fit(X[TRAIN], NUMBERS[TRAIN]))


@client()
def halving_random_search(make: Estimators):
    distributions = {"alpha": loguniform(1e-5, 1.0), "hidden_layer_sizes": [(3,), (4, 4)]}
    settings = {"cv": 3, "n_candidates": 6, "random_state": 0}
    return [
        results_of(HalvingRandomSearchCV(make.classifier(), distributions, **settings).fit(X[TRAIN], Y[TRAIN])),
        results_of(
            HalvingRandomSearchCV(
                make.classifier(), distributions, resource="max_iter", min_resources=3, max_resources=27, **settings
            ).fit(X[TRAIN], Y[TRAIN])
        ),
    ]


@client()
def halving_grid_search(make: Estimators):
    search = HalvingGridSearchCV(make.regressor(), {"alpha": [1e-4, 0.1, 10.0]}, cv=3, random_state=0)
    return results_of(search.fit(X[TRAIN], NUMBERS[TRAIN]))


# --- validation ---


@client()
def cross_validation(make: Estimators):
    scored = cross_validate(
        make.classifier(),
        FRAME,
        THREE_CLASSES,
        cv=StratifiedGroupKFold(3),
        groups=np.arange(len(X)) // 3,
        scoring={
            "log_loss": "neg_log_loss",
            "auc": make_scorer(sklearn.metrics.roc_auc_score, response_method="predict_proba", multi_class="ovr"),
            "accuracy": "accuracy",
        },
        params={"sample_weight": SAMPLE_WEIGHT},
        return_train_score=True,
    )
    return {key: value for key, value in scored.items() if not key.endswith("time")}


@client()
def predictions_of_cross_validation(make: Estimators):
    return [
        cross_val_predict(make.classifier(), X, THREE_CLASSES, method="predict_proba", cv=3),
        cross_val_predict(make.classifier(), X, THREE_CLASSES.astype(str), method="predict_log_proba", cv=3),
        cross_val_predict(make.classifier(), X, LABELS, cv=3),
        cross_val_predict(make.classifier(), X, LABELS, method="predict_proba", cv=3),
        cross_val_predict(make.regressor(), FRAME, TWO_NUMBERS, cv=3),
    ]


@client()
def learning_curves(make: Estimators):
    settings = {"train_sizes": [0.4, 1.0], "cv": 3, "shuffle": True, "random_state": 0}
    return [
        *learning_curve(make.classifier(), X, Y, scoring="neg_log_loss", **settings),
        *learning_curve(make.classifier(), X, Y, exploit_incremental_learning=True, **settings),
        *learning_curve(make.regressor(), X, NUMBERS, **settings),
        *validation_curve(make.regressor(), X, NUMBERS, param_name="alpha", param_range=[0.01, 1.0], cv=3),
        *permutation_test_score(make.classifier(max_iter=10), X, Y, cv=3, n_permutations=4, random_state=0),
    ]


# --- calibration and thresholds ---


@client()
def calibrated_classifier(make: Estimators):
    models = [
        CalibratedClassifierCV(make.classifier(), method="sigmoid", cv=3),
        CalibratedClassifierCV(make.classifier(), method="isotonic", cv=3, ensemble=False),
        CalibratedClassifierCV(make.classifier(), method="temperature", cv=2),
        CalibratedClassifierCV(FrozenEstimator(make.classifier().fit(X, THREE_CLASSES)), method="sigmoid"),
    ]
    return [m.fit(X[TRAIN], THREE_CLASSES[TRAIN], SAMPLE_WEIGHT[TRAIN]).predict_proba(X[TEST]) for m in models]


@client()
def tuned_threshold(make: Estimators):
    tuned = TunedThresholdClassifierCV(make.classifier(), scoring="f1", cv=3, store_cv_results=True).fit(X, Y)
    fixed = FixedThresholdClassifier(make.classifier(), threshold=0.3).fit(X, Y)
    return [tuned.best_threshold_, tuned.cv_results_["scores"], tuned.predict(X), fixed.predict(X)]


# --- ensembles ---


@client()
def ensembles_of_seeds(make: Estimators):
    classifiers = make.classifiers().fit(X[TRAIN], THREE_CLASSES[TRAIN])
    regressors = make.regressors(early_stopping=True).fit(X[TRAIN], NUMBERS[TRAIN], sample_weight=SAMPLE_WEIGHT[TRAIN])
    return [classifiers.predict_proba(X[TEST]), classifiers.score(X, THREE_CLASSES), regressors.predict(X[TEST])]


@client()
def ensembles_in_tools(make: Estimators):
    return [
        cross_val_predict(make.classifiers(), FRAME, Y, cv=3, method="predict_proba"),
        CalibratedClassifierCV(make.classifiers(2), cv=2).fit(X, Y).predict_proba(X[TEST]),
        StackingRegressor([("mlp", make.regressors(2)), ("ridge", Ridge())], cv=2).fit(X, NUMBERS).predict(X[TEST]),
        permutation_importance(make.regressors(2).fit(X, NUMBERS), X, NUMBERS, n_repeats=2, random_state=0).importances,
    ]


@client()
def stacking(make: Estimators):
    members = [("mlp", make.classifier()), ("wide", make.classifier(hidden_layer_sizes=(12,)))]
    classifier = StackingClassifier(members, LogisticRegression(), cv=3, passthrough=True).fit(X, THREE_CLASSES)
    prefit = StackingClassifier([(n, m.fit(X, Y)) for n, m in members], make.classifier(), cv="prefit").fit(X, Y)
    regressor = StackingRegressor([("mlp", make.regressor()), ("ridge", Ridge())], make.regressor(), cv=3)
    return [
        classifier.transform(X),
        classifier.predict_proba(X),
        prefit.predict_proba(X),
        regressor.fit(FRAME, NUMBERS).predict(FRAME),
    ]


@client()
def voting(make: Estimators):
    members = [("mlp", make.classifier()), ("linear", LogisticRegression())]
    soft = VotingClassifier(members, voting="soft", weights=[2, 1])
    soft.fit(X, THREE_CLASSES.astype(str), sample_weight=SAMPLE_WEIGHT)
    hard = VotingClassifier(members).fit(X, THREE_CLASSES)
    numbers = VotingRegressor([("mlp", make.regressor()), ("ridge", Ridge())]).fit(X, NUMBERS)
    return [soft.predict_proba(X), soft.predict(X), hard.predict(X), numbers.predict(X)]


@client()
def bagging(make: Estimators):
    settings = {"n_estimators": 3, "max_samples": 0.8, "max_features": 3, "oob_score": True, "random_state": 0}
    classifier = BaggingClassifier(make.classifier(), **settings).fit(X, THREE_CLASSES)
    regressor = BaggingRegressor(make.regressor(), **settings).fit(X, NUMBERS, sample_weight=SAMPLE_WEIGHT)
    return [classifier.predict_proba(X), classifier.oob_decision_function_, regressor.predict(X), regressor.oob_score_]


@client()
def boosting(make: Estimators):
    classifier = AdaBoostClassifier(make.classifier(max_iter=10), n_estimators=3, random_state=0)
    regressor = AdaBoostRegressor(make.regressor(max_iter=10), n_estimators=3, random_state=0)
    return [
        classifier.fit(X, THREE_CLASSES, SAMPLE_WEIGHT).predict_proba(X),
        classifier.estimator_weights_,
        regressor.fit(X, NUMBERS).predict(X),
    ]


# --- several targets ---


@client()
def one_classifier_per_class(make: Estimators):
    incremental = OneVsRestClassifier(make.classifier())
    for part in (slice(0, 70), slice(70, None)):
        incremental.partial_fit(X[part], THREE_CLASSES[part], classes=[0, 1, 2])
    return [
        OneVsRestClassifier(make.classifier()).fit(X, THREE_CLASSES).predict_proba(X),
        OneVsRestClassifier(make.classifier()).fit(X, LABELS).predict_proba(X),
        OneVsOneClassifier(make.classifier()).fit(X, THREE_CLASSES).decision_function(X),
        OutputCodeClassifier(make.classifier(), random_state=0).fit(X, THREE_CLASSES).predict(X),
        incremental.predict_proba(X),
    ]


@client()
def one_model_per_target(make: Estimators):
    incremental, numbers = MultiOutputClassifier(make.classifier()), MultiOutputRegressor(make.regressor())
    for part in (slice(0, 70), slice(70, None)):
        incremental.partial_fit(X[part], LABELS[part], classes=[[0, 1]] * 3)
        numbers.partial_fit(X[part], TWO_NUMBERS[part])
    return [
        MultiOutputRegressor(make.regressor()).fit(X, TWO_NUMBERS, SAMPLE_WEIGHT).predict(X),
        numbers.predict(X),
        MultiOutputClassifier(make.classifier()).fit(X, np.stack([Y, THREE_CLASSES], axis=1)).predict_proba(X),
        incremental.predict_proba(X),
        ClassifierChain(make.classifier(), order="random", random_state=0, cv=3).fit(X, LABELS).predict_proba(X),
        RegressorChain(make.regressor(), order=[1, 0]).fit(X, TWO_NUMBERS).predict(X),
    ]


@client()
def transformed_target(make: Estimators):
    model = TransformedTargetRegressor(make.regressor(), func=np.arcsinh, inverse_func=np.sinh)
    scaled = TransformedTargetRegressor(make_pipeline(StandardScaler(), make.regressor()), transformer=StandardScaler())
    return [model.fit(X, TWO_NUMBERS).predict(X), scaled.fit(FRAME, NUMBERS).predict(FRAME)]


# --- features ---


@client()
def feature_selection(make: Estimators):
    settings = {"importance_getter": importance_of_features}
    recursive = RFE(make.classifier(), n_features_to_select=2, **settings).fit(X, Y)
    validated = RFECV(make.regressor(), cv=3, **settings).fit(X, NUMBERS)
    forward = SequentialFeatureSelector(make.classifier(), n_features_to_select=2, cv=2).fit(FRAME, Y)
    threshold = SelectFromModel(make.regressor(), **settings).fit(FRAME, NUMBERS)
    return [
        recursive.ranking_,
        recursive.predict_proba(X),
        validated.cv_results_["mean_test_score"],
        forward.get_support(),
        threshold.transform(FRAME),
        threshold.threshold_,
    ]


@client()
def permuted_features(make: Estimators):
    classifier, regressor = make.classifier().fit(FRAME, THREE_CLASSES), make.regressor().fit(FRAME, TWO_NUMBERS)
    settings = {"n_repeats": 3, "random_state": 0}
    return [
        permutation_importance(classifier, FRAME, THREE_CLASSES, scoring="neg_log_loss", **settings).importances,
        permutation_importance(regressor, FRAME, TWO_NUMBERS, max_samples=0.5, **settings).importances,
    ]


@client()
def dependence_on_features(make: Estimators):
    classifier, regressor = make.classifier().fit(FRAME, THREE_CLASSES), make.regressor().fit(FRAME, NUMBERS)
    return [
        partial_dependence(classifier, FRAME, ["age"], grid_resolution=5, kind="both"),
        partial_dependence(regressor, FRAME, ["age", "income"], grid_resolution=4),
        partial_dependence(make.regressors().fit(X, NUMBERS), X, [2], grid_resolution=5),
    ]


@client()
def columns_of_a_frame(make: Estimators):
    frame = FRAME.assign(city=np.array(["a", "b", "c"])[THREE_CLASSES], age=FRAME["age"].mask(FRAME["age"] > 1.5))
    columns = ColumnTransformer(
        [
            ("filled", IterativeImputer(make.regressor(max_iter=5), max_iter=2), ["age", "height", "income"]),
            ("bins", KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), ["score"]),
            ("one_hot", OneHotEncoder(sparse_output=False), ["city"]),
        ],
        remainder="passthrough",
    )
    numbers = []
    for library in ("default", "pandas", "polars"):
        pipeline = make_pipeline(clone(columns), make.classifier()).set_output(transform=library)
        pipeline.fit(frame[TRAIN], Y[TRAIN])
        numbers += [pipeline.predict_proba(frame[TEST]), pipeline[-1].n_features_in_]
    return numbers


@client()
def union_of_features(make: Estimators):
    union = FeatureUnion([("scaled", StandardScaler()), ("squares", PolynomialFeatures(2))])
    with tempfile.TemporaryDirectory() as folder:
        pipeline = make_pipeline(union, SelectFromModel(Ridge()), make.regressor(), memory=folder)
        return [clone(pipeline).fit(FRAME, NUMBERS).predict(FRAME), pipeline.fit(FRAME, NUMBERS).score(FRAME, NUMBERS)]


@client()
def text(make: Estimators):
    words = np.array(["red", "green", "blue", "big", "small", "old"])
    documents = [" ".join(words[row > 0]) + " thing" for row in X @ np.random.default_rng(0).normal(size=(5, 6))]
    model = make_pipeline(HashingVectorizer(n_features=2**8), make.classifier())
    return model.fit(documents, Y).predict_proba(documents)


# --- other estimators over estimators ---


@client()
def self_training(make: Estimators):
    partly = np.where(np.arange(len(Y)) % 3 == 0, Y, -1)
    model = SelfTrainingClassifier(make.classifier(), threshold=0.7, max_iter=4).fit(X, partly)
    return [model.predict_proba(X), model.labeled_iter_, model.transduction_]


@client()
def robust_regression(make: Estimators):
    model = RANSACRegressor(make.regressor(), min_samples=60, max_trials=4, random_state=0).fit(X, NUMBERS)
    return [model.predict(X), model.inlier_mask_]


@client()
def frozen(make: Estimators):
    model = FrozenEstimator(make.classifier().fit(X, Y)).fit(X[::2], 1 - Y[::2])
    return [model.predict_proba(X), clone(model).predict(X)]


@client()
def pictures(make: Estimators):
    two = X[:, :2]
    classifier, regressor = make.classifier().fit(two, Y), make.regressor().fit(two, NUMBERS)
    roc = RocCurveDisplay.from_estimator(classifier, two, Y)
    return [
        DecisionBoundaryDisplay.from_estimator(classifier, two, grid_resolution=9).response,
        DecisionBoundaryDisplay.from_estimator(regressor, two, grid_resolution=9).response,
        CalibrationDisplay.from_estimator(classifier, two, Y).prob_true,
        ConfusionMatrixDisplay.from_estimator(classifier, two, Y).confusion_matrix,
        PredictionErrorDisplay.from_estimator(regressor, two, NUMBERS).y_pred,
        [roc.fpr, roc.tpr, roc.roc_auc],
    ]


# --- metadata, copies, files ---


@client()
def metadata_routing(make: Estimators):
    with sklearn.config_context(enable_metadata_routing=True):
        model = make.classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3)
        search.fit(X[TRAIN], Y[TRAIN], sample_weight=SAMPLE_WEIGHT[TRAIN])
        scorer = get_scorer("accuracy").set_score_request(sample_weight=True)
        scored = cross_validate(model, X, Y, cv=3, scoring=scorer, params={"sample_weight": SAMPLE_WEIGHT})
        bagged = BaggingClassifier(model, 2, random_state=0).fit(X, Y, sample_weight=SAMPLE_WEIGHT)
        chain = ClassifierChain(model).fit(X, LABELS, sample_weight=SAMPLE_WEIGHT)
        return [
            results_of(search),
            scored["test_score"],
            bagged.predict_proba(X),
            chain.predict_proba(X),
            model.get_metadata_routing().consumes("fit", ["sample_weight", "groups"]),
            model.get_metadata_routing().consumes("partial_fit", ["sample_weight", "classes"]),
        ]


@client()
def stacked_search_with_metadata_routing(make: Estimators):
    with sklearn.config_context(enable_metadata_routing=True):
        model = make.regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = make.grid_search(model, {"alpha": [1e-4, 1.0]}, cv=3)
        return results_of(search.fit(X[TRAIN], NUMBERS[TRAIN], sample_weight=SAMPLE_WEIGHT[TRAIN]))


@client()
def copies_and_files(make: Estimators):
    model = make_pipeline(StandardScaler(), make.classifier()).fit(FRAME, THREE_CLASSES)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    stored = [pickle.loads(pickle.dumps(model)), joblib.load(file)]
    again = clone(stored[0]).fit(FRAME, THREE_CLASSES)
    continued = stored[0][-1].partial_fit(X, THREE_CLASSES)
    return [stored[1].predict_proba(FRAME), again.predict_proba(FRAME), continued.coefs_, continued.loss_curve_]


@client(difference="A warm start continues with the velocity or the moments of the solver")
def warm_starts(make: Estimators):
    model = make.classifier(warm_start=True, solver="sgd")
    return [model.fit(X, Y).predict_proba(X), model.fit(X, Y).predict_proba(X)]


@client(difference="The squared error is summed over the outputs, and so is its gradient")
def several_outputs(make: Estimators):
    return make.regressor(solver="lbfgs", alpha=1.0).fit(X, TWO_NUMBERS).predict(X)


@client(difference="The loss is exact even if outputs round to 0 or 1")
def certain_outputs(make: Estimators):
    return make.classifier(solver="sgd", learning_rate_init=1e-6).fit(1e3 * X, Y).loss_curve_
