"""Libraries that explain, measure or draw fitted models."""

import matplotlib as mpl

from tests.clients.comparison import FEATURES, FRAME, NUMBERS, TEST, THREE_CLASSES, TRAIN, Estimators, X, Y, client

mpl.use("Agg")


@client("shap")
def kernel_shap(make: Estimators):
    import shap

    classifier, regressor = make.classifier().fit(X, THREE_CLASSES), make.regressor().fit(X, NUMBERS)
    settings = {"nsamples": 40, "silent": True}
    return [
        shap.KernelExplainer(classifier.predict_proba, X[:20], seed=0).shap_values(X[TEST][:3], **settings),
        shap.KernelExplainer(regressor.predict, X[:20], seed=0).shap_values(X[TEST][:3], **settings),
        shap.KernelExplainer(make.regressors(2).fit(X, NUMBERS).predict, X[:9], seed=0).shap_values(X[:2], **settings),
    ]


@client("shap")
def shap_of_a_callable_model(make: Estimators):
    import shap

    classifier, regressor = make.classifier().fit(FRAME, Y), make.regressor().fit(FRAME, NUMBERS)
    explanations = [
        shap.Explainer(classifier.predict_proba, FRAME[:30], algorithm="permutation", seed=0)(FRAME[TEST][:3]),
        shap.Explainer(regressor.predict, FRAME[:30], algorithm="permutation", seed=0)(FRAME[TEST][:3]),
        shap.explainers.Sampling(regressor.predict, X[:30]).shap_values(X[TEST][:3], nsamples=60),
    ]
    return [getattr(explanation, "values", explanation) for explanation in explanations]


@client("lime")
def lime_of_a_row(make: Estimators):
    from lime.lime_tabular import LimeTabularExplainer

    settings = {"feature_names": list(FEATURES), "random_state": 0}
    classes = LimeTabularExplainer(X[TRAIN], **settings)
    numbers = LimeTabularExplainer(X[TRAIN], mode="regression", **settings)
    classifier, regressor = make.classifier().fit(X, THREE_CLASSES), make.regressor().fit(X, NUMBERS)
    return [
        classes.explain_instance(X[-1], classifier.predict_proba, labels=(0, 2), num_samples=200).as_map(),
        numbers.explain_instance(X[-1], regressor.predict, num_samples=200).as_list(),
    ]


@client("eli5")
def permutation_importance_of_eli5(make: Estimators):
    from eli5.sklearn import PermutationImportance

    prefit = PermutationImportance(make.classifier().fit(X, Y), random_state=0).fit(X, Y)
    validated = PermutationImportance(make.regressor(), cv=3, random_state=0).fit(X, NUMBERS)
    return [prefit.feature_importances_, prefit.predict(X), validated.feature_importances_, validated.scores_]


@client("eli5")
def permutations_of_eli5(make: Estimators):
    from eli5.permutation_importance import get_score_importances

    return get_score_importances(make.regressor().fit(X, NUMBERS).score, X, NUMBERS, n_iter=3, random_state=0)


@client("dalex")
def dalex_explainer(make: Estimators):
    import dalex

    numbers = []
    for model, targets in ((make.classifier(), Y), (make.regressor(), NUMBERS)):
        explainer = dalex.Explainer(model.fit(FRAME, targets), FRAME, targets, verbose=False, label="network")
        numbers += [
            explainer.model_performance().result,
            explainer.model_parts(B=2, random_state=0).result,
            explainer.model_profile(N=20, grid_points=5, random_state=0, verbose=False).result,
            explainer.predict_parts(FRAME[-1:], type="shap", B=2, random_state=0).result,
            explainer.predict_profile(FRAME[-2:], grid_points=5, verbose=False).result,
        ]
    return numbers


@client("interpret")
def black_boxes_of_interpret(make: Estimators):
    from interpret.blackbox import LimeTabular, PartialDependence, ShapKernel

    classifier, regressor = make.classifier().fit(FRAME, Y), make.regressor().fit(FRAME, NUMBERS)
    explanations = [
        PartialDependence(classifier, FRAME, num_points=5).explain_global(),
        LimeTabular(classifier, FRAME, random_state=0).explain_local(FRAME[-2:], Y[-2:]),
        ShapKernel(regressor, FRAME[:20]).explain_local(FRAME[-2:], NUMBERS[-2:]),
    ]
    return [[explanation.data(at)["scores"] for at in (0, 1)] for explanation in explanations]


@client("shapiq")
def interactions(make: Estimators):
    import shapiq

    model = make.regressor().fit(X, NUMBERS)
    explainer = shapiq.TabularExplainer(model.predict, X[:40], index="k-SII", max_order=2, random_state=0)
    return explainer.explain(X[-1], budget=32).values


@client("sage-importance")
def importance_for_the_loss(make: Estimators):
    import sage

    settings = {"detect_convergence": False, "n_permutations": 32, "bar": False}
    classifier, regressor = make.classifiers(2).fit(X, THREE_CLASSES), make.regressor().fit(X, NUMBERS)
    numbers = []
    for model, loss, targets in ((classifier, "cross entropy", THREE_CLASSES), (regressor, "mse", NUMBERS)):
        estimator = sage.PermutationEstimator(sage.MarginalImputer(model, X[:20]), loss, random_state=0)
        numbers.append(estimator(X[:40], targets[:40], **settings).values)
    return numbers


@client("yellowbrick")
def visualizers(make: Estimators):
    from yellowbrick.classifier import ROCAUC, ClassificationReport, ConfusionMatrix
    from yellowbrick.model_selection import CVScores, LearningCurve, ValidationCurve
    from yellowbrick.regressor import PredictionError, ResidualsPlot

    numbers = []  # it recognizes no classifiers or regressors of scikit-learn 1.6 and later by itself
    for visualizer in (ClassificationReport, ConfusionMatrix):
        drawn = visualizer(make.classifier(), force_model=True).fit(X[TRAIN], THREE_CLASSES[TRAIN])
        numbers.append(drawn.score(X[TEST], THREE_CLASSES[TEST]))
    for visualizer in (PredictionError, ResidualsPlot):
        drawn = visualizer(make.regressor(), force_model=True).fit(X[TRAIN], NUMBERS[TRAIN])
        numbers.append(drawn.score(X[TEST], NUMBERS[TEST]))
    return [
        *numbers,
        ROCAUC(make.classifier(), force_model=True).fit(X[TRAIN], Y[TRAIN]).score(X[TEST], Y[TEST]),
        CVScores(make.classifier(), cv=3).fit(X, Y).cv_scores_,
        LearningCurve(make.regressor(), cv=3, train_sizes=[0.5, 1.0]).fit(X, NUMBERS).test_scores_,
        ValidationCurve(make.regressor(), param_name="alpha", param_range=[0.1, 1.0], cv=3)
        .fit(X, NUMBERS)
        .test_scores_,
    ]
