"""What a fit of a table results in: the model that is kept, with its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.data.metrics import Scores, score
from gpubp.data.preprocessing import ClassTarget, Preprocessing, decode_predictions, decode_target, to_json
from gpubp.data.streaming.prepared_stream import PreparedStream
from gpubp.engine.prediction import mean_outputs
from gpubp.io.model_file import Model
from gpubp.nn.network import Network
from gpubp.optim.first_order import Optimizer
from gpubp.optim.second_order import SecondOrder
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.training.result import Fit
from gpubp.training.state import median_loss

MAX_ERRORS = 1000
"""Held-out errors that a model remembers for intervals."""

MAX_EPOCHS = 100
"""Epochs whose losses a model remembers for reports."""


@dataclass(frozen=True, eq=False)
class TableFit:
    """A network, or several, trained on a table.

    Attributes
    ----------
    model : Model
        The argument of :func:`predict_table` and :func:`gpubp.save_model`.
    fit : Fit
        The result of :func:`gpubp.train`; ``history.validation_score`` is the accuracy or R squared of each epoch.
        Early stopping monitors the loss, not this score. Of the losses of several networks these are the medians.
        Beside a linear part, losses and scores are those of the whole output of what is trained, whatever its share.
    refit : Fit, optional
        The training on all rows that followed, whose weights are those of `model`; None if there was none.
    scores : dict of str to dict
        The scores of ``"train"``, ``"validation"`` and ``"test"``, if they have rows: accuracy, balanced accuracy,
        macro F1 and log loss for classification; R squared, mean absolute error and root mean squared error, in the
        target's units, for regression.
    rows : dict of str to int
        The number of rows in each part.
    baseline : dict of str to float
        The scores of the held-out rows if every prediction were the same: the shares of the classes, or the mean.
    trials : tuple of TableTrial
        What :func:`gpubp.tabular.search_table` tried.
    n_untried : int
        How many candidates its `time_budget` left untried.
    scored_model : Model, optional
        The model before the training on all rows: that of the scores.

    Examples
    --------
    >>> from gpubp.tabular import fit_table, prepare_table
    >>> result = fit_table(prepare_table("iris"), epochs=20)
    >>> result.rows
    {'train': 105, 'validation': 15, 'test': 30}
    >>> result.scores["test"]["accuracy"] > result.baseline["accuracy"]
    True
    """

    model: Model
    fit: Fit
    scores: dict[str, Scores]
    rows: dict[str, int]
    baseline: Scores
    refit: Fit | None = None
    trials: tuple[Any, ...] = ()
    n_untried: int = 0
    scored_model: Model | None = None


def scored_fit(
    prepared: PreparedTable | PreparedStream,
    fit: Fit,
    optimizer: Optimizer | SecondOrder,
    settings: dict[str, Any],
    out_of_fold: tuple[np.ndarray, np.ndarray] | None = None,
    inputs: Mapping[str, Array] | None = None,
) -> TableFit:
    """Score a network, or several, and put it together with what is known of its training.

    ``out_of_fold`` are the targets of the training rows and the outputs of networks that were not trained on them, each
    ``(n, j)``, and ``inputs`` those of parts that are on a device.
    """
    backend, precision = choose_backend(fit.device), settings["matmul_precision"]
    theta = to_backend(backend, fit.theta) if backend.is_cuda else fit.theta  # copied once, for all parts

    def predicted(X: Array) -> np.ndarray:
        return to_numpy(mean_outputs(fit.network, theta, X, matmul_precision=precision, device=fit.device))

    n_rows, preprocessing, constant = prepared.rows, prepared.preprocessing, prepared.constant_outputs()
    scores, held_out = prepared.scored(predicted, inputs)
    held_out = out_of_fold if held_out is None else held_out
    if out_of_fold is not None:
        scores["validation"] = score(preprocessing, *out_of_fold)
        n_rows = {**n_rows, "validation": len(out_of_fold[0])}
    baseline: Scores = {}
    if held_out is not None:
        baseline = score(preprocessing, held_out[0], np.broadcast_to(constant, held_out[0].shape))
    class_weight = dict(prepared.class_weight) if isinstance(prepared, PreparedTable) else {}
    about: dict[str, Any] = {
        "task": prepared.task,
        "source": Path(prepared.source).name,
        "rows": n_rows,
        "fingerprint": prepared.fingerprint,
        "scores": scores,
        "baseline": baseline,
        "constant_outputs": constant.tolist(),
        "held_out_errors": {} if held_out is None else _held_out_errors(preprocessing, *held_out),
        "optimizer": {
            "name": optimizer.name,
            **{name: _json_setting(value) for name, value in optimizer.settings.items()},
        },
        "training": {
            **{name: _plain(value) for name, value in settings.items()},
            **({"label_smoothing": prepared.label_smoothing} if prepared.label_smoothing else {}),
            **({"class_weight": class_weight} if class_weight else {}),
            "epochs": len(fit.history.loss),
            "best_epoch": fit.best_epoch,
            "stop_reason": fit.stop_reason,
            "device": fit.device,
        },
        "history": _history(fit),
    }
    model = Model(fit.network, fit.theta, to_json(preprocessing), about)
    return TableFit(model, fit, scores, n_rows, baseline, scored_model=model)


def refit_facts(rows: int, epochs: int, before: Network, after: Network) -> dict[str, int]:
    """Return what a model file says of the training on all rows, whose categories and bins may make other inputs."""
    inputs = {} if before.sizes[0] == after.sizes[0] else {"inputs_before": before.sizes[0]}
    return {"rows": rows, "epochs": epochs, **inputs}


def _history(fit: Fit) -> dict[str, list[Any]]:
    """Return the figures of at most `MAX_EPOCHS` epochs, evenly chosen, and of the best one, for a report."""
    history, n = fit.history, len(fit.history.loss)
    chosen = np.linspace(1, n, min(n, MAX_EPOCHS)).round().astype(int).tolist()
    epochs = sorted({*chosen, *([fit.best_epoch] if 0 < fit.best_epoch <= n else [])})
    figures: dict[str, list[Any]] = {"epochs": epochs}
    for name in ("loss", "validation_loss", "validation_score"):
        values = getattr(history, name)
        figures[name] = [_short(values[epoch - 1]) for epoch in epochs if epoch <= len(values)]
    return figures


def _short(figure: Any) -> float | None:
    """Return a figure, of several networks the median, with five digits; None if it is not finite."""
    value = median_loss(figure)
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _held_out_errors(preprocessing: Preprocessing, targets: np.ndarray, outputs: np.ndarray) -> dict[str, list[float]]:
    """Return the sorted absolute errors of each numeric target on held-out rows, at most `MAX_ERRORS` quantiles."""
    if isinstance(preprocessing.target, ClassTarget) or not np.isfinite(outputs).all():
        return {}
    true, guessed = decode_target(preprocessing, targets), decode_predictions(preprocessing, outputs)
    errors = {}
    for name in true:
        ordered = np.sort(np.abs(true[name] - guessed[name]))
        places = np.linspace(0, len(ordered) - 1, min(len(ordered), MAX_ERRORS)).round().astype(np.intp)
        errors[name] = ordered[places].tolist()
    return errors


def _json_setting(setting: Any) -> Any:
    """Convert an optimizer's setting to JSON: a number, the repr of a schedule, or what an array holds."""
    if getattr(setting, "shape", ()):
        numbers = to_numpy(setting)
        return f"{numbers.size} numbers from {numbers.min():g} to {numbers.max():g}"
    plain = _plain(setting)
    return plain if isinstance(plain, int | float) else repr(plain)


def _plain(value: Any) -> Any:
    """Return a number of NumPy as Python's, which JSON can hold; other values as they are."""
    return value.item() if isinstance(value, np.generic) else value
