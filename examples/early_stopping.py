"""Stop early on your own validation data: the best epoch by validation loss provides the weights."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gpubp import LossCurveDisplay, MLPClassifier

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16.0, y, test_size=0.3, random_state=0)
X, X_validation, y, y_validation = train_test_split(X, y, test_size=0.2, random_state=0)

model = MLPClassifier(
    (64,),
    learning_rate_init=0.01,
    dropout=0.2,
    early_stopping=True,
    scoring="loss",
    n_iter_no_change=15,
    random_state=0,
)
model.fit(X, y, validation_data=(X_validation, y_validation))

best = min(range(model.n_iter_), key=model.validation_curve_.__getitem__)
print(model.report())
print(f"best epoch {best + 1}; accuracy {model.score(X_test, y_test):.1%} on {len(y_test)} test samples")
LossCurveDisplay.from_estimator(model, name="Handwritten digits").figure_.savefig("early-stopping.png")
