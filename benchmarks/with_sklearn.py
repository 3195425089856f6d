"""scikit-learn's MLPClassifier through its public ``fit`` and ``predict_proba``."""

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.problem import MOMENTUM, make_problem

warnings.simplefilter("ignore", ConvergenceWarning)


class GivenWeights(MLPClassifier):
    """An MLPClassifier with given initial weights."""

    def start_from(self, weights):
        self.given = weights
        return self

    def _initialize(self, y, layer_units, dtype):
        self.left = list(self.given)
        super()._initialize(y, layer_units, dtype)

    def _init_coef(self, fan_in, fan_out, dtype):
        w, b = self.left.pop(0)
        return w.astype(dtype), b.astype(dtype)


def step(problem):
    """Train with ``fit``, including its checks."""
    y = _targets(problem)
    return lambda epochs: _classifier(problem, epochs).fit(problem.x, y).loss_curve_


def predict(problem):
    """Compute outputs, NumPy in and NumPy out."""
    # fit to a few samples to initialize the object; then set the weights
    few = make_problem(problem.spec | {"batch": 2 * problem.spec["sizes"][-1], "batches": 1})
    classifier = _classifier(few, 1).fit(few.x, _targets(few))
    classifier.coefs_ = [w for w, _ in problem.weights]
    classifier.intercepts_ = [b for _, b in problem.weights]
    return classifier.predict_proba


def estimator(parameters):
    """Make a classifier."""
    return MLPClassifier(**parameters, random_state=0)


def _classifier(problem, epochs):
    spec = problem.spec
    return GivenWeights(
        hidden_layer_sizes=tuple(spec["sizes"][1:-1]),
        activation=spec["activation"],
        solver="adam" if spec["optimizer"] == "adam" else "sgd",
        learning_rate_init=spec["rate"],
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=spec["batch"],
        shuffle=False,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
        tol=0.0,
    ).start_from(problem.weights)


def _targets(problem):
    # logistic outputs are labels, one of them without an axis; softmax is for classes
    labels = problem.targets.astype(int)
    return (
        labels.squeeze(1)
        if labels.shape[1] == 1
        else labels
        if problem.spec["output"] == "logistic"
        else labels.argmax(1)
    )
