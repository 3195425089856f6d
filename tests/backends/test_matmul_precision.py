"""Matrix products in TF32, bfloat16 and float16: rounding, training, and overflow."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor, Network, predict, train
from gpubp.backends.backend import choose_backend, to_backend, to_numpy, with_matmul
from gpubp.backends.matmul_precision import FORMATS, rounded, rounded_by_arithmetic
from gpubp.engine.epoch import make_epoch_runner
from gpubp.engine.plain.minibatches import Batch
from gpubp.engine.plain.step import Objective, make_step
from gpubp.errors import DataError, DivergenceWarning
from gpubp.nn.initialization import initial_weights
from gpubp.nn.passes import loss_and_gradient, output_layer
from gpubp.optim.first_order import OPTIMIZERS, adam, momentum
from gpubp.optim.loss_scaling import (
    INITIAL_LOSS_SCALE,
    LARGEST_LOSS_SCALE,
    SMALLEST_LOSS_SCALE,
    UPDATES_BEFORE_GROWTH,
    loss_scaled,
)
from gpubp.optim.second_order import lbfgs
from gpubp.optim.wrappers import clipped
from gpubp.tabular import fit_table, prepare_table

TIE = 2.0**-8  # half a step of bfloat16 at 1
NUMBERS = {
    "bfloat16": [
        (1.0 + TIE, 1.0),  # ties go to the even neighbour, down ...
        (1.0 + 3 * TIE, 1.0 + 4 * TIE),  # ... and up
        (-1.0 - 3 * TIE, -1.0 - 4 * TIE),
        (1.0 + TIE + 2.0**-23, 1.0 + 2 * TIE),
        (1.0 + TIE - 2.0**-23, 1.0),
        (2.0 - 2.0**-23, 2.0),  # into the next power of two
        (2.0**-126 * (1 + TIE), 2.0**-126),
        (2.0**-133, 2.0**-133),  # the smallest of its numbers
        (2.0**-134, 0.0),  # half of it, to even
        (1.5 * 2.0**-133, 2.0**-132),
        (2.0**-149, 0.0),
        (2.0**128 - 2.0**120, 2.0**128 - 2.0**120),  # the largest finite one
        (2.0**128 - 2.0**119 - 2.0**104, 2.0**128 - 2.0**120),
        (2.0**128 - 2.0**119, np.inf),
        (-(2.0**128) + 2.0**104, -np.inf),
    ],
    "tf32": [
        (1.0 + 2.0**-11, 1.0),
        (1.0 + 3 * 2.0**-11, 1.0 + 2.0**-9),
        (-1.0 - 3 * 2.0**-11, -1.0 - 2.0**-9),
        (4.0 - 2.0**-21, 4.0),
        (1e5, 99968.0),  # a tie beyond float16, where the spacing is 64
        (2.0**-136, 2.0**-136),
        (2.0**-137, 0.0),
        (1.5 * 2.0**-136, 2.0**-135),
        (2.0**128 - 2.0**104, np.inf),
    ],
    "float16": [
        (1.0 + 2.0**-11, 1.0),
        (1.0 + 3 * 2.0**-11, 1.0 + 2.0**-9),
        (65504.0, 65504.0),  # the largest finite one
        (65519.996, 65504.0),
        (65520.0, np.inf),
        (-65520.0, -np.inf),
        (3e38, np.inf),
        (2.0**-14, 2.0**-14),  # the smallest normal one
        (2.0**-14 * (1 + 2.0**-11), 2.0**-14),
        (2.0**-24, 2.0**-24),  # the smallest of all
        (2.0**-25, 0.0),
        (2.0**-25 * (1 + 2.0**-23), 2.0**-24),
        (1.5 * 2.0**-24, 2.0**-23),
        (-(2.0**-30), -0.0),
    ],
}
ALWAYS = [(0.0, 0.0), (-0.0, -0.0), (1.0, 1.0), (-0.5, -0.5), (np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan)]

NETWORK = Network((4, 6, 3), activation="tanh", loss="cross_entropy")
REDUCED = tuple(FORMATS)


def all_numbers(seed=0):
    """Float32 numbers of all kinds: random bits, and the neighbours of all powers of two."""
    bits = np.random.default_rng(seed).integers(-(2**31), 2**31, 20_000).astype(np.int32)
    powers = (2.0 ** np.arange(-149, 128)).astype(np.float32)
    near = np.concatenate([np.nextafter(powers, np.float32(0.0)), powers, np.nextafter(powers, np.float32(np.inf))])
    return np.concatenate([bits.view(np.float32), near, -near])


def same_numbers(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual[~np.isnan(actual)]), np.signbit(expected[~np.isnan(expected)]))


@pytest.fixture(params=REDUCED)
def precision(request):
    return request.param


@pytest.fixture
def reduced(backend_case, precision):
    """Each backend, with its products in each precision."""
    return with_matmul(backend_case.backend, precision, "float32")


@pytest.fixture(autouse=True)
def _overflow_is_wanted():
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        yield


class TestRounding:
    def test_by_the_table(self, backend_case, precision):
        numbers, expected = np.asarray(NUMBERS[precision] + ALWAYS, np.float32).T
        actual = rounded(backend_case.xp, backend_case.asarray(numbers), precision)
        assert str(actual.dtype).endswith("float32")
        actual, subnormal = to_numpy(actual), (numbers != 0) & (np.abs(numbers) < 2.0**-126)
        if backend_case.name == "jax":  # XLA flushes subnormal numbers of float32 to 0
            actual, expected = actual[~subnormal], expected[~subnormal]
        same_numbers(actual, expected)

    def test_rounding_by_arithmetic_gives_the_same_bits(self, precision):
        x = all_numbers()
        same_numbers(rounded_by_arithmetic(np, x, precision), rounded(np, x, precision))

    def test_is_the_nearest_number_of_the_format(self, precision):
        """Every result is a number of the format, and no neighbour in the format is nearer."""
        form, x = FORMATS[precision], all_numbers(1)
        x = x[np.isfinite(x) & (np.abs(x) < form.largest)].astype(float)
        spacing = 2.0 ** (np.maximum(np.frexp(x)[1] - 1, form.smallest_exponent) - form.bits)
        actual = rounded(np, x.astype(np.float32), precision).astype(float)
        finite = np.isfinite(actual)  # all but the few that round up to infinity
        assert finite.mean() > 0.99
        same_numbers((actual / spacing)[finite], np.round(x / spacing)[finite])

    def test_is_idempotent(self, precision):
        once = rounded(np, all_numbers(2), precision)
        same_numbers(rounded(np, once, precision), once)

    def test_of_a_view_equals_that_of_a_copy(self, backend_case, precision):
        x = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
        turned = backend_case.xp.matrix_transpose(backend_case.asarray(x))
        same_numbers(to_numpy(rounded(backend_case.xp, turned, precision)), rounded(np, x, precision).T)


class TestProducts:
    def test_equal_float32_sums_of_rounded_operands(self, reduced, backend_case, precision):
        rng = np.random.default_rng(4)
        a, b = rng.normal(size=(2, 5, 30)).astype(np.float32), rng.normal(size=(2, 30, 4)).astype(np.float32)
        product = reduced.xp.matmul(backend_case.asarray(a), backend_case.asarray(b))
        assert str(product.dtype).endswith("float32")
        exact = rounded(np, a, precision).astype(float) @ rounded(np, b, precision).astype(float)
        np.testing.assert_allclose(to_numpy(product), exact, rtol=1e-5, atol=1e-5)
        assert np.max(np.abs(exact - a.astype(float) @ b.astype(float))) > 1e-4  # rounding shows

    def test_other_attributes_are_the_namespaces(self, precision):
        xp = with_matmul(choose_backend("cpu"), precision, "float32").xp
        assert xp.exp == choose_backend("cpu").xp.exp
        with pytest.raises(AttributeError):
            _ = xp.no_such_function

    def test_arrays_on_the_backend_stay_where_they_are(self, reduced, backend_case):
        x = backend_case.asarray([1.0, 2.0], "float32")
        assert to_backend(reduced, x, "float32") is x

    def test_gradient_is_close_to_the_full_one(self, precision):
        rng = np.random.default_rng(5)
        x, targets = rng.normal(size=(50, 4)).astype("float32"), np.eye(3, dtype="float32")[rng.integers(0, 3, 50)]
        theta = initial_weights(NETWORK, 0)

        def gradient(precision):
            backend = with_matmul(choose_backend("cpu"), precision, "float32")
            optimizer = loss_scaled(momentum(1.0, 0.0)) if precision == "float16" else momentum(1.0, 0.0)
            step = make_step(backend, Objective(NETWORK), optimizer, "float32")
            return step(theta, optimizer.init(np, theta), Batch(x, targets), 0.0)[0] - theta

        full = gradient("float32")
        difference = np.linalg.norm(gradient(precision) - full) / np.linalg.norm(full)
        assert 0.0 < difference < 4 * 2.0 ** -FORMATS[precision].bits


def iris():
    x, y = load_iris(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype("float32"), np.eye(3, dtype="float32")[y], y


class TestTraining:
    def test_learns_to_about_the_same_loss(self, device, precision):
        x, targets, y = iris()
        options = {"optimizer": adam(0.05), "epochs": 12, "batch_size": 30, "device": device, "dtype": "float32"}
        full, reduced = (train(NETWORK, x, targets, matmul_precision=p, **options) for p in ("float32", precision))
        assert reduced.history.loss[-1] == pytest.approx(full.history.loss[-1], rel=0.1)
        assert reduced.history.loss[0] != full.history.loss[0]
        outputs = predict(NETWORK, reduced.theta, x, device=device, matmul_precision=precision)
        assert np.mean(outputs.argmax(axis=1) == y) > 0.95
        full_outputs = predict(NETWORK, reduced.theta, x, device=device)
        assert 0.0 < np.max(np.abs(outputs - full_outputs)) < 0.05

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_every_optimizer_learns(self, optimizer, precision):
        x, targets, _ = iris()
        options = {"optimizer": OPTIMIZERS[optimizer](0.02), "epochs": 20, "batch_size": 30, "device": "cpu"}
        full, reduced = (train(NETWORK, x, targets, matmul_precision=p, **options) for p in ("float32", precision))
        assert reduced.history.loss[-1] == pytest.approx(full.history.loss[-1], rel=0.05)

    def test_parameters_stay_float32(self, precision):
        x, targets, _ = iris()
        fit = train(NETWORK, x, targets, epochs=3, device="cpu", matmul_precision=precision)
        assert fit.theta.dtype == np.float32
        assert np.any(fit.theta != rounded(np, fit.theta, precision))

    def test_float32_equals_the_default(self, device):
        x, targets, _ = iris()
        fits = [
            train(NETWORK, x, targets, epochs=3, device=device, **more)
            for more in ({}, {"matmul_precision": "float32"})
        ]
        np.testing.assert_array_equal(fits[0].theta, fits[1].theta)

    @pytest.mark.usefixtures("double")
    def test_float32_leaves_float64_alone(self):
        x, targets, _ = iris()
        fit = train(NETWORK, x.astype("float64"), targets, epochs=3, device="cpu", matmul_precision="float32")
        repeated = train(NETWORK, x.astype("float64"), targets, epochs=3, device="cpu")
        assert fit.theta.dtype == np.float64
        np.testing.assert_array_equal(fit.theta, repeated.theta)

    def test_is_never_compiled(self, monkeypatch, precision):
        monkeypatch.setenv("GPUBP_COMPILED", "always")
        backend = with_matmul(choose_backend("cpu"), precision, "float32")
        run_epoch = make_epoch_runner(backend, Objective(NETWORK), momentum(), "float32")
        assert getattr(run_epoch, "func", None) is not None  # the plain one
        x, _, _ = iris()
        theta = initial_weights(NETWORK, 0)
        plainly = predict(NETWORK, theta, x, device="cpu", matmul_precision=precision)
        np.testing.assert_array_equal(plainly, output_layer(backend.xp, NETWORK, theta, x).y)

    def test_a_stack_equals_its_networks(self, precision):
        x, targets, _ = iris()
        options = {"epochs": 3, "batch_size": 30, "device": "cpu", "matmul_precision": precision, "shuffle": False}
        stack = train(NETWORK, x, targets, seed=[1, 2], **options)
        for k, seed in enumerate((1, 2)):
            single = train(NETWORK, x, targets, seed=seed, **options)
            np.testing.assert_allclose(stack.theta[k], single.theta, rtol=1e-2, atol=1e-3)


class TestLossScale:
    """With float16 products, derivatives are scaled; an update that overflows is skipped and the scale is halved."""

    def start(self, network, optimizer, scale=None, stack=1):
        backend = with_matmul(choose_backend("cpu"), "float16", "float32")
        optimizer, seeds = loss_scaled(optimizer), [*range(stack)]
        theta = initial_weights(network, seeds if stack > 1 else 0, scheme="uniform", scale=0.5)
        state = optimizer.init(backend.xp, theta)
        if scale is not None:
            state = state._replace(loss_scale=np.full_like(state.loss_scale, scale))
        return make_step(backend, Objective(network), optimizer, "float32"), theta, state

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_an_overflow_changes_nothing_but_the_scale(self, optimizer):
        network = Network((2, 3, 1), activation="tanh")
        step, theta, state = self.start(network, OPTIMIZERS[optimizer]())
        batch = Batch(np.ones((4, 2), np.float32), np.full((4, 1), 50.0, np.float32))
        theta, state, _ = step(theta, state, batch, 0.0)  # one that fits, so that there is something to change
        state = state._replace(loss_scale=np.full_like(state.loss_scale, LARGEST_LOSS_SCALE))
        after, new, value = step(theta, state, batch, 0.0)
        np.testing.assert_array_equal(after, theta)
        assert np.isfinite(value)
        assert (new.loss_scale, new.clean) == (LARGEST_LOSS_SCALE / 2, 0.0)
        for part, before in zip(new.inner, state.inner, strict=True):
            if not isinstance(part, int):
                np.testing.assert_array_equal(part, before)

    def test_recovers_from_overflow_and_learns(self):
        network = Network((2, 3, 1), activation="tanh")
        step, theta, state = self.start(network, momentum(0.1, 0.9), LARGEST_LOSS_SCALE)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(20, 2)).astype("float32")
        batch, values, scales = Batch(x, 5.0 * x[:, :1] + 3.0), [], []
        for _ in range(200):
            theta, state, value = step(theta, state, batch, 0.0)
            values.append(float(value))
            scales.append(float(state.loss_scale))
        n_skipped = int(np.log2(LARGEST_LOSS_SCALE / scales[-1]))
        assert n_skipped > 5
        assert values[0] == values[n_skipped] > 20 * values[-1]
        assert scales[n_skipped:] == [scales[-1]] * (200 - n_skipped)

    def test_is_doubled_after_enough_clean_updates(self):
        network = Network((2, 1))
        step, theta, state = self.start(network, momentum(0.0, 0.0))
        assert state.loss_scale == INITIAL_LOSS_SCALE
        batch = Batch(np.ones((1, 2), np.float32), np.ones((1, 1), np.float32))
        for _ in range(UPDATES_BEFORE_GROWTH - 1):
            theta, state, _ = step(theta, state, batch, 0.0)
        assert state.loss_scale == INITIAL_LOSS_SCALE
        theta, state, _ = step(theta, state, batch, 0.0)
        assert (state.loss_scale, state.clean) == (2 * INITIAL_LOSS_SCALE, 0.0)

    def test_stops_at_its_bounds(self):
        network = Network((2, 1))
        batch = Batch(np.ones((1, 2), np.float32), np.zeros((1, 1), np.float32))
        step, theta, state = self.start(network, momentum(0.0, 0.0), LARGEST_LOSS_SCALE)
        state = state._replace(clean=np.full_like(state.clean, UPDATES_BEFORE_GROWTH))
        theta = np.zeros_like(theta)
        assert step(theta, state, batch, 0.0)[1].loss_scale == LARGEST_LOSS_SCALE
        theta[0] = 1e5  # a weight too large for float16, for which no scale helps
        batch = Batch(np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32))
        state = state._replace(loss_scale=np.full_like(state.loss_scale, SMALLEST_LOSS_SCALE))
        _after, new, value = step(theta, state, batch, 0.0)
        assert new.loss_scale == SMALLEST_LOSS_SCALE
        assert np.isnan(value)

    def test_keeps_derivatives_too_small_for_float16(self):
        """Derivatives of about 1e-9 are 0 in float16 unless they are scaled."""
        network = Network((1, 1, 1), activation="identity", bias=False)
        backend = with_matmul(choose_backend("cpu"), "float16", "float32")
        theta = np.asarray([1.0, 2.0], np.float32)
        ones = np.ones((1, 1), np.float32)
        arguments = (backend.xp, network, theta, ones, ones, np.asarray([1e-9], np.float32))  # y is 2, the target 1
        assert not loss_and_gradient(*arguments)[1].any()
        scaled = loss_and_gradient(*arguments, loss_scale=np.asarray(INITIAL_LOSS_SCALE, np.float32))[1]
        np.testing.assert_allclose(scaled, [2e-9, 1e-9], rtol=0.1)

    def test_networks_of_a_stack_have_separate_scales(self):
        network = Network((2, 3, 1), activation="tanh")
        step, theta, state = self.start(network, adam(), 2.0**15, stack=2)
        targets = np.stack([np.full((4, 1), 50.0), np.zeros((4, 1))]).astype("float32")
        after, new, _ = step(theta, state, Batch(np.ones((4, 2), np.float32), targets), 0.0)
        np.testing.assert_array_equal(new.loss_scale, [2.0**14, 2.0**15])
        np.testing.assert_array_equal(after[0], theta[0])
        assert np.all(after[1] != theta[1])

    def test_is_repeatable(self):
        x, targets, _ = iris()
        fits = [train(NETWORK, x, targets, epochs=5, device="cpu", matmul_precision="float16") for _ in range(2)]
        np.testing.assert_array_equal(fits[0].theta, fits[1].theta)

    def test_weights_too_large_for_float16_diverge(self):
        x, targets, _ = iris()
        with pytest.warns(DivergenceWarning):
            fit = train(NETWORK, x * 1e6, targets, epochs=5, device="cpu", matmul_precision="float16")
        assert fit.diverged

    def test_optimizers_that_are_wrapped_already_are_wrapped_once_more(self):
        x, targets, _ = iris()
        optimizer = clipped(adam(0.01), 1.0)
        full, fit = (
            train(NETWORK, x, targets, optimizer=optimizer, epochs=20, device="cpu", matmul_precision=name)
            for name in ("float32", "float16")
        )
        assert fit.history.loss[-1] < fit.history.loss[0]
        assert fit.history.loss[-1] == pytest.approx(full.history.loss[-1], rel=0.01)


class TestValidation:
    @pytest.mark.parametrize(
        ("name", "meant"), [("bf16", "bfloat16"), ("half", "float16"), ("TF32", "tf32"), ("float23", "float32")]
    )
    def test_wrong_names_suggest_the_nearest(self, name, meant):
        x, targets, _ = iris()
        with pytest.raises(DataError, match=f"unknown matmul_precision {name!r} \\(did you mean .*{meant}"):
            train(NETWORK, x, targets, device="cpu", matmul_precision=name)
        with pytest.raises(DataError, match=meant):
            predict(NETWORK, initial_weights(NETWORK, 0), x, device="cpu", matmul_precision=name)

    @pytest.mark.usefixtures("double")
    def test_float64_is_refused(self, precision):
        x, targets, _ = iris()
        x = x.astype("float64")
        with pytest.raises(DataError, match="dtype='float32' too"):
            train(NETWORK, x, targets, device="cpu", matmul_precision=precision)
        with pytest.raises(ValueError, match="dtype='float32' too"):
            MLPClassifier(device="cpu", matmul_precision=precision).fit(x, targets.argmax(1))
        assert train(NETWORK, x, targets, epochs=1, device="cpu", dtype="float32", matmul_precision=precision)

    def test_second_order_needs_more_than_float16(self):
        x, targets, y = iris()
        with pytest.raises(DataError, match="use matmul_precision='bfloat16'"):
            train(NETWORK, x, targets, optimizer=lbfgs(), device="cpu", matmul_precision="float16")
        with pytest.raises(ValueError, match="use matmul_precision='bfloat16'"):
            MLPClassifier(solver="lbfgs", device="cpu", matmul_precision="float16").fit(x, y)
        fit = train(NETWORK, x, targets, optimizer=lbfgs(), epochs=20, device="cpu", matmul_precision="tf32")
        assert fit.history.loss[-1] < fit.history.loss[0] / 2

    def test_in_tables(self, precision):
        result = fit_table(prepare_table("iris"), epochs=30, device="cpu", matmul_precision=precision)
        assert result.model.about["training"]["matmul_precision"] == precision
        assert result.scores["test"]["accuracy"] > 0.8


class TestEstimators:
    @pytest.mark.parametrize("solver", ["adam", "sgd"])
    def test_classifier_learns(self, precision, solver):
        x, _, y = iris()
        options = {
            "solver": solver,
            "learning_rate_init": 0.01,
            "max_iter": 100,
            "tol": 0.0,
            "random_state": 0,
            "device": "cpu",
        }
        options |= {"n_iter_no_change": 1000}
        full, reduced = (
            fitted_quietly(MLPClassifier((10,), matmul_precision=p, **options), x, y) for p in ("float32", precision)
        )
        assert reduced.loss_ == pytest.approx(full.loss_, rel=0.15)
        assert reduced.loss_ != full.loss_
        assert reduced.score(x, y) == pytest.approx(full.score(x, y), abs=0.02)
        assert 0 < np.max(np.abs(reduced.predict_proba(x) - full.predict_proba(x))) < 0.1

    def test_early_stopping_and_lbfgs(self):
        x, _, y = iris()
        for options in ({"early_stopping": True}, {"solver": "lbfgs", "max_iter": 100}):
            model = MLPClassifier((10,), matmul_precision="bfloat16", random_state=0, device="cpu", **options)
            assert fitted_quietly(model, x, y).loss_ < 1.2

    def test_is_an_ordinary_parameter(self, precision):
        x, _, y = iris()
        model = MLPRegressor(
            hidden_layer_sizes=(5,),
            matmul_precision=precision,
            max_iter=5,
            random_state=0,
            device="cpu",
            warm_start=True,
        )
        assert clone(model).get_params()["matmul_precision"] == precision
        fitted_quietly(model, x, y.astype("float32"))
        restored = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(restored.predict(x), model.predict(x))
        fitted_quietly(model, x, y.astype("float32"))
        fitted_quietly(restored, x, y.astype("float32"))
        np.testing.assert_array_equal(restored.predict(x), model.predict(x))

    def test_a_warm_start_can_change_it(self):
        x, _, y = iris()
        model = MLPClassifier((5,), max_iter=20, random_state=0, device="cpu", warm_start=True)
        losses = []
        for name in ("float32", "float16", "bfloat16", "float16"):
            losses.append(fitted_quietly(model.set_params(matmul_precision=name), x, y).loss_)
        assert losses == sorted(losses, reverse=True)

    def test_partial_fit_keeps_the_scale(self):
        x, _, y = iris()
        model = MLPRegressor(
            hidden_layer_sizes=(5,), solver="sgd", matmul_precision="float16", random_state=0, device="cpu"
        )
        for scale in (INITIAL_LOSS_SCALE / 2, INITIAL_LOSS_SCALE / 4):  # one batch per call, which overflows
            model.partial_fit(x, 1e3 * y.astype("float32"))
            assert float(model._optimizer.state.loss_scale) == scale

    def test_wrong_names(self):
        x, _, y = iris()
        with pytest.raises(ValueError, match="matmul_precision"):
            MLPClassifier(matmul_precision="bf16", device="cpu").fit(x, y)


def fitted_quietly(model, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
