"""Recipes of networks: how they are built, trained, saved and loaded, and the preset ``realmlp``."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from gpubp import (
    CosineCycles,
    FlatCosine,
    TabularClassifier,
    TabularRegressor,
    fit_table,
    load_model,
    predict_table,
    prepare_table,
    save_model,
)
from gpubp.errors import DataError
from gpubp.nn import batch_ensemble
from gpubp.nn.initialization import Purpose, generator_for
from gpubp.nn.network import views
from gpubp.nn.passes import forward, output_layer
from gpubp.tabular import REALMLP, REALMLP_S, TABM
from gpubp.tabular.recipes import (
    number_inputs,
    recipe_dropout,
    recipe_network,
    recipe_optimizer,
    recipe_size,
    recipe_weights,
)

SMALL = replace(REALMLP_S["regression"], hidden_layer_sizes=(16, 16), epochs=30, batch_size=16)
PERIODIC = replace(SMALL, is_periodic=True)
MEMBERS = replace(TABM["regression"], hidden_layer_sizes=(16, 16), epochs=40, batch_size=16, n_members=4)
FULL = replace(REALMLP["regression"], hidden_layer_sizes=(16, 16), epochs=30, batch_size=16)
recipes = pytest.mark.parametrize("recipe", [SMALL, PERIODIC, FULL], ids=["plain", "periodic", "full"])


def waves(n=300, seed=0):
    """A table whose target goes up and down in one column, with a category, dates and missing numbers."""
    random = np.random.default_rng(seed)
    x, kind = random.uniform(-1.0, 1.0, n), random.choice(["a", "b"], n)
    return {
        "kind": kind,
        "x": np.where(random.uniform(size=n) < 0.03, np.nan, x),
        "day": [f"2024-{1 + k % 12:02}-{1 + k % 28:02}" for k in range(n)],
        "y": np.sin(9.0 * x) + (kind == "a"),
    }


def prepared(**options):
    return prepare_table(waves(), target="y", numbers=SMALL.numbers, **options)


@pytest.fixture
def small(monkeypatch):
    """Presets that take no time."""
    for recipes_of_tasks in (REALMLP, REALMLP_S):
        for task, recipe in recipes_of_tasks.items():
            short = replace(recipe, hidden_layer_sizes=(16, 16), epochs=12, batch_size=16)
            monkeypatch.setitem(recipes_of_tasks, task, short)
            monkeypatch.setitem(TABM, task, MEMBERS)


class TestNetworks:
    def test_numbers_and_days_are_embedded(self):
        table = prepared()
        columns = {column.name: place.start for column, place in inputs_of(table)}
        assert number_inputs(table.preprocessing) == [columns["x"], columns["day"]]
        network = recipe_network(PERIODIC, table)
        n = table.n_inputs
        assert network.sizes == (n, 32, 6, n + 6, 16, 16, 1)
        assert network.activations == ("cosine", "identity", "identity", "mish", "mish", "identity")

    def test_without_numbers_nothing_is_embedded(self):
        random = np.random.default_rng(0)
        table = prepare_table({"a": random.choice(["u", "v"], 50), "y": random.normal(size=50)}, target="y")
        assert recipe_network(PERIODIC, table) == recipe_network(SMALL, table)

    @recipes
    def test_their_size_is_known_before(self, recipe):
        assert recipe_size(recipe, prepared()) == recipe_network(recipe, prepared()).n_parameters

    @recipes
    def test_a_wide_table_is_refused(self, recipe, monkeypatch):
        monkeypatch.setattr("gpubp.tabular.recipes.MOST_SCALES", 3)
        with pytest.raises(DataError, match="for at most 3 inputs, and the table has"):
            fit_table(prepared(), recipe=recipe, device="cpu")

    @pytest.mark.parametrize("recipe", [SMALL, PERIODIC])
    def test_networks_begin_with_outputs_of_0(self, recipe):
        table = prepared()
        network = recipe_network(recipe, table)
        theta = recipe_weights(recipe, network, table, [1, 2], "float64")
        assert not np.any(output_layer(np, network, theta, table.X).y)

    @recipes
    def test_rates_of_the_parameters(self, recipe):
        network = recipe_network(recipe, prepared())
        optimizer = recipe_optimizer(recipe, network)
        assert optimizer.settings["learning_rate"] == CosineCycles(0.2 if recipe is FULL else 0.07, 30)
        assert optimizer.settings["beta_2"] == 0.95
        *embedding, scale, first, second, last = views(np, network, optimizer.settings["rate_factors"])
        np.testing.assert_array_equal(scale[:-1], 6.0)
        for block in (first, second, last):
            np.testing.assert_allclose(block[:-1], (len(block) - 1) ** -0.5, rtol=1e-15)
            np.testing.assert_array_equal(block[-1], 0.1)
        rates = [(float(block[0, 0]), float(block[-1, 0])) for block in embedding]
        assert rates == ([(pytest.approx(0.2 * np.pi), 0.1), (0.1, 0.1)] if recipe.is_periodic else [])
        if recipe is FULL:
            np.testing.assert_array_equal(optimizer.settings["rate_factors"][-32:], 0.1)

    def test_a_step_decays_what_is_learned_as_realmlp_does(self):
        """W by the rate itself, others by the square of the factor of their rate, biases and activations not at all."""
        network = recipe_network(FULL, prepared())
        settings = recipe_optimizer(FULL, network).settings
        assert settings["weight_decay"] == FlatCosine(0.02, 30)
        products = settings["rate_factors"] * settings["decay_factors"]
        waves, embedding, scale, *blocks = views(np, network, products)
        for block, factor in ((waves, 0.01), (embedding, 0.01), (scale, 36.0), *((block, 1.0) for block in blocks)):
            np.testing.assert_allclose(block[:-1], factor, rtol=1e-12)
            np.testing.assert_array_equal(block[-1], 0.0)
        np.testing.assert_array_equal(products[-32:], 0.0)

    def test_dropout_is_that_of_the_hidden_layers(self):
        rate = FlatCosine(0.15, 30)
        network = recipe_network(FULL, prepared())
        assert recipe_dropout(FULL, network) == (0.0, 0.0, 0.0, rate, rate)  # after the embedding and the scale
        assert recipe_dropout(SMALL, recipe_network(SMALL, prepared())) == 0.0

    @pytest.mark.parametrize("n_rows", [None, 60])
    def test_weights_are_scaled_to_the_training_rows(self, n_rows, monkeypatch):
        if n_rows:
            monkeypatch.setattr("gpubp.tabular.recipes.ROWS_TO_STANDARDIZE", n_rows)
        table = prepared(dtype="float64")
        network, (X, *_) = recipe_network(FULL, table), table.training()
        thetas = recipe_weights(FULL, network, table, [1, 2], "float64")
        alone = recipe_weights(FULL, network, table, 2, "float64")
        np.testing.assert_array_equal(thetas[1], alone)
        spreads = [layer.x.std(axis=0) for layer in forward(np, network, alone, X)[3:]]
        if n_rows is None:
            np.testing.assert_allclose(np.concatenate(spreads), 1.0, rtol=1e-10)
        else:
            np.testing.assert_allclose(np.concatenate(spreads), 1.0, rtol=0.5)
        first = forward(np, network, alone, X)[3].x
        assert np.all(first.min(axis=0) < 0.0)
        assert np.all(first.max(axis=0) > 0.0)  # each unit bends among the rows


class TestMembers:
    def test_they_share_weights_and_are_trained_by_adamw(self):
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        network = recipe_network(MEMBERS, table)
        assert (network.sizes, network.n_members) == ((table.n_inputs, 16, 16, 1), 4)
        assert recipe_size(MEMBERS, table) == network.n_parameters
        optimizer = recipe_optimizer(MEMBERS, network)
        assert optimizer.name == "adamw"
        assert (optimizer.settings["learning_rate"], optimizer.settings["weight_decay"]) == (0.002, 3e-4)

    def test_each_scales_every_column_by_a_number(self):
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        network = recipe_network(MEMBERS, table)
        theta = recipe_weights(MEMBERS, network, table, [1, 2], "float64")
        np.testing.assert_array_equal(theta[1], recipe_weights(MEMBERS, network, table, 2, "float64"))
        (first, second), _ = batch_ensemble.views(np, network.members, theta)
        assert np.all(second.r == 1.0)
        for _, place in inputs_of(table):
            scales = first.r[..., place]
            np.testing.assert_array_equal(scales, np.broadcast_to(scales[..., :1], scales.shape))
        assert len(np.unique(first.r)) == 2 * 4 * len(table.preprocessing.columns)

    def test_the_scales_share_no_random_numbers_with_dropout(self):
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        network = recipe_network(MEMBERS, table)
        (first, _), _ = batch_ensemble.views(np, network.members, recipe_weights(MEMBERS, network, table, 1, "float64"))
        drawn = [generator_for(1, purpose).normal() for purpose in Purpose]
        assert [number in first.r for number in drawn] == [purpose is Purpose.INPUT_SCALES for purpose in Purpose]

    def test_a_wide_table_is_no_trouble(self, monkeypatch):
        monkeypatch.setattr("gpubp.tabular.recipes.MOST_SCALES", 3)
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        assert recipe_network(MEMBERS, table).sizes[0] > 3

    def test_training_stops_early_by_the_mean_prediction(self, tmp_path, caplog):
        caplog.set_level(logging.INFO, "gpubp")
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        result = fit_table(table, recipe=replace(MEMBERS, epochs=500, patience=5), device="cpu")
        assert result.scores["test"]["r2"] > 0.6
        assert (result.fit.stop_reason, len(result.fit.history.loss)) == ("patience", result.fit.best_epoch + 5)
        assert caplog.text.count("array calls") <= 1
        assert result.model.about["training"]["preset"] == "tabm"
        save(result.model, tmp_path)
        expected = predict_table(result.model, waves(20, 1), device="cpu")
        found = predict_table(load_model(tmp_path / "m.safetensors"), waves(20, 1), device="cpu")
        np.testing.assert_array_equal(found["y"], expected["y"])

    def test_several_networks_of_members_are_averaged(self):
        table = prepare_table(waves(), target="y", numbers=MEMBERS.numbers)
        result = fit_table(table, recipe=replace(MEMBERS, epochs=5), device="cpu", n_networks=2, refit=False)
        model, table = result.model, waves(20, 1)
        each = [predict_table(replace(model, theta=theta), table, device="cpu")["y"] for theta in model.theta]
        np.testing.assert_allclose(predict_table(model, table, device="cpu")["y"], np.mean(each, axis=0), rtol=1e-5)

    @pytest.mark.usefixtures("small")
    def test_the_exported_model_predicts_the_same(self):
        pytest.importorskip("onnx")
        onnxruntime = pytest.importorskip("onnxruntime")
        random = np.random.default_rng(0)
        X = random.normal(size=(80, 3)).astype("float32")
        model = TabularClassifier(preset="tabm", device="cpu").fit(X, X[:, 0] * X[:, 1] > 0)
        session = onnxruntime.InferenceSession(model.to_onnx().SerializeToString())
        feeds = {one.name: X[:, k : k + 1].astype("float64") for k, one in enumerate(session.get_inputs())}
        names = [one.name for one in session.get_outputs()]
        found = dict(zip(names, session.run(None, feeds), strict=True))
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)


def save(model, folder):
    save_model(
        folder / "m.safetensors",
        model.network,
        model.theta,
        preprocessing=model.preprocessing,
        about=model.about,
    )


def inputs_of(table):
    return zip(table.preprocessing.columns, table.preprocessing.input_slices.values(), strict=True)


class TestTraining:
    @recipes
    def test_fits_and_saves_several(self, recipe, tmp_path, caplog):
        caplog.set_level(logging.INFO, "gpubp")
        result = fit_table(prepared(), recipe=recipe, device="cpu", n_networks=2)
        assert result.scores["test"]["r2"] > 0.4
        assert "array calls" not in caplog.text
        assert len(result.fit.history.loss) == 30
        assert result.refit is None  # the rate may be high in the best epoch
        training = result.model.about["training"]
        assert (training["preset"], training["batch_size"], training["l2"]) == (recipe.name, 16, 0.0)
        save(result.model, tmp_path)
        expected = predict_table(result.model, waves(20, 1), device="cpu")
        found = predict_table(load_model(tmp_path / "m.safetensors"), waves(20, 1), device="cpu")
        np.testing.assert_array_equal(found["y"], expected["y"])

    def test_the_periodic_embedding_follows_waves(self):
        fits = [fit_table(prepared(), recipe=recipe, device="cpu", refit=False) for recipe in (SMALL, PERIODIC)]
        plain, periodic = (fit.scores["test"]["rmse"] for fit in fits)
        assert periodic < plain

    @pytest.mark.parametrize("encoding", ["piecewise", "linear"])
    def test_a_table_with_another_encoding_is_refused(self, encoding):
        table = prepare_table(waves(), target="y", numbers=encoding)
        with pytest.raises(DataError, match=f"as 'robust', and those of the table are '{encoding}'; pass numbers='rob"):
            fit_table(table, recipe=SMALL, device="cpu")

    def test_a_recipe_for_classes_is_refused_for_numbers(self):
        with pytest.raises(DataError, match=r"the recipe smooths labels by 0\.1, and the target holds numbers"):
            fit_table(prepared(), recipe=REALMLP["classification"], device="cpu")

    @pytest.mark.parametrize("recipe", ["realmlp", REALMLP], ids=["name", "both tasks"])
    def test_what_is_no_recipe_is_refused(self, recipe):
        with pytest.raises(
            DataError, match=r"recipe must be a TableRecipe, such as gpubp.tabular.REALMLP\['regression'"
        ):
            fit_table(prepared(), recipe=recipe, device="cpu")

    def test_labels_are_smoothed_by_the_recipe(self):
        recipe = replace(REALMLP["classification"], hidden_layer_sizes=(8,), epochs=2)
        table = prepare_table("iris", numbers=recipe.numbers)
        assert fit_table(table, recipe=recipe, device="cpu").model.about["training"]["label_smoothing"] == 0.1


@pytest.mark.usefixtures("small")
class TestEstimators:
    @pytest.mark.parametrize("preset", ["realmlp", "realmlp-s", "tabm"])
    def test_have_presets(self, preset, tmp_path):
        table = waves()
        y = table.pop("y")
        for make, targets in ((TabularRegressor, y), (TabularClassifier, y > 0.5)):
            model = make(preset=preset, device="cpu").fit(table, targets)
            assert model.score(table, targets) > 0.3
            assert model.model_.network.sizes[-3:-1] == (16, 16)
            assert any(model.model_.network.activation_weights) == (preset == "realmlp")
            assert model.model_.about["rows"]["validation"] == (30 if preset == "tabm" else 60)
            model.save(tmp_path / "m.safetensors")
            loaded = make.load(tmp_path / "m.safetensors")
            assert loaded.get_params() == model.get_params() | {"device": "auto", "loss": loaded.loss}
            again = loaded.set_params(device="cpu").fit(table, targets)
            np.testing.assert_array_equal(again.predict(table), model.predict(table))

    def test_load_models_of_the_command(self, tmp_path):
        recipe = REALMLP["regression"]
        model = fit_table(prepared(), recipe=recipe, device="cpu").model
        save(model, tmp_path)
        loaded = TabularRegressor.load(tmp_path / "m.safetensors")
        assert (loaded.preset, loaded.hidden_layer_sizes, loaded.optimizer) == ("realmlp", (100,), "adam")

    def test_sizes_that_are_arrays_are_refused(self):
        table = waves()
        with pytest.raises(ValueError, match="hidden_layer_sizes must be whole numbers > 0"):
            TabularRegressor(preset="realmlp", hidden_layer_sizes=(np.array([1, 2]),)).fit(table, "y")

    def test_refuse_what_the_preset_chooses(self):
        table = waves()
        y = table.pop("y")
        with pytest.raises(ValueError, match='l2, epochs cannot be given beside preset="realmlp"'):
            TabularRegressor(preset="realmlp", epochs=5, l2=0.5).fit(table, y)
        with pytest.raises(ValueError, match='validation_fraction, refit cannot be given beside preset="realmlp"'):
            TabularRegressor(preset="realmlp", validation_fraction=0.3, refit=False).fit(table, y)
        with pytest.raises(ValueError, match='label_smoothing cannot be given beside preset="realmlp"'):
            TabularClassifier(preset="realmlp", label_smoothing=0.5).fit(table, y > 0)
