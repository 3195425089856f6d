"""Options of the estimators beyond scikit-learn's: each test fails if its option has no effect."""

import pickle
import re
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score, f1_score

from gpubp import FlatCosine, MLPClassifier, MLPRegressor, Network
from gpubp.errors import DataError
from gpubp.estimators._samples import BatchesInOrder
from gpubp.nn.losses import output_loss
from gpubp.nn.network import flatten
from gpubp.nn.passes import forward

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_digits(return_X_y=True)
X, LABELS = X[:300] / 16.0, LABELS[:300]
X_HELD_OUT, LABELS_HELD_OUT = load_digits(return_X_y=True)[0][300:400] / 16.0, load_digits(return_X_y=True)[1][300:400]
X_R, TARGETS = make_regression(120, 5, random_state=0)
TARGETS = TARGETS / np.std(TARGETS)

STOCHASTIC = ["sgd", "momentum", "adam", "adamw", "rmsprop", "lion"]


def classifier(**parameters):
    settings = {"hidden_layer_sizes": (12,), "max_iter": 5, "random_state": 0, "device": "cpu", **parameters}
    return MLPClassifier(**settings)


def regressor(**parameters):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "device": "cpu", **parameters}
    return MLPRegressor(**settings)


def test_all_parameters_of_a_wrong_type_are_named_at_once():
    with pytest.raises(ValueError, match="'max_iter'") as raised:
        classifier(max_iter="3", alpha="x", solver="adm", activation="rel").fit(X, LABELS)
    words = ("'alpha'", "did you mean 'adam' or 'adamw'?", "did you mean 'relu'?", "parametric(NAME)")
    assert [word for word in words if word not in str(raised.value)] == []


def test_parameters_that_do_not_exist_are_named_with_the_nearest():
    with pytest.raises(TypeError, match=r"no parameter 'max_itr' \(did you mean 'max_iter'\?\); .* 'foo'$"):
        MLPClassifier(max_itr=3, foo=4)


def test_parameters_of_estimators_of_tables_are_named_with_those_here():
    with pytest.raises(TypeError) as raised:
        MLPClassifier(epochs=3, l2=0.1, patience=5, optimizer="adam", tolerance=0.1, seed=1)
    assert re.findall(r"'(\w+)' \(did you mean '(\w+)'\?\)", str(raised.value)) == [
        ("epochs", "max_iter"),
        ("l2", "alpha"),
        ("patience", "n_iter_no_change"),
        ("optimizer", "solver"),
        ("tolerance", "tol"),
        ("seed", "random_state"),
    ]


@pytest.mark.parametrize("sizes", [(20,), [20, 10], 20])
def test_hidden_layers_where_the_loss_comes_first(sizes):
    with pytest.raises(ValueError, match=r"'loss' .* instead; to set the hidden layers: ") as raised:
        MLPRegressor(sizes).fit(X_R, TARGETS)
    assert str(raised.value).endswith(f"hidden_layer_sizes={sizes}")
    with pytest.raises(ValueError, match=r"Got \(0\.5,\) instead\.$"):
        MLPRegressor((0.5,)).fit(X_R, TARGETS)


@pytest.mark.parametrize(("parameter", "value"), [("activation", "reluu"), ("loss", "squard_error")])
def test_known_names_are_listed_once(parameter, value):
    with pytest.raises(ValueError, match="did you mean") as raised:
        regressor(**{parameter: value}).fit(X_R, TARGETS)
    listed = {"activation": "softplus", "loss": "log_cosh"}[parameter]
    assert str(raised.value).count(listed) == 1


def test_a_subclass_may_take_any_keywords():
    class Own(MLPClassifier):
        def __init__(self, **others):
            self.others = others
            super().__init__()

    assert Own(colour="red").others == {"colour": "red"}


def differ(one, other):
    return not np.allclose(one.coefs_[0], other.coefs_[0], rtol=1e-6)


