"""Two families whose trees are the same: the twelve relations between their people, and the cases to be learned."""

import numpy as np

from gpubp.paper.cases import Cases

MARRIAGES = (
    *(("Christopher", "Penelope"), ("Andrew", "Christine")),
    *(("Arthur", "Margaret"), ("James", "Victoria"), ("Charles", "Jennifer")),
    *(("Roberto", "Maria"), ("Pierro", "Francesca")),
    *(("Emilio", "Gina"), ("Marco", "Lucia"), ("Tomaso", "Angela")),
)
"""Rumelhart, Hinton & Williams (1986), figure 2; the founders of each tree come first."""

CHILDREN = {
    "Christopher": ("Arthur", "Victoria"),
    "Andrew": ("James", "Jennifer"),
    "James": ("Colin", "Charlotte"),
    "Roberto": ("Emilio", "Lucia"),
    "Pierro": ("Marco", "Angela"),
    "Marco": ("Alfonso", "Sophia"),
}
"""The son and the daughter of each father."""

ENGLISH = (
    *("Christopher", "Andrew", "Arthur", "James", "Charles", "Colin"),
    *("Penelope", "Christine", "Margaret", "Victoria", "Jennifer", "Charlotte"),
)
ITALIAN = (
    *("Roberto", "Pierro", "Emilio", "Marco", "Tomaso", "Alfonso"),
    *("Maria", "Francesca", "Gina", "Lucia", "Angela", "Sophia"),
)
"""In both trees the n-th name has the same position: first the men, then the women."""

PEOPLE = (*ENGLISH, *ITALIAN)
RELATIONS = (
    *("father", "mother", "husband", "wife", "son", "daughter"),
    *("uncle", "aunt", "brother", "sister", "nephew", "niece"),
)


def _married() -> np.ndarray:
    married = np.zeros((24, 24), dtype=bool)
    for husband, wife in MARRIAGES:
        married[PEOPLE.index(husband), PEOPLE.index(wife)] = True
    return married | married.T


def _parents() -> np.ndarray:
    parents = np.zeros((24, 24), dtype=bool)
    for father, mother in MARRIAGES:
        for child in CHILDREN.get(father, ()):
            parents[PEOPLE.index(child), [PEOPLE.index(father), PEOPLE.index(mother)]] = True
    return parents


def relations() -> np.ndarray:
    """Return all relations; uncles, aunts, nephews and nieces may be related by marriage.

    Returns
    -------
    (12, 24, 24) array of bool
        ``[r, a, b]``: person b is relation r of person a.

    Examples
    --------
    >>> of_colin = relations()[RELATIONS.index("aunt"), PEOPLE.index("Colin")]
    >>> [PEOPLE[b] for b in np.flatnonzero(of_colin)]
    ['Margaret', 'Jennifer']
    """
    married, parents = _married(), _parents()
    siblings = np.matmul(parents, parents.T) & ~np.eye(24, dtype=bool)
    elders = np.matmul(parents, siblings | np.matmul(siblings, married))
    men = np.isin(PEOPLE, (*ENGLISH[:6], *ITALIAN[:6]))
    of_either_sex = (parents, married, parents.T, elders, siblings, elders.T)
    return np.stack([relatives & sex for relatives in of_either_sex for sex in (men, ~men)])


def cases() -> Cases:
    """Return all pairs of a person and a relation that have an answer; the unit of a right answer is on.

    Returns
    -------
    x : (104, 36) array
        24 units for the person, 12 for the relation.
    d : (104, 24) array
        Two units are on where two answers are right.

    Examples
    --------
    >>> x, d = cases()
    >>> x.shape, int(d.sum())
    ((104, 36), 112)
    """
    related = relations().swapaxes(0, 1)
    person, relation = np.nonzero(np.any(related, axis=2))
    x = np.hstack([np.eye(24)[person], np.eye(12)[relation]])
    return x, related[person, relation].astype(float)


def relation_attributes() -> dict[str, np.ndarray]:
    """Return each relation's sex, generation and line, as numbers: (12,) each.

    The generation is 1 for those above, 2 for one's own, 3 for those below; the line is 1 for parents and children, 2
    for husband and wife, 3 for all who are related by a brother or sister.

    Examples
    --------
    >>> {name: int(of[RELATIONS.index("niece")]) for name, of in relation_attributes().items()}
    {'sex': 2, 'generation': 3, 'line': 3}
    """
    return {
        "sex": np.asarray([1, 2] * 6),
        "generation": np.asarray([1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]),
        "line": np.asarray([1, 1, 2, 2, 1, 1, 3, 3, 3, 3, 3, 3]),
    }


def attributes() -> dict[str, np.ndarray]:
    """Return each person's nationality, generation and branch of the family, as numbers: (24,) each.

    A person who married into a family has the generation and the branch of the spouse. The branch is 1 for the first
    couple's, 2 for the second's, and 0 for the youngest, who come from both.

    Examples
    --------
    >>> {name: int(of[PEOPLE.index("Margaret")]) for name, of in attributes().items()}
    {'nationality': 1, 'generation': 2, 'branch': 1}
    """
    married, parents = _married(), _parents()
    married_in = ~np.any(parents, axis=1, keepdims=True)
    above = parents | (married_in & np.matmul(married, parents))
    far_above = np.matmul(above, parents)
    lines = np.eye(24, dtype=bool) | above | far_above
    first, second = (np.any(lines[:, np.isin(PEOPLE, MARRIAGES[k] + MARRIAGES[k + 5])], axis=1) for k in (0, 1))
    return {
        "nationality": 1 + np.isin(PEOPLE, ITALIAN),
        "generation": 1 + np.any(above, axis=1) + np.any(far_above, axis=1),
        "branch": np.where(first & second, 0, 1 + second),
    }
