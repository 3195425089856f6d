"""Restarts of networks for tables: of several from different initial weights the best is kept."""

import numpy as np
import pytest

from gpubp import TabularClassifier, fit_table, predict, prepare_table, train
from gpubp.data.metrics import score
from gpubp.errors import CheckpointError, DataError
from gpubp.nn.network import Network
from gpubp.optim.second_order import lbfgs
from gpubp.tabular.several_networks import best_restart, best_score, seeds_of
from gpubp.training.result import Fit
from gpubp.training.state import History

SMALL = {"hidden_layer_sizes": (3,), "device": "cpu"}


@pytest.fixture(scope="module", params=["classification", "regression"])
def kept(request):
    """A table, and the best of four networks for it before the training on all rows."""
    prepared = prepare_table({"classification": "wine", "regression": "diabetes"}[request.param], numbers="linear")
    return prepared, fit_table(prepared, n_restarts=4, epochs=25, refit=False, **SMALL)


def test_the_best_network_of_the_best_epoch_is_kept(kept):
    prepared, result = kept
    training, epoch = result.model.about["training"], result.fit.best_epoch
    losses = training["restart_losses"]
    assert len(losses) == training["n_restarts"] == 4
    assert training["best_restart"] == int(np.argmin(losses))
    assert result.fit.theta.ndim == 1
    assert min(losses) == pytest.approx(result.fit.history.validation_loss[epoch - 1], rel=1e-4)
    assert min(result.fit.history.validation_loss) == result.fit.history.validation_loss[epoch - 1]
    X, targets, *_ = prepared.encoded.select(prepared.parts["test"])
    outputs = predict(result.fit.network, result.fit.theta, X, device="cpu")
    assert result.scores["test"] == pytest.approx(score(prepared.preprocessing, targets, outputs))


def test_its_weights_are_those_that_its_seed_gives_alone():
    prepared = prepare_table("wine", numbers="linear")
    options = {"epochs": 12, "patience": None, "refit": False, **SMALL}
    result = fit_table(prepared, n_restarts=4, seed=3, **options)
    best = result.model.about["training"]["best_restart"]
    assert best > 0  # so that it is another than without restarts
    X, targets, _ = prepared.training()
    seeds = seeds_of(3, 4, None)
    stack = train(
        result.fit.network, X, targets, seed=seeds, epochs=12, batch_size=32, l2=0.1, dtype="float32", device="cpu"
    )
    np.testing.assert_array_equal(result.model.theta, stack.theta[best])


def test_the_training_on_all_rows_begins_with_the_same_weights(monkeypatch):
    from gpubp.tabular import fit

    calls, train_once = [], fit.train

    def recorded(*arguments, **options):
        calls.append(options | {"network": arguments[0]})
        return train_once(*arguments, **options)

    monkeypatch.setattr(fit, "train", recorded)
    prepared = prepare_table("wine", numbers="linear")
    result = fit_table(prepared, n_restarts=4, seed=3, epochs=12, patience=None, **SMALL)
    first, again = calls
    best = result.model.about["training"]["best_restart"]
    assert (first["monitor"], first["seed"], again["seed"]) == ("least_loss", seeds_of(3, 4, None), 3)
    from gpubp.nn.initialization import initial_weights

    np.testing.assert_array_equal(again["theta"], initial_weights(again["network"], first["seed"][best]))
    assert result.model.theta.shape == result.fit.theta.shape


def stack(validation_loss, diverged=(False, False, False), best_epoch=2):
    losses = [np.asarray(one, dtype=float) for one in validation_loss]
    theta = np.arange(9.0).reshape(3, 3)
    history = History([10.0 * one for one in losses], losses)
    return Fit(Network((2, 1)), theta, history, "patience", best_epoch, "cpu", np.asarray(diverged))


