"""Target statistics: scikit-learn's where the rule is the same, out of fold for training rows, without leaks."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import TargetEncoder

from gpubp import (
    DataError,
    ModelFileError,
    TableWarning,
    TabularClassifier,
    TabularRegressor,
    fit_table,
    predict_table,
    prepare_stream,
    prepare_table,
    save_model,
)
from gpubp.__main__ import main
from gpubp.data import apply, table_from_mapping
from gpubp.data.preprocessing import CategoryColumn, TargetStatisticsColumn, encode, from_json, to_json
from gpubp.data.preprocessing._fitting import fit_columns
from gpubp.data.preprocessing._target_statistics import FEW_CATEGORIES, N_FOLDS, folds_of
from gpubp.tabular import Candidate, search_table

ALL_ROWS = {"test_fraction": 0.0, "validation_fraction": 0.0}
TOWNS = np.array([f"town {number:02}" for number in range(20)])


def shop(n=400, seed=0, effect=1.0):
    """Return a table whose targets depend on the town, by chance alone if `effect` is 0."""
    random = np.random.default_rng(seed)
    town = random.integers(len(TOWNS), size=n) ** 2 // len(TOWNS)  # some are rare
    score = effect * np.sin(7.0 * town) + random.normal(size=n)
    return pd.DataFrame(
        {
            "town": TOWNS[town],
            "size": random.normal(size=n),
            "price": 1000.0 + 100.0 * score,
            "weight": 5.0 - score + random.normal(size=n),
            "buys": np.where(score > 0.3, "yes", "no"),
            "grade": np.select([score < -0.5, score < 0.8], ["low", "middle"], "high"),
        }
    )


def prepared_for(target, frame=None, prepare=prepare_table, **options):
    frame = shop() if frame is None else frame
    targets = [target] if isinstance(target, str) else list(target)
    features = [name for name in ("town", "code", "size") if name in frame]
    options = {"categories": "target", **ALL_ROWS, **options}
    return prepare(frame[features + targets], target=target, **options)


def column_of(prepared):
    return next(column for column in prepared.preprocessing.columns if column.name == "town")


def indicators(frame, target):
    """Return what is averaged, by name."""
    if isinstance(target, str) and not pd.api.types.is_numeric_dtype(frame[target]):
        classes = sorted(frame[target].unique())
        return {f"{target}={label}": (frame[target] == label).to_numpy(float) for label in classes[len(classes) == 2 :]}
    return {name: frame[name].to_numpy() for name in ([target] if isinstance(target, str) else target)}


def smoothing(categories, y):
    """Return the variance within categories by that between them, from a one-way analysis of variance."""
    groups = [y[categories == one] for one in np.unique(categories)]
    n, g = len(y), len(groups)
    within = sum(((one - one.mean()) ** 2).sum() for one in groups) / (n - g)
    between = sum(len(one) * (one.mean() - y.mean()) ** 2 for one in groups) / (g - 1)
    rows = (n - sum(len(one) ** 2 for one in groups) / n) / (g - 1)
    return within / ((between - within) / rows) if between > within else 1e12


@pytest.mark.parametrize("target", ["price", "buys", "grade", ("price", "weight")])
def test_statistics_are_those_of_scikit_learn(target):
    frame = shop()
    column = column_of(prepared_for(target, frame))
    wanted = indicators(frame, target)
    assert column.averaged == tuple(wanted)
    assert column.inputs == tuple(f"town:mean of {name}" for name in wanted)
    for place, y in enumerate(wanted.values()):
        encoder = TargetEncoder(target_type="continuous", smooth=smoothing(frame["town"].to_numpy(), y))
        encoder.fit(frame[["town"]], y)
        assert column.categories == tuple(encoder.categories_[0])
        np.testing.assert_allclose(np.array(column.statistics)[:, place], encoder.encodings_[0], rtol=1e-10)
        assert column.overall[place] == pytest.approx(encoder.target_mean_)


@pytest.mark.parametrize("target", ["price", "grade"])
def test_the_statistics_of_a_training_row_come_from_the_other_folds(target):
    frame = shop(n=150)
    prepared = prepared_for(target, frame, seed=3)
    column, folds = column_of(prepared), folds_of(np.arange(len(frame)), 3)
    town, inputs = frame["town"].to_numpy(), prepared.preprocessing.input_slices["town"]
    assert set(folds) == set(range(N_FOLDS))
    for place, y in enumerate(indicators(frame, target).values()):
        m = smoothing(town, y)
        for row in range(len(frame)):
            others = y[(town == town[row]) & (folds != folds[row])]
            is_known = town[row] in column.categories  # one that occurs once is not
            mean = (others.sum() + m * y.mean()) / (len(others) + m) if is_known else y.mean()
            expected = (mean - y.mean()) / column.scales[place]
            assert prepared.X[row, inputs][place] == pytest.approx(expected, abs=1e-9)


def test_other_rows_have_the_statistics_of_all_training_rows():
    frame = shop()
    options = {"validation_fraction": 0.1, "test_fraction": 0.2}
    prepared = prepared_for("price", frame, **options)
    inputs = apply(prepared.preprocessing, table_from_mapping(frame))
    is_training = np.isin(np.arange(len(frame)), prepared.parts["train"])
    assert (prepared.X[~is_training] == inputs[~is_training]).all()
    assert (prepared.X[is_training] != inputs[is_training])[:, 0].mean() > 0.9
    given = prepared_for("price", frame, validation_table=frame)
    np.testing.assert_array_equal(given.validation().X, apply(given.preprocessing, table_from_mapping(frame)))


def test_fewer_rows_are_as_they_would_be_alone():
    frame = shop()
    prepared = prepared_for("price", frame, categories="one-hot")
    rows, some = (
        np.arange(300),
        {"train": np.arange(5, 90), "validation": np.array([310, 305]), "test": np.empty(0, int)},
    )
    whole = prepared.trained_on(rows, categories="target")
    part = prepared.trained_on(rows, categories="target", only=some)
    assert isinstance(column_of(whole), TargetStatisticsColumn)
    assert (part.X[part.parts["train"]] == whole.X[some["train"]]).all()
    assert (part.X[part.parts["validation"]] == whole.X[some["validation"]]).all()
    assert prepared.trained_on(prepared.parts["train"]) is prepared


# --- no leaks ---


def r2(x, y):
    """Return the share of the variance of `y` that a line through the columns of `x` explains."""
    x = np.column_stack([x, np.ones(len(x))])
    return 1.0 - np.var(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) / np.var(y)


def coded(rows_of_a_code, seed, n=800):
    """Prepare a table of codes, each in as many rows, with a target that is random."""
    random = np.random.default_rng(seed)
    codes = random.permutation(np.arange(n) // rows_of_a_code)
    frame = pd.DataFrame({"code": [f"c{code}" for code in codes], "size": random.normal(size=n)})
    frame["price"] = random.normal(size=n)
    options = {"types": {"code": "category"}, "test_fraction": 0.3, "validation_fraction": 0.1}
    return prepared_for("price", frame, **options), frame["price"].to_numpy()


def test_codes_that_do_not_repeat_are_all_the_same():
    prepared, _ = coded(1, 0)
    assert (prepared.X[:, prepared.preprocessing.input_slices["code"]] == 0.0).all()


@pytest.mark.parametrize("rows_of_a_code", [2, 4])
def test_codes_tell_nothing_of_a_target_that_is_random(rows_of_a_code):
    """Neither the inputs of training rows, nor a network that is trained on them."""
    for seed in range(20):  # up to one in which codes seem to differ, so that they are not smoothed away
        prepared, y = coded(rows_of_a_code, seed)
        rows, place = prepared.parts["train"], prepared.preprocessing.input_slices["code"]
        within = apply(prepared.preprocessing, prepared.table)[rows, place]
        if within.any():
            break
    assert r2(within, y[rows]) > 0.2  # with that of the row's own target
    assert r2(prepared.X[rows, place], y[rows]) < 0.02
    assert -0.1 < fit_table(prepared, epochs=30, device="cpu").scores["test"]["r2"] < 0.02


def test_the_rows_of_a_group_are_in_one_fold():
    """Or the target of the group would be in its inputs, which new groups do not have."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(200), 5)
    frame = pd.DataFrame({"town": [f"town {k % 100:02}" for k in group], "size": random.normal(size=len(group))})
    frame["price"] = random.normal(size=200)[group] + 0.1 * random.normal(size=len(group))
    for home in (group, np.array([f"home {k}" for k in group])):
        prepared = prepare_table(frame.assign(home=home), target="price", categories="target", group="home")
        for of_rows in (prepared, prepared.on_all_rows()):
            rows = of_rows.parts["train"]
            x, of_row = of_rows.X[rows, of_rows.preprocessing.input_slices["town"]][:, 0], group[rows]
            assert all(len(np.unique(x[of_row == one])) == 1 for one in np.unique(of_row))
            assert len(np.unique(x)) > 20
            assert abs(np.corrcoef(x, frame["price"][rows])[0, 1]) < 0.25


