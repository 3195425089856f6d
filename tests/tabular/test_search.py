"""The search for the best networks of a table, and the preset ``best``."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from gpubp import (
    Network,
    TabularClassifier,
    TabularRegressor,
    load_model,
    predict,
    predict_table,
    prepare_table,
    save_model,
    train,
)
from gpubp.data.preprocessing import TargetStatisticsColumn, decode_predictions
from gpubp.errors import DataError
from gpubp.io.model_facts import described_trials
from gpubp.tabular import CANDIDATES, Candidate, search_table
from gpubp.tabular.candidates import TableTrial, candidates_for, trial_as_json
from gpubp.tabular.folds import drawn_rows, folds_of, learned_rows, rows_of_folds
from gpubp.tabular.recipes import REALMLP_S
from gpubp.tabular.search import _best_of
from tests.interrupts import interrupt_call

CPU = {"device": "cpu", "epochs": 8}
TWO = (Candidate(), Candidate("linear", (8,), 0.01, 0.01))


def bent(n=300, seed=0):
    """A table whose target bends in one column; and groups and days."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1.0, 1.0, n)
    return {
        "x": x,
        "kind": random.choice(["a", "b"], n),
        "house": np.array([f"h{k % 30}" for k in range(n)]),
        "day": np.arange(n),
        "y": np.abs(x) + 0.1 * random.normal(size=n),
    }


@pytest.fixture(scope="module")
def searched():
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    return prepared, search_table(prepared, candidates=TWO, **CPU)


def test_the_candidate_with_the_least_loss_is_kept(searched):
    prepared, result = searched
    assert [trial.candidate for trial in result.trials] == list(TWO)
    (best,) = (trial for trial in result.trials if trial.is_kept)
    assert best.loss == min(trial.loss for trial in result.trials)
    assert result.model.network.sizes[1:-1] == best.candidate.hidden_layer_sizes
    assert result.model.about["training"]["l2"] == best.candidate.l2
    assert result.model.theta.shape[0] == 20
    assert result.model.about["training"]["n_networks"] == 20
    json.dumps(result.model.about)  # raises for numbers of NumPy
    for other in (TWO[0], TWO[1]):
        alone = search_table(prepared, candidates=[other], n_networks=5, refit=False, **CPU)
        (trial,) = alone.trials
        assert alone.model.theta.shape[0] == 5
        assert alone.fit.best_epoch == trial.epochs
        assert alone.fit.history.validation_loss[trial.epochs - 1] == pytest.approx(trial.loss, rel=0.5)
        assert trial.loss == {one.candidate: one.loss for one in result.trials}[other]


def test_a_gain_that_may_be_chance_changes_nothing():
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    alike = [Candidate("linear", (8,), 0.1, rate) for rate in (0.01, 0.01001)]
    for candidates in (alike, alike[::-1]):
        result = search_table(prepared, candidates=candidates, refit=False, **CPU)
        assert abs(result.trials[0].loss / result.trials[1].loss - 1.0) < 0.01
        assert result.trials[0].is_kept


def trial_of(loss, *sizes, categories="one-hot", out_of_fold=()):
    """Return a trial and its networks, as far as trials are compared."""
    network = SimpleNamespace(network=Network((3, *sizes, 1)))
    trial = SimpleNamespace(loss=loss, candidate=Candidate(categories=categories))
    return trial, SimpleNamespace(fit=network, out_of_fold=out_of_fold)


def test_a_linear_network_must_be_better_than_those_that_are_averaged():
    assert _best_of([trial_of(0.100), trial_of(0.101, 5)])[0].loss == 0.101
    assert _best_of([trial_of(0.100), trial_of(0.102, 5)])[0].loss == 0.100
    assert _best_of([trial_of(0.100), trial_of(0.120, 5), trial_of(0.1005, 6)])[0].loss == 0.1005


def test_target_statistics_must_be_better_by_what_their_folds_may_lower():
    """On rows that are in no statistics they must be better as others."""
    one_hot, other = trial_of(0.100, 5), trial_of(0.0985, 5)
    statistics = [trial_of(loss, 5, categories="target") for loss in (0.098, 0.096, math.inf)]
    assert [_best_of([one_hot, one])[0].loss for one in statistics] == [0.100, 0.096, 0.100]
    assert _best_of([trial_of(0.098, 5, categories="target"), other])[0].loss == 0.0985
    assert _best_of([one_hot, trial_of(0.098, 5, categories="target", out_of_fold=None)])[0].loss == 0.098
    assert _best_of([statistics[2], one_hot])[0].loss == 0.100


