"""The outputs of a network, and the losses of samples, computed in parts that bound the memory."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.misplaced import takes_network
from gpubp._typing import Array, Namespace
from gpubp.backends.backend import (
    Backend,
    choose_backend,
    like,
    move_together,
    to_backend,
    to_backend_together,
    to_numpy,
    with_matmul,
)
from gpubp.backends.gpu_errors import Workload, translate_gpu_errors
from gpubp.backends.memory import SAMPLES_AT_ONCE, samples_at_once, storage_backend
from gpubp.backends.sparse_matmul import dense_parts, is_sparse, samples_of
from gpubp.backends.value_checks import ValueChecks
from gpubp.engine import cpu, cuda
from gpubp.engine.argument_checks import choose_precision, host_array, host_theta, validate_theta, validate_x
from gpubp.engine.plain.compilation import compiled
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.pointer_checks import check_prediction
from gpubp.nn.losses import output_loss
from gpubp.nn.network import Network
from gpubp.nn.passes import Layer, output_layer

WORTH_THREADS = 1e8
"""Operations of a prediction in array calls, below which one thread computes."""

SAMPLES_OF_A_THREAD, PARTS_OF_A_STACK = 512, 16
"""How a larger one is divided for threads; each member that shares weights has samples of its own."""


@takes_network("predict")
@np.errstate(all="ignore")
def predict(
    network: Network,
    theta: Array,
    X: Array,
    *,
    device: str = "auto",
    dtype: str | None = None,
    matmul_precision: str = "float32",
) -> Array:
    """Compute the outputs of a network, or of a stack of them.

    Parameters
    ----------
    network : Network
    theta : (P,) or (K, P) array
    X : (b, i) or (K, b, i) array
    device : str
        See :func:`gpubp.backends.backend.choose_backend`.
    dtype : {"float32", "float64"}, optional
        The precision to compute in; by default, that of ``theta``.
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}
        See :func:`gpubp.train`.

    Returns
    -------
    (b, j) or (K, b, j) array
        In the namespace and on the device of ``X``.

    Raises
    ------
    DataError
        If shapes do not fit the network, or values are not finite.
    DeviceError
        If the device cannot be used, or fails; the message names the cause and the fix.

    Notes
    -----
    The last digits of an output depend on how many samples are predicted together: BLAS adds in an order that suits the
    number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network, predict
    >>> predict(Network((2, 1)), np.asarray([1.0, 2.0, 0.5]), [[3.0, 4.0]], device="cpu")
    array([[11.5]])
    """
    if _was_checked(network, theta, device, dtype, matmul_precision) and _is_ready(network, theta, X):
        computed = outputs_on_numpy(network, theta, X)
        if computed is not None:
            return computed
    return _predict(network, theta, X, device, dtype, matmul_precision, mean=False)


@np.errstate(all="ignore")
def mean_outputs(
    network: Network, theta: Array, X: Array, *, device: str = "auto", matmul_precision: str = "float32"
) -> Array:
    """Compute the outputs of a network, or the mean of those of a stack, ``(b, j)``; arguments as in :func:`predict`.

    The mean is taken on the device, from which only it is downloaded.

    Examples
    --------
    >>> import numpy as np
    >>> from gpubp import Network
    >>> mean_outputs(Network((1, 1)), np.asarray([[1.0, 0.5], [3.0, 0.5]]), [[2.0], [3.0]], device="cpu")
    array([[4.5],
           [6.5]])
    """
    if np.ndim(theta) != 2:
        return predict(network, theta, X, device=device, matmul_precision=matmul_precision)
    return _predict(network, theta, X, device, None, matmul_precision, mean=True)


def _predict(
    network: Network, theta: Array, X: Array, device: str, dtype: str | None, matmul_precision: str, *, mean: bool
) -> Array:
    given, X, theta = theta, host_array("X", X), host_theta(theta)
    backend = choose_backend(device, X, theta)
    precision = choose_precision(backend, dtype, theta, X)
    backend = with_matmul(backend, matmul_precision, precision)

    def on_device() -> Array:
        values, storage = ValueChecks(), storage_backend(backend, precision, X)
        parameters = validate_theta(network, backend, precision, theta, later=values)
        samples = validate_x(network, storage, precision, parameters, X, later=values)
        values.finish()
        parameters, samples = move_together(precision, (backend, parameters), (storage, samples))
        return like(outputs(backend, network, parameters, samples, mean=mean), X)

    workload = Workload(network, precision, 1, X.shape[-2] if X.ndim > 1 else 1)
    with translate_gpu_errors(backend, workload), backend.active():
        result = on_device()
    if backend.is_numpy and given is theta and theta.dtype == precision:
        _checked[:] = [network, weakref.ref(theta), device]
    return result


_checked: list[Any] = [None, lambda: None, None]
"""The network, the parameters and the device of the last prediction on NumPy, which need not be checked again."""


def _was_checked(network: Network, theta: Array, device: str, dtype: str | None, matmul_precision: str) -> bool:
    last_network, last_theta, last_device = _checked
    same = last_network is network and last_theta() is theta and last_device == device
    return same and theta is not None and dtype is None and matmul_precision == "float32"


def _is_ready(network: Network, theta: np.ndarray, X: Array) -> bool:
    """Return whether X needs no conversion, and has no error."""
    return (
        (type(X) is np.ndarray and X.ndim == 2 and X.dtype == theta.dtype)
        and (X.shape[0] > 0 and X.shape[1] == network.sizes[0] and theta.shape == (network.n_parameters,))
        and bool(np.logical_and.reduce(np.isfinite(X), axis=None))
    )


def outputs_on_numpy(network: Network, theta: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """Compute the outputs in the compiled engine; None if it cannot be used, or lacks an activation."""
    if not cpu.is_wanted():
        return None
    from gpubp.engine.cpu.outputs import engine_outputs

    return engine_outputs(network, theta, x)


def outputs(backend: Backend, network: Network, theta: Array, x: Array, *, mean: bool = False) -> Array:
    """Compute the outputs ``(..., b, j)`` on the device of ``theta``, in the form that is fastest there.

    Samples on the host are moved there part by part. ``mean`` is for a stack: its mean ``(b, j)`` is returned.
    """
    check_prediction(network, theta, x)
    if backend.is_numpy and backend.matmul_precision == "float32" and isinstance(x, np.ndarray):
        computed = outputs_on_numpy(network, theta, x) if x.ndim == 2 and theta.ndim == 1 else None
        if computed is not None:
            return computed
    n_networks = theta.shape[0] if theta.ndim == 2 else 1
    part_size = samples_at_once(backend, network.sizes, str(theta.dtype).rpartition(".")[2], n_networks)
    on_device = (to_backend(backend, part) for part in in_parts(x, part_size // (network.n_members or 1)))
    forward = _forward_on_gpu(backend, network, theta)
    if forward is not None and not mean:
        return forward.outputs(on_device, x.shape[-2])
    parts = []
    for part in on_device:
        y = last_layer(backend, network, theta, part).y if forward is None else forward.outputs([part], part.shape[-2])
        parts.append(backend.xp.mean(y, axis=0) if mean else y)
    return parts[0] if len(parts) == 1 else backend.xp.concat(parts, axis=-2)


class Evaluation(NamedTuple):
    """Sums of losses over samples, ``(...)``, and the outputs ``(..., b, j)`` or None, on the host."""

    loss: np.ndarray
    outputs: Any


def evaluate(
    backend: Backend, network: Network, theta: Array, samples: Batch, *, outputs_wanted: bool = False
) -> Evaluation:
    """Compute the loss of samples, without a penalty; see :func:`evaluate_each`."""
    (evaluation,) = evaluate_each(backend, network, [(theta, samples)], outputs_wanted=outputs_wanted)
    return evaluation


def evaluate_each(
    backend: Backend, network: Network, pairs: Sequence[tuple[Array, Batch]], *, outputs_wanted: bool = False
) -> list[Evaluation]:
    """Compute losses, without a penalty, in the form that is fastest on the device; a GPU downloads them together.

    Parameters
    ----------
    pairs : sequence of (theta, samples)
        The parameters ``(P,)`` or ``(K, P)``, and the samples on which they are evaluated, on the device. x may be
        sparse, if the backend is that of :func:`~gpubp.backends.sparse_matmul.for_samples`.
    outputs_wanted : bool
        Whether the outputs are wanted, too.
    """
    for theta, samples in pairs:
        check_prediction(network, theta, samples.x)
    at_once = max(1, SAMPLES_AT_ONCE // (network.n_members or 1))
    passes: list[Any] = [
        _forward_on_gpu(
            backend, network, theta, weighted=samples.sample_weight is not None, outputs_wanted=outputs_wanted
        )
        for theta, samples in pairs
    ]
    is_plain = network.tied is None and network.n_members is None and not network.skips
    if passes and None not in passes and (is_plain or not any(is_sparse(samples.x) for _, samples in pairs)):
        from gpubp.engine.cuda.outputs import evaluate_together

        parts = (_parts_on_gpu(backend, *of_pair) for of_pair in zip(passes, pairs, strict=True))
        return [_sum_of(of_pair) for of_pair in evaluate_together(passes[0].device, parts, at_once)]
    return [_evaluate_plainly(backend, network, *pair, at_once, outputs_wanted=outputs_wanted) for pair in pairs]


def _parts_on_gpu(backend: Backend, forward: Any, pair: tuple[Array, Batch]) -> Iterator[tuple[Any, Batch]]:
    """Yield forward passes and samples: of sparse ones parts, whose inputs are those in which they have values.

    So kernels compute what needs few of the rows of wide weights. Each part is uploaded when it is asked for.
    """
    theta, samples = pair
    if not is_sparse(samples.x):
        yield forward, samples
        return
    network, weights = forward.network, samples.sample_weight
    xp, stack, (n_inputs, width) = backend.xp, theta.shape[:-1], network.sizes[:2]
    end = (n_inputs + network.bias) * width
    wide = xp.reshape(theta[..., :end], (*stack, n_inputs + network.bias, width))
    options = {"weighted": weights is not None, "outputs_wanted": forward.outputs_wanted}
    for rows, columns, dense in dense_parts(samples.x, str(theta.dtype)):
        inputs, x = to_backend_together(backend, [np.append(columns, n_inputs) if network.bias else columns, dense])
        used = xp.reshape(xp.take(wide, inputs, axis=-2), (*stack, -1))
        of_inputs = replace(network, sizes=(len(columns), *network.sizes[1:]))
        part = Batch(x, samples.targets[..., rows, :], None if weights is None else weights[..., rows])
        yield _forward_on_gpu(backend, of_inputs, xp.concat([used, theta[..., end:]], axis=-1), **options), part


def _sum_of(found: list[tuple[np.ndarray, np.ndarray | None]]) -> Evaluation:
    """Return the losses of all parts, and their outputs one below the other."""
    losses, outputs = zip(*found, strict=True)
    if len(found) == 1:
        return Evaluation(losses[0], outputs[0])
    return Evaluation(np.sum(losses, axis=0), None if outputs[0] is None else np.concatenate(outputs, axis=-2))


def _evaluate_plainly(
    backend: Backend, network: Network, theta: Array, samples: Batch, at_once: int, *, outputs_wanted: bool
) -> Evaluation:
    x, targets, weights, *_ = samples
    losses, outputs, n_samples, dtype = [], [], x.shape[-2], str(theta.dtype).rpartition(".")[2]
    loss_of = compiled(backend, _loss, network)
    for start in range(0, n_samples, at_once):
        rows = slice(start, min(start + at_once, n_samples))  # the standard has no slices beyond the end
        part = samples_of(x, rows, dtype) if is_sparse(x) else x[..., rows, :]
        layer = last_layer(backend, network, theta, part)
        part_weights = None if weights is None else weights[..., rows]
        losses.append(loss_of(*layer, targets[..., rows, :], part_weights))
        if outputs_wanted:
            outputs.append(to_numpy(layer.y))
    loss: Any = np.sum(to_numpy(backend.xp.stack(losses)), axis=0, dtype=np.float64)
    return Evaluation(loss, np.concatenate(outputs, axis=-2) if outputs else None)


def _loss(xp: Namespace, network: Network, *arrays: Array | None) -> Array:
    return output_loss(xp, network.loss, network.activations[-1], *arrays)[0]


def _forward_on_gpu(backend: Backend, network: Network, theta: Array, **losses: bool) -> Any | None:
    """Return the compiled forward pass for GPUs, as ``forward_passes`` of :mod:`gpubp.engine.cuda` do."""
    if not cuda.is_wanted(backend, cpu.requested_mode()):
        return None
    from gpubp.engine.cuda.forward_passes import forward_pass

    return forward_pass(backend, network, theta, **losses)


def last_layer(backend: Backend, network: Network, theta: Array, x: Array) -> Layer:
    """Compute the output layer in array calls, on NumPy by threads that each have a BLAS of one thread.

    Threads of BLAS keep their cores busy for a tenth of a second after a product, and training waits for these.
    """
    if not (backend.is_numpy and cpu.is_wanted()):
        layer: Layer = compiled(backend, output_layer, network)(theta, x)
        return layer
    from gpubp.engine.cpu.threads import blas_of_one_thread, side_by_side

    n_members = network.n_members or 1
    n_networks = theta.shape[0] if theta.ndim == 2 else 1
    is_small = 2.0 * x.shape[-2] * network.n_parameters * n_networks * n_members < WORTH_THREADS
    with blas_of_one_thread():
        parts = [(theta, x)] if is_small or is_sparse(x) else _independent_parts(theta, x, n_members)
        layers = side_by_side(lambda part: output_layer(backend.xp, network, *part), parts)
    if len(layers) == 1:
        return layers[0]
    axis = 0 if theta.ndim == 2 else -2
    return Layer(*(np.concatenate(arrays, axis=axis) for arrays in zip(*layers, strict=True)))


def _independent_parts(theta: np.ndarray, x: np.ndarray, n_members: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide a stack into a few networks each, or the samples of one network into as many as suit a cache.

    The number of threads changes no bit: a network of a stack is computed alone, and the number of samples is fixed.
    """
    if theta.ndim == 1:
        return [(theta, part) for part in in_parts(x, SAMPLES_OF_A_THREAD // n_members)]
    at_once = -(-len(theta) // PARTS_OF_A_STACK)
    networks = [slice(first, first + at_once) for first in range(0, len(theta), at_once)]
    return [(theta[some], x if x.ndim == 2 else x[some]) for some in networks]


def in_parts(x: Array, at_once: int) -> Iterator[Array]:
    """Divide samples, or targets, into parts whose hidden layers take little memory.

    With the same ``at_once`` on all devices, a loss summed over the parts is the same to the bit.
    """
    at_once = max(1, at_once)
    for start in range(0, x.shape[-2], at_once):
        yield x[..., start : min(start + at_once, x.shape[-2]), :]
