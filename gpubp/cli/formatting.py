"""Numbers, lists and names of scores as text."""

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
"""Names of scores on the screen, by key."""


def metric_name(key: str) -> str:
    """Return the name of a score: ``"mae weight"`` is the mean absolute error of the target "weight"."""
    metric, target = split_metric(key)
    return METRICS.get(metric, metric) + (f", {target}" if target else "")


def split_metric(key: str) -> tuple[str, str]:
    """Split the key of a score into the metric and the target, which is empty if there is only one."""
    metric, _, target = key.partition(" ")
    return metric, target


def number(value: float) -> str:
    """Format a number with about five digits, and very large or small ones with an exponent.

    Examples
    --------
    >>> number(0.97214), number(18957.0671), number(1e-9)
    ('0.9721', '18957', '1e-09')
    """
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}"
    return f"{value:.{max(5 - len(str(int(abs(value)))), 0)}f}"
