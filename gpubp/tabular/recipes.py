"""Recipes: how numbers are encoded and a network is built and trained, as data that a preset names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data.preprocessing import (
    FEW_INPUTS,
    MOST_INPUTS_TO_EMBED,
    CategoryColumn,
    CategoryEncoding,
    DateColumn,
    FeatureColumn,
    NumberColumn,
    NumberEncoding,
    Preprocessing,
    TargetStatisticsColumn,
)
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.errors import DataError
from gpubp.nn import batch_ensemble
from gpubp.nn.activations import base_name
from gpubp.nn.batch_ensemble import Members
from gpubp.nn.initialization import (
    Purpose,
    generator_for,
    initial_weights,
    ntk_rate_factors,
    standardized_weights,
)
from gpubp.nn.input_layers import with_periodic_inputs, with_scaled_inputs
from gpubp.nn.network import Network, views
from gpubp.optim.first_order import Optimizer, adam, adamw
from gpubp.optim.schedules import CosineCycles, FlatCosine
from gpubp.optim.wrappers import decay_scaled, rate_scaled
from gpubp.tabular.networks import EMBEDDING_SIZE, n_above_embeddings, with_embeddings
from gpubp.tabular.prepared_table import PreparedTable

N_FREQUENCIES = 16
N_PERIODIC = 3
"""Outputs of the periodic embedding of a number, which is an input itself as well."""

ROWS_TO_STANDARDIZE = 1_000

MOST_SCALES = 1_000
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
    categories : {"one-hot", "embedding", "target"}, optional
        None leaves it to the caller.
    hidden_layer_sizes : tuple of int
    activation : str
        Of the hidden layers; parametric ones are learned at the rate `activation_rate`.
    is_periodic : bool
        Whether numbers have periodic embeddings, PBLD (Holzmüller et al. 2024).
    learning_rate, beta_2 : float
        The largest rate of :class:`gpubp.CosineCycles` over all epochs, and Adam's setting; with members the one rate.
    bias_rate, activation_rate, scale_rate, periodic_rate, embedding_rate : float
        What the rate of the biases, of parametric activations, of the scale of the inputs, of the periodic embeddings
        of numbers and of the embeddings of categories is multiplied by.
    dropout, weight_decay : float
        The first values of :class:`gpubp.FlatCosine` over all epochs: of the dropout of the hidden layers, and of the
        decay of the weights. With members, the constant decay of AdamW.
    validation_fraction : float, optional
        The fraction of the rows that are held out to choose the best epoch. The network is then not trained again on
        all rows: a rate that rises and falls may be high in that epoch. None leaves both to the caller.
    is_standardized : bool
        Whether the first weights are scaled to the training rows, to total inputs of deviation 1.
        Otherwise they are normal, and the outputs begin at 0. A stream, of which no rows are at hand, has the latter.
    epochs, batch_size : int
    drop_last : bool
        Whether a smaller last batch of an epoch is left out, as in RealMLP; not of a stream.
    patience : int, optional
        Training stops early after so many epochs without improvement; None trains for all. The weights of the best
        epoch are kept.
    label_smoothing : float
        See :func:`fit_table`.
    n_members : int, optional

    Examples
    --------
    A smaller network than that of a known recipe:

    >>> from dataclasses import replace
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> recipe = replace(REALMLP_S["classification"], hidden_layer_sizes=(16, 16), epochs=8)
    >>> result = fit_table(prepare_table("iris", numbers=recipe.numbers), recipe=recipe)
    >>> result.model.network.sizes  # the first layer scales the four inputs
    (4, 4, 16, 16, 3)
    """

    name: str = "realmlp"
    numbers: NumberEncoding = "robust"
    categories: CategoryEncoding | None = None
    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    activation: str = "selu"
    is_periodic: bool = False
    learning_rate: float = 0.04
    beta_2: float = 0.95
    bias_rate: float = 0.1
    activation_rate: float = 0.1
    scale_rate: float = 6.0
    periodic_rate: float = 0.1
    embedding_rate: float = 1.0
    epochs: int = 256
    batch_size: int = 256
    drop_last: bool = False
    label_smoothing: float = 0.0
    patience: int | None = None
    n_members: int | None = None
    dropout: float = 0.0
    weight_decay: float = 0.0
    validation_fraction: float | None = None
    is_standardized: bool = False


