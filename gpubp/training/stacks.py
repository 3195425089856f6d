"""Train many fits as stacks of networks, with the same results as if each were trained alone."""

import copy
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import move_together, to_backend, to_numpy
from gpubp.backends.gpu_errors import Workload, is_gpu_error, translate_gpu_errors
from gpubp.backends.memory import SAMPLES_AT_ONCE, fits_in_memory, networks_at_once
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import Dropout, draw_dropout_key
from gpubp.engine.plain.minibatches import Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.optim.first_order import Optimizer
from gpubp.training.callbacks import Callback, Progress
from gpubp.training.loop import run
from gpubp.training.plan import Plan, learning_rate_after
from gpubp.training.stack_settings import optimizer_of_stack, scalar_or_column
from gpubp.training.stackable import Follower, StackableFit
from gpubp.training.state import select_states

MOST_HELD_OUT = 1 << 24
"""Numbers in the held-out samples that a stack keeps from epoch to epoch, and in outputs that wait for one download,
except those of one stream."""


def fit_together(fits: Sequence[StackableFit], callback: Callback | None = None) -> list[Exception | None]:
    """Train fits as stacks, as many networks at a time as memory allows.

    Parameters
    ----------
    fits : sequence of StackableFit
    callback : callable, optional
        Called with the progress of each stack after each epoch; the loss of a network that is done is NaN. Returning
        True ends the training of the stack.

    Returns
    -------
    list of Exception or None
        The exception of each fit.
    """
    errors: list[Exception | None] = [None] * len(fits)
    for stack in stacks_of(fits, errors, callback):
        stack.train(errors)
    return errors


def stacks_of(
    fits: Sequence[StackableFit], errors: list[Exception | None], callback: Callback | None = None
) -> "Iterator[StackOfFits]":
    """Yield stacks of fits, each created when it is needed; exceptions of fits are stored in ``errors``."""
    streams: dict[Any, RandomStream] = {}
    groups: dict[Any, list[StackMember]] = {}
    for k, fit in enumerate(fits):
        try:
            optimizer = fit.optimizer()
            member = StackMember(k, fit, _find_stream(fit, streams), optimizer)
            groups.setdefault(_stack_key(member), []).append(member)
        except ValueError as error:
            errors[k] = error
    for members in groups.values():
        members.sort(key=lambda member: member.stream.number)
        while members:
            n = _n_networks_that_fit(members)
            yield StackOfFits(members[:n], callback)
            members = members[n:]


