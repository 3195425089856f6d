"""The memory of a fit beside scikit-learn's, in bytes of arrays."""

import copy
import pickle
from itertools import product

import joblib
import numpy as np
import pytest
from sklearn import neural_network

import gpubp
from gpubp import Network, adam
from gpubp.backends.backend import choose_backend
from gpubp.engine import windows
from gpubp.engine.epoch import plain_epoch_runner
from gpubp.engine.plain.minibatches import ArrayBatches, Batch
from gpubp.engine.plain.step import EpochResult, ModelState, Objective
from gpubp.engine.windows import WindowRunner
from gpubp.estimators._fit import theta_of
from gpubp.nn.initialization import initial_weights
from tests.traced_memory import peak_of

pytestmark = [pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"), pytest.mark.once]

N_SAMPLES = 30_000
OPTIONS_OF_WEIGHTS = {"max_iter": 1, "random_state": 0}
OBJECTS = 20_000  # bytes that do not depend on the number of samples
OPTIONS = {"hidden_layer_sizes": (4,), "max_iter": 2, "batch_size": 1000, "random_state": 0}


def samples(dtype, order):
    x = np.asarray(np.random.default_rng(0).standard_normal((N_SAMPLES, 50)), dtype=dtype, order=order)
    return x, x[:, 0] + x[:, 1]


def second_peak_of(work):
    work()  # imports, caches
    return peak_of(work)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("dtype", "order"), [*product(["float32", "float64"], "CF")])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_a_fit_takes_no_more_than_scikit_learns(name, dtype, order, early_stopping, monkeypatch):
    monkeypatch.setenv("GPUBP_COMPILED", "never")
    x, y = samples(dtype, order)
    y = (y > 0.0).astype(int) if name == "MLPClassifier" else y
    options = OPTIONS | {"early_stopping": early_stopping}
    sklearn_peak = second_peak_of(lambda: getattr(neural_network, name)(**options).fit(x, y))
    gpubp_peak = second_peak_of(lambda: getattr(gpubp, name)(**options, device="cpu").fit(x, y))
    assert gpubp_peak <= sklearn_peak + OBJECTS


class TestWeights:
    """The weights are one array, of which ``coefs_`` and ``intercepts_`` are views."""

    @staticmethod
    def model(**options):
        x, y = samples("float64", "C")
        return gpubp.MLPRegressor(hidden_layer_sizes=(20, 5), device="cpu", **OPTIONS_OF_WEIGHTS | options).fit(
            x[:500], y[:500]
        )

    @pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"n_restarts": 2}], ids=str)
    def test_predictions_copy_no_weights(self, options):
        model = self.model(**options)
        theta = theta_of(model.coefs_, model.intercepts_)
        assert all(part.base is theta for part in (*model.coefs_, *model.intercepts_))

    @pytest.mark.parametrize("change", ["replaced", "transposed", "swapped", "copied", "float32", "in place"])
    def test_what_the_user_changes_counts(self, change):
        model, x = self.model(), samples("float64", "C")[0][:50]
        expected = copy.deepcopy(model)
        for each in (model, expected):
            if change == "replaced":
                each.coefs_[1] = each.coefs_[1] * 2.0
            elif change == "transposed":
                each.coefs_[1] = each.coefs_[1].reshape(5, 20).T
            elif change == "swapped":
                each.coefs_[0] = each.coefs_[0][::-1]
            elif change == "copied":
                each.intercepts_[0] = each.intercepts_[0].copy()
            elif change == "float32":
                each.intercepts_[0] = each.intercepts_[0].astype("float32")
            else:
                each.coefs_[0][:] = each.coefs_[0] * 0.5
        layers = [np.vstack(layer) for layer in zip(expected.coefs_, expected.intercepts_, strict=True)]
        theta = theta_of(model.coefs_, model.intercepts_)
        np.testing.assert_array_equal(theta, np.concatenate([layer.ravel() for layer in layers]))
        np.testing.assert_array_equal(model.predict(x), expected.predict(x))

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_copies_join_their_weights_once(self, copied):
        model, x = self.model(), samples("float64", "C")[0][:50]
        again = copied(model)
        theta = theta_of(again.coefs_, again.intercepts_)
        assert all(part.base is theta for part in (*again.coefs_, *again.intercepts_))
        assert np.shares_memory(theta, model.coefs_[0]) == (copied is copy.copy)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))

    def test_copies_of_ensembles(self):
        x, y = samples("float64", "C")
        base = gpubp.MLPRegressor(hidden_layer_sizes=(20, 5), device="cpu", **OPTIONS_OF_WEIGHTS)
        ensemble = copy.deepcopy(gpubp.MLPEnsembleRegressor(base, 2, random_state=0).fit(x[:500], y[:500]))
        for member in ensemble.estimators_:
            assert member.coefs_[0].base is member.intercepts_[1].base is not None

    @pytest.mark.parametrize("change", ["integers", "float32", "shape", "tuple", "empty"])
    def test_copies_keep_what_the_user_changed(self, change):
        model, x = self.model(), samples("float64", "C")[0][:50]
        if change == "integers":
            model.coefs_ = [np.rint(part).astype(int) for part in model.coefs_]
        elif change == "float32":
            model.coefs_[0] = model.coefs_[0].astype("float32")
        elif change == "shape":
            model.coefs_[1] = model.coefs_[1][:3]
        elif change == "tuple":
            model.coefs_ = tuple(model.coefs_)
        else:
            model.coefs_ = []
        again = copy.deepcopy(model)
        assert type(again.coefs_) is type(model.coefs_)
        assert [(part.dtype, part.shape) for part in again.coefs_] == [
            (part.dtype, part.shape) for part in model.coefs_
        ]
        if change in ("shape", "empty"):
            with pytest.raises(ValueError, match="coefs_"):
                again.predict(x)
        else:
            np.testing.assert_array_equal(again.predict(x), model.predict(x))

    def test_memory_mapped_models_stay_so(self, tmp_path):
        model, x = self.model(), samples("float64", "C")[0][:50]
        joblib.dump(model, tmp_path / "model")
        again = joblib.load(tmp_path / "model", mmap_mode="r")
        assert isinstance(again.coefs_[0], np.memmap)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))

    def test_more_training_leaves_earlier_weights_unchanged(self):
        model, (x, y) = self.model(), samples("float64", "C")
        before = model.coefs_[0]
        copied = before.copy()
        model.partial_fit(x[:500], y[:500])
        np.testing.assert_array_equal(before, copied)
        assert not np.array_equal(model.coefs_[0], copied)


