"""What training and prediction compile on a device."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gpubp.backends.backend import Backend
from gpubp.cli.kernel_cache import find_kernel_cache
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
"""The name of what is compiled, and the function that compiles it."""


def compilations(backend: Backend) -> Iterator[Compilation]:
    """List what is compiled for a device; nothing for libraries without a compiler, or for a CPU without numba."""
    if backend.is_numpy and cpu.numba_works():
        from gpubp.engine.cpu.ahead import compilations as cpu_compilations

        yield from cpu_compilations()
    if backend.is_cuda:
        yield from _cupy_compilations(backend.name)


def cache_description(backend: Backend) -> str:
    """Describe where the compiled code of a device is kept."""
    if backend.is_cuda:
        return find_kernel_cache().description
    from gpubp.engine.cpu.ahead import kept_in

    return str(kept_in() or "memory only: no folder is writable, so every start compiles again")


def _cupy_compilations(device: str) -> Iterator[Compilation]:
    """Train briefly with every activation, loss and optimizer: CuPy compiles a kernel when it is first used."""
    for name in ACTIVATIONS:
        yield f"activation {name}", partial(_small_fit, device, Network((2, 4, 2), activation=name))
    for name in LOSSES:
        yield f"loss {name}", partial(_small_fit, device, Network((2, 4, 2), loss=name))
    for name in OPTIMIZERS:
        yield f"optimizer {name}", partial(_small_fit, device, Network((2, 4, 2)), name)


def _small_fit(device: str, network: Network, optimizer: str = "adam") -> None:
    X, targets = np.zeros((8, 2), "float32"), np.full((8, 2), 0.5, "float32")
    train(
        network,
        X,
        targets,
        optimizer=OPTIMIZERS[optimizer](),
        epochs=FEW_STEPS,
        batch_size=4,
        l2=0.1,
        validation_data=(X, targets),
        device=device,
    )
    predict(network, initial_weights(network, 0), X, device=device)
