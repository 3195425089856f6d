"""Optimizers in the compiled engine: which function updates the parameters, and its numbers in each step."""

import functools
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.engine.tracing.optimizers import UpdateCode, settings_of_steps, update_code
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, Setting
from gpubp.optim.wrappers import (
    DECAY_FACTORS,
    RATE_FACTORS,
    decay_scaled,
    decayed,
    rate_scaled,
    unclipped,
    undecayed,
    without_decay_factors,
    without_rate_factors,
)


class EngineUpdate(NamedTuple):
    """An optimizer as the engine has it.

    Attributes
    ----------
    optimizer : Optimizer
        Without clipping, which the engine does itself, and without factors.
    code : UpdateCode
    max_norm : float, (K, 1) array, schedule or None
        The largest norm of a gradient.
    factors : dict of str to (P,) or (K, P) array
        The settings that have a number for each parameter.
    """

    optimizer: Optimizer
    code: UpdateCode
    max_norm: Setting | None
    factors: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """The name of the engine's function."""
        return with_factors(self.optimizer, self.code.factors).name

    @property
    def arrays(self) -> tuple[str, ...]:
        """The fields of the state that are arrays."""
        return self.code.parts

    def settings(self, state: Any, epochs: np.ndarray, dtype: np.dtype, l2: Any) -> np.ndarray:
        """Compute ``(n_steps, n)`` numbers, or ``(K, n_steps, n)`` if those of networks differ.

        They are the optimizer's, the largest norm if the gradient is clipped, and last the strength of the penalty.

        Parameters
        ----------
        state : NamedTuple
            The optimizer's state before the first step.
        epochs : (n_steps,) or (n_steps, K) array
            How many epochs are done before each step.
        l2 : float or (K, 1) array
        """
        more = {"l2": l2} if self.max_norm is None else {"max_norm": self.max_norm, "l2": l2}
        numbers = settings_of_steps(self.code, self.optimizer.settings, state, epochs, more)
        numbers = np.moveaxis(numbers, 1, 0) if numbers.shape[1] > 1 else numbers[:, 0]
        return np.ascontiguousarray(numbers, dtype)

    def after(self, state: Any, n_updates: int) -> Any:
        """Count updates in a state whose arrays have been changed in place."""
        counts = {name: getattr(state, name) + n_updates for name in self.code.counters}
        return state._replace(**counts) if counts else state


FACTORS_OF_ENGINE = ((), (RATE_FACTORS,), (DECAY_FACTORS,), (RATE_FACTORS, DECAY_FACTORS))
"""The factors for which the library has functions; those of the decay only for optimizers with a weight decay."""


def with_factors(optimizer: Optimizer, names: tuple[str, ...]) -> Optimizer:
    """Wrap an optimizer as its function in the library is named, with example factors."""
    if DECAY_FACTORS in names:
        optimizer = decay_scaled(optimizer, [1.0])
    return rate_scaled(optimizer, [1.0]) if RATE_FACTORS in names else optimizer


def engine_update(optimizer: Optimizer, dtype: str) -> EngineUpdate | None:
    """Describe an optimizer for the engine; None if it is not in the library."""
    settings, names = optimizer.settings, (RATE_FACTORS, DECAY_FACTORS)
    factors = {name: np.ascontiguousarray(to_numpy(settings[name]), dtype) for name in names if name in settings}
    inside: Optimizer | None = optimizer
    is_decayed = False
    while inside is not None:
        optimizer = inside
        if is_decayed and without_rate_factors(optimizer):
            return None  # the library's factors multiply this decay as well
        is_decayed = is_decayed or undecayed(optimizer) is not None
        unwrapped = (wrapped(optimizer) for wrapped in _WRAPPED)
        inside = next((one for one in unwrapped if one is not None), None)
    known = OPTIMIZERS[optimizer.name]() if optimizer.name in OPTIMIZERS else None
    if known is None or (optimizer.update, optimizer.init) != (known.update, known.init):
        return None
    code = _code(optimizer.name, dtype, is_decayed=is_decayed, factors=tuple(factors))
    if code is None:
        return None
    optimizer = decayed(optimizer, settings["shrinkage"]) if is_decayed else optimizer
    return EngineUpdate(optimizer, code, settings.get("max_norm"), factors)


_WRAPPED = (undecayed, unclipped, without_rate_factors, without_decay_factors)


@functools.cache  # tracing takes about as long as many a short fit
def _code(name: str, dtype: str, *, is_decayed: bool, factors: tuple[str, ...]) -> UpdateCode | None:
    optimizer = OPTIMIZERS[name]()
    optimizer = decayed(optimizer, 0.0) if is_decayed else optimizer
    try:
        return update_code(with_factors(optimizer, factors), dtype, str)
    except Inexpressible:
        return None
