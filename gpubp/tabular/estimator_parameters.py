"""The parameters of the estimators for tables: constraints, checks, docstrings, and what a model file says of them."""

import inspect
import json
from numbers import Integral, Real
from typing import Any, get_args

from sklearn.utils._param_validation import Interval

from gpubp._core.counts import is_count
from gpubp.backends.matmul_precision import MATMUL_PRECISIONS
from gpubp.data.preprocessing import (
    NAMES_OF_CATEGORIES,
    CategoryEncoding,
    ClassTarget,
    NumberEncoding,
    class_values,
    preprocessing_of,
)
from gpubp.errors import DataError
from gpubp.estimators.parameter_checks import OneOf, problem_of, problems_of
from gpubp.io.model_facts import mapping
from gpubp.io.model_file import Model
from gpubp.nn.activations import get_activation
from gpubp.nn.losses import get_loss
from gpubp.optim.first_order import OPTIMIZERS, Optimizer
from gpubp.optim.second_order import METHODS, SecondOrder
from gpubp.tabular.networks import hidden_layers_of
from gpubp.tabular.recipes import RECIPES
from gpubp.tabular.saved_optimizer import optimizer_in
from gpubp.tabular.several_networks import check_restarts

TRAINING_FACTS = (
    *("batch_size", "l2", "dtype", "matmul_precision", "n_networks", "n_restarts", "label_smoothing", "dropout"),
)
"""The parameters that stand under their names in what a model file says of the training."""

_OF_EACH_PRESET = ("numbers", "hidden_layer_sizes", "optimizer", "learning_rate", "batch_size", "l2", "dropout")
_OF_RECIPES = (*_OF_EACH_PRESET, "activation", "epochs", "patience", "tolerance", "label_smoothing")
CHOSEN_BY: dict[str, tuple[str, ...]] = {
    "fast": (),
    "best": (*_OF_EACH_PRESET, "categories", "n_networks", "n_restarts", "callbacks"),
    "realmlp": (*_OF_RECIPES, "categories", "validation_fraction", "refit"),
    "realmlp-s": (*_OF_RECIPES, "validation_fraction", "refit"),
    "tabm": _OF_RECIPES,
}
"""The presets, and the parameters that each chooses."""

