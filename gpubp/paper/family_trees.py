"""The study of the family trees: the networks' answers to held-out cases, and what their six units code."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gpubp._core.text import counted
from gpubp.paper.chance import ALLOWED, reaches
from gpubp.paper.family_facts import (
    fact_of_learning,
    facts_of_codes,
    facts_of_held_out,
    table_by_relation,
    table_of_all_networks,
)
from gpubp.paper.family_pictures import DRAWINGS, pictures
from gpubp.paper.family_recipe import DEAD_ZONE, FIRST_SWEEPS, N_HELD_OUT, PRINTED, Recipe, Trained, trained
from gpubp.paper.study import Callbacks, Findings, Reached, StudyDrawing, Verdict, if_enough_networks
from gpubp.paper.words import seeds_in_words

WANTED = 0.5
"""The part of the networks that must have all held-out cases right."""

FOUND = Recipe(scale=2.0, rates=(0.025, 0.05), sweeps=5000)
"""The recipe nearest the paper's that learns: ``examples/family_search.py`` found it."""


@dataclass(frozen=True)
class FamilyTrees:
    """The paper's second experiment; a :class:`gpubp.paper.study.Study`.

    Attributes
    ----------
    recipe : Recipe
        The recipe that is judged; for comparison, a tenth as many networks are trained with the paper's own.
    """

    recipe: Recipe = FOUND
    drawings: ClassVar[dict[str, StudyDrawing]] = DRAWINGS
    name: str = "family-trees"
    title: str = "Who is Colin's aunt? Two families, twelve relations"
    says: str = "100 cases learned in 1,500 sweeps, all four others right, by one network (Nature 323, figures 2–4)"
    criterion: str = (
        f"at least {100 * WANTED:g} % of the networks have all of their {N_HELD_OUT} held-out cases right, drawn anew "
        f"for each: every output on its side of 0.5; {ALLOWED}"
    )

    @property
    def sweeps(self) -> int:
        """The number of sweeps of a network."""
        return self.recipe.sweeps

    def run(
        self,
        n_networks: int = 1000,
        *,
        sweeps: int | None = None,
        device: str = "auto",
        callbacks: Callbacks = (),
    ) -> Findings:
        """Train the given number of networks and judge them: see :class:`gpubp.paper.study.Study`."""
        networks = trained(self.recipe, range(n_networks), sweeps=sweeps, device=device, callbacks=callbacks)
        seconds, stop_reason = networks.seconds, networks.stop_reason
        learning = [fact_of_learning("cases learned", networks)]
        if stop_reason != "interrupted":
            n_printed, at_most = -(-n_networks // 10), min(sweeps or PRINTED.sweeps, PRINTED.sweeps)
            printed = trained(PRINTED, range(n_printed), sweeps=at_most, device=device, callbacks=callbacks)
            seconds, stop_reason = seconds + printed.seconds, printed.stop_reason
            learning.append(fact_of_learning(f"by the paper's recipe, from weights in ±{PRINTED.scale:g}", printed))
        return Findings(
            setting=described(self.recipe, n_networks, sweeps or self.sweeps),
            limit=sweeps or self.sweeps,
            solved=networks.generalized == N_HELD_OUT,
            sweeps=None,
            seconds=seconds,
            stop_reason=stop_reason,
            verdict=judged(networks),
            facts=facts_of_codes(self.recipe, networks),
            pictures=tuple(pictures(self.recipe.network, networks)),
            tables=(table_of_all_networks([*learning, *facts_of_held_out(networks)]), table_by_relation(networks)),
            done=f"with all {N_HELD_OUT} held-out cases right",
        )


def described(recipe: Recipe, n_networks: int, sweeps: int) -> str:
    """Describe in one line what a recipe trains and how, with the number of networks and of sweeps."""
    (early, late), (early_momentum, late_momentum) = recipe.rates, recipe.momenta
    zone = f"no error from outputs within {DEAD_ZONE:g} of the desired ones"
    return (
        f"(24 + 12)-(6 + 6)-12-6-24, first weights in ±{recipe.scale:g}, learning rate {early:g} and momentum "
        f"{early_momentum:g} for {FIRST_SWEEPS} sweeps, then {late:g} and {late_momentum:g}, weights shrink by "
        f"{100 * recipe.shrinkage:g} % after each change, one change a sweep, {sweeps:,} in all, "
        f"{zone if recipe.loss == PRINTED.loss else recipe.loss}, {seeds_in_words(n_networks)}"
    )


def judged(networks: Trained) -> Verdict:
    """Judge by the criterion."""
    solved = networks.generalized == N_HELD_OUT
    n, n_solved = len(solved), int(np.sum(solved))
    why = f"{n_solved:,} of {counted(n, 'network')} with all {N_HELD_OUT} right"
    reached: Reached = "reproduced" if reaches(WANTED, solved) else "partly" if n_solved else "not reproduced"
    return if_enough_networks(n, Verdict(reached, why))