@pytest.fixture(scope="module")
def plain():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier().fit(X, LABELS)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_warnings_name_the_line_of_the_user(method):
    model = classifier(max_iter=1, batch_size=500)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, LABELS) if method == "fit" else model.partial_fit(X, LABELS, classes=np.unique(LABELS))
    assert [warning.filename for warning in caught] == [__file__] * (2 if method == "fit" else 1)


class TestEachOptionChangesTheFit:
    @pytest.mark.parametrize(
        "option",
        [
            {"dropout": 0.3},
            {"dropout": [0.2, 0.0]},
            {"activation": "gelu"},
            {"activation": "leaky_relu(0.3)"},
            {"solver": "adamw"},
            {"solver": "rmsprop"},
            {"solver": "momentum"},
            {"solver": "lion"},
            {"activation": "mish"},
            {"learning_rate": "cosine"},
            {"learning_rate": "flat_cosine"},
            {"learning_rate": "coslog4"},
            {"learning_rate": lambda epoch: 0.01 / (1.0 + epoch)},
            {"warm_up": 3},
            {"max_grad_norm": 1e-12},
            {"label_smoothing": 0.2},
            {"loss": "squared_error"},
            {"class_weight": {0: 20.0}},
        ],
        ids=lambda option: ",".join(option),
    )
    def test_of_the_classifier(self, plain, option):
        assert differ(classifier(**option).fit(X, LABELS), plain)

    @pytest.mark.parametrize(
        ("solver", "option"),
        [
            ("adamw", {"weight_decay": 0.5}),
            ("rmsprop", {"rho": 0.5}),
            ("lion", {"beta_1": 0.2}),
            ("lion", {"beta_2": 0.2}),
            ("lion", {"weight_decay": 0.5}),
            ("momentum", {"momentum": 0.1}),
            ("momentum", {"learning_rate": "invscaling"}),
            ("sgd", {"nesterovs_momentum": False}),
        ],
    )
    def test_of_a_solver(self, solver, option):
        assert differ(classifier(solver=solver, **option).fit(X, LABELS), classifier(solver=solver).fit(X, LABELS))

    @pytest.mark.parametrize("loss", ["absolute_error", "huber", "huber(0.2)", "log_cosh", "quantile(0.9)"])
    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_of_the_loss_of_the_regressor(self, loss, solver):
        other = regressor(loss=loss, solver=solver).fit(X_R, TARGETS)
        assert differ(other, regressor(solver=solver).fit(X_R, TARGETS))

    def test_units_of_each_layer(self):
        mixed = classifier(hidden_layer_sizes=(6, 4), activation=["tanh", "silu"], random_state=1).fit(X, LABELS)
        network = Network((64, 6, 4, 10), activation=("tanh", "silu"), loss="cross_entropy")
        theta = flatten(np, [np.vstack(pair) for pair in zip(mixed.coefs_, mixed.intercepts_, strict=True)])
        np.testing.assert_allclose(mixed.predict_proba(X), forward(np, network, theta, X)[-1].y, rtol=1e-10)

    def test_too_few_units_named(self):
        with pytest.raises(DataError, match="one name for all hidden layers, or 2 names"):
            classifier(hidden_layer_sizes=(6, 4), activation=["tanh"]).fit(X, LABELS)


