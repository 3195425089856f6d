"""Recipes: how numbers are encoded and a network is built and trained, as data that a preset names."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data.preprocessing import DateColumn, NumberColumn, NumberEncoding, Preprocessing
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.errors import DataError
from gpubp.nn import batch_ensemble
from gpubp.nn.architectures import with_periodic_inputs, with_scaled_inputs
from gpubp.nn.batch_ensemble import Members
from gpubp.nn.initialization import initial_weights, ntk_rate_factors
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer, adam, adamw, rate_scaled
from gpubp.optim.schedules import CosineCycles
from gpubp.tabular.prepare import PreparedTable

N_FREQUENCIES = 16
N_PERIODIC = 3
"""Outputs of the periodic embedding of a number, which is an input itself as well."""

MOST_INPUTS = 1_000
"""Of the network with a recipe: the layer of their scales has the square of them as weights, each with its tie."""


@dataclass(frozen=True)
class TableRecipe:
    """An encoding of numbers, a network in the parametrization of the NTK, and its training by Adam.

    With `n_members` it is a network of members that share weights, in the usual parametrization, trained by AdamW.

    Attributes
    ----------
    name : str
        The preset, which a model file names.
    numbers : {"robust", "linear", "piecewise"}
    hidden_layer_sizes : tuple of int
    activation : str
    is_periodic : bool
        Whether numbers have periodic embeddings: :func:`gpubp.nn.architectures.with_periodic_inputs`.
    learning_rate, beta_2 : float
        The largest rate of :class:`gpubp.CosineCycles` over all epochs, and Adam's setting; with members the one rate.
    bias_rate, scale_rate, periodic_rate : float
        What the rate of the biases, of the scale of the inputs and of the periodic embeddings is multiplied by.
    epochs, batch_size : int
    patience : int, optional
        Training stops early after so many epochs without improvement; None trains for all. The weights of the best
        epoch are kept.
    label_smoothing : float
        See :func:`fit_table`.
    n_members : int, optional
    weight_decay : float
        AdamW's, with members.
    """

    name: str = "realmlp"
    numbers: NumberEncoding = "robust"
    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    activation: str = "selu"
    is_periodic: bool = False
    learning_rate: float = 0.04
    beta_2: float = 0.95
    bias_rate: float = 0.1
    scale_rate: float = 6.0
    periodic_rate: float = 0.1
    epochs: int = 256
    batch_size: int = 256
    label_smoothing: float = 0.0
    patience: int | None = None
    n_members: int | None = None
    weight_decay: float = 0.0


REALMLP: dict[str, TableRecipe] = {
    "classification": TableRecipe(label_smoothing=0.1),
    "regression": TableRecipe(activation="mish", learning_rate=0.07),
}
"""RealMLP-TD-S, by task, of Holzmüller, Grinsztajn & Steinwart (2024), "Better by default"."""

_TABM = TableRecipe(
    name="tabm",
    numbers="piecewise",
    hidden_layer_sizes=(512, 512),
    activation="relu",
    learning_rate=0.002,
    beta_2=0.999,
    epochs=1000,
    patience=16,
    n_members=32,
    weight_decay=3e-4,
)
TABM: dict[str, TableRecipe] = {"classification": _TABM, "regression": _TABM}
"""TabM with piecewise-linear inputs, without dropout, of Gorishniy, Kotelnikov & Babenko (2025), "TabM"."""

RECIPES: dict[str, dict[str, TableRecipe]] = {"realmlp": REALMLP, "tabm": TABM}
"""The presets that are recipes, each by task."""


def check_recipe(recipe: TableRecipe, prepared: PreparedTable | PreparedStream) -> None:
    """Raise an error if a recipe is none, or is not for the task and the encoding of a prepared table."""
    if not isinstance(recipe, TableRecipe):
        raise DataError(
            f"recipe must be a TableRecipe, such as gpubp.tabular.REALMLP[{prepared.task!r}], got "
            f"{type(recipe).__name__}: {excerpt(repr(recipe))}"
        )
    if recipe.label_smoothing and prepared.task != "classification":
        raise DataError(
            f"the recipe smooths labels by {recipe.label_smoothing:g}, and the target holds numbers; pass a recipe for "
            "numbers, such as gpubp.tabular.REALMLP['regression']"
        )
    columns = prepared.preprocessing.columns
    found = next((one.encoding for one in columns if isinstance(one, NumberColumn)), recipe.numbers)
    if found != recipe.numbers:
        raise DataError(
            f"the recipe is for numbers encoded as {recipe.numbers!r}, and those of the table are {found!r}; pass "
            f"numbers={recipe.numbers!r} when it is prepared"
        )


def recipe_network(recipe: TableRecipe, prepared: PreparedTable | PreparedStream, loss: str | None = None) -> Network:
    """Build the network for a prepared table: members, or a learned scale of the inputs and embeddings before it.

    Raises
    ------
    DataError
        If it has more than `MOST_INPUTS` inputs, or the loss is not valid.
    """
    is_classification = prepared.task == "classification"
    numbers = _embedded(recipe, prepared)
    n_inputs = prepared.n_inputs + N_PERIODIC * len(numbers)
    if n_inputs > MOST_INPUTS and recipe.n_members is None:
        raise DataError(
            f"the recipe {recipe.name!r} learns a scale of each input, for at most {MOST_INPUTS:,} inputs, and the "
            f"table has {n_inputs:,}; lower max_categories (--max-categories), drop columns, or train without a recipe"
        )
    network = Network(
        (n_inputs, *recipe.hidden_layer_sizes, prepared.n_outputs),
        activation=recipe.activation,
        output_activation="softmax" if is_classification else None,
        loss=loss or ("cross_entropy" if is_classification else "squared"),
        n_members=recipe.n_members,
    )
    if recipe.n_members is not None:
        return network
    network = with_scaled_inputs(network)
    if not numbers:
        return network
    return with_periodic_inputs(network, numbers, n_frequencies=N_FREQUENCIES, n_outputs=N_PERIODIC)


def recipe_size(recipe: TableRecipe, prepared: PreparedTable | PreparedStream) -> int:
    """Count the parameters of the network without building its ties."""
    if recipe.n_members is not None:
        return recipe_network(recipe, prepared).n_parameters
    n_numbers = len(_embedded(recipe, prepared))
    n_waves, n_outputs = N_FREQUENCIES * n_numbers, N_PERIODIC * n_numbers
    n_inputs = prepared.n_inputs + n_outputs
    sizes = (n_inputs, n_inputs, *recipe.hidden_layer_sizes, prepared.n_outputs)
    embedding = (prepared.n_inputs + 1) * n_waves + (n_waves + 1) * n_outputs
    return embedding + sum((below + 1) * above for below, above in pairwise(sizes))


def recipe_weights(
    recipe: TableRecipe,
    network: Network,
    prepared: PreparedTable | PreparedStream,
    seed: int | Sequence[int],
    dtype: str,
) -> np.ndarray:
    """Draw the initial weights of one network or of several; without members the outputs begin at 0."""
    if network.members is not None:
        theta = initial_weights(network, seed, scheme="fan_in", dtype=dtype)
        return _member_weights(network.members, theta, prepared, seed)
    schemes = ["ones", *["ntk"] * len(recipe.hidden_layer_sizes), "zeros"]
    if _is_periodic(network):
        schemes = ["periodic", "fan_in", *schemes]
    return initial_weights(network, seed, scheme=schemes, dtype=dtype)


def _member_weights(
    members: Members, theta: np.ndarray, prepared: PreparedTable | PreparedStream, seed: int | Sequence[int]
) -> np.ndarray:
    """Draw the members' scales of the inputs: a normal number for each column."""
    shared, _ = batch_ensemble.views(np, members, theta)
    widths = [place.stop - place.start for place in prepared.preprocessing.input_slices.values()]
    for scales, one in zip(shared[0].r.reshape(-1, members.n, sum(widths)), np.atleast_1d(seed).tolist(), strict=True):
        drawn = np.random.default_rng((one, 2)).normal(size=(members.n, len(widths)))
        scales[...] = np.repeat(drawn, widths, axis=1)
    return theta


