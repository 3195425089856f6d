"""The network for a prepared table; before it, a layer embeds the columns that are to be embedded."""

from collections.abc import Sequence

import numpy as np

from gpubp.data.preprocessing import Preprocessing
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs
from gpubp.nn.network import Network
from gpubp.tabular.prepared_table import PreparedTable

EMBEDDING_SIZE = 8
"""The numbers in which the inputs of a column are embedded, as in RealMLP (Holzmüller et al. 2024)."""


def network_for(
    prepared: PreparedTable | PreparedStream,
    *,
    hidden_layer_sizes: int | Sequence[int] = (100,),
    activation: str = "relu",
    loss: str | None = None,
) -> Network:
    """Build the network for a prepared table; for classification its outputs are softmax, with any loss.

    Without hidden layers nothing is embedded, since it would compute the same.

    Examples
    --------
    >>> from gpubp.tabular import prepare_table
    >>> network_for(prepare_table("iris", numbers="linear"), hidden_layer_sizes=(20, 10)).sizes
    (4, 20, 10, 3)
    """
    is_classification, preprocessing = prepared.task == "classification", prepared.preprocessing
    sizes = np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    is_embedded = bool(sizes and preprocessing.embedded_inputs)
    network = Network(
        (n_above_embeddings(preprocessing) if is_embedded else prepared.n_inputs, *sizes, prepared.n_outputs),
        activation=activation,
        output_activation="softmax" if is_classification else None,
        loss=loss or ("cross_entropy" if is_classification else "squared"),
    )
    return with_embeddings(network, preprocessing) if is_embedded else network


def n_above_embeddings(preprocessing: Preprocessing) -> int:
    """Return the number of inputs of a network above a layer of embeddings: its units, and the inputs beside them."""
    groups = preprocessing.embedded_inputs
    return len(preprocessing.feature_names) + sum(EMBEDDING_SIZE - len(group) for group in groups)


def with_embeddings(network: Network, preprocessing: Preprocessing) -> Network:
    """Put the embeddings of columns before a network, if any are to be embedded."""
    groups = preprocessing.embedded_inputs
    return with_embedded_inputs(network, groups, n_outputs=EMBEDDING_SIZE) if groups else network


def first_weights(
    network: Network, preprocessing: Preprocessing, seed: int | Sequence[int], dtype: str
) -> np.ndarray | None:
    """Draw the initial weights of a network from :func:`network_for`, or of several; None leaves them to `train`."""
    if not _has_embeddings(network, preprocessing):
        return None
    return initial_weights(network, seed, scheme=["normal", *["glorot"] * (len(network.shapes) - 1)], dtype=dtype)


def hidden_layers_of(network: Network, preprocessing: Preprocessing) -> tuple[tuple[int, ...], str]:
    """Return the sizes of the hidden layers of a network from :func:`network_for`, and their activation."""
    return network.sizes[2 if _has_embeddings(network, preprocessing) else 1 : -1], network.activations[-2:][0]


def _has_embeddings(network: Network, preprocessing: Preprocessing) -> bool:
    return len(network.sizes) > 2 and bool(preprocessing.embedded_inputs)