CONSTRAINTS: dict[str, list[Any]] = {
    "preset": [OneOf([*CHOSEN_BY])],
    "time_budget": [Interval(Real, 0, None, closed="neither")],
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [str],
    "loss": [str, None],
    "optimizer": [OneOf([*OPTIMIZERS, *METHODS]), Optimizer, SecondOrder, callable],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
    "epochs": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [OneOf(["auto", "full"]), Interval(Integral, 1, None, closed="left")],
    "l2": [Interval(Real, 0, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "patience": [Interval(Integral, 1, None, closed="left"), None],
    "tolerance": [Interval(Real, 0, None, closed="left")],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "refit": ["boolean"],
    "types": [dict, None],
    "categorical": [str, "array-like"],
    "drop": [str, "array-like"],
    "missing": [str, Real, "array-like"],
    "max_categories": [Interval(Integral, 1, None, closed="left")],
    "strict": ["boolean"],
    "numbers": [OneOf([*get_args(NumberEncoding)])],
    "categories": [OneOf(get_args(CategoryEncoding), NAMES_OF_CATEGORIES)],
    "n_networks": [Interval(Integral, 1, None, closed="left")],
    "n_restarts": [Interval(Integral, 1, None, closed="left")],
    "group": [str, None],
    "time": [str, None],
    "random_state": ["random_state"],
    "device": [str],
    "dtype": [OneOf(["float32", "float64"])],
    "matmul_precision": [OneOf([*MATMUL_PRECISIONS])],
    "callbacks": [callable, "array-like", None],
}

_PARAMETERS = """
    preset : {"fast", "best", "realmlp", "realmlp-s", "tabm"}, default="fast"
        "fast" trains one network, or `n_networks`, by the parameters below. "best" tries encodings of numbers, sizes,
        learning rates and penalties on folds of the rows, and keeps several networks of the best:
        :func:`gpubp.tabular.search_table`. `numbers`, `categories`, `hidden_layer_sizes`, `optimizer`, `learning_rate`,
        `batch_size`, `l2`, `dropout`, `n_networks`, `n_restarts` and `callbacks` must then be left out. "realmlp"
        trains a large network by the recipe :data:`gpubp.tabular.REALMLP`, slowly and often better, "realmlp-s" by a
        simpler one, :data:`gpubp.tabular.REALMLP_S`, in less time, and "tabm" 32 members that share weights, by
        :data:`gpubp.tabular.TABM`, the slowest; all of these but `categories`, `n_networks`, `n_restarts` and
        `callbacks`, and `activation`, `epochs`, `patience`, `tolerance` and `label_smoothing`, must then be left out.
        "realmlp" and "realmlp-s" hold out a fifth of the rows and do not train again on all: leave out
        `validation_fraction` and `refit` too, and with "realmlp", which embeds categories, `categories`.
    time_budget : float, default=60.0
        About how many seconds "best" may take; for the others it must be left out.
    hidden_layer_sizes : int or sequence of int, default=(100,)
        The number of units of each hidden layer; ``()`` for none.
    activation : str, default="relu"
        The activation of the hidden layers.
    loss : str, optional
        The default is %(loss)s.
    optimizer : str, Optimizer, SecondOrder or callable, default="adam"
        A name, an optimizer such as ``gpubp.adamw(0.01)``, or a function of the network that returns one.
    learning_rate : float, optional
        The learning rate of an optimizer that is given by name; each has its own default.
    epochs : int, default=200
        The maximum number of epochs.
    batch_size : int, "auto" or "full", default="auto"
        See :func:`gpubp.fit_table`.
    l2 : float, default=0.1
        Strength of the penalty on the weights.
    dropout : float, default=0.0
        The fraction of the outputs of each hidden layer that is left out in training, others for each row.
    patience : int or None, default=10
        Training stops when the loss of the validation rows, or of the training rows if there are none, has not improved
        by more than `tolerance` for this many epochs; None trains for all epochs.
    tolerance : float, default=1e-6
        By how much the loss must decrease to count as an improvement, for `patience`.
    validation_fraction : float, default=0.1
        The fraction of the rows that early stopping holds out, unless :meth:`fit` gets ``validation_data``.
    refit : bool, default=True
        Whether a network is trained on all rows in the end, for as many epochs as the first one's best.
    types : dict of str to str, optional
        Types of columns instead of those that are found: number, category, date, words or drop.
    categorical, drop : str or sequence of str, default=()
        Columns of categories, and columns to leave out.
    missing : str, number or sequence of them, default=()
        What means a missing value besides the usual texts, such as -999.
    max_categories : int, default=100
        The number of categories of a column that have an input each.
    strict : bool, default=False
        Whether to raise where a value would be filled, left out or read as missing, in training and prediction.
    numbers : {"piecewise", "linear", "robust"}, default="piecewise"
        How numbers become inputs: see :func:`gpubp.data.fit_preprocessing`.
    categories : {"one-hot", "embedding", "target"}, default="one-hot"
        How columns of many categories become inputs: an input for each category, which the network may embed, or
        target statistics. See :func:`gpubp.prepare_table`.
    n_networks : int, default=1
        The number of networks that are trained at once; their outputs are averaged.
    n_restarts : int, default=1
        Instead of several `n_networks`: the number of networks from different initial weights, trained at once, of
        which the one with the least loss of the validation rows is kept; see :func:`gpubp.fit_table`.
    group, time : str, optional
        Hold out whole groups of rows, or the latest rows, by this column; see :func:`gpubp.prepare_table`.
    random_state : int, RandomState or None, default=0
        Seed of the held-out rows, the initial weights and the order of the rows.
    device : str, default="auto"
        See :func:`gpubp.backends.backend.choose_backend`.
    dtype : {"float32", "float64"}, default="float32"
    matmul_precision : {"float32", "tf32", "bfloat16", "float16"}, default="float32"
        See :func:`gpubp.train`.
    callbacks : callable, sequence of callables or None, default=None
        Each is called after each epoch of the first training; see :func:`gpubp.train`."""

_ATTRIBUTES = """
    model_ : Model
        The network with its preprocessing, which :func:`gpubp.predict_table` takes, and :meth:`save` writes.
    columns_ : tuple of ColumnSummary
        What each column was taken for, and why.
    n_features_in_ : int
        The number of columns of X, without targets.
    feature_names_in_ : array of str
        Their names, if X has any.
    scores_ : dict of str to dict
        The scores of the rows for training and validation, without weights, before the network was trained on all rows.
    history_ : History
        The figures of each epoch of the first training; not after :meth:`load`.
    best_epoch_, stop_reason_ : int and str
        The best epoch of this training, and why it ended; not after :meth:`load`.
    trials_ : tuple of TableTrial
        What ``preset="best"`` tried; not after :meth:`load`.
    n_untried_ : int
        How many candidates `time_budget` left untried; not after :meth:`load`."""


def parameter_problems(estimator: Any) -> list[str]:
    """Return a sentence for each thing that is wrong with the parameters of an estimator."""
    problems = problems_of(estimator, estimator._parameter_constraints)
    if not any("'hidden_layer_sizes'" in one for one in problems) and not all(map(is_count, estimator._sizes())):
        problems.append(
            "hidden_layer_sizes must be whole numbers > 0, one for each hidden layer, such as (100, 50), got "
            f"{estimator.hidden_layer_sizes!r}"
        )
    for find, value in ((get_activation, estimator.activation), (get_loss, estimator.loss)):
        try:
            if isinstance(value, str):
                find(value)
        except DataError as error:
            problems.append(str(error))
    if not problems:
        for check in (estimator._optimizer, lambda: check_restarts(estimator.n_restarts, estimator.n_networks)):
            try:
                check()
            except (ValueError, TypeError) as error:
                problems.append(str(error))
    preset, changed = estimator.preset, _changed_parameters(estimator)
    chosen = CHOSEN_BY.get(preset, ()) if isinstance(preset, str) else ()
    if given := [name for name in chosen if name in changed]:
        problems.append(
            f'{", ".join(given)} cannot be given beside preset="{preset}", which chooses them; leave one out'
        )
    if preset != "best" and "time_budget" in changed:
        problems.append(f'time_budget is for preset="best", not for preset={preset!r}; leave one out')
    return problems


def _changed_parameters(estimator: Any) -> list[str]:
    """Return the names of the parameters that are not left at their defaults."""
    parameters = inspect.signature(type(estimator)).parameters.values()
    return [one.name for one in parameters if not _equals_default(getattr(estimator, one.name), one.default)]


def _equals_default(value: Any, default: Any) -> bool:
    """Return whether a parameter is its default, or an equal number, text or tuple, as after a file or a copy."""
    if value is default:
        return True
    try:
        hash(value)
    except TypeError:  # a list or an array, or a tuple with one
        return False
    return isinstance(value, type(default)) and bool(value == default)


def documented(kind: Any) -> Any:
    """Insert the common parts of the docstrings."""
    if kind.__doc__ is not None:  # python -OO removes docstrings
        loss = {"classification": '"cross_entropy"', "regression": '"squared"'}[kind._task]
        parameters = _PARAMETERS.strip().replace("%(loss)s", loss)
        kind.__doc__ = kind.__doc__.replace("%(parameters)s", parameters).replace("%(attributes)s", _ATTRIBUTES.strip())
    return kind


def parameters_in(kind: Any, model: Model) -> tuple[dict[str, Any], str]:
    """Return the parameters that a model file has, and a description of its optimizer if it cannot hold that.

    The file may be forged, and others than valid parameters are left out.
    """
    about, network, preprocessing = model.about, model.network, preprocessing_of(model)
    training, saved = mapping(about.get("training")), mapping(mapping(about.get("estimator")).get("parameters"))
    optimizer = optimizer_in(mapping(about.get("optimizer")))
    lost = "" if "optimizer" in saved else optimizer.lost
    if "optimizer" not in saved:  # an object, which JSON cannot hold: its settings are apart
        saved = {name: value for name, value in saved.items() if name != "learning_rate"}
    sizes, activation = hidden_layers_of(network, preprocessing)
    found = {
        "hidden_layer_sizes": sizes,
        "loss": network.loss,
        "missing": preprocessing.missing,
        "numbers": preprocessing.number_encoding,
        "categories": preprocessing.category_encoding,
        **optimizer.parameters,
        "random_state": training.get("seed"),
        "class_weight": _class_weight(preprocessing.target, mapping(training.get("class_weight"))),
        "activation": training.get("activation", activation if len(network.sizes) > 2 else None),
        **{name: training.get(name) for name in TRAINING_FACTS},
        **saved,
    }
    if (preset := training.get("preset")) in ("best", *RECIPES):  # what it chose is no parameter
        found = {name: value for name, value in found.items() if name not in CHOSEN_BY[preset]}
        found |= {name: training.get(name) for name in ("preset", "time_budget")} | saved
        lost = ""
    constraints = kind._parameter_constraints
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    valid = {
        name: value
        for name, value in values.items()
        if name in constraints and not problem_of(kind, name, constraints[name], value)
    }
    return valid, lost


def _class_weight(target: Any, weights: dict[str, Any]) -> dict[Any, float] | None:
    """Return the weights that a model file has of the names of classes, by the classes themselves."""
    if not isinstance(target, ClassTarget):
        return None
    by_name = zip(target.classes, class_values(target).tolist(), strict=True)
    return {value: weights[name] for name, value in by_name if isinstance(weights.get(name), float)} or None


def plain_parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters that JSON can hold, and that belong to no machine."""
    plain = {}
    for name, value in estimator.get_params(deep=False).items():
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            continue
        try:
            plain[name] = json.loads(json.dumps(value, default=lambda one: one.tolist(), allow_nan=False))
        except (AttributeError, TypeError, ValueError):
            continue
    return {name: value for name, value in plain.items() if name not in ("device", "callbacks")}
