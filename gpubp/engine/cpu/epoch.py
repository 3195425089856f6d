"""Epochs in the compiled engine: the arrays, numbers and threads that ``c/steps.h`` is given."""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from gpubp.backends.sparse_matmul import is_sparse
from gpubp.engine.cpu import library, workplace
from gpubp.engine.cpu.arrays_in_turn import ArraysInTurn
from gpubp.engine.cpu.given import Given, drops_sparse_inputs, sparse_bits, with_inputs_dropped
from gpubp.engine.cpu.processes import SharedSteps
from gpubp.engine.cpu.settings import EngineUpdate, engine_update
from gpubp.engine.cpu.structures import (
    LIMIT_OF_BLAS,
    Functions,
    Plan,
    Request,
    address,
    functions_of,
    in_rows,
    network_plan,
    set_arrays,
    set_loss,
)
from gpubp.engine.cpu.workplace import Results, Workplace, threads_that_pay
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches, PerNetworkBatches
from gpubp.engine.plain.step import EpochResult, EpochRunner, ModelState, Objective
from gpubp.engine.pointer_checks import check_epoch
from gpubp.nn.network import Network
from gpubp.nn.weight_sharing import Ties
from gpubp.optim.first_order import Optimizer

logger = logging.getLogger("gpubp")

SHORT_ROW = 1024  # bytes of a share's part of a row, above which it is far enough from those of others
BYTES_OF_A_WINDOW = 1 << 20  # of samples gathered for networks that share an order: about what a cache holds


def engine_epoch_runner(
    objective: Objective,
    optimizer: Optimizer,
    dtype: str,
    make_plain: Callable[[], EpochRunner],
    *,
    outputs_wanted: bool = False,
) -> EpochRunner:
    """Make the runner of the compiled engine, or the plain one if the engine lacks a function that is needed."""
    functions, update = functions_of(dtype), engine_update(optimizer, dtype)
    plan = network_plan(objective.network, functions, library.gemm(dtype))
    if plan is None or update is None or not set_loss(plan, objective.network, functions):
        network = "what the network needs: an activation, the loss, shared members, or products of so many units"
        log_plain(f"the compiled engine lacks {f'the optimizer {optimizer.name!r}' if update is None else network}")
        return make_plain()
    return EngineEpochRunner(objective, update, dtype, functions, plan, make_plain, outputs_wanted)