def test_a_row_without_a_group_is_a_group_of_its_own():
    numbers, groups = np.arange(50), np.array([None, "a"] * 25, dtype=object)
    folds = folds_of(numbers, 0, groups)
    np.testing.assert_array_equal(folds[::2], folds_of(numbers, 0)[::2])
    assert len(set(folds[1::2])) == 1


def test_the_last_rows_of_a_stream_take_no_longer_than_the_first():
    prepared = prepared_for("price")
    fitted = fit_columns(prepared.decisions, [(prepared.table, np.ones(prepared.table.n_rows, dtype=bool))])
    X, rows = prepared.X.copy(), np.arange(prepared.table.n_rows)
    fitted.out_of_fold.fill(X, prepared.preprocessing, prepared.table, rows, rows + (1 << 50))  # not in memory at once
    assert (X[:, 0] != prepared.X[:, 0]).mean() > 0.3


def test_categories_that_differ_by_chance_all_have_the_overall_mean():
    frame = pd.DataFrame({"town": np.repeat(TOWNS, 20), "price": np.tile(np.arange(20.0), len(TOWNS))})
    column = column_of(prepared_for("price", frame, task="regression"))
    assert set(column.statistics) == {column.overall} == {(9.5,)}
    assert column.scales == (1.0,)


def test_a_target_that_follows_from_the_category_is_not_smoothed():
    town = np.arange(100) % 20
    frame = pd.DataFrame({"town": TOWNS[town], "price": 7.0 * town})
    prepared = prepared_for("price", frame, task="regression")
    np.testing.assert_allclose(np.array(column_of(prepared).statistics)[:, 0], 7.0 * np.arange(20.0), rtol=1e-12)
    assert np.isfinite(prepared.X).all()