class TestWindows:
    """Compiled code takes samples in C order."""

    @pytest.mark.parametrize("ordered", [True, False])
    @pytest.mark.parametrize("fraction", [1.0, 0.5])
    def test_give_what_all_samples_give(self, ordered, fraction, monkeypatch):
        monkeypatch.setattr(windows, "BYTES_OF_A_WINDOW", 10_000)
        x, y = samples("float64", "F")
        x, targets, weights = x[:1000], y[:1000, None], np.linspace(0.0, 1.0, 1000)
        backend, network = choose_backend("cpu"), Network((50, 3, 1))
        order = np.random.default_rng(1).permutation(1000) if ordered else None
        batches = ArrayBatches(
            backend, Batch(x, targets, weights), 9, order, fraction_done=0.5 - fraction / 2.0, fraction=fraction
        )
        seen, run = [], plain_epoch_runner(backend, Objective(network), adam(with_decay), "float64")

        def noted(model, batches):
            seen.append(batches.samples.x)
            return run(model, batches)

        found = []
        for way in (run, WindowRunner(noted)):
            theta = initial_weights(network, 0)
            model = ModelState(theta, adam().init(np, theta), epoch=3)
            found.append((way(model, batches), model.theta))
        assert len(seen) > 10
        assert all(window.flags.c_contiguous and window.nbytes < 40_000 for window in seen)
        (whole, theta), (in_windows, same_theta) = found
        # batches without an order are slices in Fortran order, for which products are rounded differently
        np.testing.assert_allclose(theta, same_theta, rtol=0.0 if ordered else 1e-9)
        for figures, same in zip(whole[:4], in_windows[:4], strict=True):
            np.testing.assert_allclose(figures, same, rtol=0.0 if ordered else 1e-9)

    def test_are_for_large_samples_in_another_order(self):
        x, y = samples("float64", "F")
        backend, seen = choose_backend("cpu"), []

        def noted(model, batches):
            seen.append(batches)
            return EpochResult(np.zeros(1), np.ones(1), np.ones(1), np.asarray(True))

        run = WindowRunner(noted)
        for samples_of_run in (x, np.ascontiguousarray(x)):
            batches = ArrayBatches(backend, Batch(samples_of_run, y[:, None]), 1000)
            run(ModelState(np.zeros(1), ()), batches)
            assert seen.pop() is batches


def with_decay(epoch):
    """Return a learning rate that depends on where in the epoch a step is."""
    return 0.01 / (1.0 + epoch)
