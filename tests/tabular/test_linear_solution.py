"""Linear networks that are solved, and linear parts of others."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from gpubp import Network, TabularRegressor, predict, prepare_table
from gpubp.nn.network import loss_and_gradient
from gpubp.tabular import Candidate, fit_table, search_table
from gpubp.tabular.linear_part import bins, linear_part, share_of, takes_linear_part
from gpubp.tabular.linear_solution import WeightedRows, is_solved, mean_loss, solve, weighted
from gpubp.tabular.prepare import EncodedRows

CPU = {"device": "cpu"}


def rows_of(loss, n=200, n_inputs=7, n_outputs=3, seed=0):
    """Random rows with weights and three folds."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, n_inputs)) + 3.0
    targets = X @ random.normal(size=(n_inputs, n_outputs)) + random.normal(size=(n, n_outputs))
    if loss == "cross_entropy":
        targets = np.eye(n_outputs)[(targets - targets.mean(axis=0)).argmax(axis=1)]
    return WeightedRows(X, targets, random.uniform(0.5, 2.0, n)), random.integers(0, 3, n)


def without_folds(rows, folds):
    return [rows.select(folds == fold) for fold in range(3)]


@pytest.mark.parametrize("l2", [0.5, 20.0])
@pytest.mark.parametrize("n_outputs", [2, 3])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "smoothed"])
def test_the_gradient_is_zero_at_the_solution(loss, n_outputs, l2):
    """The loss is that of training: a sum, and half of l2 times the squares of the weights without biases."""
    name = "squared" if loss == "squared" else "cross_entropy"
    rows, folds = rows_of(name, n_outputs=n_outputs)
    if loss == "smoothed":
        rows = rows._replace(targets=0.9 * rows.targets + 0.1 / n_outputs)
    network = Network((7, n_outputs), loss=name)
    solution = solve(network, rows, folds, without_folds(rows, folds), [l2])
    for fold, theta in enumerate(solution.theta):
        others = rows.select(folds != fold)
        _, gradient = loss_and_gradient(np, network, theta, *others)
        zeros = loss_and_gradient(np, network, np.zeros_like(theta), *others)[1]
        assert np.abs(gradient + l2 * network.weight_mask() * theta).max() < 2e-3 * np.abs(zeros).max()
        assert np.abs(gradient).max() > 1e-2  # the penalty counts
        held_out = rows.select(folds == fold)
        expected = loss_and_gradient(np, network, theta, *held_out)[0] / held_out.weights.sum()
        assert solution.losses[fold] == pytest.approx(expected)


