"""Rows are held out by group or in time, and the final network is trained on all of them."""

import numpy as np
import pandas as pd
import pytest

from gpubp.errors import DataError
from gpubp.tabular import fit_table, predict_table, prepare_table
from gpubp.tabular.held_out import split_groups
from tests.interrupts import interrupt_epoch

CPU = {"device": "cpu"}
N = 300


def visits():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"patient": [f"p{k}" for k in np.sort(random.integers(0, 60, N))]})
    frame["day"] = pd.to_datetime("2020-01-01") + random.permutation(N) * pd.Timedelta(days=1)
    frame["dose"] = random.normal(size=N)
    frame["well"] = np.where(frame["dose"] + random.normal(size=N) > 0, "yes", "no")
    return frame


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_parts(seed):
    frame = visits()
    frame.loc[[3, 7], "patient"] = None  # each a group of its own
    prepared = prepare_table(frame, target="well", group="patient", seed=seed)
    parts = [set(frame["patient"].iloc[rows].dropna()) for rows in prepared.parts.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == frame["patient"].nunique()
    assert 0.1 < prepared.rows["test"] / N <= 0.2
    assert "patient" not in [column.name for column in prepared.preprocessing.columns]


def test_the_latest_rows_are_held_out():
    prepared = prepare_table(visits(), target="well", time="day")
    days = [visits()["day"].iloc[rows] for rows in prepared.parts.values()]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()
    assert [len(part) for part in days] == pytest.approx([210, 30, 60], abs=2)


def test_rows_of_one_time_stay_together():
    frame = visits().assign(day=np.arange(N) // 100)
    prepared = prepare_table(frame, target="well", time="day", test_fraction=0.2, validation_fraction=0.1)
    days = [set(frame["day"].iloc[rows]) for rows in prepared.parts.values()]
    assert sum(map(len, days)) == len(set.union(*days))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "patients"}, r"no column 'patients' \(did you mean 'patient'"),
        ({"group": "patient", "time": "day"}, "choose one"),
        ({"group": "well2"}, "at least 3"),
        ({"group": "well"}, "group 'well' is the target; name a column"),
        ({"time": "well"}, "time 'well' is the target, which new rows do not have"),
        (
            {"group": "well", "time": "wel", "drop": ["well", "dos"], "types": {"pat": "number"}},
            r"no column 'pat', 'dos' \(did you mean 'dose'\?\), 'wel' .*; the target 'well' is also listed"
            ".*; group 'well' is the target; .*; group and time are two",
        ),
        ({"time": "patient"}, "dates or numbers"),
        ({"time": "late"}, "row 2"),
    ],
)
def test_what_cannot_be_held_out_is_refused(options, message):
    frame = visits().assign(well2=np.arange(N) % 2, late=[0.5, None] * (N // 2))
    with pytest.raises(DataError, match=message):
        prepare_table(frame, target="well", **options)


def test_the_model_is_trained_on_all_rows_for_the_epochs_of_the_best():
    prepared = prepare_table(visits(), target="well")
    result, scored = (fit_table(prepared, epochs=20, refit=refit, **CPU) for refit in (True, False))
    assert result.scores == scored.scores
    assert scored.refit is None
    assert len(result.refit.history.loss) == scored.fit.best_epoch
    inputs_before = scored.model.network.sizes[0]
    assert inputs_before != result.model.network.sizes[0]  # bins of fewer rows
    expected = {"rows": N, "epochs": scored.fit.best_epoch, "inputs_before": inputs_before}
    assert result.model.about["refit"] == expected
    assert not np.array_equal(result.model.theta, scored.model.theta)
    dose = result.model.preprocessing["columns"][2]
    assert (dose["name"], dose["mean"]) == ("dose", pytest.approx(visits()["dose"].mean()))
    again = fit_table(prepared.on_all_rows(), epochs=scored.fit.best_epoch, refit=False, batch_size=32, **CPU)
    np.testing.assert_array_equal(again.model.theta, result.model.theta)
    assert len(predict_table(result.model, visits(), **CPU)["well"]) == N


def test_a_training_without_held_out_rows_is_not_repeated():
    prepared = prepare_table(visits(), target="well", test_fraction=0.0, validation_fraction=0.0)
    assert fit_table(prepared, epochs=2, **CPU).refit is None


def test_an_interrupted_training_is_not_repeated():
    result = fit_table(prepare_table(visits(), target="well"), epochs=5, callbacks=[interrupt_epoch(2)], **CPU)
    assert (result.fit.stop_reason, result.refit) == ("interrupted", None)
    result = fit_table(prepare_table(visits(), target="well"), epochs=5, refit_callbacks=[interrupt_epoch(2)], **CPU)
    assert result.refit is None  # the first network is complete, and stays
    np.testing.assert_array_equal(result.model.theta, result.fit.theta)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (20, 20, 20, 20), (2, 3, 295), (295, 3, 2), (100, 1, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_each_part_has_a_group(sizes, seed):
    groups = np.repeat([f"g{k}" for k in range(len(sizes))], sizes)
    parts = split_groups(np.unique(groups, return_inverse=True)[1], 0.1, 0.2, seed)
    assert all(len(part) for part in parts)
    assert sum(map(len, parts)) == len(groups)
    assert not any(len(part) for part in split_groups(np.arange(5), 0.0, 0.0, seed)[1:])


def test_a_text_is_one_name():
    frame = visits()
    prepared = prepare_table(frame, target="well", drop="dose", group="patient", missing="no dose")
    assert [column.name for column in prepared.preprocessing.columns] == ["day"]
    assert prepared.preprocessing.missing == ("no dose",)
    with pytest.raises(DataError, match="targets must be named, each once, got 5"):
        prepare_table(frame, target=5)
