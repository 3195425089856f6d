"""What is said of models that are of no use."""

import warnings

import numpy as np
import pytest

from gpubp import TabularRegressor
from gpubp.errors import DivergenceWarning
from gpubp.optim.first_order import adam
from gpubp.tabular import Candidate, fit_table, prepare_table, search_table
from gpubp.tabular.verdict import divergence_in_effect, no_better_than_baseline

CPU = {"epochs": 20, "device": "cpu"}
RANDOM = np.random.default_rng(0)
NOISE = {"x": RANDOM.normal(size=200), "y": np.exp(3.0 * RANDOM.normal(size=200))}


@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_a_model_that_is_worse_than_a_constant_on_its_own_rows_has_diverged(data):
    result = fit_table(prepare_table(data), optimizer=adam(1000.0), has_linear_part=False, **CPU)
    assert not result.fit.diverged
    assert divergence_in_effect(result)
    assert no_better_than_baseline(result)


@pytest.mark.parametrize("seed", range(3))
def test_predictions_within_limits_hide_no_divergence(seed):
    options = {"optimizer": adam(1000.0), "has_linear_part": False}
    result = fit_table(prepare_table("diabetes"), seed=seed, refit=False, **options, **CPU)
    assert result.scores["train"]["r2"] > -10.0
    assert divergence_in_effect(result)
    short = fit_table(prepare_table("diabetes"), seed=seed, refit=False, epochs=1, device="cpu")
    assert not divergence_in_effect(short)


def test_a_network_that_diverges_beside_a_linear_part_has_no_share():
    result = fit_table(prepare_table("diabetes"), optimizer=adam(1000.0), refit=False, **CPU)
    assert divergence_in_effect(result) == no_better_than_baseline(result) == ""
    assert result.scores["test"]["r2"] > 0.2


def test_a_search_does_not_hide_a_divergence_beside_a_linear_part():
    candidate = Candidate("linear", (20,), 0.0, 1e4, has_linear_part=True)
    result = search_table(prepare_table(steps(), target="y"), candidates=[candidate], n_networks=5, refit=False, **CPU)
    assert result.model.about["training"]["linear_part"]["share"] == 1.0
    assert divergence_in_effect(result)


def steps(n=300, noise=1.0):
    """A table whose target is 10 or -10, with noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=n)
    return {"x": x, "y": 10.0 * np.sign(x) + noise * random.normal(size=n)}


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber", "log_cosh", "dead_zone", "quantile(0.9)"])
def test_limits_hide_no_divergence_by_any_loss(loss):
    prepared = prepare_table(steps(), target="y")
    options = {"optimizer": adam(1e4), "has_linear_part": False}
    wild = fit_table(prepared, loss=loss, refit=False, **options, **CPU)
    assert min(wild.fit.history.loss) > 100.0
    text = divergence_in_effect(wild)
    assert text.startswith(("the loss of its best epoch is ", "on each part of the rows the model is far worse"))
    assert divergence_in_effect(fit_table(prepared, loss=loss, refit=False, **CPU)) == ""


@pytest.mark.parametrize(
    ("loss", "scale", "mean", "rate"), [("poisson", 1.0, 100.0, 0.3), ("binary_cross_entropy", 0.01, 0.5, 100.0)]
)
def test_limits_hide_no_divergence_of_targets_in_a_range(loss, scale, mean, rate):
    table = steps()
    table["y"] = mean + scale * table["y"]
    prepared = prepare_table(table, target="y")
    wild = fit_table(prepared, loss=loss, optimizer=adam(rate), refit=False, epochs=1, device="cpu")
    assert wild.scores["train"]["r2"] > -3.0
    assert "times that of an untrained network is about" in divergence_in_effect(wild)
    short = fit_table(prepared, loss=loss, refit=False, epochs=1, device="cpu")
    assert divergence_in_effect(short) == ""


def test_it_is_said_what_is_large():
    """The predictions within limits are only a little worse than the mean."""
    random = np.random.default_rng(3)
    x = random.normal(size=(600, 2))
    table = {"x": x[:, 0], "z": x[:, 1], "y": np.tanh(x[:, 0]) + random.standard_t(1.2, 600)}
    prepared = prepare_table(table, target="y", validation_fraction=0.0)
    result = fit_table(prepared, optimizer=adam(1.0), epochs=3, refit=False, device="cpu")
    assert result.scores["train"]["r2"] > -3.0
    found, text = result.fit.history.loss[result.fit.best_epoch - 1], divergence_in_effect(result)
    expected = "predictions that are wrong by 5 standard deviations in every row have 12.5"
    assert text == f"the loss of its best epoch is {found:.4g}, and {expected}"


def test_targets_are_compared_each_in_its_unit():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    table = {"x": x[:, 0], "z": x[:, 1], "a": x[:, 0], "b": 1e6 * random.normal(size=400)}
    prepared = prepare_table(table, target=["a", "b"])
    result = fit_table(prepared, refit=False, has_linear_part=False, **CPU)
    assert result.scores["test"]["rmse b"] > result.baseline["rmse b"]
    assert no_better_than_baseline(result) == ""
    wild = fit_table(prepared, refit=False, optimizer=adam(1000.0), has_linear_part=False, **CPU)
    text = no_better_than_baseline(wild)
    assert "the mean for every row (root mean squared error " in text
    assert text.endswith(" times its, on average)")


def test_predictions_of_high_quantiles_and_of_medians_are_not_those_of_a_mean():
    prepared = prepare_table(NOISE, target="y")
    for loss in ("quantile(0.999)", "absolute"):
        result = fit_table(prepared, loss=loss, optimizer=adam(0.1), **CPU)
        assert not divergence_in_effect(result)
    assert no_better_than_baseline(fit_table(prepared, loss="quantile(0.999)", **CPU)) == ""
    huge = fit_table(prepared, loss="absolute", optimizer=adam(1000.0), **CPU)
    assert "on the 40 test rows the model predicts no better than the mean for every row (mean abs" in (
        no_better_than_baseline(huge)
    )


def test_classes_may_be_right_and_their_probabilities_wrong():
    text = no_better_than_baseline(fit_table(prepare_table("iris"), optimizer=adam(1000.0), **CPU))
    assert text.startswith("on the 30 test rows the model predicts no better than the shares of the classes (log loss")
    assert text.endswith(", though more of its classes are right)")


def test_an_estimator_warns_of_a_divergence_in_effect():
    with pytest.warns(DivergenceWarning, match="far worse than the same prediction for every row") as found:
        TabularRegressor(learning_rate=1000.0, loss="huber", **CPU).fit("diabetes", "target")
    assert found[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        TabularRegressor(**CPU).fit("diabetes", "target")
