"""What epochs ask of a CUDA device, counted on an emulated one: ``python -m tests.launches`` prints it.

The counts are of an epoch of 8 steps whose graphs have been captured.
"""

from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from gpubp.backends.backend import choose_backend
from gpubp.engine.cuda import epoch as cuda_epoch
from gpubp.engine.cuda.epoch import cuda_epoch_runner
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, PerNetworkBatches
from gpubp.engine.plain.step import ModelState, Objective
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam, clipped
from tests.emulated_cuda import EmulatedDevice

NETWORK = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
N_STEPS, SIZE, K = 8, 5, 6
N_SAMPLES = N_STEPS * SIZE


class Counts(NamedTuple):
    """The launches of a step, in a graph or not; then what an epoch takes in all, its graphs counting as one start."""

    launches_of_step: float
    starts: int
    uploads: int
    downloads: int
    allocations: int


def counts_of(device):
    starts = device.n_launches + device.n_replays
    return np.asarray(
        [device.n_launches + device.n_replayed, starts, device.n_uploads, device.n_downloads, device.n_allocations]
    )


def of_each(low, high):
    return np.linspace(low, high, K)[:, None]


WORKLOADS = {
    "one network": {},
    "a stack": {"stack": (K,)},
    "a search": {"stack": (K,), "optimizer": adam(of_each(0.01, 0.1)), "l2": of_each(0.0, 1.0), "own": True},
}
HEADS = ("launches of a step", "starts of an epoch", "uploads", "downloads", "allocations")
WORKLOADS |= {
    "clipped": {"optimizer": clipped(adam(), 0.1)},
    "dropout": {"rates": (0.2, 0.5)},
    "gradients of two parts": {"parts": 2},
    "a search, clipped, with dropout": WORKLOADS["a search"]
    | {"optimizer": clipped(adam(of_each(0.01, 0.1)), of_each(0.1, 1.0)), "rates": (0.2, 0.5)},
}
FORMS = ("one block", "layer by layer")


def count(form, stack=(), optimizer=None, own=False, rates=None, **objective):
    """Count what one epoch asks of the device."""
    optimizer, device, rng = optimizer or adam(), EmulatedDevice(), np.random.default_rng(0)
    run_epoch = cuda_epoch_runner(device, Objective(NETWORK, **objective), optimizer, "float32", None)
    x, targets = rng.normal(size=(N_SAMPLES, 4)), rng.dirichlet(np.ones(3), N_SAMPLES)
    samples, backend = Batch(x.astype("float32"), targets.astype("float32")), choose_backend("cpu")
    theta = initial_weights(NETWORK, range(*stack) if stack else 0, dtype="float32")
    model = ModelState(theta, optimizer.init(np, theta))
    with patch.object(cuda_epoch, "shared_memory", lambda *_: 0 if form == "one block" else 10**9):
        for epoch in range(4):
            keys = np.arange(K, dtype=np.uint64) if stack else 7
            dropout = None if rates is None else Dropout(NETWORK.sizes[:-1], rates, keys, epoch)
            before = counts_of(device)
            if own:
                orders = np.stack([rng.permutation(N_SAMPLES) for _ in range(K)])
                counts = N_SAMPLES - np.arange(K) % 3
                starts = N_SAMPLES * np.arange(K)
                batches = PerNetworkBatches(backend, samples, SIZE, orders.ravel(), starts, counts, dropout=dropout)
            else:
                batches = ArrayBatches(backend, samples, SIZE, rng.permutation(N_SAMPLES), dropout=dropout)
            run_epoch(model, batches)
            model.epoch += 1
    launches, *others = (counts_of(device) - before).tolist()
    return Counts(launches / N_STEPS, *others)


def table():
    """Return the counts as a table of Markdown."""
    yield "| | " + " | ".join(HEADS) + " |"
    yield "|---|" + "---|" * len(HEADS)
    for name, options in WORKLOADS.items():
        for form in FORMS:
            yield f"| {name}, {form} | " + " | ".join(f"{number:g}" for number in count(form, **options)) + " |"


if __name__ == "__main__":
    print(*table(), sep="\n")
