"""All studies by name: their settings, the paper's reports on them, and their criteria.

If neither the paper nor a checked text of its chapter gives a setting, it is the paper's for symmetry:
first weights in ±0.3, rate 0.1, momentum 0.9. For exclusive or and parity only the rate is known, and for T and C those
steps would be too small, since the weights of a field change by the average over all its places; these settings
were chosen with first weights other than those that are judged.
"""

from functools import partial

from gpubp.data import datasets
from gpubp.nn.network import Network
from gpubp.optim.first_order import momentum
from gpubp.paper import cases, encoder, shift_register, symmetry, t_c, xor
from gpubp.paper.conditions import done, takes_as_long
from gpubp.paper.connections import try_more_units
from gpubp.paper.experiment import Experiment
from gpubp.paper.family_trees import FamilyTrees
from gpubp.paper.solvers import Solvers
from gpubp.paper.study import Study

CHAPTER = "Rumelhart, Hinton & Williams (1986), Parallel Distributed Processing 1, chapter 8"

UNCONFIRMED = f"an example of the chapter; no figure of it was found in a text that could be checked ({CHAPTER})"

LIKELY = done(0.5, "it can be learned: more likely than not")


def _layers(*sizes: int, skips: tuple[tuple[int, int], ...] = ()) -> Network:
    return Network(sizes, activation="logistic", output_activation="logistic", skips=skips)


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Experiment(
            name="symmetry",
            title="Is a vector its own mirror image?",
            network=_layers(6, 2, 1),
            cases=partial(cases.of, datasets.symmetry, 6),
            optimizer=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=30_000,
            says="1,425 sweeps, from one set of first weights (Nature 323, figure 1)",
            conditions=symmetry.CONDITIONS,
            settled=0.1,
            reported=symmetry.SWEEPS,
            find_facts=symmetry.find_facts,
            pictures=symmetry.pictures,
            drawings=symmetry.DRAWINGS,
        ),
        Experiment(
            name="xor",
            title="Exclusive or, two hidden units",
            network=_layers(2, 2, 1),
            cases=partial(cases.of, datasets.parity, 2),
            optimizer=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"two of hundreds of runs met a local minimum ({CHAPTER}); first weights are this study's choice",
            conditions=(done(0.99, "two of hundreds were not"), xor.AT_MINIMA),
            find_facts=xor.find_facts,
        ),
        Experiment(
            name="xor-skips",
            title="Exclusive or, one hidden unit and connections past it",
            network=_layers(2, 1, 1, skips=((0, 2),)),
            cases=partial(cases.of, datasets.parity, 2),
            optimizer=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=10_000,
            says=f"558 sweeps, rate 0.5 ({CHAPTER}); first weights are this study's choice",
            conditions=(LIKELY, takes_as_long(558)),
            reported=558,
            settled=0.1,
            wiring="the output also sees the inputs",
            find_facts=xor.find_facts_of_skips,
        ),
        Experiment(
            name="parity",
            title="Is the number of ones odd? Four inputs",
            network=_layers(4, 4, 1),
            cases=partial(cases.of, datasets.parity, 4),
            optimizer=momentum(0.5, 0.9),
            scale=0.5,
            sweeps=30_000,
            says=f"2,825 presentations of each pattern, rate 0.5 ({CHAPTER}); first weights are this study's choice",
            conditions=(LIKELY, takes_as_long(2825)),
            reported=2825,
            find_facts=partial(try_more_units, (4, 6, 8)),
        ),
        Experiment(
            name="encoder",
            title="Eight patterns through three units",
            network=_layers(8, 3, 8),
            cases=partial(cases.of, datasets.encoder, 8),
            optimizer=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=10_000,
            says=f"three units suffice for eight patterns ({CHAPTER})",
            conditions=(LIKELY, encoder.BINARY),
            settled=0.1,
            find_facts=encoder.find_facts,
            pictures=encoder.pictures,
            drawings=encoder.DRAWINGS,
        ),
        Experiment(
            name="addition",
            title="The sum of two numbers of two bits",
            network=_layers(4, 4, 3),
            cases=cases.addition,
            optimizer=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=10_000,
            says=f"{UNCONFIRMED}; four hidden units are this study's choice",
            conditions=(LIKELY,),
            find_facts=partial(try_more_units, (3, 4, 6, 8)),
        ),
        Experiment(
            name="negation",
            title="Three bits, negated where a fourth says so",
            network=_layers(4, 6, 3),
            cases=cases.negation,
            optimizer=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=10_000,
            says=f"{UNCONFIRMED}; six hidden units are this study's choice",
            conditions=(LIKELY,),
            find_facts=partial(try_more_units, (4, 6, 8)),
        ),
        Experiment(
            name="t-c",
            title="T or C, turned any way and anywhere",
            network=t_c.network(),
            # what is learned in one place holds in all places whose fields are complete
            cases=partial(cases.t_c, (t_c.SIDE, t_c.SIDE), t_c.MARGIN),
            optimizer=momentum(0.2, 0.9),
            scale=0.5,
            sweeps=15_000,
            says=f"several kinds of detectors come of it; {UNCONFIRMED}; the settings are this study's choice",
            conditions=(LIKELY,),
            settled=0.1,
            wiring="the hidden units see fields of 3 × 3 and share their weights, as do those to the output",
            find_facts=t_c.find_facts,
            pictures=t_c.pictures,
            drawings=t_c.DRAWINGS,
        ),
        Experiment(
            name="shift-register",
            title="Five units that move what they hold, a place for each step",
            network=shift_register.network(5),
            cases=partial(cases.shifted, 5, shift_register.N_STEPS),
            optimizer=momentum(0.1, 0.9),
            scale=0.3,
            sweeps=5_000,
            says=f"{UNCONFIRMED}; five units and two steps are this study's choice",
            conditions=(LIKELY, shift_register.RUNS_ON),
            settled=0.1,
            wiring="the weights of both layers are the same, changed by the average of their derivatives",
            find_facts=shift_register.find_facts,
        ),
        FamilyTrees(),
    )
}

RACED = ("symmetry", "xor", "parity", "encoder", "addition", "negation")

STUDIES["solvers"] = Solvers(tuple(study for name in RACED if isinstance(study := STUDIES[name], Experiment)))
