"""Outputs and losses of networks whose members share weights, on a CUDA device."""

from typing import Any

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import stride
from gpubp.engine.cuda.kernels.layers import Kernel
from gpubp.engine.cuda.kernels.members import MemberKernels
from gpubp.engine.cuda.launches import first_network
from gpubp.engine.cuda.outputs import ForwardPass
from gpubp.nn.batch_ensemble import views


class MemberForwardPass(ForwardPass):
    """The launches that pass samples forward through members that share weights, and take the means of their outputs.

    Hidden layers have one product for the rows of all members, and what it multiplies is scaled by the kernel before.
    """

    layers: MemberKernels  # type: ignore[assignment]

    def _over_outputs(self, x: Array, *arrays: Any) -> None:
        """Pass samples forward; ``arrays`` are what the kernel of the means gets after the members' outputs."""
        xp, sizes, b = self.device.xp, self.network.sizes, x.shape[-2]
        x, members, n = xp.ascontiguousarray(x), self.network.members, self.network.n_members
        assert members is not None
        assert n is not None
        shared, last = views(xp, members, self.thetas)
        of_products, last_of_products = views(xp, members, self.theta_operands)
        where = (n, self.n_parameters)
        scales = [first_network(layer.r, 3) for layer in shared]
        operands = self._of_members(b, sizes[0], "uint16" if self.rounds else self.dtype)
        inputs = (first_network(x, 2), stride(x, 2), scales[0]) if scales else (first_network(x, 2), stride(x, 2), None)
        self._over_members(self.layers.scaled_inputs, b, sizes[0], *where, *inputs, operands)
        for k, layer in enumerate(shared):
            width = sizes[k + 1]
            totals = self._of_members(b, width, self.dtype)
            rows = [array.reshape((*self.stack, n * b, -1)) for array in (operands, totals)]
            self.device.multiply(rows[0], of_products[k].w, rows[1])
            operands = self._of_members(b, width, str(operands.dtype))
            own = (first_network(layer.s, 3), first_network(layer.b, 3), scales[k + 1] if k + 1 < len(shared) else None)
            self._over_members(self.layers.activations[k], b, width, *where, *own, totals, operands)
        totals, outputs = (self._of_members(b, sizes[-1], self.dtype) for _ in range(2))
        last, last_of_products = (array.reshape((-1, *array.shape[-2:])) for array in (last, last_of_products))
        self.device.multiply(operands, last_of_products[:, :-1, :], totals)
        n_biases = last.strides[0] // last.itemsize  # from one member to the next
        self._over_members(self.layers.outputs, b, sizes[-1], last[0, -1], n_biases, totals, outputs)
        self._over_layer(self.layers.means, b, sizes[-1], n, totals, outputs, *arrays)

    def _of_members(self, b: int, width: int, dtype: str) -> Array:
        """Make an array with rows for the samples of all members of all networks."""
        assert self.network.n_members is not None
        return self.device.temporary((self.n_networks * self.network.n_members, b, width), dtype)

    def _over_members(self, kernel: Kernel, b: int, n: int, *arrays: Any) -> None:
        assert self.network.n_members is not None
        self._over_layer(kernel, b, n, *arrays, n_networks=self.n_networks * self.network.n_members)
