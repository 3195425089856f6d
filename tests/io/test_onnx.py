"""ONNX models: onnxruntime computes from them what gpubp predicts."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris, make_multilabel_classification

import gpubp
from gpubp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    Network,
    load_model,
    predict,
    predict_table,
    save_model,
    to_onnx,
)
from gpubp._core.installation import install_command
from gpubp.data.preprocessing import NumberTarget, preprocessing_of
from gpubp.errors import DataError, GpubpError, ModelFileError
from gpubp.io.onnx import _graph, describe_values, predictions
from gpubp.io.onnx._activations import ONNX_ACTIVATIONS
from gpubp.nn.activations import ACTIVATIONS
from gpubp.nn.architectures import iterative, with_blocks, with_fields
from gpubp.nn.initialization import initial_weights
from gpubp.nn.input_layers import with_embedded_inputs, with_periodic_inputs, with_scaled_inputs
from gpubp.nn.losses import LOSSES, get_loss
from gpubp.tabular import fit_table, prepare_table
from gpubp.testing import assert_agree
from tests.registries import assert_same_names

onnx = pytest.importorskip("onnx", reason="onnx, of the extra 'onnx', is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime, of the extra 'onnx', is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAMES = [*ACTIVATIONS, "leaky_relu(0.2)", "elu(0.3)", "softmax(2,3)"]
both_precisions = pytest.mark.parametrize("precision", ["float32", "float64"])


def session(model):
    """Check a model and load it in onnxruntime."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model, feeds):
    """Run a model in onnxruntime, check types and shapes, and return the outputs by name."""
    runtime = session(model)
    results = dict(zip([output.name for output in runtime.get_outputs()], runtime.run(None, feeds), strict=True))
    for value in describe_values(model.graph.output):
        result = results[value["name"]]
        assert ("text" if result.dtype == object else result.dtype.name) == value["type"]
        assert all(
            actual == expected or expected == "samples"
            for actual, expected in zip(result.shape, value["shape"], strict=True)
        )
    return results


def samples(network, precision, n=7, scale=2.0, seed=0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n, network.sizes[0])).astype(precision)


def weights(network, precision, seeds=1):
    return initial_weights(network, seeds, scheme="uniform", scale=0.7, dtype=precision)


def check(network, theta, x):
    """Check that onnxruntime and NumPy agree within the tolerances."""
    results = run(to_onnx(network, theta), {"X": x})
    assert list(results) == ["variable"]
    assert_agree(results["variable"], predict(network, theta, x, device="cpu"), "forward")


# --- networks ---


