"""Early stopping on samples of your own: the loss on them decides, and the weights of the best epoch are kept."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gpubp import MLPClassifier

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16.0, y, test_size=0.3, random_state=0)
X, X_held_out, y, y_held_out = train_test_split(X, y, test_size=0.2, random_state=0)

model = MLPClassifier(
    (64,),
    learning_rate_init=0.01,
    dropout=0.2,
    early_stopping=True,
    scoring="loss",
    n_iter_no_change=15,
    random_state=0,
)
model.fit(X, y, validation_data=(X_held_out, y_held_out))

best = min(range(model.n_iter_), key=model.validation_curve_.__getitem__)
print(model.report())
print(f"kept: epoch {best + 1}; right in {model.score(X_test, y_test):.1%} of {len(y_test)} samples not seen before")
