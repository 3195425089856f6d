"""The door of training: arrays and options checked, moved to the device, and handed to the loop."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import Any, Literal

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, choose_backend, like, to_backend, to_numpy, with_matmul
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import home_of
from gpubp.data.streaming.stream import Stream
from gpubp.data.streaming.validation import stream_epochs, validate_stream
from gpubp.distributed.launch import process_group_for
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import (
    check_gradient_accumulation,
    check_options,
    check_stack_options,
    choose_precision,
    host_array,
    validate_sample_weight,
    validate_targets,
    validate_theta,
    validate_x,
)
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import DEFAULT_BATCH_SIZE, ArrayBatches, Batch, BatchesInParts, Orders
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.engine.prediction import outputs
from gpubp.errors import DataError, DivergenceWarning
from gpubp.nn.initialization import Seed, check_seeds, initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, adam, loss_scaled
from gpubp.optim.second_order import SecondOrder
from gpubp.training.checkpoints import Checkpoint, Checkpoints, Keeper, Settings, open_folder, settings_of
from gpubp.training.loop import Callback, Plan, Progress, Score, StopReason, begin, run
from gpubp.training.state import History

StopWhen = Callable[[Array, Array], Array]
"""``until(targets, outputs)`` tells whether a network is done, from desired and present outputs."""

OPERATIONS_OF_A_PART = 2e11  # after which a checkpoint may be written before an epoch ends: seconds on a CPU
STEPS_OF_A_PART = 2**16  # at most, for networks whose steps are more than their operations


@dataclass(frozen=True, eq=False)
class Fit:
    """What training gives back.

    Attributes
    ----------
    network : Network
    theta : (P,) or (K, P) array
        In the namespace and on the device of the samples that were given.
    history : History
    stop_reason : str
        Why training ended: ``"epochs"`` (as many as asked for), ``"solved"`` (``stop_when`` was true of all networks),
        ``"patience"``, ``"converged"``, ``"diverged"``, ``"callback"`` or ``"interrupted"``.
    best_epoch : int, or (K,) array of NumPy for a stack with ``stop_when``
        The epoch that ``theta`` is from; where training was interrupted, the last whole one. In a stack a network that
        diverged counts the epochs that the others went on, too.
    solved : bool, or (K,) array of NumPy, or None without ``stop_when``
        For which networks ``stop_when`` became true.
    device : str
        Where it was trained: "cpu", "cuda:0", ...
    diverged : bool, or (K,) array of NumPy
        Whether the network left the finite numbers; its ``theta`` is then from the last epoch that ended well.
    """

    network: Network
    theta: Array
    history: History
    stop_reason: StopReason
    best_epoch: Any
    device: str
    diverged: Any
    solved: Any = None

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        stack = f"{self.theta.shape[0]} networks " if self.theta.ndim == 2 else ""
        return f"Fit({stack}{sizes}, epoch {np.max(self.best_epoch)}, ended by {self.stop_reason}, on {self.device})"


def train(
    network: Network,
    X: Array | Stream,
    targets: Array | None = None,
    *,
    theta: Array | None = None,
    optimizer: Optimizer | SecondOrder | None = None,
    epochs: int = 200,
    batch_size: int | Literal["auto", "full"] = "auto",
    shuffle: bool = True,
    seed: Seed | Sequence[Seed] = 0,
    reduction: Literal["mean", "sum"] = "mean",
    l2: float | Array = 0.0,
    sample_weight: Array | None = None,
    validation_data: tuple[Array, Array] | None = None,
    scoring: Score | None = None,
    patience: int | None = None,
    tolerance: float = 1e-4,
    monitor: Literal["score", "loss"] = "score",
    stop_when: StopWhen | None = None,
    callbacks: Iterable[Callback] = (),
    device: str = "auto",
    dtype: str | None = None,
    matmul_precision: str = "float32",
    history: bool = True,
    checkpoint: str | PathLike[str] | Checkpoints | None = None,
    resume: bool = False,
    gradient_accumulation: int = 1,
    parallel: str | ProcessGroup | None = None,
) -> Fit:
    """Train a network, or a stack of them, by back-propagation.

    Parameters
    ----------
    network : Network
    X : (b, i) array, or (K, b, i) with its own samples for each network of a stack, or Stream
        A stream has its targets with it: see :func:`gpubp.open_stream`. It is trained on in batches, without
        ``sample_weight`` and ``stop_when``.
    targets : (b, j) or (K, b, j) array
        Targets; classes are one-hot.
    theta : (P,) or (K, P) array, optional
        The weights to start from; without it :func:`~gpubp.nn.initialization.initial_weights` draws them from ``seed``.
    optimizer : Optimizer or SecondOrder, optional
        How the gradient changes the weights; Adam without it.
    epochs : int
        Epochs through the samples.
    batch_size : int, "auto" or "full"
        Samples between two changes of the weights: 1 is after every sample, "full" after all of them, as in the paper;
        "auto" is 200, and the epoch for methods of second order.
    shuffle : bool
        Whether the samples come in a new order in each epoch, drawn on the host, the same for every backend.
    seed : int, Generator, or sequence of int
        For the order of the samples and, without ``theta``, the first weights; a sequence of K seeds makes a stack of K
        networks, all of which see the samples in the order that the first seed gives.
    reduction : {"mean", "sum"}
        Divide the error of a batch by the weight of its samples; without it the error is the paper's sum.
    l2 : float, or (K, 1) array for a stack
        Adds ``l2 / 2`` times the sum of the squared weights, biases aside, to the sum of the errors.
    sample_weight : (b,) or (K, b) array, optional
        How much each sample counts.
    validation_data : (X, targets), optional
        Samples to look at after each epoch and not to train on.
    scoring : callable, optional
        ``scoring(targets, outputs) -> float`` on NumPy arrays, taken on the validation samples; higher is better.
    patience : int, optional
        Stop when the score, or without one the validation error, or without validation the error, has not become
        better by more than ``tolerance`` for so many epochs. With validation the best epoch's weights are returned.
    tolerance : float
    monitor : {"score", "loss"}
        What patience watches where there is a score: the score, or the error all the same.
    stop_when : callable, optional
        ``stop_when(targets, outputs) -> bool``, taken after each epoch on the targets of the samples and on the present
        ones, in the namespace that trains; True ends the training. For a stack, whose y are ``(K, b, j)``, it gives
        ``(K,)``, and a network that is done keeps its weights while the others go on: see :func:`gpubp.all_correct`.
    callbacks : iterable of callables
        Each is given a :class:`Progress` after each epoch; one that returns True ends the training.
    device : str
        See :func:`gpubp.backends.backend.choose_backend`. Samples that a GPU has no room for stay on the host, and go
        there as they are needed.
    dtype : {"float32", "float64"}, optional
        The precision to train in; without it that of ``theta``, else that of ``X``, else (whole numbers) float32.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        What the operands of matrix products are rounded to; the products are summed, and all else is computed, in
        float32. "float32" rounds nothing, in float64 neither. The others are for NVIDIA's tensor cores; other devices
        give the same numbers, and are slower for it. With "float16" derivatives are scaled, and updates that overflow
        left out (:func:`gpubp.optim.first_order.loss_scaled`).
    history : bool
        Whether to keep the figures of each epoch: of 100,000 networks and 1,000 epochs they are 800 MB.
    checkpoint : path or Checkpoints, optional
        A folder to keep checkpoints in, one a minute or as :class:`gpubp.Checkpoints` says, and one when training ends.
    resume : bool
        Go on from the newest checkpoint in the folder, as if training had never stopped; begin where there is none. All
        must be given as before, but for ``epochs``, ``patience``, ``device`` and ``callbacks``.
    gradient_accumulation : int
        So many batches are one to the optimizer: their gradients are summed before the weights change. It bounds the
        memory that a step takes, and changes nothing else.
    parallel : "mpi" or None
        "mpi": all processes that a launcher of MPI has started, ``mpiexec -n 4 python ...``, train this one network.
        Each must call this with the same arguments. Of every batch each takes its share, they sum their gradients, and
        all come to the same weights; on GPUs each process has one of its own. The batch is that of all processes
        together. Callbacks, ``score`` and ``stop_when`` are called in the first process alone; Ctrl-C ends all, and
        keeps nothing. See docs/scaling.md.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If shapes do not fit together, samples are empty or not finite, or options contradict each other.
    DeviceError
        If the device cannot be used, or fails: the message names the cause and the fix. Where a GPU's memory is full
        it names a batch size that would fit, and the memory is given back.
    CheckpointError
        If the folder holds checkpoints and ``resume`` is not given, or they are of another training or damaged, or the
        last one cannot be written: then its ``fit`` is what was learned.

    Warns
    -----
    DivergenceWarning
        If training leaves the finite numbers; it then ends with the weights of the last epoch that ended well.
    CheckpointWarning
        If a checkpoint cannot be written and training goes on without, or is damaged and one before it is taken.

    Notes
    -----
    Ctrl-C ends the training and keeps what was learned.

    What is resumed ends with the same bits as what never stopped, on the same machine and with as many ``epochs``: the
    order of the samples is drawn again from where it was, and the optimizer's means, the best weights and the history
    go on.

    Examples
    --------
    >>> from gpubp import Network, momentum, train
    >>> X, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> network = Network((2, 4, 1), activation="tanh", loss="binary_cross_entropy")
    >>> fit = train(network, X, targets, optimizer=momentum(0.5, 0.9), epochs=300, batch_size="full", device="cpu")
    >>> bool(fit.history.loss[-1] < 0.01)
    True
    """
    optimizer = adam() if optimizer is None else optimizer
    callbacks = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    processes = process_group_for(parallel)
    with processes.raise_on_all():
        check_options(
            network,
            optimizer,
            epochs,
            batch_size,
            l2,
            tolerance,
            callbacks,
            validation_data,
            scoring,
            patience,
            stop_when,
        )
        check_gradient_accumulation(gradient_accumulation, batch_size, optimizer)
        if monitor not in ("score", "loss"):
            raise DataError(f"monitor must be 'score' or 'loss', got {monitor!r}")
        checkpoints, found = _checkpoints(checkpoint, resume, opened=processes.rank == 0)
        orders = Orders(_order_generator(seed)) if shuffle else None
        if isinstance(X, Stream):
            validate_stream(
                network, X, targets, optimizer, epochs, batch_size, sample_weight, stop_when, processes.world_size
            )
        else:
            X, targets = host_array("X", X), host_array("targets", targets)
        given = (X,) if theta is None else (theta, X)
        others = [array for array in (targets, sample_weight, *(validation_data or ())) if array is not None]
        backend = choose_backend(device, *given, *others)
        precision = choose_precision(backend, dtype, *given)
        if matmul_precision == "float16":
            optimizer = _scaled_optimizer(optimizer)
        if theta is None:
            theta = initial_weights(network, seed, dtype=precision)
        n_samples, n_networks = _counts(theta, X)
        size = min(gradient_accumulation * _batch_size(batch_size, n_samples, optimizer), n_samples)

    if processes.world_size > 1:
        of_host = all(map(array_api_compat.is_numpy_array, (*given, *others)))
        backend = processes.assign_gpu(backend, device if of_host else backend.name)
        processes.check_equal(
            {
                "the network": (network.sizes, network.activations, network.loss),
                "the optimizer": optimizer.name,
                "the number of samples": n_samples,
                "the batch size": size,
                "epochs": epochs,
                "the precision": (precision, matmul_precision),
                "what is looked at": [given is not None for given in (validation_data, scoring, patience, stop_when)],
                "whether checkpoints are kept, and gone on from": (checkpoint is not None, resume),
            }
        )
        theta, orders, found = processes.on_rank_0(lambda: (to_numpy(theta), orders, found))
    backend = with_matmul(backend, matmul_precision, precision)

    part = None if checkpoints is None else _steps_of_a_part(network, size, n_networks)
    same: dict[str, Any] = {"batch_size": size, "steps_of_a_part": part, "shuffle": shuffle}
    same |= {"seed": orders and orders.state()}
    same |= {
        "reduction": reduction,
        "l2": l2,
        "dtype": precision,
        "matmul_precision": matmul_precision,
        "history": history,
    }
    if checkpoints is not None and isinstance(X, Stream):
        same |= X.fingerprint(size, precision)
    same |= {
        "patience": patience and "given",
        "tolerance": tolerance,
        "monitor": monitor,
        "scoring": scoring,
        "stop_when": stop_when,
    }

    def on_device() -> Fit:
        with processes.raise_on_all():
            parameters = validate_theta(network, backend, precision, theta)
            home = home_of(backend, precision, X, targets)
            rows = processes.shard(n_samples).rows  # that this process looks at for all
            samples = Batch(None, None)
            if not isinstance(X, Stream):
                samples = _validate_batch(network, home, precision, parameters, X, targets, sample_weight, rows=rows)
            held_out = validation_data and _validate_batch(
                network, backend, precision, parameters, *validation_data, of="validation "
            )
            check_stack_options(parameters, optimizer, seed, scoring, patience)
            optimizer_there = _optimizer_for(optimizer, parameters)
            l2_there = _number_of_each("l2", l2, parameters)
        keeper = None
        if checkpoints is not None:

            def settings() -> Settings:
                data = {
                    "X": samples.x,
                    "targets": samples.targets,
                    "sample_weight": samples.sample_weight,
                    "theta": parameters,
                }
                data |= {} if held_out is None else {"validation_X": held_out.x, "validation_targets": held_out.targets}
                return settings_of(network, optimizer_there, data, same)

            keeper = Keeper(checkpoints, processes.on_rank_0(settings), orders)

        def plan_for(
            optimizer: Optimizer | SecondOrder, l2: Any, samples: Batch, held_out: Batch | None, n_networks: int
        ) -> Plan:
            objective = Objective(network, reduction, l2, False, parts=gradient_accumulation, processes=processes)
            n_steps = epochs * math.ceil(n_samples / size)
            return Plan(
                backend=backend,
                network=network,
                run_epoch=make_epoch_runner(
                    backend,
                    objective,
                    optimizer,
                    precision,
                    size,
                    n_steps,
                    n_networks,
                    outputs_wanted=stop_when is not None,
                ),
                batches=stream_epochs(network, X, backend, precision, size, orders)
                if isinstance(X, Stream)
                else partial(_batches, backend, samples, size, orders, part, home is not backend, processes),
                held_out=held_out,
                stop_when=stop_when and partial(_is_done, processes, backend, network, samples, stop_when),
                plan_for_some=lambda kept: plan_for(
                    _optimizer_of_some(optimizer, kept),
                    _of_some(l2, kept),
                    _samples_of_some(home, samples, kept),
                    held_out and _samples_of_some(backend, held_out, kept),
                    int(np.sum(kept)),
                ),
                epochs=epochs,
                average="weights" if reduction == "mean" else None,
                scoring=scoring,
                patience=patience,
                tolerance=float(tolerance),
                monitors_score=monitor == "score",
                callbacks=_by_the_first(processes, callbacks),
                keeps_history=history,
                keep=keeper.note if keeper and processes.rank == 0 else None,
                processes=processes,
            )

        plan = plan_for(optimizer_there, l2_there, samples, held_out, n_networks)
        start = begin(plan, ModelState(parameters, optimizer_there.init(backend.xp, parameters), own_state=True))
        if keeper and found:
            with processes.raise_on_all():
                start = keeper.training_state(found, backend, start, epochs)
        with keeper.at_hand() if keeper else contextlib.nullcontext():
            outcome = run(plan, start)
            if np.any(outcome.diverged) and processes.rank == 0:
                _warn_of_divergence(outcome.diverged, int(np.max(outcome.epoch)))
        fit = Fit(
            network,
            like(outcome.theta, X),
            outcome.history,
            outcome.stop_reason,
            outcome.epoch,
            backend.name,
            outcome.diverged[()],
            None if outcome.solved is None else outcome.solved[()],
        )
        if keeper:
            with processes.raise_on_all():
                keeper.close(fit)
        return fit

    load = Workload(
        network, precision, n_networks, n_samples, math.ceil(size / (gradient_accumulation * processes.world_size))
    )
    quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    fix = "Start it again; with checkpoint= it would have kept where it stood"
    if checkpoints is not None:
        fix = f"resume=True goes on from the last checkpoint in {checkpoints.folder}, if one was written yet"
    with processes.monitored(fix), translate_gpu_errors(backend, load), backend.active(), quietly:
        return on_device()


def _is_done(
    processes: ProcessGroup,
    backend: Backend,
    network: Network,
    samples: Batch,
    stop_when: StopWhen,
    seen: Progress,
    y: Array | None,
) -> Array:
    """Ask ``stop_when`` in the first process; outputs that are not at hand are computed."""

    def asked() -> Array:
        present = outputs(backend, network, seen.theta, samples.x) if y is None else y
        told = stop_when(to_backend(backend, samples.targets), present)
        return to_numpy(told) if hasattr(told, "shape") else told

    return processes.on_rank_0(asked)


def _counts(theta: Array, x: Array | Stream) -> tuple[int, int]:
    """Count samples and networks before arrays are admitted, whatever their shapes are."""
    return x.shape[-2] if x.ndim > 1 else 1, theta.shape[0] if getattr(theta, "ndim", 1) > 1 else 1


def _validate_batch(
    network: Network,
    backend: Backend,
    precision: str,
    theta: Array,
    x: Array,
    targets: Array,
    sample_weight: Array | None = None,
    of: str = "",
    rows: slice = slice(None),
) -> Batch:
    x = validate_x(network, backend, precision, theta, x, name=f"{of}X", rows=rows)
    targets = validate_targets(network, backend, precision, theta, x, targets, name=f"{of}targets", rows=rows)
    if sample_weight is not None:
        sample_weight = validate_sample_weight(backend, precision, theta, x, sample_weight)
    return Batch(x, targets, sample_weight)


def _batches(
    backend: Backend,
    samples: Batch,
    size: int,
    orders: Orders | None,
    steps_of_a_part: int | None,
    on_host: bool,
    processes: ProcessGroup,
) -> ArrayBatches | BatchesInParts:
    """Cut the samples into batches, in a new order where they have any and there is more than one batch.

    The batches come in parts where each of several can have as many steps as a part has.
    """
    n_samples = samples.x.shape[-2]
    order = None if orders is None or size >= n_samples else orders.draw(n_samples)
    batches = ArrayBatches(backend, samples, size, order, on_host=on_host, processes=processes)
    if steps_of_a_part is None or n_samples < 2 * steps_of_a_part * size:
        return batches
    return BatchesInParts(batches, steps_of_a_part)


def _steps_of_a_part(network: Network, size: int, n_networks: int) -> int:
    """Count the steps after which a checkpoint may be written: the same ones on every device."""
    operations = 6.0 * size * network.n_parameters * n_networks
    return max(1, min(STEPS_OF_A_PART, int(OPERATIONS_OF_A_PART / operations)))


def _checkpoints(
    checkpoint: str | PathLike[str] | Checkpoints | None, resume: bool, *, opened: bool
) -> tuple[Checkpoints | None, Checkpoint | None]:
    """Prepare the folder of checkpoints, and find the one to go on from, where the folder is to be opened here."""
    if checkpoint is None:
        if resume:
            raise DataError("resume=True needs a folder of checkpoints to go on from: give checkpoint=")
        return None, None
    checkpoints = checkpoint if isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)
    return checkpoints, open_folder(checkpoints, resume=resume) if opened else None


def _by_the_first(processes: ProcessGroup, callbacks: tuple[Callback, ...]) -> tuple[Callback, ...]:
    """Let the first process alone call callbacks, whether or not others have any, and all do what they say."""
    if processes.world_size == 1:
        return callbacks

    def told(progress: Progress) -> bool:
        answers = processes.on_rank_0(lambda: [callback(progress) for callback in callbacks])  # each of them is told
        return any(answers)

    return (told,)


def _batch_size(batch_size: int | str, n_samples: int, optimizer: Optimizer | SecondOrder) -> int:
    if batch_size == "full" or isinstance(optimizer, SecondOrder):
        return n_samples
    return min(DEFAULT_BATCH_SIZE if batch_size == "auto" else int(batch_size), n_samples)


def _scaled_optimizer(optimizer: Optimizer | SecondOrder) -> Optimizer:
    if isinstance(optimizer, SecondOrder):
        raise DataError(
            f"{optimizer.name} uses the unscaled gradient, which float16 cannot represent; "
            "use matmul_precision='bfloat16'"
        )
    return loss_scaled(optimizer)


def _order_generator(seed: Seed | Sequence[Seed]) -> np.random.Generator:
    """Make the generator of the samples' order, apart from the one that drew the weights unless it is given as one."""
    first = check_seeds(seed)[0]
    return first if isinstance(first, np.random.Generator) else np.random.default_rng((int(first), 1))