class TestNetworks:
    @both_precisions
    @pytest.mark.parametrize("name", NAMES)
    def test_every_activation(self, name, precision):
        network = Network((4, 5, 5), activation=name, output_activation=name)
        check(network, weights(network, precision), samples(network, precision))

    def test_no_activation_is_forgotten(self):
        places = {"ACTIVATIONS of gpubp/nn/activations.py": ACTIVATIONS}
        assert_same_names(places | {"ONNX_ACTIVATIONS of gpubp/io/onnx/_activations.py": ONNX_ACTIVATIONS})

    @both_precisions
    @pytest.mark.parametrize("name", [name for name in NAMES if name != "softmax(2,3)"])
    def test_activations_far_from_zero(self, name, precision):
        x = np.asarray([0.0, 1e-6, 1e-3, 0.3, 1.0, 5.0, 12.0, 20.0, 85.0, 700.0, 1e4, 1e13], precision)
        x = np.concatenate([x, -x])[:, None]
        if name == "exp":
            x = x[np.abs(x) < 12.0][:, None]  # whose rounding it would magnify
        check(Network((1, 1), output_activation=name, bias=False), np.ones(1, precision), x)

    @both_precisions
    @pytest.mark.parametrize("name", LOSSES)
    def test_every_loss_with_its_output_activation(self, name, precision):
        network = Network((3, 4, 2), activation="tanh", loss=name)
        assert network.output_activation == get_loss(name).output
        check(network, weights(network, precision), samples(network, precision))

    @both_precisions
    @pytest.mark.parametrize(
        "network",
        [
            Network((3, 4, 4, 2), activation="tanh", skips=[(0, 2), (0, 3), (1, 3)], output_activation="logistic"),
            Network((3, 4, 2), bias=False, skips=[(0, 2)]),
            with_blocks(Network((5, 4, 3), activation="tanh"), 1, [(2, 1), (3, 3)]),
            with_fields(Network((20, 6 * 2, 2), activation="logistic"), 1, (4, 5), (3, 3), n_feature_maps=2),
            iterative(2, 3, n_steps=4, n_outputs=2, activation="tanh"),
            with_periodic_inputs(with_scaled_inputs(Network((3 + 2 * 3, 4, 2), activation="selu")), [2, 0]),
            with_embedded_inputs(with_scaled_inputs(Network((2 * 2 + 1, 4, 2))), [[0, 4], [1, 3]], n_outputs=2),
            Network((3, 5, 4, 2), activation="tanh", loss="cross_entropy", n_members=4),
            Network((3, 2), n_members=2),
        ],
        ids=["skips", "no biases", "blocks", "fields", "iterative", "periodic", "embedded", "members", "only members"],
    )
    @pytest.mark.parametrize("seeds", [1, range(3)], ids=["one", "stack"])
    def test_connections_of_all_kinds(self, network, precision, seeds):
        check(network, weights(network, precision, seeds), samples(network, precision))

    @both_precisions
    @pytest.mark.parametrize("n_networks", [(), (3,)], ids=["one", "stack"])
    def test_parametric_activations(self, precision, n_networks):
        network = Network((3, 4, 5, 6, 2), activation=("parametric(selu)", "tanh", "parametric(mish)"))
        theta = np.random.default_rng(0).normal(0.0, 0.5, (*n_networks, network.n_parameters)).astype(precision)
        check(network, theta, samples(network, precision))

    @given(data=st.data(), precision=st.sampled_from(["float32", "float64"]), bias=st.booleans())
    def test_any_topology(self, data, precision, bias):
        sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
        activations = st.sampled_from([name for name in NAMES if name not in ("exp", "softmax(2,3)")])
        activation = data.draw(st.lists(activations, min_size=len(sizes) - 2, max_size=len(sizes) - 2))
        leaps = [(below, above) for above in range(len(sizes)) for below in range(above - 1)]
        skips = data.draw(st.lists(st.sampled_from(leaps), unique=True)) if leaps else []
        network = Network(
            sizes, activation=activation, output_activation=data.draw(activations), bias=bias, skips=skips
        )
        seeds = data.draw(st.sampled_from([1, range(1), range(3)]))
        check(network, weights(network, precision, seeds), samples(network, precision, n=data.draw(st.integers(1, 5))))

    def test_a_stack_gives_the_outputs_of_each_network(self):
        network = Network((3, 4, 2), output_activation="softmax")
        model = to_onnx(network, weights(network, "float32", range(3)))
        assert describe_values(model.graph.output)[0]["shape"] == [3, "samples", 2]
        assert run(model, {"X": samples(network, "float32")})["variable"].shape == (3, 7, 2)

    def test_any_number_of_samples_at_once(self):
        network = Network((3, 4, 2), output_activation="softmax")
        theta = weights(network, "float32")
        loaded = session(to_onnx(network, theta))
        for n in (1, 2, 1000):
            x = samples(network, "float32", n)
            assert_agree(loaded.run(None, {"X": x})[0], predict(network, theta, x, device="cpu"), "forward")
        assert loaded.run(None, {"X": samples(network, "float32", 0)})[0].shape == (0, 2)

    def test_standard_operators(self):
        """Other programs recognise the layers by these operators."""
        network = Network((3, 4, 4, 2), activation=("relu", "logistic"), loss="cross_entropy")
        model = to_onnx(network, weights(network, "float32"))
        expected = ["MatMul", "Add", "Relu", "MatMul", "Add", "Sigmoid", "MatMul", "Add", "Softmax"]
        assert [node.op_type for node in model.graph.node] == expected

    def test_the_reference_implementation_agrees(self):
        from onnx.reference import ReferenceEvaluator

        for name in ("silu", "gelu", "mish", "elu(0.3)", "leaky_relu(0.2)", "softplus", "softmax(2,3)"):
            network = Network((4, 5, 5), activation=name, output_activation="identity")
            theta, x = weights(network, "float64"), samples(network, "float64")
            (y,) = ReferenceEvaluator(to_onnx(network, theta)).run(None, {"X": x})
            assert_agree(y, predict(network, theta, x, device="cpu"), "forward")

    def test_the_precision_is_that_of_the_parameters_or_the_requested_one(self):
        network = Network((3, 2))
        theta = weights(network, "float64")
        x = samples(network, "float32")
        assert run(to_onnx(network, theta), {"X": x.astype("float64")})["variable"].dtype == "float64"
        y = run(to_onnx(network, theta, dtype="float32"), {"X": x})["variable"]
        assert_agree(y, predict(network, theta.astype("float32"), x, device="cpu"), "forward")

    def test_a_fit_needs_no_theta(self):
        network = Network((2, 3, 1), activation="tanh")
        x = samples(network, "float32")
        fit = gpubp.train(network, x, x[:, :1], epochs=2, device="cpu")
        y = run(to_onnx(fit), {"X": x})["variable"]
        assert_agree(y, predict(network, fit.theta, x, device="cpu"), "forward")


