"""One training step: the loss of a batch, its gradient, and the update of the parameters.

The mean over samples is taken and the penalty on the weights is added here. The compiled paths are tested against this
module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from numbers import Real
from typing import Any, Literal, NamedTuple

import array_api_compat
import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend, to_backend, to_numpy
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup, sum_over_ranks
from gpubp.engine.plain.compilation import can_compile, compiled, is_own
from gpubp.engine.plain.host_numbers import HostNumbers
from gpubp.engine.plain.minibatches import Batch, Batches, total_weight
from gpubp.nn.jacobian import jacobian
from gpubp.nn.network import Network, average_tied
from gpubp.nn.passes import loss_and_gradient
from gpubp.optim.first_order import Optimizer
from gpubp.optim.loss_scaling import LossScaleState
from gpubp.optim.second_order import Problem, SecondOrder, damped_solution

EXACT = ("beta_1", "beta_2", "rho")
"""Settings that optimizers subtract from 1, for which the precision of the arrays would be too little."""


@dataclass(frozen=True)
class Objective:
    """What training minimises: ``E + l2 / 2 * sum(w ** 2)``, with "mean" divided by the total weight of the samples.

    Attributes
    ----------
    network : Network
    reduction : {"mean", "sum"}
    l2 : float, or (K, 1) array of NumPy for a stack
        The penalty is on the weights, not on the biases.
    penalty_reported : bool
        Whether the value that a step returns includes the penalty.
    parts : int
        Number of parts that a batch is processed in, one after the other; their gradients are summed.
    processes : ProcessGroup
        Processes that share each batch; their gradients are summed.
    """

    network: Network
    reduction: Literal["mean", "sum"] = "mean"
    l2: Any = 0.0
    penalty_reported: bool = True
    parts: int = 1
    processes: ProcessGroup = SINGLE_PROCESS

    @property
    def penalised(self) -> bool:
        """Whether any network of a stack has a penalty; one that is being compiled has."""
        return not isinstance(self.l2, Real) or bool(self.l2)


def objective_and_gradient(
    xp: Namespace, objective: Objective, weight_mask: Array, theta: Array, batch: Batch
) -> tuple[Array, Array]:
    """Evaluate the objective on a batch, and its gradient.

    Parameters
    ----------
    weight_mask : (P,) array
        1 for weights, 0 for biases.
    theta : (..., P) array

    Returns
    -------
    (...) array, (..., P) array
    """
    loss, gradient, factor = _loss_and_gradient(xp, objective, weight_mask, theta, batch)
    if not objective.penalised:
        return loss, gradient
    return loss + penalty(xp, objective, weight_mask, theta) * factor, gradient


def _loss_and_gradient(
    xp: Namespace,
    objective: Objective,
    weight_mask: Array,
    theta: Array,
    batch: Batch,
    loss_scale: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Evaluate the objective without its penalty, the gradient with it, and the factor that makes a mean of sums."""
    loss, gradient, weight = _sums(xp, objective, theta, batch, loss_scale)
    if objective.penalised:
        gradient = gradient + objective.l2 * weight_mask * theta
    factor = mean_factor(xp, objective, weight)
    return loss * factor, gradient * (factor if isinstance(factor, float) else factor[..., None]), factor


def _sums(
    xp: Namespace, objective: Objective, theta: Array, batch: Batch, loss_scale: Array | None
) -> tuple[Array, Array, Array]:
    """Sum the loss, its gradient and the sample weights over the parts of the batch and over the processes."""
    sums = (
        loss_and_gradient(xp, objective.network, theta, *part[:4], loss_scale=loss_scale)
        for part in batch.parts(objective.parts)
    )
    loss, gradient = reduce(lambda total, part_sums: (total[0] + part_sums[0], total[1] + part_sums[1]), sums)
    gradient, loss, weight = sum_over_ranks(xp, objective.processes, gradient, loss, total_weight(xp, batch))
    return loss, gradient, weight


def penalty(xp: Namespace, objective: Objective, weight_mask: Array, theta: Array) -> Array:
    """Evaluate the penalty on the weights, as it is added to the summed loss: ``(...)``."""
    squares = xp.sum(weight_mask * theta**2, axis=-1)
    l2 = objective.l2[:, 0] if np.ndim(objective.l2) else objective.l2
    return (0.5 * l2) * squares


