"""Choose how samples are passed forward through networks on a CUDA device: by kernels, if they have what is needed."""

import math
from typing import Any

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.engine.cuda.device import cuda_device
from gpubp.engine.cuda.kernels.members import member_source
from gpubp.engine.cuda.kernels.outputs import output_source
from gpubp.engine.cuda.member_outputs import MemberForwardPass
from gpubp.engine.cuda.outputs import ForwardPass
from gpubp.nn.network import Network

MAX_NETWORKS = 2**16 - 1  # of a stack, each with its members: the largest third dimension of a launch


def forward_pass(backend: Backend, network: Network, theta: Array, **losses: bool) -> ForwardPass | None:
    """Prepare to pass samples forward on the GPU of a backend; see :func:`forward_pass_on`."""
    return forward_pass_on(cuda_device(backend.device, backend.matmul_precision), network, theta, **losses)


def forward_pass_on(
    device: Any, network: Network, theta: Array, *, weighted: bool | None = None, outputs_wanted: bool = True
) -> ForwardPass | None:
    """Prepare to pass samples forward through networks, ``(P,)`` or ``(K, P)``; None if this form lacks something.

    Parameters
    ----------
    device : object
        A :class:`gpubp.engine.cuda.device.CudaDevice`, or an object with the same methods.
    weighted, outputs_wanted
        As in :func:`gpubp.engine.cuda.kernels.outputs.output_source`; without them the pass is for outputs alone.
    """
    dtype, stack = str(theta.dtype), theta.shape[:-1]
    if len(stack) > 1 or math.prod(stack) * (network.n_members or 1) > MAX_NETWORKS:
        return None
    of_losses = {"weighted": weighted, "outputs_wanted": outputs_wanted}
    equations = (network.activations, network.loss, dtype, device.products)
    made: Any = None
    if network.n_members is None:
        made = output_source(*equations, bias=network.bias, **of_losses)
    else:
        made = member_source(*equations, **of_losses)
    kind = ForwardPass if network.n_members is None else MemberForwardPass
    return None if made is None else kind(device, network, theta, *made, outputs_wanted=outputs_wanted)