class TestModels:
    NETWORK = Network((3, 4, 2), activation="gelu")

    def model(self, **options):
        return to_onnx(self.NETWORK, weights(self.NETWORK, "float32"), **options)

    def test_equal_models_give_equal_bytes(self):
        table = fit_table(prepare_table(SHOP, target="buys"), epochs=1, device="cpu").model
        for make in (self.model, lambda: to_onnx(table)):
            assert make().SerializeToString(deterministic=True) == make().SerializeToString(deterministic=True)

    def test_versions_that_old_runtimes_read(self):
        model = self.model()
        assert (model.ir_version, model.opset_import[0].version) == (9, 20)
        assert len(model.opset_import) == 1
        of_a_table = to_onnx(fit_table(prepare_table(SHOP, target="buys"), epochs=1, device="cpu").model)
        assert [(entry.domain, entry.version) for entry in of_a_table.opset_import] == [("", 20), ("ai.onnx.ml", 4)]

    def test_facts_in_the_model(self):
        result = fit_table(prepare_table("iris", numbers="linear"), epochs=1, device="cpu")
        model = to_onnx(result.model)
        assert (model.producer_name, model.producer_version) == ("gpubp", gpubp.__version__)
        assert model.doc_string.startswith("multilayer perceptron of 4-100-3 units (relu, softmax); source: ")
        metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        assert metadata["about"] == json.loads(json.dumps(result.model.about))
        assert metadata["classes"] == ["setosa", "versicolor", "virginica"]
        assert metadata["targets"] == ["target"]

    def test_written_whole(self, tmp_path):
        path = tmp_path / "net.onnx"
        path.write_text("old")
        model = self.model(path=path)
        assert path.read_bytes() == model.SerializeToString(deterministic=True)
        assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
        with pytest.raises(OSError, match="No such file"):
            self.model(path=tmp_path / "nowhere" / "net.onnx")

    def test_too_large_for_one_file(self, monkeypatch):
        monkeypatch.setattr(_graph, "MAX_BYTES", 100)
        with pytest.raises(DataError, match=r"take 116 bytes, but one ONNX file holds 100; use a smaller network"):
            self.model()
        with pytest.raises(DataError, match=r"take 232 bytes.*dtype='float32' would halve that"):
            self.model(dtype="float64")

    def test_without_onnx(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(GpubpError, match=r"needs onnx: pip install .*onnx"):
            self.model()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((NETWORK,), "theta is missing; pass the network with its parameters"),
            ((NETWORK, np.zeros(7, "float32")), r"theta must be \(26,\), or \(K, 26\)"),
            ((NETWORK, np.full(26, np.nan, "float32")), "theta"),
            (([1, 2],), "to_onnx takes a Network with its theta, .* got list"),
            ((gpubp.io.model_file.Model(NETWORK, np.zeros(26)), np.zeros(26)), "omit it for a Model"),
        ],
    )
    def test_refused(self, arguments, message):
        with pytest.raises(DataError, match=message):
            to_onnx(*arguments)