def _n_networks_that_fit(members: "list[StackMember]") -> int:
    """Return how many of the networks fit in memory together with all samples and orders."""
    first, n, n_numbers, counted = members[0].fit, 0, 0, set[int]()
    size = first.batch_size(len(members[0].stream.rows))
    with first.backend.active():
        for _, fit, *_ in members:
            n_new = 0 if id(fit.x) in counted else fit.x.shape[0] * (fit.x.shape[1] + fit.targets.shape[1])
            if n and n_new and not fits_in_memory(fit.backend, n_numbers + n_new, fit.precision):
                break
            counted.add(id(fit.x))
            n, n_numbers = n + 1, n_numbers + n_new
        streams = [member.stream for member in members[:n]]
        new_rows = [0 if k and streams[k - 1] is stream else len(stream.rows) for k, stream in enumerate(streams)]
        sizes, n_steps = first.network.sizes, -(-new_rows[0] // size)
        return networks_at_once(first.backend, sizes, first.precision, size, n_steps, new_rows, n_numbers)


# --- shared by networks ---


def row_numbers(n: int) -> np.ndarray:
    """Return the numbers of ``n`` rows, in as few bytes as possible."""
    return np.arange(n, dtype="int32" if n < 2**31 else "int64")


def next_order(
    order: np.ndarray, size: int, random_state: np.random.RandomState | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Shuffle the order of the previous epoch, as scikit-learn does.

    Parameters
    ----------
    order : array of int
        The order of the previous epoch.
    size : int
        The size of a batch.
    random_state : RandomState, optional
        By default the order is not shuffled.

    Returns
    -------
    tuple
        The new order, and the order in which batches use the samples: None for that of the array.
    """
    if random_state is None:
        return order, None
    # the numbers that sklearn.utils.shuffle draws, without its checks
    shuffled = np.arange(len(order), dtype=order.dtype)
    random_state.shuffle(shuffled)
    order = order[shuffled]
    return order, order if size < len(order) else None


@dataclass(eq=False)
class RandomStream:
    """The random draws of networks that draw the same numbers: held-out samples, the key of dropout, order.

    ``rows`` are the training rows of x; ``held_out`` are the indices of held-out rows into a fit's rows.
    """

    number: int
    random_state: np.random.RandomState
    rows: np.ndarray
    held_out: np.ndarray
    order: np.ndarray
    dropout_key: int | None


class StackMember(NamedTuple):
    """A fit of a stack, with its number among all fits."""

    number: int
    fit: StackableFit
    stream: RandomStream
    optimizer: Optimizer


def _find_stream(fit: StackableFit, streams: dict[Any, RandomStream]) -> RandomStream:
    """Return the stream of a fit; create one if no stream draws the same numbers."""
    _, keys, position, *_ = cast(Any, fit.random_state.get_state())
    key = (id(fit.x), id(fit.rows), keys.tobytes(), position, fit.draws, bool(fit.dropout_rates))
    if key not in streams:
        rows, held_out = fit.rows, np.empty(0, np.int64)
        if fit.holds_out:
            training, held_out = fit.split()
            rows = fit.rows[training]
        order, dropout_key = np.arange(len(rows)), draw_dropout_key(fit.random_state) if fit.dropout_rates else None
        streams[key] = RandomStream(len(streams), fit.random_state, rows, held_out, order, dropout_key)
    return streams[key]


def _stack_key(member: StackMember) -> Any:
    """Return a key that is equal for networks of one stack."""
    fit, n_samples = member.fit, len(member.stream.rows)
    size = fit.batch_size(n_samples, warns=True)
    n_steps = math.ceil(n_samples / size)
    return (
        fit.kind,
        fit.network,
        fit.dropout_rates,
        fit.backend.name,
        fit.backend.matmul_precision,
        fit.precision,
        member.optimizer.name,
        n_steps,
        size if n_steps > 1 else None,
        fit.train_weights is None,
    )


# --- a stack ---


class StackOfFits:
    """The networks of several fits as one stack: its samples, its batches, and the work after each epoch."""

    def __init__(self, members: list[StackMember], callback: Callback | None) -> None:
        streams = {stream.number: copy.deepcopy(stream) for stream in {member.stream for member in members}}
        self.members = [member._replace(stream=streams[member.stream.number]) for member in members]
        self.first = members[0].fit
        self.backend, self.precision, self.network = self.first.backend, self.first.precision, self.first.network
        self.callback = callback
        self.size = max(member.fit.batch_size(len(member.stream.rows)) for member in members)
        self.offsets: dict[int, int] = {}
        n_held_out = sum(len(stream.held_out) for stream in streams.values())
        self.keeps_held_out = n_held_out * (self.network.sizes[0] + self.network.sizes[-1]) <= MOST_HELD_OUT
        self.held_out: dict[int, Any] = {}  # the held-out samples by stream
        self.evaluated: dict[int, Any] = {}
        self.done = np.zeros(len(members), dtype=bool)
        self.active = np.arange(len(members))
        self.position: ModelState | None = None
        self.followers: list[Follower] = []
        self.failed: dict[int, Exception] = {}  # the exceptions of the user's scorers and callbacks, by network

    @np.errstate(all="ignore")  # a worker's thread has its own
    def train(self, errors: list[Exception | None], continuing: Container[int] | None = None) -> None:
        """Train the networks until each is done; exceptions of fits are stored in ``errors``.

        Parameters
        ----------
        errors : list of Exception or None
            The exception of each fit, by the number of the fit.
        continuing : container of int, optional
            The numbers of fits that continue, because their ``max_iter`` has been raised. All others leave the stack.
        """
        first, members = self.first, self.members
        workload = Workload(first.network, first.precision, len(members), len(first.rows), self.size)
        trained = self.active
        try:
            with translate_gpu_errors(first.backend, workload), first.backend.active():
                if self.position is None:
                    self._begin()
                elif continuing is not None:
                    self._continue_some(continuing)
                trained = self.active
                self._train(errors)
        except Exception as error:
            for k in trained:  # including networks that were removed from the stack: their parameters are lost too
                errors[members[k].number] = error

    def ended(self, k: int) -> bool:
        """Return whether further epochs would not change a network."""
        return k in self.failed or bool(self.followers[k].stop_reason)

    def _begin(self) -> None:
        self.samples, self.weights_of, theta = self._arrays()
        state = optimizer_of_stack([member.optimizer for member in self.members]).init(self.backend.xp, theta)
        self.position = ModelState(theta, state, own_state=True)
        self.followers = [self._follower(k, theta) for k in range(len(self.members))]

    def _follower(self, k: int, theta: Array) -> Follower:
        _, fit, stream, _ = self.members[k]
        return fit.begin(len(stream.rows), theta[k, :], (lambda _: self.evaluated[k]) if fit.holds_out else None)

    def _continue_some(self, continuing: Container[int]) -> None:
        """Remove all networks except those that continue."""
        assert self.position is not None
        continues = np.asarray(
            [self.members[k].number in continuing and not self.ended(k) for k in self.active.tolist()]
        )
        self.position = select_states(self.backend, self.position, continues)
        self.active = self.active[continues]
        self.done[self.active] = False

    def _arrays(self) -> tuple[Batch, np.ndarray | None, Array]:
        """Move the samples of all fits, one after the other, and their parameters to the device.

        Different sample weights are separate rows; also returned is which row each network has.
        """
        shared = {id(member.fit.x): member.fit.x for member in self.members}
        n_samples = 0
        for x_id, x in shared.items():
            self.offsets[x_id] = n_samples
            n_samples += x.shape[0]
        targets = np.zeros((n_samples, self.network.sizes[-1]), self.precision)
        weights: list[np.ndarray] = []
        numbers: dict[Any, int] = {}
        weights_of, encoded = np.zeros(len(self.members), dtype=np.int64), set[Any]()
        for k, (_, fit, *_) in enumerate(self.members):
            key, rows = (id(fit.x), id(fit.rows)), fit.rows + self.offsets[id(fit.x)]
            if key not in encoded:
                encoded.add(key)
                targets[rows] = fit.targets_to_learn()
            if fit.train_weights is not None:
                weights_key = (*key, fit.train_weights.tobytes())
                if weights_key not in numbers:
                    numbers[weights_key] = len(weights)
                    weights.append(np.zeros(n_samples))
                    weights[-1][rows] = fit.train_weights
                weights_of[k] = numbers[weights_key]
        thetas = np.stack([member.fit.theta for member in self.members])
        given = (thetas, targets, np.stack(weights) if weights else None, *shared.values())
        moves = ((self.backend, array) for array in given)
        theta, targets, sample_weights, *parts = move_together(self.precision, *moves)
        x = parts[0] if len(parts) == 1 else self.backend.xp.concat(parts, axis=0)
        return Batch(x, targets, sample_weights), weights_of if weights else None, theta

    # --- training ---

    def _train(self, errors: list[Exception | None]) -> None:
        assert self.position is not None
        trained = self.active
        if not len(trained):
            return
        outcome = run(self.plan(trained), self.position)
        thetas = to_numpy(outcome.theta)
        if self.first.holds_out:
            self._download_best([self.followers[k] for k in trained])
        for index, k in enumerate(trained.tolist()):
            reason = "epochs" if self.done[k] else outcome.stop_reason
            if k in self.failed:
                errors[self.members[k].number] = self.failed[k]
                continue
            try:
                self.followers[k].finish(thetas[index], "diverged" if outcome.diverged[index] else reason)
            except ValueError as error:
                errors[self.members[k].number] = error

    def _download_best(self, followers: list[Follower]) -> None:
        """Bring the best parameters of all networks to the host at once."""
        best = to_numpy(self.backend.xp.stack([to_backend(self.backend, follower.best) for follower in followers]))
        for follower, theta in zip(followers, best, strict=True):
            follower.best = theta.copy()  # a view would keep the whole stack in memory

    def plan(self, active: np.ndarray) -> Plan:
        """Return the plan for the active networks."""
        self.active = active
        members = [self.members[k] for k in active]
        optimizer = optimizer_of_stack([member.optimizer for member in members])
        objective = Objective(self.network, l2=scalar_or_column([member.fit.l2 for member in members]))
        epochs = max(member.fit.max_iter for member in members)
        return Plan(
            backend=self.backend,
            run_epoch=make_epoch_runner(self.backend, objective, optimizer, self.precision),
            batches=partial(self.batches, active),
            epochs=epochs,
            average="samples",
            callbacks=() if self.callback is None else (self.callback,),
            stop_when=partial(self.update_done, active),
            plan_for_subset=lambda chosen: self.plan(active[chosen]),
            learning_rate=partial(learning_rate_after, optimizer),
            keeps_history=False,
            network=self.network,
        )

    def batches(self, active: np.ndarray, epoch: int) -> PerNetworkBatches:
        """Return the batches of one more epoch; each stream draws its order once for all networks that share it."""
        starts: dict[int, int] = {}
        orders: list[np.ndarray] = []
        for k in active:
            _, fit, stream, _ = self.members[k]
            if stream.number not in starts:
                starts[stream.number] = sum(map(len, orders))
                random_state = stream.random_state if fit.shuffle else None
                stream.order, in_order = next_order(stream.order, self.size, random_state)
                rows = stream.rows if in_order is None else stream.rows[in_order]
                orders.append(rows + self.offsets[id(fit.x)])
        streams = [self.members[k].stream for k in active]
        return PerNetworkBatches(
            self.backend,
            self.samples,
            self.size,
            np.concatenate(orders),
            np.asarray([starts[stream.number] for stream in streams]),
            np.asarray([len(stream.rows) for stream in streams]),
            None if self.weights_of is None else self.weights_of[active],
            self._dropout(streams, epoch),
        )

    def _dropout(self, streams: list[RandomStream], epoch: int) -> Dropout | None:
        """Return the dropout of the next epoch."""
        if not self.first.dropout_rates:
            return None
        keys = np.asarray([stream.dropout_key for stream in streams], np.uint64)
        return Dropout(self.network.sizes[:-1], self.first.dropout_rates, keys, epoch)

    # --- after an epoch ---

    def update_done(self, active: np.ndarray, progress: Progress, outputs: Array | None = None) -> np.ndarray:
        """Process one epoch of each active network; return which of them are done. Outputs are not used."""
        if self.first.holds_out:
            self._evaluate(active, progress.theta)
        for index, k in enumerate(active):
            if not self.done[k]:
                self.done[k] = self._follow(k, index, progress)
        done: np.ndarray = self.done[active]
        return done

    def _follow(self, k: int, index: int, progress: Progress) -> bool:
        fit, follower, loss = self.members[k].fit, self.followers[k], float(progress.loss[index])
        if math.isnan(loss):
            return True  # it diverged
        theta = progress.theta[index, :] if fit.reads_theta else progress.theta
        try:
            stops = follower.follow(progress._replace(loss=loss, theta=theta, epochs=fit.max_iter))
        except Exception as error:  # of a scorer or a callback: the other networks continue
            if is_gpu_error(self.backend, error):
                raise
            self.failed[k] = error
            return True
        if follower.best is theta:
            follower.best = self.backend.xp.asarray(theta, copy=True)  # a view would keep the whole stack in memory
        return stops or fit.n_iter >= fit.max_iter

    def _evaluate(self, active: np.ndarray, theta: Array) -> None:
        """Evaluate each network on the held-out samples of its stream; networks of one stream are side by side."""
        pairs, evaluated, n_outputs = list[tuple[Any, Array]](), list[Any](), 0
        streams = [self.members[k].stream.number for k in active]
        bounds = [0, *(np.flatnonzero(np.diff(streams)) + 1).tolist(), len(active)]
        for first, end in pairwise(bounds):
            _, fit, stream, _ = self.members[active[first]]
            held_out = self._held_out(fit, stream)
            at_once = max(1, 4 * SAMPLES_AT_ONCE // len(stream.held_out))
            starts = range(first, end, at_once)
            pairs += [(held_out, theta[start : min(start + at_once, end), :]) for start in starts]
            n_outputs += (end - first) * len(stream.held_out) * self.network.sizes[-1]
            if not self.keeps_held_out or n_outputs > MOST_HELD_OUT or end == len(active):
                evaluated += self.first.evaluate(pairs)
                pairs, n_outputs = [], 0
        self.evaluated = dict(zip(active.tolist(), evaluated, strict=True))

    def _held_out(self, fit: StackableFit, stream: RandomStream) -> Any:
        """Return the held-out samples of a stream, which stay on the device if those of all are few."""
        if stream.number in self.held_out:
            return self.held_out[stream.number]
        rows = to_backend(self.backend, fit.rows[stream.held_out] + self.offsets[id(fit.x)])
        held_out = fit.held_out(self.backend.xp.take(self.samples.x, rows, axis=0), stream.held_out)
        if self.keeps_held_out:
            self.held_out[stream.number] = held_out
        return held_out
