"""Steps by kernels of networks with skip connections, tied and absent weights, and parametric activations."""

import numpy as np
import pytest

from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.cuda.kernels.ties import groups_of
from gpubp.engine.cuda.steps import LayerwiseSteps
from gpubp.engine.plain.step import Objective
from gpubp.nn.network import Network
from gpubp.nn.weight_sharing import Ties
from gpubp.optim.first_order import adam, momentum
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.wrappers import clipped
from tests.cuda_machines import (
    N_SAMPLES,
    NETWORKS,
    assert_same,
    dropout_of,
    emulated,
    needs_compiler,
    plain_and_compiled,
    rounding,
    run_epochs,
)

pytestmark = [pytest.mark.once, pytest.mark.slow]

NAMES = ("skips", "ties", "parametric", "RealMLP")


@pytest.fixture(params=NAMES)
def network(request):
    return NETWORKS[request.param]


class TestAgreesWithPlain:
    def test_networks(self, machine, network, caplog):
        assert_same(plain_and_compiled(machine, network, weighted=True))
        assert not caplog.records  # steps are captured

    def test_stacks_with_parts_dropout_and_penalty(self, machine, network):
        options, how = {"parts": 2, "l2": 0.1}, {"stack": 3, "dropout": dropout_of(network, 0.3, 0.0, 0.2, stack=3)}
        assert_same(plain_and_compiled(machine, network, clipped(momentum(), 0.1), "float32", options, **how))

    def test_samples_in_place(self, machine, network):
        assert_same(plain_and_compiled(machine, network, adam(), size=N_SAMPLES, shuffled=False))

    @pytest.mark.parametrize(("products", "stack"), [("bfloat16", 3), ("float16", None)])
    def test_products_of_16_bits(self, machine, network, products, stack):
        optimizer = loss_scaled(adam()) if products == "float16" else adam()
        results = plain_and_compiled(rounding(machine, products), network, optimizer, "float32", stack=stack)
        assert_same(results, f"steps {products}")

    @pytest.mark.parametrize("n_outputs", [2, 17])  # narrow, and not
    def test_activations_learned_below_the_outputs(self, machine, n_outputs):
        network = Network((3, 5, n_outputs), activation="parametric(gelu)", loss="cross_entropy")
        assert_same(plain_and_compiled(machine, network, dtype="float32", stack=2))

    def test_a_layer_that_several_layers_see(self, machine):
        skips = ((0, 2), (0, 4), (1, 3), (1, 4), (2, 4))
        assert_same(plain_and_compiled(machine, Network((3, 4, 5, 4, 2), activation="tanh", skips=skips)))


@needs_compiler
def test_these_are_steps_layer_by_layer(network):
    machine, optimizer = emulated(), momentum()
    runner = CudaEpochRunner(machine.device, Objective(network), optimizer, "float64", None)
    run_epochs(machine, runner, network, optimizer, "float64", epochs=1)
    assert isinstance(runner.steps, LayerwiseSteps)


def test_groups_of_tied_weights_and_absent_connections():
    n_tied, starts, positions = groups_of(Ties((4, -1, 7, 4, 5, -1, 7, 4)))
    assert n_tied == 2
    assert [part.tolist() for part in np.split(positions, starts[1:-1])] == [[0, 3, 7], [2, 6], [1], [5]]