class TestOptimizers:
    def test_a_clipped_gradient_moves_the_weights_by_its_length(self):
        # one step of plain gradient descent with a gradient of length 0.5
        common = {"solver": "momentum", "momentum": 0.0, "learning_rate_init": 0.1, "batch_size": 300, "alpha": 0.0}
        start = classifier(max_iter=1, **{**common, "learning_rate_init": 1e-12}).fit(X, LABELS)
        moved = classifier(max_iter=1, max_grad_norm=0.5, **common).fit(X, LABELS)
        after = [*moved.coefs_, *moved.intercepts_]
        change = [a - b for a, b in zip(after, [*start.coefs_, *start.intercepts_], strict=True)]
        np.testing.assert_allclose(np.sqrt(sum(np.sum(c**2) for c in change)), 0.1 * 0.5, rtol=1e-6)

    def test_weight_decay_shrinks_the_weights(self):
        sums = [
            np.sum(classifier(solver="adamw", weight_decay=decay, max_iter=20).fit(X, LABELS).coefs_[0] ** 2)
            for decay in (0.0, 10.0)
        ]
        assert sums[1] < 0.9 * sums[0]

    def test_cosine_ends_at_0(self):
        """The last step of a cosine schedule has length 0."""
        rate = {"solver": "momentum", "momentum": 0.0, "batch_size": 300, "learning_rate_init": 0.1}
        ends = [classifier(learning_rate="cosine", max_iter=n, **rate) for n in (1, 40)]
        short, long = (model.fit(X, LABELS) for model in ends)
        drops = -np.diff(long.loss_curve_)
        assert drops[-1] < 0.1 * drops[10]
        assert short.loss_curve_[0] == long.loss_curve_[0]

    def test_a_user_defined_schedule_gets_the_epochs_done(self):
        epochs = []

        def schedule(epoch):
            epochs.append(epoch)
            return 0.001

        same = classifier(learning_rate=schedule, batch_size=150, max_iter=2).fit(X, LABELS)
        assert epochs == [0.0, *(0.0, 0.5, 1.0, 1.5)]  # first to check what it returns
        assert not differ(same, classifier(batch_size=150, max_iter=2).fit(X, LABELS))

    def test_warm_up_begins_slowly(self):
        slow = classifier(warm_up=50, max_iter=2).fit(X, LABELS)
        start = classifier(learning_rate_init=1e-12, max_iter=1).fit(X, LABELS)
        full = classifier(max_iter=2).fit(X, LABELS)
        moved = [np.abs(model.coefs_[0] - start.coefs_[0]).max() for model in (slow, full)]
        assert moved[0] < 0.2 * moved[1]


class TestLosses:
    def test_the_loss_reported_is_the_loss_requested(self):
        """With one epoch of one batch, the reported loss is that of the first weights."""
        names = {"absolute_error": "absolute"} | {loss: loss for loss in ("huber(0.2)", "log_cosh", "quantile(0.9)")}
        for loss, error in names.items():
            model = regressor(loss=loss, max_iter=1, learning_rate_init=1e-12, alpha=0.0).fit(X_R, TARGETS)
            outputs = model.predict(X_R)[:, None]
            E, _ = output_loss(np, error, "identity", outputs, outputs, TARGETS[:, None])
            np.testing.assert_allclose(model.loss_, float(E) / len(TARGETS), rtol=1e-6)

    @pytest.mark.parametrize("q", [0.1, 0.9])
    def test_a_quantile_has_that_part_of_the_targets_below_it(self, q):
        generator = np.random.default_rng(0)
        x = generator.uniform(size=(400, 1))
        y = x[:, 0] + x[:, 0] * generator.exponential(size=400)
        settings = {"learning_rate": "cosine", "learning_rate_init": 0.02, "max_iter": 200, "n_iter_no_change": np.inf}
        model = regressor(loss=f"quantile({q})", **settings)
        assert abs(np.mean(y < model.fit(x, y).predict(x)) - q) < 0.02

    def test_an_absolute_loss_is_robust_to_outliers(self):
        spoilt = TARGETS.copy()
        spoilt[:5] = 1e3
        fits = [
            regressor(loss=loss, solver="lbfgs", max_iter=300).fit(X_R, spoilt)
            for loss in ("squared_error", "absolute_error")
        ]
        off = [np.median(np.abs(model.predict(X_R)[5:] - TARGETS[5:])) for model in fits]
        assert off[1] < off[0]

    def test_label_smoothing_keeps_outputs_away_from_0_and_1(self):
        settings = {"hidden_layer_sizes": (60,), "solver": "lbfgs", "max_iter": 500, "alpha": 0.0, "tol": 1e-6}
        fits = [classifier(label_smoothing=s, **settings).fit(X, LABELS) for s in (0.0, 0.2)]
        # the best outputs are 1 - s + s / 10
        largest = [model.predict_proba(X).max(axis=1).mean() for model in fits]
        assert largest[0] > 0.99
        np.testing.assert_allclose(largest[1], 0.82, atol=1e-3)

    def test_squared_error_on_probabilities(self):
        model = classifier(loss="squared_error", max_iter=100, learning_rate_init=0.01).fit(X, LABELS)
        assert model.out_activation_ == "softmax"
        assert model.score(X, LABELS) > 0.9


