"""Outputs of networks, and losses of samples, on a CUDA device: training's forward pass without the backward one.

The arrays are in CuPy's memory pool and free again after a call, so that predictions hold no memory.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import stride
from gpubp.engine.cuda.kernels.outputs import SAMPLES_OF_A_SUM
from gpubp.engine.cuda.kernels.preamble import rounds
from gpubp.engine.cuda.launches import THREADS, LayerLaunches, first_network
from gpubp.engine.plain.minibatches import Batch
from gpubp.nn.network import Network

MAX_SAMPLES = 2**20  # that are passed forward together: more would not be faster


def evaluate_together(
    device: Any, pairs: Iterable[Iterable[tuple["ForwardPass", Batch]]], at_once: int
) -> list[list[tuple[np.ndarray, np.ndarray | None]]]:
    """Compute the losses ``(...)`` of samples for some networks, and of others for others, with one download.

    Parameters
    ----------
    device : object
        That of the passes.
    pairs : iterable of iterables of (forward, samples)
        They may be generators: each part is queued before the next one is made, on the same stream, and then released.
    at_once : int
        Samples that are passed forward together.

    Returns
    -------
    list of lists of tuples
        For each part its sums of losses over the samples, and the outputs ``(..., b, j)`` or None.
    """
    queued: list[Array] = []
    layouts: list[list[tuple[tuple[int, ...], bool]]] = []
    with device.active():
        for parts in pairs:
            layouts.append([])
            for forward, samples in parts:
                queued.append(forward.evaluate(samples, at_once))
                layouts[-1].append(forward.layout(samples.x.shape[-2]))
        host = device.download(queued[0] if len(queued) == 1 else device.xp.concatenate(queued))
    results = iter(np.split(host, np.cumsum([results.size for results in queued])[:-1]))
    return [[losses_and_outputs(next(results), *layout) for layout in of_pair] for of_pair in layouts]


def losses_and_outputs(
    results: np.ndarray, shape: tuple[int, ...], outputs_wanted: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the loss of each network, summed over the samples, and the outputs of a shape, or None."""
    outputs, sums = np.split(results, [math.prod(shape) * outputs_wanted])
    loss = np.sum(sums.reshape((*shape[:-2], -1)), axis=-1, dtype=np.float64)
    return np.asarray(loss), outputs.reshape(shape) if outputs_wanted else None


