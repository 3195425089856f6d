"""The paper's family trees: the people, the recipes, and the report on the networks."""

import json
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpubp.nn.gradient_check import check_gradient
from gpubp.nn.initialization import initial_weights
from gpubp.nn.network import views
from gpubp.nn.passes import loss_and_gradient
from gpubp.paper import family, family_recipe
from gpubp.paper.family import ENGLISH, ITALIAN, PEOPLE, RELATIONS
from gpubp.paper.family_codes import codes_of_people, codes_of_relations, explained, predicted
from gpubp.paper.family_facts import fact_of_learning, facts_of_codes, facts_of_held_out, table_by_relation
from gpubp.paper.family_pictures import DRAWINGS, clearest, pictures, unit_names
from gpubp.paper.family_recipe import PRINTED, Recipe, Trained, first_weights, held_out_cases, trained
from gpubp.paper.family_trees import FOUND, FamilyTrees, judged
from gpubp.paper.studies import STUDIES
from tests.interrupts import interrupt_epoch

DOCS = Path(__file__).parents[2] / "docs"

MARRIAGES = """
Christopher = Penelope, Andrew = Christine, Arthur = Margaret, James = Victoria, Charles = Jennifer,
Roberto = Maria, Pierro = Francesca, Emilio = Gina, Marco = Lucia, Tomaso = Angela
"""
PARENTS = {
    "Arthur Victoria": "Christopher Penelope",
    "James Jennifer": "Andrew Christine",
    "Colin Charlotte": "James Victoria",
    "Emilio Lucia": "Roberto Maria",
    "Marco Angela": "Pierro Francesca",
    "Alfonso Sophia": "Marco Lucia",
}
SAME_PLACE = """
Christopher-Roberto Penelope-Maria Andrew-Pierro Christine-Francesca Arthur-Emilio Margaret-Gina
Victoria-Lucia James-Marco Jennifer-Angela Charles-Tomaso Colin-Alfonso Charlotte-Sophia
"""
WOMEN = "Penelope Christine Margaret Victoria Jennifer Charlotte Maria Francesca Gina Lucia Angela Sophia"


def relatives_by_hand(person):
    """Find all relatives of one person by following the text above."""
    spouses = {}
    for marriage in MARRIAGES.replace("\n", " ").split(","):
        husband, wife = marriage.split("=")
        spouses |= {husband.strip(): [wife.strip()], wife.strip(): [husband.strip()]}
    parents = {child: above.split() for children, above in PARENTS.items() for child in children.split()}
    children = {above: below.split() for below, couple in PARENTS.items() for above in couple.split()}

    def siblings(one):
        return [other for other in children.get(parents.get(one, [None])[0], []) if other != one]

    by_kind = {"parent": parents.get(person, []), "spouse": spouses.get(person, []), "child": children.get(person, [])}
    by_kind["sibling"] = siblings(person)
    by_kind["elder"] = [
        elder
        for parent in by_kind["parent"]
        for sibling in siblings(parent)
        for elder in [sibling, *spouses.get(sibling, [])]
    ]
    by_kind["younger"] = [
        child
        for one in [person, *by_kind["spouse"]]
        for sibling in siblings(one)
        for child in children.get(sibling, [])
    ]
    return by_kind


OF_EITHER_SEX = {
    "parent": ("father", "mother"),
    "spouse": ("husband", "wife"),
    "child": ("son", "daughter"),
    "sibling": ("brother", "sister"),
    "elder": ("uncle", "aunt"),
    "younger": ("nephew", "niece"),
}


def relatives(person, relation):
    row = family.relations()[RELATIONS.index(relation), PEOPLE.index(person)]
    return {PEOPLE[k] for k in np.flatnonzero(row)}


