"""Optimizers in the compiled engine: which function updates the parameters, and its numbers in each step."""

import functools
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.backend import to_numpy
from gpubp.engine.tracing.optimizers import UpdateCode, settings_of_steps, update_code
from gpubp.engine.tracing.symbols import Inexpressible
from gpubp.optim.first_order import (
    OPTIMIZERS,
    RATE_FACTORS,
    Optimizer,
    Setting,
    decayed,
    rate_scaled,
    unclipped,
    undecayed,
    unscaled,
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
    factors : (P,) or (K, P) array, optional
        What the changes of the parameters are multiplied by.
    """

    optimizer: Optimizer
    code: UpdateCode
    max_norm: Setting | None
    factors: np.ndarray | None

    @property
    def name(self) -> str:
        """The name of the engine's function."""
        return f"rate-scaled {self.optimizer.name}" if self.code.is_rate_scaled else self.optimizer.name

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


def engine_update(optimizer: Optimizer, dtype: str) -> EngineUpdate | None:
    """Describe an optimizer for the engine; None if it is not in the library."""
    shrinkage, max_norm, factors = None, None, None
    while (inner := undecayed(optimizer) or unclipped(optimizer) or unscaled(optimizer)) is not None:
        if unscaled(optimizer):
            if shrinkage is not None:
                return None  # the library's factors multiply the decay as well
            factors = np.ascontiguousarray(to_numpy(optimizer.settings[RATE_FACTORS]), dtype)
        shrinkage = optimizer.settings["shrinkage"] if undecayed(optimizer) else shrinkage
        max_norm = optimizer.settings["max_norm"] if unclipped(optimizer) else max_norm
        optimizer = inner
    known = OPTIMIZERS[optimizer.name]() if optimizer.name in OPTIMIZERS else None
    if known is None or (optimizer.update, optimizer.init) != (known.update, known.init):
        return None
    code = _code(optimizer.name, dtype, is_decayed=shrinkage is not None, is_rate_scaled=factors is not None)
    if code is None:
        return None
    return EngineUpdate(optimizer if shrinkage is None else decayed(optimizer, shrinkage), code, max_norm, factors)


@functools.cache  # tracing takes about as long as many a short fit
def _code(name: str, dtype: str, *, is_decayed: bool, is_rate_scaled: bool) -> UpdateCode | None:
    optimizer = OPTIMIZERS[name]()
    optimizer = decayed(optimizer, 0.0) if is_decayed else optimizer
    try:
        return update_code(rate_scaled(optimizer, [1.0]) if is_rate_scaled else optimizer, dtype, str)
    except Inexpressible:
        return None
