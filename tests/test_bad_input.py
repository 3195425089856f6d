"""Invalid arguments: each message says what was received, what was expected and, if useful, how to fix it."""

import math

import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_backend
from gpubp.engine import argument_checks
from gpubp.engine.prediction import predict
from gpubp.errors import DataError, DeviceError, GpubpError
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import Network
from gpubp.optim.first_order import gradient_descent, momentum
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.training.fit import train

DEVICES = ("cpu", "array_api_strict:device1")
NETWORK = Network((2, 3, 1))
X, D = np.ones((4, 2)), np.zeros((4, 1))
THETA = np.zeros(NETWORK.n_parameters)


def fit(network=NETWORK, X=X, targets=D, **options):
    return train(network, X, targets, **({"device": "cpu", "epochs": 2} | options))


def spoiled(array, place, value):
    array = array.astype("float64")
    array[place] = value
    return array


# --- shapes ---


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((4, 3)), r"X must be \(samples, 2\), as the network has 2 inputs; got \(4, 3\)"),
        (np.ones((2, 4)), r"X must be \(samples, 2\).*got \(2, 4\)"),
        (np.ones((1, 1, 4, 2)), r"X must be \(samples, 2\).*got \(1, 1, 4, 2\)"),
        (np.ones(2), r"X must be \(samples, 2\), got one dimension of 2; a single sample is X.reshape\(1, -1\)"),
        ([1.0, 2.0], r"one dimension of 2; .*a single input X.reshape\(-1, 1\)"),
        (3.0, r"X must be \(samples, 2\).*got \(\)"),
        (np.zeros((0, 2)), r"X is empty, \(0, 2\); at least one sample is needed"),
        (np.ones((3, 4, 2)), "X holds 3 sets of samples, but theta is one network"),
    ],
)
def test_shape_of_x(x, message):
    with pytest.raises(DataError, match=message):
        fit(X=x, theta=THETA)
    with pytest.raises(DataError, match=message):
        predict(NETWORK, THETA, x, device="cpu")


@pytest.mark.parametrize(
    ("network", "targets", "message"),
    [
        (NETWORK, np.zeros(4), r"targets must be \(4, 1\), a row for each sample.*got \(4,\); reshape\(-1, 1\)"),
        (NETWORK, np.zeros((3, 1)), r"targets must be \(4, 1\).*got \(3, 1\)"),
        (NETWORK, np.zeros((4, 2)), r"targets must be \(4, 1\).*got \(4, 2\)"),
        (NETWORK, 0.0, r"targets must be \(4, 1\).*got \(\)"),
        (NETWORK, np.zeros((0, 1)), r"targets must be \(4, 1\).*got \(0, 1\)"),
        (
            Network((2, 3), loss="cross_entropy"),
            [0, 1, 2, 1],
            r"targets must be \(4, 3\).*got \(4,\); gpubp.one_hot makes",
        ),
    ],
)
def test_shape_of_targets(network, targets, message):
    with pytest.raises(DataError, match=message):
        fit(network, targets=targets)


@pytest.mark.parametrize("theta", [np.zeros(5), np.zeros((13, 1)), np.zeros((2, 2, 13)), 0.0])
def test_shape_of_theta(theta):
    message = r"theta must be \(13,\), or \(K, 13\) for a stack, for a network of sizes \(2, 3, 1\); got \("
    with pytest.raises(DataError, match=message):
        fit(theta=theta)
    with pytest.raises(DataError, match=message):
        predict(NETWORK, theta, X, device="cpu")


def test_a_stack_of_no_networks():
    with pytest.raises(DataError, match="theta"):
        fit(theta=np.zeros((0, 13)))


def test_as_many_sets_of_samples_as_networks():
    with pytest.raises(DataError, match="X holds 3 sets of samples, but theta is a stack of 2 networks"):
        fit(X=np.ones((3, 4, 2)), targets=np.zeros((3, 4, 1)), theta=np.zeros((2, 13)))


def test_more_features_at_predict_than_at_fit():
    with pytest.raises(DataError, match=r"X must be \(samples, 2\), as the network has 2 inputs; got \(4, 5\)"):
        predict(NETWORK, fit().theta, np.ones((4, 5)), device="cpu")


