"""``train``: validate the arguments, place them on the device, plan, run the loop, collect the result."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Literal

import array_api_compat
import numpy as np

from gpubp._core.misplaced import takes_network
from gpubp._typing import Array
from gpubp.backends.backend import like
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.inputs import as_floats
from gpubp.data.streaming.stream import Stream
from gpubp.distributed.launch import process_group_for
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.plain.dropout import Rate
from gpubp.nn.initialization import Seed
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, adam
from gpubp.optim.second_order import SecondOrder
from gpubp.training.callbacks import Callback, check_callbacks
from gpubp.training.checkpoint_file import Checkpoint
from gpubp.training.checkpointed import open_checkpoints, train_with_checkpoints
from gpubp.training.checkpoints import Checkpoints
from gpubp.training.loop import run
from gpubp.training.placement import place
from gpubp.training.planning import make_plan
from gpubp.training.result import Fit, first_state, make_fit
from gpubp.training.setup import Inputs, Options, Setup, StopWhen, synchronize, validate
from gpubp.training.validation import Scoring


@takes_network("train")
@np.errstate(all="ignore")
def train(
    network: Network,
    X: Array | Stream,
    targets: Array | None = None,
    *,
    theta: Array | None = None,
    optimizer: Optimizer | SecondOrder | None = None,
    epochs: int = 200,
    batch_size: int | Literal["auto", "full"] = "auto",
    drop_last: bool = False,
    shuffle: bool = True,
    seed: Seed | Sequence[Seed] = 0,
    reduction: Literal["mean", "sum"] = "mean",
    l2: float | Array = 0.0,
    dropout: Rate | Sequence[Rate] | None = 0.0,
    sample_weight: Array | None = None,
    validation_data: tuple[Array, ...] | None = None,
    scoring: Scoring | None = None,
    patience: int | None = None,
    tolerance: float = 1e-4,
    monitor: Literal["score", "loss", "least_loss"] = "score",
    stop_when: StopWhen | None = None,
    callbacks: Callback | Iterable[Callback] = (),
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
        A stream includes its targets: see :func:`gpubp.open_stream`. It is trained on in batches, without
        ``sample_weight`` and ``stop_when``.
    targets : (b, j) or (K, b, j) array
        Classes are one-hot.
    theta : (P,) or (K, P) array, optional
        The initial weights; by default :func:`~gpubp.nn.initialization.initial_weights` draws them from ``seed``.
    optimizer : Optimizer or SecondOrder, optional
        Computes the updates of the weights from the gradient; Adam by default.
    epochs : int
        Maximum number of passes through the samples.
    batch_size : int, "auto" or "full"
        Samples between two updates of the weights: 1 updates after every sample, "full" after all, as in the paper.
        "auto" is 200, and "full" for second-order methods.
    drop_last : bool
        Whether to leave the last batch of an epoch out if it is smaller than the others. For arrays.
    shuffle : bool
        Whether to shuffle the samples in each epoch. The order is drawn on the host, the same for every backend.
    seed : int, Generator, or sequence of int
        Seed of the order of the samples and, without ``theta``, of the initial weights. A sequence of K seeds makes a
        stack of K networks, all of which see the samples in the order of the first seed.
    reduction : {"mean", "sum"}
        Whether the loss of a batch is divided by the total weight of its samples. The paper uses "sum".
    l2 : float, or (K, 1) array for a stack
        Adds ``l2 / 2`` times the sum of the squared weights, without biases, to the sum of the losses.
    dropout : float or schedule, or sequence of them, optional
        The fraction of units whose outputs are set to 0, others for each sample (Srivastava et al. 2014): one rate for
        all hidden layers, one for each, or one for the inputs and then one for each hidden layer. A schedule, such as
        :class:`gpubp.FlatCosine`, changes it from epoch to epoch. The units follow from ``seed``, the same for every
        backend. For first-order optimizers.
    sample_weight : (b,) or (K, b) array, optional
    validation_data : (X, targets) or (X, targets, sample_weight), optional
        Samples that are evaluated after each epoch and not used for training.
    scoring : callable, optional
        ``scoring(targets, outputs) -> float`` on NumPy arrays of the validation samples; higher is better. The outputs
        of a stack are ``(K, b, j)``, and have one score.
    patience : int, optional
        Stop when the score (without ``scoring``, the validation loss; without validation data, the loss) has not
        improved by more than ``tolerance`` for this many epochs. With validation data, the best epoch's weights are
        returned. A value that is infinite or NaN is no improvement. A stack stops as one, by the median of its losses
        or the least.
    tolerance : float
        By how much the value that ``patience`` monitors must improve to count as an improvement.
    monitor : {"score", "loss", "least_loss"}
        The value that ``patience`` monitors if there is a score. "least_loss" is for a stack of which the best network
        is wanted: the least loss of those that have not diverged.
    stop_when : callable, optional
        ``stop_when(targets, outputs) -> bool``, called after each epoch with all samples, in the namespace that trains;
        True ends the training. For a stack, with outputs ``(K, b, j)``, it returns ``(K,)``, and a network that is done
        keeps its weights while the others continue: see :func:`gpubp.all_correct`.
    callbacks : callable, or iterable of callables
        Each is called with a :class:`~gpubp.Progress` after an epoch, and ends the training by returning True. See
        docs/callbacks.md for optional attributes, such as the number of epochs between calls.
    device : str
        See :func:`gpubp.backends.backend.choose_backend`. Samples that do not fit in a GPU's memory stay on
        the host and are copied batch by batch.
    dtype : {"float32", "float64"}, optional
        The precision to train in; by default, that of ``theta``, else that of ``X``, else (whole numbers) float32.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        The precision to which operands of matrix products are rounded; the products are summed, and everything else is
        computed, in float32. With "float32", or in float64, nothing is rounded. The others are for NVIDIA's tensor
        cores; other devices compute the same numbers, but more slowly. With "float16", derivatives are scaled, and
        updates that overflow are skipped (loss scaling).
    history : bool
        Whether to record the figures of each epoch; for 100,000 networks and 1,000 epochs they take 800 MB.
    checkpoint : path or Checkpoints, optional
        A folder to write checkpoints to, one per minute and one when training ends; :class:`gpubp.Checkpoints` sets
        other intervals.
    resume : bool
        Continue from the newest checkpoint in the folder, as if training had never stopped; start if there is none. All
        arguments except ``epochs``, ``patience``, ``device`` and ``callbacks`` must be the same.
    gradient_accumulation : int
        Number of batches whose gradients are summed before the weights change. It bounds the memory of a step.
    parallel : "mpi" or None
        "mpi": all processes that an MPI launcher has started, ``mpiexec -n 4 python ...``, train this one network. Each
        must call this function with the same arguments. Each computes its part of every batch, the gradients are
        summed, and all have the same weights; each process uses its own GPU. ``batch_size`` is that of all processes
        together. Callbacks, ``scoring`` and ``stop_when`` are called only on rank 0. Ctrl-C ends all processes, and
        nothing is returned. See docs/scaling.md.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If shapes do not fit together, samples are empty or not finite, the loss of the targets overflows, or options
        contradict each other.
    DeviceError
        If the device cannot be used, or fails; the message has the cause and the fix. If a GPU's memory is full, it
        names a batch size that would fit, and the memory is released.
    CheckpointError
        If the folder holds checkpoints and ``resume`` is False, if they were written by a run with other settings or
        are damaged, or if the last one cannot be written; in that case, the error's ``fit`` is the result.

    Warns
    -----
    DivergenceWarning
        If parameters become infinite or NaN; training then ends with the weights of the last finite epoch, or of the
        best one, with ``patience`` and validation data.
    UserWarning
        If none of the values that ``patience`` monitors is finite; the last weights are then returned.
    CheckpointWarning
        If a checkpoint cannot be written and training continues, or is damaged and an earlier one is used.

    Notes
    -----
    Ctrl-C ends the training and returns what was learned.

    A resumed training ends with the same bits as one that never stopped, on the same machine and with the same
    ``epochs``: the order of the samples, the optimizer's state, the best weights and the history continue.

    Examples
    --------
    >>> from gpubp import Network, momentum, train
    >>> X, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
    >>> network = Network((2, 4, 1), activation="tanh", loss="binary_cross_entropy")
    >>> fit = train(network, X, targets, optimizer=momentum(0.5, 0.9), epochs=300, batch_size="full", device="cpu")
    >>> bool(fit.history.loss[-1] < 0.01)
    True
    """
    processes = process_group_for(parallel)
    with processes.raise_on_all():
        options = Options(
            optimizer=adam() if optimizer is None else optimizer,
            epochs=epochs,
            batch_size=batch_size,
            drop_last=drop_last,
            shuffle=shuffle,
            seed=seed,
            reduction=reduction,
            l2=l2,
            dropout=dropout,
            scoring=scoring,
            patience=patience,
            tolerance=tolerance,
            monitor=monitor,
            stop_when=stop_when,
            callbacks=check_callbacks(callbacks),
            device=device,
            dtype=dtype,
            matmul_precision=matmul_precision,
            history=history,
            gradient_accumulation=gradient_accumulation,
        )
        setup = validate(network, Inputs(X, targets, theta, sample_weight, validation_data), options, processes)
        checkpoints, found_checkpoint = open_checkpoints(checkpoint, resume, is_rank_0=processes.rank == 0)
    setup = synchronize(setup, checkpoints is not None, resume)
    found_checkpoint = processes.on_rank_0(lambda: found_checkpoint)
    with _errors_and_monitoring(setup, checkpoints):
        return _train_on_device(setup, checkpoints, found_checkpoint)


