"""Columns of many categories, embedded by the network: in fits, files, searches, recipes and commands."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gpubp import TabularClassifier, TabularRegressor, load_model, prepare_stream, save_model
from gpubp.__main__ import main
from gpubp.data.preprocessing import preprocessing_of
from gpubp.errors import DataError, TableWarning
from gpubp.nn.network import views
from gpubp.nn.passes import output_layer
from gpubp.optim.first_order import adam
from gpubp.optim.second_order import lbfgs
from gpubp.tabular import (
    REALMLP,
    REALMLP_S,
    TABM,
    Candidate,
    fit_table,
    network_for,
    predict_table,
    prepare_table,
    search_table,
)
from gpubp.tabular.networks import first_weights, hidden_layers_of
from gpubp.tabular.recipes import recipe_dropout, recipe_network, recipe_optimizer, recipe_size, recipe_weights

RECIPES = {"realmlp-s": REALMLP_S["regression"], "realmlp": REALMLP["regression"]}
SHORT = {
    name: replace(recipe, hidden_layer_sizes=(8, 8), epochs=6, batch_size=32, categories="embedding")
    for name, recipe in RECIPES.items()
}
recipes = pytest.mark.parametrize("recipe", SHORT.values(), ids=SHORT)


def shop(n=240, n_towns=15, seed=0):
    """Prices by town and size; `kind` has few categories."""
    random = np.random.default_rng(seed)
    town, size = random.permutation(np.arange(n) % n_towns), random.normal(size=n)
    price = 3.0 * np.cos(town) * (1.0 + size) + 0.1 * random.normal(size=n)
    return pd.DataFrame(
        {
            "size": size,
            "town": np.char.add("town ", town.astype(str)),
            "kind": random.choice(["a", "b", "c"], n),
            "price": price,
            "grade": np.where(price > 0.0, "high", "low"),
        }
    )


def prepared_for(target="price", categories="embedding", frame=None, **options):
    frame = shop() if frame is None else frame
    return prepare_table(
        frame, target=target, drop=list({"price", "grade"} - {target}), categories=categories, **options
    )


# --- which columns, and the network ---


@pytest.mark.parametrize(("n_towns", "is_embedded"), [(9, False), (10, True)])
def test_columns_of_more_than_nine_inputs_are_embedded(n_towns, is_embedded):
    prepared = prepared_for(frame=shop(n_towns=n_towns))
    town = prepared.preprocessing.input_slices["town"]
    assert prepared.preprocessing.embedded_inputs == ([range(town.start, town.stop)] if is_embedded else [])
    assert prepared.preprocessing.category_encoding == ("embedding" if is_embedded else "one-hot")
    summaries = {one.name: one.reason for one in prepared.preprocessing.summaries}
    assert ("embedded" in summaries["town"]) == is_embedded
    assert "embedded" not in summaries["kind"] + summaries["size"]
    one_hot = prepared_for(categories="one-hot", frame=shop(n_towns=n_towns))
    np.testing.assert_array_equal(prepared.X, one_hot.X)
    assert not one_hot.preprocessing.embedded_inputs


def test_a_wide_table_is_not_embedded_and_says_so(monkeypatch):
    monkeypatch.setattr("gpubp.data.preprocessing._embedding.MOST_INPUTS_TO_EMBED", 30)
    prepared = prepared_for()
    reason = next(one.reason for one in prepared.preprocessing.summaries if one.name == "town")
    assert reason.endswith(f"; not embedded: the table has {prepared.n_inputs} inputs, more than 30")
    assert network_for(prepared) == network_for(prepared_for(categories="one-hot"))


def test_the_outputs_depend_on_a_category_by_its_embedding():
    prepared = prepared_for(dtype="float64")
    network = network_for(prepared, hidden_layer_sizes=(7, 6), activation="tanh")
    assert network.sizes == (prepared.n_inputs, 8, 7, 6, 1)
    assert network.skips == ((0, 2),)
    assert hidden_layers_of(network, prepared.preprocessing) == ((7, 6), "tanh")
    theta = first_weights(network, prepared.preprocessing, [3, 4], "float64")
    town = prepared.preprocessing.input_slices["town"]
    embeddings = views(np, network, theta)[0]
    np.testing.assert_array_equal(
        embeddings[1], views(np, network, first_weights(network, prepared.preprocessing, 4, "float64"))[0]
    )
    assert np.all(np.any(embeddings[:, town] != 0.0, axis=-1))
    assert not np.any(np.delete(embeddings, np.arange(town.start, town.stop), axis=1))
    before = output_layer(np, network, theta, prepared.X).y
    embeddings[:, town.start + 1] = embeddings[:, town.start]  # two towns in one place
    after = output_layer(np, network, theta, prepared.X).y
    moved = prepared.X[:, town.start + 1] == 1.0
    assert np.all(np.any(before != after, axis=(0, 2)) == moved)


def test_without_hidden_layers_nothing_is_embedded():
    prepared = prepared_for()
    assert network_for(prepared, hidden_layer_sizes=()).sizes == (prepared.n_inputs, 1)
    result = fit_table(prepared, hidden_layer_sizes=(), epochs=2, device="cpu")
    assert result.refit.network.sizes[1:] == (1,)


# --- fits and files ---


@pytest.mark.parametrize("target", ["price", "grade"])
@pytest.mark.parametrize("n_networks", [1, 3])
def test_fits_are_refitted_saved_and_loaded(target, n_networks, tmp_path):
    frame = shop()
    result = fit_table(prepared_for(target), hidden_layer_sizes=(9,), epochs=5, n_networks=n_networks, device="cpu")
    model = result.model
    assert model.network.sizes[1:-1] == result.fit.network.sizes[1:-1] == (8, 9)
    assert result.refit is not None
    assert ((0, 3) in model.network.skips) == (target == "price")  # the linear part
    for network, theta in ((result.fit.network, result.fit.theta), (model.network, model.theta)):
        np.testing.assert_array_equal(network.tied.tie(theta), theta)
    save_model(
        tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about
    )
    loaded = load_model(tmp_path / "m.safetensors")
    assert preprocessing_of(loaded).category_encoding == "embedding"
    for name, column in predict_table(loaded, frame, device="cpu").items():
        np.testing.assert_array_equal(column, predict_table(model, frame, device="cpu")[name])
    kind = TabularRegressor if target == "price" else TabularClassifier
    estimator = kind.load(tmp_path / "m.safetensors")
    assert (estimator.categories, tuple(estimator.hidden_layer_sizes), estimator.activation) == (
        "embedding",
        (9,),
        "relu",
    )


def test_a_linear_part_and_embeddings_add_up():
    prepared = prepared_for(dtype="float64", validation_fraction=0.2)
    options = {
        "hidden_layer_sizes": (9,),
        "epochs": 60,
        "optimizer": adam(0.01),
        "device": "cpu",
        "dtype": "float64",
        "refit": False,
    }
    result = fit_table(prepared, **options)
    assert result.model.about["training"]["linear_part"]["share"] > 0.0
    network, theta = result.model.network, result.model.theta
    last = views(np, network, theta)[-1]
    assert len(last) == 9 + prepared.n_inputs + 1
    linear, rest = last[9:-1], np.delete(last, np.arange(9, len(last) - 1), axis=0)
    alone = network_for(prepared, hidden_layer_sizes=(9,))
    of_alone = np.concatenate([theta[: len(theta) - last.size], rest.ravel()])
    expected = output_layer(np, alone, of_alone, prepared.X).y + prepared.X @ linear
    np.testing.assert_allclose(output_layer(np, network, theta, prepared.X).y, expected, rtol=1e-10)


def test_a_new_category_has_an_embedding_of_zeros():
    model = fit_table(prepared_for(), epochs=3, device="cpu").model
    new = shop()[:1].assign(town="Atlantis")
    with pytest.warns(TableWarning, match="not among the categories"):
        predicted = predict_table(model, new, device="cpu")
    assert np.isfinite(predicted["price"]).all()


def test_second_order_optimizers_take_embeddings():
    result = fit_table(prepared_for(), hidden_layer_sizes=(4,), optimizer=lbfgs(), epochs=5, device="cpu")
    assert result.fit.history.loss[-1] < result.fit.history.loss[0]


def test_estimators_and_onnxruntime_predict_the_same():
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    frame = shop()
    for categories, preset in (("embedding", "fast"), ("one-hot", "realmlp")):
        options = {"epochs": 3} if preset == "fast" else {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(REALMLP, "regression", SHORT["realmlp"])
            model = TabularRegressor(preset=preset, categories=categories, device="cpu", **options)
            model.fit(frame[["size", "town"]], frame["price"])
        assert preprocessing_of(model.model_).category_encoding == "embedding"
        session = onnxruntime.InferenceSession(model.to_onnx().SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {"town": frame[["town"]].to_numpy(object), "size": frame[["size"]].to_numpy()}
        received = session.run(None, feeds)[0].ravel()
        np.testing.assert_allclose(received, model.predict(frame), rtol=1e-4, atol=1e-4)


def test_streams_are_embedded(tmp_path):
    shop().to_csv(tmp_path / "shop.csv", index=False)
    options = {"target": "price", "drop": ["grade"], "categories": "embedding"}
    result = fit_table(prepare_stream(tmp_path / "shop.csv", **options), epochs=2, device="cpu")
    assert result.model.network.sizes[1] == 8


@pytest.mark.parametrize(
    ("columns", "sizes", "most", "reason"),
    [
        (["size"], (4,), 1_000, "there is no column of categories"),
        (["size", "kind"], (4,), 1_000, "it is for columns of categories of more than 9 inputs, and the largest has 3"),
        (["kind", "town"], (4,), 17, "the table has 18 inputs, more than 17"),
        (["kind", "town"], (), 1_000, "a network without hidden layers would compute the same"),
        (["kind", "town"], (4,), 1_000, ""),
    ],
)
def test_embeddings_without_effect_are_a_warning(columns, sizes, most, reason, monkeypatch):
    for module in ("data.preprocessing._embedding", "tabular.checks"):
        monkeypatch.setattr(f"gpubp.{module}.MOST_INPUTS_TO_EMBED", most)
    frame = shop()
    model = TabularRegressor(categories="embedding", hidden_layer_sizes=sizes, epochs=2, device="cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TableWarning)
        model.fit(frame[columns], frame["price"])
    before = "categories='embedding' (--categories embedding) changes nothing: "
    assert [str(one.message) for one in caught] == ([before + reason] if reason else [])
    assert (8 in model.model_.network.sizes) == (not reason)


# --- searches ---


@pytest.mark.parametrize("has_linear_part", [False, True])
def test_a_search_trains_candidates_with_embeddings(has_linear_part):
    candidate = Candidate("linear", (8,), 0.02, 0.01, categories="embedding", has_linear_part=has_linear_part)
    result = search_table(
        prepared_for(categories="one-hot"), candidates=[candidate], epochs=4, n_networks=5, device="cpu"
    )
    assert result.model.network.sizes[1:-1] == (8, 8)
    assert result.model.about["training"]["trials"][0]["categories"] == "embedding"
    assert preprocessing_of(result.model).category_encoding == "embedding"


# --- recipes ---


@recipes
def test_the_network_of_a_recipe(recipe):
    prepared = prepared_for(numbers="robust")
    network = recipe_network(recipe, prepared)
    assert recipe_size(recipe, prepared) == network.n_parameters
    optimizer, theta = recipe_optimizer(recipe, network), recipe_weights(recipe, network, prepared, 0, "float64")
    town = prepared.preprocessing.input_slices["town"]
    embeddings, *_, scale, _, _, last = views(np, network, theta)
    assert np.count_nonzero(embeddings) == 8 * 15
    np.testing.assert_allclose(np.std(embeddings[town]), 1.0, atol=0.2)
    assert np.count_nonzero(scale) == scale.shape[1] == prepared.n_inputs - 15 + 8 + 3 * recipe.is_periodic
    assert np.any(last) == recipe.is_standardized
    rates = views(np, network, optimizer.settings["rate_factors"])
    np.testing.assert_array_equal([rates[0][:-1].min(), rates[0][-1].max()], [1.0, 0.0])
    np.testing.assert_array_equal(rates[-4][:-1], 6.0)
    if recipe.is_periodic:
        assert recipe_dropout(recipe, network)[:4] == (0.0,) * 4
        np.testing.assert_array_equal(np.flatnonzero(views(np, network, theta)[1][:-1].any(axis=1)), [8])  # of "size"


@recipes
def test_recipes_learn_towns(recipe):
    prepared = prepared_for(numbers="robust", validation_fraction=0.2)
    result = fit_table(prepared, recipe=replace(recipe, epochs=40), device="cpu")
    assert result.scores["test"]["r2"] > 0.7


def test_members_that_share_weights_have_no_embeddings():
    with pytest.raises(DataError, match=r"are to be embedded; prepare it with categories='one-hot' \(--categories"):
        fit_table(prepared_for(), recipe=replace(TABM["regression"], numbers="piecewise"), device="cpu")


@pytest.mark.parametrize("categories", ["one-hot", "target"])
def test_a_recipe_refuses_categories_that_are_encoded_otherwise(categories):
    prepared = prepared_for(categories=categories, numbers="robust")
    with pytest.raises(DataError, match=rf"those of the table are '{categories}'; pass categories='embedding'"):
        fit_table(prepared, recipe=REALMLP["regression"], device="cpu")


def test_realmlp_chooses_embeddings():
    frame = shop()
    with pytest.raises(ValueError, match='categories cannot be given beside preset="realmlp"'):
        TabularRegressor(preset="realmlp", categories="target").fit(frame[["size", "town"]], frame["price"])


# --- commands ---


def test_commands_train_show_inspect_and_explain(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shop().to_csv("shop.csv", index=False)
    quickly = ["--target", "grade", "--drop", "price", "--preset", "fast", "--epochs", "3", "--device", "cpu"]
    for more in ([], ["--stream"]):
        assert main(["train", "shop.csv", "--categories", "embedding", *quickly, *more]) == 0
        assert main(["show", "shop.safetensors"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "categories embedding" in shown
        assert "; embedded" in shown
        assert main(["inspect", "shop.safetensors", "shop.csv"]) == 0
        assert "town" in capsys.readouterr().out
    assert main(["explain", "shop.safetensors", "--data", "shop.csv"]) == 2
    assert "has connections that are absent" in capsys.readouterr().err
    assert main(["train", "shop.csv", "--categories", "target", "--preset", "realmlp", "--target", "grade"]) == 2
    assert "--preset realmlp cannot be combined with --categories" in capsys.readouterr().err
