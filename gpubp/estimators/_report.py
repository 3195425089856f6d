"""A summary of a fitted model in a few lines."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

REASONS = {
    "epochs": "max_iter was reached",
    "converged": "the solver converged",
    "time": "max_time was reached",
    "callback": "a callback requested it",
    "interrupted": "it was interrupted",
    "diverged": "training diverged: weights became infinite or NaN",
}
OVERFITTING_FACTOR = 1.1  # a validation loss that has risen by this factor since its best indicates overfitting


def report(model: Any) -> str:
    """Describe a fitted model: the network, the fit, losses and scores, and advice if there is any."""
    check_is_fitted(model)
    sizes = "-".join(str(n) for n in [model.n_features_in_, *(w.shape[1] for w in model.coefs_)])
    activation = model.activation if isinstance(model.activation, str) else ", ".join(model.activation)
    n_parameters = sum(w.size + b.size for w, b in zip(model.coefs_, model.intercepts_, strict=True))
    epochs = "iterations" if model.solver == "lbfgs" else "epochs"
    lines = [
        f"{type(model).__name__}: {sizes}, {n_parameters:,} parameters",
        f"  activation  {activation}; {model.out_activation_} at the output",
        f"  solver      {_solver(model)}; {model.coefs_[0].dtype}, device={model.device!r}",
        f"  fit         {model.n_iter_} {epochs} in {model.fit_seconds_:.3g} s; it ended because {_reason(model)}",
        f"  loss        {_curve(model.loss_curve_, np.nanmin)}",
    ]
    if model.validation_curve_:
        lines.append(f"  validation  loss {_curve(model.validation_curve_, np.nanmin)}")
        lines.append(f"              score {_curve(model.validation_scores_, np.nanmax)}")
    if advice := _advice(model):
        lines.append(f"  advice      {advice}")
    return "\n".join(lines)


def _reason(model: Any) -> str:
    if model.stop_reason_ != "patience":
        return REASONS[model.stop_reason_]
    return f"the {'validation score' if model.early_stopping else 'loss'} stopped improving"


def _solver(model: Any) -> str:
    if model.solver == "lbfgs":
        return f"lbfgs, alpha={model.alpha:g}"
    schedule = model.learning_rate if isinstance(model.learning_rate, str) else "own schedule"
    return f"{model.solver}, learning_rate_init={model.learning_rate_init:g} ({schedule}), alpha={model.alpha:g}"


def _curve(values: list[float], best: Any) -> str:
    if not values or np.all(np.isnan(values)):
        return "none"
    return f"first {values[0]:.4g}, last {values[-1]:.4g}, best {best(values):.4g}"


def _advice(model: Any) -> str:
    if model.stop_reason_ == "diverged":
        return "scale the inputs (StandardScaler) or make learning_rate_init smaller"
    curve, scores = model.validation_curve_, model.validation_scores_
    if scores and np.all(np.isnan(scores)) and model.early_stopping and model.solver != "lbfgs":
        return "no validation score was a number: check the validation samples and scoring, or use scoring='loss'"
    if curve and not model.early_stopping and curve[-1] > OVERFITTING_FACTOR * np.nanmin(curve):
        return "the validation loss rose again: early_stopping=True keeps the best weights; alpha or dropout help"
    if model.stop_reason_ in ("epochs", "time"):
        scaling = getattr(model, "_scaling", "")  # not in models of earlier versions
        longer = f"raise {'max_iter' if model.stop_reason_ == 'epochs' else 'max_time'}"
        return f"training had not converged: {f'{scaling}, and ' if scaling else ''}{longer}"
    return ""