def test_it_is_said_why_a_kind_with_less_loss_is_not_kept():
    def trial(loss, **others):
        return {"numbers": "linear", "hidden_layer_sizes": [5], "loss": loss, "is_kept": False, **others}

    of_statistics = trial(0.0975, categories="target", compared_loss=0.09945)
    kept, worse = trial(0.1, is_kept=True), trial(0.2, ended_early=True)
    near, solved = trial(0.0995), trial(0.0993, hidden_layer_sizes=[])
    rows, reasons = described_trials([worse, kept, near, solved, of_statistics, "forged"])
    assert [row[-1] for row in rows] == [
        *("counts as 0.0994 (1)", "not kept (2)", "not kept (3)", "kept", "ended early"),
    ]
    statistics, without_layers, chance = reasons
    assert re.match(r"\(1\) 2 % are added to the loss with target statistics.* not better than the kept", statistics)
    assert re.match(r"\(2\) better than .* by less than 1 %, .*; without hidden layers", without_layers)
    assert re.match(r"\(3\) better than .* by less than 1 %, which may be chance$", chance)
    assert described_trials([kept, worse])[1] == []
    assert trial_as_json(TableTrial(Candidate(), 1.0, 3, 0.5), 1.02)["compared_loss"] == 1.02
    assert "compared_loss" not in trial_as_json(TableTrial(Candidate(), 1.0, 3, 0.5), 1.0)


def test_scores_out_of_fold_are_of_networks_that_did_not_see_the_row():
    """With targets that are noise, networks that learn them by heart do no better on the rows of their fold."""
    random = np.random.default_rng(1)
    table = {**{f"x{k}": random.normal(size=60) for k in range(20)}, "y": random.normal(size=60)}
    prepared = prepare_table(table, target="y", test_fraction=0.0)
    candidate = Candidate("linear", (200,), 0.0, 0.01)
    result = search_table(prepared, candidates=[candidate], epochs=60, patience=None, device="cpu")
    assert result.scores["train"]["r2"] > 0.5
    assert result.scores["validation"]["r2"] < 0.2
    assert result.rows["validation"] == 60
    assert result.baseline["rmse"] == pytest.approx(np.std(table["y"]), rel=0.2)
    assert len(result.model.about["held_out_errors"]["y"]) == 60


def test_test_rows_decide_nothing(searched):
    """The search is the same whatever the targets of the test rows are, and they are learned only in the end."""
    prepared, result = searched
    table = bent()
    table["y"][prepared.parts["test"]] += 5.0
    other = search_table(prepare_table(table, target="y", drop=["house", "day"]), candidates=TWO, refit=False, **CPU)
    assert [trial.loss for trial in other.trials] == [trial.loss for trial in result.trials]
    assert other.scores["test"]["rmse"] > 4.0 > result.scores["test"]["rmse"]
    assert result.model.about["refit"]["rows"] == 300


def test_the_same_seed_gives_the_same_model(searched):
    prepared, result = searched
    again = search_table(prepared, candidates=TWO, **CPU)
    np.testing.assert_array_equal(again.model.theta, result.model.theta)
    assert not np.array_equal(search_table(prepared, candidates=TWO, seed=1, **CPU).model.theta, result.model.theta)


def test_files_hold_the_search(searched, tmp_path):
    _, result = searched
    model = result.model
    save_model(
        tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about
    )
    loaded = load_model(tmp_path / "m.safetensors")
    assert [one["numbers"] for one in loaded.about["training"]["trials"]] == ["piecewise", "linear"]
    new = {"x": [0.5, -0.5], "kind": ["a", "b"]}
    np.testing.assert_array_equal(predict_table(loaded, new)["y"], predict_table(model, new)["y"])


@pytest.mark.parametrize("by", ["group", "time"])
def test_groups_and_times_are_held_out_instead_of_folds(by):
    prepared = prepare_table(bent(), target="y", **{"group": "house"} if by == "group" else {"time": "day"})
    result = search_table(prepared, candidates=TWO, **CPU)
    assert result.rows == prepared.rows
    assert result.model.about["refit"]["epochs"] == result.fit.best_epoch
    without = prepare_table(bent(), target="y", time="day", validation_fraction=0.0)
    with pytest.raises(DataError, match="a search needs validation rows"):
        search_table(without, candidates=TWO, **CPU)


