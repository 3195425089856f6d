"""Schedules of optimizer settings."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import MLPRegressor
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError
from gpubp.nn.network import Network
from gpubp.optim.first_order import adamw
from gpubp.optim.schedules import (
    SCHEDULES,
    Cosine,
    CosineCycles,
    FlatCosine,
    InverseScaling,
    PiecewiseConstant,
    WarmUp,
    is_fixed,
    value_at,
)
from gpubp.training.fit import train

EPOCHS = st.floats(0, 1e6)


def test_values_hold_up_to_the_next_start():
    rate = PiecewiseConstant({20: 0.01, 0: 0.005, 50.5: 0.02})  # in any order
    assert [rate(epoch) for epoch in (0, 10.5, 19.999, 20, 50.4, 50.5, 1e9)] == [
        *(0.005, 0.005, 0.005, 0.01, 0.01, 0.02, 0.02)
    ]


def test_the_first_value_holds_before_its_start():
    assert PiecewiseConstant({10: 0.5, 20: 0.1})(3) == 0.5


@given(EPOCHS, st.floats(0.1, 2.0))
def test_inverse_scaling(epoch, power):
    assert math.isclose(InverseScaling(0.3, power)(epoch), 0.3 / (1 + epoch) ** power)


def test_inverse_scaling_is_a_square_root_by_default():
    assert InverseScaling(0.1)(99) == pytest.approx(0.01)


def test_cosine_starts_halves_and_ends():
    rate = Cosine(0.5, epochs=40, end=0.1)
    np.testing.assert_allclose(
        [rate(epoch) for epoch in (0, 10, 20, 30, 40, 41, 1e6)],
        [0.5, 0.3 + 0.2 * math.sqrt(0.5), 0.3, 0.3 - 0.2 * math.sqrt(0.5), 0.1, 0.1, 0.1],
    )


@given(EPOCHS, EPOCHS)
def test_cosine_never_rises(one, other):
    rate = Cosine(1.0, epochs=1000)
    early, late = sorted((one, other))
    assert 0.0 <= rate(late) <= rate(early) <= 1.0


def test_flat_cosine_is_constant_and_then_a_half_cosine():
    """flat_cos(t) = (1 + cos(pi (max(1, 2 t) - 1))) / 2 of Holzmüller et al. (2024), appendix A."""
    epochs = np.linspace(0.0, 40.0, 81)
    expected = 0.3 * 0.5 * (1 + np.cos(np.pi * (np.maximum(1.0, 2.0 * epochs / 40) - 1.0)))
    np.testing.assert_allclose([FlatCosine(0.3, 40)(epoch) for epoch in epochs], expected, atol=1e-16)
    later = FlatCosine(1.0, 40, flat=0.75)
    np.testing.assert_allclose([later(epoch) for epoch in (30, 35, 40, 1e6)], [1.0, 0.5, 0.0, 0.0], atol=1e-16)


def test_flat_cosine_is_constant_at_most_throughout_all_epochs():
    assert [FlatCosine(0.3, 40, flat=1.0)(epoch) for epoch in (0, 20, 39.9, 40)] == [0.3, 0.3, 0.3, 0.0]
    assert [FlatCosine(0.3, 40, flat=0.0)(epoch) for epoch in (0, 10, 20, 40)] == [
        Cosine(0.3, 40)(epoch) for epoch in (0, 10, 20, 40)
    ]


NO_NUMBERS = (
    -1.0,
    math.nan,
    math.inf,
    -math.inf,
    True,
    np.True_,
    "0.1",
    b"1",
    None,
    1j,
    10**400,
    np.ones((2, 1)),
    [0.1],
)
NUMBERS = {
    "InverseScaling.start": InverseScaling,
    "InverseScaling.power": lambda number: InverseScaling(0.1, number),
    "Cosine.start": lambda number: Cosine(number, 10),
    "Cosine.epochs": lambda number: Cosine(0.1, number),
    "Cosine.end": lambda number: Cosine(0.1, 10, number),
    "FlatCosine.start": lambda number: FlatCosine(number, 10),
    "FlatCosine.epochs": lambda number: FlatCosine(0.1, number),
    "CosineCycles.peak": lambda number: CosineCycles(number, 10),
    "CosineCycles.epochs": lambda number: CosineCycles(0.1, number),
    "WarmUp.then": lambda number: WarmUp(5, number),
    "PiecewiseConstant.values": lambda number: PiecewiseConstant({0: 0.1, 5: number}),
}


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_schedules_are_checked(number, value):
    allowed = "above 0" if number.endswith("epochs") else "0 or more"
    with pytest.raises(DataError, match=rf"{number.partition('.')[0]} must be a number, {allowed}, got "):
        NUMBERS[number](value)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_of_schedules_may_be_of_any_type_and_0_except_for_epochs(number):
    zeros = () if number.endswith("epochs") else (0, 0.0)
    for value in (*zeros, np.int64(2), np.float32(0.5), np.asarray(0.25)):
        assert 0.0 <= NUMBERS[number](value)(3.0) <= 3.0


@pytest.mark.parametrize(
    "start",
    [value for value in NO_NUMBERS if not isinstance(value, np.ndarray | list)],
    ids=lambda value: repr(value)[:20],
)
def test_epochs_of_piecewise_constant_are_checked(start):
    with pytest.raises(DataError, match=r"an epoch of PiecewiseConstant must be a number, 0 or more, got "):
        PiecewiseConstant({start: 0.1})


@pytest.mark.parametrize("values", [{}, [], None, 0.1, [0.1, 0.2], "0.1", np.ones(2)])
def test_values_of_piecewise_constant_are_a_dict(values):
    with pytest.raises(DataError, match=r"a dict with at least one epoch and its value, such as .*; got"):
        PiecewiseConstant(values)


@pytest.mark.parametrize("cycles", [0, -1, 1.5, 51, math.nan, True, "4", None, np.ones(1)])
def test_cosine_cycles_are_counted(cycles):
    with pytest.raises(DataError, match=r"cycles of CosineCycles must be a number, a whole number, between 1 and 50"):
        CosineCycles(0.1, 10, cycles)


def test_the_class_of_a_schedule_is_no_schedule():
    for make in (lambda: WarmUp(5, Cosine), lambda: adamw(Cosine), lambda: adamw(0.1, weight_decay=WarmUp)):
        with pytest.raises(
            DataError, match=r"must be a number or a schedule, such as Cosine\(0.1, epochs=50\); got the"
        ):
            make()


WRONG_SCHEDULES = {
    "negative": (lambda epoch: -0.1, "the values of weight_decay must be 0 or more, got -0.1"),
    "nan": (lambda epoch: math.nan, "the values of weight_decay must be 0 or more, got nan"),
    "text": (lambda epoch: "0.1", "the values of weight_decay must be 0 or more, got '0.1'"),
    "nothing": (lambda epoch: None, "the values of weight_decay must be 0 or more, got None"),
    "two arguments": (lambda epoch, n: 0.1, "a function of the number of epochs done; .* fails for 0.0: TypeError"),
    "array": (np.asarray([[0.1], [-0.1]]), "the values of weight_decay must be 0 or more, got -0.1"),
    "array of text": (np.asarray([["a"], ["b"]]), "the values of weight_decay must be 0 or more, got 'a'"),
    "of each network": (lambda epoch: np.asarray([[0.1], [math.inf]]), "of weight_decay must be 0 or more, got inf"),
}


@pytest.mark.parametrize("schedule", WRONG_SCHEDULES)
def test_what_a_schedule_returns_is_checked_before_training(schedule):
    setting, message = WRONG_SCHEDULES[schedule]
    network, theta = Network((1, 1)), np.zeros((2, 2))
    with pytest.raises(DataError, match=message):
        train(network, [[1.0]], [[0.5]], theta=theta, optimizer=adamw(weight_decay=setting), epochs=1)


@pytest.mark.parametrize("schedule", [lambda epoch: -0.1, lambda epoch: None, lambda: 0.1, Cosine])
def test_a_schedule_of_an_estimator_is_checked_before_training(schedule):
    with pytest.raises(DataError, match=r"learning_rate must be (0 or more|a number)"):
        MLPRegressor(learning_rate=schedule).fit([[0.0], [1.0]], [0.0, 1.0])


@pytest.mark.parametrize("flat", [1.5, -1, math.nan, "half", None, Cosine(0.1, 5)])
def test_the_constant_part_of_flat_cosine_is_a_fraction(flat):
    with pytest.raises(DataError, match=r"flat is the fraction .* between 0 and 1; got"):
        FlatCosine(0.1, 10, flat)


@pytest.mark.parametrize("epochs", [Cosine(0.1, 5), lambda epoch: 0.1, -1, math.nan, None, "3"])
def test_the_epochs_of_a_warm_up_are_a_number(epochs):
    with pytest.raises(
        DataError, match=r"epochs of WarmUp must be a number, 0 or more, got .*: WarmUp\(5, then=Cosine"
    ):
        WarmUp(epochs, 3)
    assert WarmUp(np.float32(2), 3)(1) == 1.5


def test_cosine_cycles_follow_their_formula():
    """coslog4(t) = (1 - cos(2 pi log2(1 + 15 t))) / 2."""
    t = np.linspace(0.0, 1.0, 97)
    expected = 0.04 * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))
    np.testing.assert_allclose([CosineCycles(0.04, 256)(epoch) for epoch in 256 * t], expected, atol=1e-15)
    assert CosineCycles(0.04, 256)(300) == CosineCycles(0.04, 256)(256)


@pytest.mark.parametrize("cycles", [1, 3, 4])
def test_each_cosine_cycle_is_twice_as_long(cycles):
    rate = CosineCycles(1.0, epochs=2**cycles - 1, cycles=cycles)
    ends = [2.0**k - 1 for k in range(cycles + 1)]
    np.testing.assert_allclose([rate(end) for end in ends], 0.0, atol=1e-12)
    np.testing.assert_allclose([rate(2.0 ** (k + 0.5) - 1) for k in range(cycles)], 1.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_over_all_epochs_end_at_0_and_stay_in_range(name):
    rate = SCHEDULES[name](0.1, 7)
    values = [rate(epoch) for epoch in np.linspace(0, 7, 50)]
    assert 0.0 <= min(values) <= max(values) <= 0.1
    assert max(values) > 0.099
    assert rate(7) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(DataError, match=r"epochs of .* must be a number, above 0, got 0"):
        SCHEDULES[name](0.1, 0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_train_on_each_device(device, name):
    """Rate and weight decay on schedules: every device takes the steps that a loop in NumPy takes."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(6, 2)).astype("float32")
    targets = generator.normal(size=(6, 1)).astype("float32")
    network, theta = Network((2, 1), output_activation="identity"), np.asarray([0.5, -0.3, 0.1])
    rate, decay = SCHEDULES[name](0.3, 5), SCHEDULES[name](0.2, 5)
    options = {"batch_size": 3, "shuffle": False, "epochs": 5, "device": device, "dtype": "float32"}
    fit = train(network, X, targets, theta=theta, optimizer=adamw(rate, weight_decay=decay), **options)

    first, second, with_bias = np.zeros(3), np.zeros(3), np.c_[X, np.ones(6)]
    for step in range(10):
        rows = slice(3 * (step % 2), 3 * (step % 2) + 3)
        g = with_bias[rows].T @ (with_bias[rows] @ theta - targets[rows, 0]) / 3
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        m, v = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        theta = theta - rate(step / 2) * (m / (np.sqrt(v) + 1e-8) + decay(step / 2) * theta)
    np.testing.assert_allclose(to_numpy(fit.theta), theta, rtol=1e-4, atol=1e-5)