@pytest.mark.parametrize(
    ("losses", "diverged", "best"),
    [
        ([3.0, 1.0, 2.0], (False, False, False), 1),
        ([3.0, 1.0, 2.0], (False, True, False), 2),
        ([np.nan, np.inf, 2.0], (False, False, False), 2),
        ([np.nan, 1.0, np.nan], (True, True, False), 2),
        ([3.0, 1.0, 2.0], (True, True, True), 0),
    ],
)
def test_networks_that_diverged_are_not_kept(losses, diverged, best):
    kept, about = best_restart(stack([[0.0, 0.0, 0.0], losses], diverged), factor=2.0)
    assert about["best_restart"] == best
    np.testing.assert_array_equal(kept.theta, [3.0 * best, 3.0 * best + 1.0, 3.0 * best + 2.0])
    np.testing.assert_array_equal(kept.history.validation_loss, [0.0, losses[best]])
    np.testing.assert_array_equal(kept.history.loss, [0.0, 10.0 * losses[best]])
    assert about["restart_losses"] == [2.0 * one if np.isfinite(one) else None for one in losses]
    assert (kept.diverged, kept.stop_reason) == ((True, "diverged") if all(diverged) else (False, "patience"))


def test_without_validation_rows_the_training_loss_counts():
    recorded = stack([[3.0, 1.0, 2.0]], best_epoch=1)
    recorded.history.validation_loss.clear()
    assert best_restart(recorded)[1] == {"n_restarts": 3, "best_restart": 1, "restart_losses": [30.0, 10.0, 20.0]}


def test_the_score_of_several_networks_is_the_best_that_is_a_number():
    scored = best_score(lambda targets, outputs: float((targets * outputs).sum()))
    outputs = np.asarray([[[1.0]], [[np.nan]], [[3.0]], [[2.0]]])
    assert scored(np.ones((1, 1)), outputs) == 3.0
    assert np.isnan(scored(np.ones((1, 1)), outputs[1:2]))


def test_of_xor_one_start_of_many_is_right():
    table = prepare_table("xor", test_fraction=0.0, validation_fraction=0.0)
    options = {"hidden_layer_sizes": (2,), "activation": "tanh", "epochs": 500, "l2": 0.0, "device": "cpu"}
    assert fit_table(table, n_restarts=1, **options).scores["train"]["accuracy"] < 1.0
    assert fit_table(table, n_restarts=20, **options).scores["train"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_restarts": 0}, r"n_restarts \(--restarts\) must be a whole number of at least 1, got 0"),
        ({"n_restarts": 3, "n_networks": 5}, "keeps the best of 3 networks, and n_networks .* averages 5; pass one"),
        ({"n_restarts": 3, "optimizer": lbfgs()}, "lbfgs trains one network; choose adam for 3 networks"),
    ],
    ids=["none", "ensemble", "lbfgs"],
)
def test_what_cannot_be(options, words):
    with pytest.raises(DataError, match=words):
        fit_table(prepare_table("xor", test_fraction=0.0, validation_fraction=0.0), **options)


def test_a_checkpoint_of_an_ensemble_is_not_one_of_restarts(tmp_path):
    prepared = prepare_table("wine", numbers="linear")
    fit_table(prepared, n_networks=3, epochs=2, checkpoint=tmp_path, **SMALL)
    with pytest.raises(CheckpointError, match="monitor was 'loss', is 'least_loss'"):
        fit_table(prepared, n_restarts=3, epochs=2, checkpoint=tmp_path, resume=True, **SMALL)


def test_estimators_have_them_and_files_keep_them(tmp_path):
    X, y = {"x": np.arange(60.0)}, ["a", "b"] * 30
    model = TabularClassifier(n_restarts=3, epochs=3, **SMALL).fit(X, y)
    assert len(model.model_.about["training"]["restart_losses"]) == 3
    model.save(tmp_path / "m.safetensors")
    assert TabularClassifier.load(tmp_path / "m.safetensors").n_restarts == 3
    with pytest.raises(ValueError, match="keeps the best of 3 networks"):
        TabularClassifier(n_restarts=3, n_networks=2, **SMALL).fit(X, y)
    with pytest.raises(ValueError, match='n_restarts cannot be given beside preset="best"'):
        TabularClassifier(n_restarts=3, preset="best", device="cpu").fit(X, y)