class EngineEpochRunner:
    """Runs epochs in compiled code; batches that are not arrays of samples are run on the plain path."""

    takes_orders = True  # one for each epoch of batches
    keeps_thetas = True

    def __init__(
        self,
        objective: Objective,
        update: EngineUpdate,
        dtype: str,
        functions: Functions,
        plan: Plan,
        make_plain: Callable[[], EpochRunner],
        outputs_wanted: bool = False,
    ) -> None:
        self.objective, self.update, self.dtype, self.functions = objective, update, np.dtype(dtype), functions
        self.plan, self.make_plain, self.outputs_wanted = plan, make_plain, outputs_wanted
        self.plain: EpochRunner | None = None  # made when it is needed: it holds as many numbers as the network
        self.place: Workplace | None = None
        self.own_state: Any = None
        self.own_thetas: ArraysInTurn | None = None
        self.samples: Batch | None = None

    def __call__(self, model: ModelState, batches: Batches) -> EpochResult:
        """Run one epoch, several, or a part of one."""
        reason = self._why_plain(model, batches)
        if reason is not None:
            log_plain(reason)
            if self.plain is None:
                self.plain = self.make_plain()
            return self.plain(model, batches)
        assert isinstance(batches, ArrayBatches | PerNetworkBatches)
        if not drops_sparse_inputs(batches):
            return self._run(model, batches)
        assert isinstance(batches, ArrayBatches)
        results = [self._run(model, epoch, number) for number, epoch in enumerate(with_inputs_dropped(batches))]
        values, weights, sizes = (np.concatenate(each) for each in zip(*(one[:3] for one in results), strict=True))
        thetas = [one.thetas[0] for one in results if one.thetas is not None]
        return EpochResult(values, weights, sizes, results[-1].finite, thetas=thetas)

    def _why_plain(self, model: ModelState, batches: Batches) -> str | None:
        """Return why batches are trained on the plain path, None if they are not."""
        if not isinstance(batches, ArrayBatches | PerNetworkBatches) or not batches.samples.x.shape[-2]:
            return "they are not in arrays"
        if min(batches.size, batches.samples.x.shape[-2]) >= LIMIT_OF_BLAS:
            return "a batch has too many samples for BLAS"
        if model.theta.ndim > 2:
            return "a stack has two dimensions"
        if is_sparse(batches.samples.x) and any(below == 0 for below, _ in self.objective.network.skips):
            return "the samples are sparse, and connections from the inputs skip layers"
        if drops_sparse_inputs(batches) and batches.dropout is not None and np.ndim(batches.dropout.key):
            return "the samples are sparse, and networks drop different inputs"
        return None

    def _run(self, model: ModelState, batches: ArrayBatches | PerNetworkBatches, epochs_before: int = 0) -> EpochResult:
        factors = self.update.factors
        check_epoch(self.objective.network, self.dtype, model, batches, self.samples, factors)
        stack = model.theta.shape[:-1]
        place = self._workplace(batches, stack)
        n_epochs = batches.epochs
        sizes, parts = place.divide(batches)
        results = place.results(n_epochs * len(sizes))
        epochs = model.epoch + epochs_before + np.arange(n_epochs)
        start = in_rows(model.theta)
        state, theta = self._own_state(model), self._own_theta(model)
        epochs_done = np.reshape(np.add.outer(epochs, parts), (-1, *parts.shape[1:]))
        settings = self.update.settings(state, epochs_done, self.dtype, self.objective.l2)
        order = None if batches.order is None else np.ascontiguousarray(batches.order, np.int64)
        own = batches.rows_of_networks() if isinstance(batches, PerNetworkBatches) else None
        first, second, *_ = (*(getattr(state, name) for name in self.update.arrays), None, None)
        x, targets, weights = self._samples(batches.samples)
        outputs = self._memory_for_outputs(batches, place.size, stack)
        keeps_thetas = isinstance(batches, ArrayBatches) and batches.keeps_thetas
        thetas = np.empty((n_epochs, *theta.shape), self.dtype) if keeps_thetas else None
        dropout = batches.dropout
        keys = None if dropout is None else dropout.halves_of_keys(stack or (1,))
        rates = None if dropout is None else dropout.of_epochs(n_epochs)
        model.state = state
        request = Request(
            n_networks=stack[0] if stack else 1,
            n_samples=batches.n_samples if own is None else batches.samples.x.shape[-2],
            x=x.address,
            columns=x.columns,
            row_starts=x.row_starts,
            targets=targets.address,
            weights=weights.address,
            x_apart=x.apart(2),
            targets_apart=targets.apart(2),
            weights_apart=0 if own is not None else weights.apart(1),
            order=address(order),
            order_apart=0 if order is None or order.ndim == 1 else order.shape[-1],
            own=address(own),
            window=place.window,
            batch=place.size,
            theta=address(theta),
            start=address(start),
            first=address(first),
            second=address(second),
            **{name: address(array) for name, array in factors.items()},
            **{f"{name}_apart": array.shape[-1] for name, array in factors.items() if array.ndim > 1},
            n_steps=results.n_steps,
            settings=address(settings),
            n_settings=settings.shape[-1],
            settings_apart=settings[0].size if settings.ndim == 3 else 0,
            **results.addresses,
            outputs=address(outputs),
            thetas=address(thetas),
            thetas_apart=theta.size,
            keys=address(keys),
            dropout=address(rates),
            epoch=0 if dropout is None else dropout.epoch,
            first_sample=0 if dropout is None else dropout.first_sample,
        )
        results.weights[...] = np.nan
        same_weights = own is None and not weights.apart(1)
        shared = self._shared_steps(results, weighted=weights.address is not None, same_weights=same_weights)
        run = place.run if shared is None else partial(shared.run, place.run)
        for begin, end in place.calls(results.n_steps):
            request.begin, request.end = begin, end
            try:
                run(request)
            finally:  # an error or Ctrl-C may come before the steps are taken
                if not np.any(np.isnan(results.weights[..., end - 1])):
                    model.theta, model.state = theta, self.update.after(model.state, end - begin)
            request.start = None
        self.own_state = model.state
        result = self._result(results, np.concatenate([sizes] * n_epochs), stack, same_weights, outputs)
        if thetas is not None:
            thetas.flags.writeable = False  # the next epochs have been trained when others see them
        result = result._replace(thetas=thetas)
        return result if shared is None else shared.result(result)

    def _shared_steps(self, results: Results, *, weighted: bool, same_weights: bool) -> SharedSteps | None:
        if self.objective.processes.world_size == 1:
            return None
        values, weights = results.values, results.weights
        return SharedSteps(self.objective, values, weights, self.dtype, weighted=weighted, same_weights=same_weights)

    def _result(
        self,
        results: Results,
        sizes: np.ndarray,
        stack: tuple[int, ...],
        same_weights: bool,
        outputs: np.ndarray | None,
    ) -> EpochResult:
        values, weights, finite = results.values.copy(), results.weights.copy(), results.finite == 1
        objective = self.objective
        if objective.penalised and objective.penalty_reported:
            # a batch whose weights sum to 0 has no effect
            share = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights != 0.0)
            squares = np.sum(results.squares, axis=-1)
            values += 0.5 * objective.l2 * squares * (share if objective.reduction == "mean" else 1.0)
        if stack and same_weights:
            weights = weights[0]
        return EpochResult(values.T, weights.T, sizes, finite if stack else np.all(finite), outputs)

    def _memory_for_outputs(
        self, batches: ArrayBatches | PerNetworkBatches, size: int, stack: tuple[int, ...]
    ) -> np.ndarray | None:
        """Allocate the outputs of all samples, if they are wanted and all samples are one batch in their order."""
        n_samples = batches.samples.x.shape[-2]
        whole = isinstance(batches, ArrayBatches) and batches.order is None and size == n_samples
        if not self.outputs_wanted or not whole or batches.dropout is not None or self._size_of_part(size) < size:
            return None
        return np.empty((*stack, n_samples, self.objective.network.sizes[-1]), self.dtype)

    def _own_state(self, model: ModelState) -> Any:
        """Copy the optimizer's state, which is changed in place, unless nothing else refers to it."""
        if model.own_state or model.state is self.own_state or not model.state:
            model.own_state = False  # a callback may keep the model's arrays
            return model.state
        copied = [np.array(part, order="C") if isinstance(part, np.ndarray) else part for part in model.state]
        return type(model.state)(*copied)

    def _own_theta(self, model: ModelState) -> np.ndarray:
        """Return an array for the parameters that nothing else refers to, since others may hold the earlier ones."""
        if self.own_thetas is None:
            # the present ones, those before and the best ones may be held in turn
            self.own_thetas = ArraysInTurn(model.theta.shape, self.dtype)
        return self.own_thetas.next()

    def _workplace(self, batches: ArrayBatches | PerNetworkBatches, stack: tuple[int, ...]) -> Workplace:
        """Return the threads and the memory for such batches; both are kept for batches of the same kind."""
        n_samples = int(np.max(batches.n_samples))
        size, window = min(batches.size, n_samples), self._window(batches, min(batches.size, n_samples))
        gathered = 0 if batches.order is None else max(1, window)
        weighted, sparse = batches.samples.sample_weight is not None, sparse_bits(batches.samples.x)
        drops = () if batches.dropout is None else tuple(map(bool, batches.dropout.rates))
        kind = (size, stack, window, gathered, weighted, n_samples >= workplace.WORTH_MOVING, sparse, drops)
        if self.place is None or self.place.kind != kind:
            n_threads = self.place.plan.n_threads if self.place else self._choose_n_threads(size, stack)
            self.place = Workplace(kind, self._plan(n_threads, *kind), self.functions)
        return self.place

    def _choose_n_threads(self, size: int, stack: tuple[int, ...]) -> int:
        """Choose the number of threads: the same in all processes, since the norm of a gradient is summed by shares."""
        network, part = self.objective.network, self._size_of_part(size)
        return self.objective.processes.on_rank_0(lambda: threads_that_pay(network, part, stack))

    def _size_of_part(self, size: int) -> int:
        """Return how many samples of a batch are passed forward and backward together, at most."""
        of_process = -(-size // self.objective.processes.world_size)
        return -(-of_process // self.objective.parts)

    def _window(self, batches: ArrayBatches | PerNetworkBatches, size: int) -> int:
        """Choose for how many steps samples are gathered at once: with shared orders, as many as fit into the cache.

        0 if each network gathers its own.
        """
        if isinstance(batches, ArrayBatches) or is_sparse(batches.samples.x):
            return 0
        if 2 * len(np.unique(batches.starts)) > len(batches.starts):
            return 0
        if self.objective.parts > 1 or (batches.dropout is not None and batches.dropout.rates[0]):
            return 0  # parts are gathered one after the other; each network drops other inputs
        sizes = self.objective.network.sizes
        bytes_of_a_step = size * (sizes[0] + sizes[-1]) * self.dtype.itemsize
        return max(1, min(BYTES_OF_A_WINDOW // bytes_of_a_step, -(-int(np.max(batches.counts)) // size)))

    def _plan(
        self,
        n_threads: int,
        size: int,
        stack: tuple[int, ...],
        window: int,
        gathered: int,
        weighted: bool,
        worth_moving: bool,
        sparse: int,
        drops: tuple[bool, ...],
    ) -> Plan:
        """Describe the steps on batches of one kind."""
        objective, network = self.objective, self.objective.network
        plan = Plan.from_buffer_copy(self.plan)
        ties = _ties(network)
        plan.update = self.functions.find(b"update " + self.update.name.encode())
        plan.mean = objective.reduction == "mean"
        plan.squares_wanted = objective.penalised and objective.penalty_reported
        plan.clipped = self.update.max_norm is not None
        processes = objective.processes
        plan.rank, plan.n_processes, plan.n_parts = processes.rank, processes.world_size, objective.parts
        plan.batch, plan.gathered_steps = self._size_of_part(size), gathered
        plan.weighted, plan.sparse = weighted, sparse
        plan.stack, plan.n_threads = bool(stack), n_threads
        plan.n_shares, plan.n_teams = (1, n_threads) if stack else (n_threads, 1)
        short = network.sizes[1] // plan.n_shares * self.dtype.itemsize <= SHORT_ROW
        whole_gradient = plan.clipped or ties or plan.n_parts > 1 or plan.n_processes > 1
        plan.apart = plan.n_shares > 1 and short and worth_moving and not (sparse or whole_gradient)
        if drops:
            set_arrays(plan, drops=np.asarray(drops, np.int64))
        if network.tied is not None and ties is None:
            set_arrays(plan, mask=np.asarray(network.tied.mask, self.dtype))
        if ties is not None:
            plan.n_places, plan.n_weights = len(ties.index), len(ties.counts)
            set_arrays(
                plan,
                places=np.flatnonzero(ties.present),
                weight_at=np.asarray(ties.index, np.int64),
                n_equal=np.asarray(ties.counts, self.dtype),
            )
        return plan

    def _samples(self, samples: Batch) -> list[Given]:
        """Return the addresses of the samples; those that are not in rows without gaps are copied, once."""
        if self.samples is not samples:
            self.samples = samples
            self.given = [Given(part) for part in samples[:3]]
        return self.given


@cache
def log_plain(reason: str) -> None:
    """Log, once, why steps are taken on the plain path."""
    logger.info("steps are taken in array calls, which is slower, since %s", reason)


def _ties(network: Network) -> Ties | None:
    """Return the ties of a network if any weights are equal; missing ones need no average."""
    return None if network.tied is None or network.tied.only_absent else network.tied