class ForwardPass(LayerLaunches):
    """The launches that pass samples forward through one network or a stack, and their arrays."""

    def __init__(
        self,
        device: Any,
        network: Network,
        theta: Array,
        layers: Any,
        source: str,
        *,
        outputs_wanted: bool = True,
    ) -> None:
        self.device, self.network, self.layers, self.outputs_wanted = device, network, layers, outputs_wanted
        self.kernels = device.kernels(source)
        self.stack, self.dtype = theta.shape[:-1], str(theta.dtype)
        self.n_networks, self.n_parameters = math.prod(self.stack), network.n_parameters
        self.rounds = rounds(device.products, self.dtype)
        self.thetas = theta

    def outputs(self, parts: Iterable[Array], n_samples: int) -> Array:
        """Compute the outputs, ``(..., n_samples, j)``, of samples ``(..., b, i)`` that come in parts."""
        with self.device.active():
            self._begin()
            n, first = self.network.sizes[-1], 0
            outputs = self.device.temporary((*self.stack, n_samples, n), self.dtype)
            for part in parts:
                for begin in range(0, part.shape[-2], MAX_SAMPLES):
                    x = part[..., begin : begin + MAX_SAMPLES, :]
                    self._over_outputs(x, n_samples, first_network(outputs, 2)[first:])
                    first += x.shape[-2]
        return outputs

    def evaluate(self, samples: Batch, at_once: int) -> Array:
        """Queue the work that computes the losses of samples, and their outputs if they are wanted.

        Returns
        -------
        array
            On the device, what :func:`losses_and_outputs` reads: the outputs, and sums of losses.
        """
        n_samples, n = samples.x.shape[-2], self.network.sizes[-1]
        n_outputs, n_sums = n_samples * n * self.outputs_wanted, -(-n_samples // SAMPLES_OF_A_SUM)
        self._begin()
        losses, results = (
            self.device.temporary((self.n_networks * numbers,), self.dtype)
            for numbers in (n_samples, n_outputs + n_sums)
        )
        for first in range(0, n_samples, at_once):
            part = samples.of(slice(first, first + at_once))
            outputs_at = [results[first * n :]] if self.outputs_wanted else []
            targets = self._with_stride(part.targets, 2), self._with_stride(part.sample_weight, 1)
            self._over_outputs(part.x, n_samples, *chain(*targets), losses[first:], *outputs_at)
        sums = results[self.n_networks * n_outputs :]
        self._launch("sums_of_losses", (n_sums, 1, self.n_networks), THREADS, n_samples, losses, sums)
        return results

    def layout(self, n_samples: int) -> tuple[tuple[int, ...], bool]:
        """Return the shape of the outputs of samples, and whether they are wanted."""
        return (*self.stack, n_samples, self.network.sizes[-1]), self.outputs_wanted

    def _with_stride(self, array: Array | None, ndim: int) -> tuple[Array | None, int]:
        """Return the array of the first network, contiguous, and the stride from one network to the next."""
        if array is None:
            return None, 0
        array = self.device.xp.ascontiguousarray(array)
        return first_network(array, ndim), stride(array, ndim)

    def _begin(self) -> None:
        """Set what products read of the parameters."""
        self.thetas = self.device.xp.ascontiguousarray(self.thetas)
        self.theta_operands = self._operands(self.thetas)

    def _operands(self, numbers: Array) -> Array:
        """Return an array with the numbers as products read them."""
        if not self.rounds:
            return numbers
        operands = self.device.temporary(numbers.shape, "uint16")
        self._round(numbers, operands)
        return operands

    def _over_outputs(self, x: Array, *arrays: Any) -> None:
        """Pass samples forward; ``arrays`` are what the kernel of the output layer gets after the total inputs.

        Layers take turns with few places for their total inputs, which the outputs replace.
        """
        x, sizes, b = self.device.xp.ascontiguousarray(x), self.network.sizes, x.shape[-2]
        totals = self._in_turn(b, sizes[1:], self.dtype)
        outputs = self._in_turn(b, sizes[1:-1], "uint16") if self.rounds else totals[:-1]
        self._pass_forward(b, [self._operands(x), *outputs], totals, [[y] for y in outputs])
        self._over_layer(self.layers.output, b, sizes[-1], self._biases()[-1], self.n_parameters, totals[-1], *arrays)

    def _in_turn(self, b: int, widths: Sequence[int], dtype: str) -> list[Array]:
        """Make an array ``(..., b, n)`` for each width; layers of which one is not read any more share their memory."""
        places = places_of_layers(self.network)[: len(widths)]
        numbers = [0] * (1 + max(places, default=0))
        for place, n in zip(places, widths, strict=True):
            numbers[place] = max(numbers[place], self.n_networks * b * n)
        arrays = [self.device.temporary((n,), dtype) for n in numbers]
        return [self._rows(arrays[place], b, n) for place, n in zip(places, widths, strict=True)]


def places_of_layers(network: Network) -> list[int]:
    """Choose a place for each layer above the inputs: the first one that holds nothing that is still to be read.

    Examples
    --------
    >>> places_of_layers(Network((2, 3, 3, 3, 1))), places_of_layers(Network((2, 3, 3, 3, 1), skips=((1, 4),)))
    ([0, 1, 0, 1], [0, 1, 2, 1])
    """
    last_reader = {below: layer for layer, sources in enumerate(network.layers_below, 1) for below in sources}
    places: list[int] = []
    readers: list[int] = []  # by place, the last one
    for layer in range(1, len(network.sizes)):
        place = next((place for place, reader in enumerate(readers) if reader < layer), len(readers))
        readers[place : place + 1] = [last_reader.get(layer, layer)]
        places.append(place)
    return places