def test_recipes_are_candidates(tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.tabular.search.MOST_LOSS_OF_RECIPE", math.inf)
    monkeypatch.setattr("gpubp.tabular.candidates.EPOCHS_OF_RECIPE", 20)
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    recipe = Candidate("piecewise", (8, 8), 0.0, 0.07, "realmlp-s")
    result = search_table(
        prepared, candidates=[Candidate("linear", (1,), 1.0, 1e-4), recipe], device="cpu", n_networks=5
    )
    trial = result.trials[1]
    assert trial.loss < result.trials[0].loss
    assert trial.is_kept
    assert result.model.network.activations == ("identity", "mish", "mish", "identity")
    assert np.isfinite(result.scores["validation"]["rmse"])
    assert len(result.fit.history.loss) == len(result.refit.history.loss) == 20
    about = json.loads(json.dumps(result.model.about))
    assert [one.get("recipe") for one in about["training"]["trials"]] == [None, "realmlp-s"]
    assert about["training"]["batch_size"] == 256
    assert about["optimizer"]["name"] == "rate-scaled adam"
    model = result.model
    save_model(
        tmp_path / "m.safetensors", model.network, model.theta, preprocessing=model.preprocessing, about=model.about
    )
    loaded = TabularRegressor.load(tmp_path / "m.safetensors")
    assert (loaded.preset, loaded.activation) == ("best", "relu")


def test_a_recipe_is_trained_as_by_itself(monkeypatch):
    recipe = replace(REALMLP_S["regression"], hidden_layer_sizes=(8,), epochs=3, dropout=0.1)
    monkeypatch.setitem(REALMLP_S, "regression", recipe)
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    seen = []

    def recorded(*arguments, **options):
        seen.append((options["drop_last"], options["dropout"]))
        return train(*arguments, **options)

    monkeypatch.setattr("gpubp.tabular.candidate_training.train", recorded)
    candidates = [Candidate("piecewise", (8,), 0.0, 0.07, "realmlp-s"), TWO[1]]
    search_table(prepared, candidates=candidates, n_networks=5, refit=False, **CPU)
    of_recipe = seen[0]
    assert of_recipe[0] is True
    assert [rate if rate == 0.0 else rate(0) for rate in of_recipe[1]] == [0.0, 0.1]
    assert (False, None) in seen


def test_a_recipe_that_a_held_out_group_stops_is_trained_as_long_on_all_rows():
    prepared = prepare_table(bent(), target="y", group="house")
    recipe = Candidate("piecewise", (8,), 0.0, 0.07, "realmlp-s")
    result = search_table(prepared, candidates=[recipe], device="cpu", n_networks=5)
    assert len(result.refit.history.loss) == result.fit.best_epoch


def test_recipes_are_tried_for_numbers_alone(monkeypatch):
    monkeypatch.setattr("gpubp.tabular.search.MOST_LOSS_OF_RECIPE", math.inf)
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", (TWO[1], replace(TWO[1], recipe="realmlp-s")))
    for table, n_tried in ((prepare_table("iris"), 1), (prepare_table(bent(), target="y", group="house"), 2)):
        assert len(search_table(table, device="cpu", epochs=2, n_networks=5).trials) == n_tried


@pytest.mark.parametrize(("noise", "n_tried"), [(0.01, 2), (3.0, 1)])
def test_a_recipe_is_tried_where_numbers_are_known_well(noise, n_tried):
    x = np.linspace(-1.0, 1.0, 200)
    frame = {"x": x, "y": x + noise * np.random.default_rng(0).standard_normal(200)}
    candidates = [Candidate("linear", (), None), Candidate("piecewise", (8,), 0.0, 0.07, "realmlp-s")]
    result = search_table(prepare_table(frame, target="y"), candidates=candidates, epochs=2, device="cpu", n_networks=5)
    assert len(result.trials) == n_tried


def test_a_linear_part_is_compared_in_units_of_the_targets():
    """The residuals that a network learns are scaled, and the callback is given their losses before `joined`."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((300, 10))
    y = X @ np.arange(10.0) + 0.3 * np.sin(3.0 * X[:, 0])
    frame = {f"x{number}": column for number, column in enumerate(X.T)} | {"y": y}
    seen = []
    candidates = [Candidate("linear", (), None), Candidate("piecewise", (16,), 0.0, 0.005, has_linear_part=True)]
    result = search_table(
        prepare_table(frame, target="y"),
        candidates=candidates,
        callback=lambda progress: seen.append(np.mean(progress.validation_loss)),
        **{"epochs": 30, "patience": None, "device": "cpu", "n_networks": 5, "refit": False},
    )
    assert not result.trials[1].ended_early
    assert seen[result.trials[1].epochs - 1] == pytest.approx(result.trials[1].loss, rel=1e-5)


@pytest.mark.parametrize(("n_categories", "n_tried"), [(10, 1), (11, 2)])
def test_target_statistics_are_tried_where_a_column_has_many_categories(monkeypatch, n_categories, n_tried):
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", (TWO[1], replace(TWO[1], categories="target")))
    frame = bent() | {"town": [f"town {row % n_categories}" for row in range(len(bent()["y"]))]}
    prepared = prepare_table(frame, target="y", drop=["house", "day"])
    assert len(search_table(prepared, device="cpu", epochs=2, n_networks=5).trials) == n_tried


@pytest.mark.parametrize(("n_classes", "n_tried"), [(2, 2), (15, 2), (16, 1)])
def test_target_statistics_are_not_tried_where_columns_stay_one_hot(monkeypatch, n_classes, n_tried):
    """The statistics of a column would be more inputs than its categories."""
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", (TWO[1], replace(TWO[1], categories="target")))
    rows = np.arange(900)
    frame = {
        "town": np.array([f"town {row % 15}" for row in rows]),
        "label": np.array([f"c{row // 15 % n_classes}" for row in rows]),
    }
    prepared = prepare_table(frame, target="label")
    candidates = candidates_for(prepared.preprocessing)
    assert len(candidates) == n_tried
    encoded = prepared.trained_on(prepared.parts["train"], "linear", "target").preprocessing
    assert isinstance(encoded.columns[0], TargetStatisticsColumn) == (n_tried == 2)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so: a list of one number."""
    seconds = [0.0]
    monkeypatch.setattr("gpubp.tabular.search.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def test_a_recipe_that_would_take_too_long_is_not_begun(clock, monkeypatch):
    monkeypatch.setattr("gpubp.tabular.search.MOST_LOSS_OF_RECIPE", math.inf)
    """It is estimated by the epochs and the size of a network before it, which may have stopped early."""
    prepared = prepare_table(bent(), target="y", group="house")
    candidates = [Candidate("linear", (8,), 0.0, 1e-9), Candidate("linear", (8,), 0.0, 0.07, "realmlp-s")]

    def tried(budget):
        clock[0] = 0.0
        options = {"time_budget": budget, "device": "cpu", "n_networks": 5, "patience": 5, "refit": False}
        tick = partial(clock.__setitem__, 0)
        result = search_table(prepared, candidates=candidates, callback=lambda _: tick(clock[0] + 1.0), **options)
        return len(result.trials), result.trials[0].seconds

    assert tried(120.0) == (1, 6.0)  # 64 epochs would take 64 s
    assert tried(150.0) == (2, 6.0)


def test_a_recipe_is_left_out_of_wide_tables(monkeypatch):
    """Its network is not even built, to learn how long it would take."""
    monkeypatch.setattr("gpubp.tabular.search.MOST_INPUTS_OF_RECIPE", 10)
    monkeypatch.setattr("gpubp.tabular.candidate_training.recipe_network", None)
    prepared = prepare_table(bent(), target="y", group="house")
    recipe = Candidate("piecewise", (8,), 0.0, 0.07, "realmlp-s")
    result = search_table(prepared, candidates=[TWO[1], recipe, TWO[0]], n_networks=5, refit=False, **CPU)
    assert [trial.candidate for trial in result.trials] == [TWO[1], TWO[0]]


def test_given_validation_rows_are_used():
    prepared = prepare_table(bent(), target="y", validation_table=bent(50, 1), test_fraction=0.0)
    result = search_table(prepared, candidates=TWO[1:], n_networks=5, **CPU)
    assert result.rows == {"train": 300, "validation": 50, "test": 0}
    assert result.refit is None
    given, fit = prepared.trained_on(np.arange(300), "linear").validation(), result.fit
    outputs = predict(fit.network, fit.theta, given.X, device="cpu")
    losses = 0.5 * ((outputs - given.targets) ** 2).sum(axis=(1, 2)) / 50
    assert result.trials[0].loss == pytest.approx(losses.mean(), rel=1e-4)


def test_time_ends_trials(clock):
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])

    def tick(_):
        clock[0] += 1.0

    long = [Candidate("linear", (8,), 0.0, 1e-6 * k) for k in range(1, 100)]
    options = {"patience": None, "device": "cpu", "callback": tick, "n_networks": 5}
    cut = search_table(prepared, candidates=long, time_budget=50.0, epochs=1_000_000, **options)
    assert len(cut.trials) == 1
    assert (cut.fit.stop_reason, len(cut.fit.history.loss)) == ("callback", 50)
    assert cut.refit is None
    clock[0] = 0.0
    short = search_table(prepared, candidates=long, time_budget=60.0, epochs=3, **options)
    assert len(short.trials) == 10  # of 3 s each, in half of the time
    assert short.refit is not None
    assert (cut.n_untried, short.n_untried) == (98, 89)
    assert short.model.about["training"]["n_untried"] == 89


