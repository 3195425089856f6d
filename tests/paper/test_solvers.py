"""Gradient descent compared with second-order methods: the choice of step sizes, the counts, and the verdicts."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from gpubp.engine.epoch import FullBatchRunner
from gpubp.nn.initialization import initial_weights
from gpubp.optim.first_order import gradient_descent, momentum
from gpubp.optim.second_order import lbfgs, levenberg_marquardt
from gpubp.paper import solvers
from gpubp.paper.experiment import Runs, run_seeds
from gpubp.paper.solvers import EQUATION_9, METHODS, OPTIMIZERS, Race, Solvers, facts, judge, pairs, search_rate
from gpubp.paper.studies import STUDIES
from gpubp.training.fit import all_correct, train

XOR = STUDIES["xor"]


def race(solver, sweeps, experiment="e", gradients=None):
    """Return a race whose networks were done after the given sweeps; None means never."""
    solved = np.asarray([number is not None for number in sweeps])
    numbers = np.asarray([1000 if number is None else number for number in sweeps])
    return Race(experiment, solver, None, solved, numbers, numbers if gradients is None else gradients, 1.0)


class TestRaces:
    def test_the_best_step_size_is_chosen(self, monkeypatch):
        monkeypatch.setattr(solvers, "RATES", (1e-6, 1.0, 1e-3))
        assert search_rate(XOR, momentum, 300, device="cpu") == 1.0

    def test_among_equals_the_smallest_error_is_chosen(self, monkeypatch):
        monkeypatch.setattr(solvers, "RATES", (1e-9, 10.0, 0.1))
        errors = {}
        for rate in solvers.RATES:
            tried = replace(XOR, optimizer=gradient_descent(rate))
            runs = run_seeds(tried, 30, sweeps=2, first_seed=solvers.FIRST_SEED_OF_RATES, device="cpu", dtype="float64")
            assert not np.any(runs.solved)
            errors[rate] = np.mean(runs.error)
        assert search_rate(XOR, gradient_descent, 2, device="cpu") == min(errors, key=errors.get) != 1e-9

    def test_few_sweeps_count_before_a_small_error_and_never_counts_as_all(self, monkeypatch):
        outcomes = {  # done after so many sweeps, or never, and with what error
            0.1: (300, 0.1),
            0.2: (200, 5.0),
            0.3: (None, 0.0),
        }

        def run(experiment, n, **options):
            rates = experiment.optimizer.settings["learning_rate"][:, 0]
            sweeps, error = zip(*(outcomes[rate] for rate in rates), strict=True)
            solved = np.asarray([number is not None for number in sweeps])
            sweeps = np.asarray([number or 100 for number in sweeps])
            return Runs(solved, sweeps, None, np.asarray(error), 1.0, "epochs", limit=options["sweeps"])

        monkeypatch.setattr(solvers, "RATES", tuple(outcomes))
        monkeypatch.setattr(solvers, "run_seeds", run)
        assert search_rate(XOR, momentum, 400, device="cpu") == 0.2

    @pytest.mark.parametrize("method", [lbfgs(), levenberg_marquardt()], ids=lambda method: method.name)
    def test_networks_run_singly_are_those_of_their_seeds_and_every_gradient_is_counted(self, method, monkeypatch):
        counted = []
        evaluate = FullBatchRunner._evaluate
        monkeypatch.setattr(FullBatchRunner, "_evaluate", lambda *given: (counted.append(1), evaluate(*given))[1])
        result = solvers.race_singly(XOR, "a method", method, 4, 60, device="cpu")
        assert np.sum(result.gradients) == len(counted)
        assert np.all(result.gradients >= 2 * result.sweeps)
        x, d = XOR.cases()
        for seed in range(4):
            theta = initial_weights(XOR.network, seed, scheme="uniform", scale=XOR.scale, dtype="float64")
            options = {"reduction": "sum", "stop_when": partial(all_correct, within=0.5), "device": "cpu"}
            fit = train(XOR.network, x, d, theta=theta, optimizer=method, epochs=60, **options)
            assert (result.solved[seed], result.sweeps[seed]) == (fit.solved, fit.best_epoch)

    def test_all_are_run_from_the_same_first_weights(self):
        stacked = solvers.race_stacked(XOR, "a rule", momentum, 0.5, 6, 400, device="cpu")
        runs = run_seeds(replace(XOR, optimizer=momentum(0.5)), 6, sweeps=400, device="cpu", dtype="float64")
        np.testing.assert_array_equal(stacked.sweeps, runs.sweeps)

    def test_a_whole_study(self):
        result = Solvers((XOR,), stacked=6, singly=3).run(5, sweeps=30, device="cpu")
        (table,) = result.tables
        assert [row[1] for row in table.rows] == [*OPTIMIZERS, *METHODS]
        assert [row[3].partition("/")[2] for row in table.rows] == ["5"] * len(OPTIMIZERS) + ["3"] * len(METHODS)
        assert {len(row) for row in table.rows} == {len(table.headings)}
        assert (len(result.solved), result.stop_reason) == (0, "epochs")
        assert result.verdict.reached in ("reproduced", "partly", "not reproduced", "undecided")

    def test_ctrl_c_keeps_only_complete_races(self):
        calls = []

        def interrupt(progress):
            calls.append(progress.epoch)
            if calls.count(1) == 3:  # the search and the race of the first rule are over
                raise KeyboardInterrupt

        result = Solvers((XOR,), stacked=3).run(3, sweeps=4, device="cpu", callbacks=(interrupt,))
        assert result.stop_reason == "interrupted"
        assert [row[1] for row in result.tables[0].rows] == ["plain, eq. (8)"]

        def at_once(progress):
            raise KeyboardInterrupt

        result = Solvers((XOR,)).run(3, sweeps=4, device="cpu", callbacks=(at_once,))
        assert (result.tables, result.pictures, result.facts) == ((), (), [])
        assert result.verdict.reached == "undecided"


class TestVerdict:
    def test_medians_are_over_the_first_weights_from_which_both_get_there(self):
        descent = race(EQUATION_9, [100, 300, None, 500, 100, 200, 400, 7])
        method = race("L-BFGS", [10, None, 1, 30, 11, 12, 13], gradients=np.asarray([40, 1, 1, 60, 50, 51, 52]))
        (pair,) = pairs([descent, method])
        assert (pair.sweeps, pair.gradients) == ((12.0, 200.0), (51.0, 200.0))

    def test_criterion(self):
        descent, slow = race(EQUATION_9, [100] * 6), race("L-BFGS", [101] * 6)
        fast, never = race("L-BFGS", [*[10] * 5, None]), race("Levenberg-Marquardt", [None] * 6)
        assert judge([descent, fast]).reached == "reproduced"
        assert judge([descent, slow]).reached == "not reproduced"
        assert judge([descent, fast, never]) == (
            "partly",
            "fewer sweeps in 1 of 2 comparisons with eq. (9); in 1 the method gets there from fewer than 5 of the same "
            "first weights",
        )
        assert judge([descent, never]).reached == "not reproduced"

    def test_too_few_that_get_there_give_no_verdict(self):
        descent, few = race(EQUATION_9, [100] * 6), race("L-BFGS", [*[10] * 4, None, None])
        assert judge([descent, few]).reached == "not reproduced"
        few = race(EQUATION_9, [*[100] * 4, None, None, *[100] * 50])  # the method has six first weights alone
        assert judge([few, race("L-BFGS", [10] * 6)]).reached == "undecided"

    def test_what_eq_9_does_not_learn_is_not_compared_and_named(self):
        races = [race(EQUATION_9, [None, None]), race("L-BFGS", [None, 3])]
        assert pairs(races) == []
        assert judge(races).reached == "undecided"
        races += [race(EQUATION_9, [100] * 5, "other"), race("L-BFGS", [10] * 5, "other")]
        assert judge(races).reached == "reproduced"
        assert judge(races).why.endswith("; not compared, since eq. (9) does: e")

    def test_facts(self):
        races = [
            race(EQUATION_9, [100] * 6, "a"),
            race("L-BFGS", [*[10] * 5, None], "a", gradients=np.full(6, 200)),
            race(EQUATION_9, [100] * 6, "b"),
            race("L-BFGS", [20] * 6, "b", gradients=np.full(6, 50)),
            race(EQUATION_9, [100] * 6, "c"),
            race("L-BFGS", [1, *[None] * 5], "c"),
        ]
        by_claim = {fact.what: fact.found for fact in facts(races)}
        sentence = "on {} of 3 experiments; eq. (9) needs {} times as many where both get there"
        assert by_claim["L-BFGS needs fewer sweeps than eq. (9)"] == sentence.format(2, "5 to 10")
        assert by_claim["L-BFGS needs fewer gradients than eq. (9)"] == sentence.format(1, "0.5 to 2")
        assert by_claim["networks that get there"] == "momentum, eq. (9) 100 %; L-BFGS 67 %"
        by_claim = {fact.what: fact.found for fact in facts(races[:2])}
        assert "on 1 of 1 experiment; eq. (9) needs 10 times" in by_claim["L-BFGS needs fewer sweeps than eq. (9)"]

    def test_pictures_are_drawn_if_some_never_get_there(self):
        from gpubp.plotting.figure import new_figure

        races = [race(EQUATION_9, [100, 200, 300, 400]), race("L-BFGS", [10, None, None, None]), race("Adam", [None])]
        shares = {"quartiles": ["1 of 4", "0 of 1"], "seconds": ["0 of 1"]}
        for picture in solvers.pictures(races):
            draw, size = solvers.DRAWINGS[picture.name]
            ax = new_figure(size).add_subplot()
            draw(ax, **picture.data)
            ax.figure.canvas.draw()
            assert [text.get_text() for text in ax.get_legend().get_texts()] == [EQUATION_9, "L-BFGS", "Adam"]
            assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())
            assert [text.get_text() for text in ax.texts[:-1]] == shares[picture.name]
            hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
            assert len(hollow) == len(shares[picture.name])
            marks = [line for line in ax.lines if line.get_marker() != "None"]
            assert len(marks) == 3  # each solver is seen
            assert all(line.get_xdata()[0] < ax.get_xlim()[1] for line in marks)