class TestFamilies:
    def test_number_of_samples_of_each_relation(self):
        """The counts that two public reproductions, which have a wrong tree, miss."""
        x, d = family.cases()
        counts = dict(zip(RELATIONS, x[:, 24:].sum(axis=0).astype(int).tolist(), strict=True))
        assert counts == {
            **{"father": 12, "mother": 12, "husband": 10, "wife": 10, "son": 12, "daughter": 12},
            **{"uncle": 4, "aunt": 4, "brother": 6, "sister": 6, "nephew": 8, "niece": 8},
        }
        assert (x.shape, d.shape, int(d.sum())) == ((104, 36), (104, 24), 112)

    def test_two_answers_are_right_of_uncles_and_aunts_alone(self):
        x, d = family.cases()
        twice = x[d.sum(axis=1) == 2.0, 24:].sum(axis=0)
        assert {RELATIONS[k]: int(twice[k]) for k in np.flatnonzero(twice)} == {"uncle": 4, "aunt": 4}
        assert d.sum(axis=1).min() == 1.0

    def test_each_sample_is_a_unique_pair_of_person_and_relation(self):
        x, _ = family.cases()
        assert set(np.unique(x)) == {0.0, 1.0}
        np.testing.assert_array_equal(x[:, :24].sum(axis=1), 1.0)
        np.testing.assert_array_equal(x[:, 24:].sum(axis=1), 1.0)
        assert len(np.unique(x, axis=0)) == 104

    @pytest.mark.parametrize("person", PEOPLE)
    def test_relatives_equal_those_found_by_hand(self, person):
        for kind, others in relatives_by_hand(person).items():
            for relation, sex in zip(OF_EITHER_SEX[kind], (False, True), strict=True):
                assert relatives(person, relation) == {other for other in others if (other in WOMEN.split()) is sex}

    def test_some_examples(self):
        assert relatives("Colin", "aunt") == {
            "Jennifer",
            "Margaret",
        }  # his father's sister, his mother's brother's wife
        assert relatives("Colin", "uncle") == {"Arthur", "Charles"}
        assert relatives("Charles", "nephew") == {"Colin"}  # the son of his wife's brother
        assert relatives("Sophia", "father") == {"Marco"}
        assert relatives("Christopher", "nephew") == relatives("Margaret", "brother") == set()

    def test_both_trees_are_the_same(self):
        pairs = dict(pair.split("-") for pair in SAME_PLACE.split())
        assert [pairs[person] for person in ENGLISH] == list(ITALIAN)
        among = family.relations()
        np.testing.assert_array_equal(among[:, :12, :12], among[:, 12:, 12:])
        assert not np.any(among[:, :12, 12:])
        assert not np.any(among[:, 12:, :12])

    def test_attributes(self):
        of = family.attributes()
        assert Counter(of["nationality"].tolist()) == {1: 12, 2: 12}
        assert Counter(of["generation"].tolist()) == {1: 8, 2: 12, 3: 4}
        assert Counter(of["branch"].tolist()) == {1: 10, 2: 10, 0: 4}
        for attribute in (of["generation"], of["branch"]):
            np.testing.assert_array_equal(attribute[:12], attribute[12:])
        by_name = {person: (int(of["generation"][k]), int(of["branch"][k])) for k, person in enumerate(PEOPLE)}
        assert by_name["Christopher"] == by_name["Penelope"] == (1, 1)
        assert by_name["Margaret"] == by_name["Victoria"] == (2, 1)  # one by marriage, one by birth
        assert by_name["Charles"] == by_name["James"] == (2, 2)
        assert by_name["Colin"] == by_name["Charlotte"] == (3, 0)


class TestNetwork:
    def test_people_and_relations_have_six_separate_units(self):
        theta = first_weights(PRINTED, range(2))
        block = views(np, PRINTED.network, theta)[0]
        assert PRINTED.network.sizes == (36, 12, 12, 6, 24)
        assert not np.any(block[:, :24, 6:])
        assert not np.any(block[:, 24:36, :6])
        assert np.all(block[:, :24, :6])
        assert np.all(block[:, 24:36, 6:])
        assert np.all(block[:, 36])

    @pytest.mark.parametrize("loss", ["dead_zone(0.2)", "squared"])
    def test_gradient(self, loss):
        network = replace(PRINTED, loss=loss).network
        theta = initial_weights(network, 3, scheme="uniform", scale=2.0, dtype="float64")
        x, d = family.cases()
        result = check_gradient(np, network, theta, x[::7], d[::7])
        present = network.tied.mask == 1.0
        largest = np.max(np.abs(result.gradient))
        np.testing.assert_allclose(result.gradient[present], result.differences[present], atol=1e-7 * largest)
        assert not np.any(result.gradient[~present])

    def test_two_right_answers_need_two_units(self):
        """If all outputs are low, the derivative by the outputs' biases raises both, and nothing else."""
        x, d = family.cases()
        k = int(np.flatnonzero(d.sum(axis=1) == 2.0)[0])
        theta = np.zeros(PRINTED.network.n_parameters)
        views(np, PRINTED.network, theta)[-1][-1] = -3.0
        _, gradient = loss_and_gradient(np, PRINTED.network, theta, x[k : k + 1], d[k : k + 1])
        by_biases = views(np, PRINTED.network, gradient)[-1][-1]
        np.testing.assert_array_equal(by_biases < 0.0, d[k] == 1.0)
        np.testing.assert_array_equal(by_biases == 0.0, d[k] == 0.0)