class TestDropout:
    @pytest.fixture
    def dropouts(self, monkeypatch):
        """Record the dropout of each epoch; no two epochs are run in one call."""
        monkeypatch.setattr("gpubp.training.batched_epochs.SECONDS_PER_CALL", 0.0)
        recorded, call = [], BatchesInOrder.__call__

        def batches(self, dropout=None):
            recorded.append(dropout)
            return call(self, dropout)

        monkeypatch.setattr(BatchesInOrder, "__call__", batches)
        return recorded

    def test_predictions_are_not_random(self):
        model = classifier(dropout=0.5).fit(X, LABELS)
        np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))

    def test_same_seed_same_masks(self):
        one, other = (classifier(dropout=0.5).fit(X, LABELS) for _ in range(2))
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])

    @pytest.mark.parametrize("schedule", [FlatCosine(0.6, 4), lambda epoch: 0.6 / (1 + epoch)], ids=["fixed", "own"])
    def test_a_rate_may_be_a_schedule(self, schedule, dropouts):
        model = clone(classifier(dropout=schedule, max_iter=4, callbacks=lambda progress: None)).fit(X, LABELS)
        assert [dropout.rate(1) for dropout in dropouts] == [schedule(epoch) for epoch in range(4)]
        assert not np.array_equal(model.coefs_[0], classifier(dropout=0.6, max_iter=4).fit(X, LABELS).coefs_[0])

    @pytest.mark.parametrize("shuffle", [False, True])
    def test_calls_of_partial_fit_have_the_masks_of_one_fit(self, shuffle, dropouts):
        options = {"dropout": 0.5, "batch_size": 16, "random_state": 0, "shuffle": shuffle}
        whole = classifier(max_iter=4, **options).fit(X, LABELS)
        in_one_fit = list(dropouts)
        dropouts.clear()
        part = classifier(**options)
        for _ in range(4):
            part.partial_fit(X, LABELS, classes=np.unique(LABELS))
        assert in_one_fit == dropouts
        assert [dropout.epoch for dropout in dropouts] == [0, 1, 2, 3]
        if not shuffle:
            np.testing.assert_array_equal(part.coefs_[0], whole.coefs_[0])

    def test_a_pickled_model_continues_with_its_key(self, dropouts):
        model = classifier(dropout=0.5, random_state=0).partial_fit(X, LABELS, classes=np.unique(LABELS))
        pickle.loads(pickle.dumps(model)).partial_fit(X, LABELS)
        assert [(dropout.key, dropout.epoch) for dropout in dropouts] == [(dropouts[0].key, 0), (dropouts[0].key, 1)]

    def test_another_fit_has_another_key(self, dropouts):
        model = classifier(dropout=0.5, max_iter=2, warm_start=True, random_state=np.random.RandomState(0))
        model.fit(X, LABELS).fit(X, LABELS)
        assert [dropout.epoch for dropout in dropouts] == [0, 1, 0, 1]
        assert dropouts[0].key == dropouts[1].key != dropouts[2].key == dropouts[3].key

    def test_a_fit_without_dropout_draws_no_key(self):
        states = [np.random.RandomState(0) for _ in range(3)]
        for state, dropout in zip(states, (0.0, 0.0, 0.5), strict=True):
            classifier(dropout=dropout, max_iter=2, shuffle=False, random_state=state).fit(X, LABELS)
        drawn = [state.get_state()[1:3] for state in states]
        assert drawn[0][1] == drawn[1][1] == drawn[2][1] - 2

    def test_lbfgs_refuses(self):
        with pytest.raises(ValueError, match="lbfgs"):
            classifier(dropout=0.5, solver="lbfgs").fit(X, LABELS)

    def test_rates_that_do_not_fit_the_layers(self):
        with pytest.raises(DataError, match="dropout must be"):
            classifier(dropout=[0.1, 0.2, 0.3]).fit(X, LABELS)


