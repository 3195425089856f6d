"""The summed loss of all samples and its gradient, in the compiled engine and on the plain path."""

from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse

from gpubp.backends.backend import choose_backend
from gpubp.backends.sparse_matmul import for_samples
from gpubp.engine import cpu
from gpubp.engine.cpu import gradient, workplace
from gpubp.engine.epoch import make_loss_and_gradient
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.testing import assert_agree
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


def evaluate(network, samples, dtype="float64", *, part=5, n_threads=1):
    """Evaluate compiled, in parts of the samples by some threads, and on the plain path; both twice."""
    backend = for_samples(BACKEND, samples.x)
    options = {"threads_allowed": lambda: n_threads, "WORTH_A_THREAD": 1.0, "UNITS_OF_A_SHARE": 1}
    theta = initial_weights(network, 1, scheme="uniform", scale=0.5, dtype=dtype)
    with (
        patch.multiple(gradient, LEAST_OF_A_PART=part, BYTES_OF_A_PART=0),
        patch.multiple(workplace, new_memory=memory_of_nan, **options),
    ):
        compiled = make_loss_and_gradient(backend, network, dtype, samples)
    with cpu.in_array_calls():
        plain = make_loss_and_gradient(backend, network, dtype, samples)
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
    value, slope = make_loss_and_gradient(BACKEND, network, "float64", samples)(theta)
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
    assert gradient.engine_gradient(BACKEND, network, "float64", samples) is None
    assert_equal_evaluations(evaluate(network, samples))


@pytest.mark.parametrize(("name", "network"), [("x", Network((2, 4))), ("targets", Network((3, 5)))])
def test_arrays_that_do_not_fit_are_not_given_to_compiled_code(name, network):
    with pytest.raises(ValueError, match=f"{name} must be float64 of shape"):
        make_loss_and_gradient(BACKEND, Network((3, 4)), "float64", samples_for(network))
    evaluate_at = make_loss_and_gradient(BACKEND, network, "float64", samples_for(network))
    with pytest.raises(ValueError, match="theta must be float64 of shape"):
        evaluate_at(np.zeros(network.n_parameters - 1))
