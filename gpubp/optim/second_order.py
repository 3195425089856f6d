r"""Methods that use second derivatives, which the paper names as the faster, less local alternative.

Each is a pair of pure functions over the flat parameter array of one network: ``init(xp, theta) -> state`` and
``update(xp, theta, state, problem) -> (theta, state, error)``. One update is one iteration on the full batch; it may
look at the error several times, which is what sets these methods apart from the optimizers of
:mod:`gpubp.optim.first_order`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.errors import DataError


def _not_negative(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.floating) and math.isfinite(value) and value >= 0.0):
        raise DataError(f"{name} must be a finite number from 0 up, got {value!r}")
    return float(value)


class Problem(NamedTuple):
    """What is to be made small: the error with its gradient, and the Gauss-Newton form of its second derivatives."""

    loss_and_gradient: Callable[[Array], tuple[Array, Array]]
    gauss_newton: Callable[[Array], Array]


@dataclass(frozen=True)
class SecondOrder:
    """A method: a name, its settings, whether it needs the squared error, and ``init`` and ``update``."""

    name: str
    settings: Mapping[str, float]
    needs_squared_error: bool
    init: Callable[[Namespace, Array], Any]
    update: Callable[[Namespace, Array, Any, Problem], tuple[Array, Any, Array]]


class Point(NamedTuple):
    """A place in weight space with the error and the gradient there."""

    theta: Array
    error: Array
    gradient: Array


class Curvature(NamedTuple):
    """The last changes of the weights and of the gradient, from which L-BFGS guesses the second derivatives."""

    steps: tuple[Array, ...] = ()
    turns: tuple[Array, ...] = ()
    converged: bool = False


def _no_curvature(xp: Namespace, theta: Array) -> Curvature:
    return Curvature()


def lbfgs(memory: int = 10, tolerance: float = 1e-7) -> SecondOrder:
    """L-BFGS (Liu & Nocedal 1989) with a line search that meets the strong Wolfe conditions.

    Parameters
    ----------
    memory : int
        How many past changes are kept.
    tolerance : float
        Training has converged when no part of the gradient is larger.
    """
    if not (isinstance(memory, int) and memory >= 1):
        raise DataError(f"memory must be 1 or more, a whole number, got {memory!r}")
    tolerance = _not_negative("tolerance", tolerance)
    return SecondOrder(
        "lbfgs",
        {"memory": memory, "tolerance": tolerance},
        False,
        _no_curvature,
        partial(_lbfgs, memory=memory, tolerance=tolerance),
    )


def _lbfgs(
    xp: Namespace, theta: Array, state: Curvature, problem: Problem, *, memory: int, tolerance: float
) -> tuple[Array, Curvature, Array]:
    here = Point(theta, *problem.loss_and_gradient(theta))
    if float(xp.max(xp.abs(here.gradient))) <= tolerance:
        return theta, state._replace(converged=True), here.error
    direction = -_inverse_hessian_times(xp, here.gradient, state)
    first_step = 1.0 if state.steps else min(1.0, 1.0 / float(xp.sum(xp.abs(here.gradient))))
    there = wolfe_search(xp, here, direction, problem.loss_and_gradient, first_step)
    if there is None:
        # the remembered curvature misleads: forget it, and give up only where there is nothing to forget
        return theta, Curvature(converged=not state.steps), here.error
    step, turn = there.theta - here.theta, there.gradient - here.gradient
    if float(xp.sum(step * turn)) > 0.0:
        state = Curvature((*state.steps, step)[-memory:], (*state.turns, turn)[-memory:])
    return there.theta, state, there.error


def _inverse_hessian_times(xp: Namespace, gradient: Array, state: Curvature) -> Array:
    """Apply the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4)."""
    q, parts = gradient, []
    for step, turn in zip(reversed(state.steps), reversed(state.turns), strict=True):
        part = xp.sum(step * q) / xp.sum(step * turn)
        q = q - part * turn
        parts.append(part)
    if state.steps:
        step, turn = state.steps[-1], state.turns[-1]
        q = q * (xp.sum(step * turn) / xp.sum(turn * turn))
    for step, turn, part in zip(state.steps, state.turns, reversed(parts), strict=True):
        q = q + step * (part - xp.sum(turn * q) / xp.sum(step * turn))
    return q


def wolfe_search(
    xp: Namespace,
    here: Point,
    direction: Array,
    loss_and_gradient: Callable[[Array], tuple[Array, Array]],
    first_step: float = 1.0,
    *,
    decrease: float = 1e-4,
    flatness: float = 0.9,
    evaluations: int = 25,
) -> Point | None:
    """Search along a direction for a point that meets the strong Wolfe conditions (Nocedal & Wright 2006, section 3.1).

    The step grows while the error still falls steeply, and is cut by bisection once it is known to be too long.

    Returns
    -------
    Point or None
        The best point that lowers the error enough; None where there is none.
    """
    start, slope = float(here.error), float(xp.sum(here.gradient * direction))
    if not slope < 0.0:
        return None
    shortest, longest, step, best = 0.0, math.inf, first_step, None
    for _ in range(evaluations):
        theta = here.theta + step * direction
        there = Point(theta, *loss_and_gradient(theta))
        error, new_slope = float(there.error), float(xp.sum(there.gradient * direction))
        if not error <= start + decrease * step * slope:  # also where the error is not a number
            longest = step
        else:
            if best is None or error < float(best.error):
                best = there
            if abs(new_slope) <= -flatness * slope:
                return there
            if new_slope < 0.0:
                shortest = step
            else:
                longest = step
        step = 2.0 * step if longest == math.inf else 0.5 * (shortest + longest)
    return best


class Damping(NamedTuple):
    """How far Levenberg-Marquardt leans towards plain descent."""

    damping: float
    converged: bool = False


def _first_damping(xp: Namespace, theta: Array, *, damping: float) -> Damping:
    return Damping(damping)


def levenberg_marquardt(damping: float = 1e-3, factor: float = 10.0, tolerance: float = 1e-10) -> SecondOrder:
    r"""Levenberg-Marquardt for small networks with the squared error (Marquardt 1963; Hagan & Menhaj 1994).

    :math:`\Delta\theta = -(H + \lambda I)^{-1} \, \partial E / \partial \theta` with the Gauss-Newton form
    :math:`H = \sum_c J_c^T J_c`. The damping :math:`\lambda` is divided by ``factor`` after a change that lowers the
    error, and multiplied by it until one does. Memory grows with the square of the parameters, and with parameters
    times samples.

    Parameters
    ----------
    damping : float
        The first lambda.
    factor : float
    tolerance : float
        Training has converged when no part of the gradient is larger.
    """
    damping, tolerance = _not_negative("damping", damping), _not_negative("tolerance", tolerance)
    if not (isinstance(factor, int | float | np.floating) and math.isfinite(factor) and factor > 1.0):
        raise DataError(f"factor must be a finite number above 1, got {factor!r}")
    return SecondOrder(
        "levenberg_marquardt",
        {"damping": damping, "factor": factor, "tolerance": tolerance},
        True,
        partial(_first_damping, damping=damping),
        partial(_levenberg_marquardt, factor=float(factor), tolerance=tolerance),
    )


def _levenberg_marquardt(
    xp: Namespace, theta: Array, state: Damping, problem: Problem, *, factor: float, tolerance: float
) -> tuple[Array, Damping, Array]:
    error, gradient = problem.loss_and_gradient(theta)
    if float(xp.max(xp.abs(gradient))) <= tolerance:
        return theta, state._replace(converged=True), error
    curvature = problem.gauss_newton(theta)
    unit = xp.eye(theta.shape[-1], dtype=theta.dtype, device=array_api_compat.device(theta))
    # below this the damping is lost in rounding, and a singular curvature stays singular
    damping = max(state.damping, 4.0 * float(xp.finfo(theta.dtype).eps) * float(xp.max(xp.abs(curvature))))
    while damping < 1e16:
        shifted = theta - xp.linalg.solve(curvature + damping * unit, gradient[:, None])[:, 0]
        new_error, _ = problem.loss_and_gradient(shifted)
        if float(new_error) < float(error):
            return shifted, Damping(max(damping / factor, 1e-15)), new_error
        damping *= factor
    return theta, Damping(state.damping, converged=True), error


METHODS: dict[str, Callable[..., SecondOrder]] = {"lbfgs": lbfgs, "levenberg_marquardt": levenberg_marquardt}
