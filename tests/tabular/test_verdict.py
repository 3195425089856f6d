"""What is said of models that are of no use."""

import warnings

import numpy as np
import pytest

from gpubp import TabularRegressor
from gpubp.errors import DivergenceWarning
from gpubp.optim.first_order import adam
from gpubp.tabular import fit_table, prepare_table
from gpubp.tabular.verdict import has_diverged_in_effect, no_better_than_baseline

CPU = {"epochs": 20, "device": "cpu"}
RANDOM = np.random.default_rng(0)
NOISE = {"x": RANDOM.normal(size=200), "y": np.exp(3.0 * RANDOM.normal(size=200))}


@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_a_model_that_is_worse_than_a_constant_on_its_own_rows_has_diverged(data):
    result = fit_table(prepare_table(data), optimizer=adam(1000.0), **CPU)
    assert not result.fit.diverged
    assert has_diverged_in_effect(result)
    assert no_better_than_baseline(result)


@pytest.mark.parametrize("seed", range(3))
def test_predictions_within_limits_hide_no_divergence(seed):
    result = fit_table(prepare_table("diabetes"), optimizer=adam(1000.0), seed=seed, refit=False, **CPU)
    assert result.scores["train"]["r2"] > -10.0
    assert has_diverged_in_effect(result)
    short = fit_table(prepare_table("diabetes"), seed=seed, refit=False, epochs=1, device="cpu")
    assert not has_diverged_in_effect(short)


def test_predictions_of_high_quantiles_and_of_medians_are_not_those_of_a_mean():
    prepared = prepare_table(NOISE, target="y")
    for loss in ("quantile(0.999)", "absolute"):
        result = fit_table(prepared, loss=loss, optimizer=adam(0.1), **CPU)
        assert not has_diverged_in_effect(result)
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
        TabularRegressor(learning_rate=1000.0, **CPU).fit("diabetes", "target")
    assert found[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        TabularRegressor(**CPU).fit("diabetes", "target")
