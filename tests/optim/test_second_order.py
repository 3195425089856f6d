"""Second-order optimizers: L-BFGS, its line search, and Levenberg-Marquardt."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective, gauss_newton, make_step, objective_and_gradient
from gpubp.errors import DataError
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import gradient_descent
from gpubp.optim.second_order import Point, Problem, lbfgs, levenberg_marquardt, wolfe_search
from gpubp.training.fit import train

pytestmark = pytest.mark.usefixtures("double")
DECREASE, FLATNESS = 1e-4, 0.9


def minimise(xp, method, theta, problem, updates):
    """Update until converged; return all losses, including that before the first update."""
    state = method.init(xp, theta)
    errors = [float(problem.loss_and_gradient(theta)[0])]
    for _ in range(updates):
        theta, state, error = method.update(xp, theta, state, problem)
        errors.append(float(error))
        if state.converged:
            break
    return theta, state, errors


def banana(xp, theta):
    """Rosenbrock's valley in four dimensions, with its gradient."""
    a, b = theta[:-1], theta[1:]
    steep, gentle = b - a**2, 1.0 - a
    zero = xp.zeros_like(theta[:1])
    gradient = xp.concat([-400.0 * a * steep - 2.0 * gentle, zero]) + xp.concat([zero, 200.0 * steep])
    return xp.sum(100.0 * steep**2 + gentle**2), gradient


