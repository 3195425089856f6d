"""The initial weights, drawn as scikit-learn draws them."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from gpubp.nn.network import Network, flatten


def draw_initial_weights(
    network: Network, activation: Any, precision: str, random_state: np.random.RandomState, seed: int | None
) -> np.ndarray:
    """Draw the initial weights ``(P,)``.

    Parameters
    ----------
    activation : str or sequence of str
        The activation of the hidden layers, which a network without one also draws by.
    seed : int, optional
        Draw the weights from this seed, as a restart does. The numbers that ``random_state`` draws afterwards are the
        same with and without it.
    """
    # as in scikit-learn, the output layer's weights are drawn like those of the layer below
    activations = (*network.activation, *(network.activation[-1:] or (activation,)))
    blocks: list[np.ndarray] = []
    for draw in [random_state] if seed is None else [random_state, check_random_state(seed)]:
        blocks = []
        for (n_in, n_out), name in zip(pairwise(network.sizes), activations, strict=True):
            bound = math.sqrt((2.0 if name == "logistic" else 6.0) / (n_in + n_out))
            # scikit-learn draws the weights, then the biases: the same numbers as one draw of the whole block
            blocks.append(draw.uniform(-bound, bound, (n_in + 1, n_out)).astype(precision, copy=False))
    return np.asarray(flatten(np, blocks))