_TD_S = TableRecipe("realmlp-s", drop_last=True, validation_fraction=0.2)
REALMLP_S: dict[str, TableRecipe] = {
    "classification": replace(_TD_S, label_smoothing=0.1),
    "regression": replace(_TD_S, activation="mish", learning_rate=0.07),
}
"""RealMLP-TD-S, by task, of Holzmüller, Grinsztajn & Steinwart (2024), "Better by default".

It is :data:`gpubp.tabular.REALMLP` without embeddings, parametric activations, dropout and decay, from normal weights.

Examples
--------
>>> from gpubp.tabular import REALMLP_S
>>> recipe = REALMLP_S["classification"]
>>> recipe.numbers, recipe.hidden_layer_sizes, recipe.epochs
('robust', (256, 256, 256), 256)
"""

_TD = replace(
    _TD_S,
    name="realmlp",
    categories="embedding",
    is_periodic=True,
    dropout=0.15,
    weight_decay=0.02,
    is_standardized=True,
)
REALMLP: dict[str, TableRecipe] = {
    "classification": replace(_TD, activation="parametric(selu)", label_smoothing=0.1),
    "regression": replace(_TD, activation="parametric(mish)", learning_rate=0.2),
}
"""RealMLP-TD, by task, of the same authors.

Numbers are scaled robustly and embedded periodically, categories of more than nine inputs embedded in eight numbers,
and each input has a learned weight. Three hidden layers of 256 units, with parametric SELU for classes or Mish for
numbers, in the parametrization of the neural tangent kernel, begin with weights scaled to the training rows. Adam
trains for 256 epochs, in batches of 256 rows; what is left of an epoch is not used. The rate rises and falls four
times, dropout and weight decay fall to 0 in the second half, and labels are smoothed by a tenth. A fifth of the rows
chooses the best epoch.

Examples
--------
>>> from gpubp.tabular import REALMLP
>>> recipe = REALMLP["regression"]
>>> recipe.numbers, recipe.categories, recipe.activation
('robust', 'embedding', 'parametric(mish)')
"""

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
"""TabM with piecewise-linear inputs, without dropout, of Gorishniy, Kotelnikov & Babenko (2025), "TabM".

32 networks train as one. They share the weights of two hidden layers of 512 units. Each multiplies the inputs and
outputs of a layer by numbers of its own (BatchEnsemble, Wen, Tran & Ba 2020), has its own biases and output layer, and
learns from every batch by its own loss, with AdamW and a constant rate, until the loss of the mean prediction on the
validation rows has not improved for 16 epochs. The paper's learned embeddings of bins are left out.

Examples
--------
>>> from gpubp.tabular import TABM
>>> recipe = TABM["classification"]
>>> recipe.n_members, recipe.hidden_layer_sizes
(32, (512, 512))
"""

RECIPES: dict[str, dict[str, TableRecipe]] = {"realmlp": REALMLP, "realmlp-s": REALMLP_S, "tabm": TABM}
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
    encoding = prepared.preprocessing.category_encoding
    if recipe.categories is not None and encoding != recipe.categories and _may_embed(columns):
        raise DataError(
            f"the recipe is for categories encoded as {recipe.categories!r}, and those of the table are {encoding!r}; "
            f"pass categories={recipe.categories!r} when it is prepared"
        )
    if recipe.n_members is not None and prepared.preprocessing.embedded_inputs:
        raise DataError(
            f"the members of {recipe.name!r} share the weights of ordinary layers, and the categories of the table are "
            "to be embedded; prepare it with categories='one-hot' (--categories one-hot)"
        )


def _may_embed(columns: Sequence[FeatureColumn]) -> bool:
    """Return whether another encoding of categories would have embedded columns, or they are target statistics."""
    is_small = sum(len(one.inputs) for one in columns) <= MOST_INPUTS_TO_EMBED
    most = max((len(one.inputs) for one in columns if type(one) is CategoryColumn), default=0)
    return (is_small and most > FEW_INPUTS) or any(isinstance(one, TargetStatisticsColumn) for one in columns)


