"""Tables larger than memory: results equal those in memory, or differ as documented."""

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gpubp import DataError, TableWarning, load_model
from gpubp.data import _limits, _running_statistics, fit_preprocessing, table_from_mapping
from gpubp.data._running_statistics import RunningMoments
from gpubp.data.metrics import RunningScores, score
from gpubp.data.preprocessing import (
    CategoryColumn,
    ClassTarget,
    ColumnOptions,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    WordsColumn,
    decide_table,
    fit_columns,
)
from gpubp.data.streaming import _text_tables, prepared_stream, table_files
from gpubp.data.streaming.prepared_stream import prepare_stream
from gpubp.data.streaming.split import assign_splits
from gpubp.tabular import fit_table, predict_table, prepare_table

ROWS = 600


@pytest.fixture(autouse=True)
def small_pieces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 2000)
    monkeypatch.setattr("gpubp.data.streaming.table_source.PIECE_BYTES", 64 * 8)


def shop(n=ROWS, seed=0):
    """Return columns of each kind, and classes that depend on two of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": random.integers(18, 80, n), "income": random.normal(30.0, 10.0, n)})
    frame["town"] = random.choice(["Bonn", "Köln", "Ulm"], n)
    frame["member"] = random.choice([True, False], n)
    frame["fee"] = 3.5
    frame["buys"] = np.where(frame["income"] + 20.0 * (frame["town"] == "Bonn") > 35.0, "yes", "no")
    return frame


def with_gaps():
    frame = shop()
    frame.loc[5:90:3, "income"] = np.nan
    frame.loc[100:, "age"] = np.where(np.arange(ROWS - 100) % 7 == 0, np.nan, frame["age"][100:])
    frame["town"] = np.where(np.arange(ROWS) % 11 == 0, None, frame["town"])
    return frame


def write(frame, name, n_files=1):
    """Write a frame as a file, or as a folder of files."""

    path = Path(name)
    parts = [(path, frame)]
    if n_files > 1:
        path.mkdir()
        suffix = name.rpartition("_")[2]
        size = -(-len(frame) // n_files)
        parts = [(path / f"{k}.{suffix}", frame[k * size : (k + 1) * size]) for k in range(n_files)]
    for file, part in parts:
        if file.suffix == ".parquet":
            part.to_parquet(file, row_group_size=64, index=False)
        else:
            part.to_csv(file, index=False)
    return name


def in_pieces(frame, training=None, size=37):
    table = table_from_mapping(frame)
    marks = np.ones(len(frame), bool) if training is None else training
    for start in range(0, len(frame), size):
        rows = np.arange(start, min(start + size, len(frame)))
        yield table_from_mapping(frame.iloc[rows].reset_index(drop=True)), marks[rows]
    assert table.n_rows == len(frame)


def fit_in_pieces(frame, training=None, **options):
    """Decide and fit in two passes over pieces of a frame."""
    decisions = decide_table((table for table, _ in in_pieces(frame)), ColumnOptions(**options))
    pieces = ((table, marks & decisions.target.present(table)) for table, marks in in_pieces(frame, training))
    return fit_columns(decisions, pieces)


@pytest.mark.parametrize("sizes", [(1e200, -1e200), (1.0, 1e300), (1e308, -1e308)])
def test_numbers_too_large_to_standardise_are_left_out_in_pieces_too(sizes):
    frame = pd.DataFrame({"a": np.repeat(sizes, 20), "b": np.arange(40) % 3, "y": [0.5, 1.5] * 20})
    for fitted in (fit_preprocessing(table_from_mapping(frame)), fit_in_pieces(frame).preprocessing):
        assert fitted.feature_names == ("b",)
        assert "column 'a' holds numbers too large to standardise" in fitted.summaries[0].reason
        with pytest.raises(DataError, match="column 'a' holds numbers too large to standardise"):
            fit_in_pieces(frame, target="a", task="regression")


def assert_same(got, expected):
    """Check equality up to rounding of means, scales and bounds."""
    assert [type(column) for column in got.columns] == [type(column) for column in expected.columns]
    for a, b in zip(got.columns, expected.columns, strict=True):
        if isinstance(a, CategoryColumn | WordsColumn):
            assert a == b
        else:
            assert a == replace(b, mean=a.mean, scale=a.scale, bound=a.bound)
            np.testing.assert_allclose((a.mean, a.scale, a.bound), (b.mean, b.scale, b.bound), rtol=1e-12, atol=1e-12)
    if isinstance(got.target, NumberTarget):
        assert (got.target.names, got.target.lows, got.target.highs) == (
            *(expected.target.names, expected.target.lows, expected.target.highs),
        )
        for in_parts, at_once in (
            (got.target.means, expected.target.means),
            (got.target.scales, expected.target.scales),
        ):
            np.testing.assert_allclose(in_parts, at_once, rtol=1e-12)
    else:
        assert got.target == expected.target
    assert got.summaries == expected.summaries


class TestFittingInPieces:
    @pytest.mark.parametrize(
        ("frame", "options"),
        [
            (shop, {}),
            (shop, {"target": "income"}),
            (shop, {"target": ["income", "age"]}),
            (shop, {"target": "age", "task": "classification"}),
            (shop, {"target": "member"}),
            (shop, {"categorical": ["age"], "drop": ["income"]}),
            (with_gaps, {}),
            (with_gaps, {"missing": ["Ulm"], "max_categories": 1}),
            (with_gaps, {"types": {"town": "words", "age": "category"}}),
        ],
    )
    def test_gives_the_result_of_the_whole_table(self, frame, options):
        frame = frame()
        training = np.random.default_rng(1).random(ROWS) < 0.7
        expected = fit_preprocessing(table_from_mapping(frame), rows=np.flatnonzero(training), **options)
        result = fit_in_pieces(frame, training, **options)
        assert_same(result.preprocessing, expected)
        if "income" in result.ranges:
            assert result.ranges["income"] == (frame["income"].min(), frame["income"].max())

    @pytest.mark.parametrize(
        ("values", "is_classes"),
        [
            (np.arange(ROWS) % 20, True),
            (np.arange(ROWS) % 21, False),
            (np.arange(ROWS) % 3 / 2, False),
            (np.arange(ROWS) % 2 == 0, True),
        ],
    )
    def test_infers_the_same_task(self, values, is_classes):
        frame = shop().assign(buys=values)
        expected = fit_preprocessing(table_from_mapping(frame))
        assert isinstance(expected.target, ClassTarget) == is_classes
        assert_same(fit_in_pieces(frame).preprocessing, expected)

    def test_takes_the_median_of_a_sample_that_does_not_depend_on_the_pieces(self, monkeypatch):
        monkeypatch.setattr(_running_statistics, "SAMPLE_SIZE", 200)
        frame = with_gaps()
        fills = [
            result.columns[1].fill
            for result in (fit_in_pieces(frame).preprocessing, fit_preprocessing(table_from_mapping(frame)))
        ]
        assert fills[0] == fills[1] != frame["income"].median()
        assert abs(fills[0] - frame["income"].median()) < 3 * 1.25 * 10.0 / np.sqrt(200)  # of normal numbers

    @given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=5), min_size=1, max_size=6))
    def test_merges_moments(self, pieces):
        moments = RunningMoments()
        for piece in pieces:
            moments.add(np.asarray(piece))
        values = np.concatenate([np.asarray(piece, float) for piece in pieces])
        assert moments.n == len(values)
        if len(values):
            np.testing.assert_allclose(moments.mean, values.mean(), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(moments.squares, values.var() * len(values), rtol=1e-9, atol=1e-3)
            assert (moments.minimum, moments.maximum) == (values.min(), values.max())

    def test_of_numbers_far_from_zero(self):
        """Sums of squares would be lost to rounding here."""
        moments, values = RunningMoments(), 1e9 + np.random.default_rng(0).normal(size=3000)
        for piece in np.split(values, 30):
            moments.add(piece)
        np.testing.assert_allclose(moments.mean_and_scale("x"), (values.mean(), values.std()), rtol=1e-9)

    @pytest.mark.parametrize(
        ("changes", "options", "message"),
        [
            ({}, {"target": "buy"}, "has no column 'buy' .did you mean 'buys'"),
            ({}, {"drop": ["buys"], "target": "buys"}, "is also listed in drop"),
            ({"buys": ["yes"] * ROWS}, {}, "has only one class, 'yes'"),
            ({"buys": [None] * ROWS}, {}, "the target 'buys' has no values"),
            ({}, {"target": "town", "task": "regression"}, "the target 'town' is mostly not numbers"),
            ({}, {"target": ["age", "buys"], "task": "classification"}, "classification takes one target"),
            ({"income": [1e300, -1e300]}, {"target": "income"}, "holds numbers too large"),
            (
                {"income": [np.inf], "town": [None, None]},
                {"strict": True},
                "'income': 1 value of another kind.*'town': 2 missing",
            ),
            ({}, {"task": "both"}, "task must be"),
        ],
    )
    def test_refuses_what_the_whole_table_refuses(self, changes, options, message):
        frame = shop().astype(dict.fromkeys(changes, object))
        for name, values in changes.items():
            frame.loc[: len(values) - 1, name] = values
            frame[name] = frame[name].infer_objects()
        with pytest.raises(DataError, match=message):
            fit_in_pieces(frame, **options)
        with pytest.raises(DataError, match=message):
            fit_preprocessing(table_from_mapping(frame), **options)

    def test_of_a_column_that_is_text_late(self):
        frame = shop().astype({"age": object})
        frame.loc[500:, "age"] = "old"
        expected = fit_preprocessing(table_from_mapping(frame))
        column = fit_in_pieces(frame).preprocessing.columns[0]
        assert column == expected.columns[0]
        assert isinstance(column, CategoryColumn)
        assert "old" in column.categories

    def test_no_pieces_are_refused(self):
        with pytest.raises(DataError, match="without rows"):
            decide_table([], ColumnOptions())

    def test_pieces_without_rows_or_values_change_nothing(self):
        frame = shop()
        table, empty = table_from_mapping(frame), table_from_mapping(frame).select([])
        hollow = pd.DataFrame({name: [None] * 3 for name in frame.columns})
        pieces = [empty, table_from_mapping(hollow), table, empty, table_from_mapping(hollow)]
        decisions = decide_table(pieces, ColumnOptions("buys"))
        fitted = fit_columns(decisions, [(piece, decisions.target.present(piece)) for piece in pieces])
        assert fitted.preprocessing.columns == fit_preprocessing(table).columns
        assert [one.n_missing for one in fitted.preprocessing.summaries] == [0, 0, 0, 0, 0, 6]  # the target's alone


@pytest.mark.parametrize("dtype", ["str", "category"])
@pytest.mark.parametrize("name", ["cars.parquet", "cars_parquet"])
def test_text_of_parquet_files_is_what_it_is_in_a_frame(name, dtype):
    speeds = np.random.default_rng(0).permutation(np.repeat(np.arange(30), 4))
    frame = pd.DataFrame({"doors": np.arange(120) % 3, "speed": [f"{speed} mpg" for speed in speeds]})
    frame["doors"] = frame["doors"].astype("str").astype(dtype)
    frame["speed"] = frame["speed"].astype(dtype)
    write(frame, name, 3 if "_" in name else 1)
    expected = prepare_table(frame, target="speed").preprocessing
    assert isinstance(expected.target, ClassTarget if dtype == "category" else NumberTarget)
    assert isinstance(expected.columns[0], CategoryColumn if dtype == "category" else NumberColumn)
    for prepared in (prepare_table(name, target="speed"), prepare_stream(name, target="speed")):
        assert type(prepared.preprocessing.target) is type(expected.target)
        assert type(prepared.preprocessing.columns[0]) is type(expected.columns[0])


class TestRowsWithoutATarget:
    @pytest.mark.parametrize("target", ["income", "buys"])
    def test_are_left_out_with_a_count(self, path_of_gaps, target):
        frame, path = path_of_gaps
        prepared = prepare_stream(path, target=target)
        whole = prepare_table(path, target=target) if "_" not in path else None
        n_missing = int(frame[target].isna().sum())
        assert n_missing > 0
        for one in [prepared] + [whole] * (whole is not None):
            assert sum(one.rows.values()) == ROWS - n_missing
            assert one.preprocessing.summaries[-1].n_missing == n_missing
        stream, *_ = prepared.training()
        x, targets = (np.concatenate(parts) for parts in zip(*stream.blocks(64), strict=True))
        assert len(x) == len(targets) == prepared.rows["train"]
        assert np.isfinite(x).all()
        assert np.isfinite(targets).all()
        assert len(prepared.validation()[0]) == prepared.rows["validation"]
        counted = []
        prepared.scored(lambda x: counted.append(len(x)) or np.full((len(x), prepared.n_outputs), 0.5))
        assert sum(counted) == ROWS - n_missing


class TestSplits:
    def test_have_their_sizes(self):
        n, fractions = 200_000, (0.1, 0.2)
        counts = np.bincount(assign_splits(0, n, fractions, 0), minlength=3)
        for count, fraction in zip(counts, (0.7, *fractions), strict=True):
            assert abs(count - n * fraction) < 4 * np.sqrt(n * fraction * (1 - fraction))

    def test_of_adjacent_rows_are_independent(self):
        splits = assign_splits(0, 200_000, (0.1, 0.2), 3)
        for apart in (1, 2, 64, 1000):
            both = np.mean((splits[apart:] == 2) & (splits[:-apart] == 2))
            assert both == pytest.approx(0.04, abs=4 * np.sqrt(0.04 * 0.96 / len(splits)))

    def test_follow_from_number_and_seed_alone(self):
        whole = assign_splits(0, 5000, (0.1, 0.2), 7)
        np.testing.assert_array_equal(assign_splits(1234, 100, (0.1, 0.2), 7), whole[1234:1334])
        assert not np.array_equal(assign_splits(0, 5000, (0.1, 0.2), 8), whole)
        assert not assign_splits(0, 1000, (0.0, 0.0), 7).any()

    def test_held_out_rows_stay_held_out_when_rows_are_added(self):
        few, many = (assign_splits(0, 5000, (part, 0.2), 7) for part in (0.05, 0.1))
        assert set(np.flatnonzero(few == 1)) < set(np.flatnonzero(many == 1))


class TestRunningScores:
    @pytest.mark.parametrize("n_classes", [2, 4])
    def test_of_classes(self, n_classes):
        random = np.random.default_rng(0)
        targets = np.eye(n_classes)[random.integers(0, n_classes - (n_classes > 2), 500)]  # one class may never be true
        y = random.dirichlet(np.ones(n_classes), 500).astype("float32")
        y[:3] = np.eye(n_classes)[0]  # probabilities of 0
        target = ClassTarget("y", tuple("abcd"[:n_classes]))
        self.check(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target), targets, y)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_area_under_the_roc_curve_where_probabilities_tie(self, n_classes):
        random = np.random.default_rng(1)
        labels = random.integers(0, n_classes, 200)
        y = random.choice([0.1, 0.3, 0.8], (200, n_classes))
        target = ClassTarget("y", tuple("abc"[:n_classes]))
        running = RunningScores(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target))
        running.add(np.eye(n_classes)[labels], y)
        shares = y / y.sum(axis=1, keepdims=True)
        areas = [roc_auc_score(labels == k, shares[:, k]) for k in range(n_classes)]
        assert running.scores()["roc_auc"] == pytest.approx(np.mean(areas), rel=1e-12)

    def test_of_absent_classes(self):
        targets, y = np.eye(3)[[0, 0, 1]], np.eye(3)[[0, 1, 1]]
        self.check(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), ClassTarget("y", ("a", "b", "c"))), targets, y)

    @pytest.mark.parametrize("names", [("y",), ("y", "z")])
    def test_of_numbers(self, names):
        random = np.random.default_rng(0)
        targets = random.normal(size=(500, len(names)))
        y = targets + random.normal(size=targets.shape)
        parts = ((1000.0, -3.0), (5.0, 2.0), (0.0, -99.0), (2000.0, 99.0))
        target = NumberTarget(names, *(part[: len(names)] for part in parts))
        self.check(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), target), targets, y)

    def check(self, preprocessing, targets, y):
        running = RunningScores(preprocessing)
        for start in range(0, len(targets), 37):
            running.add(targets[start : start + 37], y[start : start + 37])
        expected = score(preprocessing, targets, y)
        assert list(running.scores()) == list(expected)
        assert running.scores() == pytest.approx(expected, rel=1e-9)

    def test_of_nothing_and_of_what_is_not_finite(self):
        running = RunningScores(Preprocessing((NumberColumn("x", 0.0, 1.0, 0.0),), ClassTarget("y", ("a", "b"))))
        assert running.scores() is None
        running.add(np.eye(2), np.full((2, 2), np.nan))
        running.add(np.eye(2), np.eye(2))
        assert running.scores() is None


@pytest.fixture(params=["gaps.parquet", "gaps.csv", "gaps_csv"])
def path_of_gaps(request):
    frame = with_gaps()
    frame["buys"] = np.where(np.arange(ROWS) % 9 == 4, None, frame["buys"])
    return frame, write(frame, request.param, 3 if "_" in request.param else 1)


@pytest.fixture(params=["shop.parquet", "shop.csv", "shop_parquet", "shop_csv"])
def path(request):
    return write(shop(), request.param, 3 if "_" in request.param else 1)


class TestTextAmongNumbers:
    """A column of a text file whose first rows hold numbers, and a later one text."""

    @pytest.mark.parametrize("n_texts", [1, 400])
    def test_is_missing_or_makes_all_values_text(self, n_texts):
        frame = shop().astype({"age": object})
        frame.loc[ROWS - n_texts :, "age"] = "old"
        path, options = write(frame, "late_csv", 3), {"test_fraction": 0, "validation_fraction": 0}
        words = f"'age': 1 of {ROWS} values is not"
        with pytest.warns(TableWarning, match=words) if n_texts == 1 else nullcontext():
            prepared = prepare_stream(path, target="buys", **options)
        column, summary = prepared.preprocessing.columns[0], prepared.preprocessing.summaries[0]
        if n_texts == 1:  # mostly numbers
            assert isinstance(column, NumberColumn)
            assert column.indicator
            assert (summary.type, summary.n_missing) == ("number", 1)
            assert "1 other value, 'old', is taken as missing" in summary.reason
            with pytest.raises(DataError, match="column 'age': 1 value of another kind, such as 'old'"):
                prepare_stream("late_csv", target="buys", strict=True)
        else:
            counts = frame["age"].astype(str).value_counts()
            assert set(column.known) == set(counts[counts > 1].index)
            assert column.other


class TestFits:
    def test_differ_from_those_in_memory_by_the_rows_held_out(self, path):
        prepared = prepare_stream(path, target="buys", seed=3, numbers="linear")
        assert sum(prepared.rows.values()) == ROWS
        splits = assign_splits(0, ROWS, (0.1, 0.2), 3)
        assert list(prepared.rows.values()) == np.bincount(splits, minlength=3).tolist()
        expected = fit_preprocessing(table_from_mapping(shop()), "buys", rows=np.flatnonzero(splits == 0))
        if "csv" not in path:
            assert_same(prepared.preprocessing, expected)
        else:  # in text, True and False are words
            assert [column.name for column in prepared.preprocessing.columns] == [c.name for c in expected.columns]
        stream, *nothing = prepared.training()
        assert nothing == [None, None]
        x, targets = (np.concatenate(parts) for parts in zip(*stream.blocks(64), strict=True))
        assert x.shape == (prepared.rows["train"], prepared.n_inputs)
        np.testing.assert_allclose(x[:, :2].mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(x[:, :2].std(axis=0), 1.0, rtol=1e-5)
        buys = shop()["buys"].to_numpy()
        np.testing.assert_array_equal(targets[:, 1] == 1.0, buys[splits == 0] == "yes")
        x, targets = prepared.validation()
        np.testing.assert_array_equal(targets[:, 1] == 1.0, buys[splits == 1] == "yes")

    def test_learn_as_well(self, path):
        how = {"hidden_layer_sizes": (10,), "epochs": 30, "device": "cpu", "batch_size": 32, "l2": 0.0, "refit": False}
        in_parts = fit_table(prepare_stream(path, target="buys"), **how)
        in_memory = fit_table(prepare_table(shop(), target="buys"), **how)
        assert in_parts.scores["test"]["accuracy"] > 0.9
        assert in_parts.scores["test"]["accuracy"] == pytest.approx(in_memory.scores["test"]["accuracy"], abs=0.07)
        assert set(in_parts.scores) == {"train", "validation", "test"}
        assert len(in_parts.fit.history.validation_score) == len(in_parts.fit.history.loss)
        predicted = predict_table(in_parts.model, path if path.endswith((".csv", ".parquet")) else shop(), device="cpu")
        splits = assign_splits(0, ROWS, (0.1, 0.2), 0)
        if path != "shop_csv":  # where a column of True and False is words in one and not in the other
            right = predicted["buys"] == shop()["buys"].to_numpy()
            assert in_parts.scores["test"]["accuracy"] == pytest.approx(np.mean(right[splits == 2]))
            assert in_parts.scores["train"]["accuracy"] == pytest.approx(np.mean(right[splits == 0]))

    def test_of_numbers_for_a_loss_that_needs_them_positive(self):
        frame = shop().assign(visits=np.random.default_rng(0).poisson(3.0, ROWS) * 1.0)
        write(frame, "visits.parquet")
        how = {"loss": "poisson", "epochs": 2, "device": "cpu"}
        target = fit_table(prepare_stream("visits.parquet", target="visits", task="regression"), **how)
        assert target.model.preprocessing["target"]["means"] == [0.0]
        with pytest.raises(DataError, match="needs a target from 0 to inf"):
            fit_table(prepare_stream("visits.parquet", target="income"), **how)

    def test_the_number_of_validation_rows_is_limited(self, path, monkeypatch):
        monkeypatch.setattr(prepared_stream, "MAX_VALIDATION_ROWS", 20)
        assert 5 < prepare_stream(path, target="buys").rows["validation"] < 40

    @pytest.mark.parametrize(
        "options", [{"test_fraction": 0.6, "validation_fraction": 0.5}, {"seed": -1}, {"test_fraction": 0.9999}]
    )
    def test_invalid_fractions(self, options):
        with pytest.raises(DataError, match=r"must be fractions|seed must be|2 are needed"):
            prepare_stream(write(shop(5), "few.csv"), **options)

    @pytest.mark.parametrize("name", ["bad_parquet", "bad_csv"])
    def test_infinity_is_missing(self, name):
        frame = shop()
        frame.loc[450, "income"] = np.inf
        with pytest.warns(TableWarning, match=r"^bad_\w+: column 'income': 1 of 600 .*bad_\w+/2\.\w+, row 51.*: '?inf"):
            prepared = prepare_stream(write(frame, name, 3), target="buys")
        assert prepared.preprocessing.summaries[1].n_missing == 1
        assert ", is taken as missing" in prepared.preprocessing.summaries[1].reason


FAST = ("--epochs", "3", "--device", "cpu", "--no-picture", "--hidden-layer-sizes", "5")


class TestCommandLine:
    def test_trains_on_a_folder_and_predicts_it(self, run, path):
        code, out, err = run(
            "train", path, "--target", "buys", *FAST, "-o", "m.safetensors", "--stream", "--numbers", "linear"
        )
        assert code == 0, err
        assert "reading    in parts (as requested), again in each epoch" in err
        assert "600 rows" in err
        assert "accuracy" in out
        assert sum(load_model("m.safetensors").about["rows"].values()) == ROWS
        results = {}
        for output in ("p.csv", "p.parquet"):
            code, out, err = run("predict", "m.safetensors", path, "--stream", "-o", output, "--device", "cpu")
            assert (code, out) == (0, f"written    {output} (600 rows)\n")
            results[output] = pd.read_csv(output) if output.endswith("csv") else pd.read_parquet(output)
            assert re.search(r"accuracy +0\.\d", err)
        code, out, err = run("predict", "m.safetensors", path, "--stream", "--device", "cpu")
        assert out == Path("p.csv").read_text(encoding="utf-8")
        pd.testing.assert_frame_equal(results["p.csv"], results["p.parquet"], check_dtype=False)
        if path in ("shop.csv", "shop.parquet"):
            code, whole, whole_err = run("predict", "m.safetensors", path, "--device", "cpu")
            assert whole == out
            assert whole_err == err

    def test_a_folder_is_read_in_parts_by_default(self, run):
        write(shop(), "shop_csv", 3)
        code, _, err = run("train", "shop_csv", "--target", "buys", *FAST)
        assert code == 0
        assert "reading    in parts (a folder)" in err
        code, out, _ = run("predict", "shop_csv.safetensors", "shop_csv", "--json", "-o", "p.csv", "--device", "cpu")
        assert json.loads(out)["rows"] == ROWS
        assert json.loads(out)["scores"]["accuracy"] > 0.3

    def test_a_large_file_is_read_in_parts_by_default(self, run, monkeypatch):
        write(shop(), "shop.csv")
        monkeypatch.setattr(table_files, "free_host_memory", lambda: 50_000)
        code, _, err = run("train", "shop.csv", *FAST)
        assert code == 0
        assert "reading    in parts (0.0 GiB, with 0.0 GiB of memory free)" in err
        monkeypatch.setattr(table_files, "free_host_memory", lambda: 1_000_000)
        assert "reading" not in run("train", "shop.csv", *FAST)[2]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("train", "iris", "--stream"), "no such file or folder: iris"),
            (("train", "shop.npz", "--stream"), "has no file that can be read in parts"),
            (
                ("train", "shop.csv", "--stream", "--target", "byys"),
                "no column 'byys' (did you mean 'buys'?)",
            ),
            (("predict", "m.safetensors", "shop.csv", "--stream", "--json"), "pass --output FILE"),
        ],
    )
    def test_refuses(self, run, arguments, message):
        write(shop(), "shop.csv")
        np.savez("shop.npz", x=np.zeros((3, 2)))
        assert run("train", "shop.csv", *FAST, "-o", "m.safetensors")[0] == 0
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert message in err

    def test_values_that_do_not_fit_are_counted_or_leave_no_file(self, run, tmp_path):
        assert run("train", write(shop(), "shop.csv"), *FAST, "-o", "m.safetensors")[0] == 0
        frame = shop()
        frame.loc[450, "town"] = "Rom of row 7"
        write(frame, "bad_csv", 3)
        code, out, err = run("predict", "m.safetensors", "bad_csv", "-o", "p.csv", "--device", "cpu", "--strict")
        assert (code, out) == (2, "")
        assert "1 unseen in column 'town', first row 51 (not counting the header): 'Rom of row 7'" in err
        assert "2.csv" in err
        assert not (tmp_path / "p.csv").exists()
        assert not list(tmp_path.glob("*.tmp"))
        code, _, err = run("predict", "m.safetensors", "bad_csv", "-o", "p.csv", "--device", "cpu")
        assert code == 0
        assert "'Rom of row 7'" in err
        assert len(pd.read_csv("p.csv")) == ROWS

    def test_rows_whose_target_is_unknown_have_no_scores(self, run):
        assert run("train", write(shop(), "shop.csv"), *FAST, "-o", "m.safetensors")[0] == 0
        frame = shop()
        frame.loc[450, "buys"] = None
        write(frame, "odd_csv", 3)
        code, _, err = run("predict", "m.safetensors", "odd_csv", "-o", "p.csv", "--device", "cpu")
        assert code == 0
        assert re.search(r"^rows +599 *$", err, re.MULTILINE)
        assert len(pd.read_csv("p.csv")) == ROWS


class TestLongLines:
    @pytest.mark.parametrize("head", ['"a,b\n', 'a,b\n"1,2\n'], ids=["header", "row"])
    def test_an_unclosed_quotation_mark(self, tmp_path, monkeypatch, head):
        for module in (_text_tables, _limits):
            monkeypatch.setattr(module, "MAX_LINE_BYTES", 10_000)
        monkeypatch.setattr(_text_tables, "BLOCK_BYTES", 1_000)
        path = tmp_path / "open.csv"
        path.write_text(head + "1,2\n" * 20_000)
        with pytest.raises(DataError, match=r"longer than 10,000 bytes, perhaps because the quotation mark"):
            prepare_stream(path, target="b")

    def test_texts_of_parquet_are_held_once(self, tmp_path):
        frame = pd.DataFrame({"word": ["a" * 20_000, "b" * 20_000] * 5_000, "y": np.arange(10_000.0)})
        frame.to_parquet(tmp_path / "words.parquet")
        program = """
import pathlib, sys, pyarrow
from gpubp.data.streaming.table_files import open_tables
n_rows = sum(piece.table.n_rows for piece in open_tables(pathlib.Path(sys.argv[1])).pieces())
print(n_rows, pyarrow.default_memory_pool().max_memory())
"""
        command = [sys.executable, "-c", program, str(tmp_path / "words.parquet")]
        n_rows, most = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        assert n_rows == 10_000
        assert most < 20e6  # of 200 MB
