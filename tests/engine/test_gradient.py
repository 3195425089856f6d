"""An objective on all samples and its gradient, in the compiled engine and on the plain path; L-BFGS by either."""

import gc
import weakref
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse

from gpubp.backends.backend import choose_backend
from gpubp.backends.sparse_matmul import for_samples
from gpubp.engine import cpu
from gpubp.engine import epoch as epoch_module
from gpubp.engine.cpu import gradient, workplace
from gpubp.engine.epoch import FullBatchRunner, make_objective
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.testing import assert_agree
from gpubp.training.fit import train
from tests import reference
from tests.engine.test_fuzz import memory_of_nan

pytestmark = [pytest.mark.once, pytest.mark.skipif(bool(cpu.why_not()), reason="the compiled engine is not built")]

BACKEND, N_SAMPLES = choose_backend("cpu"), 23
NETWORKS = [
    Network((3, 7, 6, 4), activation="tanh", loss="cross_entropy"),
    Network((5, 2)),
    Network((4, 9, 3), activation="parametric(relu)", bias=False, skips=[(0, 2)]),
    Network((4, 6, 3), activation="softmax", loss="binary_cross_entropy"),
]


def evaluate(network, samples, dtype="float64", *, part=5, n_threads=1, **how):
    """Evaluate compiled, in parts of the samples by some threads, and on the plain path; the former twice."""
    backend, objective = for_samples(BACKEND, samples.x), Objective(network, **{"reduction": "sum"} | how)
    options = {"threads_allowed": lambda: n_threads, "WORTH_A_THREAD": 1.0, "UNITS_OF_A_SHARE": 1}
    theta = initial_weights(network, 1, scheme="uniform", scale=0.5, dtype=dtype)
    with (
        patch.multiple(gradient, LEAST_OF_A_PART=part, BYTES_OF_A_PART=0),
        patch.multiple(workplace, new_memory=memory_of_nan, **options),
    ):
        compiled = make_objective(backend, objective, dtype, samples)
    with cpu.in_array_calls():
        plain = make_objective(backend, objective, dtype, samples)
    compiled(2.0 * theta)  # nothing of this evaluation is left in the next
    return compiled(theta), plain(theta)


def samples_for(network, dtype="float64", weighted=False):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(N_SAMPLES, network.sizes[0])), rng.dirichlet(np.ones(network.sizes[-1]), N_SAMPLES)
    weights = rng.uniform(0.0, 2.0, N_SAMPLES).astype(dtype) if weighted else None
    return Batch(x.astype(dtype), targets.astype(dtype), weights)


def assert_equal_evaluations(results):
    (value, slope), (expected, expected_slope) = results
    assert_agree(np.asarray(value, expected_slope.dtype), np.asarray(expected), "steps")
    assert_agree(slope, expected_slope, "steps")


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: str(network.sizes))
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_compiled_form_agrees_with_the_plain_one(network, weighted, n_threads, dtype):
    samples = samples_for(network, dtype, weighted)
    assert_equal_evaluations(evaluate(network, samples, dtype, n_threads=n_threads))