class TestRecipe:
    def test_the_printed_recipe(self):
        optimizer = PRINTED.optimizer
        assert optimizer.at(19) == {"learning_rate": 0.005, "momentum": 0.5, "shrinkage": 0.002}
        assert optimizer.at(20) == {"learning_rate": 0.01, "momentum": 0.9, "shrinkage": 0.002}
        assert (PRINTED.network.loss, PRINTED.sweeps, PRINTED.batch_size, PRINTED.reduction) == (
            "dead_zone",  # whose default width is 0.2
            1500,
            "full",
            "sum",
        )
        assert set(PRINTED.network.activations) == {"logistic"}

    def test_held_out_samples_depend_only_on_their_seed(self):
        held_out = held_out_cases(range(50))
        np.testing.assert_array_equal(held_out.sum(axis=1), 4)
        assert len(np.unique(held_out, axis=0)) == 50
        np.testing.assert_array_equal(held_out_cases([7]), held_out[7:8])
        assert np.all(held_out_cases(range(500)).sum(axis=0) > 0)

    def test_nothing_is_learned_from_held_out_samples(self, monkeypatch):
        x, d = family.cases()
        held_out = held_out_cases(range(2))
        before = trained(FOUND, range(2), sweeps=4, device="cpu")
        np.testing.assert_array_equal(before.held_out, held_out)
        other = d.copy()
        other[held_out[0]] = 1.0 - other[held_out[0]]  # the second network is trained on these
        assert not np.any(held_out[0] & held_out[1])
        monkeypatch.setattr(family_recipe.family, "cases", lambda: (x, other))
        after = trained(FOUND, range(2), sweeps=4, device="cpu")
        np.testing.assert_array_equal(after.theta[0], before.theta[0])
        assert np.any(after.theta[1] != before.theta[1])

    def test_a_network_does_not_depend_on_the_others(self):
        three = trained(FOUND, range(3), sweeps=30, device="cpu")
        single = trained(FOUND, [2], sweeps=30, device="cpu")
        np.testing.assert_allclose(three.theta[2:], single.theta, rtol=1e-4, atol=1e-5)

    def test_decay_shrinks_weights_without_a_gradient(self):
        """If every output is in the zone, only the decay is left."""
        recipe = replace(PRINTED, loss="dead_zone(1.0)")
        result = trained(recipe, [0], sweeps=10, device="cpu")
        np.testing.assert_allclose(result.theta, first_weights(recipe, [0]) * 0.998**10, rtol=1e-5)

    def test_printed_recipe_does_not_learn_and_the_found_one_does(self):
        printed = trained(PRINTED, range(4), device="cpu")
        result = trained(FOUND, range(4), sweeps=PRINTED.sweeps, device="cpu")
        assert np.all(printed.fraction_learned == 0.0)
        assert np.mean(result.fraction_learned) > 0.8


def made(y, held_out, theta=None):
    n = len(y)
    theta = np.zeros((n, PRINTED.network.n_parameters)) if theta is None else theta
    return Trained(theta, held_out, y, 1500, 1.0, "epochs")


def perfect(n_networks):
    """Return correct outputs, 0.9 and 0.1, and held-out cases."""
    _, d = family.cases()
    return np.broadcast_to(0.1 + 0.8 * d, (n_networks, *d.shape)).copy(), held_out_cases(range(n_networks))


