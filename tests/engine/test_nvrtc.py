"""Every CUDA source of the engine, compiled by NVRTC as CuPy does, and what its kernels use.

The sources are those that the engine gives its device, in both forms of a step and both precisions:

- layer by layer, whose kernels are independent: each activation and its derivative, each loss on each output activation
  that it is defined for, each optimizer, with and without factors, and the kernels that all steps share; networks with
  and without biases, dropout and penalties, samples with and without weights, sums and means, gradients in parts;
- the same without a backward pass, as predictions and validations go: activations as output layers, and losses with and
  without outputs and weights;
- small networks, where one kernel does all: each activation, each loss on the output activations of ``PAIRS``, and each
  optimizer, combined in turn with those options; and the networks of the benchmarks.

An activation and an optimizer as a user would write them are among them: together they use every operation that the
tracer knows. Kernels with equal text are compiled once for each architecture, many in one source.
"""

import itertools
import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.epoch import CudaEpochRunner
from gpubp.engine.cuda.kernels.members import member_source
from gpubp.engine.cuda.kernels.outputs import output_source
from gpubp.engine.cuda.kernels.preamble import ROUNDING
from gpubp.engine.cuda.kernels.small_networks import small_network_source, state_of_one_network
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing.expressions import functions_of_c
from gpubp.engine.tracing.optimizers import update_code
from gpubp.errors import DataError
from gpubp.nn.activations import ACTIVATIONS, Activation
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, adam, adamw, momentum
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.wrappers import clipped, decay_scaled, decayed, rate_scaled
from tests import nvrtc
from tests.cuda_machines import ACTIVATION_NAMES, LOSS_NAMES, PAIRS, Machine, run_epochs
from tests.emulated_cuda import EmulatedDevice

pytestmark = pytest.mark.once

DTYPES = ("float32", "float64")
REGISTERS, THREADS = 2**16, 256  # of a multiprocessor, and of a block
KERNELS_OF_A_SOURCE = 12


class Limits(NamedTuple):
    """What the kernels of a family use at most: registers of a thread, and double precision in those of float32.

    A family that there is only in float32 has 0 registers in float64.

    No kernel spills registers, or has shared memory other than what a launch adds.
    """

    float32: int
    float64: int
    operations: set[str]


SUMS = {"add"}  # over many samples or parameters, where single precision would lose digits
COSINE = {"mul"}  # in CUDA's cosf and sinf, which so reduce large angles

LIMITS = {
    "gather": Limits(48, 48, set()),
    "drop_inputs": Limits(32, 32, set()),
    "activation": Limits(64, 80, COSINE),
    "derivative": Limits(48, 64, COSINE),
    "learned_derivative": Limits(64, 80, COSINE),
    "derivative_below_output": Limits(64, 64, COSINE),
    "output": Limits(64, 80, COSINE),
    "narrow_output": Limits(48, 64, set()),
    "predictions": Limits(64, 64, COSINE),
    "evaluation": Limits(48, 80, set()),
    "scaled_inputs": Limits(64, 64, set()),
    "member_activation": Limits(80, 80, COSINE),
    "member_outputs": Limits(48, 64, set()),
    "means_of_members": Limits(32, 40, set()),
    "losses_of_means": Limits(32, 64, set()),
    "sums_of_losses": Limits(32, 32, SUMS),
    "sums": Limits(40, 40, SUMS),
    "squares_of_weights": Limits(32, 32, SUMS),
    "count_not_finite": Limits(32, 32, SUMS),
    "to_operands": Limits(24, 0, set()),
    "mask": Limits(32, 32, set()),
    "average_tied": Limits(32, 32, SUMS),
    "find_overflow": Limits(40, 32, set()),
    "partial_norms": Limits(48, 64, set()),
    "update": Limits(64, 64, SUMS),
    "take_steps": Limits(128, 128, COSINE),
}
"""By family. With 24, 32, 40, 48, 64, 80 and 128 registers 10, 8, 6, 5, 4, 3 and 2 blocks fit on a multiprocessor.

More blocks hide more of the time that memory takes, which matters least where the kernel of a small network works in
shared memory. Its bounds, 512 threads in a block, leave each 128 registers.
"""


# --- the sources ---


def _every_operation(xp, x):
    """Compute something with every operation that symbols have."""
    is_tanh = ((x > -1.0) & (x <= 2.0)) | (x < -3.0)
    bent = xp.where(is_tanh, xp.tanh(x), xp.sign(x)) * xp.minimum(xp.maximum(x, -3.0), 3.0)
    waves = xp.cos(x) * xp.sin(-x) + xp.sqrt(xp.abs(x)) + xp.expm1(x) / xp.exp(x) + x**2 + x**3
    return bent + waves * xp.log1p(x * x) - xp.log(1.0 + xp.abs(x)) * xp.round(x)


