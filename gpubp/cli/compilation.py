"""Compile ahead what training and prediction will need, so that the first fit need not wait."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gpubp.backends.backend import Backend
from gpubp.engine import cpu
from gpubp.engine.cuda import FEW_STEPS
from gpubp.engine.prediction import predict
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import LOSSES
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS
from gpubp.training.fit import train

Compilation = tuple[str, Callable[[], object]]
"""What is compiled, in words, and the function that does it."""


def compilations(backend: Backend) -> Iterator[Compilation]:
    """List what a device compiles; nothing for libraries that need no compiler, and for a CPU without numba."""
    if backend.is_numpy and cpu.numba_works():
        from gpubp.engine.cpu.ahead import compilations as of_cpu

        yield from of_cpu()
    if backend.is_cuda:
        yield from _of_cupy(backend.name)


def place(backend: Backend) -> str:
    """Say where a device keeps what it compiled."""
    if backend.is_cuda:
        from gpubp.cli.diagnosis import kernel_cache

        return kernel_cache().detail
    from gpubp.engine.cpu.ahead import kept_in

    return str(kept_in() or "memory only: no folder can be written to, so that every start compiles anew")


def _of_cupy(device: str) -> Iterator[Compilation]:
    """Take small steps with every activation, loss and optimizer: CuPy compiles a kernel on its first use."""
    for name in ACTIVATIONS:
        yield f"activation {name}", partial(_small_fit, device, Network((2, 4, 2), activation=name))
    for name in LOSSES:
        yield f"loss {name}", partial(_small_fit, device, Network((2, 4, 2), loss=name))
    for name in OPTIMIZERS:
        yield f"optimizer {name}", partial(_small_fit, device, Network((2, 4, 2)), name)


def _small_fit(device: str, network: Network, optimizer: str = "adam") -> None:
    x, targets = np.zeros((8, 2), "float32"), np.full((8, 2), 0.5, "float32")
    train(
        network,
        x,
        targets,
        optimizer=OPTIMIZERS[optimizer](),
        epochs=FEW_STEPS,
        batch_size=4,
        l2=0.1,
        validation_data=(x, targets),
        device=device,
    )
    predict(network, initial_weights(network, 0), x, device=device)
