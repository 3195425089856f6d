r"""Second-order optimizers: L-BFGS and Levenberg-Marquardt, on the full batch of one network.

Each is a pair of pure functions of the flat parameter array ``theta``, ``(P,)``:

- ``init(xp, theta) -> state``
- ``update(xp, theta, state, problem) -> (theta, state, loss)``

One update is one iteration. Unlike the optimizers in :mod:`gpubp.optim.first_order` it may evaluate the loss several
times.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import Range
from gpubp._typing import Array, Namespace
from gpubp.errors import DataError


def _checked(name: str, value: float, allowed: Range) -> float:
    if value not in allowed:
        raise DataError(f"{name} must be a finite number, {allowed}, got {value!r:.80}")
    return float(value)


class Problem(NamedTuple):
    """The loss to minimize.

    Attributes
    ----------
    loss_and_gradient : callable
        Returns the loss and its gradient at given parameters.
    gauss_newton : callable
        Returns the Gauss-Newton approximation of the Hessian, (P, P), at given parameters.
    solve : callable, optional
        :func:`damped_solution`, compiled, without its namespace.
    """

    loss_and_gradient: Callable[[Array], tuple[Array, Array]]
    gauss_newton: Callable[[Array], Array]
    solve: Callable[..., Array] | None = None


@dataclass(frozen=True)
class SecondOrder:
    """A second-order optimizer: a name, its settings, and the pure functions ``init`` and ``update``."""

    name: str
    settings: Mapping[str, float]
    needs_squared_loss: bool
    init: Callable[[Namespace, Array], Any]
    update: Callable[[Namespace, Array, Any, Problem], tuple[Array, Any, Array]]


class Point(NamedTuple):
    """Parameters, (P,), with their loss and its gradient."""

    theta: Array
    loss: Array
    gradient: Array


class Curvature(NamedTuple):
    """The last changes of the parameters and of the gradient, (P,) each, from which L-BFGS estimates the Hessian."""

    theta_changes: tuple[Array, ...] = ()
    gradient_changes: tuple[Array, ...] = ()
    converged: bool = False


def _no_curvature(xp: Namespace, theta: Array) -> Curvature:
    return Curvature()


def lbfgs(memory: int = 10, tolerance: float = 1e-7) -> SecondOrder:
    r"""L-BFGS (Liu & Nocedal 1989) with a line search for the strong Wolfe conditions.

    :math:`\Delta\theta = -\alpha H^{-1} \, \partial E / \partial \theta`, where the last changes of parameters and
    gradient give an estimate of the inverse Hessian, and the line search gives :math:`\alpha`.

    Parameters
    ----------
    memory : int
        The number of past changes that are used.
    tolerance : float
        Training has converged when no component of the gradient is larger.

    Examples
    --------
    >>> lbfgs(memory=5).settings
    {'memory': 5, 'tolerance': 1e-07}
    """
    if not is_count(memory):
        raise DataError(f"memory must be a whole number, 1 or more, got {memory!r}")
    tolerance = _checked("tolerance", tolerance, Range(0))
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
    start_point = Point(theta, *problem.loss_and_gradient(theta))
    direction = _direction(xp, start_point.gradient, state)
    largest = xp.max(xp.abs(start_point.gradient))
    slope = _dot(xp, start_point.gradient, direction)
    on_host = _numbers(xp, largest, slope, start_point.loss)
    if on_host[0] <= tolerance:
        return theta, state._replace(converged=True), start_point.loss
    first_step = 1.0 if state.theta_changes else min(1.0, 1.0 / float(xp.sum(xp.abs(start_point.gradient))))
    point = wolfe_search(
        xp, start_point._replace(loss=on_host[2]), direction, problem.loss_and_gradient, first_step, slope=on_host[1]
    )
    if point is None:
        # start again without the past changes; without any, training has converged
        return theta, Curvature(converged=not state.theta_changes), start_point.loss
    step, gradient_change = point.theta - start_point.theta, point.gradient - start_point.gradient
    if float(_dot(xp, step, gradient_change)) > 0.0:
        state = Curvature((*state.theta_changes, step)[-memory:], (*state.gradient_changes, gradient_change)[-memory:])
    return point.theta, state, point.loss


def _direction(xp: Namespace, gradient: Array, state: Curvature) -> Array:
    """Multiply a gradient by minus the estimated inverse Hessian: the two-loop recursion (Nocedal & Wright 2006)."""
    q, parts = -gradient, []  # q is changed in place
    pairs = list(zip(state.theta_changes, state.gradient_changes, strict=True))
    curvatures = [_dot(xp, step, gradient_change) for step, gradient_change in pairs]
    for (step, gradient_change), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        parts.append(_dot(xp, step, q) / curvature)
        q -= parts[-1] * gradient_change
    if pairs:
        _, gradient_change = pairs[-1]
        q *= curvatures[-1] / _dot(xp, gradient_change, gradient_change)
    for (step, gradient_change), curvature, part in zip(pairs, curvatures, reversed(parts), strict=True):
        q += (part - _dot(xp, gradient_change, q) / curvature) * step
    return q


def _dot(xp: Namespace, a: Array, b: Array) -> Array:
    """Multiply two vectors."""
    return a.dot(b) if isinstance(a, np.ndarray) else xp.sum(a * b)  # only NumPy's needs no memory for the products


def _numbers(xp: Namespace, *numbers: Array) -> list[float]:
    """Return numbers on the host; those of a device are copied at once, since each copy waits for the device."""
    if isinstance(numbers[0], np.generic | np.ndarray):
        return [float(number) for number in numbers]
    joined = xp.stack(numbers)
    on_host = joined.tolist() if hasattr(joined, "tolist") else joined
    return [float(on_host[i]) for i in range(len(numbers))]


def wolfe_search(
    xp: Namespace,
    start_point: Point,
    direction: Array,
    loss_and_gradient: Callable[[Array], tuple[Array, Array]],
    first_step: float = 1.0,
    *,
    slope: float | None = None,
    decrease: float = 1e-4,
    flatness: float = 0.9,
    evaluations: int = 25,
) -> Point | None:
    """Search along a direction for a point that meets the strong Wolfe conditions (Nocedal & Wright 2006, section 3.1).

    The step is doubled while the loss still falls steeply, and bisected once it is too long.

    Parameters
    ----------
    start_point : Point
    direction : (P,) array
    loss_and_gradient : callable
        Returns the loss and its gradient at given parameters.
    first_step : float
        As a fraction of ``direction``.
    slope : float, optional
        That of the loss along the direction, if it is known.
    decrease, flatness : float
        The constants of the two conditions.
    evaluations : int
        The largest number of evaluations of the loss.

    Returns
    -------
    Point or None
        The best point that lowers the loss enough; None if no point does.
    """
    start_loss = float(start_point.loss)
    if slope is None:
        slope = float(_dot(xp, start_point.gradient, direction))
    if not slope < 0.0:
        return None
    lower, upper, step, best, lowest = 0.0, math.inf, first_step, None, math.inf
    for _ in range(evaluations):
        theta = start_point.theta + step * direction
        point = Point(theta, *loss_and_gradient(theta))
        new_slope, loss = _numbers(xp, _dot(xp, point.gradient, direction), point.loss)
        if not loss <= start_loss + decrease * step * slope:  # also if the loss is NaN
            upper = step
        else:
            if loss < lowest:
                best, lowest = point, loss
            if abs(new_slope) <= -flatness * slope:
                return point
            if new_slope < 0.0:
                lower = step
            else:
                upper = step
        step = 2.0 * step if upper == math.inf else 0.5 * (lower + upper)
    return best


class Damping(NamedTuple):
    """The damping of Levenberg-Marquardt."""

    damping: float
    converged: bool = False


def _first_damping(xp: Namespace, theta: Array, *, damping: float) -> Damping:
    return Damping(damping)


def levenberg_marquardt(damping: float = 1e-3, factor: float = 10.0, tolerance: float = 1e-10) -> SecondOrder:
    r"""Levenberg-Marquardt for small networks with the squared loss (Marquardt 1963; Hagan & Menhaj 1994).

    :math:`\Delta\theta = -(H + \lambda I)^{-1} \, \partial E / \partial \theta` with the Gauss-Newton form
    :math:`H = \sum_c J_c^T J_c` over the samples c. The damping :math:`\lambda` is multiplied by ``factor`` until a
    change lowers the loss, and then divided by it. Memory grows with the square of the number of parameters, and with
    parameters times samples.

    Parameters
    ----------
    damping : float
        The initial :math:`\lambda`.
    factor : float
    tolerance : float
        Training has converged when no component of the gradient is larger.

    Examples
    --------
    >>> levenberg_marquardt(damping=0.01).settings["damping"]
    0.01
    """
    damping, tolerance = _checked("damping", damping, Range(0)), _checked("tolerance", tolerance, Range(0))
    factor = _checked("factor", factor, Range(1, includes_low=False))
    return SecondOrder(
        "levenberg_marquardt",
        {"damping": damping, "factor": factor, "tolerance": tolerance},
        True,
        partial(_first_damping, damping=damping),
        partial(_levenberg_marquardt, factor=factor, tolerance=tolerance),
    )


def _levenberg_marquardt(
    xp: Namespace, theta: Array, state: Damping, problem: Problem, *, factor: float, tolerance: float
) -> tuple[Array, Damping, Array]:
    loss, gradient = problem.loss_and_gradient(theta)
    if float(xp.max(xp.abs(gradient))) <= tolerance:
        return theta, state._replace(converged=True), loss
    curvature = problem.gauss_newton(theta)
    solve = problem.solve or partial(damped_solution, xp)
    # a smaller damping would be lost in rounding, and a singular matrix would stay singular
    damping = max(state.damping, 4.0 * float(xp.finfo(theta.dtype).eps) * float(xp.max(xp.abs(curvature))))
    while damping < 1e16:
        shifted = theta - solve(curvature, gradient, damping)
        new_loss, _ = problem.loss_and_gradient(shifted)
        if float(new_loss) < float(loss):
            return shifted, Damping(max(damping / factor, 1e-15)), new_loss
        damping *= factor
    return theta, Damping(state.damping, converged=True), loss


def damped_solution(xp: Namespace, curvature: Array, gradient: Array, damping: float) -> Array:
    r"""Solve :math:`(H + \lambda I)\, x = \partial E / \partial \theta`: (P,)."""
    identity = xp.eye(gradient.shape[-1], dtype=gradient.dtype, device=array_api_compat.device(gradient))
    solution: Array = xp.linalg.solve(curvature + damping * identity, gradient[:, None])[:, 0]
    return solution


METHODS: dict[str, Callable[..., SecondOrder]] = {"lbfgs": lbfgs, "levenberg_marquardt": levenberg_marquardt}
