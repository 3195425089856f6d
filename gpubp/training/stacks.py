"""Many fits trained as stacks of networks: each gives the result of training it alone."""

import copy
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_backend, to_numpy
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import SAMPLES_AT_ONCE, fits_in_memory, networks_at_once
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import draw_masks
from gpubp.engine.plain.minibatches import Batch, Batches, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.optim.first_order import Optimizer
from gpubp.optim.schedules import value_at
from gpubp.training.callbacks import Callback, Progress
from gpubp.training.loop import run
from gpubp.training.plan import Plan, learning_rate_after
from gpubp.training.stackable import Follower, HeldOutSamples, StackableFit
from gpubp.training.state import state_of_some


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
        What each fit raised.
    """
    errors: list[Exception | None] = [None] * len(fits)
    for stack in stacks_of(fits, errors, callback):
        stack.train(errors)
    return errors


def stacks_of(
    fits: Sequence[StackableFit], errors: list[Exception | None], callback: Callback | None = None, n_in_all: int = 0
) -> "Iterator[StackOfFits]":
    """Yield stacks of fits, each made when it is needed; what a fit raises meanwhile is put into ``errors``.

    ``n_in_all`` is the number of fits including those of other processes: compiling pays for many fits.
    """
    n_in_all = max(n_in_all, len(fits))
    streams: dict[Any, RandomStream] = {}
    groups: dict[Any, list[StackMember]] = {}
    for k, fit in enumerate(fits):
        try:
            optimizer = fit.optimizer()
            member = StackMember(k, fit, _stream_of(fit, streams), optimizer)
            groups.setdefault(_kind(member), []).append(member)
        except ValueError as error:
            errors[k] = error
    for members in groups.values():
        members.sort(key=lambda member: member.stream.number)
        while members:
            n = _how_many(members)
            yield StackOfFits(members[:n], callback, n_in_all)
            members = members[n:]


def _how_many(members: "list[StackMember]") -> int:
    """Return how many of the networks fit into memory together, with the samples of all of them."""
    first, n, n_numbers, seen = members[0].fit, 0, 0, set[int]()
    size = first.batch_size(len(members[0].stream.rows))
    with first.backend.active():
        for _, fit, *_ in members:
            of_x = 0 if id(fit.x) in seen else fit.x.shape[0] * (fit.x.shape[1] + fit.targets.shape[1])
            if n and of_x and not fits_in_memory(fit.backend, n_numbers + of_x, fit.precision):
                break
            seen.add(id(fit.x))
            n, n_numbers = n + 1, n_numbers + of_x
        return min(n, networks_at_once(first.backend, first.network.sizes, first.precision, size, n_numbers))


# --- what networks share ---


def next_order(
    order: np.ndarray, size: int, random_state: np.random.RandomState | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Shuffle the order of the epoch before, as scikit-learn does.

    Parameters
    ----------
    order : array of int
        The order of the epoch before.
    size : int
        The size of a batch.
    random_state : RandomState, optional
        Without one nothing is shuffled.

    Returns
    -------
    tuple
        The new order, and the order to take batches in, which is None where the samples are taken as they lie.
    """
    if random_state is None:
        return order, None
    # the numbers that sklearn.utils.shuffle draws, without its checks
    shuffled = np.arange(len(order))
    random_state.shuffle(shuffled)
    order = order[shuffled]
    return order, order if size < len(order) else None


@dataclass(eq=False)
class RandomStream:
    """The random numbers of networks that draw the same for the same samples: held-out samples, order, masks.

    ``rows`` are rows of x to learn from; ``aside`` are the places in a fit's rows that are held out.
    """

    number: int
    random_state: np.random.RandomState
    rows: np.ndarray
    aside: np.ndarray
    order: np.ndarray


class StackMember(NamedTuple):
    """One of the fits of a stack, with its number among all fits."""

    number: int
    fit: StackableFit
    stream: RandomStream
    optimizer: Optimizer