class TestClassWeight:
    @pytest.mark.parametrize("solver", [*STOCHASTIC, "lbfgs"])
    def test_is_a_weight_of_each_sample(self, solver):
        weights = np.where(LABELS == 3, 4.0, 1.0)
        by_class = classifier(solver=solver, class_weight={3: 4.0}).fit(X, LABELS)
        by_sample = classifier(solver=solver).fit(X, LABELS, sample_weight=weights)
        np.testing.assert_allclose(by_class.coefs_[0], by_sample.coefs_[0], rtol=1e-12)

    def test_balanced_respects_sample_weights(self):
        """A sample of weight 0 equals no sample, and one of weight 2 equals two samples."""
        weights = np.asarray([0.0, 1.0, 2.0])[np.arange(300) % 3]
        rows = np.repeat(np.arange(300), weights.astype(int))
        options = {"class_weight": "balanced", "batch_size": 300, "shuffle": False, "hidden_layer_sizes": (5,)}
        weighted = classifier(**options).fit(X, LABELS, sample_weight=weights)
        repeated = classifier(**options).fit(X[rows], LABELS[rows])
        assert len(rows) == 300
        np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6, atol=1e-12)
        assert differ(weighted, classifier(**options | {"class_weight": None}).fit(X, LABELS, sample_weight=weights))

    def test_balanced_marks_count_the_same_in_each_column(self):
        marks = np.stack([LABELS == 0, LABELS < 5], axis=1).astype(int)
        by_hand = np.prod([(300 / (2 * np.bincount(column)))[column] for column in marks.T], axis=0)
        balanced = classifier(class_weight="balanced").fit(X, marks)
        assert balanced.loss_curve_ == pytest.approx(classifier().fit(X, marks, sample_weight=by_hand).loss_curve_)
        sparse = classifier(class_weight="balanced").fit(X, csr_matrix(marks))
        assert sparse.loss_curve_ == balanced.loss_curve_

    def test_balanced_helps_a_rare_class(self):
        rows = np.flatnonzero((LABELS == 8) | (LABELS == 1))
        rows = np.concatenate([rows[LABELS[rows] == 8], rows[LABELS[rows] == 1][:3]])
        rare = LABELS[rows] == 1
        fits = [
            classifier(class_weight=w, max_iter=12, learning_rate_init=0.003).fit(X[rows], rare)
            for w in (None, "balanced")
        ]
        scores = [balanced_accuracy_score(rare, model.predict(X[rows])) for model in fits]
        assert scores[1] > scores[0]


class TestValidationData:
    @pytest.mark.parametrize("solver", [*STOCHASTIC, "lbfgs"])
    def test_does_not_change_training_and_is_scored_each_epoch(self, solver):
        plain = classifier(solver=solver).fit(X, LABELS)
        monitored = classifier(solver=solver).fit(X, LABELS, validation_data=(X_HELD_OUT, LABELS_HELD_OUT))
        assert not differ(plain, monitored)
        assert len(monitored.validation_curve_) == len(monitored.validation_scores_) == len(monitored.loss_curve_)
        assert monitored.validation_scores_[-1] == monitored.score(X_HELD_OUT, LABELS_HELD_OUT)
        of_class = monitored.predict_proba(X_HELD_OUT)[np.arange(100), LABELS_HELD_OUT]
        np.testing.assert_allclose(monitored.validation_curve_[-1], -np.log(of_class).mean(), rtol=1e-6)
        assert plain.validation_curve_ is None

    def test_weights(self):
        weights = np.arange(100.0)
        model = classifier().fit(X, LABELS, validation_data=(X_HELD_OUT, LABELS_HELD_OUT, weights))
        assert model.validation_scores_[-1] == model.score(X_HELD_OUT, LABELS_HELD_OUT, weights)
        of_class = model.predict_proba(X_HELD_OUT)[np.arange(100), LABELS_HELD_OUT]
        np.testing.assert_allclose(
            model.validation_curve_[-1], np.average(-np.log(of_class), weights=weights), rtol=1e-6
        )

    def test_early_stopping_uses_it_and_trains_on_all_samples(self):
        model = classifier(early_stopping=True, max_iter=60, n_iter_no_change=3, tol=0.05)
        model.fit(X, LABELS, validation_data=(X_HELD_OUT, LABELS_HELD_OUT))
        assert model.stop_reason_ == "patience"
        assert model.t_ == model.n_iter_ * len(X)
        assert model.score(X_HELD_OUT, LABELS_HELD_OUT) == model.best_validation_score_

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ((X_HELD_OUT,), "validation_data must be"),
            ("held out", "validation_data must be"),
            ((X_HELD_OUT[:, :3], LABELS_HELD_OUT), "validation_data: X has 3 features"),
            ((X_HELD_OUT, LABELS_HELD_OUT[:5]), "validation_data: Found input variables with inconsistent"),
            ((X_HELD_OUT, LABELS_HELD_OUT + 5), "validation_data: `y` has classes not in"),
        ],
    )
    def test_mismatched_shapes(self, data, message):
        with pytest.raises(DataError, match=message):
            classifier().fit(X, LABELS, validation_data=data)


