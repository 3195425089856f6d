"""Settings of optimizers with a number for each network keep the digits that a single number has."""

import numpy as np
import pytest

from gpubp import Network, adam, clipped, lion, rmsprop, train
from gpubp.backends.backend import to_numpy
from gpubp.engine.cpu import in_array_calls
from gpubp.engine.plain.host_numbers import HostNumbers

NETWORK = Network((3, 4, 2), activation="tanh")
RNG = np.random.default_rng(0)
X, TARGETS = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2))
NUMBERS = np.asarray([[0.999], [0.9999]])

OPTIMIZERS = {
    "adam": lambda number: adam(0.01, beta_1=number, beta_2=number),
    "rmsprop": lambda number: rmsprop(0.01, rho=number),
    "lion, clipped": lambda number: clipped(lion(0.01, beta_2=number), 0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stack_changes_as_single_networks_do(name, device):
    """1 - 0.9999 in float32 is off by 3,000 units in the last place."""

    def fitted(number, seed, device):
        options = {"epochs": 1, "batch_size": 3, "shuffle": False, "dtype": "float32", "device": device}
        with in_array_calls():
            return to_numpy(train(NETWORK, X, TARGETS, optimizer=OPTIMIZERS[name](number), seed=seed, **options).theta)

    singles = [fitted(number, seed, "cpu") for seed, number in enumerate(NUMBERS[:, 0].tolist())]
    np.testing.assert_allclose(fitted(NUMBERS, range(2), device), singles, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("combine", [
    lambda a, b: 1 - a, lambda a, b: a - b, lambda a, b: a + 1, lambda a, b: 2 * a, lambda a, b: b / a,
    lambda a, b: 1 / a, lambda a, b: a**3, lambda a, b: 2**a, lambda a, b: -a * b,
])  # fmt: skip
def test_operations_are_in_double_precision(combine):
    found = combine(*(HostNumbers(numbers, None) for numbers in (NUMBERS, NUMBERS / 3)))
    np.testing.assert_array_equal(found.numbers, combine(NUMBERS, NUMBERS / 3), strict=True)
    assert found.shape == (2, 1)


def test_what_meets_an_array_is_moved_to_its_device():
    numbers, array = HostNumbers(NUMBERS, lambda host: host.astype("float32")), np.ones((2, 3), "float32")
    for product in ((1.0 - numbers) * array, array * (1.0 - numbers)):
        np.testing.assert_array_equal(product, np.repeat((1.0 - NUMBERS).astype("float32"), 3, axis=1), strict=True)