def test_one_slow_training_does_not_end_the_trials(clock):
    """Other work on the machine may slow one down, or its first epoch."""
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    seconds = iter([10.0, 0.5, 0.5, 3.0, 3.0, 3.0, *[0.5] * 12])  # the third is slow after its start, the first before
    candidates = [Candidate("linear", (8,), 0.0, 1e-6 * k) for k in range(1, 7)]

    def tick(_):
        clock[0] += next(seconds, 0.0)

    options = {"patience": None, "device": "cpu", "callback": tick, "n_networks": 5, "refit": False, "epochs": 3}
    result = search_table(prepared, candidates=candidates, time_budget=60.0, **options)
    assert (len(result.trials), result.n_untried) == (6, 0)
    assert "n_untried" not in result.model.about["training"]


def test_quick_candidates_are_tried_where_the_time_is_too_short_for_slow_ones(clock):
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])

    def tick(_):
        clock[0] += 1.0

    slow, quick = Candidate("linear", (2000, 100), 0.1, 1e-3), Candidate("linear", (8,), 0.1, 1e-3)
    options = {"patience": None, "device": "cpu", "callback": tick, "n_networks": 5, "refit": False, "epochs": 8}
    result = search_table(prepared, candidates=[slow, slow, quick, slow], time_budget=24.0, **options)
    assert [trial.candidate for trial in result.trials] == [slow, quick]