class TestTrained:
    def test_all_right(self):
        result = made(*perfect(2))
        np.testing.assert_array_equal(result.fraction_learned, 1.0)
        np.testing.assert_array_equal(result.generalized, 4)
        assert np.all(result.ahead)

    def test_one_output_on_the_wrong_side_is_enough(self):
        y, held_out = perfect(2)
        k = int(np.flatnonzero(held_out[0])[0])
        wrong = int(np.flatnonzero(family.cases()[1][k] == 0.0)[0])
        y[0, k, wrong] = 0.6
        result = made(y, held_out)
        np.testing.assert_array_equal(result.generalized, [3, 4])
        np.testing.assert_array_equal(result.fraction_learned, 1.0)
        assert np.all(result.ahead)  # 0.9 is still above 0.6
        k = int(np.flatnonzero(~held_out[1])[0])
        y[1, k, int(np.argmax(family.cases()[1][k]))] = 0.3
        np.testing.assert_allclose(made(y, held_out).fraction_learned, [1.0, 0.99])

    def test_both_of_two_answers_must_be_ahead(self):
        y, held_out = perfect(1)
        _, d = family.cases()
        k = int(np.flatnonzero(d.sum(axis=1) == 2.0)[0])
        y[0, k, int(np.argmax(d[k]))] = 0.05
        np.testing.assert_array_equal(np.flatnonzero(~made(y, held_out).ahead[0]), [k])

    def test_the_papers_zone(self):
        y, held_out = perfect(1)
        assert np.all(made(y, held_out).within(0.2))
        assert not np.any(made(y, held_out).within(0.09))


def theta_that_codes(**unit_of):
    """A network whose six units each code an attribute, or nothing."""
    theta = np.zeros(PRINTED.network.n_parameters)
    block = views(np, PRINTED.network, theta)[0]
    for name, unit in unit_of.items():
        attribute = family.attributes()[name]
        block[:24, unit] = 8.0 * (attribute - np.mean(attribute, where=attribute > 0)) * (attribute > 0)
    return theta


class TestCodes:
    def test_outputs_of_the_units_for_each_person(self):
        codes = codes_of_people(PRINTED.network, theta_that_codes(nationality=3))
        assert codes.shape == (24, 6)
        assert np.all(codes[:12, 3] < 0.02)
        assert np.all(codes[12:, 3] > 0.98)
        np.testing.assert_array_equal(codes[:, :3], 0.5)

    def test_what_explains_a_unit(self):
        theta = np.stack([theta_that_codes(nationality=0, generation=1, branch=5), np.zeros(846)])
        codes = codes_of_people(PRINTED.network, theta)
        for name, unit in (("nationality", 0), ("generation", 1), ("branch", 5)):
            shares = explained(codes, family.attributes()[name])
            np.testing.assert_allclose(shares[0, unit], 1.0)
            assert np.all(np.delete(shares[0], unit) < 0.05)
            np.testing.assert_array_equal(shares[1], 0.0)

    def test_part_of_the_variance(self):
        codes = np.asarray([[0.0], [2.0], [1.0], [3.0], [9.0]])
        # means 1 and 2 about 1.5: between 4 * 0.25, in all 2.25 + 0.25 + 0.25 + 2.25
        np.testing.assert_allclose(explained(codes, np.asarray([1, 1, 2, 2, 0])), [0.2])

    def test_prediction_leaves_the_person_out(self):
        """The mean of each person's own kind, without the person, is farther than that of the other kind."""
        codes = np.asarray([[0.0], [1.0], [0.1], [0.9]])
        np.testing.assert_array_equal(predicted(codes, np.asarray([1, 1, 2, 2])), [0.0])
        np.testing.assert_array_equal(predicted(codes, np.asarray([1, 2, 1, 2])), [1.0])

    def test_prediction(self):
        codes = codes_of_people(PRINTED.network, theta_that_codes(nationality=0, generation=1, branch=2))
        for name, unit in (("nationality", 0), ("generation", 1), ("branch", 2)):
            right = predicted(codes, family.attributes()[name])
            assert right[unit] == 1.0
            assert np.all(np.delete(right, unit) < 0.8)