# --- values ---


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("few", [argument_checks.FEW_NUMBERS, 0], ids=["checked on the host", "checked on the device"])
def test_not_finite(device, value, few, monkeypatch):
    """The first bad position is named, in any of the arrays."""
    monkeypatch.setattr(argument_checks, "FEW_NUMBERS", few)

    def to_device(array):
        return to_backend(choose_backend(device), array, "float64")

    def message(name, place):
        return rf"{name} holds {value} at \[{place}\]; every value must be finite in float64"

    options = {"device": device}
    with pytest.raises(DataError, match=message("X", "2, 1")):
        fit(X=to_device(spoiled(X, (slice(2, 4), 1), value)), **options)
    with pytest.raises(DataError, match=message("targets", "3, 0")):
        fit(targets=to_device(spoiled(D, (3, 0), value)), **options)
    with pytest.raises(DataError, match=message("theta", "12")):
        fit(theta=to_device(spoiled(THETA, 12, value)), **options)
    with pytest.raises(DataError, match=message("sample_weight", "0")):
        fit(sample_weight=to_device(spoiled(np.ones(4), 0, value)), **options)
    with pytest.raises(DataError, match=message("validation X", "1, 1")):
        fit(validation_data=(spoiled(X, (1, 1), value), D), **options)
    with pytest.raises(DataError, match=message("validation targets", "0, 0")):
        fit(validation_data=(X, spoiled(D, (0, 0), value)), **options)
    with pytest.raises(DataError, match=message("X", "0, 0")):
        predict(NETWORK, THETA, to_device(spoiled(X, (0, 0), value)), **options)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("few", [argument_checks.FEW_NUMBERS, 0], ids=["checked on the host", "checked on the device"])
def test_everything_that_is_wrong_is_named_at_once(device, few, monkeypatch):
    monkeypatch.setattr(argument_checks, "FEW_NUMBERS", few)
    arrays = {
        "theta": spoiled(THETA, 12, np.nan),
        "X": spoiled(X, (2, 1), np.inf),
        "sample_weight": np.zeros(4),
        "validation_data": (X, spoiled(D, (0, 0), 3.0), spoiled(np.ones(4), 1, -1.0)),
    }
    with pytest.raises(DataError) as error:
        fit(Network((2, 3, 1), loss="binary_cross_entropy"), device=device, **arrays)
    begin = ["theta holds nan at [12]", "X holds inf at [2, 1]", "sample_weight must not be negative, and not all 0"]
    begin += [
        "the loss 'binary_cross_entropy' needs validation targets from 0 to 1",
        "validation sample_weight must not",
    ]
    lines = str(error.value).splitlines()
    assert [line.startswith(text) for line, text in zip(lines, begin, strict=True)] == [True] * 5