def regression(network, mean=False, l2=0.0, samples=40, seed=0, weighted=False):
    """Return an objective with smooth data for a network, and the initial parameters."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, network.sizes[0]))
    targets = np.sin(x @ rng.normal(size=(network.sizes[0], network.sizes[-1]))) + 0.1 * rng.normal(
        size=(samples, network.sizes[-1])
    )
    weights = rng.uniform(0.1, 3.0, samples) if weighted else None
    return (
        Objective(network, "mean" if mean else "sum", l2),
        Batch(x, targets, weights),
        initial_weights(network, seed, dtype="float64"),
    )


def problem_on(backend, objective, batch):
    mask = to_backend(backend, objective.network.weight_mask(), "float64")
    batch = Batch(*(None if part is None else to_backend(backend, part) for part in batch[:3]))
    return Problem(
        lambda theta: objective_and_gradient(backend.xp, objective, mask, theta, batch),
        lambda theta: gauss_newton(backend.xp, objective, mask, theta, batch),
    )


def solve_on(device, method, objective, batch, theta, updates):
    backend = choose_backend(device)
    theta, state, errors = minimise(
        backend.xp, method, to_backend(backend, theta), problem_on(backend, objective, batch), updates
    )
    return to_numpy(theta), state, errors


# --- L-BFGS ---


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_lbfgs_minimises_rosenbrocks_function(device, memory):
    backend = choose_backend(device)
    xp = backend.xp
    theta = to_backend(backend, np.array([-1.2, 1.0, -0.5, 2.0]))
    result, state, errors = minimise(
        xp, lbfgs(memory=memory, tolerance=1e-8), theta, Problem(partial(banana, xp), None), 300
    )
    assert state.converged
    np.testing.assert_allclose(to_numpy(result), 1.0, atol=1e-7)
    assert errors == sorted(errors, reverse=True)
    assert len(state.theta_changes) <= memory


def test_lbfgs_is_faster_than_steepest_descent_with_the_same_search():
    """Without memory each direction is that of steepest descent: hundreds of updates instead of tens."""
    start = np.array([-1.2, 1.0, -0.5, 2.0])
    problem = Problem(partial(banana, np), None)
    _, state, errors = minimise(np, lbfgs(), start, problem, 60)
    assert state.converged

    theta, method = start, lbfgs()
    for _ in range(60):
        theta, _, error = method.update(np, theta, method.init(np, theta), problem)
    assert float(error) > 1e-3 > errors[-1]


def test_lbfgs_directions_are_those_of_the_bfgs_matrix():
    """The two-loop recursion equals the matrix that it represents (Nocedal & Wright 2006, eq. 7.16-7.20)."""
    from gpubp.optim.second_order import Curvature, _direction

    rng = np.random.default_rng(0)
    steps = tuple(rng.normal(size=5) for _ in range(3))
    gradient_changes = tuple(step + 0.2 * rng.normal(size=5) for step in steps)
    inverse = np.eye(5) * (steps[-1] @ gradient_changes[-1]) / (gradient_changes[-1] @ gradient_changes[-1])
    for step, gradient_change in zip(steps, gradient_changes, strict=True):
        rho = 1.0 / (gradient_change @ step)
        left = np.eye(5) - rho * np.outer(step, gradient_change)
        inverse = left @ inverse @ left.T + rho * np.outer(step, step)
    gradient = rng.normal(size=5)
    np.testing.assert_allclose(
        _direction(np, gradient, Curvature(steps, gradient_changes)), -inverse @ gradient, rtol=1e-12
    )


def test_lbfgs_and_scipy_find_the_same_optimum_of_a_convex_objective(device):
    network = Network((3, 4), loss="cross_entropy")
    rng = np.random.default_rng(1)
    x, targets = rng.normal(size=(50, 3)), np.eye(4)[rng.integers(0, 4, 50)]
    objective, batch, start = (
        Objective(network, reduction="mean", l2=0.5),
        Batch(x, targets),
        np.zeros(network.n_parameters),
    )
    result, state, errors = solve_on(device, lbfgs(), objective, batch, start, 200)
    reference = minimize(
        problem_on(choose_backend("cpu"), objective, batch).loss_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 0.0, "gtol": 1e-10, "maxiter": 1000},
    )
    assert state.converged
    assert errors[-1] == pytest.approx(reference.fun, rel=1e-12)
    np.testing.assert_allclose(objective_gap(network, result), objective_gap(network, reference.x), atol=1e-5)


def objective_gap(network, theta):
    """Remove the component that softmax ignores: a number added to the biases of all classes."""
    blocks = theta.reshape(network.shapes[0]).copy()
    blocks[-1] -= blocks[-1].mean()
    return blocks


def test_lbfgs_reaches_a_zero_of_a_networks_gradient_as_scipy_does(device):
    objective, batch, start = regression(Network((2, 4, 1), activation="tanh"), mean=True, l2=0.05)
    result, state, errors = solve_on(device, lbfgs(), objective, batch, start, 1000)
    evaluate = problem_on(choose_backend("cpu"), objective, batch).loss_and_gradient
    reference = minimize(
        evaluate, start, jac=True, method="L-BFGS-B", options={"ftol": 0.0, "gtol": 1e-8, "maxiter": 5000}
    )
    assert state.converged
    assert np.max(np.abs(evaluate(result)[1])) <= 1e-7
    assert np.max(np.abs(evaluate(start)[1])) > 1e-2
    assert errors[-1] == pytest.approx(reference.fun, rel=1e-7)


def test_lbfgs_ends_immediately_at_an_optimum():
    start = np.array([1.0, 1.0, 1.0])
    result, state, errors = minimise(np, lbfgs(), start, Problem(partial(banana, np), None), 10)
    assert state.converged
    assert len(errors) == 2
    np.testing.assert_array_equal(result, start)


def test_lbfgs_forgets_a_misleading_memory_before_it_gives_up():
    from gpubp.optim.second_order import Curvature

    start = np.array([-1.2, 1.0])
    misleading = Curvature(theta_changes=(np.array([1.0, 0.0]),), gradient_changes=(np.array([-1.0, 0.0]),))
    method, problem = lbfgs(), Problem(partial(banana, np), None)
    theta, state, _ = method.update(np, start, misleading, problem)
    np.testing.assert_array_equal(theta, start)
    assert state == Curvature()
    theta, state, error = method.update(np, theta, state, problem)
    assert float(error) < float(banana(np, start)[0])


def test_lbfgs_stores_no_pair_without_curvature():
    """If the gradient does not change, the division is by 0."""
    method, problem = lbfgs(), Problem(lambda theta: (-theta.sum(), -np.ones(2)), None)
    theta, state, first = method.update(np, np.zeros(2), method.init(np, np.zeros(2)), problem)
    assert (state.theta_changes, state.gradient_changes) == ((), ())
    theta, _, second = method.update(np, theta, state, problem)
    assert second < first < 0.0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_lbfgs_tries_a_step_no_longer_than_one_before_it_knows_the_curvature(scale):
    tried = []

    def evaluate(theta):
        tried.append(theta)
        return 0.5 * scale * (theta @ theta), scale * theta

    start = np.array([3.0, -1.0])
    lbfgs().update(np, start, lbfgs().init(np, start), Problem(evaluate, None))
    assert np.sum(np.abs(tried[1] - tried[0])) == pytest.approx(min(4.0 * scale, 1.0), rel=1e-12)


def test_lbfgs_does_not_change_its_inputs():
    theta = np.array([-1.2, 1.0, 0.3])
    theta.flags.writeable = False  # writing raises
    method, problem = lbfgs(), Problem(partial(banana, np), None)
    state = method.init(np, theta)
    for _ in range(5):
        theta, state, _ = method.update(np, theta, state, problem)
        for array in (theta, *state.theta_changes, *state.gradient_changes):
            array.flags.writeable = False


# --- the line search ---


def line(f, slope_of):
    """A loss of one weight, with its gradient."""
    return lambda theta: (f(float(theta[0])), np.array([slope_of(float(theta[0]))]))


def search(evaluate, at, direction, first_step=1.0, **options):
    start = Point(np.array([at]), *evaluate(np.array([at])))
    return start, wolfe_search(np, start, np.array([direction]), evaluate, first_step, **options)


@settings(max_examples=200)
@given(
    quartic=st.floats(0.01, 3),
    quadratic=st.floats(-3, 3),
    wave=st.floats(-3, 3),
    frequency=st.floats(0.1, 5),
    at=st.floats(-4, 4),
    length=st.floats(-2, 2),
    first_step=st.floats(-3, 2),
)
def test_strong_wolfe_conditions_hold_at_the_point_found(quartic, quadratic, wave, frequency, at, length, first_step):
    evaluate = line(
        lambda t: quartic * t**4 + quadratic * t**2 + wave * math.sin(frequency * t),
        lambda t: 4 * quartic * t**3 + 2 * quadratic * t + wave * frequency * math.cos(frequency * t),
    )
    gradient = float(evaluate(np.array([at]))[1][0])
    assume(abs(gradient) > 1e-2)
    direction = -math.copysign(10.0**length, gradient)
    start, result = search(evaluate, at, direction, 10.0**first_step)
    if result is not None:  # within the default 25 evaluations the loss falls enough, at least
        step = (result.theta[0] - at) / direction
        assert result.loss <= start.loss + DECREASE * step * gradient * direction + 1e-12 * abs(start.loss)
    # the slope may need more: a first step of 1e-5 doubles 20 times before the interval is halved
    start, result = search(evaluate, at, direction, 10.0**first_step, evaluations=100)
    assert result is not None
    slope = gradient * direction
    step = (result.theta[0] - at) / direction
    assert step > 0
    assert result.loss <= start.loss + DECREASE * step * slope + 1e-12 * abs(start.loss)
    assert abs(result.gradient[0] * direction) <= -FLATNESS * slope
    error, gradient_there = evaluate(result.theta)
    assert (result.loss, result.gradient[0]) == (error, gradient_there[0])


def test_a_flat_point_that_is_not_much_lower_is_rejected():
    """This cubic falls from 0 with slope -1 and is level at 10, lower by 0.0001 instead of the required 0.001."""
    b = -4.9999 / 500
    a = (1 - 300 * b) / 20
    evaluate = line(lambda t: -t + a * t**2 + b * t**3, lambda t: -1 + 2 * a * t + 3 * b * t**2)
    assert evaluate(np.array([10.0]))[0] == pytest.approx(-1e-4, rel=1e-6)
    _, result = search(evaluate, 0.0, 1.0, first_step=10.0)
    assert result.theta[0] < 10.0
    assert result.loss < -1.0


@pytest.mark.parametrize("direction", [1.0, 1e-9, 0.0])
def test_search_returns_none_without_descent(direction):
    _, result = search(line(lambda t: t * t, lambda t: 2 * t), 1.0, direction)
    assert result is None


@pytest.mark.parametrize("first_step", [1.0, 100.0, 1e6])
def test_search_backs_out_of_nan(first_step):
    """t - log t has its minimum at 1 and is NaN below 0."""

    def evaluate(theta):
        t = float(theta[0])
        return (t - math.log(t), np.array([1 - 1 / t])) if t > 0 else (math.nan, np.array([math.nan]))

    start, result = search(evaluate, 3.0, -1.0, first_step)
    assert result is not None
    assert 0 < result.theta[0] < 3
    assert result.loss < start.loss


def test_search_returns_none_if_all_losses_are_nan():
    evaluations = []

    def evaluate(theta):
        evaluations.append(theta)
        return math.nan, np.array([math.nan])

    start = Point(np.array([0.0]), 1.0, np.array([-1.0]))
    assert wolfe_search(np, start, np.array([1.0]), evaluate) is None
    assert len(evaluations) == 25


def test_search_returns_none_if_the_gradient_is_nan():
    assert wolfe_search(np, Point(np.zeros(1), 1.0, np.array([math.nan])), np.ones(1), None) is None


def test_search_grows_its_step_while_the_loss_falls_steeply():
    start, result = search(line(lambda t: (t - 1e4) ** 2, lambda t: 2 * (t - 1e4)), 0.0, 1.0, first_step=1e-3)
    assert result.loss < 0.9 * start.loss


def test_search_of_an_unbounded_loss_returns_the_lowest_point():
    _, result = search(line(lambda t: -t, lambda t: -1.0), 0.0, 1.0, evaluations=10)
    assert result.theta[0] == 2.0**9


# --- Levenberg-Marquardt ---


@pytest.mark.parametrize(("weighted", "l2", "mean"), [(False, 0.0, True), (True, 0.0, False), (True, 0.7, True)])
def test_levenberg_marquardt_solves_linear_least_squares_in_one_step(device, weighted, l2, mean):
    network = Network((3, 2))
    objective, batch, start = regression(network, mean, l2, weighted=weighted)
    result, _, _ = solve_on(device, levenberg_marquardt(damping=1e-13), objective, batch, start, 1)
    design = np.column_stack([batch.x, np.ones(len(batch.x))])
    weights = np.ones(len(design)) if batch.sample_weight is None else batch.sample_weight
    penalty = np.diag([l2, l2, l2, 0.0])  # the bias is free
    expected = np.linalg.solve(
        design.T @ (weights[:, None] * design) + penalty, design.T @ (weights[:, None] * batch.targets)
    )
    np.testing.assert_allclose(result.reshape(4, 2), expected, rtol=1e-9, atol=1e-10)


def test_levenberg_marquardt_needs_no_tuning_on_linear_least_squares(device):
    objective, batch, start = regression(Network((3, 2)))
    result, state, errors = solve_on(device, levenberg_marquardt(), objective, batch, start, 10)
    design = np.column_stack([batch.x, np.ones(len(batch.x))])
    best = np.linalg.lstsq(design, batch.targets, rcond=None)[0]
    residual = design @ best - batch.targets
    assert state.converged
    assert errors[2] == pytest.approx(0.5 * np.sum(residual**2), rel=1e-7)
    np.testing.assert_allclose(result.reshape(4, 2), best, atol=1e-10)


def test_levenberg_marquardt_beats_gradient_descent(device):
    network = Network((2, 5, 1), activation="tanh")
    objective, batch, start = regression(network, mean=True)
    _, _, errors = solve_on(device, levenberg_marquardt(), objective, batch, start, 30)
    backend = choose_backend("cpu")
    step = make_step(backend, objective, gradient_descent(0.1), "float64")
    theta, state = start, ()
    for _ in range(300):
        theta, state, error = step(theta, state, batch, 0.0)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * float(error)


def test_levenberg_marquardt_with_sample_weights_and_penalty_ends_where_lbfgs_does(device):
    objective, batch, start = regression(Network((2, 3, 2), activation="tanh"), mean=True, l2=0.5, weighted=True)
    result, _, errors = solve_on(device, levenberg_marquardt(), objective, batch, start, 200)
    _, state_lbfgs, errors_lbfgs = solve_on("cpu", lbfgs(), objective, batch, start, 2000)
    gradient = problem_on(choose_backend("cpu"), objective, batch).loss_and_gradient(result)[1]
    assert np.max(np.abs(gradient)) < 1e-8
    assert state_lbfgs.converged
    assert errors[-1] == pytest.approx(errors_lbfgs[-1], rel=1e-9)


def test_damping_falls_after_a_success_and_rises_after_a_failure():
    network = Network((1, 1), activation=(), output_activation="tanh", bias=False)
    objective, batch = Objective(network, reduction="sum"), Batch(np.array([[1.0]]), np.array([[0.9]]))
    problem = problem_on(choose_backend("cpu"), objective, batch)
    method = levenberg_marquardt(damping=1.0, factor=7.0)
    _, state, _ = method.update(np, np.array([0.5]), method.init(np, np.array([0.5])), problem)
    assert state.damping == pytest.approx(1.0 / 7.0)
    # where the tanh is flat an undamped change jumps over the valley, and higher
    problem = problem_on(choose_backend("cpu"), objective, batch._replace(targets=np.array([[0.0]])))
    start, method = np.array([1.5]), levenberg_marquardt(damping=1e-9, factor=10.0)
    _, state, error = method.update(np, start, method.init(np, start), problem)
    assert state.damping > 1e-4
    assert error < problem.loss_and_gradient(start)[0]


def test_levenberg_marquardt_gives_up_if_no_damping_helps():
    problem = Problem(lambda theta: (1.0, np.ones(2)), lambda theta: np.eye(2))
    method = levenberg_marquardt()
    theta, state, error = method.update(np, np.zeros(2), method.init(np, np.zeros(2)), problem)
    np.testing.assert_array_equal(theta, 0.0)
    assert state.converged
    assert error == 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_levenberg_marquardt_survives_collinear_columns(dtype):
    """The two columns add up to the bias, so that without damping the curvature is singular."""
    x = 4.0 * np.eye(2)[[0, 0, 1, 1, 0, 1, 0, 1]]
    targets = np.arange(8.0)[:, None]
    fit = train(
        Network((2, 1)),
        x,
        targets,
        optimizer=levenberg_marquardt(damping=1e-12),
        epochs=5,
        device="cpu",
        dtype=dtype,
        reduction="sum",
    )
    assert fit.history.loss[-1] == pytest.approx(18.75, rel=1e-5)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True, np.True_, "0.1", None, 1j, np.ones(1)], ids=repr)
@pytest.mark.parametrize(
    ("make", "setting"),
    [
        *((lbfgs, "memory"), (lbfgs, "tolerance")),
        *((levenberg_marquardt, setting) for setting in ("damping", "factor", "tolerance")),
    ],
)
def test_numbers_are_checked(make, setting, value):
    with pytest.raises(DataError, match=rf"^{setting} must be a (finite|whole) number, .*, got "):
        make(**{setting: value})


def test_numbers_of_any_type():
    assert levenberg_marquardt(np.float32(0.5), factor=np.int64(3), tolerance=0).settings == {
        **{"damping": 0.5, "factor": 3.0, "tolerance": 0.0}
    }
    for factor in (1, 10**400):
        with pytest.raises(DataError, match="factor must be a finite number, above 1, got 1"):
            levenberg_marquardt(factor=factor)