def _stream_of(fit: StackableFit, streams: dict[Any, RandomStream]) -> RandomStream:
    """Return the stream of a fit; open a new one where none draws the same."""
    _, keys, position, *_ = cast(Any, fit.random_state.get_state())
    key = (id(fit.x), id(fit.rows), keys.tobytes(), position, fit.draws)
    if key not in streams:
        rows, aside = fit.rows, np.empty(0, np.int64)
        if fit.holds_out:
            own, aside = fit.split()
            rows = fit.rows[own]
        streams[key] = RandomStream(len(streams), fit.random_state, rows, aside, np.arange(len(rows)))
    return streams[key]


def _kind(member: StackMember) -> Any:
    """Return what is equal for networks of one stack."""
    fit, n_samples = member.fit, len(member.stream.rows)
    size = fit.batch_size(n_samples, stacklevel=5)
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
    """The networks of several fits as one stack: its samples, its batches, and what follows each epoch."""

    def __init__(self, members: list[StackMember], callback: Callback | None, n_in_all: int) -> None:
        streams = {stream.number: copy.deepcopy(stream) for stream in {member.stream for member in members}}
        self.members = [member._replace(stream=streams[member.stream.number]) for member in members]
        self.first = members[0].fit
        self.backend, self.precision, self.network = self.first.backend, self.first.precision, self.first.network
        self.callback, self.n_in_all = callback, n_in_all
        self.size = max(member.fit.batch_size(len(member.stream.rows)) for member in members)
        self.offsets: dict[int, int] = {}
        self.evaluated: dict[int, Any] = {}
        self.done = np.zeros(len(members), dtype=bool)
        self.left = np.arange(len(members))
        self.position: ModelState | None = None
        self.followers: list[Follower] = []

    def train(self, errors: list[Exception | None], kept: Container[int] | None = None) -> None:
        """Train the networks until each is done; what a fit raises is put into ``errors``.

        Parameters
        ----------
        errors : list of Exception or None
            By the number of the fit.
        kept : container of int, optional
            To continue networks that reached ``max_iter``, which has been raised since: the numbers of the fits that
            continue. All others leave the stack.
        """
        first, members = self.first, self.members
        workload = Workload(first.network, first.precision, len(members), len(first.rows), self.size)
        quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        trained = self.left
        try:
            with translate_gpu_errors(first.backend, workload), first.backend.active(), quietly:
                if self.position is None:
                    self._begin()
                elif kept is not None:
                    self._keep_some(kept)
                trained = self.left
                self._train(errors)
        except Exception as error:
            for k in trained:  # networks that had left the stack too: their parameters are lost with it
                errors[members[k].number] = error

    def ended(self, k: int) -> bool:
        """Return whether a network would not change any more with more epochs."""
        return bool(self.followers[k].stop_reason)

    def _begin(self) -> None:
        self.samples, self.weights_of = self._samples()
        theta = to_backend(self.backend, np.stack([member.fit.theta for member in self.members]), self.precision)
        state = optimizer_of_stack([member.optimizer for member in self.members]).init(self.backend.xp, theta)
        self.position = ModelState(theta, state, own_state=True)
        self.followers = [self._follower(k, theta) for k in range(len(self.members))]

    def _follower(self, k: int, theta: Array) -> Follower:
        _, fit, stream, _ = self.members[k]
        return fit.begin(len(stream.rows), theta[k, :], (lambda _: self.evaluated[k]) if fit.holds_out else None)

    def _keep_some(self, kept: Container[int]) -> None:
        """Remove all networks but those that continue."""
        assert self.position is not None
        goes_on = np.asarray([self.members[k].number in kept and not self.ended(k) for k in self.left.tolist()])
        self.position = state_of_some(self.backend, self.position, goes_on)
        self.left = self.left[goes_on]
        self.done[self.left] = False

    def _samples(self) -> tuple[Batch, np.ndarray | None]:
        """Concatenate the samples of all fits; sample weights that differ are rows of their own."""
        shared = {id(member.fit.x): member.fit.x for member in self.members}
        n_samples = 0
        for key_of_x, x in shared.items():
            self.offsets[key_of_x] = n_samples
            n_samples += x.shape[0]
        parts = [to_backend(self.backend, x, self.precision) for x in shared.values()]
        x = parts[0] if len(parts) == 1 else self.backend.xp.concat(parts, axis=0)
        targets = np.zeros((n_samples, self.network.sizes[-1]), self.precision)
        weights: list[np.ndarray] = []
        numbers: dict[Any, int] = {}
        weights_of, seen = np.zeros(len(self.members), dtype=np.int64), set[Any]()
        for k, (_, fit, *_) in enumerate(self.members):
            key, rows = (id(fit.x), id(fit.rows)), fit.rows + self.offsets[id(fit.x)]
            if key not in seen:
                seen.add(key)
                targets[rows] = fit.targets_to_learn()
            if fit.train_weights is not None:
                own_key = (*key, fit.train_weights.tobytes())
                if own_key not in numbers:
                    numbers[own_key] = len(weights)
                    weights.append(np.zeros(n_samples))
                    weights[-1][rows] = fit.train_weights
                weights_of[k] = numbers[own_key]
        targets = to_backend(self.backend, targets, self.precision)
        if not weights:
            return Batch(x, targets), None
        return Batch(x, targets, to_backend(self.backend, np.stack(weights), self.precision)), weights_of

    # --- training ---

    def _train(self, errors: list[Exception | None]) -> None:
        assert self.position is not None
        trained = self.left
        if not len(trained):
            return
        outcome = run(self.plan(trained), self.position)
        thetas = to_numpy(outcome.theta)
        for place, k in enumerate(trained):
            reason = "epochs" if self.done[k] else outcome.stop_reason
            try:
                self.followers[k].finish(thetas[place], "diverged" if outcome.diverged[place] else reason)
            except ValueError as error:
                errors[self.members[k].number] = error

    def plan(self, left: np.ndarray) -> Plan:
        """Make the plan for the networks that are left."""
        self.left = left
        members = [self.members[k] for k in left]
        optimizer = optimizer_of_stack([member.optimizer for member in members])
        objective = Objective(self.network, l2=of_each([member.fit.l2 for member in members]))
        epochs = max(member.fit.max_iter for member in members)
        n_steps = math.ceil(len(members[0].stream.rows) / self.size) * epochs
        return Plan(
            backend=self.backend,
            run_epoch=make_epoch_runner(
                self.backend, objective, optimizer, self.precision, self.size, n_steps, self.n_in_all
            ),
            batches=partial(self.batches, left),
            epochs=epochs,
            average="samples",
            callbacks=() if self.callback is None else (self.callback,),
            stop_when=partial(self.leaving, left),
            plan_for_some=lambda kept: self.plan(left[kept]),
            learning_rate=partial(learning_rate_after, optimizer),
            keeps_history=False,
        )

    def batches(self, left: np.ndarray) -> Batches:
        """Return the batches of one more epoch; each stream draws its order once for all networks that share it."""
        begins: dict[int, int] = {}
        orders: list[np.ndarray] = []
        for k in left:
            _, fit, stream, _ = self.members[k]
            if stream.number not in begins:
                begins[stream.number] = sum(map(len, orders))
                random_state = stream.random_state if fit.shuffle else None
                stream.order, in_order = next_order(stream.order, self.size, random_state)
                rows = stream.rows if in_order is None else stream.rows[in_order]
                orders.append(rows + self.offsets[id(fit.x)])
        streams = [self.members[k].stream for k in left]
        batches = PerNetworkBatches(
            self.backend,
            self.samples,
            self.size,
            np.concatenate(orders),
            np.asarray([begins[stream.number] for stream in streams]),
            np.asarray([len(stream.rows) for stream in streams]),
            None if self.weights_of is None else self.weights_of[left],
        )
        return self._with_masks(batches, streams) if self.first.dropout_rates else batches

    def _with_masks(self, batches: PerNetworkBatches, streams: list[RandomStream]) -> Iterator[tuple[Any, Batch]]:
        """Add the masks of dropout to each batch, drawn once for each stream."""
        for step, (part, batch) in enumerate(batches):
            of_streams: dict[int, list[np.ndarray]] = {}
            for stream in streams:
                if stream.number not in of_streams:
                    n = min(self.size, len(stream.rows) - step * self.size)
                    drawn = draw_masks(self.network, self.first.dropout_rates, stream.random_state, (n,))
                    padding = ((0, batch.x.shape[-2] - n), (0, 0))
                    of_streams[stream.number] = [np.pad(mask, padding) for mask in drawn]
            layers = zip(*(of_streams[stream.number] for stream in streams), strict=True)
            kept = tuple(to_backend(self.backend, np.stack(masks), self.precision) for masks in layers)
            yield part, batch._replace(dropout_masks=kept)

    # --- after an epoch ---

    def leaving(self, left: np.ndarray, progress: Progress, outputs: Array | None = None) -> np.ndarray:
        """Follow one epoch of every network that is left; return which of them are done. Outputs are not used."""
        if self.first.holds_out:
            self._evaluate(left, progress.theta)
        for place, k in enumerate(left):
            if not self.done[k]:
                self.done[k] = self._follow(k, place, progress)
        done: np.ndarray = self.done[left]
        return done

    def _follow(self, k: int, place: int, progress: Progress) -> bool:
        fit, follower, loss = self.members[k].fit, self.followers[k], float(progress.loss[place])
        if math.isnan(loss):
            return True  # it diverged
        theta = progress.theta[place, :] if fit.reads_theta else progress.theta
        stops = follower.follow(progress._replace(loss=loss, theta=theta, epochs=fit.max_iter))
        if follower.best is theta:
            follower.best = self.backend.xp.asarray(theta, copy=True)  # a view would keep the whole stack in memory
        return stops or fit.n_iter >= fit.max_iter

    def _evaluate(self, left: np.ndarray, theta: Array) -> None:
        """Evaluate the held-out samples of each stream, with all networks that share it at once."""
        places: dict[int, list[int]] = {}
        for place, k in enumerate(left):
            places.setdefault(self.members[k].stream.number, []).append(place)
        for of_stream in places.values():
            _, fit, stream, _ = self.members[left[of_stream[0]]]
            held_out = self._held_out(fit, stream)
            at_once = max(1, 4 * SAMPLES_AT_ONCE // len(stream.aside))
            for start in range(0, len(of_stream), at_once):
                some = of_stream[start : start + at_once]
                thetas = self.backend.xp.take(theta, to_backend(self.backend, np.asarray(some)), axis=0)
                for place, evaluated in zip(some, held_out.evaluate_each(thetas), strict=True):
                    self.evaluated[left[place]] = evaluated

    def _held_out(self, fit: StackableFit, stream: RandomStream) -> HeldOutSamples:
        rows = to_backend(self.backend, fit.rows[stream.aside] + self.offsets[id(fit.x)])
        return fit.held_out(self.backend.xp.take(self.samples.x, rows, axis=0), stream.aside)


# --- a setting for each network ---


def of_each(numbers: Sequence[Any]) -> Any:
    """Return the number if all are equal, else an array ``(K, 1)`` of NumPy."""
    return numbers[0] if all(number == numbers[0] for number in numbers) else np.asarray(numbers, float)[:, None]


@dataclass(frozen=True)
class ScheduleOfEach:
    """A schedule or a number for each network of a stack: called with the epochs, returns ``(K, 1)`` of NumPy."""

    settings: tuple[Any, ...]

    def __call__(self, epoch: Any) -> np.ndarray:
        """Evaluate all of them."""
        epochs = np.broadcast_to(np.ravel(epoch), len(self.settings)).tolist()
        return np.asarray([[value_at(setting, at)] for setting, at in zip(self.settings, epochs, strict=True)])


def optimizer_of_stack(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Make one optimizer for a stack from those of its networks, which differ only in their settings."""
    settings = {}
    for name in optimizers[0].settings:
        own = [optimizer.settings[name] for optimizer in optimizers]
        settings[name] = ScheduleOfEach(tuple(own)) if any(map(callable, own)) else of_each(own)
    return replace(optimizers[0], settings=settings)