def test_ridge_is_scikit_learns():
    rows, folds = rows_of("squared")
    solution = solve(Network((7, 3)), rows, folds, without_folds(rows, folds), [2.0])
    for fold, theta in enumerate(solution.theta):
        others = rows.select(folds != fold)
        expected = Ridge(2.0).fit(*others)
        np.testing.assert_allclose(theta.reshape(8, 3), [*expected.coef_.T, expected.intercept_], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_the_penalty_has_the_least_loss_of_held_out_rows(loss):
    rows, folds = rows_of(loss, n=40, n_inputs=20)
    network, penalties = Network((20, 3), loss=loss), (1e-6, 1.0, 10.0, 1e4)
    held_out = without_folds(rows, folds)
    losses = {l2: solve(network, rows, folds, held_out, [l2]).losses.mean() for l2 in penalties}
    best = solve(network, rows, folds, held_out, penalties)
    assert best.l2 == min(losses, key=losses.get)
    assert best.l2 not in (penalties[0], penalties[-1])


def test_without_folds_all_rows_count():
    rows, _ = rows_of("squared")
    (theta,) = solve(Network((7, 3)), rows, np.full(200, -1), [rows], [1.0]).theta
    np.testing.assert_allclose(theta.reshape(8, 3)[:-1], Ridge(1.0).fit(*rows).coef_.T, rtol=1e-9)


def test_inputs_that_depend_on_each_other_and_classes_without_rows():
    rows, folds = rows_of("cross_entropy")
    rows = rows._replace(X=np.concatenate([rows.X, rows.X, np.ones((200, 1))], axis=1))
    labels = np.where(folds == 0, rows.targets.argmax(axis=1), 0)  # only one class in the other folds
    rows = rows._replace(targets=np.eye(3)[labels])
    network = Network((15, 3), loss="cross_entropy")
    solution = solve(network, rows, folds, without_folds(rows, folds))
    assert np.isfinite(solution.theta).all()
    assert np.isfinite(solution.losses).all()
    shares = predict(network, solution.theta[0], rows.X, **CPU)
    assert shares[:, 0].min() > 0.9
    squared = solve(Network((15, 3)), rows, folds, without_folds(rows, folds), [1e-6])
    assert np.isfinite(squared.theta).all()


def test_which_networks_are_solved():
    assert is_solved(Network((3, 2)))
    assert is_solved(Network((3, 2), loss="cross_entropy"))
    assert not is_solved(Network((3, 4, 2)))
    assert not is_solved(Network((3, 1), loss="huber"))
    assert takes_linear_part(Network((3, 4, 2)))
    assert not takes_linear_part(Network((3, 2)))
    assert not takes_linear_part(Network((3, 4, 2), loss="cross_entropy"))
    assert not takes_linear_part(Network((3, 4, 2), output_activation="softplus"))


# --- in a search ---


def table(n=300, seed=0, noise=0.1):
    """Sales by the effects of 30 towns, a number and its square."""
    random = np.random.default_rng(seed)
    effects, towns, x = random.normal(size=30), random.integers(0, 30, n), random.uniform(-1.0, 1.0, n)
    y = effects[towns] + x + x**2 + noise * random.normal(size=n)
    return {"x": x, "town": np.array([f"t{town:02}" for town in towns]), "y": y, "high": np.where(y > 0.0, "yes", "no")}


@pytest.mark.parametrize(("target", "other"), [("y", "high"), ("high", "y")])
def test_a_candidate_without_hidden_layers_is_solved(target, other, tmp_path):
    prepared = prepare_table(table(), target=target, drop=[other])
    candidates = [Candidate("linear", (1,), 0.1, 1e-9), Candidate("piecewise", (), None)]
    result = search_table(prepared, candidates=candidates, epochs=2, **CPU)
    trial = result.trials[1]
    assert trial.is_kept
    assert trial.candidate.l2 in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    assert result.fit.stop_reason == "converged"
    assert result.model.theta.shape[0] == result.model.about["training"]["n_networks"] == 1
    assert result.model.about["optimizer"] == {"name": "solved"}
    assert result.model.about["training"]["l2"] == trial.candidate.l2
    assert result.model.about["refit"]["rows"] == 300
    if target == "y":
        assert result.scores["validation"]["r2"] > 0.97
        path = tmp_path / "m.safetensors"
        estimator = TabularRegressor(preset="best", time_budget=2.0, **CPU).fit(table(), "y")
        estimator.save(path)
        assert TabularRegressor.load(path).preset == "best"
    else:
        assert result.scores["validation"]["accuracy"] > 0.9


def test_ctrl_c_while_a_candidate_is_solved(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.tabular.linear_solution.solve", interrupted)
    prepared = prepare_table(table(), target="y", drop=["high"])
    candidates = [Candidate("linear", (2,), 0.1, 0.01), Candidate("linear", (), None), Candidate("linear", (3,))]
    result = search_table(prepared, candidates=candidates, epochs=2, **CPU)
    assert [trial.loss < np.inf for trial in result.trials] == [True, False]
    assert result.trials[0].is_kept


# --- beside a network that is trained ---


def test_what_a_linear_part_leaves_is_of_rows_that_it_was_not_fitted_to():
    prepared = prepare_table(table(), target="y", drop=["high"], test_fraction=0.0)
    rows, folds = weighted(prepared.training(), "float64"), np.arange(270) % 3
    part = linear_part(rows, prepared.preprocessing, folds, [0, 1, 2, -1])
    is_bin = bins(prepared.preprocessing)
    assert is_bin.sum() == 16
    inputs = slice(None) if part.has_bins else ~is_bin
    assert part.has_bins
    assert part.share == 1.0
    for fold in range(3):
        expected = Ridge(part.l2).fit(*rows.select(folds != fold))
        block = part.blocks[fold]
        np.testing.assert_allclose(block[:-1, 0][inputs], expected.coef_.ravel()[inputs], atol=1e-5)
        left = rows.targets[folds == fold] - expected.predict(rows.X[folds == fold]).reshape(-1, 1)
        np.testing.assert_allclose(part.scale * part.targets[folds == fold], left, atol=1e-5)
    np.testing.assert_allclose(part.blocks[3, -1], Ridge(part.l2).fit(*rows).intercept_, atol=1e-6)
    assert np.average(part.targets[:, 0] ** 2, weights=rows.weights) == pytest.approx(1.0)


def test_bins_count_only_if_they_leave_less():
    straight = {"x": np.linspace(-1.0, 1.0, 100), "y": 3.0 * np.linspace(-1.0, 1.0, 100)}
    straight["y"] += 0.1 * np.random.default_rng(0).normal(size=100)
    for column, has_bins in ((straight["y"], False), (np.abs(straight["y"]), True)):
        prepared = prepare_table(straight | {"y": column}, target="y", test_fraction=0.0)
        rows = weighted(prepared.training(), "float64")
        part = linear_part(rows, prepared.preprocessing, np.arange(len(rows.X)) % 5, [-1])
        assert part.has_bins == has_bins
        assert part.blocks[0, :-1][bins(prepared.preprocessing)].any() == has_bins


@pytest.mark.parametrize("activation", ["relu", "parametric(selu)"])
@pytest.mark.parametrize("n_networks", [1, 3])
def test_the_model_is_the_sum_of_both_parts(n_networks, activation, monkeypatch):
    monkeypatch.setattr("gpubp.tabular.fit.share_of", lambda *_: 1.0)
    prepared = prepare_table(table(), target="y", drop=["high"])
    result = fit_table(prepared, epochs=40, n_networks=n_networks, activation=activation, refit=False, **CPU)
    assert result.model.network.skips == ((0, 2),)
    assert result.scores["test"]["r2"] > 0.97
    best = result.fit.best_epoch - 1
    rows = prepared.validation()
    losses = [
        mean_loss(result.model.network, theta, weighted(rows, "float32")) for theta in np.atleast_2d(result.model.theta)
    ]
    assert result.fit.history.validation_loss[best] == pytest.approx(np.median(losses), rel=1e-3)
    outputs = predict(result.model.network, result.model.theta, rows.X, **CPU).reshape(n_networks, -1).mean(axis=0)
    r2 = r2_score(rows.targets[:, 0], outputs)
    assert result.fit.history.validation_score[best] == pytest.approx(r2, rel=1e-3)


def test_a_network_that_predicts_nothing_of_what_is_left_counts_as_nothing(monkeypatch):
    prepared = prepare_table(table(), target="y", drop=["high"])
    monkeypatch.setattr("gpubp.tabular.fit.share_of", lambda *_: 0.0)
    for refit in (False, True):
        result = fit_table(prepared, epochs=5, refit=refit, **CPU)
        X = prepared.on_all_rows().X if refit else prepared.X
        outputs = predict(result.model.network, result.model.theta, X, **CPU)[:, 0]
        A = np.c_[X, np.ones(len(X))]
        assert np.abs(outputs - A @ np.linalg.lstsq(A, outputs, rcond=None)[0]).max() < 1e-4
        assert len((result.refit or result.fit).history.loss) == (1 if refit else 5)


def test_the_share_of_a_network_is_what_it_surely_predicts():
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 1))
    noise = random.normal(size=(400, 1))
    network = Network((1, 1))
    fit = SimpleNamespace(network=network, theta=np.array([1.0, 0.0]), device="cpu")  # the outputs are X

    def share(targets, weights=None):
        return share_of(fit, EncodedRows(X, targets, weights))

    assert share(X) == pytest.approx(1.0, abs=0.1)
    assert share(3.0 * X) == 1.0
    assert 0.3 < share(0.5 * X + 0.1 * noise) < 0.5
    assert share(noise) < 0.1
    assert share(-X) == 0.0
    weights = np.where(np.arange(400) < 200, 2.0, 0.0)
    halves = np.where(weights[:, None] > 0.0, X, -X)
    assert share(halves) == 0.0 < 0.8 < share(halves, weights)
