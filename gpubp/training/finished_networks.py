"""Networks of a stack that are done: they keep their parameters and leave, while the others go on."""

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
"""Which part of a stack must be done for it to be made smaller; until then those that are done are trained along."""


def retire_finished(
    plan: Plan, stack: StackState, model: ModelState, progress: Progress, outputs: Array | None
) -> Plan:
    """Record which networks are done; where many are, remove them and return the plan for the rest."""
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
    model.theta, model.state, stack.active = some.theta, some.state, active  # all of them, or with Ctrl-C none
    return smaller


def plan_for_active(plan: Plan, stack: StackState) -> Plan:
    """Return the plan for the networks that are active in a run that is resumed."""
    if stack.active is None or len(stack.active) == len(stack.done):
        return plan
    assert plan.plan_for_some is not None
    return plan.plan_for_some(np.isin(np.arange(len(stack.done)), stack.active))


def _checked(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Bring what ``stop_when`` returned to the host."""
    done = np.asarray(to_numpy(result) if hasattr(result, "shape") else result)
    if done.shape != shape or done.dtype != bool:
        raise DataError(
            f"stop_when must return for each network whether it is done, {shape} of bool as gpubp.all_correct does; "
            f"got {done.shape} of {done.dtype}"
        )
    return done