# --- estimators ---

X, Y = load_iris(return_X_y=True)
SPECIES = np.asarray(["setosa", "versicolor", "virginica"])[Y]
LABELS = {
    "whole numbers": Y - 1,
    "int32": Y.astype("int32"),
    "text": SPECIES,
    "objects": SPECIES.astype(object),
    "floats": Y.astype(float) * 2.0,
    "two of text": np.where(Y == 0, "no", "ja"),
    "bools": Y == 1,
    "two numbers": np.where(Y == 0, 7, 3),
    "one": np.full(len(Y), "all"),
}


def classifier(**options):
    return MLPClassifier((6,), max_iter=20, learning_rate_init=0.05, random_state=0, device="cpu", **options)


def regressor(**options):
    options = {"max_iter": 20, "learning_rate_init": 0.05, "random_state": 0, "device": "cpu"} | options
    return MLPRegressor(hidden_layer_sizes=(6,), **options)


class TestClassifiers:
    @pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
    def test_labels_of_each_type(self, y):
        model = classifier().fit(X, y)
        results = run(model.to_onnx(), {"X": X})
        assert list(results) == ["label", "probabilities"]
        expected = model.predict(X)
        assert results["label"].tolist() == expected.tolist()
        assert results["label"].dtype == (object if expected.dtype.kind == "U" else expected.dtype)
        assert_agree(results["probabilities"], model.predict_proba(X), "forward")
        (classes,) = [json.loads(entry.value) for entry in model.to_onnx().metadata_props if entry.key == "classes"]
        assert classes == (model.classes_.tolist() if len(model.classes_) > 1 else ["all", "all"])

    @both_precisions
    def test_precisions(self, precision):
        x = X.astype(precision)
        model = classifier(activation="silu").fit(x, Y)
        assert_agree(run(model.to_onnx(), {"X": x})["probabilities"], model.predict_proba(x), "forward")

    def test_another_precision(self):
        model = classifier().fit(X, Y)
        results = run(model.to_onnx(dtype="float32"), {"X": X.astype("float32")})
        np.testing.assert_allclose(results["probabilities"], model.predict_proba(X), rtol=1e-4, atol=1e-5)
        model.set_params(dtype="float32")
        assert describe_values(model.to_onnx().graph.input)[0]["type"] == "float32"

    @pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
    def test_several_labels_per_sample(self, loss):
        x, marks = make_multilabel_classification(60, 5, n_classes=4, random_state=0)
        model = classifier(loss=loss).fit(x, marks)
        results = run(model.to_onnx(), {"X": x})
        assert results["label"].tolist() == model.predict(x).tolist()
        assert 0 < results["label"].mean() < 1
        assert_agree(results["probabilities"], model.predict_proba(x), "forward")

    @pytest.mark.parametrize("columns", [(Y, 2 - Y % 2), (SPECIES, np.where(Y > 1, "yes", "no")), (SPECIES, Y)])
    def test_several_columns_of_classes(self, columns):
        y = np.stack([column.astype(np.result_type(*columns)) for column in columns], axis=1)
        model = classifier().fit(X, y)
        results = run(model.to_onnx(), {"X": X})
        assert list(results) == ["label", "probabilities_0", "probabilities_1"]
        assert results["label"].tolist() == model.predict(X).tolist()
        for number, expected in enumerate(model.predict_proba(X)):
            assert_agree(results[f"probabilities_{number}"], expected, "forward")

    def test_column_names_of_frames_are_kept(self):
        frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
        model = classifier().fit(frame, Y)
        (names,) = [json.loads(entry.value) for entry in model.to_onnx().metadata_props if entry.key == "feature_names"]
        assert names == ["a", "b", "c", "d"]

    def test_by_the_function(self, tmp_path):
        model = classifier().fit(X, Y)
        assert to_onnx(model, path=tmp_path / "a.onnx", dtype="float32") == model.to_onnx(dtype="float32")
        assert onnx.load(tmp_path / "a.onnx") == model.to_onnx(dtype="float32")
        with pytest.raises(DataError, match="theta is for a Network only; omit it for a MLPClassifier"):
            to_onnx(model, np.zeros(3))

    def test_not_fitted(self):
        with pytest.raises(ValueError, match="not fitted"):
            classifier().to_onnx()

    def test_labels_that_onnx_does_not_know(self):
        with pytest.raises(DataError, match="the classes hold int; ONNX supports labels that are all text"):
            predictions.class_of_largest(np.asarray(["a", 1], dtype=object))

    @pytest.mark.parametrize("y", [SPECIES, Y == 0], ids=["three", "two"])
    def test_ensembles_are_averaged(self, y):
        model = MLPEnsembleClassifier(classifier(), n_estimators=3, random_state=0).fit(X, y)
        results = run(model.to_onnx(), {"X": X})
        assert results["label"].tolist() == model.predict(X).tolist()
        assert_agree(results["probabilities"], model.predict_proba(X), "forward")


