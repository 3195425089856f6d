"""The door for streams: what they must be for a network to train on them, and their epochs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gpubp.backends.backend import Backend
from gpubp.data.streaming.parts import WindowParts
from gpubp.data.streaming.stream import Stream
from gpubp.data.streaming.windows import Limits, Places
from gpubp.engine.plain.minibatches import Orders
from gpubp.errors import DataError
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder


def check_stream(
    network: Network,
    stream: Stream,
    targets: Any,
    optimizer: Optimizer | SecondOrder,
    epochs: int,
    batch_size: Any,
    sample_weight: Any,
    stop_when: Any,
    n_processes: int,
) -> None:
    """Check that a stream fits the network, and that nothing is asked for that needs all its samples at once."""
    if targets is not None:
        raise DataError("a stream has its targets with it; leave targets out")
    wanted, got = (network.sizes[0], network.sizes[-1]), (stream.n_inputs, stream.n_outputs)
    if wanted != got:
        fix = f"; where its target numbers classes: open_stream(..., classes={wanted[1]})" if got[1] == 1 else ""
        raise DataError(
            f"the network has {wanted[0]} inputs and {wanted[1]} outputs, {stream.source.name} has {got[0]} and "
            f"{got[1]}{fix}"
        )
    for name, given in (("sample_weight", sample_weight), ("stop_when", stop_when)):
        if given is not None:
            raise DataError(f"{name} needs all samples at once, which a stream never has; leave it out")
    if isinstance(optimizer, SecondOrder) or batch_size == "full":
        what = optimizer.name if isinstance(optimizer, SecondOrder) else "batch_size='full'"
        raise DataError(f"{what} needs all samples at once, which a stream never has; train in batches, by adam()")
    if n_processes > 1:
        raise DataError(
            f"a stream is trained on by one process, and {n_processes} were asked for; leave parallel out, and start "
            "`gpubp train` without mpiexec"
        )
    if epochs > 1 and getattr(stream.source, "once_only", False):
        raise DataError(
            f"{epochs} epochs need the blocks as often, and an iterator gives them once; give open_stream a list, or a "
            "function that makes the iterator"
        )


def epochs_of_stream(
    network: Network, stream: Stream, backend: Backend, dtype: str, size: int, orders: Orders | None
) -> Callable[[], WindowParts]:
    """Give what reads one more epoch each time that it is called, in a new order where it has any."""
    needed = f"the error {network.loss!r} needs"
    limits = Limits(*get_loss(network.loss).target_range, classes=stream.classes, why=needed)
    return partial(_epoch, stream, backend, stream.places(size, dtype), size, limits, orders)


def _epoch(
    stream: Stream, backend: Backend, places: Places, size: int, limits: Limits, orders: Orders | None
) -> WindowParts:
    return WindowParts(stream, backend, places, size, None if orders is None else orders.draw_seed(), limits)