USERS_ACTIVATION = Activation(_every_operation, lambda xp, dE_dy, x, y: dE_dy * _every_operation(xp, x) + y)
USERS_OPTIMIZER = Optimizer(
    "signs",
    {"learning_rate": 0.1},
    lambda xp, theta: (),
    lambda xp, gradient, state, theta, settings: (
        -settings["learning_rate"] * xp.sign(gradient) * xp.maximum(xp.abs(theta), 0.01),
        state,
    ),
)


def _factors(network):
    return np.linspace(0.5, 2.0, network.n_parameters)


EVERY_OPTIMIZER = {
    **{name: lambda network, make=make: make() for name, make in OPTIMIZERS.items()},
    "decayed momentum": lambda network: decayed(momentum(), 0.01),
    "scaled adam": lambda network: rate_scaled(adam(), _factors(network)),
    "scaled adamw": lambda network: decay_scaled(rate_scaled(adamw(), _factors(network)), _factors(network)),
    "clipped adam": lambda network: clipped(adam(), 0.1),
    "loss-scaled adam": lambda network: loss_scaled(clipped(adam(), 0.1)),
    "a user's": lambda network: USERS_OPTIMIZER,
}


class Recorder(EmulatedDevice):
    """A device that keeps the sources that it is given, and computes nothing."""

    def __init__(self, products="float32"):
        super().__init__(products=products)
        self.sources = []

    def kernels(self, source):
        self.sources.append(source)
        return defaultdict(str)

    def launch(self, *arguments):
        pass

    def multiply(self, *operands, **transposed):
        pass


def sources_of(network, dtype, optimizer="adam", *, weighted=False, drops=False, products="float32", **options):
    """Return the sources of a fit."""
    optimizer, device = EVERY_OPTIMIZER[optimizer](network), Recorder(products)
    runner = CudaEpochRunner(device, Objective(network, **options), optimizer, dtype, None)
    sizes = network.sizes[:-1]
    run = {"epochs": 1, "weighted": weighted, "dropout": Dropout(sizes, (0.5,) * len(sizes), 0) if drops else None}
    run_epochs(Machine(choose_backend("cpu"), device), runner, network, optimizer, dtype, **run)
    return device.sources


def layer_by_layer(names, dtype):
    """Yield the sources of networks that go layer by layer; ``names`` are all activations."""
    for bias, drops in itertools.product((True, False), repeat=2):
        yield from sources_of(Network((2, *[2] * len(names), 2), names, bias=bias), dtype, drops=drops)
    yield from sources_of(Network((2, 2)), dtype, parts=2, l2=0.1)
    yield from sources_of(Network((2, 2, 2), n_members=2), dtype, drops=True)  # its gradients need no kernels
    learned = [f"parametric({name})" for name in names if name != "softmax"]
    for drops, n_outputs in ((False, 2), (True, 17)):  # narrow, and not
        network = Network((2, *[2] * len(learned), n_outputs), learned)
        yield from sources_of(network, dtype, drops=drops, products="bfloat16" if dtype == "float32" else "float32")
    yield from sources_of(Network((1, 1), ties=(0, 0)), dtype)
    for loss, output in itertools.product(LOSS_NAMES, names):
        try:
            network = Network((2, 2), output_activation=output, loss=loss)
        except DataError:  # the loss is not defined for all outputs
            continue
        yield from sources_of(network, dtype, weighted=True)
        if (loss, output) in PAIRS:
            yield from sources_of(network, dtype)
            yield from sources_of(Network((2, 2), output_activation=output, loss=loss, bias=False), dtype)
    for optimizer, reduction in zip(EVERY_OPTIMIZER, itertools.cycle(("sum", "mean"))):
        yield from sources_of(Network((2, 2)), dtype, optimizer, l2=0.1, reduction=reduction)
    for products, drops in itertools.product(ROUNDING if dtype == "float32" else (), (False, True)):
        for n_outputs in (2, 17):  # narrow, and not
            network = Network((2, *[2] * len(names), n_outputs), names)
            optimizer = "loss-scaled adam" if products == "float16" else "clipped adam"
            yield from sources_of(network, dtype, optimizer, drops=drops, products=products, weighted=True)
    for name, n_outputs in zip(names, itertools.cycle((16, 1, 17)), strict=False):  # narrow, but the last
        yield from sources_of(Network((2, 3, n_outputs), name), dtype, weighted=True)