class TestScoring:
    def test_early_stopping_on_the_loss(self):
        model = classifier(scoring="loss", early_stopping=True, max_iter=15).fit(X, LABELS)
        np.testing.assert_allclose(model.validation_scores_, -np.asarray(model.validation_curve_))

    @pytest.mark.parametrize(
        "scoring", ["f1_macro", lambda model, X, y: f1_score(y, model.predict(X), average="macro", zero_division=0)]
    )
    def test_any_scorer(self, scoring):
        held_out = (X_HELD_OUT, LABELS_HELD_OUT)
        model = classifier(scoring=scoring, max_iter=8).fit(X, LABELS, validation_data=held_out)
        expected = f1_score(LABELS_HELD_OUT, model.predict(X_HELD_OUT), average="macro", zero_division=0)
        np.testing.assert_allclose(model.validation_scores_[-1], expected)
        assert expected != model.score(*held_out)

    def test_of_a_regressor(self):
        held_out = (X_R[:30], TARGETS[:30])
        model = regressor(scoring="neg_mean_absolute_error").fit(X_R, TARGETS, validation_data=held_out)
        np.testing.assert_allclose(
            model.validation_scores_[-1], -np.mean(np.abs(model.predict(X_R[:30]) - TARGETS[:30]))
        )


class TestStopping:
    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_max_time(self, solver):
        model = classifier(solver=solver, max_time=1e-9, max_iter=50)
        with pytest.warns(ConvergenceWarning, match=r"Maximum time \(1e-09 s\) reached after 1 iterations"):
            model.fit(X, LABELS)
        assert (model.n_iter_, model.stop_reason_) == (1, "time")
        assert model.fit_seconds_ > 0.0

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_a_callback_gets_each_epoch_and_can_stop(self, solver):
        records = []

        def stop_after_three(progress):
            records.append((progress.epoch, progress.loss, progress.validation_score))
            return len(records) == 3

        model = classifier(solver=solver, callbacks=stop_after_three, max_iter=50, alpha=0.0)
        model.fit(X, LABELS, validation_data=(X_HELD_OUT, LABELS_HELD_OUT))
        assert (model.n_iter_, model.stop_reason_) == (3, "callback")
        assert [epoch for epoch, _, _ in records] == [1, 2, 3]
        assert [error for _, error, _ in records] == model.loss_curve_
        assert [score for _, _, score in records] == model.validation_scores_

    def test_several_callbacks(self):
        calls = []
        several = [lambda p: calls.append("first"), lambda p: calls.append("second")]
        classifier(callbacks=several, max_iter=1).fit(X, LABELS)
        assert calls == ["first", "second"]

    def test_reasons(self, plain):
        assert plain.stop_reason_ == "epochs"
        assert classifier(tol=10.0, n_iter_no_change=1).fit(X, LABELS).stop_reason_ == "patience"
        assert classifier(solver="lbfgs", tol=1.0).fit(X, LABELS).stop_reason_ == "converged"


