"""Names of scores on the screen and in reports."""

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


def split_metric(key: str) -> tuple[str, str]:
    """Split the key of a score into the metric and the target, which is empty if there is only one."""
    metric, _, target = key.partition(" ")
    return metric, target
