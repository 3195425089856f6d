"""Make an optimizer from what a model file says of it: its name and settings, composed or scheduled ones too."""

import ast
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gpubp._core.text import excerpt
from gpubp.optim import schedules
from gpubp.optim.first_order import OPTIMIZERS, Optimizer
from gpubp.optim.loss_scaling import loss_scaled
from gpubp.optim.second_order import METHODS, SecondOrder
from gpubp.optim.wrappers import clipped, decayed

_KINDS: dict[str, Callable[..., Optimizer | SecondOrder]] = {**OPTIMIZERS, **METHODS}
_WRAPPERS: dict[str, tuple[Callable[..., Optimizer], tuple[str, ...]]] = {
    "clipped": (clipped, ("max_norm",)),
    "decayed": (decayed, ("shrinkage",)),
    "loss-scaled": (loss_scaled, ()),
}
"""Functions that wrap an optimizer in another, and their settings, by the word before its name."""

_SCHEDULES: dict[str, Callable[..., Any]] = {
    kind.__name__: kind
    for kind in (
        schedules.PiecewiseConstant,
        schedules.InverseScaling,
        schedules.Cosine,
        schedules.FlatCosine,
        schedules.CosineCycles,
        schedules.WarmUp,
    )
}
_MAX_LENGTH = 10_000  # characters of a schedule


class SavedOptimizer(NamedTuple):
    """Parameters of an estimator, and a description of an optimizer that a file cannot hold; "" if it holds all."""

    parameters: dict[str, Any]
    lost: str = ""


def optimizer_in(facts: dict[str, Any]) -> SavedOptimizer:
    """Return the optimizer of a model file, which may be forged.

    Parameters
    ----------
    facts : dict
        ``about["optimizer"]``: the name, and the settings as numbers or as the text of a schedule.

    Examples
    --------
    >>> optimizer_in({"name": "adam", "learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8})
    SavedOptimizer(parameters={'optimizer': 'adam', 'learning_rate': 0.01}, lost='')
    >>> optimizer_in({"name": "clipped adam", "max_norm": 1.0}).parameters["optimizer"].name
    'clipped adam'
    """
    settings = dict(facts)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        return SavedOptimizer({})
    *wrappers, kind = name.split(" ")
    plain = {"optimizer": kind} if kind in _KINDS else {}
    try:
        optimizer = _made(wrappers, kind, {key: _setting(value) for key, value in settings.items()})
    except (LookupError, TypeError, ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        shown = ", ".join(f"{key} {value}" for key, value in settings.items())
        return SavedOptimizer(plain, excerpt(f"{name}, {shown}", 200))
    default, rate = _KINDS[kind](), settings.get("learning_rate")
    has_default_settings = {**optimizer.settings, "learning_rate": rate} == {**default.settings, "learning_rate": rate}
    if has_default_settings and not wrappers and not isinstance(rate, str):
        return SavedOptimizer({"optimizer": name, "learning_rate": rate})
    return SavedOptimizer({"optimizer": optimizer})


def _made(wrappers: list[str], kind: str, settings: dict[str, Any]) -> Optimizer | SecondOrder:
    of_wrappers = {name for word in wrappers for name in _WRAPPERS[word][1]}
    optimizer = _KINDS[kind](**{name: value for name, value in settings.items() if name not in of_wrappers})
    for word in reversed(wrappers):
        wrap, names = _WRAPPERS[word]
        optimizer = wrap(optimizer, *(settings[name] for name in names))
    return optimizer


def _setting(value: Any) -> Any:
    """Return a number, or the schedule that a text describes."""
    if type(value) in (int, float):
        return value
    if not isinstance(value, str) or len(value) > _MAX_LENGTH:
        raise ValueError(value)
    schedule = _schedule(ast.parse(value, mode="eval").body)
    if not math.isfinite(schedule(0.0)):
        raise ValueError(value)
    return schedule


def _schedule(node: ast.expr) -> Any:
    """Make a schedule from a call such as ``Cosine(start=0.1, epochs=10)``, of numbers and schedules alone."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        arguments = {str(keyword.arg): _schedule(keyword.value) for keyword in node.keywords}
        return _SCHEDULES[node.func.id](**arguments)
    value = ast.literal_eval(node)
    numbers = [*value, *value.values()] if isinstance(value, dict) else [value]
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError(value)
    return value
