"""Blocks of (X, targets) from an iterable of the user."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gpubp.backends.inputs import accept_on_host
from gpubp.data.streaming._source import Rows, Source, float_type
from gpubp.errors import DataError


class IterableSource(Source):
    """Blocks of (X, targets) from an iterable, or from a function that returns one; their order is not changed."""

    def __init__(self, blocks: Iterable[Any] | Callable[[], Iterable[Any]]) -> None:
        self.blocks = blocks
        self.iterator = iter(blocks) if not callable(blocks) and isinstance(blocks, Iterator) else None
        try:
            first = next(iterator := self._begin())
        except StopIteration:
            raise DataError("the iterable is empty; at least one block (X, targets) is needed") from None
        if self.iterator is not None:
            self.iterator = _prepend(first, iterator)
        x, targets = _checked_block(first, 0)
        described = x.shape[1], targets.shape[1], float_type(x.dtype)
        super().__init__("the iterable", *described, counts=None, reading_bytes=x.nbytes + targets.nbytes)

    @property
    def once_only(self) -> bool:
        """Whether the blocks can be read only once."""
        return self.iterator is not None

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Yield the blocks in the iterable's order."""
        assert blocks is None, "the blocks of an iterable have a fixed order"
        first, number, iterator = 0, 0, self._begin()
        while (block := _next_block(iterator, number)) is not None:
            x, targets = _checked_block(block, number)
            if (x.shape[1], targets.shape[1]) != (self.n_inputs, self.n_outputs):
                raise DataError(
                    f"block {number + 1} of the iterable has {x.shape[1]} inputs and {targets.shape[1]} outputs, the "
                    f"blocks before it have {self.n_inputs} and {self.n_outputs}"
                )
            yield Rows(x, targets, self.name, first)
            first, number = first + len(x), number + 1

    def _begin(self) -> Iterator[Any]:
        if self.iterator is not None:
            return self.iterator
        blocks = self.blocks() if callable(self.blocks) else self.blocks
        try:
            return iter(blocks)
        except TypeError:
            raise DataError(
                f"a stream must be an iterable of (X, targets), or a function without arguments that returns one; got "
                f"{type(blocks).__name__}"
            ) from None


def _next_block(blocks: Iterator[Any], number: int) -> Any:
    """Return the next block, or None at the end."""
    try:
        return next(blocks, None)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"block {number + 1} of the iterable could not be made: {type(error).__name__}: {error}"
        ) from error


def _prepend(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _checked_block(block: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        x, targets = (np.asarray(accept_on_host("a part", part)) for part in block)
    except (TypeError, ValueError) as error:
        raise DataError(f"block {number + 1} of the iterable must be a pair (X, targets) of arrays: {error}") from error
    targets = targets[:, None] if targets.ndim == 1 else targets
    are_matrices = x.ndim == targets.ndim == 2 and len(x) == len(targets)
    if not are_matrices or x.dtype.kind not in "fiub" or targets.dtype.kind not in "fiub":
        raise DataError(
            f"block {number + 1} of the iterable must be numbers (rows, inputs) and (rows,) or (rows, outputs), got "
            f"{x.shape} of {x.dtype} and {targets.shape} of {targets.dtype}"
        )
    return x, targets
