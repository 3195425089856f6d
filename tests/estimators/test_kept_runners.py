"""Calls of partial_fit on a GPU use the arrays and graphs of earlier calls."""

import copy
import gc

import numpy as np
import pytest

from gpubp import MLPClassifier
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.estimators import _stochastic
from gpubp.testing import assert_agree
from tests.cuda_machines import needs_compiler

pytestmark = [needs_compiler, pytest.mark.once]
N_STEPS, SIZE = 8, 5


@pytest.fixture(params=["layer by layer", "small networks"], autouse=True)
def form(request, monkeypatch):
    limit = 0.0 if request.param == "layer by layer" else float("inf")
    monkeypatch.setattr(cuda_epoch, "MAX_OPERATIONS_OF_ONE_BLOCK", limit)


def calls(model, n, n_samples=N_STEPS * SIZE, seed=0):
    """Yield the model after each of some calls, each with other samples."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        X, y = rng.normal(size=(n_samples, 4)), rng.integers(0, 3, n_samples)
        yield model.partial_fit(X, y, classes=[0, 1, 2])


def model_on(device, **options):
    return MLPClassifier((6,), device=device, batch_size=SIZE, random_state=0, dtype="float64", **options)


def parameters(model):
    return np.concatenate([np.ravel(part) for part in (*model.coefs_, *model.intercepts_)])


@pytest.mark.parametrize(
    "options",
    [{}, {"solver": "sgd", "learning_rate": "invscaling"}, {"max_grad_norm": 0.1, "dropout": 0.5}],
    ids=["adam", "sgd", "clipped"],
)
def test_parameters_are_those_of_the_cpu(gpu, options):
    pairs = zip(*(calls(model_on(device, **options), 4) for device in ("cuda", "cpu")), strict=True)
    for on_gpu, on_cpu in pairs:
        assert_agree(parameters(on_gpu), parameters(on_cpu), "fit")
    assert gpu.n_launches > 0


def test_later_calls_allocate_nothing_and_replay(gpu):
    counts = [(gpu.n_allocations, gpu.n_launches + gpu.n_replays, gpu.n_launches) for _ in calls(model_on("cuda"), 5)]
    allocations, starts, launches = np.diff(counts, axis=0).T
    np.testing.assert_array_equal(allocations, 0)
    assert all(starts[1:] <= 12)  # for 8 steps; the first call launches, the second captures
    assert all(launches[1:] <= 2)  # the squares of the first weights and the check for finite numbers, or all steps


def test_products_in_float16_allocate_nothing_either(gpu):
    gpu.products = "float16"
    model = MLPClassifier(
        (6,), device="cuda", batch_size=SIZE, random_state=0, dtype="float32", matmul_precision="float16"
    )
    allocations = [gpu.n_allocations for _ in calls(model, 4)]
    assert len(set(allocations)) == 1
    assert model._optimizer.state.clean == 4 * N_STEPS


def test_samples_of_another_shape(gpu):
    models = [model_on(device) for device in ("cuda", "cpu")]
    for n_samples in (40, 33, 40):
        for model in models:
            list(calls(model, 2, n_samples))
        assert_agree(*map(parameters, models), "fit")


@pytest.mark.parametrize("change", [{"beta_1": 0.1}, {"alpha": 1.0}, {"max_grad_norm": 1e-3}])
def test_settings_that_change(gpu, change):
    models = [model_on(device, max_grad_norm=1.0) for device in ("cuda", "cpu")]
    for settings in ({}, change):
        for model in models:
            list(calls(model.set_params(**settings), 2))
        assert_agree(*map(parameters, models), "fit")


def test_a_copy_and_an_earlier_state_are_left_alone(gpu):
    model = model_on("cuda")
    list(calls(model, 2))
    copied, state = copy.deepcopy(model), model._optimizer
    before = [np.array(part) for part in state.state[:2]]
    list(calls(model, 2))
    for part, expected in zip(state.state[:2], before, strict=True):
        np.testing.assert_array_equal(part, expected)
    list(calls(copied, 2))
    np.testing.assert_array_equal(parameters(copied), parameters(model))


class Comparable(MLPClassifier):
    """An estimator that cannot be hashed, and that equals others."""

    def __eq__(self, other):
        return self.get_params() == other.get_params()


def test_estimators_that_compare_equal(gpu):
    models = [kind((6,), device="cuda", batch_size=SIZE, random_state=0) for kind in (Comparable, Comparable)]
    for model in models:
        list(calls(model, 2))
    first, second = (_stochastic.KEPT[id(model)]["runner"] for model in models)
    assert first is not second


def test_nothing_is_kept_of_a_model_that_is_gone(gpu):
    model = model_on("cuda")
    list(calls(model, 1))
    (runner,) = _stochastic.KEPT[id(model)].values()
    assert runner.steps.copied is None
    assert runner.samples is runner.steps.samples
    n_kept = len(_stochastic.KEPT)
    del model
    gc.collect()
    assert len(_stochastic.KEPT) == n_kept - 1