def test_a_candidate_that_is_far_behind_ends_early():
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    hopeless, slow = Candidate("linear", (8,), 0.0, 1e-7), Candidate("linear", (8,), 0.0, 3e-3)
    epochs = []
    options = {"epochs": 40, "patience": None, "device": "cpu", "n_networks": 5, "refit": False}
    result = search_table(
        prepared,
        candidates=[Candidate("linear", (8,), 0.0, 2e-3), hopeless, slow],
        callback=lambda progress: epochs.append(progress.epoch),
        **options,
    )
    assert [after for after, before in pairwise(epochs) if before == 1] == [40, 15]  # 14 epochs have 100 steps
    assert epochs[-1] == 40  # also behind at first, but soon no longer
    assert [trial.is_kept for trial in result.trials] == [False, False, True]
    assert [trial.ended_early for trial in result.trials] == [False, True, False]
    assert [trial.get("ended_early") for trial in result.model.about["training"]["trials"]] == [None, True, None]


@pytest.mark.parametrize("group", [None, "house"])
def test_a_training_on_all_rows_that_time_ends_is_not_kept(clock, group):
    """The scores are those of the model."""
    table = bent()
    prepared = prepare_table(table, target="y", drop=["day"] if group else ["house", "day"], group=group)
    epochs = []

    def tick(progress):
        epochs.append(progress.epoch)
        clock[0] += 1.0 if len([1 for epoch in epochs if epoch == 1]) < 2 else 30.0  # all rows: much slower

    result = search_table(prepared, candidates=TWO[1:], n_networks=5, time_budget=60.0, callback=tick, **CPU)
    assert len(epochs) > 8  # the other training was begun
    assert result.refit is None
    assert result.model.about["rows"]["train"] < 300
    assert "refit" not in result.model.about


@pytest.fixture
def few_for_trials(monkeypatch):
    monkeypatch.setattr("gpubp.tabular.folds.MOST_ROWS_OF_TRIALS", 100)


