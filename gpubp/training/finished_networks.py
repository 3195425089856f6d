"""Networks of a stack that are done: they keep their parameters and leave, while the others continue."""

from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.engine.plain.step import ModelState
from gpubp.errors import DataError
from gpubp.training.callbacks import Progress
from gpubp.training.plan import Plan
from gpubp.training.state import StackState, state_of_some

LEAVING_PAYS = 1 / 16
"""The fraction of a stack that must be done before it shrinks; until then, networks that are done are trained too."""


def retire_finished(
    plan: Plan, stack: StackState, model: ModelState, progress: Progress, outputs: Array | None
) -> Plan:
    """Record which networks are done; if they are many, remove them and return the plan for the others."""
    assert plan.stop_when is not None
    if stack.active is None:
        stack.done = _checked(plan.stop_when(progress, outputs), ())
        return plan
    newly = _checked(plan.stop_when(progress, outputs), stack.active.shape) & ~stack.done[stack.active]
    if np.any(newly):
        stack.store(plan.backend, model, newly)
        stack.done[stack.active[newly]] = True
    going_on = ~stack.done[stack.active]
    if plan.plan_for_some is None or not np.any(going_on) or np.mean(going_on) > 1.0 - LEAVING_PAYS:
        return plan
    some, active = state_of_some(plan.backend, model, going_on), stack.active[going_on]
    smaller = plan.plan_for_some(going_on)
    model.theta, model.state, stack.active = some.theta, some.state, active  # in one statement, because of Ctrl-C
    return smaller


def plan_for_active(plan: Plan, stack: StackState) -> Plan:
    """Return the plan for the active networks of a resumed run."""
    if stack.active is None or len(stack.active) == len(stack.done):
        return plan
    assert plan.plan_for_some is not None
    return plan.plan_for_some(np.isin(np.arange(len(stack.done)), stack.active))


def _checked(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check the result of ``stop_when``, and copy it to the host."""
    done = np.asarray(to_numpy(result) if hasattr(result, "shape") else result)
    if done.shape != shape or done.dtype != bool:
        raise DataError(
            f"stop_when must return for each network whether it is done, {shape} of bool as gpubp.all_correct does; "
            f"got {done.shape} of {done.dtype}"
        )
    return done