def _train_on_device(setup: Setup, checkpoints: Checkpoints | None, checkpoint: Checkpoint | None) -> Fit:
    with setup.processes.raise_on_all():
        placed = place(setup)
    if checkpoints is None:
        return make_fit(setup, run(make_plan(setup, placed, steps_per_part=None), first_state(setup, placed)))
    return train_with_checkpoints(setup, placed, checkpoints, checkpoint)


@contextlib.contextmanager
def _errors_and_monitoring(setup: Setup, checkpoints: Checkpoints | None) -> Iterator[None]:
    """Translate errors of the device, and monitor the other processes."""
    n_passes = setup.options.gradient_accumulation * setup.processes.world_size
    workload = Workload(
        setup.network, setup.precision, setup.n_networks, setup.n_samples, math.ceil(setup.batch_size / n_passes)
    )
    fix = "Start it again; checkpoint= would keep its state"
    if checkpoints is not None:
        fix = f"resume=True continues from the last checkpoint in {checkpoints.folder}, if there is one"
    backend = setup.backend
    with setup.processes.monitored(fix), translate_gpu_errors(backend, workload), backend.active():
        yield


def all_correct(targets: Array, outputs: Array, *, within: float = 0.5) -> Array:
    """Return whether every output is within ``within`` of its target, for each network of a stack.

    Parameters
    ----------
    targets : (..., b, j) array
    outputs : (..., b, j) array
    within : float

    Returns
    -------
    (...) array of bool

    Raises
    ------
    DataError
        If they are not real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> bool(all_correct(np.asarray([[1.0], [0.0]]), np.asarray([[0.8], [0.4]])))
    True
    """
    outputs = as_floats("outputs", outputs)
    targets = like(as_floats("targets", targets), outputs)
    xp = array_api_compat.array_namespace(outputs)
    return xp.all(xp.abs(outputs - targets) < within, axis=(-2, -1))
