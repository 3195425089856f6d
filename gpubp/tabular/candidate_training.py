"""Train a candidate of a search: its networks on folds, or on other rows, and their outputs of rows left out."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gpubp.engine.prediction import mean_outputs
from gpubp.nn.network import Network
from gpubp.optim.first_order import adam
from gpubp.tabular.candidates import Candidate, l2_of, recipe_of
from gpubp.tabular.fit import auto_batch_size, scaled_for
from gpubp.tabular.folds import folds_of, has_folds, rows_of_folds
from gpubp.tabular.linear_part import LinearPart, linear_part, takes_linear_part
from gpubp.tabular.linear_solution import PENALTIES, is_solved, solved_fit, weighted
from gpubp.tabular.networks import first_weights, network_for
from gpubp.tabular.prepared_table import EncodedRows, PreparedTable
from gpubp.tabular.recipes import TableRecipe, recipe_dropout, recipe_network, recipe_optimizer, recipe_weights
from gpubp.tabular.several_networks import without_diverged
from gpubp.training.callbacks import Callback, Progress
from gpubp.training.fit import train
from gpubp.training.result import Fit

MARGIN_BEHIND = 0.02
"""The part of the best loss that a candidate must be behind to end early."""

STEPS_SEEN, EPOCHS_SEEN, TIMES_AHEAD = 100, 5, 4
"""It ends once it would still be behind after four times as many epochs as those of its last 100 steps, at least five,
if each gained as much as these did on average."""


class SearchSettings(NamedTuple):
    """What all trainings of a search have in common; see :func:`fit_table`."""

    activation: str
    loss: str | None
    epochs: int
    patience: int | None
    tolerance: float
    device: str
    dtype: str
    matmul_precision: str
    is_over: Callable[[], bool]
    """Whether the time for a solution is used."""


class CandidateNetworks(NamedTuple):
    """The networks of a candidate, their loss, and the targets and outputs of rows that they were not trained on."""

    candidate: Candidate
    prepared: PreparedTable
    seeds: list[int]
    fit: Fit
    loss: float
    out_of_fold: tuple[np.ndarray, np.ndarray] | None
    part: LinearPart | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the training ended by itself, and well."""
        return self.fit.stop_reason in ("epochs", "patience", "converged") and not np.any(self.fit.diverged)


class EndingBehind:
    """A callback that also ends the training of a candidate that falls too far behind a loss, and then `is_behind`."""

    def __init__(self, ending: Callback, least: float, n_rows: int) -> None:
        self.ending, self.least, self.is_behind = ending, least, False
        self.n_seen = max(EPOCHS_SEEN, math.ceil(STEPS_SEEN * auto_batch_size(n_rows) / n_rows))
        self.losses: list[float] = []  # the least of each epoch and those before

    def __call__(self, progress: Progress) -> bool:
        """Return whether the training ends."""
        assert progress.validation_loss is not None
        self.losses.append(min([float(np.mean(progress.validation_loss)), *self.losses[-1:]]))
        if len(self.losses) > self.n_seen:
            gain = self.losses[-1 - self.n_seen] - self.losses[-1]
            expected = self.losses[-1] - TIMES_AHEAD * gain
            self.is_behind = expected > self.least + MARGIN_BEHIND * abs(self.least)
        return bool(self.ending(progress)) or self.is_behind


def train_candidate(
    prepared: PreparedTable,
    candidate: Candidate,
    settings: SearchSettings,
    seeds: list[int],
    ending: Callback,
    *,
    in_folds: bool | None = None,
    like: LinearPart | None = None,
) -> CandidateNetworks:
    """Train a network of a candidate for each seed, by default on folds where the rows of a table can be divided so.

    `ending` is called after each epoch, and `like` is a linear part whose penalty and inputs are used again.
    """
    recipe = recipe_of(candidate, prepared.task)
    if recipe is None:
        network = network_for(
            prepared,
            hidden_layer_sizes=candidate.hidden_layer_sizes,
            activation=settings.activation,
            loss=settings.loss,
        )
        theta = first_weights(network, prepared.preprocessing, seeds, settings.dtype)
        optimizer = adam(candidate.learning_rate)
    else:
        network = recipe_network(recipe, prepared, settings.loss)
        theta = recipe_weights(recipe, network, prepared, seeds, settings.dtype)
        optimizer = recipe_optimizer(recipe, network)
        settings = settings._replace(epochs=min(settings.epochs, recipe.epochs), patience=recipe.epochs)
    scaled = scaled_for(network.loss, prepared)
    assert isinstance(scaled, PreparedTable)
    prepared = scaled
    X, targets, weights = prepared.training()
    labels = prepared.targets[prepared.parts["train"]]  # not smoothed
    validation_data: tuple[Any, ...] | None = prepared.validation()
    folds = None
    if has_folds(prepared) if in_folds is None else in_folds:
        folds = folds_of(labels, seeds[0], is_classes=prepared.task == "classification")
    if recipe is None and is_solved(network):
        return _solved(network, prepared, candidate, settings, seeds, folds)
    part = None
    if candidate.has_linear_part and takes_linear_part(network):
        part = _linear_part(prepared, settings.dtype, folds, len(seeds), like)
        targets, ending = part.targets, part.reporting(ending)
        if folds is not None:
            labels = targets
        elif validation_data is not None:
            validation_data = part.residuals_of(EncodedRows(*validation_data))
    if folds is not None:
        n_folds = int(folds.max()) + 1
        of_network = np.arange(len(seeds)) % n_folds
        given = np.ones(len(X)) if weights is None else weights
        weights = given * (folds != of_network[:, None])  # (K, n)
        rows, is_row = rows_of_folds(folds, n_folds)
        rows, is_row = rows[of_network], is_row[of_network]
        validation_data = X[rows], labels[rows], given[rows] * is_row
    fit = train(
        network,
        X,
        targets,
        theta=theta,
        sample_weight=weights,
        validation_data=validation_data,
        epochs=settings.epochs,
        patience=settings.patience if validation_data else None,
        tolerance=settings.tolerance,
        batch_size=batch_size_of(recipe, len(X)),
        drop_last=recipe is not None and recipe.drop_last,
        dropout=None if recipe is None else recipe_dropout(recipe, network),
        l2=l2_of(candidate),
        optimizer=optimizer,
        seed=seeds,
        callbacks=[ending],
        device=settings.device,
        dtype=settings.dtype,
        matmul_precision=settings.matmul_precision,
    )
    fit = fit if part is None else part.joined(fit)
    loss_of_best = math.inf
    if validation_data and fit.best_epoch and not np.any(fit.diverged):
        loss_of_best = float(np.mean(fit.history.validation_loss[fit.best_epoch - 1]))
    return _networks(candidate, prepared, seeds, fit, loss_of_best, folds, settings, part)


