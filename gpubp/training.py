"""The one training loop: batches, shuffling, validation, stopping, history, callbacks."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backend import Backend, choose_backend, like, to_backend, to_numpy
from gpubp.checks import (
    admit_case_weights,
    admit_d,
    admit_theta,
    admit_x,
    check_options,
    check_stack_options,
    choose_precision,
)
from gpubp.descent import Rule, adam
from gpubp.errors import DataError, DivergenceWarning
from gpubp.initialization import Seed, check_seeds, initial_weights
from gpubp.losses import output_error
from gpubp.network import Network, output_layer
from gpubp.prediction import in_parts
from gpubp.second_order import SecondOrder
from gpubp.step import Batch, Objective, Step, make_step, total_weight

StopReason = Literal["epochs", "patience", "converged", "diverged", "callback", "interrupted"]
Score = Callable[[np.ndarray, np.ndarray], float]

AUTO_BATCH = 200


@dataclass
class History:
    """What was seen in each epoch: one entry an epoch, ``(K,)`` arrays of NumPy for a stack of K networks.

    ``error`` is the objective during the epoch, while the weights were changing; the validation figures are taken at
    the epoch's end. ``seconds`` counts from the start of training.
    """

    error: list[Any] = field(default_factory=list)
    validation_error: list[Any] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, error: Any, validation_error: Any | None, validation_score: float | None, seconds: float) -> None:
        """Note one more epoch."""
        self.error.append(error)
        self.seconds.append(seconds)
        if validation_error is not None:
            self.validation_error.append(validation_error)
        if validation_score is not None:
            self.validation_score.append(validation_score)


class Progress(NamedTuple):
    """What a callback is told after each epoch."""

    epoch: int  # epochs done
    epochs: int  # epochs planned
    error: Any
    validation_error: Any | None
    validation_score: float | None
    cases_per_second: float
    theta: Array  # on the device that trains


Callback = Callable[[Progress], bool | None]


@dataclass
class Position:
    """Where training stands: what a step changes, and the epochs done."""

    theta: Array
    state: Any
    epoch: int = 0


class Best(NamedTuple):
    """The best epoch so far, and for how many epochs nothing has been better by more than a tolerance."""

    figure: float  # higher is better
    theta: Array
    epoch: int
    stale: int

    def after(self, position: Position, figure: float, tolerance: float) -> "Best":
        """Compare with the figure of one more epoch."""
        stale = 0 if figure > self.figure + tolerance else self.stale + 1
        if figure > self.figure:
            return Best(figure, position.theta, position.epoch, stale)
        return self._replace(stale=stale)


@dataclass(frozen=True)
class Fit:
    """What training gives back.

    Attributes
    ----------
    network : Network
    theta : (P,) or (K, P) array
        In the namespace and on the device of the cases that were given.
    history : History
    stop_reason : str
        Why training ended: ``"epochs"`` (as many as asked for), ``"patience"``, ``"converged"``, ``"diverged"``,
        ``"callback"`` or ``"interrupted"``.
    best_epoch : int
        The epoch that ``theta`` is from; where training was interrupted, the last whole one.
    device : str
        Where it was trained: "cpu", "cuda:0", ...
    diverged : bool, or (K,) array of NumPy
        Whether the network left the finite numbers; its ``theta`` is then from the last epoch that ended well.
    """

    network: Network
    theta: Array
    history: History
    stop_reason: StopReason
    best_epoch: int
    device: str
    diverged: Any


def train(
    network: Network,
    x: Array,
    d: Array,
    *,
    theta: Array | None = None,
    rule: Rule | SecondOrder | None = None,
    epochs: int = 200,
    batch_size: int | Literal["auto", "sweep"] = "auto",
    shuffle: bool = True,
    seed: Seed | Sequence[Seed] = 0,
    mean: bool = True,
    l2: float = 0.0,
    case_weights: Array | None = None,
    validation: tuple[Array, Array] | None = None,
    score: Score | None = None,
    patience: int | None = None,
    tolerance: float = 1e-4,
    callbacks: Iterable[Callback] = (),
    device: str = "auto",
    dtype: str | None = None,
) -> Fit:
    """Train a network, or a stack of them, by back-propagation.

    Parameters
    ----------
    network : Network
    x : (b, i) array, or (K, b, i) with its own cases for each network of a stack
    d : (b, j) or (K, b, j) array
        Desired outputs; classes are one-hot.
    theta : (P,) or (K, P) array, optional
        The weights to start from; without it :func:`~gpubp.initialization.initial_weights` draws them from ``seed``.
    rule : Rule or SecondOrder, optional
        How the gradient changes the weights; Adam without it.
    epochs : int
        Sweeps through the cases.
    batch_size : int, "auto" or "sweep"
        Cases between two changes of the weights: 1 is after every case, "sweep" after all of them, as in the paper;
        "auto" is 200, and the sweep for methods of second order.
    shuffle : bool
        Whether the cases come in a new order in each epoch, drawn on the host, the same for every backend.
    seed : int, Generator, or sequence of int
        For the order of the cases and, without ``theta``, the first weights; a sequence of K seeds makes a stack of K
        networks, all of which see the cases in the order that the first seed gives.
    mean : bool
        Divide the error of a batch by the weight of its cases; without it the error is the paper's sum.
    l2 : float
        Adds ``l2 / 2`` times the sum of the squared weights, biases aside, to the sum of the errors.
    case_weights : (b,) or (K, b) array, optional
        How much each case counts.
    validation : (x, d), optional
        Cases to look at after each epoch and not to train on.
    score : callable, optional
        ``score(d, y) -> float`` on NumPy arrays, taken on the validation cases; higher is better.
    patience : int, optional
        Stop when the score, or without one the validation error, or without validation the error, has not become
        better by more than ``tolerance`` for so many epochs. With validation the best epoch's weights are returned.
    tolerance : float
    callbacks : iterable of callables
        Each is given a :class:`Progress` after each epoch; one that returns True ends the training.
    device : str
        See :func:`gpubp.backend.choose_backend`.
    dtype : {"float32", "float64"}, optional
        The precision to train in; without it that of ``theta``, else that of ``x``, else (whole numbers) float32.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If shapes do not fit together, cases are empty or not finite, or options contradict each other.
    DeviceError
        If the device cannot be used.

    Warns
    -----
    DivergenceWarning
        If training leaves the finite numbers; it then ends with the weights of the last epoch that ended well.

    Notes
    -----
    Ctrl-C ends the training and keeps what was learned.

    Examples
    --------
    >>> from gpubp import Network, momentum, train
    >>> x, d = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> network = Network((2, 4, 1), hidden="tanh", loss="binary_cross_entropy")
    >>> fit = train(network, x, d, rule=momentum(0.5, 0.9), epochs=300, batch_size="sweep", device="cpu")
    >>> bool(fit.history.error[-1] < 0.01)
    True
    """
    rule = adam() if rule is None else rule
    callbacks = tuple(callbacks)
    check_options(network, rule, epochs, batch_size, l2, validation, score, patience)
    generator = _order_generator(seed) if shuffle else None
    given = (x,) if theta is None else (theta, x)
    others = [array for array in (d, case_weights, *(validation or ())) if array is not None]
    backend = choose_backend(device, *given, *others)
    xp = backend.xp
    precision = choose_precision(backend, dtype, *given)
    if theta is None:
        theta = initial_weights(network, seed, dtype=precision)
    with backend.active(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        theta = admit_theta(network, backend, precision, theta)
        cases = _admit_batch(network, backend, precision, theta, x, d, case_weights)
        held_out = validation and _admit_batch(network, backend, precision, theta, *validation, of="validation ")
        n_cases = cases.x.shape[-2]
        size = _batch_size(batch_size, n_cases, rule)
        check_stack_options(theta, rule, score, patience)
        rule = _rule_on(backend, rule, precision, theta)
        step = make_step(backend, Objective(network, mean, l2), rule, precision)

        position = Position(theta, rule.init(xp, theta))
        best = Best(-math.inf, theta, 0, 0)
        last_good, diverged = theta, np.zeros(theta.shape[:-1], dtype=bool)
        stop_reason: StopReason | None = None
        history, began = History(), time.perf_counter()
        try:
            while stop_reason is None:
                epoch_began = time.perf_counter()
                error = _sweep(backend, step, position, cases, size, generator, mean)
                bad = ~(np.isfinite(error) & to_numpy(xp.all(xp.isfinite(position.theta), axis=-1)))
                diverged = diverged | bad
                if np.all(bad):
                    stop_reason = "diverged"
                    break
                if np.any(bad):
                    position.theta = xp.where(to_backend(backend, bad)[:, None], last_good, position.theta)
                last_good = position.theta
                position.epoch += 1

                validation_error, validation_score = _look(backend, network, position.theta, held_out, mean, score)
                history.add(error, validation_error, validation_score, time.perf_counter() - began)
                if theta.ndim == 1:
                    best = best.after(position, _figure(error, validation_error, validation_score), tolerance)
                progress = Progress(
                    position.epoch,
                    epochs,
                    error,
                    validation_error,
                    validation_score,
                    n_cases / (time.perf_counter() - epoch_began),
                    position.theta,
                )
                wants_to_stop = [callback(progress) for callback in callbacks]
                if any(wants_to_stop):
                    stop_reason = "callback"
                elif getattr(position.state, "converged", False):
                    stop_reason = "converged"
                elif patience is not None and best.stale >= patience:
                    stop_reason = "patience"
                elif position.epoch >= epochs:
                    stop_reason = "epochs"
        except KeyboardInterrupt:
            stop_reason = "interrupted"
            if bool(xp.all(xp.isfinite(position.theta))):
                last_good = position.theta
        if np.any(diverged):
            _warn_of_divergence(diverged, position.epoch)
        use_best = patience is not None and held_out is not None and best.epoch > 0
        return Fit(
            network,
            like(best.theta if use_best else last_good, x),
            history,
            stop_reason,
            best.epoch if use_best else position.epoch,
            backend.name,
            diverged[()],
        )


def _admit_batch(
    network: Network,
    backend: Backend,
    precision: str,
    theta: Array,
    x: Array,
    d: Array,
    case_weights: Array | None = None,
    of: str = "",
) -> Batch:
    x = admit_x(network, backend, precision, theta, x, name=f"{of}x")
    d = admit_d(network, backend, precision, x, d, name=f"{of}d")
    if case_weights is not None:
        case_weights = admit_case_weights(backend, precision, x, case_weights)
    return Batch(x, d, case_weights)


def _sweep(
    backend: Backend,
    step: Step,
    position: Position,
    cases: Batch,
    size: int,
    generator: np.random.Generator | None,
    mean: bool,
) -> Any:
    """Take one step for each batch of one sweep; the objective over the sweep comes back, ``(...)`` on the host."""
    xp = backend.xp
    error, weight = 0.0, 0.0
    for part, batch in _batches(backend, cases, size, generator):
        position.theta, position.state, value = step(position.theta, position.state, batch, position.epoch + part)
        counted = total_weight(xp, batch) if mean else 1.0
        error, weight = error + value * counted, weight + counted
    return _figure_on_host(error / weight if mean else error)


def _batches(
    backend: Backend, cases: Batch, size: int, generator: np.random.Generator | None
) -> Iterator[tuple[float, Batch]]:
    """Cut the cases into batches, in a new order where there is a generator; the last may be smaller.

    Yields
    ------
    part : float
        How much of the sweep is done before the batch.
    batch : Batch
    """
    xp, n_cases = backend.xp, cases.x.shape[-2]
    if size >= n_cases:
        yield 0.0, cases
        return
    index = "int32" if n_cases < 2**31 else "int64"
    order = None if generator is None else to_backend(backend, generator.permutation(n_cases), index)
    for start in range(0, n_cases, size):
        stop = min(start + size, n_cases)
        if order is None:
            x, d = cases.x[..., start:stop, :], cases.d[..., start:stop, :]
            weights = None if cases.case_weights is None else cases.case_weights[..., start:stop]
        else:
            chosen = order[start:stop]
            x, d = xp.take(cases.x, chosen, axis=-2), xp.take(cases.d, chosen, axis=-2)
            weights = None if cases.case_weights is None else xp.take(cases.case_weights, chosen, axis=-1)
        yield start / n_cases, Batch(x, d, weights)


def _look(
    backend: Backend, network: Network, theta: Array, held_out: Batch | None, mean: bool, score: Score | None
) -> tuple[Any | None, float | None]:
    """Take the error, without penalty, and the score of the validation cases."""
    if held_out is None:
        return None, None
    xp, error, seen = backend.xp, 0.0, []
    for x, d in zip(in_parts(held_out.x), in_parts(held_out.d), strict=True):
        layer = output_layer(xp, network, theta, x)
        error = error + output_error(xp, network.loss, network.activations[-1], *layer, d)[0]
        if score is not None:
            seen.append(to_numpy(layer.y))
    if mean:
        error = error / held_out.x.shape[-2]
    of_score = None if score is None else float(score(to_numpy(held_out.d), np.concatenate(seen, axis=-2)))
    return _figure_on_host(error), of_score


def _figure_on_host(figure: Array) -> Any:
    """Bring a figure to the host: a Python float for one network, ``(K,)`` of NumPy for a stack."""
    host = to_numpy(figure)
    return host if host.ndim else float(host)


def _figure(error: Any, validation_error: Any | None, validation_score: float | None) -> float:
    """Choose what patience watches: the score, else the validation error, else the error; higher is better."""
    if validation_score is not None:
        return validation_score
    return -float(error if validation_error is None else validation_error)


def _batch_size(batch_size: int | str, n_cases: int, rule: Rule | SecondOrder) -> int:
    if batch_size == "sweep" or isinstance(rule, SecondOrder):
        return n_cases
    return min(AUTO_BATCH if batch_size == "auto" else int(batch_size), n_cases)


def _order_generator(seed: Seed | Sequence[Seed]) -> np.random.Generator:
    """Make the generator of the cases' order, apart from the one that drew the weights unless it is given as one."""
    first = check_seeds(seed)[0]
    return first if isinstance(first, np.random.Generator) else np.random.default_rng((int(first), 1))


def _rule_on(backend: Backend, rule: Rule | SecondOrder, precision: str, theta: Array) -> Rule | SecondOrder:
    """Move settings that are arrays, one number a network, to the backend."""
    if isinstance(rule, SecondOrder):
        return rule
    settings = dict(rule.settings)
    for name, value in settings.items():
        shape = tuple(getattr(value, "shape", ()))
        if shape and theta.ndim == 2 and shape == (theta.shape[0], 1):
            settings[name] = to_backend(backend, value, precision)
        elif shape or not (callable(value) or hasattr(value, "__float__")):
            raise DataError(f"{name} must be a number, a schedule, or for a stack an array (K, 1), got {value!r:.80}")
    return replace(rule, settings=settings)


def _warn_of_divergence(diverged: np.ndarray, epochs: int) -> None:
    which = f"{diverged.sum()} of {diverged.size} networks" if diverged.ndim else f"training, after {epochs} epochs,"
    warnings.warn(
        f"{which} left the finite numbers; the last good weights were kept. A smaller learning rate, scaled inputs or "
        "gpubp.clipped(rule, 1.0) help",
        DivergenceWarning,
        stacklevel=3,
    )