def forward_passes(names, dtype):
    """Yield the sources of predictions, and of losses with outputs and without."""
    for products, bias in itertools.product(("float32", *(ROUNDING if dtype == "float32" else ())), (True, False)):
        yield output_source((*names, "identity"), "squared", dtype, products, bias=bias)[1]
    learned = [f"parametric({name})" for name in names if name != "softmax"]
    yield output_source((*learned, "identity"), "squared", dtype, "float32", bias=True)[1]
    for name, bias in itertools.product(names, (True, False)):
        yield output_source((name,), "squared", dtype, "float32", bias=bias)[1]
    for (loss, output), bias, weighted, wanted in itertools.product(PAIRS, *[(True, False)] * 3):
        how = {"weighted": weighted, "outputs_wanted": wanted}
        yield output_source((output,), loss, dtype, "float32", bias=bias, **how)[1]
    yield member_source((*names, "identity"), "squared", dtype, "float32")[1]
    for (loss, output), weighted in itertools.product(PAIRS, (True, False)):
        yield member_source((output,), loss, dtype, "float32", weighted=weighted, outputs_wanted=not weighted)[1]


def small_networks(names, dtype):
    """Yield the sources of small networks, with options that change in turn."""
    choices = (names, names[5:] + names[:5], EVERY_OPTIMIZER, (0.0, 0.1, 0.1), ("sum", "mean", "mean", "sum", "sum"))
    booleans = ((False, True, True, False), (True, True, True, False, False, True, False), (False, False, True))
    turns = map(itertools.cycle, (*choices, *booleans))
    for (loss, output), one, other, optimizer, l2, reduction, weighted, bias, drops in zip(PAIRS, *turns, strict=False):
        network = Network((3, 4, 5, 2), (one, other), output_activation=output, loss=loss, bias=bias)
        options = {"l2": l2, "reduction": reduction, "weighted": weighted, "drops": drops}
        yield from sources_of(network, dtype, optimizer, **options)
    for sizes, loss in (((6, 2, 1), "squared"), ((20, 64, 64, 2), "cross_entropy"), ((64, 32, 10), "cross_entropy")):
        yield from sources_of(Network(sizes, "relu", loss=loss), dtype)
    update = update_code(adam(), dtype, state_of_one_network)
    for name in ("relu", "gelu", "softmax"):  # with tiles of all sides
        objective = Objective(Network((20, 64, 64, 2), name, loss="cross_entropy"), l2=0.1)
        yield small_network_source(objective, update, dtype, weighted=True, clipped=name == "gelu", size=64)


def kernels_of(source):
    """Split a source; return what is before its kernels, and the text of each kernel by its family."""
    pieces = re.split(r'^(?=extern "C" __global__ )', source, flags=re.MULTILINE)
    return pieces[0], [(re.search(r"void (\w+?)(?:_\d+)?\(", piece)[1], piece) for piece in pieces[1:]]