def recipe_network(recipe: TableRecipe, prepared: PreparedTable | PreparedStream, loss: str | None = None) -> Network:
    """Build the network for a prepared table: members, or a learned scale of the inputs and embeddings before it.

    Raises
    ------
    DataError
        If it has more than `MOST_SCALES` inputs, or the loss is not valid.
    """
    is_classification = prepared.task == "classification"
    numbers, preprocessing = _periodic_inputs(recipe, prepared), prepared.preprocessing
    n_inputs = n_above_embeddings(preprocessing) + N_PERIODIC * len(numbers)
    if n_inputs > MOST_SCALES and recipe.n_members is None:
        raise DataError(
            f"the recipe {recipe.name!r} learns a scale of each input, for at most {MOST_SCALES:,} inputs, and the "
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
    if numbers:
        network = with_periodic_inputs(network, numbers, n_frequencies=N_FREQUENCIES, n_outputs=N_PERIODIC)
    return with_embeddings(network, preprocessing)


def recipe_size(recipe: TableRecipe, prepared: PreparedTable | PreparedStream) -> int:
    """Count the parameters of the network without building its ties."""
    if recipe.n_members is not None:
        return recipe_network(recipe, prepared).n_parameters
    preprocessing, n_numbers = prepared.preprocessing, len(_periodic_inputs(recipe, prepared))
    n_waves, n_outputs = N_FREQUENCIES * n_numbers, N_PERIODIC * n_numbers
    n_embedded = EMBEDDING_SIZE * len(preprocessing.embedded_inputs)
    n_seen = n_embedded + prepared.n_inputs  # by the layers above the embeddings
    n_scales = n_above_embeddings(preprocessing) + n_outputs
    before = (prepared.n_inputs + 1) * n_embedded + (n_seen + 1) * n_waves + (n_waves + 1) * n_outputs
    of_activations = sum(recipe.hidden_layer_sizes) if base_name(recipe.activation) != recipe.activation else 0
    sizes = (n_scales, *recipe.hidden_layer_sizes, prepared.n_outputs)
    above = sum((below + 1) * above for below, above in pairwise(sizes))
    return before + (n_seen + n_outputs + 1) * n_scales + above + of_activations


def recipe_weights(
    recipe: TableRecipe,
    network: Network,
    prepared: PreparedTable | PreparedStream,
    seed: int | Sequence[int],
    dtype: str,
) -> np.ndarray:
    """Draw the initial weights of one network or of several."""
    if network.members is not None:
        theta = initial_weights(network, seed, scheme="fan_in", dtype=dtype)
        return _member_weights(network.members, theta, prepared, seed)
    rows, layers = _rows_of(prepared) if recipe.is_standardized else None, _input_layers(recipe, network)
    schemes = [layer.scheme for layer in layers] + ["ntk"] * len(recipe.hidden_layer_sizes)
    theta = initial_weights(network, seed, scheme=[*schemes, "zeros" if rows is None else "ntk"], dtype=dtype)
    if rows is None:
        return theta
    return standardized_weights(network, theta, rows, seed, layers=range(len(layers) + 1, len(network.sizes)))


def _rows_of(prepared: PreparedTable | PreparedStream) -> np.ndarray | None:
    """Return some training rows, ``(b, i)``; None of a stream."""
    if isinstance(prepared, PreparedStream):
        return None
    drawn = np.random.default_rng(0).permutation(prepared.parts["train"])
    rows: np.ndarray = prepared.X[np.sort(drawn[:ROWS_TO_STANDARDIZE])]
    return rows


def _member_weights(
    members: Members, theta: np.ndarray, prepared: PreparedTable | PreparedStream, seed: int | Sequence[int]
) -> np.ndarray:
    """Draw the members' scales of the inputs: a normal number for each column."""
    shared, _ = batch_ensemble.views(np, members, theta)
    widths = [place.stop - place.start for place in prepared.preprocessing.input_slices.values()]
    for scales, one in zip(shared[0].r.reshape(-1, members.n, sum(widths)), np.atleast_1d(seed).tolist(), strict=True):
        drawn = generator_for(one, Purpose.INPUT_SCALES).normal(size=(members.n, len(widths)))
        scales[...] = np.repeat(drawn, widths, axis=1)
    return theta


def recipe_optimizer(recipe: TableRecipe, network: Network) -> Optimizer:
    """Return the optimizer, with its learning rate for each parameter."""
    if recipe.n_members is not None:
        return adamw(recipe.learning_rate, beta_2=recipe.beta_2, weight_decay=recipe.weight_decay)
    layers = dict(enumerate(_input_layers(recipe, network), start=1))
    others = {number: (layer.weight_rate, layer.bias_rate) for number, layer in layers.items()}
    factors = ntk_rate_factors(network, bias=recipe.bias_rate, activation=recipe.activation_rate, others=others)
    cycles = CosineCycles(recipe.learning_rate, recipe.epochs)
    if not recipe.weight_decay:
        return rate_scaled(adam(cycles, beta_2=recipe.beta_2), factors)
    # what a step takes of the weights W of the parametrization: in RealMLP by the square of their rate's factor
    decay = network.weight_mask()
    for number, layer in layers.items():
        views(np, network, decay)[number - 1][...] *= layer.decay
    decay = np.divide(decay, factors, out=decay, where=decay > 0.0)
    adam_with_decay = adamw(cycles, beta_2=recipe.beta_2, weight_decay=FlatCosine(recipe.weight_decay, recipe.epochs))
    return rate_scaled(decay_scaled(adam_with_decay, decay), factors)


def validation_fraction_of(recipe: TableRecipe | None, requested: float) -> float:
    """Return the fraction of the rows that are held out: that of the recipe if it has one."""
    return requested if recipe is None or recipe.validation_fraction is None else recipe.validation_fraction


def recipe_dropout(recipe: TableRecipe, network: Network) -> float | tuple[float | FlatCosine, ...]:
    """Return the dropout of each layer below the outputs."""
    if not recipe.dropout:
        return 0.0
    rate, n_hidden = FlatCosine(recipe.dropout, recipe.epochs), len(recipe.hidden_layer_sizes)
    return (*(0.0,) * len(_input_layers(recipe, network)), *(rate,) * n_hidden)


def categories_of(recipe: TableRecipe | None, requested: Any) -> Any:
    """Return how categories become inputs: as the recipe has it, if it has."""
    return requested if recipe is None or recipe.categories is None else recipe.categories


def number_inputs(preprocessing: Preprocessing) -> list[int]:
    """Return the positions of the inputs that are numbers: scaled values of columns, and days of dates."""
    positions = []
    for column, place in zip(preprocessing.columns, preprocessing.input_slices.values(), strict=True):
        if isinstance(column, NumberColumn) or (isinstance(column, DateColumn) and "days" in column.parts):
            positions.append(place.start)
    return positions


def _periodic_inputs(recipe: TableRecipe, prepared: PreparedTable | PreparedStream) -> list[int]:
    """Return the positions of the numbers that are embedded, among the inputs above the embeddings of categories."""
    groups = prepared.preprocessing.embedded_inputs
    n_embedded, is_embedded = EMBEDDING_SIZE * len(groups), {position for group in groups for position in group}
    return [
        n_embedded + position - sum(one < position for one in is_embedded)
        for position in (number_inputs(prepared.preprocessing) if recipe.is_periodic else [])
    ]


class _InputLayer(NamedTuple):
    """How the weights of a layer before the hidden ones begin, their rates, and the factor of their decay."""

    scheme: str
    weight_rate: float
    bias_rate: float
    decay: float


def _input_layers(recipe: TableRecipe, network: Network) -> list[_InputLayer]:
    """Return the layers before the hidden ones: embeddings of categories, those of numbers, and the scale."""
    n_layers = len(network.sizes) - 2 - len(recipe.hidden_layer_sizes)
    rate, scale, embedding = recipe.periodic_rate, recipe.scale_rate, recipe.embedding_rate
    waves = [  # RealMLP has cos(2 pi w x + b), and learns w
        _InputLayer("periodic", 2.0 * np.pi * rate, rate, rate**2),
        _InputLayer("fan_in", rate, rate, rate**2),
    ]
    above = [*(waves if "cosine" in network.activations else []), _InputLayer("ones", scale, 0.0, scale**2)]
    return [_InputLayer("normal", embedding, 0.0, embedding**2)] * (n_layers - len(above)) + above
