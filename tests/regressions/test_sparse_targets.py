"""Sparse multilabel targets give what the dense ones give, at every entry point, and what scikit-learn gives.

See scikit-learn/scikit-learn#33760 and scikit-learn/scikit-learn#3395.
"""

import concurrent.futures

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpubp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(7)
X = rng.normal(size=(90, 4))
Y = np.c_[X[:, 0] > 0, X[:, 1] > 0, X[:, 0] + X[:, 2] > 0].astype(int)
CSR = scipy.sparse.csr_matrix(Y)
WEIGHTS = rng.uniform(0.5, 2.0, size=90)
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 3, "learning_rate_init": 0.03}
FORMATS = [
    getattr(scipy.sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")
    for kind in ("matrix", "array")
]


def classifier(**options):
    return gpubp.MLPClassifier(**SMALL | {"device": "cpu"} | options)


def in_format(make, dtype=int):
    """Y in a format of SciPy; some are made only from another sparse matrix."""
    return make(scipy.sparse.coo_matrix(Y.astype(dtype)))


def mean_test_scores(search, targets):
    return search.fit(X, targets).cv_results_["mean_test_score"]


def after_batches(targets, **options):
    model = classifier(**options)
    for rows in (slice(0, 40), slice(40, 90)):
        model.partial_fit(X[rows], targets[rows])
    return model.predict_proba(X)


def after_warm_start(targets):
    model = classifier(warm_start=True)
    for rows in (slice(0, 40), slice(40, 90)):
        model.fit(X[rows], targets[rows])
    return model.predict_proba(X)


def ensemble(**options):
    return gpubp.MLPEnsembleClassifier(classifier(), n_estimators=2, random_state=0, **options)


def with_executor(targets):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        grid = {"alpha": [1e-4, 1.0]}
        return mean_test_scores(
            gpubp.BatchedSearchCV(classifier(), grid, cv=3, progress=False, executor=executor), targets
        )


def with_optuna(targets):
    pytest.importorskip("optuna").logging.set_verbosity(30)
    return mean_test_scores(
        gpubp.BatchedOptunaSearchCV(
            classifier(),
            lambda trial: {"alpha": trial.suggest_float("alpha", 1e-4, 1.0)},
            n_trials=2,
            random_state=0,
            cv=3,
            progress=False,
        ),
        targets,
    )


def given(targets, name):
    """Training with held-out samples, of targets of the same form."""
    return getattr(classifier().fit(X[:60], targets[:60], validation_data=(X[60:], targets[60:])), name)


ENTRY_POINTS = {
    "fit": lambda y: classifier().fit(X, y).predict_proba(X),
    "lbfgs": lambda y: classifier(solver="lbfgs").fit(X, y).predict_proba(X),
    "score": lambda y: classifier().fit(X, y).score(X, y),
    "score, weighted": lambda y: classifier().fit(X, y).score(X, y, WEIGHTS),
    "score of a dense fit": lambda y: classifier().fit(X, Y).score(X, y),
    "sample_weight": lambda y: classifier().fit(X, y, WEIGHTS).predict_proba(X),
    "class_weight": lambda y: classifier(class_weight="balanced").fit(X, y).predict_proba(X),
    "class weights": lambda y: classifier(class_weight=[{0: 1, 1: k} for k in (2, 3, 4)]).fit(X, y).predict_proba(X),
    "label_smoothing": lambda y: classifier(label_smoothing=0.1).fit(X, y).predict_proba(X),
    "early_stopping": lambda y: classifier(early_stopping=True).fit(X, y).predict_proba(X),
    "early_stopping, scores": lambda y: classifier(early_stopping=True).fit(X, y).validation_scores_,
    "early_stopping, roc_auc": (
        lambda y: (
            classifier(early_stopping=True, validation_fraction=0.3, scoring="roc_auc").fit(X, y).validation_scores_
        )
    ),
    "early_stopping, f1": (lambda y: classifier(early_stopping=True, scoring="f1_micro").fit(X, y).validation_scores_),
    "validation_data": lambda y: given(y, "validation_scores_"),
    "validation_data, loss": lambda y: given(y, "validation_curve_"),
    "partial_fit": after_batches,
    "partial_fit, sgd": lambda y: after_batches(y, solver="sgd"),
    "warm_start": after_warm_start,
    "restarts": lambda y: classifier(n_restarts=3, early_stopping=True).fit(X, y).restart_scores_,
    "ensemble": lambda y: ensemble().fit(X, y).predict_proba(X),
    "ensemble, bootstrap": lambda y: ensemble(bootstrap=True).fit(X, y).score(X, y),
    "scikit-learn's search": lambda y: mean_test_scores(GridSearchCV(classifier(), {"alpha": [1e-4, 1.0]}, cv=3), y),
    "search": lambda y: mean_test_scores(
        gpubp.BatchedSearchCV(classifier(), {"alpha": [1e-4, 1.0]}, cv=3, progress=False), y
    ),
    "search, early_stopping": lambda y: mean_test_scores(
        gpubp.BatchedSearchCV(classifier(early_stopping=True), {"alpha": [1e-4, 1.0]}, cv=3, progress=False), y
    ),
    "search, fitted alone": lambda y: mean_test_scores(
        gpubp.BatchedSearchCV(classifier(solver="lbfgs"), {"alpha": [1e-4, 1.0]}, cv=3, progress=False), y
    ),
    "search, pipeline": lambda y: mean_test_scores(
        gpubp.BatchedSearchCV(
            make_pipeline(StandardScaler(), classifier()), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3, progress=False
        ),
        y,
    ),
    "halving": lambda y: mean_test_scores(
        gpubp.BatchedHalvingSearchCV(classifier(), {"alpha": [1e-4, 1.0]}, factor=2, cv=3, progress=False), y
    ),
    "executor": with_executor,
    "optuna": with_optuna,
    "sparse X": lambda y: classifier(early_stopping=True).fit(scipy.sparse.csr_matrix(X), y).predict_proba(X),
}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_what_the_dense_targets_give(name):
    result, expected = ENTRY_POINTS[name](CSR), ENTRY_POINTS[name](Y)
    assert np.all(np.isfinite(expected))
    np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize(("dtype", "early_stopping"), [(int, True), (float, False), (bool, True)])
def test_what_scikit_learn_gives_in_every_format(make, dtype, early_stopping):
    y = in_format(make, dtype)
    try:
        sklearn_model = sklearn.neural_network.MLPClassifier(**SMALL, early_stopping=early_stopping).fit(X, y)
    except TypeError:
        pytest.skip("this release of scikit-learn has no early stopping with sparse targets")
    gpubp_model = classifier(early_stopping=early_stopping).fit(X, y)
    np.testing.assert_allclose(gpubp_model.predict_proba(X), sklearn_model.predict_proba(X), rtol=1e-7)
    expected, predicted = sklearn_model.predict(X), gpubp_model.predict(X)
    assert type(predicted) is type(expected)
    assert predicted.dtype == expected.dtype
    assert (predicted != expected).nnz == 0
    assert gpubp_model.score(X, y) == pytest.approx(sklearn_model.score(X, y), rel=1e-12)
    if early_stopping:
        np.testing.assert_allclose(gpubp_model.validation_scores_, sklearn_model.validation_scores_, rtol=1e-12)


def test_predictions_are_sparse_if_the_targets_were():
    for model in (classifier(), ensemble()):
        predicted = model.fit(X, CSR).predict(X)
        assert predicted.format == "csr"
        np.testing.assert_array_equal(predicted.toarray(), model.fit(X, Y).predict(X))


def test_the_targets_of_the_caller_do_not_change():
    rows, columns = np.nonzero(Y)
    y = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=Y.shape)
    y.data[0] = 0.0  # an explicit zero is no mark
    before = y.copy()
    model = classifier().fit(X, y)
    assert y.nnz == before.nnz
    np.testing.assert_array_equal(y.toarray(), before.toarray())
    np.testing.assert_array_equal(model.predict_proba(X), classifier().fit(X, y.toarray()).predict_proba(X))


