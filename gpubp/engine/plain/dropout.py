"""Dropout (Srivastava et al. 2014): during training, random units are set to 0, different ones for each sample.

The outputs of the other units are scaled up accordingly, so that predictions need no change.

Which units are dropped depends only on their positions, so that every device, process and compiled path computes the
same masks, in any order. Units ``4u`` to ``4u + 3`` of a layer, for one sample, use the four words that
:mod:`gpubp.engine.plain.philox` computes with the key of the network from the counter ::

    c0 = u
    c1 = position of the sample in the epoch: batch size * number of the step in the epoch + row in the batch
    c2 = number of the epoch since the start of the fit, from 0
    c3 = layer: 0 for the inputs, then 1 for the first hidden layer

A unit is dropped if its word is below ``round(rate * 2**32)``, an integer; see :func:`threshold_of`. All others are
multiplied by ``1 / (1 - rate)``, which is computed in double precision and rounded to the precision of the network.

The row in the batch is that in the whole batch, also if several processes share it or it is processed in parts. In a
stack each network has its own key, and positions are counted in its own samples.

A rate may be a schedule (:mod:`gpubp.optim.schedules`); its value at the beginning of an epoch is for all of the epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from gpubp._core.names import Range
from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend
from gpubp.engine.plain.philox import philox
from gpubp.errors import DataError
from gpubp.nn.network import Network
from gpubp.optim.schedules import Schedule, first_value

Rate = float | Schedule
RATES = Range(0, 1, includes_high=False)

COUNTERS_AT_ONCE = 1 << 13
"""The number of counters whose words are computed together, so that intermediate arrays stay in the cache."""


def dropout_rates(network: Network, dropout: Rate | Sequence[Rate] | None) -> tuple[Rate, ...]:
    """Return the dropout rate of the inputs and of each hidden layer.

    Parameters
    ----------
    dropout : float or schedule, or sequence of them, optional
        One rate is for every hidden layer, with all inputs kept. A sequence has a rate for each hidden layer,
        optionally preceded by one for the inputs. None is 0.

    Returns
    -------
    tuple of float or schedule
        One rate per layer, inputs first; empty if all are 0.

    Raises
    ------
    DataError
        If there are more or fewer rates, one is not from 0 to below 1, or one is for hidden layers and there are none.

    Examples
    --------
    >>> dropout_rates(Network((4, 8, 8, 3)), 0.5)
    (0.0, 0.5, 0.5)
    """
    if dropout is None:
        return ()
    n_hidden = len(network.sizes) - 2
    is_one = isinstance(dropout, Real) or callable(dropout)
    if is_one and dropout and not n_hidden:
        raise DataError(
            f"one number for dropout is for hidden layers, of which a network of sizes {network.sizes} has none, got "
            f"{dropout!r}; for the inputs pass a sequence, dropout=({dropout!r},)"
        )
    rates: list[Any] = [0.0] + [dropout] * n_hidden if is_one else list(dropout)  # type: ignore[arg-type]
    if len(rates) == n_hidden:
        rates = [0.0, *rates]
    if len(rates) != n_hidden + 1:
        raise DataError(
            f"dropout must be one number, {n_hidden} (one for each hidden layer) or {n_hidden + 1} (the inputs first), "
            f"got {dropout!r}"
        )
    if not all(callable(rate) or (isinstance(rate, Real) and 0.0 <= float(rate) < 1.0) for rate in rates):
        raise DataError(f"dropout must be from 0 to below 1, the fraction of units that is dropped, got {dropout!r}")
    rates = [rate if callable(rate) else float(rate) for rate in rates]
    for rate in rates:
        _value_of(rate, 0)
    return tuple(rates) if any(rates) else ()


def _value_of(rate: Rate, epoch: int) -> float:
    """Return a rate after some epochs; check what a schedule returns."""
    if not callable(rate):
        return rate
    value = first_value("dropout", rate) if epoch == 0 else rate(epoch)
    if value not in RATES:
        raise DataError(
            f"the values of dropout must be {RATES}, the fraction of units that is dropped; after {epoch} epochs "
            f"{rate!r:.80} is {value!r:.80}"
        )
    return float(value)


def draw_dropout_key(random_state: np.random.RandomState) -> int:
    """Draw the key of a network: 64 bits."""
    return int.from_bytes(random_state.bytes(8), "little")


def threshold_of(rate: float) -> int:
    """Return the integer of 32 bits below which a random word drops a unit."""
    return min(round(rate * 2**32), 2**32 - 1)


@dataclass(frozen=True)
class Dropout:
    """The dropout of an epoch, or of a part of it: what its masks are computed from.

    Attributes
    ----------
    n_units : tuple of int
        The number of inputs, and of units of each hidden layer.
    rates : tuple of float or schedule
        The rate of each of these layers, as :func:`dropout_rates` returns them.
    key : int, or (K,) array of uint64 for a stack; for members that share weights (k,), or (K, k) for a stack
        See :func:`draw_dropout_key`. (1, k) is for all networks of a stack.
    epoch : int
        The number of the epoch since the start of the fit.
    first_sample : int
        The position in the epoch of the first sample.
    """

    n_units: tuple[int, ...]
    rates: tuple[Rate, ...]
    key: Any
    epoch: int = 0
    first_sample: int = 0

    def at(self, *, epoch: int = 0, sample: int = 0) -> "Dropout":
        """Return the dropout of a later epoch, or of samples that are further back in the epoch."""
        return replace(self, epoch=self.epoch + epoch, first_sample=self.first_sample + sample)

    def of_networks(self, chosen: np.ndarray) -> "Dropout":
        """Return the dropout of some networks of a stack, selected by an array of bool."""
        is_shared = not np.ndim(self.key) or len(self.key) < len(chosen)
        return self if is_shared else replace(self, key=self.key[chosen])

    def halves_of_keys(self, networks: tuple[int, ...] = (1,)) -> np.ndarray:
        """Return the low and the high half of the key of each network, or of each of its members: ``(K, 2)``, uint32.

        ``networks`` is the number of networks, and of members if they have members.
        """
        keys = np.broadcast_to(np.asarray(self.key, np.uint64), networks).reshape(-1)
        return np.stack([keys & np.uint64(2**32 - 1), keys >> np.uint64(32)], axis=-1).astype(np.uint32)

    def rate(self, layer: int) -> float:
        """Return the rate of a layer in this epoch."""
        return _value_of(self.rates[layer], self.epoch)

    def of_epochs(self, n: int) -> np.ndarray:
        """Return the rates of this epoch and of those after it: ``(n, layers)``."""
        return np.asarray([[_value_of(rate, self.epoch + k) for rate in self.rates] for k in range(n)])

    def apply(self, backend: Backend, x: Any, start: int = 0) -> tuple[Any, tuple[Array | None, ...]]:
        """Return samples and the masks of their dropout, ``(..., b, n)``, None for a layer without dropout.

        Sparse samples are multiplied by the mask of the inputs here. If all networks of a stack have the same key, the
        masks have no leading dimension.

        Parameters
        ----------
        x : (..., b, i) array, or sparse
            Consecutive samples of the epoch.
        start : int
            The position of the first of them, counted from the first sample.
        """
        dtype, positions = str(x.dtype).rpartition(".")[2], np.arange(start, start + x.shape[-2])
        positions += self.first_sample
        masks: list[Array | None] = []
        for layer in range(len(self.rates)):
            if not self.rate(layer):
                masks.append(None)
            elif not layer and hasattr(x, "indptr"):  # without SciPy, which training on arrays does not import
                x = self.drop_inputs(x, positions)
                masks.append(None)
            else:
                masks.append(to_backend(backend, self.mask(layer, positions, dtype), dtype))
        return x, tuple(masks)

    def mask(self, layer: int, positions: np.ndarray, dtype: str) -> np.ndarray:
        """Compute the mask of a layer for samples at some positions of the epoch: ``(..., b, n)`` of NumPy."""
        keys, key_of = np.unique(np.asarray(self.key, np.uint64), return_inverse=True)
        groups, threshold = np.arange(-(-self.n_units[layer] // 4)), threshold_of(self.rate(layer))
        is_kept = np.empty((len(keys), len(positions), len(groups), 4), bool)
        for rows in _parts(len(positions), len(keys) * len(groups)):
            words = philox((groups, positions[rows, None], self.epoch, layer), keys[:, None, None])
            for k, word in enumerate(words):
                np.greater_equal(word, threshold, out=is_kept[:, rows, :, k])
        is_kept = is_kept.reshape(*is_kept.shape[:2], 4 * len(groups))[..., : self.n_units[layer]]
        mask = np.multiply(is_kept, self._factor(layer), dtype=dtype)
        return mask[0] if len(keys) == 1 else mask[key_of.reshape(np.shape(self.key))]

    def drop_inputs(self, x: Any, positions: np.ndarray) -> Any:
        """Multiply sparse samples at some positions of the epoch by the mask of the inputs, where they have values."""
        data, rows = np.empty_like(x.data), np.repeat(positions, np.diff(x.indptr))
        factor, threshold = data.dtype.type(self._factor(0)), threshold_of(self.rate(0))
        for part in _parts(len(data), 1):
            columns = x.indices[part]
            words = philox((columns // 4, rows[part], self.epoch, 0), self.key)
            is_kept = np.choose(columns % 4, words) >= threshold
            data[part] = x.data[part] * (is_kept * factor)
        return type(x)((data, x.indices, x.indptr), shape=x.shape)

    def _factor(self, layer: int) -> float:
        return 1.0 / (1.0 - self.rate(layer))


def _parts(n: int, counters_per_item: int) -> Iterator[slice]:
    """Divide ``n`` items into parts of about ``COUNTERS_AT_ONCE`` counters."""
    size = max(1, COUNTERS_AT_ONCE // counters_per_item)
    return (slice(start, start + size) for start in range(0, n, size))
