"""Train a network on a prepared table: first on its training rows, then on all."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Literal, TypeVar

import numpy as np

from gpubp._core.names import unknown
from gpubp.backends.backend import to_numpy
from gpubp.data.metrics import r_squared
from gpubp.data.preprocessing import ClassTarget, Preprocessing, to_json
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.argument_checks import check_is_called, check_optimizer
from gpubp.engine.plain.minibatches import DEFAULT_BATCH_SIZE
from gpubp.errors import CheckpointError, DataError
from gpubp.io.model_file import Model
from gpubp.nn.initialization import initial_weights
from gpubp.nn.losses import get_loss
from gpubp.nn.network import Network
from gpubp.optim.first_order import OPTIMIZERS, Optimizer, adam, get_optimizer
from gpubp.optim.second_order import METHODS, SecondOrder
from gpubp.tabular.device_inputs import device_inputs
from gpubp.tabular.linear_part import LinearPart, Scoring, linear_part_for, share_of, takes_linear_part
from gpubp.tabular.networks import first_weights, hidden_layers_of, network_for
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.tabular.recipes import (
    TableRecipe,
    check_recipe,
    recipe_dropout,
    recipe_network,
    recipe_optimizer,
    recipe_weights,
)
from gpubp.tabular.result import TableFit, refit_facts, scored_fit
from gpubp.tabular.several_networks import best_restart, best_score, check_restarts, seeds_of, without_diverged
from gpubp.training.callbacks import Callback
from gpubp.training.checkpoints import Checkpoints
from gpubp.training.fit import train

Prepared = TypeVar("Prepared", bound=PreparedTable | PreparedStream)

SMALL_BATCH = 32
BATCHES_IN_EPOCH = 50


@np.errstate(all="ignore")
def fit_table(
    prepared: PreparedTable | PreparedStream,
    *,
    hidden_layer_sizes: int | Sequence[int] = (100,),
    activation: str = "relu",
    loss: str | None = None,
    optimizer: Optimizer | SecondOrder | Callable[[Network], Optimizer | SecondOrder] | None = None,
    epochs: int = 200,
    batch_size: int | Literal["auto", "full"] = "auto",
    l2: float = 0.1,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    patience: int | None = 10,
    tolerance: float = 1e-6,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    matmul_precision: str = "float32",
    callbacks: Iterable[Callback] = (),
    checkpoint: str | PathLike[str] | Checkpoints | None = None,
    resume: bool = False,
    parallel: str | ProcessGroup | None = None,
    refit: bool = True,
    refit_callbacks: Iterable[Callback] = (),
    n_networks: int = 1,
    n_restarts: int = 1,
    recipe: TableRecipe | None = None,
    has_linear_part: bool = True,
) -> TableFit:
    """Train a network to predict the target of a prepared table from its features, and score it.

    With ``n_networks`` several are trained at once, each from its own weights, and their outputs are averaged (Hansen &
    Salamon 1990). After the networks have been scored on the rows that were held out, others are trained on all rows,
    for as many epochs as the best of the first; their weights are those of the model.

    Parameters
    ----------
    prepared : PreparedTable or PreparedStream
        From :func:`prepare_table`, or from :func:`gpubp.prepare_stream` for a table larger than memory.
    hidden_layer_sizes : int or sequence of int
        Number of units in each hidden layer.
    activation : str
        Activation of the hidden layers.
    loss : str, optional
        The default is ``"cross_entropy"`` for classification and ``"squared"`` for regression.
    optimizer : Optimizer or SecondOrder, or a function of the network that returns one, optional
        The default is Adam. A function is called for each network that is trained, whose parameters it may count, as
        for :func:`gpubp.rate_scaled`.
    epochs : int
        The maximum number of epochs.
    batch_size : int, "auto" or "full"
        "auto" makes about 50 batches an epoch, of 32 to 200 rows.
    label_smoothing : float
        For classification: the part of each label of the training rows that is spread evenly over all classes
        (Szegedy et al. 2016). Other rows, and so the validation loss and all scores, keep their labels.
    dropout : float
        The fraction of the outputs of each hidden layer that is left out, others for each row (Srivastava et al. 2014).
    seed : int
        Seed of the initial weights and of the order of the rows.
    patience : int, optional
        Stop when the validation loss, or without validation rows the training loss, has not improved for this many
        epochs.
    callbacks : iterable of callables
        See :func:`gpubp.train`; ``validation_score`` is the accuracy or R squared of the validation rows. With several
        networks the losses are arrays; the score is that of their mean outputs, or with `n_restarts` the best of all.
    checkpoint, resume
        See :func:`gpubp.train`; the training rows must be those of the checkpoint.
    l2, tolerance, device, dtype, matmul_precision, parallel
        See :func:`gpubp.train`.
    refit : bool
        Whether to train on all rows in the end. It is left out if training was interrupted or diverged, and with a
        recipe that has a `validation_fraction`.
    refit_callbacks : iterable of callables
        Callbacks of this second training.
    n_networks : int
        The number of networks. Those that diverge are left out.
    n_restarts : int
        Instead of several `n_networks`: the number of networks from different initial weights, trained at once, of
        which the best is kept. It has the least loss of the validation rows in any epoch, or, without such rows, the
        least loss of the training rows in the last; `patience` and the epoch that is kept go by the least loss of all.
        The training on all rows that follows begins with its initial weights.
    recipe : TableRecipe, optional
        The network and its training as one, such as ``gpubp.tabular.REALMLP["classification"]``. The table must be
        prepared with its encoding of numbers. Of the options above only `loss`, `seed`, `device`, `dtype`,
        `matmul_precision`, `parallel`, `n_networks`, `n_restarts`, `refit`, the callbacks and the checkpoints then
        count.
    has_linear_part : bool
        With the squared loss and hidden layers, solve a ridge regression first, and train the network on its residuals
        of rows that it was not fitted to. The model is the sum of both, a network with connections from the inputs to
        the outputs; the part that is trained is multiplied by the share that it surely predicts of validation rows,
        from 0 to 1: the slope of a regression of their residuals on its outputs, less a standard error. `callbacks` see
        the training of this part, and `l2` is its penalty; that of the ridge regression is chosen.

    Returns
    -------
    TableFit

    Raises
    ------
    DataError
        If an option is not valid, the recipe is not for the table, or the loss is not defined for the values of the
        target.
    CheckpointError
        See :func:`gpubp.train`; its ``fit`` is a TableFit.
    DeviceError
        If the device cannot be used.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, predict_table, prepare_table
    >>> result = fit_table(prepare_table("iris"), epochs=20, device="cpu")
    >>> list(predict_table(result.model, "iris", device="cpu"))
    ['target', 'target=setosa', 'target=versicolor', 'target=virginica']
    """
    check_precision(prepared, dtype)
    if recipe is None:
        network = network_for(prepared, hidden_layer_sizes=hidden_layer_sizes, activation=activation, loss=loss)
    else:
        check_recipe(recipe, prepared)
        network = recipe_network(recipe, prepared, loss)
        optimizer, l2, batch_size = partial(recipe_optimizer, recipe), 0.0, recipe.batch_size
        epochs, label_smoothing = recipe.epochs, recipe.label_smoothing
        patience = recipe.patience or recipe.epochs
    prepared = with_label_smoothing(scaled_for(network.loss, prepared), label_smoothing)
    X, targets, sample_weight = prepared.training()
    of_network = _optimizer_for(optimizer, network)
    check_restarts(n_restarts, n_networks)
    seeds = seeds_of(seed, n_restarts if n_restarts > 1 else n_networks, of_network)
    if batch_size == "auto" and isinstance(of_network, Optimizer):
        batch_size = auto_batch_size(prepared.rows["train"])
    options: dict[str, Any] = {
        "optimizer": of_network,
        "batch_size": batch_size,
        "seed": seeds,
        "l2": l2,
        "device": device,
        "dtype": dtype,
        "matmul_precision": matmul_precision,
        "parallel": parallel,
        "dropout": _dropout_of(network, prepared, dropout) if recipe is None else recipe_dropout(recipe, network),
        "drop_last": recipe is not None and recipe.drop_last and isinstance(prepared, PreparedTable),
    }
    inputs = device_inputs(prepared, network, options, checkpoint)
    validation_data: Any = prepared.validation()
    held_out, part = validation_data, None
    scoring: Scoring = partial(_validation_score, prepared.preprocessing)
    scoring = best_score(scoring) if n_restarts > 1 else scoring
    if recipe is None and has_linear_part and isinstance(prepared, PreparedTable) and takes_linear_part(network):
        part = linear_part_for(prepared, dtype)
        targets = part.targets
        if validation_data is not None:
            scoring, held_out = part.scoring(scoring, validation_data), part.residuals_of(validation_data)
    if "validation" in inputs:
        held_out = held_out._replace(X=inputs["validation"])
    checkpoint_error = None
    try:
        fit = train(
            network,
            inputs.get("train", X),
            targets,
            theta=_weights_of(recipe, network, prepared, seeds, dtype),
            sample_weight=sample_weight,
            epochs=epochs,
            validation_data=held_out,
            scoring=scoring if held_out else None,
            monitor="loss" if n_restarts == 1 else "least_loss",
            patience=patience,
            tolerance=tolerance,
            callbacks=callbacks,
            checkpoint=checkpoint,
            resume=resume,
            **options,
        )
    except CheckpointError as error:
        if error.fit is None:
            raise
        fit, checkpoint_error = error.fit, error
    fit = replace(fit, theta=to_numpy(fit.theta))
    restarts, weights_seed = dict[str, Any](), seeds
    if isinstance(seeds, list) and n_restarts > 1:
        fit, restarts = best_restart(fit, 1.0 if part is None else part.scale**2)
        options["seed"], weights_seed = seed, seeds[restarts["best_restart"]]
    fit = without_diverged(fit)
    if part is not None:
        part = part if held_out is None else part._replace(share=share_of(fit, held_out))
        fit = part.joined(fit)
    del (
        X,
        targets,
        sample_weight,
        validation_data,
        held_out,
    )  # copies of rows: scores and the second training make others
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "l2": l2,
        "seed": seed,
        "n_networks": n_networks,
        "dtype": dtype,
        "matmul_precision": matmul_precision,
        **restarts,
    }
    if recipe is not None:
        settings["preset"] = recipe.name
    elif dropout:
        settings["dropout"] = dropout
    if part is not None:
        settings["linear_part"] = part.as_json()
    result = scored_fit(prepared, fit, of_network, settings, inputs=inputs)
    inputs.clear()
    if checkpoint_error is not None:
        checkpoint_error.fit = result
        raise checkpoint_error
    is_complete = fit.stop_reason not in ("interrupted", "diverged") and fit.best_epoch > 0
    refit = refit and (recipe is None or recipe.validation_fraction is None)
    if refit and is_complete and prepared.holds_out_rows:
        options |= {"epochs": fit.best_epoch, "callbacks": refit_callbacks, "optimizer": optimizer}
        result = _refitted(prepared, result, options, recipe, part, weights_seed)
    return result


def with_label_smoothing(prepared: Prepared, label_smoothing: Any) -> Prepared:
    """Return a prepared table whose training rows have smoothed labels; 0 changes nothing."""
    if not (isinstance(label_smoothing, int | float | np.floating) and 0.0 <= label_smoothing < 1.0):
        raise DataError(f"label_smoothing (--label-smoothing) must be from 0 to below 1, got {label_smoothing!r}")
    if not label_smoothing:
        return prepared
    if prepared.task != "classification":
        raise DataError("label_smoothing (--label-smoothing) is for classes, and the target holds numbers; omit it")
    return replace(prepared, label_smoothing=float(label_smoothing))


def check_dropout(dropout: Any) -> None:
    """Raise an error if this is no fraction of outputs."""
    if not (isinstance(dropout, int | float | np.floating) and 0.0 <= dropout < 1.0):
        raise DataError(f"dropout (--dropout) must be from 0 to below 1, got {dropout!r}")


def _dropout_of(network: Network, prepared: PreparedTable | PreparedStream, dropout: Any) -> float | tuple[float, ...]:
    """Return the dropout of each layer below the outputs: none of those that embed categories."""
    check_dropout(dropout)
    n_hidden = len(hidden_layers_of(network, prepared.preprocessing)[0])
    if not dropout:
        return 0.0
    if not n_hidden:
        raise DataError("dropout (--dropout) is for hidden layers, and the network has none; omit it")
    return (*(0.0,) * (len(network.sizes) - 2 - n_hidden), *(float(dropout),) * n_hidden)


def check_precision(prepared: PreparedTable | PreparedStream, dtype: str) -> None:
    """Raise an error if this is no prepared table, or in a lower precision than that of the training."""
    if not isinstance(prepared, PreparedTable | PreparedStream):
        raise DataError(
            f"a prepared table is trained on, got {type(prepared).__name__}; prepare_table(table, target=...) makes one"
        )
    if isinstance(prepared, PreparedTable) and dtype == "float64" and prepared.X.dtype == np.float32:
        raise DataError("the table was prepared in float32: pass dtype='float64' to prepare_table as well")


def auto_batch_size(n_rows: int) -> int:
    """Return a size that makes about 50 batches an epoch, from 32 to 200."""
    return min(DEFAULT_BATCH_SIZE, max(SMALL_BATCH, n_rows // BATCHES_IN_EPOCH))


def _refitted(
    prepared: PreparedTable | PreparedStream,
    result: TableFit,
    options: dict[str, Any],
    recipe: TableRecipe | None,
    part: LinearPart | None,
    weights_seed: int | list[int],
) -> TableFit:
    """Train on all rows; if that is interrupted or diverges, the first model stays."""
    everything = prepared.on_all_rows()
    first = result.model.network
    if recipe is None:
        sizes, activation = hidden_layers_of(first, prepared.preprocessing)
        network = network_for(everything, hidden_layer_sizes=sizes, activation=activation, loss=first.loss)
    else:
        network = recipe_network(recipe, everything, first.loss)
    options["theta"] = _weights_of(recipe, network, everything, weights_seed, options["dtype"])
    if options["theta"] is None and weights_seed != options["seed"]:
        options["theta"] = initial_weights(network, weights_seed, dtype=options["dtype"])
    everything = scaled_for(network.loss, everything)
    X, targets, sample_weight = everything.training()
    options = {**options, "optimizer": _optimizer_for(options["optimizer"], network)}
    if part is not None:
        assert isinstance(everything, PreparedTable)
        part = linear_part_for(everything, options["dtype"], part)
        targets = part.targets
        options |= {} if part.share else {"epochs": 1}  # what is trained counts as nothing
    inputs = device_inputs(everything, network, options)
    fit = train(network, inputs.get("train", X), targets, sample_weight=sample_weight, **options)
    fit = replace(fit, theta=to_numpy(fit.theta))
    fit = without_diverged(fit if part is None else part.joined(fit))
    if fit.stop_reason in ("interrupted", "diverged"):
        return result
    about = {
        **result.model.about,
        "fingerprint": everything.fingerprint,
        "refit": refit_facts(everything.rows["train"], len(fit.history.loss), first, fit.network),
    }
    model = Model(fit.network, fit.theta, to_json(everything.preprocessing), about)
    return replace(result, model=model, refit=fit)


def _weights_of(
    recipe: TableRecipe | None,
    network: Network,
    prepared: PreparedTable | PreparedStream,
    seeds: int | list[int],
    dtype: str,
) -> np.ndarray | None:
    if recipe is None:
        return first_weights(network, prepared.preprocessing, seeds, dtype)
    return recipe_weights(recipe, network, prepared, seeds, dtype)


def _optimizer_for(optimizer: Any, network: Network) -> Optimizer | SecondOrder:
    """Return the optimizer that is given, that a given function makes for the network, or Adam."""
    check_is_called(optimizer)
    made: Optimizer | SecondOrder = (
        adam() if optimizer is None else optimizer(network) if callable(optimizer) else optimizer
    )
    check_optimizer(made, "or a function of a network that returns one")
    return made


def make_optimizer(name: str, learning_rate: float | None = None) -> Optimizer | SecondOrder:
    """Create an optimizer by name; second-order optimizers take no learning rate.

    Examples
    --------
    >>> make_optimizer("adam", 0.01).settings["learning_rate"]
    0.01
    """
    if name in METHODS:
        if learning_rate is not None:
            raise DataError(f"{name} chooses its own step lengths; omit learning_rate (--learning-rate)")
        return METHODS[name]()
    if name not in OPTIMIZERS:
        raise DataError(unknown("optimizer", name, [*OPTIMIZERS, *METHODS]))
    if learning_rate is None:
        return get_optimizer(name)
    if not learning_rate > 0:
        raise DataError(f"learning_rate (--learning-rate) must be above 0, got {learning_rate}")
    return get_optimizer(name, learning_rate=learning_rate)


def _validation_score(preprocessing: Preprocessing, targets: np.ndarray, outputs: np.ndarray) -> float:
    """Return the accuracy or R squared, which does not depend on the target's scale, and is NaN for a single row."""
    outputs = outputs.mean(axis=0) if outputs.ndim == 3 else outputs
    target = preprocessing.target
    if isinstance(target, ClassTarget):
        return float((targets.argmax(axis=1) == outputs.argmax(axis=1)).mean())
    is_defined = len(targets) > 1 and np.isfinite(outputs).all()
    ends = (np.subtract(ends, target.means) / np.asarray(target.scales) for ends in (target.lows, target.highs))
    return r_squared(np.asarray(targets, np.float64), np.clip(outputs, *ends)) if is_defined else math.nan


def scaled_for(loss: str, prepared: PreparedTable | PreparedStream) -> PreparedTable | PreparedStream:
    """Choose a scale on which the loss is defined: for Poisson 0 stays 0, for losses of probabilities 1 stays 1 too."""
    preprocessing, target = prepared.preprocessing, prepared.preprocessing.target
    low, high = get_loss(loss).target_range
    if low == -math.inf or isinstance(target, ClassTarget):
        return prepared
    for name, (least, most) in prepared.ranges.items():
        if least < low or most > high:
            raise DataError(
                f"the loss {loss!r} needs a target from {low:g} to {high:g}, got {least:g} to {most:g} in {name!r}; "
                "use the loss 'squared'"
            )
    scales = target.scales if high == math.inf else (1.0,) * len(target.names)
    target = replace(target, means=(0.0,) * len(target.names), scales=scales)
    return prepared.with_preprocessing(replace(preprocessing, target=target))