REFUSED = {
    "2 for 1": (2 * CSR, "has the value 2"),
    "negative": (-CSR, "has the value -1"),
    "several": (CSR.multiply([1, 2, 3]), "has the value 2"),
    "not whole": (CSR * 0.5, "has the value 0.5"),
    "NaN": (CSR * np.nan, "has the value nan"),
    "the same place twice": (scipy.sparse.coo_matrix((np.ones(2), ([0, 0], [1, 1])), shape=Y.shape), "has the value 2"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("use", ["fit", "partial_fit", "score", "validation_data", "ensemble"])
def test_other_values_are_refused(name, use):
    """scikit-learn takes 2 and -1 for targets of a cross entropy."""
    y, message = REFUSED[name]
    calls = {
        "fit": lambda: classifier().fit(X, y),
        "partial_fit": lambda: classifier().partial_fit(X, y),
        "score": lambda: classifier().fit(X, CSR).score(X, y),
        "validation_data": lambda: classifier().fit(X, CSR, validation_data=(X, y)),
        "ensemble": lambda: ensemble().fit(X, y),
    }
    with pytest.raises(ValueError, match=f"marks the labels of each sample with ones, but it {message}"):
        calls[use]()


def regressor():
    return gpubp.MLPRegressor(**SMALL, device="cpu")


@pytest.mark.parametrize("y", [CSR, CSR[:, :1], scipy.sparse.coo_array(Y[:, 0])], ids=["matrix", "column", "vector"])
def test_a_regressor_needs_dense_numbers(y):
    message = r"Sparse data was passed for y, of shape \(90,.*Use y.toarray\(\)"
    numbers = np.squeeze(y.toarray())
    for model in (regressor(), gpubp.MLPEnsembleRegressor(regressor(), n_estimators=2)):
        with pytest.raises(TypeError, match=message):
            model.fit(X, y)
        with pytest.raises(TypeError, match=message):
            model.fit(X, numbers).score(X, y)
    with pytest.raises(TypeError, match=message):
        regressor().partial_fit(X, y)
    with pytest.raises(ValueError, match=f"validation_data: {message}"):
        regressor().fit(X, numbers, validation_data=(X, y))
    search = gpubp.BatchedSearchCV(regressor(), {"alpha": [1.0]}, cv=3, progress=False)
    with pytest.raises((TypeError, ValueError), match=message):
        search.fit(X, y)


@pytest.mark.parametrize("y", [CSR[:, :1], scipy.sparse.coo_array(Y[:, 0])], ids=["column", "vector"])
def test_classes_of_a_classifier_are_dense(y):
    """As in scikit-learn: a single column does not mark labels."""
    for fit in (classifier().fit, classifier().partial_fit, ensemble().fit):
        with pytest.raises(TypeError, match="Sparse data was passed for y"):
            fit(X, y)


def test_targets_of_another_form_than_in_fit():
    model = classifier().fit(X, CSR)
    labels = Y.sum(axis=1).clip(max=2)  # 0, 1 and 2, the numbers of the three labels
    with pytest.raises(ValueError, match="must mark the 3 labels of each sample with zeros and ones, as in fit"):
        model.partial_fit(X, labels)
    with pytest.raises(ValueError, match="must mark the 3 labels"):
        model.set_params(warm_start=True).fit(X, labels)
    with pytest.raises(ValueError, match="validation_data: y must mark the 3 labels"):
        classifier().fit(X, CSR, validation_data=(X, labels))
    with pytest.raises(ValueError, match="multilabel"):
        classifier().fit(X, labels).partial_fit(X, CSR)
