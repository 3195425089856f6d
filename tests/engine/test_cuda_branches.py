"""Work on a CUDA device at the same time: products beside the backward pass, and two networks on a multiprocessor."""

from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.cuda.kernels.products import MAX_THREADS
from gpubp.engine.cuda.small_networks import threads_of_each
from gpubp.engine.cuda.steps import LayerwiseSteps, has_branches
from gpubp.engine.plain.step import Objective
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from tests.cuda_machines import assert_same, emulated, needs_compiler, plain_and_compiled, plain_way, run_epochs

pytestmark = pytest.mark.once

H100 = SimpleNamespace(multiprocessors=132, shared_memory_of_multiprocessor=228 << 10)
A100 = SimpleNamespace(multiprocessors=108, shared_memory_of_multiprocessor=164 << 10)
NETWORK = Network((3, 5, 4, 17), activation="tanh", loss="cross_entropy")  # whose output layer is not narrow


@pytest.fixture
def layered(monkeypatch):
    monkeypatch.setattr(cuda_epoch, "shared_memory", lambda *_: 10**9)  # more than available


class TestBranches:
    @pytest.mark.parametrize(
        ("sizes", "b", "n_networks", "expected"),
        [
            ((784, 256, 10), 128, 1, False),  # no product that goes on to a layer below
            ((784, 512, 512, 10), 256, 1, True),  # 16 and 8 tiles
            ((784, 512, 512, 10), 256, 5, True),
            ((784, 512, 512, 10), 256, 6, False),
            ((2048, 2048, 2048, 10), 1024, 1, False),
        ],
    )
    def test_where_products_do_not_fill_the_gpu(self, sizes, b, n_networks, expected):
        assert has_branches(Network(sizes), b, n_networks, H100, narrow=True) == expected

    def test_the_product_of_an_output_layer_that_is_not_narrow_counts(self):
        assert has_branches(Network((784, 256, 10)), 128, 1, H100, narrow=False)

    @pytest.mark.slow
    @pytest.mark.usefixtures("layered")
    @pytest.mark.parametrize("options", [{}, {"parts": 2}], ids=["one part", "two parts"])
    def test_agree_with_plain(self, machine, options, caplog):
        assert_same(plain_and_compiled(machine, NETWORK, options=options, stack=2))
        assert not caplog.records  # steps are captured, with the second stream

    @needs_compiler
    @pytest.mark.usefixtures("layered")
    def test_take_no_more_launches(self, monkeypatch):
        launches = []
        for branches in (True, False):
            monkeypatch.setattr("gpubp.engine.cuda.steps.has_branches", lambda *_, branches=branches, **__: branches)
            machine = emulated()
            plain_and_compiled(machine, NETWORK, epochs=1)
            launches.append(machine.device.n_launches)
        assert launches[0] == launches[1]

    @needs_compiler
    @pytest.mark.usefixtures("layered")
    def test_a_missing_join_shows(self):
        machine, optimizer = emulated(), momentum(0.05, 0.9)
        machine.device.join = lambda: None
        plain = plain_way(machine, Objective(NETWORK), optimizer, "float64")
        runner = CudaEpochRunner(machine.device, Objective(NETWORK), optimizer, "float64", plain)
        _, report = run_epochs(machine, runner, NETWORK, optimizer, "float64", epochs=1)
        assert isinstance(runner.steps, LayerwiseSteps)
        assert not np.all(report.finite)  # the gradients were never computed


class TestThreadsOfSmallNetworks:
    @pytest.mark.parametrize(
        ("device", "n_networks", "expected"),
        [(H100, 132, MAX_THREADS), (H100, 133, MAX_THREADS // 2), (A100, 1000, MAX_THREADS)],
    )
    def test_leave_registers_for_a_second_network(self, device, n_networks, expected):
        """A network 20-64-64-2 with 64 samples needs 110 KB of shared memory."""
        assert threads_of_each(device, MAX_THREADS, 112_392, n_networks) == expected

    def test_few_threads_stay(self):
        assert threads_of_each(H100, 32, 4096, 1000) == 32