class TestFacts:
    def test_learning(self):
        y, held_out = perfect(2)
        y[0] = 1.0 - y[0]
        fact = fact_of_learning("cases learned", made(y, held_out))
        assert fact.paper == "all 100; 1,500 sweeps"
        assert fact.found == "50 % on average, all by 50 % of 2; 1,500 sweeps"

    def test_held_out(self):
        y, held_out = perfect(4)
        y[0] = 1.0 - y[0]
        y[1][held_out[1]] = 0.5 + 0.1 * (y[1][held_out[1]] - 0.5)  # right, and far from the zone
        assert [fact.found for fact in facts_of_held_out(made(y, held_out))] == [
            "75 % of 4",
            "75 % on average",
            "50 % on average",
            "75 % on average, all 4 by 75 % of 4",
        ]

    def test_by_relation(self):
        y, held_out = perfect(40)
        x, _ = family.cases()
        of_wives = x[:, 24 + RELATIONS.index("wife")] == 1.0
        y[:, of_wives] = 0.0
        rows = table_by_relation(made(y, held_out)).rows
        assert [row[3] for row in rows] == ["100 %"] * 11 + ["0 %"]
        assert rows[-1][:3] == ("wife", "10", str(held_out[:, of_wives].sum()))
        assert sum(int(row[2]) for row in rows) == 4 * 40

    def test_codes_of_those_that_are_done(self):
        y, held_out = perfect(3)
        y[2] = 0.0
        theta = np.stack(
            [theta_that_codes(nationality=0, generation=1, branch=5), theta_that_codes(nationality=0), np.zeros(846)]
        )
        facts = [fact.found for fact in facts_of_codes(PRINTED, made(y, held_out, theta))]
        assert [text.split(";")[0] for text in facts[:3]] == ["100 % of 2", "50 % of 2", "50 % of 2"]
        assert facts[3] == "5.0 of 6 on average; more than half in 100 % of 2"
        assert facts[4].startswith("100 % of the people right; with first weights ")

    def test_none_done(self):
        y, held_out = perfect(2)
        assert facts_of_codes(PRINTED, made(1.0 - y, held_out)) == []


class TestStudy:
    @pytest.mark.parametrize(
        ("n_right", "reached"), [(0, "not reproduced"), (1, "partly"), (2, "partly"), (10, "reproduced")]
    )
    def test_verdict(self, n_right, reached):
        y, held_out = perfect(20)
        y[n_right:] = 0.0
        assert judged(made(y, held_out)) == (reached, f"{n_right} of 20 networks with all 4 right")
        assert judged(made(y[:19], held_out[:19])).reached == "undecided"

    def test_found_recipe_keeps_the_papers_decay_and_zone(self):
        assert (FOUND.shrinkage, FOUND.loss, FOUND.reduction) == (PRINTED.shrinkage, PRINTED.loss, PRINTED.reduction)
        assert STUDIES["family-trees"].recipe == FOUND

    def test_found_recipe_is_the_one_that_the_search_chose(self):
        data = json.loads((DOCS / "paper" / "family-search.json").read_text(encoding="utf-8"))
        chosen = {field.name: data["chosen"][field.name] for field in fields(Recipe)}
        chosen |= {name: tuple(chosen[name]) for name in ("rates", "momenta")}
        assert Recipe(**chosen) == FOUND
        assert data["first_seed"] >= 1_000_000  # no network of the study was among those that chose
        printed = [row for row in data["recipes"] if row["changed"] == 0]
        assert {row["scale"] for row in printed} == {0.3, 1.0, 2.0}
        assert max(row["learned"] for row in printed) < 0.001

    def test_run(self):
        result = FamilyTrees(Recipe(scale=1.0, sweeps=3)).run(11, device="cpu")
        assert (result.solved.shape, result.stop_reason) == ((11,), "epochs")
        assert (result.sweeps, result.limit) == (None, 3)
        assert result.tables[0].rows[1][2] == "0 % on average, all by 0 % of 2; 1,500 sweeps"
        assert [picture.name for picture in result.pictures] == ["held-out"]

    def test_ctrl_c(self):
        result = FamilyTrees().run(3, device="cpu", callbacks=(interrupt_epoch(2),))
        assert result.stop_reason == "interrupted"
        assert result.tables[0].rows[0][2].endswith("; 2 sweeps")
        assert len(result.tables[0].rows) == 5  # none of the paper's recipe, which was not tried

    def test_ctrl_c_while_the_papers_recipe_runs(self):
        seen = []

        def interrupt(progress):
            seen.append(progress.epoch)
            if seen.count(1) == 2:
                raise KeyboardInterrupt

        result = FamilyTrees().run(3, sweeps=4, device="cpu", callbacks=(interrupt,))
        assert result.stop_reason == "interrupted"
        assert [row[2].rpartition("; ")[2] for row in result.tables[0].rows[:2]] == ["4 sweeps", "1 sweep"]