TARGETS = {"one": X[:, 0], "several": X[:, :3]}


class TestRegressors:
    @pytest.mark.parametrize("loss", ["squared_error", "poisson", "huber(0.5)"])
    @pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
    def test_numbers(self, y, loss):
        model = regressor(loss=loss).fit(X, y)
        results = run(model.to_onnx(), {"X": X})
        assert list(results) == ["variable"]
        assert_agree(results["variable"], model.predict(X).reshape(len(X), -1), "forward")

    def test_ensembles_are_averaged(self):
        model = MLPEnsembleRegressor(regressor(), n_estimators=3, random_state=0).fit(X, X[:, 0])
        assert_agree(run(model.to_onnx(), {"X": X})["variable"], model.predict(X)[:, None], "forward")


# --- tables ---

RANDOM = np.random.default_rng(0)
N = 40
SHOP = {
    "age": RANDOM.integers(18, 80, N),
    "town": RANDOM.choice(["Bonn", "Köln", "Ulm"], N).tolist(),
    "income": RANDOM.normal(3e4, 1e4, N),
    "owns": RANDOM.integers(0, 2, N).astype(bool),
    "rooms": RANDOM.integers(1, 4, N).astype(float),
    "buys": RANDOM.choice(["yes", "no"], N).tolist(),
    "price": RANDOM.normal(-500.0, 30.0, N),
}
GAPS = SHOP | {
    "income": [np.nan, *SHOP["income"][1:]],
    "town": [None, *SHOP["town"][1:]],
    "rooms": [None, *SHOP["rooms"][1:]],
}


def feeds_of(model, columns):
    """Return a table as the inputs of a model, as docs/deployment.md says."""
    feeds = {}
    for value in describe_values(model.graph.input):
        column = columns[value["name"]]
        if value["type"] == "text":
            feeds[value["name"]] = np.asarray([["" if text is None else str(text)] for text in column], dtype=object)
        elif getattr(column, "dtype", np.dtype(object)).kind == "M":
            feeds[value["name"]] = column.astype("datetime64[s]").astype(float)[:, None]
        else:
            feeds[value["name"]] = np.asarray(column, dtype=float)[:, None]
    return feeds