def test_finite_only_in_the_other_precision():
    with pytest.raises(DataError, match=r"X holds inf at \[0, 0\]; every value must be finite in float32"):
        fit(X=X * 1e300, dtype="float32")
    with pytest.raises(DataError, match=r"X holds inf at \[0, 0\]; every value must be finite in float32"):
        predict(NETWORK, THETA.astype("float32"), X * 1e300, device="cpu")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([["1", "two"]] * 4, "X must hold numbers, got .*two"),
        (np.asarray([["a", "b"]] * 4, dtype=object), "X must hold numbers, got object.*'a'"),
        (np.asarray([[1, {}]] * 4, dtype=object), "X must hold numbers, got object.*dict"),
        (np.ones((4, 2)) * 1j, "X must hold real numbers, got complex128"),
        ([[1.0, 2.0], [1.0]], "X must be an array of numbers, its rows of one length"),
        ({"a": 1}, r"X is a dict, not an array .* pass pandas.DataFrame"),
        (None, "X "),
        ([[1.0, None]] * 4, r"X holds nan at \[0, 1\]"),
        (np.full((4, 2), np.datetime64("2020-01-01")), "X must hold real numbers, got datetime64"),
        (np.full((4, 2), np.timedelta64(1, "D")), "X must hold real numbers, got timedelta64"),
    ],
)
def test_no_numbers(x, message):
    with pytest.raises(DataError, match=message):
        fit(X=x)


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("binary_cross_entropy", [[0], [1], [2], [1]], r"'binary_cross_entropy' needs targets from 0 to 1, got 0 to 2"),
        ("binary_cross_entropy", [[0], [1], [-1], [1]], r"needs targets from 0 to 1, got -1 to 1"),
        ("cross_entropy", [[0], [1], [-1], [1]], r"'cross_entropy' needs targets from 0 to inf, got -1 to 1"),
        ("poisson", [[0], [1], [-0.5], [1]], r"'poisson' needs targets from 0 to inf, got -0.5 to 1"),
    ],
)
def test_targets_that_the_loss_is_not_defined_for(loss, targets, message):
    network = Network((2, 3, 1), loss=loss)
    with pytest.raises(DataError, match=message):
        fit(network, targets=targets)
    with pytest.raises(DataError, match="validation targets"):
        fit(network, targets=np.ones((4, 1)), validation_data=(X, targets))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -1, 1, 1], "sample_weight must not be negative, and not all 0"),
        ([0, 0, 0, 0], "sample_weight must not be negative, and not all 0"),
        ([1, 1, 1], r"sample_weight must be \(4,\), one for each sample, got \(3,\)"),
        (np.ones((4, 1)), r"sample_weight must be \(4,\), one for each sample, got \(4, 1\)"),
        (2.0, r"sample_weight must be \(4,\), one for each sample, got \(\)"),
        (["a", "b", "c", "d"], "sample_weight must hold numbers"),
    ],
)
def test_sample_weights(weights, message):
    with pytest.raises(DataError, match=message):
        fit(sample_weight=weights)


