"""Numbers encoded by bins, and several networks trained at once."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp import TabularRegressor, load_model, predict, save_model, to_onnx, train
from gpubp.data import apply, encode_target, table_from_mapping
from gpubp.data.metrics import RunningScores, score
from gpubp.data.preprocessing import NumberColumn, NumberEncoding, _features, from_json, preprocessing_of, to_json
from gpubp.data.streaming.prepared_stream import prepare_stream
from gpubp.errors import DataError, ModelFileError
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.optim.second_order import lbfgs
from gpubp.tabular import fit as fitting
from gpubp.tabular import fit_table, network_outputs, predict_table, prepare_table
from gpubp.training.checkpoints import Checkpoints


def table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    hour, size = rng.integers(0, 24, n), rng.lognormal(size=n)
    flag = rng.integers(0, 2, n)
    size[::9] = np.nan
    y = np.where((hour > 6) & (hour < 10), 5.0, 0.0) + np.nan_to_num(size) ** 0.5 + 0.1 * rng.normal(size=n)
    return {"hour": hour, "size": size, "flag": flag, "y": y}


@pytest.fixture(scope="module")
def prepared():
    return prepare_table(table(), target="y")


def columns_of(prepared):
    return {column.name: column for column in prepared.preprocessing.columns}


# --- bins ---


def test_bins_lie_between_quantiles_of_the_training_rows(prepared):
    hour, size = columns_of(prepared)["hour"], columns_of(prepared)["size"]
    values = table()["hour"][prepared.parts["train"]]
    assert set(hour.edges) <= set(values.tolist())
    assert (hour.edges[0], hour.edges[-1]) == (values.min(), values.max())
    assert len(size.edges) == 17
    assert hour.bound == pytest.approx(1.5 * np.abs(values - values.mean()).max() / values.std())
    assert len(prepared.preprocessing.feature_names) == len(set(prepared.preprocessing.feature_names))


def test_two_values_have_no_bins():
    flag = np.tile([0.5, 1.5], 50)
    prepared = prepare_table({"flag": flag, "y": np.arange(100.0) + flag}, target="y", types={"flag": "number"})
    assert prepared.preprocessing.feature_names == ("flag",)


def test_few_rows_have_few_bins_and_wide_tables_too():
    rng = np.random.default_rng(0)
    few = prepare_table({"a": rng.normal(size=30), "y": rng.normal(size=30)}, target="y")
    assert len(columns_of(few)["a"].edges) - 1 <= 30 // 8
    wide = prepare_table({f"c{i}": rng.normal(size=60) for i in range(1200)} | {"y": rng.normal(size=60)}, target="y")
    assert wide.n_inputs == 1200


def test_large_tables_have_fewer_bins(monkeypatch):
    monkeypatch.setattr(_features, "MAX_ENCODED", 300 * 2 * 4)
    prepared = prepare_table(table(), target="y", drop=["flag"])
    assert [len(column.edges) - 1 for column in prepared.preprocessing.columns] == [4, 4]


def test_linear_numbers_are_only_scaled():
    prepared = prepare_table(table(), target="y", numbers="linear")
    assert prepared.preprocessing.feature_names[:3] == ("hour", "size", "size=missing")
    hours = table()["hour"][prepared.parts["train"]]
    np.testing.assert_allclose(prepared.X[:, 0], (table()["hour"] - hours.mean()) / hours.std())
    with pytest.raises(DataError, match="numbers must be 'piecewise', 'linear' or 'robust', got 'cubic'"):
        prepare_table(table(), target="y", numbers="cubic")


# --- robust ---


def test_robust_numbers_are_scaled_by_quartiles_and_clipped():
    prepared = prepare_table(table(), target="y", numbers="robust")
    assert prepared.preprocessing.feature_names[:3] == ("hour", "size", "size=missing")
    size = columns_of(prepared)["size"]
    given = table()["size"][prepared.parts["train"]]
    lower, median, upper = np.nanquantile(given, [0.25, 0.5, 0.75])
    assert (size.mean, size.scale, size.fill) == (median, upper - lower, median)
    scaled = (np.where(np.isnan(table()["size"]), median, table()["size"]) - median) / (upper - lower)
    np.testing.assert_allclose(prepared.X[:, 1], scaled / np.sqrt(1.0 + (scaled / 3.0) ** 2))


def test_robust_numbers_that_are_mostly_equal_or_extreme():
    n = 100
    columns = {
        "rare": np.where(np.arange(n) % 10 == 0, 4.0, 1.0) + np.where(np.arange(n) == 50, 3.0, 0.0),
        "constant": np.full(n, 2.5),
        "gaps": np.where(np.arange(n) % 2, np.nan, 7.0),
        "far": np.where(np.arange(n) == 50, 1e200, np.arange(n) / n),
        "huge": np.where(np.arange(n) < 50, -1.7e308, 1.7e308),
        "y": np.arange(n) + 0.5,
    }
    prepared = prepare_table(
        columns, target="y", numbers="robust", test_fraction=0.0, types=dict.fromkeys(columns, "number")
    )
    found = columns_of(prepared)
    assert set(found) == {"rare", "gaps", "far"}
    assert (found["rare"].mean, found["rare"].scale) == (1.0, 3.0)  # half of the range
    assert (found["gaps"].mean, found["gaps"].scale, found["gaps"].indicator) == (7.0, 1.0, True)
    assert found["far"].scale == pytest.approx(0.5, abs=0.1)
    assert np.abs(prepared.X).max() <= 3.0


def test_robust_is_kept_in_a_model_file_and_exported(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    prepared = prepare_table(table(), target="y", drop=["flag"], numbers="robust")
    model = fit_table(prepared, epochs=5, device="cpu").model
    save_model(tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing)
    loaded = load_model(tmp_path / "m.safetensors")
    assert preprocessing_of(loaded).number_encoding == "robust"
    data = {"hour": np.asarray([3.0, 1e300, -1e9]), "size": np.asarray([np.nan, 0.2, 1e300])}
    to_onnx(loaded, path=tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    (received,) = session.run(None, {name: values[:, None] for name, values in data.items()})
    expected = predict_table(loaded, data, device="cpu")["y"]
    np.testing.assert_allclose(received[:, 0], expected, rtol=1e-5)


# --- beyond the range of training ---

ENCODINGS = get_args(NumberEncoding)


@pytest.fixture(scope="module", params=ENCODINGS)
def in_each_encoding(request):
    return prepare_table(table(), target="y", numbers=request.param).preprocessing


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9))
def test_inputs_are_bounded_in_each_encoding(in_each_encoding, numbers):
    numbers = np.asarray(numbers)
    X = apply(in_each_encoding, table_from_mapping(dict.fromkeys(("hour", "size", "flag"), numbers)))
    within = apply(in_each_encoding, table_from_mapping(table()))
    assert np.all(np.abs(X) <= np.maximum(3.0, 1.5 * np.abs(within).max(axis=0) + 1e-9))


def test_linear_numbers_are_unchanged_within_the_range_and_kept_within_half_as_much_again():
    prepared = prepare_table(table(), target="y", numbers="linear", test_fraction=0.0, validation_fraction=0.0)
    size = columns_of(prepared)["size"]
    assert size.bound == pytest.approx(1.5 * (size.high - size.mean) / size.scale)
    beyond = apply(prepared.preprocessing, table_from_mapping(table() | {"size": np.full(300, 1000.0 * size.high)}))
    np.testing.assert_array_equal(beyond[:, 1], size.bound)
    shown = apply(prepared.preprocessing, table_from_mapping(table() | {"size": np.full(300, size.high)}))
    np.testing.assert_allclose(shown[:, 1], (size.high - size.mean) / size.scale)


@pytest.mark.parametrize("numbers", ENCODINGS)
def test_predictions_are_bounded_however_far_a_number_lies(numbers):
    given = table() | {"double": 2.0 * table()["y"]}
    prepared = prepare_table(given, target=["y", "double"], numbers=numbers)
    result = fit_table(prepared, epochs=20, device="cpu", refit=False)
    model = result.model
    outputs = []
    for far in (1e3, 1e9, -1e9, 1e300):
        predictions = predict_table(model, {"hour": [12], "size": [far], "flag": [0]}, device="cpu")
        for name, numbers_of in predictions.items():
            known = given[name][prepared.parts["train"]]
            margin = 0.05 * np.ptp(known)
            assert known.min() - margin <= numbers_of[0] <= known.max() + margin
        outputs.append(predictions["y"][0])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0.05)
    np.testing.assert_allclose(outputs[1], outputs[3], rtol=1e-4)


def test_predictions_are_clamped_everywhere_alike(tmp_path):
    """In scores, the errors of intervals, ONNX, parts of a table and the estimator."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    x = np.linspace(0.0, 1.0, 200)
    trained, beyond = {"x": x[:120], "y": 9.0 * x[:120]}, {"x": x, "y": 9.0 * x}
    prepared = prepare_table(trained, target="y", test_fraction=0.0, numbers="linear")
    result = fit_table(prepared, epochs=60, device="cpu", refit=False)
    model, preprocessing = result.model, prepared.preprocessing
    (low,), (high,) = preprocessing.target.lows, preprocessing.target.highs
    predictions = predict_table(model, beyond, device="cpu")["y"]
    assert predictions.max() == high
    assert predictions.min() >= low
    targets = encode_target(preprocessing, table_from_mapping(beyond))
    outputs = network_outputs(model, beyond, device="cpu")
    rmse = np.sqrt(np.mean((predictions - beyond["y"]) ** 2))
    assert score(preprocessing, targets, outputs)["rmse"] == pytest.approx(rmse)
    running = RunningScores(preprocessing)
    running.add(targets[:50], outputs[:50])
    running.add(targets[50:], outputs[50:])
    assert running.scores()["rmse"] == pytest.approx(rmse)
    to_onnx(model, path=tmp_path / "m.onnx")
    (received,) = runtime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"x": x[:, None]})
    np.testing.assert_allclose(received[:, 0], predictions, rtol=1e-5, atol=1e-6)
    assert received.max() == high
    estimator = TabularRegressor(epochs=20, device="cpu").fit(x[:120, None], 9.0 * x[:120])
    assert estimator.predict(10.0 * x[:, None]).max() <= 1.05 * 9.0 * x[119]
    held_out = prepared.table.select(prepared.parts["validation"])
    errors = np.abs(predict_table(model, held_out, device="cpu")["y"] - held_out.columns["y"])
    np.testing.assert_allclose(model.about["held_out_errors"]["y"], np.sort(errors), rtol=1e-6, atol=1e-6)


