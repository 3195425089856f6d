"""Linear networks that are solved, and linear parts of others."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from gpubp import Network, TabularRegressor, adam, predict, prepare_table
from gpubp.engine.cpu.threads import _threads_of_blas
from gpubp.errors import DivergenceWarning
from gpubp.nn.passes import loss_and_gradient
from gpubp.tabular import Candidate, fit_table, linear_solution, search_table
from gpubp.tabular.linear_part import bins, linear_part, share_of, takes_linear_part
from gpubp.tabular.linear_solution import WeightedRows, is_solved, mean_loss, solve, weighted
from gpubp.tabular.prepared_table import EncodedRows
from tests.interrupts import interrupt

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


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_solutions_keep_blas_to_one_thread(loss, monkeypatch):
    """Its threads wait for each other beside other work on the machine, and a solution takes many times as long."""
    rows, folds = rows_of(loss)
    seen, solver = [], linear_solution.Ridge if loss == "squared" else linear_solution._LogisticRegression
    block = solver.block
    monkeypatch.setattr(solver, "block", lambda self, l2: (seen.extend(_threads_of_blas()), block(self, l2))[1])
    before = _threads_of_blas()
    with threadpool_limits(2, "blas"):
        solve(Network((7, 3), loss=loss), rows, folds, without_folds(rows, folds), [2.0])
        assert set(seen) == {1}
        assert set(_threads_of_blas()) == {2}
    assert _threads_of_blas() == before


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


def test_a_row_whose_weight_dominates():
    """The solution passes through it, and the other rows determine the slopes."""
    rows, folds = rows_of("squared")
    rows.weights[0], folds[0] = 1e18, 0
    solution = solve(Network((7, 3)), rows, folds, without_folds(rows, folds), [2.0])
    for fold, theta in enumerate(solution.theta):
        others = rows.select((folds != fold) & (rows.weights < 1e18))
        x, y = (rows.X[0], rows.targets[0]) if fold else (np.zeros(7), np.zeros(3))
        expected = Ridge(2.0, fit_intercept=not fold).fit(others.X - x, others.targets - y, others.weights)
        np.testing.assert_allclose(theta.reshape(8, 3)[:-1], expected.coef_.T, rtol=1e-6)
    weights = np.where(np.arange(300) == 7, 1e18, 1.0)
    prepared = prepare_table(table(), target="y", drop=["high"], sample_weight=weights)
    result = fit_table(prepared, epochs=2, **CPU)
    assert np.isfinite(result.model.theta).all()


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@np.errstate(invalid="ignore")
def test_a_fold_that_has_all_of_the_weight(loss):
    rows, folds = rows_of(loss)
    rows = rows._replace(weights=np.where(folds == 0, 1.0, 0.0))
    solution = solve(Network((7, 3), loss=loss), rows, folds, [rows] * 3)
    assert np.isfinite(solution.theta).all(axis=1).tolist() == [False, True, True]


def test_time_ends_logistic_regression(monkeypatch):
    rows, folds = rows_of("cross_entropy")
    network, calls = Network((7, 3), loss="cross_entropy"), []

    def counted(*arguments):
        calls.append(1)
        return loss_and_gradient(*arguments)

    monkeypatch.setattr(linear_solution, "loss_and_gradient", counted)
    whole = solve(network, rows, folds, without_folds(rows, folds))
    n_whole = len(calls)
    ended = solve(network, rows, folds, without_folds(rows, folds), is_over=lambda: True)
    assert whole.is_complete
    assert not ended.is_complete
    assert ended.l2 == 100.0
    assert len(calls) - n_whole < n_whole / 5
    assert whole.losses.mean() < ended.losses.mean()
    fits = [
        linear_solution.solved_fit(
            network, rows, folds, without_folds(rows, folds), [1.0], device="cpu", dtype="float64", is_over=is_over
        )[0]
        for is_over in (lambda: True, lambda: False)
    ]
    assert [fit.stop_reason for fit in fits] == ["callback", "converged"]


def test_logistic_regression_copies_no_rows():
    """Labels that are smoothed neither."""
    random = np.random.default_rng(0)
    X, labels = random.normal(size=(4000, 60)), random.integers(0, 8, 4000)
    rows = WeightedRows(X, 0.9 * np.eye(8)[labels] + 0.1 / 8, np.ones(4000))
    held_out = [rows.select(slice(10))] * 5
    tracemalloc.start()
    solve(Network((60, 8), loss="cross_entropy"), rows, np.arange(4000) % 5, held_out, [1.0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * X.nbytes


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
    monkeypatch.setattr("gpubp.tabular.linear_solution.solve", interrupt)
    prepared = prepare_table(table(), target="y", drop=["high"])
    candidates = [Candidate("linear", (2,), 0.1, 0.01), Candidate("linear", (), None), Candidate("linear", (3,))]
    result = search_table(prepared, candidates=candidates, epochs=2, **CPU)
    assert [trial.loss < np.inf for trial in result.trials] == [True, False]
    assert result.trials[0].is_kept


@pytest.mark.parametrize("target", ["y", "high"])
def test_the_first_candidate_that_is_trained_is_begun_even_if_a_solution_took_all_of_the_time(target, monkeypatch):
    clock, solved = [0.0], linear_solution.solved_fit

    def slow(*arguments, is_over, **options):
        is_over_after.append(next(t for t in range(100) if at(t, is_over)))
        clock[0] = 100.0
        return solved(*arguments, is_over=is_over, **options)

    def at(seconds, is_over):
        clock[0] = float(seconds)
        return is_over()

    is_over_after = []
    monkeypatch.setattr("gpubp.tabular.search.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("gpubp.tabular.candidate_training.solved_fit", slow)
    prepared = prepare_table(table(), target=target, drop=["high" if target == "y" else "y"])
    candidates = [Candidate("linear", (), None), Candidate("piecewise", (), None), *[Candidate("linear", (2,))] * 2]
    result = search_table(prepared, candidates=candidates, time_budget=40.0, epochs=2, **CPU)
    assert [trial.candidate.hidden_layer_sizes for trial in result.trials] == [(), (2,)]
    assert is_over_after[0] == 5  # a quarter of the half


@pytest.mark.parametrize(("seconds", "is_solved_again"), [(1.0, True), (100.0, False)])
def test_a_solution_for_more_rows_that_would_take_too_long_is_not_begun(seconds, is_solved_again, monkeypatch):
    clock, solved, rows = [0.0], linear_solution.solved_fit, []

    def slow(network, of_rows, *arguments, **options):
        rows.append(len(of_rows.X))
        clock[0] += seconds
        return solved(network, of_rows, *arguments, **options)

    monkeypatch.setattr("gpubp.tabular.folds.MOST_ROWS_OF_TRIALS", 100)
    monkeypatch.setattr("gpubp.tabular.search.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("gpubp.tabular.candidate_training.solved_fit", slow)
    prepared = prepare_table(table(), target="high", drop=["y"])
    result = search_table(prepared, candidates=[Candidate("linear", (), None)], time_budget=40.0, **CPU)
    assert rows == ([100, 240, 300] if is_solved_again else [100])
    assert np.isfinite(result.scores["validation"]["log_loss"])


# --- beside a network that is trained ---


def test_a_network_that_diverged_does_not_lessen_the_share_of_the_others():
    prepared = prepare_table(table(), target="y", drop=["high"], numbers="linear")
    rates = np.array([[0.01], [1e30]])
    options = {"n_networks": 2, "epochs": 30, "refit": False, **CPU}
    with pytest.warns(DivergenceWarning, match="1 of 2 networks diverged"):
        result = fit_table(prepared, optimizer=adam(rates), **options)
    assert len(result.model.theta) == 1
    part = result.model.about["training"]["linear_part"]
    assert part["share"] > 0.5
    assert part["l2"] in linear_solution.PENALTIES


def test_residuals_are_of_rows_that_the_linear_part_was_not_fitted_to():
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


def test_bins_count_only_if_residuals_are_less_with_them():
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


def test_a_network_that_predicts_nothing_of_the_residuals_counts_as_nothing(monkeypatch):
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