def _linear_part(
    prepared: PreparedTable, dtype: str, folds: np.ndarray | None, n_networks: int, like: LinearPart | None
) -> LinearPart:
    """Return linear parts, each without the fold of its network; without folds, that of all training rows."""
    rows = weighted(prepared.training(), dtype)
    left_out = [-1]
    if folds is None:
        folds = folds_of(rows.targets, 0, is_classes=False)
    else:
        left_out = [k % (int(folds.max()) + 1) for k in range(n_networks)]
    return linear_part(rows, prepared.preprocessing, folds, left_out, like)


def _solved(
    network: Network,
    prepared: PreparedTable,
    candidate: Candidate,
    settings: SearchSettings,
    seeds: list[int],
    folds: np.ndarray | None,
) -> CandidateNetworks:
    """Solve linear networks; without folds all would be the same, and one is."""
    training, given = prepared.training(), prepared.validation()
    rows = weighted(training, settings.dtype)
    if folds is None:
        seeds = seeds[:1]
        held_out = [rows if given is None else weighted(given, settings.dtype)]
    else:
        seeds = seeds[: int(folds.max()) + 1]
        labelled = rows._replace(targets=prepared.targets[prepared.parts["train"]])  # not smoothed
        held_out = [labelled.select(folds == fold) for fold in range(len(seeds))]
    penalties = PENALTIES if candidate.l2 is None else (candidate.l2,)
    options: dict[str, Any] = {"device": settings.device, "dtype": settings.dtype, "is_over": settings.is_over}
    fit, l2 = solved_fit(network, rows, folds, held_out, penalties, **options)
    losses = fit.history.validation_loss
    loss = float(np.mean(losses[0])) if losses and np.isfinite(losses[0]).all() else math.inf
    return _networks(replace(candidate, l2=l2, learning_rate=0.0), prepared, seeds, fit, loss, folds, settings)


def _networks(
    candidate: Candidate,
    prepared: PreparedTable,
    seeds: list[int],
    fit: Fit,
    loss: float,
    folds: np.ndarray | None,
    settings: SearchSettings,
    part: LinearPart | None = None,
) -> CandidateNetworks:
    """Return trained networks with their outputs out of fold."""
    outputs = None
    if folds is not None and np.isfinite(fit.theta).all():
        rows = prepared.parts["train"][folds < len(seeds)]
        X, labels, precision = prepared.X[rows], prepared.targets[rows], settings.matmul_precision
        outputs = labels, _out_of_fold(fit, X, folds[folds < len(seeds)], precision)
    return CandidateNetworks(candidate, prepared, seeds, without_diverged(fit), loss, outputs, part)


def batch_size_of(recipe: TableRecipe | None, n_rows: int) -> int:
    """Return the batch size of a recipe, or without one that of so many rows."""
    return auto_batch_size(n_rows) if recipe is None else recipe.batch_size


def _out_of_fold(fit: Fit, X: np.ndarray, folds: np.ndarray, matmul_precision: str) -> np.ndarray:
    """Return the mean outputs ``(n, j)`` of the networks that were trained without the fold of a row."""
    outputs = np.zeros((len(X), fit.network.sizes[-1]))
    n_folds = int(folds.max()) + 1
    for fold in range(n_folds):
        theta, rows = fit.theta[fold::n_folds], folds == fold
        outputs[rows] = mean_outputs(fit.network, theta, X[rows], device=fit.device, matmul_precision=matmul_precision)
    return outputs