def test_a_step_is_learned_that_scaled_numbers_do_not_show(prepared):
    linear = prepare_table(table(), target="y", numbers="linear")
    scores = [fit_table(p, epochs=60, device="cpu").scores["test"]["rmse"] for p in (prepared, linear)]
    assert scores[0] < 0.8 * scores[1]


def test_json_keeps_bins_and_refuses_forged_ones(prepared):
    assert from_json(to_json(prepared.preprocessing)) == prepared.preprocessing
    for changed in (
        {"edges": (1.0,)},
        {"edges": (2.0, 1.0, 3.0)},
        {"edges": (-1.7e308, 1.7e308)},
        {"bound": -1.0},
        {"bound": 1e7},
    ):
        columns = tuple(
            replace(column, **changed) if column.name == "size" else column for column in prepared.preprocessing.columns
        )
        with pytest.raises(ModelFileError, match="malformed"):
            from_json(to_json(replace(prepared.preprocessing, columns=columns)))


@pytest.mark.parametrize("numbers", get_args(NumberEncoding))
def test_a_stream_has_the_same_statistics(tmp_path, numbers):
    path = tmp_path / "t.csv"
    columns = table(n=400)
    np.savetxt(path, np.stack([*columns.values()], axis=1), delimiter=",", header=",".join(columns), comments="")
    options = {"target": "y", "test_fraction": 0.0, "validation_fraction": 0.0, "numbers": numbers}
    streamed, whole = prepare_stream(path, **options), prepare_table(str(path), **options)
    assert streamed.preprocessing.target == whole.preprocessing.target
    for mine, other in zip(streamed.preprocessing.columns, whole.preprocessing.columns, strict=True):
        if isinstance(mine, NumberColumn):
            np.testing.assert_allclose(mine.edges, other.edges)
            assert (mine.mean, mine.scale, mine.bound) == pytest.approx((other.mean, other.scale, other.bound))
            assert mine.encoding == other.encoding == numbers


