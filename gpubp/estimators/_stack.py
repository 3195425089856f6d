"""Several models fitted together: their networks are trained as a stack, and each becomes what it would be alone."""

import copy
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import scipy
import scipy.sparse

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, to_backend, to_numpy
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import SAMPLES_AT_ONCE, has_room_for, home_of, networks_at_once
from gpubp.engine.argument_checks import choose_precision
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.dropout import draw_masks
from gpubp.engine.plain.minibatches import Batch, Batches, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.estimators._held_out import HeldOut, Look, hold_out, loss_and_outputs, split
from gpubp.estimators._monitor import Monitor, refuse_weights
from gpubp.estimators._optimizer import learning_rate_of, optimizer_of
from gpubp.estimators._samples import next_order
from gpubp.estimators._sklearn_callbacks import FitTask
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.schedules import value_at
from gpubp.training.loop import Callback, Plan, Progress, run
from gpubp.training.state import state_of_some


class Ready(NamedTuple):
    """A fit that is ready to train.

    Attributes
    ----------
    model : MLPClassifier or MLPRegressor
        With its first weights, and a history that is empty.
    network, rates
        What it trains, and the rates of its dropout.
    backend, precision
        Where, and in which precision.
    random_state : RandomState
        For what is drawn from now on.
    x : array
        As it was admitted; fits that have the same object share it on the device.
    rows : array of int
        Which rows of x are the model's, those that it may hold out among them.
    d : (n, j) array of NumPy
        The targets of these rows.
    weights, train_weights : (n,) arrays of NumPy, or None
        What the user gave, and what the model learns with.
    """

    model: Any
    network: Network
    rates: tuple[float, ...]
    backend: Backend
    precision: str
    random_state: np.random.RandomState
    x: Any
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    train_weights: np.ndarray | None


def reason_to_fit_alone(model: Any, x: Any = None) -> str:
    """Say why a model cannot be fitted together with others; nothing where it can."""
    if model.solver == "lbfgs":
        return "solver='lbfgs' searches along lines of its own"
    if model.callbacks or getattr(model, "_skl_callbacks", None):
        return "its callbacks follow one fit at a time"
    if model.max_time is not None:
        return "max_time is for one fit"
    if model.n_restarts > 1:
        return "it is fitted several times"
    if model.parallel is not None:
        return "it is fitted by several processes"
    if scipy.sparse.issparse(x):
        return "X is sparse"
    if x is not None:
        backend = choose_backend(model.device, x)
        with backend.active():
            if home_of(backend, choose_precision(backend, model.dtype, x), x) is not backend:
                return f"{backend.name} has no room for X, which a single fit takes in parts"
    return ""


