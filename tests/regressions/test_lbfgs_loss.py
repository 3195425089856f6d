"""The solver lbfgs minimizes the exact loss; scikit-learn's clips outputs, so a sample's loss ends at 36 (float64)."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import gpubp

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 3))
y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
y[:3] = 1 - y[:3]
OPTIONS = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "random_state": 0, "max_iter": 1}
LARGEST = -np.log(np.finfo(np.float64).eps)


def losses_of(model, x):
    scores = x @ model.coefs_[0][:, 0] + model.intercepts_[0]
    return np.logaddexp(0.0, np.where(y == 1, -scores, scores))


@pytest.mark.parametrize(("scale", "saturates"), [(1.0, False), (300.0, True)])
def test_differs_from_scikit_learn_only_where_a_loss_is_clipped(scale, saturates):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gpubp_model = gpubp.MLPClassifier(device="cpu", **OPTIONS).fit(scale * X, y)
        sklearn_model = sklearn.neural_network.MLPClassifier(**OPTIONS).fit(scale * X, y)
    losses = losses_of(gpubp_model, scale * X)
    np.testing.assert_allclose(gpubp_model.loss_, np.mean(losses), rtol=1e-9)
    assert (np.max(losses) > LARGEST) == saturates
    clipped = np.mean(np.minimum(losses_of(sklearn_model, scale * X), LARGEST))
    np.testing.assert_allclose(sklearn_model.loss_, clipped, rtol=1e-9)
    if not saturates:
        np.testing.assert_allclose(gpubp_model.coefs_[0], sklearn_model.coefs_[0], rtol=1e-9)
