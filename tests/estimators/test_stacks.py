"""Stacks whose networks have their own samples and order: each network equals one trained alone."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor, Network, adam, initial_weights, momentum, train
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, PerNetworkBatches, divide_epoch
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.errors import DataError
from gpubp.estimators import _stacked_fit
from gpubp.estimators._monitor import FitMonitor
from gpubp.estimators._stackable import reason_to_fit_alone
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.optim.schedules import SCHEDULES
from gpubp.optim.wrappers import clipped, decayed
from gpubp.testing import assert_agree
from gpubp.training import stacks
from gpubp.training.stack_settings import PerNetworkSchedule, optimizer_of_stack, scalar_or_column
from gpubp.training.stacks import StackOfFits, fit_together
from tests.interrupts import interrupt_epoch

NETWORK = Network((3, 5, 2), activation="tanh", loss="huber")
N, COUNTS, SIZE = 24, (17, 18, 17, 20), 6  # three steps for the first three, four for the last
X = np.random.default_rng(0).normal(size=(N, 3))
D = np.random.default_rng(1).normal(size=(N, 2))
WEIGHTS = np.random.default_rng(2).uniform(0.0, 2.0, (3, N))


def epochs_of(backend, dtype, ways, optimizer, l2, batches, thetas, epochs=3):
    """Train a stack for some epochs; return the parameters and the last epoch's values."""
    position = ModelState(to_backend(backend, thetas, dtype), None)
    position.state = optimizer.init(backend.xp, position.theta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUBP_COMPILED", ways)
        run_epoch = make_epoch_runner(backend, Objective(NETWORK, l2=l2), optimizer, dtype)
    for epoch in range(epochs):
        result = run_epoch(position, batches(epoch))
        position.epoch += 1
    return position, result


def own_batches(backend, dtype, n_networks, weighed):
    """Return batches in a new order in each epoch, of the stack and of one of its networks."""
    x, targets = to_backend(backend, X, dtype), to_backend(backend, D, dtype)
    rows = [np.random.default_rng(k).permutation(N)[: COUNTS[k]] for k in range(n_networks)]
    weights_of = np.asarray([0, 2, 1, 0])[:n_networks]

    def order(epoch, k):
        return rows[k][np.random.default_rng((epoch, k)).permutation(COUNTS[k])]

    def batches_of_stack(epoch):
        orders = [order(epoch, k) for k in range(n_networks)]
        counts = np.asarray([len(one) for one in orders])
        weights = to_backend(backend, WEIGHTS, dtype) if weighed else None
        given = Batch(x, targets, weights)
        starts = np.cumsum([0, *counts[:-1]])
        return PerNetworkBatches(
            backend, given, SIZE, np.concatenate(orders), starts, counts, weights_of if weighed else None
        )

    def batches_of_network(k):
        weights = to_backend(backend, WEIGHTS[weights_of[k]], dtype) if weighed else None

        def batches(epoch):
            of_network = order(epoch, k)
            chosen = Batch(
                *(
                    None if part is None else to_backend(backend, to_numpy(part)[of_network])
                    for part in (x, targets, weights)
                )
            )
            return ArrayBatches(backend, chosen, SIZE)

        return batches

    return batches_of_stack, batches_of_network


@pytest.mark.parametrize("ways", ["never", "always"])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "clipped", "decayed"])
def test_each_network_equals_one_trained_alone(optimizer, n_networks, weighed, ways):
    backend, dtype = choose_backend("cpu"), "float64"
    rates = np.asarray([[0.02], [0.005], [0.01]])[:n_networks]
    l2 = np.asarray([[0.1], [0.0], [2.0]])[:n_networks]

    def optimizer_with(rate):
        made = {"clipped": lambda: clipped(momentum(rate), 0.3), "decayed": lambda: decayed(momentum(rate), 0.01)}
        return made[optimizer]() if optimizer in made else OPTIMIZERS[optimizer](rate)

    thetas = initial_weights(NETWORK, range(n_networks), dtype=dtype)
    batches_of_stack, batches_of_network = own_batches(backend, dtype, n_networks, weighed)
    position, result = epochs_of(backend, dtype, ways, optimizer_with(rates), l2, batches_of_stack, thetas)
    for k in range(n_networks):
        own, report = epochs_of(
            backend,
            dtype,
            "never",
            optimizer_with(float(rates[k, 0])),
            float(l2[k, 0]),
            batches_of_network(k),
            thetas[k],
        )
        assert_agree(position.theta[k], own.theta, "steps")
        np.testing.assert_allclose(result.values[:, k], report.values, rtol=1e-10)
        weights = np.broadcast_to(np.asarray(result.weights).reshape(len(result.values), -1), result.values.shape)
        np.testing.assert_allclose(weights[:, k], report.weights, rtol=1e-12)
        sizes = np.broadcast_to(result.sizes.reshape(len(result.values), -1), result.values.shape)
        np.testing.assert_array_equal(sizes[:, k], report.sizes)
    assert np.all(result.finite)


