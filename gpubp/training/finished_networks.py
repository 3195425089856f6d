"""Networks of a stack that are done: they keep their parameters and leave, while the others continue."""

from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.engine.plain.step import ModelState
from gpubp.errors import DataError
from gpubp.training.callbacks import Progress
from gpubp.training.plan import Plan
from gpubp.training.state import StackState, select_states

MIN_DONE_FRACTION = 1 / 16
"""The fraction of a stack that must be done before it shrinks; until then, networks that are done are trained too."""


def retire_finished(
    plan: Plan, stack: StackState, model: ModelState, progress: Progress, outputs: Array | None
) -> Plan:
    """Record which networks are done; if they are many, remove them and return the plan for the others."""
    assert plan.stop_when is not None
    if stack.active is None:
        stack.done = _check_done(plan.stop_when(progress, outputs), ())
        return plan
    newly_done = _check_done(plan.stop_when(progress, outputs), stack.active.shape) & ~stack.done[stack.active]
    if np.any(newly_done):
        stack.store(plan.backend, model, newly_done)
        stack.done[stack.active[newly_done]] = True
    continues = ~stack.done[stack.active]
    if plan.plan_for_subset is None or not np.any(continues) or np.mean(continues) > 1.0 - MIN_DONE_FRACTION:
        return plan
    selected, active = select_states(plan.backend, model, continues), stack.active[continues]
    smaller = plan.plan_for_subset(continues)
    # one statement, which Ctrl-C cannot interrupt halfway
    model.theta, model.state, stack.active = selected.theta, selected.state, active
    return smaller


def plan_for_active(plan: Plan, stack: StackState) -> Plan:
    """Return the plan for the active networks of a resumed run."""
    if stack.active is None or len(stack.active) == len(stack.done):
        return plan
    assert plan.plan_for_subset is not None
    return plan.plan_for_subset(np.isin(np.arange(len(stack.done)), stack.active))


def _check_done(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check the result of ``stop_when``, and copy it to the host."""
    done = np.asarray(to_numpy(result) if hasattr(result, "shape") else result)
    if done.shape != shape or done.dtype != bool:
        raise DataError(
            f"stop_when must return for each network whether it is done, {shape} of bool as gpubp.all_correct does; "
            f"got {done.shape} of {done.dtype}"
        )
    return done
