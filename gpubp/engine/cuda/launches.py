"""Launches of kernels over the layers of a network, or of a stack: their blocks and threads, and the forward pass."""

from collections.abc import Sequence
from typing import Any

from gpubp._typing import Array
from gpubp.engine.cuda.device import LaunchSize
from gpubp.engine.cuda.kernels.layers import Kernel, LayerKernels
from gpubp.nn.network import Network, activation_views, views

THREADS = 256  # of a block
COLUMNS = 32  # of a block's threads are side by side if a kernel goes through rows and columns
MAX_BLOCKS = 4096  # of a launch; each does its part of the work


class LayerLaunches:
    """Launches for the networks of a stack, ``(..., P)``, on a device; subclasses make the kernels and the arrays."""

    device: Any
    network: Network
    layers: LayerKernels
    kernels: dict[str, Any]
    stack: tuple[int, ...]
    n_networks: int
    n_parameters: int
    thetas: Array
    theta_operands: Array  # what products read: rounded parameters, or the parameters themselves

    def _pass_forward(
        self,
        b: int,
        inputs: Sequence[Array],
        totals: Sequence[Array],
        results: Sequence[Sequence[Array]],
        masks: Sequence[tuple[Any, ...]] = (),
    ) -> None:
        """Pass ``b`` samples forward, eq. (1) and (2), up to the total inputs of the output layer, without its biases.

        A narrow output layer has none. The layers multiply ``inputs``; the hidden ones set ``results``, what their
        activation stores. ``masks`` is what they need for dropout.
        """
        weights, biases, n_hidden = self._blocks_of_weights(), self._biases(), len(self.network.sizes) - 2
        of_activations = activation_views(self.device.xp, self.network, self.thetas)
        for k in range(n_hidden):
            self._multiply(k, inputs, weights[k], totals[k])
            a = of_activations[k]
            learned = () if a is None else (first_network(a, 2),)
            arrays = (biases[k], self.n_parameters, totals[k], *learned, *results[k], *(masks[k] if masks else ()))
            self._over_layer(self.layers.activations[k], b, self.network.sizes[k + 1], *arrays)
        if not self.layers.narrow:
            self._multiply(n_hidden, inputs, weights[-1], totals[-1])

    def _multiply(self, k: int, inputs: Sequence[Array], weights: Array, total: Array) -> None:
        """Add up the products of the weights with each layer that layer ``k + 1`` has connections from."""
        start, sources = 0, self.network.layers_below[k]
        for below in sources:
            stop = start + self.network.sizes[below]
            rows = weights if len(sources) == 1 else weights[..., start:stop, :]
            self.device.multiply(inputs[below], rows, total, added=start > 0)
            start = stop

    def _blocks_of_weights(self) -> list[Array]:
        """Return what products read of the weights of each layer."""
        return [self._weights(block) for block in views(self.device.xp, self.network, self.theta_operands)]

    def _biases(self) -> list[Array | None]:
        """Return the biases of each layer, those of the first network; kernels add the stride of each network."""
        blocks = views(self.device.xp, self.network, self.thetas)
        return [first_network(block, 2)[-1] if self.network.bias else None for block in blocks]

    def _weights(self, block: Array) -> Array:
        return block[..., :-1, :] if self.network.bias else block

    def _rows(self, array: Array, b: int, n: int) -> Array:
        """View the beginning of an array as rows of ``n`` numbers for ``b`` samples of each network."""
        return array[: self.n_networks * b * n].reshape((*self.stack, b, n))

    def _round(self, numbers: Array, operands: Array) -> None:
        """Round numbers to operands of matrix products, if these are in another array."""
        n = int(numbers.size)
        if n and operands is not numbers:
            self._launch("to_operands", min(blocks_of(n), MAX_BLOCKS), THREADS, n, numbers, operands)

    def _over_layer(self, kernel: Kernel, b: int, n: int, *arrays: Any, n_networks: int = 0) -> None:
        n_networks = n_networks or self.n_networks
        if kernel.sample_by_sample:
            blocks, threads = (min(b, MAX_BLOCKS), 1, n_networks), kernel.n_threads or threads_of_row(n)
            self._launch(kernel.name, blocks, threads, b, n, *arrays, n_shared=kernel.n_shared)
            return
        rows = THREADS // COLUMNS
        blocks = (min(-(-n // COLUMNS), MAX_BLOCKS), min(-(-b // rows), MAX_BLOCKS), n_networks)
        self._launch(kernel.name, blocks, (COLUMNS, rows), b, n, *arrays)

    def _over_parameters(self, name: str, blocks: int, *arrays: Any) -> None:
        self._launch(name, (blocks, 1, self.n_networks), THREADS, self.n_parameters, *arrays)

    def _launch(self, name: str, blocks: LaunchSize, threads: LaunchSize, *arguments: Any, n_shared: int = 0) -> None:
        shared_bytes = max(n_shared, THREADS) * self.thetas.itemsize
        self.device.launch(self.kernels[name], blocks, threads, shared_bytes, *arguments)


def first_network(array: Array, ndim: int) -> Array:
    """Return the array of the first network, or the one that all share, which has ``ndim`` dimensions."""
    return array if array.ndim == ndim else array[0]


def threads_of_row(n: int) -> int:
    """Count the threads for a row of ``n`` numbers: a power of two of whole warps, which add up in pairs."""
    return min(THREADS, max(COLUMNS, 1 << (n - 1).bit_length()))


def blocks_of(n: int) -> int:
    """Count the blocks for ``n`` numbers, one for each thread."""
    return -(-n // THREADS)