# jax is left out: it compiles for half a minute
PLACES = [
    pytest.param(device, marks=pytest.mark.on(device))
    for device in ("array_api_strict:device1", "array_api_strict:no_float64", "torch:cpu", "cuda")
]


@pytest.mark.parametrize("device", PLACES)
def test_each_network_equals_one_trained_alone_on_a_device(device, precision):
    backend = choose_backend(device)
    optimizer, thetas = adam(0.01), initial_weights(NETWORK, range(3), dtype=precision)
    batches_of_stack, batches_of_network = own_batches(backend, precision, 3, weighed=True)
    position, _ = epochs_of(backend, precision, "never", optimizer, 0.1, batches_of_stack, thetas)
    for k in range(3):
        own, _ = epochs_of(backend, precision, "never", optimizer, 0.1, batches_of_network(k), thetas[k])
        assert_agree(to_numpy(position.theta)[k], to_numpy(own.theta), "steps")


def test_networks_may_share_an_order():
    backend = choose_backend("cpu")
    order = np.random.default_rng(0).permutation(N)
    batches = PerNetworkBatches(backend, Batch(X, D), SIZE, order, np.asarray([0, 6]), np.asarray([18, 18]))
    (part, first), *_ = batches
    assert part == 0.0
    assert first.sample_weight is first.sizes is None
    np.testing.assert_array_equal(first.x, X[[order[:6], order[6:12]]])


@pytest.mark.parametrize("bytes_of_a_window", [1, 200, 1 << 20])
@pytest.mark.parametrize("weighed", [False, True])
def test_samples_are_gathered_once_for_networks_that_share_an_order(monkeypatch, weighed, bytes_of_a_window):
    run_epoch = pytest.importorskip("gpubp.engine.cpu.epoch")
    monkeypatch.setattr(run_epoch, "BYTES_OF_A_WINDOW", bytes_of_a_window)
    backend, thetas = choose_backend("cpu"), initial_weights(NETWORK, range(6), dtype="float64")
    weights = WEIGHTS if weighed else None
    weights_of = np.asarray([0, 1, 0, 2, 2, 1]) if weighed else None

    def batches(epoch):
        order = np.random.default_rng(epoch).permutation(N)
        starts, counts = np.asarray([0, 0, 0, 3, 3, 3]), np.asarray([20, 20, 20, 21, 21, 21])
        return PerNetworkBatches(backend, Batch(X, D, weights), SIZE, order, starts, counts, weights_of)

    ends = [epochs_of(backend, "float64", ways, adam(0.01), 0.1, batches, thetas) for ways in ("never", "always")]
    assert_agree(ends[1][0].theta, ends[0][0].theta, "steps")
    np.testing.assert_allclose(ends[1][1].values, ends[0][1].values, rtol=1e-10)
    np.testing.assert_allclose(ends[1][1].weights, ends[0][1].weights, rtol=1e-12)


def test_cut():
    sizes, parts = divide_epoch(10, 4)
    assert (sizes.tolist(), parts.tolist()) == ([4, 4, 2], [0.0, 0.4, 0.8])
    sizes, parts = divide_epoch(np.asarray([10, 8]), 4)
    assert sizes.tolist() == [[4, 4], [4, 4], [2, 0]]
    np.testing.assert_array_equal(parts[1], [0.4, 0.5])


