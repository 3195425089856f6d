"""A fit draws as many random numbers as its data and options determine, whatever the clock says.

The next fit with the same RandomState, or with NumPy's global one, then agrees with scikit-learn's as well.
"""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import gpubp
from gpubp.training import batched_epochs

OPTIONS = [
    {},
    {"batch_size": 20},
    {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1},
    {"solver": "lbfgs"},
    {"shuffle": False},
    {"early_stopping": True},
    {"tol": 1e-2, "n_iter_no_change": 12},
    {"activation": "identity", "max_iter": 30},
]


@pytest.fixture(params=[0.0, 1e-6, 1e-3], ids=["slow", "fast", "middling"])
def clock(request, monkeypatch):
    """Pretend that an epoch takes this long; 0.0 stands for one epoch in each call."""
    if request.param == 0.0:
        monkeypatch.setattr(batched_epochs, "SECONDS_PER_CALL", 0.0)
    seconds = request.param or 1.0
    monkeypatch.setattr(
        batched_epochs.BatchedEpochs, "record_duration", lambda self, _: setattr(self, "seconds", seconds)
    )


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    return X, X[:, 0] - X[:, 1] > 0


def state_after(fit, **parameters):
    """Return the next numbers of a RandomState that a fit has used."""
    random_state = np.random.RandomState(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit(random_state=random_state, **parameters)
    return random_state.randint(2**31, size=4).tolist()


@pytest.mark.usefixtures("clock", "form")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_many_as_scikit_learn_draws(options):
    X, y = data()
    options = {"hidden_layer_sizes": (5,), "max_iter": 90, **options}
    sklearn_state = state_after(lambda **p: sklearn.neural_network.MLPClassifier(**p).fit(X, y), **options)
    gpubp_state = state_after(lambda **p: gpubp.MLPClassifier(device="cpu", **p).fit(X, y), **options)
    assert gpubp_state == sklearn_state


@pytest.mark.usefixtures("clock", "form")
def test_a_fit_that_diverges_draws_for_the_epochs_it_has_trained():
    X, y = data()

    def diverge(**parameters):
        model = gpubp.MLPRegressor(
            hidden_layer_sizes=(5,), solver="sgd", momentum=0.0, learning_rate_init=0.35, **parameters
        )
        with pytest.raises(ValueError, match="non-finite"):
            model.set_params(activation="identity", max_iter=4000, device="cpu").fit(3.0 * X, y.astype(float))
        assert len(model.loss_curve_) > 2
        draws.append(len(model.loss_curve_))

    draws = []
    for batch_size in (20, 60):
        after = state_after(diverge, batch_size=batch_size)
        random_state = np.random.RandomState(3)
        random_state.uniform(size=4 * 5 + 5 + 5 + 1)
        for _ in range(draws[-1]):
            random_state.shuffle(np.arange(60))
        assert after == random_state.randint(2**31, size=4).tolist()


@pytest.mark.usefixtures("clock", "form")
def test_the_next_fit_agrees_too():
    X, y = data()
    curves = []
    for model_class, device in ((sklearn.neural_network.MLPClassifier, {}), (gpubp.MLPClassifier, {"device": "cpu"})):
        random_state = np.random.RandomState(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            models = [model_class((5,), max_iter=70, random_state=random_state, **device).fit(X, y) for _ in range(3)]
        curves.append([model.loss_curve_ for model in models])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-7)