@pytest.mark.parametrize("target", ["y", "kind"])
@pytest.mark.parametrize("group", [None, "house"])
def test_candidates_are_tried_on_some_rows_and_the_best_is_trained_on_all(few_for_trials, target, group):
    options = {"target": target, "drop": ["day"] if group else ["house", "day"], "group": group}
    prepared = prepare_table(bent(), **options)
    with patch("gpubp.tabular.candidate_training.train", side_effect=train) as trained:
        result = search_table(prepared, candidates=TWO, n_networks=5, **CPU)
    rows = [len(call.args[1]) for call in trained.call_args_list]
    n_learned = len(prepared.parts["train"]) + (0 if group else len(prepared.parts["validation"]))
    assert rows == [100, 100, n_learned, 300]
    assert result.model.about["training"]["rows_of_trials"] == 100
    assert result.model.about["rows"]["train"] == n_learned
    assert {*result.scores} == {"train", "validation", "test"}
    assert result.refit is not None


@pytest.mark.parametrize(("seconds", "n_networks"), [(2.0, 5), (50.0, 2), (100.0, 1)])
def test_fewer_networks_are_trained_on_all_rows_where_time_is_short(few_for_trials, clock, seconds, n_networks):
    """The outputs out of fold are those of the folds that a network left out."""
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    epochs = []

    def tick(progress):
        epochs.append(progress.epoch)
        clock[0] += seconds if len(epochs) <= 8 else 0.0

    options = {"n_networks": 5, "refit": False, "callback": tick, "time_budget": 1000.0}
    result = search_table(prepared, candidates=TWO[1:], **options, **CPU)
    n_learned = len(prepared.parts["train"]) + len(prepared.parts["validation"])
    assert len(result.model.theta) == n_networks
    assert result.rows["validation"] == n_learned * n_networks // 5
    assert np.isfinite(result.scores["validation"]["r2"])


def test_the_networks_of_some_rows_are_kept_if_those_of_all_rows_are_worse(few_for_trials, clock):
    """They are saved with the statistics by which their inputs were encoded, those of all rows."""
    table = bent()
    table["x"][:6] = 50.0  # outliers and rare categories, of which a draw has few
    table["kind"] = np.array([f"rare {k % 8}" if k < 24 else kind for k, kind in enumerate(table["kind"])])
    prepared = prepare_table(table, target="y", drop=["house", "day"])
    epochs = []

    def tick(progress):
        epochs.append(progress.epoch)
        clock[0] += 0.0 if len(epochs) <= 8 else 100.0  # the time is over after one epoch on all rows

    result = search_table(prepared, candidates=TWO[:1], n_networks=5, callback=tick, **CPU)
    assert len(epochs) == 9
    assert len(result.fit.history.loss) == 8
    assert result.refit is None
    assert result.rows == {"train": 100, "validation": 100, "test": 60}
    assert {*result.scores} == {"train", "validation", "test"}
    folds_of_rows = prepared.trained_on(learned_rows(prepared), "piecewise", only=drawn_rows(prepared, 0))
    assert result.model.network.sizes[0] == folds_of_rows.n_inputs
    predicted = predict_table(result.model, prepared.table, device="cpu")["y"]
    outputs = predict(result.model.network, result.model.theta, folds_of_rows.X, device="cpu").mean(axis=0)
    drawn = drawn_rows(prepared, 0)["train"]
    expected = decode_predictions(folds_of_rows.preprocessing, outputs)["y"]
    np.testing.assert_allclose(predicted[drawn], expected, rtol=1e-5, atol=1e-6)


def test_ctrl_c_during_trials_on_some_rows_keeps_their_networks(few_for_trials):
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    result = search_table(prepared, candidates=TWO, callback=interrupt_call(3), **CPU)
    assert result.fit.stop_reason == "interrupted"
    assert {*result.scores} == {"train", "validation", "test"}
    assert result.rows["train"] == 100


def test_one_network_learns_all_rows_in_the_end(few_for_trials, clock):
    """No row may be left out of a model because the time was short."""
    prepared = prepare_table(bent(), target="y", drop=["house", "day"], test_fraction=0.0)
    epochs = []

    def tick(progress):
        epochs.append(progress.epoch)
        clock[0] += 60.0 if len(epochs) <= 8 else 0.0

    options = {"n_networks": 5, "callback": tick, "time_budget": 1000.0, "candidates": TWO[1:]}
    with patch("gpubp.tabular.candidate_training.train", side_effect=train) as trained:
        result = search_table(prepared, **options, **CPU)
    last = trained.call_args
    assert len(result.model.theta) == 1
    assert result.refit is not None
    assert len(last.args[1]) == 300
    assert last.kwargs["sample_weight"] is None
    assert last.kwargs["epochs"] == result.fit.best_epoch


