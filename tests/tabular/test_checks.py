"""Signs that held-out scores flatter are found, and nothing is said of tables without them."""

import numpy as np
import pandas as pd
import pytest

from gpubp.tabular import prepare_table
from gpubp.tabular.checks import _repeated_rows, few_rows, suspicions
from tests.traced_memory import peak_of

N = 400


def noise(seed=0):
    """Return a table in which nothing is suspicious."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(N, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x @ [1.0, 2.0] + random.normal(size=N)})


def classes():
    return noise().assign(y=lambda frame: np.where(frame["y"] > 0, "p", "q"))


def found(frame, **options):
    return suspicions(prepare_table(frame, target="y", **options))


@pytest.mark.parametrize("frame", [noise, classes])
def test_nothing_is_said_of_an_honest_table(frame):
    assert found(frame()) == []


@pytest.mark.parametrize("leak", [lambda y: y, lambda y: 7 - 3 * y], ids=["equal", "a line"])
def test_a_column_that_gives_a_number_away_is_named(leak):
    [sentence] = found(noise().assign(c=lambda frame: leak(frame["y"])))
    assert sentence.startswith("column 'c' predicts the target alone (R² ")


def test_a_column_that_gives_a_class_away_is_named():
    [sentence] = found(classes().assign(code=lambda frame: frame["y"].map({"p": "on time", "q": "late"})))
    assert sentence.startswith("column 'code' predicts the target alone (accuracy 1.0000 ")


def test_a_target_that_is_a_sum_of_columns_is_noticed():
    """As bikers are casual and registered ones."""
    [sentence] = found(noise().assign(y=lambda frame: frame["a"] + frame["b"]))
    assert "weighted sum of the columns" in sentence


def test_rows_that_occur_twice_are_counted():
    frame = classes()
    [sentence] = found(pd.concat([frame, frame[:100]], ignore_index=True))
    assert "test rows are equal to training rows" in sentence


def test_rows_are_compared_without_a_copy_of_the_table():
    random = np.random.default_rng(0)
    columns = {name: random.integers(0, 90, 20_000) for name in "abc"}
    prepared = prepare_table(columns | {"y": random.normal(size=20_000)}, target="y", categorical=["a", "b", "c"])
    assert peak_of(lambda: _repeated_rows(prepared)) < prepared.X.nbytes / 2


def test_groups_and_an_order_in_time_are_suggested_unless_they_are_used():
    frame = classes().assign(patient_id=np.arange(N) // 4, day=pd.date_range("2020-01-01", periods=N))
    groups, order = found(frame)
    assert "group='patient_id' (--group)" in groups
    assert "time='day' (--time)" in order
    assert found(frame, group="patient_id") == []
    assert found(frame, time="day") == []


def test_rows_sorted_by_the_target_are_noticed():
    [sentence] = found(classes().sort_values("y"))
    assert "sorted by the target" in sentence


@pytest.mark.parametrize(("n_classes", "n_rows"), [(2, N), (60, 240), (200, 240)])
def test_shuffled_rows_of_many_classes_are_not_sorted(n_classes, n_rows):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=n_rows), "y": np.arange(n_rows) % n_classes}).astype({"y": str})
    for order, is_sorted in (
        (frame, False),
        (frame.sample(frac=1.0, random_state=0), False),
        (frame.sort_values("y"), True),
    ):
        prepared = prepare_table(order.reset_index(drop=True), target="y", task="classification")
        sentences = [sentence for sentence in suspicions(prepared) if "sorted by the target" in sentence]
        assert bool(sentences) == (is_sorted and n_classes < n_rows / 2)  # else each class has a row or two


def test_rows_of_a_rare_class_at_the_end_are_no_order():
    assert found(classes().assign(y=["p"] * (N - 1) + ["q"])) == []


def test_few_rows_are_not_judged():
    assert found(noise()[:40].assign(c=lambda frame: frame["y"])) == []


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(2, "2 rows with a target, of which none are"), (9, "of which 2 are"), (10, "")]
)
def test_too_few_rows_are_named(n_rows, expected):
    frame = noise()[:n_rows]
    text = few_rows(prepare_table(frame, target="y"))
    assert expected in text
    assert bool(text) == bool(expected)