# --- values ---


def test_values_that_training_did_not_see_have_the_overall_mean():
    frame = shop()
    frame.loc[::9, "town"] = None
    prepared = prepared_for("price", frame)
    column = column_of(prepared)
    assert column.missing
    is_missing = frame["town"].isna().to_numpy()
    y = frame["price"].to_numpy()
    assert min(y[is_missing].mean(), y.mean()) < column.of_missing[0] < max(y[is_missing].mean(), y.mean())
    new = table_from_mapping({"town": ["Ulm", None, "town 00"], "size": [0.0] * 3})
    X, issues = encode(prepared.preprocessing, new)
    assert X[0, 0] == 0.0
    assert X[1, 0] == pytest.approx((column.of_missing[0] - column.overall[0]) / column.scales[0])
    assert issues[0][:2] == ("town", "other" if column.other else "unseen")
    with pytest.warns(TableWarning, match="not among the categories of training"):
        predicted = predict_table(fit_table(prepared, epochs=2, device="cpu").model, new)
    assert np.isfinite(predicted["price"]).all()
    without = prepared_for("price")
    assert column_of(without).of_missing == ()
    assert encode(without.preprocessing, new).X[1, 0] == 0.0


@pytest.mark.parametrize("n_once", [1, 2])
def test_a_category_of_one_row_has_the_overall_mean(n_once):
    frame = shop()
    names = [f"alone {k}" for k in range(n_once)]
    frame.loc[frame.index[:n_once], ["town", "price"]] = [[name, 9000.0] for name in names]
    prepared = prepared_for("price", frame)
    X, _ = encode(prepared.preprocessing, table_from_mapping({"town": names, "size": [0.0] * n_once}))
    assert X[:, 0].tolist() == [0.0] * n_once