def test_weights_all_zero_for_one_network_of_a_stack():
    with pytest.raises(DataError, match="not all 0"):
        fit(X=np.ones((2, 4, 2)), targets=D, theta=np.zeros((2, 13)), sample_weight=[[1, 1, 1, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize("validation", [(X, D, D), (X,), X, [], "held out", (None, D), (X, None)])
def test_validation_is_a_pair(validation):
    with pytest.raises(DataError, match="validation"):
        fit(validation_data=validation)


def test_validation_that_does_not_fit():
    with pytest.raises(DataError, match=r"validation X must be \(samples, 2\)"):
        fit(validation_data=(np.ones((4, 3)), D))
    with pytest.raises(DataError, match=r"validation targets must be \(4, 1\)"):
        fit(validation_data=(X, np.zeros(4)))


# --- options ---


@pytest.mark.parametrize("epochs", [0, -1, 1.5, "10", None, np.nan])
def test_epochs(epochs):
    with pytest.raises(DataError, match=f"epochs must be a whole number.*got {epochs!r}"):
        fit(epochs=epochs, callbacks=[lambda progress: progress.epoch > 9])


@pytest.mark.parametrize("batch_size", [0, -3, 1.5, "whole", None])
def test_batch_size(batch_size):
    message = f"batch_size must be a positive whole number, 'auto' or 'full', got {batch_size!r}"
    with pytest.raises(DataError, match=message):
        fit(batch_size=batch_size)


@pytest.mark.parametrize("patience", [0, -1, 0.5, 2.5, "3"])
def test_patience(patience):
    with pytest.raises(DataError, match=f"patience must be a whole number.*got {patience!r}"):
        fit(patience=patience)


@pytest.mark.parametrize("dtype", ["float16", "double", "int64", "", np.float16])
def test_dtype(dtype):
    with pytest.raises(DataError, match="dtype must be one of float32, float64 on cpu, got"):
        fit(dtype=dtype)
    with pytest.raises(DataError, match="dtype must be one of float32, float64 on cpu, got"):
        predict(NETWORK, THETA, X, device="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), "float32"])
def test_dtype_may_be_numpys(dtype):
    assert fit(dtype=dtype).theta.dtype == np.float32


@pytest.mark.parametrize("l2", [np.float64(0.1), np.float32(0.1)])
def test_a_numpy_number_does_not_change_the_precision(l2):
    assert fit(X=X.astype("float32"), l2=l2).theta.dtype == np.float32


def test_labels_are_not_targets():
    with pytest.raises(DataError, match=r"gpubp\.one_hot makes rows of class labels"):
        fit(targets=np.asarray(["yes", "no", "yes", "no"]))


def test_a_fit_is_not_a_theta():
    with pytest.raises(DataError, match=r"got a Fit; pass its \.theta"):
        predict(NETWORK, fit(), X, device="cpu")


def test_scale():
    with pytest.raises(DataError, match="scale must be a finite"):
        initial_weights(NETWORK, scheme="uniform", scale=math.inf)


@pytest.mark.parametrize("tolerance", ["x", math.nan, -1.0])
def test_tolerance(tolerance):
    with pytest.raises(DataError, match="tolerance must be a finite number of at least 0"):
        fit(tolerance=tolerance)


def test_callbacks():
    with pytest.raises(DataError, match="callbacks must be functions"):
        fit(callbacks=[3])


def test_dtype_that_the_device_lacks():
    with pytest.raises(DataError, match="dtype must be one of float32 on array_api_strict:no_float64, got 'float64'"):
        fit(device="array_api_strict:no_float64", dtype="float64")


def test_device():
    with pytest.raises(DeviceError, match=r"unknown device 'gpu' \(did you mean 'cuda'\?\)"):
        fit(device="gpu")


@pytest.mark.parametrize("seed", [-1, 1.5, "abc", [], [0, -1], [0, "b"], object()])
def test_seed(seed):
    with pytest.raises(DataError, match="seed"):
        fit(seed=seed, batch_size=2)
    with pytest.raises(DataError, match="seed"):
        initial_weights(NETWORK, seed)


@pytest.mark.parametrize("optimizer", ["adam", gradient_descent, 0.1])
def test_optimizer(optimizer):
    with pytest.raises(DataError, match="optimizer"):
        fit(optimizer=optimizer)


@pytest.mark.parametrize("l2", [-0.1, np.nan, np.inf, "0.1"])
def test_l2(l2):
    with pytest.raises(DataError, match="l2"):
        fit(l2=l2)


@pytest.mark.parametrize("wrong", [np.ones((2, 1)), np.ones(3), [0.1, 0.2, 0.3]])
def test_settings_of_networks_are_a_column(wrong):
    """Three networks of three parameters, so that a row of three could be mistaken for one number per parameter."""
    with pytest.raises(DataError, match="learning_rate"):
        fit(Network((2, 1)), theta=np.zeros((3, 3)), optimizer=momentum(wrong))


def test_setting_for_each_network_needs_a_stack():
    with pytest.raises(DataError, match="learning_rate"):
        fit(theta=THETA, optimizer=gradient_descent(np.ones((3, 1))))


@pytest.mark.parametrize("optimizer", [lbfgs(), levenberg_marquardt()])
def test_methods_of_second_order_take_full_batches_and_one_network(optimizer):
    with pytest.raises(
        DataError, match=rf"{optimizer.name} works on the full batch: leave batch_size out, or make it 'full'"
    ):
        fit(optimizer=optimizer, batch_size=2)
    with pytest.raises(DataError, match=rf"{optimizer.name} trains one network, got a stack of 2"):
        fit(optimizer=optimizer, seed=[0, 1])


def test_levenberg_marquardt_is_for_the_squared_error():
    with pytest.raises(DataError, match="levenberg_marquardt needs the loss 'squared', got 'huber'; use lbfgs"):
        fit(Network((2, 3, 1), loss="huber"), optimizer=levenberg_marquardt())


def test_a_stack_stops_by_patience_or_each_network_by_stop_when():
    scored = {"validation_data": (X, D), "scoring": lambda targets, outputs: 0.0}
    for options in ({"patience": 3}, scored):
        with pytest.raises(DataError, match="in a stack, stop_when ends the training of each network, and patience"):
            fit(seed=[0, 1], stop_when=lambda targets, outputs: np.array([False, False]), **options)


def test_score_is_taken_on_validation_samples():
    with pytest.raises(DataError, match=r"scoring needs validation samples"):
        fit(scoring=lambda targets, y: 0.0)


def test_all_errors_have_one_base_class():
    assert issubclass(DataError, GpubpError)
    assert issubclass(DataError, ValueError)
    assert issubclass(DeviceError, GpubpError)
    assert issubclass(DeviceError, RuntimeError)
