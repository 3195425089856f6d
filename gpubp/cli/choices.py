"""The names that options take, for completion."""

from typing import get_args

from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.cli.train.options import LEARNING_RATES, PARALLEL, PRESETS
from gpubp.data.datasets import DATASETS
from gpubp.data.preprocessing import CategoryEncoding, NumberEncoding
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.optim.second_order import METHODS
from gpubp.paper.studies import STUDIES

SHELLS = ("bash", "zsh", "fish")

_ARGUMENTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("train", "data"): tuple(DATASETS),
    ("reproduce", "names"): tuple(STUDIES),
    ("completion", "shell"): SHELLS,
}

_CHOICES: dict[str, tuple[str, ...]] = {
    "task": ("auto", "classification", "regression"),
    "preset": PRESETS,
    "schedule": LEARNING_RATES,
    "numbers": get_args(NumberEncoding),
    "categories": get_args(CategoryEncoding),
    "activation": tuple(ACTIVATIONS),
    "loss": tuple(LOSSES),
    "optimizer": (*OPTIMIZERS, *METHODS),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("float32", "float64"),
    "matmul_precision": tuple(MATMUL_PRECISIONS),
    "class_weight": ("balanced",),
    "parallel": PARALLEL,
    "batch_size": ("auto", "full"),
}


def choices_of(command: str, name: str) -> tuple[str, ...]:
    """Return the names that an option or argument of a command takes, without "(" of a parameter; often none.

    Examples
    --------
    >>> choices_of("train", "dtype")
    ('float32', 'float64')
    """
    found = _ARGUMENTS.get((command, name), _CHOICES.get(name, ()))
    return tuple(one for one in found if "(" not in one)
