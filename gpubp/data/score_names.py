"""Names of scores on the screen and in reports."""

from gpubp._core.text import number

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}
"""Names of scores, by key."""


def metric_name(key: str) -> str:
    """Return the name of a score: ``"mae weight"`` is the mean absolute error of the target "weight"."""
    metric, target = split_metric(key)
    return METRICS.get(metric, metric) + (f", {target}" if target else "")


def score_text(key: str, value: float) -> str:
    """Return a score with about five digits; R² near 0, that of a constant, with as many as other values of it.

    Examples
    --------
    >>> score_text("r2", -0.00021234), score_text("r2", -1e-17), score_text("log_loss", 0.00021234)
    ('-0.0002', '0.0000', '0.0002123')
    """
    if split_metric(key)[0] == "r2" and abs(value) < 1e-3:
        return f"{round(value, 4) + 0.0:.4f}"  # without a sign before 0
    return number(value)


def split_metric(key: str) -> tuple[str, str]:
    """Split the key of a score into the metric and the target, which is empty if there is only one."""
    metric, _, target = key.partition(" ")
    return metric, target
