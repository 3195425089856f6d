"""The comparisons of whole fits: with each option, and with each function that compiled code has."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.engine.prediction import predict
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.losses import LOSSES
from gpubp.nn.network import Network
from gpubp.optim import first_order, second_order, wrappers
from gpubp.optim.schedules import Cosine
from gpubp.testing._comparison import N_SAMPLES, Comparison, draw_data, dtype_name
from gpubp.training.fit import all_correct, train

NETWORK = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
# too large for one block of threads of a GPU, so they go layer by layer, the first with a narrow output layer
LAYERED = [Network((4, 350, 250, n_outputs), activation="tanh", loss="cross_entropy") for n_outputs in (3, 17)]
# for which compiled code has parts of its own
SHAPES = {
    "no biases": Network((4, 6, 3), activation="tanh", bias=False),
    "connections that skip layers": Network((4, 6, 5, 3), activation="tanh", skips=((0, 2), (1, 3))),
    "tied and absent weights": Network((4, 6, 3), activation="tanh", ties=(*range(40), -1, *range(10))),
    "members that share weights": Network((4, 6, 3), activation="tanh", loss="cross_entropy", n_members=2),
    "two softmaxes": Network((4, 6, 3), activation="softmax(2,4)", loss="cross_entropy(1,2)"),
    "logistic outputs, squared": Network((4, 6, 5, 3), activation="logistic", output_activation="logistic"),
}
EPOCHS, SEEDS = 20, (0, 1)

Fit = Callable[..., Any]


def fit_comparisons(generator: np.random.Generator) -> Iterator[Comparison]:
    """Yield fits of one network, or of two as a stack, with the predictions and the history that follow."""
    theta, x, targets, sample_weight = draw_data(NETWORK, generator, n_samples=2 * N_SAMPLES)
    data = (x[:N_SAMPLES], targets[:N_SAMPLES], x[N_SAMPLES:], targets[N_SAMPLES:])
    weighted = (*data, sample_weight[:N_SAMPLES])
    of_each = (np.stack([data[0], 0.5 * data[0]]), np.stack([data[1]] * 2), *data[2:])
    rates = first_order.momentum(np.asarray([[0.05], [0.1]]), 0.9)
    decaying = first_order.momentum(Cosine(0.1, epochs=EPOCHS), 0.9)

    def row(what: str, arrays: tuple[np.ndarray, ...] = data, fit: Fit = train, **options: Any) -> Comparison:
        of_kernels = "network" in options
        return Comparison("fit", what, partial(_fit_and_predict, fit=fit, **options), arrays, of_kernels=of_kernels)

    yield row("adam", patience=EPOCHS)
    yield row("a stack of 2, a rate each", optimizer=rates, seed=SEEDS)
    yield row("a stack of 2, samples of each", of_each, seed=SEEDS)
    yield row("a penalty and sample weights", weighted, l2=0.1)
    yield row("dropout", dropout=0.3)
    yield row("a stack of 2 with dropout", dropout=0.3, seed=SEEDS)
    yield row("clipped", optimizer=wrappers.clipped(first_order.adam(), 0.1))
    yield row("a schedule", optimizer=decaying)
    yield row("gradients of two parts", gradient_accumulation=2)
    yield row("all samples at once", batch_size="full")
    yield row("no smaller last batch", drop_last=True)
    yield row("ended when all are right", stop_when=_all_close, optimizer=first_order.adam(0.05), epochs=60)
    yield row("ended and resumed", fit=_resumed)
    yield row("without validation data", validated=False)
    for network in LAYERED:
        targets = generator.dirichlet(np.ones(network.sizes[-1]), len(x))
        layered = (data[0], targets[:N_SAMPLES], data[2], targets[N_SAMPLES:])
        what = "-".join(map(str, network.sizes))
        yield row(what, layered, network=network, epochs=4, l2=0.1)
        yield row(f"a stack of 2, {what}", layered, network=network, epochs=4, validated=False, seed=SEEDS)
    for what, network, optimizer in _of_every_function():
        yield row(what, network=network, optimizer=optimizer, epochs=4)
    for what, network in SHAPES.items():
        yield row(what, network=network, epochs=4)
    of_stack = (np.stack([theta, theta[::-1]]), *weighted[:2], weighted[-1])
    yield Comparison("fit", "a stack of 2, rows and orders of each", _in_own_orders, of_stack)
    yield row("lbfgs", network=NETWORK, optimizer=second_order.lbfgs(), epochs=10, batch_size="full")


def _of_every_function() -> Iterator[tuple[str, Network, first_order.Optimizer]]:
    """Yield fits that use each activation, loss and optimizer, of which compiled code has a form of its own."""
    losses, optimizers = cycle(LOSSES), cycle(make(0.03) for make in first_order.OPTIMIZERS.values())
    for activation, loss, optimizer in zip((*ACTIVATIONS, "parametric(selu)"), losses, optimizers, strict=False):
        network = Network(NETWORK.sizes, activation=activation, loss=loss)
        yield f"{activation}, {loss}, {optimizer.name}", network, optimizer


def _fit_and_predict(
    backend: Backend,
    x: Array,
    targets: Array,
    unseen_x: Array,
    unseen_targets: Array,
    sample_weight: Array | None = None,
    *,
    fit: Fit,
    network: Network = NETWORK,
    validated: bool = True,
    **options: Any,
) -> tuple[Array, ...]:
    """Return the parameters, the outputs for samples that were not trained on, and the losses of all epochs."""
    options = {"epochs": EPOCHS, "batch_size": 8, "device": backend.name, "sample_weight": sample_weight} | options
    held_out = (unseen_x, unseen_targets) if validated else None
    found = fit(network, x, targets, validation_data=held_out, **options)
    history = np.asarray([found.history.loss, *([found.history.validation_loss] if validated else [])])
    y = predict(network, found.theta, unseen_x, device=backend.name)
    return found.theta, y, to_backend(backend, history, dtype_name(x))


def _in_own_orders(backend: Backend, theta: Array, *samples: Array) -> Array:
    """Train as the networks of a search do: each on rows of its own, in an order of its own."""
    xp, optimizer, generator = backend.xp, first_order.momentum(0.05, 0.9), np.random.default_rng(1986)
    run_epoch = make_epoch_runner(backend, Objective(NETWORK, l2=0.01), optimizer, dtype_name(theta))
    model = ModelState(xp.asarray(theta, copy=True), optimizer.init(xp, theta))
    counts = np.asarray([N_SAMPLES, N_SAMPLES - 1])
    for _ in range(EPOCHS):
        order = np.concatenate([generator.permutation(N_SAMPLES)[:n] for n in counts])
        run_epoch(model, PerNetworkBatches(backend, Batch(*samples), 8, order, np.asarray([0, N_SAMPLES]), counts))
        model.epoch += 1
    return model.theta


def _resumed(*arguments: Any, epochs: int, **options: Any) -> Any:
    """Train for half of the epochs, then go on from the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        train(*arguments, epochs=epochs // 2, checkpoint=folder, **options)
        return train(*arguments, epochs=epochs, checkpoint=folder, resume=True, **options)


def _all_close(targets: Array, outputs: Array) -> Array:
    return all_correct(targets, outputs, within=0.45)