def test_a_target_that_the_loss_does_not_allow_is_an_error_before_the_trials(few_for_trials):
    table = bent() | {"y": np.r_[np.linspace(0.5, 9.5, 299), -1.0]}
    prepared = prepare_table(table, target="y", drop=["house", "day"])
    with patch("gpubp.tabular.candidate_training.train") as trained, pytest.raises(DataError, match="poisson"):
        search_table(prepared, loss="poisson", **CPU)
    assert not trained.called


def test_ctrl_c_ends_the_search_with_what_was_learned():
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    result = search_table(prepared, candidates=TWO, callback=interrupt_call(3), **CPU)
    assert len(result.trials) == 1
    assert result.refit is None
    assert np.isfinite(result.model.theta).all()


def test_candidates_that_diverge_lose():
    prepared = prepare_table(bent(), target="y", drop=["house", "day"])
    diverging = Candidate("linear", (9,), 0.0, 1e30)
    with pytest.warns(UserWarning, match="diverged"):
        result = search_table(prepared, candidates=[diverging, TWO[1]], **CPU)
    assert [trial.is_kept for trial in result.trials] == [False, True]
    assert result.trials[0].loss == np.inf
    assert result.model.about["training"]["trials"][0]["loss"] is None
    assert result.model.network.sizes[1:-1] == (8,)
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(DataError, match="all of 2 candidates diverged"):
        search_table(prepared, candidates=[diverging, diverging], **CPU)


def test_sizes_of_candidates_may_be_numbers_of_numpy(searched):
    candidate = Candidate("linear", (np.int64(5),), np.float32(0.1), np.float64(0.01))
    result = search_table(searched[0], candidates=[candidate], n_networks=5, **CPU)
    json.dumps(result.model.about)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_budget": 0.0}, "time_budget must be a number of seconds above 0, got 0.0"),
        ({"time_budget": float("nan")}, "time_budget must be a number of seconds above 0, got nan"),
        ({"time_budget": float("inf")}, "time_budget must be a number of seconds above 0, got inf"),
        ({"time_budget": "60"}, "time_budget must be a number of seconds above 0, got '60'"),
        ({"n_networks": 4}, "n_networks must be a whole number of at least 5, got 4"),
        ({"candidates": ()}, "candidates must name at least one"),
        ({"candidates": ["piecewise"]}, "candidates must be of gpubp.tabular.Candidate, got 'piecewise'"),
        ({"candidates": [Candidate("linaer")]}, r"unknown encoding of numbers 'linaer' \(did you mean 'linear'\?\)"),
        ({"candidates": [Candidate(recipe=None)]}, "candidate must be 'realmlp-s', or '' for none, got None"),
        ({"dtype": "float64", "prepared_in": "float32"}, "the table was prepared in float32"),
    ],
    ids=["time 0", "nan", "inf", "text", "four networks", "no candidate", "a text", "unknown", "recipe", "precision"],
)
def test_options_that_are_not_valid(searched, options, message):
    prepared = searched[0]
    if dtype := options.pop("prepared_in", None):
        prepared = prepare_table(bent(), target="y", dtype=dtype)
    with pytest.raises(DataError, match=message):
        search_table(prepared, **options)


def test_only_a_table_in_memory_is_searched():
    with pytest.raises(DataError, match="a search needs a table in memory, from prepare_table, got dict"):
        search_table(bent())


def test_smoothed_labels_are_learned_but_not_scored():
    table = bent()
    prepared = prepare_table({**table, "y": table["y"] > 0.5}, target="y", drop=["house", "day"])
    plain, smoothed = (
        search_table(prepared, candidates=TWO[1:], label_smoothing=share, refit=False, device="cpu")
        for share in (0.0, 0.4)
    )
    assert smoothed.scores["validation"]["accuracy"] == pytest.approx(plain.scores["validation"]["accuracy"], abs=0.1)
    assert smoothed.scores["validation"]["log_loss"] > 1.2 * plain.scores["validation"]["log_loss"]
    assert smoothed.trials[0].loss == pytest.approx(smoothed.scores["validation"]["log_loss"], rel=0.1)