class TestSeveralColumnsOfLabels:
    COLUMNS = np.stack([LABELS, LABELS % 3], axis=1)

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_learns_every_column(self, solver):
        model = classifier(solver=solver, max_iter=100, learning_rate_init=0.01).fit(X, self.COLUMNS)
        assert [list(of_column) for of_column in model.classes_] == [list(range(10)), [0, 1, 2]]
        predicted = model.predict(X)
        assert predicted.shape == (300, 2)
        assert np.mean(predicted == self.COLUMNS, axis=0).min() > 0.95
        assert model.score(X, self.COLUMNS) == np.mean(np.all(predicted == self.COLUMNS, axis=1))
        probabilities = model.predict_proba(X)
        assert [p.shape for p in probabilities] == [(300, 10), (300, 3)]
        for p, log_p in zip(probabilities, model.predict_log_proba(X), strict=True):
            np.testing.assert_allclose(p.sum(axis=1), 1.0)
            np.testing.assert_allclose(np.exp(log_p), p)

    def test_a_column_with_one_class(self):
        model = classifier().fit(X, np.stack([LABELS, np.zeros_like(LABELS)], axis=1))
        np.testing.assert_array_equal(model.predict_proba(X)[1], 1.0)

    def test_text(self):
        names = np.stack([np.where(LABELS > 4, "big", "small"), LABELS.astype(str)], axis=1)
        predicted = classifier(max_iter=80, learning_rate_init=0.01).fit(X, names).predict(X)
        assert set(predicted[:, 0]) == {"big", "small"}
        assert np.mean(predicted == names) > 0.9

    def test_partial_fit(self):
        model = classifier(learning_rate_init=0.01)
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            model.partial_fit(X, self.COLUMNS)
        for _ in range(60):
            model.partial_fit(X[:200], self.COLUMNS[:200], classes=[np.arange(10), np.arange(3)])
        assert np.mean(model.predict(X) == self.COLUMNS) > 0.8

    def test_class_weight_of_each_column(self):
        weighted = classifier(class_weight=[{0: 9.0}, {1: 5.0}]).fit(X, self.COLUMNS)
        assert differ(weighted, classifier().fit(X, self.COLUMNS))

    def test_validation_and_smoothing(self):
        held_out = (X_HELD_OUT, np.stack([LABELS_HELD_OUT, LABELS_HELD_OUT % 3], axis=1))
        model = classifier(label_smoothing=0.1).fit(X, self.COLUMNS, validation_data=held_out)
        assert model.validation_scores_[-1] == model.score(*held_out)


def test_float32_from_float64_data(plain):
    model = classifier(dtype="float32").fit(X, LABELS)
    assert {w.dtype.name for w in [*model.coefs_, *model.intercepts_]} == {"float32"}
    assert model.predict_proba(X).dtype == "float32"
    assert plain.coefs_[0].dtype == "float64"


def test_partial_fit_continues_the_schedule():
    epochs = []
    model = classifier(learning_rate=lambda epoch: epochs.append(epoch) or 0.001)
    for _ in range(3):
        model.partial_fit(X, LABELS, classes=np.arange(10))
    assert epochs[0] == 0.0  # to check what it returns
    assert [round(epoch) for epoch in epochs[1::2]] == [0, 1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        {"dropout": 1.0},
        {"solver": "adamax"},
        {"loss": "hinge"},
        {"label_smoothing": 1.0},
        {"warm_up": -1},
        {"max_grad_norm": 0.0},
        {"max_time": 0.0},
        {"callbacks": 3},
        {"weight_decay": -1.0},
        {"rho": 1.0},
        {"scoring": 3},
        {"activation": "geluu"},
    ],
    ids=str,
)
def test_a_bad_option_is_refused_before_training(bad):
    with pytest.raises(ValueError, match=f"The '{next(iter(bad))}' parameter of MLPClassifier must be"):
        classifier(**bad).fit(X, LABELS)