# --- several networks ---


@pytest.fixture(scope="module")
def several(prepared):
    return fit_table(prepared, epochs=15, device="cpu", n_networks=3, has_linear_part=False)


def test_outputs_are_averaged(several, prepared):
    model = several.model
    assert model.theta.shape[0] == 3
    X = apply(preprocessing_of(model), prepared.table)
    alone = [predict(model.network, theta, X, device="cpu")[:, 0] for theta in model.theta]
    target = preprocessing_of(model).target
    expected = np.mean(alone, axis=0) * target.scales[0] + target.means[0]
    np.testing.assert_allclose(predict_table(model, prepared.table, device="cpu")["y"], expected, rtol=1e-5, atol=1e-5)
    assert np.std(alone, axis=0).mean() > 0.001


def test_several_are_saved_loaded_and_exported(several, prepared, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = several.model
    save_model(tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing)
    loaded = load_model(tmp_path / "m.safetensors")
    expected = predict_table(model, prepared.table, device="cpu")["y"]
    np.testing.assert_array_equal(predict_table(loaded, prepared.table, device="cpu")["y"], expected)
    to_onnx(loaded, path=tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    data, inputs = table(), {}
    for each in session.get_inputs():
        values = np.asarray(data[each.name], float)[:, None]
        inputs[each.name] = values if "double" in each.type else values.astype(int).astype(str).astype(object)
    outputs = dict(zip([each.name for each in session.get_outputs()], session.run(None, inputs), strict=True))
    found = next(value for value in outputs.values() if np.ndim(value) and len(value) == len(expected))
    np.testing.assert_allclose(np.asarray(found).ravel(), expected, rtol=1e-4, atol=1e-4)


def test_the_first_of_several_is_the_single_one(prepared):
    options = {"epochs": 3, "patience": None, "refit": False, "device": "cpu"}
    options["has_linear_part"] = False  # beside which the share is that of the mean of all networks
    one = fit_table(prepared, **options).model.theta
    three = fit_table(prepared, **options, n_networks=3).model.theta
    np.testing.assert_allclose(three[0], one, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="n_networks must be a whole number of at least 1, got 0"):
        fit_table(prepared, n_networks=0)


@pytest.mark.filterwarnings("ignore::gpubp.errors.DivergenceWarning")
def test_networks_that_diverge_are_left_out(monkeypatch):
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    prepared = prepare_table({"x": x, "z": rng.normal(size=400), "y": np.sin(3 * x)}, target="y", numbers="linear")
    seen, run = [], fitting.train

    def train(*given, **options):
        fit = run(*given, **options)
        spoilt = np.arange(len(fit.theta)) == len(seen)  # another one each time
        seen.append(spoilt)
        return replace(fit, theta=np.where(spoilt[:, None], 1e30, fit.theta), diverged=spoilt)

    monkeypatch.setattr(fitting, "train", train)
    result = fit_table(prepared, epochs=3, device="cpu", n_networks=3)
    assert len(seen) == 2
    assert result.model.theta.shape[0] == result.fit.theta.shape[0] == 2
    assert np.abs(predict_table(result.model, {"x": x, "z": x}, device="cpu")["y"]).max() < 100
    assert np.ndim(result.refit.history.loss[0]) == np.ndim(result.fit.history.loss[0]) == 0
    monkeypatch.undo()
    spent = fit_table(prepared, epochs=3, device="cpu", n_networks=2, optimizer=momentum(1e30, 0.9))
    assert (spent.fit.stop_reason, spent.refit) == ("diverged", None)


def test_several_networks_need_a_seed_and_an_optimizer_that_stacks_have(prepared):
    with pytest.raises(DataError, match="lbfgs trains one network; choose adam for 2 networks"):
        fit_table(prepared, n_networks=2, optimizer=lbfgs())
    for seed in (-1, 1.5, np.random.default_rng(0)):
        with pytest.raises(DataError, match="the seed of several networks must be a whole number of at least 0"):
            fit_table(prepared, n_networks=2, seed=seed)


# --- patience and scoring of a stack ---

X = np.random.default_rng(0).normal(size=(60, 3))
TARGETS = np.sin(X.sum(axis=1, keepdims=True))
HELD_OUT = X[40:], TARGETS[40:]
NETWORK = Network((3, 8, 1), activation="tanh")


def fit_stack(**options):
    options = {"epochs": 60, "seed": [0, 1, 2], "validation_data": HELD_OUT, "batch_size": 8, "device": "cpu"} | options
    return train(NETWORK, X[:40], TARGETS[:40], **options)


def test_a_stack_stops_by_the_median_of_its_validation_losses():
    fit = fit_stack(patience=3, tolerance=0.02)
    medians = np.median(fit.history.validation_loss, axis=1)
    assert fit.stop_reason == "patience"
    assert fit.best_epoch == 1 + np.argmin(medians)
    losses = [np.mean((predict(NETWORK, theta, HELD_OUT[0], device="cpu") - HELD_OUT[1]) ** 2) for theta in fit.theta]
    np.testing.assert_allclose(0.5 * np.median(losses), medians.min(), rtol=1e-6)


def test_a_stack_has_one_score():
    shapes = []

    def scoring(targets, outputs):
        shapes.append((targets.shape, outputs.shape))
        return -float(np.mean((outputs.mean(axis=0) - targets) ** 2))

    fit = fit_stack(scoring=scoring, patience=5)
    assert set(shapes) == {((20, 1), (3, 20, 1))}
    assert fit.best_epoch == 1 + np.argmax(fit.history.validation_score)


def test_a_stack_with_patience_resumes(tmp_path):
    whole = fit_stack(patience=50)
    fit_stack(patience=50, epochs=25, checkpoint=Checkpoints(tmp_path))
    resumed = fit_stack(patience=50, checkpoint=Checkpoints(tmp_path), resume=True)
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    assert resumed.best_epoch == whole.best_epoch