def test_columns_of_few_categories_and_targets_of_many_classes_stay_one_hot():
    frame = shop()
    few = frame.assign(town=TOWNS[np.arange(len(frame)) % FEW_CATEGORIES])
    assert type(column_of(prepared_for("price", few))) is CategoryColumn
    more = frame.assign(town=TOWNS[np.arange(len(frame)) % (FEW_CATEGORIES + 1)])
    assert type(column_of(prepared_for("price", more))) is TargetStatisticsColumn
    many = frame.assign(grade=[f"class {number % 30}" for number in range(len(frame))])
    assert type(column_of(prepared_for("grade", many))) is CategoryColumn


def test_the_seed_decides_the_folds_alone():
    one, same, other = (prepared_for("price", seed=seed) for seed in (1, 1, 2))
    assert (one.X == same.X).all()
    assert one.preprocessing == other.preprocessing
    assert (one.X != other.X).any()


@pytest.mark.parametrize("target", ["price", "grade"])
def test_a_stream_has_the_same_statistics(target, tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 2000)
    frame = shop()
    frame.loc[7, target] = None  # left out, and still counted
    frame.loc[11, "town"] = None
    frame[["town", "size", target]].to_csv(tmp_path / "shop.csv", index=False)
    options = {"target": target, "categories": "target", "seed": 4, **ALL_ROWS}
    streamed, whole = prepare_stream(tmp_path / "shop.csv", **options), prepare_table(tmp_path / "shop.csv", **options)
    received, expected = (asdict(column_of(one)) for one in (streamed, whole))
    for part in ("statistics", "of_missing", "overall", "scales"):
        np.testing.assert_allclose(received.pop(part), expected.pop(part), rtol=1e-12)
    assert received == expected
    pieces = list(streamed.training()[0].source.rows())
    assert len(pieces) > 3
    np.testing.assert_allclose(np.concatenate([piece.x for piece in pieces]), whole.X, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("factor", "shift"), [(1e150, 0.0), (1e-150, 0.0), (1.0, 1e10)])
def test_targets_of_any_size_have_the_same_inputs(factor, shift):
    frame = shop()
    frame["price"] = frame["price"] * factor + shift
    np.testing.assert_allclose(prepared_for("price", frame).X, prepared_for("price").X, rtol=1e-5, atol=1e-5)


def test_json_is_read_as_it_was_written_and_checked():
    preprocessing = prepared_for("grade").preprocessing
    assert from_json(to_json(preprocessing)) == preprocessing
    column = column_of(prepared_for("grade"))
    for wrong, message in [
        ({"statistics": column.statistics[1:]}, "statistics of each category of 'town'"),
        ({"overall": column.overall[1:]}, "for each of 3 means"),
        (
            {"averaged": (), "statistics": ((),) * len(column.categories), "overall": (), "scales": ()},
            "each of 0 means",
        ),
        ({"scales": (1.0, 0.0, 1.0)}, "scales of 'town' above 0"),
        ({"of_missing": (1.0, 1.0, 1.0)}, "no statistics of missing values"),
        ({"missing": True}, "for each of 3 means"),
        ({"is_embedded": True}, "statistics of 'town' or embeddings, not both"),
        ({"groups": (("Ulm",),)}, "no groups of 'town'"),
    ]:
        columns = tuple(replace(one, **wrong) if one.name == "town" else one for one in preprocessing.columns)
        with pytest.raises(ModelFileError, match=message):
            from_json(to_json(replace(preprocessing, columns=columns)))


def test_another_encoding_is_refused():
    for wrong in ("targets", None, ["target"]):
        with pytest.raises(DataError, match="categories must be 'one-hot', 'embedding' or 'target', got"):
            prepared_for("price", categories=wrong)


# --- in models ---


