"""The weights that training starts from, drawn on the host so that every backend starts from the same numbers."""

import math
from collections.abc import Sequence

import numpy as np

from gpubp.errors import DataError
from gpubp.network import Network, views
from gpubp.registry import unknown

Seed = int | np.random.Generator


def initial_weights(
    network: Network,
    seed: Seed | Sequence[Seed] = 0,
    *,
    scheme: str = "glorot",
    scale: float = 0.3,
    dtype: str = "float32",
) -> np.ndarray:
    r"""Draw the first weights of one network, or of a stack of them.

    Parameters
    ----------
    network : Network
    seed : int, Generator, or a sequence of them
        One seed gives ``(P,)``; a sequence of K seeds gives ``(K, P)``, each row what its seed gives alone.
    scheme : {"glorot", "he", "uniform"}
        ``"glorot"``: uniform in :math:`\pm\sqrt{6 / (n_{in} + n_{out})}` (Glorot & Bengio 2010); ``"he"``: uniform in
        :math:`\pm\sqrt{6 / n_{in}}` (He et al. 2015), for relu and its kin; both with biases of 0. ``"uniform"``: every
        weight and bias uniform in ``-scale`` to ``scale``, the paper's way (its range was 0.3).
    scale : float
        The range of ``"uniform"``.
    dtype : {"float32", "float64"}
        The numbers are drawn in float64 and rounded, so that both precisions start from the same place.

    Returns
    -------
    (P,) or (K, P) array of NumPy

    Raises
    ------
    DataError
        If the scheme is unknown.

    Examples
    --------
    >>> network = Network((2, 1))
    >>> initial_weights(network, seed=[0, 1]).shape
    (2, 3)
    """
    if scheme not in ("glorot", "he", "uniform"):
        raise DataError(unknown("scheme", scheme, ("glorot", "he", "uniform")))
    if isinstance(seed, Sequence | np.ndarray):
        rows = [initial_weights(network, one, scheme=scheme, scale=scale, dtype=dtype) for one in seed]
        return np.stack(rows)
    generator = np.random.default_rng(seed)
    theta = np.zeros(network.n_parameters)
    for block, n_in, n_out in zip(views(np, network, theta), network.sizes[:-1], network.sizes[1:], strict=True):
        if scheme == "uniform":
            block[...] = generator.uniform(-scale, scale, block.shape)
        else:
            bound = math.sqrt(6.0 / (n_in + n_out if scheme == "glorot" else n_in))
            block[:n_in] = generator.uniform(-bound, bound, (n_in, n_out))
    return theta.astype(dtype)
