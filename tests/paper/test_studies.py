"""The studies of the paper: their criteria, their facts about the networks, and their pictures."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gpubp.engine.prediction import predict
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import flatten, views
from gpubp.nn.passes import output_layer
from gpubp.paper import cases, chance, conditions, encoder, shift_register, symmetry, t_c, xor
from gpubp.paper.connections import try_more_units, with_hidden_units
from gpubp.paper.experiment import Condition, ConditionResult, Experiment, Runs, run_seeds
from gpubp.paper.studies import STUDIES
from gpubp.paper.study import ENOUGH, Fact, StudyTable, Verdict
from gpubp.training.fit import all_correct

pytestmark = pytest.mark.once

EXPERIMENTS = {name: study for name, study in STUDIES.items() if isinstance(study, Experiment)}


def made(theta=None, solved=None, sweeps=None, error=None, limit=100):
    """Return artificial runs, all done by default."""
    n = len(next(part for part in (theta, solved, sweeps) if part is not None))
    solved = np.ones(n, bool) if solved is None else np.asarray(solved)
    sweeps = np.ones(n, int) if sweeps is None else np.asarray(sweeps)
    error = np.zeros(n) if error is None else np.asarray(error)
    return Runs(solved, sweeps, None if theta is None else np.stack(theta), error, 0.0, "epochs", limit)


def nothing_trained(experiment, n_networks):
    """Replace training: all networks are done after 7 sweeps."""
    return made(initial_weights(experiment.network, range(n_networks)), sweeps=[7] * n_networks)


def looked(name, runs, train_more=nothing_trained):
    """Return facts by their names, and tables by their captions."""
    findings = list(EXPERIMENTS[name].find_facts(EXPERIMENTS[name], runs, train_more))
    facts = {fact.what: fact.found for fact in findings if isinstance(fact, Fact)}
    return facts, {table.caption: table for table in findings if isinstance(table, StudyTable)}


class TestConditions:
    @pytest.mark.parametrize(("n_solved", "holds"), [(1000, True), (500, True), (451, True), (450, False), (0, False)])
    def test_done(self, n_solved, holds):
        finding = conditions.done(0.5, "why").check(None, made(solved=np.arange(1000) < n_solved))
        assert finding == ConditionResult(holds, f"{n_solved:,} of 1,000 networks done within 100 sweeps")

    @pytest.mark.parametrize(("reported", "holds"), [(28, False), (50, True), (900, True), (950, True), (975, False)])
    def test_a_usual_number_of_sweeps(self, reported, holds):
        runs = made(sweeps=np.arange(1, 1001))
        assert conditions.takes_as_long(reported).check(None, runs).holds is holds

    def test_networks_that_are_never_done_count_as_slowest(self):
        runs = made(solved=np.arange(100) < 90, sweeps=np.arange(1, 101))
        assert conditions.takes_as_long(10**9).check(None, runs) == (True, "these quantiles are 5 and never")
        none = made(solved=np.zeros(100, bool), sweeps=np.arange(1, 101))
        assert not conditions.takes_as_long(4).check(None, none).holds

    @pytest.mark.parametrize(
        ("factor", "holds"), [(1.0, True), (1.14, True), (1.17, False), (0.86, True), (0.83, False)]
    )
    def test_quartiles(self, factor, holds):
        sweeps = 1000.0 * 2.0 ** np.linspace(-1.0, 3.0, 100_001)  # quartiles 1,000, 2,000 and 4,000
        runs = made(sweeps=factor * sweeps)
        condition = conditions.quartiles_near((1000, 2000, 4000), 0.15, "of others")
        assert condition.check(None, runs).holds is holds

    def test_quartiles_of_networks_that_are_never_done(self):
        finding = conditions.quartiles_near((1, 2, 3), 0.15, "").check(None, made(solved=[False] * 4))
        assert finding == (False, "the quartiles are never, never and never sweeps")


class TestVerdicts:
    @pytest.mark.parametrize(
        ("held", "reached", "why"),
        [
            ((True, True), "reproduced", "0; 1"),
            ((True, False), "partly", "met: 0; not met: 1"),
            ((False, False), "not reproduced", "not met: 0; not met: 1"),
        ],
    )
    def test_are_by_the_conditions(self, held, reached, why):
        requests = tuple(
            Condition(f"condition {k}", lambda _, __, k=k, holds=holds: ConditionResult(holds, str(k)))
            for k, holds in enumerate(held)
        )
        experiment = replace(EXPERIMENTS["xor"], conditions=requests)
        assert experiment.criterion == f"condition 0; condition 1; {chance.ALLOWED}"
        assert experiment.judge(made(solved=[True] * ENOUGH)) == Verdict(reached, why)
        few = Verdict("undecided", f"{why}; a verdict takes {ENOUGH} networks")
        assert experiment.judge(made(solved=[True] * (ENOUGH - 1))) == few

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_nothing_is_reproduced_if_no_network_is_done(self, name):
        network = EXPERIMENTS[name].network
        theta = initial_weights(network, range(ENOUGH), scheme="uniform", scale=1.0)
        verdict = EXPERIMENTS[name].judge(made(theta, solved=[False] * ENOUGH))
        assert verdict.reached == "not reproduced"
        assert f"0 of {ENOUGH} networks done" in verdict.why


class TestRunning:
    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_few_networks_for_few_sweeps(self, name):
        study = EXPERIMENTS[name]
        result = study.run(3, sweeps=20, device="cpu")
        assert result.solved.shape == result.sweeps.shape == (3,)
        assert all(isinstance(fact, Fact) for fact in result.facts)
        assert study.criterion
        for table in result.tables:
            assert {len(row) for row in table.rows} == {len(table.headings)}
            assert all(isinstance(cell, str) for row in table.rows for cell in row)

    def test_networks_settle_and_their_sweeps_stay(self):
        experiment = replace(EXPERIMENTS["xor-skips"], find_facts=lambda _, runs, __: seen.append(runs) or [])
        seen = []
        result = experiment.run(5, device="cpu")
        first = run_seeds(experiment, 5, device="cpu")
        x, d = experiment.cases()
        assert np.all(result.solved)
        np.testing.assert_array_equal(result.sweeps, first.sweeps)
        assert not np.any(all_correct(d, predict(experiment.network, first.theta, x, device="cpu"), within=0.1))
        y = predict(experiment.network, seen[0].theta, x, device="cpu")
        assert np.all(all_correct(d, y, within=0.1))
        np.testing.assert_allclose(seen[0].error, 0.5 * np.sum((y - d) ** 2, axis=(1, 2)), rtol=1e-5)

    def test_networks_that_are_not_done_do_not_settle(self):
        experiment = replace(EXPERIMENTS["xor-skips"], find_facts=lambda _, runs, __: seen.append(runs) or [])
        seen = []
        result = experiment.run(8, sweeps=150, device="cpu")
        first = run_seeds(experiment, 8, sweeps=150, device="cpu")
        assert 0 < np.sum(result.solved) < 8
        np.testing.assert_array_equal(seen[0].theta[~result.solved], first.theta[~result.solved])

    def test_ctrl_c_keeps_earlier_findings(self):
        def find_facts(experiment, runs, train_more):
            yield Fact("before", "", "")
            train_more(experiment, 2)
            yield Fact("after", "", "")

        def interrupt(progress):
            epochs.append(progress.epoch)
            if len(epochs) == 7:
                raise KeyboardInterrupt

        epochs = []
        experiment = replace(EXPERIMENTS["xor"], find_facts=find_facts)
        result = experiment.run(2, sweeps=5, device="cpu", callbacks=(interrupt,))
        assert (epochs, result.stop_reason) == ([1, 2, 3, 4, 5, 1, 2], "interrupted")
        assert [fact.what for fact in result.facts] == ["before"]

    def test_ctrl_c_in_the_first_networks_trains_no_more(self):
        def interrupt(progress):
            epochs.append(progress.epoch)
            raise KeyboardInterrupt

        epochs = []
        result = EXPERIMENTS["symmetry"].run(2, sweeps=5, device="cpu", callbacks=(interrupt,))
        assert (epochs, result.stop_reason, result.tables) == ([1], "interrupted", ())


class TestSymmetry:
    """Return artificial networks with the signs and the sizes of the paper."""

    NETWORK = EXPERIMENTS["symmetry"].network

    def theta(self, sizes=(1.0, 2.0, 4.0), mirrored=-1.0, bias=-1.0, second=-1.0):
        pattern = 3.0 * np.asarray([*sizes, *(mirrored * size for size in sizes[::-1])])
        hidden = np.column_stack([[*pattern, bias], [*(second * pattern), bias]])
        return flatten(np, [hidden, np.asarray([[-9.0], [-9.0], [6.0]])])

    def found(self, *thetas):
        facts, _ = looked("symmetry", made(thetas))
        return list(facts.values())

    def test_the_papers_network(self):
        yes = "100 % of 1"
        sizes = f"1 : 2.00 : 4.00 (medians); within 15 %: {yes}"
        assert self.found(self.theta()) == [yes, yes, yes, sizes, yes, yes, yes]

    def test_order_of_the_sizes_does_not_matter(self):
        assert self.found(self.theta((4.0, 1.0, 2.0)))[3] == "1 : 2.00 : 4.00 (medians); within 15 %: 100 % of 1"

    def test_others(self):
        others = (
            self.theta(mirrored=1.0),
            self.theta(mirrored=-0.5),
            self.theta(bias=1.0),
            self.theta((1.0, 1.0, 1.0)),
            self.theta(second=1.0),
        )
        result = self.found(*others)
        assert [text.split()[0] for text in (*result[1:3], *result[4:])] == ["80", "80", "80", "80", "100"]
        assert result[3].endswith("within 15 %: 80 % of 5")

    def test_criterion_requires_the_papers_signs_and_sizes(self):
        *_, signs, sizes = symmetry.CONDITIONS

        def hold(*thetas):
            runs = made(40 * thetas)
            return signs.check(EXPERIMENTS["symmetry"], runs).holds, sizes.check(EXPERIMENTS["symmetry"], runs).holds

        assert hold(self.theta(), self.theta()) == (True, True)
        assert hold(self.theta(), self.theta(mirrored=1.0)) == (False, True)
        assert hold(self.theta(), self.theta(second=1.0)) == (False, True)
        assert hold(*[self.theta()] * 9, self.theta(mirrored=1.0)) == (True, True)
        assert hold(self.theta((1.0, 1.6, 4.0))) == hold(self.theta((1.0, 2.0, 3.3))) == (True, False)
        assert hold(self.theta((1.0, 2.2, 4.4))) == (True, True)

    def test_where_the_others_end(self):
        experiment = EXPERIMENTS["symmetry"]
        runs = made([self.theta()] * 4, solved=[True, True, False, False], error=[0.1, 4.0, 3.995, 2.5])
        requests = []
        table = symmetry.minima(
            experiment, runs, lambda other, n: requests.append((other, n)) or nothing_trained(other, n)
        )
        assert table.rows[0] == ("2", "0.1", "50 % of 4", "1", "50 % of 2")
        assert table.rows[1] == ("4", "0.1", "100 % of 4", "7", "–")
        assert [row[:2] for row in table.rows] == [
            (str(other.network.sizes[1]), f"{other.optimizer.settings['learning_rate']:g}")
            for other, _ in [(experiment, 4), *requests]
        ]
        assert {n for _, n in requests} == {4}


class TestMoreUnits:
    def test_own_number_is_reported_from_the_existing_runs(self):
        (table,) = try_more_units((3, 4, 6), EXPERIMENTS["addition"], made(solved=[True, False]), nothing_trained)
        assert table.rows == (("3", "100 % of 2", "7"), ("4", "50 % of 2", "1"), ("6", "100 % of 2", "7"))

    def test_keep_the_rest_of_the_network(self):
        assert with_hidden_units(EXPERIMENTS["xor-skips"], 5).network == replace(
            EXPERIMENTS["xor-skips"].network, sizes=(2, 5, 1)
        )


class TestXor:
    def test_where_networks_end_that_are_not_done(self):
        theta = initial_weights(EXPERIMENTS["xor"].network, range(5))
        runs = made(theta, solved=[True, *[False] * 4], error=[0.25, 0.25, 0.252, 1 / 3, 0.5])
        _, tables = looked("xor", runs)
        (table,) = [table for caption, table in tables.items() if caption.startswith("Where")]
        assert [row[2] for row in table.rows] == ["50 % of 4", "25 % of 4", "25 % of 4"]

    def test_stand_still_at_a_minimum_alone(self):
        experiment = EXPERIMENTS["xor"]
        saturated = flatten(np, [np.zeros((3, 2)), np.asarray([[0.0], [0.0], [-40.0]])])
        moving = initial_weights(experiment.network, 0, scheme="uniform", scale=3.0, dtype="float64")
        for theta, still in ((saturated, True), (moving, False)):
            assert xor.AT_MINIMA.check(experiment, made([theta], solved=[False])).holds is still
        assert xor.AT_MINIMA.check(experiment, made([moving])).holds

    def test_sweeps_beside_the_chapters(self):
        def by_formula(experiment, n_networks):
            n_hidden, slower = experiment.network.sizes[1], 2 if experiment.within == 0.1 else 1
            assert experiment.optimizer.settings["learning_rate"] == 0.25
            return made(solved=[True] * n_networks, sweeps=[slower * xor.presentations(n_hidden)] * n_networks)

        runs = made(initial_weights(EXPERIMENTS["xor"].network, range(3)))
        sweeps, saved = looked("xor", runs, by_formula)[1].values()
        assert [row[0] for row in sweeps.rows] == ["2", "4", "8", "16", "32"]
        assert all(row[1] == row[2] and int(row[3]) == 2 * int(row[1]) for row in sweeps.rows)
        assert saved.rows == (("2 to 8", "33", "33", "66"), ("8 to 32", "33", "33", "66"))

    def test_nothing_is_saved_if_half_are_never_done(self):
        runs = made(initial_weights(EXPERIMENTS["xor"].network, range(3)))
        _, tables = looked("xor", runs, lambda other, n: made(solved=[False] * n))
        assert [row[2:] for row in list(tables.values())[-1].rows] == [("–", "–"), ("–", "–")]

    @pytest.mark.parametrize(
        ("hidden", "what"),
        [
            ((9.0, 9.0, -13.0), "both inputs on"),
            ((-9.0, -9.0, 13.0), "both inputs on"),
            ((9.0, 9.0, -4.0), "both off"),
            ((9.0, -9.0, -4.0), "one on"),
            ((9.0, 0.0, -4.0), None),
        ],
    )
    def test_what_the_hidden_unit_detects(self, hidden, what):
        facts, _ = looked("xor-skips", made([np.asarray([*hidden, 0.0, 0.0, 0.0, 0.0])]))
        named = [fact for fact, share in facts.items() if fact.startswith("the hidden unit") and share == "100 % of 1"]
        assert named == ([f"the hidden unit tells the case of {what} from the others"] if what else [])


class TestEncoder:
    BITS = np.asarray(list(itertools.product((-1.0, 1.0), repeat=3)))

    def theta(self, codes):
        return flatten(np, [np.vstack([8.0 * codes, np.zeros(3)]), np.zeros((4, 8))])

    def test_codes_that_differ(self):
        binary, twice = self.theta(self.BITS), self.theta(np.vstack([self.BITS[:7], 0.5 * self.BITS[:1]]))
        between = self.theta(np.vstack([self.BITS[:6], 0.01 * self.BITS[6:]]))
        facts, _ = looked("encoder", made([binary, twice, between]))
        assert list(facts.values()) == ["67 % of 3", f"{100 * 6 / 72:.0f} % of 72"]
        for thetas, holds in (([binary, twice], True), ([binary, twice, twice], False)):
            assert encoder.BINARY.check(EXPERIMENTS["encoder"], made(40 * thetas)).holds is holds


class TestTAndC:
    def test_pairs_of_cells_do_not_distinguish_the_shapes(self):
        apart = []
        for shape in cases.T_AND_C:
            cells = [(row, column) for row, line in enumerate(shape) for column, cell in enumerate(line) if cell == "#"]
            assert len(cells) == 5
            apart.append(sorted(np.hypot(a - c, b - d) for (a, b), (c, d) in itertools.combinations(cells, 2)))
        np.testing.assert_array_equal(*apart)

    def test_samples_are_all_places_of_all_turns(self):
        x, d = cases.t_c((5, 6))
        assert len(np.unique(x, axis=0)) == len(x)
        assert np.sum(d) == 4 * 3 * 4
        assert np.sum(1.0 - d) == 2 * (3 * 5 + 4 * 4)
        assert np.all(np.sum(x, axis=1) == 5.0)
        turned = np.rot90(x.reshape(-1, 5, 6)[:, :5, :5][:, ::-1], axes=(1, 2)).reshape(len(x), -1)
        square = {(tuple(row), float(right)) for row, (right,) in zip(*cases.t_c((5, 5)), strict=True)}
        inside = np.sum(turned, axis=1) == 5.0
        assert {(tuple(row), float(right)) for row, (right,) in zip(turned[inside], d[inside], strict=True)} == square

    def test_margin_stays_empty(self):
        x, _d = cases.t_c((7, 7), 2)
        inner = np.zeros((7, 7), bool)
        inner[2:5, 2:5] = True
        assert np.all(x[:, ~inner.ravel()] == 0.0)
        np.testing.assert_array_equal(x[:, inner.ravel()], cases.t_c((3, 3))[0])

    def test_outputs_do_not_depend_on_the_place(self):
        network = t_c.network()
        theta = initial_weights(network, range(3), scheme="uniform", scale=2.0, dtype="float64")
        y = output_layer(np, network, theta, cases.t_c((7, 7), 2)[0]).y[..., 0]
        x, _ = cases.t_c((11, 11), 2)
        moved = output_layer(np, t_c.network(11), t_c.on_a_larger_plane(theta), x).y[..., 0]
        first_t, places_of_t = y[:, 0], moved[:, :25]
        np.testing.assert_allclose(places_of_t, np.broadcast_to(first_t[:, None], places_of_t.shape), rtol=1e-9)
        for one, other in zip(y, moved, strict=True):
            assert {round(value, 9) for value in one} == {round(value, 9) for value in other}

    @pytest.mark.parametrize(
        ("field", "kind"),
        [
            ([[1, 2, 1], [2, 5, 2], [1, 2, 1]], "the same in all turns and mirrors"),
            ([[1, 2, -1], [-2, 5, -2], [-1, 2, 1]], "the same in a half turn"),
            ([[1, 2, 3], [3, 5, 1], [3, 2, 1]], "without symmetry"),
            ([[1, 2, 3], [2, 5, 2], [3, 2, 1]], "mirrored in both diagonals"),
            ([[1, 2, 1], [4, 5, 4], [1, 2, 1]], "mirrored in both axes"),
            ([[1, 2, 1], [4, 5, 4], [3, 2, 3]], "mirrored in one axis"),
            ([[1, 2, 3], [2, 5, 4], [3, 4, 9]], "mirrored in one diagonal"),
            ([[1, 2, -1], [-2, 0, 2], [1, -2, -1]], "without symmetry"),
            ([[1, 2, 1], [-2, 0, -2], [1, 2, 1]], "mirrored in both axes"),
        ],
    )
    def test_kinds_do_not_depend_on_the_rotation_of_a_field(self, field, kind):
        for turn in t_c.TURNS:
            assert t_c.kind_of(t_c.turned(np.asarray(field, float), *turn)) == kind

    def test_nearly_the_same_counts_and_more_does_not(self):
        field = np.asarray([[1.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 2.0, 1.0]])
        moved = field.copy()
        moved[0, 1] += 0.14 * np.linalg.norm(field) / np.sqrt(2.0)
        assert t_c.kind_of(moved) == "the same in all turns and mirrors"
        moved[0, 1] += 0.1 * np.linalg.norm(field)
        assert t_c.kind_of(moved) == "mirrored in one axis"

    def test_facts_and_picture_are_of_the_fields(self):
        experiment, network = EXPERIMENTS["t-c"], t_c.network()
        fields = [
            [[1, 2, 1], [2, 5, 2], [1, 2, 1]],
            [[1, 2, 3], [3, 5, 1], [3, 2, 1]],
            [[9, 8, 9], [8, 5, 8], [9, 8, 9]],
        ]
        thetas = []
        for field in fields:
            small = np.zeros(network.n_parameters)
            distinct = np.asarray([*np.ravel(field), -3.0, 2.0, -1.0])
            small[network.tied.present] = distinct[network.tied.index]
            thetas.append(small)
        runs = made(thetas)
        np.testing.assert_array_equal(t_c.fields(experiment, runs), fields)
        facts, _ = looked("t-c", runs)
        assert facts["the field is the same in all turns and mirrors"] == "67 % of 3"
        assert facts["the field is without symmetry"] == "33 % of 3"
        (picture,) = experiment.pictures(experiment, runs)
        assert picture.caption.endswith("A the same in all turns and mirrors; B without symmetry")
        _, squares, *_ = drawn(picture, experiment.drawings).collections  # then those of the key
        areas = np.asarray([np.ptp(square.vertices[:, 0]) ** 2 for square in squares.get_paths()])
        expected = np.abs(np.column_stack([[*np.ravel(fields[0]), -3.0], [*np.ravel(fields[1]), -3.0]])).ravel()
        np.testing.assert_allclose(areas / areas.max(), expected / expected.max(), rtol=1e-6)


def drawn(picture, drawings):
    pytest.importorskip("matplotlib", reason="the extra 'cli' is not installed")
    from gpubp.plotting.figure import new_figure

    ax = new_figure().add_subplot()
    drawings[picture.name].draw(ax, **picture.data)
    ax.figure.canvas.draw()
    return ax


class TestShiftRegister:
    def theta(self, n_units, sign, n_steps=2):
        """Every unit copies the one before it, or negates it."""
        w = sign * 20.0 * np.roll(np.eye(n_units), 1, axis=1)
        block = np.vstack([w, -0.5 * np.sum(w, axis=0)])
        return flatten(np, [block] * n_steps)

    def after(self, theta, n_steps):
        d, y = shift_register.after(EXPERIMENTS["shift-register"], made([theta]), n_steps)
        return bool(all_correct(d, y)[0])

    @pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 10, 33])
    def test_a_shifting_net_can_be_run_for_longer(self, n_steps):
        assert self.after(self.theta(5, 1.0), n_steps)
        assert self.after(self.theta(5, -1.0), n_steps) is (n_steps % 2 == 0)

    def test_samples_are_moved_in_a_ring(self):
        x, d = cases.shifted(5, 2)
        for row, moved in zip(x, d, strict=True):
            assert [moved[(k + 2) % 5] for k in range(5)] == row.tolist()

    def test_criterion_requires_more_steps(self):
        shifts, does_not = self.theta(5, 1.0), np.zeros(60)
        for thetas, holds in (([shifts, does_not], True), ([shifts, does_not, does_not], False)):
            assert shift_register.RUNS_ON.check(EXPERIMENTS["shift-register"], made(40 * thetas)).holds is holds

    def test_facts(self):
        thetas = [self.theta(5, 1.0), self.theta(5, 1.0), self.theta(5, -1.0), np.zeros(60)]
        facts, tables = looked("shift-register", made(thetas))
        assert list(facts.values()) == ["50 % of 4", "25 % of 4"]
        (table,) = tables.values()
        assert table.rows[0] == ("5, weights equal", "100 % of 4", *["75 % of 4"] * 3)
        assert table.rows[1] == ("5, weights free", "100 % of 4", "–", "–", "–")


class TestPictures:
    @pytest.mark.parametrize("name", ["symmetry", "encoder"])
    def test_show_the_first_network_that_is_done(self, name):
        experiment = EXPERIMENTS[name]
        theta = initial_weights(experiment.network, range(3), scheme="uniform", scale=1.0)
        runs = made(theta, solved=[False, True, True])
        (picture,) = experiment.pictures(experiment, runs)
        ax = drawn(picture, experiment.drawings)
        if name == "encoder":
            np.testing.assert_allclose(ax.images[0].get_array(), encoder.codes(experiment, runs)[0], rtol=1e-6)
        else:
            weights = np.abs(views(np, experiment.network, theta[1])[0]).ravel()
            areas = np.asarray([np.ptp(square.vertices[:, 0]) ** 2 for square in ax.collections[1].get_paths()])
            np.testing.assert_allclose(areas / areas.max(), weights / weights.max(), rtol=1e-5)

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_there_are_none_if_no_network_is_done(self, name):
        theta = initial_weights(EXPERIMENTS[name].network, range(2))
        assert list(EXPERIMENTS[name].pictures(EXPERIMENTS[name], made(theta, solved=[False, False]))) == []