def _optimizer_for(optimizer: Optimizer | SecondOrder, theta: Array) -> Optimizer | SecondOrder:
    """Bring settings that are arrays, one number a network, to the host; a step moves them where it needs them."""
    if isinstance(optimizer, SecondOrder):
        return optimizer
    return replace(
        optimizer, settings={name: _number_of_each(name, value, theta) for name, value in optimizer.settings.items()}
    )


def _number_of_each(name: str, value: Any, theta: Array) -> Any:
    shape = tuple(getattr(value, "shape", ()))
    if shape and theta.ndim == 2 and shape == (theta.shape[0], 1):
        return to_numpy(value).astype("float64")
    if shape or not (callable(value) or hasattr(value, "__float__")):
        raise DataError(f"{name} must be a number, a schedule, or for a stack an array (K, 1), got {value!r:.80}")
    return value if callable(value) else float(value)  # NumPy's numbers would widen the precision


def _optimizer_of_some(optimizer: Optimizer | SecondOrder, kept: np.ndarray) -> Optimizer | SecondOrder:
    """Choose the settings of some networks of a stack."""
    if isinstance(optimizer, SecondOrder):
        return optimizer
    return replace(optimizer, settings={name: _of_some(value, kept) for name, value in optimizer.settings.items()})


def _of_some(number: Any, kept: np.ndarray) -> Any:
    """Choose the numbers of some networks of a stack, where each has its own."""
    return number[kept] if np.ndim(number) else number