# --- a penalty for each network, and no history, in train ---


@pytest.mark.parametrize("ways", ["never", "always"])
def test_penalty_of_each_network(monkeypatch, ways):
    monkeypatch.setenv("GPUBP_COMPILED", ways)
    thetas, l2 = initial_weights(NETWORK, range(3), dtype="float64"), np.asarray([[0.0], [0.5], [3.0]])
    options = {"optimizer": momentum(0.02), "epochs": 5, "batch_size": SIZE, "device": "cpu"}
    stack = train(NETWORK, X, D, theta=thetas, l2=l2, **options)
    for k in range(3):
        assert_agree(stack.theta[k], train(NETWORK, X, D, theta=thetas[k], l2=float(l2[k, 0]), **options).theta, "fit")
    with pytest.raises(DataError, match=r"l2 must be a number, a schedule, or for a stack an array \(K, 1\)"):
        train(NETWORK, X, D, theta=thetas, l2=l2[:2], **options)
    with pytest.raises(DataError, match="l2 must be a finite number of at least 0, got -1"):
        train(NETWORK, X, D, theta=thetas, l2=l2 - 1.0, **options)


def test_history_is_kept_or_not():
    options = {"theta": initial_weights(NETWORK, range(3)), "epochs": 4, "device": "cpu"}
    kept, not_kept = (train(NETWORK, X, D, history=history, **options) for history in (True, False))
    assert len(kept.history.loss) == 4
    assert not_kept.history.loss == not_kept.history.seconds == []
    np.testing.assert_array_equal(kept.theta, not_kept.theta)


# --- fits of estimators ---

LABELS = np.asarray(["a", "b", "c"])[np.argmax(X + 0.3 * D[:, :1], axis=1)]


def ready(model, rows, x=X, y=None, weights=None):
    y = (LABELS if isinstance(model, MLPClassifier) else D)[rows] if y is None else y
    of_rows = None if weights is None else weights[rows]
    targets, train_weights = model._learn_targets(y, of_rows, False)
    return model._prepare(x, rows, targets, of_rows, train_weights, model.early_stopping)


FOLDS = [np.flatnonzero(np.arange(N) % 4 != fold) for fold in range(3)]
FOLDS[0] = FOLDS[0][1:]  # one sample less than the others have

OPTIONS = st.fixed_dictionaries(
    {
        "solver": st.sampled_from(["adam", "adamw", "rmsprop", "lion", "sgd", "momentum"]),
        "batch_size": st.sampled_from([5, 9, 200]),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive", *SCHEDULES]),
        "shuffle": st.booleans(),
        "early_stopping": st.booleans(),
        "dropout": st.sampled_from([0.0, 0.3]),
        "max_grad_norm": st.sampled_from([None, 0.5]),
        "nesterovs_momentum": st.booleans(),
        "warm_up": st.sampled_from([0, 2]),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "class_weight": st.sampled_from([None, "balanced"]),
    },
)
OF_EACH = st.lists(
    st.fixed_dictionaries(
        {
            "learning_rate_init": st.sampled_from([1e-3, 0.03, 0.3]),
            "alpha": st.sampled_from([0.0, 1e-2, 1.0]),
            "beta_1": st.sampled_from([0.5, 0.9]),
            "beta_2": st.sampled_from([0.9, 0.999]),
            "epsilon": st.sampled_from([1e-8, 1e-3]),
            "momentum": st.sampled_from([0.0, 0.9]),
            "max_iter": st.sampled_from([3, 7, 12]),
            "n_iter_no_change": st.sampled_from([1, 2, 10]),
            "tol": st.sampled_from([1e-4, 0.1]),
            "random_state": st.sampled_from([0, 1]),
        }
    ),
    min_size=2,
    max_size=4,
)
ATTRIBUTES = ("n_iter_", "t_", "stop_reason_", "out_activation_", "validation_scores_", "best_validation_score_")


def assert_same_fit(stacked, single):
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(stacked, name), getattr(single, name), err_msg=name)
    for name in ("loss_", "loss_curve_", "validation_curve_", "best_loss_"):
        actual, expected = getattr(stacked, name), getattr(single, name)
        if expected is None:
            assert actual is None
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-9, err_msg=name)
    for actual, expected in zip(stacked.coefs_ + stacked.intercepts_, single.coefs_ + single.intercepts_, strict=True):
        assert_agree(actual, expected, "steps")


