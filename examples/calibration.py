"""Calibrate probabilities: a network that has memorised its training samples is overconfident."""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier

X, y = load_breast_cancer(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0)

network = MLPClassifier((50,), solver="lbfgs", alpha=1e-5, max_iter=500, random_state=0)
smoothed = MLPClassifier(**network.get_params() | {"label_smoothing": 0.1})
models = {
    "uncalibrated": make_pipeline(StandardScaler(), network),
    "label smoothing": make_pipeline(StandardScaler(), smoothed),
    "calibrated": CalibratedClassifierCV(make_pipeline(StandardScaler(), network), method="sigmoid", cv=5),
}
print(f"{'':16s} {'accuracy':>8s} {'log loss':>9s} {'Brier':>7s}")
for name, model in models.items():
    probability = model.fit(X, y).predict_proba(X_test)[:, 1]
    accuracy, brier = accuracy_score(y_test, probability > 0.5), brier_score_loss(y_test, probability)
    print(f"{name:16s} {accuracy:8.1%} {log_loss(y_test, probability):9.3f} {brier:7.3f}")
