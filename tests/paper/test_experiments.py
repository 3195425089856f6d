"""The experiments of the 1986 paper: their cases, their runs from many first weights, their reports."""

import json

import numpy as np
import pytest

from gpubp.data import datasets
from gpubp.engine.prediction import predict
from gpubp.paper import cases
from gpubp.paper.experiment import Experiment, Runs, run_seeds
from gpubp.paper.studies import STUDIES
from gpubp.training.fit import all_correct
from tests.interrupts import interrupt

pytestmark = pytest.mark.once


class TestSamples:
    def test_symmetry(self):
        x, d = cases.of(datasets.symmetry, 6)
        assert len(np.unique(x, axis=0)) == 64
        assert [tuple(row) for row in x[d[:, 0] == 1.0].astype(int)] == [
            (a, b, c, c, b, a) for a in (0, 1) for b in (0, 1) for c in (0, 1)
        ]

    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_parity_changes_with_every_bit(self, n):
        x, d = cases.of(datasets.parity, n)
        table = {tuple(row): float(right[0]) for row, right in zip(x, d, strict=True)}
        for row, right in table.items():
            for bit in range(n):
                other = (*row[:bit], 1.0 - row[bit], *row[bit + 1 :])
                assert table[other] == 1.0 - right

    def test_addition(self):
        x, d = cases.addition()
        assert len(x) == 16
        for row, total in zip(x.astype(int), d.astype(int), strict=True):
            assert 2 * row[0] + row[1] + 2 * row[2] + row[3] == 4 * total[0] + 2 * total[1] + total[2]

    def test_negation(self):
        x, d = cases.negation()
        off, on = x[:, 0] == 0.0, x[:, 0] == 1.0
        np.testing.assert_array_equal(d[off], x[off, 1:])
        np.testing.assert_array_equal(d[on], 1.0 - x[on, 1:])

    @pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if isinstance(study, Experiment)])
    def test_match_the_shapes_of_their_networks(self, name):
        experiment = STUDIES[name]
        x, d = experiment.cases()
        assert (x.shape[1], d.shape[1]) == (experiment.network.sizes[0], experiment.network.sizes[-1])
        assert set(experiment.network.activations) == {"logistic"}  # eq. (2)
        assert experiment.network.loss == "squared"  # eq. (3)


class TestRuns:
    def test_solved_networks_were_not_solved_a_sweep_before(self):
        experiment = STUDIES["xor"]
        runs = run_seeds(experiment, 20, sweeps=400, device="cpu", dtype="float64")
        assert 5 < np.sum(runs.solved) < 20
        x, d = experiment.cases()
        right = all_correct(d, predict(experiment.network, runs.theta, x, device="cpu"))
        np.testing.assert_array_equal(right, runs.solved)
        k = int(np.flatnonzero(runs.solved)[0])
        before = run_seeds(experiment, 20, sweeps=int(runs.sweeps[k]) - 1, device="cpu", dtype="float64")
        assert not before.solved[k]

    def test_error_is_that_of_the_last_weights(self):
        experiment = STUDIES["symmetry"]
        runs = run_seeds(experiment, 3, sweeps=2, device="cpu", dtype="float64")
        x, d = experiment.cases()
        y = predict(experiment.network, runs.theta, x, device="cpu")
        np.testing.assert_allclose(runs.error, 0.5 * np.sum((y - d) ** 2, axis=(1, 2)))

    def test_ctrl_c_in_the_first_sweep_leaves_the_first_weights(self):
        experiment = STUDIES["xor"]
        runs = run_seeds(experiment, 3, device="cpu", callbacks=(interrupt,))
        assert (runs.stop_reason, runs.theta.shape, runs.error.shape) == ("interrupted", (3, 9), (3,))

    def test_first_weights_are_those_of_the_seeds(self):
        experiment = STUDIES["encoder"]
        both = run_seeds(experiment, 4, sweeps=3, device="cpu")
        last = run_seeds(experiment, 2, first_seed=2, sweeps=3, device="cpu")
        np.testing.assert_allclose(both.theta[2:], last.theta, rtol=1e-6)

    def test_quartiles_count_those_that_never_solve(self):
        solved = np.asarray([True, True, True, False])
        runs = Runs(solved, np.asarray([10, 30, 20, 99]), np.empty(0), np.empty(0), 0.0, "epochs", 99)
        assert runs.quartiles() == (10.0, 20.0, 30.0)
        runs = runs._replace(solved=np.asarray([True, False, False, False]))
        assert runs.quartiles() == (10.0, np.inf, np.inf)


class TestCommand:
    @pytest.fixture
    def gpubp(self, capsys):
        pytest.importorskip("typer", reason="the extra 'cli' is not installed")
        from gpubp.__main__ import main

        def run(*arguments):
            code = main([*arguments])
            return code, *capsys.readouterr()

        return run

    def test_table(self, gpubp):
        code, out, _ = gpubp("reproduce", "symmetry", "xor", "--seeds", "4", "--sweeps", "30", "--device", "cpu")
        assert code == 0
        assert "of 4 networks done within 30 sweeps" in out
        assert "Exclusive or" in out

    def test_json(self, gpubp):
        code, out, _ = gpubp("reproduce", "xor", "--seeds", "8", "--sweeps", "500", "--device", "cpu", "--json")
        (entry,) = json.loads(out)
        assert (code, entry["name"], entry["networks"], len(entry["sweeps"])) == (0, "xor", 8, 8)
        assert 0 < entry["solved"] <= 8

    def test_no_such_experiment(self, gpubp):
        code, _, err = gpubp("reproduce", "simmetry", "--device", "cpu")
        assert code != 0
        assert "symmetry" in err

    def test_no_experiment_named(self, gpubp):
        code, _, err = gpubp("reproduce")
        assert code != 0
        assert "--all" in err
