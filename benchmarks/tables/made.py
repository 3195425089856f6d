"""Tables that are made: what they need is known, unlike that of public ones."""

import numpy as np

from gpubp.data import table_from_mapping

ROWS = 2000


def heavy_tailed():
    """Numbers of Student's t distribution with 1.5 degrees of freedom, whose variance is infinite.

    The target bends where most values are, and grows as the logarithm of the others.
    """
    random = np.random.default_rng(0)
    X = random.standard_t(1.5, (ROWS, 6))
    bent = np.sign(X) * np.log1p(np.abs(X))
    y = bent[:, 0] + np.sin(2.0 * bent[:, 1]) + bent[:, 2] * bent[:, 3] + 0.2 * random.normal(size=ROWS)
    return _table(X, y)


def friedman1():
    """The first of Friedman's (1991) functions: ten numbers, of which five matter, one as a sine of a product."""
    random = np.random.default_rng(0)
    X = random.random((ROWS, 10))
    y = 10.0 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20.0 * (X[:, 2] - 0.5) ** 2 + 10.0 * X[:, 3] + 5.0 * X[:, 4]
    return _table(X, y + random.normal(size=ROWS))


def _table(X, y):
    return table_from_mapping({**{f"x{number}": column for number, column in enumerate(X.T)}, "y": y})


MADE = {made.__name__: made for made in (heavy_tailed, friedman1)}