def recipe_optimizer(recipe: TableRecipe, network: Network) -> Optimizer:
    """Return the optimizer, with its learning rate for each parameter."""
    if recipe.n_members is not None:
        return adamw(recipe.learning_rate, beta_2=recipe.beta_2, weight_decay=recipe.weight_decay)
    scale = 3 if _is_periodic(network) else 1
    others = {scale: (recipe.scale_rate, 0.0)}
    if scale > 1:  # RealMLP has cos(2 pi w x + b), and learns w
        rate = recipe.periodic_rate
        others |= {1: (2.0 * np.pi * rate, rate), 2: (rate, rate)}
    factors = ntk_rate_factors(network, bias=recipe.bias_rate, others=others)
    return rate_scaled(adam(CosineCycles(recipe.learning_rate, recipe.epochs), beta_2=recipe.beta_2), factors)


def number_inputs(preprocessing: Preprocessing) -> list[int]:
    """Return the positions of the inputs that are numbers: scaled values of columns, and days of dates."""
    positions = []
    for column, place in zip(preprocessing.columns, preprocessing.input_slices.values(), strict=True):
        if isinstance(column, NumberColumn) or (isinstance(column, DateColumn) and "days" in column.parts):
            positions.append(place.start)
    return positions


def _embedded(recipe: TableRecipe, prepared: PreparedTable | PreparedStream) -> list[int]:
    return number_inputs(prepared.preprocessing) if recipe.is_periodic else []


def _is_periodic(network: Network) -> bool:
    return network.activations[0] == "cosine"
