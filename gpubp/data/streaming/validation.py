"""Validate streams for a network and the options of training, and create their epochs."""

from collections.abc import Callable
from typing import Any

from gpubp.backends.backend import Backend
from gpubp.data.streaming._shuffle_windows import TargetRange
from gpubp.data.streaming._stream_epoch import StreamEpoch
from gpubp.data.streaming.stream import Stream
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import Orders
from gpubp.errors import DataError
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder


def validate_stream(
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
    """Check that a stream fits the network, and that no option needs all samples at once.

    Raises
    ------
    DataError
        If the stream does not fit, or if an option cannot be used with a stream.
    """
    if targets is not None:
        raise DataError("a stream includes its targets; omit targets")
    expected, received = (network.sizes[0], network.sizes[-1]), (stream.n_inputs, stream.n_outputs)
    if expected != received:
        hint = (
            f"; if its target holds class numbers, use open_stream(..., classes={expected[1]})"
            if received[1] == 1
            else ""
        )
        raise DataError(
            f"the network has {expected[0]} inputs and {expected[1]} outputs, {stream.source.name} has {received[0]} "
            f"and {received[1]}{hint}"
        )
    for name, given in (("sample_weight", sample_weight), ("stop_when", stop_when)):
        if given is not None:
            raise DataError(f"{name} needs all samples at once, which a stream never has; omit it")
    if isinstance(optimizer, SecondOrder) or batch_size == "full":
        option = optimizer.name if isinstance(optimizer, SecondOrder) else "batch_size='full'"
        raise DataError(
            f"{option} needs all samples at once, which a stream never has; train in batches, for example with adam()"
        )
    if n_processes > 1:
        raise DataError(
            f"a stream is trained by one process, but {n_processes} were requested; omit parallel, and start "
            "`gpubp train` without mpiexec"
        )
    if epochs > 1 and getattr(stream.source, "once_only", False):
        raise DataError(
            f"{epochs} epochs read the blocks {epochs} times, but an iterator can be read only once; pass a list, or "
            "a function that returns the iterator, to open_stream"
        )


def stream_epochs(
    network: Network,
    stream: Stream,
    backend: Backend,
    dtype: str,
    batch_size: int,
    orders: Orders | None,
    dropout: Dropout | None,
) -> Callable[[int], StreamEpoch]:
    """Return a function that returns the next epoch, from the number of those done, in a new order with `orders`."""
    target_range = TargetRange(stream.classes, network.loss)
    buffers = stream.allocate_windows(batch_size, dtype)

    def next_epoch(epoch: int) -> StreamEpoch:
        seed = None if orders is None else orders.draw_seed()
        dropout_now = None if dropout is None else dropout.at(epoch=epoch)
        return StreamEpoch(stream, backend, buffers, batch_size, seed, target_range, dropout_now)

    return next_epoch