def fitted(columns, target, **options):
    names = ("dtype", "hidden_layer_sizes", "loss")
    given = {name: options.pop(name) for name in names if name in options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_table(columns, target=target, **options)
        return fit_table(prepared, epochs=3, device="cpu", **({"hidden_layer_sizes": (5,)} | given)).model


def check_table(model, columns, target, read=None):
    """Check that onnxruntime predicts from columns as gpubp does; `read` are the numbers and dates that texts hold."""
    exported = to_onnx(model)
    results = run(exported, feeds_of(exported, columns if read is None else read))
    expected = predict_table(model, columns, device="cpu")
    if "label" in results:
        assert results["label"].tolist() == expected.pop(target).tolist()
        assert_agree(results["probabilities"], np.stack([*expected.values()], 1).astype(model.theta.dtype), "forward")
    else:
        target, both = preprocessing_of(model).target, (results["variable"], np.stack([*expected.values()], 1))
        scaled, expected_scaled = ((y - target.means) / target.scales for y in both)
        assert_agree(scaled.astype(model.theta.dtype), expected_scaled.astype(model.theta.dtype), "forward")


@pytest.mark.filterwarnings("ignore::gpubp.errors.TableWarning")
class TestTables:
    @both_precisions
    @pytest.mark.parametrize("target", ["buys", "price", "owns", "rooms"])
    def test_columns_of_each_kind(self, target, precision):
        model = fitted(SHOP, target, dtype=precision, categorical=["rooms"] if target == "buys" else [])
        check_table(model, SHOP, target)

    @both_precisions
    def test_missing_values_are_filled_as_in_training(self, precision):
        model = fitted(GAPS, "buys", categorical=["rooms"], dtype=precision)
        assert sum(name.endswith("=missing") for name in preprocessing_of(model).feature_names) == 3
        check_table(model, GAPS, "buys")
        everything = {name: [None] * N if isinstance(SHOP[name], list) else np.full(N, np.nan) for name in SHOP}
        for trained in (model, fitted(SHOP, "buys", dtype=precision)):
            check_table(trained, everything, "buys")

    @both_precisions
    @pytest.mark.parametrize("target", ["buys", "price"])
    def test_types_of_columns_that_people_write(self, target, precision):
        """The graph takes the numbers that the texts hold, and the seconds of the dates."""
        n = 200
        generator = np.random.default_rng(1)
        numbers, days = generator.uniform(1.0, 2e3, n).round(2), generator.integers(0, 9999, n)
        words = generator.choice(["old", "Large", "house", "garden,", "Sea-View", "été"], (n, 4))
        columns = {
            "size": [f"${number:,.2f}" for number in numbers[:-1]] + ["?"],
            "sold": [f"{day}" for day in np.datetime64("1999-12-25") + days],
            "note": [" ".join(row) for row in words],
            "street": [f"street {number}" for number in generator.zipf(1.5, n)],
            "heated": generator.choice(["yes", "No", "-"], n).tolist(),
            "buys": generator.choice(["yes", "no"], n).tolist(),
            "price": generator.normal(size=n),
        }
        options = {"types": {"note": "words"}, "max_categories": 5, "dtype": precision}
        model = fitted(columns, target, drop=["price" if target == "buys" else "buys"], **options)
        records = {column.name: column for column in preprocessing_of(model).columns}
        assert [type(record).__name__[:-6] for record in records.values()] == [
            *("Number", "Date", "Words", "Category", "Category"),
        ]
        assert records["street"].groups
        assert records["street"].other
        assert records["heated"].kind == "bool"
        read = columns | {"size": [*numbers[:-1], np.nan], "sold": np.asarray(columns["sold"], "datetime64[s]")}
        check_table(model, columns, target, read)

    @pytest.mark.parametrize("categories", [("Bonn", "Ulm"), ("Bonn", "NA")])
    def test_texts_for_missing_values_are_missing_where_no_category_has_them(self, categories):
        columns = {"town": np.array(categories)[np.arange(N) % 2], "buys": SHOP["buys"]}
        codes = [["DE", "FR", "IT", "NA", "PL", "UK"][row % 6] for row in range(N)]
        for towns in (columns["town"], codes):
            model = fitted(columns | {"town": towns}, "buys")
            check_table(model, {"town": np.array(["Bonn", "NA", "null", ""])[np.arange(N) % 4]}, "buys")

    def test_several_targets_in_their_units(self):
        model = fitted(SHOP, ["price", "income"])
        check_table(model, SHOP, None)
        exported = to_onnx(model)
        assert [json.loads(e.value) for e in exported.metadata_props if e.key == "targets"] == [["price", "income"]]
        assert np.all(run(exported, feeds_of(exported, SHOP))["variable"].mean(axis=0).round(-2) < [0, 1e6])

    def test_a_target_that_is_not_centred(self):
        counts = SHOP | {"price": RANDOM.integers(0, 9, N).astype(float)}
        check_table(fitted(counts, "price", task="regression", loss="poisson"), counts, "price")

    def test_one_number_and_one_category(self):
        for columns in ({"a": SHOP["income"]}, {"a": SHOP["town"]}):
            check_table(fitted(columns | {"buys": SHOP["buys"]}, "buys"), columns, "buys")

    def test_unknown_categories_are_listed_and_encoded_as_gpubp_does(self):
        model = fitted(SHOP, "buys")
        check_table(model, SHOP | {"town": ["Rome", "", *SHOP["town"][2:]]}, "buys")
        (categories,) = [
            json.loads(entry.value) for entry in to_onnx(model).metadata_props if entry.key == "categories"
        ]
        assert categories == {"town": ["Bonn", "Köln", "Ulm"], "owns": ["False", "True"]}

    def test_formats_of_dates_are_listed(self):
        days = [f"{1 + day % 28}.{1 + day % 12}.{1990 + day}" for day in range(N)]
        exported = to_onnx(fitted({"sold": days, "buys": SHOP["buys"]}, "buys"))
        assert [json.loads(e.value) for e in exported.metadata_props if e.key == "dates"] == [{"sold": "%d.%m.%Y"}]

    def test_a_target_whose_scale_is_1_in_float32(self):
        for scale, mean in ((1.0 + 1e-9, 1e-60), (1.0 - 1e-9, 2.0)):
            graph = _graph.Graph("float64")
            outputs = graph.input("X", "float64", ("samples", 1))
            predictions.rescaled_numbers(NumberTarget(("y",), (mean,), (scale,), (0.0,), (9.0,)))(graph, outputs, 1)
            x = np.asarray([[3.0]])
            assert_agree(run(graph.model(""), {"X": x})["variable"], x * scale + mean, "forward")

    def test_duplicate_names_of_columns(self):
        names = ("label", "probabilities", "weights.0.1", "X", "matmul", "größe in m²")
        columns = {name: RANDOM.normal(size=N) for name in names} | {"label_": SHOP["town"], "y": SHOP["buys"]}
        model = fitted(columns, "y")
        exported = to_onnx(model)
        assert [value.name for value in exported.graph.input] == [*names, "label_"]
        assert [value.name for value in exported.graph.output] == ["label__", "probabilities_"]
        results = run(exported, feeds_of(exported, columns))
        assert results["label__"].tolist() == predict_table(model, columns, device="cpu")["y"].tolist()

    def test_from_a_file(self, tmp_path):
        model = fitted(SHOP, "buys")
        path = tmp_path / "shop.safetensors"
        save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
        check_table(load_model(path), SHOP, "buys")
        assert to_onnx(load_model(path)) == to_onnx(model)

    def test_refused(self):
        model = fitted(SHOP, "buys")
        network = Network((2, 2))
        with pytest.raises(ModelFileError, match="gives 26 inputs and 2 outputs"):
            to_onnx(gpubp.io.model_file.Model(network, np.zeros(6), model.preprocessing))


# --- the command ---


@pytest.fixture
def shop_file(tmp_path, monkeypatch):
    """Write a model file into the current folder."""
    monkeypatch.chdir(tmp_path)
    model = fitted(SHOP, "buys")
    save_model("shop.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    return tmp_path / "shop.safetensors"


class TestCommand:
    @pytest.fixture
    def command(self, capsys):
        pytest.importorskip("typer", reason="the extra 'cli' is not installed")
        from gpubp.__main__ import main

        def command(*arguments):
            code = main(["export", *map(str, arguments)])
            return code, *capsys.readouterr()

        return command

    def test_writes_next_to_the_model_and_lists_its_inputs(self, command, shop_file):
        code, out, err = command(shop_file)
        assert (code, err) == (0, "")
        assert onnx.load("shop.onnx") == to_onnx(load_model(shop_file))
        lines = [line.split() for line in out.splitlines()]
        size = shop_file.with_suffix(".onnx").stat().st_size
        assert out.startswith(f"written    {shop_file.with_suffix('.onnx')} (opset 20, IR version 9, {size:,} bytes)")
        assert ["input", "town", "text", "samples", "x", "1"] in lines
        assert ["input", "income", "float64", "samples", "x", "1"] in lines
        assert ["output", "label", "text", "samples"] in lines
        assert ["output", "probabilities", "float32", "samples", "x", "2"] in lines

    def test_the_output_may_be_an_option(self, command, shop_file):
        for option in ("-o", "--output"):
            assert command(shop_file, option, f"{option}.onnx")[0] == 0
            assert onnx.load(f"{option}.onnx") == to_onnx(load_model(shop_file))
        code, out, err = command(shop_file, "a.onnx", "-o", "b.onnx")
        assert (code, out) == (2, "")
        assert err == "error: the ONNX file is given twice, as a.onnx and as --output b.onnx; omit one\n"

    def test_replaces_only_its_own_files(self, command, shop_file):
        assert command(shop_file, "a.onnx")[0] == 0
        code, _, err = command(shop_file, "a.onnx")
        assert (code, err) == (0, "replaces   a.onnx, from an earlier export\n")
        for content in (b"", b"text", onnx.helper.make_model(onnx.GraphProto()).SerializeToString()):
            shop_file.with_name("b.onnx").write_bytes(content)
            code, out, err = command(shop_file, "b.onnx")
            assert (code, out) == (2, "")
            assert err == ("error: b.onnx exists and was not written by gpubp; delete it, or choose another path\n")
            assert shop_file.with_name("b.onnx").read_bytes() == content

    def test_as_json(self, command, shop_file):
        code, out, _ = command(shop_file, "--json")
        reported = json.loads(out)
        assert (code, reported["opset"], reported["ir_version"]) == (0, 20, 9)
        assert reported["inputs"][1] == {"name": "town", "type": "text", "shape": ["samples", 1]}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("shop.safetensors", "shop.txt"), "cannot write a file of that kind; its name must end in .onnx"),
            (("none.safetensors",), "none.safetensors does not exist"),
            (("shop.safetensors", "nowhere/a.onnx"), "there is no folder"),
        ],
    )
    @pytest.mark.usefixtures("shop_file")
    def test_refused(self, command, arguments, message):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1

    def test_without_onnx(self, command, shop_file, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        code, out, err = command(shop_file)
        command_line = install_command("onnx onnxruntime", "onnx")
        assert (code, out, err) == (2, "", f"error: an export needs onnx: {command_line}\n")
        assert not shop_file.with_suffix(".onnx").exists()