def mean_factor(xp: Namespace, objective: Objective, weight: Array) -> Array:
    """Return the factor of sums over a batch: 1, or for a mean 1 divided by its total weight."""
    if objective.reduction == "sum":
        return 1.0
    if type(weight) is float:
        return 1.0 / weight
    # a batch whose weights sum to 0 has no effect
    return xp.where(weight != 0.0, 1.0 / xp.where(weight != 0.0, weight, 1.0), 0.0)


def gauss_newton(xp: Namespace, objective: Objective, weight_mask: Array, theta: Array, batch: Batch) -> Array:
    """Approximate the second derivatives of the objective with the squared loss: Gauss-Newton, ``J^T J``.

    Returns
    -------
    (P, P) array
    """
    J = jacobian(xp, objective.network, theta, batch.x)
    weighted_J = J if batch.sample_weight is None else J * batch.sample_weight[:, None]
    n_parameters = theta.shape[-1]
    products = xp.matmul(
        xp.matrix_transpose(xp.reshape(weighted_J, (-1, n_parameters))), xp.reshape(J, (-1, n_parameters))
    )
    H, weight = sum_over_ranks(xp, objective.processes, products, total_weight(xp, batch))
    H = H + xp.eye(n_parameters, dtype=theta.dtype, device=array_api_compat.device(theta)) * (
        objective.l2 * weight_mask
    )
    return H * mean_factor(xp, objective, weight)


Step = Callable[[Array, Any, Batch, Any], tuple[Array, Any, Array]]
"""``step(theta, state, batch, epoch) -> (theta, state, value)``, epoch a number or ``(K, 1)``: the objective's value
before the change for a first-order optimizer, after it for a second-order one."""


class Sums(NamedTuple):
    """Sums over the steps of an epoch so far, in float64 of NumPy: of their values, and of the weights of these values.

    ``values`` and ``weights`` are ``(1, ...)``; ``n_samples`` are the samples of these steps.
    """

    values: Any = 0.0
    weights: Any = 0.0
    n_samples: int = 0


@dataclass
class ModelState:
    """What steps change, the number of epochs done, and the number of parts of the current epoch done.

    With ``own_state`` nothing else refers to the state's arrays, and they may be changed in place.
    """

    theta: Array
    state: Any
    epoch: int = 0
    own_state: bool = False
    parts_done: int = 0
    sums: Sums = field(default_factory=Sums)


class EpochResult(NamedTuple):
    """What the steps of an epoch return: objective values ``(n_steps, ...)``, total sample weights, sample counts.

    ``weights`` are ``(n_steps,)`` or ``(n_steps, ...)``, and so are ``sizes``, of NumPy. ``finite``, ``(...)``,
    says whether the parameters are finite at the end. ``outputs`` are those of all samples with the final parameters,
    ``(..., b, j)``, if they were requested and are available. ``thetas``, ``(n_epochs, ..., P)``, are the parameters
    after each epoch, if the batches ask for them and the runner has an attribute ``keeps_thetas``.
    """

    values: Array
    weights: Array
    sizes: np.ndarray
    finite: Array
    outputs: Array | None = None
    thetas: Any = None


EpochRunner = Callable[[ModelState, Batches], EpochResult]
"""``run_epoch(model, batches)`` takes a step for each batch of an epoch, of several, or of a part of one.

It changes only the model's parameters and optimizer state."""


def make_step(backend: Backend, objective: Objective, optimizer: Optimizer | SecondOrder, dtype: str) -> Step:
    """Bind an optimizer to an objective."""
    weight_mask = to_backend(backend, objective.network.weight_mask(), dtype)
    if isinstance(optimizer, SecondOrder):
        evaluate = partial(bind(backend, objective, objective_and_gradient), weight_mask)
        return partial(second_order_step, backend, objective, weight_mask, optimizer, evaluate)
    to_device, update, settings = partial(_to_device, backend, dtype), optimizer.update, optimizer.settings
    exact = EXACT if is_own(update) else ()
    of_each_network = any(hasattr(settings.get(name), "shape") for name in exact)
    compiles = can_compile(backend, objective.network, update) and not of_each_network
    move = partial(_moved, to_device, () if compiles else exact)
    optimizer, objective = replace(optimizer, settings=move(settings)), replace(objective, l2=to_device(objective.l2))
    bound = bind(backend, objective, _updated, update) if compiles else partial(_updated, update, backend.xp, objective)
    step = partial(_first_order_step, move, bound, weight_mask, optimizer)
    return partial(_counting, step) if compiles else step