def _samples_of_some(backend: Backend, samples: Batch, kept: np.ndarray) -> Batch:
    """Choose the samples of some networks of a stack, where each has its own."""
    index = to_backend(backend, np.flatnonzero(kept))

    def chosen(array: Array | None, ndim: int) -> Array | None:
        return array if array is None or array.ndim == ndim else backend.xp.take(array, index, axis=0)

    return Batch(chosen(samples.x, 2), chosen(samples.targets, 2), chosen(samples.sample_weight, 1))


def all_correct(targets: Array, outputs: Array, *, within: float = 0.5) -> Array:
    """Tell whether every output is less than ``within`` away from the desired one: for each network of a stack.

    Parameters
    ----------
    targets : (..., b, j) array
    outputs : (..., b, j) array
    within : float

    Returns
    -------
    (...) array of bool

    Examples
    --------
    >>> import numpy as np
    >>> bool(all_correct(np.asarray([[1.0], [0.0]]), np.asarray([[0.8], [0.4]])))
    True
    """
    xp = array_api_compat.array_namespace(outputs)
    return xp.all(xp.abs(outputs - targets) < within, axis=(-2, -1))


def _warn_of_divergence(diverged: np.ndarray, epochs: int) -> None:
    which = f"{diverged.sum()} of {diverged.size} networks" if diverged.ndim else f"training, after {epochs} epochs,"
    warnings.warn(
        f"{which} left the finite numbers; the last good weights were kept. A smaller learning rate, scaled inputs or "
        "gpubp.clipped(optimizer, 1.0) help",
        DivergenceWarning,
        stacklevel=4,
    )