@settings(max_examples=12)
@given(OPTIONS, OF_EACH, st.booleans(), st.sampled_from(["always", "never"]))
def test_stacked_classifiers_equal_single_fits(options, of_each, weighed, ways):
    weights = WEIGHTS[0] + 0.1 if weighed else None
    base = MLPClassifier((4,), "tanh", device="cpu", validation_fraction=0.3).set_params(**options)
    models = [clone(base).set_params(**own) for own in of_each for _ in FOLDS]
    rows = [rows for _ in of_each for rows in FOLDS]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than", UserWarning)
        patch.setenv("GPUBP_COMPILED", ways)
        errors = fit_together([ready(model, own, weights=weights) for model, own in zip(models, rows, strict=True)])
        assert errors == [None] * len(models)
        patch.setenv("GPUBP_COMPILED", "never")
        for model, own in zip(models, rows, strict=True):
            given_weights = {} if weights is None else {"sample_weight": weights[own]}
            assert_same_fit(model, clone(model).fit(X[own], LABELS[own], **given_weights))


@pytest.mark.parametrize("device", [*PLACES, "cpu"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_stacked_regressors_equal_single_fits(early_stopping, device, precision):
    base = MLPRegressor(hidden_layer_sizes=(4,), batch_size=6, max_iter=6, device=device, dtype=precision)
    base.set_params(early_stopping=early_stopping, validation_fraction=0.3, scoring="loss")
    models = [clone(base).set_params(alpha=alpha, random_state=0) for alpha in (0.0, 0.1) for _ in FOLDS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert fit_together([ready(model, FOLDS[k % 3]) for k, model in enumerate(models)]) == [None] * len(models)
        for k, model in enumerate(models):
            single = clone(model).fit(X[FOLDS[k % 3]], D[FOLDS[k % 3]])
            assert single.n_iter_ == model.n_iter_
            for actual, expected in zip(model.coefs_, single.coefs_, strict=True):
                assert_agree(actual, expected, "steps")


def fitted_in_stacks(models, monkeypatch, **options):
    """Fit models on all samples together; the sizes of the stacks, and the errors."""
    sizes, original = [], stacks.StackOfFits

    def counted(members, *more):
        sizes.append(len(members))
        return original(members, *more)

    monkeypatch.setattr(stacks, "StackOfFits", counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        errors = fit_together([ready(model, FOLDS[1]) for model in models], **options)
    return sizes, errors


def test_networks_of_other_forms_are_in_other_stacks(monkeypatch):
    base = MLPClassifier((3,), max_iter=2, device="cpu", random_state=0)
    others = [{}, {"alpha": 1.0}, {"activation": "tanh"}, {"hidden_layer_sizes": (4,)}, {"solver": "sgd"}]
    others += [{"batch_size": 5}, {"dtype": "float32"}, {"early_stopping": True}, {"loss": "squared_error"}]
    sizes, _ = fitted_in_stacks([clone(base).set_params(**other) for other in others], monkeypatch)
    assert sizes == [2, 1, 1, 1, 1, 1, 1, 1]


def test_stacks_are_split_if_memory_is_short(monkeypatch):
    monkeypatch.setattr(stacks, "networks_at_once", lambda *_: 2)
    models = [MLPClassifier((3,), batch_size=6, max_iter=4, device="cpu", random_state=0) for _ in range(5)]
    sizes, errors = fitted_in_stacks(models, monkeypatch)
    assert sizes == [2, 2, 1]
    assert errors == [None] * 5
    for model in models[1:]:
        np.testing.assert_allclose(model.coefs_[0], models[0].coefs_[0], rtol=1e-12)


def test_networks_that_share_an_order_need_memory_for_one(monkeypatch):
    requested = []
    monkeypatch.setattr(stacks, "networks_at_once", lambda *given: requested.append(given[4:6]) or 3)
    models = [MLPClassifier((3,), batch_size=6, max_iter=1, device="cpu", random_state=seed) for seed in (0, 1, 0)]
    fitted_in_stacks(models, monkeypatch)
    n_rows = len(FOLDS[1])
    assert requested == [(-(-n_rows // 6), [n_rows, 0, n_rows])]


def test_networks_that_shuffle_and_that_do_not(monkeypatch):
    base = MLPClassifier((4,), batch_size=5, max_iter=4, device="cpu", random_state=0)
    models = [clone(base).set_params(shuffle=shuffle) for shuffle in (True, False, True)]
    assert fitted_in_stacks(models, monkeypatch) == ([3], [None] * 3)
    for model in models:
        with pytest.warns(ConvergenceWarning):
            assert_same_fit(model, clone(model).fit(X[FOLDS[1]], LABELS[FOLDS[1]]))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_networks_have_the_dropout_that_they_have_alone(early_stopping, monkeypatch):
    of_stack, alone, batches, iterate = [], [], StackOfFits.batches, ArrayBatches.__iter__

    def stack_batches(self, active, epoch):
        made = batches(self, active, epoch)
        of_stack.append(made.dropout)
        return made

    def iterated(self):
        alone.append(self.dropout)
        return iterate(self)

    monkeypatch.setattr(StackOfFits, "batches", stack_batches)
    monkeypatch.setattr(ArrayBatches, "__iter__", iterated)
    monkeypatch.setenv("GPUBP_COMPILED", "never")
    base = MLPClassifier((6,), batch_size=5, max_iter=3, device="cpu", dropout=0.3, early_stopping=early_stopping)
    base.set_params(validation_fraction=0.3)
    models = [clone(base).set_params(random_state=seed, alpha=alpha) for seed, alpha in ((0, 1.0), (1, 0.0), (0, 0.0))]
    models.append(clone(base).set_params(random_state=0, dropout=0.0))
    assert fitted_in_stacks(models, monkeypatch) == ([3, 1], [None] * 4)
    for k, model in enumerate(models):
        alone.clear()
        with pytest.warns(ConvergenceWarning):
            assert_same_fit(model, clone(model).fit(X[FOLDS[1]], LABELS[FOLDS[1]]))
        if k == 3:
            assert alone == [None] * 3
            continue
        assert [dropout.epoch for dropout in alone] == [0, 1, 2]
        for single, stacked in zip(alone, of_stack[:3], strict=True):
            assert replace(stacked, key=stacked.key.tolist()[(0, 2, 1)[k]]) == single
    assert of_stack[0].key[0] == of_stack[0].key[1] != of_stack[0].key[2]


def test_best_weights_do_not_keep_the_whole_stack_alive(monkeypatch):
    bests, original = [], FitMonitor.finish

    def recorded(self, *rest):
        bests.append(self.best)
        original(self, *rest)

    monkeypatch.setattr(FitMonitor, "finish", recorded)
    options = {"early_stopping": True, "validation_fraction": 0.3, "device": "cpu"}
    fitted_in_stacks([MLPClassifier((4,), max_iter=4, random_state=k, **options) for k in range(3)], monkeypatch)
    assert [best.base for best in bests] == [None] * 3


def test_held_out_samples_are_kept_unless_they_are_many(monkeypatch):
    scores, made, original = [], [], _stacked_fit.hold_out
    monkeypatch.setattr(_stacked_fit, "hold_out", lambda *given: made.append(given) or original(*given))
    options = {"early_stopping": True, "validation_fraction": 0.3, "device": "cpu", "n_iter_no_change": 10}
    for most, n_made in ((1 << 24, 2), (0, 2 * 3)):  # of two streams, in each of three epochs
        monkeypatch.setattr(stacks, "MOST_HELD_OUT", most)
        models = [MLPClassifier((3,), max_iter=3, random_state=seed, **options) for seed in (0, 1, 0, 1)]
        fitted_in_stacks(models, monkeypatch)
        assert len(made) == n_made
        scores.append([model.validation_scores_ for model in models])
        made.clear()
    assert scores[0] == scores[1]
    assert scores[0][0] == scores[0][2] != scores[0][1]


def test_one_fit_that_fails_leaves_the_others_alone(monkeypatch):
    base = MLPClassifier((4,), batch_size=5, max_iter=8, device="cpu", random_state=0, solver="sgd")
    models = [clone(base).set_params(learning_rate_init=rate) for rate in (0.01, 1e200, 0.02)]
    _, (first, second, third) = fitted_in_stacks(models, monkeypatch)
    assert first is third is None
    assert "non-finite parameter weights" in str(second)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        clone(models[1]).fit(X[FOLDS[1]], LABELS[FOLDS[1]])
    with pytest.warns(ConvergenceWarning):
        assert_same_fit(models[2], clone(models[2]).fit(X[FOLDS[1]], LABELS[FOLDS[1]]))


def test_early_stopping_keeps_the_best_epoch_before_divergence(monkeypatch):
    base = MLPRegressor(hidden_layer_sizes=(4,), activation="identity", solver="momentum", batch_size=5, max_iter=400)
    base.set_params(device="cpu", random_state=0, early_stopping=True, n_iter_no_change=1000)
    models = [clone(base).set_params(learning_rate_init=rate) for rate in (1e-3, 2.0)]
    _, errors = fitted_in_stacks(models, monkeypatch)
    assert errors == [None, None]
    assert models[1].stop_reason_ == "diverged"
    with pytest.warns(ConvergenceWarning, match="the weights were not finite"):
        single = clone(models[1]).fit(X[FOLDS[1]], D[FOLDS[1]])
    assert models[1].n_iter_ == single.n_iter_
    np.testing.assert_allclose(models[1].coefs_[0], single.coefs_[0], rtol=1e-9)


def test_too_few_samples_to_hold_out_is_an_error_of_that_fit(monkeypatch):
    models = [
        MLPClassifier((3,), max_iter=2, device="cpu", early_stopping=True, validation_fraction=part)
        for part in (0.05, 0.3)
    ]
    _, (first, second) = fitted_in_stacks(models, monkeypatch)
    assert isinstance(first, ValueError)
    assert second is None


def test_callback_is_called_and_can_end_the_training(monkeypatch):
    reported = []

    def callback(progress):
        reported.append(progress)
        return progress.epoch == 3

    models = [MLPClassifier((3,), max_iter=n, device="cpu", random_state=0) for n in (2, 9)]
    fitted_in_stacks(models, monkeypatch, callback=callback)
    assert [progress.epoch for progress in reported] == [1, 2, 3]
    assert np.isnan(reported[2].loss).tolist() == [True, False]
    assert [model.stop_reason_ for model in models] == ["epochs", "callback"]


def test_interrupted_stack_keeps_what_was_learned(monkeypatch):
    models = [MLPClassifier((3,), max_iter=n, device="cpu", random_state=0) for n in (1, 9)]
    with pytest.warns(UserWarning, match="interrupted by user"):
        fitted_in_stacks(models, monkeypatch, callback=interrupt_epoch(2))
    assert [model.stop_reason_ for model in models] == ["epochs", "interrupted"]
    assert models[1].n_iter_ == 2


def test_reasons_to_fit_alone():
    assert reason_to_fit_alone(MLPClassifier()) == ""
    assert "lbfgs" in reason_to_fit_alone(MLPClassifier(solver="lbfgs"))
    assert "callbacks" in reason_to_fit_alone(MLPClassifier(callbacks=print))
    assert "max_time" in reason_to_fit_alone(MLPClassifier(max_time=1.0))


def test_numbers_of_each():
    assert scalar_or_column([0.5, 0.5]) == 0.5
    np.testing.assert_array_equal(scalar_or_column([1, 2]), [[1.0], [2.0]])
    schedule = PerNetworkSchedule((0.5, lambda epoch: epoch + 1))
    np.testing.assert_array_equal(schedule(2.0), [[0.5], [3.0]])
    np.testing.assert_array_equal(schedule(np.asarray([[2.0], [4.0]])), [[0.5], [5.0]])
    optimizer = optimizer_of_stack([momentum(0.1, 0.9), momentum(0.2, 0.9)])
    assert optimizer.settings["momentum"] == 0.9
    np.testing.assert_array_equal(optimizer.settings["learning_rate"], [[0.1], [0.2]])
