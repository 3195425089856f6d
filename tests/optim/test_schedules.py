"""Schedules of optimizer settings."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.optim.schedules import Cosine, InverseScaling, PiecewiseConstant, WarmUp, value_at

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


def test_warm_up_to_a_number():
    np.testing.assert_allclose([WarmUp(4, then=0.2)(epoch) for epoch in (0, 1, 2.5, 4, 5)], [0, 0.05, 0.125, 0.2, 0.2])


def test_warm_up_to_a_schedule_counts_from_the_start():
    rate = WarmUp(10, then=Cosine(1.0, epochs=20))
    assert rate(0) == 0.0
    assert rate(5) == pytest.approx(0.5 * Cosine(1.0, epochs=20)(5))
    assert rate(15) == Cosine(1.0, epochs=20)(15)


@pytest.mark.parametrize(
    "schedule", [PiecewiseConstant({0: 1.0}), InverseScaling(0.1), Cosine(1.0, 5), WarmUp(2, Cosine(1.0, 5))]
)
def test_schedules_are_plain_values(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)
    assert eval(repr(schedule)) == schedule
    assert isinstance(schedule(1.5), float)


def test_value_of_a_number_is_a_python_float():
    assert [type(value_at(setting, 0)) for setting in (1, np.float32(0.1), np.asarray(0.5), 0.1)] == [float] * 4


def test_value_of_any_function():
    assert value_at(lambda epoch: np.float64(epoch / 2), 3) == 1.5
    assert type(value_at(lambda epoch: np.float64(epoch / 2), 3)) is float


def test_value_of_an_array_is_the_array():
    column = np.ones((3, 1))
    assert value_at(column, 5) is column


@pytest.mark.parametrize("schedule", [lambda: WarmUp(0, then=0.1)(0), lambda: Cosine(0.1, epochs=0)(0)])
def test_zero_epochs_do_not_divide_by_zero(schedule):
    assert 0.0 <= schedule() <= 0.1
