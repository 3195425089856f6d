"""Fits of one estimator on a GPU use the arrays and graphs of the fit before, and give the bits of a first fit."""

import gc
import weakref

import numpy as np
import pytest
from sklearn.base import clone

from gpubp import MLPClassifier
from gpubp.estimators import _stochastic
from gpubp.estimators._stochastic import KEPT
from tests.cuda_machines import needs_compiler

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore:.*Maximum iterations")]

RNG = np.random.default_rng(0)
X, OTHER = RNG.normal(size=(2, 30, 4)).astype("float32")
Y = np.arange(30) % 3


@pytest.fixture(
    params=[pytest.param("emulated", marks=needs_compiler), pytest.param("real", marks=pytest.mark.on("cuda"))],
    autouse=True,
)
def emulated_or_real(request):
    """An emulated GPU, or a real one."""
    if request.param == "emulated":
        request.getfixturevalue("gpu")


def classifier(**options):
    return MLPClassifier((5,), max_iter=4, batch_size=8, random_state=0, device="cuda", **options)


def runner_of(model):
    return KEPT[id(model)]["runner"]


def assert_equal_to_a_first_fit(model, *samples):
    first = clone(model).fit(*samples)
    for one, other in zip([*model.coefs_, *model.intercepts_], [*first.coefs_, *first.intercepts_], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.loss_curve_, first.loss_curve_)


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"dropout": 0.2}, {"early_stopping": True}], ids=str)
def test_a_second_fit_gives_the_bits_of_a_first_one(options):
    model = classifier(**options).fit(X, Y)
    runner = runner_of(model)
    model.fit(OTHER, Y)
    assert runner_of(model) is runner
    assert_equal_to_a_first_fit(model, OTHER, Y)
    model.set_params(learning_rate_init=0.01).fit(OTHER, Y)
    assert runner_of(model) is runner
    assert_equal_to_a_first_fit(model, OTHER, Y)


@pytest.mark.parametrize("change", [{"alpha": 0.1}, {"solver": "sgd"}, {"hidden_layer_sizes": (6,)}, {}], ids=str)
def test_a_fit_of_another_kind_has_arrays_of_its_own(change):
    model = classifier().fit(X, Y)
    runner = weakref.ref(runner_of(model))
    n_samples = 30 if change else 20
    model.set_params(**change).fit(OTHER[:n_samples], Y[:n_samples])
    gc.collect()
    assert (runner() is None) == bool(change)  # the runner of other samples has other arrays
    assert_equal_to_a_first_fit(model, OTHER[:n_samples], Y[:n_samples])


def test_partial_fit_continues_from_a_fit():
    model, other = classifier().fit(X, Y), classifier().fit(X, Y)
    KEPT[id(other)].clear()
    for one in (model, other):
        one.partial_fit(OTHER, Y)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])


def test_what_is_kept_is_gone_with_the_estimator():
    model = classifier().fit(X, Y)
    key, runner = id(model), weakref.ref(runner_of(model))
    del model
    gc.collect()
    assert runner() is None
    assert key not in KEPT


def test_a_fit_that_fails_keeps_nothing(monkeypatch):
    model = classifier().fit(X, Y)
    runner = weakref.ref(runner_of(model))

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(_stochastic, "run", fails)
    with pytest.raises(MemoryError):
        model.fit(X, Y)
    gc.collect()
    assert runner() is None


def test_large_fits_keep_nothing(monkeypatch):
    model = classifier().fit(X, Y)
    assert id(model) in KEPT
    n_numbers = 30 * 7 + (4 + 1) * 5 + (5 + 1) * 3 + 3 * 8 * (5 + 3)  # samples, parameters, layers of a batch
    monkeypatch.setattr(_stochastic, "MOST_NUMBERS_KEPT", n_numbers - 1)
    assert id(model.fit(X, Y)) not in KEPT
    monkeypatch.setattr(_stochastic, "MOST_NUMBERS_KEPT", n_numbers)
    assert id(model.fit(X, Y)) in KEPT


def test_arrays_are_kept_for_few_estimators():
    models = [classifier().fit(X, Y) for _ in range(_stochastic.MOST_ESTIMATORS_KEPT + 1)]
    assert [id(model) in KEPT for model in models] == [False, *[True] * _stochastic.MOST_ESTIMATORS_KEPT]