def test_warm_up_to_a_number():
    np.testing.assert_allclose([WarmUp(4, then=0.2)(epoch) for epoch in (0, 1, 2.5, 4, 5)], [0, 0.05, 0.125, 0.2, 0.2])


def test_warm_up_to_a_schedule_counts_from_the_start():
    rate = WarmUp(10, then=Cosine(1.0, epochs=20))
    assert rate(0) == 0.0
    assert rate(5) == pytest.approx(0.5 * Cosine(1.0, epochs=20)(5))
    assert rate(15) == Cosine(1.0, epochs=20)(15)


@pytest.mark.parametrize(
    "schedule",
    [
        *(PiecewiseConstant({0: 1.0}), InverseScaling(0.1), Cosine(1.0, 5), WarmUp(2, Cosine(1.0, 5))),
        *(FlatCosine(1.0, 5, 0.3), CosineCycles(1.0, 5), WarmUp(2, CosineCycles(1.0, 5))),
    ],
)
def test_schedules_are_plain_values(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)
    assert eval(repr(schedule)) == schedule
    assert isinstance(schedule(1.5), float)
    assert is_fixed(schedule)


def test_value_of_a_number_is_a_python_float():
    assert [type(value_at(setting, 0)) for setting in (1, np.float32(0.1), np.asarray(0.5), 0.1)] == [float] * 4


def test_value_of_any_function():
    assert value_at(lambda epoch: np.float64(epoch / 2), 3) == 1.5
    assert type(value_at(lambda epoch: np.float64(epoch / 2), 3)) is float


def test_value_of_an_array_is_the_array():
    column = np.ones((3, 1))
    assert value_at(column, 5) is column


def test_a_warm_up_of_no_epochs_is_none():
    assert WarmUp(0, then=0.1)(0) == 0.1
    assert WarmUp(0.5, then=0.1)(0.25) == 0.05


def test_a_flat_cosine_may_be_constant():
    assert [FlatCosine(0.2, 4, flat=1.0)(epoch) for epoch in (0, 3.9, 4, 5)] == [0.2, 0.2, 0.0, 0.0]