def fit_together(fits: Sequence[Ready], callback: Callback | None = None) -> list[Exception | None]:
    """Fit models, as many at a time as may be; each becomes what it would be alone.

    Parameters
    ----------
    fits : sequence of Ready
    callback : callable, optional
        Told the progress of each stack after each epoch: of its networks the error, NaN of those that are done. True
        ends the training of the stack.

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
    fits: Sequence[Ready], errors: list[Exception | None], callback: Callback | None = None, n_in_all: int = 0
) -> "Iterator[StackOfFits]":
    """Make stacks of fits, each when it is asked for; what a fit raises on the way is noted.

    There may be more fits than these, ``n_in_all``, which others do: whether it pays to compile is a matter of all.
    """
    n_in_all = max(n_in_all, len(fits))
    streams: dict[Any, Stream] = {}
    groups: dict[Any, list[Member]] = {}
    for k, fit in enumerate(fits):
        try:
            rate = learning_rate_of(fit.model)
            member = Member(k, fit, _stream_of(fit, streams), optimizer_of(fit.model, rate), rate)
            groups.setdefault(_kind(member), []).append(member)
        except ValueError as fault:
            errors[k] = fault
    for members in groups.values():
        members.sort(key=lambda member: member.stream.number)
        while members:
            n = _how_many(members)
            yield StackOfFits(members[:n], callback, n_in_all)
            members = members[n:]


def _how_many(members: "list[Member]") -> int:
    """Choose how many of some networks are a stack: as many as there is room for beside the samples of all of them."""
    first, n, n_numbers, seen = members[0].fit, 0, 0, set[int]()
    size = _size(first.model, members[0].stream)
    with first.backend.active():
        for _, fit, *_ in members:
            of_x = 0 if id(fit.x) in seen else fit.x.shape[0] * (fit.x.shape[1] + fit.targets.shape[1])
            if n and of_x and not has_room_for(fit.backend, n_numbers + of_x, fit.precision):
                break
            seen.add(id(fit.x))
            n, n_numbers = n + 1, n_numbers + of_x
        return min(n, networks_at_once(first.backend, first.network.sizes, first.precision, size, n_numbers))


# --- what networks share ---


@dataclass(eq=False)
class Stream:
    """What networks share that draw the same random numbers for the same samples: the samples held out, and the order.

    ``rows`` are rows of x, and ``aside`` are places among the rows of a fit.
    """

    number: int
    random_state: np.random.RandomState
    rows: np.ndarray
    aside: np.ndarray
    order: np.ndarray


class Member(NamedTuple):
    """One of the fits that make a stack."""

    number: int
    fit: Ready
    stream: Stream
    optimizer: Optimizer
    rate: Any


def _stream_of(fit: Ready, streams: dict[Any, Stream]) -> Stream:
    """Find the stream of a fit among those there are, or open one and choose the samples that it holds out."""
    model, (_, keys, position, *_) = fit.model, cast(Any, fit.random_state.get_state())
    fraction = model.validation_fraction if model.early_stopping else None
    key = (
        id(fit.x),
        id(fit.rows),
        keys.tobytes(),
        position,
        type(model),
        fraction,
        model.shuffle,
        fit.targets.shape[1],
    )
    if key not in streams:
        rows, aside = fit.rows, np.empty(0, np.int64)
        if model.early_stopping:
            own, aside = split(model, fit.targets, fit.random_state)
            rows = fit.rows[own]
        streams[key] = Stream(len(streams), fit.random_state, rows, aside, np.arange(len(rows)))
    return streams[key]


def _size(model: Any, stream: Stream) -> int:
    return int(model._samples_in_a_step(len(stream.rows)))


def _kind(member: Member) -> Any:
    """Tell what must be equal for networks to be in one stack."""
    fit, model, n_samples = member.fit, member.fit.model, len(member.stream.rows)
    size = int(model._batch_size(n_samples))
    n_steps = math.ceil(n_samples / size)
    labels = getattr(model, "_label_binarizer", None)
    return (
        type(model),
        fit.network,
        fit.rates,
        fit.backend.name,
        fit.backend.matmul_precision,
        fit.precision,
        member.optimizer.name,
        n_steps,
        size if n_steps > 1 else None,
        fit.train_weights is None,
        model.early_stopping,
        getattr(model, "label_smoothing", 0.0),
        labels and (labels.y_type_, repr([np.asarray(of_column).tolist() for of_column in labels.classes_])),
    )


# --- a stack ---


class StackOfFits:
    """The networks of several fits as one stack: its samples, its batches, and what follows each epoch."""

    def __init__(self, members: list[Member], callback: Callback | None, n_in_all: int) -> None:
        streams = {stream.number: copy.deepcopy(stream) for stream in {member.stream for member in members}}
        self.members = [member._replace(stream=streams[member.stream.number]) for member in members]
        self.first = members[0].fit
        self.backend, self.precision, self.network = self.first.backend, self.first.precision, self.first.network
        self.callback, self.n_in_all = callback, n_in_all
        self.size = max(_size(member.fit.model, member.stream) for member in members)
        self.offsets: dict[int, int] = {}
        self.looks: dict[int, Look] = {}
        self.gone = np.zeros(len(members), dtype=bool)
        self.left = np.arange(len(members))
        self.position: ModelState | None = None
        self.monitors: list[Monitor] = []

    def _samples(self) -> tuple[Batch, np.ndarray | None]:
        """Put the samples of all fits one behind the other; sample weights that differ are rows of their own."""
        shared = {id(member.fit.x): member.fit.x for member in self.members}
        n_samples = 0
        for whose, x in shared.items():
            self.offsets[whose] = n_samples
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
                targets[rows] = fit.model._to_learn(fit.targets)
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

    def _watch(self, k: int, theta: Array) -> Monitor:
        model, n_samples = self.members[k].fit.model, len(self.members[k].stream.rows)
        look = (lambda theta: self.looks[k]) if model.early_stopping else None
        model.n_iter_ = 0
        return Monitor(model, n_samples, look, theta[k, :], FitTask(model, None, None, None, model.max_iter))

    def plan(self, left: np.ndarray) -> Plan:
        """Make the plan for those of the networks that are left."""
        self.left = left
        members = [self.members[k] for k in left]
        optimizer = optimizer_of_stack([member.optimizer for member in members])
        objective = Objective(self.network, l2=of_each([float(member.fit.model.alpha) for member in members]))
        epochs = max(member.fit.model.max_iter for member in members)
        n_steps = math.ceil(len(members[0].stream.rows) / self.size) * epochs
        return Plan(
            backend=self.backend,
            network=self.network,
            run_epoch=make_epoch_runner(
                self.backend, objective, optimizer, self.precision, self.size, n_steps, self.n_in_all
            ),
            batches=partial(self.batches, left),
            epochs=epochs,
            average="samples",
            callbacks=() if self.callback is None else (self.callback,),
            stop_when=partial(self.leaving, left),
            plan_for_some=lambda kept: self.plan(left[kept]),
            keeps_history=False,
        )

    def batches(self, left: np.ndarray) -> Batches:
        """Give the batches of one more epoch: each stream draws its order once, whoever shares it."""
        begins: dict[int, int] = {}
        orders: list[np.ndarray] = []
        for k in left:
            _, fit, stream, *_ = self.members[k]
            if stream.number not in begins:
                begins[stream.number] = sum(map(len, orders))
                stream.order, in_order = next_order(
                    stream.order, self.size, stream.random_state if fit.model.shuffle else None
                )
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
        return self._with_masks(batches, streams) if self.first.rates else batches

    def _with_masks(self, batches: PerNetworkBatches, streams: list[Stream]) -> Iterator[tuple[Any, Batch]]:
        """Give each batch the masks of dropout, drawn once for each stream."""
        for step, (part, batch) in enumerate(batches):
            of_streams: dict[int, list[np.ndarray]] = {}
            for stream in streams:
                if stream.number not in of_streams:
                    n = min(self.size, len(stream.rows) - step * self.size)
                    drawn = draw_masks(self.network, self.first.rates, stream.random_state, (n,))
                    filled_up = ((0, batch.x.shape[-2] - n), (0, 0))
                    of_streams[stream.number] = [np.pad(mask, filled_up) for mask in drawn]
            layers = zip(*(of_streams[stream.number] for stream in streams), strict=True)
            kept = tuple(to_backend(self.backend, np.stack(masks), self.precision) for masks in layers)
            yield part, batch._replace(dropout_masks=kept)

    def leaving(self, left: np.ndarray, progress: Progress, outputs: Array | None = None) -> np.ndarray:
        """Follow one more epoch of every network that is left; tell which are done. Outputs are of no use here."""
        if self.first.model.early_stopping:
            self._look(left, progress.theta)
        for place, k in enumerate(left):
            if not self.gone[k]:
                self.gone[k] = self._follow(k, place, progress)
        done: np.ndarray = self.gone[left]
        return done

    def _follow(self, k: int, place: int, progress: Progress) -> bool:
        model, monitor, error = self.members[k].fit.model, self.monitors[k], float(progress.loss[place])
        if math.isnan(error):
            return True  # it left the finite numbers
        theta = progress.theta[place, :] if monitor.look else progress.theta
        own = progress._replace(loss=error, theta=theta, epochs=model.max_iter)
        stops = monitor.follow(self.members[k].rate, own)
        if monitor.best is theta:
            monitor.best = self.backend.xp.asarray(theta, copy=True)  # rather than keep the whole stack
        return stops or model.n_iter_ >= model.max_iter

    def _look(self, left: np.ndarray, theta: Array) -> None:
        """Look at the samples that each stream holds out, with all networks that share it at once."""
        places: dict[int, list[int]] = {}
        for place, k in enumerate(left):
            places.setdefault(self.members[k].stream.number, []).append(place)
        for of_stream in places.values():
            _, fit, stream, *_ = self.members[left[of_stream[0]]]
            held_out = self._held_out(fit, stream)
            at_once = max(1, 4 * SAMPLES_AT_ONCE // len(stream.aside))
            for start in range(0, len(of_stream), at_once):
                some = of_stream[start : start + at_once]
                thetas = self.backend.xp.take(theta, to_backend(self.backend, np.asarray(some)), axis=0)
                losses, outputs = loss_and_outputs(self.backend, self.precision, self.network, thetas, held_out)
                for at, place in enumerate(some):
                    self.looks[left[place]] = Look(held_out, float(losses[at]), outputs[at])

    def _held_out(self, fit: Ready, stream: Stream) -> HeldOut:
        rows = to_backend(self.backend, fit.rows[stream.aside] + self.offsets[id(fit.x)])
        x = self.backend.xp.take(self.samples.x, rows, axis=0)
        weights = None if fit.weights is None else fit.weights[stream.aside]
        return hold_out(fit.model, self.backend, self.precision, x, fit.targets[stream.aside], weights)

    def train(self, errors: list[Exception | None], kept: Container[int] | None = None) -> None:
        """Train the networks until each is done; what a fit raises is noted.

        Parameters
        ----------
        errors : list of Exception or None
            By the number of the fit.
        kept : container of int, optional
            For networks that go on after they were at ``max_iter``, which is now larger: the numbers of the fits that
            do; all others leave.
        """
        first, members = self.first, self.members
        load = Workload(first.network, first.precision, len(members), len(first.rows), self.size)
        quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        trained = self.left
        try:
            with translate_gpu_errors(first.backend, load), first.backend.active(), quietly:
                if self.position is None:
                    self._begin()
                elif kept is not None:
                    self._keep_some(kept)
                trained = self.left
                self._train(errors)
        except Exception as error:
            for k in trained:  # those too that had left the stack: what they had learned is lost with it
                errors[members[k].number] = error

    def _begin(self) -> None:
        self.samples, self.weights_of = self._samples()
        thetas = np.stack([member.fit.model._theta() for member in self.members])
        theta = to_backend(self.backend, thetas, self.precision)
        state = optimizer_of_stack([member.optimizer for member in self.members]).init(self.backend.xp, theta)
        self.position = ModelState(theta, state, own_state=True)
        self.monitors = [self._watch(k, theta) for k in range(len(self.members))]

    def _keep_some(self, kept: Container[int]) -> None:
        """Let go all networks but those that go on."""
        assert self.position is not None
        goes_on = np.asarray([self.members[k].number in kept and not self.ended(k) for k in self.left.tolist()])
        self.position = state_of_some(self.backend, self.position, goes_on)
        self.left = self.left[goes_on]
        self.gone[self.left] = False

    def ended(self, k: int) -> bool:
        """Tell whether a network would not change any more, however many epochs it had."""
        return bool(self.monitors[k].stop_reason)

    def _train(self, errors: list[Exception | None]) -> None:
        assert self.position is not None
        trained = self.left
        if not len(trained):
            return
        outcome = run(self.plan(trained), self.position)
        thetas = to_numpy(outcome.theta)
        for place, k in enumerate(trained):
            reason = "epochs" if self.gone[k] else outcome.stop_reason
            try:
                self._finish(self.monitors[k], thetas[place], "diverged" if outcome.diverged[place] else reason)
            except ValueError as error:
                errors[self.members[k].number] = error

    def _finish(self, monitor: Monitor, theta: np.ndarray, reason: str) -> None:
        model = monitor.model
        if reason == "diverged":
            monitor.stop_reason = reason
            monitor.diverged()
            if not model.early_stopping:
                refuse_weights()
        model._keep(to_numpy(monitor.best) if model.early_stopping else theta)
        monitor.finish(reason, incremental=False)
        monitor.task.end()


# --- numbers of each network ---


def of_each(numbers: Sequence[Any]) -> Any:
    """Give the number that all have, or ``(K, 1)`` of NumPy where they differ."""
    return numbers[0] if all(number == numbers[0] for number in numbers) else np.asarray(numbers, float)[:, None]


@dataclass(frozen=True)
class ScheduleOfEach:
    """Schedules, or numbers, one for each network of a stack: ``(K, 1)`` of NumPy, after as many epochs of each."""

    settings: tuple[Any, ...]

    def __call__(self, epoch: Any) -> np.ndarray:
        """Evaluate all of them."""
        epochs = np.broadcast_to(np.ravel(epoch), len(self.settings)).tolist()
        return np.asarray([[value_at(setting, at)] for setting, at in zip(self.settings, epochs, strict=True)])


def optimizer_of_stack(optimizers: Sequence[Optimizer]) -> Optimizer:
    """Make one optimizer for a stack of those of its networks, which differ in their settings alone."""
    settings = {}
    for name in optimizers[0].settings:
        own = [optimizer.settings[name] for optimizer in optimizers]
        settings[name] = ScheduleOfEach(tuple(own)) if any(map(callable, own)) else of_each(own)
    return replace(optimizers[0], settings=settings)