def test_an_estimator_keeps_the_encoding_in_its_file(tmp_path):
    frame = shop()
    model = TabularRegressor(categories="target", epochs=3, device="cpu").fit(frame[["town", "size"]], frame["price"])
    assert isinstance(model.model_.preprocessing["columns"][0]["statistics"], list)
    model.save(tmp_path / "m.safetensors")
    loaded = TabularRegressor.load(tmp_path / "m.safetensors")
    assert loaded.categories == "target"
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    made = fit_table(prepared_for("price", frame, validation_fraction=0.2), epochs=2, device="cpu").model
    facts = {"preprocessing": made.preprocessing, "about": made.about}
    save_model(tmp_path / "m.safetensors", made.network, made.theta, **facts)
    assert TabularRegressor.load(tmp_path / "m.safetensors").categories == "target"


def test_onnxruntime_predicts_the_same(tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    frame = shop()
    model = TabularClassifier(categories="target", epochs=3, device="cpu").fit(frame[["town", "size"]], frame["grade"])
    session = onnxruntime.InferenceSession(model.to_onnx().SerializeToString(), providers=["CPUExecutionProvider"])
    new = pd.DataFrame({"town": ["town 00", "town 19", "Ulm", ""], "size": [0.0, 1.0, -1.0, 2.0]})
    feeds = {"town": new[["town"]].to_numpy(object), "size": new[["size"]].to_numpy()}
    received = dict(zip([one.name for one in session.get_outputs()], session.run(None, feeds), strict=True))
    with pytest.warns(TableWarning, match="not among"):
        expected = model.predict_proba(new)
    probabilities = next(one for one in received.values() if one.ndim == 2 and one.dtype.kind == "f")
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_commands_train_show_and_inspect(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = shop()
    frame[["town", "size", "grade"]].to_csv("shop.csv", index=False)
    quickly = ["--preset", "fast", "--epochs", "3", "--device", "cpu", "--no-picture"]
    for more in ([], ["--stream"]):
        assert main(["train", "shop.csv", "--target", "grade", "--categories", "target", *quickly, *more]) == 0
        capsys.readouterr()
        assert main(["show", "shop.safetensors"]) == 0
        shown = capsys.readouterr().out
        assert "categories" in shown
        assert "each becomes the smoothed mean of the target" in " ".join(shown.split())
        assert main(["inspect", "shop.safetensors", "shop.csv"]) == 0
        assert "town" in capsys.readouterr().out
    assert main(["train", "shop.csv", "--target", "grade", "--categories", "targets", *quickly]) == 2
    assert "categories must be 'one-hot', 'embedding' or 'target', got 'targets'" in capsys.readouterr().err
    assert main(["train", "shop.csv", "--target", "grade", "--categories", "target", "--preset", "best"]) == 2
    assert "--preset best cannot be combined with --categories" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [None, 200])
def test_a_search_keeps_statistics_where_they_are_better(rows, monkeypatch):
    if rows is not None:  # drawn for the trials
        monkeypatch.setattr("gpubp.tabular.folds.MOST_ROWS_OF_TRIALS", rows)
    random = np.random.default_rng(0)
    town = random.integers(200, size=600)
    frame = pd.DataFrame({"town": [f"t{number}" for number in town], "size": random.normal(size=600)})
    frame["price"] = np.sin(9.0 * town) + 0.3 * random.normal(size=600)
    prepared = prepared_for("price", frame, categories="one-hot", test_fraction=0.2)
    candidates = [Candidate("linear", (24,), 0.1, 0.005), Candidate("linear", (24,), 0.1, 0.005, "", "target")]
    result = search_table(prepared, candidates=candidates, n_networks=5, epochs=50, device="cpu", time_budget=600.0)
    assert [trial.is_kept for trial in result.trials] == [False, True]
    assert result.scores["test"]["r2"] > 0.4
    columns = result.model.preprocessing["columns"]
    assert "statistics" in columns[0]
    assert result.model.about["training"]["trials"][1]["categories"] == "target"
    with pytest.raises(DataError, match="unknown encoding of categories 'targets'"):
        search_table(prepared, candidates=[Candidate(categories="targets")])