@pytest.mark.parametrize("how", [{"reduction": "mean"}, {"l2": 0.3}, {"reduction": "mean", "l2": 0.3}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("piece", [4, 1 << 14])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mean_and_penalty(how, weighted, piece, dtype):
    for network in NETWORKS:
        with patch.object(gradient, "ELEMENTS_IN_CACHE", piece):
            results = evaluate(network, samples_for(network, dtype, weighted), dtype, **how)
        assert_equal_evaluations(results)


def test_samples_without_weight_have_no_effect():
    network = NETWORKS[1]
    samples = samples_for(network)._replace(sample_weight=np.zeros(N_SAMPLES))
    for value, slope in evaluate(network, samples, reduction="mean", l2=0.3):
        assert value == 0.0
        np.testing.assert_array_equal(slope, 0.0)


def test_a_gradient_that_is_kept_is_not_written_again():
    network = NETWORKS[0]
    at = make_objective(BACKEND, Objective(network, l2=0.1), "float64", samples_for(network))
    theta = initial_weights(network, 1, dtype="float64")
    kept = [at(n * theta)[1] for n in range(6)]
    as_they_were = np.stack(kept)
    at(7.0 * theta)
    np.testing.assert_array_equal(kept, as_they_were)
    assert len(np.unique(as_they_were, axis=0)) == 6
    addresses = {at(theta)[1].ctypes.data for _ in range(20)}
    assert len(addresses) <= 3  # the memory is used again


@pytest.mark.parametrize("part", [1, 22, 23, 100])
def test_parts(part):
    network = NETWORKS[0]
    assert_equal_evaluations(evaluate(network, samples_for(network), part=part))


@pytest.mark.parametrize("form", [np.asfortranarray, lambda x: x[::-1], scipy.sparse.csr_array], ids=["F", "-", "csr"])
def test_forms_of_samples(form):
    network = NETWORKS[0]
    samples = samples_for(network)
    assert_equal_evaluations(evaluate(network, samples._replace(x=form(samples.x))))


def test_the_paper_s_equations():
    network = Network((3, 4, 2), activation="logistic", output_activation="logistic", loss="squared")
    samples = samples_for(network)
    theta = initial_weights(network, 0, dtype="float64")
    value, slope = make_objective(BACKEND, Objective(network, "sum"), "float64", samples)(theta)
    weights = [theta[:16].reshape(4, 4).tolist(), theta[16:].reshape(5, 2).tolist()]
    pairs = list(zip(samples.x.tolist(), samples.targets.tolist(), strict=True))
    expected, expected_slope = reference.loss_and_gradient(weights, pairs)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(slope, np.concatenate([np.ravel(layer) for layer in expected_slope]), rtol=1e-10)


@pytest.mark.parametrize("what", ["tied weights", "no samples"])
def test_what_the_engine_lacks_is_done_on_the_plain_path(what):
    network = Network((3, 2), ties=[0, 0, 1, 2, 3, -1, 4, 5]) if what == "tied weights" else Network((3, 2))
    samples = samples_for(network)
    samples = samples if what == "tied weights" else samples.of(slice(0))
    assert gradient.engine_objective(BACKEND, Objective(network), "float64", samples) is None
    assert_equal_evaluations(evaluate(network, samples))


@pytest.mark.parametrize(("name", "network"), [("x", Network((2, 4))), ("targets", Network((3, 5)))])
def test_arrays_that_do_not_fit_are_not_given_to_compiled_code(name, network):
    with pytest.raises(ValueError, match=f"{name} must be float64 of shape"):
        make_objective(BACKEND, Objective(Network((3, 4))), "float64", samples_for(network))
    evaluate_at = make_objective(BACKEND, Objective(network), "float64", samples_for(network))
    with pytest.raises(ValueError, match="theta must be float64 of shape"):
        evaluate_at(np.zeros(network.n_parameters - 1))


# --- training ---


TRAINED = Network((5, 6, 3), activation="tanh", loss="cross_entropy")
OPTIONS = [{}, {"reduction": "sum"}, {"l2": 0.2}, {"l2": 0.2, "weighted": True}, {"dtype": "float32"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_by_lbfgs_is_compiled_and_agrees_with_the_plain_path(options):
    options = {"dtype": "float64", "device": "cpu", "optimizer": lbfgs(), "epochs": 15} | options
    samples = samples_for(TRAINED, options["dtype"], options.pop("weighted", False))
    arguments, options["sample_weight"] = (TRAINED, *samples[:2]), samples.sample_weight
    with patch.object(gradient.Workplace, "run", autospec=True, side_effect=gradient.Workplace.run) as run:
        compiled = train(*arguments, **options)
    with cpu.in_array_calls():
        plain = train(*arguments, **options)
    assert run.call_count >= len(compiled.history.loss) == len(plain.history.loss) == 15
    tolerance = 1e-4 if options["dtype"] == "float32" else 1e-9
    np.testing.assert_allclose(compiled.history.loss, plain.history.loss, rtol=tolerance)
    np.testing.assert_allclose(compiled.theta, plain.theta, rtol=100 * tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [lbfgs(), levenberg_marquardt()], ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("form", ["auto", "never"])
def test_a_step_begins_with_the_last_evaluation(optimizer, form, monkeypatch):
    """So only points that the optimizer tries are evaluated, and that from which it starts."""
    monkeypatch.setenv(cpu.ENVIRONMENT_VARIABLE, form)
    network, seen = Network((5, 6, 3), activation="tanh"), []
    make = epoch_module.make_objective

    def recording(*args):
        evaluate_at = make(*args)
        return lambda theta: (seen.append(theta), evaluate_at(theta))[1]

    monkeypatch.setattr(epoch_module, "make_objective", recording)
    train(network, *samples_for(network)[:2], optimizer=optimizer, epochs=10, device="cpu", dtype="float64")
    assert len({theta.tobytes() for theta in seen}) == len(seen) > 10


def test_steps_of_few_parameters_keep_blas_to_one_thread(monkeypatch):
    runner = FullBatchRunner(BACKEND, Objective(TRAINED), lbfgs(), "float64")
    for few in (1, 0):
        monkeypatch.setattr(epoch_module, "WORTH_THREADS_OF_BLAS", TRAINED.n_parameters + few)
        assert isinstance(runner._few_threads(), nullcontext) == (not few)


def test_a_training_of_second_order_frees_its_runner_at_once(monkeypatch):
    made, begin = [], FullBatchRunner.__init__
    monkeypatch.setattr(
        FullBatchRunner, "__init__", lambda self, *given: (made.append(weakref.ref(self)), begin(self, *given))[1]
    )
    gc.disable()  # it does not count the memory of a GPU
    try:
        train(Network((2, 3, 1)), np.eye(2), np.ones((2, 1)), optimizer=lbfgs(), epochs=2, device="cpu")
    finally:
        gc.enable()
    assert [one() for one in made] == [None]