def bind(
    backend: Backend, objective: Objective, function: Callable[..., Any], *called: Callable[..., Any]
) -> Callable[..., Any]:
    """Bind ``function(*called, xp, objective, *arrays)``; compiled, it is the same for each strength of the penalty."""
    if objective.processes.world_size > 1 or not can_compile(backend, objective.network, *called):
        return partial(function, *called, backend.xp, objective)
    fixed = replace(objective, l2=float(objective.penalised))
    return partial(compiled(backend, _with_penalty, fixed, function, called), objective.l2)


def _with_penalty(
    xp: Namespace,
    objective: Objective,
    function: Callable[..., Any],
    called: tuple[Callable[..., Any], ...],
    l2: Any,
    *arrays: Any,
) -> Any:
    return function(*called, xp, replace(objective, l2=l2) if objective.penalised else objective, *arrays)


def _to_device(backend: Backend, dtype: str, number: Any) -> Any:
    """Move an array of one number for each network to the backend; return other numbers unchanged."""
    return to_backend(backend, number, dtype) if getattr(number, "ndim", 0) else number


def _moved(to_device: Callable[[Any], Any], exact: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Move settings to the backend, but those that are subtracted from 1."""
    return {
        name: HostNumbers(to_numpy(setting), to_device)
        if name in exact and getattr(setting, "ndim", None)
        else to_device(setting)
        for name, setting in settings.items()
    }


def _first_order_step(
    move: Callable[[Mapping[str, Any]], dict[str, Any]],
    update: Callable[..., tuple[Array, Any, Array]],
    weight_mask: Array,
    optimizer: Optimizer,
    theta: Array,
    state: Any,
    batch: Batch,
    epoch: Any,
) -> tuple[Array, Any, Array]:
    return update(weight_mask, theta, state, batch.arrays, move(optimizer.at(epoch)))


def _counting(step: Step, theta: Array, state: Any, batch: Batch, epoch: Any) -> tuple[Array, Any, Array]:
    """Take a step of one of gpubp's optimizers, whose counts of updates stay numbers also if it is compiled."""
    theta, after, value = step(theta, state, batch, epoch)
    return theta, _counted(state, after), value


def _counted(before: Any, after: Any) -> Any:
    if isinstance(before, int):
        return before + 1
    if not isinstance(before, tuple) or not any(isinstance(part, int | tuple) for part in before):
        return after
    return type(after)(*map(_counted, before, after))


def _updated(
    optimizer_update: Callable[..., tuple[Array, Any]],
    xp: Namespace,
    objective: Objective,
    weight_mask: Array,
    theta: Array,
    state: Any,
    batch: Batch,
    settings: dict[str, Any],
) -> tuple[Array, Any, Array]:
    loss_scale = state.loss_scale if isinstance(state, LossScaleState) else None
    value, gradient, factor = _loss_and_gradient(xp, objective, weight_mask, theta, batch, loss_scale)
    change, state = optimizer_update(xp, gradient, state, theta, settings)
    if objective.penalised and objective.penalty_reported:
        value = value + penalty(xp, objective, weight_mask, theta) * factor
    return theta + change, state, value


def second_order_step(
    backend: Backend,
    objective: Objective,
    weight_mask: Array,
    optimizer: SecondOrder,
    evaluate: Callable[[Array, Batch], tuple[Array, Array]],
    theta: Array,
    state: Any,
    batch: Batch,
    epoch: Any,
) -> tuple[Array, Any, Array]:
    """Take a step of an optimizer; ``evaluate`` gives the objective and its gradient at parameters, for a batch."""
    xp, arrays, curvature = backend.xp, batch.arrays, bind(backend, objective, gauss_newton)
    problem = Problem(
        lambda at: evaluate(at, arrays),
        lambda at: curvature(weight_mask, at, arrays),
        compiled(backend, damped_solution),
    )
    theta, state, value = optimizer.update(xp, theta, state, problem)
    theta = average_tied(xp, objective.network, theta)  # solving equations rounds each copy differently
    if objective.penalised and not objective.penalty_reported:
        zero = xp.sum(xp.zeros_like(theta))
        _, weight = sum_over_ranks(xp, objective.processes, zero, total_weight(xp, batch))
        value = value - penalty(xp, objective, weight_mask, theta) * mean_factor(xp, objective, weight)
    return theta, state, value