def test_every_device_finds_the_same(device, precision):
    prepared = prepare_table(bent(60), target="y", drop=["house", "day"])
    options = {"candidates": TWO, "n_networks": 5, "epochs": 3, "dtype": precision, "refit": False}
    options["time_budget"] = 600.0  # a library may compile for longer than candidates take
    expected, result = (search_table(prepared, device=one, **options) for one in ("cpu", device))
    tolerance = 1e-9 if precision == "float64" else 1e-4
    for trial, other in zip(result.trials, expected.trials, strict=True):
        assert trial.loss == pytest.approx(other.loss, rel=tolerance)
    np.testing.assert_allclose(result.model.theta, expected.model.theta, rtol=0.0, atol=tolerance)


def test_a_table_is_encoded_anew_only_if_it_must_be():
    prepared = prepare_table(bent(60), target="y", numbers="linear", validation_fraction=0.0)
    rows = prepared.parts["train"]
    assert prepared.trained_on(rows) is prepared.trained_on(rows, "linear") is prepared
    assert prepared.trained_on(rows, "piecewise").n_inputs > prepared.n_inputs
    assert prepared.trained_on(rows[1:]).rows["train"] == len(rows) - 1


# --- folds ---


@pytest.mark.parametrize("counts", [(10, 10), (1, 19), (3, 3, 1), (2,), (1, 1)], ids=str)
def test_folds_divide_each_class_evenly(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    folds = folds_of(np.eye(len(counts))[labels], 0, is_classes=True)
    assert set(folds) == set(range(min(5, len(labels))))
    for label, n in enumerate(counts):
        of_class = np.bincount(folds[labels == label], minlength=folds.max() + 1)
        assert of_class.max() - of_class.min() <= 1
        assert of_class.sum() == n


def test_each_row_stands_once_among_the_rows_of_folds():
    folds = folds_of(np.zeros((23, 1)), 3, is_classes=False)
    rows, is_row = rows_of_folds(folds, 5)
    assert sorted(rows[is_row].tolist()) == list(range(23))
    assert all((folds[row] == k).all() for k, row in enumerate(rows))


# --- estimators ---


def test_estimators_search(monkeypatch):
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", TWO)
    frame = bent()
    y = frame.pop("y")
    model = TabularRegressor(preset="best", epochs=8, device="cpu").fit(frame, y)
    assert [trial.candidate for trial in model.trials_] == list(TWO)
    assert model.scores_["validation"]["rmse"] < model.model_.about["baseline"]["rmse"]
    assert model.predict(frame).shape == (300,)
    classes = TabularClassifier(preset="best", epochs=8, device="cpu", class_weight="balanced").fit(frame, y > 0.5)
    assert classes.score(frame, y > 0.5) > 0.6
    with pytest.raises(ValueError, match='l2, callbacks cannot be given beside preset="best"'):
        TabularRegressor(preset="best", callbacks=[print], l2=0.2).fit(frame, y)


def test_what_is_tried_first_is_the_default_of_one_network():
    default = TabularRegressor()
    first = next(one for one in CANDIDATES if one.hidden_layer_sizes)
    assert (first.numbers, first.hidden_layer_sizes, first.l2) == (
        default.numbers,
        default.hidden_layer_sizes,
        default.l2,
    )
    assert len(set(CANDIDATES)) == len(CANDIDATES)


def test_what_is_trained_is_said_before():
    said = []
    prepared = prepare_table(bent(60), target="y")
    search_table(prepared, candidates=TWO, on_training=said.append, device="cpu", epochs=2)
    assert said == ["candidate 1 of 2", "candidate 2 of 2", "20 networks of the best", "all rows"]


def test_a_loaded_search_is_a_search(tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.tabular.candidates.CANDIDATES", TWO)
    monkeypatch.setattr("gpubp.tabular.search.N_NETWORKS", 5)
    frame = bent(60)
    path, options = tmp_path / "m.safetensors", {"time_budget": 2.0, "device": "cpu"}
    model = search_table(prepare_table(frame, target="y"), seed=3, **options, epochs=2).model
    save_model(path, model.network, model.theta, preprocessing=model.preprocessing, about=model.about)
    loaded = TabularRegressor.load(path)
    changed = {"preset": "best", "time_budget": 2.0, "loss": "squared", "random_state": 3}
    assert loaded.get_params() == TabularRegressor(**changed).get_params()
    TabularRegressor(preset="best", epochs=2, **options).fit(frame, "y").save(path)
    loaded = TabularRegressor.load(path)
    assert loaded.get_params() == TabularRegressor(preset="best", epochs=2, time_budget=2.0).get_params()
    again = loaded.set_params(device="cpu").fit(frame, "y")
    assert len(again.trials_) == 2