def drawn(name, theta, generalized=(4,)):
    from gpubp.plotting.figure import new_figure

    networks = SimpleNamespace(theta=np.tile(theta, (len(generalized), 1)), generalized=np.asarray(generalized))
    data = {picture.name: picture.data for picture in pictures(PRINTED.network, networks)}
    return DRAWINGS[name].draw(new_figure().add_subplot(), **data[name])


class TestPictures:
    THETA = theta_that_codes(nationality=0, generation=1, branch=5)

    @pytest.fixture(autouse=True)
    def _with_matplotlib(self):
        pytest.importorskip("matplotlib", reason="the extra 'cli' is not installed")

    def test_units_are_named_by_what_they_code(self):
        names = unit_names(codes_of_people(PRINTED.network, self.THETA), family.attributes())
        assert [names[unit] for unit in (0, 1, 5)] == ["1: nationality 100 %", "2: generation 100 %", "6: branch 100 %"]

    def test_weights(self):
        ax = drawn("weights", self.THETA)
        squares = ax.collections[1].get_paths()
        assert len(squares) == 25 * 6
        sides = np.asarray([np.ptp(square.vertices[:, 0]) for square in squares]).reshape(25, 6)
        np.testing.assert_array_equal(
            sides > 0.0, np.abs(self.THETA[: 37 * 12].reshape(37, 12)[[*range(24), 36], :6]) > 0
        )

    def test_codes(self):
        image = drawn("codes", self.THETA).images[0].get_array()
        np.testing.assert_allclose(image, codes_of_people(PRINTED.network, self.THETA))

    def test_people_and_relations_are_named(self):
        ax = drawn("weights", self.THETA)
        written = [text.get_text() for text in ax.texts]
        assert {"1: nationality 100 %", "bias", "Christopher, Roberto", "Charlotte, Sophia"} <= set(written)
        ax = drawn("relations", self.THETA)
        assert [label.get_text() for label in ax.get_yticklabels()] == list(family.RELATIONS)
        ax = drawn("codes", self.THETA)
        assert [label.get_text() for label in ax.get_yticklabels()] == list(family.PEOPLE)
        assert ax.get_xticklabels()[0].get_text() == "unit 1:\nnationality\n100 %"

    def test_outputs_for_relations_are_those_of_their_units(self):
        theta = np.random.default_rng(0).normal(size=PRINTED.network.n_parameters)
        block = theta[: 37 * 12].reshape(37, 12)
        total = block[24:36, 6:] + block[36, 6:]
        np.testing.assert_allclose(codes_of_relations(PRINTED.network, theta), 1.0 / (1.0 + np.exp(-total)))

    def test_held_out(self):
        bars = drawn("held-out", self.THETA, [4, 4, 0, 3]).patches
        assert [bar.get_height() for bar in bars] == [1, 0, 0, 1, 2]

    def test_clearest(self):
        stack = np.stack([theta_that_codes(nationality=0), self.THETA, theta_that_codes(branch=1, generation=0)])
        assert clearest(PRINTED.network, stack) == 1


def test_command(capsys):
    pytest.importorskip("typer", reason="the extra 'cli' is not installed")
    from gpubp.__main__ import main

    code = main(["reproduce", "family-trees", "--seeds", "3", "--sweeps", "2", "--device", "cpu", "--json"])
    (data,) = json.loads(capsys.readouterr().out)
    assert (code, data["networks"], data["verdict"]["reached"], data["sweeps"]) == (0, 3, "undecided", [])
