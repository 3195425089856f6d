"""The generated C of the engine: it is up to date, and has every activation, loss and optimizer."""

import re
from pathlib import Path

import pytest

from gpubp.engine.cpu.generate import AT_TOTAL_INPUTS, COMMAND, generated
from gpubp.engine.cpu.settings import with_factors
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.optim.wrappers import DECAY_FACTORS, RATE_FACTORS
from tests.registries import assert_same_names

pytestmark = pytest.mark.once

# the wheel has no sources in C
PATH = Path(__file__).parents[2] / "gpubp" / "engine" / "cpu" / "c" / "generated" / "functions.h"

WRAPPERS = ("", "decayed ", "rate-scaled ", "rate-scaled decayed ")


def of_decay(name):
    if "weight_decay" not in OPTIMIZERS[name]().settings:
        return ()
    return tuple(f"{scaled}decay-scaled {wrapper}" for scaled in ("", "rate-scaled ") for wrapper in ("", "decayed "))


@pytest.fixture
def committed():
    return PATH.read_text(encoding="utf-8")


def test_the_committed_text_is_up_to_date():
    assert PATH.read_bytes() == generated().encode(), (
        f"{PATH} is not what gpubp/nn and gpubp/optim give; to fix it: {COMMAND}"
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("value", [*ACTIVATIONS]),
        ("derivative", [*ACTIVATIONS]),
        ("loss", [*LOSSES, *(name + AT_TOTAL_INPUTS for name in LOSSES if get_loss(name).at_total_inputs is not None)]),
        ("update", [f"{wrapper}{name}" for name in OPTIMIZERS for wrapper in (*WRAPPERS, *of_decay(name))]),
    ],
)
def test_every_name_has_a_row(committed, kind, names):
    rows = re.findall(rf'^    {{"{kind} ([^"]+)"', committed, re.MULTILINE)
    assert_same_names({"the registry": names, f"rows of {PATH.name}": rows})


def test_softmax_takes_its_exponentials_in_one_loop(committed):
    """Within the loop over the units of a sample, a compiler would call one function after the other."""
    for name in ("value_softmax", "loss_cross_entropy_at_total_inputs"):
        body = committed[committed.index(f" {name}(") :].partition("\n}\n")[0]
        (loop,) = re.findall(r"for \(integer i = 0; i < (\w+); \+\+i\) {\n[^}]*real_exp", body)
        assert loop == "columns"
        assert "] / over_units" not in body  # one division for each sample


@pytest.mark.parametrize("rates", [(), (RATE_FACTORS,)])
@pytest.mark.parametrize("decay", [(), (DECAY_FACTORS,)])
def test_functions_are_named_by_their_factors(rates, decay):
    name = "rate-scaled " * len(rates) + "decay-scaled " * len(decay) + "adamw"
    assert with_factors(OPTIMIZERS["adamw"](), (*rates, *decay)).name == name


def test_parameters_that_are_not_used_are_marked(committed):
    """Compilers warn of others."""
    functions = re.findall(r"^static \w+ \w+\(([^)]*)\) {\n(.*?)^}", committed, re.MULTILINE | re.DOTALL)
    assert len(functions) > 50
    for parameters, body in functions:
        names, marked = re.findall(r"(\w+)(?:,|$)", parameters), re.findall(r"\(void\)(\w+);", body)
        assert marked == [name for name in names if not re.search(rf"(?<!\(void\))\b{name}\b", body)]