@pytest.fixture(scope="module")
def kernels():
    """All kernels by precision: what is before them, and the family of each."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ACTIVATIONS, "users_own", USERS_ACTIVATION)
        names = (*ACTIVATION_NAMES, "users_own")
        for dtype, (form, operations) in itertools.product(
            DTYPES, {layer_by_layer: 0.0, forward_passes: 0.0, small_networks: np.inf}.items()
        ):
            patch.setattr(cuda_epoch, "MAX_OPERATIONS_OF_ONE_BLOCK", operations)
            for source in form(names, dtype):
                head, pieces = kernels_of(source)
                found.setdefault((dtype, head), {}).update({text: family for family, text in pieces})
    return found


@pytest.fixture(scope="module")
def usages(kernels, request):
    """What the kernels use: by family and precision, on each architecture."""
    if why_not := nvrtc.absence():
        (pytest.fail if request.config.getoption("--require-nvrtc") else pytest.skip)(why_not)
    jobs = []
    for (dtype, head), families in kernels.items():
        texts = list(families.items())
        for begin in range(0, len(texts), KERNELS_OF_A_SOURCE):
            some = enumerate(texts[begin : begin + KERNELS_OF_A_SOURCE])
            renamed = (re.sub(r"void \w+\(", f"void {family}__{k}(", text, count=1) for k, (text, family) in some)
            source = head + "".join(renamed)
            jobs += [(dtype, source, architecture) for architecture in nvrtc.ARCHITECTURES]
    found = defaultdict(list)
    reports = nvrtc.compiled_together([job[1:] for job in jobs], request.config.cache)
    for (dtype, *_), report in zip(jobs, reports, strict=True):
        for name, usage in report.items():
            found[name.partition("__")[0], dtype].append(usage)
    return found


# --- what is true of them ---


def test_kernels_are_those_of_the_table(kernels):
    assert {family for families in kernels.values() for family in families.values()} == {*LIMITS}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_users_functions_use_every_operation(kernels, dtype):
    text = "".join(text for (precision, _), families in kernels.items() if precision == dtype for text in families)
    missing = [name for name in functions_of_c(dtype).values() if f" {name}(" not in text and f"({name}(" not in text]
    assert not missing, f"give _every_operation {missing}"


def blocks(registers):
    """Return how many blocks fit on a multiprocessor; registers are given out in eights."""
    return REGISTERS // (THREADS * 8 * -(-registers // 8))


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the first one compiles all sources: about 130 s of CPU time
@pytest.mark.parametrize(
    ("family", "dtype"), [(family, dtype) for family in LIMITS for dtype in DTYPES if getattr(LIMITS[family], dtype)]
)
class TestUsage:
    def test_registers(self, usages, family, dtype):
        most = max(usage.registers for usage in usages[family, dtype])
        limit = getattr(LIMITS[family], dtype)
        assert most <= limit, (
            f"{family} uses {most} registers in {dtype}: {blocks(most)} blocks fit, not {blocks(limit)}"
        )
        assert blocks(most) == blocks(limit), f"lower the limit: {family} uses only {most} registers in {dtype}"

    def test_nothing_is_spilled(self, usages, family, dtype):
        assert {usage.spilled for usage in usages[family, dtype]} == {0}

    def test_shared_memory_is_that_of_the_launch(self, usages, family, dtype):
        assert {usage.shared for usage in usages[family, dtype]} == {0}

    def test_double_precision(self, usages, family, dtype):
        found = set().union(*(usage.float64 for usage in usages[family, dtype]))
        assert dtype == "float64" or found == LIMITS[family].operations


KERNEL = 'extern "C" __global__ void one({parameters}) {{\n    const int i = threadIdx.x;\n    {body}\n}}\n'
ARRAY = "float* x"


def compiled(body, parameters=ARRAY):
    return nvrtc.compiled(KERNEL.format(parameters=parameters, body=body), "sm_90")["one"]


@pytest.mark.slow
@pytest.mark.usefixtures("usages")  # skipped, or failed, where these are
class TestFaultsAreSeen:
    def test_double_precision(self):
        assert compiled("x[i] = x[i] * 0.1f;").float64 == []
        assert compiled("x[i] = x[i] * 0.1;").float64 == ["mul"]
        assert compiled("x[i] = (float)x[i] + (float)(double)i;").float64 == []  # converted, but not computed

    def test_double_precision_in_a_function_that_is_called(self):
        function = "__device__ __noinline__ double twice(double x) { return x * x * 0.1; }\n"
        source = function + KERNEL.format(parameters=ARRAY, body="x[i] = (float)twice(x[i]);")
        assert nvrtc.compiled(source, "sm_90")["one"].float64 == ["mul"]

    def test_spilled_registers(self):
        sums = "float s[64]; for (int k = 0; k < 64; ++k) s[k] = x[k * i];\n#pragma unroll\n"
        body = sums + "for (int n = 0; n < 9; ++n) for (int k = 0; k < 64; ++k) s[k] += s[(k * 7 + n) % 64] * s[k];\n"
        body += "for (int k = 0; k < 64; ++k) x[k] = s[k];"
        source = KERNEL.format(parameters=ARRAY, body=body)
        assert nvrtc.compiled(source, "sm_90")["one"].spilled == 0
        bounded = source.replace("void one", "void __launch_bounds__(1024, 2) one")  # 32 registers for a thread
        usage = nvrtc.compiled(bounded, "sm_90")["one"]
        assert usage.registers <= 32
        assert usage.spilled > 0

    def test_shared_memory(self):
        body = "__shared__ float s[64]; s[i] = x[i]; __syncthreads(); x[i] = s[63 - i];"
        assert compiled(body).shared == 256

    @pytest.mark.parametrize("body", ["x[i] = y;", "x[i] = 0; int n = 0;"], ids=["an error", "a warning"])
    def test_messages(self, body):
        with pytest.raises(ValueError, match=r"for sm_90: kernels.cu\(3\)"):
            compiled(body)
